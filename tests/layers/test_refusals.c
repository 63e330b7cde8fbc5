/* SPDX-License-Identifier: BSD-2-Clause
 * test_refusals.c: nets that cannot be: each is refused with the right status and a line that
 * names what is wrong. */
#include "check.h"

#include "deepnet/context.h"
#include "deepnet/solver.h"

#define IN(dims)                                                                               \
    "layer { name: 'x' type: 'Input' top: 'x' input_param { shape { " dims " } } } "
#define X4            IN("dim: 2 dim: 3 dim: 4 dim: 5")
#define L(type, rest) "layer { name: 'l' type: '" type "' bottom: 'x' top: 'y' " rest " } "
#define CONV(rest)    X4 L("Convolution", "convolution_param { " rest " }")
#define DENSE_CRF(image, rest)                                                                 \
    "layer { name: 'd' type: 'Input' top: 'd' input_param { shape { dim: 2 dim: 2 } } } "      \
    "layer { "                                                                                 \
    "name: 'l' type: 'DenseCRF' bottom: 'x' bottom: 'd' " image                                \
    " top: 'y' dense_crf_param { " rest " } }"
#define POOL(rest) X4 L("Pooling", "pooling_param { " rest " }")
#define LABELS(dims)                                                                           \
    "layer { name: 't' type: 'Input' top: 't' input_param { shape { " dims " } } } "
#define YOLO(type, rest)                                                                       \
    LABELS("dim: 2 dim: 5")                                                                    \
    "layer { name: 'l' type: '" type "' bottom: 'x' bottom: 't' top: 'y' " rest " } "
#define DETECTIONS(rest)                                                                       \
    IN("dim: 2 dim: 8")                                                                        \
    "layer { name: 'p' type: 'Input' top: 'p' "                                                \
    "input_param { shape { dim: 1 dim: 2 dim: 8 } } } "                                        \
    "layer { name: 'l' type: 'DetectionOutput' bottom: 'x' bottom: 'x' bottom: 'p' top: 'y' "  \
    "detection_output_param { " rest " } } "
#define CORRELATION(rest)                                                                      \
    X4 "layer { name: 'l' type: 'Correlation' bottom: 'x' bottom: 'x' top: 'y' "               \
       "correlation_param { " rest " } } "
#define CRF(rest)                                                                              \
    X4 "layer { name: 'l' type: 'MultiStageMeanfield' bottom: 'x' bottom: 'x' bottom: 'x' "    \
       "top: 'y' "                                                                             \
       "multi_stage_meanfield_param { num_iterations: 2 theta_alpha: 1 theta_gamma: 1 " rest   \
       " } } "
#define FIELDS "field_w: 9 field_h: 9 downsample_rate: 8"
#define BOX_OUTPUT(dims, params) IN(dims) L("BoxOutput", "box_output_param { " params " } ")
#define SOURCE(type, rest) "layer { name: 'l' type: '" type "' top: 'y' top: 'z' " rest " } "

