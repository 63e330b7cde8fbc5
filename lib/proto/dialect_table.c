/* SPDX-License-Identifier: BSD-2-Clause
 * dialect_table.c: what the forks numbered otherwise: in which message or enum, their number,
 * ours (0: a field that the schema lacks under a number that it uses), and in which dialects.
 * Everything not here has the number that the schema gives it. */
#include "proto/dialect.h"

/* By number, from 1 on: there are no rows of Caffe's own. */
enum {
    SSD = 1 << 0,
    NVIDIA = 1 << 1,
    INTEL = 1 << 2,
    YOLO = 1 << 3,
    PSPNET = 1 << 4,
    HAPPYNEAR = 1 << 5,
    OPENCL = 1 << 6,
    LISA = 1 << 7,
    HED = 1 << 8,
    FACE = 1 << 9,
    PR2033 = 1 << 10,
    RCNN = 1 << 11,
    SPHEREFACE = 1 << 12,
    CTPN = 1 << 13,
    FLOWNET2 = 1 << 14,
    MSCNN = 1 << 15
};

/* By number. Caffe's own is first: what it explains, nobody else is asked for. */
const char *const dni_dialect_names[DNI_DIALECTS] = {
    "caffe", "ssd",  "nvidia", "intel", "yolo",       "pspnet", "happynear", "opencl", "lisa",
    "hed",   "face", "pr2033", "rcnn",  "sphereface", "ctpn",   "flownet2",  "mscnn"};

