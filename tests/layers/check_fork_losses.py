#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""check_fork_losses.py [SOURCE [NAME]...]: layers of the forks against numpy written from
their definitions, and where the gradient is a rule of their own, against that rule:
losses, products with margins, measures."""
import itertools
import sys

import numpy as np

import deepnet
from oracle import case, close, main, net, sigmoid, softmax


@case
def softmax_with_loss_ohem(rng):
    x, t = rng.normal(0, 1, (6, 4, 2, 3)), rng.randint(0, 4, (6, 1, 2, 3))
    t[rng.uniform(size=t.shape) < 0.2] = -1
    made = net("layer { name: 'l' type: 'SoftmaxWithLossOHEM' bottom: 'x' bottom: 't' top: 'y' "
               "top: 'p' top: 'e' loss_weight: 1 loss_weight: 0 loss_weight: 0 loss_param { "
               "ignore_label: -1 normalization: PRE_FIXED pre_fixed_normalizer: 9 } }",
               {'x': x, 't': t})
    made.forward()
    p = softmax(x, 1)
    e = -np.log(np.take_along_axis(p, np.maximum(t, 0), 1)) * (t >= 0)
    close('probabilities', made.blobs['p'].data, p)
    close('losses', made.blobs['e'].data, e)
    close('loss', made.blobs['y'].data, e.sum() / 9)


@case
def smooth_l1_loss_ohem(rng):
    a, b, w = rng.normal(0, 1, (3, 5, 4, 2, 3))
    made = net("layer { name: 'l' type: 'SmoothL1LossOHEM' bottom: 'a' bottom: 'b' bottom: 'w' "
               "top: 'y' top: 'e' loss_weight: 1 loss_weight: 0 }", {'a': a, 'b': b, 'w': w})
    made.forward()
    d = np.abs(w * (a - b))
    f = np.where(d < 1, d ** 2 / 2, d - 0.5)
    close('losses', made.blobs['e'].data, f.sum(1, keepdims=True))
    close('loss', made.blobs['y'].data, f.sum() / 30)


@case
def center_loss(rng, l1=False):
    x, t, c = rng.normal(0, 1, (6, 3, 2)), rng.randint(0, 4, 6), rng.normal(0, 1, (4, 6))
    made = net("layer { name: 'l' type: 'CenterLoss' bottom: 'x' bottom: 't' top: 'y' "
               "loss_weight: 0.5 center_loss_param { num_output: 4 distance_type: '%s' } }"
               % ('L1' if l1 else 'L2'), {'x': x, 't': t})
    made.params['l'][0].data[...] = c
    made.forward()
    d = x.reshape(6, 6) - c[t]
    close('loss', made.blobs['y'].data, np.abs(d).sum() / 6 if l1 else (d ** 2).sum() / 12)
    made.backward()
    d = np.sign(d) if l1 else d
    close('gradient of x', made.blobs['x'].diff, 0.5 * d.reshape(x.shape) / 6)
    want = np.array([-d[t == k].sum(0) / (1 + (t == k).sum()) for k in range(4)])
    close('gradient of the centres', made.params['l'][0].diff, want)


@case
def center_loss_l1(rng):
    center_loss(rng, l1=True)


@case
def face_product(rng):
    """happynear's InnerProduct with normalize: the weight itself is divided by its rows' lengths
    in TRAIN, and its gradient is that of the weight that is then there."""
    x, w, dy = rng.normal(0, 1, (5, 6)), rng.normal(0, 2, (4, 6)), rng.normal(0, 1, (5, 4))
    unit = w / np.sqrt((w * w).sum(1, keepdims=True) + 1e-6)
    for phase in (deepnet.TRAIN, deepnet.TEST):
        made = net("layer { name: 'l' type: 'InnerProduct' bottom: 'x' top: 'y' "
                   "inner_product_param { num_output: 4 normalize: true bias_term: false } }",
                   {'x': x}, phase)
        made.params['l'][0].data[...] = w
        made.forward()
        close('top', made.blobs['y'].data, x @ unit.T)
        close('weight', made.params['l'][0].data, unit if phase == deepnet.TRAIN else w)
        if phase == deepnet.TEST:
            continue
        made.backward(y=dy)
        close('gradient of x', made.blobs['x'].diff, dy @ unit)
        close('gradient of the weight', made.params['l'][0].diff, dy.T @ x)


def margin(kind, x, w, label, dy, lam):
    """SphereFace's margin_inner_product_layer, item by item: top, and what flows to x."""
    w = w / np.sqrt((w * w).sum(1, keepdims=True))
    y, dx = x @ w.T, dy @ w
    for i, k in enumerate(label):
        n = np.sqrt((x[i] ** 2).sum())
        c = y[i, k] / n
        s0 = np.sign(c)
        if kind == 'DOUBLE':
            f, cw, cx = 2 * s0 * c ** 2 - 1, 4 * s0 * c, -(2 * s0 * c ** 2 + 1) / n
        elif kind == 'TRIPLE':
            s1 = np.sign(abs(c) - 0.5)
            s2 = s0 * (1 + s1) - 2
            f = s1 * (4 * c ** 3 - 3 * c) + s2
            cw, cx = s1 * (12 * c ** 2 - 3), -(8 * s1 * c ** 3 - s2) / n
        else:
            s3 = s0 * np.sign(2 * c ** 2 - 1)
            s4 = 2 * s0 + s3 - 3
            f = s3 * (8 * c ** 4 - 8 * c ** 2 + 1) + s4
            cw, cx = s3 * (32 * c ** 3 - 16 * c), -(s3 * (24 * c ** 4 - 8 * c ** 2 - 1) - s4) / n
        norm = np.sqrt(cw ** 2 + cx ** 2)
        dx[i] += dy[i, k] / (1 + lam) * (cw / norm * w[k] + cx / norm * x[i] + lam * w[k]) - \
            dy[i, k] * w[k]
        y[i, k] = (n * f + lam * y[i, k]) / (1 + lam)
    return y, dx, w


