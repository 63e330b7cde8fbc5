/* SPDX-License-Identifier: BSD-2-Clause
 * record.c: see record.h. What is joined is told by the recordings that it is made of, each a
 * version of its steps: whoever drops one so drops all that it is part of. */
#include "plan/record.h"

#include <stdio.h>

#include "plan/device.h"

/* The entry of steps [first, end), made at their first run; NULL: none, and no recording. */
static dni_recording *recording_of(const dni_steps *s, size_t first, size_t end, bool fresh)
{
    const dn_backend_ops *ops = dni_mirror_slot(s->context)->ops;
    dni_sides *d = s->sides;
    if (!ops->capture_begin || !ops->capture_end || !ops->replay || !ops->recording_free)
        return NULL;
    for (size_t i = 0; i < d->num_recordings; i++) {
        dni_recording *r = &d->recordings[i];
        if (r->first == first && r->end == end && r->fresh == fresh)
            return r;
    }
    if (dni_grow(s->program->heap, &d->recordings, &d->cap_recordings, d->num_recordings + 1,
                 sizeof *d->recordings)) {
        dni_clear_error();
        return NULL;
    }
    d->recordings[d->num_recordings] =
        (dni_recording){.first = first, .end = end, .fresh = fresh};
    return &d->recordings[d->num_recordings++];
}

static dni_recording *of_part(const dni_join_part *part)
{
    return &part->steps->sides->recordings[part->index];
}

static void free_recording(const dn_context *context, void **recording)
{
    if (!*recording)
        return;
    const dni_backend_slot *slot = dni_mirror_slot(context);
    slot->ops->recording_free(slot->backend, *recording);
    *recording = NULL;
}

/* Everything is on the device already: only launches are recorded. */
static dn_status capture(const dn_context *context, const dni_join_part *parts, size_t count,
                         void **recording)
{
    const dni_backend_slot *slot = dni_mirror_slot(context);
    dn_status st = slot->ops->capture_begin(slot->backend), ended = st;
    for (size_t p = 0; !st && p < count; p++) {
        const dni_steps *s = parts[p].steps;
        const dni_recording *r = of_part(&parts[p]);
        for (size_t i = r->first; !st && i < r->end; i++)
            st = s->steps[i].run(dni_sides_op(s, i, r->fresh), &s->steps[i].io);
    }
    if (!ended)
        ended = slot->ops->capture_end(slot->backend, recording);
    if (st || ended)
        free_recording(context, recording);
    return st ? st : ended;
}

/* NULL where a launch, or the recording, failed, whose words `why` has then, or where the
 * backend made none. */
static void *record(const dn_context *context, const dni_join_part *parts, size_t count,
                    char *why, size_t size, size_t *scarce)
{
    void *recording = NULL;
    dn_status st;
    do
        st = capture(context, parts, count, &recording);
    while (dni_mirror_again(context, st));
    const char *words = dn_last_error();
    if (!recording)
        snprintf(why, size, "%s", st && words ? words : "failed");
    *scarce = st == DN_E_NOMEM ? dni_mirror_held(context) : 0;
    dni_clear_error();
    return recording;
}

static bool less_scarce(const dn_context *context, size_t scarce)
{
    return dni_mirror_held(context) < scarce;
}

static dn_status replay(const dn_context *context, void *recording)
{
    const dni_backend_slot *slot = dni_mirror_slot(context);
    return slot->ops->replay(slot->backend, recording);
}

/* By itself: recorded if it is longer than a step. */
static dn_status run_part(const dni_join_part *part, size_t *failed)
{
    const dni_steps *s = part->steps;
    dni_recording *r = of_part(part);
    if (!r->recording && !r->refused[0] && r->end - r->first > 1)
        r->recording = record(s->context, part, 1, r->refused, sizeof r->refused, &r->scarce);
    return r->recording ? replay(s->context, r->recording)
                        : dni_sides_run_each(s, r->first, r->end, r->fresh, failed);
}

/* ---- put off, and one -------------------------------------------------------------------- */

