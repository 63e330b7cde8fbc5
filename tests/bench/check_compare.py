#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""What compare.py says of goals: of rows made here, and of a run beside rival.py; how an
engine is filled.

usage: check_compare.py BUILD"""
import json
import os
import subprocess
import sys
import tempfile
import types
import unittest
import unittest.mock

import numpy

HERE = os.path.dirname(os.path.abspath(__file__))
BUILD = sys.argv[1]
sys.path.insert(0, HERE)
import compare  # noqa: E402
import goals  # noqa: E402
import worker  # noqa: E402


def row(net, job, on_device=False, amx=False, **engines):
    """Engines as LABEL=(milliseconds of each round, peak); '_' is a space, '__' a comma."""
    made = {'net': net, 'job': job, 'batch': 1, 'threads': 1, 'clock': 'ms',
            'device': on_device, 'amx': amx, 'engines': {}}
    for label, (times, peak) in engines.items():
        label = label.replace('__', ',').replace('_', ' ')
        made['engines'][label] = {'ms': times, 'median': sorted(times)[len(times) // 2],
                                  'peak': peak}
    return made


def verdicts(made):
    return {(v['ours'], v['figure'], v['rival'], v['goal']): v['verdict']
            for v in goals.judged(made)}


class Goals(unittest.TestCase):
    def test_host_training(self):
        made = row('lenet', 'train', deepnet_onednn__cpu=([4, 4, 4], 90),
                   deepnet_cpu=([5, 5, 5], 110), torch_default=([30, 30, 30], 100),
                   torch_compile=([9.9, 9.9, 20], 120))
        self.assertEqual(verdicts(made), {
            ('deepnet onednn,cpu', 'speed', 'PyTorch', '>= 2.5'): 'not met',
            ('deepnet onednn,cpu', 'memory', 'PyTorch', '< 1'): 'met',
            ('deepnet onednn,cpu', 'memory', 'Caffe', '< 1'): 'not measured',
            ('deepnet cpu', 'speed', 'PyTorch', '>= 2'): 'not met',
            ('deepnet cpu', 'memory', 'PyTorch', '< 1'): 'not met',
            ('deepnet cpu', 'memory', 'Caffe', '< 1'): 'not measured'})
        made['engines']['torch compile']['ms'] = [10, 10, 10]
        self.assertEqual(verdicts(made)['deepnet onednn,cpu', 'speed', 'PyTorch', '>= 2.5'],
                         'met')
        self.assertEqual(goals.judged(made)[0]['beside'], 'torch compile')
        self.assertEqual(goals.judged(made)[1]['beside'], 'torch default')

    def test_table(self):
        def bound(net, job, ours):
            return next(v['goal'] for v in goals.judged(row(net, job, **{ours: ([1], 1)})))
        for net, *wanted in (('lenet', 2.5, 2, 1.2, 3), ('alexnet', 2, 1, 1.2, 1.2),
                             ('googlenet', 1.6, 1, 1.2, 1.2), ('resnet50', 1.4, 1, 1.2, 1.2),
                             ('mobilenet_v1', 1.4, 1, 1.2, 1.2), ('nin', 1, 1, 1, 1)):
            found = [bound(net, 'train', 'deepnet_onednn__cpu'),
                     bound(net, 'train', 'deepnet_cpu'), bound(net, 'infer', 'deepnet_cpu'),
                     bound(net, 'infer1', 'deepnet_onednn__cpu')]
            self.assertEqual(found, ['>= %g' % w for w in wanted])

    def test_host_inference_beats_opencv(self):
        made = row('resnet50', 'infer1', deepnet_cpu=([10], 1), torch_frozen=([12], 2),
                   opencv=([10], 1), caffe=([100], 0.5))
        self.assertEqual(sorted(verdicts(made).values()),
                         ['met', 'met', 'not met', 'not met'])
        self.assertEqual(verdicts(made)['deepnet cpu', 'speed', 'OpenCV', '> 1'], 'not met')

    def test_bf16(self):
        engines = dict(deepnet_cpu=([20], 1), deepnet_bf16=([10], 1), torch_bf16=([9], 2),
                       torch_default=([40], 1))
        found = verdicts(row('alexnet', 'train', amx=True, **engines))
        self.assertEqual(found['deepnet bf16', 'speed', 'own f32', '>= 2'], 'met')
        self.assertEqual(found['deepnet bf16', 'speed', 'PyTorch', '> 1'], 'not met')
        self.assertEqual(found['deepnet bf16', 'memory', 'PyTorch', '< 1'], 'met')
        for amx, net in ((False, 'alexnet'), (True, 'lenet')):
            found = verdicts(row(net, 'train', amx=amx, **engines))
            self.assertEqual(found['deepnet bf16', 'speed', 'own f32', ''], 'no goal')

    def test_device(self):
        made = row('lenet', 'train', True, deepnet_f32=([1], 0), deepnet_bf16=([3], 7),
                   torch_f32=([9], 5), torch_f32_last=([8], 5), torch_f32_graph=([1.4], 5),
                   torch_bf16_graph=([3], 7))
        self.assertEqual(verdicts(made), {
            ('deepnet f32', 'speed', 'PyTorch', '>= 1'): 'met',
            ('deepnet f32', 'speed', 'PyTorch, eager', '>= 8'): 'met',
            ('deepnet f32', 'speed', 'PyTorch, graph', '>= 1.5'): 'not met',
            ('deepnet f32', 'memory', 'PyTorch', '<= 1'): 'not measured',
            ('deepnet bf16', 'speed', 'PyTorch', '>= 1'): 'met',
            ('deepnet bf16', 'memory', 'PyTorch', '<= 1'): 'met'})
        made = row('vgg16', 'infer1', True, deepnet_tf32=([1], 1), torch_tf32=([2.9], 1),
                   torch_tf32_compile=([1], 1))
        self.assertEqual(verdicts(made)['deepnet tf32', 'speed', 'PyTorch, eager', '>= 3'],
                         'not met')

    def test_what_fails_has_missed(self):
        made = row('nin', 'train', torch_default=([1], 1))
        made['engines']['deepnet cpu'] = {'error': 'out of memory'}
        self.assertEqual(list(verdicts(made).values()), ['not met', 'not met', 'not measured'])
        made['engines']['deepnet cpu'] = {'error': 'left out', 'late': True}
        self.assertEqual(set(verdicts(made).values()), {'not measured'})

    def test_a_rival_that_was_cut_off(self):
        """What was best of it is not known: no goal is met, but one may be missed."""
        made = row('nin', 'train', deepnet_cpu=([1], 1), torch_default=([2], 2))
        self.assertEqual(set(verdicts(made).values()), {'met', 'not measured'})
        made['engines']['torch channels-last'] = {'error': 'left out', 'late': True}
        self.assertEqual(set(verdicts(made).values()), {'not measured'})
        made['engines']['torch default'] = dict(made['engines']['deepnet cpu'])
        self.assertIn('not met', verdicts(made).values())


    def test_what_was_cut_off_is_marked(self):
        """What is measured of it counts, but for its memory."""
        made = row('nin', 'train', deepnet_cpu=([1, 1, 1], 1), torch_default=([2, 2], None))
        made['engines']['torch default']['cut'] = 2
        found = goals.judged(made)
        self.assertEqual([(v['verdict'], v['cut']) for v in found[:2]],
                         [('met', ', cut off after 2'), ('not measured', '')])
        made['engines']['torch channels-last'] = {'ms': [3] * 3, 'median': 3, 'peak': 2}
        self.assertEqual([(v['verdict'], v['cut']) for v in goals.judged(made)[:2]],
                         [('met', ', cut off after 2'), ('not measured', '')])
        made['engines']['deepnet cpu'].update(ms=[1], cut=1, peak=None)
        self.assertEqual([(v['verdict'], v['cut']) for v in goals.judged(made)[:2]],
                         [('met', ', cut off after 2'), ('not measured', '')])


class LargestBatch(unittest.TestCase):
    def asked(self, most_of_ours, most_of_theirs):
        """What is tried, in order, and found where so much fits."""
        tried = []
        most = {'deepnet': most_of_ours, 'torch': most_of_theirs}

        def fits(args, name, train, mode, batch):
            tried.append((mode[0], batch))
            return batch <= most[mode[0]]

        args = types.SimpleNamespace(device='x', torch_device='cpu', most=1024, only='',
                                     quick=True, full=False, until=float('inf'))
        with unittest.mock.patch.object(compare, 'fits', fits):
            return compare.largest_batch(args, 'lenet', True), tried

    def test_each_is_tried_once(self):
        self.assertEqual(self.asked(256, 128), (128, [
            ('deepnet', 128), ('deepnet', 256), ('deepnet', 512), ('torch', 256),
            ('torch', 128)]))
        self.assertEqual(self.asked(32, 64), (32, [
            ('deepnet', 128), ('deepnet', 64), ('deepnet', 32), ('torch', 32)]))


class Modes(unittest.TestCase):
    def test_all_update_in_one_kernel(self):
        self.assertEqual([m for m in compare.DEVICE if m[2].get('sgd') != {'fused': True}], [])


class Run(unittest.TestCase):
    def compare(self, seconds, *options, **environment):
        with tempfile.TemporaryDirectory() as folder:
            found = os.path.join(folder, 'json')
            done = subprocess.run(
                [sys.executable, os.path.join(HERE, 'compare.py'), '--build', BUILD, '--nets',
                 'lenet', '--threads', '1', '--rounds', '1', '--seconds', '0.01', '--backends',
                 'cpu', '--torch', os.path.join(HERE, 'rival.py'), '--only', 'torch compile',
                 '--json', found, *options],
                env=dict(os.environ, RIVAL_SECONDS=seconds, **environment),
                capture_output=True, text=True)
            with open(found) as f:
                return done, json.load(f)

    def test_limit(self):
        """What there is no time for is left out, and the rest judged."""
        done, found = self.compare('1', '--jobs', 'infer1,infer', '--limit', '0.01', '--judge')
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn('lenet infer1: left out: there is no time left', done.stdout)
        self.assertEqual((found['rows'], found['goals']['not met']), ([], 0))

    def test_rounds_before_the_limit_are_kept(self):
        done, found = self.compare('1000', '--jobs', 'infer1', '--rounds', '3', '--limit', '15',
                                   RIVAL_ROUNDS='2')
        self.assertEqual(done.returncode, 0, done.stderr)
        engines = found['rows'][0]['engines']
        self.assertEqual(len(engines['torch compile']['ms']), 2)
        self.assertEqual(engines['torch compile']['cut'], 2)
        self.assertNotIn('cut', engines['deepnet cpu'])
        self.assertRegex(done.stdout, r'torch compile .* peak +\?, cut off after 2')
        self.assertRegex(done.stdout, r'speed +of torch compile .* met, cut off after 2\n')

    def test_verdict_and_exit_status(self):
        done, found = self.compare('1000', '--jobs', 'infer1', '--judge')
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stdout.splitlines()[-1],
                         'goals: 2 met, 0 not met, 2 not measured')
        self.assertEqual(found['goals'], {'met': 2, 'not met': 0, 'not measured': 2})
        for judge in (False, True):
            done, found = self.compare('1e-9', '--jobs', 'infer', *['--judge'] * judge)
            self.assertEqual(done.returncode, judge, done.stderr)
            self.assertEqual(done.stdout.splitlines()[-1],
                             'goals: 1 met, 1 not met, 2 not measured')
            self.assertRegex(done.stdout, r'speed +of torch compile +0\.00 .*>= 1\.2 not met')
            self.assertEqual(found['rows'][0]['goals'][0]['verdict'], 'not met')


    def test_what_failed_of_ours(self):
        rows = [row('nin', 'train', True, deepnet_f32=([1], 1))]
        rows[0]['engines'].update({'torch f32': {'error': 'out of memory', 'late': False},
                                   'deepnet tf32': {'error': 'left out', 'late': True}})
        self.assertEqual(compare.failures(rows), [])
        rows[0]['engines']['deepnet bf16'] = {'error': 'the process ended', 'late': False}
        self.assertEqual(compare.failures(rows),
                         ['nin train, batch 1: deepnet bf16: the process ended'])


class Fill(unittest.TestCase):
    def fill(self, size, shape, offset):
        """A weight of `size` after it was filled from a file of 12: `shape`, at `offset`."""
        blobs = {'data': types.SimpleNamespace(data=numpy.zeros(3, '<f4'))}
        weight = types.SimpleNamespace(data=numpy.zeros(size, '<f4'))
        engine = worker.Pycaffe()
        engine.net = types.SimpleNamespace(params={'ip': [weight]}, blobs=blobs)
        with tempfile.NamedTemporaryFile() as file:
            numpy.arange(12, dtype='<f4').tofile(file.name)
            engine.fill({'params': [['ip', 0, shape, offset]], 'weights': file.name,
                         'input': file.name, 'train': False})
        return weight.data.ravel().tolist()

    def test_in_place(self):
        self.assertEqual(self.fill((2, 3), [2, 3], 6), [6, 7, 8, 9, 10, 11])
        self.assertEqual(self.fill(2, [2], 0), [0, 1])

    def test_other_sizes(self):
        for size, shape, offset in ((5, [2, 3], 0), (7, [2, 3], 0), (6, [2, 3], 7),
                                    (6, [2, 3], 12)):
            self.assertRaises(ValueError, self.fill, size, shape, offset)


if __name__ == '__main__':
    unittest.main(argv=sys.argv[:1] + sys.argv[2:])