const dni_renumbered dni_dialect_rows[] = {
    /* AccuracyParameter */
    {4, 20001, HAPPYNEAR}, /* min_is_better */
    {4, 20002, LISA},      /* denominator */
    /* BatchNormParameter */
    {4, 20002, INTEL},               /* engine */
    {4, 20004, PSPNET},              /* update_global_stats */
    {4, 20003, HAPPYNEAR},           /* disable_mean */
    {4, 20001, OPENCL},              /* fused_relu */
    {5, 20006, NVIDIA},              /* scale_filler */
    {5, 20007, INTEL},               /* use_weight_bias */
    {5, 20005, HAPPYNEAR},           /* disable_variance */
    {6, 20009, NVIDIA},              /* bias_filler */
    {6, 20008, INTEL},               /* bias_term */
    {7, 20010, NVIDIA},              /* scale_bias */
    {7, 20011, INTEL},               /* filler */
    {7, 20006, HAPPYNEAR},           /* scale_filler */
    {8, 20009, INTEL | HAPPYNEAR},   /* bias_filler */
    {9, 20012, INTEL},               /* stats_batch_size */
    {10, 20013, INTEL},              /* relu */
    {15, 20002, NVIDIA | HAPPYNEAR}, /* engine */
    /* BlobProto */
    {10, 20001, NVIDIA}, /* raw_data_type */
    {10, 20002, OPENCL}, /* shape_stride */
    {11, 20003, NVIDIA}, /* raw_diff_type */
    {11, 20004, OPENCL}, /* packed_data */
    {12, 20005, NVIDIA}, /* raw_data */
    {12, 20006, OPENCL}, /* packed_diff */
    {13, 20007, NVIDIA}, /* raw_diff */
    /* ConcatParameter */
    {3, 20001, INTEL}, /* engine */
    {4, 20002, INTEL}, /* per_fla_fuse */
    /* ConvolutionParameter */
    {19, 20001, NVIDIA | HAPPYNEAR}, /* cudnn_convolution_algo_seeker */
    {19, 20002, INTEL},              /* relu */
    {19, 20003, OPENCL},             /* fuse_type */
    {20, 20004, NVIDIA},             /* conv_algos_override */
    {20, 20007, INTEL},              /* negative_slope */
    {20, 20005, HAPPYNEAR},          /* shape_offset */
    {20, 20006, OPENCL},             /* eltwise_param */
    {21, 20008, INTEL},              /* conv_algorithm */
    {23, 20009, INTEL},              /* coeff */
    {24, 20010, INTEL},              /* fusion_type */
    {30, 20011, OPENCL},             /* relu_param */
    /* DataParameter */
    {11, 20001, NVIDIA}, /* threads */
    {11, 20002, INTEL},  /* shuffle */
    {12, 20003, NVIDIA}, /* parser_threads */
    {12, 20004, INTEL},  /* side */
    {13, 20005, NVIDIA}, /* cache */
    {14, 20002, NVIDIA}, /* shuffle */
    {16, 20006, NVIDIA}, /* precache */
    /* Datum */
    {8, 20001, NVIDIA}, /* record_id */
    {8, 20002, YOLO},   /* seg_label */
    /* DropoutParameter */
    {2, 20002, NVIDIA},      /* engine */
    {2, 20001, HAPPYNEAR},   /* sqrt_scale */
    {2, 20003, OPENCL},      /* scale_train */
    {2, 20003, RCNN | CTPN}, /* scale_train */
    {3, 20004, NVIDIA},      /* random_seed */
    /* ELUParameter */
    {2, 20001, NVIDIA}, /* lambda */
    /* EltwiseParameter */
    {4, 20002, INTEL}, /* engine */
    {4, 20001, LISA},  /* coeff_blob */
    /* EltwiseParameter.EltwiseOp */
    {3, 20001, HAPPYNEAR}, /* SORT */
    /* FillerParameter */
    {9, 20002, INTEL},     /* scale */
    {9, 20001, HAPPYNEAR}, /* alpha */
    /* ImageDataParameter */
    {13, 20001, NVIDIA},       /* short_side */
    {13, 20003, INTEL | LISA}, /* min_height */
    {13, 20002, HAPPYNEAR},    /* face_transform */
    {14, 20006, NVIDIA},       /* threads */
    {14, 20004, INTEL | LISA}, /* min_width */
    {14, 20005, HAPPYNEAR},    /* max_shear_ratio */
    {15, 20008, NVIDIA},       /* cache */
    {15, 20009, PSPNET},       /* ignore_label */
    {15, 20007, HAPPYNEAR},    /* max_aspect_ratio */
    {16, 20012, NVIDIA},       /* precache */
    {16, 20010, PSPNET},       /* label_type */
    {16, 20011, HAPPYNEAR},    /* max_rotate_angle */
    {17, 20013, NVIDIA},       /* dataset_share_per_node */
    {17, 20014, HAPPYNEAR},    /* min_random_scale */
    {18, 20015, HAPPYNEAR},    /* max_random_scale */
    {19, 20016, HAPPYNEAR},    /* max_random_shift */
    {20, 20017, HAPPYNEAR},    /* face_mirror */
    {21, 20018, HAPPYNEAR},    /* face_point_num */
    {22, 20019, HAPPYNEAR},    /* balance_class */
    {23, 20020, HAPPYNEAR},    /* balance_by */
    {24, 20021, HAPPYNEAR},    /* label_cut_start */
    {25, 20022, HAPPYNEAR},    /* label_cut_end */
    /* InnerProductParameter */
    {7, 20002, INTEL},     /* engine */
    {7, 20001, HAPPYNEAR}, /* normalize */
    {8, 20003, INTEL},     /* relu */
    {9, 20004, INTEL},     /* negative_slope */
    /* LRNParameter */
    {7, 20001, OPENCL},  /* fuse_type */
    {8, 20002, OPENCL},  /* pooling_param */
    {9, 20003, OPENCL},  /* unit_test_mode */
    {10, 20004, OPENCL}, /* unit_test_fuse_kernel */
    /* LayerParameter */
    {95, 20001, OPENCL},                       /* device */
    {96, 20002, OPENCL},                       /* bottom_shared_index */
    {97, 20003, OPENCL},                       /* top_shared_index */
    {132, 137, LISA},                          /* embed_param */
    {134, 146, LISA},                          /* recurrent_param */
    {139, 0, PR2033},                          /* scalar_param */
    {140, 146, PR2033},                        /* recurrent_param */
    {140, 20058, CTPN},                        /* lstm_param */
    {141, 0, CTPN},                            /* ctc_param */
    {142, 20028, CTPN},                        /* transpose_param */
    {143, 20060, CTPN},                        /* reverse_param */
    {143, 20004, PSPNET},                      /* interp_param */
    {144, 20005, PSPNET},                      /* seg_accuracy_param */
    {144, 0, CTPN},                            /* bn_param */
    {145, 20006, NVIDIA},                      /* forward_type */
    {145, 0, PSPNET},                          /* mat_write_param */
    {146, 20007, NVIDIA},                      /* backward_type */
    {146, 20075, PSPNET},                      /* dense_crf_param */
    {147, 20009, NVIDIA},                      /* forward_math */
    {147, 0, PSPNET},                          /* domain_transform_param */
    {147, 20008, FACE},                        /* center_loss_param */
    {147, 20056, SPHEREFACE},                  /* margin_inner_product_param */
    {147, 20022, MSCNN},                       /* roi_pooling_param */
    {148, 20010, NVIDIA},                      /* backward_math */
    {148, 20011, INTEL | MSCNN},               /* smooth_l1_loss_param */
    {148, 0, PSPNET},                          /* adaptive_bias_channel_param */
    {148, 0, OPENCL},                          /* mergecrop_param */
    {149, 20013, NVIDIA},                      /* debug */
    {149, 20014, INTEL},                       /* engine */
    {149, 20012, YOLO},                        /* reorg_param */
    {150, 20016, NVIDIA},                      /* cudnn_math_override */
    {150, 20015, YOLO},                        /* upsample_param */
    {150, 20063, FLOWNET2},                    /* correlation_param */
    {151, 146, NVIDIA},                        /* recurrent_param */
    {151, 20017, OPENCL},                      /* noise_param */
    {151, 20064, FLOWNET2},                    /* l1_loss_param */
    {152, 20018, NVIDIA},                      /* trt_param */
    {152, 20020, INTEL},                       /* box_annotator_ohem_param */
    {152, 20019, PSPNET},                      /* bn_param */
    {153, 20021, INTEL},                       /* psroi_pooling_param */
    {154, 20022, INTEL},                       /* roi_pooling_param */
    {155, 20023, INTEL},                       /* spatial_dropout_param */
    {155, 20065, FLOWNET2},                    /* resample_param */
    {156, 20066, FLOWNET2},                    /* downsample_param */
    {158, 20024, INTEL},                       /* quantization_param */
    {159, 20012, INTEL},                       /* reorg_param */
    {159, 20071, FLOWNET2},                    /* flow_warp_param */
    {162, 20067, FLOWNET2},                    /* reshape_every_iter */
    {200, 20025, SSD | NVIDIA | INTEL | YOLO}, /* annotated_data_param */
    {200, 20019, HAPPYNEAR},                   /* bn_param */
    {201, 20026, SSD | NVIDIA | INTEL | YOLO}, /* multibox_loss_param */
    {201, 20027, HAPPYNEAR},                   /* local_param */
    {202, 20028, SSD | NVIDIA | INTEL | YOLO}, /* permute_param */
    {202, 20082, HAPPYNEAR},                   /* insanity_param */
    {203, 20029, SSD | NVIDIA | INTEL | YOLO}, /* prior_box_param */
    {203, 20030, HAPPYNEAR},                   /* triplet_loss_param */
    {204, 20031, SSD | NVIDIA | INTEL | YOLO}, /* detection_output_param */
    {204, 20022, HAPPYNEAR},                   /* roi_pooling_param */
    {205, 20032, SSD | NVIDIA | INTEL | YOLO}, /* detection_evaluate_param */
    {205, 20033, HAPPYNEAR},                   /* eltwise_affine_param */
    {206, 20034, SSD | NVIDIA | INTEL | YOLO}, /* norm_param */
    {207, 20017, HAPPYNEAR},                   /* noise_param */
    {209, 20035, INTEL},                       /* region_loss_param */
    {211, 20036, YOLO},                        /* relu6_param */
    {211, 20008, HAPPYNEAR},                   /* center_loss_param */
    {212, 20037, HAPPYNEAR},                   /* flip_param */
    {214, 20038, HAPPYNEAR},                   /* normalize_param */
    {219, 20039, HAPPYNEAR},                   /* proposal_param */
    {220, 20021, HAPPYNEAR},                   /* psroi_pooling_param */
    {222, 20040, HAPPYNEAR},                   /* smoothl1_param */
    {224, 20028, HAPPYNEAR},                   /* permute_param */
    {231, 20041, HAPPYNEAR},                   /* resize_param */
    {235, 20042, HAPPYNEAR},                   /* focal_loss_param */
    {237, 20043, HAPPYNEAR},                   /* channel_scale_param */
    {301, 20044, INTEL},                       /* eval_detection_param */
    {600, 20035, YOLO},                        /* region_loss_param */
    {601, 20045, YOLO},                        /* yolo_detection_output_param */
    {602, 20046, YOLO},                        /* yolov3_detection_output_param */
    {603, 20047, YOLO},                        /* yolov3_param */
    {604, 20048, YOLO},                        /* yolo_seg_param */
    {605, 20049, YOLO},                        /* segmentation_evaluate_param */
    {6801, 20050, NVIDIA},                     /* detectnet_groundtruth_param */
    {6802, 20051, NVIDIA},                     /* detectnet_augmentation_param */
    {8266711 & 0xffff, 20022, RCNN | CTPN},    /* roi_pooling_param */
    {8266712 & 0xffff, 20011, RCNN | CTPN},    /* smooth_l1_loss_param */
    /* LossParameter */
    {4, 20002, NVIDIA}, /* label_smoothing */
    {4, 20001, INTEL},  /* pre_fixed_normalizer */
    {5, 20002, INTEL},  /* label_smoothing */
    /* LossParameter.NormalizationMode */
    {3, 20001, INTEL}, /* PRE_FIXED */
    {4, 3, INTEL},     /* NONE */
    /* MemoryDataParameter */
    {5, 20001, HAPPYNEAR}, /* transpose */
    {5, 20002, OPENCL},    /* dim */
    /* NetParameter */
    {9, 20001, INTEL},   /* engine */
    {11, 20002, NVIDIA}, /* default_forward_type */
    {11, 20003, INTEL},  /* bn_stats_batch_size */
    {12, 20004, NVIDIA}, /* default_backward_type */
    {13, 20005, NVIDIA}, /* default_forward_math */
    {14, 20006, NVIDIA}, /* default_backward_math */
    {15, 20007, NVIDIA}, /* global_grad_scale */
    {16, 20008, NVIDIA}, /* global_grad_scale_adaptive */
    {17, 20009, NVIDIA}, /* default_conv_algos_override */
    {18, 20010, NVIDIA}, /* reduce_buckets */
    {19, 20011, NVIDIA}, /* default_cudnn_math_override */
    {20, 20012, NVIDIA}, /* eltwise_mem_sharing */
    {81, 20013, OPENCL}, /* reduced_memory_inference */
    /* NoiseParameter */
    {1, 20002, HAPPYNEAR}, /* gaussian_std */
    {1, 20001, OPENCL},    /* mu */
    {2, 20003, HAPPYNEAR}, /* uniform_range */
    {2, 20004, OPENCL},    /* sigma */
    {3, 20005, HAPPYNEAR}, /* bias */
    /* NormalizeParameter */
    {1, 20001, HAPPYNEAR}, /* normalize_type */
    {2, 20002, HAPPYNEAR}, /* fix_gradient */
    {3, 20003, HAPPYNEAR}, /* bp_norm */
    /* ParamSpec */
    {5, 20001, HAPPYNEAR}, /* fix_lr */
    /* ParameterParameter */
    {2, 20001, HAPPYNEAR}, /* blob_filler */
    /* PoolingParameter */
    {13, 20003, INTEL},     /* avg_include_pad */
    {13, 20001, HAPPYNEAR}, /* blobs_lr */
    {13, 20002, OPENCL},    /* dilation */
    {14, 20004, INTEL},     /* axis */
    {14, 20005, HAPPYNEAR}, /* blobs_a_min */
    {15, 20006, INTEL},     /* pad_3d */
    {16, 20007, INTEL},     /* kernel_size_3d */
    {16, 20004, OPENCL},    /* axis */
    {17, 20008, INTEL},     /* stride_3d */
    {40, 20009, NVIDIA},    /* torch_pooling */
    /* PoolingParameter.PoolMethod */
    {3, 20001, HAPPYNEAR}, /* DEF */
    {4, 20002, HAPPYNEAR}, /* DEF_ALL */
    {5, 20003, HAPPYNEAR}, /* DEF_ALL2 */
    {6, 20004, HAPPYNEAR}, /* DEF_ALL3 */
    {7, 20005, HAPPYNEAR}, /* DEF_ALL4 */
    {8, 20006, HAPPYNEAR}, /* LOWRES */
    /* ROIPoolingParameter */
    {4, 20001, MSCNN}, /* pad_ratio */
    /* ReLUParameter */
    {3, 20001, INTEL}, /* fuse */
    /* ReshapeParameter */
    {4, 20001, INTEL}, /* pixelshuffler */
    /* ResizeParameter */
    {1, 3, HAPPYNEAR},     /* height */
    {2, 4, HAPPYNEAR},     /* width */
    {3, 20001, HAPPYNEAR}, /* is_pyramid_test */
    {4, 20002, HAPPYNEAR}, /* out_height_scale */
    {5, 20003, HAPPYNEAR}, /* out_width_scale */
    /* ScaleParameter */
    {6, 20001, HAPPYNEAR}, /* min_value */
    {7, 20002, HAPPYNEAR}, /* max_value */
    /* SoftmaxParameter */
    {3, 20001, HAPPYNEAR}, /* hard_ratio */
    {4, 20002, HAPPYNEAR}, /* class_weight */
    {5, 20003, HAPPYNEAR}, /* hard_mining_label */
    {6, 20004, HAPPYNEAR}, /* cutting_point */
    {7, 20005, HAPPYNEAR}, /* normalize_type */
    {8, 20006, HAPPYNEAR}, /* label_smooth_factor */
    {9, 20007, HAPPYNEAR}, /* margin */
    /* SolverParameter */
    {18, 20001, OPENCL},      /* device */
    {41, 20003, SSD | INTEL}, /* eval_type */
    {41, 20002, NVIDIA},      /* rampup_interval */
    {42, 20006, SSD | INTEL}, /* ap_version */
    {42, 20007, NVIDIA},      /* rampup_lr */
    {42, 20005, HAPPYNEAR},   /* clamp_weights_lower */
    {43, 20010, SSD | YOLO},  /* plateau_winsize */
    {43, 20011, NVIDIA},      /* min_lr */
    {43, 20008, INTEL},       /* show_per_class_result */
    {43, 20009, HAPPYNEAR},   /* clamp_weights_upper */
    {44, 20008, SSD | YOLO},  /* show_per_class_result */
    {44, 20012, NVIDIA},      /* solver_data_type */
    {44, 20010, INTEL},       /* plateau_winsize */
    {44, 20013, HAPPYNEAR},   /* clip_weights */
    {45, 20014, NVIDIA},      /* store_blobs_in_old_format */
    {46, 20015, NVIDIA},      /* momentum_policy */
    {46, 20016, INTEL},       /* disabled_update */
    {47, 20018, NVIDIA},      /* max_momentum */
    {47, 20017, INTEL},       /* engine */
    {48, 20019, NVIDIA},      /* momentum_power */
    {48, 20020, INTEL},       /* warmup_iter */
    {49, 20021, NVIDIA},      /* larc */
    {49, 20022, INTEL},       /* warmup_start_lr */
    {50, 20023, NVIDIA},      /* larc_policy */
    {50, 20024, INTEL},       /* local_lr_auto */
    {50, 20025, YOLO},        /* stagelr */
    {51, 20026, NVIDIA},      /* larc_eta */
    {51, 20027, INTEL},       /* local_gw_ratio */
    {51, 20028, YOLO},        /* stageiter */
    {52, 20030, NVIDIA},      /* weight_decay_policy */
    {52, 20029, INTEL},       /* test_offset */
    {52, 20003, YOLO},        /* eval_type */
    {53, 20031, NVIDIA},      /* weight_decay_power */
    {53, 20006, YOLO},        /* ap_version */
    {54, 20032, NVIDIA},      /* test_and_snapshot_last_epochs */
    {55, 20033, NVIDIA},      /* larc_turbo */
    {56, 20034, NVIDIA},      /* max_weight_decay */
    {150, 20025, INTEL},      /* stagelr */
    {151, 20028, INTEL},      /* stageiter */
    {241, 20003, NVIDIA},     /* eval_type */
    {242, 20006, NVIDIA},     /* ap_version */
    {243, 20010, NVIDIA},     /* plateau_winsize */
    {244, 20008, NVIDIA},     /* show_per_class_result */
    /* SolverParameter.SolverType */
    {6, 20001, NVIDIA}, /* SAG */
    /* TransformationParameter */
    {6, 20001, LISA},                /* flow */
    {8, 20004, SSD | INTEL | YOLO},  /* resize_param */
    {8, 20002, NVIDIA},              /* use_gpu_transform */
    {8, 20005, PSPNET},              /* scale_factors */
    {8, 20003, HAPPYNEAR},           /* crop_h */
    {9, 20008, SSD | INTEL | YOLO},  /* noise_param */
    {9, 20006, NVIDIA},              /* random_seed */
    {9, 20007, PSPNET},              /* crop_width */
    {9, 20009, HAPPYNEAR},           /* crop_w */
    {10, 20013, SSD | INTEL | YOLO}, /* emit_constraint */
    {10, 20010, NVIDIA},             /* img_rand_resize_lower */
    {10, 20011, PSPNET},             /* crop_height */
    {10, 20012, HAPPYNEAR},          /* center_crop */
    {11, 20003, SSD | INTEL | YOLO}, /* crop_h */
    {11, 20015, NVIDIA},             /* img_rand_resize_upper */
    {11, 20014, HAPPYNEAR},          /* erase_ratio */
    {12, 20009, SSD | INTEL | YOLO}, /* crop_w */
    {12, 20017, NVIDIA},             /* rand_resize_ratio_lower */
    {12, 20016, HAPPYNEAR},          /* scale_min */
    {13, 20019, SSD | INTEL | YOLO}, /* distort_param */
    {13, 20020, NVIDIA},             /* rand_resize_ratio_upper */
    {13, 20018, HAPPYNEAR},          /* scale_max */
    {14, 20022, SSD | INTEL | YOLO}, /* expand_param */
    {14, 20023, NVIDIA},             /* vertical_stretch_lower */
    {14, 20021, HAPPYNEAR},          /* aspect_min */
    {15, 20027, NVIDIA},             /* vertical_stretch_upper */
    {15, 20024, INTEL},              /* random_resize_param */
    {15, 20025, YOLO},               /* enable_classf_aug */
    {15, 20026, HAPPYNEAR},          /* aspect_max */
    {16, 20028, NVIDIA},             /* horizontal_stretch_lower */
    {16, 20029, INTEL},              /* random_aspect_ratio_param */
    {16, 20030, YOLO},               /* min_scaling_factor */
    {17, 20032, NVIDIA},             /* horizontal_stretch_upper */
    {17, 20001, INTEL},              /* flow */
    {17, 20031, YOLO},               /* max_scaling_factor */
    {18, 20034, NVIDIA},             /* interpolation_algo_down */
    {18, 20035, INTEL},              /* bgr2rgb */
    {18, 20033, YOLO},               /* max_rotation_angle */
    {19, 20037, NVIDIA},             /* interpolation_algo_up */
    {19, 20036, INTEL},              /* pad */
    {19, 20038, YOLO},               /* contrast_brightness_adjustment */
    {20, 20039, NVIDIA},             /* allow_upscale */
    {20, 20040, YOLO},               /* smooth_filtering */
    {21, 20041, YOLO},               /* min_contrast */
    {22, 20042, NVIDIA},             /* display */
    {22, 20043, YOLO},               /* max_contrast */
    {23, 20045, NVIDIA},             /* num_labels */
    {23, 20044, YOLO},               /* max_brightness_shift */
    {24, 20046, YOLO},               /* max_smooth */
    {25, 20047, YOLO},               /* max_color_shift */
    {26, 20048, YOLO},               /* min_side_min */
    {27, 20049, YOLO},               /* min_side_max */
    {28, 20050, YOLO},               /* min_side */
    {29, 20051, YOLO},               /* apply_probability */
    {30, 20052, YOLO},               /* debug_params */
    {31, 20053, YOLO},               /* cvt_bgr2rgb */
    {208, 20004, NVIDIA},            /* resize_param */
    {209, 20008, NVIDIA},            /* noise_param */
    {210, 20013, NVIDIA},            /* emit_constraint */
    {211, 20003, NVIDIA},            /* crop_h */
    {212, 20009, NVIDIA},            /* crop_w */
    {213, 20019, NVIDIA},            /* distort_param */
    {214, 20022, NVIDIA},            /* expand_param */
    /* V1LayerParameter */
    {43, 20001, HAPPYNEAR}, /* bn_param */
    {44, 20002, HAPPYNEAR}, /* local_param */
    {45, 20003, HAPPYNEAR}, /* prelu_param */
    {46, 20018, HAPPYNEAR}, /* insanity_param */
    {47, 20004, HAPPYNEAR}, /* triplet_loss_param */
    {48, 20005, HAPPYNEAR}, /* roi_pooling_param */
    {49, 20006, HAPPYNEAR}, /* eltwise_affine_param */
    {51, 20007, HAPPYNEAR}, /* noise_param */
    {61, 20008, YOLO},      /* relu6_param */
    /* V1LayerParameter.LayerType */
    {40, 20001, HED},       /* CROP */
    {41, 20002, HAPPYNEAR}, /* LOCAL */
    {42, 20003, HAPPYNEAR}, /* BN */
    {43, 20004, HAPPYNEAR}, /* NORMALIZE */
    {44, 20005, HAPPYNEAR}, /* INSANITY */
    {45, 20006, HAPPYNEAR}, /* TRIPLET_LOSS */
    {46, 20007, HAPPYNEAR}, /* ROIPOOLING */
    {47, 20008, HAPPYNEAR}, /* BATCH_NORM */
    {48, 20009, HAPPYNEAR}, /* ELTWISE_AFFINE */
    {61, 20010, YOLO},      /* RELU6 */
};

