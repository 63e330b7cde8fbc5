/* SPDX-License-Identifier: BSD-2-Clause
 * test_lanes.c: recordings in two streams, over the fakes: a replay goes on with either as
 * early or as late as it may, and whatever the order its bits are those of one op after the
 * other; the way from a step's beginning to its end is as short as it is meant to be.
 * test_lanes FOLDER */
#include <dlfcn.h>
#include <stdbool.h>

#include "fake_cuda.h"
#include "solver_text.h"

enum { ORDERS = 5, LENET = 16, LENET_SIZE = 28 * 28 };

static const char *folder;
static fake_cuda_control *fake;
static long (*live)(void);
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

static void find(void *library, const char *name, void *to)
{
    void *at = library ? dlsym(library, name) : NULL;
    CHECK_AT(at != NULL, "%s is not to be found", name);
    if (!at)
        exit(check_summary());
    memcpy(to, &at, sizeof at);
}

/* The weights after some steps; with so much device memory after the first one (0: without
 * end). */
static uint64_t train(const char *net, const dn_solver_options *solver_options, size_t left)
{
    static const char text[] =
        "base_lr: 0.01 lr_policy: 'fixed' momentum: 0.9 max_iter: 99 random_seed: 1";
    dn_context_options options = {
        .struct_size = sizeof options, .device = 1, .module_folder = folder, .backends = "ref"};
    dn_context *context = NULL;
    CHECK_STATUS(dn_context_create(&context, &options), DN_OK);
    if (!context)
        exit(check_summary());
    dn_solver *solver = make_solver(context, text, net, solver_options);
    CHECK_STATUS(dn_net_set_memory_data(dn_solver_net(solver), NULL, images, labels, LENET),
                 DN_OK);
    CHECK_STATUS(dn_solver_step(solver, 1), DN_OK);
    fake->limit = left ? fake->held + left : 0;
    CHECK_STATUS(dn_solver_step(solver, 3), DN_OK);
    uint64_t hash = hash_weights(dn_solver_net(solver));
    dn_solver_free(solver);
    dn_context_free(context);
    CHECK_INT(live(), 0);
    return hash;
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

int main(int argc, char **argv)
{
    char path[4096];
    uint32_t state = 7;
    if (argc != 2)
        return 2;
    folder = argv[1];
    snprintf(path, sizeof path, "%s/deepnet-cuda.so", folder);
    void *module = dlopen(path, RTLD_NOW);
    find(module, "fake_cuda", &fake);
    find(module, "fake_cuda_live", &live);
    for (int i = 0; i < LENET * LENET_SIZE; i++)
        images[i] = next_number(&state);
    for (int i = 0; i < LENET; i++)
        labels[i] = (float)(i % 10);
    check_way();
    check_orders("digits", DIGITS_NET);
    check_orders("branches", BRANCHES_NET);
    return check_summary();
}
