/* SPDX-License-Identifier: BSD-2-Clause
 * MVN (mean variance normalisation): y = (x - mean) / (sqrt(variance) + eps), per item and
 * channel.
 * mvn_param: normalize_variance (true; false: y = x - mean), across_channels (false; true: one
 * mean and variance per item), eps (1e-9). bottom: (N, C, ...); top: the same; in place
 * allowed.
 * Gradient: dx = (dy - mean(dy) - y mean(dy y)) / (sqrt(variance) + eps); without
 * normalize_variance dy - mean(dy). */
#include "layers/layer.h"

typedef struct mvn_state {
    dn_args_mvn args;
    dni_tensor y, inv_std; /* while lowering */
} mvn_state;

static dn_status shape(dni_layer *layer)
{
    const Cnn__MVNParameter *p = layer->own;
    mvn_state *s = layer->state;
    const dni_shape *x = &layer->bottom[0];
    int32_t axis = p->across_channels ? 1 : 2;
    DNI_REQUIRE(x->axes >= 1, DN_E_SHAPE, "bottom has no axes, MVN needs items");
    if (axis > x->axes)
        axis = x->axes;
    s->args = (dn_args_mvn){.normalize_variance = p->normalize_variance,
                            .rows = dni_shape_range(x, 0, axis),
                            .cols = dni_shape_range(x, axis, x->axes),
                            .eps = p->eps};
    return dni_shape_like_bottom(layer);
}

/* In place y may be overwritten by what follows, and dx lies where dy does: both detour. */
static void forward(dni_layer *layer, dni_builder *b)
{
    mvn_state *s = layer->state;
    bool in_place = dni_same(b, b->x[0], b->y[0]);
    s->y = in_place ? dni_temp_like(b, b->x[0]) : b->y[0];
    s->inv_std = dni_temp(b, b->dtype, 1, &s->args.rows);
    dni_emit(b, DN_OP_MVN, &s->args, DNI_TENSORS(b->x[0]), DNI_TENSORS(s->y, s->inv_std));
    if (in_place)
        dni_emit_copy(b, s->y, b->y[0]);
}

static void backward(dni_layer *layer, dni_builder *b)
{
    const mvn_state *s = layer->state;
    bool in_place = dni_same(b, b->dx[0], b->dy[0]);
    dni_tensor dx = in_place ? dni_temp_like(b, b->dx[0]) : b->dx[0];
    dni_emit(b, DN_OP_MVN_BWD, &s->args, DNI_TENSORS(s->y, s->inv_std, b->dy[0]),
             DNI_TENSORS(dx));
    if (in_place)
        dni_emit_copy(b, dx, b->dx[0]);
}

const dni_layer_class dni_layer_mvn = {
    .type = "MVN",
    .own = DNI_OWN(mvn_param),
    .bottoms_min = 1,
    .bottoms_max = 1,
    .tops_min = 1,
    .tops_max = 1,
    .flags = DNI_LAYER_INPLACE | DNI_LAYER_READS_TOP,
    .state_size = sizeof(mvn_state),
    .shape = shape,
    .forward = forward,
    .backward = backward,
};
