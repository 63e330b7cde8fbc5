/* SPDX-License-Identifier: BSD-2-Clause
 * test_branches.c: which ops run side by side, that they then have nothing in common, that the
 * bits stay, and what a failure in the middle of it says.
 */
#include <pthread.h>
#include <stdatomic.h>

#include "nets.h"

#include "plan/steps.h"

extern const dn_backend_ops dn_ref_backend;

/* ---- a backend all of whose ops are as dear and want scratch ----------------------------- */

static dn_backend_ops needy;
static pthread_t host_thread;
static int fails; /* whatever is not run by the host's own thread */

static dn_status needy_create(dn_backend *backend, const dn_op_desc *desc, dn_op **out,
                              dn_op_info *info)
{
    dn_status st = dn_ref_backend.op_create(backend, desc, out, info);
    info->cost = 20e3;
    info->scratch += 100;
    return st;
}

static dn_status needy_run(dn_op *op, const dn_op_io *io)
{
    if (fails && !pthread_equal(pthread_self(), host_thread))
        return dni_fail(DN_E_DATA, "the lane is lost");
    return dn_ref_backend.op_run(op, io);
}

/* ---- ways to run tasks ------------------------------------------------------------------- */

typedef struct task {
    void (*body)(void *arg, int64_t task, int32_t worker);
    void *arg;
    int64_t index;
} task;

static void *run_task(void *arg)
{
    task *t = arg;
    t->body(t->arg, t->index, 1);
    return NULL;
}

static int nested;

/* One after the other, but from another thread; not to be called from inside. */
static void elsewhere(void *user, int64_t tasks,
                      void (*body)(void *arg, int64_t task, int32_t worker), void *arg)
{
    (void)user;
    CHECK(!nested++);
    for (int64_t i = 0; i < tasks; i++) {
        pthread_t thread;
        task t = {body, arg, i};
        CHECK(!pthread_create(&thread, NULL, run_task, &t));
        pthread_join(thread, NULL);
    }
    nested--;
}

static dn_context *context_with(int32_t threads, bool lent, bool is_needy)
{
    dn_context *context = NULL;
    needy = dn_ref_backend;
    needy.name = "needy";
    needy.op_create = needy_create;
    needy.op_run = needy_run;
    dn_context_options o = {.struct_size = sizeof o,
                            .num_threads = threads,
                            .parallel_for = lent ? elsewhere : NULL,
                            .backend = is_needy ? &needy : NULL,
                            .backends = is_needy ? "ref" : NULL,
                            .seed = 7};
    CHECK_STATUS(dn_context_create(&context, &o), DN_OK);
    return context;
}

/* ---- workers in a lane ------------------------------------------------------------------- */

static void inner(void *arg, int64_t index, int32_t worker)
{
    (void)index;
    *(int32_t *)arg = worker;
}

static atomic_int strangers;

static void outer(void *arg, int64_t index, int32_t worker)
{
    (void)index;
    for (int64_t tasks = 1; tasks < 3; tasks++) {
        int32_t found = -1;
        dni_parallel(arg, tasks, inner, &found);
        strangers += found != worker;
    }
}

/* What an op in a lane runs, be it one task, is its lane's worker's. */
static void check_workers(bool lent)
{
    dn_context *context = context_with(2, lent, false);
    strangers = 0;
    dni_parallel(context, 64, outer, context);
    CHECK_INT(strangers, 0);
    dn_context_free(context);
}

/* ---- programs ---------------------------------------------------------------------------- */

typedef struct bed {
    dn_context *context;
    dni_program program;
    dni_base base;
    dni_steps steps;
} bed;

static dni_tensor value(bed *b, dni_role role)
{
    dni_tensor_info info = {.role = role, .dtype = DN_F32, .storage = DNI_NONE, .blob = -1};
    info.shape = (dni_shape){.axes = 1, .dim = {1000}};
    return dni_program_tensor(&b->program, &info);
}

