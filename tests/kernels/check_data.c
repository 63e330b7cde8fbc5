/* SPDX-License-Identifier: BSD-2-Clause
 * check_data.c: labels and row numbers that do not exist: the fast kernels and those for CUDA
 * (as plain C) fail with the status and the words of ref, and go on working afterwards. And
 * scratch does not grow with the images. */
#include <stdalign.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "harness.h"

extern const dn_backend_ops dn_ref_backend, dn_cpu_backend, dn_cuda_host_backend;

enum { N = 4, DIM = 3, SCRATCH = 4096 };

typedef struct bad {
    const char *what;
    int32_t kind;
    float value; /* of item 2 */
} bad;

static const bad rows[] = {
    {"label beyond", DN_OP_LOSS, 3},      {"label below", DN_OP_LOSS, -1},
    {"no label", DN_OP_LOSS, NAN},        {"accuracy", DN_OP_ACCURACY, 7},
    {"half a label", DN_OP_LOSS, -1.5f},  {"row beyond", DN_OP_GATHER, 4},
    {"row below", DN_OP_GATHER, -2},      {"scatter", DN_OP_SCATTER_ADD, 9},
    {"gradient", DN_OP_LOSS_BWD, 3},      {"region beyond", DN_OP_ROI_POOL, 2},
    {"region below", DN_OP_ROI_POOL, -1}, {"region", DN_OP_ROI_POOL_BWD, NAN},
    {"true box", DN_OP_YOLO_LOSS, 2},     {"no true box", DN_OP_YOLO_LOSS, -0.5f},
    {"object", DN_OP_MULTI_BOX, 3},       {"background", DN_OP_MULTI_BOX, 0},
    {"overlap", DN_OP_OVERLAP, 3},        {"overlap, no label", DN_OP_OVERLAP, NAN},
    {"sequence", DN_OP_CTC, 3},           {"sequence, no label", DN_OP_CTC, NAN},
    {"target", DN_OP_TARGETS, 4},         {"target, no label", DN_OP_TARGETS, NAN}};

static dn_operand real(int32_t axes, int64_t a, int64_t b)
{
    return (dn_operand){.dtype = DN_F32, .shape = {.axes = axes, .dim = {a, b}}};
}

