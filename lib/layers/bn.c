/* SPDX-License-Identifier: BSD-2-Clause
 * BN: batch normalisation with scale and shift: y = slope (x - mean) / sqrt(var + eps) + bias,
 * two layers by one name.
 * bn_param of PSPNet: slope_filler (1), bias_filler (0), momentum (0.9), eps (1e-5), frozen
 * (false). weights: slope, bias, running mean, running variance, each (1, C, 1, 1); TRAIN takes
 * the batch's mean and variance and ages the running ones, running = momentum running + (1 -
 * momentum) batch; TEST and frozen take the running ones. frozen keeps slope and bias too.
 * bn_param of SegNet (with scale_filler, shift_filler, bn_mode or var_eps): weights: slope,
 * bias; bn_mode LEARN: the batch's mean and variance in both phases, var_eps (1e-9); INFERENCE:
 * both are folded into the weights: y = slope x + bias.
 * bottom: (N, C, ...); top: the same; in place allowed. Gradient: as BatchNorm's and Scale's.
 */
#include "deepnet/net.h"
#include "layers/layer.h"

typedef struct bn_state {
    bool segnet, fixed, affine; /* fixed: by running statistics; affine: by none */
    dn_args_batch_norm args;
    dni_tensor u, inv_std; /* x normalised; for the gradient, while lowering */
} bn_state;

static const Cnn__BNParameter *param_of(const dni_layer *layer)
{
    return layer->own;
}

static dn_status setup(dni_layer *layer)
{
    const Cnn__BNParameter *p = param_of(layer);
    const dni_shape *x = &layer->bottom[0];
    bn_state *s = layer->state;
    s->segnet = p->scale_filler || p->shift_filler || p->has_bn_mode || p->has_var_eps;
    s->affine = s->segnet && p->bn_mode == CNN__BNPARAMETER__BNMODE__INFERENCE;
    s->fixed = !s->segnet && (p->frozen || layer->phase == DN_PHASE_TEST);
    dn_status st = dni_need_axes(layer, 0, 2, true);
    if (st)
        return st;
    DNI_REQUIRE(!p->moving_average, DN_E_UNSUPPORTED, "moving_average is not supported");
    dni_shape w = dni_shape_of(4, (int64_t[]){1, x->dim[1], 1, 1});
    st = dni_declare_weight(layer, &w, s->segnet ? p->scale_filler : p->slope_filler);
    if (!st)
        st = dni_declare_weight(layer, &w, s->segnet ? p->shift_filler : p->bias_filler);
    for (int32_t i = 2; !st && !s->segnet && i < 4; i++) {
        st = dni_declare_weight(layer, &w, NULL);
        layer->weight[i].statistic = true;
    }
    layer->weight[0].constant = 1;
    layer->weight[0].statistic = layer->weight[1].statistic = !s->segnet && p->frozen;
    return st;
}

static dn_status shape(dni_layer *layer)
{
    const Cnn__BNParameter *p = param_of(layer);
    const dni_shape *x = &layer->bottom[0];
    bn_state *s = layer->state;
    DNI_REQUIRE(x->axes >= 2 && x->dim[1] == layer->weight[0].shape.dim[1], DN_E_SHAPE,
                "bottom needs %lld channels", (long long)layer->weight[0].shape.dim[1]);
    s->args = (dn_args_batch_norm){.use_global = s->fixed,
                                   .outer = x->dim[0],
                                   .dim = x->dim[1],
                                   .inner = dni_shape_range(x, 2, x->axes),
                                   .eps = s->segnet ? p->var_eps : p->eps};
    return dni_shape_like_bottom(layer);
}

/* The batch's statistics come with fraction 0 in places of their own; the op's variance is the
 * unbiased one, the running variance here is not. */
static void age(const dni_layer *layer, dni_builder *b, dni_tensor mean, dni_tensor var)
{
    const bn_state *s = layer->state;
    double m = (double)(s->args.outer * s->args.inner), keep = param_of(layer)->momentum;
    double biased = m > 1 ? (m - 1) / m : 1;
    dni_emit_sum2(b, keep, b->w[2], 1 - keep, mean, b->w[2]);
    dni_emit_sum2(b, keep, b->w[3], (1 - keep) * biased, var, b->w[3]);
}

static void normalise(const dni_layer *layer, dni_builder *b)
{
    bn_state *s = layer->state;
    const int64_t one = 1;
    dni_tensor mean = dni_temp(b, b->dtype, 1, &s->args.dim);
    dni_tensor factor = dni_temp(b, b->dtype, 1, &one);
    dni_tensor running[2] = {s->fixed ? b->w[2] : DNI_NONE, s->fixed ? b->w[3] : DNI_NONE};
    s->inv_std = dni_temp(b, b->dtype, 1, &s->args.dim);
    dni_emit_fill(b, factor, 1);
    for (int32_t i = 0; !s->fixed && i < 2; i++) {
        running[i] = dni_temp(b, b->dtype, 1, &s->args.dim);
        dni_emit_fill(b, running[i], 0);
    }
    dni_emit(b, DN_OP_BATCH_NORM, &s->args, DNI_TENSORS(b->x[0]),
             DNI_TENSORS(s->u, mean, s->inv_std, running[0], running[1], factor));
    if (!s->fixed && !s->segnet)
        age(layer, b, running[0], running[1]);
}

static void forward(dni_layer *layer, dni_builder *b)
{
    bn_state *s = layer->state;
    bool keep = layer->weight_wanted[0] || (layer->propagate[0] && !s->fixed && !s->affine);
    s->u = s->affine && !(keep && dni_same(b, b->x[0], b->y[0])) ? b->x[0]
           : keep                                                ? dni_temp_like(b, b->x[0])
                                                                 : b->y[0];
    if (!s->affine)
        normalise(layer, b);
    else if (s->u != b->x[0])
        dni_emit_copy(b, b->x[0], s->u);
    dn_args_bcast a = {.op = DN_BCAST_MULADD,
                       .outer = s->args.outer,
                       .dim = s->args.dim,
                       .inner = s->args.inner};
    dni_emit(b, DN_OP_BCAST, &a, DNI_TENSORS(s->u, b->w[0], b->w[1]), DNI_TENSORS(b->y[0]));
}

static void backward(dni_layer *layer, dni_builder *b)
{
    const bn_state *s = layer->state;
    const dn_args_batch_norm *a = &s->args;
    dni_emit_reduce_mid(b, a->outer, a->dim, a->inner, 1, b->dy[0], s->u, b->dw[0]);
    dni_emit_reduce_mid(b, a->outer, a->dim, a->inner, 1, b->dy[0], DNI_NONE, b->dw[1]);
    if (b->dx[0] == DNI_NONE)
        return;
    dni_tensor g = s->affine ? b->dx[0] : dni_temp_like(b, b->x[0]);
    dni_emit_bcast(b, DN_BCAST_MUL, a->outer, a->dim, a->inner, b->dy[0], b->w[0], g);
    if (!s->affine)
        dni_emit(b, DN_OP_BATCH_NORM_BWD, a, DNI_TENSORS(s->u, s->inv_std, g),
                 DNI_TENSORS(b->dx[0]));
}

const dni_layer_class dni_layer_bn = {
    .type = "BN",
    .own = DNI_OWN(bn_param),
    .bottoms_min = 1,
    .bottoms_max = 1,
    .tops_min = 1,
    .tops_max = 1,
    .flags = DNI_LAYER_INPLACE,
    .state_size = sizeof(bn_state),
    .setup = setup,
    .shape = shape,
    .forward = forward,
    .backward = backward,
};
