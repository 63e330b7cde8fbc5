/* SPDX-License-Identifier: BSD-2-Clause
 * test_safetensors.c: weights as .safetensors, written, read, and refused when they are
 * hostile. */
#include "net/safetensors.h"

#include "check.h"

static const char net_text[] =
    "layer { name: 'x' type: 'Input' top: 'x' input_param { shape { dim: 1 dim: 3 } } }"
    "layer { name: 'a\"/ip' type: 'InnerProduct' bottom: 'x' top: 'y'"
    "  inner_product_param { num_output: 2 weight_filler { type: 'xavier' } } }"
    "layer { name: 'bn' type: 'BatchNorm' bottom: 'y' top: 'z' }";
static const char ip[] = "a\"/ip";

static dn_net *new_net(dn_context *context, int32_t dtype)
{
    dn_net *net = NULL;
    dn_net_options options = {.struct_size = sizeof options, .dtype = dtype};
    CHECK_STATUS(
        dn_net_create_from_text(&net, context, net_text, sizeof net_text - 1, &options), DN_OK);
    return net;
}

static dn_blob *weight(dn_net *net, const char *layer, int32_t index)
{
    return dn_net_layer_param(net, dn_net_find_layer(net, layer), index);
}

static void set(dn_blob *blob, float first)
{
    float *data = dn_blob_mutable_data(blob);
    for (int64_t i = 0; i < dn_blob_count(blob); i++)
        data[i] = first + (float)i;
}

static bool holds(dn_blob *blob, float first)
{
    const float *data = dn_blob_data(blob);
    for (int64_t i = 0; i < dn_blob_count(blob); i++)
        if (data[i] != first + (float)i)
            return false;
    return true;
}

/* ---- written and read -------------------------------------------------------------------- */

static void test_round_trip(dn_context *context)
{
    static const char header[] =
        "{\"a\\u0022/ip.weight\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]},"
        "\"a\\u0022/ip.bias\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[24,32]},"
        "\"bn.0\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[32,40]},"
        "\"bn.1\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[40,48]},"
        "\"bn.2\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[48,52]}}";
    dn_net *net = new_net(context, DN_F32), *wide = new_net(context, DN_F64);
    dn_weights_report report = {.struct_size = sizeof report};
    const char *path = check_path("w.safetensors");
    char *bytes = NULL;
    size_t size = 0, length = (sizeof header - 1 + 7) / 8 * 8;
    SECTION("safetensors: round trip");
    for (int k = 0; k < 2; k++)
        set(weight(net, ip, k), 10.f * (float)k);
    for (int k = 0; k < 3; k++)
        set(weight(net, "bn", k), 50.f + (float)k);
    CHECK_STATUS(dn_net_save_weights(net, path), DN_OK);
    CHECK_STATUS(dni_file_read(&dni_default_heap, path, &bytes, &size), DN_OK);
    CHECK_INT(size, 8 + length + 52);
    CHECK(size > 8 && (uint8_t)bytes[0] + 256 * (uint8_t)bytes[1] == (int)length);
    CHECK(size > length && !memcmp(bytes + 8, header, sizeof header - 1));
    dni_free(bytes);
    set(weight(net, ip, 0), 99);
    set(weight(net, "bn", 2), 99);
    CHECK_STATUS(dn_net_load_weights(net, path, DN_WEIGHTS_STRICT, &report), DN_OK);
    CHECK(report.loaded == 2 && !report.missing && !report.unused && !report.mismatched);
    for (int k = 0; k < 2; k++)
        CHECK(holds(weight(net, ip, k), 10.f * (float)k));
    for (int k = 0; k < 3; k++)
        CHECK(holds(weight(net, "bn", k), 50.f + (float)k));
    CHECK_STATUS(dn_net_load_weights(wide, path, DN_WEIGHTS_STRICT, NULL), DN_OK);
    CHECK_STATUS(dn_net_save_weights(wide, path), DN_OK); /* now as F64 */
    set(weight(net, ip, 0), 99);
    CHECK_STATUS(dn_net_load_weights(net, path, DN_WEIGHTS_STRICT, NULL), DN_OK);
    CHECK(holds(weight(net, ip, 0), 0));
    dn_net_free(wide);
    dn_net_free(net);
}

