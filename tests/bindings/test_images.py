# SPDX-License-Identifier: BSD-2-Clause
"""Image files: lists of them read by ImageData, into databases and means; beside OpenCV's own
numbers where it is at hand."""
import base64
import os
import struct
import unittest
import zlib

import numpy as np

import deepnet
from nets import InFolder

try:
    import cv2
except ImportError:
    cv2 = None

# 8 x 8 pixels of about (40, 90, 200), blue first.
JPEG = base64.b64decode(
    '/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAIBAQEBAQIBAQECAgICAgQDAgICAgUEBAMEBgUGBgYFBgYGBwkIBgcJBwYG'
    'CAsICQoKCgoKBggLDAsKDAkKCgr/2wBDAQICAgICAgUDAwUKBwYHCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoK'
    'CgoKCgoKCgoKCgoKCgoKCgoKCgr/wAARCAAIAAgDASIAAhEBAxEB/8QAFQABAQAAAAAAAAAAAAAAAAAAAAb/xAAUEAEA'
    'AAAAAAAAAAAAAAAAAAAA/8QAFAEBAAAAAAAAAAAAAAAAAAAACP/EABQRAQAAAAAAAAAAAAAAAAAAAAD/2gAMAwEAAhED'
    'EQA/AJMATzsf/9k=')


def png(path, pixels):
    """Writes (H, W) or (H, W, 3) numbers of 8 or 16 bits, blue first."""
    if pixels.ndim == 3:
        pixels = pixels[..., ::-1]
    depth = 8 * pixels.itemsize
    pixels = pixels.astype('>u%d' % pixels.itemsize)
    rows = b''.join(b'\0' + row.tobytes() for row in np.ascontiguousarray(pixels))
    head = struct.pack('>2I5B', pixels.shape[1], pixels.shape[0], depth, 2 * (pixels.ndim == 3),
                       0, 0, 0)
    with open(path, 'wb') as file:
        file.write(b'\x89PNG\r\n\x1a\n')
        for kind, data in ((b'IHDR', head), (b'IDAT', zlib.compress(rows)), (b'IEND', b'')):
            file.write(struct.pack('>I', len(data)) + kind + data +
                       struct.pack('>I', zlib.crc32(kind + data)))


def pixels(seed, *shape):
    return np.random.RandomState(seed).randint(0, 256, shape).astype('u1')


def planes(image):
    return image.reshape(image.shape[0], image.shape[1], -1).transpose(2, 0, 1)


class Images(InFolder):
    """Five PNGs 'pics/N.png' of 6 x 5 pixels, labels 10 to 14, in list.txt."""

    def setUp(self):
        super().setUp()
        os.mkdir('pics')
        self.images = [pixels(i, 6, 5, 3) for i in range(5)]
        for i, image in enumerate(self.images):
            png('pics/%d.png' % i, image)
        self.write('list.txt', ''.join('%d.png %d\n' % (i, 10 + i) for i in range(5)))

    def net(self, param='', transform='', tops='top: "data" top: "label"', phase=deepnet.TEST,
            source='list.txt', context=None, kind='ImageData'):
        field = 'dense_image_data_param' if kind == 'DenseImageData' else 'image_data_param'
        text = '''layer { name: "d" type: "%s" %s transform_param { %s }
                  %s { source: "%s" %s } }''' % (kind, tops, transform, field, source, param)
        if 'root_folder' not in text:
            text = text.replace('source:', 'root_folder: "pics/" source:')
        try:
            return deepnet.Net(text=text, phase=phase, context=context)
        except deepnet.UnsupportedError as error:
            if 'this build has no' in str(error):
                self.skipTest(str(error))
            raise

    def fails(self, error, words, **options):
        """On opening or on reading, with a line of these words."""
        with self.assertRaises(error) as caught:
            net = self.net(**options)
            try:
                for _ in range(6):
                    net.forward()
            except deepnet.UnsupportedError as lacking:
                self.skipTest(str(lacking))
        for word in words:
            self.assertIn(word, str(caught.exception))


