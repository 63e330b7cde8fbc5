#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# cmp_output.sh ONE OTHER: fails where the two programs do not print the same.
diff <("$1") <("$2") | head -n 20
exit "${PIPESTATUS[0]}"
