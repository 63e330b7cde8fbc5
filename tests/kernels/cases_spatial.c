/* SPDX-License-Identifier: BSD-2-Clause
 * cases_spatial.c: cases of matrix products, convolutions, poolings and LRN. */
#include "builder.h"

typedef struct gemm_row {
    int64_t m, n, k, batch;
} gemm_row;

static const gemm_row gemms[] = {
    {1, 1, 1, 1},      {1, 17, 33, 1},   {33, 1, 17, 1},    {3, 5, 7, 1},
    {8, 16, 32, 1},    {15, 31, 9, 2},   {17, 65, 64, 1},   {64, 10, 500, 1},
    {7, 100, 1, 3},    {65, 33, 129, 1}, {4, 4, 4, 5},      {1, 1, 257, 1},
    {5, 3, 0, 1},      {128, 70, 40, 1}, {2, 300, 75, 1},   {12, 64, 98, 1},
    {13, 70, 2100, 1}, {44, 97, 65, 1},  {40, 5000, 16, 1}, {105, 41, 2100, 1},
    {210, 67, 130, 2}, {100, 56, 130, 1}}; /* many rows: panels of B, or B as it lies */

static void gemm_case(builder *b, gemm_row g, int variant)
{
    bool loose = variant & 4; /* rows with space between them, and offsets */
    BEGIN(b, DN_OP_GEMM, dn_args_gemm);
    dn_args_gemm *a = &b->c.args.gemm;
    a->trans_a = variant & 1;
    a->trans_b = variant >> 1 & 1;
    a->m = g.m;
    a->n = g.n;
    a->k = g.k;
    a->batch = g.batch;
    a->lda = (a->trans_a ? g.m : g.k) + (loose ? 3 : 0);
    a->ldb = (a->trans_b ? g.k : g.n) + (loose ? 1 : 0);
    a->ldc = g.n + (loose ? 2 : 0);
    a->stride_a = (a->trans_a ? g.k : g.m) * a->lda;
    a->stride_b = variant % 3 == 0 ? 0 : (a->trans_b ? g.n : g.k) * a->ldb; /* B for all */
    a->stride_c = g.m * a->ldc;
    a->offset_a = loose ? 2 : 0;
    a->offset_b = loose ? 3 : 0;
    a->offset_c = loose ? 5 : 0;
    a->alpha = variant & 8 ? -0.5 : 1;
    a->bias_mode = variant % 3;
    b->c.tolerance = g.k > 1000 ? 1e-4 : 3e-5; /* f32, term after term */
    in(b, NORMAL, SHAPE(a->stride_a * g.batch + a->offset_a));
    in(b, NORMAL, SHAPE((a->trans_b ? g.n : g.k) * a->ldb * g.batch + a->offset_b));
    if (a->bias_mode)
        in(b, NORMAL, SHAPE(a->bias_mode == 1 ? g.n : g.m));
    out_as(b, DN_F32, NORMAL, SHAPE(a->stride_c * g.batch + a->offset_c));
    emit_added(b, 1);
    b->c.compute = DN_COMPUTE_BF16;
    emit_added(b, 1);
    emit_constant(b, 1u << 1);
    b->c.compute = DN_COMPUTE_F32;
    a->activation = variant % 2 || variant & 16 ? DN_FN_RELU : DN_FN_TANH;
    a->activation_a = 0.25;
    emit_added(b, 1);
    emit_constant(b, variant & 1 ? 1u << 1 : 1u << 1 | 1u << 2);
    b->c.compute = DN_COMPUTE_BF16;
    b->c.constant = 1u << 1;
    emit_added(b, 1);
}

static void gemm_cases(builder *b)
{
    for (size_t r = 0; r < sizeof(gemms) / sizeof(gemms[0]); r++)
        for (int variant = 0; variant < 24; variant++)
            gemm_case(b, gemms[r], variant);
}

typedef struct conv_row {
    int32_t spatial;
    int64_t N, C, K, group, in[3], kernel[3], stride[3], pad[3], dilation[3];
} conv_row;

