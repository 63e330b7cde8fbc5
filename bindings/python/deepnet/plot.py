# SPDX-License-Identifier: BSD-2-Clause
"""Training logs, as `deepnet train --log=FILE.jsonl` writes them: curves, and a plot of them
where matplotlib is there."""
import json


def read_log(path):
    """{name: [(iteration, value), ...]}: 'loss', 'rate', and 'test NAME' for every number that
    a test gave."""
    curves = {}

    def add(name, iteration, value):
        if isinstance(value, (int, float)):
            curves.setdefault(name, []).append((iteration, value))

    with open(path, encoding='utf-8') as lines:
        for line in lines:
            record = json.loads(line)
            at = record.get('iteration')
            if record['event'] == 'display':
                add('loss', at, record['loss'])
                add('rate', at, record['rate'])
            elif record['event'] == 'test':
                for name, value in record['outputs'].items():
                    add('test ' + name, at, value)
    return curves


def plot(path, out=None, names=None):
    """Draws curves of a log with matplotlib: those called `names`, else all but the rate; what
    is a loss to the left, the rest to the right. out: the picture's file; None: returns the
    figure."""
    from matplotlib.figure import Figure
    curves = read_log(path)
    figure = Figure(figsize=(8, 4.5), layout='tight')
    left = figure.subplots()
    right = left.twinx()
    for index, name in enumerate(names or [n for n in curves if n != 'rate']):
        axis = left if 'loss' in name else right
        axis.plot(*zip(*curves[name]), color='C%d' % index, label=name)
    left.set_xlabel('iteration')
    left.set_ylabel('loss')
    figure.legend(loc='upper center', ncols=4)
    if out is None:
        return figure
    figure.savefig(out)
    return None
