/* SPDX-License-Identifier: BSD-2-Clause
 * gradient_rows.c: the nets of the gradient check. */
#include "gradient_rows.h"

#include <math.h>
#include <stdlib.h>

#include "deepnet/sys/random.h"

#define IN(name, dims) "layer { name: '" name "' type: 'Input' top: '" name "' " \
                       "input_param { shape { " dims " } } } "
#define X4 IN("x", "dim: 2 dim: 3 dim: 4 dim: 5")
#define X2 IN("x", "dim: 3 dim: 4")
#define P4 IN("p", "dim: 2 dim: 3 dim: 4 dim: 5")
/* A layer l of a type, with bottoms and tops and parameters spelled out. */
#define L(type, rest) "layer { name: 'l' type: '" type "' " rest " } "
#define XY "bottom: 'x' top: 'y' "
#define PY "bottom: 'p' top: 'y' "
/* In place on a blob that another layer made. */
#define IN_PLACE(type, rest)                                                              \
    X4 "layer { name: 'm' type: 'Power' bottom: 'x' top: 'y' power_param { scale: 1.5 } } " \
    L(type, "bottom: 'y' top: 'y' " rest)

#define NUMBERS(values) "data_filler { value: " values " } "
/* What the plan fuses: a convolution with its norm, in place; several in a residual block. */
#define CONV(name, bottom, more)                                                             \
    "layer { name: '" name "' type: 'Convolution' bottom: '" bottom "' top: '" name "' "     \
    "convolution_param { num_output: 3 kernel_size: 3 pad: 1 "                               \
    "weight_filler { type: 'gaussian' std: 0.4 } " more " } } "
#define ON(blob, name, type, rest)                                                           \
    "layer { name: '" name "' type: '" type "' bottom: '" blob "' top: '" blob "' " rest " } "
#define NORM(blob)                                                                           \
    ON(blob, blob "_n", "BatchNorm", "")                                                     \
    ON(blob, blob "_s", "Scale",                                                             \
       "scale_param { bias_term: true filler { type: 'uniform' min: 0.5 max: 1.5 } "         \
       "bias_filler { type: 'gaussian' } } ")
#define SUM(p, q, top)                                                                       \
    "layer { name: '" top "' type: 'Eltwise' bottom: '" p "' bottom: '" q "' top: '" top "' } "

/* 8 priors pri of an image of 10 x 10, offsets x and scores xx at them, and one true box gt. */
#define MULTIBOX(places, rest)                                                               \
    IN("x", "dim: 2 dim: 8 dim: " places " dim: 4") IN("xx", "dim: 2 dim: 8 dim: 3")         \
    IN("s", "dim: 1 dim: 1 dim: 2 dim: 2") IN("t2", "dim: 1 dim: 3 dim: 10 dim: 10")         \
    "layer { name: 'p' type: 'PriorBox' bottom: 's' bottom: 't2' top: 'pri' "                \
    "prior_box_param { min_size: 4 aspect_ratio: 2 flip: false } } "                         \
    "layer { name: 'd' type: 'DummyData' top: 'a' top: 'b' top: 'c' top: 'd' "               \
    "dummy_data_param { shape { dim: 1 } shape { dim: 1 } shape { dim: 2 } "                 \
    "shape { dim: 2 } "                                                                      \
    NUMBERS("0") NUMBERS("1") NUMBERS("0.1") NUMBERS("0.6") "} } "                           \
    "layer { name: 'c' type: 'Concat' bottom: 'a' bottom: 'b' bottom: 'a' bottom: 'c' "      \
    "bottom: 'd' bottom: 'a' top: 'f' concat_param { axis: 0 } } "                           \
    "layer { name: 'r' type: 'Reshape' bottom: 'f' top: 'gt' reshape_param { shape { dim: 1 " \
    "dim: 1 dim: 1 dim: 8 } } } "                                                            \
    L("MultiBoxLoss", "bottom: 'x' bottom: 'xx' bottom: 'pri' bottom: 'gt' top: 'y' "        \
                      "multibox_loss_param { num_classes: 3 code_type: CENTER_SIZE " rest " }")

