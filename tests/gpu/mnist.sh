#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# The tutorial, shortened to 500 iterations, by the command on a device: that it trained there,
# and well enough; 77 where there are no data.
#
#   tests/gpu/mnist.sh [TRAIN.SH]
set -u
train=${1:-$(cd "$(dirname "$0")/../.." && pwd)/examples/mnist/train.sh}
log=$(mktemp)
trap 'rm -f "$log"' EXIT
"$train" --gpu --no-install --iterations 500 >"$log" 2>&1
code=$?
tail -n 12 "$log"
[ $code = 1 ] && grep -q '^train.sh: MNIST could not be downloaded' "$log" && exit 77
[ $code = 0 ] || exit $code
grep '^no GPU' "$log" && exit 1
# On the host 97 % of the digits, or 82 % of the garments that stand in for them.
least=95
grep -q '^== done: .*garments' "$log" && least=75
awk -v least=$least '/^== done: accuracy/ { found = 100 * $4 }
    END { print "accuracy: " found " %, at least " least; exit !(found >= least) }' "$log"
