/* SPDX-License-Identifier: BSD-2-Clause
 * yolo_loss.c: see yolo_loss.h. */
#include "layers/yolo_loss.h"

dn_status dni_yolo_loss_shape(dni_layer *layer)
{
    const dn_args_yolo_loss *a = &((const dni_yolo_loss *)layer->state)->args;
    const dni_shape *x = &layer->bottom[0];
    int64_t need = (int64_t)a->anchors * (5 + a->classes), count, per_box;
    DNI_REQUIRE(x->axes == 4 && x->dim[1] == need && x->dim[2] > 0 && x->dim[3] > 0, DN_E_SHAPE,
                "bottom 0 must be a map of %lld channels, %d anchors of 5 + %d values",
                (long long)need, a->anchors, a->classes);
    DNI_REQUIRE(dni_shape_count(x) <= INT32_MAX, DN_E_SHAPE, "the map is too large");
    count = dni_shape_count(&layer->bottom[1]);
    DNI_REQUIRE(dni_mul64(x->dim[0], 5, &per_box) && per_box > 0 && count % per_box == 0,
                DN_E_SHAPE, "bottom 1 has %lld values, not rows of 5 for each of %lld images",
                (long long)count, (long long)x->dim[0]);
    layer->top[0] = dni_shape_of(0, NULL);
    return DN_OK;
}

void dni_yolo_loss_forward(dni_layer *layer, dni_builder *b)
{
    dni_yolo_loss *s = layer->state;
    s->gradient = layer->propagate[0] ? dni_temp_like(b, b->x[0]) : DNI_NONE;
    dni_emit(b, DN_OP_YOLO_LOSS, &s->args,
             DNI_TENSORS(b->x[0], b->x[1], s->args.warm ? b->random : DNI_NONE),
             DNI_TENSORS(b->y[0], s->gradient));
}

void dni_yolo_loss_backward(dni_layer *layer, dni_builder *b)
{
    const dni_yolo_loss *s = layer->state;
    if (b->dx[0] != DNI_NONE)
        dni_emit_bcast(b, DN_BCAST_MUL, dni_tensor_count(b, b->x[0]), 1, 1, s->gradient,
                       b->dy[0], b->dx[0]);
}
