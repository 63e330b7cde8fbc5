/* SPDX-License-Identifier: BSD-2-Clause
 * ops.c: times each op of the fast backend on the shapes of well-known nets, a JSON line each:
 * GFLOP/s or GB/s of the median and of the best run. A benchmark, not a test; with --check it
 * also compares with ref. Usage: ops [--backend=NAME|PATH]... [--threads=N] [--check] [--bf16]
 * [--filter=TEXT] [--ms=N] [--cpu-time] (the process's time: one thread on a busy machine).
 * Several backends take turns, op by op; a path is a module's. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/core.h"
#include "core/module.h"

extern const dn_backend_ops *const dni_builtin_backends[];

enum { OPERANDS = 7, BACKENDS = 4 };

typedef struct spec { /* one op, its operands and the work it is */
    char name[64];
    int32_t kind, num_in, num_out;
    dn_operand in[OPERANDS], out[OPERANDS];
    double flops, bytes;
    int64_t mask_width, mask_stride; /* an I32 input names the windows' first elements */
    union {
        dn_args base;
        dn_args_conv conv;
        dn_args_gemm gemm;
        dn_args_pool pool;
        dn_args_unary unary;
        dn_args_axis axis;
        dn_args_update update;
        dn_args_eltwise eltwise;
        dn_args_bcast bcast;
        dn_args_norm_scale norm_scale;
        dn_args_lrn lrn;
        dn_args_copy copy;
    } args;
} spec;

typedef struct bench {
    const dn_backend_ops *backends[BACKENDS];
    int32_t num_backends, compute;
    const char *filter;
    int32_t threads;
    int ms;
    bool check, cpu_time;
    dni_pool *pool;
    dn_backend_host host;
    int failures;
} bench;

/* ---- host -------------------------------------------------------------------------------- */

static void *host_alloc(void *user, size_t bytes)
{
    return dni_alloc_aligned(&dni_default_heap, bytes);
}

static void host_free(void *user, void *ptr)
{
    dni_free_aligned(&dni_default_heap, ptr);
}

static void host_for(void *user, int64_t tasks, void (*body)(void *, int64_t, int32_t),
                     void *arg)
{
    dni_pool_run(((bench *)user)->pool, tasks, body, arg);
}

static const dn_backend_ops *find(const char *name)
{
    for (int i = 0; dni_builtin_backends[i]; i++)
        if (strcmp(dni_builtin_backends[i]->name, name) == 0)
            return dni_builtin_backends[i];
    return NULL;
}

