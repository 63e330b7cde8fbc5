/* SPDX-License-Identifier: BSD-2-Clause
 * ops_of_nets.c: the ops of well-known nets in their shapes, with the work that each is. */
#include <math.h>

#include "ops.h"

/* ---- shapes ------------------------------------------------------------------------------ */

static dn_operand f32(int32_t axes, int64_t a, int64_t b, int64_t c, int64_t d)
{
    const int64_t dims[4] = {a, b, c, d};
    return (dn_operand){DN_F32, DN_LAYOUT_PLAIN, dni_shape_of(axes, dims)};
}

typedef struct conv_shape {
    const char *name;
    int32_t N, C, H, K, R, stride, pad, group, dilation; /* 0: none */
} conv_shape;

static const conv_shape convs[] = {
    {"lenet.conv1", 64, 1, 28, 20, 5, 1, 0, 1},
    {"lenet.conv2", 64, 20, 12, 50, 5, 1, 0, 1},
    {"alex.conv1", 4, 3, 227, 96, 11, 4, 0, 1},
    {"alex.conv2", 4, 96, 27, 256, 5, 1, 2, 2},
    {"alex.conv3", 4, 256, 13, 384, 3, 1, 1, 1},
    {"alex.conv4", 4, 384, 13, 384, 3, 1, 1, 2},
    {"goog.conv1", 4, 3, 224, 64, 7, 2, 3, 1},
    {"goog.3a_5x5", 4, 16, 28, 32, 5, 1, 2, 1},
    {"goog.4a_1x1", 4, 480, 14, 192, 1, 1, 0, 1},
    {"goog.5b_3x3", 4, 160, 7, 320, 3, 1, 1, 1},
    {"res2.1x1a", 4, 64, 56, 64, 1, 1, 0, 1},
    {"res2.3x3", 4, 64, 56, 64, 3, 1, 1, 1},
    {"res3.3x3", 4, 128, 28, 128, 3, 1, 1, 1},
    {"res4.3x3", 4, 256, 14, 256, 3, 1, 1, 1},
    {"res4.1x1c", 4, 256, 14, 1024, 1, 1, 0, 1},
    {"res5.3x3", 4, 512, 7, 512, 3, 1, 1, 1},
    {"res5.ds_s2", 4, 1024, 14, 2048, 1, 2, 0, 1},
    {"mob.dw112", 4, 32, 112, 32, 3, 1, 1, 32},
    {"mob.dw56s2", 4, 128, 56, 128, 3, 2, 1, 128},
    {"mob.dw14", 4, 512, 14, 512, 3, 1, 1, 512},
    {"mob.pw14", 4, 512, 14, 512, 1, 1, 0, 1},
    {"mob.pw112", 4, 32, 112, 64, 1, 1, 0, 1},
    {"dcgan.image", 64, 3, 64, 64, 4, 2, 1, 1},
    {"dcgan.1", 64, 64, 32, 128, 4, 2, 1, 1},
    {"dcgan.3", 64, 256, 8, 512, 4, 2, 1, 1},
    {"dcgan.score", 64, 512, 4, 100, 4, 1, 0, 1},
    {"enet.up", 2, 16, 256, 20, 2, 2, 0, 1},
    {"fcn.up32", 1, 21, 543, 21, 63, 32, 0, 1},
    {"fcn.fc6", 1, 256, 21, 4096, 6, 1, 0, 1},
    {"flow.conv2", 1, 64, 128, 128, 5, 2, 2, 1},
    {"deep.d2", 1, 256, 28, 256, 3, 1, 2, 1, 2},
    {"deep.d4", 1, 512, 28, 512, 3, 1, 4, 1, 4},
    {"deep.d6", 1, 2048, 28, 256, 3, 1, 6, 1, 6},
    {"deep.d12", 1, 2048, 28, 256, 3, 1, 12, 1, 12},
    {"deep.d18", 1, 2048, 28, 256, 3, 1, 18, 1, 18},
};

static void conv_ops(bench *b, const conv_shape *c, int32_t layout)
{
    const char *suffix = layout == DN_LAYOUT_NHWC ? ".nhwc" : "";
    int64_t d = c->dilation ? c->dilation : 1;
    int64_t P = (c->H + 2 * c->pad - d * (c->R - 1) - 1) / c->stride + 1;
    dn_operand x = f32(4, c->N, c->C, c->H, c->H), y = f32(4, c->N, c->K, P, P);
    dn_operand w = f32(4, c->K, c->C / c->group, c->R, c->R), bias = f32(1, c->K, 0, 0, 0);
    spec s = {.num_in = 3, .num_out = 1};
    x.layout = y.layout = layout;
    s.args.conv = (dn_args_conv){
        .base = {.struct_size = sizeof(dn_args_conv)}, .spatial = 2, .group = c->group};
    for (int i = 0; i < 2; i++) {
        s.args.conv.kernel[i] = c->R;
        s.args.conv.stride[i] = c->stride;
        s.args.conv.pad[i] = c->pad;
        s.args.conv.dilation[i] = d;
    }
    s.flops = 2.0 * c->N * c->K * (double)(P * P) * (c->C / c->group) * c->R * c->R;
    snprintf(s.name, sizeof s.name, "%s%s.fwd", c->name, suffix);
    s.kind = DN_OP_CONV;
    s.in[0] = x, s.in[1] = w, s.in[2] = bias, s.out[0] = y;
    ops_measure(b, &s);
    snprintf(s.name, sizeof s.name, "%s%s.bwd_d", c->name, suffix);
    s.kind = DN_OP_CONV_BWD_DATA;
    s.in[0] = y, s.in[2].dtype = -1, s.out[0] = x;
    ops_measure(b, &s);
    snprintf(s.name, sizeof s.name, "%s%s.bwd_w", c->name, suffix);
    s.kind = DN_OP_CONV_BWD_WEIGHTS;
    s.in[0] = x, s.in[1] = y, s.out[0] = w, s.out[1] = bias;
    s.num_in = s.num_out = 2;
    ops_measure(b, &s);
}

