/* SPDX-License-Identifier: BSD-2-Clause
 * YoloSeg (MobileNet-YOLO): L = 1/N sum (s (sigmoid(x) - t))^2 against class maps.
 * yolo_seg_param: object_scale s (5); use_logic_gradient, use_hardsigmoid, class_scale and
 * num_class mean nothing in the layer's own code, nor here. bottoms: x, t of one count, [what
 * the net should compute first]; N is x's first length; top: one number. What flows back is a
 * rule: dx = s (sigmoid(x) - t) / N. */
#include "layers/layer.h"

typedef struct seg_state {
    double scale;
    dni_tensor d; /* s (sigmoid(x) - t), while lowering */
} seg_state;

static dn_status shape(dni_layer *layer)
{
    const Cnn__YoloSegParameter *p = layer->param->yolo_seg_param;
    const dni_shape *x = &layer->bottom[0], *t = &layer->bottom[1];
    seg_state *s = layer->state;
    s->scale = p ? p->object_scale : 5;
    bool unread = layer->wire_only && x->axes == 4 && t->axes == 4 && x->dim[2] == t->dim[2] &&
                  x->dim[3] == t->dim[3]; /* how many maps there are is in the data alone */
    DNI_REQUIRE(x->axes >= 1 && (unread || dni_shape_count(x) == dni_shape_count(t)),
                DN_E_SHAPE, "bottom 0 has %lld values, the class maps %lld",
                (long long)dni_shape_count(x), (long long)dni_shape_count(t));
    layer->top[0] = dni_shape_of(0, NULL);
    return DN_OK;
}

static void forward(dni_layer *layer, dni_builder *b)
{
    seg_state *s = layer->state;
    const dni_shape *x = &layer->bottom[0];
    s->d = dni_temp_like(b, b->x[0]);
    dni_tensor p = dni_temp_like(b, b->x[0]);
    dni_emit_unary(b, DN_FN_SIGMOID, 0, 0, 0, b->x[0], p);
    dni_emit_sum2(b, s->scale, p, -s->scale, b->x[1], s->d);
    dni_emit_reduce(b, DN_REDUCE_SUMSQ, 1, dni_shape_count(x), 1, 1.0 / (double)x->dim[0], s->d,
                    DNI_NONE, b->y[0]);
}

static void backward(dni_layer *layer, dni_builder *b)
{
    const seg_state *s = layer->state;
    const dni_shape *x = &layer->bottom[0];
    dni_tensor g = dni_temp_like(b, b->x[0]);
    dni_emit_times(b, s->d, b->dy[0], g);
    dni_emit_unary(b, DN_FN_AFFINE, 1.0 / (double)x->dim[0], 0, 0, g, b->dx[0]);
}

const dni_layer_class dni_layer_yolo_seg = {
    .type = "YoloSeg",
    .bottoms_min = 2,
    .bottoms_max = 3,
    .tops_min = 1,
    .tops_max = 1,
    .flags = DNI_LAYER_LOSS,
    .no_gradient = 1u << 1 | 1u << 2,
    .state_size = sizeof(seg_state),
    .shape = shape,
    .forward = forward,
    .backward = backward,
};
