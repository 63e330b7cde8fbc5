/* SPDX-License-Identifier: BSD-2-Clause
 * test_shapes.c: the shapes of tops and weights, where Caffe's rules have corners; and what
 * some layers compute that no recorded result shows. */
#include "check.h"

#include "deepnet/context.h"
#include "deepnet/net.h"

#define IN(name, dims) "layer { name: '" name "' type: 'Input' top: '" name "' " \
                       "input_param { shape { " dims " } } } "
#define L(type, rest) "layer { name: 'l' type: '" type "' bottom: 'x' top: 'y' " rest " } "
#define X4 IN("x", "dim: 2 dim: 3 dim: 4 dim: 5")
#define IMAGE(h, w) IN("x", "dim: 1 dim: 1 dim: " #h " dim: " #w)
#define POOL(rest) L("Pooling", "pooling_param { " rest " }")

static const struct rule {
    const char *text;
    const char *top, *weight; /* of y, of weight 0 of layer l */
} rules[] = {
    {IMAGE(7, 8) POOL("kernel_size: 3 stride: 2"), "1 1 3 4", NULL},
    {IMAGE(7, 8) POOL("kernel_size: 3 stride: 2 round_mode: FLOOR"), "1 1 3 3", NULL},
    {IMAGE(7, 8) POOL("kernel_size: 3 stride: 2 ceil_mode: false"), "1 1 3 3", NULL},
    {IMAGE(7, 8) POOL("kernel_size: 2 stride: 2 pad: 1"), "1 1 4 5", NULL},
    {IMAGE(5, 5) POOL("kernel_size: 2 stride: 3 pad: 1"), "1 1 2 2", NULL},
    {IMAGE(2, 2) POOL("kernel_size: 3 stride: 2"), "1 1 1 1", NULL},
    {IMAGE(6, 9) POOL("global_pooling: true"), "1 1 1 1", NULL},
    {IMAGE(6, 9) POOL("kernel_h: 2 kernel_w: 3 stride_h: 2 stride_w: 3"), "1 1 3 3", NULL},
    {IN("x", "dim: 2 dim: 3 dim: 4 dim: 6 dim: 8") POOL("kernel_size: 2 stride: 2"),
     "2 3 2 3 4", NULL},
    {X4 L("Convolution", "convolution_param { num_output: 6 kernel_size: 3 group: 3 pad: 1 }"),
     "2 6 4 5", "6 1 3 3"},
    {X4 L("Convolution", "convolution_param { num_output: 6 kernel_h: 4 kernel_w: 1 }"),
     "2 6 1 5", "6 3 4 1"},
    {X4 L("Convolution", "convolution_param { num_output: 6 kernel_size: 2 axis: -3 }"),
     "2 6 3 4", "6 3 2 2"},
    {IN("x", "dim: 3 dim: 4 dim: 5") L("Convolution", "convolution_param { num_output: 2 "
                                                      "kernel_size: 3 axis: 0 }"),
     "2 2 3", "2 3 3 3"},
    {IN("x", "dim: 3 dim: 4") L("Convolution", "convolution_param { num_output: 2 }"), "3 2",
     "2 4"},
    {X4 L("Deconvolution", "convolution_param { num_output: 6 kernel_size: 4 stride: 2 pad: 1 "
                           "group: 3 }"),
     "2 6 8 10", "3 2 4 4"},
    {X4 L("Im2col", "convolution_param { kernel_size: 2 }"), "2 12 3 4", NULL},
    {X4 L("InnerProduct", "inner_product_param { num_output: 7 axis: 2 }"), "2 3 7", "7 20"},
    {X4 L("InnerProduct", "inner_product_param { num_output: 7 axis: -1 transpose: true }"),
     "2 3 4 7", "5 7"},
    {X4 L("Flatten", ""), "2 60", NULL},
    {X4 L("Flatten", "flatten_param { axis: 0 end_axis: -2 }"), "24 5", NULL},
    {X4 L("Flatten", "flatten_param { axis: 3 end_axis: 2 }"), "2 3 4 1 5", NULL},
    {X4 L("Reshape", "reshape_param { shape { dim: 0 dim: -1 dim: 5 } }"), "2 12 5", NULL},
    {X4 L("Reshape", "reshape_param { shape { dim: 10 dim: 2 } axis: -3 }"), "2 3 10 2", NULL},
    {X4 L("Reshape", "reshape_param { shape { dim: 1 } axis: 1 num_axes: 0 }"), "2 1 3 4 5",
     NULL},
    {X4 L("Reshape", "reshape_param { shape { dim: 1 } axis: -1 }"), "2 3 4 5 1", NULL},
    {X4 L("Reshape", "reshape_param { shape { } axis: 1 num_axes: 0 }"), "2 3 4 5", NULL},
    {IN("x", "dim: 1 dim: 1") L("Reshape", "reshape_param { shape { } }"), "", NULL},
    {X4 L("ArgMax", ""), "2 1 1 1", NULL},
    {X4 L("ArgMax", "argmax_param { top_k: 3 out_max_val: true }"), "2 2 3 1", NULL},
    {X4 L("ArgMax", "argmax_param { top_k: 3 axis: -1 }"), "2 3 4 3", NULL},
    {X4 L("Scale", "scale_param { axis: -2 num_axes: -1 }"), "2 3 4 5", "4 5"},
    {X4 L("Scale", "scale_param { num_axes: 0 }"), "2 3 4 5", ""},
    {X4 L("BatchNorm", ""), "2 3 4 5", "3"},
    {IN("x", "dim: 5") L("BatchNorm", ""), "5", "1"},
    {X4 L("Concat", "concat_param { axis: -1 }"), "2 3 4 5", NULL},
    /* of the forks: what no gradient is checked of runs here */
    {IN("x", "dim: 6 dim: 5") IN("e", "dim: 6 dim: 1") IN("t", "dim: 6 dim: 1")
     IN("w", "dim: 6 dim: 8")
     "layer { name: 'l' type: 'BoxAnnotatorOHEM' bottom: 'x' bottom: 'e' bottom: 't' bottom: "
     "'w' top: 'u' top: 'y' box_annotator_ohem_param { roi_per_img: 4 } } ", "6 8", NULL},
    {IN("x", "dim: 2 dim: 126") IN("t", "dim: 2 dim: 63")
     "layer { name: 'l' type: 'EvalDetection' bottom: 'x' bottom: 't' top: 'y' "
     "eval_detection_param { side: 3 num_class: 4 } } ", "2 76", NULL},
    {IN("x", "dim: 1 dim: 18 dim: 4 dim: 5") IN("t", "dim: 2 dim: 5") IN("i", "dim: 1 dim: 3")
     "layer { name: 'l' type: 'Python' bottom: 'x' bottom: 't' bottom: 'i' top: 'u' top: 'y' "
     "top: 'v' top: 'w' python_param { module: 'rpn.anchor_target_layer' layer: "
     "'AnchorTargetLayer' param_str: \"'feat_stride': 16\" } } ", "1 36 4 5", NULL},
    {IN("x", "dim: 9 dim: 5") IN("t", "dim: 2 dim: 5")
     "layer { name: 'l' type: 'Python' bottom: 'x' bottom: 't' top: 'u' top: 'v' top: 'y' "
     "top: 'w' top: 'z' python_param { module: 'rpn.proposal_target_layer' layer: "
     "'ProposalTargetLayer' param_str: \"'num_classes': 3\" } } ", "128 12", NULL},
    {IN("x", "dim: 2 dim: 5 dim: 4 dim: 3") IN("t", "dim: 2 dim: 1 dim: 4 dim: 3")
     "layer { name: 'l' type: 'SoftmaxWithLossOHEM' bottom: 'x' bottom: 't' top: 'u' top: 'v' "
     "top: 'y' } ", "2 1 4 3", NULL},
    {IN("x", "dim: 2 dim: 4 dim: 4 dim: 3") IN("t", "dim: 2 dim: 4 dim: 4 dim: 3")
     "layer { name: 'l' type: 'SmoothL1LossOHEM' bottom: 'x' bottom: 't' top: 'u' top: 'y' } ",
     "2 1 4 3", NULL},
};

