# SPDX-License-Identifier: BSD-2-Clause
"""Nets: their parts by name, views that keep them alive, running, weights, errors."""
import copy
import gc
import json
import os
import pickle
import threading
import unittest
import weakref

import numpy as np

import deepnet
from deepnet import TEST, TRAIN, Net
from nets import SIMPLE, InFolder

RNG = np.random.RandomState(1)


class Parts(InFolder):
    def test_blobs_as_keys(self):
        net = Net('net.prototxt', TEST)
        blob = net.params['ip'][0]
        self.assertEqual(len({blob, net.layers[1].blobs[0], net.params['ip'][1]}), 2)
        net.blobs['data'].reshape(1, 1, 1, 1, 3)
        with self.assertRaisesRegex(ValueError, '5 axes'):
            net.blobs['data'].num

    def test_errors_are_pickled_whole(self):
        for error in (deepnet.ShapeError('words'), deepnet.Error('words', -99)):
            again = pickle.loads(pickle.dumps(error))
            self.assertEqual((type(again), again.status, str(again)),
                             (type(error), error.status, 'words'))

    def test_what_is_there_but_no_file(self):
        with self.assertRaises(deepnet.FileError) as caught:
            Net('net.prototxt', TEST).copy_from(self.folder)
        self.assertNotIsInstance(caught.exception, deepnet.FileMissingError)

    def test_some_of_the_inputs(self):
        net = Net(text='layer { name: "i" type: "Input" top: "a" top: "b" input_param { shape '
                  '{ dim: 2 dim: 3 } } } layer { name: "s" type: "Eltwise" bottom: "a" '
                  'bottom: "b" top: "s" }', phase=TEST)
        whole = np.ones((4, 3), np.float32)
        with self.assertRaisesRegex(deepnet.InvalidError, 'the net has: a, b'):
            net.forward(a=whole[:2])
        with self.assertRaisesRegex(deepnet.InvalidError, 'different lengths'):
            net.forward_all(a=whole, b=whole[:3])
        np.testing.assert_array_equal(net.forward_all(a=whole, b=whole)['s'], 2 * whole)

    def test_names(self):
        net = Net('net.prototxt', TEST)
        self.assertEqual((net.name, net.phase), ('simple', TEST))
        self.assertEqual(net.inputs, ['data'])
        self.assertEqual(net.outputs, ['relu'])
        self.assertEqual(net._layer_names, ['data', 'ip', 'relu'])
        self.assertEqual(list(net.blobs), ['data', 'ip', 'relu'])
        self.assertEqual(list(net.params), ['ip'])
        self.assertEqual(net.bottom_names['relu'], ['ip'])
        self.assertEqual(net.top_names['relu'], ['relu'])
        self.assertEqual([net._bottom_ids(i) for i in range(3)], [[], [0], [1]])
        self.assertEqual([net._top_ids(i) for i in range(3)], [[0], [1], [2]])
        self.assertEqual([layer.type for layer in net.layers],
                         ['Input', 'InnerProduct', 'ReLU'])
        self.assertEqual(len(net.layers[1].blobs), 2)
        self.assertEqual(net.layer_dict['ip'].type, 'InnerProduct')
        self.assertIn('simple', repr(net))

    def test_names_that_are_no_utf8(self):
        text = SIMPLE.encode().replace(b'"ip"', b'"\xd6\xd0"').replace(b'"simple"', b'"\xff"')
        with open('gbk.prototxt', 'wb') as file:
            file.write(text)
        net = Net('gbk.prototxt', TEST)
        again = Net(text=text.decode('utf-8', 'surrogateescape'), phase=TEST)
        ip = list(net.params)[0]
        self.assertEqual(ip.encode('utf-8', 'surrogateescape'), b'\xd6\xd0')
        self.assertEqual((net.name, list(net.blobs)), (again.name, list(again.blobs)))
        self.assertEqual(list(net.forward(blobs=[ip], end='relu')), ['relu', ip])
        net.save('w.caffemodel')
        self.assertEqual(again.copy_from('w.caffemodel').loaded, 1)
        np.testing.assert_array_equal(again.params[ip][0].data, net.params[ip][0].data)

    def test_ways_to_make_one(self):
        first = Net('net.prototxt', TRAIN)
        first.save('w.caffemodel')
        self.assertIn('drop', first.blobs)
        for made in (Net('net.prototxt', TEST, weights='w.caffemodel'),
                     Net('net.prototxt', TEST, 'w.caffemodel'),
                     Net('net.prototxt', 'w.caffemodel', TEST),
                     Net('net.prototxt', TEST, 0, None, 'w.caffemodel'),
                     Net(network_file='net.prototxt', phase=TEST, weights='w.caffemodel'),
                     Net(text=SIMPLE, phase=TEST, weights='w.caffemodel')):
            self.assertEqual(made.phase, TEST)
            np.testing.assert_array_equal(made.params['ip'][0].data, first.params['ip'][0].data)
        self.assertIn('extra', Net('net.prototxt', TEST, stages=['more']).blobs)
        with self.assertRaises(TypeError):
            Net()
        with self.assertRaises(ValueError):
            Net('net.prototxt', 7)

    def test_blobs(self):
        blob = Net('net.prototxt', TEST).blobs['data']
        self.assertEqual((blob.name, blob.shape, blob.count), ('data', (4, 3), 12))
        self.assertEqual((blob.num, blob.channels, blob.height, blob.width), (4, 3, 1, 1))
        self.assertEqual(len(blob), 4)
        self.assertEqual(np.asarray(blob).shape, (4, 3))
        self.assertIn('4 x 3', repr(blob))

    def test_loss_weights(self):
        net = Net(text=SIMPLE + 'layer { name: "l" type: "Reduction" bottom: "relu" top: "l" '
                  'loss_weight: 2 }', phase=TEST)
        self.assertEqual(net.blob_loss_weights['l'], 2)
        self.assertEqual(net.blob_loss_weights['ip'], 0)
        self.assertEqual(net._blob_loss_weights, [0, 0, 0, 2])


