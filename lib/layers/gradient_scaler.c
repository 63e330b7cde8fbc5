/* SPDX-License-Identifier: BSD-2-Clause
 * GradientScaler (Ganin and Lempitsky, 2015: the reversal layer of domain adaptation): y = x.
 * gradient_scaler_param: lower_bound (0), upper_bound (1), alpha (10), max_iter (1).
 * bottom: any shape; top: the same; in place allowed.
 * Gradient: dx = -c dy, c = l + (u - l) (2 / (1 + exp(-alpha p)) - 1), p = iteration /
 * max_iter, at most 1, of the solver that trains the net; without one c = 1. */
#include <math.h>

#include "layers/counted.h"

typedef struct scaler_state {
    dni_counted counted;
    dni_tensor factor; /* -c, while lowering */
} scaler_state;

static double factor(const dni_layer *layer, int64_t forwards)
{
    const Cnn__GradientScalerParameter *p = layer->own;
    (void)forwards;
    if (!layer->iteration)
        return -1;
    double done = fmin((double)*layer->iteration / p->max_iter, 1);
    double low = p->lower_bound, height = p->upper_bound - low;
    return -(low + height * (2 / (1 + exp(-p->alpha * done)) - 1));
}

static dn_status setup(dni_layer *layer)
{
    const Cnn__GradientScalerParameter *p = layer->own;
    DNI_REQUIRE(p->max_iter > 0, DN_E_NET, "max_iter must be above 0");
    dni_count_forwards(layer, 0, factor);
    return DN_OK;
}

static void forward(dni_layer *layer, dni_builder *b)
{
    scaler_state *s = layer->state;
    s->factor = dni_emit_counted(layer, b);
    dni_copy_forward(layer, b);
}

static void backward(dni_layer *layer, dni_builder *b)
{
    const scaler_state *s = layer->state;
    dni_emit_times(b, b->dy[0], s->factor, b->dx[0]);
}

const dni_layer_class dni_layer_gradient_scaler = {
    .type = "GradientScaler",
    .own = DNI_OWN(gradient_scaler_param),
    .bottoms_min = 1,
    .bottoms_max = 1,
    .tops_min = 1,
    .tops_max = 1,
    .flags = DNI_LAYER_INPLACE | DNI_LAYER_KEEPS_SIGN,
    .state_size = sizeof(scaler_state),
    .setup = setup,
    .shape = dni_shape_like_bottom,
    .forward = forward,
    .backward = backward,
};
