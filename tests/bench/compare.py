#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""The same nets in deepnet, PyTorch, OpenCV's dnn and Caffe, in turns, in one run.

usage: compare.py --all                     the tables: five nets, both jobs, 1 and 2 threads
       compare.py --nets lenet,resnet50 --jobs train,infer,infer1 --threads 1 --rounds 5
       compare.py --device deepnet-cuda.so --nets resnet50 --batch largest --limit 120
                                               f32, TF32 and bf16 of PyTorch and deepnet there

Every engine and mode runs in a process of its own (worker.py), one asked at a time; a round
asks each for --seconds of steps. Printed are medians over the rounds in milliseconds a step,
the ratio of each to deepnet's best in the same round with its spread, and the peak of resident
memory (and what of it came after the engine was loaded). Before it is timed every engine must
give deepnet's losses over three steps, or its probabilities, from the same weights and input.
At the end each row is held against what deepnet should reach (goals.py): `met`, `not met`, or
`not measured` where the rival is not there; on a device `met without compile` where PyTorch's
best had no mode of torch.compile to beat. A mode that was left out counts for nobody. The
exit status is 1 if a mode of deepnet failed, or computes something else on a device; goals that
are missed make it 1 with --judge alone.

jobs: train (forward, backward, SGD with momentum), infer, infer1 (batch 1). With --clock cpu
the ratios are of processor time, which at one thread a busy machine hardly disturbs. --torch,
--opencv, --caffe name the Python that has each; one that cannot be imported is left out, and
said so. PyTorch runs with the allocator's thresholds raised and huge pages, but for the mode
`default`. With --device memory is the device's, by nvidia-smi every 20 ms, as each process is
started alone; what the two take for the driver's context is in both. `--batch largest` is then
the largest that both hold in a precision, each of which has its row: what deepnet can double
the net's own batch to, halved until PyTorch can do a step too, or half as much again. --limit
ends a run in time: what is measured by then is judged, and rounds of an engine that was to have
more are marked.
"""
import argparse
import ctypes
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import numpy as np  # noqa: E402
import goals  # noqa: E402

PRECISIONS = ('tf32', 'bf16', 'f32')  # of a device, in the order in which they are timed
TABLE = ['lenet', 'alexnet', 'googlenet', 'resnet50', 'mobilenet_v1']
DIFFERENT = 256  # images in an input; a larger batch has them again, as making them takes long
TUNED = {'MALLOC_MMAP_MAX_': '0', 'MALLOC_TRIM_THRESHOLD_': '-1', 'MALLOC_TOP_PAD_': '67108864',
         'GLIBC_TUNABLES': 'glibc.malloc.hugetlb=1'}
LAST = {'channels_last': True, 'env': TUNED, 'sgd': {'fused': True}}

# engine, mode's name, mode; slow ones compile for a minute and run with --full alone.
TRAIN = [('torch', 'default', {'sgd': {'foreach': True}}), ('torch', 'channels-last', LAST),
         ('torch', 'compile', dict(LAST, compile=True, slow=True)), ('caffe', '', {})]
INFER = [('torch', 'default', {}), ('torch', 'channels-last', LAST),
         ('torch', 'frozen', dict(LAST, freeze=True)),
         ('torch', 'optimized', dict(freeze=True, optimize=True, env=TUNED)),
         ('torch', 'compile', dict(LAST, compile=True)),
         ('opencv', '', {}), ('caffe', '', {})]
TRAIN_BF16 = [('torch', 'bf16', dict(LAST, bf16=True)),
              ('torch', 'bf16-compile', dict(LAST, bf16=True, compile=True, slow=True))]
INFER_BF16 = [('torch', 'bf16-frozen', dict(LAST, bf16=True, freeze=True)),
              ('torch', 'bf16-compile', dict(LAST, bf16=True, compile=True))]

# With --device, of each precision and layout: eager, recorded as a CUDA graph, compiled, and
# compiled to graphs (max-autotune, which does that too, tries kernels for many minutes a net).
# cudnn.benchmark is on. All but eager is of the layout that usually wins, of the other with
# --full.
HOW = {'': {}, '-graph': {'graph': True}, '-compile': {'compile': 'default'},
       '-compile-graph': {'compile': 'reduce-overhead'}}
DEVICE = [('torch', p + ('-last' if last else '') + how,
           {p: True, 'channels_last': last, 'sgd': {'fused': True}, **HOW[how],
            'slow': bool(how) and last == (p == 'f32')})
          for p in ('f32', 'tf32', 'bf16') for last in (False, True) for how in HOW]


# ---- what a job is --------------------------------------------------------------------------

def as_dict(message):
    """A prototxt message as plain data, set fields only."""
    out = {}
    for field, value in message.ListFields():
        name = field if isinstance(field, str) else field.name
        if hasattr(value, 'ListFields'):
            out[name] = as_dict(value)
        elif isinstance(value, (str, int, float, bool)):
            out[name] = value
        else:
            out[name] = [as_dict(v) if hasattr(v, 'ListFields') else v for v in value]
    return out


class Case:
    """A net in one form and batch: its text, weights, input and labels, the same for all. One
    that is not filled is for finding out whether it can run: weights and input stay as made."""

    def __init__(self, folder, name, train, batch, dropout=True, filled=True):
        import deepnet
        import nets
        self.name, self.train = name, train
        net = nets.build(name, train, batch, dropout)
        shape = tuple(net.layer[0].input_param.shape[0].dim)
        wired = deepnet.Net(text=str(net), phase=deepnet.TRAIN if train else deepnet.TEST,
                            wire_only=True)
        losses = [(l.top[0], (list(l.loss_weight) or [1.0])[0]) for l in net.layer
                  if l.type == 'SoftmaxWithLoss']
        rng = np.random.RandomState(3)
        self.job = {
            'train': train, 'batch': shape[0], 'shape': shape, 'prototxt': str(net),
            'layers': [as_dict(l) for l in net.layer], 'losses': losses, 'folder': folder,
            'shapes': {b: list(blob.shape) for b, blob in wired.blobs.items()},
            'rate': 1e-3, 'momentum': 0.9, 'decay': 5e-4,
            'labels': rng.randint(0, 10, shape[0]).tolist()}
        if filled:
            self.job.update(self.weights(folder, wired, net, rng))
            self.job['input'] = os.path.join(folder, '%s_%d_input' % (name, shape[0]))
            some = rng.uniform(-1, 1, (min(shape[0], DIFFERENT), *shape[1:])).astype('<f4')
            np.resize(some, shape).tofile(self.job['input'])

    def weights(self, folder, wired, net, rng):
        """Random weights that keep activations of one size, in a file all engines read."""
        types = {l.name: l.type for l in net.layer}
        params, offset, parts = [], 0, []
        for name, blobs in wired.params.items():
            for i, blob in enumerate(blobs):
                values = initial(types[name], i, blob.shape, rng)
                params.append((name, i, list(blob.shape), offset))
                parts.append(values.astype('<f4').ravel())
                offset += values.size
        path = os.path.join(folder, '%s_%s_weights' % (self.name, self.train))
        np.concatenate(parts).tofile(path)
        return {'params': params, 'weights': path}


def initial(kind, index, shape, rng):
    if kind == 'BatchNorm':
        return (rng.uniform(-.1, .1, shape), rng.uniform(.5, 1.5, shape), np.ones(shape))[index]
    if kind == 'Scale':
        return rng.uniform(.5, 1, shape) if index == 0 else rng.uniform(-.1, .1, shape)
    if kind == 'PReLU':
        return rng.uniform(.1, .3, shape)
    if index:
        return rng.uniform(-.05, .05, shape)
    fan_in = np.prod(shape[1:])
    return rng.standard_normal(shape).astype('f4') * np.sqrt(2 / fan_in)


# ---- an engine in its process ---------------------------------------------------------------

def in_time(args):
    return time.time() < args.until


class Worker:
    def __init__(self, args, case, engine, mode_name, mode, threads, **more):
        self.label = engine + (' ' + mode_name if mode_name else '')
        self.patience, self.until = args.patience or 1e6, args.until
        self.patience_first = args.patience_first or self.patience
        self.process, self.error, self.times, self.cpu = None, None, [], []
        self.late = not in_time(args)
        if self.late:
            self.error = 'left out: there is no time left'
            return
        job = dict(case.job, engine=engine, mode=mode, threads=threads, **more)
        path = os.path.join(args.folder, 'job_%d_%s' % (id(self), engine))
        with open(path, 'w') as f:
            json.dump(job, f)
        env = dict(os.environ, OMP_NUM_THREADS=str(threads), OPENBLAS_NUM_THREADS=str(threads),
                   MKL_NUM_THREADS=str(threads), PYTHONDONTWRITEBYTECODE='1',
                   **mode.get('env', {}))
        python = getattr(args, engine, None) or sys.executable
        try:
            self.process = subprocess.Popen(
                [python, os.path.join(HERE, 'worker.py'), path], env=env, text=True, bufsize=1,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=None if args.verbose else subprocess.DEVNULL)
        except OSError as error:
            self.error = 'left out: %s' % error

    def read(self, first=True):
        if self.error:
            return None
        left = max(1, self.until - time.time())
        patience = self.patience_first if first else self.patience
        timer = threading.Timer(min(patience, left), self.process.kill)
        timer.daemon = True
        timer.start()
        line = self.process.stdout.readline()
        ended = not timer.is_alive()
        timer.cancel()
        self.late = ended and left < patience
        answer = json.loads(line) if line else {
            'error': 'left out: the time was over' if self.late else
            'no answer in %g s' % patience if ended else 'the process ended'}
        if 'error' in answer:
            self.error = answer['error']
            self.close()
        return answer

    def ask(self, **what):
        if self.error:
            return None
        try:
            self.process.stdin.write(json.dumps(what) + '\n')
        except OSError:
            self.error = 'the process ended'
            return None
        answer = self.read(first=what['do'] in ('warm', 'check'))
        return None if self.error else answer

    def figures(self, args, peak, loaded):
        """What compare.py knows of it once it has been timed; `cut`: rounds of one that was
        to have more, whose memory was not looked at where its process was ended."""
        if self.error and not (self.late and self.times):
            return {'error': self.error, 'late': self.late}
        figures = {'ms': self.times, 'cpu_ms': self.cpu, 'first_s': self.warm['first'],
                   'peak': None if self.error else peak, 'loaded': loaded or 0}
        if len(self.times) < args.rounds:
            figures['cut'] = len(self.times)
        return figures

    def close(self):
        if not self.process or self.process.stdin.closed:
            return
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()


def device_id():
    """nvidia-smi's name of CUDA's device 0, which need not be its own: CUDA may be shown some
    alone, and puts the fastest first."""
    device, text = ctypes.c_int(), ctypes.create_string_buffer(32)
    try:
        cuda = ctypes.CDLL('libcuda.so.1')
    except OSError:
        return '0'
    failed = (cuda.cuInit(0) or cuda.cuDeviceGet(ctypes.byref(device), 0) or
              cuda.cuDeviceGetPCIBusId(text, len(text), device))
    return '0' if failed else text.value.decode()


class DeviceMemory:
    """The most bytes in use on the device from now on, above those of now: by an nvidia-smi
    that looks every 20 ms, as memory of a step may be given back before it ends."""

    def __init__(self):
        self.figures, self.looked = [], threading.Event()
        self.process = self.thread = None
        try:
            self.process = subprocess.Popen(
                ['nvidia-smi', '--query-gpu=memory.used', '--format=csv,noheader,nounits', '-i',
                 device_id(), '-lms', '20'], stdout=subprocess.PIPE, text=True)
        except OSError:
            return
        self.thread = threading.Thread(target=self.look, daemon=True)
        self.thread.start()
        self.looked.wait(15)  # where the device hangs, nvidia-smi does

    def look(self):
        for line in self.process.stdout:
            if line.strip().isdigit():
                self.figures.append(int(line) << 20)
            self.looked.set()
        self.looked.set()

    def peak(self):
        """0 where it cannot be told."""
        return max(self.figures) - self.figures[0] if self.figures else 0

    def close(self):
        if self.process:
            self.process.kill()
            self.process.wait()
            self.thread.join(1)
            self.process.stdout.close()
        return self.peak()


def start_all(args, case, modes, threads, **more):
    workers = [Worker(args, case, engine, name, mode, threads, **more)
               for engine, name, mode in modes]
    for worker in workers:
        worker.read()
    return workers


# ---- checking that all compute the same -----------------------------------------------------

# How far a mode's numbers may be from our f32: sums in another order; operands rounded to 11
# bits (5e-4 each) or 8 (4e-3), in layer after layer. A gradient of the wrong sign is 4e-2. By
# the kernels as plain C bf16 is 1.4e-2 from f32 in MobileNet's losses where its last means are
# of 32 values; of 8 it is 5.8e-2, of the net's own 98 it should be less.
LIMITS = {'f32': 1e-3, 'tf32': 1e-2, 'bf16': 3e-2}
CHECKED_AT_ONCE = 4  # engines that share a device's memory, which may be small


def difference(mine, theirs, train):
    mine, theirs = np.array(mine), np.array(theirs)
    if mine.shape != theirs.shape:
        return float('inf')
    found = np.max(np.abs(mine - theirs)) / np.max(np.abs(theirs))
    if train:  # a wrong gradient shows in how far three steps moved the loss
        moved = theirs[-1] - theirs[0]
        found = max(found, 0.02 * abs((mine[-1] - mine[0] - moved) / moved))
    return float(found)


def check_net(args, name, train, modes):
    """Which modes give deepnet's numbers: {label: relative difference}."""
    case = Case(args.folder, name, train, 2, dropout=False)
    case.job['rate'] = 1e-5  # more, and sums of another order grow into other losses
    model = os.path.join(args.folder, name + '.caffemodel')
    deepnet = Worker(args, case, *deepnet_modes(args)[0], 1, caffemodel=model)
    deepnet.read()
    mine = deepnet.ask(do='check')
    if deepnet.late:
        return {}
    if mine is None:
        sys.exit('deepnet: %s: %s' % (name, deepnet.error))
    deepnet.close()
    found = {}
    for first in range(0, len(modes), CHECKED_AT_ONCE):
        some = modes[first:first + CHECKED_AT_ONCE]
        for worker in start_all(args, case, some, 1, caffemodel=model):
            theirs = worker.ask(do='check')
            if theirs is not None:
                worker.close()
                found[worker.label] = difference(mine['values'], theirs['values'], train)
            elif not worker.late:
                found[worker.label] = worker.error
    return found


