/* SPDX-License-Identifier: BSD-2-Clause
 * harness.c: runs one case on a candidate, in float with 1, 2 and 3 threads, and on ref in
 * double with the same numbers, and compares: values within the tolerance, bits between thread
 * counts, inputs and guard words untouched. With 1 thread on the host operands and scratch end,
 * or of every fourth case begin, at a page that cannot be touched: reading there ends the
 * check. Constant inputs are other numbers at a first op_prepare, so that a second one must
 * count. */
#define _DEFAULT_SOURCE /* alarm */
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "operands.h"

static const char *const names[DN_OP_KIND_END] = {[DN_OP_FILL] = "FILL",
                                                  [DN_OP_RANDOM] = "RANDOM",
                                                  [DN_OP_COPY] = "COPY",
                                                  [DN_OP_UNARY] = "UNARY",
                                                  [DN_OP_UNARY_BWD] = "UNARY_BWD",
                                                  [DN_OP_ELTWISE] = "ELTWISE",
                                                  [DN_OP_SELECT] = "SELECT",
                                                  [DN_OP_BCAST] = "BCAST",
                                                  [DN_OP_REDUCE] = "REDUCE",
                                                  [DN_OP_GEMM] = "GEMM",
                                                  [DN_OP_CONV] = "CONV",
                                                  [DN_OP_CONV_BWD_DATA] = "CONV_BWD_DATA",
                                                  [DN_OP_CONV_BWD_WEIGHTS] = "CONV_BWD_WEIGHTS",
                                                  [DN_OP_IM2COL] = "IM2COL",
                                                  [DN_OP_COL2IM] = "COL2IM",
                                                  [DN_OP_POOL] = "POOL",
                                                  [DN_OP_POOL_BWD] = "POOL_BWD",
                                                  [DN_OP_LRN] = "LRN",
                                                  [DN_OP_LRN_BWD] = "LRN_BWD",
                                                  [DN_OP_BATCH_NORM] = "BATCH_NORM",
                                                  [DN_OP_BATCH_NORM_BWD] = "BATCH_NORM_BWD",
                                                  [DN_OP_MVN] = "MVN",
                                                  [DN_OP_MVN_BWD] = "MVN_BWD",
                                                  [DN_OP_SOFTMAX] = "SOFTMAX",
                                                  [DN_OP_SOFTMAX_BWD] = "SOFTMAX_BWD",
                                                  [DN_OP_LOSS] = "LOSS",
                                                  [DN_OP_LOSS_BWD] = "LOSS_BWD",
                                                  [DN_OP_ACCURACY] = "ACCURACY",
                                                  [DN_OP_ARGMAX] = "ARGMAX",
                                                  [DN_OP_DROPOUT] = "DROPOUT",
                                                  [DN_OP_DROPOUT_BWD] = "DROPOUT_BWD",
                                                  [DN_OP_PRELU] = "PRELU",
                                                  [DN_OP_PRELU_BWD] = "PRELU_BWD",
                                                  [DN_OP_GATHER] = "GATHER",
                                                  [DN_OP_SCATTER_ADD] = "SCATTER_ADD",
                                                  [DN_OP_LSTM_UNIT] = "LSTM_UNIT",
                                                  [DN_OP_LSTM_UNIT_BWD] = "LSTM_UNIT_BWD",
                                                  [DN_OP_UPDATE] = "UPDATE",
                                                  [DN_OP_CAST] = "CAST",
                                                  [DN_OP_HOST_CALL] = "HOST_CALL",
                                                  [DN_OP_SUMSQ_ALL] = "SUMSQ_ALL",
                                                  [DN_OP_SCALE_CLIP] = "SCALE_CLIP",
                                                  [DN_OP_NORM_SCALE] = "NORM_SCALE",
                                                  [DN_OP_NORM_SCALE_BWD] = "NORM_SCALE_BWD",
                                                  [DN_OP_ROI_POOL] = "ROI_POOL",
                                                  [DN_OP_ROI_POOL_BWD] = "ROI_POOL_BWD",
                                                  [DN_OP_RANK] = "RANK",
                                                  [DN_OP_YOLO_LOSS] = "YOLO_LOSS",
                                                  [DN_OP_MULTI_BOX] = "MULTI_BOX",
                                                  [DN_OP_DETECT] = "DETECT",
                                                  [DN_OP_OVERLAP] = "OVERLAP",
                                                  [DN_OP_CTC] = "CTC",
                                                  [DN_OP_TARGETS] = "TARGETS",
                                                  [DN_OP_LATTICE] = "LATTICE",
                                                  [DN_OP_LATTICE_FILTER] = "LATTICE_FILTER"};

