/* SPDX-License-Identifier: BSD-2-Clause
 * WeightedSoftmaxWithLoss: SoftmaxWithLoss in which each position with the label pos_cid counts
 * pos_mult times; the norm counts it once. softmax_param: axis (1), pos_mult (1), pos_cid (1);
 * loss_param: as SoftmaxWithLoss's, but for weight_by_label_freqs. Some forks' third bottom, a
 * weight for each item, and other spellings are refused.
 * bottoms: x (any shape), labels; tops: one number; the probabilities (x's shape).
 * Gradient: dx = w (p - 1[label]) / norm, 0 where ignored; none to the labels. */
#include "layers/loss.h"

/* The parameters, if they say anything. */
static const Cnn__SoftmaxParameter *weights_of(const dni_layer *layer)
{
    const Cnn__SoftmaxParameter *p = layer->param->softmax_param;
    return p && p->pos_mult != 1 ? p : NULL;
}

static dn_status shape(dni_layer *layer)
{
    const Cnn__SoftmaxParameter *p = weights_of(layer);
    const dni_loss *s = layer->state;
    dn_status st = dni_softmax_loss_shape(layer);
    if (st)
        return st;
    DNI_REQUIRE(!p || (p->pos_cid >= 0 && p->pos_cid < s->args.dim), DN_E_NET,
                "pos_cid is %d, the classes are %lld", p->pos_cid, (long long)s->args.dim);
    return DN_OK;
}

static void forward(dni_layer *layer, dni_builder *b)
{
    const Cnn__SoftmaxParameter *p = weights_of(layer);
    const dni_loss *s = layer->state;
    int64_t classes = s->args.dim;
    dni_tensor weights = dni_temp(b, b->dtype, 1, &classes);
    dni_tensor weight = dni_temp(b, b->dtype, 0, NULL);
    dni_emit_fill(b, weights, 1);
    dni_emit_fill(b, weight, p ? p->pos_mult : 1);
    dni_emit_rows(b, 1, 1, 1, 0, 1, p ? p->pos_cid : 0, weight, weights);
    dni_softmax_loss_weighted(layer, b, weights);
}

const dni_layer_class dni_layer_weighted_softmax_with_loss = {
    .type = "WeightedSoftmaxWithLoss",
    .bottoms_min = 2,
    .bottoms_max = 2,
    .tops_min = 1,
    .tops_max = 2,
    .flags = DNI_LAYER_LOSS,
    .no_gradient = 1u << 1,
    .state_size = sizeof(dni_loss),
    .shape = shape,
    .forward = forward,
    .backward = dni_loss_lower_back,
};
