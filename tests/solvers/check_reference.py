#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Holds the solvers against trajectories recorded from Caffe: 20 iterations from given weights, and
the last ten of them again from the snapshot that Caffe wrote, and from our own.
DEEPNET_TEST_MODULE names a module that then takes all it can, with ref for the rest; where its
device is not there, the test is skipped. DEEPNET_TEST_MEMORY: "compact", as the command trains.

usage: check_reference.py [CASE]...
"""
import os
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np

import deepnet

ROOT = Path(__file__).resolve().parent / 'reference'
LAYERS = ('ip1', 'ip2')
MEMORY = os.environ.get('DEEPNET_TEST_MEMORY', 'readable')


class Case:
    def __init__(self):
        self.arrays = dict(np.load('trajectory.npz'))  # each is unpacked once
        self.complaints = []

    def solver(self):
        return deepnet.get_solver('solver.prototxt', memory=MEMORY)

    def weights(self, solver):
        return [blob for layer in LAYERS for blob in solver.net.params[layer]]

    def compare(self, what, got, want, relative, absolute):
        got, want = np.asarray(got, 'f8'), np.asarray(want, 'f8')
        difference = np.abs(got.reshape(want.shape) - want)
        largest = max(1.0, np.abs(want).max(initial=0))
        if not np.all(difference <= absolute * largest + relative * np.abs(want)):
            self.complaints.append('%s differs by %.3g' % (what, difference.max()))

    def walk(self, solver, first, last, how):
        for i in range(first, last):
            solver.net.blobs['x'].data[...] = self.arrays['x'][i]
            solver.net.blobs['t'].data[...] = self.arrays['t'][i]
            solver.step(1)
            at = '%s, iteration %d' % (how, i + 1)
            self.compare('loss: ' + at, solver.net.blobs['loss'].data, self.arrays['loss'][i],
                         2e-4, 2e-5)
            for k, blob in enumerate(self.weights(solver)):
                want = self.arrays['iter%d/param/%d' % (i + 1, k)]
                self.compare('weight %d: %s' % (k, at), blob.data, want, 1e-3, 1e-4)
            if self.complaints:
                return

    def resume(self, path, how):
        solver = self.solver()
        solver.restore(path)
        if solver.iter != 10:
            self.complaints.append('%s: the iteration is %d' % (how, solver.iter))
        self.walk(solver, 10, 20, how)

    def run(self):
        solver = self.solver()
        for k, blob in enumerate(self.weights(solver)):
            blob.data[...] = self.arrays['init/%d' % k]
        self.resume('snap_iter_10.solverstate', "from Caffe's snapshot")
        self.walk(solver, 0, 10, 'from the start')
        solver.snapshot()
        self.walk(solver, 10, 20, 'from the start')
        self.resume('snap_iter_10.solverstate', 'from our snapshot')
        return self.complaints


def run(name):
    here, folder = os.getcwd(), tempfile.mkdtemp(prefix='deepnet-test-')
    try:
        for path in (ROOT / name).iterdir():
            shutil.copy(path, folder)
        os.chdir(folder)
        return Case().run()
    except Exception as error:  # one broken case must not hide the others
        return ['%s: %s' % (type(error).__name__, error)]
    finally:
        os.chdir(here)
        shutil.rmtree(folder)


def main(names):
    names = names or sorted(path.parent.name for path in ROOT.glob('*/net.prototxt'))
    module = os.environ.get('DEEPNET_TEST_MODULE')
    context = deepnet.Context(backends=module + ',ref' if module else None)
    failed = 0
    for name in names:
        with context:
            complaints = run(name)
        for complaint in complaints:
            print('%s: %s' % (name, complaint))
        failed += bool(complaints)
    print('%d passed, %d failed' % (len(names) - failed, failed))
    return failed > 0 or not names


if __name__ == '__main__':
    try:
        sys.exit(main(sys.argv[1:]))
    except (deepnet.DeviceError, deepnet.UnsupportedError) as error:
        print('skipped: %s' % error)
        sys.exit(77)
