/* SPDX-License-Identifier: BSD-2-Clause
 * ContinuationIndicator (Intel's fork, text recognition): where LSTM's sequences begin: 0 at
 * the first time, 1 after. continuation_indicator_param: time_step T, batch_size N (both
 * required; N is the bottom's first length if there is one). [bottom]; top: (T, N). No
 * gradient. */
#include "layers/layer.h"

static dn_status shape(dni_layer *layer)
{
    const Cnn__ContinuationIndicatorParameter *p = layer->param->continuation_indicator_param;
    bool given = layer->num_bottoms > 0;
    DNI_REQUIRE(p && p->time_step > 0 && (given || p->batch_size > 0), DN_E_NET,
                "continuation_indicator_param needs time_step and batch_size");
    DNI_REQUIRE(!given || layer->bottom[0].axes > 0, DN_E_SHAPE, "bottom has no axis");
    int64_t N = given ? layer->bottom[0].dim[0] : p->batch_size;
    layer->top[0] = dni_shape_of(2, (int64_t[]){p->time_step, N});
    return DN_OK;
}

static void forward(dni_layer *layer, dni_builder *b)
{
    const dni_shape *y = &layer->top[0];
    dni_tensor none = dni_temp(b, b->dtype, 1, &y->dim[1]);
    dni_emit_fill(b, none, 0);
    dni_emit_fill(b, b->y[0], 1);
    dni_emit_rows(b, 1, y->dim[1], y->dim[1], 0, y->dim[1], 0, none, b->y[0]);
}

const dni_layer_class dni_layer_continuation_indicator = {
    .type = "ContinuationIndicator",
    .bottoms_min = 0,
    .bottoms_max = 1,
    .tops_min = 1,
    .tops_max = 1,
    .no_gradient = 1u << 0,
    .shape = shape,
    .forward = forward,
};
