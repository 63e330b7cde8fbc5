#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""run.sh without a GPU: over the fakes of tests/cuda its parts run, and its report has what it
should.  usage: check_run.py BUILD MODULE (the libraries' fakes in LD_LIBRARY_PATH)"""
import contextlib
import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import unittest
import unittest.mock

HERE = os.path.dirname(os.path.abspath(__file__))
BUILD, MODULE = sys.argv[1:3]
GOALS = r'goals: \d+ met, \d+ not met, \d+ not measured'


def run(*parts, **environment):
    """The exit code and the report of these parts."""
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, 'gpu.md')
        env = dict(os.environ, BUILD=BUILD, MODULE=MODULE, TORCH=sys.executable,
                   TORCH_DEVICE='cpu', NETS='lenet', BATCH='2', SECONDS_EACH='0.01',
                   ITERATIONS='2', STEPS='1', LENET_BATCH='4', DN_TEST_EVERY='300',
                   PART_LIMIT='300')
        env.update(environment)
        code = subprocess.run([os.path.join(HERE, 'run.sh'), out, *parts], env=env,
                              stdout=subprocess.DEVNULL).returncode
        with open(out) as f:
            report = f.read()
        assert sorted(os.listdir(folder)) == ['gpu.md']
        return code, report


def compare(*options, own=8, **environment):
    """compare.py's output, beside a PyTorch that is tests/bench/rival.py; the net's own batch
    is that small, as the fakes compute slowly."""
    bench = os.path.join(HERE, '..', 'bench')
    return subprocess.run(
        [sys.executable, '-c', 'import sys, compare, nets\n'
         'nets.NETS["lenet"] = (*nets.NETS["lenet"][:-1], %d)\nsys.exit(compare.main())' % own,
         '--device', MODULE, '--build', BUILD, '--torch', os.path.join(bench, 'rival.py'),
         '--torch-device', 'cpu', '--nets', 'lenet', '--jobs', 'infer', '--rounds', '1',
         '--seconds', '0.01', '--only', 'torch tf32-last,torch bf16-last', *options],
        env=dict(os.environ, RIVAL_PYTHON=sys.executable, **environment), check=True, cwd=bench,
        capture_output=True, text=True).stdout


