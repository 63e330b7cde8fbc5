#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""check_nets.py SOURCE [--all | NET...]: public nets with random weights, forward, beside OpenCV,
which reads the .caffemodel that deepnet wrote. Outputs agree to 1e-4 of the largest value.

The nets are in $DEEPNET_CORPUS, or shared/corpus beside the source tree; without that folder or
without cv2 the test is skipped. nets.tsv names each net with what is compared: `outputs`, or,
where OpenCV lacks the detection layer at the end, what that would read; or nothing, `alone`, where
it lacks a layer in the middle. Nets marked `quick` run by default. --write records the differences
found.

Weights are drawn, then scaled layer by layer so that values neither vanish nor grow. For OpenCV
some layers are written in words it knows: BN as BatchNorm and Scale, LRN's k as a factor, a
depthwise convolution as a grouped one, an upsampling as a deconvolution of ones."""
import csv
import os
import re
import sys
import tempfile

import numpy as np

import deepnet
from deepnet.proto import caffe_pb2, text_format

HERE = os.path.dirname(os.path.abspath(__file__))
SKIPPED = 77
TOLERANCE = 1e-4
LEARNED = {'Convolution', 'DepthwiseConvolution', 'ConvolutionDepthwise', 'Deconvolution',
           'InnerProduct'}
DETECTIONS = {'YoloDetectionOutput', 'Yolov3DetectionOutput'}
STEERING = ['default_forward_type', 'default_backward_type', 'default_forward_math',
            'default_backward_math']


# ---- weights -----------------------------------------------------------------------------------

def draw(layer, rng):
    """The weights of one layer."""
    arrays = [blob.data for blob in layer.blobs]
    if layer.type == 'BatchNorm':
        arrays[0][...] = rng.normal(0, 0.1, arrays[0].shape)
        arrays[1][...] = rng.uniform(0.5, 1.5, arrays[1].shape)
        arrays[2][...] = 1
        means = [1, 0]
        arrays = arrays[3:]
    elif layer.type == 'BN':  # scale, shift, mean, variance
        means = [1, 0, 0, 1]
    elif layer.type == 'PReLU':
        means = [0.3]
    else:
        means = [{'Scale': 1, 'Normalize': 20}.get(layer.type, 0), 0]
    for array, mean in zip(arrays, means):
        array[...] = mean + rng.uniform(-0.2, 0.2, array.shape)


def draw_all(net, rng):
    """Draws all weights; those of a layer that learns are scaled to make values of deviation 1,
    and the layers after it go on from there."""
    start = None
    for layer in net.layers:
        if not layer.blobs:
            continue
        draw(layer, rng)
        if layer.type in LEARNED:
            net.forward(start=start, end=layer.name)
            start = layer.name
            deviation = float(np.std(net.blobs[net.top_names[layer.name][0]].data))
            for blob in layer.blobs:
                blob.data[...] /= deviation or 1


def draw_inputs(net, rng):
    for name in net.inputs:
        data = net.blobs[name].data
        image = net.blobs['data'].data.shape if 'data' in net.blobs else data.shape
        if name == 'im_info':
            data[...] = [image[2], image[3], 1]
        elif name == 'rois':
            corner = rng.uniform(0, 0.5, (len(data), 2))
            size = rng.uniform(0.2, 0.5, (len(data), 2))
            limits = [image[3], image[2]]
            data[...] = np.hstack([np.zeros((len(data), 1)), corner * limits,
                                   (corner + size) * limits])
        else:
            data[...] = rng.uniform(-1, 1, data.shape)


# ---- in OpenCV's words -------------------------------------------------------------------------

def split_bn(layer):
    """BN as BatchNorm, which keeps its statistics, and Scale."""
    norm, scale = caffe_pb2.LayerParameter(), caffe_pb2.LayerParameter()
    norm.name, norm.type = layer.name + '/norm', 'BatchNorm'
    norm.bottom.extend(layer.bottom)
    norm.top.extend(layer.top)
    norm.batch_norm_param.use_global_stats = True
    norm.batch_norm_param.eps = layer.bn_param.eps
    scale.name, scale.type = layer.name, 'Scale'
    scale.bottom.extend(layer.top)
    scale.top.extend(layer.top)
    scale.scale_param.bias_term = True
    return [norm, scale]


def as_deconvolution(layer, channels):
    layer.type = 'Deconvolution'
    scale = layer.upsample_param.scale
    layer.ClearField('upsample_param')
    p = layer.convolution_param
    p.num_output = p.group = channels
    p.kernel_size.append(scale)
    p.stride.append(scale)
    p.bias_term = False


def split_lrn(layer):
    """LRN with k, which OpenCV reads over: (k + z)^-beta = k^-beta (1 + z / k)^-beta."""
    p = layer.lrn_param
    power = caffe_pb2.LayerParameter()
    power.name, power.type = layer.name + '/k', 'Power'
    power.bottom.extend(layer.top)
    power.top.extend(layer.top)
    power.power_param.scale = p.k ** -p.beta
    p.alpha /= p.k
    p.ClearField('k')
    return [layer, power]


def translate(message, net):
    """The net's message for OpenCV; detection layers it lacks are cut off."""
    layers = []
    for layer in message.layer:
        layer.ClearField('quantization_param')
        if layer.type == 'BN':
            layers += split_bn(layer)
            continue
        if layer.type == 'LRN' and layer.lrn_param.k != 1:
            layers += split_lrn(layer)
            continue
        if layer.type in DETECTIONS:
            continue
        if layer.type in ('DepthwiseConvolution', 'ConvolutionDepthwise'):
            layer.type = 'Convolution'
            if not layer.convolution_param.HasField('group'):
                layer.convolution_param.group = layer.convolution_param.num_output
        elif layer.type == 'Upsample':
            as_deconvolution(layer, net.blobs[layer.bottom[0]].data.shape[1])
        layers.append(layer)
    result = caffe_pb2.NetParameter()
    result.CopyFrom(message)
    for name in STEERING:
        result.ClearField(name)
    del result.layer[:]
    result.layer.extend(layers)
    return result


