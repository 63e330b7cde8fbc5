/* SPDX-License-Identifier: BSD-2-Clause
 * test_strips.c: gradients of large weights that the update makes itself, some rows at a time,
 * leave the bits that a step through memory leaves, and take none of it; whoever looks at one,
 * or fails in between, finds what was always there. */
#include <stdbool.h>
#include <stdlib.h>

#include "solver_text.h"

extern const dn_backend_ops dn_ref_backend;

/* Two weights whose rows are cut into strips of one size and what is left; the second is stored
 * transposed. */
#define POWER "layer { name: 'p' type: 'Power' bottom: 'x' top: 'p' power_param { scale: 2 } } "
#define BODY(from)                                                                             \
    "layer { name: 'a' type: 'InnerProduct' bottom: '" from                                    \
    "' top: 'a' param { lr_mult: 1.5 } "                                                       \
    "  param { lr_mult: 2 decay_mult: 0 } inner_product_param { num_output: 1300 "             \
    "  weight_filler { type: 'xavier' } } } "                                                  \
    "layer { name: 'r' type: 'ReLU' bottom: 'a' top: 'a' } "                                   \
    "layer { name: 'b' type: 'InnerProduct' bottom: 'a' top: 'b' param { decay_mult: 2 } "     \
    "  inner_product_param { num_output: 420 transpose: true "                                 \
    "  weight_filler { type: 'xavier' } } } "                                                  \
    "layer { name: 'h' type: 'TanH' bottom: 'b' top: 'b' } "                                   \
    "layer { name: 'c' type: 'InnerProduct' bottom: 'b' top: 'c' inner_product_param { "       \
    "  num_output: 3 weight_filler { type: 'xavier' } } } "                                    \
    "layer { name: 'l' type: 'SoftmaxWithLoss' bottom: 'c' bottom: 't' top: 'l' } "
#define DATA(items)                                                                            \
    "layer { name: 'x' type: 'DummyData' top: 'x' top: 't' dummy_data_param { "                \
    "  shape { dim: " #items " dim: 300 } shape { dim: " #items " } data_filler { "            \
    "  type: 'gaussian' std: 1 } data_filler { type: 'constant' value: 2 } } } "
#define NET(items) DATA(items) POWER BODY("p")
#define INPUTS                                                                                 \
    "layer { name: 'x' type: 'Input' top: 'x' input_param { shape { dim: 8 dim: 300 } } } "    \
    "layer { name: 't' type: 'Input' top: 't' input_param { shape { dim: 8 } } } "
#define FED INPUTS POWER BODY("p")
#define CONV(name, from)                                                                       \
    "layer { name: '" name "' type: 'Convolution' bottom: '" from "' top: '" name "' "         \
    "  convolution_param { num_output: 3 kernel_size: 3 pad: 1 weight_filler { type: 'xavier'" \
    " } } } "
/* Two convolutions have p as bf16; the products have it converted. */
#define MIXED                                                                                  \
    "layer { name: 'x' type: 'DummyData' top: 'x' top: 't' dummy_data_param { "                \
    "  shape { dim: 5 dim: 3 dim: 10 dim: 10 } shape { dim: 5 } data_filler { "                \
    "  type: 'gaussian' std: 1 } data_filler { type: 'constant' value: 2 } } } " CONV(         \
        "p", "x") "layer { type: 'TanH' bottom: 'p' top: 'p' } " BODY("p") CONV("q", "p")      \
        CONV("s", "q") "layer { name: 'e' type: 'InnerProduct' bottom: 's' top: 'e' "          \
                       "  inner_product_param { num_output: 3 } } "                            \
                       "layer { name: 'm' type: 'SoftmaxWithLoss' bottom: 'e' bottom: 't' "    \
                       "top: 'm' } "
/* h + f(h) twice: gradients that are summed in place, after products have read them. */
#define WIDE(name, from)                                                                       \
    "layer { name: '" name "' type: 'InnerProduct' bottom: '" from "' top: '" name "' "        \
    "  inner_product_param { num_output: 520 weight_filler { type: 'xavier' } } } "
#define RESIDUAL(a, b, from, to)                                                               \
    WIDE(a, from)                                                                              \
    "layer { type: 'ReLU' bottom: '" a "' top: '" a                                            \
    "' } " WIDE(b, a) "layer { type: 'Eltwise' bottom: '" from "' bottom: '" b "' top: '" to   \
                      "' } "
