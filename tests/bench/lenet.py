#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""A LeNet training step, batch 64, in deepnet and in PyTorch, in turns in one run.

usage: lenet.py [--threads N] [--rounds N] [--steps N] [--json FILE]

deepnet steps its solver on an LMDB (made here of random images), so reading and transforming
the data is in its time; PyTorch gets its batches for nothing. Each round times `steps` steps of
each; printed are the medians over the rounds in milliseconds a step, and the ratio of each
round.
Needs PyTorch; without it only deepnet's time is printed.
"""
import argparse, json, os, statistics, struct, sys, tempfile, time
import numpy as np

SOLVER = '''net: "%s" base_lr: 0.01 momentum: 0.9 weight_decay: 0.0005 lr_policy: "inv"
gamma: 0.0001 power: 0.75 max_iter: 1000000 solver_mode: CPU'''
LAYER = '''layer { name: "%s" type: "%s" bottom: "%s" top: "%s"
  param { lr_mult: 1 } param { lr_mult: 2 }
  %s { num_output: %d %s weight_filler { type: "xavier" } } }'''
POOL = '''layer { name: "%s" type: "Pooling" bottom: "%s" top: "%s"
  pooling_param { pool: MAX kernel_size: 2 stride: 2 } }'''


def net_text(source):
    return '\n'.join([
        'layer { name: "d" type: "Data" top: "data" top: "label"',
        '  transform_param { scale: 0.00390625 }',
        '  data_param { source: "%s" batch_size: 64 backend: LMDB } }' % source,
        LAYER % ('conv1', 'Convolution', 'data', 'conv1', 'convolution_param', 20,
                 'kernel_size: 5'),
        POOL % ('pool1', 'conv1', 'pool1'),
        LAYER % ('conv2', 'Convolution', 'pool1', 'conv2', 'convolution_param', 50,
                 'kernel_size: 5'),
        POOL % ('pool2', 'conv2', 'pool2'),
        LAYER % ('ip1', 'InnerProduct', 'pool2', 'ip1', 'inner_product_param', 500, ''),
        'layer { name: "relu1" type: "ReLU" bottom: "ip1" top: "ip1" }',
        LAYER % ('ip2', 'InnerProduct', 'ip1', 'ip2', 'inner_product_param', 10, ''),
        'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip2" bottom: "label"',
        '  top: "loss" }'])


def make_digits(folder, count=6400):
    rng = np.random.RandomState(1)
    images = rng.randint(0, 256, (count, 28, 28)).astype('u1')
    labels = rng.randint(0, 10, count).astype('u1')
    paths = [os.path.join(folder, name) for name in ('images', 'labels')]
    with open(paths[0], 'wb') as f:
        f.write(struct.pack('>4i', 2051, count, 28, 28) + images.tobytes())
    with open(paths[1], 'wb') as f:
        f.write(struct.pack('>2i', 2049, count) + labels.tobytes())
    return paths


def deepnet_steps(threads, folder):
    os.environ['DEEPNET_NUM_THREADS'] = str(threads)
    import deepnet
    source = os.path.join(folder, 'lmdb')
    deepnet.convert_mnist(*make_digits(folder), source)
    solver = SOLVER % os.path.join(folder, 'net')
    for name, text in (('net', net_text(source)), ('solver', solver)):
        with open(os.path.join(folder, name), 'w') as f:
            f.write(text)
    solver = deepnet.get_solver(os.path.join(folder, 'solver'))
    return solver.step


def torch_steps(threads, channels_last):
    import torch
    F = torch.nn.functional
    torch.set_num_threads(threads)
    model = torch.nn.Sequential(
        torch.nn.Conv2d(1, 20, 5), torch.nn.MaxPool2d(2), torch.nn.Conv2d(20, 50, 5),
        torch.nn.MaxPool2d(2), torch.nn.Flatten(), torch.nn.Linear(800, 500), torch.nn.ReLU(),
        torch.nn.Linear(500, 10))
    layout = torch.channels_last if channels_last else torch.contiguous_format
    model = model.to(memory_format=layout)
    x = torch.rand(64, 1, 28, 28).contiguous(memory_format=layout)
    y = torch.randint(0, 10, (64,))
    update = torch.optim.SGD(model.parameters(), 0.01, 0.9, weight_decay=0.0005)

    def steps(count):
        for _ in range(count):
            update.zero_grad()
            F.cross_entropy(model(x), y).backward()
            update.step()
    return steps


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--threads', type=int, default=1)
    parser.add_argument('--rounds', type=int, default=15)
    parser.add_argument('--steps', type=int, default=20)
    parser.add_argument('--json')
    a = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        peers = {'deepnet': deepnet_steps(a.threads, folder)}
        try:
            peers['torch'] = torch_steps(a.threads, False)
            peers['torch channels-last'] = torch_steps(a.threads, True)
        except ImportError:
            print('PyTorch is not here; deepnet alone', file=sys.stderr)
        times = {name: [] for name in peers}
        for steps in peers.values():
            steps(a.steps)
        for _ in range(a.rounds):
            for name, steps in peers.items():
                began = time.perf_counter()
                steps(a.steps)
                times[name].append((time.perf_counter() - began) / a.steps * 1e3)
        result = {'threads': a.threads, 'batch': 64, 'rounds': a.rounds}
        for name in peers:
            ratios = sorted(t / d for t, d in zip(times[name], times['deepnet']))
            result[name] = {'ms': round(statistics.median(times[name]), 3),
                            'min': round(min(times[name]), 3),
                            'ratio': round(statistics.median(ratios), 2),
                            'ratio_spread': [round(ratios[0], 2), round(ratios[-1], 2)]}
            print('%-20s %8.3f ms a step (best %.3f)   %.2f times deepnet\'s time '
                  '(%.2f to %.2f)' % (name, result[name]['ms'], result[name]['min'],
                                      result[name]['ratio'], ratios[0], ratios[-1]))
        if a.json:
            with open(a.json, 'w') as f:
                json.dump(result, f, indent=1)


if __name__ == '__main__':
    main()
