#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""How much of a training step kernels cover: the profiler's figure (CUPTI, through PyTorch's),
of LeNet whose data come from an LMDB (lenet_lmdb: whether the device waits for them) and of
nets of tests/bench on one batch.

usage: coverage.py CHAIN [NET ...]    CHAIN: /path/deepnet-cuda.so,cpu,ref; NET: lenet_lmdb,
                                      lenet, resnet50
       coverage.py --self-test

77 where there is no PyTorch with CUDA.
"""
import os
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
STEPS = 20
WANTED = 0.95


def covered(spans):
    """Time in which at least one of the (begin, end) is, and the longest time in which none."""
    busy, gap, until = 0, 0, None
    for begin, end in sorted(spans):
        if until is not None and begin > until:
            gap = max(gap, begin - until)
        busy += max(0, end - (begin if until is None else max(begin, until)))
        until = end if until is None else max(until, end)
    return busy, gap


def self_test():
    assert covered([]) == (0, 0)
    assert covered([(5, 7)]) == (2, 0)
    assert covered([(0, 4), (2, 3), (3, 6), (10, 11), (12, 15)]) == (10, 4)
    assert covered([(12, 15), (0, 10)]) == (13, 2)
    print('1 passed, 0 failed')


def kernels_of(run):
    """Spans of all that the device did meanwhile, in microseconds."""
    from torch.autograd import DeviceType
    from torch.profiler import ProfilerActivity, profile
    with profile(activities=[ProfilerActivity.CUDA]) as seen:
        run()
    return [(e.time_range.start, e.time_range.end) for e in seen.events()
            if e.device_type == DeviceType.CUDA]


def main(chain, names):
    try:
        import torch
        if not torch.cuda.is_available():
            raise ImportError('PyTorch sees no device')
    except ImportError as error:
        print(error)
        return 77
    torch.cuda.init()
    import deepnet
    import lenet  # of this folder: tests/bench has another
    sys.path.insert(0, os.path.join(HERE, '..', 'bench'))
    import nets
    failed = 0
    context = deepnet.Context(backends=chain, tune=True)
    for name in names:
        text = lenet.FROM_LMDB if name == 'lenet_lmdb' else str(nets.build(name, True))
        with context:
            solver = deepnet.Solver(text='base_lr: 0.001 lr_policy: "fixed" momentum: 0.9 '
                                    'max_iter: 1000000', net_text=text)
        solver.step(5)
        context.synchronise()

        def run():
            solver.step(STEPS)
            context.synchronise()

        began = time.perf_counter()
        run()
        step = (time.perf_counter() - began) / STEPS
        spans = kernels_of(run)
        if not spans:
            print('FAILED %s: the profiler saw nothing' % name)
            failed += 1
            continue
        busy, gap = covered(spans)
        whole = max(end for _, end in spans) - min(begin for begin, _ in spans)
        good = busy >= WANTED * whole
        failed += not good
        print('%s %s: kernels cover %.1f %% of %d steps (%.3f ms each, %d pieces of work a '
              'step); the longest gap is %.0f us' % (
                  'ok' if good else 'FAILED', name, 100 * busy / whole, STEPS, 1e3 * step,
                  len(spans) / STEPS, gap))
    print('%d passed, %d failed' % (len(names) - failed, failed))
    return failed > 0


if __name__ == '__main__':
    if sys.argv[1:] == ['--self-test']:
        self_test()
    elif len(sys.argv) < 2 or sys.argv[1].startswith('-'):
        sys.exit(__doc__)
    else:
        sys.exit(main(sys.argv[1], sys.argv[2:] or ['lenet_lmdb', 'lenet', 'resnet50']))
