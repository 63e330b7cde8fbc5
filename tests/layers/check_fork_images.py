#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""check_fork_images.py [SOURCE [NAME]...]: layers of the forks against numpy written from
their definitions, and where the gradient is a rule of their own, against that rule:
what takes pixels from other places."""
import itertools
import sys

import numpy as np

import deepnet
from oracle import case, close, main, net, softmax


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
def resize(rng):
    """What lies below and to the right of the last pixels is black."""
    x = rng.normal(1, 1, (2, 3, 5, 6))
    for size, text in (((8, 9), "height: 8 width: 9"), ((2, 6), "height: 2 width: 6"),
                       ((1, 13), "is_pyramid_test: true out_height_scale: 0.39 out_width_scale: 2.2")):
        made = net("layer { name: 'l' type: 'Resize' bottom: 'x' top: 'y' resize_param { %s } }" % text,
                   {'x': x})
        made.forward()
        wide, want = np.pad(x, ((0, 0), (0, 0), (0, 1), (0, 1))), np.zeros((2, 3) + size)
        for i, j in itertools.product(range(size[0]), range(size[1])):
            v, u = i * 5 / size[0], j * 6 / size[1]
            a, b = int(v), int(u)
            p, q = v - a, u - b
            want[:, :, i, j] = ((1 - p) * ((1 - q) * wide[:, :, a, b] + q * wide[:, :, a, b + 1]) +
                                p * ((1 - q) * wide[:, :, a + 1, b] + q * wide[:, :, a + 1, b + 1]))
        close(text, made.blobs['y'].data, want)


@case
def mask_resize(rng):
    """The last pixels go on for half a pixel, then there is black."""
    x = rng.normal(1, 1, (2, 3, 5, 6))
    for P, Q in ((3, 4), (8, 9), (5, 6), (1, 2), (24, 7), (10, 31)):
        made = net("layer { name: 'l' type: 'MaskResize' bottom: 'x' top: 'y' mask_resize_param "
                   "{ output_height: %d output_width: %d } }" % (P, Q), {'x': x})
        made.forward()
        rows, columns = np.zeros((P, 5)), np.zeros((Q, 6))
        for m in (rows, columns):
            to, size = m.shape
            for i in range(to):
                at = i * size / to
                a = min(int(at), size - 1)
                b = min(a + 1, size - 1)
                if at <= size - 0.5:
                    m[i, a] += 1 - (at - a if b > a else 0)
                    m[i, b] += at - a if b > a else 0
        close('%d, %d' % (P, Q), made.blobs['y'].data, rows @ x @ columns.T)
        dy = rng.normal(0, 1, (2, 3, P, Q))
        made.blobs['y'].diff[...] = dy
        made.backward()
        close('gradient', made.blobs['x'].diff, rows.T @ dy @ columns)


@case
def padding(rng):
    x = rng.normal(0, 1, (2, 3, 5, 6))
    for text, up, left, value in (
            ("pad_beg: 2 pad_end: 1", (2, 1), (2, 1), 0), ("pad: 3", (3, 3), (3, 3), 0),
            ("pad_t: 1 pad_r: 2 pad_value: -4", (1, 0), (0, 2), -4),
            ("pad_method: CONSTANT", (0, 0), (0, 0), 0)):
        made = net("layer { name: 'l' type: 'Padding' bottom: 'x' top: 'y' padding_param { %s } }" % text,
                   {'x': x})
        made.forward()
        close(text, made.blobs['y'].data,
              np.pad(x, ((0, 0), (0, 0), up, left), constant_values=value))
    made = deepnet.Net(None, deepnet.TEST, text="input: 'x' input_dim: 2 input_dim: 3 input_dim: 5 "
                       "input_dim: 6 layers { name: 'l' type: PADDING bottom: 'x' top: 'y' padding_param "
                       "{ pad_beg: -2 pad_end: -1 } }")
    made.blobs['x'].data[...] = x
    made.forward()
    close('cut', made.blobs['y'].data, x[:, :, 2:-1, 2:-1])


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


def regions_of(rng, R, items, H, W, stride):
    a, size = rng.uniform(0, 0.6, (R, 2)), rng.uniform(0.1, 0.4, (R, 2))
    return np.hstack([rng.randint(0, items, (R, 1)),
                      np.hstack([a, a + size]) * ([W * stride, H * stride] * 2)]).round(2)


@case
def roi_pooling(rng):
    """pad_ratio is MS-CNN's."""
    x = rng.normal(0, 1, (2, 3, 9, 11))
    for stride, pad in ((8, 0), (8, 0.25), (1, 0.4)):
        text = 'pad_ratio: %r' % pad if pad else ''
        regions = regions_of(rng, 7, 2, 9, 11, stride)
        made = net("layer { name: 'l' type: 'ROIPooling' bottom: 'x' bottom: 'r' top: 'y' "
                   "roi_pooling_param { pooled_h: 3 pooled_w: 4 spatial_scale: %f %s } }" % (
                       1 / stride, text), {'x': x, 'r': regions}, force=pad > 0)
        made.forward()
        dy, dx = rng.normal(0, 1, (7, 3, 3, 4)), np.zeros(x.shape)
        want = np.zeros((7, 3, 3, 4))
        for r, (n, x0, y0, x1, y1) in enumerate(regions.astype('f4')):
            u, v = (x1 - x0 + 1) * pad, (y1 - y0 + 1) * pad
            corners = np.array([x0 - u, y0 - v, x1 + u, y1 + v]) / stride
            x0, y0, x1, y1 = np.floor(corners + 0.5).astype(int)
            h, w = max(y1 - y0 + 1, 1), max(x1 - x0 + 1, 1)
            for i in range(3):
                for j in range(4):
                    rows = slice(max(y0 + i * h // 3, 0), max(y0 - (-(i + 1) * h // 3), 0))
                    columns = slice(max(x0 + j * w // 4, 0), max(x0 - (-(j + 1) * w // 4), 0))
                    window = x[int(n), :, rows, columns]
                    if not window.size:
                        continue
                    want[r, :, i, j] = window.max((1, 2))
                    dx[int(n), :, rows, columns] += ((window == want[r, :, i, j, None, None]) *
                                                     dy[r, :, i, j, None, None])
        close('top ' + text, made.blobs['y'].data, want)
        if pad:
            made.blobs['y'].diff[...] = dy
            made.backward()
            close('gradient', made.blobs['x'].diff, dx)


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
def dense_crf(rng):
    """DeepLab's: kernels of places and of colours, images that are smaller than their blob."""
    N, C, H, W = 3, 4, 5, 6
    u, image = rng.normal(0, 1, (N, C, H, W)), rng.uniform(0, 255, (N, 3, H, W))
    image[0, :, :, 3:] = image[0, :, :1, :1]
    sizes = [[5, 6, 1], [4, 3, 1], [9, 7, 1]]
    for colours, param in ((True, 'max_iter: 3 '), (True, 'max_iter: 2 output_probability: false '),
                           (False, ''), (False, 'max_iter: 0 ')):
        inputs = {'u': u, 'd': np.reshape(sizes, (N, 3, 1, 1))}
        if colours:
            inputs['i'] = image
        made = net("layer { name: 'l' type: 'DenseCRF' bottom: 'u' bottom: 'd' %s top: 'y' "
                   "dense_crf_param { %s pos_w: 1.5 pos_xy_std: 3 pos_w: 0.5 pos_xy_std: 1 bi_w: 2 "
                   "bi_xy_std: 12 bi_rgb_std: 30 } }" % (colours and "bottom: 'i'" or '', param), inputs)
        made.forward()
        want = np.zeros((N, C, H, W))
        for n in range(N):
            h, w = min(H, sizes[n][0]), min(W, sizes[n][1])
            place = np.stack(np.meshgrid(np.arange(w), np.arange(h)), -1).reshape(-1, 2)
            kernels = [(1.5, lattice(place / 3)), (0.5, lattice(place / 1))]
            if colours:
                values = image[n, :, :h, :w].astype('f4').reshape(3, -1).T
                kernels.append((2, lattice(np.concatenate([place / 12, values / 30], 1))))
            unary = u[n, :, :h, :w].reshape(C, -1)
            p = softmax(unary, 0)
            for _ in range({'max_iter: 0 ': 0, '': 10}.get(param, int(param[10]) if param else 0)):
                p = softmax(unary + sum(weight * p @ k.T for weight, k in kernels), 0)
            want[n, :, :h, :w] = (np.log(p) if 'false' in param else p).reshape(C, h, w)
        close(param, made.blobs['y'].data, want)
    u[1, :, 4:] = np.nan  # of what is padding
    made.blobs['u'].data[...] = u
    made.forward()
    assert not made.blobs['y'].data[1, :, 4:].any()
    made = net("layer { name: 'f' type: 'Filter' bottom: 'u' bottom: 'd' bottom: 's' top: 'x' top: 'e' } "
               "layer { name: 'l' type: 'DenseCRF' bottom: 'x' bottom: 'e' top: 'y' dense_crf_param { "
               "pos_w: 1 pos_xy_std: 1 } }", {'u': u, 'd': np.array(sizes), 's': np.zeros((N, 1))})
    made.forward()
    assert made.blobs['y'].shape[0] == 0, made.blobs['y'].shape


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


if __name__ == '__main__':
    sys.exit(main(*sys.argv[1:]))
