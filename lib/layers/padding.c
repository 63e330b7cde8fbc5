/* SPDX-License-Identifier: BSD-2-Clause
 * Padding: y = x with pad_value around it, or without its border where the pads are negative.
 * padding_param: DeepLab: pad_beg (0: above and left), pad_end (0: below and right); others:
 * pad (0: all around), or pad_t, pad_b, pad_l, pad_r (0) with pad_value (0).
 * bottom: (N, C, H, W); top: (N, C, H + pads, W + pads). Gradient: dx = dy where x lies in the
 * top, 0 elsewhere. */
#include "layers/crop.h"

typedef struct padding_state {
    dn_args_copy window;
    bool cuts;
} padding_state;

static dn_status shape(dni_layer *layer)
{
    const Cnn__PaddingParameter *p = layer->own;
    const dni_shape *x = &layer->bottom[0];
    dni_shape *y = &layer->top[0];
    padding_state *s = layer->state;
    int64_t beg = (int64_t)p->pad + p->pad_beg, end = (int64_t)p->pad + p->pad_end;
    int64_t before[2] = {beg + p->pad_t, beg + p->pad_l};
    int64_t after[2] = {end + p->pad_b, end + p->pad_r}, offset[DN_MAX_AXES] = {0};
    DNI_REQUIRE(!p->pad_method, DN_E_UNSUPPORTED, "pad_method other than CONSTANT");
    dn_status st = dni_need_axes(layer, 0, 4, false);
    if (st)
        return st;
    *y = *x;
    s->cuts = beg < 0 || end < 0;
    for (int d = 0; d < 2; d++) {
        DNI_REQUIRE(!s->cuts || (before[d] <= 0 && after[d] <= 0), DN_E_NET,
                    "pads are all positive or all negative");
        offset[2 + d] = s->cuts ? -before[d] : before[d];
        y->dim[2 + d] += before[d] + after[d];
        DNI_REQUIRE(y->dim[2 + d] > 0, DN_E_SHAPE, "the pads leave nothing of the bottom");
    }
    st = dni_shape_check(y);
    return st ? st : dni_crop_window(&s->window, s->cuts ? x : y, s->cuts ? y : x, offset);
}

/* x with its border changed to y, or the gradient of y to that of x. */
static void change(const padding_state *s, dni_builder *b, bool back, dni_tensor x,
                   dni_tensor y, double around)
{
    if (s->cuts != back)
        dni_emit(b, DN_OP_COPY, &s->window, DNI_TENSORS(x), DNI_TENSORS(y));
    else
        dni_crop_put(b, &s->window, x, y, around, back);
}

static void forward(dni_layer *layer, dni_builder *b)
{
    const Cnn__PaddingParameter *p = layer->own;
    change(layer->state, b, false, b->x[0], b->y[0], p->pad_value);
}

static void backward(dni_layer *layer, dni_builder *b)
{
    change(layer->state, b, true, b->dy[0], b->dx[0], 0);
}

const dni_layer_class dni_layer_padding = {
    .type = "Padding",
    .own = DNI_OWN(padding_param),
    .bottoms_min = 1,
    .bottoms_max = 1,
    .tops_min = 1,
    .tops_max = 1,
    .state_size = sizeof(padding_state),
    .shape = shape,
    .forward = forward,
    .backward = backward,
};