#define LOSS_OF(from)                                                                          \
    "layer { name: 'l' type: 'SoftmaxWithLoss' bottom: '" from "' bottom: 't' top: 'l' } "
#define RESIDUALS                                                                              \
    DATA(4)                                                                                    \
    WIDE("i", "x")                                                                             \
    RESIDUAL("a", "b", "i", "s") RESIDUAL("c", "d", "s", "u") WIDE("e", "u") LOSS_OF("e")
#define SOLVER "base_lr: 0.01 lr_policy: 'fixed' weight_decay: 0.01 random_seed: 5 "

enum { WEIGHT_A = 1300 * 300, WEIGHT_B = 1300 * 420, STRIPS_A = 2, STRIPS_B = 2 };

static dn_context *context_of(int32_t threads, check_heap *heap)
{
    dn_context *context = NULL;
    dn_context_options options = {.struct_size = sizeof options,
                                  .num_threads = threads,
                                  .alloc = heap ? check_alloc : NULL,
                                  .alloc_user = heap,
                                  .seed = 3};
    CHECK_STATUS(dn_context_create(&context, &options), DN_OK);
    return context;
}

static dn_solver *solver_of(dn_context *context, const char *text, const char *net,
                            int32_t memory, dn_event_fn on_event, void *user)
{
    dn_solver_options options = {.struct_size = sizeof options,
                                 .memory = memory,
                                 .on_event = on_event,
                                 .on_event_user = user};
    return make_solver(context, text, net, &options);
}

/* Products of the update, all of them by `backend`. */
static int strips_of(dn_solver *solver, const char *backend)
{
    char *plan = NULL;
    int found = 0;
    CHECK_STATUS(dn_solver_describe(solver, DN_DESCRIBE_PLAN, &plan), DN_OK);
    for (const char *line = plan; line && (line = strstr(line, " update ")); line++) {
        const char *product = strstr(line, " GEMM "), *end = strchr(line, '\n');
        const char *by = strstr(line, backend);
        found += product && product < end;
        CHECK(!product || product > end || (by && by < product));
    }
    dn_net_text_free(dn_solver_net(solver), plan);
    return found;
}

static dn_blob *weight(dn_solver *solver, const char *layer)
{
    dn_net *net = dn_solver_net(solver);
    return dn_net_layer_param(net, dn_net_find_layer(net, layer), 0);
}

static uint64_t hash_of(const float *values, int64_t count)
{
    uint64_t hash = 14695981039346656037u;
    CHECK(values != NULL);
    for (int64_t i = 0; values && i < count; i++) {
        uint32_t bits;
        memcpy(&bits, &values[i], sizeof bits);
        hash = (hash ^ bits) * 1099511628211u;
    }
    return hash;
}

static uint64_t hash_all(dn_solver *solver)
{
    static const char *const layers[] = {"a", "b", "c"};
    uint64_t hash = 0;
    for (int i = 0; i < 3; i++)
        hash = 3 * hash ^ hash_of(dn_blob_data(weight(solver, layers[i])),
                                  dn_blob_count(weight(solver, layers[i])));
    return hash;
}

/* ---- bits ------------------------------------------------------------------------------- */

static uint64_t trained(int32_t threads, const char *text, const char *net, int32_t memory,
                        int strips)
{
    dn_context *context = context_of(threads, NULL);
    dn_solver *solver = solver_of(context, text, net, memory, NULL, NULL);
    CHECK_INT(strips_of(solver, "cpu:"), strips);
    CHECK_STATUS(dn_solver_step(solver, 3), DN_OK);
    uint64_t hash = hash_all(solver);
    dn_solver_free(solver);
    dn_context_free(context);
    return hash;
}

