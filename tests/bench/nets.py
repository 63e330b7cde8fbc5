#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""The nets that the benchmarks run, written from their papers as NetSpecs.

usage: nets.py FOLDER [NAME...]    writes NAME_train.prototxt and NAME_deploy.prototxt there

Data and labels are Input layers, so that reading data costs nothing. The train form ends in the
loss, the deploy form in the probabilities; the layers they share have the same names.
"""
import os
import sys

from net_writer import L, MSRA, P, XAVIER, Writer


def lenet(w):
    """LeCun and others 1998, as Caffe's tutorial has it."""
    x = w.pool('pool1', w.conv('conv1', w.data, 20, 5, relu=False), 2, 2)
    x = w.pool('pool2', w.conv('conv2', x, 50, 5, relu=False), 2, 2)
    w.loss('loss', w.linear('ip2', w.linear('ip1', x, 500, relu=True), w.classes))


def cifar_quick(w):
    """Krizhevsky's quick net for CIFAR-10."""
    x = w.pool('pool1', w.conv('conv1', w.data, 32, 5, pad=2, relu=False), 3, 2)
    x = w.conv('conv2', w.relu('relu1', x), 32, 5, pad=2)
    x = w.conv('conv3', w.pool('pool2', x, 3, 2, average=True), 64, 5, pad=2)
    x = w.pool('pool3', x, 3, 2, average=True)
    w.loss('loss', w.linear('ip2', w.linear('ip1', x, 64), w.classes))


def classifier(w, x):
    """AlexNet's three inner products, which others took over."""
    x = w.dropout('drop6', w.linear('fc6', x, 4096, relu=True), 0.5)
    x = w.dropout('drop7', w.linear('fc7', x, 4096, relu=True), 0.5)
    w.loss('loss', w.linear('fc8', x, w.classes))


def alexnet(w):
    """Krizhevsky and others 2012: two groups, local response normalisation."""
    x = w.lrn('norm1', w.conv('conv1', w.data, 96, 11, stride=4))
    x = w.conv('conv2', w.pool('pool1', x, 3, 2), 256, 5, pad=2, group=2)
    x = w.pool('pool2', w.lrn('norm2', x), 3, 2)
    x = w.conv('conv3', x, 384, 3, pad=1)
    x = w.conv('conv4', x, 384, 3, pad=1, group=2)
    x = w.pool('pool5', w.conv('conv5', x, 256, 3, pad=1, group=2), 3, 2)
    classifier(w, x)


def vgg16(w):
    """Simonyan and Zisserman 2014, configuration D."""
    x = w.data
    plan = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
    for stage, (outputs, convs) in enumerate(plan, 1):
        for i in range(1, convs + 1):
            x = w.conv('conv%d_%d' % (stage, i), x, outputs, 3, pad=1)
        x = w.pool('pool%d' % stage, x, 2, 2)
    classifier(w, x)


def googlenet(w):
    """Szegedy and others 2014, with both auxiliary classifiers in training."""
    def inception(name, x, c1, r3, c3, r5, c5, proj):
        a = w.conv(name + '_1x1', x, c1, 1)
        b = w.conv(name + '_3x3', w.conv(name + '_3x3_reduce', x, r3, 1), c3, 3, pad=1)
        c = w.conv(name + '_5x5', w.conv(name + '_5x5_reduce', x, r5, 1), c5, 5, pad=2)
        d = w.conv(name + '_proj', w.pool(name + '_pool', x, 3, 1, pad=1), proj, 1)
        return w.add(name, L.Concat(a, b, c, d))

    def auxiliary(name, x):
        if not w.train:
            return
        x = w.conv(name + '_conv', w.pool(name + '_pool', x, 5, 3, average=True), 128, 1)
        x = w.dropout(name + '_drop', w.linear(name + '_fc', x, 1024, relu=True), 0.7)
        w.loss(name, w.linear(name + '_classifier', x, w.classes), 0.3)

    x = w.pool('pool1', w.conv('conv1', w.data, 64, 7, stride=2, pad=3), 3, 2)
    x = w.conv('conv2_reduce', w.lrn('norm1', x), 64, 1)
    x = w.lrn('norm2', w.conv('conv2', x, 192, 3, pad=1))
    x = inception('3a', w.pool('pool2', x, 3, 2), 64, 96, 128, 16, 32, 32)
    x = inception('3b', x, 128, 128, 192, 32, 96, 64)
    x = inception('4a', w.pool('pool3', x, 3, 2), 192, 96, 208, 16, 48, 64)
    auxiliary('loss1', x)
    x = inception('4b', x, 160, 112, 224, 24, 64, 64)
    x = inception('4c', x, 128, 128, 256, 24, 64, 64)
    x = inception('4d', x, 112, 144, 288, 32, 64, 64)
    auxiliary('loss2', x)
    x = inception('4e', x, 256, 160, 320, 32, 128, 128)
    x = inception('5a', w.pool('pool4', x, 3, 2), 256, 160, 320, 32, 128, 128)
    x = inception('5b', x, 384, 192, 384, 48, 128, 128)
    x = w.dropout('drop5', w.global_pool('pool5', x), 0.4)
    w.loss('loss3', w.linear('classifier', x, w.classes))


def bottlenecks(w, group=1, widen=1, dilations=(1, 1, 1, 1)):
    """ResNet-50 up to its last sum, the stride in the first 1x1, or a dilation in its place."""
    x = w.pool('pool1', w.norm_conv('conv1', w.data, 64, 7, stride=2, pad=3), 3, 2)
    for stage, (width, blocks) in enumerate(((64, 3), (128, 4), (256, 6), (512, 3)), 2):
        dilation, inner = dilations[stage - 2], widen * width
        for block in range(blocks):
            name = 'res%d%c' % (stage, ord('a') + block)
            stride = 2 if block == 0 and stage > 2 and dilation == 1 else 1
            shortcut = x
            if block == 0:
                shortcut = w.norm_conv(name + '_1', x, 4 * width, 1, stride, relu=False)
            y = w.norm_conv(name + '_2a', x, inner, 1, stride)
            y = w.norm_conv(name + '_2b', y, inner, 3, pad=dilation, group=group,
                            dilation=dilation)
            y = w.norm_conv(name + '_2c', y, 4 * width, 1, relu=False)
            x = w.relu(name + '_relu', w.add(name, L.Eltwise(shortcut, y)))
    return x


