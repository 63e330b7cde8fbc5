/* SPDX-License-Identifier: BSD-2-Clause
 * test_passes.c: a net in, the ops that are left out; and all that can be read after a run,
 * blobs, gradients and weights, is what it is without any pass. */
#include "nets.h"

extern const dn_backend_ops dn_ref_backend;

typedef struct row {
    const char *name, *net, *forward, *backward;
    int32_t phase, memory;
} row;

#define ROW(name, phase, memory, net, forward, backward)                                       \
    {                                                                                          \
        name, net, forward, backward, DN_PHASE_##phase, DN_MEMORY_##memory                     \
    }

static const row rows[] = {
    ROW("convolution and ReLU", TEST, READABLE, X CONV("a", "x", "") RELU("a"), "CONV", ""),
    ROW("readable between them", TEST, READABLE,
        X CONV("a", "x", "") LAYER("r", "ReLU", "a", "b", ""), "CONV UNARY", ""),
    ROW("not readable between them", TEST, COMPACT,
        X CONV("a", "x", "") LAYER("r", "ReLU", "a", "b", ""), "CONV", ""),
    ROW("inner product and sigmoid", TEST, READABLE,
        X LAYER("a", "InnerProduct", "x", "a", "inner_product_param { num_output: 4 }")
            ON("a", "s", "Sigmoid", ""),
        "GEMM", ""),
    ROW("written again between", TRAIN, COMPACT,
        X CONV("w", "x", "") CONV("c", "w", "") NORM_OF("c", "b") CONV("k", "w", "")
            LAYER("r", "ReLU", "b", "x0", "") SUM("w", "x0", "x1") NORM_OF("x1", "n")
                LAYER("q", "ReLU", "n", "m", "") CONV("g", "m", "") SUM("x1", "g", "x2")
                    SUM("x2", "k", "z") LOSS("z"),
        "CONV CONV NORM_SCALE CONV ELTWISE NORM_SCALE CONV ELTWISE ELTWISE GEMM SOFTMAX "
        "LOSS",
        "FILL LOSS_BWD GEMM REDUCE GEMM UNARY CONV_BWD_WEIGHTS CONV_BWD_DATA "
        "NORM_SCALE_BWD UNARY_BWD CONV_BWD_WEIGHTS CONV_BWD_DATA NORM_SCALE_BWD "
        "CONV_BWD_WEIGHTS CONV_BWD_DATA CONV_BWD_WEIGHTS"),
    ROW("read once more between", TRAIN, COMPACT,
        X CONV("w", "x", "") CONV("c", "w", "") NORM_OF("c", "b")
            LAYER("h", "HardSigmoid", "w", "h", "") LAYER("r", "ReLU", "b", "r", "")
                SUM("h", "r", "z") CONV("k", "z", "") LOSS("k"),
        "CONV CONV NORM_SCALE UNARY UNARY ELTWISE CONV GEMM SOFTMAX LOSS",
        "FILL LOSS_BWD GEMM REDUCE GEMM CONV_BWD_WEIGHTS CONV_BWD_DATA UNARY UNARY_BWD "
        "NORM_SCALE_BWD CONV_BWD_WEIGHTS CONV_BWD_DATA CONV_BWD_WEIGHTS"),
    ROW("ReLU6", TEST, READABLE, X CONV("a", "x", "") ON("a", "r", "ReLU6", ""), "CONV", ""),
    ROW("a clip that begins below 0", TEST, READABLE,
        X CONV("a", "x", "") ON("a", "r", "Clip", "clip_param { min: -1 max: 6 }"),
        "CONV UNARY", ""),
    ROW("a top that pooling cannot carry", TEST, READABLE,
        X LAYER("a", "Pooling", "x", "a", "pooling_param { kernel_size: 2 stride: 2 }")
            ON("a", "r", "ReLU6", ""),
        "POOL UNARY", ""),
    ROW("pooling and ReLU", TEST, READABLE,
        X LAYER("a", "Pooling", "x", "a", "pooling_param { kernel_size: 2 stride: 2 }")
            RELU("a"),
        "POOL", ""),
    ROW("a slope that pooling cannot carry", TEST, READABLE,
        X LAYER("a", "Pooling", "x", "a", "pooling_param { kernel_size: 2 stride: 2 }")
            ON("a", "r", "ReLU", "relu_param { negative_slope: 0.1 }"),
        "POOL UNARY", ""),
    ROW("two readers", TEST, COMPACT,
        X CONV("a", "x", "") LAYER("r", "ReLU", "a", "b", "") SUM("a", "b", "c"),
        "CONV UNARY ELTWISE", ""),
    ROW("a copy of the input that is written in part", TEST, READABLE,
        IN("x", "dim: 4 dim: 2 dim: 6 dim: 5") IN("t", "dim: 3 dim: 5")
            LAYER("a", "ROIPooling", "x' bottom: 't", "a",
                  "roi_pooling_param { pooled_h: 2 pooled_w: 2 pad_ratio: 0.6 }"),
        "COPY COPY ELTWISE UNARY ELTWISE ELTWISE COPY COPY COPY ROI_POOL", ""),
#define HARD_SWISH(shift, clip, scale)                                                         \
    LAYER("s", "Power", "a", "s", "power_param { " shift " }")                                 \
    ON("s", "r", "Clip", "clip_param { " clip " }")                                            \
    LAYER("g", "Power", "s", "g", "power_param { " scale " }")                                 \
    LAYER("y", "Eltwise", "a' bottom: 'g", "y", "eltwise_param { operation: PROD }")
    ROW("hard swish in four layers", TEST, COMPACT,
        X CONV("a", "x", "") HARD_SWISH("shift: 3", "min: 0 max: 6", "scale: 0.16666667"),
        "CONV", ""),
    ROW("scaled first", TEST, COMPACT,
        X CONV("a", "x", "") HARD_SWISH("scale: 0.2 shift: 0.6", "min: 0 max: 1.2", ""), "CONV",
        ""),
    ROW("readable on the way", TEST, READABLE,
        X CONV("a", "x", "") HARD_SWISH("shift: 3", "min: 0 max: 6", "scale: 0.16666667"),
        "CONV UNARY UNARY UNARY ELTWISE", ""),
    ROW("another shift", TEST, COMPACT,
        X CONV("a", "x", "") HARD_SWISH("shift: 2.9", "min: 0 max: 6", "scale: 0.16666667"),
        "CONV UNARY UNARY UNARY ELTWISE", ""),
    ROW("no shift at all", TEST, COMPACT,
        X CONV("a", "x", "") HARD_SWISH("shift: nan", "min: 0 max: 6", "scale: 0.16666667"),
        "CONV UNARY UNARY UNARY ELTWISE", ""),
    ROW("another top", TEST, COMPACT,
        X CONV("a", "x", "") HARD_SWISH("shift: 3", "min: 0 max: 5.9", "scale: 0.16666667"),
        "CONV UNARY UNARY UNARY ELTWISE", ""),
    ROW("another bottom", TEST, COMPACT,
        X CONV("a", "x", "") HARD_SWISH("shift: 3", "min: 0.1 max: 6", "scale: 0.16666667"),
        "CONV UNARY UNARY UNARY ELTWISE", ""),
    ROW("a gate that others read", TEST, COMPACT,
        X CONV("a", "x", "") HARD_SWISH("shift: 3", "min: 0 max: 6", "scale: 0.16666667")
            SUM("g", "y", "z"),
        "CONV UNARY UNARY UNARY ELTWISE ELTWISE", ""),
    ROW("dropout in TEST", TEST, COMPACT,
        X CONV("a", "x", "") ON("a", "d", "Dropout", "") LAYER("f", "Flatten", "a", "b", ""),
        "CONV", ""),
    ROW("norm folded", TEST, READABLE, X CONV("a", "x", "") NORM("a") RELU("a"), "CONV", ""),
    ROW("norm without scale folded", TEST, READABLE,
        X CONV("a", "x", "bias_term: false") ON("a", "n", "BatchNorm", ""), "CONV", ""),
    ROW("norm that is not in the way of a reader", TEST, READABLE,
        X CONV("a", "x", "") LAYER("n", "BatchNorm", "a", "b", ""), "CONV BATCH_NORM", ""),
    ROW("norm over other channels than the convolution's", TEST, COMPACT,
        IN("x", "dim: 2 dim: 3 dim: 2 dim: 6 dim: 5") CONV("a", "x", "axis: 2")
            LAYER("n", "BatchNorm", "a", "b", ""),
        "CONV BATCH_NORM", ""),
    ROW("residual block in TEST", TEST, COMPACT, RESIDUAL, "CONV CONV CONV GEMM SOFTMAX LOSS",
        ""),
    ROW("gate, sum and ReLU", TEST, COMPACT,
        X CONV("a", "x", "") CONV("b", "x", "")
            LAYER("s", "Pooling", "b", "s", "pooling_param { pool: AVE global_pooling: true }")
                LAYER("z", "Axpy", "s' bottom: 'b' bottom: 'a", "z", "") RELU("z"),
        "CONV CONV POOL BCAST", ""),
    ROW("residual block in TEST, readable", TEST, READABLE, RESIDUAL,
        "CONV CONV CONV ELTWISE UNARY GEMM SOFTMAX LOSS", ""),
    ROW("norm in TRAIN", TRAIN, READABLE, X CONV("a", "x", "") NORM("a") RELU("a") LOSS("a"),
        "CONV NORM_SCALE GEMM SOFTMAX LOSS",
        "FILL LOSS_BWD GEMM REDUCE GEMM NORM_SCALE_BWD CONV_BWD_WEIGHTS"),
    ROW("norm whose gradient is read in the middle", TRAIN, READABLE,
        X CONV("a", "x", "") NORM_OF("a", "b") RELU("b") LOSS("b"),
        "CONV NORM_SCALE GEMM SOFTMAX LOSS",
        "FILL LOSS_BWD GEMM REDUCE GEMM UNARY_BWD BCAST NORM_SCALE_BWD CONV_BWD_WEIGHTS"),
    ROW("nobody reads it there", TRAIN, COMPACT,
        X CONV("a", "x", "") NORM_OF("a", "b") RELU("b") LOSS("b"),
        "CONV NORM_SCALE GEMM SOFTMAX LOSS",
        "FILL LOSS_BWD GEMM REDUCE GEMM NORM_SCALE_BWD CONV_BWD_WEIGHTS"),
#define POOL(kernel, more)                                                                     \
    LAYER("p", "Pooling", "a", "p",                                                            \
          "pooling_param { kernel_size: " kernel " stride: 2 " more "}")
    ROW("through a function from what is pooled, readable", TRAIN, READABLE,
        X CONV("a", "x", "") ON("a", "s", "Sigmoid", "") POOL("3", "") LOSS("p"),
        "CONV POOL GEMM SOFTMAX LOSS",
        "FILL LOSS_BWD GEMM REDUCE GEMM UNARY_BWD POOL_BWD CONV_BWD_WEIGHTS"),
    ROW("a mean is of all of them", TRAIN, COMPACT,
        X CONV("a", "x", "") RELU("a") POOL("2", "pool: AVE ") LOSS("p"),
        "CONV POOL GEMM SOFTMAX LOSS",
        "FILL LOSS_BWD GEMM REDUCE GEMM POOL_BWD UNARY_BWD CONV_BWD_WEIGHTS"),
    ROW("others want what is pooled", TRAIN, COMPACT,
        X CONV("b", "x", "") CONV("a", "b", "") RELU("a") POOL("3", "") LOSS("p"),
        "CONV CONV POOL GEMM SOFTMAX LOSS",
        "FILL LOSS_BWD GEMM REDUCE GEMM UNARY_BWD POOL_BWD CONV_BWD_WEIGHTS CONV_BWD_DATA "
        "CONV_BWD_WEIGHTS"),
    ROW("a function after pooling, too", TRAIN, COMPACT,
        X CONV("a", "x", "") ON("a", "s", "Sigmoid", "") POOL("2", "") RELU("p") LOSS("p"),
        "CONV POOL GEMM SOFTMAX LOSS",
        "FILL LOSS_BWD GEMM REDUCE GEMM UNARY_BWD POOL_BWD UNARY_BWD CONV_BWD_WEIGHTS"),
    ROW("residual block in TRAIN", TRAIN, COMPACT, RESIDUAL,
        "CONV NORM_SCALE CONV NORM_SCALE CONV NORM_SCALE GEMM SOFTMAX LOSS",
        "FILL LOSS_BWD GEMM REDUCE GEMM UNARY_BWD NORM_SCALE_BWD CONV_BWD_WEIGHTS "
        "NORM_SCALE_BWD CONV_BWD_WEIGHTS CONV_BWD_DATA NORM_SCALE_BWD CONV_BWD_WEIGHTS"),
    ROW("residual block in TRAIN, readable", TRAIN, READABLE, RESIDUAL,
        "CONV NORM_SCALE CONV NORM_SCALE CONV NORM_SCALE ELTWISE UNARY GEMM SOFTMAX LOSS",
        "FILL LOSS_BWD GEMM REDUCE GEMM UNARY_BWD NORM_SCALE_BWD CONV_BWD_WEIGHTS "
        "NORM_SCALE_BWD CONV_BWD_WEIGHTS CONV_BWD_DATA NORM_SCALE_BWD CONV_BWD_WEIGHTS"),
};

