# SPDX-License-Identifier: BSD-2-Clause
"""What scripts call of pycaffe that is not about nets: its log, its clock, and how many
processes share the training, which is one here."""
import logging
import time

from ._errors import UnsupportedError

_logger = logging.getLogger('deepnet')


def init_log(level=0, stderr=False):
    """From which severity on to log, as glog counts (0: notices, 1: warnings, 2: errors);
    stderr=True prints it. The log is the logger 'deepnet' of Python's `logging`."""
    _logger.setLevel((logging.INFO, logging.WARNING, logging.ERROR)[min(int(level), 2)])
    if stderr and not _logger.handlers:
        _logger.addHandler(logging.StreamHandler())


def log(message):
    """Adds a notice to the log."""
    _logger.info('%s', message)


class Timer:
    """A stopwatch."""

    def __init__(self):
        self.start()

    def start(self):
        """From now on."""
        self._began, self._ended = time.perf_counter(), None

    def stop(self):
        """Until now."""
        self._ended = time.perf_counter()

    @property
    def ms(self):
        """Milliseconds from start() to stop(), or until now."""
        ended = time.perf_counter() if self._ended is None else self._ended
        return (ended - self._began) * 1000


def has_nccl():
    """False: nothing is told of ranks here; deepnet.Parallel and `deepnet train --gpu=0,1` take
    several GPUs."""
    return False


def solver_count():
    """1; see has_nccl."""
    return 1


def solver_rank():
    """0; see has_nccl."""
    return 0


def set_solver_count(count):
    """Takes 1 alone; see has_nccl."""
    _alone(count == 1)


def set_solver_rank(rank):
    """Takes 0 alone; see has_nccl."""
    _alone(rank == 0)


def set_multiprocess(multiprocess):
    """Takes False alone; see has_nccl."""
    _alone(not multiprocess)


def _alone(is_alone):
    if not is_alone:
        raise UnsupportedError('from Python one solver trains, in one process; '
                               '`deepnet train --gpu=0,1` takes several GPUs')
