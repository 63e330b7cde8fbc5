/* SPDX-License-Identifier: BSD-2-Clause
 * multi_box.cu: MULTI_BOX, in steps: the true boxes of each image, what each prior overlaps, a
 * block for each image where they take turns, ranks of what may be mined, the losses. A prior
 * writes its own gradients, so nothing is added by two. A label that is no object's is noted and
 * left out. */
#include "order.cuh"

#define MULTI_FUNCTION DEVICE
#include "../multi_box.h"

enum { NEVER = -1 }; /* in order: it may not be taken */

typedef struct multi_args {
    const float *loc, *conf, *priors, *truths;
    float *loss, *dloc, *dconf;
    int64_t N, P, G, places;
    dn_args_multi_box p;
    /* scratch */
    double *overlap; /* (N, places, P) with the best true box */
    double *score;   /* (N, P) the two losses */
    double *pair;    /* (N, places, G) overlap with the best free box, */
    double *sums;    /* (N, P) */
    int32_t *first;  /* (N, places, G) which box that is; */
    int32_t *rows;   /* (N, G) the true boxes of an image, */
    int32_t *num;    /* (N) and how many */
    int32_t *match;  /* (N, places, P) */
    int32_t *best;   /* (N, places, P) */
    ordered ranks;   /* (N, P) by what it is taken for */
    int32_t *order;  /* (N, P) NEVER: it may not be taken */
    int32_t *list;   /* (N, P) those, by rank */
    int32_t *taken;  /* (N, P) */
    int32_t *matches; /* (N) */
    cuda_fault *fault;
} multi_args;

DEVICE multi multi_of(const multi_args *a)
{
    multi m = {&a->p, a->loc, a->conf, a->priors, a->truths, a->N, a->P, a->G, a->places, false};
    return m;
}

/* i: an image */
MAP(list_truths, multi_args)
{
    multi m = multi_of(a);
    int32_t num = 0;
    for (int64_t row = 0; row < a->G; row++) {
        if (!multi_is_of(&m, row, i))
            continue;
        if (multi_is_class(&m, row))
            a->rows[i * a->G + num++] = (int32_t)row;
        else
            note_fault(a->fault, CUDA_FAULT_TRUTH, row, a->truths[row * 8 + 1], a->p.classes);
    }
    a->num[i] = num;
}

/* ---- matching: by the places that are matched apart ---------------------------------------- */

DEVICE int64_t places_apart(const multi_args *a)
{
    return a->p.flags & DN_MULTI_PRIORS ? 1 : a->places;
}

/* Is a true box one that boxes of this place are matched with? */
DEVICE bool fits_place(const multi_args *a, const multi *m, int64_t row, int64_t place)
{
    return places_apart(a) == 1 || multi_label(m, row) == place;
}

/* i: (image, place, prior) */
MAP(look_at, multi_args)
{
    multi m = multi_of(a);
    int64_t np = quotient(i, a->P), prior = i - np * a->P, n = quotient(np, places_apart(a));
    int64_t place = np - n * places_apart(a);
    dn_box box = multi_matched(&m, n, prior, place);
    bool out = (a->p.flags & DN_MULTI_NO_CROSSING) && multi_crosses(&box);
    double overlap = 0;
    int32_t best = -1;
    for (int32_t k = 0; !out && k < a->num[n]; k++) {
        int32_t row = a->rows[n * a->G + k];
        double iou = multi_iou(&m, &box, row);
        if (iou > DN_MULTI_LEAST && iou > overlap && fits_place(a, &m, row, place)) {
            overlap = iou;
            best = row;
        }
    }
    int64_t at = (n * a->places + place) * a->P + prior;
    a->match[at] = out ? MULTI_IGNORED : MULTI_UNMATCHED;
    a->overlap[at] = overlap;
    a->best[at] = best;
}

enum { STALE = -1, NONE = -2 }; /* in first */

