/* SPDX-License-Identifier: BSD-2-Clause
 * RNN: a layer of plain recurrent units over T steps: h_t = tanh(W_x x_t + b + W_static
 * x_static + W_h (cont_t h_{t-1})), y_t = tanh(W_o h_t + b_o).
 * recurrent_param: num_output D (required), weight_filler, bias_filler, expose_hidden (false),
 * debug_info (noted).
 * bottoms: x (T, N, ...), cont (T, N), 0 where a sequence begins, [x_static (N, ...)], and with
 * expose_hidden h_0 (1, N, D). tops: y (T, N, D), and with expose_hidden h_T (1, N, D); without
 * it the state is carried from one run to the next.
 * weights: W_x (D, I), b (D), [W_static (D, S)], W_h (D, D), W_o (D, D), b_o (D).
 * Gradient: through the T steps; none to cont, nor through h_0 and h_T (so Caffe's). */
#include "layers/recurrent.h"

typedef struct rnn_state {
    dni_recurrent recurrent; /* first: recurrent.c sees this one */
    dni_tensor h, y;         /* (T N, D), while lowering */
} rnn_state;

static dn_status setup(dni_layer *layer)
{
    dn_status st = dni_recurrent_setup(layer, 1, 1);
    int64_t D = ((const dni_recurrent *)layer->state)->D;
    if (!st)
        st = dni_recurrent_weight(layer, D, D);
    if (!st)
        st = dni_recurrent_weight(layer, D, D);
    return st ? st : dni_recurrent_bias(layer, D);
}

static void forward(dni_layer *layer, dni_builder *b)
{
    rnn_state *s = layer->state;
    dni_recurrent *r = &s->recurrent;
    const dni_tensor *w = b->w + layer->num_weights - 3; /* W_h, W_o, b_o */
    dni_tensor proj = dni_recurrent_project(layer, b), h = dni_recurrent_begin(layer, b, 0);
    r->h_cont = dni_all_temp(r, b, r->D);
    s->h = dni_all_temp(r, b, r->D);
    s->y = dni_all_temp(r, b, r->D); /* what follows may overwrite the top in place */
    for (int64_t t = 0; t < r->T && !b->status; t++) {
        h = dni_step_input(r, b, t, proj, h, w[0]);
        dni_emit_unary(b, DN_FN_TANH, 0, 0, 0, h, h);
        dni_step_put(r, b, h, s->h, t, r->D);
        r->steps[t].h = h;
    }
    dn_args_gemm out = {.trans_b = 1,
                        .m = r->T * r->N,
                        .n = r->D,
                        .k = r->D,
                        .lda = r->D,
                        .ldb = r->D,
                        .ldc = r->D,
                        .batch = 1,
                        .alpha = 1,
                        .bias_mode = 1};
    dni_emit(b, DN_OP_GEMM, &out, DNI_TENSORS(s->h, w[1], w[2]), DNI_TENSORS(s->y));
    dni_emit_unary(b, DN_FN_TANH, 0, 0, 0, s->y, s->y);
    dni_emit_copy(b, s->y, b->y[0]);
    dni_recurrent_end(layer, b, 0, h);
}

/* Through y = tanh(W_o h + b_o): the gradient of all h. */
static dni_tensor output_bwd(dni_layer *layer, dni_builder *b)
{
    const rnn_state *s = layer->state;
    const dni_recurrent *r = &s->recurrent;
    int32_t w_o = layer->num_weights - 2;
    int64_t M = r->T * r->N, D = r->D;
    dni_tensor d = dni_all_temp(r, b, D), dh = dni_all_temp(r, b, D);
    dni_emit_unary_bwd(b, DN_FN_TANH, 0, 0, 0, DNI_NONE, s->y, b->dy[0], d);
    dni_emit_gemm(b, true, false, D, D, M, 1, d, s->h, b->dw[w_o]);
    dni_emit_reduce_mid(b, M, D, 1, 1, d, DNI_NONE, b->dw[w_o + 1]);
    dni_emit_gemm(b, false, false, M, D, D, 1, d, b->w[w_o], dh);
    return dh;
}

static void backward(dni_layer *layer, dni_builder *b)
{
    dni_recurrent *r = layer->state;
    int32_t w_h = layer->num_weights - 3;
    dni_tensor dproj = dni_all_temp(r, b, r->D), dh_all = output_bwd(layer, b);
    dni_tensor dh = DNI_NONE;
    for (int64_t t = r->T; t-- > 0 && !b->status;) {
        dni_tensor d = dni_step_take(r, b, dh_all, t, r->D);
        if (dh != DNI_NONE)
            dni_emit_sum2(b, 1, d, 1, dh, d);
        dni_emit_unary_bwd(b, DN_FN_TANH, 0, 0, 0, DNI_NONE, r->steps[t].h, d, d);
        dni_step_put(r, b, d, dproj, t, r->D);
        dh = dni_step_input_bwd(r, b, t, d, b->w[w_h]);
    }
    dni_recurrent_begin_bwd(layer, b);
    dni_emit_gemm(b, true, false, r->D, r->D, r->T * r->N, 1, dproj, r->h_cont, b->dw[w_h]);
    dni_recurrent_project_bwd(layer, b, dproj);
}

const dni_layer_class dni_layer_rnn = {
    .type = "RNN",
    .bottoms_min = 2,
    .bottoms_max = 4,
    .tops_min = 1,
    .tops_max = 2,
    .no_gradient = 1u << 1,
    .state_size = sizeof(rnn_state),
    .setup = setup,
    .shape = dni_recurrent_shape,
    .forward = forward,
    .backward = backward,
    .teardown = dni_recurrent_teardown,
};
