#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Everything that needs a GPU, in one go. What it prints also goes to OUT, part by part as they end,
# to be kept under tests/bench/results. Ends with N passed, N failed; 77 where there is no GPU.
#
#   tests/gpu/run.sh [OUT [PART...]]    BUILD: the build folder (build), MODULE: the backend's path
#
# Parts, the most telling first; without names all but `compile`:
#   device    what there is                    lenet     LeNet: losses of host and device, the same
#   kernels   the kernel checker, every op               bits again, speed beside PyTorch
#   layers    recorded layers                  coverage  what of a step kernels cover
#   solvers   recorded solvers                 nets      five nets beside PyTorch: f32, TF32, bf16,
#   devices   two devices train together                 training, inference, batch 1, memory
#   memcheck, racecheck  compute-sanitizer     compile   the same with torch.compile
#
# PART_LIMIT ends a part after so many seconds (each has its own), LIMIT leaves out what would begin
# later than that. NETS, BATCH, SECONDS_EACH, ITERATIONS, STEPS and DN_TEST_EVERY make it shorter;
# TORCH is the Python that has PyTorch; TORCH_DEVICE=cpu is for a dry run on a module that is none
# (meson test gpu-run).
set -u
export LC_ALL=C PYTHONDONTWRITEBYTECODE=1
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
build=${BUILD:-$root/build}
module=${MODULE:-$build/kernels/cuda/deepnet-cuda.so}
out=${1:-$build/gpu.md}
[ $# -gt 0 ] && shift
parts=${*:-device kernels lenet layers solvers nets coverage devices memcheck racecheck}
command_line="tests/gpu/run.sh $out $parts"
checker=$build/tests/kernels/check_kernels
began=$(date +%s)
python=python3
for one in /usr/bin/python3 python3; do
    if "$one" -c 'import numpy' 2>/dev/null; then python=$one; break; fi
done
torch=${TORCH:-$python}
if [ -z "${TORCH:-}" ] && [ -x /opt/peer/venv/bin/python ]; then
    torch=/opt/peer/venv/bin/python
fi
export PYTHONPATH=$root/bindings/python DEEPNET_LIBRARY=$build/lib/libdeepnet.so

[ -f "$module" ] || { echo "there is no $module: built without nvcc"; exit 77; }
why=$(DN_TEST_EVERY=1000000 "$checker" "$module" 2>&1)
[ $? = 77 ] && { echo "no GPU: $why"; exit 77; }

passed=0 failed=0
say() {
    printf "$@" | tee -a "$out"
}

# limit, name, command...: a section of the report; its exit code counts
part() {
    limit=${PART_LIMIT:-$1} name=$2
    shift 2
    say '\n## %s\n\n' "$name"
    late=$(($(date +%s) - began))
    if [ "$late" -ge "${LIMIT:-1000000}" ]; then
        say '(left out: %s s are over)\n' "$late"
        return
    fi
    left=$((${LIMIT:-1000000} - late))
    [ "$left" -lt "$limit" ] && limit=$left
    say '```\n'
    { timeout "$limit" "$@" 2>&1; echo $? >"$out.code"; } | tee -a "$out"
    code=$(cat "$out.code")
    say '```\n'
    case $code in
    0) passed=$((passed + 1)) ;;
    77) say '(skipped)\n' ;;
    124) failed=$((failed + 1)); say '(FAILED: not done in %s s)\n' "$limit" ;;
    *) failed=$((failed + 1)); say '(FAILED: exit code %s)\n' "$code" ;;
    esac
}

# tool: the kernel checker under compute-sanitizer
sanitize() {
    if command -v compute-sanitizer >/dev/null 2>&1; then
        part 120 "compute-sanitizer $1" env DN_TEST_EVERY="${SANITIZE_EVERY:-100}" \
            compute-sanitizer --tool "$1" --error-exitcode 9 "$checker" "$module"
    else
        say '\n## compute-sanitizer %s\n\n(there is none here)\n' "$1"
    fi
}

# more arguments: nets beside PyTorch
nets() {
    for net in $(echo "${NETS:-lenet,resnet50,mobilenet_v1,googlenet,alexnet,vgg16}" | tr , ' ')
    do
        part "$1" "$2: $net" "$python" "$root/tests/bench/compare.py" --device "$module" \
            --torch "$torch" --torch-device "${TORCH_DEVICE:-cuda}" --build "$build" \
            --nets "$net" --rounds 3 --seconds "${SECONDS_EACH:-0.5}" \
            --batch "${BATCH:-$([ "$net" = lenet ] && echo 64 || echo 128)}" $3
    done
}

: >"$out"
say '# deepnet on a GPU, %s, %s\n\n`%s`\n' "$(date -u +%Y-%m-%dT%H:%MZ)" \
    "$(git -C "$root" rev-parse --short HEAD 2>/dev/null || echo 'no commit')" "$command_line"
for one in $parts; do
    case $one in
    device)
        part 30 "device" sh -c 'nvidia-smi --query-gpu=name,driver_version,memory.total \
            --format=csv || true'
        part 30 "backends" "$python" -c "import deepnet
print('\\n'.join(deepnet.Context(backends='$module,cpu,ref').backends))" ;;
    kernels) part 150 "kernel checker, every op" "$checker" "$module" ;;
    lenet) part 120 "LeNet, host and device" "$torch" "$here/lenet.py" "$module,cpu,ref" \
        "${ITERATIONS:-200}" "${STEPS:-500}" ;;
    layers) part 100 "recorded layers" env DEEPNET_TEST_MODULE="$module" "$python" \
        "$root/tests/layers/check_reference.py" ;;
    solvers) part 100 "recorded solvers" env DEEPNET_TEST_MODULE="$module" "$python" \
        "$root/tests/solvers/check_reference.py" ;;
    nets) nets 100 "beside PyTorch" --quick ;;
    compile) nets 400 "beside PyTorch, compiled" --full ;;
    coverage) part 60 "what kernels cover" "$torch" "$here/coverage.py" "$module,cpu,ref" ;;
    devices)
        if [ "$(nvidia-smi -L 2>/dev/null | wc -l)" -gt 1 ]; then
            part 60 "two devices" "$build/tests/device/test_parallel" \
                "$root/tests/data/reference/fashion300_lmdb" "$(dirname "$module")"
        else
            say '\n## two devices\n\n(there is one)\n'
        fi ;;
    memcheck | racecheck) sanitize "$one" ;;
    *) say '\n(there is no part %s)\n' "$one"; failed=$((failed + 1)) ;;
    esac
done
rm -f "$out.code"
say '\n%s passed, %s failed, in %s s\n' "$passed" "$failed" "$(($(date +%s) - began))"
[ "$failed" = 0 ]
