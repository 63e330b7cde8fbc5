# SPDX-License-Identifier: BSD-2-Clause
"""Messages made from cnn.proto: values, presence, text, binary."""
import array
import copy
import pickle
import unittest
import warnings

import numpy as np

import deepnet
from deepnet.proto import caffe_pb2, text_format


class Messages(unittest.TestCase):
    def test_defaults_and_presence(self):
        layer = caffe_pb2.LayerParameter()
        self.assertEqual(layer.convolution_param.group, 1)
        self.assertFalse(layer.HasField('convolution_param'))
        layer.convolution_param.num_output = 7
        self.assertTrue(layer.HasField('convolution_param'))
        self.assertFalse(layer.HasField('name'))
        layer.name = ''
        self.assertTrue(layer.HasField('name'))
        layer.ClearField('name')
        self.assertFalse(layer.HasField('name'))
        self.assertTrue(layer.IsInitialized())
        names = [field.name for field in layer.DESCRIPTOR.fields]
        self.assertEqual(names[:4], ['name', 'type', 'bottom', 'top'])
        self.assertEqual(caffe_pb2.LayerParameter.DESCRIPTOR.fields_by_name['top'].number, 4)

    def test_enums(self):
        self.assertEqual((caffe_pb2.TRAIN, caffe_pb2.TEST), (0, 1))
        self.assertEqual(caffe_pb2.PoolingParameter.AVE, 1)
        self.assertEqual(caffe_pb2.PoolingParameter.PoolMethod.Name(1), 'AVE')
        self.assertEqual(caffe_pb2.PoolingParameter.PoolMethod.Value('AVE'), 1)

    def test_mistakes(self):
        layer = caffe_pb2.LayerParameter()
        with self.assertRaises(AttributeError):
            layer.nonsense = 1
        with self.assertRaises(AttributeError):
            layer.bottom = ['a']
        with self.assertRaises(TypeError):
            layer.name = 3
        with self.assertRaises(TypeError):
            layer.convolution_param.num_output = 'many'
        with self.assertRaises(ValueError):
            layer.convolution_param.num_output = -1
        with self.assertRaises(AttributeError):
            caffe_pb2.Nothing

    def net(self):
        net = caffe_pb2.NetParameter(name='a "net"\n')
        layer = net.layer.add(name='conv', type='Convolution')
        layer.bottom.extend(['x'])
        layer.convolution_param.num_output = 2
        layer.convolution_param.kernel_size.append(3)
        layer.include.add().phase = caffe_pb2.TEST
        layer.loss_weight.append(0.1)
        blob = layer.blobs.add()
        blob.shape.dim.extend([1, -2, 3])
        blob.data.extend([0.5, -1.5])
        return net

    def test_round_trips(self):
        net = self.net()
        data = net.SerializeToString()
        self.assertEqual(caffe_pb2.NetParameter.FromString(data), net)
        self.assertEqual(text_format.Parse(str(net), caffe_pb2.NetParameter()), net)
        self.assertEqual(copy.deepcopy(net), net)
        self.assertEqual(pickle.loads(pickle.dumps(net)), net)

    def test_wire_bytes(self):
        blob = caffe_pb2.BlobProto()
        blob.shape.dim.extend([1, 300])
        blob.data.append(1.0)
        self.assertEqual(blob.SerializeToString().hex(), '2a040000803f' '3a05' '0a03' '01ac02')
        datum = caffe_pb2.Datum(channels=1, label=-1, data=b'\0\xff')
        self.assertEqual(datum.SerializeToString().hex(),
                         '0801' '220200ff' '28' + 'ff' * 9 + '01')

    def test_unknown_fields_survive(self):
        data = bytes.fromhex('0801' + 'c0f304' + '05')  # channels: 1, and a field 9976
        datum = caffe_pb2.Datum.FromString(data)
        self.assertEqual(datum.channels, 1)
        self.assertEqual(datum.SerializeToString(), data)

    def test_names_that_are_no_utf8_survive(self):
        data = bytes.fromhex('0a02' 'd6d0')  # of a NetParameter: its name, in GBK
        net = caffe_pb2.NetParameter.FromString(data)
        self.assertEqual(net.SerializeToString(), data)
        again = text_format.Merge(str(net), caffe_pb2.NetParameter())
        self.assertEqual(again.SerializeToString(), data)
        again.name = b'\xd6\xd0'
        self.assertEqual(again, net)
        for read in (text_format.Merge, text_format.Parse):
            self.assertEqual(read(b'name: "\xd6\xd0"', caffe_pb2.NetParameter()), net)

    def test_unpacked_numbers_are_read(self):
        blob = caffe_pb2.BlobProto.FromString(bytes.fromhex('2d0000803f' + '2d00000040'))
        self.assertEqual(list(blob.data), [1.0, 2.0])

    def test_numbers_as_scripts_set_them(self):
        blob, x = caffe_pb2.BlobProto(), np.arange(6, dtype='>f8').reshape(2, 3)
        for values in (x, x.ravel().tolist(), array.array('d', x.ravel()), range(6)):
            blob.data.extend(x.flat)
            del blob.data[:]
            blob.data.extend(values)
            self.assertEqual(list(blob.data), [0, 1, 2, 3, 4, 5])
            blob.data[:] = [7, 8]
            blob.data[:] = values
            self.assertEqual(list(blob.data), [0, 1, 2, 3, 4, 5])
            blob.data[4:] = values
            self.assertEqual(list(blob.data), [0, 1, 2, 3, 0, 1, 2, 3, 4, 5])
        for wrong in (['x'], 'x', 3):
            with self.assertRaises(TypeError):
                blob.data[:] = wrong
        del blob.data[:]
        with warnings.catch_warnings():
            warnings.simplefilter('error')
            blob.data.extend(np.array([1e300, -1e300]))
        self.assertEqual(list(blob.data), [float('inf'), -float('inf')])
        layer = caffe_pb2.LayerParameter(include=[{'phase': 1}, caffe_pb2.NetStateRule()])
        self.assertEqual([rule.HasField('phase') for rule in layer.include], [True, False])

    def test_numbers_of_other_libraries(self):
        class Dataset:
            """As h5py and pandas have it: a dtype and an astype that are not numpy's."""
            dtype = np.dtype('f4')

            def astype(self, dtype):
                return self

            def __iter__(self):
                return iter(np.arange(3, dtype=self.dtype))

        blob = caffe_pb2.BlobProto()
        blob.data.extend(Dataset())
        self.assertEqual(list(blob.data), [0, 1, 2])
        blob.data[1:] = Dataset()
        self.assertEqual(list(blob.data), [0, 0, 1, 2])

    def test_damaged_bytes(self):
        data = self.net().SerializeToString()
        for cut in range(1, len(data)):
            try:
                caffe_pb2.NetParameter.FromString(data[:cut])
            except deepnet.ParseError:
                pass

    def test_text(self):
        net = text_format.Parse('''
            name: "a" 'b'  # two strings
            layers { type: CONVOLUTION blobs_lr: [1., 2f] ;
                     convolution_param < num_output: 0x10 > }
            layer: { name: "\\x41\\102\\n" loss_weight: -inf, loss_weight: 1e-3 }  // slashes
        ''', caffe_pb2.NetParameter())
        self.assertEqual(net.name, 'ab')
        self.assertEqual(list(net.layers[0].blobs_lr), [1.0, 2.0])
        self.assertEqual(net.layers[0].convolution_param.num_output, 16)
        self.assertEqual(net.layer[0].name, 'AB\n')
        self.assertEqual(net.layer[0].loss_weight[0], -float('inf'))

    def test_text_errors(self):
        cases = {'layer {\n  nme: "x"\n}': "2:3: unknown field 'nme'.*did you mean 'name'",
                 'layer {': "'}' is missing", 'name: 3': '1:7: .*string',
                 'name "x"': "':' is missing", 'layer: 3': "'{' is missing",
                 'name: "x': '1:7: unexpected', 'state { phase: TOAST }': '1:16: .*TOAST',
                 'state { phase: 7 }': '1:16: .*7', 'input_dim: [1 2]': "1:15: ',' or ']'",
                 'input_dim: 1\ninput_dim: [2, 3000000000]': "2:16: .*'input_dim': 3000.*range",
                 'state {\n level: -2147483649 }': "2:9: field 'level': -2147483649 is out of",
                 'layer { loss_weight: - infinite }': '1:22: unexpected',
                 'name: "a"\n"\\q"': '2:1: unknown escape .q', 'name: "\\u12"': 'escape .u',
                 'name: "a" name: "b"': "1:11: 'name' is given twice",
                 'state { } state { level: 1 }': "'state' is given twice"}
        for text, message in cases.items():
            with self.subTest(text), self.assertRaisesRegex(deepnet.ParseError, message):
                text_format.Parse(text, caffe_pb2.NetParameter())

    def test_text_as_protobuf_reads_it(self):
        net = text_format.Parse('''
            name: "\\u00e9\\'\\U0001f600" force_backward: 0x1 input_dim: [010, - 2]
            layer { loss_weight: [INF, -Infinity, 1e39, NaN, 2f, - INF, + Inf, - infinity] }
            layer { top: [] }''', caffe_pb2.NetParameter())
        self.assertEqual(net.name, "\u00e9'\U0001f600")
        self.assertIs(net.force_backward, True)
        self.assertEqual(list(net.input_dim), [8, -2])
        weights, inf = list(net.layer[0].loss_weight), float('inf')
        self.assertEqual(weights[:3] + weights[4:], [inf, -inf, inf, 2, -inf, inf, -inf])
        self.assertNotEqual(weights[3], weights[3])
        text_format.Merge('name: "b" state { level: 1 } state { phase: TRAIN }', net)
        self.assertEqual((net.name, net.state.level), ('b', 1))
        self.assertEqual(net.state.phase, caffe_pb2.TRAIN)
        solver = text_format.Parse('device_id: 0 device_id: 1', caffe_pb2.SolverParameter())
        self.assertEqual(solver.device_id, 1)


if __name__ == '__main__':
    unittest.main()