static const conv_row convs[] = {
    {2, 1, 1, 1, 1, {1, 1}, {1, 1}, {1, 1}, {0, 0}, {1, 1}},
    {2, 2, 3, 5, 1, {7, 9}, {3, 3}, {1, 1}, {1, 1}, {1, 1}},
    {2, 2, 1, 20, 1, {14, 14}, {5, 5}, {1, 1}, {0, 0}, {1, 1}},
    {2, 1, 20, 17, 1, {12, 12}, {5, 5}, {1, 1}, {0, 0}, {1, 1}},
    {2, 3, 4, 6, 2, {8, 7}, {3, 2}, {2, 1}, {1, 0}, {1, 1}},
    {2, 2, 16, 33, 1, {6, 5}, {1, 1}, {1, 1}, {0, 0}, {1, 1}},
    {2, 2, 8, 8, 8, {9, 9}, {3, 3}, {1, 1}, {1, 1}, {1, 1}},
    {2, 1, 15, 15, 15, {17, 8}, {3, 3}, {2, 2}, {1, 1}, {1, 1}},
    {2, 1, 6, 12, 6, {5, 5}, {3, 3}, {1, 1}, {1, 1}, {1, 1}},
    /* groups of few channels, some of which are put together */
    {2, 2, 64, 128, 16, {9, 8}, {3, 3}, {1, 1}, {1, 1}, {1, 1}},
    {2, 1, 40, 20, 10, {9, 7}, {3, 3}, {2, 2}, {1, 1}, {1, 1}},
    /* of 4, 8 and 16 alone; of rows in bands, padded with more than a kernel sees */
    {2, 2, 32, 32, 8, {13, 12}, {3, 3}, {1, 1}, {1, 1}, {1, 1}},
    {2, 1, 48, 48, 6, {11, 19}, {3, 2}, {2, 3}, {2, 1}, {1, 2}},
    {2, 1, 32, 32, 2, {46, 50}, {3, 3}, {1, 1}, {2, 0}, {1, 1}},
    {2, 1, 16, 16, 4, {9, 3}, {1, 5}, {1, 1}, {0, 4}, {1, 1}},
    /* depthwise of whole vectors, and not */
    {2, 2, 32, 32, 32, {9, 10}, {3, 3}, {1, 1}, {1, 0}, {1, 1}},
    {2, 3, 16, 16, 16, {17, 8}, {3, 3}, {2, 2}, {1, 1}, {1, 1}},
    {2, 1, 512, 512, 512, {5, 4}, {3, 3}, {1, 1}, {1, 1}, {1, 1}},
    {2, 2, 32, 32, 32, {8, 10}, {3, 3}, {1, 1}, {1, 1}, {1, 1}}, /* in tiles */
    {2, 1, 16, 16, 16, {4, 2}, {3, 3}, {1, 1}, {1, 1}, {1, 1}},
    {2, 3, 16, 16, 16, {6, 4}, {3, 3}, {1, 1}, {1, 1}, {1, 1}}, /* but for halves of images */
    {2, 2, 40, 40, 40, {7, 7}, {3, 3}, {1, 1}, {1, 1}, {1, 1}},
    {2, 1, 24, 24, 24, {9, 6}, {3, 3}, {2, 2}, {1, 1}, {1, 1}},
    {2, 3, 36, 36, 36, {19, 23}, {5, 5}, {1, 1}, {2, 1}, {1, 1}},
    {2, 1, 40, 40, 40, {37, 31}, {3, 4}, {1, 2}, {3, 1}, {2, 1}},
    /* panels of outputs that are whole, for sums: in pieces, and laid side by side */
    {2, 2, 352, 64, 1, {5, 7}, {1, 1}, {1, 1}, {0, 0}, {1, 1}},
    {2, 1, 3, 32, 1, {33, 17}, {3, 3}, {2, 2}, {1, 1}, {1, 1}},
    {2, 1, 1, 32, 1, {9, 7}, {1, 1}, {1, 1}, {0, 0}, {1, 1}}, /* rows that are neighbours */
    {2, 1, 2, 3, 1, {11, 13}, {3, 3}, {1, 2}, {2, 3}, {2, 3}},
    {2, 1, 3, 8, 1, {23, 23}, {11, 11}, {4, 4}, {0, 0}, {1, 1}},
    {2, 2, 3, 4, 1, {7, 7}, {7, 7}, {1, 1}, {0, 0}, {1, 1}},
    {2, 35, 20, 48, 1, {4, 3}, {4, 3}, {2, 1}, {0, 0}, {1, 1}}, /* whole images, many */
    {2, 1, 2, 2, 1, {4, 4}, {3, 3}, {3, 3}, {2, 2}, {1, 1}},
    {2, 1, 5, 7, 1, {9, 31}, {1, 1}, {2, 3}, {0, 0}, {1, 1}},
    {2, 2, 5, 7, 1, {8, 9}, {1, 1}, {2, 2}, {0, 0}, {1, 1}},
    {2, 1, 70, 37, 1, {6, 7}, {3, 3}, {2, 2}, {1, 1}, {1, 1}},
    {2, 1, 340, 9, 1, {4, 5}, {2, 3}, {1, 1}, {0, 1}, {1, 1}},
    {2, 3, 8, 16, 1, {10, 33}, {3, 3}, {1, 1}, {1, 1}, {1, 1}},
    {1, 2, 3, 4, 1, {17}, {5}, {2}, {2}, {1}},
    {1, 1, 4, 2, 2, {8}, {2}, {1}, {0}, {3}},
    {3, 1, 2, 3, 1, {4, 5, 6}, {2, 3, 2}, {1, 2, 1}, {0, 1, 1}, {1, 1, 2}},
    {3, 2, 2, 4, 2, {3, 3, 3}, {3, 3, 3}, {1, 1, 1}, {1, 1, 1}, {1, 1, 1}},
    {3, 2, 6, 8, 2, {7, 6, 5}, {3, 3, 2}, {2, 1, 1}, {2, 1, 0}, {2, 1, 1}},
    {3, 2, 3, 33, 1, {5, 6, 7}, {3, 3, 3}, {1, 2, 2}, {1, 1, 1}, {1, 1, 1}},
    {3, 2, 35, 40, 1, {4, 3, 5}, {3, 1, 1}, {2, 1, 1}, {1, 0, 0}, {1, 1, 1}},
    {3, 2, 33, 34, 1, {3, 5, 4}, {1, 1, 1}, {2, 2, 2}, {0, 0, 0}, {1, 1, 1}},
    {3, 1, 32, 32, 8, {5, 6, 7}, {3, 3, 3}, {2, 2, 2}, {1, 1, 1}, {1, 1, 1}},
    {3, 2, 64, 48, 1, {2, 5, 7}, {1, 1, 1}, {1, 1, 1}, {0, 0, 0}, {1, 1, 1}},
    {0, 3, 4, 5, 1, {0}, {0}, {0}, {0}, {0}},
    {2, 1, 160, 512, 1, {4, 4}, {1, 1}, {1, 1}, {0, 0}, {1, 1}}, /* packed in parts */
    /* enough work to be cut into pieces: of the batch, and of the rows of one image */
    {2, 5, 16, 16, 1, {14, 14}, {3, 3}, {1, 1}, {1, 1}, {1, 1}},
    {2, 1, 3, 64, 1, {44, 40}, {7, 7}, {2, 2}, {3, 3}, {1, 1}},
    {2, 1, 5, 37, 1, {23, 25}, {7, 9}, {2, 3}, {4, 4}, {1, 1}}, /* taps in pieces of rows */
    {2, 5, 64, 70, 1, {16, 16}, {1, 1}, {1, 1}, {0, 0}, {1, 1}},
    {2, 2, 37, 50, 1, {9, 8}, {1, 1}, {1, 1}, {0, 0}, {1, 1}}, /* blocks of no whole vectors */
    /* weights that outweigh the images */
    {2, 3, 24, 272, 1, {3, 3}, {3, 3}, {1, 1}, {1, 1}, {1, 1}},
    {2, 1, 260, 40, 1, {4, 3}, {3, 3}, {1, 1}, {1, 1}, {1, 1}},
    {2, 2, 256, 290, 1, {4, 5}, {1, 1}, {2, 2}, {0, 0}, {1, 1}},
    /* channels enough for Winograd's tiles */
    {2, 2, 32, 60, 1, {12, 11}, {3, 3}, {1, 1}, {1, 1}, {1, 1}},
    {2, 1, 66, 122, 2, {10, 16}, {3, 3}, {1, 1}, {0, 2}, {1, 1}},
    {2, 1, 37, 63, 1, {9, 8}, {5, 5}, {1, 1}, {2, 1}, {1, 1}},
    {2, 1, 96, 250, 2, {12, 7}, {3, 3}, {1, 1}, {1, 1}, {1, 1}},
    /* dilated: whole phases and cut ones, padding of its own */
    {2, 2, 32, 60, 1, {15, 18}, {3, 3}, {1, 1}, {2, 2}, {2, 2}},
    {2, 1, 66, 122, 2, {13, 24}, {3, 3}, {1, 1}, {4, 1}, {3, 2}},
    {2, 1, 37, 63, 1, {11, 12}, {5, 5}, {1, 1}, {3, 4}, {2, 2}},
    /* taps that few outputs see: more pixels than are collected, outputs that see nothing */
    {2, 5, 128, 144, 1, {9, 8}, {3, 3}, {1, 1}, {5, 6}, {5, 6}},
    {2, 1, 256, 274, 2, {5, 6}, {3, 3}, {1, 1}, {9, 5}, {4, 3}},
    {2, 1, 400, 130, 1, {9, 7}, {3, 3}, {2, 1}, {4, 5}, {4, 6}},
    {3, 2, 37, 33, 1, {3, 5, 6}, {3, 3, 3}, {1, 1, 1}, {1, 1, 1}, {1, 1, 1}},
    {3, 1, 96, 66, 2, {5, 7, 4}, {3, 3, 3}, {2, 1, 1}, {0, 1, 1}, {1, 1, 1}},
    {3, 1, 40, 130, 1, {4, 6, 6}, {2, 3, 3}, {1, 1, 1}, {2, 1, 0}, {2, 1, 1}},
    {3, 1, 40, 66, 1, {4, 9, 10}, {3, 3, 3}, {1, 1, 1}, {2, 2, 3}, {2, 2, 3}},
    {3, 1, 208, 32, 1, {2, 4, 5}, {2, 3, 3}, {1, 1, 1}, {1, 1, 1}, {1, 1, 1}},
    /* and images: in planes, with tiles that hang over */
    {2, 31, 9, 34, 1, {11, 12}, {5, 5}, {1, 1}, {1, 0}, {1, 1}},
    {2, 14, 22, 18, 2, {13, 8}, {5, 5}, {1, 1}, {2, 4}, {1, 1}},
    {2, 15, 20, 70, 2, {7, 13}, {5, 5}, {1, 1}, {2, 2}, {1, 1}}};

