/* SPDX-License-Identifier: BSD-2-Clause
 * ROIPooling (Fast R-CNN): the largest value of each bin of a region of the map.
 * roi_pooling_param: pooled_h, pooled_w (required; or pooled_size, once or twice),
 * spatial_scale (1: map / image). bottoms: map (N, C, H, W), regions (R, 5): item, x0, y0, x1,
 * y1 in pixels of the image; top: (R, C, pooled_h, pooled_w). Corners are scaled and rounded,
 * both belong to the region; bins overlap by a row where they must; an empty bin gives 0.
 * Gradient: to the element chosen; none to the regions. */
#include <float.h>

#include "layers/roi.h"

typedef struct pool_state {
    dni_layer *layer;
    int64_t P, Q; /* pooled */
    double scale;
    dni_tensor mask; /* I32: place in the plane of each maximum, -1: none; while lowering */
} pool_state;

static dn_status setup(dni_layer *layer)
{
    const Cnn__ROIPoolingParameter *p = layer->param->roi_pooling_param;
    pool_state *s = layer->state;
    DNI_REQUIRE(p, DN_E_NET, "roi_pooling_param needs pooled_h and pooled_w");
    s->layer = layer;
    s->P = p->n_pooled_size ? p->pooled_size[0] : p->pooled_h;
    s->Q = p->n_pooled_size ? p->pooled_size[p->n_pooled_size - 1] : p->pooled_w;
    s->scale = p->spatial_scale;
    DNI_REQUIRE(s->P > 0 && s->Q > 0, DN_E_NET, "pooled_h and pooled_w must be positive");
    return DN_OK;
}

static dn_status shape(dni_layer *layer)
{
    const pool_state *s = layer->state;
    dn_status st = dni_roi_check(layer);
    if (!st)
        layer->top[0] = dni_shape_of(
            4, (int64_t[]){layer->bottom[1].dim[0], layer->bottom[0].dim[1], s->P, s->Q});
    return st;
}

typedef struct bins {
    double start, size;
    int64_t limit;
} bins;

/* Rows (or columns) of bin k: [*from, *to), in the arithmetic of the net's type. */
static void bin_of(const pool_state *s, const bins *b, int64_t k, int64_t *from, int64_t *to)
{
    int32_t dtype = s->layer->dtype;
    *from = dni_roi_cut(floor(dni_roi_round(dtype, (double)k * b->size)) + b->start, b->limit);
    *to =
        dni_roi_cut(ceil(dni_roi_round(dtype, (double)(k + 1) * b->size)) + b->start, b->limit);
}

static bins bins_of(const pool_state *s, double from, double to, int64_t pooled, int64_t limit)
{
    int32_t dtype = s->layer->dtype;
    double start = round(dni_roi_round(dtype, from * s->scale));
    double end = round(dni_roi_round(dtype, to * s->scale));
    double length = fmax(end - start + 1, 1);
    return (bins){start, dni_roi_round(dtype, length / (double)pooled), limit};
}

static int64_t largest(const pool_state *s, const void *x, int64_t plane, int64_t W,
                       const int64_t *rows, const int64_t *columns, double *value)
{
    int64_t at = -1;
    *value = -FLT_MAX;
    for (int64_t h = rows[0]; h < rows[1]; h++)
        for (int64_t w = columns[0]; w < columns[1]; w++) {
            double v = dni_get(x, s->layer->dtype, plane + h * W + w);
            if (v > *value)
                *value = v, at = h * W + w;
        }
    if (rows[1] <= rows[0] || columns[1] <= columns[0])
        *value = 0;
    return at;
}

static void pool_region(const pool_state *s, int64_t r, const dni_roi *roi, const void *x,
                        void *y, int32_t *mask)
{
    const dni_shape *in = &s->layer->bottom[0];
    int64_t C = in->dim[1], H = in->dim[2], W = in->dim[3], rows[2], columns[2];
    bins v = bins_of(s, roi->box.y0, roi->box.y1, s->P, H);
    bins u = bins_of(s, roi->box.x0, roi->box.x1, s->Q, W);
    for (int64_t c = 0, i = r * C * s->P * s->Q; c < C; c++)
        for (int64_t p = 0; p < s->P; p++)
            for (int64_t q = 0; q < s->Q; q++, i++) {
                double value;
                bin_of(s, &v, p, &rows[0], &rows[1]);
                bin_of(s, &u, q, &columns[0], &columns[1]);
                int64_t at =
                    largest(s, x, (roi->item * C + c) * H * W, W, rows, columns, &value);
                dni_put(y, s->layer->dtype, i, value);
                if (mask)
                    mask[i] = (int32_t)at;
            }
}

/* map, regions -> top, [mask] */
static dn_status run_forward(void *user, void *const *in, void *const *out)
{
    const pool_state *s = user;
    dn_status st = DN_OK;
    for (int64_t r = 0; !st && r < s->layer->bottom[1].dim[0]; r++) {
        dni_roi roi;
        st = dni_roi_get(s->layer, in[1], r, &roi);
        if (!st)
            pool_region(s, r, &roi, in[0], out[0], out[1]);
    }
    return st;
}

/* dy, mask, regions -> dx */
static dn_status run_backward(void *user, void *const *in, void *const *out)
{
    const pool_state *s = user;
    const dni_shape *x = &s->layer->bottom[0];
    const int32_t *mask = in[1];
    int64_t C = x->dim[1], plane = x->dim[2] * x->dim[3], bins_count = s->P * s->Q;
    int32_t dtype = s->layer->dtype;
    dn_status st = DN_OK;
    dni_roi_clear(s->layer, out[0]);
    for (int64_t r = 0; !st && r < s->layer->bottom[1].dim[0]; r++) {
        dni_roi roi;
        st = dni_roi_get(s->layer, in[2], r, &roi);
        for (int64_t k = 0, i = r * C * bins_count; !st && k < C * bins_count; k++, i++) {
            if (mask[i] < 0)
                continue;
            int64_t to = (roi.item * C + k / bins_count) * plane + mask[i];
            dni_put(out[0], dtype, to, dni_get(out[0], dtype, to) + dni_get(in[0], dtype, i));
        }
    }
    return st;
}

static void forward(dni_layer *layer, dni_builder *b)
{
    pool_state *s = layer->state;
    dn_args_host_call call = {.fn = run_forward, .user = s};
    const dni_shape *y = &layer->top[0];
    s->mask = layer->propagate[0] ? dni_temp(b, DN_I32, y->axes, y->dim) : DNI_NONE;
    dni_emit(b, DN_OP_HOST_CALL, &call, DNI_TENSORS(b->x[0], b->x[1]),
             DNI_TENSORS(b->y[0], s->mask));
}

static void backward(dni_layer *layer, dni_builder *b)
{
    pool_state *s = layer->state;
    dn_args_host_call call = {.fn = run_backward, .user = s};
    dni_emit(b, DN_OP_HOST_CALL, &call, DNI_TENSORS(b->dy[0], s->mask, b->x[1]),
             DNI_TENSORS(b->dx[0]));
}

const dni_layer_class dni_layer_roi_pooling = {
    .type = "ROIPooling",
    .bottoms_min = 2,
    .bottoms_max = 2,
    .tops_min = 1,
    .tops_max = 1,
    .no_gradient = 1u << 1,
    .state_size = sizeof(pool_state),
    .setup = setup,
    .shape = shape,
    .forward = forward,
    .backward = backward,
};
