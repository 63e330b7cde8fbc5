/* SPDX-License-Identifier: BSD-2-Clause
 * MultiLabelLoss: L = -1/N sum over t > 0 of log s(x) and over t < 0 of log(1 - s(x)), s the
 * sigmoid; what t = 0 says is not known and does not count. No parameters. (Those of some
 * forks divide by another number, or have labels of another kind; this one most forks have.)
 * bottoms: x (N, ...), t, of the same count; top: one number.
 * Gradient: (s(x) - (t > 0)) / N, 0 where t = 0; none to t. */
#include <float.h>

#include "layers/loss.h"

enum { UNKNOWN = 2 };

typedef struct label_state {
    dni_loss loss;
    dni_tensor target; /* 1, 0 or UNKNOWN; while lowering */
} label_state;

static dn_status shape(dni_layer *layer)
{
    label_state *s = layer->state;
    s->loss.args.normalization = CNN__LOSS_PARAMETER__NORMALIZATION_MODE__BATCH_SIZE;
    s->loss.args.has_ignore = true;
    s->loss.args.ignore_label = UNKNOWN;
    dn_status st = dni_same_counts(layer);
    return st ? st : dni_loss_per_item(layer, DN_LOSS_SIGMOID_CE, false);
}

static void forward(dni_layer *layer, dni_builder *b)
{
    label_state *s = layer->state;
    dni_tensor positive = dni_temp_like(b, b->x[1]);
    s->target = dni_temp_like(b, b->x[1]);
    s->loss.norm = dni_temp(b, b->dtype, 0, NULL);
    dni_emit_unary(b, DN_FN_THRESHOLD, 0, 0, 0, b->x[1], positive);
    dni_emit_unary(b, DN_FN_THRESHOLD, -FLT_MIN, 0, 0, b->x[1], s->target);
    dni_emit_sum2(b, UNKNOWN, s->target, -1, positive, s->target);
    dni_emit(b, DN_OP_LOSS, &s->loss.args, DNI_TENSORS(b->x[0], s->target, DNI_NONE),
             DNI_TENSORS(b->y[0], s->loss.norm, DNI_NONE));
}

static void backward(dni_layer *layer, dni_builder *b)
{
    const label_state *s = layer->state;
    dni_emit(b, DN_OP_LOSS_BWD, &s->loss.args,
             DNI_TENSORS(b->x[0], s->target, DNI_NONE, s->loss.norm, DNI_NONE, b->dy[0]),
             DNI_TENSORS(b->dx[0], DNI_NONE));
}

const dni_layer_class dni_layer_multi_label_loss = {
    .type = "MultiLabelLoss",
    .bottoms_min = 2,
    .bottoms_max = 2,
    .tops_min = 1,
    .tops_max = 1,
    .flags = DNI_LAYER_LOSS,
    .no_gradient = 1u << 1,
    .state_size = sizeof(label_state),
    .shape = shape,
    .forward = forward,
    .backward = backward,
};
