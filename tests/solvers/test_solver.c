/* SPDX-License-Identifier: BSD-2-Clause
 * test_solver.c: the loop: same bits for any number of threads and after a resumption,
 * events in their order, cancelling, tests, the host's own loop. */
#include <pthread.h>
#include <stdbool.h>

#include "solver_text.h"

#define FIXED "base_lr: 0.1 lr_policy: 'fixed' "

/* A host's workers: none, but the caller plays three, and takes the tasks from the last. */
static void backwards(void *user, int64_t tasks,
                      void (*body)(void *arg, int64_t task, int32_t worker), void *arg)
{
    int64_t *calls = user;
    ++*calls;
    for (int64_t task = tasks; task-- > 0;)
        body(arg, task, (int32_t)(task % 3));
}

/* calls: counts those to the host's workers; NULL: the context has its own. */
static dn_context *make_context_with(int32_t threads, int64_t *calls)
{
    dn_context *context = NULL;
    dn_context_options options = {.struct_size = sizeof options,
                                  .parallel_for = calls ? backwards : NULL,
                                  .parallel_user = calls,
                                  .num_threads = threads,
                                  .seed = 3};
    CHECK_STATUS(dn_context_create(&context, &options), DN_OK);
    return context;
}

static dn_context *make_context(int32_t threads)
{
    return make_context_with(threads, NULL);
}

static float images[DIGITS * DIGIT_SIZE], labels[DIGITS];

static dn_solver *make_digit_solver(dn_context *context, const char *text)
{
    dn_solver *solver = make_solver(context, text, DIGITS_NET, NULL);
    CHECK_STATUS(dn_net_set_memory_data(dn_solver_net(solver), NULL, images, labels, DIGITS),
                 DN_OK);
    return solver;
}

/* ---- same bits -------------------------------------------------------------------------- */

static const char digits_solver[] =
    "base_lr: 0.02 lr_policy: 'inv' gamma: 0.0001 power: 0.75 momentum: 0.9 "
    "weight_decay: 0.0005 average_loss: 5 random_seed: 11";

static void check_threads(void)
{
    uint64_t hashes[5];
    float loss[5];
    int64_t calls = 0;
    for (int32_t threads = 1; threads <= 4; threads++) { /* 4: the host's, as if three */
        bool hosts = threads == 4;
        dn_context *context = make_context_with(hosts ? 3 : threads, hosts ? &calls : NULL);
        dn_solver *solver = make_digit_solver(context, digits_solver);
        CHECK_STATUS(dn_solver_step(solver, 1), DN_OK);
        loss[0] = dn_solver_loss(solver);
        CHECK_STATUS(dn_solver_step(solver, 199), DN_OK);
        hashes[threads] = hash_weights(dn_solver_net(solver));
        loss[threads] = dn_solver_loss(solver);
        CHECK_AT(hashes[threads] == hashes[1] && loss[threads] == loss[1],
                 "%d threads: other weights than with one", (int)threads);
        dn_solver_free(solver);
        dn_context_free(context);
    }
    CHECK(calls > 0);
    CHECK_AT(loss[1] < loss[0] / 2, "the loss went from %g to %g", loss[0], loss[1]);
}

static const char *const resumed[] = {
    "type: 'SGD' momentum: 0.9 lr_policy: 'multistep' gamma: 0.5 stepvalue: 5 stepvalue: 14",
    "type: 'Nesterov' momentum: 0.9 lr_policy: 'step' gamma: 0.5 stepsize: 6",
    "type: 'AdaGrad' lr_policy: 'fixed'",
    "type: 'RMSProp' lr_policy: 'fixed' iter_size: 2",
    "type: 'AdaDelta' momentum: 0.9 delta: 1e-6 lr_policy: 'fixed' clip_gradients: 0.1",
    "type: 'Adam' momentum: 0.9 lr_policy: 'exp' gamma: 0.99 regularization_type: 'L1'",
};

