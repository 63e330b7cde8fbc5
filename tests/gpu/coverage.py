#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""How much of its time a device computes in steps of training and in passes of one image: the
profiler's figure (CUPTI, through PyTorch's). A device that waits for a batch's copy is not
computing: what copies and memsets cover beside kernels is told, and does not count. Goals: of
each row kernels cover 95 %, and no gap between two of them is longer than some launches take.

usage: coverage.py CHAIN [--limit S] [--steps N] [--rows 'NET COMPUTE JOB,...']
       coverage.py CHAIN --steps N --row 'NET COMPUTE JOB'     one, in this process
       coverage.py --self-test
CHAIN: /path/deepnet-cuda.so,cpu,ref. NET: one of tests/bench, at its own batch, or lenet_lmdb,
whose data come from an LMDB; COMPUTE: f32, tf32, bf16; JOB: train, infer1. After S seconds no
row begins. Each has a process of its own: to profile CUDA graphs that were made before the
profiler was first used, or to use it again and again, may be the end of one.

77 where there is no PyTorch with CUDA.
"""
import argparse
import os
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.append(os.path.join(HERE, '..', 'bench'))  # after this folder, which has a lenet too
import goals  # noqa: E402

NETS = ('resnet50', 'mobilenet_v1', 'googlenet', 'alexnet', 'vgg16')
ROWS = [('lenet_lmdb', 'f32', 'train'), ('lenet', 'f32', 'train'), ('lenet', 'f32', 'infer1'),
        *((net, compute, job) for compute in ('bf16', 'tf32', 'f32')
          for job in ('train', 'infer1') for net in NETS)]
SKIP = 10  # steps that may live on the batches which lay ready
STEPS, STEPS_LENET = 20, 200
WANTED = 0.95
LONGEST_GAP = 50  # microseconds, of which a launch takes some 5
COPIES = ('Memcpy', 'Memset')
# What PyTorch sets where it records graphs itself: CUPTI, once begun, stays.
LASTING = {'TEARDOWN_CUPTI': '0', 'DISABLE_CUPTI_LAZY_REINIT': '1'}


def covered(spans):
    """Time in which at least one of the (begin, end) is, and the longest time in which none."""
    busy, gap, until = 0, 0, None
    for begin, end in sorted(spans):
        if until is not None and begin > until:
            gap = max(gap, begin - until)
        busy += max(0, end - (begin if until is None else max(begin, until)))
        until = end if until is None else max(until, end)
    return busy, gap


def shares(events, skipped):
    """Of (name, begin, end), without the kernels of a first part of the steps: the parts of the
    time that kernels cover, and kernels and copies; the longest gap between kernels; how many
    kernels there are. None without any."""
    kernels = sorted((begin, end) for name, begin, end in events if not name.startswith(COPIES))
    kernels = kernels[int(len(kernels) * skipped):]
    if not kernels:
        return None
    first, last = kernels[0][0], max(end for _, end in kernels)
    copies = [(begin, end) for name, begin, end in events
              if name.startswith(COPIES) and begin >= first and end <= last]
    busy, gap = covered(kernels)
    return (busy / (last - first), covered(kernels + copies)[0] / (last - first), gap,
            len(kernels))


def self_test():
    assert covered([]) == (0, 0)
    assert covered([(5, 7)]) == (2, 0)
    assert covered([(0, 4), (2, 3), (3, 6), (10, 11), (12, 15)]) == (10, 4)
    assert covered([(12, 15), (0, 10)]) == (13, 2)
    events = [('conv', 0, 4), ('Memcpy HtoD (Pinned -> Device)', 4, 8), ('gemm', 8, 10),
              ('Memset (Device)', 3, 5), ('Memcpy DtoH', 10, 90)]
    assert shares(events, 0) == (0.6, 1, 4, 2)
    assert shares(events, 0.5) == (1, 1, 0, 1)
    assert shares(events[1:2], 0) is None
    print('1 passed, 0 failed')


def device_did(run):
    """(name, begin, end) of all that the device did meanwhile, in microseconds."""
    from torch.autograd import DeviceType
    from torch.profiler import ProfilerActivity, profile
    with profile(activities=[ProfilerActivity.CUDA]) as seen:
        run()
    return [(e.name, e.time_range.start, e.time_range.end) for e in seen.events()
            if e.device_type == DeviceType.CUDA]


def runner(chain, name, compute, job):
    """What makes so many steps, or passes, and waits."""
    import lenet
    import nets
    import worker
    train = job == 'train'
    text = (lenet.FROM_LMDB if name == 'lenet_lmdb' else str(nets.build(name, True)) if train
            else str(nets.build(name, False, 1)))
    engine = worker.Deepnet({
        'threads': 1, 'train': train, 'prototxt': text, 'rate': 1e-3, 'momentum': 0.9,
        'decay': 5e-4, 'mode': {'backends': chain, 'context': {'tune': True},
                                'options': {'compute': compute},
                                'on_device': name != 'lenet_lmdb'}})
    return lambda steps: engine.run(steps)


def measure(chain, row, steps):
    """Prints a row, and the verdict on it at the end."""
    device_did(lambda: None)  # before there are graphs
    run = runner(chain, *row)
    run(5)
    began = time.perf_counter()
    run(steps)
    step = (time.perf_counter() - began) / steps
    found = shares(device_did(lambda: run(SKIP + steps)), SKIP / (SKIP + steps))
    if not found:
        raise RuntimeError('the profiler saw no kernel')
    busy, with_copies, gap, count = found
    verdict = goals.MET if busy >= WANTED and gap <= LONGEST_GAP else goals.MISSED
    print('%s: kernels cover %.1f %% of %d steps, with copies %.1f (%.3f ms each, %d kernels a '
          'step); the longest gap is %.0f us: %s' % (
              ' '.join(row), 100 * busy, steps, 100 * with_copies, 1e3 * step, count / steps,
              gap, verdict))


def verdict_of(chain, row, steps):
    """Of a process that measures this row, whose output is printed; None if it failed."""
    name = ' '.join(row)
    done = subprocess.run(
        [sys.executable, os.path.abspath(__file__), chain, '--steps', str(steps), '--row',
         name], env=dict(os.environ, **LASTING), stdout=subprocess.PIPE, text=True)
    print(done.stdout, end='', flush=True)
    found = [line for line in done.stdout.splitlines() if line.startswith(name + ': kernels')]
    if done.returncode == 0 and found:
        return found[-1].split(': ')[-1]
    if 'FAILED ' + name not in done.stdout:
        print('FAILED %s: its process ended with %d' % (name, done.returncode), flush=True)
    return None


def alone(chain, row, steps):
    """Whether it failed to measure this row."""
    try:
        import torch
        torch.cuda.init()
        measure(chain, row, steps)
    except Exception as error:
        print('FAILED %s: %s' % (' '.join(row), error))
        return 1
    return 0


def main(chain, rows, steps, until):
    try:
        import torch
        if not torch.cuda.is_available():
            raise ImportError('PyTorch sees no device')
    except ImportError as error:
        print(error)
        return 77
    verdicts, failed = [], 0
    for row in rows:
        usual = STEPS_LENET if row[0].startswith('lenet') else STEPS
        if time.time() >= until:
            print('%s: not measured, there is no time left' % ' '.join(row))
            verdicts.append(goals.UNKNOWN)
            continue
        verdict = verdict_of(chain, row, steps or usual)
        verdicts += [verdict] if verdict else []
        failed += not verdict
    print('%d passed, %d failed' % (len(verdicts), failed))
    print(goals.summary(goals.counts(verdicts)))
    return failed > 0


if __name__ == '__main__':
    if sys.argv[1:] == ['--self-test']:
        sys.exit(self_test())
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('chain')
    parser.add_argument('--limit', type=float, default=float('inf'))
    parser.add_argument('--steps', type=int)
    parser.add_argument('--rows', type=lambda text: [one.split() for one in text.split(',')],
                        default=ROWS)
    parser.add_argument('--row', type=str.split)
    args = parser.parse_args()
    if args.row:
        sys.exit(alone(args.chain, args.row, args.steps))
    sys.exit(main(args.chain, args.rows, args.steps, time.time() + args.limit))
