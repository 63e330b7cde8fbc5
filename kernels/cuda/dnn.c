/* SPDX-License-Identifier: BSD-2-Clause
 * dnn.c: see dnn.h. The legacy convolution functions of cuDNN 9: an algorithm by its
 * heuristics, or by trial with `tune`; only those that give the same bits every time, unless
 * the context allows others. The workspace is the op's scratch, so a captured step may be
 * replayed. */
#include "dnn.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#include <cudnn.h>

#include "device.h"

#define MOST_WORKSPACE ((size_t)256 << 20)
#define MOST_TUNED     ((size_t)1 << 30)
#define CANDIDATES     8
#define MOST_TRIALS    256                /* of a context */
#define LITTLE         ((size_t)64 << 20) /* with less of it free, loading kernels may fail */
#ifndef CUDA_DNN_MOST
#define CUDA_DNN_MOST INT32_MAX /* elements of a batch that it counts */
#endif

#define SONAME CUDA_SONAME("libcudnn", CUDNN_MAJOR)

#define FUNCTIONS(X)                                                                           \
    X(cudnnCreate)                                                                             \
    X(cudnnDestroy)                                                                            \
    X(cudnnSetStream)                                                                          \
    X(cudnnGetVersion)                                                                         \
    X(cudnnGetErrorString)                                                                     \
    X(cudnnCreateTensorDescriptor)                                                             \
    X(cudnnDestroyTensorDescriptor)                                                            \
    X(cudnnSetTensorNdDescriptor)                                                              \
    X(cudnnCreateFilterDescriptor)                                                             \
    X(cudnnDestroyFilterDescriptor)                                                            \
    X(cudnnSetFilterNdDescriptor)                                                              \
    X(cudnnCreateConvolutionDescriptor)                                                        \
    X(cudnnDestroyConvolutionDescriptor)                                                       \
    X(cudnnSetConvolutionNdDescriptor)                                                         \
    X(cudnnSetConvolutionGroupCount)                                                           \
    X(cudnnSetConvolutionMathType)                                                             \
    X(cudnnCreateActivationDescriptor)                                                         \
    X(cudnnDestroyActivationDescriptor)                                                        \
    X(cudnnSetActivationDescriptor)                                                            \
    X(cudnnGetConvolutionForwardAlgorithm_v7)                                                  \
    X(cudnnGetConvolutionBackwardDataAlgorithm_v7)                                             \
    X(cudnnGetConvolutionBackwardFilterAlgorithm_v7)                                           \
    X(cudnnFindConvolutionForwardAlgorithmEx)                                                  \
    X(cudnnFindConvolutionBackwardDataAlgorithmEx)                                             \
    X(cudnnFindConvolutionBackwardFilterAlgorithmEx)                                           \
    X(cudnnGetConvolutionForwardWorkspaceSize)                                                 \
    X(cudnnGetConvolutionBackwardDataWorkspaceSize)                                            \
    X(cudnnGetConvolutionBackwardFilterWorkspaceSize)                                          \
    X(cudnnConvolutionForward)                                                                 \
    X(cudnnConvolutionBiasActivationForward)                                                   \
    X(cudnnConvolutionBackwardData)                                                            \
    X(cudnnConvolutionBackwardFilter)

/* One of the three structs of results, which are alike. */
typedef cudnnConvolutionFwdAlgoPerf_t result;
_Static_assert(sizeof(result) == sizeof(cudnnConvolutionBwdDataAlgoPerf_t) &&
                   sizeof(result) == sizeof(cudnnConvolutionBwdFilterAlgoPerf_t),
               "results differ");

/* A trial takes as long as some steps, and a plan asks for the same convolution again and
 * again: in every layout, for each layer that is alike. */
typedef struct trial_key {
    int64_t x[2 + DN_MAX_SPATIAL], y[2 + DN_MAX_SPATIAL], kernel[DN_MAX_SPATIAL],
        stride[DN_MAX_SPATIAL], pad[DN_MAX_SPATIAL], dilation[DN_MAX_SPATIAL], group;
    int32_t which, compute, layout, spatial, narrow, narrow_w;
} trial_key;

typedef struct trial {
    struct trial *next;
    trial_key key;
    result results[CANDIDATES];
    int num;
} trial;

struct cuda_dnn {
    void *library;
    trial *trials;
    cudnnHandle_t handle; /* made for the first convolution */
    const char *refused;  /* why it could not be made; NULL: it could, or nobody asked */
    FUNCTIONS(CUDA_FIELD)
    void (*last_error)(char *, size_t); /* NULL: it has none */
};

typedef struct choice {
    int32_t algorithm;
    cudnnMathType_t math;
    bool unordered;
} choice;

