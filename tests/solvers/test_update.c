/* SPDX-License-Identifier: BSD-2-Clause
 * test_update.c: the update of all weights as one op leaves the bits that one op per weight
 * leaves, under every rule, with any number of threads; a backend that takes one weight alone
 * gets them one by one. */
#include <stdbool.h>

#include "deepnet/sys/backend.h"
#include "solver_text.h"

extern const dn_backend_ops dn_cpu_backend;

/* Weights of one element, of several pieces, and of what is between; two stay as they are. */
#define NET                                                                                    \
    "layer { name: 'x' type: 'DummyData' top: 'x' top: 't' dummy_data_param { "                \
    "  shape { dim: 8 dim: 90 } shape { dim: 8 } data_filler { type: 'gaussian' std: 1 } "     \
    "  data_filler { type: 'constant' value: 2 } } } "                                         \
    "layer { name: 'a' type: 'InnerProduct' bottom: 'x' top: 'a' param { lr_mult: 1 } "        \
    "  param { lr_mult: 2 decay_mult: 0 } inner_product_param { num_output: 467 "              \
    "  weight_filler { type: 'xavier' } } } "                                                  \
    "layer { name: 'p' type: 'PReLU' bottom: 'a' top: 'a' prelu_param { "                      \
    "  channel_shared: true } } "                                                              \
    "layer { name: 's' type: 'Scale' bottom: 'a' top: 's' param { decay_mult: 3 } "            \
    "  param { lr_mult: 0 } scale_param { bias_term: true } } "                                \
    "layer { name: 'b' type: 'InnerProduct' bottom: 's' top: 'b' param { lr_mult: 0.5 } "      \
    "  inner_product_param { num_output: 3 weight_filler { type: 'xavier' } } } "              \
    "layer { name: 'l' type: 'SoftmaxWithLoss' bottom: 'b' bottom: 't' top: 'l' } "
enum { TRAINED = 6 };

static dn_status one_by_one(dn_backend *backend, const dn_op_desc *desc, dn_op **out,
                            dn_op_info *info)
{
    bool many = desc->kind == DN_OP_UPDATE && desc->num_outputs > 4;
    return many ? DN_DECLINED : dn_cpu_backend.op_create(backend, desc, out, info);
}

static uint64_t trained(const dn_backend_ops *backend, int32_t threads, const char *text,
                        int updates)
{
    dn_context *context = NULL;
    dn_context_options options = {.struct_size = sizeof options,
                                  .num_threads = threads,
                                  .backend = backend,
                                  .backends = "ref",
                                  .seed = 3};
    CHECK_STATUS(dn_context_create(&context, &options), DN_OK);
    dn_solver *solver = make_solver(context, text, NET, NULL);
    char *plan = NULL;
    int found = 0;
    CHECK_STATUS(dn_solver_describe(solver, DN_DESCRIBE_PLAN, &plan), DN_OK);
    for (const char *at = plan; at && (at = strstr(at, " UPDATE ")); at++)
        found++;
    CHECK_INT(found, updates);
    dn_net_text_free(dn_solver_net(solver), plan);
    CHECK_STATUS(dn_solver_step(solver, 4), DN_OK);
    uint64_t hash = hash_weights(dn_solver_net(solver));
    dn_solver_free(solver);
    dn_context_free(context);
    return hash;
}

int main(void)
{
    static const char *const rules[] = {
        "momentum: 0.9 ",
        "type: 'Nesterov' momentum: 0.9 ",
        "type: 'AdaGrad' delta: 1e-3 ",
        "type: 'RMSProp' rms_decay: 0.9 delta: 1e-3 ",
        "type: 'AdaDelta' momentum: 0.9 delta: 1e-3 ",
        "type: 'Adam' momentum: 0.9 momentum2: 0.99 ",
    };
    static const char *const others[] = {
        "", "regularization_type: 'L1' iter_size: 2", "clip_gradients: 0.1",
        "larc: true" /* a rate of its own each: one by one in any case */
    };
    dn_backend_ops single = dn_cpu_backend;
    single.op_create = one_by_one;
    for (size_t r = 0; r < sizeof rules / sizeof rules[0]; r++)
        for (size_t o = 0; o < sizeof others / sizeof others[0]; o++) {
            char text[256];
            bool larc = strstr(others[o], "larc") != NULL;
            snprintf(text, sizeof text,
                     "base_lr: 0.01 lr_policy: 'fixed' weight_decay: 0.01 random_seed: 5 %s%s",
                     rules[r], others[o]);
            SECTION(text);
            uint64_t expected = trained(&single, 1, text, TRAINED);
            for (int32_t threads = 1; threads <= 3; threads++)
                CHECK(trained(&dn_cpu_backend, threads, text, larc ? TRAINED : 1) == expected);
        }
    return check_summary();
}
