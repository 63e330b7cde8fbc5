# SPDX-License-Identifier: BSD-2-Clause
"""The headers, lib/deepnet.syms, the ctypes table and the built library say the same. The
headers are read here with regular expressions: they are written in one plain style."""
import ctypes
import glob
import os
import re
import shutil
import subprocess
import tempfile
import unittest

from deepnet import _api, _lib

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), '..', '..'))
INCLUDE = os.path.join(ROOT, 'include')
# What only a backend written in C can use.
C_ONLY = {'sys/backend.h', 'sys/boxes.h', 'sys/random.h', 'sys/module.h'}

DECLARATION = re.compile(r'\bDN_API\s+([^;]*?)\b(dn_\w+)\s*\(((?:[^()]|\([^()]*\))*)\)\s*;')
CALLBACKS = {'dn_event_fn': _api.event_fn}


def without_comments(text):
    """C without comments and preprocessor lines."""
    text = re.sub(r'/\*.*?\*/|//[^\n]*', ' ', text, flags=re.S)
    return re.sub(r'(?m)^\s*#(?:[^\n\\]|\\.)*', '', text, flags=re.S)


def headers():
    """{name: text} of the public headers, comments off."""
    found = {}
    for path in glob.glob(os.path.join(INCLUDE, 'deepnet', '**', '*.h'), recursive=True):
        with open(path, encoding='utf-8') as file:
            name = os.path.relpath(path, os.path.join(INCLUDE, 'deepnet'))
            found[name] = without_comments(file.read())
    return found


def declarations(names=None):
    """{function: (return type, [argument types])} as C text."""
    found = {}
    for header, text in headers().items():
        if names is not None and header not in names:
            continue
        for match in DECLARATION.finditer(text):
            result, name, arguments = match.groups()
            types = []
            for argument in arguments.split(','):
                words = ' '.join(argument.split())
                if words and words != 'void':
                    types.append(re.sub(r'\b(\w+)$', '', words).strip() or words)
            found[name] = (' '.join(result.split()), types)
    return found


SCALARS = {'int32_t': ctypes.c_int32, 'int64_t': ctypes.c_int64, 'uint32_t': ctypes.c_uint32,
           'uint64_t': ctypes.c_uint64, 'size_t': ctypes.c_size_t, 'float': ctypes.c_float,
           'double': ctypes.c_double, 'dn_status': ctypes.c_int32}


def allowed(c_type, returned):
    """The ctypes types that stand for a C type."""
    text = c_type.replace('const', '').replace(' ', '')
    base, stars = text.rstrip('*'), len(text) - len(text.rstrip('*'))
    if text == 'void':
        return [None]
    if not stars:
        return [SCALARS.get(base, CALLBACKS.get(base))]
    if stars == 2:
        return [ctypes.POINTER(ctypes.c_char_p if base == 'char' and 'const' in c_type
                               else ctypes.c_void_p)]
    if base == 'char':
        return [ctypes.c_char_p] if 'const' in c_type else [ctypes.c_void_p]
    struct = getattr(_api, base, None)
    if isinstance(struct, type) and issubclass(struct, ctypes.Structure):
        return [ctypes.POINTER(struct)]
    if base in SCALARS:
        return [ctypes.c_void_p] if returned else [ctypes.POINTER(SCALARS[base])]
    return [ctypes.c_void_p]  # opaque handles and void *


class Table(unittest.TestCase):
    def test_every_function_is_in_the_table(self):
        table = set(_api.FUNCTIONS)
        everything = declarations()
        meant_for_all = declarations(set(headers()) - C_ONLY)
        self.assertGreater(len(meant_for_all), 80)
        self.assertEqual(set(meant_for_all) - table, set(), 'in a header, not in _api.py')
        self.assertEqual(table - set(everything), set(), 'in _api.py, not in a header')

    def test_types(self):
        for name, (result, arguments) in declarations().items():
            if name not in _api.FUNCTIONS:
                continue
            with self.subTest(name):
                restype, argtypes = _api.FUNCTIONS[name]
                self.assertIn(restype, allowed(result, True), 'what %s returns' % name)
                self.assertEqual(len(argtypes), len(arguments))
                for i, (given, c_type) in enumerate(zip(argtypes, arguments)):
                    self.assertIn(given, allowed(c_type, False),
                                  'argument %d: %s' % (i, c_type))

    def test_symbols(self):
        path = os.path.join(ROOT, 'lib', 'deepnet.syms')
        with open(path, encoding='utf-8') as file:
            listed = set(re.findall(r'\bdn_\w+(?=\s*;)', without_comments(file.read())))
        self.assertEqual(listed, set(declarations()))

    def test_library_has_them_all(self):
        self.assertEqual(_lib.lib().missing, [])

    def test_enums(self):
        values = {}
        for text in headers().values():
            for body in re.findall(r'\benum\s*\w*\s*\{(.*?)\}', text, re.S):
                values.update((name, int(number, 0)) for name, number
                              in re.findall(r'(DN_\w+)\s*=\s*(-?\w+)', body)
                              if re.fullmatch(r'-?(0x)?[0-9a-fA-F]+', number))
        ours = {name: value for name, value in vars(_api).items()
                if name.isupper() and isinstance(value, int) and name != 'MAX_AXES'}
        self.assertGreater(len(ours), 30)
        for name, value in ours.items():
            self.assertEqual(values.get('DN_' + name), value, name)
        for prefix in ('DN_E_', 'DN_PHASE_', 'DN_WEIGHTS_', 'DN_EVENT_', 'DN_DESCRIBE_'):
            for name in values:
                if name.startswith(prefix):
                    self.assertIn(name[3:], ours)


@unittest.skipUnless(shutil.which(os.environ.get('CC', 'cc').split()[0]), 'no C compiler')
class Layout(unittest.TestCase):
    """Sizes and offsets of structs, asked of the C compiler."""

    def test_offsets(self):
        lines = ['#include <stdio.h>', '#include <stddef.h>', '#include "deepnet/deepnet.h"',
                 'int main(void) {']
        expected = []
        for struct in _api.STRUCTS:
            name = struct.__name__
            lines.append('printf("%s %%zu\\n", sizeof(%s));' % (name, name))
            expected.append('%s %d' % (name, ctypes.sizeof(struct)))
            for field in struct._fields_:
                lines.append('printf("%s.%s %%zu\\n", offsetof(%s, %s));'
                             % (name, field[0], name, field[0]))
                expected.append('%s.%s %d' % (name, field[0], getattr(struct, field[0]).offset))
        lines.append('return 0; }')
        with tempfile.TemporaryDirectory() as folder:
            source, program = os.path.join(folder, 'layout.c'), os.path.join(folder, 'layout')
            with open(source, 'w', encoding='utf-8') as file:
                file.write('\n'.join(lines))
            subprocess.run([*os.environ.get('CC', 'cc').split(), '-std=c11', '-I', INCLUDE,
                            source, '-o', program], check=True)
            out = subprocess.run([program], check=True, capture_output=True, text=True).stdout
        self.assertEqual(out.split('\n')[:-1], expected)


if __name__ == '__main__':
    unittest.main()
