/* SPDX-License-Identifier: BSD-2-Clause
 * test_tape.c: ops that are recorded one by one, over the fakes: those that touch the same
 * memory stay in order whatever its type, also where one of them touches a part of it; one that
 * needs more scratch than the second stream has stays in the first. Copies to the host that are
 * said to come wait once, and give what is there when they do; those for which there is no
 * pinned memory come all the same.
 * test_tape FOLDER */
#include <dlfcn.h>
#include <stdarg.h>
#include <stdbool.h>

#include "check.h"
#include "deepnet/sys/backend.h"
#include "fake_cuda.h"

enum { PAIRS = 3, OPS = 2 * PAIRS, N = 1 << 14, ORDERS = 5, ROWS = 5 << 20, FEW = 8 };

typedef struct noted { /* an op with all that is to stay until the recording ends */
    dn_op *op;
    dn_op_io io;
    void *in[2], *out[1], *scratch;
} noted;

static const dn_backend_ops *table;
static dn_backend *backend;
static dn_backend_host host;
static fake_cuda_control *fake;
static char words[512];

static void *host_alloc(void *user, size_t bytes)
{
    (void)user;
    return aligned_alloc(64, (bytes + 64) / 64 * 64);
}

static void host_free(void *user, void *ptr)
{
    (void)user;
    free(ptr);
}

static dn_status host_fail(dn_status status, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(words, sizeof words, format, args);
    va_end(args);
    return status;
}

static void must(dn_status status)
{
    CHECK_AT(status == DN_OK, "%d: %s", (int)status, words);
    if (status != DN_OK)
        exit(check_summary());
}

static void *device_memory(size_t bytes)
{
    void *memory = NULL;
    must(table->mem_alloc(backend, bytes, &memory));
    return memory;
}

static dn_operand operand(int32_t dtype, int64_t count)
{
    return (dn_operand){.dtype = dtype, .shape = {.axes = 1, .dim = {count}}};
}

static void make(noted *n, int32_t kind, const void *args, const dn_operand *in, int32_t num,
                 const dn_operand *out)
{
    dn_op_info info = {.struct_size = sizeof info};
    dn_op_desc desc = {.struct_size = sizeof desc,
                       .kind = kind,
                       .num_inputs = num,
                       .num_outputs = 1,
                       .inputs = in,
                       .outputs = out,
                       .args = args};
    must(table->op_create(backend, &desc, &n->op, &info));
    n->scratch = info.scratch ? device_memory(info.scratch) : NULL;
    n->io = (dn_op_io){
        .struct_size = sizeof n->io, .in = n->in, .out = n->out, .scratch = n->scratch};
}

static void make_cast(noted *n, int32_t from, void *x, int32_t to, void *y, int64_t count)
{
    dn_args args = {.struct_size = sizeof args};
    dn_operand in = operand(from, count), out = operand(to, count);
    n->in[0] = x;
    n->out[0] = y;
    make(n, DN_OP_CAST, &args, &in, 1, &out);
}

/* After a run of each, which loads its kernels. */
static void *record(noted *ops, int num)
{
    void *recording = NULL;
    for (int i = 0; i < num; i++)
        must(table->op_run(ops[i].op, &ops[i].io));
    must(table->capture_begin(backend));
    for (int i = 0; i < num; i++)
        must(table->op_run(ops[i].op, &ops[i].io));
    must(table->capture_end(backend, &recording));
    return recording;
}

static void end(noted *ops, int num, void *recording)
{
    table->recording_free(backend, recording);
    for (int i = 0; i < num; i++) {
        table->op_destroy(ops[i].op);
        table->mem_free(backend, ops[i].scratch);
    }
}

/* Each of some is written whole, and then the second half of each is read. */
static void check_type(int32_t dtype, size_t size)
{
    static float numbers[N], found[N / 2];
    noted ops[OPS];
    char *between[PAIRS];
    float *y[PAIRS], *x = device_memory(sizeof numbers);
    for (int i = 0; i < N; i++)
        numbers[i] = (float)(i % 127);
    must(table->copy_in(backend, x, numbers, sizeof numbers));
    for (int i = 0; i < PAIRS; i++) {
        between[i] = device_memory(N * size);
        y[i] = device_memory(sizeof found);
        make_cast(&ops[i], DN_F32, x, dtype, between[i], N);
        make_cast(&ops[PAIRS + i], dtype, between[i] + N / 2 * size, DN_F32, y[i], N / 2);
    }
    void *recording = record(ops, OPS);
    CHECK_INT(fake->lanes, 2);
    for (int order = 0; order < ORDERS; order++) {
        fake->order = order;
        for (int i = 0; i < PAIRS; i++)
            must(table->mem_zero(backend, between[i], N * size));
        must(table->replay(backend, recording));
        for (int i = 0; i < PAIRS; i++) {
            must(table->copy_out(backend, found, y[i], sizeof found));
            CHECK_AT(memcmp(found, numbers + N / 2, sizeof found) == 0,
                     "type %d, order %d, pair %d", (int)dtype, order, i);
        }
    }
    end(ops, OPS, recording);
    for (int i = 0; i < PAIRS; i++) {
        table->mem_free(backend, between[i]);
        table->mem_free(backend, y[i]);
    }
    table->mem_free(backend, x);
}

