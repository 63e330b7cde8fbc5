# SPDX-License-Identifier: BSD-2-Clause
"""Who frees a C handle: the last Python object that can still reach its memory.

Nets, solvers, blobs and the numpy views of blobs all hold the same Owner, and an Owner holds
those it depends on (a net its context), so handles are freed in the right order by counting.
"""
import ctypes
import os

from ._errors import calling_back, check
from ._layer import making_since
from ._lib import lib


def make(create, free, *arguments, path=None):
    """The handle that create(&handle, *arguments) makes, layers written in Python included;
    path: as for check(). An interrupt may come although it was made: it is freed then."""
    handle = ctypes.c_void_p()
    mark = making_since()
    try:
        status = calling_back(create, ctypes.byref(handle), *arguments)
        making_since(mark)
        check(lib(), status, path)
    except BaseException:
        if handle:
            free(handle)
        raise
    return handle.value


class Owner:
    """A handle, its destructor, and what must outlive it."""

    __slots__ = ('handle', 'kept', '_free', '_pid', '_depends', '_users', '_gone')

    def __init__(self, handle, free, *depends):
        self.handle = handle
        self.kept = {id(owner): owner for owner in depends}
        self._free = free
        self._pid = os.getpid()
        self._depends = depends
        self._users = 0
        self._gone = False
        for owner in depends:
            owner._users += 1

    def keep(self, what, key=None):
        """Keeps `what` alive as long as this handle, or until another comes with its key."""
        self.kept[id(what) if key is None else key] = what

    def __reduce__(self):  # pickle and copy.deepcopy: there would be two to free one handle
        raise TypeError('nets, solvers and contexts cannot be pickled or copied; '
                        'Net.save() has the weights, Net.shared() is another net on them')

    def root(self):
        """The owner at the end of the chain: the context's."""
        return self._depends[0].root() if self._depends else self

    def __del__(self):
        self._gone = True
        self._release()

    def _release(self):
        """Frees the handle once nothing that depends on it is left: a cycle, or the end of the
        interpreter, may bring down several owners in any order."""
        if not self._gone or self._users or not self.handle:
            return
        handle, self.handle = self.handle, None
        # The threads that belong to a handle do not exist in a forked child; freeing it there
        # would wait for them for ever.
        if self._pid == os.getpid():
            self._free(handle)
        for owner in self._depends:
            owner._users -= 1
            owner._release()
