#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""check_forks.py [SOURCE [NAME]...]: layers of the forks against numpy written from their
definitions: what they compute, and where the gradient is a rule of their own, that rule. With
DEEPNET_TEST_MODULE that module, with ref for the rest, computes it."""
import contextlib
import itertools
import os
import sys

import numpy as np

import deepnet

RELATIVE, ABSOLUTE = 2e-4, 2e-5
CASES = {}


def case(function):
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


# ---- YOLO --------------------------------------------------------------------------------------

def cells(x, anchors, classes):
    """(anchor, row, column, values) of one image."""
    A = len(anchors)
    v = x.reshape(A, 5 + classes, *x.shape[1:])
    for a in range(A):
        for i in range(x.shape[1]):
            for j in range(x.shape[2]):
                yield a, i, j, v[a, :, i, j]


def decode(x, anchors, classes, pixels, soft):
    """[score, corners, label] of one image's map; anchors in cells, or pixels a cell."""
    H, W = x.shape[1:]
    for a, i, j, v in cells(x, anchors, classes):
        p = softmax(v[5:], 0) if soft else sigmoid(v[5:])
        w, h = np.exp(v[2:4]) * anchors[a] / [W * pixels, H * pixels]
        yield [sigmoid(v[4]) * p.max(), corners((j + sigmoid(v[0])) / W, (i + sigmoid(v[1])) / H,
                                                w, h), p.argmax()]


def check_detections(made, rows, nms):
    made.forward()
    want = np.array([[0, label + 1, score, *box] for score, box, label in suppress(rows, nms)])
    close('detections', made.blobs['y'].data.reshape(-1, 7), want)


@case
def yolo_detection_output(rng):
    anchors = np.array([[1, 2], [3, 1.5]])
    maps = {'a': rng.normal(0, 1, (1, 16, 4, 5)), 'b': rng.normal(0, 1, (1, 16, 2, 3))}
    made = net("layer { name: 'l' type: 'YoloDetectionOutput' bottom: 'a' bottom: 'b' top: 'y' "
               "yolo_detection_output_param { num_classes: 3 num_box: 2 biases: 1 biases: 2 "
               "biases: 3 biases: 1.5 confidence_threshold: 0.3 nms_threshold: 0.4 } }", maps,
               deepnet.TEST)
    rows = [r for x in maps.values() for r in decode(x[0], anchors, 3, 1, True) if r[0] > 0.3]
    check_detections(made, rows, 0.4)


@case
def yolov3_detection_output(rng):
    anchors = np.array([[20, 40], [60, 30], [10, 12], [14, 9]])
    maps = {'a': rng.normal(0, 1, (1, 16, 3, 2)), 'b': rng.normal(0, 1, (1, 16, 6, 4))}
    made = net("layer { name: 'l' type: 'Yolov3DetectionOutput' bottom: 'a' bottom: 'b' top: 'y' "
               "yolov3_detection_output_param { num_classes: 3 biases: 20 biases: 40 biases: 60 "
               "biases: 30 biases: 10 biases: 12 biases: 14 biases: 9 mask: 0 mask: 1 mask: 2 "
               "mask: 3 mask_group_num: 2 anchors_scale: 32 anchors_scale: 16 "
               "confidence_threshold: 0.4 nms_threshold: 0.5 } }", maps, deepnet.TEST)
    rows = [r for x, group, scale in ((maps['a'], anchors[:2], 32), (maps['b'], anchors[2:], 16))
            for r in decode(x[0], group, 3, scale, False) if r[0] > 0.4]
    check_detections(made, rows, 0.5)


def truths_of(rng, N, T, classes):
    t = np.zeros((N, 1, T, 5))
    for n in range(N):
        for i in range(T - 1 - n):  # the rest are 0: no more boxes
            t[n, 0, i] = [rng.randint(classes), *rng.uniform(0.1, 0.9, 2),
                          *rng.uniform(0.1, 0.6, 2)]
    return t


def best_anchor(shapes, w, h):
    return max(range(len(shapes)),
               key=lambda k: overlap(corners(0, 0, *shapes[k]), corners(0, 0, w, h)))


def check_loss(made, want, g, weight):
    made.forward()
    close('loss', made.blobs['y'].data, want)
    made.backward()
    close('gradient', made.blobs['x'].diff, weight * g)


@case
def yolov3(rng, logic=False, focal=False):
    N, C, H, W, pixels = 2, 3, 4, 5, 16
    anchors = np.array([[10, 20], [40, 30], [25, 25], [60, 50]])
    mask = [1, 3]
    x, t = rng.normal(0, 0.7, (N, 2 * (5 + C), H, W)), truths_of(rng, N, 5, C)
    t[0, 0, 1, 1:] = t[0, 0, 0, 1:]  # two classes of one box
    t[0, 0, 1, 0] = (t[0, 0, 0, 0] + 1) % C
    shapes = anchors / [W * pixels, H * pixels]
    g = np.zeros((N, 2, 5 + C, H, W))
    v = x.reshape(g.shape).copy()
    v[:, :, [0, 1, 4, 5, 6, 7]] = sigmoid(v[:, :, [0, 1, 4, 5, 6, 7]])
    eps = 0 if focal else 0.1
    for n in range(N):
        boxes = [b for b in t[n, 0] if b[3]]
        for a, i, j, _ in cells(x[n], mask, C):
            u = v[n, a, :, i, j]
            box = corners((j + u[0]) / W, (i + u[1]) / H, *np.exp(u[2:4]) * shapes[mask[a]])
            if max(overlap(box, corners(*b[1:])) for b in boxes) <= 0.3:
                g[n, a, 4, i, j] = 0.7 * u[4]
        for label, bx, by, bw, bh in boxes:
            k = best_anchor(shapes, bw, bh)
            if k not in mask:
                continue
            a, i, j = mask.index(k), int(by * H), int(bx * W)
            u, d, label = v[n, a, :, i, j], g[n, a, :, i, j], int(label)
            target = [bx * W - j, by * H - i, *np.log([bw, bh] / shapes[k])]
            d[:4] += 2 * (2 - bw * bh) * (u[:4] - target)
            d[4] = (3 if logic else 1) * (u[4] - 1)
            if d[5 + label]:
                d[5 + label] = 1.5 * (u[5 + label] - 1 + 0.05)
                continue
            scale, p = 1.5, u[5 + label]
            if focal:
                scale *= -0.5 * (1 - p) * (2 * p * np.log(p) + p - 1)
            d[5:] = scale * (u[5:] - ((np.arange(C) == label) * (1 - eps) + eps / 2))
    loss = (g ** 2).sum() / N
    if logic:
        g[:, :, [0, 1, 4, 5, 6, 7]] *= (v * (1 - v))[:, :, [0, 1, 4, 5, 6, 7]]
    name = 'anchors' if logic else 'biases'  # as they were called first
    biases = ' '.join('%s: %g' % (name, b) for b in anchors.ravel())
    made = net("layer { name: 'l' type: 'Yolov3' bottom: 'x' bottom: 't' top: 'y' loss_weight: 2 "
               "yolov3_param { num_class: 3 num: 2 %s mask: 1 mask: 3 anchors_scale: 16 thresh: "
               "0.3 noobject_scale: 0.7 coord_scale: 2 class_scale: 1.5 object_scale: 3 "
               "use_logic_gradient: %s use_focal_loss: %s } }"
               % (biases, str(logic).lower(), str(focal).lower()), {'x': x, 't': t})
    check_loss(made, loss, g.reshape(x.shape) / N, 2)


@case
def yolov3_logic(rng):
    yolov3(rng, logic=True)


@case
def yolov3_focal(rng):
    yolov3(rng, focal=True)


@case
def region_loss(rng, rescore=1, match=1):
    N, C, H, W = 2, 3, 5, 5
    anchors = np.array([[1, 2], [3, 1.5], [2.5, 4]])
    x, t = rng.normal(0, 0.7, (N, 3 * (5 + C), H, W)), truths_of(rng, N, 4, C)
    shapes = anchors / [W, H]
    v = x.reshape(N, 3, 5 + C, H, W).copy()
    v[:, :, [0, 1, 4]] = sigmoid(v[:, :, [0, 1, 4]])
    v[:, :, 5:] = softmax(v[:, :, 5:], 2)
    slope = np.ones_like(v)
    slope[:, :, [0, 1, 4]] = (v * (1 - v))[:, :, [0, 1, 4]]
    g = np.zeros_like(v)
    for n in range(N):
        boxes = [b for b in t[n, 0] if b[3]]
        for a, i, j, _ in cells(x[n], anchors, C):
            u, d, s = v[n, a, :, i, j], g[n, a, :, i, j], slope[n, a, :, i, j]
            box = corners((j + u[0]) / W, (i + u[1]) / H, *np.exp(u[2:4]) * shapes[a])
            if max(overlap(box, corners(*b[1:])) for b in boxes) <= 0.2:
                d[4] = 0.5 * u[4] * s[4]
            d[:4] = 0.01 * (u[:4] - [0.5, 0.5, 0, 0]) * s[:4]
        for label, bx, by, bw, bh in boxes:
            i, j = int(by * H), int(bx * W)
            k = best_anchor(shapes if match else
                            [np.exp(v[n, a, 2:4, i, j]) * shapes[a] for a in range(3)], bw, bh)
            u, d, s = v[n, k, :, i, j], g[n, k, :, i, j], slope[n, k, :, i, j]
            box = corners((j + u[0]) / W, (i + u[1]) / H, *np.exp(u[2:4]) * shapes[k])
            target = [bx * W - j, by * H - i, *np.log([bw, bh] / shapes[k])]
            d[:4] = (5 if rescore else 5 * (2 - bw * bh)) * (u[:4] - target) * s[:4]
            d[4] = 4 * (u[4] - (overlap(box, corners(bx, by, bw, bh)) if rescore else 1)) * s[4]
            d[5:] = u[5:] - (np.arange(C) == int(label))
    made = net("layer { name: 'l' type: 'RegionLoss' bottom: 'x' bottom: 't' top: 'y' "
               "region_loss_param { num_class: 3 num: 3 biases: 1 biases: 2 biases: 3 biases: 1.5 "
               "biases: 2.5 biases: 4 object_scale: 4 rescore: %d bias_match: %d } }"
               % (rescore, match), {'x': x, 't': t})
    check_loss(made, (g ** 2).sum() / N, g.reshape(x.shape) / N, 1)


