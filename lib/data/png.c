/* SPDX-License-Identifier: BSD-2-Clause
 * png.c: PNG images through libpng, to 8 bits a channel: gray, BGR, or BGRA where there is
 * transparency and no colour is forced. Errors jump back here and become a status. */
#include "data/data.h"

#ifdef DN_HAVE_PNG
#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <png.h>

typedef struct reading {
    const uint8_t *at, *end;
    char text[128];
    png_structp png;
    png_infop info;
} reading;

static void fail(png_structp png, png_const_charp text)
{
    reading *r = png_get_error_ptr(png);
    snprintf(r->text, sizeof(r->text), "%s", text);
    longjmp(png_jmpbuf(png), 1);
}

static void ignore(png_structp png, png_const_charp text)
{
    (void)png, (void)text;
}

static void take(png_structp png, png_bytep to, size_t size)
{
    reading *r = png_get_io_ptr(png);
    if (size > (size_t)(r->end - r->at))
        png_error(png, "it ends early");
    memcpy(to, r->at, size);
    r->at += size;
}

/* Which conversions libpng makes; returns the channels that come out. */
static int choose_format(reading *r, const dni_decoder *decoder)
{
    int type = png_get_color_type(r->png, r->info);
    bool forced = decoder->force_color || decoder->force_gray;
    bool alpha =
        !forced &&
        ((type & PNG_COLOR_MASK_ALPHA) ||
         (type != PNG_COLOR_TYPE_GRAY && png_get_valid(r->png, r->info, PNG_INFO_tRNS)));
    bool color = !decoder->force_gray &&
                 (decoder->force_color || alpha || (type & PNG_COLOR_MASK_COLOR));
    png_set_strip_16(r->png); /* not rounded: so does OpenCV */
    png_set_palette_to_rgb(r->png);
    png_set_expand_gray_1_2_4_to_8(r->png);
    if (alpha)
        png_set_tRNS_to_alpha(r->png);
    else
        png_set_strip_alpha(r->png);
    if (color && !(type & PNG_COLOR_MASK_COLOR))
        png_set_gray_to_rgb(r->png);
    if (!color && (type & PNG_COLOR_MASK_COLOR))
        png_set_rgb_to_gray_fixed(r->png, PNG_ERROR_ACTION_NONE, 29900, 58700);
    if (color)
        png_set_bgr(r->png);
    return alpha ? 4 : color ? 3 : 1;
}

static dn_status decode(reading *r, dni_decoder *decoder, dni_image *image)
{
    if (setjmp(png_jmpbuf(r->png)))
        return dni_fail(DN_E_DATA, "its PNG image cannot be decoded: %s", r->text);
    png_set_read_fn(r->png, r, take);
    png_read_info(r->png, r->info);
    int channels = choose_format(r, decoder);
    int passes = png_set_interlace_handling(r->png);
    dn_status st = dni_decoder_room(decoder, png_get_image_height(r->png, r->info),
                                    png_get_image_width(r->png, r->info), channels, image);
    if (st)
        return st;
    png_read_update_info(r->png, r->info);
    if (png_get_rowbytes(r->png, r->info) != (size_t)image->row_stride)
        png_error(r->png, "its pixels have an unknown form");
    while (passes-- > 0)
        for (int64_t y = 0; y < image->height; y++)
            png_read_row(r->png, decoder->pixels + y * image->row_stride, NULL);
    return DN_OK;
}

dn_status dni_png_decode(dni_decoder *decoder, const uint8_t *bytes, size_t size,
                         dni_image *image)
{
    reading r = {.at = bytes, .end = bytes + size};
    dn_status st;
    r.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &r, fail, ignore);
    r.info = r.png ? png_create_info_struct(r.png) : NULL;
    if (r.info)
        st = decode(&r, decoder, image);
    else
        st = dni_fail(DN_E_NOMEM, "out of memory for libpng");
    png_destroy_read_struct(&r.png, &r.info, NULL);
    return st;
}

#else

dn_status dni_png_decode(dni_decoder *decoder, const uint8_t *bytes, size_t size,
                         dni_image *image)
{
    (void)decoder, (void)bytes, (void)size, (void)image;
    return dni_fail(DN_E_UNSUPPORTED, "its image is a PNG, and this build has no libpng "
                                      "(configure with -Dpng=enabled)");
}

#endif
