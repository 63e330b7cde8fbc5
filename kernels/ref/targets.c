/* SPDX-License-Identifier: BSD-2-Clause
 * targets.c: TARGETS: boxes are compared, then drawn one after the other. Labels come as data:
 * each is checked before anything is written. Compiled once, for float and double. */
#include "../label.h"
#include "ref.h"

#include "../targets.h"

static targets shape_of(const dn_op *op)
{
    const dn_args_targets *a = &op->args.targets;
    targets t = {.a = a, .G = op->in[2].count / 5, .wide = op->in[1].info.dtype == DN_F64};
    t.R = a->method == DN_TARGETS_REGIONS ? op->in[1].count / 5 : 0;
    t.N = a->method == DN_TARGETS_REGIONS ? t.R + t.G : op->out[0].count;
    return t;
}

static dn_status check_targets(dn_op *op)
{
    const dn_args_targets *a = &op->args.targets;
    targets t = shape_of(op);
    bool regions = a->method == DN_TARGETS_REGIONS;
    int64_t count = op->out[0].count, each = regions ? a->classes : 1, boxes;
    if (a->method < DN_TARGETS_ANCHORS || a->method > DN_TARGETS_REGIONS || a->holding < 0 ||
        a->draws < a->holding || ref_has_in(op, 0) == regions ||
        ref_has_out(op, 4) != regions || ref_has_out(op, 5) != regions)
        return ref_fail(op, DN_E_INVALID, "there is no method %d that draws %lld of %lld",
                        (int)a->method, (long long)a->holding, (long long)a->draws);
    if (op->in[2].count % 5 || t.G > INT32_MAX || t.N > INT32_MAX ||
        (regions ? op->in[1].count % 5 != 0 : op->in[1].count < 2))
        return ref_fail(op, DN_E_SHAPE, "%lld boxes and %lld true ones", (long long)t.N,
                        (long long)t.G);
    if (!regions)
        REF_TRY(ref_count3(op, op->in[0].count / 4, a->H, a->W, &count));
    REF_TRY(ref_count3(op, count, each, 4, &boxes));
    op->scratch = (size_t)(t.N + t.G) * sizeof(double) + (size_t)t.N * 4 * sizeof(int32_t);
    return REF_NEED(op, op->in[0].count / 4 * 4, REF_ANY, REF_ANY, 2, count, boxes, boxes,
                    boxes, 5 * count, 1);
}

typedef struct room {
    double *overlap, *best; /* (N), (G) */
    int32_t *truth;         /* (N) */
    int32_t *list[2];       /* (N) each: drawn from */
    int32_t *label;         /* (N) */
    int64_t count[2];
} room;

/* What holds something, and what does not. */
static void compare(const targets *t, room *r)
{
    for (int64_t g = 0; g < t->G; g++)
        r->best[g] = 0;
    for (int64_t i = 0; i < t->N; i++) {
        dn_box box = targets_box(t, i);
        bool counts = targets_counts(t, &box);
        r->label[i] = -1, r->truth[i] = 0;
        r->overlap[i] = counts ? targets_overlap(t, &box, &r->truth[i]) : -1;
        for (int64_t g = 0; t->anchors && r->overlap[i] > 0 && g < t->G; g++)
            r->best[g] = fmax(r->best[g], targets_iou(t, &box, g));
    }
    for (int64_t i = 0; i < t->N; i++) {
        dn_box box = targets_box(t, i);
        int32_t kind =
            r->overlap[i] < 0 ? TARGETS_NEITHER : targets_kind(t, &box, r->overlap[i], r->best);
        if (kind != TARGETS_NEITHER)
            r->list[kind][r->count[kind]++] = (int32_t)i;
    }
}

/* How many of a list, drawn to its front. */
static int64_t draw(const targets *t, const int64_t *state, room *r, int32_t which,
                    int64_t holding)
{
    int32_t *list = r->list[which];
    int64_t count = r->count[which], keep = targets_keep(t, which, count, holding);
    for (int64_t i = 0; i < keep; i++) {
        int64_t j = keep < count ? targets_draw(t, state, which, i, count) : i;
        int32_t other = list[j];
        list[j] = list[i];
        list[i] = other;
        r->label[other] = which == TARGETS_HOLDS;
    }
    return keep;
}

static dn_status run_targets(const dn_op *op, const dn_op_io *io)
{
    targets t = shape_of(op);
    room r = {.overlap = io->scratch};
    r.best = r.overlap + t.N;
    r.truth = (int32_t *)(r.best + t.G);
    r.list[0] = r.truth + t.N;
    r.list[1] = r.list[0] + t.N;
    r.label = r.list[1] + t.N;
    t.anchors = ref_in(op, io, 0);
    t.from = io->in[1], t.truths = io->in[2];
    t.label = io->out[0], t.target = io->out[1], t.inside = io->out[2], t.outside = io->out[3];
    t.region = ref_out(op, io, 4);
    for (int64_t g = 0; !t.anchors && g < t.G; g++)
        if (!targets_is_class(&t, g))
            return truth_fail(op->host, g, t.a->classes);
    compare(&t, &r);
    int64_t some = draw(&t, io->in[3], &r, TARGETS_HOLDS, 0);
    int64_t all = some + draw(&t, io->in[3], &r, TARGETS_EMPTY, some);
    for (int64_t i = 0; t.anchors && i < t.N; i++)
        targets_put_anchor(&t, i, r.truth[i], r.label[i], all);
    for (int64_t k = 0; !t.anchors && k < all && k < op->out[0].count; k++) {
        int64_t i = k < some ? r.list[0][k] : r.list[1][k - some];
        targets_put_region(&t, k, i, r.truth[i], k < some);
    }
    if (!t.anchors)
        *(int32_t *)io->out[5] = (int32_t)all;
    return DN_OK;
}

const ref_kind ref_targets = {"TARGETS", "dTTS:TTTTtm", sizeof(dn_args_targets),
                              0,         check_targets, {run_targets, run_targets}};