static const struct gemm_shape {
    const char *name;
    int32_t ta, tb, m, n, k;
} gemms[] = {
    {"lenet.ip1.fwd", 0, 1, 64, 500, 800},    {"lenet.ip1.bwd_d", 0, 0, 64, 800, 500},
    {"lenet.ip1.bwd_w", 1, 0, 500, 800, 64},  {"lenet.ip2.fwd", 0, 1, 64, 10, 500},
    {"lenet.ip2.bwd_d", 0, 0, 64, 500, 10},   {"lenet.ip2.bwd_w", 1, 0, 10, 500, 64},
    {"nn1024", 0, 0, 1024, 1024, 1024},       {"nt1024", 0, 1, 1024, 1024, 1024},
    {"tn1024", 1, 0, 1024, 1024, 1024},       {"tt512", 1, 1, 512, 512, 512},
    {"fc6.fwd16", 0, 1, 16, 4096, 9216},      {"fc6.bwd_d16", 0, 0, 16, 9216, 4096},
    {"fc6.bwd_w16", 1, 0, 4096, 9216, 16},    {"fc6.fwd1", 0, 1, 1, 4096, 9216},
    {"fc6.bwd_d1", 0, 0, 1, 9216, 4096},      {"fc6.bwd_w1", 1, 0, 4096, 9216, 1},
    {"fc7.fwd16", 0, 1, 16, 4096, 4096},      {"fc8.fwd1", 0, 1, 1, 1000, 4096},
    {"auto.ip1.fwd", 0, 1, 100, 1000, 784},   {"auto.ip1.bwd_d", 0, 0, 100, 784, 1000},
    {"auto.ip1.bwd_w", 1, 0, 1000, 784, 100}, {"lstm.hidden", 0, 1, 16, 4000, 1000},
    {"lstm.words", 0, 1, 320, 8801, 1000},    {"interp.rows", 0, 0, 473, 28380, 60},
    {"thin.k4", 0, 0, 4096, 64, 4},           {"thin.n4", 0, 1, 4096, 4, 512},
    {"thin.m4", 0, 0, 4, 4096, 512},          {"outer", 0, 0, 1024, 1024, 1},
    {"tall.tn", 1, 0, 64, 64, 12544},
};

static void gemm_op(bench *b, const struct gemm_shape *g)
{
    spec s = {.kind = DN_OP_GEMM, .num_in = 3, .num_out = 1};
    snprintf(s.name, sizeof s.name, "%s", g->name);
    s.args.gemm = (dn_args_gemm){.base = {.struct_size = sizeof(dn_args_gemm)},
                                 .trans_a = g->ta,
                                 .trans_b = g->tb,
                                 .m = g->m,
                                 .n = g->n,
                                 .k = g->k,
                                 .lda = g->ta ? g->m : g->k,
                                 .ldb = g->tb ? g->k : g->n,
                                 .ldc = g->n,
                                 .batch = 1,
                                 .alpha = 1};
    s.in[0] = f32(2, g->m, g->k, 0, 0);
    s.in[1] = f32(2, g->k, g->n, 0, 0);
    s.in[2].dtype = -1;
    s.out[0] = f32(2, g->m, g->n, 0, 0);
    s.flops = 2.0 * g->m * g->n * g->k;
    ops_measure(b, &s);
}

static void pool_ops(bench *b, const char *name, int32_t layout, int32_t N, int32_t C,
                     int32_t H, int32_t R, int32_t stride, int32_t pad, int32_t method)
{
    const char *suffix = layout == DN_LAYOUT_NHWC ? ".nhwc" : "";
    int64_t P = (H + 2 * pad - R + stride - 1) / stride + 1;
    spec s = {
        .kind = DN_OP_POOL, .num_in = 1, .num_out = 2, .mask_width = H, .mask_stride = stride};
    s.args.pool = (dn_args_pool){.base = {.struct_size = sizeof(dn_args_pool)},
                                 .method = method,
                                 .spatial = 2,
                                 .kernel = {R, R},
                                 .stride = {stride, stride},
                                 .pad = {pad, pad}};

    dn_operand x = f32(4, N, C, H, H), y = f32(4, N, C, P, P);
    x.layout = y.layout = layout;
    dn_operand mask = y;
    mask.dtype = method == DN_POOL_MAX ? DN_I32 : -1;
    snprintf(s.name, sizeof s.name, "%s%s.fwd", name, suffix);
    s.in[0] = x, s.out[0] = y, s.out[1] = mask;
    s.bytes = (double)(ops_bytes(&x) + ops_bytes(&y) + ops_bytes(&mask));
    ops_measure(b, &s);
    s.kind = DN_OP_POOL_BWD, s.num_in = 2, s.num_out = 1;
    s.in[0] = y, s.in[1] = mask, s.out[0] = x;
    snprintf(s.name, sizeof s.name, "%s%s.bwd", name, suffix);
    ops_measure(b, &s);
}

