#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""check_fork_values.py [SOURCE [NAME]...]: layers of the forks against numpy written from
their definitions, and where the gradient is a rule of their own, against that rule:
normalisation, activations, moves, recurrence."""
import sys
import tempfile

import numpy as np

import deepnet
from oracle import case, close, main, net, sigmoid


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
def lstm_goes_on(rng):
    """junhyukoh's with a second bottom: the state of the last run goes on where it is 1."""
    T, N, I, H = 4, 2, 3, 5
    wx, wh, b = rng.normal(0, 1, (4 * H, I)), rng.normal(0, 1, (4 * H, H)), rng.normal(0, 1, 4 * H)
    cont = np.array([[0, 1], [1, 1], [1, 0], [1, 1]])
    made = net("layer { name: 'l' type: 'Lstm' bottom: 'x' bottom: 'c' top: 'y' lstm_param { num_output: "
               "5 batch_size: 2 } }", {'x': np.zeros((T * N, I)), 'c': cont.reshape(T * N, 1)})
    for weight, value in zip(made.params['l'], (wx, wh, b)):
        weight.data[...] = value
    h, c = np.zeros((N, H)), np.zeros((N, H))
    for _ in range(3):
        x, want = rng.normal(0, 1, (T, N, I)), []
        for t in range(T):
            on = cont[t].reshape(N, 1)
            i, f, o, g = np.split(x[t] @ wx.T + (on * h) @ wh.T + b, 4, 1)
            c = on * sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
            want.append(h)
        made.blobs['x'].data[...] = x.reshape(T * N, I)
        made.forward()
        close('top', made.blobs['y'].data, np.concatenate(want))


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


@case
def mask_pooling(rng):
    x, f = rng.normal(0, 1, (3, 4, 2, 5)), rng.normal(0, 1, (3, 1, 2, 5))
    made = net("layer { name: 'l' type: 'MaskPooling' bottom: 'x' bottom: 'f' top: 'y' }",
               {'x': x, 'f': f})
    made.forward()
    close('top', made.blobs['y'].data, x * f)


@case
def norms(rng):
    """GRN has one norm for each position, Normalization and L2Normalize one for each item."""
    x = rng.normal(0, 1, (2, 3, 4, 5))
    for kind, axes, eps in (("type: 'GRN' grn_param { bias: 0.25 }", 1, 0.25),
                            ("type: 'GRN'", 1, 1), ("type: 'Normalization'", (1, 2, 3), 0)):
        made = net("layer { name: 'l' bottom: 'x' top: 'y' %s }" % kind, {'x': x})
        made.forward()
        close(kind, made.blobs['y'].data, x / np.sqrt(eps + (x ** 2).sum(axes, keepdims=True)))
    x[1] *= 1e-4
    made, dy = net("layer { name: 'l' type: 'L2Normalize' bottom: 'x' top: 'y' }", {'x': x}), x + 1
    made.forward()
    norm = np.sqrt(1e-7 + (x ** 2).sum((1, 2, 3), keepdims=True))
    close('L2Normalize', made.blobs['y'].data, x / norm)
    made.backward(y=dy)
    dx = (dy - x / norm * (x / norm * dy).sum((1, 2, 3), keepdims=True)) / norm
    for i in range(2):
        close('gradient of L2Normalize', made.blobs['x'].diff[i], dx[i])


@case
def rrelu(rng):
    x, dy = rng.normal(0, 1, (2, 40, 50))
    below, mean = x < 0, 5 / np.log(8 / 3)
    for kind, text, mean in (
            ('RReLU', 'rrelu_param { lb: 3 ub: 8 }', mean),
            ('RReLU', 'rrelu_param { negative_slope_lower: 3 negative_slope_upper: 8 }', 5.5),
            ('Insanity', 'insanity_param { lb: 3 ub: 8 }', mean)):
        layer = "layer { name: 'l' type: '%s' bottom: 'x' top: 'y' %s }" % (kind, text)
        made, drawn = net(layer, {'x': x}, deepnet.TEST), []
        made.forward()
        close(text, made.blobs['y'].data, np.where(below, x / mean, x))
        made = net(layer, {'x': x})
        for _ in range(2):
            made.forward()
            y = made.blobs['y'].data.astype('f8')
            close('above 0', y[~below], x[~below])
            drawn.append((x[below] / y[below]))
            assert 2.999 < drawn[-1].min() < 3.1 and 7.9 < drawn[-1].max() < 8.001, drawn[-1]
            assert abs(drawn[-1].mean() - 5.5) < 0.2 and abs(drawn[-1].std() - 5 / 12 ** 0.5) < 0.1
            made.backward(y=dy)
            close('gradient', made.blobs['x'].diff, np.where(below, dy * y / x, dy))
        assert (np.abs(drawn[0] - drawn[1]) > 0.01).mean() > 0.9
    assert abs(np.corrcoef(drawn[0], drawn[1])[0, 1]) < 0.2
    made = net("layer { name: 'l' type: 'Insanity' bottom: 'x' top: 'y' }", {'x': x}, deepnet.TEST)
    made.forward()
    close('usual bounds', made.blobs['y'].data, np.where(below, x * np.log(2) / 5, x))


