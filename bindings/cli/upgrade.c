/* SPDX-License-Identifier: BSD-2-Clause
 * upgrade.c: `deepnet upgrade`: a net, weights or a solver of any generation and dialect,
 * written as today's. */
#include <string.h>

#include "cli.h"

int cli_upgrade(const cli_command *self, int argc, char **argv)
{
    cli_host host = {.seed = -1, .threads = 1};
    cli_words words;
    bool text = false, binary = false, quiet = false;
    const char *to;
    dn_context *context = NULL;
    dn_upgrade_options upgrade = {.struct_size = sizeof upgrade};
    const cli_option options[] = {
        {"text", NULL, CLI_FLAG, &text, "write text, whatever NEW ends in"},
        {"binary", NULL, CLI_FLAG, &binary, "write the binary form, whatever NEW ends in"},
        {"dialect", "NAME", CLI_TEXT, &upgrade.dialect,
         "whose field numbers a binary file has (default: found from them)"},
        {"quiet", NULL, CLI_FLAG, &quiet, "say nothing about what is unknown or dropped"},
    };
    int code = cli_parse(self, options, COUNT_OF(options), argc, argv, &words);
    if (code != CLI_GO)
        return code;
    if (words.count != 2)
        return cli_usage(self, "it takes two paths: OLD NEW");
    if (text && binary)
        return cli_usage(self, "--text and --binary exclude each other");
    upgrade.form = text ? DN_FORM_TEXT : binary ? DN_FORM_BINARY : DN_FORM_AUTO;
    host.quiet = quiet;
    if ((code = cli_context_create(&context, self, &host)) != CLI_GO)
        return code;
    to = strcmp(words.word[1], "-") == 0 ? "/dev/stdout" : words.word[1];
    code = dn_upgrade_file(context, words.word[0], to, &upgrade) ? cli_fail_last() : CLI_OK;
    dn_context_free(context);
    return code;
}
