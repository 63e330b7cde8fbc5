# SPDX-License-Identifier: BSD-2-Clause
"""One engine with one net, in a process of its own: compare.py starts it with a job's file and
asks by lines of JSON on its input. Thread pools of two engines never meet, the peak of resident
memory is one engine's, and while one is asked the others wait in read().

An engine has run(n), n steps or passes, and check(): what it computed, to be compared.
"""
import json
import math
import os
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))


def solver_text(job):
    return ('type: "SGD" base_lr: %g momentum: %g weight_decay: %g lr_policy: "fixed" '
            'max_iter: 1000000000 snapshot_after_train: false solver_mode: CPU\n'
            % (job['rate'], job['momentum'], job['decay']))


# ---- Caffe, and deepnet, which has its Python shape -----------------------------------------

class Pycaffe:
    """`self.net` and `self.solver` in pycaffe's shape, with the job's weights and input."""

    def fill(self, job):
        if 'weights' not in job:
            return
        import numpy
        # Straight into place: a copy of all weights would be the peak that is measured.
        with open(job['weights'], 'rb') as f:
            for name, index, shape, offset in job['params']:
                values = self.net.params[name][index].data
                f.seek(4 * offset)
                if values.nbytes != 4 * math.prod(shape) or f.readinto(values) != values.nbytes:
                    raise ValueError('%s[%d]: %d bytes, not the %s of %s' % (
                        name, index, values.nbytes, shape, job['weights']))
        data = self.net.blobs['data'].data
        data[...] = numpy.fromfile(job['input'], '<f4')[:data.size].reshape(data.shape)
        if job['train']:
            self.net.blobs['label'].data[...] = job['labels'][:job['batch']]

    def check(self, job):
        if not job['train']:
            self.run(1)
            return self.net.blobs['prob'].data.ravel().tolist()
        losses = []
        for _ in range(3):
            self.run(1)
            losses.append(self.loss())
        return losses


class Deepnet(Pycaffe):
    def __init__(self, job):
        sys.path.insert(0, os.path.join(HERE, '..', '..', 'bindings', 'python'))
        import deepnet
        self.base = resident()
        context = deepnet.Context(num_threads=job['threads'], seed=1,
                                  backends=job['mode'].get('backends'),
                                  module_folder=job['mode'].get('modules'),
                                  **job['mode'].get('context', {}))
        options = job['mode'].get('options', {})
        if job['train']:
            self.solver = deepnet.Solver(text=solver_text(job), net_text=job['prototxt'],
                                         context=context, **options)
            self.net = self.solver.net
        else:
            self.net = deepnet.Net(text=job['prototxt'], phase=deepnet.TEST, context=context,
                                   **options)
        self.fill(job)
        if job.get('caffemodel'):
            self.net.save(job['caffemodel'])
        sizes = self.net.memory()  # and the solver's history
        self.placed = sizes['total'] + sizes['weights'] * job['train']
        forward, handle = deepnet._lib.lib().net_forward, self.net._net
        if job['train']:
            def run(n):
                self.solver.step(n)
                context.synchronise()
            self.loss = lambda: self.solver.loss
        else:
            def run(n):
                for _ in range(n):
                    if forward(handle, None):
                        raise RuntimeError(deepnet._errors.last_error(deepnet._lib.lib()))
                context.synchronise()

        def first(n):
            run(n)
            for name in ['data', 'label'][:1 + job['train']]:
                self.net.blobs[name].mutable_device_data
            self.run = run
        # As PyTorch's, inputs stay on the device: they are not copied there in each run.
        self.run = first if job['mode'].get('on_device') else run


