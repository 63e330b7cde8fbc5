/* SPDX-License-Identifier: BSD-2-Clause
 * train.c: `deepnet train`: a solver run to its end. Everything said comes from the solver's
 * events; Ctrl-C is caught here, never in the library: the first one asks the solver to stop
 * after its iteration and takes a snapshot, the second leaves at once; SIGHUP takes a snapshot
 * alone, as Caffe's does. Several GPUs are as many contexts and solvers, of which the first
 * speaks for all. */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"

enum { MOST_GPUS = 64 };

typedef struct job {
    dn_context *context[MOST_GPUS];
    dn_solver *solver[MOST_GPUS];
    int32_t count;         /* of them */
    dn_parallel *parallel; /* NULL: there is one */
    FILE *log;
    int32_t compute, compute_fallback; /* as dn_solver_options has them */
    dn_net_options rules;              /* level and stages of the train net */
    bool quiet;
    bool snapshot_seen; /* the last snapshot told its path by an event */
    double start;
    const char *path; /* the solver prototxt */
} job;

static dn_solver *volatile running;
static volatile sig_atomic_t interrupts, hangups;

static void on_signal(int number)
{
    (void)number;
    if (interrupts++)
        _exit(CLI_INTERRUPTED);
    if (running)
        dn_solver_cancel(running);
}

static void on_hangup(int number)
{
    (void)number;
    hangups = 1;
}

static void catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal}, before;
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    action.sa_handler = on_hangup;
    action.sa_flags = SA_RESTART;                                              /* it goes on */
    if (sigaction(SIGHUP, NULL, &before) == 0 && before.sa_handler != SIG_IGN) /* nohup */
        sigaction(SIGHUP, &action, NULL);
}

/* ---- the log ------------------------------- */

/* Opens a record {"event": ..., "iteration": ..., "seconds": ...}; NULL without a log. */
static FILE *record(const job *j, const char *event, int64_t iteration)
{
    if (!j->log)
        return NULL;
    cli_json_open(j->log);
    cli_json_text(j->log, "event", event);
    cli_json_int(j->log, "iteration", iteration);
    cli_json_real(j->log, "seconds", cli_now() - j->start);
    return j->log;
}

static void log_start(const job *j, const dn_solver *solver, const dn_context *context)
{
    FILE *out = record(j, "start", dn_solver_iteration(solver));
    if (!out)
        return;
    cli_json_text(out, "solver", j->path);
    cli_json_text(out, "type", dn_solver_type(solver));
    cli_json_int(out, "max_iteration", dn_solver_max_iteration(solver));
    cli_json_int(out, "threads", dn_context_num_threads(context));
    cli_json_text(out, "backend", dn_context_backend(context, 0));
    if (j->parallel) {
        cli_json_int(out, "devices", j->count);
        cli_json_text(out, "gradients", dn_parallel_transport(j->parallel));
    }
    cli_json_text(out, "version", dn_version());
    cli_json_close(out);
}

/* Averages by name; the elements of one output blob follow each other and become a list. */
static void log_outputs(FILE *out, const dn_solver *solver, int32_t net)
{
    int32_t count = dn_solver_num_test_outputs(solver, net);
    fputs(", \"outputs\": {", out);
    for (int32_t i = 0, end; i < count; i = end) {
        const char *name = dn_solver_test_output_name(solver, net, i);
        for (end = i + 1; end < count; end++)
            if (strcmp(dn_solver_test_output_name(solver, net, end), name) != 0)
                break;
        if (i)
            fputs(", ", out);
        cli_json_string(out, name);
        fputs(end - i > 1 ? ": [" : ": ", out);
        for (int32_t k = i; k < end; k++) {
            if (k > i)
                fputs(", ", out);
            cli_json_number(out, dn_solver_test_output(solver, net, k));
        }
        if (end - i > 1)
            fputc(']', out);
    }
    fputc('}', out);
}

/* ---- events ------------------------------- */

