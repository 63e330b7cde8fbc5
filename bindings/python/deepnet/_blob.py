# SPDX-License-Identifier: BSD-2-Clause
"""A named array of a net. Its numpy arrays are views of the library's memory, fetched anew on
each access because a reshape moves them; a view keeps the whole net alive, and the memory that
it shows when the net has left that."""
import ctypes
import operator

import numpy as np

from . import _api
from ._errors import UnsupportedError, check, last_error
from ._lib import lib
from ._text import from_c

_TYPES = {_api.F32: '<f4', _api.F64: '<f8'}


class _Memory:
    """What numpy needs to make a view, and what the view needs to stay valid: the net, and of
    its memory what the net may leave, as in a reshape. The library is told when the last view
    is gone; writes: those of values could write."""

    __slots__ = ('__array_interface__', '_owner', '_handle', '_hold', '_writes')

    def __init__(self, address, shape, typestr, owner, handle, writes):
        self.__array_interface__ = {'version': 3, 'data': (address, False), 'shape': shape,
                                    'typestr': typestr}
        self._owner = owner
        self._handle = handle
        self._writes = writes
        self._hold = lib().blob_hold(handle, address)

    def __del__(self):
        try:
            if self._writes and self._owner.handle:  # a cycle may have freed the net before
                lib().blob_end_write(self._handle, self.__array_interface__['data'][0])
            lib().blob_end_hold(self._hold)
        except Exception:  # the interpreter is going down
            pass


class _DeviceMemory:
    """Memory of a device as the CUDA array interface has it, for torch.as_tensor and cupy."""

    __slots__ = ('__cuda_array_interface__', '_owner')

    def __init__(self, address, shape, typestr, owner, writable):
        self.__cuda_array_interface__ = {'version': 3, 'data': (address, not writable),
                                         'shape': shape, 'typestr': typestr, 'strides': None,
                                         'stream': None}
        self._owner = owner


def _device_address(blob, array):
    """Where an array on a device is, if it lies as the blob does."""
    there = array.__cuda_array_interface__
    shape, strides, size = tuple(there['shape']), there.get('strides'), blob.dtype.itemsize
    if np.dtype(there['typestr']) != blob.dtype or shape != blob.shape:
        raise ValueError("blob '%s' is %s of shape %s; the array is %s of shape %s" %
                         (blob.name, blob.dtype, blob.shape, there['typestr'], shape))
    for dim, stride in zip(reversed(shape), reversed(strides or ())):
        if dim > 1 and stride != size:
            raise ValueError("the array for blob '%s' is not contiguous" % blob.name)
        size *= dim
    return there['data'][0]


