#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""check_corpus.py SOURCE DEEPNET [--write]: `deepnet check` over a folder of public nets and
solvers against the recorded table, which may not fall.

The folder is $DEEPNET_CORPUS, or shared/corpus beside the source tree; without one the test is
skipped. Its index.tsv names each file, what it is and which layer types it has.
table.tsv    by format, repository and layer type: files, how many parse, how many are fine
refused.tsv  each file that is not fine, and the sentence it gets
--write records what is so now."""
import collections
import csv
import json
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
SKIPPED = 77
WIRED = 0.97  # of the nets


def read(name):
    path = os.path.join(HERE, name)
    if not os.path.exists(path):
        return []
    with open(path, encoding='utf-8') as lines:
        return list(csv.reader(lines, delimiter='\t', quoting=csv.QUOTE_NONE))


def write(name, rows):
    with open(os.path.join(HERE, name), 'w', encoding='utf-8') as out:
        for row in rows:
            out.write('\t'.join(map(str, row)) + '\n')


def check(deepnet, corpus, files):
    done = subprocess.run([deepnet, 'check', '--json', *files], cwd=corpus, text=True,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=600)
    return {v['file']: v for v in json.loads(done.stdout)['files']}


def count(index, verdicts):
    """[(group, name, files, parse, fine)], in an order that does not change."""
    counts = collections.OrderedDict()

    def add(group, name, verdict):
        row = counts.setdefault((group, name), [0, 0, 0])
        for i, one in enumerate((True, verdict['parses'], verdict['fine'])):
            row[i] += one

    for row in index:
        verdict = verdicts[row['path']]
        add('kind', row['kind'], verdict)
        add('format', row['format'], verdict)
        add('repository', row['path'].split('/')[0], verdict)
        for layer in row['layer_types'].split(','):
            if layer and layer != '-':
                add('layer type', layer, verdict)
    groups = ['kind', 'format', 'repository', 'layer type']
    return [(*key, *counts[key])
            for key in sorted(counts, key=lambda k: (groups.index(k[0]), k[1]))]


def main(source, deepnet, *options):
    corpus = os.environ.get('DEEPNET_CORPUS') or os.path.join(source, '..', 'shared', 'corpus')
    if not os.path.exists(os.path.join(corpus, 'index.tsv')):
        print('no folder of public nets here (DEEPNET_CORPUS): skipped')
        return SKIPPED
    with open(os.path.join(corpus, 'index.tsv'), encoding='utf-8') as lines:
        index = [row for row in csv.DictReader(lines, delimiter='\t', quoting=csv.QUOTE_NONE)
                 if row['kind'] in ('net', 'solver')]
    verdicts = check(os.path.abspath(deepnet), corpus, [row['path'] for row in index])
    table = count(index, verdicts)
    refused = [(name, v['message'].replace(name + ':', '')) for name, v in verdicts.items()
               if not v['fine']]
    if '--write' in options:
        write('table.tsv', [('group', 'name', 'files', 'parse', 'fine'), *table])
        write('refused.tsv', [('file', 'sentence'), *sorted(refused)])
    now = {row[:2]: row[2:] for row in table}
    failed = []
    for group, name, files, parse, fine in read('table.tsv')[1:]:
        row = now.get((group, name), (0, 0, 0))
        if row[0] >= int(files) and (row[1] < int(parse) or row[2] < int(fine)):
            failed.append(f'{group} {name}: {row[1]} parse, {row[2]} are fine; '
                          f'there were {parse} and {fine} of {files}')
    known = {row[0] for row in read('refused.tsv')[1:]}
    failed += [f'{name}: {why}' for name, why in refused if name not in known]
    nets, parse, fine = now['kind', 'net']
    print(f'{nets} nets: {parse} parse, {fine} wire ({fine / nets:.1%}); '
          f'{now["kind", "solver"]} solvers: files, parse, wire')
    if parse < nets or fine < WIRED * nets:
        print(f'the aim is all and {WIRED:.0%}')
    print('\n'.join(failed))
    return bool(failed)


if __name__ == '__main__':
    sys.exit(main(*sys.argv[1:]))
