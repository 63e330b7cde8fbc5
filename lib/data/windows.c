/* SPDX-License-Identifier: BSD-2-Clause
 * windows.c: R-CNN's window file as a source, and a window as a batch has it. A record is an
 * image and a window in it, drawn by the record's number: from the background, or from the
 * foreground in the last places of a batch. The file has for each image
 *     # INDEX PATH CHANNELS HEIGHT WIDTH WINDOWS
 * and for each of its windows CLASS OVERLAP X0 Y0 X1 Y1, words apart by blanks or lines. */
#include <math.h>
#include <string.h>

#include "data/data.h"
#include "deepnet/sys/random.h"

#define FARTHEST (1 << 24) /* floats count to here */

typedef struct place {
    size_t at, line; /* of an image's path */
} place;

typedef struct kind {
    dni_window *at;
    size_t count, capacity;
} kind;

typedef struct windows {
    dni_source base;
    dni_windows o;
    const char *folder; /* of the prototxt; borrowed */
    char *beside;       /* the file's folder */
    char *text;
    place *images;
    size_t count, capacity;
    kind kinds[2]; /* background, foreground */
    int64_t next;
    dni_image_file image; /* of the last record */
} windows;

/* ---- the file ---------------------------------------------------------------------------- */

typedef struct reader {
    const char *at, *end;
    size_t line;
} reader;

/* Where the next word begins; r->at: where it ends. */
static const char *next_word(reader *r)
{
    static const char blanks[] = " \t\r\n";
    for (; r->at < r->end && strchr(blanks, *r->at) && *r->at; r->at++)
        r->line += *r->at == '\n';
    const char *word = r->at;
    r->at += strcspn(word, blanks);
    return word;
}

static dn_status read_numbers(reader *r, int count, double *to)
{
    for (int i = 0; i < count; i++) {
        const char *word = next_word(r);
        if (r->at == word || dni_parse_number(word, r->at, &to[i]) != r->at ||
            !(fabs(to[i]) <= FARTHEST))
            return dni_fail(DN_E_DATA, "line %zu: '%.*s' stands where a number should", r->line,
                            (int)(r->at - word), word);
    }
    return DN_OK;
}

static dn_status add_window(windows *w, const reader *r, const double v[6])
{
    const Cnn__WindowDataParameter *p = w->o.param;
    float overlap = (float)v[1];
    bool front = overlap >= p->fg_threshold;
    kind *k = &w->kinds[front];
    if (!front && !(overlap < p->bg_threshold))
        return DN_OK;
    if (front && !(v[0] >= 1))
        return dni_fail(DN_E_DATA, "line %zu: a window of the foreground has class %g", r->line,
                        v[0]);
    dn_status st = dni_grow(w->base.heap, &k->at, &k->capacity, k->count + 1, sizeof *k->at);
    if (!st)
        k->at[k->count++] = (dni_window){
            .image = (uint32_t)w->count - 1,
            .label = front ? (int32_t)v[0] : 0,
            .ends = {{(int32_t)v[3], (int32_t)v[5]}, {(int32_t)v[2], (int32_t)v[4]}}};
    return st;
}

static dn_status read_image_windows(windows *w, reader *r)
{
    double head[5], window[6];
    dn_status st = read_numbers(r, 1, head);
    const char *path = next_word(r);
    if (!st)
        st = dni_grow(w->base.heap, &w->images, &w->capacity, w->count + 1, sizeof *w->images);
    if (st)
        return st;
    w->images[w->count++] = (place){(size_t)(path - w->text), r->line};
    st = read_numbers(r, 4, head);
    for (double i = 0; !st && i < head[3]; i++) {
        st = read_numbers(r, 6, window);
        if (!st)
            st = add_window(w, r, window);
    }
    return st;
}

/* How many of a batch's last items are of the foreground. */
static int64_t front_of(const windows *w)
{
    return (int64_t)((float)w->o.batch * w->o.param->fg_fraction);
}

