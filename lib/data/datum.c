/* SPDX-License-Identifier: BSD-2-Clause
 * datum.c: a Datum straight off the wire: raw pixels stay where they are in the record. */
#include <string.h>

#include "data/data.h"
#include "proto/wire.h"

#define MAX_PIXELS ((int64_t)1 << 28)

/* Wire types, and the fields of Datum. */
enum { VARINT = 0, BYTES = 2 };
enum { CHANNELS = 1, HEIGHT = 2, WIDTH = 3, DATA = 4, LABEL = 5, FLOAT_DATA = 6, ENCODED = 7 };

typedef struct datum {
    int64_t channels, height, width;
    int32_t label;
    bool encoded;
    const uint8_t *data;
    size_t size, floats; /* floats: how many */
} datum;

static dn_status malformed(void)
{
    return dni_fail(DN_E_DATA, "it is not a Datum");
}

/* Later fields win, as everywhere in protobuf; fields of a wrong type are unknown ones. */
static void take_field(datum *d, const dni_wire_field *f)
{
    if (f->type == VARINT) {
        int32_t value = (int32_t)(uint32_t)f->value;
        switch (f->number) {
        case CHANNELS:
            d->channels = value;
            break;
        case HEIGHT:
            d->height = value;
            break;
        case WIDTH:
            d->width = value;
            break;
        case LABEL:
            d->label = value;
            break;
        case ENCODED:
            d->encoded = f->value != 0;
            break;
        }
    } else if (f->number == DATA && f->type == BYTES) {
        d->data = f->data;
        d->size = f->size;
    } else if (f->number == FLOAT_DATA) { /* packed or one by one */
        d->floats += f->size / sizeof(float);
    }
}

static dn_status read_datum(datum *d, const uint8_t *bytes, size_t size)
{
    dni_wire wire = {bytes, bytes + size, NULL};
    dni_wire_field field;
    int more;
    memset(d, 0, sizeof(*d));
    while ((more = dni_wire_next(&wire, &field)) > 0)
        take_field(d, &field);
    return more < 0 ? malformed() : DN_OK;
}

