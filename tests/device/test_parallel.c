/* SPDX-License-Identifier: BSD-2-Clause
 * test_parallel.c: solvers that train together, each on a device of its own: as one with twice
 * the batch, the same bits on every rank, resumed, cancelled, and stopped by whichever fails.
 *   test_parallel LMDB [FOLDER]: the fake device, or devices 1 and 2 of FOLDER's module */
#include <unistd.h>

#include "fake.h"
#include "solver_text.h"

/* The largest weight (74 KB) is more than a slot that CUDA copies by (64 KB). */
#define NET                                                                                    \
    "layer { name: 'd' type: 'Data' top: 'd' top: 't' data_param { source: '%s' "              \
    "  backend: LMDB batch_size: %d } transform_param { scale: 0.00390625 mirror: true } } "   \
    "layer { name: 'c' type: 'Convolution' bottom: 'd' top: 'c' convolution_param { "          \
    "  num_output: 8 kernel_size: 5 stride: 2 weight_filler { type: 'xavier' } } } "           \
    "layer { name: 'r' type: 'ReLU' bottom: 'c' top: 'c' } "                                   \
    "layer { name: 'i' type: 'InnerProduct' bottom: 'c' top: 'i' inner_product_param { "       \
    "  num_output: 64 weight_filler { type: 'xavier' } } } "                                   \
    "layer { name: 's' type: 'ReLU' bottom: 'i' top: 'i' } "                                   \
    "%s"                                                                                       \
    "layer { name: 'j' type: 'InnerProduct' bottom: 'i' top: 'j' inner_product_param { "       \
    "  num_output: 10 weight_filler { type: 'xavier' } } } "                                   \
    "layer { name: 'loss' type: 'SoftmaxWithLoss' bottom: 'j' bottom: 't' top: 'loss' } "
#define DROPOUT "layer { name: 'o' type: 'Dropout' bottom: 'i' top: 'i' } "
#define PRODUCT(name, from, outputs)                                                           \
    "layer { name: '" name "' type: 'InnerProduct' bottom: '" from "' top: '" name "' "        \
    "inner_product_param { num_output: " outputs " weight_filler { type: 'xavier' } } } "
/* 0.5, 4 and 2 MiB more, from first to last: NCCL is called for the last, for the middle one
 * and for the rest, with the backward of earlier layers in between. */
#define LARGE                                                                                  \
    PRODUCT("u", "i", "2048")                                                                  \
    PRODUCT("v", "u", "512")                                                                   \
    PRODUCT("w", "v", "1024")                                                                  \
    PRODUCT("x", "w", "10")                                                                    \
    "layer { name: 'm' type: 'SoftmaxWithLoss' bottom: 'x' bottom: 't' top: 'm' } "
#define SOLVER                                                                                 \
    "base_lr: 0.02 lr_policy: 'inv' gamma: 0.0001 power: 0.75 momentum: 0.9 max_iter: 12 "     \
    "weight_decay: 0.0005 random_seed: 11 "

/* A rank that waits for ever is a failure, not a hang. */
#define BEGIN(name) (alarm(250), SECTION(name))

enum { RANKS = 2 };
static const char *lmdb, *module_folder;
static int plain_rank = -1; /* its nets run as the layers wrote them */

static dn_context *make_context(int rank)
{
    dn_context *context = NULL;
    dn_context_options options = {.struct_size = sizeof options, .num_threads = 1};
    options.backends = "ref";
    options.plan = rank == plain_rank ? DN_PLAN_PLAIN : 0;
    if (module_folder)
        options.module_folder = module_folder, options.device = 1 + rank;
    else
        options.backend = &fake_backend;
    CHECK_STATUS(dn_context_create(&context, &options), DN_OK);
    if (!context)
        exit(check_summary());
    return context;
}

static dn_solver *make(dn_context *context, const char *more, const char *layers, int batch,
                       dn_solver_options *options)
{
    char net[4096], text[1024];
    options->struct_size = sizeof *options;
    snprintf(net, sizeof net, NET, lmdb, batch, layers);
    snprintf(text, sizeof text, SOLVER "%s", more);
    return make_solver(context, text, net, options);
}

typedef struct team {
    dn_context *context[RANKS];
    dn_solver *solver[RANKS];
    dn_parallel *parallel;
} team;

/* options: of each rank, rank and num_ranks apart; NULL: none */
static void assemble(team *t, const char *more, const char *layers, int batch,
                     const dn_solver_options *options)
{
    for (int r = 0; r < RANKS; r++) {
        dn_solver_options o = options ? options[r] : (dn_solver_options){0};
        o.rank = r;
        o.num_ranks = RANKS;
        t->context[r] = make_context(r);
        t->solver[r] = make(t->context[r], more, layers, batch, &o);
    }
    t->parallel = NULL;
}

static void join(team *t)
{
    CHECK_STATUS(dn_parallel_create(&t->parallel, t->solver, RANKS), DN_OK);
    CHECK(!strcmp(dn_parallel_transport(t->parallel), module_folder ? "cuda" : "host"));
}

