/* SPDX-License-Identifier: BSD-2-Clause
 * test_hosts.c: which layers still run on the host where the context has a device: the nets of
 * the gradient check, one at least for each class with a gradient, some for the others, and the
 * recorded ones are planned, in each kind of plan and type of products; what runs on the host
 * is exactly this list. test_hosts NETS [FOLDER]: the device is a fake one that takes what
 * `ref` takes, or the module's in FOLDER, so that what its kernels decline shows.
 */
#include "core/core.h"

#include "check.h"

#include "../layers/gradient_rows.h"
#include "deepnet/context.h"
#include "fake.h"
#include "net/net.h"
#include "solver_text.h"

/* In either direction, and why. */
static const struct {
    const char *type, *why;
} hosts[] = {
    {"BoxOutput", "the number of boxes found: the shape depends on it"},
    {"DetectionEvaluate", "sorts, matches: of a test, and its output is the host's to sum"},
    {"DetectionOutput", "the number of boxes found: the shape depends on it"},
    {"DummyData", "a filler's values"},
    {"EvalDetection", "sorts, matches: of a test, and its output is the host's to sum"},
    {"Filter", "which items pass: the shape depends on it"},
    {"HDF5Output", "writes a file"},
    {"MemoryData", "the host's data"},
    {"Proposal", "the number of boxes found: the shape depends on it"},
    {"Python", "ProposalLayer, ProposalTargetLayer: the shape depends on the number of boxes"},
    {"SegmentationEvaluate", "resizes images of 8 bits"},
    {"YoloDetectionOutput", "the number of boxes found: the shape depends on it"},
    {"Yolov3DetectionOutput", "the number of boxes found: the shape depends on it"},
};

enum { NUM_HOSTS = sizeof hosts / sizeof hosts[0] };

#define IN(name, dims)                                                                         \
    "layer { name: '" name "' type: 'Input' top: '" name "' "                                  \
    "input_param { shape { " dims " } } } "
#define L(type, rest) "layer { name: 'l' type: '" type "' " rest " } "

/* Read files, or only wire. */
static const char *const elsewhere[] = {"AnnotatedData",
                                        "AssistedExcitation",
                                        "CPMData",
                                        "Data",
                                        "DenseImageData",
                                        "DetectNetTransformation",
                                        "HDF5Data",
                                        "ImageData",
                                        "ImageLabelmapData",
                                        "ImageSegData",
                                        "LaneData",
                                        "MatWrite",
                                        "VideoData",
                                        "WindowData"};

/* Of classes without a gradient, each but those, and of parameters and neighbours that bring
 * the host in. */