class Reading(Images):
    def test_order(self):
        net = self.net('batch_size: 3')
        for first in (0, 3, 6, 9):
            out = net.forward()
            which = [k % 5 for k in range(first, first + 3)]
            self.assertEqual(out['label'].tolist(), [10 + k for k in which])
            for image, k in zip(out['data'], which):
                np.testing.assert_array_equal(image, planes(self.images[k]))

    def test_names(self):
        """Spaces in names, other spaces and ends of lines; beside the list, or anywhere."""
        os.mkdir('my pics')
        png('my pics/a 1.png', self.images[0])
        self.write('my pics/list.txt', '\r\na 1.png  -3 \r\n\t\n%s\t4' %
                   os.path.abspath('pics/1.png'))
        net = self.net('root_folder: ""', source='my pics/list.txt')
        for label, k in ((-3, 0), (4, 1), (-3, 0)):
            out = net.forward()
            self.assertEqual(out['label'].tolist(), [label])
            np.testing.assert_array_equal(out['data'][0], planes(self.images[k]))

    def test_unlabelled(self):
        png('pics/a b.png', self.images[0])
        self.write('list.txt', 'a b.png\n1.png 7\n')
        net = self.net(tops='top: "data"')
        for k in (0, 1, 0):
            np.testing.assert_array_equal(net.forward()['data'][0], planes(self.images[k]))

    def test_jpeg_and_gray(self):
        with open('pics/a.jpg', 'wb') as file:
            file.write(JPEG)
        self.write('list.txt', 'a.jpg 1')
        for param, want in (('', (40, 90, 200)), ('is_color: false', (117,))):
            out = self.net(param).forward()['data'][0]
            self.assertEqual(out.shape, (len(want), 8, 8))
            np.testing.assert_allclose(out, np.array(want)[:, None, None] + 0 * out, atol=1)
        png('pics/a.jpg', self.images[0][..., 0])  # gray, and named wrong
        out = self.net().forward()['data'][0]
        np.testing.assert_array_equal(out, np.stack(3 * [self.images[0][..., 0]]))

    def test_16_bits(self):
        """The upper 8, as OpenCV has them."""
        deep = np.random.RandomState(3).randint(0, 1 << 16, (6, 5, 3)).astype('u2')
        png('pics/0.png', deep)
        np.testing.assert_array_equal(self.net().forward()['data'][0], planes(deep >> 8))
        png('pics/0.png', deep[..., 0])
        np.testing.assert_array_equal(self.net('is_color: false').forward()['data'][0],
                                      planes(deep[..., 0] >> 8))

    def test_transform(self):
        want = planes(self.images[0]).astype('f4')
        out = self.net(transform='crop_size: 3 scale: 0.5 mean_value: 1 mean_value: 2 '
                                 'mean_value: 3').forward()['data'][0]
        mean = np.array([1, 2, 3], 'f4')[:, None, None]
        np.testing.assert_array_equal(out, (want - mean)[:, 1:4, 1:4] * 0.5)
        mean = pixels(9, 3, 6, 5).astype('f4')
        with open('mean.binaryproto', 'wb') as file:
            file.write(deepnet.io.array_to_blobproto(mean[None]).SerializeToString())
        out = self.net(transform='mean_file: "mean.binaryproto"').forward()['data'][0]
        np.testing.assert_array_equal(out, want - mean)
        net = self.net(transform='mirror: true crop_size: 5', phase=deepnet.TRAIN)
        seen = set()
        for i in range(60):
            out, image = net.forward()['data'][0], planes(self.images[i % 5])
            seen |= {(top, way) for top in (0, 1) for way in (1, -1)
                     if np.array_equal(out, image[:, top:top + 5, ::way])}
        self.assertEqual(len(seen), 4)

    def test_sizes(self):
        for i in range(5):
            png('pics/%d.png' % i, pixels(i, 4 + i, 9 - i))
        net = self.net('is_color: false')
        for k in (0, 1, 2, 3, 4, 0):
            self.assertEqual(net.forward()['data'].shape, (1, 1, 4 + k, 9 - k))
        self.assertEqual(self.net('batch_size: 5 new_height: 7 new_width: 3').forward()['data'].shape,
                         (5, 3, 7, 3))

    @unittest.skipIf(cv2 is None, 'without cv2')
    def test_as_opencv(self):
        rng = np.random.RandomState(5)
        for turn in range(60):
            height, width, new_height, new_width = (int(n) for n in rng.randint(1, 80, 4))
            color = turn % 3 != 0
            png('pics/0.png', pixels(turn, height, width, 3) if turn % 2
                else pixels(turn, height, width))
            out = self.net('new_height: %d new_width: %d is_color: %s' % (
                new_height, new_width, 'true' if color else 'false')).forward()['data'][0]
            want = cv2.imread('pics/0.png', cv2.IMREAD_COLOR if color else cv2.IMREAD_GRAYSCALE)
            np.testing.assert_array_equal(out, planes(cv2.resize(want, (new_width, new_height))))

    @unittest.skipIf(cv2 is None, 'without cv2')
    def test_exif(self):
        """Turned as OpenCV's imread does it, whatever follows in the file's header."""
        _, jpeg = cv2.imencode('.jpg', cv2.GaussianBlur(pixels(3, 24, 17, 3), (9, 9), 0))
        jpeg = jpeg.tobytes()
        self.write('list.txt', '0.png 1\n')
        for turn in range(40):
            big, way, tag = '<>'[turn % 2], turn // 2 % 10, 0x112 + (turn >= 36)
            entry = struct.pack(big + 'HHIHH', tag, 3, 1, way, 0)
            tiff = (b'MM\0*' if big == '>' else b'II*\0') + struct.pack(big + 'IH', 8, 2) + \
                struct.pack(big + 'HHII', 0x10f, 2, 4, 0x61626364) + entry
            tiff = tiff[:len(tiff) - 3 * (turn >= 20 and turn % 3 == 0)]
            exif = b'Exif\0\0' + tiff
            with open('pics/0.png', 'wb') as file:
                file.write(jpeg[:2] + b'\xff\xe1' + struct.pack('>H', len(exif) + 2) + exif +
                           jpeg[2:])
            for color in (True, False):
                out = self.net('' if color else 'is_color: false').forward()['data'][0]
                want = planes(cv2.imread('pics/0.png', int(color)))
                self.assertEqual(out.shape, want.shape, (turn, way))
                if color:
                    np.testing.assert_array_equal(out, want, str((turn, way)))
            if turn < 20:
                sized = self.net('new_height: 9 new_width: 11').forward()['data'][0]
                want = cv2.resize(cv2.imread('pics/0.png'), (11, 9))
                np.testing.assert_array_equal(sized, planes(want), str((turn, way)))

    def test_no_files(self):
        """Devices and pipes that nobody writes to: neither read nor waited for."""
        os.mkfifo('pics/pipe')
        for root, name in (('pics/', 'pipe'), ('/dev/', 'zero'), ('pics/', '.')):
            self.write('list.txt', name + ' 1\n')
            with self.assertRaisesRegex(deepnet.FileError, 'cannot read'):
                self.net('root_folder: "%s"' % root).forward()

    def test_shuffle_and_skip(self):
        def labels(net, batches):
            return [int(n) for _ in range(batches) for n in net.forward()['label']]

        runs = [labels(self.net('batch_size: 2 shuffle: true rand_skip: 3',
                                context=deepnet.Context(threads=threads, seed=seed)), 15)
                for threads, seed in ((1, 1), (3, 1), (2, 2))]
        self.assertEqual(runs[0], runs[1])
        self.assertNotEqual(runs[0], runs[2])
        seen = labels(self.net('shuffle: true'), 20)
        passes = [seen[i:i + 5] for i in range(0, 20, 5)]
        self.assertTrue(all(sorted(p) == [10, 11, 12, 13, 14] for p in passes))
        self.assertGreater(len({tuple(p) for p in passes}), 1)
        firsts = {labels(self.net('rand_skip: 3', context=deepnet.Context(seed=s)), 1)[0]
                  for s in range(20)}
        self.assertEqual(firsts, {10, 11, 12})

    def test_resume(self):
        self.net()
        self.write('net.prototxt', '''
layer { name: "d" type: "ImageData" top: "data" top: "label" transform_param { crop_size: 4
    mirror: true scale: 0.004 }
  image_data_param { source: "list.txt" root_folder: "pics/" batch_size: 2 shuffle: true } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param {
  num_output: 1 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "EuclideanLoss" bottom: "ip" bottom: "label" top: "loss" }''')
        self.write('solver.prototxt', '''net: "net.prototxt" base_lr: 0.001 lr_policy: "fixed"
            max_iter: 20 snapshot_prefix: "s" random_seed: 3''')
        whole, part, rest = (deepnet.get_solver('solver.prototxt') for _ in range(3))
        whole.step(9)
        part.step(4)
        part.snapshot()
        rest.restore('s_iter_4.solverstate')
        rest.step(5)
        np.testing.assert_array_equal(rest.net.params['ip'][0].data,
                                      whole.net.params['ip'][0].data)


