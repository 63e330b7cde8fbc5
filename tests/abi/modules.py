#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""modules.py MODULE...: a backend module exports dn_backend_entry and nothing else, and needs no
library of a vendor to load; the CUDA module nothing but the C library's."""
import os
import re
import subprocess
import sys

OF_C = re.compile(r'(lib(c|m|dl|rt|pthread|gcc_s|[alut]+san)|ld-linux[-\w]*)\.so\b')


def defined(path):
    out = subprocess.run(['nm', '-D', '--defined-only', path], capture_output=True, text=True,
                         check=True).stdout
    return {line.split()[-1] for line in out.splitlines()}


def needed(path):
    out = subprocess.run(['readelf', '-d', path], capture_output=True, text=True,
                         check=True).stdout
    return [line.split('[')[1].rstrip(']') for line in out.splitlines() if '(NEEDED)' in line]


failures = 0
for path in sys.argv[1:]:
    extra = sorted(defined(path) ^ {'dn_backend_entry'})
    if extra:
        print('%s: exports %s' % (path, ', '.join(extra[:8])))
        failures += 1
    vendor = [name for name in needed(path) if name.startswith(('libcu', 'libnccl', 'libnv'))]
    if os.path.basename(path) == 'deepnet-cuda.so':
        vendor = [name for name in needed(path) if not OF_C.match(name)]
    if vendor:
        print('%s: does not load without %s' % (path, ', '.join(vendor)))
        failures += 1
print('%d modules, %d failures' % (len(sys.argv) - 1, failures))
sys.exit(failures != 0)
