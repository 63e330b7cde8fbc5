/* SPDX-License-Identifier: BSD-2-Clause
 * Deconvolution: the transpose of a convolution that maps the top to the bottom, plus b: out
 * = stride (in - 1) + dilation (kernel - 1) + 1 - 2 pad.
 * convolution_param: as Convolution's. bottoms: (N..., C, spatial...), any number, of one
 * shape; tops: (N..., num_output, out...); weights: (C, num_output / group, kernel...),
 * (num_output). Gradient: dx = W * dy; dW = x * dy; db = sums of dy per channel; summed over
 * the bottoms. */
#include "layers/window.h"

typedef struct deconv_state {
    dni_window window;
    int64_t C, K, Q; /* channels in and out, elements of an output plane */
} deconv_state;

static dn_status setup(dni_layer *layer)
{
    const Cnn__ConvolutionParameter *p = layer->own;
    deconv_state *s = layer->state;
    dn_status st = dni_window_read(layer, &s->window);
    if (st)
        return st;
    s->C = layer->bottom[0].dim[s->window.axis];
    s->K = p->num_output;
    return dni_window_weights(layer, &s->window, s->C, s->K, true);
}

static dn_status out_length(const dni_window *w, int64_t in, int32_t i, int64_t *out)
{
    const dn_args_conv *a = &w->args;
    bool fits = dni_mul64(a->stride[i], in - 1, out) && *out < (int64_t)1 << 46;
    DNI_REQUIRE(fits, DN_E_SHAPE, "stride %lld makes the top too large",
                (long long)a->stride[i]);
    *out += a->dilation[i] * (a->kernel[i] - 1) + 1 - 2 * a->pad[i];
    DNI_REQUIRE(*out > 0, DN_E_SHAPE, "pad %lld leaves nothing of axis %d",
                (long long)a->pad[i], w->axis + 1 + i);
    return DN_OK;
}

static dn_status shape(dni_layer *layer)
{
    deconv_state *s = layer->state;
    dn_status st = dni_same_bottoms(layer);
    if (!st)
        st = dni_window_read(layer, &s->window);
    if (st)
        return st;
    DNI_REQUIRE(layer->bottom[0].dim[s->window.axis] == s->C, DN_E_SHAPE,
                "bottom has %lld channels, the weights were made for %lld",
                (long long)layer->bottom[0].dim[s->window.axis], (long long)s->C);
    dni_shape top = layer->bottom[0];
    top.dim[s->window.axis] = s->K;
    for (int32_t i = 0; !st && i < s->window.args.spatial; i++) {
        int32_t axis = s->window.axis + 1 + i;
        st = out_length(&s->window, layer->bottom[0].dim[axis], i, &top.dim[axis]);
    }
    s->Q = dni_shape_range(&top, s->window.axis + 1, top.axes);
    for (int32_t i = 0; i < layer->num_tops; i++)
        layer->top[i] = top;
    return st;
}

static void forward(dni_layer *layer, dni_builder *b)
{
    const deconv_state *s = layer->state;
    for (int32_t i = 0; i < b->num_x; i++) {
        dni_tensor x = dni_fold_read(&s->window, b, b->x[i]);
        dni_tensor y = dni_fold_write(&s->window, b, b->y[i]);
        dni_emit(b, DN_OP_CONV_BWD_DATA, &s->window.args,
                 DNI_TENSORS(x, b->w[0], b->num_w > 1 ? b->w[1] : DNI_NONE), DNI_TENSORS(y));
        dni_unfold(b, y, b->y[i]);
    }
}

static void backward_weights(const deconv_state *s, dni_builder *b, dni_tensor x, dni_tensor dy)
{
    if (b->dw[0] != DNI_NONE)
        dni_emit(b, DN_OP_CONV_BWD_WEIGHTS, &s->window.args,
                 DNI_TENSORS(dy, dni_fold_read(&s->window, b, x)),
                 DNI_TENSORS(b->dw[0], DNI_NONE));
    if (b->num_w > 1)
        dni_emit_reduce_mid(b, s->window.N, s->K, s->Q, 1, dy, DNI_NONE, b->dw[1]);
}

static void backward(dni_layer *layer, dni_builder *b)
{
    const deconv_state *s = layer->state;
    for (int32_t i = 0; i < b->num_x; i++) {
        if (b->dy[i] == DNI_NONE) {
            dni_emit_fill(b, b->dx[i], 0);
            continue;
        }
        dni_tensor dy = dni_fold_read(&s->window, b, b->dy[i]);
        dni_tensor dx = dni_fold_write(&s->window, b, b->dx[i]);
        backward_weights(s, b, b->x[i], dy);
        dni_emit(b, DN_OP_CONV, &s->window.args, DNI_TENSORS(dy, b->w[0], DNI_NONE),
                 DNI_TENSORS(dx));
        dni_unfold(b, dx, b->dx[i]);
    }
}

const dni_layer_class dni_layer_deconvolution = {
    .type = "Deconvolution",
    .own = DNI_OWN(convolution_param),
    .bottoms_min = 1,
    .bottoms_max = -1,
    .tops_min = 1,
    .tops_max = -1,
    .state_size = sizeof(deconv_state),
    .setup = setup,
    .shape = shape,
    .forward = forward,
    .backward = backward,
};
