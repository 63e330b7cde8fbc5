# SPDX-License-Identifier: BSD-2-Clause
"""What the checks of layers against numpy share: nets around a few layers, cases by name, the
comparison, and formulas that several definitions use."""
import contextlib
import os

import numpy as np

import deepnet

RELATIVE, ABSOLUTE = 2e-4, 2e-5
CASES = {}


def case(function):
    """The function is a check of its own: of layers, on values from the generator it gets."""
    CASES[function.__name__] = function
    return function


def net(layers, inputs, phase=deepnet.TRAIN, force=True):
    """A net of `layers` behind inputs of these values, forward."""
    text = 'force_backward: true ' if force else ''
    for name, value in inputs.items():
        text += "layer { name: '%s' type: 'Input' top: '%s' input_param { shape { %s } } } " % (
            name, name, ' '.join('dim: %d' % d for d in np.shape(value)))
    made = deepnet.Net(None, phase, text=text + layers)
    for name, value in inputs.items():
        made.blobs[name].data[...] = value
    return made


def close(what, got, want):
    got, want = np.asarray(got, 'f8'), np.asarray(want, 'f8')
    assert got.shape == want.shape, '%s is %s, not %s' % (what, got.shape, want.shape)
    largest = max(1.0, np.abs(want).max(initial=0))
    worst = np.abs(got - want).max(initial=0)
    assert np.all(np.abs(got - want) <= ABSOLUTE * largest + RELATIVE * np.abs(want)), \
        '%s differs by %.3g (largest %.3g)' % (what, worst, largest)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softmax(x, axis):
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def overlap(a, b, one=0):
    """Of corners x0, y0, x1, y1."""
    w = min(a[2], b[2]) - max(a[0], b[0]) + one
    h = min(a[3], b[3]) - max(a[1], b[1]) + one
    if w <= 0 or h <= 0:
        return 0
    areas = [(v[2] - v[0] + one) * (v[3] - v[1] + one) for v in (a, b)]
    return w * h / (sum(areas) - w * h)


def corners(x, y, w, h):
    return [x - w / 2, y - h / 2, x + w / 2, y + h / 2]


def suppress(rows, threshold):
    """Rows of score, corners, anything; best first."""
    kept = []
    for row in sorted(rows, key=lambda r: -r[0]):
        if all(overlap(row[1], other[1]) <= threshold for other in kept):
            kept.append(row)
    return kept


def main(source=None, *names):
    """Runs the cases, or those named; with DEEPNET_TEST_MODULE that module, with ref for the rest,
    computes them."""
    module, failed = os.environ.get('DEEPNET_TEST_MODULE'), 0
    for name in names or CASES:
        try:
            with deepnet.Context(backends=module + ',ref') if module else contextlib.nullcontext():
                CASES[name](np.random.RandomState(11))
        except (AssertionError, deepnet.Error) as error:
            failed += 1
            print('FAILED %s: %s' % (name, error))
    print('%d passed, %d failed' % (len(names or CASES) - failed, failed))
    return int(failed > 0)
