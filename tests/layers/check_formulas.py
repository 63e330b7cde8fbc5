#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""check_formulas.py [SOURCE [NAME]...]: Caffe's layers against its definitions in numpy, where
they have corners: windows at the edge, ties, classes and labels left out, what a sum is divided by,
axes of every sign, parameters' special values."""
import itertools
import math
import sys

import numpy as np

import deepnet
from oracle import case, close, main, net, sigmoid, softmax


def one(kind, params, inputs, tops=('y',), **options):
    """A net of one layer whose bottoms are the inputs, in order, forward."""
    made = net('layer { name: "l" type: "%s" %s %s %s }' % (
        kind, ' '.join('bottom: "%s"' % b for b in inputs),
        ' '.join('top: "%s"' % t for t in tops), params), inputs, **options)
    made.forward()
    return made


def value(made, name='y'):
    return np.array(made.blobs[name].data)


def gradient(made, name='x', **diffs):
    made.backward(**diffs)
    return np.array(made.blobs[name].diff)


# ---- windows -----------------------------------------------------------------------------------

def pooled(x, kind, k, s, p, rounding=math.ceil):
    """Values and, of maxima, places. A window begins inside the image or its front padding."""
    _, _, H, W = x.shape
    sizes = []
    for length, kk, ss, pp in zip((H, W), k, s, p):
        n = int(rounding((length + 2 * pp - kk) / ss)) + 1
        sizes.append(n - 1 if any(p) and (n - 1) * ss >= length + pp else n)
    y, places = np.zeros(x.shape[:2] + tuple(sizes)), -np.ones(x.shape[:2] + tuple(sizes))
    for i, j in np.ndindex(*sizes):
        top, left = i * s[0] - p[0], j * s[1] - p[1]
        area = (min(top + k[0], H + p[0]) - top) * (min(left + k[1], W + p[1]) - left)
        rows, columns = slice(max(top, 0), top + k[0]), slice(max(left, 0), left + k[1])
        window = x[:, :, rows, columns]
        if kind == 'AVE':
            y[:, :, i, j] = window.sum((2, 3)) / area
            continue
        flat = window.reshape(*window.shape[:2], -1)
        at = flat.argmax(2)
        y[:, :, i, j] = flat.max(2)
        places[:, :, i, j] = (rows.start + at // window.shape[3]) * W + (
            columns.start + at % window.shape[3])
    return y, places


@case
def pooling(rng):
    for size, k, s, p, rounding in itertools.product(
            ((7, 8), (5, 5)), ((3, 3), (2, 2), (3, 2), (5, 4)), ((1, 1), (2, 2)),
            ((0, 0), (1, 1), (1, 0)), (math.ceil, math.floor)):
        x = rng.normal(0, 1, (2, 2, *size))
        params = 'kernel_h: %d kernel_w: %d stride_h: %d stride_w: %d pad_h: %d pad_w: %d %s' % (
            *k, *s, *p, '' if rounding is math.ceil else 'round_mode: FLOOR')
        made = one('Pooling', 'pooling_param { pool: MAX %s }' % params, {'x': x}, ('y', 'm'))
        y, places = pooled(x, 'MAX', k, s, p, rounding)
        close(params, value(made), y)
        close(params + ', mask', value(made, 'm'), places)
        made = one('Pooling', 'pooling_param { pool: AVE %s }' % params, {'x': x})
        close(params + ', average', value(made), pooled(x, 'AVE', k, s, p, rounding)[0])