static void check_types(void)
{
    SECTION("types");
    static const size_t sizes[] = {
        [DN_F32] = 4, [DN_F64] = 8, [DN_BF16] = 2, [DN_I32] = 4, [DN_I64] = 8, [DN_U8] = 1};
    for (int32_t dtype = DN_F32; dtype <= DN_U8; dtype++)
        check_type(dtype, sizes[dtype]);
}

/* Two that need nothing of each other. */
static void check_scratch(int64_t rows, int lanes)
{
    noted ops[2];
    void *x = device_memory(FEW * sizeof(float)), *index = device_memory(FEW * sizeof(float));
    must(table->mem_zero(backend, x, FEW * sizeof(float)));
    must(table->mem_zero(backend, index, FEW * sizeof(float)));
    for (int i = 0; i < 2; i++) {
        dn_args_gather args = {.base = {.struct_size = sizeof args},
                               .count = FEW,
                               .cols = 1,
                               .limit = rows,
                               .set = 1};
        dn_operand in[] = {operand(DN_F32, FEW), operand(DN_F32, FEW)};
        dn_operand out = operand(DN_F32, rows);
        ops[i].in[0] = x;
        ops[i].in[1] = index;
        ops[i].out[0] = device_memory((size_t)rows * sizeof(float));
        make(&ops[i], DN_OP_SCATTER_ADD, &args, in, 2, &out);
    }
    void *recording = record(ops, 2);
    CHECK_INT(fake->lanes, lanes);
    end(ops, 2, recording);
    table->mem_free(backend, ops[0].out[0]);
    table->mem_free(backend, ops[1].out[0]);
    table->mem_free(backend, x);
    table->mem_free(backend, index);
}

enum { RESULTS = 4 };

/* The bytes at `from` are all `value`; so many waits. */
static void check_result(const void *from, size_t bytes, int value, long waits)
{
    static unsigned char found[1 << 16];
    long before = fake->waits;
    memset(found, 99, sizeof found);
    must(table->copy_out(backend, found, from, bytes));
    for (size_t i = 0; i < bytes; i++)
        if (found[i] != value) {
            CHECK_AT(false, "byte %zu of %zu is %d, not %d", i, bytes, found[i], value);
            break;
        }
    CHECK_INT(fake->waits - before, waits);
}

static void fill(void *device, size_t bytes, int value)
{
    static unsigned char values[1 << 16];
    memset(values, value, bytes);
    must(table->copy_in(backend, device, values, bytes));
}

/* The first three fill the slot; the fourth waits by itself. */
static void check_results(void)
{
    static const size_t size[RESULTS] = {100, (1 << 16) - 101, 1, 3};
    void *x[RESULTS];
    for (int i = 0; i < RESULTS; i++) {
        x[i] = device_memory(size[i]);
        fill(x[i], size[i], i + 1);
    }
    for (int i = 0; i < RESULTS; i++)
        must(table->copy_out_soon(backend, NULL, x[i], size[i]));
    must(table->copy_out_soon(backend, NULL, x[0], size[0]));
    for (int i = 0; i < RESULTS; i++) /* the last copy found nothing */
        check_result(x[RESULTS - 1 - i], size[RESULTS - 1 - i], RESULTS - i, 1);
    for (int i = 0; i < RESULTS - 1; i++)
        must(table->copy_out_soon(backend, NULL, x[i], size[i]));
    for (int i = 0; i < RESULTS - 1; i++)
        check_result(x[i], size[i], i + 1, i == 0);
    check_result(x[1], size[1], 2, 1); /* it was had */
    must(table->copy_out_soon(backend, NULL, x[0], size[0]));
    fill(x[0], size[0], 7);
    check_result(x[0], size[0], 7, 1);
    must(table->copy_out_soon(backend, NULL, x[0], size[0]));
    check_result(x[2], size[2], 3, 1);
    check_result(x[0], size[0], 7, 1);
    must(table->copy_out_soon(backend, NULL, x[0], size[0]));
    check_result(x[0], 1, 7, 1); /* of another size */
    for (int i = 0; i < 20; i++)
        must(table->copy_out_soon(backend, NULL, (char *)x[1] + i, 1));
    for (int i = 0; i < 16; i++)
        check_result((char *)x[1] + i, 1, 2, i == 0);
    check_result((char *)x[1] + 16, 1, 2, 1);
    for (int i = 0; i < RESULTS; i++)
        table->mem_free(backend, x[i]);
}

