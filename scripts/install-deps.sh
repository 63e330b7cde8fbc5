#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Installs what deepnet is built and tested with, on Debian and its kin. Says what is missing;
# when nothing is, it needs neither the network nor root.
#
#   scripts/install-deps.sh [--tests] [--ci] [--data] [--no-install]
#
# --tests adds what the tests use, --ci the other compilers, BLAS and oneDNN, --data the
# stand-in for MNIST; --no-install says what is missing and does nothing about it.
set -eu

# a|b: either will do, a is what gets installed
packages="meson ninja-build gcc libc6-dev pkg-config|pkgconf python3 protobuf-c-compiler
    libprotobuf-c-dev libprotobuf-dev liblmdb-dev
    libopenblas-serial-dev|libopenblas-pthread-dev|libopenblas-openmp-dev
    zlib1g-dev libhdf5-dev libleveldb-dev libjpeg62-turbo-dev|libjpeg-dev libpng-dev"
install=yes
for option; do
    case $option in
    --no-install) install=no ;;
    --tests) packages="$packages g++ python3-numpy python3-h5py dataset-fashion-mnist" ;;
    --ci) packages="$packages clang libclang-rt-14-dev libatlas-base-dev libdnnl-dev
        gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user-static" ;;
    --data) packages="$packages curl ca-certificates dataset-fashion-mnist" ;;
    *) echo "usage: $0 [--tests] [--ci] [--data] [--no-install]" >&2; exit 2 ;;
    esac
done

if ! command -v dpkg-query >/dev/null 2>&1; then
    [ $install = yes ] || exit 0
    echo "install-deps: this is no Debian; these must be there already:" $packages
    exit 0
fi

installed() {
    [ "$(dpkg-query -W -f='${db:Status-Abbrev}' "$1" 2>/dev/null)" = "ii " ]
}

missing=
for choice in $packages; do
    found=
    for package in $(echo "$choice" | tr '|' ' '); do
        if installed "$package"; then found=1; fi
    done
    [ "$found" ] || missing="$missing ${choice%%|*}"
done
if [ -z "$missing" ]; then
    echo "install-deps: everything needed is installed"
    exit 0
fi

if [ $install = no ]; then
    echo "install-deps: not installed, at least not as packages:$missing"
    exit 0
fi
echo "install-deps: installing$missing"
as_root=
if [ "$(id -u)" != 0 ]; then
    if ! command -v sudo >/dev/null 2>&1; then
        echo "install-deps: neither root nor sudo; install them, or pass --no-install" >&2
        exit 1
    fi
    as_root=sudo
fi
apt_install() {
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends \
        -o Dpkg::Use-Pty=0 $missing </dev/null
}
# A machine that knows its package lists may be without the network, so they are not refreshed
# unless that is what was wrong.
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! apt_install >"$log" 2>&1; then
    $as_root apt-get update -q >"$log" 2>&1 || { cat "$log" >&2; exit 1; }
    apt_install >"$log" 2>&1 || { cat "$log" >&2; exit 1; }
fi
echo "install-deps: done"
