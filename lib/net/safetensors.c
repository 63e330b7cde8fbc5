/* SPDX-License-Identifier: BSD-2-Clause
 * safetensors.c: see safetensors.h. The header is hostile: it is parsed in a copy, every length
 * is checked before it is used. */
#include "net/safetensors.h"

#include <stdlib.h>
#include <string.h>

enum { LENGTH = DNI_SAFETENSORS_LENGTH, MAX_HEADER = 100000000, MAX_DEPTH = 16 };
enum { NO_FLOAT = -1 }; /* beside CNN__TYPE__* and DNI_RAW_BF16 */

static uint64_t little_endian(const uint8_t *at)
{
    uint64_t value = 0;
    for (int i = 7; i >= 0; i--)
        value = value << 8 | at[i];
    return value;
}

/* No .caffemodel begins so: bytes 5 to 7 of one are no zeros. */
bool dni_is_safetensors(const void *bytes, size_t size)
{
    const uint8_t *at = bytes;
    return size > LENGTH && at[LENGTH] == '{' && little_endian(at) <= MAX_HEADER;
}

/* ---- JSON -------------------------------------------------------------------------------- */

typedef struct json {
    char *at; /* in the copy of the header, which ends in a zero */
    const char *begin, *end, *file;
} json;

static dn_status damaged(const json *j, const char *what)
{
    return dni_fail(DN_E_PARSE, "%s: header, byte %zu: %s expected", j->file,
                    LENGTH + (size_t)(j->at - j->begin), what);
}

static void skip_space(json *j)
{
    j->at += strspn(j->at, " \t\r\n");
}

static bool take(json *j, char c)
{
    skip_space(j);
    bool there = *j->at == c;
    j->at += there;
    return there;
}

/* \uXXXX as UTF-8, in place: it is shorter. No zero, and no halves of a character. */
static bool unescape_code(const char *hex, char **to)
{
    static const char digits[] = "0123456789abcdefABCDEF";
    unsigned code = 0;
    for (int i = 0; i < 4; i++) {
        const char *digit = hex[i] ? strchr(digits, hex[i]) : NULL;
        if (!digit)
            return false;
        int value = (int)(digit - digits);
        code = code * 16 + (unsigned)(value < 16 ? value : value - 6);
    }
    if (code >= 0x800) {
        *(*to)++ = (char)(0xe0 | code >> 12);
        *(*to)++ = (char)(0x80 | (code >> 6 & 63));
    } else if (code >= 0x80) {
        *(*to)++ = (char)(0xc0 | code >> 6);
    }
    *(*to)++ = (char)(code < 0x80 ? code : 0x80 | (code & 63));
    return code && (code < 0xd800 || code > 0xdfff);
}

static dn_status take_string(json *j, char **out)
{
    static const char from[] = "\"\\/bfnrt", into[] = "\"\\/\b\f\n\r\t";
    if (!take(j, '"'))
        return damaged(j, "a string");
    char *to = *out = j->at;
    for (; *j->at != '"'; j->at++) {
        if ((unsigned char)*j->at < ' ')
            return damaged(j, "the end of a string");
        if (*j->at != '\\') {
            *to++ = *j->at;
            continue;
        }
        const char *escape = *++j->at ? strchr(from, *j->at) : NULL;
        if (escape)
            *to++ = into[escape - from];
        else if (*j->at == 'u' && unescape_code(j->at + 1, &to))
            j->at += 4;
        else
            return damaged(j, "an escape of JSON");
    }
    j->at++;
    *to = 0;
    return DN_OK;
}

/* A whole number, as lengths and offsets are. */
static dn_status take_number(json *j, int64_t *out)
{
    int64_t value = 0;
    skip_space(j);
    if (*j->at < '0' || *j->at > '9')
        return damaged(j, "a number");
    for (; *j->at >= '0' && *j->at <= '9'; j->at++) {
        if (value > INT64_MAX / 10 - 1)
            return damaged(j, "a smaller number");
        value = value * 10 + (*j->at - '0');
    }
    *out = value;
    return DN_OK;
}

static dn_status take_list(json *j, int64_t *out, int32_t most, int32_t *count)
{
    dn_status st = DN_OK;
    *count = 0;
    if (!take(j, '['))
        return damaged(j, "'['");
    if (take(j, ']'))
        return DN_OK;
    do {
        if (*count == most)
            return damaged(j, "']'");
        st = take_number(j, &out[(*count)++]);
    } while (!st && take(j, ','));
    return st || take(j, ']') ? st : damaged(j, "']'");
}

