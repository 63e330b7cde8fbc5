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


def convert_images(source, out, root='', size=None, gray=False, shuffle=False, seed=0,
                   encoded=False, check_size=False, overwrite=False, skip_bad=False):
    """Makes an LMDB of Datum records out of JPEG and PNG files, as Caffe's convert_imageset
    does. The database appears whole or not at all.

    source      path of a text file; a line is an image's path, a space and a label.
    out         the folder to make.
    root        goes before each path of the list, as it is.
    size        (height, width) that images are resized to; None: their own.
    gray        True: one channel, not three.
    shuffle     True: in an order drawn by seed.
    encoded     True: the files as they are, to be decoded when they are read.
    check_size  True: an image of another size than the first's is an error.
    overwrite   True: replace an LMDB that is already there.
    skip_bad    True: an image that cannot be used is left out, with a warning.
    Returns how many were left out.
    Raises FileMissingError, FileError, DataError, InvalidError, UnsupportedError.
    """
    height, width = size or (0, 0)
    skipped = ctypes.c_int64()
    options = _api.dn_convert_options(
        overwrite=int(overwrite), root_folder=path_bytes(root), height=height, width=width,
        seed=seed, shuffle=int(shuffle), gray=int(gray), encoded=int(encoded),
        check_size=int(check_size), skip_bad=int(skip_bad), skipped=ctypes.pointer(skipped))
    done = lib().convert_images(current_context()._owner.handle, path_bytes(source),
                                path_bytes(out), ctypes.byref(options))
    check(lib(), done, source)
    return skipped.value


def convert_mean(database, out):
    """Writes the mean of the images of an LMDB or LevelDB as a .binaryproto for mean_file, as
    Caffe's compute_image_mean does. A file that is there is replaced.

    Raises FileMissingError, FileError, DataError, UnsupportedError.
    """
    done = lib().convert_mean(current_context()._owner.handle, path_bytes(database),
                              path_bytes(out))
    check(lib(), done, database)


def upgrade(old, new, dialect=None):
    """Writes a net, weights or a solver of any generation and dialect as today's; text keeps
    its comments. The new file appears whole or not at all.

    old, new  paths; text or binary by the new one's ending, else as the old file is.
    dialect   whose field numbers a binary file has ('ssd', 'nvidia', ...); None: found.
    Raises FileMissingError, FileError, ParseError, NetError, UnsupportedError.
    """
    options = _api.dn_upgrade_options(dialect=dialect.encode() if dialect else None)
    done = lib().upgrade_file(current_context()._owner.handle, path_bytes(old), path_bytes(new),
                              ctypes.byref(options))
    check(lib(), done, old)