static void on_display(const job *j, const dn_event *event)
{
    FILE *out = record(j, "display", event->iteration);
    if (out) {
        cli_json_real(out, "loss", event->loss);
        cli_json_real(out, "rate", event->rate);
        cli_json_close(out);
    }
    if (!j->quiet)
        cli_line("iteration %lld  loss %.6g  rate %.6g  %.1f s", (long long)event->iteration,
                 event->loss, event->rate, cli_now() - j->start);
}

static void on_test(const job *j, const dn_solver *solver, const dn_event *event)
{
    FILE *out = record(j, "test", event->iteration);
    char line[512];
    size_t at = 0;
    int32_t count = dn_solver_num_test_outputs(solver, event->test_net);
    if (out) {
        cli_json_int(out, "test_net", event->test_net);
        log_outputs(out, solver, event->test_net);
        cli_json_close(out);
    }
    line[0] = 0;
    for (int32_t i = 0; i < count && at < sizeof line; i++)
        at += (size_t)snprintf(line + at, sizeof line - at, "  %s %.6g",
                               dn_solver_test_output_name(solver, event->test_net, i),
                               dn_solver_test_output(solver, event->test_net, i));
    if (!j->quiet && dn_solver_num_test_nets(solver) > 1)
        cli_line("iteration %lld  test net %d:%s", (long long)event->iteration,
                 (int)event->test_net, line);
    else if (!j->quiet)
        cli_line("iteration %lld  test:%s", (long long)event->iteration, line);
}

static void on_snapshot(job *j, const dn_event *event)
{
    FILE *out = record(j, "snapshot", event->iteration);
    if (out) {
        cli_json_text(out, "path", event->path);
        cli_json_close(out);
    }
    if (!j->quiet)
        cli_line("iteration %lld  snapshot %s", (long long)event->iteration,
                 event->path ? event->path : "");
    j->snapshot_seen = true;
}

static dn_status on_event(void *user, dn_solver *solver, const dn_event *event)
{
    job *j = user;
    char note[64];
    switch (event->kind) {
    case DN_EVENT_STEP_END:
        if (hangups) {
            hangups = 0;
            if (dn_solver_snapshot(solver, NULL))
                cli_fail_last(); /* said, and training goes on */
        }
        if (!cli_bar_due(event->iteration)) /* the loss may have to come from a device */
            break;
        snprintf(note, sizeof note, "loss %.4g", dn_solver_loss(solver));
        cli_bar_set(event->iteration, note);
        break;
    case DN_EVENT_TEST_BEGIN:
        cli_bar_set(event->iteration, "testing");
        break;
    case DN_EVENT_TEST_END:
        on_test(j, solver, event);
        break;
    case DN_EVENT_DISPLAY:
        on_display(j, event);
        break;
    case DN_EVENT_SNAPSHOT:
        on_snapshot(j, event);
        break;
    default:
        break;
    }
    return DN_OK;
}

/* ---- the run ------------------------------- */

/* Starting point: weights go into the train net and, as in Caffe, into every test net. */
static int prepare(dn_solver *solver, const char *weights, const char *snapshot, bool quiet)
{
    int code = CLI_GO;
    if (snapshot && dn_solver_restore(solver, snapshot))
        return cli_fail_last();
    if (weights)
        code = cli_load_weights(dn_solver_net(solver), weights, quiet);
    for (int32_t i = 0; weights && code == CLI_GO && i < dn_solver_num_test_nets(solver); i++)
        code = cli_load_weights(dn_solver_test_net(solver, i), weights, true);
    return code;
}

static void log_end(const job *j, const dn_solver *solver, const char *how, const char *why)
{
    FILE *out = record(j, "end", dn_solver_iteration(solver));
    if (!out)
        return;
    cli_json_real(out, "loss", dn_solver_loss(solver));
    cli_json_text(out, "how", how);
    if (why)
        cli_json_text(out, "message", why);
    cli_json_close(out);
}

static int interrupted(job *j, dn_solver *solver)
{
    int64_t iteration = dn_solver_iteration(solver);
    int code = CLI_INTERRUPTED;
    j->snapshot_seen = false;
    if (dn_solver_snapshot(solver, NULL))
        code = cli_fail_last();
    else if (!j->snapshot_seen && !j->quiet)
        cli_line("iteration %lld  snapshot taken", (long long)iteration);
    log_end(j, solver, "interrupted", NULL);
    fprintf(stderr, "deepnet: interrupted at iteration %lld\n", (long long)iteration);
    return code;
}

