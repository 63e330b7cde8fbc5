#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""What compare.py says of goals: of rows made here, and of a run beside rival.py; how an
engine is filled.

usage: check_compare.py BUILD"""
import contextlib
import io
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
import floor  # noqa: E402
import goals  # noqa: E402
import worker  # noqa: E402

with unittest.mock.patch.dict(sys.modules, {name: unittest.mock.MagicMock() for name in (
        'torch', 'torch.nn', 'torch.nn.functional')}):
    import torch_net  # noqa: E402


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


class Absent(unittest.TestCase):
    def test_python_that_is_not_there(self):
        with tempfile.TemporaryDirectory() as folder:
            args = types.SimpleNamespace(patience=0, patience_first=0, until=float('inf'),
                                         folder=folder, verbose=False, torch='/no/python')
            case = types.SimpleNamespace(job={})
            one, = compare.start_all(args, case, [('torch', 'default', {})], 1)
        self.assertRegex(one.error, '^left out: .*/no/python')

    def test_what_was_not_measured_has_no_figure(self):
        made = row('lenet', 'train', deepnet_cpu=([5, 5, 5], 110),
                   torch_default=([30, 30, 60], 100))
        made['goals'] = goals.judged(made)
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            goals.print_goals([made])
        text = printed.getvalue()
        self.assertRegex(text, r'speed  of torch default +6\.00 \(6\.00 to 12\.00\) ')
        self.assertRegex(text, r'memory of Caffe +-  +< 1    not measured\n')


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
            ('deepnet f32', 'speed', 'PyTorch', '>= 1'): 'met without compile',
            ('deepnet f32', 'speed', 'PyTorch, eager', '>= 8'): 'met',
            ('deepnet f32', 'speed', 'PyTorch, graph', '>= 1.5'): 'not met',
            ('deepnet f32', 'memory', 'PyTorch', '<= 1'): 'not measured',
            ('deepnet bf16', 'speed', 'PyTorch', '>= 1'): 'met without compile',
            ('deepnet bf16', 'memory', 'PyTorch', '<= 1'): 'met'})
        self.assertEqual(goals.summary(goals.counts(verdicts(made).values())),
                         'goals: 2 met, 2 met without compile, 1 not met, 1 not measured')
        made['engines']['torch bf16-last-compile-graph'] = {'ms': [4], 'median': 4, 'peak': 8}
        self.assertEqual(verdicts(made)['deepnet bf16', 'speed', 'PyTorch', '>= 1'], 'met')
        made['engines']['torch f32-compile'] = {'error': 'no compiler', 'late': False}
        self.assertEqual(verdicts(made)['deepnet f32', 'speed', 'PyTorch', '>= 1'],
                         'met without compile')
        made['engines']['torch f32-compile-graph'] = {'ms': [1], 'median': 1, 'peak': 8}
        self.assertEqual(verdicts(made)['deepnet f32', 'speed', 'PyTorch, graph', '>= 1.5'],
                         'not met')
        self.assertEqual(goals.judged(made)[2]['beside'], 'torch f32 graph')
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
    def asked(self, most_of_ours, most_of_theirs, precision='bf16', most=1024,
              modes=(('torch', 'bf16-compile', {'compile': True}), ('torch', 'bf16', {}),
                     ('torch', 'bf16-last', {}), ('torch', 'tf32', {}))):
        """What is tried, in order, and found where so much fits."""
        tried = []
        fitting = {'deepnet': most_of_ours, 'torch': most_of_theirs}

        def fits(args, name, train, mode, batch):
            self.assertIn(mode[1], ('bf16', 'tf32'))
            self.assertIn(precision, mode[1])
            tried.append((mode[0], batch))
            return batch <= fitting[mode[0]]

        args = types.SimpleNamespace(device='x', most=most, until=float('inf'))
        with unittest.mock.patch.object(compare, 'fits', fits), \
                contextlib.redirect_stdout(io.StringIO()) as said:
            batch = compare.largest_batch(args, 'lenet', True, precision, modes)
        return batch, tried, said.getvalue()

    def test_each_is_tried_once(self):
        self.assertEqual(self.asked(256, 128)[:2], (128, [
            ('deepnet', 128), ('deepnet', 256), ('deepnet', 512), ('torch', 256),
            ('torch', 128), ('deepnet', 192), ('torch', 192)]))
        self.assertEqual(self.asked(50, 64)[:2], (48, [
            ('deepnet', 128), ('deepnet', 64), ('deepnet', 32), ('torch', 32),
            ('deepnet', 48), ('torch', 48)]))
        self.assertEqual(self.asked(400, 1000, 'tf32')[0], 384)

    def test_where_it_stops(self):
        batch, tried, said = self.asked(1e6, 1e6, most=256)
        self.assertEqual((batch, tried[-1]), (256, ('torch', 256)))
        self.assertIn('the largest batch in bf16 is 256, where --most stops', said)
        self.assertNotIn('stops', self.asked(256, 1e6)[2])

    def test_without_a_rival(self):
        """Where no mode of PyTorch passed the check, as without one."""
        for modes in ((), (('torch', 'bf16-compile', {'compile': True}),)):
            batch, tried, _ = self.asked(256, 0, modes=modes)
            self.assertEqual((batch, tried[-1]), (256, ('deepnet', 384)))


class Memory(unittest.TestCase):
    def peak(self, figures):
        """What is found where nvidia-smi tells of so many MiB, one after the other."""
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, 'nvidia-smi')
            with open(path, 'w') as f:
                f.write('#!/bin/sh\necho "$@" >%s/asked\nfor one in %s; do echo $one; done\n' %
                        (folder, figures))
            os.chmod(path, 0o755)
            env = {'PATH': folder + os.pathsep + os.environ['PATH']}
            with unittest.mock.patch.dict(os.environ, env), \
                    unittest.mock.patch.object(compare, 'device_id', lambda: '0000:C1:00.0'):
                memory = compare.DeviceMemory()
                memory.thread.join()
                with open(os.path.join(folder, 'asked')) as f:
                    self.asked = f.read()
                return memory.close()

    def test_a_figure_that_falls(self):
        self.assertEqual(self.peak('100 300 700 200 150'), 600 << 20)
        self.assertIn('-i 0000:C1:00.0 ', self.asked)
        self.assertIn('-lms 20', self.asked)
        self.assertEqual(self.peak('"[N/A]"'), 0)

    def test_without_nvidia_smi(self):
        with unittest.mock.patch.dict(os.environ, PATH='/nowhere'):
            self.assertEqual(compare.DeviceMemory().close(), 0)

    def test_which_device(self):
        """It is CUDA's first, by its place on the bus."""
        def bus(text, size, device):
            text.value = b'0000:C1:00.0'
            return 0

        for code, found in ((0, '0000:C1:00.0'), (100, '0')):
            cuda = types.SimpleNamespace(cuInit=lambda flags: code, cuDeviceGetPCIBusId=bus,
                                         cuDeviceGet=lambda device, index: index)
            with unittest.mock.patch.object(compare.ctypes, 'CDLL', lambda name: cuda):
                self.assertEqual(compare.device_id(), found)