static void emit(bed *b, int32_t kind, dni_tensor x, dni_tensor y, uint32_t accumulate)
{
    dni_op *op = dni_program_op(&b->program, kind, DNI_FORWARD, 0);
    op->num_inputs = x == DNI_NONE ? 0 : 1;
    op->inputs[0] = x;
    op->num_outputs = 1;
    op->outputs[0] = y;
    op->args->accumulate = accumulate;
    if (kind == DN_OP_UNARY)
        ((dn_args_unary *)op->args)->fn = DN_FN_RELU;
}

static void chain(bed *b, dni_tensor x, dni_tensor y, uint32_t accumulate)
{
    dni_tensor t = value(b, DNI_TEMP);
    emit(b, DN_OP_UNARY, x, t, 0);
    emit(b, DN_OP_UNARY, t, y, accumulate);
}

static void begin(bed *b, dn_context *context)
{
    *b = (bed){.context = context};
    dni_program_init(&b->program, dni_context_heap(context));
}

/* What one lane writes, no other touches: by memory, when all is placed. */
static void check_apart(const bed *b, const dni_group *g)
{
    const dni_steps *s = &b->steps;
    for (size_t i = g->first; i < g->end; i++)
        for (size_t k = g->first; k < g->end; k++) {
            const dni_op *p = &b->program.ops[i], *q = &b->program.ops[k];
            if (s->lane[i] == s->lane[k])
                continue;
            char *y = dni_steps_memory(s, p->outputs[0]);
            char *others[] = {dni_steps_memory(s, q->inputs[0]),
                              dni_steps_memory(s, q->outputs[0])};
            for (int n = 0; n < 2; n++)
                CHECK(y + 4000 <= others[n] || others[n] + 4000 <= y);
            size_t at = s->scratch_at[i], other = s->scratch_at[k];
            CHECK(at % 64 == 0 && (at + 100 <= other || other + 100 <= at));
            CHECK(at + 100 <= s->scratch_size);
        }
}

/* Ops [0, end) are a group of so many lanes; 0: there is none. */
static void end(bed *b, size_t ops, int32_t lanes)
{
    dni_steps *s = &b->steps;
    CHECK_STATUS(dni_base_init(&b->base, &b->program, true), DN_OK);
    CHECK_STATUS(dni_base_place(&b->base, &b->program), DN_OK);
    CHECK_STATUS(dni_steps_compile(s, b->context, &b->program, &b->base, true), DN_OK);
    CHECK_STATUS(dni_steps_bind(s, DNI_FORWARD), DN_OK);
    CHECK_INT(s->num_groups, lanes > 0);
    if (lanes && s->num_groups) {
        CHECK_INT(s->groups->first, 0);
        CHECK_INT(s->groups->end, ops);
        CHECK_INT(s->groups->lanes, lanes);
        check_apart(b, s->groups);
    }
    dni_steps_free(s);
    dni_base_free(&b->base);
    dni_program_free(&b->program);
}

