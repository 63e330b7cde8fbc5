#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""targets.py NVCC MODULE [CAPABILITY...]: the CUDA module has machine code for the compute
capabilities that README.md promises of this nvcc (or for these: gpu_arch), in every kernel's
file, and PTX of the oldest, from which a driver makes the code of newer devices. The fat
binaries are read here, as cuobjdump does not come with every nvcc."""
import re
import struct
import subprocess
import sys

MAGIC, PTX, MACHINE_CODE = 0xBA55ED50, 1, 2


def section(path, wanted):
    """The bytes of a section of an ELF file of 64 bits."""
    with open(path, 'rb') as f:
        data = f.read()
    table, = struct.unpack_from('<Q', data, 0x28)
    size, count, names = struct.unpack_from('<HHH', data, 0x3a)
    headers = [struct.unpack_from('<IIQQQQ', data, table + i * size) for i in range(count)]
    for header in headers:
        at = headers[names][4] + header[0]
        if data[at:data.index(b'\0', at)] == wanted:
            return data[header[4]:header[4] + header[5]]
    return b''


def fat_binaries(data):
    """What each of them has: a list of (PTX or MACHINE_CODE, capability)."""
    at = 0
    while at + 16 <= len(data):
        magic, _, header, size = struct.unpack_from('<IHHQ', data, at)
        if magic != MAGIC:  # they are aligned
            at += 8
            continue
        inside, at = at + header, at + header + size
        found = []
        while inside < at:
            kind, _, header, size = struct.unpack_from('<HHIQ', data, inside)
            found.append((kind, struct.unpack_from('<I', data, inside + 28)[0]))
            inside += header + size
        yield found


def promised(nvcc):
    out = subprocess.run([nvcc, '--version'], capture_output=True, text=True, check=True).stdout
    major = int(re.search(r'release (\d+)', out).group(1))
    return ([70] if major < 13 else []) + [75, 80, 90]


def main(nvcc, module, *chosen):
    wanted = [int(c) for c in chosen] or promised(nvcc)
    wanted = sorted([(PTX, wanted[0])] + [(MACHINE_CODE, c) for c in wanted])
    binaries = list(fat_binaries(section(module, b'.nv_fatbin')))
    failures = 0 if binaries else 1
    for i, found in enumerate(binaries):
        if sorted(found) != wanted:
            print('fat binary %d has %s, not %s' % (i, sorted(found), wanted))
            failures += 1
    print('%d fat binaries, %d failures' % (len(binaries), failures))
    return failures > 0


if __name__ == '__main__':
    sys.exit(main(*sys.argv[1:]))
