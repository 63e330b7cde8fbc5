# SPDX-License-Identifier: BSD-2-Clause
"""Layers written in Python, in pycaffe's shape; drawing; plots of a log."""
import copy
import gc
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import unittest
import weakref

import numpy as np

import deepnet as caffe
from nets import TRAINED, InFolder

LAYERS = '''
import numpy as np
import deepnet as caffe


class EuclideanLossLayer(caffe.Layer):
    """As pycaffe's example has it."""
    def setup(self, bottom, top):
        if len(bottom) != 2:
            raise Exception("Need two inputs to compute distance.")

    def reshape(self, bottom, top):
        if bottom[0].count != bottom[1].count:
            raise Exception("Inputs must have the same dimension.")
        self.diff = np.zeros_like(bottom[0].data, dtype=np.float32)
        top[0].reshape(1)

    def forward(self, bottom, top):
        self.diff[...] = bottom[0].data - bottom[1].data
        top[0].data[...] = np.sum(self.diff**2) / bottom[0].num / 2.

    def backward(self, top, propagate_down, bottom):
        for i in range(2):
            if not propagate_down[i]:
                continue
            sign = 1 if i == 0 else -1
            bottom[i].diff[...] = sign * self.diff / bottom[i].num


class Scaled(caffe.Layer):
    def setup(self, bottom, top):
        self.blobs.add_blob(3)
        self.blobs[0].data[...] = float(self.param_str or 1)

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].data.shape)

    def forward(self, bottom, top):
        top[0].data[...] = bottom[0].data * self.blobs[0].data

    def backward(self, top, propagate_down, bottom):
        self.blobs[0].diff[...] += (top[0].diff * bottom[0].data).sum(0)
        if propagate_down[0]:
            bottom[0].diff[...] = top[0].diff * self.blobs[0].data


class Growing(caffe.Layer):
    """A source whose batches are larger each time."""
    def setup(self, bottom, top):
        self.n = 0

    def reshape(self, bottom, top):
        self.n += 1
        top[0].reshape(self.n, 2)

    def forward(self, bottom, top):
        top[0].data[...] = self.n

    def backward(self, top, propagate_down, bottom):
        pass


class Asked(caffe.Layer):
    """As Faster R-CNN's data layer: told what to give after it was made."""
    roidb = None

    def set_roidb(self, roidb):
        self.roidb = roidb

    def reshape(self, bottom, top):
        top[0].reshape(1)

    def forward(self, bottom, top):
        top[0].data[...] = self.roidb


class Nesting(Asked):
    """Has a net of its own, with a layer of the same name as one of the net it is in."""
    def setup(self, bottom, top):
        self.inner = caffe.Net(text="layer { name: 'a' type: 'Python' top: 'a' python_param { "
                                    "module: 'my_layers' layer: 'Asked' } }")
        self.inner.layers[0].set_roidb(-1)


class Renamed(Asked):
    """Keeps something of its own where pycaffe tells the phase and the name."""
    def setup(self, bottom, top):
        self.phase, self.name = 'train', 'mine'


class Failing(caffe.Layer):
    def reshape(self, bottom, top):
        top[0].reshape(1)

    def forward(self, bottom, top):
        raise KeyError("nothing\\nhere")


class Stopping(caffe.Layer):
    stop = True

    def reshape(self, bottom, top):
        top[0].reshape(1)

    def forward(self, bottom, top):
        if Stopping.stop:
            raise KeyboardInterrupt
        top[0].data[...] = 1


class Phase(caffe.Layer):
    def reshape(self, bottom, top):
        top[0].reshape(1)

    def forward(self, bottom, top):
        top[0].data[0] = self.phase
'''


def python(name, layer, bottoms=(), rest=''):
    return ('layer { name: "%s" type: "Python" top: "%s" %s python_param { module: "my_layers" '
            'layer: "%s" %s } }\n' % (name, name, ' '.join('bottom: "%s"' % b for b in bottoms),
                                      layer, rest))


X = 'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 4 dim: 3 } } }\n'


