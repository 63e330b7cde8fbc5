/* SPDX-License-Identifier: BSD-2-Clause
 * LRN (local response normalisation): y = x * scale^-beta.
 * lrn_param: local_size (5, odd), alpha (1), beta (0.75), k (1), norm_region
 * (ACROSS_CHANNELS: scale = k + alpha / size * sum of x^2 over `size` channels;
 * WITHIN_CHANNEL: scale = 1 + alpha * mean of x^2 over a size x size square, zeros outside
 * the plane). engine changes nothing. bottom: (N, C, spatial...), within a channel (N, C, H,
 * W); top: the same.
 * Gradient: dx = dy scale^-beta - 2 alpha beta / n * x * sum over neighbours of dy y / scale.
 */
#include "layers/layer.h"

typedef struct lrn_state {
    dn_args_lrn args;
    dni_tensor scale; /* while lowering */
} lrn_state;

static dn_status shape(dni_layer *layer)
{
    const Cnn__LRNParameter *p = layer->own;
    lrn_state *s = layer->state;
    bool within = p->norm_region == CNN__LRNPARAMETER__NORM_REGION__WITHIN_CHANNEL;
    int32_t axes = layer->bottom[0].axes;
    DNI_REQUIRE(p->local_size % 2 == 1 && p->local_size <= INT32_MAX, DN_E_NET,
                "local_size is %u; it must be odd", p->local_size);
    DNI_REQUIRE(within ? axes == 4 : axes >= 2, DN_E_SHAPE,
                "bottom has %d axes, LRN needs (N, C, H, W)", axes);
    s->args = (dn_args_lrn){.region = within ? DN_LRN_WITHIN : DN_LRN_ACROSS,
                            .size = (int32_t)p->local_size,
                            .alpha = p->alpha,
                            .beta = p->beta,
                            .k = p->k};
    return dni_shape_like_bottom(layer);
}

static void forward(dni_layer *layer, dni_builder *b)
{
    lrn_state *s = layer->state;
    s->scale = dni_temp_like(b, b->x[0]);
    dni_emit(b, DN_OP_LRN, &s->args, DNI_TENSORS(b->x[0]), DNI_TENSORS(b->y[0], s->scale));
}

static void backward(dni_layer *layer, dni_builder *b)
{
    const lrn_state *s = layer->state;
    dni_emit(b, DN_OP_LRN_BWD, &s->args, DNI_TENSORS(b->x[0], b->y[0], s->scale, b->dy[0]),
             DNI_TENSORS(b->dx[0]));
}

const dni_layer_class dni_layer_lrn = {
    .type = "LRN",
    .own = DNI_OWN(lrn_param),
    .bottoms_min = 1,
    .bottoms_max = 1,
    .tops_min = 1,
    .tops_max = 1,
    .flags = DNI_LAYER_READS_TOP,
    .state_size = sizeof(lrn_state),
    .shape = shape,
    .forward = forward,
    .backward = backward,
};
