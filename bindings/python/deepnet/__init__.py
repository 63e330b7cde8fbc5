# SPDX-License-Identifier: BSD-2-Clause
"""deepnet: trains and runs neural networks described in Caffe's language, inside your process.

The package has pycaffe's shape, so that a pycaffe script runs with `import deepnet as caffe`:

    import deepnet as caffe
    net = caffe.Net('deploy.prototxt', caffe.TEST, weights='lenet.caffemodel')
    out = net.forward(data=images)          # images: (N, 1, 28, 28) float32
    print(out['prob'].argmax(axis=1))

    solver = caffe.get_solver('solver.prototxt')
    solver.step(100)

It is pure Python over libdeepnet (ctypes and numpy). The library is the one that the
environment variable DEEPNET_LIBRARY names, else the one beside the package or in its prefix,
else the system's; the first call that needs it loads it. Every failure is a deepnet.Error with
one line that says why.
"""
import importlib
import sys

from ._blob import Blob
from ._context import (Context, current_context, set_device, set_mode_cpu, set_mode_gpu,
                       set_random_seed)
from ._data import convert_images, convert_mean, convert_mnist, upgrade
from ._errors import (CancelledError, DataError, DeviceError, Error, FileError,
                      FileMissingError, HostError, InternalError, InvalidError, LibraryError,
                      LimitError, NameNotFoundError, NetError, NoMemoryError, ParseError,
                      ShapeError, StateError, UnsupportedError)
from ._layer import Layer
from ._lib import version
from ._net import TEST, TRAIN, Net, NetLayer, WeightsReport
from ._pycaffe import (Timer, has_nccl, init_log, log, set_multiprocess, set_solver_count,
                       set_solver_rank, solver_count, solver_rank)
from ._solver import (AdaDeltaSolver, AdaGradSolver, AdamSolver, Event, NesterovSolver,
                      Parallel, RMSPropSolver, SGDSolver, Solver, get_solver)
from .layer_types import layer_type_list

__version__ = '0.1.0'

# Loaded when first used, so that `import deepnet` stays quick.
_LAZY = {'io': 'io', 'net_spec': 'net_spec', 'proto': 'proto',
         'coord_map': 'coord_map', 'draw': 'draw', 'plot': 'plot',
         'classifier': 'classifier', 'detector': 'detector',
         'Classifier': 'classifier', 'Detector': 'detector', 'NetSpec': 'net_spec',
         'layers': 'net_spec', 'params': 'net_spec', 'to_proto': 'net_spec'}


def __getattr__(name):
    if name not in _LAZY:
        raise AttributeError('module %r has no attribute %r' % (__name__, name))
    module = importlib.import_module('.' + _LAZY[name], __name__)
    value = module if name == _LAZY[name] else getattr(module, name)
    globals()[name] = value
    return value


def __dir__():
    return sorted(set(globals()) | set(_LAZY))


def install_as_caffe():
    """Lets `import caffe` and `from caffe.proto import caffe_pb2` mean this package, and
    `from google.protobuf import text_format` read and print its messages too, for scripts that
    cannot be changed. Call it before they are imported."""
    package = sys.modules[__name__]
    for name in ('caffe', 'caffe.pycaffe', 'caffe._caffe'):
        sys.modules[name] = package
    package.pycaffe = package._caffe = package  # `import caffe.pycaffe` would not set it
    for name in ('io', 'net_spec', 'coord_map', 'draw', 'classifier', 'detector', 'proto',
                 'proto.caffe_pb2'):
        sys.modules['caffe.' + name] = importlib.import_module('.' + name, __name__)
    importlib.import_module('.proto._google', __name__).install()