static const char *shape_of(dn_blob *blob)
{
    static char text[128];
    size_t used = 0;
    text[0] = 0;
    for (int32_t i = 0; blob && i < dn_blob_axes(blob); i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%lld", i ? " " : "",
                                 (long long)dn_blob_dim(blob, i));
    return text;
}

static dn_net *make(dn_context *context, const char *text, int32_t phase)
{
    dn_net *net = NULL;
    dn_net_options o = {.struct_size = sizeof o, .phase = phase};
    CHECK_STATUS(dn_net_create_from_text(&net, context, text, strlen(text), &o), DN_OK);
    return net;
}

static void check_rules(dn_context *context)
{
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        SECTION(rules[i].text);
        dn_net *net = rules[i].top ? make(context, rules[i].text, DN_PHASE_TEST) : NULL;
        if (!net)
            continue;
        CHECK_TEXT(shape_of(dn_net_blob(net, "y")), rules[i].top);
        if (rules[i].weight)
            CHECK_TEXT(shape_of(dn_net_layer_param(net, dn_net_find_layer(net, "l"), 0)),
                       rules[i].weight);
        CHECK_STATUS(dn_net_forward(net, NULL), DN_OK);
        dn_net_free(net);
    }
}

/* Constant fillers write once, random ones at every forward. */
static void check_dummy_data(dn_context *context)
{
    static const char text[] =
        "layer { name: 'd' type: 'DummyData' top: 'a' top: 'b' top: 'c' dummy_data_param { "
        "shape { dim: 4 dim: 2 } data_filler { value: 3 } data_filler { type: 'gaussian' } "
        "data_filler { type: 'xavier' } } }";
    SECTION("DummyData");
    dn_net *net = make(context, text, DN_PHASE_TRAIN);
    if (!net)
        return;
    CHECK_STATUS(dn_net_forward(net, NULL), DN_OK);
    CHECK_NEAR(dn_blob_data(dn_net_blob(net, "a"))[7], 3, 0);
    float b = dn_blob_data(dn_net_blob(net, "b"))[7],
          c = dn_blob_data(dn_net_blob(net, "c"))[7];
    CHECK(b != 0 && c != 0 && c >= -sqrtf(1.5f) && c <= sqrtf(1.5f));
    dn_blob_mutable_data(dn_net_blob(net, "a"))[7] = 5;
    CHECK_STATUS(dn_net_forward(net, NULL), DN_OK);
    CHECK_NEAR(dn_blob_data(dn_net_blob(net, "a"))[7], 5, 0);
    CHECK(dn_blob_data(dn_net_blob(net, "b"))[7] != b);
    CHECK(dn_blob_data(dn_net_blob(net, "c"))[7] != c);
    dn_net_free(net);
}

