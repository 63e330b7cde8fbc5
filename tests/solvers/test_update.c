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

/* Two layers with one weight: by name from the start, or since the net was put on another's. */
#define TWINS(param) TWINS_OF(param, param)
#define TWINS_OF(param_a, param_b)                                                             \
    "layer { name: 'x' type: 'Input' top: 'x' input_param { shape { dim: 8 dim: 6 } } } "      \
    "layer { name: 't' type: 'Input' top: 't' input_param { shape { dim: 8 } } } "             \
    "layer { name: 'a' type: 'InnerProduct' bottom: 'x' top: 'a' " param_a                     \
    "  inner_product_param { num_output: 6 bias_term: false weight_filler { type: 'xavier' } " \
    "  } } "                                                                                   \
    "layer { name: 'tanh' type: 'TanH' bottom: 'a' top: 'a' } "                                \
    "layer { name: 'b' type: 'InnerProduct' bottom: 'a' top: 'b' " param_b                     \
    "  inner_product_param { num_output: 6 bias_term: false weight_filler { type: 'xavier' } " \
    "  } } "                                                                                   \
    "layer { name: 'loss' type: 'SoftmaxWithLoss' bottom: 'b' bottom: 't' top: 'loss' } "

static int reduced;

static dn_status count_reduced(void *user, float *data, int64_t count)
{
    (void)user, (void)data, (void)count;
    reduced++;
    return DN_OK;
}

static void check_twins(int32_t threads)
{
    static const char *const text =
        "base_lr: 0.1 lr_policy: 'fixed' momentum: 0.9 weight_decay: 0.01 clip_gradients: 0.1 "
        "random_seed: 5";
    dn_context *context = NULL;
    dn_context_options options = {
        .struct_size = sizeof options, .num_threads = threads, .seed = 3};
    dn_solver_options reducing = {.struct_size = sizeof reducing, .all_reduce = count_reduced};
    CHECK_STATUS(dn_context_create(&context, &options), DN_OK);
    dn_solver *named = make_solver(context, text, TWINS("param { name: 'w' }"), &reducing);
    dn_solver *source = make_solver(context, text, TWINS("param { name: 'w' }"), NULL);
    dn_solver *shared = make_solver(context, text, TWINS(""), &reducing);
    fill_small(named);
    fill_small(shared);
    CHECK_STATUS(dn_net_share_weights(dn_solver_net(shared), dn_solver_net(source)), DN_OK);
    for (int i = 0; i < 3; i++) {
        CHECK_STATUS(dn_solver_step(named, 1), DN_OK);
        CHECK_STATUS(dn_solver_step(shared, 1), DN_OK);
        CHECK_INT(reduced, 2 * (i + 1));
        CHECK(hash_weights(dn_solver_net(named)) == hash_weights(dn_solver_net(shared)));
    }
    dn_solver_free(named);
    dn_solver_free(shared);
    dn_solver_free(source);
    dn_context_free(context);
}

/* Two weights that become one of the two; memory may run out at the next update. */
static uint64_t joined(check_heap *heap, bool starve)
{
    static const char *const text = "base_lr: 0.1 lr_policy: 'fixed' momentum: 0.9";
    dn_context *context = NULL;
    dn_context_options options = {.struct_size = sizeof options,
                                  .num_threads = 1,
                                  .alloc = check_alloc,
                                  .alloc_user = heap,
                                  .seed = 3};
    CHECK_STATUS(dn_context_create(&context, &options), DN_OK);
    dn_solver *named = make_solver(context, text, TWINS("param { name: 'w' }"), NULL);
    dn_solver *solver = make_solver(context, text, TWINS_OF("", "param { lr_mult: 3 }"), NULL);
    fill_small(solver);
    CHECK_STATUS(dn_solver_step(solver, 1), DN_OK);
    CHECK_STATUS(dn_net_share_weights(dn_solver_net(named), dn_solver_net(solver)), DN_OK);
    CHECK_STATUS(dn_net_share_weights(dn_solver_net(solver), dn_solver_net(named)), DN_OK);
    CHECK((step_starved(solver, heap, starve) >= 2) == starve);
    uint64_t hash = hash_weights(dn_solver_net(solver));
    dn_solver_free(named);
    dn_solver_free(solver);
    dn_context_free(context);
    return hash;
}

static void check_starved(void)
{
    check_heap heap = {0};
    SECTION("one memory, and it runs out");
    uint64_t want = joined(&heap, false);
    CHECK(joined(&heap, true) == want);
    CHECK_HEAP_CLEAN(&heap);
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
    SECTION("one memory");
    for (int32_t threads = 1; threads <= 2; threads++, reduced = 0)
        check_twins(threads);
    check_starved();
    return check_summary();
}
