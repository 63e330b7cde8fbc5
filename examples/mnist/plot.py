#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Draws a training log of `deepnet train --log=FILE.jsonl`: plot.py LOG.jsonl OUT.svg [TEST.json]

Writes an SVG and prints a small plot in text. TEST.json is a log of `deepnet test --log` with the
weights that training ended with: the last point of the accuracy. Nothing but the standard library
is needed.
"""
import json
import math
import os
import sys

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 720, 400, 64, 64, 36, 48
LOSS_COLOUR, TEST_COLOUR, ACCURACY_COLOUR = '#1f77b4', '#9ecae1', '#d62728'


def read(path):
    """Points (iteration, value) of the training loss, the test loss and the accuracy."""
    loss, test_loss, accuracy = [], [], []
    with open(path, encoding='utf-8') as lines:
        for line in lines:
            record = json.loads(line)
            at = record.get('iteration')
            if record['event'] == 'display':
                loss.append((at, record['loss']))
            elif record['event'] == 'test':
                for name, value in record['outputs'].items():
                    if isinstance(value, list):
                        continue
                    if 'accuracy' in name:
                        accuracy.append((at, value))
                    elif 'loss' in name:
                        test_loss.append((at, value))
    keep = lambda points: [p for p in points if p[1] is not None and math.isfinite(p[1])]
    return keep(loss), keep(test_loss), keep(accuracy)


def add_test(path, last, test_loss, accuracy):
    """The averages of `deepnet test`, as of iteration `last`."""
    with open(path, encoding='utf-8') as lines:
        record = json.loads(lines.readline())
    for name, value in record.items():
        points = accuracy if 'accuracy' in name else test_loss if name == 'mean_loss' else None
        if points is not None and value is not None and last not in dict(points):
            points.append((last, value))


def round_up(value):
    """The next round number: the top of an axis."""
    if value <= 0:
        return 1.0
    power = 10 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10)
                if step * power >= value * 0.999)


def accuracy_floor(accuracy):
    low = min((v for _, v in accuracy), default=0)
    return next(f for f in (0.95, 0.9, 0.8, 0.5, 0.0) if low >= f)


def svg(loss, test_loss, accuracy):
    last = max((i for i, _ in loss + test_loss + accuracy), default=1) or 1
    top = round_up(max((v for _, v in loss + test_loss), default=1))
    floor = accuracy_floor(accuracy)
    x = lambda i: LEFT + (WIDTH - LEFT - RIGHT) * i / last
    y = lambda share: HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" '
           f'viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
           f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>']

    def text(px, py, words, colour='#333', anchor='middle'):
        out.append(f'<text x="{px:.1f}" y="{py:.1f}" fill="{colour}" '
                   f'text-anchor="{anchor}">{words}</text>')

    def curve(points, share, colour, dots=False):
        at = [(x(i), y(min(max(share(v), 0), 1))) for i, v in points]
        out.append(f'<polyline fill="none" stroke="{colour}" stroke-width="1.5" points="' +
                   ' '.join(f'{px:.1f},{py:.1f}' for px, py in at) + '"/>')
        for px, py in at if dots else []:
            out.append(f'<circle cx="{px:.1f}" cy="{py:.1f}" r="2.5" fill="{colour}"/>')

    for k in range(6):
        share = k / 5
        out.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(share):.1f}" '
                   f'y2="{y(share):.1f}" stroke="#ddd"/>')
        text(LEFT - 8, y(share) + 4, f'{top * share:.3g}', LOSS_COLOUR, 'end')
        text(WIDTH - RIGHT + 8, y(share) + 4, f'{floor + (1 - floor) * share:.3g}',
             ACCURACY_COLOUR, 'start')
        text(x(last * share), HEIGHT - BOTTOM + 18, f'{last * share:.0f}')
    curve(loss, lambda v: v / top, LOSS_COLOUR)
    curve(test_loss, lambda v: v / top, TEST_COLOUR)
    curve(accuracy, lambda v: (v - floor) / (1 - floor), ACCURACY_COLOUR, dots=True)
    text(WIDTH / 2, HEIGHT - 10, 'iteration')
    text(LEFT, 20, 'training loss', LOSS_COLOUR, 'start')
    text(LEFT + 90, 20, 'test loss', TEST_COLOUR, 'start')
    text(WIDTH - RIGHT, 20, 'test accuracy', ACCURACY_COLOUR, 'end')
    out.append('</svg>')
    return '\n'.join(out) + '\n'


def text_plot(name, points, low, high, width=64, height=8):
    """One curve as rows of characters; the mean of the points that share a column."""
    if not points:
        return
    last = max(i for i, _ in points) or 1
    columns = [[] for _ in range(width)]
    for i, value in points:
        columns[min(int(i / last * width), width - 1)].append(value)
    rows = [[' '] * width for _ in range(height)]
    for c, values in enumerate(columns):
        if values:
            share = (sum(values) / len(values) - low) / ((high - low) or 1)
            rows[height - 1 - min(max(int(share * height), 0), height - 1)][c] = '*'
    print(f'{name}: {points[-1][1]:.4g} at iteration {points[-1][0]}')
    for r, row in enumerate(rows):
        mark = f'{high:8.3g}' if r == 0 else f'{low:8.3g}' if r == height - 1 else ' ' * 8
        print(f'{mark} |{"".join(row).rstrip()}')
    print(' ' * 9 + '+' + '-' * width)


def main():
    if len(sys.argv) not in (3, 4):
        sys.exit('usage: plot.py LOG.jsonl OUT.svg [TEST.json]')
    loss, test_loss, accuracy = read(sys.argv[1])
    if len(sys.argv) == 4:
        last = max((i for i, _ in loss + test_loss + accuracy), default=0)
        add_test(sys.argv[3], last, test_loss, accuracy)
    beside = sys.argv[2] + '.part'
    with open(beside, 'w', encoding='utf-8') as out:
        out.write(svg(loss, test_loss, accuracy))
    os.replace(beside, sys.argv[2])
    text_plot('training loss', loss, 0, round_up(max((v for _, v in loss), default=1)))
    text_plot('test accuracy', accuracy, accuracy_floor(accuracy), 1)


if __name__ == '__main__':
    main()
