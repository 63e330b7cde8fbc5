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
`not measured` where the rival is not there. A mode that was left out counts for nobody. The exit
status is 1 if a mode of deepnet failed; goals that are missed make it 1 with --judge alone.

jobs: train (forward, backward, SGD with momentum), infer, infer1 (batch 1). With --clock cpu
the ratios are of processor time, which at one thread a busy machine hardly disturbs. --torch,
--opencv, --caffe name the Python that has each; one that cannot be imported is left out, and
said so. PyTorch runs with the allocator's thresholds raised and huge pages, but for the mode
`default`. With --device memory is the device's, by nvidia-smi, as each process is started
alone; what the two take for the driver's context is in both. `--batch largest` is then the
largest that both hold: what deepnet can double the net's own batch to, halved until PyTorch can
do a step too, both in f32. --limit ends a run in time: what is measured by then is judged,
and rounds of an engine that was to have more are marked.
"""
import argparse
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

# With --device, of each precision and layout: eager, recorded as a CUDA graph, compiled.
# cudnn.benchmark is on. The graph is of the layout that usually wins, of the other with --full.
DEVICE = [('torch', p + ('-last' if last else '') + how,
           {p: True, 'channels_last': last, how[1:] or 'eager': True, 'sgd': {'fused': True},
            'slow': how == '-compile' or how == '-graph' and last == (p == 'f32')})
          for p in ('f32', 'tf32', 'bf16') for last in (False, True)
          for how in ('', '-graph', '-compile')]


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
        self.process = subprocess.Popen(
            [python, os.path.join(HERE, 'worker.py'), path], env=env, text=True, bufsize=1,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=None if args.verbose else subprocess.DEVNULL)

    def read(self):
        if self.error:
            return None
        left = max(1, self.until - time.time())
        timer = threading.Timer(min(self.patience, left), self.process.kill)
        timer.daemon = True
        timer.start()
        line = self.process.stdout.readline()
        ended = not timer.is_alive()
        timer.cancel()
        self.late = ended and left < self.patience
        answer = json.loads(line) if line else {
            'error': 'left out: the time was over' if self.late else
            'no answer in %g s' % self.patience if ended else 'the process ended'}
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
        answer = self.read()
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


def device_memory():
    """Bytes in use on the first device; 0 where that cannot be told."""
    try:
        text = subprocess.run(['nvidia-smi', '--query-gpu=memory.used', '--format=csv,noheader,'
                               'nounits', '-i', '0'], capture_output=True, text=True).stdout
        return int(text.split()[0]) << 20
    except (OSError, IndexError, ValueError):
        return 0


def start_all(args, case, modes, threads, **more):
    workers = [Worker(args, case, engine, name, mode, threads, **more)
               for engine, name, mode in modes]
    for worker in workers:
        worker.read()
    return workers


# ---- checking that all compute the same -----------------------------------------------------

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
    for mode in modes:
        worker = Worker(args, case, *mode, 1, caffemodel=model)
        worker.read()
        theirs = worker.ask(do='check')
        if theirs is None:
            if not worker.late:
                found[worker.label] = worker.error
            continue
        worker.close()
        found[worker.label] = difference(mine['values'], theirs['values'], train)
    return found


def checked(args, name, train, modes):
    """The modes that can be compared; says which cannot."""
    limit, kept = 1e-3, []
    plain = [m for m in deepnet_modes(args)[1:] + modes
             if not m[2].get('compile') and goals.precision(m[1]) == 'f32']
    found = check_net(args, name, train, plain)
    for label, value in found.items():
        ok = isinstance(value, float) and value <= limit
        text = 'differs by %.1e' % value if isinstance(value, float) else 'left out: ' + value
        if not ok or args.verbose:
            print('   %s: %s' % (label, text), flush=True)
    for mode in modes:
        value = found.get(mode[0] + (' ' + mode[1] if mode[1] else ''), 0.0)
        if isinstance(value, float) and value <= limit:
            kept.append(mode)
    return kept, found


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


def measure(args, name, job, threads, modes):
    train = job == 'train'
    batch = 1 if job == 'infer1' else args.batch
    if batch == 'largest':
        batch = largest_batch(args, name, train)
    case = Case(args.folder, name, train, batch)
    modes = deepnet_modes(args) + modes
    if args.device:  # one precision after the other, so that what --limit leaves is whole
        modes.sort(key=lambda m: ('tf32', 'bf16', 'f32').index(goals.precision(m[1])))
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
        before = device_memory()
        worker = Worker(args, case, *mode, threads)
        worker.read()
        rounds(args, [worker])
        one = figures[worker.label] = worker.figures(args, device_memory() - before, 0)
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


def largest_batch(args, name, train):
    """The largest batch, the net's own doubled so many times, that deepnet and PyTorch do."""
    import nets
    batch, known = nets.NETS[name][-1], False
    ours = deepnet_modes(args)[0]
    while 2 * batch <= args.most and fits(args, name, train, ours, 2 * batch):
        batch, known = 2 * batch, True
    theirs = [m for m in modes_of(args, train) if m[0] == 'torch'][:1]
    for mode in theirs if known else [ours] + theirs:
        while batch > 1 and in_time(args) and not fits(args, name, train, mode, batch):
            batch //= 2
    print('   the largest batch is %d' % batch if in_time(args) else
          '   there was no time to find the largest batch', flush=True)
    return batch


