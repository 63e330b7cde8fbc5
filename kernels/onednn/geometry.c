/* SPDX-License-Identifier: BSD-2-Clause
 * geometry.c: a convolution in oneDNN's words, and its cutting into pieces. A piece is a few
 * whole images; where images are few, forward convolutions are cut into strips of rows too,
 * each with the padding that is left to it. Where weights outweigh the images, it is some
 * channels of y, over all images: each weight is then read, or made, by one piece. */
#include "onednn.h"

#include <string.h>

static bool read_image(one_image *image, const dn_operand *o)
{
    if ((o->dtype != DN_F32 && o->dtype != DN_BF16) || o->shape.axes != 4)
        return false;
    const int64_t *dim = o->shape.dim;
    *image = (one_image){.N = dim[0],
                         .C = dim[1],
                         .H = dim[2],
                         .W = dim[3],
                         .layout = o->layout,
                         .type = o->dtype == DN_BF16 ? dnnl_bf16 : dnnl_f32};
    return dim[0] > 0 && dim[1] > 0 && dim[2] > 0 && dim[3] > 0;
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

bool one_geo_init(one_geo *g, const dn_backend *backend, const dn_op_desc *desc,
                  dn_op_info *info)
{
    const dn_args_conv *a = desc->args;
    const dn_operand *x, *w, *y;
    operands_of(desc, &x, &w, &y);
    *g = (one_geo){.R = a->kernel[0],
                   .S = a->kernel[1],
                   .sh = a->stride[0],
                   .sw = a->stride[1],
                   .ph = a->pad[0],
                   .pw = a->pad[1],
                   .dh = a->dilation[0],
                   .dw = a->dilation[1],
                   .group = a->group,
                   .type = dnnl_f32};
    const char *why = NULL;
    int32_t more = desc->kind == DN_OP_CONV_BWD_WEIGHTS ? 2 : 1;
    if (one_present(desc->inputs, desc->num_inputs, more == 2 ? 2 : 3))
        why = "x is normalised on the way";
    else if (more == 2 && one_present(desc->inputs, desc->num_inputs, 7))
        why = "dy has a mask";
    else if (one_present(desc->outputs, desc->num_outputs, more))
        why = "both gradients at once, or moments of y";
    else if (a->spatial != 2 || w->dtype != DN_F32 || w->shape.axes != 4 ||
             !read_image(&g->x, x) || !read_image(&g->y, y))
        why = "not a 2-D convolution in f32 or bf16 with f32 weights";
    else if (g->group < 1 || g->x.C % g->group || g->y.C % g->group || g->R < 1 || g->S < 1)
        why = "empty or uneven convolution";
    bool narrow = g->x.type == dnnl_bf16 || g->y.type == dnnl_bf16;
    if (!why && narrow && !backend->bf16)
        why = "no bf16 instructions on this machine";
    if (why) {
        one_decline(info, why);
        return false;
    }
    if (narrow || (desc->compute == DN_COMPUTE_BF16 && backend->bf16))
        g->type = dnnl_bf16;
    /* oneDNN does that for every block of channels anew. */
    g->thinned = g->R * g->S == 1 && g->sh * g->sw > 1 && g->ph + g->pw == 0 && g->group == 1 &&
                 desc->kind != DN_OP_CONV_BWD_DATA;
    info->compute = g->type == dnnl_bf16 ? DN_COMPUTE_BF16 : DN_COMPUTE_F32;
    g->flops = 2.0 * (double)(g->y.N * g->y.H * g->y.W) * (double)one_geo_weight_count(g);
    return true;
}

int64_t one_geo_weight_count(const one_geo *g)
{
    return g->y.C * (g->x.C / g->group) * g->R * g->S;
}

/* The part of 16-wide vectors that c channels fill. */
static double filled(int64_t c)
{
    return (double)c / (double)((c + 15) / 16 * 16);
}

static double count_of(const one_image *i)
{
    return (double)(i->N * i->C * i->H * i->W);
}

/* Measured on one core of a Zen 4 whose f32 peak is 150 GFLOP/s: NHWC convolutions run at 105
 * to 125 where channels fill vectors, those of 1x1 a tenth less, depthwise ones at 50; bf16
 * twice that (AVX512_BF16), some eight times with AMX, which so often waits for memory that
 * bf16's bytes count as they are. Operands in another form are moved at 11 GB/s. With AVX2
 * groups of up to 16 channels take 1.15 of the time of cpu's (8 and 16 to as many). */
double one_geo_cost(const dn_backend *backend, const one_geo *g, int32_t kind)
{
    bool depthwise = g->group > 1 && g->x.C == g->group;
    int64_t c = g->x.C / g->group, k = g->y.C / g->group, wide = c * g->S;
    bool pixels =
        g->R * g->S == 1 && (g->thinned || g->sh * g->sw == 1) && g->type != dnnl_bf16;
    double rate = depthwise ? 52 : kind == DN_OP_CONV_BWD_WEIGHTS ? 105 : 115, moved = 0;
    if (pixels)
        rate *= 0.9;
    if (kind == DN_OP_CONV_BWD_WEIGHTS && c < 8 && !backend->avx512) /* AVX2: 25 of 100 */
        rate /= 2;
    if (g->type == dnnl_bf16 && !depthwise)
        rate *= backend->amx ? 8 : 2;
    if (!depthwise && kind == DN_OP_CONV_BWD_DATA)
        rate *= filled(c);
    else if (!depthwise)
        rate *= filled(k) * (wide < 16 ? 0.6 + 0.4 * (double)wide / 16 : 1);
    if (kind == DN_OP_CONV && g->group > 1 && k <= 16 && !backend->avx512 && rate > 52)
        rate = 52;
    bool tiles = backend->amx && g->type == dnnl_bf16 && !depthwise;
    if (g->x.layout != DN_LAYOUT_NHWC)
        moved += 8.0 * count_of(&g->x);
    if (g->y.layout != DN_LAYOUT_NHWC)
        moved += 8.0 * count_of(&g->y);
    if (g->thinned)
        moved += 8.0 * (double)(g->x.N * g->x.C * g->y.H * g->y.W);
    double touched = ((double)one_size(tiles && g->x.type == dnnl_bf16) * count_of(&g->x) +
                      (double)one_size(tiles && g->y.type == dnnl_bf16) * count_of(&g->y)) /
                     10;
    double work = g->flops / rate;
    if (depthwise && backend->avx512) /* a tenth and more ahead of cpu's, in memory or not */
        touched *= 0.9;
    return (work > touched ? work : touched) + moved / 11;
}

/* A piece is at least some 20 microseconds, and there are at most 64. */
int64_t one_geo_pieces(const one_geo *g)
{
    return one_max(1, one_min(64, (int64_t)(g->flops / 2e6)));
}

/* More pieces than two only while adding their gradients up is a small part of the work. */
int64_t one_geo_gradients(const dn_backend *backend, const one_geo *g)
{
    double work = one_geo_cost(backend, g, DN_OP_CONV_BWD_WEIGHTS);
    double adding = 12.0 / 8 * (double)one_geo_weight_count(g);
    int64_t most = (int64_t)(work / (6 * adding)) + 1;
    return one_min(one_geo_pieces(g), one_max(2, one_min(most, 16)));
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

static void cut_images(one_cuts *cuts, const one_geo *g, int64_t most)
{
    int64_t each = (g->x.N + most - 1) / most, extent = (g->R - 1) * g->dh + 1;
    int64_t after = (g->y.H - 1) * g->sh + extent - g->x.H - g->ph;
    for (int64_t n = 0; n < g->x.N; n += each) {
        one_cut cut = {.images = one_min(each, g->x.N - n),
                       .h = g->x.H,
                       .p = g->y.H,
                       .before = g->ph,
                       .after = after,
                       .k = g->y.C};
        cuts->piece[cuts->pieces++] = (one_piece){.image = n, .cut = find_cut(cuts, &cut)};
    }
}

static bool cut_rows(one_cuts *cuts, const one_geo *g, int64_t strips)
{
    int64_t each = (g->y.H + strips - 1) / strips, extent = (g->R - 1) * g->dh + 1;
    for (int64_t n = 0; n < g->x.N; n++)
        for (int64_t p = 0; p < g->y.H; p += each) {
            int64_t rows = one_min(each, g->y.H - p);
            int64_t from = p * g->sh - g->ph, to = from + (rows - 1) * g->sh + extent;
            int64_t h0 = one_max(0, from), h1 = one_min(g->x.H, to);
            one_cut cut = {.images = 1,
                           .h = h1 - h0,
                           .p = rows,
                           .before = h0 - from,
                           .after = to - h1,
                           .k = g->y.C};
            int32_t index = h1 > h0 ? find_cut(cuts, &cut) : -1;
            if (index < 0)
                return false;
            cuts->piece[cuts->pieces++] =
                (one_piece){.image = n, .h = h0, .p = p, .cut = index};
        }
    return true;
}

dn_status one_cuts_init(one_cuts *cuts, const dn_backend *backend, const one_geo *g,
                        int64_t most, bool rows)
{
    *cuts = (one_cuts){0};
    int64_t strips = rows && most >= 2 * g->x.N ? one_min(most / g->x.N, g->y.H) : 1;
    cuts->piece = one_alloc(backend, (size_t)(g->x.N * strips), sizeof *cuts->piece);
    if (!cuts->piece)
        return DN_E_NOMEM;
    if (strips > 1 && cut_rows(cuts, g, strips))
        return DN_OK;
    cuts->cuts = 0;
    cuts->pieces = 0;
    cut_images(cuts, g, one_max(1, most));
    return DN_OK;
}

/* ---- channels ---------------------------------------------------------------------------- */

enum { WIDTH = 64, MAX_PARTS = 16 }; /* what oneDNN's blocks of channels divide */

static int64_t part_width(int64_t channels)
{
    return ((channels + MAX_PARTS - 1) / MAX_PARTS + WIDTH - 1) / WIDTH * WIDTH;
}

bool one_geo_by_channels(const one_geo *g, int64_t readers)
{
    int64_t parts = g->y.C / part_width(g->y.C);
    bool lies =
        g->x.layout == DN_LAYOUT_NHWC && g->x.type == g->type && g->y.layout == DN_LAYOUT_NHWC;
    double in = (double)(g->x.N * g->x.C * g->x.H * g->x.W);
    if (g->thinned) /* by every piece */
        in = 4 * (double)(g->x.N * g->x.C * g->y.H * g->y.W);
    double out = (double)(g->y.N * g->y.C * g->y.H * g->y.W);
    return lies && g->group == 1 && parts >= 4 &&
           in * (double)parts + 2 * out < (double)one_geo_weight_count(g) * (double)readers;
}

dn_status one_cuts_channels(one_cuts *cuts, const dn_backend *backend, const one_geo *g)
{
    int64_t all = g->y.C, each = part_width(all);
    int64_t after = (g->y.H - 1) * g->sh + (g->R - 1) * g->dh + 1 - g->x.H - g->ph;
    *cuts = (one_cuts){0};
    cuts->piece = one_alloc(backend, (size_t)((all + each - 1) / each), sizeof *cuts->piece);
    if (!cuts->piece)
        return DN_E_NOMEM;
    for (int64_t at = 0; at < all; at += each) {
        one_cut cut = {.images = g->x.N,
                       .h = g->x.H,
                       .p = g->y.H,
                       .before = g->ph,
                       .after = after,
                       .k = one_min(each, all - at)};
        cuts->piece[cuts->pieces++] = (one_piece){.k = at, .cut = find_cut(cuts, &cut)};
    }
    return DN_OK;
}

bool one_is_part(const one_geo *g, const one_cut *cut)
{
    return cut->k != g->y.C;
}

/* Channels are cut in NHWC alone. */
static int64_t offset_in(const one_image *i, int64_t n, int64_t row, int64_t channel)
{
    int64_t rows = row * i->W * (i->layout == DN_LAYOUT_NHWC ? i->C : 1);
    return (n * i->C * i->H * i->W + rows + channel) * one_size(i->type == dnnl_bf16);
}

int64_t one_piece_x(const one_geo *g, const one_piece *piece)
{
    return offset_in(&g->x, piece->image, piece->h, 0);
}

int64_t one_piece_y(const one_geo *g, const one_piece *piece)
{
    return offset_in(&g->y, piece->image, piece->p, piece->k);
}

int64_t one_piece_w(const one_geo *g, const one_piece *piece)
{
    return piece->k * g->x.C * g->R * g->S;
}

dnnl_status_t one_geo_weights(one_desc *out, const one_geo *g, const one_cut *cut, int *axes,
                              dnnl_dim_t *dims)
{
    const dnnl_dim_t full[5] = {g->group, g->y.C / g->group, g->x.C / g->group, g->R, g->S};
    dnnl_dim_t size[5] = {full[0], full[1], full[2], full[3], full[4]}, strides[5], stride = 1;
    int skip = g->group == 1;
    if (cut && one_is_part(g, cut))
        size[1] = cut->k;
    *axes = 5 - skip;
    for (int i = *axes - 1; i >= 0; i--) {
        dims[i] = size[i + skip];
        strides[i] = stride;
        stride *= full[i + skip];
    }
    return one_desc_init(out, *axes, dims, dnnl_f32, strides);
}
