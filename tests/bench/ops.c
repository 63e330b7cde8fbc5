/* SPDX-License-Identifier: BSD-2-Clause
 * ops.c: times each op of the fast backend on the shapes of well-known nets, a JSON line each:
 * GFLOP/s or GB/s of the median and of the best run. A benchmark, not a test; with --check it
 * also compares with ref. Usage: ops [--backend=NAME|PATH]... [--threads=N] [--check] [--bf16]
 * [--filter=TEXT] [--ms=N] [--cpu-time] (the process's time: one thread on a busy machine)
 * [--constant] (weights that change between runs alone). Several backends take turns, op by op;
 * a path is a module's. */
#include <math.h>
#include <stdlib.h>
#include <time.h>

#include "core/module.h"
#include "ops.h"

extern const dn_backend_ops *const dni_builtin_backends[];

/* ---- host -------------------------------------------------------------------------------- */

static void *host_alloc(void *user, size_t bytes)
{
    return dni_alloc_aligned(&dni_default_heap, bytes);
}

static void host_free(void *user, void *ptr)
{
    dni_free_aligned(ptr);
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

size_t ops_bytes(const dn_operand *o)
{
    if (o->dtype < 0)
        return 0;
    int64_t n = dni_shape_count(&o->shape);
    return (size_t)n * (o->dtype == DN_I64    ? 8
                        : o->dtype == DN_BF16 ? 2
                        : o->dtype == DN_U8   ? 1
                                              : 4);
}

static void fill_mask(const spec *s, const dn_operand *o, int32_t *mask)
{
    int64_t C = o->shape.dim[1], P = o->shape.dim[2], Q = o->shape.dim[3];
    for (int64_t i = 0; i < dni_shape_count(&o->shape); i++) {
        int64_t pixel = o->layout == DN_LAYOUT_NHWC ? i / C : i;
        mask[i] = (int32_t)((pixel / Q % P * s->mask_width + pixel % Q) * s->mask_stride);
    }
}

/* All of item 0, of all sizes, anywhere in the image. */
static void fill_regions(float *region)
{
    uint32_t seed = 5;
    for (int i = 0; i < REGIONS; i++, region += 5) {
        float u[4];
        for (int k = 0; k < 4; k++) {
            seed = seed * 1664525u + 1013904223u;
            u[k] = (float)(seed >> 8) / 16777216.0f;
        }
        region[0] = 0;
        region[1] = u[0] * 900, region[2] = u[1] * 500;
        region[3] = region[1] + 16 + u[2] * (983 - region[1]);
        region[4] = region[2] + 16 + u[3] * (583 - region[2]);
    }
}

static void *operand(const spec *s, const dn_operand *o, uint32_t seed)
{
    size_t bytes = ops_bytes(o);
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
        if (s->classes && o == &s->in[1])
            x[i] = (float)((seed >> 8) % (uint32_t)s->classes);
    }
    if (s->regions && o == &s->in[1])
        fill_regions(x);
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
    host_free(NULL, it->io.keep);
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
                       .constant = b->constant && s->num_in > 1 ? 1u << 1 : 0,
                       .compute = b->compute};
    if (status == DN_OK)
        status = ops->op_create(it->backend, &desc, &it->op, &it->info);
    if (status != DN_OK)
        return status;
    for (int i = 0; i < s->num_in; i++)
        it->in[i] = operand(s, &s->in[i], (uint32_t)i + 1);
    for (int i = 0; i < s->num_out; i++)
        it->out[i] = operand(s, &s->out[i], (uint32_t)i + 77);
    it->io = (dn_op_io){sizeof it->io, it->in, it->out, host_alloc(NULL, it->info.scratch + 64),
                        host_alloc(NULL, it->info.keep + 64)};
    return ops->op_prepare ? ops->op_prepare(it->op, &it->io) : DN_OK;
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
            memcpy(it->out[i], ref.out[i], ops_bytes(&s->out[i]));
    it->ops->op_run(it->op, &it->io);
    ref.ops->op_run(ref.op, &ref.io);
    for (int i = 0; i < s->num_out; i++) {
        if (s->out[i].dtype != DN_F32)
            continue;
        const float *x = it->out[i], *y = ref.out[i];
        double most = 1e-30, off = 0;
        for (size_t j = 0; j < ops_bytes(&s->out[i]) / 4; j++) {
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
           "\"scratch\": %zu, \"keep\": %zu, \"cost_ms\": %.4f, \"implementation\": \"%s\"",
           s->name, (int)b->threads, times[n / 2] * 1e3, s->flops > 0 ? "gflops" : "gbs",
           work / times[n / 2], work / times[0], it.info.scratch, it.info.keep,
           it.info.cost * 1e-6, it.info.implementation);
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

void ops_measure(bench *b, const spec *s)
{
    if (b->filter && !strstr(s->name, b->filter))
        return;
    for (int32_t i = 0; i < b->num_backends; i++)
        measure_one(b, b->backends[i], s);
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
        else if (strcmp(argv[i], "--constant") == 0)
            b.constant = true;
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
    ops_of_nets(&b);
    dni_pool_free(b.pool);
    return b.failures != 0;
}
