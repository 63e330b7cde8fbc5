#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""check_fork_detectors.py [SOURCE [NAME]...]: layers of the forks against numpy written from
their definitions, and where the gradient is a rule of their own, against that rule:
what detectors are trained with and what they find."""
import itertools
import sys

import numpy as np

import deepnet
from oracle import case, close, corners, main, net, overlap, sigmoid, softmax, suppress


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


def proposed(maps, n, classes, rates, fields):
    """[score, corners] of image n: MS-CNN's, before suppression."""
    for x, rate, field in zip(maps, rates, fields):
        H, W = x.shape[2:]
        for i in range(H):
            for j in range(W):
                v = x[n, :, i, j]
                middle = (np.array([j, i]) + 0.5) * rate + np.clip(v[-4:-2], -0.4, 0.4) * field
                size = np.exp(np.clip(v[-2:], -np.log(3), np.log(3))) * field
                low = np.maximum(middle - size / 2, 0)
                size = np.minimum(size, np.array([W, H]) * rate - low)
                if (size >= 6).all():
                    yield [v[1:classes].max() - v[0], [*low, *(low + size)]]


@case
def box_output(rng):
    for classes, text, before, after in ((2, '', 99, 99),
                                         (4, 'max_nms_num: 20 max_post_nms_num: 7', 20, 7)):
        rates, fields = (8, 16), ([14, 10], [30, 28])
        maps = [rng.normal(0, 1, (2, classes + 4, 5, 6)), rng.normal(0, 1, (2, classes + 4, 2, 3))]
        made = net("layer { name: 'l' type: 'BoxOutput' bottom: 'a' bottom: 'b' top: 'y' top: 's' "
                   "box_output_param { fg_thr: -0.5 iou_thr: 0.3 field_w: 14 field_w: 30 field_h: "
                   "10 field_h: 28 downsample_rate: 8 downsample_rate: 16 field_whr: 3 field_xyr: "
                   "2.5 min_size: 6 %s } }" % text, dict(zip('ab', maps)), deepnet.TEST)
        made.forward()
        want = []
        for n in range(2):
            rows = [r for r in proposed(maps, n, classes, rates, fields) if r[0] >= -0.5]
            rows = suppress(sorted(rows, key=lambda r: -r[0])[:before], 0.3)[:after]
            want += [[n, *box, score] for score, box in rows]
        assert len(want) > 10
        close('boxes', made.blobs['y'].data[:, :, 0, 0], np.array(want)[:, :5])
        close('scores', made.blobs['s'].data[:, :, 0, 0], want)
    made.blobs['a'].data[...], made.blobs['b'].data[...] = 0, 0
    for blob in 'ab':
        made.blobs[blob].data[:, 0] = 9
    made.forward()
    close('nothing', made.blobs['y'].data[:, :, 0, 0], [[0] + [-1] * 4, [1] + [-1] * 4])


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


@case
def multi_box_logistic(rng):
    """A prior without a match: of no class where all count, of background where chosen."""
    P, C, box = 6, 3, np.array([0.2, 0.3, 0.6, 0.8])
    for mining in ('NONE', 'MAX_NEGATIVE neg_pos_ratio: 100 neg_overlap: 1'):
        priors = np.vstack([box + 0.01 * i for i in range(2)] +
                           [box + [0.3, 0.1, 0.3, 0.1 + 0.01 * i] for i in range(P - 2)])
        conf = rng.normal(0, 1, (P, C))
        made = net("layer { name: 'l' type: 'MultiBoxLoss' bottom: 'x' bottom: 'c' bottom: 'p' "
                   "bottom: 'g' top: 'y' propagate_down: true propagate_down: true propagate_down: "
                   'false propagate_down: false loss_param { normalization: NONE } '
                   'multibox_loss_param { num_classes: 3 conf_loss_type: LOGISTIC mining_type: '
                   '%s } }' % mining,
                   {'x': np.zeros((1, 4 * P)), 'c': conf.reshape(1, -1),
                    'p': np.stack([priors.ravel(), np.full(4 * P, 0.1)])[None],
                    'g': np.array([0, 2, 0, *box, 0])[None, None, None]})
        made.forward()
        made.backward()
        target = np.zeros((P, C))
        target[:2, 2] = 1
        target[2:, 0] = mining != 'NONE'
        close(mining, made.blobs['c'].diff, (sigmoid(conf) - target).reshape(1, -1))


if __name__ == '__main__':
    sys.exit(main(*sys.argv[1:]))
