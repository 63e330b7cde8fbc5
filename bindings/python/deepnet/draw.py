# SPDX-License-Identifier: BSD-2-Clause
"""Nets as graphs, with pycaffe's names: dot writes the text, Graphviz's `dot` the pictures."""
import os
import shutil
import subprocess

from .proto import caffe_pb2

_COLOURS = {'Convolution': '#FF5050', 'Deconvolution': '#FF5050', 'Pooling': '#FF9900',
            'InnerProduct': '#CC33FF'}


def _quoted(text):
    return '"%s"' % str(text).replace('\\', '\\\\').replace('"', '\\"').replace('\n', '\\n')


def _first(repeated, default):
    return repeated[0] if len(repeated) else default


def _label(layer, rankdir):
    """Name and type, and what shapes a convolution or pooling."""
    lines = [layer.name, '(%s)' % layer.type]
    if layer.type in ('Convolution', 'Deconvolution'):
        p = layer.convolution_param
        lines.append('kernel %s, stride %s, pad %s' % (
            _first(p.kernel_size, 1), _first(p.stride, 1), _first(p.pad, 0)))
    elif layer.type == 'Pooling':
        p = layer.pooling_param
        lines.append('%s, kernel %d, stride %d, pad %d' % (
            ('MAX', 'AVE', 'STOCHASTIC')[p.pool], p.kernel_size, p.stride, p.pad))
    return (' ' if rankdir in ('TB', 'BT') else '\n').join(lines)


def _in_phase(layer, phase):
    if phase is None:
        return True
    met = [not rule.HasField('phase') or rule.phase == phase
           for rule in (layer.include or layer.exclude)]
    return (any(met) if len(layer.include) else not any(met)) if met else True


def dot(net, rankdir='LR', phase=None):
    """The graph of a NetParameter as Graphviz's text. phase: TRAIN or TEST; None: all
    layers."""
    lines = ['digraph %s {' % _quoted(net.name or 'net'), '  rankdir=%s;' % rankdir,
             '  node [fontsize=10, style=filled, fillcolor="#E0E0E0"];']
    blobs = set()
    for index, layer in enumerate(net.layer):
        if not _in_phase(layer, phase):
            continue
        node = 'layer%d' % index
        lines.append('  %s [shape=record, label=%s, fillcolor="%s"];' % (
            node, _quoted(_label(layer, rankdir)), _COLOURS.get(layer.type, '#6495ED')))
        for name in [*layer.bottom, *layer.top]:
            if name not in blobs:
                blobs.add(name)
                lines.append('  %s [shape=octagon];' % _quoted(name))
        lines += ['  %s -> %s;' % (_quoted(name), node) for name in layer.bottom]
        lines += ['  %s -> %s;' % (node, _quoted(name)) for name in layer.top]
    return '\n'.join([*lines, '}', ''])


def draw_net(net, rankdir='LR', ext='png', phase=None):
    """The picture as bytes in a format that Graphviz's `dot` knows; 'dot' needs no Graphviz."""
    text = dot(net, rankdir, phase).encode()
    if ext == 'dot':
        return text
    if not shutil.which('dot'):
        raise FileNotFoundError("there is no `dot` to draw '%s' with: install graphviz, or ask "
                                "for .dot" % ext)
    return subprocess.run(['dot', '-T' + ext], input=text, check=True,
                          stdout=subprocess.PIPE).stdout


def draw_net_to_file(net, filename, rankdir='LR', phase=None):
    """Writes the picture; its format is the file name's ending."""
    ext = os.path.splitext(filename)[1][1:] or 'png'
    with open(filename, 'wb') as file:
        file.write(draw_net(net, rankdir, ext, phase))


def read_net(path):
    """A NetParameter from a prototxt of today's form."""
    from .proto import text_format
    net = caffe_pb2.NetParameter()
    with open(path, encoding='utf-8') as file:
        text_format.Merge(file.read(), net)
    return net
