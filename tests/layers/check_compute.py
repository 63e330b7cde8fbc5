#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""compute='bf16': a line where no backend offers it, f32 where the user accepts that, also with
a module on a machine that lacks the instructions; with DEEPNET_TEST_MODULE, results that bf16
explains, and the same bits for any number of threads. No ReLU: what rounding moves across zero
makes gradients jump.
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


def without_bf16(context):
    try:
        results(context, compute='bf16')
        complaints.append('a chain without bf16 accepted it')
    except deepnet.UnsupportedError as error:
        expect('the line does not say why: %s' % error, 'bf16' in str(error))
    for text in (NET, DENSE):
        for memory in ('readable', 'compact'):
            keep = dict(memory=memory, keep=('conv', 'deep', 'ip', 'loss'))
            wide = results(context, text, **keep)
            narrow = results(context, text, compute='bf16', compute_fallback=True, **keep)
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


def with_module(path):
    contexts = [deepnet.Context(threads, seed=3, backends=path + ',cpu,ref')
                for threads in (1, 2, 3)]
    wide = results(contexts[0])
    try:
        narrow = results(contexts[0], compute='bf16')
    except deepnet.UnsupportedError as error:
        without_bf16(contexts[0])
        if complaints:
            return
        print('skipped but for the line and the fallback: %s' % error)
        sys.exit(77)
    for name, value in wide.items():
        off = np.abs(narrow[name] - value).max() / np.abs(value).max()
        expect('%s differs by %.2g of its largest' % (name, off), off < 2e-2)
    expect('nothing was rounded', (narrow['deep'] != wide['deep']).any())
    for context in contexts[1:]:
        other = results(context, compute='bf16')
        expect('other bits with %d threads' % context.num_threads,
               all((other[name] == narrow[name]).all() for name in other))


module = os.environ.get('DEEPNET_TEST_MODULE')
if os.environ.get('DEEPNET_TEST_LIMITED'):
    without_bf16(deepnet.Context(backends=module + ',cpu,ref'))
elif module:
    with_module(module)
    if 'onednn' in os.path.basename(module):
        limited(module)
else:
    without_bf16(deepnet.Context(backends='cpu,ref'))
for complaint in complaints:
    print(complaint)
sys.exit(bool(complaints))