@case
def time(rng):
    """C3D's layers: kernel_depth and its kin are for the first spatial axis, the others not."""
    x = rng.normal(0, 1, (2, 3, 6, 5, 7))
    for d, k, ts, s, tp, p in ((3, 2, 1, 2, 1, 0), (1, 3, 1, 2, 0, 1), (2, 3, 2, 1, 1, 1)):
        made = one('Convolution3D', 'convolution3d_param { num_output: 4 kernel_size: %d '
                   'kernel_depth: %d stride: %d temporal_stride: %d pad: %d temporal_pad: %d '
                   'weight_filler { type: "gaussian" std: 1 } }' % (k, d, s, ts, p, tp), {'x': x})
        w = np.array(made.params['l'][0].data)
        padded = np.pad(x, ((0, 0), (0, 0), (tp, tp), (p, p), (p, p)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (d, k, k), (2, 3, 4))
        want = np.einsum('nctyxijk,ocijk->notyx', windows[:, :, ::ts, ::s, ::s], w)
        close('convolution, depth %d' % d, value(made), want)
    for kind in ('MAX', 'AVE'):
        for name, fields in (('Pooling3D', 'kernel_size: 2 stride: 2'),
                             ('Pooling', 'kernel_size: 2 stride: 2 kernel_depth: 1')):
            made = one(name, 'pooling_param { pool: %s %s }' % (kind, fields), {'x': x})
            flat, _ = pooled(x.reshape(6, 6, 5, 7), kind, (2, 2), (2, 2), (0, 0))
            close(name, value(made), flat.reshape(2, 3, 6, 3, 4))
        flat, _ = pooled(x.reshape(6, 1, 6, 35), kind, (3, 1), (2, 1), (0, 0))
        for name, fields in (  # sizes of each axis as four forks spell them
                ('Pooling3D', 'kernel_size: 1 kernel_depth: 3 temporal_stride: 2'),
                ('Pooling', 'kernel_size: 3 kernel_size: 1 stride: 2 kernel_size: 1 stride: 1 stride: 1'),
                ('Pooling', 'kernel_size: [ 3, 1, 1 ] stride: [2, 1, 1] pad: [0] dilation: 1'),
                ('Pooling', 'kernel_size_3d: 3 kernel_size_3d: 1 kernel_size_3d: 1 stride_3d: 2 '
                 'stride_3d: 1 stride_3d: 1')):
            made = one(name, 'pooling_param { pool: %s %s }' % (kind, fields), {'x': x})
            close('along time', value(made), flat.reshape(2, 3, 3, 5, 7))


@case
def sides(rng):
    """Synopsys' padding of each side, DeepLab's hole_h and hole_w, relu6."""
    x, dy = rng.normal(0, 1, (2, 3, 7, 8)), {}
    for pads, s, d in (((0, 1, 0, 1), 2, (1, 1)), ((1, 1, 2, 2), 1, (2, 1)), ((2, 0, 1, 3), 1, (1, 2))):
        made = one('Convolution', 'convolution_param { num_output: 4 kernel_h: 3 kernel_w: 2 stride: %d '
                   'hole_w: %d hole_h: %d pad_t: %d pad_b: %d pad_l: %d pad_r: %d weight_filler { '
                   'type: "gaussian" std: 1 } }' % (s, d[1], d[0], *pads), {'x': x})
        w = np.array(made.params['l'][0].data)
        padded = np.pad(x, ((0, 0), (0, 0), pads[:2], pads[2:]))
        rows, columns = padded.shape[2] - 2 * d[0], padded.shape[3] - d[1]
        taps = [(i, j, padded[:, :, i * d[0]:i * d[0] + rows:s, j * d[1]:j * d[1] + columns:s])
                for i in range(3) for j in range(2)]
        close('top', value(made), sum(np.einsum('nchw,oc->nohw', part, w[:, :, i, j])
                                      for i, j, part in taps))
        dy = rng.normal(0, 1, value(made).shape)
        dx = np.zeros(padded.shape)
        for i, j, _ in taps:
            dx[:, :, i * d[0]:i * d[0] + rows:s, j * d[1]:j * d[1] + columns:s] += np.einsum(
                'nohw,oc->nchw', dy, w[:, :, i, j])
        close('gradient', gradient(made, y=dy), dx[:, :, pads[0]:pads[0] + 7, pads[2]:pads[2] + 8])
        dw = np.zeros(w.shape)
        for i, j, part in taps:
            dw[:, :, i, j] = np.einsum('nohw,nchw->oc', dy, part)
        close('gradient of the weight', made.params['l'][0].diff, dw)
    x = rng.normal(0, 5, (3, 50))
    for tops in (('y',), ('x',)):
        made = one('ReLU', 'relu_param { relu6: true }', {'x': x}, tops)
        close('relu6', value(made, tops[0]), np.clip(x, 0, 6))
    made = one('ReLU', 'relu_param { relu6: true }', {'x': x})
    dy = rng.normal(0, 1, x.shape)
    close('gradient of relu6', gradient(made, y=dy), dy * ((x > 0) & (x < 6)))


@case
def lrn(rng):
    x = rng.normal(0, 1, (2, 7, 6, 5))
    for size, alpha, beta in ((3, 5, 0.75), (5, 0.7, 0.5)):
        made = one('LRN', 'lrn_param { local_size: %d alpha: %g beta: %g norm_region: '
                   'WITHIN_CHANNEL k: 3 }' % (size, alpha, beta), {'x': x})
        mean, _ = pooled(x * x, 'AVE', (size, size), (1, 1), (size // 2, size // 2))
        close('within', value(made), x * (1 + alpha * mean) ** -beta)  # k means nothing there
        made = one('LRN', 'lrn_param { local_size: %d alpha: %g beta: %g k: 2.5 }' % (
            size, alpha, beta), {'x': x})
        sums = np.stack([(x[:, max(0, c - size // 2):c + size // 2 + 1] ** 2).sum(1)
                         for c in range(7)], 1)
        close('across', value(made), x * (2.5 + alpha / size * sums) ** -beta)


@case
def spp(rng):
    for (H, W), height, kind in itertools.product(((9, 7), (7, 7)), (2, 3), ('MAX', 'AVE')):
        x = rng.normal(0, 1, (2, 3, H, W))
        parts = []
        for level in range(height):
            k = [math.ceil(n / 2 ** level) for n in (H, W)]
            p = [(k[i] * 2 ** level - n + 1) // 2 for i, n in enumerate((H, W))]
            parts.append(pooled(x, kind, k, k, p)[0].reshape(2, -1))
        made = one('SPP', 'spp_param { pyramid_height: %d pool: %s }' % (height, kind), {'x': x})
        close('%d levels' % height, value(made), np.concatenate(parts, 1))
    made = one('SPP', 'spp_param { pyramid_height: 1 }', {'x': x})
    close('1 level', value(made), x.max((2, 3), keepdims=True))  # a pooling: not flattened


@case
def deconvolution(rng):
    for k, s, p, d, g in ((3, 2, 1, 1, 1), (2, 2, 0, 1, 3), (3, 2, 1, 2, 3), (4, 2, 1, 1, 3)):
        x = rng.normal(0, 1, (2, 3, 5, 4))
        made = one('Deconvolution', 'convolution_param { num_output: 6 kernel_size: %d stride: %d '
                   'pad: %d dilation: %d group: %d weight_filler { type: "gaussian" std: 1 } '
                   'bias_filler { type: "gaussian" std: 1 } }' % (k, s, p, d, g), {'x': x})
        w, b = (np.array(blob.data) for blob in made.params['l'])
        reach = d * (k - 1) + 1
        full = np.zeros((2, 6, 4 * s + reach, 3 * s + reach))
        for c, o, i, j in np.ndindex(3, 6 // g, k, k):
            full[:, c // (3 // g) * (6 // g) + o, i * d:i * d + 4 * s + 1:s,
                 j * d:j * d + 3 * s + 1:s] += x[:, c] * w[c, o, i, j]
        full = full[:, :, p:full.shape[2] - p, p:full.shape[3] - p]
        close('kernel %d, group %d' % (k, g), value(made), full + b[:, None, None])


@case
def im2col(rng):
    x = rng.normal(0, 1, (2, 3, 7, 6))
    made = one('Im2col', 'convolution_param { kernel_size: 3 dilation: 2 pad: 1 stride: 2 }',
               {'x': x})
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    want = [padded[:, c, 2 * a:2 * a + 5:2, 2 * b:2 * b + 4:2]
            for c in range(3) for a in range(3) for b in range(3)]
    close('columns', value(made), np.stack(want, 1))


# ---- losses and measures -----------------------------------------------------------------------

NORMALIZATIONS = (None, 'FULL', 'VALID', 'BATCH_SIZE', 'NONE')


def loss_param(mode, ignored):
    return 'loss_param { %s %s }' % ('normalization: %s' % mode if mode else '',
                                     '' if ignored is None else 'ignore_label: %d' % ignored)


def divisor(mode, valid, positions, batch, usual):
    return {'FULL': positions, 'VALID': valid, 'BATCH_SIZE': batch, 'NONE': 1}[mode or usual]


@case
def softmax_loss(rng):
    for mode, ignored, axis in itertools.product(NORMALIZATIONS, (None, 1), (1, 2)):
        x = rng.normal(0, 1, (2, 4, 3, 5))
        t = rng.randint(0, 3, x.shape[:axis] + x.shape[axis + 1:])
        made = one('SoftmaxWithLoss', loss_param(mode, ignored) + 'softmax_param { axis: %d } '
                   'loss_weight: 3 loss_weight: 0' % axis, {'x': x, 't': t}, ('y', 'p'))
        p, kept = softmax(x, axis), t != ignored
        hit = np.moveaxis(np.eye(x.shape[axis])[t], -1, axis)
        z = divisor(mode, kept.sum(), t.size, np.prod(x.shape[:axis]), 'VALID')
        kept = np.expand_dims(kept, axis)
        close('%s, axis %d' % (mode, axis), value(made), -(np.log(p) * hit * kept).sum() / z)
        close('probabilities', value(made, 'p'), p)
        close('gradient', gradient(made), 3 * (p - hit) * kept / z)
    for weighted in (True, False):  # SegNet's weights of classes are not in the norm
        w = rng.uniform(0.2, 4, 4)
        made = one('SoftmaxWithLoss', 'loss_param { weight_by_label_freqs: %s ignore_label: 2 %s }' % (
            str(weighted).lower(), ' '.join('class_weighting: %r' % float(v) for v in w)),
            {'x': x, 't': rng.randint(0, 4, (2, 3, 5))})
        t = np.array(made.blobs['t'].data).astype(int)
        p, hit = softmax(x, 1), np.moveaxis(np.eye(4)[t], -1, 1)
        kept = ((t != 2) * (w[t] if weighted else 1))[:, None] / (t != 2).sum()
        close('weighted', value(made), -(np.log(p) * hit * kept).sum())
        close('weighted, gradient', gradient(made), (p - hit) * kept)


@case
def sigmoid_loss(rng):
    for mode in NORMALIZATIONS:
        x, t = rng.normal(0, 1, (3, 4)), rng.choice([0, 1, -1], (3, 4))
        made = one('SigmoidCrossEntropyLoss', loss_param(mode, -1), {'x': x, 't': t})
        p, kept = sigmoid(x), t != -1
        z = divisor(mode, kept.sum(), 12, 3, 'BATCH_SIZE')
        terms = np.where(t == 1, np.log(p), np.log(1 - p))
        close(str(mode), value(made), -(terms * kept).sum() / z)
        close('gradient', gradient(made), (p - t) * kept / z)


@case
def infogain_loss(rng):
    for mode, axis in itertools.product(NORMALIZATIONS, (1, 2)):
        x = rng.normal(0, 1, (2, 4, 3) if axis == 1 else (2, 3, 4))
        t, table = rng.randint(0, 4, (2, 3)), rng.uniform(0, 1, (4, 4))
        made = one('InfogainLoss', loss_param(mode, 2) + 'infogain_loss_param { axis: %d }' % axis,
                   {'x': x, 't': t, 'h': table}, ('y', 'p'))
        p, kept, h = softmax(x, axis), t != 2, np.moveaxis(table[t], -1, axis)
        z = divisor(mode, kept.sum(), t.size, np.prod(x.shape[:axis]), 'VALID')
        kept = np.expand_dims(kept, axis)
        close(str(mode), value(made), -(h * np.log(p) * kept).sum() / z)
        close('gradient', gradient(made), (p * h.sum(axis, keepdims=True) - h) * kept / z)


@case
def other_losses(rng):
    a, b, s = rng.normal(0, 1, (5, 3)), rng.normal(0, 1, (5, 3)), np.array([0, 1, 0, 0, 1])
    square = ((a - b) ** 2).sum(1)
    for legacy, apart in (('true', np.maximum(2 - square, 0)),
                          ('false', np.maximum(2 - np.sqrt(square), 0) ** 2)):
        made = one('ContrastiveLoss', 'contrastive_loss_param { margin: 2 legacy_version: %s }' %
                   legacy, {'a': a, 'b': b, 's': s})
        close('contrastive', value(made), (s * square + (1 - s) * apart).sum() / 10)
    t = rng.randint(0, 3, 5)
    sign = 1 - 2 * np.eye(3)[t]
    margin = np.maximum(0, 1 + sign * a)
    for norm, terms, slope in (('L1', margin, sign * (margin > 0)),
                               ('L2', margin ** 2, 2 * sign * margin)):
        made = one('HingeLoss', 'hinge_loss_param { norm: %s }' % norm, {'x': a, 't': t})
        close('hinge', value(made), terms.sum() / 5)
        close('hinge gradient', gradient(made), slope / 5)
    made = one('MultinomialLogisticLoss', '', {'x': [[0.2, 0.8, 0], [1e-25, 0.5, 0.5]],
                                               't': [1, 0]})
    close('least probability', value(made), -(np.log(0.8) + np.log(1e-20)) / 2)
    made = one('EuclideanLoss', '', {'x': a, 't': b})
    close('euclidean', value(made), square.sum() / 10)
    close('euclidean gradient', gradient(made, 't'), (b - a) / 5)


@case
def accuracy(rng):
    x = np.array([[1, 1, 0, 0], [2, 1, 1, 0], [0, 0, 0, 0], [3, 2, 1, 0]])
    t = np.array([0, 2, 1, 3])
    for k in (1, 2, 3):  # a score that equals the label's counts as better
        made = one('Accuracy', 'accuracy_param { top_k: %d }' % k, {'x': x, 't': t}, ('y', 'z'),
                   force=False)
        right = (x >= x[range(4), t][:, None]).sum(1) - 1 < k
        close('top %d' % k, value(made), right.mean())
        close('each class', value(made, 'z'), right[np.argsort(t)])
    x, t = rng.normal(0, 1, (2, 3, 4, 2)), rng.randint(0, 4, (2, 3, 2))
    made = one('Accuracy', 'accuracy_param { axis: 2 ignore_label: 3 }', {'x': x, 't': t},
               ('y', 'z'), force=False)
    right = x.argmax(2) == t
    close('axis', value(made), right[t != 3].mean())
    close('each class', value(made, 'z'), [right[t == c].mean() for c in range(3)] + [0])


@case
def arg_max(rng):
    x = rng.normal(0, 1, (3, 4, 5))
    for axis, values, k in itertools.product((None, 0, 1, 2, -1), (False, True), (1, 2)):
        made = one('ArgMax', 'argmax_param { %s out_max_val: %s top_k: %d }' % (
            '' if axis is None else 'axis: %d' % axis, str(values).lower(), k), {'x': x},
                   force=False)
        flat, along = (x.reshape(3, -1), 1) if axis is None else (x, axis)
        order = np.argsort(-flat, along).take(range(k), along)
        best = np.take_along_axis(flat, order, along)
        if axis is None:
            want = np.stack([order, best], 1) if values else order[:, None]
        else:
            want = best if values else order
        close('axis %s, %d' % (axis, k), value(made), want)


# ---- elementwise -------------------------------------------------------------------------------

@case
def eltwise(rng):
    rows = {'a': [[1, 2, 3, 3]], 'b': [[1, 3, 2, 3]], 'c': [[1, 3, 4, 3]]}
    made = one('Eltwise', 'eltwise_param { operation: MAX }', rows)
    close('ties, first', gradient(made, 'a', y=np.ones((1, 4))), np.zeros((1, 4)))
    close('ties, second', np.array(made.blobs['b'].diff), [[1, 1, 0, 1]])
    close('ties, third', np.array(made.blobs['c'].diff), [[0, 0, 1, 0]])
    a, b = np.array([[0, 2, 3.]]), np.array([[5, 0, 2.]])
    made = one('Eltwise', 'eltwise_param { operation: MAX coeff: 2 coeff: -3 }',
               {'a': a, 'b': b})
    close('MAX has no coeff', value(made), np.maximum(a, b))
    close('nor its gradient', gradient(made, 'a', y=np.ones((1, 3))), a > b)
    made = one('Eltwise', 'eltwise_param { operation: PROD }', {'a': a, 'b': b})
    close('through 0', gradient(made, 'a', y=np.ones((1, 3))), b)
    made = one('Eltwise', 'eltwise_param { operation: PROD stable_prod_grad: false }',
               {'a': a + 1, 'b': b + 1})
    close('by division', gradient(made, 'a', y=np.ones((1, 3))), b + 1)


@case
def neurons(rng):
    x = np.array([[-80, -51, -3, 0, 2, 51, 90.]])
    ones = np.ones_like(x)
    made = one('BNLL', '', {'x': x})
    close('BNLL', value(made), np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))))
    made = one('Dropout', 'dropout_param { dropout_ratio: 1 }', {'x': x}, phase=deepnet.TEST)
    close('Dropout of all, TEST', value(made), x)
    made = one('ELU', 'elu_param { alpha: 0.7 }', {'x': x})
    close('ELU', value(made), np.where(x > 0, x, 0.7 * np.expm1(np.minimum(x, 0))))
    made = one('Threshold', 'threshold_param { threshold: 2 }', {'x': x}, force=False)
    close('Threshold', value(made), x > 2)
    made = one('Clip', 'clip_param { min: -3 max: 2 }', {'x': x})
    close('Clip', value(made), np.clip(x, -3, 2))
    close('Clip, gradient', gradient(made, y=ones), (x >= -3) & (x <= 2))
    made = one('ReLU', 'relu_param { negative_slope: 0.1 }', {'x': x})
    close('ReLU, gradient', gradient(made, y=ones), np.where(x > 0, 1, 0.1))
    made = one('AbsVal', '', {'x': x})
    close('AbsVal, gradient', gradient(made, y=ones), np.sign(x))
    x = rng.uniform(0.5, 2, (2, 3))
    for p, s, h in ((0, 2, 1), (1, 0, 3), (2, 1, 0), (-1.5, 2, 1), (0.5, 0, 4), (3, -1, 4)):
        made = one('Power', 'power_param { power: %g scale: %g shift: %g }' % (p, s, h), {'x': x})
        close('Power', value(made), (h + s * x) ** p)
        close('Power, gradient', gradient(made, y=np.ones_like(x)),
              p * s * (h + s * x) ** (p - 1))
    for base, s, h in ((-1, 1, 0), (2, 3, 0.5), (-1, 0.5, 1), (10, 1, 2)):
        params = '{ base: %g scale: %g shift: %g }' % (base, s, h)
        b = math.e if base == -1 else base
        close('Exp', value(one('Exp', 'exp_param ' + params, {'x': x})), b ** (h + s * x))
        close('Log', value(one('Log', 'log_param ' + params, {'x': x})),
              np.log(h + s * x) / np.log(b))


@case
def scale_and_bias(rng):
    x = rng.normal(0, 1, (2, 3, 4, 5))
    fill = 'filler { type: "gaussian" std: 1 } bias_filler { type: "gaussian" std: 1 }'
    for axis, axes, shape in ((1, 1, (3,)), (0, -1, (2, 3, 4, 5)), (2, 2, (4, 5)), (0, 1, (2,)),
                              (0, 0, ()), (-1, 1, (5,)), (1, -1, (3, 4, 5)), (3, 0, ())):
        made = one('Scale', 'scale_param { axis: %d num_axes: %d bias_term: true %s }' % (
            axis, axes, fill), {'x': x})
        w, b = (np.array(blob.data) for blob in made.params['l'])
        assert w.shape == b.shape == shape, w.shape
        whole = (1,) * (axis % 4 if shape else 0) + shape
        whole += (1,) * (4 - len(whole))
        close('axis %d' % axis, value(made), x * w.reshape(whole) + b.reshape(whole))
    for kind, (axis, shape) in itertools.product(('Scale', 'Bias'), (
            (1, (3,)), (0, (2,)), (0, (2, 3)), (1, (3, 4)), (-2, (4, 5)), (0, ()))):
        s = rng.normal(0, 1, shape)
        made = one(kind, '%s_param { axis: %d }' % (kind.lower(), axis), {'x': x, 's': s})
        first = axis % 4
        whole = s.reshape((1,) * first + shape + (1,) * (4 - first - len(shape)))
        close('two bottoms', value(made), x * whole if kind == 'Scale' else x + whole)
        others = tuple(i for i in range(4) if not first <= i < first + len(shape))
        close('gradient', gradient(made, 's', y=np.ones_like(x)),
              (x if kind == 'Scale' else np.ones_like(x)).sum(others))


# ---- sums, moments, shapes ---------------------------------------------------------------------

@case
def reduction(rng):
    x = rng.normal(0, 1, (3, 4, 5))
    for name, sums in (('SUM', lambda v: v.sum(-1)), ('ASUM', lambda v: np.abs(v).sum(-1)),
                       ('SUMSQ', lambda v: (v * v).sum(-1)), ('MEAN', lambda v: v.mean(-1))):
        for axis in (0, 1, 2, -1, -3):
            made = one('Reduction', 'reduction_param { operation: %s axis: %d coeff: 0.5 }' % (
                name, axis), {'x': x})
            close(name, value(made), 0.5 * sums(x.reshape(*x.shape[:axis % 3], -1)))


@case
def moments(rng):
    x = rng.normal(1, 2, (2, 3, 4, 5))
    for axes, divided in itertools.product(((1, 2, 3), (2, 3)), ('true', 'false')):
        made = one('MVN', 'mvn_param { across_channels: %s normalize_variance: %s eps: 0.01 }' % (
            'true' if len(axes) == 3 else 'false', divided), {'x': x})
        y = x - x.mean(axes, keepdims=True)
        deviation = np.sqrt((y * y).mean(axes, keepdims=True)) + 0.01
        close('MVN', value(made), y / deviation if divided == 'true' else y)
    made = one('BatchNorm', 'batch_norm_param { moving_average_fraction: 0.9 eps: 0.01 }',
               {'x': x})
    made.forward()
    mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3))
    lift = (slice(None), None, None)
    close('BatchNorm', value(made), (x - mean[lift]) / np.sqrt(variance + 0.01)[lift])
    stored = [np.array(blob.data) for blob in made.params['l']]
    close('stored', np.concatenate(stored),
          np.concatenate([1.9 * mean, 1.9 * variance * 40 / 39, [1.9]]))


@case
def crop(rng):
    x = rng.normal(0, 1, (4, 5, 6, 7))
    for axis, offsets, like in ((2, [1, 2], (4, 5, 3, 4)), (1, [2], (4, 2, 3, 4)),
                                (-1, [3], (9, 9, 9, 2)), (0, [1, 0, 2, 1], (2, 3, 3, 4)),
                                (2, [], (4, 5, 3, 4))):
        made = one('Crop', 'crop_param { axis: %d %s }' % (
            axis, ' '.join('offset: %d' % o for o in offsets)), {'x': x, 'r': np.zeros(like)})
        cut = [slice(None)] * 4
        for i in range(axis % 4, 4):
            start = (offsets or [0])[i - axis % 4 if len(offsets) > 1 else 0]
            cut[i] = slice(start, start + like[i])
        close('axis %d' % axis, value(made), x[tuple(cut)])


@case
def shapes(rng):
    x = rng.normal(0, 1, (4, 6, 5))
    made = one('Slice', 'slice_param { slice_dim: 1 slice_point: 1 slice_point: 4 }', {'x': x},
               ('a', 'b', 'c'))
    close('slice_dim', value(made, 'b'), x[:, 1:4])
    made = one('Concat', 'concat_param { concat_dim: 0 }', {'x': x, 'z': 2 * x})
    close('concat_dim', value(made), np.concatenate([x, 2 * x]))
    made = one('Flatten', 'flatten_param { axis: 0 end_axis: -2 }', {'x': x})
    close('end_axis', value(made), x.reshape(24, 5))
    made = one('Reshape', 'reshape_param { shape { dim: 2 dim: -1 } axis: 1 num_axes: 1 }',
               {'x': x})
    close('axis', value(made), x.reshape(4, 2, 3, 5))
    made = one('Reshape', 'reshape_param { shape { dim: 1 dim: 1 } axis: -1 num_axes: 0 }',
               {'x': x})
    close('at the end', value(made), x[..., None, None])
    made = one('Tile', 'tile_param { axis: -1 tiles: 3 }', {'x': x})
    close('tile', value(made), np.tile(x, (1, 1, 3)))
    made = one('InnerProduct', 'inner_product_param { num_output: 3 axis: -1 transpose: true '
               'weight_filler { type: "gaussian" std: 1 } }', {'x': x})
    close('transposed', value(made), x @ made.params['l'][0].data)
    at = np.array([3, 3, 0, 1, 3])
    made = one('BatchReindex', '', {'x': x, 'i': at})
    close('reindexed', value(made), x[at])
    close('gradient', gradient(made, y=np.ones((5, 6, 5)))[:, 0, 0], [1, 1, 0, 3])


# ---- recurrent ---------------------------------------------------------------------------------

FILL = 'weight_filler { type: "gaussian" std: 0.5 } bias_filler { type: "gaussian" std: 0.5 }'


@case
def lstm(rng):
    T, N, D = 4, 2, 5
    for static in (False, True):
        x, xs = rng.normal(0, 1, (T, N, 3)), rng.normal(0, 1, (N, 6))
        h, c = rng.normal(0, 1, (2, N, D))
        goes_on = np.ones((T, N))
        goes_on[0, 0] = goes_on[2, 1] = 0
        inputs = {'x': x, 'c': goes_on, **({'s': xs} if static else {}), 'h0': h[None],
                  'c0': c[None]}
        made = one('LSTM', 'recurrent_param { num_output: 5 expose_hidden: true %s }' % FILL,
                   inputs, ('y', 'hT', 'cT'))
        w, b, *ws, u = (np.array(blob.data) for blob in made.params['l'])
        y = []
        for t in range(T):
            h = h * goes_on[t][:, None]
            gates = x[t] @ w.T + b + h @ u.T + (xs @ ws[0].T if static else 0)
            i, f, o, g = np.split(gates, 4, 1)
            c = goes_on[t][:, None] * sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
            y.append(h)
        close('top', value(made), np.stack(y))
        close('hidden', value(made, 'hT'), h[None])
        close('cell', value(made, 'cT'), c[None])
        d, ends = rng.normal(0, 1, (T, N, D)), rng.normal(0, 1, (2, 1, N, D))
        alone = gradient(made, 'x', y=d, hT=0 * ends[0], cT=0 * ends[1])
        close('gradients of the ends', gradient(made, 'x', y=d, hT=ends[0], cT=ends[1]), alone)
        for state in ('h0', 'c0'):
            close('gradient of ' + state, np.array(made.blobs[state].diff), np.zeros((1, N, D)))


@case
def rnn(rng):
    x, goes_on = rng.normal(0, 1, (4, 2, 3)), np.ones((4, 2))
    goes_on[0] = goes_on[2, 1] = 0
    made = one('RNN', 'recurrent_param { num_output: 5 %s }' % FILL, {'x': x, 'c': goes_on})
    w, b, u, v, d = (np.array(blob.data) for blob in made.params['l'])
    h, y = np.zeros((2, 5)), []
    for t in range(4):
        h = np.tanh(x[t] @ w.T + b + (h * goes_on[t][:, None]) @ u.T)
        y.append(np.tanh(h @ v.T + d))
    close('top', value(made), np.stack(y))
    inputs = {'x': x, 'c': np.ones((4, 2)), 'h0': rng.normal(0, 1, (1, 2, 5))}
    made = one('RNN', 'recurrent_param { num_output: 5 expose_hidden: true %s }' % FILL, inputs,
               ('y', 'hT'))
    d, end = rng.normal(0, 1, (4, 2, 5)), rng.normal(0, 1, (1, 2, 5))
    alone = gradient(made, 'x', y=d, hT=0 * end)
    close('gradient of the end', gradient(made, 'x', y=d, hT=end), alone)
    close('gradient of h0', np.array(made.blobs['h0'].diff), 0 * end)


if __name__ == '__main__':
    sys.exit(main(*sys.argv[1:]))
