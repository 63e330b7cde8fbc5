/* SPDX-License-Identifier: BSD-2-Clause
 * sequence.h: is a sequence of classes what its labels say? For ref and cuda. Whoever includes
 * this says what SEQUENCE_REAL, a label's type, and SEQUENCE_FUNCTION are. */

/* Of the classes repeats are taken once and blanks left out, of the labels blanks are. */
SEQUENCE_FUNCTION bool sequence_is_right(const int32_t *best, int64_t steps,
                                         const SEQUENCE_REAL *label, int64_t count,
                                         double blank)
{
    int64_t at = 0;
    double before = blank;
    for (int64_t t = 0; t < steps; t++) {
        double now = best[t];
        bool is_new = now != before && now != blank;
        before = now;
        if (!is_new)
            continue;
        while (at < count && (double)label[at] == blank)
            at++;
        if (at == count || (double)label[at] != now)
            return false;
        at++;
    }
    while (at < count && (double)label[at] == blank)
        at++;
    return at == count;
}
