# SPDX-License-Identifier: BSD-2-Clause
"""A failed call of the library as an exception: one class per status, each also the built-in
exception that Python programs would look for. The message is the library's own line."""
import os
import sys
import threading

from . import _api


class Error(RuntimeError):
    """What every failure of deepnet is. `status` is the dn_status, a negative number."""

    status = _api.E_INTERNAL

    def __init__(self, message, status=None):
        super().__init__(message)
        self.message = message
        if status is not None:
            self.status = status

    def __str__(self):
        return self.message

    def __reduce__(self):
        return type(self), (self.message, self.status)


class InvalidError(Error, ValueError):
    """An argument is outside what the call accepts."""
    status = _api.E_INVALID


class NoMemoryError(Error, MemoryError):
    """The allocator had no memory left."""
    status = _api.E_NOMEM


class FileError(Error, OSError):
    """A file could not be opened, read or written."""
    status = _api.E_IO


class FileMissingError(FileError, FileNotFoundError):
    """There is no such file."""


class ParseError(Error, ValueError):
    """A text or binary file is not in its format; the message has line and column."""
    status = _api.E_PARSE


class NetError(Error, ValueError):
    """The net does not wire: a bottom that nothing makes, a top made twice, ..."""
    status = _api.E_NET


class ShapeError(Error, ValueError):
    """Shapes do not fit, or overflow."""
    status = _api.E_SHAPE


class UnsupportedError(Error, NotImplementedError):
    """Known, but not in this build or not by this release."""
    status = _api.E_UNSUPPORTED


class NameNotFoundError(Error, KeyError):
    """No blob, layer or item of that name."""
    status = _api.E_NOTFOUND


class DataError(Error, ValueError):
    """A record, a label or a weight file is not what the net needs."""
    status = _api.E_DATA


class DeviceError(Error):
    """A device failed; its own words are in the message."""
    status = _api.E_DEVICE


class CancelledError(Error):
    """Solver.cancel was called, or a callback asked to stop."""
    status = _api.E_CANCELLED


class StateError(Error):
    """The call does not make sense now, such as backward before forward."""
    status = _api.E_STATE


class LimitError(Error, MemoryError):
    """A limit that the host set would be exceeded."""
    status = _api.E_LIMIT


class HostError(Error):
    """A callback failed."""
    status = _api.E_HOST


class InternalError(Error):
    """A mistake of the library; please report it."""
    status = _api.E_INTERNAL


class LibraryError(Error, ImportError):
    """libdeepnet could not be loaded, or is of another release."""
    status = _api.E_UNSUPPORTED

    def __init__(self, message, status=None):
        Error.__init__(self, message, status)
        self.msg = message


def choose(table, value, what):
    """table[value], or a ValueError that lists the choices."""
    try:
        return table[value]
    except (KeyError, TypeError):
        raise InvalidError('%s %r: one of %s' % (what, value, ', '.join(map(repr, table)))) \
            from None


_CLASSES = {c.status: c for c in (
    InvalidError, NoMemoryError, FileError, ParseError, NetError, ShapeError, UnsupportedError,
    NameNotFoundError, DataError, DeviceError, CancelledError, StateError, LimitError,
    HostError, InternalError)}


def last_error(lib):
    """The reason of this thread's last failed call, or None."""
    message = lib.last_error()
    return message.decode('utf-8', 'replace') if message else None


def failure(lib, status, path=None):
    """The exception for a status; path: the file the call was about, if one was named."""
    message = last_error(lib) or lib.status_name(status).decode()
    if status == _api.E_IO and path is not None and not os.path.exists(path):
        return FileMissingError(message)
    return _CLASSES.get(status, Error)(message, status)


_interrupts = threading.local()


def keep_interrupt(error):
    """Ctrl-C and its like, raised in a callback that C called: for check() to raise again."""
    _interrupts.error = error


def interrupted():
    """Whether there is one that check() has not raised yet."""
    return 'error' in _interrupts.__dict__


def take_interrupt():
    """The one that check() has not raised yet, for the caller to raise; None if none waits."""
    return _interrupts.__dict__.pop('error', None)


def calling_back(function, *arguments):
    """function(*arguments), a call that calls Python back. Python runs the handlers of signals
    before a callback's first line as well, outside its `try`: what they raise there, as Ctrl-C
    does, goes to sys.unraisablehook, and from here to check()."""
    if threading.current_thread() is not threading.main_thread():  # others run no handlers
        return function(*arguments)
    hook = sys.unraisablehook

    def caught(what):
        trace = what.exc_traceback
        if (threading.current_thread() is threading.main_thread() and trace
                and trace.tb_frame.f_globals.get('__package__') == __package__):
            keep_interrupt(what.exc_value)
        else:
            hook(what)
    try:  # no context manager: a handler may run before the first line of its __exit__
        sys.unraisablehook = caught
        return function(*arguments)
    except BaseException:  # a second Ctrl-C, as the call returned: nobody comes to check()
        sys.unraisablehook = hook
        take_interrupt()
        raise
    finally:
        sys.unraisablehook = hook


def check(lib, status, path=None):
    """Raises what a negative status means, or the interrupt that led to it; returns None for
    DN_OK."""
    interrupt = take_interrupt()
    if interrupt is not None:
        try:
            raise interrupt
        finally:
            del interrupt  # it knows this frame: a cycle would keep what its callers hold
    if status != _api.OK:
        raise failure(lib, status, path)
