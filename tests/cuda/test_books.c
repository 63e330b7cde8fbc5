/* SPDX-License-Identifier: BSD-2-Clause
 * test_books.c: the CUDA module in a host's hands, over the fakes, which count what is asked of
 * them and fail when they are told to: cuDNN and the host's stream are used, bf16 lies where
 * the plan has it, nothing is summed in an order that changes unless the context allows it,
 * every failure is a status with CUDA's own words, and nothing is left on the device. */
#include <math.h>

#include "books.h"

static void check_stream(void)
{
    SECTION("the host's stream, its current context");
    dn_context_options options = device_options();
    char mine; /* the host's own context, which stays current */
    dn_context *context = NULL;
    options.device = 3; /* there is none: no other is started for it */
    CHECK_STATUS(dn_context_create(&context, &options), DN_E_DEVICE);
    options.device = 1;
    CHECK(current(NULL) == NULL);
    train(&options, 0, 3);
    CHECK(current(NULL) == NULL);
    CHECK_INT(fake->given, 0);
    options.device_stream = stream_of(0);
    current(&mine);
    train(&options, 0, 3);
    CHECK(current(NULL) == &mine);
    CHECK(fake->given > 0);
    CHECK_AT(dnn_runs[0] == 0 && dnn_runs[3] + dnn_runs[4] > 0 && dnn_runs[1] > 0 &&
                 dnn_runs[2] > 0,
             "cuDNN ran %ld, %ld with bias and ReLU, %ld with bias, %ld to the data, %ld to "
             "the weights",
             dnn_runs[0], dnn_runs[3], dnn_runs[4], dnn_runs[1], dnn_runs[2]);
}

#define COPY_NET                                                                               \
    "layer { name: 'x' type: 'Input' top: 'x' input_param { shape { dim: 3 dim: 6000000 } } "  \
    "} "                                                                                       \
    "layer { name: 'y' type: 'Power' bottom: 'x' top: 'y' power_param { scale: 2 } } "

/* A batch of several pieces: each travels beside the computation, as early or as late as it
 * may, and nobody waits. */
static void check_copies(int soon)
{
    SECTION("copies");
    enum { COUNT = 3 * 6000000 };
    dn_context_options options = device_options();
    *fake = (fake_cuda_control){0};
    dn_context *context = make_context(&options);
    fake->soon = soon; /* but for the stream that computes, which there is */
    dn_net *net = NULL;
    CHECK_STATUS(dn_net_create_from_text(&net, context, COPY_NET, strlen(COPY_NET), NULL),
                 DN_OK);
    for (int run = 0; run < 3; run++) {
        float *x = dn_blob_mutable_data(dn_net_blob(net, "x"));
        for (int i = 0; i < COUNT; i++)
            x[i] = (float)(i % 100003 + run);
        long waits = fake->waits;
        CHECK_STATUS(dn_net_forward(net, NULL), DN_OK);
        CHECK_INT(fake->waits, waits);
        const float *y = dn_blob_data(dn_net_blob(net, "y"));
        int wrong = 0;
        for (int i = 0; i < COUNT; i++)
            wrong += y[i] != (float)(2 * (i % 100003 + run));
        CHECK_INT(wrong, 0);
    }
    CHECK(fake->copied[3] >= /* cudaMemcpyDeviceToDevice */
          3 * COUNT * sizeof(float));
    dn_net_free(net);
    dn_context_free(context);
    CHECK_INT(live(), 0);
    *fake = (fake_cuda_control){0};
}

/* Small ones, of each step's learning rate, are more than there is pinned memory for: whether
 * the host looks after each step or runs ahead, what arrives is of its step. */
static void check_small_copies(void)
{
    SECTION("small copies");
    static const char text[] = "base_lr: 0.01 lr_policy: 'inv' gamma: 0.1 power: 0.75 "
                               "momentum: 0.9 max_iter: 999 random_seed: 1";
    dn_context_options options = device_options();
    uint64_t hash[2];
    for (int ahead = 0; ahead < 2; ahead++) {
        dn_context *context = make_context(&options);
        dn_solver *solver = make_solver(context, text, DIGITS_NET, NULL);
        CHECK_STATUS(
            dn_net_set_memory_data(dn_solver_net(solver), NULL, images, labels, DIGITS), DN_OK);
        for (int step = 0; step < 200; step++) {
            CHECK_STATUS(dn_solver_step(solver, 1), DN_OK);
            if (!ahead)
                hash_weights(dn_solver_net(solver));
        }
        hash[ahead] = hash_weights(dn_solver_net(solver));
        dn_solver_free(solver);
        dn_context_free(context);
        CHECK_INT(live(), 0);
    }
    CHECK(hash[0] == hash[1]);
}

/* Two contexts on one device, in turns: each has what it has alone. */
static void check_neighbours(void)
{
    SECTION("two contexts on a device");
    dn_context_options options = device_options();
    uint64_t alone = train(&options, 0, 6);
    dn_context *context[2];
    dn_solver *solver[2];
    for (int i = 0; i < 2; i++) {
        context[i] = make_context(&options);
        solver[i] = make(context[i], 0);
    }
    for (int step = 0; step < 6; step++)
        for (int i = 0; i < 2; i++)
            CHECK_STATUS(dn_solver_step(solver[i], 1), DN_OK);
    for (int i = 0; i < 2; i++) {
        CHECK(hash_weights(dn_solver_net(solver[i])) == alone);
        dn_solver_free(solver[i]);
        dn_context_free(context[i]);
    }
    CHECK_INT(live(), 0);
}