/* More channels, and more tiles, than are held at a time. */
static const conv_row large_convs[] = {
    {2, 1, 232, 232, 1, {6, 5}, {3, 3}, {1, 1}, {1, 1}, {1, 1}},
    {2, 1, 32, 32, 1, {66, 65}, {3, 3}, {1, 1}, {1, 1}, {1, 1}},
    /* kernels of one line: pieces of lines, of several images, of no whole tile */
    {2, 3, 64, 64, 1, {5, 41}, {1, 3}, {1, 1}, {1, 2}, {1, 1}},
    {2, 2, 128, 124, 2, {2, 200}, {1, 3}, {1, 1}, {0, 7}, {3, 4}},
    {2, 1, 96, 94, 1, {131, 3}, {5, 1}, {1, 1}, {2, 0}, {1, 1}},
    {2, 8, 64, 64, 1, {4, 64}, {1, 4}, {1, 1}, {0, 1}, {1, 1}},
    /* strided: phases of x and of y, of unlike size, with taps that are not there */
    {2, 3, 60, 62, 1, {39, 44}, {4, 4}, {2, 2}, {1, 1}, {1, 1}},
    {2, 3, 64, 96, 2, {27, 26}, {5, 5}, {2, 2}, {2, 1}, {1, 1}},
    {2, 4, 32, 64, 1, {24, 36}, {8, 8}, {3, 3}, {2, 3}, {1, 1}},
    {2, 2, 32, 64, 1, {23, 21}, {7, 7}, {2, 2}, {3, 2}, {1, 1}},
    {2, 4, 64, 64, 1, {16, 15}, {2, 2}, {1, 1}, {0, 1}, {1, 1}},
    {2, 6, 64, 64, 1, {20, 19}, {5, 5}, {2, 2}, {2, 2}, {1, 1}}, /* weights turned first */
    /* rows that see too far to be laid, and what a size in bytes cannot say */
    {2, 1, 32, 32, 8, {4, 4}, {3, 3}, {1, 1}, {300, 300}, {300, 300}},
    {2, 1, 32, 32, 8, {4, 4}, {2, 2}, {1, 1}, {268435455, 268435452}, {536870911, 536870904}}};

typedef struct conv_shapes {
    dn_shape x, y, w, columns;
} conv_shapes;

static conv_shapes shapes_of(const conv_row *r)
{
    conv_shapes s = {SHAPE(r->N, r->C), SHAPE(r->N, r->K), SHAPE(r->K, r->C / r->group),
                     SHAPE(r->N, r->C)};
    for (int32_t d = 0; d < r->spatial; d++) {
        int64_t extent = r->dilation[d] * (r->kernel[d] - 1) + 1;
        int64_t out_dim = (r->in[d] + 2 * r->pad[d] - extent) / r->stride[d] + 1;
        s.x.dim[s.x.axes++] = r->in[d];
        s.y.dim[s.y.axes++] = out_dim;
        s.w.dim[s.w.axes++] = r->kernel[d];
        s.columns.dim[1] *= r->kernel[d];
        s.columns.dim[s.columns.axes++] = out_dim;
    }
    return s;
}

static void conv_begin(builder *b, int32_t kind, const conv_row *r)
{
    BEGIN(b, kind, dn_args_conv);
    dn_args_conv *a = &b->c.args.conv;
    a->spatial = r->spatial;
    a->group = (int32_t)r->group;
    for (int32_t d = 0; d < r->spatial; d++) {
        a->kernel[d] = r->kernel[d];
        a->stride[d] = r->stride[d];
        a->pad[d] = r->pad[d];
        a->dilation[d] = r->dilation[d];
    }
    conv_shapes s = shapes_of(r);
    int64_t terms = 1; /* of a sum */
    for (int32_t d = 0; d < r->spatial; d++)
        terms *= (kind == DN_OP_CONV_BWD_WEIGHTS ? s.y : s.w).dim[2 + d];
    terms *= kind == DN_OP_CONV               ? r->C / r->group
             : kind == DN_OP_CONV_BWD_WEIGHTS ? r->N
                                              : r->K / r->group;
    b->c.tolerance = terms > 1000 ? 1e-4 : 3e-5; /* f32, term after term */
}

/* In bf16: f32 operands that may be rounded to it, and images that are bf16 themselves. */
static void emit_narrow(builder *b, uint32_t accumulate, uint32_t in_images,
                        uint32_t out_images)
{
    kernel_case wide = b->c;
    b->c.compute = DN_COMPUTE_BF16;
    emit_layouts(b, accumulate, in_images, out_images);
    b->c.compute = DN_COMPUTE_F32;
    narrow_side(&b->c.in, in_images);
    narrow_side(&b->c.out, out_images);
    emit_layouts(b, accumulate, in_images, out_images);
    b->c = wide;
}

/* Images in both layouts, and forward from planes to NHWC. */
static void emit_conv(builder *b, uint32_t accumulate)
{
    kernel_case plain = b->c;
    emit_layouts(b, accumulate, 1, 1);
    if (b->c.kind == DN_OP_CONV && b->c.args.conv.spatial == 2) {
        nhwc(&b->c.out, 1);
        emit_added(b, accumulate);
    }
    b->c = plain;
}