/* In the order of their rows. */
const char dni_dialect_scopes[] =
    "AccuracyParameter\0"
    "BatchNormParameter\0"
    "BlobProto\0"
    "ConcatParameter\0"
    "ConvolutionParameter\0"
    "DataParameter\0"
    "Datum\0"
    "DropoutParameter\0"
    "ELUParameter\0"
    "EltwiseParameter\0"
    "EltwiseParameter.EltwiseOp\0"
    "FillerParameter\0"
    "ImageDataParameter\0"
    "InnerProductParameter\0"
    "LRNParameter\0"
    "LayerParameter\0"
    "LossParameter\0"
    "LossParameter.NormalizationMode\0"
    "MemoryDataParameter\0"
    "NetParameter\0"
    "NoiseParameter\0"
    "NormalizeParameter\0"
    "ParamSpec\0"
    "ParameterParameter\0"
    "PoolingParameter\0"
    "PoolingParameter.PoolMethod\0"
    "ROIPoolingParameter\0"
    "ReLUParameter\0"
    "ReshapeParameter\0"
    "ResizeParameter\0"
    "ScaleParameter\0"
    "SoftmaxParameter\0"
    "SolverParameter\0"
    "SolverParameter.SolverType\0"
    "TransformationParameter\0"
    "V1LayerParameter\0"
    "V1LayerParameter.LayerType\0";
const uint8_t dni_dialect_counts[] = {
    2,  16, 7, 2, 11, 7,  2, 5, 1, 2, 1, 2, 22, 4,  4, 85, 3, 2,  2,
    13, 5,  3, 1, 1,  10, 6, 1, 1, 1, 5, 2, 7,  43, 1, 63, 9, 10,
};