/* Products in f32 are f32: neither cuBLAS nor cuDNN rounds their operands unless it may. */
static void check_compute(void)
{
    SECTION("compute");
    dn_context_options options = device_options();
    memset(blas_types, 0, 3 * sizeof *blas_types);
    *dnn_rounded = 0;
    long runs = dnn_runs[1];
    train(&options, DN_COMPUTE_F32, 2);
    CHECK(blas_types[0] > 0 && blas_types[1] == 0 && blas_types[2] == 0);
    CHECK(dnn_runs[1] > runs && *dnn_rounded == 0);
    train(&options, DN_COMPUTE_TF32, 2);
    CHECK(blas_types[1] > 0 && blas_types[2] == 0 && *dnn_rounded > 0);
    train(&options, DN_COMPUTE_BF16, 2);
    CHECK(blas_types[2] > 0);
}

static char *described(dn_solver *solver)
{
    char *text = NULL;
    CHECK_STATUS(dn_net_describe(dn_solver_net(solver), DN_DESCRIBE_OPS, &text), DN_OK);
    return text;
}

/* The bias is part of an inner product without ReLU where cuBLASLt has it so: a launch less,
 * and the same numbers as where it has not, or refuses when it is to run. */
static void check_products(void)
{
    SECTION("products with their bias");
    static const char *const says[] = {"", "none", "refuses"};
    dn_context_options options = device_options();
    uint64_t hash = 0;
    long launches = 0;
    for (int i = 0; i < 3; i++) {
        *fake = (fake_cuda_control){.no_capture = 1};
        setenv("FAKE_LT", says[i], 1);
        dn_context *context = make_context(&options);
        dn_solver *solver = make(context, 0);
        CHECK_STATUS(dn_solver_step(solver, 1), DN_OK);
        hash_weights(dn_solver_net(solver)); /* waits for the device */
        long before = *lt_runs, began = fake->launches;
        CHECK_STATUS(dn_solver_step(solver, 1), DN_OK);
        began = fake->launches - began;
        launches = i == 0 ? began : launches;
        CHECK_INT(began, i == 0 ? launches : launches + 1);
        uint64_t now = hash_weights(dn_solver_net(solver));
        CHECK_INT(*lt_runs - before, i == 0 ? 1 : 0);
        hash = i == 0 ? now : hash;
        CHECK(now == hash);
        char *text = described(solver);
        CHECK_AT(text && !strstr(text, "[cuda:cublaslt]") == (i > 0), "%s", text);
        dn_net_text_free(dn_solver_net(solver), text);
        dn_solver_free(solver);
        dn_context_free(context);
        CHECK_INT(*lt_live, 0);
        CHECK_INT(live(), 0);
    }
    unsetenv("FAKE_LT");
    *fake = (fake_cuda_control){0};
}

static void check_narrow(void)
{
    SECTION("bf16");
    dn_context_options options = device_options();
    CHECK_INT(*dnn_narrow, 0);
    uint64_t hash = train(&options, DN_COMPUTE_BF16, 6);
    CHECK(*dnn_narrow > 0);
    CHECK(train(&options, DN_COMPUTE_BF16, 6) == hash);
    *dnn_narrow = 0;
}

#define EMBED_NET                                                                              \
    "layer { name: 'x' type: 'Input' top: 'x' input_param { shape { dim: 32 } } } "            \
    "layer { name: 't' type: 'Input' top: 't' input_param { shape { dim: 32 } } } "            \
    "layer { name: 'e' type: 'Embed' bottom: 'x' top: 'e' embed_param { input_dim: 9 "         \
    "  num_output: 7 weight_filler { type: 'xavier' } } } "                                    \
    "layer { name: 'loss' type: 'SoftmaxWithLoss' bottom: 'e' bottom: 't' top: 'loss' } "

/* Whether the plan says that some op sums in any order. */
static bool plan_says_unordered(const dn_context_options *options)
{
    dn_context *context = make_context(options);
    dn_net *net = NULL;
    dn_net_options train_phase = {.struct_size = sizeof train_phase, .phase = DN_PHASE_TRAIN};
    char *text = NULL;
    CHECK_STATUS(
        dn_net_create_from_text(&net, context, EMBED_NET, strlen(EMBED_NET), &train_phase),
        DN_OK);
    CHECK_STATUS(dn_net_forward(net, NULL), DN_OK);
    CHECK_STATUS(dn_net_backward(net), DN_OK);
    CHECK_STATUS(dn_net_describe(net, DN_DESCRIBE_OPS, &text), DN_OK);
    bool says = text && strstr(text, "unordered");
    dn_net_text_free(net, text);
    dn_net_free(net);
    dn_context_free(context);
    return says;
}

