/* SPDX-License-Identifier: BSD-2-Clause
 * test_types.c: with compute = BF16 values lie as bf16 where the chain takes that, and a run
 * gives what f32 gives, but for rounding. `ref`, which takes bf16 everywhere, stands twice in
 * the chain here: the last of a chain is not asked to. Any machine can run this. */
#include "nets.h"

extern const dn_backend_ops dn_ref_backend;

#define BIG        IN("x", "dim: 2 dim: 3 dim: 16 dim: 15")
#define TANH(blob) ON(blob, blob "_h", "TanH", "")
#define POOL(name, bottom, method)                                                             \
    LAYER(name, "Pooling", bottom, name,                                                       \
          "pooling_param { pool: " method " kernel_size: 3 stride: 2 } ")

static const struct row {
    const char *name, *net;
    int least;  /* values that lie as bf16 */
    double off; /* how far gradients may be; rounding moves some across kinks */
} rows[] = {
    {"chain", BIG CONV("a", "x", "") TANH("a") CONV("b", "a", "") TANH("b") LOSS("b"), 4, 0.03},
    {"branches",
     BIG CONV("a", "x", "") CONV("b", "a", "") SUM("a", "b", "y") POOL("p", "y", "AVE")
         LOSS("p"),
     4, 0.03},
    {"norms",
     BIG CONV("a", "x", "bias_term: false") NORM("a") TANH("a")
         CONV("b", "a", "bias_term: false") NORM("b") SUM("a", "b", "y") LOSS("y"),
     4, 0.03},
    {"residual block",
     BIG CONV("a", "x", "bias_term: false") NORM("a") RELU("a")
         CONV("b", "a", "bias_term: false") NORM("b") CONV("c", "x", "bias_term: false")
             NORM("c") SUM("b", "c", "y") RELU("y") LOSS("y"),
     4, 0.3},
    {"concat, maxima and LRN",
     BIG CONV("a", "x", "") CONV(
         "b", "x",
         "") "layer { name: 'c' type: 'Concat' bottom: 'a' bottom: 'b' top: 'c' } " LAYER("n",
                                                                                          "LRN",
                                                                                          "c",
                                                                                          "n",
                                                                                          "")
         POOL("p", "n", "MAX") LOSS("p"),
     4, 0.3},
    {"an op that wants f32 in between",
     BIG CONV("a", "x", "bias_term: false") LAYER("m", "MVN", "a", "m", "") CONV("b", "m", "")
         LOSS("b"),
     0, 0.03},
};

/* A product of bf16 is one in bf16. */
static dn_status narrow_create(dn_backend *backend, const dn_op_desc *desc, dn_op **out,
                               dn_op_info *info)
{
    dn_status st = dn_ref_backend.op_create(backend, desc, out, info);
    info->compute = desc->compute;
    return st;
}

static dn_backend_ops narrow_backend(void)
{
    dn_backend_ops narrow = dn_ref_backend;
    narrow.name = "narrow";
    narrow.op_create = narrow_create;
    return narrow;
}

static dn_context *narrow_context(int32_t plan)
{
    static dn_backend_ops narrow;
    dn_context *context = NULL;
    narrow = narrow_backend();
    dn_context_options o = {.struct_size = sizeof o,
                            .plan = plan,
                            .backend = &narrow,
                            .backends = "ref",
                            .seed = 7};
    CHECK_STATUS(dn_context_create(&context, &o), DN_OK);
    return context;
}

static dn_net *narrow_net(dn_context *context, const char *text, int32_t phase, int32_t memory)
{
    dn_net *net = NULL;
    dn_net_options o = {.struct_size = sizeof o,
                        .phase = phase,
                        .memory = memory,
                        .compute = DN_COMPUTE_BF16,
                        .compute_fallback = 1};
    CHECK_STATUS(dn_net_create_from_text(&net, context, text, strlen(text), &o), DN_OK);
    if (net)
        fill_net(net);
    return net;
}

