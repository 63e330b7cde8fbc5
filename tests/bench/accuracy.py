#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""What training in bf16 does to accuracy: the same net from the same seed in f32 and in bf16.

usage: accuracy.py --net lenet --data /usr/share/datasets/fashion-mnist --iterations 2000
       accuracy.py --net cifar_quick ...    its images are those of --data, laid in 32x32 and
                                            three channels: CIFAR's own need a download
       accuracy.py --data made --iterations 80 --least 90 --within 3      a test

Prints, per seed, the share of the test images that each gets right, and the means. --within:
exit 1 where the means differ by more than that many per cent; 77 where nothing computes in
bf16. `made` are ten smooth patterns, each with noise and shifted a little.
"""
import argparse
import gzip
import os
import statistics
import sys

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..', '..', 'bindings', 'python'))
import deepnet  # noqa: E402

SOLVER = {'lenet': 'base_lr: 0.01 lr_policy: "inv" gamma: 0.0001 power: 0.75 momentum: 0.9 '
                   'weight_decay: 0.0005',
          'cifar_quick': 'base_lr: 0.01 lr_policy: "fixed" momentum: 0.9 weight_decay: 0.004'}
LOGITS = {'lenet': 'ip2', 'cifar_quick': 'ip2'}


def idx(path):
    with gzip.open(path) as f:
        raw = f.read()
    axes = raw[3]
    shape = np.frombuffer(raw, '>i4', axes, 4)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * axes).reshape(shape)


def made(count, seed):
    patterns = np.random.RandomState(1).rand(10, 7, 7).repeat(4, 1).repeat(4, 2)
    random = np.random.RandomState(seed)
    labels = random.randint(0, 10, count)
    images = np.empty((count, 28, 28), np.uint8)
    for i, label in enumerate(labels):
        image = np.roll(patterns[label], random.randint(-2, 3, 2), (0, 1))
        images[i] = np.clip(255 * image + 90 * random.randn(28, 28), 0, 255)
    return images, labels


def load(args):
    """Images as the net takes them, and labels: of training, of test."""
    if args.data == 'made':
        parts = [made(4000, 2), made(1000, 3)]
    else:
        parts = [[idx(os.path.join(args.data, '%s-%s-ubyte.gz' % (kind, what)))
                  for what in ('images-idx3', 'labels-idx1')] for kind in ('train', 't10k')]
    out = []
    for images, labels in parts:
        if args.net == 'lenet':
            images = images[:, None].astype(np.float32) / 256
        else:
            images = np.pad(images, ((0, 0), (2, 2), (2, 2)))[:, None].repeat(3, 1)
            images = (images.astype(np.float32) - images.mean(dtype=np.float64)) / 64
        out.append((images, labels.astype(np.float32)))
    return out


def right(args, solver, images, labels):
    net, found = solver.net, 0
    batch = net.blobs['data'].data.shape[0]
    for at in range(0, len(images) - batch + 1, batch):
        net.blobs['data'].data[...] = images[at:at + batch]
        net.blobs['label'].data[...] = labels[at:at + batch]
        net.forward()
        best = np.array(net.blobs[LOGITS[args.net]].data).reshape(batch, -1).argmax(1)
        found += int((best == labels[at:at + batch]).sum())
    return 100.0 * found / (len(images) // batch * batch)


def train(args, text, data, seed, compute):
    (images, labels), test = data
    context = deepnet.Context(num_threads=args.threads, seed=seed, backends=args.backends,
                              module_folder=args.modules)
    solver = deepnet.Solver(text='type: "SGD" %s max_iter: 1000000 solver_mode: CPU '
                                 'snapshot_after_train: false random_seed: %d'
                                 % (SOLVER[args.net], seed),
                            net_text=text, context=context, compute=compute)
    net = solver.net
    batch = net.blobs['data'].data.shape[0]
    order = np.random.RandomState(seed)
    for _ in range(args.iterations):
        chosen = order.randint(0, len(images), batch)
        net.blobs['data'].data[...] = images[chosen]
        net.blobs['label'].data[...] = labels[chosen]
        solver.step(1)
    return right(args, solver, *test), solver.loss


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--net', default='lenet', choices=sorted(SOLVER))
    built = os.path.join(HERE, '..', '..', 'build', 'tests', 'bench')
    parser.add_argument('--nets', default=built,
                        help='folder of NET_train.prototxt')
    parser.add_argument('--data', required=True, help='folder of IDX files, or `made`')
    parser.add_argument('--iterations', type=int, default=2000)
    parser.add_argument('--seeds', default='1,2,3')
    parser.add_argument('--threads', type=int, default=1)
    parser.add_argument('--backends')
    parser.add_argument('--modules')
    parser.add_argument('--least', type=float, default=0, help='that f32 must reach')
    parser.add_argument('--within', type=float)
    args = parser.parse_args()
    with open(os.path.join(args.nets, args.net + '_train.prototxt')) as f:
        text = f.read()
    data, found = load(args), {'f32': [], 'bf16': []}
    for seed in map(int, args.seeds.split(',')):
        for compute in found:
            try:
                share, loss = train(args, text, data, seed, compute)
            except deepnet.UnsupportedError as error:
                print('skipped: %s' % error)
                return 77
            found[compute].append(share)
            print('%s, seed %d, %-4s %6.2f %%, loss %.4f'
                  % (args.net, seed, compute, share, loss), flush=True)
    mean = {compute: statistics.mean(values) for compute, values in found.items()}
    print('%s, %d iterations: f32 %.2f %%, bf16 %.2f %%' % (args.net, args.iterations,
                                                          mean['f32'], mean['bf16']))
    if mean['f32'] < args.least:
        print('f32 should reach %g %%' % args.least)
        return 1
    return int(args.within is not None and abs(mean['f32'] - mean['bf16']) > args.within)


sys.exit(main())
