#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""compute='bf16', 'tf32': a line where no backend offers it, f32 where the user accepts that,
also with a module on a machine that lacks the instructions; with DEEPNET_TEST_MODULE, results
that the precision explains, and the same bits for any number of threads. No ReLU: what rounding
moves across zero makes gradients jump.
"""
import os
import subprocess
import sys

import numpy as np

import deepnet

NET = '''
layer { name: 'x' type: 'Input' top: 'x' top: 't'
  input_param { shape { dim: 8 dim: 16 dim: 14 dim: 14 } shape { dim: 8 } } }
layer { name: 'conv' type: 'Convolution' bottom: 'x' top: 'conv'
  convolution_param { num_output: 32 kernel_size: 3 pad: 1 weight_filler { type: 'xavier' } } }
layer { name: 'tanh' type: 'TanH' bottom: 'conv' top: 'conv' }
layer { name: 'deep' type: 'Convolution' bottom: 'conv' top: 'deep'
  convolution_param { num_output: 48 kernel_size: 3 stride: 2
    weight_filler { type: 'xavier' } } }
layer { name: 'ip' type: 'InnerProduct' bottom: 'deep' top: 'ip'
  inner_product_param { num_output: 10 weight_filler { type: 'xavier' } } }
layer { name: 'loss' type: 'SoftmaxWithLoss' bottom: 'ip' bottom: 't' top: 'loss' }
'''
DENSE = '''
layer { name: 'x' type: 'Input' top: 'x' top: 't'
  input_param { shape { dim: 4 dim: 64 dim: 28 dim: 28 } shape { dim: 4 } } }
''' + ''.join('''
layer { name: '%(y)s_n' type: 'BatchNorm' bottom: '%(x)s' top: '%(y)s_n' }
layer { name: '%(y)s_s' type: 'Scale' bottom: '%(y)s_n' top: '%(y)s_n'
  scale_param { bias_term: true } }
layer { name: '%(y)s_r' type: 'ReLU' bottom: '%(y)s_n' top: '%(y)s_n' }
layer { name: '%(y)s' type: 'Convolution' bottom: '%(y)s_n' top: '%(y)s'
  convolution_param { num_output: %(outputs)d kernel_size: %(kernel)d pad: %(pad)d
    bias_term: false weight_filler { type: 'xavier' } } }
''' % dict(x=x, y=y, outputs=outputs, kernel=kernel, pad=kernel // 2)
    for x, y, outputs, kernel in (('x', 'conv', 128, 1), ('conv', 'deep', 32, 3))) + '''
layer { name: 'all' type: 'Concat' bottom: 'x' bottom: 'deep' top: 'all' }
layer { name: 'ip' type: 'InnerProduct' bottom: 'all' top: 'ip'
  inner_product_param { num_output: 10 weight_filler { type: 'xavier' } } }
layer { name: 'loss' type: 'SoftmaxWithLoss' bottom: 'ip' bottom: 't' top: 'loss' }
'''
BOUNDS = {'tf32': 2.5e-3, 'bf16': 2e-2}  # of a result, by its largest
complaints = []


def expect(what, true):
    if not true:
        complaints.append(what)


def results(context, text=NET, **options):
    """What a step gives: activations and gradients by name."""
    net = deepnet.Net(text=text, phase=deepnet.TRAIN, context=context, **options)
    random = np.random.RandomState(7)
    net.blobs['x'].data[...] = random.randn(*net.blobs['x'].data.shape)
    net.blobs['t'].data[...] = random.randint(0, 10, net.blobs['t'].data.shape)
    net.forward()
    net.backward()
    out = {name: np.array(net.blobs[name].data) for name in ('conv', 'deep', 'ip', 'loss')}
    for layer in ('conv', 'deep', 'ip'):
        out['d ' + layer] = np.array(net.params[layer][0].diff)
    return out


def without(context, compute='bf16'):
    try:
        results(context, compute=compute)
        complaints.append('a chain without %s accepted it' % compute)
    except deepnet.UnsupportedError as error:
        expect('the line does not say why: %s' % error, compute in str(error).lower())
    for text in (NET, DENSE):
        for memory in ('readable', 'compact'):
            keep = dict(memory=memory, keep=('conv', 'deep', 'ip', 'loss'))
            wide = results(context, text, **keep)
            narrow = results(context, text, compute=compute, compute_fallback=True, **keep)
            expect('the fallback is not f32', all((wide[k] == narrow[k]).all() for k in wide))
    try:
        results(context, compute='f16')
        complaints.append("compute='f16' was accepted")
    except ValueError:
        pass


def limited(path):
    """The module on a machine that has no bf16: oneDNN is told so before it is loaded."""
    run = subprocess.run([sys.executable, __file__], stdout=subprocess.PIPE, text=True,
                         env=dict(os.environ, ONEDNN_MAX_CPU_ISA='AVX512_CORE',
                                  DNNL_MAX_CPU_ISA='AVX512_CORE', DEEPNET_TEST_LIMITED='1'))
    expect('without bf16 instructions: ' + run.stdout, run.returncode == 0)


def in_precision(contexts, wide, compute):
    """False: no backend offers it."""
    try:
        narrow = results(contexts[0], compute=compute)
    except deepnet.UnsupportedError:
        without(contexts[0], compute)
        return False
    for name, value in wide.items():
        off = np.abs(narrow[name] - value).max() / np.abs(value).max()
        expect('%s in %s differs by %.2g of its largest' % (name, compute, off),
               off < BOUNDS[compute])
    expect('%s: nothing was rounded' % compute, (narrow['deep'] != wide['deep']).any())
    for context in contexts[1:]:
        other = results(context, compute=compute)
        expect('%s: other bits with %d threads' % (compute, context.num_threads),
               all((other[name] == narrow[name]).all() for name in other))
    return True


def with_module(contexts):
    wide = results(contexts[0])
    offered = [compute for compute in BOUNDS if in_precision(contexts, wide, compute)]
    if 'cuda' in os.path.basename(module) and not on_device:
        expect('the fakes offer %s alone' % offered, offered == list(BOUNDS))
    if not offered and not complaints:
        print('skipped but for the line and the fallback')
        sys.exit(77)


module, on_device = (os.environ.get('DEEPNET_TEST_' + name) for name in ('MODULE', 'DEVICE'))
if os.environ.get('DEEPNET_TEST_LIMITED'):
    without(deepnet.Context(backends=module + ',cpu,ref'))
elif module:
    try:
        made = [deepnet.Context(threads, seed=3, backends=module + ',cpu,ref')
                for threads in (1, 2, 3)]
    except deepnet.UnsupportedError as error:
        if not on_device:
            raise
        print('skipped: %s' % error)
        sys.exit(77)
    with_module(made)
    if 'onednn' in os.path.basename(module):
        limited(module)
else:
    for precision in BOUNDS:
        without(deepnet.Context(backends='cpu,ref'), precision)
for complaint in complaints:
    print(complaint)
sys.exit(bool(complaints))