/* A product of x (or dy) and w, plain and with bias and activation. */
static void conv_product(builder *b, int32_t kind, const conv_row *r)
{
    conv_shapes s = shapes_of(r);
    bool forward = kind == DN_OP_CONV;
    for (int bias = 0; bias < 2; bias++) {
        conv_begin(b, kind, r);
        in(b, NORMAL, forward ? s.x : s.y);
        in(b, NORMAL, s.w);
        if (bias)
            in(b, NORMAL, SHAPE(forward ? r->K : r->C));
        out(b, forward ? s.y : s.x);
        emit_conv(b, 1);
        emit_narrow(b, 1, 1, 1);
        b->c.args.conv.activation = bias ? DN_FN_RELU : DN_FN_SIGMOID;
        b->c.args.conv.activation_a = 0.1;
        emit_conv(b, 1);
        b->c.constant = bias ? 1u << 1 | 1u << 2 : 1u << 1;
        emit_conv(b, 1);
    }
    if (!forward)
        return;
    b->c.args.conv.activation = DN_FN_RELU_TO;
    b->c.args.conv.activation_a = 6;
    emit_layouts(b, 0, 1, 1);
}

/* Of what a normalisation makes of x. */
static void conv_of_norm(builder *b, int32_t kind, const conv_row *r)
{
    conv_shapes s = shapes_of(r);
    bool weights = kind == DN_OP_CONV_BWD_WEIGHTS;
    conv_begin(b, kind, r);
    b->c.args.conv.x_activation = r->N == 1 ? DN_FN_NONE : DN_FN_RELU;
    in(b, NORMAL, s.x);
    in(b, NORMAL, weights ? s.y : s.w);
    if (!weights)
        in_absent(b);
    for (int k = 0; k < 4; k++) /* mean, inv_std, gamma, beta */
        in(b, k == 1 ? POSITIVE : NORMAL, SHAPE(r->C));
    out(b, weights ? s.w : s.y);
    emit_layouts(b, 1, weights ? 3 : 1, weights ? 0 : 1);
    if (!weights)
        return;
    in(b, NORMAL, s.w); /* dx as well, and its sums */
    out(b, SHAPE(r->K));
    out(b, s.x);
    out(b, SHAPE(2, r->C));
    emit_layouts(b, 3, 3, 4);
    for (int k = 2; k < 6; k++)
        b->c.in.operand[k].dtype = -1;
    b->c.out.count = 3;
    emit_layouts(b, 3, 3, 4);
}

/* With what a normalisation wants to know of y. */
static void conv_with_moments(builder *b, const conv_row *r)
{
    conv_shapes s = shapes_of(r);
    conv_begin(b, DN_OP_CONV, r);
    in(b, NORMAL, s.x);
    in(b, NORMAL, s.w);
    if (r->N == 1)
        in(b, NORMAL, SHAPE(r->K));
    out(b, s.y);
    out(b, SHAPE(2, r->K));
    emit_conv(b, 1);
    b->c.args.conv.activation = DN_FN_RELU; /* some channels: far below, so that y is 0 */
    b->c.in.fill[0] = POSITIVE;
    b->c.tolerance = 1e-5; /* thousands of squares, term after term, many of them equal */
    emit_conv(b, 0);
    b->c.args.conv.activation = DN_FN_ABS;
    emit_conv(b, 0);
}

static void large_conv_cases(builder *b)
{
    for (size_t i = 0; i < sizeof(large_convs) / sizeof(large_convs[0]); i++) {
        const conv_row *r = &large_convs[i];
        conv_shapes s = shapes_of(r);
        for (int32_t kind = DN_OP_CONV; kind <= DN_OP_CONV_BWD_WEIGHTS; kind++) {
            bool weights = kind == DN_OP_CONV_BWD_WEIGHTS;
            conv_begin(b, kind, r);
            in(b, NORMAL, kind == DN_OP_CONV_BWD_DATA ? s.y : s.x);
            in(b, NORMAL, weights ? s.y : s.w);
            out(b, weights ? s.w : kind == DN_OP_CONV ? s.y : s.x);
            b->c.args.base.accumulate = i & 1;
            nhwc(&b->c.in, weights ? 3 : 1);
            nhwc(&b->c.out, weights ? 0 : 1);
            if (i & 1)
                b->c.out.fill[0] = NORMAL;
            emit(b);
            if (weights)
                continue;
            in(b, NORMAL, SHAPE(kind == DN_OP_CONV ? r->K : r->C));
            b->c.args.conv.activation = DN_FN_RELU;
            b->c.args.conv.activation_a = 0.1;
            b->c.constant = 1u << 1;
            emit(b);
            if (kind != DN_OP_CONV)
                continue;
            b->c.args.conv.activation = DN_FN_RELU_TO;
            b->c.args.conv.activation_a = 6;
            emit(b);
        }
    }
    static const conv_row summed = {2, 2, 96, 64, 1, {40, 41}, {1, 1}, {1, 1}, {0, 0}, {1, 1}};
    conv_with_moments(b, &summed);
    /* dy of more channels than a piece has pixels, many times */
    static const conv_row wide = {2, 1, 48, 4900, 1, {10, 20}, {1, 1}, {1, 1}, {0, 0}, {1, 1}};
    conv_begin(b, DN_OP_CONV_BWD_WEIGHTS, &wide);
    in(b, NORMAL, shapes_of(&wide).x);
    in(b, NORMAL, shapes_of(&wide).y);
    out(b, shapes_of(&wide).w);
    nhwc(&b->c.in, 3);
    emit(b);
}

/* Constant weights, and pixels and channels enough for Strassen's product: more than whole
 * units of 32, and some more; then each what can be halved only once, or not at all. */
