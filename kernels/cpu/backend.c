/* SPDX-License-Identifier: BSD-2-Clause
 * backend.c: the table of the fast CPU backend. An op kind has rows, best first; a row says
 * which instruction set it needs. What no row takes goes to the next backend of the chain. */
#include "cpu.h"

#include <stdio.h>
#include <string.h>

dn_status cpu_decline(dn_op_info *info, const char *reason)
{
    snprintf(info->reason, sizeof info->reason, "%s", reason);
    return DN_DECLINED;
}

void *cpu_op_new(dn_backend *backend, size_t size, dn_status (*run)(dn_op *, const dn_op_io *),
                 dn_op_info *info, const char *name)
{
    dn_op *op = backend->host.alloc(backend->host.user, size);
    if (!op) {
        backend->host.fail(DN_E_NOMEM, "out of memory for an operation");
        return NULL;
    }
    memset(op, 0, size);
    op->backend = backend;
    op->run = run;
    info->scratch = 0;
    snprintf(info->implementation, sizeof info->implementation, "%s/%s", name,
             backend->kernels->name);
    return op;
}

void *cpu_op_table(dn_op *op, size_t count, size_t size)
{
    dn_backend_host *host = &op->backend->host;
    size_t bytes = sizeof(cpu_table) + count * size;
    bool fits = !size || count <= (SIZE_MAX - sizeof(cpu_table)) / size;
    cpu_table *table = fits ? host->alloc(host->user, bytes) : NULL;
    if (!table) {
        host->fail(DN_E_NOMEM, "out of memory for an operation's tables");
        return NULL;
    }
    memset(table, 0, bytes);
    table->next = op->tables;
    op->tables = table;
    return table->bytes;
}

void cpu_op_free(dn_op *op)
{
    for (dn_op *next; op; op = next) {
        dn_backend_host host = op->backend->host;
        next = op->next;
        for (cpu_table *table = op->tables, *rest; table; table = rest) {
            rest = table->next;
            host.free(host.user, table);
        }
        host.free(host.user, op);
    }
}

void cpu_for(const dn_backend *backend, int64_t tasks,
             void (*body)(void *arg, int64_t task, int32_t worker), void *arg)
{
    if (tasks == 1)
        body(arg, 0, 0);
    else if (tasks > 1)
        backend->host.parallel_for(backend->host.user, tasks, body, arg);
}

int64_t cpu_tasks_for(int64_t n)
{
    return n < 16384 ? 1 : cpu_max(cpu_min(8, n / 8192), cpu_min(64, n / 32768));
}

bool cpu_conv_normalises(const dn_op_desc *desc)
{
    int32_t first = desc->kind == DN_OP_CONV ? 3 : 2;
    return (desc->kind == DN_OP_CONV || desc->kind == DN_OP_CONV_BWD_WEIGHTS) &&
           cpu_present(desc->inputs, desc->num_inputs, first);
}

bool cpu_conv_more(const dn_op_desc *desc)
{
    return cpu_conv_normalises(desc) ||
           (desc->kind == DN_OP_CONV_BWD_WEIGHTS &&
            (desc->num_outputs > 2 || cpu_present(desc->inputs, desc->num_inputs, 7))) ||
           (desc->kind == DN_OP_CONV && desc->num_outputs > 1);
}

int64_t cpu_count(const dn_shape *shape)
{
    int64_t count = 1;
    for (int32_t i = 0; i < shape->axes; i++)
        count *= shape->dim[i];
    return count;
}

bool cpu_present(const dn_operand *operands, int32_t count, int32_t i)
{
    return i < count && operands[i].dtype >= 0;
}

static bool plain(const dn_operand *o) /* masks, too: theirs lie as their images do */
{
    return o->dtype < 0 ||
           ((o->dtype == DN_F32 || o->dtype >= DN_I32) && o->layout == DN_LAYOUT_PLAIN);
}

bool cpu_all_f32(const dn_op_desc *desc)
{
    for (int32_t i = 0; i < desc->num_inputs; i++)
        if (!plain(&desc->inputs[i]))
            return false;
    for (int32_t i = 0; i < desc->num_outputs; i++)
        if (!plain(&desc->outputs[i]))
            return false;
    return true;
}