struct cuda_dnn_conv {
    int32_t which, algorithm;
    choice choices[CANDIDATES]; /* best first: what is promised may be refused when it runs */
    int32_t num, at;            /* of them; which it is now */
    cudnnStatus_t status;       /* of what was asked last */
    bool ran;                   /* so whatever fails later is no refusal */
    cudnnTensorDescriptor_t x, y, bias;
    cudnnFilterDescriptor_t w;
    cudnnConvolutionDescriptor_t conv;
    cudnnActivationDescriptor_t activation;
    cuda_dnn_wants wants;
    size_t workspace;       /* bytes */
    double measured;        /* nanoseconds; 0: not tried */
    bool fuses;             /* bias, and ReLU if there is one, as part of it */
    int64_t images, pieces; /* of the batch: so many at a time, and how often */
    int64_t rest;           /* images that come last, with descriptors of their own */
    cudnnTensorDescriptor_t rest_x, rest_y;
    size_t step[3];         /* bytes from one piece to the next: of a, b, out */
};

/* ---- opening ----------------------------------------------------------------------------- */

static bool find_functions(cuda_dnn *lib)
{
    const cuda_function wanted[] = {FUNCTIONS(CUDA_ROW)};
    if (!cuda_find(&lib->library, SONAME, wanted, sizeof(wanted) / sizeof(wanted[0])))
        return false;
    void *last = dlsym(lib->library, "cudnnGetLastErrorString");
    memcpy(&lib->last_error, &last, sizeof(last));
    return true;
}

dn_status cuda_dnn_open(dn_backend *backend)
{
    const dn_backend_host *host = &backend->host;
    cuda_dnn *d = host->alloc(host->user, sizeof(*d));
    if (!d)
        return host->fail(DN_E_NOMEM, "no memory for cuDNN");
    memset(d, 0, sizeof(*d));
    backend->device->dnn = d;
    if (!find_functions(d))
        cuda_dnn_close(backend);
    return DN_OK;
}

void cuda_dnn_close(dn_backend *backend)
{
    cuda_dnn *d = backend->device->dnn;
    if (!d)
        return;
    for (trial *t = d->trials; t;) {
        trial *next = t->next;
        backend->host.free(backend->host.user, t);
        t = next;
    }
    if (d->handle && !backend->device->gone)
        d->cudnnDestroy(d->handle);
    if (d->library)
        dlclose(d->library);
    backend->host.free(backend->host.user, d);
    backend->device->dnn = NULL;
}

void cuda_dnn_describe(const dn_backend *backend, char *buffer, size_t size)
{
    const cuda_dnn *d = backend->device->dnn;
    size_t version = d ? d->cudnnGetVersion() : 0;
    if (d)
        snprintf(buffer, size, "cuDNN %zu.%zu", version / 10000, version / 100 % 100);
    else
        snprintf(buffer, size, "no cuDNN");
}

/* Is it done? */
static bool fine(cuda_dnn_conv *v, cudnnStatus_t status)
{
    v->status = status;
    return status == CUDNN_STATUS_SUCCESS;
}

/* CUDA beneath it failed. With which error only its own runtime knows, not ours. */
static bool is_of_cuda(cudnnStatus_t status)
{
    return status == CUDNN_STATUS_EXECUTION_FAILED_CUDA_DRIVER ||
           status == CUDNN_STATUS_EXECUTION_FAILED_CUDART;
}

/* Of the host, or of the device: loading a kernel takes memory, too. */
static bool is_out_of_memory(cudnnStatus_t status)
{
    size_t left = LITTLE, total = 0;
    if (is_of_cuda(status) && cudaMemGetInfo(&left, &total) != cudaSuccess)
        cudaGetLastError();
    return left < LITTLE || status == CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED ||
           status == CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED;
}

/* Of which nothing says that cuDNN would not do it: there may be memory another time. */
static bool is_failure(cudnnStatus_t status)
{
    return is_of_cuda(status) || is_out_of_memory(status);
}

static dn_status dnn_fail(dn_backend *backend, cudnnStatus_t status, const char *what)
{
    const cuda_dnn *d = backend->device->dnn;
    char why[160] = "", lost[CUDA_WORDS];
    if (d->last_error)
        d->last_error(why, sizeof(why));
    return backend->host.fail(is_out_of_memory(status) ? DN_E_NOMEM : DN_E_DEVICE,
                              "cuDNN: %s: %s%s%s%s", what, d->cudnnGetErrorString(status),
                              *why ? ": " : "", why, cuda_lost_words(backend, lost));
}

/* Why cuDNN does not do it, for the plan. */
static const char *reason_of(const cuda_dnn *d, cudnnStatus_t status)
{
    static const char prefix[] = "CUDNN_STATUS_";
    const char *text = d->cudnnGetErrorString(status);
    return strncmp(text, prefix, sizeof(prefix) - 1) ? text : text + sizeof(prefix) - 1;
}

dn_status cuda_dnn_follow(dn_backend *backend)
{
    const cuda_dnn *d = backend->device->dnn;
    if (!d || !d->handle)
        return DN_OK;
    cudnnStatus_t status = d->cudnnSetStream(d->handle, backend->stream);
    return status == CUDNN_STATUS_SUCCESS ? DN_OK : dnn_fail(backend, status, "its stream");
}

/* *why: it does not start, for good; NULL: there is a handle. Memory that is not there is a
 * failure: there may be some for whoever asks again. */
