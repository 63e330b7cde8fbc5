/* SPDX-License-Identifier: BSD-2-Clause
 * roi.c: see roi.h. */
#include "layers/roi.h"

dn_status dni_roi_shape(dni_layer *layer)
{
    const dni_shape *x = &layer->bottom[0], *r = &layer->bottom[1];
    const dni_roi *s = layer->state;
    int64_t need, channels = x->axes > 1 ? x->dim[1] : 0;
    DNI_REQUIRE(x->axes == 4, DN_E_SHAPE, "bottom 0 has %d axes, not 4", x->axes);
    DNI_REQUIRE(r->axes >= 2 && dni_shape_range(r, 1, r->axes) == 5, DN_E_SHAPE,
                "bottom 1 must be regions, (R, 5)");
    DNI_REQUIRE(x->dim[2] * x->dim[3] <= INT32_MAX, DN_E_SHAPE, "the map is too large");
    DNI_REQUIRE(!s->K || (dni_mul64(s->K * s->P, s->Q, &need) && channels == need), DN_E_SHAPE,
                "bottom 0 has %lld channels, output_dim x group_size^2 are needed",
                (long long)channels);
    layer->top[0] = dni_shape_of(4, (int64_t[]){r->dim[0], s->K ? s->K : channels, s->P, s->Q});
    return DN_OK;
}

/* Corners a, c of the regions are made a - pad (c - a + 1) and c + pad (c - a + 1). */
static dni_tensor widened(const dni_roi *s, dni_builder *b)
{
    int64_t R = dni_tensor_shape(b, b->x[1])->dim[0], pairs[2] = {R, 2};
    dni_tensor out = dni_temp_like(b, b->x[1]), a = dni_temp(b, b->dtype, 2, pairs);
    dni_tensor c = dni_temp_like(b, a), size = dni_temp_like(b, a);
    dni_emit_rows(b, R, 2, 5, 1, 2, 0, b->x[1], a);
    dni_emit_rows(b, R, 2, 5, 3, 2, 0, b->x[1], c);
    dni_emit_sum2(b, 1, c, -1, a, size);
    dni_emit_unary(b, DN_FN_AFFINE, 1, 1, 0, size, size);
    dni_emit_sum2(b, 1, a, -s->pad, size, a);
    dni_emit_sum2(b, 1, c, s->pad, size, c);
    dni_emit_copy(b, b->x[1], out);
    dni_emit_rows(b, R, 2, 2, 0, 5, 1, a, out);
    dni_emit_rows(b, R, 2, 2, 0, 5, 3, c, out);
    return out;
}

void dni_roi_forward(dni_layer *layer, dni_builder *b)
{
    dni_roi *s = layer->state;
    const dni_shape *y = &layer->top[0];
    bool masked = s->args.method == DN_ROI_MAX && layer->propagate[0];
    s->mask = masked ? dni_temp(b, DN_I32, y->axes, y->dim) : DNI_NONE;
    s->regions = s->pad != 0 ? widened(s, b) : b->x[1];
    dni_emit(b, DN_OP_ROI_POOL, &s->args, DNI_TENSORS(b->x[0], s->regions),
             DNI_TENSORS(b->y[0], s->mask));
}

void dni_roi_backward(dni_layer *layer, dni_builder *b)
{
    dni_roi *s = layer->state;
    dni_emit(b, DN_OP_ROI_POOL_BWD, &s->args, DNI_TENSORS(b->dy[0], s->regions, s->mask),
             DNI_TENSORS(b->dx[0]));
}
