/* SPDX-License-Identifier: BSD-2-Clause
 * weights.c: layers and their blobs straight from the wire: NetParameter.layer (100) or
 * .layers (2), whose blobs are 7 or 6, or 50 of the V0 layer inside. Everything else is
 * skipped unread, so what forks put into layer parameters does not matter. */
#include <string.h>

#include "proto/proto.h"
#include "proto/wire.h"

enum { NET_LAYERS_V1 = 2, NET_LAYER = 100 };
enum { LAYER_NAME = 1, LAYER_BLOBS = 7 };
enum { V1_LAYER_V0 = 1, V1_NAME = 4, V1_BLOBS = 6 };
enum { V0_NAME = 1, V0_BLOBS = 50 };
enum { BLOB_NUM = 1, BLOB_WIDTH = 4, BLOB_DATA = 5, BLOB_SHAPE = 7, BLOB_DOUBLE = 8 };
enum { BLOB_RAW_TYPE = 10, BLOB_RAW_DATA = 12 }; /* NVIDIA's: bytes of an element type */
enum { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };

typedef struct walk {
    dni_weights *out;
    const dni_heap *heap;
    const char *file;
    const uint8_t *begin;
    size_t size;
    dni_view *view;
} walk;

/* The view's own failure if it has one. Of a view, the head is there. */
static dn_status cut(const walk *w, const dni_wire *wire, const char *layer)
{
    size_t head = w->size < DNI_VIEW_HEAD ? w->size : DNI_VIEW_HEAD;
    if (w->view && w->view->status)
        return w->view->status;
    if (!layer && !dni_looks_binary(w->begin, head))
        return dni_fail(DN_E_PARSE, "%s: this is text, not weights%s", w->file,
                        dni_other_text(w->begin, head));
    return dni_fail(DN_E_PARSE, "%s: cut or damaged inside %s%s%s (byte %zu of %zu)", w->file,
                    layer ? "the weights of layer '" : "the file", layer ? layer : "",
                    layer ? "'" : "", (size_t)(wire->at - w->begin), w->size);
}

/* ---- one blob ---------------------------------------------------------------------------- */

static bool add_dim(dni_shape *shape, uint64_t value)
{
    if (shape->axes == DN_MAX_AXES)
        return false;
    shape->dim[shape->axes++] = (int64_t)value;
    return true;
}

static bool read_shape(dni_shape *shape, const uint8_t *at, size_t size, dni_view *view)
{
    dni_wire wire = {at, at + size, NULL};
    dni_wire_field field;
    int more;
    if (!dni_view_need(view, at, size))
        return false;
    while ((more = dni_wire_next(&wire, &field)) > 0) {
        const uint8_t *p = field.data, *end = p ? p + field.size : NULL;
        uint64_t value;
        if (field.number != 1)
            continue;
        if (field.type == WIRE_VARINT && !add_dim(shape, field.value))
            return false;
        while (field.type == WIRE_BYTES && p < end) /* packed */
            if (!dni_wire_varint(&p, end, &value) || !add_dim(shape, value))
                return false;
    }
    return !more;
}

/* Bytes of one element of raw data; 0: a type that holds no weights. */
static size_t raw_size(int32_t type)
{
    return type == CNN__TYPE__DOUBLE                            ? 8
           : type == CNN__TYPE__FLOAT                           ? 4
           : type == CNN__TYPE__FLOAT16 || type == DNI_RAW_BF16 ? 2
                                                                : 0;
}

/* Bytes of one value in a field that holds values, packed or not; 0: the field holds none. */
static size_t value_size(const dni_weights_blob *blob, const dni_wire_field *field)
{
    if (blob->bare)
        return raw_size(blob->raw_type);
    if (field->number == BLOB_DATA && (field->type == WIRE_BYTES || field->type == WIRE_32))
        return 4;
    if (field->number == BLOB_DOUBLE && (field->type == WIRE_BYTES || field->type == WIRE_64))
        return 8;
    return field->number == BLOB_RAW_DATA && field->type == WIRE_BYTES
               ? raw_size(blob->raw_type)
               : 0;
}

/* The type first, wherever it stands: counting and copying must agree on what is a value. */
static int32_t find_raw_type(const dni_weights_blob *blob)
{
    dni_wire wire = {blob->at, blob->at + blob->size, blob->view};
    dni_wire_field field;
    int32_t type = -1;
    while (dni_wire_next(&wire, &field) > 0)
        if (field.number == BLOB_RAW_TYPE && field.type == WIRE_VARINT)
            type = field.value <= CNN__TYPE__BOOL ? (int32_t)field.value : -1;
    return type;
}

