/* SPDX-License-Identifier: BSD-2-Clause
 * taps.c: the tables of taps.h. */
#include "taps.h"

static int64_t seen(int64_t o, int64_t t, int64_t limit, int64_t stride, int64_t pad,
                    int64_t dilation, bool back)
{
    int64_t at = back ? o + pad - t * dilation : o * stride - pad + t * dilation;
    if (back)
        at = at < 0 || at % stride ? -1 : at / stride;
    return at >= 0 && at < limit ? at : -1;
}

/* Output o sees what `before`, one step before it, sees, one move further. */
static bool continues(const cpu_axis *axis, int64_t before, int64_t o)
{
    for (int64_t t = 0; t < axis->taps; t++) {
        int64_t a = axis->in[before * axis->taps + t], b = axis->in[o * axis->taps + t];
        if (a < 0 ? b >= 0 : b != a + axis->move)
            return false;
    }
    return true;
}

bool cpu_axis_plan(cpu_axis *axis, dn_op *op, int64_t ins, int64_t outs, int64_t taps,
                   int64_t stride, int64_t pad, int64_t dilation, bool back)
{
    int64_t n = back ? ins : outs, limit = back ? outs : ins;
    *axis = (cpu_axis){
        .outs = n, .taps = taps, .step = back ? stride : 1, .move = back ? 1 : stride};
    /* positions of every output, then the taps and positions of every span */
    axis->in = cpu_op_table(op, (size_t)(3 * n * taps), sizeof *axis->in);
    axis->span = cpu_op_table(op, (size_t)n, sizeof *axis->span);
    if (!axis->in || !axis->span)
        return false;
    for (int64_t i = 0; i < n * taps; i++)
        axis->in[i] = seen(i / taps, i % taps, limit, stride, pad, dilation, back);
    int64_t *list = axis->in + n * taps;
    for (int64_t phase = 0; phase < axis->step; phase++)
        for (int64_t o = phase; o < n; o += axis->step) {
            if (o > phase && continues(axis, o - axis->step, o)) {
                axis->span[axis->spans - 1].count++;
                continue;
            }
            cpu_span *span = &axis->span[axis->spans++];
            *span = (cpu_span){o, 1, 0, list, list + taps};
            for (int64_t t = 0; t < taps; t++)
                if (axis->in[o * taps + t] >= 0) {
                    list[span->taps] = t;
                    list[taps + span->taps++] = axis->in[o * taps + t];
                }
            list += 2 * taps;
        }
    return true;
}
