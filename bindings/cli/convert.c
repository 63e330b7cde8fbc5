/* SPDX-License-Identifier: BSD-2-Clause
 * convert.c: `deepnet convert`: data sets to databases: MNIST's IDX files, lists of images; and
 * the mean of a database. */
#include <string.h>

#include "cli.h"

typedef struct kind {
    const char *name, *words; /* what it takes, for a mistake */
    int count;
} kind;

static const kind kinds[] = {{"mnist", "three paths: IMAGES LABELS OUT", 3},
                             {"images", "three paths: ROOT LIST OUT", 3},
                             {"mean", "two paths: DATABASE OUT", 2}};

int cli_convert(const cli_command *self, int argc, char **argv)
{
    cli_host host = {.seed = -1};
    cli_words words;
    dn_context *context = NULL;
    const char *backend = "lmdb";
    bool overwrite = false, shuffle = false, gray = false, encoded = false, check = false,
         skip = false;
    int64_t skipped = 0;
    dn_convert_options convert = {.struct_size = sizeof convert};
    double start = cli_now();
    size_t k = 0;
    const cli_option options[] = {
        {"overwrite", NULL, CLI_FLAG, &overwrite, "replace a database that is there"},
        {"backend", "lmdb", CLI_TEXT, &backend, "LMDB is the only kind that is made"},
        {"resize_height", "H", CLI_INT, &convert.height, "images: rows, with resize_width"},
        {"resize_width", "W", CLI_INT, &convert.width, "images: columns, with resize_height"},
        {"gray", NULL, CLI_FLAG, &gray, "images: one channel"},
        {"shuffle", NULL, CLI_FLAG, &shuffle, "images: in another order than the list's"},
        {"seed", "N", CLI_INT, &host.seed, "images: seed of --shuffle"},
        {"encoded", NULL, CLI_FLAG, &encoded, "images: keep JPEG and PNG as they are"},
        {"check_size", NULL, CLI_FLAG, &check, "images: all must have the first one's size"},
        {"skip_bad", NULL, CLI_FLAG, &skip, "images: leave out those that cannot be used"},
    };
    int code = cli_parse(self, options, COUNT_OF(options), argc, argv, &words);
    if (code != CLI_GO)
        return code;
    while (k < COUNT_OF(kinds) && (words.count < 1 || strcmp(words.word[0], kinds[k].name)))
        k++;
    if (k == COUNT_OF(kinds))
        return cli_usage(self, "the first word is what to make: mnist, images or mean");
    if (words.count != 1 + kinds[k].count)
        return cli_usage(self, "%s takes %s", kinds[k].name, kinds[k].words);
    if (k != 1 && (convert.height || convert.width || gray || shuffle || encoded || check ||
                   skip || host.seed >= 0))
        return cli_usage(self, "%s takes no option but --overwrite and --backend",
                         kinds[k].name);
    if (strcmp(backend, "lmdb") && (k < 2 || strcmp(backend, "leveldb")))
        return cli_usage(self,
                         k < 2 ? "%s makes no '%s', LMDB only"
                               : "%s reads no '%s', LMDB and LevelDB only",
                         kinds[k].name, backend);
    if ((code = cli_context_create(&context, self, &host)) != CLI_GO)
        return code;
    char **word = words.word;
    convert.overwrite = overwrite;
    convert.shuffle = shuffle;
    convert.gray = gray;
    convert.encoded = encoded;
    convert.check_size = check;
    convert.skip_bad = skip;
    convert.skipped = &skipped;
    convert.seed = host.seed < 0 ? 0 : (uint64_t)host.seed;
    convert.root_folder = word[1];
    dn_status st = k == 0   ? dn_convert_mnist(context, word[1], word[2], word[3], &convert)
                   : k == 1 ? dn_convert_images(context, word[2], word[3], &convert)
                            : dn_convert_mean(context, word[1], word[2]);
    code = st ? cli_fail_last() : CLI_OK;
    if (code == CLI_OK && skipped)
        printf("%s: %lld images left out\n", word[words.count - 1], (long long)skipped);
    if (code == CLI_OK)
        printf("%s: made in %.2f s\n", word[words.count - 1], cli_now() - start);
    dn_context_free(context);
    return code;
}
