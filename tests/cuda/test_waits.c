/* SPDX-License-Identifier: BSD-2-Clause
 * test_waits.c: how often a host waits for the device while it trains, over the fakes, which
 * count it: never in a step, once for each loss that somebody reads. Nor is memory taken or
 * given back, or anything recorded, once a step has been recorded. test_waits FOLDER LMDB */
#include <dlfcn.h>

#include "fake_cuda.h"
#include "solver_text.h"

enum { FIRST = 9, STEPS = 10 }; /* until all is recorded, the display and the test too; then */

static const char *folder;
static fake_cuda_control *fake;
static long (*live)(void);
static float images[DIGITS * DIGIT_SIZE], labels[DIGITS];

#define SOLVER "base_lr: 0.01 lr_policy: 'inv' gamma: 0.1 power: 0.75 momentum: 0.9 "
#define MEMORY                                                                                 \
    "layer { name: 'd' type: 'MemoryData' top: 'd' top: 't' memory_data_param { "              \
    "  batch_size: 16 channels: 1 height: 16 width: 16 } } "
#define INPUT                                                                                  \
    "layer { name: 'd' type: 'Input' top: 'd' top: 't' input_param { shape { dim: 16 dim: 1 "  \
    "  dim: 16 dim: 16 } shape { dim: 16 } } } "
#define DATABASE                                                                               \
    "layer { name: 'd' type: 'Data' top: 'd' top: 't' data_param { source: '%s' "              \
    "  backend: LMDB batch_size: 24 } } "
/* LeNet's layers, on less. */
#define LENET                                                                                  \
    "layer { name: 'c1' type: 'Convolution' bottom: 'd' top: 'c1' convolution_param { "        \
    "  num_output: 4 kernel_size: 5 stride: 2 weight_filler { type: 'xavier' } } } "           \
    "layer { name: 'p1' type: 'Pooling' bottom: 'c1' top: 'p1' pooling_param { "               \
    "  kernel_size: 2 stride: 2 } } "                                                          \
    "layer { name: 'c2' type: 'Convolution' bottom: 'p1' top: 'c2' convolution_param { "       \
    "  num_output: 12 kernel_size: 3 weight_filler { type: 'xavier' } } } "                    \
    "layer { name: 'i1' type: 'InnerProduct' bottom: 'c2' top: 'i1' inner_product_param { "    \
    "  num_output: 40 weight_filler { type: 'xavier' } } } "                                   \
    "layer { name: 'r1' type: 'ReLU' bottom: 'i1' top: 'i1' } "                                \
    "layer { name: 'i2' type: 'InnerProduct' bottom: 'i1' top: 'i2' inner_product_param { "    \
    "  num_output: 10 weight_filler { type: 'xavier' } } } "                                   \
    "layer { name: 'loss' type: 'SoftmaxWithLoss' bottom: 'i2' bottom: 't' top: 'loss' } "
/* All of them pass: the host sees so in each step. */
#define FILTER(from, to)                                                                       \
    "layer { name: 'a" to "' type: 'Power' bottom: 't' top: 'a" to "' power_param { "          \
    "  scale: 0 shift: 1 } } "                                                                 \
    "layer { name: '" to "' type: 'Filter' bottom: '" from "' bottom: 'a" to "' top: '" to     \
    "' } "                                                                                     \
    "layer { name: 'r" to "' type: 'ReLU' bottom: '" to "' top: '" to "' } "
#define OF_FILTERED(top)                                                                       \
    "layer { name: 'of' type: 'SoftmaxWithLoss' bottom: '" top "' bottom: 't' top: 'of' } "
#define TESTED                                                                                 \
    "layer { name: 'right' type: 'Accuracy' bottom: 'i2' bottom: 't' top: 'right' "            \
    "  include { phase: TEST } } "

typedef struct waits {
    long waits, held_up, replays;
} waits;

static waits now(void)
{
    return (waits){fake->waits + fake->paced, fake->held_up, fake->replays};
}

static dn_solver *make(dn_context *context, const char *text, const char *net,
                       const dn_solver_options *options)
{
    dn_solver *solver = make_solver(context, text, net, options);
    dn_net *nets[2] = {dn_solver_net(solver), dn_solver_test_net(solver, 0)};
    for (int i = 0; i < 2; i++)
        if (nets[i] && strstr(net, "MemoryData"))
            CHECK_STATUS(dn_net_set_memory_data(nets[i], NULL, images, labels, DIGITS), DN_OK);
    return solver;
}

