#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# corpus.sh PROGRAM FOLDER: PROGRAM (corpus.c, built) reads every net and solver that FOLDER's
# index.tsv lists (path, kind: net or solver, ...).
set -eu
program=$(realpath "$1")
cd "$2"
tail -n +2 index.tsv | awk -F'\t' '$2 == "net" || $2 == "solver" { print $2; print $1 }' |
    tr '\n' '\0' | xargs -0 -n 2000 "$program"
