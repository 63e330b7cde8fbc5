/* SPDX-License-Identifier: BSD-2-Clause
 * fuzz_binary.c: any bytes as weights (.caffemodel, .safetensors), as a mean file, as a binary
 * message, of each dialect. */
#include "fuzz.h"

#include "net/safetensors.h"
#include "proto/dialect.h"

static void take_values(const dni_weights_blob *blob)
{
    if (blob->count < 0 || blob->count > 1 << 20)
        return;
    float *floats = malloc((size_t)blob->count * sizeof(float) + 1);
    double *doubles = malloc((size_t)blob->count * sizeof(double) + 1);
    dni_clear_error();
    must(checked(dni_weights_values(blob, DN_F32, floats, blob->count)) == DN_OK);
    must(checked(dni_weights_values(blob, DN_F64, doubles, blob->count)) == DN_OK);
    free(floats);
    free(doubles);
}

static void read_message(const ProtobufCMessageDescriptor *type, const uint8_t *data,
                         size_t size)
{
    ProtobufCMessage *message = NULL, *copy = NULL;
    char *text = NULL;
    dni_clear_error();
    if (!checked(dni_binary_parse(&message, &dni_default_heap, type, data, size, "f"))) {
        must(checked(dni_text_print(&text, &dni_default_heap, message, NULL)) == DN_OK);
        must(checked(dni_message_copy(&copy, &dni_default_heap, message)) == DN_OK);
    }
    dni_free(text);
    dni_message_free(copy);
    dni_message_free(message);
}

/* The guess, and each dialect's numbers. */
static void read_dialects(const uint8_t *data, size_t size)
{
    const dni_heap *heap = &dni_default_heap;
    const ProtobufCMessageDescriptor *type = &cnn__net_parameter__descriptor;
    int32_t guess = dni_dialect_guess(type, data, size);
    must(guess >= 0 && guess < DNI_DIALECTS);
    for (int32_t d = 0; d < DNI_DIALECTS; d++) {
        uint8_t *ours = NULL;
        size_t ours_size;
        dni_clear_error();
        if (checked(dni_dialect_translate(&ours, &ours_size, heap, type, data, size, d)))
            continue;
        read_message(type, ours, ours_size);
        dni_free(ours);
    }
}

static void read_safetensors(const uint8_t *data, size_t size)
{
    dni_weights weights = {0};
    dni_clear_error();
    if (!dni_is_safetensors(data, size) ||
        checked(dni_safetensors_read(&weights, &dni_default_heap, data, size, NULL, "f")))
        return;
    for (size_t i = 0; i < weights.num_layers; i++)
        for (size_t k = 0; k < weights.layers[i].num_blobs; k++)
            take_values(&weights.layers[i].blobs[k]);
    dni_weights_free(&weights);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    dni_weights weights;
    dni_weights_blob blob;
    dni_clear_error();
    if (!checked(dni_weights_read(&weights, &dni_default_heap, data, size, NULL, "f"))) {
        for (size_t i = 0; i < weights.num_layers; i++)
            for (size_t k = 0; k < weights.layers[i].num_blobs; k++)
                take_values(&weights.layers[i].blobs[k]);
        dni_weights_free(&weights);
    }
    read_safetensors(data, size);
    dni_clear_error();
    if (!checked(dni_weights_blob_read(&blob, data, size, NULL, "f")))
        take_values(&blob);
    read_message(&cnn__net_parameter__descriptor, data, size);
    read_dialects(data, size);
    read_message(&cnn__solver_state__descriptor, data, size);
    read_message(&cnn__datum__descriptor, data, size);
    return 0;
}
