/* SPDX-License-Identifier: BSD-2-Clause
 * fuzz_net.c: nets made and run. Inputs are the small nets of the gradient check, one for each
 * layer at least, with numbers, types and fields exchanged: whatever they say, a net is refused
 * with a message, or runs forward and backward. Nothing but files of the working folder is
 * reached: what names another is left out. */
#include <math.h>
#include <stdbool.h>
#include <stdio.h>

#include "../layers/gradient_rows.h"
#include "fuzz.h"

#include "deepnet/context.h"
#include "deepnet/net.h"

enum { MOST_BYTES = 16 << 20, MOST_FLOPS = 100 << 20, MOST_TEXT = 1 << 14 };

#ifdef ALONE /* without libFuzzer: some bytes */
static size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t most)
{
    (void)most;
    for (size_t i = size / 7; i < size; i += size / 3 + 1)
        data[i] ^= (uint8_t)(1 << i % 5);
    return size;
}
#else
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t most);
#endif
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed);

/* ---- runs -------------------------------------------------------------------------------- */

static uint32_t drawn(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

/* Of an input: whole numbers such as labels, values of weights, or what no host should pass. */
static void fill(dn_blob *blob, uint32_t *state)
{
    float *x = dn_blob_mutable_data(blob);
    uint32_t kind = drawn(state) % 4;
    for (int64_t i = 0; x && i < dn_blob_count(blob); i++) {
        uint32_t r = drawn(state) % 64;
        x[i] = kind == 0   ? (float)(r % 3)
               : kind == 1 ? (float)r / 16 - 2
               : kind == 2 ? (float)r * 1e37f
               : r == 0    ? NAN
                           : (float)(r % 8) - 2;
    }
    if (x)
        dn_blob_end_write(blob, x);
}

static double flops_of(const dn_net *net)
{
    double sum = 0;
    for (int32_t i = 0; i < dn_net_num_layers(net); i++)
        sum += (double)dn_net_layer_flops(net, i);
    return sum;
}

static void run(dn_net *net, uint32_t *state)
{
    for (int32_t i = 0; i < dn_net_num_inputs(net); i++)
        fill(dn_net_input(net, i), state);
    for (int pass = 0; pass < 2; pass++) {
        dni_clear_error();
        if (checked(dn_net_forward(net, NULL)) || checked(dn_net_backward(net)))
            return;
    }
}

static void create_and_run(dn_context *context, const char *text, size_t size, uint32_t *state)
{
    dn_net_options options = {.struct_size = sizeof options,
                              .phase = 1 + (int32_t)(drawn(state) % 2),
                              .dtype = drawn(state) % 4 ? DN_F32 : DN_F64,
                              .memory = (int32_t)(drawn(state) % 2),
                              .memory_limit = MOST_BYTES};
    dn_net *net = NULL;
    dni_clear_error();
    if (!checked(dn_net_create_from_text(&net, context, text, size, &options)) &&
        flops_of(net) < MOST_FLOPS)
        run(net, state);
    dn_net_free(net);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint32_t state = 0;
    for (size_t i = 0; i < size; i++) {
        state = state * 31 + data[i];
        if (data[i] == '/' || data[i] == '~') /* the path of a file elsewhere */
            return 0;
    }
    const dn_context_options options = {.struct_size = sizeof options,
                                        .num_threads = 1,
                                        .backends = "cpu",
                                        .plan = (int32_t)(drawn(&state) % 3)};
    dn_context *context = NULL;
    must(dn_context_create(&context, &options) == DN_OK);
    create_and_run(context, (const char *)data, size, &state);
    dn_context_free(context);
    return 0;
}

/* ---- other nets -------------------------------------------------------------------------- */

/* Numbers at which something ends. */
static const char *const numbers[] = {"0",
                                      "1",
                                      "2",
                                      "3",
                                      "4",
                                      "5",
                                      "7",
                                      "8",
                                      "16",
                                      "33",
                                      "64",
                                      "255",
                                      "1000",
                                      "65536",
                                      "1048577",
                                      "2147483647",
                                      "2147483648",
                                      "4294967295",
                                      "4294967296",
                                      "1073741824",
                                      "-1",
                                      "-2",
                                      "-3",
                                      "-2147483648",
                                      "0.5",
                                      "-0.5",
                                      "1e-30",
                                      "1e30",
                                      "-1e38",
                                      "nan",
                                      "inf",
                                      "-inf",
                                      "0.99999999",
                                      "1152921504606846976",
                                      "9223372036854775807",
                                      "-9223372036854775808",
                                      "18446744073709551615"};

typedef struct span {
    size_t from, to;
} span;

static bool in_number(char c)
{
    return (c >= '0' && c <= '9') || c == '-' || c == '+' || c == '.';
}

static bool in_word(char c)
{
    return in_number(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

/* A random word of the text that follows a colon; `number`: that begins as one does. */
static bool some_value(const char *text, size_t size, bool number, uint32_t *state, span *out)
{
    uint32_t found = 0;
    for (size_t i = 1; i < size; i++) {
        size_t from = i;
        if (text[i - 1] != ' ' || (i >= 2 && text[i - 2] != ':') || !in_word(text[i]) ||
            (number && !in_number(text[i])))
            continue;
        while (i < size && in_word(text[i]))
            i++;
        if (drawn(state) % ++found == 0)
            *out = (span){from, i};
    }
    return found > 0;
}

/* A random "name: value" of the text. */
static bool some_field(const char *text, size_t size, uint32_t *state, span *out)
{
    if (!some_value(text, size, false, state, out))
        return false;
    while (out->from > 2 && in_word(text[out->from - 3]))
        out->from--;
    out->from -= out->from > 2 ? 2 : 0;
    while (out->from > 0 && in_word(text[out->from - 1]))
        out->from--;
    return true;
}

static size_t exchange(char *text, size_t size, size_t most, span at, const char *by, size_t n)
{
    if (size - (at.to - at.from) + n > most)
        return size;
    memmove(text + at.from + n, text + at.to, size - at.to);
    memcpy(text + at.from, by, n);
    return size - (at.to - at.from) + n;
}

static size_t exchange_word(char *text, size_t size, size_t most, span at, const char *word)
{
    return exchange(text, size, most, at, word, strlen(word));
}

static size_t other_type(char *text, size_t size, size_t most, uint32_t *state)
{
    int32_t types = 0;
    while (dn_layer_type(types))
        types++;
    for (size_t i = 0, found = 0; i + 7 < size; i++) {
        if (memcmp(text + i, "type: '", 7) || (drawn(state) % 2 && found++ == 0))
            continue;
        size_t to = i + 7;
        while (to < size && in_word(text[to]))
            to++;
        return exchange_word(text, size, most, (span){i + 7, to},
                             dn_layer_type((int32_t)(drawn(state) % (uint32_t)types)));
    }
    return size;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed)
{
    static char copy[MOST_TEXT];
    char *text = (char *)data;
    uint32_t state = seed, choice = drawn(&state) % 100;
    span at, from;
    if (size < 16 || choice < 4) {
        const char *net = gradient_rows[drawn(&state) % num_gradient_rows].text;
        size_t n = strlen(net) < most ? strlen(net) : most;
        memcpy(text, net, n);
        return n;
    }
    if (choice < 60 && some_value(text, size, true, &state, &at))
        return exchange_word(text, size, most, at,
                             numbers[drawn(&state) % (sizeof numbers / sizeof *numbers)]);
    if (choice < 75 && size <= sizeof copy && some_field(text, size, &state, &at) &&
        some_field(text, size, &state, &from)) {
        size_t n =
            choice < 65 ? 0 : from.to - from.from; /* left out, or another in its place */
        memcpy(copy, text + from.from, n);
        if (choice >= 70)
            at.from = at.to, copy[n++] = ' ';
        return exchange(text, size, most, at, copy, n);
    }
    if (choice < 85)
        return other_type(text, size, most, &state);
    return LLVMFuzzerMutate(data, size, most);
}

#ifdef ALONE
/* usage: fuzz_net FIRST COUNT    nets from number FIRST on, each changed up to six times */
int main(int argc, char **argv)
{
    static uint8_t text[MOST_TEXT];
    uint32_t first = argc > 2 ? (uint32_t)strtoul(argv[1], NULL, 10) : 0;
    uint32_t count = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 1000;
    for (uint32_t n = first; n < first + count; n++) {
        if ((n - first) % 50 == 0)
            printf("nets from %u on\n", n), fflush(stdout);
        size_t size = LLVMFuzzerCustomMutator(text, 0, sizeof text, n * 2654435761u);
        for (uint32_t i = 0; i < 1 + n % 6; i++)
            size = LLVMFuzzerCustomMutator(text, size, sizeof text, n * 40503u + i);
        LLVMFuzzerTestOneInput(text, size);
    }
    printf("%u nets\n", count);
    return 0;
}
#endif
