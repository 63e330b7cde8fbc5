#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""check_dynamic.py: nets whose shapes change between runs, by the host's wish or by what a layer
finds: results as those of a net made for the shape, memory given back, states carried on."""
import re
import sys
from pathlib import Path

import numpy as np

import deepnet
from deepnet.proto import caffe_pb2, text_format

REFERENCE = Path(__file__).resolve().parent / 'reference'
# Layers with a bottom that is no batch, or with time in axis 0.
NO_BATCH = {'bias_two_bottoms', 'scale_two_bottoms', 'infogain', 'parameter', 'lstm', 'rnn',
            'lstm_static', 'lstm_unit', 'fork_multibox_smooth', 'fork_net_captions',
            'net_siamese_shared'}
DRAWN = re.compile('dropout|dummy|bn')  # another outcome, or other statistics, at each run


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
        net.forward()
        assert net.blobs['z'].data.shape == (chosen.sum(), 2)
        np.testing.assert_allclose(net.blobs['z'].data, x[chosen] @ w.T, 1e-4, 1e-5)
        net.backward(z=np.ones((chosen.sum(), 2)))
        want = np.outer(chosen, w.sum(0))
        np.testing.assert_allclose(net.blobs['x'].diff, want, 1e-4, 1e-5)
    net.blobs['s'].data[...] = 1  # the gradient goes back by what passed
    net.backward(z=np.ones((2, 2)))
    np.testing.assert_allclose(net.blobs['x'].diff, want, 1e-4, 1e-5)


def filter_many():
    """Ten bottoms, and so ten tops."""
    names = 'abcdefghij'
    net = made(''.join("layer { name: '%s' type: 'Power' bottom: 'x' top: '%s' power_param { scale: "
                       "%d } } " % (n, n, i + 1) for i, n in enumerate(names)) +
               "layer { name: 'filter' type: 'Filter' %s bottom: 's' %s }" % (
                   ' '.join("bottom: '%s'" % n for n in names),
                   ' '.join("top: '%s_'" % n for n in names)), x=(4, 3), s=(4,))
    x = np.random.RandomState(5).normal(0, 1, (4, 3)).astype('f')
    net.blobs['x'].data[...] = x
    for chosen in ([0, 1, 0, 1], [1, 1, 1, 0], [0] * 4):
        net.blobs['s'].data[...] = chosen
        net.forward()
        for i, n in enumerate(names):
            np.testing.assert_allclose(net.blobs[n + '_'].data,
                                       (i + 1) * x[np.array(chosen) > 0], 1e-6)


def filter_shared():
    """What a Filter reads, another layer reads too: both gradients arrive, whoever is first."""
    layers = ["layer { name: 'f' type: 'Filter' bottom: 'x' bottom: 's' top: 'y' } ",
              "layer { name: 'p' type: 'Power' bottom: 'x' top: 'z' power_param { scale: 3 } } "]
    for order in layers, layers[::-1]:
        net = made(''.join(order), x=(5, 3), s=(5,))
        for chosen in ([1, 0, 1, 0, 0], [1] * 5, [0] * 5, [0, 0, 0, 1, 1]):
            net.blobs['x'].data[...], net.blobs['s'].data[...] = 1, chosen
            net.forward()
            net.backward(y=np.full((sum(chosen), 3), 2), z=np.ones((5, 3)))
            want = 2 * np.array(chosen)[:, None] + np.full((5, 3), 3)
            np.testing.assert_array_equal(net.blobs['x'].diff, want)


def forks_nothing():
    """Layers of the forks, of no items and of some again."""
    for layer in ("type: 'LabelSpecificAdd' bottom: 'y' bottom: 'u' label_specific_add_param { bias: -1 }",
                  "type: 'MarginInnerProduct' bottom: 'y' bottom: 'u' margin_inner_product_param { "
                  "num_output: 2 type: DOUBLE weight_filler { type: 'xavier' } }",
                  "type: 'TripletLoss' bottom: 'y' bottom: 'y' bottom: 'y'",
                  "type: 'HardSwish' bottom: 'y'", "type: 'HardSigmoid' bottom: 'y'",
                  "type: 'Reverse' bottom: 'y' reverse_param { axis: 1 }",
                  "type: 'InnerProduct' bottom: 'y' inner_product_param { num_output: 2 "
                  "normalize: true weight_filler { type: 'xavier' } }",
                  "type: 'Normalize' bottom: 'y'"):
        net = made("layer { name: 'f' type: 'Filter' bottom: 'x' bottom: 't' bottom: 's' top: 'y' "
                   "top: 'u' } layer { name: 'l' top: 'z' %s }" % layer, x=(5, 3), t=(5,), s=(5,))
        for chosen in ([1, 1, 0, 1, 0], [0] * 5, [1, 0, 0, 0, 1]):
            net.blobs['x'].data[...], net.blobs['s'].data[...] = 1, chosen
            z = net.forward()['z']
            assert np.isfinite(z).all(), layer
            if 'Loss' in layer:
                assert z == (0.5 if sum(chosen) else 0), z
            else:
                assert len(z) == sum(chosen), layer
            net.backward()


def reshaped_nothing():
    """What a reshape makes of an empty batch is empty, or refused."""
    for dims, shape in (('0 -1 3', (0, 4, 3)), ('-1 3', (0, 3)), ('0 12', (0, 12)), ('12', None)):
        net = made("layer { name: 'f' type: 'Filter' bottom: 'x' bottom: 's' top: 'y' } "
                   "layer { name: 'r' type: 'Reshape' bottom: 'y' top: 'z' reshape_param { shape { "
                   "%s } } }" % ' '.join('dim: ' + d for d in dims.split()), x=(1, 12), s=(1,))
        net.blobs['s'].data[...] = 0
        try:
            net.forward()
            assert net.blobs['z'].data.shape == shape, (dims, net.blobs['z'].data.shape)
        except deepnet.ShapeError:
            assert shape is None, dims


def evaluated_nothing():
    """Of no image there is no intersection."""
    net = made("layer { name: 'f' type: 'Filter' bottom: 'x' bottom: 's' top: 'y' } layer { name: "
               "'e' type: 'SegmentationEvaluate' bottom: 'y' bottom: 't' top: 'z' }",
               x=(1, 2, 4, 4), s=(1,), t=(1, 2, 8, 8))
    net.blobs['x'].data[...] = net.blobs['t'].data[...] = 1
    for chosen in (1, 0, 1):
        net.blobs['s'].data[...] = chosen
        net.forward()
        np.testing.assert_array_equal(net.blobs['z'].data.ravel(), [chosen] * 2)


def filters_apart():
    """Data and labels go through a filter each: they fit only once both ran."""
    rng = np.random.RandomState(5)
    loss = ("layer { name: 'f' type: 'Filter' bottom: 'x' bottom: 's' top: 'y' } "
            "layer { name: 'i' type: 'InnerProduct' bottom: 'y' top: 'z' inner_product_param { "
            "num_output: 3 } } "
            "layer { name: 'g' type: 'Filter' bottom: 't' bottom: 's' top: 'u' } "
            "layer { name: 'l' type: 'SoftmaxWithLoss' bottom: 'z' bottom: 'u' top: 'l' } ")
    net = made(loss, x=(6, 4), s=(6,), t=(6,))
    give_weights(net, rng)
    (w, b), x = (blob.data for blob in net.params['i']), rng.normal(0, 1, (6, 4))
    labels = rng.randint(0, 3, 6)
    for chosen in ([1, 0, 1, 1, 0, 0], [1] * 6, [0] * 6, [0, 0, 0, 0, 0, 1]):
        net.blobs['x'].data[...], net.blobs['t'].data[...] = x, labels
        net.blobs['s'].data[...] = chosen
        net.clear_param_diffs()
        net.forward()
        net.backward()
        chosen = np.array(chosen) > 0
        scores = x[chosen] @ w.T + b
        p = np.exp(scores - scores.max(1, keepdims=True, initial=0))
        p /= p.sum(1, keepdims=True)
        want = -np.log(p[np.arange(len(p)), labels[chosen]]).sum() / max(1, len(p))
        np.testing.assert_allclose(net.blobs['l'].data, want, 1e-4, 1e-6)
        dz = (p - np.eye(3)[labels[chosen]]) / max(1, len(p))
        np.testing.assert_allclose(net.params['i'][0].diff, dz.T @ x[chosen], 1e-3, 1e-5)
    net.blobs['t'].reshape(5)  # of another length than the selector: an error, and no harm done
    try:
        net.reshape()
        raise AssertionError('5 labels went through a selector of 6')
    except deepnet.ShapeError:
        pass


def filtered(path):
    """A recorded net whose inputs pass a filter each."""
    recorded, net = caffe_pb2.NetParameter(), caffe_pb2.NetParameter()
    text_format.Merge(path.read_text(), recorded)
    tops = []
    for layer in recorded.layer:
        if layer.type != 'Input':
            net.layer.append(layer)
            continue
        for top, shape in zip(layer.top, layer.input_param.shape):
            tops.append(top)
            text_format.Merge(
                "layer { name: '%s_in' type: 'Input' top: '%s_in' top: '%s_sel' input_param { "
                "shape { %s } shape { dim: %d } } } layer { name: '%s_f' type: 'Filter' bottom: "
                "'%s_in' bottom: '%s_sel' top: '%s' }" % (
                    top, top, top, ' '.join('dim: %d' % d for d in shape.dim), shape.dim[0],
                    top, top, top, top), net)
    net.force_backward = True
    return deepnet.Net(None, deepnet.TRAIN, text=text_format.MessageToString(net)), tops


def empty_batches():
    """Every recorded layer takes an empty batch, and the next one as if nothing had been."""
    count = 0
    for folder in sorted(REFERENCE.iterdir()):
        if folder.name in NO_BATCH or not (folder / 'blobs.npz').exists():
            continue
        arrays = np.load(folder / 'blobs.npz')
        net, tops = filtered(folder / 'net.prototxt')
        results, count = [], count + 1
        for chosen in (1, 0, 1):
            for top in tops:
                net.blobs[top + '_in'].data[...] = arrays['in/' + top]
                net.blobs[top + '_sel'].data[...] = chosen
            net.clear_param_diffs()
            net.forward()
            net.backward()
            diffs = [np.array(blob.diff) for blobs in net.params.values() for blob in blobs]
            results.append([np.array(net.blobs[name].data) for name in net.outputs] + diffs)
            assert all(np.isfinite(a).all() for a in results[-1]), folder.name
            assert chosen or not any(diff.any() for diff in diffs), folder.name
        if not DRAWN.search(folder.name):
            for before, after in zip(results[0], results[2]):
                np.testing.assert_array_equal(before, after, folder.name)
    assert count > 90, count


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
    checks = (image_sizes, filter_tops, filter_many, filter_shared, forks_nothing,
              reshaped_nothing, evaluated_nothing, filters_apart, empty_batches, steps_of_time, detections)
    for check in checks:
        try:
            check()
        except (AssertionError, deepnet.Error) as error:
            failed += 1
            print('FAILED %s: %s' % (check.__name__, error))
    print('%d checks, %d failed' % (len(checks), failed))
    return int(failed > 0)


if __name__ == '__main__':
    sys.exit(main())