/* Starts an op: no operands, arguments zero. */
static spec start(const char *name, int32_t kind, size_t args_size)
{
    spec s = {.kind = kind};
    snprintf(s.name, sizeof s.name, "%s", name);
    s.args.base.struct_size = args_size;
    return s;
}

/* Each operand moved once is the work. */
static void measure_bytes(bench *b, spec *s)
{
    s->bytes = 0;
    for (int i = 0; i < s->num_in; i++)
        s->bytes += (double)ops_bytes(&s->in[i]);
    for (int i = 0; i < s->num_out; i++)
        s->bytes += (double)ops_bytes(&s->out[i]);
    ops_measure(b, s);
}

static void unary_op(bench *b, const char *name, dn_args_unary args, int64_t n)
{
    spec s = {.kind = DN_OP_UNARY, .num_in = 1, .num_out = 1};
    s.args.unary = args;
    s.args.unary.base.struct_size = sizeof args;
    snprintf(s.name, sizeof s.name, "%s.%lld.fwd", name, (long long)n);
    s.in[0] = s.in[2] = s.out[0] = f32(1, n, 0, 0, 0);
    s.in[1].dtype = -1;
    measure_bytes(b, &s);
    s.kind = DN_OP_UNARY_BWD, s.num_in = 3;
    if (args.fn != DN_FN_RELU && (DN_FN_FROM_Y >> args.fn & 1)) {
        s.in[1] = s.in[0];
        s.in[0].dtype = -1;
    }
    snprintf(s.name, sizeof s.name, "%s.%lld.bwd", name, (long long)n);
    measure_bytes(b, &s);
}

static void unary_ops(bench *b)
{
    static const struct {
        const char *name;
        dn_args_unary args;
    } rows[] = {{"relu", {.fn = DN_FN_RELU}},
                {"sigmoid", {.fn = DN_FN_SIGMOID}},
                {"tanh", {.fn = DN_FN_TANH}},
                {"abs", {.fn = DN_FN_ABS}},
                {"exp", {.fn = DN_FN_EXP, .a = 1}},
                {"log", {.fn = DN_FN_LOG, .a = 1, .b = 2, .c = 1}},
                {"power2", {.fn = DN_FN_POWER, .a = 1, .c = 2}},
                {"power-0.75", {.fn = DN_FN_POWER, .a = 1, .b = 2, .c = -0.75}},
                {"bnll", {.fn = DN_FN_BNLL}},
                {"elu", {.fn = DN_FN_ELU, .a = 1}},
                {"clip", {.fn = DN_FN_CLIP, .b = 6}},
                {"swish", {.fn = DN_FN_SWISH, .a = 1}},
                {"affine", {.fn = DN_FN_AFFINE, .a = 2, .b = 1}},
                {"sqrt", {.fn = DN_FN_SQRT}},
                {"selu", {.fn = DN_FN_SELU, .a = 1.67, .b = 1.05}},
                {"smooth_l1", {.fn = DN_FN_SMOOTH_L1, .a = 1}}};
    unary_op(b, "relu", rows[0].args, 32000);
    for (size_t i = 0; i < DNI_COUNT(rows); i++)
        unary_op(b, rows[i].name, rows[i].args, 1 << 20);
}

/* NORM_SCALE with ReLU in planes and in rows of channels. */
static void norm_scale_ops(bench *b, const char *name, int64_t N, int64_t C, int64_t H)
{
    for (int rows = 0; rows < 2; rows++) {
        dn_operand x = f32(4, N, C, H, H), c = f32(1, C, 0, 0, 0), one = f32(1, 1, 0, 0, 0);
        spec s = {.kind = DN_OP_NORM_SCALE, .num_in = 3, .num_out = 6};
        s.args.norm_scale =
            (dn_args_norm_scale){.base = {.struct_size = sizeof(dn_args_norm_scale)},
                                 .activation = DN_FN_RELU,
                                 .outer = rows ? N * H * H : N,
                                 .dim = C,
                                 .inner = rows ? 1 : H * H,
                                 .eps = 1e-5,
                                 .fraction = 0.999};
        snprintf(s.name, sizeof s.name, "%s%s.fwd", name, rows ? ".nhwc" : "");
        s.in[0] = s.out[0] = x;
        s.in[1] = s.in[2] = s.out[1] = s.out[2] = s.out[3] = s.out[4] = c;
        s.out[5] = one;
        s.bytes = 2.0 * (double)ops_bytes(&x);
        ops_measure(b, &s);
        s.kind = DN_OP_NORM_SCALE_BWD, s.num_in = 6, s.num_out = 3;
        snprintf(s.name, sizeof s.name, "%s%s.bwd", name, rows ? ".nhwc" : "");
        s.in[0] = s.in[1] = s.in[5] = s.out[0] = x;
        s.in[2] = s.in[3] = s.in[4] = s.out[1] = s.out[2] = c;
        s.bytes = 4.0 * (double)ops_bytes(&x);
        ops_measure(b, &s);
    }
}

