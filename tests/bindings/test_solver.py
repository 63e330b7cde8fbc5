# SPDX-License-Identifier: BSD-2-Clause
"""Solvers: stepping, callbacks, snapshots, the update rules by class, loops of one's own."""
import gc
import os
import pickle
import signal
import subprocess
import sys
import threading
import unittest

import numpy as np

import deepnet
from deepnet._errors import keep_interrupt
from deepnet._owner import Owner
from nets import SOLVER, TRAINED, InFolder

RNG = np.random.RandomState(1)
X = RNG.rand(8, 5).astype(np.float32)
T = RNG.rand(8, 2).astype(np.float32)


class Case(InFolder):
    net_text = TRAINED

    def solver(self, make=deepnet.get_solver, **options):
        solver = make('solver.prototxt', **options)
        for net in (solver.net, *solver.test_nets):
            net.blobs['x'].data[...] = X
            net.blobs['t'].data[...] = T
        return solver

    @staticmethod
    def weights(solver):
        return [blob.data.copy() for blobs in solver.net.params.values() for blob in blobs]


class Stepping(Case):
    def test_rules(self):
        with open('net.prototxt', 'a', encoding='utf-8') as file:
            file.write('layer { type: "Power" bottom: "t" top: "more" '
                       'include { stage: "a" min_level: 2 } }')
        for options, there in (({}, False), ({'stages': ['b', 'a'], 'level': 2}, True)):
            self.assertEqual('more' in self.solver(**options).net.blobs, there)

    def test_memory(self):
        readable, compact = self.solver(), self.solver(memory='compact')
        for solver in (readable, compact):
            solver.step(5)
        for p, q in zip(self.weights(readable), self.weights(compact)):
            np.testing.assert_array_equal(p, q)
        self.assertEqual(readable.net.blobs['ip1'].data.shape, (8, 7))
        with self.assertRaises(deepnet.Error):
            compact.net.blobs['ip1'].data
        with self.assertRaises(ValueError):
            self.solver(memory='much')

    @unittest.skipUnless('DEEPNET_TEST_COMMAND' in os.environ, 'no command was built')
    def test_the_command_says_what_it_trains_in(self):
        for flag, memory in ('--compact', 'compact'), ('--compact=no', 'readable'):
            solver, said = self.solver(memory=memory), subprocess.run(
                [os.environ['DEEPNET_TEST_COMMAND'], 'info', '--solver=solver.prototxt',
                 '--plan', flag], check=True, capture_output=True, text=True).stdout
            self.assertEqual(said.splitlines()[-1], solver.net.describe('memory').rstrip())

    def test_step(self):
        solver = self.solver()
        self.assertIsInstance(solver, deepnet.SGDSolver)
        self.assertEqual((solver.iter, solver.max_iter, solver.type), (0, 20, 'SGD'))
        before = solver.net.forward()['loss'].copy()
        solver.step(15)
        self.assertEqual(solver.iter, 15)
        self.assertLess(float(solver.net.forward()['loss']), float(before))
        self.assertEqual(len(solver.test_nets), 1)
        self.assertIn('15 of 20', repr(solver))
        self.assertAlmostEqual(solver.learning_rate, 0.05, places=6)

    def test_solve(self):
        solver = self.solver()
        solver.solve()
        self.assertEqual(solver.iter, 20)
        self.assertTrue(os.path.exists('snap_iter_20.caffemodel'))
        first, last = self.solver(), self.solver()
        first.step(5)
        first.snapshot('five')
        seen = []
        last.on('step_end', lambda event: seen.append(event.iteration))
        last.solve('five.solverstate')
        self.assertEqual((len(seen), last.iter), (15, 20))

    def test_same_seed_same_bits(self):
        runs = []
        for threads in (1, 2):
            with deepnet.Context(num_threads=threads):
                solver = self.solver()
            solver.step(10)
            runs.append(self.weights(solver))
        for a, b in zip(*runs):
            np.testing.assert_array_equal(a, b)

    def test_own_loop(self):
        one, two = self.solver(), self.solver()
        one.step(5)
        for _ in range(5):
            two.net.clear_param_diffs()
            two.net.forward()
            two.net.backward()
            two.apply_update()
        self.assertEqual(two.iter, 5)
        for a, b in zip(self.weights(one), self.weights(two)):
            np.testing.assert_array_equal(a, b)

    def test_learning_rate(self):
        solver = self.solver()
        before = self.weights(solver)
        solver.learning_rate = 0
        solver.step(1)
        for a, b in zip(before, self.weights(solver)):
            np.testing.assert_array_equal(a, b)
        solver.learning_rate = None
        self.assertAlmostEqual(solver.learning_rate, 0.05, places=6)

    def test_numbers(self):
        solver = self.solver(seed=np.int64(3))
        for a, b in zip(self.weights(solver), self.weights(self.solver(seed=3))):
            np.testing.assert_array_equal(a, b)
        solver.step(np.int64(2))
        self.assertEqual(solver.iter, 2)
        for wrong in 2.0, '2', None:
            with self.assertRaises(TypeError):
                solver.step(wrong)
        with self.assertRaises(ValueError):
            solver.learning_rate = 'high'
        with self.assertRaisesRegex(ValueError, 'step_end'):
            solver.off('end', print)
        with self.assertRaisesRegex(TypeError, 'cannot be pickled'):
            pickle.dumps(solver)

    def test_testing(self):
        solver = self.solver()
        loss = solver.test()['loss']
        self.assertIsInstance(loss, float)
        self.assertAlmostEqual(loss, float(solver.net.forward()['loss']), places=5)
        self.assertEqual(solver.test_outputs(), {'loss': loss})
        with self.assertRaises(deepnet.InvalidError):
            solver.test(1)

    def test_tests_and_snapshots_when_they_are_due(self):
        text = SOLVER.replace('test_interval: 1000', 'test_interval: 15') + 'snapshot: 10'
        self.write('solver.prototxt', text)
        solver, seen = self.solver(), []
        for kind in ('test_end', 'snapshot'):
            solver.on(kind, lambda event: seen.append((event.kind, event.iteration, event.loss)))
        solver.solve()
        self.assertEqual([event[:2] for event in seen],
                         [('snapshot', 10), ('test_end', 15), ('snapshot', 20)])
        self.assertEqual(seen[1][2], 0)  # without test_compute_loss

    def test_what_a_test_net_has_prepared(self):
        self.write('net.prototxt', """
            layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 dim: 9
              dim: 9 } } }
            layer { name: "t" type: "Input" top: "t" input_param { shape { dim: 2 dim: 16
              dim: 7 dim: 7 } } }
            layer { name: "c" type: "Convolution" bottom: "x" top: "c" convolution_param {
              num_output: 16 kernel_size: 3 weight_filler { type: "xavier" } } }
            layer { name: "n" type: "BatchNorm" bottom: "c" top: "c" }
            layer { name: "s" type: "Scale" bottom: "c" top: "c" }
            layer { name: "loss" type: "EuclideanLoss" bottom: "c" bottom: "t" top: "loss" }""")
        solver = deepnet.get_solver('solver.prototxt')
        nets = [solver.net, solver.test_nets[0]]
        for net in nets:
            net.blobs['x'].data[...] = np.linspace(-1, 1, net.blobs['x'].count).reshape(2, 3, 9, 9)
            net.blobs['t'].data[...] = 1
        solver.step(3)
        solver.net.forward()
        nets[1].forward()  # between a forward and its update
        solver.net.backward()
        solver.apply_update()
        solver.net.save('now.caffemodel')
        fresh = deepnet.Net('net.prototxt', deepnet.TEST, weights='now.caffemodel')
        for name in ('x', 't'):
            fresh.blobs[name].data[...] = nets[1].blobs[name].data
        self.assertEqual(float(nets[1].forward()['loss']), float(fresh.forward()['loss']))

    def test_nets_outlive_the_name(self):
        net = self.solver().net
        gc.collect()
        net.forward()

    def test_param(self):
        param = self.solver().param
        self.assertEqual((param.max_iter, param.snapshot_prefix), (20, 'snap'))

    def test_share_weights(self):
        solver = self.solver()
        net = deepnet.Net('net.prototxt', deepnet.TEST)
        solver.share_weights(net)
        solver.step(3)
        np.testing.assert_array_equal(net.params['ip1'][0].data,
                                      solver.net.params['ip1'][0].data)

    def test_from_text(self):
        solver = deepnet.Solver(text=SOLVER.replace('net: "net.prototxt"', ''),
                                net_text=TRAINED, max_iter=3)
        solver.solve()
        self.assertEqual(solver.iter, 3)