class Views(InFolder):
    def test_no_copies(self):
        net = Net('net.prototxt', TEST)
        net.blobs['data'].data[...] = 3
        np.testing.assert_array_equal(net.blobs['data'].data, np.full((4, 3), 3, np.float32))
        self.assertEqual(net.blobs['data'].data.ctypes.data, net.blobs['data'].data.ctypes.data)
        self.assertFalse(net.blobs['data'].data.flags.owndata)
        self.assertTrue(net.params['ip'][0].diff.flags.writeable)

    def test_they_keep_the_net(self):
        net = Net('net.prototxt', TEST)
        owner = weakref.ref(net)
        view, blob = net.blobs['data'].data, net.params['ip'][1]
        net.close()
        del net
        gc.collect()
        self.assertIsNone(owner())
        view[...] = 1
        self.assertEqual(float(view.sum()), 12)
        self.assertEqual(blob.data.tolist(), [0.5, 0.5])

    def test_closed(self):
        net = Net('net.prototxt', TEST)
        net.close()
        net.close()
        self.assertIn('closed', repr(net))
        for use in (lambda: net.name, lambda: net.blobs, lambda: net.params, net.forward,
                    net.reshape, net.shared, lambda: net.save('w'), lambda: net._layer_names):
            with self.assertRaisesRegex(deepnet.InvalidError, 'closed'):
                use()
        with self.assertRaises(AttributeError):
            net.nothing

    def test_closed_with_attributes_of_its_own(self):
        class Own(Net):
            @property
            def wrong(self):
                return [].nothing
        net = Own('net.prototxt', TEST)
        net.mine = 1
        for _ in range(2):
            with self.assertRaisesRegex(AttributeError, "'list' object .* 'nothing'"):
                net.wrong
            self.assertEqual(net.mine, 1)
            net.close()
            net.other = 2
            self.assertIn('closed', repr(net))
            with self.assertRaisesRegex(deepnet.InvalidError, 'closed'):
                net.blobs

    def test_there_is_one_owner(self):
        net = Net('net.prototxt', TEST)
        for what in (net, net.blobs['data'], net.params, deepnet.Context(num_threads=1)):
            for copying in (copy.deepcopy, pickle.dumps):
                with self.assertRaisesRegex(TypeError, 'cannot be pickled'):
                    copying(what)
        again, layer = copy.copy(net), copy.copy(net.layers[1])
        self.assertEqual((layer.name, layer.type), (net.layers[1].name, net.layers[1].type))
        del net
        gc.collect()
        self.assertEqual(again.blobs['data'].data.shape, (4, 3))
        self.assertEqual(len(layer.blobs), 2)

    def test_part_of_a_view_keeps_it_too(self):
        part = Net('net.prototxt', TEST).blobs['data'].data[1:, 2]
        gc.collect()
        part[...] = 4
        self.assertEqual(part.tolist(), [4, 4, 4])

    def test_reshape_leaves_them_their_memory(self):
        net, other = Net('net.prototxt', TRAIN), Net('net.prototxt', TRAIN)
        net.forward()
        net.backward()
        blobs = [*net.blobs.values(), *net.params['ip']]
        views = [getattr(blob, what) for blob in blobs for what in ('data', 'diff')]
        for view in views:
            view[...] = 3
        net.share_with(other)
        for n in (400, 3, 5000):
            net.blobs['data'].reshape(n, 3)
            net.reshape()
            net.blobs['data'].data[...] = 7
            net.forward()
            net.backward()
        for view in views:
            self.assertTrue((view == 3).all())
            view[...] = 4
        self.assertTrue((net.blobs['data'].data == 7).all())
        net.close()
        self.assertTrue(all((view == 4).all() for view in views))

    def test_dlpack(self):
        if not hasattr(np, 'from_dlpack'):
            self.skipTest('this numpy has no from_dlpack')
        net = Net('net.prototxt', TEST)
        array = np.from_dlpack(net.blobs['data'])
        net.blobs['data'].data[...] = 5
        self.assertEqual(float(array[0, 0]), 5)

    def test_as_arrays(self):
        blob = Net('net.prototxt', TEST).blobs['data']
        self.assertEqual(blob.__array__('f8').dtype, np.float64)
        self.assertTrue(np.shares_memory(blob.__array__(copy=False), blob.data))
        self.assertFalse(np.shares_memory(blob.__array__(copy=True), blob.data))
        with self.assertRaisesRegex(ValueError, 'copy'):
            blob.__array__('f8', copy=False)

    def test_input_shapes(self):
        for shapes in ([(2, 3)], np.array([[2, 3]]), [np.array([2, 3])]):
            net = Net('net.prototxt', TEST, input_shapes=shapes)
            self.assertEqual(net.blobs['ip'].shape, (2, 2))
        with self.assertRaises(deepnet.Error):
            Net('net.prototxt', TEST, input_shapes=[(1,) * 40])

    def test_float64(self):
        net = Net('net.prototxt', TEST, dtype='float64')
        self.assertEqual(net.blobs['data'].data.dtype, np.float64)
        net.forward(data=np.ones((4, 3)))
        self.assertEqual(net.params['ip'][0].diff.dtype, np.float64)