/* One run with `value` for item 2; the message is host_message(). */
static dn_status run(const dn_backend_ops *ops, dn_backend *backend, const bad *b, float value)
{
    float x[N * DIM], t[N * 5] = {0, 1, value, 2}, y[N * DIM] = {0}, one = 1;
    alignas(64) char scratch[SCRATCH];
    bool gathers = b->kind == DN_OP_GATHER || b->kind == DN_OP_SCATTER_ADD;
    bool pools = b->kind == DN_OP_ROI_POOL || b->kind == DN_OP_ROI_POOL_BWD;
    case_args args = {.base = {.struct_size = sizeof(dn_args_loss)}};
    for (int i = 0; i < N * DIM; i++)
        x[i] = 0.25f;
    dn_operand absent = {.dtype = -1};
    dn_operand in[6] = {real(2, N, DIM), real(1, N, 0), absent, absent, absent, real(0, 0, 0)};
    bool draws = b->kind == DN_OP_TARGETS,
         one_number = b->kind == DN_OP_LOSS || b->kind == DN_OP_ACCURACY;
    dn_operand out[6] = {one_number ? real(0, 0, 0) : real(2, N, DIM)};
    int64_t state[2] = {1, 2};
    int32_t count;
    if (b->kind == DN_OP_OVERLAP) {
        args.overlap = (dn_args_overlap){
            .base.struct_size = sizeof(args.overlap), .outer = N, .dim = DIM, .inner = 1};
        out[0] = real(1, 3, 0);
    }
    if (b->kind == DN_OP_ACCURACY)
        args.accuracy = (dn_args_accuracy){.base.struct_size = sizeof(args.accuracy),
                                           .top_k = 1,
                                           .outer = N,
                                           .dim = DIM,
                                           .inner = 1};
    else if (gathers)
        args.gather = (dn_args_gather){
            .base.struct_size = sizeof(args.gather), .count = N, .cols = DIM, .limit = N};
    else if (pools) {
        dn_operand map = {.dtype = DN_F32, .shape = {.axes = 4, .dim = {2, 1, 2, DIM}}};
        dn_operand bins = {.dtype = DN_F32, .shape = {.axes = 4, .dim = {N, 1, 1, 1}}};
        args.roi = (dn_args_roi){
            .base.struct_size = sizeof(args.roi), .method = DN_ROI_ALIGN, .scale = 1};
        in[0] = b->kind == DN_OP_ROI_POOL ? map : bins;
        in[1] = real(2, N, 5);
        out[0] = b->kind == DN_OP_ROI_POOL ? bins : map;
        t[1] = t[3] = t[2] = 0;
        t[2 * 5] = value;
    } else if (b->kind == DN_OP_YOLO_LOSS) { /* one cell, N true boxes */
        args.yolo_loss = (dn_args_yolo_loss){.base.struct_size = sizeof(args.yolo_loss),
                                             .classes = 2,
                                             .anchors = 1,
                                             .all = 1,
                                             .flags = DN_YOLO_BY_SHAPE,
                                             .width = {1},
                                             .height = {1}};
        in[0] = (dn_operand){.dtype = DN_F32, .shape = {.axes = 4, .dim = {1, 7, 1, 1}}};
        in[1] = real(2, N, 5);
        out[0] = real(0, 0, 0);
        for (int i = 0; i < N * 5; i++)
            t[i] = 0.5f;
        t[2 * 5] = value;
    } else if (b->kind == DN_OP_MULTI_BOX) { /* one prior, two true boxes */
        args.multi_box = (dn_args_multi_box){.base.struct_size = sizeof(args.multi_box),
                                             .classes = 3,
                                             .flags = DN_MULTI_PRIORS,
                                             .code = 1};
        in[0] = real(2, 1, 4);
        in[1] = real(2, 1, 3);
        in[2] = real(2, 2, 4);
        in[3] = real(2, 2, 8);
        out[0] = real(0, 0, 0);
        t[9] = 1;
        t[1] = value;
    } else if (b->kind == DN_OP_CTC) { /* a step, N sequences of one label */
        args.ctc = (dn_args_ctc){.base.struct_size = sizeof(args.ctc), .steps = 1};
        in[0] = (dn_operand){.dtype = DN_F32, .shape = {.axes = 3, .dim = {1, N, DIM}}};
        out[0] = real(0, 0, 0);
    } else if (b->kind == DN_OP_TARGETS) { /* two true boxes that are regions, of no others */
        args.targets = (dn_args_targets){.base.struct_size = sizeof(args.targets),
                                         .method = DN_TARGETS_REGIONS,
                                         .classes = 3};
        in[0] = absent, in[1] = real(2, 0, 5), in[2] = real(2, 2, 5);
        in[3] = (dn_operand){.dtype = DN_I64, .shape = {.axes = 1, .dim = {2}}};
        for (int i = 0; i < 5; i++)
            out[i] = real(2, 0, i == 0 ? 1 : i < 4 ? 12 : 5);
        out[5] = (dn_operand){.dtype = DN_I32, .shape = {.axes = 1, .dim = {1}}};
        x[9] = value;
    } else if (b->kind != DN_OP_OVERLAP)
        args.loss.outer = N, args.loss.dim = DIM, args.loss.inner = 1;
    dn_op_desc desc = {.struct_size = sizeof(desc),
                       .kind = b->kind,
                       .num_inputs = b->kind == DN_OP_LOSS_BWD    ? 6
                                     : b->kind == DN_OP_MULTI_BOX ? 4
                                     : draws                      ? 4
                                                                  : 2,
                       .num_outputs = draws ? 6 : 1,
                       .inputs = in,
                       .outputs = out,
                       .args = &args};
    dn_op_info info = {.struct_size = sizeof(info)};
    dn_op *op = NULL;
    dn_status status = ops->op_create(backend, &desc, &op, &info);
    if (status != DN_OK || info.scratch > SCRATCH)
        return status ? status : DN_E_INTERNAL;
    void *ins[6] = {x, t, x, draws ? (void *)state : t, NULL, &one};
    void *outs[6] = {y, y, y, y, y, &count};
    dn_op_io io = {.struct_size = sizeof(io), .in = ins, .out = outs, .scratch = scratch};
    status = ops->op_run(op, &io);
    ops->op_destroy(op);
    return status;
}

