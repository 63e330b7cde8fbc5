/* SPDX-License-Identifier: BSD-2-Clause
 * draw.c: `deepnet draw`: a net as a graph in Graphviz's language, or as SVG through its `dot`
 * command. Layers are boxes, blobs are the arrows between them, with their shapes; a layer that
 * works in place stands in the box of the layer whose blob it changes. */
#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli.h"

extern char **environ;

/* ---- the graph ------------------------------- */

static void quoted(FILE *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            fputc('\\', out);
        fputc(*text, out);
    }
}

/* For Graphviz's HTML-like labels. */
static void escaped(FILE *out, const char *text)
{
    for (; *text; text++) {
        const char *entity = *text == '&'   ? "&amp;"
                             : *text == '<' ? "&lt;"
                             : *text == '>' ? "&gt;"
                             : *text == '"' ? "&quot;"
                                            : NULL;
        if (entity)
            fputs(entity, out);
        else
            fputc(*text, out);
    }
}

/* Filling and edge, by what a layer is for; the last is for any other. */
static void colours(const char *type, const char **fill, const char **edge)
{
    static const struct {
        const char *part, *fill, *edge;
    } rows[] = {{"Loss", "#f8d3d0", "#c2605a"},
                {"Accuracy", "#f8d3d0", "#c2605a"},
                {"Evaluat", "#f8d3d0", "#c2605a"},
                {"Data", "#e4e4e4", "#8a8a8a"},
                {"Input", "#e4e4e4", "#8a8a8a"},
                {"onvolution", "#d3e2f4", "#5a86b8"},
                {"InnerProduct", "#d3e2f4", "#5a86b8"},
                {"Embed", "#d3e2f4", "#5a86b8"},
                {"LSTM", "#d3e2f4", "#5a86b8"},
                {"Pooling", "#fde6c4", "#c8923c"},
                {"LU", "#dcefd6", "#6a9e5c"},
                {"TanH", "#dcefd6", "#6a9e5c"},
                {"Sigmoid", "#dcefd6", "#6a9e5c"},
                {"Softmax", "#dcefd6", "#6a9e5c"},
                {"", "#f4f2ee", "#98928a"}};
    size_t i = 0;
    while (!strstr(type, rows[i].part))
        i++;
    *fill = rows[i].fill;
    *edge = rows[i].edge;
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

/* Does it work in place, on what a layer before it made? Then it shares that layer's box. */
static bool in_place(dn_net *net, int32_t layer)
{
    bool one =
        dn_net_layer_num_tops(net, layer) == 1 && dn_net_layer_num_bottoms(net, layer) == 1;
    return one && dn_net_layer_top(net, layer, 0) == dn_net_layer_bottom(net, layer, 0) &&
           maker(net, layer, dn_net_layer_bottom(net, layer, 0)) >= 0;
}

/* The layer whose box a layer is drawn in. */
static int32_t box_of(dn_net *net, int32_t layer)
{
    while (in_place(net, layer))
        layer = maker(net, layer, dn_net_layer_bottom(net, layer, 0));
    return layer;
}

static int64_t parameters_of(dn_net *net, int32_t layer)
{
    int64_t count = 0;
    for (int32_t i = 0; i < dn_net_layer_num_params(net, layer); i++)
        count += dn_blob_count(dn_net_layer_param(net, layer, i));
    return count;
}

static void print_lines(FILE *out, dn_net *net, int32_t layer)
{
    char count[24];
    int64_t parameters = parameters_of(net, layer);
    fputs("<b>", out);
    escaped(out, dn_net_layer_name(net, layer));
    fputs("</b><br/><font point-size=\"11\" color=\"#505050\">", out);
    escaped(out, dn_net_layer_type(net, layer));
    if (parameters)
        fprintf(out, ", %s parameters", cli_count(count, (double)parameters));
    fputs("</font>", out);
}

static void print_box(FILE *out, dn_net *net, int32_t layer)
{
    const char *fill, *edge;
    colours(dn_net_layer_type(net, layer), &fill, &edge);
    fprintf(out, "  l%d [fillcolor=\"%s\" color=\"%s\" label=<", (int)layer, fill, edge);
    print_lines(out, net, layer);
    for (int32_t l = layer + 1; l < dn_net_num_layers(net); l++) {
        if (!in_place(net, l) || box_of(net, l) != layer)
            continue;
        fputs("<br/><font point-size=\"4\"> </font><br/>", out);
        print_lines(out, net, l);
    }
    fputs(">];\n", out);
}

/* The shape, and the blob's name where that is not its maker's. */
static void print_arrow(FILE *out, dn_net *net, int32_t from, int32_t to, const dn_blob *blob)
{
    char shape[128];
    const char *name = dn_blob_name(blob);
    fprintf(out, "  l%d -> l%d [label=\"", (int)from, (int)to);
    if (strcmp(name, dn_net_layer_name(net, from)) != 0) {
        fputs("&nbsp;", out);
        quoted(out, name);
        fputs("\\l", out);
    }
    fprintf(out, "&nbsp;%s\\l\"];\n", cli_shape(shape, sizeof shape, blob));
}

static void print_head(FILE *out, dn_net *net)
{
    char count[24];
    int64_t parameters = 0;
    for (int32_t l = 0; l < dn_net_num_layers(net); l++)
        parameters += parameters_of(net, l);
    fputs("digraph \"", out);
    quoted(out, dn_net_name(net));
    fputs("\" {\n  graph [fontname=\"Helvetica,sans-serif\" fontsize=16 labelloc=t "
          "nodesep=0.35 ranksep=0.45\n    label=<<b>",
          out);
    escaped(out, *dn_net_name(net) ? dn_net_name(net) : "net");
    fprintf(out, "</b><br/><font point-size=\"11\">%s, %d layers, %s parameters</font>>];\n",
            dn_net_phase(net) == DN_PHASE_TRAIN ? "TRAIN" : "TEST", (int)dn_net_num_layers(net),
            cli_count(count, (double)parameters));
    fputs("  node [shape=box style=\"filled,rounded\" fontname=\"Helvetica,sans-serif\" "
          "fontsize=13 margin=\"0.16,0.07\" height=0.3];\n"
          "  edge [fontname=\"Helvetica,sans-serif\" fontsize=10 fontcolor=\"#505050\" "
          "color=\"#707070\" arrowsize=0.6];\n",
          out);
}

static void print_dot(FILE *out, dn_net *net)
{
    print_head(out, net);
    for (int32_t l = 0; l < dn_net_num_layers(net); l++)
        if (!in_place(net, l))
            print_box(out, net, l);
    for (int32_t l = 0; l < dn_net_num_layers(net); l++) {
        for (int32_t i = 0; !in_place(net, l) && i < dn_net_layer_num_bottoms(net, l); i++) {
            const dn_blob *blob = dn_net_layer_bottom(net, l, i);
            int32_t from = maker(net, l, blob);
            if (from >= 0)
                print_arrow(out, net, box_of(net, from), l, blob);
        }
    }
    fputs("}\n", out);
}

/* ---- files ------------------------------- */

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
    if (path && cli_close(out, path) != CLI_GO)
        return CLI_FAILED;
    return CLI_OK;
}

