#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""A device that takes no case of a kind fails the kernel check, which says of which kind; the
same device that takes them passes. Usage: check_declines.py CHECK_KERNELS MODULE"""
import os
import subprocess
import sys

UNARY, POOL = 4, 16  # DN_OP_*


def check(declines):
    env = dict(os.environ, DN_TEST_EVERY='40', DN_TEST_THREADS='1', DN_TEST_LOOPS='25',
               DN_FAKE_DECLINES=str(declines))
    done = subprocess.run(sys.argv[1:], env=env, stdout=subprocess.PIPE, text=True)
    refused = [line.split()[0] for line in done.stdout.splitlines()
               if 'no case that is not declined' in line]
    return done.returncode, refused


failed = 0
for declines, expected in (0, (0, [])), (1 << UNARY | 1 << POOL, (1, ['UNARY', 'POOL'])):
    found = check(declines)
    if found != expected:
        print(f'declines {declines:#x}: {found}, expected {expected}')
        failed += 1
sys.exit(failed != 0)
