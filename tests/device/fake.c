/* SPDX-License-Identifier: BSD-2-Clause
 * fake.c: see fake.h. Every allocation is a mapping of its own that is opened for as long as an
 * op or a copy of ours uses it. */
#define _DEFAULT_SOURCE
#include "fake.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { MAX_REGIONS = 4096, MAX_RECORDED = 4096, MAX_SOON = 32, PAGE = 4096 };

extern const dn_backend_ops dn_ref_backend;
const dn_backend_ops *dn_backend_entry(void);

fake_control fake;

typedef struct region {
    char *start;
    size_t bytes;
} region;

typedef struct recorded {
    dn_op *op;
    dn_op_io io;
    void **operands;
} recorded;

typedef struct recording {
    size_t count;
    recorded ops[MAX_RECORDED];
} recording;

struct dn_backend {
    dn_backend_host host;
    dn_backend *ref;
    region regions[MAX_REGIONS];
    recording *recording; /* being made */
    /* copies to the host that were said to come; any other call makes it forget them */
    const void *soon[MAX_SOON];
    int num_soon;
    bool there; /* it has waited for them */
};

struct dn_op {
    dn_backend *backend;
    dn_op *ref;
    int32_t num_inputs, num_outputs;
};

/* Contexts on several threads count in the same places. */
#define add(counter, by) __atomic_add_fetch(&(counter), by, __ATOMIC_RELAXED)

static dn_backend *last;

static dn_status fake_open(dn_backend **out, const dn_backend_host *host)
{
    dn_backend *b = calloc(1, sizeof *b);
    if (!b)
        return host->fail(DN_E_NOMEM, "fake: no memory");
    b->host = *host;
    dn_status status = dn_ref_backend.open(&b->ref, host);
    if (status != DN_OK)
        free(b);
    else
        *out = last = b;
    return status;
}

static void fake_close(dn_backend *b)
{
    if (!b)
        return;
    dn_ref_backend.close(b->ref);
    free(b);
}

/* ---- memory ------------------------------------------------------------------------------ */

static region *region_of(dn_backend *b, const void *ptr)
{
    for (int i = 0; i < MAX_REGIONS; i++) {
        region *r = &b->regions[i];
        if (r->start && (const char *)ptr >= r->start &&
            (const char *)ptr < r->start + r->bytes)
            return r;
    }
    return NULL;
}

static void protect(const region *r, int how)
{
    mprotect(r->start, r->bytes, how);
}