static dn_context *make_context(int32_t device, int32_t plan)
{
    dn_context_options options = {.struct_size = sizeof options,
                                  .num_threads = 1,
                                  .device = device,
                                  .plan = plan,
                                  .module_folder = folder,
                                  .backends = "ref"};
    dn_context *context = NULL;
    CHECK_STATUS(dn_context_create(&context, &options), DN_OK);
    if (!context)
        exit(check_summary());
    return context;
}

/* What the host writes before each step, where it feeds the net. */
static void feed(dn_solver *solver)
{
    dn_blob *x = dn_net_blob(dn_solver_net(solver), "d");
    dn_blob *t = dn_net_blob(dn_solver_net(solver), "t");
    if (dn_net_num_inputs(dn_solver_net(solver)) == 0)
        return;
    CHECK_STATUS(dn_blob_write(x, images, 16 * DIGIT_SIZE), DN_OK);
    CHECK_STATUS(dn_blob_write(t, labels, 16), DN_OK);
}

static const struct {
    const char *name, *solver, *net;
    long each;    /* STEPS steps wait so often; */
    long read;    /* and who reads the loss then */
    long replays; /* of a step; 0: at least one. A plain backward adds to zeros that are
                     written before it */
    int32_t plan;
} all[] = {
    {"from memory", SOLVER, MEMORY LENET, 0, 1},
    {"fed by the host", SOLVER, INPUT LENET, 0, 1},
    {"from a database", SOLVER, DATABASE LENET, 0, 1},
    {"a mean of losses", SOLVER "average_loss: 7", MEMORY LENET, 0, 1},
    {"several passes an iteration", SOLVER "iter_size: 3", MEMORY LENET, 0, 1},
    {"clipped", SOLVER "clip_gradients: 1 weight_decay: 0.1", MEMORY LENET, 0, 1},
    {"display", SOLVER "display: 5", MEMORY LENET, STEPS / 5, 1},
    /* each pass of a test has a loss and an accuracy that are summed up on the host, together
     */
    {"with a test net", SOLVER "test_interval: 5 test_iter: 3 test_initialization: false",
     MEMORY LENET TESTED, STEPS / 5 * 3, 1},
    {"plain", SOLVER, MEMORY LENET, 0, 1, 2, DN_PLAN_PLAIN},
    {"a shape that is found as it runs", SOLVER,
     MEMORY LENET FILTER("i2", "f1") OF_FILTERED("f1"), STEPS, 2, 3},
    {"more parts than are kept", SOLVER,
     MEMORY LENET FILTER("i2", "f1") FILTER("f1", "f2") FILTER("f2", "f3") FILTER("f3", "f4")
         FILTER("f4", "f5") FILTER("f5", "f6") OF_FILTERED("f6"),
     STEPS * 6, 2},
};

/* A forward is as many replays as the plan says. */
static void check_plan(dn_net *net)
{
    char *text = NULL;
    CHECK_STATUS(dn_net_describe(net, DN_DESCRIBE_PLAN, &text), DN_OK);
    long said = 0, before = 0;
    for (const char *at = text; (at = strstr(at, "\nfwd: steps ")); at++)
        said++;
    dn_net_text_free(net, text);
    for (int i = 0; i < 3; i++) {
        before = fake->replays;
        CHECK_STATUS(dn_net_forward(net, NULL), DN_OK);
    }
    CHECK_INT(fake->replays - before, said);
}

static void check_steps(const char *lmdb)
{
    char net[4096];
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        SECTION(all[i].name);
        *fake = (fake_cuda_control){.soon = 1};
        snprintf(net, sizeof net, all[i].net, lmdb);
        dn_context *context = make_context(1, all[i].plan);
        dn_solver *solver = make(context, all[i].solver, net, NULL);
        for (int step = 0; step < FIRST; step++) {
            feed(solver);
            CHECK_STATUS(dn_solver_step(solver, 1), DN_OK);
        }
        waits before = now();
        for (int step = 0; step < STEPS; step++) {
            feed(solver);
            CHECK_STATUS(dn_solver_step(solver, 1), DN_OK);
        }
        waits after = now();
        CHECK_INT(after.waits - before.waits, all[i].each);
        CHECK_INT(after.held_up - before.held_up, 0);
        CHECK(after.replays - before.replays >= STEPS);
        if (all[i].replays)
            CHECK_INT(after.replays - before.replays, STEPS * all[i].replays);
        (void)dn_solver_loss(solver);
        CHECK_INT(now().waits - after.waits, all[i].read);
        check_plan(dn_solver_net(solver));
        size_t home = fake->copied[2];
        dn_solver_free(solver);
        CHECK_INT(fake->copied[2] - home, 0);
        dn_context_free(context);
        CHECK_INT(live(), 0);
    }
}