def resnet50(w):
    """He and others 2015."""
    w.loss('loss', w.linear('fc', w.global_pool('pool5', bottlenecks(w)), w.classes))


def resnext50(w):
    """Xie and others 2016, 32 groups of 4."""
    w.loss('loss', w.linear('fc', w.global_pool('pool5', bottlenecks(w, 32, 2)), w.classes))


def deeplab(w):
    """Chen and others 2017: ResNet-50 with dilations of 2 and 4, a pyramid of dilations, and
    classes made larger by a bilinear deconvolution; one class for the image."""
    x = bottlenecks(w, dilations=(1, 1, 2, 4))
    branches = [w.norm_conv('aspp1', x, 256, 1)]
    branches += [w.norm_conv('aspp%d' % d, x, 256, 3, pad=d, dilation=d) for d in (6, 12, 18)]
    x = w.norm_conv('aspp', w.add('pyramid', L.Concat(*branches)), 256, 1)
    x = w.conv('score', x, w.classes, 1, relu=False)
    w.pixels(w.deconv('upscore', x, w.classes, 16, 8, 4, group=w.classes, bias=False))


def shufflenet(w):
    """Zhang and others 2017, three groups, width 1."""
    x, inputs = w.pool('pool1', w.conv('conv1', w.data, 24, 3, stride=2, pad=1), 3, 2), 24
    for stage, (width, units) in enumerate(((240, 4), (480, 8), (960, 4)), 2):
        for unit in range(units):
            n, narrow = 'unit%d_%d' % (stage, unit), width // 4
            stride, outputs = (1, width) if unit else (2, width - inputs)
            y = w.norm_conv(n + '_1', x, narrow, 1, group=3 if inputs > 24 else 1)
            y = w.add(n + '_shuffle', L.ShuffleChannel(y, group=3))
            y = w.norm_conv(n + '_dw', y, narrow, 3, stride, 1, group=narrow, relu=False)
            y = w.norm_conv(n + '_2', y, outputs, 1, group=3, relu=False)
            if unit:
                x = w.add(n, L.Eltwise(x, y))
            else:
                x = w.add(n, L.Concat(w.pool(n + '_pool', x, 3, 2, average=True), y))
            x, inputs = w.relu(n + '_relu', x), width
    w.loss('loss', w.linear('fc', w.global_pool('pool', x), w.classes))


def c3d(w):
    """Tran and others 2015: 3x3x3 convolutions, here over 16 frames of 56x56."""
    x = w.data
    plan = ((64, 1), (128, 1), (256, 2), (512, 2), (512, 2))
    for stage, (outputs, convs) in enumerate(plan, 1):
        for i in range(1, convs + 1):
            x = w.conv('conv%d_%d' % (stage, i), x, outputs, 3, pad=1)
        time = 1 if stage == 1 else 2
        x = w.add('pool%d' % stage, L.Pooling3D(x, pooling_param=dict(
            pool=P.Pooling.MAX, kernel_size=2, stride=2, kernel_depth=time,
            temporal_stride=time)))
    classifier(w, x)


def tcn(w):
    """Bai and others 2018: convolutions over time, twice as dilated in every block."""
    x = w.data
    for i in range(5):
        y = w.norm_conv('block%d_1' % i, x, 128, 3, pad=1 << i, dilation=1 << i)
        y = w.norm_conv('block%d_2' % i, y, 128, 3, pad=1 << i, dilation=1 << i)
        x = w.relu('block%d_relu' % i, w.add('block%d' % i, L.Eltwise(x, y))) if i else y
    w.loss('loss', w.linear('fc', x, w.classes))


def mobilenet_v1(w):
    """Howard and others 2017, width 1."""
    x = w.norm_conv('conv1', w.data, 32, 3, stride=2, pad=1)
    plan = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)] + [(512, 1)] * 5 + \
           [(1024, 2), (1024, 1)]
    inputs = 32
    for i, (outputs, stride) in enumerate(plan, 2):
        x = w.norm_conv('conv%d_dw' % i, x, inputs, 3, stride, pad=1, group=inputs)
        x = w.norm_conv('conv%d_sep' % i, x, outputs, 1)
        inputs = outputs
    w.loss('loss', w.linear('fc', w.global_pool('pool', x), w.classes))


def mobilenet_v2(w):
    """Sandler and others 2018, width 1: inverted residuals, ReLU6."""
    x = w.norm_conv('conv1', w.data, 32, 3, stride=2, pad=1, relu6=True)
    inputs, number = 32, 0
    for expand, outputs, blocks, stride in ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2),
                                            (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2),
                                            (6, 320, 1, 1)):
        for block in range(blocks):
            number += 1
            name, width, y = 'block%d' % number, inputs * expand, x
            if expand > 1:
                y = w.norm_conv(name + '_expand', y, width, 1, relu6=True)
            y = w.norm_conv(name + '_dw', y, width, 3, 1 if block else stride, 1, group=width,
                            relu6=True)
            y = w.norm_conv(name + '_project', y, outputs, 1, relu=False)
            x = w.add(name, L.Eltwise(x, y)) if block else y
            inputs = outputs
    x = w.norm_conv('conv_last', x, 1280, 1, relu6=True)
    w.loss('loss', w.linear('fc', w.global_pool('pool', x), w.classes))