static void check_resumption(dn_context *context, const char *text)
{
    char whole[512];
    snprintf(whole, sizeof whole,
             "base_lr: 0.01 weight_decay: 0.001 average_loss: 4 random_seed: 5 %s", text);
    dn_solver *through = make_digit_solver(context, whole);
    CHECK_STATUS(dn_net_forward(dn_solver_net(through), NULL), DN_OK); /* draws, for Dropout */
    CHECK_STATUS(dn_solver_step(through, 11), DN_OK);
    float half = dn_solver_loss(through);
    CHECK_STATUS(dn_solver_snapshot(through, check_path("half")), DN_OK);
    CHECK_STATUS(dn_solver_step(through, 2), DN_OK);
    float later = dn_solver_loss(through); /* of two losses from before the snapshot, too */
    CHECK_STATUS(dn_solver_step(through, 7), DN_OK);
    dn_solver *again = make_digit_solver(context, whole);
    CHECK_STATUS(dn_solver_step(again, 2), DN_OK);
    CHECK_STATUS(dn_solver_restore(again, check_path("half.solverstate")), DN_OK);
    CHECK_INT(dn_solver_iteration(again), 11);
    CHECK(dn_solver_loss(again) == half);
    CHECK_STATUS(dn_solver_step(again, 2), DN_OK);
    CHECK_AT(dn_solver_loss(again) == later, "another mean of the losses: %s", text);
    CHECK_STATUS(dn_solver_step(again, 7), DN_OK);
    CHECK_AT(hash_weights(dn_solver_net(again)) == hash_weights(dn_solver_net(through)) &&
                 dn_solver_loss(again) == dn_solver_loss(through),
             "resumed differently: %s", text);
    dn_solver_free(again);
    dn_solver_free(through);
}

/* ---- events ----------------------------------------------------------------------------- */

typedef struct diary {
    char text[512];
    int fail_at, count;
    dn_status status;
} diary;

static dn_status write_diary(void *user, dn_solver *solver, const dn_event *event)
{
    static const char letters[] = "?bgetTds";
    diary *d = user;
    size_t at = strlen(d->text);
    if (at + 2 < sizeof d->text)
        d->text[at] = letters[event->kind];
    CHECK_INT(event->iteration, dn_solver_iteration(solver));
    CHECK((event->path != NULL) == (event->kind == DN_EVENT_SNAPSHOT));
    if (event->kind == DN_EVENT_STEP_BEGIN)
        CHECK_STATUS(dn_solver_step(solver, 1), DN_E_STATE);
    return ++d->count == d->fail_at ? d->status : DN_OK;
}

#define TESTED                                                                                 \
    FIXED "max_iter: 4 display: 3 test_interval: 2 test_iter: 2 test_iter: 1 snapshot: 3 "     \
          "test_compute_loss: true test_state { stage: 'a' } test_state { stage: 'b' } "
#define TESTED_NET                                                                             \
    SMALL_NET "layer { name: 'acc' type: 'Accuracy' bottom: 'ip2' bottom: 't' top: 'acc' "     \
              "  include { phase: TEST stage: 'b' } } "

static dn_solver *make_tested(dn_context *context, diary *d)
{
    char text[1024];
    dn_solver_options options = {
        .struct_size = sizeof options, .on_event = write_diary, .on_event_user = d};
    snprintf(text, sizeof text, TESTED "snapshot_prefix: '%s/p'", check_folder());
    dn_solver *solver = make_solver(context, text, TESTED_NET, &options);
    fill_small(solver);
    return solver;
}

static void check_events(dn_context *context)
{
    diary d = {0};
    dn_solver *solver = make_tested(context, &d);
    CHECK_STATUS(dn_solver_solve(solver), DN_OK);
    /* tests at 0, 2 and after; display at 0 and 3; snapshots at 3 and after train */
    CHECK_TEXT(d.text, "tTtTbdge"
                       "bge"
                       "tTtTbge"
                       "s"
                       "bdge"
                       "s"
                       "tTtT");
    CHECK(!access(check_path("p_iter_3.solverstate"), R_OK));
    CHECK(!access(check_path("p_iter_4.caffemodel"), R_OK));
    CHECK_INT(dn_solver_num_test_nets(solver), 2);
    CHECK_INT(dn_solver_num_test_outputs(solver, 0), 1);
    CHECK_INT(dn_solver_num_test_outputs(solver, 1), 2);
    CHECK_TEXT(dn_solver_test_output_name(solver, 0, 0), "loss");
    CHECK_TEXT(dn_solver_test_output_name(solver, 1, 2), NULL);
    /* inputs of the test nets are zero: log 3 but for the biases */
    CHECK_NEAR(dn_solver_test_output(solver, 0, 0), 1.0986, 0.3);
    CHECK_INT(dn_solver_test_iterations(solver, 0), 2);
    CHECK_STATUS(dn_solver_test(solver, 2), DN_E_INVALID);
    CHECK(!dn_solver_test_net(solver, 2) && dn_solver_test_net(solver, 1));
    dn_solver_free(solver);
}

