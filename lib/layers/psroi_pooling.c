/* SPDX-License-Identifier: BSD-2-Clause
 * PSROIPooling (R-FCN): the mean of each bin of a region, each bin from a channel of its own.
 * psroi_pooling_param: spatial_scale (required), output_dim, group_size (G; required).
 * bottoms: map (N, output_dim G G, H, W), regions (R, 5): item, x0, y0, x1, y1 in pixels of the
 * image; top: (R, output_dim, G, G). The region is [round(x0), round(x1) + 1) scaled, at least
 * 0.1 long; bin (g, h) of output c is read from channel (c G + g) G + h; an empty bin gives 0.
 * Gradient: spread evenly over the bin; none to the regions. */
#include "layers/roi.h"

typedef struct pool_state {
    dni_layer *layer;
    int64_t D, G;
    double scale;
} pool_state;

static dn_status setup(dni_layer *layer)
{
    const Cnn__PSROIPoolingParameter *p = layer->param->psroi_pooling_param;
    pool_state *s = layer->state;
    DNI_REQUIRE(p && p->spatial_scale > 0 && p->output_dim > 0 && p->group_size > 0, DN_E_NET,
                "psroi_pooling_param needs spatial_scale, output_dim and group_size");
    *s = (pool_state){layer, p->output_dim, p->group_size, p->spatial_scale};
    return DN_OK;
}

static dn_status shape(dni_layer *layer)
{
    const pool_state *s = layer->state;
    int64_t need;
    dn_status st = dni_roi_check(layer);
    if (st)
        return st;
    DNI_REQUIRE(dni_mul64(s->D * s->G, s->G, &need) && layer->bottom[0].dim[1] == need,
                DN_E_SHAPE, "bottom 0 has %lld channels, output_dim x group_size^2 are needed",
                (long long)layer->bottom[0].dim[1]);
    layer->top[0] = dni_shape_of(4, (int64_t[]){layer->bottom[1].dim[0], s->D, s->G, s->G});
    return DN_OK;
}

/* Rows (or columns) of bin k, in the arithmetic of the net's type. */
static void bin_of(const pool_state *s, double from, double to, int64_t k, int64_t limit,
                   int64_t *out)
{
    int32_t t = s->layer->dtype;
    double start = dni_roi_round(t, round(from) * s->scale);
    double end = dni_roi_round(t, (round(to) + 1) * s->scale);
    double length = fmax(dni_roi_round(t, end - start), dni_roi_round(t, 0.1));
    double size = dni_roi_round(t, length / (double)s->G);
    double low = dni_roi_round(t, dni_roi_round(t, (double)k * size) + start);
    double high = dni_roi_round(t, dni_roi_round(t, (double)(k + 1) * size) + start);
    out[0] = dni_roi_cut(floor(low), limit);
    out[1] = dni_roi_cut(ceil(high), limit);
}

/* back: x gets the gradient of the bins y, else y the means of x. */
static void pool_region(const pool_state *s, int64_t r, const dni_roi *roi, void *x, void *y,
                        bool back)
{
    const dni_shape *in = &s->layer->bottom[0];
    int64_t C = in->dim[1], H = in->dim[2], W = in->dim[3], v[2], u[2];
    int32_t dtype = s->layer->dtype;
    for (int64_t k = 0; k < C; k++) {
        int64_t i = r * C + k, plane = (roi->item * C + k) * H * W;
        bin_of(s, roi->box.y0, roi->box.y1, k / s->G % s->G, H, v);
        bin_of(s, roi->box.x0, roi->box.x1, k % s->G, W, u);
        int64_t count = v[1] > v[0] && u[1] > u[0] ? (v[1] - v[0]) * (u[1] - u[0]) : 0;
        double sum = 0, g = back && count ? dni_get(y, dtype, i) / (double)count : 0;
        for (int64_t h = v[0]; count && h < v[1]; h++)
            for (int64_t w = u[0]; w < u[1]; w++) {
                double value = dni_get(x, dtype, plane + h * W + w);
                sum += value;
                if (back)
                    dni_put(x, dtype, plane + h * W + w, value + g);
            }
        if (!back)
            dni_put(y, dtype, i, count ? sum / (double)count : 0);
    }
}

static dn_status pool(const pool_state *s, const void *regions, void *x, void *y, bool back)
{
    dn_status st = DN_OK;
    for (int64_t r = 0; !st && r < s->layer->bottom[1].dim[0]; r++) {
        dni_roi roi;
        st = dni_roi_get(s->layer, regions, r, &roi);
        if (!st)
            pool_region(s, r, &roi, x, y, back);
    }
    return st;
}

static dn_status run_forward(void *user, void *const *in, void *const *out)
{
    return pool(user, in[1], in[0], out[0], false);
}

static dn_status run_backward(void *user, void *const *in, void *const *out)
{
    const pool_state *s = user;
    dni_roi_clear(s->layer, out[0]);
    return pool(s, in[1], out[0], in[0], true);
}

static void forward(dni_layer *layer, dni_builder *b)
{
    dn_args_host_call call = {.fn = run_forward, .user = layer->state};
    dni_emit(b, DN_OP_HOST_CALL, &call, DNI_TENSORS(b->x[0], b->x[1]), DNI_TENSORS(b->y[0]));
}

static void backward(dni_layer *layer, dni_builder *b)
{
    dn_args_host_call call = {.fn = run_backward, .user = layer->state};
    dni_emit(b, DN_OP_HOST_CALL, &call, DNI_TENSORS(b->dy[0], b->x[1]), DNI_TENSORS(b->dx[0]));
}

const dni_layer_class dni_layer_psroi_pooling = {
    .type = "PSROIPooling",
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
