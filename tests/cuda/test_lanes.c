/* SPDX-License-Identifier: BSD-2-Clause
 * test_lanes.c: recordings in two streams, over the fakes: a replay goes on with either as
 * early or as late as it may, and whatever the order its bits are those of one op after the
 * other; the way from a step's beginning to its end is as short as it is meant to be. A call
 * that fails on the way to a recording changes no number, and no memory is kept for nothing.
 * The module that is built for comparison keeps to one stream.
 * test_lanes FOLDER */
#include <dlfcn.h>
#include <limits.h>
#include <stdbool.h>

#include "fake_cuda.h"
#include "solver_text.h"

enum { ORDERS = 5, LENET = 16, LENET_SIZE = 28 * 28 };

static const char *folder;
static const char *module; /* its path; NULL: that of the folder */
static fake_cuda_control *fake;
static long (*live)(void);
static void *(*stream_of)(int);
static float images[LENET * LENET_SIZE], labels[LENET];

#define LENET_NET                                                                              \
    "layer { name: 'd' type: 'MemoryData' top: 'd' top: 't' memory_data_param { "              \
    "  batch_size: 16 channels: 1 height: 28 width: 28 } } "                                   \
    "layer { name: 'c1' type: 'Convolution' bottom: 'd' top: 'c1' convolution_param { "        \
    "  num_output: 20 kernel_size: 5 weight_filler { type: 'xavier' } } } "                    \
    "layer { name: 'p1' type: 'Pooling' bottom: 'c1' top: 'p1' pooling_param { "               \
    "  kernel_size: 2 stride: 2 } } "                                                          \
    "layer { name: 'c2' type: 'Convolution' bottom: 'p1' top: 'c2' convolution_param { "       \
    "  num_output: 50 kernel_size: 5 weight_filler { type: 'xavier' } } } "                    \
    "layer { name: 'p2' type: 'Pooling' bottom: 'c2' top: 'p2' pooling_param { "               \
    "  kernel_size: 2 stride: 2 } } "                                                          \
    "layer { name: 'i1' type: 'InnerProduct' bottom: 'p2' top: 'i1' inner_product_param { "    \
    "  num_output: 500 weight_filler { type: 'xavier' } } } "                                  \
    "layer { name: 'r1' type: 'ReLU' bottom: 'i1' top: 'i1' } "                                \
    "layer { name: 'i2' type: 'InnerProduct' bottom: 'i1' top: 'i2' inner_product_param { "    \
    "  num_output: 10 weight_filler { type: 'xavier' } } } "                                   \
    "layer { name: 'loss' type: 'SoftmaxWithLoss' bottom: 'i2' bottom: 't' top: 'loss' } "

#define BRANCH(name, from, channels, size, pad)                                                \
    "layer { name: '" name "' type: 'Convolution' bottom: '" from "' top: '" name "' "         \
    "convolution_param { num_output: " channels " kernel_size: " size " pad: " pad             \
    " weight_filler { type: 'xavier' } } } layer { name: '" name                               \
    "r' type: 'ReLU' bottom: '" name "' top: '" name "' } "
/* Branches that meet again, two convolutions of one weight, and moments that go on. */
#define BRANCHES_NET                                                                           \
    "layer { name: 'd' type: 'MemoryData' top: 'd' top: 't' memory_data_param { "              \
    "  batch_size: 16 channels: 1 height: 28 width: 28 } } "                                   \
    "layer { name: 'p' type: 'Pooling' bottom: 'd' top: 'p' pooling_param { kernel_size: 4 "   \
    "  stride: 4 } } " BRANCH("a", "p", "4", "1", "0") BRANCH("b", "p", "4", "3", "1") BRANCH( \
        "c", "p", "6", "5",                                                                    \
        "2") "layer { name: 's' type: 'Eltwise' bottom: 'a' bottom: 'b' top: 's' } "           \
             "layer { name: 'm' type: 'Concat' bottom: 's' bottom: 'c' bottom: 'a' top: 'm' "  \
             "} "                                                                              \
             "layer { name: 'n' type: 'BatchNorm' bottom: 'm' top: 'n' } "                     \
             "layer { name: 'u' type: 'InnerProduct' bottom: 'n' top: 'u' "                    \
             "  param { name: 'w' } param { name: 'v' } inner_product_param { num_output: 10 " \
             "  weight_filler { type: 'xavier' } } } "                                         \
             "layer { name: 'f' type: 'Sigmoid' bottom: 'm' top: 'f' } "                       \
             "layer { name: 'x' type: 'InnerProduct' bottom: 'f' top: 'x' "                    \
             "  param { name: 'w' } param { name: 'v' } inner_product_param { num_output: 10 " \
             "  weight_filler { type: 'xavier' } } } "                                         \
             "layer { name: 'l' type: 'SoftmaxWithLoss' bottom: 'u' bottom: 't' top: 'l' } "   \
             "layer { name: 'k' type: 'SoftmaxWithLoss' bottom: 'x' bottom: 't' top: 'k' "     \
             "  loss_weight: 0.5 } "