static int run(job *j, dn_solver *solver)
{
    int64_t first = dn_solver_iteration(solver);
    dn_status status;
    cli_bar_start("training", first, dn_solver_max_iteration(solver), j->quiet);
    catch_signals();
    running = solver;
    status = j->parallel ? dn_parallel_solve(j->parallel) : dn_solver_solve(solver);
    running = NULL;
    cli_bar_end();
    if (status == DN_E_CANCELLED && interrupts)
        return interrupted(j, solver);
    if (status) {
        int code = cli_fail_last();
        log_end(j, solver, "failed", dn_last_error());
        return code;
    }
    log_end(j, solver, "done", NULL);
    if (!j->quiet)
        cli_line("done: %lld iterations in %.1f s, loss %.6g",
                 (long long)(dn_solver_iteration(solver) - first), cli_now() - j->start,
                 dn_solver_loss(solver));
    return CLI_OK;
}

/* solver_mode: GPU means the GPU. Where there can be none, the reason is said, and the solver
 * adds that the CPU computes; one that is there and does not answer is a failure. */
static int heed_mode(const job *j, cli_host *host)
{
    const dn_context_options plain = {
        .struct_size = sizeof plain, .num_threads = 1, .backends = "ref"};
    const dn_solver_options look = {.struct_size = sizeof look,
                                    .wire_only = 1,
                                    .stages = j->rules.stages,
                                    .num_stages = j->rules.num_stages,
                                    .level = j->rules.level};
    dn_context *context = NULL;
    dn_solver *solver = NULL;
    if (host->gpu || dn_context_create(&context, &plain))
        return CLI_GO;
    if (!dn_solver_create_from_prototxt(&solver, context, j->path, &look))
        host->device = dn_solver_device(solver);
    dn_solver_free(solver);
    dn_context_free(context);
    if (!host->device)
        return CLI_GO;
    const dn_context_options real = {.struct_size = sizeof real,
                                     .num_threads = 1,
                                     .device = host->device,
                                     .backends = host->backends};
    const int gpu = host->device - 1;
    dn_status status = dn_context_create(&context, &real);
    if (!status)
        dn_context_free(context);
    else if (status == DN_E_UNSUPPORTED) {
        host->device = 0;
        if (!host->quiet)
            cli_note("GPU %d: %s", gpu, dn_last_error());
    } else if (status != DN_E_NOTFOUND) /* which is of --backends, whatever the mode is */
        return cli_fail("solver_mode GPU: GPU %d: %s", gpu, dn_last_error());
    return CLI_GO;
}

static int create_contexts(job *j, const cli_command *self, cli_host *host)
{
    int32_t devices[MOST_GPUS];
    int code = cli_gpus_of(self, host, devices, MOST_GPUS, &j->count);
    if (code == CLI_GO)
        code = heed_mode(j, host);
    bool chosen = j->count > 0;
    j->count = chosen ? j->count : 1;
    for (int32_t i = 0; code == CLI_GO && i < j->count; i++) {
        cli_host one = *host;
        if (chosen) {
            one.gpu = NULL;
            one.device = devices[i];
        }
        code = cli_context_create(&j->context[i], self, &one);
    }
    return code;
}

static int create(dn_solver **out, dn_context *context, job *j, const cli_host *host,
                  int64_t iterations, int32_t rank)
{
    dn_solver_options options = {.struct_size = sizeof options};
    options.on_event = rank ? NULL : on_event;
    options.on_event_user = j;
    options.rank = rank;
    options.num_ranks = j->count > 1 ? j->count : 0;
    options.max_iter = iterations < 0 ? 0 : iterations;
    options.compute = j->compute;
    options.compute_fallback = j->compute_fallback;
    options.memory = DN_MEMORY_COMPACT; /* nobody looks at inner blobs */
    options.level = j->rules.level;
    options.stages = j->rules.stages;
    options.num_stages = j->rules.num_stages;
    options.seed_given = host->seed >= 0;
    options.seed = host->seed >= 0 ? (uint64_t)host->seed : 0;
    return dn_solver_create_from_prototxt(out, context, j->path, &options) ? cli_fail_last()
                                                                           : CLI_GO;
}