static dn_status read_file(windows *w)
{
    size_t size;
    dn_status st = dni_file_read(w->base.heap, w->base.path, &w->text, &size);
    if (st)
        return st;
    reader r = {w->text, w->text + size, 1};
    const char *word;
    while (!st && (word = next_word(&r), r.at > word))
        st = r.at == word + 1 && *word == '#'
                 ? read_image_windows(w, &r)
                 : dni_fail(DN_E_DATA, "line %zu: '%.*s' stands where a '#' should", r.line,
                            (int)(r.at - word), word);
    if (st)
        return st;
    if (r.at != r.end)
        return dni_fail(DN_E_DATA, "line %zu holds a zero byte", r.line);
    for (int front = 0; front < 2; front++)
        if (!w->kinds[front].count && (front ? front_of(w) : w->o.batch - front_of(w)) > 0)
            return dni_fail(DN_E_DATA, "it has no windows of the %s",
                            front ? "foreground" : "background");
    return DN_OK;
}

/* ---- the source -------------------------------------------------------------------------- */

static dn_status windows_next(dni_source *source, dni_record *record)
{
    windows *w = (windows *)source;
    int64_t n = w->next++;
    uint32_t word[4];
    record->data = (const uint8_t *)w->text;
    if (source->keys_only)
        return DN_OK;
    const kind *k = &w->kinds[n / w->o.ranks % w->o.batch >= w->o.batch - front_of(w)];
    dn_random_block(word, w->o.seed, w->o.stream, (uint64_t)n, 0);
    record->window = &k->at[((uint64_t)word[0] << 32 | word[1]) % k->count];
    record->mirror = word[2] & 1;
    record->label = record->window->label;
    const place *from = &w->images[record->window->image];
    const char *at = w->text + from->at;
    dn_status st =
        dni_image_file_read(&w->image, source->heap, w->folder, w->beside,
                            w->o.param->root_folder, at, at + strcspn(at, " \t\r\n"));
    record->data = (const uint8_t *)w->image.bytes;
    record->size = w->image.size;
    record->file = w->image.name;
    record->line = (int64_t)from->line;
    return dni_in(st, "line %zu", from->line);
}

static dn_status windows_rewind(dni_source *source)
{
    ((windows *)source)->next = 0;
    return DN_OK;
}

static dn_status windows_seek(dni_source *source, const uint8_t *key, size_t size)
{
    memcpy(&((windows *)source)->next, key, size);
    return DN_OK;
}

static void windows_close(dni_source *source)
{
    windows *w = (windows *)source;
    dni_free(w->beside);
    dni_free(w->text);
    dni_free(w->images);
    dni_free(w->kinds[0].at);
    dni_free(w->kinds[1].at);
    dni_image_file_free(&w->image);
    dni_free(w);
}

static const dni_source_class windows_class = {"window file",  NULL,         windows_next,
                                               windows_rewind, windows_seek, windows_close};

/* Before anything is read by these numbers. */
static dn_status check(const dni_transform *t, const Cnn__WindowDataParameter *p)
{
    int64_t S = t->crop_height, off = (t->mean_width - S) / 2;
    if (S <= 2 * (int64_t)p->context_pad)
        return dni_fail(DN_E_NET, "crop_size must be more than twice context_pad");
    if (strcmp(p->crop_mode, "warp") && strcmp(p->crop_mode, "square"))
        return dni_fail(DN_E_NET, "crop_mode '%s' is neither warp nor square", p->crop_mode);
    if (!(p->fg_fraction >= 0 && p->fg_fraction <= 1))
        return dni_fail(DN_E_NET, "fg_fraction is not in [0, 1]");
    if ((t->mean && (t->mean_channels != 3 || t->mean_width < S || off + S > t->mean_height)) ||
        (t->num_mean_values > 1 && t->num_mean_values != 3))
        return dni_fail(DN_E_DATA, "the mean does not cover 3 channels of crop_size");
    return DN_OK;
}

dn_status dni_windows_open(dni_source **out, const dni_heap *heap, const char *base,
                           const dni_windows *options)
{
    dn_status st = check(options->transform, options->param);
    windows *w = st ? NULL : dni_alloc(heap, 1, sizeof *w);
    if (!w)
        return st ? st : DN_E_NOMEM;
    w->base = (dni_source){.cls = &windows_class, .heap = heap};
    w->folder = base;
    w->o = *options;
    st = dni_path_resolve(heap, base, w->o.param->source, false, &w->base.path);
    if (!st && !(w->beside = dni_path_folder(heap, w->base.path)))
        st = DN_E_NOMEM;
    if (!st)
        st = dni_in_source(read_file(w), &w->base);
    if (st)
        dni_source_close(&w->base);
    else
        *out = &w->base;
    return st;
}