def checked(args, name, train, modes):
    """The modes that can be compared, all differences, and what is wrong of ours; says which
    cannot."""
    kept, faults = [], []
    plain = [m for m in deepnet_modes(args)[1:] + modes if not m[2].get('compile') and
             (args.device or goals.precision(m[1]) == 'f32')]
    found = check_net(args, name, train, plain)

    def good(label):
        value = found.get(label, 0.0)
        return isinstance(value, float) and value <= LIMITS[goals.precision(label)]

    for label, value in found.items():
        text = 'differs by %.1e' % value if isinstance(value, float) else 'left out: ' + value
        if not good(label) or args.verbose:
            print('   %s: %s' % (label, text), flush=True)
        if not good(label) and args.device and goals.is_ours(label):
            faults.append('%s %s: %s: %s' % (name, 'train' if train else 'infer', label, text))
    for mode in modes:
        if good(mode[0] + (' ' + mode[1] if mode[1] else '')):
            kept.append(mode)
    return kept, found, faults


# ---- one row of the table -------------------------------------------------------------------

def has_amx():
    """Whether this machine has what bf16's goals are about."""
    try:
        with open('/proc/cpuinfo') as f:
            return ' amx_bf16' in f.read()
    except OSError:
        return False


def busy():
    """Load average, and the share of the last 10 s in which something waited for a core."""
    text = 'load %.2f' % os.getloadavg()[0]
    try:
        with open('/proc/pressure/cpu') as f:
            text += ', waiting %s %%' % f.readline().split('avg10=')[1].split()[0]
    except OSError:
        pass
    return text