static void strassen_cases(builder *b)
{
    static const conv_row rows[] = {
        {2, 1, 512, 256, 1, {20, 13}, {1, 1}, {1, 1}, {0, 0}, {1, 1}},
        {2, 4, 512, 256, 1, {7, 9}, {1, 1}, {1, 1}, {0, 0}, {1, 1}},   /* two halves' ends */
        {2, 2, 512, 512, 1, {29, 9}, {1, 1}, {1, 1}, {0, 0}, {1, 1}},  /* pixels */
        {2, 1, 544, 512, 1, {25, 21}, {1, 1}, {1, 1}, {0, 0}, {1, 1}}, /* pixels, not at all */
        {2, 1, 544, 512, 1, {26, 20}, {1, 1}, {1, 1}, {0, 0}, {1, 1}}, /* vectors of x */
        {2, 1, 528, 512, 1, {26, 20}, {1, 1}, {1, 1}, {0, 0}, {1, 1}}, /* of them, not at all */
        {2, 1, 512, 576, 1, {26, 20}, {1, 1}, {1, 1}, {0, 0}, {1, 1}}, /* of y */
        {2, 1, 512, 544, 1, {26, 20}, {1, 1}, {1, 1}, {0, 0}, {1, 1}},
        {2, 1, 1024, 256, 1, {26, 20}, {1, 1}, {1, 1}, {0, 0}, {1, 1}}, /* pages apart */
        {2, 3, 512, 256, 1, {27, 20}, {1, 1}, {2, 2}, {0, 0}, {1, 1}},  /* strides */
        {2, 2, 512, 256, 1, {58, 14}, {1, 1}, {3, 1}, {0, 0}, {1, 1}},
        {1, 2, 512, 256, 1, {512}, {1}, {2}, {0}, {1}}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const conv_row *r = &rows[i];
        conv_shapes s = shapes_of(r);
        for (int bias = i > 0; bias < 2; bias++) {
            conv_begin(b, DN_OP_CONV, r);
            b->c.args.conv.activation = bias ? DN_FN_RELU : DN_FN_NONE;
            b->c.args.conv.activation_a = 0.1;
            in(b, NORMAL, s.x);
            in(b, NORMAL, s.w);
            if (bias)
                in(b, NORMAL, SHAPE(r->K));
            out(b, s.y);
            nhwc(&b->c.in, 1);
            nhwc(&b->c.out, 1);
            b->c.constant = bias ? 1u << 1 | 1u << 2 : 1u << 1;
            if (i > 0)
                emit(b);
            else
                emit_added(b, 1);
        }
    }
}

/* The same of weights that are not constant, both ways, and with moments: of more blocks of
 * pixels than there are sums. */
static void strassen_training_cases(builder *b)
{
    static const conv_row rows[] = {
        {2, 1, 256, 256, 1, {66, 66}, {1, 1}, {1, 1}, {0, 0}, {1, 1}},
        {2, 2, 512, 512, 1, {29, 30}, {1, 1}, {1, 1}, {0, 0}, {1, 1}},
        {2, 3, 512, 512, 1, {33, 36}, {1, 1}, {2, 2}, {0, 0}, {1, 1}}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const conv_row *r = &rows[i];
        conv_shapes s = shapes_of(r);
        for (int32_t kind = DN_OP_CONV; kind <= DN_OP_CONV_BWD_DATA; kind++) {
            bool back = kind == DN_OP_CONV_BWD_DATA;
            conv_begin(b, kind, r);
            in(b, NORMAL, back ? s.y : s.x);
            in(b, NORMAL, s.w);
            in(b, NORMAL, SHAPE(back ? r->C : r->K));
            out(b, back ? s.x : s.y);
            if (!back)
                out(b, SHAPE(2, r->K));
            nhwc(&b->c.in, 1);
            nhwc(&b->c.out, 1);
            emit(b);
        }
    }
}

/* The gradient of weights from one that was pooled: elements with places of their own, some
 * with none, some with the same. */
static void conv_masked(builder *b, const conv_row *r)
{
    conv_shapes s = shapes_of(r);
    dn_shape dy = s.y;
    int64_t places = 1;
    conv_begin(b, DN_OP_CONV_BWD_WEIGHTS, r);
    for (int32_t d = 0; d < r->spatial; d++) {
        places *= dy.dim[2 + d];
        dy.dim[2 + d] = (dy.dim[2 + d] + 1) / 2;
    }
    in(b, NORMAL, s.x);
    in(b, NORMAL, dy);
    for (int32_t k = 2; k < 7; k++)
        in_absent(b);
    add_operand(&b->c.in, DN_I32, WINDOW_MASK, places, dy);
    out(b, s.w);
    emit_layouts(b, 1, 3 | 1u << 7, 0);
    out(b, SHAPE(r->K));
    emit_layouts(b, 3, 3 | 1u << 7, 0);
}

static void conv_row_cases(builder *b, const conv_row *r)
{
    conv_shapes s = shapes_of(r);
    conv_product(b, DN_OP_CONV, r);
    conv_product(b, DN_OP_CONV_BWD_DATA, r);
    conv_of_norm(b, DN_OP_CONV, r);
    conv_of_norm(b, DN_OP_CONV_BWD_WEIGHTS, r);
    conv_with_moments(b, r);
    conv_masked(b, r);
    conv_begin(b, DN_OP_CONV_BWD_WEIGHTS, r);
    in(b, NORMAL, s.x);
    in(b, NORMAL, s.y);
    out(b, s.w);
    emit_layouts(b, 1, 3, 0);
    out(b, SHAPE(r->K));
    emit_layouts(b, 3, 3, 0);
    emit_narrow(b, 3, 3, 0);
    conv_begin(b, DN_OP_IM2COL, r);
    in(b, NORMAL, s.x);
    out(b, s.columns);
    emit_added(b, 1);
    conv_begin(b, DN_OP_COL2IM, r);
    in(b, NORMAL, s.columns);
    out(b, s.x);
    emit_added(b, 1);
}

static void conv_cases(builder *b)
{
    for (size_t i = 0; i < sizeof(convs) / sizeof(convs[0]); i++)
        conv_row_cases(b, &convs[i]);
}

typedef struct pool_row {
    int32_t spatial;
    int64_t N, C, in[3], out[3], kernel[3], stride[3], pad[3];
} pool_row;

static const pool_row pools[] =
    {/* several outs are Caffe's ceilings: windows over the edge */
     {2, 2, 3, {8, 8}, {4, 4}, {2, 2}, {2, 2}, {0, 0}},
     {2, 1, 5, {7, 7}, {4, 4}, {2, 2}, {2, 2}, {0, 0}},
     {2, 2, 2, {13, 15}, {6, 7}, {3, 3}, {2, 2}, {0, 0}},
     {2, 1, 3, {6, 6}, {4, 4}, {3, 3}, {2, 2}, {1, 1}},
     {2, 1, 2, {9, 17}, {9, 17}, {3, 3}, {1, 1}, {1, 1}},
     {2, 3, 4, {7, 7}, {1, 1}, {7, 7}, {1, 1}, {0, 0}},
     {2, 1, 1, {33, 31}, {17, 16}, {3, 2}, {2, 2}, {1, 0}},
     {2, 1, 2, {5, 5}, {3, 3}, {1, 1}, {2, 2}, {0, 0}},
     {2, 1, 2, {4, 4}, {3, 3}, {4, 4}, {2, 2}, {2, 2}},
     {2, 2, 16, {12, 66}, {6, 33}, {2, 2}, {2, 2}, {0, 0}},
     {2, 1, 3, {19, 20}, {3, 2}, {7, 8}, {7, 10}, {1, 0}},
     {1, 2, 3, {17}, {9}, {3}, {2}, {1}},
     {3, 1, 2, {4, 5, 6}, {2, 3, 3}, {2, 2, 2}, {2, 2, 2}, {0, 0, 0}},
     {3, 2, 17, {5, 6, 9}, {3, 3, 9}, {3, 2, 3}, {2, 2, 1}, {1, 0, 1}},
     {3, 2, 3, {4, 6, 8}, {4, 3, 4}, {1, 2, 2}, {1, 2, 2}, {0, 0, 0}},
     {3, 1, 5, {3, 4, 4}, {1, 1, 1}, {3, 4, 4}, {1, 1, 1}, {0, 0, 0}}};