const char *kind_name(int32_t kind)
{
    return kind > 0 && kind < DN_OP_KIND_END ? names[kind] : NULL;
}

/* ---- memory of a device: a copy of each block, guards and all --------------------------- */

typedef dn_status (*block_fn)(const dn_backend_ops *ops, dn_backend *backend, block *b);

static bool unguarded;

void check_unguarded(void)
{
    unguarded = true;
}

static size_t front(const block *b)
{
    return unguarded ? 0 : b->before;
}

static void *pointer_to(const block *b)
{
    return b->device ? b->device + front(b) : b->data;
}

static size_t whole(const block *b)
{
    return front(b) + b->bytes + (unguarded ? 0 : b->after);
}

static dn_status send(const dn_backend_ops *ops, dn_backend *backend, block *b)
{
    return b->device ? ops->copy_in(backend, b->device, b->data - front(b), whole(b)) : DN_OK;
}

static dn_status lend(const dn_backend_ops *ops, dn_backend *backend, block *b)
{
    if (ops->space != DN_SPACE_DEVICE || !b->memory)
        return DN_OK;
    void *device = NULL;
    dn_status status = ops->mem_alloc(backend, whole(b), &device);
    b->device = device;
    return status ? status : send(ops, backend, b);
}

static dn_status take_back(const dn_backend_ops *ops, dn_backend *backend, block *b)
{
    if (!b->device)
        return DN_OK;
    dn_status status = ops->copy_out(backend, b->data - front(b), b->device, whole(b));
    ops->mem_free(backend, b->device);
    b->device = NULL;
    return status;
}

static dn_status each_block(execution *e, const dn_backend_ops *ops, dn_backend *backend,
                            block_fn fn)
{
    dn_status first = DN_OK;
    int32_t operands = e->ins + e->outs;
    for (int32_t k = 0; k < operands + 2; k++) {
        block *b = k < e->ins      ? &e->in[k]
                   : k < operands  ? &e->out[k - e->ins]
                   : k == operands ? &e->scratch
                                   : &e->keep;
        dn_status status = fn(ops, backend, b);
        first = first ? first : status;
    }
    return first;
}

/* op_prepare with other numbers in the constant inputs, then with the right ones. What it
 * leaves in the scratch is gone before the run. */
static dn_status prepare(execution *e, const kernel_case *c, const dn_backend_ops *ops,
                         dn_backend *backend, dn_op *op, const dn_op_io *io)
{
    if (!ops->op_prepare)
        return DN_OK;
    for (int round = 0; round < 2; round++) {
        for (int32_t k = 0; k < c->in.count; k++)
            for (size_t i = 0; (c->constant >> k & 1) && i < e->in[k].bytes / sizeof(float);
                 i++)
                ((float *)e->in[k].data)[i] = -((float *)e->in[k].data)[i];
        dn_status status = each_block(e, ops, backend, send);
        if (status == DN_OK)
            status = ops->op_prepare(op, io);
        if (status != DN_OK)
            return status;
    }
    memset(e->scratch.data, 0xFF, e->scratch.bytes);
    return send(ops, backend, &e->scratch);
}