def caffenet(w):
    """AlexNet as Caffe's reference model has it: pooling before normalisation."""
    x = w.lrn('norm1', w.pool('pool1', w.conv('conv1', w.data, 96, 11, stride=4), 3, 2))
    x = w.lrn('norm2', w.pool('pool2', w.conv('conv2', x, 256, 5, pad=2, group=2), 3, 2))
    x = w.conv('conv3', x, 384, 3, pad=1)
    x = w.conv('conv4', x, 384, 3, pad=1, group=2)
    x = w.pool('pool5', w.conv('conv5', x, 256, 3, pad=1, group=2), 3, 2)
    classifier(w, x)


def squeezenet(w):
    """Iandola and others 2016, version 1.1."""
    def fire(name, x, squeeze, expand):
        x = w.conv(name + '_squeeze', x, squeeze, 1)
        return w.add(name, L.Concat(w.conv(name + '_1x1', x, expand, 1),
                                    w.conv(name + '_3x3', x, expand, 3, pad=1)))

    x = w.pool('pool1', w.conv('conv1', w.data, 64, 3, stride=2), 3, 2)
    x = w.pool('pool3', fire('fire3', fire('fire2', x, 16, 64), 16, 64), 3, 2)
    x = w.pool('pool5', fire('fire5', fire('fire4', x, 32, 128), 32, 128), 3, 2)
    for i, (squeeze, expand) in enumerate(((48, 192), (48, 192), (64, 256), (64, 256)), 6):
        x = fire('fire%d' % i, x, squeeze, expand)
    x = w.conv('conv10', w.dropout('drop9', x, 0.5), w.classes, 1)
    w.loss('loss', w.flatten('flat', w.global_pool('pool10', x)))


def cifar_full(w, sigmoid=False):
    """Caffe's full net for CIFAR-10: normalisation within channels; with `sigmoid` the form
    that has batch norm and sigmoids in its place."""
    x = w.data
    for i, outputs in enumerate((32, 32, 64), 1):
        x = w.conv('conv%d' % i, x, outputs, 5, pad=2, relu=i > 1 and not sigmoid)
        x = w.pool('pool%d' % i, x, 3, 2, average=i > 1)
        if sigmoid:
            x = w.add('bn%d' % i, L.BatchNorm(x, param=[dict(lr_mult=0)] * 3))
            x = w.add('sigmoid%d' % i, L.Sigmoid(x))
        elif i < 3:
            x = w.relu('relu1', x) if i == 1 else x
            x = w.add('norm%d' % i, L.LRN(x, local_size=3, alpha=5e-5, beta=0.75,
                                          norm_region=P.LRN.WITHIN_CHANNEL))
    w.loss('loss', w.linear('ip1', x, w.classes))


def cifar_sigmoid(w):
    cifar_full(w, sigmoid=True)


