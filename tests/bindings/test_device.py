# SPDX-License-Identifier: BSD-2-Clause
"""A device from Python: on the fake one, whose memory nobody but it may touch. Its module's path is
in DEEPNET_TEST_MODULE."""
import os
import unittest

import numpy as np

import deepnet
from deepnet._context import _stream_of

CHAIN = os.environ['DEEPNET_TEST_MODULE'] + ',ref'
NET = """layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }
layer { name: "y" type: "Power" bottom: "x" top: "y" power_param { scale: 2 shift: 1 } }"""


class Array:
    """What torch and cupy arrays have in common."""

    def __init__(self, address, shape=(2, 3), typestr='<f4', strides=None):
        self.__cuda_array_interface__ = {'version': 3, 'data': (address, False),
                                         'shape': shape, 'typestr': typestr,
                                         'strides': strides}


def make(context, net=NET):
    with context:
        return deepnet.Net(text=net, phase=deepnet.TEST)


def address_of(memory):
    return memory.__cuda_array_interface__['data'][0]


class Device(unittest.TestCase):
    def setUp(self):
        self.context = deepnet.Context(backends=CHAIN)
        self.net = make(self.context)
        self.x, self.y = self.net.blobs['x'], self.net.blobs['y']

    def test_views(self):
        other = make(self.context)
        other.blobs['x'].data[...] = 5
        other.forward()
        there = other.blobs['y'].device_data
        self.assertEqual(there.__cuda_array_interface__['shape'], (2, 3))
        self.assertTrue(there.__cuda_array_interface__['data'][1])  # to be read
        self.assertFalse(other.blobs['x'].mutable_device_data
                         .__cuda_array_interface__['data'][1])
        self.x.view_device(there)  # 11, without a copy
        self.net.forward()
        np.testing.assert_array_equal(self.y.data, 23)
        self.x.view_device(address_of(there))
        self.net.forward()
        np.testing.assert_array_equal(self.y.data, 23)
        self.x.view_device(None)
        self.x.data[...] = 1
        self.net.forward()
        np.testing.assert_array_equal(self.y.data, 3)

    def test_a_view_keeps_its_net(self):
        other = make(self.context)
        other.blobs['x'].data[...] = 5
        other.forward()
        self.x.view_device(other.blobs['y'].device_data)
        del other
        self.net.forward()
        np.testing.assert_array_equal(self.y.data, 23)

    def test_what_does_not_fit(self):
        self.net.forward()
        good = address_of(self.y.device_data)
        for wrong in (Array(good, (3, 2)), Array(good, typestr='<f8'),
                      Array(good, strides=(4, 8))):
            with self.assertRaises(ValueError):
                self.x.view_device(wrong)
        self.x.view_device(Array(good, strides=(12, 4)))
        self.x.view_device(None)
        with self.assertRaises(deepnet.InvalidError):
            self.y.view_device(good)

    def test_without_a_device(self):
        net = make(deepnet.Context(backends='ref'))
        net.forward()
        with self.assertRaises(deepnet.UnsupportedError):
            net.blobs['y'].device_data
        with self.assertRaises(deepnet.UnsupportedError):
            net.blobs['x'].view_device(4096)
        deepnet.Context(backends='ref').synchronise()

    def test_options(self):
        class Torch:
            cuda_stream = 4096

        class Cupy:
            ptr = 4096

        class Default:
            cuda_stream = 0

        self.assertEqual([_stream_of(s) for s in (7, Torch(), Cupy(), Default(), None)],
                         [7, 4096, 4096, 1, None])
        for stream in (4096, Torch(), Cupy(), Default(), None):
            context = deepnet.Context(backends=CHAIN, device_stream=stream,
                                      allow_nondeterministic=True)
            net = make(context)
            net.forward()
            context.synchronise()
        with self.assertRaises(deepnet.InvalidError):
            deepnet.Context(backends=CHAIN, allow_nondeterministic=2)

    def test_memory_limit(self):
        context = deepnet.Context(backends=CHAIN, device_memory_limit=1 << 20)
        net = make(context)
        net.forward()
        net.blobs['x'].reshape(1 << 19, 3)
        with self.assertRaises(deepnet.LimitError):
            net.forward()
        net.blobs['x'].reshape(16, 3)
        net.blobs['x'].data[...] = 1
        net.forward()
        np.testing.assert_array_equal(net.blobs['y'].data, 3)


if __name__ == '__main__':
    unittest.main()
