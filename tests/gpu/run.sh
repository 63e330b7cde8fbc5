#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Everything that needs a GPU, in one go: the kernel checker on every op, recorded layers and
# solvers, LeNet on both sides, compute-sanitizer, benchmarks. What it prints also goes to OUT, to
# be kept under tests/bench/results. Ends with N passed, N failed; 77 where there is no GPU.
#
#   tests/gpu/run.sh [OUT]     BUILD: the build folder (build), MODULE: the backend's path
#
# It takes some eight minutes: PART_LIMIT seconds end a part, and it fails. ITERATIONS, STEPS,
# SECONDS_EACH and DN_TEST_EVERY make it shorter, for a try on a module that is not fast (tests/cuda).
set -u
export LC_ALL=C PYTHONDONTWRITEBYTECODE=1
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
build=${BUILD:-$root/build}
module=${MODULE:-$build/kernels/cuda/deepnet-cuda.so}
out=${1:-$build/gpu.md}
checker=$build/tests/kernels/check_kernels
python=python3
for one in /usr/bin/python3 python3; do
    if "$one" -c 'import numpy' 2>/dev/null; then python=$one; break; fi
done
export PYTHONPATH=$root/bindings/python DEEPNET_LIBRARY=$build/lib/libdeepnet.so.0.1.0

[ -f "$module" ] || { echo "there is no $module: built without nvcc"; exit 77; }
why=$(DN_TEST_EVERY=1000000 "$checker" "$module" 2>&1)
case $? in
77) echo "no GPU: $why"; exit 77 ;;
esac

{
passed=0 failed=0
# name, command...: a section of the report; its exit code counts
part() {
    name=$1
    shift
    printf '\n## %s\n\n```\n' "$name"
    timeout "${PART_LIMIT:-150}" "$@" 2>&1
    code=$?
    echo '```'
    case $code in
    0) passed=$((passed + 1)) ;;
    77) echo "(skipped)" ;;
    *) failed=$((failed + 1)); echo "(FAILED: exit code $code)" ;;
    esac
}
echo "# deepnet on a GPU, $(date -u +%Y-%m-%dT%H:%MZ), $(git -C "$root" rev-parse --short HEAD)"
part "device" sh -c 'nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv || true'
part "kernel checker, every op" "$checker" "$module"
part "recorded layers" env DEEPNET_TEST_MODULE="$module" "$python" \
    "$root/tests/layers/check_reference.py"
part "recorded solvers" env DEEPNET_TEST_MODULE="$module" "$python" \
    "$root/tests/solvers/check_reference.py"
part "LeNet, host and device" "$python" "$here/lenet.py" "$module,cpu,ref" \
    "${ITERATIONS:-200}" "${STEPS:-500}"
if command -v nvidia-smi >/dev/null 2>&1 && [ "$(nvidia-smi -L | wc -l)" -gt 1 ]; then
    part "two devices" "$build/tests/device/test_parallel" \
        "$root/tests/data/reference/fashion300_lmdb" "$(dirname "$module")"
fi
ninja -C "$build" tests/bench/lenet_train.prototxt >/dev/null 2>&1
if [ -x "$build/tests/bench/bench_nets" ] && [ -f "$build/tests/bench/lenet_train.prototxt" ]; then
    for net in lenet alexnet googlenet resnet50 mobilenet_v1; do
        part "benchmark: $net" "$build/tests/bench/bench_nets" --seconds="${SECONDS_EACH:-3}" \
            --backends="$module,cpu,ref" "$build/tests/bench/${net}_train.prototxt" \
            "$build/tests/bench/${net}_deploy.prototxt"
    done
fi
if command -v compute-sanitizer >/dev/null 2>&1; then
    export DN_TEST_EVERY=${SANITIZE_EVERY:-100}
    part "compute-sanitizer memcheck" compute-sanitizer --tool memcheck --error-exitcode 9 \
        "$checker" "$module"
    part "compute-sanitizer racecheck" compute-sanitizer --tool racecheck --error-exitcode 9 \
        "$checker" "$module"
    unset DN_TEST_EVERY
else
    printf '\n(there is no compute-sanitizer here)\n'
fi
printf '\n%s passed, %s failed\n' "$passed" "$failed"
} | tee "$out"
tail -n 1 "$out" | grep -q ' 0 failed'
