# SPDX-License-Identifier: BSD-2-Clause
"""Training in pycaffe's shape: a solver with its train and test nets, stepped by the caller.

One C callback serves every kind of event; what a Python callback raises comes out of step()."""
import collections
import ctypes
import logging
import operator
import re

import numpy as np

from . import _api
from ._context import current_context
from ._errors import calling_back, check, choose, interrupted, take_interrupt
from ._lib import lib
from ._net import COMPUTE, MEMORY, Net
from ._owner import Owner, make
from ._text import from_c, names_array, path_bytes, to_c

_logger = logging.getLogger('deepnet')

Event = collections.namedtuple('Event', 'kind iteration loss rate test_net path')
Event.__doc__ = """What a callback of Solver.on gets: kind (the name it was asked for),
iteration, loss (smoothed), rate (the learning rate), test_net (index, for tests), path
(for snapshots)."""

_KINDS = {'step_begin': _api.EVENT_STEP_BEGIN, 'gradients': _api.EVENT_GRADIENTS,
          'step_end': _api.EVENT_STEP_END, 'test_begin': _api.EVENT_TEST_BEGIN,
          'test_end': _api.EVENT_TEST_END, 'display': _api.EVENT_DISPLAY,
          'snapshot': _api.EVENT_SNAPSHOT}
_NAMES = {number: name for name, number in _KINDS.items()}


class _Events:
    """The callbacks of one solver, and what the last of them raised."""

    def __init__(self):
        self.callbacks = collections.defaultdict(list)
        self.error = None
        self.function = _api.event_fn(self._dispatch)

    __reduce__ = Owner.__reduce__

    def _dispatch(self, _user, _solver, pointer):
        # Also what lets Ctrl-C through: Python delivers it here, between two iterations.
        try:
            if interrupted():
                return _api.E_HOST
            raw = pointer.contents
            callbacks = self.callbacks.get(raw.kind)
            if callbacks or raw.kind == _api.EVENT_DISPLAY:
                loss = raw.loss
                if raw.kind in (_api.EVENT_STEP_END, _api.EVENT_GRADIENTS):
                    loss = lib().solver_loss(_solver)  # on a device: nobody read it before
                event = Event(_NAMES.get(raw.kind, raw.kind), raw.iteration, loss, raw.rate,
                              raw.test_net, from_c(raw.path) if raw.path else None)
                if raw.kind == _api.EVENT_DISPLAY:
                    _logger.info('iteration %d: loss %.6g, learning rate %.6g',
                                 event.iteration, event.loss, event.rate)
                for callback in list(callbacks or ()):
                    callback(event)
            return _api.OK
        except BaseException as error:  # crosses C: kept here, raised again by check()
            self.error = error
            return _api.E_HOST

    def run(self, function, *arguments, path=None):
        """Calls the library; raises what a callback raised, else what the status means."""
        _run([self], function, *arguments, path=path)


def _run(listeners, function, *arguments, path=None):
    """The same, where callbacks of several solvers may be called."""
    for events in listeners:
        events.error = None  # an interrupt may have come before it was raised
    status = calling_back(function, *arguments)
    error = next((events.error for events in listeners if events.error is not None), None)
    for events in listeners:
        events.error = None
    if error is not None:
        interrupt = take_interrupt()
        if interrupt is not None:
            raise interrupt from error
        raise error
    check(lib(), status, path)


def _all_reduce(function, events):
    """function(array) -> in place, as the C API wants it."""
    def reduce(_user, data, count):
        try:
            function(np.ctypeslib.as_array(data, shape=(count,)))
            return _api.OK
        except BaseException as error:
            events.error = error
            return _api.E_HOST
    return _api.all_reduce_fn(reduce)


def _int64(iterations):
    iterations = operator.index(iterations)
    if ctypes.c_int64(iterations).value != iterations:
        raise OverflowError('iterations: %d is out of range' % iterations)
    return iterations


def _with_type(text, kind):
    """A solver prototxt's text with another type in it."""
    text = re.sub(r'(?m)^\s*(type\s*:\s*("[^"]*"|\'[^\']*\')|solver_type\s*:\s*\w+)', '', text)
    return text + '\ntype: "%s"\n' % kind


