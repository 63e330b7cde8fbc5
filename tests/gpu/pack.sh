#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# What tests/gpu/run.sh needs of a build, with the libraries that it links, in a folder to carry
# to a machine that has a GPU and no way to build or install: there, BUILD=FOLDER
# tests/gpu/run.sh OUT.
#
#   tests/gpu/pack.sh FOLDER    BUILD: the build folder (build), MODULE: the backend's path
#
# Little to carry (some 17 MB): a build with -Dcblas=none, and -Dhdf5=disabled, likewise
# leveldb, jpeg, png and onednn, and -Dgpu_arch=90 for Hopper alone.
set -eu
[ $# = 1 ] || { sed -n 's/^#   //p' "$0"; exit 2; }
root=$(cd "$(dirname "$0")/../.." && pwd)
build=${BUILD:-$root/build}
module=${MODULE:-$build/kernels/cuda/deepnet-cuda.so}
mkdir -p "$1/libs"
to=$(cd "$1" && pwd)
cd "$build"
mkdir -p "$to/lib" "$to/kernels/cuda" "$to/tests/kernels" "$to/tests/device"
for file in lib/libdeepnet.so lib/libdeepnet.so.0 tests/kernels/check_kernels \
    tests/device/test_parallel; do
    strip -o "$to/$file" "$(readlink -f "$file")"
done
strip -o "$to/kernels/cuda/deepnet-cuda.so" "$module"
other=$(dirname "$module")/one-stream.so # for comparison
[ -f "$other" ] && strip -o "$to/kernels/cuda/one-stream.so" "$other"
# Not those of the compiler and the C library: whatever else runs there needs its own.
ldd lib/libdeepnet.so tests/kernels/check_kernels tests/device/test_parallel |
    awk '$3 ~ /^\// { print $3 }' | sort -u |
    grep -v -E '/(lib(c|m|dl|rt|pthread|resolv|stdc\+\+|gcc_s)|ld-linux.*|libdeepnet)\.so' |
    while read -r library; do strip -o "$to/libs/$(basename "$library")" "$library"; done
du -sh "$to"
