#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Everything that needs a GPU, in one go. What it prints also goes to OUT, part by part as they
# end. Ends with what was skipped, what became of the goals of all parts, and N passed, N
# failed; 77 where there is no GPU. A part fails by what is wrong or does not run, not by a goal
# that is missed. Without OUT (or with '') that is build/gpu.md, and once it is whole it is kept
# as tests/bench/results/DATE-DEVICE.md (RESULTS: another folder); with OUT, as tests/run.sh
# calls it, nothing else is written, and the command that would keep it is printed.
#
#   tests/gpu/run.sh [OUT [PART...]]   BUILD: the build folder (build), MODULE: the backend
#
# Parts, the most telling first, and each before those that take long; without names all but
# `compile` (hours), without which goals beside PyTorch are met "without compile":
#   device    what there is                    train     the other nets of NETS beside
#   kernels   one case in ten of the checker             PyTorch; infer1: all, of batch
#   lenet     LeNet: losses of host and device,          1; infer
#             the same bits again, speed from  every     the kernel checker, every case
#             an LMDB beside PyTorch           devices   two devices train together
#   train2    two nets train beside PyTorch:   memcheck, racecheck  compute-sanitizer
#             f32, TF32, bf16, memory          compile   the nets with torch.compile
#   ops       who does which op of some nets
#   coverage  what of a step kernels cover: nets,
#             precisions, training, batch 1
#   streams   what recordings in two streams gain
#   layers, solvers  recorded ones
#   compute   layers in other precisions
#   mnist     the tutorial, by the command
#
# PART_LIMIT ends a part after so many seconds (each has its own), LIMIT leaves out what would
# begin later than that and ends what runs then: LIMIT=560 fits in ten minutes, and the times of
# what comes before `ops` add up to less, unless the device hangs: looking for it then takes up
# to 70 s, and a part that cannot be ended 10 s more. A net beside PyTorch is ended in time to
# judge what it has. BATCH is a number, or "largest" for what both hold in each precision (up to
# MOST), as it is without LIMIT; with it 128; LeNet's is 64. Compute-sanitizer has one case in
# SANITIZE_EVERY, 10, or 100 with LIMIT. Without LIMIT all takes up to four hours; tests/run.sh
# sets one hour, in which all parts are done. NETS, SECONDS_EACH, ITERATIONS, STEPS, LENET_BATCH
# (of `lenet` and `coverage`, 64), DN_TEST_EVERY and CASES (of the recorded layers) make it
# shorter. PYTHONS are looked through for numpy and PyTorch, TORCH is the one that has it;
# TORCH_DEVICE=cpu is for a dry run on a module that is none (meson test gpu-run). To a machine
# where nothing can be built or installed, tests/gpu/pack.sh carries what is needed.
set -u
export LC_ALL=C PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
export DN_TEST_THREADS="${DN_TEST_THREADS:-2}" # a device is told of one: the same once more
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
build=${BUILD:-$root/build}
module=${MODULE:-$build/kernels/cuda/deepnet-cuda.so}
named=${1:-} out=${1:-$build/gpu.md}
[ $# -gt 0 ] && shift
first='device kernels lenet train2 ops coverage streams layers solvers compute mnist'
then='train infer1 infer every devices'
parts=${*:-$first $then memcheck racecheck}
command_line="tests/gpu/run.sh $out $parts"
checker=$build/tests/kernels/check_kernels
began=$(date +%s) today=$(date -u +%Y-%m-%dT%H:%MZ)
# Where the device hangs, this may hang as well.
smi() {
    timeout -k 5 15 nvidia-smi "$@" 2>/dev/null
}

# The first Python that has what is wanted.
python_with() {
    module_wanted=$1
    shift
    for one; do
        if "$one" -c "import importlib.util as u, sys
sys.exit(not u.find_spec('$module_wanted'))" 2>/dev/null; then
            echo "$one"
            return
        fi
    done
}
pythons=${PYTHONS-/usr/bin/python3 python3}
python=$(python_with numpy $pythons)
torch=${TORCH:-$(python_with torch $pythons)}
export PYTHONPATH=$root/bindings/python DEEPNET_LIBRARY=$build/lib/libdeepnet.so

# Libraries that pack.sh carried along and this machine lacks, and no others: what PyTorch links
# here stays what it was built with.
lacking() {
    ldd "$checker" "$DEEPNET_LIBRARY" 2>/dev/null |
        sed -n 's/^[[:space:]]*\([^ ]*\) => not found.*/\1/p'
}
if [ -d "$build/libs" ]; then
    mkdir -p "$build/lacking"
    export LD_LIBRARY_PATH="$build/lacking${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
    for round in 1 2 3 4 5 6 7 8; do # those of those
        for one in $(lacking); do
            [ -f "$build/libs/$one" ] && ln -sf "$build/libs/$one" "$build/lacking/$one"
        done
    done
fi
# cuBLAS, cuDNN and NCCL may have come with PyTorch alone.
came=$("${torch:-false}" -c "import glob, importlib.util as u
s = u.find_spec('nvidia')
print(':'.join(d for p in (s.submodule_search_locations if s else [])
               for d in glob.glob(p + '/*/lib')))" \
    2>/dev/null)
[ -n "$came" ] && export LD_LIBRARY_PATH="${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$came"

[ -f "$module" ] || { echo "there is no $module: built without nvcc"; exit 77; }
why=$(DN_TEST_EVERY=1000000 timeout -k 10 60 "$checker" "$module" 2>&1)
[ $? = 77 ] && { echo "no GPU: $why"; exit 77; }

passed=0 failed=0 skipped= trained=,
say() {
    printf "$@" | tee -a "$out"
}

# name, why: a section that says so
skip() {
    say '\n## %s\n\n(skipped: %s)\n' "$1" "$2"
    skipped="$skipped${skipped:+, }$1"
}

# seconds: what a part may take, in $limit: those, PART_LIMIT, or what is left of LIMIT
limit_of() {
    late=$(($(date +%s) - began))
    limit=${PART_LIMIT:-$1} left=$((${LIMIT:-1000000} - late))
    [ "$left" -lt "$limit" ] && limit=$left
}

# seconds, name, command...: a section of the report; its exit code counts
part() {
    limit_of "$1"
    name=$2
    shift 2
    code=77
    if [ "$left" -le 0 ]; then
        say '\n## %s\n\n(left out: %s s are over)\n' "$name" "$late"
        return
    fi
    case $1 in
    '') skip "$name" "no Python has what it needs"; return ;;
    esac
    say '\n## %s\n\n```\n' "$name"
    { timeout -k 10 "$limit" "$@" 2>&1; echo $? >"$out.code"; } | tee -a "$out"
    code=$(cat "$out.code")
    say '```\n'
    case $code in
    0) passed=$((passed + 1)) ;;
    77) say '(skipped)\n'; skipped="$skipped${skipped:+, }$name" ;;
    124 | 137) failed=$((failed + 1)); say '(FAILED: not done in %s s)\n' "$limit" ;;
    *) failed=$((failed + 1)); say '(FAILED: exit code %s)\n' "$code" ;;
    esac
}