/* A normalisation's gradient that was given y, which x tells as well. */
static bool reads_y(const dni_op *op)
{
    return op->kind == DN_OP_NORM_SCALE_BWD && op->inputs[1] != DNI_NONE;
}

static void list_ops(const dn_net *net, dni_section section, char *text, size_t size)
{
    const dni_program *p = dni_plan_program(net->plan);
    size_t used = 0;
    text[0] = 0;
    for (size_t i = 0; i < p->num_ops && used < size; i++)
        if (p->ops[i].section == section)
            used += (size_t)snprintf(text + used, size - used, "%s%s%s", used ? " " : "",
                                     dni_op_kind_of(p->ops[i].kind)->name,
                                     reads_y(&p->ops[i]) ? "(y)" : "");
}

static void run(dn_net *net, bool backward)
{
    CHECK_STATUS(dn_net_forward(net, NULL), DN_OK);
    if (backward)
        CHECK_STATUS(dn_net_backward(net), DN_OK);
}

static void check_row(dn_context *fused, dn_context *plain, const row *r)
{
    char forward[512], backward[512];
    bool train = r->phase == DN_PHASE_TRAIN;
    dn_net *net = net_of(fused, r->net, r->phase, r->memory);
    dn_net *truth = net_of(plain, r->net, r->phase, DN_MEMORY_READABLE);
    for (int times = 0; net && truth && times < 2; times++) {
        run(net, train);
        run(truth, train);
        compare_nets(net, truth, train);
    }
    list_ops(net, DNI_FORWARD, forward, sizeof forward);
    list_ops(net, DNI_BACKWARD, backward, sizeof backward);
    if (!net->context->nhwc) {
        CHECK_AT(!strcmp(forward, r->forward), "%s: forward is %s", r->name, forward);
        CHECK_AT(!strcmp(backward, r->backward), "%s: backward is %s", r->name, backward);
    }
    dn_net_free(net);
    dn_net_free(truth);
}