class Maps(Images):
    """An image, then its map, in each line of pairs.txt; maps are 'pics/mN.png'."""

    def setUp(self):
        super().setUp()
        self.maps = [pixels(20 + i, 6, 5) for i in range(5)]
        for i, image in enumerate(self.maps):
            png('pics/m%d.png' % i, image)
        self.write('pairs.txt', ''.join('%d.png m%d.png\n' % (i, i) for i in range(5)))

    def seg(self, param='label_type: PIXEL', transform='', source='pairs.txt', **options):
        return self.net(param, transform, 'top: "data" top: "label" top: "size"', source=source,
                        kind='ImageSegData', **options)

    def dense(self, param='', transform='', **options):
        return self.net(param, transform, source='pairs.txt', kind='DenseImageData', **options)

    def test_pairs(self):
        for net in (self.seg('label_type: PIXEL batch_size: 2'), self.dense('batch_size: 2')):
            for first in (0, 2, 4):
                out = net.forward()
                for i in range(2):
                    k = (first + i) % 5
                    np.testing.assert_array_equal(out['data'][i], planes(self.images[k]))
                    np.testing.assert_array_equal(out['label'][i, 0], self.maps[k])
                if 'size' in out:
                    self.assertEqual(out['size'].tolist(), 2 * [[[[6, 5]]]])

    def test_crop_and_mirror(self):
        """As of the image, at every place; colours as the mean says, classes as they are."""
        for net in (self.seg('label_type: PIXEL', 'crop_size: 4 mirror: true mean_value: 7 '
                             'scale: 2', phase=deepnet.TRAIN),
                    self.dense('crop_height: 4 crop_width: 4 mirror: true', 'mean_value: 7 scale: 2',
                               phase=deepnet.TRAIN)):
            seen = set()
            for i in range(100):
                out = net.forward()
                image, found = (planes(self.images[i % 5]) - np.float32(7)) * 2, []
                for top in range(3):
                    for left in range(2):
                        for way in (1, -1):
                            there = (..., slice(top, top + 4), slice(left, left + 4))
                            if np.array_equal(out['data'][0], image[there][..., ::way]):
                                np.testing.assert_array_equal(out['label'][0, 0],
                                                              self.maps[i % 5][there][:, ::way])
                                found.append((top, left, way))
                self.assertEqual(len(found), 1)
                seen |= set(found)
            self.assertEqual(len(seen), 12)

    def test_sides(self):
        """Crops of another height than width: the forks' crop_height and crop_width."""
        for net in (self.seg('label_type: PIXEL', 'crop_height: 4 crop_width: 3'),
                    self.dense('crop_height: 4 crop_width: 3')):
            out = net.forward()
            np.testing.assert_array_equal(out['data'][0],
                                          planes(self.images[0])[:, 1:5, 1:4])
            np.testing.assert_array_equal(out['label'][0, 0], self.maps[0][1:5, 1:4])
        out = self.seg('label_type: PIXEL', 'crop_height: 7 crop_width: 3').forward()
        self.assertEqual(out['data'].shape, (1, 3, 7, 3))
        self.assertEqual(out['size'].tolist(), [[[[6, 3]]]])
        self.assertEqual(set(out['label'][0, 0, 6]), {255})
        for side in ('crop_height', 'crop_width', 'crop_h', 'crop_w'):
            with self.assertRaisesRegex(deepnet.InvalidError, 'both of its height and its width'):
                self.seg('label_type: PIXEL', side + ': 4')

    def test_padding(self):
        for phase in (deepnet.TRAIN, deepnet.TEST):
            net = self.seg('label_type: PIXEL ignore_label: 99 batch_size: 5',
                           'crop_size: 8 mean_value: 3', phase=phase)
            out = net.forward()
            for i in range(5):
                data, label = np.zeros((3, 8, 8), 'f4'), np.full((8, 8), 99)
                data[:, :6, :5] = planes(self.images[i]) - np.float32(3)
                label[:6, :5] = self.maps[i]
                np.testing.assert_array_equal(out['data'][i], data)
                np.testing.assert_array_equal(out['label'][i, 0], label)
            self.assertEqual(out['size'].tolist(), 5 * [[[[6, 5]]]])
        out = self.seg('label_type: PIXEL', 'crop_size: 6 mirror: true',
                       phase=deepnet.TRAIN).forward()
        self.assertEqual(out['size'].tolist(), [[[[6, 5]]]])

    def test_label_types(self):
        net = self.seg('batch_size: 5', source='list.txt')
        np.testing.assert_array_equal(net.forward()['label'][:, 0],
                                      np.arange(10, 15)[:, None, None] * np.ones((6, 5)))
        for source in ('list.txt', 'pairs.txt', 'alone.txt'):
            self.write('alone.txt', '0.png  \n1.png\tnone  none\r\n')
            net = self.seg('label_type: NONE', source=source)
            for k in (0, 1):
                out = net.forward()
                self.assertEqual(set(out['label'].ravel()), {255})
                np.testing.assert_array_equal(out['data'][0], planes(self.images[k]))

    def test_resize(self):
        size = 'new_height: 3 new_width: 10 '
        want = self.net(size).forward()['data'].copy()
        rows, columns = np.arange(3) * 2, np.arange(10) // 2
        for net in (self.dense(size), self.seg(size + 'label_type: PIXEL')):
            out = net.forward()
            np.testing.assert_array_equal(out['label'][0, 0], self.maps[0][rows][:, columns])
            np.testing.assert_array_equal(out['data'], want)

    def test_edges(self):
        with self.assertLogs('deepnet') as log:
            net = self.net(source='pairs.txt', kind='ImageLabelmapData')
        self.assertIn("HED's SigmoidCrossEntropyLoss weighs edges", log.output[0])
        for i in range(5):
            out = net.forward()
            np.testing.assert_array_equal(out['data'][0], planes(self.images[i]))
            np.testing.assert_array_equal(out['label'][0, 0], self.maps[i] >= 128)

    def test_sizes(self):
        """One at a time each has its own."""
        for i in range(5):
            png('pics/%d.png' % i, pixels(i, 4 + i, 6))
            png('pics/m%d.png' % i, pixels(30 + i, 4 + i, 6))
        net = self.seg()
        for i in range(5):
            out = net.forward()
            np.testing.assert_array_equal(out['label'][0, 0], pixels(30 + i, 4 + i, 6))
            self.assertEqual(out['size'].tolist(), [[[[4 + i, 6]]]])

    def test_failures(self):
        self.seg()
        png('pics/tall.png', pixels(1, 7, 5))
        with open('pics/cut.png', 'wb') as file:
            file.write(JPEG[:-40])
        for error, line, words in (
                (deepnet.DataError, '1.png', "line 2: '1.png' is no image and map"),
                (deepnet.FileError, '1.png none.png', "line 2: cannot read 'pics/none.png'"),
                (deepnet.DataError, '1.png tall.png',
                 "line 2: '1.png': its class map: it is 7 x 5, the image 6 x 5"),
                (deepnet.DataError, '1.png cut.png', "line 2: '1.png': its class map: its JPEG")):
            self.write('pairs.txt', '0.png m0.png\n%s\n' % line)
            for kind in ('ImageSegData', 'ImageLabelmapData'):
                self.fails(error, ["image list 'pairs.txt': " + words], kind=kind,
                           param='label_type: PIXEL batch_size: 2', source='pairs.txt')


