/* SPDX-License-Identifier: BSD-2-Clause
 * test_transform.c: (pixel - mean) * scale, crops and mirrors, against a plain loop. */
#include "records.h"

enum { C = 3, H = 9, W = 8, ALL = C * H * W };

static uint8_t pixels[ALL];
static float floats[ALL];

static dni_image planes(void)
{
    return (dni_image){.u8 = pixels,
                       .channels = C,
                       .height = H,
                       .width = W,
                       .channel_stride = H * W,
                       .row_stride = W,
                       .pixel_stride = 1};
}

static dni_transform *create(Cnn__TransformationParameter *p, bool train)
{
    dni_transform *t = NULL;
    CHECK_STATUS(dni_transform_create(&t, heap, p, train, check_folder(), 5, 9), DN_OK);
    if (!t)
        exit(check_summary());
    return t;
}

/* The crop at (top, left), mirrored or not, is what came out. */
static bool is_crop(const float *out, int64_t size, int64_t top, int64_t left, bool mirrored)
{
    for (int64_t c = 0; c < C; c++)
        for (int64_t y = 0; y < size; y++)
            for (int64_t x = 0; x < size; x++) {
                int64_t from = left + (mirrored ? size - 1 - x : x);
                if (out[(c * size + y) * size + x] != pixels[(c * H + top + y) * W + from])
                    return false;
            }
    return true;
}

static void test_plain(void)
{
    float out[ALL];
    dni_shape shape;
    dni_image image = planes();
    SECTION("nothing to do");
    dni_transform *t = create(NULL, true);
    CHECK_STATUS(dni_transform_shape(t, &image, &shape), DN_OK);
    CHECK(shape.axes == 3 && shape.dim[0] == C && shape.dim[1] == H && shape.dim[2] == W);
    dni_transform_run(t, &image, 0, out);
    CHECK(memcmp(out, floats, sizeof(out)) == 0);
    image.u8 = NULL, image.f32 = floats;
    memset(out, 0, sizeof(out));
    dni_transform_run(t, &image, 0, out);
    CHECK(memcmp(out, floats, sizeof(out)) == 0);
    dni_transform_free(t);
}

static void test_means(void)
{
    float out[ALL], means[] = {10, 20, 30};
    dni_image image = planes();
    dni_shape shape;
    Cnn__TransformationParameter p = CNN__TRANSFORMATION_PARAMETER__INIT;
    int wrong = 0;
    SECTION("mean_value and scale");
    p.mean_value = means, p.n_mean_value = 3, p.scale = 0.25f;
    dni_transform *t = create(&p, false);
    dni_transform_run(t, &image, 0, out);
    for (int i = 0; i < ALL; i++)
        wrong += out[i] != (floats[i] - means[i / (H * W)]) * 0.25f;
    CHECK_INT(wrong, 0);
    dni_transform_free(t);
    p.n_mean_value = 1;
    t = create(&p, false);
    dni_transform_run(t, &image, 0, out);
    for (int i = 0; i < ALL; i++)
        wrong += out[i] != (floats[i] - 10) * 0.25f;
    CHECK_INT(wrong, 0);
    dni_transform_free(t);
    p.n_mean_value = 2;
    t = create(&p, false);
    CHECK_MESSAGE(dni_transform_shape(t, &image, &shape), DN_E_DATA,
                  "2 mean_value for 3 channels");
    dni_transform_free(t);
}

/* A BlobProto: num, channels, height, width, packed data. */
static void write_mean(const char *path, uint8_t num, int values)
{
    static uint8_t bytes[2000];
    uint8_t *at = bytes;
    const uint8_t head[] = {0x08, num, 0x10, C, 0x18, H, 0x20, W, 0x2a};
    memcpy(at, head, sizeof(head));
    at += sizeof(head);
    *at++ = (uint8_t)(values * 4 & 127) | 128;
    *at++ = (uint8_t)(values * 4 >> 7);
    for (int i = 0; i < values; i++, at += 4) {
        float value = (float)i * 0.5f;
        memcpy(at, &value, 4);
    }
    check_write(path, bytes, (size_t)(at - bytes));
}