class Layers(InFolder):
    def setUp(self):
        super().setUp()
        self.write('my_layers.py', LAYERS)
        sys.path.insert(0, self.folder)
        sys.modules.pop('my_layers', None)
        importlib.invalidate_caches()

    def tearDown(self):
        sys.path.remove(self.folder)
        super().tearDown()

    def test_the_object_behind_a_layer(self):
        text = X + python('a', 'Asked') + python('b', 'Asked', rest="param_str: 'told'")
        solver = caffe.SGDSolver(text='base_lr: 1 lr_policy: "fixed" test_iter: 1 '
                                      'test_interval: 9', net_text=text)
        nets = [caffe.Net(text=text), solver.net, solver.test_nets[0], solver.net.shared()]
        for i, net in enumerate(nets):
            net.layers[1].set_roidb(i)
            net.layer_dict['b'].roidb = 10 * i
        for i, net in enumerate(nets):
            net.forward()
            self.assertEqual([net.blobs['a'].data[0], net.blobs['b'].data[0]], [i, 10 * i])
            self.assertEqual((net.layers[1].name, net.layers[1].roidb), ('a', i))
        self.assertEqual((net.layers[2].param_str, net.layers[2].param_str_), ('told', 'told'))
        with self.assertRaises(AttributeError):
            nets[0].layers[0].roidb
        gone = weakref.ref(nets[0].layers[1]._user)
        del nets, net
        gc.collect()
        self.assertIsNone(gone())

    def test_the_object_behind_a_layer_beside_one_that_makes_a_net(self):
        net = caffe.Net(text=python('a', 'Asked') + python('b', 'Nesting') +
                        python('c', 'Asked'))
        for i, layer in enumerate(net.layers):
            layer.set_roidb(i)
        net.forward()
        self.assertEqual([float(net.blobs[b].data[0]) for b in 'abc'], [0, 1, 2])
        self.assertEqual(net.layers[1].inner.forward()['a'][0], -1)

    def test_the_object_behind_a_layer_that_sets_its_phase(self):
        net = caffe.Net(text=python('a', 'Renamed'))
        net.layers[0].set_roidb(3)
        self.assertEqual((net.forward()['a'][0], net.layers[0].phase), (3, 'train'))
        again = copy.copy(net.layers[0])
        again.set_roidb(4)
        self.assertEqual((net.forward()['a'][0], again.name), (4, 'a'))

    def test_layer_of_the_script_itself(self):
        self.write('script.py', LAYERS + 'net = caffe.Net(text=%r)\nnet.forward()\n'
                   'print(float(net.blobs["p"].data[0]))\n' %
                   python('p', 'Phase').replace('my_layers', '__main__'))
        home = os.path.dirname(os.path.dirname(os.path.abspath(caffe.__file__)))
        run = subprocess.run([sys.executable, 'script.py'], capture_output=True, text=True,
                             env={**os.environ, 'PYTHONPATH': home})
        self.assertEqual(run.stdout.strip(), '1.0', run.stderr)

    def test_loss_gives_what_the_built_in_gives(self):
        losses = []
        own = TRAINED[:TRAINED.index('layer { name: "loss"')] + python(
            'loss', 'EuclideanLossLayer', ('ip2', 't')).replace('python_param',
                                                                'loss_weight: 1 python_param')
        for text in (TRAINED, own):
            solver = caffe.SGDSolver(text='base_lr: 0.05 lr_policy: "fixed" momentum: 0.9 '
                                          'random_seed: 7', net_text=text)
            random = np.random.RandomState(1)
            for _ in range(10):
                solver.net.blobs['x'].data[...] = random.randn(8, 5)
                solver.net.blobs['t'].data[...] = random.randn(8, 2)
                solver.step(1)
                losses.append(float(solver.net.blobs['loss'].data.flat[0]))
        np.testing.assert_allclose(losses[:10], losses[10:], rtol=1e-5)

    def test_weights(self):
        text = 'force_backward: true\n' + X + python('y', 'Scaled', ('x',), 'param_str: "3"')
        net = caffe.Net(text=text, phase=caffe.TRAIN)
        x = np.arange(12, dtype='f4').reshape(4, 3)
        np.testing.assert_array_equal(net.forward(x=x)['y'], 3 * x)
        net.params['y'][0].data[...] = [1, 2, 4]
        np.testing.assert_array_equal(net.forward(x=x)['y'], x * [1, 2, 4])
        net.blobs['y'].diff[...] = 1
        net.backward()
        np.testing.assert_array_equal(net.params['y'][0].diff, x.sum(0))
        np.testing.assert_array_equal(net.blobs['x'].diff, np.tile([1, 2, 4], (4, 1)))
        net.save('y.caffemodel')
        other = caffe.Net(text=text, phase=caffe.TRAIN)
        other.copy_from('y.caffemodel')
        np.testing.assert_array_equal(other.params['y'][0].data, [1, 2, 4])
        other.blobs['x'].reshape(2, 3)
        self.assertEqual(other.forward()['y'].shape, (2, 3))

    def test_shapes_that_change(self):
        net = caffe.Net(text=python('d', 'Growing') +
                        'layer { name: "p" type: "Power" bottom: "d" top: "p" }',
                        phase=caffe.TEST)
        first = net.forward()['p'].shape[0]
        for n in range(first + 1, first + 4):
            out = net.forward()['p']
            self.assertEqual((out.shape, out.min(), out.max()), ((n, 2), n, n))

    def test_failures_are_exceptions(self):
        net = caffe.Net(text=python('f', 'Failing'), phase=caffe.TEST)
        with self.assertRaisesRegex(caffe.HostError, r"layer 'f': KeyError: .*nothing"):
            net.forward()
        with self.assertRaisesRegex(caffe.HostError, 'Need two inputs'):
            caffe.Net(text=X + python('e', 'EuclideanLossLayer', ('x',)), phase=caffe.TEST)
        with self.assertRaisesRegex(caffe.HostError, "AttributeError: .*'Absent'"):
            caffe.Net(text=python('a', 'Absent'), phase=caffe.TEST)
        with self.assertRaisesRegex(caffe.UnsupportedError, "'Twice' of module 'nowhere'"):
            caffe.Net(text=python('a', 'Twice').replace('my_layers', 'nowhere'),
                      phase=caffe.TEST)

    def test_interrupts_come_through(self):
        net = caffe.Net(text=X + python('y', 'Stopping', ['x']), phase=caffe.TRAIN)
        with self.assertRaises(KeyboardInterrupt):
            net.forward()
        sys.modules['my_layers'].Stopping.stop = False
        self.assertEqual(net.forward()['y'][0], 1)
        old = signal.signal(signal.SIGALRM, signal.default_int_handler)
        try:
            with self.assertRaises(KeyboardInterrupt):
                signal.setitimer(signal.ITIMER_REAL, 0.02)
                for _ in range(100000):
                    net._forward(0, 1)  # no views: Python drops what is raised in a __del__
        finally:
            signal.signal(signal.SIGALRM, old)
        self.assertEqual(net.forward()['y'][0], 1)

    @staticmethod
    def interrupted(make, after, module=None):
        """Whether make() calls layers back, or check(), or functions of a module, more than
        `after` times; then the next call is interrupted before its first line, where Python
        runs the handlers of signals too."""
        left, places = after, (('deepnet._layer', 'call'), ('deepnet._errors', 'check'))

        def profile(frame, event, _):
            nonlocal left
            name = frame.f_globals.get('__name__')
            if event == 'call' and (name == module if module else
                                    (name, frame.f_code.co_name) in places):
                left -= 1
                if left < 0:
                    sys.setprofile(None)
                    raise KeyboardInterrupt
        sys.setprofile(profile)
        try:
            make()
        except KeyboardInterrupt:
            pass
        finally:
            sys.setprofile(None)
        return left < 0

    def test_interrupts_as_nets_are_made(self):
        from deepnet import _errors, _layer
        text = X + python('y', 'Scaled', ['x']) + python('z', 'Scaled', ['y'])
        self.write('net.prototxt', text)
        solver_text = 'base_lr: 0.1 lr_policy: "fixed"'
        self.write('solver.prototxt', 'net: "net.prototxt" ' + solver_text)
        net = caffe.Net(text=text, phase=caffe.TRAIN)

        def reshape():
            net.blobs['x'].reshape(5 - net.blobs['x'].shape[0], 3)  # 1, 4, 1, ...
            net.reshape()
        gc.collect()  # what others left does not count
        known, hook, unraisable = len(_layer._running), sys.unraisablehook, []
        sys.unraisablehook = lambda what: unraisable.append(what.exc_type)
        try:
            for name, make in (
                    ('a file', lambda: caffe.Net('net.prototxt', caffe.TRAIN)),
                    ('text', lambda: caffe.Net(text=text, phase=caffe.TRAIN)),
                    ('shared', net.shared), ('reshape', reshape),
                    ('solver', lambda: caffe.SGDSolver('solver.prototxt')),
                    ('its text', lambda: caffe.SGDSolver(text=solver_text, net_text=text))):
                calls = 0
                with self.subTest(name):
                    while self.interrupted(make, calls):
                        self.assertEqual((unraisable, _errors.interrupted()), ([], False))
                        self.assertEqual(len(_layer._running), known)
                        calls += 1
                    self.assertGreaterEqual(calls, 3)
        finally:
            sys.unraisablehook = hook

    def test_phase(self):
        for phase in (caffe.TRAIN, caffe.TEST):
            net = caffe.Net(text=python('p', 'Phase'), phase=phase)
            self.assertEqual(net.forward()['p'][0], phase)

    def test_an_interrupt_leaves_no_hook(self):
        net = caffe.Net(text=X + python('y', 'Scaled', ['x']), phase=caffe.TRAIN)
        calls, hook = 0, sys.unraisablehook
        while self.interrupted(net.forward, calls, 'deepnet._errors'):
            self.assertIs(sys.unraisablehook, hook)
            calls += 1
        self.assertGreaterEqual(calls, 3)
        net.forward()

    def test_an_interrupt_leaves_no_cycle(self):
        class Held:
            pass

        def make():
            held = Held()
            nonlocal gone
            gone = weakref.ref(held)
            caffe.Net(text=python('p', 'Phase'), phase=caffe.TEST)
        gone = None
        gc.disable()  # what is freed is so by counting
        try:
            self.assertTrue(self.interrupted(make, 1))
            self.assertIsNone(gone())
        finally:
            gc.enable()

    def test_layers_are_freed_with_their_net(self):
        from deepnet import _layer
        gc.collect()
        before = len(_layer._running)
        net = caffe.Net(text=python('p', 'Phase'), phase=caffe.TEST)
        self.assertEqual(len(_layer._running), before + 1)
        del net
        self.assertEqual(len(_layer._running), before)


