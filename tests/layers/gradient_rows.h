/* SPDX-License-Identifier: BSD-2-Clause
 * gradient_rows.h: what the gradient check runs: small nets, at least one for each layer class.
 * To add a layer, add a row to gradient_rows.c. */
#ifndef GRADIENT_ROWS_H
#define GRADIENT_ROWS_H

#include <stddef.h>
#include <stdint.h>

enum {
    ROW_TEST = 1,   /* phase TEST; otherwise TRAIN */
    ROW_ZERO = 2,   /* the gradient is 0 everywhere, so a negated one is the same */
    ROW_KINKS = 4,  /* kinks are dense: fewer than half of the values may be smooth */
    ROW_INPUTS = 8, /* the layer's own rule for its weights is no derivative: inputs alone */
    ROW_RULE = 16,  /* what flows back is a rule, not the derivative of the top: it must be
                       there and finite; check_fork_*.py hold it against the rule */
};

/* Inputs are named by what they hold: x... standard normal, checked; p... positive, checked;
 * and not checked: tK... whole numbers in [0, K), c... 0 for the first row, then 1; s... 0 or 1
 * in turn. */
typedef struct gradient_row {
    const char *type; /* the class under test */
    const char *text; /* the net */
    uint32_t flags;
} gradient_row;

extern const gradient_row gradient_rows[];
extern const size_t num_gradient_rows;
extern const char *const no_gradient_types[]; /* classes without a gradient; ends with NULL */

/* Numbers in [0, 1), standard normal ones, and what element i of an input of that name starts
 * as, whose rows have so many elements: the next of a stream. */
double gradient_uniform(uint64_t *draws);
double gradient_normal(uint64_t *draws);
double gradient_value(uint64_t *draws, const char *name, int64_t i, int64_t row);

#endif