class Patience(unittest.TestCase):
    def test_of_the_first_answers(self):
        """An engine that plans, tunes or compiles is not taken for one that hangs."""
        args = types.SimpleNamespace(patience=60, patience_first=400, folder='', verbose=False,
                                     until=float('inf'))
        with unittest.mock.patch.object(compare.subprocess, 'Popen') as engine, \
                unittest.mock.patch.object(compare, 'open', unittest.mock.mock_open(),
                                           create=True), \
                unittest.mock.patch.object(compare.threading, 'Timer') as timer:
            engine.return_value.stdout.readline.return_value = '{}'
            worker_of = compare.Worker(args, types.SimpleNamespace(job={}), 'torch', '', {}, 1)
            worker_of.read()
            for do in ('check', 'warm', 'run'):
                worker_of.ask(do=do)
        self.assertEqual([call.args[0] for call in timer.call_args_list], [400, 400, 400, 60])


class Checked(unittest.TestCase):
    def kept(self, device=True, **found):
        args = types.SimpleNamespace(device=device, verbose=False, chains=['cpu'], bf16=True,
                                     modules='')
        modes = [('torch', p, {}) for p in ('f32', 'tf32', 'bf16', 'bf16-compile')]
        asked = []

        def check_net(args, name, train, plain):
            asked.extend(m[0] + ' ' + m[1] for m in plain)
            return {label.replace('_', ' '): value for label, value in found.items()}

        with unittest.mock.patch.object(compare, 'check_net', check_net), \
                unittest.mock.patch.object(compare, 'deepnet_modes', lambda args: [
                    ('deepnet', p, {}) for p in ('f32', 'tf32', 'bf16')]), \
                contextlib.redirect_stdout(io.StringIO()) as said:
            modes[3][2]['compile'] = True
            kept, faults = compare.checked(args, 'nin', True, modes)[::2]
        return asked, [m[1] for m in kept], faults, said.getvalue()

    def test_all_precisions_of_a_device(self):
        asked, kept, faults, _ = self.kept(torch_tf32=5e-3, torch_bf16=2e-2)
        self.assertEqual(asked, ['deepnet tf32', 'deepnet bf16', 'torch f32', 'torch tf32',
                                 'torch bf16'])
        self.assertEqual((kept, faults), (['f32', 'tf32', 'bf16', 'bf16-compile'], []))
        self.assertEqual(self.kept(torch_f32=2e-3)[1], ['tf32', 'bf16', 'bf16-compile'])
        self.assertEqual(self.kept(torch_tf32=2e-2)[1], ['f32', 'bf16', 'bf16-compile'])
        self.assertEqual(self.kept(torch_bf16=6e-2)[1], ['f32', 'tf32', 'bf16-compile'])
        self.assertEqual(self.kept(device=False)[0], ['torch f32'])

    def test_liars_of_ours(self):
        faults = self.kept(deepnet_tf32=5e-3, deepnet_bf16=6e-2)[2]
        self.assertEqual(faults, ['nin train: deepnet bf16: differs by 6.0e-02'])
        self.assertEqual(self.kept(deepnet_tf32='the process ended')[2],
                         ['nin train: deepnet tf32: left out: the process ended'])

    def test_so_many_at_once(self):
        """Of engines, which share a device's memory."""
        alive, most = [], []

        class Engine:
            late, error = False, None

            def __init__(self, args, case, engine, name, mode, threads, **more):
                self.label = name
                alive.append(self)
                most.append(len(alive))

            def read(self):
                pass

            def ask(self, do):
                return {'values': [1, 2]}

            def close(self):
                alive.remove(self)

        modes = [('torch', str(i), {}) for i in range(9)]
        with unittest.mock.patch.object(compare, 'Worker', Engine), \
                unittest.mock.patch.object(compare, 'Case'), \
                unittest.mock.patch.object(compare, 'deepnet_modes', lambda args: modes):
            found = compare.check_net(types.SimpleNamespace(folder=''), 'nin', False, modes)
        self.assertEqual((max(most), alive), (4, []))
        self.assertEqual(found, {str(i): 0 for i in range(9)})