@case
def region_loss_plain(rng):
    region_loss(rng, rescore=0, match=0)


@case
def eval_detection(rng):
    N, side, C, B = 2, 3, 4, 2
    S = side * side
    x = rng.uniform(0, 1, (N, S * (C + 5 * B)))
    t = np.zeros((N, 7 * S))
    want = np.zeros((N, C + 4 * S * B))
    for n in range(N):
        v, truth = x[n].reshape(-1, S), t[n]
        truth[:S] = rng.uniform(size=S) < 0.2
        truth[S:2 * S] = rng.uniform(size=S) < 0.8
        truth[2 * S:3 * S] = rng.randint(0, C, S)
        truth[3 * S:] = rng.uniform(0.1, 0.8, 4 * S)
        boxes = []
        for c in range(S):
            label = v[:C, c].argmax()
            for b in range(B):
                bx, by, bw, bh = v[C + B + 4 * b:C + B + 4 * b + 4, c]
                boxes.append([v[label, c] * v[C + b, c],
                              corners((c % side + bx) / side, (c // side + by) / side,
                                      bw ** 2, bh ** 2), label])
        present = [c for c in range(S) if truth[S + c]]
        for c in present:
            want[n, int(truth[2 * S + c])] += truth[c] != 1
        at, found = C, set()
        for score, box, label in sorted(suppress(boxes, 0.6), key=lambda r: (r[2], -r[0])):
            mine = [(overlap(box, corners(*truth[3 * S + 4 * c:3 * S + 4 * c + 4])), c)
                    for c in present if truth[2 * S + c] == label]
            most, c = max(mine, key=lambda m: m[0]) if mine else (-1, -1)
            right = most >= 0.3 and truth[c] != 1 and c not in found
            wrong = not right and not (most >= 0.3 and truth[c] == 1)
            want[n, at:at + 4] = label, score, right, wrong
            at += 4
            if right:
                found.add(c)
    made = net("layer { name: 'l' type: 'EvalDetection' bottom: 'x' bottom: 't' top: 'y' "
               "eval_detection_param { side: 3 num_class: 4 num_object: 2 threshold: 0.3 nms: 0.6 "
               "} }", {'x': x, 't': t}, deepnet.TEST, force=False)
    made.forward()
    close('verdicts', made.blobs['y'].data, want)


# ---- R-FCN and face nets -----------------------------------------------------------------------

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
def box_annotator_ohem(rng):
    R = 20
    regions = np.hstack([rng.randint(0, 2, (R, 1)), rng.uniform(0, 9, (R, 4))])
    loss, labels = rng.uniform(size=(R, 1)), rng.randint(0, 5, (R, 1))
    weights = rng.uniform(size=(R, 8))
    left_out = np.argsort(loss[:, 0])[0]
    labels, weights[left_out] = labels.astype(float), np.nan
    labels[left_out] = np.nan
    made = net("layer { name: 'l' type: 'BoxAnnotatorOHEM' bottom: 'r' bottom: 'e' bottom: 't' "
               "bottom: 'w' top: 'y' top: 'v' box_annotator_ohem_param { roi_per_img: 4 } }",
               {'r': regions, 'e': loss, 't': labels, 'w': weights}, force=False)
    made.forward()
    hard = np.zeros((R, 1), bool)
    for item in (0, 1):
        mine = np.flatnonzero(regions[:, 0] == item)
        hard[mine[np.argsort(-loss[mine, 0])[:4]]] = True
    close('labels', made.blobs['y'].data, np.where(hard, labels, -1))
    close('weights', made.blobs['v'].data, np.where(hard, weights, 0))


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
def channel_scale(rng):
    x, f = rng.normal(0, 1, (2, 3, 4, 5)), rng.normal(0, 1, (2, 1, 4, 5))
    made = net("layer { name: 'l' type: 'ChannelScale' bottom: 'x' bottom: 'f' top: 'y' "
               "channel_scale_param { do_backward_feature: false } }", {'x': x, 'f': f})
    made.forward()
    close('top', made.blobs['y'].data, x * f)
    dy = rng.normal(0, 1, x.shape)
    made.backward(y=dy)
    close('gradient of x', made.blobs['x'].diff, dy)
    close('gradient of f', made.blobs['f'].diff, (x * dy).sum(1, keepdims=True))


@case
def hard(rng):
    """MobileNet v3: relu6(x + 3) / 6, and x times it."""
    x = np.concatenate([rng.normal(0, 3, 57), [-9, -3.1, 0, 3.1, 9]]).reshape(2, 31)
    h, dy = np.clip(x + 3, 0, 6) / 6, rng.normal(0, 1, x.shape)
    inside = np.abs(x) < 3
    for kind, y, slope in (('HardSigmoid', h, inside / 6), ('HardSwish', x * h, h + x * inside / 6)):
        made = net("layer { name: 'l' type: '%s' bottom: 'x' top: 'y' }" % kind, {'x': x})
        made.forward()
        close(kind, made.blobs['y'].data, y)
        made.backward(y=dy)
        close('gradient of ' + kind, made.blobs['x'].diff, dy * slope)


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
def prior_box_clustered(rng):
    for given, step, image in (('step: 5 offset: 0.25', (5, 5), (40, 30)), ('', (10, 10), (40, 30)),
                               ('step_h: 4 step_w: 6 img_h: 60 img_w: 50', (4, 6), (60, 50))):
        clip = 'clip: true' if given else ''
        offset = 0.25 if 'offset' in given else 0.5
        made = net("layer { name: 'l' type: 'PriorBoxClustered' bottom: 'm' bottom: 'i' top: 'y' "
                   "prior_box_param { width: 3.5 height: 8 width: 12 height: 4.5 variance: 0.1 "
                   "variance: 0.1 variance: 0.2 variance: 0.2 %s %s } }" % (given, clip),
                   {'m': np.zeros((1, 2, 4, 3)), 'i': np.zeros((1, 3, 40, 30))})
        made.forward()
        boxes = []
        for i, j, (w, h) in itertools.product(range(4), range(3), ((3.5, 8), (12, 4.5))):
            y, x = (i + offset) * step[0], (j + offset) * step[1]
            boxes += [(x - w / 2) / image[1], (y - h / 2) / image[0], (x + w / 2) / image[1],
                      (y + h / 2) / image[0]]
        boxes = np.clip(boxes, 0, 1) if clip else np.array(boxes)
        close('priors', made.blobs['y'].data, [[boxes, np.tile([0.1, 0.1, 0.2, 0.2], 24)]])


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
def lstm(rng):
    """junhyukoh's: gates i, f, o, g; the gradients of their inputs are cut."""
    T, N, I, H, cut = 5, 2, 3, 4, 0.3
    wx, wh, b = rng.normal(0, 1, (4 * H, I)), rng.normal(0, 1, (4 * H, H)), rng.normal(0, 1, 4 * H)
    x, dy = rng.normal(0, 1, (T, N, I)), rng.normal(0, 1, (T, N, H))
    h, c, steps = np.zeros((N, H)), np.zeros((N, H)), []
    for t in range(T):
        i, f, o, g = np.split(x[t] @ wx.T + h @ wh.T + b, 4, 1)
        i, f, o, g = sigmoid(i), sigmoid(f), sigmoid(o), np.tanh(g)
        before, c = (h, c), f * c + i * g
        h = o * np.tanh(c)
        steps.append((i, f, o, g, before, c, h))
    dwx, dwh, db, dx = np.zeros(wx.shape), np.zeros(wh.shape), np.zeros(b.shape), np.zeros(x.shape)
    dh, dc = np.zeros((N, H)), np.zeros((N, H))
    for t in reversed(range(T)):
        i, f, o, g, (h0, c0), c, _ = steps[t]
        dh = dh + dy[t]
        dc = dc + dh * o * (1 - np.tanh(c) ** 2)
        d = np.concatenate([dc * g * i * (1 - i), dc * c0 * f * (1 - f),
                            dh * np.tanh(c) * o * (1 - o), dc * i * (1 - g * g)], 1)
        d = np.clip(d, -cut, cut)
        dwx, dwh, db, dx[t] = dwx + d.T @ x[t], dwh + d.T @ h0, db + d.sum(0), d @ wx
        dh, dc = d @ wh, dc * f
    for shape, more in (((T, N), ''), ((T * N,), 'batch_size: 2')):
        made = net("layer { name: 'l' type: 'Lstm' bottom: 'x' top: 'y' lstm_param { num_output: 4 "
                   "clipping_threshold: %g %s } }" % (cut, more), {'x': x.reshape(shape + (I,))})
        for weight, value in zip(made.params['l'], (wx, wh, b)):
            weight.data[...] = value
        for _ in range(2):
            made.forward()
        close('top', made.blobs['y'].data, np.array([s[6] for s in steps]).reshape(shape + (H,)))
        made.backward(y=dy.reshape(shape + (H,)))
        close('gradient of x', made.blobs['x'].diff, dx.reshape(shape + (I,)))
        for weight, want in zip(made.params['l'], (dwx, dwh, db)):
            close('gradient of a weight', weight.diff, want)


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
def mish(rng):
    x = np.concatenate([rng.normal(0, 2, 57), [-90, -30, 0, 30, 90]]).reshape(2, 31)
    for layers in ("layer { name: 'l' type: 'Mish' bottom: 'x' top: 'y' }",
                   "layer { name: 'p' type: 'Power' bottom: 'x' top: 'y' } "
                   "layer { name: 'l' type: 'Mish' bottom: 'y' top: 'y' }"):
        made = net(layers, {'x': x})
        made.forward()
        t = np.tanh(np.logaddexp(0, x))
        close('top', made.blobs['y'].data, x * t)
        dy = rng.normal(0, 1, x.shape)
        made.backward(y=dy)
        close('gradient', made.blobs['x'].diff, dy * (t + x * (1 - t * t) / (1 + np.exp(-x))))


@case
def channel_norm(rng):
    for shape in (2, 3, 4, 5), (2, 3), (1, 1, 6):
        x = rng.normal(0, 1, shape)
        x[0, ..., 0] = 0  # a norm of 0, where the gradient is 0
        made = net("layer { name: 'l' type: 'ChannelNorm' bottom: 'x' top: 'y' }", {'x': x})
        made.forward()
        y = np.sqrt((x**2).sum(1, keepdims=True))
        close('channel norm', made.blobs['y'].data, y)
        dy = rng.normal(0, 1, y.shape)
        made.backward(y=dy)
        close('channel norm, gradient', made.blobs['x'].diff, dy * x / (y + 1e-9))


def correlated(x, dy, flat, pad=0, kernel_size=1, max_displacement=1, stride_1=1, stride_2=1,
               single_direction=0, correlation_type='MULTIPLY'):
    """The top and, of dy, the gradients of both; flat: Correlation1D."""
    (N, C, H, W), radius = x[0].shape, max_displacement // stride_2
    ys = [0] if flat else [i * stride_2 for i in range(-radius, radius + 1)]
    at, to = {0: (-radius, radius), 1: (0, radius), -1: (-radius - 1, -1)}[single_direction]
    xs = [i * stride_2 for i in range(at, to + 1)]
    up, side, reach = (0 if flat else pad), pad + 40, (0 if flat else max_displacement)
    wide = [np.pad(v, ((0, 0), (0, 0), (up, up), (side, side))) for v in x]
    grad = [np.zeros_like(v) for v in wide]
    P = -(-(H + 2 * up - 2 * reach - kernel_size + 1) // stride_1)
    Q = -(-(W + 2 * pad - 2 * max_displacement - kernel_size + 1) // stride_1)
    y, K = np.zeros((N, len(ys) * len(xs), P, Q)), kernel_size
    for k, (dh, dw) in enumerate(itertools.product(ys, xs)):
        for p, q in itertools.product(range(P), range(Q)):
            h, w = p * stride_1 + reach, q * stride_1 + max_displacement + 40
            a = np.s_[:, :, h:h + K, w:w + K]
            b = np.s_[:, :, h + dh:h + dh + K, w + dw:w + dw + K]
            scale = 1 / (C * K * K)
            if correlation_type == 'MULTIPLY':
                e, da, db = wide[0][a] * wide[1][b], wide[1][b], wide[0][a]
            else:
                e = np.abs(wide[0][a] - wide[1][b])
                da = np.sign(wide[0][a] - wide[1][b])
                db = -da
            y[:, k, p, q] = e.sum((1, 2, 3)) * scale
            if dy is not None:
                g = dy[:, k, p, q].reshape(N, 1, 1, 1) * scale
                grad[0][a] += g * da
                grad[1][b] += g * db
    return [y] + [g[:, :, up:up + H, side:side + W] for g in grad]


@case
def correlation(rng):
    for flat, shape, param in (
            (False, (2, 5, 7, 9), dict(pad=4, max_displacement=4, stride_2=2)),
            (False, (1, 3, 8, 6), dict(pad=3, kernel_size=3, max_displacement=2)),
            (False, (3, 2, 9, 7), dict(pad=3, max_displacement=3, stride_1=2, stride_2=2)),
            (False, (2, 4, 6, 6), dict(max_displacement=0, kernel_size=3, stride_1=3)),
            (False, (2, 3, 5, 6), dict(pad=3, max_displacement=2, kernel_size=3, stride_1=2,
                                       correlation_type='SUBTRACT')),
            (True, (2, 3, 5, 9), dict(pad=4, max_displacement=4)),
            (True, (2, 3, 5, 9), dict(pad=4, max_displacement=4, single_direction=-1)),
            (False, (1, 2, 5, 6), dict(pad=1, max_displacement=1, kernel_size=3,
                                       stride_1=2 ** 32 - 1)),
            (True, (2, 3, 7, 9), dict(pad=2, max_displacement=3, kernel_size=3, stride_1=2,
                                      single_direction=1)),
            (True, (2, 3, 4, 9), dict(pad=2, max_displacement=2, kernel_size=3,
                                      correlation_type='SUBTRACT'))):
        x = rng.normal(0, 1, (2,) + shape)
        text = ' '.join('%s: %s' % item for item in dict(dict(kernel_size=1), **param).items())
        made = net("layer { name: 'l' type: 'Correlation%s' bottom: 'a' bottom: 'b' top: 'y' "
                   'correlation_param { %s } }' % ('1D' if flat else '', text),
                   {'a': x[0], 'b': x[1]})
        made.forward()
        dy = rng.normal(0, 1, made.blobs['y'].data.shape)
        y, da, db = correlated(x, dy, flat, **param)
        close('correlation', made.blobs['y'].data, y)
        made.backward(y=dy)
        close('correlation, gradient of a', made.blobs['a'].diff, da)
        close('correlation, gradient of b', made.blobs['b'].diff, db)


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


def resampled(x, size, kind, antialias):
    """By the place: FlowNet 2's kernels, in single precision where its places are."""
    (N, C, H, W), (P, Q) = x.shape, size
    fy, fx, half = np.float32(H / P), np.float32(W / Q), np.float32(0.5)
    y = np.zeros((N, C, P, Q))
    wide = antialias and (fx > 1 or fy > 1)

    def kernel(v):
        v = abs(v)
        if kind == 'LINEAR':
            return max(0, 1 - v)
        return (v * v * (1.5 * v - 2.5) + 1 if v <= 1 else
                v * (v * (2.5 - 0.5 * v) - 4) + 2 if v < 2 else 0)

    for p, q in itertools.product(range(P), range(Q)):
        h, w = p * fy + fx / 2 - half, q * fx + fy / 2 - half
        if kind == 'NEAREST':
            at = [int(np.clip(np.floor(v + 0.5), 0, n - 1)) for v, n in ((h, H), (w, W))]
            y[:, :, p, q] = x[:, :, at[0], at[1]]
            continue
        total = 0
        for i, j in itertools.product(range(H), range(W)):
            weight = (kernel((h - i) / (fy if wide else 1)) *
                      kernel((w - j) / (fx if wide else 1)))
            y[:, :, p, q] += weight * x[:, :, i, j]
            total += weight
        y[:, :, p, q] = y[:, :, p, q] / total if total else 0
    return y


@case
def resample(rng):
    x = rng.normal(0, 1, (2, 3, 6, 8))
    for size, kind, antialias in itertools.product(((3, 4), (12, 16), (5, 9), (6, 8)),
                                                   ('NEAREST', 'LINEAR', 'CUBIC'), (True, False)):
        made = net("layer { name: 'l' type: 'Resample' bottom: 'x' top: 'y' resample_param { "
                   'height: %d width: %d type: %s antialias: %s } }' %
                   (size + (kind, str(antialias).lower())), {'x': x})
        made.forward()
        close('%s %s' % (kind, size), made.blobs['y'].data, resampled(x, size, kind, antialias))
    made = net("layer { name: 'l' type: 'Resample' bottom: 'x' bottom: 'like' top: 'y' }",
               {'x': x, 'like': rng.normal(0, 1, (1, 1, 3, 4))})
    made.forward()
    close('size of another', made.blobs['y'].data, resampled(x, (3, 4), 'LINEAR', True))


@case
def downsample(rng):
    x = rng.normal(0, 1, (2, 2, 9, 12))
    x[0, 0, 2:5, 3:8], x[1, 1, 8, 11] = np.nan, np.nan
    for P, Q in (3, 4), (5, 12), (9, 12), (2, 2):
        made = net("layer { name: 'l' type: 'Downsample' bottom: 'x' top: 'y' downsample_param { "
                   'top_height: %d top_width: %d } }' % (P, Q), {'x': x}, force=False)
        made.forward()
        want = np.zeros((2, 2, P, Q))
        for p, q in itertools.product(range(P), range(Q)):
            sh, sw = 8 / (P - 1), 11 / (Q - 1)
            rows = np.maximum(0, 1 - np.abs(np.arange(9) - p * sh) / sh)
            cols = np.maximum(0, 1 - np.abs(np.arange(12) - q * sw) / sw)
            w = np.outer(rows, cols) * ~np.isnan(x)
            lost = np.outer(rows, cols).sum() - w.sum((2, 3))
            with np.errstate(all='ignore'):
                y = (w * np.nan_to_num(x)).sum((2, 3)) / w.sum((2, 3))
                want[:, :, p, q] = np.where(lost / w.sum((2, 3)) > 0.5, np.nan, y)
        got = made.blobs['y'].data
        assert np.array_equal(np.isnan(got), np.isnan(want)), (P, Q)
        close('downsample %d %d' % (P, Q), np.nan_to_num(got), np.nan_to_num(want))


@case
def relu6_at_its_ends(rng):
    x = np.array([[-1, 0, 1e-30, 3, np.nextafter(np.float32(6), np.float32(0)), 6, 7]])
    for top in 'yx':
        made = net("layer { name: 'l' type: 'ReLU6' bottom: 'x' top: '%s' }" % top, {'x': x})
        made.forward()
        close('relu6', made.blobs[top].data, np.clip(x, 0, 6))
        if top == 'y':
            made.backward(y=np.full_like(x, 2))
            close('gradient', made.blobs['x'].diff, np.array([[0, 0, 2, 2, 2, 0, 0]]))


@case
def normalize(rng):
    """The face nets' kind: one norm for each position, no weight."""
    x, dy, dn = rng.normal(0, 1, (2, 3, 4, 5)), rng.normal(0, 1, (2, 3, 4, 5)), np.ones((2, 1, 4, 5))
    n = np.sqrt((x * x).sum(1, keepdims=True) + 1e-6)
    u = x / n
    for param in ('normalize_param { }', ''):
        made = net("layer { name: 'l' type: 'Normalize' bottom: 'x' top: 'y' %s }" % param, {'x': x})
        made.forward()
        close('top', made.blobs['y'].data, u)
        assert 'l' not in made.params
    for bp_norm in (False, True):
        made = net("layer { name: 'l' type: 'Normalize' bottom: 'x' top: 'y' top: 'n' %s }" % (
            'normalize_param { bp_norm: true }' if bp_norm else ''), {'x': x})
        made.forward()
        close('norm', made.blobs['n'].data, n)
        made.backward(y=dy, n=dn)
        close('gradient, bp_norm: %s' % bp_norm, made.blobs['x'].diff,
              (dy - u * (dy * u).sum(1, keepdims=True)) / n + bp_norm * u * dn)


@case
def continuation_indicator(rng):
    text = "layer { name: 'l' type: 'ContinuationIndicator' %s top: 'y' %s }"
    param = "continuation_indicator_param { time_step: 4 %s }"
    for made in (net(text % ('', param % 'batch_size: 3'), {}),
                 net(text % ("bottom: 'x'", param % ''), {'x': np.zeros((3, 2))}, force=False)):
        made.forward()
        close('top', made.blobs['y'].data, np.ones((4, 3)) * [[0], [1], [1], [1]])


@case
def transpose(rng):
    x = rng.normal(0, 1, (2, 3, 4, 5))
    made = net("layer { name: 'l' type: 'Transpose' bottom: 'x' top: 'y' transpose_param { dim: 3 "
               "dim: 2 dim: 0 dim: 1 } }", {'x': x})
    made.forward()
    close('top', made.blobs['y'].data, x.transpose(3, 2, 0, 1))


@case
def local(rng):
    x, w, b = (rng.normal(0, 1, size) for size in ((2, 3, 5, 6), (4, 27, 4), (4, 4)))
    made = net("layer { name: 'l' type: 'Local' bottom: 'x' top: 'y' local_param { num_output: 4 "
               "kernel_size: 3 stride: 2 } }", {'x': x})
    made.params['l'][0].data[...] = w.reshape(4, 1, 27, 4)
    made.params['l'][1].data[...] = b.reshape(1, 1, 4, 4)
    made.forward()
    places = [(i, j) for i in (0, 2) for j in (0, 2)]
    want = [[w[:, :, p] @ item[:, i:i + 3, j:j + 3].ravel() + b[:, p]
             for p, (i, j) in enumerate(places)] for item in x]
    close('top', made.blobs['y'].data, np.moveaxis(want, 1, 2).reshape(2, 4, 2, 2))


@case
def parameter(rng):
    made = net("layer { name: 'p' type: 'Parameter' top: 'y' parameter_param { shape { dim: 3 } "
               "blob_filler { value: 2.5 } } }", {})
    made.forward()
    close('top', made.blobs['y'].data, [2.5] * 3)


# ---- regions and images ------------------------------------------------------------------------

def regions_of(rng, R, items, H, W, stride):
    a, size = rng.uniform(0, 0.6, (R, 2)), rng.uniform(0.1, 0.4, (R, 2))
    return np.hstack([rng.randint(0, items, (R, 1)),
                      np.hstack([a, a + size]) * ([W * stride, H * stride] * 2)]).round(2)


@case
def roi_pooling(rng):
    x, regions = rng.normal(0, 1, (2, 3, 9, 11)), regions_of(rng, 7, 2, 9, 11, 8)
    made = net("layer { name: 'l' type: 'ROIPooling' bottom: 'x' bottom: 'r' top: 'y' "
               "roi_pooling_param { pooled_h: 3 pooled_w: 4 spatial_scale: 0.125 } }",
               {'x': x, 'r': regions}, force=False)
    made.forward()
    want = np.zeros((7, 3, 3, 4))
    for r, (n, x0, y0, x1, y1) in enumerate(regions.astype('f4')):
        x0, y0, x1, y1 = np.floor(np.array([x0, y0, x1, y1]) * 0.125 + 0.5).astype(int)
        h, w = max(y1 - y0 + 1, 1), max(x1 - x0 + 1, 1)
        for i in range(3):
            for j in range(4):
                rows = slice(max(y0 + i * h // 3, 0), max(y0 - (-(i + 1) * h // 3), 0))
                columns = slice(max(x0 + j * w // 4, 0), max(x0 - (-(j + 1) * w // 4), 0))
                window = x[int(n), :, rows, columns]
                want[r, :, i, j] = window.max((1, 2)) if window.size else 0
    close('top', made.blobs['y'].data, want)


@case
def psroi_pooling(rng):
    D, G = 2, 3
    x, regions = rng.normal(0, 1, (2, D * G * G, 9, 11)), regions_of(rng, 7, 2, 9, 11, 16)
    made = net("layer { name: 'l' type: 'PSROIPooling' bottom: 'x' bottom: 'r' top: 'y' "
               "psroi_pooling_param { output_dim: 2 group_size: 3 spatial_scale: 0.0625 } }",
               {'x': x, 'r': regions}, force=False)
    made.forward()
    want = np.zeros((7, D, G, G))
    for r, (n, *box) in enumerate(regions.astype('f4')):
        x0, y0, x1, y1 = (np.floor(np.array(box) + 0.5) + [0, 0, 1, 1]) / 16
        w, h = max(x1 - x0, 0.1), max(y1 - y0, 0.1)
        for i in range(G):
            for j in range(G):
                rows = slice(*np.clip([np.floor(y0 + i * h / G), np.ceil(y0 + (i + 1) * h / G)],
                                      0, 9).astype(int))
                columns = slice(*np.clip([np.floor(x0 + j * w / G),
                                          np.ceil(x0 + (j + 1) * w / G)], 0, 11).astype(int))
                for d in range(D):
                    window = x[int(n), (d * G + i) * G + j, rows, columns]
                    want[r, d, i, j] = window.mean() if window.size else 0
    close('top', made.blobs['y'].data, want)


@case
def roi_align(rng):
    for ratio in (2, 0):
        x, regions = rng.normal(0, 1, (2, 3, 9, 11)), regions_of(rng, 7, 2, 9, 11, 8)
        regions[0, 1:], regions[1, 1:] = (-20, -9, 60, 30), (50, 40, 140, 90)
        regions[2, 1:] = (30, 30, 31, 20)
        made = net("layer { name: 'l' type: 'ROIAlign' bottom: 'x' bottom: 'r' top: 'y' "
                   "roi_align_param { pooled_h: 3 pooled_w: 4 spatial_scale: 0.125 "
                   "sampling_ratio: %d } }" % ratio, {'x': x, 'r': regions})
        made.forward()
        made.blobs['y'].diff[...] = dy = rng.normal(0, 1, (7, 3, 3, 4))
        made.backward()
        want, dx = np.zeros((7, 3, 3, 4)), np.zeros(x.shape)
        for r, (n, x0, y0, x1, y1) in enumerate(regions.astype('f4') * [1, *[0.125] * 4]):
            v = shares_of(y0, y1, 3, 9, ratio)
            u = shares_of(x0, x1, 4, 11, ratio)
            want[r] = v @ x[int(n)] @ u.T
            dx[int(n)] += v.T @ dy[r] @ u
        close('top', made.blobs['y'].data, want)
        close('bottom', made.blobs['x'].diff, dx)


def shares_of(start, end, bins, limit, samples):
    """What bins are made of, (bins, limit): samples apart evenly, linear between elements."""
    size = max(end - start, 1) / bins
    samples = samples or int(np.ceil(size))
    made = np.zeros((bins, limit))
    for b in range(bins):
        for place in start + size * (b + (np.arange(samples) + 0.5) / samples):
            if -1 <= place <= limit:
                place = min(max(place, 0), limit - 1)
                made[b] += np.maximum(1 - np.abs(np.arange(limit) - place), 0) / samples
    return made


def anchors_of(stride, scales, H, W):
    """(A, H, W, 4), as Faster R-CNN makes them."""
    made = []
    for ratio in (0.5, 1, 2):
        w = np.round(np.sqrt(256 / ratio))
        h = np.round(w * ratio)
        for scale in scales:
            size = np.array([w, h]) * scale
            made.append(np.hstack([7.5 - (size - 1) / 2, 7.5 + (size - 1) / 2]))
    shift = np.stack(np.broadcast_arrays(*np.ogrid[:H, :W])[::-1], -1) * stride
    return np.array(made)[:, None, None] + np.tile(shift, 2)


def offsets(box, truth):
    size, other = box[2:] - box[:2] + 1, truth[2:] - truth[:2] + 1
    return np.hstack([(truth[:2] + other / 2 - box[:2] - size / 2) / size, np.log(other / size)])


def truths_in(rng, G, H, W):
    corner, size = rng.uniform(0, 0.5, (G, 2)), rng.uniform(0.2, 0.5, (G, 2))
    return np.hstack([np.hstack([corner, corner + size]) * [W, H, W, H],
                      rng.randint(1, 4, (G, 1))])


@case
def anchor_target(rng):
    A, H, W, image = 9, 12, 14, (192, 224)
    truth = truths_in(rng, 3, *image).astype('f4')
    made = net("layer { name: 'l' type: 'Python' bottom: 'x' bottom: 't' bottom: 'i' top: 'y' top: "
               "'d' top: 'u' top: 'v' python_param { module: 'rpn.anchor_target_layer' layer: "
               "'AnchorTargetLayer' param_str: \"'feat_stride': 16\\n'scales': !!python/tuple "
               "[2, 4, 8]\" } }",
               {'x': np.zeros((1, 2 * A, H, W)), 't': truth, 'i': [[*image, 1]]}, force=False)
    made.forward()
    anchors = anchors_of(16, (2, 4, 8), H, W).reshape(-1, 4)
    inside = (anchors[:, :2] >= 0).all(1) & (anchors[:, 2:] < [image[1], image[0]]).all(1)
    iou = np.array([[overlap(a, t, 1) for t in truth] for a in anchors]) * inside[:, None]
    most = iou.max(1)
    holds = inside & ((most >= 0.7) | (np.abs(iou - iou.max(0)) < 1e-9).any(1))
    empty = inside & (most < 0.3) & ~holds
    label = made.blobs['y'].data.ravel()
    close('those that hold something', label == 1, holds)  # fewer than half of 256 do
    assert holds.sum() < 128 and (label == 0).sum() == min(256 - holds.sum(), empty.sum())
    assert not ((label == 0) & ~empty).any(), 'a box that holds something is called empty'
    want = np.array([offsets(a, truth[i][:4]) for a, i in zip(anchors, iou.argmax(1))])
    want = (want * inside[:, None]).reshape(A, H * W, 4).swapaxes(1, 2).reshape(1, 4 * A, H, W)
    close('targets', made.blobs['d'].data, want)
    four = label.reshape(A, 1, H, W).repeat(4, 1).reshape(1, 4 * A, H, W)
    close('inside weights', made.blobs['u'].data, four == 1)
    close('outside weights', made.blobs['v'].data, (four >= 0) / (label >= 0).sum())
    first = np.array(label)
    made.forward()
    assert (first != made.blobs['y'].data.ravel()).any(), 'the same are drawn again'


@case
def proposal_target(rng, R=300):
    truth = truths_in(rng, 3, 192, 224).astype('f4')
    near = truth[rng.randint(0, 3, R // 2), :4] + rng.normal(0, 12, (R // 2, 4))
    far = truths_in(rng, R - R // 2, 192, 224)[:, :4]
    regions = np.hstack([np.zeros((R, 1)), np.vstack([near, far])]).astype('f4')
    made = net("layer { name: 'l' type: 'Python' bottom: 'r' bottom: 't' top: 'y' top: 'c' top: "
               "'d' top: 'u' top: 'v' python_param { module: 'rpn.proposal_target_layer' layer: "
               "'ProposalTargetLayer' param_str: \"'num_classes': 4\" } }",
               {'r': regions, 't': truth}, force=False)
    made.forward()
    boxes = np.vstack([regions[:, 1:], truth[:, :4]])
    iou = np.array([[overlap(b, t, 1) for t in truth] for b in boxes])
    holds = iou.max(1) >= 0.5
    some = min(32, holds.sum())
    got, labels = made.blobs['y'].data, made.blobs['c'].data
    assert len(got) == some + min(128 - some, (~holds).sum()), 'regions: %d' % len(got)
    rows = [np.flatnonzero((boxes == g[1:]).all(1))[0] for g in got]
    assert len(set(rows)) == len(rows), 'one is drawn twice'
    best = truth[iou.argmax(1)]
    close('labels', labels, np.where(np.arange(len(got)) < some, best[rows, 4], 0))
    assert holds[rows[:some]].all() and not holds[rows[some:]].any()
    want, weights = np.zeros((2, len(got), 16))
    for k in range(some):
        at = slice(4 * int(labels[k]), 4 * int(labels[k]) + 4)
        want[k, at] = offsets(boxes[rows[k]], best[rows[k], :4]) / [0.1, 0.1, 0.2, 0.2]
        weights[k, at] = 1
    close('targets', made.blobs['d'].data, want)
    close('inside weights', made.blobs['u'].data, weights)
    close('outside weights', made.blobs['v'].data, weights)


@case
def proposal_target_few(rng):
    proposal_target(rng, R=10)


@case
def upsample(rng):
    x = rng.normal(0, 1, (2, 3, 4, 5))
    made = net("layer { name: 'l' type: 'Upsample' bottom: 'x' top: 'y' upsample_param { scale: 3 "
               "} }", {'x': x})
    made.forward()
    close('top', made.blobs['y'].data, x.repeat(3, 2).repeat(3, 3))
    dy = rng.normal(0, 1, (2, 3, 12, 15))
    made.backward(y=dy)
    close('gradient', made.blobs['x'].diff, dy.reshape(2, 3, 4, 3, 5, 3).sum((3, 5)))


@case
def norm_of_data(rng):
    """A scale within BatchNorm learns from what was normalised, also where nobody asks further."""
    x, dy = rng.normal(0, 1, (3, 4, 5, 2)), rng.normal(0, 1, (3, 4, 5, 2))
    for rest in '', "param { } param { } param { } param { lr_mult: 0 } ":
        made = net("layer { name: 'l' type: 'BatchNorm' bottom: 'x' top: 'y' %s batch_norm_param { "
                   "scale_bias: true scale_filler { type: 'uniform' min: 0.5 max: 2 } } } layer { "
                   "name: 'e' type: 'EuclideanLoss' bottom: 'y' bottom: 'dy' top: 'e' }" % rest,
                   {'x': x, 'dy': dy}, force=False)
        made.forward()
        made.backward()
        normal = (x - x.mean((0, 2, 3), keepdims=True)) / np.sqrt(
            x.var((0, 2, 3), keepdims=True) + 1e-5)
        scale = made.params['l'][3].data.reshape(1, 4, 1, 1)
        left = (scale * normal - dy) / 3
        close('scale', made.params['l'][3].diff, 0 * scale.ravel() if rest else
              (left * normal).sum((0, 2, 3)))
        close('bias', made.params['l'][4].diff, left.sum((0, 2, 3)))


def largest_of_four(x):
    """The largest of each 2 x 2 where it is, 0 elsewhere."""
    want = np.zeros_like(x)
    for i in range(0, x.shape[2], 2):
        for j in range(0, x.shape[3], 2):
            window = x[:, :, i:i + 2, j:j + 2]
            want[:, :, i:i + 2, j:j + 2] = np.where(window == window.max((2, 3), keepdims=True),
                                                    window, 0)
    return want


@case
def unpooling(rng):
    """SegNet: values go back to where the maximum was."""
    x = rng.normal(0, 1, (2, 3, 5, 6))
    made = net("layer { name: 'p' type: 'Pooling' bottom: 'x' top: 'q' top: 'm' pooling_param { "
               "kernel_size: 2 stride: 2 } } layer { name: 'l' type: 'Upsample' bottom: 'q' "
               "bottom: 'm' top: 'y' upsample_param { scale: 2 upsample_h: 5 upsample_w: 6 } }",
               {'x': x}, force=False)
    made.forward()
    close('top', made.blobs['y'].data, largest_of_four(x))


@case
def unpooling_v1(rng):
    """DeconvNet's."""
    x = rng.normal(0, 1, (2, 3, 6, 6))
    made = deepnet.Net(None, deepnet.TEST, text='''input: 'x' input_dim: 2 input_dim: 3 input_dim: 6
        input_dim: 6
        layers { name: 'p' type: POOLING bottom: 'x' top: 'q' top: 'm'
          pooling_param { kernel_size: 2 stride: 2 } }
        layers { name: 'l' type: UNPOOLING bottom: 'q' bottom: 'm' top: 'y'
          unpooling_param { unpool: MAX kernel_size: 2 stride: 2 unpool_size: 6 } }''')
    made.blobs['x'].data[...] = x
    made.forward()
    close('top', made.blobs['y'].data, largest_of_four(x))


@case
def unpooling_named(rng):
    """The same as a layer of the modern language: DeconvNet's words, and FuseNet's."""
    x = rng.normal(0, 1, (2, 3, 6, 4))
    for param in ('unpool: MAX kernel_size: 2 stride: 2 unpool_h: 6 unpool_w: 4',
                  'output_h: 6 output_w: 4', 'scale: 2'):
        made = net("layer { name: 'p' type: 'Pooling' bottom: 'x' top: 'q' top: 'm' pooling_param "
                   "{ kernel_size: 2 stride: 2 } } layer { name: 'l' type: 'Unpooling' bottom: 'q' "
                   "bottom: 'm' top: 'y' unpooling_param { %s } }" % param, {'x': x}, force=False)
        made.forward()
        close(param, made.blobs['y'].data, largest_of_four(x))


@case
def norms(rng):
    """GRN has one norm for each position, Normalization one for each item."""
    x = rng.normal(0, 1, (2, 3, 4, 5))
    for kind, axes, eps in (("type: 'GRN' grn_param { bias: 0.25 }", 1, 0.25),
                            ("type: 'GRN'", 1, 1), ("type: 'Normalization'", (1, 2, 3), 0)):
        made = net("layer { name: 'l' bottom: 'x' top: 'y' %s }" % kind, {'x': x})
        made.forward()
        close(kind, made.blobs['y'].data, x / np.sqrt(eps + (x ** 2).sum(axes, keepdims=True)))


@case
def depthwise_conv(rng):
    """Convolution by another name."""
    x, tops = rng.normal(0, 1, (2, 4, 5, 5)), []
    for kind in 'DepthwiseConv', 'Convolution':
        made = net("layer { name: 'l' type: '%s' bottom: 'x' top: 'y' convolution_param { "
                   "num_output: 4 group: 4 kernel_size: 3 pad: 1 bias_term: false } }" % kind, {'x': x})
        made.params['l'][0].data[...] = np.linspace(-1, 1, 36).reshape(4, 1, 3, 3)
        made.forward()
        tops.append(made.blobs['y'].data.copy())
    close('top', *tops)
    made = net("layer { name: 'l' type: 'DepthwiseConv' bottom: 'x' top: 'y' convolution_param { "
               "num_output: 8 kernel_size: 3 } }", {'x': x})
    close('a group for each channel', np.array(made.params['l'][0].shape), np.array([8, 1, 3, 3]))


def pooled(x, method, kernel, stride, pads, up):
    """Each window of an image that has a border of its own on each side."""
    top, below, left, right = pads
    H, W = x.shape[2:]
    P, Q = [(n + a + b - kernel + (stride - 1 if up else 0)) // stride + 1
            for n, a, b in ((H, top, below), (W, left, right))]
    P, Q = P - ((P - 1) * stride >= H + top), Q - ((Q - 1) * stride >= W + left)
    y = np.empty(x.shape[:2] + (P, Q))
    for p, q in itertools.product(range(P), range(Q)):
        i, j = p * stride - top, q * stride - left
        window = x[:, :, max(i, 0):i + kernel, max(j, 0):j + kernel]
        y[:, :, p, q] = window.max((2, 3)) if method == 'MAX' else window.mean((2, 3))
    return y


@case
def pooling_sides(rng):
    """Synopsys' padding of each side, as TensorFlow's SAME is written there."""
    x = rng.normal(0, 1, (2, 3, 7, 6))
    for method, kernel, stride, pads, up in itertools.product(
            ('MAX', 'AVE_EXC_PAD'), (3,), (1, 2), ((0, 1, 0, 1), (1, 2, 0, 0), (0, 0, 2, 1)),
            (True, False)):
        param = 'pool: %s kernel_h: %d kernel_w: %d stride_h: %d stride_w: %d ceil_mode: %s pad_t: ' \
            '%d pad_b: %d pad_l: %d pad_r: %d' % (
                (method, kernel, kernel, stride, stride, str(up).lower()) + pads)
        made = net("layer { name: 'l' type: 'Pooling' bottom: 'x' top: 'y' pooling_param { %s } }"
                   % param, {'x': x})
        made.forward()
        close(param, made.blobs['y'].data, pooled(x, method, kernel, stride, pads, up))


def transformed(x, theta, P, Q):
    """Each pixel of P x Q between four of x, around which lie zeros."""
    N, C, H, W = x.shape
    y = np.zeros((N, C, P, Q))
    for n, i, j in itertools.product(range(N), range(P), range(Q)):
        r, c = theta[n].reshape(2, 3) @ (2 * i / P - 1, 2 * j / Q - 1, 1)
        r, c = (r + 1) * H / 2, (c + 1) * W / 2
        for a, b in itertools.product(*[(int(np.floor(v)), int(np.floor(v)) + 1) for v in (r, c)]):
            if 0 <= a < H and 0 <= b < W:
                y[n, :, i, j] += (1 - abs(r - a)) * (1 - abs(c - b)) * x[n, :, a, b]
    return y


@case
def flow_warp(rng):
    """FlowNet 2's: what the flow points to, 0 outside, the last pixel up to the edge."""
    x, flow = rng.normal(0, 1, (2, 3, 5, 6)), rng.uniform(-3, 3, (2, 2, 5, 6))
    flow[0, :, 1, 2], flow[0, :, 4, 5], flow[1, :, 4], flow[1, :, :, 5] = 0, 0.75, 0, 0
    made = net("layer { name: 'l' type: 'FlowWarp' bottom: 'x' bottom: 'f' top: 'y' }",
               {'x': x, 'f': flow})
    made.forward()
    made.blobs['y'].diff[...] = dy = rng.normal(0, 1, x.shape)
    made.backward()
    want, slopes = np.zeros(x.shape), np.zeros(flow.shape)
    for n, i, j in itertools.product(range(2), range(5), range(6)):
        r, c = i + flow[n, 1, i, j], j + flow[n, 0, i, j]
        if 0 <= r < 5 and 0 <= c < 6:
            a, b = int(r), int(c)
            below, right = min(a + 1, 4), min(b + 1, 5)
            u, v = r - a, c - b
            near, far = x[n, :, [a, below], b], x[n, :, [a, below], right]
            rows = (1 - v) * near + v * far
            want[n, :, i, j] = (1 - u) * rows[0] + u * rows[1]
            slopes[n, 0, i, j] = dy[n, :, i, j] @ ((1 - u) * (far - near)[0] + u * (far - near)[1])
            slopes[n, 1, i, j] = dy[n, :, i, j] @ (rows[1] - rows[0])
    close('top', made.blobs['y'].data, want)
    close('gradient of the flow', made.blobs['f'].diff, slopes)


def deformed(x, offset, w, stride, pad, dilation, group, parts):
    """By the definition: each tap moved, x linear between pixels, 0 outside, the last pixel up
    to the edge."""
    (N, C, H, W), (K, _, R, S), (P, Q) = x.shape, w.shape, offset.shape[2:]
    moves = offset.reshape(N, parts, R, S, 2, P, Q)
    y = np.zeros((N, K, P, Q))
    for n, c, r, s, p, q in itertools.product(*map(range, (N, C, R, S, P, Q))):
        dy, dx = moves[n, c // (C // parts), r, s, :, p, q]
        h = p * stride[0] - pad + r * dilation[0] + dy
        v = q * stride[1] - pad + s * dilation[1] + dx
        if 0 <= h < H and 0 <= v < W:
            a, b = int(h), int(v)
            below, right, t, u = min(a + 1, H - 1), min(b + 1, W - 1), h - a, v - b
            value = ((1 - t) * ((1 - u) * x[n, c, a, b] + u * x[n, c, a, right]) +
                     t * ((1 - u) * x[n, c, below, b] + u * x[n, c, below, right]))
            g = c // (C // group)
            mine = slice(g * (K // group), (g + 1) * (K // group))
            y[n, mine, p, q] += w[mine, c % (C // group), r, s] * value
    return y


@case
def deformable_convolution(rng):
    """Offsets within the image, on pixels and far outside; the same as a convolution without."""
    for param, stride, dilation, group, parts, size in (
            ('stride: 1 dilation: 1', (1, 1), (1, 1), 1, 1, (5, 6)),
            ('stride_h: 2 stride_w: 1 dilation: 2 group: 2 deformable_group: 4', (2, 1), (2, 2), 2,
             4, (2, 4))):
        x = rng.normal(0, 1, (2, 4, 5, 6))
        offset = rng.uniform(-3, 3, (2, parts * 18) + size)
        offset[0, :6], offset[1, ::3] = 0, 0.75
        made = net("layer { name: 'l' type: 'DeformableConvolution' bottom: 'x' bottom: 'o' top: 'y' "
                   "deformable_convolution_param { num_output: 6 kernel_size: 3 pad: 1 "
                   "weight_filler { type: 'gaussian' std: 1 } bias_filler { value: 0.5 } %s } }"
                   % param, {'x': x, 'o': offset})
        made.forward()
        w = made.params['l'][0].data.copy()
        want = deformed(x, offset, w, stride, 1, dilation, group, parts) + 0.5
        close(param, made.blobs['y'].data, want)
        made.blobs['o'].data[...] = 0
        made.forward()
        close('unmoved', made.blobs['y'].data,
              deformed(x, 0 * offset, w, stride, 1, dilation, group, parts) + 0.5)


def lattice(features):
    """The permutohedral lattice by its definition, as a matrix: each point spread over the
    corners of its simplex, a blur along each axis, and back, over the sum of each row."""
    n, d = features.shape
    scaled = features * np.sqrt(2 / 3) * (d + 1) / np.sqrt(np.arange(1, d + 1) * np.arange(2, d + 2))
    # onto the plane whose coordinates sum to 0
    up = np.concatenate([np.triu(np.ones((d, d))) - 0, np.zeros((1, d))])
    up[np.arange(1, d + 1), np.arange(d)] = -np.arange(1, d + 1)
    corners, rows = {}, []
    for y in scaled @ up.T:
        # the nearest point whose coordinates are multiples of d + 1 and sum to 0
        near = np.rint(y / (d + 1)).astype(int)
        order = sorted(range(d + 1), key=lambda i: near[i] * (d + 1) - y[i])
        excess = near.sum()
        for i in order[::-1][:excess] if excess > 0 else order[:-excess]:
            near[i] -= np.sign(excess)
        away = y - near * (d + 1)
        order = sorted(range(d + 1), key=lambda i: -away[i])
        steps, row = away[order], {}
        for r in range(d + 1):
            # corner r: the last r coordinates in order lower by d + 1, all of them r higher
            key = near * (d + 1) + r
            key[order[d + 1 - r:]] -= d + 1
            share = (1 - (steps[0] - steps[d]) / (d + 1) if r == 0 else
                     (steps[d - r] - steps[d + 1 - r]) / (d + 1))
            row[corners.setdefault(tuple(key), len(corners))] = share
        rows.append(row)
    splat = np.zeros((n, len(corners)))
    for i, row in enumerate(rows):
        for k, share in row.items():
            splat[i, k] = share
    blurred = splat.T
    for axis in range(d + 1):
        blur = np.eye(len(corners))
        for key, k in corners.items():
            for side in (-1, 1):
                other = np.array(key) + side
                other[axis] -= side * (d + 1)
                if tuple(other) in corners:
                    blur[k, corners[tuple(other)]] += 0.5
        blurred = blur @ blurred
    matrix = splat @ blurred
    return matrix / matrix.sum(1, keepdims=True)


@case
def multi_stage_meanfield(rng):
    """CRF as RNN: the iterations by their definition; colours alike and far apart."""
    N, C, H, W = 2, 4, 5, 6
    u, q = rng.normal(0, 1, (2, N, C, H, W))
    image = rng.uniform(0, 255, (N, 3, H, W))
    image[0, :, :, 3:] = image[0, :, :1, :1]
    made = net("layer { name: 'l' type: 'MultiStageMeanfield' bottom: 'u' bottom: 'q' bottom: 'i' "
               "top: 'y' multi_stage_meanfield_param { num_iterations: 4 compatibility_mode: POTTS "
               "threshold: 2 theta_alpha: 12 theta_beta: 30 theta_gamma: 3 spatial_filter_weight: "
               "1.5 bilateral_filter_weights_str: '5 4 3.5 2' } }", {'u': u, 'q': q, 'i': image})
    close('weights', [w.data[0, 0] for w in made.params['l']],
          [np.eye(C) * 1.5, np.diag([5, 4, 3.5, 2]), -np.eye(C)])
    weights = []
    for w in made.params['l']:
        w.data[...] += rng.normal(0, 0.3, w.data.shape)
        weights.append(w.data[0, 0].astype('f8'))
    made.forward()
    place = np.stack(np.meshgrid(np.arange(W), np.arange(H)), -1).reshape(-1, 2)
    spatial = lattice(place / 3)
    for n in range(N):
        colours = image[n].astype('f4').reshape(3, -1).T
        bilateral = lattice(np.concatenate([place / 12, colours / 30], 1))
        state = q[n].reshape(C, -1)
        for _ in range(4):
            p = softmax(state, 0)
            message = weights[0] @ p @ spatial.T + weights[1] @ p @ bilateral.T
            state = u[n].reshape(C, -1) - weights[2] @ message
        close('item %d' % n, made.blobs['y'].data[n].reshape(C, -1), state)


@case
def spatial_transformer(rng):
    """Turned, moved, enlarged, far outside; numbers of theta given in st_param."""
    x = rng.normal(0, 1, (4, 3, 6, 5))
    theta = np.array([[1, 0, 0.1, 0, 1, -0.3], [0.6, -0.8, 0, 0.8, 0.6, 0.2],
                      [2.5, 0, 0, 0, 0.4, 0.7], [0.5, 0, 4, 0, 1, 0]]) + rng.uniform(0, 0.01, (4, 6))
    for size, param in (((6, 5), ''), ((4, 7), 'output_H: 4 output_W: 7')):
        made = net("layer { name: 'l' type: 'SpatialTransformer' bottom: 'x' bottom: 't' top: 'y' "
                   "st_param { %s } }" % param, {'x': x, 't': theta})
        made.forward()
        close(param, made.blobs['y'].data, transformed(x, theta, *size))
    theta[:, 0], theta[:, 4] = 0.5, -0.25
    made = net("layer { name: 'l' type: 'SpatialTransformer' bottom: 'x' bottom: 't' top: 'y' st_param "
               "{ to_compute_dU: false theta_1_1: 0.5 theta_2_2: -0.25 } }",
               {'x': x, 't': theta[:, [1, 2, 3, 5]]})
    made.forward()
    close('given', made.blobs['y'].data, transformed(x, theta, 6, 5))
    made.blobs['y'].diff[...] = 1
    made.backward()
    close('dU', made.blobs['x'].diff, np.zeros(x.shape))
    assert np.abs(made.blobs['t'].diff).max() > 0


@case
def interp(rng):
    """Corners fall on corners."""
    x = rng.normal(0, 1, (2, 3, 5, 7))
    made = net("layer { name: 'l' type: 'Interp' bottom: 'x' top: 'y' interp_param { height: 9 "
               "width: 4 pad_beg: -1 } }", {'x': x}, force=False)
    made.forward()
    cut, want = x[:, :, 1:, 1:], np.zeros((2, 3, 9, 4))
    for i in range(9):
        for j in range(4):
            v, u = i * 3 / 8, j * 5 / 3
            a, b = min(int(v), 2), min(int(u), 4)
            p, q = v - a, u - b
            want[:, :, i, j] = ((1 - p) * ((1 - q) * cut[:, :, a, b] + q * cut[:, :, a, b + 1]) +
                                p * ((1 - q) * cut[:, :, a + 1, b] + q * cut[:, :, a + 1, b + 1]))
    close('top', made.blobs['y'].data, want)


@case
def bn(rng):
    """PSPNet's: scale, shift, mean, variance; the stored statistics age by 0.9."""
    x, w = rng.normal(1, 2, (4, 3, 5, 6)), rng.uniform(0.5, 1.5, (4, 3))
    made = net("layer { name: 'l' type: 'BN' bottom: 'x' top: 'y' bn_param { momentum: 0.9 } }",
               {'x': x})
    for blob, value in zip(made.params['l'], w):
        blob.data[...] = value.reshape(blob.data.shape)
    made.forward()
    mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3))
    lift = (slice(None), None, None)
    close('top', made.blobs['y'].data, w[0][lift] * (x - mean[lift]) /
          np.sqrt(var + 1e-5)[lift] + w[1][lift])
    close('mean', made.params['l'][2].data.ravel(), 0.9 * w[2] + 0.1 * mean)
    close('variance', made.params['l'][3].data.ravel(), 0.9 * w[3] + 0.1 * var)


@case
def bn_frozen(rng):
    x, w = rng.normal(1, 2, (4, 3, 5, 6)), rng.uniform(0.5, 1.5, (4, 3))
    made = net("layer { name: 'l' type: 'BN' bottom: 'x' top: 'y' }", {'x': x}, deepnet.TEST)
    for blob, value in zip(made.params['l'], w):
        blob.data[...] = value.reshape(blob.data.shape)
    made.forward()
    lift = (slice(None), None, None)
    close('top', made.blobs['y'].data, w[0][lift] * (x - w[2][lift]) /
          np.sqrt(w[3] + 1e-5)[lift] + w[1][lift])


@case
def shuffle_channel(rng):
    x = rng.normal(0, 1, (2, 6, 3, 4))
    made = net("layer { name: 'l' type: 'ShuffleChannel' bottom: 'x' top: 'y' "
               "shuffle_channel_param { group: 2 } }", {'x': x}, force=False)
    made.forward()
    close('top', made.blobs['y'].data,
          x.reshape(2, 2, 3, 3, 4).swapaxes(1, 2).reshape(x.shape))


@case
def reverse(rng):
    x = rng.normal(0, 1, (5, 2, 3))
    for param, want in (('', x[::-1]), ('reverse_param { axis: 0 }', x[::-1]),
                        ('reverse_param { axis: 1 }', x[:, ::-1]),
                        ('reverse_param { axis: -1 }', x[:, :, ::-1])):
        made = net("layer { name: 'l' type: 'Reverse' bottom: 'x' top: 'y' %s }" % param, {'x': x})
        made.forward()
        close('top', made.blobs['y'].data, want)


@case
def reorg(rng):
    """darknet's order, which mixes channels and positions."""
    x = rng.normal(0, 1, (2, 8, 4, 6))
    made = net("layer { name: 'l' type: 'Reorg' bottom: 'x' top: 'y' reorg_param { stride: 2 } }",
               {'x': x}, force=False)
    made.forward()
    got = made.blobs['y'].data
    for n in range(2):
        flat = x[n].ravel()
        want = np.zeros(flat.size)
        for c in range(8):
            for h in range(4):
                for w in range(6):
                    c2, offset = c % 2, c // 2
                    at = (w * 2 + offset % 2) + 12 * ((h * 2 + offset // 2) + 8 * c2)
                    want[c * 24 + h * 6 + w] = flat[at]
        close('item %d' % n, got[n].ravel(), want)


@case
def refined_detections(rng):
    """RefineDet's: as SSD's with priors that were moved, and some that are nothing."""
    P, priors = 12, np.zeros((1, 2, 48))
    corner = rng.uniform(0.1, 0.5, (P, 2))
    priors[0, 0], priors[0, 1] = np.hstack([corner, corner + 0.2]).ravel(), 0.1
    loc, move = rng.normal(0, 1, (2, 2, P * 4))
    conf, thing = rng.dirichlet([1] * 3, (2, P)), rng.uniform(0, 1, (2, P))
    inputs = {'loc': loc, 'conf': conf.reshape(2, -1), 'pri': priors,
              'thing': np.stack([1 - thing, thing], 2).reshape(2, -1), 'move': move}
    params = ("top: 'y' detection_output_param { num_classes: 3 nms_param { nms_threshold: 0.45 } "
              "keep_top_k: 50 confidence_threshold: 0.1 code_type: CENTER_SIZE "
              "objectness_score: 0.3 } }")
    made = net("layer { name: 'l' type: 'DetectionOutput' bottom: 'loc' bottom: 'conf' bottom: "
               "'pri' bottom: 'thing' bottom: 'move' " + params, inputs, force=False)
    made.forward()
    got = made.blobs['y'].data.reshape(-1, 7)
    old = priors[0, 0].reshape(P, 4)
    for n in range(2):
        d = move[n].reshape(P, 4) * 0.1
        size = old[:, 2:] - old[:, :2]
        middle, size2 = (old[:, :2] + old[:, 2:]) / 2 + d[:, :2] * size, np.exp(d[:, 2:]) * size
        moved = priors.copy()
        moved[0, 0] = np.hstack([middle - size2 / 2, middle + size2 / 2]).ravel()
        scores = conf[n] * (thing[n] >= 0.3)[:, None]
        plain = net("layer { name: 'l' type: 'DetectionOutput' bottom: 'loc' bottom: 'conf' "
                    "bottom: 'pri' " + params, {'loc': loc[n:n + 1], 'conf': scores.reshape(1, -1),
                                                'pri': moved}, force=False)
        plain.forward()
        want = plain.blobs['y'].data.reshape(-1, 7)
        mine = got[got[:, 0] == n]
        close('image %d' % n, mine[:, 1:], want[:, 1:])
        assert len(want) > 3


@case
def detection_evaluate(rng):
    """Two classes of boxes beside the background, in three images, some of them difficult; the
    detections are the true boxes, moved by up to half of a side, and others."""
    truths = np.zeros((14, 8))
    truths[:, 0], truths[:, 1] = np.sort(rng.randint(0, 3, 14)), rng.randint(1, 3, 14)
    truths[:, 3:5] = rng.uniform(0, 0.5, (14, 2))
    truths[:, 5:7], truths[:, 7] = truths[:, 3:5] + 0.3, rng.randint(0, 2, 14)
    found = np.hstack([np.repeat(truths, 2, 0)[:, :2], rng.permutation(28)[:, None] / 28,
                       np.repeat(truths, 2, 0)[:, 3:7]])
    found[:, 3:] += np.repeat(rng.uniform(0, 0.15, (28, 1)), 4, 1)
    found[::7, 1] = -1  # none
    found[3, 0], found[10, 1] = 2, 3 - found[10, 1]
    truths[5, 0] = -1  # none
    for least, difficult in ((0.5, 'true'), (0.5, 'false'), (0.7, 'true')):
        made = net("layer { name: 'l' type: 'DetectionEvaluate' bottom: 'x' bottom: 't' top: 'y' "
                   "detection_evaluate_param { num_classes: 3 overlap_threshold: %g "
                   "evaluate_difficult_gt: %s } }" % (least, difficult),
                   {'x': found.reshape(1, 1, 28, 7), 't': truths.reshape(1, 1, 14, 8)},
                   force=False)
        made.forward()
        count = [t[0] >= 0 and (difficult == 'true' or not t[7]) for t in truths]
        want = [[-1, c, sum(n for n, t in zip(count, truths) if t[1] == c), -1, -1]
                for c in (1, 2)]
        taken = set()
        for image, label, score, *box in sorted(found[found[:, 1] >= 0].tolist(),
                                                key=lambda d: (d[0], d[1], -d[2])):
            best = max(((overlap(box, t[3:7]), -g) for g, t in enumerate(truths)
                        if t[0] == image and t[1] == label), default=(0, 0))
            right = best[0] >= least
            if right and not count[-best[1]]:
                want.append([image, label, score, 0, 0])
                continue
            right = right and best[1] not in taken
            taken |= {best[1]} if right else set()
            want.append([image, label, score, right, not right])
        close('%g, %s' % (least, difficult), made.blobs['y'].data.reshape(-1, 5), want)
        assert 0 < sum(row[3] for row in want[2:]) < 20


@case
def yolo_seg(rng):
    x, t = rng.normal(0, 2, (3, 2, 4, 5)), rng.randint(0, 2, (3, 2, 4, 5))
    made = net("layer { name: 'l' type: 'YoloSeg' bottom: 'x' bottom: 't' top: 'y' loss_weight: 2 "
               "yolo_seg_param { object_scale: 0.7 } }", {'x': x, 't': t})
    made.forward()
    made.backward()
    d = 0.7 * (sigmoid(x) - t)
    close('loss', made.blobs['y'].data, (d ** 2).sum() / 3)
    close('rule', made.blobs['x'].diff, 2 * d / 3)


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


@case
def spatial_dropout(rng):
    x = rng.uniform(1, 2, (20, 30, 3, 4))
    made = net("layer { name: 'l' type: 'SpatialDropout' bottom: 'x' top: 'y' dropout_param { "
               "dropout_ratio: 0.25 } }", {'x': x})
    made.forward()
    made.backward(y=np.ones_like(x))
    factor = made.blobs['y'].data / x
    close('whole channels', factor, np.broadcast_to(factor[:, :, :1, :1], x.shape))
    share = (factor[:, :, 0, 0] == 0).mean()
    assert abs(share - 0.25) < 0.06, share
    assert set(np.round(factor[:, :, 0, 0].ravel(), 3)) == {0, 1.333}
    close('gradient', made.blobs['x'].diff, factor)
    made = net("layer { name: 'l' type: 'SpatialDropout' bottom: 'x' top: 'y' }", {'x': x},
               deepnet.TEST)
    made.forward()
    close('test', made.blobs['y'].data, x)


# ---- SSD's loss --------------------------------------------------------------------------------

def match(overlaps, least):
    """Of priors x truths: each truth takes its best prior, best pair first; then each prior its
    best truth from `least` on. -1: none."""
    taken, left = -np.ones(len(overlaps), int), overlaps.copy()
    while left.size and left.max() > 1e-6:
        i, j = np.unravel_index(left.argmax(), left.shape)
        taken[i], left[i], left[:, j] = j, 0, 0
    best = overlaps.max(1, initial=0)
    also = (taken < 0) & (best >= least)
    taken[also] = overlaps[also].argmax(1)
    return taken, best


def encode(prior, truth, corner):
    (x0, y0, x1, y1), (u0, v0, u1, v1) = prior, truth
    if corner:
        return truth - prior
    w, h = x1 - x0, y1 - y0
    return np.array([(u0 + u1 - x0 - x1) / 2 / w, (v0 + v1 - y0 - y1) / 2 / h,
                     np.log((u1 - u0) / w), np.log((v1 - v0) / h)])


@case
def multi_box_loss(rng):
    N, P, C, kept = 2, 12, 4, 5
    for code, in_target, norm, smooth, mining, *agnostic in (
            ('CENTER_SIZE', False, 'VALID', True, 'MAX_NEGATIVE'),
            ('CENTER_SIZE', False, 'VALID', True, 'MAX_NEGATIVE', True),
            ('CORNER', False, 'BATCH_SIZE', False, 'MAX_NEGATIVE'),
            ('CENTER_SIZE', True, 'FULL', True, 'NONE'), ('CORNER', True, 'NONE', False, 'NONE'),
            ('CENTER_SIZE', True, 'VALID', True, 'MAX_NEGATIVE'),
            ('CORNER', True, 'VALID', True, 'HARD_EXAMPLE'),
            ('CENTER_SIZE', False, 'NONE', False, 'HARD_EXAMPLE')):
        low, variance = rng.uniform(0, 0.6, (P, 2)), np.tile([0.1, 0.1, 0.2, 0.2], (P, 1))
        priors = np.hstack([low, low + rng.uniform(0.15, 0.4, (P, 2))])
        truths = []
        for n in (0, 0, 1):
            low = rng.uniform(0, 0.5, 2)
            truths.append([n, rng.randint(1, C), 0, *low, *low + rng.uniform(0.2, 0.4, 2), 0])
        truths = np.array(truths)
        loc, conf = rng.normal(0, 1, (N, P, 4)), rng.normal(0, 1, (N, P, C))
        made = net("layer { name: 'l' type: 'MultiBoxLoss' bottom: 'x' bottom: 'c' bottom: 'p' "
                   "bottom: 'g' top: 'y' propagate_down: true propagate_down: true propagate_down: "
                   'false propagate_down: false loss_param { normalization: %s } '
                   'multibox_loss_param { loc_loss_type: %s num_classes: 4 loc_weight: 1.5 '
                   'overlap_threshold: 0.35 neg_pos_ratio: 2 neg_overlap: 0.4 code_type: %s '
                   'encode_variance_in_target: %s mining_type: %s sample_size: %d '
                   'map_object_to_agnostic: %s } }' % (
                       norm, 'SMOOTH_L1' if smooth else 'L2', code, str(in_target).lower(),
                       mining, kept, str(bool(agnostic)).lower()),
                   {'x': loc.reshape(N, -1), 'c': conf.reshape(N, -1),
                    'p': np.stack([priors.ravel(), variance.ravel()])[None],
                    'g': truths[None, None]})
        made.forward()
        made.backward()
        total = matches = 0
        dloc, dconf = np.zeros_like(loc), np.zeros_like(conf)
        for n in range(N):
            own = truths[truths[:, 0] == n]
            taken, best = match(np.array([[overlap(p, t[3:7]) for t in own] for p in priors]), 0.35)
            labels = np.where(taken >= 0, 1 if agnostic else own[taken, 1].astype(int), 0)
            loss = -np.log(softmax(conf[n], 1))[np.arange(P), labels]
            places, d = np.zeros(P), np.zeros((P, 4))
            for i in np.flatnonzero(taken >= 0):
                code_of = encode(priors[i], own[taken[i], 3:7], code == 'CORNER') / variance[i]
                d[i] = loc[n, i] / (variance[i] if in_target else 1) - code_of
                size = np.abs(d[i])
                places[i] = np.where(smooth & (size >= 1), size - 0.5, size ** 2 / 2).sum()
            chosen = np.ones(P, bool)
            if mining == 'MAX_NEGATIVE':  # the worst of those far from all
                far = np.flatnonzero((taken < 0) & (best < 0.4))
                chosen = taken >= 0
                chosen[far[np.argsort(-loss[far])][:2 * (taken >= 0).sum()]] = True
            elif mining == 'HARD_EXAMPLE':  # the worst of all
                chosen[np.argsort(-(loss + places))[kept:]] = False
            total += loss[chosen].sum() + 1.5 * places[chosen].sum()
            matches += (chosen & (taken >= 0)).sum()
            dconf[n, chosen] = (softmax(conf[n], 1) - np.eye(C)[labels])[chosen]
            # SSD trains with the gradient for the offsets divided by the variance, if they are
            dloc[n, chosen] = 1.5 * (np.clip(d, -1, 1) if smooth else d)[chosen]
        by = {'VALID': matches, 'BATCH_SIZE': N, 'FULL': N * P, 'NONE': 1}[norm]
        what = '%s, %s, %s' % (code, norm, mining)
        close(what, made.blobs['y'].data, total / by)
        close(what + ', offsets', made.blobs['x'].diff, dloc.reshape(N, -1) / by)
        close(what + ', scores', made.blobs['c'].diff, dconf.reshape(N, -1) / by)


def main(source=None, *names):
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


if __name__ == '__main__':
    sys.exit(main(*sys.argv[1:]))
