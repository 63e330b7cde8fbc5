# SPDX-License-Identifier: BSD-2-Clause
"""Messages with the interface of Google's protobuf, as far as Caffe scripts use it. A class is
made for each message of the schema; a submessage is present once anything in it is set."""
import array
import collections
import ctypes

import numpy as np

from .._text import from_c, to_c
from . import _wire
from ._schema import schema

_RANGES = {'int32': (-2**31, 2**31), 'uint32': (0, 2**32), 'int64': (-2**63, 2**63),
           'uint64': (0, 2**64)}


Descriptor = collections.namedtuple('Descriptor', 'name fields fields_by_name')
Descriptor.__doc__ = """What a message has: its fields by number, and by name."""


class Enum:
    """The values of an enum: Value('MAX'), Name(0), items(), and each as an attribute."""

    def __init__(self, name, values):
        self._name, self._values = name, values
        self.__dict__.update(values)

    def Value(self, name):
        """The number of a name."""
        if name not in self._values:
            raise ValueError('%s has no value %s' % (self._name, name))
        return self._values[name]

    def Name(self, number):
        """The (first) name of a number."""
        for name, value in self._values.items():
            if value == number:
                return name
        raise ValueError('%s has no value %d' % (self._name, number))

    def keys(self):
        """The names."""
        return list(self._values)

    def values(self):
        """The numbers."""
        return list(self._values.values())

    def items(self):
        """(name, number) pairs."""
        return list(self._values.items())


def convert(field, value):
    """A value as the field keeps it; TypeError or ValueError where it cannot be one."""
    where = "field '%s'" % field.name
    if field.kind == 'enum':
        if isinstance(value, str):
            return enum_class(field.type).Value(value)
        return int(value)
    if field.type == 'string':
        if isinstance(value, bytes):
            return from_c(value)
        if not isinstance(value, str):
            raise TypeError('%s takes a string, not %r' % (where, value))
        return value
    if field.type == 'bytes':
        return bytes(to_c(value))
    if isinstance(value, (str, bytes)):
        raise TypeError('%s takes a number, not %r' % (where, value))
    if field.type == 'float':  # as C keeps it: infinite beyond its range
        return ctypes.c_float(value).value
    if field.type == 'double':
        return float(value)
    if field.type == 'bool':
        return bool(value)
    if int(value) != value:
        raise TypeError('%s takes a whole number, not %r' % (where, value))
    low, high = _RANGES.get(field.type, _RANGES['int64'])
    if not low <= value < high:
        raise ValueError('%s: %d is out of range' % (where, value))
    return int(value)


class _Scalars(list):
    """A repeated field of numbers, strings or enum values."""

    def __init__(self, field):
        super().__init__()
        self._field = field

    def append(self, value):
        super().append(convert(self._field, value))

    def extend(self, values):
        super().extend(convert(self._field, value) for value in values)

    def __setitem__(self, index, value):
        if isinstance(index, slice):
            value = [convert(self._field, item) for item in value]
        else:
            value = convert(self._field, value)
        super().__setitem__(index, value)


class _Floats(array.array):
    """A repeated field of floats: weights, most of them, hence no list."""

    def extend(self, values):
        """The numbers of an array (of a matrix its rows) or of any other iterable."""
        if isinstance(values, np.ndarray) and values.dtype.kind in 'fiub':
            with np.errstate(over='ignore'):  # infinite beyond the range, as those of a list
                self.frombytes(values.astype(self.typecode).tobytes())
        else:
            super().extend(values if self._is_alike(values) else iter(values))

    def _is_alike(self, values):
        return isinstance(values, array.array) and values.typecode == self.typecode

    def __setitem__(self, index, value):
        if isinstance(index, slice) and not self._is_alike(value):
            numbers = _Floats(self.typecode)
            numbers.extend(value)
            value = numbers
        super().__setitem__(index, value)


class _Messages(list):
    """A repeated field of messages."""

    def __init__(self, field):
        super().__init__()
        self._class = message_class(field.type)

    def add(self, **fields):
        """Appends a new message and returns it."""
        message = self._class(**fields)
        super().append(message)
        return message

    def append(self, message):
        self.add().CopyFrom(message)

    def extend(self, messages):
        for message in list(messages):
            self.append(message)


def _repeated(field):
    if field.kind == 'message':
        return _Messages(field)
    if field.type in ('float', 'double'):
        return _Floats('f' if field.type == 'float' else 'd')
    return _Scalars(field)


