/* SPDX-License-Identifier: BSD-2-Clause
 * geometry.c: a convolution in oneDNN's words, and its cutting into pieces. A piece is a few
 * whole images; where images are few, forward convolutions are cut into strips of rows too,
 * each with the padding that is left to it. */
#include "onednn.h"

#include <string.h>

static bool is_image(const dn_operand *o, dnnl_data_type_t *type)
{
    *type = o->dtype == DN_BF16 ? dnnl_bf16 : dnnl_f32;
    return (o->dtype == DN_F32 || o->dtype == DN_BF16) && o->layout == DN_LAYOUT_NHWC &&
           o->shape.axes == 4;
}

/* Which operand is what: CONV: x, w -> y; BWD_DATA: y, w -> x; BWD_WEIGHTS: x, y -> w. */
static void operands_of(const dn_op_desc *d, const dn_operand **x, const dn_operand **w,
                        const dn_operand **y)
{
    bool data = d->kind == DN_OP_CONV_BWD_DATA, weights = d->kind == DN_OP_CONV_BWD_WEIGHTS;
    *x = data ? &d->outputs[0] : &d->inputs[0];
    *w = weights ? &d->outputs[0] : &d->inputs[1];
    *y = data ? &d->inputs[0] : weights ? &d->inputs[1] : &d->outputs[0];
}

static const char *unfit(const dn_backend *backend, const one_geo *g)
{
    if (g->group < 1 || g->C % g->group || g->K % g->group || g->N < 1 || g->C < 1 ||
        g->K < 1 || g->P < 1 || g->Q < 1 || g->R < 1 || g->S < 1)
        return "empty or uneven convolution";
    if (g->type == dnnl_bf16 && !backend->bf16)
        return "no bf16 instructions on this machine";
    return NULL;
}

bool one_geo_init(one_geo *g, const dn_backend *backend, const dn_op_desc *desc,
                  dn_op_info *info)
{
    const dn_args_conv *a = desc->args;
    const dn_operand *x, *w, *y;
    dnnl_data_type_t type_x, type_y;
    operands_of(desc, &x, &w, &y);
    if (a->spatial != 2 || !is_image(x, &type_x) || !is_image(y, &type_y) ||
        type_x != type_y || w->dtype != DN_F32 || w->shape.axes != 4) {
        one_decline(info, "convolution is not 2-D NHWC in f32 or bf16 with f32 weights");
        return false;
    }
    *g = (one_geo){.N = x->shape.dim[0], .C = x->shape.dim[1], .H = x->shape.dim[2],
                   .W = x->shape.dim[3], .K = y->shape.dim[1], .P = y->shape.dim[2],
                   .Q = y->shape.dim[3], .R = a->kernel[0], .S = a->kernel[1],
                   .sh = a->stride[0], .sw = a->stride[1], .ph = a->pad[0], .pw = a->pad[1],
                   .dh = a->dilation[0], .dw = a->dilation[1], .group = a->group,
                   .type = type_x};
    const char *why = unfit(backend, g);
    if (why) {
        one_decline(info, why);
        return false;
    }
    g->flops = 2.0 * (double)(g->N * g->K * g->P * g->Q) *
               (double)(g->C / g->group * g->R * g->S);
    return true;
}

/* Measured on one core of a Zen 4 whose f32 peak is 150 GFLOP/s: NHWC convolutions run at 110 to
 * 140, depthwise ones at 60; bf16 twice that (AVX512_BF16), some eight times with AMX. */
double one_geo_cost(const dn_backend *backend, const one_geo *g, int32_t kind)
{
    bool depthwise = g->group > 1 && g->C == g->group;
    double rate = depthwise ? 60 : kind == DN_OP_CONV_BWD_WEIGHTS ? 110 : 120;
    if (!backend->avx512)
        rate /= 2;
    if (g->type == dnnl_bf16 && !depthwise)
        rate *= backend->amx ? 8 : 2;
    int64_t wide = g->C / g->group * (kind == DN_OP_CONV_BWD_DATA ? 1 : g->S);
    if (!depthwise && wide < 16) /* vectors that are not full */
        rate *= (double)wide / 16;
    return g->flops / rate;
}

/* A piece is at least some 20 microseconds, and there are at most 64. */
int64_t one_geo_pieces(const one_geo *g)
{
    return one_max(1, one_min(64, (int64_t)(g->flops / 2e6)));
}

/* ---- cuts -------------------------------------------------------------------------------- */

/* The index of a cut, added if it is new; -1: there are too many. */
static int32_t find_cut(one_cuts *cuts, const one_cut *cut)
{
    for (int32_t i = 0; i < cuts->cuts; i++)
        if (!memcmp(&cuts->cut[i], cut, sizeof *cut))
            return i;
    if (cuts->cuts == ONE_CUTS)
        return -1;
    cuts->cut[cuts->cuts] = *cut;
    return cuts->cuts++;
}

static bool cut_images(one_cuts *cuts, const one_geo *g, int64_t most)
{
    int64_t each = (g->N + most - 1) / most, extent = (g->R - 1) * g->dh + 1;
    int64_t after = (g->P - 1) * g->sh + extent - g->H - g->ph;
    for (int64_t n = 0; n < g->N; n += each) {
        one_cut cut = {.images = one_min(each, g->N - n), .h = g->H, .p = g->P,
                       .before = g->ph, .after = after};
        cuts->piece[cuts->pieces++] = (one_piece){.image = n, .cut = find_cut(cuts, &cut)};
    }
    return true;
}