static int count_narrow(const dn_net *net)
{
    const dni_program *p = dni_plan_program(net->plan);
    int count = 0;
    for (size_t t = 0; t < p->num_tensors; t++)
        count += p->tensors[t].dtype == DN_BF16 && p->tensors[t].storage == (dni_tensor)t;
    return count;
}

/* Distance over length: single gradients may jump. */
static void compare_length(const char *what, const char *name, const float *got,
                           const float *want, int64_t count, double off)
{
    double away = 1e-9, length = 1e-9;
    for (int64_t i = 0; got && want && i < count; i++) {
        away += ((double)got[i] - want[i]) * ((double)got[i] - want[i]);
        length += (double)want[i] * want[i];
    }
    CHECK_AT(got && want && sqrt(away / length) < off, "%s of %s is off by %g of its length",
             what, name, sqrt(away / length));
}

static void compare_narrow(dn_net *net, dn_net *plain, bool gradients, double off)
{
    for (size_t i = 0; i < net->graph.num_blobs; i++) {
        dn_blob *p = net->blobs[i], *q = plain->blobs[i];
        if (!p->own && !dni_plan_readable(net->plan, p->data))
            continue;
        compare_length("data", dn_blob_name(p), dn_blob_data(p), dn_blob_data(q),
                       dn_blob_count(p), 0.03);
        if (gradients && p->diff != DNI_NONE && dni_plan_readable(net->plan, p->diff))
            compare_length("gradient", dn_blob_name(p), dn_blob_diff(p), dn_blob_diff(q),
                           dn_blob_count(p), off);
    }
    for (size_t i = 0; gradients && i < net->num_params; i++)
        if (net->params[i]->wanted)
            compare_length("gradient of weight", dn_blob_name(&net->params[i]->blob),
                           dn_blob_diff(&net->params[i]->blob),
                           dn_blob_diff(&plain->params[i]->blob),
                           dn_blob_count(&net->params[i]->blob), off);
}

static void check_row(dn_context *narrow, dn_context *plain, const struct row *r, int32_t phase,
                      int32_t memory)
{
    bool train = phase == DN_PHASE_TRAIN;
    dn_net *net = narrow_net(narrow, r->net, phase, memory);
    dn_net *truth = net_of(plain, r->net, phase, DN_MEMORY_READABLE);
    for (int times = 0; net && truth && times < 3; times++) {
        int32_t last = dn_net_num_layers(net) - 1;
        dn_net *nets[] = {net, truth};
        for (int k = 0; k < 2; k++) {
            CHECK_STATUS(dn_net_clear_gradients(nets[k]), DN_OK);
            CHECK_STATUS(dn_net_forward(nets[k], NULL), DN_OK);
            if (train && times == 1) { /* in two parts, of which one runs as it was written */
                CHECK_STATUS(dn_net_backward_range(nets[k], last, 2), DN_OK);
                CHECK_STATUS(dn_net_backward_range(nets[k], 1, 0), DN_OK);
            } else if (train) {
                CHECK_STATUS(dn_net_backward(nets[k]), DN_OK);
            }
        }
        compare_narrow(net, truth, train, r->off);
    }
    if (train && net && !net->context->nhwc)
        CHECK_AT(count_narrow(net) >= r->least, "%d values lie as bf16", count_narrow(net));
    dn_net_free(net);
    dn_net_free(truth);
}

/* What comes from no product stays exact: labels above 256 would not in bf16. */
static void check_labels(dn_context *context)
{
    SECTION("labels");
    dn_net *net = narrow_net(
        context,
        BIG IN("t", "dim: 2048")
            CONV("a", "x", "") "layer { name: 'c' type: 'Concat' bottom: 't' bottom: 't' "
                               "top: 'c' concat_param { axis: 0 } } " LAYER(
                                   "p", "Power", "c", "p", "power_param { shift: 1 } "),
        DN_PHASE_TEST, DN_MEMORY_READABLE);
    float *label = dn_blob_mutable_data(dn_net_blob(net, "t"));
    for (int i = 0; i < 2048; i++)
        label[i] = (float)i;
    CHECK_STATUS(dn_net_forward(net, NULL), DN_OK);
    const float *p = dn_blob_data(dn_net_blob(net, "p"));
    for (int i = 0; i < 4096; i++)
        CHECK_AT(p[i] == (float)(i % 2048 + 1), "label %d is %g", i, (double)p[i]);
    dn_net_free(net);
}