/* Runs the op over operands that have their memory, on the host and on the device if any. */
static dn_status run_op(execution *e, const kernel_case *c, const dn_backend_ops *ops,
                        dn_backend *backend, dn_op *op)
{
    void *in[MOST_OPERANDS] = {NULL}, *out[MOST_OPERANDS] = {NULL};
    dn_status status = each_block(e, ops, backend, lend);
    for (int32_t k = 0; k < e->ins; k++)
        in[k] = pointer_to(&e->in[k]);
    for (int32_t k = 0; k < e->outs; k++)
        out[k] = pointer_to(&e->out[k]);
    if (c->alias >= 0)
        in[c->alias] = out[0];
    dn_op_io io = {.struct_size = sizeof(io),
                   .in = in,
                   .out = out,
                   .scratch = pointer_to(&e->scratch),
                   .keep = e->keep.bytes ? pointer_to(&e->keep) : NULL};
    if (status == DN_OK)
        status = prepare(e, c, ops, backend, op, &io);
    if (status == DN_OK)
        status = ops->op_run(op, &io);
    dn_status back = each_block(e, ops, backend, take_back);
    return status ? status : back;
}

/* A device is opened once: that takes longer than any case. */
static struct {
    const dn_backend_ops *ops;
    dn_backend *backend;
    dn_backend_host host;
} opened;

static dn_status open_backend(const dn_backend_ops *ops, int32_t num_threads,
                              dn_backend_host *host, dn_backend **backend)
{
    host_init(host, num_threads);
    if (ops->space != DN_SPACE_DEVICE)
        return ops->open(backend, host);
    if (opened.ops != ops) {
        check_close();
        host_init(&opened.host, num_threads);
        dn_status status = ops->open(&opened.backend, &opened.host);
        if (status != DN_OK)
            return status;
        opened.ops = ops;
    }
    *backend = opened.backend;
    return DN_OK;
}

bool check_lives(void)
{
    void *some = NULL;
    if (!opened.ops || opened.ops->mem_alloc(opened.backend, 1, &some) != DN_OK)
        return !opened.ops;
    opened.ops->mem_free(opened.backend, some);
    return true;
}

void check_close(void)
{
    if (opened.ops)
        opened.ops->close(opened.backend);
    opened.ops = NULL;
}

/* DN_OK, DN_DECLINED or a failure, with the host's message. */
static dn_status execute(execution *e, const kernel_case *c, const dn_backend_ops *ops,
                         int32_t num_threads)
{
    dn_backend_host host;
    dn_backend *backend = NULL;
    dn_op *op = NULL;
    dn_op_info info = {.struct_size = sizeof(info)};
    dn_op_desc desc = {.struct_size = sizeof(desc),
                       .kind = c->kind,
                       .num_inputs = c->in.count,
                       .num_outputs = c->out.count,
                       .inputs = e->inputs,
                       .outputs = e->outputs,
                       .args = &c->args,
                       .constant = c->constant,
                       .compute = c->compute};
    dn_status status = open_backend(ops, num_threads, &host, &backend);
    if (status != DN_OK)
        return status;
    status = ops->op_create(backend, &desc, &op, &info);
    if (status == DN_OK) {
        memcpy(e->implementation, info.implementation, sizeof(e->implementation));
        e->scratch = block_new(info.scratch, 0xFF, e->fence, 64);
        e->keep = block_new(info.keep, 0xFF, e->fence, 64);
        status = run_op(e, c, ops, backend, op);
        if (ops->op_describe)
            ops->op_describe(op, e->implementation, sizeof(e->implementation));
        ops->op_destroy(op);
    }
    if (ops->space != DN_SPACE_DEVICE)
        ops->close(backend);
    return status;
}

static bool all_guarded(const block *blocks, int32_t count, const char *what, char *reason,
                        size_t size)
{
    for (int32_t k = 0; k < count; k++)
        if (blocks[k].memory && !block_guarded(&blocks[k])) {
            snprintf(reason, size, "wrote outside %s %d", what, (int)k);
            return false;
        }
    return true;
}

static bool guards_stand(const execution *e, char *reason, size_t size)
{
    if (!all_guarded(e->in, e->ins, "input", reason, size) ||
        !all_guarded(e->out, e->outs, "output", reason, size))
        return false;
    if (e->scratch.memory && !block_guarded(&e->scratch)) {
        snprintf(reason, size, "wrote outside the scratch it asked for");
        return false;
    }
    if (e->keep.memory && !block_guarded(&e->keep)) {
        snprintf(reason, size, "wrote outside what it asked to keep");
        return false;
    }
    return true;
}

