# SPDX-License-Identifier: BSD-2-Clause
"""Reads cnn.proto (the .proto language as far as that file uses it) into plain tables, so that
the schema has one source."""
import os
import re
from collections import namedtuple

Field = namedtuple('Field', 'name number label type default packed kind')
"""kind: 'message', 'enum' or 'scalar'; type: the full name of a message or enum, else the
scalar's; default: Python's value, or None where the type's own zero is meant."""

SCALARS = {'double', 'float', 'int32', 'int64', 'uint32', 'uint64', 'sint32', 'sint64',
           'fixed32', 'fixed64', 'sfixed32', 'sfixed64', 'bool', 'string', 'bytes'}

_TOKEN = re.compile(r'''
    \s+ | //[^\n]* | /\*.*?\*/
  | (?P<token>"(?:\\.|[^"\\])*" | [\w.+-]+ | [{}\[\]=;,<>()])
''', re.S | re.X)


class Schema:
    """messages: full name -> {field name: Field}; enums: full name -> {value name: number}."""

    def __init__(self, text):
        self.messages, self.enums = {}, {}
        self._tokens = [m.group('token') for m in _TOKEN.finditer(text) if m.group('token')]
        self._at = 0
        while self._at < len(self._tokens):
            self._statement('')
        for name, fields in self.messages.items():
            for field in fields.values():
                fields[field.name] = self._resolve(name, field)

    def _next(self):
        self._at += 1
        return self._tokens[self._at - 1]

    def _skip(self):
        while self._next() != ';':
            pass

    def _statement(self, scope):
        word = self._next()
        if word == 'message':
            self._message(scope + self._next())
        elif word == 'enum':
            self._enum(scope + self._next())
        elif word in ('optional', 'required', 'repeated'):
            self._field(scope[:-1], word)
        elif word != ';':  # syntax, package, option, reserved, extensions
            self._skip()

    def _message(self, name):
        self.messages[name] = {}
        self._next()  # {
        while self._tokens[self._at] != '}':
            self._statement(name + '.')
        self._next()

    def _enum(self, name):
        values = self.enums[name] = {}
        self._next()
        while self._tokens[self._at] != '}':
            value = self._next()
            if value in ('option', 'reserved'):
                self._skip()
            elif value != ';':
                self._next()  # =
                values[value] = int(self._next(), 0)
                self._options()
        self._next()

    def _options(self):
        """Reads `[a = b, c = d] ;` into a dictionary."""
        options, token = {}, self._next()
        while token != ';':
            if token == '=':
                options[key] = self._next()
            elif token not in '[],':
                key = token
            token = self._next()
        return options

    def _field(self, message, label):
        kind, name = self._next(), self._next()
        self._next()  # =
        number = int(self._next(), 0)
        options = self._options()
        self.messages[message][name] = Field(name, number, label, kind, options.get('default'),
                                             options.get('packed') == 'true', None)

    def _resolve(self, scope, field):
        if field.type in SCALARS:
            return field._replace(kind='scalar', default=_default(field))
        name = field.type.lstrip('.')
        parts = scope.split('.')
        while True:
            full = '.'.join(parts + [name])
            if full in self.messages:
                return field._replace(kind='message', type=full)
            if full in self.enums:
                values = self.enums[full]
                default = values[field.default or next(iter(values))]
                return field._replace(kind='enum', type=full, default=default)
            if not parts:
                raise ValueError('cnn.proto: %s.%s is of unknown type %s' % (scope, field.name,
                                                                           field.type))
            parts.pop()


def _default(field):
    text, kind = field.default, field.type
    if kind in ('string', 'bytes'):
        value = text[1:-1] if text else ''
        return value if kind == 'string' else value.encode()
    if kind == 'bool':
        return text == 'true'
    if kind in ('float', 'double'):
        return float(text or 0)
    return int(text or '0', 0)


_schema = None


def schema():
    """The schema of cnn.proto, read once."""
    global _schema
    if _schema is None:
        path = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'cnn.proto')
        with open(path, encoding='utf-8') as file:
            _schema = Schema(file.read())
    return _schema