/* Any value, of a key that is not ours. */
static dn_status skip_value(json *j, int depth)
{
    char *text;
    dn_status st = DN_OK;
    skip_space(j);
    char open = *j->at, close = open == '{' ? '}' : ']';
    if (open == '"')
        return take_string(j, &text);
    if (open != '{' && open != '[') {
        size_t n = strspn(j->at, "+-.0123456789aeflnrstuE"); /* numbers, true, false, null */
        j->at += n;
        return n ? DN_OK : damaged(j, "a value");
    }
    if (depth == MAX_DEPTH)
        return damaged(j, "fewer levels");
    j->at++;
    if (take(j, close))
        return DN_OK;
    do {
        if (open == '{')
            st = take_string(j, &text);
        if (!st && open == '{' && !take(j, ':'))
            st = damaged(j, "':'");
        if (!st)
            st = skip_value(j, depth + 1);
    } while (!st && take(j, ','));
    return st || take(j, close) ? st : damaged(j, "',' or the end of a list");
}

/* ---- tensors ----------------------------------------------------------------------------- */

typedef struct tensor {
    char *layer; /* in the copy of the header */
    int32_t index, type;
    dni_shape shape;
    const uint8_t *data;
    size_t size;
} tensor;

typedef struct reading {
    json j;
    const dni_heap *heap;
    const uint8_t *data;
    size_t data_size, left; /* bytes of values; those that no tensor has had yet */
    tensor *tensors;
    size_t count, capacity;
} reading;

static int32_t type_of(const char *name, size_t *width)
{
    static const struct {
        char name[5];
        int8_t type, width;
    } types[] = {{"F32", CNN__TYPE__FLOAT, 4},
                 {"F64", CNN__TYPE__DOUBLE, 8},
                 {"F16", CNN__TYPE__FLOAT16, 2},
                 {"BF16", DNI_RAW_BF16, 2}};
    for (size_t i = 0; i < DNI_COUNT(types); i++)
        if (!strcmp(name, types[i].name)) {
            *width = (size_t)types[i].width;
            return types[i].type;
        }
    return NO_FLOAT;
}

/* "conv1.bias" is weight 1 of "conv1"; a name without such an end, weight 0 of its own. */
static void split_name(tensor *t, char *name)
{
    char *dot = strrchr(name, '.'), *end = dot ? dot + 1 : "";
    size_t digits = strspn(end, "0123456789");
    bool number = digits && digits <= 3 && !end[digits];
    t->layer = name;
    t->index = number ? atoi(end) : !strcmp(end, "bias");
    if (number || !strcmp(end, "bias") || !strcmp(end, "weight"))
        *dot = 0;
}

static dn_status check_tensor(reading *r, tensor *t, const char *name, size_t width,
                              const int64_t range[2])
{
    for (int32_t i = 0; i < t->shape.axes; i++)
        if (t->shape.dim[i] == 0)
            t->type = NO_FLOAT; /* an empty one holds no weights either */
    if (t->type == NO_FLOAT)
        return DN_OK;
    dn_status st = dni_in(dni_shape_check(&t->shape), "%s: '%s'", r->j.file, name);
    if (st)
        return st;
    if (range[0] > range[1] || (uint64_t)range[1] > r->data_size)
        return dni_fail(DN_E_PARSE,
                        "%s: '%s' lies at bytes %lld to %lld of %zu; cut or damaged", r->j.file,
                        name, (long long)range[0], (long long)range[1], r->data_size);
    t->data = r->data + range[0];
    t->size = (size_t)(range[1] - range[0]);
    if (t->size != (size_t)dni_shape_count(&t->shape) * width)
        return dni_fail(DN_E_PARSE, "%s: '%s' has %zu bytes where its shape needs %zu",
                        r->j.file, name, t->size, (size_t)dni_shape_count(&t->shape) * width);
    if (t->size > r->left) /* two of them overlap */
        return dni_fail(DN_E_PARSE, "%s: '%s' and those before have more bytes than there are",
                        r->j.file, name);
    r->left -= t->size;
    return DN_OK;
}

/* name: {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]} */
static dn_status read_tensor(reading *r, tensor *t, char *name)
{
    json *j = &r->j;
    int64_t range[2] = {0};
    int32_t ends = 0;
    size_t width = 0;
    char *key, *type = NULL;
    dn_status st = take(j, '{') ? DN_OK : damaged(j, "'{'");
    *t = (tensor){.shape.axes = -1};
    while (!st) {
        st = take_string(j, &key);
        if (!st && !take(j, ':'))
            st = damaged(j, "':'");
        if (st)
            break;
        if (!strcmp(key, "dtype"))
            st = take_string(j, &type);
        else if (!strcmp(key, "shape"))
            st = take_list(j, t->shape.dim, DN_MAX_AXES, &t->shape.axes);
        else if (!strcmp(key, "data_offsets"))
            st = take_list(j, range, 2, &ends);
        else
            st = skip_value(j, 0);
        if (st || !take(j, ','))
            break;
    }
    if (!st && !take(j, '}'))
        st = damaged(j, "'}'");
    if (!st && (!type || t->shape.axes < 0 || ends != 2))
        st =
            dni_fail(DN_E_PARSE, "%s: '%s' has no dtype, shape or data_offsets", j->file, name);
    if (st)
        return st;
    t->type = type_of(type, &width);
    st = check_tensor(r, t, name, width, range);
    split_name(t, name);
    return st;
}

