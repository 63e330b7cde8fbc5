# SPDX-License-Identifier: BSD-2-Clause
"""Which library is loaded, and what is said when there is none."""
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

import deepnet
from deepnet import _lib


def python(code, **environment):
    """The output of a fresh interpreter, its two streams together."""
    return subprocess.run([sys.executable, '-c', code], env={**os.environ, **environment},
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


class Loading(unittest.TestCase):
    def test_environment_comes_first_and_alone(self):
        run = python('import deepnet._lib as l; print(list(l.candidates()))',
                     DEEPNET_LIBRARY='/nowhere/lib.so')
        self.assertEqual(run.stdout.strip(), "['/nowhere/lib.so']")

    def test_without_it_the_systems(self):
        environment = {k: v for k, v in os.environ.items() if k != 'DEEPNET_LIBRARY'}
        run = subprocess.run(
            [sys.executable, '-c', 'import deepnet._lib as l; print(list(l.candidates())[-1])'],
            env=environment, capture_output=True, text=True)
        self.assertEqual(run.stdout.strip(), 'libdeepnet.so.0')

    def test_the_prefix_that_it_is_installed_in(self):
        package = os.path.dirname(os.path.abspath(deepnet.__file__))
        with tempfile.TemporaryDirectory() as prefix:
            folder = os.path.join(prefix, 'lib', 'python3', 'dist-packages')
            shutil.copytree(package, os.path.join(folder, 'deepnet'))
            library = os.path.join(prefix, 'lib', 'libdeepnet.so.0')
            open(library, 'w').close()
            environment = {k: v for k, v in os.environ.items() if k != 'DEEPNET_LIBRARY'}
            environment['PYTHONPATH'] = folder
            run = subprocess.run(
                [sys.executable, '-c', 'import deepnet._lib as l; print(next(l.candidates()))'],
                env=environment, capture_output=True, text=True)
            self.assertEqual(os.path.realpath(run.stdout.strip()), os.path.realpath(library))

    def test_import_needs_no_library(self):
        run = python('import deepnet; deepnet.set_mode_cpu(); print(deepnet.TRAIN)',
                     DEEPNET_LIBRARY='/nowhere/lib.so')
        self.assertEqual(run.stdout, '0\n')

    def test_none_is_an_error_that_says_so(self):
        run = python('import deepnet\n'
                     'try: deepnet.version()\n'
                     'except ImportError as e: print(isinstance(e, deepnet.Error), e)',
                     DEEPNET_LIBRARY='/nowhere/lib.so')
        self.assertIn('True', run.stdout)
        self.assertIn('/nowhere/lib.so', run.stdout)
        self.assertIn('DEEPNET_LIBRARY', run.stdout)

    def test_version(self):
        self.assertEqual(deepnet.version(), deepnet.__version__)

    def test_an_absent_function_is_an_error_when_called(self):
        class Empty:
            dn_version = None
        library = _lib.Library(Empty())
        self.assertIn('dn_net_forward', library.missing)
        with self.assertRaisesRegex(deepnet.Error, 'dn_net_forward'):
            library.net_forward(None, None)

    def test_lazy_names(self):
        for name in ('io', 'layers', 'params', 'NetSpec', 'Classifier', 'Detector', 'proto'):
            self.assertIn(name, dir(deepnet))
            self.assertIsNotNone(getattr(deepnet, name))
        with self.assertRaises(AttributeError):
            deepnet.nothing_of_the_kind


class Errors(unittest.TestCase):
    def test_each_status_has_its_class(self):
        from deepnet import _api, _errors
        statuses = {value for name, value in vars(_api).items() if name.startswith('E_')}
        self.assertEqual(set(_errors._CLASSES), statuses)

    def test_built_in_kin(self):
        kin = {deepnet.FileMissingError: FileNotFoundError, deepnet.FileError: OSError,
               deepnet.NoMemoryError: MemoryError, deepnet.NameNotFoundError: KeyError,
               deepnet.ShapeError: ValueError, deepnet.LibraryError: ImportError,
               deepnet.UnsupportedError: NotImplementedError}
        for ours, builtin in kin.items():
            with self.subTest(ours.__name__):
                self.assertTrue(issubclass(ours, (deepnet.Error, builtin)))
                self.assertEqual(str(ours('one line')), 'one line')
                self.assertLess(ours('one line').status, 0)
                with self.assertRaises(builtin):
                    raise ours('one line')

    def test_pickle(self):
        import pickle
        error = pickle.loads(pickle.dumps(deepnet.ShapeError('one line')))
        self.assertIsInstance(error, deepnet.ShapeError)
        self.assertEqual(str(error), 'one line')


if __name__ == '__main__':
    unittest.main()
