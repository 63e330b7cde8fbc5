# SPDX-License-Identifier: BSD-2-Clause
"""Scripts as people wrote them for pycaffe, run with `import deepnet as caffe`."""
import importlib.util
import os
import subprocess
import sys
import unittest

import numpy as np

import deepnet as caffe
from nets import SOLVER, TRAINED, InFolder

RNG = np.random.RandomState(1)

IMAGES = '''
layer { name: "data" type: "Input" top: "data"
  input_param { shape { dim: 10 dim: 3 dim: 8 dim: 8 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: "xavier" } } }
layer { name: "pool" type: "Pooling" bottom: "conv" top: "pool"
  pooling_param { pool: AVE global_pooling: true } }
layer { name: "prob" type: "Softmax" bottom: "pool" top: "prob" }
'''


class Inference(InFolder):
    net_text = IMAGES

    def setUp(self):
        super().setUp()
        caffe.set_random_seed(1)
        caffe.Net('net.prototxt', caffe.TEST).save('w.caffemodel')

    def test_classification_script(self):
        caffe.set_mode_cpu()
        net = caffe.Net('net.prototxt', 'w.caffemodel', caffe.TEST)
        transformer = caffe.io.Transformer({'data': net.blobs['data'].data.shape})
        transformer.set_transpose('data', (2, 0, 1))
        transformer.set_mean('data', np.array([104., 117., 123.]))
        transformer.set_raw_scale('data', 255)
        transformer.set_channel_swap('data', (2, 1, 0))
        net.blobs['data'].reshape(1, 3, 8, 8)
        net.blobs['data'].data[...] = transformer.preprocess('data', RNG.rand(16, 16, 3))
        output = net.forward()
        self.assertAlmostEqual(float(output['prob'][0].sum()), 1, places=5)
        for layer_name, blob in net.blobs.items():
            self.assertEqual(blob.data.shape[0], 1, layer_name)
        for layer_name, param in net.params.items():
            self.assertEqual((layer_name, param[0].data.shape, param[1].data.shape),
                             ('conv', (4, 3, 3, 3), (4,)))

    def test_classifier(self):
        classifier = caffe.Classifier('net.prototxt', 'w.caffemodel', image_dims=(12, 12),
                                      raw_scale=255, channel_swap=(2, 1, 0))
        images = [RNG.rand(20, 30, 3), RNG.rand(9, 9, 3)]
        for oversample in (True, False):
            rows = classifier.predict(images, oversample)
            self.assertEqual(rows.shape, (2, 4))
            np.testing.assert_allclose(rows.sum(1), 1, rtol=1e-5)

    def test_detector(self):
        detector = caffe.Detector('net.prototxt', 'w.caffemodel', mean=np.float32([1, 2, 3]),
                                  context_pad=1)
        found = detector.detect_windows([(RNG.rand(20, 30, 3), [(0, 0, 9, 9), (5, 6, 20, 30)])])
        self.assertEqual([one['window'] for one in found], [(0, 0, 9, 9), (5, 6, 20, 30)])
        self.assertAlmostEqual(float(found[1]['prediction'].sum()), 1, places=5)

    def test_net_surgery(self):
        net = caffe.Net('net.prototxt', caffe.TEST)
        other = caffe.Net('net.prototxt', 'w.caffemodel', caffe.TEST)
        for name in net.params:
            for mine, theirs in zip(net.params[name], other.params[name]):
                mine.data.flat = theirs.data.flat
        net.save('surgery.caffemodel')
        x = RNG.rand(10, 3, 8, 8)
        np.testing.assert_array_equal(net.forward(data=x)['prob'],
                                      other.forward(data=x)['prob'])