static dn_status start(dn_backend *backend, const char **why)
{
    cuda_dnn *d = backend->device->dnn;
    *why = d->refused;
    if (d->refused)
        return DN_OK;
    cudnnStatus_t status = d->handle ? CUDNN_STATUS_SUCCESS : d->cudnnCreate(&d->handle);
    if (is_out_of_memory(status) && cuda_side_close(backend)) {
        cudaGetLastError();
        status = d->cudnnCreate(&d->handle);
    }
    if (status == CUDNN_STATUS_SUCCESS)
        status = d->cudnnSetStream(d->handle, backend->stream);
    if (status == CUDNN_STATUS_SUCCESS)
        return DN_OK;
    cudaGetLastError();
    if (is_out_of_memory(status))
        return dnn_fail(backend, status, "opening");
    *why = d->refused = reason_of(d, status);
    return DN_OK;
}

/* ---- descriptors ------------------------------------------------------------------------- */

/* Bytes, rounded up: what follows is aligned as cudaMalloc aligns. */
static size_t rounded(int64_t count, bool narrow)
{
    return ((size_t)count * (narrow ? 2 : 4) + 255) & ~(size_t)255;
}

static cudnnDataType_t type_of(bool narrow)
{
    return narrow ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_FLOAT;
}

/* Two spatial axes at least: an image of one is a row. */
static int axes_of(const dn_args_conv *c)
{
    return c->spatial < 2 ? 2 : c->spatial;
}

static cudnnStatus_t set_image(const cuda_dnn *d, cudnnTensorDescriptor_t to,
                               const cuda_operand *x, int64_t images, const dn_args_conv *c,
                               bool narrow)
{
    int axes = axes_of(c), dims[2 + DN_MAX_SPATIAL], strides[2 + DN_MAX_SPATIAL];
    bool last = x->info.layout == DN_LAYOUT_NHWC;
    int64_t channels = x->info.shape.dim[1], at = last ? channels : 1;
    dims[0] = (int)images;
    dims[1] = (int)channels;
    for (int i = axes - 1; i >= 0; i--) {
        int from = i - (axes - c->spatial);
        dims[2 + i] = from >= 0 ? (int)x->info.shape.dim[2 + from] : 1;
        strides[2 + i] = (int)at;
        at *= dims[2 + i];
    }
    strides[1] = last ? 1 : (int)at;
    strides[0] = (int)(last ? at : at * channels);
    return d->cudnnSetTensorNdDescriptor(to, type_of(narrow), 2 + axes, dims, strides);
}

static bool set_weights(const cuda_dnn *d, cuda_dnn_conv *v, const dn_args_conv *c, int64_t K,
                        int64_t Cg, bool last)
{
    int axes = axes_of(c), dims[2 + DN_MAX_SPATIAL] = {(int)K, (int)Cg};
    cuda_dnn_wants *wants = &v->wants;
    int64_t taps = 1;
    for (int i = 0; i < axes; i++) {
        int from = i - (axes - c->spatial);
        dims[2 + i] = from >= 0 ? (int)c->kernel[from] : 1;
        taps *= dims[2 + i];
    }
    wants->taps_first = last && taps > 1;
    if (wants->taps_first || wants->narrow_w)
        wants->packed = rounded(K * Cg * taps, wants->narrow_w);
    return fine(v, d->cudnnSetFilterNdDescriptor(v->w, type_of(wants->narrow_w),
                                                 last ? CUDNN_TENSOR_NHWC : CUDNN_TENSOR_NCHW,
                                                 2 + axes, dims));
}

static bool set_window(const cuda_dnn *d, cuda_dnn_conv *v, const dn_args_conv *c)
{
    int axes = axes_of(c), pad[DN_MAX_SPATIAL], stride[DN_MAX_SPATIAL], apart[DN_MAX_SPATIAL];
    for (int i = 0; i < axes; i++) {
        int from = i - (axes - c->spatial);
        pad[i] = from >= 0 ? (int)c->pad[from] : 0;
        stride[i] = from >= 0 ? (int)c->stride[from] : 1;
        apart[i] = from >= 0 ? (int)c->dilation[from] : 1;
    }
    return fine(v, d->cudnnSetConvolutionNdDescriptor(v->conv, axes, pad, stride, apart,
                                                      CUDNN_CROSS_CORRELATION,
                                                      CUDNN_DATA_FLOAT)) &&
           fine(v, d->cudnnSetConvolutionGroupCount(v->conv, (int)c->group));
}

/* Bias, and ReLU after it, are what cuDNN can add by itself. */
static bool set_epilogue(const cuda_dnn *d, const dn_op *op, cuda_dnn_conv *v, int64_t K)
{
    const dn_args_conv *c = &op->args.conv;
    int dims[2 + DN_MAX_SPATIAL] = {1, (int)K}, strides[2 + DN_MAX_SPATIAL] = {(int)K, 1};
    int axes = axes_of(c);
    bool relu = c->activation == DN_FN_RELU && c->activation_a == 0;
    v->fuses = v->which == CUDA_DNN_FORWARD && cuda_has_in(op, 2) &&
               (relu || c->activation == DN_FN_NONE) && !(v->rest && cuda_adds(op, 0));
    for (int i = 0; i < axes; i++)
        dims[2 + i] = strides[2 + i] = 1;
    if (v->fuses && v->wants.narrow_w) {
        v->wants.bias_at = v->wants.packed;
        v->wants.packed += rounded(K, true);
    }
    return !v->fuses ||
           (fine(v, d->cudnnCreateTensorDescriptor(&v->bias)) &&
            fine(v, d->cudnnCreateActivationDescriptor(&v->activation)) &&
            fine(v, d->cudnnSetTensorNdDescriptor(v->bias, type_of(v->wants.narrow_w), 2 + axes,
                                                  dims, strides)) &&
            fine(v, d->cudnnSetActivationDescriptor(
                        v->activation,
                        relu ? CUDNN_ACTIVATION_RELU : CUDNN_ACTIVATION_IDENTITY,
                        relu ? CUDNN_PROPAGATE_NAN : CUDNN_NOT_PROPAGATE_NAN, 0)));
}

