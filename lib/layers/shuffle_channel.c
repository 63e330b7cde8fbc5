/* SPDX-License-Identifier: BSD-2-Clause
 * ShuffleChannel (ShuffleNet): channels as a matrix of `group` rows, transposed: channel
 * c group + g of y is channel g (C / group) + c of x.
 * shuffle_channel_param: group (1; must divide C). bottom: (N, C, ...); top: the same.
 * Gradient: dx = dy transposed back. */
#include "layers/layer.h"

typedef struct shuffle_state {
    int64_t group;
} shuffle_state;

static dn_status shape(dni_layer *layer)
{
    const Cnn__ShuffleChannelParameter *p = layer->own;
    shuffle_state *s = layer->state;
    s->group = p->group;
    DNI_REQUIRE(layer->bottom[0].axes >= 2, DN_E_SHAPE, "bottom has no channels");
    DNI_REQUIRE(s->group > 0 && layer->bottom[0].dim[1] % s->group == 0, DN_E_NET,
                "group %lld does not divide the %lld channels", (long long)s->group,
                (long long)layer->bottom[0].dim[1]);
    return dni_shape_like_bottom(layer);
}

static void shuffle(const dni_layer *layer, dni_builder *b, int64_t rows, dni_tensor x,
                    dni_tensor y)
{
    const dni_shape *s = &layer->bottom[0];
    int64_t C = s->dim[1], inner = dni_shape_range(s, 2, s->axes), columns = C / rows;
    dn_args_copy a = {.axes = 4,
                      .dim = {s->dim[0], columns, rows, inner},
                      .x_stride = {C * inner, inner, columns * inner, 1},
                      .y_stride = {C * inner, rows * inner, inner, 1},
                      .alpha = 1};
    dni_emit(b, DN_OP_COPY, &a, DNI_TENSORS(x), DNI_TENSORS(y));
}

static void forward(dni_layer *layer, dni_builder *b)
{
    shuffle(layer, b, ((shuffle_state *)layer->state)->group, b->x[0], b->y[0]);
}

static void backward(dni_layer *layer, dni_builder *b)
{
    int64_t group = ((shuffle_state *)layer->state)->group;
    shuffle(layer, b, layer->bottom[0].dim[1] / group, b->dy[0], b->dx[0]);
}

const dni_layer_class dni_layer_shuffle_channel = {
    .type = "ShuffleChannel",
    .own = DNI_OWN(shuffle_channel_param),
    .bottoms_min = 1,
    .bottoms_max = 1,
    .tops_min = 1,
    .tops_max = 1,
    .state_size = sizeof(shuffle_state),
    .shape = shape,
    .forward = forward,
    .backward = backward,
};
