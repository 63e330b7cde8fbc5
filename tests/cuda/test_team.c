/* SPDX-License-Identifier: BSD-2-Clause
 * test_team.c: ranks of the CUDA module, over the fakes: where NCCL refuses they go through the
 * host, what is lost is said, means travel while earlier layers compute, and nothing is left on
 * a device. */
#include <sched.h>
#include <time.h>

#include "books.h"

static dn_event_fn on_event; /* of rank 1 */
#define SOLVER "base_lr: 0.01 lr_policy: 'fixed' momentum: 0.9 max_iter: 9 random_seed: 1 "
static const char *text = SOLVER;

static void make_team_of(const char *net, dn_context **context, dn_solver **solver, char *line)
{
    for (int r = 0; r < 2; r++) {
        dn_context_options options = device_options();
        dn_solver_options o = {.struct_size = sizeof o, .rank = r, .num_ranks = 2};
        o.on_event = r ? on_event : NULL;
        options.device = 1 + r;
        options.log = note;
        options.log_user = line;
        context[r] = make_context(&options);
        solver[r] = make_solver(context[r], text, net, &o);
        CHECK_STATUS(
            dn_net_set_memory_data(dn_solver_net(solver[r]), NULL, images, labels, DIGITS),
            DN_OK);
    }
}

static void make_team(dn_context **context, dn_solver **solver, char *line)
{
    make_team_of(DIGITS_NET, context, solver, line);
}

static void free_team(dn_context **context, dn_solver **solver, dn_parallel *parallel)
{
    dn_parallel_free(parallel);
    for (int r = 0; r < 2; r++) {
        dn_solver_free(solver[r]);
        dn_context_free(context[r]);
    }
    CHECK_INT(live(), 0);
    *fake = (fake_cuda_control){0};
}

/* Two ranks go through the host where NCCL will not have them. */
static void check_refused_team(void)
{
    SECTION("NCCL refuses");
    dn_context *context[2];
    dn_solver *solver[2];
    dn_parallel *parallel = NULL;
    char line[512] = "";
    make_team(context, solver, line);
    setenv("FAKE_NCCL_REFUSES", "1", 1);
    CHECK_STATUS(dn_parallel_create(&parallel, solver, 2), DN_OK);
    unsetenv("FAKE_NCCL_REFUSES");
    CHECK_AT(strstr(line, "NCCL: joining the devices: a fake failure: a fake reason") != NULL,
             "'%s'", line);
    CHECK(parallel && !strcmp(dn_parallel_transport(parallel), "host"));
    CHECK_STATUS(dn_parallel_step(parallel, 4), DN_OK);
    CHECK(hash_weights(dn_solver_net(solver[0])) == hash_weights(dn_solver_net(solver[1])));
    free_team(context, solver, parallel);
}

/* NCCL's words say no more than that CUDA failed: what CUDA says of it is said, too. */
static void check_lost_team(void)
{
    SECTION("NCCL on a lost device");
    static const char *const joining[] = {
        "making a stream: unspecified launch failure (cudaErrorLaunchFailure)",
        "NCCL: joining the devices: unhandled cuda error: a fake reason: unspecified launch "
        "failure (cudaErrorLaunchFailure)"};
    dn_context *context[2];
    dn_solver *solver[2];
    dn_parallel *parallel = NULL;
    for (int within = 0; within < 2; within++) {
        char line[512] = "";
        make_team(context, solver, line);
        fake->launches = 1;
        if (within)
            *nccl_loses = &fake->lost;
        else
            fake->lost = 1;
        CHECK_STATUS(dn_parallel_create(&parallel, solver, 2), DN_OK); /* on the host, then */
        CHECK_AT(strstr(line, joining[within]) != NULL, "'%s'", line);
        CHECK_MESSAGE(dn_parallel_step(parallel, 2), DN_E_DEVICE, "unspecified launch failure");
        free_team(context, solver, parallel);
    }
    char line[512] = "";
    for (int spares = 0; spares < 4; spares += 3) { /* the first mean of a call, or another */
        make_team(context, solver, line);
        CHECK_STATUS(dn_parallel_create(&parallel, solver, 2), DN_OK);
        CHECK_STATUS(dn_parallel_step(parallel, 2), DN_OK);
        *nccl_spares = spares;
        *nccl_loses = &fake->lost;
        CHECK_MESSAGE(dn_parallel_step(parallel, 2), DN_E_DEVICE, "unspecified launch failure");
        CHECK(!*nccl_loses);
        free_team(context, solver, parallel);
    }
    /* lost after the last mean: nobody says goodbye to a rank that cannot answer */
    make_team(context, solver, line);
    CHECK_STATUS(dn_parallel_create(&parallel, solver, 2), DN_OK);
    CHECK_STATUS(dn_parallel_step(parallel, 2), DN_OK);
    long before = *nccl_aborted;
    fake->lost = 1;
    free_team(context, solver, parallel);
    CHECK_INT(*nccl_aborted - before, 2);
}