static void lrn_ops(bench *b)
{
    for (int32_t layout = 0; layout < 2; layout++) {
        const char *suffix = layout == DN_LAYOUT_NHWC ? ".nhwc" : "";
        dn_operand x = f32(4, 4, 96, 55, 55);
        spec s = {.kind = DN_OP_LRN, .num_in = 1, .num_out = 2};
        x.layout = layout;
        snprintf(s.name, sizeof s.name, "lrn.alex1%s.fwd", suffix);
        s.bytes = 3.0 * (double)ops_bytes(&x);
        s.args.lrn = (dn_args_lrn){.base = {.struct_size = sizeof(dn_args_lrn)},
                                   .size = 5,
                                   .alpha = 1e-4,
                                   .beta = 0.75,
                                   .k = 1};
        s.in[0] = s.in[1] = s.in[2] = s.in[3] = s.out[0] = s.out[1] = x;
        ops_measure(b, &s);
        snprintf(s.name, sizeof s.name, "lrn.alex1%s.bwd", suffix);
        s.kind = DN_OP_LRN_BWD, s.num_in = 4, s.num_out = 1;
        s.bytes = 5.0 * (double)ops_bytes(&x);
        ops_measure(b, &s);
    }
}

/* ---- elements ---------------------------------------------------------------------------- */

static void vector_ops(bench *b)
{
    static const char *const names[] = {"sum", "prod", "max"};
    dn_operand x = f32(1, 1 << 20, 0, 0, 0), mask = x, one = f32(1, 1, 0, 0, 0);
    static const struct {
        const char *name;
        int64_t outer, dim, inner;
    } views[] = {{"planes", 4, 64, 56 * 56}, {"rows", 12544, 64, 1}, {"7x7", 4, 2048, 49}};
    mask.dtype = DN_I32;
    for (int32_t op = 0; op <= DN_ELTWISE_MAX; op++)
        for (int32_t n = 2; n < 4; n++) {
            spec s = start("", DN_OP_ELTWISE, sizeof(dn_args_eltwise));
            snprintf(s.name, sizeof s.name, "eltwise.%s%d", names[op], (int)n);
            s.num_in = n, s.num_out = op == DN_ELTWISE_MAX ? 2 : 1;
            s.args.eltwise.op = op;
            for (int32_t i = 0; i < n; i++)
                s.args.eltwise.coeff[i] = 1, s.in[i] = x;
            s.out[0] = x, s.out[1] = mask;
            measure_bytes(b, &s);
        }
    spec s = start("select", DN_OP_SELECT, sizeof(dn_args_select));
    s.num_in = 2, s.num_out = 1;
    s.in[0] = s.out[0] = x, s.in[1] = mask;
    measure_bytes(b, &s);
    for (size_t v = 0; v < DNI_COUNT(views); v++) {
        dn_operand image = f32(3, views[v].outer, views[v].dim, views[v].inner, 0);
        dn_operand c = f32(1, views[v].dim, 0, 0, 0);
        s = start("", DN_OP_BCAST, sizeof(dn_args_bcast));
        snprintf(s.name, sizeof s.name, "scale.%s", views[v].name);
        s.args.bcast = (dn_args_bcast){s.args.base,    DN_BCAST_MULADD, 0,
                                       views[v].outer, views[v].dim,    views[v].inner};
        s.num_in = 3, s.num_out = 1;
        s.in[0] = s.out[0] = image, s.in[1] = s.in[2] = c;
        measure_bytes(b, &s);
        s = start("", DN_OP_PRELU, sizeof(dn_args_prelu));
        snprintf(s.name, sizeof s.name, "prelu.%s.fwd", views[v].name);
        s.args.prelu =
            (dn_args_prelu){s.args.base, 0, 0, views[v].outer, views[v].dim, views[v].inner};
        s.num_in = 2, s.num_out = 1;
        s.in[0] = s.out[0] = s.in[2] = image, s.in[1] = s.out[1] = c;
        measure_bytes(b, &s);
        snprintf(s.name, sizeof s.name, "prelu.%s.bwd", views[v].name);
        s.kind = DN_OP_PRELU_BWD, s.num_in = 3, s.num_out = 2;
        measure_bytes(b, &s);
    }
    s = start("fill", DN_OP_FILL, sizeof(dn_args_fill));
    s.num_out = 1, s.out[0] = x;
    measure_bytes(b, &s);
    s = start("lenet.update", DN_OP_UPDATE, sizeof(dn_args_update));
    s.num_in = 1, s.num_out = 3;
    s.args.update.lr_mult = 1, s.args.update.decay = 0.0005, s.args.update.momentum = 0.9;
    s.in[0] = f32(1, 4, 0, 0, 0);
    s.out[0] = s.out[1] = s.out[2] = f32(1, 431080, 0, 0, 0);
    s.bytes = 6.0 * (double)ops_bytes(&s.out[0]);
    ops_measure(b, &s);
    s = start("sumsq_all", DN_OP_SUMSQ_ALL, sizeof(dn_args));
    s.num_in = s.num_out = 1, s.in[0] = x, s.out[0] = one;
    measure_bytes(b, &s);
    s = start("scale_clip", DN_OP_SCALE_CLIP, sizeof(dn_args_scale_clip));
    s.args.scale_clip.clip = 1e-3;
    s.num_in = s.num_out = 1, s.in[0] = one, s.out[0] = x;
    measure_bytes(b, &s);
    static const int32_t types[][2] = {
        {DN_F32, DN_BF16}, {DN_BF16, DN_F32}, {DN_U8, DN_F32}, {DN_F32, DN_I32}};
    static const char *const casts[] = {"f32.bf16", "bf16.f32", "u8.f32", "f32.i32"};
    for (size_t i = 0; i < DNI_COUNT(types); i++) {
        s = start("", DN_OP_CAST, sizeof(dn_args));
        snprintf(s.name, sizeof s.name, "cast.%s", casts[i]);
        s.num_in = s.num_out = 1, s.in[0] = s.out[0] = x;
        s.in[0].dtype = types[i][0], s.out[0].dtype = types[i][1];
        measure_bytes(b, &s);
    }
}