static dn_status fake_alloc(dn_backend *b, size_t bytes, void **out)
{
    size_t mapped = (bytes + PAGE) / PAGE * PAGE;
    size_t held = __atomic_load_n(&fake.allocated, __ATOMIC_RELAXED);
    if (fake.limit && held + mapped > fake.limit)
        return b->host.fail(DN_E_NOMEM, "fake: %zu bytes were asked for, %zu of %zu are free",
                            bytes, fake.limit - held, fake.limit);
    for (int i = 0; i < MAX_REGIONS; i++) {
        region *r = &b->regions[i];
        if (r->start)
            continue;
        void *start = mmap(NULL, mapped, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (start == MAP_FAILED)
            return b->host.fail(DN_E_NOMEM, "fake: no mapping of %zu bytes", bytes);
        *r = (region){start, mapped};
        size_t now = add(fake.allocated, mapped);
        size_t most = __atomic_load_n(&fake.most, __ATOMIC_RELAXED);
        while (now > most && !__atomic_compare_exchange_n(&fake.most, &most, now, true,
                                                          __ATOMIC_RELAXED, __ATOMIC_RELAXED))
            ;
        add(fake.allocations, 1);
        *out = start;
        return DN_OK;
    }
    return b->host.fail(DN_E_NOMEM, "fake: more than %d allocations", MAX_REGIONS);
}

static void fake_free(dn_backend *b, void *ptr)
{
    region *r = region_of(b, ptr);
    if (!r)
        return;
    munmap(r->start, r->bytes);
    __atomic_sub_fetch(&fake.allocated, r->bytes, __ATOMIC_RELAXED);
    *r = (region){NULL, 0};
}

static void forget(dn_backend *b)
{
    b->num_soon = 0;
    b->there = false;
}

/* Copies with the device's side open; host memory on that side is the engine's mistake. */
static dn_status copy(dn_backend *b, void *to, const void *from, const void *device,
                      size_t bytes)
{
    region *r = region_of(b, device);
    if (b->recording)
        return b->host.fail(DN_E_INTERNAL, "fake: a copy while recording");
    if (!r || region_of(b, device == to ? from : to))
        return b->host.fail(DN_E_INTERNAL, "fake: a copy between the wrong sides");
    protect(r, PROT_READ | PROT_WRITE);
    memcpy(to, from, bytes);
    protect(r, PROT_NONE);
    return DN_OK;
}

static dn_status fake_copy_in(dn_backend *b, void *device, const void *host, size_t bytes)
{
    forget(b);
    add(fake.copies_in, 1);
    add(fake.bytes_in, bytes);
    return copy(b, device, host, device, bytes);
}

static dn_status fake_copy_out_soon(dn_backend *b, void *host, const void *device, size_t bytes)
{
    (void)bytes;
    if (!region_of(b, device) || region_of(b, host))
        return b->host.fail(DN_E_INTERNAL, "fake: a copy between the wrong sides");
    if (b->there || b->num_soon == MAX_SOON)
        forget(b);
    b->soon[b->num_soon++] = device;
    return DN_OK;
}

static dn_status fake_copy_out(dn_backend *b, void *host, const void *device, size_t bytes)
{
    bool said = false;
    for (int i = 0; i < b->num_soon; i++)
        said |= b->soon[i] == device;
    add(fake.copies_out, 1);
    add(fake.bytes_out, bytes);
    add(fake.trips_out, !said || !b->there);
    if (!said)
        forget(b);
    b->there = said;
    if (fake.fail_out)
        return b->host.fail(DN_E_DEVICE, "fake: the device is lost");
    return copy(b, host, device, device, bytes);
}

static dn_status fake_zero(dn_backend *b, void *device, size_t bytes)
{
    region *r = region_of(b, device);
    forget(b);
    if (!r || b->recording)
        return b->host.fail(DN_E_INTERNAL, "fake: zeros in memory of the host");
    protect(r, PROT_READ | PROT_WRITE);
    memset(device, 0, bytes);
    protect(r, PROT_NONE);
    return DN_OK;
}

static dn_status fake_wait(dn_backend *b)
{
    (void)b;
    add(fake.waits, 1);
    return DN_OK;
}

const dn_backend_host *fake_host(void)
{
    return &last->host;
}

void *fake_make(size_t bytes)
{
    void *device = NULL;
    return fake_alloc(last, bytes, &device) ? NULL : device;
}

void fake_drop(void *device)
{
    fake_free(last, device);
}

void fake_poke(void *device, const void *from, size_t bytes)
{
    copy(last, device, from, device, bytes);
}

void fake_peek(void *to, const void *device, size_t bytes)
{
    copy(last, to, device, device, bytes);
}

/* ---- ops --------------------------------------------------------------------------------- */

static dn_status fake_create(dn_backend *b, const dn_op_desc *desc, dn_op **out,
                             dn_op_info *info)
{
    if (desc->kind == DN_OP_HOST_CALL || (fake.declines >> desc->kind & 1) ||
        (fake.declines_many && desc->kind == DN_OP_UPDATE && desc->num_outputs > 4)) {
        strcpy(info->reason, "runs on the host");
        return DN_DECLINED;
    }
    dn_op *op = calloc(1, sizeof *op);
    if (!op)
        return b->host.fail(DN_E_NOMEM, "fake: no memory for an op");
    *op =
        (dn_op){.backend = b, .num_inputs = desc->num_inputs, .num_outputs = desc->num_outputs};
    dn_status status = dn_ref_backend.op_create(b->ref, desc, &op->ref, info);
    strcpy(info->implementation, "fake");
    if (status != DN_OK)
        free(op);
    else
        *out = op;
    return status;
}

static void fake_destroy(dn_op *op)
{
    if (op)
        dn_ref_backend.op_destroy(op->ref);
    free(op);
}

static dn_status open_operands(dn_backend *b, void *const *ptr, int32_t count, int how)
{
    for (int32_t i = 0; i < count; i++) {
        region *r = ptr[i] ? region_of(b, ptr[i]) : NULL;
        if (ptr[i] && !r)
            return b->host.fail(DN_E_INTERNAL, "fake: operand %d is memory of the host",
                                (int)i);
        if (r)
            protect(r, how);
    }
    return DN_OK;
}

static dn_status open_all(const dn_op *op, const dn_op_io *io, int how)
{
    void *const extra[2] = {io->scratch, io->keep};
    dn_status status = open_operands(op->backend, io->in, op->num_inputs, how);
    if (status == DN_OK)
        status = open_operands(op->backend, io->out, op->num_outputs, how);
    return status ? status : open_operands(op->backend, extra, 2, how);
}

static dn_status run_now(dn_op *op, const dn_op_io *io)
{
    int64_t run = add(fake.runs, 1);
    forget(op->backend);
    if (fake.fail_run && run >= fake.fail_run)
        return op->backend->host.fail(DN_E_DEVICE, "fake: the device is lost");
    dn_status status = open_all(op, io, PROT_READ | PROT_WRITE);
    if (status == DN_OK)
        status = dn_ref_backend.op_run(op->ref, io);
    dn_status closed = open_all(op, io, PROT_NONE);
    return status ? status : closed;
}

static dn_status fake_run(dn_op *op, const dn_op_io *io)
{
    recording *r = op->backend->recording;
    if (!r)
        return run_now(op, io);
    if (r->count == MAX_RECORDED)
        return op->backend->host.fail(DN_E_DEVICE, "fake: the recording is full");
    recorded *to = &r->ops[r->count++];
    to->operands = calloc((size_t)(op->num_inputs + op->num_outputs), sizeof(void *));
    if (!to->operands)
        return op->backend->host.fail(DN_E_NOMEM, "fake: no memory to record");
    for (int32_t i = 0; i < op->num_inputs; i++)
        to->operands[i] = io->in[i];
    for (int32_t i = 0; i < op->num_outputs; i++)
        to->operands[op->num_inputs + i] = io->out[i];
    to->op = op;
    to->io = *io;
    return DN_OK;
}

/* ---- recordings -------------------------------------------------------------------------- */

static dn_status fake_capture_begin(dn_backend *b)
{
    b->recording = calloc(1, sizeof *b->recording);
    return b->recording ? DN_OK : b->host.fail(DN_E_NOMEM, "fake: no memory to record");
}

static dn_status fake_capture_end(dn_backend *b, void **out)
{
    *out = b->recording;
    b->recording = NULL;
    return DN_OK;
}

static dn_status fake_replay(dn_backend *b, void *made)
{
    recording *r = made;
    dn_status status = DN_OK;
    add(fake.replays, 1);
    for (size_t i = 0; status == DN_OK && i < r->count; i++) {
        dn_op_io io = r->ops[i].io;
        io.in = r->ops[i].operands;
        io.out = r->ops[i].operands + r->ops[i].op->num_inputs;
        status = run_now(r->ops[i].op, &io);
    }
    return status;
}

static void fake_recording_free(dn_backend *b, void *made)
{
    recording *r = made;
    for (size_t i = 0; r && i < r->count; i++)
        free(r->ops[i].operands);
    free(r);
}

static void fake_describe(dn_backend *b, char *buffer, size_t size)
{
    if (size > 20)
        strcpy(buffer, "ref on a fake device");
}

const dn_backend_ops fake_backend = {
    .struct_size = sizeof fake_backend,
    .name = "fake",
    .space = DN_SPACE_DEVICE,
    .open = fake_open,
    .close = fake_close,
    .op_create = fake_create,
    .op_run = fake_run,
    .op_destroy = fake_destroy,
    .mem_alloc = fake_alloc,
    .mem_free = fake_free,
    .copy_in = fake_copy_in,
    .copy_out = fake_copy_out,
    .synchronise = fake_wait,
    .capture_begin = fake_capture_begin,
    .capture_end = fake_capture_end,
    .replay = fake_replay,
    .recording_free = fake_recording_free,
    .describe = fake_describe,
    .mem_zero = fake_zero,
    .copy_out_soon = fake_copy_out_soon,
};

/* As a module: DN_FAKE_DECLINES is a mask of kinds. */
__attribute__((visibility("default"))) const dn_backend_ops *dn_backend_entry(void)
{
    const char *text = getenv("DN_FAKE_DECLINES");
    if (text)
        fake.declines = strtoull(text, NULL, 0);
    return &fake_backend;
}
