/* SPDX-License-Identifier: BSD-2-Clause
 * info.c: `deepnet info`: what a net is, in the library's own words (dn_net_describe). The net
 * is really built, so that the implementation of each op is the one that would run; where its
 * data is not there, it is wired only, and that is said. */
#include "cli.h"

typedef struct parts {
    bool layers, ops, memory, plan, prototxt;
} parts;

/* Wires the net if it can't be built for want of its data. */
static int open_net(dn_net **out, dn_context *context, const char *model,
                    dn_net_options *options, bool *wired_only)
{
    dn_status status = dn_net_create_from_prototxt(out, context, model, options);
    if (status == DN_E_IO || status == DN_E_DATA || status == DN_E_UNSUPPORTED) {
        options->wire_only = 1;
        *wired_only = true;
        status = dn_net_create_from_prototxt(out, context, model, options);
    }
    return status ? cli_fail_last() : CLI_GO;
}

static int print_net(dn_net *net, const parts *p, bool wired_only)
{
    bool all = !p->layers && !p->ops && !p->memory && !p->plan && !p->prototxt;
    uint32_t what = 0;
    char *text = NULL;
    if (all || p->layers)
        what |= DN_DESCRIBE_LAYERS;
    if ((all || p->ops || p->plan) && !wired_only)
        what |= DN_DESCRIBE_OPS;
    if ((all || p->memory || p->plan) && !wired_only)
        what |= DN_DESCRIBE_MEMORY;
    if (p->prototxt && dn_net_prototxt(net, &text))
        return cli_fail_last();
    if (!p->prototxt && dn_net_describe(net, what, &text))
        return cli_fail_last();
    fputs(text, stdout);
    dn_net_text_free(net, text);
    if (wired_only)
        puts(
            "its data is not here: wired only, no memory placed and no implementations chosen");
    return CLI_OK;
}

int cli_info(const cli_command *self, int argc, char **argv)
{
    parts p = {0};
    cli_host host = {.seed = -1};
    cli_state state = {0};
    cli_words words;
    const char *model = NULL;
    bool wire = false;
    dn_net_options net_options = {.struct_size = sizeof net_options};
    dn_context *context = NULL;
    dn_net *net = NULL;
    const cli_option options[] = {
        {"model", "FILE", CLI_TEXT, &model, "the net's prototxt, if not given as a word"},
        {"layers", NULL, CLI_FLAG, &p.layers, "only layers, shapes, parameters and flops"},
        {"ops", NULL, CLI_FLAG, &p.ops, "only the ops and the implementation of each"},
        {"memory", NULL, CLI_FLAG, &p.memory, "only the memory by kind"},
        {"plan", NULL, CLI_FLAG, &p.plan, "--ops and --memory"},
        {"prototxt", NULL, CLI_FLAG, &p.prototxt, "the net as today's prototxt instead"},
        {"wire", NULL, CLI_FLAG, &wire, "wire only: open no data, allocate nothing"},
        CLI_STATE_OPTIONS(state),
        CLI_HOST_OPTIONS(host),
    };
    int code = cli_parse(self, options, COUNT_OF(options), argc, argv, &words);
    if (code != CLI_GO)
        return code;
    if (words.count + (model != NULL) != 1)
        return cli_usage(self, "it takes one prototxt");
    model = model ? model : words.word[0];
    code = cli_state_apply(self, &state, DN_PHASE_DEFAULT, &net_options);
    if (code == CLI_GO)
        code = cli_context_create(&context, self, &host);
    net_options.wire_only = wire;
    if (code == CLI_GO)
        code = open_net(&net, context, model, &net_options, &wire);
    if (code == CLI_GO)
        code = print_net(net, &p, wire);
    dn_net_free(net);
    dn_context_free(context);
    return code;
}
