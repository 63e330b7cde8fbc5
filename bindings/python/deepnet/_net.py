# SPDX-License-Identifier: BSD-2-Clause
"""A net in pycaffe's shape: its blobs and weights as numpy views, run forward and backward by
the caller. What pycaffe raises as a bare Exception is a deepnet.Error here."""
import collections
import ctypes
import os
import tempfile

import numpy as np

from . import _api
from ._blob import Blob
from ._context import current_context
from ._errors import (InvalidError, NameNotFoundError, UnsupportedError, calling_back, check,
                      choose, failure)
from ._layer import take_made
from ._lib import lib
from ._owner import Owner, make
from ._text import from_c, names_array, path_bytes, to_c

TRAIN, TEST = 0, 1  # as pycaffe has them; the C API counts from 1

_PHASES = {None: _api.PHASE_DEFAULT, TRAIN: _api.PHASE_TRAIN, TEST: _api.PHASE_TEST}
_DTYPES = {'float32': _api.F32, 'float64': _api.F64}
COMPUTE = {'f32': _api.COMPUTE_F32, 'tf32': _api.COMPUTE_TF32, 'bf16': _api.COMPUTE_BF16}
MEMORY = {'readable': _api.MEMORY_READABLE, 'compact': _api.MEMORY_COMPACT}
_POLICIES = {'strict': _api.WEIGHTS_STRICT, 'skip': _api.WEIGHTS_SKIP,
             'reshape': _api.WEIGHTS_RESHAPE}
_DESCRIBE = {'layers': _api.DESCRIBE_LAYERS, 'ops': _api.DESCRIBE_OPS,
             'memory': _api.DESCRIBE_MEMORY, 'plan': _api.DESCRIBE_PLAN}

WeightsReport = collections.namedtuple('WeightsReport', 'loaded missing unused mismatched')
WeightsReport.__doc__ = """What loading weights found: `loaded` counts layers; `missing` (layers
that the file lacks), `unused` (in the file alone) and `mismatched` (left alone because a shape
differs) are lists of layer names."""


class _UntilClosed:
    """The attributes that close() takes away. An open net's own hide this one, which answers
    for them afterwards; a __getattr__ would hide what a subclass's property raises."""

    def __init__(self):
        self.names = []

    def __set_name__(self, _cls, name):
        self.names.append(name)

    def __get__(self, net, _cls=None):
        if net is None:
            return self
        raise InvalidError('the net is closed')


class NetLayer:
    """A layer of a net: .name, .type, and .blobs, its weights. Whatever else is read or set of
    a layer written in Python is its own: net.layers[0].set_roidb(roidb)."""

    __slots__ = ('_user', 'name', 'type', 'blobs')

    def __init__(self, name, kind, blobs, user=None):
        object.__setattr__(self, '_user', user)
        self.name, self.type, self.blobs = name, kind, blobs

    def __getattr__(self, name):
        if name == '_user' or self._user is None:  # '_user': of a copy in the making
            raise AttributeError("a layer of the net has no attribute '%s'" % name)
        return getattr(self._user, name)

    def __setattr__(self, name, value):
        if name in self.__slots__ or self._user is None:  # a copy has no _user yet
            object.__setattr__(self, name, value)
        else:
            setattr(self._user, name, value)

    def __repr__(self):
        return "<deepnet.NetLayer '%s' %s>" % (self.name, self.type)


def _arguments(phase, args, weights, level, stages):
    """Untangles Net(file, phase[, level[, stages[, weights]]]), Net(file, phase, weights) and
    the old Net(file, weights, phase)."""
    if isinstance(phase, (str, os.PathLike)):
        if len(args) != 1:
            raise TypeError('Net(network_file, weights, phase) takes a phase')
        return args[0], phase, level, stages
    args = list(args)
    if args and isinstance(args[0], (str, os.PathLike)):
        weights = args.pop(0)
    if len(args) > 3:
        raise TypeError('Net takes at most network_file, phase, level, stages and weights')
    level, stages, weights = args + [level, stages, weights][len(args):]
    return phase, weights, level, stages