@case
def margin_inner_product(rng):
    x, label, dy = rng.normal(0, 1, (40, 3)), rng.randint(0, 5, 40), rng.normal(0, 1, (40, 5))
    for kind in ('DOUBLE', 'TRIPLE', 'QUADRUPLE'):
        w = rng.normal(0, 2, (5, 3))
        made = net("layer { name: 'l' type: 'MarginInnerProduct' bottom: 'x' bottom: 't' top: 'y' "
                   "top: 'lambda' margin_inner_product_param { num_output: 5 type: %s base: 9 "
                   "gamma: 0.5 power: 2 lambda_min: 1.5 iteration: 1 } }" % kind,
                   {'x': x, 't': label})
        made.params['l'][0].data[...] = w
        for lam in (9 / 4, 1.5):
            made.forward()
            y, dx, unit = margin(kind, x, w, label, dy, lam)
            close('lambda', made.blobs['lambda'].data, [lam])
            close('top of ' + kind, made.blobs['y'].data, y)
            close('weight', made.params['l'][0].data, unit)
        made.backward(y=dy, **{'lambda': [0]})
        close('gradient of x, ' + kind, made.blobs['x'].diff, dx)
        close('gradient of the weight', made.params['l'][0].diff, dy.T @ x)
    made.blobs['t'].data[3] = 1e9
    try:
        made.backward(y=dy, **{'lambda': [0]})
        raise AssertionError('a label that is no column')
    except deepnet.DataError as error:
        assert 'index 1000000000 of item 3 is outside the 5 rows' in str(error), error


