/* SPDX-License-Identifier: BSD-2-Clause
 * fields.c: what the forks' fields mean here, in one table. A field that Caffe's messages have
 * from forks is honoured, or steers another implementation and is noted once, or changes what
 * is reported and is noted too, or changes the result: an error, unless it has its default.
 * Messages that Caffe lacks belong to a layer type each, whose file says what it honours. */
#include <stdio.h>
#include <string.h>

#include "proto/proto.h"

#define FORKS 20000 /* cnn.proto numbers the forks' fields from here on */

/* Names, NULL: none. Those honoured are for readers and for the test that misses no field. */
#define ROW(message, honoured, steers, reports, changes)                                       \
    {                                                                                          \
        message, steers, reports, changes                                                      \
    }
static const struct meaning {
    const char *message, *steers, *reports, *changes;
} meanings[] = {
    ROW("BlobProto",
        "raw_data_type shape_stride raw_diff_type packed_data raw_data packed_diff "
        "raw_diff",
        NULL, NULL, NULL),
    ROW("Datum", "record_id seg_label", NULL, NULL, NULL),
    ROW("FillerParameter", "alpha", NULL, NULL, "scale"),
    ROW("NetParameter", "bottom version",
        "engine default_forward_type default_backward_type default_forward_math "
        "default_backward_math global_grad_scale global_grad_scale_adaptive "
        "default_conv_algos_override reduce_buckets default_cudnn_math_override "
        "eltwise_mem_sharing reduced_memory_inference",
        NULL, "bn_stats_batch_size"),
    ROW("SolverParameter", /* those of policies matter with the field that asks */
        "larc larc_policy larc_eta rampup_lr warmup_start_lr momentum_policy max_momentum "
        "momentum_power "
        "weight_decay_power max_weight_decay local_gw_ratio plateau_winsize stagelr stageiter "
        "warmup_iter rampup_interval min_lr sparsity_target sparsity_step_factor "
        "sparsity_step_iter sparsity_start_iter sparsity_start_factor",
        "device per_parameter_reduce solver_data_type store_blobs_in_old_format engine",
        "eval_type ap_version show_per_class_result test_offset test_and_snapshot_last_epochs "
        "display_sparsity",
        "clamp_weights_lower clamp_weights_upper clip_weights disabled_update "
        "larc_turbo local_lr_auto weight_decay_policy sparse_mode"),
    ROW("SolverState", "deepnet", NULL, NULL, NULL),
    ROW("ParamSpec", NULL, NULL, NULL, "fix_lr"),
    ROW("LayerParameter", /* parameters of layer types of their own */
        "interp_param seg_accuracy_param center_loss_param smooth_l1_loss_param reorg_param "
        "upsample_param trt_param bn_param box_annotator_ohem_param psroi_pooling_param "
        "roi_pooling_param roi_align_param spatial_dropout_param annotated_data_param "
        "multibox_loss_param local_param permute_param prior_box_param triplet_loss_param "
        "detection_output_param detection_evaluate_param eltwise_affine_param norm_param "
        "region_loss_param relu6_param flip_param normalize_param proposal_param "
        "smoothl1_param "
        "resize_param focal_loss_param channel_scale_param eval_detection_param "
        "yolo_detection_output_param yolov3_detection_output_param yolov3_param yolo_seg_param "
        "segmentation_evaluate_param detectnet_groundtruth_param detectnet_augmentation_param "
        "shuffle_channel_param dense_image_data_param continuation_indicator_param "
        "margin_inner_product_param label_specific_add_param lstm_param "
        "ctc_loss_param reverse_param video_data_param mat_write_param",
        "device bottom_shared_index top_shared_index forward_type backward_type forward_math "
        "backward_math debug engine cudnn_math_override quantization_param",
        NULL, "noise_param"),
    ROW("TransformationParameter",
        "resize_param emit_constraint distort_param expand_param crop_h crop_w crop_height "
        "crop_width",
        "use_gpu_transform random_seed display debug_params num_labels", NULL,
        "flow scale_factors noise_param "
        "img_rand_resize_lower img_rand_resize_upper center_crop erase_ratio "
        "scale_min scale_max aspect_min aspect_max rand_resize_ratio_lower "
        "rand_resize_ratio_upper vertical_stretch_lower "
        "vertical_stretch_upper horizontal_stretch_lower horizontal_stretch_upper "
        "random_resize_param enable_classf_aug random_aspect_ratio_param min_scaling_factor "
        "max_scaling_factor max_rotation_angle interpolation_algo_down interpolation_algo_up "
        "bgr2rgb pad contrast_brightness_adjustment allow_upscale smooth_filtering "
        "min_contrast "
        "max_contrast max_brightness_shift max_smooth max_color_shift min_side_min "
        "min_side_max "
        "min_side apply_probability cvt_bgr2rgb fix_crop more_fix_crop multi_scale "
        "max_distort scale_ratios is_flow"),
    ROW("LossParameter", "pre_fixed_normalizer weight_by_label_freqs class_weighting", NULL,
        NULL, "label_smoothing"),
    ROW("AccuracyParameter", NULL, NULL, "min_is_better", "denominator"),
    ROW("BatchNormParameter",
        "disable_mean disable_variance scale_filler use_weight_bias bias_term bias_filler "
        "scale_bias filler relu fused_relu",
        "engine", NULL,
        "update_global_stats "
        "stats_batch_size"),
    ROW("ConcatParameter", NULL, "engine per_fla_fuse", NULL, NULL),
    ROW("ConvolutionParameter",
        "kernel_depth temporal_stride temporal_pad dilation_h dilation_w pad_t pad_b pad_l "
        "pad_r",
        "cudnn_convolution_algo_seeker conv_algos_override conv_algorithm", NULL,
        "relu fuse_type shape_offset eltwise_param negative_slope coeff fusion_type "
        "relu_param"),
    ROW("DataParameter", "transform_param shuffle", "threads parser_threads cache precache",
        NULL, "side"),
    ROW("DropoutParameter", "scale_train sqrt_scale", "engine random_seed", NULL,
        "sample_weights_test"),
    ROW("EltwiseParameter", "coeff_blob", "engine", NULL, NULL),
    ROW("ELUParameter", NULL, NULL, NULL, "lambda"),
    ROW("HDF5DataParameter", "transform_param", NULL, NULL, NULL),
    ROW("ImageDataParameter",
        "transform_param new_length use_image use_temporal_jitter ignore_label label_type",
        "threads cache precache dataset_share_per_node show_data", NULL,
        "short_side face_transform min_height min_width max_shear_ratio max_aspect_ratio "
        "max_rotate_angle min_random_scale max_random_scale "
        "max_random_shift face_mirror face_point_num balance_class balance_by label_cut_start "
        "label_cut_end"),
    ROW("InnerProductParameter", "normalize", "engine", NULL, "relu negative_slope"),
    ROW("LRNParameter", NULL, "unit_test_mode unit_test_fuse_kernel", NULL,
        "fuse_type pooling_param"),
    ROW("MemoryDataParameter", NULL, NULL, NULL, "transpose dim"),
    ROW("ParameterParameter", "blob_filler", NULL, NULL, NULL),
    ROW("PoolingParameter",
        "dilation avg_include_pad axis pad_3d kernel_size_3d stride_3d torch_pooling ceil_mode "
        "kernel_depth temporal_stride temporal_pad",
        NULL, NULL, "blobs_lr blobs_a_min"),
    ROW("ReLUParameter", "relu6", "fuse", NULL, NULL),
    ROW("ReshapeParameter", NULL, NULL, NULL, "pixelshuffler"),
    ROW("ScaleParameter", "min_value max_value", NULL, NULL, NULL),
    ROW("SoftmaxParameter", NULL, NULL, NULL,
        "hard_ratio class_weight hard_mining_label cutting_point normalize_type "
        "label_smooth_factor margin"),
    ROW("WindowDataParameter", "transform_param", NULL, NULL, NULL),
    ROW("V1LayerParameter", /* moved to the layer, and judged there */
        "bn_param local_param prelu_param triplet_loss_param roi_pooling_param "
        "eltwise_affine_param noise_param relu6_param lrn_map_param unpooling_param "
        "seg_accuracy_param interp_param dense_image_data_param upsample_param "
        "mat_write_param",
        NULL, NULL, NULL),
    ROW("V0LayerParameter", "can_clobber subtraction", NULL, NULL, NULL),
};