class Message:
    """What every message can do."""

    _name, _fields, _by_number = '', {}, {}

    def __init__(self, **fields):
        self.Clear()
        for name, value in fields.items():
            field = self._field(name)
            if field.label == 'repeated' and field.kind == 'message':
                for item in value:
                    one = getattr(self, name).add()
                    one.CopyFrom(type(one)(**item) if isinstance(item, dict) else item)
            elif field.label == 'repeated':
                getattr(self, name).extend(value)
            elif field.kind != 'message':
                setattr(self, name, value)
            elif isinstance(value, dict):
                getattr(self, name).MergeFrom(message_class(field.type)(**value))
            else:
                getattr(self, name).CopyFrom(value)

    def _field(self, name):
        try:
            return self._fields[name]
        except KeyError:
            raise AttributeError("%s has no field '%s'" % (self._name, name)) from None

    def __getattr__(self, name):
        field = self._field(name)
        if name in self._values:
            return self._values[name]
        if field.label == 'repeated':
            value = _repeated(field)
        elif field.kind == 'message':
            value = message_class(field.type)()
        else:
            return field.default
        self._values[name] = value
        return value

    def __setattr__(self, name, value):
        if name.startswith('_'):
            return object.__setattr__(self, name, value)
        field = self._field(name)
        if field.label == 'repeated' or field.kind == 'message':
            raise AttributeError("field '%s' of %s cannot be assigned: use %s" % (
                name, self._name, 'extend()' if field.label == 'repeated' else 'CopyFrom()'))
        self._values[name] = convert(field, value)

    def _is_set(self, field):
        value = self._values.get(field.name)
        if value is None:
            return False
        if field.label == 'repeated':
            return len(value) > 0
        return field.kind != 'message' or value._present()

    def _present(self):
        return self._explicit or bool(self._unknown) or any(
            self._is_set(field) for field in self._fields.values())

    def SetInParent(self):
        """Makes the message present though nothing in it is set."""
        self._explicit = True

    def HasField(self, name):
        """Whether an optional field is set."""
        field = self._field(name)
        if field.label == 'repeated':
            raise ValueError("field '%s' of %s is repeated" % (name, self._name))
        return self._is_set(field)

    def ListFields(self):
        """(field, value) of every field that is set, by number."""
        return [(field, self._values[field.name]) for field in self._by_number.values()
                if self._is_set(field)]

    def ClearField(self, name):
        """Unsets a field."""
        self._values.pop(self._field(name).name, None)

    def Clear(self):
        """Unsets everything."""
        self._values, self._explicit, self._unknown = {}, False, b''

    def MergeFrom(self, other):
        """Adds another message of the same kind: repeated fields grow, the others are set."""
        if type(self) is not type(other):
            raise TypeError('%s is no %s' % (other, self._name))
        for field, value in other.ListFields():
            if field.label == 'repeated':
                getattr(self, field.name).extend(value)
            elif field.kind == 'message':
                getattr(self, field.name).MergeFrom(value)
            else:
                self._values[field.name] = value
        self._explicit = self._explicit or other._explicit
        self._unknown += other._unknown

    def CopyFrom(self, other):
        """Becomes a copy of another message of the same kind."""
        if self is not other:
            self.Clear()
            self.SetInParent()
            self.MergeFrom(other)

    def IsInitialized(self):
        """True: no field of the language is required."""
        return True

    def SerializeToString(self):
        """The binary form."""
        return _wire.serialize(self)

    SerializePartialToString = SerializeToString

    def MergeFromString(self, data):
        """Adds what a binary form holds."""
        _wire.merge(self, data)
        return len(data)

    def ParseFromString(self, data):
        """Becomes what a binary form holds. ParseError if it is cut or damaged."""
        self.Clear()
        return self.MergeFromString(data)

    @classmethod
    def FromString(cls, data):
        """A new message from its binary form."""
        message = cls()
        message.ParseFromString(data)
        return message

    def ByteSize(self):
        """The length of the binary form."""
        return len(self.SerializeToString())

    def __eq__(self, other):
        if type(self) is not type(other) or self._unknown != other._unknown:
            return NotImplemented if type(self) is not type(other) else False
        return self.ListFields() == other.ListFields()

    __hash__ = None

    def __deepcopy__(self, _memo):
        copy = type(self)()
        copy.CopyFrom(self)
        copy._explicit = self._explicit
        return copy

    def __getstate__(self):
        return {'data': self.SerializeToString()}

    def __setstate__(self, state):
        self.Clear()
        self.MergeFromString(state['data'])

    def __str__(self):
        from .text_format import MessageToString
        return MessageToString(self)

    def __repr__(self):
        return str(self)


_classes, _enums = {}, {}


def enum_class(name):
    """The Enum of a full name."""
    if name not in _enums:
        _enums[name] = Enum(name, schema().enums[name])
    return _enums[name]


def message_class(name):
    """The class of a full name, such as 'PoolingParameter'."""
    if name not in _classes:
        fields = schema().messages[name]
        by_number = {f.number: f for f in sorted(fields.values(), key=lambda f: f.number)}
        members = {'_name': name, '_fields': fields, '__doc__': 'The message %s.' % name,
                   '_by_number': by_number,
                   'DESCRIPTOR': Descriptor(name, list(by_number.values()), fields)}
        for full, values in schema().enums.items():
            scope, _, short = full.rpartition('.')
            if scope == name:
                members[short] = enum_class(full)
                members.update(values)
        _classes[name] = type(name.rpartition('.')[2], (Message,), members)
        _classes[name].__module__ = 'deepnet.proto.caffe_pb2'
        for full in schema().messages:
            scope, _, short = full.rpartition('.')
            if scope == name:
                setattr(_classes[name], short, message_class(full))
    return _classes[name]
