/* SPDX-License-Identifier: BSD-2-Clause
 * test_books.c: the CUDA module in a host's hands, over the fakes, which count what is asked of
 * them and fail when they are told to: cuDNN and the host's stream are used, steps are recorded
 * and replayed with the same bits, bf16 lies where the plan has it, nothing is summed in an
 * order that changes unless the context allows it, every failure is a status with CUDA's own
 * words, and nothing is left on the device. test_books FOLDER CUBLAS CUDNN NCCL CUBLASLT */
#include <dlfcn.h>
#include <math.h>
#include <stdbool.h>

#include "fake_cuda.h"
#include "solver_text.h"

static const char *folder;
static fake_cuda_control *fake;
static long (*live)(void);
static void *(*current)(void *);
static void *(*stream_of)(int);
static long (*queued_in)(void *);
static void (**nccl_tells)(int, void *);
static long *dnn_runs, *dnn_trials, *dnn_narrow, *dnn_hasty, *dnn_rounded, *blas_unordered,
    *blas_types;
static long **nccl_loses, *nccl_aborted, *blas_handles, *lt_runs, *lt_live;
static float images[DIGITS * DIGIT_SIZE], labels[DIGITS];

static void *find(void *library, const char *name)
{
    void *at = library ? dlsym(library, name) : NULL;
    CHECK_AT(at != NULL, "%s is not to be found", name);
    if (!at)
        exit(check_summary());
    return at;
}

static dn_context_options device_options(void)
{
    return (dn_context_options){.struct_size = sizeof(dn_context_options),
                                .device = 1,
                                .module_folder = folder,
                                .backends = "ref"};
}

static dn_context *make_context(const dn_context_options *options)
{
    dn_context *context = NULL;
    CHECK_STATUS(dn_context_create(&context, options), DN_OK);
    if (!context)
        exit(check_summary());
    return context;
}

static dn_solver *make(dn_context *context, int32_t compute)
{
    static const char text[] =
        "base_lr: 0.01 lr_policy: 'fixed' momentum: 0.9 max_iter: 99 random_seed: 1";
    dn_solver_options options = {.struct_size = sizeof options, .compute = compute};
    dn_solver *solver = make_solver(context, text, DIGITS_NET, &options);
    CHECK_STATUS(dn_net_set_memory_data(dn_solver_net(solver), NULL, images, labels, DIGITS),
                 DN_OK);
    return solver;
}

/* The weights after some steps. */
static uint64_t train(const dn_context_options *options, int32_t compute, int64_t steps)
{
    dn_context *context = make_context(options);
    dn_solver *solver = make(context, compute);
    CHECK_STATUS(dn_solver_step(solver, steps), DN_OK);
    uint64_t hash = hash_weights(dn_solver_net(solver));
    dn_solver_free(solver);
    dn_context_free(context);
    CHECK_INT(live(), 0);
    return hash;
}

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

/* A step is recorded once and replayed from then on: in a stream of the context's own, in the
 * host's, and not where streams cannot be recorded. Always the same bits. */
static void check_recordings(void)
{
    SECTION("recordings");
    dn_context_options options = device_options();
    *fake = (fake_cuda_control){0};
    uint64_t hash = train(&options, 0, 12);
    CHECK_INT(fake->replays, 11); /* forward, backward and update are one */
    CHECK_AT(fake->recordings > 0 && fake->recordings <= 3, "%ld recordings", fake->recordings);
    options.device_stream = stream_of(0);
    long replays = fake->replays;
    CHECK(train(&options, 0, 12) == hash);
    CHECK_INT(fake->replays - replays, 11);
    *fake = (fake_cuda_control){.no_capture = 1};
    CHECK(train(&options, 0, 12) == hash);
    CHECK_INT(fake->replays, 0);
    *fake = (fake_cuda_control){0};
}

#define LOSS_NET(outputs, loss)                                                                \
    "layer { name: 'x' type: 'Input' top: 'x' input_param { shape { dim: 8 dim: 6 } } } "      \
    "layer { name: 't' type: 'Input' top: 't' input_param { shape { dim: 8 } } } "             \
    "layer { name: 'ip' type: 'InnerProduct' bottom: 'x' top: 'ip' inner_product_param { "     \
    "  num_output: " #outputs " weight_filler { type: 'xavier' } } } "                         \
    "layer { name: 'loss' type: '" #loss "' bottom: 'ip' bottom: 't' top: 'loss' } "