/* The free box that overlaps a true one most, to pair and first. */
DEVICE void find_first(const multi_args *a, int64_t n, int64_t place, int64_t k,
                       double *most, int32_t *which)
{
    multi m = multi_of(a);
    const int32_t *match = a->match + (n * a->places + place) * a->P;
    int64_t at = (n * a->places + place) * a->G + k;
    int32_t row = a->rows[n * a->G + k];
    THREADS(t)
    {
        most[t] = DN_MULTI_LEAST;
        which[t] = NONE;
        for (int64_t i = t; i < a->P; i += BLOCK) {
            if (match[i] != MULTI_UNMATCHED)
                continue;
            dn_box box = multi_matched(&m, n, i, place);
            double iou = multi_iou(&m, &box, row);
            if (iou > most[t]) {
                most[t] = iou;
                which[t] = (int32_t)i;
            }
        }
    }
    for (int half = BLOCK / 2; half > 0; half /= 2)
        THREADS(t)
            if (t < half && which[t + half] != NONE &&
                (which[t] == NONE ||
                 comes_before(most[t + half], which[t + half], most[t], which[t]))) {
                most[t] = most[t + half];
                which[t] = which[t + half];
            }
    THREADS(t)
        if (t == 0) {
            a->pair[at] = most[0];
            a->first[at] = which[0];
        }
}

/* block: (image, place). The best pair of all first; who wanted the same box looks again. */
BLOCKS(match_first, multi_args)
{
    SHARED double most[BLOCK];
    SHARED int32_t which[BLOCK], chosen[1];
    int64_t n = quotient(block, places_apart(a)), place = block - n * places_apart(a);
    int32_t *match = a->match + (n * a->places + place) * a->P;
    double *pair = a->pair + (n * a->places + place) * a->G;
    int32_t *first = a->first + (n * a->places + place) * a->G;
    multi m = multi_of(a);
    int32_t num = a->num[n];
    THREADS(t)
    {
        for (int32_t k = t; k < num; k += BLOCK)
            first[k] = fits_place(a, &m, a->rows[n * a->G + k], place) ? STALE : NONE;
        if (t == 0)
            chosen[0] = NONE;
    }
    for (int32_t turn = 0; turn < num; turn++) {
        for (int32_t k = 0; k < num; k++)
            if (first[k] == STALE)
                find_first(a, n, place, k, most, which);
        BARRIER(); /* all have looked which are stale before more are */
        THREADS(t)
            if (t == 0) {
                int32_t best = NONE;
                for (int32_t k = 0; k < num; k++)
                    if (first[k] >= 0 &&
                        (best == NONE || comes_before(pair[k], first[k], pair[best], first[best])))
                        best = k;
                chosen[0] = best;
                if (best != NONE) {
                    int32_t prior = first[best];
                    match[prior] = a->rows[n * a->G + best];
                    first[best] = NONE;
                    for (int32_t k = 0; k < num; k++)
                        if (first[k] == prior)
                            first[k] = STALE;
                }
            }
        int32_t found = chosen[0];
        BARRIER();
        if (found == NONE)
            return;
    }
}

/* i: (image, prior) */
MAP(match_rest, multi_args)
{
    multi m = multi_of(a);
    int64_t n = quotient(i, a->P), prior = i - n * a->P;
    int64_t from = n * a->places * a->P + prior;
    for (int64_t c = 0; c < places_apart(a); c++) {
        int64_t at = from + c * a->P;
        a->match[at] = multi_match(&m, a->match[at], a->best[at], a->overlap[at]);
    }
    for (int64_t c = a->places - 1; (a->p.flags & DN_MULTI_PRIORS) && c >= 0; c--)
        a->match[from + c * a->P] = multi_match_of(&m, a->match[from], c);
}

/* ---- mining: places are one ---------------------------------------------------------------- */

MAP(score_all, multi_args)
{
    multi m = multi_of(a);
    int64_t n = quotient(i, a->P);
    bool may = a->num[n] > 0 && multi_is_eligible(&m, a->match[i], a->overlap[i]);
    a->order[i] = may ? 0 : NEVER;
    a->ranks.key[i] =
        may ? order_key(multi_rank(&m, n, i - n * a->P, a->match[i])) : 0;
}

/* i: one by the order of its piece of an image */
MAP(rank_all, multi_args)
{
    int64_t n = quotient(i, a->P), begin = n * a->P;
    if (a->ranks.key[i] == 0)
        return;
    int64_t before = order_place(&a->ranks, n, i - begin);
    a->list[begin + before] = a->ranks.item[i];
    a->taken[begin + a->ranks.item[i]] = (int32_t)before;
}

