#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""pack_schema.py CNN_PB_C: protoc-c's descriptors, fields and the values of enums as the rows of
schema.c. What nobody reads is left out: the names that things have in C, and the functions, for
which libprotobuf-c's own do."""
import re
import sys

FIELD = 'static const ProtobufCFieldDescriptor '
VALUE = 'static const ProtobufCEnumValue '
INDEX = 'static const ProtobufCEnumValueIndex '


def rows_of(text, kind):
    """The initialisers of each row of all arrays of a kind"""
    arrays = re.findall(re.escape(kind) + r'\w+\[\d+\] =\s*\{(.*?)\n\};', text, re.S)
    return [[word.strip() for word in re.split(r',(?![^()]*\))', row)]
            for array in arrays for row in re.findall(r'\{(.*?)\}', array, re.S)]


def place(text, kind, array):
    """The text without the arrays of a kind: where it names one it names a place in `array`."""
    at = 0
    for name, count in re.findall(re.escape(kind) + r'(\w+)\[(\d+)\]', text):
        text = re.sub(r'\b%s\b(?!\[)' % name, '%s + %d' % (array, at), text)
        at += int(count)
    return re.sub(re.escape(kind) + r'.*?\n\};', '', text, flags=re.S)


def pool_of(names):
    """One string with all names, longest first: the others are often ends of these."""
    pool = ''
    for name in sorted(set(names), key=lambda name: (-len(name), name)):
        if name + '\0' not in pool:
            pool += name + '\0'
    return pool


def number(table, word):
    """The word's place in a table, which gets each only once"""
    return table.setdefault(word, len(table))


def main():
    text = re.sub(r'/\*.*?\*/', '', open(sys.argv[1]).read(), flags=re.S)
    text = text[text.index('static const', text.rindex('protobuf_c_message_free_unpacked')):]
    text = re.sub(r'"(CNN__|Cnn__)\w+"', '""', text)
    text = re.sub(r'\(ProtobufCMessageInit\) \w+__init', 'NULL', text)

    # Many defaults, few values: nobody compares where they lie.
    scalar = r'static const (\w+) (\w+__default_value) = (.*);'
    values_of = {'&' + name: '&(const %s){%s}' % (kind, value)
                 for kind, name, value in re.findall(scalar, text)}
    text = re.sub(scalar, '', text)

    fields, values, by_name = (rows_of(text, kind) for kind in (FIELD, VALUE, INDEX))
    assert len(values) == len(by_name), 'enums with aliases have no rows'
    pool = pool_of(row[0].strip('"') for row in fields + values)
    at = {name: pool.index(name.strip('"') + '\0') for name, *_ in fields + values}
    types, defaults = {'NULL': 0}, {'NULL': 0}
    field_rows = [(at[name], tag, has, offset, label, kind, flags, number(types, what),
                   number(defaults, values_of.get(default, default)))
                  for name, tag, label, kind, has, offset, what, default, flags, *_ in fields]
    value_rows = [(at[name], value, at[sorted_name], place)
                  for (name, _, value), (sorted_name, place) in zip(values, by_name)]
    assert all(0 <= int(value) < 1 << 16 for value in
               [row[1] for row in fields] + [row[2] for row in values]), 'rows are too narrow'
    assert max(len(types), len(defaults)) < 1 << 8, 'rows are too narrow'
    assert len(pool) < 1 << 16, 'rows are too narrow'

    for kind, array in (FIELD, 'fields'), (VALUE, 'values'), (INDEX, 'sorted'):
        text = place(text, kind, array)
    print('static ProtobufCFieldDescriptor fields[%d];' % len(fields))
    print('static ProtobufCEnumValue values[%d];' % len(values))
    print('static ProtobufCEnumValueIndex sorted[%d];' % len(values))
    print(re.sub(r'\n\s*\n+', '\n', text))
    print('static const char names[] =', *('"%s\\0"' % name for name in pool.split('\0')), ';')
    for name, table in ('types', types), ('defaults', defaults):
        print('static const void *const %s[] = {\n%s};' % (name, ',\n'.join(table)))
    for name, rows in ('field_row', field_rows), ('value_row', value_rows):
        print('static const %s %ss[] = {' % (name, name))
        print(*('{%s},' % ', '.join(map(str, row)) for row in rows), sep='\n')
        print('};')


main()