#define LINE(name, bottom, more) CONV(name, bottom, "stride: 2 dilation: 2 " more)
#define LINES                                                                                  \
    IN("x", "dim: 2 dim: 3 dim: 29")                                                           \
    LINE("a", "x", "")                                                                         \
    NORM_OF("a", "b")                                                                          \
    RELU("b")                                                                                  \
    LAYER("p", "Pooling", "b", "p", "pooling_param { kernel_size: 2 stride: 1 }")              \
    LAYER("d", "Deconvolution", "p", "d",                                                      \
          "convolution_param { num_output: 4 kernel_size: 4 stride: 2 pad: 1 "                 \
          "weight_filler { type: 'gaussian' std: 0.4 } } ")

/* Lines are images of one row, in all ops or, where one looks at axes, in none. */
static void check_lines(dn_context *fused, dn_context *plain, const char *text, bool wide)
{
    SECTION("lines");
    dn_net *net = net_of(fused, text, DN_PHASE_TRAIN, DN_MEMORY_COMPACT);
    dn_net *truth = net_of(plain, text, DN_PHASE_TRAIN, DN_MEMORY_READABLE);
    run(net, true);
    run(truth, true);
    compare_nets(net, truth, true);
    const dni_program *p = dni_plan_program(net->plan);
    for (size_t i = 0; i < p->num_ops; i++) {
        const dni_op *op = &p->ops[i];
        if (op->kind >= DN_OP_CONV && op->kind <= DN_OP_CONV_BWD_WEIGHTS) {
            CHECK_INT(((const dn_args_conv *)op->args)->spatial, wide ? 2 : 1);
            CHECK_INT(p->tensors[op->inputs[0]].shape.axes, wide ? 4 : 3);
        }
    }
    dn_net_free(net);
    dn_net_free(truth);
}

