/* SPDX-License-Identifier: BSD-2-Clause
 * cases_tf32.c: matrix products and convolutions that may be done in TF32, of numbers that are
 * such: so the bound is f32's, and whoever rounds them to less is found. To a backend without
 * TF32 they are f32. */
#include "builder.h"

static const struct {
    int64_t m, n, k, batch;
} products[] = {
    {17, 65, 64, 1}, {64, 10, 500, 1}, {4, 4, 4, 5}, {65, 33, 129, 1}, {1, 1, 257, 1}};

static void product_cases(builder *b)
{
    for (size_t r = 0; r < sizeof(products) / sizeof(products[0]); r++)
        for (int variant = 0; variant < 12; variant++) {
            BEGIN(b, DN_OP_GEMM, dn_args_gemm);
            dn_args_gemm *a = &b->c.args.gemm;
            a->trans_a = variant & 1;
            a->trans_b = variant >> 1 & 1;
            a->m = products[r].m;
            a->n = products[r].n;
            a->k = products[r].k;
            a->batch = products[r].batch;
            a->lda = a->trans_a ? a->m : a->k;
            a->ldb = a->trans_b ? a->k : a->n;
            a->ldc = a->n;
            a->stride_a = a->m * a->k;
            a->stride_b = a->k * a->n;
            a->stride_c = a->m * a->n;
            a->alpha = 1;
            a->bias_mode = variant / 4;
            a->activation = variant % 3 ? DN_FN_NONE : DN_FN_RELU;
            b->c.compute = DN_COMPUTE_TF32;
            b->c.tolerance = 3e-5; /* f32, term after term */
            in(b, NORMAL, SHAPE(a->stride_a * a->batch));
            in(b, NORMAL, SHAPE(a->stride_b * a->batch));
            if (a->bias_mode)
                in(b, NORMAL, SHAPE(a->bias_mode == 1 ? a->n : a->m));
            out(b, SHAPE(a->stride_c * a->batch));
            emit_added(b, 1);
        }
}

static const struct conv_row {
    int64_t N, C, K, group, in, kernel, stride, pad;
} convs[] = {{2, 3, 8, 1, 9, 3, 1, 1},
             {2, 16, 24, 1, 6, 1, 1, 0},
             {1, 12, 8, 2, 8, 3, 2, 1},
             {2, 32, 32, 32, 7, 3, 1, 1}};

static void conv_case(builder *b, const struct conv_row *r, int32_t kind)
{
    int64_t outs = (r->in + 2 * r->pad - r->kernel) / r->stride + 1;
    dn_shape x = SHAPE(r->N, r->C, r->in, r->in), y = SHAPE(r->N, r->K, outs, outs);
    dn_shape w = SHAPE(r->K, r->C / r->group, r->kernel, r->kernel);
    bool weights = kind == DN_OP_CONV_BWD_WEIGHTS, data = kind == DN_OP_CONV_BWD_DATA;
    BEGIN(b, kind, dn_args_conv);
    dn_args_conv *a = &b->c.args.conv;
    a->spatial = 2;
    a->group = (int32_t)r->group;
    for (int d = 0; d < 2; d++) {
        a->kernel[d] = r->kernel;
        a->stride[d] = r->stride;
        a->pad[d] = r->pad;
        a->dilation[d] = 1;
    }
    b->c.compute = DN_COMPUTE_TF32;
    b->c.tolerance = 3e-5;
    in(b, NORMAL, data ? y : x);
    in(b, NORMAL, weights ? y : w);
    if (kind == DN_OP_CONV)
        in(b, NORMAL, SHAPE(r->K));
    out(b, weights ? w : data ? x : y);
    emit_layouts(b, 1, weights ? 3 : 1, weights ? 0 : 1);
}

void cases_tf32(case_fn fn, void *user)
{
    int32_t number = 4000000;
    builder b = {.fn = fn, .user = user, .number = &number};
    product_cases(&b);
    for (size_t r = 0; r < sizeof(convs) / sizeof(convs[0]); r++)
        for (int32_t kind = DN_OP_CONV; kind <= DN_OP_CONV_BWD_WEIGHTS; kind++)
            conv_case(&b, &convs[r], kind);
}