/* A library that refuses what is asked of it has its reasons; that it cannot be asked so is our
 * mistake, which whoever stands in for it would hide. */
static bool asked_well(const execution *e, char *reason, size_t size)
{
    if (!strstr(e->implementation, "BAD_PARAM"))
        return true;
    snprintf(reason, size, "%s", e->implementation);
    return false;
}

static bool inputs_kept(const execution *e, const execution *start, char *reason, size_t size)
{
    for (int32_t k = 0; k < e->ins; k++)
        if (e->in[k].memory && memcmp(e->in[k].data, start->in[k].data, e->in[k].bytes) != 0) {
            snprintf(reason, size, "changed input %d", (int)k);
            return false;
        }
    return true;
}

/* The largest magnitude of an output, at least 1: what its tolerance is relative to. */
static double largest_of(const execution *e, int32_t k)
{
    double largest = 1;
    int64_t count = operand_count(&e->outputs[k]);
    for (int64_t i = 0; i < count; i++) {
        double value = fabs(load(e->outputs[k].dtype, e->out[k].data, i));
        largest = value > largest && value < 1e30 ? value : largest;
    }
    return largest;
}

/* Right where no bound is: relative to itself, or infinite where a float on the way was. */
static bool beyond(const kernel_case *c, double got, double want)
{
    return isinf(got) ? fabs(want) > 1e30 && (got > 0) == (want > 0)
                      : fabs(want) > 1e30 && fabs(got - want) <= c->tolerance * fabs(want);
}

static bool outputs_agree(const execution *e, const execution *truth, const kernel_case *c,
                          char *reason, size_t size)
{
    for (int32_t k = 0; k < c->out.count; k++) {
        if (!e->out[k].memory)
            continue;
        int32_t dtype = e->outputs[k].dtype;
        bool real = dtype == DN_F32 || dtype == DN_F64;
        double bound = real ? c->tolerance * largest_of(truth, k) : 0;
        if (dtype == DN_BF16 && is_narrow(c)) /* one rounding, or two with accumulate */
            bound = largest_of(truth, k) / 128;
        int64_t count = operand_count(&c->out.operand[k]);
        for (int64_t i = 0; i < count; i++) {
            double got = load(dtype, e->out[k].data, i);
            double want = load(truth->outputs[k].dtype, truth->out[k].data, i);
            if (dtype == DN_F32 && c->tolerance == 0)
                want = (float)want;
            if (got == want || (got != got && want != want))
                continue;
            if (fabs(got - want) <= bound || beyond(c, got, want))
                continue;
            snprintf(reason, size, "output %d, element %lld: %.9g where ref has %.9g", (int)k,
                     (long long)i, got, want);
            return false;
        }
    }
    return true;
}

static bool same_bits(const execution *a, const execution *b, int32_t threads, char *reason,
                      size_t size)
{
    for (int32_t k = 0; k < a->outs; k++)
        if (a->out[k].memory && memcmp(a->out[k].data, b->out[k].data, a->out[k].bytes) != 0) {
            snprintf(reason, size, "output %d: other bits with %d threads than with 1", (int)k,
                     (int)threads);
            return false;
        }
    return true;
}

static bool is_product(int32_t kind)
{
    return kind == DN_OP_GEMM || kind == DN_OP_CONV || kind == DN_OP_CONV_BWD_DATA ||
           kind == DN_OP_CONV_BWD_WEIGHTS;
}

/* Up to how many threads. Plain loops have no more than two. ref does not know how many there
 * are: a few cases show that. For the CUDA kernels two are a block's threads in the other
 * order, which is right or wrong whatever the numbers: of products, which take longest, a
 * quarter of the cases, of no pattern, shows it. */
