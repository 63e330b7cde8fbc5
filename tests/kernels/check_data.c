/* SPDX-License-Identifier: BSD-2-Clause
 * check_data.c: labels and row numbers that do not exist: the CUDA kernels (as plain C) fail
 * with the status and the words of ref, and go on working afterwards. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "harness.h"

extern const dn_backend_ops dn_ref_backend, dn_cuda_host_backend;

enum { N = 4, DIM = 3, SCRATCH = 4096 };

typedef struct bad {
    const char *what;
    int32_t kind;
    float value; /* of item 2 */
} bad;

static const bad rows[] = {
    {"label beyond", DN_OP_LOSS, 3},     {"label below", DN_OP_LOSS, -1},
    {"no label", DN_OP_LOSS, NAN},       {"accuracy", DN_OP_ACCURACY, 7},
    {"half a label", DN_OP_LOSS, -1.5f}, {"row beyond", DN_OP_GATHER, 4},
    {"row below", DN_OP_GATHER, -2},     {"scatter", DN_OP_SCATTER_ADD, 9},
    {"gradient", DN_OP_LOSS_BWD, 3}};

static dn_operand real(int32_t axes, int64_t a, int64_t b)
{
    return (dn_operand){.dtype = DN_F32, .shape = {.axes = axes, .dim = {a, b}}};
}

/* One run with `value` for item 2; the message is host_message(). */
static dn_status run(const dn_backend_ops *ops, dn_backend *backend, const bad *b, float value)
{
    float x[N * DIM], t[N] = {0, 1, value, 2}, y[N * DIM] = {0}, one = 1;
    char scratch[SCRATCH];
    bool gathers = b->kind == DN_OP_GATHER || b->kind == DN_OP_SCATTER_ADD;
    case_args args = {.base = {.struct_size = sizeof(dn_args_loss)}};
    for (int i = 0; i < N * DIM; i++)
        x[i] = 0.25f;
    dn_operand absent = {.dtype = -1};
    dn_operand in[6] = {real(2, N, DIM), real(1, N, 0), absent, absent, absent, real(0, 0, 0)};
    dn_operand out =
        b->kind == DN_OP_LOSS || b->kind == DN_OP_ACCURACY ? real(0, 0, 0) : real(2, N, DIM);
    if (b->kind == DN_OP_ACCURACY)
        args.accuracy = (dn_args_accuracy){.base.struct_size = sizeof(args.accuracy),
                                           .top_k = 1,
                                           .outer = N,
                                           .dim = DIM,
                                           .inner = 1};
    else if (gathers)
        args.gather = (dn_args_gather){
            .base.struct_size = sizeof(args.gather), .count = N, .cols = DIM, .limit = N};
    else
        args.loss.outer = N, args.loss.dim = DIM, args.loss.inner = 1;
    dn_op_desc desc = {.struct_size = sizeof(desc),
                       .kind = b->kind,
                       .num_inputs = b->kind == DN_OP_LOSS_BWD ? 6 : 2,
                       .num_outputs = 1,
                       .inputs = in,
                       .outputs = &out,
                       .args = &args};
    dn_op_info info = {.struct_size = sizeof(info)};
    dn_op *op = NULL;
    dn_status status = ops->op_create(backend, &desc, &op, &info);
    if (status != DN_OK || info.scratch > SCRATCH)
        return status ? status : DN_E_INTERNAL;
    void *ins[6] = {x, t, NULL, NULL, NULL, &one}, *outs[1] = {y};
    dn_op_io io = {.struct_size = sizeof(io), .in = ins, .out = outs, .scratch = scratch};
    status = ops->op_run(op, &io);
    ops->op_destroy(op);
    return status;
}

static int check(dn_backend *ref, dn_backend *cuda, const bad *b)
{
    char words[512];
    dn_status expected = run(&dn_ref_backend, ref, b, b->value);
    snprintf(words, sizeof(words), "%s", host_message());
    dn_status got = run(&dn_cuda_host_backend, cuda, b, b->value);
    bool same = got == expected && got == DN_E_DATA && strcmp(words, host_message()) == 0;
    if (!same)
        printf("%s: status %d, '%s'; ref: %d, '%s'\n", b->what, (int)got, host_message(),
               (int)expected, words);
    bool works = run(&dn_cuda_host_backend, cuda, b, 1) == DN_OK;
    if (!works)
        printf("%s: does not work afterwards: %s\n", b->what, host_message());
    return same && works;
}

int main(void)
{
    dn_backend_host host;
    dn_backend *ref = NULL, *cuda = NULL;
    int passed = 0, count = (int)(sizeof(rows) / sizeof(rows[0]));
    host_init(&host, 1);
    if (dn_ref_backend.open(&ref, &host) || dn_cuda_host_backend.open(&cuda, &host))
        return 1;
    for (int i = 0; i < count; i++)
        passed += check(ref, cuda, &rows[i]);
    dn_ref_backend.close(ref);
    dn_cuda_host_backend.close(cuda);
    passed -= host_live_allocations() != 0;
    printf("%d passed, %d failed\n", passed, count - passed);
    return passed != count;
}