class Running(InFolder):
    def setUp(self):
        super().setUp()
        self.net = Net('net.prototxt', TEST)
        self.w, self.b = (blob.data for blob in self.net.params['ip'])
        self.w[...] = [[1, 0, 0], [0, -1, 1]]

    def test_forward(self):
        x = np.arange(12, dtype=np.float32).reshape(4, 3)
        out = self.net.forward(data=x)
        self.assertEqual(list(out), ['relu'])
        np.testing.assert_allclose(out['relu'], np.maximum(x @ self.w.T + self.b, 0))
        more = self.net.forward(blobs=['ip'])
        self.assertEqual(set(more), {'relu', 'ip'})

    def test_parts(self):
        self.net.blobs['data'].data[...] = 1
        self.assertEqual(set(self.net.forward(end='ip')), {'ip'})
        np.testing.assert_allclose(self.net.blobs['ip'].data, np.tile([1.5, 0.5], (4, 1)))
        self.net.blobs['ip'].data[...] = -1
        np.testing.assert_array_equal(self.net.forward(start='relu')['relu'], np.zeros((4, 2)))

    def test_backward(self):
        x = np.arange(12, dtype=np.float32).reshape(4, 3)
        self.net.forward(data=x)
        self.net.clear_param_diffs()
        g = np.full((4, 2), 2, np.float32)
        back = self.net.backward(relu=g, diffs=['ip'])
        on = g * (x @ self.w.T + self.b > 0)
        np.testing.assert_allclose(back['data'], on @ self.w, rtol=1e-6)
        np.testing.assert_allclose(back['ip'], on)
        np.testing.assert_allclose(self.net.params['ip'][0].diff, on.T @ x, rtol=1e-6)
        self.net.backward(relu=g)
        np.testing.assert_allclose(self.net.params['ip'][1].diff, 2 * on.sum(0))
        self.net.clear_param_diffs()
        self.assertEqual(float(np.abs(self.net.params['ip'][0].diff).max()), 0)
        self.assertEqual(set(self.net.backward(start='relu', end='relu')), {'ip'})

    def test_mistakes(self):
        with self.assertRaisesRegex(deepnet.InvalidError, 'other'):
            self.net.forward(other=np.zeros((4, 3)))
        with self.assertRaisesRegex(deepnet.InvalidError, 'batch'):
            self.net.forward(data=np.zeros((5, 3)))
        with self.assertRaisesRegex(deepnet.InvalidError, "'data'.*7"):
            self.net.forward(data=np.zeros((4, 7)))
        with self.assertRaises(KeyError):
            self.net.forward(end='nothing')
        with self.assertRaises(KeyError):
            self.net.forward(blobs=['nothing'])
        with self.assertRaises(deepnet.StateError):
            Net('net.prototxt', TEST).backward()

    def test_all(self):
        x = RNG.rand(10, 3).astype(np.float32)
        outs = self.net.forward_all(data=x, blobs=['ip'])
        self.assertEqual(outs['relu'].shape, (10, 2))
        np.testing.assert_allclose(outs['ip'], x @ self.w.T + self.b, rtol=1e-5, atol=1e-6)
        g = np.ones((10, 2), np.float32)
        outs, grads = self.net.forward_backward_all(data=x, relu=g, diffs=['ip'])
        np.testing.assert_allclose(grads['ip'], x @ self.w.T + self.b > 0)
        self.assertEqual(grads['data'].shape, (10, 3))

    def test_reshape(self):
        self.net.blobs['data'].reshape(9, 3)
        self.net.reshape()
        self.assertEqual(self.net.blobs['relu'].shape, (9, 2))
        x = RNG.rand(9, 3).astype(np.float32)
        np.testing.assert_allclose(self.net.forward(data=x)['relu'],
                                   np.maximum(x @ self.w.T + self.b, 0), rtol=1e-5, atol=1e-6)
        self.net.blobs['data'].reshape(*np.array([2, 3]))
        self.net.blobs['data'].data[...] = 1
        self.assertEqual(self.net.forward()['relu'].shape, (2, 2))
        with self.assertRaises(deepnet.Error):
            self.net.blobs['data'].reshape(0, 3)
        with self.assertRaises(deepnet.InvalidError):
            self.net.blobs['ip'].reshape(1, 2)

    def test_hooks(self):
        seen = []
        self.net.before_forward(lambda i: seen.append(('f', i)))
        self.net.after_backward(lambda i: seen.append(('b', i)))
        self.net.forward()
        self.net.backward()
        self.assertEqual(seen, [('f', 0), ('f', 1), ('f', 2), ('b', 2), ('b', 1), ('b', 0)])

    def test_threads(self):
        """Nets of one context in many threads at once."""
        x = RNG.rand(4, 3).astype(np.float32)
        wanted = self.net.forward(data=x)['relu'].copy()
        nets = [self.net.shared() for _ in range(4)]
        wrong = []

        def work(net):
            for _ in range(50):
                if not np.array_equal(net.forward(data=x)['relu'], wanted):
                    wrong.append(net)
        threads = [threading.Thread(target=work, args=(net,)) for net in nets]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(wrong, [])

    def test_memory_data(self):
        net = Net(text='layer { name: "d" type: "MemoryData" top: "x" top: "y" '
                  'memory_data_param { batch_size: 2 channels: 1 height: 2 width: 2 } }',
                  phase=TEST)
        data = np.arange(16, dtype=np.float32).reshape(4, 1, 2, 2)
        net.set_input_arrays(data, np.arange(4, dtype=np.float32))
        del data
        gc.collect()
        for labels in ([0, 1], [2, 3], [0, 1]):
            out = net.forward()
            self.assertEqual(out['y'].tolist(), labels)
            self.assertEqual(out['x'][0, 0, 0, 0], labels[0] * 4)
        for other in ((4, 1, 2, 1), (4, 2, 2, 2), (4, 4), (4, 1, 2, 2, 1)):
            with self.assertRaisesRegex(deepnet.InvalidError, r'\(N, 1, 2, 2\)'):
                net.set_input_arrays(np.zeros(other))
        with self.assertRaises(deepnet.NameNotFoundError):
            net.set_input_arrays(np.zeros((4, 1, 2, 2)), layer='x')
        with self.assertRaises(deepnet.InvalidError):
            net.set_input_arrays(np.zeros((4, 1, 2, 2)), np.zeros(3))

    def test_describing(self):
        self.assertIn('ip', self.net.describe())
        self.assertIn('InnerProduct', self.net.prototxt())
        self.assertGreater(self.net.memory()['total'], 0)
        self.assertGreater(self.net.flops()['ip'], 0)
        again = Net(text=self.net.prototxt(), phase=TEST)
        self.assertEqual(again._layer_names, self.net._layer_names)


