#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Installs what is missing, builds deepnet in build/, runs every test, and ends with one line:
# N passed, N failed. The exit code is 0 if none failed. Where there is a GPU, its part
# (tests/gpu/run.sh) ends within LIMIT seconds, an hour; LIMIT= lets it take four.
#
#   tests/run.sh [--no-install]
set -u
export PYTHONDONTWRITEBYTECODE=1
export LC_ALL=C

root=$(cd "$(dirname "$0")/.." && pwd)
build=$root/build
install=yes
for option; do
    case $option in
    --no-install) install=no ;;
    *) echo "usage: $0 [--no-install]" >&2; exit 2 ;;
    esac
done

say() { printf '\n== %s\n' "$*"; }
passed=0 failed=0 skipped=0
add() { passed=$((passed + $1)); failed=$((failed + $2)); skipped=$((skipped + ${3:-0})); }
finish() {
    [ $skipped = 0 ] || echo "$skipped tests could not run here (see above)"
    echo "$passed passed, $failed failed"
    [ $failed = 0 ] && [ $passed -gt 0 ]
    exit
}

before=
if [ $install = yes ]; then
    say "installing what is missing"
    before=$("$root/scripts/install-deps.sh" --tests --data --no-install)
    "$root/scripts/install-deps.sh" --tests --data || { add 0 1; finish; }
else
    "$root/scripts/install-deps.sh" --tests --data --no-install
fi

say "building in $build"
if [ ! -f "$build/build.ninja" ]; then
    meson setup --buildtype=release "$build" "$root" || { add 0 1; finish; }
else
    case $before in # a folder that train.sh made leaves out what needs C++ or numpy
    *"not installed"*) meson setup --reconfigure "$build" "$root" || { add 0 1; finish; } ;;
    esac
fi
ninja -C "$build" || { add 0 1; finish; }

say "running the tests"
log=$build/meson-logs/testlog.json
rm -f "$log"
meson test -C "$build" --no-rebuild --print-errorlogs --num-processes 2 \
    --timeout-multiplier 4 </dev/null
if [ -f "$log" ]; then
    add $(python3 "$root/tests/count.py" "$log")
else
    add 0 1
fi

# What needs a GPU, where there is one. The report stays in build/: run.sh says how to keep it.
say "the GPU"
LIMIT=${LIMIT-3600} "$root/tests/gpu/run.sh" "$build/gpu.md" </dev/null
case $? in
0) add 1 0 ;;
77) ;;
*) add 0 1 ;;
esac

# The tutorial, shortened: everything from the digits to the plot.
say "the MNIST example, 100 iterations"
out=$build/mnist-example.log
if "$root/examples/mnist/train.sh" --no-install --iterations 100 >"$out" 2>&1 </dev/null; then
    tail -n 5 "$out"
    add 1 0
else
    tail -n 30 "$out"
    add 0 1
fi
finish
