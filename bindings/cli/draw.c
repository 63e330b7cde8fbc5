/* SPDX-License-Identifier: BSD-2-Clause
 * draw.c: `deepnet draw`: a net as a graph in Graphviz's language, or as SVG through its `dot`
 * command. Layers are boxes, blobs are the arrows between them; a layer that works in place
 * stands between its blob's maker and those who read it, as it runs. */
#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli.h"

extern char **environ;

static void quoted(FILE *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            fputc('\\', out);
        fputc(*text, out);
    }
}

static const char *colour(const char *type)
{
    static const struct {
        const char *part, *colour;
    } rows[] = {{"Loss", "#f4b6b6"},    {"Accuracy", "#f4b6b6"},   {"Data", "#d9d9d9"},
                {"Input", "#d9d9d9"},   {"onvolution", "#aec7e8"}, {"InnerProduct", "#aec7e8"},
                {"Pooling", "#ffd9a0"}, {"LU", "#c9e7c1"},         {"TanH", "#c9e7c1"},
                {"Sigmoid", "#c9e7c1"}};
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        if (strstr(type, rows[i].part))
            return rows[i].colour;
    return "#f3f3f3";
}

static void print_layer(FILE *out, dn_net *net, int32_t layer)
{
    const char *type = dn_net_layer_type(net, layer);
    char count[24], shape[128];
    int64_t parameters = 0;
    for (int32_t i = 0; i < dn_net_layer_num_params(net, layer); i++)
        parameters += dn_blob_count(dn_net_layer_param(net, layer, i));
    fprintf(out, "  l%d [fillcolor=\"%s\" label=\"", (int)layer, colour(type));
    quoted(out, dn_net_layer_name(net, layer));
    fprintf(out, "\\n%s", type);
    if (parameters)
        fprintf(out, ", %s parameters", cli_count(count, (double)parameters));
    for (int32_t i = 0; i < dn_net_layer_num_tops(net, layer); i++)
        fprintf(out, "\\n%s", cli_shape(shape, sizeof shape, dn_net_layer_top(net, layer, i)));
    fputs("\"];\n", out);
}

/* The last layer before `layer` that wrote the blob; -1 if none. */
static int32_t maker(dn_net *net, int32_t layer, const dn_blob *blob)
{
    while (layer-- > 0)
        for (int32_t i = 0; i < dn_net_layer_num_tops(net, layer); i++)
            if (dn_net_layer_top(net, layer, i) == blob)
                return layer;
    return -1;
}

static void print_dot(FILE *out, dn_net *net)
{
    fputs("digraph \"", out);
    quoted(out, dn_net_name(net));
    fputs("\" {\n  node [shape=box style=\"filled,rounded\" fontname=\"sans-serif\"];\n"
          "  edge [fontname=\"sans-serif\" fontsize=10];\n",
          out);
    for (int32_t l = 0; l < dn_net_num_layers(net); l++)
        print_layer(out, net, l);
    for (int32_t l = 0; l < dn_net_num_layers(net); l++) {
        for (int32_t i = 0; i < dn_net_layer_num_bottoms(net, l); i++) {
            const dn_blob *blob = dn_net_layer_bottom(net, l, i);
            int32_t from = maker(net, l, blob);
            if (from < 0)
                continue;
            fprintf(out, "  l%d -> l%d [label=\"", (int)from, (int)l);
            quoted(out, dn_blob_name(blob));
            fputs("\"];\n", out);
        }
    }
    fputs("}\n", out);
}

/* Runs `dot -Tsvg -o path` and feeds it the graph. */
static int write_svg(dn_net *net, const char *path)
{
    char *argv[] = {(char[]){"dot"}, (char[]){"-Tsvg"}, (char[]){"-o"}, (char *)path, NULL};
    posix_spawn_file_actions_t actions;
    int ends[2], status = -1, failed;
    pid_t child;
    FILE *to;
    if (pipe(ends))
        return cli_fail("%s", strerror(errno));
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[0], STDIN_FILENO);
    posix_spawn_file_actions_addclose(&actions, ends[0]);
    posix_spawn_file_actions_addclose(&actions, ends[1]);
    failed = posix_spawnp(&child, "dot", &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[0]);
    to = fdopen(ends[1], "w");
    if (failed || !to) {
        if (to)
            fclose(to);
        else
            close(ends[1]);
        return cli_fail("SVG needs Graphviz's dot (%s); a path that ends in .dot does not",
                        strerror(failed ? failed : errno));
    }
    signal(SIGPIPE, SIG_IGN); /* a dot that gave up says so by its exit status */
    print_dot(to, net);
    fclose(to);
    if (waitpid(child, &status, 0) != child || status != 0)
        return cli_fail("%s: dot failed", path);
    return CLI_OK;
}

static int write_dot(dn_net *net, const char *path)
{
    FILE *out = path ? fopen(path, "w") : stdout;
    if (!out)
        return cli_fail("%s: %s", path, strerror(errno));
    print_dot(out, net);
    if (path && fclose(out) != 0)
        return cli_fail("%s: %s", path, strerror(errno));
    return CLI_OK;
}

int cli_draw(const cli_command *self, int argc, char **argv)
{
    cli_host host = {.seed = -1, .threads = 1};
    cli_state state = {0};
    cli_words words;
    dn_net_options net_options = {.struct_size = sizeof net_options};
    dn_context *context = NULL;
    dn_net *net = NULL;
    const char *path;
    size_t length;
    const cli_option options[] = {CLI_STATE_OPTIONS(state)};
    int code = cli_parse(self, options, COUNT_OF(options), argc, argv, &words);
    if (code != CLI_GO)
        return code;
    if (words.count < 1 || words.count > 2)
        return cli_usage(self, "it takes a net and, if not stdout, a path to write");
    code = cli_state_apply(self, &state, DN_PHASE_DEFAULT, &net_options);
    net_options.wire_only = 1;
    if (code != CLI_GO || (code = cli_context_create(&context, self, &host)) != CLI_GO)
        return code;
    path = words.count > 1 ? words.word[1] : NULL;
    length = path ? strlen(path) : 0;
    if (dn_net_create_from_prototxt(&net, context, words.word[0], &net_options))
        code = cli_fail_last();
    else if (length > 4 && strcmp(path + length - 4, ".svg") == 0)
        code = write_svg(net, path);
    else
        code = write_dot(net, path);
    dn_net_free(net);
    dn_context_free(context);
    return code;
}
