# SPDX-License-Identifier: BSD-2-Clause
"""Finding and loading libdeepnet, once, when the first call needs it.

Importing the package loads nothing, so `import deepnet` works (and can be inspected) before a
library is there, and a forked child may still choose its own.
"""
import ctypes
import ctypes.util
import glob
import os
import threading

from . import _api
from ._errors import LibraryError

_lock = threading.Lock()
_library = None


def candidates():
    """Yields the names to try, in order: DEEPNET_LIBRARY alone if it is set, else the wheel's
    own library beside this file, then that of the prefix that both are installed in
    (PREFIX/lib/python3/.../deepnet), then the system's."""
    named = os.environ.get('DEEPNET_LIBRARY')
    if named:
        yield named
        return
    here = os.path.dirname(os.path.abspath(__file__))
    for pattern in ('libdeepnet.so*', 'libdeepnet*.dylib', 'deepnet*.dll'):
        yield from sorted(glob.glob(os.path.join(here, pattern)))
    prefix_lib = os.path.dirname(os.path.dirname(os.path.dirname(here)))
    installed = os.path.join(prefix_lib, 'libdeepnet.so.0')
    if os.path.exists(installed):
        yield installed
    found = ctypes.util.find_library('deepnet')
    if found:
        yield found
    yield 'libdeepnet.so.0'


def _open():
    tried = []
    for name in candidates():
        try:
            return ctypes.CDLL(name)
        except OSError as error:
            tried.append(str(error))
    raise LibraryError('libdeepnet could not be loaded (%s); DEEPNET_LIBRARY may name it'
                       % '; '.join(dict.fromkeys(tried)))


def _absent(name):
    def call(*_):
        raise LibraryError('the libdeepnet that is loaded has no %s: it is of another release '
                           'than this package' % name)
    return call


class Library:
    """Every public function as an attribute without its prefix: `lib().net_forward`."""

    def __init__(self, dll):
        self.dll = dll
        self.missing = []
        for name, (restype, argtypes) in _api.FUNCTIONS.items():
            function = getattr(dll, name, None)
            if function is None:
                self.missing.append(name)
                function = _absent(name)
            else:
                function.restype, function.argtypes = restype, list(argtypes)
            setattr(self, name[len('dn_'):], function)


def lib():
    """The loaded library. Raises LibraryError where there is none."""
    global _library
    if _library is None:
        with _lock:
            if _library is None:
                _library = Library(_open())
    return _library


def version():
    """The release of the library that is loaded, such as '0.1.0'."""
    return lib().version().decode()