class Number:
    """What a tensor of one value does."""
    def __init__(self, value):
        self.value = value

    def cpu(self):
        return Number(self.value)

    def copy_(self, other):
        self.value = other.value

    def zero_(self):
        self.value = 0


class Recorded(unittest.TestCase):
    def losses(self, graph):
        """Of steps of torch_net.py, where to record one takes three."""
        weight, update, model = Number(5), unittest.mock.MagicMock(), unittest.mock.MagicMock()
        update.state, model.state_dict.return_value = {}, {'w': weight}

        def step():
            momentum = update.state.setdefault(weight, {'momentum_buffer': Number(0)})
            momentum = momentum['momentum_buffer']
            momentum.value = 0.9 * momentum.value + weight.value
            weight.value -= 0.1 * momentum.value

        def record(one):
            for _ in range(3):
                one()
            return one

        update.step = step
        model.side_effect = lambda data, label: unittest.mock.Mock(
            item=lambda now=weight.value: now)
        engine = torch_net.Torch.__new__(torch_net.Torch)
        engine.device, engine.data, engine.bf16 = 'cuda', None, False
        job = {'train': True, 'labels': [1], 'batch': 1, 'rate': 0.1, 'momentum': 0.9,
               'decay': 0}
        with unittest.mock.patch.object(torch_net, 'recorded', record), \
                unittest.mock.patch.object(torch_net.torch.optim, 'SGD', return_value=update):
            engine.make_training(job, model, {'graph': graph})
            return engine.check(job)

    def test_a_graph_begins_where_an_eager_mode_does(self):
        self.assertEqual(self.losses(True), self.losses(False))
        self.assertEqual(self.losses(True)[0], 5)