class Training(InFolder):
    net_text = TRAINED

    def test_training_script(self):
        s = caffe.proto.caffe_pb2.SolverParameter()
        caffe.proto.text_format.Merge(SOLVER, s)
        s.type, s.base_lr, s.random_seed = 'Adam', 0.01, 0xCAFFE
        s.solver_mode = caffe.proto.caffe_pb2.SolverParameter.CPU
        self.write('s.prototxt', str(s))
        solver = caffe.get_solver('s.prototxt')
        self.assertIsInstance(solver, caffe.AdamSolver)
        losses = []
        for _ in range(20):
            solver.net.blobs['x'].data[...] = 1
            solver.net.blobs['t'].data[...] = 0.25
            solver.step(1)
            losses.append(float(solver.net.blobs['loss'].data))
        self.assertLess(losses[-1], losses[0])

    def test_script_that_says_import_caffe(self):
        code = ('import deepnet; deepnet.install_as_caffe()\n'
                'import caffe\n'
                'from caffe import layers as L, params as P\n'
                'from caffe.proto import caffe_pb2\n'
                'import caffe.io, caffe.pycaffe, caffe.proto.caffe_pb2\n'
                'from caffe._caffe import SGDSolver\n'
                'print(caffe.TEST, caffe_pb2.TEST, P.Pooling.AVE,\n'
                '      caffe.io.Transformer.__name__, caffe.pycaffe.Net is caffe.Net,\n'
                '      caffe._caffe.SGDSolver is SGDSolver, caffe.proto.caffe_pb2.TEST)')
        home = os.path.dirname(os.path.dirname(os.path.abspath(caffe.__file__)))
        run = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True,
                             env={**os.environ, 'PYTHONPATH': home})
        self.assertEqual(run.stdout.strip(), '1 1 1 Transformer True True 1', run.stderr)

    def with_google(self, code, folder='nowhere'):
        """What a script prints, word by word, that has installed us as caffe; folder: where a
        google.protobuf may be."""
        home = os.path.dirname(os.path.dirname(os.path.abspath(caffe.__file__)))
        run = subprocess.run(
            [sys.executable, '-S', '-c', 'import sys; sys.path += %r\n' % sys.path +
             'import deepnet; deepnet.install_as_caffe()\n' + code],
            capture_output=True, text=True,
            env={**os.environ, 'PYTHONPATH': os.pathsep.join((folder, home))})
        self.assertEqual(run.stderr, '')
        return run.stdout.split()

    def write_google(self, folder, init='', text_format=''):
        os.makedirs(folder + '/google/protobuf')
        self.write(folder + '/google/__init__.py', '')
        self.write(folder + '/google/protobuf/__init__.py', init)
        self.write(folder + '/google/protobuf/text_format.py', text_format)

    def test_text_format_of_google(self):
        """Whether protobuf is there or not; a stand-in's own messages stay its own."""
        script = ('from google.protobuf import text_format\n'
                  'import google.protobuf.text_format as again\n'
                  'from caffe.proto import caffe_pb2\n'
                  'net = caffe_pb2.NetParameter()\n'
                  'text_format.Merge(open("net.prototxt").read(), net)\n'
                  'again.Parse("force_backward: true", message=net)\n'
                  'text = text_format.MessageToString(net)\n'
                  'print(net.name, "force_backward: true" in text)\n'
                  'try:\n'
                  '    again.Merge("nam: 1", net)\n'
                  'except text_format.ParseError as error:\n'
                  '    print("refused", isinstance(error, deepnet.ParseError), error)\n'
                  '    import pickle; pickle.loads(pickle.dumps(error))\n')
        refused = ("refused True 1:1: unknown field 'nam' in NetParameter; "
                   "did you mean 'name'?").split()
        theirs = ('class ParseError(Exception):\n'
                  '    def __init__(self, message=None, line=None):\n'
                  '        self.line = line\n'
                  '    def GetLine(self):\n'
                  '        return self.line\n'
                  'def Merge(text, message):\n'
                  '    if not text:\n'
                  '        raise ParseError("empty")\n'
                  '    return "theirs"\n'
                  'Parse = MessageToString = PrintMessage = MessageToBytes = Merge\n')
        self.write_google('there', text_format=theirs)
        own = ('print(text_format.Merge("a", 1))\n'
               'try: text_format.Parse("", 1)\n'
               'except text_format.ParseError as error: print(type(error).__module__)\n'
               'try: text_format.Parse("name: 2", net)\n'
               'except text_format.ParseError as error: print(error.GetLine())\n')
        for folder, more, last in (
                ('nowhere', '', []),
                ('there', own, ['theirs', 'google.protobuf.text_format', '1'])):
            self.assertEqual(self.with_google(script + more, folder),
                             ['trained', 'True', *refused, *last])

    def test_options_of_google(self):
        script = ('import io\n'
                  'from caffe.proto import caffe_pb2\n'
                  'from google.protobuf import text_format\n'
                  'net = caffe_pb2.NetParameter()\n'
                  'text_format.Parse("name: \'a\' input: \'x\'", net,\n'
                  '                  allow_unknown_field=True)\n'
                  'out = io.StringIO()\n'
                  'text_format.PrintMessage(net, out, as_utf8=True, indent=0)\n'
                  'print(out.getvalue() == text_format.MessageToString(net, as_utf8=True))\n'
                  'print(repr(text_format.MessageToString(net, as_one_line=True)))\n'
                  'print(text_format.MessageToBytes(net, as_utf8=True) == str(net).encode())\n'
                  'for wrong in (lambda: text_format.Merge("x"),\n'
                  '              lambda: text_format.MessageToString(net, indent=2, x=1)):\n'
                  '    try: wrong()\n'
                  '    except TypeError: print("refused")\n')
        self.write_google('there', text_format='def Merge(text, message): pass\n')
        for folder in ('nowhere', 'there'):
            self.assertEqual(
                self.with_google(script, folder),
                ['True', *repr('name: "a" input: "x"').split(), 'True', 'refused', 'refused'])

    def test_google_of_which_there_is_none(self):
        if importlib.util.find_spec('google'):
            self.skipTest('there is one')
        script = ('import importlib.util\n'
                  '%s'
                  'print([importlib.util.find_spec(name).name for name in (\n'
                  '    "google", "google.protobuf", "google.protobuf.text_format")][1])\n'
                  'from google import protobuf\n'
                  'print(protobuf.__version__, importlib.util.find_spec("google.cloud"))\n'
                  'deepnet.install_as_caffe()\n'
                  'from google.protobuf import text_format\n'
                  'print(text_format.MessageToString.__module__.partition(".")[0])\n')
        self.assertEqual(self.with_google(script % ''),
                         ['google.protobuf', '0.0.0', 'None', 'deepnet'])
        self.write_google('later', '__version__ = "3.0"\n', 'MessageToString = len\n')
        self.assertEqual(self.with_google(script % 'sys.path.insert(0, "later")\n'),
                         ['google.protobuf', '3.0', 'None', 'deepnet'])

    def test_google_that_fails(self):
        script = ('from caffe.proto import caffe_pb2\n'
                  'from google.protobuf import text_format\n'
                  'import google.protobuf.text_format\n'
                  'print(text_format.Merge("name: \'a\'", caffe_pb2.NetParameter()).name)\n')
        for folder, files in (('outside', ('raise TypeError("descriptors")\n',)),
                              ('without', ('import a_module_that_is_missing\n',)),
                              ('inside', ('', 'raise ImportError("a library")\n'))):
            self.write_google(folder, *files)
            self.assertEqual(self.with_google(script, folder), ['a'])

    def test_log_clock_and_the_one_process(self):
        code = ('import deepnet; deepnet.install_as_caffe()\n'
                'from caffe.pycaffe import Timer\n'
                'import caffe\n'
                'caffe.log("unseen"); caffe.init_log(0, True); caffe.log("seen")\n'
                'caffe.init_log(1); caffe.log("unseen")\n'
                'import time; timer, begun = Timer(), time.perf_counter()\n'
                'timer.start(); timer.stop(); most = 1000 * (time.perf_counter() - begun)\n'
                'print(0 <= timer.ms <= most + 1e-3)\n'
                'caffe.set_solver_count(1); caffe.set_solver_rank(0)\n'
                'caffe.set_multiprocess(False)\n'
                'print(caffe.has_nccl(), caffe.solver_count(), caffe.solver_rank())\n'
                'try: caffe.set_solver_count(2)\n'
                'except NotImplementedError as error: print(error)\n')
        run = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
        self.assertEqual(run.stderr, 'seen\n')
        self.assertRegex(run.stdout, '^True\nFalse 1 0\nfrom Python one solver .*--gpu=0,1')

    def test_layer_type_list(self):
        try:
            types = list(caffe.layer_type_list())
        except caffe.UnsupportedError as error:
            self.skipTest(str(error))
        for name in ('Data', 'Convolution', 'InnerProduct', 'SoftmaxWithLoss'):
            self.assertIn(name, types)


if __name__ == '__main__':
    unittest.main()