static void test_mean_file(void)
{
    float out[ALL];
    dni_image image = planes();
    dni_shape shape;
    dni_transform *t = NULL;
    Cnn__TransformationParameter p = CNN__TRANSFORMATION_PARAMETER__INIT;
    int wrong = 0;
    SECTION("mean_file");
    write_mean(check_path("mean"), 1, ALL);
    p.mean_file = "mean", p.crop_size = 4;
    t = create(&p, false);
    dni_transform_run(t, &image, 0, out);
    for (int c = 0; c < C; c++)
        for (int i = 0; i < 16; i++) {
            int at = (c * H + 2 + i / 4) * W + 2 + i % 4;
            wrong += out[c * 16 + i] != floats[at] - (float)at * 0.5f;
        }
    CHECK_INT(wrong, 0);
    image.width--;
    CHECK_MESSAGE(dni_transform_shape(t, &image, &shape), DN_E_DATA,
                  "the image is 3 x 9 x 7, the mean 3 x 9 x 8");
    dni_transform_free(t);
    write_mean(check_path("short"), 1, ALL - 1);
    p.mean_file = "short";
    CHECK_MESSAGE(dni_transform_create(&t, heap, &p, false, check_folder(), 0, 0), DN_E_DATA,
                  "it has 215 values, its shape is 1 3 9 8 (216)");
    write_mean(check_path("two"), 2, 2 * ALL);
    p.mean_file = "two";
    CHECK_MESSAGE(dni_transform_create(&t, heap, &p, false, check_folder(), 0, 0), DN_E_DATA,
                  "its shape 2 3 9 8 (432) is no image's");
    p.mean_file = "missing";
    CHECK_MESSAGE(dni_transform_create(&t, heap, &p, false, check_folder(), 0, 0), DN_E_IO,
                  "mean_file: cannot read 'missing'");
    float mean = 1;
    p.mean_file = "mean", p.mean_value = &mean, p.n_mean_value = 1;
    CHECK_MESSAGE(dni_transform_create(&t, heap, &p, false, check_folder(), 0, 0), DN_E_INVALID,
                  "exclude each other");
}

/* The forks' crops whose sides differ, in both spellings. */
static void test_crop_sides(dni_image *image)
{
    float out[ALL];
    dni_shape shape;
    Cnn__TransformationParameter p[2] = {CNN__TRANSFORMATION_PARAMETER__INIT,
                                         CNN__TRANSFORMATION_PARAMETER__INIT};
    image->width = W;
    p[0].crop_height = p[1].crop_h = 4;
    p[0].crop_width = p[1].crop_w = 7;
    for (int i = 0; i < 2; i++) {
        dni_transform *t = create(&p[i], false);
        int wrong = 0;
        CHECK_STATUS(dni_transform_shape(t, image, &shape), DN_OK);
        CHECK(shape.dim[0] == C && shape.dim[1] == 4 && shape.dim[2] == 7);
        dni_transform_run(t, image, 3, out);
        for (int k = 0; k < C * 4 * 7; k++)
            wrong += out[k] != pixels[(k / 28 * H + 2 + k / 7 % 4) * W + k % 7];
        CHECK_INT(wrong, 0);
        dni_transform_free(t);
    }
    dni_transform *none = NULL;
    p[0].crop_size = 3;
    CHECK_MESSAGE(dni_transform_create(&none, heap, &p[0], false, check_folder(), 0, 0),
                  DN_E_INVALID, "give crop_size, or crop_height and crop_width");
    p[1].crop_w = 0;
    CHECK_MESSAGE(dni_transform_create(&none, heap, &p[1], false, check_folder(), 0, 0),
                  DN_E_INVALID, "both of its height and its width");
}