static void check_bits(void)
{
    static const char *const rules[] = {
        SOLVER "momentum: 0.9",
        SOLVER "type: 'Nesterov' momentum: 0.9",
        SOLVER "type: 'AdaGrad' delta: 1e-3",
        SOLVER "type: 'RMSProp' rms_decay: 0.9 delta: 1e-3",
        SOLVER "type: 'AdaDelta' momentum: 0.9 delta: 1e-3",
        SOLVER "type: 'Adam' momentum: 0.9 momentum2: 0.99 regularization_type: 'L1'",
    };
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        SECTION(rules[i]);
        uint64_t want = trained(1, rules[i], NET(5), DN_MEMORY_READABLE, 0);
        int32_t first = i ? 2 : 1, last = i ? 2 : 3; /* the rule does not know of threads */
        for (int32_t threads = first; threads <= last; threads++)
            CHECK(trained(threads, rules[i], NET(5), DN_MEMORY_COMPACT, STRIPS_A + STRIPS_B) ==
                  want);
    }
    SECTION("the data, which the host may write, as a factor");
    CHECK(trained(2, rules[0], DATA(5) BODY("x"), DN_MEMORY_COMPACT, STRIPS_B) ==
          trained(1, rules[0], DATA(5) BODY("x"), DN_MEMORY_READABLE, 0));
    SECTION("factors that are overwritten in the backward");
    CHECK(trained(1, rules[0], RESIDUALS, DN_MEMORY_COMPACT, 3) ==
          trained(1, rules[0], RESIDUALS, DN_MEMORY_READABLE, 0));
    SECTION("factors larger than what they make");
    CHECK(trained(1, rules[0], NET(300), DN_MEMORY_COMPACT, STRIPS_B) ==
          trained(1, rules[0], NET(300), DN_MEMORY_READABLE, 0));
    SECTION("a batch of many");
    CHECK(trained(2, rules[0], NET(130), DN_MEMORY_COMPACT, STRIPS_A + STRIPS_B) ==
          trained(1, rules[0], NET(130), DN_MEMORY_READABLE, 0));
}

/* What needs all gradients at once, or those of more than one backward. */
static void check_refused(void)
{
    static const char *const texts[] = {
        SOLVER "momentum: 0.9 clip_gradients: 0.1", SOLVER "momentum: 0.9 iter_size: 2",
        SOLVER "momentum: 0.9 larc: true", SOLVER "momentum: 0.9 snapshot_diff: true"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        SECTION(texts[i]);
        CHECK(trained(1, texts[i], NET(5), DN_MEMORY_COMPACT, 0) ==
              trained(1, texts[i], NET(5), DN_MEMORY_READABLE, 0));
    }
}

/* ---- looking ---------------------------------------------------------------------------- */

typedef struct looker {
    bool looks;
    dn_status fails;
    uint64_t seen;
    dn_net *other; /* on the same weights: adds to their gradients first */
} looker;

static dn_status look(void *user, dn_solver *solver, const dn_event *event)
{
    looker *l = user;
    if (event->kind == DN_EVENT_STEP_BEGIN && l->other) {
        CHECK_STATUS(dn_net_forward(l->other, NULL), DN_OK);
        CHECK_STATUS(dn_net_backward(l->other), DN_OK);
    }
    if (event->kind != DN_EVENT_GRADIENTS)
        return DN_OK;
    if (l->looks)
        l->seen = hash_of(dn_blob_diff(weight(solver, "a")), WEIGHT_A) ^
                  hash_of(dn_blob_diff(weight(solver, "b")), WEIGHT_B);
    return l->fails;
}