def give_weights(net, other):
    """The weights of `net` to `other`, made from the translated message."""
    for name, blobs in other.params.items():
        mine = net.params.get(name)
        if name.endswith('/norm') and net.layer_dict[name[:-5]].type == 'BN':
            source = net.params[name[:-5]]
            values = [source[2].data, source[3].data, 1]
        elif mine is None:
            values = [1]  # an upsampling
        else:
            values = [blob.data for blob in mine]
        for blob, value in zip(blobs, values):
            blob.data[...] = np.reshape(value, blob.data.shape) if np.size(value) > 1 else value


def read_in_opencv(cv2, net, path, folder):
    text = open(path, encoding='utf-8').read()
    model = os.path.join(folder, 'net.caffemodel')
    if re.search(r'^\s*layers\s*\{', text, re.M):  # of an older generation, which it reads
        net.save(model)
        return cv2.dnn.readNetFromCaffe(path, model)
    message = caffe_pb2.NetParameter()
    text_format.Merge(text, message)
    translated = os.path.join(folder, 'net.prototxt')
    with open(translated, 'w', encoding='utf-8') as out:
        out.write(text_format.MessageToString(translate(message, net)))
    shapes = [net.blobs[name].data.shape for name in net.inputs]
    other = deepnet.Net(translated, deepnet.TEST, input_shapes=shapes)
    give_weights(net, other)
    other.save(model)
    return cv2.dnn.readNetFromCaffe(translated, model)


# ---- comparing ---------------------------------------------------------------------------------

def watched(net):
    """Blobs to compare: the outputs, what their softmax or detection reads, by the layer that
    made each."""
    maker = {top: name for name, tops in net.top_names.items() for top in tops}
    wanted = []
    for name in net.outputs:
        layer = net.layer_dict[maker[name]]
        if layer.type in ('Softmax', 'DetectionOutput') or layer.type in DETECTIONS:
            wanted += net.bottom_names[layer.name][:3]
        if layer.type not in DETECTIONS:
            wanted.append(name)
    return [(name, maker[name]) for name in wanted if maker[name] not in net.inputs]


