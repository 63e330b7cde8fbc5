# SPDX-License-Identifier: BSD-2-Clause
"""Nets written in Python, and crops found by coordinates."""
import unittest

import deepnet as caffe
from deepnet import coord_map
from deepnet import layers as L
from deepnet import params as P


def lenet(batch_size):
    n = caffe.NetSpec()
    n.data, n.label = L.DummyData(shape=[dict(dim=[batch_size, 1, 28, 28]),
                                         dict(dim=[batch_size, 1, 1, 1])],
                                  transform_param=dict(scale=1. / 255), ntop=2)
    n.conv1 = L.Convolution(n.data, kernel_size=5, num_output=20,
                            weight_filler=dict(type='xavier'))
    n.pool1 = L.Pooling(n.conv1, kernel_size=2, stride=2, pool=P.Pooling.MAX)
    n.ip1 = L.InnerProduct(n.pool1, num_output=500, weight_filler=dict(type='xavier'))
    n.relu1 = L.ReLU(n.ip1, in_place=True)
    n.ip2 = L.InnerProduct(n.relu1, num_output=10, weight_filler=dict(type='xavier'))
    n.loss = L.SoftmaxWithLoss(n.ip2, n.label)
    return n.to_proto()


def anonymous_lenet(batch_size):
    data, label = L.DummyData(shape=[dict(dim=[batch_size, 1, 28, 28]),
                                     dict(dim=[batch_size, 1, 1, 1])], ntop=2)
    ip = L.InnerProduct(data, num_output=10)
    return caffe.to_proto(L.SoftmaxWithLoss(L.ReLU(ip, in_place=True), label))


class Spec(unittest.TestCase):
    def test_names(self):
        net = lenet(50)
        self.assertEqual([layer.name for layer in net.layer],
                         ['data', 'conv1', 'pool1', 'ip1', 'relu1', 'ip2', 'loss'])
        self.assertEqual(list(net.layer[0].top), ['data', 'label'])
        self.assertEqual(list(net.layer[4].bottom), ['ip1'])
        self.assertEqual(list(net.layer[4].top), ['ip1'])
        self.assertEqual(list(net.layer[6].bottom), ['ip2', 'label'])

    def test_anonymous_names(self):
        net = anonymous_lenet(2)
        self.assertEqual([layer.name for layer in net.layer],
                         ['DummyData1', 'InnerProduct1', 'ReLU1', 'SoftmaxWithLoss1'])
        self.assertEqual(list(net.layer[0].top), ['DummyData1', 'DummyData2'])

    def test_silence(self):
        n = caffe.NetSpec()
        n.data, n.label = L.DummyData(shape=dict(dim=[2, 3]), ntop=2)
        n.quiet = L.Silence(n.label, ntop=0)
        net = n.to_proto()
        self.assertEqual(net.layer[1].name, 'quiet')
        self.assertEqual(list(net.layer[1].top), [])

    def test_type_error(self):
        data = L.DummyData(ntop=2)
        with self.assertRaises(TypeError):
            L.InnerProduct(data, num_output=3)
        with self.assertRaises(AttributeError):
            L.ReLU(L.DummyData(), nonsense=1).to_proto()

    def test_it_runs(self):
        for proto in (lenet(50), anonymous_lenet(2)):
            net = caffe.Net(text=str(proto), phase=caffe.TRAIN)
            self.assertEqual(list(net._layer_names), [layer.name for layer in proto.layer])
            net.forward()


class Coordinates(unittest.TestCase):
    def crop_offset(self, *args):
        return list(coord_map.crop(*args).to_proto().layer[-1].crop_param.offset)

    def test_fcn(self):
        data = L.DummyData()
        conv = L.Convolution(data, kernel_size=5, pad=100, num_output=2)
        pool = L.Pooling(conv, kernel_size=2, stride=2)
        up = L.Deconvolution(pool, convolution_param=dict(kernel_size=4, stride=2,
                                                          num_output=2))
        self.assertEqual(self.crop_offset(up, data), [99])

    def test_same_place(self):
        data = L.DummyData()
        conv = L.Convolution(data, kernel_size=3, pad=1, num_output=2)
        self.assertEqual(self.crop_offset(L.ReLU(conv), data), [0])

    def test_rectangular(self):
        data = L.DummyData()
        conv = L.Convolution(data, kernel_size=3, pad=[4, 6], num_output=2)
        self.assertEqual(self.crop_offset(conv, data), [3, 5])

    def test_maps(self):
        data = L.DummyData()
        conv = L.Convolution(data, kernel_size=3, num_output=2)
        pool = L.Pooling(data, kernel_size=2, stride=2)
        cut = L.Crop(data, L.DummyData(), crop_param=dict(axis=2, offset=[3]))
        self.assertEqual(coord_map.coord_map_from_to(data, conv), (2, [1], [1]))
        self.assertEqual(coord_map.coord_map_from_to(conv, data), (2, [1], [-1]))
        self.assertEqual(coord_map.coord_map_from_to(data, cut), (2, [1], [3]))
        both = L.Eltwise(data, pool)  # by the first way there is
        self.assertEqual(coord_map.coord_map_from_to(data, both), (None, [1], [0]))
        with self.assertRaisesRegex(caffe.Error, 'different axes'):
            coord_map.coord_map_from_to(data, L.Crop(conv, L.DummyData(),
                                                     crop_param=dict(axis=1, offset=[0])))

    def test_refused(self):
        data = L.DummyData()
        strided = L.Convolution(data, kernel_size=1, stride=2, num_output=2)
        with self.assertRaisesRegex(caffe.Error, 'scales'):
            coord_map.crop(strided, data)
        valid = L.Convolution(data, kernel_size=5, num_output=2)
        with self.assertRaisesRegex(caffe.Error, 'cannot crop'):
            coord_map.crop(valid, data)
        with self.assertRaisesRegex(caffe.Error, 'no blob'):
            coord_map.crop(L.DummyData(), L.DummyData())


if __name__ == '__main__':
    unittest.main()