class Drawing(InFolder):
    net_text = TRAINED

    def test_dot(self):
        from deepnet import draw
        net = draw.read_net('net.prototxt')
        draw.draw_net_to_file(net, 'net.dot', 'TB')
        with open('net.dot', encoding='utf-8') as file:
            text = file.read()
        self.assertTrue(text.startswith('digraph "trained" {'), text)
        for part in ('"x" -> layer2', 'layer5 -> "loss"', 'ip1 (InnerProduct)', 'rankdir=TB'):
            self.assertIn(part, text)
        if shutil.which('dot'):
            draw.draw_net_to_file(net, 'net.svg')
            self.assertTrue(os.path.getsize('net.svg'))
        else:
            with self.assertRaisesRegex(FileNotFoundError, 'graphviz'):
                draw.draw_net_to_file(net, 'net.svg')

    def test_phase(self):
        from deepnet import draw
        self.write('two.prototxt', 'layer { name: "a" type: "Data" top: "d" include { phase: '
                                   'TRAIN } } layer { name: "b" type: "Data" top: "d" include { '
                                   'phase: TEST } }')
        net = draw.read_net('two.prototxt')
        self.assertIn('b\\n(Data)', draw.dot(net, phase=caffe.TEST))
        self.assertNotIn('a\\n(Data)', draw.dot(net, phase=caffe.TEST))
        self.assertIn('a\\n(Data)', draw.dot(net))


class Plots(InFolder):
    LOG = [{'event': 'start', 'iteration': 0},
           {'event': 'display', 'iteration': 0, 'loss': 2.5, 'rate': 0.1},
           {'event': 'test', 'iteration': 0, 'outputs': {'accuracy': 0.1, 'loss': 2.4}},
           {'event': 'display', 'iteration': 10, 'loss': None, 'rate': 0.1}]

    def setUp(self):
        super().setUp()
        self.write('log.jsonl', ''.join(json.dumps(r) + '\n' for r in self.LOG))

    def test_curves(self):
        from deepnet.plot import read_log
        self.assertEqual(read_log('log.jsonl'), {
            'loss': [(0, 2.5)], 'rate': [(0, 0.1), (10, 0.1)], 'test accuracy': [(0, 0.1)],
            'test loss': [(0, 2.4)]})

    @unittest.skipUnless(importlib.util.find_spec('matplotlib'), 'no matplotlib')
    def test_picture(self):
        from deepnet.plot import plot
        plot('log.jsonl', 'log.png')
        self.assertTrue(os.path.getsize('log.png'))


if __name__ == '__main__':
    unittest.main()
