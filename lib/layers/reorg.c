/* SPDX-License-Identifier: BSD-2-Clause
 * Reorg (YOLO v2): blocks of stride x stride positions become channels, in Darknet's order: x
 * is read as a (C / s^2, s H, s W) picture, whose s x s phases are the parts of y one after the
 * other.
 * reorg_param: stride (required), reverse (false: true takes channels apart again).
 * bottom: (N, C, H, W); top: (N, C s^2, H / s, W / s); reverse: (N, C / s^2, H s, W s).
 * Gradient: dx = dy in the old places. */
#include "layers/layer.h"

typedef struct reorg_state {
    int64_t stride;
    bool reverse;
} reorg_state;

static dn_status shape(dni_layer *layer)
{
    const Cnn__ReorgParameter *p = layer->param->reorg_param;
    const dni_shape *x = &layer->bottom[0];
    reorg_state *s = layer->state;
    int64_t k = s->stride = p ? p->stride : 0;
    s->reverse = p && p->reverse;
    DNI_REQUIRE(k > 0 && k < 1 << 15, DN_E_NET, "reorg_param needs a stride");
    dn_status st = dni_need_axes(layer, 0, 4, false);
    if (st)
        return st;
    DNI_REQUIRE(x->dim[1] % (k * k) == 0, DN_E_SHAPE,
                "stride^2 does not divide the %lld channels", (long long)x->dim[1]);
    DNI_REQUIRE(s->reverse || (x->dim[2] % k == 0 && x->dim[3] % k == 0), DN_E_SHAPE,
                "stride does not divide the map of %lld x %lld", (long long)x->dim[2],
                (long long)x->dim[3]);
    int64_t C = s->reverse ? x->dim[1] / (k * k) : x->dim[1] * k * k;
    int64_t H = s->reverse ? x->dim[2] * k : x->dim[2] / k;
    int64_t W = s->reverse ? x->dim[3] * k : x->dim[3] / k;
    layer->top[0] = dni_shape_of(4, (int64_t[]){x->dim[0], C, H, W});
    return DN_OK;
}

/* to_phases: picture to phases, else phases to picture. */
static void reorg(const dni_layer *layer, dni_builder *b, bool to_phases, dni_tensor x,
                  dni_tensor y)
{
    const dni_shape *s = &layer->bottom[0];
    int64_t k = ((const reorg_state *)layer->state)->stride;
    int64_t W = s->dim[3], rows = s->dim[1] / (k * k) * s->dim[2];
    int64_t item = s->dim[1] * s->dim[2] * W;
    dn_args_copy a = {.axes = 5,
                      .dim = {s->dim[0], k, k, rows, W},
                      .x_stride = {item, W * k, 1, W * k * k, k},
                      .y_stride = {item, k * rows * W, rows * W, W, 1},
                      .alpha = 1};
    for (int32_t i = 0; !to_phases && i < a.axes; i++) {
        int64_t stride = a.x_stride[i];
        a.x_stride[i] = a.y_stride[i];
        a.y_stride[i] = stride;
    }
    dni_emit(b, DN_OP_COPY, &a, DNI_TENSORS(x), DNI_TENSORS(y));
}

static void forward(dni_layer *layer, dni_builder *b)
{
    reorg(layer, b, !((const reorg_state *)layer->state)->reverse, b->x[0], b->y[0]);
}

static void backward(dni_layer *layer, dni_builder *b)
{
    reorg(layer, b, ((const reorg_state *)layer->state)->reverse, b->dy[0], b->dx[0]);
}

const dni_layer_class dni_layer_reorg = {
    .type = "Reorg",
    .bottoms_min = 1,
    .bottoms_max = 1,
    .tops_min = 1,
    .tops_max = 1,
    .state_size = sizeof(reorg_state),
    .shape = shape,
    .forward = forward,
    .backward = backward,
};
