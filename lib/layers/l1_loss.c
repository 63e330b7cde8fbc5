/* SPDX-License-Identifier: BSD-2-Clause
 * L1Loss (NVCaffe): L = 1/N sum |a - b|. No parameters. bottoms: a, b of one count; N is a's
 * first length; top: one number. Gradient: da = -db = sign(a - b) / N. */
#include "layers/layer.h"

typedef struct l1_state {
    dni_tensor d; /* a - b, while lowering */
} l1_state;

static dn_status shape(dni_layer *layer)
{
    const dni_shape *a = &layer->bottom[0], *b = &layer->bottom[1];
    DNI_REQUIRE(a->axes >= 1 && dni_shape_count(a) == dni_shape_count(b), DN_E_SHAPE,
                "bottom 0 has %lld values, bottom 1 has %lld", (long long)dni_shape_count(a),
                (long long)dni_shape_count(b));
    layer->top[0] = dni_shape_of(0, NULL);
    return DN_OK;
}

static void forward(dni_layer *layer, dni_builder *b)
{
    l1_state *s = layer->state;
    const dni_shape *x = &layer->bottom[0];
    dn_args_reduce a = {.op = DN_REDUCE_ASUM,
                        .axes = 1,
                        .dim = {dni_shape_count(x)},
                        .x_stride = {1},
                        .alpha = 1.0 / (double)x->dim[0]};
    s->d = dni_temp_like(b, b->x[0]);
    dni_emit_sum2(b, 1, b->x[0], -1, b->x[1], s->d);
    dni_emit(b, DN_OP_REDUCE, &a, DNI_TENSORS(s->d, DNI_NONE), DNI_TENSORS(b->y[0]));
}

static void backward(dni_layer *layer, dni_builder *b)
{
    const l1_state *s = layer->state;
    const dni_shape *x = &layer->bottom[0];
    dni_tensor g = dni_temp_like(b, b->x[0]);
    dni_emit_unary(b, DN_FN_SIGN, 0, 0, 0, s->d, g);
    dni_emit_bcast(b, DN_BCAST_MUL, dni_shape_count(x), 1, 1, g, b->dy[0], g);
    dni_emit_unary(b, DN_FN_AFFINE, 1.0 / (double)x->dim[0], 0, 0, g, b->dx[0]);
    dni_emit_unary(b, DN_FN_AFFINE, -1.0 / (double)x->dim[0], 0, 0, g, b->dx[1]);
}

const dni_layer_class dni_layer_l1_loss = {
    .type = "L1Loss",
    .bottoms_min = 2,
    .bottoms_max = 2,
    .tops_min = 1,
    .tops_max = 1,
    .flags = DNI_LAYER_LOSS,
    .state_size = sizeof(l1_state),
    .shape = shape,
    .forward = forward,
    .backward = backward,
};