bool cpu_all_nhwc(const dn_op_desc *desc, uint32_t images)
{
    for (int32_t i = 0; i < desc->num_inputs + desc->num_outputs; i++) {
        bool input = i < desc->num_inputs;
        const dn_operand *o = input ? &desc->inputs[i] : &desc->outputs[i - desc->num_inputs];
        bool image = images >> (input ? i : 16 + i - desc->num_inputs) & 1;
        if (o->dtype < 0)
            continue;
        if (o->dtype != DN_F32 && o->dtype < DN_I32)
            return false;
        if (o->layout != (image ? DN_LAYOUT_NHWC : DN_LAYOUT_PLAIN))
            return false;
        if (image && o->shape.axes < 4)
            return false;
    }
    return true;
}

/* ---- the table --------------------------------------------------------------------------- */

static const struct row {
    int32_t kind, isa;
    cpu_create_fn *create;
    bool more; /* convolutions: x normalised on the way, both gradients in one, moments */
} rows[] = {
    {DN_OP_FILL, CPU_PLAIN, cpu_fill_create},
    {DN_OP_COPY, CPU_PLAIN, cpu_copy_create},
    {DN_OP_UNARY, CPU_PLAIN, cpu_unary_create},
    {DN_OP_UNARY_BWD, CPU_PLAIN, cpu_unary_bwd_create},
    {DN_OP_ELTWISE, CPU_PLAIN, cpu_eltwise_create},
    {DN_OP_SELECT, CPU_PLAIN, cpu_select_create},
    {DN_OP_BCAST, CPU_PLAIN, cpu_bcast_create},
    {DN_OP_REDUCE, CPU_PLAIN, cpu_reduce_create},
    {DN_OP_GEMM, CPU_AVX2, cpu_gemm_create},
    {DN_OP_GEMM, CPU_PLAIN, cpu_gemm_cblas_create},
    {DN_OP_GEMM, CPU_PLAIN, cpu_gemm_create},
    {DN_OP_CONV, CPU_PLAIN, cpu_depthwise_nhwc_create, true},
    {DN_OP_CONV, CPU_PLAIN, cpu_conv_whole_create},
    {DN_OP_CONV, CPU_PLAIN, cpu_conv_frames_create},
    {DN_OP_CONV, CPU_AVX2, cpu_groups_nhwc_create},
    {DN_OP_CONV, CPU_PLAIN, cpu_conv_groups_create},
    {DN_OP_CONV, CPU_PLAIN, cpu_wino_create},
    {DN_OP_CONV, CPU_AVX2, cpu_strassen_create, true},
    {DN_OP_CONV, CPU_PLAIN, cpu_conv_scatter_create},
    {DN_OP_CONV, CPU_PLAIN, cpu_conv_nhwc_create, true},
    {DN_OP_CONV, CPU_PLAIN, cpu_depthwise_create},
    {DN_OP_CONV, CPU_AVX2, cpu_dft_planes_create},
    {DN_OP_CONV, CPU_PLAIN, cpu_conv_create},
    {DN_OP_CONV_BWD_DATA, CPU_PLAIN, cpu_depthwise_nhwc_create},
    {DN_OP_CONV_BWD_DATA, CPU_PLAIN, cpu_conv_whole_create},
    {DN_OP_CONV_BWD_DATA, CPU_PLAIN, cpu_conv_frames_create},
    {DN_OP_CONV_BWD_DATA, CPU_AVX2, cpu_groups_nhwc_create},
    {DN_OP_CONV_BWD_DATA, CPU_PLAIN, cpu_conv_groups_create},
    {DN_OP_CONV_BWD_DATA, CPU_PLAIN, cpu_wino_create},
    {DN_OP_CONV_BWD_DATA, CPU_AVX2, cpu_strassen_create},
    {DN_OP_CONV_BWD_DATA, CPU_PLAIN, cpu_conv_scatter_create},
    {DN_OP_CONV_BWD_DATA, CPU_PLAIN, cpu_conv_nhwc_create},
    {DN_OP_CONV_BWD_DATA, CPU_PLAIN, cpu_depthwise_create},
    {DN_OP_CONV_BWD_DATA, CPU_AVX2, cpu_wino_planes_data_create},
    {DN_OP_CONV_BWD_DATA, CPU_PLAIN, cpu_conv_bwd_data_full_create},
    {DN_OP_CONV_BWD_DATA, CPU_PLAIN, cpu_conv_bwd_data_create},
    {DN_OP_CONV_BWD_WEIGHTS, CPU_AVX2, cpu_conv_masked_create, true},
    {DN_OP_CONV_BWD_WEIGHTS, CPU_PLAIN, cpu_depthwise_nhwc_create, true},
    {DN_OP_CONV_BWD_WEIGHTS, CPU_PLAIN, cpu_conv_whole_create},
    {DN_OP_CONV_BWD_WEIGHTS, CPU_PLAIN, cpu_conv_frames_create},
    {DN_OP_CONV_BWD_WEIGHTS, CPU_PLAIN, cpu_conv_groups_create},
    {DN_OP_CONV_BWD_WEIGHTS, CPU_PLAIN, cpu_wino_weights_create},
    {DN_OP_CONV_BWD_WEIGHTS, CPU_PLAIN, cpu_conv_nhwc_weights_create},
    {DN_OP_CONV_BWD_WEIGHTS, CPU_PLAIN, cpu_depthwise_create},
    {DN_OP_CONV_BWD_WEIGHTS, CPU_AVX2, cpu_wino_planes_weights_create},
    {DN_OP_CONV_BWD_WEIGHTS, CPU_PLAIN, cpu_conv_bwd_weights_create},
    {DN_OP_POOL, CPU_PLAIN, cpu_pool_nhwc_create},
    {DN_OP_POOL, CPU_PLAIN, cpu_pool_create},
    {DN_OP_POOL_BWD, CPU_PLAIN, cpu_pool_nhwc_create},
    {DN_OP_POOL_BWD, CPU_PLAIN, cpu_pool_bwd_create},
    {DN_OP_LRN, CPU_PLAIN, cpu_lrn_create},
    {DN_OP_LRN_BWD, CPU_PLAIN, cpu_lrn_bwd_create},
    {DN_OP_BATCH_NORM, CPU_PLAIN, cpu_norm_create},
    {DN_OP_BATCH_NORM_BWD, CPU_PLAIN, cpu_norm_bwd_create},
    {DN_OP_NORM_SCALE, CPU_PLAIN, cpu_norm_create},
    {DN_OP_NORM_SCALE_BWD, CPU_PLAIN, cpu_norm_bwd_create},
    {DN_OP_SOFTMAX, CPU_PLAIN, cpu_softmax_create},
    {DN_OP_SOFTMAX_BWD, CPU_PLAIN, cpu_softmax_create},
    {DN_OP_LOSS, CPU_PLAIN, cpu_loss_create},
    {DN_OP_LOSS_BWD, CPU_PLAIN, cpu_loss_create},
    {DN_OP_ACCURACY, CPU_PLAIN, cpu_accuracy_create},
    {DN_OP_ARGMAX, CPU_PLAIN, cpu_argmax_create},
    {DN_OP_DROPOUT, CPU_PLAIN, cpu_dropout_create},
    {DN_OP_DROPOUT_BWD, CPU_PLAIN, cpu_dropout_create},
    {DN_OP_PRELU, CPU_PLAIN, cpu_prelu_create},
    {DN_OP_PRELU_BWD, CPU_PLAIN, cpu_prelu_create},
    {DN_OP_MVN, CPU_PLAIN, cpu_mvn_create},
    {DN_OP_MVN_BWD, CPU_PLAIN, cpu_mvn_create},
    {DN_OP_GATHER, CPU_PLAIN, cpu_gather_create},
    {DN_OP_SCATTER_ADD, CPU_PLAIN, cpu_gather_create},
    {DN_OP_LSTM_UNIT, CPU_PLAIN, cpu_lstm_create},
    {DN_OP_LSTM_UNIT_BWD, CPU_PLAIN, cpu_lstm_create},
    {DN_OP_UPDATE, CPU_PLAIN, cpu_update_create},
    {DN_OP_SUMSQ_ALL, CPU_PLAIN, cpu_sumsq_all_create},
    {DN_OP_ROI_POOL, CPU_PLAIN, cpu_roi_create},
    {DN_OP_ROI_POOL_BWD, CPU_PLAIN, cpu_roi_create},
};

