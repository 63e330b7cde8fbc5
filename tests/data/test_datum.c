/* SPDX-License-Identifier: BSD-2-Clause
 * test_datum.c: Datum messages whole and broken: raw, float, JPEG, PNG. */
#define _GNU_SOURCE /* memmem */
#include "records.h"

#ifdef DN_HAVE_JPEG
#include <jpeglib.h>
#endif
#ifdef DN_HAVE_PNG
#include <png.h>
#endif

static dni_decoder decoder;

static dn_status decode(const void *bytes, size_t size, dni_image *image, int32_t *label)
{
    return dni_datum_decode(&decoder, bytes, size, image, label);
}

#define BYTES(text) text, sizeof(text) - 1

static void test_raw(void)
{
    uint8_t pixels[24], *bytes = NULL;
    size_t capacity = 0, size = 0;
    dni_image image;
    int32_t label = 0;
    SECTION("raw");
    for (int i = 0; i < 24; i++)
        pixels[i] = (uint8_t)(i * 11);
    CHECK_STATUS(dni_datum_encode(heap, &bytes, &capacity, &size, 2, 3, 4, pixels, -7), DN_OK);
    CHECK_STATUS(decode(bytes, size, &image, &label), DN_OK);
    CHECK_INT(label, -7);
    CHECK(image.channels == 2 && image.height == 3 && image.width == 4 && !image.f32);
    CHECK(image.u8 > bytes && image.u8 < bytes + size); /* a view, not a copy */
    CHECK_INT(image.u8[1 * image.channel_stride + 2 * image.row_stride + 3], 23 * 11 % 256);
    int wrong = 0;
    for (size_t cut = 1; cut < size; cut++)
        wrong += decode(bytes, size - cut, &image, &label) == DN_OK && cut > 11;
    CHECK_INT(wrong, 0);
    uint8_t *copy = malloc(size);
    for (size_t at = 0; at < size * 8; at++) { /* every flipped bit: no crash, a message */
        memcpy(copy, bytes, size);
        copy[at / 8] ^= (uint8_t)(1u << at % 8);
        dni_clear_error();
        dn_status st = decode(copy, size, &image, &label);
        wrong += !st != !dn_last_error();
    }
    CHECK_INT(wrong, 0);
    free(copy);
    dni_free(bytes);
}

static void test_float(void)
{
    dni_image image;
    int32_t label = 0;
    SECTION("float");
    CHECK_STATUS(
        decode(BYTES("\x08\1\x10\1\x18\2\x35\0\0\x80\x3f\x28\3\x35\0\0\0\xc0"), &image, &label),
        DN_OK);
    CHECK(label == 3 && !image.u8 && image.f32[0] == 1 && image.f32[1] == -2);
    CHECK_STATUS(
        decode(BYTES("\x08\1\x10\1\x18\2\x32\x08\0\0\x80\x3f\0\0\0\xc0"), &image, &label),
        DN_OK);
    CHECK(label == 0 && image.f32[0] == 1 && image.f32[1] == -2);
    CHECK_STATUS(decode(BYTES("\x08\1\x10\1\x18\2\x32\7\0\0\x80\x3fxyz"
                              "\x35\0\0\0\xc0\x30\1"),
                        &image, &label),
                 DN_OK);
    CHECK(image.f32[0] == 1 && image.f32[1] == -2);
}

static void test_refused(void)
{
    static const struct {
        const char *bytes;
        size_t size;
        const char *part;
    } rows[] = {
        {BYTES(""), "size is 0 x 0 x 0"},
        {BYTES("\x10\1\x18\2"), "size is 0 x 1 x 2"},
        {BYTES("\x08\1\x18\2"), "size is 1 x 0 x 2"},
        {BYTES("\x08\1\x10\1"), "size is 1 x 1 x 0"},
        {BYTES("\x08\1\x10\1\x18\2"), "it has 0 values; 1 x 1 x 2 needs 2"},
        {BYTES("\x08\1\x10\1\x18\2\x22\3abc"), "it has 3 values; 1 x 1 x 2 needs 2"},
        {BYTES("\x08\1\x10\1\x18\2\x35\0\0\0\0"), "it has 1 values"},
        {BYTES("\x08\1\x10\1\x18\4\x25ghij"), "it has 0 values"}, /* a number */
        {BYTES("\x08\xff\xff\xff\xff\x0f\x10\1\x18\1\x22\1a"), "size is -1 x 1 x 1"},
        {BYTES("\x08\xff\xff\xff\xff\x07\x10\xff\xff\xff\xff\x07\x18\xff\xff\xff\xff\x07"),
         "size is 2147483647 x"},
        {BYTES("\x08\1\x10\x80\x80\1\x18\x80\x80\1\x22\1a"),
         "it has 1 values; 1 x 16384 x 16384 needs 268435456"},
        {BYTES("\x08\1\x10\x80\x80\1\x18\x81\x80\1\x22\1a"), "size is 1 x 16384 x 16385"},
        {BYTES("hello, world"), "not a Datum"},
        {BYTES("\x22\xff\xff\xff\xff\xff\xff\xff\xff\xff\1"), "not a Datum"},
        {BYTES("\x08"), "not a Datum"},
        {BYTES("\x00"), "not a Datum"},
        {BYTES("\x22\4nope\x38\1"), "neither JPEG nor PNG"},
        {BYTES("\x38\1"), "neither JPEG nor PNG"},
        {BYTES("\x38\2"), "neither JPEG nor PNG"},
    };
    dni_image image;
    int32_t label;
    SECTION("refused");
    for (size_t i = 0; i < DNI_COUNT(rows); i++)
        CHECK_MESSAGE(decode(rows[i].bytes, rows[i].size, &image, &label), DN_E_DATA,
                      rows[i].part);
}

