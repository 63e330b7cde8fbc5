/* SPDX-License-Identifier: BSD-2-Clause
 * targets.cu: TARGETS. What is drawn one after the other, without putting back, is known of each
 * draw by itself: where its place has been before is found by going back through the draws. */
#include "grid.cuh"

#define TARGETS_FUNCTION DEVICE
#include "../targets.h"

typedef struct targets_args {
    dn_args_targets p;
    targets t; /* but for its `a` */
    const int64_t *state;
    int64_t rows;
    int32_t *count;
    /* scratch */
    double *best;    /* (G) */
    int32_t *truth;  /* (N) */
    int32_t *kind;   /* (N) */
    int32_t *label;  /* (N) */
    int32_t *list;   /* (2, N): what holds something, what does not */
    int32_t *place;  /* (N): what a draw changes place with */
    int32_t *picked; /* (N) */
    int32_t *drawn;  /* (2) */
    cuda_fault *fault;
} targets_args;

DEVICE targets targets_of(const targets_args *a)
{
    targets t = a->t;
    t.a = &a->p;
    t.wide = false;
    return t;
}

/* block: a true box */
BLOCKS(find_best, targets_args)
{
    SHARED double most[BLOCK];
    targets t = targets_of(a);
    THREADS(thread)
    {
        most[thread] = 0;
        for (int64_t i = thread; i < t.N; i += BLOCK) {
            dn_box box = targets_box(&t, i);
            if (targets_counts(&t, &box))
                most[thread] = fmax(most[thread], targets_iou(&t, &box, block));
        }
    }
    for (int half = BLOCK / 2; half > 0; half /= 2)
        THREADS(thread)
            if (thread < half)
                most[thread] = fmax(most[thread], most[thread + half]);
    THREADS(thread)
        if (thread == 0)
            a->best[block] = most[0];
}

/* i: a box */
MAP(look_at, targets_args)
{
    targets t = targets_of(a);
    dn_box box = targets_box(&t, i);
    a->label[i] = -1;
    a->kind[i] = TARGETS_NEITHER;
    if (targets_counts(&t, &box))
        a->kind[i] = targets_kind(&t, &box, targets_overlap(&t, &box, &a->truth[i]), a->best);
    if (!t.anchors && i >= t.R && !targets_is_class(&t, i - t.R))
        note_fault(a->fault, CUDA_FAULT_TRUTH, i - t.R, 0, a->p.classes);
}

/* One block: lists, each thread some boxes in a row, and draws from them. */
BLOCKS(draw_all, targets_args)
{
    SHARED int32_t from[2][BLOCK], count[2];
    targets t = targets_of(a);
    int64_t each = (t.N + BLOCK - 1) / BLOCK, holding = 0;
    THREADS(thread)
    {
        from[0][thread] = from[1][thread] = 0;
        for (int64_t i = thread * each; i < (thread + 1) * each && i < t.N; i++)
            if (a->kind[i] != TARGETS_NEITHER)
                from[a->kind[i]][thread]++;
    }
    THREADS(thread)
        if (thread < 2) {
            int32_t before = 0;
            for (int k = 0; k < BLOCK; k++) {
                int32_t own = from[thread][k];
                from[thread][k] = before;
                before += own;
            }
            count[thread] = before;
        }
    THREADS(thread)
        for (int64_t i = thread * each; i < (thread + 1) * each && i < t.N; i++)
            if (a->kind[i] != TARGETS_NEITHER)
                a->list[a->kind[i] * t.N + from[a->kind[i]][thread]++] = (int32_t)i;
    for (int32_t which = TARGETS_HOLDS; which <= TARGETS_EMPTY; which++) {
        const int32_t *list = a->list + which * t.N;
        int64_t all = count[which], keep = targets_keep(&t, which, all, holding);
        THREADS(thread)
            for (int64_t k = thread; k < keep; k += BLOCK)
                a->place[k] =
                    (int32_t)(keep < all ? targets_draw(&t, a->state, which, k, all) : k);
        THREADS(thread)
            for (int64_t k = thread; k < keep; k += BLOCK) {
                int32_t place = a->place[k];
                for (int64_t past = k - 1; keep < all && past >= 0; past--)
                    if (a->place[past] == place)
                        place = (int32_t)past; /* which it had come from */
                a->picked[holding + k] = list[place];
                a->label[list[place]] = which == TARGETS_HOLDS;
            }
        THREADS(thread)
            if (thread == 0)
                a->drawn[which] = (int32_t)keep;
        holding += keep;
    }
}

/* i: an anchor */
MAP(put_anchors, targets_args)
{
    targets t = targets_of(a);
    targets_put_anchor(&t, i, a->truth[i], a->label[i], (int64_t)a->drawn[0] + a->drawn[1]);
}

/* i: a row, and with that past the last how many there are */
MAP(put_regions, targets_args)
{
    targets t = targets_of(a);
    int32_t all = a->drawn[0] + a->drawn[1];
    if (i == a->rows)
        *a->count = all;
    else if (i < all)
        targets_put_region(&t, i, a->picked[i], a->truth[a->picked[i]], i < a->drawn[0]);
}

static targets_args sizes_of(const dn_op *op)
{
    targets_args a = {0};
    a.p = op->args.targets;
    a.t.G = op->in[2].count / 5;
    a.t.R = a.p.method == DN_TARGETS_REGIONS ? op->in[1].count / 5 : 0;
    a.t.N = a.p.method == DN_TARGETS_REGIONS ? a.t.R + a.t.G : op->out[0].count;
    a.rows = op->out[0].count;
    return a;
}

static dn_status prepare_targets(dn_op *op, dn_op_info *info)
{
    targets_args a = sizes_of(op);
    (void)info;
    op->scratch =
        (size_t)a.t.G * sizeof(double) + (size_t)(7 * a.t.N + 2) * sizeof(int32_t);
    return DN_OK;
}

static dn_status run_targets(const dn_op *op, const dn_op_io *io)
{
    targets_args a = sizes_of(op);
    a.t.anchors = (const double *)cuda_in(op, io, 0);
    a.t.from = cuda_in(op, io, 1);
    a.t.truths = cuda_in(op, io, 2);
    a.state = (const int64_t *)cuda_in(op, io, 3);
    a.t.label = cuda_out(op, io, 0);
    a.t.target = cuda_out(op, io, 1);
    a.t.inside = cuda_out(op, io, 2);
    a.t.outside = cuda_out(op, io, 3);
    a.t.region = cuda_out(op, io, 4);
    a.count = (int32_t *)cuda_out(op, io, 5);
    a.best = (double *)io->scratch;
    a.truth = (int32_t *)(a.best + a.t.G);
    a.kind = a.truth + a.t.N;
    a.label = a.kind + a.t.N;
    a.list = a.label + a.t.N;
    a.place = a.list + 2 * a.t.N;
    a.picked = a.place + a.t.N;
    a.drawn = a.picked + a.t.N;
    a.fault = op->backend->fault;
    if (a.t.anchors)
        find_best(op, &a, a.t.G);
    look_at(op, &a, a.t.N);
    draw_all(op, &a, 1);
    if (a.t.anchors)
        put_anchors(op, &a, a.t.N);
    else
        put_regions(op, &a, a.rows + 1);
    return DN_OK;
}

const cuda_kind cuda_targets = {"TARGETS", sizeof(dn_args_targets), prepare_targets,
                                run_targets, 0, NULL, 1};
