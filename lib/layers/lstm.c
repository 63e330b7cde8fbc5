/* SPDX-License-Identifier: BSD-2-Clause
 * LSTM: a layer of LSTM units over T steps (Donahue et al., 2015): at each step the
 * pre-activations W_x x + b + W_static x_static + W_h (cont h) go through an LSTMUnit.
 * recurrent_param: num_output D (required), weight_filler, bias_filler, expose_hidden (false),
 * debug_info (noted).
 * bottoms: x (T, N, ...), cont (T, N), 0 where a sequence begins, [x_static (N, ...)], and with
 * expose_hidden h_0, c_0 (1, N, D). tops: h (T, N, D), and with expose_hidden h_T, c_T (1, N,
 * D); without it both states are carried from one run to the next.
 * weights: W_x (4 D, I), b (4 D), [W_static (4 D, S)], W_h (4 D, D).
 * Gradient: through the T steps; none to cont, nor through h_0, c_0, h_T, c_T (so Caffe's). */
#include "layers/recurrent.h"

static dn_status setup(dni_layer *layer)
{
    dn_status st = dni_recurrent_setup(layer, 2, 4);
    const dni_recurrent *r = layer->state;
    return st ? st : dni_recurrent_weight(layer, r->width, r->D);
}

void dni_lstm_forward(dni_layer *layer, dni_builder *b)
{
    dni_recurrent *r = layer->state;
    dn_args_lstm unit = {.N = r->N, .D = r->D};
    dni_tensor w_h = b->w[r->hidden], proj = dni_recurrent_project(layer, b);
    dni_tensor h = dni_recurrent_begin(layer, b, 0), c = dni_recurrent_begin(layer, b, 1);
    r->h_cont = dni_all_temp(r, b, r->D);
    for (int64_t t = 0; t < r->T && !b->status; t++) {
        dni_step *s = &r->steps[t];
        dni_tensor input = dni_step_input(r, b, t, proj, h, w_h);
        s->c_prev = c;
        s->c = dni_step_temp(r, b, r->D);
        s->h = dni_step_temp(r, b, r->D);
        s->gates = dni_step_temp(r, b, r->width);
        dni_emit(b, DN_OP_LSTM_UNIT, &unit, DNI_TENSORS(c, input, s->cont),
                 DNI_TENSORS(s->c, s->h, s->gates));
        dni_step_put(r, b, s->h, b->y[0], t, r->D);
        h = s->h;
        c = s->c;
    }
    dni_recurrent_end(layer, b, 0, h);
    dni_recurrent_end(layer, b, 1, c);
}

static dni_tensor zeros(const dni_recurrent *r, dni_builder *b)
{
    dni_tensor t = dni_step_temp(r, b, r->D);
    dni_emit_fill(b, t, 0);
    return t;
}

void dni_lstm_backward(dni_layer *layer, dni_builder *b)
{
    dni_recurrent *r = layer->state;
    dn_args_lstm unit = {.N = r->N, .D = r->D};
    dni_tensor dproj = dni_all_temp(r, b, r->width);
    dni_tensor dh = DNI_NONE, dc = zeros(r, b);
    for (int64_t t = r->T; t-- > 0 && !b->status;) {
        const dni_step *s = &r->steps[t];
        dni_tensor dc_prev = dni_step_temp(r, b, r->D), dx = dni_step_temp(r, b, r->width);
        dni_tensor dh_t = dni_step_take(r, b, b->dy[0], t, r->D);
        if (dh != DNI_NONE)
            dni_emit_sum2(b, 1, dh_t, 1, dh, dh_t);
        dni_emit(b, DN_OP_LSTM_UNIT_BWD, &unit,
                 DNI_TENSORS(s->c_prev, s->gates, s->c, s->cont, dc, dh_t),
                 DNI_TENSORS(dc_prev, dx));
        if (r->clip > 0)
            dni_emit_unary(b, DN_FN_CLIP, -r->clip, r->clip, 0, dx, dx);
        dni_step_put(r, b, dx, dproj, t, r->width);
        dh = dni_step_input_bwd(r, b, t, dx, b->w[r->hidden]);
        dc = dc_prev;
    }
    dni_recurrent_begin_bwd(layer, b);
    dni_emit_gemm(b, true, false, r->width, r->D, r->T * r->N, 1, dproj, r->h_cont,
                  b->dw[r->hidden]);
    dni_recurrent_project_bwd(layer, b, dproj);
}

const dni_layer_class dni_layer_lstm = {
    .type = "LSTM",
    .bottoms_min = 2,
    .bottoms_max = 5,
    .tops_min = 1,
    .tops_max = 3,
    .no_gradient = 1u << 1,
    .state_size = sizeof(dni_recurrent),
    .setup = setup,
    .shape = dni_recurrent_shape,
    .forward = dni_lstm_forward,
    .backward = dni_lstm_backward,
    .teardown = dni_recurrent_teardown,
};