class Weights(InFolder):
    def test_save_and_load(self):
        one, two = Net('net.prototxt', TRAIN), Net('net.prototxt', TEST)
        one.params['ip'][0].data[...] = np.arange(6).reshape(2, 3)
        one.save('w.caffemodel')
        report = two.copy_from('w.caffemodel')
        self.assertEqual((report.loaded, report.missing), (1, []))
        np.testing.assert_array_equal(two.params['ip'][0].data, one.params['ip'][0].data)
        two.params['ip'][0].data[...] = 0
        with open('w.caffemodel', 'rb') as file:
            data = file.read()
        two.copy_from(data)
        np.testing.assert_array_equal(two.params['ip'][0].data, one.params['ip'][0].data)
        proto = deepnet.proto.caffe_pb2.NetParameter.FromString(data)
        saved = [layer for layer in proto.layer if layer.name == 'ip'][0]
        self.assertEqual(list(saved.blobs[0].data), list(range(6)))

    def test_safetensors(self):
        one, other = Net('net.prototxt', TRAIN), Net('net.prototxt', TEST)
        one.save('w.safetensors')
        with open('w.safetensors', 'rb') as file:
            data = file.read()
        header = json.loads(data[8:8 + int.from_bytes(data[:8], 'little')])
        self.assertEqual(set(header), {'ip.weight', 'ip.bias'})
        self.assertEqual(header['ip.weight']['shape'], [2, 3])
        self.assertEqual(other.copy_from('w.safetensors').loaded, 1)
        np.testing.assert_array_equal(other.params['ip'][0].data, one.params['ip'][0].data)
        self.assertEqual(other.copy_from(data).loaded, 1)
        with self.assertRaisesRegex(deepnet.ParseError, 'cut'):
            other.copy_from(data[:-1])

    def test_hdf5(self):
        one, two = Net('net.prototxt', TRAIN), Net('net.prototxt', TEST)
        try:
            one.save_hdf5('w.h5')
        except deepnet.UnsupportedError:
            self.skipTest('HDF5 was left out of this build')
        one.save_hdf5('weights.hdf')
        for name in ('w.h5', 'weights.hdf'):
            two.params['ip'][0].data[...] = 0
            two.load_hdf5(name)
            np.testing.assert_array_equal(two.params['ip'][0].data, one.params['ip'][0].data)
        self.assertEqual(sorted(os.listdir('.')), ['net.prototxt', 'solver.prototxt', 'w.h5',
                                                   'weights.hdf'])

    def test_hdf5_as_caffe_writes_it(self):
        """A shared weight once, with the layer that made it; slashes in names are groups."""
        layer = ("layer { name: '%s' type: 'InnerProduct' bottom: 'data' top: '%s' "
                 "param { name: 'w' } inner_product_param { num_output: 2 bias_term: %s "
                 "weight_filler { type: 'gaussian' } bias_filler { type: 'gaussian' } } } ")
        text = ("layer { name: 'data' type: 'Input' top: 'data' "
                'input_param { shape { dim: 4 dim: 3 } } } ' + layer % ('a/b/c', 'c', 'true') +
                layer % ('a', 'a', 'false') + layer % ('a/b', 'b', 'true'))
        one, two = Net(text=text, phase=TEST), Net(text=text, phase=TEST)

        def agree():
            for name in ('a/b/c', 'a', 'a/b'):
                for here, there in zip(two.params[name], one.params[name]):
                    np.testing.assert_array_equal(here.data, there.data)
        try:
            one.save_hdf5('w.h5')
        except deepnet.UnsupportedError:
            self.skipTest('HDF5 was left out of this build')
        self.assertEqual(two.copy_from('w.h5').loaded, 3)
        agree()
        try:
            import h5py
        except ImportError:
            self.skipTest('no h5py to write a file as Caffe does')
        with h5py.File('w.h5', 'a') as file:
            del file['data/a/0'], file['data/a/b/0']
        for name in ('a/b/c', 'a', 'a/b'):
            for blob in two.params[name]:
                blob.data[...] = 0
        report = two.copy_from('w.h5')
        self.assertEqual((report.loaded, report.missing), (2, []))
        agree()
        for gone in ('data/a/b/1', 'data/a/b/c/0'):
            with h5py.File('w.h5', 'a') as file:
                kept = file[gone][...]
                del file[gone]
            if gone == 'data/a/b/1':  # then nothing of it is there
                self.assertEqual(two.copy_from('w.h5').missing, ['a/b'])
            else:
                with self.assertRaises(deepnet.DataError):
                    two.copy_from('w.h5')
            with h5py.File('w.h5', 'a') as file:
                file[gone] = kept
        with h5py.File('w.h5', 'a') as file:
            file['data/a/b/again'] = file['data']  # a group that holds itself
        with self.assertRaises(deepnet.Error):
            two.copy_from('w.h5')

    def test_hdf5_of_little_with_much(self):
        """Links to one set of weights, and sets that nobody wrote, take no room in a file."""
        try:
            import h5py
        except ImportError:
            self.skipTest('no h5py to write it')
        made = Net('net.prototxt', TEST)
        try:
            made.save_hdf5('w.h5')
        except deepnet.UnsupportedError:
            self.skipTest('HDF5 was left out of this build')
        with h5py.File('w.h5', 'a') as file:
            for i in range(20):  # within reason
                file['data/l%d/0' % i] = file['data/l0/0'] if i else np.ones((300, 300), 'f4')
        self.assertEqual(made.copy_from('w.h5').loaded, 1)
        for shape in (None, (1 << 26,)):
            with h5py.File('w.h5', 'a') as file:
                for i in range(20, 90):
                    if shape is None:
                        file['data/l%d/0' % i] = file['data/l0/0']
                    else:
                        del file['data/l%d' % i]
                if shape:  # chunks that are not there
                    file.create_dataset('data/zeros/0', shape, 'f4')
            with self.assertRaisesRegex(deepnet.DataError, 'of more than 64 times its size'):
                made.copy_from('w.h5')

    def test_last_of_a_name(self):
        """Caffe copies the layers of a file one after the other."""
        one, two = Net('net.prototxt', TEST), Net('net.prototxt', TEST)
        one.save('a.caffemodel')
        one.params['ip'][0].data[...] = 7
        one.save('b.caffemodel')
        with open('w.caffemodel', 'wb') as file:  # messages in a row are one message
            for name in ('a.caffemodel', 'b.caffemodel'):
                with open(name, 'rb') as part:
                    file.write(part.read())
        self.assertEqual(two.copy_from('w.caffemodel').unused, [])
        np.testing.assert_array_equal(two.params['ip'][0].data, one.params['ip'][0].data)

    def test_weight_without_axes(self):
        """Caffe writes its value alone, without a shape."""
        made = Net(text=SIMPLE + "layer { name: 'slope' type: 'PReLU' bottom: 'relu' top: 'y' "
                   'prelu_param { channel_shared: true } }', phase=TEST)
        proto = deepnet.proto.caffe_pb2.NetParameter()
        slope = proto.layer.add(name='slope', type='PReLU').blobs.add()
        for values in ([0.5], [0.5, 1]):
            slope.data[:] = values
            if len(values) == 1:
                made.copy_from(proto.SerializeToString())
                self.assertEqual(made.params['slope'][0].data, 0.5)
            else:
                with self.assertRaises(deepnet.DataError):
                    made.copy_from(proto.SerializeToString())

    def test_share(self):
        one, two = Net('net.prototxt', TRAIN), Net('net.prototxt', TEST)
        two.share_with(one)
        address = one.params['ip'][0].data.ctypes.data
        del one
        gc.collect()
        self.assertEqual(two.params['ip'][0].data.ctypes.data, address)
        two.params['ip'][0].data[...] = 1

    def test_other_shapes(self):
        Net('net.prototxt', TEST).save('w.caffemodel')
        other = Net(text=SIMPLE.replace('num_output: 2', 'num_output: 3'), phase=TEST)
        with self.assertRaises(deepnet.DataError):
            other.copy_from('w.caffemodel')
        self.assertEqual(other.copy_from('w.caffemodel', policy='skip').mismatched, ['ip'])
        with self.assertRaises(ValueError):
            other.copy_from('w.caffemodel', policy='hope')