dn_status cpu_op_create(dn_backend *backend, const dn_op_desc *desc, dn_op **out,
                        dn_op_info *info)
{
    dn_status status = DN_DECLINED;
    snprintf(info->reason, sizeof info->reason, "no kernel for this kind");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0] && status == DN_DECLINED; i++)
        if (rows[i].kind == desc->kind && rows[i].isa <= backend->isa &&
            (rows[i].more || !cpu_conv_more(desc)))
            status = rows[i].create(backend, desc, out, info);
    if (status == DN_OK) {
        (*out)->num_inputs = desc->num_inputs;
        (*out)->num_outputs = desc->num_outputs;
    }
    if (status == DN_OK && info->cost == 0)
        info->cost = cpu_cost(backend, desc, info->implementation);
    return status;
}

static dn_status op_run(dn_op *op, const dn_op_io *io)
{
    return op->run(op, io);
}

static dn_status op_prepare(dn_op *op, const dn_op_io *io)
{
    return op->prepare ? op->prepare(op, io) : DN_OK;
}

/* ---- open -------------------------------------------------------------------------------- */

static const cpu_kernels *const kernels_of[] = {
    &cpu_kernels_plain,
#ifdef CPU_HAVE_AVX2
    &cpu_kernels_avx2,
#else
    &cpu_kernels_plain,
#endif
#ifdef CPU_HAVE_AVX512
    &cpu_kernels_avx512,
#endif
};

