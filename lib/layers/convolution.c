/* SPDX-License-Identifier: BSD-2-Clause
 * Convolution: y = W * x + b (cross-correlation), out = (in + 2 pad - (dilation (kernel - 1)
 * + 1)) / stride + 1. convolution_param: num_output, kernel_size | kernel_h kernel_w
 * (required), stride (1), pad (0), dilation (1; DeepLab's hole), each once or per spatial axis,
 * or as _h and _w; pad_t, pad_b, pad_l and pad_r in place of pad, of Synopsys' fork; group (1),
 * bias_term (true), weight_filler, bias_filler, axis (1: the channels; axes after it are
 * spatial). engine and force_nd_im2col change no result. Of C3D: kernel_depth, temporal_stride,
 * temporal_pad, for the first of three spatial axes.
 * bottoms: (N..., C, spatial...), any number, of one shape; tops: (N..., num_output, out...);
 * weights: (num_output, C / group, kernel...), (num_output).
 * Gradient: dx = W^T * dy; dW = dy * x; db = sums of dy per channel; summed over the bottoms.
 */
#include "layers/convolution.h"

#include <string.h>

/* The window; the depthwise classes take each channel as a group of its own. */
static dn_status read_window(const dni_layer *layer, dni_window *w)
{
    const Cnn__ConvolutionParameter *p = layer->own;
    dn_status st = dni_window_read(layer, w);
    if (!st && strstr(layer->cls->type, "Depthwise") && !p->has_group) {
        int64_t C = layer->bottom[0].dim[w->axis];
        DNI_REQUIRE(C > 0 && C <= INT32_MAX, DN_E_SHAPE, "bottom has %lld channels",
                    (long long)C);
        w->args.group = (int32_t)C;
    }
    return st;
}

dn_status dni_convolution_setup(dni_layer *layer)
{
    const Cnn__ConvolutionParameter *p = layer->own;
    dni_convolution *s = layer->state;
    dn_status st = read_window(layer, &s->window);
    if (st)
        return st;
    s->C = layer->bottom[0].dim[s->window.axis];
    s->K = p->num_output;
    return dni_window_weights(layer, &s->window, s->C, s->K, false);
}

dn_status dni_convolution_shape_top(dni_layer *layer)
{
    dni_convolution *s = layer->state;
    dn_status st = read_window(layer, &s->window);
    if (st)
        return st;
    DNI_REQUIRE(layer->bottom[0].dim[s->window.axis] == s->C, DN_E_SHAPE,
                "bottom has %lld channels, the weights were made for %lld",
                (long long)layer->bottom[0].dim[s->window.axis], (long long)s->C);
    dni_shape top = layer->bottom[0];
    top.dim[s->window.axis] = s->K;
    for (int32_t i = 0; !st && i < s->window.args.spatial; i++)
        st = dni_window_out(&s->window, &layer->bottom[0], i, &top.dim[s->window.axis + 1 + i]);
    s->Q = dni_shape_range(&top, s->window.axis + 1, top.axes);
    for (int32_t i = 0; i < layer->num_tops; i++)
        layer->top[i] = top;
    return st;
}

dn_status dni_convolution_shape(dni_layer *layer)
{
    dn_status st = dni_same_bottoms(layer);
    return st ? st : dni_convolution_shape_top(layer);
}

void dni_convolution_forward(dni_layer *layer, dni_builder *b)
{
    const dni_convolution *s = layer->state;
    for (int32_t i = 0; i < b->num_x; i++) {
        dni_tensor x = dni_border_read(&s->window, b, b->x[i]);
        dni_tensor y = dni_fold_write(&s->window, b, b->y[i]);
        dni_emit(b, DN_OP_CONV, &s->window.args,
                 DNI_TENSORS(x, b->w[0], b->num_w > 1 ? b->w[1] : DNI_NONE), DNI_TENSORS(y));
        dni_unfold(b, y, b->y[i]);
    }
}

void dni_convolution_backward_weights(const dni_convolution *s, const dn_args_conv *args,
                                      dni_builder *b, dni_tensor x, dni_tensor dy)
{
    dni_tensor db = b->num_w > 1 ? b->dw[1] : DNI_NONE;
    if (b->dw[0] == DNI_NONE)
        dni_emit_reduce_mid(b, s->window.N, s->K, s->Q, 1, dy, DNI_NONE, db);
    else
        dni_emit(b, DN_OP_CONV_BWD_WEIGHTS, args, DNI_TENSORS(x, dy),
                 DNI_TENSORS(b->dw[0], db));
}

void dni_convolution_backward(dni_layer *layer, dni_builder *b)
{
    const dni_convolution *s = layer->state;
    for (int32_t i = 0; i < b->num_x; i++) {
        if (b->dy[i] == DNI_NONE) {
            dni_emit_fill(b, b->dx[i], 0);
            continue;
        }
        dni_tensor dy = dni_fold_read(&s->window, b, b->dy[i]);
        dni_tensor dx = dni_border_write(&s->window, b, b->dx[i]);
        dni_tensor x = b->dw[0] == DNI_NONE ? b->x[i] : dni_border_read(&s->window, b, b->x[i]);
        dni_convolution_backward_weights(s, &s->window.args, b, x, dy);
        dni_emit(b, DN_OP_CONV_BWD_DATA, &s->window.args, DNI_TENSORS(dy, b->w[0], DNI_NONE),
                 DNI_TENSORS(dx));
        dni_unborder(&s->window, b, dx, b->dx[i]);
    }
}

const dni_layer_class dni_layer_convolution = {
    .type = "Convolution",
    DNI_CONVOLUTION_CLASS,
};
