/* SPDX-License-Identifier: BSD-2-Clause
 * convert.c: `deepnet convert`: data sets to databases. One kind so far: MNIST's IDX files. */
#include <string.h>

#include "cli.h"

int cli_convert(const cli_command *self, int argc, char **argv)
{
    cli_host host = {.seed = -1};
    cli_words words;
    dn_context *context = NULL;
    bool overwrite = false;
    dn_convert_options convert = {.struct_size = sizeof convert};
    double start = cli_now();
    const cli_option options[] = {
        {"overwrite", NULL, CLI_FLAG, &overwrite, "replace a database that is there"},
    };
    int code = cli_parse(self, options, COUNT_OF(options), argc, argv, &words);
    if (code != CLI_GO)
        return code;
    if (words.count < 1 || strcmp(words.word[0], "mnist") != 0)
        return cli_usage(self, "the first word is the kind of data set: mnist");
    if (words.count != 4)
        return cli_usage(self, "mnist takes three paths: IMAGES LABELS OUT");
    if ((code = cli_context_create(&context, self, &host)) != CLI_GO)
        return code;
    convert.overwrite = overwrite;
    if (dn_convert_mnist(context, words.word[1], words.word[2], words.word[3], &convert))
        code = cli_fail_last();
    else
        code = CLI_OK;
    if (code == CLI_OK)
        printf("%s: made in %.2f s\n", words.word[3], cli_now() - start);
    dn_context_free(context);
    return code;
}