static void check_order(void)
{
    SECTION("allow_nondeterministic");
    dn_context_options options = device_options();
    CHECK(!plan_says_unordered(&options));
    CHECK_INT(*dnn_hasty, 0); /* of all that ran so far, tuned or not */
    CHECK_INT(*blas_unordered, 0);
    options.tune = 1;
    train(&options, 0, 2);
    CHECK_INT(*dnn_hasty, 0);
    options.tune = 0;
    options.allow_nondeterministic = 1;
    CHECK(plan_says_unordered(&options));
    train(&options, 0, 3);
    CHECK(*dnn_hasty > 0);
    CHECK(*blas_unordered > 0);
}

#define WIDE_NET                                                                               \
    "layer { name: 'x' type: 'Input' top: 'x' input_param { shape { dim: 4 dim: 8 dim: 16 "    \
    "  dim: 16 } } } "                                                                         \
    "layer { name: 'c' type: 'Convolution' bottom: 'x' top: 'c' convolution_param { "          \
    "  num_output: 16 kernel_size: 3 pad: 1 weight_filler { type: 'xavier' } } } "             \
    "layer { name: 'r' type: 'ReLU' bottom: 'c' top: 'c' } "

#define DEEP(name, from, channels, size)                                                       \
    "layer { name: '" name "' type: 'Convolution' bottom: '" from "' top: '" name "' "         \
    "convolution_param { num_output: " channels " kernel_size: " size                          \
    " weight_filler { type: 'xavier' } } } layer { name: '" name                               \
    "r' type: 'ReLU' bottom: '" name "' top: '" name "' } "
#define DEEP_NET                                                                               \
    "layer { name: 'x' type: 'Input' top: 'x' input_param { shape { dim: 16 dim: 64 dim: 56 "  \
    "  dim: 56 } } } " DEEP("a", "x", "64", "3") DEEP("b", "a", "256", "1")                    \
        DEEP("c", "b", "64", "1") DEEP("d", "c", "64", "3")

/* Steps of the plan whose images are channels-last. */
static int rows_in_plan(const dn_context_options *options, const char *net_text,
                        int32_t compute)
{
    dn_context *context = make_context(options);
    dn_net *net = NULL;
    dn_net_options deploy = {.struct_size = sizeof deploy,
                             .phase = DN_PHASE_TEST,
                             .memory = DN_MEMORY_COMPACT,
                             .compute = compute};
    char *text = NULL;
    int count = 0;
    CHECK_STATUS(dn_net_create_from_text(&net, context, net_text, strlen(net_text), &deploy),
                 DN_OK);
    CHECK_STATUS(dn_net_describe(net, DN_DESCRIBE_PLAN, &text), DN_OK);
    for (const char *at = text; at && (at = strstr(at, " nhwc ")) != NULL; at++)
        count++;
    dn_net_text_free(net, text);
    dn_net_free(net);
    dn_context_free(context);
    return count;
}

/* What is no number is none behind cuDNN's ReLU either, as Caffe's has it. */
static void check_nan(void)
{
    SECTION("NaN");
    dn_context_options options = device_options();
    dn_context *context = make_context(&options);
    dn_net *net = NULL;
    long runs = dnn_runs[3];
    CHECK_STATUS(dn_net_create_from_text(&net, context, WIDE_NET, strlen(WIDE_NET), NULL),
                 DN_OK);
    float *x = dn_blob_mutable_data(dn_net_blob(net, "x"));
    for (int64_t i = 0; i < dn_blob_count(dn_net_blob(net, "x")); i++)
        x[i] = NAN;
    CHECK_STATUS(dn_net_forward(net, NULL), DN_OK);
    const float *y = dn_blob_data(dn_net_blob(net, "c"));
    CHECK(y[0] != y[0]);
    CHECK(dnn_runs[3] > runs);
    dn_net_free(net);
    dn_context_free(context);
    CHECK_INT(live(), 0);
}

/* Trials take longer than steps: a convolution that a context has tried it tries no more. */
static void check_trials(void)
{
    SECTION("trials");
    dn_context_options options = device_options();
    options.tune = 1;
    dn_context *context = make_context(&options);
    long before = *dnn_trials;
    dn_solver *first = make(context, 0), *second = NULL;
    CHECK_STATUS(dn_solver_step(first, 1), DN_OK);
    CHECK(*dnn_trials > before);
    before = *dnn_trials;
    second = make(context, 0);
    CHECK_STATUS(dn_solver_step(second, 1), DN_OK);
    CHECK_INT(*dnn_trials, before);
    CHECK(hash_weights(dn_solver_net(first)) == hash_weights(dn_solver_net(second)));
    dn_solver_free(first);
    dn_solver_free(second);
    dn_context_free(context);
    CHECK_INT(live(), 0);
}

/* Makes a convolution in `context`: the trials that this took. */
static long trials_of(dn_context *context, int outputs)
{
    char text[512];
    dn_net *net = NULL;
    long before = *dnn_trials;
    snprintf(text, sizeof text,
             "layer { name: 'x' type: 'Input' top: 'x' input_param { shape { dim: 1 dim: 2 "
             "dim: 3 dim: 3 } } } layer { name: 'c' type: 'Convolution' bottom: 'x' top: 'c' "
             "convolution_param { num_output: %d kernel_size: 1 } }",
             outputs);
    CHECK_STATUS(dn_net_create_from_text(&net, context, text, strlen(text), NULL), DN_OK);
    CHECK_STATUS(dn_net_forward(net, NULL), DN_OK);
    dn_net_free(net);
    return *dnn_trials - before;
}