class Rules(Case):
    def test_classes(self):
        for cls in (deepnet.SGDSolver, deepnet.NesterovSolver, deepnet.AdaGradSolver,
                    deepnet.RMSPropSolver, deepnet.AdaDeltaSolver, deepnet.AdamSolver):
            with self.subTest(cls.__name__):
                text = SOLVER
                if cls._type in ('AdaGrad', 'RMSProp', 'AdaDelta'):
                    momentum = 'momentum: 0.9 ' if cls._type == 'AdaDelta' else ''
                    text = text.replace('momentum: 0.9', momentum + 'delta: 1e-5')
                if cls._type == 'RMSProp':
                    text += 'rms_decay: 0.9'
                self.write('solver.prototxt', text)
                solver = self.solver(cls)
                self.assertEqual(solver.type, cls._type)
                solver.step(2)
                self.write('solver.prototxt', text + '\ntype: "%s"\n' % cls._type)
                self.assertIs(type(self.solver()), cls)


class Callbacks(Case):
    def test_pycaffes(self):
        solver, seen = self.solver(), []
        solver.add_callback(lambda: seen.append('start'), lambda: seen.append('ready'))
        solver.step(2)
        self.assertEqual(seen, ['start', 'ready'] * 2)

    def test_events(self):
        solver, seen = self.solver(), []
        for kind in ('step_end', 'display', 'snapshot'):
            solver.on(kind, seen.append)
        solver.step(6)
        solver.snapshot()
        self.assertEqual([e.iteration for e in seen if e.kind == 'step_end'],
                         [1, 2, 3, 4, 5, 6])
        self.assertEqual([e.iteration for e in seen if e.kind == 'display'], [0, 5])
        self.assertEqual([e.path for e in seen if e.kind == 'snapshot'],
                         ['snap_iter_6.solverstate'])
        with self.assertRaises(ValueError):
            solver.on('nothing', print)

    def test_a_callback_takes_itself_back(self):
        solver, seen = self.solver(), []

        def once(event):
            seen.append('once')
            solver.off('step_end', once)
        solver.on('step_end', once)
        solver.on('step_end', lambda event: seen.append('each'))
        solver.step(2)
        self.assertEqual(seen, ['once', 'each', 'each'])

    def test_what_they_raise_comes_out(self):
        solver = self.solver()

        def fail(event):
            if event.iteration == 3:
                raise KeyboardInterrupt
        solver.on('step_end', fail)
        with self.assertRaises(KeyboardInterrupt):
            solver.step(10)
        self.assertEqual(solver.iter, 3)
        solver.off('step_end', fail)
        solver.step(2)
        self.assertEqual(solver.iter, 5)

    def test_ctrl_c(self):
        """Signals come while the library computes; Python runs their handlers before the first
        line of the callback that comes next."""
        solver = self.solver()
        old = signal.signal(signal.SIGALRM, signal.default_int_handler)
        hook = sys.unraisablehook
        try:
            for seconds in (0.02, 0.05, 0.1):
                with self.assertRaises(KeyboardInterrupt):
                    signal.setitimer(signal.ITIMER_REAL, seconds)
                    solver.step(10**6)
        finally:
            signal.signal(signal.SIGALRM, old)
        self.assertIs(sys.unraisablehook, hook)
        before = solver.iter
        solver.step(2)
        self.assertEqual(solver.iter, before + 2)

    def test_ctrl_c_beside_a_failure(self):
        solver = self.solver()

        def fail(event):
            keep_interrupt(KeyboardInterrupt())  # what a signal's handler raised
            raise ValueError
        solver.on('step_end', fail)
        with self.assertRaises(KeyboardInterrupt) as caught:
            solver.step(1)
        self.assertIsInstance(caught.exception.__cause__, ValueError)
        solver.off('step_end', fail)
        solver.step(1)

    def test_ctrl_c_as_a_call_returns(self):
        solver = self.solver()

        def step():
            solver._events.error = ValueError()
            keep_interrupt(KeyboardInterrupt())
            raise KeyboardInterrupt
        with self.assertRaises(KeyboardInterrupt):
            solver._events.run(step)
        solver.step(1)  # nothing is left over

    def test_other_threads_report_their_own(self):
        solver, hook, seen = self.solver(), sys.unraisablehook, []

        def lose():
            Owner(1, lambda handle: [].pop())  # IndexError in Owner.__del__

        def work(event):
            thread = threading.Thread(target=lose)
            thread.start()
            thread.join()
        solver.on('step_end', work)
        sys.unraisablehook = lambda what: seen.append(what.exc_type)
        try:
            solver.step(2)
        finally:
            sys.unraisablehook = hook
        self.assertEqual(seen, [IndexError] * 2)

    def test_cancel(self):
        solver = self.solver()
        solver.on('step_end', lambda event: event.iteration == 4 and solver.cancel())
        with self.assertRaises(deepnet.CancelledError):
            solver.step(10)
        self.assertEqual(solver.iter, 4)

    def test_all_reduce(self):
        sums = []

        def halve(gradients):
            sums.append(gradients.size)
            gradients *= 0
        solver = self.solver(all_reduce=halve)
        before = self.weights(solver)
        solver.step(1)
        self.assertEqual(sum(sums), sum(w.size for w in before))
        for a, b in zip(before, self.weights(solver)):
            np.testing.assert_array_equal(a, b)

    def test_progress(self):
        self.solver().step(2, progress=True)