static int check(dn_backend *ref, const dn_backend_ops *ops, dn_backend *backend, const bad *b)
{
    char words[512];
    dn_status expected = run(&dn_ref_backend, ref, b, b->value);
    snprintf(words, sizeof(words), "%s", host_message());
    dn_status got = run(ops, backend, b, b->value);
    if (got == DN_DECLINED) /* it is ref's then */
        return 1;
    bool same = got == expected && got == DN_E_DATA && strcmp(words, host_message()) == 0;
    if (!same)
        printf("%s: %s: status %d, '%s'; ref: %d, '%s'\n", ops->name, b->what, (int)got,
               host_message(), (int)expected, words);
    bool works = run(ops, backend, b, 1) == DN_OK;
    if (!works)
        printf("%s: %s: does not work afterwards: %s\n", ops->name, b->what, host_message());
    return same && works;
}

/* Between -1 and 0: the whole part, 0, where a label's is taken; no class where it must be one.
 */
static int check_fraction(dn_backend *ref, const dn_backend_ops *ops, dn_backend *backend,
                          const bad *b)
{
    char words[512];
    dn_status expected = run(&dn_ref_backend, ref, b, -0.5f);
    snprintf(words, sizeof(words), "%s", host_message());
    dn_status got = run(ops, backend, b, -0.5f);
    bool same = got == DN_DECLINED ||
                (got == expected && (got == DN_OK || strcmp(words, host_message()) == 0));
    if (!same)
        printf("%s: %s: -0.5: status %d, '%s'; ref: %d, '%s'\n", ops->name, b->what, (int)got,
               host_message(), (int)expected, words);
    return same;
}

/* A gradient of large images, for which there is a kernel that holds all of a plane. */
static int check_scratch(const dn_backend_ops *ops, dn_backend *backend)
{
    dn_operand x = {.dtype = DN_F32, .shape = {.axes = 4, .dim = {16, 32, 512, 512}}};
    dn_operand in[2] = {x, {.dtype = DN_F32, .shape = {.axes = 4, .dim = {32, 32, 5, 5}}}};
    dn_args_conv args = {.base.struct_size = sizeof(args),
                         .spatial = 2,
                         .group = 1,
                         .kernel = {5, 5},
                         .stride = {1, 1},
                         .pad = {2, 2},
                         .dilation = {1, 1}};
    dn_op_desc desc = {.struct_size = sizeof(desc),
                       .kind = DN_OP_CONV_BWD_DATA,
                       .num_inputs = 2,
                       .num_outputs = 1,
                       .inputs = in,
                       .outputs = &x,
                       .args = &args};
    dn_op_info info = {.struct_size = sizeof(info)};
    dn_op *op = NULL;
    if (ops->op_create(backend, &desc, &op, &info) != DN_OK)
        return 0;
    ops->op_destroy(op);
    if (info.scratch >= (size_t)64 << 20)
        printf("%s: %zu bytes of scratch\n", info.implementation, info.scratch);
    return info.scratch < (size_t)64 << 20;
}

