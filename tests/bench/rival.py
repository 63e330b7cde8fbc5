#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""A PyTorch for tests of compare.py (--torch rival.py): it computes nothing, a step takes it
RIVAL_SECONDS, and a batch of more than RIVAL_MOST is too much for its memory. After RIVAL_ROUNDS
rounds it answers no more."""
import json
import os
import sys
import time

with open(sys.argv[2]) as f:  # after worker.py's path
    job = json.load(f)
seconds = float(os.environ.get('RIVAL_SECONDS', 1))
if job['batch'] > int(os.environ.get('RIVAL_MOST', 1 << 30)):
    sys.exit(print('{"error": "out of memory"}', flush=True))
print('{"ready": true}', flush=True)
rounds = int(os.environ.get('RIVAL_ROUNDS', 1 << 30))
for line in sys.stdin:
    rounds -= json.loads(line)['do'] == 'run'
    time.sleep(3600 if rounds < 0 else 0)
    print(json.dumps({'first': seconds, 'step': seconds, 'wall': seconds, 'cpu': seconds,
                      'peak': 1 << 40, 'base': 0, 'values': []}), flush=True)