@case
def eltwise_affine(rng):
    x, dy = rng.normal(0, 1, (2, 2, 3, 4, 5))
    for shared, axes in ((False, (0, 2, 3)), (True, (0, 1, 2, 3))):
        made = net("layer { name: 'l' type: 'EltwiseAffine' bottom: 'x' top: 'y' "
                   'eltwise_affine_param { channel_shared: %s } }' % str(shared).lower(), {'x': x})
        a, b = made.params['l']
        shape = () if shared else (3,)
        np.testing.assert_array_equal(a.data, np.full(shape, 1.0001, 'f4'))
        np.testing.assert_array_equal(b.data, np.full(shape, 0.0001, 'f4'))
        a.data[...], b.data[...] = rng.normal(0, 1, (2, *shape))
        slope, shift = (np.array(w.data).reshape(-1, 1, 1) for w in (a, b))
        made.forward()
        close('top', made.blobs['y'].data, slope * x + shift)
        made.backward(y=dy)
        close('gradient', made.blobs['x'].diff, slope * dy)
        close('of the slope', a.diff, (x * dy).sum(axes))
        close('of the shift', b.diff, dy.sum(axes))


SCALED = """name: 'scaled' layer { name: 'x' type: 'Input' top: 'x' input_param { shape { dim: 3 dim: 4 } } }
layer { name: 'ip' type: 'InnerProduct' bottom: 'x' top: 'ip' inner_product_param { num_output: 2
  weight_filler { type: 'gaussian' } } }
layer { name: 'l' type: 'GradientScaler' bottom: 'ip' top: 'y' gradient_scaler_param { lower_bound: 0.25
  upper_bound: 2 alpha: 3 max_iter: 4 } }
layer { name: 'loss' type: 'EuclideanLoss' bottom: 'y' bottom: 'x2' top: 'loss' }"""


@case
def gradient_scaler(rng):
    """By the iteration of the solver, however many passes it has; without one the factor is -1."""
    x, dy = rng.normal(0, 1, (2, 3, 4))
    made = net("layer { name: 'l' type: 'GradientScaler' bottom: 'x' top: 'y' }", {'x': x})
    for _ in range(2):
        made.forward()
        close('top', made.blobs['y'].data, x)
        made.backward(y=dy)
        close('gradient', made.blobs['x'].diff, -dy)
    solvers = [deepnet.Solver(
        text="base_lr: 0 lr_policy: 'fixed' iter_size: %d snapshot_prefix: 'scaled'" % size,
        net_text=SCALED.replace("dim: 4 } } }", "dim: 4 } } } layer { name: 'x2' type: 'Input' "
                                "top: 'x2' input_param { shape { dim: 3 dim: 2 } } }", 1),
        manual_snapshots=True, max_iter=9) for size in (1, 2, 1)]
    for solver in solvers:
        solver.net.blobs['x'].data[...] = x

    def look(solver, iteration):
        solver.step(1)
        factor = 0.25 + 1.75 * (2 / (1 + np.exp(-3 * min(iteration / 4, 1))) - 1)
        close('top', solver.net.blobs['y'].data, solver.net.blobs['ip'].data)
        close('iteration %d' % iteration, solver.net.blobs['ip'].diff,
              -factor * solver.net.blobs['y'].diff)

    for i in range(3):
        look(solvers[0], i)
        look(solvers[1], i)
    with tempfile.TemporaryDirectory() as folder:
        path = folder + '/scaled'
        solvers[0].snapshot(path)
        solvers[2].restore(path + '.solverstate')
    for i in range(3, 7):
        for solver in solvers:
            look(solver, i)
    shared = solvers[0].net.shared()
    shared.blobs['x'].data[...] = x
    shared.forward()
    shared.backward()
    close('shared', shared.blobs['ip'].diff, -shared.blobs['y'].diff)


@case
def signed_sqrt(rng):
    x, dy = np.append(rng.normal(0, 1, 58), [0, 1e-6]).reshape(3, 4, 5), rng.normal(0, 1, (3, 4, 5))
    y = np.sign(x) * np.sqrt(np.abs(x))
    made = net("layer { name: 'l' type: 'SignedSqrt' bottom: 'x' top: 'y' }", {'x': x})
    made.forward()
    close('top', made.blobs['y'].data, y)
    made.backward(y=dy)
    close('gradient', made.blobs['x'].diff, dy / (2 * np.abs(y) + 0.06))


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
def sampled_dropout(rng):
    """Bayesian SegNet's: drawn in TEST too, anew each time."""
    x, text = rng.uniform(1, 2, (20, 300)), "layer { name: 'l' type: 'Dropout' bottom: 'x' top: " \
        "'y' dropout_param { dropout_ratio: 0.25 sample_weights_test: %s } }"
    made = net(text % 'true', {'x': x}, deepnet.TEST)
    made.forward()
    first = made.blobs['y'].data / x
    assert set(np.round(first.ravel(), 3)) == {0, 1.333}
    assert abs((first == 0).mean() - 0.25) < 0.03, (first == 0).mean()
    made.forward()
    factor = made.blobs['y'].data / x
    assert 0.3 < ((factor == 0) != (first == 0)).mean() < 0.45
    made.backward(y=np.ones_like(x))
    close('gradient', made.blobs['x'].diff, factor)
    made = net(text % 'false', {'x': x}, deepnet.TEST)
    made.forward()
    close('mean', made.blobs['y'].data, x)


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


if __name__ == '__main__':
    sys.exit(main(*sys.argv[1:]))