static bool read_blob_fields(dni_weights_blob *blob, bool *has_legacy, int64_t legacy[4])
{
    dni_wire wire = {blob->at, blob->at + blob->size, blob->view};
    dni_wire_field field;
    int more;
    while ((more = dni_wire_next(&wire, &field)) > 0) {
        size_t step = value_size(blob, &field);
        if (step && field.size % step)
            return false;
        if (step)
            blob->count += (int64_t)(field.size / step);
        else if (field.number <= BLOB_WIDTH && field.type == WIRE_VARINT) {
            legacy[field.number - BLOB_NUM] = (int32_t)(uint32_t)field.value;
            *has_legacy = true;
        } else if (field.number == BLOB_SHAPE && field.type == WIRE_BYTES) {
            if (!read_shape(&blob->shape, field.data, field.size, blob->view))
                return false;
            blob->legacy = false;
        } else if (field.number == BLOB_DATA || field.number == BLOB_DOUBLE) {
            return false; /* values of a wire type that they cannot have */
        }
    }
    return !more;
}

dn_status dni_weights_blob_read(dni_weights_blob *out, const void *bytes, size_t size,
                                dni_view *view, const char *file_name)
{
    int64_t legacy[4] = {0};
    bool has_legacy = false;
    *out = (dni_weights_blob){.at = size ? bytes : (const void *)"",
                              .size = size,
                              .view = view,
                              .legacy = true,
                              .raw_type = -1};
    out->raw_type = find_raw_type(out);
    if (!read_blob_fields(out, &has_legacy, legacy))
        return dni_view_need(view, out->at, 0)
                   ? dni_fail(DN_E_PARSE, "%s: an array is cut or damaged", file_name)
                   : view->status;
    if (out->legacy && has_legacy)
        out->shape = dni_shape_of(4, legacy);
    else if (out->legacy)
        out->shape = dni_shape_of(1, &out->count);
    dn_status st = dni_shape_check(&out->shape);
    return dni_in(st, "%s", file_name);
}

static void store(int32_t dtype, void *values, int64_t i, double value)
{
    if (dtype == DN_F64)
        ((double *)values)[i] = value;
    else
        ((float *)values)[i] = (float)value;
}

static float half_value(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000) << 16, exponent = half >> 10 & 31,
             fraction = half & 0x3ff;
    uint32_t bits = sign | (exponent + 112) << 23 | fraction << 13;
    float value;
    if (exponent == 31)
        bits = sign | 0x7f800000u | fraction << 13;
    if (exponent == 0) { /* zero and subnormals: fraction * 2^-24 */
        value = (float)fraction / 16777216.0f;
        return sign ? -value : value;
    }
    memcpy(&value, &bits, sizeof value);
    return value;
}

static double value_at(const uint8_t *at, size_t step, int32_t raw_type)
{
    uint32_t bits = 0;
    float single;
    double value;
    if (step == 8) {
        memcpy(&value, at, sizeof value);
        return value;
    }
    memcpy(&bits, at, step);
    if (step == 2 && raw_type != DNI_RAW_BF16)
        return half_value((uint16_t)bits);
    bits <<= step == 2 ? 16 : 0;
    memcpy(&single, &bits, sizeof single);
    return single;
}

static bool take_values(const dni_weights_blob *blob, const dni_wire_field *field, size_t step,
                        int32_t dtype, void *values, int64_t *at)
{
    uint8_t piece[512 * sizeof(double)];
    size_t n;
    if (step == 4 && dtype == DN_F32 && field->size) {
        float *to = (float *)values + *at;
        *at += (int64_t)(field->size / 4);
        return dni_view_copy(blob->view, to, field->data, field->size);
    }
    for (size_t from = 0; from < field->size; from += n) {
        n = field->size - from < sizeof piece ? field->size - from : sizeof piece;
        if (!dni_view_copy(blob->view, piece, field->data + from, n))
            return false;
        for (size_t i = 0; i + step <= n; i += step)
            store(dtype, values, (*at)++, value_at(piece + i, step, blob->raw_type));
    }
    return true;
}

dn_status dni_weights_values(const dni_weights_blob *blob, int32_t dtype, void *values,
                             int64_t count)
{
    const uint8_t *end = blob->at + blob->size;
    dni_wire wire = {blob->bare ? end : blob->at, end, blob->view};
    dni_wire_field field = {.data = blob->at, .size = blob->size}; /* if bare; else no field */
    int64_t at = 0;
    if (blob->count != count)
        return dni_fail(DN_E_DATA, "the file has %lld values where %lld belong",
                        (long long)blob->count, (long long)count);
    do {
        size_t step = value_size(blob, &field);
        if (step && !take_values(blob, &field, step, dtype, values, &at))
            return blob->view->status;
    } while (dni_wire_next(&wire, &field) > 0);
    return DN_OK; /* reading the blob has counted the same fields */
}

