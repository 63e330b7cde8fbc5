/* SPDX-License-Identifier: BSD-2-Clause
 * The ABI as released: offsets of every public struct and values of every public constant. A
 * line here never changes; new members and values get new lines. */
#include <deepnet/deepnet.h>
#include <deepnet/sys/backend.h>
#include <stddef.h>

#define OFFSET(type, member, value)                                                            \
    _Static_assert(offsetof(type, member) == (value), #type "." #member " moved")
#define VALUE(name, value) _Static_assert((name) == (value), #name " changed")
#define SIZE(type, value)  _Static_assert(sizeof(type) >= (value), #type " shrank")

_Static_assert(sizeof(void *) == 8, "offsets are for 64-bit machines");

OFFSET(dn_context_options, struct_size, 0);
OFFSET(dn_context_options, alloc, 8);
OFFSET(dn_context_options, alloc_user, 16);
OFFSET(dn_context_options, log, 24);
OFFSET(dn_context_options, log_user, 32);
OFFSET(dn_context_options, parallel_for, 40);
OFFSET(dn_context_options, parallel_user, 48);
OFFSET(dn_context_options, num_threads, 56);
OFFSET(dn_context_options, device, 60);
OFFSET(dn_context_options, backends, 64);
OFFSET(dn_context_options, backend, 72);
OFFSET(dn_context_options, seed, 80);
OFFSET(dn_context_options, module_folder, 88);
OFFSET(dn_context_options, plan, 96);
OFFSET(dn_context_options, spin_us, 100);
OFFSET(dn_context_options, layers, 104);
OFFSET(dn_context_options, num_layers, 112);
OFFSET(dn_context_options, tune, 120);
OFFSET(dn_context_options, allow_nondeterministic, 124);
OFFSET(dn_context_options, device_stream, 128);
SIZE(dn_context_options, 136);

VALUE(DN_LOG_NOTICE, 0);
VALUE(DN_SPIN_NONE, -1);
VALUE(DN_PLAN_FUSED, 0);
VALUE(DN_PLAN_PLAIN, 1);
VALUE(DN_PLAN_NHWC, 2);
VALUE(DN_LOG_WARNING, 1);

OFFSET(dn_layer_class, struct_size, 0);
OFFSET(dn_layer_class, type, 8);
OFFSET(dn_layer_class, bottoms_min, 16);
OFFSET(dn_layer_class, bottoms_max, 20);
OFFSET(dn_layer_class, tops_min, 24);
OFFSET(dn_layer_class, tops_max, 28);
OFFSET(dn_layer_class, flags, 32);
OFFSET(dn_layer_class, no_gradient, 36);
OFFSET(dn_layer_class, user, 40);
OFFSET(dn_layer_class, create, 48);
OFFSET(dn_layer_class, destroy, 56);
OFFSET(dn_layer_class, shape, 64);
OFFSET(dn_layer_class, forward, 72);
OFFSET(dn_layer_class, backward, 80);
OFFSET(dn_layer_class, takes, 88);
SIZE(dn_layer_class, 96);

OFFSET(dn_layer_io, struct_size, 0);
OFFSET(dn_layer_io, layer, 8);
OFFSET(dn_layer_io, dtype, 16);
OFFSET(dn_layer_io, num_bottoms, 20);
OFFSET(dn_layer_io, num_tops, 24);
OFFSET(dn_layer_io, num_weights, 28);
OFFSET(dn_layer_io, bottom_shapes, 32);
OFFSET(dn_layer_io, top_shapes, 40);
OFFSET(dn_layer_io, bottoms, 48);
OFFSET(dn_layer_io, tops, 56);
OFFSET(dn_layer_io, weights, 64);
OFFSET(dn_layer_io, top_diffs, 72);
OFFSET(dn_layer_io, bottom_diffs, 80);
OFFSET(dn_layer_io, weight_diffs, 88);
SIZE(dn_layer_io, 96);

VALUE(DN_LAYER_LOSS, 1);
VALUE(DN_LAYER_SOURCE, 2);
VALUE(DN_LAYER_DYNAMIC, 4);

OFFSET(dn_net_options, struct_size, 0);
OFFSET(dn_net_options, phase, 8);
OFFSET(dn_net_options, level, 12);
OFFSET(dn_net_options, stages, 16);
OFFSET(dn_net_options, num_stages, 24);
OFFSET(dn_net_options, dtype, 32);
OFFSET(dn_net_options, memory, 36);
OFFSET(dn_net_options, keep, 40);
OFFSET(dn_net_options, num_keep, 48);
OFFSET(dn_net_options, memory_limit, 56);
OFFSET(dn_net_options, wire_only, 64);
OFFSET(dn_net_options, input_shapes_count, 68);
OFFSET(dn_net_options, input_shapes, 72);
OFFSET(dn_net_options, compute, 80);
OFFSET(dn_net_options, compute_fallback, 84);
OFFSET(dn_net_options, dialect, 88);
SIZE(dn_net_options, 96);

OFFSET(dn_weights_report, struct_size, 0);
OFFSET(dn_weights_report, loaded, 8);
OFFSET(dn_weights_report, missing, 12);
OFFSET(dn_weights_report, unused, 16);
OFFSET(dn_weights_report, mismatched, 20);
OFFSET(dn_weights_report, missing_names, 24);
OFFSET(dn_weights_report, unused_names, 32);
OFFSET(dn_weights_report, mismatched_names, 40);
SIZE(dn_weights_report, 48);

OFFSET(dn_net_memory, struct_size, 0);
OFFSET(dn_net_memory, weights, 8);
OFFSET(dn_net_memory, weight_gradients, 16);
OFFSET(dn_net_memory, blobs, 24);
OFFSET(dn_net_memory, blob_gradients, 32);
OFFSET(dn_net_memory, scratch, 40);
OFFSET(dn_net_memory, total, 48);
SIZE(dn_net_memory, 56);

OFFSET(dn_upgrade_options, struct_size, 0);
OFFSET(dn_upgrade_options, kind, 8);
OFFSET(dn_upgrade_options, form, 12);
OFFSET(dn_upgrade_options, dialect, 16);
SIZE(dn_upgrade_options, 24);

VALUE(DN_FILE_AUTO, 0);
VALUE(DN_FILE_NET, 1);
VALUE(DN_FILE_SOLVER, 2);
VALUE(DN_FORM_AUTO, 0);
VALUE(DN_FORM_TEXT, 1);
VALUE(DN_FORM_BINARY, 2);
VALUE(DN_PHASE_DEFAULT, 0);
VALUE(DN_PHASE_TRAIN, 1);
VALUE(DN_PHASE_TEST, 2);
VALUE(DN_MEMORY_READABLE, 0);
VALUE(DN_MEMORY_COMPACT, 1);
VALUE(DN_WEIGHTS_STRICT, 0);
VALUE(DN_WEIGHTS_SKIP, 1);
VALUE(DN_WEIGHTS_RESHAPE, 2);
VALUE(DN_DESCRIBE_LAYERS, 1);
VALUE(DN_DESCRIBE_OPS, 2);
VALUE(DN_DESCRIBE_MEMORY, 4);
VALUE(DN_DESCRIBE_PLAN, 8);
OFFSET(dn_event, struct_size, 0);
OFFSET(dn_event, kind, 8);
OFFSET(dn_event, test_net, 12);
OFFSET(dn_event, iteration, 16);
OFFSET(dn_event, loss, 24);
OFFSET(dn_event, rate, 28);
OFFSET(dn_event, path, 32);
SIZE(dn_event, 40);

OFFSET(dn_solver_options, struct_size, 0);
OFFSET(dn_solver_options, on_event, 8);
OFFSET(dn_solver_options, on_event_user, 16);
OFFSET(dn_solver_options, manual_tests, 24);
OFFSET(dn_solver_options, manual_snapshots, 28);
OFFSET(dn_solver_options, seed_given, 32);
OFFSET(dn_solver_options, wire_only, 36);
OFFSET(dn_solver_options, seed, 40);
OFFSET(dn_solver_options, all_reduce, 48);
OFFSET(dn_solver_options, all_reduce_user, 56);
OFFSET(dn_solver_options, max_iter, 64);
OFFSET(dn_solver_options, compute, 72);
OFFSET(dn_solver_options, compute_fallback, 76);
OFFSET(dn_solver_options, memory, 80);
SIZE(dn_solver_options, 88);

VALUE(DN_EVENT_STEP_BEGIN, 1);
VALUE(DN_EVENT_GRADIENTS, 2);
VALUE(DN_EVENT_STEP_END, 3);
VALUE(DN_EVENT_TEST_BEGIN, 4);
VALUE(DN_EVENT_TEST_END, 5);
VALUE(DN_EVENT_DISPLAY, 6);
VALUE(DN_EVENT_SNAPSHOT, 7);
VALUE(DN_OK, 0);
VALUE(DN_E_INVALID, -1);
VALUE(DN_E_NOMEM, -2);
VALUE(DN_E_IO, -3);
VALUE(DN_E_PARSE, -4);
VALUE(DN_E_NET, -5);
VALUE(DN_E_SHAPE, -6);
VALUE(DN_E_UNSUPPORTED, -7);
VALUE(DN_E_NOTFOUND, -8);
VALUE(DN_E_DATA, -9);
VALUE(DN_E_DEVICE, -10);
VALUE(DN_E_CANCELLED, -11);
VALUE(DN_E_STATE, -12);
VALUE(DN_E_LIMIT, -13);
VALUE(DN_E_HOST, -14);
VALUE(DN_E_INTERNAL, -15);
OFFSET(dn_shape, axes, 0);
OFFSET(dn_shape, reserved, 4);
OFFSET(dn_shape, dim, 8);
SIZE(dn_shape, 264);

OFFSET(dn_operand, dtype, 0);
OFFSET(dn_operand, layout, 4);
OFFSET(dn_operand, shape, 8);
SIZE(dn_operand, 272);

OFFSET(dn_args, struct_size, 0);
OFFSET(dn_args, accumulate, 8);
OFFSET(dn_args, reserved, 12);
SIZE(dn_args, 16);

OFFSET(dn_args_fill, base, 0);
OFFSET(dn_args_fill, value, 16);
SIZE(dn_args_fill, 24);

OFFSET(dn_args_random, base, 0);
OFFSET(dn_args_random, dist, 16);
OFFSET(dn_args_random, reserved, 20);
OFFSET(dn_args_random, a, 24);
OFFSET(dn_args_random, b, 32);
OFFSET(dn_args_random, stream, 40);
SIZE(dn_args_random, 48);

OFFSET(dn_args_copy, base, 0);
OFFSET(dn_args_copy, axes, 16);
OFFSET(dn_args_copy, reserved, 20);
OFFSET(dn_args_copy, dim, 24);
OFFSET(dn_args_copy, x_stride, 88);
OFFSET(dn_args_copy, y_stride, 152);
OFFSET(dn_args_copy, x_offset, 216);
OFFSET(dn_args_copy, y_offset, 224);
OFFSET(dn_args_copy, alpha, 232);
SIZE(dn_args_copy, 240);

OFFSET(dn_args_unary, base, 0);
OFFSET(dn_args_unary, fn, 16);
OFFSET(dn_args_unary, reserved, 20);
OFFSET(dn_args_unary, a, 24);
OFFSET(dn_args_unary, b, 32);
OFFSET(dn_args_unary, c, 40);
SIZE(dn_args_unary, 48);

OFFSET(dn_args_eltwise, base, 0);
OFFSET(dn_args_eltwise, op, 16);
OFFSET(dn_args_eltwise, reserved, 20);
OFFSET(dn_args_eltwise, coeff, 24);
SIZE(dn_args_eltwise, 88);

OFFSET(dn_args_select, base, 0);
OFFSET(dn_args_select, index, 16);
OFFSET(dn_args_select, reserved, 20);
SIZE(dn_args_select, 24);

OFFSET(dn_args_bcast, base, 0);
OFFSET(dn_args_bcast, op, 16);
OFFSET(dn_args_bcast, reserved, 20);
OFFSET(dn_args_bcast, outer, 24);
OFFSET(dn_args_bcast, dim, 32);
OFFSET(dn_args_bcast, inner, 40);
SIZE(dn_args_bcast, 48);

OFFSET(dn_args_reduce, base, 0);
OFFSET(dn_args_reduce, op, 16);
OFFSET(dn_args_reduce, axes, 20);
OFFSET(dn_args_reduce, dim, 24);
OFFSET(dn_args_reduce, x_stride, 88);
OFFSET(dn_args_reduce, x2_stride, 152);
OFFSET(dn_args_reduce, y_stride, 216);
OFFSET(dn_args_reduce, alpha, 280);
OFFSET(dn_args_reduce, x_offset, 288);
OFFSET(dn_args_reduce, x2_offset, 296);
OFFSET(dn_args_reduce, y_offset, 304);
SIZE(dn_args_reduce, 312);

OFFSET(dn_args_gemm, base, 0);
OFFSET(dn_args_gemm, trans_a, 16);
OFFSET(dn_args_gemm, trans_b, 20);
OFFSET(dn_args_gemm, m, 24);
OFFSET(dn_args_gemm, n, 32);
OFFSET(dn_args_gemm, k, 40);
OFFSET(dn_args_gemm, lda, 48);
OFFSET(dn_args_gemm, ldb, 56);
OFFSET(dn_args_gemm, ldc, 64);
OFFSET(dn_args_gemm, batch, 72);
OFFSET(dn_args_gemm, stride_a, 80);
OFFSET(dn_args_gemm, stride_b, 88);
OFFSET(dn_args_gemm, stride_c, 96);
OFFSET(dn_args_gemm, stride_bias, 104);
OFFSET(dn_args_gemm, offset_a, 112);
OFFSET(dn_args_gemm, offset_b, 120);
OFFSET(dn_args_gemm, offset_c, 128);
OFFSET(dn_args_gemm, alpha, 136);
OFFSET(dn_args_gemm, bias_mode, 144);
OFFSET(dn_args_gemm, activation, 148);
OFFSET(dn_args_gemm, activation_a, 152);
SIZE(dn_args_gemm, 160);

OFFSET(dn_args_conv, base, 0);
OFFSET(dn_args_conv, spatial, 16);
OFFSET(dn_args_conv, group, 20);
OFFSET(dn_args_conv, kernel, 24);
OFFSET(dn_args_conv, stride, 72);
OFFSET(dn_args_conv, pad, 120);
OFFSET(dn_args_conv, dilation, 168);
OFFSET(dn_args_conv, activation, 216);
OFFSET(dn_args_conv, reserved, 220);
OFFSET(dn_args_conv, activation_a, 224);
SIZE(dn_args_conv, 232);

OFFSET(dn_args_pool, base, 0);
OFFSET(dn_args_pool, method, 16);
OFFSET(dn_args_pool, spatial, 20);
OFFSET(dn_args_pool, exclude_pad, 24);
OFFSET(dn_args_pool, activation, 28);
OFFSET(dn_args_pool, kernel, 32);
OFFSET(dn_args_pool, stride, 80);
OFFSET(dn_args_pool, pad, 128);
OFFSET(dn_args_pool, stream, 176);
SIZE(dn_args_pool, 184);

OFFSET(dn_args_lrn, base, 0);
OFFSET(dn_args_lrn, region, 16);
OFFSET(dn_args_lrn, size, 20);
OFFSET(dn_args_lrn, alpha, 24);
OFFSET(dn_args_lrn, beta, 32);
OFFSET(dn_args_lrn, k, 40);
SIZE(dn_args_lrn, 48);

OFFSET(dn_args_batch_norm, base, 0);
OFFSET(dn_args_batch_norm, use_global, 16);
OFFSET(dn_args_batch_norm, reserved, 20);
OFFSET(dn_args_batch_norm, outer, 24);
OFFSET(dn_args_batch_norm, dim, 32);
OFFSET(dn_args_batch_norm, inner, 40);
OFFSET(dn_args_batch_norm, eps, 48);
OFFSET(dn_args_batch_norm, fraction, 56);
SIZE(dn_args_batch_norm, 64);
OFFSET(dn_args_norm_scale, base, 0);
OFFSET(dn_args_norm_scale, use_global, 16);
OFFSET(dn_args_norm_scale, activation, 20);
OFFSET(dn_args_norm_scale, outer, 24);
OFFSET(dn_args_norm_scale, dim, 32);
OFFSET(dn_args_norm_scale, inner, 40);
OFFSET(dn_args_norm_scale, eps, 48);
OFFSET(dn_args_norm_scale, fraction, 56);
OFFSET(dn_args_norm_scale, activation_a, 64);
SIZE(dn_args_norm_scale, 72);

OFFSET(dn_args_mvn, base, 0);
OFFSET(dn_args_mvn, normalize_variance, 16);
OFFSET(dn_args_mvn, reserved, 20);
OFFSET(dn_args_mvn, rows, 24);
OFFSET(dn_args_mvn, cols, 32);
OFFSET(dn_args_mvn, eps, 40);
SIZE(dn_args_mvn, 48);

OFFSET(dn_args_axis, base, 0);
OFFSET(dn_args_axis, outer, 16);
OFFSET(dn_args_axis, dim, 24);
OFFSET(dn_args_axis, inner, 32);
SIZE(dn_args_axis, 40);

OFFSET(dn_args_loss, base, 0);
OFFSET(dn_args_loss, loss, 16);
OFFSET(dn_args_loss, normalization, 20);
OFFSET(dn_args_loss, has_ignore, 24);
OFFSET(dn_args_loss, ignore_label, 28);
OFFSET(dn_args_loss, outer, 32);
OFFSET(dn_args_loss, dim, 40);
OFFSET(dn_args_loss, inner, 48);
OFFSET(dn_args_loss, param, 56);
OFFSET(dn_args_loss, flag, 64);
OFFSET(dn_args_loss, reserved, 68);
SIZE(dn_args_loss, 72);

OFFSET(dn_args_accuracy, base, 0);
OFFSET(dn_args_accuracy, top_k, 16);
OFFSET(dn_args_accuracy, has_ignore, 20);
OFFSET(dn_args_accuracy, ignore_label, 24);
OFFSET(dn_args_accuracy, reserved, 28);
OFFSET(dn_args_accuracy, outer, 32);
OFFSET(dn_args_accuracy, dim, 40);
OFFSET(dn_args_accuracy, inner, 48);
SIZE(dn_args_accuracy, 56);

OFFSET(dn_args_argmax, base, 0);
OFFSET(dn_args_argmax, top_k, 16);
OFFSET(dn_args_argmax, out_max_val, 20);
OFFSET(dn_args_argmax, pairs, 24);
OFFSET(dn_args_argmax, reserved, 28);
OFFSET(dn_args_argmax, outer, 32);
OFFSET(dn_args_argmax, dim, 40);
OFFSET(dn_args_argmax, inner, 48);
SIZE(dn_args_argmax, 56);

OFFSET(dn_args_dropout, base, 0);
OFFSET(dn_args_dropout, ratio, 16);
OFFSET(dn_args_dropout, scale, 24);
OFFSET(dn_args_dropout, stream, 32);
SIZE(dn_args_dropout, 40);

OFFSET(dn_args_prelu, base, 0);
OFFSET(dn_args_prelu, shared, 16);
OFFSET(dn_args_prelu, reserved, 20);
OFFSET(dn_args_prelu, outer, 24);
OFFSET(dn_args_prelu, dim, 32);
OFFSET(dn_args_prelu, inner, 40);
SIZE(dn_args_prelu, 48);

OFFSET(dn_args_gather, base, 0);
OFFSET(dn_args_gather, count, 16);
OFFSET(dn_args_gather, cols, 24);
OFFSET(dn_args_gather, limit, 32);
SIZE(dn_args_gather, 40);

OFFSET(dn_args_lstm, base, 0);
OFFSET(dn_args_lstm, N, 16);
OFFSET(dn_args_lstm, D, 24);
SIZE(dn_args_lstm, 32);

OFFSET(dn_args_update, base, 0);
OFFSET(dn_args_update, rule, 16);
OFFSET(dn_args_update, l1, 20);
OFFSET(dn_args_update, lr_mult, 24);
OFFSET(dn_args_update, decay, 32);
OFFSET(dn_args_update, momentum, 40);
OFFSET(dn_args_update, momentum2, 48);
OFFSET(dn_args_update, delta, 56);
OFFSET(dn_args_update, rms_decay, 64);
SIZE(dn_args_update, 72);

OFFSET(dn_args_scale_clip, base, 0);
OFFSET(dn_args_scale_clip, clip, 16);
SIZE(dn_args_scale_clip, 24);

OFFSET(dn_args_host_call, base, 0);
OFFSET(dn_args_host_call, fn, 16);
OFFSET(dn_args_host_call, user, 24);
SIZE(dn_args_host_call, 32);

OFFSET(dn_backend_host, struct_size, 0);
OFFSET(dn_backend_host, alloc, 8);
OFFSET(dn_backend_host, free, 16);
OFFSET(dn_backend_host, parallel_for, 24);
OFFSET(dn_backend_host, fail, 32);
OFFSET(dn_backend_host, num_threads, 40);
OFFSET(dn_backend_host, device, 44);
OFFSET(dn_backend_host, user, 48);
SIZE(dn_backend_host, 56);

OFFSET(dn_op_desc, struct_size, 0);
OFFSET(dn_op_desc, kind, 8);
OFFSET(dn_op_desc, num_inputs, 12);
OFFSET(dn_op_desc, num_outputs, 16);
OFFSET(dn_op_desc, reserved, 20);
OFFSET(dn_op_desc, inputs, 24);
OFFSET(dn_op_desc, outputs, 32);
OFFSET(dn_op_desc, args, 40);
OFFSET(dn_op_desc, constant, 48);
OFFSET(dn_op_desc, compute, 52);
SIZE(dn_op_desc, 56);

OFFSET(dn_op_info, struct_size, 0);
OFFSET(dn_op_info, scratch, 8);
OFFSET(dn_op_info, implementation, 16);
OFFSET(dn_op_info, reason, 64);
OFFSET(dn_op_info, keep, 144);
OFFSET(dn_op_info, cost, 152);
OFFSET(dn_op_info, compute, 160);
OFFSET(dn_op_info, unread, 164);
SIZE(dn_op_info, 168);

OFFSET(dn_op_io, struct_size, 0);
OFFSET(dn_op_io, in, 8);
OFFSET(dn_op_io, out, 16);
OFFSET(dn_op_io, scratch, 24);
OFFSET(dn_op_io, keep, 32);
SIZE(dn_op_io, 40);

OFFSET(dn_backend_ops, struct_size, 0);
OFFSET(dn_backend_ops, name, 8);
OFFSET(dn_backend_ops, space, 16);
OFFSET(dn_backend_ops, reserved, 20);
OFFSET(dn_backend_ops, open, 24);
OFFSET(dn_backend_ops, close, 32);
OFFSET(dn_backend_ops, op_create, 40);
OFFSET(dn_backend_ops, op_run, 48);
OFFSET(dn_backend_ops, op_destroy, 56);
OFFSET(dn_backend_ops, mem_alloc, 64);
OFFSET(dn_backend_ops, mem_free, 72);
OFFSET(dn_backend_ops, copy_in, 80);
OFFSET(dn_backend_ops, copy_out, 88);
OFFSET(dn_backend_ops, synchronise, 96);
OFFSET(dn_backend_ops, capture_begin, 104);
OFFSET(dn_backend_ops, capture_end, 112);
OFFSET(dn_backend_ops, replay, 120);
OFFSET(dn_backend_ops, recording_free, 128);
OFFSET(dn_backend_ops, describe, 136);
OFFSET(dn_backend_ops, op_prepare, 144);
SIZE(dn_backend_ops, 152);

VALUE(DN_F32, 0);
VALUE(DN_F64, 1);
VALUE(DN_BF16, 2);
VALUE(DN_I32, 3);
VALUE(DN_I64, 4);
VALUE(DN_U8, 5);
VALUE(DN_LAYOUT_PLAIN, 0);
VALUE(DN_LAYOUT_NHWC, 1);
VALUE(DN_OP_FILL, 1);
VALUE(DN_OP_RANDOM, 2);
VALUE(DN_OP_COPY, 3);
VALUE(DN_OP_UNARY, 4);
VALUE(DN_OP_UNARY_BWD, 5);
VALUE(DN_OP_ELTWISE, 6);
VALUE(DN_OP_SELECT, 7);
VALUE(DN_OP_BCAST, 8);
VALUE(DN_OP_REDUCE, 9);
VALUE(DN_OP_GEMM, 10);
VALUE(DN_OP_CONV, 11);
VALUE(DN_OP_CONV_BWD_DATA, 12);
VALUE(DN_OP_CONV_BWD_WEIGHTS, 13);
VALUE(DN_OP_IM2COL, 14);
VALUE(DN_OP_COL2IM, 15);
VALUE(DN_OP_POOL, 16);
VALUE(DN_OP_POOL_BWD, 17);
VALUE(DN_OP_LRN, 18);
VALUE(DN_OP_LRN_BWD, 19);
VALUE(DN_OP_BATCH_NORM, 20);
VALUE(DN_OP_BATCH_NORM_BWD, 21);
VALUE(DN_OP_MVN, 22);
VALUE(DN_OP_MVN_BWD, 23);
VALUE(DN_OP_SOFTMAX, 24);
VALUE(DN_OP_SOFTMAX_BWD, 25);
VALUE(DN_OP_LOSS, 26);
VALUE(DN_OP_LOSS_BWD, 27);
VALUE(DN_OP_ACCURACY, 28);
VALUE(DN_OP_ARGMAX, 29);
VALUE(DN_OP_DROPOUT, 30);
VALUE(DN_OP_DROPOUT_BWD, 31);
VALUE(DN_OP_PRELU, 32);
VALUE(DN_OP_PRELU_BWD, 33);
VALUE(DN_OP_GATHER, 34);
VALUE(DN_OP_SCATTER_ADD, 35);
VALUE(DN_OP_LSTM_UNIT, 36);
VALUE(DN_OP_LSTM_UNIT_BWD, 37);
VALUE(DN_OP_UPDATE, 38);
VALUE(DN_OP_CAST, 39);
VALUE(DN_OP_HOST_CALL, 40);
VALUE(DN_OP_SUMSQ_ALL, 41);
VALUE(DN_OP_SCALE_CLIP, 42);
VALUE(DN_OP_CROSS_LRN, 43);
VALUE(DN_OP_NORM_SCALE, 44);
VALUE(DN_OP_NORM_SCALE_BWD, 45);
VALUE(DN_DIST_UNIFORM, 0);
VALUE(DN_DIST_GAUSSIAN, 1);
VALUE(DN_DIST_BERNOULLI, 2);
VALUE(DN_FN_NONE, 0);
VALUE(DN_FN_RELU, 1);
VALUE(DN_FN_SIGMOID, 2);
VALUE(DN_FN_TANH, 3);
VALUE(DN_FN_ABS, 4);
VALUE(DN_FN_EXP, 5);
VALUE(DN_FN_LOG, 6);
VALUE(DN_FN_POWER, 7);
VALUE(DN_FN_BNLL, 8);
VALUE(DN_FN_ELU, 9);
VALUE(DN_FN_CLIP, 10);
VALUE(DN_FN_THRESHOLD, 11);
VALUE(DN_FN_SWISH, 12);
VALUE(DN_FN_AFFINE, 13);
VALUE(DN_FN_SQRT, 14);
VALUE(DN_FN_SIGN, 15);
VALUE(DN_FN_SELU, 16);
VALUE(DN_FN_SMOOTH_L1, 17);
VALUE(DN_ELTWISE_SUM, 0);
VALUE(DN_ELTWISE_PROD, 1);
VALUE(DN_ELTWISE_MAX, 2);
VALUE(DN_ELTWISE_DIV, 3);
VALUE(DN_BCAST_ADD, 0);
VALUE(DN_BCAST_SUB, 1);
VALUE(DN_BCAST_MUL, 2);
VALUE(DN_BCAST_DIV, 3);
VALUE(DN_BCAST_MULADD, 4);
VALUE(DN_REDUCE_SUM, 0);
VALUE(DN_REDUCE_ASUM, 1);
VALUE(DN_REDUCE_SUMSQ, 2);
VALUE(DN_REDUCE_DOT, 3);
VALUE(DN_POOL_MAX, 0);
VALUE(DN_POOL_AVE, 1);
VALUE(DN_POOL_STOCHASTIC_TRAIN, 2);
VALUE(DN_POOL_STOCHASTIC_TEST, 3);
VALUE(DN_LRN_ACROSS, 0);
VALUE(DN_LRN_WITHIN, 1);
VALUE(DN_LOSS_SOFTMAX, 0);
VALUE(DN_LOSS_MULTINOMIAL, 1);
VALUE(DN_LOSS_INFOGAIN, 2);
VALUE(DN_LOSS_SIGMOID_CE, 3);
VALUE(DN_LOSS_HINGE, 4);
VALUE(DN_LOSS_CONTRASTIVE, 5);
VALUE(DN_LOSS_EUCLIDEAN, 6);
VALUE(DN_UPDATE_SGD, 0);
VALUE(DN_UPDATE_NESTEROV, 1);
VALUE(DN_UPDATE_ADAGRAD, 2);
VALUE(DN_UPDATE_RMSPROP, 3);
VALUE(DN_UPDATE_ADADELTA, 4);
VALUE(DN_UPDATE_ADAM, 5);
VALUE(DN_SPACE_HOST, 0);
VALUE(DN_SPACE_DEVICE, 1);
VALUE(DN_MAX_AXES, 32);
VALUE(DN_MAX_OPERANDS, 16);
VALUE(DN_MAX_SPATIAL, 6);
VALUE(DN_MAX_STRIDED, 8);
VALUE(DN_MAX_COEFF, 8);
VALUE(DN_DECLINED, 1);

int main(void)
{
    return 0;
}
