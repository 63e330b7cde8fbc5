#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""check_momentum.py: NVIDIA's momentum_policy: steps of SGD against its formulas in numpy."""
import math
import os
import tempfile

import numpy as np

import deepnet

NET = """net_param { force_backward: true
layer { name: 'x' type: 'Input' top: 'x' top: 't' input_param { shape { dim: 2 dim: 3 } shape { dim: 2
  dim: 2 } } }
layer { name: 'l' type: 'InnerProduct' bottom: 'x' top: 'y' inner_product_param { num_output: 2
  bias_term: false weight_filler { type: 'gaussian' std: 1 } } }
layer { name: 'e' type: 'EuclideanLoss' bottom: 'y' bottom: 't' top: 'e' } }
base_lr: 0.05 lr_policy: 'exp' gamma: 0.8 max_iter: 8 momentum: 0.3 """
POLICIES = {
    '': lambda i, rate: 0.3,
    "momentum_policy: 'fixed'": lambda i, rate: 0.3,
    "momentum_policy: 'poly' max_momentum: 0.9 momentum_power: 2": lambda i, rate: 0.3 + 0.6 * min(
        1, i / 8) ** 2,
    "momentum_policy: 'poly'": lambda i, rate: 0.3 + 0.69 * min(1, i / 8),
    "momentum_policy: 'opt'": lambda i, rate: (1 - math.sqrt(rate) / 2) ** 2,
    "momentum_policy: 'opt' max_momentum: 0.85 clip_gradients: 100": lambda i, rate: min(
        0.85, (1 - math.sqrt(rate) / 2) ** 2),
}


def check(policy, momentum, rng):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, 'solver.prototxt')
        with open(path, 'w', encoding='utf-8') as file:
            file.write(NET + policy)
        solver = deepnet.SGDSolver(path)
    x, t = rng.normal(0, 1, (2, 3)), rng.normal(0, 1, (2, 2))
    solver.net.blobs['x'].data[...] = x
    solver.net.blobs['t'].data[...] = t
    w = np.array(solver.net.params['l'][0].data, 'f8')
    h = np.zeros(w.shape)
    for i in range(10):
        rate = 0.05 * 0.8 ** i
        h = momentum(i, rate) * h + rate * (x @ w.T - t).T @ x / 2
        w = w - h
        solver.step(1)
        got = np.array(solver.net.params['l'][0].data)
        assert np.abs(got - w).max() < 2e-5, '%s, step %d: %s, not %s' % (policy, i, got, w)


for text, function in POLICIES.items():
    check(text, function, np.random.RandomState(3))
print('%d passed' % len(POLICIES))