static void check_looked_at(void)
{
    SECTION("gradients in their event");
    looker at[2] = {{false, DN_OK, 0, NULL}, {false, DN_OK, 0, NULL}};
    dn_context *context = context_of(2, NULL);
    dn_solver *solver[2];
    for (int k = 0; k < 2; k++)
        solver[k] = solver_of(context, SOLVER "momentum: 0.9", NET(5),
                              k ? DN_MEMORY_COMPACT : DN_MEMORY_READABLE, look, &at[k]);
    for (int i = 0; i < 4; i++) {
        at[0].looks = at[1].looks = i % 2;
        for (int k = 0; k < 2; k++)
            CHECK_STATUS(dn_solver_step(solver[k], 1), DN_OK);
        CHECK(at[0].seen == at[1].seen && (at[0].seen != 0) == (i > 0));
        CHECK(hash_all(solver[0]) == hash_all(solver[1]));
    }
    SECTION("steps after the update");
    CHECK(hash_of(dn_blob_diff(weight(solver[0], "b")), WEIGHT_B) ==
          hash_of(dn_blob_diff(weight(solver[1], "b")), WEIGHT_B));
    dn_solver_free(solver[1]);
    solver[1] =
        solver_of(context, SOLVER "momentum: 0.9", NET(5), DN_MEMORY_COMPACT, NULL, NULL);
    CHECK_STATUS(dn_solver_step(solver[1], 1), DN_OK);
    CHECK(!dn_blob_diff(weight(solver[1], "b")));
    CHECK(dn_last_error() && strstr(dn_last_error(), "kept no gradient of 'b/0'"));
    CHECK_STATUS(dn_solver_step(solver[1], 3), DN_OK);
    CHECK(hash_of(dn_blob_diff(weight(solver[0], "b")), WEIGHT_B) ==
          hash_of(dn_blob_diff(weight(solver[1], "b")), WEIGHT_B));
    SECTION("an update, and a sum, without them");
    dn_solver_free(solver[0]);
    solver[0] =
        solver_of(context, SOLVER "momentum: 0.9", NET(5), DN_MEMORY_COMPACT, NULL, NULL);
    dn_net *net = dn_solver_net(solver[0]);
    CHECK_STATUS(dn_solver_step(solver[0], 1), DN_OK);
    CHECK(dn_blob_diff(dn_net_output(net, 0)) != NULL);
    CHECK_STATUS(dn_net_forward(net, NULL), DN_OK);
    CHECK_STATUS(dn_net_backward(net), DN_E_STATE);
    CHECK_STATUS(dn_solver_apply_update(solver[0]), DN_E_STATE);
    CHECK_STATUS(dn_net_clear_gradients(net), DN_OK);
    CHECK_STATUS(dn_net_forward(net, NULL), DN_OK);
    CHECK_STATUS(dn_net_backward(net), DN_OK);
    CHECK_STATUS(dn_solver_apply_update(solver[0]), DN_OK);
    SECTION("zero once they are cleared");
    dn_solver_free(solver[1]);
    solver[1] =
        solver_of(context, SOLVER "momentum: 0.9", NET(5), DN_MEMORY_COMPACT, NULL, NULL);
    CHECK_STATUS(dn_solver_step(solver[1], 1), DN_OK);
    CHECK_STATUS(dn_net_clear_gradients(dn_solver_net(solver[1])), DN_OK);
    const float *zero = dn_blob_diff(weight(solver[1], "a"));
    CHECK(zero && zero[0] == 0 && zero[WEIGHT_A - 1] == 0);
    dn_solver_free(solver[0]);
    dn_solver_free(solver[1]);
    dn_context_free(context);
}

/* A step that ends between backward and update, and what may follow. */
static uint64_t interrupted(int32_t memory, int then)
{
    looker at = {false, DN_E_HOST, 0, NULL};
    dn_context *context = context_of(1, NULL);
    dn_solver *solver = solver_of(context, SOLVER "momentum: 0.9", NET(5), memory, look, &at);
    dn_net *net = dn_solver_net(solver);
    uint64_t before = hash_all(solver);
    CHECK_STATUS(dn_solver_step(solver, 1), DN_E_HOST);
    CHECK(hash_all(solver) == before);
    at.fails = DN_OK;
    if (then == 1) /* the update after all */
        CHECK_STATUS(dn_solver_apply_update(solver), DN_OK);
    if (then == 2) { /* a gradient of two backwards */
        CHECK_STATUS(dn_net_forward(net, NULL), DN_OK);
        CHECK_STATUS(dn_net_backward(net), DN_OK);
        CHECK_STATUS(dn_solver_apply_update(solver), DN_OK);
    }
    if (then == 3) { /* of the second alone, whose update finds it in memory */
        CHECK_STATUS(dn_net_clear_gradients(net), DN_OK);
        CHECK_STATUS(dn_net_forward(net, NULL), DN_OK);
        CHECK_STATUS(dn_net_backward(net), DN_OK);
        CHECK_STATUS(dn_solver_apply_update(solver), DN_OK);
    }
    if (then == 4) { /* by layers */
        CHECK_STATUS(dn_net_forward(net, NULL), DN_OK);
        CHECK_STATUS(dn_net_backward_range(net, dn_net_num_layers(net) - 1, 3), DN_OK);
        CHECK_STATUS(dn_solver_apply_update(solver), DN_OK);
    }
    CHECK_STATUS(dn_solver_step(solver, 2), DN_OK);
    uint64_t hash = hash_all(solver);
    dn_solver_free(solver);
    dn_context_free(context);
    return hash;
}

