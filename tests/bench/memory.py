#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""What nets take: peak resident memory of deepnet and PyTorch, and what Caffe's rule gives.

usage: memory.py [NAME...] --torch PYTHON [--jobs train,infer] [--threads N] [--json FILE]

Every engine runs two steps or passes of the net in a process of its own, one after the other:
deepnet in training with every blob readable and with memory compact, in inference compact;
PyTorch in compare.py's mode `default`, since the others raise the allocator's thresholds.
Printed in MB: the peak, in parentheses the peak without what was resident when the engine had
been loaded, and of deepnet what it says that it allocates, the solver's history with it.

Caffe's column is computed from shapes, not measured: what Caffe 1.0's CPU code touches, since
it allocates when it first touches. Every blob has data, in training with a diff; layers in
place have none of their own; a blob with several readers has a diff for each. Weights have
data, diff and history. A convolution that is not 1x1 has one image's columns, backward as
forward; BatchNorm has two more of its top, Scale in place one, LRN and Dropout one, max pooling
the indices, the loss its probabilities. A star: a net with layers that Caffe 1.0 lacks.
"""
import argparse
import json
import os
import sys
import tempfile

import compare
import numpy as np
from compare import INFER, TRAIN, Case, Worker

CAFFE = ('Input Convolution Deconvolution InnerProduct Pooling LRN ReLU Sigmoid TanH Dropout '
         'BatchNorm Scale Bias Concat Slice Split Eltwise Flatten Reshape Crop Softmax '
         'SoftmaxWithLoss SigmoidCrossEntropyLoss EuclideanLoss ContrastiveLoss Power PReLU '
         'ELU Embed Reduction Tile MVN LSTM RNN').split()


def count(shape):
    return int(np.prod(shape, dtype=np.int64))


def columns(layer, weights, top):
    """Elements of im2col's buffer; groups have one together."""
    param = layer.get('convolution_param', {})
    plain = all(k == 1 for k in weights[2:]) and set(param.get('stride', [1])) == {1} and \
        set(param.get('pad', [0])) == {0}
    return 0 if plain else count(weights[1:]) * param.get('group', 1) * count(top[2:])


def extra(layer, shapes, weights, train):
    """Elements that a layer has beside its blobs and weights."""
    kind, bottom, top = layer['type'], layer.get('bottom', []), layer.get('top', [])
    size = count(shapes[bottom[0]]) if bottom else 0
    if kind == 'Convolution':
        return columns(layer, weights[0], shapes[top[0]])
    if kind == 'Deconvolution':
        return columns(layer, weights[0], shapes[bottom[0]])
    if kind == 'BatchNorm':
        return 2 * size
    if kind == 'Scale':
        return size if bottom[0] == top[0] else 0
    if kind == 'Pooling':  # masks of MAX
        how = layer.get('pooling_param', {}).get('pool', 0)
        return count(shapes[top[0]]) if how == 0 else 0
    if kind == 'Dropout':
        return size if train else 0
    return size if kind in ('LRN', 'SoftmaxWithLoss', 'SigmoidCrossEntropyLoss') else 0


def caffe_bytes(case):
    """What Caffe's rule gives, and whether it has all layers."""
    job, total = case.job, 0
    weights, readers = {}, {}
    for name, _, shape, _ in job['params']:
        weights.setdefault(name, []).append(shape)
        total += count(shape) * (3 if job['train'] else 1)
    inputs = {t for l in job['layers'] if l['type'] == 'Input' for t in l['top']}
    for layer in job['layers']:
        total += extra(layer, job['shapes'], weights.get(layer['name']), job['train'])
        for blob in set(layer.get('bottom', [])) - set(layer.get('top', [])):
            readers[blob] = readers.get(blob, 0) + 1
    for blob, shape in job['shapes'].items():
        n = readers.get(blob, 0)
        diffs = 0 if not job['train'] or blob in inputs else n + 1 if n > 1 else 1
        total += count(shape) * (1 + diffs)
    return 4 * total, all(l['type'] in CAFFE for l in job['layers'])


def peak(args, case, engine, name, mode):
    worker = Worker(args, case, engine, name, mode, args.threads)
    worker.read()
    worker.ask(do='warm', seconds=0)
    memory = worker.ask(do='memory')
    if worker.error:
        return {'error': worker.error}
    worker.close()
    return {'peak': memory['peak'], 'own': memory['peak'] - memory['base'],
            'placed': memory['placed']}


def measure(args, name, train):
    case = Case(args.folder, name, train, None)
    row = {'net': name, 'job': 'train' if train else 'infer', 'batch': case.job['batch'],
           'threads': args.threads, 'deepnet': {}}
    for memory in ('readable', 'compact') if train else ('compact',):
        mode = {'backends': args.backends, 'options': {'memory': memory}}
        row['deepnet'][memory] = peak(args, case, 'deepnet', memory, mode)
    engine, label, mode = (TRAIN if train else INFER)[0]
    row['torch'] = peak(args, case, engine, label, mode) if args.torch else {}
    row['caffe'], row['caffe_has_it'] = caffe_bytes(case)
    return row


def text_of(found):
    if 'peak' not in found:
        return '%13s' % '-'
    return '%6.0f (%4.0f)' % (found['peak'] / 1e6, found['own'] / 1e6)


def print_row(row):
    theirs = row['torch']
    text = '%-14s %-6s %3d  %s' % (row['net'], row['job'], row['batch'], text_of(theirs))
    text += '  %5.0f%s' % (row['caffe'] / 1e6, ' ' if row['caffe_has_it'] else '*')
    for memory in ('readable', 'compact'):
        ours = row['deepnet'].get(memory, {})
        text += '  | ' + text_of(ours)
        if 'peak' in ours:
            of = [ours[k] / theirs.get(k, float('nan')) for k in ('peak', 'own')]
            text += ' %5.0f  %4.2f %4.2f %4.2f' % (ours['placed'] / 1e6, *of,
                                                   ours['placed'] / row['caffe'])
        else:
            text += ' ' * 22
        if 'error' in ours:
            text += ' ' + ours['error'][:60]
    print(text, flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('names', nargs='*')
    parser.add_argument('--jobs', default='train,infer')
    parser.add_argument('--threads', type=int, default=1)
    parser.add_argument('--backends', default='cpu')
    parser.add_argument('--torch', help='the Python that has it')
    parser.add_argument('--json', help='file for all figures')
    parser.add_argument('--build', default=os.path.join(compare.HERE, '..', '..', 'build'))
    parser.add_argument('--verbose', action='store_true')
    parser.set_defaults(patience=None, patience_first=None, until=float('inf'))
    args = parser.parse_args()
    os.environ.setdefault('DEEPNET_LIBRARY',
                          os.path.abspath(os.path.join(args.build, 'lib', 'libdeepnet.so')))
    import nets
    rows = []
    print("MB: peak (of it after loading), of deepnet what it allocates; the first two over "
          "PyTorch's, the last over Caffe's\n%-25s %13s  %6s  | %-35s | compact"
          % ('', 'PyTorch', 'Caffe', 'every blob readable'))
    with tempfile.TemporaryDirectory() as args.folder:
        for name in args.names or nets.NETS:
            for job in args.jobs.split(','):
                rows.append(measure(args, name, job == 'train'))
                print_row(rows[-1])
    if args.json:
        with open(args.json, 'w') as f:
            json.dump(rows, f, indent=1)


if __name__ == '__main__':
    sys.exit(main())