@case
def large_margin(rng):
    """L-Softmax: as `margin`, but for the lengths of the rows, from which the weight gets more."""
    x, label, dy = rng.normal(0, 1, (40, 3)), rng.randint(0, 5, 40), rng.normal(0, 1, (40, 5))
    for kind in ('SINGLE', 'DOUBLE', 'TRIPLE', 'QUADRUPLE'):
        w = rng.normal(0, 2, (5, 3))
        made = net("layer { name: 'l' type: 'LargeMarginInnerProduct' bottom: 'x' bottom: 't' top: "
                   "'y' top: 'lambda' largemargin_inner_product_param { num_output: 5 type: %s base: 9 "
                   "gamma: 0.5 power: 2 lambda_min: 1.5 } }" % kind, {'x': x, 't': label})
        made.params['l'][0].data[...] = w
        made.forward()
        lam, y, dx, dw = 4, x @ w.T, dy @ w, dy.T @ x
        for i, k in enumerate(label if kind != 'SINGLE' else ()):
            n, m = np.sqrt((x[i] ** 2).sum()), np.sqrt((w[k] ** 2).sum())
            c = y[i, k] / (n * m)
            a = np.arccos(c)
            times = {'DOUBLE': 2, 'TRIPLE': 3, 'QUADRUPLE': 4}[kind]
            fold = int(a * times / np.pi)
            f = (-1) ** fold * np.cos(times * a) - 2 * fold
            slope = (-1) ** fold * times * np.sin(times * a) / np.sin(a)
            part = dy[i, k] / (1 + lam)
            dx[i] += part * (slope * w[k] + m / n * (f - c * slope) * x[i] - w[k])
            dw[k] += part * (slope * x[i] + n / m * (f - c * slope) * w[k] - x[i])
            y[i, k] = (n * m * f + lam * y[i, k]) / (1 + lam)
        close('lambda', made.blobs['lambda'].data, [lam])
        close('top of ' + kind, made.blobs['y'].data, y)
        made.backward(y=dy, **{'lambda': [0]})
        close('gradient of x, ' + kind, made.blobs['x'].diff, dx)
        close('gradient of the weight', made.params['l'][0].diff, dw)
        made.params['l'][0].data[...] = 0  # as without a weight_filler: no length has a slope
        made.blobs['x'].data[...] = 20 * x
        made.forward()
        made.backward(y=dy, **{'lambda': [0]})
        assert np.isfinite(made.params['l'][0].diff).all(), 'rows of zeros, ' + kind


@case
def focal_loss(rng):
    x = rng.normal(0, 2, (3, 4, 2, 5))
    label = rng.randint(-1, 4, (3, 2, 5))
    p = softmax(x, 1)
    at = np.take_along_axis(p, np.maximum(label, 0)[:, None], 1)[:, 0]
    counts = label >= 0
    one_hot = np.moveaxis(np.eye(4)[np.maximum(label, 0)], 3, 1)
    for kind, given, alpha, gamma, norm in (
            ('FocalLoss', 'loss_param { ignore_label: -1 }', 0.25, 2, counts.sum()),
            ('FocalLoss', 'loss_param { ignore_label: -1 normalize: false } focal_loss_param { alpha: 0.75 '
             'gamma: 1.5 type: ORIGIN }', 0.75, 1.5, 3),
            ('SoftmaxFocalLoss', 'loss_param { ignore_label: -1 normalization: FULL } focal_loss_param { '
             'gama: 0 alpha: 1 }', 1, 0, 30)):
        made = net("layer { name: 'l' type: '%s' bottom: 'x' bottom: 't' top: 'y' top: 'p' "
                   "loss_weight: 2 loss_weight: 0 %s }" % (kind, given), {'x': x, 't': label})
        made.forward()
        q, log = 1 - at, np.log(at)
        close('loss', made.blobs['y'].data, -alpha / norm * (counts * q ** gamma * log).sum())
        close('probabilities', made.blobs['p'].data, p)
        made.backward()
        g = -2 * alpha / norm * counts * (q ** gamma - gamma * at * q ** (gamma - 1) * log)
        close('gradient', made.blobs['x'].diff, g[:, None] * (one_hot - p))
    made = net("layer { name: 'l' type: 'FocalLoss' bottom: 'x' bottom: 't' top: 'y' loss_param { "
               "ignore_label: -1 } }", {'x': x, 't': np.full((3, 2, 5), -1)})
    made.forward()
    close('nothing counts', made.blobs['y'].data, 0)
    made.backward()
    close('gradient of nothing', made.blobs['x'].diff, np.zeros(x.shape))