/* ---- strides ----------------------------------------------------------------------------- */

static const struct copy_shape {
    const char *name;
    int32_t axes;
    int64_t dim[4], x_stride[4], y_stride[4];
} copies[] = {{"concat", 2, {4, 64 * 784}, {64 * 784, 1}, {256 * 784, 1}},
              {"concat.nhwc", 2, {3136, 64}, {64, 1}, {256, 1}},
              {"slice", 2, {4, 64 * 784}, {256 * 784, 1}, {64 * 784, 1}},
              {"to_nhwc.64x56", 3, {4, 3136, 64}, {200704, 1, 3136}, {200704, 64, 1}},
              {"to_nhwc.3x224", 3, {4, 50176, 3}, {150528, 1, 50176}, {150528, 3, 1}},
              {"to_nhwc.512x7", 3, {32, 49, 512}, {25088, 1, 49}, {25088, 512, 1}},
              {"to_planes.64x56", 3, {4, 64, 3136}, {200704, 1, 64}, {200704, 3136, 1}},
              {"to_planes.3x224", 3, {4, 3, 50176}, {150528, 1, 3}, {150528, 50176, 1}},
              {"to_planes.21x500", 3, {1, 21, 250000}, {0, 1, 21}, {0, 250000, 1}},
              {"transpose.1024", 2, {1024, 1024}, {1, 1024}, {1024, 1}},
              {"shuffle.240x28", 3, {3, 80, 784}, {62720, 784, 1}, {784, 2352, 1}},
              {"crop.224", 3, {12, 224, 224}, {65536, 256, 1}, {50176, 224, 1}},
              {"flip.224", 3, {12, 224, 224}, {50176, 224, -1}, {50176, 224, 1}},
              {"tile", 3, {64, 16, 1024}, {1024, 0, 1}, {16384, 1024, 1}},
              {"upsample2", 4, {64, 56, 56, 2}, {3136, 56, 1, 0}, {12544, 224, 2, 1}},
              {"broadcast.rows", 3, {64, 64, 49}, {64, 1, 0}, {3136, 49, 1}}};

static int64_t extent(int32_t axes, const int64_t *dim, const int64_t *stride, int64_t *first)
{
    int64_t most = 0;
    *first = 0;
    for (int32_t d = 0; d < axes; d++) {
        int64_t reach = (dim[d] - 1) * stride[d];
        most += reach > 0 ? reach : 0;
        *first -= reach < 0 ? reach : 0;
    }
    return most + *first + 1;
}

static void copy_ops(bench *b)
{
    for (size_t i = 0; i < DNI_COUNT(copies); i++) {
        const struct copy_shape *c = &copies[i];
        spec s = start("", DN_OP_COPY, sizeof(dn_args_copy));
        snprintf(s.name, sizeof s.name, "copy.%s", c->name);
        dn_args_copy *a = &s.args.copy;
        a->axes = c->axes, a->alpha = 1;
        s.bytes = 8;
        for (int32_t d = 0; d < c->axes; d++) {
            a->dim[d] = c->dim[d];
            a->x_stride[d] = c->x_stride[d];
            a->y_stride[d] = c->y_stride[d];
            s.bytes *= (double)c->dim[d];
        }
        s.in[0] = f32(1, extent(c->axes, c->dim, c->x_stride, &a->x_offset), 0, 0, 0);
        s.out[0] = f32(1, extent(c->axes, c->dim, c->y_stride, &a->y_offset), 0, 0, 0);
        s.num_in = s.num_out = 1;
        ops_measure(b, &s);
        a->base.accumulate = 1;
        snprintf(s.name, sizeof s.name, "copy.%s.add", c->name);
        s.bytes *= 1.5;
        ops_measure(b, &s);
    }
}