def measure(args, name, job, threads, modes, precision=None):
    """A row of the modes that were checked; of a `precision` alone, in which the largest batch
    was asked for."""
    train = job == 'train'
    batch = 1 if job == 'infer1' else args.batch
    if precision:
        batch = largest_batch(args, name, train, precision, modes)
    case = Case(args.folder, name, train, batch)
    modes = of_precision(deepnet_modes(args) + timed_of(args, modes), precision)
    if args.device:  # one precision after the other, so that what --limit leaves is whole
        modes.sort(key=lambda m: PRECISIONS.index(goals.precision(m[1])))
    row = {'net': name, 'job': job, 'batch': case.job['batch'], 'threads': threads,
           'device': bool(args.device), 'amx': has_amx(), 'busy': busy(),
           'clock': 'cpu_ms' if args.clock == 'cpu' else 'ms'}
    row['engines'] = (on_device if args.device else in_turns)(args, case, modes, threads)
    add_ratios(row)
    row['goals'] = goals.judged(row)
    return row


def in_turns(args, case, modes, threads):
    """The figures of engines that are all there at once, and of which one works at a time."""
    model = os.path.join(args.folder, case.name + '.caffemodel')
    workers = start_all(args, case, modes, threads, caffemodel=model)
    rounds(args, workers)
    figures = {}
    for worker in workers:
        memory = worker.ask(do='memory')
        figures[worker.label] = worker.figures(args, memory and memory['peak'],
                                               memory and memory['base'])
        worker.close()
    return figures