@case
def eltwise_accuracy(rng):
    """DeconvNet's, in the older language, too."""
    x, t = rng.normal(0, 1, (2, 4, 5, 6)), rng.randint(0, 4, (2, 1, 5, 6)).astype('f8')
    t[rng.uniform(0, 1, t.shape) < 0.2] = 255
    best = np.argsort(-x, 1)
    inputs = ''.join("input: '%s' input_shape { %s } " % (name, ' '.join('dim: %d' % d for d in v.shape))
                     for name, v in (('x', x), ('t', t)))
    for text in "layer { type: 'EltwiseAccuracy' %s }", "layers { type: ELTWISE_ACCURACY %s }":
        for k in 1, 2:
            made = deepnet.Net(None, deepnet.TEST, text=inputs + text % (
                "name: 'l' bottom: 'x' bottom: 't' top: 'y' eltwise_accuracy_param { top_k: %d "
                "ignore_label: 255 }" % k))
            made.blobs['x'].data[...], made.blobs['t'].data[...] = x, t
            made.forward()
            close(text, made.blobs['y'].data, (best[:, :k] == t).any(1)[t[:, 0] != 255].mean())


@case
def sigmoid_loss_with_weights(rng):
    """MNC: the mean by weights, or their sum where the weights add up to nothing."""
    x, t = rng.normal(0, 3, (3, 4, 5)), rng.randint(0, 2, (3, 4, 5)) * 0.9
    w = rng.uniform(0, 2, (3, 4, 5))
    w[1], x[2, 0, 0] = 0, 100
    made = net("layer { name: 'l' type: 'SigmoidCrossEntropyLoss' bottom: 'x' bottom: 't' "
               "bottom: 'w' top: 'y' loss_weight: 3 }", {'x': x, 't': t, 'w': w})
    for w, z in ((w, w.sum()), (w * 0, 1), (w - w.mean() - 1, 1)):
        made.blobs['w'].data[...] = w
        made.forward()
        terms = np.maximum(x, 0) - x * t + np.log1p(np.exp(-abs(x)))
        close('loss', made.blobs['y'].data, (w * terms).sum() / z)
        made.backward()
        close('gradient', made.blobs['x'].diff, 3 * w * (1 / (1 + np.exp(-x)) - t) / z)


@case
def multi_label_loss(rng):
    """Labels say yes, no or nothing; in the older language too."""
    x, t = rng.normal(0, 2, (3, 4, 2)), rng.randint(-2, 3, (3, 4, 2)).astype('f8')
    inputs = ''.join("input: '%s' input_shape { dim: 3 dim: 4 dim: 2 } " % name for name in 'xt')
    for text in "layer { type: 'MultiLabelLoss' %s }", "layers { type: MULTI_LABEL_LOSS %s }":
        made = deepnet.Net(None, deepnet.TRAIN, text='force_backward: true ' + inputs + text % (
            "name: 'l' bottom: 'x' bottom: 't' top: 'y' loss_weight: 2"))
        made.blobs['x'].data[...], made.blobs['t'].data[...] = x, t
        made.forward()
        p = sigmoid(x)
        close('loss', made.blobs['y'].data,
              -np.where(t > 0, np.log(p), np.log(1 - p))[t != 0].sum() / 3)
        made.backward()
        close('gradient', made.blobs['x'].diff, 2 / 3 * (p - (t > 0)) * (t != 0))


@case
def weighted_softmax_with_loss(rng):
    x, t = rng.normal(0, 1, (3, 4, 2, 3)), rng.randint(0, 4, (3, 1, 2, 3))
    t[rng.uniform(size=t.shape) < 0.2] = 9
    for params, label, times in (('', 1, 1), ('softmax_param { pos_mult: 2.5 }', 1, 2.5),
                                 ('softmax_param { pos_cid: 3 pos_mult: 0.5 }', 3, 0.5)):
        made = net("layer { name: 'l' type: 'WeightedSoftmaxWithLoss' bottom: 'x' bottom: 't' top: "
                   "'y' loss_weight: 2 loss_param { ignore_label: 9 } %s }" % params,
                   {'x': x, 't': t})
        made.forward()
        p, known = softmax(x, 1), t != 9
        w = np.where(t == label, times, 1) * known / known.sum()
        hit = np.arange(4)[None, :, None, None] == t
        close('loss' + params, made.blobs['y'].data, -(w * hit * np.log(p)).sum())
        made.backward()
        close('gradient' + params, made.blobs['x'].diff, 2 * w * (p - hit))
    made = net("layer { name: 'l' type: 'WeightedSoftmaxWithLoss' bottom: 'x' bottom: 't' top: 'y' "
               "softmax_param { axis: 1 } }", {'x': x[:, :1], 't': np.zeros((3, 1, 2, 3))})
    made.forward()  # one class, which pos_cid does not name
    close('loss of one class', made.blobs['y'].data, 0)