def nin(w):
    """Lin and others 2013, network in network, for CIFAR-10."""
    x = w.data
    plan = (((192, 5), (160, 1), (96, 1)), ((192, 5), (192, 1), (192, 1)),
            ((192, 3), (192, 1), (w.classes, 1)))
    for i, stage in enumerate(plan, 1):
        for j, (outputs, kernel) in enumerate(stage, 1):
            x = w.conv('conv%d_%d' % (i, j), x, outputs, kernel, pad=kernel // 2)
        if i < 3:
            x = w.dropout('drop%d' % i, w.pool('pool%d' % i, x, 3, 2, average=i > 1), 0.5)
    w.loss('loss', w.flatten('flat', w.global_pool('pool3', x)))


def darknet19(w):
    """Redmon and Farhadi 2016: batch norm and ReLUs with a slope."""
    def conv(name, x, outputs, kernel):
        return w.leaky(name, w.norm_conv(name, x, outputs, kernel, pad=kernel // 2,
                                         relu=False), 0.1)

    x = w.data
    for i, widths in enumerate(((32,), (64,), (128, 64, 128), (256, 128, 256),
                                (512, 256, 512, 256, 512), (1024, 512, 1024, 512, 1024)), 1):
        if i > 1:
            x = w.pool('pool%d' % i, x, 2, 2)
        for j, width in enumerate(widths, 1):
            x = conv('conv%d_%d' % (i, j), x, width, 1 if j % 2 == 0 else 3)
    x = w.conv('conv7', x, w.classes, 1, relu=False)
    w.loss('loss', w.flatten('flat', w.global_pool('pool7', x)))


def unet(w):
    """Ronneberger and others 2015, at half the width, one class for the image."""
    def pair(name, x, outputs):
        x = w.conv(name + '_a', x, outputs, 3, pad=1)
        return w.conv(name + '_b', x, outputs, 3, pad=1)

    x, kept = w.data, []
    for i, width in enumerate((32, 64, 128, 256)):
        kept.append(pair('down%d' % i, x, width))
        x = w.pool('pool%d' % i, kept[-1], 2, 2)
    x = pair('bottom', x, 512)
    for i, width in ((3, 256), (2, 128), (1, 64), (0, 32)):
        x = w.deconv('up%d' % i, x, width, 2, 2, 0)
        x = pair('join%d' % i, w.add('cat%d' % i, L.Concat(kept[i], x)), width)
    w.pixels(w.conv('score', x, w.classes, 1, relu=False))


def fcn_alexnet(w):
    """Shelhamer and others 2015, one class for the image."""
    x = w.conv('conv1', w.data, 96, 11, stride=4, pad=100)
    x = w.lrn('norm1', w.pool('pool1', x, 3, 2))
    x = w.lrn('norm2', w.pool('pool2', w.conv('conv2', x, 256, 5, pad=2, group=2), 3, 2))
    x = w.conv('conv3', x, 384, 3, pad=1)
    x = w.conv('conv4', x, 384, 3, pad=1, group=2)
    x = w.pool('pool5', w.conv('conv5', x, 256, 3, pad=1, group=2), 3, 2)
    x = w.dropout('drop6', w.conv('fc6', x, 4096, 6), 0.5)
    x = w.dropout('drop7', w.conv('fc7', x, 4096, 1), 0.5)
    x = w.conv('score', x, w.classes, 1, relu=False)
    w.pixels(w.deconv('upscore', x, w.classes, 63, 32, 0, bias=False))


def ssd_mobilenet(w):
    """MobileNet-SSD: six heads on MobileNet at 300x300, one class from all of them."""
    x = w.norm_conv('conv0', w.data, 32, 3, stride=2, pad=1)
    sources, inputs = [], 32
    for i, (outputs, stride) in enumerate([(64, 1), (128, 2), (128, 1), (256, 2), (256, 1),
                                           (512, 2)] + [(512, 1)] * 5 + [(1024, 2), (1024, 1)],
                                          1):
        x = w.norm_conv('conv%d_dw' % i, x, inputs, 3, stride, pad=1, group=inputs)
        x = w.norm_conv('conv%d' % i, x, outputs, 1)
        inputs = outputs
        if i in (11, 13):
            sources.append(x)
    for i, (narrow, outputs) in enumerate(((256, 512), (128, 256), (128, 256), (64, 128)), 14):
        x = w.norm_conv('conv%d_1' % i, x, narrow, 1)
        x = w.norm_conv('conv%d_2' % i, x, outputs, 3, stride=2, pad=1)
        sources.append(x)
    heads = []
    for i, source in enumerate(sources):
        for name, each in (('loc', 4), ('conf', 21)):
            outputs = each * (3 if i == 0 else 6)
            top = w.conv('%s%d' % (name, i), source, outputs, 1, relu=False)
            top = w.add('%s%d_perm' % (name, i), L.Permute(top, order=[0, 2, 3, 1]))
            heads.append(w.flatten('%s%d_flat' % (name, i), top))
    w.loss('loss', w.linear('fc', w.add('heads', L.Concat(*heads)), w.classes))


def autoencoder(w):
    """Caffe's autoencoder for MNIST up to its last layer; a loss of classes."""
    x = w.data
    for i, outputs in enumerate((1000, 500, 250, 30, 250, 500, 1000), 1):
        x = w.linear('ip%d' % i, x, outputs)
        x = x if i == 4 else w.add('sigmoid%d' % i, L.Sigmoid(x))
    w.loss('loss', w.linear('ip8', x, w.classes))


def inception_v3(w):
    """Szegedy and others 2015: kernels of 1x7 and 7x1; without the auxiliary classifier."""
    def conv(name, x, outputs, kernel=1, stride=1, pad=0):
        if isinstance(kernel, tuple):
            pad = (kernel[0] // 2, kernel[1] // 2)
        return w.norm_conv(name, x, outputs, kernel, stride, pad)

    def chain(name, x, *steps):
        for i, step in enumerate(steps, 1):
            x = conv('%s_%d' % (name, i), x, *step)
        return x

    def join(name, *branches):
        return w.add(name, L.Concat(*branches))

    x = chain('stem', w.data, (32, 3, 2), (32, 3), (64, 3, 1, 1))
    x = chain('stem2', w.pool('pool1', x, 3, 2), (80,), (192, 3))
    x = w.pool('pool2', x, 3, 2)
    for i, narrow in enumerate((32, 64, 64)):
        n = 'a%d_' % i
        x = join(n + 'out', conv(n + '1', x, 64), chain(n + '5', x, (48,), (64, 5, 1, 2)),
                 chain(n + '3', x, (64,), (96, 3, 1, 1), (96, 3, 1, 1)),
                 conv(n + 'proj', w.pool(n + 'pool', x, 3, 1, 1, average=True), narrow))
    x = join('b_out', conv('b3', x, 384, 3, 2),
             chain('b33', x, (64,), (96, 3, 1, 1), (96, 3, 2)), w.pool('b_pool', x, 3, 2))
    for i, c in enumerate((128, 160, 160, 192)):
        n, row, column = 'c%d_' % i, (1, 7), (7, 1)
        x = join(n + 'out', conv(n + '1', x, 192),
                 chain(n + '7', x, (c,), (c, row), (192, column)),
                 chain(n + '77', x, (c,), (c, column), (c, row), (c, column), (192, row)),
                 conv(n + 'proj', w.pool(n + 'pool', x, 3, 1, 1, average=True), 192))
    x = join('d_out', chain('d3', x, (192,), (320, 3, 2)),
             chain('d7', x, (192,), (192, (1, 7)), (192, (7, 1)), (192, 3, 2)),
             w.pool('d_pool', x, 3, 2))
    for i in range(2):
        n = 'e%d_' % i
        y, z = conv(n + '3', x, 384), chain(n + '33', x, (448,), (384, 3, 1, 1))
        x = join(n + 'out', conv(n + '1', x, 320), conv(n + '3a', y, 384, (1, 3)),
                 conv(n + '3b', y, 384, (3, 1)), conv(n + '33a', z, 384, (1, 3)),
                 conv(n + '33b', z, 384, (3, 1)),
                 conv(n + 'proj', w.pool(n + 'pool', x, 3, 1, 1, average=True), 192))
    w.loss('loss', w.linear('fc', w.global_pool('pool', x), w.classes))


def densenet121(w):
    """Huang and others 2016: normalised before each convolution, everything concatenated."""
    def conv(name, x, outputs, kernel, pad=0):
        return w.conv(name, w.norm(name, x, in_place=False), outputs, kernel, pad=pad,
                      relu=False, bias=False)

    x = w.pool('pool1', w.norm_conv('conv1', w.data, 64, 7, 2, 3), 3, 2)
    width = 64
    for stage, layers in enumerate((6, 12, 24, 16), 1):
        for i in range(layers):
            n = 'b%d_%d' % (stage, i)
            y = conv(n + '_3x3', conv(n + '_1x1', x, 128, 1), 32, 3, 1)
            x, width = w.add(n, L.Concat(x, y)), width + 32
        if stage < 4:
            width //= 2
            x = w.pool('pool_t%d' % stage, conv('t%d' % stage, x, width, 1), 2, 2, average=True)
    x = w.global_pool('pool', w.norm('last', x, in_place=False))
    w.loss('loss', w.linear('fc', x, w.classes))


def mobilenet_v3(w):
    """Howard and others 2019, large: hard swish of Power and ReLU6, squeeze and excitation."""
    def hard(name, x):
        x = w.add(name + '_shift', L.Power(x, shift=3))
        return w.add(name + '_gate', L.Power(w.relu(name + '_relu6', x, relu6=True),
                                             scale=1 / 6))

    def norm_conv(name, x, outputs, kernel, stride=1, group=1, swish=False):
        x = w.norm_conv(name, x, outputs, kernel, stride, kernel // 2, group, relu=not swish)
        if not swish:
            return x
        gate = hard('hs_' + name, x)
        return w.add('hs_' + name, L.Eltwise(x, gate, operation=P.Eltwise.PROD))

    x, inputs = norm_conv('conv1', w.data, 16, 3, 2, swish=True), 16
    for i, (kernel, width, outputs, excited, swish, stride) in enumerate((
            (3, 16, 16, 0, 0, 1), (3, 64, 24, 0, 0, 2), (3, 72, 24, 0, 0, 1),
            (5, 72, 40, 1, 0, 2), (5, 120, 40, 1, 0, 1), (5, 120, 40, 1, 0, 1),
            (3, 240, 80, 0, 1, 2), (3, 200, 80, 0, 1, 1), (3, 184, 80, 0, 1, 1),
            (3, 184, 80, 0, 1, 1), (3, 480, 112, 1, 1, 1), (3, 672, 112, 1, 1, 1),
            (5, 672, 160, 1, 1, 2), (5, 960, 160, 1, 1, 1), (5, 960, 160, 1, 1, 1)), 1):
        n = 'block%d' % i
        y = norm_conv(n + '_expand', x, width, 1, swish=swish) if width != inputs else x
        y = norm_conv(n + '_dw', y, width, kernel, stride, width, swish)
        if excited:
            s = w.conv(n + '_se1', w.global_pool(n + '_se', y), width // 4, 1)
            s = w.flatten(n + '_flat', hard(n + '_se', w.conv(n + '_se2', s, width, 1,
                                                              relu=False)))
            y = w.add(n + '_excite', L.Scale(y, s, axis=0))
        y = w.norm_conv(n + '_project', y, outputs, 1, relu=False)
        x = w.add(n, L.Eltwise(x, y)) if stride == 1 and inputs == outputs else y
        inputs = outputs
    x = w.global_pool('pool', norm_conv('conv_last', x, 960, 1, swish=True))
    w.loss('loss', w.linear('fc', x, w.classes))


def onet(w):
    """The third net of MTCNN (Zhang and others 2016), PReLU; one class."""
    x = w.data
    for i, (outputs, kernel, pool) in enumerate(((32, 3, 3), (64, 3, 3), (64, 3, 2),
                                                 (128, 2, 0)), 1):
        x = w.prelu('conv%d' % i, w.conv('conv%d' % i, x, outputs, kernel, relu=False))
        x = w.pool('pool%d' % i, x, pool, 2) if pool else x
    w.loss('loss', w.linear('fc', w.prelu('ip', w.linear('ip', x, 256)), w.classes))


def siamese(w):
    """Caffe's siamese LeNets for MNIST, weights shared by name; a class of both features."""
    features = []
    halves = L.Slice(w.data, ntop=2, slice_point=1)
    for half, x in zip('ab', halves):
        w.n['half_' + half] = x
        shared = lambda name: [dict(name=name + '_w'), dict(name=name + '_b')]  # noqa: E731
        for i, outputs in ((1, 20), (2, 50)):
            name = 'conv%d' % i
            x = w.add(name + half, L.Convolution(x, num_output=outputs, kernel_size=5,
                                                 weight_filler=MSRA, param=shared(name)))
            x = w.pool('pool%d%s' % (i, half), x, 2, 2)
        for i, outputs in ((1, 500), (2, 10), (3, 2)):
            x = w.add('ip%d%s' % (i, half), L.InnerProduct(
                x, num_output=outputs, weight_filler=XAVIER, param=shared('ip%d' % i)))
            x = w.relu('relu' + half, x) if i == 1 else x
        features.append(x)
    w.loss('loss', w.linear('fc', w.add('features', L.Concat(*features)), w.classes))


def lstm(w, layer=L.LSTM):
    """An LSTM over steps of `data` (steps, sequences, ...), and a class for each step."""
    steps, sequences = w.n['data'].fn.params['shape']['dim'][:2]
    parts = [w.add(name, L.DummyData(
        shape=dict(dim=[count, sequences]), data_filler=dict(type='constant', value=value)))
        for name, count, value in (('begins', 1, 0), ('goes_on', steps - 1, 1)) if count]
    cont = w.add('cont', L.Concat(*parts, axis=0))
    x = w.add('lstm', layer(w.data, cont, recurrent_param=dict(
        num_output=512, weight_filler=XAVIER)))
    w.loss('loss', w.linear('fc', x, w.classes))


def rnn(w):
    lstm(w, L.RNN)


def enet(w):
    """Paszke and others 2016: dilated and asymmetric bottlenecks, PReLU, pooling undone where
    its mask says; without dropout."""
    def norm_conv(name, x, *args, **more):
        return w.prelu(name, w.norm_conv(name, x, *args, relu=False, **more))

    def inner(name, x, width, how):
        if how == 'wide':
            x = norm_conv(name + '_5a', x, width, (5, 1), pad=(2, 0))
            return norm_conv(name + '_5b', x, width, (1, 5), pad=(0, 2))
        return norm_conv(name + '_3', x, width, 3, pad=how, dilation=how)

    def block(name, x, width, how=1):
        y = inner(name, norm_conv(name + '_1', x, width // 4, 1), width // 4, how)
        y = w.norm_conv(name + '_e', y, width, 1, relu=False)
        return w.prelu(name, w.add(name, L.Eltwise(x, y)))

    def down(name, x, inputs, width):
        pooled, mask = L.Pooling(x, ntop=2, pool=P.Pooling.MAX, kernel_size=2, stride=2)
        w.n[name + '_mask'] = mask
        main = w.norm_conv(name + '_m', w.add(name + '_pool', pooled), width, 1, relu=False)
        y = norm_conv(name + '_1', x, inputs // 4, 2, stride=2)
        y = w.norm_conv(name + '_e', inner(name, y, inputs // 4, 1), width, 1, relu=False)
        return w.prelu(name, w.add(name, L.Eltwise(main, y))), mask

    def up(name, x, width, mask, size):
        main = w.norm_conv(name + '_m', x, width, 1, relu=False)
        main = w.add(name + '_unpool', L.Upsample(main, mask, scale=2, upsample_h=size,
                                                  upsample_w=size))
        y = norm_conv(name + '_1', x, width // 4, 1)
        y = w.deconv(name + '_d', y, width // 4, 2, 2, 0, bias=False)
        y = w.prelu(name + '_d', w.norm(name + '_d', y, relu=False))
        y = w.norm_conv(name + '_e', y, width, 1, relu=False)
        return w.relu('relu_' + name, w.add(name, L.Eltwise(main, y)))

    first = w.conv('initial', w.data, 13, 3, stride=2, pad=1, relu=False, bias=False)
    x = w.add('joined', L.Concat(first, w.pool('pool0', w.data, 2, 2)))
    x = w.prelu('joined', w.norm('joined', x, relu=False))
    x, mask1 = down('b1_0', x, 16, 64)
    for i in range(1, 5):
        x = block('b1_%d' % i, x, 64)
    x, mask2 = down('b2_0', x, 64, 128)
    for part in (2, 3):
        for i, how in enumerate((1, 2, 'wide', 4, 1, 8, 'wide', 16), 1):
            x = block('b%d_%d' % (part, i), x, 128, how)
    x = block('b4_2', block('b4_1', up('b4_0', x, 64, mask2, 64), 64), 64)
    x = block('b5_1', up('b5_0', x, 16, mask1, 128), 16)
    w.pixels(w.deconv('score', x, w.classes, 2, 2, 0))


def se_resnet50(w):
    """Hu and others 2017: ResNet-50, channels weighed by what all of them are."""
    x = w.pool('pool1', w.norm_conv('conv1', w.data, 64, 7, stride=2, pad=3), 3, 2)
    for stage, (width, blocks) in enumerate(((64, 3), (128, 4), (256, 6), (512, 3)), 2):
        for block in range(blocks):
            n, stride = 'se%d%c' % (stage, ord('a') + block), 1 if block or stage == 2 else 2
            shortcut = x
            if not block:
                shortcut = w.norm_conv(n + '_1', x, 4 * width, 1, stride, relu=False)
            y = w.norm_conv(n + '_2a', x, width, 1, stride)
            y = w.norm_conv(n + '_2b', y, width, 3, pad=1)
            y = w.norm_conv(n + '_2c', y, 4 * width, 1, relu=False)
            s = w.conv(n + '_down', w.global_pool(n + '_pool', y), width // 4, 1)
            s = w.conv(n + '_up', s, 4 * width, 1, relu=False)
            s = w.add(n + '_gate', L.Sigmoid(s))
            x = w.relu(n + '_relu', w.add(n, L.Axpy(s, y, shortcut)))
    w.loss('loss', w.linear('fc', w.global_pool('pool5', x), w.classes))


def yolo_v2(w):
    """Redmon and Farhadi 2016: Darknet-19, a finer map brought in by Reorg, at 416."""
    def conv(name, x, outputs, kernel):
        return w.leaky(name, w.norm_conv(name, x, outputs, kernel, pad=kernel // 2,
                                          relu=False), 0.1)

    x = w.data
    for i, widths in enumerate(((32,), (64,), (128, 64, 128), (256, 128, 256),
                                (512, 256, 512, 256, 512), (1024, 512, 1024, 512, 1024)), 1):
        fine = x
        if i > 1:
            x = w.pool('pool%d' % i, x, 2, 2)
        for j, width in enumerate(widths, 1):
            x = conv('conv%d_%d' % (i, j), x, width, 1 if j % 2 == 0 else 3)
    x = conv('conv8', conv('conv7', x, 1024, 3), 1024, 3)
    fine = w.add('reorg', L.Reorg(conv('fine', fine, 64, 1), stride=2))
    x = conv('conv9', w.add('both', L.Concat(fine, x)), 1024, 3)
    w.pixels(w.conv('region', x, 5 * w.classes, 1, relu=False))


def yolo_v3_tiny(w):
    """Redmon and Farhadi 2018: two scales, the coarse one's map made larger, at 416."""
    def conv(name, x, outputs, kernel=3):
        return w.leaky(name, w.norm_conv(name, x, outputs, kernel, pad=kernel // 2,
                                          relu=False), 0.1)

    x = w.data
    for i, width in enumerate((16, 32, 64, 128, 256)):
        x = fine = conv('conv%d' % i, x, width)
        x = w.pool('pool%d' % i, x, 2, 2)
    x = conv('conv7', conv('conv6', conv('conv5', x, 512), 1024), 256, 1)
    coarse = w.conv('yolo1', conv('conv8', x, 512), 3 * w.classes, 1, relu=False)
    x = w.add('larger', L.Upsample(conv('conv9', x, 128, 1), scale=2))
    x = conv('conv10', w.add('both', L.Concat(x, fine)), 256)
    fine = w.conv('yolo2', x, 3 * w.classes, 1, relu=False)
    heads = [w.flatten('flat%d' % i, w.global_pool('pool_%d' % i, y))
             for i, y in enumerate((coarse, fine))]
    w.loss('loss', w.add('heads', L.Concat(*heads)))


def ssd300(w):
    """Liu and others 2016: VGG-16, fc6 dilated, six heads permuted and joined."""
    x, sources, boxes = w.data, [], []
    for stage, (outputs, convs) in enumerate(((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)),
                                             1):
        for i in range(1, convs + 1):
            x = w.conv('conv%d_%d' % (stage, i), x, outputs, 3, pad=1)
        if stage == 4:
            sources.append(w.add('norm4', L.Normalize(x, norm_param=dict(
                across_spatial=False, channel_shared=False,
                scale_filler=dict(type='constant', value=20)))))
        x = w.pool('pool%d' % stage, x, *((3, 1, 1) if stage == 5 else (2, 2)))
    x = w.conv('fc7', w.conv('fc6', x, 1024, 3, pad=6, dilation=6), 1024, 1)
    sources.append(x)
    for i, (narrow, outputs, stride) in enumerate(((256, 512, 2), (128, 256, 2), (128, 256, 1),
                                                   (128, 256, 1)), 6):
        x = w.conv('conv%d_1' % i, x, narrow, 1)
        x = w.conv('conv%d_2' % i, x, outputs, 3, stride, pad=stride - 1)
        sources.append(x)
    for i, source in enumerate(sources):
        for name, each in (('loc', 4), ('conf', 21)):
            outputs = each * (4 if i in (0, 4, 5) else 6)
            top = w.conv('%s%d' % (name, i), source, outputs, 3, pad=1, relu=False)
            top = w.add('%s%d_perm' % (name, i), L.Permute(top, order=[0, 2, 3, 1]))
            boxes.append(w.flatten('%s%d_flat' % (name, i), top))
    w.loss('loss', w.linear('fc', w.add('heads', L.Concat(*boxes)), w.classes))


def openpose(w):
    """Cao and others 2016: VGG's first ten layers, then 7x7 convolutions of 46x46, twice."""
    x = w.data
    for stage, (outputs, convs) in enumerate(((64, 2), (128, 2), (256, 4), (512, 2)), 1):
        for i in range(1, convs + 1):
            x = w.conv('conv%d_%d' % (stage, i), x, outputs, 3, pad=1)
        x = w.pool('pool%d' % stage, x, 2, 2) if stage < 4 else x
    x = features = w.conv('conv4_4', w.conv('conv4_3', x, 256, 3, pad=1), 128, 3, pad=1)
    for stage in (1, 2, 3):
        maps = []
        for branch, outputs in ((1, 38), (2, 19)):
            y, n = x, 'stage%d_%d_' % (stage, branch)
            for i in range(1, 4 if stage == 1 else 6):
                y = w.conv(n + str(i), y, 128, *((3, 1, 1) if stage == 1 else (7, 1, 3)))
            y = w.conv(n + 'wide', y, 512 if stage == 1 else 128, 1)
            maps.append(w.conv(n + 'map', y, outputs, 1, relu=False))
        x = w.add('stage%d' % stage, L.Concat(*maps, features))
    w.pixels(x)


def srcnn(w):
    """Dong and others 2014: 9-5-5."""
    x = w.conv('conv2', w.conv('conv1', w.data, 64, 9, pad=4), 32, 5, pad=2)
    w.pixels(w.conv('conv4', w.conv('conv3', x, 1, 5, pad=2, relu=False), w.classes, 1))


def fsrcnn(w):
    """Dong and others 2016: d 56, s 12, m 4, three times as large by a deconvolution of 9x9."""
    x = w.data
    for i, (outputs, kernel) in enumerate(((56, 5), (12, 1), (12, 3), (12, 3), (12, 3), (12, 3),
                                           (56, 1)), 1):
        x = w.prelu('conv%d' % i, w.conv('conv%d' % i, x, outputs, kernel, pad=kernel // 2,
                                       relu=False))
    x = w.deconv('deconv', x, 1, 9, 3, 4)
    w.pixels(w.conv('class', x, w.classes, 1))


def dcgan_g(w):
    """Radford and others 2015: the generator, 64x64 of 100 numbers; its image's class."""
    x = w.data
    for i, outputs in enumerate((512, 256, 128, 64)):
        x = w.deconv('up%d' % i, x, outputs, 4, 2 if i else 1, 1 if i else 0, bias=False)
        x = w.norm('up%d' % i, x)
    x = w.add('image', L.TanH(w.deconv('up4', x, 3, 4, 2, 1)))
    w.loss('loss', w.linear('fc', x, w.classes))


def dcgan_d(w):
    """The discriminator of the same."""
    x = w.leaky('0', w.conv('conv0', w.data, 64, 4, 2, 1, relu=False), 0.2)
    for i, outputs in enumerate((128, 256, 512), 1):
        x = w.leaky(str(i), w.norm_conv('conv%d' % i, x, outputs, 4, 2, 1, relu=False), 0.2)
    w.loss('loss', w.flatten('flat', w.conv('score', x, w.classes, 4, relu=False)))


def flownet_s(w):
    """Dosovitskiy and others 2015, 7x7 to 3x3 with strides, back by deconvolutions."""
    x, kept = w.data, []
    for i, (outputs, kernel, stride) in enumerate((
            (64, 7, 2), (128, 5, 2), (256, 5, 2), (256, 3, 1), (512, 3, 2), (512, 3, 1),
            (512, 3, 2), (512, 3, 1), (1024, 3, 2), (1024, 3, 1))):
        x = w.leaky(str(i), w.conv('conv%d' % i, x, outputs, kernel, stride, kernel // 2,
                                    relu=False), 0.1)
        if i in (1, 3, 5, 7):
            kept.append(x)
    for i, outputs in ((3, 512), (2, 256), (1, 128), (0, 64)):
        flow = w.conv('flow%d' % i, x, 2, 3, pad=1, relu=False)
        y = w.leaky('up%d' % i, w.deconv('up%d' % i, x, outputs, 4, 2, 1), 0.1)
        x = w.add('join%d' % i, L.Concat(kept[i], y, w.deconv('upflow%d' % i, flow, 2, 4, 2,
                                                            1)))
    w.pixels(w.conv('flow', x, w.classes, 3, pad=1, relu=False))


def wide_resnet(w):
    """Zagoruyko and Komodakis 2016, 16-4, for CIFAR-10: normalised before each convolution."""
    x, inputs = w.conv('conv1', w.data, 16, 3, pad=1, relu=False, bias=False), 16
    for stage, width in enumerate((64, 128, 256), 2):
        for block in range(2):
            n, stride = 'wide%d%d' % (stage, block), 2 if not block and stage > 2 else 1
            y = w.norm(n + '_a', x, in_place=False)
            if inputs != width:
                x = w.conv(n + '_1', y, width, 1, stride, relu=False, bias=False)
            y = w.norm_conv(n + '_2a', y, width, 3, stride, 1)
            y = w.conv(n + '_2b', y, width, 3, pad=1, relu=False, bias=False)
            x, inputs = w.add(n, L.Eltwise(x, y)), width
    x = w.global_pool('pool', w.norm('last', x, in_place=False))
    w.loss('loss', w.linear('fc', x, w.classes))


# name: (function, channels, height = width or all sizes, classes, batch of the tables)
NETS = {'lenet': (lenet, 1, 28, 10, 64), 'cifar_quick': (cifar_quick, 3, 32, 10, 100),
        'alexnet': (alexnet, 3, 227, 1000, 16), 'googlenet': (googlenet, 3, 224, 1000, 8),
        'resnet50': (resnet50, 3, 224, 1000, 4),
        'mobilenet_v1': (mobilenet_v1, 3, 224, 1000, 8),
        'mobilenet_v2': (mobilenet_v2, 3, 224, 1000, 8), 'vgg16': (vgg16, 3, 224, 1000, 4),
        'caffenet': (caffenet, 3, 227, 1000, 16), 'squeezenet': (squeezenet, 3, 227, 1000, 8),
        'cifar_full': (cifar_full, 3, 32, 10, 100),
        'cifar_sigmoid': (cifar_sigmoid, 3, 32, 10, 100), 'nin': (nin, 3, 32, 10, 32),
        'darknet19': (darknet19, 3, 224, 1000, 4), 'unet': (unet, 1, 128, 10, 4),
        'fcn_alexnet': (fcn_alexnet, 3, 500, 21, 1),
        'ssd_mobilenet': (ssd_mobilenet, 3, 300, 21, 2),
        'autoencoder': (autoencoder, 1, 28, 784, 100),
        'inception_v3': (inception_v3, 3, 299, 1000, 2),
        'densenet121': (densenet121, 3, 224, 1000, 4),
        'mobilenet_v3': (mobilenet_v3, 3, 224, 1000, 8), 'onet': (onet, 3, 48, 10, 64),
        'siamese': (siamese, 2, 28, 10, 64), 'lstm': (lstm, 16, 16, 10, 20),
        'rnn': (rnn, 16, 16, 10, 20), 'resnext50': (resnext50, 3, 224, 1000, 4),
        'deeplab': (deeplab, 3, 225, 21, 1), 'shufflenet': (shufflenet, 3, 224, 1000, 8),
        'c3d': (c3d, 3, (16, 56, 56), 101, 1), 'tcn': (tcn, 32, (512,), 10, 16),
        'enet': (enet, 3, 256, 20, 2), 'se_resnet50': (se_resnet50, 3, 224, 1000, 4),
        'yolo_v2': (yolo_v2, 3, 416, 25, 1), 'yolo_v3_tiny': (yolo_v3_tiny, 3, 416, 85, 2),
        'ssd300': (ssd300, 3, 300, 21, 1), 'openpose': (openpose, 3, 368, 57, 1),
        'srcnn': (srcnn, 1, 128, 10, 4), 'fsrcnn': (fsrcnn, 1, 128, 10, 4),
        'dcgan_g': (dcgan_g, 100, 1, 10, 64), 'dcgan_d': (dcgan_d, 3, 64, 10, 64),
        'flownet_s': (flownet_s, 6, 256, 10, 1), 'wide_resnet': (wide_resnet, 3, 32, 10, 64)}


def build(name, train, batch=None, dropout=True):
    """The net as a NetParameter; str() of it is prototxt. Dropout can be left out, for runs
    that compare numbers."""
    function, channels, size, classes, usual = NETS[name]
    sizes = size if isinstance(size, tuple) else (size, size)
    w = Writer([batch or usual, channels, *sizes], classes, train, dropout)
    function(w)
    net = w.n.to_proto()
    net.name = name
    return net


def main(folder, *names):
    os.makedirs(folder, exist_ok=True)
    for name in names or NETS:
        for train in (True, False):
            path = '%s_%s.prototxt' % (name, 'train' if train else 'deploy')
            with open(os.path.join(folder, path), 'w') as f:
                f.write(str(build(name, train)))


if __name__ == '__main__':
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(*sys.argv[1:])