/* block: an image. taken: the rank of each, which becomes whether it is taken. */
BLOCKS(choose, multi_args)
{
    SHARED double sums[BLOCK], maybe[BLOCK];
    multi m = multi_of(a);
    int64_t begin = block * a->P;
    int32_t *order = a->order + begin, *match = a->match + begin, *taken = a->taken + begin;
    const int32_t *list = a->list + begin;
    THREADS(t)
    {
        sums[t] = maybe[t] = 0;
        for (int64_t i = t; a->num[block] > 0 && i < a->P; i += BLOCK) {
            sums[t] += match[i] >= 0;
            maybe[t] += order[i] != NEVER;
        }
    }
    double most = multi_most(&m, (int64_t)block_sum(sums));
    int64_t count = (int64_t)block_sum(maybe);
    if (a->p.nms > 0) {
        bool own = a->p.flags & DN_MULTI_NMS_PRIORS;
        double kept = 0;
        count = a->p.top_k >= 0 && a->p.top_k < count ? a->p.top_k : count;
        THREADS(t)
            for (int64_t r = t; r < count; r += BLOCK)
                order[list[r]] = 0;
        for (int64_t r = 0; r < count && kept < most; r++) {
            if (order[list[r]] == NEVER)
                continue;
            kept++;
            dn_box box = multi_box(&m, block, list[r], 0, own);
            THREADS(t)
                for (int64_t k = r + 1 + t; k < count; k += BLOCK) {
                    dn_box other = multi_box(&m, block, list[k], 0, own);
                    if (!(dn_box_iou(&other, &box, 0) <= a->p.nms))
                        order[list[k]] = NEVER;
                }
        }
        THREADS(t)
            if (t == 0) {
                int32_t rank = 0;
                for (int64_t r = 0; r < count; r++)
                    if (order[list[r]] != NEVER)
                        taken[list[r]] = rank++;
            }
    }
    THREADS(t)
        for (int64_t i = t; i < a->P; i += BLOCK) {
            bool cut = a->p.nms > 0 && a->p.top_k >= 0;
            taken[i] = a->num[block] > 0 && order[i] != NEVER && taken[i] < most &&
                       (!cut || taken[i] < a->p.top_k);
            if (a->num[block] > 0)
                multi_choose(&m, &match[i], &taken[i]);
        }
}

/* ---- losses ------------------------------------------------------------------------------ */

/* block: an image */
BLOCKS(count_matches, multi_args)
{
    SHARED double sums[BLOCK];
    const int32_t *match = a->match + block * a->places * a->P;
    THREADS(t)
    {
        sums[t] = 0;
        for (int64_t i = t; a->num[block] > 0 && i < a->places * a->P; i += BLOCK)
            sums[t] += match[i] >= 0;
    }
    double sum = block_sum(sums);
    THREADS(t)
        if (t == 0)
            a->matches[block] = (int32_t)sum;
}

DEVICE double normalizer(const multi_args *a, const multi *m)
{
    int64_t matches = 0;
    for (int64_t n = 0; n < a->N; n++)
        matches += a->matches[n];
    return multi_normalizer(m, matches);
}

/* i: (image, prior) */
MAP(lose, multi_args)
{
    multi m = multi_of(a);
    int64_t n = quotient(i, a->P), prior = i - n * a->P;
    int32_t match = MULTI_UNMATCHED;
    double z = normalizer(a, &m), loc = 0, conf = 0;
    bool any = a->num[n] > 0, all = a->p.mining == DN_MULTI_ALL;
    for (int64_t c = 0; c < a->places; c++) {
        int32_t here = any ? a->match[(n * a->places + c) * a->P + prior] : MULTI_UNMATCHED;
        int64_t at = multi_loc_at(&m, n, prior, c);
        for (int32_t k = 0; a->dloc && k < 4; k++)
            a->dloc[at + k] = 0;
        if (here < 0)
            continue;
        match = here;
        loc += multi_loc_term(&m, n, prior, c, match, a->p.loc_weight / z, a->dloc);
    }
    for (int64_t c = 0; a->dconf && c < a->p.classes; c++)
        a->dconf[i * a->p.classes + c] = 0;
    if (all || match >= 0 || (any && a->taken[i]))
        conf = multi_conf_term(&m, n, prior, match, a->p.conf_weight / z, a->dconf);
    a->score[i] = loc;
    a->sums[i] = conf;
}

