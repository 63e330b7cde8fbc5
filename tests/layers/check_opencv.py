#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""check_opencv.py [SOURCE [NAME]...]: single layers beside OpenCV's importer of Caffe nets, the
forks' detection layers above all. Without cv2 the test is skipped. OpenCV is taken at its word
except where a case says what it does otherwise."""
import os
import sys
import tempfile

import numpy as np

import deepnet

SKIPPED = 77
TOLERANCE = 1e-5  # of the largest value
IMAGE = {'x': (2, 6, 5, 7)}
MAP_AND_IMAGE = {'x': (1, 4, 5, 7), 'data': (1, 3, 80, 112)}


def layer(kind, text, bottoms='x', name='l'):
    return "layer { name: '%s' type: '%s' %s top: '%s' %s } " % (
        name, kind, ' '.join("bottom: '%s'" % b for b in bottoms.split()), name, text)


def softmaxed(rng, shape):
    e = np.exp(2 * rng.normal(0, 1, shape))
    return e / e.sum(-1, keepdims=True)


PRIORS = layer('PriorBox', 'prior_box_param { %s variance: 0.1 }', 'x data')
DETECT = "detection_output_param { num_classes: 4 %s }"
# name: (inputs, layers); inputs named loc, conf and pri are made as DetectionOutput wants them
CASES = {
    'permute': (IMAGE, layer('Permute', 'permute_param { order: 0 order: 2 order: 3 order: 1 }')),
    'permute_more': (IMAGE, layer('Permute', 'permute_param { order: 0 order: 3 order: 1 order: 2 '
                                  '}')),
    'normalize': (IMAGE, layer('Normalize', 'norm_param { across_spatial: false channel_shared: '
                               'false }')),
    'priors': (MAP_AND_IMAGE, PRIORS % 'min_size: 30 clip: false'),
    'priors_max': (MAP_AND_IMAGE, PRIORS % 'min_size: 30 max_size: 60 aspect_ratio: 2 '
                   'aspect_ratio: 3 flip: true clip: true variance: 0.1 variance: 0.2 '
                   'variance: 0.2'),
    'priors_two': (MAP_AND_IMAGE, PRIORS % 'min_size: 30 min_size: 45 max_size: 60 max_size: 70 '
                   'aspect_ratio: 2 flip: false clip: false'),
    'priors_step': (MAP_AND_IMAGE, PRIORS % 'min_size: 30 aspect_ratio: 2 clip: false step: 16 '
                    'offset: 0.5'),
    'priors_steps': (MAP_AND_IMAGE, PRIORS % 'min_size: 30 clip: false step_h: 15 step_w: 17 '
                     'offset: 0.3'),
    # OpenCV scales the third bottom, the layer's authors the second: it gets them swapped
    'axpy': ({'a': (1, 6, 1, 1), 'x': (1, 6, 5, 7), 'y': (1, 6, 5, 7)},
             layer('Axpy', '', 'a x y')),
    'relu6': (IMAGE, layer('Power', 'power_param { scale: 5 }', 'x', 'p') +
              layer('ReLU6', '', 'p')),
    'roi_pooling': ({'x': (1, 3, 9, 11), 'rois': (6, 5)},
                    layer('ROIPooling', 'roi_pooling_param { pooled_h: 3 pooled_w: 4 '
                          'spatial_scale: 0.125 }', 'x rois')),
    'psroi_pooling': ({'x': (1, 18, 9, 11), 'rois': (6, 5)},
                      layer('PSROIPooling', 'psroi_pooling_param { output_dim: 2 group_size: 3 '
                            'spatial_scale: 0.125 }', 'x rois')),
    'proposal': ({'scores': (1, 18, 6, 8), 'x': (1, 36, 6, 8), 'im_info': (1, 3)},
                 layer('Proposal', 'proposal_param { feat_stride: 16 base_size: 16 min_size: 1 '
                       'ratio: 0.5 ratio: 1 ratio: 2 scale: 2 scale: 4 scale: 8 pre_nms_topn: 200 '
                       'post_nms_topn: 30 nms_thresh: 0.7 }', 'scores x im_info')),
    'lrn_within': (IMAGE, layer('LRN', 'lrn_param { local_size: 3 alpha: 2 norm_region: '
                                'WITHIN_CHANNEL }')),
    'mvn': (IMAGE, layer('MVN', 'mvn_param { across_channels: true eps: 1e-9 }')),
    'crop': ({'x': (2, 3, 9, 11), 'y': (2, 3, 5, 6)},
             layer('Crop', 'crop_param { axis: 2 offset: 1 offset: 3 }', 'x y')),
}
for code in ('CORNER', 'CENTER_SIZE'):
    for share in ('true', 'false'):
        CASES['detect_%s_%s' % (code.lower(), 'shared' if share == 'true' else 'apart')] = (
            {'loc': (2, 40 * 4 * (1 if share == 'true' else 4)), 'conf': (2, 40 * 4),
             'pri': (1, 2, 40 * 4, 1)},
            layer('DetectionOutput', DETECT % (
                'share_location: %s background_label_id: 0 nms_param { nms_threshold: 0.45 top_k: '
                '30 } code_type: %s keep_top_k: 20 confidence_threshold: 0.1' % (share, code)),
                'loc conf pri'))
CASES['detect_all'] = (
    {'loc': (1, 160), 'conf': (1, 160), 'pri': (1, 2, 160, 1)},
    layer('DetectionOutput', DETECT % (
        'share_location: true background_label_id: 0 nms_param { nms_threshold: 0.3 top_k: 400 } '
        'code_type: CENTER_SIZE keep_top_k: 200 '
        'confidence_threshold: 0.3'), 'loc conf pri'))


def value_of(name, shape, rng):
    if name == 'conf':
        return softmaxed(rng, (shape[0], 40, 4)).reshape(shape)
    if name == 'pri':
        corner, size = rng.uniform(0, 0.7, (40, 2)), rng.uniform(0.1, 0.3, (40, 2))
        boxes = np.hstack([corner, corner + size]).ravel()
        return np.stack([boxes, np.tile([0.1, 0.1, 0.2, 0.2], 40)])[None, ..., None]
    if name == 'loc':
        return rng.normal(0, 0.5, shape)
    if name == 'rois':
        corner, size = rng.uniform(0, 0.5, (shape[0], 2)), rng.uniform(0.1, 0.4, (shape[0], 2))
        boxes = np.hstack([corner, corner + size]) * [88, 72, 88, 72]
        return np.hstack([np.zeros((shape[0], 1)), boxes])
    if name == 'im_info':
        return np.array([[96, 128, 1]])
    if name == 'scores':
        return rng.uniform(0, 1, shape)
    return rng.normal(0, 0.4 if name == 'data' else 1, shape)


def prepare(inputs, layers, rng):
    text = ''.join("layer { name: '%s' type: 'Input' top: '%s' input_param { shape { %s } } } " % (
        name, name, ' '.join('dim: %d' % d for d in shape)) for name, shape in inputs.items())
    net = deepnet.Net(None, deepnet.TEST, text=text + layers)
    for name, shape in inputs.items():
        net.blobs[name].data[...] = value_of(name, shape, rng)
    for blobs in net.params.values():
        for blob in blobs:
            blob.data[...] = rng.uniform(0.5, 1.5, blob.data.shape)
    net.forward()
    return net, text + layers


def in_opencv(cv2, net, text):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, 'net.prototxt')
        with open(path, 'w', encoding='utf-8') as out:
            out.write(text)
        net.save(os.path.join(folder, 'net.caffemodel'))
        other = cv2.dnn.readNetFromCaffe(path, os.path.join(folder, 'net.caffemodel'))
    for name in net.inputs:
        other.setInput(np.array(net.blobs[name].data), name)
    return other.forward('l')


def ordered(boxes):
    """Rows of detections by image, label, score: OpenCV lists them by score alone, and zeros up
    to keep_top_k."""
    boxes = boxes.reshape(-1, 7)
    boxes = boxes[boxes.any(1)]
    return boxes[np.lexsort((-boxes[:, 2], boxes[:, 1], boxes[:, 0]))]


def check(cv2, name):
    inputs, layers = CASES[name]
    net, text = prepare(inputs, layers, np.random.RandomState(5))
    if name == 'axpy':
        text = text.replace("bottom: 'x' bottom: 'y'", "bottom: 'y' bottom: 'x'")
    ours, theirs = np.array(net.blobs['l'].data), in_opencv(cv2, net, text)
    if name.startswith('detect'):
        ours, theirs = ordered(ours), ordered(theirs)
    if name == 'proposal':  # it pads with zeros to post_nms_topn
        assert not theirs[len(ours):].any(), 'OpenCV finds more'
        theirs = theirs[:len(ours)]
    assert ours.size == theirs.size, '%s, OpenCV %s' % (ours.shape, theirs.shape)
    worst = np.abs(ours - theirs.reshape(ours.shape)).max() / np.abs(ours).max()
    assert worst <= TOLERANCE, 'differs by %.2g of the largest value' % worst


def main(source=None, *names):
    try:
        import cv2
    except ImportError:
        print('skipped: no cv2')
        return SKIPPED
    failed = 0
    for name in names or CASES:
        try:
            check(cv2, name)
        except (AssertionError, deepnet.Error, cv2.error) as error:
            failed += 1
            print('FAILED %s: %s' % (name, str(error).replace('\n', ' ')[:300]))
    print('%d passed, %d failed' % (len(names or CASES) - failed, failed))
    return int(failed > 0)


if __name__ == '__main__':
    sys.exit(main(*sys.argv[1:]))
