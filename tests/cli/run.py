#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""The deepnet command from outside: exit codes, what it prints, files, interrupts.

run.py SOURCE DEEPNET: works in a temporary folder on 400 small images of its own.
"""
import fcntl
import glob
import json
import os
import pty
import random
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
import zlib

SOURCE, DEEPNET = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
sys.path.insert(0, os.path.join(SOURCE, 'tests'))
from tap import Skip, expect, main, test  # noqa: E402

folder = tempfile.TemporaryDirectory()
TRAIN, TEST = 320, 80
NET = '''
name: "bars"
layer { name: "d" type: "Data" top: "data" top: "label" include { phase: TRAIN }
  data_param { source: "train_lmdb" backend: LMDB batch_size: 16 }
  transform_param { scale: 0.00390625 } }
layer { name: "d" type: "Data" top: "data" top: "label" include { phase: TEST }
  data_param { source: "test_lmdb" backend: LMDB batch_size: 20 }
  transform_param { scale: 0.00390625 } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip"
  inner_product_param { num_output: 2 weight_filler { type: "xavier" } } }
layer { name: "accuracy" type: "Accuracy" bottom: "ip" bottom: "label" top: "accuracy"
  include { phase: TEST } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
'''
FOLDED = '''
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 dim: 9 dim: 9 } } }
layer { name: "c" type: "Convolution" bottom: "x" top: "c"
  convolution_param { num_output: 8 kernel_size: 3 bias_term: false } }
layer { name: "n" type: "BatchNorm" bottom: "c" top: "c" }
'''
INNER = '''
layer { name: "x" type: "Input" top: "x" top: "label"
  input_param { shape { dim: 8 dim: 3 dim: 32 dim: 32 } shape { dim: 8 } } }
layer { name: "c" type: "Convolution" bottom: "x" top: "c"
  convolution_param { num_output: 32 kernel_size: 3 pad: 1 bias_term: false
    weight_filler { type: "xavier" } } }
layer { name: "d" type: "ReLU" bottom: "c" top: "d" }
layer { name: "ip" type: "InnerProduct" bottom: "d" top: "ip"
  inner_product_param { num_output: 2 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
'''
SOLVER = '''net: "net.prototxt" test_iter: 4 test_interval: 20 base_lr: 0.1 momentum: 0.9
lr_policy: "fixed" display: 10 max_iter: 60 snapshot: 40 snapshot_prefix: "snap" random_seed: 3
solver_mode: CPU
'''


COMMANDS = ('train', 'test', 'time', 'info', 'check', 'upgrade', 'draw', 'convert', 'devices')


def deepnet(*arguments, code=0, cwd=None, **env):
    done = subprocess.run([DEEPNET, *arguments], cwd=cwd or folder.name, text=True, timeout=120,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, env=dict(os.environ, **env))
    expect(done.returncode == code, f'{arguments}: exit code {done.returncode}, not {code}:\n'
           f'{done.stdout}\n{done.stderr}')
    return done


def write(name, text):
    path = os.path.join(folder.name, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, 'wb') as file:
        file.write(text if isinstance(text, bytes) else text.encode())
    return path


def idx(name, count):
    """Images of a bright row, 8 x 8: above the middle (label 0) or below (label 1)."""
    draw = random.Random(count)
    pixels, labels = bytearray(), bytearray()
    for _ in range(count):
        at = draw.randrange(8)
        label = at // 4
        labels.append(label)
        pixels += bytes(255 if i // 8 == at else draw.randrange(40)
                        for i in range(64))
    write(name + '-images', struct.pack('>4i', 2051, count, 8, 8) + pixels)
    write(name + '-labels', struct.pack('>2i', 2049, count) + labels)


def records(name):
    with open(os.path.join(folder.name, name), encoding='utf-8') as lines:
        return [json.loads(line) for line in lines]


def records_so_far(name):
    """Of a log that is being written: its last line may not be whole."""
    if not exists(name):
        return []
    with open(os.path.join(folder.name, name), encoding='utf-8') as lines:
        return [json.loads(line) for line in lines if line.endswith('\n')]


def processor_seconds(process):
    with open(f'/proc/{process.pid}/stat', encoding='utf-8') as stat:
        fields = stat.read().rsplit(')', 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')


def exists(name):
    return os.path.exists(os.path.join(folder.name, name))


@test
def usage_errors_are_2_and_help_is_0():
    deepnet(code=2)
    deepnet('trane', code=2)
    for command in COMMANDS:
        if command != 'devices':  # which needs nothing
            expect('usage' in deepnet(command, code=2).stderr, command)
        expect('option' in deepnet(command, '--nonsense', code=2).stderr, command)
    deepnet('train', '--solver=x', '--iterations=many', code=2)
    deepnet('train', '--solver=x', '--iterations=0', code=2)
    deepnet('test', '--model=x', '--weights=x', '--labels=x', code=2)
    deepnet('check', 'x', '--level=4294967296', code=2)
    deepnet('draw', 'net.prototxt', 'net.png', code=2)
    deepnet('train', '--solver', code=2)
    done = deepnet('train', '--solver=x', '--weights=x', '--snapshot=x', code=2)
    expect('--weights and --snapshot exclude each other' in done.stderr, done.stderr)
    for swapped, where in ('--weights=a_iter_1.solverstate', '--snapshot'), \
            ('--snapshot=a_iter_1.caffemodel.h5', '--weights'):
        done = deepnet('train', '--solver=solver.prototxt', swapped, code=2)
        expect(re.search(f'{where} ', done.stderr.splitlines()[0]), done.stderr)
    text = deepnet('--help').stdout
    expect(re.findall(r'^  (\w+) +\S', text, re.M) == list(COMMANDS), text)
    expect(re.search('0 done; 1 .*; 2 .* 130 interrupted', text.replace('\n', ' ')), text)
    expect(re.match(r'deepnet \d+\.\d+\.\d+\n$', deepnet('--version').stdout), 'version')


@test
def what_no_backend_computes_has_an_option():
    write('narrow.prototxt', """layer { name: 'x' type: 'Input' top: 'x' input_param {
        shape { dim: 1 dim: 2 } } } layer { name: 'i' type: 'InnerProduct' bottom: 'x' top: 'i'
        inner_product_param { num_output: 1 } }""")
    asked = ('info', 'narrow.prototxt', '--backends=ref', '--compute=bf16', '--memory')
    expect('compute_fallback accepts f32' in deepnet(*asked, code=1).stderr, 'no line')
    said = deepnet(*asked, '--compute_fallback').stderr
    expect(said == 'no backend of this context computes this net in bf16; it computes in '
           'f32\n', said)


@test
def a_crop_that_says_no_offset_is_noted_once():
    write('crop.prototxt', """
        layer { name: 'x' type: 'Input' top: 'x' input_param { shape { dim: [1, 1, 8, 8] } } }
        layer { name: 'p' type: 'Pooling' bottom: 'x' top: 'p'
          pooling_param { kernel_size: 3 } }
        layer { name: 'c' type: 'Crop' bottom: 'x' bottom: 'p' top: 'c' }""")
    done = deepnet('info', 'crop.prototxt')
    expect(done.stderr.count("layer 'c': Crop without crop_param begins at 0") == 1,
           done.stderr)
    with open(os.path.join(folder.name, 'crop.prototxt'), encoding='utf-8') as file:
        write('crop.prototxt', file.read().replace("top: 'c'", "top: 'c' crop_param { }"))
    done = deepnet('info', 'crop.prototxt')
    expect('Crop' not in done.stderr, done.stderr)
    write('crop.prototxt', """
        layer { name: 'x' type: 'Input' top: 'x' input_param { shape { dim: [1, 2, 8, 8] } } }
        layer { name: 'r' type: 'ReLU' bottom: 'x' top: 'r' }
        layer { name: 'c' type: 'Crop' bottom: 'x' bottom: 'r' top: 'c' }""")
    done = deepnet('info', 'crop.prototxt')
    expect('Crop' not in done.stderr, 'all is kept: ' + done.stderr)


@test
def a_net_for_training_alone_is_drawn():
    rule = "include { phase: TRAIN }"
    write('train_only.prototxt', """layer { name: 'x' type: 'Input' top: 'x' %s input_param {
        shape { dim: 1 } } } layer { name: 's' type: 'Silence' bottom: 'x' %s }""" % (rule, ''))
    expect('TRAIN, 2 layers' in deepnet('draw', 'train_only.prototxt').stdout, 'TRAIN')
    done = deepnet('draw', 'train_only.prototxt', '--phase=TEST', code=1)
    expect("'x' is made by no layer that takes part; layer 'x' makes it, which its rules "
           '(phase, level, stage) leave out in TEST' in done.stderr, done.stderr)
    write('train_only.prototxt', "layer { name: 's' type: 'Silence' %s }" % rule)
    done = deepnet('draw', 'train_only.prototxt', code=1)
    expect('no layer in this phase, TEST' in done.stderr, 'the first reason')


@test
def help_and_the_man_page_name_every_option():
    with open(os.path.join(SOURCE, 'bindings', 'cli', 'deepnet.1'), encoding='utf-8') as file:
        page = file.read().replace('\\-', '-')
    said = set(re.findall(r'--([a-z_]+)', page)) - {'name'}  # "--name=value"
    known = {'help', 'version'}
    for command in COMMANDS:
        text = deepnet(command, '--help').stdout
        expect(text.startswith(f'deepnet {command}: ') and
               f'\nusage: deepnet {command} ' in text, text)
        options = re.findall(r'^  --([a-z_]+)(?:=\S+)? +\S', text, re.M)
        expect(options, text)
        expect(deepnet('help', command).stdout == text, f'help {command}')
        expect(set(options) <= said, f'{command}: the man page lacks {set(options) - said}')
        expect(re.search(r'^\.B %s\b' % command, page, re.M), f'the man page lacks {command}')
        known |= set(options)
    expect(said <= known, f'the man page has {said - known}, which no command takes')
    for code in (0, 1, 2, 130):
        expect(re.search(r'^\.TP\n\.B %d$' % code, page, re.M), f'exit status {code}')
    if shutil.which('groff'):
        done = subprocess.run(['groff', '-man', '-ww', '-z', '-Tutf8', os.path.join(
            SOURCE, 'bindings', 'cli', 'deepnet.1')], stderr=subprocess.PIPE, text=True)
        expect(not done.stderr, done.stderr)


@test
def convert_makes_a_database():
    idx('train', TRAIN)
    idx('test', TEST)
    for name in ('train', 'test'):
        out = deepnet('convert', 'mnist', name + '-images', name + '-labels', name + '_lmdb')
        expect(exists(name + '_lmdb/data.mdb'), out.stdout)
    paths = ('train-images', 'train-labels', 'train_lmdb')
    deepnet('convert', 'mnist', *paths, code=1)
    deepnet('convert', 'mnist', *paths, '--overwrite')
    deepnet('convert', 'mnist', 'absent', 'train-labels', 'x_lmdb', code=1)
    deepnet('convert', 'mnist', 'train-labels', 'train-labels', 'x_lmdb', code=1)
    deepnet('convert', 'mnist', 'train-images', 'test-labels', 'x_lmdb', code=1)
    deepnet('convert', 'cifar', 'a', 'b', 'c', code=2)
    deepnet('convert', 'mnist', *paths, '--gray', code=2)
    deepnet('convert', 'mnist', *paths, '--overwrite', '--backend=lmdb')
    out = deepnet('convert', 'mnist', *paths, '--overwrite', '-backend', 'leveldb', code=2)
    expect("mnist makes no 'leveldb', LMDB only" in out.stderr, out.stderr)
    deepnet('convert', 'mean', 'train_lmdb', 'train.mean', '--backend=leveldb')
    out = deepnet('convert', 'mean', 'train_lmdb', 'train.mean', '--backend=hdf5', code=2)
    expect("mean reads no 'hdf5', LMDB and LevelDB only" in out.stderr, out.stderr)


def png(name, width, height, level):
    parts = b'\x89PNG\r\n\x1a\n'
    for kind, data in ((b'IHDR', struct.pack('>2I5B', width, height, 8, 0, 0, 0, 0)),
                       (b'IDAT', zlib.compress((b'\0' + bytes([level]) * width) * height)),
                       (b'IEND', b'')):
        parts += struct.pack('>I', len(data)) + kind + data
        parts += struct.pack('>I', zlib.crc32(kind + data))
    write(name, parts)


@test
def convert_takes_images():
    for i in range(3):
        png(f'pics/{i}.png', 8, 6 + i, 50 * i)
    write('list.txt', ''.join(f'{i}.png {i}\n' for i in range(3)))
    out = subprocess.run([DEEPNET, 'convert', 'images', 'pics/', 'list.txt', 'db', '-gray',
                          '--resize_height=4', '--resize_width', '5', '-shuffle', '--seed=3',
                          '--check_size'], cwd=folder.name, capture_output=True, text=True)
    if 'this build has no' in out.stderr:
        raise Skip(out.stderr)
    expect(out.returncode == 0 and exists('db/data.mdb'), out.stderr)
    deepnet('convert', 'mean', 'db', 'mean.binaryproto')
    with open(os.path.join(folder.name, 'mean.binaryproto'), 'rb') as file:
        mean = file.read()
    expect(struct.pack('<20f', *20 * [50]) in mean, mean)
    for words in (('images', 'pics/', 'list.txt'), ('mean', 'db'),
                  ('mean', 'db', 'm', '--gray')):
        expect('usage' in deepnet('convert', *words, code=2).stderr, words)
    for options, line in (
            ((), 'cannot write LMDB \'db\': it exists already'),
            (('--overwrite', '--check_size'),
             "image list 'list.txt': line 2: '1.png': its size is"),
            (('--overwrite', '--resize_width=4'), 'height and width')):
        out = deepnet('convert', 'images', 'pics/', 'list.txt', 'db', *options, code=1)
        expect(line in out.stderr and out.stderr.count('\n') == 1, out.stderr)
    deepnet('convert', 'mean', 'db', 'mean.binaryproto')
    with open(os.path.join(folder.name, 'mean.binaryproto'), 'rb') as file:
        expect(file.read() == mean, 'the database is another')


@test
def train_tells_its_events():
    write('net.prototxt', NET)
    write('solver.prototxt', SOLVER)
    out = deepnet('train', '--solver=solver.prototxt', '--log=train.jsonl').stdout
    expect('iteration 40  snapshot' in out and 'accuracy' in out and 'done: 60' in out, out)
    expect('\r' not in out and '\033' not in out, 'no bar without a terminal')
    log = records('train.jsonl')
    expect(log[0]['event'] == 'start' and log[-1]['event'] == 'end', 'start and end')
    expect(log[-1]['iteration'] == 60 and log[-1]['how'] == 'done', str(log[-1]))
    tests = [r for r in log if r['event'] == 'test']
    expect([r['iteration'] for r in tests] == [0, 20, 40, 60], str(tests))
    expect(tests[-1]['outputs']['accuracy'] > 0.9, str(tests[-1]))
    displays = [r for r in log if r['event'] == 'display']
    expect(displays and displays[-1]['loss'] < displays[0]['loss'], str(displays))
    for name in ('snap_iter_40', 'snap_iter_60'):
        expect(exists(name + '.caffemodel') and exists(name + '.solverstate'), name)


@test
def options_as_caffe_writes_them():
    out = deepnet('train', '-solver', 'solver.prototxt', '--weights', 'snap_iter_60.caffemodel',
                  '-iterations=5', '--noquiet').stdout
    expect('done: 5 iterations' in out, out)
    write('debug.prototxt', SOLVER + ' debug_info: true')
    out = deepnet('train', '-solver=debug.prototxt', '-iterations=1')
    expect("'debug_info' of SolverParameter changes what" in out.stderr, out.stderr)
    write('rules.prototxt', NET.replace('TRAIN', 'TRAIN stage: "go" min_level: 2'))
    write('rules_solver.prototxt', SOLVER.replace('net.prototxt', 'rules.prototxt'))
    rules = ('train', '-solver=rules_solver.prototxt', '-iterations=1')
    expect("'data' is made by no layer" in deepnet(*rules, code=1).stderr, 'TRAIN has no data')
    out = deepnet(*rules, '-stage', 'x,go', '-level=2').stdout
    expect('done: 1 iterations' in out, out)
    staged = ('info', '--solver=rules_solver.prototxt', '--plan', '--stage=go')
    expect("'data' is made by no layer" in deepnet(*staged, code=1).stderr, 'of its level')
    expect('at the least' in deepnet(*staged, '--level=2').stdout, 'a plan in its level')
    quiet = deepnet('train', '-solver=solver.prototxt', '--iterations', '2', '-quiet')
    expect(quiet.stdout == '' and quiet.stderr == '', quiet.stdout + quiet.stderr)


@test
def snapshot_resumes_where_it_was():
    deepnet('train', '--solver=solver.prototxt', '--iterations=60', '--quiet')
    with open(os.path.join(folder.name, 'snap_iter_60.caffemodel'), 'rb') as file:
        whole = file.read()
    os.remove(os.path.join(folder.name, 'snap_iter_60.caffemodel'))
    out = deepnet('train', '--solver=solver.prototxt', '--snapshot=snap_iter_40.solverstate')
    expect('done: 20 iterations' in out.stdout, out.stdout)
    with open(os.path.join(folder.name, 'snap_iter_60.caffemodel'), 'rb') as file:
        expect(file.read() == whole, 'resumed ends with other bits')


@test
def test_averages_and_confusion():
    out = deepnet('test', '--model=net.prototxt', '--weights=snap_iter_60.caffemodel',
                  '--iterations=4', '--confusion', '--log=test.json').stdout
    accuracy = float(re.search(r'^accuracy = (\S+)', out, re.M).group(1))
    rows = [list(map(int, r.split()[1:3])) for r in out.splitlines() if r.endswith('%')]
    expect(sum(map(sum, rows)) == TEST, out)
    expect(abs((rows[0][0] + rows[1][1]) / TEST - accuracy) < 1e-6, out)
    expect(abs(records('test.json')[0]['accuracy'] - accuracy) < 1e-6, 'the log agrees')
    deepnet('test', '--model=net.prototxt', '--weights=absent.caffemodel', code=1)
    done = deepnet('test', '--model=net.prototxt', '--weights=snap_iter_60.caffemodel',
                   '--iterations=4', '--confusion', '--labels=absent', code=1)
    expect(done.stdout == '', f'before the run, not after it: {done.stdout}')


@test
def time_prints_each_layer():
    out = deepnet('time', '--model=net.prototxt', '--iterations=3').stdout
    expect(re.search(r'^ip +InnerProduct +[\d.]+ +[\d.]+ +[\d.]+ +[\d.]+', out, re.M), out)
    expect(re.search(r'^all ', out, re.M), out)
    rows = deepnet('time', '--model=net.prototxt', '--iterations=2', '--json',
                   '--compact').stdout
    expect(json.loads(rows.splitlines()[-1])['layer'] == 'all', rows)


@test
def info_steers_no_terminal():
    write('steers.prototxt', r"""layer { name: 'a\033[2Jb\177' type: 'Input' top: 'x\r'
        input_param { shape { dim: [1, 2] } } }
        layer { name: 'e\302\233\n1 \303\233' type: 'InnerProduct' bottom: 'x\r' top: 'y\n\033['
        inner_product_param { num_output: 1 } }""")
    steers = re.compile(r'[\x00-\x09\x0b-\x1f\x7f-\x9f]')
    out = deepnet('info', 'steers.prototxt').stdout
    expect('a?[2Jb?' in out and 'x?' in out, repr(out))
    expect(re.search(r'^e\?\?\?1 Û +InnerProduct .*  y\?\?\[ 1x1$', out, re.M), repr(out))
    out += deepnet('info', 'steers.prototxt', '--plan').stdout
    expect(len(re.findall(r'^ *\d+ fwd +e\?\?\?1 Û .* GEMM ', out, re.M)) == 2, repr(out))
    expect(not steers.search(out), repr(out))
    net = deepnet('info', 'steers.prototxt', '--prototxt').stdout
    both = """layer { name: 'both' type: 'InnerProduct' bottom: 'BOTTOM' top: 'both'
        inner_product_param { num_output: 1 } }"""
    write('steered.prototxt', net + both.replace('BOTTOM', r'x\r') + r"""
        layer { name: 'l' type: 'EuclideanLoss'
        bottom: 'y\n\033[' bottom: 'y\n\033[' top: 'z\n\033[31m' }""")
    write('steered_solver.prototxt', """net: 'steered.prototxt' base_lr: 1 lr_policy: 'fixed'
        max_iter: 1 test_iter: 1 test_interval: 1 snapshot_prefix: 'steered'""")
    done = deepnet('train', '--solver=steered_solver.prototxt')
    expect('  z??[31m 0\n' in done.stdout, repr(done.stdout))
    write('others.prototxt', r"""layer { name: 'x' type: 'Input' top: 'x'
        input_param { shape { dim: [3, 2] } } }
        layer { name: 'o\n\303\251\233[' type: 'InnerProduct' bottom: 'x' top: 'y'
        inner_product_param { num_output: 1 } include { stage: 'STAGE' } }
        layer { name: 'f\nf' type: 'Filter' bottom: 'x' bottom: 'y' top: 'z' }""".replace(
            'STAGE', 's\033[31m') + both.replace('BOTTOM', 'x'))
    one = deepnet('check', 'others.prototxt').stdout
    expect(', in stage s?[31m' in one and not steers.search(one), repr(one))
    stage = '--stage=s\033[31m'
    one = deepnet('info', 'others.prototxt', stage, '--plan').stdout
    expect("split after 'f?f'" in one and not steers.search(one), repr(one))
    said = deepnet('test', '--model=others.prototxt', stage, '--iterations=1',
                   '--weights=steered_iter_1.caffemodel').stderr
    expect(said.count('\n') == 3 and 'no weights for o?' in said and
           'no layer for: e???1 ' in said and not steers.search(said), repr(said))
    out = deepnet('time', '--model=steered.prototxt', '--iterations=1').stdout
    expect('\ne???1 Û ' in out and not steers.search(done.stdout + out), repr(out))
    write('steered.prototxt', net + "layer { name: 'l\\177' type: 'L' }")
    for words, code in (('check',), 1), (('info',), 1):
        done = deepnet(*words, 'steered.prototxt', code=code)
        out = done.stdout + done.stderr
        expect("'l?'" in out and not steers.search(out), repr(out))


@test
def info_says_what_a_net_is():
    out = deepnet('info', 'net.prototxt').stdout
    for word in ('InnerProduct', '20x1x8x8', '130'):
        expect(word in out, out)
    row = r'^(\S+) +(\w+) +(\d+) +(\d+)  (\S.*)$'
    layers = {r[0]: r[1:] for r in re.findall(row, out, re.M)}
    expect(list(layers) == ['d', 'ip', 'accuracy', 'loss'], out)
    expect(layers['ip'] == ('InnerProduct', '130', '5120', 'ip 20x2'), out)  # 2 * 20 * 64 * 2
    expect(layers['d'] == ('Data', '0', '0', 'data 20x1x8x8 label 20'), out)
    total = re.search(r'^4 layers, \d+ blobs, 130 parameters, (\d+) flops forward$', out, re.M)
    expect(int(total[1]) == sum(int(l[2]) for l in layers.values()), out)
    kinds = re.search(r'^memory in bytes: (.*), in all (\d+)$', out, re.M)
    parts = [(name, int(size)) for name, size in re.findall(r'([a-z][a-z ]*) (\d+)', kinds[1])]
    expect(('weights', 520) in parts and dict(parts)['blobs'] >= 4 * 20 * 64, out)
    expect(sum(size for _, size in parts) == int(kinds[2]), out)
    ops = deepnet('info', 'net.prototxt', '--ops').stdout
    expect(re.search(r'^ +\d+ fwd ip +GEMM .*-> 20x2  \[cpu:\S+', ops, re.M), ops)
    for line in ops.splitlines():  # each op its implementation; if not the first, why
        expect(re.search(r'  \[[a-z]+[:\]]', line), line)
        expect('[ref' not in line or re.search(r'\(declined: [a-z]+: [^:]+\)$', line), line)
    wired = deepnet('info', 'net.prototxt', '--wire').stdout
    expect('flops forward' not in wired and re.search(r'^ip .* \d+ +-  ip 20x2$', wired, re.M),
           f'what is only wired has no flops to count\n{wired}')
    only_ref = deepnet('info', 'net.prototxt', '--ops', '--backends=ref').stdout
    expect('[cpu' not in only_ref and '[ref' in only_ref, only_ref)
    plan = deepnet('info', 'net.prototxt', '--plan').stdout
    expect(re.search(r'^ +1 fwd +ip +\S+ +plain +\d+ +5120 +[\d.]+ +[\d.]+% .*GEMM', plan,
                     re.M), plan)
    expect('memory in bytes' in plan, plan)
    columns = re.compile(r'(?:plain|nhwc) +\d+ +\d+ +([\d.]+) +([\d.]+)%')
    slow, fast = (deepnet('info', 'net.prototxt', '--plan', f'--peak={peak}').stdout
                  for peak in ('0.01,0.02', '0.02,0.04'))
    expect(len(columns.findall(plan)) == len(columns.findall(slow)) > 3, slow)
    for (once, share), (half, same) in zip(columns.findall(slow), columns.findall(fast)):
        expect(abs(float(once) - 2 * float(half)) < 0.2 and share == same, f'{slow}\n{fast}')
    flops = re.search(r'^ +1 fwd .* 5120 +([\d.]+) ', slow, re.M)[1]
    expect(flops == '512.0' and ' ms at 0.01 GFLOP/s (bf16: 0.01) and 0.02 GB/s\n' in slow,
           slow)
    blank = re.compile(r' at the least .*|(?<=\d) +[\d.]+ +[\d.]+%')
    expect(blank.sub('', plan) == blank.sub('', slow), 'all else is as it was')
    for bad in ('1', '1,0', '1,2,', '1;2', '1,2,3,4', 'x'):
        expect('--peak is' in deepnet('info', 'net.prototxt', '--plan', '--peak=' + bad,
                                      code=2).stderr, bad)
    deepnet('info', 'net.prototxt', '--peak=1,2', code=2)
    write('folded.prototxt', FOLDED)
    plan = deepnet('info', 'folded.prototxt', '--plan', '--backends=cpu,ref').stdout
    expect(re.search(r'^ +0 fwd +c .*; keeps \d+ bytes in place of input 1$', plan, re.M), plan)
    expect(re.search(r'^ +\d+ prepare c .*; taken up at once by step 0$', plan, re.M), plan)
    expect('layer' in deepnet('info', 'net.prototxt', '--prototxt').stdout, 'prototxt')
    write('apart/net.prototxt', NET.replace('_lmdb', '_nowhere'))
    out = deepnet('info', 'apart/net.prototxt', '--phase=TRAIN').stdout
    expect('stand in' in out and re.search(r'bwd ip .*\[(cpu|ref)', out), out)


@test
def info_of_a_solver_lists_its_update():
    write('planned.prototxt', SOLVER.replace('"net', '"planned_net'))
    write('planned_net.prototxt', NET)
    step = re.compile(r'^ *(\d+) (\w+) +(?:\S+ +)?(\w+:?\S*) +plain +(\d+) +(\d+) +[\d.]+ '
                      r'+([\d.]+)%', re.M)
    for net, guessed in ((NET, False), (NET.replace('_lmdb', '_nowhere'), True)):
        write('planned_net.prototxt', net)
        plan = deepnet('info', '--solver=planned.prototxt', '--plan').stdout
        steps = step.findall(plan)
        expect([int(s[0]) for s in steps] == list(range(len(steps))), f'one list\n{plan}')
        expect(f'\n{len(steps)} steps; ' in plan and ('stand in' in plan) == guessed, plan)
        expect(abs(sum(float(s[5]) for s in steps) - 100) < 0.1 * len(steps), plan)
        updates = [s for s in steps if s[1] == 'update']
        # hyper, rate and decay of two weights; read and written: those, gradients and histories
        expect(updates == steps[-1:], plan)
        expect(guessed or int(updates[0][3]) == 4 * (4 + 4 + 6 * (128 + 2)), plan)
    plan = deepnet('info', 'planned_net.prototxt', '--plan', '--phase=TRAIN').stdout
    expect('update' not in plan, 'a net has no update')
    write('planned_net.prototxt', INNER)
    total = re.compile(r'^memory in bytes: .* in all (\d+)$', re.M)
    for words in (('--solver=planned.prototxt',), ('planned_net.prototxt', '--phase=TRAIN')):
        plan = deepnet('info', *words, '--plan').stdout
        readable = deepnet('info', *words, '--plan', '--compact=no').stdout
        expect(not re.search(r'^ *\d+ show ', plan, re.M), f'read by nobody\n{plan}')
        expect(int(total.search(plan)[1]) < int(total.search(readable)[1]), plan)
    write('planned_net.prototxt', NET)
    write('planned.prototxt', SOLVER.replace('"net', '"planned_net') + 'clip_gradients: 1')
    plan = deepnet('info', '--solver=planned.prototxt', '--plan').stdout
    expect(re.search(r'^ +\d+ update .*SCALE_CLIP', plan, re.M), plan)
    both = deepnet('info', 'net.prototxt', '--solver=planned.prototxt', code=2).stderr
    expect('takes one prototxt' in both, both)
    expect('ip' in deepnet('info', '--solver=planned.prototxt', '--wire').stdout, 'wired')


@test
def check_is_one_line_a_file():
    write('typo.prototxt', NET.replace('num_output', 'num_ouput'))
    write('bottom.prototxt', NET.replace('bottom: "data"', 'bottom: "dat"'))
    write('brace.prototxt', NET + 'layer {')
    out = deepnet('check', 'net.prototxt').stdout
    expect(out.startswith('net.prototxt: fine') and out.count('\n') == 1, out)
    out = deepnet('check', 'solver.prototxt').stdout
    expect(out.startswith('solver.prototxt: fine: solver of 3 layers'), out)
    for name, word in (('typo', 'num_output'), ('bottom', 'dat'), ('brace', '{'),
                       ('absent', 'No such file')):
        out = deepnet('check', name + '.prototxt', code=1).stdout
        expect(word in out.splitlines()[-1], out)
        expect(out.startswith(name + '.prototxt') and out.count('\n') == 1, out)
    out = deepnet('check', 'net.prototxt', 'typo.prototxt', 'bottom.prototxt', code=1).stdout
    expect(len(out.splitlines()) == 4 and '1 fine, 1 do not parse, 1 do not wire' in out, out)
    write('alone.prototxt', SOLVER.replace('net.prototxt', 'gone.prototxt'))
    out = deepnet('check', 'alone.prototxt', code=1).stdout
    expect("'gone.prototxt' is not there" in out, out)
    os.makedirs(os.path.join(folder.name, 'models', 'deep'), exist_ok=True)
    write('models/bars.prototxt', NET)
    write('models/deep/solver.prototxt', SOLVER.replace('net.prototxt', 'models/bars.prototxt'))
    there = os.path.join(folder.name, 'models', 'deep')
    out = deepnet('check', os.path.join(there, 'solver.prototxt'), cwd=there).stdout
    expect('fine: solver' in out, out)  # a path from the root of a repository
    write('shared.prototxt', 'input: "x" input_shape { dim: 1 dim: 3 }' + ''.join(
        'layer { name: "%s" type: "InnerProduct" bottom: "x" top: "%s" param { name: "w" } '
        'param { name: "b" } inner_product_param { num_output: 2 } }' % (n, n) for n in 'abc'))
    out = deepnet('check', 'shared.prototxt').stdout
    expect('4 layers, 8 parameters' in out, out)
    write('inside.prototxt', 'input: "x" input_shape { dim: 1 dim: 3 }' + ''.join(
        'layer { name: "%s" type: "InnerProduct" bottom: "x" top: "%s" param { name: "w" } '
        'param { name: "b" } inner_product_param { num_output: 2 } }' % (n, n)
        for n in ('a/b', 'a')))
    out = deepnet('check', 'inside.prototxt').stdout  # both names begin as 'a/'
    expect('3 layers, 8 parameters' in out, out)
    write('staged.prototxt',
          NET.replace('phase: TEST }\n  data', 'phase: TEST stage: "dev" }\n  data'))
    out = deepnet('check', 'staged.prototxt').stdout
    expect(out.rstrip().endswith('in stage dev'), out)
    sliced = """
        layer { name: "d" type: "Data" top: "data" data_param { source: "x" batch_size: 4 } }
        layer { name: "s" type: "Slice" bottom: "data" top: "a" top: "b"
                slice_param { slice_point: 1 } }
        layer { name: "r" type: "Reshape" bottom: "a" top: "c"
                reshape_param { shape { dim: 0 dim: 10 } } }
        layer { name: "ip" type: "InnerProduct" bottom: "c" top: "ip"
                inner_product_param { num_output: 3 } }"""
    write('sliced.prototxt', sliced)
    write('quoted.prototxt',
          sliced.replace('"d"', r'"d\"q\n\\"').replace('"data"', r'"layer {\n\'\\ \303\251"'))
    write('sliced_solver.prototxt', SOLVER.replace('net.prototxt', 'sliced.prototxt'))
    why = "layer 'r': the bottom has 200704 values, the new shape 40"
    for words in (['sliced.prototxt'], ['quoted.prototxt'], ['sliced_solver.prototxt']):
        out = deepnet('check', *words).stdout
        expect(out.rstrip().endswith('4 x 3 x 224 x 224; no such data fits ' + why), out)
        out = json.loads(deepnet('check', '--json', *words).stdout)
        expect(out['files'][0]['misfit'] == why, str(out))
    for words in (['sliced.prototxt'], ['quoted.prototxt'],
                  ['--solver=sliced_solver.prototxt']):
        out = deepnet('info', *words, code=1)
        expect('as does not fit ' + why in out.stderr + out.stdout, out.stderr)
    write('noted.prototxt', NET.replace('num_output: 2', 'num_output: 2 engine: "MKLDNN"'))
    expect(deepnet('check', 'noted.prototxt').stdout.endswith(', 1 note\n'), 'one note')
    out = deepnet('check', '--notes', 'noted.prototxt').stdout
    expect("'engine' of InnerProductParameter steers" in out.splitlines()[1], out)
    out = deepnet('check', '--json', 'noted.prototxt').stdout
    expect(len(json.loads(out)['files'][0]['notes']) == 1, out)
    out = deepnet('check', '--json', 'net.prototxt', 'typo.prototxt', code=1).stdout
    whole = json.loads(out)
    expect([f['fine'] for f in whole['files']] == [True, False], str(whole))


@test
def check_reads_a_binary_net_by_its_dialect():
    def field(number, content):  # of bytes, or a small number
        if isinstance(content, int):
            return bytes([number << 3, content])
        tag = number << 3 | 2
        tag = bytes([tag]) if tag < 128 else bytes([tag & 127 | 128, tag >> 7])
        return tag + bytes([len(content)]) + content

    shape = b''.join(field(1, n) for n in (2, 3, 4))
    data = field(1, b'x') + field(2, b'Input') + field(4, b'x') + field(143, field(1, shape))
    turn = (field(1, b'p') + field(2, b'Permute') + field(3, b'x') + field(4, b'y') +
            field(202, b''.join(field(1, n) for n in (2, 0, 1))))  # 202: SSD's permute_param
    with open(os.path.join(folder.name, 'ssd.bin'), 'wb') as out:
        out.write(field(100, data) + field(100, turn))
    for words in ([], ['--dialect=ssd']):
        out = deepnet('check', 'ssd.bin', *words, '--notes').stdout
        expect('fine: net of 2 layers' in out and 'field 202' not in out, out)
    out = deepnet('check', 'ssd.bin', '--dialect=caffe', '--notes').stdout
    expect('field 202 of LayerParameter is of no dialect known here' in out, out)
    out = deepnet('check', 'ssd.bin', '--dialect=mxnet', code=1).stdout
    expect("there is no dialect 'mxnet'" in out, out)


@test
def upgrade_writes_today_s_language():
    write('old.prototxt',
          'name: "o" # kept\nlayers { name: "r" type: RELU bottom: "a" top: "b" }')
    out = deepnet('upgrade', 'old.prototxt', '-').stdout
    expect(out.startswith('name: "o"  # kept\nlayer {') and 'type: "ReLU"' in out, out)
    deepnet('upgrade', 'old.prototxt', 'new.caffemodel')
    out = deepnet('upgrade', 'new.caffemodel', '-', '--text', '--dialect=caffe').stdout
    expect('type: "ReLU"' in out and '#' not in out, out)
    done = deepnet('upgrade', 'new.caffemodel', 'x', '--dialect=x', code=1)
    expect("there is no dialect 'x'" in done.stderr, done.stderr)
    deepnet('upgrade', 'old.prototxt', code=2)
    deepnet('upgrade', 'old.prototxt', 'x', '--text', '--binary', code=2)
    write('odd.prototxt', 'strange_thing: 5')
    done = deepnet('upgrade', 'odd.prototxt', '-')
    expect(done.stdout == 'strange_thing: 5\n' and 'kept as it is' in done.stderr, done.stderr)
    expect(not deepnet('upgrade', 'odd.prototxt', 'y.txt', '--quiet').stderr, 'quiet')


def mean_file():
    """A BlobProto of 1 x 1 x 8 x 8 halves."""
    values = struct.pack('<64f', *[0.5] * 64)
    return bytes([8, 1, 16, 1, 24, 8, 32, 8, 42, 128, 2]) + values


@test
def paths_mean_the_working_directory_then_the_prototxt_s_own():
    """net, source, mean_file and snapshot_prefix: what is in the working directory counts, also
    where it is no good; what is not there is taken from beside the prototxt."""
    here, own = (os.path.join(folder.name, name) for name in ('here', 'own'))
    os.makedirs(here)
    net = NET.replace('scale: 0.00390625', 'scale: 0.00390625 mean_file: "in/mean"')
    for name in ('train', 'test'):
        net = net.replace(name + '_lmdb', f'in/{name}_lmdb')
        shutil.copytree(os.path.join(folder.name, name + '_lmdb'), f'{own}/in/{name}_lmdb')
    write('own/in/mean', mean_file())
    write('own/net', net)
    solver = write('own/solver.prototxt', SOLVER.replace('net.prototxt', 'net')
                   .replace('"snap"', '"out/snap"'))
    train = ('train', '--solver=' + solver, '--iterations=2', '--quiet')
    done = deepnet(*train, cwd=here, code=1)
    expect(done.stderr == f"deepnet: {solver}: snapshot_prefix 'out/snap': there is no folder "
           "'out'\n", done.stderr)
    os.makedirs(own + '/out')
    deepnet(*train, cwd=here)
    expect(exists('own/out/snap_iter_2.caffemodel') and not os.listdir(here), 'beside')
    os.makedirs(here + '/out')
    deepnet(*train, cwd=here)
    expect(exists('here/out/snap_iter_2.caffemodel'), 'the working directory')
    for name, error in (('in/mean', 'in/mean'), ('in/train_lmdb/data.mdb', 'in/train_lmdb'),
                        ('in/test_lmdb/data.mdb', 'in/test_lmdb'), ('net', 'gibberish')):
        write('here/' + name, 'gibberish')  # is taken, and refused, before the good one
        done = deepnet(*train, cwd=here, code=1)
        expect(error in done.stderr and 'own/in' not in done.stderr, done.stderr)
        good, bad = os.path.join(own, name), os.path.join(here, name)
        shutil.copy(good, bad)
        os.rename(good, good + '.away')
        deepnet(*train, cwd=here)  # now nothing good is beside the prototxt
        os.rename(good + '.away', good)


@test
def a_last_snapshot_without_a_folder_is_refused_at_once():
    write('nowhere.prototxt',
          SOLVER.replace('snapshot: 40', '').replace('"snap"', '"gone/snap"'))
    done = deepnet('train', '--solver=nowhere.prototxt', code=1)
    expect(done.stderr == "deepnet: snapshot_prefix 'gone/snap': there is no folder 'gone'\n"
           and not done.stdout, done.stdout + done.stderr)


@test
def solver_mode_gpu_without_one_is_a_notice():
    write('gpu.prototxt', SOLVER.replace('CPU', 'GPU'))
    why = re.match('no device: (.*)', deepnet('devices').stdout.splitlines()[-1])
    if not why:
        raise Skip('there is a device')
    for backends in [], ['--backends=ref']:
        done = deepnet('train', '--solver=gpu.prototxt', '--iterations=1', *backends)
        reason, *rest = done.stderr.splitlines()
        expect(reason in ('GPU 0: ' + why.group(0), 'GPU 0: ' + why.group(1)) and rest ==
               ['solver_mode GPU: the context has no device, the CPU computes'], done.stderr)
    done = deepnet('train', '--solver=gpu.prototxt', '--backends=typo', code=1)
    expect("deepnet: backend 'typo'" in done.stderr, done.stderr)
    done = deepnet('train', '--solver=gpu.prototxt', '--iterations=1', '--quiet')
    expect(not done.stdout + done.stderr, done.stderr)
    done = deepnet('train', '--solver=gpu.prototxt', '--gpu=0', code=1)
    expect('GPU 0: ' in done.stderr, done.stderr)  # it must be there if it was asked for


def with_cuda(*arguments, code=0, **env):
    """deepnet train on the CUDA module over fakes of CUDA, which has two devices."""
    module = os.environ.get('DEEPNET_FAKE_CUDA')
    if not module:
        raise Skip('DEEPNET_FAKE_CUDA names no module')
    return deepnet('train', *arguments, f'--backends={module},ref', code=code,
                   LD_LIBRARY_PATH=os.path.dirname(module), **env)


@test
def solver_mode_gpu_is_that_gpu_or_a_failure():
    for device, code, says, env in (
            (1, 0, '', {}),
            (5, 1, 'GPU 5: .*device 6 was asked for; there are 2', {}),
            (0, 1, 'GPU 0: .*bytes of device memory.* asked for', {'FAKE_CUDA_MEMORY': '1'}),
            (0, 1, 'GPU 0: .*the driver knows CUDA 11.4', {'FAKE_CUDA_DRIVER': '11040'})):
        write('gpu.prototxt', SOLVER.replace('CPU', f'GPU device_id: {device}'))
        done = with_cuda('--solver=gpu.prototxt', '--iterations=1', '--log=gpu.jsonl',
                         code=code, **env)
        expect(re.fullmatch(f'(deepnet: solver_mode GPU: {says}.*\n)?', done.stderr) and
               bool(says) == bool(done.stderr), f'{device}, {env}: {done.stderr}')
        if not code:
            expect(records('gpu.jsonl')[0]['backend'].startswith('cuda'), 'it computes')
    done = with_cuda('--solver=gpu.prototxt', code=1, FAKE_CUDA_NONE='1')
    expect('no device: ' in done.stderr, done.stderr)  # its module was asked for


@test
def several_gpus_train_together():
    write('gpus.prototxt', SOLVER)
    fake = os.environ.get('DEEPNET_FAKE_DEVICE')
    if not fake:
        raise Skip('DEEPNET_FAKE_DEVICE names no module')
    done = deepnet('train', '--solver=gpus.prototxt', '--iterations=6', '--log=gpus.jsonl',
                   '--gpu=0,1', f'--backends={fake},ref')
    log = [json.loads(line) for line in open(os.path.join(folder.name, 'gpus.jsonl'))]
    expect(log[0]['devices'] == 2 and log[0]['gradients'] == 'host' and
           log[-1]['event'] == 'end' and log[-1]['how'] == 'done', log[0])
    expect('done: 6 iterations' in done.stdout, done.stdout)
    for wrong in '0,0', '0,', 'a', '0;1', '':
        expect('--gpu takes' in deepnet('train', '--solver=gpus.prototxt', f'--gpu={wrong}',
                                        code=2).stderr, wrong)
    expect('one GPU' in deepnet('time', '--model=net.prototxt', '--gpu=0,1', code=2).stderr,
           'time takes one')
    expect('one GPU' in deepnet('time', '--model=net.prototxt', '--gpu=all', code=2).stderr,
           'time takes one')
    deepnet('train', '--solver=gpus.prototxt', '--iterations=1', '--gpu=none')
    deepnet('train', '--solver=gpus.prototxt', '--iterations=1', '--log=gpus.jsonl',
            '--gpu=all', '--threads=1', f'--backends={fake},ref')  # 64 of them answer
    with open(os.path.join(folder.name, 'gpus.jsonl')) as file:
        expect(json.loads(file.readline())['devices'] == 64, 'all of them')
    expect(deepnet('train', '--solver=gpus.prototxt', '--gpu=all', '--backends=ref',
                   code=1).stderr.strip(), 'there is none')


@test
def gradients_of_gpus_travel_by_nccl():
    write('gpus.prototxt', SOLVER)
    done = with_cuda('--solver=gpus.prototxt', '--iterations=6', '--log=gpus.jsonl',
                     '--gpu=all')
    start, *_, end = records('gpus.jsonl')
    expect((start['devices'], start['gradients'], end['how']) == (2, 'cuda', 'done') and
           'done: 6 iterations' in done.stdout, (start, done.stdout))
    expect('device 3 was asked for; there are 2' in
           with_cuda('--solver=gpus.prototxt', '--gpu=0,2', code=1).stderr, 'there is no third')


# ---- the progress bar: on a terminal, and nowhere else --------------------------------------

BAR = re.compile(r'training \[(=*)(>?) *\] (\d+)/(\d+)  ([\d.]+)/s  ((?:\d+:)?\d+:\d\d|\?) left'
                 r'  (?:loss [\d.e+-]+|testing)')


def on_terminal(*arguments, columns=120, bars=None, code=0, **env):
    """What the command writes to a terminal of so many columns, as text; SIGINT after so many
    bars."""
    try:
        master, slave = pty.openpty()
    except OSError as error:  # a container without /dev/pts
        raise Skip(f'no terminal to be had: {error}')
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack('4H', 24, columns, 0, 0))
    process = subprocess.Popen([DEEPNET, *arguments], cwd=folder.name, stdin=subprocess.DEVNULL,
                               stdout=slave, stderr=slave, env={**os.environ, **env})
    os.close(slave)
    out, stopped = b'', False
    while True:
        try:
            piece = os.read(master, 4096)
        except OSError:  # the terminal's other side is closed
            break
        if not piece:
            break
        out += piece
        if bars and not stopped and out.count(b' left') >= bars:
            process.send_signal(signal.SIGINT)
            stopped = True
    os.close(master)
    expect(process.wait(60) == code, f'exit code {process.returncode}\n{out}')
    return out.decode()


def long_solver():
    write('long.prototxt', SOLVER.replace('max_iter: 60', 'max_iter: 100000000')
          .replace('"snap"', '"stopped"').replace('snapshot: 40', '')
          .replace('display: 10', 'display: 1000').replace('interval: 20', 'interval: 100000'))


def seconds(clock):
    total = 0
    for part in clock.split(':'):
        total = 60 * total + int(part)
    return total


@test
def a_terminal_shows_a_bar_with_rate_and_time_left():
    long_solver()
    out = on_terminal('train', '--solver=long.prototxt', bars=6, code=130, TERM='xterm')
    drawn = re.findall('\r(training [^\r\033]*)\033\\[K', out)
    expect(len(drawn) >= 6, out)
    before = -1
    for text in drawn:
        bar = BAR.fullmatch(text)
        expect(bar, text)
        done, last, rate = int(bar[3]), int(bar[4]), float(bar[5])
        expect(before <= done and last == 100000000, text)
        expect((bar[6] == '?') == (done == 0), text)
        if done:
            expect(abs(seconds(bar[6]) - min((last - done) / rate, 359999)) <=
                   1 + 0.01 * (last - done) / rate, text)
        before = done
    expect(before > 0, 'it moves')
    lines = [line.split('\r')[-1].split('\033[K')[-1] for line in out.split('\r\n')]
    expect(any(re.fullmatch(r'iteration \d+  loss \S+  rate 0.1  \S+ s', line)
               for line in lines), f'lines stand above the bar:\n{out}')
    expect('left' not in lines[-1] and 'left' not in lines[-2], 'the bar is gone at the end')


@test
def the_bar_fills_and_fits_the_terminal():
    write('short.prototxt', SOLVER.replace('max_iter: 60', 'max_iter: 3000')
          .replace('test_interval: 20', 'test_interval: 10000'))
    out = on_terminal('train', '--solver=short.prototxt', columns=200, TERM='xterm')
    done = [(int(b[2]), len(b[0])) for b in
            re.findall(r'\[(=*)(>?) *\] (\d+)/3000', out)]
    expect(done[-1] == (3000, 24), f'full at the end: {done[-5:]}')
    expect(done == sorted(done), f'{done}')
    out = on_terminal('train', '--solver=short.prototxt', columns=44, TERM='xterm')
    widths = [len(text) for text in re.findall('\r(training [^\r\033]*)\033', out)]
    expect(widths and max(widths) == 43, f'{widths}')
    out = on_terminal('test', '--model=net.prototxt', '--weights=snap_iter_60.caffemodel',
                      TERM='xterm')
    expect(re.search(r'\rtesting \[=+>? *\] \d+/50 ', out), out)


@test
def no_bar_where_it_would_be_in_the_way():
    for options, env in ((('--quiet',), {}), ((), {'TERM': 'dumb'})):
        out = on_terminal('train', '--solver=solver.prototxt', *options, **env)
        expect('\033' not in out and ' left' not in out, out)
    out = deepnet('train', '--solver=solver.prototxt')
    expect(not out.stderr, out.stderr)
    lines = out.stdout.splitlines()
    expect(len(lines) == 4 + 7 + 2 + 1, out.stdout)  # tests, displays, snapshots, the end
    for line in lines[:-1]:
        expect(re.fullmatch(r'iteration \d+  (test:(  \w+ \S+)+|loss \S+  rate 0.1  \S+ s|'
                            r'snapshot snap_iter_\d+\.solverstate)', line), line)


def interrupted(number):
    long_solver()
    process = subprocess.Popen([DEEPNET, 'train', '--solver=long.prototxt', '--log=stop.jsonl'],
                               cwd=folder.name, text=True, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE)
    deadline = time.time() + 60
    while time.time() < deadline and process.stdout.readline():
        if any(r['event'] == 'display' for r in records_so_far('stop.jsonl')):
            break
    process.send_signal(number)
    out, error = process.communicate(timeout=60)
    expect(process.returncode == 130, f'exit code {process.returncode}\n{out}\n{error}')
    end = records('stop.jsonl')[-1]
    expect(end['how'] == 'interrupted', str(end))
    expect(exists(f'stopped_iter_{end["iteration"]}.solverstate'), str(end))


@test
def interrupt_takes_a_snapshot():
    interrupted(signal.SIGINT)


@test
def termination_takes_a_snapshot():
    interrupted(signal.SIGTERM)


@test
def a_hangup_takes_a_snapshot_and_training_goes_on():
    long_solver()
    process = subprocess.Popen([DEEPNET, 'train', '--solver=long.prototxt', '--log=hup.jsonl'],
                               cwd=folder.name, text=True, stdout=subprocess.DEVNULL,
                               stderr=subprocess.PIPE, preexec_fn=lambda: signal.signal(
                                   signal.SIGHUP, signal.SIG_DFL))  # under nohup as well
    seen, deadline = [], time.time() + 60

    def wait_for(event):
        while time.time() < deadline and event not in seen:
            seen[:] = [r['event'] for r in records_so_far('hup.jsonl')]
            time.sleep(0.01)
        expect(event in seen and process.poll() is None, f'{event}: {seen[-3:]}')
    wait_for('display')
    process.send_signal(signal.SIGHUP)
    wait_for('snapshot')
    process.send_signal(signal.SIGINT)
    error = process.communicate(timeout=60)[1]
    expect(process.returncode == 130, f'exit code {process.returncode}\n{error}')
    taken = [r for r in records('hup.jsonl') if r['event'] == 'snapshot']
    expect(len(taken) == 2 and all(exists(r['path']) for r in taken), str(taken))


@test
def a_second_interrupt_ends_it_at_once():
    """An iteration that would take hours: the first interrupt waits for its end."""
    write('slow.prototxt', SOLVER.replace('max_iter: 60', 'max_iter: 60 iter_size: 100000000')
          .replace('test_iter: 4 test_interval: 20', '').replace('"snap"', '"slow"'))
    process = subprocess.Popen([DEEPNET, 'train', '--solver=slow.prototxt', '--log=slow.jsonl'],
                               cwd=folder.name, text=True, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE)
    deadline = time.time() + 60
    while not records_so_far('slow.jsonl') and time.time() < deadline:
        time.sleep(0.01)
    begun = processor_seconds(process)  # on a busy machine it may not run for a while
    while processor_seconds(process) < begun + 0.3 and time.time() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    try:
        process.wait(1)
        expect(False, f'it ended within its iteration: {process.communicate()}')
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
    expect(process.wait(30) == 130, f'exit code {process.returncode}')
    expect(not glob.glob(os.path.join(folder.name, 'slow_iter*')), 'no snapshot was taken')


@test
def failures_are_one_line():
    write('nodata.prototxt', NET.replace('train_lmdb', 'absent_lmdb'))
    write('nodata_solver.prototxt', SOLVER.replace('net.prototxt', 'nodata.prototxt'))
    done = deepnet('train', '--solver=nodata_solver.prototxt', code=1)
    expect('absent_lmdb' in done.stderr and done.stderr.count('\n') == 1, done.stderr)
    done = deepnet('train', '--solver=absent.prototxt', code=1)
    expect('absent.prototxt' in done.stderr and done.stderr.count('\n') == 1, done.stderr)


@test
def output_that_is_lost_is_a_failure():
    """A full disk behind a log, a graph or standard output, also where lines go out singly."""
    if not os.path.exists('/dev/full'):
        raise Skip('there is no /dev/full')
    for line in (['train', '--solver=solver.prototxt', '--iterations=2', '--log=/dev/full'],
                 ['test', '--model=net.prototxt', '--weights=snap_iter_60.caffemodel',
                  '--iterations=1', '--log=/dev/full'], ['draw', 'net.prototxt', '/dev/full']):
        done = deepnet(*line, code=1)
        expect(done.stderr.endswith('deepnet: /dev/full: it could not be written\n'),
               done.stderr)
    for line in (['check', 'net.prototxt'], ['info', 'net.prototxt'],
                 ['train', '--solver=solver.prototxt', '--iterations=2']):
        with open('/dev/full', 'w', encoding='utf-8') as full:
            done = subprocess.run([DEEPNET, *line], cwd=folder.name, stdout=full, text=True,
                                  stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
        expect(done.returncode == 1, f'{line}: exit code {done.returncode}')
        expect(done.stderr.endswith('deepnet: the output could not be written\n'), done.stderr)


@test
def closed_standard_files_are_not_written_over():
    """A log gets no number of theirs: what is printed would stand between its lines."""
    for closed in ('>&-', '<&- >&- 2>&-'):
        done = subprocess.run(['sh', '-c', f'exec "$0" "$@" {closed}', DEEPNET, 'train',
                               '--solver=solver.prototxt', '--iterations=2',
                               '--log=alone.jsonl'],
                              cwd=folder.name, stdin=subprocess.DEVNULL, timeout=120)
        expect(done.returncode == 0, f'{closed}: exit code {done.returncode}')
        with open(os.path.join(folder.name, 'alone.jsonl'), encoding='utf-8') as log:
            expect(all(json.loads(line)['event'] for line in log), closed)


@test
def draw_writes_dot_and_svg():
    out = deepnet('draw', 'net.prototxt').stdout
    expect(out.startswith('digraph "bars"') and r'[label="&nbsp;data\l&nbsp;' in out, out)
    write('names.prototxt', 'name: "a\\"<&>" layer { name: "x<1>&\\"" type: "Input" top: "x" '
          'input_param { shape { dim: 1 dim: 2 } } } layer { name: "r" type: "ReLU" '
          'bottom: "x" top: "x" } layer { name: "s" type: "Softmax" bottom: "x" top: "s" }')
    out = deepnet('draw', 'names.prototxt').stdout
    expect('<b>x&lt;1&gt;&amp;&quot;</b>' in out and '<b>r</b>' in out and 'l1 [' not in out and
           'l0 -> l2' in out, out)  # r works in place: it shares a box
    deepnet('draw', 'net.prototxt', 'net.dot')
    if shutil.which('dot'):
        deepnet('draw', 'net.prototxt', 'net.svg')
        deepnet('draw', 'names.prototxt', 'names.svg')
        expect(exists('net.svg'), 'net.svg')
    else:
        deepnet('draw', 'net.prototxt', 'net.svg', code=1)


@test
def devices_lists_the_host():
    out = deepnet('devices').stdout
    expect(out.startswith('host') and 'ref' in out, out)


@test
def plot_draws_a_log():
    plot = os.path.join(SOURCE, 'examples', 'mnist', 'plot.py')
    out = subprocess.run([sys.executable, plot, 'train.jsonl', 'plot.svg'], cwd=folder.name,
                         text=True, timeout=60, stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT)
    expect(out.returncode == 0 and 'accuracy' in out.stdout, out.stdout)
    expect(exists('plot.svg'), 'plot.svg')


if __name__ == '__main__':
    with folder:
        sys.exit(main())