/* ---- layers ------------------------------------------------------------------------------ */

static dn_status add_blob(walk *w, dni_weights_layer *layer, const dni_wire_field *field)
{
    size_t capacity = layer->num_blobs;
    dn_status st =
        dni_grow(w->heap, &layer->blobs, &capacity, layer->num_blobs + 1, sizeof *layer->blobs);
    if (st)
        return st;
    st = dni_weights_blob_read(&layer->blobs[layer->num_blobs], field->data, field->size,
                               w->view, w->file);
    if (!st)
        layer->num_blobs++;
    return dni_in(st, "layer '%s'", layer->name ? layer->name : "");
}

static dn_status set_name(walk *w, dni_weights_layer *layer, const dni_wire_field *field)
{
    if (!dni_view_need(w->view, field->data, field->size))
        return w->view->status;
    dni_free(layer->name);
    layer->name = dni_strndup(w->heap, (const char *)field->data, field->size);
    return layer->name ? DN_OK : DN_E_NOMEM;
}

static dn_status walk_layer(walk *w, dni_weights_layer *layer, const uint8_t *at, size_t size,
                            uint32_t name, uint32_t blobs, uint32_t inner)
{
    dni_wire wire = {at, at + size, w->view};
    dni_wire_field field;
    dn_status st = DN_OK;
    int more = 1;
    while (!st && (more = dni_wire_next(&wire, &field)) > 0) {
        if (field.type != 2)
            continue;
        if (inner && field.number == inner)
            st = walk_layer(w, layer, field.data, field.size, V0_NAME, V0_BLOBS, 0);
        else if (field.number == name)
            st = set_name(w, layer, &field);
        else if (field.number == blobs)
            st = add_blob(w, layer, &field);
    }
    return st ? st : more ? cut(w, &wire, layer->name) : DN_OK;
}

static void drop_layer(dni_weights_layer *layer)
{
    dni_free(layer->name);
    dni_free(layer->blobs);
}

dni_weights_layer *dni_weights_add(dni_weights *out, const dni_heap *heap)
{
    if (dni_grow(heap, &out->layers, &out->cap_layers, out->num_layers + 1,
                 sizeof *out->layers))
        return NULL;
    out->layers[out->num_layers] = (dni_weights_layer){0};
    return &out->layers[out->num_layers++];
}

static dn_status add_layer(walk *w, const dni_wire_field *field)
{
    dni_weights_layer *layer = dni_weights_add(w->out, w->heap);
    if (!layer)
        return DN_E_NOMEM;
    dn_status st =
        field->number == NET_LAYER
            ? walk_layer(w, layer, field->data, field->size, LAYER_NAME, LAYER_BLOBS, 0)
            : walk_layer(w, layer, field->data, field->size, V1_NAME, V1_BLOBS, V1_LAYER_V0);
    if (!st && layer->num_blobs && !layer->name) {
        layer->name = dni_strdup(w->heap, "");
        st = layer->name ? DN_OK : DN_E_NOMEM;
    }
    if (!st && !layer->num_blobs)
        drop_layer(&w->out->layers[--w->out->num_layers]);
    return st;
}

dn_status dni_weights_read(dni_weights *out, const dni_heap *heap, const void *bytes,
                           size_t size, dni_view *view, const char *file_name)
{
    walk w = {.out = out,
              .heap = heap,
              .file = file_name,
              .begin = bytes,
              .size = size,
              .view = view};
    dni_wire wire = {bytes, (const uint8_t *)bytes + size, view};
    dni_wire_field field;
    dn_status st = DN_OK;
    int more = 1;
    *out = (dni_weights){0};
    while (!st && (more = dni_wire_next(&wire, &field)) > 0)
        if (field.type == 2 && (field.number == NET_LAYER || field.number == NET_LAYERS_V1))
            st = add_layer(&w, &field);
    if (!st && more)
        st = cut(&w, &wire, NULL);
    if (st) {
        dni_saved_error saved;
        dni_save_error(&saved);
        dni_weights_free(out);
        dni_restore_error(&saved);
    }
    return st;
}

void dni_weights_free(dni_weights *weights)
{
    for (size_t i = 0; i < weights->num_layers; i++)
        drop_layer(&weights->layers[i]);
    dni_free(weights->layers);
    *weights = (dni_weights){0};
}
