/* SPDX-License-Identifier: BSD-2-Clause
 * branches.c: branches that run side by side. Cutting an op over the workers takes what a
 * dispatch takes, and each reads what the other wrote; an op that is too small is not cut. A
 * group is ops in a row that fall into parts none of which touches what another writes; a
 * worker runs its parts whole. Which groups there are is what the costs of ops say. */
#include <float.h>

#include "plan/facts.h"
#include "plan/steps.h"

/* WINDOW: ops of a group at most. CUT_NS: what cutting an op takes. A group must win a part in
 * MARGIN, since costs are guesses. */
enum { WINDOW = 64, MARGIN = 8 };
#define CUT_NS 12e3

typedef struct branch {
    uint64_t ops; /* bit i: op i of the group */
    double cost;
} branch;

typedef struct window {
    branch branches[WINDOW];
    int32_t count;
} window;

typedef struct search {
    dni_steps *s;
    uint64_t *touches; /* per op: bit i: it and op `itself - 64 + i` are not independent */
    double *cost;      /* per op, ns, on one thread */
    double *best;      /* of the ops before */
    size_t *from;      /* where the group that ends there begins */
} search;

static bool writes_what(const dni_program *p, const dni_op *a, const dni_op *b)
{
    for (int32_t k = 0; k < a->num_outputs; k++) {
        dni_tensor root = dni_root(p, dni_output(a, k));
        if (root != DNI_NONE && (dni_op_writes(p, b, root) || dni_op_reads(p, b, root)))
            return true;
    }
    return false;
}

static void look_at_op(search *f, size_t i)
{
    const dni_program *p = f->s->program;
    const dni_op *op = &p->ops[i];
    for (size_t k = 1; k < WINDOW && k <= i; k++)
        if (writes_what(p, op - k, op) || writes_what(p, op, op - k))
            f->touches[i] |= (uint64_t)1 << (WINDOW - k);
    f->cost[i] = f->s->choices[i].cost;
    if (!(f->cost[i] > 0))
        f->cost[i] = dni_op_limit(p, op);
    f->best[i + 1] = DBL_MAX;
}

/* As one op after the other. */
static double alone(const search *f, size_t i)
{
    double cut = f->cost[i] / f->s->context->num_threads + CUT_NS;
    return cut < f->cost[i] ? cut : f->cost[i];
}

/* The host's own calls may be about anything, and an update is one op. */
static bool may_be_in(const dni_program *p, size_t i, size_t first)
{
    return i - first < WINDOW && i < p->num_ops && p->ops[i].section <= DNI_BACKWARD &&
           p->ops[i].section == p->ops[first].section && p->ops[i].kind != DN_OP_HOST_CALL;
}

/* Op `first + at` joins all branches that it is not independent of. Dearest first. */
static void add(const search *f, window *w, size_t first, size_t at)
{
    uint64_t touches = at ? f->touches[first + at] >> (WINDOW - at) : 0;
    branch joined = {(uint64_t)1 << at, f->cost[first + at]};
    int32_t kept = 0;
    for (int32_t i = 0; i < w->count; i++) {
        if (!(w->branches[i].ops & touches)) {
            w->branches[kept++] = w->branches[i];
            continue;
        }
        joined.ops |= w->branches[i].ops;
        joined.cost += w->branches[i].cost;
    }
    w->count = kept + 1;
    for (; kept > 0 && w->branches[kept - 1].cost < joined.cost; kept--)
        w->branches[kept] = w->branches[kept - 1];
    w->branches[kept] = joined;
}

/* Each branch to the lane that has the least so far; lanes[i]: its ops. Returns what the
 * longest takes. */
static double share_out(const search *f, const window *w, branch *lanes, int32_t *count)
{
    int32_t threads = f->s->context->num_threads;
    double longest = 0;
    *count = threads < DNI_LANES ? threads : DNI_LANES;
    *count = w->count < *count ? w->count : *count;
    for (int32_t i = 0; i < *count; i++)
        lanes[i] = (branch){0};
    for (int32_t i = 0; i < w->count; i++) {
        int32_t least = 0;
        for (int32_t k = 1; k < *count; k++)
            least = lanes[k].cost < lanes[least].cost ? k : least;
        lanes[least].ops |= w->branches[i].ops;
        lanes[least].cost += w->branches[i].cost;
        longest = lanes[least].cost > longest ? lanes[least].cost : longest;
    }
    return longest;
}

static void reach(search *f, size_t first, size_t end, double cost)
{
    if (!(f->best[first] + cost < f->best[end]))
        return;
    f->best[end] = f->best[first] + cost;
    f->from[end] = first;
}