static bool describe_rest(const cuda_dnn *d, cuda_dnn_conv *v, const dn_args_conv *c,
                          const cuda_operand *x, const cuda_operand *y)
{
    return fine(v, d->cudnnCreateTensorDescriptor(&v->rest_x)) &&
           fine(v, d->cudnnCreateTensorDescriptor(&v->rest_y)) &&
           fine(v, set_image(d, v->rest_x, x, v->rest, c, v->wants.narrow)) &&
           fine(v, set_image(d, v->rest_y, y, v->rest, c, v->wants.narrow));
}

static bool describe(const cuda_dnn *d, const dn_op *op, cuda_dnn_conv *v,
                     const cuda_operand *x, const cuda_operand *y)
{
    const dn_args_conv *c = &op->args.conv;
    int64_t C = x->info.shape.dim[1], K = y->info.shape.dim[1];
    return fine(v, d->cudnnCreateTensorDescriptor(&v->x)) &&
           fine(v, d->cudnnCreateTensorDescriptor(&v->y)) &&
           fine(v, d->cudnnCreateFilterDescriptor(&v->w)) &&
           fine(v, d->cudnnCreateConvolutionDescriptor(&v->conv)) &&
           fine(v, set_image(d, v->x, x, v->images, c, v->wants.narrow)) &&
           fine(v, set_image(d, v->y, y, v->images, c, v->wants.narrow)) &&
           (!v->rest || describe_rest(d, v, c, x, y)) &&
           set_weights(d, v, c, K, C / c->group, x->info.layout == DN_LAYOUT_NHWC) &&
           set_window(d, v, c) && set_epilogue(d, op, v, K);
}

/* ---- which algorithm --------------------------------------------------------------------- */

static cudnnStatus_t by_heuristics(const cuda_dnn *d, const cuda_dnn_conv *v, result *r, int *n)
{
    if (v->which == CUDA_DNN_FORWARD)
        return d->cudnnGetConvolutionForwardAlgorithm_v7(d->handle, v->x, v->w, v->conv, v->y,
                                                         CANDIDATES, n, r);
    if (v->which == CUDA_DNN_DATA)
        return d->cudnnGetConvolutionBackwardDataAlgorithm_v7(
            d->handle, v->w, v->y, v->conv, v->x, CANDIDATES, n,
            (cudnnConvolutionBwdDataAlgoPerf_t *)r);
    return d->cudnnGetConvolutionBackwardFilterAlgorithm_v7(
        d->handle, v->x, v->y, v->conv, v->w, CANDIDATES, n,
        (cudnnConvolutionBwdFilterAlgoPerf_t *)r);
}

static cudnnStatus_t by_trial(const cuda_dnn *d, const cuda_dnn_conv *v, char *x, char *y,
                              char *w, char *space, size_t bytes, result *r, int *n)
{
    if (v->which == CUDA_DNN_FORWARD)
        return d->cudnnFindConvolutionForwardAlgorithmEx(
            d->handle, v->x, x, v->w, w, v->conv, v->y, y, CANDIDATES, n, r, space, bytes);
    if (v->which == CUDA_DNN_DATA)
        return d->cudnnFindConvolutionBackwardDataAlgorithmEx(
            d->handle, v->w, w, v->y, y, v->conv, v->x, x, CANDIDATES, n,
            (cudnnConvolutionBwdDataAlgoPerf_t *)r, space, bytes);
    return d->cudnnFindConvolutionBackwardFilterAlgorithmEx(
        d->handle, v->x, x, v->y, y, v->conv, v->w, w, CANDIDATES, n,
        (cudnnConvolutionBwdFilterAlgoPerf_t *)r, space, bytes);
}

/* With memory for the operands, and for the largest workspace that fits beside them. */
static bool try_all(dn_backend *backend, const cuda_dnn_conv *v, const int64_t count[3],
                    result *r, int *n)
{
    size_t x = rounded(count[0], false), y = rounded(count[1], false);
    size_t w = rounded(count[2], false);
    size_t space = MOST_TUNED;
    char *memory = NULL;
    while (cudaMalloc((void **)&memory, x + y + w + space) != cudaSuccess) {
        cudaGetLastError();
        if (space < MOST_WORKSPACE)
            return false;
        space /= 2;
    }
    bool done = cudaMemsetAsync(memory, 0, x + y + w, backend->stream) == cudaSuccess &&
                by_trial(backend->device->dnn, v, memory, memory + x, memory + x + y,
                         memory + x + y + w, space, r, n) == CUDNN_STATUS_SUCCESS;
    cudaStreamSynchronize(backend->stream);
    cudaFree(memory);
    cudaGetLastError();
    return done && *n > 0;
}

