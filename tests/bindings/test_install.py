# SPDX-License-Identifier: BSD-2-Clause
"""What meson installs and what the wheel packs are the whole package."""
import os
import re
import subprocess
import sys
import sysconfig
import unittest

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), '..', '..'))
PACKAGE = os.path.join(ROOT, 'bindings', 'python', 'deepnet')


class Files(unittest.TestCase):
    def test_meson_lists_every_file(self):
        path = os.path.join(ROOT, 'bindings', 'python', 'meson.build')
        with open(path, encoding='utf-8') as file:
            listed = set(re.findall(r"'deepnet/([\w/.]+\.\w+)'", file.read()))
        there = set()
        for folder, _, names in os.walk(PACKAGE):
            there |= {os.path.relpath(os.path.join(folder, name), PACKAGE) for name in names
                      if name.endswith(('.py', '.pyi', '.typed'))}
        self.assertEqual(listed, there)

    def test_the_folder_is_one_that_python_looks_in(self):
        def folder(prefix, choice):
            script = os.path.join(ROOT, 'bindings', 'python', 'folder.py')
            return subprocess.run([sys.executable, script, prefix, choice], check=True,
                                  stdout=subprocess.PIPE, text=True).stdout.strip()
        own = sysconfig.get_path('purelib')
        prefix = own[:own.index('/lib')]
        self.assertEqual(folder(prefix, prefix + '/lib/other'), own)
        self.assertEqual(folder(prefix, own), own)
        self.assertEqual(folder('/nowhere', '/nowhere/lib/other'), '/nowhere/lib/other')
        looked_in = [path for path in sys.path if path.endswith('-packages')][-1]
        self.assertEqual(folder(prefix, looked_in), looked_in)

    def test_the_schema_is_the_librarys(self):
        paths = [os.path.join(PACKAGE, 'proto', 'cnn.proto'),
                 os.path.join(ROOT, 'proto', 'cnn.proto')]
        texts = []
        for path in paths:
            with open(path, encoding='utf-8') as file:
                texts.append(file.read())
        self.assertEqual(*texts)

    def test_versions_agree(self):
        import deepnet
        for path, pattern in (('bindings/python/pyproject.toml', r'\nversion = "([\d.]+)"'),
                              ('meson.build', r"\n  version: '([\d.]+)'"),
                              ('include/deepnet/version.h', r'DN_VERSION_STRING "([\d.]+)"')):
            with open(os.path.join(ROOT, path), encoding='utf-8') as file:
                self.assertEqual(re.search(pattern, file.read())[1], deepnet.__version__, path)


if __name__ == '__main__':
    unittest.main()