static const gradient_row others[] = {
    {"Accuracy",
     IN("x", "dim: 2 dim: 3") IN("t", "dim: 2")
         L("Accuracy", "bottom: 'x' bottom: 't' top: 'y'"),
     0},
    {"ArgMax", IN("x", "dim: 2 dim: 3") L("ArgMax", "bottom: 'x' top: 'y'"), 0},
    {"BoxAnnotatorOHEM",
     IN("x", "dim: 6 dim: 5") IN("e", "dim: 6 dim: 1") IN("t", "dim: 6 dim: 1")
         IN("w", "dim: 6 dim: 8")
             L("BoxAnnotatorOHEM",
               "bottom: 'x' bottom: 'e' bottom: 't' bottom: 'w' top: 'u' top: 'y' "
               "box_annotator_ohem_param { roi_per_img: 4 }"),
     0},
    {"BoxOutput",
     IN("x", "dim: 2 dim: 7 dim: 3 dim: 4") IN("y", "dim: 2 dim: 7 dim: 1 dim: 2")
         L("BoxOutput", "bottom: 'x' bottom: 'y' top: 'z' box_output_param { fg_thr: -9 "
                        "field_w: 20 field_h: 20 downsample_rate: 8 field_w: 40 field_h: 40 "
                        "downsample_rate: 16 }"),
     0},
    {"ContinuationIndicator",
     L("ContinuationIndicator",
       "top: 'y' continuation_indicator_param { time_step: 4 batch_size: 3 }"),
     0},
    {"Convolution",
     IN("x", "dim: 1 dim: 64 dim: 8 dim: 8")
         L("Convolution", "bottom: 'x' top: 'y' convolution_param { num_output: 64 group: 64 "
                          "kernel_size: 3 pad: 1 weight_filler { type: 'xavier' } }"),
     0},
    {"DenseCRF",
     IN("x", "dim: 1 dim: 2 dim: 3 dim: 4") IN("d", "dim: 1 dim: 2")
         L("DenseCRF", "bottom: 'x' bottom: 'd' top: 'y' dense_crf_param { pos_w: 1 "
                       "pos_xy_std: 2 }"),
     0},
    {"DetectionEvaluate",
     IN("x", "dim: 1 dim: 1 dim: 4 dim: 7") IN("g", "dim: 1 dim: 1 dim: 3 dim: 8")
         L("DetectionEvaluate", "bottom: 'x' bottom: 'g' top: 'z' detection_evaluate_param { "
                                "num_classes: 3 background_label_id: 0 }"),
     0},
    {"DetectionOutput",
     IN("x", "dim: 2 dim: 32") IN("y", "dim: 2 dim: 24") IN("p", "dim: 1 dim: 2 dim: 32")
         L("DetectionOutput", "bottom: 'x' bottom: 'y' bottom: 'p' top: 'z' "
                              "detection_output_param { num_classes: 3 }"),
     0},
    {"Downsample",
     IN("x", "dim: 2 dim: 2 dim: 9 dim: 12") L(
         "Downsample", "bottom: 'x' top: 'y' downsample_param { top_height: 3 top_width: 4 }"),
     0},
    {"DummyData",
     L("DummyData", "top: 'y' dummy_data_param { shape { dim: 2 dim: 3 } "
                    "data_filler { type: 'gaussian' } }"),
     0},
    {"Eltwise", /* one reader of its mask can be turned, and one cannot */
     IN("x", "dim: 1 dim: 4 dim: 3 dim: 3")
         "layer { name: 'd' type: 'Dropout' bottom: 'x' top: 'd' } "
         "layer { name: 'm' type: 'Eltwise' bottom: 'd' bottom: 'x' top: 'm' "
         "  eltwise_param { operation: MAX } } " L(
             "Convolution", "bottom: 'm' top: 'y' convolution_param { num_output: 4 "
                            "kernel_size: 1 weight_filler { type: 'xavier' } }"),
     0},
    {"EltwiseAccuracy",
     IN("x", "dim: 2 dim: 3 dim: 2 dim: 2") IN("t", "dim: 2 dim: 1 dim: 2 dim: 2")
         L("EltwiseAccuracy", "bottom: 'x' bottom: 't' top: 'y'"),
     0},
    {"EvalDetection",
     IN("x", "dim: 2 dim: 126") IN("t", "dim: 2 dim: 63")
         L("EvalDetection", "bottom: 'x' bottom: 't' top: 'y' "
                            "eval_detection_param { side: 3 num_class: 4 }"),
     0},
    {"HDF5Output",
     IN("x", "dim: 2 dim: 3") IN("t", "dim: 2")
         L("HDF5Output", "bottom: 'x' bottom: 't' hdf5_output_param { file_name: 'none.h5' }"),
     0},
    {"Input", IN("x", "dim: 2"), 0},
    {"LabelSpecificAdd",
     IN("x", "dim: 3 dim: 4") IN("t", "dim: 3")
         L("LabelSpecificAdd", "bottom: 'x' bottom: 't' top: 'y' label_specific_add_param { "
                               "bias_base: -0.1 bias_gamma: -0.05 bias_power: 2 }"),
     0},
    {"LabelsequenceAccuracy",
     IN("x", "dim: 5 dim: 6 dim: 4") IN("t", "dim: 5 dim: 4")
         L("LabelsequenceAccuracy", "bottom: 'x' bottom: 't' top: 'y' "
                                    "labelsequence_accuracy_param { blank_label: 3 }"),
     0},
    {"LargeMarginInnerProduct",
     IN("x", "dim: 3 dim: 4") IN("t", "dim: 3")
         L("LargeMarginInnerProduct",
           "bottom: 'x' bottom: 't' top: 'y' top: 'l' largemargin_inner_product_param { "
           "num_output: 5 type: TRIPLE base: 9 gamma: 0.5 }"),
     0},
    {"MarginInnerProduct",
     IN("x", "dim: 3 dim: 4") IN("t", "dim: 3") L(
         "MarginInnerProduct", "bottom: 'x' bottom: 't' top: 'y' margin_inner_product_param { "
                               "num_output: 5 type: DOUBLE base: 9 gamma: 0.5 }"),
     0},
    {"MemoryData",
     L("MemoryData", "top: 'y' top: 't' memory_data_param { batch_size: 1 "
                     "channels: 1 height: 2 width: 2 }"),
     0},
    {"PriorBox",
     IN("x", "dim: 1 dim: 2 dim: 3 dim: 3") IN("i", "dim: 1 dim: 3 dim: 9 dim: 9")
         L("PriorBox", "bottom: 'x' bottom: 'i' top: 'y' prior_box_param { min_size: 4 }"),
     0},
    {"PriorBoxClustered",
     IN("x", "dim: 1 dim: 2 dim: 4 dim: 3") IN("i", "dim: 1 dim: 3 dim: 40 dim: 30")
         L("PriorBoxClustered", "bottom: 'x' bottom: 'i' top: 'y' prior_box_param { "
                                "width: 3.5 height: 8 width: 12 height: 4.5 }"),
     0},
    {"Proposal",
     IN("x", "dim: 1 dim: 18 dim: 4 dim: 5") IN("y", "dim: 1 dim: 36 dim: 4 dim: 5")
         IN("i", "dim: 1 dim: 3") L("Proposal", "bottom: 'x' bottom: 'y' bottom: 'i' top: 'z'"),
     0},
    {"Python",
     IN("x", "dim: 1 dim: 18 dim: 4 dim: 5") IN("y", "dim: 1 dim: 36 dim: 4 dim: 5")
         IN("i", "dim: 1 dim: 3") L(
             "Python",
             "bottom: 'x' bottom: 'y' bottom: 'i' top: 'z' python_param { module: "
             "'rpn.proposal_layer' layer: 'ProposalLayer' param_str: \"'feat_stride': 16\" }"),
     0},
    {"SegAccuracy",
     IN("x", "dim: 1 dim: 2 dim: 4 dim: 5") IN("t", "dim: 1 dim: 1 dim: 4 dim: 5")
         L("SegAccuracy", "bottom: 'x' bottom: 't' top: 'y'"),
     0},
    {"SegmentationEvaluate",
     IN("x", "dim: 1 dim: 2 dim: 4 dim: 5") IN("t", "dim: 1 dim: 2 dim: 3 dim: 4")
         L("SegmentationEvaluate", "bottom: 'x' bottom: 't' top: 'y'"),
     0},
    {"YoloDetectionOutput",
     IN("x", "dim: 2 dim: 14 dim: 3 dim: 4")
         L("YoloDetectionOutput",
           "bottom: 'x' top: 'z' yolo_detection_output_param { "
           "num_classes: 2 num_box: 2 biases: 1 biases: 2 biases: 3 biases: 1 }"),
     0},
    {"Yolov3DetectionOutput",
     IN("x", "dim: 1 dim: 14 dim: 3 dim: 4")
         L("Yolov3DetectionOutput",
           "bottom: 'x' top: 'z' yolov3_detection_output_param { "
           "num_classes: 2 num_box: 2 biases: 1 biases: 2 biases: 3 biases: 1 mask: 0 mask: 1 "
           "mask_group_num: 1 anchors_scale: 32 }"),
     0},
};