static int32_t most_threads(const kernel_case *c, const dn_backend_ops *ref,
                            const dn_backend_ops *candidate)
{
    const char *text = getenv("DN_TEST_THREADS");
    int32_t most = text ? atoi(text) : MAX_HOST_THREADS;
    bool others = true;
    most = most < MAX_HOST_THREADS ? most : MAX_HOST_THREADS;
    if (candidate == ref)
        others = c->number % 8 == 0;
    else if (strcmp(candidate->name, "cuda-host") == 0)
        others = !is_product(c->kind) || (uint32_t)c->number * 2654435761u >> 30 == 0;
    else
        return most;
    return others && most > 1 ? 2 : 1;
}

/* The candidate with 2 and 3 threads against its own result with 1; of operands that lie
 * elsewhere, so that no bit depends on how they are aligned. */
static bool threads_agree(const execution *one, const execution *start, const kernel_case *c,
                          const dn_backend_ops *ref, const dn_backend_ops *candidate,
                          char *reason, size_t size)
{
    /* libraries on a device are not asked for what they do not promise */
    fencing where = candidate->space == DN_SPACE_DEVICE ? NO_FENCE : SHIFTED;
    int32_t most = most_threads(c, ref, candidate);
    for (int32_t threads = 2; threads <= most; threads++) {
        execution e;
        execution_copy(&e, start, c, false, where);
        dn_status status = execute(&e, c, candidate, threads);
        bool fine = status == DN_OK && guards_stand(&e, reason, size) &&
                    (getenv("DN_TEST_UNORDERED") || same_bits(one, &e, threads, reason, size));
        if (status != DN_OK)
            snprintf(reason, size, "status %d with %d threads: %s", (int)status, (int)threads,
                     host_message());
        execution_free(&e);
        if (!fine)
            return false;
    }
    return true;
}

struct subject {
    const kernel_case *c;
    execution start, truth;
    bool known; /* truth ran */
    dn_status status;
};

subject *subject_new(const kernel_case *c, uint64_t seed)
{
    subject *s = calloc(1, sizeof(*s));
    s->c = c;
    execution_init(&s->start, c, seed);
    return s;
}

void subject_free(subject *s)
{
    if (!s)
        return;
    execution_free(&s->start);
    execution_free(&s->truth);
    free(s);
}

/* What ref makes of it in double, computed for the first candidate that takes the case. */
static dn_status find_truth(subject *s, const dn_backend_ops *ref)
{
    if (!s->known) {
        execution_copy(&s->truth, &s->start, s->c, true, NO_FENCE);
        s->status = execute(&s->truth, s->c, ref, 1);
        s->known = true;
    }
    return s->status;
}

#define PATIENCE 80 /* seconds for a case on a device, which may never end */

static char fenced[128]; /* what runs between fences, or on a device */

static void on_fault(int signal)
{
    fflush(stdout); /* the fault was in a kernel */
    ssize_t written = write(STDOUT_FILENO, fenced, strlen(fenced));
    _exit(written > 0 ? 1 : 2);
}

/* Where the fence is, if the candidate's memory can have one; a fault will say whose it was. A
 * liar's writes are for the guard words to show, and what oneDNN reads is not ours to mend. */
static fencing fence_for(const kernel_case *c, const dn_backend_ops *candidate)
{
    if (candidate->space == DN_SPACE_DEVICE) {
        snprintf(fenced, sizeof(fenced), "%s: %s, case %d: not done in %d s\n", candidate->name,
                 kind_name(c->kind), (int)c->number, PATIENCE);
        signal(SIGALRM, on_fault);
        alarm(PATIENCE);
    }
    if (candidate->space == DN_SPACE_DEVICE || strcmp(candidate->name, "liar") == 0 ||
        strcmp(candidate->name, "onednn") == 0)
        return NO_FENCE;
    snprintf(fenced, sizeof(fenced), "%s: %s, case %d: touched what lies %s an operand\n",
             candidate->name, kind_name(c->kind), (int)c->number,
             c->number % 4 ? "after" : "before");
    signal(SIGSEGV, on_fault);
    signal(SIGBUS, on_fault);
    return c->number % 4 ? FENCE_AFTER : FENCE_BEFORE;
}

