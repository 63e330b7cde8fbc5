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

static const dni_layer_cursor cursor = {tell, seek};

static dn_status setup(dni_layer *layer)
{
    const Cnn__LabelSpecificAddParameter *p = layer->param->label_specific_add_param;
    *(add_state *)layer->state = (add_state){layer, p ? p->iteration : 0};
    layer->cursor = &cursor;
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

/* -> bias */
static dn_status next_bias(void *user, void *const *in, void *const *out)
{
    add_state *s = user;
    const Cnn__LabelSpecificAddParameter *p = s->layer->param->label_specific_add_param;
    double power = pow(1 + p->bias_gamma * (double)s->iteration++, p->bias_power);
    (void)in;
    dni_put(out[0], s->layer->dtype, 0,
            fmin(fmax(p->bias_base + power - 1, p->bias_min), p->bias_max));
    return DN_OK;
}

static void forward(dni_layer *layer, dni_builder *b)
{
    const Cnn__LabelSpecificAddParameter *p = layer->param->label_specific_add_param;
    const dni_shape *x = &layer->bottom[0];
    dn_args_host_call call = {.fn = next_bias, .user = layer->state};
    dn_args_gather at = {
        .count = 1, .cols = 1, .limit = dni_shape_range(x, 1, x->axes), .batch = x->dim[0]};
    dni_tensor v = dni_temp(b, b->dtype, 1, x->dim);
    dni_tensor bias = b->num_y > 1 ? b->y[1] : dni_temp(b, b->dtype, 0, NULL);
    bool learns = p && layer->phase == DN_PHASE_TRAIN;
    dni_emit_copy(b, b->x[0], b->y[0]);
    if (learns && p->has_bias_base)
        dni_emit(b, DN_OP_HOST_CALL, &call, 0, &bias, 1, &bias);
    else
        dni_emit_fill(b, bias, learns ? p->bias : 0);
    if (!learns)
        return;
    dni_emit(b, DN_OP_GATHER, &at, DNI_TENSORS(b->x[0], b->x[1]), DNI_TENSORS(v));
    dni_emit_bcast(b, DN_BCAST_ADD, at.batch, 1, 1, v, bias, v);
    dni_emit_unary(b, DN_FN_THRESHOLD, 0, 0, 0, v, v);
    dni_emit_times(b, v, bias, v);
    at.base.accumulate = 1;
    dni_emit(b, DN_OP_SCATTER_ADD, &at, DNI_TENSORS(v, b->x[1]), DNI_TENSORS(b->y[0]));
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
    .backward = dni_copy_backward,
};