class Blob:
    """An activation or a parameter: N x C x H x W, row-major, the last axis fastest.

    Blobs come from Net.blobs, Net.params and Net.layers. Two that stand for the same memory, as
    shared weights do, are equal (==).
    """

    __slots__ = ('_handle', '_owner')

    def __init__(self, handle, owner):
        self._handle = handle
        self._owner = owner

    @property
    def name(self):
        """The blob's name; for a parameter 'layer/index'."""
        return from_c(lib().blob_name(self._handle))

    @property
    def shape(self):
        """A tuple of dimensions; () for a single number such as a loss."""
        dim, handle = lib().blob_dim, self._handle
        return tuple(dim(handle, axis) for axis in range(lib().blob_axes(handle)))

    @property
    def count(self):
        """The number of values."""
        return lib().blob_count(self._handle)

    @property
    def dtype(self):
        """numpy.float32, or numpy.float64 in a net made with dtype='float64'."""
        return np.dtype(_TYPES[lib().blob_dtype(self._handle)])

    def _legacy(self, axis):
        axes = lib().blob_axes(self._handle)
        if axes > 4:
            raise ValueError("blob '%s' has %d axes; num, channels, height and width are for "
                             'at most 4' % (self.name, axes))
        return lib().blob_dim(self._handle, axis) if axis < axes else 1

    num = property(lambda self: self._legacy(0), doc='The length of axis 0; 1 if absent.')
    channels = property(lambda self: self._legacy(1), doc='The length of axis 1; 1 if absent.')
    height = property(lambda self: self._legacy(2), doc='The length of axis 2; 1 if absent.')
    width = property(lambda self: self._legacy(3), doc='The length of axis 3; 1 if absent.')

    def _view(self, single, double, writes):
        kind = lib().blob_dtype(self._handle)
        address = (double if kind == _api.F64 else single)(self._handle)
        if not address:
            reason = last_error(lib())
            if reason is None and self.count == 0:
                return np.empty(self.shape, _TYPES[kind])
            raise UnsupportedError(reason or "blob '%s' has no such memory" % self.name)
        return np.asarray(_Memory(address, self.shape, _TYPES[kind], self._owner, self._handle,
                                  writes))

    @property
    def data(self):
        """The values as a writable view, up to date: `blob.data[...] = x`. After a reshape it
        keeps what it had, and the net no longer looks there: ask for another; copy what must
        outlive the next forward."""
        return self._view(lib().blob_mutable_data, lib().blob_mutable_data_f64, True)

    @property
    def diff(self):
        """The gradient of the loss with respect to the values, likewise a writable view; zeros
        until a backward pass wrote it."""
        return self._view(lib().blob_mutable_diff, lib().blob_mutable_diff_f64, False)

    def reshape(self, *dims):
        """Gives an input blob another shape: blob.reshape(1, 3, 224, 224). What follows takes
        it up at the next forward or Net.reshape; the values are undefined until written.
        Raises InvalidError (not an input of its net) or ShapeError."""
        if len(dims) == 1 and np.iterable(dims[0]):
            dims = tuple(dims[0])
        array = (ctypes.c_int64 * len(dims))(*map(operator.index, dims))
        check(lib(), lib().blob_reshape(self._handle, array, len(dims)))

    def _on_device(self, where, writable):
        address = where(self._handle)
        if not address:
            raise UnsupportedError(last_error(lib()) or
                                   "blob '%s' has no such memory" % self.name)
        check(lib(), lib().context_synchronise(self._owner.root().handle))
        return _DeviceMemory(address, self.shape, _TYPES[lib().blob_dtype(self._handle)],
                             self._owner, writable)

    @property
    def device_data(self):
        """The values where the context's device has them, to read, without a copy:
        torch.as_tensor(blob.device_data), cupy.asarray(blob.device_data). What makes them is
        waited for. Valid until the net is reshaped. Raises UnsupportedError where there is no
        device, or no layer there uses the blob."""
        return self._on_device(lib().blob_device_data, False)

    @property
    def mutable_device_data(self):
        """The same, to write: what the host has is old from then on. Ask again for each time
        it is written after a run, unless the blob is an input."""
        return self._on_device(lib().blob_mutable_device_data, True)

    def view_device(self, array):
        """Makes this input read memory of the host's on the context's device, without a copy.

        array  something with __cuda_array_interface__ (a torch or cupy array) of the blob's
               shape and type, contiguous, which is kept; an address as a number, which the
               caller keeps; None: the net's own memory again.

        Each run reads what lies there when it comes to it in the context's device_stream.
        Raises ValueError (another shape or type), InvalidError (not an input of its net) or
        UnsupportedError (there is no device)."""
        address = array
        if array is not None and not isinstance(array, int):
            address = _device_address(self, array)
        check(lib(), lib().blob_view_device(self._handle, address))
        self._owner.keep(array, ('view_device', self._handle))

    def __array__(self, dtype=None, copy=None):
        data = self.data
        if dtype is not None and np.dtype(dtype) != data.dtype:
            if copy is False:
                raise ValueError("blob '%s' is %s; another type takes a copy" %
                                 (self.name, data.dtype))
            return data.astype(dtype)
        return data.copy() if copy else data

    def __dlpack__(self, **options):
        """The values as a DLPack capsule, without a copy: torch.from_dlpack(blob)."""
        return self.data.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.data.__dlpack_device__()

    def __len__(self):
        shape = self.shape
        if not shape:
            raise TypeError('a blob of one number has no length')
        return shape[0]

    def __eq__(self, other):
        return isinstance(other, Blob) and self._handle == other._handle

    def __hash__(self):
        return hash(self._handle)

    def __repr__(self):
        return "<deepnet.Blob '%s' %s>" % (self.name, ' x '.join(map(str, self.shape)) or '()')
