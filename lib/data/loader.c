/* SPDX-License-Identifier: BSD-2-Clause
 * loader.c: a thread that fills batches ahead of the net. Batches are a ring: the thread fills
 * the next free one, the net holds the oldest filled one. Records follow each other across the
 * end of the database, and record n of the run is always the same one. */
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "data/annotated.h"
#include "deepnet/sys/random.h"

typedef struct slot {
    float *data, *labels;
    float *maps, *sizes; /* NULL: none */
    size_t capacity;     /* floats of data; of maps likewise */
    dni_shape item;      /* (C, H, W) */
    dni_boxes boxes;
} slot;

struct dni_loader {
    dni_heap heap;
    dni_source *source;
    dni_transform *transform;
    dni_decoder decoder;
    dni_annotator annotator;
    dni_transform *map_transform; /* NULL: no class maps */
    dni_decoder map_decoder;
    dni_annotator map_annotator;
    float level; /* of a map that is all one class */
    bool labelled;
    dni_boxes boxes;                         /* of a record */
    const Cnn__WindowDataParameter *windows; /* NULL: whole images */
    dni_shape shape;                         /* of the first batch: (N, C, H, W) */
    int32_t type;                            /* of the first record's annotation */
    int64_t batch;
    int64_t skip;        /* rand_skip: records left out at the start */
    int64_t rank, ranks; /* of every `ranks` records the one that is ours */
    int64_t records;     /* in the database; 0: not yet known */
    bool shuffle, fixed; /* fixed: all batches have the first one's shape */
    dni_order order;

    /* The thread's own while it runs. */
    int64_t cursor; /* records taken since the source's start, this pass */
    int64_t filled; /* number of the next to fill among ours */

