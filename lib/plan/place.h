/* SPDX-License-Identifier: BSD-2-Clause
 * place.h: where tensors lie in an arena. Items alive at the same time never overlap. */
#ifndef DNI_PLACE_H
#define DNI_PLACE_H

#include "core/core.h"

typedef struct dni_place_item {
    size_t bytes;
    size_t first, last; /* ops during which it lives, both included */
    size_t offset;      /* the result, a multiple of 64 */
} dni_place_item;

/* Greedy by size (Pisarchyk and Lee, "Efficient memory management for deep neural net
 * inference", 2020): largest first, each in the lowest gap free during its life. There, unless
 * the arena became larger, around the middle of what else lies there: of two workers each has a
 * half of a tensor in its cache, and finds memory that it wrote before. *total: the arena's
 * bytes. DN_E_SHAPE when the sum does not fit a size_t. */
dn_status dni_place(const dni_heap *heap, dni_place_item *items, size_t count, size_t *total);

#endif
