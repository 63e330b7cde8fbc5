/* SPDX-License-Identifier: BSD-2-Clause
 * test_reference.c: what Caffe's Data layer delivered from the same databases: labels, sums of
 * each image, sums weighted by position, and the first image of each of three batches. */
#include "records.h"

static const char *reference;

typedef struct row {
    const char *name, *source;
    int32_t backend;
    uint32_t batch;
    float scale;
    uint32_t crop;
    float mean;
    const char *mean_file;
} row;

static const row rows[] = {
    {"data_plain", "fashion300_lmdb", CNN__DATA_PARAMETER__DB__LMDB, 64, 1, 0, 0, NULL},
    {"data_scale", "fashion300_lmdb", CNN__DATA_PARAMETER__DB__LMDB, 64, 0.00390625f, 0, 0,
     NULL},
    {"data_rand_skip0_wrap", "fashion300_lmdb", CNN__DATA_PARAMETER__DB__LMDB, 130, 1, 0, 0,
     NULL},
    {"data_mean_value_crop", "fashion300_lmdb", CNN__DATA_PARAMETER__DB__LMDB, 32, 1, 21, 72.5f,
     NULL},
    {"data_mean_file_scale", "fashion300_lmdb", CNN__DATA_PARAMETER__DB__LMDB, 50, 0.0078125f,
     0, 0, "mean.binaryproto"},
#ifdef DN_HAVE_LEVELDB
    {"data_leveldb", "fashion300_leveldb", CNN__DATA_PARAMETER__DB__LEVELDB, 32, 0.5f, 0, 0,
     NULL},
#endif
};

static bool is_near(double a, double b, double largest)
{
    return fabs(a - b) <= 2e-5 * (largest > 1 ? largest : 1) + 2e-4 * fabs(b);
}

/* at: labels, sums, weighted sums and first image of one batch; returns what follows them. */
static const char *check_batch(const dni_batch *b, const char *at)
{
    int64_t n = b->shape.dim[0], item = dni_shape_range(&b->shape, 1, 4);
    const char *sums = at + n * 4, *weighted = sums + n * 8, *first = weighted + n * 8;
    int wrong = 0;
    wrong += memcmp(b->labels, at, (size_t)n * 4) != 0;
    wrong += memcmp(b->data, first, (size_t)item * 4) != 0;
    for (int64_t i = 0; i < n; i++) {
        double sum = 0, by_place = 0, expected, expected_by_place;
        for (int64_t k = 0; k < item; k++) {
            sum += b->data[i * item + k];
            by_place += b->data[i * item + k] * (double)(k + 1);
        }
        memcpy(&expected, sums + i * 8, 8);
        memcpy(&expected_by_place, weighted + i * 8, 8);
        wrong += !is_near(sum, expected, 1) || !is_near(by_place, expected_by_place, 1);
    }
    CHECK_INT(wrong, 0);
    return first + item * 4;
}

static void check_row(const row *r)
{
    char path[512];
    size_t size;
    Cnn__DataParameter p = data_param(r->source, r->batch);
    Cnn__TransformationParameter t = CNN__TRANSFORMATION_PARAMETER__INIT;
    dni_loader_options o = {.heap = heap, .param = &p, .transform = &t, .folder = reference};
    float mean = r->mean;
    dni_loader *l = NULL;
    SECTION(r->name);
    p.backend = (Cnn__DataParameter__DB)r->backend;
    t.scale = r->scale, t.crop_size = r->crop, t.mean_file = (char *)r->mean_file;
    t.mean_value = &mean, t.n_mean_value = r->mean != 0;
    snprintf(path, sizeof(path), "%s/%s.bin", reference, r->name);
    char *expected = read_file(path, &size);
    const char *at = expected + 4 * 8;
    CHECK_STATUS(dni_loader_open(&l, &o), DN_OK);
    CHECK(l && memcmp(dni_loader_shape(l)->dim, expected, 4 * 8) == 0);
    for (int i = 0; l && i < 3; i++) {
        dni_batch b;
        CHECK_STATUS(dni_loader_next(l, &b), DN_OK);
        at = check_batch(&b, at);
    }
    CHECK_INT(at - expected, size);
    dni_loader_close(l);
    dni_free(expected);
}

int main(int argc, char **argv)
{
    reference = argc > 1 ? argv[1] : "reference";
    for (size_t i = 0; i < DNI_COUNT(rows); i++)
        check_row(&rows[i]);
    return check_summary();
}
