/* SPDX-License-Identifier: BSD-2-Clause
 * SpatialDropout (ENet, Intel): TRAIN: y = x * mask / (1 - ratio), one mask for each channel of
 * each item, 0 with probability ratio; TEST: y = x. spatial_dropout_param, or dropout_param:
 * dropout_ratio (0.5). bottom: (N, C, ...); top: the same; in place allowed.
 * Gradient: dx = dy * mask / (1 - ratio). */
#include "deepnet/net.h"
#include "layers/layer.h"

typedef struct spatial_state {
    dn_args_dropout args;
    int64_t channels;  /* N C */
    dni_tensor factor; /* (N C): 0 or 1 / (1 - ratio), while lowering */
} spatial_state;

static dn_status setup(dni_layer *layer)
{
    const Cnn__SpatialDropoutParameter *p = layer->param->spatial_dropout_param;
    const Cnn__DropoutParameter *d = layer->param->dropout_param;
    spatial_state *s = layer->state;
    double ratio = p ? p->dropout_ratio : d ? d->dropout_ratio : 0.5;
    char text[32];
    DNI_REQUIRE(ratio >= 0 && ratio < 1, DN_E_NET, "dropout_ratio is %s, not in [0, 1)",
                dni_number(text, sizeof text, ratio, 9));
    s->args =
        (dn_args_dropout){.ratio = ratio, .scale = 1 / (1 - ratio), .stream = layer->stream};
    return DN_OK;
}

static dn_status shape(dni_layer *layer)
{
    const dni_shape *x = &layer->bottom[0];
    dn_status st = dni_need_axes(layer, 0, 2, true);
    if (st)
        return st;
    ((spatial_state *)layer->state)->channels = x->dim[0] * x->dim[1];
    return dni_shape_like_bottom(layer);
}

static int64_t places(const dni_layer *layer)
{
    return dni_shape_range(&layer->bottom[0], 2, layer->bottom[0].axes);
}

static void forward(dni_layer *layer, dni_builder *b)
{
    spatial_state *s = layer->state;
    if (layer->phase != DN_PHASE_TRAIN) {
        dni_emit_copy(b, b->x[0], b->y[0]);
        return;
    }
    dni_tensor ones = dni_temp(b, b->dtype, 1, &s->channels);
    dni_tensor mask = dni_temp(b, DN_U8, 1, &s->channels);
    s->factor = dni_temp(b, b->dtype, 1, &s->channels);
    dni_emit_fill(b, ones, 1);
    dni_emit(b, DN_OP_DROPOUT, &s->args, DNI_TENSORS(ones, b->random),
             DNI_TENSORS(s->factor, mask));
    dni_emit_bcast(b, DN_BCAST_MUL, 1, s->channels, places(layer), b->x[0], s->factor, b->y[0]);
}

static void backward(dni_layer *layer, dni_builder *b)
{
    const spatial_state *s = layer->state;
    if (layer->phase == DN_PHASE_TRAIN)
        dni_emit_bcast(b, DN_BCAST_MUL, 1, s->channels, places(layer), b->dy[0], s->factor,
                       b->dx[0]);
    else
        dni_emit_copy(b, b->dy[0], b->dx[0]);
}

const dni_layer_class dni_layer_spatial_dropout = {
    .type = "SpatialDropout",
    .bottoms_min = 1,
    .bottoms_max = 1,
    .tops_min = 1,
    .tops_max = 1,
    .flags = DNI_LAYER_INPLACE | DNI_LAYER_KEEPS_SIGN,
    .state_size = sizeof(spatial_state),
    .setup = setup,
    .shape = shape,
    .forward = forward,
    .backward = backward,
};