/* ---- encoded images ---------------------------------------------------------------------- */

enum { WIDTH = 40, HEIGHT = 30 };

/* A Datum with an encoded image in it. */
static size_t wrap(uint8_t *to, const uint8_t *image, size_t size)
{
    uint8_t *at = to;
    *at++ = 0x22;
    *at++ = (uint8_t)(size & 127) | 128;
    *at++ = (uint8_t)(size >> 7 & 127) | 128;
    *at++ = (uint8_t)(size >> 14 & 127);
    memcpy(at, image, size);
    at += size;
    memcpy(at, "\x28\5\x38\1", 4);
    return (size_t)(at + 4 - to);
}

/* Smooth, so that JPEG keeps it: red grows to the right, green downwards, blue is 40. */
CHECK_UNUSED void paint(uint8_t *rgb)
{
    for (int y = 0; y < HEIGHT; y++)
        for (int x = 0; x < WIDTH; x++, rgb += 3)
            rgb[0] = (uint8_t)(x * 5), rgb[1] = (uint8_t)(y * 6), rgb[2] = 40;
}

static void check_pixels(const char *what, const uint8_t *bytes, size_t size, int channels,
                         int tolerance)
{
    dni_image image = {0};
    int32_t label = 0;
    int worst = 0;
    CHECK_STATUS(decode(bytes, size, &image, &label), DN_OK);
    CHECK_AT(label == 5 && image.channels == channels && image.height == HEIGHT &&
                 image.width == WIDTH && image.u8,
             "%s: %lld x %lld x %lld", what, (long long)image.channels, (long long)image.height,
             (long long)image.width);
    for (int y = 0; y < HEIGHT && image.channels == channels; y++)
        for (int x = 0; x < WIDTH; x++) {
            const uint8_t *p = image.u8 + y * image.row_stride + x * image.pixel_stride;
            int gray = (x * 5 * 299 + y * 6 * 587 + 40 * 114 + 500) / 1000;
            int bgr[4] = {40, y * 6, x * 5, 255};
            for (int c = 0; c < channels; c++) {
                int want = channels == 1 ? gray : bgr[c];
                int off = abs(p[c * image.channel_stride] - want);
                worst = off > worst ? off : worst;
            }
        }
    CHECK_AT(worst <= tolerance, "%s: off by %d", what, worst);
}

CHECK_UNUSED void check_forced(const char *what, const uint8_t *bytes, size_t size, int native,
                               int tolerance)
{
    check_pixels(what, bytes, size, native, tolerance);
    decoder.force_gray = true;
    check_pixels(what, bytes, size, 1, tolerance);
    decoder.force_gray = false;
    decoder.force_color = true;
    if (native != 1)
        check_pixels(what, bytes, size, 3, tolerance);
    decoder.force_color = false;
}

/* Cut or bent anywhere: a status, or pixels, and never a word on stderr. */
CHECK_UNUSED void check_broken(uint8_t *bytes, const uint8_t *file, size_t size)
{
    dni_image image;
    int32_t label;
    int wrong = 0;
    uint8_t *bent = malloc(size);
    for (size_t keep = 4; keep < size; keep += 1 + size / 200) {
        size_t all = wrap(bytes, file, keep);
        dni_clear_error();
        dn_status st = decode(bytes, all, &image, &label);
        wrong += !st != !dn_last_error() || (keep < size / 2 && !st);
    }
    for (size_t at = 2; at < size; at += 1 + size / 300) {
        memcpy(bent, file, size);
        bent[at] ^= 0x55;
        size_t all = wrap(bytes, bent, size);
        dni_clear_error();
        dn_status st = decode(bytes, all, &image, &label);
        wrong += !st != !dn_last_error();
    }
    CHECK_INT(wrong, 0);
    free(bent);
}

