/* SPDX-License-Identifier: BSD-2-Clause
 * nets.h: nets as text, made and run; their readable blobs and gradients against another net's.
 */
#ifndef TESTS_PLAN_NETS_H
#define TESTS_PLAN_NETS_H

#include "check.h"

#include "deepnet/sys/random.h"
#include "net/net.h"

#define IN(name, dims)                                                                         \
    "layer { name: '" name "' type: 'Input' top: '" name "' "                                  \
    "input_param { shape { " dims " } } } "
#define X IN("x", "dim: 2 dim: 3 dim: 6 dim: 5")
#define LAYER(name, type, bottom, top, rest)                                                   \
    "layer { name: '" name "' type: '" type "' bottom: '" bottom "' top: '" top "' " rest " }" \
    " "
#define CONV(name, bottom, more)                                                               \
    LAYER(name, "Convolution", bottom, name,                                                   \
          "convolution_param { num_output: 3 kernel_size: 3 pad: 1 "                           \
          "weight_filler { type: 'gaussian' std: 0.4 } bias_filler { type: 'gaussian' } " more \
          " } ")
#define ON(blob, name, type, rest) LAYER(name, type, blob, blob, rest)
#define NORM_OF(bottom, blob)      /* of another blob */                                       \
    LAYER(blob "_n", "BatchNorm", bottom, blob, "")                                            \
    ON(blob, blob "_s", "Scale",                                                               \
       "scale_param { bias_term: true filler { type: 'uniform' min: 0.5 max: 1.5 } "           \
       "bias_filler { type: 'gaussian' } } ")
#define NORM(blob) NORM_OF(blob, blob)
#define RELU(blob) ON(blob, blob "_r", "ReLU", "")
#define SUM(p, q, top)                                                                         \
    "layer { name: '" top "' type: 'Eltwise' bottom: '" p "' bottom: '" q "' top: '" top "' "  \
    "} "
#define LOSS(bottom)                                                                           \
    IN("t", "dim: 2")                                                                          \
    LAYER("ip", "InnerProduct", bottom, "ip",                                                  \
          "inner_product_param { num_output: 4 weight_filler { type: 'gaussian' std: 0.1 } "   \
          "bias_filler { type: 'gaussian' } } ")                                               \
    "layer { name: 'loss' type: 'SoftmaxWithLoss' bottom: 'ip' bottom: 't' top: 'loss' } "

/* A residual block with everything in place, as ResNet's prototxt has it. */
#define RESIDUAL                                                                               \
    X CONV("a", "x", "bias_term: false") NORM("a") RELU("a")                                   \
        CONV("b", "a", "bias_term: false") NORM("b") CONV("c", "x", "bias_term: false")        \
            NORM("c") SUM("b", "c", "y") RELU("y") LOSS("y")

CHECK_UNUSED dn_context *context_of(int32_t plan)
{
    dn_context *context = NULL;
    dn_context_options o = {
        .struct_size = sizeof o, .plan = plan, .backends = "ref", .seed = 7};
    CHECK_STATUS(dn_context_create(&context, &o), DN_OK);
    return context;
}

/* Inputs with numbers in them: labels for t, gaussian for the rest; statistics not of nothing.
 */
CHECK_UNUSED void fill_net(dn_net *net)
{
    for (int32_t i = 0; i < dn_net_num_inputs(net); i++) {
        dn_blob *blob = dn_net_input(net, i);
        float *data = dn_blob_mutable_data(blob);
        for (int64_t k = 0; data && k < dn_blob_count(blob); k++) {
            uint32_t word[4];
            dn_random_block(word, 3, (uint64_t)i, 0, (uint64_t)k);
            data[k] = dn_blob_name(blob)[0] == 't' ? (float)(word[0] % 4)
                                                   : 4 * dn_random_unit(word[0]) - 2;
        }
    }
    for (size_t i = 0; i < net->num_params; i++) {
        dni_store *store = net->params[i]->blob.store;
        for (int64_t k = 0; net->params[i]->statistic && k < store->count; k++)
            ((float *)store->data)[k] = 0.5f + 0.1f * (float)(k % 7);
    }
}

CHECK_UNUSED dn_net *net_of(dn_context *context, const char *text, int32_t phase,
                            int32_t memory)
{
    dn_net *net = NULL;
    dn_net_options o = {.struct_size = sizeof o, .phase = phase, .memory = memory};
    CHECK_STATUS(dn_net_create_from_text(&net, context, text, strlen(text), &o), DN_OK);
    if (net)
        fill_net(net);
    return net;
}

CHECK_UNUSED void compare(const char *what, const char *name, const float *got,
                          const float *want, int64_t count)
{
    double worst = 0, largest = 1e-3;
    for (int64_t i = 0; got && want && i < count; i++) {
        worst = fmax(worst, fabs((double)got[i] - want[i]));
        largest = fmax(largest, fabs((double)want[i]));
    }
    CHECK_AT(got && want && worst <= 2e-5 * largest, "%s of %s differs by %g (largest %g)",
             what, name, worst, largest);
}

/* What of net can be read is what it is in `plain`. */
CHECK_UNUSED void compare_nets(dn_net *net, dn_net *plain, bool gradients)
{
    for (size_t i = 0; i < net->graph.num_blobs; i++) {
        dn_blob *p = net->blobs[i], *q = plain->blobs[i];
        bool readable = p->own || dni_plan_readable(net->plan, p->data);
        if (readable)
            compare("data", dn_blob_name(p), dn_blob_data(p), dn_blob_data(q),
                    dn_blob_count(p));
        if (readable && gradients && p->diff != DNI_NONE &&
            dni_plan_readable(net->plan, p->diff))
            compare("gradient", dn_blob_name(p), dn_blob_diff(p), dn_blob_diff(q),
                    dn_blob_count(p));
    }
    for (size_t i = 0; i < net->num_params; i++) {
        dn_blob *p = &net->params[i]->blob, *q = &plain->params[i]->blob;
        compare("weight", dn_blob_name(p), dn_blob_data(p), dn_blob_data(q), dn_blob_count(p));
        if (gradients && net->params[i]->wanted)
            compare("gradient of weight", dn_blob_name(p), dn_blob_diff(p), dn_blob_diff(q),
                    dn_blob_count(p));
    }
}

#endif
