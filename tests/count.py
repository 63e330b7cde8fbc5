#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Counts what meson ran: count.py TESTLOG.json prints 'PASSED FAILED SKIPPED'.

A test that reports its cases, as TAP or by a last line `N passed, N failed`, counts as many; any
other counts as one. What failed is named on stderr.
"""
import json
import re
import sys


def cases(record):
    """(passed, failed, skipped) of one test program."""
    out = record.get('stdout') or ''
    lines = re.findall(r'^(ok|not ok)\b(.*)$', out, re.M)
    said = re.findall(r'^(?:\w+: )?(\d+) passed, (\d+) failed(?:, (\d+) skipped)?\s*$', out, re.M)
    failed = record['result'] not in ('OK', 'EXPECTEDFAIL', 'SKIP')
    if lines:
        skip = sum('# SKIP' in rest for _, rest in lines)
        bad = sum(word == 'not ok' for word, _ in lines)
        counts = (len(lines) - skip - bad, bad, skip)
    elif said:
        counts = tuple(int(n or 0) for n in said[-1])
    elif record['result'] == 'SKIP':
        counts = (0, 0, 1)
    else:
        counts = (0, 1, 0) if failed else (1, 0, 0)
    if failed and counts[1] == 0:  # it died before it could say so
        counts = (counts[0], 1, counts[2])
    return counts


def main():
    total = [0, 0, 0]
    with open(sys.argv[1], encoding='utf-8') as log:
        for line in log:
            record = json.loads(line)
            counts = cases(record)
            total = [a + b for a, b in zip(total, counts)]
            if counts[1]:
                print(f"FAILED {record['name']} ({record['result']})", file=sys.stderr)
                text = (record.get('stdout') or '') + (record.get('stderr') or '')
                for row in text.splitlines()[-30:]:
                    print('    ' + row, file=sys.stderr)
    print(*total)


if __name__ == '__main__':
    main()