/* An op of n elements, each of which is held against each. */
static dn_status make_long(const dn_backend_ops *ops, dn_backend *backend, int32_t kind,
                           int64_t n)
{
    dn_operand absent = {.dtype = -1}, row = real(2, 1, n), four = real(2, 1, 4 * n);
    dn_operand priors = {.dtype = DN_F32, .shape = {.axes = 3, .dim = {1, 2, 4 * n}}};
    dn_operand in[4] = {row}, out[2] = {row};
    case_args args = {.base.struct_size = sizeof(args)};
    if (kind == DN_OP_RANK) {
        args.rank = (dn_args_rank){{.struct_size = sizeof(args.rank)}, 1, n, 0};
    } else if (kind == DN_OP_MULTI_BOX) {
        args.multi_box = (dn_args_multi_box){.base.struct_size = sizeof(args.multi_box),
                                             .classes = 1,
                                             .flags = DN_MULTI_PRIORS,
                                             .code = 1};
        in[0] = four, in[1] = row, in[2] = priors, in[3] = real(2, 2, 8);
        out[0] = real(0, 0, 0);
    } else {
        args.detect = (dn_args_detect){.base.struct_size = sizeof(args.detect),
                                       .method = DN_DETECT_PRIORS,
                                       .classes = 1,
                                       .code = 1,
                                       .flags = DN_DETECT_SHARED,
                                       .before = 9,
                                       .after = 9,
                                       .keep = 9,
                                       .eta = 1};
        in[0] = absent, in[3] = priors;
        in[1] = (dn_operand){.dtype = DN_F32, .shape = {.axes = 4, .dim = {1, n, 1, 1}}};
        in[2] = (dn_operand){.dtype = DN_F32, .shape = {.axes = 4, .dim = {1, n, 1, 4}}};
        out[0] = real(2, 9, 7);
        out[1] = (dn_operand){.dtype = DN_I32, .shape = {.axes = 1, .dim = {1}}};
    }
    dn_op_desc desc = {.struct_size = sizeof(desc),
                       .kind = kind,
                       .num_inputs = kind == DN_OP_RANK ? 1 : 4,
                       .num_outputs = kind == DN_OP_DETECT ? 2 : 1,
                       .inputs = in,
                       .outputs = out,
                       .args = &args};
    dn_op_info info = {.struct_size = sizeof(info)};
    dn_op *op = NULL;
    dn_status status = ops->op_create(backend, &desc, &op, &info);
    if (status == DN_OK)
        ops->op_destroy(op);
    return status;
}

/* None that would never end. */
static int check_long(const dn_backend_ops *ops, dn_backend *backend)
{
    static const int32_t kinds[] = {DN_OP_RANK, DN_OP_MULTI_BOX, DN_OP_DETECT};
    int right = 0;
    for (int k = 0; k < 3; k++) {
        dn_status most = make_long(ops, backend, kinds[k], 1 << 20);
        dn_status more = make_long(ops, backend, kinds[k], (1 << 20) + 1);
        if (most != DN_OK || more != DN_DECLINED)
            printf("%s: long rows of kind %d: statuses %d, %d; %s\n", ops->name, (int)kinds[k],
                   (int)most, (int)more, host_message());
        right += most == DN_OK && more == DN_DECLINED;
    }
    return right == 3;
}

int main(void)
{
    static const dn_backend_ops *const all[] = {&dn_cpu_backend, &dn_cuda_host_backend};
    dn_backend_host host;
    dn_backend *ref = NULL, *backend = NULL;
    int passed = 0, rows_of = (int)(sizeof(rows) / sizeof(rows[0])), count = 4 * rows_of + 2;
    host_init(&host, 1);
    if (dn_ref_backend.open(&ref, &host))
        return 1;
    for (int k = 0; k < 2; k++) {
        if (all[k]->open(&backend, &host))
            return 1;
        for (int i = 0; i < rows_of; i++)
            passed += check(ref, all[k], backend, &rows[i]) +
                      check_fraction(ref, all[k], backend, &rows[i]);
        passed += (k == 0 ? check_scratch : check_long)(all[k], backend);
        all[k]->close(backend);
    }
    dn_ref_backend.close(ref);
    passed -= host_live_allocations() != 0;
    printf("%d passed, %d failed\n", passed, count - passed);
    return passed != count;
}
