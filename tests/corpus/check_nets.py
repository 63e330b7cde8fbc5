#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""check_nets.py DEEPNET: `deepnet check` over the small nets of nets/, each in the dialect of
a family of public nets. Their first lines say what they must get: "# expect: fine" or a part of
the sentence, then "# note: " and a part of each note to look for."""
import glob
import json
import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))


def complaints(path, verdict):
    with open(path, encoding='utf-8') as text:
        text = text.read()
    expected = re.findall(r'^# (expect|note): (.*)$', text, re.M)
    if not expected or expected[0][0] != 'expect':
        return ['the file does not say what to expect']
    have = 'fine' if verdict['fine'] else verdict['message']
    out = [] if expected[0][1] in have else [f'expected {expected[0][1]}, got {have}']
    if have != 'fine' and not re.match(re.escape(path) + r':\d+:\d+: ', have):
        out.append(f'does not say where: {have}')
    if not verdict['parses']:
        out.append('does not parse')
    notes = verdict.get('notes', [])
    return out + [f'no note of {part}: {notes}' for kind, part in expected[1:]
                  if kind == 'note' and not any(part in note for note in notes)]


def main(deepnet):
    files = sorted(glob.glob(os.path.join(HERE, 'nets', '*.prototxt')))
    done = subprocess.run([deepnet, 'check', '--json', *files], text=True, timeout=120,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    failed = 0
    for verdict in json.loads(done.stdout)['files']:
        wrong = complaints(verdict['file'], verdict)
        failed += bool(wrong)
        for line in wrong:
            print(f'{os.path.basename(verdict["file"])}: {line}')
    print(f'{len(files) - failed} passed, {failed} failed')
    return failed or len(files) < 10


if __name__ == '__main__':
    sys.exit(main(*sys.argv[1:]))
