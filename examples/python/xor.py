#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""A net written in Python and trained by a loop of our own: XOR, without any file."""
import numpy as np

import deepnet as caffe
from deepnet import layers as L

X = np.float32([[0, 0], [0, 1], [1, 0], [1, 1]])
T = np.float32([[0], [1], [1], [0]])


def net():
    n = caffe.NetSpec()
    xavier = dict(type='xavier')
    n.x = L.Input(shape=dict(dim=[4, 2]))
    n.t = L.Input(shape=dict(dim=[4, 1]))
    n.hidden = L.InnerProduct(n.x, num_output=8, weight_filler=xavier)
    n.tanh = L.TanH(n.hidden, in_place=True)
    n.y = L.InnerProduct(n.tanh, num_output=1, weight_filler=xavier)
    n.loss = L.EuclideanLoss(n.y, n.t)
    return str(n.to_proto())


def main():
    with caffe.Context(seed=1):
        solver = caffe.Solver(
            text='type: "Adam" base_lr: 0.05 lr_policy: "fixed" momentum: 0.9 max_iter: 500',
            net_text=net())
    for i in range(500):
        solver.net.clear_param_diffs()
        loss = solver.net.forward(x=X, t=T)['loss']
        solver.net.backward()
        solver.apply_update()
        if i % 100 == 0:
            print('%3d: loss %.4f' % (i, loss))
    print(solver.net.blobs['y'].data.ravel().round(2))


if __name__ == '__main__':
    main()