class Converting(Images):
    @staticmethod
    def records(folder):
        """Images and labels as a Data layer has them."""
        text = '''layer { name: "d" type: "Data" top: "data" top: "label" data_param {
            source: "%s" backend: LMDB batch_size: 1 } }''' % folder
        net = deepnet.Net(text=text, phase=deepnet.TEST)
        images, labels = [], []
        for _ in range(5):
            out = net.forward()
            images.append(out['data'][0].copy())
            labels.append(int(out['label'][0]))
        return images, labels

    def convert(self, out, **options):
        try:
            deepnet.convert_images('list.txt', out, root='pics/', **options)
        except deepnet.UnsupportedError as error:
            self.skipTest(str(error))

    def test_there_and_back(self):
        self.convert('db')
        images, labels = self.records('db')
        self.assertEqual(labels, [10, 11, 12, 13, 14])
        np.testing.assert_array_equal(images, [planes(i) for i in self.images])
        with open('db/data.mdb', 'rb') as file:
            self.assertIn(b'00000003_3.png', file.read())
        with self.assertRaises(deepnet.FileError):
            self.convert('db')
        self.convert('db', overwrite=True, size=(4, 7), gray=True, check_size=True)
        net = self.net('new_height: 4 new_width: 7 is_color: false batch_size: 5')
        np.testing.assert_array_equal(self.records('db')[0], net.forward()['data'])

    def test_link(self):
        """What it names is replaced, and it stays."""
        self.convert('db')
        os.symlink('db', 'link')
        before = sorted(os.listdir('.'))
        self.convert('link/', overwrite=True, size=(2, 3))
        self.assertEqual(sorted(os.listdir('.')), before)
        self.assertTrue(os.path.islink('link'))
        self.assertEqual(self.records('db')[0][0].shape, (3, 2, 3))

    def test_shuffle(self):
        orders = []
        for seed in (1, 1, 2):
            self.convert('db', shuffle=True, seed=seed, overwrite=True)
            images, labels = self.records('db')
            for image, label in zip(images, labels):
                np.testing.assert_array_equal(image, planes(self.images[label - 10]))
            orders.append(labels)
        self.assertEqual(orders[0], orders[1])
        self.assertNotEqual(orders[0], orders[2])
        self.assertEqual(sorted(orders[2]), [10, 11, 12, 13, 14])

    def test_encoded(self):
        with open('pics/0.png', 'wb') as file:
            file.write(JPEG)
        png('pics/1.png', self.images[1][..., 0])
        self.convert('db', encoded=True)
        with open('db/data.mdb', 'rb') as file:
            self.assertIn(JPEG, file.read())
        images, _ = self.records('db')
        self.assertEqual([i.shape for i in images[:3]], [(3, 8, 8), (1, 6, 5), (3, 6, 5)])
        np.testing.assert_array_equal(images[2], planes(self.images[2]))
        for options in ({'size': (2, 2)}, {'gray': True}):
            with self.assertRaises(deepnet.InvalidError):
                self.convert('db', encoded=True, overwrite=True, **options)

    def test_mean(self):
        self.convert('db')
        self.write('mean.binaryproto', 'of before')
        deepnet.convert_mean('db', 'mean.binaryproto')
        with open('mean.binaryproto', 'rb') as file:
            blob = deepnet.proto.caffe_pb2.BlobProto.FromString(file.read())
        self.assertEqual((blob.num, blob.channels, blob.height, blob.width), (1, 3, 6, 5))
        total = np.sum([planes(i).astype('f4') for i in self.images], 0)
        np.testing.assert_array_equal(deepnet.io.blobproto_to_array(blob)[0],
                                      total / np.float32(5))
        net = self.net(transform='mean_file: "mean.binaryproto"')
        np.testing.assert_array_equal(net.forward()['data'][0],
                                      planes(self.images[0]) - total / np.float32(5))

    def test_failures(self):
        """What was there stays, and nothing lies beside it."""
        self.convert('db')
        deepnet.convert_mean('db', 'mean.binaryproto')
        with open('pics/2.png', 'wb') as file:
            file.write(JPEG[:-40])
        os.mkdir('pics/folder')
        png('pics/3.png', self.images[3][1:])
        before = sorted(os.listdir('.'))
        for line, options, error, words in (
                ('2.png 1', {}, deepnet.DataError, "line 2: '2.png': its JPEG image cannot be"),
                ('2.png 1', {'encoded': True}, deepnet.DataError, "line 2: '2.png': its JPEG"),
                ('none.png 1', {}, deepnet.FileError, "line 2: cannot read 'pics/none.png'"),
                ('folder 1', {}, deepnet.FileError, "line 2: cannot read 'pics/folder'"),
                ('1.png', {}, deepnet.DataError, "line 2: '1.png' is no label"),
                ('3.png 1', {'check_size': True}, deepnet.DataError,
                 "line 2: '3.png': its size is 3 5 5 (75), the first record's 3 6 5")):
            self.write('list.txt', '0.png 1\n%s\n4.png 2\n' % line)
            with self.assertRaises(error) as caught:
                self.convert('db', overwrite=True, **options)
            self.assertIn("image list 'list.txt': " + words, str(caught.exception))
            self.assertEqual(sorted(os.listdir('.')), before)
            self.assertEqual(self.records('db')[1], [10, 11, 12, 13, 14])
        self.write('list.txt', '0.png 1\n2.png 2\nnone.png 3\nfolder 4\n4.png 5\n1.png\n')
        for shuffle in (False, True):
            with self.assertLogs('deepnet') as log:
                self.assertEqual(deepnet.convert_images(
                    'list.txt', 'some', root='pics/', overwrite=True, skip_bad=True,
                    shuffle=shuffle), 4)
            self.assertEqual(sum('left out: ' in line for line in log.output), 4)
            self.assertEqual(set(self.records('some')[1]), {1, 5})
        with open('some/data.mdb', 'rb') as file:
            self.assertIn(b'_4.png', file.read())
        self.write('list.txt', 'none.png 3\n')
        with self.assertRaisesRegex(deepnet.DataError, 'none of its images can be used'):
            self.convert('some', overwrite=True, skip_bad=True)
        self.write('list.txt', '0.png 1\n3.png 2\n')
        self.convert('mixed')
        with self.assertRaisesRegex(deepnet.DataError, "record '00000001_3.png': its size is"):
            deepnet.convert_mean('mixed', 'mean.binaryproto')
        with self.assertRaises(deepnet.FileError):
            deepnet.convert_mean('none', 'mean.binaryproto')
        with self.assertRaises(deepnet.FileError):
            deepnet.convert_mean('db', '/nowhere/mean.binaryproto')
        self.assertGreater(os.path.getsize('mean.binaryproto'), 3 * 6 * 5 * 4)
        for size in ((0, 4), (-1, 4), (4, 1 << 20)):
            with self.assertRaises(deepnet.InvalidError):
                self.convert('db', overwrite=True, size=size)