/* ---- a window as the batch has it -------------------------------------------------------- */

/* Along one axis: `size` pixels of the image from `from` on become `out` of the item's from
 * `at` on. */
typedef struct span {
    int64_t from, size, at, out;
} span;

/* The window with its context, of which what lies outside of the image stays 0. */
static span widen(const int32_t ends[2], float half, float context, int64_t image, int64_t crop,
                  bool mirror)
{
    float centre = (float)ends[0] + (float)(ends[1] - ends[0] + 1) / 2;
    int64_t low = (int64_t)roundf(centre - half * context);
    int64_t high = (int64_t)roundf(centre + half * context);
    int64_t before = low < 0 ? -low : 0, after = high >= image ? high - image + 1 : 0;
    float scale = (float)crop / (float)(high - low + 1);
    span s = {.from = low + before, .size = high - low + 1 - before - after};
    s.at = (int64_t)roundf((float)(mirror ? after : before) * scale);
    s.out = (int64_t)roundf((float)s.size * scale);
    s.out = s.at + s.out > crop ? crop - s.at : s.out;
    return s;
}

/* (pixel - mean) scale, the pixels mirrored, the mean not. */
static void put_pixels(const dni_transform *t, const dni_image *image, const span at[2],
                       bool mirror, float *out)
{
    int64_t S = t->crop_height, off = (t->mean_width - S) / 2;
    for (int64_t c = 0; c < 3; c++)
        for (int64_t h = at[0].at; h < at[0].at + at[0].out; h++)
            for (int64_t i = 0; i < at[1].out; i++) {
                int64_t w = at[1].at + i, from = mirror ? at[1].out - 1 - i : i;
                float mean =
                    t->num_mean_values ? t->mean_value[t->num_mean_values > 1 ? c : 0]
                    : t->mean
                        ? t->mean[(c * t->mean_height + h + off) * t->mean_width + w + off]
                        : 0;
                float pixel = image->u8[((h - at[0].at) * at[1].out + from) * 3 + c];
                out[(c * S + h) * S + w] = (pixel - mean) * t->scale;
            }
}

dn_status dni_window_put(const dni_transform *t, const Cnn__WindowDataParameter *p,
                         dni_decoder *room, const dni_image *image, const dni_record *record,
                         float *out)
{
    int64_t S = t->crop_height, extent[2] = {image->height, image->width};
    float context = (float)S / (float)(S - 2 * (int64_t)p->context_pad), half[2];
    bool square = p->crop_mode[0] == 's', mirror = t->mirror && record->mirror, seen = true;
    const int32_t(*ends)[2] = record->window->ends;
    span at[2];
    for (int a = 0; a < 2; a++)
        half[a] = (float)(ends[a][1] - ends[a][0] + 1) / 2;
    if (square)
        half[0] = half[1] = fmaxf(half[0], half[1]);
    for (int a = 0; a < 2; a++) {
        at[a] = (span){ends[a][0], ends[a][1] - ends[a][0] + 1, 0, S};
        if (square || p->context_pad)
            at[a] = widen(ends[a], half[a], context, extent[a], S, mirror && a == 1);
        if (at[a].from < 0 || at[a].size < 1 || at[a].from + at[a].size > extent[a])
            return dni_fail(DN_E_DATA, "its window from %d to %d lies beyond its edge, at %lld",
                            ends[a][0], ends[a][1], (long long)extent[a]);
        seen &= at[a].out > 0;
    }
    memset(out, 0, (size_t)(3 * S * S) * sizeof *out);
    if (!seen)
        return DN_OK;
    dni_image piece = *image, warped;
    piece.u8 += at[0].from * piece.row_stride + at[1].from * piece.pixel_stride;
    piece.height = at[0].size;
    piece.width = at[1].size;
    dn_status st = dni_decoder_room(room, at[0].out, at[1].out, 3, &warped);
    if (!st)
        st = dni_resample(room->heap, &piece, at[0].out, at[1].out,
                          CNN__RESIZE_PARAMETER__INTERP_MODE__LINEAR, (uint8_t *)warped.u8);
    if (!st)
        put_pixels(t, &warped, at, mirror, out);
    return st;
}
