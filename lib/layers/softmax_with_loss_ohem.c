/* SPDX-License-Identifier: BSD-2-Clause
 * SoftmaxWithLossOHEM (R-FCN): SoftmaxWithLoss that also tells the loss of each position, by
 * which the hard ones are found. softmax_param, loss_param: as SoftmaxWithLoss's.
 * bottoms: x (any shape), labels (one for each position outside the axis). tops: one number;
 * [the probabilities (x's shape); [-log p[label] of each position, 0 where ignored (the labels'
 * shape)]]. Gradient: dx = (p - 1[label]) / norm, 0 where ignored; none to the labels. */
#include "layers/loss.h"

#include <float.h>
#include <math.h>

#include "layers/values.h"

typedef struct ohem_state {
    dni_loss loss; /* first: SoftmaxWithLoss sees this one */
    dni_layer *layer;
} ohem_state;

static dn_status shape(dni_layer *layer)
{
    ohem_state *s = layer->state;
    s->layer = layer;
    dn_status st = dni_softmax_loss_shape(layer);
    if (layer->num_tops > 2)
        layer->top[2] = layer->bottom[1];
    return st;
}

/* probabilities, labels -> the loss of each position. LOSS has seen that labels are good. */
static dn_status run(void *user, void *const *in, void *const *out)
{
    const ohem_state *s = user;
    const dn_args_loss *a = &s->loss.args;
    int32_t t = s->layer->dtype;
    for (int64_t i = 0; i < a->outer * a->inner; i++) {
        double value = dni_get(in[1], t, i), p = 1;
        int64_t label = value >= 0 && value < (double)a->dim ? (int64_t)value : -1;
        bool ignored = a->has_ignore && (int64_t)value == a->ignore_label;
        if (label >= 0 && !ignored)
            p = dni_get(in[0], t, (i / a->inner * a->dim + label) * a->inner + i % a->inner);
        dni_put(out[0], t, i, -log(fmax(p, FLT_MIN)));
    }
    return DN_OK;
}

static void forward(dni_layer *layer, dni_builder *b)
{
    ohem_state *s = layer->state;
    dn_args_host_call call = {.fn = run, .user = s};
    dni_softmax_loss_forward(layer, b);
    if (b->num_y > 2)
        dni_emit(b, DN_OP_HOST_CALL, &call, DNI_TENSORS(b->y[1], b->x[1]),
                 DNI_TENSORS(b->y[2]));
}

const dni_layer_class dni_layer_softmax_with_loss_ohem = {
    .type = "SoftmaxWithLossOHEM",
    .bottoms_min = 2,
    .bottoms_max = 2,
    .tops_min = 1,
    .tops_max = 3,
    .flags = DNI_LAYER_LOSS,
    .no_gradient = 1u << 1,
    .state_size = sizeof(ohem_state),
    .shape = shape,
    .forward = forward,
    .backward = dni_softmax_loss_backward,
};
