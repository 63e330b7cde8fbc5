/* SPDX-License-Identifier: BSD-2-Clause
 * SPP (spatial pyramid pooling, He et al., 2014): level l pools the image into 2^l x 2^l bins;
 * all levels' bins, one after the other, make a vector of the same length for any image size.
 * spp_param: pyramid_height (required), pool (MAX; AVE, STOCHASTIC), engine (ignored).
 * bottom: (N, C, H, W); top: (N, C * number of bins), for one level (N, C, bins, bins).
 * Gradient: the sum of the levels' pooling gradients. */
#include "deepnet/net.h"
#include "layers/layer.h"

#define MAX_LEVELS 16

typedef struct spp_state {
    int32_t levels;
    int64_t total; /* values per item */
    struct level {
        dn_args_pool pool;
        int64_t bins[2];
        dni_tensor y, mask; /* while lowering */
    } level[MAX_LEVELS];
} spp_state;

static int32_t method_of(const dni_layer *layer)
{
    switch (layer->param->spp_param->pool) {
    case CNN__SPPPARAMETER__POOL_METHOD__AVE:
        return DN_POOL_AVE;
    case CNN__SPPPARAMETER__POOL_METHOD__STOCHASTIC:
        return layer->phase == DN_PHASE_TRAIN ? DN_POOL_STOCHASTIC_TRAIN
                                              : DN_POOL_STOCHASTIC_TEST;
    default:
        return DN_POOL_MAX;
    }
}

/* Windows of ceil(size / bins), the image padded evenly to a whole number of them. */
static dn_status set_axis(struct level *l, int axis, int64_t size, int64_t bins)
{
    int64_t kernel = (size + bins - 1) / bins;
    int64_t pad = (kernel * bins - size + 1) / 2;
    DNI_REQUIRE(pad < kernel, DN_E_SHAPE,
                "an image of %lld pixels is too small for a level of %lld bins",
                (long long)size, (long long)bins);
    int64_t out = (size + 2 * pad - kernel + kernel - 1) / kernel + 1;
    if (pad && (out - 1) * kernel >= size + pad)
        out--;
    l->pool.kernel[axis] = l->pool.stride[axis] = kernel;
    l->pool.pad[axis] = pad;
    l->bins[axis] = out;
    return DN_OK;
}

static dn_status shape(dni_layer *layer)
{
    const Cnn__SPPParameter *p = layer->param->spp_param;
    spp_state *s = layer->state;
    const dni_shape *x = &layer->bottom[0];
    DNI_REQUIRE(p && p->pyramid_height > 0 && p->pyramid_height <= MAX_LEVELS, DN_E_NET,
                "spp_param needs a pyramid_height of 1 to %d", MAX_LEVELS);
    dn_status st = dni_need_axes(layer, 0, 4, false);
    if (st)
        return st;
    DNI_REQUIRE(x->dim[2] > 0 && x->dim[3] > 0, DN_E_SHAPE, "the image is empty");
    s->levels = (int32_t)p->pyramid_height;
    s->total = 0;
    for (int32_t i = 0; i < s->levels; i++) {
        struct level *l = &s->level[i];
        l->pool =
            (dn_args_pool){.method = method_of(layer), .spatial = 2, .stream = layer->stream};
        st = set_axis(l, 0, x->dim[2], (int64_t)1 << i);
        if (!st)
            st = set_axis(l, 1, x->dim[3], (int64_t)1 << i);
        if (st)
            return st;
        s->total += x->dim[1] * l->bins[0] * l->bins[1];
    }
    if (s->levels == 1)
        layer->top[0] = dni_shape_of(
            4, (int64_t[]){x->dim[0], x->dim[1], s->level[0].bins[0], s->level[0].bins[1]});
    else
        layer->top[0] = dni_shape_of(2, (int64_t[]){x->dim[0], s->total});
    return DN_OK;
}

static void forward(dni_layer *layer, dni_builder *b)
{
    spp_state *s = layer->state;
    int64_t N = layer->bottom[0].dim[0], C = layer->bottom[0].dim[1], at = 0;
    for (int32_t i = 0; i < s->levels; i++) {
        struct level *l = &s->level[i];
        int64_t dims[4] = {N, C, l->bins[0], l->bins[1]}, count = C * dims[2] * dims[3];
        bool train = l->pool.method == DN_POOL_STOCHASTIC_TRAIN;
        bool masked = train || l->pool.method == DN_POOL_MAX;
        l->y = dni_temp(b, b->dtype, 4, dims);
        l->mask = masked ? dni_temp(b, DN_I32, 4, dims) : DNI_NONE;
        l->pool.stream = layer->stream + (uint64_t)i;
        dni_emit(b, DN_OP_POOL, &l->pool, DNI_TENSORS(b->x[0], train ? b->random : DNI_NONE),
                 DNI_TENSORS(l->y, l->mask));
        dni_emit_rows(b, N, count, count, 0, s->total, at, l->y, b->y[0]);
        at += count;
    }
}

static void backward(dni_layer *layer, dni_builder *b)
{
    const spp_state *s = layer->state;
    int64_t N = layer->bottom[0].dim[0], C = layer->bottom[0].dim[1], at = 0;
    if (b->dx[0] == DNI_NONE)
        return;
    dni_emit_fill(b, b->dx[0], 0);
    if (s->level[0].pool.method == DN_POOL_STOCHASTIC_TEST)
        return; /* has no gradient */
    for (int32_t i = 0; i < s->levels; i++) {
        const struct level *l = &s->level[i];
        int64_t count = C * l->bins[0] * l->bins[1];
        dni_tensor dy = dni_temp_like(b, l->y);
        dn_args_pool pool = l->pool;
        pool.base.accumulate = 1;
        dni_emit_rows(b, N, count, s->total, at, count, 0, b->dy[0], dy);
        dni_emit(b, DN_OP_POOL_BWD, &pool, DNI_TENSORS(dy, l->mask), DNI_TENSORS(b->dx[0]));
        at += count;
    }
}

const dni_layer_class dni_layer_spp = {
    .type = "SPP",
    .bottoms_min = 1,
    .bottoms_max = 1,
    .tops_min = 1,
    .tops_max = 1,
    .state_size = sizeof(spp_state),
    .shape = shape,
    .forward = forward,
    .backward = backward,
};