/* Every top has random numbers of its own. */
static void check_dummy_tops(dn_context *context)
{
    static const char text[] =
        "layer { name: 'd' type: 'DummyData' top: 't0' top: 't1' top: 't2' top: 't3' top: 't4' "
        "top: 't5' top: 't6' top: 't7' top: 't8' top: 't9' top: 't10' top: 't11' top: 't12' "
        "top: 't13' top: 't14' top: 't15' top: 't16' top: 't17' dummy_data_param { "
        "shape { dim: 2 } data_filler { type: 'uniform' } } }";
    float first[18];
    SECTION("DummyData of many tops");
    dn_net *net = make(context, text, DN_PHASE_TRAIN);
    if (!net)
        return;
    CHECK_STATUS(dn_net_forward(net, NULL), DN_OK);
    for (int i = 0; i < 18; i++) {
        char name[16];
        snprintf(name, sizeof name, "t%d", i);
        first[i] = dn_blob_data(dn_net_blob(net, name))[0];
        for (int k = 0; k < i; k++)
            CHECK(first[k] != first[i]);
    }
    dn_net_free(net);
}

/* TRAIN keeps a share of 1 - ratio, scaled up; TEST keeps all. */
static void check_dropout(dn_context *context)
{
    static const char text[] = IN("x", "dim: 10000")
        "layer { name: 'd' type: 'Dropout' bottom: 'x' top: 'y' dropout_param { dropout_ratio: "
        "0.2 } }";
    for (int32_t phase = DN_PHASE_TRAIN; phase <= DN_PHASE_TEST; phase++) {
        SECTION(phase == DN_PHASE_TRAIN ? "Dropout, TRAIN" : "Dropout, TEST");
        dn_net *net = make(context, text, phase);
        if (!net)
            return;
        float *x = dn_blob_mutable_data(dn_net_blob(net, "x"));
        for (int i = 0; i < 10000; i++)
            x[i] = 4;
        CHECK_STATUS(dn_net_forward(net, NULL), DN_OK);
        const float *y = dn_blob_data(dn_net_blob(net, "y"));
        int kept = 0, odd = 0;
        for (int i = 0; i < 10000; i++) {
            kept += y[i] != 0;
            odd += y[i] != 0 && fabsf(y[i] - (phase == DN_PHASE_TRAIN ? 5.0f : 4.0f)) > 1e-5f;
        }
        CHECK_NEAR(kept, phase == DN_PHASE_TRAIN ? 8000 : 10000, 160);
        CHECK_INT(odd, 0);
        dn_net_free(net);
    }
}

