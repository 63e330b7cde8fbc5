# SPDX-License-Identifier: BSD-2-Clause
"""What deepnet should reach beside others, and whether a row of compare.py does: a table, and
the arithmetic of a row's medians. A goal is of one net, job and chain or precision of ours,
beside the best that a rival has in the same precision and, where engines take turns, the same
round.

Not here: the device's data from an LMDB (tests/gpu/lenet.py), what of a step kernels cover
(tests/gpu/coverage.py).
"""
import operator
import statistics

MET, MISSED, UNKNOWN, NONE = 'met', 'not met', 'not measured', 'no goal'
WITHOUT = 'met without compile'  # beside the best of a device's modes that are not compiled
TESTS = {'>=': operator.ge, '>': operator.gt, '<=': operator.le, '<': operator.lt}

# On the host, f32, times as fast as PyTorch's best mode: training with the oneDNN module and
# with kernels/cpu alone, inference, inference of one. Nets that are not named: no slower.
TIMES = {'lenet': (2.5, 2, 1.2, 3), 'alexnet': (2, 1, 1.2, 1.2),
         'googlenet': (1.6, 1, 1.2, 1.2), 'resnet50': (1.4, 1, 1.2, 1.2),
         'mobilenet_v1': (1.4, 1, 1.2, 1.2)}
OTHERS = (1, 1, 1, 1)
# Training in bf16 on AMX: times as fast as our own f32, and PyTorch beaten.
BF16 = {'alexnet': 2, 'googlenet': 2, 'resnet50': 2}
# On a device: LeNet's training in f32 beside two modes of PyTorch; inference of one beside
# eager; for all else no slower than PyTorch's best mode.
DEVICE_LENET = (('PyTorch, eager', 8), ('PyTorch, graph', 1.5))
DEVICE_ONE = 3
# Of the machine's f32 peak, training on one core (floor.py), where convolutions at peak are at
# least so much of the net's floor.
PEAK, DOMINATED = 0.65, 0.75
PEAK_SAID = 'goal, >= %.0f %%' % (100 * PEAK)

RIVALS = {  # which labels are the rival's, beside a label of ours
    'PyTorch': lambda label, ours: of_torch(label, ours),
    'PyTorch, eager': lambda label, ours: of_torch(label, ours) and mode(label) == 'eager',
    'PyTorch, graph': lambda label, ours: of_torch(label, ours) and mode(label) == 'graph',
    'OpenCV': lambda label, ours: label.startswith('opencv'),
    'Caffe': lambda label, ours: label.startswith('caffe'),
    'own f32': lambda label, ours: is_ours(label) and precision(label) == 'f32'}


# ---- labels ---------------------------------------------------------------------------------

def is_ours(label):
    return label.startswith('deepnet')


def precision(label):
    return next((p for p in ('bf16', 'tf32') if p in label), 'f32')


def mode(label):
    """How a mode of PyTorch on a device runs what it is given."""
    return next((m for m in ('compile', 'graph') if m in label), 'eager')


def of_torch(label, ours):
    return label.startswith('torch') and precision(label) == precision(ours)


# ---- figures of a row -----------------------------------------------------------------------

def best(row, chosen, figure='median'):
    """The label with the least of a figure of those that `chosen` takes, or None."""
    labels = [k for k, e in row['engines'].items() if e.get(figure) and chosen(k)]
    return min(labels, key=lambda k: row['engines'][k][figure], default=None)


def ratio(row, label, base):
    """[median, least, most] of label's time over base's in the same round."""
    times, others = (row['engines'][k][row['clock']] for k in (label, base))
    ratios = sorted(t / d for t, d in zip(times, others))
    return [statistics.median(ratios), ratios[0], ratios[-1]]


def cut_off(engine):
    """What tells of an engine that there was no time for all its rounds."""
    return ', cut off after %d' % engine['cut'] if 'cut' in engine else ''


# ---- goals ----------------------------------------------------------------------------------

