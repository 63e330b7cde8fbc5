# SPDX-License-Identifier: BSD-2-Clause
"""The public C API as ctypes sees it: structs, constants and one row for every function.

This table is the only place that knows the C signatures; tests/bindings/test_abi.py holds it
against the headers and lib/deepnet.syms, row by row and offset by offset.
"""
from ctypes import (CFUNCTYPE, POINTER, Structure, c_char_p, c_double, c_float, c_int32,
                    c_int64, c_size_t, c_uint32, c_uint64, c_void_p, sizeof)

# Opaque handles: plain addresses. Who frees them is the business of _owner.py.
context = net = solver = blob = layer = c_void_p
out = POINTER(c_void_p)  # T **out
text = c_char_p          # const char *, borrowed
status = c_int32         # dn_status
address = c_void_p       # of floats or doubles; None where there are none

OK = 0
(E_INVALID, E_NOMEM, E_IO, E_PARSE, E_NET, E_SHAPE, E_UNSUPPORTED, E_NOTFOUND, E_DATA, E_DEVICE,
 E_CANCELLED, E_STATE, E_LIMIT, E_HOST, E_INTERNAL) = range(-1, -16, -1)

LOG_NOTICE, LOG_WARNING = 0, 1
PLAN_FUSED, PLAN_PLAIN, PLAN_NHWC = 0, 1, 2
F32, F64 = 0, 1
LAYER_LOSS, LAYER_SOURCE, LAYER_DYNAMIC = 1, 2, 4
PHASE_DEFAULT, PHASE_TRAIN, PHASE_TEST = 0, 1, 2
MEMORY_READABLE, MEMORY_COMPACT = 0, 1
COMPUTE_F32, COMPUTE_TF32, COMPUTE_BF16 = 0, 1, 2
WEIGHTS_STRICT, WEIGHTS_SKIP, WEIGHTS_RESHAPE = 0, 1, 2
DESCRIBE_LAYERS, DESCRIBE_OPS, DESCRIBE_MEMORY, DESCRIBE_PLAN = 1, 2, 4, 8
(EVENT_STEP_BEGIN, EVENT_GRADIENTS, EVENT_STEP_END, EVENT_TEST_BEGIN, EVENT_TEST_END,
 EVENT_DISPLAY, EVENT_SNAPSHOT) = range(1, 8)
MAX_AXES = 32

alloc_fn = CFUNCTYPE(c_void_p, c_void_p, c_void_p, c_size_t, c_size_t)
log_fn = CFUNCTYPE(None, c_void_p, c_int32, c_char_p)
body_fn = CFUNCTYPE(None, c_void_p, c_int64, c_int32)
parallel_fn = CFUNCTYPE(None, c_void_p, c_int64, body_fn, c_void_p)
all_reduce_fn = CFUNCTYPE(status, c_void_p, POINTER(c_float), c_int64)
all_reduce_wait_fn = CFUNCTYPE(status, c_void_p)


class Sized(Structure):
    """A struct of the API that opens with its own size; the size is set, the rest is zero."""

    def __init__(self, **fields):
        super().__init__(**fields)
        self.struct_size = sizeof(self)
        for name, value in fields.items():  # ctypes drops the bits that a field has no room for
            if hasattr(value, '__index__') and (getattr(self, name) or 0) != value:
                raise OverflowError('%s: %d is out of range' % (name, value))


class dn_shape(Structure):
    _fields_ = [('axes', c_int32), ('reserved', c_int32), ('dim', c_int64 * MAX_AXES)]


class dn_layer_io(Sized):
    _fields_ = [('struct_size', c_size_t), ('layer', c_void_p), ('dtype', c_int32),
                ('num_bottoms', c_int32), ('num_tops', c_int32), ('num_weights', c_int32),
                ('bottom_shapes', POINTER(dn_shape)), ('top_shapes', POINTER(dn_shape)),
                ('bottoms', POINTER(c_void_p)), ('tops', POINTER(c_void_p)),
                ('weights', POINTER(c_void_p)), ('top_diffs', POINTER(c_void_p)),
                ('bottom_diffs', POINTER(c_void_p)), ('weight_diffs', POINTER(c_void_p))]


layer_create_fn = CFUNCTYPE(status, POINTER(c_void_p), c_void_p, c_void_p)
layer_destroy_fn = CFUNCTYPE(None, c_void_p)
layer_shape_fn = CFUNCTYPE(status, c_void_p, c_void_p)
layer_takes_fn = CFUNCTYPE(c_int32, c_void_p, c_void_p)
layer_run_fn = CFUNCTYPE(status, c_void_p, POINTER(dn_layer_io))


