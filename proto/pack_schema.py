#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""pack_schema.py CNN_PB_C FORK_FIELDS ROWS TYPES: protoc-c's descriptors as the rows of schema.c,
with the fields' meanings, and a file that defines what schema.c fills. What nobody reads is left
out: the names that things have in C, and the functions, for which libprotobuf-c's own do."""
from collections import Counter
import re
import sys


def rows_of(text, kind):
    """name -> the rows of each array of a kind, which are lists of words"""
    array = r'static const %s (\w+)\[[^]]*\] =\s*\{(.*?)\n\};' % kind
    return {name: [[word.strip() for word in re.split(r',(?![^()]*\))', row)]
                   for row in re.findall(r'\{(.*?)\}', body, re.S)]
            for name, body in re.findall(array, text, re.S)}


def types_of(text, kind):
    """The descriptors of a kind: C name and the words of each"""
    return [(name, [word.strip() for word in body.split(',')])
            for name, body in re.findall(r'const %s (\w+) =\s*\{(.*?)\n\};' % kind, text, re.S)]


def pool_of(names):
    """One string with all names, longest first: the others are often ends of these."""
    pool = ''
    for name in sorted(set(names), key=lambda name: (-len(name), name)):
        if name + '\0' not in pool:
            pool += name + '\0'
    return pool


def pairs_of(text, count):
    """The text with its most frequent pair of codes, again and again, as one code from 128 on,
    and those pairs"""
    assert text.isascii()
    pairs = []
    for code in map(chr, range(128, 128 + count)):
        frequent = Counter(a + b for a, b in zip(text, text[1:]))
        pair = max(frequent, key=lambda pair: (frequent[pair], pair))
        text = text.replace(pair, code)
        pairs.append(pair)
    return [ord(code) for code in text], [[ord(code) for code in pair] for pair in pairs]


def meanings_of(path):
    """(message, field) -> its meaning in fork_fields.txt, as dni_meaning in proto.h counts them"""
    kinds = ['honoured:', 'steers:', 'reports:', 'changes:']
    out, message, kind = {}, None, None
    for line in open(path):
        for word in re.sub('#.*', '', line).split():
            if not line.startswith(' '):
                message = word
            elif word in kinds:
                kind = kinds.index(word)
            else:
                assert (message, word) not in out, 'two meanings: ' + word
                out[message, word] = kind
    return out


def number(table, word):
    """The word's place in a table, which gets each only once"""
    return table.setdefault(word, len(table))


def joined(arrays, types, place):
    """The arrays that the types name in one place, one after another"""
    return [row for _, words in types for row in arrays[words[place]]]


def main(source, fork_fields, rows_file, types_file):
    text = re.sub(r'/\*.*?\*/', '', open(source).read(), flags=re.S)
    text = text[text.index('static const', text.rindex('protobuf_c_message_free_unpacked')):]
    messages = types_of(text, 'ProtobufCMessageDescriptor')
    enums = types_of(text, 'ProtobufCEnumDescriptor')
    ranges = rows_of(text, 'ProtobufCIntRange')
    arrays = rows_of(text, 'ProtobufCFieldDescriptor')
    fields = joined(arrays, messages, 7)
    meanings = meanings_of(fork_fields)
    marks = [meanings.get((words[1].strip('"').split('.', 1)[1], row[0].strip('"')), 0)
             for _, words in messages for row in arrays[words[7]]]
    values = joined(rows_of(text, 'ProtobufCEnumValue'), enums, 6)
    by_name = joined(rows_of(text, 'ProtobufCEnumValueIndex'), enums, 8)
    indices = r'static const unsigned (\w+)\[\] = \{(.*?)\};'
    indices = {name: re.findall(r'\d+', body) for name, body in re.findall(indices, text, re.S)}
    orders = joined(indices, messages, 8)
    spans = joined(ranges, messages, 10) + joined(ranges, enums, 10)
    assert len(values) == len(by_name), 'enums with aliases have no rows'
    assert len(fields) == len(orders)

    # Many defaults, few values: nobody compares where they lie.
    scalar = r'static const (\w+) (\w+__default_value) = (.*);'
    values_of = {'&' + name: '&(const %s){%s}' % (kind, value)
                 for kind, name, value in re.findall(scalar, text)}
    pool = pool_of(row[0].strip('"') for row in fields + values +
                   [words[1:] for _, words in messages + enums])

    def at(name):
        return pool.index(name.strip('"') + '\0')

    types, defaults, kinds = {'NULL': 0}, {'NULL': 0}, {}
    for name, _ in messages + enums:
        number(types, '&' + name)
    rows = {
        'field': [(at(name), offset, '%s - %s' % (offset, has) if has != '0' else 0,
                   number(kinds, (label, kind, flags, types[what], mark)),
                   number(defaults, values_of.get(default, default)), order)
                  for (name, _, label, kind, has, offset, what, default, flags, *_), order,
                  mark in zip(fields, orders, marks)],
        'value': [(at(name), place) for (name, *_), (_, place) in zip(values, by_name)],
        'range': spans,
        'type': [(at(words[1]), words[5], words[6], words[9]) for _, words in messages] +
                [(at(words[1]), 0, words[5], words[9]) for _, words in enums],
    }
    rows['kind'] = list(kinds)
    assert all(0 <= int(row[0]) < 1 << 16 for row in spans), 'rows are too narrow'
    assert all(int(value) < 1 << 8 for value in
               orders + [row[1] for row in rows['value'] + spans] +
               [len(types) - 1, len(defaults) - 1, len(kinds) - 1] +
               [word for row in rows['type'] for word in row[2:]]), 'rows are too narrow'
    assert len(pool) < 1 << 16, 'rows are too narrow'
    packed, rows['pair'] = pairs_of(pool, 128)

    with open(rows_file, 'w') as out:
        for name, count in ('MESSAGES', len(messages)), ('FIELDS', len(fields)), \
                ('VALUES', len(values)), ('RANGES', len(spans)):
            print('#define %s %d' % (name, count), file=out)
        print(*re.findall(r'^char .*;', text, re.M), sep='\n', file=out)
        print('#define NAMES %d' % len(pool), file=out)
        print('static const uint8_t packed_names[] = {%s};' % ', '.join(map(str, packed)), file=out)
        print('static const void *const defaults[] = {\n%s};' % ',\n'.join(defaults), file=out)
        for name, table in rows.items():
            print('static const %s_row %s_rows[] = {' % (name, name), file=out)
            print(*('{%s},' % ', '.join(map(str, row)) for row in table), sep='\n', file=out)
            print('};', file=out)
    with open(types_file, 'w') as out:
        print('#include "schema.h"', file=out)
        for name, _ in messages:
            print('ProtobufCMessageDescriptor %s;' % name, file=out)
        for name, _ in enums:
            print('ProtobufCEnumDescriptor %s;' % name, file=out)
        print('void *const cnn_types[] = {\n%s};' % ',\n'.join(types), file=out)
        # 101: the first that is not the system's. Linked into a program, its own constructors
        # may come to read nets: they run after. Here, since who links an archive gets this file
        # with any descriptor, and schema.c with it.
        print('__attribute__((constructor(101))) static void unpack(void)', file=out)
        print('{\n    cnn_unpack();\n}', file=out)


main(*sys.argv[1:])