class Compare(unittest.TestCase):
    def test_largest_batch(self):
        """It is doubled as long as deepnet can, halved until PyTorch can, in each precision."""
        out = compare('--quick', '--batch', 'largest', '--most', '8', RIVAL_MOST='3')
        self.assertEqual(re.findall('   (.*, batch .*)', out),
                         ['torch tf32-last, batch 8: out of memory',
                          'torch tf32-last, batch 4: out of memory',
                          'torch bf16-last, batch 8: out of memory'])
        self.assertEqual(re.findall('   the largest batch in (.*)', out),
                         ['tf32 is 3', 'bf16 is 6', 'f32 is 8, where --most stops'])
        self.assertRegex(out, r'(?s)\nlenet infer, batch 3, .*deepnet tf32 +\d'
                              r'.*torch tf32-last-graph +1000\.000 ms'
                              r'.*\nlenet infer, batch 6, .*deepnet bf16 +\d'
                              r'.*torch bf16-last-graph +1000\.000 ms'
                              r'.*\nlenet infer, batch 8, .*deepnet f32 +\d')

    def test_largest_batch_of_what_compiles(self):
        """It is looked for with an eager mode, which then is not timed."""
        out = compare('--compiled', '--batch', 'largest', '--most', '8', RIVAL_MOST='3')
        self.assertEqual(re.findall('   (torch .*), batch .*: out', out),
                         2 * ['torch tf32-last'] + ['torch bf16-last'])
        self.assertEqual(re.findall(r'   (torch [^:\s]+) +1000\.000 ms', out),
                         ['torch %s-last-compile%s' % (p, graph) for p in ('tf32', 'bf16')
                          for graph in ('', '-graph')])

    def test_what_computes_something_else(self):
        """It is left out: of TF32 what bf16 may be."""
        out = compare('--quick', '--batch', '2', RIVAL_OFF='0.02')
        self.assertEqual(re.findall('   (torch .*): differs by 2.0e-02', out),
                         ['torch tf32-last', 'torch tf32-last-graph'])
        self.assertRegex(out, r'torch bf16-last-graph +1000\.000 ms')
        self.assertNotIn('torch tf32-last-graph  ', out)

    def test_ours_that_computes_something_else(self):
        """As all of bf16 does, where it must be f32's to the bit."""
        done = subprocess.run(
            [sys.executable, '-c', 'import sys, compare\ncompare.LIMITS["bf16"] = 0\n'
             'sys.exit(compare.main())', '--device', MODULE, '--build', BUILD, '--only', 'none',
             '--nets', 'lenet', '--jobs', 'infer1', '--rounds', '1', '--seconds', '0.01'],
            cwd=os.path.join(HERE, '..', 'bench'), capture_output=True, text=True)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertRegex(done.stdout, r'(?s)deepnet bf16 +\d.*\nFAILED lenet infer: '
                                      r'deepnet bf16: differs by \d\.\de-03\n$')

    def test_largest_batch_of_a_small_device(self):
        out = compare('--quick', '--batch', 'largest', own=32,
                      FAKE_CUDA_MEMORY=str(36 << 20))
        self.assertRegex(out, r'deepnet f32, batch 32: .*device memory')
        batch = int(re.search(r'the largest batch in f32 is (\d+)', out).group(1))
        self.assertTrue(1 < batch < 32, out)
        self.assertRegex(out, r'(?s)lenet infer, batch %d, .*deepnet f32 +\d' % batch)


