/* SPDX-License-Identifier: BSD-2-Clause
 * unary.c: UNARY, UNARY_BWD and the activations of other ops: y = f(x), dx = dy f'(x), with f'
 * said in terms of x, or of y for the functions in DN_FN_FROM_Y. */
#include "ref.h"

static real sigmoid(real x)
{
    return x >= 0 ? 1 / (1 + exp(-x)) : exp(x) / (1 + exp(x));
}

static real sign(real x)
{
    return (real)((x > 0) - (x < 0));
}

real REF(ref_function)(int32_t fn, real x, real a, real b, real c)
{
    switch (fn) {
    case DN_FN_RELU:
        return x > 0 ? x : a * x;
    case DN_FN_SIGMOID:
        return sigmoid(x);
    case DN_FN_TANH:
        return tanh(x);
    case DN_FN_ABS:
        return fabs(x);
    case DN_FN_EXP:
        return exp(a * x + b);
    case DN_FN_LOG:
        return c * log(a * x + b);
    case DN_FN_POWER:
        return pow(a * x + b, c);
    case DN_FN_BNLL:
        return x > 0 ? x + log1p(exp(-x)) : log1p(exp(x));
    case DN_FN_ELU:
        return x > 0 ? x : a * expm1(x);
    case DN_FN_CLIP:
        return x < a ? a : x > b ? b : x;
    case DN_FN_THRESHOLD:
        return x > a;
    case DN_FN_SWISH:
        return x * sigmoid(a * x);
    case DN_FN_AFFINE:
        return a * x + b;
    case DN_FN_SQRT:
        return sqrt(x);
    case DN_FN_SIGN:
        return sign(x);
    case DN_FN_SELU:
        return b * (x > 0 ? x : a * expm1(x));
    case DN_FN_SMOOTH_L1:
        return a * a * fabs(x) < 1 ? x * x * a * a / 2 : fabs(x) - 1 / (2 * a * a);
    case DN_FN_HARD_SWISH:
        return a * x * (x < -3 ? 0 : x > 3 ? 6 : x + 3);
    case DN_FN_RELU_TO:
        return x < 0 ? 0 : x > a ? a : x;
    default:
        return x;
    }
}

static real slope_from_x(int32_t fn, real x, real a, real b, real c)
{
    switch (fn) {
    case DN_FN_RELU:
        return x > 0 ? 1 : a;
    case DN_FN_SIGMOID:
        return sigmoid(x) * (1 - sigmoid(x));
    case DN_FN_TANH:
        return 1 - tanh(x) * tanh(x);
    case DN_FN_ABS:
        return sign(x);
    case DN_FN_EXP:
        return a * exp(a * x + b);
    case DN_FN_LOG:
        return c * a / (a * x + b);
    case DN_FN_POWER:
        return c == 0 ? 0 : a * c * pow(a * x + b, c - 1);
    case DN_FN_BNLL:
        return sigmoid(x);
    case DN_FN_ELU:
        return x > 0 ? 1 : a * exp(x);
    case DN_FN_CLIP:
        return x >= a && x <= b;
    case DN_FN_SWISH:
        return sigmoid(a * x) * (1 + a * x * (1 - sigmoid(a * x)));
    case DN_FN_AFFINE:
        return a;
    case DN_FN_SQRT:
        return 1 / (2 * sqrt(x));
    case DN_FN_SELU:
        return b * (x > 0 ? 1 : a * exp(x));
    case DN_FN_SMOOTH_L1:
        return a * a * fabs(x) < 1 ? a * a * x : sign(x);
    case DN_FN_HARD_SWISH:
        return a * (x < -3 ? 0 : x > 3 ? 6 : x + x + 3);
    case DN_FN_RELU_TO:
        return x >= 0 && x <= a;
    case DN_FN_THRESHOLD:
    case DN_FN_SIGN:
        return 0;
    default:
        return 1;
    }
}

real REF(ref_slope_from_y)(int32_t fn, real y, real a, real b)
{
    switch (fn) {
    case DN_FN_RELU:
        return y > 0 ? 1 : a;
    case DN_FN_SIGMOID:
        return y * (1 - y);
    case DN_FN_TANH:
        return 1 - y * y;
    case DN_FN_EXP:
        return a * y;
    case DN_FN_ELU:
        return y > 0 ? 1 : y + a;
    case DN_FN_AFFINE:
        return a;
    case DN_FN_SQRT:
        return 1 / (2 * y);
    case DN_FN_SELU:
        return y > 0 ? b : y + a * b;
    case DN_FN_THRESHOLD:
    case DN_FN_SIGN:
        return 0;
    default:
        return 1;
    }
}

static dn_status check_fn(const dn_op *op)
{
    int32_t fn = op->args.unary.fn;
    if (fn < 0 || fn >= DN_FN_END)
        return ref_fail(op, DN_E_INVALID, "there is no function %d", (int)fn);
    return DN_OK;
}

static dn_status check_unary(dn_op *op)
{
    REF_TRY(check_fn(op));
    return ref_need_out(op, 0, op->in[0].count);
}

dn_status REF(ref_run_unary)(const dn_op *op, const dn_op_io *io)
{
    const dn_args_unary *a = &op->args.unary;
    const real *x = io->in[0];
    real *y = io->out[0];
    for (int64_t i = 0; i < op->out[0].count; i++)
        put(&y[i], ref_adds(op, 0),
            REF(ref_function)(a->fn, x[i], (real)a->a, (real)a->b, (real)a->c));
    return DN_OK;
}

REF_KIND(unary) = {"UNARY", "T:T", sizeof(dn_args_unary), 1, check_unary, REF_RUNS(unary)};

static dn_status check_unary_bwd(dn_op *op)
{
    int32_t fn = op->args.unary.fn;
    REF_TRY(check_fn(op));
    if (!ref_has_in(op, 0) && !(ref_has_in(op, 1) && (DN_FN_FROM_Y >> fn & 1)))
        return ref_fail(op, DN_E_INVALID, "the gradient of function %d needs x", (int)fn);
    int64_t count = op->in[2].count;
    return REF_NEED(op, count, count, REF_ANY, count);
}

dn_status REF(ref_run_unary_bwd)(const dn_op *op, const dn_op_io *io)
{
    const dn_args_unary *args = &op->args.unary;
    const real *x = ref_in(op, io, 0), *y = ref_in(op, io, 1), *dy = io->in[2];
    real *dx = io->out[0], a = (real)args->a, b = (real)args->b, c = (real)args->c;
    for (int64_t i = 0; i < op->out[0].count; i++) {
        real slope = x ? slope_from_x(args->fn, x[i], a, b, c)
                       : REF(ref_slope_from_y)(args->fn, y[i], a, b);
        put(&dx[i], ref_adds(op, 0), dy[i] * slope);
    }
    return DN_OK;
}

REF_KIND(unary_bwd) = {"UNARY_BWD", "ttT:T",         sizeof(dn_args_unary),
                       1,           check_unary_bwd, REF_RUNS(unary_bwd)};
