#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# run.sh SECONDS [CORPUS]: builds the fuzz targets with clang and runs all at once for so long
# (0: not at all), from the files of tests/ and of a folder of prototxts and caffemodels
# ($DEEPNET_CORPUS, or shared/corpus beside the tree, where there is one): those up to 4 KB,
# since large seeds leave time for a few runs a second only. Works in $FUZZ_DIR, by default a
# folder of its own under $TMPDIR; what it finds stays there. $FUZZ_TARGETS: which; `net`, which
# has its seeds within, needs the whole library built for it, and is not among them. $FUZZ_SEED:
# the same inputs in each run, but for how many there is time for.
set -eu
seconds=${1:?usage: run.sh SECONDS [CORPUS]}
corpus=${2:-${DEEPNET_CORPUS:-}}
root=$(cd "$(dirname "$0")/../.." && pwd)
[ "$corpus" ] || [ ! -d "$root/../shared/corpus" ] || corpus=$root/../shared/corpus
work=${FUZZ_DIR:-$(mktemp -d "${TMPDIR:-/tmp}/deepnet-fuzz-XXXXXX")}
command -v clang > /dev/null || { echo "no clang here: fuzzing is skipped"; exit 0; }
mkdir -p "$work"
build=$work/build
[ -f "$build/build.ninja" ] || CC=clang meson setup "$build" "$root" -Dfuzz=true \
    -Dbuildtype=debug -Doptimization=1 -Db_sanitize=address,undefined -Db_lundef=false \
    -Dc_args='-g1 -fsanitize=fuzzer-no-link -fno-sanitize-recover=all' -Dpython=false \
    -Dexamples=false -Dcuda=disabled -Dtests=true > "$work/setup.log" || {
    cat "$work/setup.log"
    exit 1
}
targets=${FUZZ_TARGETS:-text binary upgrade}
for target in $targets; do
    ninja -C "$build" "tests/fuzz/fuzz_$target"
done
[ "$seconds" != 0 ] || exit 0
cd "$root"
# Words of the language, so that mutations get past the field names.
grep -oE '[A-Za-z_][A-Za-z_0-9]+ = [0-9]+' proto/cnn.proto | sed 's/ = .*//' | sort -u |
    sed 's/.*/"&"/' > "$work/words.dict"
fuzz() { # target
    seeds=$work/seeds-$1
    mkdir -p "$seeds"
    find tests/proto tests/corpus ${corpus:+"$corpus"} -type f \( -name '*.prototxt' -o \
        -name '*.caffemodel' -o -name '*.binaryproto' -o -name '*.solverstate' \) -size -9 |
        while read -r file; do
            name=$seeds/$(printf %s "$file" | cksum | cut -d' ' -f1)
            case $1 in # an upgrade's begins with the byte that lets all memory succeed
            upgrade) { printf '\377'; cat "$file"; } > "$name" ;;
            *) cp "$file" "$name" ;;
            esac
            chmod u+w "$name"
        done
    printf '\066\0\0\0\0\0\0\0%s%s' '{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}' \
        abcdefgh > "$seeds/safetensors"
    words= rss=2048
    case $1 in
    text | upgrade) words=-dict=$work/words.dict ;;
    net) rm -f "$seeds"/*; rss=4096 ;; # 65536 steps of an LSTM are planned in 2.2 GB
    esac
    cd "$work"
    exec "build/tests/fuzz/fuzz_$1" -max_total_time="$seconds" -timeout=20 -max_len=4096 \
        -seed="${FUZZ_SEED:-0}" -rss_limit_mb=$rss -print_final_stats=1 $words "$seeds" \
        > "$1.log" 2>&1
}
running=
for target in $targets; do
    fuzz "$target" &
    running="$running $target:$!"
done
failed=0
for one in $running; do
    target=${one%:*}
    if wait "${one#*:}"; then
        echo "fuzz_$target: $seconds s"
        grep -E 'stat::number_of_executed_units|stat::peak_rss_mb' "$work/$target.log"
    else
        tail -40 "$work/$target.log" || :
        echo "fuzz_$target failed; see $work"
        failed=1
    fi
done
[ $failed = 0 ] || exit 1
echo "fuzzing found nothing"