@case
def weighted_euclidean_loss(rng):
    a, b, w = rng.normal(0, 1, (3, 4, 3, 2))
    made = net("layer { name: 'l' type: 'WeightedEuclideanLoss' bottom: 'a' bottom: 'b' bottom: 'w' "
               "top: 'y' loss_weight: 3 }", {'a': a, 'b': b, 'w': w})
    made.forward()
    close('loss', made.blobs['y'].data, (w * (a - b) ** 2).sum() / 8)
    made.backward()
    for name, want in (('a', w * (a - b)), ('b', w * (b - a)), ('w', (a - b) ** 2 / 2)):
        close('gradient of ' + name, made.blobs[name].diff, 3 * want / 4)


@case
def dice_coef_loss(rng):
    a, b = rng.normal(0, 1, (3, 2, 4)), rng.normal(0, 1, (3, 2, 4))
    made = net("layer { name: 'l' type: 'DiceCoefLoss' bottom: 'a' bottom: 'b' top: 'y' "
               "loss_weight: 0.5 }", {'a': a, 'b': b})
    made.forward()
    sums = lambda v: v.sum((1, 2), keepdims=True)
    size = sums(a * a) + sums(b * b) + 1
    r = (2 * sums(a * b) + 1) / size
    close('loss', made.blobs['y'].data, 1 - r.mean())
    made.backward()
    close('gradient of a', made.blobs['a'].diff, (r * a - b) / size)
    close('gradient of b', made.blobs['b'].diff, (r * b - a) / size)


@case
def label_sequences(rng):
    """What CRNN's nets are measured by."""
    reads = [[3, 1, 1, 3, 1, 0], [3, 3, 3, 3, 3, 3], [2, 2, 0, 3, 0, 0], [0, 1, 2, 3, 3, 3], [1, 3, 2, 3, 3, 3]]
    labels = [[1, 1, 0, 3], [3, 3, 3, 3], [3, 2, 0, 0], [0, 1, 2, 0], [1, 3, 3, 3]]
    x = rng.uniform(0, 1, (5, 6, 4))
    np.put_along_axis(x, np.array(reads)[:, :, None], 2, 2)
    made = net("layer { name: 'l' type: 'LabelsequenceAccuracy' bottom: 'x' bottom: 't' top: 'y' "
               "labelsequence_accuracy_param { blank_label: 3 } }", {'x': x, 't': labels})
    made.forward()
    close('share', made.blobs['y'].data, 3 / 5)


@case
def label_specific_add(rng):
    x, label = rng.normal(0, 1, (9, 4)), rng.randint(0, 4, 9)
    for phase in (deepnet.TRAIN, deepnet.TEST):
        made = net("layer { name: 'l' type: 'LabelSpecificAdd' bottom: 'x' bottom: 't' top: 'y' "
                   "label_specific_add_param { bias: -0.35 } }", {'x': x, 't': label}, phase)
        made.forward()
        on = (np.arange(4) == label[:, None]) & (x > 0.35) & (phase == deepnet.TRAIN)
        close('top', made.blobs['y'].data, x - 0.35 * on)
    made = net("layer { name: 'l' type: 'LabelSpecificAdd' bottom: 'x' bottom: 't' top: 'y' top: 'b' "
               "label_specific_add_param { iteration: 2 bias_base: -0.1 bias_gamma: -0.05 bias_power: 2 "
               "bias_min: -0.36 } }", {'x': x, 't': label})
    for i in (2, 3, 4):
        made.forward()
        bias = max(-0.1 + (1 - 0.05 * i) ** 2 - 1, -0.36)
        on = (np.arange(4) == label[:, None]) & (x > -bias)
        close('bias', made.blobs['b'].data, [bias])
        close('top', made.blobs['y'].data, x + bias * on)