class Errors(InFolder):
    def test_files(self):
        with self.assertRaises(FileNotFoundError):
            Net('none.prototxt', TEST)
        with self.assertRaises(deepnet.Error) as caught:
            Net('net.prototxt', TEST, weights='none.caffemodel')
        self.assertIsInstance(caught.exception, FileNotFoundError)
        self.assertIn('none.caffemodel', str(caught.exception))
        with self.assertRaises(ValueError):
            Net('net.prototxt\0', TEST)

    def test_texts(self):
        self.write('bad.prototxt', 'layer {\n  nme: "x"\n}\n')
        with self.assertRaisesRegex(deepnet.ParseError, r'bad\.prototxt:2:3.*nme'):
            Net('bad.prototxt', TEST)
        with self.assertRaisesRegex(deepnet.NetError, 'nothing'):
            Net(text='layer { name: "r" type: "ReLU" bottom: "nothing" top: "r" }', phase=TEST)
        with self.assertRaises(deepnet.Error):
            Net(text='layer { name: "r" type: "RelU" }', phase=TEST)
        with self.assertRaises(ValueError):
            Net('net.prototxt', TEST, dtype='int8')

    def test_limit(self):
        with self.assertRaises(MemoryError):
            Net('net.prototxt', TEST, memory_limit=8)

    def test_loaded_junk(self):
        self.write('junk.caffemodel', 'this is no caffemodel')
        net = Net('net.prototxt', TEST)
        before = net.params['ip'][0].data.copy()
        with self.assertRaises(deepnet.Error):
            net.copy_from('junk.caffemodel')
        np.testing.assert_array_equal(net.params['ip'][0].data, before)