static uint64_t added_to(int32_t memory)
{
    looker at = {false, DN_OK, 0, NULL};
    dn_context *context = context_of(1, NULL);
    dn_solver *solver = solver_of(context, SOLVER "momentum: 0.9", NET(5), memory, look, &at);
    dn_solver *other = solver_of(context, SOLVER, NET(5), DN_MEMORY_READABLE, NULL, NULL);
    CHECK_STATUS(dn_net_share_weights(dn_solver_net(other), dn_solver_net(solver)), DN_OK);
    at.other = dn_solver_net(other);
    CHECK_STATUS(dn_solver_step(solver, 2), DN_OK);
    uint64_t hash = hash_all(solver);
    dn_solver_free(other);
    dn_solver_free(solver);
    dn_context_free(context);
    return hash;
}

/* ---- bf16 ------------------------------------------------------------------------------- */

/* Ops in bf16 by `ref`. Products round what they multiply, as those of machines do that have
 * them in bf16; `ref` itself multiplies what it is given. */
struct dn_op {
    dn_op *by_ref;
    int32_t num_inputs;
    int64_t count[2]; /* of f32 to be rounded; 0: none is */
    size_t scratch;   /* of by_ref */
};

static dn_status round_create(dn_backend *backend, const dn_op_desc *desc, dn_op **out,
                              dn_op_info *info)
{
    bool product = desc->kind >= DN_OP_GEMM && desc->kind <= DN_OP_CONV_BWD_WEIGHTS;
    bool narrow = product && desc->compute == DN_COMPUTE_BF16;
    for (int32_t k = 0; k < desc->num_inputs; k++)
        narrow |= desc->inputs[k].dtype == DN_BF16;
    for (int32_t k = 0; k < desc->num_outputs; k++)
        narrow |= desc->outputs[k].dtype == DN_BF16;
    dn_op *op = narrow ? calloc(1, sizeof *op) : NULL;
    if (!op)
        return DN_DECLINED;
    dn_status st = dn_ref_backend.op_create(backend, desc, &op->by_ref, info);
    if (st) {
        free(op);
        return st;
    }
    op->num_inputs = desc->num_inputs;
    op->scratch = (info->scratch + 63) / 64 * 64;
    for (int k = 0; k < 2 && desc->kind == DN_OP_GEMM; k++) {
        const dn_operand *operand = &desc->inputs[k];
        op->count[k] = operand->dtype == DN_F32;
        for (int32_t i = 0; i < operand->shape.axes; i++)
            op->count[k] *= operand->shape.dim[i];
    }
    info->scratch = op->scratch + 4 * (size_t)(op->count[0] + op->count[1]);
    info->compute = desc->compute;
    snprintf(info->implementation, sizeof info->implementation, "rounding");
    *out = op;
    return DN_OK;
}

static dn_status round_run(dn_op *op, const dn_op_io *io)
{
    void *in[DN_MAX_OPERANDS];
    dn_op_io rounded = *io;
    uint32_t *to = (uint32_t *)((char *)io->scratch + op->scratch);
    if (!op->count[0] && !op->count[1])
        return dn_ref_backend.op_run(op->by_ref, io);
    rounded.in = in;
    memcpy(in, io->in, (size_t)op->num_inputs * sizeof *in);
    for (int k = 0; k < 2; to += op->count[k++]) {
        const uint32_t *from = io->in[k];
        for (int64_t i = 0; i < op->count[k]; i++)
            to[i] = (from[i] + 0x7FFF + (from[i] >> 16 & 1)) & 0xFFFF0000u;
        in[k] = op->count[k] ? to : in[k];
    }
    return dn_ref_backend.op_run(op->by_ref, &rounded);
}

static void round_destroy(dn_op *op)
{
    dn_ref_backend.op_destroy(op->by_ref);
    free(op);
}