/* Of pairs of items that are alike if their label is not 0. */
#define PAIRS_NET                                                                              \
    "layer { name: 'x' type: 'Input' top: 'x' input_param { shape { dim: 8 dim: 6 } } } "      \
    "layer { name: 't' type: 'Input' top: 't' input_param { shape { dim: 8 } } } "             \
    "layer { name: 'ip' type: 'InnerProduct' bottom: 'x' top: 'ip' inner_product_param { "     \
    "  num_output: 6 weight_filler { type: 'xavier' } } } "                                    \
    "layer { name: 'loss' type: 'ContrastiveLoss' bottom: 'ip' bottom: 'x' bottom: 't' "       \
    "  top: 'loss' contrastive_loss_param { margin: 9 } } "

#define ANOTHER_LOSS(top)                                                                      \
    "layer { name: '" #top "' type: 'SoftmaxWithLoss' bottom: 'ip' bottom: 't' "               \
    "  top: '" #top "' } "
#define SIX_MORE                                                                               \
    ANOTHER_LOSS(b)                                                                            \
    ANOTHER_LOSS(c) ANOTHER_LOSS(d) ANOTHER_LOSS(e) ANOTHER_LOSS(f) ANOTHER_LOSS(g)

/* Of the last layer: labels of 1 do not count. */
#define VALID_ONLY                                                                             \
    "layer { name: 'valid' type: 'SoftmaxWithLoss' bottom: 'ip' bottom: 't' top: 'valid' "     \
    "  loss_param { normalization: VALID ignore_label: 1 } } "

/* Launches of a solver's step, of the module's own kernels, and what comes of some. */
static long step_of(const char *net, bool recorded, uint64_t *hash)
{
    static const char text[] = "base_lr: 0.1 lr_policy: 'fixed' max_iter: 99 random_seed: 1";
    dn_context_options options = device_options();
    *fake = (fake_cuda_control){.no_capture = !recorded};
    dn_context *context = make_context(&options);
    dn_solver *solver = make_solver(context, text, net, NULL);
    fill_small(solver);
    CHECK_STATUS(dn_solver_step(solver, 4), DN_OK);
    long before = fake->launches;
    CHECK_STATUS(dn_solver_step(solver, 1), DN_OK);
    long launches = recorded ? fake->kernels : fake->launches - before;
    *hash = hash_weights(dn_solver_net(solver));
    dn_solver_free(solver);
    dn_context_free(context);
    CHECK_INT(live(), 0);
    return launches;
}

/* What a loss of few elements is made of is one launch of a recording: SOFTMAX, LOSS, FILL of
 * its gradient and LOSS_BWD; of many elements each by itself. Replays have the same bits. */
static void check_chain(void)
{
    SECTION("chains of small ops");
    static const struct {
        const char *net;
        long fewer;
    } nets[] = {{SMALL_NET, 3},
                {LOSS_NET(63, SoftmaxWithLoss), 3},
                {LOSS_NET(64, SoftmaxWithLoss), 2}, /* a block a row */
                {LOSS_NET(300, SoftmaxWithLoss), 0},
                {LOSS_NET(1, EuclideanLoss), 2},
                {LOSS_NET(5, HingeLoss), 2},
                {LOSS_NET(1, SigmoidCrossEntropyLoss), 2},
                {LOSS_NET(5, SoftmaxWithLoss) VALID_ONLY, 7},
                {PAIRS_NET, 0},
                {LOSS_NET(5, SoftmaxWithLoss) SIX_MORE, 21}}; /* four of most steps */
    for (size_t i = 0; i < sizeof nets / sizeof nets[0]; i++) {
        uint64_t each, all;
        long launches = step_of(nets[i].net, false, &each);
        CHECK_INT(step_of(nets[i].net, true, &all), launches - nets[i].fewer);
        CHECK(all == each);
    }
    *fake = (fake_cuda_control){0};
}

#define SOFTMAX_NET                                                                            \
    "layer { name: 'x' type: 'Input' top: 'x' input_param { shape { dim: 8 dim: 6 } } } "      \
    "layer { name: 'r' type: 'ReLU' bottom: 'x' top: 'r' } "                                   \
    "layer { name: 'y' type: 'Softmax' bottom: 'r' top: 'y' } "

enum { CHAIN_RUNS = 4, CHAIN_COUNT = 8 * 6 };

/* y of some runs, each of another x; launch `fail` of the second is refused (0: none is).
 * False: that run failed. */
