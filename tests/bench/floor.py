#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Where the time of each net goes, against what the machine could do.

usage: bench_peak >peak.json; bench_nets --cpu-time FILE... >nets.json
       floor.py peak.json nets.json [--top N]

A layer's floor is the larger of its flops over the peak and its bytes over the bandwidth, each
way; bytes count every blob once (forward: bottoms, weights, tops; backward: those, and as much
again of gradients). Fusing layers goes below the sum of such floors, never below the flops.
Layers are ranked by what they cost above their floor; the rest of a step is the update,
clearing gradients, and data that a layer alone finds in the caches but not within a step.
"""
import argparse
import json


def floors(layer, peak, bandwidth):
    """Seconds of forward and of backward."""
    bytes_forward = layer['bottom_bytes'] + layer['top_bytes'] + layer['param_bytes']
    flops = layer['flops']
    return (max(flops / peak, bytes_forward / bandwidth),
            max(2 * flops / peak, 2 * bytes_forward / bandwidth))


def rows_of(net, peak, bandwidth):
    for layer in net['layers']:
        both = floors(layer, peak, bandwidth)
        for way, floor in zip(('forward', 'backward'), both):
            ms = layer.get(way + '_ms')
            if ms is not None and ms > 0.001:
                flops = layer['flops'] * (2 if way == 'backward' else 1)
                yield {'name': layer['layer'], 'type': layer['type'], 'way': way, 'ms': ms,
                       'floor': 1e3 * floor, 'rate': flops / ms / 1e6}


def report(net, peak, bandwidth, top):
    flops = sum(l['flops'] for l in net['layers']) * (3 if net['job'] == 'train' else 1)
    rows = list(rows_of(net, peak, bandwidth))
    print('\n%s %s, batch %d, %d thread: %.2f ms, %.0f %% of it flops at peak (%.2f ms)' % (
        net['net'], net['job'], net['batch'], net['threads'], net['ms'],
        1e5 * flops / peak / net['ms'], 1e3 * flops / peak))
    kinds = {}
    for row in rows:
        kind = kinds.setdefault((row['type'], row['way']), [0, 0])
        kind[0] += row['ms']
        kind[1] += row['floor']
    ranked = sorted(kinds.items(), key=lambda k: k[1][1] - k[1][0])
    for (kind, way), (ms, floor) in ranked[:top]:
        print('   %-18s %-9s %9.2f ms  floor %8.2f  above it %8.2f' % (
            kind, way, ms, floor, ms - floor))
    if 'update_ms' in net:
        print('   update %.2f ms, clearing gradients %.2f, not in any layer alone %.2f' % (
            net['update_ms'], net['clear_ms'], net['ms'] - sum(r['ms'] for r in rows)
            - net['update_ms'] - net['clear_ms']))
    for row in sorted(rows, key=lambda r: r['floor'] - r['ms'])[:top]:
        print('      %-22s %-9s %9.3f ms  floor %8.3f  %6.1f GFLOP/s' % (
            row['name'], row['way'], row['ms'], row['floor'], row['rate']))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('peak')
    parser.add_argument('nets', nargs='+')
    parser.add_argument('--top', type=int, default=8)
    args = parser.parse_args()
    with open(args.peak) as f:
        machine = json.loads(f.readline())
    for path in args.nets:
        with open(path) as f:
            for line in f:
                report(json.loads(line), 1e9 * machine['gflops'], 1e9 * machine['gbytes'],
                       args.top)


if __name__ == '__main__':
    main()
