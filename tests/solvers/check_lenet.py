#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""The tutorial's LeNet from recorded starting weights: the losses that Caffe recorded over
dataset-fashion-mnist in file order, and the same bits for 1, 2 and 3 threads over 200 iterations.

Two float computations of this net agree until a max-pooling window holds two values that differ
by less than their rounding and the order of summation decides which wins. Such a window is in
conv2 at iteration 39: the two largest of image 9, channel 2 are 1.5424097 and 1.5424099 before the
bias, 1.6e-7 apart. A kernel that sums in another order may part from the record there by 2e-4
without being wrong; compare with a run in double before blaming it.
"""
import gzip, hashlib, os, subprocess, sys
import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
FASHION = '/usr/share/datasets/fashion-mnist'
LAYER = '''layer { name: "%s" type: "%s" bottom: "%s" top: "%s" param { lr_mult: 1 } param { lr_mult: 2 }
  %s { num_output: %d %s } }'''
POOL = '''layer { name: "%s" type: "Pooling" bottom: "%s" top: "%s"
  pooling_param { pool: MAX kernel_size: 2 stride: 2 } }'''
NET = '\n'.join([
    '''layer { name: "data" type: "Input" top: "data" top: "label"
      input_param { shape { dim: 64 dim: 1 dim: 28 dim: 28 } shape { dim: 64 } } }''',
    LAYER % ('conv1', 'Convolution', 'data', 'conv1', 'convolution_param', 20, 'kernel_size: 5'),
    POOL % ('pool1', 'conv1', 'pool1'),
    LAYER % ('conv2', 'Convolution', 'pool1', 'conv2', 'convolution_param', 50, 'kernel_size: 5'),
    POOL % ('pool2', 'conv2', 'pool2'),
    LAYER % ('ip1', 'InnerProduct', 'pool2', 'ip1', 'inner_product_param', 500, ''),
    'layer { name: "relu1" type: "ReLU" bottom: "ip1" top: "ip1" }',
    LAYER % ('ip2', 'InnerProduct', 'ip1', 'ip2', 'inner_product_param', 10, ''),
    'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip2" bottom: "label" top: "loss" }'])
SOLVER = '''base_lr: 0.01 momentum: 0.9 weight_decay: 0.0005 lr_policy: "inv" gamma: 0.0001 power: 0.75
  max_iter: 10000'''


def read_idx(name, offset):
    with gzip.open(os.path.join(FASHION, name)) as f:
        return np.frombuffer(f.read(), 'u1', offset=offset)


def train(iterations):
    """Losses, and a hash of them with the weights at the end."""
    import deepnet
    images = read_idx('train-images-idx3-ubyte.gz', 16).reshape(-1, 1, 28, 28)
    labels = read_idx('train-labels-idx1-ubyte.gz', 8)
    solver = deepnet.Solver(text=SOLVER, net_text=NET)
    solver.net.copy_from(os.path.join(HERE, 'lenet', 'start.caffemodel'))
    losses = []
    for i in range(iterations):
        batch = slice(64 * i, 64 * i + 64)
        solver.net.blobs['data'].data[...] = images[batch].astype('f4') / 256
        solver.net.blobs['label'].data[...] = labels[batch]
        solver.step(1)
        losses.append(float(solver.net.blobs['loss'].data))
    weights = b''.join(b.data.tobytes() for p in solver.net.params.values() for b in p)
    return np.array(losses), hashlib.sha256(np.array(losses).tobytes() + weights).hexdigest()


def in_process(threads):
    env = dict(os.environ, DEEPNET_NUM_THREADS=str(threads))
    return subprocess.run([sys.executable, __file__, 'hash'], env=env, check=True, text=True,
                          capture_output=True).stdout.strip()


def main():
    if sys.argv[1:] == ['hash']:
        print(train(200)[1])
        return 0
    if not os.path.isdir(FASHION):
        print('dataset-fashion-mnist is not installed')
        return 77
    recorded = np.loadtxt(os.path.join(HERE, 'lenet', 'curve.txt'))
    losses, first = train(200)
    gap = np.abs(losses - recorded)
    checks = [('the first 50 within 1e-5', gap[:50].max() <= 1e-5),
              ('the first 100 within 2e-3', gap[:100].max() <= 2e-3),
              ('all 200 within 0.1', gap.max() <= 0.1)]
    checks += [('%d threads give the same bits' % n, in_process(n) == first) for n in (1, 2, 3)]
    for what, good in checks:
        print('ok' if good else 'FAILED', what)
    print('largest difference: %.3g in 50, %.3g in 100, %.3g in 200 iterations' % (
        gap[:50].max(), gap[:100].max(), gap.max()))
    failed = sum(not good for _, good in checks)
    print('%d passed, %d failed' % (len(checks) - failed, failed))
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
