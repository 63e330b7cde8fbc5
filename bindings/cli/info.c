/* SPDX-License-Identifier: BSD-2-Clause
 * info.c: `deepnet info`: what a net is, in the library's own words (dn_net_describe). The net
 * is really built, so that the implementation of each op is the one that would run; where its
 * data is not there, inputs of the shape it wires with stand in for it, and that is said. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

typedef struct parts {
    bool layers, ops, memory, plan, prototxt;
    cli_peak peak; /* 0: not given */
} parts;

/* ---- inputs in place of data ------------------------------------------------- */

static int fail_guessed(dn_status status)
{
    if (status != DN_E_SHAPE)
        return cli_fail_last();
    return cli_fail("its data are not here; what they were taken as does not fit %s; --wire "
                    "shows what is known",
                    cli_misfit());
}

static int replace_data(dn_net **net, dn_context *context, const dn_net_options *options)
{
    dn_net_options full = *options;
    dn_net *built = NULL;
    dn_status status;
    char *text = NULL;
    size_t size = 0;
    int code = cli_without_data(&text, &size, *net);
    full.wire_only = 0;
    full.phase = dn_net_phase(*net);
    if (code == CLI_GO &&
        (status = dn_net_create_from_text(&built, context, text, size, &full)) != DN_OK)
        code = fail_guessed(status);
    free(text);
    if (code != CLI_GO)
        return code;
    dn_net_free(*net);
    *net = built;
    return CLI_GO;
}

/* *guessed: the data was not there, and inputs of the shape it was taken to have are. */
static int open_net(dn_net **out, dn_context *context, const char *model,
                    const dn_net_options *options, bool *guessed)
{
    dn_net_options wire = *options;
    dn_status status = dn_net_create_from_prototxt(out, context, model, options);
    if (!status)
        return CLI_GO;
    wire.wire_only = 1;
    *guessed = status == DN_E_IO || status == DN_E_DATA || status == DN_E_UNSUPPORTED;
    if (!*guessed || dn_net_create_from_prototxt(out, context, model, &wire))
        return cli_fail_last();
    return replace_data(out, context, options);
}

/* As open_net, of a solver; its nets are read from their file, or stood in for. */
static int open_solver(dn_solver **out, dn_context *context, const char *path,
                       const dn_solver_options *options, bool *guessed)
{
    dn_solver_options wire = *options;
    dn_solver *wired = NULL;
    char *net = NULL, *text = NULL;
    size_t size = 0;
    dn_status status = dn_solver_create_from_prototxt(out, context, path, options);
    if (!status)
        return CLI_GO;
    wire.wire_only = 1;
    *guessed = status == DN_E_IO || status == DN_E_DATA || status == DN_E_UNSUPPORTED;
    if (!*guessed || dn_solver_create_from_prototxt(&wired, context, path, &wire))
        return cli_fail_last();
    int code = cli_without_data(&net, &size, dn_solver_net(wired));
    dn_solver_free(wired);
    if (code == CLI_GO && !(text = cli_read_text(path)))
        code = cli_fail("%s: %s", path, strerror(errno));
    if (code == CLI_GO && (status = dn_solver_create_from_text(out, context, text, strlen(text),
                                                               net, size, options)) != DN_OK)
        code = fail_guessed(status);
    free(net);
    free(text);
    return code;
}

/* ---- output ------------------------------------------------------------------- */

/* solver: the one whose net it is, or NULL. */
static int print_net(dn_net *net, dn_solver *solver, const parts *p, bool wired, bool guessed)
{
    bool all = !p->layers && !p->ops && !p->memory && !p->plan;
    uint32_t what = 0;
    char *text = NULL;
    if (all || p->layers)
        what |= DN_DESCRIBE_LAYERS;
    if (p->plan && !wired)
        what |= DN_DESCRIBE_PLAN;
    if ((all || p->ops) && !wired)
        what |= DN_DESCRIBE_OPS;
    if ((all || p->memory || p->plan) && !wired)
        what |= DN_DESCRIBE_MEMORY;
    if (p->prototxt ? dn_net_prototxt(net, &text)
        : solver    ? dn_solver_describe(solver, what, &text)
                    : dn_net_describe(net, what, &text))
        return cli_fail_last();
    cli_tame(text, true);
    if (p->peak.gflops > 0)
        cli_peak_print(text, &p->peak);
    else
        fputs(text, stdout);
    dn_net_text_free(net, text);
    if (guessed)
        puts("its data are not here: Input layers of the shape shown stand in for them");
    return CLI_OK;
}