const gradient_row gradient_rows[] = {
    /* element by element */
    {"AbsVal", X4 L("AbsVal", XY), 0},
    {"BNLL", X4 L("BNLL", XY), 0},
    {"Clip", X4 L("Clip", XY "clip_param { min: -0.5 max: 0.7 }"), 0},
    {"AbsVal", IN_PLACE("AbsVal", ""), 0},
    {"BNLL", IN_PLACE("BNLL", ""), 0},
    {"Clip", IN_PLACE("Clip", "clip_param { min: -0.5 max: 0.7 }"), 0},
    {"ELU", X4 L("ELU", XY "elu_param { alpha: 0.4 }"), 0},
    {"ELU", IN_PLACE("ELU", "elu_param { alpha: -0.4 }"), 0},
    {"Exp", X4 L("Exp", XY "exp_param { base: 2 scale: 0.5 shift: 0.1 }"), 0},
    {"Exp", IN_PLACE("Exp", ""), 0},
    {"Log", P4 L("Log", PY "log_param { base: 2 scale: 0.5 shift: 0.1 }"), 0},
    {"Power", P4 L("Power", PY "power_param { power: 2.5 scale: 0.5 shift: 1 }"), 0},
    {"Power", X4 L("Power", XY "power_param { scale: -2 shift: 1 }"), 0},
    {"Power", IN_PLACE("Power", "power_param { power: 2 shift: 0.3 }"), 0},
    {"Power", X4 L("Power", XY "power_param { power: 0 }"), ROW_ZERO},
    {"ReLU", X4 L("ReLU", XY), 0},
    {"ReLU", X4 L("ReLU", XY "relu_param { negative_slope: 0.1 }"), 0},
    {"ReLU", IN_PLACE("ReLU", ""), 0},
    {"ReLU", IN_PLACE("ReLU", "relu_param { negative_slope: -0.5 }"), 0},
    {"Sigmoid", X4 L("Sigmoid", XY), 0},
    {"Swish", X4 L("Swish", XY "swish_param { beta: 1.5 }"), 0},
    {"Swish", IN_PLACE("Swish", ""), 0},
    {"TanH", IN_PLACE("TanH", ""), 0},
    {"Threshold", X4 L("Threshold", XY "threshold_param { threshold: 0.2 }"), ROW_ZERO},
    {"HardSigmoid", X4 L("HardSigmoid", XY), 0},
    {"HardSigmoid", IN_PLACE("HardSigmoid", ""), 0},
    {"HardSwish", X4 L("HardSwish", XY), 0},
    {"HardSwish", IN_PLACE("HardSwish", ""), 0},
    {"ReLU6", X4 L("ReLU6", XY), 0},
    {"ReLU6", IN_PLACE("ReLU6", ""), 0},
    {"Mish", X4 L("Mish", XY), 0},
    {"Mish", IN_PLACE("Mish", ""), 0},
    {"SeLu", X4 L("SeLu", XY), 0},
    {"PReLU", X4 L("PReLU", XY), 0},
    {"PReLU", IN_PLACE("PReLU", "prelu_param { channel_shared: true }"), 0},
    {"Insanity", X4 L("Insanity", XY), 0},
    {"RReLU", X4 L("RReLU", XY "rrelu_param { lb: 3 ub: 8 }"), 0},
    {"RReLU", IN_PLACE("RReLU", "rrelu_param { lb: 0.5 ub: 2 }"), 0},
    {"RReLU", IN_PLACE("RReLU", "rrelu_param { lb: 3 ub: 8 }"), ROW_TEST},
    {"RReLU", X4 L("RReLU", XY "rrelu_param { negative_slope_lower: 3 negative_slope_upper: 8 }"),
     ROW_TEST},
    {"GradientScaler", X4 L("GradientScaler", XY), ROW_RULE},
    {"GradientScaler", IN_PLACE("GradientScaler", "gradient_scaler_param { alpha: 3 }"), ROW_RULE},
    {"SpatialDropout",
     IN("x", "dim: 3 dim: 4 dim: 2 dim: 3")
     L("SpatialDropout", "bottom: 'x' top: 'y' spatial_dropout_param { dropout_ratio: 0.3 }"), 0},
    {"SpatialDropout", IN("x", "dim: 3 dim: 4") L("SpatialDropout", "bottom: 'x' top: 'y'"),
     ROW_TEST},
    {"SpatialDropout", IN_PLACE("SpatialDropout", ""), 0},
    {"SpatialDropout", IN_PLACE("SpatialDropout", ""), ROW_TEST},
    {"Dropout", X4 L("Dropout", XY "dropout_param { dropout_ratio: 0.3 }"), 0},
    {"Dropout", IN_PLACE("Dropout", ""), 0},
    {"Dropout", IN_PLACE("Dropout", ""), ROW_TEST},
    {"Dropout", IN_PLACE("ReLU", "") ON("y", "d", "Dropout", ""), 0},
    {"Dropout", X4 L("Dropout", XY "dropout_param { scale_train: false }"), ROW_TEST},
    /* with weights */
    {"InnerProduct", X4 L("InnerProduct", XY "inner_product_param { num_output: 3 }"), 0},
    {"InnerProduct",
     X4 L("InnerProduct", XY "inner_product_param { num_output: 3 axis: 2 transpose: true "
                             "bias_term: false }"),
     0},
    {"Convolution",
     X4 L("Convolution",
          XY "convolution_param { num_output: 4 kernel_size: 3 pad: 1 stride: 2 }"),
     0},
    {"Convolution",
     IN("x", "dim: 2 dim: 4 dim: 5 dim: 6") L(
         "Convolution", XY "convolution_param { num_output: 6 kernel_h: 2 kernel_w: 3 pad_h: 1 "
                           "stride_w: 2 dilation: 2 dilation: 1 group: 2 bias_term: false }"),
     0},
    {"Convolution",
     IN("x", "dim: 2 dim: 2 dim: 3 dim: 4 dim: 3")
         L("Convolution", XY "convolution_param { num_output: 2 kernel_size: 2 }"),
     0},
    {"Convolution",
     IN("x", "dim: 2 dim: 3 dim: 8")
         L("Convolution", XY "convolution_param { num_output: 2 kernel_size: 3 dilation: 2 }"),
     0},
    {"Convolution",
     IN("x", "dim: 2 dim: 2 dim: 2 dim: 4 dim: 4")
         L("Convolution", XY "convolution_param { num_output: 3 kernel_size: 3 axis: 2 }"),
     0},
    {"Convolution", X2 L("Convolution", XY "convolution_param { num_output: 5 }"), 0},
    {"Convolution",
     X4 IN("xx", "dim: 2 dim: 3 dim: 4 dim: 5")
         L("Convolution", "bottom: 'x' bottom: 'xx' top: 'y' top: 'yy' "
                          "convolution_param { num_output: 2 kernel_size: 3 }"),
     0},
    {"Convolution",
     X4 L("Convolution", "bottom: 'x' bottom: 'x' top: 'y' top: 'yy' "
                         "convolution_param { num_output: 2 kernel_size: 2 }"),
     0},
    {"DepthwiseConvolution",
     X4 L("DepthwiseConvolution", XY "convolution_param { num_output: 3 kernel_size: 3 "
                                     "group: 3 }"), 0},
    {"ConvolutionDepthwise",
     X4 L("ConvolutionDepthwise", XY "convolution_param { num_output: 3 kernel_size: 2 }"), 0},
    {"Deconvolution",
     X4 L("Deconvolution", XY "convolution_param { num_output: 2 kernel_size: 4 pad: 1 "
                              "stride: 2 }"),
     0},
    {"Deconvolution",
     IN("x", "dim: 2 dim: 4 dim: 3 dim: 3")
         L("Deconvolution", XY "convolution_param { num_output: 6 kernel_size: 2 dilation: 2 "
                               "group: 2 bias_term: false }"),
     0},
    {"Deconvolution",
     IN("x", "dim: 2 dim: 2 dim: 2 dim: 3 dim: 2")
         L("Deconvolution", XY "convolution_param { num_output: 2 kernel_size: 2 stride: 2 }"),
     0},
    {"Deconvolution",
     IN("x", "dim: 2 dim: 2 dim: 2 dim: 3 dim: 3")
         L("Deconvolution", XY "convolution_param { num_output: 3 kernel_size: 2 axis: 2 }"),
     0},
    {"EltwiseAffine", X4 L("EltwiseAffine", XY), 0},
    {"EltwiseAffine", X4 L("EltwiseAffine", XY "eltwise_affine_param { channel_shared: true }"),
     0},
    {"EltwiseAffine", IN_PLACE("EltwiseAffine", ""), 0},
    {"Scale", X4 L("Scale", XY), 0},
    {"Scale", X4 L("Scale", XY "scale_param { axis: 1 num_axes: 2 bias_term: true }"), 0},
    {"Scale", X4 L("Scale", XY "scale_param { num_axes: 0 bias_term: true }"), 0},
    {"Scale", X4 L("Scale", XY "scale_param { axis: 0 num_axes: -1 }"), 0},
    {"Scale", IN_PLACE("Scale", "scale_param { bias_term: true }"), 0},
    {"Scale",
     X4 IN("xs", "dim: 3 dim: 4")
         L("Scale", "bottom: 'x' bottom: 'xs' top: 'y' scale_param { bias_term: true }"),
     0},
    {"Bias", X4 L("Bias", XY "bias_param { axis: 2 num_axes: 2 }"), 0},
    {"Bias", IN_PLACE("Bias", ""), 0},
    {"Bias", X4 IN("xs", "dim: 3") L("Bias", "bottom: 'x' bottom: 'xs' top: 'y'"), 0},
    {"Embed",
     IN("t5", "dim: 3 dim: 2") L("Embed", "bottom: 't5' top: 'y' embed_param { "
                                          "num_output: 4 input_dim: 5 }"),
     0},
    {"Parameter", L("Parameter", "top: 'y' parameter_param { shape { dim: 3 dim: 2 } }"), 0},
    {"Parameter", L("Parameter", "top: 'y' parameter_param { shape { dim: 3 dim: 2 } "
                                 "blob_filler { type: 'gaussian' } }"), 0},
    /* windows */
    {"Im2col", X4 L("Im2col", XY "convolution_param { kernel_size: 3 stride: 2 pad: 1 }"), 0},
    {"Pooling", X4 L("Pooling", XY "pooling_param { kernel_size: 3 stride: 2 }"), 0},
    {"Pooling", X4 L("Pooling", XY "pooling_param { kernel_size: 3 stride: 2 pad: 1 }"), 0},
    {"Pooling", X4 L("Pooling", XY "pooling_param { pool: AVE kernel_size: 3 stride: 2 }"), 0},
    {"Pooling",
     X4 L("Pooling", XY "pooling_param { pool: AVE kernel_h: 2 kernel_w: 3 pad_h: 1 pad_w: 2 "
                        "stride_h: 1 stride_w: 2 }"),
     0},
    {"Pooling", X4 L("Pooling", XY "pooling_param { pool: AVE global_pooling: true }"), 0},
    {"Pooling",
     IN("x", "dim: 1 dim: 2 dim: 4 dim: 3 dim: 4")
         L("Pooling", XY "pooling_param { kernel_size: 2 stride: 2 round_mode: FLOOR }"),
     0},
    {"Pooling",
     P4 L("Pooling", PY "pooling_param { pool: STOCHASTIC kernel_size: 2 stride: 2 }"), 0},
    {"Pooling3D",
     IN("x", "dim: 1 dim: 2 dim: 4 dim: 3 dim: 4")
         L("Pooling3D", XY "pooling_param { kernel_size: 2 stride: 2 kernel_depth: 3 }"),
     0},
    {"Convolution3D",
     IN("x", "dim: 1 dim: 2 dim: 4 dim: 3 dim: 4")
         L("Convolution3D", XY "convolution_param { num_output: 2 kernel_size: 2 kernel_depth: 3 "
                               "temporal_pad: 1 temporal_stride: 2 }"),
     0},
    {"ROIPooling",
     X4 IN("t2", "dim: 6 dim: 5")
     L("ROIPooling", "bottom: 'x' bottom: 't2' top: 'y' roi_pooling_param { pooled_h: 2 "
                     "pooled_w: 3 spatial_scale: 2.5 }"), 0},
    {"ROIPooling",
     X4 IN("t2", "dim: 6 dim: 5")
     L("ROIPooling", "bottom: 'x' bottom: 't2' top: 'y' roi_pooling_param { pooled_h: 2 "
                     "pooled_w: 3 spatial_scale: 0.9 pad_ratio: 0.6 }"), 0},
    {"PSROIPooling",
     IN("x", "dim: 2 dim: 8 dim: 4 dim: 5") IN("t2", "dim: 6 dim: 5")
     L("PSROIPooling", "bottom: 'x' bottom: 't2' top: 'y' psroi_pooling_param { output_dim: 2 "
                       "group_size: 2 spatial_scale: 1.6 }"), 0},
    {"ROIAlign",
     X4 IN("t2", "dim: 6 dim: 5")
     L("ROIAlign", "bottom: 'x' bottom: 't2' top: 'y' roi_align_param { pooled_h: 2 "
                   "pooled_w: 3 spatial_scale: 2.5 sampling_ratio: 2 }"), 0},
    {"ROIAlign",
     X4 IN("t2", "dim: 6 dim: 5")
     L("ROIAlign", "bottom: 'x' bottom: 't2' top: 'y' roi_align_param { pooled_h: 2 "
                   "pooled_w: 1 spatial_scale: 4 }"), 0},
    {"SPP", X4 L("SPP", XY "spp_param { pyramid_height: 2 }"), 0},
    {"SPP", X4 L("SPP", XY "spp_param { pyramid_height: 2 pool: AVE }"), 0},
    /* normalisation */
    {"LRN",
     IN("x", "dim: 2 dim: 6 dim: 2 dim: 3")
         L("LRN", XY "lrn_param { local_size: 3 alpha: 0.5 beta: 0.75 k: 2 }"),
     0},
    {"LRN",
     X4 L("LRN", XY "lrn_param { local_size: 3 alpha: 0.5 norm_region: WITHIN_CHANNEL }"), 0},
    {"BatchNorm", X4 L("BatchNorm", XY), 0},
    {"BatchNorm", X4 L("BatchNorm", XY), ROW_TEST},
    {"BatchNorm", X2 L("BatchNorm", XY "batch_norm_param { eps: 0.1 }"), 0},
    {"BatchNorm",
     IN_PLACE("BatchNorm", "") "layer { name: 's' type: 'Scale' bottom: 'y' top: 'y' "
                               "scale_param { bias_term: true } } "
                               "layer { name: 'r' type: 'ReLU' bottom: 'y' top: 'y' } ",
     0},
    {"BatchNorm", X4 L("BatchNorm", XY "batch_norm_param { scale_bias: true }"), 0},
    {"BatchNorm", IN_PLACE("BatchNorm", "batch_norm_param { scale_bias: true }"), ROW_TEST},
    {"BN", X4 L("BN", XY), 0},
    {"BN", X4 L("BN", XY), ROW_TEST},
    {"BN", X4 L("BN", XY "bn_param { frozen: true }"), 0},
    {"BN", IN_PLACE("BN", "bn_param { bn_mode: LEARN }"), ROW_TEST},
    {"BN", IN_PLACE("BN", "bn_param { bn_mode: INFERENCE }"), 0},
    {"Transpose", X4 L("Transpose", XY "transpose_param { dim: 3 dim: 0 dim: 2 dim: 1 }"), 0},
    {"Local", X4 L("Local", XY "local_param { num_output: 2 kernel_size: 3 stride: 2 pad: 1 "
                           "weight_filler { type: 'gaussian' } } "), 0},
    {"Local", X4 L("Local", XY "local_param { num_output: 2 kernel_size: 2 bias_term: false "
                           "weight_filler { type: 'gaussian' } } "), 0},
    {"MVN", X4 L("MVN", XY), 0},
    {"MVN", X4 L("MVN", XY "mvn_param { normalize_variance: false across_channels: true }"), 0},
    {"MVN", IN_PLACE("MVN", "mvn_param { across_channels: true }"), 0},
    {"Correlation",
     X4 IN("xx", "dim: 2 dim: 3 dim: 4 dim: 5")
         L("Correlation", "bottom: 'x' bottom: 'xx' top: 'y' correlation_param { pad: 3 "
                          "kernel_size: 3 max_displacement: 3 stride_1: 2 stride_2: 2 }"),
     0},
    {"Correlation",
     X4 L("Correlation", "bottom: 'x' bottom: 'x' top: 'y' correlation_param { pad: 1 "
                         "kernel_size: 1 max_displacement: 1 }"),
     0},
    {"Correlation",
     X4 IN("xx", "dim: 2 dim: 3 dim: 4 dim: 5")
         L("Correlation", "bottom: 'x' bottom: 'xx' top: 'y' correlation_param { pad: 1 "
                          "kernel_size: 3 max_displacement: 1 correlation_type: SUBTRACT }"),
     0},
    {"Correlation1D",
     X4 IN("xx", "dim: 2 dim: 3 dim: 4 dim: 5")
         L("Correlation1D", "bottom: 'x' bottom: 'xx' top: 'y' correlation_param { pad: 2 "
                            "kernel_size: 1 max_displacement: 2 single_direction: -1 }"),
     0},
    {"ChannelNorm", X4 L("ChannelNorm", XY), 0},
    {"Normalize", X4 L("Normalize", XY), 0},
    {"Normalize", X4 L("Normalize", XY "norm_param { across_spatial: false }"), 0},
    {"Normalize", X4 L("Normalize", XY "normalize_param { }"), 0},
    {"Normalize", X4 L("Normalize", XY "top: 'n' normalize_param { bp_norm: true }"), 0},
    {"Softmax", X4 L("Softmax", XY), 0},
    {"Softmax", IN_PLACE("Softmax", "softmax_param { axis: 2 }"), 0},
    /* shapes */
    {"Concat",
     X4 IN("xx", "dim: 2 dim: 1 dim: 4 dim: 5")
         L("Concat", "bottom: 'x' bottom: 'xx' bottom: 'x' top: 'y'"),
     0},
    {"Concat",
     X2 IN("xx", "dim: 2 dim: 4")
         L("Concat", "bottom: 'x' bottom: 'xx' top: 'y' concat_param { concat_dim: 0 }"),
     0},
    {"Slice", X4 L("Slice", "bottom: 'x' top: 'y' top: 'z' slice_param { slice_point: 1 }"), 0},
    {"Slice",
     X4 L("Slice",
          "bottom: 'x' top: 'y' top: 'z' slice_param { axis: -2 }") "layer { name: 's' type: "
                                                                    "'Silence' bottom: 'y' } ",
     0},
    {"Split", X4 L("Split", "bottom: 'x' top: 'y' top: 'z'"), 0},
    {"Flatten", X4 L("Flatten", XY "flatten_param { axis: 1 end_axis: 2 }"), 0},
    {"Reshape", X4 L("Reshape", XY "reshape_param { shape { dim: 0 dim: -1 dim: 10 } }"), 0},
    {"Crop",
     X4 IN("s", "dim: 2 dim: 3 dim: 2 dim: 2")
         L("Crop", "bottom: 'x' bottom: 's' top: 'y' crop_param { offset: 1 offset: 2 }"),
     0},
    {"Tile", X4 L("Tile", XY "tile_param { axis: 2 tiles: 3 }"), 0},
    {"Reduction", X4 L("Reduction", XY "reduction_param { axis: 2 coeff: 0.3 }"), 0},
    {"Reduction", X4 L("Reduction", XY "reduction_param { operation: MEAN axis: 1 }"), 0},
    {"Reduction", X4 L("Reduction", XY "reduction_param { operation: ASUM axis: 1 }"), 0},
    {"Reduction", X4 L("Reduction", XY "reduction_param { operation: SUMSQ }"), 0},
    {"BatchReindex",
     X4 IN("t2", "dim: 5") L("BatchReindex", "bottom: 'x' bottom: 't2' top: 'y'"), 0},
    {"Filter", X4 IN("s", "dim: 2") L("Filter", "bottom: 'x' bottom: 's' top: 'y'"), 0},
    {"Silence", X4 L("Silence", "bottom: 'x'"), ROW_ZERO},
    {"Silence",
     X4 L("Silence", "bottom: 'x'") "layer { name: 'm' type: 'Power' bottom: 'x' top: 'y' } ",
     0},
    {"Interp", X4 L("Interp", XY "interp_param { height: 7 width: 3 }"), 0},
    {"Resample", X4 L("Resample", XY "resample_param { height: 7 width: 3 type: CUBIC }"), 0},
    {"L1Loss",
     X4 L("L1Loss", XY "l1_loss_param { l2_per_location: true normalize_by_num_entries: true "
                       "power: 0.4 plateau: 1 l2_prescale_by_channels: true }"),
     0},
    {"L1Loss",
     X4 IN("xx", "dim: 2 dim: 3 dim: 4 dim: 5")
         L("L1Loss", "bottom: 'x' bottom: 'xx' top: 'y' l1_loss_param { plateau: 0.5 }"),
     0},
    {"Interp",
     X4 L("Interp", XY "interp_param { zoom_factor: 3 shrink_factor: 2 pad_beg: -1 }"), 0},
    {"Upsample", X4 L("Upsample", XY "upsample_param { scale: 2 }"), 0},
    {"Upsample",
     X4 "layer { name: 'm' type: 'Pooling' bottom: 'x' top: 'm' top: 'mask' pooling_param { "
     "kernel_size: 2 stride: 2 } } "
     L("Upsample", "bottom: 'm' bottom: 'mask' top: 'y' upsample_param { scale: 2 "
                   "upsample_h: 4 upsample_w: 5 }"), 0},
    {"Axpy", IN("xs", "dim: 2 dim: 3") X4 IN("xx", "dim: 2 dim: 3 dim: 4 dim: 5")
             L("Axpy", "bottom: 'xs' bottom: 'x' bottom: 'xx' top: 'y'"), 0},
    {"ChannelScale", X4 IN("xs", "dim: 2 dim: 1 dim: 4 dim: 5")
                     L("ChannelScale", "bottom: 'x' bottom: 'xs' top: 'y'"), 0},
    {"Reverse", IN("x", "dim: 4 dim: 3 dim: 2") L("Reverse", "bottom: 'x' top: 'y'"), 0},
    {"Reverse", IN("x", "dim: 4 dim: 3 dim: 2")
                    L("Reverse", "bottom: 'x' top: 'y' reverse_param { axis: -2 }"), 0},
    {"Flip", X4 L("Flip", XY), 0},
    {"Flip", X4 L("Flip", XY "flip_param { flip_width: false flip_height: true }"), 0},
    {"Reorg", IN("x", "dim: 2 dim: 4 dim: 4 dim: 6")
              L("Reorg", XY "reorg_param { stride: 2 }"), 0},
    {"Reorg", IN("x", "dim: 2 dim: 8 dim: 3 dim: 2")
              L("Reorg", XY "reorg_param { stride: 2 reverse: true }"), 0},
    {"ShuffleChannel", IN("x", "dim: 2 dim: 6 dim: 2 dim: 3")
                       L("ShuffleChannel", XY "shuffle_channel_param { group: 2 }"), 0},
    {"Permute", X4 L("Permute", XY "permute_param { order: 0 order: 2 order: 3 order: 1 }"), 0},
    {"Permute", X4 L("Permute", XY "permute_param { order: 3 order: 1 }"), 0},
    /* several bottoms */
    {"Eltwise", X4 L("Eltwise", XY "eltwise_param { coeff: 20 }"), 0},
    {"Eltwise", X4 L("Eltwise", XY "eltwise_param { operation: MAX }"), 0},
    {"Eltwise", X4 L("Eltwise", XY "eltwise_param { operation: PROD }"), 0},
    {"Eltwise",
     X4 IN("xx", "dim: 2 dim: 3 dim: 4 dim: 5")
         L("Eltwise", "bottom: 'x' bottom: 'xx' top: 'y' "
                      "eltwise_param { coeff: 2 coeff: -0.5 }"),
     0},
    {"Eltwise",
     X2 IN("xx", "dim: 3 dim: 4") IN("xxx", "dim: 3 dim: 4")
         L("Eltwise", "bottom: 'x' bottom: 'xx' bottom: 'xxx' bottom: 'x' top: 'y' "
                      "eltwise_param { operation: PROD }"),
     0},
    {"Eltwise",
     X2 IN("xx", "dim: 3 dim: 4")
         L("Eltwise", "bottom: 'x' bottom: 'xx' top: 'y' "
                      "eltwise_param { operation: PROD stable_prod_grad: false }"),
     0},
    {"Eltwise",
     X2 IN("xx", "dim: 3 dim: 4") IN("xxx", "dim: 3 dim: 4")
         L("Eltwise", "bottom: 'x' bottom: 'xx' bottom: 'xxx' top: 'y' "
                      "eltwise_param { operation: MAX }"),
     0},
#define TEN(op)                                                                              \
    IN("x0", "dim: 9") IN("x1", "dim: 9") IN("x2", "dim: 9") IN("x3", "dim: 9")              \
    IN("x4", "dim: 9") IN("x5", "dim: 9") IN("x6", "dim: 9") IN("x7", "dim: 9")              \
    IN("x8", "dim: 9") IN("x9", "dim: 9")                                                    \
    L("Eltwise", "bottom: 'x0' bottom: 'x1' bottom: 'x2' bottom: 'x3' bottom: 'x4' "         \
                 "bottom: 'x5' bottom: 'x6' bottom: 'x7' bottom: 'x8' bottom: 'x9' top: 'y' " \
                 "eltwise_param { operation: " op " }")
    {"Eltwise", TEN("SUM"), 0},
    {"Eltwise", TEN("PROD"), 0},
    {"Eltwise", TEN("MAX"), 0},
    /* losses */
    {"SoftmaxWithLoss",
     X2 IN("t4", "dim: 3") L("SoftmaxWithLoss", "bottom: 'x' bottom: 't4' "
                                                "top: 'y' loss_weight: 0.7"),
     0},
    {"SoftmaxWithLoss",
     X4 IN("t3", "dim: 2 dim: 4 dim: 5") L(
         "SoftmaxWithLoss", "bottom: 'x' bottom: 't3' top: 'y' loss_param { ignore_label: 1 }"),
     0},
    {"SoftmaxWithLoss",
     X4 IN("t5", "dim: 2 dim: 3 dim: 4") IN("sw", "dim: 5")
         L("SoftmaxWithLoss", "bottom: 'x' bottom: 't5' bottom: 'sw' top: 'y' "
                              "softmax_param { axis: 3 } loss_param { normalization: FULL }"),
     0},
    {"SoftmaxWithLoss",
     X4 IN("t3", "dim: 2 dim: 4 dim: 5")
         L("SoftmaxWithLoss",
           "bottom: 'x' bottom: 't3' top: 'y' loss_param { normalize: false }"),
     0},
    {"EuclideanLoss",
     X2 IN("xx", "dim: 3 dim: 4")
         L("EuclideanLoss", "bottom: 'x' bottom: 'xx' top: 'y' loss_weight: 2"),
     0},
    {"EuclideanLoss", X2 L("EuclideanLoss", "bottom: 'x' bottom: 'x' top: 'y'"), ROW_ZERO},
    {"SigmoidCrossEntropyLoss",
     X2 IN("t2", "dim: 3 dim: 4")
         L("SigmoidCrossEntropyLoss", "bottom: 'x' bottom: 't2' top: 'y'"),
     0},
    {"SigmoidCrossEntropyLoss",
     X2 IN("t2", "dim: 3 dim: 4")
         L("SigmoidCrossEntropyLoss", "bottom: 'x' bottom: 't2' top: 'y' "
                                      "loss_param { ignore_label: 1 normalization: VALID }"),
     0},
    {"SigmoidCrossEntropyLoss",
     X2 IN("t2", "dim: 3 dim: 4") IN("w", "dim: 12")
         L("SigmoidCrossEntropyLoss",
           "bottom: 'x' bottom: 't2' bottom: 'w' top: 'y' loss_weight: 2"),
     0},
    {"HingeLoss", X2 IN("t4", "dim: 3") L("HingeLoss", "bottom: 'x' bottom: 't4' top: 'y'"), 0},
    {"HingeLoss",
     X2 IN("t4", "dim: 3") L("HingeLoss", "bottom: 'x' bottom: 't4' top: 'y' "
                                          "hinge_loss_param { norm: L2 }"),
     0},
    {"MultinomialLogisticLoss",
     IN("p", "dim: 3 dim: 4") IN("t4", "dim: 3")
         L("MultinomialLogisticLoss", "bottom: 'p' bottom: 't4' top: 'y'"),
     0},
    {"InfogainLoss",
     X2 IN("t4", "dim: 3") IN("sh", "dim: 4 dim: 4")
         L("InfogainLoss", "bottom: 'x' bottom: 't4' bottom: 'sh' top: 'y'"),
     0},
    {"InfogainLoss",
     X4 IN("t4", "dim: 2 dim: 3 dim: 5") IN("sh", "dim: 4 dim: 4")
         L("InfogainLoss", "bottom: 'x' bottom: 't4' bottom: 'sh' top: 'y' "
                           "infogain_loss_param { axis: 2 } loss_param { ignore_label: 2 }"),
     0},
    /* Caffe adds 1e-4 to the distance in the gradient alone: seen less when that is large */
    {"ContrastiveLoss",
     IN("x", "dim: 3 dim: 300") IN("xx", "dim: 3 dim: 300") IN("s", "dim: 3")
         L("ContrastiveLoss", "bottom: 'x' bottom: 'xx' bottom: 's' top: 'y' "
                              "contrastive_loss_param { margin: 40 }"),
     0},
    {"ContrastiveLoss",
     X2 IN("xx", "dim: 3 dim: 4") IN("s", "dim: 3")
         L("ContrastiveLoss", "bottom: 'x' bottom: 'xx' bottom: 's' top: 'y' "
                              "contrastive_loss_param { margin: 9 legacy_version: true }"),
     0},
    {"SmoothL1Loss",
     X2 IN("xx", "dim: 3 dim: 4")
         L("SmoothL1Loss", "bottom: 'x' bottom: 'xx' top: 'y' loss_weight: 2"),
     0},
    {"SmoothL1Loss",
     X2 IN("xx", "dim: 3 dim: 4") IN("t3", "dim: 3 dim: 4") IN("t4", "dim: 3 dim: 4")
         L("SmoothL1Loss", "bottom: 'x' bottom: 'xx' bottom: 't3' bottom: 't4' top: 'y' "
                           "smooth_l1_loss_param { sigma: 0.7 }"),
     0},
    {"L1Loss", X2 IN("xx", "dim: 3 dim: 4")
               L("L1Loss", "bottom: 'x' bottom: 'xx' top: 'y'"), 0},
    {"MultiBoxLoss", MULTIBOX("1", "overlap_threshold: 0.3"), 0},
    {"MultiBoxLoss",
     MULTIBOX("1", "mining_type: HARD_EXAMPLE sample_size: 3 loc_loss_type: L2"), 0},
    {"MultiBoxLoss", MULTIBOX("3", "mining_type: NONE share_location: false "
                                   "conf_loss_type: LOGISTIC loc_weight: 2"), 0},
    {"SoftmaxWithLossOHEM",
     X4 IN("t3", "dim: 2 dim: 4 dim: 5")
     L("SoftmaxWithLossOHEM", "bottom: 'x' bottom: 't3' top: 'y' top: 'p' top: 'e' "
                              "loss_weight: 2 loss_weight: 0 loss_weight: 0 loss_param { "
                              "normalization: PRE_FIXED pre_fixed_normalizer: 7 }")
     "layer { name: 's' type: 'Silence' bottom: 'p' bottom: 'e' } ", 0},
    {"SmoothL1LossOHEM",
     X4 IN("xx", "dim: 2 dim: 3 dim: 4 dim: 5") IN("t3", "dim: 2 dim: 3 dim: 4 dim: 5")
     L("SmoothL1LossOHEM", "bottom: 'x' bottom: 'xx' bottom: 't3' top: 'y'"), 0},
    {"SmoothL1LossOHEM",
     X2 IN("xx", "dim: 3 dim: 4")
     L("SmoothL1LossOHEM", "bottom: 'x' bottom: 'xx' top: 'y' loss_param { normalization: "
                           "PRE_FIXED pre_fixed_normalizer: 5 } loss_weight: 2"), 0},
    {"CenterLoss",
     X4 IN("t5", "dim: 2")
     L("CenterLoss", "bottom: 'x' bottom: 't5' top: 'y' center_loss_param { num_output: 5 }"),
     ROW_INPUTS},
    {"CenterLoss",
     X2 IN("t5", "dim: 3")
     L("CenterLoss", "bottom: 'x' bottom: 't5' top: 'y' center_loss_param { num_output: 5 "
                     "distance_type: 'L1' }"), ROW_INPUTS},
    {"InnerProduct",
     X4 L("InnerProduct", XY "inner_product_param { num_output: 3 normalize: true }"), ROW_INPUTS},
    {"LabelSpecificAdd",
     X2 IN("t4", "dim: 3") L("LabelSpecificAdd", "bottom: 'x' bottom: 't4' top: 'y' "
                             "label_specific_add_param { bias: -0.35 }"), 0},
    {"MarginInnerProduct",
     X2 IN("t4", "dim: 3")
     L("MarginInnerProduct", "bottom: 'x' bottom: 't4' top: 'y' margin_inner_product_param { "
                             "num_output: 4 type: SINGLE }"), ROW_INPUTS},
    {"MarginInnerProduct",
     X2 IN("t4", "dim: 3")
     L("MarginInnerProduct", "bottom: 'x' bottom: 't4' top: 'y' top: 'l' "
                             "margin_inner_product_param { num_output: 4 type: QUADRUPLE base: 3 }"),
     ROW_RULE},
    {"TripletLoss",
     X2 IN("xx", "dim: 3 dim: 4") IN("xxx", "dim: 3 dim: 4")
     L("TripletLoss", "bottom: 'x' bottom: 'xx' bottom: 'xxx' top: 'y' loss_weight: 2 "
                      "triplet_loss_param { margin: 4 }"), 0},
    {"CtcLoss",
     IN("x", "dim: 6 dim: 1 dim: 4") IN("t3", "dim: 1 dim: 3")
     L("CtcLoss", "bottom: 'x' bottom: 't3' top: 'y' ctc_loss_param { blank_label: 3 }"), 0},
    {"Lstm",
     IN("x", "dim: 4 dim: 2 dim: 3") L("Lstm", XY "lstm_param { num_output: 3 weight_filler { "
                                              "type: 'gaussian' std: 0.5 } }"), 0},
    {"Lstm",
     IN("x", "dim: 6 dim: 3") L("Lstm", XY "lstm_param { num_output: 2 batch_size: 2 "
                                        "clipping_threshold: 9 bias_filler { value: 0.2 } "
                                        "weight_filler { type: 'gaussian' std: 0.5 } }"), 0},
    {"Yolov3",
     IN("x", "dim: 2 dim: 14 dim: 3 dim: 4") IN("p", "dim: 2 dim: 2 dim: 5")
     L("Yolov3", "bottom: 'x' bottom: 'p' top: 'y' yolov3_param { num: 2 num_class: 2 "
                 "biases: 10 biases: 20 biases: 40 biases: 30 }"), ROW_RULE},
    {"YoloSeg",
     IN("x", "dim: 2 dim: 3 dim: 3 dim: 4") IN("s", "dim: 2 dim: 3 dim: 3 dim: 4")
     L("YoloSeg", "bottom: 'x' bottom: 's' top: 'y'"), ROW_RULE},
    {"RegionLoss",
     IN("x", "dim: 2 dim: 14 dim: 3 dim: 4") IN("p", "dim: 2 dim: 2 dim: 5")
     L("RegionLoss", "bottom: 'x' bottom: 'p' top: 'y' region_loss_param { num: 2 num_class: 2 "
                     "biases: 1 biases: 2 biases: 2 biases: 1 }"), ROW_RULE},
    /* recurrent */
    {"LSTM",
     IN("x", "dim: 3 dim: 2 dim: 4") IN("c", "dim: 3 dim: 2")
         L("LSTM", "bottom: 'x' bottom: 'c' top: 'y' recurrent_param { num_output: 3 }"),
     0},
    {"LSTM",
     IN("x", "dim: 3 dim: 2 dim: 4") IN("c", "dim: 3 dim: 2") IN("xs", "dim: 2 dim: 3")
         L("LSTM", "bottom: 'x' bottom: 'c' bottom: 'xs' top: 'y' "
                   "recurrent_param { num_output: 3 }"),
     0},
    {"RNN",
     IN("x", "dim: 3 dim: 2 dim: 4") IN("c", "dim: 3 dim: 2")
         L("RNN", "bottom: 'x' bottom: 'c' top: 'y' recurrent_param { num_output: 3 }"),
     0},
    {"LSTM",
     IN("x", "dim: 3 dim: 2 dim: 4") IN("c", "dim: 3 dim: 2") IN("xs", "dim: 2 dim: 3")
         IN("sh", "dim: 1 dim: 2 dim: 3") IN("sc", "dim: 1 dim: 2 dim: 3") L(
             "LSTM", "bottom: 'x' bottom: 'c' bottom: 'xs' bottom: 'sh' bottom: 'sc' top: 'y' "
                     "top: 'h' top: 'z' recurrent_param { num_output: 3 expose_hidden: true }")
             L("Silence", "bottom: 'h' bottom: 'z'"),
     0},
    {"RNN",
     IN("x", "dim: 3 dim: 2 dim: 4") IN("c", "dim: 3 dim: 2") IN("xs", "dim: 2 dim: 3")
         IN("sh", "dim: 1 dim: 2 dim: 3")
             L("RNN", "bottom: 'x' bottom: 'c' bottom: 'xs' bottom: 'sh' top: 'y' top: 'h' "
                      "recurrent_param { num_output: 3 expose_hidden: true }")
                 L("Silence", "bottom: 'h'"),
     0},
    {"LSTMUnit",
     IN("x", "dim: 1 dim: 2 dim: 3") IN("xg", "dim: 1 dim: 2 dim: 12") IN("s", "dim: 1 dim: 2")
         L("LSTMUnit", "bottom: 'x' bottom: 'xg' bottom: 's' top: 'y' top: 'z'"),
     0},
    /* chains that are fused */
    {"Convolution", X4 CONV("a", "x", "") ON("a", "r", "ReLU", ""), ROW_KINKS},
    {"Convolution", X4 CONV("a", "x", "bias_term: false") NORM("a") ON("a", "r", "ReLU", ""),
     ROW_KINKS},
    {"Convolution",
     X4 CONV("a", "x", "bias_term: false") NORM("a") ON("a", "r", "TanH", ""), 0},
    {"BatchNorm", X4 CONV("a", "x", "") NORM("a") ON("a", "r", "ELU", ""),
     ROW_TEST | ROW_KINKS},
    {"Eltwise",
     X4 CONV("a", "x", "") ON("a", "r", "ReLU", "") CONV("b", "a", "") NORM("b")
     SUM("a", "b", "y")
         ON("y", "r2", "ReLU", "") CONV("d", "y", ""),
     ROW_KINKS},
    {"Eltwise",
     X4 CONV("a", "x", "") NORM("a") CONV("b", "x", "") NORM("b") SUM("a", "b", "y")
         ON("y", "r", "Sigmoid", "") "layer { name: 'p' type: 'Pooling' bottom: 'y' top: 'z' "
                                     "pooling_param { pool: AVE kernel_size: 2 stride: 2 } } "
                                     ON("z", "r2", "TanH", ""),
     0},
    {"Split",
     X4 CONV("a", "x", "") "layer { name: 's' type: 'Split' bottom: 'a' top: 'b' top: 'd' } "
                           ON("b", "r", "TanH", "") ON("d", "r2", "Sigmoid", "")
                           SUM("b", "d", "y"),
     0},
    {"Concat",
     X4 CONV("a", "x", "") ON("a", "r", "TanH", "") CONV("b", "x", "")
         "layer { name: 'c' type: 'Concat' bottom: 'a' bottom: 'b' top: 'y' } "
         CONV("d", "y", "")
             "layer { name: 'f' type: 'Flatten' bottom: 'd' top: 'e' } "
             "layer { name: 'i' type: 'InnerProduct' bottom: 'e' top: 'z' "
             "inner_product_param { num_output: 3 } } "
             ON("z", "r2", "ReLU", "relu_param { negative_slope: 0.5 }"),
     0},
    /* one blob, several readers */
    {"InnerProduct",
     X4 "layer { name: 'm' type: 'Power' bottom: 'x' top: 'y' power_param { scale: 1.5 } } " L(
         "InnerProduct",
         "bottom: 'y' top: 'z' inner_product_param { num_output: 3 }") "layer { name: 'r' "
                                                                       "type: 'ReLU' bottom: "
                                                                       "'y' top: 'y' } ",
     0},
    {"Convolution",
     IN_PLACE("ReLU",
              "") "layer { name: 'c' type: 'Convolution' bottom: 'y' top: 'z' "
                  "convolution_param { num_output: 2 kernel_size: 3 } } "
                  "layer { name: 'e' type: 'Eltwise' bottom: 'y' bottom: 'y' top: 'w' } ",
     0},
    {"Sigmoid",
     X4 L("Sigmoid",
          XY) "layer { name: 'm' type: 'Power' bottom: 'x' top: 'z' power_param { scale: 2 } } "
              "layer { name: 'n' type: 'Eltwise' bottom: 'y' bottom: 'x' top: 'w' } ",
     0},
    {"LargeMarginInnerProduct",
     X2 IN("t4", "dim: 3")
     L("LargeMarginInnerProduct", "bottom: 'x' bottom: 't4' top: 'y' margin_inner_product_param { "
                                  "num_output: 4 type: SINGLE }"), 0},
    {"LargeMarginInnerProduct",
     X2 IN("t4", "dim: 3")
     L("LargeMarginInnerProduct", "bottom: 'x' bottom: 't4' top: 'y' margin_inner_product_param { "
                                  "num_output: 4 type: QUADRUPLE base: 3 }"), 0},
    {"LargeMarginInnerProduct",
     X2 IN("t4", "dim: 3")
     L("LargeMarginInnerProduct", "bottom: 'x' bottom: 't4' top: 'y' margin_inner_product_param { "
                                  "num_output: 4 type: TRIPLE base: 0.5 }"), 0},
    {"FocalLoss",
     X4 IN("t3", "dim: 2 dim: 4 dim: 5")
     L("FocalLoss", "bottom: 'x' bottom: 't3' top: 'y' loss_weight: 2 loss_param { "
                    "ignore_label: 1 }"), 0},
    {"SoftmaxFocalLoss",
     X2 IN("t4", "dim: 3")
     L("SoftmaxFocalLoss", "bottom: 'x' bottom: 't4' top: 'y' focal_loss_param { gamma: 0.5 "
                           "alpha: 2 } loss_param { normalization: NONE }"), 0},
    {"DiceCoefLoss", IN("x", "dim: 1 dim: 12") IN("xx", "dim: 1 dim: 12")
     L("DiceCoefLoss", "bottom: 'x' bottom: 'xx' top: 'y' loss_weight: 3"), 0},
    /* the same under other names */
    {"Unpooling",
     X4 "layer { name: 'm' type: 'Pooling' bottom: 'x' top: 'm' top: 'mask' pooling_param { "
     "kernel_size: 2 stride: 2 } } "
     L("Unpooling", "bottom: 'm' bottom: 'mask' top: 'y' unpooling_param { output_h: 4 "
                    "output_w: 5 }"), 0},
    {"DepthwiseConv", X4 L("DepthwiseConv", XY "convolution_param { num_output: 3 kernel_size: "
                                               "3 group: 3 }"), 0},
    {"Normalization", X4 L("Normalization", XY), 0},
    {"L2Normalize", X4 L("L2Normalize", XY), 0},
    {"SignedSqrt", X4 L("SignedSqrt", XY), ROW_RULE},
    {"GRN", X4 L("GRN", XY "grn_param { bias: 0.5 }"), 0},
    {"GRN", X4 L("GRN", XY), 0},
    {"Pooling", X4 L("Pooling", XY "pooling_param { pool: AVE_EXC_PAD kernel_size: 3 stride: 2 "
                                   "pad_b: 1 pad_l: 2 }"), 0},
    {"Pooling",
     X4 L("Pooling", XY "pooling_param { kernel_size: 3 stride: 2 pad_t: 1 pad_r: 2 }"), 0},
    {"FlowWarp", X4 IN("xf", "dim: 2 dim: 2 dim: 4 dim: 5")
                 L("FlowWarp", "bottom: 'x' bottom: 'xf' top: 'y' flow_warp_param { }"), 0},
    {"DeformableConvolution", IN("x", "dim: 2 dim: 4 dim: 4 dim: 5")
     IN("xo", "dim: 2 dim: 24 dim: 2 dim: 4")
     L("DeformableConvolution", "bottom: 'x' bottom: 'xo' top: 'y' deformable_convolution_param { "
       "num_output: 2 kernel_h: 3 kernel_w: 2 stride_h: 2 stride_w: 1 pad: 1 dilation_h: 1 "
       "dilation_w: 3 group: 2 deformable_group: 2 weight_filler { type: 'gaussian' } }"), 0},
    {"DeformableConvolution", X4 IN("xo", "dim: 2 dim: 18 dim: 4 dim: 5")
     L("DeformableConvolution", "bottom: 'x' bottom: 'xo' top: 'y' deformable_convolution_param { "
       "num_output: 2 kernel_size: 3 pad: 1 bias_term: false weight_filler { type: 'xavier' } }"),
     0},
    {"MultiStageMeanfield", X4 IN("xq", "dim: 2 dim: 3 dim: 4 dim: 5")
     IN("t9", "dim: 2 dim: 3 dim: 4 dim: 5")
     L("MultiStageMeanfield", "bottom: 'x' bottom: 'xq' bottom: 't9' top: 'y' "
       "multi_stage_meanfield_param { num_iterations: 3 theta_alpha: 4 theta_beta: 2 "
       "theta_gamma: 1.5 bilateral_filter_weights_str: '2 1 0.5' }"), 0},
    {"SpatialTransformer", X4 IN("xt", "dim: 2 dim: 6")
     L("SpatialTransformer", "bottom: 'x' bottom: 'xt' top: 'y' st_param { }"), 0},
    {"SpatialTransformer", X4 IN("xt", "dim: 2 dim: 4")
     L("SpatialTransformer", "bottom: 'x' bottom: 'xt' top: 'y' st_param "
                             "{ output_H: 3 theta_1_2: 0.1 theta_2_1: -0.2 }"), 0},
    {"MaskPooling", X4 IN("xs", "dim: 2 dim: 1 dim: 4 dim: 5")
                    L("MaskPooling", "bottom: 'x' bottom: 'xs' top: 'y'"), 0},
    {"Padding", X4 L("Padding", XY "padding_param { pad_beg: 1 pad_end: 2 }"), 0},
    {"Padding", X4 L("Padding", XY "padding_param { pad_beg: -1 pad_end: -2 }"), 0},
    {"Padding",
     X4 L("Padding", XY "padding_param { pad: 1 pad_t: 2 pad_r: 3 pad_value: 7 }")
     "layer { name: 'p' type: 'Power' bottom: 'x' top: 'z' power_param { scale: 3 } } ", 0},
    {"Resize", X4 L("Resize", XY "resize_param { height: 7 width: 4 }"), 0},
    {"MaskResize", X4 L("MaskResize", XY "mask_resize_param { output_height: 11 "
                                      "output_width: 3 }"), 0},
    {"Resize", X4 L("Resize", XY "resize_param { is_pyramid_test: true out_height_scale: 0.6 "
                              "out_width_scale: 2 }"), 0},
    {"MultiLabelLoss", X4 IN("u", "dim: 2 dim: 60")
     L("MultiLabelLoss", "bottom: 'x' bottom: 'u' top: 'y' loss_weight: 3"), 0},
    {"WeightedSoftmaxWithLoss", X4 IN("t3", "dim: 2 dim: 4 dim: 5")
     L("WeightedSoftmaxWithLoss", "bottom: 'x' bottom: 't3' top: 'y' loss_weight: 3 softmax_param "
                                  "{ pos_mult: 2.5 pos_cid: 2 }"), 0},
    {"WeightedEuclideanLoss", X4 IN("xt", "dim: 2 dim: 3 dim: 4 dim: 5") IN("xw", "dim: 2 dim: 60")
     L("WeightedEuclideanLoss", "bottom: 'x' bottom: 'xt' bottom: 'xw' top: 'y' loss_weight: 3"),
     0},
    {"Lstm", IN("x", "dim: 6 dim: 3") IN("c", "dim: 6 dim: 1")
     L("Lstm", "bottom: 'x' bottom: 'c' top: 'y' lstm_param { num_output: 2 weight_filler { type: "
               "'gaussian' std: 0.5 } }"), 0},
};