class Net:
    """A net made from a prototxt of any generation.

    network_file  path of the prototxt; or None, and its text as `text=`.
    phase         TRAIN or TEST: which layers take part; None: as the prototxt says, else TEST.
    weights       a .caffemodel, .caffemodel.h5 or .safetensors to load.
    level, stages for the rules of layers (min_level, stage, ...).
    context       a deepnet.Context; default: of the enclosing `with`, else the process's.
    dtype         'float32', or 'float64': everything in double, on the reference backend.
    memory        'readable', or 'compact': only inputs, outputs and the blobs in `keep` stay
                  readable, and the rest share memory.
    memory_limit  bytes for blobs, weights, the gradients of both, scratch and the plan itself;
                  LimitError beyond. Inputs count each by itself. 0: none.
    input_shapes  shapes for the inputs, by their order, in place of the prototxt's.
    wire_only     True: check, wire and infer shapes; open no data, allocate no blobs.
    compute       'f32'; 'tf32' or 'bf16': operands of matrix products may be rounded to it, and
                  with bf16 what passes between layers; weights stay f32.
                  UnsupportedError where no backend offers it, or f32 with compute_fallback.

    Raises FileMissingError, ParseError (with line and column), NetError, ShapeError, DataError,
    UnsupportedError, LimitError, NoMemoryError: all of them deepnet.Error.

    A net is for one thread at a time; different nets run concurrently, and other Python threads
    run during its calls. Its arrays are views that keep it alive.
    """

    _net = _owner = _before = _after = _layer_names = _blobs = _inputs = _outputs = _layers = \
        _UntilClosed()

    def __init__(self, network_file=None, phase=None, *args, weights=None, level=0, stages=None,
                 text=None, context=None, dtype='float32', memory='readable', keep=(),
                 memory_limit=0, input_shapes=None, wire_only=False, compute='f32',
                 compute_fallback=False):
        if (network_file is None) == (text is None):
            raise TypeError('Net takes network_file or text')
        phase, weights, level, stages = _arguments(phase, args, weights, level, stages)
        context = context or current_context()
        options = _api.dn_net_options(
            phase=choose(_PHASES, phase, 'phase'), level=level or 0,
            dtype=choose(_DTYPES, np.dtype(dtype).name, 'dtype'),
            memory=choose(MEMORY, memory, 'memory'), memory_limit=memory_limit,
            wire_only=int(wire_only), compute=choose(COMPUTE, compute, 'compute'),
            compute_fallback=int(compute_fallback))
        options.stages, options.num_stages = names_array(stages)
        options.keep, options.num_keep = names_array(keep)
        if input_shapes is not None:
            shapes = (_api.dn_shape * len(input_shapes))()
            for shape, dims in zip(shapes, input_shapes):
                shape.axes = len(dims)  # of too many the library says so
                dims = list(dims)[:_api.MAX_AXES]
                shape.dim[:len(dims)] = dims
                if shape.dim[:len(dims)] != dims:
                    raise OverflowError('input_shapes: %s is out of range' % (dims,))
            options.input_shapes, options.input_shapes_count = shapes, len(shapes)
        if text is None:
            create, source = lib().net_create_from_prototxt, [path_bytes(network_file)]
        else:
            data = to_c(text)
            create, source = lib().net_create_from_text, [data, len(data)]
        handle = make(create, lib().net_free, context._owner.handle, *source,
                      ctypes.byref(options), path=network_file)
        self._adopt(handle, Owner(handle, lib().net_free, context._owner))
        if weights is not None:
            self.copy_from(weights)

    @classmethod
    def _borrow(cls, handle, owner):
        """A Net on a handle that someone else frees."""
        net = cls.__new__(cls)
        net._adopt(handle, owner)
        return net

    def _adopt(self, handle, owner):
        api = lib()
        self._net, self._owner = handle, owner
        self._before = {'forward': [], 'backward': []}
        self._after = {'forward': [], 'backward': []}
        blob = self._blob
        self._layer_names = [from_c(api.net_layer_name(handle, i))
                             for i in range(api.net_num_layers(handle))]
        self._blobs = collections.OrderedDict(
            (b.name, b) for b in (blob(api.net_blob_at(handle, i))
                                  for i in range(api.net_num_blobs(handle))))
        self._inputs = [blob(api.net_input(handle, i)).name
                        for i in range(api.net_num_inputs(handle))]
        self._outputs = [blob(api.net_output(handle, i)).name
                         for i in range(api.net_num_outputs(handle))]
        self._layers = [
            NetLayer(name, api.net_layer_type(handle, i).decode(),
                     [blob(api.net_layer_param(handle, i, k))
                      for k in range(api.net_layer_num_params(handle, i))],
                     take_made(name, self.phase))
            for i, name in enumerate(self._layer_names)]

    def _blob(self, handle):
        return Blob(handle, self._owner)

    # ---- what is in the net ------------------------------------------------------------------

    @property
    def name(self):
        """The net's name in its prototxt, '' if it has none."""
        return from_c(lib().net_name(self._net))

    @property
    def phase(self):
        """TRAIN or TEST."""
        return TRAIN if lib().net_phase(self._net) == _api.PHASE_TRAIN else TEST

    @property
    def blobs(self):
        """OrderedDict of every blob by name, in the order they are made."""
        return self._blobs

    @property
    def params(self):
        """OrderedDict: layer name to the list of its weights, for layers that have any."""
        return collections.OrderedDict((layer.name, layer.blobs) for layer in self._layers
                                       if layer.blobs)

    @property
    def inputs(self):
        """Names of the input blobs."""
        return list(self._inputs)

    @property
    def outputs(self):
        """Names of the blobs that no layer takes."""
        return list(self._outputs)

    @property
    def layers(self):
        """The layers of this phase in order."""
        return self._layers

    @property
    def layer_dict(self):
        """OrderedDict: layer name to layer."""
        return collections.OrderedDict((layer.name, layer) for layer in self._layers)

    @property
    def _blob_names(self):
        return list(self._blobs)

    def _names_at(self, count, item, i):
        return [self._blob(item(self._net, i, k)).name for k in range(count(self._net, i))]

    def _ends(self, count, item):
        return collections.OrderedDict((name, self._names_at(count, item, i))
                                       for i, name in enumerate(self._layer_names))

    def _bottom_ids(self, layer):
        """Which of the blobs, counted, a layer takes, by its number, as pycaffe has it."""
        return list(map(self._blob_names.index, self._names_at(
            lib().net_layer_num_bottoms, lib().net_layer_bottom, layer)))

    def _top_ids(self, layer):
        return list(map(self._blob_names.index, self._names_at(
            lib().net_layer_num_tops, lib().net_layer_top, layer)))

    @property
    def bottom_names(self):
        """OrderedDict: layer name to the names of the blobs it takes."""
        return self._ends(lib().net_layer_num_bottoms, lib().net_layer_bottom)

    @property
    def top_names(self):
        """OrderedDict: layer name to the names of the blobs it makes."""
        return self._ends(lib().net_layer_num_tops, lib().net_layer_top)

    @property
    def blob_loss_weights(self):
        """OrderedDict: blob name to its weight in the loss; 0 for what is no loss."""
        weights = collections.OrderedDict((name, 0.0) for name in self._blobs)
        for i, tops in enumerate(self.top_names.values()):
            for k, top in enumerate(tops):
                weights[top] = lib().net_layer_loss_weight(self._net, i, k) or weights[top]
        return weights

    @property
    def _blob_loss_weights(self):
        return list(self.blob_loss_weights.values())

    # ---- running -----------------------------------------------------------------------------

    def _layer_index(self, name):
        index = lib().net_find_layer(self._net, to_c(name))
        if index < 0:
            raise NameNotFoundError("no layer '%s' in this phase of the net" % name)
        return index

    def _run(self, direction, first, last, run):
        """Runs layers [first, last] in one go, or one by one where someone wants to look."""
        before, after = self._before[direction], self._after[direction]
        if not (before or after):
            return run(first, last)
        step = 1 if first <= last else -1
        total = 0.0
        for index in range(first, last + step, step):
            for hook in before:
                hook(index)
            total += run(index, index) or 0.0
            for hook in after:
                hook(index)
        return total

    def _forward(self, first, last):
        """Runs layers first to last (indices, both included); returns the loss."""
        def run(a, b):
            loss = ctypes.c_float()
            if a == 0 and b == len(self._layers) - 1:
                done = calling_back(lib().net_forward, self._net, ctypes.byref(loss))
            else:
                done = calling_back(lib().net_forward_range, self._net, a, b,
                                    ctypes.byref(loss))
            check(lib(), done)
            return loss.value
        return self._run('forward', first, last, run)

    def _backward(self, first, last):
        """Runs layers backward from first down to last (indices, both included)."""
        def run(a, b):
            if a == len(self._layers) - 1 and b == 0:
                done = calling_back(lib().net_backward, self._net)
            else:
                done = calling_back(lib().net_backward_range, self._net, a, b)
            check(lib(), done)
        self._run('backward', first, last, run)

    def _fill(self, arrays, names, attribute, what):
        if set(arrays) != set(names):
            raise InvalidError('%s given: %s; the net has: %s' % (
                what, ', '.join(sorted(arrays)) or 'none', ', '.join(sorted(names)) or 'none'))
        for name, array in arrays.items():
            view = getattr(self._blobs[name], attribute)
            if np.shape(array)[:1] != view.shape[:1]:
                raise InvalidError("'%s' holds %s, the batch is %s: reshape the blob first" % (
                    name, np.shape(array), view.shape))
            try:
                view[...] = array
            except ValueError as error:  # numpy's, which does not know the name
                raise InvalidError("'%s': %s" % (name, error)) from None

    def forward(self, blobs=None, start=None, end=None, **kwargs):
        """Runs the net forward.

        blobs   names of blobs to return beside the outputs.
        start   name of the first layer to run; default: the first.
        end     name of the last layer to run, included; default: the last.
        kwargs  an array for each input, of the blob's batch size, copied in before the run;
                all inputs or none.
        Returns {name: array}: outputs (with `end`: that layer's tops) and `blobs`, as views.
        Raises InvalidError, NameNotFoundError, DataError, ShapeError, DeviceError.
        """
        if kwargs:
            self._fill(kwargs, self._inputs, 'data', 'inputs')
        first = self._layer_index(start) if start is not None else 0
        last = self._layer_index(end) if end is not None else len(self._layers) - 1
        names = self._outputs if end is None else self.top_names[end]
        if first <= last:
            self._forward(first, last)
        return self._views([*names, *(blobs or ())], 'data')

    def backward(self, diffs=None, start=None, end=None, **kwargs):
        """Runs the net backward after a forward; gradients of the weights are added up. As in
        Caffe, layers that lead to no loss are left out unless the net says force_backward.

        diffs   names of blobs whose gradients to return beside the inputs'.
        start   name of the layer to begin at; default: the last.
        end     name of the layer to stop at, included; default: the first.
        kwargs  a gradient for each output; all outputs or none. Losses set their own.
        Returns {name: array}: gradients of the inputs (with `end`: of that layer's bottoms) and
        of `diffs`, as views. Raises StateError before a forward, InvalidError,
        NameNotFoundError, DataError, DeviceError.
        """
        if kwargs:
            self._fill(kwargs, self._outputs, 'diff', 'gradients')
        first = self._layer_index(start) if start is not None else len(self._layers) - 1
        last = self._layer_index(end) if end is not None else 0
        names = self._inputs if end is None else self.bottom_names[end]
        if first >= last:
            self._backward(first, last)
        return self._views([*names, *(diffs or ())], 'diff')

    def _views(self, names, attribute):
        if names:  # a device is waited for here, so that its failure is of its own class
            check(lib(), lib().context_synchronise(self._owner.root().handle))
        return {name: getattr(self._at(name), attribute) for name in names}

    def _at(self, name):
        if name not in self._blobs:
            lib().net_blob(self._net, to_c(name))
            raise failure(lib(), _api.E_NOTFOUND)
        return self._blobs[name]

    def _batches(self, arrays):
        """Yields {name: one batch}, the last filled up with zeros."""
        sizes = {len(array) for array in arrays.values()}
        if len(sizes) != 1:
            raise InvalidError('arrays of different lengths: %s' % sorted(sizes))
        size = self._blobs[next(iter(arrays))].shape[0]
        for begin in range(0, sizes.pop(), size):
            batch = {}
            for name, array in arrays.items():
                part = np.asarray(array[begin:begin + size])
                short = size - len(part)
                pad = [(0, short)] + [(0, 0)] * (part.ndim - 1)
                batch[name] = np.pad(part, pad) if short else part
            yield batch

    @staticmethod
    def _gather(parts, total, size):
        """Joins the batches of each blob; what came from the filling is cut off."""
        joined = {}
        for name, arrays in parts.items():
            whole = np.concatenate([np.atleast_1d(a) for a in arrays])
            joined[name] = whole[:total] if len(whole) == size * len(arrays) else whole
        return joined

    def forward_all(self, blobs=None, **kwargs):
        """Runs any number of items forward, batch by batch.

        kwargs  an array for each input, all of one length.
        Returns {name: array}: outputs and `blobs` of all items, as copies.
        """
        return self._all(blobs, None, kwargs)[0]

    def forward_backward_all(self, blobs=None, diffs=None, **kwargs):
        """Runs any number of items forward and backward, batch by batch.

        kwargs  an array for each input, and a gradient for each output that is no loss.
        Returns ({name: array}, {name: gradient}), as copies.
        """
        return self._all(blobs, diffs, kwargs, backward=True)

    def _all(self, blobs, diffs, arrays, backward=False):
        fed = {k: v for k, v in arrays.items() if k in self._inputs}
        given = {k: v for k, v in arrays.items() if k not in fed}
        if not fed or (given and not backward):
            raise InvalidError('inputs given: %s; the net has: %s' % (
                ', '.join(sorted(arrays)) or 'none', ', '.join(self._inputs) or 'none'))
        outs, grads = collections.defaultdict(list), collections.defaultdict(list)
        for batch in self._batches({**fed, **given}):
            ran = self.forward(blobs, **{k: batch[k] for k in fed})
            for name, array in ran.items():
                outs[name].append(array.copy())
            if backward:
                ran = self.backward(diffs, **{k: batch[k] for k in given})
                for name, array in ran.items():
                    grads[name].append(array.copy())
        total, size = len(next(iter(fed.values()))), self._blobs[next(iter(fed))].shape[0]
        return self._gather(outs, total, size), self._gather(grads, total, size)

    def reshape(self):
        """Takes up new shapes of inputs (Blob.reshape) now rather than at the next forward."""
        check(lib(), calling_back(lib().net_reshape, self._net))

    def clear_param_diffs(self):
        """Sets the gradients of all weights to zero."""
        check(lib(), lib().net_clear_gradients(self._net))

    def before_forward(self, hook):
        """Calls hook(layer_index) before each layer of every forward; the layers then run one
        by one. after_forward, before_backward and after_backward likewise."""
        self._before['forward'].append(hook)

    def after_forward(self, hook):
        """See before_forward."""
        self._after['forward'].append(hook)

    def before_backward(self, hook):
        """See before_forward."""
        self._before['backward'].append(hook)

    def after_backward(self, hook):
        """See before_forward."""
        self._after['backward'].append(hook)

    # ---- weights -----------------------------------------------------------------------------

    def copy_from(self, weights, policy='strict'):
        """Loads weights by layer name from a .caffemodel, .caffemodel.h5 or .safetensors, or
        the bytes of a .caffemodel or .safetensors; layers that it lacks keep theirs. On failure
        no weight was changed.

        policy  for a weight of another shape: 'strict' raises DataError, 'skip' leaves it,
                'reshape' takes it if the count agrees.
        Returns a WeightsReport. Raises FileMissingError, ParseError, DataError.
        """
        report = _api.dn_weights_report()
        chosen = choose(_POLICIES, policy, 'policy')
        if isinstance(weights, (bytes, bytearray, memoryview)):
            data, path = bytes(weights), None
            done = lib().net_load_weights_memory(self._net, data, len(data), chosen,
                                                 ctypes.byref(report))
        else:
            path = weights
            done = lib().net_load_weights(self._net, path_bytes(path), chosen,
                                          ctypes.byref(report))
        check(lib(), done, path)
        return WeightsReport(report.loaded, *[
            from_c(text).split(', ') if text else []
            for text in (report.missing_names, report.unused_names, report.mismatched_names)])

    def load_hdf5(self, filename):
        """Loads weights from a .caffemodel.h5."""
        return self.copy_from(filename)

    def save(self, filename):
        """Saves the net with its weights as a .caffemodel, or the weights as HDF5 or
        safetensors for a name that ends in .h5 or .safetensors. An older file survives a
        failure. Raises FileError, UnsupportedError."""
        check(lib(), lib().net_save_weights(self._net, path_bytes(filename)))

    def save_hdf5(self, filename, write_diff=False):
        """Saves the weights as HDF5, whatever the name ends in. Gradients are not written;
        write_diff=True raises UnsupportedError."""
        if write_diff:
            raise UnsupportedError('gradients are not written to HDF5')
        filename = os.fsdecode(filename)
        if filename.endswith('.h5'):
            return self.save(filename)
        folder = os.path.dirname(os.path.abspath(filename))
        with tempfile.TemporaryDirectory(dir=folder) as beside:
            self.save(os.path.join(beside, 'weights.h5'))
            os.replace(os.path.join(beside, 'weights.h5'), filename)

    def share_with(self, other):
        """Uses the weights of another net for every layer of the same name and shapes, without
        a copy; `other` stays alive as long as this net."""
        check(lib(), lib().net_share_weights(self._net, other._net))
        self._owner.keep(other._owner)

    def shared(self):
        """A second net on the same weights, with blobs of its own, for another thread."""
        handle = make(lib().net_create_shared, lib().net_free, self._net, None)
        return type(self)._borrow(handle, Owner(handle, lib().net_free, self._owner))

    def set_input_arrays(self, data, labels=None, layer=None):
        """Points a MemoryData layer at arrays: data (N, C, H, W), with the layer's C, H and W,
        and labels of N values, N a multiple of its batch size. They are kept, not copied, if
        they are float32 and contiguous. layer: its name; None: the first one."""
        data = np.ascontiguousarray(data, dtype=np.float32)
        labels = np.zeros(len(data)) if labels is None else labels
        labels = np.ascontiguousarray(labels, dtype=np.float32).reshape(-1)
        item = self._memory_item(layer)
        if data.shape[1:] != item or len(labels) != len(data):
            raise InvalidError('data %s and %d labels: data must be (N, %d, %d, %d) with N '
                               'labels' % (data.shape, len(labels), *item))
        pointer = ctypes.POINTER(ctypes.c_float)
        check(lib(), lib().net_set_memory_data(
            self._net, to_c(layer) if layer else None, data.ctypes.data_as(pointer),
            labels.ctypes.data_as(pointer), len(data)))
        self._owner.keep((data, labels), ('memory data', self._net, layer))

    def _memory_item(self, name):
        """The shape of one item of a MemoryData layer; the library sees only a pointer."""
        for layer in self._layers:
            if layer.type == 'MemoryData' and name in (None, layer.name):
                return self._blobs[self.top_names[layer.name][0]].shape[1:]
        raise NameNotFoundError("no MemoryData layer%s in this phase of the net" %
                                ("" if name is None else " '%s'" % name))

    # ---- telling -----------------------------------------------------------------------------

    def _text(self, ask, *args):
        pointer = ctypes.c_void_p()
        check(lib(), ask(self._net, *args, ctypes.byref(pointer)))
        try:
            return ctypes.cast(pointer, ctypes.c_char_p).value.decode('utf-8', 'replace')
        finally:
            lib().net_text_free(self._net, pointer)

    def describe(self, *what):
        """A readable description; what: 'layers' (the default), 'ops' (the implementation of
        each, and why others declined), 'memory'."""
        flags = 0
        for word in what or ('layers',):
            flags |= choose(_DESCRIBE, word, 'describe')
        return self._text(lib().net_describe, flags)

    def prototxt(self):
        """The net as today's prototxt: upgraded, this phase's layers."""
        return self._text(lib().net_prototxt)

    def memory(self):
        """{kind: bytes}: weights, weight_gradients, blobs, blob_gradients, scratch, plan, and
        total, the sum of them."""
        bytes_by_kind = _api.dn_net_memory()
        check(lib(), lib().net_memory_report(self._net, ctypes.byref(bytes_by_kind)))
        return {kind: getattr(bytes_by_kind, kind)
                for kind, _ in bytes_by_kind._fields_[1:]}

    def flops(self):
        """OrderedDict: layer name to the floating-point operations of one forward pass (0 in a
        net that is only wired, which has no ops)."""
        return collections.OrderedDict((name, lib().net_layer_flops(self._net, i))
                                       for i, name in enumerate(self._layer_names))

    def close(self):
        """Lets go of the net; it is freed with the last array that views it."""
        for name in Net._net.names:
            self.__dict__.pop(name, None)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def __repr__(self):
        if '_net' not in self.__dict__:
            return '<deepnet.Net, closed>'
        return "<deepnet.Net '%s': %d layers, %s -> %s>" % (
            self.name, len(self._layers), ', '.join(self._inputs) or 'data layers',
            ', '.join(self._outputs) or 'no outputs')
