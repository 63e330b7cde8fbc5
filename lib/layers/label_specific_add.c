/* SPDX-License-Identifier: BSD-2-Clause
 * LabelSpecificAdd (AM-Softmax, Wang et al., 2018): y = x, but in TRAIN y[n, label] = x + bias
 * where x > -bias. label_specific_add_param: bias (0; below 0 in AM-Softmax), transform_test
 * (false; means nothing, as there); with bias_base the bias of forward i, the first being
 * `iteration` (0), is bias_base + (1 + bias_gamma i)^bias_power - 1, cut to bias_min (-1) and
 * bias_max (1). bottoms: x (N, ...), labels (N); tops: x's shape, [the bias (1)]. Gradient: dx
 * = dy. */
#include <math.h>

#include "deepnet/net.h"
#include "layers/counted.h"

static bool learns(const dni_layer *layer)
{
    return layer->param->label_specific_add_param && layer->phase == DN_PHASE_TRAIN;
}

static double bias_of(const dni_layer *layer, int64_t forwards)
{
    const Cnn__LabelSpecificAddParameter *p = layer->param->label_specific_add_param;
    if (!learns(layer) || !p->has_bias_base)
        return learns(layer) ? p->bias : 0;
    double power = pow(1 + p->bias_gamma * (double)forwards, p->bias_power);
    return fmin(fmax(p->bias_base + power - 1, p->bias_min), p->bias_max);
}

static dn_status setup(dni_layer *layer)
{
    const Cnn__LabelSpecificAddParameter *p = layer->param->label_specific_add_param;
    dni_count_forwards(layer, p ? p->iteration : 0, bias_of);
    return DN_OK;
}

static dn_status shape(dni_layer *layer)
{
    const dni_shape *x = &layer->bottom[0];
    DNI_REQUIRE(x->axes >= 1 && dni_shape_count(&layer->bottom[1]) == x->dim[0], DN_E_SHAPE,
                "bottom 1 must have one label for each item of bottom 0");
    dn_status st = dni_shape_like_bottom(layer);
    if (layer->num_tops > 1)
        layer->top[1] = dni_shape_of(1, (int64_t[]){1});
    return st;
}

static void forward(dni_layer *layer, dni_builder *b)
{
    const dni_shape *x = &layer->bottom[0];
    int64_t M = x->dim[0], N = dni_shape_range(x, 1, x->axes);
    dni_tensor v = dni_temp(b, b->dtype, 1, x->dim);
    dni_tensor bias = dni_emit_counted(layer, b);
    dni_emit_copy(b, b->x[0], b->y[0]);
    if (!learns(layer))
        return;
    dni_emit_at(b, false, M, N, b->x[0], b->x[1], v);
    dni_emit_bcast(b, DN_BCAST_ADD, M, 1, 1, v, bias, v);
    dni_emit_unary(b, DN_FN_THRESHOLD, 0, 0, 0, v, v);
    dni_emit_times(b, v, bias, v);
    dni_emit_at(b, true, M, N, v, b->x[1], b->y[0]);
}

const dni_layer_class dni_layer_label_specific_add = {
    .type = "LabelSpecificAdd",
    .bottoms_min = 2,
    .bottoms_max = 2,
    .tops_min = 1,
    .tops_max = 2,
    .no_gradient = 1u << 1,
    .state_size = sizeof(dni_counted),
    .setup = setup,
    .shape = shape,
    .forward = forward,
    .backward = dni_copy_backward,
};
