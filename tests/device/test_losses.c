/* SPDX-License-Identifier: BSD-2-Clause
 * test_losses.c: losses that a mean is of stay on the device until somebody asks: whatever
 * happens in between, dn_solver_loss says what it says on ref, and nothing waits before. What
 * the host wants at once comes together. */
#include <fenv.h>
#include <stdlib.h>

#include "fake.h"
#include "solver_text.h"

#define FIXED "base_lr: 0.02 lr_policy: 'fixed' momentum: 0.9 random_seed: 11 "
#define TWO_LOSSES                                                                             \
    SMALL_NET "layer { name: 'm' type: 'Reduction' bottom: 'ip1' top: 'm' loss_weight: 0.3 "   \
              "  reduction_param { operation: SUMSQ } } "
/* One number for each item. */
#define PARTS                                                                                  \
    SMALL_NET "layer { name: 'm' type: 'Reduction' bottom: 'ip1' top: 'm' loss_weight: 0.1 "   \
              "  reduction_param { operation: SUMSQ axis: 1 } } "
#define ACCURACY                                                                               \
    "layer { name: 'a' type: 'Accuracy' bottom: 'ip2' bottom: 't' top: 'a' "                   \
    "  include { phase: TEST } } "

#define PRODUCT                                                                                \
    SMALL_NET "layer { name: 'ip3' type: 'InnerProduct' bottom: 'ip1' top: 'ip3' "             \
              "  inner_product_param { num_output: 3 weight_filler { type: 'xavier' } } } "    \
              "layer { name: 'p' type: 'Eltwise' bottom: 'ip2' bottom: 'ip3' top: 'p' "        \
              "  eltwise_param { operation: PROD } } "

/* What happens between two looks at the loss. */
typedef struct act {
    char what; /* s: steps, one by one; S: at once; f: a forward of the host's; u: its own loop,
                  updates; x: a failure in pass n of an iteration; l: a look at the loss in it;
                  i: n items; r: through a snapshot; w: onto the weights of a net that ends */
    int n;
} act;

typedef struct story {
    const char *solver, *net;
    act acts[8];
    bool waits; /* each step does */
} story;

enum { LOOKS = 8 };
static int fail_in, look_in; /* passes from now; 0: never */
static dn_solver *looked_at;

/* A layer of the host's that is there to fail. */
static dn_status same_shape(void *state, dn_layer *layer)
{
    (void)state;
    return dn_layer_set_top_shape(layer, 0, dn_layer_bottom_shape(layer, 0));
}

static dn_status forward(void *state, const dn_layer_io *io)
{
    (void)state;
    if (fail_in && !--fail_in)
        return dn_layer_fail(io->layer, DN_E_DATA, "told to");
    if (look_in && !--look_in)
        (void)dn_solver_loss(looked_at);
    int64_t count = 1;
    for (int32_t i = 0; i < io->bottom_shapes[0].axes; i++)
        count *= io->bottom_shapes[0].dim[i];
    memcpy(io->tops[0], io->bottoms[0], (size_t)count * sizeof(float));
    return DN_OK;
}

static dn_status backward(void *state, const dn_layer_io *io)
{
    (void)state;
    if (io->bottom_diffs[0])
        memcpy(io->bottom_diffs[0], io->top_diffs[0],
               (size_t)io->bottom_shapes[0].dim[0] * 6 * sizeof(float));
    return DN_OK;
}

static const dn_layer_class may_fail = {.struct_size = sizeof may_fail,
                                        .type = "MayFail",
                                        .bottoms_min = 1,
                                        .bottoms_max = 1,
                                        .tops_min = 1,
                                        .tops_max = 1,
                                        .shape = same_shape,
                                        .forward = forward,
                                        .backward = backward};

/* Memory that was freed is NaN, and goes to the next who asks, however little: whoever still
 * goes by its address meets another there. */
typedef struct block {
    size_t room;
    struct block *next; /* that is free too */
} block;
static block *freed;