/* Sums of (outer, dim, inner); `keep`: bits of the axes that stay. */
static void reduce_ops(bench *b)
{
    static const struct {
        const char *name;
        int32_t op, keep;
        int64_t dim[3];
    } rows[] = {{"all", DN_REDUCE_SUM, 0, {1, 1, 1 << 20}},
                {"rows", DN_REDUCE_SUM, 1, {1024, 1, 1024}},
                {"rows7x7", DN_REDUCE_SUM, 3, {32, 512, 49}},
                {"columns", DN_REDUCE_SUM, 4, {1024, 1, 1024}},
                {"bias", DN_REDUCE_SUM, 2, {4, 64, 3136}},
                {"bias.nhwc", DN_REDUCE_SUM, 2, {12544, 64, 1}},
                {"normalize", DN_REDUCE_SUMSQ, 5, {4, 512, 1444}},
                {"dot.normalize", DN_REDUCE_DOT, 5, {4, 512, 1444}},
                {"dot.rows", DN_REDUCE_DOT, 1, {1024, 1, 1024}},
                {"dot.channels", DN_REDUCE_DOT, 2, {4, 64, 3136}},
                {"dot.channels.nhwc", DN_REDUCE_DOT, 2, {12544, 64, 1}}};
    for (size_t i = 0; i < DNI_COUNT(rows); i++) {
        spec s = start("", DN_OP_REDUCE, sizeof(dn_args_reduce));
        snprintf(s.name, sizeof s.name, "reduce.%s", rows[i].name);
        dn_args_reduce *a = &s.args.reduce;
        a->op = rows[i].op, a->axes = 3, a->alpha = 1;
        int64_t x = 1, y = 1;
        for (int32_t d = 2; d >= 0; d--) {
            a->dim[d] = rows[i].dim[d];
            a->x_stride[d] = a->x2_stride[d] = x;
            x *= a->dim[d];
            a->y_stride[d] = rows[i].keep >> d & 1 ? y : 0;
            y *= rows[i].keep >> d & 1 ? a->dim[d] : 1;
        }
        s.num_in = rows[i].op == DN_REDUCE_DOT ? 2 : 1, s.num_out = 1;
        s.in[0] = s.in[1] = f32(1, x, 0, 0, 0);
        s.out[0] = f32(1, y, 0, 0, 0);
        measure_bytes(b, &s);
    }
}

/* ---- along an axis ----------------------------------------------------------------------- */

static const struct axis_shape {
    const char *name;
    int64_t outer, dim, inner;
} axes[] = {{"lenet", 64, 10, 1}, {"imagenet", 256, 1000, 1}, {"fcn", 1, 21, 250000},
            {"ssd", 8732, 21, 1}, {"mtcnn", 1, 2, 40000},     {"pspnet", 1, 150, 3600}};

static void axis_ops(bench *b)
{
    for (size_t i = 0; i < DNI_COUNT(axes); i++) {
        int64_t outer = axes[i].outer, dim = axes[i].dim, inner = axes[i].inner;
        dn_operand x = f32(3, outer, dim, inner, 0), one = f32(1, 1, 0, 0, 0);
        dn_operand label = f32(2, outer, inner, 0, 0);
        spec s = start("", DN_OP_SOFTMAX, sizeof(dn_args_axis));
        snprintf(s.name, sizeof s.name, "softmax.%s.fwd", axes[i].name);
        s.args.axis = (dn_args_axis){s.args.base, outer, dim, inner};
        s.num_in = s.num_out = 1;
        s.in[0] = s.in[1] = s.out[0] = x;
        measure_bytes(b, &s);
        snprintf(s.name, sizeof s.name, "softmax.%s.bwd", axes[i].name);
        s.kind = DN_OP_SOFTMAX_BWD, s.num_in = 2;
        measure_bytes(b, &s);
        s = start("", DN_OP_ARGMAX, sizeof(dn_args_argmax));
        snprintf(s.name, sizeof s.name, "argmax.%s", axes[i].name);
        s.args.argmax = (dn_args_argmax){s.args.base, 1, 0, 0, 0, outer, dim, inner};
        s.num_in = s.num_out = 1, s.in[0] = x, s.out[0] = label;
        measure_bytes(b, &s);
        s = start("", DN_OP_ACCURACY, sizeof(dn_args_accuracy));
        snprintf(s.name, sizeof s.name, "accuracy.%s", axes[i].name);
        s.args.accuracy = (dn_args_accuracy){s.args.base, 1, 0, 0, 0, outer, dim, inner};
        s.num_in = 2, s.num_out = 1;
        s.in[0] = x, s.in[1] = label, s.out[0] = one, s.classes = dim;
        measure_bytes(b, &s);
        s = start("", DN_OP_LOSS, sizeof(dn_args_loss));
        snprintf(s.name, sizeof s.name, "loss.%s.fwd", axes[i].name);
        s.args.loss.normalization = 1;
        s.args.loss.outer = outer, s.args.loss.dim = dim, s.args.loss.inner = inner;
        s.num_in = 2, s.num_out = 2, s.classes = dim;
        s.in[0] = x, s.in[1] = label, s.out[0] = s.out[1] = one;
        s.bytes = 2.0 * (double)ops_bytes(&label); /* what has to be read of x */
        ops_measure(b, &s);
        snprintf(s.name, sizeof s.name, "loss.%s.bwd", axes[i].name);
        s.kind = DN_OP_LOSS_BWD, s.num_in = 6, s.num_out = 1;
        s.in[2].dtype = s.in[4].dtype = -1, s.in[3] = s.in[5] = one, s.out[0] = x;
        measure_bytes(b, &s);
    }
}

