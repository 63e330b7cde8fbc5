/* SPDX-License-Identifier: BSD-2-Clause
 * taps.h: which inputs an output of a window sees, one axis at a time. Padding, stride,
 * dilation and the way back (which outputs an input was seen by) are all in these tables, so a
 * kernel that reads images as they lie needs no padded copy. */
#ifndef CPU_TAPS_H
#define CPU_TAPS_H

#include "cpu.h"

/* `count` outputs, axis->step apart from `first` on, that see the same taps: the first one sees
 * tap[i] at in[i], each further one axis->move further. */
typedef struct cpu_span {
    int64_t first, count, taps;
    const int64_t *tap, *in;
} cpu_span;

typedef struct cpu_axis {
    int64_t outs, taps, step, move;
    int64_t *in; /* [out * taps + tap]: the input's position, or -1 */
    cpu_span *span;
    int64_t spans;
} cpu_axis;

/* Tables of an axis of `ins` inputs and `outs` outputs of a window, or with `back` the other
 * way round: each of the `ins` as an output that sees `outs`. False with the message set. */
bool cpu_axis_plan(cpu_axis *axis, dn_op *op, int64_t ins, int64_t outs, int64_t taps,
                   int64_t stride, int64_t pad, int64_t dilation, bool back);

#endif
