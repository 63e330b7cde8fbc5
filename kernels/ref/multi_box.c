/* SPDX-License-Identifier: BSD-2-Clause
 * multi_box.c: MULTI_BOX, image by image: matching, mining, the two losses. Labels come as
 * data: each is checked before anything is written. Compiled once, for float and double. */
#include <string.h>

#include "../label.h"
#include "ref.h"

#include "../multi_box.h"

typedef struct multi_run {
    multi m;
    void *dloc, *dconf;
    double loc_loss, conf_loss;
    int64_t matches, num_rows;
    double *iou;      /* (P, G) */
    double *overlap;  /* (P) with the best true box */
    ref_scored *list; /* (P) */
    dn_box *boxes;    /* (P) what is matched, or suppressed */
    int64_t *rows;    /* (G) the true boxes of the image */
    int32_t *match;   /* (places, P) one of rows, or MULTI_* */
    int32_t *taken;   /* (max of P, G) */
    int32_t *best;    /* (P) the true box that each overlaps most, -1: none */
} multi_run;

static bool is_wide(const dn_op *op)
{
    return op->in[0].info.dtype == DN_F64;
}

static int64_t most_of(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static multi shape_of(const dn_op *op)
{
    const dn_args_multi_box *a = &op->args.multi_box;
    return (multi){.a = a,
                   .N = op->in[0].info.shape.dim[0],
                   .P = op->in[2].count / 8,
                   .G = op->in[3].count / 8,
                   .places = a->flags & DN_MULTI_APART ? a->classes : 1,
                   .wide = is_wide(op)};
}

static dn_status check_multi_box(dn_op *op)
{
    const dn_args_multi_box *a = &op->args.multi_box;
    multi m = shape_of(op);
    int64_t scores, places, pairs;
    int32_t last =
        a->background + (a->flags & DN_MULTI_AGNOSTIC ? 1 : 0); /* label without a truth's */
    bool labels = a->flags & DN_MULTI_LOGISTIC || (a->background >= 0 && last < a->classes);
    if (a->classes < 1 || !labels || a->mining < DN_MULTI_ALL ||
        a->mining > DN_MULTI_HARD_EXAMPLE || a->normalization < 0 || a->normalization > 3 ||
        (a->mining != DN_MULTI_ALL && m.places > 1))
        return ref_fail(op, DN_E_INVALID, "%d classes, mining %d, normalization %d",
                        (int)a->classes, (int)a->mining, (int)a->normalization);
    if (op->in[0].info.shape.axes < 1 || m.P > INT32_MAX || m.G > INT32_MAX ||
        op->in[3].count % 8)
        return ref_fail(op, DN_E_SHAPE, "%lld priors and %lld true boxes", (long long)m.P,
                        (long long)m.G);
    REF_TRY(ref_count3(op, m.N, m.P, a->classes, &scores));
    REF_TRY(ref_count3(op, m.N * m.P, m.places, 4, &places));
    REF_TRY(ref_count3(op, m.P, m.G, 1, &pairs));
    op->scratch = (size_t)(pairs + m.P) * sizeof(double) +
                  (size_t)m.P * (sizeof(ref_scored) + sizeof(dn_box)) +
                  (size_t)m.G * sizeof(int64_t) +
                  (size_t)(m.P * (m.places + 1) + most_of(m.P, m.G)) * sizeof(int32_t);
    return REF_NEED(op, places, scores, m.P * 8, REF_ANY, 1, places, scores);
}

static multi_run start(const dn_op *op, const dn_op_io *io)
{
    multi_run r = {.m = shape_of(op), .dloc = ref_out(op, io, 1), .dconf = ref_out(op, io, 2)};
    r.m.loc = io->in[0], r.m.conf = io->in[1];
    r.m.priors = io->in[2], r.m.truths = io->in[3];
    r.iou = io->scratch;
    r.overlap = r.iou + r.m.P * r.m.G;
    r.list = (ref_scored *)(r.overlap + r.m.P);
    r.boxes = (dn_box *)(r.list + r.m.P);
    r.rows = (int64_t *)(r.boxes + r.m.P);
    r.match = (int32_t *)(r.rows + r.m.G);
    r.best = r.match + r.m.P * r.m.places;
    r.taken = r.best + r.m.P;
    return r;
}

/* ---- matching ---------------------------------------------------------------------------- */

/* label < 0: of any. */
static bool is_of_label(const multi_run *r, int64_t g, int32_t label)
{
    return label < 0 || multi_label(&r->m, r->rows[g]) == label;
}

/* Each true box takes the free box that overlaps it most, the best pair of all first. */
static void match_bipartite(multi_run *r, int32_t label, int32_t *match)
{
    for (int64_t g = 0; g < r->num_rows; g++)
        r->taken[g] = !is_of_label(r, g, label);
    for (;;) {
        int64_t best = -1, best_g = -1;
        double most = DN_MULTI_LEAST;
        for (int64_t i = 0; i < r->m.P; i++)
            for (int64_t g = 0; match[i] == MULTI_UNMATCHED && g < r->num_rows; g++)
                if (!r->taken[g] && r->iou[i * r->m.G + g] > most)
                    most = r->iou[i * r->m.G + g], best = i, best_g = g;
        if (best < 0)
            return;
        match[best] = (int32_t)r->rows[best_g];
        r->taken[best_g] = true;
    }
}

/* Where box i lies to the true boxes: its best is kept until the others are matched. */
static void look_at(multi_run *r, int64_t i, int32_t label, int32_t *match, int32_t *best)
{
    bool out = (r->m.a->flags & DN_MULTI_NO_CROSSING) && multi_crosses(&r->boxes[i]);
    match[i] = out ? MULTI_IGNORED : MULTI_UNMATCHED;
    r->overlap[i] = 0;
    best[i] = -1;
    for (int64_t g = 0; !out && g < r->num_rows; g++) {
        double iou = r->iou[i * r->m.G + g] = multi_iou(&r->m, &r->boxes[i], r->rows[g]);
        if (iou > DN_MULTI_LEAST && iou > r->overlap[i] && is_of_label(r, g, label)) {
            r->overlap[i] = iou;
            best[i] = (int32_t)r->rows[g];
        }
    }
}

static void match_image(multi_run *r, int64_t n)
{
    const multi *m = &r->m;
    bool priors = m->a->flags & DN_MULTI_PRIORS;
    for (int64_t c = 0; c < (priors ? 1 : m->places); c++) {
        int32_t *match = r->match + c * m->P,
                label = priors || m->places == 1 ? -1 : (int32_t)c;
        for (int64_t i = 0; i < m->P; i++) {
            r->boxes[i] = multi_matched(m, n, i, c);
            look_at(r, i, label, match, r->best);
        }
        match_bipartite(r, label, match);
        for (int64_t i = 0; i < m->P; i++)
            match[i] = multi_match(m, match[i], r->best[i], r->overlap[i]);
    }
    for (int64_t c = m->places - 1; priors && c >= 0;
         c--) /* place 0 holds them until the last */
        for (int64_t i = 0; i < m->P; i++)
            r->match[c * m->P + i] = multi_match_of(m, r->match[i], c);
}

/* ---- mining ------------------------------------------------------------------------------ */

/* The priors that may be taken, worst first; after suppression if that is asked for. */
static int64_t rank_candidates(multi_run *r, int64_t n)
{
    const multi *m = &r->m;
    int64_t count = 0;
    for (int64_t i = 0; i < m->P; i++)
        if (multi_is_eligible(m, r->match[i], r->overlap[i]))
            r->list[count++] = (ref_scored){multi_rank(m, n, i, r->match[i]), i};
    ref_sort(r->list, count);
    if (m->a->nms <= 0)
        return count;
    for (int64_t i = 0; i < m->P; i++)
        r->boxes[i] = multi_box(m, n, i, 0, m->a->flags & DN_MULTI_NMS_PRIORS);
    if (m->a->top_k >= 0 && m->a->top_k < count)
        count = m->a->top_k;
    return ref_suppress(r->list, count, r->boxes, m->a->nms, 1, 0, count);
}

/* Marks the negatives in taken; of hard examples, a matched prior not chosen loses its match.
 */
static void mine(multi_run *r, int64_t n)
{
    int64_t positives = 0, count = rank_candidates(r, n);
    for (int64_t i = 0; i < r->m.P; i++) {
        r->taken[i] = 0;
        positives += r->match[i] >= 0;
    }
    double most = multi_most(&r->m, positives);
    for (int64_t k = 0; k < count && (double)k < most; k++)
        r->taken[r->list[k].index] = 1;
    for (int64_t i = 0; i < r->m.P; i++)
        multi_choose(&r->m, &r->match[i], &r->taken[i]);
}

/* ---- running ----------------------------------------------------------------------------- */

static dn_status read_truths(multi_run *r, const dn_backend_host *host, int64_t image)
{
    r->num_rows = 0;
    for (int64_t row = 0; row < r->m.G; row++) {
        if (!multi_is_of(&r->m, row, image))
            continue;
        if (!multi_is_class(&r->m, row))
            return truth_fail(host, row, r->m.a->classes);
        r->rows[r->num_rows++] = row;
    }
    return DN_OK;
}

static void add_image(multi_run *r, int64_t n)
{
    const multi *m = &r->m;
    bool mines = m->a->mining != DN_MULTI_ALL, any = r->num_rows > 0;
    if (any)
        match_image(r, n);
    if (any && mines)
        mine(r, n);
    for (int64_t i = 0; i < m->P; i++) {
        int32_t match = MULTI_UNMATCHED;
        for (int64_t c = 0; any && c < m->places; c++) {
            if (r->match[c * m->P + i] < 0)
                continue;
            match = r->match[c * m->P + i];
            r->matches++;
            r->loc_loss += multi_loc_term(m, n, i, c, match, 1, r->dloc);
        }
        if (!mines || match >= 0 || (any && r->taken[i]))
            r->conf_loss += multi_conf_term(m, n, i, match, 1, r->dconf);
    }
}

static void scale(const multi *m, void *values, int64_t count, double by)
{
    for (int64_t i = 0; values && i < count; i++)
        multi_put(m, values, i, by, multi_get(m, values, i));
}

static dn_status run_multi_box(const dn_op *op, const dn_op_io *io)
{
    multi_run r = start(op, io);
    size_t size = is_wide(op) ? sizeof(double) : sizeof(float);
    for (int64_t n = 0; n < r.m.N; n++)
        REF_TRY(read_truths(&r, op->host, n));
    if (r.dloc)
        memset(r.dloc, 0, (size_t)op->in[0].count * size);
    if (r.dconf)
        memset(r.dconf, 0, (size_t)op->in[1].count * size);
    for (int64_t n = 0; n < r.m.N; n++) {
        read_truths(&r, op->host, n);
        add_image(&r, n);
    }
    double z = multi_normalizer(&r.m, r.matches);
    double loc = r.m.a->loc_weight / z, conf = r.m.a->conf_weight / z;
    multi_put(&r.m, io->out[0], 0, 1, loc * r.loc_loss + conf * r.conf_loss);
    scale(&r.m, r.dloc, op->in[0].count, loc);
    scale(&r.m, r.dconf, op->in[1].count, conf);
    return DN_OK;
}

const ref_kind ref_multi_box = {"MULTI_BOX", "TTTT:Ttt",      sizeof(dn_args_multi_box),
                                0,           check_multi_box, {run_multi_box, run_multi_box}};