/* In NHWC the convolutions' images lie so, and the rest follows; the input is turned once. */
static void check_layout(dn_context *nhwc)
{
    SECTION("layout");
    dn_net *net = net_of(nhwc, RESIDUAL, DN_PHASE_TEST, DN_MEMORY_COMPACT);
    const dni_program *p = dni_plan_program(net->plan);
    int32_t copies = 0;
    for (size_t i = 0; i < p->num_ops; i++) {
        const dni_op *op = &p->ops[i];
        copies += op->kind == DN_OP_COPY;
        if (op->kind == DN_OP_CONV)
            CHECK(p->tensors[op->inputs[0]].layout == DN_LAYOUT_NHWC &&
                  p->tensors[op->outputs[0]].layout == DN_LAYOUT_NHWC);
    }
    CHECK_INT(copies, 2); /* x, and y for the inner product */
    dn_net_free(net);
}

#define WIDE(name, bottom, more)                                                               \
    LAYER(name, "Convolution", bottom, name,                                                   \
          "convolution_param { num_output: 16 kernel_size: 3 pad: 1 bias_term: false " more    \
          "weight_filler { type: 'gaussian' std: 0.4 } } ")

/* What is normalised for depthwise convolutions alone they make themselves, if they can. */
#define PASSED(norm)                                                                           \
    X WIDE("a", "x", "") norm RELU("a") WIDE("b", "a", "group: 16 ") NORM("b") RELU("b")       \
        CONV("c", "b", "") LOSS("c")
