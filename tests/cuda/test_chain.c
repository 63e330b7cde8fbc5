/* SPDX-License-Identifier: BSD-2-Clause
 * test_chain.c: steps of the CUDA module that are recorded and replayed, over the fakes: as few
 * launches as there should be, the same bits as without, and after a launch that is refused
 * nothing is left of it. */
#include "books.h"

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
                {LOSS_NET(5, SoftmaxWithLoss) SIX_MORE, 24}}; /* 28 are four of at most 8 */
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

int main(int argc, char **argv)
{
    open_books(argc, argv);
    check_failed_load(); /* before any other has its device */
    check_recordings();
    check_chain();
    check_chain_at_end();
    check_failed_recording();
    CHECK_INT(*dnn_hasty + *blas_unordered, 0);
    return check_summary();
}