/* What the schema lacks, and only steers another implementation. */
static const struct absent {
    const char *message, *names;
} absent[] = {
    {"NetParameter", "data_type quantizer autotune multinode compile_net_state"},
    {"NetState", "quantizer_mode"},
    {"SolverParameter", "data_type multinode_param richness"},
    {"LayerParameter", "bottom_data_type compute_data_type top_data_type bottom_quantizer "
                       "top_quantizer net_quantizer blobs_quantizer autotune multinode "
                       "mn_activation_param mn_grad_compress_param split_param"},
    {"TransformationParameter", "forward_packing"},
    {"V1LayerParameter", "strict_dim"}, /* DeepLab: what it checks */
};

/* Is name one of the words of the list? */
static bool listed(const char *list, const char *name)
{
    size_t length = strlen(name);
    for (const char *at = list; at && *at; at += *at == ' ') {
        size_t word = strcspn(at, " ");
        if (word == length && !memcmp(at, name, length))
            return true;
        at += word;
    }
    return false;
}

dni_meaning dni_field_meaning(const char *message, const char *field)
{
    for (size_t i = 0; i < DNI_COUNT(meanings); i++) {
        const struct meaning *m = &meanings[i];
        if (strcmp(m->message, message))
            continue;
        return listed(m->steers, field)    ? DNI_FIELD_STEERS
               : listed(m->reports, field) ? DNI_FIELD_REPORTS
               : listed(m->changes, field) ? DNI_FIELD_CHANGES
                                           : DNI_FIELD_HONOURED;
    }
    return DNI_FIELD_HONOURED;
}

