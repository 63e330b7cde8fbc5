/* SPDX-License-Identifier: BSD-2-Clause
 * recurrent.h: what LSTM and RNN share: operands, the projection of all inputs at once, and the
 * unrolling over time. Weights are in the order Caffe's unrolled nets have them. */
#ifndef DNI_RECURRENT_H
#define DNI_RECURRENT_H

#include "layers/layer.h"

#define DNI_RECURRENT_STATES DNI_MAX_CARRY

/* Tensors of one time step that the gradient reads; (N, D) but cont (N) and gates (N, 4 D). */
typedef struct dni_step {
    dni_tensor cont, c_prev, c, h, gates;
} dni_step;

typedef struct dni_recurrent {
    int64_t T, N, I, S, D; /* steps, sequences, inputs, static inputs, outputs */
    int64_t width;         /* outputs of the projection: D or 4 D */
    int32_t states;        /* h, or h and c */
    int32_t bias, hidden;  /* which weights: b, W_h */
    double clip;           /* limit of gradients of pre-activations; 0: none */
    bool expose;           /* states are bottoms and tops; else carried from run to run */
    bool has_static;
    int64_t carry_count; /* N D of states that are carried; 0: each run begins with 0 */
    dni_step *steps; /* T of them */
    size_t cap_steps;
    dni_tensor h_cont; /* (T, N, D): h of the step before, times cont */
} dni_recurrent;

/* Reads recurrent_param, checks the operands, declares W_x (width, I), b (width) and, with a
 * static input, W_static (width, S). gates: width / D. */
dn_status dni_recurrent_setup(dni_layer *layer, int32_t states, int64_t gates);
dn_status dni_recurrent_weight(dni_layer *layer, int64_t rows, int64_t cols);
dn_status dni_recurrent_bias(dni_layer *layer, int64_t count);
dn_status dni_recurrent_shape(dni_layer *layer);
dn_status dni_recurrent_steps(dni_layer *layer); /* room for T of them */
/* States are carried: from zero, and again so when the number of sequences changes. */
dn_status dni_recurrent_carry(dni_layer *layer);
void dni_recurrent_teardown(dni_layer *layer);

/* (T, N, width): x W_x^T + b + x_static W_static^T. */
dni_tensor dni_recurrent_project(dni_layer *layer, dni_builder *b);
/* Gradients of the weights and bottoms of the projection from that of its result. */
void dni_recurrent_project_bwd(dni_layer *layer, dni_builder *b, dni_tensor dproj);

/* State k before the first step and after the last. */
dni_tensor dni_recurrent_begin(dni_layer *layer, dni_builder *b, int32_t k);
void dni_recurrent_end(dni_layer *layer, dni_builder *b, int32_t k, dni_tensor value);
/* Gradients end with the run, as in Caffe; states that are bottoms get 0. */
void dni_recurrent_begin_bwd(dni_layer *layer, dni_builder *b);

/* LSTM's steps, of a layer whose sizes and weights are set; without a bottom 1 the sequences
 * begin with the first step. */
void dni_lstm_forward(dni_layer *layer, dni_builder *b);
void dni_lstm_backward(dni_layer *layer, dni_builder *b);

/* Step t of (T, N, cols) as a tensor of its own, and back. */
dni_tensor dni_step_take(const dni_recurrent *r, dni_builder *b, dni_tensor all, int64_t t,
                         int64_t cols);
void dni_step_put(const dni_recurrent *r, dni_builder *b, dni_tensor step, dni_tensor all,
                  int64_t t, int64_t cols);
/* The step's pre-activation: its part of proj plus (cont h) W^T, W (width, D). */
dni_tensor dni_step_input(dni_recurrent *r, dni_builder *b, int64_t t, dni_tensor proj,
                          dni_tensor h, dni_tensor w);
/* From its gradient d that of h before the step. */
dni_tensor dni_step_input_bwd(dni_recurrent *r, dni_builder *b, int64_t t, dni_tensor d,
                              dni_tensor w);
dni_tensor dni_step_temp(const dni_recurrent *r, dni_builder *b, int64_t cols); /* (N, cols) */
dni_tensor dni_all_temp(const dni_recurrent *r, dni_builder *b, int64_t cols); /* (T N, cols) */

#endif
