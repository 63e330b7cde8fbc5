#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Weights trained elsewhere give Caffe's figures: LeNet over the 10,000 test digits through the
command and Python (lenet.c goes through the C API), and two stages of a face detector.

run.py SOURCE DEEPNET
"""
import gzip
import os
import re
import shutil
import subprocess
import sys
import tempfile

import numpy as np

SOURCE, DEEPNET = map(os.path.abspath, sys.argv[1:3])
HERE = os.path.join(SOURCE, 'tests', 'weights')
sys.path.insert(0, os.path.join(SOURCE, 'tests'))
from tap import expect, main, test  # noqa: E402
import deepnet as caffe  # noqa: E402

WEIGHTS, DEPLOY = (os.path.join(HERE, n) for n in ('lenet_iter_10000.caffemodel',
                                                   'lenet_deploy.prototxt'))
RIGHT, NLL = 9914, 0.0272693
folder = tempfile.TemporaryDirectory()


def idx(kind):
    """The bytes of a file after its header."""
    with gzip.open(os.path.join(HERE, f't10k-{kind}-ubyte.gz')) as file:
        return file.read()[16 if 'images' in kind else 8:]


def run(*command):
    done = subprocess.run(command, cwd=folder.name, text=True, timeout=120,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE)
    expect(done.returncode == 0, f'{command}\n{done.stdout}\n{done.stderr}')
    return done.stdout


def expect_figures(right, nll):
    expect(right == RIGHT and abs(nll - NLL) < 2e-7, f'{right} right, {nll:.7f}')


@test
def lenet_through_the_command():
    shutil.copy(os.path.join(SOURCE, 'examples', 'mnist', 'lenet_train_test.prototxt'),
                folder.name)
    run(DEEPNET, 'convert', 'mnist', *(os.path.join(HERE, f't10k-{kind}-ubyte.gz')
                                       for kind in ('images-idx3', 'labels-idx1')),
        'mnist_test_lmdb')
    out = run(DEEPNET, 'test', '--model=lenet_train_test.prototxt', '--weights=' + WEIGHTS,
              '--iterations=100', '--confusion')
    accuracy = float(re.search(r'^accuracy = (\S+)', out, re.M).group(1))
    nll = float(re.search(r'^loss = (\S+)', out, re.M).group(1))
    expect_figures(round(accuracy * 10000), nll)
    rows = [line.split()[1:11] for line in out.splitlines() if line.endswith('%')]
    expect(sum(int(row[i]) for i, row in enumerate(rows)) == RIGHT, out)


@test
def lenet_through_python():
    net = caffe.Net(DEPLOY, caffe.TEST, weights=WEIGHTS)
    images = np.frombuffer(idx('images-idx3'), 'u1').reshape(-1, 1, 28, 28)
    labels = np.frombuffer(idx('labels-idx1'), 'u1')
    net.blobs['data'].reshape(500, 1, 28, 28)
    right, nll = 0, 0.0
    for at in range(0, len(images), 500):
        net.blobs['data'].data[...] = images[at:at + 500] / np.float32(256)
        prob = net.forward()['prob']
        truth = labels[at:at + 500]
        right += int((prob.argmax(1) == truth).sum())
        nll -= np.log(prob[np.arange(500), truth].astype('f8')).sum() / len(images)
    expect_figures(right, nll)


def detector(name):
    net = caffe.Net(os.path.join(HERE, name + '.prototxt'), caffe.TEST,
                    weights=os.path.join(HERE, name + '.caffemodel'))
    recorded = np.load(os.path.join(HERE, name + '.outputs.npz'))
    blob = net.blobs[net.inputs[0]]
    blob.reshape(*recorded['input'].shape)
    blob.data[...] = recorded['input']
    out = net.forward()
    outputs = [key for key in recorded.files if key != 'input']
    expect(sorted(outputs) == sorted(out), f'{sorted(out)} are its outputs')
    for key in outputs:
        a, b = out[key], recorded[key]
        expect(np.all(np.abs(a - b) <= 2e-5 * max(1, np.abs(b).max()) + 2e-4 * np.abs(b)),
               f'{name}: {key} is off by {np.abs(a - b).max()}')


@test
def det1_gives_the_recorded_outputs():
    detector('det1')


@test
def det2_gives_the_recorded_outputs():
    detector('det2')


if __name__ == '__main__':
    with folder:
        sys.exit(main())