/* A communicator is freed with work still under way: nobody is told so as a failure. */
static void check_healthy_team(void)
{
    SECTION("a team ends");
    dn_context_options options = device_options();
    dn_context *context[2], *other = make_context(&options);
    dn_solver *solver[2], *alone = make(other, 0);
    dn_parallel *parallel = NULL;
    char line[512] = "";
    make_team(context, solver, line);
    CHECK_STATUS(dn_parallel_create(&parallel, solver, 2), DN_OK);
    CHECK(parallel && strcmp(dn_parallel_transport(parallel), "host") != 0);
    CHECK_STATUS(dn_parallel_step(parallel, 2), DN_OK);
    dn_parallel_free(parallel);
    CHECK_STATUS(dn_solver_step(alone, 1), DN_OK);
    dn_solver_free(alone);
    dn_context_free(other);
    free_team(context, solver, NULL);
}

static char mine, other; /* contexts of the host's */
static void *found[2];   /* what was current when NCCL was called */
static int meddled;

static void meddle(void)
{
    found[meddled++ % 2] = current(NULL);
    current(&other);
}

/* Who stops, and so lets go of all ranks, has its own current device afterwards: a context of
 * the host's, or that of either rank. So has who joins them anew, and who frees the team. */
static void check_stopped_team(void)
{
    SECTION("a team is stopped");
    void *own[3] = {&mine};
    for (int i = 0; i < 3; i++) {
        dn_context *context[2];
        dn_solver *solver[2];
        dn_parallel *parallel = NULL;
        char line[512] = "";
        make_team(context, solver, line);
        CHECK_STATUS(dn_parallel_create(&parallel, solver, 2), DN_OK);
        CHECK_STATUS(dn_parallel_step(parallel, 2), DN_OK);
        void *before = current(NULL);
        long aborted = *nccl_aborted;
        current(own[i]);
        *nccl_meddles = meddle;
        meddled = 0;
        dn_solver_cancel(solver[0]);
        CHECK_STATUS(dn_parallel_step(parallel, 1), DN_E_CANCELLED);
        CHECK_AT(current(NULL) == own[i], "context %d", i);
        CHECK_INT(*nccl_aborted - aborted, 2);
        CHECK_INT(meddled, 2);
        own[1] = found[0], own[2] = found[1];
        CHECK_STATUS(dn_parallel_step(parallel, 1), DN_OK);
        CHECK_AT(current(NULL) == own[i], "context %d", i);
        dn_parallel_free(parallel);
        CHECK_AT(current(NULL) == own[i], "context %d", i);
        CHECK_INT(meddled, 5); /* the ranks joined anew */
        *nccl_meddles = NULL;
        if (before)
            current(before);
        free_team(context, solver, NULL);
    }
    CHECK(own[1] && own[2] && own[1] != own[2]);
}

static bool holds; /* the caller's rank, when it first waits for the other, */
static long held;
static long until; /* so many ranks were left */

/* Not for ever. */
static void wait_for(const long *number, long least)
{
    const struct timespec moment = {.tv_nsec = 1000000};
    for (int i = 0; i < 10000 && __atomic_load_n(number, __ATOMIC_RELAXED) < least; i++)
        nanosleep(&moment, NULL);
}

/* The module's, too, where a rank waits for others before a mean. */
int sched_yield(void)
{
    if (__atomic_exchange_n(&holds, false, __ATOMIC_RELAXED)) {
        __atomic_store_n(&held, 1, __ATOMIC_RELAXED);
        wait_for(nccl_aborted, until);
    }
    return 0;
}

static dn_status come_later(void *user, dn_solver *solver, const dn_event *event)
{
    (void)user, (void)solver, (void)event;
    wait_for(&held, 1);
    return DN_OK;
}

/* Rank 1 fails, and lets go of all, when rank 0 has met it and is on its way to the mean: that
 * asks nothing of a communicator that is no more. */
static void check_rank_between(void)
{
    SECTION("a rank fails while another is on its way");
    dn_context *context[2];
    dn_solver *solver[2];
    dn_parallel *parallel = NULL;
    char line[512] = "";
    on_event = come_later;
    make_team(context, solver, line);
    on_event = NULL;
    CHECK_STATUS(dn_parallel_create(&parallel, solver, 2), DN_OK);
    held = 1;
    CHECK_STATUS(dn_parallel_step(parallel, 2), DN_OK);
    held = 0;
    until = *nccl_aborted + 2;
    holds = true;
    *nccl_loses = &fake->lost;
    CHECK_MESSAGE(dn_parallel_step(parallel, 1), DN_E_DEVICE, "unspecified launch failure");
    CHECK(held && !holds);
    CHECK_INT(*nccl_aborted, until);
    free_team(context, solver, parallel);
}

