/* SPDX-License-Identifier: BSD-2-Clause
 * loader.c: a thread that fills batches ahead of the net. Batches are a ring: the thread fills
 * the next free one, the net holds the oldest filled one. Records follow each other across the
 * end of the database, and record n of the run is always the same one. */
#include <pthread.h>
#include <signal.h>
#include <string.h>

#include "data/data.h"
#include "deepnet/sys/random.h"

typedef struct slot {
    float *data, *labels;
} slot;

struct dni_loader {
    dni_heap heap;
    dni_source *source;
    dni_transform *transform;
    dni_decoder decoder;
    dni_shape shape, item; /* (N, C, H, W) and (C, H, W) */
    int64_t batch, item_count;
    int64_t skip;    /* rand_skip: records left out at the start */
    int64_t records; /* in the database; 0: not yet known */

    /* The thread's own while it runs. */
    int64_t cursor; /* records taken since the source's start, this pass */
    int64_t filled; /* record number of the next to fill */

    int64_t delivered; /* the host's: records of batches handed out */
    bool running, seek_needed;
    pthread_t thread;

    pthread_mutex_t lock;
    pthread_cond_t full, free;
    slot *slots;
    int32_t num_slots;
    /* Under the lock: */
    int64_t made, taken; /* batches filled, and given back by the host */
    bool holding;        /* the host holds batch `taken` */
    bool stop;
    dn_status status; /* why there are no more */
    dni_saved_error error;
};

/* ---- reading ----------------------------------------------------------------------------- */

/* The next record, from the first again after the last. */
static dn_status next_record(dni_loader *l, dni_record *record)
{
    dn_status st = dni_source_next(l->source, record);
    if (!st && !record->data) {
        l->records = l->cursor;
        l->cursor = 0;
        st = dni_source_rewind(l->source);
        if (!st)
            st = dni_source_next(l->source, record);
        if (!st && !record->data)
            st = dni_in_source(dni_fail(DN_E_DATA, "it has become empty"), l->source);
    }
    l->cursor++;
    return st;
}

/* Moves to the record at `position` of the run. What a whole pass takes is left out as soon as
 * the number of records is known. */
static dn_status seek_source(dni_loader *l, int64_t position)
{
    int64_t left = l->skip + position;
    dni_record record;
    dn_status st = dni_source_rewind(l->source);
    l->cursor = 0;
    if (l->records)
        left %= l->records;
    while (!st && left > 0) {
        st = next_record(l, &record);
        left--;
        if (l->records && left >= l->records)
            left %= l->records;
    }
    return st;
}

/* "LMDB 'x': record '00000005'": a key may be anything. */
static dn_status in_record(dn_status st, const dni_loader *l, const dni_record *record)
{
    int length = record->key_size > 64 ? 64 : (int)record->key_size;
    st = dni_in(st, "record '%.*s'", length, (const char *)record->key);
    return dni_in_source(st, l->source);
}

static dn_status fill_one(dni_loader *l, int64_t number, float *data, float *label)
{
    dni_record record;
    dni_image image;
    dni_shape shape;
    int32_t value;
    dn_status st = next_record(l, &record);
    if (st)
        return st;
    st = dni_datum_decode(&l->decoder, record.data, record.size, &image, &value);
    if (!st)
        st = dni_transform_shape(l->transform, &image, &shape);
    if (!st && !dni_shape_equal(&shape, &l->item)) {
        char here[96], first[96];
        st = dni_fail(DN_E_DATA, "its size is %s, the first record's %s",
                      dni_shape_text(&shape, here, sizeof(here)),
                      dni_shape_text(&l->item, first, sizeof(first)));
    }
    if (st)
        return in_record(st, l, &record);
    dni_transform_run(l->transform, &image, (uint64_t)number, data);
    *label = (float)value;
    return DN_OK;
}

static dn_status fill(dni_loader *l, slot *s)
{
    for (int64_t i = 0; i < l->batch; i++, l->filled++) {
        dn_status st = fill_one(l, l->filled, s->data + i * l->item_count, s->labels + i);
        if (st)
            return st;
    }
    return DN_OK;
}

/* ---- the thread -------------------------------------------------------------------------- */

static void *load(void *arg)
{
    dni_loader *l = arg;
    dn_status st = DN_OK;
    if (l->seek_needed)
        st = seek_source(l, l->filled);
    pthread_mutex_lock(&l->lock);
    while (!st && !l->stop) {
        if (l->made - l->taken == l->num_slots) {
            pthread_cond_wait(&l->free, &l->lock);
            continue;
        }
        slot *s = &l->slots[l->made % l->num_slots];
        pthread_mutex_unlock(&l->lock);
        st = fill(l, s);
        pthread_mutex_lock(&l->lock);
        if (!st)
            l->made++;
        pthread_cond_signal(&l->full);
    }
    if (st) {
        l->status = st;
        dni_save_error(&l->error);
        pthread_cond_signal(&l->full);
    }
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

/* Signals stay with the host's threads. */
static dn_status start(dni_loader *l)
{
    sigset_t all, before;
    l->filled = l->delivered;
    l->made = l->taken = 0;
    l->holding = l->stop = false;
    l->status = DN_OK;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&l->thread, NULL, load, l);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error)
        return dni_fail(DN_E_NOMEM, "no thread could be started to read data");
    l->running = true;
    return DN_OK;
}

static void stop(dni_loader *l)
{
    if (!l->running)
        return;
    pthread_mutex_lock(&l->lock);
    l->stop = true;
    pthread_cond_signal(&l->free);
    pthread_mutex_unlock(&l->lock);
    pthread_join(l->thread, NULL);
    l->running = false;
}