static cudnnStatus_t workspace_of(const cuda_dnn *d, const cuda_dnn_conv *v, size_t *bytes)
{
    if (v->which == CUDA_DNN_FORWARD)
        return d->cudnnGetConvolutionForwardWorkspaceSize(
            d->handle, v->x, v->w, v->conv, v->y, (cudnnConvolutionFwdAlgo_t)v->algorithm,
            bytes);
    if (v->which == CUDA_DNN_DATA)
        return d->cudnnGetConvolutionBackwardDataWorkspaceSize(
            d->handle, v->w, v->y, v->conv, v->x, (cudnnConvolutionBwdDataAlgo_t)v->algorithm,
            bytes);
    return d->cudnnGetConvolutionBackwardFilterWorkspaceSize(
        d->handle, v->x, v->y, v->conv, v->w, (cudnnConvolutionBwdFilterAlgo_t)v->algorithm,
        bytes);
}

/* From the other pieces to the rest, and back. */
static void swap_rest(cuda_dnn_conv *v)
{
    cudnnTensorDescriptor_t x = v->x, y = v->y;
    v->x = v->rest_x;
    v->y = v->rest_y;
    v->rest_x = x;
    v->rest_y = y;
}

/* Choice v->at, if it needs no more than `most`, of the rest either. */
static bool take_up(dn_op *op, size_t most, size_t *bytes)
{
    const cuda_dnn *d = op->backend->device->dnn;
    cuda_dnn_conv *v = op->dnn;
    const choice *c = &v->choices[v->at];
    v->algorithm = c->algorithm;
    op->unordered = c->unordered;
    size_t rest = 0;
    bool fits = fine(v, d->cudnnSetConvolutionMathType(v->conv, c->math)) &&
                fine(v, workspace_of(d, v, bytes));
    if (fits && v->rest) {
        swap_rest(v);
        fits = fine(v, workspace_of(d, v, &rest));
        swap_rest(v);
    }
    *bytes = rest > *bytes ? rest : *bytes;
    return fits && *bytes <= most;
}

/* f32 means f32; whatever rounds operands to less than asked for is out in any case. A result
 * of no tensor cores may say that it is of the default, which for f32 is set no more. */
static bool math_fits(cudnnMathType_t math, int32_t compute)
{
    return compute == DN_COMPUTE_F32 ? math == CUDNN_FMA_MATH || math == CUDNN_DEFAULT_MATH
                                     : math != CUDNN_TENSOR_OP_MATH_ALLOW_CONVERSION;
}

/* Of the results, which come best first, the one that fits, and what may stand in for it: in
 * no more memory. */
static bool pick(dn_op *op, int32_t compute, const result *r, int n, size_t most)
{
    cuda_dnn_conv *v = op->dnn;
    for (int i = v->num = 0; i < n; i++) {
        bool unordered = r[i].determinism != CUDNN_DETERMINISTIC;
        cudnnMathType_t math = compute == DN_COMPUTE_F32 ? CUDNN_FMA_MATH : r[i].mathType;
        size_t bytes = 0;
        if (r[i].status != CUDNN_STATUS_SUCCESS || !math_fits(r[i].mathType, compute) ||
            (unordered && !op->backend->host.allow_nondeterministic) ||
            (unordered && v->num > 0 && !v->choices[0].unordered)) /* described as ordered */
            continue;
        v->at = v->num;
        v->choices[v->at] = (choice){(int32_t)r[i].algo, math, unordered};
        if (!take_up(op, most, &bytes)) {
            if (is_failure(v->status))
                return false;
            continue;
        }
        if (v->num++ == 0)
            v->workspace = most = bytes;
    }
    v->at = 0;
    return fine(v, v->num > 0 ? CUDNN_STATUS_SUCCESS : CUDNN_STATUS_NOT_SUPPORTED) &&
           take_up(op, most, &most);
}

static trial_key key_of(const dn_op *op, int32_t compute, const cuda_operand *x,
                        const cuda_operand *y)
{
    const dn_args_conv *c = &op->args.conv;
    const cuda_dnn_conv *v = op->dnn;
    trial_key k;
    memset(&k, 0, sizeof(k)); /* padding, too */
    for (int32_t i = 0; i < 2 + c->spatial; i++) {
        k.x[i] = x->info.shape.dim[i];
        k.y[i] = y->info.shape.dim[i];
    }
    k.x[0] = k.y[0] = v->images;
    for (int32_t i = 0; i < c->spatial; i++) {
        k.kernel[i] = c->kernel[i];
        k.stride[i] = c->stride[i];
        k.pad[i] = c->pad[i];
        k.dilation[i] = c->dilation[i];
    }
    k.group = c->group;
    k.which = v->which;
    k.compute = compute;
    k.layout = x->info.layout;
    k.spatial = c->spatial;
    k.narrow = v->wants.narrow;
    k.narrow_w = v->wants.narrow_w;
    return k;
}

