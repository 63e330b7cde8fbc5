# SPDX-License-Identifier: BSD-2-Clause
"""Where a pixel of one blob lies in another, for nets written with net_spec: crop(a, b) is the
Crop layer that cuts `a` to the place that `b` sees. Coordinates are exact fractions."""
from fractions import Fraction

from ._errors import InvalidError
from .net_spec import layers as L
from .net_spec import to_proto

# Each map is (first spatial axis, [(a, b), ...]): top = a * bottom + b on each spatial axis.
# One pair stands for all axes.
_ELEMENTWISE = {'AbsVal', 'BatchNorm', 'Bias', 'BNLL', 'Clip', 'Dropout', 'ELU', 'Eltwise',
                'Exp', 'LRN', 'Log', 'Mish', 'PReLU', 'Power', 'ReLU', 'Scale', 'Sigmoid',
                'Softmax', 'Split', 'Swish', 'TanH', 'Threshold', 'Concat', 'MVN'}


def _pairs(*lists):
    """Zips lists that have one value for all axes, or one for each."""
    axes = max(map(len, lists))
    return list(zip(*[values * axes if len(values) == 1 else values for values in lists]))


def _window(param, default_stride=1):
    """[(kernel, stride, pad, dilation), ...] of a convolution or pooling."""
    def read(name, default):
        pair = [name + '_h', name + '_w'] if name != 'kernel_size' else ['kernel_h', 'kernel_w']
        if any(param.HasField(p) for p in pair):
            return [getattr(param, p) for p in pair]
        value = getattr(param, name, [])
        return ([value] if isinstance(value, int) else list(value)) or [default]
    dilation = list(getattr(param, 'dilation', ())) if hasattr(param, 'dilation') else []
    return _pairs(read('kernel_size', 1), read('stride', default_stride), read('pad', 0),
                  dilation or [1])


def _layer_map(layer):
    """The map of a layer, from its first bottom to its tops."""
    kind = layer.type
    if kind in ('Convolution', 'Pooling', 'Im2col', 'Deconvolution'):
        param = layer.pooling_param if kind == 'Pooling' else layer.convolution_param
        maps = []
        for kernel, stride, pad, dilation in _window(param):
            centre = Fraction(dilation * (kernel - 1), 2) - pad  # of the first window
            if kind == 'Deconvolution':
                maps.append((Fraction(stride), centre))
            else:
                maps.append((Fraction(1, stride), -centre / stride))
        return getattr(param, 'axis', 1) + 1, maps
    if kind == 'Crop':
        offsets = list(layer.crop_param.offset) or [0]
        return layer.crop_param.axis, [(Fraction(1), Fraction(-offset)) for offset in offsets]
    if kind in _ELEMENTWISE:
        return None, [(Fraction(1), Fraction(0))]
    raise InvalidError('%s has no map of coordinates' % kind)


def _compose(first, second):
    """The map that goes through first, then second."""
    axes = [axis for axis in (first[0], second[0]) if axis is not None]
    if len(set(axes)) > 1:
        raise InvalidError('maps over different axes: %s' % axes)
    maps = [(c * a, c * b + d) for (a, b), (c, d) in _pairs(first[1], second[1])]
    return (axes[0] if axes else None), maps


def _inverse(one):
    return one[0], [(1 / a, -b / a) for a, b in one[1]]


def _from_ancestors(top):
    """{ancestor: the map from it to `top`}, nearest first."""
    maps, queue = {top: (None, [(Fraction(1), Fraction(0))])}, [top]
    while queue:
        one = queue.pop(0)
        if not one.fn.inputs:
            continue
        layer = to_proto(one).layer[-1]
        inputs = one.fn.inputs[:1] if layer.type == 'Crop' else one.fn.inputs
        try:
            through = _layer_map(layer)
        except InvalidError:
            continue
        for bottom in inputs:
            if bottom not in maps:
                maps[bottom] = _compose(through, maps[one])
                queue.append(bottom)
    return maps


def coord_map_from_to(top_from, top_to):
    """(axis, a, b): a point x of top_to lies at a * x + b in top_from, for each spatial axis
    from `axis` on. InvalidError if nothing leads to both."""
    here, there = _from_ancestors(top_from), _from_ancestors(top_to)
    for ancestor, path in there.items():
        if ancestor in here:
            axis, maps = _compose(_inverse(path), here[ancestor])
            return axis, [a for a, _ in maps], [b for _, b in maps]
    raise InvalidError('no blob leads to both')


def crop(top_from, top_to):
    """A Crop layer of top_from to what top_to sees. InvalidError if their scales differ, or the
    offset is negative or no whole number."""
    axis, scales, offsets = coord_map_from_to(top_from, top_to)
    if any(scale != 1 for scale in scales):
        raise InvalidError('scales differ by %s' % ', '.join(map(str, scales)))
    if any(offset < 0 or offset.denominator != 1 for offset in offsets):
        raise InvalidError('cannot crop at %s' % ', '.join(map(str, offsets)))
    return L.Crop(top_from, top_to, crop_param=dict(axis=2 if axis is None else axis,
                                                    offset=[int(o) for o in offsets]))