static float get_float(const uint8_t *at)
{
    uint32_t bits =
        at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
    float value;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

static dn_status copy_floats(dni_decoder *decoder, const datum *d, const uint8_t *bytes,
                             size_t size)
{
    dni_wire wire = {bytes, bytes + size, NULL};
    dni_wire_field field;
    size_t n = 0;
    if (dni_grow(decoder->heap, &decoder->floats, &decoder->floats_capacity, d->floats,
                 sizeof(float)))
        return DN_E_NOMEM;
    while (dni_wire_next(&wire, &field) > 0)
        if (field.number == FLOAT_DATA) /* a varint has no bytes */
            for (size_t i = 0; i + sizeof(float) <= field.size; i += sizeof(float))
                decoder->floats[n++] = get_float(field.data + i);
    return DN_OK;
}

/* Planes of rows, the way raw datums and blobs lie. */
static void describe_planes(dni_image *image, const datum *d)
{
    *image = (dni_image){.channels = d->channels,
                         .height = d->height,
                         .width = d->width,
                         .channel_stride = d->height * d->width,
                         .row_stride = d->width,
                         .pixel_stride = 1};
}

static dn_status decode_image(dni_decoder *decoder, const uint8_t *data, size_t size,
                              dni_image *image)
{
    static const uint8_t jpeg[] = {0xff, 0xd8}, png[] = {0x89, 'P', 'N', 'G'};
    if (size >= sizeof(jpeg) && memcmp(data, jpeg, sizeof(jpeg)) == 0)
        return dni_jpeg_decode(decoder, data, size, image);
    if (size >= sizeof(png) && memcmp(data, png, sizeof(png)) == 0)
        return dni_png_decode(decoder, data, size, image);
    return dni_fail(DN_E_DATA, "its encoded image (%zu bytes) is neither JPEG nor PNG", size);
}

dn_status dni_record_decode(dni_decoder *decoder, const dni_record *record, dni_image *image,
                            int32_t *label)
{
    *label = record->label;
    return record->file ? decode_image(decoder, record->data, record->size, image)
                        : dni_datum_decode(decoder, record->data, record->size, image, label);
}

dn_status dni_datum_decode(dni_decoder *decoder, const uint8_t *bytes, size_t size,
                           dni_image *image, int32_t *label)
{
    datum d;
    int64_t count;
    dn_status st = read_datum(&d, bytes, size);
    if (st)
        return st;
    *label = d.label;
    if (d.encoded)
        return decode_image(decoder, d.data, d.size, image);
    if (d.channels <= 0 || d.height <= 0 || d.width <= 0 ||
        !dni_mul64(d.height, d.width, &count) || count > MAX_PIXELS ||
        !dni_mul64(count, d.channels, &count))
        return dni_fail(DN_E_DATA, "its size is %lld x %lld x %lld", (long long)d.channels,
                        (long long)d.height, (long long)d.width);
    size_t have = d.size ? d.size : d.floats;
    if (have != (uint64_t)count)
        return dni_fail(DN_E_DATA, "it has %zu values; %lld x %lld x %lld needs %lld", have,
                        (long long)d.channels, (long long)d.height, (long long)d.width,
                        (long long)count);
    describe_planes(image, &d);
    image->u8 = d.size ? d.data : NULL;
    if (!d.size) {
        st = copy_floats(decoder, &d, bytes, size);
        image->f32 = decoder->floats;
    }
    return st;
}

dn_status dni_decoder_room(dni_decoder *decoder, int64_t height, int64_t width,
                           int64_t channels, dni_image *image)
{
    int64_t pixels;
    if (height <= 0 || width <= 0 || !dni_mul64(height, width, &pixels) || pixels > MAX_PIXELS)
        return dni_fail(DN_E_DATA,
                        "its encoded image has %lld x %lld pixels; 2^28 are the limit",
                        (long long)height, (long long)width);
    if (dni_grow(decoder->heap, &decoder->pixels, &decoder->pixels_capacity,
                 (size_t)(pixels * channels), 1))
        return DN_E_NOMEM;
    *image = (dni_image){.u8 = decoder->pixels,
                         .channels = channels,
                         .height = height,
                         .width = width,
                         .channel_stride = 1,
                         .row_stride = width * channels,
                         .pixel_stride = channels};
    return DN_OK;
}

void dni_decoder_free(dni_decoder *decoder)
{
    dni_free(decoder->pixels);
    dni_free(decoder->floats);
    decoder->pixels = NULL;
    decoder->floats = NULL;
    decoder->pixels_capacity = decoder->floats_capacity = 0;
}

/* Returns where the next byte goes; at most 10 are written. */
static uint8_t *put_varint(uint8_t *at, uint64_t value)
{
    for (; value >= 128; value >>= 7)
        *at++ = (uint8_t)(value | 128);
    *at++ = (uint8_t)value;
    return at;
}

static uint8_t *put_number(uint8_t *at, int field, int64_t value)
{
    *at = (uint8_t)(field << 3);
    return put_varint(at + 1, (uint64_t)value);
}

dn_status dni_datum_encode(const dni_heap *heap, uint8_t **bytes, size_t *capacity,
                           size_t *size, int64_t channels, int64_t height, int64_t width,
                           const uint8_t *pixels, int32_t label)
{
    size_t count = (size_t)(channels ? channels * height * width : width);
    dn_status st = dni_grow(heap, bytes, capacity, count + 6 * 11, 1);
    if (st)
        return st;
    uint8_t *at = *bytes;
    if (channels) {
        at = put_number(at, CHANNELS, channels);
        at = put_number(at, HEIGHT, height);
        at = put_number(at, WIDTH, width);
    }
    *at++ = DATA << 3 | BYTES;
    at = put_varint(at, count);
    memcpy(at, pixels, count);
    at = put_number(at + count, LABEL, label);
    if (!channels)
        at = put_number(at, ENCODED, 1);
    *size = (size_t)(at - *bytes);
    return DN_OK;
}