LMDB = os.path.abspath(os.path.join(os.path.dirname(__file__), '..', 'data', 'reference',
                                    'fashion300_lmdb'))
ROWS = '''
layer { name: "d" type: "Data" top: "data" top: "label" data_param { source: "%s"
  batch_size: %d backend: LMDB } transform_param { scale: 0.00390625 } }
'''
HDF5_ROWS = '''
layer { name: "d" type: "HDF5Data" top: "data" top: "label" hdf5_data_param { source: "%s"
  batch_size: %d shuffle: true } }
'''
RANKED = '''
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param {
  num_output: 10 weight_filler { type: "xavier" } } }
layer { name: "l" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "l" }
'''


class Ranks(InFolder):
    rows, source = ROWS, LMDB

    def ranked(self, batch, **options):
        return deepnet.Solver(text='base_lr: 0.1 lr_policy: "fixed" momentum: 0.9 max_iter: 6 '
                                   'random_seed: 3 snapshot_after_train: false',
                              net_text=self.rows % (self.source, batch) + RANKED,
                              context=deepnet.Context(1), **options)

    def labels(self, solver):
        seen = []
        solver.on('step_end',
                  lambda event: seen.extend(
                      solver.net.blobs['label'].data.astype(int).tolist()))
        return seen

    def as_one(self, solvers, seen):
        alone = self.ranked(8)
        labels = self.labels(alone)
        alone.solve()
        self.assertEqual(len(labels), 48)
        for r in range(2):  # in turn, and nobody else's
            self.assertEqual(seen[r], labels[r::2])
        for a, *both in zip(Case.weights(alone), *map(Case.weights, solvers)):
            np.testing.assert_array_equal(*both)
            np.testing.assert_allclose(a, both[0], atol=2e-6)

    def test_all_reduce_of_ranks(self):
        meet, given = threading.Barrier(2, timeout=60), [None, None]

        def of(rank):
            def mean(gradients):
                given[rank] = gradients.copy()
                meet.wait()
                gradients[...] = (given[0] + given[1]) / 2
                meet.wait()
            return mean
        solvers = [self.ranked(4, rank=r, num_ranks=2, all_reduce=of(r)) for r in range(2)]
        seen = [self.labels(s) for s in solvers]
        thread = threading.Thread(target=solvers[1].solve)
        thread.start()
        solvers[0].solve()
        thread.join()
        self.as_one(solvers, seen)

    def test_parallel(self):
        solvers = [self.ranked(4, rank=r, num_ranks=2) for r in range(2)]
        seen = [self.labels(s) for s in solvers]
        with deepnet.Parallel(solvers) as parallel:
            self.assertEqual(parallel.transport, 'host')
            parallel.step(2)
            with self.assertRaises(deepnet.StateError):
                solvers[1].step(1)
            parallel.solve()
        self.as_one(solvers, seen)
        solvers[1].step(1)
        with self.assertRaises(ValueError):
            parallel.step(1)

    def test_parallel_of_hdf5(self):
        net = deepnet.Net(text=ROWS % (LMDB, 48) + 'layer { name: "out" type: "HDF5Output" '
                               'bottom: "data" bottom: "label" '
                               'hdf5_output_param { file_name: "rows.h5" } }')
        try:
            net.forward()
        except deepnet.UnsupportedError:
            self.skipTest('HDF5 was left out of this build')
        self.write('rows.txt', 'rows.h5\n')
        self.rows, self.source = HDF5_ROWS, os.path.abspath('rows.txt')
        self.test_parallel()

    def test_parallel_fails(self):
        class Stop(Exception):
            pass

        def stop(event):
            if event.iteration == 2 and not stopped:
                stopped.append(event)
                raise Stop
        stopped, solvers = [], [self.ranked(4, rank=r, num_ranks=2) for r in range(2)]
        solvers[1].on('gradients', stop)
        parallel = deepnet.Parallel(iter(solvers))
        with self.assertRaises(Stop):
            parallel.step(6)
        parallel.step(1)
        self.assertEqual(solvers[0].iter, solvers[1].iter)
        with self.assertRaises(deepnet.InvalidError):
            deepnet.Parallel([self.ranked(4)] * 2)
        with self.assertRaises(OverflowError):
            parallel.step(2**70)
        with self.assertRaises(TypeError):
            deepnet.Parallel([None])

    def test_parallel_is_closed_by_a_callback(self):
        solvers = [self.ranked(4, rank=r, num_ranks=2) for r in range(2)]
        parallel = deepnet.Parallel(solvers)
        solvers[0].on('gradients', lambda event: parallel.close())
        parallel.step(2)
        self.assertEqual([s.iter for s in solvers], [2, 2])
        solvers[1].step(1)


