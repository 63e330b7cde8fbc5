# SPDX-License-Identifier: BSD-2-Clause
"""The layer types that the loaded library knows."""
from ._errors import UnsupportedError
from ._lib import lib


def layer_type_list():
    """Names of the layer types, sorted: ['AbsVal', 'Accuracy', ...]."""
    raise UnsupportedError('this release has no list of layer types')