# A kernel that touched what it may not is the end of its process: each kind in one of its own.
kind_by_kind() {
    kinds=$(sed -n 's/.*\[DN_OP_[A-Z0-9_]*\] = "\([A-Z0-9_]*\)".*/\1/p' \
        "$root/tests/kernels/harness.c")
    [ -n "${LIMIT:-}" ] && most=80 each=15 || most=240 each=90
    part "$most" "kernel checker, kind by kind" sh -c 'failed=0 each=$1
shift
for kind; do
    text=$(DN_TEST_KIND=$kind timeout --foreground -k 5 "$each" "$CHECKER" "$MODULE" 2>&1)
    code=$?
    [ "$code" = 0 ] && continue
    failed=1
    echo "$kind:"
    case $code in 124 | 137) echo "not done in $each s" ;; esac
    echo "$text" | grep -v "^seed" | head -8
done
exit $failed' kinds "$each" $kinds
}

# tool: the kernel checker under compute-sanitizer. Some copies of it know no device as new as
# this one, or may not look at it, and then run nothing: a case that it lets through is asked
# for first.
sanitize() {
    name="compute-sanitizer $1"
    if ! command -v compute-sanitizer >/dev/null 2>&1; then
        skip "$name" "there is none here"
        return
    fi
    limit_of 60
    [ "$left" -gt 0 ] || limit=1
    why=$(DN_TEST_KIND=FILL DN_TEST_EVERY=1000 timeout -k 10 "$limit" \
        compute-sanitizer --tool "$1" "$checker" "$module" 2>&1)
    [ $? = 124 ] && why="no answer in $limit s"
    [ -n "${LIMIT:-}" ] && most=120 every=100 || most=1800 every=10
    case $why in
    *' cases agree with ref'*)
        part "$most" "$name" env DN_TEST_EVERY="${SANITIZE_EVERY:-$every}" \
            compute-sanitizer --tool "$1" --error-exitcode 9 "$checker" "$module" ;;
    *) skip "$name" "it ran nothing: $(echo "$why" | grep -v '^ *$' | tail -n 1)" ;;
    esac
}