static void dismiss(team *t)
{
    dn_parallel_free(t->parallel);
    for (int r = 0; r < RANKS; r++) {
        dn_solver_free(t->solver[r]);
        dn_context_free(t->context[r]);
    }
    if (!module_folder)
        CHECK_INT(fake.allocated, 0);
}

static void check_equal_bits(const team *t)
{
    CHECK(hash_weights(dn_solver_net(t->solver[0])) ==
          hash_weights(dn_solver_net(t->solver[1])));
    CHECK_INT(dn_solver_iteration(t->solver[0]), dn_solver_iteration(t->solver[1]));
}

static double largest_gap(dn_net *a, dn_net *b)
{
    double largest = 0;
    for (int32_t l = 0; l < dn_net_num_layers(a); l++)
        for (int32_t k = 0; k < dn_net_layer_num_params(a, l); k++) {
            const float *x = dn_blob_data(dn_net_layer_param(a, l, k));
            const float *y = dn_blob_data(dn_net_layer_param(b, l, k));
            for (int64_t i = 0; i < dn_blob_count(dn_net_layer_param(a, l, k)); i++) {
                double gap = x[i] > y[i] ? x[i] - y[i] : y[i] - x[i];
                largest = gap > largest ? gap : largest;
            }
        }
    return largest;
}

/* Two with batches of 4 are one with a batch of 8, to rounding: of two steps, and more. */
static void check_as_one(const char *more, const char *layers, int32_t steps)
{
    BEGIN("as one");
    team t;
    assemble(&t, more, layers, 4, NULL);
    join(&t);
    CHECK_STATUS(dn_parallel_step(t.parallel, 2), DN_OK);
    CHECK_STATUS(dn_parallel_step(t.parallel, steps - 2), DN_OK);
    check_equal_bits(&t);
    dn_context *context = make_context(0);
    dn_solver_options alone = {0};
    dn_solver *one = make(context, more, layers, 8, &alone);
    dn_net *net = dn_solver_net(one);
    CHECK_STATUS(dn_solver_step(one, steps), DN_OK);
    double gap = largest_gap(net, dn_solver_net(t.solver[0]));
    CHECK_AT(gap > 0 && gap < 2e-6, "%s: weights differ by %g", more, gap);
    dn_solver_free(one);
    dn_context_free(context);
    CHECK_STATUS(dn_solver_step(t.solver[1], 1), DN_E_STATE); /* not by themselves */
    CHECK_STATUS(dn_solver_apply_update(t.solver[0]), DN_E_STATE);
    CHECK_STATUS(dn_solver_restore(t.solver[0], "any"), DN_E_STATE);
    dismiss(&t);
}

/* A plan is each context's own: weights meet their like all the same. */
static void check_plans(void)
{
    plain_rank = 1;
    check_as_one("", "", 8);
    plain_rank = -1;
}

/* A snapshot of rank 0 is enough for all to go on as if nothing had been. */
static void check_resume(void)
{
    BEGIN("resume");
    char path[300];
    team t;
    snprintf(path, sizeof path, "%s/half", check_folder());
    assemble(&t, "type: 'Adam' ", DROPOUT, 4, NULL);
    join(&t);
    CHECK_STATUS(dn_parallel_step(t.parallel, 4), DN_OK);
    CHECK_STATUS(dn_solver_snapshot(t.solver[0], path), DN_OK);
    CHECK_STATUS(dn_parallel_solve(t.parallel), DN_OK);
    CHECK_INT(dn_solver_iteration(t.solver[1]), 12);
    check_equal_bits(&t);
    uint64_t whole = hash_weights(dn_solver_net(t.solver[0]));
    dismiss(&t);
    strcat(path, ".solverstate");
    assemble(&t, "type: 'Adam' ", DROPOUT, 4, NULL);
    CHECK_STATUS(dn_solver_restore(t.solver[0], path), DN_OK);
    join(&t);
    CHECK_STATUS(dn_parallel_solve(t.parallel), DN_OK);
    check_equal_bits(&t);
    CHECK(hash_weights(dn_solver_net(t.solver[0])) == whole);
    dismiss(&t);
}

static dn_status stop_at_5(void *user, dn_solver *solver, const dn_event *event)
{
    if (event->kind != *(int *)user || event->iteration != 5)
        return DN_OK;
    if (event->kind == DN_EVENT_STEP_END)
        dn_solver_cancel(solver);
    return event->kind == DN_EVENT_STEP_END ? DN_OK : DN_E_DATA;
}