static int calls; /* by rank 0 */
enum { CALLS = 3 };
static int of[CALLS];     /* means of each, */
static void *computes;    /* rank 0's stream, */
static long asked[CALLS]; /* and what was queued there by then */

static void tell(int rank, int means, void *stream)
{
    if (rank)
        return;
    CHECK(stream != computes);
    of[calls % CALLS] = means;
    asked[calls++ % CALLS] = computes ? queued_in(computes) : 0;
}

static bool stops;

static dn_status stop_at_display(void *user, dn_solver *solver, const dn_event *event)
{
    (void)user, (void)solver;
    if (event->kind != DN_EVENT_DISPLAY || !stops)
        return DN_OK;
    wait_for(&held, 1);
    return 7;
}

/* Rank 1 stops with gradients that wait for others to share a call with, which rank 0 waits to
 * make: nobody makes it. The next step is whole again. */
static void check_stop_within(void)
{
    SECTION("a rank stops within a call's means");
    dn_context *context[2];
    dn_solver *solver[2];
    dn_parallel *parallel = NULL;
    char line[512] = "";
    on_event = stop_at_display;
    text = SOLVER "display: 1";
    make_team(context, solver, line);
    text = SOLVER;
    on_event = NULL;
    CHECK_STATUS(dn_parallel_create(&parallel, solver, 2), DN_OK);
    *nccl_tells = tell;
    computes = NULL;
    CHECK_STATUS(dn_parallel_step(parallel, 2), DN_OK);
    CHECK_INT(calls, 2); /* all of a small net are one */
    held = 0;
    until = *nccl_aborted + 2;
    stops = holds = true;
    CHECK_MESSAGE(dn_parallel_step(parallel, 1), DN_E_HOST, "the event callback returned 7");
    CHECK(held && !holds);
    stops = false;
    CHECK_INT(calls, 2);
    CHECK_INT(*nccl_aborted, until);
    CHECK_STATUS(dn_parallel_step(parallel, 1), DN_OK);
    CHECK_INT(calls, 3);
    CHECK(hash_weights(dn_solver_net(solver[0])) == hash_weights(dn_solver_net(solver[1])));
    *nccl_tells = NULL;
    free_team(context, solver, parallel);
}

#define PRODUCT(name, from, outputs)                                                           \
    "layer { name: '" name "' type: 'InnerProduct' bottom: '" from "' top: '" name "' "        \
    "inner_product_param { num_output: " outputs " weight_filler { type: 'xavier' } } } "
#define DIGITS_INPUT                                                                           \
    "layer { name: 'd' type: 'MemoryData' top: 'd' top: 't' memory_data_param { "              \
    "  batch_size: 4 channels: 1 height: 16 width: 16 } } "
#define LOSS "layer { name: 'l' type: 'SoftmaxWithLoss' bottom: 'c' bottom: 't' top: 'l' } "
/* Weights of a MiB and more, three times: those of each product are ready in a part of their
 * own. */
#define OVERLAP_NET(width)                                                                     \
    DIGITS_INPUT PRODUCT("a", "d", "1100") PRODUCT("b", "a", width) PRODUCT("e", "b", "1000")  \
        PRODUCT("c", "e", "10") LOSS
#define TWO_PARTS_NET                                                                          \
    DIGITS_INPUT PRODUCT("a", "d", "300") PRODUCT("e", "a", "1000") PRODUCT("c", "e", "10") LOSS

static const struct {
    const char *net;
    int calls, of[CALLS];
} overlaps[] = {
    /* the first call is of a MiB, those after it of four: */
    {OVERLAP_NET("1000"), 3, {4, 2, 2}}, /* a's 1.1 are left at the end, */
    {OVERLAP_NET("300"), 2, {4, 4}},     /* with b's 1.3 */
    {TWO_PARTS_NET, 2, {4, 2}},          /* e's are there when its own backward is */
};

static void check_calls_of(int i, int step)
{
    CHECK_AT(calls == overlaps[i].calls, "net %d, step %d: %d calls", i, step, calls);
    for (int k = 0; k < overlaps[i].calls; k++) {
        CHECK_AT(of[k] == overlaps[i].of[k], "net %d, step %d: call %d is of %d means", i, step,
                 k, of[k]);
        long next = k + 1 < overlaps[i].calls ? asked[k + 1] : queued_in(computes);
        CHECK_AT(asked[k] < next, "net %d, step %d: after call %d comes nothing", i, step, k);
    }
}

