#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Classifies images as a pycaffe script does.

usage: classify.py DEPLOY.prototxt WEIGHTS.caffemodel IMAGE...
"""
import sys

import deepnet as caffe


def main(model, weights, *images):
    net = caffe.Net(model, caffe.TEST, weights=weights)
    data = net.blobs[net.inputs[0]]
    transformer = caffe.io.Transformer({'data': data.shape})
    transformer.set_transpose('data', (2, 0, 1))
    transformer.set_raw_scale('data', 255)
    if data.channels == 3:
        transformer.set_channel_swap('data', (2, 1, 0))  # Caffe's nets take BGR
    for name in images:
        image = caffe.io.load_image(name, color=data.channels == 3)
        data.reshape(1, *data.shape[1:])
        data.data[0] = transformer.preprocess('data', image)
        scores = net.forward()[net.outputs[0]].ravel()
        best = scores.argsort()[::-1][:5]
        print(name, ', '.join('%d: %.4f' % (i, scores[i]) for i in best))


if __name__ == '__main__':
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
