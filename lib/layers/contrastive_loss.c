/* SPDX-License-Identifier: BSD-2-Clause
 * ContrastiveLoss (Hadsell et al., 2006): with d = |a - b|: L = 1/(2N) sum_n similar ? d^2 :
 * max(margin - d, 0)^2; legacy_version: max(margin - d^2, 0) for those that are not similar.
 * contrastive_loss_param: margin (1), legacy_version (false).
 * bottoms: a (N, C), b (N, C), similar (N), 0 or 1; top: one number.
 * Gradient to a: (a - b) / N, or -(margin - d) / d (a - b) / N within the margin, or 0; to b
 * its negative; none to similar. */
#include "layers/loss.h"

static dn_status shape(dni_layer *layer)
{
    const Cnn__ContrastiveLossParameter *p = layer->own;
    dni_loss *s = layer->state;
    int64_t a = dni_shape_count(&layer->bottom[0]), b = dni_shape_count(&layer->bottom[1]);
    dn_status st = dni_loss_per_item(layer, DN_LOSS_CONTRASTIVE, false);
    if (st)
        return st;
    DNI_REQUIRE(a == b, DN_E_SHAPE, "bottom 0 has %lld values, bottom 1 has %lld", (long long)a,
                (long long)b);
    DNI_REQUIRE(dni_shape_count(&layer->bottom[2]) == s->args.outer, DN_E_SHAPE,
                "bottom 2 has %lld values, one for each of %lld pairs is needed",
                (long long)dni_shape_count(&layer->bottom[2]), (long long)s->args.outer);
    s->args.param = p->margin;
    s->args.flag = p->legacy_version;
    return DN_OK;
}

static void forward(dni_layer *layer, dni_builder *b)
{
    dni_loss *s = layer->state;
    s->x = dni_temp_like(b, b->x[0]);
    s->aux = dni_temp(b, b->dtype, 1, &s->args.outer);
    dni_emit_sum2(b, 1, b->x[0], -1, b->x[1], s->x);
    dni_emit(b, DN_OP_LOSS, &s->args, DNI_TENSORS(s->x, b->x[2], DNI_NONE),
             DNI_TENSORS(b->y[0], DNI_NONE, s->aux));
}

static void backward(dni_layer *layer, dni_builder *b)
{
    const dni_loss *s = layer->state;
    dni_emit(b, DN_OP_LOSS_BWD, &s->args,
             DNI_TENSORS(s->x, b->x[2], DNI_NONE, DNI_NONE, s->aux, b->dy[0]),
             DNI_TENSORS(b->dx[0], b->dx[1]));
}

const dni_layer_class dni_layer_contrastive_loss = {
    .type = "ContrastiveLoss",
    .own = DNI_OWN(contrastive_loss_param),
    .bottoms_min = 3,
    .bottoms_max = 3,
    .tops_min = 1,
    .tops_max = 1,
    .flags = DNI_LAYER_LOSS,
    .no_gradient = 1u << 2,
    .state_size = sizeof(dni_loss),
    .shape = shape,
    .forward = forward,
    .backward = backward,
};
