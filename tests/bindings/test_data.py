# SPDX-License-Identifier: BSD-2-Clause
"""IDX files into an LMDB, and back out through a Data layer."""
import struct
import unittest

import numpy as np

import deepnet
from nets import InFolder

NET = '''
layer { name: "data" type: "Data" top: "data" top: "label" transform_param { scale: 0.5 }
  data_param { source: "lmdb" batch_size: 2 backend: LMDB } }
'''


class Convert(InFolder):
    def setUp(self):
        super().setUp()
        self.images = np.arange(3 * 4 * 5, dtype=np.uint8).reshape(3, 4, 5)
        with open('images', 'wb') as file:
            file.write(struct.pack('>4B3i', 0, 0, 8, 3, 3, 4, 5) + self.images.tobytes())
        with open('labels', 'wb') as file:
            file.write(struct.pack('>4Bi', 0, 0, 8, 1, 3) + bytes([7, 8, 9]))

    def convert(self, *args, **options):
        try:
            deepnet.convert_mnist(*args, **options)
        except deepnet.UnsupportedError as error:
            self.skipTest(str(error))

    def test_there_and_back(self):
        self.convert('images', 'labels', 'lmdb')
        net = deepnet.Net(text=NET, phase=deepnet.TEST)
        order = [0, 1, 2, 0, 1, 2]
        for i in (0, 2, 4):
            out = net.forward()
            self.assertEqual(out['label'].tolist(), [7 + k for k in order[i:i + 2]])
            np.testing.assert_array_equal(out['data'][:, 0], self.images[order[i:i + 2]] * 0.5)

    def test_overwrite(self):
        self.convert('images', 'labels', 'lmdb')
        with self.assertRaises(deepnet.FileError):
            deepnet.convert_mnist('images', 'labels', 'lmdb')
        deepnet.convert_mnist('images', 'labels', 'lmdb', overwrite=True)

    def test_errors(self):
        self.convert('images', 'labels', 'lmdb')
        with self.assertRaises(FileNotFoundError):
            deepnet.convert_mnist('nothing', 'labels', 'other')
        with self.assertRaises(deepnet.ParseError):
            deepnet.convert_mnist('labels', 'images', 'other')


class Upgrade(InFolder):
    def test_text(self):
        with open('old.prototxt', 'w', encoding='utf-8') as file:
            file.write('layers { name: "r" type: RELU } # kept')
        deepnet.upgrade('old.prototxt', 'new.prototxt')
        with open('new.prototxt', encoding='utf-8') as file:
            self.assertEqual(file.read(), 'layer {\n  name: "r"\n  type: "ReLU"\n}  # kept\n')
        with self.assertRaises(FileNotFoundError):
            deepnet.upgrade('nothing', 'new.prototxt')
        with self.assertRaises(KeyError):
            deepnet.upgrade('new.prototxt', 'new.caffemodel')
            deepnet.upgrade('new.caffemodel', 'new.prototxt', dialect='mxnet')


if __name__ == '__main__':
    unittest.main()