/* Weights stay on the device, whatever the net is planned for. */
static void check_reshape(void)
{
    static const char text[] =
        "layer { name: 'x' type: 'Input' top: 'x' input_param { shape { dim: 4 dim: 64 } } }"
        "layer { name: 'a' type: 'InnerProduct' bottom: 'x' top: 'a' inner_product_param { "
        "  num_output: 500 weight_filler { type: 'xavier' } } }";
    SECTION("another shape");
    *fake = (fake_cuda_control){.soon = 1};
    dn_context *context = make_context(1, DN_PLAN_FUSED);
    dn_net *net = NULL;
    CHECK_STATUS(dn_net_create_from_text(&net, context, text, strlen(text), NULL), DN_OK);
    CHECK_STATUS(dn_net_forward(net, NULL), DN_OK);
    for (int64_t i = 0; i < 6; i++) {
        const int64_t dims[] = {5 + i % 2, 64};
        size_t to = fake->copied[1], from = fake->copied[2];
        CHECK_STATUS(dn_blob_reshape(dn_net_blob(net, "x"), dims, 2), DN_OK);
        CHECK_STATUS(dn_net_forward(net, NULL), DN_OK);
        CHECK_INT((fake->copied[1] - to) / (500 * sizeof(float)), 0);
        CHECK_INT(fake->copied[2] - from, 0);
    }
    dn_net_free(net);
    dn_context_free(context);
    CHECK_INT(live(), 0);
}

/* What the host writes whole does not come home first; memory that it keeps is as it was when
 * the net went. */
static void check_weights(void)
{
    SECTION("weights of the host");
    float *kept[2], zeros[40] = {0};
    void *hold[2];
    for (int i = 0; i < 2; i++) {
        *fake = (fake_cuda_control){.soon = 1};
        dn_context *context = make_context(1, DN_PLAN_FUSED);
        dn_solver *solver = make(context, SOLVER, MEMORY LENET, NULL);
        dn_blob *weight = dn_net_layer_param(dn_solver_net(solver), 4, 0);
        dn_blob *bias = dn_net_layer_param(dn_solver_net(solver), 4, 1);
        CHECK_STATUS(dn_solver_step(solver, 3), DN_OK);
        size_t home = fake->copied[2];
        long waited = now().waits;
        CHECK_STATUS(dn_blob_write(bias, zeros, 40), DN_OK);
        CHECK_INT(fake->copied[2] - home, 0);
        CHECK_INT(now().waits - waited, 0);
        kept[i] = (float *)(uintptr_t)dn_blob_data(weight);
        hold[i] = dn_blob_hold(weight, kept[i]);
        CHECK_STATUS(dn_solver_step(solver, 3), DN_OK);
        if (i)
            CHECK(dn_blob_data(weight) == kept[i]);
        dn_solver_free(solver);
        dn_context_free(context);
        CHECK_INT(live(), 0);
    }
    CHECK(hold[0] && hold[1] && !memcmp(kept[0], kept[1], 40 * 12 * sizeof(float)));
    dn_blob_end_hold(hold[0]);
    dn_blob_end_hold(hold[1]);
}

/* The next batch is on its way while a step runs, also if it is one of 160 MiB: what the device
 * was made to do by then, `y` shows. */