/* Of a class that is on the list for another of its kinds. */
static const gradient_row none = {
    "Python",
    IN("x", "dim: 1 dim: 18 dim: 4 dim: 5") IN("t", "dim: 2 dim: 5") IN("i", "dim: 1 dim: 3")
        L("Python", "bottom: 'x' bottom: 't' bottom: 'i' top: 'u' top: 'y' top: 'v' top: 'w' "
                    "python_param { module: 'rpn.anchor_target_layer' layer: "
                    "'AnchorTargetLayer' param_str: \"'feat_stride': 16\" }"),
    0};

static bool found[NUM_HOSTS];

static void note(const char *type, const char *text)
{
    for (int i = 0; i < NUM_HOSTS; i++)
        if (!strcmp(hosts[i].type, type)) {
            found[i] = true;
            return;
        }
    CHECK_AT(false, "%s has a step on the host: %s", type, text);
}

/* What the device declines is never right. Folding weights, when they change, is the host's. */
static void look(dn_net *net, const char *text)
{
    const dni_program *p = dni_plan_program(net->plan);
    for (size_t i = 0; i < p->num_ops; i++) {
        const dni_op *op = &p->ops[i];
        const char *type = op->layer < 0 ? "the plan" : net->layers[op->layer].layer.cls->type;
        if (dni_plan_on_device(net->plan, i))
            continue;
        CHECK_AT(op->kind == DN_OP_HOST_CALL, "%s: %s: %s", type,
                 dni_plan_declined(net->plan, i), text);
        if (op->section != DNI_PREPARE)
            note(type, text);
    }
    dn_net_free(net);
}

static void plan_row(dn_context *context, const gradient_row *row, int32_t compute)
{
    char text[8192];
    dn_net *net = NULL;
    dn_net_options options = {.struct_size = sizeof options,
                              .phase = row->flags & ROW_TEST ? DN_PHASE_TEST : DN_PHASE_TRAIN,
                              .compute = compute,
                              .compute_fallback = 1};
    snprintf(text, sizeof text, "force_backward: true %s", row->text);
    dn_status st = dn_net_create_from_text(&net, context, text, strlen(text), &options);
    CHECK_AT(st == DN_OK, "%s: %s", row->text, dn_last_error());
    if (!st)
        look(net, row->text);
}

