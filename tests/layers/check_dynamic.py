#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""check_dynamic.py: nets whose shapes change between runs, by the host's wish or by what a layer
finds: results as those of a net made for the shape, memory given back, states carried on."""
import sys

import numpy as np

import deepnet


def made(layers, **inputs):
    text = 'force_backward: true ' + ''.join(
        "layer { name: '%s' type: 'Input' top: '%s' input_param { shape { %s } } } " % (
            name, name, ' '.join('dim: %d' % d for d in dims)) for name, dims in inputs.items())
    return deepnet.Net(None, deepnet.TRAIN, text=text + layers)


def give_weights(net, rng):
    for blobs in net.params.values():
        for blob in blobs:
            blob.data[...] = rng.normal(0, 0.5, blob.data.shape)


def run(net, x):
    """Everything that comes out of a run on x, of whatever shape."""
    net.blobs['x'].reshape(*x.shape)
    net.reshape()
    net.blobs['x'].data[...] = x
    net.forward()
    net.backward(**{name: np.ones_like(net.blobs[name].data) for name in net.outputs})
    return [np.array(net.blobs[name].data) for name in net.outputs] + [
        np.array(net.blobs['x'].diff)]


IMAGE_NET = """
layer { name: 'c' type: 'Convolution' bottom: 'x' top: 'c' convolution_param { num_output: 8
  kernel_size: 3 pad: 1 } }
layer { name: 'r' type: 'ReLU' bottom: 'c' top: 'c' }
layer { name: 's' type: 'Pooling' bottom: 'c' top: 's' pooling_param { kernel_size: 3 stride: 2 } }
layer { name: 'n' type: 'LRN' bottom: 's' top: 'n' }
layer { name: 'u' type: 'Deconvolution' bottom: 'n' top: 'u' convolution_param { num_output: 4
  kernel_size: 4 stride: 2 pad: 1 } }
layer { name: 'k' type: 'Crop' bottom: 'x' bottom: 'u' top: 'k' crop_param { axis: 2 } }
layer { name: 'b' type: 'BatchNorm' bottom: 'c' top: 'b' batch_norm_param { use_global_stats: true
  } }
layer { name: 'p' type: 'SPP' bottom: 'b' top: 'p' spp_param { pyramid_height: 2 } }
layer { name: 'i' type: 'InnerProduct' bottom: 'p' top: 'i' inner_product_param { num_output: 3 } }
"""


def image_sizes():
    shapes = [(2, 3, 17, 18), (5, 3, 64, 80), (1, 3, 9, 30), (2, 3, 17, 18)]
    rng = np.random.RandomState(1)
    images = [rng.normal(0, 1, shape) for shape in shapes]
    net = made(IMAGE_NET, x=shapes[0])
    give_weights(net, rng)
    totals = []
    for x in images:
        fresh = made(IMAGE_NET, x=x.shape)
        fresh.share_with(net)
        for got, want in zip(run(net, x), run(fresh, x)):
            np.testing.assert_array_equal(got, want)
        totals.append(net.memory()['total'])
    assert totals[0] == totals[3] and totals[2] < totals[0] < totals[1], totals


def filter_tops():
    """As many items as the selector says, another number each time."""
    rng = np.random.RandomState(2)
    net = made("layer { name: 'f' type: 'Filter' bottom: 'x' bottom: 's' top: 'y' } "
               "layer { name: 'i' type: 'InnerProduct' bottom: 'y' top: 'z' inner_product_param { "
               "num_output: 2 bias_term: false } }", x=(5, 3), s=(5,))
    give_weights(net, rng)
    x, w = rng.normal(0, 1, (5, 3)), net.params['i'][0].data
    for chosen in ([1, 1, 0, 1, 0], [0, 0, 0, 0, 1], [1] * 5, [0] * 5, [1, 0, 0, 0, 1]):
        net.blobs['x'].data[...], net.blobs['s'].data[...] = x, chosen
        chosen = np.array(chosen) > 0
        if not chosen.any():  # what follows cannot take nothing: refused, and no harm done
            try:
                net.forward()
                raise AssertionError('an empty batch went through')
            except deepnet.ShapeError:
                continue
        net.forward()
        np.testing.assert_allclose(net.blobs['z'].data, x[chosen] @ w.T, 1e-4, 1e-5)
        net.backward(z=np.ones((chosen.sum(), 2)))
        want = np.outer(chosen, w.sum(0))
        np.testing.assert_allclose(net.blobs['x'].diff, want, 1e-4, 1e-5)


def steps_of_time():
    """12 steps at once, or in pieces of any length: the state goes on."""
    rng = np.random.RandomState(3)
    x, begins = rng.normal(0, 1, (12, 2, 4)), np.ones((12, 2))
    begins[0] = begins[7, 1] = 0
    for kind in ('LSTM', 'RNN'):
        net = made("layer { name: 'l' type: '%s' bottom: 'x' bottom: 'c' top: 'y' recurrent_param "
                   "{ num_output: 3 } }" % kind, x=(12, 2, 4), c=(12, 2))
        give_weights(net, rng)
        whole = None
        for lengths in ([12], [3, 3, 3, 3], [1, 5, 2, 4]):
            parts, t = [], 0
            for length in lengths:
                net.blobs['c'].reshape(length, 2)
                net.blobs['x'].reshape(length, 2, 4)
                net.reshape()
                net.blobs['x'].data[...] = x[t:t + length]
                net.blobs['c'].data[...] = begins[t:t + length]
                net.forward()
                parts.append(np.array(net.blobs['y'].data))
                t += length
            got = np.concatenate(parts)
            whole = got if whole is None else whole
            np.testing.assert_allclose(got, whole, 1e-5, 1e-6)


def detections():
    """As many rows as there are boxes, and a layer after them."""
    net = made("layer { name: 'd' type: 'DetectionOutput' bottom: 'loc' bottom: 'conf' bottom: "
               "'pri' top: 'd' detection_output_param { num_classes: 3 nms_param { nms_threshold: "
               "0.45 } keep_top_k: 20 confidence_threshold: 0.5 code_type: CENTER_SIZE } } "
               "layer { name: 'e' type: 'Power' bottom: 'd' top: 'e' power_param { scale: 2 } }",
               loc=(1, 40), conf=(1, 30), pri=(1, 2, 40))
    seen = set()
    for seed in range(5):
        rng = np.random.RandomState(seed)
        corner = rng.uniform(0, 0.6, (10, 2))
        net.blobs['pri'].data[0] = np.hstack([corner, corner + 0.3]).ravel(), np.full(40, 0.1)
        net.blobs['conf'].data[...] = rng.dirichlet([0.3 + seed] * 3, 10).ravel()
        net.forward()
        rows = net.blobs['d'].data
        seen.add(rows.shape[2])
        np.testing.assert_array_equal(net.blobs['e'].data, 2 * rows)
    assert len(seen) > 2, seen


def main():
    failed = 0
    for check in (image_sizes, filter_tops, steps_of_time, detections):
        try:
            check()
        except (AssertionError, deepnet.Error) as error:
            failed += 1
            print('FAILED %s: %s' % (check.__name__, error))
    print('4 checks, %d failed' % failed)
    return int(failed > 0)


if __name__ == '__main__':
    sys.exit(main())