dn_status dni_loader_next(dni_loader *l, dni_batch *batch)
{
    dn_status st = l->running ? DN_OK : start(l);
    if (st)
        return st;
    pthread_mutex_lock(&l->lock);
    if (l->holding) {
        l->taken++;
        l->holding = false;
        pthread_cond_signal(&l->free);
    }
    while (l->made == l->taken && !l->status)
        pthread_cond_wait(&l->full, &l->lock);
    if (l->made > l->taken) {
        slot *s = &l->slots[l->taken % l->num_slots];
        *batch = (dni_batch){.shape = l->shape, .data = s->data, .labels = s->labels};
        l->holding = true;
        l->delivered += l->batch;
    } else {
        st = l->status;
        dni_restore_error(&l->error);
    }
    pthread_mutex_unlock(&l->lock);
    return st;
}

int64_t dni_loader_position(const dni_loader *loader)
{
    return loader->delivered;
}

dn_status dni_loader_seek(dni_loader *loader, int64_t position)
{
    if (position < 0)
        return dni_fail(DN_E_INVALID, "a data position cannot be %lld", (long long)position);
    stop(loader);
    loader->delivered = position;
    loader->seek_needed = true;
    return DN_OK;
}

const dni_shape *dni_loader_shape(const dni_loader *loader)
{
    return &loader->shape;
}

/* ---- life -------------------------------------------------------------------------------- */

/* The shape of all batches is that of the first record. */
static dn_status infer_shape(dni_loader *l)
{
    dni_record record;
    dni_image image;
    int32_t label;
    dn_status st = dni_source_next(l->source, &record);
    if (st)
        return st;
    st = dni_datum_decode(&l->decoder, record.data, record.size, &image, &label);
    if (!st)
        st = dni_transform_shape(l->transform, &image, &l->item);
    if (st)
        return in_record(st, l, &record);
    l->item_count = dni_shape_count(&l->item);
    l->shape =
        dni_shape_of(4, (int64_t[]){l->batch, l->item.dim[0], l->item.dim[1], l->item.dim[2]});
    st = dni_shape_check(&l->shape);
    return st ? dni_in(st, "a batch of %lld", (long long)l->batch)
              : dni_source_rewind(l->source);
}

static dn_status make_slots(dni_loader *l, uint32_t prefetch)
{
    l->num_slots = prefetch < 2 ? 2 : prefetch > 1024 ? 1024 : (int32_t)prefetch;
    l->slots = dni_alloc(&l->heap, (size_t)l->num_slots, sizeof(slot));
    if (!l->slots)
        return DN_E_NOMEM;
    for (int32_t i = 0; i < l->num_slots; i++) {
        slot *s = &l->slots[i];
        s->data =
            dni_alloc_aligned(&l->heap, (size_t)(l->batch * l->item_count) * sizeof(float));
        s->labels = dni_alloc_aligned(&l->heap, (size_t)l->batch * sizeof(float));
        if (!s->data || !s->labels)
            return DN_E_NOMEM;
    }
    return DN_OK;
}

static void draw_skip(dni_loader *l, const dni_loader_options *o)
{
    uint32_t word[4];
    if (!o->param->rand_skip)
        return;
    dn_random_block(word, o->seed, o->stream + 1, 0, 0);
    l->skip = (int64_t)(((uint64_t)word[0] * o->param->rand_skip) >> 32);
    l->seek_needed = l->skip > 0;
}

static dn_status set_up(dni_loader *l, const dni_loader_options *o)
{
    const Cnn__DataParameter *p = o->param;
    dn_status st = dni_transform_create(&l->transform, &l->heap, o->transform, o->train,
                                        o->folder, o->seed, o->stream);
    if (st)
        return st;
    l->decoder.heap = &l->heap;
    l->decoder.force_gray = l->transform->force_gray;
    l->decoder.force_color =
        l->transform->force_color || (p->force_encoded_color && !l->transform->force_gray);
    l->batch = p->batch_size;
    st = dni_source_open(&l->source, &l->heap, p->backend, o->folder, p->source);
    if (st)
        return st;
    draw_skip(l, o);
    st = infer_shape(l);
    return st ? st : make_slots(l, p->prefetch);
}

dn_status dni_loader_open(dni_loader **out, const dni_loader_options *options)
{
    const Cnn__DataParameter *p = options->param;
    if (!p || !p->source || !p->source[0])
        return dni_fail(DN_E_NET, "data_param needs a source");
    if (p->batch_size == 0)
        return dni_fail(DN_E_NET, "data_param needs a batch_size of at least 1");
    dni_loader *l = dni_alloc(options->heap, 1, sizeof(*l));
    if (!l)
        return DN_E_NOMEM;
    l->heap = *options->heap;
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->full, NULL);
    pthread_cond_init(&l->free, NULL);
    dn_status st = set_up(l, options);
    if (st) {
        dni_saved_error saved;
        dni_save_error(&saved);
        dni_loader_close(l);
        dni_restore_error(&saved);
        return st;
    }
    *out = l;
    return DN_OK;
}

void dni_loader_close(dni_loader *loader)
{
    if (!loader)
        return;
    dni_heap heap = loader->heap;
    stop(loader);
    for (int32_t i = 0; loader->slots && i < loader->num_slots; i++) {
        dni_free_aligned(&heap, loader->slots[i].data);
        dni_free_aligned(&heap, loader->slots[i].labels);
    }
    dni_free(&heap, loader->slots);
    dni_source_close(loader->source);
    dni_transform_free(loader->transform);
    dni_decoder_free(&loader->decoder);
    pthread_cond_destroy(&loader->free);
    pthread_cond_destroy(&loader->full);
    pthread_mutex_destroy(&loader->lock);
    dni_free(&heap, loader);
}