bool dni_field_only_steers(const char *message, const char *field)
{
    for (size_t i = 0; i < DNI_COUNT(absent); i++)
        if (!strcmp(absent[i].message, message))
            return listed(absent[i].names, field);
    return false;
}

/* ---- judging a message ------------------------------------------------------------------- */

typedef struct judge {
    const dni_heap *heap;
    dni_locations *locations;
    const Cnn__LayerParameter *layer; /* in which; NULL: none */
    bool lenient;
} judge;

static const void *at(const ProtobufCMessage *m, size_t offset)
{
    return (const char *)m + offset;
}

static bool is_default(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f)
{
    const void *value = at(m, f->offset);
    switch (f->type) {
    case PROTOBUF_C_TYPE_MESSAGE:
        return false;
    case PROTOBUF_C_TYPE_STRING: {
        const char *text = *(char *const *)value, *usual = f->default_value;
        return text && !strcmp(text, usual ? usual : "");
    }
    case PROTOBUF_C_TYPE_BYTES:
        return false;
    default: {
        static const uint64_t zero;
        bool wide = f->type == PROTOBUF_C_TYPE_DOUBLE || f->type == PROTOBUF_C_TYPE_INT64 ||
                    f->type == PROTOBUF_C_TYPE_UINT64;
        return !memcmp(value, f->default_value ? f->default_value : &zero, wide ? 8 : 4);
    }
    }
}

static bool is_set(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f)
{
    if (f->label == PROTOBUF_C_LABEL_REPEATED)
        return *(const size_t *)at(m, f->quantifier_offset) > 0;
    if (f->type == PROTOBUF_C_TYPE_MESSAGE || f->type == PROTOBUF_C_TYPE_STRING) {
        const void *pointer = *(void *const *)at(m, f->offset);
        return pointer && pointer != f->default_value;
    }
    return f->label == PROTOBUF_C_LABEL_REQUIRED ||
           *(const protobuf_c_boolean *)at(m, f->quantifier_offset);
}