/* One that had no memory is made when there is some; of many the oldest is forgotten. */
static void check_kept_trials(void)
{
    SECTION("trials that are kept");
    dn_context_options options = device_options();
    options.tune = 1;
    dn_context *context = make_context(&options);
    fake->limit = (size_t)40 << 20;
    CHECK_INT(trials_of(context, 16), 0);
    fake->limit = 0;
    CHECK(trials_of(context, 16) > 0);
    CHECK_INT(trials_of(context, 16), 0);
    for (int i = 0; i < 256; i++)
        trials_of(context, 17 + i);
    CHECK_INT(trials_of(context, 17 + 255), 0);
    CHECK(trials_of(context, 16) > 0);
    dn_context_free(context);
    CHECK_INT(live(), 0);
}

/* No memory, an error of cuDNN's own and CUDA's beneath it are failures: nothing stands in for
 * it, and the next step is cuDNN's again. Of CUDA's only the memory that is free tells. */
static void check_dnn_fails(void)
{
    SECTION("cuDNN fails");
    static const struct {
        const char *says;
        size_t limit;
        dn_status status;
    } all[] = {{"4003", 0, DN_E_NOMEM},
               {"4004", 0, DN_E_NOMEM},
               {"5001", (size_t)64 << 20, DN_E_NOMEM},
               {"5003", (size_t)64 << 20, DN_E_NOMEM},
               {"5001", 0, DN_E_DEVICE},
               {"5003", 0, DN_E_DEVICE},
               {"4000", 0, DN_E_DEVICE}};
    dn_context_options options = device_options();
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        *fake = (fake_cuda_control){.limit = all[i].limit};
        dn_context *context = make_context(&options);
        dn_solver *solver = make(context, 0);
        setenv("FAKE_DNN_FAILS", all[i].says, 1);
        CHECK_MESSAGE(dn_solver_step(solver, 1), all[i].status,
                      "cuDNN: a convolution: a fake refusal: of its own");
        unsetenv("FAKE_DNN_FAILS");
        long runs = dnn_runs[3] + dnn_runs[4];
        /* what failed has not run yet: it is no recording's turn, in which cuDNN may not start
         */
        CHECK_STATUS(dn_solver_step(solver, 1), DN_OK);
        CHECK_INT(fake->recordings, 0);
        hash_weights(dn_solver_net(solver)); /* waits for the device */
        CHECK_AT(dnn_runs[3] + dnn_runs[4] > runs, "%ld runs, then %ld", runs,
                 dnn_runs[3] + dnn_runs[4]);
        CHECK_STATUS(dn_solver_step(solver, 2), DN_OK);
        CHECK(fake->recordings > 0);
        dn_solver_free(solver);
        dn_context_free(context);
        CHECK_INT(live(), 0);
    }
    *fake = (fake_cuda_control){0};
}

/* cuBLAS does not start, then fails: with its words. */
static void check_blas_fails(void)
{
    SECTION("cuBLAS fails");
    static const struct {
        const char *says;
        dn_status status;
    } all[] = {{"3", DN_E_NOMEM}, {"13", DN_E_DEVICE}};
    dn_context_options options = device_options();
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        dn_context *context = NULL;
        setenv("FAKE_BLAS_FAILS", all[i].says, 1);
        CHECK_MESSAGE(dn_context_create(&context, &options), all[i].status,
                      "cuBLAS: opening: a fake failure");
        unsetenv("FAKE_BLAS_FAILS");
        CHECK_INT(live(), 0);
        context = make_context(&options);
        dn_solver *solver = make(context, 0);
        setenv("FAKE_BLAS_FAILS", all[i].says, 1);
        CHECK_MESSAGE(dn_solver_step(solver, 1), all[i].status,
                      "cuBLAS: a matrix product: a fake failure");
        unsetenv("FAKE_BLAS_FAILS");
        CHECK_STATUS(dn_solver_step(solver, 3), DN_OK);
        dn_solver_free(solver);
        dn_context_free(context);
        CHECK_INT(live(), 0);
    }
}

static size_t most_held;

static int needs_room(void)
{
    return fake->held > most_held ? 4004 : 0;
}

/* cuDNN starts with the first convolution: for it, too, what is kept is given back. */
static void check_dnn_room(void)
{
    SECTION("room for cuDNN");
    dn_context_options options = device_options();
    dn_context *context = make_context(&options);
    dn_net *net = NULL;
    CHECK_STATUS(dn_net_create_from_text(&net, context, COPY_NET, strlen(COPY_NET), NULL),
                 DN_OK);
    CHECK_STATUS(dn_net_forward(net, NULL), DN_OK);
    CHECK_STATUS(dn_blob_reshape(dn_net_blob(net, "x"), (int64_t[]){3, 600}, 2), DN_OK);
    CHECK_STATUS(dn_net_forward(net, NULL), DN_OK);
    *dnn_opens = needs_room;
    most_held = fake->held - 1;
    dn_solver *solver = make(context, 0);
    CHECK(fake->held <= most_held);
    CHECK_STATUS(dn_solver_step(solver, 1), DN_OK);
    *dnn_opens = NULL;
    dn_solver_free(solver);
    dn_net_free(net);
    dn_context_free(context);
    CHECK_INT(live(), 0);
}

