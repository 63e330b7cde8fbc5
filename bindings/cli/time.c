/* SPDX-License-Identifier: BSD-2-Clause
 * time.c: `deepnet time`: layers timed one by one, then whole passes, which the plan may run
 * faster than the sum of the layers. Medians beside means: one stray pass should not count. */
#include <stdlib.h>
#include <string.h>

#include "cli.h"

typedef struct job {
    const char *model, *weights;
    int64_t iterations;
    bool forward_only, json, compact;
} job;

/* Seconds of `iterations` runs, one row per layer and one for the whole pass. */
typedef struct samples {
    double *seconds;
    int64_t iterations;
} samples;

typedef struct summary {
    double median, mean;
} summary;

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static summary summarise(samples *s, int64_t row)
{
    double *first = s->seconds + row * s->iterations, sum = 0;
    int64_t n = s->iterations;
    qsort(first, (size_t)n, sizeof *first, by_value);
    for (int64_t i = 0; i < n; i++)
        sum += first[i];
    return (summary){.median = 0.5 * (first[(n - 1) / 2] + first[n / 2]),
                     .mean = sum / (double)n};
}

/* Inputs get numbers in [-1, 1): zeros would make some kernels look fast. */
static int fill_inputs(dn_net *net)
{
    uint32_t state = 1;
    for (int32_t i = 0; i < dn_net_num_inputs(net); i++) {
        dn_blob *blob = dn_net_input(net, i);
        float *data = dn_blob_mutable_data(blob);
        if (!data)
            return cli_fail_last();
        for (int64_t k = 0; k < dn_blob_count(blob); k++) {
            state = state * 1664525u + 1013904223u;
            data[k] = (float)(state >> 8) / 8388608.0f - 1.0f;
        }
    }
    return CLI_GO;
}

/* forward of `layer` (of all: layer == layers) once, timed into row `layer`. */
static int time_one(dn_net *net, bool backward, int32_t layer, samples *s, int64_t iteration)
{
    bool all = layer == dn_net_num_layers(net);
    double start = cli_now();
    dn_status status;
    if (all)
        status = backward ? dn_net_backward(net) : dn_net_forward(net, NULL);
    else
        status = backward ? dn_net_backward_range(net, layer, layer)
                          : dn_net_forward_range(net, layer, layer, NULL);
    s->seconds[layer * s->iterations + iteration] = cli_now() - start;
    return status ? cli_fail_last() : CLI_GO;
}

static int measure(const job *j, dn_net *net, samples *forward, samples *backward)
{
    int32_t layers = dn_net_num_layers(net);
    int code = CLI_GO;
    cli_bar_start("timing", 0, 2 * j->iterations, false);
    for (int64_t i = 0; code == CLI_GO && i < j->iterations; i++) {
        for (int32_t l = 0; code == CLI_GO && l < layers; l++)
            code = time_one(net, false, l, forward, i);
        for (int32_t l = layers; code == CLI_GO && !j->forward_only && l-- > 0;)
            code = time_one(net, true, l, backward, i);
        cli_bar_set(i + 1, "by layer");
    }
    for (int64_t i = 0; code == CLI_GO && i < j->iterations; i++) {
        code = time_one(net, false, layers, forward, i);
        if (code == CLI_GO && !j->forward_only)
            code = time_one(net, true, layers, backward, i);
        cli_bar_set(j->iterations + i + 1, "whole");
    }
    cli_bar_end();
    return code;
}

/* ---- report ------------------------------- */

static void print_row(const char *name, const char *type, summary f, const summary *b,
                      double flops)
{
    char rate[24], back[64] = "", work[32] = "";
    if (b)
        snprintf(back, sizeof back, " %10.3f %10.3f", 1e3 * b->median, 1e3 * b->mean);
    if (flops > 0 && f.median > 0)
        snprintf(work, sizeof work, "  %8s", cli_count(rate, flops / f.median));
    cli_line("%-24.24s %-18.18s %10.3f %10.3f%s%s", name, type, 1e3 * f.median, 1e3 * f.mean,
             back, work);
}

static void print_json(const char *name, const char *type, summary f, const summary *b)
{
    cli_json_open(stdout);
    cli_json_text(stdout, "layer", name);
    cli_json_text(stdout, "type", type);
    cli_json_real(stdout, "forward_median_ms", 1e3 * f.median);
    cli_json_real(stdout, "forward_mean_ms", 1e3 * f.mean);
    if (b) {
        cli_json_real(stdout, "backward_median_ms", 1e3 * b->median);
        cli_json_real(stdout, "backward_mean_ms", 1e3 * b->mean);
    }
    cli_json_close(stdout);
}