/* The trial of a convolution, made when it is first asked for; NULL: no memory for it, which
 * there may be later. Of too many the oldest goes: the last. */
static const trial *trial_of(const dn_op *op, const trial_key *key, const int64_t count[3])
{
    dn_backend *backend = op->backend;
    cuda_dnn *d = backend->device->dnn;
    trial **last = &d->trials;
    int32_t num = 0;
    for (trial **at = last; *at; last = at, at = &(*at)->next, num++)
        if (memcmp(&(*at)->key, key, sizeof(*key)) == 0)
            return *at;
    trial *t = backend->host.alloc(backend->host.user, sizeof(*t));
    if (!t)
        return NULL;
    *t = (trial){.key = *key};
    if (!try_all(backend, op->dnn, count, t->results, &t->num)) {
        backend->host.free(backend->host.user, t);
        return NULL;
    }
    if (num >= MOST_TRIALS) {
        backend->host.free(backend->host.user, *last);
        *last = NULL;
    }
    t->next = d->trials;
    d->trials = t;
    return t;
}

static bool choose(dn_op *op, int32_t compute, const cuda_operand *x, const cuda_operand *y,
                   const int64_t count[3])
{
    dn_backend *backend = op->backend;
    const cuda_dnn *d = backend->device->dnn;
    cuda_dnn_conv *v = op->dnn;
    result r[CANDIDATES];
    int n = 0;
    cudnnMathType_t math = compute == DN_COMPUTE_F32    ? CUDNN_FMA_MATH
                           : compute == DN_COMPUTE_BF16 ? CUDNN_TENSOR_OP_MATH
                                                        : CUDNN_DEFAULT_MATH;
    if (!fine(v, d->cudnnSetConvolutionMathType(v->conv, math)))
        return false;
    trial_key key = key_of(op, compute, x, y);
    const trial *t = backend->host.tune ? trial_of(op, &key, count) : NULL;
    if (t && pick(op, compute, t->results, t->num, MOST_TUNED)) {
        for (int i = 0; i < t->num && v->measured == 0; i++)
            if ((int32_t)t->results[i].algo == v->algorithm && t->results[i].time > 0)
                v->measured = 1e6 * (double)t->results[i].time *
                              (double)x->info.shape.dim[0] / (double)v->images;
        return true;
    }
    return fine(v, d->cudnnSetConvolutionMathType(v->conv, math)) &&
           fine(v, by_heuristics(d, v, r, &n)) && pick(op, compute, r, n, MOST_WORKSPACE);
}

/* ---- taking and running ------------------------------------------------------------------ */

/* Of both operands so many that their elements can be counted, each piece as aligned as the
 * whole: the largest part of the batch that leaves no rest, if it is large, or any with a rest.
 * 0: there is none that is worth it. */
static int64_t images_at_a_time(const cuda_operand *x, const cuda_operand *y)
{
    int64_t N = x->info.shape.dim[0];
    if (x->count <= 0 || y->count <= 0)
        return 0;
    int64_t in = x->count / N, out = y->count / N;
    int64_t most = CUDA_DNN_MOST / (in > out ? in : out), n = N < most ? N : most;
    while (n > 0 && n < N && (N % n != 0 || n * in % 8 != 0 || n * out % 8 != 0))
        n--;
    if (n == N || n > most / 2)
        return n;
    for (n = most; n > 0 && (n * in % 8 != 0 || n * out % 8 != 0);)
        n--;
    return n >= most / 4 ? n : 0;
}

static void cut(cuda_dnn_conv *v, const cuda_operand *x, const cuda_operand *y, int64_t images)
{
    int64_t N = x->info.shape.dim[0];
    v->images = images;
    v->pieces = N / images;
    v->rest = N % images;
    size_t element = v->wants.narrow ? 2 : 4;
    size_t in = (size_t)(x->count / N * images) * element;
    size_t out = (size_t)(y->count / N * images) * element;
    v->step[0] = v->which == CUDA_DNN_DATA ? out : in;
    v->step[1] = v->which == CUDA_DNN_WEIGHTS ? out : 0;
    v->step[2] = v->which == CUDA_DNN_FORWARD ? out : v->which == CUDA_DNN_DATA ? in : 0;
}

/* Alone, the bias is taken by one algorithm only. */
static bool takes_bias(const dn_op *op)
{
    return op->args.conv.activation != DN_FN_NONE ||
           op->dnn->algorithm == (int32_t)CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM;
}

/* Products of bf16 numbers where the result is bf16, and for dw where cuDNN can have it in f32;
 * else images are widened. */