/* The bytes of a file; valid until the next call. */
static const uint8_t *file(const char *header, const void *data, size_t data_size, size_t *size)
{
    static uint8_t bytes[4096];
    size_t length = strlen(header);
    for (int i = 0; i < 8; i++)
        bytes[i] = (uint8_t)(length >> 8 * i);
    memcpy(bytes + 8, header, length);
    if (data_size)
        memcpy(bytes + 8 + length, data, data_size);
    *size = 8 + length + data_size;
    return bytes;
}

/* Written by others: any order, other types, keys and tensors that mean nothing here. */
static void test_of_others(dn_context *context)
{
    static const char header[] =
        "{\"__metadata__\": {\"format\": \"pt\", \"\\u00e9\\n\": \"{]\\\\\\\"\"},\n"
        "\"steps\": {\"dtype\": \"I64\", \"shape\": [], \"data_offsets\": [20, 28]},"
        "\"empty.weight\": {\"dtype\": \"F32\", \"shape\": [3, 0], \"data_offsets\": [0, 0]},"
        "\"a\\\"\\/ip.bias\": {\"data_offsets\": [12, 20], \"shape\": [2], \"dtype\": \"F32\","
        "  \"more\": [1, -2.5e3, true, {\"a\": [null]}, []]},"
        "\"fc.8.weight\": {\"dtype\":\"BF16\",\"shape\":[1],\"data_offsets\":[28,30]},"
        "\"\\u0061\\\"/ip.weight\": "
        "{\"dtype\":\"%s\",\"shape\":[2,3],\"data_offsets\":[0,12]}}  ";
    static const uint16_t half[6] = {0x0000, 0x3c00, 0x4000, 0x4200, 0x4400, 0x4500};
    static const uint16_t brain[6] = {0x0000, 0x3f80, 0x4000, 0x4040, 0x4080, 0x40a0};
    static const float bias[2] = {7, 8};
    dn_net *net = new_net(context, DN_F32);
    SECTION("safetensors: files of others");
    for (int type = 0; type < 2; type++) {
        dn_weights_report report = {.struct_size = sizeof report};
        uint8_t data[30] = {0};
        char text[1200];
        size_t size;
        memcpy(data, type ? brain : half, 12);
        memcpy(data + 12, bias, 8);
        snprintf(text, sizeof text, header, type ? "BF16" : "F16");
        set(weight(net, ip, 0), 99);
        const uint8_t *bytes = file(text, data, sizeof data, &size);
        CHECK_STATUS(dn_net_load_weights_memory(net, bytes, size, DN_WEIGHTS_STRICT, &report),
                     DN_OK);
        CHECK(holds(weight(net, ip, 0), 0) && holds(weight(net, ip, 1), 7));
        CHECK(report.loaded == 1);
        CHECK_TEXT(report.missing_names, "bn");
        CHECK_TEXT(report.unused_names, "fc.8");
    }
    dn_net_free(net);
}

/* ---- refused ----------------------------------------------------------------------------- */

#define W "{\"w\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}"

