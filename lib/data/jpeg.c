/* SPDX-License-Identifier: BSD-2-Clause
 * jpeg.c: JPEG images through libjpeg-turbo, whose own ways to fail (exit, a line on stderr)
 * are replaced: an error jumps back here and becomes a status. */
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