static size_t placed(const dn_net *net)
{
    dni_plan_sizes s = dni_plan_size(net->plan);
    return s.data + s.diff + s.temp;
}

static void check_memory(dn_context *narrow, dn_context *plain)
{
    SECTION("memory");
    const char *text = BIG CONV("a", "x", "") CONV("b", "a", "") CONV("c", "b", "")
        CONV("d", "c", "") CONV("e", "d", "") LOSS("e");
    dn_net *net = narrow_net(narrow, text, DN_PHASE_TRAIN, DN_MEMORY_COMPACT);
    dn_net *wide = net_of(plain, text, DN_PHASE_TRAIN, DN_MEMORY_COMPACT);
    CHECK_AT(placed(net) < 0.65 * (double)placed(wide), "%zu bytes where f32 takes %zu",
             placed(net), placed(wide));
    dn_net_free(net);
    dn_net_free(wide);
}

/* A product that is faster in f32 stays so, and those beside it, too; that bf16 was offered is
 * enough for a net that must compute in it. */
static double narrow_cost;

static dn_status said_create(dn_backend *backend, const dn_op_desc *desc, dn_op **op,
                             dn_op_info *info)
{
    dn_status st = dn_ref_backend.op_create(backend, desc, op, info);
    bool narrow = desc->inputs[0].dtype == DN_BF16 || desc->outputs[0].dtype == DN_BF16;
    info->cost = narrow ? narrow_cost : 1e5;
    info->compute = DN_COMPUTE_BF16;
    return st;
}

static void check_costs(const char *backends, double cost)
{
    SECTION("costs");
    static dn_backend_ops said;
    dn_context *context = NULL;
    dn_net *net = NULL;
    narrow_cost = cost;
    said = dn_ref_backend;
    said.name = "said";
    said.op_create = said_create;
    dn_context_options o = {
        .struct_size = sizeof o, .backend = &said, .backends = backends, .seed = 7};
    dn_net_options n = {.struct_size = sizeof n, .compute = DN_COMPUTE_BF16};
    CHECK_STATUS(dn_context_create(&context, &o), DN_OK);
    const char *text = rows[0].net;
    CHECK_STATUS(dn_net_create_from_text(&net, context, text, strlen(text), &n), DN_OK);
    CHECK_AT(net && (count_narrow(net) > 0) == (cost < 1e5),
             "%d values lie as bf16 where that costs %g", net ? count_narrow(net) : -1, cost);
    dn_net_free(net);
    dn_context_free(context);
}

static void count_notices(void *user, int32_t level, const char *line)
{
    *(int *)user += level == DN_LOG_NOTICE && strstr(line, "in bf16; it computes in f32");
}

/* Where no product is in bf16 nothing else is, which is said once. */
static void check_fallback(dn_context *wide)
{
    SECTION("a chain that has it for no product");
    static dn_backend_ops twice;
    dn_context *context = NULL;
    twice = dn_ref_backend;
    twice.name = "twice";
    int notices = 0;
    dn_context_options o = {.struct_size = sizeof o,
                            .backend = &twice,
                            .backends = "ref",
                            .seed = 7,
                            .log = count_notices,
                            .log_user = &notices};
    CHECK_STATUS(dn_context_create(&context, &o), DN_OK);
    dn_net *net = narrow_net(context, rows[2].net, DN_PHASE_TRAIN, DN_MEMORY_READABLE);
    CHECK_STATUS(dn_blob_reshape(dn_net_input(net, 0), (int64_t[]){1, 3, 16, 15}, 4), DN_OK);
    CHECK_STATUS(dn_blob_reshape(dn_net_input(net, 1), (int64_t[]){1}, 1), DN_OK);
    CHECK_STATUS(dn_net_reshape(net), DN_OK);
    CHECK_INT(notices, 1);
    CHECK_INT(count_narrow(net), 0);
    CHECK_INT(dni_plan_program(net->plan)->compute, DN_COMPUTE_F32);
    dn_net_options n = {
        .struct_size = sizeof n, .phase = DN_PHASE_TRAIN, .compute = DN_COMPUTE_BF16};
    dn_net *none = NULL;
    CHECK_STATUS(dn_net_create_from_text(&none, wide, rows[2].net, strlen(rows[2].net), &n),
                 DN_E_UNSUPPORTED);
    dn_net_free(net);
    dn_context_free(context);
}

