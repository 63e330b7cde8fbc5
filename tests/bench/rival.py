#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""A PyTorch for tests of compare.py (--torch rival.py): a step takes it RIVAL_SECONDS, and a
batch of more than RIVAL_MOST, in bf16 of twice that, is too much for its memory. After
RIVAL_ROUNDS rounds it answers no more. What it computes to be compared is what deepnet on the
host does, in RIVAL_PYTHON, times 1 + RIVAL_OFF; without one, nothing."""
import json
import os
import subprocess
import sys
import time

with open(sys.argv[2]) as f:  # after worker.py's path
    job = json.load(f)
seconds = float(os.environ.get('RIVAL_SECONDS', 1))
if job['batch'] > int(os.environ.get('RIVAL_MOST', 1 << 30)) * (1 + ('bf16' in job['mode'])):
    sys.exit(print('{"error": "out of memory"}', flush=True))
print('{"ready": true}', flush=True)
rounds = int(os.environ.get('RIVAL_ROUNDS', 1 << 30))


def values():
    if 'RIVAL_PYTHON' not in os.environ:
        return []
    path = sys.argv[2] + '_host'
    with open(path, 'w') as f:
        json.dump(dict(job, engine='deepnet', mode={}), f)
    lines = subprocess.run([os.environ['RIVAL_PYTHON'], sys.argv[1], path], text=True,
                           input='{"do": "check"}\n', capture_output=True).stdout.splitlines()
    scale = 1 + float(os.environ.get('RIVAL_OFF', 0))
    return [scale * value for value in json.loads(lines[-1])['values']]


for line in sys.stdin:
    do = json.loads(line)['do']
    rounds -= do == 'run'
    time.sleep(3600 if rounds < 0 else 0)
    print(json.dumps({'first': seconds, 'step': seconds, 'wall': seconds, 'cpu': seconds,
                      'peak': 1 << 40, 'base': 0,
                      'values': values() if do == 'check' else []}), flush=True)
