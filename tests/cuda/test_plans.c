/* SPDX-License-Identifier: BSD-2-Clause
 * test_plans.c: whether cuDNN has a plan for what dnn.c asks of it: the module asks the fake
 * one, which tells in which types, layouts and strides; the real one, which takes a description
 * of a device for the device itself, is asked the same. The benchmark nets' convolutions, and
 * others, on an H100. The descriptors themselves are the real one's to refuse, too.
 * test_plans MODULE CUBLAS CUDNN, the fakes, and CUBLASLT CUDNN, the real ones. */
#include <cudnn.h>
#include <dlfcn.h>
#include <stdbool.h>

#include "../kernels/harness.h"
#include "check.h"
#include "fake_dnn.h"

enum { SKIPPED = 77, MOST_DESCRIPTORS = 128, MOST_CONFIGS = 16 };

#if CUDNN_VERSION < 90800
int main(void)
{
    fprintf(stderr, "skipped: cuDNN before 9.8 plans on a device alone\n");
    return SKIPPED;
}
#else
#define MOST_WORKSPACE ((int64_t)256 << 20) /* as dnn.c has it */

/* NVIDIA's figures; the names are those that cuDNN 9.8 and newer read and write. */
static const char device_text[] =
    "{\"deviceName\":\"NVIDIA H100\",\"deviceVer\":900,\"driverVer\":13000,\"cudaDeviceId\":0,"
    "\"maxGridSize\":[2147483647,65535,65535],\"maxBlockSize\":[1024,1024,64],"
    "\"regsPerBlock\":65536,\"multiProcessorCount\":132,\"warpSize\":32,"
    "\"maxSharedMemoryPerBlock\":49152,\"maxSharedMemoryPerBlockOptin\":232448,"
    "\"reservedSharedMemoryPerBlock\":1024,\"maxRegistersPerSM\":65536,\"maxCtasPerSM\":32,"
    "\"maxThreadsPerBlock\":1024,\"maxThreadsPerSM\":2048,\"pciDeviceId\":0,"
    "\"isTccDriver\":0,\"supportCoopLaunch\":1,\"totalGlobalMem\":85899345920,"
    "\"smClockRateKHz\":1980000,\"memClockRateKHz\":2619000,\"l2CacheSize\":52428800}";

typedef cudnnBackendDescriptor_t descriptor;

static descriptor made[MOST_DESCRIPTORS], device;
static int num_made;
static cudnnStatus_t failed; /* the first since it was cleared */

static bool note(cudnnStatus_t status)
{
    if (failed == CUDNN_STATUS_SUCCESS)
        failed = status;
    return status == CUDNN_STATUS_SUCCESS;
}

static descriptor make(cudnnBackendDescriptorType_t type)
{
    descriptor d = NULL;
    if (num_made < MOST_DESCRIPTORS && note(cudnnBackendCreateDescriptor(type, &d)))
        made[num_made++] = d;
    return d;
}

static void drop_to(int num)
{
    while (num_made > num)
        cudnnBackendDestroyDescriptor(made[--num_made]);
}

static void set(descriptor d, cudnnBackendAttributeName_t name,
                cudnnBackendAttributeType_t type, int64_t count, const void *values)
{
    note(cudnnBackendSetAttribute(d, name, type, count, values));
}

static void set_one(descriptor d, cudnnBackendAttributeName_t name, descriptor value)
{
    set(d, name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &value);
}

/* ---- what dnn.c asks --------------------------------------------------------------------- */

enum { F32 = DN_COMPUTE_F32, TF32 = DN_COMPUTE_TF32, BF16 = DN_COMPUTE_BF16 };

typedef struct conv {
    const char *name;
    int64_t N, C, size, K, kernel, stride, pad, group;
    int axes, dilation; /* 0: two, none */
} conv;

typedef struct form {
    int32_t which, compute;
    bool last;
} form;

static const dn_backend_ops *ops;
static dn_backend *backend;
static fake_dnn_question asked; /* the first of an op: what it is refused it asks otherwise */
static int num_asked;

static void note_asked(const fake_dnn_question *question)
{
    if (num_asked++ == 0)
        asked = *question;
}

static int axes_of(const conv *c)
{
    return c->axes ? c->axes : 2;
}

static int64_t dilation_of(const conv *c)
{
    return c->dilation ? c->dilation : 1;
}