/* On a device: operands that are as little aligned as their elements need give right numbers,
 * if other bits. */
static bool shifted_agrees(subject *s, const dn_backend_ops *candidate, char *reason,
                           size_t size)
{
    execution e;
    if (candidate->space != DN_SPACE_DEVICE || s->c->number % 4)
        return true;
    execution_copy(&e, &s->start, s->c, false, SHIFTED);
    dn_status status = execute(&e, s->c, candidate, 1);
    if (status != DN_OK)
        snprintf(reason, size, "status %d where nothing is aligned: %s", (int)status,
                 host_message());
    bool fine = status == DN_OK && guards_stand(&e, reason, size) &&
                outputs_agree(&e, &s->truth, s->c, reason, size);
    execution_free(&e);
    return fine;
}

int check_case(subject *s, const dn_backend_ops *ref, const dn_backend_ops *candidate,
               char *reason, size_t size)
{
    const kernel_case *c = s->c;
    execution e;
    int result = CASE_FAILED;
    execution_copy(&e, &s->start, c, false, fence_for(c, candidate));
    dn_status status = execute(&e, c, candidate, 1);
    alarm(0);
    signal(SIGSEGV, SIG_DFL); /* what comes now has no fence to blame */
    signal(SIGBUS, SIG_DFL);
    if (status == DN_DECLINED) {
        result = CASE_DECLINED;
    } else if (status != DN_OK) {
        snprintf(reason, size, "status %d: %s", (int)status, host_message());
    } else if ((status = find_truth(s, ref)) != DN_OK) {
        snprintf(reason, size, "ref itself: status %d: %s", (int)status, host_message());
    } else if (asked_well(&e, reason, size) && guards_stand(&e, reason, size) &&
               inputs_kept(&e, &s->start, reason, size) &&
               outputs_agree(&e, &s->truth, c, reason, size) &&
               threads_agree(&e, &s->start, c, ref, candidate, reason, size) &&
               shifted_agrees(s, candidate, reason, size)) {
        result = CASE_PASSED;
    }
    execution_free(&e);
    return result;
}

void rehearse_case(const kernel_case *c, const dn_backend_ops *candidate)
{
    execution e;
    execution_zeros(&e, c);
    execute(&e, c, candidate, 1);
    execution_free(&e);
}

/* The same bits; one NaN is as good as another. */
static bool same_numbers(const execution *a, const execution *b, char *reason, size_t size)
{
    for (int32_t k = 0; k < a->outs; k++)
        for (int64_t i = 0; a->out[k].memory && i < operand_count(&a->outputs[k]); i++) {
            int32_t dtype = a->outputs[k].dtype;
            double x = load(dtype, a->out[k].data, i), y = load(dtype, b->out[k].data, i);
            if ((x == y && signbit(x) == signbit(y)) || (x != x && y != y))
                continue;
            snprintf(reason, size, "output %d, element %lld: %.9g by %s, %.9g by %s", (int)k,
                     (long long)i, x, a->implementation, y, b->implementation);
            return false;
        }
    return true;
}

/* Gradients are added into the image in the order of tiles, whose size is the set's. */
static bool adds_tiles(const execution *e)
{
    return strncmp(e->implementation, "cpu:gemm+col2im", 15) == 0;
}

int same_case(subject *s, const dn_backend_ops *one, const dn_backend_ops *other, char *reason,
              size_t size)
{
    const kernel_case *c = s->c;
    execution a, b;
    execution_copy(&a, &s->start, c, false, NO_FENCE);
    execution_copy(&b, &s->start, c, false, NO_FENCE);
    dn_status first = execute(&a, c, one, 1), second = execute(&b, c, other, 1);
    int result = CASE_FAILED;
    if (first != second)
        snprintf(reason, size, "status %d and %d", (int)first, (int)second);
    else if (first != DN_OK || (adds_tiles(&a) && adds_tiles(&b)))
        result = CASE_DECLINED;
    else if (same_numbers(&a, &b, reason, size))
        result = CASE_PASSED;
    execution_free(&a);
    execution_free(&b);
    return result;
}