static uint64_t trained_narrow(const char *net, int32_t memory, bool looks, int strips)
{
    looker at = {looks, DN_OK, 0, NULL};
    dn_backend_ops rounding = dn_ref_backend;
    rounding.name = "rounding";
    rounding.op_create = round_create;
    rounding.op_run = round_run;
    rounding.op_destroy = round_destroy;
    rounding.op_prepare = NULL;
    dn_context *context = NULL;
    dn_context_options options = {.struct_size = sizeof options,
                                  .num_threads = 2,
                                  .backend = &rounding,
                                  .backends = "cpu,ref",
                                  .seed = 3};
    dn_solver_options o = {.struct_size = sizeof o,
                           .memory = memory,
                           .compute = DN_COMPUTE_BF16,
                           .on_event = look,
                           .on_event_user = &at};
    CHECK_STATUS(dn_context_create(&context, &options), DN_OK);
    dn_solver *solver = make_solver(context, SOLVER "momentum: 0.9", net, &o);
    CHECK_INT(strips_of(solver, "rounding"), strips);
    CHECK_STATUS(dn_solver_step(solver, 2), DN_OK);
    uint64_t hash = hash_all(solver);
    dn_solver_free(solver);
    dn_context_free(context);
    return hash;
}

static void check_narrow(void)
{
    SECTION("bf16");
    uint64_t want = trained_narrow(NET(5), DN_MEMORY_READABLE, false, 0);
    CHECK(trained_narrow(NET(5), DN_MEMORY_COMPACT, false, STRIPS_A + STRIPS_B) == want);
    CHECK(trained_narrow(NET(5), DN_MEMORY_COMPACT, true, STRIPS_A + STRIPS_B) == want);
    CHECK(trained(1, SOLVER "momentum: 0.9", NET(5), DN_MEMORY_READABLE, 0) != want);
    SECTION("bf16: values that lie so");
    want = trained_narrow(MIXED, DN_MEMORY_COMPACT, true, STRIPS_A + STRIPS_B);
    CHECK(trained_narrow(MIXED, DN_MEMORY_COMPACT, false, STRIPS_A + STRIPS_B) == want);
}

/* ---- other shapes, other weights, no memory --------------------------------------------- */

static void feed(dn_solver *solver, int64_t items)
{
    static float x[8 * 300], t[8];
    uint32_t state = 7;
    dn_net *net = dn_solver_net(solver);
    int64_t dims[2] = {items, 300};
    for (int i = 0; i < 8 * 300; i++)
        x[i] = 2 * next_number(&state) - 1;
    for (int i = 0; i < 8; i++)
        t[i] = (float)(i % 3);
    CHECK_STATUS(dn_blob_reshape(dn_net_blob(net, "x"), dims, 2), DN_OK);
    CHECK_STATUS(dn_blob_reshape(dn_net_blob(net, "t"), dims, 1), DN_OK);
    CHECK_STATUS(dn_net_reshape(net), DN_OK);
    CHECK_STATUS(dn_blob_write(dn_net_blob(net, "x"), x, items * 300), DN_OK);
    CHECK_STATUS(dn_blob_write(dn_net_blob(net, "t"), t, items), DN_OK);
}

static uint64_t moved(int32_t memory, check_heap *heap, bool starve)
{
    dn_context *context = context_of(1, heap);
    dn_solver *solver = solver_of(context, SOLVER "momentum: 0.9", FED, memory, NULL, NULL);
    dn_solver *other = solver_of(context, SOLVER "momentum: 0.9", FED, memory, NULL, NULL);
    feed(solver, 8);
    CHECK_STATUS(dn_solver_step(solver, 1), DN_OK);
    feed(solver, 6);
    CHECK_STATUS(dn_net_share_weights(dn_solver_net(solver), dn_solver_net(other)), DN_OK);
    CHECK((step_starved(solver, heap, starve) > 2) == starve);
    CHECK_STATUS(dn_solver_step(solver, 1), DN_OK);
    uint64_t hash = hash_all(solver);
    dn_solver_free(other);
    dn_solver_free(solver);
    dn_context_free(context);
    CHECK_HEAP_CLEAN(heap);
    return hash;
}

#define CHAIN INPUTS WIDE("i", "x") WIDE("a", "i") WIDE("b", "a") WIDE("c", "b") LOSS_OF("c")