#define READ_OFTEN /* as often as a pass looks at: three readers, forward and backward */      \
    X WIDE("a", "x", "") NORM("a") RELU("a") WIDE("b", "a", "group: 16 ")                      \
        WIDE("c", "a", "group: 16 ") WIDE("d", "a", "group: 16 ") SUM("b", "c", "e")           \
            SUM("d", "e", "f") LOSS("f")
#define FROZEN_NORM(blob) /* whose factors want no gradient */                                 \
    ON(blob, blob "_n", "BatchNorm", "")                                                       \
    ON(blob, blob "_s", "Scale",                                                               \
       "param { lr_mult: 0 } param { lr_mult: 0 } scale_param { bias_term: true "              \
       "filler { type: 'uniform' min: 0.5 max: 1.5 } bias_filler { type: 'gaussian' } } ")

/* A convolution that gains a tenth in NHWC is worth a turn, beside what little is moved. */
static dn_status priced_create(dn_backend *backend, const dn_op_desc *desc, dn_op **out,
                               dn_op_info *info)
{
    dn_status st = dn_ref_backend.op_create(backend, desc, out, info);
    if (desc->kind == DN_OP_CONV) {
        int32_t x = desc->inputs[0].layout, y = desc->outputs[0].layout;
        info->cost = x != y ? 1e6 : x == DN_LAYOUT_NHWC ? 9e3 : 1e4;
    }
    return st;
}

