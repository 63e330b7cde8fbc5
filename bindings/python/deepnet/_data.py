# SPDX-License-Identifier: BSD-2-Clause
"""Files into others: data sets into databases, old nets into today's."""
import ctypes

from . import _api
from ._context import current_context
from ._errors import check
from ._lib import lib
from ._text import path_bytes


def convert_mnist(images, labels, out, overwrite=False):
    """Makes an LMDB of Datum records, as Data layers read it, out of two IDX files, as MNIST
    comes in (gzipped or not). The database appears whole or not at all.

    images     path of (N, height, width) unsigned bytes; labels: path of N unsigned bytes.
    out        the folder to make.
    overwrite  True: replace an LMDB that is already there.
    Raises FileMissingError, FileError, ParseError, DataError, UnsupportedError.
    """
    options = _api.dn_convert_options(overwrite=int(overwrite))
    paths = [path_bytes(path) for path in (images, labels, out)]
    done = lib().convert_mnist(current_context()._owner.handle, *paths, ctypes.byref(options))
    check(lib(), done, images)


def upgrade(old, new, dialect=None):
    """Writes a net, weights or a solver of any generation and dialect as today's; text keeps its
    comments. The new file appears whole or not at all.

    old, new  paths; text or binary by the new one's ending, else as the old file is.
    dialect   whose field numbers a binary file has ('ssd', 'nvidia', ...); None: found.
    Raises FileMissingError, FileError, ParseError, NetError, UnsupportedError.
    """
    options = _api.dn_upgrade_options(dialect=dialect.encode() if dialect else None)
    done = lib().upgrade_file(current_context()._owner.handle, path_bytes(old), path_bytes(new),
                              ctypes.byref(options))
    check(lib(), done, old)
