/* SPDX-License-Identifier: BSD-2-Clause
 * LabelSpecificAdd (AM-Softmax, Wang et al., 2018): y = x, but in TRAIN y[n, label] = x + bias
 * where x > -bias. label_specific_add_param: bias (0; below 0 in AM-Softmax), transform_test
 * (false; means nothing, as there); with bias_base the bias of forward i, the first being
 * `iteration` (0), is bias_base + (1 + bias_gamma i)^bias_power - 1, cut to bias_min (-1) and
 * bias_max (1). bottoms: x (N, ...), labels (N); tops: x's shape, [the bias (1)]. Gradient: dx
 * = dy. */
#include <math.h>

#include "deepnet/net.h"
#include "layers/values.h"

typedef struct add_state {
    const dni_layer *layer;
    int64_t iteration;
} add_state;

static dn_status setup(dni_layer *layer)
{
    const Cnn__LabelSpecificAddParameter *p = layer->param->label_specific_add_param;
    *(add_state *)layer->state = (add_state){layer, p ? p->iteration : 0};
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

static double next_bias(add_state *s)
{
    const Cnn__LabelSpecificAddParameter *p = s->layer->param->label_specific_add_param;
    if (!p->has_bias_base)
        return p->bias;
    double power = pow(1 + p->bias_gamma * (double)s->iteration++, p->bias_power);
    return fmin(fmax(p->bias_base + power - 1, p->bias_min), p->bias_max);
}

/* x, labels -> y, [bias] */
static dn_status run(void *user, void *const *in, void *const *out)
{
    const dni_layer *layer = ((add_state *)user)->layer;
    const dni_shape *x_shape = &layer->bottom[0];
    int64_t N = x_shape->dim[0], D = dni_shape_range(x_shape, 1, x_shape->axes);
    double bias = next_bias(user);
    if (layer->num_tops > 1)
        dni_put(out[1], layer->dtype, 0, bias);
    memcpy(out[0], in[0], (size_t)(N * D) * dni_dtype_size(layer->dtype));
    for (int64_t n = 0; n < N; n++) {
        double label = dni_get(in[1], layer->dtype, n);
        if (!(label >= 0 && label < (double)D))
            return dni_fail(DN_E_DATA, "a label is not from 0 to %lld", (long long)D - 1);
        double x = dni_get(in[0], layer->dtype, n * D + (int64_t)label);
        if (x > -bias)
            dni_put(out[0], layer->dtype, n * D + (int64_t)label, x + bias);
    }
    return DN_OK;
}

static void forward(dni_layer *layer, dni_builder *b)
{
    dn_args_host_call call = {.fn = run, .user = layer->state};
    if (layer->phase == DN_PHASE_TRAIN && layer->param->label_specific_add_param)
        dni_emit(b, DN_OP_HOST_CALL, &call, DNI_TENSORS(b->x[0], b->x[1]),
                 DNI_TENSORS(b->y[0], b->num_y > 1 ? b->y[1] : DNI_NONE));
    else
        dni_emit_copy(b, b->x[0], b->y[0]);
    if (layer->phase != DN_PHASE_TRAIN && b->num_y > 1)
        dni_emit_fill(b, b->y[1], 0);
}

static void backward(dni_layer *layer, dni_builder *b)
{
    (void)layer;
    dni_emit_copy(b, b->dy[0], b->dx[0]);
}

/* A snapshot keeps the number of forwards. */
static int64_t tell(const dni_layer *layer)
{
    return ((const add_state *)layer->state)->iteration;
}

static dn_status seek(dni_layer *layer, int64_t position)
{
    ((add_state *)layer->state)->iteration = position;
    return DN_OK;
}

const dni_layer_class dni_layer_label_specific_add = {
    .type = "LabelSpecificAdd",
    .bottoms_min = 2,
    .bottoms_max = 2,
    .tops_min = 1,
    .tops_max = 2,
    .no_gradient = 1u << 1,
    .state_size = sizeof(add_state),
    .setup = setup,
    .shape = shape,
    .forward = forward,
    .backward = backward,
    .tell = tell,
    .seek = seek,
};
