#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# kernels/cpu on ARM: compiled for aarch64 (its plain kernels are NEON there) with warnings as
# errors, and where qemu is installed one case of EVERY of the kernel check run against ref. Of
# the library only lib/core, kernels/ref and kernels/cpu are built: nothing else is needed.
# aarch64.sh FOLDER [EVERY]; 77 (skipped) without the compiler.
set -eu
out=$1 every=${2:-40}
cd "$(dirname "$0")/../.."
cc=aarch64-linux-gnu-gcc
command -v $cc >/dev/null || { echo "no $cc"; exit 77; }
mkdir -p "$out"
flags="-std=c11 -O2 -Wall -Wextra -Werror -Wno-unused-parameter -Wshadow -Wstrict-prototypes
    -Wmissing-prototypes -Wvla -Wno-missing-field-initializers -ffp-contract=off -fno-math-errno
    -D_POSIX_C_SOURCE=200809L -DNDEBUG -Iinclude -Ilib -Iproto -Itests"
make_one() { # source, object, more flags
    $cc $flags "${@:3}" -c "$1" -o "$out/$2.o"
}
cat >"$out/builtin.c" <<'EOF'
#include <stddef.h>
#include "deepnet/sys/backend.h"
extern const dn_backend_ops dn_cpu_backend, dn_ref_backend, dn_cuda_host_backend;
extern const dn_backend_ops *const dni_builtin_backends[];
const dn_backend_ops *const dni_builtin_backends[] = {&dn_cpu_backend, &dn_ref_backend, NULL};
const dn_backend_ops dn_cuda_host_backend = {0};
extern const char *const dni_host_modules[], *const dni_device_modules[];
const char *const dni_host_modules[] = {NULL}, *const dni_device_modules[] = {NULL};
EOF
# Of ref these are compiled once, as they are or in double alone; the others are loops for both.
listed() { # variable of ref's meson.build
    echo " $(sed -n "/^$1 /,/)/p" kernels/ref/meson.build | grep -o "[a-z_]*\.c'" |
        tr "\n'" '  ')"
}
once=$(listed ref_f32) wide=$(listed ref_wide_loops)
{
    for file in kernels/cpu/*.c; do
        case $file in *_kernels.c | */isa.c) isa=-DCPU_ISA=plain ;; *) isa= ;; esac
        echo "$file cpu_$(basename "$file" .c)${isa:+ $isa}"
    done
    for file in kernels/ref/*.c; do
        name=$(basename "$file" .c)
        case $wide in *" $name.c "*) ;; *) echo "$file ref_$name" ;; esac
        case $once in *" $name.c "*) ;; *) echo "$file ref64_$name -DREF_DOUBLE" ;; esac
    done
    for file in lib/core/*.c; do echo "$file core_$(basename "$file" .c)"; done
    for name in check_kernels harness operands host liar cases_elementwise cases_spatial \
        cases_network cases_tf32; do
        echo "tests/kernels/$name.c test_$name"
    done
    echo "$out/builtin.c builtin -Wno-missing-prototypes"
} >"$out/list"
export -f make_one
export cc flags out
xargs -P 2 -L 1 bash -c 'make_one "$@"' make_one <"$out/list"
$cc "$out"/*.o -o "$out/check" -lm -lpthread -ldl
command -v qemu-aarch64-static >/dev/null || { echo "compiled; no qemu to run it"; exit 0; }
DN_TEST_EVERY=$every qemu-aarch64-static -L /usr/aarch64-linux-gnu "$out/check" cpu