#define FEW_NET                                                                                \
    "layer { name: 'd' type: 'MemoryData' top: 'd' top: 't' memory_data_param { "              \
    "  batch_size: 16 channels: 1 height: 28 width: 28 } } "                                   \
    "layer { name: 'p' type: 'Pooling' bottom: 'd' top: 'p' pooling_param { kernel_size: 4 "   \
    "  stride: 4 } } " BRANCH("a", "p", "4", "3", "1") BRANCH(                                 \
        "b", "a", "4", "3",                                                                    \
        "1") "layer { name: 'u' type: 'InnerProduct' bottom: 'b' top: 'u' "                    \
             "inner_product_param { "                                                          \
             "  num_output: 10 weight_filler { type: 'xavier' } } } "                          \
             "layer { name: 'l' type: 'SoftmaxWithLoss' bottom: 'u' bottom: 't' top: 'l' } "

static void find(void *library, const char *name, void *to)
{
    void *at = library ? dlsym(library, name) : NULL;
    CHECK_AT(at != NULL, "%s is not to be found", name);
    if (!at)
        exit(check_summary());
    memcpy(to, &at, sizeof at);
}

static dn_context *make_context(void *stream)
{
    dn_context_options options = {.struct_size = sizeof options,
                                  .device = module ? 0 : 1,
                                  .device_stream = stream,
                                  .module_folder = folder,
                                  .backends = module ? module : "ref"};
    dn_context *context = NULL;
    CHECK_STATUS(dn_context_create(&context, &options), DN_OK);
    if (!context)
        exit(check_summary());
    return context;
}

static dn_solver *make(dn_context *context, const char *net, const dn_solver_options *options)
{
    static const char text[] =
        "base_lr: 0.01 lr_policy: 'fixed' momentum: 0.9 max_iter: 99 random_seed: 1";
    dn_solver *solver = make_solver(context, text, net, options);
    CHECK_STATUS(dn_net_set_memory_data(dn_solver_net(solver), NULL, images, labels, LENET),
                 DN_OK);
    return solver;
}

/* After one step. */
static dn_solver *begin(dn_context *context, const char *net, const dn_solver_options *options)
{
    dn_solver *solver = make(context, net, options);
    CHECK_STATUS(dn_solver_step(solver, 1), DN_OK);
    return solver;
}

/* The weights, of which nothing else is left. */
static uint64_t end(dn_context *context, dn_solver *solver)
{
    uint64_t hash = hash_weights(dn_solver_net(solver));
    dn_solver_free(solver);
    dn_context_free(context);
    CHECK_INT(live(), 0);
    return hash;
}

/* The weights after some steps; with so much device memory after the first one (0: without
 * end). */
static uint64_t train(const char *net, const dn_solver_options *solver_options, size_t left)
{
    dn_context *context = make_context(NULL);
    dn_solver *solver = begin(context, net, solver_options);
    fake->limit = left ? fake->held + left : 0;
    CHECK_STATUS(dn_solver_step(solver, 3), DN_OK);
    return end(context, solver);
}

static void check_orders(const char *name, const char *net)
{
    SECTION(name);
    static const int32_t computes[] = {DN_COMPUTE_F32, DN_COMPUTE_BF16};
    for (int i = 0; i < 4; i++) {
        dn_solver_options options = {.struct_size = sizeof options,
                                     .compute = computes[i % 2],
                                     .memory = i < 2 ? DN_MEMORY_READABLE : DN_MEMORY_COMPACT};
        *fake = (fake_cuda_control){.no_capture = 1};
        uint64_t hash = train(net, &options, 0);
        for (int order = 0; order < ORDERS; order++) {
            *fake = (fake_cuda_control){.order = order};
            CHECK_AT(train(net, &options, 0) == hash, "mode %d, order %d", i, order);
            CHECK_INT(fake->lanes, 2);
            CHECK(fake->replays > 0);
        }
    }
}

/* Of LeNet's step: 24 launches, of which so many come one after the other. Where there is no
 * memory for a second stream's workspace all do. */
static void check_way(void)
{
    SECTION("the way through a step");
    *fake = (fake_cuda_control){0};
    uint64_t hash = train(LENET_NET, NULL, 0);
    CHECK_INT(fake->all, 24);
    CHECK_INT(fake->path, 17);
    CHECK_INT(fake->lanes, 2);
    CHECK(train(LENET_NET, NULL, (size_t)1 << 20) == hash);
    CHECK_INT(fake->all, 24);
    CHECK_INT(fake->path, 24);
    CHECK_INT(fake->lanes, 1);
    *fake = (fake_cuda_control){0};
}