static void check_refusing_callback(dn_context *context, int fail_at, dn_status status,
                                    dn_status expected, int64_t iteration)
{
    diary d = {.fail_at = fail_at, .status = status};
    dn_solver *solver = make_tested(context, &d);
    CHECK_MESSAGE(dn_solver_step(solver, 4), expected, "callback");
    CHECK_INT(dn_solver_iteration(solver), iteration);
    CHECK_STATUS(dn_solver_step(solver, 1), DN_OK);
    dn_solver_free(solver);
}

/* ---- cancelling ------------------------------------------------------------------------- */

static dn_status cancel_in_third(void *user, dn_solver *solver, const dn_event *event)
{
    if (event->kind == DN_EVENT_STEP_BEGIN && event->iteration == 2)
        dn_solver_cancel(solver);
    return DN_OK;
}

static void *cancel_soon(void *solver)
{
    usleep(20000);
    dn_solver_cancel(solver);
    return NULL;
}

static void check_cancel(dn_context *context)
{
    dn_solver_options options = {.struct_size = sizeof options, .on_event = cancel_in_third};
    dn_solver *solver = make_solver(context, FIXED, SMALL_NET, &options);
    pthread_t thread;
    fill_small(solver);
    CHECK_MESSAGE(dn_solver_step(solver, 10), DN_E_CANCELLED, "after iteration 3");
    CHECK_INT(dn_solver_iteration(solver), 3);
    CHECK_STATUS(dn_solver_step(solver, 2), DN_OK);
    dn_solver_cancel(solver);
    CHECK_STATUS(dn_solver_step(solver, 2), DN_E_CANCELLED);
    CHECK_INT(dn_solver_iteration(solver), 5);
    CHECK(!pthread_create(&thread, NULL, cancel_soon, solver));
    CHECK_STATUS(dn_solver_step(solver, INT64_MAX / 2), DN_E_CANCELLED);
    pthread_join(thread, NULL);
    dn_solver_cancel(NULL);
    dn_solver_free(solver);
}

/* ---- the host's own loop ---------------------------------------------------------------- */

static dn_status add_twice(void *user, float *data, int64_t count)
{
    *(int64_t *)user += count;
    for (int64_t i = 0; i < count; i++)
        data[i] *= 2;
    return DN_OK;
}

static dn_status refuse(void *user, float *data, int64_t count)
{
    return 5;
}

/* By parts, or with gradients doubled and the rate halved: the same weights as with step. */
static void check_parts(dn_context *context)
{
    int64_t reduced = 0;
    dn_solver_options options = {
        .struct_size = sizeof options, .all_reduce = add_twice, .all_reduce_user = &reduced};
    dn_solver *whole = make_solver(context, FIXED "random_seed: 1", SMALL_NET, NULL);
    dn_solver *parts = make_solver(context, FIXED "random_seed: 1", SMALL_NET, NULL);
    dn_solver *twice = make_solver(context, "base_lr: 0.05 lr_policy: 'fixed' random_seed: 1",
                                   SMALL_NET, &options);
    fill_small(whole);
    fill_small(parts);
    fill_small(twice);
    CHECK_STATUS(dn_solver_step(whole, 3), DN_OK);
    CHECK_STATUS(dn_solver_step(twice, 3), DN_OK);
    for (int i = 0; i < 3; i++) {
        dn_net *net = dn_solver_net(parts);
        CHECK_STATUS(dn_net_clear_gradients(net), DN_OK);
        CHECK_STATUS(dn_net_forward(net, NULL), DN_OK);
        CHECK_STATUS(dn_net_backward(net), DN_OK);
        CHECK_STATUS(dn_solver_apply_update(parts), DN_OK);
    }
    uint64_t hash = hash_weights(dn_solver_net(whole));
    CHECK(hash_weights(dn_solver_net(parts)) == hash);
    CHECK(hash_weights(dn_solver_net(twice)) == hash);
    CHECK_INT(reduced, 3 * (30 + 5 + 15 + 3));
    dn_solver_free(whole);
    dn_solver_free(parts);
    dn_solver_free(twice);
    options.all_reduce = refuse;
    dn_solver *refused = make_solver(context, FIXED, SMALL_NET, &options);
    CHECK_MESSAGE(dn_solver_step(refused, 1), DN_E_HOST, "all_reduce returned 5");
    CHECK_INT(dn_solver_iteration(refused), 0);
    dn_solver_free(refused);
}