class Solver:
    """A solver made from a solver prototxt.

    solver_file   its path; or None, and its text as `text=`.
    net_text      text of the net, in place of the net fields of the solver.
    context       a deepnet.Context; default: of the enclosing `with`, else the process's.
    seed          in place of the prototxt's random_seed.
    max_iter      in place of the prototxt's.
    manual_tests, manual_snapshots  True: none by themselves; call test() and snapshot().
    compute, compute_fallback, memory  of its nets, as for Net.
    level, stages for the rules of the train net's layers, beside the prototxt's train_state.
    all_reduce    function(array): sums the gradients over processes, in place, before updates.
    rank, num_ranks  num_ranks > 1: this is solver `rank` of so many that train one net, each on
                  its own part of the data: its data layers take records rank,
                  rank + num_ranks, ..., and its random numbers are its own. Only rank 0 has
                  test nets and takes the prototxt's snapshots. With all_reduce, over processes;
                  else for Parallel.

    Statuses as for Net. SGDSolver and its kin take the same arguments, and their own update
    rule whatever the file says. A solver is for one thread at a time, cancel() apart.
    """

    _type = None

    def __init__(self, solver_file=None, *, text=None, net_text=None, context=None, seed=None,
                 max_iter=0, manual_tests=False, manual_snapshots=False, all_reduce=None,
                 compute='f32', compute_fallback=False, memory='readable', rank=0,
                 num_ranks=0, level=0, stages=None):
        if (solver_file is None) == (text is None):
            raise TypeError('%s takes solver_file or text' % type(self).__name__)
        context = context or current_context()
        self._events = _Events()
        options = _api.dn_solver_options(
            on_event=self._events.function, max_iter=max_iter, manual_tests=int(manual_tests),
            manual_snapshots=int(manual_snapshots), seed_given=int(seed is not None),
            seed=operator.index(seed or 0) & (2**64 - 1), compute=choose(COMPUTE, compute, 'compute'),
            compute_fallback=int(compute_fallback), memory=choose(MEMORY, memory, 'memory'),
            rank=rank, num_ranks=num_ranks, level=level)
        options.stages, options.num_stages = names_array(stages)
        if all_reduce is not None:
            options.all_reduce = _all_reduce(all_reduce, self._events)
        self._file, self._source = solver_file, text
        handle = self._create(context, solver_file, text, net_text, options)
        if self._type and lib().solver_type(handle).decode() != self._type:
            lib().solver_free(handle)
            self._source = _with_type(self._prototxt(), self._type)
            handle = self._create(context, None, self._source, net_text, options)
        self._solver = handle
        self._owner = Owner(handle, lib().solver_free, context._owner)
        self._owner.keep((self._events, options))
        self.net = Net._borrow(lib().solver_net(handle), self._owner)
        self.test_nets = [Net._borrow(lib().solver_test_net(handle, i), self._owner)
                          for i in range(lib().solver_num_test_nets(handle))]

    @staticmethod
    def _create(context, solver_file, text, net_text, options):
        if text is None:
            create, source = lib().solver_create_from_prototxt, [path_bytes(solver_file)]
        else:
            data, net = to_c(text), to_c(net_text)
            create = lib().solver_create_from_text
            source = [data, len(data), net, len(net or b'')]
        return make(create, lib().solver_free, context._owner.handle, *source,
                    ctypes.byref(options), path=solver_file)

    def _prototxt(self):
        if self._source is None:
            with open(self._file, encoding='utf-8', errors='surrogateescape') as file:
                self._source = file.read()
        return self._source if isinstance(self._source, str) else from_c(self._source)

    # ---- where it stands ---------------------------------------------------------------------

    @property
    def iter(self):
        """Iterations done."""
        return lib().solver_iteration(self._solver)

    @property
    def max_iter(self):
        """The iteration at which solve() stops."""
        return lib().solver_max_iteration(self._solver)

    @property
    def type(self):
        """The update rule: 'SGD', 'Nesterov', 'AdaGrad', 'RMSProp', 'AdaDelta' or 'Adam'."""
        return lib().solver_type(self._solver).decode()

    @property
    def loss(self):
        """The loss, averaged over the last `average_loss` iterations."""
        return lib().solver_loss(self._solver)

    @property
    def learning_rate(self):
        """The learning rate of the next iteration, by the policy or as set. Setting one holds
        until another is set; None goes back to the policy."""
        return lib().solver_learning_rate(self._solver)

    @learning_rate.setter
    def learning_rate(self, rate):
        rate = -1 if rate is None else float(rate)
        check(lib(), lib().solver_set_learning_rate(self._solver, rate))

    @property
    def test_interval(self):
        """Iterations between two tests; 0: none."""
        return lib().solver_test_interval(self._solver)

    @property
    def display(self):
        """Iterations between two displays; 0: none."""
        return lib().solver_display(self._solver)

    @property
    def param(self):
        """The solver prototxt as a caffe_pb2.SolverParameter (a copy; read it, do not set)."""
        from .proto import caffe_pb2, text_format
        return text_format.Parse(self._prototxt(), caffe_pb2.SolverParameter())

    # ---- training ----------------------------------------------------------------------------

    def step(self, iterations, progress=False):
        """Runs that many iterations: forward and backward, update; tests, displays and
        snapshots when the solver says. progress: True shows a bar (tqdm's, if installed).
        Raises what failed, CancelledError, or what a callback raised; weights and histories are
        then those of the last whole iteration. An iteration that failed on its way has used its
        batch and random numbers, and moved BatchNorm's averages."""
        iterations = _int64(iterations)
        with self._progress(iterations if progress else 0):
            self._events.run(lib().solver_step, self._solver, iterations)

    def solve(self, resume_file=None, progress=False):
        """Trains to max_iter, from a .solverstate if one is given."""
        if resume_file is not None:
            self.restore(resume_file)
        with self._progress(max(0, self.max_iter - self.iter) if progress else 0):
            self._events.run(lib().solver_solve, self._solver)

    def _progress(self, total):
        from ._progress import Progress
        return Progress(self, total)

    def apply_update(self):
        """The update from the gradients as they stand, then iter + 1: for loops that run
        net.forward and net.backward by themselves (net.clear_param_diffs is theirs too)."""
        self._events.run(lib().solver_apply_update, self._solver)

    def cancel(self):
        """Asks a running step() to stop after this iteration, from any thread; if none runs,
        the next one stops at once."""
        lib().solver_cancel(self._solver)

    def test(self, index=0):
        """Runs test net `index` test_iter times.
        Returns {output: mean}: a float, or an array for outputs of several elements."""
        self._events.run(lib().solver_test, self._solver, index)
        return self.test_outputs(index)

    def test_outputs(self, index=0):
        """The averages of the last test of net `index`, as test() returns them."""
        values = collections.OrderedDict()
        for i in range(lib().solver_num_test_outputs(self._solver, index)):
            name = from_c(lib().solver_test_output_name(self._solver, index, i))
            values.setdefault(name, []).append(lib().solver_test_output(self._solver, index, i))
        return {name: v[0] if len(v) == 1 else np.array(v, np.float32)
                for name, v in values.items()}

    def on(self, kind, callback):
        """Calls callback(event) at each event of a kind: 'step_begin', 'gradients' (they are
        ready, the update is next), 'step_end', 'test_begin', 'test_end', 'display', 'snapshot'.
        What it raises ends the step."""
        self._events.callbacks[choose(_KINDS, kind, 'event')].append(callback)
        return callback

    def off(self, kind, callback):
        """Takes a callback back."""
        self._events.callbacks[choose(_KINDS, kind, 'event')].remove(callback)

    def add_callback(self, on_start, on_gradients_ready):
        """pycaffe's: both are called without arguments in each iteration, one before it begins
        and one when its gradients are ready."""
        self.on('step_begin', lambda _event: on_start())
        self.on('gradients', lambda _event: on_gradients_ready())

    # ---- files -------------------------------------------------------------------------------

    def snapshot(self, path=None):
        """Writes PATH.caffemodel and PATH.solverstate; default: snapshot_prefix + '_iter_N'.
        Both appear whole or not at all. Raises FileError."""
        name = None if path is None else path_bytes(path)
        self._events.run(lib().solver_snapshot, self._solver, name)

    def restore(self, path):
        """Takes up training from a .solverstate and the weights it names. On failure the solver
        is unchanged. Raises FileMissingError, ParseError, DataError."""
        self._events.run(lib().solver_restore, self._solver, path_bytes(path), path=path)

    def share_weights(self, net):
        """Lets `net` use the train net's weights, without a copy."""
        net.share_with(self.net)

    def __repr__(self):
        return '<deepnet.%s: iteration %d of %d>' % (type(self).__name__, self.iter,
                                                     self.max_iter)