static dn_status open_isa(dn_backend **out, const dn_backend_host *host, int32_t most)
{
    dn_backend *backend = host->alloc(host->user, sizeof *backend);
    if (!backend)
        return host->fail(DN_E_NOMEM, "out of memory for the cpu backend");
    int32_t isa = cpu_best_isa();
    backend->host = *host;
    backend->isa = isa < most ? isa : most;
    backend->kernels = kernels_of[backend->isa];
    *out = backend;
    return DN_OK;
}

static dn_status open_best(dn_backend **out, const dn_backend_host *host)
{
    return open_isa(out, host, CPU_AVX512);
}

static dn_status open_avx2(dn_backend **out, const dn_backend_host *host)
{
    return open_isa(out, host, CPU_AVX2);
}

static dn_status open_plain(dn_backend **out, const dn_backend_host *host)
{
    return open_isa(out, host, CPU_PLAIN);
}

static void close_backend(dn_backend *backend)
{
    if (backend)
        backend->host.free(backend->host.user, backend);
}

static void describe(dn_backend *backend, char *buffer, size_t size)
{
    snprintf(buffer, size, "%s kernels, CBLAS %s, %d threads", backend->kernels->name,
             cpu_cblas_name(), (int)backend->host.num_threads);
}

#define TABLE(table_name, open_function)                                                       \
    {                                                                                          \
        .struct_size = sizeof(dn_backend_ops), .name = table_name, .space = DN_SPACE_HOST,     \
        .open = open_function, .close = close_backend, .op_create = cpu_op_create,             \
        .op_run = op_run, .op_destroy = cpu_op_free, .describe = describe,                     \
        .op_prepare = op_prepare                                                               \
    }

extern const dn_backend_ops dn_cpu_backend, dn_cpu_backend_avx2, dn_cpu_backend_plain;
const dn_backend_ops dn_cpu_backend = TABLE("cpu", open_best);
/* The same with lesser instruction sets, for the kernel checker. */
const dn_backend_ops dn_cpu_backend_avx2 = TABLE("cpu-avx2", open_avx2);
const dn_backend_ops dn_cpu_backend_plain = TABLE("cpu-plain", open_plain);
