/* SPDX-License-Identifier: BSD-2-Clause
 * lstm.c: LSTM_UNIT and its gradient: one step of a cell. gates keeps i, f, o, g as they were
 * used, f with cont in it, so that the gradient needs neither x nor cont. */
#include "ref.h"

static double sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

static dn_status check_sizes(const dn_op *op, int64_t *cells, int64_t *gates)
{
    REF_TRY(ref_count3(op, op->args.lstm.N, op->args.lstm.D, 1, cells));
    return ref_count3(op, op->args.lstm.N, op->args.lstm.D, 4, gates);
}

static dn_status check_lstm_unit(dn_op *op)
{
    int64_t cells, gates;
    REF_TRY(check_sizes(op, &cells, &gates));
    return REF_NEED(op, cells, gates, op->args.lstm.N, cells, cells, gates);
}

dn_status ref_run_lstm_unit_f64(const dn_op *op, const dn_op_io *io)
{
    int64_t N = op->args.lstm.N, D = op->args.lstm.D;
    const double *c_prev = io->in[0], *cont = io->in[2];
    double *c = io->out[0], *h = io->out[1];
    for (int64_t n = 0; n < N; n++)
        for (int64_t d = 0; d < D; d++) {
            const double *x = (const double *)io->in[1] + n * 4 * D + d;
            double *gates = (double *)io->out[2] + n * 4 * D + d;
            double i = sigmoid(x[0]), f = cont[n] == 0 ? 0 : cont[n] * sigmoid(x[D]);
            double o = sigmoid(x[2 * D]), g = tanh(x[3 * D]);
            double cell = f * c_prev[n * D + d] + i * g;
            gates[0] = i;
            gates[D] = f;
            gates[2 * D] = o;
            gates[3 * D] = g;
            put(&c[n * D + d], ref_adds(op, 0), cell);
            put(&h[n * D + d], ref_adds(op, 1), o * tanh(cell));
        }
    return DN_OK;
}

const ref_kind ref_lstm_unit = {"LSTM_UNIT", "TTT:TTT",       sizeof(dn_args_lstm),
                                3,           check_lstm_unit, REF_WIDE(lstm_unit)};

static dn_status check_lstm_unit_bwd(dn_op *op)
{
    int64_t cells, gates;
    REF_TRY(check_sizes(op, &cells, &gates));
    return REF_NEED(op, cells, gates, cells, op->args.lstm.N, cells, cells, cells, gates);
}

dn_status ref_run_lstm_unit_bwd_f64(const dn_op *op, const dn_op_io *io)
{
    int64_t N = op->args.lstm.N, D = op->args.lstm.D;
    const double *c_prev = io->in[0], *c = io->in[2], *dc = io->in[4], *dh = io->in[5];
    double *dc_prev = io->out[0];
    for (int64_t n = 0; n < N; n++)
        for (int64_t d = 0; d < D; d++) {
            const double *gates = (const double *)io->in[1] + n * 4 * D + d;
            double *dx = (double *)io->out[1] + n * 4 * D + d;
            int64_t at = n * D + d;
            double i = gates[0], f = gates[D], o = gates[2 * D], g = gates[3 * D];
            double t = tanh(c[at]), dcell = dc[at] + dh[at] * o * (1 - t * t);
            double previous = c_prev[at], grad_h = dh[at];
            put(&dc_prev[at], ref_adds(op, 0), dcell * f);
            put(&dx[0], ref_adds(op, 1), dcell * g * i * (1 - i));
            put(&dx[D], ref_adds(op, 1), dcell * previous * f * (1 - f));
            put(&dx[2 * D], ref_adds(op, 1), grad_h * t * o * (1 - o));
            put(&dx[3 * D], ref_adds(op, 1), dcell * i * (1 - g * g));
        }
    return DN_OK;
}

const ref_kind ref_lstm_unit_bwd = {"LSTM_UNIT_BWD",      "TTTTTT:TT",
                                    sizeof(dn_args_lstm), 3,
                                    check_lstm_unit_bwd,  REF_WIDE(lstm_unit_bwd)};
