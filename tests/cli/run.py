#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""The deepnet command from outside: exit codes, what it prints, files, interrupts.

run.py SOURCE DEEPNET: works in a temporary folder on 400 small images of its own.
"""
import json
import os
import random
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time

SOURCE, DEEPNET = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
sys.path.insert(0, os.path.join(SOURCE, 'tests'))
from tap import expect, main, test  # noqa: E402

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
SOLVER = '''net: "net.prototxt" test_iter: 4 test_interval: 20 base_lr: 0.1 momentum: 0.9
lr_policy: "fixed" display: 10 max_iter: 60 snapshot: 40 snapshot_prefix: "snap" random_seed: 3
solver_mode: CPU
'''


def deepnet(*arguments, code=0, cwd=None):
    done = subprocess.run([DEEPNET, *arguments], cwd=cwd or folder.name, text=True, timeout=120,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE)
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


def exists(name):
    return os.path.exists(os.path.join(folder.name, name))


@test
def usage_errors_are_2_and_help_is_0():
    deepnet(code=2)
    deepnet('trane', code=2)
    for command in ('train', 'test', 'time', 'info', 'check', 'convert', 'draw',
                    'upgrade'):
        expect('usage' in deepnet(command, code=2).stderr, command)
        expect('--' in deepnet(command, '--help').stdout + '--', command)
        expect('option' in deepnet(command, '--nonsense', code=2).stderr, command)
    deepnet('train', '--solver=x', '--iterations=many', code=2)
    deepnet('train', '--solver', code=2)
    text = deepnet('--help').stdout
    expect('130' in text and 'convert' in text, text)
    expect(re.match(r'deepnet \d+\.\d+\.\d+\n$', deepnet('--version').stdout), 'version')


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


@test
def time_prints_each_layer():
    out = deepnet('time', '--model=net.prototxt', '--iterations=3').stdout
    expect(re.search(r'^ip +InnerProduct +[\d.]+ +[\d.]+ +[\d.]+ +[\d.]+', out, re.M), out)
    expect(re.search(r'^all ', out, re.M), out)
    rows = deepnet('time', '--model=net.prototxt', '--iterations=2', '--json').stdout
    expect(json.loads(rows.splitlines()[-1])['layer'] == 'all', rows)


@test
def info_says_what_a_net_is():
    out = deepnet('info', 'net.prototxt').stdout
    for word in ('InnerProduct', '20x1x8x8', '130'):
        expect(word in out, out)
    expect(re.search(r'\b(cpu|ref)\b', deepnet('info', 'net.prototxt', '--ops').stdout), 'ops')
    plan = deepnet('info', 'net.prototxt', '--plan').stdout
    expect(re.search(r'^ +1 fwd +ip +\S+ +plain +\d+ +5120 +[\d.]+ +[\d.]+% .*GEMM', plan, re.M), plan)
    expect('memory in bytes' in plan, plan)
    expect('layer' in deepnet('info', 'net.prototxt', '--prototxt').stdout, 'prototxt')
    write('apart/net.prototxt', NET.replace('_lmdb', '_nowhere'))
    out = deepnet('info', 'apart/net.prototxt', '--phase=TRAIN').stdout
    expect('stand in' in out and re.search(r'bwd ip .*\[(cpu|ref)', out), out)


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
    write('staged.prototxt',
          NET.replace('phase: TEST }\n  data', 'phase: TEST stage: "dev" }\n  data'))
    out = deepnet('check', 'staged.prototxt').stdout
    expect(out.rstrip().endswith('in stage dev'), out)
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


@test
def paths_mean_the_working_directory_then_the_prototxt_s_own():
    elsewhere = os.path.join(folder.name, 'elsewhere')
    os.makedirs(elsewhere, exist_ok=True)
    solver = os.path.join(folder.name, 'solver.prototxt')
    deepnet('train', '--solver=' + solver, '--iterations=1', '--quiet', cwd=elsewhere)


@test
def solver_mode_gpu_without_one_is_a_notice():
    write('gpu.prototxt', SOLVER.replace('CPU', 'GPU'))
    done = deepnet('train', '--solver=gpu.prototxt', '--iterations=1')
    if 'no device' in deepnet('devices').stdout:
        expect(done.stderr.count('\n') == 1 and 'GPU' in done.stderr, done.stderr)
        done = deepnet('train', '--solver=gpu.prototxt', '--gpu=0', code=1)
        expect(done.stderr.strip(), 'a GPU that was asked for must be there')


def interrupted(number):
    write('long.prototxt', SOLVER.replace('max_iter: 60', 'max_iter: 100000000')
          .replace('"snap"', '"stopped"').replace('snapshot: 40', ''))
    process = subprocess.Popen([DEEPNET, 'train', '--solver=long.prototxt', '--log=stop.jsonl'],
                               cwd=folder.name, text=True, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE)
    deadline = time.time() + 60
    while time.time() < deadline:
        if 'display' in process.stdout.readline() or exists('stop.jsonl'):
            if any(r['event'] == 'display' for r in records('stop.jsonl')):
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
def failures_are_one_line():
    write('nodata.prototxt', NET.replace('train_lmdb', 'absent_lmdb'))
    write('nodata_solver.prototxt', SOLVER.replace('net.prototxt', 'nodata.prototxt'))
    done = deepnet('train', '--solver=nodata_solver.prototxt', code=1)
    expect('absent_lmdb' in done.stderr and done.stderr.count('\n') == 1, done.stderr)
    done = deepnet('train', '--solver=absent.prototxt', code=1)
    expect('absent.prototxt' in done.stderr and done.stderr.count('\n') == 1, done.stderr)


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
