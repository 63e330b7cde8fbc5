/* SPDX-License-Identifier: BSD-2-Clause
 * context.c: contexts, net states and weights as the options of a command ask for them. */
#include <stdlib.h>
#include <string.h>

#include "cli.h"

/* The library's notices go to stderr, so that stdout holds results only. */
static void log_line(void *user, int32_t level, const char *line)
{
    const cli_host *host = user;
    if (host->quiet && level < DN_LOG_WARNING)
        return;
    cli_note("%s%s", level >= DN_LOG_WARNING ? "warning: " : "", line);
}

/* --gpu=all: devices are numbered without gaps, so the first that does not answer ends them. */
static int all_gpus(const cli_host *host, int32_t *devices, int32_t most, int32_t *count)
{
    dn_context_options options = {
        .struct_size = sizeof options, .num_threads = 1, .backends = host->backends};
    for (int32_t i = 0; i < most; i++) {
        dn_context *context = NULL;
        options.device = i + 1;
        if (dn_context_create(&context, &options)) {
            if (!i)
                return cli_fail_last();
            if (!host->quiet)
                cli_note("%d GPUs; the next one: %s", (int)i, dn_last_error());
            return CLI_GO;
        }
        dn_context_free(context);
        devices[(*count)++] = i + 1;
    }
    return CLI_GO;
}

int cli_gpus_of(const cli_command *command, const cli_host *host, int32_t *devices,
                int32_t most, int32_t *count)
{
    const char *at = host->gpu;
    *count = 0;
    if (!at || strcmp(at, "none") == 0)
        return CLI_GO;
    if (most > 1 && strcmp(at, "all") == 0)
        return all_gpus(host, devices, most, count);
    for (;; at++) {
        char *end;
        long device = strtol(at, &end, 10);
        bool fits = *at >= '0' && *at <= '9' && (*end == ',' || !*end) && device <= 1023;
        for (int32_t i = 0; fits && i < *count; i++)
            fits = devices[i] != (int32_t)device + 1;
        if (!fits || *count == most)
            return cli_usage(command,
                             most > 1 ? "--gpu takes numbers of GPUs, \"0,1\", or all, not '%s'"
                                      : "--gpu takes the number of one GPU, not '%s'",
                             host->gpu);
        devices[(*count)++] = (int32_t)device + 1;
        at = end;
        if (!*at)
            return CLI_GO;
    }
}

int cli_context_create(dn_context **out, const cli_command *command, const cli_host *host)
{
    dn_context_options options = {
        .struct_size = sizeof options, .log = log_line, .log_user = (void *)(uintptr_t)host};
    int32_t devices = 0;
    if (host->threads > 4096)
        return cli_usage(command, "--threads takes at most 4096");
    if (host->log) {
        options.log = host->log;
        options.log_user = host->log_user;
    }
    options.num_threads = (int32_t)host->threads;
    options.backends = host->backends;
    options.tune = host->tune;
    options.seed = host->seed >= 0 ? (uint64_t)host->seed : 0;
    options.device = host->device;
    int code = cli_gpus_of(command, host, &options.device, 1, &devices);
    if (code != CLI_GO)
        return code;
    if (!dn_context_create(out, &options))
        return CLI_GO;
    return options.device ? cli_fail("GPU %d: %s", (int)options.device - 1, dn_last_error())
                          : cli_fail_last();
}

int cli_compute_of(const cli_command *command, const cli_compute *c, int32_t *compute,
                   int32_t *fallback)
{
    static const char *const names[] = {"f32", "tf32", "bf16"}; /* DN_COMPUTE_* */
    *compute = DN_COMPUTE_F32;
    *fallback = c->fallback;
    for (size_t i = 0; c->name && i < COUNT_OF(names); i++)
        if (strcmp(c->name, names[i]) == 0) {
            *compute = (int32_t)i;
            return CLI_GO;
        }
    return c->name ? cli_usage(command, "--compute is f32, tf32 or bf16, not '%s'", c->name)
                   : CLI_GO;
}

int cli_state_apply(const cli_command *command, cli_state *state, int32_t default_phase,
                    dn_net_options *options)
{
    options->phase = default_phase;
    if (state->phase &&
        (strcmp(state->phase, "TRAIN") == 0 || strcmp(state->phase, "train") == 0))
        options->phase = DN_PHASE_TRAIN;
    else if (state->phase &&
             (strcmp(state->phase, "TEST") == 0 || strcmp(state->phase, "test") == 0))
        options->phase = DN_PHASE_TEST;
    else if (state->phase)
        return cli_usage(command, "--phase is TRAIN or TEST, not '%s'", state->phase);
    if (state->level > INT32_MAX)
        return cli_usage(command, "--level is at most %ld", (long)INT32_MAX);
    options->level = (int32_t)state->level;
    options->stages = state->stages;
    for (char *next = state->stage; next && *next;) {
        char *comma = strchr(next, ',');
        if (options->num_stages == COUNT_OF(state->stages))
            return cli_usage(command, "--stage takes at most %zu", COUNT_OF(state->stages));
        if (comma)
            *comma++ = 0;
        state->stages[options->num_stages++] = next;
        next = comma;
    }
    return CLI_GO;
}

static void say_report(const char *path, const dn_weights_report *report)
{
    cli_note("%s: weights of %d layers loaded", path, (int)report->loaded);
    if (report->missing)
        cli_note("%s: has no weights for %s; they keep their fillers' values", path,
                 report->missing_names);
    if (report->unused)
        cli_note("%s: weights that this net has no layer for: %s", path, report->unused_names);
}

int cli_load_weights(dn_net *net, const char *list, bool quiet)
{
    dn_weights_report report = {.struct_size = sizeof report};
    size_t size = strlen(list) + 1;
    char *copy = malloc(size);
    int code = CLI_GO;
    if (!copy)
        return cli_fail("no memory left");
    memcpy(copy, list, size);
    for (char *path = copy; path && code == CLI_GO;) {
        char *comma = strchr(path, ',');
        if (comma)
            *comma++ = 0;
        if (dn_net_load_weights(net, path, DN_WEIGHTS_STRICT, &report))
            code = cli_fail_last();
        else if (!quiet)
            say_report(path, &report);
        path = comma;
    }
    free(copy);
    return code;
}
