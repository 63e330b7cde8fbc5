/* SPDX-License-Identifier: BSD-2-Clause
 * functions.cuh: DN_FN_* and their derivatives on the device, as kernels/ref/unary.c has
 * them. */
#ifndef DN_KERNELS_CUDA_FUNCTIONS_CUH
#define DN_KERNELS_CUDA_FUNCTIONS_CUH

#include "grid.cuh"

typedef struct function {
    int32_t fn;
    float a, b, c;
} function;

static inline function function_of(int32_t fn, double a, double b, double c)
{
    function f = {fn, (float)a, (float)b, (float)c};
    return f;
}

DEVICE float sigmoid(float x)
{
    return x >= 0 ? 1 / (1 + expf(-x)) : expf(x) / (1 + expf(x));
}

DEVICE float sign_of(float x)
{
    return (float)((x > 0) - (x < 0));
}

DEVICE float apply(const function *f, float x)
{
    float a = f->a, b = f->b, c = f->c;
    switch (f->fn) {
    case DN_FN_RELU:
        return x > 0 ? x : a * x;
    case DN_FN_SIGMOID:
        return sigmoid(x);
    case DN_FN_TANH:
        return tanhf(x);
    case DN_FN_ABS:
        return fabsf(x);
    case DN_FN_EXP:
        return expf(a * x + b);
    case DN_FN_LOG:
        return c * logf(a * x + b);
    case DN_FN_POWER:
        return powf(a * x + b, c);
    case DN_FN_BNLL:
        return x > 0 ? x + log1pf(expf(-x)) : log1pf(expf(x));
    case DN_FN_ELU:
        return x > 0 ? x : a * expm1f(x);
    case DN_FN_CLIP:
        return x < a ? a : x > b ? b : x;
    case DN_FN_THRESHOLD:
        return x > a ? 1.0f : 0.0f;
    case DN_FN_SWISH:
        return x * sigmoid(a * x);
    case DN_FN_AFFINE:
        return a * x + b;
    case DN_FN_SQRT:
        return sqrtf(x);
    case DN_FN_SIGN:
        return sign_of(x);
    case DN_FN_SELU:
        return b * (x > 0 ? x : a * expm1f(x));
    case DN_FN_SMOOTH_L1:
        return a * a * fabsf(x) < 1 ? x * x * a * a / 2 : fabsf(x) - 1 / (2 * a * a);
    case DN_FN_HARD_SWISH:
        return a * x * (x < -3 ? 0 : x > 3 ? 6 : x + 3);
    case DN_FN_RELU_TO:
        return x < 0 ? 0 : x > a ? a : x;
    default:
        return x;
    }
}

DEVICE float slope_from_x(const function *f, float x)
{
    float a = f->a, b = f->b, c = f->c;
    switch (f->fn) {
    case DN_FN_RELU:
        return x > 0 ? 1 : a;
    case DN_FN_SIGMOID:
        return sigmoid(x) * (1 - sigmoid(x));
    case DN_FN_TANH:
        return 1 - tanhf(x) * tanhf(x);
    case DN_FN_ABS:
        return sign_of(x);
    case DN_FN_EXP:
        return a * expf(a * x + b);
    case DN_FN_LOG:
        return c * a / (a * x + b);
    case DN_FN_POWER:
        return c == 0 ? 0 : a * c * powf(a * x + b, c - 1);
    case DN_FN_BNLL:
        return sigmoid(x);
    case DN_FN_ELU:
        return x > 0 ? 1 : a * expf(x);
    case DN_FN_CLIP:
        return x >= a && x <= b ? 1.0f : 0.0f;
    case DN_FN_SWISH:
        return sigmoid(a * x) * (1 + a * x * (1 - sigmoid(a * x)));
    case DN_FN_AFFINE:
        return a;
    case DN_FN_SQRT:
        return 1 / (2 * sqrtf(x));
    case DN_FN_SELU:
        return b * (x > 0 ? 1 : a * expf(x));
    case DN_FN_SMOOTH_L1:
        return a * a * fabsf(x) < 1 ? a * a * x : sign_of(x);
    case DN_FN_HARD_SWISH:
        return a * (x < -3 ? 0 : x > 3 ? 6 : x + x + 3);
    case DN_FN_RELU_TO:
        return x >= 0 && x <= a ? 1.0f : 0.0f;
    case DN_FN_THRESHOLD:
    case DN_FN_SIGN:
        return 0;
    default:
        return 1;
    }
}

DEVICE float slope_from_y(const function *f, float y)
{
    float a = f->a, b = f->b;
    switch (f->fn) {
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

#endif