static bool ends_in(const char *path, const char *extension)
{
    size_t length = strlen(path), end = strlen(extension);
    return length > end && strcmp(path + length - end, extension) == 0;
}

/* Other pictures are Graphviz's to make, and a .png with DOT in it helps nobody. */
static bool is_other_picture(const char *path)
{
    static const char *const others[] = {".png", ".pdf", ".jpg", ".jpeg",
                                         ".gif", ".ps",  ".eps"};
    for (size_t i = 0; i < COUNT_OF(others); i++)
        if (ends_in(path, others[i]))
            return true;
    return false;
}

/* In the phase that was asked for; if none was, in TRAIN where the net is for that alone. */
static int make_net(dn_net **out, dn_context *context, const char *path, dn_net_options options)
{
    char line[1024];
    if (!dn_net_create_from_prototxt(out, context, path, &options))
        return CLI_GO;
    snprintf(line, sizeof line, "%s", dn_last_error());
    bool either = options.phase == DN_PHASE_DEFAULT;
    options.phase = DN_PHASE_TRAIN;
    if (either && !dn_net_create_from_prototxt(out, context, path, &options))
        return CLI_GO;
    return cli_fail("%s", line);
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
    const cli_option options[] = {CLI_STATE_OPTIONS(state)};
    int code = cli_parse(self, options, COUNT_OF(options), argc, argv, &words);
    if (code != CLI_GO)
        return code;
    if (words.count < 1 || words.count > 2)
        return cli_usage(self, "it takes a net and, if not stdout, a path to write");
    path = words.count > 1 ? words.word[1] : NULL;
    if (path && is_other_picture(path))
        return cli_usage(self, "it writes .dot and .svg, not '%s'", path);
    code = cli_state_apply(self, &state, DN_PHASE_DEFAULT, &net_options);
    net_options.wire_only = 1;
    if (code != CLI_GO || (code = cli_context_create(&context, self, &host)) != CLI_GO)
        return code;
    code = make_net(&net, context, words.word[0], net_options);
    if (code == CLI_GO && path && ends_in(path, ".svg"))
        code = write_svg(net, path);
    else if (code == CLI_GO)
        code = write_dot(net, path);
    dn_net_free(net);
    dn_context_free(context);
    return code;
}