class Caffe(Pycaffe):
    """Its threads are OpenBLAS's, set in the environment before this process began."""

    def __init__(self, job):
        os.environ['GLOG_minloglevel'] = '2'
        import caffe
        self.base = resident()
        caffe.set_mode_cpu()
        path = job['folder'] + '/caffe_%d' % os.getpid()
        with open(path, 'w') as f:
            f.write(job['prototxt'])
        if job['train']:
            with open(path + '_solver', 'w') as f:
                f.write(solver_text(job) + 'net: "%s"' % path)
            self.solver = caffe.SGDSolver(path + '_solver')
            self.net = self.solver.net
            self.run = self.solver.step
            self.loss = lambda: sum(float(self.net.blobs[name].data) * weight
                                    for name, weight in job['losses'])
        else:
            self.net = caffe.Net(path, caffe.TEST)

            def run(n):
                for _ in range(n):
                    self.net.forward()
            self.run = run
        self.fill(job)


# ---- OpenCV ---------------------------------------------------------------------------------

class Opencv:
    def __init__(self, job):
        import cv2
        import numpy
        self.base = resident()
        cv2.setNumThreads(job['threads'])
        path = job['folder'] + '/opencv_%d' % os.getpid()
        with open(path, 'w') as f:
            f.write(job['prototxt'])
        net = cv2.dnn.readNetFromCaffe(path, job['caffemodel'])
        shape = job['shape']
        count = shape[0] * shape[1] * shape[2] * shape[3]
        net.setInput(numpy.fromfile(job['input'], '<f4')[:count].reshape(shape))
        self.net = net

    def run(self, n):
        for _ in range(n):
            self.out = self.net.forward()

    def check(self, job):
        self.run(1)
        return self.out.ravel().tolist()


# ---- the process ----------------------------------------------------------------------------

def resident(peak=False):
    """Bytes of memory this process has, or has had at most."""
    with open('/proc/self/status') as f:
        for line in f:
            if line.startswith('VmHWM:' if peak else 'VmRSS:'):
                return int(line.split()[1]) * 1024
    return 0


def quiet_stdout():
    """The pipe to compare.py as a file; what libraries print goes to stderr."""
    pipe = os.fdopen(os.dup(1), 'w', buffering=1)
    os.dup2(2, 1)
    return pipe


def engine_of(job):
    if job['engine'] == 'torch':
        import torch_net
        return torch_net.Torch(job, resident)
    return {'deepnet': Deepnet, 'caffe': Caffe, 'opencv': Opencv}[job['engine']](job)


def timed(engine, n):
    wall, cpu = time.perf_counter(), time.process_time()
    engine.run(n)
    return time.perf_counter() - wall, time.process_time() - cpu


def serve(engine, job, pipe):
    step = 0
    for line in sys.stdin:
        ask = json.loads(line)
        if ask['do'] == 'check':
            answer = {'values': engine.check(job)}
        elif ask['do'] == 'warm': # first passes plan, compile and touch memory
            first = timed(engine, 1)[0]
            wall, cpu = timed(engine, 1)
            step = wall
            while wall < ask['seconds']:
                n = max(1, min(10000, int((ask['seconds'] - wall) / step)))
                more = timed(engine, n)
                step, wall, cpu = more[0] / n, wall + more[0], cpu + more[1]
            answer = {'first': first, 'step': step, 'cpu': time.process_time()}
        elif ask['do'] == 'run':
            n = max(1, round(ask['seconds'] / step))
            wall, cpu = timed(engine, n)
            answer = {'n': n, 'wall': wall / n, 'cpu': cpu / n}
        else:
            answer = {'peak': resident(peak=True), 'base': engine.base,
                      'placed': getattr(engine, 'placed', 0)}
        pipe.write(json.dumps(answer) + '\n')


def main(path):
    with open(path) as f:
        job = json.load(f)
    pipe = quiet_stdout()
    try:
        engine = engine_of(job)
        pipe.write('{"ready": true}\n')
        serve(engine, job, pipe)
    except Exception as error:  # compare.py says it and goes on without this engine
        pipe.write(json.dumps({'error': '%s: %s' % (type(error).__name__, error)}) + '\n')
        raise


if __name__ == '__main__':
    main(sys.argv[1])
