#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Where the time of each net goes, against what the machine could do.

usage: floor.py [--plan-only] [--build build] [--forms train,deploy] [NAME...]
                                                                nets of nets.py

Every step of a run, as bench_steps has it (one thread, processor time, the update not among
them), has the plan's flops and bytes; its floor is the larger of its flops over the peak and
its bytes over the bandwidth, by bench_peak on the same core. Winograd's and Strassen's products
are counted as direct ones and can go below it, as can steps whose operands lie in a cache.
Prints a row of a table for each net: the flops at peak, the floor, what was measured, the share
of the peak, the goal's verdict, and what the kinds of ops with the most time above their flops
take of the whole. --plan-only: flops, bytes and the floor alone, of the plan that
`deepnet info --plan` prints; nothing runs.
"""
import argparse
import json
import os
import re
import subprocess
import tempfile

import goals
import nets

HERE = os.path.dirname(os.path.abspath(__file__))
STEP = re.compile(r' *([\d.]+) ms +[\d.]+ said +(\d+) bytes +(\d+) flops .* (?:nhwc |plain) '
                  r'([A-Z_]+)')
PLANNED = re.compile(r' *\d+ (?:fwd|bwd) .* (?:nhwc |plain) +(\d+) +(\d+) .*% +\S+  '
                     r'([A-Z_]+)')
KINDS = {'CONV': 'convolution forward', 'CONV_BWD_DATA': 'to the data',
         'CONV_BWD_WEIGHTS': 'to the weights', 'GEMM': 'products', 'POOL': 'pooling',
         'POOL_BWD': 'pooling', 'NORM_SCALE': 'norms', 'NORM_SCALE_BWD': 'norms',
         'BATCH_NORM': 'norms', 'BATCH_NORM_BWD': 'norms', 'LRN': 'LRN', 'LRN_BWD': 'LRN',
         'COPY': 'copies'}


def steps_of(build, path, seconds):
    """(ms, bytes, flops, kind) of every step."""
    command = [os.path.join(build, 'tests', 'bench', 'bench_steps'), '--each', '--cpu-time',
               '--seconds=%g' % seconds, path]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    for line in text.splitlines():
        found = STEP.match(line)
        if found:
            yield float(found[1]), int(found[2]), int(found[3]), found[4]


def planned(build, path, form):
    """(None, bytes, flops, kind) of every step of a plan."""
    command = [os.path.join(build, 'bindings', 'cli', 'deepnet'), 'info', path, '--plan',
               '--threads=1', '--phase=' + ('TRAIN' if form == 'train' else 'TEST')]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    for line in text.splitlines():
        found = PLANNED.match(line)
        if found:
            yield None, int(found[1]), int(found[2]), found[3]


def floor_of(name, form, steps, peak, bandwidth):
    """A row of what needs no run."""
    steps = list(steps)
    moved, flops = sum(s[1] for s in steps), sum(s[2] for s in steps)
    return '| %s, %s | %.3g | %.4g | %.4g | %.4g | %.4g |' % (
        name, form, flops / 1e9, moved / 1e6, flops / peak, moved / bandwidth,
        sum(max(s[2] / peak, s[1] / bandwidth) for s in steps))


def row_of(name, form, steps, peak, bandwidth):
    kinds, floor, convolutions = {}, 0, 0
    for ms, moved, flops, kind in steps:
        floor += max(flops / peak, moved / bandwidth)
        convolutions += flops / peak if kind.startswith('CONV') else 0
        kind = kinds.setdefault(KINDS.get(kind, 'the others'), [0, 0])
        kind[0] += ms
        kind[1] += flops / peak
    total, arithmetic = (sum(k[i] for k in kinds.values()) for i in (0, 1))
    rest = sorted(((ms - at_peak, kind) for kind, (ms, at_peak) in kinds.items()), reverse=True)
    verdict = goals.of_peak(form, arithmetic / total, convolutions / floor)
    return '| %s, %s | %.1f | %.1f | %.1f | %.0f %% | %s | %s |' % (
        name, form, arithmetic, floor, total, 100 * arithmetic / total, verdict,
        ', '.join('%s %+.0f %%' % (kind, 100 * above / total) for above, kind in rest
                  if abs(above) >= total / 100))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('names', nargs='*', default=list(nets.NETS))
    parser.add_argument('--build', default=os.path.join(HERE, '..', '..', 'build'))
    parser.add_argument('--forms', default='train,deploy')
    parser.add_argument('--seconds', type=float, default=0.3)
    parser.add_argument('--peak', nargs=2, type=float, metavar=('GFLOPS', 'GBYTES'),
                        help='rather than by bench_peak')
    parser.add_argument('--plan-only', action='store_true', help='run nothing')
    args = parser.parse_args()
    if not args.peak:
        machine = json.loads(subprocess.check_output(
            [os.path.join(args.build, 'tests', 'bench', 'bench_peak')]))
        args.peak = machine['gflops'], machine['gbytes']
    print('%.1f GFLOP/s, %.1f GB/s\n' % tuple(args.peak))
    print('| net | Gflop | MB | flops at peak, ms | bytes at bandwidth | floor |\n'
          '|---|---|---|---|---|---|' if args.plan_only else
          '| net | flops at peak, ms | floor | measured | of the peak | %s | above their '
          'flops, of the whole |\n|---|---|---|---|---|---|---|' % goals.PEAK_SAID)
    rates = 1e6 * args.peak[0], 1e6 * args.peak[1]
    with tempfile.TemporaryDirectory() as folder:
        nets.main(folder, *args.names)
        for name in args.names:
            for form in args.forms.split(','):
                path = os.path.join(folder, '%s_%s.prototxt' % (name, form))
                print(floor_of(name, form, planned(args.build, path, form), *rates)
                      if args.plan_only else
                      row_of(name, form, steps_of(args.build, path, args.seconds), *rates),
                      flush=True)


if __name__ == '__main__':
    main()