static void test_hostile(void)
{
    static const struct {
        const char *header, *line;
        dn_status status; /* 0: DN_E_PARSE */
    } rows[] = {
        {"{\"w", "s: header, byte 11: the end of a string expected"},
        {"{\"w\"}", "s: header, byte 12: ':' expected"},
        {"{w:1}", "s: header, byte 9: a string expected"},
        {"{\"w\":1}", "s: header, byte 13: '{' expected"},
        {"{\"w\":{}}", "s: header, byte 14: a string expected"},
        {"{\"\\x\":{}}", "s: header, byte 11: an escape of JSON expected"},
        {"{\"\\u00g0\":{}}", "an escape of JSON expected"},
        {"{\"\\ud800\":{}}", "an escape of JSON expected"},
        {"{\"\\u0000\":{}}", "an escape of JSON expected"},
        {"{\"\\u00", "an escape of JSON expected"},
        {"{\"a\tb\":{}}", "the end of a string expected"},
        {W, "',' or '}' expected"},
        {W "}}", "s: header, byte 62: the end expected"},
        {W ",}", "a string expected"},
        {"{\"w\":{\"dtype\":\"F32\"}}", "s: 'w' has no dtype, shape or data_offsets"},
        {"{\"w\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0]}}",
         "s: 'w' has no dtype, shape or data_offsets"},
        {"{\"w\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8,9]}}", "']' expected"},
        {"{\"w\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,0]}}",
         "s: 'w' lies at bytes 8 to 0 of 8; cut or damaged"},
        {"{\"w\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[1,9]}}",
         "s: 'w' lies at bytes 1 to 9 of 8; cut or damaged"},
        {"{\"w\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,9223372036854775807]}}",
         "a smaller number expected"},
        {"{\"w\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[-8,0]}}",
         "a number expected"},
        {"{\"w\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,8]}}",
         "s: 'w' has 8 bytes where its shape needs 12"},
        {"{\"w\":{\"dtype\":\"F64\",\"shape\":[2],\"data_offsets\":[0,8]}}",
         "s: 'w' has 8 bytes where its shape needs 16"},
        {"{\"w\":{\"dtype\":\"F32\",\"shape\":[4000000000,4000000000],\"data_offsets\":[0,8]}}",
         "s: 'w': more than 2^46 elements", DN_E_SHAPE},
        {"{\"w\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,"
         "1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,8]}}",
         "']' expected"},
        {"{\"w\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
         "\"w.0\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}",
         "s: layer 'w' has weight 0 twice"},
        {W ",\"v\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}",
         "s: 'v' and those before have more bytes than there are"},
        {"{\"w.bias\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}",
         "s: layer 'w' has weight 1 but not those before"},
        {"{\"__metadata__\":[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]}", "fewer levels expected"},
        {"{\"__metadata__\":{\"a\" 1}}", "':' expected"},
        {"{\"__metadata__\":[1 2]}", "',' or the end of a list expected"},
        {"{\"__metadata__\":?}", "a value expected"},
    };
    SECTION("safetensors: hostile headers");
    for (size_t i = 0; i < DNI_COUNT(rows); i++) {
        dni_weights out = {0};
        size_t size;
        const uint8_t *bytes = file(rows[i].header, "\0\0\0\0\0\0\0\0", 8, &size);
        CHECK(dni_is_safetensors(bytes, size));
        CHECK_MESSAGE(dni_safetensors_read(&out, &dni_default_heap, bytes, size, NULL, "s"),
                      rows[i].status ? rows[i].status : DN_E_PARSE, rows[i].line);
        CHECK(!out.layers && !out.num_layers);
    }
    CHECK(!dni_is_safetensors("\x08\0\0\0\0\0\0\0", 8));
    CHECK(!dni_is_safetensors("\x08\0\0\0\0\0\0\0[", 9));
    CHECK(!dni_is_safetensors("\x01\xe1\xf5\x05\0\0\0\0{", 9)); /* 100,000,001 */
}

static void read_values(const dni_weights_blob *blob)
{
    float *values = malloc((size_t)blob->count * sizeof *values);
    CHECK_STATUS(dni_weights_values(blob, DN_F32, values, blob->count), DN_OK);
    free(values);
}