static dn_status read_header(reading *r)
{
    json *j = &r->j;
    char *name;
    dn_status st = DN_OK;
    take(j, '{'); /* is there: dni_is_safetensors */
    if (!take(j, '}')) {
        do {
            st = take_string(j, &name);
            if (!st && !take(j, ':'))
                st = damaged(j, "':'");
            if (!st && !strcmp(name, "__metadata__")) {
                st = skip_value(j, 0);
                continue;
            }
            if (!st)
                st = dni_grow(r->heap, &r->tensors, &r->capacity, r->count + 1,
                              sizeof *r->tensors);
            if (!st)
                st = read_tensor(r, &r->tensors[r->count], name);
            if (!st && r->tensors[r->count].type != NO_FLOAT)
                r->count++;
        } while (!st && take(j, ','));
        if (!st && !take(j, '}'))
            st = damaged(j, "',' or '}'");
    }
    skip_space(j);
    return st || j->at == j->end ? st : damaged(j, "the end");
}

static int by_name(const void *a, const void *b)
{
    const tensor *x = a, *y = b;
    int order = strcmp(x->layer, y->layer);
    return order ? order : x->index - y->index;
}

/* ---- as weights of layers ---------------------------------------------------------------- */

/* `count` tensors of one layer. */
static dn_status add_layer(const reading *r, const tensor *t, size_t count, dni_view *view,
                           dni_weights *out)
{
    for (size_t i = 0; i < count; i++)
        if (t[i].index != (int32_t)i)
            return dni_fail(DN_E_PARSE, "%s: layer '%s' has weight %d %s", r->j.file, t->layer,
                            t[i].index,
                            t[i].index < (int32_t)i ? "twice" : "but not those before");
    dni_weights_layer *layer = dni_weights_add(out, r->heap);
    if (!layer)
        return DN_E_NOMEM;
    layer->name = dni_strdup(r->heap, t->layer);
    layer->blobs = dni_alloc(r->heap, count, sizeof *layer->blobs);
    if (!layer->name || !layer->blobs)
        return DN_E_NOMEM;
    for (; layer->num_blobs < count; t++)
        layer->blobs[layer->num_blobs++] =
            (dni_weights_blob){.shape = t->shape,
                               .count = dni_shape_count(&t->shape),
                               .raw_type = t->type,
                               .bare = true,
                               .at = t->data,
                               .size = t->size,
                               .view = view};
    return DN_OK;
}

static dn_status add_layers(reading *r, dni_view *view, dni_weights *out)
{
    dn_status st = DN_OK;
    if (r->count)
        qsort(r->tensors, r->count, sizeof *r->tensors, by_name);
    for (size_t at = 0, n; !st && at < r->count; at += n) {
        for (n = 1; at + n < r->count; n++)
            if (strcmp(r->tensors[at].layer, r->tensors[at + n].layer))
                break;
        st = add_layer(r, &r->tensors[at], n, view, out);
    }
    return st;
}

dn_status dni_safetensors_read(dni_weights *out, const dni_heap *heap, const void *bytes,
                               size_t size, dni_view *view, const char *name)
{
    const uint8_t *at = bytes;
    size_t header = (size_t)little_endian(at);
    if (header > size - LENGTH)
        return dni_fail(DN_E_PARSE, "%s: its header has %zu bytes, the file %zu; it was cut",
                        name, header, size);
    if (!dni_view_need(view, at, LENGTH + header))
        return view->status;
    char *copy = dni_strndup(heap, (const char *)at + LENGTH, header);
    if (!copy)
        return DN_E_NOMEM;
    reading r = {.heap = heap,
                 .j = {copy, copy, copy + header, name},
                 .data = at + LENGTH + header,
                 .data_size = size - LENGTH - header,
                 .left = size - LENGTH - header};
    dn_status st = read_header(&r);
    if (!st)
        st = add_layers(&r, view, out);
    if (st) {
        dni_saved_error saved;
        dni_save_error(&saved);
        dni_weights_free(out);
        dni_restore_error(&saved);
    }
    dni_free(r.tensors);
    dni_free(copy);
    return st;
}
