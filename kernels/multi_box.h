/* SPDX-License-Identifier: BSD-2-Clause
 * multi_box.h: what MULTI_BOX asks of one prior box, in double: which boxes are matched and
 * mined hangs on the last bit, so there is one copy. Whoever includes this may say how
 * functions begin. */
#ifndef DN_KERNELS_MULTI_BOX_H
#define DN_KERNELS_MULTI_BOX_H

#include <float.h>
#include <math.h>
#include <stdbool.h>

#include "deepnet/sys/backend.h"
#include "deepnet/sys/boxes.h"

#ifndef MULTI_FUNCTION
#define MULTI_FUNCTION static inline
#endif

enum { MULTI_UNMATCHED = -1, MULTI_IGNORED = -2 };

typedef struct multi {
    const dn_args_multi_box *a;
    const void *loc, *conf, *priors, *truths; /* double if wide, else float */
    int64_t N, P, G, places;
    bool wide;
} multi;

MULTI_FUNCTION double multi_get(const multi *m, const void *from, int64_t i)
{
    return m->wide ? ((const double *)from)[i] : ((const float *)from)[i];
}

/* Rounded before it is scaled. */
MULTI_FUNCTION void multi_put(const multi *m, void *to, int64_t i, double scale, double value)
{
    if (m->wide)
        ((double *)to)[i] = scale * value;
    else
        ((float *)to)[i] = (float)(scale * (double)(float)value);
}

MULTI_FUNCTION dn_box multi_box_at(const multi *m, const void *from, int64_t i)
{
    return dn_box_of(multi_get(m, from, i), multi_get(m, from, i + 1),
                     multi_get(m, from, i + 2), multi_get(m, from, i + 3));
}

/* ---- true boxes: image, label, -, x0, y0, x1, y1, difficult --------------------------------
 */

MULTI_FUNCTION int32_t multi_label(const multi *m, int64_t row)
{
    return (int32_t)multi_get(m, m->truths, row * 8 + 1);
}

MULTI_FUNCTION bool multi_is_of(const multi *m, int64_t row, int64_t image)
{
    return multi_get(m, m->truths, row * 8) == (double)image &&
           (!(m->a->flags & DN_MULTI_EASY) || multi_get(m, m->truths, row * 8 + 7) == 0);
}

MULTI_FUNCTION bool multi_is_class(const multi *m, int64_t row)
{
    double label = multi_get(m, m->truths, row * 8 + 1);
    return label >= 0 && label < m->a->classes && (int32_t)label != m->a->background;
}

/* ---- boxes ---------------------------------------------------------------------------------
 */

MULTI_FUNCTION dn_box multi_prior(const multi *m, int64_t i, double *variance)
{
    for (int32_t k = 0; k < 4; k++)
        variance[k] = multi_get(m, m->priors, (m->P + i) * 4 + k);
    return multi_box_at(m, m->priors, i * 4);
}

MULTI_FUNCTION int64_t multi_loc_at(const multi *m, int64_t n, int64_t i, int64_t place)
{
    return ((n * m->P + i) * m->places + place) * 4;
}

/* Prior i itself, or the box that the offsets make of it. */
MULTI_FUNCTION dn_box multi_box(const multi *m, int64_t n, int64_t i, int64_t place, bool prior)
{
    double variance[4];
    dn_box box = multi_prior(m, i, variance);
    if (prior)
        return box;
    dn_box code = multi_box_at(m, m->loc, multi_loc_at(m, n, i, place));
    return dn_box_decode(m->a->code, &box, m->a->flags & DN_MULTI_IN_TARGET ? NULL : variance,
                         &code);
}

MULTI_FUNCTION dn_box multi_matched(const multi *m, int64_t n, int64_t i, int64_t place)
{
    return multi_box(m, n, i, place, m->a->flags & DN_MULTI_PRIORS);
}