static void test_crop_test(void)
{
    float out[ALL];
    dni_image image = planes();
    dni_shape shape;
    Cnn__TransformationParameter p = CNN__TRANSFORMATION_PARAMETER__INIT;
    SECTION("crop in the middle");
    p.crop_size = 6;
    dni_transform *t = create(&p, false);
    CHECK_STATUS(dni_transform_shape(t, &image, &shape), DN_OK);
    CHECK(shape.dim[0] == C && shape.dim[1] == 6 && shape.dim[2] == 6);
    dni_transform_run(t, &image, 3, out);
    CHECK(is_crop(out, 6, 1, 1, false));
    image.width = 5;
    CHECK_MESSAGE(dni_transform_shape(t, &image, &shape), DN_E_DATA,
                  "the crop, 6 x 6, is larger");
    dni_transform_free(t);
    test_crop_sides(&image);
}

/* Every place and both directions are drawn, evenly, and by the record's number alone. */
static void test_crop_train(void)
{
    enum { SIZE = 6, TOPS = H - SIZE + 1, LEFTS = W - SIZE + 1, DRAWS = 4800 };
    float out[ALL], again[ALL];
    int seen[TOPS][LEFTS][2] = {{{0}}}, found = 0, few = 0;
    dni_image image = planes();
    Cnn__TransformationParameter p = CNN__TRANSFORMATION_PARAMETER__INIT;
    SECTION("crop and mirror at random");
    p.crop_size = SIZE, p.mirror = 1;
    dni_transform *t = create(&p, true);
    for (uint64_t n = 0; n < DRAWS; n++) {
        dni_transform_run(t, &image, n, out);
        for (int i = 0; i < TOPS * LEFTS * 2; i++)
            if (is_crop(out, SIZE, i / 2 / LEFTS, i / 2 % LEFTS, i % 2)) {
                seen[i / 2 / LEFTS][i / 2 % LEFTS][i % 2]++;
                found++;
            }
    }
    CHECK_INT(found, DRAWS);
    for (int i = 0; i < TOPS * LEFTS * 2; i++)
        few += seen[i / 2 / LEFTS][i / 2 % LEFTS][i % 2] < DRAWS / (TOPS * LEFTS * 2) * 7 / 10;
    CHECK_INT(few, 0);
    dni_transform_run(t, &image, 17, out);
    dni_transform_free(t);
    t = create(&p, true);
    dni_transform_run(t, &image, 17, again);
    CHECK(memcmp(out, again, sizeof(float) * C * SIZE * SIZE) == 0);
    dni_transform_free(t);
    p.crop_size = 0; /* mirroring is for testing too, as in Caffe */
    t = create(&p, false);
    int mirrored = 0;
    for (uint64_t n = 0; n < 200; n++) {
        dni_transform_run(t, &image, n, out);
        mirrored += out[0] == pixels[W - 1] && out[W - 1] == pixels[0];
    }
    CHECK(mirrored > 70 && mirrored < 130);
    dni_transform_free(t);
}

/* Decoded images lie pixel by pixel; the result must not care. */
static void test_interleaved(void)
{
    static uint8_t mixed[ALL];
    float out[ALL], expected[ALL];
    dni_image image = planes(), other = image;
    Cnn__TransformationParameter p = CNN__TRANSFORMATION_PARAMETER__INIT;
    SECTION("pixels of three channels side by side");
    for (int i = 0; i < ALL; i++)
        mixed[i % (H * W) * C + i / (H * W)] = pixels[i];
    other.u8 = mixed;
    other.channel_stride = 1, other.row_stride = W * C, other.pixel_stride = C;
    p.crop_size = 5, p.mirror = 1;
    dni_transform *t = create(&p, true);
    for (uint64_t n = 0; n < 10; n++) {
        dni_transform_run(t, &image, n, expected);
        dni_transform_run(t, &other, n, out);
        CHECK(memcmp(out, expected, sizeof(float) * C * 25) == 0);
    }
    dni_transform_free(t);
}

int main(void)
{
    for (int i = 0; i < ALL; i++) {
        pixels[i] = (uint8_t)(i * 37 + i / 7);
        floats[i] = pixels[i];
    }
    test_plain();
    test_means();
    test_mean_file();
    test_crop_test();
    test_crop_train();
    test_interleaved();
    return check_summary();
}