/* For each plan, too: what the module has for the second stream of recordings, where none is
 * left. */
static void check_dnn_plan_room(void)
{
    SECTION("room for its plans");
    dn_context_options options = device_options();
    dn_context *context = make_context(&options);
    dn_solver *solver = make(context, 0);
    CHECK_STATUS(dn_solver_step(solver, 4), DN_OK);
    dn_solver_free(solver);
    most_held = fake->held - 1;
    *dnn_plans = needs_room;
    solver = make(context, 0);
    *dnn_plans = NULL;
    CHECK(fake->held <= most_held);
    CHECK_STATUS(dn_solver_step(solver, 1), DN_OK);
    dn_solver_free(solver);
    dn_context_free(context);
    CHECK_INT(live(), 0);
}

/* It has no descriptors of such images: the plan says who does the convolution, and why. That
 * there was no memory, or that CUDA failed, is no such thing. */
static void check_dnn_plans(void)
{
    SECTION("cuDNN plans");
    static const struct {
        const char *says, *plan;
        dn_status status;
    } all[] = {{"3000", "[cuda:kernel, cuDNN: a fake refusal]", DN_OK},
               {"2000", "[cuda:kernel, cuDNN: BAD_PARAM]", DN_OK},
               {"4003", NULL, DN_E_NOMEM},
               {"5003", NULL, DN_E_DEVICE}};
    dn_context_options options = device_options();
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        dn_context *context = make_context(&options);
        dn_net *net = NULL;
        char *text = NULL;
        setenv("FAKE_DNN_PLANS", all[i].says, 1);
        dn_status status =
            dn_net_create_from_text(&net, context, WIDE_NET, strlen(WIDE_NET), NULL);
        unsetenv("FAKE_DNN_PLANS");
        CHECK_STATUS(status, all[i].status);
        CHECK(!status || strstr(dn_last_error(), "cuDNN: planning a convolution: a fake "
                                                 "refusal: of its own"));
        if (net) {
            CHECK_STATUS(dn_net_describe(net, DN_DESCRIBE_OPS, &text), DN_OK);
            CHECK_AT(text && strstr(text, all[i].plan), "%s", text);
            dn_net_text_free(net, text);
        }
        dn_net_free(net);
        dn_context_free(context);
        CHECK_INT(live(), 0);
    }
}

/* It offers what it then refuses: the plan says who does a convolution before, and after. */
static void check_dnn_refuses(void)
{
    SECTION("cuDNN refuses");
    dn_context_options options = device_options();
    dn_context *context = make_context(&options);
    setenv("FAKE_DNN_FALSE", "2", 1);
    dn_solver *solver = make(context, 0);
    char *text = described(solver);
    CHECK_AT(text && strstr(text, "[cuda:cudnn]") && !strstr(text, "refused"), "%s", text);
    dn_net_text_free(dn_solver_net(solver), text);
    CHECK_STATUS(dn_solver_step(solver, 1), DN_OK);
    unsetenv("FAKE_DNN_FALSE");
    text = described(solver);
    CHECK_AT(text && strstr(text, "[cuda:kernel, cuDNN: a fake refusal]") &&
                 !strstr(text, "[cuda:cudnn"),
             "%s", text);
    dn_net_text_free(dn_solver_net(solver), text);
    dn_solver_free(solver);
    dn_context_free(context);
    CHECK_INT(live(), 0);
}

#define DEPTHWISE_NET                                                                          \
    "layer { name: 'x' type: 'Input' top: 'x' input_param { shape { dim: 1 dim: 8 dim: 6 "     \
    "  dim: 6 } } } layer { name: 'c' type: 'Convolution' bottom: 'x' top: 'c' "               \
    "convolution_param { num_output: 8 kernel_size: 3 group: 8 } } "

#define CUT_NET                                                                                \
    "force_backward: true "                                                                    \
    "layer { name: 'x' type: 'Input' top: 'x' input_param { shape { dim: %d dim: 4 dim: %d "   \
    "  dim: 6 } } } "                                                                          \
    "layer { name: 'c' type: 'Convolution' bottom: 'x' top: 'c' convolution_param { "          \
    "  num_output: 4 kernel_size: 3 pad: 1 weight_filler { type: 'constant' value: 0.5 } } } "

static void count_up(float *values, int64_t count)
{
    for (int64_t i = 0; values && i < count; i++)
        values[i] = (float)(i % 31);
}

static double sum_of(const float *values, int64_t count)
{
    double sum = 0;
    for (int64_t i = 0; values && i < count; i++)
        sum += (double)(i + 1) * (double)values[i];
    return sum;
}

/* The sum of what comes of so many images of that height, forward and, added to what is there,
 * backward, twice. *runs: of cuDNN. */