static dn_shape shape_of(const conv *c, int64_t N, int64_t C, int64_t size)
{
    dn_shape shape = {2 + axes_of(c), 0, {N, C}};
    for (int i = 0; i < axes_of(c); i++)
        shape.dim[2 + i] = size;
    return shape;
}

static dn_operand operand_of(const conv *c, const form *f, int64_t C, int64_t size)
{
    return (dn_operand){f->compute == BF16 ? DN_BF16 : DN_F32,
                        f->last ? DN_LAYOUT_NHWC : DN_LAYOUT_PLAIN,
                        shape_of(c, c->N, C, size)};
}

static int64_t out_of(const conv *c)
{
    return (c->size + 2 * c->pad - dilation_of(c) * (c->kernel - 1) - 1) / c->stride + 1;
}

/* Makes the op; false: it asks cuDNN nothing. */
static bool ask(const conv *c, const form *f)
{
    static const int32_t kinds[] = {DN_OP_CONV, DN_OP_CONV_BWD_DATA, DN_OP_CONV_BWD_WEIGHTS};
    dn_operand x = operand_of(c, f, c->C, c->size), y = operand_of(c, f, c->K, out_of(c));
    dn_operand w = {DN_F32, 0, shape_of(c, c->K, c->C / c->group, c->kernel)};
    dn_operand in[3][2] = {{x, w}, {y, w}, {x, y}}, out[] = {y, x, w};
    dn_args_conv args = {.base.struct_size = sizeof args, .spatial = axes_of(c),
                         .group = (int)c->group};
    dn_op_desc desc = {sizeof desc,  kinds[f->which], 2,     1, 0,
                       in[f->which], &out[f->which],  &args, 0, f->compute};
    dn_op_info info = {.struct_size = sizeof info};
    dn_op *op = NULL;
    for (int i = 0; i < axes_of(c); i++) {
        args.kernel[i] = c->kernel;
        args.stride[i] = c->stride;
        args.pad[i] = c->pad;
        args.dilation[i] = dilation_of(c);
    }
    num_asked = 0;
    CHECK_AT(ops->op_create(backend, &desc, &op, &info) == DN_OK, "%s: %s%s", c->name,
             host_message(), info.reason);
    if (op)
        ops->op_destroy(op);
    return num_asked > 0;
}

/* An image of one axis is a row: the first of two is 1. */
static bool is_along(const conv *c, const int *given, int64_t wanted, int64_t of_row)
{
    bool same = c->axes != 1 || *given++ == of_row;
    for (int i = 0; i < axes_of(c); i++)
        same = same && given[i] == wanted;
    return same;
}

static bool is_image(const struct cudnnTensorStruct *t, const conv *c, const form *f, int64_t C,
                     int64_t size)
{
    int64_t at = f->last ? C : 1;
    bool same = t->axes == (c->axes == 1 ? 4 : 2 + axes_of(c)) &&
                t->type == (f->compute == BF16 ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_FLOAT) &&
                t->dim[0] == c->N && t->dim[1] == C && is_along(c, t->dim + 2, size, 1);
    for (int i = t->axes - 1; same && i >= 2; i--) {
        same = t->stride[i] == at;
        at *= t->dim[i];
    }
    return same && t->stride[1] == (f->last ? 1 : at) &&
           t->stride[0] == (f->last ? at : at * C);
}

/* Whether that is what it was to ask: plans there are of other things, too. */
static void check_asked(const conv *c, const form *f)
{
    static const cudnnMathType_t math[] = {
        [F32] = CUDNN_FMA_MATH, [TF32] = CUDNN_DEFAULT_MATH, [BF16] = CUDNN_TENSOR_OP_MATH};
    const struct cudnnFilterStruct *w = &asked.w;
    const struct cudnnConvolutionStruct *v = &asked.conv;
    bool narrow = f->compute == BF16 && f->which != FAKE_DNN_WEIGHTS;
    CHECK_INT(asked.which, f->which);
    CHECK(is_image(&asked.x, c, f, c->C, c->size));
    CHECK(is_image(&asked.y, c, f, c->K, out_of(c)));
    CHECK(w->axes == asked.x.axes && w->dim[0] == c->K && w->dim[1] == c->C / c->group);
    CHECK(is_along(c, w->dim + 2, c->kernel, 1) && w->last == f->last);
    CHECK(w->type == (narrow ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_FLOAT));
    CHECK(v->axes == w->axes - 2 && v->group == c->group && v->math == math[f->compute]);
    CHECK(is_along(c, v->stride, c->stride, 1) && is_along(c, v->pad, c->pad, 0));
    CHECK(is_along(c, v->dilation, dilation_of(c), 1));
}