/* The recorded nets, in the phase that has a gradient. */
static void plan_files(dn_context *context, const char *folder, int32_t compute)
{
    char path[1024];
    int count = 0;
    DIR *all = opendir(folder);
    for (struct dirent *entry; all && (entry = readdir(all));) {
        dn_net *net = NULL;
        dn_net_options options = {.struct_size = sizeof options,
                                  .phase = DN_PHASE_TRAIN,
                                  .compute = compute,
                                  .compute_fallback = 1};
        snprintf(path, sizeof path, "%s/%s/net.prototxt", folder, entry->d_name);
        if (access(path, R_OK))
            continue;
        count++;
        dn_status st = dn_net_create_from_prototxt(&net, context, path, &options);
        CHECK_AT(st == DN_OK, "%s: %s", path, dn_last_error());
        if (!st)
            look(net, path);
    }
    if (all)
        closedir(all);
    CHECK_AT(count > 0, "there are no nets in %s", folder);
}

static void check_all_there(void)
{
    SECTION("rows");
    for (const char *const *type = no_gradient_types; *type; type++) {
        bool there = false;
        for (size_t i = 0; i < sizeof elsewhere / sizeof elsewhere[0]; i++)
            there |= !strcmp(*type, elsewhere[i]);
        for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
            there |= !strcmp(*type, others[i].type);
        CHECK_AT(there, "%s has no gradient, and no row here", *type);
    }
}

static void plan_nets(dn_context_options *options, const char *folder, int32_t plan,
                      int32_t compute)
{
    static const char *const plans[] = {"fused", "plain", "NHWC"};
    dn_context *context = NULL;
    SECTION(plans[plan]);
    options->plan = plan;
    memset(found, 0, sizeof found);
    CHECK_STATUS(dn_context_create(&context, options), DN_OK);
    if (!context)
        return;
    plan_row(context, &none, compute);
    for (int i = 0; i < NUM_HOSTS; i++)
        CHECK_AT(!found[i], "%s: an anchor's targets are the device's", hosts[i].type);
    for (size_t i = 0; i < num_gradient_rows; i++)
        plan_row(context, &gradient_rows[i], compute);
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        plan_row(context, &others[i], compute);
    for (int i = 0; i < NUM_HOSTS; i++)
        CHECK_AT(found[i], "%s runs on the device: it leaves the list", hosts[i].type);
    plan_files(context, folder, compute);
    dn_context_free(context);
}

/* Every rule, with all that may come before it. */
static void plan_updates(const dn_context_options *options)
{
    SECTION("updates");
    static const char *const rules[] = {
        "type: 'SGD' momentum: 0.9",      "type: 'Nesterov' momentum: 0.9",
        "type: 'AdaGrad' delta: 1e-7",    "type: 'RMSProp' rms_decay: 0.9 delta: 1e-7",
        "type: 'AdaDelta' momentum: 0.9", "type: 'Adam' momentum: 0.9 momentum2: 0.99"};
    static const char *const more[] = {
        "", "weight_decay: 0.1", "weight_decay: 0.1 regularization_type: 'L1' iter_size: 2",
        "clip_gradients: 1 weight_decay: 0.1 iter_size: 3"};
    dn_context *context = NULL;
    CHECK_STATUS(dn_context_create(&context, options), DN_OK);
    for (size_t i = 0; context && i < sizeof rules / sizeof rules[0]; i++)
        for (size_t k = 0; k < sizeof more / sizeof more[0]; k++) {
            char text[512], *plan = NULL;
            snprintf(text, sizeof text,
                     "base_lr: 0.1 lr_policy: 'inv' gamma: 0.1 power: 1 %s %s", rules[i],
                     more[k]);
            dn_solver *solver = make_solver(context, text, SMALL_NET, NULL);
            CHECK_STATUS(dn_solver_describe(solver, DN_DESCRIBE_PLAN, &plan), DN_OK);
            CHECK_AT(plan && strstr(plan, "update: ") && !strstr(plan, "runs on the host"),
                     "%s: %s", text, plan);
            dn_net_text_free(dn_solver_net(solver), plan);
            dn_solver_free(solver);
        }
    dn_context_free(context);
}

int main(int argc, char **argv)
{
    dn_context_options options = {.struct_size = sizeof options, .backends = "ref"};
    if (argc < 2)
        return 2;
    if (argc > 2) {
        options.device = 1;
        options.module_folder = argv[2];
    } else {
        options.backend = &fake_backend;
    }
    check_all_there();
    for (int32_t all = 0; all <= 1; all++)
        for (int32_t plan = DN_PLAN_FUSED; plan <= DN_PLAN_NHWC; plan++)
            for (int32_t compute = DN_COMPUTE_F32; compute <= DN_COMPUTE_BF16; compute++) {
                options.backends = all ? NULL : "ref"; /* NULL: with what is fast on the host */
                plan_nets(&options, argv[1], plan, compute);
            }
    plan_updates(&options);
    return check_summary();
}
