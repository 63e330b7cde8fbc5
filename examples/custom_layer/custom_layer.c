/* SPDX-License-Identifier: BSD-2-Clause
 * custom_layer.c: a layer of the program's own, `type: "Gate"`, trained in a net beside
 * deepnet's: y = x s(w), a weight for each channel pressed into (0, 1) by the logistic function
 * s. custom_layer: prints how the loss falls and what the gates have learnt. */
#include <deepnet/deepnet.h>
#include <math.h>
#include <stdio.h>

/* ---- the layer: x, y: (N, C, ...), w: (C) ------------------------------------------------ */

static dn_status gate_create(void **state, dn_layer *layer, void *user)
{
    const dn_shape *x = dn_layer_bottom_shape(layer, 0);
    dn_shape w = {.axes = 1, .dim = {x->dim[1]}};
    (void)state, (void)user;
    if (x->axes < 2)
        return dn_layer_fail(layer, DN_E_SHAPE, "bottom 0 has no channels");
    return dn_layer_add_weight(layer, &w, "type: 'constant' value: 0");
}

static dn_status gate_shape(void *state, dn_layer *layer)
{
    (void)state;
    return dn_layer_set_top_shape(layer, 0, dn_layer_bottom_shape(layer, 0));
}

/* Elements of one channel of one item. */
static int64_t inner_of(const dn_layer_io *io)
{
    int64_t count = 1;
    for (int32_t i = 2; i < io->bottom_shapes[0].axes; i++)
        count *= io->bottom_shapes[0].dim[i];
    return count;
}

static float logistic(float w)
{
    return 1 / (1 + expf(-w));
}

static dn_status gate_forward(void *state, const dn_layer_io *io)
{
    const float *x = io->bottoms[0], *w = io->weights[0];
    float *y = io->tops[0];
    int64_t N = io->bottom_shapes[0].dim[0], C = io->bottom_shapes[0].dim[1];
    int64_t inner = inner_of(io);
    (void)state;
    if (io->dtype != DN_F32)
        return dn_layer_fail(io->layer, DN_E_UNSUPPORTED, "Gate is written for float");
    for (int64_t n = 0; n < N; n++)
        for (int64_t c = 0; c < C; c++)
            for (int64_t i = 0; i < inner; i++, x++, y++)
                *y = *x * logistic(w[c]);
    return DN_OK;
}

/* dx = dy s(w); dw = sum of dy x s(w) (1 - s(w)) */
static dn_status gate_backward(void *state, const dn_layer_io *io)
{
    const float *x = io->bottoms[0], *w = io->weights[0], *dy = io->top_diffs[0];
    float *dx = io->bottom_diffs[0], *dw = io->weight_diffs[0];
    int64_t N = io->bottom_shapes[0].dim[0], C = io->bottom_shapes[0].dim[1];
    int64_t inner = inner_of(io), at = 0;
    (void)state;
    for (int64_t c = 0; dw && c < C; c++)
        dw[c] = 0;
    for (int64_t n = 0; n < N; n++)
        for (int64_t c = 0; c < C; c++)
            for (int64_t i = 0; i < inner; i++, at++) {
                float s = logistic(w[c]), g = dy ? dy[at] : 0;
                if (dx)
                    dx[at] = g * s;
                if (dw)
                    dw[c] += g * x[at] * s * (1 - s);
            }
    return DN_OK;
}

static const dn_layer_class gate = {.struct_size = sizeof gate,
                                    .type = "Gate",
                                    .bottoms_min = 1,
                                    .bottoms_max = 1,
                                    .tops_min = 1,
                                    .tops_max = 1,
                                    .create = gate_create,
                                    .shape = gate_shape,
                                    .forward = gate_forward,
                                    .backward = gate_backward};

/* ---- a net with it: three features of which the middle one is noise ---------------------- */

static const char net_text[] =
    "layer { name: 'x' type: 'Input' top: 'x' input_param { shape { dim: 64 dim: 3 } } }"
    "layer { name: 't' type: 'Input' top: 't' input_param { shape { dim: 64 dim: 1 } } }"
    "layer { name: 'gate' type: 'Gate' bottom: 'x' top: 'gate' param { decay_mult: 0 } }"
    "layer { name: 'sum' type: 'Reduction' bottom: 'gate' top: 'sum' reduction_param { axis: 1 "
    "} }"
    "layer { name: 'y' type: 'Reshape' bottom: 'sum' top: 'y'"
    "  reshape_param { shape { dim: -1 dim: 1 } } }"
    "layer { name: 'loss' type: 'EuclideanLoss' bottom: 'y' bottom: 't' top: 'loss' }";
static const char solver_text[] = "base_lr: 2 momentum: 0.9 lr_policy: 'fixed' random_seed: 1";

static float x[64][3], t[64];

static void make_batch(unsigned *random)
{
    for (int i = 0; i < 64; i++) {
        for (int k = 0; k < 3; k++) {
            *random = *random * 1664525u + 1013904223u;
            x[i][k] = (float)(*random >> 8) / 8388608 - 1;
        }
        t[i] = 0.9f * x[i][0] + 0.5f * x[i][2];
    }
}

int main(void)
{
    const dn_layer_class *const layers[] = {&gate};
    dn_context_options options = {
        .struct_size = sizeof options, .layers = layers, .num_layers = 1};
    dn_context *context = NULL;
    dn_solver *solver = NULL;
    dn_net *net = NULL;
    unsigned random = 1;
    dn_status st = dn_context_create(&context, &options);
    if (!st)
        st = dn_solver_create_from_text(&solver, context, solver_text, sizeof solver_text - 1,
                                        net_text, sizeof net_text - 1, NULL);
    net = st ? NULL : dn_solver_net(solver);
    for (int i = 0; !st && i < 200; i++) {
        make_batch(&random);
        if ((st = dn_blob_write(dn_net_blob(net, "x"), x[0], 64 * 3)) ||
            (st = dn_blob_write(dn_net_blob(net, "t"), t, 64)) ||
            (st = dn_solver_step(solver, 1)))
            break;
        if (i % 50 == 49)
            printf("iteration %d, loss %.6f\n", i + 1, dn_solver_loss(solver));
    }
    for (int k = 0; !st && k < 3; k++) {
        const float *w =
            dn_blob_data(dn_net_layer_param(net, dn_net_find_layer(net, "gate"), 0));
        printf("gate %d: %.2f\n", k, logistic(w[k]));
    }
    if (st)
        fprintf(stderr, "%s\n", dn_last_error());
    dn_solver_free(solver);
    dn_context_free(context);
    return st ? 1 : 0;
}