/* What is printed of a step says which operands are bf16. */
static void check_printed(dn_context *narrow)
{
    SECTION("printed");
    dn_net *net = narrow_net(narrow, rows[0].net, DN_PHASE_TRAIN, DN_MEMORY_COMPACT);
    const dni_program *p = dni_plan_program(net->plan);
    dni_text text;
    char *line = NULL;
    dni_text_init(&text, net->heap);
    dni_op_print(p, &p->ops[0], &text);
    CHECK_STATUS(dni_text_finish(&text, &line), DN_OK);
    CHECK_TEXT(line, "CONV s:2x3x16x15 w:3x3x3x3 w:3 -> 2x3x16x15/bf16");
    dni_free(line);
    dn_net_free(net);
}

/* Each allocation of a net fails once. */
static void check_faults(void)
{
    static dn_backend_ops narrow;
    SECTION("faults");
    narrow = narrow_backend();
    bool done = false;
    for (long i = 1; !done && i < 5000; i++) {
        check_heap heap = {.fail_at = i};
        dn_context *context = NULL;
        dn_net *net = NULL;
        dn_context_options o = {.struct_size = sizeof o,
                                .alloc = check_alloc,
                                .alloc_user = &heap,
                                .num_threads = 1,
                                .backend = &narrow,
                                .backends = "ref"};
        dn_net_options n = {
            .struct_size = sizeof n, .compute = DN_COMPUTE_BF16, .compute_fallback = 1};
        const char *text = rows[5].net;
        dn_status st = dn_context_create(&context, &o);
        if (!st)
            st = dn_net_create_from_text(&net, context, text, strlen(text), &n);
        CHECK_AT(!st || st == DN_E_NOMEM, "request %ld: %s", i, dn_status_name(st));
        done = heap.requests < i;
        dn_net_free(net);
        dn_context_free(context);
        CHECK_AT(heap.live_blocks == 0, "request %ld: %ld blocks leaked", i, heap.live_blocks);
        CHECK_AT(!done || !st, "without a fault: %s", dn_status_name(st));
    }
    CHECK(done);
}

int main(void)
{
    dn_context *fused = narrow_context(DN_PLAN_FUSED), *nhwc = narrow_context(DN_PLAN_NHWC);
    dn_context *plain = context_of(DN_PLAN_PLAIN), *wide = context_of(DN_PLAN_FUSED);
    for (size_t i = 0; i < DNI_COUNT(rows); i++)
        for (int32_t phase = DN_PHASE_TRAIN; phase <= DN_PHASE_TEST; phase++)
            for (int32_t memory = DN_MEMORY_READABLE; memory <= DN_MEMORY_COMPACT; memory++) {
                char section[96];
                snprintf(section, sizeof section, "%s, phase %d, memory %d", rows[i].name,
                         phase, memory);
                SECTION(section);
                check_row(fused, plain, &rows[i], phase, memory);
                check_row(nhwc, plain, &rows[i], phase, memory);
            }
    check_labels(fused);
    check_memory(fused, wide);
    check_printed(fused);
    check_fallback(plain);
    check_fallback(wide);
    check_costs("ref", 1e4);
    check_costs("ref", 1e6);
    check_costs("cpu,ref", 1e6);
    check_faults();
    dn_context_free(fused);
    dn_context_free(nhwc);
    dn_context_free(plain);
    dn_context_free(wide);
    return check_summary();
}