static void loss_ops(bench *b)
{
    static const struct {
        const char *name;
        int32_t loss;
    } rows[] = {{"sigmoid_ce", DN_LOSS_SIGMOID_CE},
                {"euclidean", DN_LOSS_EUCLIDEAN},
                {"hinge", DN_LOSS_HINGE}};
    dn_operand x = f32(2, 1024, 1024, 0, 0), one = f32(1, 1, 0, 0, 0);
    for (size_t i = 0; i < DNI_COUNT(rows); i++) {
        spec s = start("", DN_OP_LOSS, sizeof(dn_args_loss));
        snprintf(s.name, sizeof s.name, "loss.%s.fwd", rows[i].name);
        s.args.loss.loss = rows[i].loss, s.args.loss.param = 1;
        s.args.loss.outer = s.args.loss.dim = 1024, s.args.loss.inner = 1;
        s.num_in = 2, s.num_out = 1, s.classes = 2;
        s.in[0] = s.in[1] = x, s.out[0] = one;
        if (rows[i].loss == DN_LOSS_HINGE)
            s.in[1] = f32(1, 1024, 0, 0, 0);
        measure_bytes(b, &s);
        snprintf(s.name, sizeof s.name, "loss.%s.bwd", rows[i].name);
        s.kind = DN_OP_LOSS_BWD, s.num_in = 6;
        s.in[2].dtype = s.in[3].dtype = s.in[4].dtype = -1, s.in[5] = one, s.out[0] = x;
        measure_bytes(b, &s);
    }
}

static void random_ops(bench *b)
{
    static const char *const names[] = {"uniform", "gaussian", "bernoulli"};
    dn_operand x = f32(1, 1 << 20, 0, 0, 0), state = f32(1, 2, 0, 0, 0), mask = x;
    state.dtype = DN_I64, mask.dtype = DN_U8;
    spec s = start("dropout.fwd", DN_OP_DROPOUT, sizeof(dn_args_dropout));
    s.args.dropout = (dn_args_dropout){s.args.base, 0.5, 2, 7};
    s.num_in = s.num_out = 2;
    s.in[0] = s.out[0] = x, s.in[1] = state, s.out[1] = mask;
    measure_bytes(b, &s);
    s = start("dropout.bwd", DN_OP_DROPOUT_BWD, sizeof(dn_args_dropout));
    s.args.dropout.scale = 2;
    s.num_in = 2, s.num_out = 1;
    s.in[0] = s.out[0] = x, s.in[1] = mask;
    measure_bytes(b, &s);
    for (int32_t dist = 0; dist <= DN_DIST_BERNOULLI; dist++) {
        s = start("", DN_OP_RANDOM, sizeof(dn_args_random));
        snprintf(s.name, sizeof s.name, "random.%s", names[dist]);
        s.args.random = (dn_args_random){s.args.base, dist, 0, 0.5, 1, 7};
        s.num_in = s.num_out = 1, s.in[0] = state, s.out[0] = x;
        measure_bytes(b, &s);
    }
}

/* ---- rows -------------------------------------------------------------------------------- */

static void row_ops(bench *b)
{
    dn_operand x = f32(2, 192, 3136, 0, 0), r = f32(1, 192, 0, 0, 0);
    spec s = start("mvn.fwd", DN_OP_MVN, sizeof(dn_args_mvn));
    s.args.mvn = (dn_args_mvn){s.args.base, 1, 0, 192, 3136, 1e-9};
    s.num_in = 1, s.num_out = 2;
    s.in[0] = s.in[2] = s.out[0] = x, s.in[1] = s.out[1] = r;
    measure_bytes(b, &s);
    snprintf(s.name, sizeof s.name, "mvn.bwd");
    s.kind = DN_OP_MVN_BWD, s.num_in = 3, s.num_out = 1;
    measure_bytes(b, &s);

    dn_operand table = f32(2, 8801, 500, 0, 0), rows = f32(2, 320, 500, 0, 0);
    s = start("embed.gather", DN_OP_GATHER, sizeof(dn_args_gather));
    s.args.gather = (dn_args_gather){s.args.base, 320, 500, 8801};
    s.num_in = 2, s.num_out = 1, s.classes = 8801;
    s.in[0] = table, s.in[1] = f32(1, 320, 0, 0, 0), s.out[0] = rows;
    s.bytes = 2.0 * (double)ops_bytes(&rows);
    ops_measure(b, &s);
    snprintf(s.name, sizeof s.name, "embed.scatter_add");
    s.kind = DN_OP_SCATTER_ADD;
    s.in[0] = rows, s.out[0] = table;
    s.args.base.accumulate = 1;
    s.bytes = 3.0 * (double)ops_bytes(&rows);
    ops_measure(b, &s);

    dn_operand cell = f32(2, 16, 1000, 0, 0), gates = f32(2, 16, 4000, 0, 0);
    s = start("lstm.fwd", DN_OP_LSTM_UNIT, sizeof(dn_args_lstm));
    s.args.lstm = (dn_args_lstm){s.args.base, 16, 1000};
    s.num_in = s.num_out = 3;
    s.in[0] = s.out[0] = s.out[1] = cell, s.in[1] = s.out[2] = gates;
    s.in[2] = f32(1, 16, 0, 0, 0);
    measure_bytes(b, &s);
    s = start("lstm.bwd", DN_OP_LSTM_UNIT_BWD, sizeof(dn_args_lstm));
    s.args.lstm = (dn_args_lstm){s.args.base, 16, 1000};
    s.num_in = 6, s.num_out = 2;
    s.in[0] = s.in[2] = s.in[4] = s.in[5] = s.out[0] = cell;
    s.in[1] = s.out[1] = gates, s.in[3] = f32(1, 16, 0, 0, 0);
    measure_bytes(b, &s);
}