static bool same(const dni_joined *a, const dni_joined *b)
{
    bool all = a->count == b->count;
    for (size_t i = 0; all && i < a->count; i++)
        all = a->parts[i].steps == b->parts[i].steps &&
              a->parts[i].version == b->parts[i].version &&
              a->parts[i].index == b->parts[i].index;
    return all;
}

static void record_joined(dni_join *join, dni_joined *j)
{
    j->recording = record(join->context, j->parts, j->count, NULL, 0, &j->scarce);
}

/* NULL: it is not to be one. */
static dni_joined *find(dni_join *join, const dni_joined *wanted)
{
    dni_joined *oldest = join->kept;
    for (dni_joined *k = join->kept; k < join->kept + DNI_JOIN_KEPT; k++) {
        if (same(k, wanted)) {
            k->used = join->begun;
            if (less_scarce(join->context, k->scarce))
                record_joined(join, k);
            return k;
        }
        oldest = k->used < oldest->used ? k : oldest;
    }
    if (oldest->used == join->begun) /* more than are kept: all of them would be made again */
        return NULL;
    free_recording(join->context, &oldest->recording);
    *oldest = *wanted; /* without a recording each by itself, from now on */
    oldest->used = join->begun;
    record_joined(join, oldest);
    return oldest;
}

static dn_status catch_up(dni_late *late)
{
    dni_join *join = (dni_join *)late;
    dni_joined now = join->now;
    size_t failed;
    dn_status st = DN_OK;
    join->now.count = 0; /* what this asks of the device comes here again */
    dni_joined *joined = now.count > 1 ? find(join, &now) : NULL;
    if (joined && joined->recording)
        return replay(join->context, joined->recording);
    for (size_t i = 0; !st && i < now.count; i++)
        st = run_part(&now.parts[i], &failed);
    return st;
}

void dni_join_begin(dni_join *join, dn_context *context)
{
    join->late.run = catch_up;
    join->begun++;
    join->context = context;
    dni_mirror_begin_late(context, &join->late);
}

dn_status dni_join_end(dni_join *join, dn_status st)
{
    dni_saved_error saved;
    if (st)
        dni_save_error(&saved);
    dn_status late = dni_mirror_catch_up(join->context);
    dni_mirror_end_late(join->context, &join->late);
    if (st)
        dni_restore_error(&saved);
    return st ? st : late;
}

void dni_join_free(dni_join *join)
{
    for (size_t i = 0; i < DNI_JOIN_KEPT; i++)
        free_recording(join->context, &join->kept[i].recording);
}

/* ---- running ----------------------------------------------------------------------------- */

dn_status dni_record_run(const dni_steps *s, size_t first, size_t end, bool fresh,
                         size_t *failed)
{
    dni_join *join = (dni_join *)dni_mirror_late(s->context);
    dni_recording *r = join || end - first > 1 ? recording_of(s, first, end, fresh) : NULL;
    if (r && less_scarce(s->context, r->scarce))
        r->refused[0] = 0;
    if (!r || r->refused[0] || !r->ran) {
        dn_status st = dni_mirror_catch_up(s->context);
        if (!st)
            st = dni_sides_run_each(s, first, end, fresh, failed);
        if (r)
            r->ran = !st;
        return st;
    }
    dni_join_part part = {
        .steps = s, .version = s->sides->version, .index = (size_t)(r - s->sides->recordings)};
    dn_status st = dni_sides_bring_all(s, first, end, failed);
    if (!st && (!join || join->now.count == DNI_JOIN_PARTS))
        st = dni_mirror_catch_up(s->context);
    if (st || !join)
        return st ? st : run_part(&part, failed);
    join->now.parts[join->now.count++] = part;
    return DN_OK;
}

void dni_record_drop(dni_steps *s)
{
    dni_sides *d = s->sides;
    dni_saved_error before;
    dni_save_error(&before);
    if (dni_mirror_catch_up(s->context))
        dni_restore_error(&before); /* a lost device says so again */
    for (size_t i = 0; i < d->num_recordings; i++)
        free_recording(s->context, &d->recordings[i].recording);
    d->num_recordings = 0;
    d->version = dni_mirror_number(s->context);
}
