#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Who does the ops of a training step, of some nets: how many of each kind went to cuBLAS, to
cuDNN, to a kernel of the module, or to the host. One step is run, on a small batch of noise;
the loss in bf16 must be near that in f32, of the same weights.

usage: ops.py CHAIN    CHAIN: backends, best first: /path/deepnet-cuda.so,cpu,ref
"""
import collections
import os
import re
import sys

import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../bench'))
NETS = [('lenet', 'f32'), ('lenet', 'bf16'), ('resnet50', 'f32'), ('resnet50', 'bf16'),
        ('mobilenet_v1', 'f32'), ('mobilenet_v1', 'bf16')]
NEAR = 0.05  # of the loss: what rounding to 8 bits in tens of layers may do to it
OP = re.compile(r'^ *\d+ +\w+ +\S+ +([A-Z_0-9]+) .*?\[([^\]]*)\]', re.M)


def fill(net):
    rng = np.random.default_rng(7)
    for top in net.inputs:
        blob = net.blobs[top].data
        blob[...] = rng.random(blob.shape) if blob.ndim > 2 else rng.integers(0, 10, blob.shape)


def main(chain):
    import deepnet
    import nets
    failed, wanted, losses = 0, os.environ.get('NETS'), {}
    context = deepnet.Context(backends=chain)
    for name, compute in NETS:
        if wanted and name not in wanted.split(','):
            continue
        try:
            with context:
                solver = deepnet.Solver(
                    text='base_lr: 0.001 lr_policy: "fixed" momentum: 0.9 max_iter: 10 '
                    'random_seed: 7',
                    net_text=str(nets.build(name, True, 4)), compute=compute)
            fill(solver.net)
            solver.step(1)
            loss, other = solver.loss, losses.setdefault(name, solver.loss)
            good = abs(loss - other) <= NEAR * abs(other)  # false of what is no number
            print('%s%s, %s: loss %.4g%s' % ('' if good else 'FAILED ', name, compute, loss,
                                             '' if good else ', not near %.4g' % other))
            failed += not good
            counts = collections.Counter(OP.findall(solver.net.describe('ops')))
        except deepnet.Error as error:
            print('FAILED %s, %s: %s' % (name, compute, error))
            failed += 1
            continue
        print(''.join('   %-18s %-30s %d\n' % (*key, counts[key]) for key in sorted(counts)))
    return failed > 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1]) if len(sys.argv) == 2 else __doc__)
