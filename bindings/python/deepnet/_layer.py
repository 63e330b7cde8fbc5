# SPDX-License-Identifier: BSD-2-Clause
"""Layers written in Python, as pycaffe has them: `type: "Python"` with a python_param that
names module and class. The class derives from deepnet.Layer; the library calls it as a layer of
the host's own (sys/layer.h).

    class Twice(deepnet.Layer):
        def setup(self, bottom, top):
            self.factor = float(self.param_str or 2)
        def reshape(self, bottom, top):
            top[0].reshape(*bottom[0].shape)
        def forward(self, bottom, top):
            top[0].data[...] = self.factor * bottom[0].data
        def backward(self, top, propagate_down, bottom):
            bottom[0].diff[...] = self.factor * top[0].diff
"""
import ctypes
import importlib
import importlib.util
import logging
import operator
import sys
import threading

import numpy as np

from . import _api
from ._errors import interrupted, keep_interrupt
from ._lib import lib
from ._text import from_c

_TYPES = {_api.F32: '<f4', _api.F64: '<f8'}
_logger = logging.getLogger('deepnet')


class _Address:
    """What numpy needs to make a view of memory that lasts as long as the call."""

    def __init__(self, address, shape, kind):
        self.__array_interface__ = {'version': 3, 'data': (address, False), 'shape': shape,
                                    'typestr': _TYPES[kind]}


def _view(address, shape, kind):
    """The library's memory; zeros of its own where there is none."""
    if not address:
        return np.zeros(shape, _TYPES[kind])
    return np.asarray(_Address(address, shape, kind))


class LayerBlob:
    """A bottom, top or weight of a layer written in Python. `data` and `diff` are views of the
    library's memory in forward and backward, and zeros of their own before."""

    def __init__(self, shape=()):
        self._shape = tuple(shape)
        self._data = self._diff = None

    def reshape(self, *dims):
        """Gives a top its shape."""
        if len(dims) == 1 and np.iterable(dims[0]):
            dims = dims[0]
        shape = tuple(map(operator.index, dims))
        if shape != self._shape:
            self._shape, self._data, self._diff = shape, None, None

    shape = property(lambda self: self._shape, doc='A tuple of dimensions.')
    count = property(lambda self: int(np.prod(self._shape)), doc='The number of values.')

    def _legacy(self, axis):
        return self._shape[axis] if axis < len(self._shape) else 1

    num = property(lambda self: self._legacy(0), doc='The length of axis 0; 1 if absent.')
    channels = property(lambda self: self._legacy(1), doc='The length of axis 1; 1 if absent.')
    height = property(lambda self: self._legacy(2), doc='The length of axis 2; 1 if absent.')
    width = property(lambda self: self._legacy(3), doc='The length of axis 3; 1 if absent.')

    @property
    def data(self):
        """The values."""
        if self._data is None:
            self._data = np.zeros(self._shape, 'f4')
        return self._data

    @property
    def diff(self):
        """Their gradient."""
        if self._diff is None:
            self._diff = np.zeros(self._shape, 'f4')
        return self._diff


class LayerWeights(list):
    """A layer's weights: self.blobs. add_blob in setup only."""

    def __init__(self):
        super().__init__()
        self.fillers = []

    def add_blob(self, *shape, filler=None):
        """Another weight. filler: a FillerParameter as text, "type: 'xavier'"; without one it
        has the one value that setup writes into it, 0 if none."""
        self.append(LayerBlob(shape))
        self.fillers.append(filler)


class Layer:
    """What a layer written in Python derives from. It has param_str (param_str_ in scripts of
    2015), phase and blobs (its weights), and defines setup, reshape and forward, and backward
    if it has a gradient."""

    param_str, param_str_, phase = '', '', None
    blobs = ()

    def setup(self, bottom, top):
        """Once: reads param_str, checks the shapes of the bottoms, adds weights."""

    def reshape(self, bottom, top):
        """Before each forward: gives the tops their shapes."""
        raise NotImplementedError('%s has no reshape' % type(self).__name__)

    def forward(self, bottom, top):
        """Writes top[i].data."""
        raise NotImplementedError('%s has no forward' % type(self).__name__)

    def backward(self, top, propagate_down, bottom):
        """Writes bottom[i].diff where propagate_down[i], and adds to self.blobs[i].diff."""
        raise NotImplementedError('%s has no backward' % type(self).__name__)


class _Running:
    """A layer of a net: the user's object and the blobs it sees."""

    def __init__(self, handle, user):
        api = lib()
        self.user = user  # it may have another name, and set another phase
        self.name = from_c(api.layer_name(handle))
        self.phase = _phase(handle)
        self.bottom = [LayerBlob(_shape(api.layer_bottom_shape(handle, i).contents))
                       for i in range(api.layer_num_bottoms(handle))]
        self.top = [LayerBlob() for _ in range(api.layer_num_tops(handle))]
        self.reshaped = False  # forward was left so that the tops get other room

    def set_shapes(self, handle):
        for i, blob in enumerate(self.top):
            shape = _api.dn_shape(axes=len(blob.shape))
            shape.dim[:len(blob.shape)] = blob.shape
            if lib().layer_set_top_shape(handle, i, ctypes.byref(shape)):
                raise ValueError((lib().last_error() or b'').decode('utf-8', 'replace'))


def _shape(shape):
    return tuple(shape.dim[:shape.axes])


def _phase(handle):
    return 0 if lib().layer_phase(handle) == _api.PHASE_TRAIN else 1


def _text(handle, field):
    return from_c(lib().layer_text(handle, field, 0) or b'')


_running = {}  # what `state` points at is a key of this
_keys = iter(range(1, 2**62))
_made = threading.local()  # .keys of layers whose Net is still to come, in their order