@case
def triplet_loss(rng):
    a, p, n = rng.normal(0, 1, (3, 20, 6))
    made = net("layer { name: 'l' type: 'TripletLoss' bottom: 'a' bottom: 'p' bottom: 'n' top: 'y' "
               "loss_weight: 3 triplet_loss_param { margin: 2 } }", {'a': a, 'p': p, 'n': n})
    made.forward()
    each = 2 + ((a - p) ** 2).sum(1) - ((a - n) ** 2).sum(1)
    close('loss', made.blobs['y'].data, np.maximum(0, each).sum() / 40)
    made.backward()
    on = 3 / 20 * (each > 0)[:, None]
    for name, want in (('a', n - p), ('p', p - a), ('n', a - n)):
        close('gradient of ' + name, made.blobs[name].diff, on * want)


@case
def ctc_loss(rng):
    """Against the sum over all paths; the gradient is that of N times the loss, as warp-ctc's."""
    T, N, C, blank, steps = 6, 4, 3, 1, 5
    x = rng.normal(0, 1, (T, N, C))
    labels = np.array([[0, 2, 1], [2, 2, 0], [1, 1, 1], [0, 0, 0]])
    impossible = x.copy()  # a class: throughout, in a step
    impossible[:, 1, 2] = impossible[2, 0, 0] = -np.inf
    for what, x in ('possible', x), ('impossible', impossible):
        cost, grad = np.zeros(N), np.zeros(x.shape)
        for n in range(N):
            p = softmax(x[:steps, n], 1)
            least = np.maximum(p, np.finfo('f4').tiny)
            want, whole, share = [k for k in labels[n] if k != blank], 0, np.zeros((steps, C))
            for path in itertools.product(range(C), repeat=steps):
                short = [k for i, k in enumerate(path)
                         if k != blank and (i == 0 or path[i - 1] != k)]
                if short == want:
                    q = np.prod(least[range(steps), path])
                    whole += q
                    share[range(steps), path] += q
            cost[n] = -np.log(whole)
            grad[:steps, n] = p - share / whole
        made = net("layer { name: 'l' type: 'CtcLoss' bottom: 'x' bottom: 't' top: 'y' "
                   "loss_weight: 2 "
                   "ctc_loss_param { blank_label: 1 alphabet_size: 3 time_step: 5 } }",
                   {'x': x, 't': labels})
        made.forward()
        close(what + ': loss', made.blobs['y'].data, cost.mean())
        made.backward()
        close(what + ': gradient', made.blobs['x'].diff, 2 * grad)
    x = rng.normal(0, 1, (T, N, C))
    made = net("layer { name: 'l' type: 'CtcLoss' bottom: 'x' bottom: 't' top: 'y' "
               "ctc_loss_param { blank_label: 1 } }", {'x': x[:4, 3:], 't': labels[3:]})
    made.forward()
    made.backward()
    close('what does not fit', made.blobs['y'].data, 0)
    close('its gradient', made.blobs['x'].diff, 0 * x[:4, 3:])


@case
def l1_loss_of_places(rng):
    """FlowNet 2's L1Loss, with truths that are not known."""
    a, b = rng.normal(0, 1, (2, 2, 3, 4, 5))
    b[0, :, 1, 2:4] = np.nan
    b[1, 2, 0, 0] = np.nan
    a[1, 1, 1, 1] = b[1, 1, 1, 1]
    known = ~np.isnan(a - b)
    d = np.where(known, a - b, 0)
    for text, places, plateau, entries, power, eps, by in (
            ('', False, 0, False, 0, 0, 1),
            ('plateau: 0.4 normalize_by_num_entries: true', False, 0.4, True, 0, 0, 1),
            ('l2_per_location: true', True, 0, False, 0.5, 0.01, 1),
            ('l2_per_location: true epsilon: 0', True, 0, False, 0.5, 0, 1),
            ('l2_per_location: true plateau: 0.9 epsilon: 0.1 normalize_by_num_entries: true '
             'l2_prescale_by_channels: true power: 0.3', True, 0.9, True, 0.3, 0.1, 3)):
        made = net("layer { name: 'l' type: 'L1Loss' bottom: 'a' bottom: 'b' top: 'y' "
                   'l1_loss_param { %s } }' % text, {'a': a, 'b': b})
        made.forward()
        n = known.sum() / 3 if entries else 2
        if places:
            s = (d ** 2).sum(1, keepdims=True) / by
            kept = s >= plateau ** 2
            s = np.where(kept, s, 0)
            loss = ((s + eps) ** power).sum() / n
            with np.errstate(divide='ignore', invalid='ignore'): # of what is not known: 0 inf
                grad = power * (s + eps) ** (power - 1) * kept * 2 / by * d / n
            grad = np.where(known, grad, 0)
        else:
            kept = known & (np.abs(d) >= plateau)
            loss = np.abs(d[kept]).sum() / n
            grad = np.where(kept, np.where(d > 0, 1, -1), 0) / n
        close('loss, ' + text, made.blobs['y'].data, loss)
        made.backward()
        close('gradient of a, ' + text, made.blobs['a'].diff, grad)
        close('gradient of b, ' + text, made.blobs['b'].diff, -grad)
    made = net("layer { name: 'l' type: 'L1Loss' bottom: 'a' top: 'y' l1_loss_param { } }",
               {'a': a})
    made.forward()
    close('loss of one bottom', made.blobs['y'].data, np.abs(a).sum() / 2)


