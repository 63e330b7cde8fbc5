#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# kernels/onednn on oneDNN 3, where the distribution has 2: compiled against the headers of
# PyPI's onednn-devel with warnings as errors, and one case of EVERY of the kernel check run on
# the library of onednn-cpu-gomp, an early 3, so that nothing newer is relied on.
# onednn3.sh FOLDER CHECK_KERNELS [EVERY]; 77 (skipped) where these cannot be had.
set -eu
mkdir -p "$1"
out=$(cd "$1" && pwd) check=$(realpath "$2") every=${3:-20}
cd "$(dirname "$0")/../.."
for package in onednn-devel onednn-cpu-gomp; do
    [ -d "$out/$package" ] && continue
    timeout 120 python3 -m pip download -q --no-deps -d "$out/wheels" $package \
        2>"$out/pip.log" || { echo "no $package: $(tail -n 1 "$out/pip.log")"; exit 77; }
    python3 -m zipfile -e "$out/wheels/${package//-/_}"-*.whl "$out/$package"
done
headers=$(dirname "$(find "$out/onednn-devel" -path '*include/dnnl.h' | head -n 1)")
library=$(find "$out/onednn-cpu-gomp" -name libdnnl.so.3 | head -n 1)
[ -f "$headers/dnnl.h" ] && [ "$library" ] || { echo "they hold no oneDNN 3"; exit 77; }
flags="-std=c11 -O2 -fPIC -fvisibility=hidden -Wall -Wextra -Werror -Wno-unused-parameter
    -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wno-missing-field-initializers
    -D_POSIX_C_SOURCE=200809L -DNDEBUG -Iinclude -Ilib -isystem $headers"
# What meson.build compiles wherever the module is.
files=$(sed -n "/^onednn_src = files/,/)/p" kernels/onednn/meson.build |
    grep -o "[a-z_]\+\.c'" | tr "\n'" '  ')
export flags out
echo "$files generation3.c" | xargs -n 1 -P 2 bash -c \
    '${CC:-cc} $flags -c "kernels/onednn/$1" -o "$out/${1%.c}.o"' compile
${CC:-cc} -shared -o "$out/deepnet-onednn.so" "$out"/*.o "$library" \
    -Wl,-rpath,"$(dirname "$library")" -lpthread -lm
DN_TEST_EVERY=$every "$check" "$out/deepnet-onednn.so"