static void pool_begin(builder *b, int32_t kind, const pool_row *r, int32_t method,
                       int32_t exclude)
{
    BEGIN(b, kind, dn_args_pool);
    dn_args_pool *a = &b->c.args.pool;
    a->method = method;
    a->spatial = r->spatial;
    a->exclude_pad = exclude;
    a->stream = 5;
    for (int32_t d = 0; d < r->spatial; d++) {
        a->kernel[d] = r->kernel[d];
        a->stride[d] = r->stride[d];
        a->pad[d] = r->pad[d];
    }
}

static void pool_case(builder *b, const pool_row *r, int32_t method, int32_t exclude)
{
    dn_shape x = SHAPE(r->N, r->C), y = SHAPE(r->N, r->C);
    for (int32_t d = 0; d < r->spatial; d++) {
        x.dim[x.axes++] = r->in[d];
        y.dim[y.axes++] = r->out[d];
    }
    bool mask = method == DN_POOL_MAX || method == DN_POOL_STOCHASTIC_TRAIN;
    bool random = method >= DN_POOL_STOCHASTIC_TRAIN;
    pool_begin(b, DN_OP_POOL, r, method, exclude);
    in(b, random ? POSITIVE : COARSE, x);
    if (method == DN_POOL_STOCHASTIC_TRAIN)
        in_state(b);
    out(b, y);
    emit_layouts(b, 1, 1, 1);
    b->c.args.pool.activation = DN_FN_RELU;
    emit_layouts(b, 1, 1, 1);
    if (method == DN_POOL_AVE) { /* neither hides a NaN */
        b->c.in.fill[0] = SPOILT;
        emit_layouts(b, 0, 1, 1);
        emit_narrow_layouts(b, 0, 1, 1, 1, 1);
        b->c.in.fill[0] = COARSE;
    }
    b->c.args.pool.activation = DN_FN_NONE;
    if (mask) {
        out_as(b, DN_I32, POISON, y);
        emit_layouts(b, 1, 1, 3);
    }
    emit_narrow_layouts(b, 1, 1, 3, 1, 1);
    emit_mixed(b);
    if (method == DN_POOL_STOCHASTIC_TEST)
        return;
    pool_begin(b, DN_OP_POOL_BWD, r, method, exclude);
    in(b, NORMAL, y);
    if (mask)
        add_operand(&b->c.in, DN_I32, WINDOW_MASK, 0, y);
    out(b, x);
    emit_layouts(b, 1, 3, 1);
    emit_narrow_layouts(b, 1, 3, 1, 1, 1);
    emit_mixed(b);
}

static void pool_cases(builder *b)
{
    for (size_t i = 0; i < sizeof(pools) / sizeof(pools[0]); i++)
        for (int32_t method = 0; method <= DN_POOL_STOCHASTIC_TEST; method++)
            for (int32_t exclude = 0; exclude <= (method == DN_POOL_AVE); exclude++)
                pool_case(b, &pools[i], method, exclude);
}

/* N, C (K of PS_AVERAGE), H, W, R, P, Q, samples. Bins that floats divide as doubles do. */
static const int64_t rois[][8] = {{1, 1, 1, 1, 3, 1, 1, 1},    {2, 3, 9, 11, 7, 3, 4, 0},
                                  {1, 2, 17, 5, 20, 6, 6, 2},  {3, 66, 4, 6, 9, 2, 1, 3},
                                  {2, 5, 38, 50, 33, 6, 5, 0}, {1, 130, 7, 7, 4, 3, 3, 2},
                                  {2, 4, 1, 30, 12, 5, 2, 1}};

static void roi_cases(builder *b)
{
    for (size_t i = 0; i < sizeof(rois) / sizeof(rois[0]); i++)
        for (int32_t method = DN_ROI_MAX; method <= DN_ROI_ALIGN; method++) {
            const int64_t *s = rois[i];
            int64_t own = method == DN_ROI_PS_AVERAGE ? s[5] * s[6] : 1;
            dn_shape x = SHAPE(s[0], s[1] * own, s[2], s[3]), y = SHAPE(s[4], s[1], s[5], s[6]);
            bool mask = method == DN_ROI_MAX;
            BEGIN(b, DN_OP_ROI_POOL, dn_args_roi);
            b->c.args.roi.method = method;
            b->c.args.roi.samples = method == DN_ROI_ALIGN ? (int32_t)s[7] : 0;
            b->c.args.roi.scale = i % 2 ? 0.125 : 2;
            in(b, COARSE, x);
            add_operand(&b->c.in, DN_F32, REGIONS, 0, SHAPE(s[4], 5));
            out(b, y);
            emit(b);
            if (mask) {
                out_as(b, DN_I32, POISON, y);
                emit(b);
            }
            b->c.kind = DN_OP_ROI_POOL_BWD;
            b->c.in.operand[0].shape = y;
            b->c.in.fill[0] = NORMAL;
            if (mask)
                add_operand(&b->c.in, DN_I32, WINDOW_MASK, 0, y);
            b->c.out.count = 0;
            out(b, x);
            emit_added(b, 1);
        }
}

/* What an infinite element has no share in stays what it is. */
static void wild_rois(builder *b)
{
    BEGIN(b, DN_OP_ROI_POOL, dn_args_roi);
    b->c.args.roi.method = DN_ROI_ALIGN;
    b->c.args.roi.samples = 1;
    b->c.args.roi.scale = 0.5;
    in(b, WILD, SHAPE(2, 9, 13, 14));
    add_operand(&b->c.in, DN_F32, REGIONS, 0, SHAPE(60, 5));
    out(b, SHAPE(60, 9, 2, 4));
    emit(b);
}

