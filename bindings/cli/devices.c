/* SPDX-License-Identifier: BSD-2-Clause
 * devices.c: `deepnet devices`: the backends of the host and of each device that answers. */
#include <string.h>

#include "cli.h"

enum { MAX_DEVICES = 64 };

static void print_backends(const dn_context *context)
{
    for (int32_t i = 0; i < dn_context_num_backends(context); i++)
        printf("  %s\n", dn_context_backend(context, i));
}

/* Devices are numbered without gaps: the first that does not answer ends the list, and its
 * reason is worth printing only if there was none at all. */
static void print_devices(void)
{
    dn_context_options options = {.struct_size = sizeof options, .num_threads = 1};
    for (int32_t i = 1; i <= MAX_DEVICES; i++) {
        dn_context *context = NULL;
        options.device = i;
        if (dn_context_create(&context, &options)) {
            const char *why = dn_last_error(), *none = "no device: ";
            if (i == 1)
                cli_line("%s%s", strncmp(why, none, strlen(none)) == 0 ? "" : none, why);
            return;
        }
        printf("device %d (--gpu=%d):\n", (int)(i - 1), (int)(i - 1));
        print_backends(context);
        dn_context_free(context);
    }
}

int cli_devices(const cli_command *self, int argc, char **argv)
{
    cli_host host = {.seed = -1};
    dn_context *context = NULL;
    const cli_option options[] = {
        {"threads", "N", CLI_INT, &host.threads, "threads to compute with (default: all)"},
        {"backends", "LIST", CLI_TEXT, &host.backends, "backends, best first (\"cpu,ref\")"},
    };
    int code = cli_parse(self, options, COUNT_OF(options), argc, argv, NULL);
    if (code != CLI_GO || (code = cli_context_create(&context, self, &host)) != CLI_GO)
        return code;
    printf("host, %d threads:\n", (int)dn_context_num_threads(context));
    print_backends(context);
    dn_context_free(context);
    print_devices();
    return CLI_OK;
}
