/* SPDX-License-Identifier: BSD-2-Clause
 * cudnn.c: what the CUDA module calls of cuDNN, as loops over what its descriptors say, so that
 * a wrong stride, size or order shows in the result. It offers algorithms that the module must
 * not take (not deterministic, half precision, too large a workspace) before the one it
 * should. FAKE_DNN_FALSE is how often one that it offers is refused when it is to run,
 * FAKE_DNN_ODD whether that is so of odd numbers of images alone, 1, or of even ones, 0;
 * FAKE_DNN_FAILS the status that all fail with, FAKE_DNN_PLANS that with which descriptors of
 * images do; FAKE_DNN_MOST how many elements of an image it counts. */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cudnn.h>

#include "fake_dnn.h"
#include "stream.h"

enum { GOOD = 1, HASTY = 2, FALSE_FRIEND = 6, SPACE = 4096 };

struct cudnnContext {
    cudaStream_t stream;
};
struct cudnnActivationStruct {
    cudnnActivationMode_t mode;
    cudnnNanPropagation_t nan;
};

/* The test's: cuDNN declines bias and ReLU; how often each function ran. */
__attribute__((visibility("default"))) long fake_dnn_runs[5], fake_dnn_trials;
/* Runs in bf16, and of the algorithm whose bits change from run to run. */
__attribute__((visibility("default"))) long fake_dnn_narrow, fake_dnn_hasty;
/* NULL, or asked before a handle is made, an image described: the status that it fails with. */
__attribute__((visibility("default"))) int (*fake_dnn_opens)(void), (*fake_dnn_plans)(void);
/* Runs that may round f32 operands. */
__attribute__((visibility("default"))) long fake_dnn_rounded;
/* NULL, or is told of what heuristics are asked about. */
__attribute__((visibility("default"))) fake_dnn_tell fake_dnn_tells;

#define MAKE(name, type)                                                                       \
    cudnnStatus_t cudnnCreate##name(type *out)                                                 \
    {                                                                                          \
        *out = calloc(1, sizeof **out);                                                        \
        return CUDNN_STATUS_SUCCESS;                                                           \
    }                                                                                          \
    cudnnStatus_t cudnnDestroy##name(type it)                                                  \
    {                                                                                          \
        free(it);                                                                              \
        return CUDNN_STATUS_SUCCESS;                                                           \
    }
MAKE(TensorDescriptor, cudnnTensorDescriptor_t)
MAKE(FilterDescriptor, cudnnFilterDescriptor_t)
MAKE(ConvolutionDescriptor, cudnnConvolutionDescriptor_t)
MAKE(ActivationDescriptor, cudnnActivationDescriptor_t)