static void *hand_on(void *user, void *memory, size_t before, size_t size)
{
    (void)user;
    block *b = NULL, **best = &freed;
    for (block **at = &freed; size && *at; at = &(*at)->next)
        if ((*at)->room >= size && ((*best)->room < size || (*at)->room < (*best)->room))
            best = at;
    if (size && *best && (*best)->room >= size) {
        b = *best;
        *best = b->next;
    } else if (size) {
        b = malloc(sizeof *b + size);
        if (!b)
            return NULL;
        b->room = size;
    }
    if (memory) {
        block *old = (block *)memory - 1;
        if (b)
            memcpy(b + 1, memory, before < size ? before : size);
        memset(memory, 0xff, old->room);
        old->next = freed;
        freed = old;
    }
    return b ? b + 1 : NULL;
}

static dn_context *make_context(bool device)
{
    dn_context *context = NULL;
    dn_context_options options = {.struct_size = sizeof options,
                                  .num_threads = 1,
                                  .backends = "ref",
                                  .backend = device ? &fake_backend : NULL,
                                  .alloc = hand_on,
                                  .layers = (const dn_layer_class *const[]){&may_fail},
                                  .num_layers = 1};
    CHECK_STATUS(dn_context_create(&context, &options), DN_OK);
    return context;
}

static void fill(dn_net *net, int64_t items)
{
    uint32_t state = 7;
    dn_blob *x = dn_net_blob(net, "x"), *t = dn_net_blob(net, "t");
    CHECK_STATUS(dn_blob_reshape(x, (int64_t[]){items, 6}, 2), DN_OK);
    CHECK_STATUS(dn_blob_reshape(t, &items, 1), DN_OK);
    float *values = dn_blob_mutable_data(x), *labels = dn_blob_mutable_data(t);
    for (int64_t i = 0; i < items * 6; i++)
        values[i] = 2 * next_number(&state) - 1;
    for (int64_t i = 0; i < items; i++)
        labels[i] = (float)(i % 3);
}

static void through_snapshot(dn_solver **solver, dn_context *context, const story *s)
{
    char path[300];
    snprintf(path, sizeof path, "%s/losses", check_folder());
    CHECK_STATUS(dn_solver_snapshot(*solver, path), DN_OK);
    dn_solver_free(*solver);
    *solver = make_solver(context, s->solver, s->net, NULL);
    fill(dn_solver_net(*solver), 8);
    CHECK_STATUS(dn_solver_step(*solver, 2), DN_OK); /* what the device has is to go */
    strcat(path, ".solverstate");
    CHECK_STATUS(dn_solver_restore(*solver, path), DN_OK);
}

static void onto_others(dn_solver *solver, dn_context *context, const story *s)
{
    dn_solver *other = make_solver(context, s->solver, s->net, NULL);
    CHECK_STATUS(dn_net_share_weights(dn_solver_net(solver), dn_solver_net(other)), DN_OK);
    dn_solver_free(other);
}

static void host_loop(dn_solver *solver, int n)
{
    dn_net *net = dn_solver_net(solver);
    for (int i = 0; i < n; i++) {
        CHECK_STATUS(dn_net_clear_gradients(net), DN_OK);
        CHECK_STATUS(dn_net_forward(net, NULL), DN_OK);
        CHECK_STATUS(dn_net_backward(net), DN_OK);
        CHECK_STATUS(dn_solver_apply_update(solver), DN_OK);
    }
}

static void play(dn_solver **solver, dn_context *context, const story *s, act a)
{
    int64_t out = fake.copies_out, waits = fake.waits;
    if (a.what == 'S')
        CHECK_STATUS(dn_solver_step(*solver, a.n), DN_OK);
    else if (a.what == 'u')
        host_loop(*solver, a.n);
    else if (a.what == 'i')
        fill(dn_solver_net(*solver), a.n);
    else if (a.what == 'r')
        through_snapshot(solver, context, s);
    else if (a.what == 'w')
        onto_others(*solver, context, s);
    else if (a.what == 'x') {
        fail_in = a.n;
        CHECK_STATUS(dn_solver_step(*solver, 1), DN_E_DATA);
    } else if (a.what == 'l') {
        looked_at = *solver;
        look_in = a.n;
        CHECK_STATUS(dn_solver_step(*solver, 1), DN_OK);
    }
    for (int i = 0; i < a.n && a.what == 'f'; i++)
        CHECK_STATUS(dn_net_forward(dn_solver_net(*solver), NULL), DN_OK);
    for (int i = 0; i < a.n && a.what == 's'; i++)
        CHECK_STATUS(dn_solver_step(*solver, 1), DN_OK);
    if (a.what == 's' && !s->waits)
        CHECK_INT(fake.copies_out - out + fake.waits - waits, 0);
}

