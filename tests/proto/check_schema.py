#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""check_schema.py CNN_PROTO WIRE_SCHEMA FORK_FIELDS: every message, field, enum value, number,
type, label and default that binary files depend on is in cnn.proto as recorded; what is not
Caffe's in one of Caffe's messages has a number of our own, and a meaning in fork_fields.txt, which
names no others."""
import csv
import re
import struct
import sys

TOKEN = re.compile(r'//[^\n]*|\s+|("(?:\\.|[^"])*"|[A-Za-z0-9_.+\-]+|[{}=;\[\],()])')
FIELD = re.compile(r'^(optional|repeated|required) ([\w.]+) (\w+) = (\d+)(?: \[ (.*) \])?$')


def tokens(text):
    return [m.group(1) for m in TOKEN.finditer(text) if m.group(1)]


def read(text):
    """{(scope, name): (number, label, type, default, packed)}; an enum value's label is 'enum'."""
    out, scope, words = {}, [], []
    for token in tokens(text):
        if token == '{':
            scope.append((words[0], words[1]))
            words = []
        elif token == '}':
            scope.pop()
        elif token == ';':
            line, where = ' '.join(words), '.'.join(name for _, name in scope)
            match = FIELD.match(line)
            if match:
                label, kind, name, number, options = match.groups()
                default = re.search(r'default = ("[^"]*"|[^ ,]+)', options or '')
                out[where, name] = (int(number), label, kind,
                                    default.group(1) if default else '',
                                    'packed = true' in (options or ''))
            elif scope and scope[-1][0] == 'enum':
                name, _, number = words
                out[where, name] = (int(number), 'enum', '', '', False)
            words = []
        else:
            words.append(token)
    return out


def same_default(kind, a, b):
    if kind in ('float', 'double') and a and b:
        width = 'f' if kind == 'float' else 'd'
        return struct.pack(width, float(a)) == struct.pack(width, float(b))
    return a == b


def meanings(path):
    """{message: its words} of fork_fields.txt"""
    out, message = {}, None
    for line in open(path):
        words = re.findall(r'[\w:]+', re.sub('#.*', '', line))
        if words and not line.startswith(' '):
            out[message := words[0]] = []
        elif words:
            out[message] += [word for word in words if not word.endswith(':')]
    return out


def main(proto, schema, fields):
    have, wrong, wanted = read(open(proto).read()), [], {}
    for row in csv.DictReader(open(schema), delimiter='\t', quoting=csv.QUOTE_NONE):
        key = row['scope'], row['name']
        wanted[key] = row
        if key not in have:
            wrong.append(f'{key}: missing')
            continue
        number, label, kind, default, packed = have[key]
        # a nested type may be named from inside its message
        kinds = {kind, f"{row['scope']}.{kind}"} if row['kind'] == 'field' else {''}
        if (number != int(row['number']) or label != (row['label'] or 'enum')
                or (row['type'] or '') not in kinds or packed != ('packed' in row['options'])
                or not same_default(kind, default, row['default'])):
            wrong.append(f'{key}: {have[key]}, recorded {dict(row)}')
    ours = {scope for scope, _ in wanted}
    for (scope, name), value in have.items():
        if scope in ours and (scope, name) not in wanted and value[0] <= 20000:
            wrong.append(f'{scope}.{name} = {value[0]}: not of Caffe, needs a number above 20000')
    listed = meanings(fields)
    forked = {(scope, name) for (scope, name), value in have.items()
              if scope in ours and value[0] > 20000 and value[1] != 'enum' and '.' not in scope}
    for scope, name in forked:
        if listed.get(scope, []).count(name) != 1:
            wrong.append(f'{scope}.{name}: needs one place in fork_fields.txt')
    for scope in listed:
        wrong += [f'fork_fields.txt: {scope} has no field {name}' for name in listed[scope]
                  if (scope, name) not in forked | set(wanted)]
    numbers = {}
    for (scope, name), value in have.items():
        other = numbers.setdefault((scope, value[0]), name)
        if other != name:
            wrong.append(f'{scope}: {name} and {other} both have {value[0]}')
    print('\n'.join(wrong))
    print(f'{len(wanted) - len(wrong)} passed, {len(wrong)} failed')
    return bool(wrong) or len(wanted) < 500


sys.exit(main(*sys.argv[1:]))
