/* SPDX-License-Identifier: BSD-2-Clause
 * convert.c: 60,000 images of 28 x 28 from IDX files to an LMDB, as `deepnet convert mnist`
 * does it, in a folder that is removed afterwards. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "bench.h"

enum { COUNT = 60000, PIXELS = 28 * 28 };

static void put32(FILE *f, uint32_t v)
{
    for (int shift = 24; shift >= 0; shift -= 8)
        fputc((int)(v >> shift & 255), f);
}

/* dims: the header's, the first one the number of items; items of `bytes` random bytes below.
 */
static void write_idx(const char *path, int axes, const uint32_t *dims, size_t bytes, int below)
{
    FILE *f = fopen(path, "wb");
    uint32_t state = 1;
    if (!f) {
        perror(path);
        exit(1);
    }
    put32(f, 0x800u + (uint32_t)axes);
    for (int i = 0; i < axes; i++)
        put32(f, dims[i]);
    for (size_t i = 0; i < dims[0] * bytes; i++) {
        state = state * 1664525u + 1013904223u;
        fputc((int)((state >> 24) % (unsigned)below), f);
    }
    fclose(f);
}

typedef struct conversion {
    dn_context *context;
    char images[128], labels[128], out[128];
} conversion;

static void convert(void *arg)
{
    conversion *c = arg;
    dn_convert_options options = {.struct_size = sizeof options, .overwrite = 1};
    bench_check(dn_convert_mnist(c->context, c->images, c->labels, c->out, &options),
                "convert");
}

int main(int argc, char **argv)
{
    bench_options o = bench_parse(argc, argv, "convert [--seconds=S]");
    const char *tmp = getenv("TMPDIR");
    char folder[64], file[192];
    conversion c = {.context = bench_context(&o)};
    snprintf(folder, sizeof folder, "%.40s/deepnet-XXXXXX", tmp ? tmp : "/tmp");
    if (!mkdtemp(folder)) {
        perror(folder);
        return 1;
    }
    snprintf(c.images, sizeof c.images, "%s/images", folder);
    snprintf(c.labels, sizeof c.labels, "%s/labels", folder);
    snprintf(c.out, sizeof c.out, "%s/lmdb", folder);
    write_idx(c.images, 3, (uint32_t[]){COUNT, 28, 28}, PIXELS, 256);
    write_idx(c.labels, 1, (uint32_t[]){COUNT}, 1, 10);
    bench_times t = bench_repeat(&o, o.seconds, convert, &c);
    printf("{\"convert\": \"mnist\", \"images\": %d, \"ms\": %.1f, \"best_ms\": %.1f, "
           "\"runs\": %d}\n",
           COUNT, 1e3 * t.median, 1e3 * t.best, t.runs);
    dn_context_free(c.context);
    static const char *const made[] = {"images", "labels", "lmdb/data.mdb", "lmdb/lock.mdb"};
    for (int i = 0; i < 4; i++) {
        snprintf(file, sizeof file, "%s/%s", folder, made[i]);
        unlink(file);
    }
    rmdir(c.out);
    rmdir(folder);
    return 0;
}
