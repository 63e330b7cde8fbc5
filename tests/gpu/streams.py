#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""What recordings in two streams gain: runs a second beside those of the module that is built
with one (one-stream.so, beside it), in turn; the same bits in both.

usage: streams.py CHAIN    CHAIN: /path/deepnet-cuda.so,cpu,ref; 77 without the other module
"""
import hashlib
import os
import sys
import time

import numpy as np

import deepnet
import lenet

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../bench'))
TRAIN, INFER = 'training', 'inference'
JOBS = [('lenet', TRAIN, 64), ('lenet', INFER, 1), ('googlenet', INFER, 1),
        ('resnet50', INFER, 1), ('googlenet', TRAIN, 32)]


def runner(context, name, job, batch):
    """What runs so often and waits, and what makes a hash of the numbers that came of it."""
    import nets
    text = str(nets.build(name, job == TRAIN, batch, dropout=False))
    with context:
        solver = deepnet.Solver(text=lenet.SOLVER, net_text=text) if job == TRAIN else None
        net = solver.net if solver else deepnet.Net(text=text, phase=deepnet.TEST)
    rng = np.random.default_rng(7)
    for top in net.inputs:
        blob = net.blobs[top].data
        blob[...] = rng.random(blob.shape) if blob.ndim > 2 else 1

    def run(times):
        if solver:
            solver.step(times)
        else:
            for _ in range(times):
                net.forward()
        context.synchronise()

    def bits():
        blobs = [b for p in net.params.values() for b in p] if solver else net.blobs.values()
        return hashlib.sha256(b''.join(b.data.tobytes() for b in blobs)).hexdigest()

    return run, bits


def times_of(run, seconds):
    """How often it runs in about so many seconds."""
    run(5)
    began = time.perf_counter()
    run(2)
    return max(1, int(2 * seconds / (time.perf_counter() - began)))


def main(chain):
    module = chain.split(',')[0]
    other = os.path.join(os.path.dirname(module), 'one-stream.so')
    if not os.path.exists(other):
        print('there is no %s' % other)
        return 77
    contexts = [deepnet.Context(backends=chain.replace(module, path, 1))
                for path in (module, other)]
    wanted, failed = os.environ.get('NETS'), 0
    most = os.environ.get('BATCH', '')
    seconds = float(os.environ.get('SECONDS_EACH', '0.2'))
    for name, job, batch in JOBS:
        if wanted and name not in wanted.split(','):
            continue
        batch = min(batch, int(most)) if most.isdigit() else batch
        runs, bits = zip(*(runner(context, name, job, batch) for context in contexts))
        times = times_of(runs[0], seconds)
        runs[1](7)
        same = bits[0]() == bits[1]()
        speeds = lenet.medians(dict(enumerate(runs)), times)
        failed += not same
        print('%s %s, %s of %d: %.0f a second in two streams, %.0f in one, %.2f times as many'
              '%s' % ('ok' if same else 'FAILED', name, job, batch, speeds[0], speeds[1],
                      speeds[0] / speeds[1], '' if same else '; not the same bits'))
    return failed > 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1]) if len(sys.argv) == 2 else __doc__)
