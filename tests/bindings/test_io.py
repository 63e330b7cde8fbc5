# SPDX-License-Identifier: BSD-2-Clause
"""Arrays to messages and back, images to inputs and back."""
import os
import tempfile
import unittest

import numpy as np

import deepnet as caffe

RNG = np.random.RandomState(1)


class Arrays(unittest.TestCase):
    def test_blobproto(self):
        array = RNG.rand(3, 4, 5).astype(np.float32)
        blob = caffe.io.array_to_blobproto(array, array + 1)
        np.testing.assert_array_equal(caffe.io.blobproto_to_array(blob), array)
        np.testing.assert_array_equal(caffe.io.blobproto_to_array(blob, True), array + 1)

    def test_legacy_blobproto(self):
        blob = caffe.proto.caffe_pb2.BlobProto(num=1, channels=2, height=1, width=2)
        blob.data.extend([1, 2, 3, 4])
        self.assertEqual(caffe.io.blobproto_to_array(blob).shape, (1, 2, 1, 2))
        blob.data.append(5)
        with self.assertRaises(caffe.DataError):
            caffe.io.blobproto_to_array(blob)

    def test_double_blobproto(self):
        blob = caffe.proto.caffe_pb2.BlobProto()
        blob.double_data.extend([1, 2.5])
        self.assertEqual(caffe.io.blobproto_to_array(blob).tolist(), [1, 2.5])
        self.assertEqual(caffe.io.blobproto_to_array(blob, True).size, 0)

    def test_mean(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, 'mean.binaryproto')
            for shape, want in (((1, 3, 2, 2), (3, 2, 2)), ((2, 3, 2, 2), (2, 3, 2, 2))):
                with open(path, 'wb') as file:
                    file.write(caffe.io.array_to_blobproto(np.ones(shape)).SerializeToString())
                self.assertEqual(caffe.io.load_mean(path).shape, want)

    def test_vector(self):
        arrays = [np.ones((2, 3), np.float32), np.zeros(4, np.float32)]
        data = caffe.io.arraylist_to_blobprotovector_str(arrays)
        for one, two in zip(arrays, caffe.io.blobprotovector_str_to_arraylist(data)):
            np.testing.assert_array_equal(one, two)

    def test_datum(self):
        for array in (np.arange(24, dtype=np.uint8).reshape(2, 3, 4),
                      RNG.rand(2, 3, 4).astype(np.float32)):
            datum = caffe.io.array_to_datum(array, 7)
            back = caffe.io.datum_to_array(datum)
            self.assertEqual((back.dtype, datum.label), (array.dtype, 7))
            self.assertTrue(back.flags.writeable)
            np.testing.assert_array_equal(back, array)


class Images(unittest.TestCase):
    def test_resize(self):
        image = np.arange(12, dtype=np.float32).reshape(3, 4, 1)
        np.testing.assert_array_equal(caffe.io.resize_image(image, (3, 4)), image)
        small = caffe.io.resize_image(image[:2, :2], (1, 1))
        self.assertEqual(small.ravel().tolist(), [2.5])  # the mean of four
        flat = caffe.io.resize_image(np.full((5, 7, 3), 9.0), (8, 2))
        np.testing.assert_array_equal(flat, np.full((8, 2, 3), 9.0))
        rows = np.float32([[[0]], [[10]], [[20]], [[30]]])
        self.assertEqual(caffe.io.resize_image(rows[:2], (4, 1)).ravel().tolist(),
                         [0, 2.5, 7.5, 10])  # beyond the border it goes on
        self.assertEqual(caffe.io.resize_image(rows, (2, 1), 0).ravel().tolist(), [10, 30])

    def test_oversample(self):
        image = RNG.rand(7, 9, 3).astype(np.float32)
        crops = caffe.io.oversample([image, image], (4, 5))
        self.assertEqual(crops.shape, (20, 4, 5, 3))
        np.testing.assert_array_equal(crops[0], image[:4, :5])
        np.testing.assert_array_equal(crops[3], image[3:, 4:])
        np.testing.assert_array_equal(crops[4], image[1:5, 2:7])
        np.testing.assert_array_equal(crops[5], image[:4, :5][:, ::-1])

    def test_transformer(self):
        t = caffe.io.Transformer({'data': (1, 3, 4, 5)})
        t.set_transpose('data', (2, 0, 1))
        t.set_channel_swap('data', (2, 1, 0))
        t.set_raw_scale('data', 255)
        t.set_mean('data', np.float32([1, 2, 3]))
        t.set_input_scale('data', 0.5)
        image = RNG.rand(4, 5, 3).astype(np.float32)
        made = t.preprocess('data', image)
        wanted = (image.transpose(2, 0, 1)[::-1] * 255
                  - np.float32([1, 2, 3]).reshape(3, 1, 1)) * 0.5
        np.testing.assert_allclose(made, wanted, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(t.deprocess('data', made), image, atol=1e-5)
        self.assertEqual(t.preprocess('data', np.zeros((9, 9, 3))).shape, (3, 4, 5))
        t.set_channel_swap('data', (1, 2, 0))
        np.testing.assert_allclose(t.deprocess('data', t.preprocess('data', image)), image,
                                   atol=1e-5)

    def test_transformer_mistakes(self):
        t = caffe.io.Transformer({'data': (1, 3, 4, 5)})
        with self.assertRaises(ValueError):
            t.preprocess('other', np.zeros((4, 5, 3)))
        with self.assertRaises(ValueError):
            t.set_mean('data', np.zeros(2))
        with self.assertRaises(ValueError):
            t.set_channel_swap('data', (0, 1))

    def test_load_image(self):
        try:
            import cv2
        except ImportError:
            self.skipTest('no OpenCV to write an image with')
        bgr = RNG.randint(0, 256, (6, 5, 3), np.uint8)
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, 'x.png')
            cv2.imwrite(path, bgr)
            image = caffe.io.load_image(path)
            np.testing.assert_allclose(image, bgr[:, :, ::-1] / 255.0, rtol=1e-6)
            self.assertEqual(caffe.io.load_image(path, color=False).shape, (6, 5, 1))
        with self.assertRaises(FileNotFoundError):
            caffe.io.load_image(path)


if __name__ == '__main__':
    unittest.main()