MULTI_FUNCTION bool multi_crosses(const dn_box *b)
{
    return b->x0 < 0 || b->x0 > 1 || b->y0 < 0 || b->y0 > 1 || b->x1 < 0 || b->x1 > 1 ||
           b->y1 < 0 || b->y1 > 1;
}

MULTI_FUNCTION double multi_iou(const multi *m, const dn_box *box, int64_t row)
{
    dn_box t = multi_box_at(m, m->truths, row * 8 + 3);
    return dn_box_iou(box, &t, 0);
}

/* What a box is matched with once the true boxes have taken theirs: of what is left, the true
 * box it overlaps most, if that is enough. */
MULTI_FUNCTION int32_t multi_match(const multi *m, int32_t match, int32_t best, double overlap)
{
    bool takes = match == MULTI_UNMATCHED && best >= 0 && overlap >= m->a->overlap;
    return takes && !(m->a->flags & DN_MULTI_BIPARTITE) ? best : match;
}

/* Places of classes: a prior's match counts in the place of its true box's label alone. */
MULTI_FUNCTION int32_t multi_match_of(const multi *m, int32_t match, int64_t place)
{
    if (m->places == 1 || match == MULTI_IGNORED)
        return match;
    return match >= 0 && multi_label(m, match) == place ? match : MULTI_UNMATCHED;
}

/* ---- the two losses ------------------------------------------------------------------------
 */

MULTI_FUNCTION dn_box multi_encode(int32_t code, const dn_box *p, const double *v,
                                   const dn_box *b)
{
    double w = p->x1 - p->x0, h = p->y1 - p->y0;
    if (code == DN_BOX_CENTER_SIZE)
        return dn_box_of((b->x0 + b->x1 - p->x0 - p->x1) / 2 / w / v[0],
                         (b->y0 + b->y1 - p->y0 - p->y1) / 2 / h / v[1],
                         log((b->x1 - b->x0) / w) / v[2], log((b->y1 - b->y0) / h) / v[3]);
    if (code != DN_BOX_CORNER_SIZE)
        w = h = 1;
    return dn_box_of((b->x0 - p->x0) / w / v[0], (b->y0 - p->y0) / h / v[1],
                     (b->x1 - p->x1) / w / v[2], (b->y1 - p->y1) / h / v[3]);
}

/* The loss of the offsets of prior i, matched with a true box; its gradient times scale goes to
 * dloc if that is wanted. */
MULTI_FUNCTION double multi_loc_term(const multi *m, int64_t n, int64_t i, int64_t place,
                                     int64_t row, double scale, void *dloc)
{
    double variance[4], sum = 0;
    int64_t at = multi_loc_at(m, n, i, place);
    bool l2 = m->a->flags & DN_MULTI_L2, inside = m->a->flags & DN_MULTI_INSIDE;
    dn_box prior = multi_prior(m, i, variance), box = multi_matched(m, n, i, place);
    dn_box t = multi_box_at(m, m->truths, row * 8 + 3);
    dn_box code = multi_encode(m->a->code, &prior, variance, &t);
    double target[4] = {code.x0, code.y0, code.x1, code.y1};
    double corner[4] = {box.x0, box.y0, box.x1, box.y1};
    for (int32_t k = 0; k < 4; k++) {
        double x = multi_get(m, m->loc, at + k);
        if (m->a->flags & DN_MULTI_IN_TARGET)
            x /= variance[k];
        double d = inside && (corner[k] < 0 || corner[k] > 1) ? 0 : x - target[k];
        bool inner = l2 || fabs(d) < 1;
        sum += inner ? d * d / 2 : fabs(d) - 0.5;
        if (dloc)
            multi_put(m, dloc, at + k, scale, inner ? d : d > 0 ? 1 : -1);
    }
    return sum;
}

