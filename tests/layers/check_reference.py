#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Holds the layers against results recorded from Caffe: tests/layers/reference/CASE has a net
and the arrays that went in and came out. The tolerance allows for another order of summation.
Every case runs on each backend, fused, plain and in NHWC, with one, two and three threads, which
must give the same bits.
DEEPNET_TEST_MODULE names a module that then takes all it can, with ref for the rest; where its
device is not there, the test is skipped. DEEPNET_TEST_THREADS: other numbers of threads
(1,2,3), which to a device are nothing.

usage: check_reference.py [CASE]...
"""
import os
import re
import sys
from pathlib import Path

import numpy as np

import deepnet

ROOT = Path(__file__).resolve().parent / 'reference'
RELATIVE, ABSOLUTE = 2e-4, 2e-5
RECORDED_IN_TEST = re.compile(r'dropout_test|bn_test|fork_detection_output')
OF_THE_RECORDER = re.compile(r'_split_\d+$')


class Case:
    def __init__(self, folder, arrays, context):
        self.arrays = arrays
        phase = deepnet.TEST if RECORDED_IN_TEST.match(folder.name) else deepnet.TRAIN
        self.net = deepnet.Net(str(folder / 'net.prototxt'), phase, context=context)
        self.inputs = [name for name, _ in self.group('in')]
        self.complaints = []

    def group(self, kind):
        """The arrays recorded as kind/NAME, with their names."""
        for key, array in self.arrays.items():
            if key.startswith(kind + '/'):
                yield key[len(kind) + 1:], array

    def param(self, name):
        layer, index = name.rsplit('/', 1)
        return self.net.params[layer][int(index)]

    def compare(self, what, got, want):
        got, want = np.asarray(got, 'f8'), np.asarray(want, 'f8')
        if got.size != want.size:
            self.complaints.append('%s is %s, recorded %s' % (what, got.shape, want.shape))
            return
        difference = np.abs(got.reshape(want.shape) - want)
        largest = max(1.0, np.abs(want).max(initial=0))
        if not np.all(difference <= ABSOLUTE * largest + RELATIVE * np.abs(want)):
            self.complaints.append('%s differs by %.3g (largest recorded %.3g)'
                                   % (what, difference.max(), largest))

    def forward(self):
        for name, array in self.group('in'):
            self.net.blobs[name].data[...] = array
        for name, array in self.group('param'):
            blob = self.param(name)
            blob.data[...] = array.reshape(blob.data.shape)
        self.net.forward()
        for name, array in self.group('data'):
            if not OF_THE_RECORDER.search(name):
                self.compare('data of ' + name, self.net.blobs[name].data, array)
        for name, array in self.group('param_after'):
            self.compare('weights ' + name, self.param(name).data, array)

    def backward(self):
        wanted = [pair for pair in self.group('diff') if pair[0] in self.inputs]
        weights = list(self.group('pdiff'))
        if not wanted and not weights:
            return
        for blobs in self.net.params.values():
            for blob in blobs:
                blob.diff[...] = 0
        self.net.backward(**dict(self.group('outdiff')))
        for name, array in wanted:
            self.compare('gradient of ' + name, self.net.blobs[name].diff, array)
        for name, array in weights:
            self.compare('gradient of weights ' + name, self.param(name).diff, array)

    def run(self):
        """All that came out, byte for byte."""
        self.forward()
        self.backward()
        out = [blob.data.tobytes() + blob.diff.tobytes() for blob in self.net.blobs.values()]
        for blobs in self.net.params.values():
            out += [blob.data.tobytes() + blob.diff.tobytes() for blob in blobs]
        return out


def complaints_of(folder, contexts):
    """Of every backend: its first context is held against the record, the others against it."""
    complaints = []
    arrays = dict(np.load(folder / 'blobs.npz'))  # each is read and unpacked once
    for (backends, fuse), with_threads in contexts.items():
        where = '%s, fuse=%s' % (backends or 'all backends', fuse)
        bits = []
        for context in with_threads:
            case = Case(folder, arrays, context)
            bits.append(case.run())
            if len(bits) == 1:
                complaints += ['%s: %s' % (where, text) for text in case.complaints]
        if any(other != bits[0] for other in bits):
            complaints.append('%s: other bits with other threads' % where)
    return complaints


def chains():
    module = os.environ.get('DEEPNET_TEST_MODULE')
    return (module + ',ref', module + ',cpu,ref') if module else ('ref', None)


def main(names):
    known = sorted(path.parent.name for path in ROOT.glob('*/net.prototxt'))
    threads_wanted = os.environ.get('DEEPNET_TEST_THREADS', '1,2,3')
    contexts = {(backends, fuse): [deepnet.Context(threads, backends=backends, fuse=fuse)
                                   for threads in map(int, threads_wanted.split(','))]
                for backends in chains() for fuse in (True, False, 'nhwc')}
    failed = 0
    for name in names or known:
        try:
            complaints = complaints_of(ROOT / name, contexts)
        except Exception as error:  # one broken case must not hide the others
            complaints = ['%s: %s' % (type(error).__name__, error)]
        for complaint in complaints:
            print('%s: %s' % (name, complaint))
        failed += bool(complaints)
    count = len(names or known)
    print('%d passed, %d failed' % (count - failed, failed))
    return failed > 0 or count == 0


if __name__ == '__main__':
    try:
        sys.exit(main(sys.argv[1:]))
    except (deepnet.DeviceError, deepnet.UnsupportedError) as error:
        print('skipped: %s' % error)
        sys.exit(77)