/* The weights after four steps; this call of the second one fails, and so many after it. That
 * step is as ever or says why; then it comes again, unless it was said too late for that. */
static uint64_t train_failing(void *stream, long call, long more, long *calls, bool *late)
{
    dn_context *context = make_context(stream);
    dn_solver *solver = begin(context, FEW_NET, NULL);
    fake->calls = 0;
    fake->fail_call = call;
    fake->fail_more = more;
    dn_status status = dn_solver_step(solver, 1);
    CHECK_AT(call || status == DN_OK, "%s", dn_last_error());
    *calls = fake->calls;
    *late = status != DN_OK && dn_solver_iteration(solver) == 2;
    fake->fail_call = 0;
    CHECK_STATUS(dn_solver_step(solver, 4 - dn_solver_iteration(solver)), DN_OK);
    return end(context, solver);
}

/* Of events, streams, recordings, and of libraries that are to follow to a stream. */
static void check_failures(void)
{
    SECTION("a call that fails");
    for (int i = 0; i < 4; i++) {
        void *stream = i % 2 ? stream_of(0) : NULL;
        long more = i < 2 ? 0 : LONG_MAX / 2;
        long calls = 0, some = 0;
        bool late = false;
        *fake = (fake_cuda_control){0};
        uint64_t hash = train_failing(stream, 0, 0, &calls, &late);
        CHECK_INT(fake->lanes, 2);
        CHECK(calls > 10);
        for (long call = 1; call <= calls; call++)
            CHECK_AT(train_failing(stream, call, more, &some, &late) == hash || (more && late),
                     "mode %d, call %ld of %ld", i, call, calls);
    }
}

/* What there is no room for beside the rest is given back, at once or when nobody uses it and
 * somebody else needs it. */
static void check_memory(void)
{
    SECTION("memory of the second stream");
    static const size_t left[] = {(size_t)1 << 20, (size_t)40 << 20};
    for (int i = 0; i < 2; i++) {
        *fake = (fake_cuda_control){0};
        dn_context *context = make_context(NULL);
        dn_solver *solver = begin(context, FEW_NET, NULL);
        size_t held = fake->held;
        fake->limit = held + left[i];
        CHECK_STATUS(dn_solver_step(solver, 3), DN_OK);
        CHECK_INT(fake->lanes, 1);
        CHECK_INT(fake->held, held);
        end(context, solver);
    }
    *fake = (fake_cuda_control){0};
    dn_context *context = make_context(NULL);
    dn_solver *solver = begin(context, FEW_NET, NULL);
    CHECK_STATUS(dn_solver_step(solver, 3), DN_OK);
    CHECK_INT(fake->lanes, 2);
    dn_solver *other = make(context, LENET_NET, NULL);
    fake->limit = fake->held;
    CHECK_STATUS(dn_solver_step(other, 1), DN_E_NOMEM);
    CHECK_INT(fake->held, fake->limit);
    CHECK_STATUS(dn_solver_step(solver, 1), DN_OK);
    dn_solver_free(other);
    dn_solver_free(solver);
    fake->limit = fake->held;
    solver = begin(context, LENET_NET, NULL);
    CHECK(fake->held < fake->limit);
    end(context, solver);
    *fake = (fake_cuda_control){0};
}

/* one-stream.so, and the fakes in it; the same bits. */
static void check_one_stream(void)
{
    SECTION("the module with one stream");
    char path[4096];
    snprintf(path, sizeof path, "%s/one-stream.so", folder);
    fake_cuda_control *other = NULL;
    find(dlopen(path, RTLD_NOW), "fake_cuda", &other);
    *fake = (fake_cuda_control){0};
    uint64_t hash = train(LENET_NET, NULL, 0);
    CHECK_INT(fake->lanes, 2);
    module = path;
    CHECK(train(LENET_NET, NULL, 0) == hash);
    module = NULL;
    CHECK_INT(other->lanes, 1);
    CHECK_INT(other->all, 24);
    CHECK(other->replays > 0);
}

int main(int argc, char **argv)
{
    char path[4096];
    uint32_t state = 7;
    if (argc != 2)
        return 2;
    folder = argv[1];
    snprintf(path, sizeof path, "%s/deepnet-cuda.so", folder);
    void *library = dlopen(path, RTLD_NOW);
    find(library, "fake_cuda", &fake);
    find(library, "fake_cuda_live", &live);
    find(library, "fake_cuda_stream", &stream_of);
    for (int i = 0; i < LENET * LENET_SIZE; i++)
        images[i] = next_number(&state);
    for (int i = 0; i < LENET; i++)
        labels[i] = (float)(i % 10);
    check_way();
    check_failures();
    check_memory();
    check_one_stream();
    check_orders("digits", DIGITS_NET);
    check_orders("branches", BRANCHES_NET);
    return check_summary();
}
