/* SPDX-License-Identifier: BSD-2-Clause
 * solver_text.h: the nets that the solver tests train, and how they are fed and starved. */
#ifndef SOLVER_TEXT_H
#define SOLVER_TEXT_H

#include "check.h"
#include "deepnet/deepnet.h"

/* Two layers on 8 items of 6 values; the host writes x and t. */
#define SMALL_NET                                                                              \
    "layer { name: 'x' type: 'Input' top: 'x' input_param { shape { dim: 8 dim: 6 } } } "      \
    "layer { name: 't' type: 'Input' top: 't' input_param { shape { dim: 8 } } } "             \
    "layer { name: 'ip1' type: 'InnerProduct' bottom: 'x' top: 'ip1' param { lr_mult: 1 } "    \
    "  param { lr_mult: 2 decay_mult: 0 } inner_product_param { num_output: 5 "                \
    "  weight_filler { type: 'xavier' } } } "                                                  \
    "layer { name: 'tanh' type: 'TanH' bottom: 'ip1' top: 'ip1' } "                            \
    "layer { name: 'ip2' type: 'InnerProduct' bottom: 'ip1' top: 'ip2' "                       \
    "  inner_product_param { num_output: 3 weight_filler { type: 'xavier' } } } "              \
    "layer { name: 'loss' type: 'SoftmaxWithLoss' bottom: 'ip2' bottom: 't' top: 'loss' } "

/* LeNet at a fifth of its size, with Dropout, on images of 16 x 16 from memory: it is trained
 * hundreds of times, by ref, under sanitizers. */
#define DIGITS_NET                                                                             \
    "layer { name: 'd' type: 'MemoryData' top: 'd' top: 't' memory_data_param { "              \
    "  batch_size: 8 channels: 1 height: 16 width: 16 } } "                                    \
    "layer { name: 'c1' type: 'Convolution' bottom: 'd' top: 'c1' convolution_param { "        \
    "  num_output: 4 kernel_size: 5 weight_filler { type: 'xavier' } } } "                     \
    "layer { name: 'p1' type: 'Pooling' bottom: 'c1' top: 'p1' pooling_param { "               \
    "  kernel_size: 2 stride: 2 } } "                                                          \
    "layer { name: 'c2' type: 'Convolution' bottom: 'p1' top: 'c2' convolution_param { "       \
    "  num_output: 12 kernel_size: 3 weight_filler { type: 'xavier' } } } "                    \
    "layer { name: 'p2' type: 'Pooling' bottom: 'c2' top: 'p2' pooling_param { "               \
    "  kernel_size: 2 stride: 2 } } "                                                          \
    "layer { name: 'i1' type: 'InnerProduct' bottom: 'p2' top: 'i1' inner_product_param { "    \
    "  num_output: 40 weight_filler { type: 'xavier' } } } "                                   \
    "layer { name: 'r1' type: 'ReLU' bottom: 'i1' top: 'i1' } "                                \
    "layer { name: 'o1' type: 'Dropout' bottom: 'i1' top: 'i1' } "                             \
    "layer { name: 'i2' type: 'InnerProduct' bottom: 'i1' top: 'i2' inner_product_param { "    \
    "  num_output: 10 weight_filler { type: 'xavier' } } } "                                   \
    "layer { name: 'loss' type: 'SoftmaxWithLoss' bottom: 'i2' bottom: 't' top: 'loss' } "

enum { DIGITS = 64, DIGIT_SIZE = 16 * 16 };

/* Numbers in [0, 1) that are the same everywhere. */
CHECK_UNUSED float next_number(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return (float)(*state >> 8) / 16777216.0f;
}

/* Blobs of light whose place depends on the label, and noise. */
CHECK_UNUSED void make_digits(float *images, float *labels)
{
    uint32_t state = 1;
    for (int n = 0; n < DIGITS; n++) {
        int label = n * 7 % 10;
        labels[n] = (float)label;
        for (int i = 0; i < DIGIT_SIZE; i++) {
            int dy = i / 16 - (3 + label / 4 * 4), dx = i % 16 - (3 + label % 4 * 3);
            images[n * DIGIT_SIZE + i] =
                1.0f / (float)(1 + dy * dy + dx * dx) + 0.3f * next_number(&state);
        }
    }
}

CHECK_UNUSED void fill_small(dn_solver *solver)
{
    uint32_t state = 7;
    float x[48], t[8];
    for (int i = 0; i < 48; i++)
        x[i] = 2 * next_number(&state) - 1;
    for (int i = 0; i < 8; i++)
        t[i] = (float)(i % 3);
    CHECK_STATUS(dn_blob_write(dn_net_blob(dn_solver_net(solver), "x"), x, 48), DN_OK);
    CHECK_STATUS(dn_blob_write(dn_net_blob(dn_solver_net(solver), "t"), t, 8), DN_OK);
}

CHECK_UNUSED dn_solver *make_solver(dn_context *context, const char *text, const char *net,
                                    const dn_solver_options *options)
{
    dn_solver *solver = NULL;
    CHECK_STATUS(dn_solver_create_from_text(&solver, context, text, strlen(text), net,
                                            net ? strlen(net) : 0, options),
                 DN_OK);
    if (!solver)
        exit(check_summary());
    return solver;
}

/* FNV-1a over all weights of the net. */
CHECK_UNUSED uint64_t hash_weights(dn_net *net)
{
    uint64_t hash = 14695981039346656037u;
    for (int32_t l = 0; l < dn_net_num_layers(net); l++)
        for (int32_t k = 0; k < dn_net_layer_num_params(net, l); k++) {
            dn_blob *blob = dn_net_layer_param(net, l, k);
            const unsigned char *bytes = (const unsigned char *)dn_blob_data(blob);
            for (int64_t i = 0; i < dn_blob_count(blob) * 4; i++)
                hash = (hash ^ bytes[i]) * 1099511628211u;
        }
    return hash;
}

/* A step, which lacks memory at its first request, then at its second, until it has all that it
 * asks for; !starve: at once. Returns how often it failed. */
CHECK_UNUSED int step_starved(dn_solver *solver, check_heap *heap, int starve)
{
    dn_status st = DN_E_NOMEM;
    int failures = 0;
    for (long i = 1; st && i < 400; i++, failures += st != DN_OK) {
        heap->fail_at = starve ? heap->requests + i : 0;
        st = dn_solver_step(solver, 1);
        heap->fail_at = 0;
        CHECK_AT(!st || st == DN_E_NOMEM, "%s", dn_status_name(st));
    }
    CHECK_STATUS(st, DN_OK);
    return failures;
}

#endif