/* Whether a path ends so, or so and in .h5. */
static bool ends_in(const char *path, const char *ending)
{
    size_t size = strlen(path), tail = strlen(ending);
    if (size > 3 && strcmp(path + size - 3, ".h5") == 0)
        size -= 3;
    return size >= tail && strncmp(path + size - tail, ending, tail) == 0;
}

/* The two kinds of files that training starts from are easily taken for each other. */
static int check_start(const cli_command *self, const char *weights, const char *snapshot)
{
    if (weights && snapshot)
        return cli_usage(self, "--weights and --snapshot exclude each other: one starts anew");
    if (weights && ends_in(weights, ".solverstate"))
        return cli_usage(self, "--weights starts from a .caffemodel, not a .solverstate; "
                               "--snapshot goes on from one");
    if (snapshot && ends_in(snapshot, ".caffemodel"))
        return cli_usage(self, "--snapshot goes on from a .solverstate, not a .caffemodel; "
                               "--weights starts from one");
    return CLI_GO;
}

int cli_train(const cli_command *self, int argc, char **argv)
{
    job j = {.start = cli_now()};
    cli_host host = {.seed = -1};
    const char *weights = NULL, *snapshot = NULL, *log = NULL;
    cli_compute compute = {0};
    cli_state state = {0};
    int64_t iterations = -1; /* not given: max_iter */
    const cli_option options[] = {
        {"solver", "FILE", CLI_TEXT, &j.path, "the solver prototxt"},
        {"weights", "LIST", CLI_TEXT, &weights, "weights to start from, comma-separated"},
        {"snapshot", "FILE", CLI_TEXT, &snapshot, "a .solverstate to go on from"},
        {"iterations", "N", CLI_INT, &iterations, "stop at iteration N rather than max_iter"},
        {"log", "FILE", CLI_TEXT, &log, "write one JSON object per event"},
        {"quiet", NULL, CLI_FLAG, &j.quiet, "say nothing but errors and warnings"},
        CLI_RULE_OPTIONS(state),
        CLI_COMPUTE_OPTIONS(compute),
        CLI_HOST_OPTIONS(host),
    };
    int code = cli_parse(self, options, COUNT_OF(options), argc, argv, NULL);
    if (code != CLI_GO)
        return code;
    if (!j.path)
        return cli_usage(self, "--solver=FILE is missing");
    if (iterations == 0)
        return cli_usage(self, "--iterations is at least 1");
    code = check_start(self, weights, snapshot);
    if (code == CLI_GO)
        code = cli_compute_of(self, &compute, &j.compute, &j.compute_fallback);
    if (code == CLI_GO)
        code = cli_state_apply(self, &state, DN_PHASE_DEFAULT, &j.rules);
    if (code != CLI_GO)
        return code;
    if (log && !(j.log = fopen(log, "w")))
        return cli_fail("%s: %s", log, strerror(errno));
    host.quiet = j.quiet;
    code = create_contexts(&j, self, &host);
    for (int32_t i = 0; code == CLI_GO && i < j.count; i++)
        code = create(&j.solver[i], j.context[i], &j, &host, iterations, i);
    if (code == CLI_GO)
        code = prepare(j.solver[0], weights, snapshot, j.quiet);
    if (code == CLI_GO && j.count > 1 && dn_parallel_create(&j.parallel, j.solver, j.count))
        code = cli_fail_last();
    if (code == CLI_GO) {
        log_start(&j, j.solver[0], j.context[0]);
        code = run(&j, j.solver[0]);
    }
    dn_parallel_free(j.parallel);
    for (int32_t i = 0; i < j.count; i++) {
        dn_solver_free(j.solver[i]);
        dn_context_free(j.context[i]);
    }
    if (j.log && cli_close(j.log, log) != CLI_GO && code == CLI_OK)
        code = CLI_FAILED;
    return code;
}