BLOCKS(lose_all, multi_args)
{
    SHARED double locs[BLOCK], confs[BLOCK];
    THREADS(t)
    {
        locs[t] = confs[t] = 0;
        for (int64_t i = t; i < a->N * a->P; i += BLOCK) {
            locs[t] += a->score[i];
            confs[t] += a->sums[i];
        }
    }
    double loc = block_sum(locs), conf = block_sum(confs);
    multi m = multi_of(a);
    THREADS(t)
        if (t == 0 && block == 0) {
            double z = normalizer(a, &m);
            *a->loss = (float)(a->p.loc_weight / z * loc + a->p.conf_weight / z * conf);
        }
}

/* ---- preparing and running --------------------------------------------------------------- */

static multi_args sizes_of(const dn_op *op)
{
    multi_args a = {0};
    a.p = op->args.multi_box;
    a.N = op->in[0].info.shape.dim[0];
    a.P = op->in[2].count / 8;
    a.G = op->in[3].count / 8;
    a.places = a.p.flags & DN_MULTI_APART ? a.p.classes : 1;
    return a;
}

static void lay_out(multi_args *a, void *scratch)
{
    int64_t NP = a->N * a->P, NG = a->N * a->G;
    a->overlap = (double *)scratch;
    a->score = a->overlap + NP * a->places;
    a->sums = a->score + NP;
    a->pair = a->sums + NP;
    a->ranks = order_in(a->pair + NG * a->places, a->N, a->P);
    a->first = a->ranks.item + NP;
    a->rows = a->first + NG * a->places;
    a->num = a->rows + NG;
    a->matches = a->num + a->N;
    a->match = a->matches + a->N;
    a->best = a->match + NP * a->places;
    a->order = a->best + NP * a->places;
    a->list = a->order + NP;
    a->taken = a->list + NP;
}

static dn_status prepare_multi_box(dn_op *op, dn_op_info *info)
{
    multi_args a = sizes_of(op);
    int64_t NP = a.N * a.P, NG = a.N * a.G;
    if (a.P > 1 << 20 || (double)a.N * (double)a.G * (double)a.places > 1e12)
        return cuda_decline(info, "more than 2^20 priors");
    op->scratch = (size_t)(NP * (a.places + 2) + NG * a.places) * sizeof(double) +
                  (size_t)order_bytes(a.N, a.P) +
                  (size_t)(NG * (a.places + 1) + 2 * a.N + NP * (2 * a.places + 3)) *
                      sizeof(int32_t);
    return DN_OK;
}

static dn_status run_multi_box(const dn_op *op, const dn_op_io *io)
{
    multi_args a = sizes_of(op);
    bool mines = a.p.mining != DN_MULTI_ALL;
    int64_t apart = a.p.flags & DN_MULTI_PRIORS ? 1 : a.places;
    a.loc = cuda_in(op, io, 0);
    a.conf = cuda_in(op, io, 1);
    a.priors = cuda_in(op, io, 2);
    a.truths = cuda_in(op, io, 3);
    a.loss = cuda_out(op, io, 0);
    a.dloc = cuda_out(op, io, 1);
    a.dconf = cuda_out(op, io, 2);
    a.fault = op->backend->fault;
    lay_out(&a, io->scratch);
    list_truths(op, &a, a.N);
    look_at(op, &a, a.N * apart * a.P);
    match_first(op, &a, a.N * apart);
    match_rest(op, &a, a.N * a.P);
    if (mines) {
        score_all(op, &a, a.N * a.P);
        order_sort(op, &a.ranks, a.N * a.ranks.pieces);
        rank_all(op, &a, a.N * a.P);
        choose(op, &a, a.N);
    }
    count_matches(op, &a, a.N);
    lose(op, &a, a.N * a.P);
    lose_all(op, &a, 1);
    return DN_OK;
}

const cuda_kind cuda_multi_box = {"MULTI_BOX", sizeof(dn_args_multi_box), prepare_multi_box,
                                  run_multi_box};
