/* SPDX-License-Identifier: BSD-2-Clause
 * jpeg.c: JPEG images through libjpeg-turbo, whose own ways to fail (exit, a line on stderr)
 * are replaced: an error jumps back here and becomes a status. Where colours are asked for an
 * image is turned as its Exif says, as OpenCV's imread does since 3.1; one taken as it is, not.
 */
#include "data/data.h"

#ifdef DN_HAVE_JPEG
#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <jpeglib.h>
#include <jerror.h>

typedef struct failure {
    struct jpeg_error_mgr base;
    jmp_buf jump;
    char text[JMSG_LENGTH_MAX];
} failure;

static void fail(j_common_ptr jpeg)
{
    failure *f = (failure *)jpeg->err;
    f->base.format_message(jpeg, f->text);
    longjmp(f->jump, 1);
}

/* Level -1 is damage that libjpeg can paint over. A cut file is an error here: the rest of its
 * pixels would be grey. */
static void warn(j_common_ptr jpeg, int level)
{
    if (level < 0 && jpeg->err->msg_code == JWRN_JPEG_EOF)
        fail(jpeg);
}

static void say_nothing(j_common_ptr jpeg)
{
    (void)jpeg;
}

/* CMYK as Adobe stores it, inverted; in place, as OpenCV does it. */
static void cmyk_to_bgr(uint8_t *pixels, size_t count)
{
    const uint8_t *from = pixels;
    for (; count > 0; count--, from += 4, pixels += 3) {
        int c = from[0], m = from[1], y = from[2], k = from[3];
        pixels[0] = (uint8_t)(k - ((255 - y) * k >> 8));
        pixels[1] = (uint8_t)(k - ((255 - m) * k >> 8));
        pixels[2] = (uint8_t)(k - ((255 - c) * k >> 8));
    }
}

/* The same in place to one channel, by the weights of ITU-R 601. */
static void bgr_to_gray(uint8_t *pixels, size_t count)
{
    const uint8_t *from = pixels;
    for (; count > 0; count--, from += 3)
        *pixels++ = (uint8_t)((from[0] * 1868 + from[1] * 9617 + from[2] * 4899 + 8192) >> 14);
}

/* ---- Exif -------------------------------------------------------------------------------- */

static uint32_t number(const uint8_t *at, int bytes, bool big)
{
    uint32_t value = 0;
    for (int i = 0; i < bytes; i++)
        value = value << 8 | at[big ? i : bytes - 1 - i];
    return value;
}

/* Of a TIFF header and its first directory: tag 0x112, a SHORT from 1 to 8; else 1. */
static uint32_t read_orientation(const uint8_t *tiff, size_t size)
{
    if (size < 8 || (memcmp(tiff, "II*", 4) != 0 && memcmp(tiff, "MM\0*", 4) != 0))
        return 1;
    bool big = tiff[0] == 'M';
    size_t at = number(tiff + 4, 4, big);
    if (at > size - 2)
        return 1;
    uint32_t entries = number(tiff + at, 2, big);
    for (at += 2; entries > 0 && size - at >= 12; entries--, at += 12)
        if (number(tiff + at, 2, big) == 0x112) {
            uint32_t value = number(tiff + at + 8, 2, big);
            return value >= 1 && value <= 8 ? value : 1;
        }
    return 1;
}

/* Of the first segment APP1 that is Exif; libjpeg has seen that the file is a JPEG. */
static uint32_t find_orientation(const uint8_t *at, size_t size)
{
    const uint8_t *end = at + size;
    for (at += 2; end - at >= 4 && at[0] == 0xff && at[1] != 0xda;) {
        if (at[1] == 0xff) {
            at++;
            continue;
        }
        size_t length = number(at + 2, 2, true), left = (size_t)(end - at) - 2;
        if (length < 2 || length > left)
            break;
        if (at[1] == 0xe1 && length >= 8 && !memcmp(at + 4, "Exif\0", 6))
            return read_orientation(at + 10, length - 8);
        at += 2 + length;
    }
    return 1;
}

