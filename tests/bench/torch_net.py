# SPDX-License-Identifier: BSD-2-Clause
"""PyTorch's side of compare.py: a module whose forward is written out, layer by layer, as a
person would write it (BatchNorm and Scale are one BatchNorm2d, ReLU in place), so that neither
tracing nor calling it costs more than hand-written code. Weights come from the same file.

Modes: layout (channels-last or not), freeze, optimize (optimize_for_inference), compile (or
torch.compile's mode), bf16; with a device, tf32 and graph (the steps of training, or passes,
recorded and replayed).
"""
import torch
from torch import nn
import torch.nn.functional as F


def recorded(step):
    """A CUDA graph of one step, as torch's manual has it"""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def unmoved(record, step, model, update):
    """record(step), whose steps to warm up move weights: these are put back as they were, from
    the host, lest copies of them be in the peak. Momentum of zero is what a first step has."""
    before = {name: values.cpu() for name, values in model.state_dict().items()}
    made = record(step)
    for name, values in model.state_dict().items():
        values.copy_(before[name])
    for state in update.state.values():
        state['momentum_buffer'].zero_()
    return made


def compiled(model, mode):
    how = mode['compile']
    return torch.compile(model, mode=how if isinstance(how, str) else 'default')


def bias_of(p):
    return p.get('bias_term', True)


def pair(p, key, default):
    value = p.get(key, default)
    return (value[0] if value else default) if isinstance(value, list) else value


