# SPDX-License-Identifier: BSD-2-Clause
"""Python's strings, paths and lists as C takes them."""
import ctypes
import os


def path_bytes(path):
    """A file name as bytes. A NUL inside would cut it short without a word; it is an error."""
    name = os.fsencode(path)
    if b'\0' in name:
        raise ValueError('a NUL byte in the path %r' % path)
    return name


def from_c(raw):
    """Bytes of a net as a string: what is no UTF-8, such as names in GBK, comes through to_c as
    it was."""
    return raw.decode('utf-8', 'surrogateescape')


def to_c(text):
    """A string as bytes; bytes as they are."""
    return text.encode('utf-8', 'surrogateescape') if isinstance(text, str) else text


def names_array(names):
    """(char **, count) of a list of names; (NULL, 0) of none."""
    if not names:
        return None, 0
    if isinstance(names, str):
        names = [names]
    array = (ctypes.c_char_p * len(names))(*map(to_c, names))
    return ctypes.cast(array, ctypes.POINTER(ctypes.c_char_p)), len(names)