class SGDSolver(Solver):
    """Stochastic gradient descent with momentum."""
    _type = 'SGD'


class NesterovSolver(Solver):
    """Nesterov's accelerated gradient."""
    _type = 'Nesterov'


class AdaGradSolver(Solver):
    """Steps divided by the root of the summed squares of gradients."""
    _type = 'AdaGrad'


class RMSPropSolver(Solver):
    """Steps divided by the root of a decaying average of squared gradients."""
    _type = 'RMSProp'


class AdaDeltaSolver(Solver):
    """Steps scaled by the ratio of decaying averages of squared updates and gradients."""
    _type = 'AdaDelta'


class AdamSolver(Solver):
    """Adaptive moments, with bias correction."""
    _type = 'Adam'


class Parallel:
    """Solvers that train one net together, on several devices or in several contexts: each
    computes the gradients of its own batch, and the mean of them is the step of all.

    solvers   1 to 64, made from one prototxt with rank = their index and num_ranks = their
              number. All take over the weights, histories and iteration of the first. Until
              close(), or the end of a `with`, none steps by itself (StateError).

    Callbacks of solvers but the first are called in threads of the library's. Raises
    InvalidError for solvers that do not fit together.
    """

    def __init__(self, solvers):
        self.solvers = tuple(solvers)
        for solver in self.solvers:
            if not isinstance(solver, Solver):
                raise TypeError('Parallel takes Solvers, not %r' % type(solver).__name__)
        handles = (ctypes.c_void_p * len(self.solvers))(*[s._solver for s in self.solvers])
        handle = make(lib().parallel_create, lib().parallel_free, handles, len(handles))
        self._owner = Owner(handle, lib().parallel_free, *[s._owner for s in self.solvers])

    def _run(self, function, *arguments):
        owner = self._owner  # held here: whoever closes meanwhile only lets it go
        if owner is None:
            raise ValueError('the Parallel is closed')
        _run([s._events for s in self.solvers], function, owner.handle, *arguments)

    def step(self, iterations):
        """As Solver.step, for all of them at once. If one fails, all stop, and the next call
        goes on from the state of the first. To cancel, call solvers[0].cancel()."""
        self._run(lib().parallel_step, _int64(iterations))

    def solve(self):
        """Trains to max_iter."""
        self._run(lib().parallel_solve)

    @property
    def transport(self):
        """What the gradients travel by: a backend's name, such as 'cuda', or 'host'."""
        return lib().parallel_transport(self._owner and self._owner.handle).decode()

    def close(self):
        """Lets the solvers go, each on its own again; in the midst of a step, after it."""
        self._owner = None

    def __enter__(self):
        return self

    def __exit__(self, *_exception):
        self.close()


_CLASSES = {cls._type: cls for cls in (SGDSolver, NesterovSolver, AdaGradSolver, RMSPropSolver,
                                       AdaDeltaSolver, AdamSolver)}


def get_solver(solver_file=None, **options):
    """The solver that a prototxt describes, of the class that its type names. Arguments as
    for Solver."""
    solver = Solver(solver_file, **options)
    solver.__class__ = _CLASSES.get(solver.type, Solver)
    return solver
