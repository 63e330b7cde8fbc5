/* SPDX-License-Identifier: BSD-2-Clause
 * LabelSpecificAdd (AM-Softmax, Wang et al., 2018): y = x, but in TRAIN y[n, label] = x + bias
 * where x > -bias. label_specific_add_param: bias (0; below 0 in AM-Softmax), transform_test
 * (false; means nothing, as there).
 * bottoms: x (N, ...), labels (N); top: x's shape. Gradient: dx = dy. */
#include "deepnet/net.h"
#include "layers/values.h"

static dn_status shape(dni_layer *layer)
{
    const dni_shape *x = &layer->bottom[0];
    DNI_REQUIRE(x->axes >= 1 && dni_shape_count(x) > 0 &&
                    dni_shape_count(&layer->bottom[1]) == x->dim[0],
                DN_E_SHAPE, "bottom 1 must have one label for each item of bottom 0");
    return dni_shape_like_bottom(layer);
}

/* x, labels -> y */
static dn_status run(void *user, void *const *in, void *const *out)
{
    const dni_layer *layer = user;
    int64_t N = layer->bottom[0].dim[0], D = dni_shape_count(&layer->bottom[0]) / N;
    double bias = layer->param->label_specific_add_param->bias;
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
    dn_args_host_call call = {.fn = run, .user = layer};
    if (layer->phase == DN_PHASE_TRAIN && layer->param->label_specific_add_param)
        dni_emit(b, DN_OP_HOST_CALL, &call, DNI_TENSORS(b->x[0], b->x[1]),
                 DNI_TENSORS(b->y[0]));
    else
        dni_emit_copy(b, b->x[0], b->y[0]);
}

static void backward(dni_layer *layer, dni_builder *b)
{
    (void)layer;
    dni_emit_copy(b, b->dy[0], b->dx[0]);
}

const dni_layer_class dni_layer_label_specific_add = {
    .type = "LabelSpecificAdd",
    .bottoms_min = 2,
    .bottoms_max = 2,
    .tops_min = 1,
    .tops_max = 1,
    .no_gradient = 1u << 1,
    .shape = shape,
    .forward = forward,
    .backward = backward,
};