static void check_large(void)
{
    static const char text[] =
        "layer { name: 'x' type: 'Input' top: 'x' input_param { shape { dim: 40960 "
        "dim: 1024 } } } layer { name: 'y' type: 'Reduction' bottom: 'x' top: 'y' }";
    SECTION("a large input");
    *fake = (fake_cuda_control){0};
    dn_context *context = make_context(1, DN_PLAN_FUSED);
    dn_net *net = NULL;
    CHECK_STATUS(dn_net_create_from_text(&net, context, text, strlen(text), NULL), DN_OK);
    float *x = dn_blob_mutable_data(dn_net_blob(net, "x"));
    const float *y = NULL;
    for (int i = 1; i <= 6; i++) {
        x[0] = (float)i;
        CHECK_STATUS(dn_net_forward(net, NULL), DN_OK);
        if (i == 4)
            CHECK_STATUS(dn_context_synchronise(context), DN_OK);
        y = dn_blob_device_data(dn_net_blob(net, "y"));
    }
    CHECK_AT(y && *y == 4, "batch 6 waits for step %g", y ? (double)*y : 0);
    dn_net_free(net);
    dn_context_free(context);
    CHECK_INT(live(), 0);
}

static void check_looks(void)
{
    char text[512];
    SECTION("a look at much");
    for (int rows = 100; rows <= 20000; rows += 19900) { /* 400 KB, 80 MB */
        *fake = (fake_cuda_control){.soon = 1};
        snprintf(text, sizeof text,
                 "layer { name: 'x' type: 'Input' top: 'x' input_param { shape { dim: %d "
                 "dim: 1001 } } } layer { name: 'y' type: 'Power' bottom: 'x' top: 'y' "
                 "power_param { scale: 2 } }",
                 rows);
        dn_context *context = make_context(1, DN_PLAN_FUSED);
        dn_net *net = NULL;
        CHECK_STATUS(dn_net_create_from_text(&net, context, text, strlen(text), NULL), DN_OK);
        float *x = dn_blob_mutable_data(dn_net_blob(net, "x"));
        const float *y = NULL;
        long held_up = 0, wrong = 0;
        for (int i = 0; i < 3; i++) {
            for (int k = 0; k < rows * 1001; k++)
                x[k] = (float)(k + i);
            CHECK_STATUS(dn_net_forward(net, NULL), DN_OK);
            held_up = fake->held_up;
            y = dn_blob_data(dn_net_blob(net, "y"));
        }
        CHECK_INT(fake->held_up - held_up, 0);
        for (int k = 0; y && k < rows * 1001; k++)
            wrong += y[k] != 2 * (float)(k + 2);
        CHECK(y && wrong == 0);
        dn_net_free(net);
        dn_context_free(context);
        CHECK_INT(live(), 0);
    }
}

/* Two ranks, of which each reduces its gradients on the device. */
static void check_ranks(void)
{
    SECTION("two ranks");
    *fake = (fake_cuda_control){0};
    dn_context *context[2];
    dn_solver *solver[2];
    dn_parallel *parallel = NULL;
    for (int r = 0; r < 2; r++) {
        dn_solver_options o = {.struct_size = sizeof o, .rank = r, .num_ranks = 2};
        context[r] = make_context(1 + r, DN_PLAN_FUSED);
        solver[r] = make(context[r], SOLVER, MEMORY LENET, &o);
    }
    CHECK_STATUS(dn_parallel_create(&parallel, solver, 2), DN_OK);
    CHECK(parallel && strcmp(dn_parallel_transport(parallel), "host") != 0);
    CHECK_STATUS(dn_parallel_step(parallel, FIRST), DN_OK);
    waits before = now();
    CHECK_STATUS(dn_parallel_step(parallel, STEPS), DN_OK);
    waits after = now();
    CHECK_INT(after.waits - before.waits, 2); /* a call of several ends with the last loss */
    CHECK_INT(after.held_up - before.held_up, 0);
    dn_parallel_free(parallel);
    for (int r = 0; r < 2; r++) {
        dn_solver_free(solver[r]);
        dn_context_free(context[r]);
    }
    CHECK_INT(live(), 0);
}

int main(int argc, char **argv)
{
    char path[4096];
    if (argc != 3)
        return 2;
    folder = argv[1];
    snprintf(path, sizeof path, "%s/deepnet-cuda.so", folder);
    void *module = dlopen(path, RTLD_NOW);
    fake = module ? dlsym(module, "fake_cuda") : NULL;
    CHECK_AT(fake != NULL, "%s", dlerror());
    if (!fake)
        return check_summary();
    *(void **)&live = dlsym(module, "fake_cuda_live");
    make_digits(images, labels);
    check_steps(argv[2]);
    check_reshape();
    check_weights();
    check_large();
    check_looks();
    check_ranks();
    return check_summary();
}