static bool run_softmax(bool recorded, int fail, float y[CHAIN_RUNS][CHAIN_COUNT])
{
    dn_context_options options = device_options();
    *fake = (fake_cuda_control){.no_capture = !recorded};
    dn_context *context = make_context(&options);
    dn_net *net = NULL;
    dn_status second = DN_OK;
    uint32_t state = 3;
    CHECK_STATUS(dn_net_create_from_text(&net, context, SOFTMAX_NET, strlen(SOFTMAX_NET), NULL),
                 DN_OK);
    for (int run = 0; run < CHAIN_RUNS; run++) {
        float *x = dn_blob_mutable_data(dn_net_blob(net, "x"));
        for (int i = 0; i < CHAIN_COUNT; i++)
            x[i] = 4 * next_number(&state) - 2;
        fake->fail_launch = run == 1 && fail ? fake->launches + fail : 0;
        dn_status status = dn_net_forward(net, NULL);
        second = run == 1 ? status : second;
        CHECK(status == DN_OK || (status == DN_E_DEVICE && run == 1 && fail));
        if (status == DN_OK)
            memcpy(y[run], dn_blob_data(dn_net_blob(net, "y")), sizeof y[run]);
    }
    CHECK_AT(!recorded || fail || fake->replays > 0, "%ld replays", fake->replays);
    dn_net_free(net);
    dn_context_free(context);
    CHECK_INT(live(), 0);
    return second == DN_OK;
}

/* A chain that a recording ends with; also one whose launch is refused. */
static void check_chain_at_end(void)
{
    SECTION("a chain at the end of a recording");
    static float each[CHAIN_RUNS][CHAIN_COUNT], all[CHAIN_RUNS][CHAIN_COUNT];
    CHECK(run_softmax(false, 0, each));
    for (int fail = 0; fail < 8; fail++) {
        bool second = run_softmax(true, fail, all);
        for (int run = 0; run < CHAIN_RUNS; run++)
            CHECK_AT((run == 1 && !second) || !memcmp(all[run], each[run], sizeof each[run]),
                     "run %d, launch %d refused", run, fail);
    }
    *fake = (fake_cuda_control){0};
}

static dn_solver *make_small(dn_context *context)
{
    static const char text[] = "base_lr: 0.1 lr_policy: 'fixed' max_iter: 99 random_seed: 1";
    dn_solver *solver = make_solver(context, text, SMALL_NET, NULL);
    fill_small(solver);
    CHECK_STATUS(dn_solver_step(solver, 1), DN_OK);
    return solver;
}

/* Launches refused one after the other in the steps that are recorded, the second and third: a
 * status, or the bits that they always have, and what follows works. */
static void check_failed_recording(void)
{
    SECTION("a failed launch of a recording");
    dn_context_options options = device_options();
    uint64_t hash[2] = {0}; /* after three steps, and five */
    long failed = 0, more = 1;
    for (int i = -1; i < 0 || more; i++) { /* before it none is */
        *fake = (fake_cuda_control){0};
        dn_context *context = make_context(&options);
        dn_solver *solver = make_small(context);
        fake->fail_launch = i < 0 ? 0 : fake->launches + 1 + i;
        dn_status status = dn_solver_step(solver, 2);
        CHECK(status == DN_OK || status == DN_E_DEVICE);
        failed += status != DN_OK;
        more = fake->launches >= fake->fail_launch;
        fake->fail_launch = 0;
        for (int k = 0; k < 2; k++) {
            uint64_t now = hash_weights(dn_solver_net(solver));
            hash[k] = i < 0 ? now : hash[k];
            CHECK_AT(status || now == hash[k], "launch %d", i);
            CHECK_STATUS(dn_solver_step(solver, 2), DN_OK);
        }
        dn_solver_free(solver);
        dn_context_free(context);
        CHECK_INT(live(), 0);
    }
    CHECK(failed > 0);
    *fake = (fake_cuda_control){0};
}

/* The first launch of the chain's kernel on a device is refused: the next solver's steps are
 * recorded. */
