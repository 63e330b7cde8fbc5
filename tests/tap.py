# SPDX-License-Identifier: BSD-2-Clause
"""Tests as plain functions, reported in TAP so that meson and tests/run.sh count each of them."""
import traceback


class Skip(Exception):
    """Raised by a test that cannot run here; the text says why."""


_tests = []


def test(function):
    _tests.append(function)
    return function


def expect(condition, message):
    if not condition:
        raise AssertionError(message)


def main():
    """Runs the tests in order; returns the exit code."""
    failed = 0
    print(f'1..{len(_tests)}', flush=True)
    for number, function in enumerate(_tests, 1):
        name = function.__name__.replace('_', ' ')
        try:
            function()
            print(f'ok {number} - {name}', flush=True)
        except Skip as reason:
            print(f'ok {number} - {name} # SKIP {reason}', flush=True)
        except Exception:
            failed += 1
            print(f'not ok {number} - {name}', flush=True)
            for line in traceback.format_exc().splitlines():
                print(f'# {line}', flush=True)
    return 1 if failed else 0
