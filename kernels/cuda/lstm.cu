/* SPDX-License-Identifier: BSD-2-Clause
 * lstm.cu: LSTM_UNIT and its gradient: one thread per cell. */
#include "functions.cuh"

typedef struct lstm_args {
    const float *c_prev, *x, *cont, *gates_in, *c_in, *dc, *dh;
    float *c, *h, *gates;      /* forward */
    float *dc_prev, *dx;       /* backward */
    int64_t D;
    int32_t add0, add1;
} lstm_args;

MAP(lstm_unit, lstm_args)
{
    int64_t D = a->D, n = quotient(i, D), at = n * 4 * D + (i - n * D);
    float cont = a->cont[n], in = sigmoid(a->x[at]);
    float f = cont == 0 ? 0 : cont * sigmoid(a->x[at + D]);
    float o = sigmoid(a->x[at + 2 * D]), g = tanhf(a->x[at + 3 * D]);
    float cell = f * a->c_prev[i] + in * g;
    a->gates[at] = in;
    a->gates[at + D] = f;
    a->gates[at + 2 * D] = o;
    a->gates[at + 3 * D] = g;
    put(&a->c[i], a->add0, cell);
    put(&a->h[i], a->add1, o * tanhf(cell));
}

MAP(lstm_unit_bwd, lstm_args)
{
    int64_t D = a->D, n = quotient(i, D), at = n * 4 * D + (i - n * D);
    float in = a->gates_in[at], f = a->gates_in[at + D];
    float o = a->gates_in[at + 2 * D], g = a->gates_in[at + 3 * D];
    float t = tanhf(a->c_in[i]), previous = a->c_prev[i], dh = a->dh[i];
    float dcell = a->dc[i] + dh * o * (1 - t * t);
    put(&a->dc_prev[i], a->add0, dcell * f);
    put(&a->dx[at], a->add1, dcell * g * in * (1 - in));
    put(&a->dx[at + D], a->add1, dcell * previous * f * (1 - f));
    put(&a->dx[at + 2 * D], a->add1, dh * t * o * (1 - o));
    put(&a->dx[at + 3 * D], a->add1, dcell * in * (1 - g * g));
}

static dn_status run_lstm_unit(const dn_op *op, const dn_op_io *io)
{
    lstm_args a = {cuda_in(op, io, 0), cuda_in(op, io, 1), cuda_in(op, io, 2), NULL, NULL, NULL,
                   NULL, cuda_out(op, io, 0), cuda_out(op, io, 1), cuda_out(op, io, 2), NULL,
                   NULL, op->args.lstm.D, cuda_adds(op, 0), cuda_adds(op, 1)};
    lstm_unit(op, &a, op->args.lstm.N * op->args.lstm.D);
    return DN_OK;
}

const cuda_kind cuda_lstm_unit = {"LSTM_UNIT", sizeof(dn_args_lstm), NULL, run_lstm_unit};

static dn_status run_lstm_unit_bwd(const dn_op *op, const dn_op_io *io)
{
    lstm_args a = {cuda_in(op, io, 0), NULL, NULL, cuda_in(op, io, 1), cuda_in(op, io, 2),
                   cuda_in(op, io, 4), cuda_in(op, io, 5), NULL, NULL, NULL,
                   cuda_out(op, io, 0), cuda_out(op, io, 1), op->args.lstm.D, cuda_adds(op, 0),
                   cuda_adds(op, 1)};
    lstm_unit_bwd(op, &a, op->args.lstm.N * op->args.lstm.D);
    return DN_OK;
}

const cuda_kind cuda_lstm_unit_bwd = {"LSTM_UNIT_BWD", sizeof(dn_args_lstm), NULL,
                                      run_lstm_unit_bwd};