class Run(unittest.TestCase):
    def test_all_parts(self):
        code, report = run('device', 'ops', 'kernels', 'lenet', 'train2', 'solvers', 'train',
                           'coverage', 'streams', 'infer1', 'devices', 'memcheck')
        self.assertEqual(code, 0, report)
        self.assertRegex(report, r'^# deepnet on a GPU, \d{4}-\d\d-\d\dT\d\d:\d\dZ, ')
        self.assertIn('run.sh', report.splitlines()[2])
        self.assertIn('is without torch.compile', report.splitlines()[4])
        self.assertIn('\nPyTorch without torch.compile (--quick)\n', report)
        for part in ('device', 'backends', 'who does which op',
                     'kernel checker, one case in ten', 'LeNet, host and device',
                     'recorded solvers', 'training beside PyTorch: lenet', 'what kernels cover',
                     'two streams beside one',
                     'inference of one beside PyTorch: lenet', 'two devices',
                     'compute-sanitizer memcheck'):
            self.assertIn('## %s\n' % part, report)
        self.assertIn('cuda: Fake 100', report)
        self.assertIn('ok the same bits again', report)
        self.assertRegex(report, r'on the device, from memory: \d+, from the LMDB: \d+')
        self.assertRegex(report, r'ok lenet, training of 2: \d+ a second in two streams, ')
        self.assertRegex(report, r'ok lenet, inference of 1: \d+ a second in two streams, ')
        self.assertRegex(report, r'deepnet bf16 +\d')
        self.assertRegex(report, r'CONV +cuda:cudnn +\d')
        self.assertIn('   deepnet f32: ', report)
        self.assertRegex(report, r'\nlenet, bf16: loss 2\.\d+\n')
        verdicts = re.findall('(?m)^%s$' % GOALS, report)
        self.assertEqual(len(verdicts), 3, report)
        total = re.search(r'\n(%s); \d+ passed, 0 failed, in \d+ s\n$' % GOALS, report)
        self.assertTrue(total, report)
        numbers = [[int(n) for n in re.findall(r'\d+', v)] for v in [*verdicts, total.group(1)]]
        self.assertEqual(numbers[-1], [sum(n) for n in zip(*numbers[:-1])])
        self.assertIn('\n8 times as many as PyTorch eager: not measured\n', report)

    def test_the_long_parts(self):
        code, report = run('layers', 'every', 'infer', 'compute', DN_TEST_KIND='FILL,SOFTMAX',
                           CASES='lstm net_lenet_small softmaxloss_spatial_ignore')
        self.assertEqual(code, 0, report)
        self.assertIn('## recorded layers\n\n```\n3 passed, 0 failed\n', report)
        self.assertIn('## inference beside PyTorch: lenet\n', report)
        self.assertRegex(report, r'## kernel checker, every case\n\n```\nseed \d+\ncuda: \d+ '
                                 'cases agree with ref, 0 declined, 0 failed\n')
        self.assertIn('## layers in other precisions\n', report)
        self.assertTrue(re.search(r'; 4 passed, 0 failed, in \d+ s\n$', report), report)

    def sanitized(self, script, **environment):
        """The report of memcheck and racecheck by a compute-sanitizer that is this script."""
        with tempfile.TemporaryDirectory() as folder:
            tool = os.path.join(folder, 'compute-sanitizer')
            with open(tool, 'w') as f:
                f.write('#!/bin/sh\n' + script)
            os.chmod(tool, 0o755)
            return run('memcheck', 'racecheck', DN_TEST_KIND='FILL,SOFTMAX',
                       PATH=folder + os.pathsep + os.environ['PATH'], **environment)

    def test_compute_sanitizer(self):
        through = ('echo "tool $2"\n[ -n "$SAID" ] && echo "every $DN_TEST_EVERY"\n'
                   'while [ "${1#-}" != "$1" ]; do shift 2; done\nexec "$@"\n')
        code, report = self.sanitized(through)
        self.assertEqual(code, 0, report)
        for tool in ('memcheck', 'racecheck'):
            self.assertIn('## compute-sanitizer %s\n\n```\ntool %s\nseed ' % (tool, tool),
                          report)
        self.assertIn('2 passed, 0 failed', report)
        self.assertNotIn('skipped', report)
        for limit, every in (('', 10), ('560', 100)):  # a tenth of it in ten minutes
            report = self.sanitized(through, SAID='1', LIMIT=limit)[1]
            self.assertEqual(re.findall(r'every (\d+)\n', report), 2 * [str(every)], report)

    def tutorial(self, ending):
        """The part `mnist` with a tutorial that ends so."""
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, 'train.sh')
            with open(path, 'w') as f:
                f.write('#!/bin/sh\necho "asked: $@"\n%s\n' % ending)
            os.chmod(path, 0o755)
            return run('mnist', TUTORIAL=path)

    def test_the_tutorial(self):
        code, report = self.tutorial('echo "== done: accuracy 0.9612 (digits)"')
        self.assertEqual(code, 0, report)
        self.assertIn('asked: --gpu --no-install --iterations 500\n', report)
        self.assertEqual(self.tutorial('echo "== done: accuracy 0.7512 (garments)"')[0], 0)
        for ending in ('echo "== done: accuracy 0.9312 (digits)"', 'echo "half of it"',
                       'echo "== done: accuracy 0.96 (digits)"; exit 3',
                       'echo "no GPU: none"; echo "== done: accuracy 0.96 (digits)"'):
            self.assertEqual(self.tutorial(ending)[0], 1, ending)
        self.assertIn('no GPU: none\n', self.tutorial(ending)[1])
        code, report = self.tutorial('echo "train.sh: MNIST could not be downloaded, and"; '
                                     'exit 1')
        self.assertEqual(code, 0, report)
        self.assertIn('\nskipped: the tutorial\n', report)
        if os.path.abspath(BUILD) != os.path.abspath(os.path.join(HERE, '../../build')):
            self.assertIn('## the tutorial\n\n(skipped: it builds in ', run('mnist')[1])

    def test_compute_sanitizer_finds_something(self):
        code, report = self.sanitized('[ "$3" = --error-exitcode ] && exit "$4"\n'
                                      'echo "1 cases agree with ref"\n')
        self.assertEqual(code, 1, report)
        self.assertEqual(report.count('(FAILED: exit code 9)'), 2, report)

    def test_compute_sanitizer_runs_nothing(self):
        """Whether it says so, or thinks that all is well."""
        for ending in ('1', '0'):
            code, report = self.sanitized('echo "=== Error: Device not supported"\n'
                                          'exit ' + ending)
            self.assertEqual(code, 0, report)
            for tool in ('memcheck', 'racecheck'):
                self.assertIn('## compute-sanitizer %s\n\n(skipped: it ran nothing: === Error: '
                              'Device not supported)\n' % tool, report)
            self.assertIn('\nskipped: compute-sanitizer memcheck, compute-sanitizer racecheck\n'
                          '\n0 passed, 0 failed', report)

    def test_two_nets_train_first(self):
        """Then the others, each once; what comes before `ops` adds up to less than a limit, with
        some seconds for each to begin and end."""
        with tempfile.TemporaryDirectory() as folder:
            timeout = os.path.join(folder, 'timeout')
            with open(timeout, 'w') as f:
                f.write('#!/bin/sh\necho "$3 s"\nexit 1\n')
            os.chmod(timeout, 0o755)
            code, report = run('device', 'kernels', 'lenet', 'train2', 'ops', 'train', 'infer',
                               NETS='vgg16,lenet,nin', LIMIT='560', PART_LIMIT='',
                               PATH=folder + os.pathsep + os.environ['PATH'])
        self.assertEqual(re.findall('## (training|inference) .*: (.*)', report),
                         [('training', net) for net in ('vgg16', 'lenet', 'nin')] +
                         [('inference', net) for net in ('vgg16', 'lenet', 'nin')])
        before, _ = report.split('## who does which op')
        seconds = [int(s) for s in re.findall(r'^(\d+) s', before, re.M)]
        self.assertIn('kind by kind', before)
        self.assertEqual(len(seconds), 7, before)
        self.assertLessEqual(sum(s + 5 for s in seconds), 560)
        self.assertIn('training beside PyTorch: vgg16', before)
        self.assertNotIn(': nin', before)

    def test_a_failure_counts_and_the_rest_runs(self):
        code, report = run('nonsense', 'device', LIMIT='1000')
        self.assertEqual(code, 1)
        self.assertIn('(there is no part nonsense)', report)
        self.assertIn('2 passed, 1 failed', report)

    def test_a_lost_device_costs_its_kind_alone(self):
        code, report = run('kernels', DN_TEST_KIND='SOFTMAX', FAKE_CUDA_LOST='3')
        self.assertEqual(code, 1)
        self.assertIn('kernel checker, kind by kind', report)
        self.assertRegex(report, r'SOFTMAX:\n.*SOFTMAX, case \d+: .*unspecified launch failure')
        self.assertIn('the device is lost, no more cases', report)

    def test_a_mode_of_ours_that_fails(self):
        """Whatever it was to be compared with: the part fails."""
        code, report = run('infer', NETS='lenet', FAKE_CUDA_LOST='20', SECONDS_EACH='0.5')
        self.assertEqual(code, 1, report)
        self.assertRegex(report, r'\nFAILED lenet infer, batch 2: deepnet bf16: .*launch fail')
        self.assertIn('(FAILED: exit code 1)', report)

    def test_a_loss_in_bf16_that_is_far_off(self):
        """Even f32's own is, where nothing is near enough."""
        done = subprocess.run(
            [sys.executable, '-c', 'import sys, ops\nops.NEAR = -1\n'
             'sys.exit(ops.main(sys.argv[1]))', MODULE + ',cpu,ref'], cwd=HERE, text=True,
            capture_output=True, env=dict(
                os.environ, NETS='lenet', DEEPNET_LIBRARY=BUILD + '/lib/libdeepnet.so',
                PYTHONPATH=os.path.join(HERE, '../../bindings/python')))
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertRegex(done.stdout, r'FAILED lenet, bf16: loss 2\.\d+, not near 2\.')

    def test_a_kind_that_hangs(self):
        """It is named, and those after it have their turn; the test has less patience."""
        with tempfile.TemporaryDirectory() as folder:
            checker = os.path.join(folder, 'tests', 'kernels', 'check_kernels')
            timeout = os.path.join(folder, 'timeout')
            os.makedirs(os.path.dirname(checker))
            with open(checker, 'w') as f:
                f.write('#!/bin/sh\ncase ${DN_TEST_KIND-none} in none) exit 1 ;;\n'
                        'FILL) exec sleep 60 ;; SOFTMAX) echo wrong; exit 1 ;; esac\n')
            with open(timeout, 'w') as f:
                f.write('#!/bin/sh\n[ "$1" = --foreground ] && {\n'
                        'shift 4; set -- --foreground -k 1 1 "$@"; }\n'
                        'exec %s "$@"\n' % shutil.which('timeout'))
            for name in (checker, timeout):
                os.chmod(name, 0o755)
            code, report = run('kernels', BUILD=folder, LIMIT='560',
                               PATH=folder + os.pathsep + os.environ['PATH'])
        self.assertEqual(code, 1)
        self.assertIn('FILL:\nnot done in 15 s\n', report)
        self.assertIn('SOFTMAX:\nwrong\n```\n(FAILED: exit code 1)\n', report)

    def test_limits(self):
        code, report = run('kernels', 'solvers', LIMIT='0')
        self.assertEqual(code, 0)
        self.assertEqual(report.count('(left out: '), 2)
        code, report = run('lenet', PART_LIMIT='1', STEPS='100000')
        self.assertEqual(code, 1)
        self.assertIn('(FAILED: not done in 1 s)', report)

    def test_without_python(self):
        """What needs numpy or PyTorch is left out, and said so; the rest runs."""
        with tempfile.TemporaryDirectory() as folder:
            for name in ('sh', 'env', 'tee', 'date', 'dirname', 'basename', 'timeout', 'cat',
                         'rm', 'mkdir', 'sed', 'tr', 'git', 'ldd', 'ln', 'wc', 'awk'):
                os.symlink(shutil.which(name), os.path.join(folder, name))
            code, report = run('kernels', 'lenet', 'layers', 'train', 'coverage', PATH=folder,
                               PYTHONS='', TORCH='')
        self.assertEqual(code, 0, report)
        self.assertEqual(report.count('(skipped: no Python'), 4, report)
        self.assertIn('\nskipped: LeNet, host and device, recorded layers, training', report)
        self.assertIn('1 passed, 0 failed', report)

    def test_packed(self):
        """What pack.sh makes of a build is enough."""
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run([os.path.join(HERE, 'pack.sh'), folder],
                           env=dict(os.environ, BUILD=BUILD, MODULE=MODULE), check=True,
                           stdout=subprocess.DEVNULL)
            self.assertTrue(os.path.exists(os.path.join(folder, 'lib', 'libdeepnet.so.0')))
            self.assertFalse([f for f in os.listdir(os.path.join(folder, 'libs'))
                              if f.startswith(('libc.so', 'libstdc++'))])
            module = os.path.join(folder, 'kernels', 'cuda', 'deepnet-cuda.so')
            code, report = run('kernels', 'solvers', BUILD=folder, MODULE=module)
        self.assertEqual(code, 0, report)
        self.assertIn('2 passed, 0 failed', report)

    def test_where_the_report_is_kept(self):
        """A GPU's is, once it is whole, under its date and name, unless OUT is named."""
        with tempfile.TemporaryDirectory() as folder:
            smi = os.path.join(folder, 'nvidia-smi')
            with open(smi, 'w') as f:
                f.write('#!/bin/sh\necho "NVIDIA H200 (80 GB)"\n')
            clock = os.path.join(folder, 'date')  # it is midnight whenever it is looked at
            with open(clock, 'w') as f:
                f.write('#!/bin/sh\n[ "$1" = -u ] || exec %(real)s "$@"\necho >>%(seen)s\n'
                        'exec %(real)s -u -d "@$(($(wc -l <%(seen)s) * 86400))" "$2"\n' %
                        {'real': shutil.which('date'), 'seen': os.path.join(folder, 'seen')})
            os.chmod(smi, 0o755)
            os.chmod(clock, 0o755)
            kept = os.path.join(folder, 'results')
            os.mkdir(kept)
            env = dict(os.environ, BUILD=BUILD, MODULE=MODULE, RESULTS=kept,
                       PATH=folder + ':' + os.environ['PATH'])

            def call(*args, **more):
                return subprocess.run([os.path.join(HERE, 'run.sh'), *args],
                                      env=dict(env, **more), capture_output=True, text=True)

            for name in ('', '-2', '-3'):
                if os.path.exists(os.path.join(folder, 'seen')):
                    os.remove(os.path.join(folder, 'seen'))
                done = call('', 'device')
                self.assertEqual(done.returncode, 0, done.stdout)
                day = re.search(r'GPU, ([0-9-]+)T', done.stdout).group(1)
                name = os.path.join(kept, day + "-nvidia-h200-80-gb-" + name + '.md')
                self.assertIn('the report is kept as %s\n' % name, done.stdout)
                with open(name) as f:
                    self.assertRegex(f.read(), r'(?s)^# deepnet on a GPU.*\n2 passed, 0 failed')
            done = call(os.path.join(folder, 'gpu.md'), 'device')
            self.assertIn('to keep the report: cp %s/gpu.md %s/' % (folder, kept), done.stdout)
            done = call('', 'device', TORCH_DEVICE='cpu')
            self.assertNotIn('report', done.stdout.splitlines()[-1])
            self.assertEqual(len(os.listdir(kept)), 3)

    def test_a_device_that_nobody_can_ask(self):
        """Where nvidia-smi hangs, the run ends all the same, however long a part may take; the
        test has less patience."""
        with tempfile.TemporaryDirectory() as folder:
            smi = os.path.join(folder, 'nvidia-smi')
            with open(smi, 'w') as f:
                f.write('#!/bin/sh\nexec sleep 120\n')
            timeout, seen = (os.path.join(folder, name) for name in ('timeout', 'seen'))
            with open(timeout, 'w') as f:
                f.write('#!/bin/sh\n[ "$4" = nvidia-smi ] && {\necho "$3" >>%s\n'
                        'shift 3; set -- -k 1 1 "$@"; }\nexec %s "$@"\n' %
                        (seen, shutil.which('timeout')))
            os.chmod(smi, 0o755)
            os.chmod(timeout, 0o755)
            began = time.monotonic()
            code, report = run('devices', PART_LIMIT='3600', TORCH_DEVICE='cuda',
                               PATH=folder + os.pathsep + os.environ['PATH'])
            self.assertLess(time.monotonic() - began, 100)
            with open(seen) as f:
                self.assertEqual(f.read().split(), ['15', '15'])
        self.assertEqual(code, 0, report)
        self.assertIn('## two devices\n\n(skipped: there is one)', report)

    def test_two_devices(self):
        with tempfile.TemporaryDirectory() as folder:
            smi = os.path.join(folder, 'nvidia-smi')
            with open(smi, 'w') as f:
                f.write('#!/bin/sh\necho one; echo two\n')
            os.chmod(smi, 0o755)
            code, report = run('devices', PATH=folder + os.pathsep + os.environ['PATH'])
        self.assertEqual(code, 0, report)
        self.assertRegex(report, r'## two devices\n\n```\n\d+ passed, 0 failed\n')
        found = re.search(r'ok lenet, 2 a device: (\d+) images a second on one, (\d+) on two, '
                          r'(\d\.\d\d) times as many, by cuda\n', report)
        self.assertTrue(found, report)
        one, two, ratio = (float(number) for number in found.groups())
        self.assertAlmostEqual(ratio, two / one, delta=0.01 + (1 + ratio) / one)  # rounded

    def test_images_of_two_devices(self):
        sys.path.insert(0, HERE)
        import scale
        self.assertEqual(scale.images_a_second(64, {1: 10, 2: 8}), {1: 640, 2: 1024})

    def test_without_a_device(self):
        code = subprocess.run([os.path.join(HERE, 'run.sh'), os.devnull],
                              env=dict(os.environ, BUILD=BUILD, MODULE=MODULE,
                                       FAKE_CUDA_NONE='1'),
                              stdout=subprocess.DEVNULL).returncode
        self.assertEqual(code, 77)