static dn_status refuse(const judge *j, const char *sentence)
{
    const char *name = j->layer && j->layer->name ? j->layer->name : "";
    dn_status st = j->layer ? dni_fail(DN_E_UNSUPPORTED, "layer '%s': %s", name, sentence)
                            : dni_fail(DN_E_UNSUPPORTED, "%s", sentence);
    return dni_in_location(st, j->locations, j->layer);
}

static dn_status judge_field(const judge *j, const ProtobufCMessage *m,
                             const ProtobufCFieldDescriptor *f)
{
    char text[256];
    const char *of = m->descriptor->short_name;
    dni_meaning meaning = f->id > FORKS ? dni_field_meaning(of, f->name) : DNI_FIELD_HONOURED;
    if (meaning == DNI_FIELD_HONOURED ||
        (f->label != PROTOBUF_C_LABEL_REPEATED && is_default(m, f)))
        return DN_OK;
    if (meaning == DNI_FIELD_CHANGES && !j->lenient) {
        snprintf(text, sizeof text, "'%s' of %s changes the result and is not supported",
                 f->name, of);
        return refuse(j, text);
    }
    if (meaning == DNI_FIELD_STEERS)
        return dni_locations_note(j->locations, j->heap, j->layer, DNI_STEERS, f->name, of);
    return dni_locations_note(j->locations, j->heap, j->layer, "'%s' of %s %s", f->name, of,
                              meaning == DNI_FIELD_REPORTS
                                  ? "changes what another implementation reports; not here"
                                  : "changes the result and is not supported: this wires, "
                                    "but will not run");
}

static dn_status judge_message(const judge *j, const ProtobufCMessage *m);

static dn_status judge_each(const judge *j, const ProtobufCMessage *m,
                            const ProtobufCFieldDescriptor *f)
{
    bool many = f->label == PROTOBUF_C_LABEL_REPEATED;
    size_t count = many ? *(const size_t *)at(m, f->quantifier_offset) : 1;
    const void *values = many ? *(void *const *)at(m, f->offset) : at(m, f->offset);
    dn_status st = DN_OK;
    for (size_t i = 0; !st && i < count; i++)
        st = judge_message(j, ((ProtobufCMessage *const *)values)[i]);
    return st;
}

/* What has a life of its own is left out: layers, which may take no part; weights; nets inside
 * a solver. */
static bool apart(const ProtobufCFieldDescriptor *f)
{
    return f->descriptor == &cnn__layer_parameter__descriptor ||
           f->descriptor == &cnn__blob_proto__descriptor ||
           f->descriptor == &cnn__net_parameter__descriptor;
}

static dn_status judge_message(const judge *j, const ProtobufCMessage *m)
{
    const ProtobufCMessageDescriptor *type = m->descriptor;
    char text[128];
    dn_status st = DN_OK;
    if (m->n_unknown_fields) {
        snprintf(text, sizeof text, "field %u of %s is of no dialect known here",
                 (unsigned)m->unknown_fields[0].tag, type->short_name);
        st = j->lenient ? dni_locations_note(j->locations, j->heap, j->layer, "%s", text)
                        : refuse(j, text);
    }
    for (unsigned i = 0; !st && i < type->n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &type->fields[i];
        if (!is_set(m, f))
            continue;
        st = judge_field(j, m, f);
        if (!st && f->type == PROTOBUF_C_TYPE_MESSAGE && !apart(f))
            st = judge_each(j, m, f);
    }
    return st;
}

dn_status dni_fields_judge(const ProtobufCMessage *message, const dni_heap *heap,
                           dni_locations *locations, bool lenient)
{
    bool is_layer = message->descriptor == &cnn__layer_parameter__descriptor;
    judge j = {heap, locations, is_layer ? (const Cnn__LayerParameter *)message : NULL,
               lenient};
    return judge_message(&j, message);
}