static void check_arguments(dn_context *context)
{
    dn_solver *solver = make_solver(context, FIXED "solver_type: ADAGRAD", SMALL_NET, NULL);
    CHECK_TEXT(dn_solver_type(solver), "AdaGrad");
    CHECK_STATUS(dn_solver_step(solver, -1), DN_E_INVALID);
    CHECK_STATUS(dn_solver_step(NULL, 1), DN_E_INVALID);
    CHECK_STATUS(dn_solver_apply_update(NULL), DN_E_INVALID);
    CHECK_MESSAGE(dn_solver_snapshot(solver, NULL), DN_E_INVALID, "no snapshot_prefix");
    CHECK_STATUS(dn_solver_solve(solver), DN_OK); /* max_iter 0, nowhere to write */
    CHECK_STATUS(dn_solver_create_from_prototxt(NULL, context, "x", NULL), DN_E_INVALID);
    CHECK_STATUS(dn_solver_create_from_prototxt(&solver, context, "/no/such", NULL), DN_E_IO);
    dn_solver_free(solver);
    dn_solver_free(NULL);
}

/* Net and solver keep the context until the last of them is gone, in either order. What happens
 * before the first iteration is counted, since it cannot be timed here: a start that became
 * slow has usually begun to do more. */
static void check_context_freed_first(bool net_first)
{
    check_heap heap = {0};
    dn_context_options options = {.struct_size = sizeof options,
                                  .num_threads = 1,
                                  .alloc = check_alloc,
                                  .alloc_user = &heap};
    dn_context *context = NULL;
    dn_net *net = NULL;
    CHECK_STATUS(dn_context_create(&context, &options), DN_OK);
    dn_solver *solver = make_solver(context, FIXED, SMALL_NET, NULL);
    CHECK_STATUS(dn_solver_step(solver, 1), DN_OK);
    CHECK_AT(heap.requests < 500 && heap.peak_bytes < 200000,
             "%ld requests and %lld bytes before the first iteration is over",
             (long)heap.requests, (long long)heap.peak_bytes);
    static const char text[] = SMALL_NET;
    CHECK_STATUS(dn_net_create_from_text(&net, context, text, sizeof text - 1, NULL), DN_OK);
    dn_context_free(context);
    if (net_first)
        dn_net_free(net);
    CHECK_STATUS(dn_solver_step(solver, 2), DN_OK);
    dn_solver_free(solver);
    if (!net_first) {
        CHECK_STATUS(dn_net_forward(net, NULL), DN_OK);
        dn_net_free(net);
    }
    CHECK_HEAP_CLEAN(&heap);
}

/* Caffe's: the net is made, its tests have no pass and no output. */
static void check_empty_test(dn_context *context)
{
    dn_solver *solver =
        make_solver(context, FIXED "test_interval: 1 test_iter: 0 ", SMALL_NET, NULL);
    CHECK_STATUS(dn_solver_step(solver, 2), DN_OK);
    CHECK_STATUS(dn_solver_test(solver, 0), DN_OK);
    CHECK_INT(dn_solver_num_test_nets(solver), 1);
    CHECK_INT(dn_solver_num_test_outputs(solver, 0), 0);
    dn_solver_free(solver);
}

