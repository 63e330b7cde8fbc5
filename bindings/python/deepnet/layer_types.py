# SPDX-License-Identifier: BSD-2-Clause
"""The layer types that the loaded library knows."""
import itertools

from ._lib import lib


def layer_type_list():
    """Names of the layer types, sorted: ['AbsVal', 'Accuracy', ...]."""
    types = []
    for index in itertools.count():
        name = lib().layer_type(index)
        if name is None:
            return sorted(types)
        types.append(name.decode() if isinstance(name, bytes) else name)