static const struct refusal {
    const char *text;
    dn_status status;
    const char *part; /* of the message */
} refusals[] = {
    {IN("dim: 0 dim: 3"), DN_E_SHAPE, "at least 1"},
    {IN("dim: -2"), DN_E_SHAPE, "-2"},
    {IN("dim: 4611686018427387904 dim: 4611686018427387904"), DN_E_SHAPE, "2^46"},
    {"layer { name: 'x' type: 'Input' top: 'x' }", DN_E_SHAPE, "no shape"},
    {"layer { name: 'x' type: 'Input' top: 'a' top: 'b' top: 'c' input_param { shape { dim: 1 "
     "} "
     "shape { dim: 1 } } }",
     DN_E_NET, "2 shapes for 3 tops"},
    {X4 L("ReLU", "loss_weight: 1 loss_weight: 0"), DN_E_NET, "2 loss_weight for 1 tops"},
    {X4 L("ReLU", "propagate_down: true propagate_down: true"), DN_E_NET,
     "2 propagate_down for 1 bottoms"},
    {CONV("kernel_size: 3"), DN_E_NET, "num_output"},
    {CONV("num_output: 4"), DN_E_NET, "kernel_size"},
    {CONV("num_output: 4 kernel_size: 0"), DN_E_NET, "kernel_size is 0"},
    {CONV("num_output: 4 kernel_size: 7"), DN_E_SHAPE, "7"},
    {CONV("num_output: 4 kernel_size: 3 dilation: 3"), DN_E_SHAPE, "7"},
    {CONV("num_output: 4 kernel_size: 3 stride: 0"), DN_E_NET, "stride"},
    {CONV("num_output: 4 kernel_size: 3 group: 2"), DN_E_NET, "group 2"},
    {CONV("num_output: 4 kernel_size: 3 group: 3"), DN_E_NET, "num_output 4"},
    {CONV("num_output: 4 kernel_size: 3 kernel_size: 3 kernel_size: 3"), DN_E_NET, "3 times"},
    {CONV("num_output: 4 kernel_h: 3"), DN_E_NET, "kernel_w"},
    {CONV("num_output: 4 kernel_size: 3 kernel_h: 3 kernel_w: 3"), DN_E_NET, "kernel_h"},
    {CONV("num_output: 4 kernel_size: 1 axis: 4"), DN_E_SHAPE, "axis"},
    {CONV("num_output: 4 kernel_size: 1 weight_filler { type: 'xavie' }"), DN_E_NET,
     "'xavier'"},
    {CONV("num_output: 4 kernel_size: 2000000000 pad: 2000000000"), DN_E_SHAPE, "2^46"},
    {CORRELATION("kernel_size: 2 max_displacement: 1"), DN_E_NET, "odd kernel_size"},
    {CORRELATION("kernel_size: 1"), DN_E_NET, "max_displacement"},
    {CORRELATION("kernel_size: 1 max_displacement: 1 stride_2: 0"), DN_E_NET, "above 0"},
    {CORRELATION("kernel_size: 1 max_displacement: 2"), DN_E_SHAPE, "too short"},
    {CORRELATION("kernel_size: 4294967295 max_displacement: 4294967295 pad: 4294967295"),
     DN_E_SHAPE, "too short"},
    {CORRELATION("kernel_size: 1 max_displacement: 4294967295 pad: 4294967295"), DN_E_LIMIT,
     "displacements"},
    {CORRELATION("kernel_size: 1 max_displacement: 64 pad: 64"), DN_E_LIMIT, "displacements"},
    {CORRELATION("kernel_size: 1 max_displacement: 0 pad: 4294967295"), DN_E_SHAPE, "2^46"},
    {X4 "layer { name: 'l' type: 'Correlation1D' bottom: 'x' bottom: 'x' top: 'y' "
        "correlation_param { kernel_size: 1 max_displacement: 0 single_direction: 2 } }",
     DN_E_NET, "single_direction"},
    {X4 L("Deconvolution", "convolution_param { num_output: 4 kernel_size: 1 pad: 4 }"),
     DN_E_SHAPE, "pad 4"},
    {POOL(""), DN_E_NET, "kernel_size"},
    {POOL("kernel_size: 9"), DN_E_SHAPE, "9"},
    {POOL("kernel_size: 2 pad: 2"), DN_E_NET, "pad 2"},
    {POOL("kernel_h: 65537 kernel_w: 1 pad_h: 65536"), DN_E_LIMIT,
     "kernel is longer than 65536"},
    {POOL("kernel_size: 2 stride: 0"), DN_E_NET, "stride"},
    {POOL("global_pooling: true kernel_size: 2"), DN_E_NET, "global_pooling"},
    {POOL("global_pooling: true kernel_size: 4294967295"), DN_E_NET, "takes no kernel"},
    {POOL("global_pooling: true pad: 1"), DN_E_NET, "global_pooling"},
    {POOL("pool: STOCHASTIC kernel_size: 2 pad: 1"), DN_E_UNSUPPORTED, "STOCHASTIC"},
    {IN("dim: 2 dim: 3") L("Pooling", "pooling_param { kernel_size: 2 }"), DN_E_SHAPE,
     "2 axes"},
    {X4 "layer { name: 'l' type: 'Pooling' bottom: 'x' top: 'y' top: 'z' pooling_param { pool: "
        "AVE "
        "kernel_size: 2 } }",
     DN_E_NET, "second top"},
    {X4 L("LRN", "lrn_param { local_size: 4 }"), DN_E_NET, "odd"},
    {IN("dim: 2 dim: 3") L("LRN", "lrn_param { norm_region: WITHIN_CHANNEL }"), DN_E_SHAPE,
     "2"},
    {X4 L("InnerProduct", ""), DN_E_NET, "num_output"},
    {X4 L("InnerProduct", "inner_product_param { num_output: 2 axis: 9 }"), DN_E_SHAPE,
     "axis 9"},
    {X4 L("Softmax", "softmax_param { axis: 4 }"), DN_E_SHAPE, "axis 4"},
    {IN("dim: 1 dim: 4294967296") LABELS(
         "dim: 1") "layer { name: 'h' type: 'DummyData' top: 'h' dummy_data_param { shape { "
                   "dim: 1 } } } layer { name: 'l' type: 'InfogainLoss' bottom: 'x' "
                   "bottom: 't' bottom: 'h' top: 'y' }",
     DN_E_SHAPE, "square"},
    {IN("dim: 65537 dim: 1 dim: 1") L("Lstm", "lstm_param { num_output: 1 }"), DN_E_LIMIT,
     "65537 time steps"},
    {IN("dim: 6 dim: 1") "layer { name: 'l' type: 'Lstm' bottom: 'x' bottom: 'c' top: 'y' "
                         "lstm_param { "
                         "num_output: 1 } } ",
     DN_E_NET, "'c'"},
    {IN("dim: 6 dim: 2") "layer { name: 'l' type: 'Lstm' bottom: 'x' bottom: 'x' top: 'y' "
                         "lstm_param { "
                         "num_output: 1 } } ",
     DN_E_SHAPE, "bottom 1 has 12 values, 6 x 1 are needed"},
    {IN("dim: 4 dim: 3 dim: 2") "layer { name: 'l' type: 'Lstm' bottom: 'x' bottom: 'x' top: "
                                "'y' lstm_param { num_output: 1 } } ",
     DN_E_SHAPE, "bottom 1 has 24 values, 4 x 3 are needed: one for each step"},
    {X4 L("Dropout", "dropout_param { dropout_ratio: 1 sample_weights_test: true }"), DN_E_NET,
     "dropout_ratio"},
    {X4 L("Flatten", "flatten_param { axis: 3 end_axis: 1 }"), DN_E_NET, "end_axis"},
    {X4 L("Reshape", "reshape_param { shape { dim: 7 } }"), DN_E_SHAPE, "120"},
    {X4 L("Reshape", "reshape_param { shape { dim: -1 dim: -1 } }"), DN_E_NET, "twice"},
    {X4 L("Reshape", "reshape_param { shape { dim: -1 dim: 7 } }"), DN_E_SHAPE, "divide"},
    {X4 L("Reshape", "reshape_param { shape { dim: -5 } }"), DN_E_SHAPE, "-5"},
    {X4 L("Reshape", "reshape_param { shape { dim: 0 } axis: 4 }"), DN_E_SHAPE, "no axis 4"},
    {X4 L("Reshape", "reshape_param { shape { dim: 6 } axis: 3 num_axes: 2 }"), DN_E_SHAPE,
     "num_axes"},
    {X4 "layer { name: 's' type: 'Slice' bottom: 'x' top: 'a' top: 'b' }", DN_E_SHAPE, "equal"},
    {X4 "layer { name: 's' type: 'Slice' bottom: 'x' top: 'a' top: 'b' slice_param { "
        "slice_point: 1 "
        "slice_point: 2 } }",
     DN_E_NET, "slice_point"},
    {X4 "layer { name: 's' type: 'Slice' bottom: 'x' top: 'a' top: 'b' slice_param { "
        "slice_point: 3 "
        "} }",
     DN_E_SHAPE, "top 1"},
    {X4 L("Scale", "scale_param { axis: 3 num_axes: 2 }"), DN_E_SHAPE, "num_axes"},
    {X4 YOLO("Yolov3", "yolov3_param { num_class: 1 num: 1 biases: 0 biases: 2 }"), DN_E_NET,
     "positive"},
    {X4 YOLO("Yolov3", "yolov3_param { num_class: 1 num: 1 biases: 1 biases: 2 mask: 1 }"),
     DN_E_NET, "mask 1"},
    {X4 YOLO("Yolov3", "yolov3_param { num_class: 1 num: 2 biases: 1 biases: 2 }"), DN_E_NET,
     "2 biases for the 2 anchors"},
    {X4 YOLO("RegionLoss", "region_loss_param { num_class: 1 num: 1 biases: 0 biases: 2 }"),
     DN_E_NET, "positive"},
    {X4 YOLO("RegionLoss", "region_loss_param { num_class: 1 num: 1 biases: 1 }"), DN_E_NET,
     "two biases"},
    {X4 YOLO("RegionLoss", "region_loss_param { num_class: 1 num: 1 biases: 1 biases: 2 }"),
     DN_E_SHAPE, "a map of 6 channels"},
    {DETECTIONS(""), DN_E_NET, "num_classes is 0"},
    {DETECTIONS("num_classes: 1048576"), DN_E_NET, "num_classes is 1048576"},
    {DETECTIONS("num_classes: 1048575"), DN_E_SHAPE,
     "2 priors of 1048575 classes need 2097150"},
    {IN("dim: 1 dim: 4") "layer { name: 'p' type: 'Input' top: 'p' top: 'g' input_param { "
                         "shape { dim: 1 dim: 2 dim: 17592186044416 } shape { dim: 1 dim: 1 "
                         "dim: 1 dim: 8 } } } "
                         "layer { name: 'l' type: 'MultiBoxLoss' bottom: 'x' bottom: 'x' "
                         "bottom: 'p' bottom: 'g' "
                         "top: 'y' multibox_loss_param { num_classes: 1048575 share_location: "
                         "false "
                         "do_neg_mining: false } }",
     DN_E_SHAPE, "bottom 2 must be priors"},
    {X4 LABELS("dim: 4") "layer { name: 's' type: 'Bias' bottom: 'x' bottom: 't' top: 'y' }",
     DN_E_SHAPE, "axis 1"},
    {X4 LABELS("dim: 4") "layer { name: 's' type: 'Eltwise' bottom: 'x' bottom: 't' top: 'y' }",
     DN_E_SHAPE, "bottom 1"},
    {X4 "layer { name: 's' type: 'Eltwise' bottom: 'x' bottom: 'x' top: 'y' eltwise_param { "
        "coeff: "
        "1 } }",
     DN_E_NET, "coeff"},
    {X4 "layer { name: 's' type: 'Eltwise' bottom: 'x' bottom: 'x' top: 'y' eltwise_param { "
        "operation: PROD coeff: 1 coeff: 2 } }",
     DN_E_NET, "SUM"},
    /* before memory is taken for the weights, 80 GB of them */
    {"layer { name: 'x' type: 'Input' top: 'x' input_param { shape { dim: 2 dim: 200000 } } } "
     "layer { name: 'i' type: 'InnerProduct' bottom: 'x' top: 'i' inner_product_param { "
     "num_output: 100000 } } layer { name: 's' type: 'Eltwise' bottom: 'i' bottom: 'x' top: "
     "'y' }",
     DN_E_SHAPE, "layer 's': bottom 1 is"},
    {"layer { name: 'l' type: 'Eltwise' top: 'y' }", DN_E_NET, "at least 1 bottom, the"},
    {X4 LABELS("dim: 2 dim: 3 dim: 4") "layer { name: 's' type: 'Concat' bottom: 'x' bottom: "
                                       "'t' top: 'y' }",
     DN_E_SHAPE, "3 axes"},
    {X4 LABELS("dim: 2 dim: 3 dim: 9 dim: 5") "layer { name: 's' type: 'Concat' bottom: 'x' "
                                              "bottom: 't' top: 'y' }",
     DN_E_SHAPE, "axis 2"},
    {X4 LABELS("dim: 2") "layer { name: 's' type: 'SoftmaxWithLoss' bottom: 'x' bottom: 't' "
                         "top: 'y' }",
     DN_E_SHAPE, "40"},
    {X4 LABELS("dim: 2 dim: 4 dim: 5") "layer { name: 's' type: 'SoftmaxWithLoss' bottom: 'x' "
                                       "bottom: 't' top: 'y' loss_param { class_weighting: 1 "
                                       "weight_by_label_freqs: true } }",
     DN_E_NET, "class_weighting has 1 values, each of 3 classes"},
    {X4 LABELS("dim: 2 dim: 3 dim: 4 dim: 5") "layer { name: 's' type: "
                                              "'SigmoidCrossEntropyLoss' bottom: 'x' bottom: "
                                              "'t' top: 'y' loss_param { class_weighting: 1 "
                                              "weight_by_label_freqs: true } }",
     DN_E_UNSUPPORTED, "weight_by_label_freqs is for SoftmaxWithLoss"},
    {X4 L("SigmoidCrossEntropyLoss",
          "bottom: 'x' bottom: 'x' loss_param { normalization: FULL }"),
     DN_E_UNSUPPORTED, "there is no loss_param beside weights"},
    {X4 LABELS("dim: 2") "layer { name: 's' type: 'SigmoidCrossEntropyLoss' bottom: 'x' "
                         "bottom: 'x' bottom: 't' top: 'y' }",
     DN_E_SHAPE, "bottom 2 has"},
    {X4 LABELS("dim: 2") "layer { name: 's' type: 'Accuracy' bottom: 'x' bottom: 't' top: 'y' "
                         "accuracy_param { top_k: 4 } }",
     DN_E_NET, "top_k"},
    {X4 LABELS("dim: 2 dim: 9") "layer { name: 's' type: 'EuclideanLoss' bottom: 'x' bottom: "
                                "'t' top: 'y' }",
     DN_E_SHAPE, "18"},
    {X4 L("ArgMax", "argmax_param { top_k: 61 }"), DN_E_NET, "top_k"},
    {X4 L("Convolution3D", "convolution_param { num_output: 1 kernel_size: 1 }"), DN_E_SHAPE,
     "temporal_pad need 3 spatial axes, not 2"},
    {X4 L("Pooling", "pooling_param { kernel_size: 1 kernel_size: 2 kernel_size: 3 }"),
     DN_E_NET, "kernel_size is given 3 times for 2 spatial axes"},
    {X4 L("Pooling", "pooling_param { kernel_size: [ 1, 2, 3 ] }"), DN_E_NET,
     "kernel_size is given 3 times for 2 spatial axes"},
    {X4 L("Pooling", "pooling_param { kernel_size: [ 1, 'x' ] }"), DN_E_PARSE,
     "'kernel_size' needs a whole number, not 'x'"},
    {X4 L("Pooling", "pooling_param { kernel_size: 1 kernel_size: -1 }"), DN_E_PARSE,
     "'kernel_size': -1 is out of range"},
    {X4 L("Pooling", "pooling_param { stride: [ 1 2 ] }"), DN_E_PARSE,
     "expected ',' or ']' in the list of 'stride'"},
    {X4 L("Pooling", "pooling_param { kernel_size: 2 dilation: [ 1, 2 ] }"), DN_E_UNSUPPORTED,
     "dilation of pooling is not supported"},
    {X4 L("Pooling", "pooling_param { kernel_size: 2 dilation: [ 1, 1, 1 ] }"),
     DN_E_UNSUPPORTED, "dilation of pooling is not supported, only 1 for each axis"},
    {X4 L("Pooling", "pooling_param { kernel_size: 1 kernel_size_3d: 2 }"), DN_E_NET,
     "give kernel_size once or for each axis, not both"},
    {X4 L("Pooling", "pooling_param { kernel_size: 1 pool: AVE pool: MAX }"), DN_E_PARSE,
     "'pool' of PoolingParameter is given twice"},
    {X4 L("Pooling", "pooling_param { kernel_size: 1 temporal_stride: 1 }"), DN_E_SHAPE,
     "temporal_pad need 3 spatial axes, not 2"},
    {SOURCE("Data", "data_param { source: 's' batch_size: 1 } transform_param { expand_param { "
                    "max_expand_ratio: 2 } }"),
     DN_E_UNSUPPORTED, "for AnnotatedData"},
    {SOURCE("LaneData", "data_param { source: 's' batch_size: 1 }"), DN_E_UNSUPPORTED,
     "LaneData would read the lanes of 's'"},
    {SOURCE("DenseImageData", "dense_image_data_param { source: 's' crop_height: 2 }"),
     DN_E_INVALID, "both of its height and its width"},
    {SOURCE("DenseImageData", "dense_image_data_param { source: 's' label_divide_factor: 2 }"),
     DN_E_UNSUPPORTED, "label_divide_factor is not supported"},
    {SOURCE("DenseImageData", ""), DN_E_NET, "DenseImageData needs a source"},
    {SOURCE("CPMData", "data_param { source: 's' batch_size: 2 }"), DN_E_UNSUPPORTED,
     "CPMData would read the poses of 's'"},
    {SOURCE("CPMData", "data_param { batch_size: 2 }"), DN_E_NET, "data_param needs a source"},
    {SOURCE("CPMData", "data_param { source: 's' batch_size: 2 } cpm_transform_param { stride: "
                       "0 }"),
     DN_E_NET, "needs a stride"},
    {SOURCE("CPMData", "data_param { source: 's' batch_size: 2 } cpm_transform_param { num_parts: "
                       "4294967295 }"),
     DN_E_UNSUPPORTED, "would read"},
    {SOURCE("VideoData", "image_data_param { source: 's' }"), DN_E_UNSUPPORTED,
     "VideoData would read the images of 's'"},
    {SOURCE("VideoData", "video_data_param { source: 's' batch_size: 2 }"), DN_E_UNSUPPORTED,
     "VideoData would read the frames of 's'"},
    {SOURCE("VideoData", "video_data_param { batch_size: 2 }"), DN_E_NET,
     "video_data_param needs a source"},
    {SOURCE("VideoData",
            "video_data_param { source: 's' batch_size: 2 num_segments: 4294967295 "
            "new_length: 4294967295 }"),
     DN_E_SHAPE, "4294967295 segments of 4294967295 frames are too many"},
    {SOURCE("VideoData", "video_data_param { video_type: WEBCAM }"), DN_E_NET,
     "data_param needs a batch_size"},
    {X4 "layer { name: 'l' type: 'MatWrite' bottom: 'x' }", DN_E_UNSUPPORTED,
     "MatWrite would write .mat files"},
    {SOURCE("ImageSegData", "image_data_param { source: 's' new_height: 4 }"), DN_E_NET,
     "both of new_height and new_width"},
    {"layer { name: 's' type: 'ImageLabelmapData' top: 'x' top: 'y' image_data_param { source: "
     "'s' } }",
     DN_E_IO, "image list 's': cannot read 's'"},
    {SOURCE("ImageSegData", "image_data_param { source: 's' } transform_param { resize_param { "
                            "height: 2 width: 2 } }"),
     DN_E_NET, "resize_param has no place"},
    {X4 L("Upsample", "upsample_param { unpool: AVE kernel_size: 2 unpool_size: 8 }"),
     DN_E_UNSUPPORTED, "unpooling other than MAX by a mask"},
    {X4
     "layer { name: 'm' type: 'Pooling' bottom: 'x' top: 'm' top: 'k' pooling_param { "
     "kernel_size: 2 stride: 2 } } layer { name: 'l' type: 'Unpooling' bottom: 'm' bottom: 'k' "
     "top: 'y' pooling_param { kernel_size: 2 stride: 2 } }",
     DN_E_UNSUPPORTED, "unpooling other than MAX by a mask to a given size"},
    {X4 L("Pooling", "pooling_param { pool: STOCHASTIC kernel_size: 3 pad_t: 1 }"),
     DN_E_UNSUPPORTED, "STOCHASTIC pooling takes no pad"},
    {X4 "layer { name: 'l' type: 'L2Normalize' bottom: 'x' top: 'x' }", DN_E_NET, "in place"},
    {X4 "layer { name: 'l' type: 'SignedSqrt' bottom: 'x' top: 'x' }", DN_E_NET, "in place"},
    {X4 LABELS("dim: 2 dim: 1 dim: 4 dim: 5") "layer { name: 'l' type: 'EltwiseAccuracy' "
                                              "bottom: 'x' bottom: 't' top: 'y' "
                                              "eltwise_accuracy_param { top_k: 4 } }",
     DN_E_NET, "top_k is 4, the classes are 3"},
    {X4 LABELS("dim: 2 dim: 1 dim: 4 dim: 5") "layer { name: 'l' type: 'EltwiseAccuracy' "
                                              "bottom: 'x' bottom: 't' top: 'y' "
                                              "eltwise_accuracy_param { use_label: 1 } }",
     DN_E_UNSUPPORTED, "unknown field 'use_label'"},
    {X4 L("RReLU", ""), DN_E_NET, "needs lb and ub, or"},
    {X4 L("RReLU", "rrelu_param { lb: 3 negative_slope_upper: 8 }"), DN_E_NET,
     "needs lb and ub, or"},
    {X4 L("RReLU", "rrelu_param { lb: 0 ub: 8 }"), DN_E_NET, "are above 0, the second above"},
    {X4 L("RReLU", "rrelu_param { lb: 3 ub: 3 }"), DN_E_NET, "are above 0, the second above"},
    {X4 L("RReLU", "rrelu_param { lb: nan ub: 3 }"), DN_E_NET, "are above 0, the second above"},
    {X4 L("Insanity", "insanity_param { ub: 5 }"), DN_E_NET, "are above 0, the second above"},
    {X4 L("Insanity", "insanity_param { negative_slope_upper: 5 }"), DN_E_NET,
     "lb and ub alone"},
    {X4 L("GradientScaler", "gradient_scaler_param { max_iter: 0 }"), DN_E_NET,
     "max_iter must be above 0"},
    {X4 L("GradientScaler", "gradient_scaler_param { threshold_iter: 5 }"), DN_E_UNSUPPORTED,
     "unknown field 'threshold_iter'"},
    {X4 L("MultiLabelLoss", ""), DN_E_NET, "2 bottoms"},
    {X4 "layer { name: 'l' type: 'MultiLabelLoss' bottom: 'x' bottom: 'l' top: 'y' }", DN_E_NET,
     "made by no layer"},
    {X4 LABELS("dim: 2 dim: 1 dim: 4 dim: 5")
     "layer { name: 'l' type: 'WeightedSoftmaxWithLoss' bottom: 'x' bottom: 't' top: 'y' "
     "softmax_param { pos_cid: 3 pos_mult: 2 } }",
     DN_E_NET, "pos_cid is 3, the classes are 3"},
    {X4 LABELS("dim: 2 dim: 1 dim: 4 dim: 5")
     "layer { name: 'l' type: 'WeightedSoftmaxWithLoss' bottom: 'x' bottom: 't' bottom: 't' "
     "top: 'y' }",
     DN_E_NET, "takes 2 bottoms"},
    {BOX_OUTPUT("dim: 2 dim: 6 dim: 3 dim: 4", "field_w: 9 field_h: 9"), DN_E_NET,
     "1 bottoms need as many of field_w"},
    {BOX_OUTPUT("dim: 2 dim: 5 dim: 3 dim: 4", FIELDS), DN_E_SHAPE, "two scores and more"},
    {BOX_OUTPUT("dim: 2 dim: 6 dim: 12", FIELDS), DN_E_SHAPE, "the bottoms must be maps"},
    {BOX_OUTPUT("dim: 1 dim: 6 dim: 50000 dim: 50000", FIELDS), DN_E_SHAPE,
     "2500000000 cells are too many"},
    {BOX_OUTPUT("dim: 2 dim: 6 dim: 3 dim: 4", FIELDS " field_whr: 0.5"), DN_E_NET,
     "a field_whr of at least 1"},
    {BOX_OUTPUT("dim: 2 dim: 6 dim: 3 dim: 4", FIELDS " nms_type: 'IOMU'"), DN_E_UNSUPPORTED,
     "nms_type must be IOU"},
    {X4 L("DenseCRF", ""), DN_E_NET, "at least 2 bottoms"},
    {X4 DENSE_CRF("", "pos_w: 1"), DN_E_NET, "a pos_w needs a pos_xy_std"},
    {X4 DENSE_CRF("bottom: 'x'", "pos_w: 1 pos_xy_std: 1"), DN_E_NET, "an image a bi_w"},
    {X4 DENSE_CRF("",
                  "pos_w: [1, 1, 1, 1, 1, 1, 1, 1, 1] pos_xy_std: [1, 1, 1, 1, 1, 1, 1, 1, 1]"),
     DN_E_NET, "8 of both at most"},
    {X4 DENSE_CRF("", "pos_w: 1 pos_xy_std: 0"), DN_E_NET, "deviations are above 0"},
    {X4 DENSE_CRF("", "pos_w: 1 pos_xy_std: nan"), DN_E_NET, "deviations are above 0"},
    {X4 DENSE_CRF("bottom: 'd'", "bi_w: 1 bi_xy_std: 1 bi_rgb_std: 1"), DN_E_SHAPE,
     "bottom 2 needs images of bottom 0's size, of 3 colours"},
    {"layer { name: 'x' type: 'Input' top: 'x' input_param { shape { dim: 2 dim: 3 dim: "
     "1048576 "
     "dim: 1048576 } } } " DENSE_CRF("", "pos_w: 1 pos_xy_std: 1"),
     DN_E_SHAPE, "too many pixels"},
    {X4 L("Padding", "padding_param { pad_beg: -2 pad_end: -2 }"), DN_E_SHAPE,
     "the pads leave nothing of the bottom"},
    {X4 L("Padding", "padding_param { pad_beg: -2147483648 pad_end: -2147483648 }"), DN_E_SHAPE,
     "the pads leave nothing of the bottom"},
    {X4 L("Padding", "padding_param { pad_beg: -1 pad_end: 1 }"), DN_E_NET,
     "pads are all positive or all negative"},
    {X4 L("Padding", "padding_param { pad: 4294967295 pad_l: 4294967295 pad_t: 4294967295 }"),
     DN_E_SHAPE, "more than 2^46 elements"},
    {X4 L("Padding", "padding_param { pad: 1 pad_method: REPEAT }"), DN_E_UNSUPPORTED,
     "pad_method other than CONSTANT"},
    {"layer { name: 's' type: 'Input' top: 'x' input_param { shape { dim: 4 dim: 3 } } } " L(
         "Padding", "padding_param { pad: 1 }"),
     DN_E_SHAPE, "bottom 0 has 2 axes, not 4"},
    {X4 L("Padding", "padding_param { pad: -1 }"), DN_E_PARSE, "-1"},
    {X4 L("Resize", ""), DN_E_SHAPE, "height or width is not given, or not above 0"},
    {X4 L("Resize", "resize_param { height: 4 }"), DN_E_SHAPE,
     "height or width is not given, or not above 0"},
    {X4 L("Resize", "resize_param { height: 4294967295 width: 4294967295 }"), DN_E_SHAPE,
     "more than 2^46 elements"},
    {X4 L("Resize", "resize_param { is_pyramid_test: true out_height_scale: 1e38 "
                    "out_width_scale: inf }"),
     DN_E_SHAPE, "more than 2^46 elements"},
    {X4 L("Resize", "resize_param { is_pyramid_test: true out_height_scale: -2 "
                    "out_width_scale: nan }"),
     DN_E_SHAPE, "height or width is not given, or not above 0"},
    {X4 L("Resize", "resize_param { resize_ratio: 2 }"), DN_E_UNSUPPORTED, "resize_ratio"},
    {X4 L("MaskResize", ""), DN_E_SHAPE, "height or width is not given, or not above 0"},
    {X4 L("MaskResize", "mask_resize_param { output_height: 4294967295 output_width: 9 }"),
     DN_E_SHAPE, "takes too many weights"},
    {X4 L("Resize", "resize_param { height: 2 width: 2 interp_mode: NEAREST }"),
     DN_E_UNSUPPORTED, "alone"},
    {X4
     "layer { name: 'w' type: 'Pooling' bottom: 'x' top: 'w' pooling_param { global_pooling: "
     "true pool: AVE } } layer { name: 'l' type: 'WeightedEuclideanLoss' bottom: 'x' bottom: "
     "'x' "
     "bottom: 'w' top: 'y' }",
     DN_E_SHAPE, "bottom 2 has 6 values, bottom 0 has 120"},
    {X4 "layer { name: 'l' type: 'WeightedEuclideanLoss' bottom: 'x' bottom: 'x' top: 'y' }",
     DN_E_NET, "3 bottoms"},
    {X4 "layer { name: 't' type: 'Reshape' bottom: 'x' top: 't' reshape_param { shape { dim: 3 "
        "dim: -1 } } } layer { name: 'l' type: 'WeightedEuclideanLoss' bottom: 'x' bottom: 't' "
        "bottom: 'x' top: 'y' }",
     DN_E_SHAPE, "bottom 0 has 2 items, bottom 1 has 3"},
    {X4 "layer { name: 'l' type: 'MaskPooling' bottom: 'x' bottom: 'x' top: 'y' }", DN_E_SHAPE,
     "bottom 1 has"},
    {X4 L("GRN", "grn_param { bias: -1 }"), DN_E_NET, "bias must be at least 0"},
    {X4 "layer { name: 'l' type: 'FlowWarp' bottom: 'x' bottom: 'x' top: 'y' }", DN_E_SHAPE,
     "bottom 1 must have 2 numbers for each pixel"},
    {X4 "layer { name: 'l' type: 'FlowWarp' bottom: 'x' bottom: 'x' top: 'y' flow_warp_param { "
        "fill_value: NOT_A_NUMBER } }",
     DN_E_UNSUPPORTED, "fill_value NOT_A_NUMBER is not supported"},
    {X4 "layer { name: 'l' type: 'DeformableConvolution' bottom: 'x' bottom: 'x' top: 'y' "
        "deformable_convolution_param { num_output: 2 kernel_size: 1 } }",
     DN_E_SHAPE, "bottom 1 must have 2 numbers for each tap and place of the top"},
    {X4 "layer { name: 'l' type: 'DeformableConvolution' bottom: 'x' bottom: 'x' top: 'y' "
        "deformable_convolution_param { num_output: 2 kernel_size: 1 deformable_group: 2 } }",
     DN_E_NET, "deformable_group 2 does not divide the 3 channels"},
    {X4 "layer { name: 'l' type: 'DeformableConvolution' bottom: 'x' bottom: 'x' top: 'y' "
        "deformable_convolution_param { num_output: 2 kernel_size: 1 pad_l: 1 } }",
     DN_E_UNSUPPORTED, "a deformable convolution has 2 axes, padded alike"},
    {X4 L("Convolution",
          "convolution_param { num_output: 2 kernel_size: 1 deformable_group: 1 }"),
     DN_E_NET, "deformable_group is DeformableConvolution's"},
    {CRF(""), DN_E_NET, "theta_alpha, theta_beta, theta_gamma above 0 and num_iterations"},
    {CRF("theta_beta: 1 compatibility_mode: FULL_CROSS"), DN_E_UNSUPPORTED,
     "compatibility_mode other than POTTS is not supported"},
    {CRF("theta_beta: 1 spatial_filter_weights_str: '3 3'"), DN_E_NET,
     "spatial_filter_weights_str needs 3 numbers, one for each channel"},
    {CRF("theta_beta: 1 bilateral_filter_weights_str: '3 3 3 3'"), DN_E_NET,
     "bilateral_filter_weights_str needs 3 numbers, one for each channel"},
    {CRF("theta_beta: 1 bilateral_filter_weights_str: '3 b 3'"), DN_E_NET,
     "bilateral_filter_weights_str needs 3 numbers, one for each channel"},
    {X4 "layer { name: 'l' type: 'SpatialTransformer' bottom: 'x' bottom: 'x' top: 'y' }",
     DN_E_UNSUPPORTED, "without st_param theta means another thing in each fork"},
    {X4 "layer { name: 'l' type: 'SpatialTransformer' bottom: 'x' bottom: 'x' top: 'y' "
        "st_param { } }",
     DN_E_SHAPE, "bottom 1 must have 6 numbers of theta for each item"},
    {X4 "layer { name: 'l' type: 'SpatialTransformer' bottom: 'x' bottom: 'x' top: 'y' "
        "st_param { de_transform: true } }",
     DN_E_UNSUPPORTED, "only affine and bilinear"},
    {X4 L("Pooling", "pooling_param { pool: AVE kernel_size: 3 pad_t: 1 }"), DN_E_UNSUPPORTED,
     "AVE of opposite sides padded unlike"},
    {X4 L("Pooling", "pooling_param { kernel_size: 3 pad: 1 pad_t: 1 }"), DN_E_NET,
     "pad_t, pad_b, pad_l and pad_r need"},
    {X4 L("Pooling", "pooling_param { kernel_size: 3 pad_b: 3 }"), DN_E_NET,
     "a side's pad is not less than the kernel, 3"},
    {SOURCE("WindowData", "window_data_param { batch_size: 1 }"), DN_E_NET,
     "window_data_param needs a source"},
    {SOURCE("DummyData", ""), DN_E_NET, "shape"},
    {SOURCE("DummyData", "dummy_data_param { shape { dim: 2 } data_filler { type: 'x' } "
                         "data_filler { type: 'x' } data_filler { type: 'x' } }"),
     DN_E_NET, "3 data_filler"},
    {SOURCE("DummyData", "dummy_data_param { num: 2 channels: 0 height: 1 width: 1 }"),
     DN_E_SHAPE, "axis 1"},
    {SOURCE("MemoryData", "memory_data_param { batch_size: 0 channels: 1 height: 1 width: 1 }"),
     DN_E_NET, "batch_size"},
};