static void lrn_cases(builder *b)
{
    static const int64_t shapes[][4] = {{1, 1, 1, 1},  {2, 7, 3, 5},  {1, 16, 4, 4},
                                        {2, 33, 1, 1}, {1, 5, 7, 17}, {2, 3, 8, 33},
                                        {1, 20, 9, 9}};
    for (size_t s = 0; s < sizeof(shapes) / sizeof(shapes[0]); s++)
        for (int32_t region = 0; region < 2; region++)
            for (int32_t size = 1; size <= 5; size += 2) {
                dn_shape shape = shape_of(4, shapes[s]);
                BEGIN(b, DN_OP_LRN, dn_args_lrn);
                b->c.args.lrn = (dn_args_lrn){b->c.args.base, region, size, 0.7, 0.75, 2};
                if (size == 5)
                    b->c.args.lrn.beta = 0.6;
                in(b, NORMAL, shape);
                out(b, shape);
                out(b, shape);
                emit_layouts(b, 1, 1, 3);
                emit_narrow_layouts(b, 1, 1, 3, 1, 3);
                emit_mixed(b);
                b->c.kind = DN_OP_LRN_BWD;
                in(b, NORMAL, shape);
                in(b, POSITIVE, shape);
                in(b, NORMAL, shape);
                b->c.out.count = 1;
                emit_layouts(b, 1, 15, 1);
                emit_narrow_layouts(b, 1, 15, 1, 15, 1);
                emit_mixed(b);
            }
}

/* Frames of no images, and images without rows, which have outputs where they are padded. */
static void empty_conv_cases(builder *b)
{
    static const conv_row rows[] = {
        {3, 0, 2, 3, 1, {4, 5, 6}, {3, 3, 3}, {1, 1, 1}, {1, 1, 1}, {1, 1, 1}},
        {3, 1, 2, 3, 1, {2, 0, 6}, {3, 3, 3}, {1, 1, 1}, {1, 2, 1}, {1, 1, 1}},
        {2, 1, 3, 5, 1, {0, 7}, {3, 3}, {1, 1}, {2, 1}, {1, 1}},
        {2, 1, 4, 4, 4, {7, 0}, {3, 3}, {1, 1}, {1, 2}, {1, 1}},
        {2, 2, 128, 130, 1, {0, 7}, {3, 3}, {1, 1}, {2, 1}, {1, 1}},
        {2, 1, 32, 32, 8, {0, 7}, {3, 3}, {1, 1}, {2, 1}, {1, 1}},
        {2, 0, 32, 32, 8, {7, 7}, {3, 3}, {1, 1}, {1, 1}, {1, 1}},
        {2, 17, 6, 8, 1, {0, 9}, {5, 5}, {1, 1}, {3, 2}, {1, 1}}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const conv_row *r = &rows[i];
        conv_shapes s = shapes_of(r);
        for (int32_t kind = DN_OP_CONV; kind <= DN_OP_CONV_BWD_WEIGHTS; kind++) {
            bool weights = kind == DN_OP_CONV_BWD_WEIGHTS, back = kind == DN_OP_CONV_BWD_DATA;
            conv_begin(b, kind, r);
            in(b, NORMAL, back ? s.y : s.x);
            in(b, NORMAL, weights ? s.y : s.w);
            if (kind == DN_OP_CONV)
                in(b, NORMAL, SHAPE(r->K));
            out(b, weights ? s.w : back ? s.x : s.y);
            if (weights)
                out(b, SHAPE(r->K));
            emit_layouts(b, weights ? 3 : 1, weights ? 3 : 1, weights ? 0 : 1);
        }
    }
}

/* A Filter may let nothing pass: no images, no regions. Sums over them are zero. */
static void empty_cases(builder *b)
{
    static const pool_row none = {2, 0, 3, {8, 8}, {4, 4}, {2, 2}, {2, 2}, {0, 0}};
    for (int32_t method = 0; method < DN_POOL_STOCHASTIC_TEST; method++)
        pool_case(b, &none, method, 0);
    for (int64_t C = 3; C <= 24; C += 21) /* depthwise, and not */
        for (int32_t thin = 0; thin < 2; thin++) {
            conv_row r = {2, 0, C, C, thin ? C : 1, {7, 9}, {3, 3}, {1, 1}, {1, 1}, {1, 1}};
            conv_begin(b, DN_OP_CONV_BWD_WEIGHTS, &r);
            in(b, NORMAL, shapes_of(&r).x);
            in(b, NORMAL, shapes_of(&r).y);
            out(b, shapes_of(&r).w);
            out(b, SHAPE(C));
            emit_layouts(b, 3, 3, 0);
        }
    empty_conv_cases(b);
    dn_shape map = SHAPE(2, 3, 5, 6), pooled = SHAPE(0, 3, 2, 2);
    BEGIN(b, DN_OP_ROI_POOL_BWD, dn_args_roi);
    b->c.args.roi.method = DN_ROI_ALIGN;
    b->c.args.roi.scale = 1;
    in(b, NORMAL, pooled);
    in(b, NORMAL, SHAPE(0, 5));
    out(b, map);
    emit_added(b, 1);
    b->c.kind = DN_OP_ROI_POOL;
    b->c.in.operand[0].shape = map;
    b->c.out.operand[0].shape = pooled;
    emit(b);
    BEGIN(b, DN_OP_LRN, dn_args_lrn);
    b->c.args.lrn = (dn_args_lrn){b->c.args.base, DN_LRN_ACROSS, 5, 0.7, 0.75, 2};
    in(b, NORMAL, SHAPE(0, 7, 3, 5));
    out(b, SHAPE(0, 7, 3, 5));
    out(b, SHAPE(0, 7, 3, 5));
    emit(b);
}

/* Convolutions that others do: of many frames, and of few channels; with operands at the end
 * that are absent. And of more pixels than weights: what is kept aside to sum a bias's gradient
 * is more than what the weights' takes, and depends on the layout. */
static void inner_conv_cases(builder *b)
{
    static const conv_row rows[] = {
        {3, 1, 2, 3, 1, {21, 3, 4}, {19, 2, 1}, {1, 1, 1}, {3, 0, 0}, {1, 1, 1}},
        {2, 2, 40, 20, 10, {9, 7}, {3, 3}, {2, 2}, {1, 1}, {1, 1}},
        {2, 3, 1, 9, 1, {20, 21}, {1, 1}, {1, 1}, {0, 0}, {1, 1}},
        {2, 3, 12, 12, 12, {20, 21}, {1, 1}, {1, 1}, {0, 0}, {1, 1}}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const conv_row *r = &rows[i];
        conv_shapes s = shapes_of(r);
        for (int32_t kind = DN_OP_CONV; kind <= DN_OP_CONV_BWD_WEIGHTS; kind++) {
            bool weights = kind == DN_OP_CONV_BWD_WEIGHTS, back = kind == DN_OP_CONV_BWD_DATA;
            conv_begin(b, kind, r);
            in(b, NORMAL, back ? s.y : s.x);
            in(b, NORMAL, weights ? s.y : s.w);
            for (int k = 0; k < 5 && !back; k++)
                in_absent(b);
            out(b, weights ? s.w : back ? s.x : s.y);
            if (weights)
                out(b, SHAPE(r->K));
            for (uint32_t constant = 0; constant < (weights ? 1 : 3); constant += 2) {
                b->c.constant = constant;
                emit_layouts(b, weights ? 3 : 1, weights ? 3 : 1, weights ? 0 : 1);
            }
        }
    }
}