const size_t num_gradient_rows = sizeof gradient_rows / sizeof gradient_rows[0];

/* Sources have no bottoms, and what counts or picks has no derivative. */
const char *const no_gradient_types[] = {
    "Accuracy", "AnnotatedData", "ArgMax", "AssistedExcitation", "BoxAnnotatorOHEM", "BoxOutput",
    "CPMData", "ContinuationIndicator", "Data", "DenseCRF", "DenseImageData",
    "DetectNetTransformation",
    "DetectionEvaluate", "DetectionOutput", "Downsample", "DummyData", "EltwiseAccuracy", "EvalDetection",
    "HDF5Data", "HDF5Output", "ImageData", "ImageLabelmapData", "ImageSegData", "Input",
    "LabelsequenceAccuracy", "LaneData", "MatWrite", "MemoryData", "PriorBox",
    "PriorBoxClustered", "Proposal", "Python", "SegAccuracy", "SegmentationEvaluate",
    "VideoData", "WindowData", "YoloDetectionOutput",
    "Yolov3DetectionOutput", NULL,
};

double gradient_uniform(uint64_t *draws)
{
    uint32_t word[4];
    dn_random_block(word, 1, 2, 0, (*draws)++);
    return dn_random_unit(word[0]);
}

double gradient_normal(uint64_t *draws)
{
    double u = 1 - gradient_uniform(draws), v = gradient_uniform(draws);
    return sqrt(-2 * log(u)) * cos(6.283185307179586 * v);
}

double gradient_value(uint64_t *draws, const char *name, int64_t i, int64_t row)
{
    switch (name[0]) {
    case 'p':
        return 0.2 + gradient_uniform(draws);
    case 't':
        return floor(gradient_uniform(draws) * atoi(name + 1));
    case 'c':
        return i >= row;
    case 's':
        return (double)(i % 2);
    default:
        return gradient_normal(draws);
    }
}
