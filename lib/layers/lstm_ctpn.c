/* SPDX-License-Identifier: BSD-2-Clause
 * Lstm (junhyukoh's caffe-lstm, CTPN's and text recognisers' forks): LSTM's formula over the T
 * steps of N sequences, each from a state of 0 in every run, or with bottom 1 from the last
 * run's.
 * lstm_param: num_output D (required), weight_filler, bias_filler, batch_size N,
 * clipping_threshold (0: none; the gradients of pre-activations are cut to its size).
 * bottoms: x (T, N, ...), top (T, N, D); with batch_size, or of two axes, x (T N, ...), the
 * sequences side by side in each step, and top (T N, D); [cont (T N), 0 where a sequence
 * begins]. weights: W_x (4 D, I), W_h (4 D, D), b (4 D).
 * Gradient: through the T steps; none to cont. */
#include "layers/recurrent.h"

static dn_status read_sizes(dni_layer *layer)
{
    const Cnn__LSTMParameter *p = layer->param->lstm_param;
    const dni_shape *x = &layer->bottom[0];
    dni_recurrent *r = layer->state;
    DNI_REQUIRE(x->axes >= 2, DN_E_SHAPE, "bottom has %d axes, (T, N, ...) is needed", x->axes);
    DNI_REQUIRE(dni_shape_count(x) > 0, DN_E_SHAPE, "bottom has no values");
    bool rows = p->has_batch_size || x->axes == 2;
    r->N = rows ? p->batch_size : x->dim[1];
    DNI_REQUIRE(r->N > 0 && (!rows || x->dim[0] % r->N == 0), DN_E_SHAPE,
                "bottom has %lld rows, no multiple of batch_size %lld", (long long)x->dim[0],
                (long long)r->N);
    r->T = rows ? x->dim[0] / r->N : x->dim[0];
    r->I = dni_shape_range(x, rows ? 1 : 2, x->axes);
    layer->top[0] = rows ? dni_shape_of(2, (int64_t[]){x->dim[0], r->D})
                         : dni_shape_of(3, (int64_t[]){r->T, r->N, r->D});
    return DN_OK;
}

static dn_status setup(dni_layer *layer)
{
    const Cnn__LSTMParameter *p = layer->param->lstm_param;
    dni_recurrent *r = layer->state;
    DNI_REQUIRE(p && p->num_output > 0, DN_E_NET, "lstm_param needs num_output > 0");
    r->D = p->num_output;
    r->width = 4 * r->D;
    r->states = 2;
    r->hidden = 1;
    r->bias = 2;
    r->clip = p->clipping_threshold;
    dn_status st = read_sizes(layer);
    const dni_shape w[3] = {dni_shape_of(2, (int64_t[]){r->width, r->I}),
                            dni_shape_of(2, (int64_t[]){r->width, r->D}),
                            dni_shape_of(1, &r->width)};
    for (int32_t i = 0; !st && i < 3; i++)
        st = dni_declare_weight(layer, &w[i], i < 2 ? p->weight_filler : p->bias_filler);
    return st;
}

static dn_status shape(dni_layer *layer)
{
    dni_recurrent *r = layer->state;
    dn_status st = read_sizes(layer);
    if (st)
        return st;
    DNI_REQUIRE(r->I == layer->weight[0].shape.dim[1], DN_E_SHAPE,
                "%lld inputs, the weights were made for %lld", (long long)r->I,
                (long long)layer->weight[0].shape.dim[1]);
    if (layer->num_bottoms > 1) {
        int64_t count = dni_shape_count(&layer->bottom[1]);
        DNI_REQUIRE(count == r->T * r->N, DN_E_SHAPE,
                    "bottom 1 has %lld values, %lld x %lld are needed: one for each step of "
                    "each sequence",
                    (long long)count, (long long)r->T, (long long)r->N);
        st = dni_recurrent_carry(layer);
    }
    return st ? st : dni_recurrent_steps(layer);
}

const dni_layer_class dni_layer_lstm_ctpn = {
    .type = "Lstm",
    .bottoms_min = 1,
    .bottoms_max = 2,
    .tops_min = 1,
    .tops_max = 1,
    .no_gradient = 1u << 1,
    .state_size = sizeof(dni_recurrent),
    .setup = setup,
    .shape = shape,
    .forward = dni_lstm_forward,
    .backward = dni_lstm_backward,
    .teardown = dni_recurrent_teardown,
};
