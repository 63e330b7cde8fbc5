#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Turns the recorded batches (npz) into flat little-endian files that test_data.c reads.

usage: make_reference.py FOLDER_OF_NPZ FOLDER_OF_BIN
data_*.bin: int64 shape[4], then for each of three batches: float32 labels, float64 sums, float64
sums weighted by position, float32 pixels of the first image. hdf5_data.bin: float32 data, labels.
"""
import os
import sys

import numpy as np


def flatten(z, name):
    if name == 'hdf5_data':
        return [z['%s%d' % (k, i)] for i in range(5) for k in ('data', 'label')]
    return [z['shape']] + [z['%s%d' % (k, i)] for i in range(3)
                           for k in ('label', 'sum', 'wsum', 'first')]


for file in sorted(os.listdir(sys.argv[1])):
    name, end = os.path.splitext(file)
    if end == '.npz' and (name.startswith('data_') or name == 'hdf5_data'):
        with open(os.path.join(sys.argv[2], name + '.bin'), 'wb') as out:
            for array in flatten(np.load(os.path.join(sys.argv[1], file)), name):
                out.write(np.ascontiguousarray(array).tobytes())
