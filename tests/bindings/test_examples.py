# SPDX-License-Identifier: BSD-2-Clause
"""The Python examples run as they stand."""
import os
import subprocess
import sys
import unittest

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), '..', '..'))
FOLDER = os.path.join(ROOT, 'examples', 'python')


def run(name, *args):
    return subprocess.run([sys.executable, os.path.join(FOLDER, name), *args],
                          capture_output=True, text=True)


class Examples(unittest.TestCase):
    def test_xor(self):
        done = run('xor.py')
        self.assertEqual(done.returncode, 0, done.stderr)
        values = [float(v) for v in done.stdout.split('[')[1].strip(' ]\n').split()]
        for value, wanted in zip(values, (0, 1, 1, 0)):
            self.assertAlmostEqual(value, wanted, delta=0.2)

    def test_classify_says_how(self):
        done = run('classify.py')
        self.assertEqual(done.returncode, 1)
        self.assertIn('usage', done.stderr)


if __name__ == '__main__':
    unittest.main()
