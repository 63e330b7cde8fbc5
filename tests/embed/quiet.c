/* SPDX-License-Identifier: BSD-2-Clause
 * quiet.c: while shapes stand nothing in this process allocates: malloc and its kin count,
 * whoever calls them. What a module brings may keep its books (oneDNN lists the arguments of a
 * call in nodes of up to 152 bytes), but takes no scratch.
 * Usage: quiet CHAIN [FOLDER] */
#define _GNU_SOURCE
#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

#include "check.h"
#include "deepnet/deepnet.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || !defined(__GLIBC__)
#define SANITIZED /* these bring a malloc of their own */
#endif

static atomic_int armed, count;
static size_t least = 1; /* bytes that count */

#ifndef SANITIZED
extern void *__libc_malloc(size_t size), *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *old, size_t size), *__libc_memalign(size_t to, size_t size);

static void note(size_t size)
{
    if (size >= least && atomic_load_explicit(&armed, memory_order_relaxed))
        atomic_fetch_add(&count, 1);
}

void *malloc(size_t size)
{
    note(size);
    return __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
    note(n * size);
    return __libc_calloc(n, size);
}

void *realloc(void *old, size_t size)
{
    note(size);
    return __libc_realloc(old, size);
}

void *aligned_alloc(size_t to, size_t size)
{
    note(size);
    return __libc_memalign(to, size);
}

int posix_memalign(void **out, size_t to, size_t size)
{
    note(size);
    void *memory = __libc_memalign(to, size);
    if (memory)
        *out = memory;
    return memory ? 0 : ENOMEM;
}
#endif

#define CONV(name, bottom, more)                                                               \
    "layer { name: '" name "' type: 'Convolution' bottom: '" bottom "' top: '" name "' "       \
    "convolution_param { weight_filler { type: 'xavier' } " more " } } "
#define LAYER(name, type, bottom, top, rest)                                                   \
    "layer { name: '" name "' type: '" type "' bottom: '" bottom "' top: '" top "' " rest " }" \
    " "

/* Convolutions that are cut by images, rows and channels, wide and 1x1, and what is between. */
static const char net_text[] =
    "layer { name: 'x' type: 'Input' top: 'x' top: 't' input_param { "
    "shape { dim: 4 dim: 64 dim: 14 dim: 14 } shape { dim: 4 } } } " CONV(
        "a", "x", "num_output: 64 kernel_size: 3 pad: 1 bias_term: false") LAYER("an",
                                                                                 "BatchNorm",
                                                                                 "a", "a", "")
        LAYER("as", "Scale", "a", "a", "scale_param { bias_term: true }") LAYER(
            "ar", "ReLU", "a", "a", "") CONV("b", "a", "num_output: 128 kernel_size: 1")
            CONV("c", "a", "num_output: 128 kernel_size: 3 pad: 1 group: 2") LAYER(
                "cr", "ReLU", "c", "c",
                "") "layer { name: 'd' type: 'Eltwise' bottom: 'b' bottom: 'c' top: 'd' "
                    "} " LAYER("p", "Pooling", "d", "p",
                               "pooling_param { kernel_size: 3 stride: 2 }") LAYER("n", "LRN",
                                                                                   "p", "n", "")
                        CONV("e", "n", "num_output: 320 kernel_size: 3 stride: 2 pad: 1")
                            CONV("f", "e", "num_output: 320 kernel_size: 1 stride: 2") LAYER(
                                "ip", "InnerProduct", "f", "ip",
                                "inner_product_param { num_output: 10 weight_filler { type: "
                                "'xavier' } }") "layer { name: 'loss' type: 'SoftmaxWithLoss' "
                                                "bottom: 'ip' bottom: 't' top: 'loss' } ";

static void run(dn_net *net, bool train)
{
    CHECK_STATUS(dn_net_clear_gradients(net), DN_OK);
    CHECK_STATUS(dn_net_forward(net, NULL), DN_OK);
    if (train)
        CHECK_STATUS(dn_net_backward(net), DN_OK);
}