/* Parts of several versions, for one, do not go together. */
cudnnStatus_t cudnnCreate(cudnnHandle_t *out)
{
    const char *absent = getenv("FAKE_DNN_ABSENT"); /* the status that says so */
    if (absent)
        return (cudnnStatus_t)atoi(absent);
    int status = fake_dnn_opens ? fake_dnn_opens() : 0;
    if (status)
        return (cudnnStatus_t)status;
    *out = calloc(1, sizeof **out);
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnDestroy(cudnnHandle_t it)
{
    free(it);
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnSetStream(cudnnHandle_t handle, cudaStream_t stream)
{
    if (stream->fails())
        return CUDNN_STATUS_MAPPING_ERROR;
    handle->stream = stream;
    return CUDNN_STATUS_SUCCESS;
}

size_t cudnnGetVersion(void)
{
    return 91300;
}

const char *cudnnGetErrorString(cudnnStatus_t status)
{
    return status == CUDNN_STATUS_SUCCESS     ? "success"
           : status == CUDNN_STATUS_BAD_PARAM ? "CUDNN_STATUS_BAD_PARAM"
                                              : "a fake refusal";
}

void cudnnGetLastErrorString(char *message, size_t most)
{
    if (most > 11)
        memcpy(message, "of its own", 11);
}

/* ---- descriptors ------------------------------------------------------------------------- */

static bool is_type(cudnnDataType_t type)
{
    return type == CUDNN_DATA_FLOAT || type == CUDNN_DATA_BFLOAT16;
}

cudnnStatus_t cudnnSetTensorNdDescriptor(cudnnTensorDescriptor_t t, cudnnDataType_t type,
                                         int axes, const int dim[], const int stride[])
{
    const char *limit = getenv("FAKE_DNN_MOST"), *fails = getenv("FAKE_DNN_PLANS");
    int status = fails ? atoi(fails) : fake_dnn_plans ? fake_dnn_plans() : 0;
    if (status)
        return (cudnnStatus_t)status;
    if (!is_type(type) || axes < 4 || axes > AXES)
        return CUDNN_STATUS_NOT_SUPPORTED;
    long long most = limit ? atoll(limit) : INT32_MAX, count = 1;
    for (int i = 0; i < axes; i++) {
        if (dim[i] < 1)
            return CUDNN_STATUS_BAD_PARAM;
        count *= dim[i];
    }
    if (count > most)
        return CUDNN_STATUS_NOT_SUPPORTED;
    t->type = type;
    t->axes = axes;
    memcpy(t->dim, dim, (size_t)axes * sizeof *dim);
    memcpy(t->stride, stride, (size_t)axes * sizeof *stride);
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnSetFilterNdDescriptor(cudnnFilterDescriptor_t f, cudnnDataType_t type,
                                         cudnnTensorFormat_t format, int axes, const int dim[])
{
    if (!is_type(type) || axes < 4 || axes > AXES)
        return CUDNN_STATUS_NOT_SUPPORTED;
    f->type = type;
    f->axes = axes;
    f->last = format == CUDNN_TENSOR_NHWC;
    memcpy(f->dim, dim, (size_t)axes * sizeof *dim);
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnSetConvolutionNdDescriptor(cudnnConvolutionDescriptor_t c, int axes,
                                              const int pad[], const int stride[],
                                              const int dilation[], cudnnConvolutionMode_t mode,
                                              cudnnDataType_t type)
{
    if (mode != CUDNN_CROSS_CORRELATION || type != CUDNN_DATA_FLOAT)
        return CUDNN_STATUS_NOT_SUPPORTED;
    c->ran = false;
    c->axes = axes;
    memcpy(c->pad, pad, (size_t)axes * sizeof *pad);
    memcpy(c->stride, stride, (size_t)axes * sizeof *stride);
    memcpy(c->dilation, dilation, (size_t)axes * sizeof *dilation);
    c->group = 1;
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnSetConvolutionGroupCount(cudnnConvolutionDescriptor_t c, int group)
{
    c->group = group;
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnSetConvolutionMathType(cudnnConvolutionDescriptor_t c, cudnnMathType_t math)
{
    c->math = math;
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnSetActivationDescriptor(cudnnActivationDescriptor_t a,
                                           cudnnActivationMode_t mode,
                                           cudnnNanPropagation_t nan, double coefficient)
{
    (void)coefficient;
    a->mode = mode;
    a->nan = nan;
    return CUDNN_STATUS_SUCCESS;
}

/* ---- algorithms -------------------------------------------------------------------------- */

typedef struct {
    int algo;
    cudnnStatus_t status;
    float time;
    size_t memory;
    cudnnDeterminism_t determinism;
    cudnnMathType_t mathType;
    int reserved[3];
} result;

/* All of one type; dw may stay float where FAKE_DNN_WIDE says so. */
static bool types_fit(cudnnTensorDescriptor_t x, cudnnFilterDescriptor_t w,
                      cudnnTensorDescriptor_t y)
{
    return x->type == y->type && (w->type == x->type || getenv("FAKE_DNN_WIDE"));
}

typedef struct sizes {
    int space, N, C, K, in[3], out[3], kernel[3];
} sizes;

/* What the three descriptors have in common, if they agree. */
static bool sizes_of(sizes *s, cudnnTensorDescriptor_t x, cudnnFilterDescriptor_t w,
                     cudnnConvolutionDescriptor_t c, cudnnTensorDescriptor_t y)
{
    *s = (sizes){.space = c->axes, .N = x->dim[0], .C = x->dim[1], .K = y->dim[1]};
    bool fit = x->axes == c->axes + 2 && y->axes == x->axes && w->axes == x->axes &&
               y->dim[0] == s->N && w->dim[0] == s->K && w->dim[1] == s->C / c->group;
    for (int d = 0; d < 3; d++) {
        int a = d - (3 - c->axes);
        s->in[d] = a < 0 ? 1 : x->dim[2 + a];
        s->out[d] = a < 0 ? 1 : y->dim[2 + a];
        s->kernel[d] = a < 0 ? 1 : w->dim[2 + a];
        if (a >= 0)
            fit = fit && s->out[d] == (s->in[d] + 2 * c->pad[a] -
                                       (c->dilation[a] * (s->kernel[d] - 1) + 1)) /
                                              c->stride[a] +
                                          1;
    }
    return fit;
}

enum { FAKE_ALL = 2 }; /* so many: and none that runs */

static int false_friends(void)
{
    const char *number = getenv("FAKE_DNN_FALSE");
    return number ? atoi(number) : 0;
}

static bool is_refused(int algorithm, cudnnTensorDescriptor_t x)
{
    const char *odd = getenv("FAKE_DNN_ODD");
    return algorithm == FALSE_FRIEND && (!odd || atoi(odd) == x->dim[0] % 2);
}

static cudnnStatus_t offer(cudnnTensorDescriptor_t x, cudnnFilterDescriptor_t w,
                           cudnnTensorDescriptor_t y, cudnnConvolutionDescriptor_t conv,
                           int wanted, int *given, void *out)
{
    bool exact = conv->math == CUDNN_FMA_MATH; /* of some, the default may be said */
    cudnnMathType_t math = exact ? CUDNN_FMA_MATH : CUDNN_TENSOR_OP_MATH;
    cudnnMathType_t good = exact ? CUDNN_DEFAULT_MATH : CUDNN_TENSOR_OP_MATH;
    const result all[] = {
        {HASTY, CUDNN_STATUS_SUCCESS, 1, SPACE, CUDNN_NON_DETERMINISTIC, math, {0}},
        {3,
         CUDNN_STATUS_SUCCESS,
         2,
         0,
         CUDNN_DETERMINISTIC,
         CUDNN_TENSOR_OP_MATH_ALLOW_CONVERSION,
         {0}},
        {4, CUDNN_STATUS_SUCCESS, 3, (size_t)1 << 40, CUDNN_DETERMINISTIC, math, {0}},
        {5, CUDNN_STATUS_NOT_SUPPORTED, 3, 0, CUDNN_DETERMINISTIC, math, {0}},
        {GOOD, CUDNN_STATUS_SUCCESS, 4, SPACE, CUDNN_DETERMINISTIC, good, {0}}};
    const result none = {
        FALSE_FRIEND, CUDNN_STATUS_SUCCESS, 3, SPACE, CUDNN_DETERMINISTIC, good, {0}};
    int count = (int)(sizeof all / sizeof all[0]), others = false_friends();
    result *to = out;
    sizes s;
    if (!sizes_of(&s, x, w, conv, y))
        return CUDNN_STATUS_BAD_PARAM;
    if (!types_fit(x, w, y))
        return CUDNN_STATUS_NOT_SUPPORTED;
    *given = 0;
    for (int i = 0; i < count && *given < wanted; i++) {
        for (int k = 0; i == count - 1 && k < others && *given < wanted; k++)
            to[(*given)++] = none;
        if (others < FAKE_ALL || i < count - 1)
            to[(*given)++] = all[i];
    }
    return CUDNN_STATUS_SUCCESS;
}

static void tell(int which, cudnnTensorDescriptor_t x, cudnnFilterDescriptor_t w,
                 cudnnConvolutionDescriptor_t c, cudnnTensorDescriptor_t y)
{
    fake_dnn_question question = {which, *x, *y, *w, *c};
    if (fake_dnn_tells)
        fake_dnn_tells(&question);
}

/* Odd numbers of images take more. */
static size_t space_of(int algorithm, cudnnTensorDescriptor_t x)
{
    return algorithm == 4 ? (size_t)1 << 40 : SPACE + 256 * (size_t)(x->dim[0] % 2);
}

cudnnStatus_t cudnnGetConvolutionForwardAlgorithm_v7(
    cudnnHandle_t h, const cudnnTensorDescriptor_t x, const cudnnFilterDescriptor_t w,
    const cudnnConvolutionDescriptor_t c, const cudnnTensorDescriptor_t y, const int wanted,
    int *given, cudnnConvolutionFwdAlgoPerf_t *out)
{
    (void)h;
    tell(FAKE_DNN_FORWARD, x, w, c, y);
    return offer(x, w, y, c, wanted, given, out);
}

cudnnStatus_t cudnnGetConvolutionBackwardDataAlgorithm_v7(
    cudnnHandle_t h, const cudnnFilterDescriptor_t w, const cudnnTensorDescriptor_t dy,
    const cudnnConvolutionDescriptor_t c, const cudnnTensorDescriptor_t dx, const int wanted,
    int *given, cudnnConvolutionBwdDataAlgoPerf_t *out)
{
    (void)h;
    tell(FAKE_DNN_DATA, dx, w, c, dy);
    return offer(dx, w, dy, c, wanted, given, out);
}

cudnnStatus_t cudnnGetConvolutionBackwardFilterAlgorithm_v7(
    cudnnHandle_t h, const cudnnTensorDescriptor_t x, const cudnnTensorDescriptor_t dy,
    const cudnnConvolutionDescriptor_t c, const cudnnFilterDescriptor_t dw, const int wanted,
    int *given, cudnnConvolutionBwdFilterAlgoPerf_t *out)
{
    (void)h;
    tell(FAKE_DNN_WEIGHTS, x, dw, c, dy);
    return offer(x, dw, dy, c, wanted, given, out);
}

static cudnnStatus_t trial(cudnnHandle_t h, cudnnTensorDescriptor_t x,
                           cudnnFilterDescriptor_t w, cudnnTensorDescriptor_t y,
                           cudnnConvolutionDescriptor_t c, int wanted, int *given, void *out,
                           char *space, size_t bytes)
{
    memset(space, 0x7E, bytes < 65536 ? bytes : 65536);
    __atomic_fetch_add(&fake_dnn_trials, 1, __ATOMIC_RELAXED);
    return h->stream ? offer(x, w, y, c, wanted, given, out) : CUDNN_STATUS_BAD_PARAM;
}

cudnnStatus_t cudnnFindConvolutionForwardAlgorithmEx(
    cudnnHandle_t h, const cudnnTensorDescriptor_t xd, const void *x,
    const cudnnFilterDescriptor_t wd, const void *w, const cudnnConvolutionDescriptor_t c,
    const cudnnTensorDescriptor_t yd, void *y, const int wanted, int *given,
    cudnnConvolutionFwdAlgoPerf_t *out, void *space, size_t bytes)
{
    (void)x, (void)w;
    memset(y, 0x7E, 4);
    return trial(h, xd, wd, yd, c, wanted, given, out, space, bytes);
}

cudnnStatus_t cudnnFindConvolutionBackwardDataAlgorithmEx(
    cudnnHandle_t h, const cudnnFilterDescriptor_t wd, const void *w,
    const cudnnTensorDescriptor_t dyd, const void *dy, const cudnnConvolutionDescriptor_t c,
    const cudnnTensorDescriptor_t dxd, void *dx, const int wanted, int *given,
    cudnnConvolutionBwdDataAlgoPerf_t *out, void *space, size_t bytes)
{
    (void)w, (void)dy;
    memset(dx, 0x7E, 4);
    return trial(h, dxd, wd, dyd, c, wanted, given, out, space, bytes);
}

cudnnStatus_t cudnnFindConvolutionBackwardFilterAlgorithmEx(
    cudnnHandle_t h, const cudnnTensorDescriptor_t xd, const void *x,
    const cudnnTensorDescriptor_t dyd, const void *dy, const cudnnConvolutionDescriptor_t c,
    const cudnnFilterDescriptor_t dwd, void *dw, const int wanted, int *given,
    cudnnConvolutionBwdFilterAlgoPerf_t *out, void *space, size_t bytes)
{
    (void)x, (void)dy;
    memset(dw, 0x7E, 4);
    return trial(h, xd, dwd, dyd, c, wanted, given, out, space, bytes);
}

cudnnStatus_t cudnnGetConvolutionForwardWorkspaceSize(
    cudnnHandle_t h, const cudnnTensorDescriptor_t x, const cudnnFilterDescriptor_t w,
    const cudnnConvolutionDescriptor_t c, const cudnnTensorDescriptor_t y,
    cudnnConvolutionFwdAlgo_t algorithm, size_t *bytes)
{
    (void)h, (void)w, (void)c, (void)y;
    *bytes = space_of((int)algorithm, x);
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnGetConvolutionBackwardDataWorkspaceSize(
    cudnnHandle_t h, const cudnnFilterDescriptor_t w, const cudnnTensorDescriptor_t dy,
    const cudnnConvolutionDescriptor_t c, const cudnnTensorDescriptor_t dx,
    cudnnConvolutionBwdDataAlgo_t algorithm, size_t *bytes)
{
    (void)h, (void)w, (void)c, (void)dy;
    *bytes = space_of((int)algorithm, dx);
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnGetConvolutionBackwardFilterWorkspaceSize(
    cudnnHandle_t h, const cudnnTensorDescriptor_t x, const cudnnTensorDescriptor_t dy,
    const cudnnConvolutionDescriptor_t c, const cudnnFilterDescriptor_t dw,
    cudnnConvolutionBwdFilterAlgo_t algorithm, size_t *bytes)
{
    (void)h, (void)dw, (void)c, (void)dy;
    *bytes = space_of((int)algorithm, x);
    return CUDNN_STATUS_SUCCESS;
}

/* ---- convolutions ------------------------------------------------------------------------ */

static int64_t at(cudnnTensorDescriptor_t t, int n, int c, const int p[3])
{
    int64_t i = (int64_t)n * t->stride[0] + (int64_t)c * t->stride[1];
    for (int a = 2; a < t->axes; a++)
        i += (int64_t)p[a - 2 + 5 - t->axes] * t->stride[a];
    return i;
}

static int64_t weight_at(cudnnFilterDescriptor_t w, const sizes *s, int k, int c, int r)
{
    int64_t R = s->kernel[0] * s->kernel[1] * s->kernel[2], Cg = w->dim[1];
    return w->last ? (k * R + r) * Cg + c : (k * Cg + c) * R + r;
}

typedef void (*term_fn)(void *user, int64_t x, int64_t w, int64_t y);

static void count3(int i, const int dim[3], int at[3])
{
    at[2] = i % dim[2];
    at[1] = i / dim[2] % dim[1];
    at[0] = i / dim[2] / dim[1];
}

/* Every product of the convolution: elements of x, w, y. What depends on where is found once
 * for all channels; inlined, for a call for every term took half of the time. */
static inline __attribute__((always_inline)) bool
every_term(cudnnTensorDescriptor_t x, cudnnFilterDescriptor_t w, cudnnConvolutionDescriptor_t c,
           cudnnTensorDescriptor_t y, term_fn term, void *user)
{
    sizes s;
    if (!sizes_of(&s, x, w, c, y))
        return false;
    int Q = s.out[0] * s.out[1] * s.out[2], R = s.kernel[0] * s.kernel[1] * s.kernel[2];
    int Cg = s.C / c->group, Kg = s.K / c->group;
    int64_t first = weight_at(w, &s, 0, 0, 0), per_k = weight_at(w, &s, 1, 0, 0) - first;
    int64_t per_c = weight_at(w, &s, 0, 1, 0) - first, x_step = x->stride[1];
    for (int n = 0; n < s.N; n++)
        for (int q = 0; q < Q; q++)
            for (int r = 0; r < R; r++) {
                int o[3], tap[3], p[3];
                bool inside = true;
                count3(q, s.out, o);
                count3(r, s.kernel, tap);
                for (int d = 0; d < 3; d++) {
                    int a = d - (3 - c->axes);
                    p[d] =
                        a < 0 ? 0 : o[d] * c->stride[a] - c->pad[a] + tap[d] * c->dilation[a];
                    inside = inside && p[d] >= 0 && p[d] < s.in[d];
                }
                int64_t weight = weight_at(w, &s, 0, 0, r), to = at(y, n, 0, o);
                int64_t from = inside ? at(x, n, 0, p) : 0;
                for (int k = 0; inside && k < s.K; k++)
                    for (int i = 0; i < Cg; i++)
                        term(user, from + (k / Kg * Cg + i) * x_step,
                             weight + k * per_k + i * per_c, to + k * y->stride[1]);
            }
    return true;
}

/* Elements of an operand, of either type. */
static float load(const void *data, cudnnDataType_t type, int64_t i)
{
    uint32_t word;
    float value;
    if (type == CUDNN_DATA_FLOAT)
        return ((const float *)data)[i];
    word = (uint32_t)((const uint16_t *)data)[i] << 16;
    memcpy(&value, &word, sizeof value);
    return value;
}

static void store(void *data, cudnnDataType_t type, int64_t i, float value)
{
    uint32_t word;
    if (type == CUDNN_DATA_FLOAT) {
        ((float *)data)[i] = value;
        return;
    }
    memcpy(&word, &value, sizeof word);
    ((uint16_t *)data)[i] = (uint16_t)((word + 0x7FFF + (word >> 16 & 1)) >> 16);
}

typedef struct product {
    const double *a, *b;
    double *sum;
} product;

static inline void to_y_term(void *user, int64_t x, int64_t w, int64_t y)
{
    product *p = user;
    p->sum[y] += p->a[x] * p->b[w];
}

static inline void to_x_term(void *user, int64_t x, int64_t w, int64_t y)
{
    product *p = user;
    p->sum[x] += p->a[y] * p->b[w];
}

static inline void to_w_term(void *user, int64_t x, int64_t w, int64_t y)
{
    product *p = user;
    p->sum[w] += p->a[x] * p->b[y];
}

static int64_t elements(int axes, const int *dim)
{
    int64_t count = 1;
    for (int a = 0; a < axes; a++)
        count *= dim[a];
    return count;
}

/* What is multiplied of floats, by how they may be. */
static double *widened(const void *data, cudnnDataType_t type, cudnnMathType_t math,
                       int64_t count)
{
    double *wide = malloc((size_t)count * sizeof *wide);
    int missing = type != CUDNN_DATA_FLOAT || math == CUDNN_FMA_MATH ? 0
                  : math == CUDNN_TENSOR_OP_MATH_ALLOW_CONVERSION    ? FAKE_BF16
                                                                     : FAKE_TF32;
    for (int64_t i = 0; i < count; i++)
        wide[i] = fake_rounded(load(data, type, i), missing);
    return wide;
}

enum { TO_Y, TO_X, TO_W, TO_ACTIVE_Y, TO_BIASED_Y };

typedef struct call {
    cudnnHandle_t handle;
    cudnnTensorDescriptor_t x, y;
    cudnnFilterDescriptor_t w;
    cudnnConvolutionDescriptor_t conv;
    int algorithm;
    void *space;
    size_t bytes;
    int which;
    const void *a, *b, *bias;
    void *out;
    float alpha, beta;
    bool keeps_nan; /* ReLU of it is NaN, not 0 */
} call;

/* With what the descriptors say, which may be gone when it is done. */
typedef struct later {
    call call;
    struct cudnnTensorStruct x, y;
    struct cudnnFilterStruct w;
    struct cudnnConvolutionStruct conv;
} later;

static void compute(void *args)
{
    later *l = args;
    call *c = &l->call;
    c->x = &l->x;
    c->y = &l->y;
    c->w = &l->w;
    c->conv = &l->conv;
    bool to_w = c->which == TO_W, to_x = c->which == TO_X;
    cudnnDataType_t type = to_w ? c->w->type : to_x ? c->x->type : c->y->type;
    int64_t xs = elements(c->x->axes, c->x->dim), ws = elements(c->w->axes, c->w->dim);
    int64_t ys = elements(c->y->axes, c->y->dim), count = to_w ? ws : to_x ? xs : ys;
    cudnnMathType_t math = c->conv->math;
    double *a =
        to_x ? widened(c->a, c->y->type, math, ys) : widened(c->a, c->x->type, math, xs);
    double *b =
        to_w ? widened(c->b, c->y->type, math, ys) : widened(c->b, c->w->type, math, ws);
    product p = {a, b, calloc((size_t)count, sizeof(double))};
    memset(c->space, 0x7E, SPACE);
    if (to_w)
        every_term(c->x, c->w, c->conv, c->y, to_w_term, &p);
    else if (to_x)
        every_term(c->x, c->w, c->conv, c->y, to_x_term, &p);
    else
        every_term(c->x, c->w, c->conv, c->y, to_y_term, &p);
    for (int64_t i = 0; i < count; i++) {
        float v =
            (float)(c->alpha * p.sum[i] + (c->beta != 0 ? c->beta * load(c->out, type, i) : 0));
        if (c->which >= TO_ACTIVE_Y)
            v += load(c->bias, type, i / c->y->stride[1] % c->y->dim[1]);
        if (c->which == TO_ACTIVE_Y)
            v = v > 0 || (v != v && c->keeps_nan) ? v : 0;
        store(c->out, type, i, v);
    }
    free(a);
    free(b);
    free(p.sum);
    __atomic_fetch_add(&fake_dnn_runs[c->which], 1, __ATOMIC_RELAXED);
    __atomic_fetch_add(&fake_dnn_narrow, type == CUDNN_DATA_BFLOAT16, __ATOMIC_RELAXED);
    __atomic_fetch_add(&fake_dnn_hasty, c->algorithm == HASTY, __ATOMIC_RELAXED);
}

static cudnnStatus_t convolve(const call *c)
{
    sizes s;
    const char *fails = getenv("FAKE_DNN_FAILS");
    if (fails)
        return (cudnnStatus_t)atoi(fails);
    if (c->handle->stream->lost())
        return CUDNN_STATUS_EXECUTION_FAILED_CUDART;
    if (is_refused(c->algorithm, c->x))
        return CUDNN_STATUS_NOT_SUPPORTED;
    uintptr_t all = (uintptr_t)c->a | (uintptr_t)c->b | (uintptr_t)c->out;
    if (!c->handle->stream ||
        (c->algorithm != GOOD && c->algorithm != HASTY && c->algorithm != FALSE_FRIEND) ||
        c->bytes < space_of(c->algorithm, c->x) || !c->space || (uintptr_t)c->space % 64 ||
        !types_fit(c->x, c->w, c->y) || !sizes_of(&s, c->x, c->w, c->conv, c->y))
        return CUDNN_STATUS_BAD_PARAM;
    if ((c->handle->stream->recording && !c->conv->ran) ||
        !fake_space_is_own(c->handle->stream, c->space))
        return CUDNN_STATUS_EXECUTION_FAILED;
    if (all % 16 || (uintptr_t)c->bias % 16) {
        memset(c->out, 0xFF, 2); /* the real one may load 16 bytes at once: the device's end */
        return CUDNN_STATUS_SUCCESS;
    }
    c->conv->ran = true;
    __atomic_fetch_add(&fake_dnn_rounded, c->conv->math != CUDNN_FMA_MATH, __ATOMIC_RELAXED);
    later l = {*c, *c->x, *c->y, *c->w, *c->conv};
    fake_do(c->handle->stream, compute, &l, sizeof l);
    return CUDNN_STATUS_SUCCESS;
}

static float number(const void *at)
{
    return *(const float *)at;
}

cudnnStatus_t cudnnConvolutionForward(cudnnHandle_t h, const void *alpha,
                                      const cudnnTensorDescriptor_t xd, const void *x,
                                      const cudnnFilterDescriptor_t wd, const void *w,
                                      const cudnnConvolutionDescriptor_t c,
                                      cudnnConvolutionFwdAlgo_t algorithm, void *space,
                                      size_t bytes, const void *beta,
                                      const cudnnTensorDescriptor_t yd, void *y)
{
    call one = {h,    xd, yd, wd,   c, (int)algorithm, space,        bytes,
                TO_Y, x,  w,  NULL, y, number(alpha),  number(beta), true};
    return convolve(&one);
}

cudnnStatus_t cudnnConvolutionBackwardData(cudnnHandle_t h, const void *alpha,
                                           const cudnnFilterDescriptor_t wd, const void *w,
                                           const cudnnTensorDescriptor_t dyd, const void *dy,
                                           const cudnnConvolutionDescriptor_t c,
                                           cudnnConvolutionBwdDataAlgo_t algorithm, void *space,
                                           size_t bytes, const void *beta,
                                           const cudnnTensorDescriptor_t dxd, void *dx)
{
    call one = {h,    dxd, dyd, wd,   c,  (int)algorithm, space,        bytes,
                TO_X, dy,  w,   NULL, dx, number(alpha),  number(beta), true};
    return convolve(&one);
}

cudnnStatus_t cudnnConvolutionBackwardFilter(cudnnHandle_t h, const void *alpha,
                                             const cudnnTensorDescriptor_t xd, const void *x,
                                             const cudnnTensorDescriptor_t dyd, const void *dy,
                                             const cudnnConvolutionDescriptor_t c,
                                             cudnnConvolutionBwdFilterAlgo_t algorithm,
                                             void *space, size_t bytes, const void *beta,
                                             const cudnnFilterDescriptor_t dwd, void *dw)
{
    call one = {h,    xd, dyd, dwd,  c,  (int)algorithm, space,        bytes,
                TO_W, x,  dy,  NULL, dw, number(alpha),  number(beta), true};
    return convolve(&one);
}

cudnnStatus_t cudnnConvolutionBiasActivationForward(
    cudnnHandle_t h, const void *alpha1, const cudnnTensorDescriptor_t xd, const void *x,
    const cudnnFilterDescriptor_t wd, const void *w, const cudnnConvolutionDescriptor_t c,
    cudnnConvolutionFwdAlgo_t algorithm, void *space, size_t bytes, const void *alpha2,
    const cudnnTensorDescriptor_t zd, const void *z, const cudnnTensorDescriptor_t bd,
    const void *bias, const cudnnActivationDescriptor_t activation,
    const cudnnTensorDescriptor_t yd, void *y)
{
    bool relu = activation->mode == CUDNN_ACTIVATION_RELU;
    bool alone = activation->mode == CUDNN_ACTIVATION_IDENTITY &&
                 algorithm == CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM;
    int which = relu ? TO_ACTIVE_Y : TO_BIASED_Y;
    call one = {h,
                xd,
                yd,
                wd,
                c,
                (int)algorithm,
                space,
                bytes,
                which,
                x,
                w,
                bias,
                y,
                number(alpha1),
                number(alpha2),
                activation->nan == CUDNN_PROPAGATE_NAN};
    if (!(relu || alone) || z != y || zd != yd || bd->dim[1] != yd->dim[1] ||
        bd->type != yd->type || getenv("FAKE_DNN_UNFUSED"))
        return CUDNN_STATUS_NOT_SUPPORTED;
    return convolve(&one);
}