# It builds what it runs, in build/: left out where that is not the build which is tested, as of
# one that was carried here.
mnist() {
    if [ -z "${TUTORIAL:-}" ] && [ "$(cd "$build" && pwd)" != "$root/build" ]; then
        skip "the tutorial" "it builds in $root/build, which is not what is tested"
    else
        part 120 "the tutorial" "$here/mnist.sh" ${TUTORIAL:+"$TUTORIAL"}
    fi
}

# how many, seconds with LIMIT and without, name, job, more arguments: nets beside PyTorch, a
# part each, so that what is done is kept; of training those that were not trained before
nets() {
    [ -n "${LIMIT:-}" ] && most=$2 usual=128 || most=$3 usual=largest
    more=$1
    shift
    for net in $(echo "${NETS:-lenet,resnet50,mobilenet_v1,googlenet,alexnet,vgg16}" | tr , ' ')
    do
        if [ "$4$5" = train--quick ]; then
            case $trained in *",$net,"*) continue ;; esac
            [ "$more" -gt 0 ] || break
            more=$((more - 1)) trained=$trained$net,
        fi
        batch=${BATCH:-$usual}
        [ "$net" = lenet ] && batch=${BATCH:-64}
        limit_of "$most"
        part "$most" "$3: $net" "$python" "$root/tests/bench/compare.py" --device "$module" \
            --torch "${torch:-$python}" --torch-device "${TORCH_DEVICE:-cuda}" \
            --build "$build" --patience 60 --patience-first "$((limit > 400 ? 400 : limit))" \
            --limit $((limit > 20 ? limit - 10 : limit / 2)) \
            --nets "$net" --jobs "$4" --rounds 3 --seconds "${SECONDS_EACH:-0.3}" \
            --batch "$batch" --most "${MOST:-4096}" $5
    done
}

# The goals of all parts, with a semicolon; nothing where there were none.
all_goals() {
    sed -n 's/^goals: \([0-9]\)/\1/p' "$out" | tr , '\n' | awk '
        { number = $1; sub(/^ *[0-9]+ /, ""); if (!($0 in sum)) order[++kinds] = $0 }
        { sum[$0] += number }
        END { for (i = 1; i <= kinds; i++)
                  text = text (i > 1 ? ", " : "goals: ") sum[order[i]] " " order[i]
              if (kinds) print text "; " }'
}

# Where the report belongs, once a GPU has made it.
keep() {
    device=$(smi --query-gpu=name --format=csv,noheader -i 0 |
        sed -n '1{s/[^A-Za-z0-9]\{1,\}/-/g;p;}' | tr '[:upper:]' '[:lower:]')
    [ -n "$device" ] && [ "${TORCH_DEVICE:-cuda}" != cpu ] || return
    base=${RESULTS:-$root/tests/bench/results}/${today%T*}-$device
    kept=$base number=1
    while [ -e "$kept.md" ]; do
        number=$((number + 1))
        kept=$base-$number
    done
    if [ -n "$named" ]; then
        echo "to keep the report: cp $out $kept.md"
    else
        cp "$out" "$kept.md" && echo "the report is kept as $kept.md"
    fi
}

