/* SPDX-License-Identifier: BSD-2-Clause
 * inputs.c: a wired net as text in which Input layers stand in for those that read data: what
 * follows is held to the shapes that the data was taken to have. */
#include <stdlib.h>
#include <string.h>

#include "cli.h"

bool cli_is_data(dn_net *net, int32_t layer)
{
    const char *type = dn_net_layer_type(net, layer);
    return type && strstr(type, "Data") && strcmp(type, "DummyData") != 0 &&
           strcmp(type, "MemoryData") != 0 && dn_net_layer_num_bottoms(net, layer) == 0;
}

static void print_shapes(FILE *out, dn_net *net, int32_t layer)
{
    fputs("  input_param {", out);
    for (int32_t i = 0; i < dn_net_layer_num_tops(net, layer); i++) {
        const dn_blob *top = dn_net_layer_top(net, layer, i);
        fputs(" shape {", out);
        for (int32_t k = 0; k < dn_blob_axes(top); k++)
            fprintf(out, " dim: %lld", (long long)dn_blob_dim(top, k));
        fputs(" }", out);
    }
    fputs(" }\n", out);
}

/* A line of a layer that reads data, as an Input layer has it: names as they are printed. */
static void print_input(FILE *out, const char *line, size_t length, dn_net *net, int32_t layer)
{
    if (strncmp(line, "  type: ", 8) == 0)
        fputs("  type: \"Input\"\n", out);
    if (*line == '}')
        print_shapes(out, net, layer);
    if (*line != ' ' || strncmp(line, "  name: ", 8) == 0 || strncmp(line, "  top: ", 7) == 0)
        fwrite(line, 1, length, out);
}

int cli_without_data(char **out, size_t *size, dn_net *net)
{
    char *text = NULL;
    int32_t layer = -1;
    FILE *file;
    if (dn_net_prototxt(net, &text))
        return cli_fail_last();
    if (!(file = open_memstream(out, size))) {
        dn_net_text_free(net, text);
        return cli_fail("no memory left");
    }
    for (char *line = text, *next; *line; line = next) {
        next = strchr(line, '\n');
        next = next ? next + 1 : line + strlen(line);
        layer += strncmp(line, "layer {", 7) == 0;
        if (layer >= 0 && cli_is_data(net, layer))
            print_input(file, line, (size_t)(next - line), net, layer);
        else
            fwrite(line, 1, (size_t)(next - line), file);
    }
    dn_net_text_free(net, text);
    return fclose(file) == 0 ? CLI_GO : cli_fail("no memory left");
}

const char *cli_misfit(void)
{
    const char *line = dn_last_error(), *layer = line ? strstr(line, "layer '") : NULL;
    return layer ? layer : line ? line : "";
}