def on_device(args, case, modes, threads):
    """One process after the other, so that each has the device's memory for itself."""
    figures = {}
    for mode in modes:
        memory = DeviceMemory()
        worker = Worker(args, case, *mode, threads)
        worker.read()
        rounds(args, [worker])
        one = figures[worker.label] = worker.figures(args, memory.close(), 0)
        worker.close()
        print('   %s: %s' % (worker.label, one.get('error') or '%.3f ms%s' % (
            statistics.median(worker.times), goals.cut_off(one))), flush=True)
    return figures


def rounds(args, workers):
    for worker in workers:
        worker.warm = worker.ask(do='warm', seconds=args.seconds / 2)
    for done in range(args.rounds):
        if done and not in_time(args):
            return
        for worker in workers:
            answer = worker.ask(do='run', seconds=args.seconds)
            if answer:
                worker.times.append(1e3 * answer['wall'])
                worker.cpu.append(1e3 * answer['cpu'])


def fits(args, name, train, mode, batch):
    """Whether two steps of this batch can be done. Whatever goes wrong is an answer: no memory,
    a process that is ended for want of it, a step that takes too long."""
    worker = Worker(args, Case(args.folder, name, train, batch, filled=False), *mode,
                    args.host_threads)
    worker.read()
    worker.ask(do='warm', seconds=0)
    worker.close()
    if worker.error:
        print('   %s, batch %d: %s' % (worker.label, batch, worker.error.split('\n')[0]),
              flush=True)
    return not worker.error


