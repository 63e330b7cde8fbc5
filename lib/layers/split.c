/* SPDX-License-Identifier: BSD-2-Clause
 * Split: every top is a copy of the bottom. Old nets spell it out; none needs it here, since
 * gradients of a blob with several readers add up by themselves.
 * No parameters. bottom: any shape; tops: the same. Gradient: the sum of the dy. */
#include "layers/layer.h"

static void forward(dni_layer *layer, dni_builder *b)
{
    for (int32_t i = 0; i < b->num_y; i++)
        dni_emit_copy(b, b->x[0], b->y[i]);
}

static void backward(dni_layer *layer, dni_builder *b)
{
    dn_args_copy a = {.axes = 1,
                      .dim = {dni_shape_count(&layer->bottom[0])},
                      .x_stride = {1},
                      .y_stride = {1},
                      .alpha = 1};
    for (int32_t i = 0; i < b->num_y; i++) {
        if (b->dy[i] == DNI_NONE)
            continue;
        dni_emit(b, DN_OP_COPY, &a, DNI_TENSORS(b->dy[i]), DNI_TENSORS(b->dx[0]));
        a.base.accumulate = 1;
    }
    if (!a.base.accumulate)
        dni_emit_fill(b, b->dx[0], 0);
}

const dni_layer_class dni_layer_split = {
    .type = "Split",
    .bottoms_min = 1,
    .bottoms_max = 1,
    .tops_min = 1,
    .tops_max = -1,
    .shape = dni_shape_like_bottom,
    .forward = forward,
    .backward = backward,
};