class Contexts(InFolder):
    def weights(self, **options):
        return Net('net.prototxt', TEST, **options).params['ip'][0].data.copy()

    def test_explicit(self):
        context = deepnet.Context(num_threads=2, seed=3, backends=['ref'])
        self.assertEqual(context.num_threads, 2)
        self.assertEqual(len(context.backends), 1)
        self.assertIn('ref', repr(context))
        net = Net('net.prototxt', TEST, context=context)
        del context
        gc.collect()
        net.forward()

    def test_seeds(self):
        a = self.weights(context=deepnet.Context(seed=3))
        b = self.weights(context=deepnet.Context(seed=3, threads=1))
        c = self.weights(context=deepnet.Context(seed=4))
        np.testing.assert_array_equal(a, b)
        self.assertFalse(np.array_equal(a, c))
        deepnet.set_random_seed(3)
        np.testing.assert_array_equal(self.weights(), a)
        deepnet.set_random_seed(3)
        np.testing.assert_array_equal(self.weights(), a)

    def test_numbers(self):
        a = self.weights(context=deepnet.Context(seed=np.int64(3)))
        np.testing.assert_array_equal(a, self.weights(context=deepnet.Context(seed=3)))
        for name, value in ('num_threads', 2**40), ('spin_us', -2**31 - 1), ('device', 2**32):
            with self.assertRaisesRegex(OverflowError, name):
                deepnet.Context(**{name: value})
            with self.assertRaisesRegex(OverflowError, name):
                deepnet.Context(**{name: np.int64(value)})
        with self.assertRaisesRegex(OverflowError, 'level'):
            self.weights(level=2**32)
        with self.assertRaisesRegex(OverflowError, 'input_shapes'):
            self.weights(input_shapes=[(2**64 + 2, 3)])
        with self.assertRaises(TypeError):
            deepnet.Context(seed=3.7)
        with self.assertRaisesRegex(ValueError, 'nhwc'):
            deepnet.Context(fuse='no')

    def test_scopes(self):
        with deepnet.Context(seed=5) as outer:
            self.assertIs(deepnet.current_context(), outer)
            with deepnet.Context(seed=6) as inner:
                self.assertIs(deepnet.current_context(), inner)
            self.assertIs(deepnet.current_context(), outer)
        self.assertIsNot(deepnet.current_context(), outer)

    def test_modes(self):
        deepnet.set_mode_cpu()
        deepnet.set_device(0)
        Net('net.prototxt', TEST)
        with self.assertRaises(ValueError):
            deepnet.set_device(-1)
        deepnet.set_mode_gpu()
        try:
            Net('net.prototxt', TEST).forward()
        except deepnet.Error as error:
            self.assertIsInstance(error, (deepnet.UnsupportedError, deepnet.DeviceError))
        finally:
            deepnet.set_mode_cpu()

    def test_no_such_backend(self):
        with self.assertRaises(deepnet.Error):
            deepnet.Context(backends='nonsense')

    @unittest.skipUnless(hasattr(os, 'fork'), 'no fork here')
    def test_fork(self):
        """A child makes a context of its own and leaves the parent's nets alone."""
        net = Net('net.prototxt', TEST)
        net.forward()
        child = os.fork()
        if child == 0:
            status = 1
            try:
                Net('net.prototxt', TEST).forward()
                del net
                gc.collect()
                status = 0
            finally:
                os._exit(status)
        self.assertEqual(os.waitpid(child, 0)[1], 0)
        net.forward()


if __name__ == '__main__':
    unittest.main()
