#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""What a second device gains: images a second of two that train together beside those of
one, each with the same batch, in turn; nearly twice as many if means hide behind the backward.

usage: scale.py CHAIN    CHAIN: /path/deepnet-cuda.so,cpu,ref; 77 without a second device
"""
import os
import sys

import numpy as np

import deepnet
import lenet
import streams

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../bench'))
JOBS = [('lenet', 64), ('resnet50', 64), ('alexnet', 128), ('vgg16', 32)]


def make(chain, name, batch, count):
    """Solvers of ranks on devices of their own, and what steps them so often and waits."""
    import nets
    text = str(nets.build(name, True, batch, dropout=False))
    contexts = [deepnet.Context(backends=chain, device=rank + 1) for rank in range(count)]
    solvers = [deepnet.Solver(text=lenet.SOLVER, net_text=text, context=context, rank=rank,
                              num_ranks=count if count > 1 else 0)
               for rank, context in enumerate(contexts)]
    rng = np.random.default_rng(7)
    for solver in solvers:
        for top in solver.net.inputs:
            blob = solver.net.blobs[top].data
            blob[...] = rng.random(blob.shape) if blob.ndim > 2 else 1
    team = deepnet.Parallel(solvers) if count > 1 else solvers[0]

    def run(times):
        team.step(times)
        for context in contexts:
            context.synchronise()

    return run, getattr(team, 'transport', None)


def images_a_second(batch, speeds):
    """Of {devices: steps a second}, in each of which each device has a batch."""
    return {devices: devices * batch * speed for devices, speed in speeds.items()}


def main(chain):
    try:
        deepnet.Context(backends=chain, device=2)
    except (deepnet.DeviceError, deepnet.UnsupportedError) as error:
        print('there is no second device: %s' % error)
        return 77
    wanted, most = os.environ.get('NETS'), os.environ.get('BATCH', '')
    seconds, failed = float(os.environ.get('SECONDS_EACH', '0.2')), 0
    for name, batch in JOBS:
        if wanted and name not in wanted.split(','):
            continue
        batch = min(batch, int(most)) if most.isdigit() else batch
        (one, _), (two, transport) = (make(chain, name, batch, count) for count in (1, 2))
        times = streams.times_of(two, seconds)
        images = images_a_second(batch, lenet.medians({1: one, 2: two}, times))
        failed += transport != 'cuda'
        print('%s %s, %d a device: %.0f images a second on one, %.0f on two, %.2f times as '
              'many, by %s' % ('ok' if transport == 'cuda' else 'FAILED', name, batch,
                               images[1], images[2], images[2] / images[1], transport),
              flush=True)
    return failed > 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1]) if len(sys.argv) == 2 else __doc__)