class Coverage(unittest.TestCase):
    PROFILER = '''import os, sys, types
events_of = %r
class ProfilerActivity:
    CUDA = 1
class profile:
    def __init__(self, activities):
        assert activities == [ProfilerActivity.CUDA]
        assert os.environ['TEARDOWN_CUPTI'] + os.environ['DISABLE_CUPTI_LAZY_REINIT'] == '01'
        if os.environ.get('DIES') in sys.argv:
            os.abort()
    def __enter__(self):
        return self
    def __exit__(self, *error):
        pass
    def events(self):
        return [types.SimpleNamespace(name=name, device_type=device, time_range=
                                      types.SimpleNamespace(start=start, end=end))
                for name, device, start, end in events_of]
'''

    def cover(self, events, *options, **environment):
        """coverage.py beside a PyTorch whose profiler has seen these."""
        with tempfile.TemporaryDirectory() as folder:
            os.mkdir(os.path.join(folder, 'torch'))
            for name, text in (('__init__', 'import types\ncuda = types.SimpleNamespace('
                                'is_available=lambda: True, init=lambda: None)\n'),
                               ('autograd', 'class DeviceType:\n    CUDA = 1\n'),
                               ('profiler', self.PROFILER % (events,))):
                with open(os.path.join(folder, 'torch', name + '.py'), 'w') as f:
                    f.write(text)
            path = os.pathsep.join([folder, os.path.join(HERE, '../../bindings/python')])
            done = subprocess.run(
                [sys.executable, os.path.join(HERE, 'coverage.py'), MODULE + ',cpu,ref',
                 '--steps', '2', *options], capture_output=True, text=True,
                env=dict(os.environ, PYTHONPATH=path, LENET_BATCH='2',
                         DEEPNET_LIBRARY=os.path.join(BUILD, 'lib', 'libdeepnet.so'),
                         **environment))
            return done.returncode, done.stdout

    def steps(self, wait, copy=0):
        """Twelve steps of two kernels, of which the first ten wait for nothing."""
        events = [('host', 0, 0, 5000)]
        for i in range(12):
            late = wait if i >= 10 else 0
            events += [('conv', 1, 1000 * i, 1000 * i + 500 - late),
                       ('Memcpy HtoD', 1, 1000 * i + 500 - late, 1000 * i + 500 - late + copy),
                       ('gemm', 1, 1000 * i + 500, 1000 * i + 1000)]
        return events

    def test_the_arithmetic(self):
        subprocess.run([sys.executable, os.path.join(HERE, 'coverage.py'), '--self-test'],
                       check=True, stdout=subprocess.DEVNULL)

    def test_a_device_that_waits(self):
        """For a copy, which does not count, or for a launch."""
        rows = '--rows', 'lenet bf16 infer1,lenet_lmdb f32 train'
        code, out = self.cover(self.steps(40), *rows)
        self.assertEqual(code, 0, out)
        self.assertRegex(out, r'lenet bf16 infer1: kernels cover 96.0 % of 2 steps, with '
                              r'copies 96.0 \(.*, 2 kernels a step\); '
                              r'the longest gap is 40 us: met\n')
        self.assertRegex(out, r'lenet_lmdb f32 train: .*: met\n2 passed, 0 failed\n'
                              r'goals: 2 met, 0 not met, 0 not measured\n$')
        rows = '--rows', 'lenet tf32 infer1'
        code, out = self.cover(self.steps(48) + [('axpy', 1, 12052, 20000)], *rows)
        self.assertRegex(out, r'cover 9[89]\.\d .*the longest gap is 52 us: not met\n')
        code, out = self.cover(self.steps(200, 200), *rows)
        self.assertEqual(code, 0, out)
        self.assertRegex(out, r'cover 80.0 % of 2 steps, with copies 100.0 .*: not met\n')

    def test_a_row_that_dies(self):
        code, out = self.cover(self.steps(0), '--rows', 'lenet f32 infer1,lenet tf32 infer1',
                               DIES='lenet f32 infer1')
        self.assertEqual(code, 1, out)
        self.assertIn('FAILED lenet f32 infer1: its process ended with -6\n', out)
        self.assertRegex(out, r'lenet tf32 infer1: .*: met\n1 passed, 1 failed\n')

    def test_what_cannot_be_told(self):
        rows = '--rows', 'lenet f32 infer1,nonsense f32 train'
        code, out = self.cover([('host', 0, 0, 9)], *rows)
        self.assertEqual(code, 1, out)
        self.assertIn('FAILED lenet f32 infer1: the profiler saw no kernel\n', out)
        self.assertIn('0 passed, 2 failed\n', out)
        code, out = self.cover([], '--limit', '0')
        self.assertEqual(code, 0, out)
        self.assertIn('vgg16 tf32 infer1: not measured, there is no time left\n', out)
        self.assertTrue(out.endswith('goals: 0 met, 0 not met, 33 not measured\n'), out)


