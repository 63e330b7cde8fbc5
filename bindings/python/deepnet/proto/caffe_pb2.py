# SPDX-License-Identifier: BSD-2-Clause
"""NetParameter, SolverParameter, BlobProto, Datum and their kin, by the names that Google's
compiler would give them; made from cnn.proto on first use."""
from . import _message
from ._schema import schema


def __getattr__(name):
    tables = schema()
    if name in tables.messages:
        value = _message.message_class(name)
    elif name in tables.enums:
        value = _message.enum_class(name)
    else:
        for full, values in tables.enums.items():
            if '.' not in full and name in values:
                return values[name]
        raise AttributeError('caffe_pb2 has no %r' % name)
    globals()[name] = value
    return value


def __dir__():
    return sorted(name for name in [*schema().messages, *schema().enums] if '.' not in name)