static void flip(const uint8_t **pixels, int64_t count, int64_t *stride)
{
    *pixels += (count - 1) * *stride;
    *stride = -*stride;
}

/* 1 to 4: as it is, its columns turned round, both, its rows; 5 to 8: the same of its
 * transpose. The pixels stay where they are. */
static void orient(dni_image *image, uint32_t orientation)
{
    uint32_t way = (orientation - 1) & 3;
    if (orientation > 4) {
        dni_image was = *image;
        image->height = was.width;
        image->width = was.height;
        image->row_stride = was.pixel_stride;
        image->pixel_stride = was.row_stride;
    }
    if (way == 1 || way == 2)
        flip(&image->u8, image->width, &image->pixel_stride);
    if (way >= 2)
        flip(&image->u8, image->height, &image->row_stride);
}

/* ---- pixels ------------------------------------------------------------------------------ */

static bool is_cmyk(const struct jpeg_decompress_struct *jpeg)
{
    return jpeg->jpeg_color_space == JCS_CMYK || jpeg->jpeg_color_space == JCS_YCCK;
}

static dn_status read_pixels(struct jpeg_decompress_struct *jpeg, dni_decoder *decoder,
                             dni_image *image)
{
    bool gray = decoder->force_gray ||
                (!decoder->force_color && jpeg->jpeg_color_space == JCS_GRAYSCALE);
    bool cmyk = is_cmyk(jpeg);
    jpeg->out_color_space = cmyk ? JCS_CMYK : gray ? JCS_GRAYSCALE : JCS_EXT_BGR;
    dn_status st = dni_decoder_room(decoder, jpeg->image_height, jpeg->image_width,
                                    cmyk   ? 4
                                    : gray ? 1
                                           : 3,
                                    image);
    if (st)
        return st;
    jpeg_start_decompress(jpeg);
    while (jpeg->output_scanline < jpeg->output_height) {
        JSAMPROW row = decoder->pixels + jpeg->output_scanline * image->row_stride;
        jpeg_read_scanlines(jpeg, &row, 1);
    }
    jpeg_finish_decompress(jpeg);
    if (!cmyk)
        return DN_OK;
    size_t count = (size_t)(image->height * image->width);
    cmyk_to_bgr(decoder->pixels, count);
    if (gray)
        bgr_to_gray(decoder->pixels, count);
    return dni_decoder_room(decoder, image->height, image->width, gray ? 1 : 3, image);
}

static dn_status decode(struct jpeg_decompress_struct *jpeg, failure *f, dni_decoder *decoder,
                        const uint8_t *bytes, size_t size, dni_image *image)
{
    if (setjmp(f->jump))
        return dni_fail(DN_E_DATA, "its JPEG image cannot be decoded: %s", f->text);
    jpeg_create_decompress(jpeg);
    jpeg_mem_src(jpeg, (unsigned char *)bytes, (unsigned long)size);
    jpeg_read_header(jpeg, TRUE);
    return read_pixels(jpeg, decoder, image);
}

dn_status dni_jpeg_decode(dni_decoder *decoder, const uint8_t *bytes, size_t size,
                          dni_image *image)
{
    struct jpeg_decompress_struct jpeg;
    failure f;
    memset(&jpeg, 0, sizeof(jpeg)); /* destroying it is right even if creating it failed */
    jpeg.err = jpeg_std_error(&f.base);
    f.base.error_exit = fail;
    f.base.emit_message = warn;
    f.base.output_message = say_nothing;
    dn_status st = decode(&jpeg, &f, decoder, bytes, size, image);
    jpeg_destroy_decompress(&jpeg);
    if (!st && (decoder->force_color || decoder->force_gray))
        orient(image, find_orientation(bytes, size));
    return st;
}

#else

dn_status dni_jpeg_decode(dni_decoder *decoder, const uint8_t *bytes, size_t size,
                          dni_image *image)
{
    (void)decoder, (void)bytes, (void)size, (void)image;
    return dni_fail(DN_E_UNSUPPORTED,
                    "its image is a JPEG, and this build has no libjpeg-turbo "
                    "(configure with -Djpeg=enabled)");
}

#endif
