/* SPDX-License-Identifier: BSD-2-Clause
 * check_sets.c: nets trained with AVX-512, emulated where it is not, and with AVX2 end with the
 * same weights, to the bit, in both layouts; and those of plain kernels with one thread and
 * three. */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "deepnet/deepnet.h"

extern const dn_backend_ops dn_cpu_backend, dn_cpu_backend_avx2, dn_cpu_backend_plain;
#ifdef CPU_HAVE_EMULATED
extern const dn_backend_ops dn_cpu_backend_emulated; /* AVX-512's kernels, made of AVX2 */
#else
#define dn_cpu_backend_emulated dn_cpu_backend
#endif
extern int openblas_get_parallel(void) __attribute__((weak));

#define PARAMS "weight_filler { type: 'xavier' } bias_filler { type: 'gaussian' std: 0.1 }"
#define CONV(name, bottom, k, rest)                                                            \
    "layer { name: '" name "' type: 'Convolution' bottom: '" bottom "' top: '" name            \
    "' convolution_param { num_output: " #k " " rest " " PARAMS " } }"
#define IP(name, bottom, k)                                                                    \
    "layer { name: '" name "' type: 'InnerProduct' bottom: '" bottom "' top: '" name           \
    "' inner_product_param { num_output: " #k " " PARAMS " } }"
#define LAYER(name, type, bottom, rest)                                                        \
    "layer { name: '" name "' type: '" type "' bottom: '" bottom "' top: '" name "' " rest " " \
    "}"
#define IN_PLACE(name, type, blob, rest)                                                       \
    "layer { name: '" name "' type: '" type "' bottom: '" blob "' top: '" blob "' " rest " }"
#define DATA(n, c, size)                                                                       \
    "layer { name: 'data' type: 'DummyData' top: 'data' top: 'label' dummy_data_param {"       \
    " shape { dim: " #n " dim: " #c " dim: " #size " dim: " #size " } shape { dim: " #n " }"   \
    " data_filler { type: 'gaussian' std: 1 } data_filler { type: 'constant' value: 3 } } }"
#define LOSS(bottom)                                                                           \
    "layer { name: 'loss' type: 'SoftmaxWithLoss' bottom: '" bottom "' bottom: 'label' }"

#define LENET(n)                                                                               \
    DATA(n, 1, 28)                                                                             \
    CONV("conv1", "data", 20, "kernel_size: 5")                                                \
    LAYER("pool1", "Pooling", "conv1", "pooling_param { kernel_size: 2 stride: 2 }")           \
    CONV("conv2", "pool1", 50, "kernel_size: 5")                                               \
    LAYER("pool2", "Pooling", "conv2", "pooling_param { kernel_size: 2 stride: 2 }")           \
    IP("ip1", "pool2", 500)                                                                    \
    IN_PLACE("relu", "ReLU", "ip1", "") IP("ip2", "ip1", 10) LOSS("ip2")

#define BLOCKS                                                                                 \
    DATA(5, 3, 31)                                                                             \
    CONV("conv1", "data", 40, "kernel_size: 3 stride: 2 pad: 1")                               \
    IN_PLACE("relu1", "ReLU", "conv1", "")                                                     \
    LAYER("lrn", "LRN", "conv1", "lrn_param { local_size: 5 alpha: 0.1 }")                     \
    CONV("dw", "lrn", 40, "kernel_size: 3 pad: 1 group: 40")                                   \
    IN_PLACE("bn", "BatchNorm", "dw", "")                                                      \
    IN_PLACE("scale", "Scale", "dw", "scale_param { bias_term: true }")                        \
    CONV("point", "dw", 72, "kernel_size: 1")                                                  \
    IN_PLACE("prelu", "PReLU", "point", "")                                                    \
    CONV("wide", "point", 45, "kernel_size: 3 pad: 1")                                         \
    IN_PLACE("mvn", "MVN", "wide", "")                                                         \
    IN_PLACE("drop", "Dropout", "wide", "")                                                    \
    LAYER("pool", "Pooling", "wide", "pooling_param { pool: AVE kernel_size: 4 stride: 4 }")   \
    IP("ip", "pool", 10) LOSS("ip")

struct net {
    const char *name, *text;
};

/* Plain kernels are slow, with ThreadSanitizer a hundred times: they have fewer digits. */
static const struct net lenet = {"lenet", LENET(32)}, few_digits = {"lenet, few", LENET(12)};
static const struct net blocks = {"blocks", BLOCKS};

static int failures;