def add_ratios(row):
    for e in row['engines'].values():
        if 'error' not in e:
            e['median'] = statistics.median(e[row['clock']])
    base = goals.best(row, lambda k: goals.is_ours(k) and goals.precision(k) == 'f32')
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
    parser.add_argument('--limit', type=float, default=float('inf'), help='seconds for all: an '
                        'engine that would begin later is left out, one that works is ended')
    parser.add_argument('--batch', type=lambda b: b if b == 'largest' else int(b),
                        help='of train and infer; default: each net\'s own; with --device also '
                        '"largest"')
    parser.add_argument('--most', type=int, default=1024, help='where "largest" stops')
    parser.add_argument('--bf16', action='store_true', help='PyTorch\'s bf16 modes as well')
    parser.add_argument('--quick', action='store_true', help='without torch.compile')
    parser.add_argument('--full', action='store_true',
                        help='with torch.compile in training too')
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
    modes = list(TRAIN if train else INFER)
    if args.device:
        modes = [(e, n, dict(m, device=args.torch_device)) for e, n, m in DEVICE]
    elif args.bf16:
        modes += TRAIN_BF16 if train else INFER_BF16
    only = args.only.split(',') if args.only else ['']
    return [m for m in modes if any((m[0] + ' ' + m[1]).startswith(o) for o in only)
            and not (args.quick and m[2].get('compile'))
            and not (m[2].get('slow') and not args.full)]


def run(args):
    rows, checks = [], {}
    for name in args.nets.split(','):
        for train in (True, False):
            jobs = [j for j in args.jobs.split(',') if (j == 'train') == train]
            if not jobs:
                continue
            modes, found = checked(args, name, train, modes_of(args, train))
            checks['%s %s' % (name, 'train' if train else 'infer')] = found
            for job in jobs:
                for threads in ['1'] if args.device else args.threads.split(','):
                    if not in_time(args):
                        print('%s %s: left out: there is no time left' % (name, job))
                        continue
                    rows.append(measure(args, name, job, int(threads), modes))
                    print_row(rows[-1])
    return rows, checks


def failures(rows):
    """What of ours was to run and did not: no goal that is missed, but a fault."""
    return ['%s %s, batch %d: %s: %s' % (row['net'], row['job'], row['batch'], label, e['error'])
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
        rows, checks = run(args)
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
    failed = failures(rows)
    for text in failed:
        print('FAILED ' + text)
    return bool(failed) or args.judge and verdict[goals.MISSED] > 0


if __name__ == '__main__':
    sys.exit(main())