/* Two weights become one, whose gradients are a sum; then all is planned anew. */
static uint64_t met(int32_t memory)
{
    static const char source[] =
        "layer { name: 'x' type: 'Input' top: 'x' input_param { shape { dim: 4 dim: 520 } } } "
        "layer { name: 'a' type: 'InnerProduct' bottom: 'x' top: 'a' param { name: 'w' } "
        "  inner_product_param { num_output: 520 weight_filler { type: 'xavier' } } } "
        "layer { name: 'b' type: 'InnerProduct' bottom: 'a' top: 'b' param { name: 'w' } "
        "  inner_product_param { num_output: 520 } } ";
    dn_net_options options = {.struct_size = sizeof options, .phase = DN_PHASE_TRAIN};
    dn_context *context = context_of(1, NULL);
    dn_solver *solver = solver_of(context, SOLVER "momentum: 0.9", CHAIN, memory, NULL, NULL);
    dn_net *from = NULL;
    feed(solver, 8);
    CHECK_STATUS(dn_solver_step(solver, 1), DN_OK);
    CHECK_STATUS(dn_net_create_from_text(&from, context, source, sizeof source - 1, &options),
                 DN_OK);
    CHECK_STATUS(dn_net_share_weights(dn_solver_net(solver), from), DN_OK);
    CHECK_STATUS(dn_solver_step(solver, 1), DN_OK);
    feed(solver, 5);
    CHECK_STATUS(dn_solver_step(solver, 1), DN_OK);
    uint64_t hash = hash_all(solver);
    dn_net_free(from);
    dn_solver_free(solver);
    dn_context_free(context);
    return hash;
}

/* Gradients that nothing updates. */
static void check_frozen(void)
{
    static const char net[] = "force_backward: true " DATA(4) POWER
        "layer { name: 'a' type: 'InnerProduct' bottom: 'p' top: 'a' param { lr_mult: 0 } "
        "  param { lr_mult: 0 } inner_product_param { num_output: 1300 } } "
        "layer { name: 'l' type: 'SoftmaxWithLoss' bottom: 'a' bottom: 't' top: 'l' } ";
    dn_context *context = context_of(1, NULL);
    dn_solver *solver = solver_of(context, SOLVER, net, DN_MEMORY_COMPACT, NULL, NULL);
    CHECK_INT(strips_of(solver, ""), 0);
    CHECK_STATUS(dn_solver_step(solver, 1), DN_OK);
    dn_solver_free(solver);
    dn_context_free(context);
}

static int64_t held(int32_t memory)
{
    check_heap heap = {0};
    dn_net_memory m = {.struct_size = sizeof m};
    dn_context *context = context_of(1, &heap);
    dn_solver *solver = solver_of(context, SOLVER "momentum: 0.9", NET(5), memory, NULL, NULL);
    CHECK_STATUS(dn_solver_step(solver, 2), DN_OK);
    CHECK_STATUS(dn_net_memory_report(dn_solver_net(solver), &m), DN_OK);
    size_t all = 4 * (WEIGHT_A + 1300 + WEIGHT_B + 420 + 420 * 3 + 3);
    size_t made = 4 * (WEIGHT_A + WEIGHT_B);
    CHECK_INT(m.weights, all);
    CHECK_INT(m.weight_gradients, memory == DN_MEMORY_COMPACT ? all - made : all);
    int64_t peak = heap.peak_bytes;
    dn_solver_free(solver);
    dn_context_free(context);
    return peak;
}

int main(void)
{
    check_bits();
    check_refused();
    check_looked_at();
    for (int then = 0; then <= 4; then++) {
        SECTION("a failure between backward and update");
        CHECK(interrupted(DN_MEMORY_COMPACT, then) == interrupted(DN_MEMORY_READABLE, then));
    }
    check_narrow();
    SECTION("gradients of another net");
    CHECK(added_to(DN_MEMORY_COMPACT) == added_to(DN_MEMORY_READABLE));
    SECTION("another batch, another's weights");
    check_heap heap = {0};
    uint64_t want = moved(DN_MEMORY_READABLE, &heap, false);
    CHECK(moved(DN_MEMORY_COMPACT, &heap, false) == want);
    SECTION("two weights become one");
    CHECK(met(DN_MEMORY_COMPACT) == met(DN_MEMORY_READABLE));
    SECTION("no weight is trained");
    check_frozen();
    SECTION("no memory");
    CHECK(moved(DN_MEMORY_COMPACT, &heap, true) == want);
    SECTION("memory");
    CHECK(held(DN_MEMORY_COMPACT) < held(DN_MEMORY_READABLE) - 2 * (WEIGHT_A + WEIGHT_B));
    return check_summary();
}