static void try_groups(search *f, size_t first)
{
    window w = {.count = 0};
    branch lanes[DNI_LANES];
    int32_t count;
    reach(f, first, first + 1, alone(f, first));
    for (size_t i = first; may_be_in(f->s->program, i, first); i++) {
        add(f, &w, first, i - first);
        if (w.count > 1)
            reach(f, first, i + 1,
                  (share_out(f, &w, lanes, &count) + CUT_NS) * (1 + 1.0 / MARGIN));
    }
}

static void make_group(const search *f, dni_group *g)
{
    window w = {.count = 0};
    branch lanes[DNI_LANES];
    for (size_t i = g->first; i < g->end; i++)
        add(f, &w, g->first, i - g->first);
    share_out(f, &w, lanes, &g->lanes);
    for (int32_t k = 0; k < g->lanes; k++)
        for (size_t i = g->first; i < g->end; i++)
            if (lanes[k].ops >> (i - g->first) & 1)
                f->s->lane[i] = (uint8_t)k;
}

static dn_status make_groups(search *f)
{
    dni_steps *s = f->s;
    size_t n = s->program->num_ops;
    for (size_t end = n; end > 0; end = f->from[end])
        s->num_groups += end - f->from[end] > 1;
    s->groups = dni_alloc(s->program->heap, s->num_groups, sizeof *s->groups);
    if (!s->groups)
        return DN_E_NOMEM;
    size_t at = s->num_groups;
    for (size_t end = n; end > 0; end = f->from[end])
        if (end - f->from[end] > 1) {
            s->groups[--at] = (dni_group){.first = f->from[end], .end = end};
            make_group(f, &s->groups[at]);
        }
    return DN_OK;
}

dn_status dni_steps_find_groups(dni_steps *s)
{
    const dni_heap *heap = s->program->heap;
    size_t n = s->program->num_ops;
    search f = {.s = s};
    if (s->context->num_threads < 2 || s->context->mirror)
        return DN_OK;
    f.touches = dni_alloc(heap, n, sizeof *f.touches);
    f.cost = dni_alloc(heap, 2 * n + 1, sizeof *f.cost);
    f.from = dni_alloc(heap, n + 1, sizeof *f.from);
    dn_status st = f.touches && f.cost && f.from ? DN_OK : DN_E_NOMEM;
    f.best = st ? NULL : f.cost + n;
    for (size_t i = 0; !st && i < n; i++)
        look_at_op(&f, i);
    for (size_t i = 0; !st && i < n; i++)
        try_groups(&f, i);
    if (!st)
        st = make_groups(&f);
    dni_free(f.touches);
    dni_free(f.cost);
    dni_free(f.from);
    return st;
}

/* What a lane's ops have one after the other they share; lanes have nothing in common. */
bool dni_steps_share_scratch(dni_steps *s)
{
    for (size_t i = 0; i < s->num_groups; i++) {
        const dni_group *g = &s->groups[i];
        size_t most[DNI_LANES + 1] = {0};
        for (size_t k = g->first; k < g->end; k++) {
            size_t *lane = &most[s->lane[k] + 1], bytes = s->choices[k].scratch;
            *lane = bytes > *lane ? bytes : *lane;
        }
        for (int32_t k = 1; k <= g->lanes; k++)
            if (!dni_add(most[k], 63, &most[k]) ||
                !dni_add(most[k] & ~(size_t)63, most[k - 1], &most[k]))
                return false;
        for (size_t k = g->first; k < g->end; k++)
            s->scratch_at[k] = most[s->lane[k]];
        if (most[g->lanes] > s->scratch_size)
            s->scratch_size = s->host_scratch = most[g->lanes];
    }
    return true;
}

/* ---- running ----------------------------------------------------------------------------- */

typedef struct job {
    const dni_steps *s;
    const dni_group *group;
    bool fresh;
    dn_status status[DNI_LANES];
    size_t failed[DNI_LANES];
    dni_saved_error error[DNI_LANES];
} job;

/* A message is its thread's: it goes along to the caller's. */
static void run_lane(void *arg, int64_t lane, int32_t worker)
{
    job *j = arg;
    (void)worker;
    j->status[lane] = dni_steps_run_lane(j->s, j->group->first, j->group->end, (int32_t)lane,
                                         j->fresh, &j->failed[lane]);
    if (j->status[lane]) {
        dni_save_error(&j->error[lane]);
        dni_clear_error();
    }
}

dn_status dni_steps_run_group(const dni_steps *s, const dni_group *group, bool fresh,
                              size_t *failed)
{
    job j; /* not cleared: messages are long */
    j.s = s;
    j.group = group;
    j.fresh = fresh;
    dni_parallel(s->context, group->lanes, run_lane, &j);
    int32_t first = -1;
    for (int32_t i = 0; i < group->lanes; i++)
        if (j.status[i] && (first < 0 || j.failed[i] < j.failed[first]))
            first = i;
    if (first < 0)
        return DN_OK;
    dni_restore_error(&j.error[first]);
    if (failed)
        *failed = j.failed[first];
    return j.status[first];
}