/* The net of a solver prototxt, and what updates it. */
static int info_solver(const char *path, dn_context *context, const parts *p,
                       const dn_net_options *net_options)
{
    const dn_solver_options options = {.struct_size = sizeof options,
                                       .manual_tests = 1,
                                       .manual_snapshots = 1,
                                       .wire_only = net_options->wire_only,
                                       .level = net_options->level,
                                       .stages = net_options->stages,
                                       .num_stages = net_options->num_stages,
                                       .memory = net_options->memory,
                                       .compute = net_options->compute,
                                       .compute_fallback = net_options->compute_fallback};
    bool guessed = false;
    dn_solver *solver = NULL;
    int code = open_solver(&solver, context, path, &options, &guessed);
    if (code == CLI_GO)
        code = print_net(dn_solver_net(solver), solver, p, options.wire_only, guessed);
    dn_solver_free(solver);
    return code;
}

static int info_net(const char *path, dn_context *context, const parts *p,
                    const dn_net_options *options)
{
    bool guessed = false;
    dn_net *net = NULL;
    int code = open_net(&net, context, path, options, &guessed);
    if (code == CLI_GO)
        code = print_net(net, NULL, p, options->wire_only, guessed);
    dn_net_free(net);
    return code;
}

int cli_info(const cli_command *self, int argc, char **argv)
{
    parts p = {0};
    cli_host host = {.seed = -1};
    cli_state state = {0};
    cli_words words;
    cli_compute compute = {0};
    const char *model = NULL, *solver = NULL, *peak = NULL;
    bool wire = false, compact = true; /* as train and test have it */
    dn_net_options net_options = {.struct_size = sizeof net_options};
    dn_context *context = NULL;
    const cli_option options[] = {
        {"model", "FILE", CLI_TEXT, &model, "the net's prototxt, if not given as a word"},
        {"solver", "FILE", CLI_TEXT, &solver, "a solver: its net, and its update in the plan"},
        {"layers", NULL, CLI_FLAG, &p.layers, "only layers, shapes, parameters and flops"},
        {"ops", NULL, CLI_FLAG, &p.ops, "only the ops and the implementation of each"},
        {"memory", NULL, CLI_FLAG, &p.memory, "only the memory by kind"},
        {"plan", NULL, CLI_FLAG, &p.plan,
         "what runs, step by step: bytes, flops, limits; memory"},
        {"peak", "LIST", CLI_TEXT, &peak,
         "limits by GFLOPS,GBYTES[,BF16GFLOPS], as of bench_peak"},
        {"prototxt", NULL, CLI_FLAG, &p.prototxt, "the net as today's prototxt instead"},
        {"compact", NULL, CLI_FLAG, &compact,
         "as train and test run it (default); --compact=no: inner blobs readable"},
        {"wire", NULL, CLI_FLAG, &wire, "wire only: open no data, allocate nothing"},
        CLI_COMPUTE_OPTIONS(compute),
        CLI_STATE_OPTIONS(state),
        CLI_HOST_OPTIONS(host),
    };
    int code = cli_parse(self, options, COUNT_OF(options), argc, argv, &words);
    if (code != CLI_GO)
        return code;
    if (words.count + (model != NULL) + (solver != NULL) != 1)
        return cli_usage(self, "it takes one prototxt");
    if (solver && state.phase)
        return cli_usage(self, "a solver says of which phase its nets are");
    if (peak && !p.plan)
        return cli_usage(self, "--peak is for --plan, which is missing");
    if (peak && (code = cli_peak_of(self, peak, &p.peak)) != CLI_GO)
        return code;
    model = model || solver ? model : words.word[0];
    code = cli_state_apply(self, &state, DN_PHASE_DEFAULT, &net_options);
    if (code == CLI_GO)
        code =
            cli_compute_of(self, &compute, &net_options.compute, &net_options.compute_fallback);
    if (code == CLI_GO)
        code = cli_context_create(&context, self, &host);
    net_options.memory = compact ? DN_MEMORY_COMPACT : DN_MEMORY_READABLE;
    net_options.wire_only = wire || p.prototxt; /* no data is needed for its text */
    if (code == CLI_GO)
        code = solver ? info_solver(solver, context, &p, &net_options)
                      : info_net(model, context, &p, &net_options);
    dn_context_free(context);
    return code;
}