static double sum_of_cut(const dn_context_options *options, int num, int height, long *runs)
{
    char net_text[512];
    dn_context *context = make_context(options);
    dn_net *net = NULL;
    dn_net_options phase = {.struct_size = sizeof phase, .phase = DN_PHASE_TRAIN};
    int64_t count = (int64_t)num * height * 24;
    snprintf(net_text, sizeof net_text, CUT_NET, num, height);
    CHECK_STATUS(dn_net_create_from_text(&net, context, net_text, strlen(net_text), &phase),
                 DN_OK);
    dn_blob *x = dn_net_blob(net, "x"), *y = dn_net_blob(net, "c");
    dn_blob *w = dn_net_layer_param(net, dn_net_find_layer(net, "c"), 0);
    count_up(dn_blob_mutable_data(x), count);
    count_up(dn_blob_mutable_diff(w), 144);
    for (int i = 0; i < 5; i++)
        *runs -= dnn_runs[i];
    for (int i = 0; i < 2; i++) {
        CHECK_STATUS(dn_net_forward(net, NULL), DN_OK);
        count_up(dn_blob_mutable_diff(y), count);
        CHECK_STATUS(dn_net_backward(net), DN_OK);
    }
    double sum = sum_of(dn_blob_data(y), count) + sum_of(dn_blob_diff(x), count) +
                 sum_of(dn_blob_diff(w), 144);
    for (int i = 0; i < 5; i++)
        *runs += dnn_runs[i];
    dn_net_free(net);
    dn_context_free(context);
    CHECK_INT(live(), 0);
    return sum;
}

/* More elements than it counts: cut.so knows of 500, of which 3 images of height 6 have 432 and
 * 2 of height 9 as many: 8 images are 4 times 2, 7 are twice 3 and one more, 5 twice 2 and one
 * more. Of either size cuDNN may refuse what it offers for the other, once or for good. */
static void check_cut(void)
{
    SECTION("a batch in pieces");
    static const struct {
        int num, height, pieces; /* the rest is tried before, */
        const char *friends, *odd;
        int tried; /* with others of so many convolutions */
    } all[] = {{8, 6, 4, NULL, NULL, 0}, {7, 6, 3, NULL, NULL, 1}, {5, 9, 3, NULL, NULL, 1},
               {5, 9, 3, "1", "1", 1},   {5, 9, 3, "1", "0", 2},   {5, 9, 0, "2", "1", 0},
               {5, 9, 0, "2", "0", 2}};
    char path[4096];
    snprintf(path, sizeof path, "%s/cut.so", folder);
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        long runs = 0;
        dn_context_options options = device_options();
        double whole = sum_of_cut(&options, all[i].num, all[i].height, &runs);
        CHECK_INT(runs, 3 * 2);
        options.device = 0;
        options.backends = path;
        setenv("FAKE_DNN_MOST", "500", 1);
        if (all[i].friends) {
            setenv("FAKE_DNN_FALSE", all[i].friends, 1);
            setenv("FAKE_DNN_ODD", all[i].odd, 1);
        }
        runs = 0;
        CHECK_AT(sum_of_cut(&options, all[i].num, all[i].height, &runs) == whole && whole > 0,
                 "%zu", i);
        CHECK_INT(runs, 3 * (2 * all[i].pieces + all[i].tried));
        unsetenv("FAKE_DNN_MOST");
        unsetenv("FAKE_DNN_FALSE");
        unsetenv("FAKE_DNN_ODD");
    }
}

/* What never asks cuDNN has nothing to say of it. */
static void check_unasked(dn_context *context)
{
    dn_net *net = NULL;
    char *text = NULL;
    CHECK_STATUS(
        dn_net_create_from_text(&net, context, DEPTHWISE_NET, strlen(DEPTHWISE_NET), NULL),
        DN_OK);
    CHECK_STATUS(dn_net_describe(net, DN_DESCRIBE_OPS, &text), DN_OK);
    CHECK_AT(text && strstr(text, "[cuda:kernel]") && !strstr(text, "cuDNN"), "%s", text);
    dn_net_text_free(net, text);
    dn_net_free(net);
}

/* cuDNN is there and does not start: convolutions are done, and the plan says why so slowly.
 * No memory for it is a failure: there may be some for another net. */
static void check_absent(void)
{
    SECTION("cuDNN does not start");
    dn_context_options options = device_options();
    setenv("FAKE_DNN_ABSENT", "4004", 1);
    dn_context *context = make_context(&options);
    dn_net *net = NULL;
    CHECK_MESSAGE(dn_net_create_from_text(&net, context, WIDE_NET, strlen(WIDE_NET), NULL),
                  DN_E_NOMEM, "cuDNN: opening: a fake refusal");
    unsetenv("FAKE_DNN_ABSENT");
    dn_solver *solver = make(context, 0);
    char *text = described(solver);
    CHECK_AT(text && strstr(text, "[cuda:cudnn]") && !strstr(text, "cuDNN:"), "%s", text);
    dn_net_text_free(dn_solver_net(solver), text);
    dn_solver_free(solver);
    dn_context_free(context);
    setenv("FAKE_DNN_ABSENT", "1002", 1);
    context = make_context(&options);
    solver = make(context, 0);
    CHECK_STATUS(dn_solver_step(solver, 2), DN_OK);
    text = described(solver);
    CHECK_AT(text && strstr(text, "[cuda:kernel, cuDNN: a fake refusal]"), "%s", text);
    dn_net_text_free(dn_solver_net(solver), text);
    check_unasked(context);
    dn_solver_free(solver);
    dn_context_free(context);
    unsetenv("FAKE_DNN_ABSENT");
    CHECK_INT(live(), 0);
}

