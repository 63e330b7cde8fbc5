# SPDX-License-Identifier: BSD-2-Clause
"""What meson installs and what the wheel packs are the whole package."""
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
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

    @unittest.skipUnless(shutil.which('meson') and os.path.exists('/usr/bin/python3'),
                         'needs meson and the system\'s Python')
    def test_meson_installs_beside_a_python_it_cannot_use(self):
        with tempfile.TemporaryDirectory() as at:
            for name in ('bindings', 'proto'):
                os.symlink(os.path.join(ROOT, name), os.path.join(at, name))
            shutil.copy(os.path.join(ROOT, 'meson_options.txt'), at)
            with open(os.path.join(at, 'meson.build'), 'w', encoding='utf-8') as file:
                file.write("project('package')\nsubdir('bindings/python')\n")
            os.mkdir(os.path.join(at, 'bin'))
            broken = os.path.join(at, 'bin', 'python3')
            with open(broken, 'w', encoding='utf-8') as file:
                file.write('#!/bin/sh\nexit 1\n')
            os.chmod(broken, 0o755)
            path = os.path.dirname(broken) + os.pathsep + os.environ['PATH']
            build = os.path.join(at, 'build')
            for command in (['setup', build, at, '--prefix=' + os.path.join(at, 'prefix')],
                            ['install', '-C', build]):
                subprocess.run(['meson', *command], check=True, env={**os.environ, 'PATH': path},
                               stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
            self.assertTrue([names for _, _, names in os.walk(os.path.join(at, 'prefix'))
                             if 'caffe_pb2.py' in names])

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
