# SPDX-License-Identifier: BSD-2-Clause
"""prototxt: Merge and Parse read it into a message, MessageToString writes it. Errors carry
line and column. (Nets are run by the library's own reader; this one serves scripts.)"""
import difflib
import re

import numpy as np

from .._errors import ParseError
from .._text import from_c
from ._message import enum_class

_TOKEN = re.compile(r'''
    (?P<space>\s+|\#[^\n]*|//[^\n]*)
  | (?P<string>"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')
  | (?P<number>[-+]?\s*(?:0[xX][0-9a-fA-F]+|(?i:inf|infinity|nan)\b|
                        (?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?[fF]?))
  | (?P<name>-?[A-Za-z_]\w*)
  | (?P<sign>[:{}<>\[\],;])
''', re.X)
_ESCAPE = re.compile(rb'\\(?:[xX]([0-9a-fA-F]{1,2})|([0-7]{1,3})|'
                     rb'(?:u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8}))|(.))', re.S)
_ESCAPES = {b'n': b'\n', b't': b'\t', b'r': b'\r', b'a': b'\a', b'b': b'\b', b'f': b'\f',
            b'v': b'\v', **{sign: sign for sign in (b'\\', b"'", b'"', b'?')}}
_TRUTH = {'true': True, 't': True, 'True': True, 'false': False, 'f': False, 'False': False}


def _integer(word):
    octal = re.fullmatch(r'([-+]?)0([0-7]+)', word)
    return int(octal[1] + octal[2], 8) if octal else int(word, 0)


def _unescape(quoted):
    def one(match):
        hexadecimal, octal, *points, other = match.groups()
        if hexadecimal:
            return bytes([int(hexadecimal, 16)])
        if any(points):
            point = int(points[0] or points[1], 16)
            if point > 0x10FFFF or 0xD800 <= point < 0xE000:
                raise ValueError('%x in a string is no character' % point)
            return chr(point).encode('utf-8')
        if not octal and other not in _ESCAPES:
            raise ValueError('unknown escape \\%s in a string' % other.decode('latin-1'))
        return bytes([int(octal, 8) & 255]) if octal else _ESCAPES[other]
    return _ESCAPE.sub(one, quoted[1:-1].encode('utf-8', 'surrogateescape'))