/* Tensor cores want channels last; the plain units, and images that are soon done, do not. */
static void check_layouts(void)
{
    SECTION("layouts");
    dn_context_options options = device_options();
    CHECK(rows_in_plan(&options, DEEP_NET, DN_COMPUTE_TF32) >= 4);
    CHECK(rows_in_plan(&options, DEEP_NET, DN_COMPUTE_BF16) >= 4);
    CHECK_INT(rows_in_plan(&options, DEEP_NET, DN_COMPUTE_F32), 0);
    CHECK_INT(rows_in_plan(&options, WIDE_NET, DN_COMPUTE_TF32), 0);
}

/* Where nothing can be recorded steps run one by one, and the plan says why. */
static void check_unrecorded(void)
{
    SECTION("no recordings");
    dn_context_options options = device_options();
    for (int refused = 0; refused < 2; refused++) {
        *fake = (fake_cuda_control){.no_capture = refused};
        dn_context *context = make_context(&options);
        dn_solver *solver = make(context, 0);
        CHECK_STATUS(dn_solver_step(solver, 3), DN_OK);
        char *text = NULL;
        CHECK_STATUS(dn_net_describe(dn_solver_net(solver), DN_DESCRIBE_PLAN, &text), DN_OK);
        const char *one = text ? strstr(text, "are recorded as one") : NULL;
        const char *why = text ? strstr(text, "are not recorded: recording: a fake error "
                                              "(cudaErrorOfSomeKind)\n")
                               : NULL;
        CHECK_AT(refused ? why && !one : one && !why, "%s", text);
        dn_net_text_free(dn_solver_net(solver), text);
        dn_solver_free(solver);
        dn_context_free(context);
        CHECK_INT(live(), 0);
    }
    *fake = (fake_cuda_control){0};
}

/* Launches refused one after the other: a status each time, and the next step works. */
static void check_failed_launch(void)
{
    SECTION("a failed launch");
    dn_context_options options = device_options();
    for (int replays = 0; replays < 2; replays++) {
        *fake = (fake_cuda_control){.no_capture = !replays};
        dn_context *context = make_context(&options);
        dn_solver *solver = make(context, 0);
        CHECK_STATUS(dn_solver_step(solver, 3), DN_OK);
        long before = fake->launches, each;
        CHECK_STATUS(dn_solver_step(solver, 1), DN_OK);
        each = fake->launches - before;
        int failures = 0;
        for (int i = 0; i < (replays ? 3 : 40); i++) { /* a replay is one launch */
            fake->fail_launch = fake->launches + 1 + i;
            dn_status status = dn_solver_step(solver, 1);
            failures += status == DN_E_DEVICE;
            CHECK(status == DN_OK || status == DN_E_DEVICE);
            CHECK(status == DN_OK ||
                  strstr(dn_last_error(), "too many resources requested for launch"));
            fake->fail_launch = 0;
            CHECK_STATUS(dn_solver_step(solver, 1), DN_OK);
        }
        CHECK_AT(failures >= (each < 40 ? each : 40), "%d failures, %ld launches", failures,
                 each);
        dn_solver_free(solver);
        dn_context_free(context);
        CHECK_INT(live(), 0);
    }
}

/* The device goes away in the middle, with CUDA's own words whoever notices: the context can
 * be freed, and a new one works. */
static void check_lost(void)
{
    SECTION("a lost device");
    dn_context_options options = device_options();
    for (int at = 1; at < 100; at += at < 8 ? 1 : 7) {
        *fake = (fake_cuda_control){0};
        dn_context *context = make_context(&options);
        dn_solver *solver = make(context, 0);
        fake->lost = fake->launches + at;
        CHECK_MESSAGE(dn_solver_step(solver, 80), DN_E_DEVICE, "unspecified launch failure");
        CHECK_MESSAGE(dn_solver_step(solver, 1), DN_E_DEVICE, "unspecified launch failure");
        dn_solver_free(solver);
        dn_context_free(context);
        CHECK_INT(live(), 0);
    }
    *fake = (fake_cuda_control){0};
    train(&options, 0, 2);
}