static void check_small_gain(void)
{
    SECTION("a small gain");
    static dn_backend_ops priced;
    dn_context *context = NULL;
    priced = dn_ref_backend;
    priced.name = "priced";
    priced.op_create = priced_create;
    dn_context_options o = {
        .struct_size = sizeof o, .backend = &priced, .backends = "ref", .seed = 7};
    CHECK_STATUS(dn_context_create(&context, &o), DN_OK);
    dn_net *net = net_of(context,
                         X CONV("a", "x", "") LAYER("b", "TanH", "a", "b", "")
                             LAYER("c", "Sigmoid", "b", "c", ""),
                         DN_PHASE_TEST, DN_MEMORY_READABLE);
    const dni_program *p = dni_plan_program(net->plan);
    bool turned = false;
    for (size_t i = 0; i < p->num_ops; i++)
        turned |= p->ops[i].kind == DN_OP_CONV &&
                  p->tensors[p->ops[i].outputs[0]].layout == DN_LAYOUT_NHWC;
    CHECK(turned);
    dn_net_free(net);
    dn_context_free(context);
}

static void check_norm_passed_on(dn_context *plain, const char *text)
{
    dn_context *context = NULL;
    dn_context_options o = {
        .struct_size = sizeof o, .plan = DN_PLAN_NHWC, .backends = "cpu,ref", .seed = 7};
    SECTION("a norm passed on");
    CHECK_STATUS(dn_context_create(&context, &o), DN_OK);
    dn_net *net = net_of(context, text, DN_PHASE_TRAIN, DN_MEMORY_COMPACT);
    dn_net *truth = net_of(plain, text, DN_PHASE_TRAIN, DN_MEMORY_READABLE);
    run(net, true);
    run(truth, true);
    compare_nets(net, truth, true);
    const dni_program *p = dni_plan_program(net->plan);
    int32_t passed = 0, walks = 0, unmade = 0, joined = 0, given = 0, told = 0, made = 0;
    for (size_t i = 0; i < p->num_ops; i++) {
        const dni_op *op = &p->ops[i];
        bool weights = op->kind == DN_OP_CONV_BWD_WEIGHTS;
        passed += (op->kind == DN_OP_CONV || weights) && op->num_inputs > (weights ? 2 : 3);
        unmade += op->kind == DN_OP_NORM_SCALE && op->outputs[0] == DNI_NONE;
        joined += weights && op->num_outputs == 4;
        given += op->kind == DN_OP_NORM_SCALE_BWD && op->num_inputs == 8;
        made += op->kind == DN_OP_CONV && op->num_outputs == 2;
        told += op->kind == DN_OP_NORM_SCALE && op->num_inputs == 4;
        walks += strstr(dni_plan_implementation(net->plan, i), "3x3") != NULL;
    }
    CHECK_INT(passed, walks ? 2 : 0); /* forward and to the weights */
    CHECK_INT(unmade, walks ? 1 : 0);
    CHECK_INT(joined,
              walks ? 1 : 0); /* to the data, too, and the sums of the norm's gradient */
    CHECK_INT(given, joined);
    CHECK_INT(made, walks ? 1 : 0); /* moments, by b; a is not of whole panels */
    CHECK_INT(told, made);
    dn_net_free(net);
    dn_net_free(truth);
    dn_context_free(context);
}

/* Both gradients are made at once only where dx is not added to what is there; and what others
 * add to dx later is in the sums of the norm's gradient. */