def of_precision(modes, precision):
    return [m for m in modes if precision in (None, goals.precision(m[1]))]


def largest_batch(args, name, train, precision, modes):
    """The largest batch that deepnet and PyTorch do: the net's own doubled so many times, or
    half as much again. PyTorch is the first of the modes that compiles nothing, if any."""
    import nets
    batch, known = nets.NETS[name][-1], False
    ours = of_precision(deepnet_modes(args), precision)[0]
    theirs = searched_with(modes, precision)
    while 2 * batch <= args.most and fits(args, name, train, ours, 2 * batch):
        batch, known = 2 * batch, True
    stopped = 2 * batch > args.most
    for mode in theirs if known else [ours] + theirs:
        while batch > 1 and in_time(args) and not fits(args, name, train, mode, batch):
            batch, stopped = batch // 2, False
    more = batch * 3 // 2
    if batch < more <= args.most and in_time(args) and all(
            fits(args, name, train, mode, more) for mode in [ours] + theirs):
        batch = more
    print('   the largest batch in %s is %d%s' % (
        precision, batch, ', where --most stops' * stopped) if in_time(args) else
        '   there was no time to find the largest batch', flush=True)
    return batch


def add_ratios(row):
    for e in row['engines'].values():
        if 'error' not in e:
            e['median'] = statistics.median(e[row['clock']])
    base = (goals.best(row, lambda k: goals.is_ours(k) and goals.precision(k) == 'f32') or
            goals.best(row, goals.is_ours))
    for label, e in row['engines'].items():
        if base and 'error' not in e:
            e['ratio'] = goals.ratio(row, label, base)