/* Whoever stops, wherever, takes the others along; then all go on from rank 0. */
static void check_failures(void)
{
    BEGIN("failures");
    const int kinds[] = {DN_EVENT_STEP_BEGIN, DN_EVENT_GRADIENTS, DN_EVENT_STEP_END};
    for (int rank = 0; rank < RANKS; rank++)
        for (int k = 0; k < 3 - rank; k++) {
            team t;
            int kind = kinds[k];
            dn_solver_options options[RANKS] = {{0}};
            options[rank].on_event = stop_at_5;
            options[rank].on_event_user = &kind;
            assemble(&t, "", "", 4, options);
            join(&t);
            dn_status status = dn_parallel_step(t.parallel, 12);
            CHECK_INT(status, k == 2 ? DN_E_CANCELLED : DN_E_DATA);
            const char *words = dn_last_error();
            CHECK_AT(words &&
                         strstr(words, k == 2 ? "cancelled" : "the event callback returned"),
                     "%.200s", words ? words : "no words");
            CHECK(words && !strncmp(words, "rank 1: ", 8) == (rank == 1));
            kind = 0;
            CHECK_STATUS(dn_parallel_step(t.parallel, 3), DN_OK);
            check_equal_bits(&t);
            dismiss(&t);
        }
}

typedef struct nested {
    team *team;
    dn_status status[2];
    char words[200];
} nested;

static dn_status step_inside(void *user, dn_solver *solver, const dn_event *event)
{
    nested *n = user;
    (void)solver;
    if (event->kind != DN_EVENT_GRADIENTS || event->iteration != 2)
        return DN_OK;
    n->status[0] = dn_parallel_step(n->team->parallel, 1);
    snprintf(n->words, sizeof n->words, "%s", dn_last_error());
    n->status[1] = dn_parallel_solve(n->team->parallel);
    return DN_OK;
}

/* A callback cannot step them, of whichever rank: all go on as if it had not tried. */
static void check_nested(void)
{
    BEGIN("nested");
    uint64_t hash[RANKS + 1];
    for (int rank = 0; rank <= RANKS; rank++) {
        team t;
        nested n = {.team = &t};
        dn_solver_options options[RANKS + 1] = {{0}};
        options[rank].on_event = step_inside;
        options[rank].on_event_user = &n;
        assemble(&t, "", "", 4, options);
        join(&t);
        CHECK_STATUS(dn_parallel_step(t.parallel, 5), DN_OK);
        CHECK_STATUS(dn_parallel_step(t.parallel, 1), DN_OK);
        CHECK_INT(dn_solver_iteration(t.solver[0]), 6);
        check_equal_bits(&t);
        hash[rank] = hash_weights(dn_solver_net(t.solver[0]));
        CHECK_INT(n.status[0], rank < RANKS ? DN_E_STATE : DN_OK);
        CHECK_INT(n.status[1], rank < RANKS ? DN_E_STATE : DN_OK);
        CHECK_AT(rank == RANKS || strstr(n.words, "the dn_parallel is running"), "%s", n.words);
        dismiss(&t);
    }
    CHECK(hash[0] == hash[RANKS] && hash[1] == hash[RANKS]);
}

static void check_refusals(void)
{
    BEGIN("refusals");
    team t;
    dn_parallel *none = NULL;
    dn_solver *same[RANKS];
    assemble(&t, "", "", 4, NULL);
    same[0] = same[1] = t.solver[0];
    CHECK_STATUS(dn_parallel_create(&none, same, RANKS), DN_E_INVALID);
    CHECK_STATUS(dn_parallel_create(&none, t.solver, 1), DN_E_INVALID);
    CHECK_STATUS(dn_parallel_create(&none, t.solver, 0), DN_E_INVALID);
    CHECK_STATUS(dn_parallel_create(NULL, t.solver, RANKS), DN_E_INVALID);
    CHECK_STATUS(dn_parallel_step(NULL, 1), DN_E_INVALID);
    CHECK_STATUS(dn_parallel_solve(NULL), DN_E_INVALID);
    dn_parallel_free(NULL);
    join(&t);
    CHECK_STATUS(dn_parallel_create(&none, t.solver, RANKS), DN_E_INVALID);
    CHECK_STATUS(dn_parallel_step(t.parallel, -1), DN_E_INVALID);
    dismiss(&t);
    const dn_solver_options longer[RANKS] = {{.max_iter = 12}, {.max_iter = 13}};
    assemble(&t, "", "", 4, longer);
    CHECK_MESSAGE(dn_parallel_create(&none, t.solver, RANKS), DN_E_INVALID,
                  "solver 1: its net, rule, iter_size or max_iter is not that of solver 0");
    dismiss(&t);
    dn_context *context = make_context(0);
    dn_solver *solver = NULL;
    const dn_solver_options bad = {.struct_size = sizeof bad, .rank = 2, .num_ranks = 2};
    dn_status status = dn_solver_create_from_text(&solver, context, SOLVER, strlen(SOLVER),
                                                  SMALL_NET, strlen(SMALL_NET), &bad);
    CHECK_INT(status, DN_E_INVALID);
    CHECK(dn_last_error() != NULL);
    dn_context_free(context);
}

int main(int argc, char **argv)
{
    if (argc < 2)
        return 1;
    lmdb = argv[1];
    module_folder = argc > 2 ? argv[2] : NULL;
    check_as_one("", "", 8);
    check_as_one("iter_size: 2 clip_gradients: 0.5 ", "", 8);
    check_as_one("", LARGE, 3);
    check_plans();
    check_resume();
    check_failures();
    check_nested();
    check_refusals();
    return check_summary();
}
