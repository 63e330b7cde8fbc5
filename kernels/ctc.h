/* SPDX-License-Identifier: BSD-2-Clause
 * ctc.h: CTC by step and place, in double and by logarithms. The places of a sequence are its
 * labels with blanks before, between and after them. Whoever includes this may say how
 * functions begin. */
#ifndef DN_KERNELS_CTC_H
#define DN_KERNELS_CTC_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>

#ifndef CTC_FUNCTION
#define CTC_FUNCTION static inline
#endif

#define CTC_LEAST (-87.33654475055310) /* log FLT_MIN: what no class is less likely than */

enum { CTC_BAD = -1, CTC_LONG = -2 }; /* in place of a number of labels */

/* One sequence. */
typedef struct ctc {
    const void *x, *labels; /* (T, N, C), (N, L): double if wide, else float */
    const double *lse;      /* (steps, N): log sum exp of x */
    int32_t *label;         /* (L) those that are not blank */
    int64_t N, C, L, steps, blank, n;
    bool wide;
} ctc;

CTC_FUNCTION double ctc_get(const ctc *c, const void *from, int64_t i)
{
    return c->wide ? ((const double *)from)[i] : ((const float *)from)[i];
}

CTC_FUNCTION double ctc_x(const ctc *c, int64_t t, int64_t k)
{
    return ctc_get(c, c->x, (t * c->N + c->n) * c->C + k);
}

CTC_FUNCTION bool ctc_is_class(const ctc *c, double label)
{
    return label >= 0 && label < (double)c->C;
}

/* Fills label and says how many there are, or why the sequence is left out: *bad then is the
 * place of a label that is none, or there are too few steps. */
CTC_FUNCTION int32_t ctc_read(const ctc *c, int64_t *bad)
{
    int32_t count = 0;
    int64_t least = 0;
    for (int64_t i = 0; i < c->L; i++) {
        double label = ctc_get(c, c->labels, *bad = c->n * c->L + i);
        if (!ctc_is_class(c, label))
            return CTC_BAD;
        if ((int64_t)label == c->blank)
            continue;
        least += 1 + (count && c->label[count - 1] == (int64_t)label);
        c->label[count++] = (int32_t)label;
    }
    return least > c->steps ? CTC_LONG : count;
}

CTC_FUNCTION double ctc_add(double a, double b)
{
    double large = a > b ? a : b;
    return large == -INFINITY ? large : large + log1p(exp((a > b ? b : a) - large));
}

CTC_FUNCTION int64_t ctc_symbol(const ctc *c, int64_t i)
{
    return i % 2 ? c->label[i / 2] : c->blank;
}

CTC_FUNCTION double ctc_log_p(const ctc *c, int64_t t, int64_t i)
{
    double p = ctc_x(c, t, ctc_symbol(c, i)) - c->lse[t * c->N + c->n];
    return p < CTC_LEAST ? CTC_LEAST : p;
}

/* May place i follow place i - 2? */
CTC_FUNCTION bool ctc_jumps(const ctc *c, int64_t i)
{
    return i % 2 && i > 1 && c->label[i / 2] != c->label[i / 2 - 1];
}

/* Of the steps up to t, the last at place i; was: of those up to t - 1. */
CTC_FUNCTION double ctc_before(const ctc *c, const double *was, int64_t t, int64_t i)
{
    double sum = t ? was[i] : i < 2 ? 0 : -INFINITY;
    if (t && i > 0)
        sum = ctc_add(sum, was[i - 1]);
    if (t && ctc_jumps(c, i))
        sum = ctc_add(sum, was[i - 2]);
    return sum + ctc_log_p(c, t, i);
}

/* Of the steps after t, from place i of S; next: of those after t + 1. */
CTC_FUNCTION double ctc_after(const ctc *c, const double *next, int64_t t, int64_t i, int64_t S)
{
    if (t == c->steps - 1)
        return i >= S - 2 ? 0 : -INFINITY;
    double sum = next[i] + ctc_log_p(c, t + 1, i);
    if (i + 1 < S)
        sum = ctc_add(sum, next[i + 1] + ctc_log_p(c, t + 1, i + 1));
    if (i + 2 < S && ctc_jumps(c, i + 2))
        sum = ctc_add(sum, next[i + 2] + ctc_log_p(c, t + 1, i + 2));
    return sum;
}

/* log p of S places, by those of the last step. */
CTC_FUNCTION double ctc_total(const double *last, int64_t S)
{
    return S > 1 ? ctc_add(last[S - 1], last[S - 2]) : last[0];
}

#endif