static dn_status take_in(dn_op *op, int32_t which, const cuda_operand *x, const cuda_operand *y,
                         bool narrow, const int64_t count[3])
{
    dn_backend *backend = op->backend;
    bool weights = which == CUDA_DNN_WEIGHTS;
    const cuda_operand *image[2] = {weights || which == CUDA_DNN_FORWARD ? x : y, y};
    int32_t compute = narrow                          ? DN_COMPUTE_BF16
                      : op->compute == DN_COMPUTE_F32 ? DN_COMPUTE_F32
                                                      : DN_COMPUTE_TF32;
    cuda_dnn_conv *v = backend->host.alloc(backend->host.user, sizeof(*v));
    if (!v)
        return backend->host.fail(DN_E_NOMEM, "cuda: no memory for a convolution");
    memset(v, 0, sizeof(*v));
    v->which = which;
    v->wants.narrow = narrow;
    v->wants.narrow_w = narrow && !weights;
    cut(v, x, y, images_at_a_time(x, y));
    op->dnn = v;
    op->absent = NULL;
    if (!describe(backend->device->dnn, op, v, x, y) || !choose(op, compute, x, y, count)) {
        cudnnStatus_t refusal = v->status;
        if (is_out_of_memory(refusal) && cuda_side_close(backend)) {
            cuda_dnn_drop(op);
            cudaGetLastError();
            return take_in(op, which, x, y, narrow, count);
        }
        dn_status status = is_failure(refusal)
                               ? dnn_fail(backend, refusal, "planning a convolution")
                               : DN_OK;
        op->absent = reason_of(backend->device->dnn, refusal);
        cuda_dnn_drop(op);
        cudaGetLastError();
        return status;
    }
    if (!takes_bias(op))
        v->fuses = false, v->wants.bias_at = 0;
    for (int i = 0; i < (weights ? 2 : 1); i++)
        if ((image[i]->info.dtype == DN_BF16) != narrow)
            v->wants.staged[i] = rounded(image[i]->count, narrow);
    uint32_t packs = v->wants.bias_at ? 6 : 2;
    if (!weights && (op->constant & packs) == packs)
        op->keep = v->wants.packed;
    op->compute = compute;
    size_t scratch = (op->keep ? 0 : v->wants.packed) + v->wants.staged[0] +
                     v->wants.staged[1] + v->workspace;
    op->scratch = scratch > op->scratch ? scratch : op->scratch;
    return DN_OK;
}

static dn_status take(dn_op *op, int32_t which, const cuda_operand *x, const cuda_operand *y)
{
    dn_backend *backend = op->backend;
    const dn_args_conv *c = &op->args.conv;
    int64_t taps = 1, images = images_at_a_time(x, y), count[3];
    for (int32_t i = 0; i < c->spatial; i++)
        taps *= c->kernel[i];
    if (!images)
        return DN_OK;
    count[0] = x->count / x->info.shape.dim[0] * images;
    count[1] = y->count / x->info.shape.dim[0] * images;
    count[2] = x->info.shape.dim[1] / c->group * y->info.shape.dim[1] * taps;
    if (c->spatial > 3 || count[2] > INT32_MAX || x->info.layout != y->info.layout)
        return DN_OK;
    dn_status status = start(backend, &op->absent);
    if (status != DN_OK || op->absent)
        return status;
    bool x_narrow = x->info.dtype == DN_BF16, y_narrow = y->info.dtype == DN_BF16;
    bool narrow = which == CUDA_DNN_FORWARD ? y_narrow
                  : which == CUDA_DNN_DATA  ? x_narrow
                                            : x_narrow && y_narrow;
    status = take_in(op, which, x, y, narrow, count);
    if (status == DN_OK && !op->dnn && narrow && which == CUDA_DNN_WEIGHTS)
        status = take_in(op, which, x, y, false, count);
    return status;
}

dn_status cuda_dnn_take(dn_op *op, int32_t which, const cuda_operand *x, const cuda_operand *y)
{
    cuda_visit visit;
    if (!op->backend->device->dnn)
        return DN_OK;
    dn_status status = cuda_enter(op->backend, &visit);
    if (status == DN_OK)
        status = take(op, which, x, y);
    cuda_leave(&visit);
    return status;
}

void cuda_dnn_drop(dn_op *op)
{
    const dn_backend_host *host = &op->backend->host;
    cuda_dnn_conv *v = op->dnn;
    const cuda_dnn *d = v ? op->backend->device->dnn : NULL;
    if (!v)
        return;
    if (v->x)
        d->cudnnDestroyTensorDescriptor(v->x);
    if (v->y)
        d->cudnnDestroyTensorDescriptor(v->y);
    if (v->rest_x)
        d->cudnnDestroyTensorDescriptor(v->rest_x);
    if (v->rest_y)
        d->cudnnDestroyTensorDescriptor(v->rest_y);
    if (v->bias)
        d->cudnnDestroyTensorDescriptor(v->bias);
    if (v->w)
        d->cudnnDestroyFilterDescriptor(v->w);
    if (v->conv)
        d->cudnnDestroyConvolutionDescriptor(v->conv);
    if (v->activation)
        d->cudnnDestroyActivationDescriptor(v->activation);
    host->free(host->user, v);
    op->dnn = NULL;
    op->unordered = false;
}

double cuda_dnn_measured(const dn_op *op)
{
    return op->dnn ? op->dnn->measured : 0;
}

const cuda_dnn_wants *cuda_dnn_wants_of(const dn_op *op)
{
    return &op->dnn->wants;
}

/* An algorithm that cannot: another one may. Memory that is not there, cuDNN's own errors and
 * CUDA's are no such thing. */