static void check_refusals(dn_context *context)
{
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        const struct refusal *r = &refusals[i];
        dn_net *net = NULL;
        SECTION(r->text);
        CHECK_MESSAGE(dn_net_create_from_text(&net, context, r->text, strlen(r->text), NULL),
                      r->status, r->part);
        CHECK(!net);
        dn_net_free(net);
    }
}

/* What only the run can find. */
static void check_runs(dn_context *context)
{
    static const char text[] =
        IN("dim: 2 dim: 3") LABELS("dim: 2") "layer { name: 'loss' type: 'SoftmaxWithLoss' "
                                             "bottom: 'x' bottom: 't' top: 'y' }";
    static const char memory[] = SOURCE(
        "MemoryData", "memory_data_param { batch_size: 2 channels: 1 height: 1 width: 1 }");
    static const float six[6] = {1, 2, 3, 4, 5, 6};
    dn_net *net = NULL;
    SECTION("labels out of range");
    CHECK_STATUS(dn_net_create_from_text(&net, context, text, sizeof text - 1, NULL), DN_OK);
    if (net) {
        dn_blob_mutable_data(dn_net_blob(net, "t"))[1] = 3;
        CHECK_MESSAGE(dn_net_forward(net, NULL), DN_E_DATA, "loss");
        dn_blob_mutable_data(dn_net_blob(net, "t"))[1] = 2;
        CHECK_STATUS(dn_net_forward(net, NULL), DN_OK);
    }
    dn_net_free(net);
    net = NULL;
    SECTION("MemoryData");
    CHECK_STATUS(dn_net_create_from_text(&net, context, memory, sizeof memory - 1, NULL),
                 DN_OK);
    if (net) {
        CHECK_MESSAGE(dn_net_forward(net, NULL), DN_E_STATE, "dn_net_set_memory_data");
        CHECK_MESSAGE(dn_net_set_memory_data(net, NULL, six, six, 5), DN_E_INVALID, "multiple");
        CHECK_MESSAGE(dn_net_set_memory_data(net, "m", six, six, 6), DN_E_NOTFOUND, "'m'");
        CHECK_STATUS(dn_net_set_memory_data(net, "l", six, six, 6), DN_OK);
        for (int i = 0; i < 5; i++) {
            CHECK_STATUS(dn_net_forward(net, NULL), DN_OK);
            CHECK_NEAR(dn_blob_data(dn_net_blob(net, "y"))[0], six[i * 2 % 6], 0);
            CHECK_NEAR(dn_blob_data(dn_net_blob(net, "z"))[1], six[i * 2 % 6 + 1], 0);
        }
    }
    dn_net_free(net);
}