class dn_layer_class(Sized):
    _fields_ = [('struct_size', c_size_t), ('type', c_char_p), ('bottoms_min', c_int32),
                ('bottoms_max', c_int32), ('tops_min', c_int32), ('tops_max', c_int32),
                ('flags', c_uint32), ('no_gradient', c_uint32), ('user', c_void_p),
                ('create', layer_create_fn), ('destroy', layer_destroy_fn),
                ('shape', layer_shape_fn), ('forward', layer_run_fn),
                ('backward', layer_run_fn), ('takes', layer_takes_fn)]


class dn_context_options(Sized):
    _fields_ = [('struct_size', c_size_t), ('alloc', alloc_fn), ('alloc_user', c_void_p),
                ('log', log_fn), ('log_user', c_void_p), ('parallel_for', parallel_fn),
                ('parallel_user', c_void_p), ('num_threads', c_int32), ('device', c_int32),
                ('backends', c_char_p), ('backend', c_void_p), ('seed', c_uint64),
                ('module_folder', c_char_p), ('plan', c_int32), ('spin_us', c_int32),
                ('layers', POINTER(POINTER(dn_layer_class))), ('num_layers', c_size_t),
                ('tune', c_int32), ('allow_nondeterministic', c_int32),
                ('device_stream', address), ('device_memory_limit', c_size_t)]


class dn_net_options(Sized):
    _fields_ = [('struct_size', c_size_t), ('phase', c_int32), ('level', c_int32),
                ('stages', POINTER(c_char_p)), ('num_stages', c_size_t), ('dtype', c_int32),
                ('memory', c_int32), ('keep', POINTER(c_char_p)), ('num_keep', c_size_t),
                ('memory_limit', c_size_t), ('wire_only', c_int32),
                ('input_shapes_count', c_int32), ('input_shapes', POINTER(dn_shape)),
                ('compute', c_int32), ('compute_fallback', c_int32), ('dialect', c_char_p)]


class dn_weights_report(Sized):
    _fields_ = [('struct_size', c_size_t), ('loaded', c_int32), ('missing', c_int32),
                ('unused', c_int32), ('mismatched', c_int32), ('missing_names', c_char_p),
                ('unused_names', c_char_p), ('mismatched_names', c_char_p)]


class dn_net_memory(Sized):
    _fields_ = [('struct_size', c_size_t), ('weights', c_size_t),
                ('weight_gradients', c_size_t), ('blobs', c_size_t),
                ('blob_gradients', c_size_t), ('scratch', c_size_t), ('total', c_size_t),
                ('plan', c_size_t)]


class dn_event(Sized):
    _fields_ = [('struct_size', c_size_t), ('kind', c_int32), ('test_net', c_int32),
                ('iteration', c_int64), ('loss', c_float), ('rate', c_float),
                ('path', c_char_p)]


event_fn = CFUNCTYPE(status, c_void_p, solver, POINTER(dn_event))


class dn_solver_options(Sized):
    _fields_ = [('struct_size', c_size_t), ('on_event', event_fn), ('on_event_user', c_void_p),
                ('manual_tests', c_int32), ('manual_snapshots', c_int32),
                ('seed_given', c_int32), ('wire_only', c_int32), ('seed', c_uint64),
                ('all_reduce', all_reduce_fn), ('all_reduce_user', c_void_p),
                ('max_iter', c_int64), ('compute', c_int32), ('compute_fallback', c_int32),
                ('memory', c_int32), ('all_reduce_on_device', c_int32),
                ('all_reduce_wait', all_reduce_wait_fn), ('rank', c_int32),
                ('num_ranks', c_int32), ('stages', POINTER(c_char_p)), ('num_stages', c_size_t),
                ('level', c_int32), ('reserved', c_int32)]


class dn_convert_options(Sized):
    _fields_ = [('struct_size', c_size_t), ('overwrite', c_int32), ('reserved', c_int32),
                ('root_folder', c_char_p), ('height', c_int64), ('width', c_int64),
                ('seed', c_uint64), ('shuffle', c_int32), ('gray', c_int32),
                ('encoded', c_int32), ('check_size', c_int32), ('skip_bad', c_int32),
                ('reserved2', c_int32), ('skipped', POINTER(c_int64))]