class _Reader:
    def __init__(self, text, once=False):
        text = from_c(text) if isinstance(text, bytes) else text
        self.text, self.once, self.tokens, at = text, once, [], 0
        while at < len(text):
            match = _TOKEN.match(text, at)
            if not match:
                self.fail('unexpected %r' % text[at], at)
            if match.lastgroup != 'space':
                self.tokens.append((match.lastgroup, match.group(), at))
            at = match.end()
        self.tokens.append(('end', '', len(text)))
        self.at = 0

    def fail(self, reason, at):
        line = self.text.count('\n', 0, at) + 1
        column = at - (self.text.rfind('\n', 0, at) + 1) + 1
        raise ParseError('%d:%d: %s' % (line, column, reason))

    def peek(self):
        return self.tokens[self.at][1]

    def take(self):
        self.at += 1
        return self.tokens[self.at - 1]

    def accept(self, sign):
        if self.tokens[self.at][:2] == ('sign', sign):
            self.at += 1
            return True
        return False

    def message(self, message, end=None):
        """Fields until the sign `end`, or the end of the text."""
        while not (end and self.accept(end)):
            kind, name, at = self.take()
            if kind == 'end' and end is None:
                return
            if kind == 'end':
                self.fail("'%s' is missing" % end, at)
            if kind != 'name' or name not in message._fields:
                near = difflib.get_close_matches(name, message._fields, 1)
                self.fail("unknown field '%s' in %s%s" % (
                    name, message._name, "; did you mean '%s'?" % near[0] if near else ''), at)
            field = message._fields[name]
            if self.once and field.label != 'repeated' and message.HasField(name) and \
                    name != 'device_id':  # forks that train on several at once give several
                self.fail("'%s' is given twice" % name, at)
            self.field(message, field)
            if not self.accept(','):
                self.accept(';')

    def field(self, message, field):
        colon = self.accept(':')
        if field.kind != 'message' and not colon:
            self.fail("':' is missing after '%s'" % field.name, self.tokens[self.at][2])
        if not self.accept('['):
            return self.value(message, field)
        while not self.accept(']'):
            self.value(message, field)
            if not self.accept(',') and self.peek() != ']':
                self.fail("',' or ']' is missing", self.tokens[self.at][2])

    def value(self, message, field):
        if field.kind == 'message':
            at = self.tokens[self.at][2]
            end = '}' if self.accept('{') else '>' if self.accept('<') else \
                self.fail("'{' is missing after '%s'" % field.name, at)
            target = getattr(message, field.name)
            target = target.add() if field.label == 'repeated' else target
            target.SetInParent()
            return self.message(target, end)
        at = self.tokens[self.at][2]
        value = self.scalar(field)
        try:
            if field.label == 'repeated':
                getattr(message, field.name).append(value)
            else:
                setattr(message, field.name, value)
        except ValueError as error:  # out of range
            self.fail(str(error), at)

    def scalar(self, field):
        kind, word, at = self.take()
        if kind == 'number':
            word = ''.join(word.split())  # a sign may stand apart
        if field.type in ('string', 'bytes') and kind == 'string':
            raw = b''
            try:
                raw += _unescape(word)
                while self.tokens[self.at][0] == 'string':
                    _, word, at = self.take()
                    raw += _unescape(word)
            except ValueError as error:
                self.fail(str(error), at)
            return raw if field.type == 'bytes' else raw.decode('utf-8', 'surrogateescape')
        try:
            if field.kind == 'enum' and kind in ('name', 'number'):
                value = enum_class(field.type).Value(word) if kind == 'name' else _integer(word)
                enum_class(field.type).Name(value)
                return value
            if field.type == 'bool':
                return _TRUTH[word] if word in _TRUTH else bool((0, 1).index(_integer(word)))
            if field.type in ('float', 'double') and kind in ('number', 'name'):
                return float(word if word.lower().endswith('inf') else word.rstrip('fF'))
            if kind == 'number' and field.type not in ('string', 'bytes'):
                return _integer(word)
        except ValueError:
            pass
        self.fail("field '%s' takes a value of type %s, not %s"
                  % (field.name, field.type, word), at)


def Merge(text, message):
    """Adds what a prototxt says to a message, and returns that; of a field given twice, the
    last stands. ParseError says where."""
    _Reader(text).message(message)
    return message


def Parse(text, message):
    """The same, but a field given twice is an error, as it is when a net is run."""
    _Reader(text, once=True).message(message)
    return message


def _quote(value):
    raw = value.encode('utf-8', 'surrogateescape') if isinstance(value, str) else value
    out = []
    for byte in raw:
        char = chr(byte)
        if char in '"\\':
            out.append('\\' + char)
        elif char == '\n':
            out.append('\\n')
        else:
            out.append(char if 32 <= byte < 127 else '\\%03o' % byte)
    return '"%s"' % ''.join(out)


def _format(field, value):
    if field.kind == 'enum':
        for name, number in enum_class(field.type).items():
            if number == value:
                return name
        return str(value)
    if field.type in ('string', 'bytes'):
        return _quote(value)
    if field.type == 'bool':
        return 'true' if value else 'false'
    if field.type == 'float':  # the shortest text that reads back as the same float
        return str(np.float32(value))
    return repr(value)


def _lines(message, indent, step='  '):
    for field, value in message.ListFields():
        for item in value if field.label == 'repeated' else (value,):
            if field.kind == 'message':
                yield '%s%s {' % (indent, field.name)
                yield from _lines(item, indent + step, step)
                yield indent + '}'
            else:
                yield '%s%s: %s' % (indent, field.name, _format(field, item))


def MessageToString(message, *, as_one_line=False):
    """A message as prototxt."""
    if as_one_line:
        return ' '.join(_lines(message, '', ''))
    return ''.join(line + '\n' for line in _lines(message, ''))


def MessageToBytes(message, **options):
    """The same, encoded."""
    return MessageToString(message, **options).encode()


def PrintMessage(message, out, **options):
    """Writes a message as prototxt to a file object."""
    out.write(MessageToString(message, **options))