static void report(const job *j, const dn_net *net, samples *forward, samples *backward)
{
    int32_t layers = dn_net_num_layers(net);
    double flops = 0;
    if (!j->json)
        printf("%-24s %-18s %21s%s\n%-24s %-18s %10s %10s%s  %8s\n", "", "", "forward ms",
               j->forward_only ? "" : "           backward ms", "layer", "type", "median",
               "mean", j->forward_only ? "" : "     median       mean", "flop/s");
    for (int32_t l = 0; l <= layers; l++) {
        bool all = l == layers;
        const char *name = all ? "all" : dn_net_layer_name(net, l);
        const char *type = all ? "" : dn_net_layer_type(net, l);
        double own = all ? flops : (double)dn_net_layer_flops(net, l);
        summary f = summarise(forward, l), b = {0};
        if (!j->forward_only)
            b = summarise(backward, l);
        if (j->json)
            print_json(name, type, f, j->forward_only ? NULL : &b);
        else
            print_row(name, type, f, j->forward_only ? NULL : &b, own);
        flops += all ? 0 : own;
    }
}

static int job_run(job *j, dn_context *context, const dn_net_options *options)
{
    dn_net *net = NULL;
    samples forward = {.iterations = j->iterations}, backward = {.iterations = j->iterations};
    int code = CLI_GO;
    size_t rows;
    if (dn_net_create_from_prototxt(&net, context, j->model, options))
        return cli_fail_last();
    rows = (size_t)dn_net_num_layers(net) + 1;
    forward.seconds = calloc(rows * (size_t)j->iterations, sizeof(double));
    backward.seconds = calloc(rows * (size_t)j->iterations, sizeof(double));
    if (!forward.seconds || !backward.seconds)
        code = cli_fail("no memory left");
    if (code == CLI_GO && j->weights)
        code = cli_load_weights(net, j->weights, j->json);
    if (code == CLI_GO)
        code = fill_inputs(net);
    if (code == CLI_GO && dn_net_forward(net, NULL)) /* first passes plan and touch memory */
        code = cli_fail_last();
    if (code == CLI_GO && !j->forward_only && dn_net_backward(net))
        code = cli_fail_last();
    if (code == CLI_GO)
        code = measure(j, net, &forward, &backward);
    if (code == CLI_GO)
        report(j, net, &forward, &backward);
    free(forward.seconds);
    free(backward.seconds);
    dn_net_free(net);
    return code == CLI_GO ? CLI_OK : code;
}

int cli_time(const cli_command *self, int argc, char **argv)
{
    job j = {.iterations = 50};
    cli_host host = {.seed = -1};
    cli_state state = {0};
    dn_net_options net_options = {.struct_size = sizeof net_options};
    dn_context *context = NULL;
    cli_compute compute = {0};
    const cli_option options[] = {
        {"model", "FILE", CLI_TEXT, &j.model, "the net's prototxt"},
        {"weights", "LIST", CLI_TEXT, &j.weights, "files of weights, comma-separated"},
        {"iterations", "N", CLI_INT, &j.iterations, "times to run it (default: 50)"},
        {"forward_only", NULL, CLI_FLAG, &j.forward_only, "leave backward out"},
        {"compact", NULL, CLI_FLAG, &j.compact, "inner blobs not readable, as in train"},
        {"json", NULL, CLI_FLAG, &j.json, "one JSON object a layer"},
        CLI_COMPUTE_OPTIONS(compute),
        CLI_STATE_OPTIONS(state),
        CLI_HOST_OPTIONS(host),
    };
    int code = cli_parse(self, options, COUNT_OF(options), argc, argv, NULL);
    if (code != CLI_GO)
        return code;
    if (!j.model)
        return cli_usage(self, "--model=FILE is missing");
    if (j.iterations < 1 || j.iterations > 1000000)
        return cli_usage(self, "--iterations is 1 to 1000000");
    net_options.memory = j.compact ? DN_MEMORY_COMPACT : DN_MEMORY_READABLE;
    code = cli_state_apply(self, &state, DN_PHASE_TRAIN, &net_options);
    if (code == CLI_GO)
        code =
            cli_compute_of(self, &compute, &net_options.compute, &net_options.compute_fallback);
    if (code == CLI_GO)
        code = cli_context_create(&context, self, &host);
    if (code == CLI_GO)
        code = job_run(&j, context, &net_options);
    dn_context_free(context);
    return code;
}
