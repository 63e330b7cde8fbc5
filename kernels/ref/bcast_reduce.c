/* SPDX-License-Identifier: BSD-2-Clause
 * bcast_reduce.c: BCAST (one operand per channel), REDUCE (strided sums), SUMSQ_ALL. */
#include "ref.h"

static dn_status check_bcast(dn_op *op)
{
    const dn_args_bcast *a = &op->args.bcast;
    int64_t count, sets = a->sets > 1 ? a->sets : 1;
    if (a->op < DN_BCAST_ADD || a->op > DN_BCAST_MULADD)
        return ref_fail(op, DN_E_INVALID, "there is no operation %d", (int)a->op);
    if (ref_has_in(op, 2) != (a->op == DN_BCAST_MULADD))
        return ref_fail(op, DN_E_INVALID, "t goes with MULADD, not with operation %d",
                        (int)a->op);
    REF_TRY(ref_count3(op, a->outer, a->dim, a->inner, &count));
    if (a->sets < 0 || a->outer % sets)
        return ref_fail(op, DN_E_INVALID, "%d sets do not divide %lld", (int)a->sets,
                        (long long)a->outer);
    REF_TRY(ref_need_activation(op, a->activation));
    return REF_NEED(op, count, sets * a->dim, sets * a->dim, count);
}

static real bcast(int32_t op, real x, real s, real t)
{
    switch (op) {
    case DN_BCAST_ADD:
        return x + s;
    case DN_BCAST_SUB:
        return x - s;
    case DN_BCAST_MUL:
        return x * s;
    case DN_BCAST_DIV:
        return x / s;
    default:
        return x * s + t;
    }
}

dn_status REF(ref_run_bcast)(const dn_op *op, const dn_op_io *io)
{
    const dn_args_bcast *a = &op->args.bcast;
    const real *x = io->in[0], *s = io->in[1], *t = ref_in(op, io, 2);
    real *y = io->out[0];
    int64_t sets = a->sets > 1 ? a->sets : 1;
    for (int64_t o = 0; o < a->outer; o++)
        for (int64_t d = 0; d < a->dim; d++)
            for (int64_t i = 0; i < a->inner; i++) {
                int64_t at = (o * a->dim + d) * a->inner + i;
                int64_t j = o / (a->outer / sets) * a->dim + d;
                put_through(&y[at], ref_adds(op, 0), bcast(a->op, x[at], s[j], t ? t[j] : 0),
                            a->activation, a->activation_a);
            }
    return DN_OK;
}

REF_KIND(bcast) = {"BCAST", "TTt:T", sizeof(dn_args_bcast), 1, check_bcast, REF_RUNS(bcast)};

static dn_status check_reduce(dn_op *op)
{
    const dn_args_reduce *a = &op->args.reduce;
    if (a->op < DN_REDUCE_SUM || a->op > DN_REDUCE_DOT)
        return ref_fail(op, DN_E_INVALID, "there is no operation %d", (int)a->op);
    if (ref_has_in(op, 1) != (a->op == DN_REDUCE_DOT))
        return ref_fail(op, DN_E_INVALID, "x2 goes with DOT, not with operation %d",
                        (int)a->op);
    REF_TRY(
        ref_need_strided(op, "x", a->axes, a->dim, a->x_stride, a->x_offset, op->in[0].count));
    if (ref_has_in(op, 1))
        REF_TRY(ref_need_strided(op, "x2", a->axes, a->dim, a->x2_stride, a->x2_offset,
                                 op->in[1].count));
    /* y must also hold the zeros of empty sums, so summed axes count as length 1 here */
    int64_t dim[DN_MAX_STRIDED];
    for (int32_t d = 0; d < a->axes; d++)
        dim[d] = a->y_stride[d] ? a->dim[d] : 1;
    return ref_need_strided(op, "y", a->axes, dim, a->y_stride, a->y_offset, op->out[0].count);
}

/* Where walk t over the axes that are summed (or those that are not) adds to x, x2, y. */
static void reduce_walk(const dn_args_reduce *a, bool summed, int64_t t, int64_t at[3])
{
    for (int32_t d = a->axes - 1; d >= 0; d--) {
        if ((a->y_stride[d] == 0) != summed)
            continue;
        int64_t index = t % a->dim[d];
        at[0] += index * a->x_stride[d];
        at[1] += index * a->x2_stride[d];
        at[2] += index * a->y_stride[d];
        t /= a->dim[d];
    }
}

static int64_t reduce_length(const dn_args_reduce *a, bool summed)
{
    int64_t length = 1;
    for (int32_t d = 0; d < a->axes; d++)
        if ((a->y_stride[d] == 0) == summed)
            length *= a->dim[d];
    return length;
}

static double reduce_term(int32_t op, double x, const real *x2)
{
    switch (op) {
    case DN_REDUCE_SUM:
        return x;
    case DN_REDUCE_ASUM:
        return fabs(x);
    case DN_REDUCE_SUMSQ:
        return x * x;
    default:
        return x * *x2;
    }
}

dn_status REF(ref_run_reduce)(const dn_op *op, const dn_op_io *io)
{
    const dn_args_reduce *a = &op->args.reduce;
    const real *x = io->in[0], *x2 = ref_in(op, io, 1);
    real *y = io->out[0];
    int64_t kept = reduce_length(a, false), summed = reduce_length(a, true);
    const int64_t origin[3] = {a->x_offset, a->x2_offset, a->y_offset};
    for (int64_t k = 0; !ref_adds(op, 0) && k < kept; k++) {
        int64_t at[3] = {origin[0], origin[1], origin[2]};
        reduce_walk(a, false, k, at);
        y[at[2]] = 0;
    }
    for (int64_t k = 0; k < kept; k++) { /* kept indices may share an element of y */
        int64_t at[3] = {origin[0], origin[1], origin[2]};
        reduce_walk(a, false, k, at);
        double sum = 0;
        for (int64_t s = 0; s < summed; s++) {
            int64_t term[3] = {at[0], at[1], at[2]};
            reduce_walk(a, true, s, term);
            sum += reduce_term(a->op, x[term[0]], x2 ? &x2[term[1]] : NULL);
        }
        put(&y[at[2]], true, a->alpha * sum);
    }
    return DN_OK;
}

REF_KIND(reduce) = {"REDUCE", "Tt:T",       sizeof(dn_args_reduce),
                    1,        check_reduce, REF_RUNS(reduce)};

static dn_status check_sumsq_all(dn_op *op)
{
    return ref_need_out(op, 0, 1);
}

dn_status REF(ref_run_sumsq_all)(const dn_op *op, const dn_op_io *io)
{
    double sum = 0;
    for (int32_t k = 0; k < op->num_inputs; k++) {
        const real *x = io->in[k];
        for (int64_t i = 0; i < op->in[k].count; i++)
            sum += (double)x[i] * x[i];
    }
    put(io->out[0], ref_adds(op, 0), sum);
    return DN_OK;
}

REF_KIND(sumsq_all) = {"SUMSQ_ALL", "T+:T",          sizeof(dn_args),
                       1,           check_sumsq_all, REF_RUNS(sumsq_all)};