/* Stages and level of the options come after train_state's, and concern the train net alone. */
static void check_stages(dn_context *context)
{
    static const char *const stages[] = {"a", "b"};
    static const char *const named[] = {"low", "high", "a", "c"};
    dn_solver_options o = {
        .struct_size = sizeof o, .stages = stages, .num_stages = 2, .level = 3};
    dn_solver *solver = make_solver(
        context, FIXED "test_interval: 9 test_iter: 1 train_state { stage: 'c' level: 1 } ",
        SMALL_NET
        "layer { type: 'Power' bottom: 't' top: 'low' include { max_level: 2 } } "
        "layer { type: 'Power' bottom: 't' top: 'high' include { min_level: 3 } } "
        "layer { type: 'Power' bottom: 't' top: 'a' include { stage: 'a' stage: 'b' } } "
        "layer { type: 'Power' bottom: 't' top: 'c' include { stage: 'c' } } ",
        &o);
    for (size_t i = 0; i < sizeof named / sizeof named[0]; i++) {
        CHECK_AT(!dn_net_blob(dn_solver_net(solver), named[i]) == (i == 0), "%s", named[i]);
        CHECK_AT(!dn_net_blob(dn_solver_test_net(solver, 0), named[i]) == (i > 0), "%s",
                 named[i]);
    }
    dn_solver_free(solver);
    o.stages = NULL;
    solver = NULL;
    CHECK_MESSAGE(dn_solver_create_from_text(&solver, context, FIXED, sizeof FIXED - 1,
                                             SMALL_NET, sizeof SMALL_NET - 1, &o),
                  DN_E_INVALID, "stages is NULL");
    o = (dn_solver_options){.struct_size = sizeof o, .reserved = 1};
    CHECK_MESSAGE(dn_solver_create_from_text(&solver, context, FIXED, sizeof FIXED - 1,
                                             SMALL_NET, sizeof SMALL_NET - 1, &o),
                  DN_E_UNSUPPORTED, "does not know");
}

static void count_notices(void *user, int32_t level, const char *line)
{
    *(int *)user += level == DN_LOG_NOTICE && strstr(line, "the context has no device");
}

/* solver_mode and device_id are a wish that the host may honour; a context without a device
 * says so once, and computes. */
static void check_mode(void)
{
    static const struct {
        const char *text;
        int32_t device;
    } rows[] = {{FIXED, 0},
                {FIXED "solver_mode: CPU device_id: 1", 0},
                {FIXED "solver_mode: GPU", 1},
                {FIXED "solver_mode: GPU device_id: 2", 3},
                {FIXED "solver_mode: GPU device_id: -1", 1}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int notices = 0;
        dn_context *context = NULL;
        dn_context_options options = {
            .struct_size = sizeof options, .log = count_notices, .log_user = &notices};
        dn_solver_options look = {.struct_size = sizeof look, .wire_only = 1};
        CHECK_STATUS(dn_context_create(&context, &options), DN_OK);
        dn_solver *wish = make_solver(context, rows[i].text, SMALL_NET, &look);
        CHECK_INT(dn_solver_device(wish), rows[i].device);
        CHECK_INT(notices, 0); /* it only looks */
        dn_solver *solver = make_solver(context, rows[i].text, SMALL_NET, NULL);
        CHECK_INT(notices, rows[i].device != 0);
        fill_small(solver);
        CHECK_STATUS(dn_solver_step(solver, 2), DN_OK);
        CHECK_INT(notices, rows[i].device != 0);
        dn_solver_free(wish);
        dn_solver_free(solver);
        dn_context_free(context);
    }
    CHECK_INT(dn_solver_device(NULL), 0);
}

int main(void)
{
    make_digits(images, labels);
    SECTION("threads");
    check_threads();
    dn_context *context = make_context(2);
    SECTION("resumption");
    for (size_t i = 0; i < sizeof resumed / sizeof resumed[0]; i++)
        check_resumption(context, resumed[i]);
    SECTION("events");
    check_events(context);
    check_refusing_callback(context, 5, 1, DN_E_HOST, 0);
    check_refusing_callback(context, 8, DN_E_DATA, DN_E_DATA, 1);
    SECTION("cancel");
    check_cancel(context);
    SECTION("parts");
    check_parts(context);
    check_arguments(context);
    check_empty_test(context);
    check_stages(context);
    dn_context_free(context);
    SECTION("solver_mode");
    check_mode();
    SECTION("the context is freed first");
    check_context_freed_first(false);
    check_context_freed_first(true);
    return check_summary();
}