@case
def segmentation_evaluate(rng):
    x, t = rng.uniform(0, 1, (2, 3, 6, 8)), rng.randint(0, 2, (2, 3, 6, 8))
    t[0, 2] = 0
    made = net("layer { name: 'l' type: 'SegmentationEvaluate' bottom: 'x' bottom: 't' top: 'y' "
               "segmentation_evaluate_param { num_classes: 3 threshold: 0.3 } }",
               {'x': x, 't': t}, force=False)
    made.forward()
    both = ((x[0] > 0.3) & (t[0] > 0.3)).sum((1, 2))
    either = ((x[0] > 0.3) | (t[0] > 0.3)).sum((1, 2))
    close('top', made.blobs['y'].data, (both / either).reshape(1, 1, 1, 3))


@case
def segmentation_evaluate_resized(rng):
    """Halves of a map, at twice and three times its size."""
    x = np.zeros((1, 1, 8, 8))
    x[0, 0, :, :4] = 1
    for size, half in ((16, 8), (24, 12)):
        t = np.zeros((1, 1, size, size))
        t[0, 0, :, half // 2:half] = 1
        made = net("layer { name: 'l' type: 'SegmentationEvaluate' bottom: 'x' bottom: 't' top: "
                   "'y' }", {'x': x, 't': t}, force=False)
        made.forward()
        close('top', made.blobs['y'].data, np.full((1, 1, 1, 1), 0.5))
        made.blobs['x'].reshape(2, 1, 4, 8)  # and of another size
        made.reshape()
        made.blobs['x'].data[...] = x[:, :, :4]
        made.forward()
        close('top again', made.blobs['y'].data, np.full((1, 1, 1, 1), 0.5))


@case
def seg_accuracy(rng):
    x, t = rng.normal(0, 1, (2, 4, 5, 6)), rng.choice([0, 1, 2, 255, 7], (2, 1, 5, 6))
    made = net("layer { name: 'l' type: 'SegAccuracy' bottom: 'x' bottom: 't' top: 'y' "
               "seg_accuracy_param { ignore_label: 255 ignore_label: 7 } }", {'x': x, 't': t},
               force=False)
    made.forward()
    guess, truth = x.argmax(1), t[:, 0]
    guess, truth = guess[truth < 4], truth[truth < 4]
    table = np.array([[((truth == i) & (guess == j)).sum() for j in range(4)] for i in range(4)])
    hits, rows, columns = np.diag(table), table.sum(1), table.sum(0)
    want = [hits.sum() / table.sum(), (hits[:3] / rows[:3]).mean(),
            (hits / (rows + columns - hits)).mean()]
    close('top', made.blobs['y'].data.ravel(), want)
    x = rng.uniform(0, 1, (1, 1, 3, 3))
    made = net("layer { name: 'l' type: 'SegAccuracy' bottom: 'x' bottom: 't' top: 'y' }",
               {'x': x, 't': x > 0.5}, force=False)
    made.forward()
    close('one map', made.blobs['y'].data.ravel(), [1, 1, 1])


if __name__ == '__main__':
    sys.exit(main(*sys.argv[1:]))