static bool is_refusal(cudnnStatus_t status)
{
    int category = CUDNN_STATUS_CATEGORY((int)status);
    if (is_of_cuda(status))
        return false;
    return category == CUDNN_STATUS_NOT_SUPPORTED || category == CUDNN_STATUS_BAD_PARAM ||
           category == CUDNN_STATUS_EXECUTION_FAILED;
}

static cudnnStatus_t run(const cuda_dnn *d, const cuda_dnn_conv *v, const float *alpha,
                         const void *a, const void *b, void *out, const float *beta,
                         const void *bias, void *space)
{
    if (v->fuses)
        return d->cudnnConvolutionBiasActivationForward(
            d->handle, alpha, v->x, a, v->w, b, v->conv,
            (cudnnConvolutionFwdAlgo_t)v->algorithm, space, v->workspace, beta, v->y, out,
            v->bias, bias, v->activation, v->y, out);
    if (v->which == CUDA_DNN_FORWARD)
        return d->cudnnConvolutionForward(d->handle, alpha, v->x, a, v->w, b, v->conv,
                                          (cudnnConvolutionFwdAlgo_t)v->algorithm, space,
                                          v->workspace, beta, v->y, out);
    if (v->which == CUDA_DNN_DATA)
        return d->cudnnConvolutionBackwardData(d->handle, alpha, v->w, b, v->y, a, v->conv,
                                               (cudnnConvolutionBwdDataAlgo_t)v->algorithm,
                                               space, v->workspace, beta, v->x, out);
    return d->cudnnConvolutionBackwardFilter(d->handle, alpha, v->x, a, v->y, b, v->conv,
                                             (cudnnConvolutionBwdFilterAlgo_t)v->algorithm,
                                             space, v->workspace, beta, v->w, out);
}

/* The next choice, after one that was refused, if only with its bias; false: there is none, or
 * it failed by status. */
static bool go_on(dn_op *op, cudnnStatus_t refusal)
{
    cuda_dnn_conv *v = op->dnn;
    size_t bytes;
    v->status = refusal;
    if (v->fuses) {
        v->fuses = false;
        return true;
    }
    while (!is_failure(v->status) && ++v->at < v->num)
        if (take_up(op, v->workspace, &bytes)) {
            v->fuses = v->bias && takes_bias(op) && (v->wants.bias_at || !v->wants.narrow_w);
            return true;
        }
    return false;
}

bool cuda_dnn_refused(const dn_op *op)
{
    return op->dnn->at >= op->dnn->num;
}

typedef struct batch {
    const char *a, *b, *bias;
    char *out;
    bool add;
    void *space;
} batch;

/* Piece i. Without `done`: for what becomes of it alone, with no trace that is not overwritten;
 * where it adds, 0 times a sum, which only an infinite one shows. */
static cudnnStatus_t run_piece(const dn_op *op, const batch *all, int64_t i, bool done)
{
    cuda_dnn_conv *v = op->dnn;
    bool adds = all->add || (done && i > 0 && v->which == CUDA_DNN_WEIGHTS);
    const float alpha = done || !all->add ? 1 : 0, beta = adds ? 1 : 0;
    if (i == v->pieces)
        swap_rest(v);
    cudnnStatus_t status =
        run(op->backend->device->dnn, v, &alpha, all->a + (size_t)i * v->step[0],
            all->b + (size_t)i * v->step[1], all->out + (size_t)i * v->step[2], &beta,
            all->bias, all->space);
    if (i == v->pieces)
        swap_rest(v);
    if (status != CUDNN_STATUS_SUCCESS)
        cudaGetLastError();
    return status;
}

/* The first piece, by the first choice that does the rest as well: of the two sizes either may
 * be refused, which is known before anything is added up. */
static dn_status run_first(const dn_op *op, const batch *all)
{
    cuda_dnn_conv *v = op->dnn;
    for (;;) {
        cudnnStatus_t status = CUDNN_STATUS_SUCCESS;
        if (v->rest && !v->ran)
            status = run_piece(op, all, v->pieces, false);
        if (status == CUDNN_STATUS_SUCCESS)
            status = run_piece(op, all, 0, true);
        if (status == CUDNN_STATUS_SUCCESS)
            break;
        if (v->ran || !is_refusal(status))
            return dnn_fail(op->backend, status, "a convolution");
        if (go_on((dn_op *)op, status))
            continue;
        if (is_failure(v->status))
            return dnn_fail(op->backend, v->status, "a convolution");
        ((dn_op *)op)->absent = reason_of(op->backend->device->dnn, status);
        return DN_DECLINED;
    }
    v->ran = true;
    return DN_OK;
}

dn_status cuda_dnn_run(const dn_op *op, const void *a, const void *b, void *out, bool add,
                       const void *bias, void *space, bool *finished)
{
    const cuda_dnn_conv *v = op->dnn;
    const batch all = {a, b, bias, out, add, space};
    dn_status status = run_first(op, &all);
    for (int64_t i = 1; i < v->pieces + (v->rest > 0) && status == DN_OK; i++) {
        cudnnStatus_t done = run_piece(op, &all, i, true);
        if (done != CUDNN_STATUS_SUCCESS)
            status = dnn_fail(op->backend, done, "a convolution");
    }
    *finished = v->fuses;
    return status;
}