class Source:
    """The text of forward and the modules it names, gathered layer by layer."""

    def __init__(self, layers, shapes):
        self.lines, self.modules, self.variable, self.losses = [], {}, {}, []
        self.shapes, self.scale_of, self.params, self.named = shapes, {}, {}, {}
        self.lstms = []
        self.scaled = {layer['top'][0]: False for layer in layers}
        self.scaled.update({layer['bottom'][0]: True for layer in layers
                            if layer['type'] == 'Scale' and len(layer['bottom']) == 1})
        for layer in layers:
            getattr(self, 'do_' + layer['type'])(layer, layer.get(param_key(layer), {}))

    def name(self, blob):
        return 'v_' + blob.replace('/', '_').replace('-', '_')

    def bottoms(self, layer):
        return [self.variable[b] for b in layer.get('bottom', [])]

    def emit(self, layer, text):
        top = layer['top'][0]
        self.variable[top] = self.name(top)
        self.lines.append('%s = %s' % (self.variable[top], text))

    def call(self, layer, module):
        name = 'm_' + layer['name'].replace('/', '_')
        self.modules[name] = module
        self.emit(layer, 'self.%s(%s)' % (name, self.bottoms(layer)[0]))
        return name

    def channels(self, layer):
        return self.shapes[layer['bottom'][0]][1]

    def of_axes(self, layer, name):
        """nn.Conv2d for `Conv` and a bottom of two spatial axes."""
        return getattr(nn, '%s%dd' % (name, len(self.shapes[layer['bottom'][0]]) - 2))

    def do_Input(self, layer, p):
        self.variable[layer['top'][0]] = layer['top'][0]

    def shared(self, layer, make):
        """The module of a layer; the same for layers that share weights by name."""
        name = (layer.get('param') or [{}])[0].get('name', layer['name'])
        if name not in self.named:
            self.named[name] = make()
        return self.named[name]

    def do_Convolution(self, layer, p):
        kernel, pad = pair(p, 'kernel_size', 1), pair(p, 'pad', 0)
        if 'kernel_h' in p:
            kernel, pad = (p['kernel_h'], p['kernel_w']), (p['pad_h'], p['pad_w'])
        module = self.shared(layer, lambda: self.of_axes(layer, 'Conv')(
            self.channels(layer), p['num_output'], kernel, pair(p, 'stride', 1), pad,
            pair(p, 'dilation', 1), p.get('group', 1), bias_of(p)))
        self.params[layer['name']] = [module.weight, module.bias]
        self.call(layer, module)

    def do_Deconvolution(self, layer, p):
        p = layer['convolution_param']
        module = nn.ConvTranspose2d(self.channels(layer), p['num_output'],
                                    pair(p, 'kernel_size', 1), pair(p, 'stride', 1),
                                    pair(p, 'pad', 0), groups=p.get('group', 1),
                                    bias=bias_of(p))
        self.params[layer['name']] = [module.weight, module.bias]
        self.call(layer, module)

    def do_InnerProduct(self, layer, p):
        shape = self.shapes[layer['bottom'][0]]
        inputs = 1
        for dim in shape[1:]:
            inputs *= dim
        module = self.shared(layer, lambda: nn.Linear(inputs, p['num_output'],
                                                      bias=bias_of(p)))
        self.params[layer['name']] = [module.weight, module.bias]
        bottom = layer['bottom'][0]
        if len(shape) > 2:
            self.lines.append('%s_flat = torch.flatten(%s, 1)' % (self.name(bottom),
                                                                  self.variable[bottom]))
            self.variable[bottom] = self.name(bottom) + '_flat'
        self.call(layer, module)

    def do_BatchNorm(self, layer, p):
        scaled = self.scaled[layer['top'][0]]
        module = self.of_axes(layer, 'BatchNorm')(self.channels(layer), eps=p.get('eps', 1e-5),
                                                  affine=scaled)
        self.params[layer['name']] = [module.running_mean, module.running_var, None]
        self.scale_of[layer['top'][0]] = module
        self.call(layer, module)

    def do_Scale(self, layer, p):
        if len(layer['bottom']) == 2:
            x, s = self.bottoms(layer)
            return self.emit(layer, '%s * %s[:, :, None, None]' % (x, s))
        module = self.scale_of[layer['bottom'][0]]
        self.params[layer['name']] = [module.weight, module.bias]

    def do_ReLU(self, layer, p):
        slope = p.get('negative_slope', 0)
        self.emit(layer, ('F.leaky_relu(%%s, %.4g, inplace=True)' % slope if slope else
                          'F.relu(%s, inplace=True)') % self.bottoms(layer)[0])

    def do_Sigmoid(self, layer, p):
        self.emit(layer, 'torch.sigmoid(%s)' % self.bottoms(layer)[0])

    def do_Flatten(self, layer, p):
        self.emit(layer, 'torch.flatten(%s, 1)' % self.bottoms(layer)[0])

    def do_Permute(self, layer, p):
        self.emit(layer, '%s.permute(%s)' % (self.bottoms(layer)[0],
                                             ', '.join(str(i) for i in p['order'])))

    def do_ReLU6(self, layer, p):
        if layer['name'].startswith('hs_'):
            return  # a part of hardswish
        self.emit(layer, 'F.relu6(%s, inplace=True)' % self.bottoms(layer)[0])

    def do_TanH(self, layer, p):
        self.emit(layer, 'torch.tanh(%s)' % self.bottoms(layer)[0])

    def do_Axpy(self, layer, p):
        self.emit(layer, '%s * %s + %s' % tuple(self.bottoms(layer)))

    def do_Normalize(self, layer, p):
        scale = nn.ParameterDict({'w': torch.ones(1, self.channels(layer), 1, 1)})
        name = 'm_' + layer['name']
        self.modules[name] = scale
        self.params[layer['name']] = [scale['w']]
        self.emit(layer, 'F.normalize(%s, dim=1) * self.%s.w' % (self.bottoms(layer)[0], name))

    def do_Upsample(self, layer, p):
        if len(layer['bottom']) == 2:
            return self.emit(layer, 'F.max_unpool2d(%s, %s, 2)' % tuple(self.bottoms(layer)))
        self.emit(layer, 'F.interpolate(%s, scale_factor=%d)' % (self.bottoms(layer)[0],
                                                                 p['scale']))

    def do_Reorg(self, layer, p):  # Darknet's order
        n, c, h, w = self.shapes[layer['bottom'][0]]
        s = p['stride']
        self.emit(layer, '%s.reshape(-1, %d, %d, %d, %d, %d).permute(0, 3, 5, 1, 2, 4).reshape('
                  '-1, %d, %d, %d)' % (self.bottoms(layer)[0], c // s ** 2, h, s, w, s,
                                       c * s ** 2, h // s, w // s))

    def do_Pooling(self, layer, p):
        if len(layer['top']) == 2:
            tops = [self.variable.setdefault(t, self.name(t)) for t in layer['top']]
            return self.lines.append('%s = F.max_pool2d(%s, %d, %d, return_indices=True)' % (
                ', '.join(tops), self.bottoms(layer)[0], p['kernel_size'], p['stride']))
        if p.get('global_pooling'):
            return self.emit(layer, 'F.adaptive_avg_pool2d(%s, 1)' % self.bottoms(layer)[0])
        self.emit(layer, 'F.%s_pool2d(%s, %d, %d, %d, ceil_mode=True)' % (
            'avg' if p.get('pool') == 1 else 'max', self.bottoms(layer)[0], p['kernel_size'],
            p.get('stride', 1), p.get('pad', 0)))

    def do_Pooling3D(self, layer, p):
        sizes = tuple((p[time], p[size], p[size]) for time, size in
                      (('kernel_depth', 'kernel_size'), ('temporal_stride', 'stride')))
        self.emit(layer, 'F.max_pool3d(%s, %r, %r, ceil_mode=True)' % (
            self.bottoms(layer)[0], *sizes))

    def do_ShuffleChannel(self, layer, p):
        self.emit(layer, 'F.channel_shuffle(%s, %d)' % (self.bottoms(layer)[0], p['group']))

    def do_LRN(self, layer, p):
        if p.get('norm_region') == 1:  # within channels
            x, size = self.bottoms(layer)[0], p['local_size']
            mean = 'F.avg_pool2d(%s * %s, %d, 1, %d)' % (x, x, size, size // 2)
            return self.emit(layer, '%s * (1 + %r * %s) ** -%r' % (
                x, round(p['alpha'], 9), mean, p['beta']))
        self.emit(layer, 'F.local_response_norm(%s, %d, %r, %r, 1.0)' % (
            self.bottoms(layer)[0], p['local_size'], round(p['alpha'], 9), p['beta']))

    def do_Dropout(self, layer, p):
        self.emit(layer, 'F.dropout(%s, %.4g, self.training)' % (
            self.bottoms(layer)[0], p['dropout_ratio']))

    def do_Power(self, layer, p):
        if layer['name'].startswith('hs_'):  # likewise
            self.variable[layer['top'][0]] = ''
            return
        self.emit(layer, '%s * %.9g + %.9g' % (self.bottoms(layer)[0], p.get('scale', 1),
                                               p.get('shift', 0)))

    def do_PReLU(self, layer, p):
        module = nn.PReLU(self.channels(layer))
        self.params[layer['name']] = [module.weight]
        self.call(layer, module)

    def do_Slice(self, layer, p):
        tops = [self.variable.setdefault(t, self.name(t)) for t in layer['top']]
        self.lines.append('%s = torch.chunk(%s, %d, 1)' % (
            ', '.join(tops), self.bottoms(layer)[0], len(tops)))

    def do_DummyData(self, layer, p):
        self.variable[layer['top'][0]] = ''

    def do_LSTM(self, layer, p):
        p = layer['recurrent_param']
        steps, sequences, *rest = self.shapes[layer['bottom'][0]]
        module = nn.LSTM(torch.Size(rest).numel(), p['num_output'])
        module.bias_hh_l0.data.zero_()
        self.lstms.append(module)
        self.params[layer['name']] = [module.weight_ih_l0, module.bias_ih_l0,
                                      module.weight_hh_l0]
        name = 'm_' + layer['name']
        self.modules[name] = module
        self.emit(layer, 'self.%s(torch.flatten(%s, 2))[0]' % (name, self.bottoms(layer)[0]))

    def do_RNN(self, layer, p):
        p = layer['recurrent_param']
        outputs = p['num_output']
        steps, sequences, *rest = self.shapes[layer['bottom'][0]]
        module, out = nn.RNN(torch.Size(rest).numel(), outputs), nn.Linear(outputs, outputs)
        module.bias_hh_l0.data.zero_()
        self.params[layer['name']] = [module.weight_ih_l0, module.bias_ih_l0,
                                      module.weight_hh_l0, out.weight, out.bias]
        self.modules.update(m_rnn=module, m_rnn_out=out)
        self.emit(layer, 'torch.tanh(self.m_rnn_out(self.m_rnn(torch.flatten(%s, 2))[0]))' %
                  self.bottoms(layer)[0])

    def do_Eltwise(self, layer, p):
        if layer['name'].startswith('hs_'):
            return self.emit(layer, 'F.hardswish(%s)' % self.bottoms(layer)[0])
        self.emit(layer, '%s + %s' % tuple(self.bottoms(layer)))

    def do_Concat(self, layer, p):
        if any(self.bottoms(layer)):
            self.emit(layer, 'torch.cat([%s], 1)' % ', '.join(self.bottoms(layer)))
        else: # of DummyData
            self.variable[layer['top'][0]] = ''

    def do_Softmax(self, layer, p):
        self.lines.append('return torch.softmax(%s.float(), 1)' % self.bottoms(layer)[0])

    def do_SoftmaxWithLoss(self, layer, p):
        weight = (layer.get('loss_weight') or [1])[0]
        self.losses.append('%.4g * F.cross_entropy(%s.float(), label)' % (
            weight, self.bottoms(layer)[0]))

    def text(self):
        lines = list(self.lines)
        if self.losses:
            lines.append('return ' + ' + '.join(self.losses))
        return 'def forward(self, data%s):\n    %s\n' % (', label' if self.losses else '',
                                                        '\n    '.join(lines))


def param_key(layer):
    return {'InnerProduct': 'inner_product_param', 'BatchNorm': 'batch_norm_param',
            'LRN': 'lrn_param', 'Pooling3D': 'pooling_param',
            'ShuffleChannel': 'shuffle_channel_param'}.get(layer['type'],
                                                           layer['type'].lower() + '_param')


def module_of(job):
    source = Source(job['layers'], job['shapes'])
    scope = {'torch': torch, 'F': F}
    exec(source.text(), scope)
    model = type('Net', (nn.Module,), {'forward': scope['forward']})()
    for name, module in source.modules.items():
        model.add_module(name, module)
    if 'weights' not in job:
        return model
    with torch.no_grad(), open(job['weights'], 'rb') as f:
        for name, index, shape, offset in job['params']:
            target = source.params[name][index]
            if target is not None:  # one at a time, lest a copy of all be the peak
                f.seek(4 * offset)
                values = bytearray(f.read(4 * target.numel()))
                target.copy_(torch.frombuffer(values, dtype=torch.float32).view(target.shape))
        for lstm in source.lstms:  # i, f, o, g there
            for weight in (lstm.weight_ih_l0, lstm.bias_ih_l0, lstm.weight_hh_l0):
                i, f, o, g = weight.clone().chunk(4)
                weight.copy_(torch.cat([i, f, g, o]))
    return model


def input_of(job):
    shape = torch.Size(job['shape'])
    if 'input' not in job:
        return torch.zeros(shape)
    with open(job['input'], 'rb') as f:
        values = torch.frombuffer(bytearray(f.read()), dtype=torch.float32)
    return values[:shape.numel()].view(shape)


class Torch:
    def __init__(self, job, resident):
        self.base = resident()
        mode = job['mode']
        torch.set_num_threads(job['threads'])
        torch.set_num_interop_threads(1)
        torch.manual_seed(1)
        shape = job['shape']
        last = {4: torch.channels_last, 5: torch.channels_last_3d}.get(len(shape))
        layout = last if last and mode.get('channels_last') else torch.contiguous_format
        self.device = mode.get('device', 'cpu')
        if self.device == 'cuda':
            torch.backends.cudnn.benchmark = True
            torch.backends.cudnn.allow_tf32 = bool(mode.get('tf32'))
            torch.backends.cuda.matmul.allow_tf32 = bool(mode.get('tf32'))
        self.data = input_of(job).to(self.device).contiguous(memory_format=layout)
        self.bf16, self.graph = bool(mode.get('bf16')), bool(mode.get('graph'))
        model = module_of(job).to(self.device, memory_format=layout)
        if job['train']:
            self.make_training(job, model, mode)
        else:
            self.make_inference(model, mode)

    def cast(self):
        return torch.autocast(self.device, torch.bfloat16, enabled=self.bf16,
                              cache_enabled=not self.graph)

    def synchronise(self):
        if self.device == 'cuda':
            torch.cuda.synchronize()

    def recorded(self, step):
        return recorded(step) if self.device == 'cuda' else step

    def make_training(self, job, model, mode):
        label = torch.tensor(job['labels'][:job['batch']]).to(self.device)
        model.train()
        update = torch.optim.SGD(model.parameters(), job['rate'], job['momentum'],
                                 weight_decay=job['decay'], **mode.get('sgd', {}))
        forward = compiled(model, mode) if mode.get('compile') else model

        def step():
            update.zero_grad(set_to_none=True)
            if self.bf16:
                with self.cast():
                    self.loss = forward(self.data, label)
            else:
                self.loss = forward(self.data, label)
            self.loss.backward()
            update.step()

        if mode.get('graph'):
            step = unmoved(self.recorded, step, model, update)

        def run(n):
            for _ in range(n):
                step()
            self.synchronise()
        self.run = run

    def make_inference(self, model, mode):
        model.eval()
        forward = model
        if mode.get('freeze') or mode.get('optimize'):
            with torch.no_grad(), self.cast():
                if self.bf16:
                    torch._C._jit_set_autocast_mode(False)
                forward = torch.jit.trace(model, self.data, check_trace=False)
                forward = torch.jit.freeze(forward)
                if mode.get('optimize'):
                    forward = torch.jit.optimize_for_inference(forward)
        elif mode.get('compile'):
            import torch._inductor.config as config
            config.freezing = True
            forward = compiled(model, mode)

        def step():
            self.out = forward(self.data)

        def run(n):
            with torch.inference_mode() if not mode.get('compile') else torch.no_grad():
                with self.cast():
                    if mode.get('graph') and not hasattr(self, 'out'):
                        self.step = self.recorded(step)
                    for _ in range(n):
                        self.step()
            self.synchronise()
        self.step, self.run = step, run

    def check(self, job):
        if not job['train']:
            self.run(1)
            return self.out.reshape(-1).tolist()
        losses = []
        for _ in range(3):
            self.run(1)
            losses.append(self.loss.item())
        return losses