class Snapshots(Case):
    def test_resumed_is_the_same(self):
        one = self.solver()
        one.step(5)
        one.snapshot()
        one.step(5)
        two = self.solver()
        two.restore('snap_iter_5.solverstate')
        self.assertEqual(two.iter, 5)
        two.step(5)
        for a, b in zip(self.weights(one), self.weights(two)):
            np.testing.assert_array_equal(a, b)

    def test_tests_go_on(self):
        """A test net reads on, and draws on, where it was."""
        images = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'data',
                              'reference', 'fashion300_lmdb')
        self.write('net.prototxt', TRAINED + '''
            layer { name: "d" type: "Data" top: "d" include { phase: TEST }
              data_param { source: "%s" backend: LMDB batch_size: 7 } }
            layer { name: "r" type: "DummyData" top: "r" include { phase: TEST }
              dummy_data_param { shape { dim: 2 } data_filler { type: "uniform" max: 1 } } }
            ''' % images)

        def tested(solver):
            solver.test()
            return [solver.test_nets[0].blobs[name].data.copy() for name in 'dr']
        one = self.solver()
        tested(one)
        one.step(3)
        one.snapshot()
        two = self.solver()
        two.restore('snap_iter_3.solverstate')
        three = self.solver()
        for a, b, c in zip(tested(one), tested(two), tested(three)):
            np.testing.assert_array_equal(a, b)
            self.assertTrue((a != c).any())

    def test_positions(self):
        """How far a layer has counted, and goes on counting from when it is restored."""
        def varint(value):
            return bytes([value]) if value < 128 else bytes([value % 128 | 128]) + varint(value >> 7)

        def message(number, body):
            return varint(number << 3 | 2) + varint(len(body)) + body
        self.write('net.prototxt', TRAINED + '''
            layer { name: "n" type: "DummyData" top: "n" dummy_data_param { shape { dim: 2 } } }
            layer { name: "m" type: "DummyData" top: "m" dummy_data_param { shape { dim: 2 dim: 3 } } }
            layer { name: "add" type: "LabelSpecificAdd" bottom: "m" bottom: "n" top: "p" top: "bias"
              label_specific_add_param { bias_base: -0.5 bias_gamma: 0.125 } }
            ''')
        self.solver().snapshot('here')
        with open('here.solverstate', 'rb') as file:
            state = file.read()
        for position in (2, 1 << 62, (1 << 63) - 1, 1 << 63):
            cursor = message(20001, b'add') + varint(20002 << 3) + varint(position)
            with open('there.solverstate', 'wb') as file:
                file.write(state + message(20001, message(20003, cursor)))
            solver = self.solver()
            if position > 2:
                with self.assertRaisesRegex(deepnet.DataError, 'an impossible position'):
                    solver.restore('there.solverstate')
                continue
            solver.restore('there.solverstate')
            solver.step(1)
            self.assertEqual(solver.net.blobs['bias'].data[0], -0.25)

    def test_learned_net_in_hdf5(self):
        """The name of the weights as Caffe, h5py and numpy write it; never weights left out."""
        try:
            import h5py
        except ImportError:
            self.skipTest('no h5py to write a state as others do')
        with open('solver.prototxt') as file:
            text = file.read()
        self.write('solver.prototxt', text + '\nsnapshot_format: HDF5\n')
        made = self.solver()
        made.step(3)
        try:
            made.snapshot('here')
        except deepnet.UnsupportedError:
            self.skipTest('HDF5 was left out of this build')
        name = 'here.caffemodel.h5'
        many = np.array([name.encode()] * 1000)
        for value in (name, np.bytes_(name), np.array([name], object), 7, many,
                      np.bytes_(b'n' * 65536), h5py.Empty('S4')):
            with h5py.File('here.solverstate.h5', 'a') as file:
                del file['learned_net']
                kind = h5py.string_dtype() if isinstance(value, np.ndarray) and \
                    value.dtype == object else None
                file.create_dataset('learned_net', data=value, dtype=kind)
            solver = self.solver()
            if name in str(value) and value is not many:
                solver.restore('here.solverstate.h5')
                for a, b in zip(self.weights(made), self.weights(solver)):
                    np.testing.assert_array_equal(a, b)
                continue
            with self.assertRaisesRegex(deepnet.ParseError, "'learned_net' is not a string"):
                solver.restore('here.solverstate.h5')

    def test_named(self):
        solver = self.solver()
        solver.snapshot('here')
        self.assertTrue(os.path.exists('here.caffemodel'))
        self.assertTrue(os.path.exists('here.solverstate'))

    def test_errors(self):
        solver = self.solver()
        with self.assertRaises(FileNotFoundError):
            solver.restore('none.solverstate')
        with self.assertRaises(FileNotFoundError):
            deepnet.get_solver('none.prototxt')
        self.write('junk.solverstate', 'junk')
        with self.assertRaises(deepnet.Error):
            solver.restore('junk.solverstate')
        solver.step(1)


if __name__ == '__main__':
    unittest.main()