mkdir -p "$(dirname "$out")"
: >"$out"
say '# deepnet on a GPU, %s, %s\n\n`%s`\n' "$today" \
    "$(git -C "$root" rev-parse --short HEAD 2>/dev/null || echo 'no commit')" "$command_line"
case " $parts " in
*' compile '*) ;;
*) say '\nPyTorch beside it is without torch.compile, which the part `compile` alone has.\n' ;;
esac
for one in $parts; do
    case $one in
    device)
        part 15 "device" sh -c 'nvidia-smi --format=csv \
            --query-gpu=name,driver_version,memory.total,clocks.sm,clocks.max.sm || true'
        part 15 "backends" "$python" -c "import deepnet
print('\\n'.join(deepnet.Context(backends='$module,cpu,ref').backends))" ;;
    ops) part 60 "who does which op" "$python" "$here/ops.py" "$module,cpu,ref" ;;
    kernels)
        export CHECKER="$checker" MODULE="$module" DN_TEST_EVERY="${DN_TEST_EVERY:-10}"
        part 90 "kernel checker, one case in ten" "$checker" "$module"
        case $code in 0 | 77) ;; *) kind_by_kind ;; esac
        unset DN_TEST_EVERY ;;
    every) part 300 "kernel checker, every case" "$checker" "$module" ;;
    lenet) part 90 "LeNet, host and device" "${torch:-$python}" "$here/lenet.py" \
        "$module,cpu,ref" "${ITERATIONS:-200}" "${STEPS:-1000}" ;;
    layers) part 100 "recorded layers" "${python:+env}" DEEPNET_TEST_MODULE="$module" \
        DEEPNET_TEST_THREADS=1 "$python" "$root/tests/layers/check_reference.py" ${CASES:-} ;;
    solvers) part 100 "recorded solvers" "${python:+env}" DEEPNET_TEST_MODULE="$module" \
        "$python" "$root/tests/solvers/check_reference.py" ;;
    compute) part 60 "layers in other precisions" "${python:+env}" \
        DEEPNET_TEST_MODULE="$module" \
        "$python" "$root/tests/layers/check_compute.py" ;;
    mnist) mnist ;;
    train2) nets 2 110 900 "training beside PyTorch" train --quick ;;
    train) nets 99 60 900 "training beside PyTorch" train --quick ;;
    infer1) nets 99 60 300 "inference of one beside PyTorch" infer1 --quick ;;
    infer) nets 99 60 600 "inference beside PyTorch" infer --quick ;;
    compile) # nine are timed a part, of which six compile for a minute or two; none of those is
        # checked, nor is the largest batch looked for with one
        nets 99 300 900 "training beside PyTorch, compiled" train --compiled
        nets 99 300 900 "inference beside PyTorch, compiled" infer --compiled
        nets 99 300 900 "inference of one beside PyTorch, compiled" infer1 --compiled ;;
    coverage)
        [ -n "${LIMIT:-}" ] && most=90 || most=900
        limit_of "$most"
        part "$most" "what kernels cover" "$torch" "$here/coverage.py" "$module,cpu,ref" \
            --limit $((limit * 2 / 3)) ;; # the last row may take the rest
    streams) part 60 "two streams beside one" "$python" "$here/streams.py" "$module,cpu,ref" ;;
    devices)
        if [ "$(smi -L | wc -l)" -gt 1 ]; then
            part 60 "two devices" "$build/tests/device/test_parallel" \
                "$root/tests/data/reference/fashion300_lmdb" "$(dirname "$module")"
            part 90 "what a second device gains" "$python" "$here/scale.py" \
                "$module,cpu,ref"
        else
            skip "two devices" "there is one"
        fi ;;
    memcheck | racecheck) sanitize "$one" ;;
    *) say '\n(there is no part %s)\n' "$one"; failed=$((failed + 1)) ;;
    esac
done
rm -f "$out.code"
[ -n "$skipped" ] && say '\nskipped: %s\n' "$skipped"
say '\n%s%s passed, %s failed, in %s s\n' "$(all_goals)" "$passed" "$failed" \
    "$(($(date +%s) - began))"
keep
[ "$failed" = 0 ]