/* STOCHASTIC: one of the window's elements in TRAIN, sum x^2 / sum x in TEST. */
static void check_stochastic(dn_context *context)
{
    static const char text[] = IMAGE(2, 2) POOL("pool: STOCHASTIC kernel_size: 2");
    static const float in[4] = {1, 2, 3, 2};
    int seen[4] = {0};
    SECTION("stochastic pooling");
    dn_net *net = make(context, text, DN_PHASE_TRAIN);
    if (!net)
        return;
    memcpy(dn_blob_mutable_data(dn_net_blob(net, "x")), in, sizeof in);
    for (int i = 0; i < 4000; i++) {
        CHECK_STATUS(dn_net_forward(net, NULL), DN_OK);
        int y = (int)dn_blob_data(dn_net_blob(net, "y"))[0];
        if (CHECK(y >= 1 && y <= 3))
            seen[y]++;
    }
    CHECK_NEAR(seen[1] / 4000.0, 0.125, 0.021);
    CHECK_NEAR(seen[2] / 4000.0, 0.5, 0.032);
    CHECK_NEAR(seen[3] / 4000.0, 0.375, 0.031);
    dn_net_free(net);
    net = make(context, text, DN_PHASE_TEST);
    if (!net)
        return;
    memcpy(dn_blob_mutable_data(dn_net_blob(net, "x")), in, sizeof in);
    CHECK_STATUS(dn_net_forward(net, NULL), DN_OK);
    CHECK_NEAR(dn_blob_data(dn_net_blob(net, "y"))[0], 18.0 / 8, 1e-6);
    dn_net_free(net);
}

/* A net keeps its weights when the batch or the image changes. */
static void check_reshape(dn_context *context)
{
    static const char text[] = X4
        L("Convolution", "convolution_param { num_output: 2 kernel_size: 3 "
          "weight_filler { type: 'xavier' } }")
        "layer { name: 'p' type: 'Pooling' bottom: 'y' top: 'z' pooling_param { "
        "global_pooling: true } } ";
    SECTION("reshape");
    dn_net *net = make(context, text, DN_PHASE_TEST);
    if (!net)
        return;
    float w = dn_blob_data(dn_net_layer_param(net, 1, 0))[5];
    CHECK_STATUS(dn_blob_reshape(dn_net_input(net, 0), (int64_t[]){5, 3, 9, 9}, 4), DN_OK);
    CHECK_STATUS(dn_net_forward(net, NULL), DN_OK);
    CHECK_TEXT(shape_of(dn_net_blob(net, "y")), "5 2 7 7");
    CHECK_TEXT(shape_of(dn_net_blob(net, "z")), "5 2 1 1");
    CHECK_NEAR(dn_blob_data(dn_net_layer_param(net, 1, 0))[5], w, 0);
    CHECK_STATUS(dn_blob_reshape(dn_net_input(net, 0), (int64_t[]){5, 4, 9, 9}, 4), DN_OK);
    CHECK_MESSAGE(dn_net_forward(net, NULL), DN_E_SHAPE, "4 channels");
    dn_net_free(net);
}

int main(void)
{
    dn_context *context = NULL;
    CHECK_STATUS(dn_context_create(&context, NULL), DN_OK);
    if (context) {
        check_rules(context);
        check_dummy_data(context);
    check_dummy_tops(context);
        check_dropout(context);
        check_stochastic(context);
        check_reshape(context);
    }
    dn_context_free(context);
    return check_summary();
}
