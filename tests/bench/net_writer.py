# SPDX-License-Identifier: BSD-2-Clause
"""What nets.py writes its nets with: a NetSpec that adds layers by what a paper calls them,
named as Caffe's models name theirs. Weight fillers are the same in all."""
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..', '..', 'bindings', 'python'))
from deepnet import NetSpec, layers as L, params as P  # noqa: E402

MSRA, XAVIER = dict(type='msra'), dict(type='xavier')


class Writer:
    """A NetSpec under construction: a method adds a layer on `bottom` and returns its top."""

    def __init__(self, data, classes, train, dropout):
        self.n = NetSpec()
        self.train, self.dropout_wanted, self.classes = train, dropout and train, classes
        self.data = self.n['data'] = L.Input(shape=dict(dim=data))
        if train:
            self.label = self.n['label'] = L.Input(shape=dict(dim=data[:1]))

    def add(self, name, top):
        self.n[name] = top
        return top

    def relu(self, name, bottom, relu6=False):
        return self.add(name, (L.ReLU6 if relu6 else L.ReLU)(bottom, in_place=True))

    def prelu(self, name, bottom):
        return self.add('prelu_' + name, L.PReLU(bottom, in_place=True))

    def leaky(self, name, bottom, slope):
        return self.add('leaky_' + name, L.ReLU(bottom, negative_slope=slope, in_place=True))

    def conv(self, name, bottom, outputs, kernel, stride=1, pad=0, group=1, relu=True,
             bias=True, dilation=1):
        more = dict(group=group) if group > 1 else {}
        if dilation > 1:
            more['dilation'] = dilation
        if not bias:
            more['bias_term'] = False
        if isinstance(kernel, tuple):  # h, w
            more.update(kernel_h=kernel[0], kernel_w=kernel[1], pad_h=pad[0], pad_w=pad[1])
        else:
            more.update(kernel_size=kernel, pad=pad)
        top = self.add(name, L.Convolution(bottom, num_output=outputs, stride=stride,
                                           weight_filler=MSRA, **more))
        return self.relu('relu_' + name, top) if relu else top

    def deconv(self, name, bottom, outputs, kernel, stride, pad, group=1, bias=True):
        return self.add(name, L.Deconvolution(bottom, convolution_param=dict(
            num_output=outputs, kernel_size=kernel, stride=stride, pad=pad, group=group,
            bias_term=bias, weight_filler=MSRA)))

    def norm_conv(self, name, bottom, outputs, kernel, stride=1, pad=0, group=1, relu=True,
                  relu6=False, dilation=1):
        """Convolution, batch norm, scale and ReLU, as nets without biases have them."""
        top = self.conv(name, bottom, outputs, kernel, stride, pad, group, False, bias=False,
                        dilation=dilation)
        return self.norm(name, top, relu, relu6)

    def norm(self, name, top, relu=True, relu6=False, in_place=True):
        fixed = [dict(lr_mult=0)] * 3
        top = self.add('bn_' + name, L.BatchNorm(top, in_place=in_place, param=fixed))
        top = self.add('scale_' + name, L.Scale(top, in_place=True, bias_term=True))
        return self.relu('relu_' + name, top, relu6) if relu else top

    def pool(self, name, bottom, kernel, stride, pad=0, average=False):
        how = P.Pooling.AVE if average else P.Pooling.MAX
        return self.add(name, L.Pooling(bottom, pool=how, kernel_size=kernel, stride=stride,
                                        pad=pad))

    def global_pool(self, name, bottom):
        return self.add(name, L.Pooling(bottom, pool=P.Pooling.AVE, global_pooling=True))

    def lrn(self, name, bottom):
        return self.add(name, L.LRN(bottom, local_size=5, alpha=1e-4, beta=0.75))

    def linear(self, name, bottom, outputs, relu=False):
        top = self.add(name, L.InnerProduct(bottom, num_output=outputs, weight_filler=XAVIER))
        return self.relu('relu_' + name, top) if relu else top

    def dropout(self, name, bottom, ratio):
        if not self.dropout_wanted:
            return bottom
        return self.add(name, L.Dropout(bottom, in_place=True, dropout_ratio=ratio))

    def flatten(self, name, bottom):
        return self.add(name, L.Flatten(bottom))

    def loss(self, name, bottom, weight=1):
        more = dict(loss_weight=weight) if weight != 1 else {}
        if self.train:
            self.add(name, L.SoftmaxWithLoss(bottom, self.label, **more))
        else:
            self.add('prob', L.Softmax(bottom))

    def pixels(self, bottom):
        """One class for the image, where a net ends in a map."""
        self.loss('loss', self.flatten('flat', self.global_pool('pool', bottom)))