class Modes(unittest.TestCase):
    def test_all_update_in_one_kernel(self):
        self.assertEqual([m for m in compare.DEVICE if m[2].get('sgd') != {'fused': True}], [])

    def modes(self, *options):
        with unittest.mock.patch.object(sys, 'argv', ['compare.py', '--device', 'x', *options]):
            return {m[1]: m[2] for m in compare.modes_of(compare.arguments(), True)}

    def test_of_a_device(self):
        eager = {'f32', 'f32-last', 'tf32', 'tf32-last', 'bf16', 'bf16-last'}
        usual = {'f32', 'tf32-last', 'bf16-last'}
        compiled = {p + how for p in usual for how in ('-compile', '-compile-graph')}
        self.assertEqual(set(self.modes('--quick')), eager | {p + '-graph' for p in usual})
        self.assertEqual(set(self.modes('--compiled')), compiled)
        self.assertEqual(set(self.modes('--compiled', '--batch', 'largest')),
                         compiled | {'f32', 'tf32', 'bf16'})
        self.assertEqual(set(self.modes()), {*self.modes('--quick'), *compiled})
        self.assertEqual(len(self.modes('--full')), 24)
        self.assertEqual({self.modes('--compiled')[p + '-compile-graph']['compile']
                          for p in usual}, {'reduce-overhead'})


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


class Floor(unittest.TestCase):
    def verdict(self, form, *steps):
        return floor.row_of('made', form, steps, 1e6, 1e6).split(' | ')[5]

    def test_verdict(self):
        conv = (10, 10, 65e5, 'CONV_BWD_DATA')  # ms, bytes, flops
        self.assertEqual(self.verdict('train', conv), 'met')
        self.assertEqual(self.verdict('train', conv, (0.2, 10, 0, 'COPY')), 'not met')
        self.assertEqual(self.verdict('deploy', conv, (9, 10, 0, 'COPY')), 'no goal')
        self.assertEqual(self.verdict('train', conv, (9, 65e5, 0, 'COPY')), 'no goal')

    @unittest.skipUnless(os.path.exists(os.path.join(BUILD, 'bindings', 'cli', 'deepnet')),
                         'no command was built')
    def test_of_the_plan(self):
        rows = {}
        with tempfile.TemporaryDirectory() as folder:
            floor.nets.main(folder, 'lenet')
            for form in ('train', 'deploy'):
                path = os.path.join(folder, 'lenet_%s.prototxt' % form)
                row = floor.floor_of('lenet', form, floor.planned(BUILD, path, form), 1e6, 2e6)
                rows[form] = [float(c) for c in row.strip('| ').split('|')[1:]]
        forward = 2 * 64 * (24**2 * 20 * 25 + 8**2 * 50 * 20 * 25 + 800 * 500 + 5000)
        self.assertAlmostEqual(rows['deploy'][0] * 1e9 / forward, 1, delta=0.02)
        self.assertAlmostEqual(rows['train'][0] / rows['deploy'][0], 2.8, delta=0.1)
        for gflop, megabytes, at_peak, moving, least in rows.values():
            self.assertAlmostEqual(at_peak / gflop / 1e3, 1, delta=0.01)
            self.assertAlmostEqual(moving / megabytes * 2, 1, delta=0.01)
            self.assertTrue(max(at_peak, moving) <= least <= at_peak + moving)


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