/* Means of late layers' gradients are asked for, in a stream of their own, before the backward
 * of earlier layers is queued; the update comes after all of them. */
static void check_overlap(int i)
{
    SECTION("means while earlier layers compute");
    dn_context *context[2];
    dn_solver *solver[2];
    dn_parallel *parallel = NULL;
    computes = stream_of(0);
    for (int r = 0; r < 2; r++) {
        dn_context_options options = device_options();
        dn_solver_options o = {.struct_size = sizeof o, .rank = r, .num_ranks = 2};
        options.device = 1 + r;
        options.device_stream = stream_of(r);
        context[r] = make_context(&options);
        solver[r] = make_solver(context[r], "base_lr: 0.01 lr_policy: 'fixed' random_seed: 1",
                                overlaps[i].net, &o);
        CHECK_STATUS(
            dn_net_set_memory_data(dn_solver_net(solver[r]), NULL, images, labels, DIGITS),
            DN_OK);
    }
    CHECK_STATUS(dn_parallel_create(&parallel, solver, 2), DN_OK);
    *nccl_tells = tell;
    for (int step = 0; step < 4; step++) { /* the last ones are replays */
        calls = 0;
        fake->replays = 0;
        CHECK_STATUS(dn_parallel_step(parallel, 1), DN_OK);
        check_calls_of(i, step);
        CHECK_INT(fake->replays, step ? 2 * overlaps[i].calls : 0); /* cut for calls alone */
    }
    *nccl_tells = NULL;
    free_team(context, solver, parallel);
}

enum { SCALES = 130 }; /* each of two weights, with four of the net's products */

/* A call is of 256 means at most. */
static void check_many_weights(void)
{
    SECTION("many small weights");
    static char net[SCALES * 128 + 1024];
    dn_context *context[2];
    dn_solver *solver[2];
    dn_parallel *parallel = NULL;
    char line[512] = "";
    size_t at = (size_t)snprintf(net, sizeof net, "%s", DIGITS_INPUT PRODUCT("s0", "d", "8"));
    for (int i = 0; i < SCALES; i++)
        at += (size_t)snprintf(net + at, sizeof net - at,
                               "layer { name: 's%d' type: 'Scale' bottom: 's%d' top: 's%d' "
                               "scale_param { bias_term: true } } ",
                               i + 1, i, i + 1);
    snprintf(net + at, sizeof net - at,
             "layer { name: 'c' type: 'InnerProduct' bottom: 's%d' top: 'c' "
             "inner_product_param { num_output: 10 } } " LOSS,
             SCALES);
    make_team_of(net, context, solver, line);
    CHECK_STATUS(dn_parallel_create(&parallel, solver, 2), DN_OK);
    *nccl_tells = tell;
    computes = NULL;
    calls = 0;
    CHECK_STATUS(dn_parallel_step(parallel, 1), DN_OK);
    CHECK_INT(calls, 2);
    CHECK_INT(of[0], 256);
    CHECK_INT(of[1], 2 * SCALES + 4 - 256);
    *nccl_tells = NULL;
    free_team(context, solver, parallel);
}

/* Memory that a rank takes or gives back, or a recording that it makes, may wait for the
 * devices of all: no rank is then in a mean that another has yet to come to, or to queue. */
static void check_memory_beside(void)
{
    SECTION("memory while others train");
    dn_context *context[2];
    dn_solver *solver[2];
    dn_parallel *parallel = NULL;
    char line[512] = "";
    make_team_of(OVERLAP_NET("300"), context, solver, line);
    CHECK_STATUS(dn_parallel_create(&parallel, solver, 2), DN_OK);
    fake->half = nccl_half;
    fake->slow = 10;
    *nccl_slow = 5;
    for (int step = 0; step < 4; step++) {
        CHECK_STATUS(dn_parallel_step(parallel, 1), DN_OK);
        hash_weights(dn_solver_net(solver[step % 2]));
    }
    CHECK(fake->recordings > 0);
    *nccl_slow = 0;
    CHECK_INT(*nccl_half, 0);
    CHECK_INT(fake->stuck, 0);
    free_team(context, solver, parallel);
}

int main(int argc, char **argv)
{
    open_books(argc, argv);
    check_refused_team();
    check_lost_team();
    check_healthy_team();
    check_stopped_team();
    check_rank_between();
    check_stop_within();
    for (int i = 0; i < (int)(sizeof overlaps / sizeof *overlaps); i++)
        check_overlap(i);
    check_many_weights();
    check_memory_beside();
    CHECK_INT(*dnn_hasty + *blas_unordered, 0);
    CHECK_INT(*nccl_late, 0);
    CHECK_INT(*nccl_open, 0);
    return check_summary();
}