/* The solver after so many iterations; NULL: reported. */
static dn_solver *trained(const struct net *net, dn_context *context, int32_t steps)
{
    static const char text[] = "base_lr: 0.01 momentum: 0.9 weight_decay: 0.001"
                               " lr_policy: 'fixed' max_iter: 2 random_seed: 3";
    dn_solver *solver = NULL;
    if (dn_solver_create_from_text(&solver, context, text, strlen(text), net->text,
                                   strlen(net->text), NULL) == DN_OK &&
        dn_solver_step(solver, steps) == DN_OK)
        return solver;
    printf("%s: %s\n", net->name, dn_last_error());
    failures++;
    dn_solver_free(solver);
    return NULL;
}

static void compare(const struct net *net, dn_net *a, dn_net *b, int32_t plan)
{
    for (int32_t l = 0; l < dn_net_num_layers(a); l++)
        for (int32_t i = 0; i < dn_net_layer_num_params(a, l); i++) {
            dn_blob *x = dn_net_layer_param(a, l, i), *y = dn_net_layer_param(b, l, i);
            size_t bytes = (size_t)dn_blob_count(x) * sizeof(float);
            if (memcmp(dn_blob_data(x), dn_blob_data(y), bytes) == 0)
                continue;
            printf("%s, plan %d: other bits in parameter %d of %s\n", net->name, (int)plan,
                   (int)i, dn_net_layer_name(a, l));
            failures++;
        }
}

static dn_context *context_of(const dn_backend_ops *backend, int32_t threads, int32_t plan)
{
    dn_context *context = NULL;
    dn_context_options options = {.struct_size = sizeof options,
                                  .num_threads = threads,
                                  .backend = backend,
                                  .backends = "ref",
                                  .plan = plan};
    if (dn_context_create(&context, &options) != DN_OK) {
        printf("%s\n", dn_last_error());
        failures++;
    }
    return context;
}

/* After two iterations, of which the second has a history. */
static void compare_trained(const struct net *net, dn_context *a, dn_context *b, int32_t plan)
{
    dn_solver *one = a && b ? trained(net, a, 2) : NULL;
    dn_solver *other = one ? trained(net, b, 2) : NULL;
    if (other)
        compare(net, dn_solver_net(one), dn_solver_net(other), plan);
    dn_solver_free(one);
    dn_solver_free(other);
}

/* A library that says it was built without threads is not called by several. */
static void check_cblas(dn_context *context)
{
    dn_solver *solver = trained(&lenet, context, 0);
    char *text = NULL;
    if (!solver)
        return;
    if (dn_net_describe(dn_solver_net(solver), DN_DESCRIBE_OPS, &text) != DN_OK ||
        (openblas_get_parallel && openblas_get_parallel() == 0 && strstr(text, "cpu:cblas"))) {
        printf("a product is left to an OpenBLAS without locks\n");
        failures++;
    }
    dn_net_text_free(dn_solver_net(solver), text);
    dn_solver_free(solver);
}

static bool same_set(dn_context *a, dn_context *b)
{
    return strcmp(dn_context_backend(a, 0), dn_context_backend(b, 0)) == 0;
}

int main(void)
{
    static const int32_t plans[] = {DN_PLAN_FUSED, DN_PLAN_PLAIN, DN_PLAN_NHWC};
    bool both = true;
    for (size_t p = 0; p < sizeof plans / sizeof plans[0]; p++) {
        dn_context *one = context_of(&dn_cpu_backend, 1, plans[p]);
        dn_context *other = context_of(&dn_cpu_backend_avx2, 1, plans[p]);
        if (one && other && same_set(one, other) &&
            strstr(dn_context_backend(one, 0), "avx2 ")) {
            dn_context_free(one);
            one = context_of(&dn_cpu_backend_emulated, 1, plans[p]);
        }
        both = one && other && !same_set(one, other);
        if (both) {
            compare_trained(&lenet, one, other, plans[p]);
            compare_trained(&blocks, one, other, plans[p]);
        }
        dn_context_free(one);
        dn_context_free(other);
    }
    dn_context *one = context_of(&dn_cpu_backend_plain, 1, DN_PLAN_FUSED);
    dn_context *three = context_of(&dn_cpu_backend_plain, 3, DN_PLAN_FUSED);
    compare_trained(&few_digits, one, three, DN_PLAN_FUSED);
    compare_trained(&blocks, one, three, DN_PLAN_FUSED);
    if (three)
        check_cblas(three);
    dn_context_free(one);
    dn_context_free(three);
    printf("%s\n", failures ? "FAILED"
                   : both   ? "the same bits"
                            : "AVX-512 is neither here nor emulated");
    return failures != 0;
}