/* To one channel, forward and backward: edges, taps apart, more rows than are made at a time.
 */
static void few_outputs_cases(builder *b)
{
    static const conv_row rows[] = {{2, 2, 20, 1, 1, {9, 30}, {5, 3}, {1, 1}, {2, 0}, {1, 1}},
                                    {2, 1, 33, 1, 1, {12, 11}, {3, 3}, {1, 1}, {1, 3}, {1, 2}},
                                    {2, 1, 16, 1, 1, {70, 67}, {9, 9}, {1, 1}, {4, 4}, {1, 1}}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        conv_row back = rows[i];
        back.K = back.C, back.C = 1;
        conv_product(b, DN_OP_CONV, &rows[i]);
        conv_product(b, DN_OP_CONV_BWD_DATA, &back);
    }
    /* pixels pages apart, more than are laid at a time */
    static const conv_row pages = {2, 1, 1024, 40, 1, {7, 17}, {1, 1}, {1, 1}, {0, 0}, {1, 1}};
    conv_product(b, DN_OP_CONV, &pages);
}

/* Groups of whole units, with strides, and rows of taps apart. */
static void wide_group_cases(builder *b)
{
    static const conv_row rows[] = {{2, 2, 48, 48, 3, {13, 10}, {3, 3}, {2, 2}, {1, 1}, {1, 1}},
                                    {2, 1, 32, 32, 2, {9, 15}, {3, 5}, {1, 1}, {2, 1}, {2, 1}}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        conv_product(b, DN_OP_CONV, &rows[i]);
        conv_product(b, DN_OP_CONV_BWD_DATA, &rows[i]);
    }
}

void cases_spatial(case_fn fn, void *user)
{
    int32_t number = 2000000;
    builder b = {.fn = fn, .user = user, .number = &number};
    gemm_cases(&b);
    conv_cases(&b);
    large_conv_cases(&b);
    strassen_cases(&b);
    strassen_training_cases(&b);
    pool_cases(&b);
    lrn_cases(&b);
    empty_cases(&b);
    roi_cases(&b);
    wild_rois(&b);
    inner_conv_cases(&b);
    few_outputs_cases(&b);
    wide_group_cases(&b);
}

/* ---- rows by chance ---------------------------------------------------------------------- */

typedef struct dice {
    uint64_t state;
} dice;

/* A whole number in [least, most]. */
static int64_t throw(dice * d, int64_t least, int64_t most)
{
    d->state = d->state * 6364136223846793005u + 1442695040888963407u; /* Knuth's MMIX */
    return least + (int64_t)((d->state >> 33) % (uint64_t)(most - least + 1));
}

/* Channels: any few, about a vector's width, or many. */
static int64_t throw_channels(dice *d)
{
    int64_t kind = throw(d, 0, 3);
    return kind < 2 ? throw(d, 1, 9) : kind == 2 ? 8 * throw(d, 1, 8) : throw(d, 10, 150);
}

/* False: a row whose outputs none see, or that would take too long or round too much. */
static bool throw_conv(dice *d, conv_row *r)
{
    int64_t many = throw(d, 0, 3), Cg = throw_channels(d), Kg = throw_channels(d);
    *r = (conv_row){.spatial = many ? 2 : (int32_t) throw(d, 1, 3), .N = throw(d, 1, 5)};
    r->group = throw(d, 0, 3) ? 1 : throw(d, 2, 40);
    if (r->group > 1 && throw(d, 0, 1))
        Cg = Kg = 1; /* depthwise */
    r->C = r->group * Cg;
    r->K = r->group * Kg;
    bool square = throw(d, 0, 1);
    for (int32_t a = 0; a < r->spatial; a++) {
        r->kernel[a] = square && a ? r->kernel[0] : throw(d, 1, throw(d, 1, 7));
        r->stride[a] = square && a ? r->stride[0] : throw(d, 1, throw(d, 1, 3));
        r->dilation[a] = square && a ? r->dilation[0] : throw(d, 1, throw(d, 1, 3));
        int64_t extent = (r->kernel[a] - 1) * r->dilation[a] + 1;
        r->pad[a] = square && a ? r->pad[0] : throw(d, 0, throw(d, 0, extent));
        int64_t least = extent > 2 * r->pad[a] ? extent - 2 * r->pad[a] : 1;
        r->in[a] = throw(d, 0, 7) ? throw(d, least, least + 20) : least;
    }
    conv_shapes s = shapes_of(r);
    int64_t taps = 1, outputs = r->N;
    for (int32_t a = 0; a < r->spatial; a++) {
        taps *= r->kernel[a];
        outputs *= s.y.dim[2 + a];
    }
    return outputs * taps * r->K * Cg < 4000000 && taps * (Cg > Kg ? Cg : Kg) < 3000 &&
           outputs < 3000;
}

void cases_random(case_fn fn, void *user, uint64_t seed, int count)
{
    int32_t number = 4000000;
    builder b = {.fn = fn, .user = user, .number = &number};
    dice d = {seed};
    for (int i = 0; i < count; i++) {
        conv_row conv;
        while (!throw_conv(&d, &conv))
            ;
        conv_row_cases(&b, &conv);
        gemm_row product = {throw(&d, 1, 90), throw(&d, 1, 90), throw(&d, 0, 300),
                            throw(&d, 1, 3)};
        gemm_case(&b, product, (int) throw(&d, 0, 23));
        pool_row pool = {2, throw(&d, 1, 3), throw_channels(&d)};
        for (int32_t a = 0; a < pool.spatial; a++) {
            int64_t kernel = pool.kernel[a] = throw(&d, 1, 7);
            int64_t stride = pool.stride[a] = throw(&d, 1, 4), pad = throw(&d, 0, kernel / 2);
            pool.pad[a] = pad < kernel ? pad : 0;
            int64_t in = pool.in[a] = throw(&d, kernel, kernel + 20);
            pool.out[a] = (in + 2 * pool.pad[a] - kernel + stride - 1) / stride + 1;
            if (pool.pad[a] && (pool.out[a] - 1) * stride >= in + pool.pad[a])
                pool.out[a]--; /* as Caffe: no window begins beyond the image */
        }
        int32_t method = (int32_t) throw(&d, 0, DN_POOL_STOCHASTIC_TEST);
        pool_case(&b, &pool, method, method == DN_POOL_AVE && throw(&d, 0, 1));
    }
}