def detected(boxes):
    """Rows of detections: OpenCV pads them with zeros up to keep_top_k."""
    boxes = boxes.reshape(-1, 7)
    return boxes[boxes.any(1)]


def difference(ours, theirs):
    largest = max(np.abs(ours).max(initial=0), 1e-30)
    if ours.ndim == 4 and ours.shape[-1] == 7 and ours.shape[:2] == (1, 1):
        # In order of scores that may be equal to their last bits: each row has its like.
        ours, theirs = detected(ours), detected(theirs)
        apart = np.abs(ours[:, None] - theirs[None]).max(2)
        worst = max(apart.min(0).max(initial=0), apart.min(1).max(initial=0))
        return float(worst / largest) if len(ours) == len(theirs) else float('inf')
    if ours.size != theirs.size:
        return float('inf')
    return float(np.abs(theirs.reshape(ours.shape) - ours).max(initial=0) / largest)


def compare(cv2, net, path):
    with tempfile.TemporaryDirectory() as folder:
        other = read_in_opencv(cv2, net, path, folder)
    for name in net.inputs:
        other.setInput(np.array(net.blobs[name].data), name)
    worst = 0
    for name, layer in watched(net):
        worst = max(worst, difference(np.array(net.blobs[name].data), other.forward(layer)))
    return worst


def one_image(path):
    """The net for a batch of one, whatever its prototxt says."""
    net = deepnet.Net(path, deepnet.TEST, wire_only=True)
    shapes = [list(net.blobs[name].shape) for name in net.inputs]
    for shape in shapes:
        if len(shape) == 4:
            shape[0] = 1
    return deepnet.Net(path, deepnet.TEST, input_shapes=shapes)


def run(cv2, path, how):
    rng = np.random.RandomState(7)
    net = one_image(path)
    draw_inputs(net, rng)
    draw_all(net, rng)
    net.forward()
    for name in net.outputs:
        data = net.blobs[name].data
        if not np.isfinite(data).all() or not data.any():
            raise AssertionError('%s is not finite, or all 0' % name)
    return None if how == 'alone' else compare(cv2, net, path)


def main(source, *words):
    corpus = os.environ.get('DEEPNET_CORPUS') or os.path.join(source, '..', 'shared', 'corpus')
    if not os.path.isdir(corpus):
        print('skipped: no %s' % corpus)
        return SKIPPED
    try:
        import cv2
    except ImportError:
        print('skipped: no cv2')
        return SKIPPED
    with open(os.path.join(HERE, 'nets.tsv'), encoding='utf-8') as lines:
        rows = list(csv.DictReader(lines, delimiter='\t'))
    wanted = [word for word in words if not word.startswith('--')]
    failed = 0
    for row in rows:
        if row['net'] not in wanted if wanted else '--all' not in words and row['run'] != 'quick':
            continue
        try:
            worst = run(cv2, os.path.join(corpus, row['net']), row['compared'])
            bad = worst is not None and not worst <= TOLERANCE
            found = 'runs' if worst is None else '%.1e' % worst
        except (AssertionError, deepnet.Error, cv2.error) as error:
            bad, found = True, str(error).replace('\n', ' ')[:200]
        failed += bad
        if not bad:
            row['difference'] = found
        print('%s %s: %s' % ('FAILED' if bad else 'ok', row['net'], found), flush=True)
    if '--write' in words:
        with open(os.path.join(HERE, 'nets.tsv'), 'w', encoding='utf-8') as out:
            for row in [dict(zip(rows[0], rows[0])), *rows]:
                out.write('\t'.join(row.values()) + '\n')
    return int(failed > 0)


if __name__ == '__main__':
    sys.exit(main(*sys.argv[1:]))