    int64_t delivered; /* the host's: records of batches handed out */
    bool running, seek_needed;
    pthread_t thread;
    pid_t owner; /* whose thread it is; 0: none was started yet */

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

/* Record number i of ours, among everybody's. */
static uint64_t number_of(const dni_loader *l, int64_t i)
{
    return (uint64_t)(i * l->ranks + l->rank);
}

/* The next record, from the first again after the last. */
static dn_status next_record(dni_loader *l, dni_record *record)
{
    if (l->shuffle)
        return dni_order_record(&l->order, l->source,
                                l->skip + (int64_t)number_of(l, l->filled), record);
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
    if (l->windows) /* numbers without an end */
        return st ? st : dni_source_seek(l->source, (const uint8_t *)&left, sizeof left);
    l->source->keys_only = true;
    if (l->records)
        left %= l->records;
    while (!st && left > 0) {
        st = next_record(l, &record);
        left--;
        if (l->records && left >= l->records)
            left %= l->records;
    }
    l->source->keys_only = false;
    return st;
}

/* Room for a batch of such images. */
static dn_status fit(dni_loader *l, slot *s)
{
    size_t need = (size_t)(dni_shape_count(&s->item) * l->batch);
    if (need <= s->capacity)
        return DN_OK;
    dni_free_aligned(s->data);
    dni_free_aligned(s->maps);
    s->capacity = 0;
    s->maps = NULL;
    s->data = dni_alloc_aligned(&l->heap, need * sizeof(float));
    if (s->data && l->map_transform)
        s->maps = dni_alloc_aligned(&l->heap, need / (size_t)s->item.dim[0] * sizeof(float));
    if (!s->data || (l->map_transform && !s->maps))
        return DN_E_NOMEM;
    s->capacity = need;
    return DN_OK;
}

/* The first image of a batch says the size, where it is free; all others have it. */
static dn_status check_size(dni_loader *l, slot *s, int64_t i, const dni_image *image)
{
    dni_shape shape, first = dni_shape_of(3, l->shape.dim + 1);
    const dni_shape *want = i ? &s->item : &first;
    bool free_size = i == 0 && !l->fixed;
    char text[2][96];
    dn_status st = dni_transform_shape(l->transform, image, &shape);
    if (!st && !free_size && !dni_shape_equal(&shape, want))
        st = dni_fail(DN_E_DATA, "its size is %s, the first record's %s",
                      dni_shape_text(&shape, text[0], sizeof text[0]),
                      dni_shape_text(want, text[1], sizeof text[1]));
    if (st || i)
        return st;
    dni_shape all =
        dni_shape_of(4, (int64_t[]){l->batch, shape.dim[0], shape.dim[1], shape.dim[2]});
    st = dni_shape_check(&all);
    s->item = shape;
    return st ? st : fit(l, s);
}

static dn_status keep_boxes(dni_loader *l, slot *s, int64_t i)
{
    size_t have = s->boxes.count, more = l->boxes.count;
    dn_status st =
        dni_grow(&l->heap, &s->boxes.at, &s->boxes.capacity, have + more, sizeof *s->boxes.at);
    for (size_t k = 0; !st && k < more; k++) {
        s->boxes.at[have + k] = l->boxes.at[k];
        s->boxes.at[have + k].item = (int32_t)i;
    }
    s->boxes.count += st ? 0 : more;
    return st;
}

/* The class map of item i, crop and mirror as of its image. */
static dn_status put_map(dni_loader *l, slot *s, int64_t i, uint64_t number,
                         const dni_record *record, const dni_image *image, int32_t label)
{
    const dni_record as_image = {.data = record->map, .size = record->map_size, .file = ""};
    const dni_image *a = &l->annotator.before, *b = &l->map_annotator.before;
    int64_t H = s->item.dim[1], W = s->item.dim[2];
    dni_image map = {.f32 = &l->level,
                     .channels = 1,
                     .height = image->height,
                     .width = image->width}; /* strides of 0: the same everywhere */
    dn_status st = DN_OK;
    if (!l->map_transform)
        return DN_OK;
    l->level = l->labelled ? (float)label : l->map_transform->pad_value;
    if (record->map) {
        st = dni_annotator_run(&l->map_annotator, &l->map_decoder, &as_image, number, number,
                               &map, &label, &l->boxes);
        if (!st && (a->height != b->height || a->width != b->width))
            st = dni_fail(DN_E_DATA, "it is %lld x %lld, the image %lld x %lld",
                          (long long)b->height, (long long)b->width, (long long)a->height,
                          (long long)a->width);
    }
    if (st)
        return dni_in(st, "its class map");
    dni_transform_run(l->map_transform, &map, number, s->maps + i * H * W);
    s->sizes[2 * i] = (float)(image->height < H ? image->height : H);
    s->sizes[2 * i + 1] = (float)(image->width < W ? image->width : W);
    return DN_OK;
}

/* Past `count` records that are others'. */
static dn_status leave_out(dni_loader *l, int64_t count)
{
    dni_record record;
    dn_status st = DN_OK;
    l->source->keys_only = true;
    while (!l->shuffle && !st && count-- > 0)
        st = next_record(l, &record);
    l->source->keys_only = false;
    return st;
}

/* Item i is a window of the record's image. */
static dn_status fill_window(dni_loader *l, slot *s, int64_t i, const dni_record *record)
{
    dni_image image;
    int32_t label;
    dn_status st = dni_record_decode(&l->decoder, record, &image, &label);
    s->labels[i] = (float)record->label;
    if (!st)
        st = dni_window_put(l->transform, l->windows, &l->map_decoder, &image, record,
                            s->data + i * dni_shape_count(&s->item));
    return dni_in_record(st, l->source, record);
}

/* Item i of a batch. */
static dn_status fill_one(dni_loader *l, slot *s, int64_t i)
{
    dni_record record;
    dni_image image;
    int32_t value;
    uint64_t number = number_of(l, l->filled), first = number_of(l, l->filled - i);
    dn_status st = leave_out(l, l->rank);
    if (!st)
        st = next_record(l, &record);
    if (st)
        return st;
    if (record.window) {
        st = fill_window(l, s, i, &record);
        return st ? st : leave_out(l, l->ranks - 1 - l->rank);
    }
    st = dni_annotator_run(&l->annotator, &l->decoder, &record, number, first, &image, &value,
                           &l->boxes);
    if (!st && l->annotator.type != l->type)
        st = dni_fail(DN_E_DATA, "its annotation is of another type than the first record's");
    if (!st)
        st = check_size(l, s, i, &image);
    if (!st)
        st = put_map(l, s, i, number, &record, &image, value);
    if (st)
        return dni_in_record(st, l->source, &record);
    dni_placement placed = dni_transform_run(l->transform, &image, number,
                                             s->data + i * dni_shape_count(&s->item));
    s->labels[i] = (float)value;
    dni_annotator_place(&l->annotator, &image, placed, &l->boxes);
    st = keep_boxes(l, s, i);
    return st ? st : leave_out(l, l->ranks - 1 - l->rank);
}

static dn_status fill(dni_loader *l, slot *s)
{
    s->boxes.count = 0;
    for (int64_t i = 0; i < l->batch; i++, l->filled++) {
        dn_status st = fill_one(l, s, i);
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
    dni_fp_enter();
    if (l->seek_needed && !l->shuffle)
        st = seek_source(l, l->filled * l->ranks);
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
    l->owner = getpid();
    return DN_OK;
}

/* A forked child has neither the thread nor a database that it may read. */
static bool is_forked(const dni_loader *l)
{
    return l->owner && l->owner != getpid();
}

static void stop(dni_loader *l)
{
    if (!l->running || is_forked(l))
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
    if (is_forked(l))
        return dni_fail(DN_E_STATE, "the process has forked since it read data; its child "
                                    "needs a net of its own");
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
        const int64_t *d = s->item.dim;
        *batch = (dni_batch){.shape = dni_shape_of(4, (int64_t[]){l->batch, d[0], d[1], d[2]}),
                             .data = s->data,
                             .labels = s->labels,
                             .maps = s->maps,
                             .sizes = s->sizes,
                             .boxes = s->boxes,
                             .has_boxes = l->type == 0};
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
    return loader->delivered * loader->ranks;
}

dn_status dni_loader_seek(dni_loader *loader, int64_t position)
{
    if (position < 0)
        return dni_fail(DN_E_INVALID, "a data position cannot be %lld", (long long)position);
    stop(loader);
    loader->delivered = position / loader->ranks;
    loader->seek_needed = true;
    return DN_OK;
}

const dni_shape *dni_loader_shape(const dni_loader *loader)
{
    return &loader->shape;
}

bool dni_loader_has_boxes(const dni_loader *loader)
{
    return loader->type == 0;
}

/* ---- life -------------------------------------------------------------------------------- */

/* (C, H, W): the first record's. */
static dn_status first_item(dni_loader *l, dni_shape *item)
{
    dni_record record;
    dni_image image;
    int32_t label;
    if (l->windows) {
        int64_t crop = l->transform->crop_height;
        *item = dni_shape_of(3, (int64_t[]){3, crop, crop});
        return DN_OK;
    }
    dn_status st = dni_source_next(l->source, &record);
    if (st)
        return st;
    st =
        dni_annotator_run(&l->annotator, &l->decoder, &record, 0, 0, &image, &label, &l->boxes);
    if (!st)
        st = dni_transform_shape(l->transform, &image, item);
    return dni_in_record(st, l->source, &record);
}

static dn_status infer_shape(dni_loader *l)
{
    dni_shape item;
    dn_status st = first_item(l, &item);
    if (st)
        return st;
    l->type = l->annotator.type;
    l->shape = dni_shape_of(4, (int64_t[]){l->batch, item.dim[0], item.dim[1], item.dim[2]});
    st = dni_shape_check(&l->shape);
    return st ? dni_in(st, "a batch of %lld", (long long)l->batch)
              : dni_source_rewind(l->source);
}

static dn_status make_slots(dni_loader *l, uint32_t prefetch)
{
    dn_status st = DN_OK;
    l->num_slots = prefetch < 2 ? 2 : prefetch > 1024 ? 1024 : (int32_t)prefetch;
    l->slots = dni_alloc(&l->heap, (size_t)l->num_slots, sizeof(slot));
    if (!l->slots)
        return DN_E_NOMEM;
    for (int32_t i = 0; !st && i < l->num_slots; i++) {
        slot *s = &l->slots[i];
        s->item = dni_shape_of(3, l->shape.dim + 1);
        s->labels = dni_alloc_aligned(&l->heap, (size_t)l->batch * sizeof(float));
        s->sizes = dni_alloc_aligned(&l->heap, (size_t)l->batch * 2 * sizeof(float));
        st = s->labels && s->sizes ? fit(l, s) : DN_E_NOMEM;
    }
    return st;
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
    dn_status st = dni_annotator_check(o->annotated_param, o->transform, p->batch_size);
    if (!st)
        st = dni_transform_create(&l->transform, &l->heap, o->transform, o->train, o->folder,
                                  o->seed, o->stream);
    if (st)
        return st;
    static const Cnn__TransformationParameter as_it_is = CNN__TRANSFORMATION_PARAMETER__INIT;
    l->annotator = (dni_annotator){.heap = &l->heap,
                                   .param = o->annotated_param,
                                   .transform = o->transform ? o->transform : &as_it_is,
                                   .seed = o->seed,
                                   .stream = o->stream + 2,
                                   .annotated = o->annotated};
    l->transform->pad = o->pad;
    if (o->map_transform) {
        st = dni_transform_create(&l->map_transform, &l->heap, o->map_transform, o->train,
                                  o->folder, o->seed, o->stream);
        if (st)
            return st;
        l->map_transform->pad = o->pad;
        l->map_transform->pad_value = (float)o->ignore;
        l->map_annotator = (dni_annotator){.heap = &l->heap, .transform = o->map_transform};
        l->map_decoder = (dni_decoder){.heap = &l->heap, .force_gray = true};
        l->labelled = o->list->labelled;
    }
    l->decoder.heap = &l->heap;
    l->decoder.force_gray = l->transform->force_gray;
    l->decoder.force_color =
        l->transform->force_color || (p->force_encoded_color && !l->transform->force_gray);
    l->batch = p->batch_size;
    l->windows = o->windows;
    l->map_decoder.heap = &l->heap;
    const dni_windows drawn = {o->windows, l->transform, l->batch,
                               l->ranks,   o->seed,      o->stream + 4};
    st = o->windows ? dni_windows_open(&l->source, &l->heap, o->folder, &drawn)
         : o->list  ? dni_list_open(&l->source, &l->heap, o->folder, p->source, o->list)
                    : dni_source_open(&l->source, &l->heap, p->backend, o->folder, p->source);
    if (st)
        return st;
    draw_skip(l, o);
    l->shuffle = p->shuffle;
    l->fixed = dni_loader_is_fixed(o);
    l->order = (dni_order){.heap = &l->heap, .seed = o->seed, .stream = o->stream + 4};
    st = infer_shape(l);
    return st ? st : make_slots(l, p->prefetch);
}

bool dni_loader_is_fixed(const dni_loader_options *o)
{
    const Cnn__TransformationParameter *t = o->transform;
    size_t sizes = t ? t->n_resize_param : 0;
    int64_t crop[2];
    dni_transform_crop(t, crop);
    bool own_size = sizes == 0 ? !crop[0]
                               : t->resize_param[0]->resize_mode ==
                                     CNN__RESIZE_PARAMETER__RESIZE_MODE__FIT_SMALL_SIZE;
    return sizes < 2 && !(own_size && o->param->batch_size == 1);
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
    l->rank = options->rank;
    l->ranks = options->ranks > 1 ? options->ranks : 1;
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
    stop(loader);
    for (int32_t i = 0; loader->slots && i < loader->num_slots; i++) {
        dni_free_aligned(loader->slots[i].data);
        dni_free_aligned(loader->slots[i].labels);
        dni_free_aligned(loader->slots[i].maps);
        dni_free_aligned(loader->slots[i].sizes);
        dni_free(loader->slots[i].boxes.at);
    }
    dni_free(loader->slots);
    dni_source_close(loader->source);
    dni_order_free(&loader->order);
    dni_transform_free(loader->transform);
    dni_decoder_free(&loader->decoder);
    dni_annotator_free(&loader->annotator);
    dni_transform_free(loader->map_transform);
    dni_decoder_free(&loader->map_decoder);
    dni_annotator_free(&loader->map_annotator);
    dni_free(loader->boxes.at);
    if (!is_forked(loader)) { /* the thread waited on these when it was forked */
        pthread_cond_destroy(&loader->free);
        pthread_cond_destroy(&loader->full);
        pthread_mutex_destroy(&loader->lock);
    }
    dni_free(loader);
}
