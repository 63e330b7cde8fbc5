/* SPDX-License-Identifier: BSD-2-Clause
 * random.c: RANDOM, DROPOUT and its gradient. Element i has its own place in the Philox stream:
 * nothing is drawn in sequence. */
#include "ref.h"

#define TWO_PI 6.283185307179586

static dn_status check_random(dn_op *op)
{
    if (op->args.random.dist < DN_DIST_UNIFORM || op->args.random.dist > DN_DIST_BERNOULLI)
        return ref_fail(op, DN_E_INVALID, "there is no distribution %d",
                        (int)op->args.random.dist);
    return ref_need_in(op, 0, 2);
}

/* Box and Muller: elements 2 j and 2 j + 1 share a pair of uniforms. */
static double gaussian(const int64_t *state, uint64_t stream, int64_t i)
{
    double u = ref_unit(state, stream, i & ~(int64_t)1), v = ref_unit(state, stream, i | 1);
    double r = sqrt(-2 * log(1 - u));
    return i & 1 ? r * sin(TWO_PI * v) : r * cos(TWO_PI * v);
}

dn_status REF(ref_run_random)(const dn_op *op, const dn_op_io *io)
{
    const dn_args_random *a = &op->args.random;
    const int64_t *state = io->in[0];
    real *y = io->out[0];
    for (int64_t i = 0; i < op->out[0].count; i++) {
        double value;
        switch (a->dist) {
        case DN_DIST_UNIFORM:
            value = a->a + (a->b - a->a) * ref_unit(state, a->stream, i);
            break;
        case DN_DIST_GAUSSIAN:
            value = a->a + a->b * gaussian(state, a->stream, i);
            break;
        default:
            value = ref_unit(state, a->stream, i) < a->a;
        }
        put(&y[i], ref_adds(op, 0), value);
    }
    return DN_OK;
}

REF_KIND(random) = {"RANDOM", "S:T", sizeof(dn_args_random), 1, check_random, REF_RUNS(random)};

static dn_status check_dropout(dn_op *op)
{
    return REF_NEED(op, REF_ANY, 2, op->in[0].count, op->in[0].count);
}

dn_status REF(ref_run_dropout)(const dn_op *op, const dn_op_io *io)
{
    const dn_args_dropout *a = &op->args.dropout;
    const real *x = io->in[0];
    const int64_t *state = io->in[1];
    real *y = io->out[0];
    uint8_t *mask = io->out[1];
    for (int64_t i = 0; i < op->in[0].count; i++) {
        mask[i] = ref_unit(state, a->stream, i) > a->ratio;
        put(&y[i], ref_adds(op, 0), x[i] * mask[i] * (real)a->scale);
    }
    return DN_OK;
}

REF_KIND(dropout) = {"DROPOUT", "TS:TB",       sizeof(dn_args_dropout),
                     1,         check_dropout, REF_RUNS(dropout)};

static dn_status check_dropout_bwd(dn_op *op)
{
    return REF_NEED(op, REF_ANY, op->in[0].count, op->in[0].count);
}

dn_status REF(ref_run_dropout_bwd)(const dn_op *op, const dn_op_io *io)
{
    const real *dy = io->in[0];
    const uint8_t *mask = io->in[1];
    real *dx = io->out[0];
    for (int64_t i = 0; i < op->in[0].count; i++)
        put(&dx[i], ref_adds(op, 0), dy[i] * mask[i] * (real)op->args.dropout.scale);
    return DN_OK;
}

REF_KIND(dropout_bwd) = {"DROPOUT_BWD",           "TB:T",
                         sizeof(dn_args_dropout), 1,
                         check_dropout_bwd,       REF_RUNS(dropout_bwd)};