#ifdef DN_HAVE_JPEG
static void test_jpeg(void)
{
    static uint8_t rgb[HEIGHT * WIDTH * 3], bytes[100000];
    struct jpeg_compress_struct jpeg;
    struct jpeg_error_mgr errors;
    unsigned char *file = NULL;
    unsigned long size = 0;
    SECTION("JPEG");
    paint(rgb);
    jpeg.err = jpeg_std_error(&errors);
    jpeg_create_compress(&jpeg);
    jpeg_mem_dest(&jpeg, &file, &size);
    jpeg.image_width = WIDTH, jpeg.image_height = HEIGHT;
    jpeg.input_components = 3, jpeg.in_color_space = JCS_RGB;
    jpeg_set_defaults(&jpeg);
    jpeg_set_quality(&jpeg, 98, TRUE);
    jpeg_start_compress(&jpeg, TRUE);
    for (int y = 0; y < HEIGHT; y++) {
        JSAMPROW row = rgb + y * WIDTH * 3;
        jpeg_write_scanlines(&jpeg, &row, 1);
    }
    jpeg_finish_compress(&jpeg);
    jpeg_destroy_compress(&jpeg);
    check_forced("JPEG", bytes, wrap(bytes, file, size), 3, 6);
    check_broken(bytes, file, size);
    uint8_t *frame = memmem(file, size, "\xff\xc0", 2);
    if (CHECK(frame))
        memcpy(frame + 5, "\x40\0\x40\1", 4);
    dni_image image;
    int32_t label;
    CHECK_MESSAGE(decode(bytes, wrap(bytes, file, size), &image, &label), DN_E_DATA,
                  "16384 x 16385 pixels; 2^28 are the limit");
    free(file);
}
#endif

#ifdef DN_HAVE_PNG
/* Drops gAMA, sRGB and cHRM, which libpng heeds when it makes grey of colours. */
static size_t drop_gamma(uint8_t *file, size_t size)
{
    for (size_t at = 8; at + 12 <= size;) {
        size_t length = (size_t)file[at + 2] << 8 | file[at + 3];
        bool drop = strchr("gsc", file[at + 4]) && file[at + 4];
        if (drop) {
            size -= length + 12;
            memmove(file + at, file + at + length + 12, size - at);
        } else {
            at += length + 12;
        }
    }
    return size;
}

static size_t make_png(uint8_t *to, size_t room, uint32_t format, const void *pixels)
{
    png_image png = {
        .version = PNG_IMAGE_VERSION, .width = WIDTH, .height = HEIGHT, .format = format};
    png_alloc_size_t size = room;
    CHECK(png_image_write_to_memory(&png, to, &size, 0, pixels, 0, NULL));
    return drop_gamma(to, size);
}

static void test_png(void)
{
    static uint8_t rgb[HEIGHT * WIDTH * 3], rgba[HEIGHT * WIDTH * 4], gray[HEIGHT * WIDTH];
    static uint8_t file[50000], bytes[60000];
    SECTION("PNG");
    paint(rgb);
    for (int i = 0; i < HEIGHT * WIDTH; i++) {
        memcpy(rgba + 4 * i, rgb + 3 * i, 3);
        rgba[4 * i + 3] = 255;
        gray[i] =
            (uint8_t)((rgb[3 * i] * 299 + rgb[3 * i + 1] * 587 + rgb[3 * i + 2] * 114 + 500) /
                      1000);
    }
    rgba[3] = 0; /* not all opaque, or the encoder drops it */
    size_t size = make_png(file, sizeof(file), PNG_FORMAT_RGB, rgb);
    check_forced("PNG", bytes, wrap(bytes, file, size), 3, 1);
    check_broken(bytes, file, size);
    size = make_png(file, sizeof(file), PNG_FORMAT_GRAY, gray);
    check_forced("gray PNG", bytes, wrap(bytes, file, size), 1, 1);
    size = make_png(file, sizeof(file), PNG_FORMAT_RGBA, rgba);
    decoder.force_color = true;
    check_pixels("PNG without its alpha", bytes, wrap(bytes, file, size), 3, 1);
    decoder.force_color = false;
    dni_image image = {0};
    int32_t label;
    CHECK_STATUS(decode(bytes, wrap(bytes, file, size), &image, &label), DN_OK);
    CHECK_INT(image.channels, 4);
    memcpy(file + 16, "\x7f\xff\xff\xff\x7f\xff\xff\xff", 8); /* 2^31 x 2^31 pixels */
    CHECK_STATUS(decode(bytes, wrap(bytes, file, size), &image, &label), DN_E_DATA);
}
#endif

int main(void)
{
    check_heap counts = {0};
    dni_heap counting = {check_alloc, &counts};
    decoder.heap = &counting;
    test_raw();
    test_float();
    test_refused();
#ifdef DN_HAVE_JPEG
    test_jpeg();
#endif
#ifdef DN_HAVE_PNG
    test_png();
#endif
    dni_decoder_free(&decoder);
    CHECK_HEAP_CLEAN(&counts);
    return check_summary();
}