/* ---- the same as a graph ----------------------------------------------------------------- */

static void widen(int64_t to[], const int from[], int num)
{
    for (int i = 0; i < num; i++)
        to[i] = from[i];
}

static descriptor tensor_of(int64_t id, const struct cudnnTensorStruct *t)
{
    descriptor d = make(CUDNN_BACKEND_TENSOR_DESCRIPTOR);
    int64_t dims[AXES], strides[AXES], aligned = 16;
    widen(dims, t->dim, t->axes);
    widen(strides, t->stride, t->axes);
    set(d, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, 1, &id);
    set(d, CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &t->type);
    set(d, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, 1, &aligned);
    set(d, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, t->axes, dims);
    set(d, CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, t->axes, strides);
    note(cudnnBackendFinalize(d));
    return d;
}

static descriptor weights_of(const struct cudnnFilterStruct *w)
{
    struct cudnnTensorStruct t = {.type = w->type, .axes = w->axes};
    int at = w->last ? w->dim[1] : 1;
    for (int i = w->axes - 1; i >= 0; i--) {
        t.dim[i] = w->dim[i];
        t.stride[i] = i == 1 && w->last ? 1 : at;
        at *= i == 1 && w->last ? 1 : w->dim[i];
    }
    return tensor_of('w', &t);
}

