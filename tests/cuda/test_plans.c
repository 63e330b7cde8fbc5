/* SPDX-License-Identifier: BSD-2-Clause
 * test_plans.c: whether cuDNN has a plan for what dnn.c asks of it, in the types, layouts and
 * workspace that it asks with: of the real cuDNN, which takes a description of a device for
 * the device itself. The benchmark nets' convolutions on an H100. */
#include <cudnn.h>
#include <stdbool.h>

#include "check.h"

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

/* ---- a convolution ----------------------------------------------------------------------- */

enum { FORWARD, DATA, WEIGHTS };
enum { F32, TF32, BF16 };

typedef struct conv {
    const char *name;
    int64_t N, C, size, K, kernel, stride, pad, group;
} conv;

typedef struct form {
    int32_t which, compute;
    bool last;
} form;

static descriptor tensor_of(int64_t id, cudnnDataType_t type, const int64_t dims[4], bool last)
{
    descriptor d = make(CUDNN_BACKEND_TENSOR_DESCRIPTOR);
    int64_t C = dims[1], H = dims[2], W = dims[3], aligned = 16;
    int64_t first[4] = {C * H * W, H * W, W, 1}, channels[4] = {C * H * W, 1, W * C, C};
    set(d, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, 1, &id);
    set(d, CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &type);
    set(d, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, 1, &aligned);
    set(d, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, 4, dims);
    set(d, CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, 4, last ? channels : first);
    note(cudnnBackendFinalize(d));
    return d;
}

static descriptor window_of(const conv *c)
{
    descriptor d = make(CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
    int64_t axes = 2, pad[2] = {c->pad, c->pad}, stride[2] = {c->stride, c->stride};
    int64_t apart[2] = {1, 1};
    cudnnDataType_t sums = CUDNN_DATA_FLOAT;
    cudnnConvolutionMode_t mode = CUDNN_CROSS_CORRELATION;
    set(d, CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, CUDNN_TYPE_INT64, 1, &axes);
    set(d, CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &sums);
    set(d, CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, 1, &mode);
    set(d, CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, CUDNN_TYPE_INT64, 2, pad);
    set(d, CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, CUDNN_TYPE_INT64, 2, pad);
    set(d, CUDNN_ATTR_CONVOLUTION_DILATIONS, CUDNN_TYPE_INT64, 2, apart);
    set(d, CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, CUDNN_TYPE_INT64, 2, stride);
    note(cudnnBackendFinalize(d));
    return d;
}

static descriptor graph_of(const conv *c, const form *f, cudnnDataType_t weights)
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
        [FORWARD] = KIND(FORWARD, FORWARD, X, Y, W),
        [DATA] = KIND(BACKWARD_DATA, BWD_DATA, DX, DY, W),
        [WEIGHTS] = KIND(BACKWARD_FILTER, BWD_FILTER, X, DY, DW),
#undef KIND
    };
    cudnnDataType_t images = f->compute == BF16 ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_FLOAT;
    int64_t out = (c->size + 2 * c->pad - c->kernel) / c->stride + 1;
    int64_t x[4] = {c->N, c->C, c->size, c->size}, y[4] = {c->N, c->K, out, out};
    int64_t w[4] = {c->K, c->C / c->group, c->kernel, c->kernel};
    float one = 1, zero = 0;
    descriptor op = make(kinds[f->which].type);
    set_one(op, kinds[f->which].x, tensor_of('x', images, x, f->last));
    set_one(op, kinds[f->which].y, tensor_of('y', images, y, f->last));
    set_one(op, kinds[f->which].w, tensor_of('w', weights, w, f->last));
    set_one(op, kinds[f->which].window, window_of(c));
    set(op, kinds[f->which].alpha, CUDNN_TYPE_FLOAT, 1, &one);
    set(op, kinds[f->which].beta, CUDNN_TYPE_FLOAT, 1, &zero);
    note(cudnnBackendFinalize(op));
    descriptor graph = make(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
    set_one(graph, CUDNN_ATTR_OPERATIONGRAPH_OPS, op);
    note(cudnnBackendFinalize(graph));
    return graph;
}

/* ---- its plans --------------------------------------------------------------------------- */

/* The same bits every time, and no operand rounded to less than was asked for. */
static bool may_serve(descriptor config, int32_t compute)
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
            (compute == F32 && (notes[i] == CUDNN_NUMERICAL_NOTE_TENSOR_CORE ||
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
static int plans_of(descriptor graph, int32_t compute, cudnnBackendHeurMode_t mode)
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
        int64_t bytes = may_serve(configs[i], compute) ? workspace_of(configs[i]) : -1;
        plans += bytes >= 0 && bytes <= MOST_WORKSPACE;
    }
    return plans;
}

static int plans_for(const conv *c, const form *f, cudnnDataType_t weights)
{
    int before = num_made;
    failed = CUDNN_STATUS_SUCCESS;
    descriptor graph = graph_of(c, f, weights);
    int plans = plans_of(graph, f->compute, CUDNN_HEUR_MODE_A);
    if (plans == 0)
        plans = plans_of(graph, f->compute, CUDNN_HEUR_MODE_FALLBACK);
    CHECK_AT(failed == CUDNN_STATUS_SUCCESS, "%s: %s", c->name, cudnnGetErrorString(failed));
    drop_to(before);
    return plans;
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
};
#define NUM_CONVS (sizeof(convs) / sizeof(convs[0]))

static const form forms[] = {
    {FORWARD, F32, false},  {DATA, F32, false},  {WEIGHTS, F32, false},
    {FORWARD, TF32, false}, {DATA, TF32, false}, {WEIGHTS, TF32, false},
    {FORWARD, TF32, true},  {DATA, TF32, true},  {WEIGHTS, TF32, true},
    {FORWARD, BF16, true},  {DATA, BF16, true},
};

static void check_conv(const conv *c)
{
    static const char *const kinds[] = {"forward", "data", "weights"};
    static const char *const computes[] = {"f32", "TF32", "bf16"};
    SECTION(c->name);
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        const form *f = &forms[i];
        if (f->which == DATA && c->C <= 3) /* images have no gradient */
            continue;
        bool narrow = f->compute == BF16;
        CHECK_AT(plans_for(c, f, narrow ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_FLOAT) > 0,
                 "%s in %s%s: no plan", kinds[f->which], computes[f->compute],
                 f->last ? ", channels last" : "");
    }
}

/* Gradients of weights are f32, and cuDNN 9.19 has none of bf16 images: those are widened. */
static void tell_of_gradients(void)
{
    static const form narrow = {WEIGHTS, BF16, true};
    int taken = 0;
    SECTION("gradients in f32 of bf16 images");
    for (size_t i = 0; i < NUM_CONVS; i++)
        taken += plans_for(&convs[i], &narrow, CUDNN_DATA_FLOAT) > 0;
    printf("gradients in f32 of bf16 images: plans for %d of %zu\n", taken, NUM_CONVS);
}

int main(void)
{
    device = make(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR);
    set(device, CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, CUDNN_TYPE_CHAR,
        (int64_t)sizeof(device_text) - 1, device_text);
    if (!note(cudnnBackendFinalize(device))) {
        fprintf(stderr, "skipped: %s\n", cudnnGetErrorString(failed));
        drop_to(0);
        return SKIPPED;
    }
    for (size_t i = 0; i < NUM_CONVS; i++)
        check_conv(&convs[i]);
    tell_of_gradients();
    drop_to(0);
    return check_summary();
}
#endif
