#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Random nets: what is readable after fused, NHWC and compact runs is what plain ones give, in
double, forward, backward and backward once more.

usage: check_random.py SOURCE [FIRST [COUNT]]    nets FIRST .. FIRST + COUNT - 1
"""
import os
import random
import sys

sys.path.insert(0, os.path.join(sys.argv[1], 'bindings', 'python'))
import numpy as np  # noqa: E402

import deepnet  # noqa: E402

START = (2, 4, 6, 5)
NOISE = 'weight_filler { type: "gaussian" std: 0.3 } bias_filler { type: "gaussian" std: 0.3 }'
WIDE = 'filler { type: "uniform" min: 0.5 max: 1.5 }'

# Of the bottom's shape, and in place where nobody else reads it: type, parameters to choose.
ALIKE = [
    ('ReLU', ['', '', 'relu_param { negative_slope: 0.1 }']), ('Sigmoid', ['']), ('TanH', ['']),
    ('AbsVal', ['']), ('ELU', ['']), ('Swish', ['']), ('ReLU6', ['']), ('SeLu', ['']),
    ('Power', ['power_param { scale: 0.5 shift: 0.2 }', 'power_param { power: 2 scale: 0.5 }']),
    ('Clip', ['clip_param { min: -0.4 max: 0.9 }']), ('Exp', ['exp_param { scale: 0.1 }']),
    ('PReLU', ['', 'prelu_param { channel_shared: true }']), ('Dropout', ['']),
    ('Softmax', ['']),
    ('BatchNorm', ['', 'batch_norm_param { use_global_stats: true }']),
    ('Scale', ['scale_param { bias_term: true %s }' % WIDE, 'scale_param { %s }' % WIDE,
               'scale_param { axis: 0 num_axes: -1 %s }' % WIDE,
               'param { lr_mult: 1 } param { lr_mult: 0 } scale_param { bias_term: true }']),
    ('Bias', ['bias_param { filler { type: "gaussian" } }'])]

# The same for images, always with a top of its own.
IMAGES = [
    ('LRN', ['lrn_param { local_size: 3 }',
             'lrn_param { local_size: 3 norm_region: WITHIN_CHANNEL }']),
    ('Normalize', ['norm_param { across_spatial: true }',
                   'norm_param { across_spatial: false }', 'normalize_param { }']),
    ('MVN', ['', 'mvn_param { across_channels: true }']), ('SpatialDropout', ['']),
    ('Pooling', ['pooling_param { pool: MAX kernel_size: 3 pad: 1 }',
                 'pooling_param { pool: AVE kernel_size: 3 pad: 1 }'])]


class Net:
    """A net under construction: text, and the shapes of its blobs."""

    def __init__(self, seed):
        self.random, self.count = random.Random(seed), 0
        self.shapes, self.read = {'x': START}, {'x'}
        dims = ' '.join('dim: %d' % d for d in START)
        self.lines = ['layer { name: "x" type: "Input" top: "x" input_param { shape { %s } } }'
                      % dims]
        for _ in range(self.random.randint(4, 12)):
            self.bottom = self.random.choice(list(self.shapes)[-4:])
            self.shape = self.shapes[self.bottom]
            self.random.choice(self.makers())()
        for top in [name for name in self.shapes if name not in self.read]:
            if self.random.random() < 0.8:
                self.layer('Reduction', [top], ['loss_' + top], 'loss_weight: 1 '
                           'reduction_param { operation: SUMSQ coeff: 0.2 }')
        self.text = '\n'.join(self.lines)
        if self.random.random() < 0.6:
            self.text = 'force_backward: true\n' + self.text

    def makers(self):
        image = [self.convolution, self.convolution, self.residual, self.images, self.concat,
                 self.slice, self.permute, self.pool, self.gated, self.truth]
        return [self.alike, self.alike, self.alike, self.sum, self.flatten, self.product,
                self.split] + (image if len(self.shape) == 4 else [])

    def layer(self, kind, bottoms, tops, rest=''):
        self.count += 1
        self.lines.append('layer { name: "l%d" type: "%s" %s %s %s }' % (
            self.count, kind, ' '.join('bottom: "%s"' % b for b in bottoms),
            ' '.join('top: "%s"' % t for t in tops), rest))
        if bottoms != tops:
            self.read.update(bottoms)

    def add(self, kind, bottoms, shape, rest=''):
        top = 'b%d' % (self.count + 1)
        self.layer(kind, bottoms, [top], rest)
        self.shapes[top] = tuple(shape)
        return top

    def alike(self):
        kind, choices = self.random.choice(ALIKE)
        if self.bottom not in self.read and self.random.random() < 0.6:
            self.layer(kind, [self.bottom], [self.bottom], self.random.choice(choices))
        else:
            self.add(kind, [self.bottom], self.shape, self.random.choice(choices))

    def images(self):
        kind, choices = self.random.choice(IMAGES)
        self.add(kind, [self.bottom], self.shape, self.random.choice(choices))

    def other(self, fits):
        return self.random.choice([b for b, s in self.shapes.items() if fits(s)])

    def sum(self):
        other = self.other(lambda s: s == self.shape)
        self.add('Eltwise', [self.bottom, other], self.shape, 'eltwise_param { operation: %s }'
                 % self.random.choice(['SUM', 'SUM', 'PROD', 'MAX']))

    def flatten(self):
        self.add('Flatten', [self.bottom], (self.shape[0], int(np.prod(self.shape[1:]))))

    def product(self):
        self.add('InnerProduct', [self.bottom], (self.shape[0], 5),
                 'inner_product_param { num_output: 5 %s }' % NOISE)

    def split(self):
        tops = ['s%d' % self.count, 't%d' % self.count]
        self.layer('Split', [self.bottom], tops)
        self.shapes.update(dict.fromkeys(tops, self.shape))

    def norm(self, blob):
        self.layer('BatchNorm', [blob], [blob])
        if self.random.random() < 0.8:
            self.layer('Scale', [blob], [blob], 'scale_param { bias_term: true %s }' % WIDE)

    def convolve(self, outputs, group=1):
        n, _, h, w = self.shape
        return self.add('Convolution', [self.bottom], (n, outputs, h, w),
                        'convolution_param { num_output: %d group: %d kernel_size: 3 pad: 1 '
                        'bias_term: %s %s }' % (outputs, group,
                                                self.random.choice(['true', 'false']), NOISE))

    def convolution(self):
        channels = self.shape[1]
        depthwise = self.random.random() < 0.3
        top = self.convolve(channels if depthwise else self.random.choice([3, 4, channels]),
                            channels if depthwise else 1)
        if self.random.random() < 0.6:
            self.norm(top)
        if self.random.random() < 0.6:
            self.layer('ReLU', [top], [top])

    def residual(self):
        top = self.convolve(self.shape[1])
        self.norm(top)
        pair = self.random.sample([top, self.bottom], 2)
        top = self.add('Eltwise', pair, self.shape)
        self.layer('ReLU', [top], [top])

    def concat(self):
        n, c, h, w = self.shape
        other = self.other(lambda s: len(s) == 4 and s[2:] == (h, w))
        if c + self.shapes[other][1] <= 24:
            self.add('Concat', [self.bottom, other], (n, c + self.shapes[other][1], h, w))

    def slice(self):
        n, c, h, w = self.shape
        if c > 1:
            tops = ['s%d' % self.count, 't%d' % self.count]
            self.layer('Slice', [self.bottom], tops, 'slice_param { slice_point: 1 }')
            self.shapes.update({tops[0]: (n, 1, h, w), tops[1]: (n, c - 1, h, w)})

    def permute(self):
        order = self.random.choice([(0, 2, 3, 1), (0, 1, 3, 2), (0, 3, 1, 2)])
        self.add('Permute', [self.bottom], [self.shape[i] for i in order],
                 'permute_param { %s }' % ' '.join('order: %d' % i for i in order))

    def pool(self):
        n, c, h, w = self.shape
        if min(h, w) > 1:
            top = self.add('Pooling', [self.bottom], (n, c, h - 1, w - 1),
                           'pooling_param { kernel_size: 2 stride: 1 }')
            self.layer('ReLU', [top], [top])

    def gated(self):
        gate = self.add('Pooling', [self.bottom], (*self.shape[:2], 1, 1),
                        'pooling_param { pool: AVE global_pooling: true }')
        self.layer('Sigmoid', [gate], [gate])
        self.add('Axpy', [gate, self.bottom, self.bottom], self.shape)

    def truth(self):
        other = self.other(lambda s: np.prod(s) == np.prod(self.shape))
        if other != self.bottom:
            self.layer(self.random.choice(['L1Loss', 'EuclideanLoss', 'SmoothL1Loss']),
                       [self.bottom, other], ['loss%d' % self.count], 'loss_weight: 0.5')


def results(net, backward):
    """What can be read after two steps, the second with two backward passes if that may be."""
    for layer in net.layers:
        if layer.type == 'BatchNorm':
            for blob, value in zip(layer.blobs, (0.1, 1.2, 1)):
                blob.data[...] = value
    net.blobs['x'].data[...] = np.random.RandomState(1).normal(size=START)
    for times in range(2):
        net.forward()
        for _ in range(1 + times if backward == 'twice' else 1 if backward else 0):
            net.clear_param_diffs()
            for name in net.outputs:
                blob = net.blobs[name]
                if not net.blob_loss_weights[name]:
                    blob.diff[...] = np.cos(np.arange(blob.count)).reshape(blob.shape)
            net.backward()
    found = {}
    for name, blob in [*net.blobs.items(), *((b.name, b) for l in net.layers for b in l.blobs)]:
        for part in ('data', 'diff') if backward else ('data',):
            try:
                found[name, part] = getattr(blob, part).copy()
            except deepnet.UnsupportedError:
                pass  # its memory is used by others as well
    return found


def check(seed, contexts):
    text, wrong = Net(seed).text, []
    for phase in (deepnet.TRAIN, deepnet.TEST):
        def run(way, memory, backward):
            return results(deepnet.Net(text=text, phase=phase, context=contexts[way],
                                       memory=memory, dtype='float64'), backward)
        want = run(False, 'readable', 'twice')
        for way in (True, 'nhwc'):
            for memory in ('readable', 'compact'):
                got = run(way, memory, 'twice' if memory == 'readable' else
                          phase == deepnet.TRAIN)
                for what, values in got.items():
                    error = np.abs(values - want[what]).max(initial=0)
                    if not error <= 1e-8 * (np.abs(want[what]).max(initial=0) + 1e-3):
                        wrong.append((seed, phase, way, memory, *what, error))
    if wrong:
        print(text, *wrong[:8], sep='\n')
    return not wrong


def main(source, first=0, count=150):
    contexts = {way: deepnet.Context(fuse=way, seed=5) for way in (False, True, 'nhwc')}
    good = sum(check(seed, contexts) for seed in range(int(first), int(first) + int(count)))
    print('%d passed, %d failed' % (good, int(count) - good))
    return good != int(count)


if __name__ == '__main__':
    sys.exit(main(*sys.argv[1:]))