static void check_groups(dn_context *context, int32_t threads)
{
    bed b;
    dni_tensor x, y, z;
    SECTION("two chains");
    begin(&b, context);
    x = value(&b, DNI_DATA), y = value(&b, DNI_DATA), z = value(&b, DNI_DATA);
    chain(&b, x, y, 0);
    chain(&b, x, z, 0);
    end(&b, 4, threads > 1 ? 2 : 0);
    SECTION("two chains, mixed, and what joins them");
    begin(&b, context);
    dni_tensor t = value(&b, DNI_TEMP), u = value(&b, DNI_TEMP);
    x = value(&b, DNI_DATA), y = value(&b, DNI_DATA), z = value(&b, DNI_DATA);
    emit(&b, DN_OP_UNARY, x, t, 0);
    emit(&b, DN_OP_UNARY, x, u, 0);
    emit(&b, DN_OP_UNARY, u, z, 0);
    emit(&b, DN_OP_UNARY, t, y, 0);
    emit(&b, DN_OP_UNARY, y, x, 0);
    emit(&b, DN_OP_UNARY, z, x, 0);
    end(&b, 4, threads > 1 ? 2 : 0);
    SECTION("more chains than threads");
    begin(&b, context);
    x = value(&b, DNI_DATA);
    for (int i = 0; i < 6; i++)
        chain(&b, x, value(&b, DNI_DATA), 0);
    end(&b, 12, threads > 1 ? threads : 0);
    SECTION("both add to one sum");
    begin(&b, context);
    x = value(&b, DNI_DATA), y = value(&b, DNI_DATA), z = value(&b, DNI_DATA);
    emit(&b, DN_OP_UNARY, x, z, 1);
    emit(&b, DN_OP_UNARY, y, z, 1);
    end(&b, 0, 0);
    SECTION("one overwrites what the other reads, one in place");
    begin(&b, context);
    x = value(&b, DNI_DATA), y = value(&b, DNI_DATA);
    emit(&b, DN_OP_UNARY, x, y, 0);
    emit(&b, DN_OP_UNARY, x, x, 0);
    end(&b, 0, 0);
    SECTION("a view");
    begin(&b, context);
    x = value(&b, DNI_DATA), y = value(&b, DNI_DATA), z = value(&b, DNI_DATA);
    dni_tensor_info view = b.program.tensors[y];
    view.storage = y;
    dni_tensor seen = dni_program_tensor(&b.program, &view);
    emit(&b, DN_OP_UNARY, x, y, 0);
    emit(&b, DN_OP_UNARY, seen, z, 0);
    end(&b, 0, 0);
}

/* ---- nets -------------------------------------------------------------------------------- */

#define PICTURE IN("x", "dim: 1 dim: 16 dim: 16 dim: 16")
#define BIG(name, bottom, shared)                                                              \
    LAYER(name, "Convolution", bottom, name,                                                   \
          shared " convolution_param { num_output: 16 kernel_size: 3 pad: 1 "                  \
                 "weight_filler { type: 'gaussian' std: 0.1 } } ")
#define DROP(blob) ON(blob, blob "_d", "Dropout", "")
/* Branches with work in place, random numbers, and a weight that both have. */
#define BRANCHES_OF(shared)                                                                    \
    PICTURE BIG("a", "x", shared) RELU("a") DROP("a") BIG("b", "a", "") BIG("c", "b", "")      \
        BIG("p", "x", shared) DROP("p") RELU("p") BIG("q", "p", "") BIG("r", "q", "")          \
            SUM("c", "r", "y") RELU("y") IN("t", "dim: 1")                                     \
                LAYER("ip", "InnerProduct", "y", "ip",                                         \
                      "inner_product_param { num_output: 4 weight_filler { "                   \
                      "type: 'gaussian' std: 0.1 } } ") "layer { name: 'loss' type: "          \
                                                        "'SoftmaxWithLoss' bottom: 'ip' "      \
                                                        "bottom: 't' top: 'loss' } "
#define BRANCHES BRANCHES_OF("param { name: 'w' }")

static int grouped(const dn_net *net)
{
    int count = 0;
    size_t first, last;
    for (size_t i = 0; i < dni_plan_program(net->plan)->num_ops; i++)
        count += dni_plan_lane(net->plan, i, &first, &last) >= 0;
    return count;
}

static void same_bits(dn_blob *p, dn_blob *q, bool diff)
{
    const float *a = diff ? dn_blob_diff(p) : dn_blob_data(p);
    const float *b = diff ? dn_blob_diff(q) : dn_blob_data(q);
    CHECK_AT(a && b && !memcmp(a, b, (size_t)dn_blob_count(p) * sizeof *a), "%s has other bits",
             dn_blob_name(p));
}

static void same_nets(dn_net *net, dn_net *truth)
{
    same_bits(dn_net_blob(net, "loss"), dn_net_blob(truth, "loss"), false);
    for (size_t i = 0; i < net->num_params; i++)
        same_bits(&net->params[i]->blob, &truth->params[i]->blob, true);
}

