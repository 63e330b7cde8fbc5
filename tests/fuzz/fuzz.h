/* SPDX-License-Identifier: BSD-2-Clause
 * fuzz.h: what the fuzz targets share. What must hold: a message exists exactly if a call
 * failed; the sanitizers see the rest. */
#ifndef FUZZ_H
#define FUZZ_H

#include <stdlib.h>
#include <string.h>

#include "proto/proto.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static inline void must(int condition)
{
    if (!condition)
        abort();
}

/* The call just made, after dni_clear_error. */
static inline dn_status checked(dn_status st)
{
    must((st != DN_OK) == (dn_last_error() != NULL));
    return st;
}

#endif