/* losses: after each act, or every second one where `rarely`. */
static void tell(const story *s, bool device, bool rarely, float *losses)
{
    fake = (fake_control){0};
    dn_context *context = make_context(device);
    dn_solver *solver = make_solver(context, s->solver, s->net, NULL);
    fill(dn_solver_net(solver), 8);
    for (int i = 0; i < LOOKS; i++) {
        play(&solver, context, s, s->acts[i]);
        fesetround(FE_UPWARD); /* the host's business */
        losses[i] = rarely && i % 2 == 0 ? 0 : dn_solver_loss(solver);
        fesetround(FE_TONEAREST);
    }
    CHECK_STATUS(dn_solver_step(solver, 1), DN_OK); /* of which nobody wants to know */
    int64_t out = fake.copies_out;
    dn_solver_free(solver);
    CHECK_INT(fake.copies_out - out, 0);
    dn_context_free(context);
    CHECK_INT(fake.allocated, 0);
    for (block *next; freed; freed = next) {
        next = freed->next;
        free(freed);
    }
}

#define MAY_FAIL                                                                               \
    "layer { name: 'x' type: 'Input' top: 'x' input_param { shape { dim: 8 dim: 6 } } } "      \
    "layer { name: 't' type: 'Input' top: 't' input_param { shape { dim: 8 } } } "             \
    "layer { name: 'h' type: 'MayFail' bottom: 'x' top: 'h' } "                                \
    "layer { name: 'i' type: 'InnerProduct' bottom: 'h' top: 'i' inner_product_param { "       \
    "  num_output: 3 weight_filler { type: 'xavier' } } } "                                    \
    "layer { name: 'l' type: 'SoftmaxWithLoss' bottom: 'i' bottom: 't' top: 'l' } "

static void check_stories(void)
{
    static const story stories[] = {
        {FIXED "average_loss: 3",
         SMALL_NET,
         {{'s', 1}, {'s', 2}, {'s', 2}, {'s', 9}, {'S', 1}, {'S', 5}, {'s', 40}, {'s', 1}},
         false},
        {FIXED "iter_size: 3",
         SMALL_NET,
         {{'s', 1}, {'s', 2}, {'S', 2}, {'s', 9}, {'f', 2}, {'s', 5}, {'r', 0}, {'s', 1}},
         false},
        {FIXED "average_loss: 4 iter_size: 2",
         TWO_LOSSES,
         {{'s', 1}, {'s', 2}, {'r', 0}, {'s', 9}, {'f', 2}, {'s', 3}, {'u', 3}, {'s', 2}},
         false},
        {FIXED "average_loss: 4",
         TWO_LOSSES,
         {{'s', 3}, {'i', 5}, {'s', 2}, {'i', 8}, {'s', 2}, {'f', 7}, {'s', 1}, {'u', 7}},
         false},
        {FIXED "average_loss: 4 iter_size: 2",
         PARTS,
         {{'s', 3}, {'i', 1}, {'s', 2}, {'i', 8}, {'s', 2}, {'f', 7}, {'i', 1}, {'s', 9}},
         true},
        {FIXED "average_loss: 4 momentum_policy: 'poly' max_momentum: 0.99 max_iter: 9",
         TWO_LOSSES,
         {{'s', 1}, {'s', 2}, {'s', 2}, {'u', 1}, {'s', 1}, {'s', 1}, {'s', 1}, {'s', 1}},
         false},
        {FIXED "average_loss: 3 iter_size: 3",
         MAY_FAIL,
         {{'s', 2}, {'x', 2}, {'s', 1}, {'x', 3}, {'x', 1}, {'s', 5}, {'x', 3}, {'s', 1}},
         true},
        {FIXED "average_loss: 2 iter_size: 3",
         MAY_FAIL,
         {{'s', 1}, {'l', 2}, {'s', 1}, {'l', 3}, {'x', 2}, {'l', 2}, {'l', 1}, {'s', 2}},
         true},
        {FIXED "average_loss: 3",
         TWO_LOSSES,
         {{'s', 3}, {'w', 0}, {'i', 5}, {'s', 3}, {'i', 8}, {'w', 0}, {'s', 3}, {'s', 2}},
         true},
        {FIXED "average_loss: 2",
         SMALL_NET,
         {{'s', 3}, {'w', 0}, {'i', 5}, {'u', 3}, {'s', 1}, {'i', 9}, {'w', 0}, {'u', 1}},
         true},
        {FIXED "average_loss: 3 display: 2",
         SMALL_NET,
         {{'s', 2}, {'s', 2}, {'s', 1}, {'s', 3}, {'r', 0}, {'s', 5}, {'f', 3}, {'s', 1}},
         true},
    };
    for (size_t i = 0; i < sizeof stories / sizeof stories[0]; i++)
        for (int rarely = 0; rarely < 2; rarely++) {
            float expected[LOOKS], got[LOOKS];
            tell(&stories[i], false, rarely, expected);
            tell(&stories[i], true, rarely, got);
            for (int k = 0; k < LOOKS; k++)
                CHECK_AT(got[k] == expected[k], "story %zu, look %d: %.9g, on ref %.9g", i, k,
                         (double)got[k], (double)expected[k]);
        }
}