/* A net that is only wired has blobs without values, and each accessor says so. */
static void check_wire_only(dn_context *context)
{
    static const char text[] =
        IN("dim: 2 dim: 3") "layer { name: 'y' type: 'InnerProduct' bottom: 'x' top: 'y' "
                            "inner_product_param { num_output: 1 } }";
    static const float three[3] = {1, 2, 3};
    dn_net_options options = {.struct_size = sizeof options, .wire_only = 1};
    dn_net *net = NULL;
    float values[3];
    SECTION("wire_only");
    CHECK_STATUS(dn_net_create_from_text(&net, context, text, sizeof text - 1, &options),
                 DN_OK);
    if (!net)
        return;
    dn_blob *blobs[] = {dn_net_blob(net, "y"), dn_net_layer_param(net, 1, 0)};
    CHECK_MESSAGE(dn_blob_write(blobs[1], three, 3), DN_E_STATE, "weight 'y/0' has no memory");
    CHECK_MESSAGE(dn_blob_read(blobs[1], values, 3), DN_E_STATE, "wire_only");
    for (int i = 0; i < 2; i++) {
        CHECK(!dn_blob_data(blobs[i]));
        CHECK(dn_last_error() && strstr(dn_last_error(), "wire_only"));
        CHECK(!dn_blob_mutable_diff(blobs[i]));
        CHECK(dn_last_error() && strstr(dn_last_error(), "wire_only"));
    }
    dn_net_free(net);
    net = NULL;
    static const char filler[] =
        IN("dim: 2 dim: 3") "layer { name: 'y' type: 'InnerProduct' bottom: 'x' top: 'y' "
                            "inner_product_param { num_output: 1 "
                            "weight_filler { type: 'xaver' } } }";
    CHECK_MESSAGE(dn_net_create_from_text(&net, context, filler, sizeof filler - 1, &options),
                  DN_E_NET,
                  "layer 'y': weight 0: unknown filler type 'xaver'; did you mean 'xavier'?");
}