def print_row(row):
    print('%s %s, batch %d, %d thread%s (%s)' % (
        row['net'], row['job'].rstrip('1'), row['batch'], row['threads'],
        's'[:row['threads'] - 1], row['busy']))
    bests = {goals.best(row, lambda k: goals.of_torch(k, p)) for p in ('f32', 'tf32', 'bf16')}
    for label, e in row['engines'].items():
        if 'error' in e:
            print('   %-24s %s' % (label, e['error']))
            continue
        spread = '%6.2f (%.2f to %.2f)' % tuple(e['ratio']) if 'ratio' in e else ''
        peak = '     ?' if e['peak'] is None else '%5.0f MB (%.0f)' % (
            e['peak'] / 1e6, (e['peak'] - e['loaded']) / 1e6)
        print('   %-24s %10.3f ms  %-24s cpu %10.3f ms  peak %s%s%s' % (
            label, e['median'], spread, statistics.median(e['cpu_ms']), peak, goals.cut_off(e),
            '  <- best' if label in bests else ''))
    sys.stdout.flush()


# ---- the run --------------------------------------------------------------------------------

def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--all', action='store_true', help='the tables of five nets')
    parser.add_argument('--nets', default=','.join(TABLE))
    parser.add_argument('--jobs', default='train,infer,infer1')
    parser.add_argument('--threads', default='1,2')
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--seconds', type=float, default=0.5, help='of steps in a round')
    parser.add_argument('--clock', choices=('wall', 'cpu'), default='wall')
    parser.add_argument('--backends', help='deepnet\'s chains, separated by "/"; default: cpu, '
                        'and onednn,cpu where the build has that module')
    parser.add_argument('--device', help='the path of a device\'s backend: PyTorch and deepnet '
                        'there, and nobody else')
    parser.add_argument('--torch-device', default='cuda', help='"cpu": a dry run')
    parser.add_argument('--patience', type=float,
                        help='seconds for one answer of an engine, after which it is ended')
    parser.add_argument('--patience-first', type=float, help='for the first two, in which it '
                        'plans, tunes and compiles; default: --patience')
    parser.add_argument('--limit', type=float, default=float('inf'), help='seconds for all: an '
                        'engine that would begin later is left out, one that works is ended')
    parser.add_argument('--batch', type=lambda b: b if b == 'largest' else int(b),
                        help='of train and infer; default: each net\'s own; with --device also '
                        '"largest"')
    parser.add_argument('--most', type=int, default=4096, help='where "largest" stops')
    parser.add_argument('--bf16', action='store_true', help='PyTorch\'s bf16 modes as well')
    parser.add_argument('--quick', action='store_true', help='without torch.compile')
    parser.add_argument('--compiled', action='store_true',
                        help='of PyTorch the modes of torch.compile alone')
    parser.add_argument('--full', action='store_true',
                        help='with torch.compile in training too, and on a device with the '
                        'layout that seldom wins')
    parser.add_argument('--only', default='', help='other engines or modes to run: '
                        '"torch,opencv", "torch channels-last"')
    parser.add_argument('--build', default=os.path.join(HERE, '..', '..', 'build'))
    for engine in ('torch', 'opencv', 'caffe'):
        parser.add_argument('--' + engine, help='the Python that has it, if not this one')
    parser.add_argument('--judge', action='store_true', help='exit with 1 if a goal is missed')
    parser.add_argument('--json', help='file for all figures')
    parser.add_argument('--verbose', action='store_true')
    args = parser.parse_args()
    if args.batch == 'largest' and not args.device:
        parser.error('the largest batch is a device\'s: --device')
    args.until = time.time() + args.limit
    args.modules = os.path.abspath(os.path.join(args.build, 'kernels', 'onednn'))
    has_onednn = os.path.exists(os.path.join(args.modules, 'deepnet-onednn.so'))
    args.host_threads = 1
    args.chains = (args.backends or ('onednn,cpu/cpu' if has_onednn else 'cpu')).split('/')
    return args