def host_goals(row, ours):
    """(figure, rival, test, bound) of a label of ours; a bound of None: to be told alone."""
    alone, job = 'onednn' not in ours, row['job']
    if precision(ours) == 'bf16':
        wanted = BF16.get(row['net']) if row['amx'] and job == 'train' else None
        yield 'speed', 'PyTorch', '>', 1 if wanted else None
        yield 'speed', 'own f32', '>=', wanted
    else:
        column = {'train': int(alone), 'infer': 2, 'infer1': 3}[job]
        yield 'speed', 'PyTorch', '>=', TIMES.get(row['net'], OTHERS)[column]
        if job != 'train':
            yield 'speed', 'OpenCV', '>', 1
    yield 'memory', 'PyTorch', '<', 1
    yield 'memory', 'Caffe', '<', 1


def device_goals(row, ours):
    if row['job'] == 'infer1':
        yield 'speed', 'PyTorch, eager', '>=', DEVICE_ONE
    else:
        yield 'speed', 'PyTorch', '>=', 1
    if (row['net'], row['job'], precision(ours)) == ('lenet', 'train', 'f32'):
        for rival, times in DEVICE_LENET:
            yield 'speed', rival, '>=', times
    yield 'memory', 'PyTorch', '<=', 1


def of_peak(form, share, convolutions):
    """share: of the peak; convolutions: at peak, of the net's floor."""
    if form != 'train' or convolutions < DOMINATED:
        return NONE
    return MET if share >= PEAK else MISSED


def judged(row):
    """The goals of a row, each with the rival's label, the value reached and a verdict."""
    goals = device_goals if row['device'] else host_goals
    return [judge(row, ours, *goal) for ours in filter(is_ours, row['engines'])
            for goal in goals(row, ours)]


def judge(row, ours, figure, rival, test, bound):
    mine, value = row['engines'][ours], None
    beside = best(row, lambda k: RIVALS[rival](k, ours),
                  'median' if figure == 'speed' else 'peak')
    if beside and figure == 'speed' and mine.get('median'):
        value = ratio(row, beside, ours)
    elif beside and figure == 'memory' and mine.get('peak'):
        value = [mine['peak'] / row['engines'][beside]['peak']]
    if bound is None:
        verdict = NONE
    elif value:
        late = any(engine.get('late') or figure == 'memory' and engine.get('peak', 0) is None
                   for label, engine in row['engines'].items()
                   if RIVALS[rival](label, ours))  # its best mode may be the one cut off
        without = row['device'] and figure == 'speed' and rival == 'PyTorch' and not best(
            row, lambda k: RIVALS[rival](k, ours) and 'compile' in k)
        verdict = (MISSED if not TESTS[test](value[0], bound) else UNKNOWN if late else
                   WITHOUT if without else MET)
    else:  # what failed of ours where the rival did not has missed it
        verdict = MISSED if beside and 'error' in mine and not mine.get('late') else UNKNOWN
    few = [row['engines'][label] for label in (ours, beside) if label and figure == 'speed']
    return {'ours': ours, 'figure': figure, 'rival': rival, 'beside': beside, 'value': value,
            'goal': '' if bound is None else '%s %g' % (test, bound), 'verdict': verdict,
            'cut': max(map(cut_off, few), default='')}


def counts(verdicts):
    verdicts = list(verdicts)
    return {name: verdicts.count(name) for name in (MET, WITHOUT, MISSED, UNKNOWN)
            if name != WITHOUT or name in verdicts}


def summary(counted):
    """The line that tests/gpu/run.sh adds up over its parts."""
    return 'goals: ' + ', '.join('%d %s' % (number, name) for name, number in counted.items())


def print_goals(rows):
    print("\ngoals: times as fast as the rival's best mode of the same precision (least and "
          "most of the\nrounds); peak memory over the least of the rival's")
    for row in rows:
        name = '%-12s %-6s %4d  %d thread%s' % (
            row['net'], row['job'], row['batch'], row['threads'], ' s'[row['threads'] > 1])
        for one in row['goals']:
            if one['verdict'] == NONE and not one['value']:
                continue
            value, *spread = ['%.2f' % figure for figure in one['value'] or []] or ['-']
            print('%s  %-18s %-6s of %-24s %5s %-16s %-6s %s%s' % (
                name, one['ours'], one['figure'], one['beside'] or one['rival'], value,
                '(%s to %s)' % tuple(spread) if spread else '', one['goal'],
                one['verdict'], one['cut']))