static void check_gradients_joined(dn_context *plain)
{
#define BEFORE X WIDE("a", "x", "") NORM("a") RELU("a")
#define AFTER  CONV("c", "e", "") LOSS("c")
    static const struct {
        const char *text;
        int32_t joined;
    } nets[] = {
        {BEFORE WIDE("b", "a", "group: 16 ") SUM("b", "a", "e") AFTER, 0},
        {BEFORE WIDE("p", "a", "") WIDE("b", "a", "group: 16 ") SUM("b", "p", "e") AFTER, 1}};
    dn_context *context = NULL;
    dn_context_options o = {
        .struct_size = sizeof o, .plan = DN_PLAN_NHWC, .backends = "cpu,ref", .seed = 7};
    SECTION("gradients joined");
    CHECK_STATUS(dn_context_create(&context, &o), DN_OK);
    for (size_t r = 0; r < DNI_COUNT(nets); r++) {
        dn_net *net = net_of(context, nets[r].text, DN_PHASE_TRAIN, DN_MEMORY_COMPACT);
        dn_net *truth = net_of(plain, nets[r].text, DN_PHASE_TRAIN, DN_MEMORY_READABLE);
        run(net, true);
        run(truth, true);
        compare_nets(net, truth, true);
        const dni_program *p = dni_plan_program(net->plan);
        int32_t walks = 0, joined = 0;
        for (size_t i = 0; i < p->num_ops; i++) {
            const dni_op *op = &p->ops[i];
            joined += op->kind == DN_OP_CONV_BWD_WEIGHTS && op->num_outputs > 2;
            CHECK(op->kind != DN_OP_NORM_SCALE_BWD || op->num_inputs < 8);
            walks += strstr(dni_plan_implementation(net->plan, i), "3x3") != NULL;
        }
        CHECK_INT(joined, walks ? nets[r].joined : 0);
        dn_net_free(net);
        dn_net_free(truth);
    }
    dn_context_free(context);
}

/* A gradient that was pooled goes to the weights as it is, unless somebody looks at what it
 * would become, or wants the gradient of x. */
static void check_pooled_weights(dn_context *plain)
{
#define PLANES IN("x", "dim: 2 dim: 2 dim: 27 dim: 22")
#define FIRST  PLANES CONV("a", "x", "stride: 2 ")
    static const struct {
        const char *text;
        int32_t memory, masked;
    } nets[] = {
        {FIRST POOL("2", "") LOSS("p"), DN_MEMORY_COMPACT, 1},
        {FIRST RELU("a") POOL("3", "pad: 1 ") LOSS("p"), DN_MEMORY_COMPACT, 1},
        {FIRST POOL("2", "") LOSS("p"), DN_MEMORY_READABLE, 0},
        {FIRST POOL("2", "pool: AVE ") LOSS("p"), DN_MEMORY_COMPACT, 0},
        {FIRST POOL("2", "") LAYER("q", "Pooling", "a", "q",
                                   "pooling_param { pool: AVE kernel_size: 2 stride: 2 }")
             SUM("p", "q", "z") LOSS("z"),
         DN_MEMORY_COMPACT, 0},
        {PLANES CONV("b", "x", "") CONV("a", "b", "") POOL("2", "") LOSS("p"),
         DN_MEMORY_COMPACT, 0},
        {PLANES CONV("a", "x", "dilation: 2 ") POOL("2", "") LOSS("p"), DN_MEMORY_COMPACT, 0},
        {PLANES CONV("a", "x", "pad: 400 stride: 9 ") POOL("2", "") LOSS("p"),
         DN_MEMORY_COMPACT, 0}};
    dn_context *context = NULL;
    dn_context_options o = {.struct_size = sizeof o, .backends = "cpu,ref", .seed = 7};
    SECTION("weights from what is pooled");
    CHECK_STATUS(dn_context_create(&context, &o), DN_OK);
    for (size_t r = 0; r < DNI_COUNT(nets); r++) {
        dn_net *net = net_of(context, nets[r].text, DN_PHASE_TRAIN, nets[r].memory);
        dn_net *truth = net_of(plain, nets[r].text, DN_PHASE_TRAIN, DN_MEMORY_READABLE);
        for (int times = 0; times < 2; times++) { /* the second adds to the gradients */
            run(net, true);
            run(truth, true);
            compare_nets(net, truth, true);
        }
        const dni_program *p = dni_plan_program(net->plan);
        int32_t masked = 0;
        bool plain_set = true; /* which has no kernel for it */
        for (size_t i = 0; i < p->num_ops; i++) {
            masked += p->ops[i].kind == DN_OP_CONV_BWD_WEIGHTS && p->ops[i].num_inputs > 7;
            plain_set = plain_set && !strstr(dni_plan_implementation(net->plan, i), "/avx");
        }
        CHECK_AT(masked == (plain_set ? 0 : nets[r].masked), "net %zu has %d", r, (int)masked);
        dn_net_free(net);
        dn_net_free(truth);
    }
    dn_context_free(context);
}