def deepnet_modes(args):
    """Every chain in f32, and the first in bf16; memory as `deepnet train` and `test` have
    it."""
    options = {'memory': 'compact'}
    if args.device:
        mode = {'backends': os.path.abspath(args.device) + ',cpu,ref',
                'context': {'tune': True}, 'on_device': True}
        return [('deepnet', p, dict(mode, options=dict(options, compute=p)))
                for p in ('f32', 'tf32', 'bf16')]
    common = {'modules': args.modules, 'options': options}
    modes = [('deepnet', chain, dict(common, backends=chain)) for chain in args.chains]
    if args.bf16:
        bf16 = dict(options, compute='bf16')
        modes.append(('deepnet', 'bf16', dict(modes[0][2], options=bf16)))
    return modes


def modes_of(args, train):
    """Those to be checked: with --compiled also what the largest batch is looked for with."""
    modes = list(TRAIN if train else INFER)
    if args.device:
        modes = [(e, n, dict(m, device=args.torch_device)) for e, n, m in DEVICE]
    elif args.bf16:
        modes += TRAIN_BF16 if train else INFER_BF16
    only = args.only.split(',') if args.only else ['']
    modes = [m for m in modes if any((m[0] + ' ' + m[1]).startswith(o) for o in only)
             and not (args.quick and m[2].get('compile'))
             and not (m[2].get('slow') and not args.full)]
    searched = [searched_with(modes, p) for p in PRECISIONS if args.batch == 'largest']
    return [m for m in modes if [m] in searched or m in timed_of(args, modes)]


def timed_of(args, modes):
    return [m for m in modes if m[2].get('compile') or not args.compiled]


def searched_with(modes, precision):
    """The first that compiles nothing, in a list, which may be empty."""
    return [m for m in of_precision(modes, precision) if not m[2].get('compile')][:1]


def run(args):
    rows, checks, faults = [], {}, []
    for name in args.nets.split(','):
        for train in (True, False):
            jobs = [j for j in args.jobs.split(',') if (j == 'train') == train]
            if not jobs:
                continue
            modes, found, wrong = checked(args, name, train, modes_of(args, train))
            faults += wrong
            checks['%s %s' % (name, 'train' if train else 'infer')] = found
            for job, threads, precision in rows_of(args, jobs):
                if not in_time(args):
                    print('%s %s: left out: there is no time left' % (name, job))
                    continue
                rows.append(measure(args, name, job, int(threads), modes, precision))
                print_row(rows[-1])
    return rows, checks, faults + failures(rows)


def rows_of(args, jobs):
    """(job, threads, precision) of each row; no precision: all that there are."""
    for job in jobs:
        largest = args.batch == 'largest' and job != 'infer1'
        for threads in ['1'] if args.device else args.threads.split(','):
            for precision in PRECISIONS if largest else [None]:
                yield job, threads, precision


def failures(rows):
    """What of ours was to run and did not: no goal that is missed, but a fault."""
    return ['%s %s, batch %d: %s: %s' % (row['net'], row['job'], row['batch'], label,
                                         e['error'])
            for row in rows for label, e in row['engines'].items()
            if goals.is_ours(label) and 'error' in e and not e['late']]


def main():
    args = arguments()
    os.environ.setdefault('DEEPNET_LIBRARY',
                          os.path.abspath(os.path.join(args.build, 'lib', 'libdeepnet.so')))
    import nets  # noqa: F401: puts the package on the path
    began = time.time()
    if args.quick:
        print('PyTorch without torch.compile (--quick)', flush=True)
    with tempfile.TemporaryDirectory() as folder:
        args.folder = folder
        rows, checks, failed = run(args)
    goals.print_goals(rows)
    print('%.0f s' % (time.time() - began))
    verdict = goals.counts(one['verdict'] for row in rows for one in row['goals'])
    print(goals.summary(verdict))
    if args.json:
        with open(args.json, 'w') as f:
            json.dump({'date': time.strftime('%Y-%m-%d %H:%M UTC', time.gmtime(began)),
                       'machine': platform.processor() or platform.machine(),
                       'clock': args.clock,
                       'rounds': args.rounds, 'seconds': args.seconds, 'checks': checks,
                       'goals': verdict, 'rows': rows}, f, indent=1)
    for text in failed:
        print('FAILED ' + text)
    return bool(failed) or args.judge and verdict[goals.MISSED] > 0


if __name__ == '__main__':
    sys.exit(main())