class Lenet(unittest.TestCase):
    """What lenet.py asks of PyTorch, and says of speeds."""
    @classmethod
    def setUpClass(cls):
        sys.path.insert(0, HERE)
        import lenet
        cls.lenet = lenet

    def trainers(self, recorded):
        torch = unittest.mock.MagicMock()
        with unittest.mock.patch.dict(sys.modules, torch=torch, torch_net=unittest.mock.Mock(
                recorded=recorded)):
            return torch, self.lenet.torch_trainers()

    def judged(self, **speeds):
        with contextlib.redirect_stdout(io.StringIO()) as said:
            return self.lenet.judged(speeds), said.getvalue()

    def test_the_rival_is_not_slowed(self):
        torch, trainers = self.trainers(lambda step: step)
        self.assertEqual(list(trainers), list(self.lenet.WANTED))
        self.assertTrue(torch.optim.SGD.call_args.kwargs['fused'])
        for run in trainers.values():
            run(1)
        update = torch.optim.SGD.return_value
        self.assertEqual(update.zero_grad.call_args_list,
                         2 * [unittest.mock.call(set_to_none=True)])

    def test_what_could_not_be_measured(self):
        with contextlib.redirect_stdout(io.StringIO()):
            _, trainers = self.trainers(unittest.mock.Mock(side_effect=RuntimeError('none')))
        self.assertEqual(list(trainers), ['PyTorch eager'])
        found, said = self.judged(memory=100, LMDB=94, **{'PyTorch eager': 11})
        self.assertEqual(found, ['not met', 'met', 'not measured'])
        self.assertIn('1.5 times as many as PyTorch, CUDA graph: not measured\n', said)
        self.assertEqual(self.judged(memory=100, LMDB=96)[0], ['met'] + 2 * ['not measured'])


if __name__ == '__main__':
    unittest.main(argv=sys.argv[:1] + sys.argv[3:])