static descriptor window_of(const struct cudnnConvolutionStruct *c)
{
    descriptor d = make(CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
    int64_t axes = c->axes, pad[AXES], stride[AXES], apart[AXES];
    cudnnDataType_t sums = CUDNN_DATA_FLOAT;
    cudnnConvolutionMode_t mode = CUDNN_CROSS_CORRELATION;
    widen(pad, c->pad, c->axes);
    widen(stride, c->stride, c->axes);
    widen(apart, c->dilation, c->axes);
    set(d, CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, CUDNN_TYPE_INT64, 1, &axes);
    set(d, CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &sums);
    set(d, CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, 1, &mode);
    set(d, CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, CUDNN_TYPE_INT64, axes, pad);
    set(d, CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, CUDNN_TYPE_INT64, axes, pad);
    set(d, CUDNN_ATTR_CONVOLUTION_DILATIONS, CUDNN_TYPE_INT64, axes, apart);
    set(d, CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, CUDNN_TYPE_INT64, axes, stride);
    note(cudnnBackendFinalize(d));
    return d;
}

static descriptor graph_of(const fake_dnn_question *q)
{
    static const struct {
        cudnnBackendDescriptorType_t type;
        cudnnBackendAttributeName_t x, y, w, window, alpha, beta;
    } kinds[] = {
#define KIND(operation, attribute, x, y, w)                                                    \
    {                                                                                          \
        CUDNN_BACKEND_OPERATION_CONVOLUTION_##operation##_DESCRIPTOR,                          \
            CUDNN_ATTR_OPERATION_CONVOLUTION_##attribute##_##x,                                \
            CUDNN_ATTR_OPERATION_CONVOLUTION_##attribute##_##y,                                \
            CUDNN_ATTR_OPERATION_CONVOLUTION_##attribute##_##w,                                \
            CUDNN_ATTR_OPERATION_CONVOLUTION_##attribute##_CONV_DESC,                          \
            CUDNN_ATTR_OPERATION_CONVOLUTION_##attribute##_ALPHA,                              \
            CUDNN_ATTR_OPERATION_CONVOLUTION_##attribute##_BETA                                \
    }
        [FAKE_DNN_FORWARD] = KIND(FORWARD, FORWARD, X, Y, W),
        [FAKE_DNN_DATA] = KIND(BACKWARD_DATA, BWD_DATA, DX, DY, W),
        [FAKE_DNN_WEIGHTS] = KIND(BACKWARD_FILTER, BWD_FILTER, X, DY, DW),
#undef KIND
    };
    float one = 1, zero = 0;
    descriptor op = make(kinds[q->which].type);
    set_one(op, kinds[q->which].x, tensor_of('x', &q->x));
    set_one(op, kinds[q->which].y, tensor_of('y', &q->y));
    set_one(op, kinds[q->which].w, weights_of(&q->w));
    set_one(op, kinds[q->which].window, window_of(&q->conv));
    set(op, kinds[q->which].alpha, CUDNN_TYPE_FLOAT, 1, &one);
    set(op, kinds[q->which].beta, CUDNN_TYPE_FLOAT, 1, &zero);
    note(cudnnBackendFinalize(op));
    descriptor graph = make(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
    set_one(graph, CUDNN_ATTR_OPERATIONGRAPH_OPS, op);
    note(cudnnBackendFinalize(graph));
    return graph;
}

/* ---- its plans --------------------------------------------------------------------------- */

/* The same bits every time, and no operand rounded to less than was asked for. */
static bool may_serve(descriptor config, cudnnMathType_t math)
{
    cudnnBackendNumericalNote_t notes[CUDNN_NUMERICAL_NOTE_TYPE_COUNT];
    int64_t num = 0;
    descriptor engine = make(CUDNN_BACKEND_ENGINE_DESCRIPTOR);
    if (!note(cudnnBackendGetAttribute(config, CUDNN_ATTR_ENGINECFG_ENGINE,
                                       CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &num, &engine)) ||
        !note(cudnnBackendGetAttribute(engine, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE,
                                       CUDNN_TYPE_NUMERICAL_NOTE,
                                       CUDNN_NUMERICAL_NOTE_TYPE_COUNT, &num, notes)))
        return false;
    for (int64_t i = 0; i < num; i++)
        if (notes[i] == CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC ||
            notes[i] == CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION ||
            (math == CUDNN_FMA_MATH && (notes[i] == CUDNN_NUMERICAL_NOTE_TENSOR_CORE ||
                                        notes[i] == CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS)))
            return false;
    return true;
}

/* Bytes of workspace; -1: no plan can be made of it. */
static int64_t workspace_of(descriptor config)
{
    int64_t bytes = -1, num = 0;
    descriptor plan = make(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
    cudnnBackendSetAttribute(plan, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG,
                             CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &config);
    cudnnBackendSetAttribute(plan, CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP,
                             CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &device);
    if (cudnnBackendFinalize(plan) != CUDNN_STATUS_SUCCESS ||
        cudnnBackendGetAttribute(plan, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE,
                                 CUDNN_TYPE_INT64, 1, &num, &bytes) != CUDNN_STATUS_SUCCESS)
        return -1;
    return bytes;
}

/* Plans that serve, of those that the heuristics offer. */
static int plans_of(descriptor graph, cudnnMathType_t math, cudnnBackendHeurMode_t mode)
{
    descriptor configs[MOST_CONFIGS], heuristics = make(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
    int64_t num = 0;
    int plans = 0;
    set_one(heuristics, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph);
    set(heuristics, CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, &mode);
    set_one(heuristics, CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, device);
    note(cudnnBackendFinalize(heuristics));
    for (int i = 0; i < MOST_CONFIGS; i++)
        configs[i] = make(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
    note(cudnnBackendGetAttribute(heuristics, CUDNN_ATTR_ENGINEHEUR_RESULTS,
                                  CUDNN_TYPE_BACKEND_DESCRIPTOR, MOST_CONFIGS, &num, configs));
    for (int64_t i = 0; i < num && i < MOST_CONFIGS; i++) {
        int64_t bytes = may_serve(configs[i], math) ? workspace_of(configs[i]) : -1;
        plans += bytes >= 0 && bytes <= MOST_WORKSPACE;
    }
    return plans;
}

static int plans_for(const fake_dnn_question *q)
{
    int before = num_made;
    failed = CUDNN_STATUS_SUCCESS;
    descriptor graph = graph_of(q);
    int plans = plans_of(graph, q->conv.math, CUDNN_HEUR_MODE_A);
    if (plans == 0)
        plans = plans_of(graph, q->conv.math, CUDNN_HEUR_MODE_FALLBACK);
    CHECK_AT(failed == CUDNN_STATUS_SUCCESS, "%s", cudnnGetErrorString(failed));
    drop_to(before);
    return plans;
}

/* ---- its descriptors --------------------------------------------------------------------- */

#define LEGACY(X)                                                                              \
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
    X(cudnnGetConvolutionNdForwardOutputDim)

static struct {
#define FIELD(name) __typeof__(name) *name;
    LEGACY(FIELD)
#undef FIELD
} real;

static void open_real(const char *path)
{
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
#define FIND(name)                                                                             \
    *(void **)&real.name = library ? dlsym(library, #name) : NULL;                             \
    CHECK_AT(real.name != NULL, "%s: %s", path, #name);                                        \
    if (!real.name)                                                                            \
        exit(check_summary());
    LEGACY(FIND)
#undef FIND
}

/* Whether it takes the descriptors, and they make an image as large as y. */
static bool is_described(const fake_dnn_question *q)
{
    const struct cudnnTensorStruct *x = &q->x, *y = &q->y;
    const struct cudnnConvolutionStruct *c = &q->conv;
    cudnnTensorDescriptor_t images[2];
    cudnnFilterDescriptor_t w;
    cudnnConvolutionDescriptor_t window;
    int dim[AXES] = {0};
    real.cudnnCreateTensorDescriptor(&images[0]);
    real.cudnnCreateTensorDescriptor(&images[1]);
    real.cudnnCreateFilterDescriptor(&w);
    real.cudnnCreateConvolutionDescriptor(&window);
    bool taken =
        !real.cudnnSetTensorNdDescriptor(images[0], x->type, x->axes, x->dim, x->stride) &&
        !real.cudnnSetTensorNdDescriptor(images[1], y->type, y->axes, y->dim, y->stride) &&
        !real.cudnnSetFilterNdDescriptor(w, q->w.type,
                                         q->w.last ? CUDNN_TENSOR_NHWC : CUDNN_TENSOR_NCHW,
                                         q->w.axes, q->w.dim) &&
        !real.cudnnSetConvolutionNdDescriptor(window, c->axes, c->pad, c->stride, c->dilation,
                                              CUDNN_CROSS_CORRELATION, CUDNN_DATA_FLOAT) &&
        !real.cudnnSetConvolutionGroupCount(window, c->group) &&
        !real.cudnnGetConvolutionNdForwardOutputDim(window, images[0], w, y->axes, dim) &&
        !memcmp(dim, y->dim, (size_t)y->axes * sizeof *dim);
    real.cudnnDestroyTensorDescriptor(images[0]);
    real.cudnnDestroyTensorDescriptor(images[1]);
    real.cudnnDestroyFilterDescriptor(w);
    real.cudnnDestroyConvolutionDescriptor(window);
    return taken;
}

/* ---- the nets' --------------------------------------------------------------------------- */

static const conv convs[] = {
    {"LeNet conv1", 64, 1, 28, 20, 5, 1, 0, 1},
    {"LeNet conv2", 64, 20, 12, 50, 5, 1, 0, 1},
    {"AlexNet conv1", 128, 3, 227, 96, 11, 4, 0, 1},
    {"AlexNet conv2", 128, 96, 27, 256, 5, 1, 2, 2},
    {"AlexNet conv4", 128, 384, 13, 384, 3, 1, 1, 2},
    {"VGG-16 conv1_2", 64, 64, 224, 64, 3, 1, 1, 1},
    {"VGG-16 conv5_1", 128, 512, 14, 512, 3, 1, 1, 1},
    {"GoogLeNet 3a 5x5", 128, 16, 28, 32, 5, 1, 2, 1},
    {"ResNet-50 conv1", 128, 3, 224, 64, 7, 2, 3, 1},
    {"ResNet-50 res2a 3x3", 128, 64, 56, 64, 3, 1, 1, 1},
    {"ResNet-50 res2a 1x1", 128, 64, 56, 256, 1, 1, 0, 1},
    {"ResNet-50 res3a 1x1", 128, 256, 56, 512, 1, 2, 0, 1},
    {"ResNet-50 at batch 1", 1, 512, 7, 512, 3, 1, 1, 1},
    {"in groups, with a stride", 32, 64, 29, 128, 3, 2, 1, 4},
    {"DeepLab, dilated", 2, 512, 33, 1024, 3, 1, 12, 1, .dilation = 12},
    {"FCN, upsampling", 4, 21, 64, 21, 4, 2, 1, 1},
    {"of one axis", 16, 64, 200, 64, 5, 1, 4, 1, .axes = 1, .dilation = 2},
    {"C3D conv2", 8, 64, 28, 128, 3, 1, 1, 1, .axes = 3},
    {"of three axes in groups", 4, 64, 15, 64, 3, 2, 2, 2, .axes = 3, .dilation = 2},
};
#define NUM_CONVS (sizeof(convs) / sizeof(convs[0]))

static const form forms[] = {
    {FAKE_DNN_FORWARD, F32, false}, {FAKE_DNN_DATA, F32, false},
    {FAKE_DNN_WEIGHTS, F32, false}, {FAKE_DNN_FORWARD, TF32, false},
    {FAKE_DNN_DATA, TF32, false},   {FAKE_DNN_WEIGHTS, TF32, false},
    {FAKE_DNN_FORWARD, TF32, true}, {FAKE_DNN_DATA, TF32, true},
    {FAKE_DNN_WEIGHTS, TF32, true}, {FAKE_DNN_FORWARD, BF16, true},
    {FAKE_DNN_DATA, BF16, true},
};

static void check_conv(const conv *c)
{
    static const char *const kinds[] = {"forward", "data", "weights"};
    static const char *const computes[] = {"f32", "TF32", "bf16"};
    SECTION(c->name);
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        const form *f = &forms[i];
        if ((f->which == FAKE_DNN_DATA && c->C <= 3) || /* images have no gradient */
            (f->last && c->axes == 1))                  /* nor rows another layout */
            continue;
        bool any = ask(c, f);
        if (any)
            check_asked(c, f);
        CHECK_AT(any && plans_for(&asked) > 0, "%s in %s%s: %s", kinds[f->which],
                 computes[f->compute], f->last ? ", channels last" : "",
                 any ? "no plan" : "not asked");
        CHECK(any && is_described(&asked));
    }
}

/* Gradients of weights are f32, and cuDNN 9.19 has none of bf16 images: those are widened. What
 * is one product is asked of cuBLAS. */
static void tell_of_gradients(void)
{
    static const form narrow = {FAKE_DNN_WEIGHTS, BF16, true};
    int taken = 0, num = 0;
    SECTION("gradients in f32 of bf16 images");
    for (size_t i = 0; i < NUM_CONVS; i++) {
        if (convs[i].axes == 1 || !ask(&convs[i], &narrow))
            continue;
        check_asked(&convs[i], &narrow);
        taken += plans_for(&asked) > 0;
        num++;
    }
    CHECK(num > 0);
    printf("gradients in f32 of bf16 images: plans for %d of %d\n", taken, num);
}

/* Opened first, the fakes are what the module finds by name; the real cuDNN is linked as the
 * part of it that plans, whose name is another. */
static void open_module(char **argv)
{
    dn_backend_host host;
    void *blas = dlopen(argv[2], RTLD_NOW), *dnn = dlopen(argv[3], RTLD_NOW);
    void *module = blas && dnn ? dlopen(argv[1], RTLD_NOW) : NULL;
    void *tells = module ? dlsym(dnn, "fake_dnn_tells") : NULL, *entry = NULL;
    dn_backend_entry_fn ops_of;
    if (tells)
        entry = dlsym(module, DN_BACKEND_ENTRY);
    if (!entry) {
        fprintf(stderr, "%s\n", dlerror());
        exit(1);
    }
    *(fake_dnn_tell *)tells = note_asked;
    memcpy(&ops_of, &entry, sizeof ops_of);
    ops = ops_of();
    host_init(&host, 1);
    if (ops->open(&backend, &host)) {
        fprintf(stderr, "%s\n", host_message());
        exit(1);
    }
}

int main(int argc, char **argv)
{
    if (argc != 6)
        return 2;
    if (!dlopen(argv[4], RTLD_NOW)) { /* the one that is open is what cuDNN finds */
        fprintf(stderr, "%s\n", dlerror());
        return 1;
    }
    device = make(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR);
    set(device, CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, CUDNN_TYPE_CHAR,
        (int64_t)sizeof(device_text) - 1, device_text);
    if (!note(cudnnBackendFinalize(device))) {
        fprintf(stderr, "skipped: %s\n", cudnnGetErrorString(failed));
        drop_to(0);
        return SKIPPED;
    }
    open_module(argv);
    open_real(argv[5]);
    for (size_t i = 0; i < NUM_CONVS; i++)
        check_conv(&convs[i]);
    tell_of_gradients();
    ops->close(backend);
    CHECK_INT(host_live_allocations(), 0);
    drop_to(0);
    return check_summary();
}
#endif