static void check_failed_load(void)
{
    SECTION("a chain's kernel that is loaded late");
    dn_context_options options = device_options();
    options.device = 2;
    *fake = (fake_cuda_control){0};
    dn_context *context = make_context(&options);
    dn_status status = DN_E_DEVICE;
    for (int i = 1; status && i < 40; i++) { /* what is refused before that is a failed step */
        dn_solver *solver = make_small(context);
        fake->fail_launch = fake->launches + i;
        status = dn_solver_step(solver, 1);
        dn_solver_free(solver);
    }
    CHECK_STATUS(status, DN_OK);
    fake->fail_launch = 0;
    dn_solver *solver = make_small(context);
    long before = fake->replays;
    CHECK_STATUS(dn_solver_step(solver, 3), DN_OK);
    CHECK_INT(fake->replays - before, 3);
    dn_solver_free(solver);
    dn_context_free(context);
    CHECK_INT(live(), 0);
    *fake = (fake_cuda_control){0};
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

/* No memory, and an error of cuDNN's own, are failures: nothing stands in for it, and the next
 * step is cuDNN's again. */
static void check_dnn_fails(void)
{
    SECTION("cuDNN fails");
    static const struct {
        const char *says;
        dn_status status;
    } all[] = {{"4003", DN_E_NOMEM},
               {"4004", DN_E_NOMEM},
               {"5003", DN_E_NOMEM},
               {"4000", DN_E_DEVICE}};
    dn_context_options options = device_options();
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        *fake = (fake_cuda_control){0};
        dn_context *context = make_context(&options);
        dn_solver *solver = make(context, 0);
        setenv("FAKE_DNN_FAILS", all[i].says, 1);
        CHECK_MESSAGE(dn_solver_step(solver, 1), all[i].status,
                      "cuDNN: a convolution: a fake refusal");
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
    CHECK_AT(text && strstr(text, "[cuda:kernel, cuDNN: refused]") &&
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

/* cuDNN is there and does not start: convolutions are done, and the plan says why so slowly. */
static void check_absent(void)
{
    SECTION("cuDNN does not start");
    dn_context_options options = device_options();
    setenv("FAKE_DNN_ABSENT", "4004", 1); /* no memory: there may be some for another net */
    dn_context *context = make_context(&options);
    dn_solver *solver = make(context, 0);
    dn_solver_free(solver);
    unsetenv("FAKE_DNN_ABSENT");
    solver = make(context, 0);
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

/* The device goes away in the middle: the context can be freed, and a new one works. */
static void check_lost(void)
{
    SECTION("a lost device");
    dn_context_options options = device_options();
    for (int at = 1; at < 100; at += 7) {
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

static void note(void *user, int32_t level, const char *line)
{
    (void)level;
    snprintf(user, 512, "%s", line);
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
    CHECK_MESSAGE(dn_context_create(&context, &options), DN_E_DEVICE,
                  "no CUDA-capable device is detected (cudaErrorNoDevice)");
    unsetenv("FAKE_CUDA_NONE");
    fake->driver = 11040;
    CHECK_MESSAGE(dn_context_create(&context, &options), DN_E_DEVICE,
                  "the driver knows CUDA 11.4, this module needs");
    fake->driver = -1;
    CHECK_MESSAGE(dn_context_create(&context, &options), DN_E_DEVICE,
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
    CHECK_MESSAGE(dn_context_create(&context, &options), DN_E_NOMEM, "out of memory");
    CHECK_INT(live(), 0);
    *fake = (fake_cuda_control){0};
}

static void make_team(dn_context **context, dn_solver **solver, char *line)
{
    static const char text[] =
        "base_lr: 0.01 lr_policy: 'fixed' momentum: 0.9 max_iter: 9 random_seed: 1";
    for (int r = 0; r < 2; r++) {
        dn_context_options options = device_options();
        dn_solver_options o = {.struct_size = sizeof o, .rank = r, .num_ranks = 2};
        options.device = 1 + r;
        options.log = note;
        options.log_user = line;
        context[r] = make_context(&options);
        solver[r] = make_solver(context[r], text, DIGITS_NET, &o);
        CHECK_STATUS(
            dn_net_set_memory_data(dn_solver_net(solver[r]), NULL, images, labels, DIGITS),
            DN_OK);
    }
}

static void free_team(dn_context **context, dn_solver **solver, dn_parallel *parallel)
{
    dn_parallel_free(parallel);
    for (int r = 0; r < 2; r++) {
        dn_solver_free(solver[r]);
        dn_context_free(context[r]);
    }
    CHECK_INT(live(), 0);
    *fake = (fake_cuda_control){0};
}

/* Two ranks go through the host where NCCL will not have them. */
static void check_refused_team(void)
{
    SECTION("NCCL refuses");
    dn_context *context[2];
    dn_solver *solver[2];
    dn_parallel *parallel = NULL;
    char line[512] = "";
    make_team(context, solver, line);
    setenv("FAKE_NCCL_REFUSES", "1", 1);
    CHECK_STATUS(dn_parallel_create(&parallel, solver, 2), DN_OK);
    unsetenv("FAKE_NCCL_REFUSES");
    CHECK_AT(strstr(line, "NCCL: joining the devices: a fake failure: a fake reason") != NULL,
             "'%s'", line);
    CHECK(parallel && !strcmp(dn_parallel_transport(parallel), "host"));
    CHECK_STATUS(dn_parallel_step(parallel, 4), DN_OK);
    CHECK(hash_weights(dn_solver_net(solver[0])) == hash_weights(dn_solver_net(solver[1])));
    free_team(context, solver, parallel);
}

/* NCCL says no more than that CUDA failed: what CUDA says of it is said, too. */
static void check_lost_team(void)
{
    SECTION("NCCL on a lost device");
    static const char *const joining[] = {
        "making a stream: unspecified launch failure (cudaErrorLaunchFailure)",
        "NCCL: joining the devices: unhandled cuda error: unspecified launch failure"};
    dn_context *context[2];
    dn_solver *solver[2];
    dn_parallel *parallel = NULL;
    for (int within = 0; within < 2; within++) {
        char line[512] = "";
        make_team(context, solver, line);
        fake->launches = 1;
        if (within)
            *nccl_loses = &fake->lost;
        else
            fake->lost = 1;
        CHECK_STATUS(dn_parallel_create(&parallel, solver, 2), DN_OK); /* on the host, then */
        CHECK_AT(strstr(line, joining[within]) != NULL, "'%s'", line);
        CHECK_MESSAGE(dn_parallel_step(parallel, 2), DN_E_DEVICE, "unspecified launch failure");
        free_team(context, solver, parallel);
    }
    char line[512] = "";
    make_team(context, solver, line);
    CHECK_STATUS(dn_parallel_create(&parallel, solver, 2), DN_OK);
    CHECK_STATUS(dn_parallel_step(parallel, 2), DN_OK);
    *nccl_loses = &fake->lost;
    CHECK_MESSAGE(dn_parallel_step(parallel, 2), DN_E_DEVICE, "unspecified launch failure");
    free_team(context, solver, parallel);
    /* lost after the last mean: nobody says goodbye to a rank that cannot answer */
    make_team(context, solver, line);
    CHECK_STATUS(dn_parallel_create(&parallel, solver, 2), DN_OK);
    CHECK_STATUS(dn_parallel_step(parallel, 2), DN_OK);
    long before = *nccl_aborted;
    fake->lost = 1;
    free_team(context, solver, parallel);
    CHECK_INT(*nccl_aborted - before, 2);
}

/* A communicator is freed with work still under way: nobody is told so as a failure. */
static void check_healthy_team(void)
{
    SECTION("a team ends");
    dn_context_options options = device_options();
    dn_context *context[2], *other = make_context(&options);
    dn_solver *solver[2], *alone = make(other, 0);
    dn_parallel *parallel = NULL;
    char line[512] = "";
    make_team(context, solver, line);
    CHECK_STATUS(dn_parallel_create(&parallel, solver, 2), DN_OK);
    CHECK(parallel && strcmp(dn_parallel_transport(parallel), "host") != 0);
    CHECK_STATUS(dn_parallel_step(parallel, 2), DN_OK);
    dn_parallel_free(parallel);
    CHECK_STATUS(dn_solver_step(alone, 1), DN_OK);
    dn_solver_free(alone);
    dn_context_free(other);
    free_team(context, solver, NULL);
}

#define PRODUCT(name, from, outputs)                                                           \
    "layer { name: '" name "' type: 'InnerProduct' bottom: '" from "' top: '" name "' "        \
    "inner_product_param { num_output: " outputs " weight_filler { type: 'xavier' } } } "
/* Weights of a MiB and more, twice: those of each product are ready in a part of their own. */
#define OVERLAP_NET                                                                            \
    "layer { name: 'd' type: 'MemoryData' top: 'd' top: 't' memory_data_param { "              \
    "  batch_size: 4 channels: 1 height: 16 width: 16 } } " PRODUCT("a", "d", "1100")          \
        PRODUCT("b", "a", "300")                                                               \
            PRODUCT("c", "b", "10") "layer { name: 'l' type: 'SoftmaxWithLoss' bottom: 'c' "   \
                                    "bottom: 't' top: 'l' } "

enum { MEANS = 6 };
static void *computes;    /* rank 0's stream */
static long asked[MEANS]; /* what was queued there when a mean of its was asked for */
static int means;

static void tell(int rank, void *stream)
{
    if (rank)
        return;
    CHECK(stream != computes);
    asked[means++ % MEANS] = queued_in(computes);
}

/* Means of late layers' gradients are asked for, in a stream of their own, before the backward
 * of earlier layers is queued; the update comes after all of them. */
static void check_overlap(void)
{
    SECTION("means while earlier layers compute");
    dn_context *context[2];
    dn_solver *solver[2];
    dn_parallel *parallel = NULL;
    computes = stream_of(0);
    for (int r = 0; r < 2; r++) {
        dn_context_options options = device_options();
        dn_solver_options o = {.struct_size = sizeof o, .rank = r, .num_ranks = 2};
        options.device = 1 + r;
        options.device_stream = stream_of(r);
        context[r] = make_context(&options);
        solver[r] = make_solver(context[r], "base_lr: 0.01 lr_policy: 'fixed' random_seed: 1",
                                OVERLAP_NET, &o);
        CHECK_STATUS(
            dn_net_set_memory_data(dn_solver_net(solver[r]), NULL, images, labels, DIGITS),
            DN_OK);
    }
    CHECK_STATUS(dn_parallel_create(&parallel, solver, 2), DN_OK);
    *nccl_tells = tell;
    for (int step = 0; step < 4; step++) { /* the last ones are replays */
        means = 0;
        CHECK_STATUS(dn_parallel_step(parallel, 1), DN_OK);
        CHECK_INT(means, MEANS);
        for (int i = 1; i < MEANS; i++)
            CHECK_AT((asked[i] > asked[i - 1]) == (i % 2 == 0),
                     "step %d: mean %d is asked for "
                     "after %ld, mean %d after %ld",
                     step, i, asked[i], i - 1, asked[i - 1]);
        CHECK(queued_in(computes) > asked[MEANS - 1]);
    }
    *nccl_tells = NULL;
    free_team(context, solver, parallel);
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
    char path[4096];
    if (argc != 6)
        return 2;
    folder = argv[1];
    snprintf(path, sizeof path, "%s/deepnet-cuda.so", folder);
    void *module = dlopen(path, RTLD_NOW), *blas = dlopen(argv[2], RTLD_NOW);
    void *dnn = dlopen(argv[3], RTLD_NOW), *nccl = dlopen(argv[4], RTLD_NOW);
    void *lt = dlopen(argv[5], RTLD_NOW);
    lt_runs = find(lt, "fake_lt_runs");
    lt_live = find(lt, "fake_lt_live");
    fake = find(module, "fake_cuda");
    *(void **)&live = find(module, "fake_cuda_live");
    *(void **)&current = find(module, "fake_cuda_current");
    *(void **)&stream_of = find(module, "fake_cuda_stream");
    *(void **)&queued_in = find(module, "fake_cuda_queued");
    dnn_runs = find(dnn, "fake_dnn_runs");
    dnn_trials = find(dnn, "fake_dnn_trials");
    dnn_narrow = find(dnn, "fake_dnn_narrow");
    dnn_hasty = find(dnn, "fake_dnn_hasty");
    dnn_rounded = find(dnn, "fake_dnn_rounded");
    *(int **)find(dnn, "fake_dnn_leaves") = &fake->left;
    blas_unordered = find(blas, "fake_blas_unordered");
    blas_types = find(blas, "fake_blas_types");
    blas_handles = find(blas, "fake_blas_handles");
    nccl_loses = find(nccl, "fake_nccl_loses");
    nccl_aborted = find(nccl, "fake_nccl_aborted");
    nccl_tells = find(nccl, "fake_nccl_tells");
    make_digits(images, labels);
    check_stream();
    check_recordings();
    check_failed_load(); /* before any other has its device */
    check_chain();
    check_chain_at_end();
    check_failed_recording();
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
    check_dnn_refuses();
    check_layouts();
    check_nan();
    check_failed_launch();
    check_lost();
    check_mode();
    check_no_device();
    check_memory();
    check_refused_team();
    check_lost_team();
    check_healthy_team();
    check_overlap();
    check_gone(); /* leaves things on the device */
    return check_summary();
}