static bool cut_rows(one_cuts *cuts, const one_geo *g, int64_t strips)
{
    int64_t each = (g->P + strips - 1) / strips, extent = (g->R - 1) * g->dh + 1;
    for (int64_t n = 0; n < g->N; n++)
        for (int64_t p = 0; p < g->P; p += each) {
            int64_t rows = one_min(each, g->P - p);
            int64_t from = p * g->sh - g->ph, to = from + (rows - 1) * g->sh + extent;
            int64_t h0 = one_max(0, from), h1 = one_min(g->H, to);
            one_cut cut = {.images = 1, .h = h1 - h0, .p = rows, .before = h0 - from,
                           .after = to - h1};
            int32_t index = h1 > h0 ? find_cut(cuts, &cut) : -1;
            if (index < 0)
                return false;
            cuts->piece[cuts->pieces++] = (one_piece){n, h0, p, index};
        }
    return true;
}

dn_status one_cuts_init(one_cuts *cuts, const dn_backend *backend, const one_geo *g,
                        int64_t most, bool rows)
{
    *cuts = (one_cuts){0};
    int64_t strips = rows && most >= 2 * g->N ? one_min(most / g->N, g->P) : 1;
    cuts->piece = one_alloc(backend, (size_t)(g->N * strips), sizeof *cuts->piece);
    if (!cuts->piece)
        return DN_E_NOMEM;
    if (strips > 1 && cut_rows(cuts, g, strips))
        return DN_OK;
    cuts->cuts = 0;
    cuts->pieces = 0;
    cut_images(cuts, g, one_max(1, most));
    return DN_OK;
}

/* ---- descriptions ------------------------------------------------------------------------ */

dnnl_status_t one_geo_weights(one_desc *out, const one_geo *g, int *axes, dnnl_dim_t *dims)
{
    const dnnl_dim_t size[5] = {g->group, g->K / g->group, g->C / g->group, g->R, g->S};
    int skip = g->group == 1;
    dnnl_dim_t strides[5], stride = 1;
    *axes = 5 - skip;
    for (int i = *axes - 1; i >= 0; i--) {
        dims[i] = size[i + skip];
        strides[i] = stride;
        stride *= dims[i];
    }
    return one_desc_init(out, *axes, dims, dnnl_f32, strides);
}

static dnnl_status_t image_desc(one_desc *out, dnnl_data_type_t type, int64_t n, int64_t c,
                                int64_t h, int64_t w)
{
    const dnnl_dim_t dims[4] = {n, c, h, w}, strides[4] = {h * w * c, 1, w * c, c};
    return one_desc_init(out, 4, dims, type, strides);
}

static void window_of(one_conv_desc *conv, const one_geo *g, const one_cut *cut)
{
    int64_t wide = (g->Q - 1) * g->sw + (g->S - 1) * g->dw + 1;
    conv->stride[0] = g->sh;
    conv->stride[1] = g->sw;
    conv->dilation[0] = g->dh - 1;
    conv->dilation[1] = g->dw - 1;
    conv->pad_before[0] = cut->before;
    conv->pad_before[1] = g->pw;
    conv->pad_after[0] = cut->after;
    conv->pad_after[1] = wide - g->W - g->pw;
}

enum { X, Y, W, DW, B, DESCS };

static dnnl_status_t make_descs(one_desc *d, int *made, const one_geo *g, const one_cut *cut)
{
    int axes;
    dnnl_dim_t dims[5], k = g->K;
    const dnnl_dim_t one = 1;
    dnnl_status_t st = image_desc(&d[X], g->type, cut->images, g->C, cut->h, g->W);
    *made += !st;
    if (!st)
        st = image_desc(&d[Y], g->type, cut->images, g->K, cut->p, g->Q);
    *made += !st;
    one_desc plain;
    if (st || (st = one_geo_weights(&plain, g, &axes, dims)))
        return st;
    one_desc_free(&plain);
    st = one_desc_init(&d[W], axes, dims, g->type, NULL);
    *made += !st;
    if (!st)
        st = one_desc_init(&d[DW], axes, dims, dnnl_f32, NULL);
    *made += !st;
    if (!st)
        st = one_desc_init(&d[B], 1, &k, dnnl_f32, &one);
    *made += !st;
    return st;
}

dnnl_status_t one_geo_desc(dnnl_primitive_desc_t *out, const dn_backend *backend,
                           const one_geo *g, const one_cut *cut, int32_t kind, bool bias,
                           one_md w, const_dnnl_primitive_attr_t attr)
{
    one_desc d[DESCS];
    int made = 0;
    dnnl_status_t st = make_descs(d, &made, g, cut);
    if (!st) {
        bool weights = kind == DN_OP_CONV_BWD_WEIGHTS;
        one_conv_desc conv = {.kind = kind, .x = one_view(&d[X]), .y = one_view(&d[Y]),
                              .w = w && !weights ? w : one_view(&d[W]),
                              .dw = w && weights ? w : one_view(&d[DW]),
                              .b = bias ? one_view(&d[B]) : NULL};
        window_of(&conv, g, cut);
        st = one_conv_create(out, backend->engine, &conv, attr);
    }
    for (int i = 0; i < made; i++)
        one_desc_free(&d[i]);
    const char *name = st ? "" : one_desc_name(*out);
    if (!st && (strstr(name, "ref") || strstr(name, "gemm"))) {
        dnnl_primitive_desc_destroy(*out);
        st = dnnl_unimplemented;
    }
    return st;
}