class Windows(Images):
    """R-CNN's window files. Windows of the item's size, or that grow to it, keep their pixels."""

    TWO = """# 0 0.png 3 6 5 3
             7 0.6 0 1 3 4   9 0.3 0 0 1 1   2 0.1 1 0 4 3 """  # the one between is left out

    def net(self, text=TWO, param='', crop=4, transform=''):
        self.write('windows.txt', text)
        try:
            return deepnet.Net(phase=deepnet.TRAIN, text="""
                layer { name: "d" type: "WindowData" top: "data" top: "label"
                  transform_param { crop_size: %d %s }
                  window_data_param { source: "windows.txt" root_folder: "pics/" batch_size: 4
                    bg_threshold: 0.3 fg_fraction: 0.5 %s } }""" % (crop, transform, param))
        except deepnet.UnsupportedError as error:
            if 'this build has no' in str(error):
                self.skipTest(str(error))
            raise

    def read(self, net):
        try:
            net.forward()
        except deepnet.UnsupportedError as lacking:
            self.skipTest(str(lacking))
        return net.blobs['data'].data, net.blobs['label'].data

    def test_background_first(self):
        data, labels = self.read(self.net(transform='mean_value: 3 scale: 0.5'))
        self.assertEqual(list(labels), [0, 0, 7, 7])
        for i, piece in enumerate([np.s_[0:4, 1:5]] * 2 + [np.s_[1:5, 0:4]] * 2):
            want = (planes(self.images[0][piece]).astype('f4') - 3) / 2
            np.testing.assert_array_equal(data[i], want)

    def test_all_are_drawn(self):
        text = ''.join('# %d %d.png 3 6 5 2 %d 1 0 0 3 3 0 0 0 0 3 3\n' % (i, i, i + 1)
                       for i in range(5))
        net = self.net(text, transform='mirror: true')
        seen = set()
        for _ in range(30):
            for x, label in zip(*self.read(net)):
                for i, image in enumerate(self.images):
                    for step in (1, -1):
                        if (x == planes(image[:4, :4])[..., ::step]).all():
                            seen.add((i, step, label))
        self.assertEqual(seen, {(i, step, label) for i in range(5) for step in (1, -1)
                                for label in (0, i + 1)})

    def test_square_and_mean(self):
        means = np.random.RandomState(3).rand(3, 7, 7).astype('f4')
        size = bytes([means.nbytes & 127 | 128, means.nbytes >> 7])
        with open('mean.binaryproto', 'wb') as file:
            file.write(b'\x08\x01\x10\x03\x18\x07\x20\x07\x2a' + size + means.tobytes())
        text = '# 0 0.png 3 6 5 2 1 1 0 0 1 3 0 0 0 0 1 3'
        net = self.net(text, 'crop_mode: "square"', 5, 'mirror: true mean_file: "mean.binaryproto"')
        want = np.zeros((2, 3, 5, 5), 'f4')  # columns -1 to 3: what is outside is 0
        image, middle = planes(self.images[0][:5, :4]), means[:, 1:6, 1:6]
        want[0][..., 1:] = image - middle[..., 1:]
        want[1][..., :4] = image[..., ::-1] - middle[..., :4]
        seen = set()
        for _ in range(4):
            for x in self.read(net)[0]:
                near = [abs(x - w).max() < 1e-4 for w in want]
                self.assertEqual(sum(near), 1)
                seen.add(near[0])
        self.assertEqual(len(seen), 2)

    def test_context(self):
        png('pics/flat.png', np.full((6, 5, 3), 255, 'u1'))
        text = '# 0 flat.png 3 6 5 2 1 1 0 0 4 5 0 0 0 0 4 5'
        want = np.zeros((12, 12), 'f4')  # rows -2 to 8, columns -1 to 6 of the image
        want[2:9, 2:10] = 255
        data, _ = self.read(self.net(text, 'context_pad: 2', 12))
        np.testing.assert_array_equal(data, np.broadcast_to(want, (4, 3, 12, 12)))

    def test_failing(self):
        self.read(self.net())
        for text, words in (
                ('', 'no windows of the background'),
                ('# 0 0.png 3 6 5 1\n0 0 0 0 3 3', 'no windows of the foreground'),
                ('0 0.png', "line 1: '0' stands where a '#'"),
                ('# 0 0.png 3 6 5 1\n1 0.5 0 zero', "line 2: 'zero' stands"),
                ('# 0 0.png 3 6 5 1\n1 0.5 0', "line 2: '' stands"),
                ('# 0 0.png 3 6 5 1\n1 1 0 0 1e9 0', "line 2: '1e9' stands"),
                ('# 0 0.png 3 6 5 1\n0 1 0 0 3 3', 'line 2: a window of the foreground has class 0'),
                ('# 0 0.png 3 6 5 0 \0', 'line 1 holds a zero byte')):
            with self.assertRaises(deepnet.DataError) as caught:
                self.net(text)
            self.assertIn("window file 'windows.txt': ", str(caught.exception))
            self.assertIn(words, str(caught.exception))
        for error, text, words in (
                (deepnet.FileError, self.TWO.replace('0.png', 'gone.png'),
                 "window file 'windows.txt': line 1: cannot read 'pics/gone.png'"),
                (deepnet.DataError, self.TWO.replace('4 3 ', '5 3 '),
                 'its window from 1 to 5 lies beyond its edge, at 5')):
            with self.assertRaises(error) as caught:
                self.net(text).forward()
            self.assertIn(words, str(caught.exception))
        for options, words in (
                ({'param': 'context_pad: 2'}, 'crop_size must be more than twice context_pad'),
                ({'param': 'crop_mode: "wrap"'}, "'wrap' is neither"),
                ({'param': 'fg_fraction: 1.5'}, 'fg_fraction'),
                ({'crop': 0}, 'crop_size > 0'),
                ({'transform': 'resize_param { height: 4 width: 4 }'}, 'resize_param'),
                ({'transform': 'mean_value: 1 mean_value: 2'}, 'mean does not cover')):
            with self.assertRaises(deepnet.Error) as caught:
                self.net(**options)
            self.assertIn(words, str(caught.exception))


