# SPDX-License-Identifier: BSD-2-Clause
"""Contexts, and pycaffe's modes on top of them.

pycaffe has one mode, device and seed for the whole process. Here they describe the default
context, which is made when the first net needs one and made anew after a mode, device or seed
was set; nets that exist keep the context they were made in.
"""
import ctypes
import logging
import operator
import os
import threading

from . import _api
from ._errors import check, choose
from ._layer import CLASSES
from ._lib import lib
from ._owner import Owner

_logger = logging.getLogger('deepnet')
_scopes = threading.local()


@_api.log_fn
def _log(_user, level, line):
    severity = logging.WARNING if level == _api.LOG_WARNING else logging.INFO
    _logger.log(severity, '%s', (line or b'').decode('utf-8', 'replace'))


_PLANS = {True: _api.PLAN_FUSED, False: _api.PLAN_PLAIN, 'nhwc': _api.PLAN_NHWC}


def _stream_of(stream):
    """The address of a device's stream, however the caller has it. torch and cupy have 0 for
    CUDA's default stream, which here would be one of the context's own: cudaStreamLegacy is
    1."""
    for name in ('cuda_stream', 'ptr'):
        if hasattr(stream, name):
            return getattr(stream, name) or 1
    return stream


class Context:
    """Threads, backends and a seed for the nets made in it.

    num_threads  threads that compute, the caller included; 0: DEEPNET_NUM_THREADS, else the
                 cores this process may use. Results do not depend on it. `threads` is the same.
    seed         of every random number in the context's nets; same seed, same bits.
    backends     names, best first: 'cpu,ref' or a sequence of them; None: all built in.
    device       0: the host computes; n: the n-th device (DeviceError if it does not answer,
                 UnsupportedError if there is none, or no module for one).
    module_folder  where backend modules lie; None: where they were installed.
    fuse         False: every op runs as its layer wrote it; slower, equal but for rounding.
                 'nhwc': every op that can work on channels-last images does.
    spin_us      microseconds an idle worker looks for work before it sleeps; 0: the default,
                 -1: none.
    tune         True: convolutions and matrix products go to the backend that is measured to be
                 fastest when a net is planned; rounding may differ between processes.
    allow_nondeterministic  True: a device may sum in an order that changes from run to run,
                 where that is faster. False: the same bits every time.
    device_stream  where the device's work is queued: an address, or what has it as
                 .cuda_stream (torch.cuda.Stream) or .ptr (cupy.cuda.Stream), which is kept;
                 None: a stream of the context's own, see synchronise().
    device_memory_limit  bytes of the device's memory that nets and solvers may hold at once;
                 LimitError beyond. 0: none.

    `with Context(...):` makes it the context of nets and solvers made inside the block by this
    thread. The context lives as long as anything made in it. Lines that the library logs go to
    logging.getLogger('deepnet').
    """

    def __init__(self, num_threads=0, seed=0, backends=None, device=0, module_folder=None,
                 threads=None, fuse=True, spin_us=0, tune=False, allow_nondeterministic=False,
                 device_stream=None, device_memory_limit=0):
        if backends is not None and not isinstance(backends, str):
            backends = ','.join(backends)
        options = _api.dn_context_options(
            log=_log, num_threads=num_threads if threads is None else threads,
            device=device, backends=backends.encode() if backends else None,
            seed=operator.index(seed) & (2**64 - 1),
            module_folder=os.fsencode(module_folder) if module_folder else None,
            plan=choose(_PLANS, fuse, 'fuse'), spin_us=spin_us, layers=CLASSES,
            num_layers=len(CLASSES), tune=int(tune),
            allow_nondeterministic=int(allow_nondeterministic),
            device_stream=_stream_of(device_stream), device_memory_limit=device_memory_limit)
        handle = ctypes.c_void_p()
        check(lib(), lib().context_create(ctypes.byref(handle), ctypes.byref(options)))
        self._owner = Owner(handle.value, lib().context_free)
        self._owner.keep(device_stream)

    def synchronise(self):
        """Waits until everything that was asked for in this context is done on its device; at
        once where there is none."""
        check(lib(), lib().context_synchronise(self._owner.handle))

    @property
    def num_threads(self):
        """Threads the context computes with, at least 1."""
        return lib().context_num_threads(self._owner.handle)

    @property
    def backends(self):
        """Descriptions of the backends, best first: ['cpu: OpenBLAS, AVX-512', 'ref']."""
        handle = self._owner.handle
        return [lib().context_backend(handle, i).decode()
                for i in range(lib().context_num_backends(handle))]

    def __enter__(self):
        stack = _scopes.__dict__.setdefault('stack', [])
        stack.append(self)
        return self

    def __exit__(self, *_):
        _scopes.stack.pop()

    def __repr__(self):
        return '<deepnet.Context: %d threads, %s>' % (self.num_threads,
                                                      ' | '.join(self.backends))


class _Default:
    """The process's default context and what it is made from."""

    def __init__(self):
        self.lock = threading.Lock()
        self.gpu, self.device_id, self.seed = False, 0, 0
        self.context = None

    def change(self, **settings):
        with self.lock:
            for name, value in settings.items():
                setattr(self, name, value)
            self.context = None

    def get(self):
        with self.lock:
            if self.context is None:
                self.context = Context(seed=self.seed,
                                       device=self.device_id + 1 if self.gpu else 0)
            return self.context


_default = _Default()


def _after_fork():
    """A child makes its own default context: the parent's threads are not there."""
    _default.lock = threading.Lock()
    _default.context = None


if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=_after_fork)


def current_context():
    """The context that a net made now would use: the innermost `with Context(...)` block of
    this thread, else the process's default."""
    stack = getattr(_scopes, 'stack', None)
    return stack[-1] if stack else _default.get()


def set_mode_cpu():
    """Nets made from now on run on the host."""
    _default.change(gpu=False)


def set_mode_gpu():
    """Nets made from now on run on the device that set_device chose (the first if none was);
    making one raises UnsupportedError or DeviceError where there is no such device."""
    _default.change(gpu=True)


def set_device(device_id):
    """Chooses the device, counted from 0, for nets made in GPU mode from now on."""
    if device_id < 0:
        raise ValueError('device %d: devices are counted from 0' % device_id)
    _default.change(device_id=int(device_id))


def set_random_seed(seed):
    """Seeds fillers, dropout and shuffling of the nets made from now on. The same seed and the
    same program give the same bits, on any number of threads."""
    _default.change(seed=int(seed))
