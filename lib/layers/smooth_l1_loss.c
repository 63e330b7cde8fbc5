/* SPDX-License-Identifier: BSD-2-Clause
 * SmoothL1Loss (Fast R-CNN): L = 1/N sum outside f(inside (a - b)), f(x) = x^2 s / 2 where
 * |x| < 1/s, else |x| - 1/(2 s), s = sigma^2.
 * smooth_l1_loss_param: sigma (1). bottoms: a, b, [inside weights, [outside weights]], all of
 * one count; N is a's first length. top: one number.
 * Gradient: da = -db = outside inside f'(inside (a - b)) / N. */
#include "layers/layer.h"

typedef struct smooth_state {
    double sigma;
    int64_t count;
    dni_tensor d; /* inside (a - b), while lowering */
} smooth_state;

static dn_status setup(dni_layer *layer)
{
    const Cnn__SmoothL1LossParameter *p = layer->own;
    smooth_state *s = layer->state;
    s->sigma = p->sigma;
    DNI_REQUIRE(s->sigma > 0, DN_E_NET, "sigma must be positive");
    return DN_OK;
}

static dn_status shape(dni_layer *layer)
{
    smooth_state *s = layer->state;
    s->count = dni_shape_count(&layer->bottom[0]);
    layer->top[0] = dni_shape_of(0, NULL);
    return dni_same_counts(layer);
}

static double per_item(const dni_layer *layer)
{
    return 1.0 / (layer->bottom[0].axes ? (double)layer->bottom[0].dim[0] : 1.0);
}

static void forward(dni_layer *layer, dni_builder *b)
{
    smooth_state *s = layer->state;
    dni_tensor f = dni_temp_like(b, b->x[0]);
    s->d = dni_temp_like(b, b->x[0]);
    dni_emit_sum2(b, 1, b->x[0], -1, b->x[1], s->d);
    if (b->num_x > 2)
        dni_emit_product(b, s->d, b->x[2], s->d);
    dni_emit_unary(b, DN_FN_SMOOTH_L1, s->sigma, 0, 0, s->d, f);
    if (b->num_x > 3)
        dni_emit_product(b, f, b->x[3], f);
    dni_emit_reduce_mid(b, s->count, 1, 1, per_item(layer), f, DNI_NONE, b->y[0]);
}

static void backward(dni_layer *layer, dni_builder *b)
{
    const smooth_state *s = layer->state;
    dni_tensor g = dni_temp_like(b, b->x[0]);
    dni_emit_fill(b, g, per_item(layer));
    dni_emit_times(b, g, b->dy[0], g);
    dni_emit_unary_bwd(b, DN_FN_SMOOTH_L1, s->sigma, 0, 0, s->d, DNI_NONE, g, g);
    for (int32_t i = 2; i < b->num_x; i++)
        dni_emit_product(b, g, b->x[i], g);
    dni_emit_copy(b, g, b->dx[0]);
    dni_emit_unary(b, DN_FN_AFFINE, -1, 0, 0, g, b->dx[1]);
}

const dni_layer_class dni_layer_smooth_l1_loss = {
    .type = "SmoothL1Loss",
    .own = DNI_OWN(smooth_l1_loss_param),
    .bottoms_min = 2,
    .bottoms_max = 4,
    .tops_min = 1,
    .tops_max = 1,
    .flags = DNI_LAYER_LOSS,
    .no_gradient = 1u << 2 | 1u << 3,
    .state_size = sizeof(smooth_state),
    .setup = setup,
    .shape = shape,
    .forward = forward,
    .backward = backward,
};