MULTI_FUNCTION double multi_softmax_term(const multi *m, int64_t at, int32_t label,
                                         double scale, void *dconf)
{
    double largest = -INFINITY, sum = 0;
    for (int32_t c = 0; c < m->a->classes; c++)
        largest = fmax(largest, multi_get(m, m->conf, at + c));
    for (int32_t c = 0; c < m->a->classes; c++)
        sum += exp(multi_get(m, m->conf, at + c) - largest);
    for (int32_t c = 0; dconf && c < m->a->classes; c++)
        multi_put(m, dconf, at + c, scale,
                  exp(multi_get(m, m->conf, at + c) - largest) / sum - (c == label));
    double p = exp(multi_get(m, m->conf, at + label) - largest) / sum;
    return -log(fmax(p, (double)FLT_MIN));
}

MULTI_FUNCTION double multi_logistic_term(const multi *m, int64_t at, int32_t label,
                                          double scale, void *dconf)
{
    double sum = 0;
    for (int32_t c = 0; c < m->a->classes; c++) {
        double x = multi_get(m, m->conf, at + c), t = c == label;
        sum += fmax(x, 0.0) - x * t + log1p(exp(-fabs(x)));
        if (dconf)
            multi_put(m, dconf, at + c, scale, 1 / (1 + exp(-x)) - t);
    }
    return sum;
}

/* The loss of the scores of prior i, matched with a true box (row >= 0) or with none: it is of
 * background then, but of no class in Caffe's sum of logistic losses over all. */
MULTI_FUNCTION double multi_conf_term(const multi *m, int64_t n, int64_t i, int64_t row,
                                      double scale, void *dconf)
{
    int64_t at = (n * m->P + i) * m->a->classes;
    int32_t background = m->a->background, label = background < m->a->classes ? background : -1;
    if (m->a->mining == DN_MULTI_ALL && m->a->flags & DN_MULTI_LOGISTIC)
        label = -1;
    if (row >= 0)
        label = m->a->flags & DN_MULTI_AGNOSTIC ? background + 1 : multi_label(m, row);
    return m->a->flags & DN_MULTI_LOGISTIC ? multi_logistic_term(m, at, label, scale, dconf)
                                           : multi_softmax_term(m, at, label, scale, dconf);
}

/* ---- mining --------------------------------------------------------------------------------
 */

/* May prior i be taken? */
MULTI_FUNCTION bool multi_is_eligible(const multi *m, int32_t match, double overlap)
{
    return m->a->mining == DN_MULTI_HARD_EXAMPLE ||
           (match == MULTI_UNMATCHED && overlap < m->a->neg_overlap);
}

/* What it is ranked by. */
MULTI_FUNCTION double multi_rank(const multi *m, int64_t n, int64_t i, int32_t match)
{
    double loss = multi_conf_term(m, n, i, match, 1, NULL);
    if (m->a->mining == DN_MULTI_HARD_EXAMPLE && match >= 0)
        loss += multi_loc_term(m, n, i, 0, match, 1, NULL);
    return loss;
}

/* How many are taken, at most. */
MULTI_FUNCTION double multi_most(const multi *m, int64_t matched)
{
    return m->a->mining == DN_MULTI_HARD_EXAMPLE ? (double)m->a->sample
                                                 : floor((double)matched * m->a->ratio);
}

/* A negative is taken if it is chosen; of hard examples, a match that is not is none. */
MULTI_FUNCTION void multi_choose(const multi *m, int32_t *match, int32_t *taken)
{
    bool chosen = *taken;
    *taken = chosen && *match == MULTI_UNMATCHED;
    if (m->a->mining == DN_MULTI_HARD_EXAMPLE && !chosen && *match >= 0)
        *match = MULTI_UNMATCHED;
}

MULTI_FUNCTION double multi_normalizer(const multi *m, int64_t matches)
{
    int64_t z = m->a->normalization == 0   ? m->N * m->P
                : m->a->normalization == 1 ? matches
                : m->a->normalization == 2 ? m->N
                                           : 1;
    return z > 1 ? (double)z : 1;
}

#endif