static void step(dn_net *net)
{
    CHECK_STATUS(dn_net_clear_gradients(net), DN_OK);
    CHECK_STATUS(dn_net_forward(net, NULL), DN_OK);
    CHECK_STATUS(dn_net_backward(net), DN_OK);
}

static void check_bits(bool is_needy, int32_t memory)
{
    dn_context *contexts[5];
    dn_net *nets[5];
    for (int i = 0; i < 5; i++) {
        contexts[i] = context_with(i < 3 ? i + 1 : i - 1, i > 2, is_needy);
        nets[i] = net_of(contexts[i], BRANCHES, DN_PHASE_TRAIN, memory);
        CHECK((grouped(nets[i]) > 0) == (i > 0));
    }
    for (int run = 0; run < 3; run++)
        for (int i = 0; i < 5; i++) {
            step(nets[i]);
            same_nets(nets[i], nets[0]);
        }
    for (int i = 0; i < 5; i++) {
        dn_net_free(nets[i]);
        dn_context_free(contexts[i]);
    }
}

static void check_failure(void)
{
    dn_context *context = context_with(2, true, true), *plain = context_with(1, false, true);
    dn_net *net = net_of(context, BRANCHES, DN_PHASE_TRAIN, DN_MEMORY_READABLE);
    dn_net *truth = net_of(plain, BRANCHES, DN_PHASE_TRAIN, DN_MEMORY_READABLE);
    fails = 1;
    CHECK_MESSAGE(dn_net_forward(net, NULL), DN_E_DATA, "layer 'a'");
    CHECK_MESSAGE(dn_net_forward(net, NULL), DN_E_DATA, "the lane is lost");
    fails = 0;
    for (int i = 0; i < 2; i++)
        CHECK_STATUS(dn_net_forward(truth, NULL), DN_OK);
    step(net);
    step(truth);
    same_nets(net, truth);
    dn_net_free(net);
    dn_net_free(truth);
    dn_context_free(context);
    dn_context_free(plain);
}

/* A net whose weights become one by another's. */
static void check_one_memory(void)
{
    dn_context *context = context_with(2, false, true), *plain = context_with(1, false, true);
    dn_net *source = net_of(context, BRANCHES, DN_PHASE_TRAIN, DN_MEMORY_READABLE);
    dn_net *net = net_of(context, BRANCHES_OF(""), DN_PHASE_TRAIN, DN_MEMORY_READABLE);
    dn_net *truth = net_of(plain, BRANCHES, DN_PHASE_TRAIN, DN_MEMORY_READABLE);
    step(net);
    step(truth);
    CHECK_STATUS(dn_net_share_weights(net, source), DN_OK);
    CHECK_INT(grouped(net), 0);
    step(net);
    step(truth);
    same_bits(dn_net_blob(net, "loss"), dn_net_blob(truth, "loss"), false);
    for (size_t i = 0; i < net->num_layers; i++)
        for (int32_t k = 0; k < net->layers[i].layer.num_weights; k++)
            same_bits(&net->params[net->layers[i].params[k]]->blob,
                      &truth->params[truth->layers[i].params[k]]->blob, true);
    dn_net_free(source);
    dn_net_free(net);
    dn_net_free(truth);
    dn_context_free(context);
    dn_context_free(plain);
}

int main(void)
{
    host_thread = pthread_self();
    for (int32_t threads = 1; threads <= 4; threads++) {
        dn_context *context = context_with(threads, false, true);
        check_groups(context, threads);
        dn_context_free(context);
    }
    SECTION("workers");
    check_workers(false);
    check_workers(true);
    SECTION("bits");
    for (int32_t memory = DN_MEMORY_READABLE; memory <= DN_MEMORY_COMPACT; memory++) {
        check_bits(true, memory);
        check_bits(false, memory);
    }
    SECTION("two weights in one memory");
    check_one_memory();
    SECTION("a failure in a lane");
    check_failure();
    return check_summary();
}
