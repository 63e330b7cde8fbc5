#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# The tutorial from nothing to a trained LeNet: installs what is missing, builds deepnet, gets
# the digits, converts them, trains, tests, and shows what came out. All lands in build/.
#
#   examples/mnist/train.sh [--gpu] [--iterations N] [--no-install] [--seed N] [--threads N]
#
# --gpu: builds the CUDA module and trains and tests on the first GPU, or says why it does not.
# DEEPNET_MNIST_DIR: a folder with MNIST's four IDX files (plain or .gz), instead of a download.
set -eu
export LC_ALL=C

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
build=$root/build
work=$build/mnist
iterations=10000
install=yes
gpu=no
extra=

usage() {
    echo "usage: $0 [--gpu] [--iterations N] [--no-install] [--seed N] [--threads N]" >&2
    exit 2
}
while [ $# -gt 0 ]; do
    case $1 in
    --*=*) option=${1%%=*}; value=${1#*=}; shift; set -- "$option" "$value" "$@"; continue ;;
    --no-install) install=no ;;
    --gpu) gpu=yes ;;
    --iterations | --seed | --threads)
        [ $# -gt 1 ] || usage
        case $2 in '' | *[!0-9]*) usage ;; esac
        if [ "$1" = --iterations ]; then iterations=$2; else extra="$extra $1=$2"; fi
        shift ;;
    *) usage ;;
    esac
    shift
done
[ "$iterations" -gt 0 ] || usage

say() { printf '\n== %s\n' "$*"; }

if [ $install = yes ]; then
    say "installing what is missing"
    "$root/scripts/install-deps.sh" --data
else
    "$root/scripts/install-deps.sh" --data --no-install
fi

say "building deepnet in $build"
[ -f "$build/build.ninja" ] || meson setup --buildtype=release "$build" "$root"
ninja -C "$build" bindings/cli/deepnet
deepnet=$build/bindings/cli/deepnet
mkdir -p "$work/idx"

backends=
if [ $gpu = yes ]; then
    module=kernels/cuda/deepnet-cuda.so
    say "building the CUDA module"
    echo 'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 } } }' \
        >"$work/probe.prototxt"
    if ! ninja -C "$build" -t query $module >/dev/null 2>&1; then
        echo "no GPU: this build has no CUDA module (it needs nvcc); the CPU trains"
    elif ! { ninja -C "$build" $module &&
        why=$("$deepnet" info --gpu=0 --backends="$build/$module,cpu,ref" \
            "$work/probe.prototxt" 2>&1 >/dev/null); }; then
        echo "no GPU: ${why:-the CUDA module was not built}; the CPU trains"
    else
        backends=$build/$module,cpu,ref
    fi
fi

# ---- the digits -----------------------------------------------------------------

files="t10k-labels-idx1-ubyte t10k-images-idx3-ubyte
    train-labels-idx1-ubyte train-images-idx3-ubyte"
mirrors="${DEEPNET_MNIST_MIRRORS-https://ossci-datasets.s3.amazonaws.com/mnist
    https://storage.googleapis.com/cvdf-datasets/mnist}"

is_right() { # file, name: its SHA-256 is MNIST's
    [ -f "$1" ] && sum=$(sha256sum <"$1") && grep -q "^${sum%% *}  $2\.gz\$" "$here/mnist.sha256"
}
# Fetches one file; the smallest comes first, so that no network is found out in seconds.
fetch() {
    target=$work/idx/$1.gz
    is_right "$target" "$1" && return 0
    for mirror in $mirrors; do
        echo "trying $mirror/$1.gz"
        if curl -fsSL --connect-timeout 5 --max-time 120 -o "$target.part" "$mirror/$1.gz"; then
            if is_right "$target.part" "$1"; then
                mv "$target.part" "$target"
                return 0
            fi
            echo "what it gave is not MNIST's $1.gz: its SHA-256 is another"
        fi
        rm -f "$target.part"
    done
    return 1
}
path_of() { # folder, name: the file, plain or compressed
    for candidate in "$1/$2" "$1/$2.gz"; do
        if [ -f "$candidate" ]; then echo "$candidate"; return 0; fi
    done
    return 1
}
all_in() {
    for name in $files; do
        path_of "$1" "$name" >/dev/null || { lacking=$name; return 1; }
    done
}
download() {
    command -v curl >/dev/null 2>&1 || { echo "there is no curl to download with"; return 1; }
    for name in $files; do fetch "$name" || return 1; done
}

labels=digits
if [ "${DEEPNET_MNIST_DIR:-}" ]; then
    say "taking the digits from $DEEPNET_MNIST_DIR"
    digits=$DEEPNET_MNIST_DIR
    if ! all_in "$digits"; then
        echo "train.sh: DEEPNET_MNIST_DIR=$digits: there is no $lacking or $lacking.gz" >&2
        exit 1
    fi
else
    say "getting the digits"
    if download; then
        digits=$work/idx
    else
        digits=$(dpkg -L dataset-fashion-mnist 2>/dev/null |
            sed -n 's|/train-images-idx3-ubyte\.gz$||p')
        labels=garments
        if [ -z "$digits" ] || ! all_in "$digits"; then
            echo "train.sh: MNIST could not be downloaded, and Debian's dataset-fashion-mnist" \
                "is not installed; set DEEPNET_MNIST_DIR to a folder of MNIST's IDX files" >&2
            exit 1
        fi
        echo "MNIST could not be downloaded. Using Fashion-MNIST from Debian's package instead:"
        echo "these are GARMENTS, NOT DIGITS, in the same format. 90 % right is good for them."
    fi
fi

# ---- convert, train, test --------------------------------------------------------

say "converting to mnist_train_lmdb and mnist_test_lmdb in $work"
for set in train t10k; do
    out=$work/mnist_$(echo $set | sed s/t10k/test/)_lmdb
    "$deepnet" convert mnist --overwrite "$(path_of "$digits" $set-images-idx3-ubyte)" \
        "$(path_of "$digits" $set-labels-idx1-ubyte)" "$out"
done

# The tutorial's paths hold as they stand: mnist/ is a folder of the working directory, and the
# databases are found beside the prototxt that names them.
cp "$here/lenet_train_test.prototxt" "$here/lenet_solver.prototxt" "$work/"
cd "$build"
say "training LeNet for $iterations iterations"
"$deepnet" train --solver=mnist/lenet_solver.prototxt --iterations="$iterations" \
    --log=mnist/train.jsonl $extra ${backends:+--gpu=0 "--backends=$backends"}

weights=mnist/lenet_iter_$iterations.caffemodel
say "testing $weights on the 10,000 test images ($labels)"
"$deepnet" test --model=mnist/lenet_train_test.prototxt --weights="$weights" --iterations=100 \
    --confusion --labels="$here/$labels.txt" --log=mnist/test.json --quiet \
    ${backends:+--gpu=0 "--backends=$backends"} >mnist/test.txt
cat mnist/test.txt

say "loss and accuracy"
python3 "$here/plot.py" mnist/train.jsonl mnist/plot.svg mnist/test.json
accuracy=$(sed -n 's/^accuracy = \([0-9.]*\).*/\1/p' mnist/test.txt)
say "done: accuracy $accuracy ($labels)"
echo "weights:  $build/$weights"
echo "log:      $work/train.jsonl"
echo "plot:     $work/plot.svg"