/* A context made as the solver's prototxt wishes computes on that device. */
static void check_mode(void)
{
    SECTION("solver_mode");
    for (int32_t id = 0; id < 3; id++) {
        char text[200], line[512] = "";
        dn_context_options options = device_options();
        dn_context_options plain = {.struct_size = sizeof plain, .backends = "ref"};
        dn_solver_options look = {.struct_size = sizeof look, .wire_only = 1};
        snprintf(text, sizeof text,
                 "base_lr: 0.01 lr_policy: 'fixed' solver_mode: GPU device_id: %d", (int)id);
        dn_context *context = make_context(&plain);
        dn_solver *solver = make_solver(context, text, DIGITS_NET, &look);
        options.device = dn_solver_device(solver);
        dn_solver_free(solver);
        dn_context_free(context);
        if (id == 2) {
            CHECK_MESSAGE(dn_context_create(&context, &options), DN_E_DEVICE,
                          "device 3 was asked for; there are 2");
            continue;
        }
        void *stream = options.device_stream = stream_of(id);
        options.log = note;
        options.log_user = line;
        context = make_context(&options);
        solver = make_solver(context, text, DIGITS_NET, NULL);
        CHECK_STATUS(
            dn_net_set_memory_data(dn_solver_net(solver), NULL, images, labels, DIGITS), DN_OK);
        long before = queued_in(stream), other = queued_in(stream_of(1 - id));
        CHECK_STATUS(dn_solver_step(solver, 2), DN_OK);
        CHECK(queued_in(stream) > before && queued_in(stream_of(1 - id)) == other);
        CHECK_AT(!line[0], "'%s'", line); /* no notice: there is a device */
        dn_solver_free(solver);
        dn_context_free(context);
    }
    CHECK_INT(live(), 0);
}

static void check_no_device(void)
{
    SECTION("no device");
    dn_context *context = NULL;
    dn_context_options options = device_options();
    setenv("FAKE_CUDA_NONE", "1", 1);
    CHECK_MESSAGE(dn_context_create(&context, &options), DN_E_UNSUPPORTED,
                  "no device: no CUDA-capable device is detected (cudaErrorNoDevice)");
    unsetenv("FAKE_CUDA_NONE");
    fake->driver = 11040;
    CHECK_MESSAGE(dn_context_create(&context, &options), DN_E_DEVICE,
                  "the driver knows CUDA 11.4, this module needs");
    fake->driver = -1;
    CHECK_MESSAGE(dn_context_create(&context, &options), DN_E_UNSUPPORTED,
                  "no device: there is no driver");
    fake->driver = 0;
    options.device = 3;
    CHECK_MESSAGE(dn_context_create(&context, &options), DN_E_DEVICE,
                  "device 3 was asked for; there are 2");
    CHECK_INT(live(), 0);
}

/* What was asked for is said; a smaller batch then works in the same context. */
static void check_memory(void)
{
    SECTION("out of memory");
    dn_context_options options = device_options();
    *fake = (fake_cuda_control){.limit = (size_t)40 << 20};
    dn_context *context = make_context(&options);
    dn_net *net = NULL;
    CHECK_STATUS(dn_net_create_from_text(&net, context, WIDE_NET, strlen(WIDE_NET), NULL),
                 DN_OK);
    dn_blob *x = dn_net_blob(net, "x");
    CHECK_STATUS(dn_net_forward(net, NULL), DN_OK);
    CHECK_STATUS(dn_blob_reshape(x, (int64_t[]){2048, 8, 16, 16}, 4), DN_OK);
    CHECK_MESSAGE(dn_net_forward(net, NULL), DN_E_NOMEM, "bytes of device memory were asked");
    CHECK_STATUS(dn_blob_reshape(x, (int64_t[]){64, 8, 16, 16}, 4), DN_OK);
    CHECK_STATUS(dn_net_forward(net, NULL), DN_OK);
    CHECK_INT(dn_blob_count(dn_net_blob(net, "c")), 64 * 16 * 256);
    dn_net_free(net);
    dn_context_free(context);
    CHECK_INT(live(), 0);
    fake->limit = (size_t)1 << 20; /* less than cuBLAS's workspace */
    CHECK_MESSAGE(dn_context_create(&context, &options), DN_E_NOMEM,
                  "33554432 bytes of device memory for cuBLAS were asked for, 1048576 of "
                  "1048576 are free");
    CHECK_INT(live(), 0);
    *fake = (fake_cuda_control){0};
}

/* The context is freed when the driver has ended, as at the end of a process: nothing is asked
 * of it, nor of its libraries. */
static void check_gone(void)
{
    SECTION("the driver has ended");
    dn_context_options options = device_options();
    dn_context *context = make_context(&options);
    dn_solver *solver = make(context, 0);
    CHECK_STATUS(dn_solver_step(solver, 3), DN_OK);
    long handles = *blas_handles;
    fake->gone = 1;
    dn_solver_free(solver);
    dn_context_free(context);
    CHECK_INT(fake->late, 0);
    CHECK_INT(*blas_handles, handles);
}

int main(int argc, char **argv)
{
    open_books(argc, argv);
    check_stream();
    check_copies(0);
    check_copies(1);
    check_small_copies();
    check_neighbours();
    check_narrow();
    check_compute();
    check_products();
    check_order();
    check_absent();
    check_trials();
    check_kept_trials();
    check_dnn_fails();
    check_dnn_room();
    check_dnn_plan_room();
    check_blas_fails();
    check_dnn_plans();
    check_dnn_refuses();
    check_cut();
    check_layouts();
    check_nan();
    check_unrecorded();
    check_failed_launch();
    check_lost();
    check_mode();
    check_no_device();
    check_memory();
    check_gone(); /* leaves things on the device */
    return check_summary();
}