/* The reason of a failure outlives what cannot fail: hosts free first and print then. */
static void check_reason_stays(dn_context *context)
{
    static const char text[] = IN("dim: 2 dim: 3");
    static const char solver_text[] = "base_lr: 1 lr_policy: 'fixed'";
    dn_context *another = NULL;
    dn_net *net = NULL, *none = NULL;
    dn_solver *solver = NULL;
    SECTION("the reason stays");
    CHECK_STATUS(dn_context_create(&another, NULL), DN_OK);
    CHECK_STATUS(dn_net_create_from_text(&net, context, text, sizeof text - 1, NULL), DN_OK);
    CHECK_STATUS(dn_solver_create_from_text(&solver, another, solver_text,
                                            sizeof solver_text - 1, text, sizeof text - 1,
                                            NULL),
                 DN_OK);
    CHECK_STATUS(dn_net_forward(net, NULL), DN_OK);
    CHECK_STATUS(dn_net_create_from_text(&none, context, "x", 1, NULL), DN_E_PARSE);
    const char *reason = dn_last_error();
    CHECK(dn_version() && dn_net_num_layers(net) == 1 && dn_net_find_layer(net, "y") == -1);
    CHECK(!dn_net_layer_name(net, 1) && dn_solver_iteration(solver) == 0);
    dn_net_free(net);
    dn_solver_free(solver);
    dn_context_free(another);
    CHECK(reason && reason == dn_last_error() && strstr(reason, "unknown field 'x'"));
    CHECK(dn_layer_type(0));
    CHECK_STATUS(dn_context_synchronise(context), DN_OK);
    CHECK(!dn_last_error());
}

int main(void)
{
    dn_context *context = NULL;
    CHECK_STATUS(dn_context_create(&context, NULL), DN_OK);
    if (context) {
        check_refusals(context);
        check_runs(context);
        check_wire_only(context);
        check_reason_stays(context);
    }
    dn_context_free(context);
    return check_summary();
}