/* Losses of a step in which the device failed are of no pass: the mean is as it was read last,
 * and goes on from there once the device works again. */
static void check_failed_steps(void)
{
    static const char *const solvers[] = {FIXED, FIXED "average_loss: 3", FIXED "iter_size: 2"};
    for (size_t i = 0; i < sizeof solvers / sizeof solvers[0]; i++) {
        float expected[LOOKS];
        const story plain = {i == 1 ? FIXED : solvers[i],
                             TWO_LOSSES,
                             {{'s', 1}, {'s', 1}, {'s', 1}, {'s', 1}, {'s', 1}},
                             true};
        tell(&plain, false, false, expected);
        for (int64_t at = 1; at < 40; at += 3) { /* runs of an op, from forward to update */
            fake = (fake_control){0};
            dn_context *context = make_context(true);
            dn_solver *solver = make_solver(context, solvers[i], TWO_LOSSES, NULL);
            fill(dn_solver_net(solver), 8);
            CHECK_STATUS(dn_solver_step(solver, 3), DN_OK);
            float known = dn_solver_loss(solver);
            CHECK_STATUS(dn_solver_step(solver, 1), DN_OK);
            fake.fail_run = fake.runs + at;
            dn_status st = dn_solver_step(solver, 1);
            fake.fail_run = 0;
            CHECK(st == DN_E_DEVICE || (!st && at > 10));
            if (st) {
                CHECK(dn_solver_loss(solver) == known);
                CHECK_STATUS(dn_solver_step(solver, 1), DN_OK);
            }
            float want = expected[4];
            if (i == 1)
                want = (float)(((double)expected[1] + (double)expected[2] + want) / 3);
            if (st && at == 1) /* the update was none */
                CHECK_AT(dn_solver_loss(solver) == want, "%s: %.9g, not %.9g", solvers[i],
                         (double)dn_solver_loss(solver), (double)want);
            dn_solver_free(solver);
            dn_context_free(context);
        }
    }
}

/* A look at a loss that is still on the device leaves what the last call said. */
static void check_words_stay(void)
{
    fake = (fake_control){0};
    dn_context *context = make_context(true);
    dn_solver *solver = make_solver(context, FIXED, SMALL_NET, NULL);
    char words[256];
    fill(dn_solver_net(solver), 8);
    CHECK_STATUS(dn_solver_step(solver, 1), DN_OK);
    CHECK_STATUS(dn_solver_step(NULL, 1), DN_E_INVALID);
    snprintf(words, sizeof words, "%s", dn_last_error());
    CHECK(dn_solver_loss(solver) > 0);
    CHECK_TEXT(dn_last_error(), words);
    dn_solver_free(solver);
    dn_context_free(context);
}

/* The n-th allocation fails; 0: none. */
static long fail_at;

