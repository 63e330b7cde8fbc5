# SPDX-License-Identifier: BSD-2-Clause
"""The binary form of messages: varints, fixed widths and lengths. Unknown fields are kept as
they came, so that a round trip loses nothing."""
import array
import struct
import sys

from .._errors import ParseError
from .._text import from_c, to_c

_FIXED = {'double': ('<d', 1), 'fixed64': ('<Q', 1), 'sfixed64': ('<q', 1), 'float': ('<f', 5),
          'fixed32': ('<I', 5), 'sfixed32': ('<i', 5)}
_ARRAYS = {'float': 'f', 'double': 'd'}
_SIZES = {1: 8, 5: 4}


def wire_type(field):
    """0: varint, 1: 64 bits, 2: length and bytes, 5: 32 bits."""
    if field.type in _FIXED:
        return _FIXED[field.type][1]
    return 2 if field.kind == 'message' or field.type in ('string', 'bytes') else 0


def write_varint(out, value):
    """Appends a number of any sign below 2^64."""
    value &= 2**64 - 1
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)


def read_varint(data, at):
    """(number, position after it)."""
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise ParseError('byte %d: a number without end' % at)
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value & (2**64 - 1), at
        shift += 7


def _scalar_out(out, field, value):
    if field.type in _FIXED:
        out += struct.pack(_FIXED[field.type][0], value)
    elif field.type in ('string', 'bytes'):
        raw = to_c(value)
        write_varint(out, len(raw))
        out += raw
    elif field.type in ('sint32', 'sint64'):
        write_varint(out, value << 1 if value >= 0 else ~(value << 1))
    else:
        write_varint(out, int(value))


def _integer(field, raw):
    """The number that a varint stands for."""
    if field.type == 'bool':
        return raw != 0
    if field.type in ('sint32', 'sint64'):
        return (raw >> 1) ^ -(raw & 1)
    if field.type in ('uint32', 'uint64'):
        return raw
    return raw - 2**64 if raw >> 63 else raw


def _packed_out(field, values):
    out = bytearray()
    if field.type in _ARRAYS:
        typed = array.array(_ARRAYS[field.type], values)
        if sys.byteorder == 'big':
            typed.byteswap()
        return typed.tobytes()
    for value in values:
        _scalar_out(out, field, value)
    return out


def serialize(message):
    """The bytes of a message."""
    out = bytearray()
    for field, value in message.ListFields():
        values = value if field.label == 'repeated' else (value,)
        if field.packed:
            write_varint(out, field.number << 3 | 2)
            raw = _packed_out(field, values)
            write_varint(out, len(raw))
            out += raw
            continue
        for item in values:
            write_varint(out, field.number << 3 | wire_type(field))
            if field.kind == 'message':
                raw = serialize(item)
                write_varint(out, len(raw))
                out += raw
            else:
                _scalar_out(out, field, item)
    return bytes(out + message._unknown)


def _take(data, at, size):
    if size > len(data) - at:
        raise ParseError('byte %d: %d bytes announced, %d left' % (at, size, len(data) - at))
    return data[at:at + size], at + size


def _read_raw(data, at, wire):
    """(the payload of one field, position after it); varints come as numbers."""
    if wire == 0:
        return read_varint(data, at)
    if wire in _SIZES:
        return _take(data, at, _SIZES[wire])
    if wire == 2:
        size, at = read_varint(data, at)
        return _take(data, at, size)
    raise ParseError('byte %d: wire type %d' % (at, wire))


def _packed_in(field, raw, into):
    if field.type in _ARRAYS:
        typed = array.array(_ARRAYS[field.type])
        if len(raw) % typed.itemsize:
            raise ParseError("field '%s': %d bytes of packed numbers" % (field.name, len(raw)))
        typed.frombytes(raw)
        if sys.byteorder == 'big':
            typed.byteswap()
        into.extend(typed)
        return
    at = 0
    while at < len(raw):
        value, at = _read_raw(raw, at, wire_type(field))
        into.append(_value(field, value))


def _value(field, raw):
    if field.type in _FIXED:
        return struct.unpack(_FIXED[field.type][0], raw)[0]
    if field.type == 'string':
        return from_c(bytes(raw))
    if field.type == 'bytes':
        return bytes(raw)
    return _integer(field, raw)


def merge(message, data, depth=0):
    """Adds what the bytes hold to a message."""
    if depth > 100:
        raise ParseError('messages nested more than 100 deep')
    by_number, at = message._by_number, 0
    data = memoryview(data)
    while at < len(data):
        begin = at
        tag, at = read_varint(data, at)
        raw, at = _read_raw(data, at, tag & 7)
        field = by_number.get(tag >> 3)
        expected = wire_type(field) if field else None
        if field and expected == tag & 7:
            if field.kind == 'message':
                target = (getattr(message, field.name).add() if field.label == 'repeated'
                          else getattr(message, field.name))
                target.SetInParent()
                merge(target, raw, depth + 1)
            elif field.label == 'repeated':
                getattr(message, field.name).append(_value(field, raw))
            else:
                message._values[field.name] = _value(field, raw)
        elif field and field.label == 'repeated' and tag & 7 == 2:
            _packed_in(field, raw, getattr(message, field.name))
        else:
            message._unknown += bytes(data[begin:at])
