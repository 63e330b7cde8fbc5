# SPDX-License-Identifier: BSD-2-Clause
"""The bar that step(progress=True) shows: tqdm's if it is installed, else one line that is
rewritten, and nothing where standard error is no terminal."""
import sys
import time


class _Line:
    """As much of tqdm as is needed here."""

    def __init__(self, total):
        self.total, self.n, self.begun, self.shown = total, 0, time.monotonic(), 0.0
        self.text = ''

    def set_postfix_str(self, text, refresh=False):
        self.text = text

    def update(self, n):
        self.n += n
        now = time.monotonic()
        if now - self.shown < 0.1 and self.n < self.total:
            return
        self.shown = now
        rate = self.n / max(now - self.begun, 1e-9)
        left = (self.total - self.n) / rate if rate else 0
        sys.stderr.write('\r%d/%d  %.1f it/s  %d:%02d left  %s\x1b[K' % (
            self.n, self.total, rate, left // 60, left % 60, self.text))
        sys.stderr.flush()

    def close(self):
        sys.stderr.write('\n')


class Progress:
    """Shows a solver's iterations while the block runs; total 0 shows nothing."""

    def __init__(self, solver, total):
        self._solver, self._total, self._bar = solver, total, None

    def __enter__(self):
        if self._total and sys.stderr.isatty():
            try:
                from tqdm.auto import tqdm
                self._bar = tqdm(total=self._total, unit='it')
            except ImportError:
                self._bar = _Line(self._total)
            self._solver.on('step_end', self._advance)
        return self

    def _advance(self, event):
        self._bar.set_postfix_str('loss %.4g, lr %.3g' % (event.loss, event.rate),
                                  refresh=False)
        self._bar.update(1)

    def __exit__(self, *_):
        if self._bar is not None:
            self._solver.off('step_end', self._advance)
            self._bar.close()
