# SPDX-License-Identifier: BSD-2-Clause
"""The type stubs name what the package has: the same classes, bases, members and arguments."""
import ast
import inspect
import os
import unittest

import deepnet

STUB = os.path.join(os.path.dirname(deepnet.__file__), '__init__.pyi')


def stub():
    with open(STUB, encoding='utf-8') as file:
        return ast.parse(file.read()).body


def arguments(node):
    args = node.args
    names = [a.arg for a in args.posonlyargs + args.args]
    names += ['*' + args.vararg.arg] if args.vararg else []
    names += [a.arg for a in args.kwonlyargs]
    return names + (['**' + args.kwarg.arg] if args.kwarg else [])


def real_arguments(function):
    marks = {inspect.Parameter.VAR_POSITIONAL: '*', inspect.Parameter.VAR_KEYWORD: '**'}
    return [marks.get(p.kind, '') + p.name
            for p in inspect.signature(function).parameters.values()]


class Stubs(unittest.TestCase):
    def test_functions(self):
        for node in stub():
            if isinstance(node, ast.FunctionDef):
                with self.subTest(node.name):
                    self.assertEqual(arguments(node),
                                     real_arguments(getattr(deepnet, node.name)))

    def test_classes(self):
        for node in stub():
            if not isinstance(node, ast.ClassDef):
                continue
            cls = getattr(deepnet, node.name)
            for member in node.body:
                if not isinstance(member, ast.FunctionDef):
                    continue
                with self.subTest('%s.%s' % (node.name, member.name)):
                    real = inspect.getattr_static(cls, member.name)
                    if member.decorator_list:
                        self.assertIsInstance(real, property)
                    else:
                        self.assertEqual(arguments(member), real_arguments(real))

    def test_nothing_public_is_left_out(self):
        named = {}
        for node in stub():
            if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
                named[node.name] = node
        for name, value in vars(deepnet).items():
            if name.startswith('_') or not inspect.isclass(value) \
                    or not value.__module__.startswith('deepnet'):
                continue
            with self.subTest(name):
                self.assertIn(name, named)
                if hasattr(value, '_fields'):
                    continue
                members = {m.name for m in named[name].body if isinstance(m, ast.FunctionDef)}
                public = {n for n, v in vars(value).items() if not n.startswith('_')
                          and (callable(v) or isinstance(v, (property, classmethod)))}
                self.assertEqual(public - members, set())

    def test_docstrings(self):
        for name, value in vars(deepnet).items():
            if name.startswith('_') or not callable(value):
                continue
            self.assertTrue(value.__doc__, name)
            if inspect.isclass(value) and not hasattr(value, '_fields'):
                for member, function in vars(value).items():
                    if not member.startswith('_') and callable(function):
                        self.assertTrue(function.__doc__, '%s.%s' % (name, member))


if __name__ == '__main__':
    unittest.main()
