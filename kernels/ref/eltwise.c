/* SPDX-License-Identifier: BSD-2-Clause
 * eltwise.c: ELTWISE: sum, product, maximum or quotient of inputs of one shape. Each element is
 * read from all inputs before it is written, so y may be any of them. */
#include "ref.h"

static dn_status check_eltwise(dn_op *op)
{
    const dn_args_eltwise *a = &op->args.eltwise;
    if (a->op < DN_ELTWISE_SUM || a->op > DN_ELTWISE_DIV)
        return ref_fail(op, DN_E_INVALID, "there is no operation %d", (int)a->op);
    if ((a->op == DN_ELTWISE_SUM && op->num_inputs > DN_MAX_COEFF) ||
        (a->op == DN_ELTWISE_DIV && op->num_inputs != 2))
        return ref_fail(op, DN_E_INVALID, "operation %d cannot take %d inputs", (int)a->op,
                        (int)op->num_inputs);
    if (ref_has_out(op, 1) && a->op != DN_ELTWISE_MAX)
        return ref_fail(op, DN_E_INVALID, "operation %d has no mask", (int)a->op);
    for (int32_t i = 1; i < op->num_inputs; i++)
        REF_TRY(ref_need_in(op, i, op->in[0].count));
    REF_TRY(ref_need_out(op, 0, op->in[0].count));
    return ref_need_out(op, 1, op->in[0].count);
}

/* One element of all inputs; *which: of the largest. */
static real combine(const dn_op *op, void *const *in, int64_t i, int32_t *which)
{
    const dn_args_eltwise *a = &op->args.eltwise;
    real first = ((const real *)in[0])[i];
    real y = a->op == DN_ELTWISE_SUM ? (real)a->coeff[0] * first : first;
    *which = 0;
    for (int32_t k = 1; k < op->num_inputs; k++) {
        real x = ((const real *)in[k])[i];
        switch (a->op) {
        case DN_ELTWISE_SUM:
            y += (real)a->coeff[k] * x;
            break;
        case DN_ELTWISE_PROD:
            y *= x;
            break;
        case DN_ELTWISE_DIV:
            y /= x;
            break;
        default: /* Caffe's ties: x1 beats an equal x0, later ones must be larger */
            if (k == 1 ? !(y > x) : x > y) {
                y = x;
                *which = k;
            }
        }
    }
    return y;
}

dn_status REF(ref_run_eltwise)(const dn_op *op, const dn_op_io *io)
{
    real *y = io->out[0];
    int32_t *mask = ref_out(op, io, 1);
    for (int64_t i = 0; i < op->out[0].count; i++) {
        int32_t which;
        real value = combine(op, io->in, i, &which);
        put(&y[i], ref_adds(op, 0), value);
        if (mask)
            mask[i] = which;
    }
    return DN_OK;
}

REF_KIND(eltwise) = {"ELTWISE", "T+:Tm",       sizeof(dn_args_eltwise),
                     1,         check_eltwise, REF_RUNS(eltwise)};