def making_since(mark=None):
    """The layers made from now on, or from an earlier mark on, are those of the Net to come: a
    layer may make a net of its own in the middle. Returns the mark."""
    _made.since = next(_keys) if mark is None else mark
    return _made.since


def take_made(name, phase):
    """The user's object behind a layer of the Net that is made now; None: it is none of
    Python's."""
    for key in getattr(_made, 'keys', ()):
        running = _running.get(key)
        wanted = running and key > _made.since
        if wanted and (running.name, running.phase) == (name, phase):
            _made.keys.remove(key)
            return running.user
    return None


def _guarded(handle_of):
    """An exception becomes a status and its line; its traceback goes to the log, at debug."""
    def decorate(function):
        def call(*arguments):
            try:
                if interrupted():
                    return _api.E_HOST
                function(*arguments)
                return _api.OK
            except BaseException as error:
                if not isinstance(error, Exception):
                    keep_interrupt(error)
                _logger.debug('in a layer written in Python', exc_info=True)
                line = ' '.join(('%s: %s' % (type(error).__name__, error)).split())
                return lib().layer_fail(handle_of(arguments), _api.E_HOST,
                                        line.encode('utf-8', 'replace'))
        return call
    return decorate


@_api.layer_takes_fn
def _takes(handle, _user):
    """A module that is there (a script itself is "__main__") or can be found; what cannot is
    left to the layers the library knows."""
    try:
        name = _text(handle, b'python_param.module')
        return int(name in sys.modules or importlib.util.find_spec(name) is not None)
    except Exception:
        return 0


def _declare(handle, weights):
    for blob, filler in zip(weights, weights.fillers):
        values = np.unique(blob.data)
        if filler is None and len(values) > 1:
            raise ValueError('setup wrote different values into a weight; give it a filler')
        if filler is None:
            filler = "type: 'constant' value: %.9g" % (values[0] if len(values) else 0)
        shape = _api.dn_shape(axes=len(blob.shape))
        shape.dim[:len(blob.shape)] = blob.shape
        if lib().layer_add_weight(handle, ctypes.byref(shape), filler.encode()):
            raise ValueError((lib().last_error() or b'').decode('utf-8', 'replace'))


@_api.layer_create_fn
@_guarded(lambda arguments: arguments[1])
def _create(out, handle, _user):
    module = importlib.import_module(_text(handle, b'python_param.module'))
    kind = getattr(module, _text(handle, b'python_param.layer'))
    user = kind.__new__(kind)
    user.param_str = user.param_str_ = _text(handle, b'python_param.param_str')
    user.phase = _phase(handle)
    user.blobs = LayerWeights()
    running = _Running(handle, user)
    user.setup(running.bottom, running.top)
    _declare(handle, user.blobs)
    key = next(_keys)
    _running[key] = running
    _made.keys = [*filter(_running.get, getattr(_made, 'keys', ())), key]
    out[0] = key


@_api.layer_destroy_fn
def _destroy(state):
    _running.pop(state, None)


@_api.layer_shape_fn
@_guarded(lambda arguments: arguments[1])
def _reshape(state, handle):
    running = _running[state]
    for i, blob in enumerate(running.bottom):
        blob.reshape(*_shape(lib().layer_bottom_shape(handle, i).contents))
    if not running.reshaped:  # else forward has just found them
        running.user.reshape(running.bottom, running.top)
    running.set_shapes(handle)


def _bind(blobs, datas, diffs, kind, shapes=None):
    for i, blob in enumerate(blobs):
        if shapes is not None:
            blob._shape = _shape(shapes[i])
        blob._data = _view(datas[i], blob._shape, kind)
        blob._diff = _view(diffs[i], blob._shape, kind) if diffs else None


def _unbind(running):
    """The memory is the library's again."""
    for blob in (*running.bottom, *running.top, *running.user.blobs):
        blob._data = blob._diff = None


@_api.layer_run_fn
@_guarded(lambda arguments: arguments[1].contents.layer)
def _forward(state, io):
    running, io = _running[state], io.contents
    try:
        _bind(running.bottom, io.bottoms, None, io.dtype, io.bottom_shapes)
        _bind(running.user.blobs, io.weights, None, io.dtype)
        if not running.reshaped:
            running.user.reshape(running.bottom, running.top)
            if any(blob.shape != _shape(io.top_shapes[i])
                   for i, blob in enumerate(running.top)):
                running.set_shapes(io.layer)
                running.reshaped = True
                return
        running.reshaped = False
        _bind(running.top, io.tops, None, io.dtype, io.top_shapes)
        running.user.forward(running.bottom, running.top)
    finally:
        _unbind(running)


@_api.layer_run_fn
@_guarded(lambda arguments: arguments[1].contents.layer)
def _backward(state, io):
    running, io = _running[state], io.contents
    try:
        _bind(running.bottom, io.bottoms, io.bottom_diffs, io.dtype, io.bottom_shapes)
        _bind(running.user.blobs, io.weights, io.weight_diffs, io.dtype)
        _bind(running.top, io.tops, io.top_diffs, io.dtype, io.top_shapes)
        for blob in (*running.bottom, *running.user.blobs):
            blob.diff[...] = 0
        running.user.backward(running.top, [bool(io.bottom_diffs[i])
                                            for i in range(io.num_bottoms)], running.bottom)
    finally:
        _unbind(running)


_class = _api.dn_layer_class(type=b'Python', bottoms_max=-1, tops_max=-1,
                             flags=_api.LAYER_DYNAMIC, create=_create, destroy=_destroy,
                             shape=_reshape, forward=_forward, backward=_backward, takes=_takes)
CLASSES = (ctypes.POINTER(_api.dn_layer_class) * 1)(ctypes.pointer(_class))