#define LENET(n)                                                                               \
    IN("x", "dim: " n " dim: 1 dim: 28 dim: 28")                                               \
    LAYER("a", "Convolution", "x", "a", "convolution_param { num_output: 20 kernel_size: 5 }") \
    LAYER("p", "Pooling", "a", "p", "pooling_param { kernel_size: 2 stride: 2 }")              \
    LAYER("b", "Convolution", "p", "b", "convolution_param { num_output: 50 kernel_size: 5 }") \
    LAYER("q", "Pooling", "b", "q", "pooling_param { kernel_size: 2 stride: 2 }")              \
    LAYER("s", "InnerProduct", "q", "s", "inner_product_param { num_output: 10 }")             \
    IN("t", "dim: " n)                                                                         \
    "layer { name: 'loss' type: 'SoftmaxWithLoss' bottom: 's' bottom: 't' top: 'loss' } "

/* LeNet's few channels are faster in planes, and its recorded curve is summed so. */
static void check_lenet(void)
{
    static const char *const nets[] = {LENET("1"), LENET("64")};
    dn_context *context = NULL;
    dn_context_options o = {.struct_size = sizeof o, .backends = "cpu,ref"};
    SECTION("LeNet's layout");
    CHECK_STATUS(dn_context_create(&context, &o), DN_OK);
    for (int i = 0; i < 4; i++) {
        dn_net *net = NULL;
        dn_net_options n = {.struct_size = sizeof n,
                            .phase = i / 2 ? DN_PHASE_TRAIN : DN_PHASE_TEST,
                            .memory = DN_MEMORY_COMPACT};
        CHECK_STATUS(
            dn_net_create_from_text(&net, context, nets[i % 2], strlen(nets[i % 2]), &n),
            DN_OK);
        const dni_program *p = net ? dni_plan_program(net->plan) : NULL;
        int32_t turned = 0;
        for (size_t t = 0; p && t < p->num_tensors; t++)
            turned += p->tensors[t].layout == DN_LAYOUT_NHWC;
        CHECK_INT(turned, 0);
        dn_net_free(net);
    }
    dn_context_free(context);
}

static void check_norm_read_often(dn_context *nhwc, dn_context *plain)
{
    SECTION("a norm with as many readers as a pass looks at");
    dn_net *net = net_of(nhwc, READ_OFTEN, DN_PHASE_TRAIN, DN_MEMORY_COMPACT);
    dn_net *truth = net_of(plain, READ_OFTEN, DN_PHASE_TRAIN, DN_MEMORY_READABLE);
    run(net, true);
    run(truth, true);
    compare_nets(net, truth, true);
    dn_net_free(net);
    dn_net_free(truth);
}

int main(void)
{
    dn_context *fused = context_of(DN_PLAN_FUSED), *nhwc = context_of(DN_PLAN_NHWC);
    dn_context *plain = context_of(DN_PLAN_PLAIN);
    for (size_t i = 0; i < DNI_COUNT(rows); i++) {
        SECTION(rows[i].name);
        check_row(fused, plain, &rows[i]);
        check_row(nhwc, plain, &rows[i]);
    }
    check_layout(nhwc);
    check_lines(fused, plain, LINES LOSS("d"), true);
    check_lines(nhwc, plain, LINES LOSS("d"), true);
    check_lines(nhwc, plain,
                LINES LAYER("i", "Im2col", "a", "i", "convolution_param { kernel_size: 3 }")
                    LOSS("d"),
                false);
    check_lenet();
    check_small_gain();
    check_norm_passed_on(plain, PASSED(NORM("a")));
    check_norm_passed_on(plain, PASSED(FROZEN_NORM("a")));
    check_norm_read_often(nhwc, plain);
    check_gradients_joined(plain);
    check_pooled_weights(plain);
    dn_context_free(fused);
    dn_context_free(nhwc);
    dn_context_free(plain);
    return check_summary();
}
