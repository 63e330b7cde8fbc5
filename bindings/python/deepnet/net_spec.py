# SPDX-License-Identifier: BSD-2-Clause
"""Nets written in Python: layers as functions of tops, printed as prototxt.

    from deepnet import layers as L, params as P, NetSpec
    n = NetSpec()
    n.data, n.label = L.Data(source='train_lmdb', backend=P.Data.LMDB, batch_size=64, ntop=2)
    n.conv1 = L.Convolution(n.data, kernel_size=5, num_output=20)
    n.relu1 = L.ReLU(n.conv1, in_place=True)
    n.loss = L.SoftmaxWithLoss(n.relu1, n.label)
    print(n.to_proto())

Keyword arguments are fields of the layer, or else of its own parameters (kernel_size goes to
convolution_param); dict() stands for a message, a list for a repeated field.
"""
import collections

from .proto import _message, caffe_pb2

# Layers whose parameters are another layer's.
_ALIASES = {'Deconvolution': 'Convolution', 'DepthwiseConvolution': 'Convolution',
            'ConvolutionDepthwise': 'Convolution'}


def param_name_dict():
    """{'Convolution': 'convolution', ...}: from P.NAME to the field NAME_param of a layer."""
    names = {}
    for field in caffe_pb2.LayerParameter._fields.values():
        if field.name.endswith('_param') and field.type.endswith('Parameter'):
            names.setdefault(field.type[:-len('Parameter')], field.name[:-len('_param')])
    return names


def assign_proto(proto, name, value):
    """Sets a field of a message from Python's value: dict, list, number, string."""
    field = proto._field(name)
    if field.label == 'repeated':
        values = list(value) if isinstance(value, (list, tuple)) else [value]
        target = getattr(proto, name)
        if field.kind != 'message':
            target.extend(values)
            return
        for item in values:
            _assign_message(target.add(), item)
    elif field.kind == 'message':
        getattr(proto, name).SetInParent()
        _assign_message(getattr(proto, name), value)
    else:
        setattr(proto, name, value)


def _assign_message(message, value):
    if isinstance(value, _message.Message):
        message.CopyFrom(value)
    else:
        for key, item in value.items():
            assign_proto(message, key, item)


class Top:
    """One output of a layer."""

    def __init__(self, fn, n):
        self.fn, self.n = fn, n

    def to_proto(self):
        """The net that makes this top."""
        return to_proto(self)

    def _to_proto(self, layers, names, autonames):
        return self.fn._to_proto(layers, names, autonames)


class Function:
    """A layer, its inputs and its parameters."""

    def __init__(self, type_name, inputs, params):
        self.type_name, self.inputs, self.params = type_name, inputs, dict(params)
        for value in inputs:
            if not isinstance(value, Top):
                raise TypeError('%s takes tops of other layers, not %r' % (type_name, value))
        self.ntop = self.params.pop('ntop', 1)
        self.in_place = self.params.pop('in_place', False)
        self.tops = tuple(Top(self, n) for n in range(self.ntop))

    def _auto(self, key, names, autonames):
        if key not in names:
            autonames[self.type_name] += 1
            names[key] = self.type_name + str(autonames[self.type_name])
        return names[key]

    def _top_name(self, top, names, autonames):
        return self._auto(top, names, autonames)

    def _name(self, names, autonames):
        if self not in names and self.ntop:
            names[self] = self._top_name(self.tops[0], names, autonames)
        return self._auto(self, names, autonames)

    def _to_proto(self, layers, names, autonames):
        if self in layers:
            return
        bottoms = []
        for value in self.inputs:
            value._to_proto(layers, names, autonames)
            bottoms.append(layers[value.fn].top[value.n])
        layer = caffe_pb2.LayerParameter()
        layer.name, layer.type = self._name(names, autonames), self.type_name
        layer.bottom.extend(bottoms)
        layer.top.extend(bottoms if self.in_place else
                         [self._top_name(top, names, autonames) for top in self.tops])
        for key, value in self.params.items():
            if key in layer._fields:
                assign_proto(layer, key, value)
            else:
                assign_proto(getattr(layer, self._param_field(key)), key, value)
        layers[self] = layer

    def _param_field(self, key):
        name = param_name_dict().get(_ALIASES.get(self.type_name, self.type_name))
        if name is None:
            raise AttributeError("'%s' is no field of a layer, and %s has no parameters of its "
                                 'own' % (key, self.type_name))
        return name + '_param'


class NetSpec:
    """Tops by name: assigning one names it, and the layer that makes it."""

    def __init__(self):
        object.__setattr__(self, 'tops', collections.OrderedDict())

    def __setattr__(self, name, value):
        self.tops[name] = value

    def __getattr__(self, name):
        try:
            return self.__dict__['tops'][name]
        except KeyError:
            raise AttributeError("the net has no top '%s'" % name) from None

    def __setitem__(self, name, value):
        self.tops[name] = value

    def __getitem__(self, name):
        return self.tops[name]

    def __delattr__(self, name):
        del self.tops[name]

    def __delitem__(self, name):
        del self.tops[name]

    def keys(self):
        """Names of the tops."""
        return list(self.tops)

    def vals(self):
        """The tops."""
        return list(self.tops.values())

    def update(self, *args, **kwargs):
        """Adds tops, as dict.update does."""
        self.tops.update(*args, **kwargs)

    def to_proto(self):
        """The net as a NetParameter; str() of it is prototxt."""
        names = {top: name for name, top in self.tops.items()}
        return _net(self.tops.values(), names)


def to_proto(*tops):
    """The net that makes these tops, named by type and number."""
    return _net(tops, {})


def _net(tops, names):
    layers, autonames = collections.OrderedDict(), collections.Counter()
    for top in tops:
        top._to_proto(layers, names, autonames)
    net = caffe_pb2.NetParameter()
    net.layer.extend(layers.values())
    return net


class Layers:
    """`layers.NAME(*tops, **params)` makes a layer of that type; ntop is how many tops it
    returns (1), in_place=True writes to its bottoms."""

    def __getattr__(self, name):
        if name.startswith('__'):
            raise AttributeError(name)

        def layer(*inputs, **params):
            function = Function(name, inputs, params)
            if function.ntop == 0:
                return function
            return function.tops[0] if function.ntop == 1 else function.tops
        return layer


class Parameters:
    """`params.Pooling.MAX`: the enum values of a layer's parameters."""

    def __getattr__(self, name):
        if name.startswith('__'):
            raise AttributeError(name)
        return getattr(caffe_pb2, name + 'Parameter')


layers = Layers()
params = Parameters()