class dn_upgrade_options(Sized):
    _fields_ = [('struct_size', c_size_t), ('kind', c_int32), ('form', c_int32),
                ('dialect', c_char_p)]


STRUCTS = (dn_shape, dn_layer_io, dn_layer_class, dn_context_options, dn_net_options,
           dn_weights_report, dn_net_memory, dn_event, dn_solver_options, dn_convert_options,
           dn_upgrade_options)

floats, dims = POINTER(c_float), POINTER(c_int64)
report = POINTER(dn_weights_report)

# name: (what it returns, what it takes)
FUNCTIONS = {
    # version.h, status.h
    'dn_version': (text, ()),
    'dn_last_error': (text, ()),
    'dn_status_name': (text, (status,)),
    # context.h
    'dn_context_create': (status, (out, POINTER(dn_context_options))),
    'dn_context_free': (None, (context,)),
    'dn_context_num_threads': (c_int32, (context,)),
    'dn_context_num_backends': (c_int32, (context,)),
    'dn_context_synchronise': (status, (context,)),
    'dn_context_backend': (text, (context, c_int32)),
    # blob.h
    'dn_blob_name': (text, (blob,)),
    'dn_blob_axes': (c_int32, (blob,)),
    'dn_blob_dim': (c_int64, (blob, c_int32)),
    'dn_blob_count': (c_int64, (blob,)),
    'dn_blob_dtype': (c_int32, (blob,)),
    'dn_blob_data': (address, (blob,)),
    'dn_blob_mutable_data': (address, (blob,)),
    'dn_blob_device_data': (address, (blob,)),
    'dn_blob_mutable_device_data': (address, (blob,)),
    'dn_blob_view_device': (status, (blob, address)),
    'dn_blob_diff': (address, (blob,)),
    'dn_blob_mutable_diff': (address, (blob,)),
    'dn_blob_data_f64': (address, (blob,)),
    'dn_blob_mutable_data_f64': (address, (blob,)),
    'dn_blob_diff_f64': (address, (blob,)),
    'dn_blob_mutable_diff_f64': (address, (blob,)),
    'dn_blob_end_write': (None, (blob, c_void_p)),
    'dn_blob_hold': (address, (blob, c_void_p)),
    'dn_blob_end_hold': (None, (c_void_p,)),
    'dn_blob_write': (status, (blob, floats, c_int64)),
    'dn_blob_read': (status, (blob, floats, c_int64)),
    'dn_blob_reshape': (status, (blob, dims, c_int32)),
    # net.h
    'dn_net_create_from_prototxt': (status, (out, context, text, POINTER(dn_net_options))),
    'dn_net_create_from_text': (status, (out, context, text, c_size_t,
                                         POINTER(dn_net_options))),
    'dn_net_create_shared': (status, (out, net, POINTER(dn_net_options))),
    'dn_net_free': (None, (net,)),
    'dn_net_forward': (status, (net, floats)),
    'dn_net_backward': (status, (net,)),
    'dn_net_forward_range': (status, (net, c_int32, c_int32, floats)),
    'dn_net_backward_range': (status, (net, c_int32, c_int32)),
    'dn_net_clear_gradients': (status, (net,)),
    'dn_net_reshape': (status, (net,)),
    'dn_net_name': (text, (net,)),
    'dn_net_phase': (c_int32, (net,)),
    'dn_net_num_blobs': (c_int32, (net,)),
    'dn_net_blob_at': (blob, (net, c_int32)),
    'dn_net_blob': (blob, (net, text)),
    'dn_net_num_inputs': (c_int32, (net,)),
    'dn_net_input': (blob, (net, c_int32)),
    'dn_net_num_outputs': (c_int32, (net,)),
    'dn_net_output': (blob, (net, c_int32)),
    'dn_net_num_layers': (c_int32, (net,)),
    'dn_net_layer_name': (text, (net, c_int32)),
    'dn_layer_type': (text, (c_int32,)),
    'dn_net_layer_type': (text, (net, c_int32)),
    'dn_net_find_layer': (c_int32, (net, text)),
    'dn_net_layer_num_bottoms': (c_int32, (net, c_int32)),
    'dn_net_layer_num_tops': (c_int32, (net, c_int32)),
    'dn_net_layer_bottom': (blob, (net, c_int32, c_int32)),
    'dn_net_layer_top': (blob, (net, c_int32, c_int32)),
    'dn_net_layer_num_params': (c_int32, (net, c_int32)),
    'dn_net_layer_param': (blob, (net, c_int32, c_int32)),
    'dn_net_layer_flops': (c_int64, (net, c_int32)),
    'dn_net_layer_loss_weight': (c_float, (net, c_int32, c_int32)),
    'dn_net_load_weights': (status, (net, text, c_int32, report)),
    'dn_net_load_weights_memory': (status, (net, c_void_p, c_size_t, c_int32, report)),
    'dn_net_save_weights': (status, (net, text)),
    'dn_net_share_weights': (status, (net, net)),
    'dn_net_memory_report': (status, (net, POINTER(dn_net_memory))),
    'dn_net_plan_memory': (status, (context, c_char_p, POINTER(dn_net_options),
                                    POINTER(dn_net_memory))),
    'dn_net_describe': (status, (net, c_uint32, out)),
    'dn_net_prototxt': (status, (net, out)),
    'dn_net_text_free': (None, (net, c_void_p)),
    'dn_net_set_memory_data': (status, (net, text, floats, floats, c_int64)),
    # solver.h
    'dn_solver_create_from_prototxt': (status, (out, context, text,
                                                POINTER(dn_solver_options))),
    'dn_solver_create_from_text': (status, (out, context, text, c_size_t, text, c_size_t,
                                            POINTER(dn_solver_options))),
    'dn_solver_free': (None, (solver,)),
    'dn_solver_step': (status, (solver, c_int64)),
    'dn_solver_solve': (status, (solver,)),
    'dn_solver_apply_update': (status, (solver,)),
    'dn_solver_cancel': (None, (solver,)),
    'dn_solver_net': (net, (solver,)),
    'dn_solver_num_test_nets': (c_int32, (solver,)),
    'dn_solver_test_net': (net, (solver, c_int32)),
    'dn_solver_iteration': (c_int64, (solver,)),
    'dn_solver_max_iteration': (c_int64, (solver,)),
    'dn_solver_loss': (c_float, (solver,)),
    'dn_solver_type': (text, (solver,)),
    'dn_solver_test_interval': (c_int64, (solver,)),
    'dn_solver_display': (c_int64, (solver,)),
    'dn_solver_test_iterations': (c_int64, (solver, c_int32)),
    'dn_solver_learning_rate': (c_float, (solver,)),
    'dn_solver_set_learning_rate': (status, (solver, c_float)),
    'dn_solver_test': (status, (solver, c_int32)),
    'dn_solver_num_test_outputs': (c_int32, (solver, c_int32)),
    'dn_solver_test_output_name': (text, (solver, c_int32, c_int32)),
    'dn_solver_test_output': (c_float, (solver, c_int32, c_int32)),
    'dn_solver_snapshot': (status, (solver, text)),
    'dn_solver_restore': (status, (solver, text)),
    'dn_solver_describe': (status, (solver, c_uint32, out)),
    'dn_solver_device': (c_int32, (solver,)),
    'dn_parallel_create': (status, (out, POINTER(c_void_p), c_int32)),
    'dn_parallel_step': (status, (address, c_int64)),
    'dn_parallel_solve': (status, (address,)),
    'dn_parallel_transport': (text, (address,)),
    'dn_parallel_free': (None, (address,)),
    # sys/layer.h, for layers written in Python
    'dn_layer_name': (text, (layer,)),
    'dn_layer_phase': (c_int32, (layer,)),
    'dn_layer_num_bottoms': (c_int32, (layer,)),
    'dn_layer_num_tops': (c_int32, (layer,)),
    'dn_layer_bottom_shape': (POINTER(dn_shape), (layer, c_int32)),
    'dn_layer_set_top_shape': (status, (layer, c_int32, POINTER(dn_shape))),
    'dn_layer_add_weight': (status, (layer, POINTER(dn_shape), text)),
    'dn_layer_number': (status, (layer, text, c_int32, POINTER(c_double))),
    'dn_layer_text': (text, (layer, text, c_int32)),
    'dn_layer_fail': (status, (layer, status, text)),
    # data.h
    'dn_convert_images': (status, (context, text, text, POINTER(dn_convert_options))),
    'dn_convert_mean': (status, (context, text, text)),
    'dn_convert_mnist': (status, (context, text, text, text, POINTER(dn_convert_options))),
    # upgrade.h
    'dn_upgrade_file': (status, (context, text, text, POINTER(dn_upgrade_options))),
}
