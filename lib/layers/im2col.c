/* SPDX-License-Identifier: BSD-2-Clause
 * Im2col: y[(c, kernel position), out] = the element of channel c under that position.
 * convolution_param: kernel_size, stride, pad, dilation, axis as Convolution's; the rest has
 * no meaning here. bottoms: (N..., C, spatial...), any number, of one shape; tops: (N..., C *
 * product of the kernel, out...). Gradient: each dx is the sum of the dy that read it. */
#include "layers/window.h"

static dn_status shape(dni_layer *layer)
{
    dni_window *w = layer->state;
    dn_status st = dni_same_bottoms(layer);
    if (!st)
        st = dni_window_read(layer, w);
    if (st)
        return st;
    w->args.group = 1;
    dni_shape top = layer->bottom[0];
    for (int32_t i = 0; !st && i < w->args.spatial; i++) {
        st = dni_window_out(w, &layer->bottom[0], i, &top.dim[w->axis + 1 + i]);
        if (!st && !dni_mul64(top.dim[w->axis], w->args.kernel[i], &top.dim[w->axis]))
            st = dni_fail(DN_E_SHAPE, "the kernel is too large");
    }
    for (int32_t i = 0; i < layer->num_tops; i++)
        layer->top[i] = top;
    return st;
}

static void forward(dni_layer *layer, dni_builder *b)
{
    const dni_window *w = layer->state;
    for (int32_t i = 0; i < b->num_x; i++) {
        dni_tensor x = dni_fold_read(w, b, b->x[i]), y = dni_fold_write(w, b, b->y[i]);
        dni_emit(b, DN_OP_IM2COL, &w->args, DNI_TENSORS(x), DNI_TENSORS(y));
        dni_unfold(b, y, b->y[i]);
    }
}

static void backward(dni_layer *layer, dni_builder *b)
{
    const dni_window *w = layer->state;
    for (int32_t i = 0; i < b->num_x; i++) {
        if (b->dy[i] == DNI_NONE) {
            dni_emit_fill(b, b->dx[i], 0);
            continue;
        }
        dni_tensor dy = dni_fold_read(w, b, b->dy[i]), dx = dni_fold_write(w, b, b->dx[i]);
        dni_emit(b, DN_OP_COL2IM, &w->args, DNI_TENSORS(dy), DNI_TENSORS(dx));
        dni_unfold(b, dx, b->dx[i]);
    }
}

const dni_layer_class dni_layer_im2col = {
    .type = "Im2col",
    .own = DNI_OWN(convolution_param),
    .bottoms_min = 1,
    .bottoms_max = -1,
    .tops_min = 1,
    .tops_max = -1,
    .state_size = sizeof(dni_window),
    .shape = shape,
    .forward = forward,
    .backward = backward,
};