static double now(const bench *b)
{
    struct timespec t;
    clock_gettime(b->cpu_time ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- one op ------------------------------------------------------------------------------ */

static size_t bytes_of(const dn_operand *o)
{
    if (o->dtype < 0)
        return 0;
    int64_t n = dni_shape_count(&o->shape);
    return (size_t)n * (o->dtype == DN_I64 ? 8 : o->dtype == DN_U8 ? 1 : 4);
}

static void fill_mask(const spec *s, const dn_operand *o, int32_t *mask)
{
    int64_t C = o->shape.dim[1], P = o->shape.dim[2], Q = o->shape.dim[3];
    for (int64_t i = 0; i < dni_shape_count(&o->shape); i++) {
        int64_t pixel = o->layout == DN_LAYOUT_NHWC ? i / C : i;
        mask[i] = (int32_t)((pixel / Q % P * s->mask_width + pixel % Q) * s->mask_stride);
    }
}

static void *operand(const spec *s, const dn_operand *o, uint32_t seed)
{
    size_t bytes = bytes_of(o);
    if (!bytes)
        return NULL;
    void *data = dni_alloc_aligned(&dni_default_heap, bytes);
    if (!data)
        return NULL;
    memset(data, 0, bytes);
    float *x = data;
    if (o->dtype == DN_I32 && s->mask_stride)
        fill_mask(s, o, data);
    for (size_t i = 0; o->dtype == DN_F32 && i < bytes / 4; i++) {
        seed = seed * 1664525u + 1013904223u;
        x[i] = (float)(seed >> 8) * (2.0f / 16777216.0f) - 1.0f;
    }
    return data;
}

typedef struct instance {
    const dn_backend_ops *ops;
    dn_backend *backend;
    dn_op *op;
    dn_op_info info;
    void *in[OPERANDS], *out[OPERANDS];
    dn_op_io io;
} instance;

static void release(instance *it)
{
    if (it->op)
        it->ops->op_destroy(it->op);
    if (it->backend)
        it->ops->close(it->backend);
    for (int i = 0; i < OPERANDS; i++) {
        host_free(NULL, it->in[i]);
        host_free(NULL, it->out[i]);
    }
    host_free(NULL, it->io.scratch);
}

static dn_status prepare(bench *b, instance *it, const dn_backend_ops *ops, const spec *s)
{
    *it = (instance){.ops = ops, .info = {.struct_size = sizeof(dn_op_info)}};
    dn_status status = ops->open(&it->backend, &b->host);
    dn_op_desc desc = {.struct_size = sizeof desc,
                       .kind = s->kind,
                       .num_inputs = s->num_in,
                       .num_outputs = s->num_out,
                       .inputs = s->in,
                       .outputs = s->out,
                       .args = &s->args,
                       .compute = b->compute};
    if (status == DN_OK)
        status = ops->op_create(it->backend, &desc, &it->op, &it->info);
    if (status != DN_OK)
        return status;
    for (int i = 0; i < s->num_in; i++)
        it->in[i] = operand(s, &s->in[i], (uint32_t)i + 1);
    for (int i = 0; i < s->num_out; i++)
        it->out[i] = operand(s, &s->out[i], (uint32_t)i + 77);
    it->io =
        (dn_op_io){sizeof it->io, it->in, it->out, host_alloc(NULL, it->info.scratch + 64)};
    return DN_OK;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Largest difference from ref, as a part of the largest value. */
static double difference(bench *b, const spec *s, instance *it)
{
    instance ref;
    double worst = 0;
    if (prepare(b, &ref, find("ref"), s) != DN_OK) {
        release(&ref);
        return INFINITY;
    }
    for (int i = 0; i < s->num_out; i++)
        if (it->out[i])
            memcpy(it->out[i], ref.out[i], bytes_of(&s->out[i]));
    it->ops->op_run(it->op, &it->io);
    ref.ops->op_run(ref.op, &ref.io);
    for (int i = 0; i < s->num_out; i++) {
        if (s->out[i].dtype != DN_F32)
            continue;
        const float *x = it->out[i], *y = ref.out[i];
        double most = 1e-30, off = 0;
        for (size_t j = 0; j < bytes_of(&s->out[i]) / 4; j++) {
            most = fmax(most, fabs(y[j]));
            off = fmax(off, fabs((double)x[j] - y[j]));
        }
        worst = fmax(worst, off / most);
    }
    release(&ref);
    return worst;
}

static void measure_one(bench *b, const dn_backend_ops *ops, const spec *s)
{
    instance it;
    double times[256], begin;
    int n = 0;
    if (prepare(b, &it, ops, s) != DN_OK) {
        printf("{\"op\": \"%s\", \"declined\": \"%s\"}\n", s->name, it.info.reason);
        release(&it);
        return;
    }
    it.ops->op_run(it.op, &it.io);
    begin = now(b);
    while (n < 256 && (n < 3 || now(b) - begin < 1e-3 * b->ms)) {
        double t = now(b);
        it.ops->op_run(it.op, &it.io);
        times[n++] = now(b) - t;
    }
    qsort(times, (size_t)n, sizeof *times, ascending);
    double work = (s->flops > 0 ? s->flops : s->bytes) * 1e-9;
    printf("{\"op\": \"%s\", \"threads\": %d, \"ms\": %.4f, \"%s\": %.1f, \"best\": %.1f, "
           "\"scratch\": %zu, \"cost_ms\": %.4f, \"implementation\": \"%s\"",
           s->name, (int)b->threads, times[n / 2] * 1e3, s->flops > 0 ? "gflops" : "gbs",
           work / times[n / 2], work / times[0], it.info.scratch, it.info.cost * 1e-6,
           it.info.implementation);
    if (b->check) {
        double off = difference(b, s, &it);
        bool good = off < (b->compute == DN_COMPUTE_BF16 ? 2e-2 : 1e-4);
        b->failures += !good;
        printf(", \"difference\": %.2g%s", off, good ? "" : ", \"WRONG\": true");
    }
    printf("}\n");
    fflush(stdout);
    release(&it);
}

static void measure(bench *b, const spec *s)
{
    if (b->filter && !strstr(s->name, b->filter))
        return;
    for (int32_t i = 0; i < b->num_backends; i++)
        measure_one(b, b->backends[i], s);
}

/* ---- shapes ------------------------------------------------------------------------------ */

static dn_operand f32(int32_t axes, int64_t a, int64_t b, int64_t c, int64_t d)
{
    const int64_t dims[4] = {a, b, c, d};
    return (dn_operand){DN_F32, DN_LAYOUT_PLAIN, dni_shape_of(axes, dims)};
}

typedef struct conv_shape {
    const char *name;
    int32_t N, C, H, K, R, stride, pad, group;
} conv_shape;

static const conv_shape convs[] = {
    {"lenet.conv1", 64, 1, 28, 20, 5, 1, 0, 1},    {"lenet.conv2", 64, 20, 12, 50, 5, 1, 0, 1},
    {"alex.conv1", 4, 3, 227, 96, 11, 4, 0, 1},    {"alex.conv2", 4, 96, 27, 256, 5, 1, 2, 2},
    {"alex.conv3", 4, 256, 13, 384, 3, 1, 1, 1},   {"alex.conv4", 4, 384, 13, 384, 3, 1, 1, 2},
    {"goog.conv1", 4, 3, 224, 64, 7, 2, 3, 1},     {"goog.3a_5x5", 4, 16, 28, 32, 5, 1, 2, 1},
    {"goog.4a_1x1", 4, 480, 14, 192, 1, 1, 0, 1},  {"goog.5b_3x3", 4, 160, 7, 320, 3, 1, 1, 1},
    {"res2.1x1a", 4, 64, 56, 64, 1, 1, 0, 1},      {"res2.3x3", 4, 64, 56, 64, 3, 1, 1, 1},
    {"res3.3x3", 4, 128, 28, 128, 3, 1, 1, 1},     {"res4.3x3", 4, 256, 14, 256, 3, 1, 1, 1},
    {"res4.1x1c", 4, 256, 14, 1024, 1, 1, 0, 1},   {"res5.3x3", 4, 512, 7, 512, 3, 1, 1, 1},
    {"res5.ds_s2", 4, 1024, 14, 2048, 1, 2, 0, 1}, {"mob.dw112", 4, 32, 112, 32, 3, 1, 1, 32},
    {"mob.dw56s2", 4, 128, 56, 128, 3, 2, 1, 128}, {"mob.dw14", 4, 512, 14, 512, 3, 1, 1, 512},
    {"mob.pw14", 4, 512, 14, 512, 1, 1, 0, 1},     {"mob.pw112", 4, 32, 112, 64, 1, 1, 0, 1},
};

static void conv_ops(bench *b, const conv_shape *c, int32_t layout)
{
    const char *suffix = layout == DN_LAYOUT_NHWC ? ".nhwc" : "";
    int64_t P = (c->H + 2 * c->pad - c->R) / c->stride + 1;
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
        s.args.conv.dilation[i] = 1;
    }
    s.flops = 2.0 * c->N * c->K * (double)(P * P) * (c->C / c->group) * c->R * c->R;
    snprintf(s.name, sizeof s.name, "%s%s.fwd", c->name, suffix);
    s.kind = DN_OP_CONV;
    s.in[0] = x, s.in[1] = w, s.in[2] = bias, s.out[0] = y;
    measure(b, &s);
    snprintf(s.name, sizeof s.name, "%s%s.bwd_d", c->name, suffix);
    s.kind = DN_OP_CONV_BWD_DATA;
    s.in[0] = y, s.in[2].dtype = -1, s.out[0] = x;
    measure(b, &s);
    snprintf(s.name, sizeof s.name, "%s%s.bwd_w", c->name, suffix);
    s.kind = DN_OP_CONV_BWD_WEIGHTS;
    s.in[0] = x, s.in[1] = y, s.out[0] = w, s.out[1] = bias;
    s.num_in = s.num_out = 2;
    measure(b, &s);
}

static const struct gemm_shape {
    const char *name;
    int32_t ta, tb, m, n, k;
} gemms[] = {
    {"lenet.ip1.fwd", 0, 1, 64, 500, 800},   {"lenet.ip1.bwd_d", 0, 0, 64, 800, 500},
    {"lenet.ip1.bwd_w", 1, 0, 500, 800, 64}, {"lenet.ip2.fwd", 0, 1, 64, 10, 500},
    {"lenet.ip2.bwd_d", 0, 0, 64, 500, 10},  {"lenet.ip2.bwd_w", 1, 0, 10, 500, 64},
    {"nn1024", 0, 0, 1024, 1024, 1024},      {"nt1024", 0, 1, 1024, 1024, 1024},
    {"tn1024", 1, 0, 1024, 1024, 1024},      {"tt512", 1, 1, 512, 512, 512},
    {"fc6.fwd16", 0, 1, 16, 4096, 9216},     {"fc6.bwd_d16", 0, 0, 16, 9216, 4096},
    {"fc6.bwd_w16", 1, 0, 4096, 9216, 16},   {"fc6.fwd1", 0, 1, 1, 4096, 9216},
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
    measure(b, &s);
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
    s.bytes = (double)(bytes_of(&x) + bytes_of(&y) + bytes_of(&mask));
    measure(b, &s);
    s.kind = DN_OP_POOL_BWD, s.num_in = 2, s.num_out = 1;
    s.in[0] = y, s.in[1] = mask, s.out[0] = x;
    snprintf(s.name, sizeof s.name, "%s%s.bwd", name, suffix);
    measure(b, &s);
}

static void unary_ops(bench *b, const char *name, int32_t fn, int64_t n)
{
    spec s = {.kind = DN_OP_UNARY, .num_in = 1, .num_out = 1};
    s.args.unary = (dn_args_unary){.base = {.struct_size = sizeof(dn_args_unary)},
                                   .fn = fn,
                                   .a = fn == DN_FN_RELU ? 0 : 1};
    snprintf(s.name, sizeof s.name, "%s.%lld.fwd", name, (long long)n);
    s.in[0] = s.in[1] = s.in[2] = s.out[0] = f32(1, n, 0, 0, 0);
    s.in[0] = s.in[1] = s.in[2] = s.out[0] = f32(1, n, 0, 0, 0);
    s.bytes = 8.0 * (double)n;
    measure(b, &s);
    s.kind = DN_OP_UNARY_BWD, s.num_in = 3;
    s.in[0].dtype = fn == DN_FN_RELU ? DN_F32 : -1; /* x and y would contradict each other */
    s.bytes = 12.0 * (double)n;
    snprintf(s.name, sizeof s.name, "%s.%lld.bwd", name, (long long)n);
    measure(b, &s);
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
        s.bytes = 2.0 * (double)bytes_of(&x);
        measure(b, &s);
        s.kind = DN_OP_NORM_SCALE_BWD, s.num_in = 6, s.num_out = 3;
        snprintf(s.name, sizeof s.name, "%s%s.bwd", name, rows ? ".nhwc" : "");
        s.in[0] = s.in[1] = s.in[5] = s.out[0] = x;
        s.in[2] = s.in[3] = s.in[4] = s.out[1] = s.out[2] = c;
        s.bytes = 4.0 * (double)bytes_of(&x);
        measure(b, &s);
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
        s.bytes = 3.0 * (double)bytes_of(&x);
        s.args.lrn = (dn_args_lrn){.base = {.struct_size = sizeof(dn_args_lrn)},
                                   .size = 5,
                                   .alpha = 1e-4,
                                   .beta = 0.75,
                                   .k = 1};
        s.in[0] = s.in[1] = s.in[2] = s.in[3] = s.out[0] = s.out[1] = x;
        measure(b, &s);
        snprintf(s.name, sizeof s.name, "lrn.alex1%s.bwd", suffix);
        s.kind = DN_OP_LRN_BWD, s.num_in = 4, s.num_out = 1;
        s.bytes = 5.0 * (double)bytes_of(&x);
        measure(b, &s);
    }
}

static void small_ops(bench *b)
{
    dn_operand x = f32(2, 64, 10, 0, 0), w = f32(1, 431080, 0, 0, 0);
    spec s = {.kind = DN_OP_SOFTMAX,
              .num_in = 1,
              .num_out = 1,
              .name = "lenet.softmax",
              .bytes = 2.0 * (double)bytes_of(&x)};
    s.args.axis = (dn_args_axis){{sizeof(dn_args_axis), 0, 0}, 64, 10, 1};
    s.in[0] = s.out[0] = x;
    measure(b, &s);
    s = (spec){.kind = DN_OP_UPDATE,
               .num_in = 1,
               .num_out = 3,
               .name = "lenet.update",
               .bytes = 6.0 * (double)bytes_of(&w)};
    s.args.update = (dn_args_update){.base = {.struct_size = sizeof(dn_args_update)},
                                     .lr_mult = 1,
                                     .decay = 0.0005,
                                     .momentum = 0.9};
    s.in[0] = f32(1, 4, 0, 0, 0);
    s.out[0] = s.out[1] = s.out[2] = w;
    measure(b, &s);
}

static bool option(const char *arg, const char *name, const char **value)
{
    size_t n = strlen(name);
    if (strncmp(arg, name, n) != 0 || arg[n] != '=')
        return false;
    *value = arg + n + 1;
    return true;
}

static bool add_backend(bench *b, const char *name)
{
    const dn_backend_ops *ops = find(name);
    if (b->num_backends == BACKENDS ||
        (!ops && dni_module_load(&dni_default_heap, NULL, name, strlen(name), &ops)))
        return false;
    b->backends[b->num_backends++] = ops;
    return true;
}

int main(int argc, char **argv)
{
    bench b = {.threads = 1, .ms = 100};
    const char *value;
    for (int i = 1; i < argc; i++) {
        if (option(argv[i], "--filter", &b.filter) ||
            (option(argv[i], "--backend", &value) && add_backend(&b, value)))
            continue;
        if (option(argv[i], "--threads", &value))
            b.threads = atoi(value);
        else if (option(argv[i], "--ms", &value))
            b.ms = atoi(value);
        else if (strcmp(argv[i], "--check") == 0)
            b.check = true;
        else if (strcmp(argv[i], "--bf16") == 0)
            b.compute = DN_COMPUTE_BF16;
        else if (strcmp(argv[i], "--cpu-time") == 0)
            b.cpu_time = true;
        else {
            fprintf(stderr, "unknown option %s\n", argv[i]);
            return 2;
        }
    }
    if ((!b.num_backends && !add_backend(&b, "cpu")) || b.threads < 1 ||
        dni_pool_create(&b.pool, &dni_default_heap, b.threads) != DN_OK)
        return 2;
    b.host = (dn_backend_host){.struct_size = sizeof b.host,
                               .alloc = host_alloc,
                               .free = host_free,
                               .parallel_for = host_for,
                               .fail = dni_fail,
                               .num_threads = b.threads,
                               .user = &b};
    for (size_t i = 0; i < DNI_COUNT(convs); i++)
        for (int32_t layout = 0; layout < 2; layout++)
            conv_ops(&b, &convs[i], layout);
    for (size_t i = 0; i < DNI_COUNT(gemms); i++)
        gemm_op(&b, &gemms[i]);
    for (int32_t layout = 0; layout < 2; layout++) {
        pool_ops(&b, "lenet.pool1", layout, 64, 20, 24, 2, 2, 0, DN_POOL_MAX);
        pool_ops(&b, "lenet.pool2", layout, 64, 50, 8, 2, 2, 0, DN_POOL_MAX);
        pool_ops(&b, "alex.pool1", layout, 4, 96, 55, 3, 2, 0, DN_POOL_MAX);
        pool_ops(&b, "goog.inception_pool", layout, 4, 192, 28, 3, 1, 1, DN_POOL_MAX);
        pool_ops(&b, "res.pool1", layout, 4, 64, 112, 3, 2, 0, DN_POOL_MAX);
        pool_ops(&b, "res.pool5", layout, 4, 2048, 7, 7, 1, 0, DN_POOL_AVE);
    }
    unary_ops(&b, "relu", DN_FN_RELU, 32000);
    unary_ops(&b, "relu", DN_FN_RELU, 1 << 20);
    unary_ops(&b, "sigmoid", DN_FN_SIGMOID, 1 << 20);
    unary_ops(&b, "tanh", DN_FN_TANH, 1 << 20);
    norm_scale_ops(&b, "norm.56x64", 4, 64, 56);
    norm_scale_ops(&b, "norm.14x256", 4, 256, 14);
    norm_scale_ops(&b, "norm.7x2048", 4, 2048, 7);
    lrn_ops(&b);
    small_ops(&b);
    dni_pool_free(b.pool);
    return b.failures != 0;
}