class Failing(Images):
    def test_lists(self):
        self.net()
        self.fails(deepnet.FileError, ['absent.txt'], source='absent.txt')
        self.fails(deepnet.FileError, ["'pics'", 'directory'], source='pics')
        self.fails(deepnet.DataError, ["image list 'list.txt'", 'no images'],
                   source=self.listed('\n \r\n'))
        self.fails(deepnet.DataError, ["'list.txt': line 2", 'zero byte'],
                   source=self.listed('0.png 1\n1.png\0 2\n'))

    def listed(self, text):
        self.write('list.txt', text)
        return 'list.txt'

    def test_lines(self):
        self.net()
        os.mkdir('pics/folder.png')
        with open('pics/cut.jpg', 'wb') as file:
            file.write(JPEG[:-40])
        with open('pics/text.png', 'w', encoding='utf-8') as file:
            file.write('no image')
        png('pics/large.png', self.images[0].repeat(2, 0))
        for error, line, word in (
                (deepnet.FileError, 'gone.png 1', 'pics/gone.png'),
                (deepnet.DataError, '0.png one', "'one' is no label"),
                (deepnet.DataError, '0.png 1.5', "'1.5' is no label"),
                (deepnet.DataError, '0.png 3000000000', 'no label'),
                (deepnet.DataError, '0.png', "'0.png' is no label"),
                (deepnet.FileError, 'folder.png 1', 'pics/folder.png'),
                (deepnet.DataError, 'cut.jpg 1', "'cut.jpg': its JPEG image cannot be decoded"),
                (deepnet.DataError, 'text.png 1', "'text.png'"),
                (deepnet.DataError, 'large.png 1', "'large.png': its size is 3 12 5")):
            source = self.listed('0.png 1\n\n%s\n1.png 1\n' % line)
            self.fails(error, ["layer 'd': ", "image list 'list.txt': line 3: ", word],
                       source=source, param='batch_size: 2')

    def test_settings(self):
        self.fails(deepnet.NetError, ['new_width'], param='new_height: 4')
        self.fails(deepnet.NetError, ['batch_size'], param='batch_size: 0')
        self.fails(deepnet.NetError, ['needs a source'], source='')
        self.fails(deepnet.NetError, ['resize_param'], param='new_height: 4 new_width: 4',
                   transform='resize_param { height: 3 width: 3 }')
        self.fails(deepnet.UnsupportedError, ['expand_param'],
                   transform='expand_param { max_expand_ratio: 2 }')


if __name__ == '__main__':
    unittest.main()