static void *allocate(void *user, void *memory, size_t before, size_t size)
{
    (void)user;
    if (!size) {
        free(memory);
        return NULL;
    }
    return size > before && fail_at && !--fail_at ? NULL : realloc(memory, size);
}

/* A solver on a device made and run; false: an allocation was missing. */
static bool run_short(const char *solver_text, const char *net_text)
{
    dn_context *context = NULL;
    dn_solver *solver = NULL;
    dn_context_options options = {.struct_size = sizeof options,
                                  .num_threads = 1,
                                  .backends = "ref",
                                  .backend = &fake_backend,
                                  .alloc = allocate};
    dn_status st = dn_context_create(&context, &options);
    if (!st)
        st = dn_solver_create_from_text(&solver, context, solver_text, strlen(solver_text),
                                        net_text, strlen(net_text), NULL);
    for (int i = 0; !st && i < 4; i++) {
        if (i == 2)
            st = dn_blob_reshape(dn_net_blob(dn_solver_net(solver), "x"), (int64_t[]){8, 6}, 2);
        if (!st)
            st = dn_solver_step(solver, 1);
    }
    CHECK(st == DN_OK || st == DN_E_NOMEM);
    dn_solver_free(solver);
    dn_context_free(context);
    CHECK_INT(fake.allocated, 0);
    return st == DN_OK;
}

static void check_allocations(void)
{
    long n = 1;
    fake = (fake_control){0};
    for (bool enough = false; !enough; n++) {
        fail_at = n;
        enough = run_short(FIXED "average_loss: 3 iter_size: 2", TWO_LOSSES) && fail_at;
    }
    CHECK(n > 300);
}

static dn_status at_test(void *user, dn_solver *solver, const dn_event *event)
{
    (void)solver;
    if (event->kind == DN_EVENT_TEST_END)
        *(float *)user = event->loss;
    return DN_OK;
}

/* What a pass of a test gives comes to the host together. */
static void check_test_trips(dn_context *context)
{
    float loss = 0;
    dn_solver_options options = {
        .struct_size = sizeof options, .on_event = at_test, .on_event_user = &loss};
    dn_solver *solver =
        make_solver(context, FIXED "test_iter: 4 test_interval: 100 test_compute_loss: true",
                    TWO_LOSSES ACCURACY, &options);
    fill(dn_solver_test_net(solver, 0), 8);
    CHECK_STATUS(dn_solver_test(solver, 0), DN_OK);
    CHECK_INT(dn_solver_num_test_outputs(solver, 0), 3);
    fake_control was = fake;
    CHECK_STATUS(dn_solver_test(solver, 0), DN_OK);
    CHECK_INT(fake.copies_out - was.copies_out, 4 * 3);
    CHECK_INT(fake.trips_out - was.trips_out, 4);
    float sum =
        dn_solver_test_output(solver, 0, 0) + 0.3f * dn_solver_test_output(solver, 0, 1);
    CHECK_NEAR(loss, sum, 1e-5);
    dn_solver_free(solver);
}

/* So do the operands of what runs on the host. */
static void check_host_trips(dn_context *context)
{
    fake.declines = (uint64_t)1 << DN_OP_ELTWISE;
    dn_solver *solver = make_solver(context, FIXED, PRODUCT, NULL);
    dn_net *net = dn_solver_net(solver);
    fill(net, 8);
    CHECK_STATUS(dn_net_forward(net, NULL), DN_OK);
    fake_control was = fake;
    CHECK_STATUS(dn_net_forward(net, NULL), DN_OK);
    CHECK_INT(fake.copies_out - was.copies_out, 2);
    CHECK_INT(fake.trips_out - was.trips_out, 1);
    dn_solver_free(solver);
}

static void check_trips(void)
{
    fake = (fake_control){0};
    dn_context *context = make_context(true);
    check_test_trips(context);
    check_host_trips(context);
    dn_context_free(context);
}

int main(void)
{
    SECTION("losses that wait on the device");
    check_stories();
    SECTION("losses of steps in which the device failed");
    check_failed_steps();
    check_words_stay();
    SECTION("values that the host wants at once come together");
    check_trips();
    SECTION("each allocation of a solver on the device fails once");
    check_allocations();
    return check_summary();
}