/* Every length, and every bit the other way: a status, and nothing read outside. */
static void test_damaged(void)
{
    size_t size;
    const uint8_t *good =
        file(W ",\"__metadata__\":{\"k\":\"v\"}}", "\0\0\x80?\0\0\0@", 8, &size);
    SECTION("safetensors: damaged");
    for (size_t i = 0; i < 9 * size; i++) {
        size_t length = i < size ? i : size;
        uint8_t *bytes = malloc(length + !length); /* its end is guarded by the sanitizer */
        dni_weights out = {0};
        memcpy(bytes, good, length);
        if (i >= size)
            bytes[(i - size) / 8] ^= (uint8_t)(1u << (i - size) % 8);
        dni_clear_error();
        if (dni_is_safetensors(bytes, length)) {
            dn_status st =
                dni_safetensors_read(&out, &dni_default_heap, bytes, length, NULL, "s");
            CHECK_AT(st ? !out.layers && dn_last_error() : !dn_last_error(), "%zu: %s", i,
                     dn_status_name(st));
            CHECK_AT(i >= size || st == DN_E_PARSE, "%zu bytes: %s", i, dn_status_name(st));
        }
        for (size_t l = 0; l < out.num_layers; l++)
            for (size_t k = 0; k < out.layers[l].num_blobs; k++)
                read_values(&out.layers[l].blobs[k]);
        dni_weights_free(&out);
        free(bytes);
    }
    dni_clear_error();
}

static void test_cut_file(dn_context *context)
{
    dn_net *net = new_net(context, DN_F32);
    size_t size;
    const uint8_t *bytes = file(W "}", NULL, 0, &size);
    SECTION("safetensors: a cut file");
    set(weight(net, ip, 0), 5);
    check_write(check_path("cut.safetensors"), bytes, 20);
    CHECK_MESSAGE(
        dn_net_load_weights(net, check_path("cut.safetensors"), DN_WEIGHTS_STRICT, NULL),
        DN_E_PARSE, "cut.safetensors: its header has 54 bytes, the file 20; it was cut");
    CHECK(holds(weight(net, ip, 0), 5));
    CHECK_STATUS(dn_net_save_weights(net, "/nowhere/w.safetensors"), DN_E_IO);
    dn_net_free(net);
}

static void test_failures(void)
{
    check_heap counts = {0};
    dni_heap heap = {check_alloc, &counts};
    size_t size;
    const uint8_t *bytes = file(W "}", "\0\0\x80?\0\0\0@", 8, &size);
    SECTION("safetensors: each allocation fails");
    dn_status st = DN_E_NOMEM;
    for (long i = 1; st && i < 20; i++) {
        dni_weights out = {0};
        counts.requests = 0;
        counts.fail_at = i;
        dni_clear_error();
        st = dni_safetensors_read(&out, &heap, bytes, size, NULL, "s");
        CHECK_AT(st == (counts.requests < i ? DN_OK : DN_E_NOMEM) && !st == !dn_last_error(),
                 "allocation %ld: %s", i, dn_status_name(st));
        CHECK(!st == !!out.layers);
        dni_weights_free(&out);
        CHECK_HEAP_CLEAN(&counts);
    }
    CHECK_STATUS(st, DN_OK);
}

static void test_save_failures(void)
{
    check_heap counts = {0};
    dn_context_options options = {.struct_size = sizeof options,
                                  .alloc = check_alloc,
                                  .alloc_user = &counts,
                                  .num_threads = 1};
    dn_context *context = NULL;
    SECTION("safetensors: each allocation of saving fails");
    CHECK_STATUS(dn_context_create(&context, &options), DN_OK);
    dn_net *net = new_net(context, DN_F32);
    long held = counts.live_blocks, i = 1;
    for (dn_status st = DN_E_NOMEM; st && i < 20; i++) {
        counts.requests = 0;
        counts.fail_at = i;
        st = dn_net_save_weights(net, check_path("f.safetensors"));
        CHECK_AT((!st || (st == DN_E_NOMEM && counts.requests >= i)) && !st == !dn_last_error(),
                 "allocation %ld: %s", i, dn_status_name(st));
        CHECK_INT(counts.live_blocks, held);
    }
    CHECK(i > 3 && i < 20);
    counts.fail_at = 0;
    dn_net_free(net);
    dn_context_free(context);
    CHECK_HEAP_CLEAN(&counts);
}

int main(void)
{
    dn_context *context = NULL;
    CHECK_STATUS(dn_context_create(&context, NULL), DN_OK);
    test_round_trip(context);
    test_of_others(context);
    test_hostile();
    test_damaged();
    test_cut_file(context);
    test_failures();
    test_save_failures();
    dn_context_free(context);
    return check_summary();
}