static void check_net(dn_context *context, int32_t phase, int32_t compute)
{
    dn_net *net = NULL;
    dn_net_options o = {
        .struct_size = sizeof o, .phase = phase, .compute = compute, .compute_fallback = 1};
    bool train = phase == DN_PHASE_TRAIN;
    CHECK_STATUS(dn_net_create_from_text(&net, context, net_text, sizeof net_text - 1, &o),
                 DN_OK);
    for (int i = 0; net && i < 2; i++)
        run(net, train);
    atomic_store(&count, 0);
    atomic_store(&armed, 1);
    for (int i = 0; net && i < 3; i++)
        run(net, train);
    atomic_store(&armed, 0);
    CHECK_AT(atomic_load(&count) == 0, "%d allocations, phase %d, compute %d", (int)count,
             (int)phase, (int)compute);
    dn_net_free(net);
}

/* Records from a database, the loader's thread, random numbers, and two kinds of update. */
static void check_solver(dn_context *context, int32_t memory, const char *rule)
{
    static const char net[] =
        "layer { name: 'd' type: 'Data' top: 'd' top: 't' data_param { source: '" RECORDS "' "
        "  backend: LMDB batch_size: 8 } transform_param { scale: 0.004 mirror: true } } " CONV(
            "c", "d", "num_output: 8 kernel_size: 5")
            LAYER("p", "Pooling", "c", "p", "pooling_param { kernel_size: 2 stride: 2 }")
                LAYER("o", "Dropout", "p", "p", "") LAYER(
                    "i", "InnerProduct", "p", "i", "inner_product_param { num_output: 300 }")
                    LAYER("j", "InnerProduct", "i", "j",
                          "inner_product_param { num_output: 10 }") //
        "layer { name: 'l' type: 'SoftmaxWithLoss' bottom: 'j' bottom: 't' top: 'l' } ";
    dn_solver *solver = NULL;
    dn_solver_options o = {.struct_size = sizeof o, .memory = memory};
    dn_status st = dn_solver_create_from_text(&solver, context, rule, strlen(rule), net,
                                              sizeof net - 1, &o);
    if (st == DN_E_UNSUPPORTED) /* built without LMDB */
        return;
    CHECK_STATUS(st, DN_OK);
    CHECK_STATUS(dn_solver_step(solver, 3), DN_OK);
    atomic_store(&count, 0);
    atomic_store(&armed, 1);
    for (int i = 0; i < 5; i++) {
        CHECK_STATUS(dn_solver_step(solver, 1), DN_OK);
        CHECK(dn_solver_loss(solver) > 0);
    }
    atomic_store(&armed, 0);
    CHECK_AT(atomic_load(&count) == 0, "%d allocations, memory %d, %s", (int)count, (int)memory,
             rule);
    dn_solver_free(solver);
}

int main(int argc, char **argv)
{
    dn_context *context = NULL;
    dn_context_options o = {.struct_size = sizeof o,
                            .num_threads = 2,
                            .backends = argc > 1 ? argv[1] : "cpu,ref",
                            .module_folder = argc > 2 ? argv[2] : NULL};
    void *volatile before = malloc(1);
    CHECK_STATUS(dn_context_create(&context, &o), DN_OK);
#ifndef SANITIZED
    atomic_store(&armed, 1);
    free(before);
    before = malloc(1);
    atomic_store(&armed, 0);
    CHECK_INT(atomic_load(&count), 1); /* the counter counts */
#endif
    free(before);
    least = argc > 2 ? 256 : 1;
    for (int32_t phase = DN_PHASE_TRAIN; context && phase <= DN_PHASE_TEST; phase++) {
        check_net(context, phase, DN_COMPUTE_F32);
        check_net(context, phase, DN_COMPUTE_BF16);
    }
    for (int32_t memory = DN_MEMORY_READABLE; context && memory <= DN_MEMORY_COMPACT;
         memory++) {
        check_solver(context, memory,
                     "base_lr: 0.001 lr_policy: 'inv' gamma: 1e-4 power: 0.75 momentum: 0.9 "
                     "weight_decay: 5e-4 average_loss: 3 clip_gradients: 10");
        check_solver(
            context, memory,
            "type: 'Adam' base_lr: 0.001 lr_policy: 'fixed' momentum: 0.9 iter_size: 2");
        check_solver(context, memory, "base_lr: 0.001 lr_policy: 'fixed' momentum: 0.9");
    }
    dn_context_free(context);
    return check_summary();
}