/* What was on its way when a wait failed is asked for once more. */
static void check_failed_wait(void)
{
    SECTION("a wait that fails");
    unsigned char *x = device_memory(FEW), *y = device_memory(FEW), found[FEW];
    fill(x, FEW, 6);
    fill(y, FEW, 5);
    check_result(y, FEW, 5, 1);
    must(table->copy_out_soon(backend, NULL, x, 1));
    must(table->copy_out_soon(backend, NULL, x + 1, 1));
    fake->fail_wait = fake->waits + 1;
    CHECK_INT(table->copy_out(backend, found, x + 1, 1), DN_E_DEVICE);
    check_result(x, 1, 6, 1);
    check_result(x + 1, 1, 6, 1);
    table->mem_free(backend, x);
    table->mem_free(backend, y);
}

/* By a device to which nothing was copied yet. No error is left for the op that comes next; one
 * that is the device's end is said. */
static void check_no_slots(void)
{
    SECTION("no pinned memory");
    dn_backend *other = backend;
    noted cast;
    float found[FEW];
    must(table->open(&backend, &host));
    void *x = device_memory(sizeof found), *y = device_memory(sizeof found);
    make_cast(&cast, DN_F32, x, DN_F32, y, FEW);
    must(table->mem_zero(backend, x, sizeof found));
    long held_up = fake->held_up;
    must(table->copy_out_soon(backend, NULL, x, 0));
    must(table->copy_out(backend, NULL, x, 0));
    CHECK_INT(fake->held_up - held_up, 0);
    fake->no_pinned = 1;
    words[0] = '\0';
    must(table->copy_out_soon(backend, found, x, sizeof found));
    must(table->op_run(cast.op, &cast.io));
    check_result(y, sizeof found, 0, 1);
    must(table->op_run(cast.op, &cast.io));
    CHECK_TEXT(words, "");
    held_up = fake->held_up;
    must(table->copy_out_soon(backend, found, x, sizeof found));
    CHECK_INT(fake->held_up - held_up, 0); /* who was refused does not ask each time */
    table->mem_free(backend, device_memory(1));
    fake->lost = fake->launches;
    CHECK_INT(table->copy_out_soon(backend, found, x, sizeof found), DN_E_DEVICE);
    CHECK_INT(table->copy_out(backend, found, x, sizeof found), DN_E_DEVICE);
    fake->lost = fake->no_pinned = 0;
    fill(x, sizeof found, 7);
    must(table->copy_out_soon(backend, NULL, x, sizeof found));
    check_result(x, sizeof found, 7, 1);
    table->op_destroy(cast.op);
    table->mem_free(backend, cast.scratch);
    table->mem_free(backend, x);
    table->mem_free(backend, y);
    table->close(backend);
    backend = other;
}

int main(int argc, char **argv)
{
    char path[4096];
    if (argc != 2)
        return 2;
    snprintf(path, sizeof path, "%s/deepnet-cuda.so", argv[1]);
    void *module = dlopen(path, RTLD_NOW);
    void *entry = module ? dlsym(module, DN_BACKEND_ENTRY) : NULL;
    void *control = module ? dlsym(module, "fake_cuda") : NULL;
    CHECK(entry && control);
    if (!entry || !control)
        return check_summary();
    dn_backend_entry_fn enter;
    memcpy(&enter, &entry, sizeof enter);
    table = enter();
    fake = control;
    host = (dn_backend_host){.struct_size = sizeof host,
                             .alloc = host_alloc,
                             .free = host_free,
                             .fail = host_fail,
                             .num_threads = 1};
    must(table->open(&backend, &host));
    check_types();
    SECTION("scratch");
    check_scratch(ROWS / 16, 2);
    check_scratch(ROWS, 1);
    SECTION("results");
    check_results();
    check_failed_wait();
    check_no_slots();
    table->close(backend);
    return check_summary();
}