/* Of Fast R-CNN, R-FCN and Mask R-CNN: 300 regions. */
static void roi_ops(bench *b)
{
    static const struct {
        const char *name;
        int32_t method, samples;
        int64_t C, K, H, W, P;
    } rows[] = {{"roi.vgg16", DN_ROI_MAX, 0, 512, 512, 38, 63, 7},
                {"roi.align", DN_ROI_ALIGN, 2, 256, 256, 50, 84, 7},
                {"roi.psroi", DN_ROI_PS_AVERAGE, 0, 1029, 21, 38, 63, 7}};
    for (size_t i = 0; i < DNI_COUNT(rows); i++) {
        int64_t P = rows[i].P;
        dn_operand x = f32(4, 1, rows[i].C, rows[i].H, rows[i].W);
        dn_operand y = f32(4, REGIONS, rows[i].K, P, P), mask = y;
        bool max = rows[i].method == DN_ROI_MAX;
        mask.dtype = DN_I32;
        spec s = start("", DN_OP_ROI_POOL, sizeof(dn_args_roi));
        snprintf(s.name, sizeof s.name, "%s.fwd", rows[i].name);
        s.args.roi = (dn_args_roi){s.args.base, rows[i].method, rows[i].samples, 1.0 / 16};
        s.num_in = 2, s.num_out = 1 + max, s.regions = true;
        s.in[0] = x, s.in[1] = f32(2, REGIONS, 5, 0, 0), s.out[0] = y, s.out[1] = mask;
        measure_bytes(b, &s);
        snprintf(s.name, sizeof s.name, "%s.bwd", rows[i].name);
        s.kind = DN_OP_ROI_POOL_BWD, s.num_in = 2 + max, s.num_out = 1;
        s.in[0] = y, s.in[2] = mask, s.out[0] = x;
        measure_bytes(b, &s);
    }
}

void ops_of_nets(bench *b)
{
    for (size_t i = 0; i < DNI_COUNT(convs); i++)
        for (int32_t layout = 0; layout < 2; layout++)
            conv_ops(b, &convs[i], layout);
    for (size_t i = 0; i < DNI_COUNT(gemms); i++)
        gemm_op(b, &gemms[i]);
    for (int32_t layout = 0; layout < 2; layout++) {
        pool_ops(b, "lenet.pool1", layout, 64, 20, 24, 2, 2, 0, DN_POOL_MAX);
        pool_ops(b, "lenet.pool2", layout, 64, 50, 8, 2, 2, 0, DN_POOL_MAX);
        pool_ops(b, "alex.pool1", layout, 4, 96, 55, 3, 2, 0, DN_POOL_MAX);
        pool_ops(b, "goog.inception_pool", layout, 4, 192, 28, 3, 1, 1, DN_POOL_MAX);
        pool_ops(b, "res.pool1", layout, 4, 64, 112, 3, 2, 0, DN_POOL_MAX);
        pool_ops(b, "res.pool5", layout, 4, 2048, 7, 7, 1, 0, DN_POOL_AVE);
        pool_ops(b, "cifar.pool2", layout, 64, 32, 16, 3, 2, 0, DN_POOL_AVE);
        pool_ops(b, "ssd.pool5", layout, 4, 512, 19, 3, 1, 1, DN_POOL_MAX);
        pool_ops(b, "pspnet.pool", layout, 1, 2048, 60, 20, 20, 0, DN_POOL_AVE);
    }
    unary_ops(b);
    norm_scale_ops(b, "norm.56x64", 4, 64, 56);
    norm_scale_ops(b, "norm.14x256", 4, 256, 14);
    norm_scale_ops(b, "norm.7x2048", 4, 2048, 7);
    lrn_ops(b);
    vector_ops(b);
    copy_ops(b);
    reduce_ops(b);
    axis_ops(b);
    loss_ops(b);
    random_ops(b);
    row_ops(b);
    roi_ops(b);
}
