/* SPDX-License-Identifier: BSD-2-Clause
 * conv_nhwc_weights.c: dw of a convolution in NHWC: for a piece of the output's pixels, dy's
 * channels as they lie times those of the image under each tap, copied side by side; of few
 * channels, under all taps. Where much lies outside the image, the pixels that see a tap are
 * copied together. A task is a block of taps' columns and, where those are few or the pixels
 * many, a part of the pixels: parts leave sums of their own, which are added in order. With
 * AVX2, whose tiles are done before a line of dy a pixel has come, dy is packed for all columns
 * of a task, or as many pixels of few channels are taken as the first cache holds. */
#include "conv_nhwc.h"

#include <string.h>

enum { PIXELS = 200, TASKS_WANTED = 16, FEW_PANELS = 8, PIECES = 8, JOINED = 64, TILE = 8 };
enum {
    CHUNK = 12, /* channels of packed dy that lie together: with B within the first cache */
    NEAR = 64,  /* so many, of as many pixels, are that without being packed */
    LINE = 16   /* floats */
};

typedef struct weights_op {
    dn_op base;
    cpu_geo geo;
    cpu_phase phase;
    int64_t run_floats, floats; /* of a run; and what fills its last panel, where it is laid */
    int64_t run_panels, panels; /* of columns: of a run, of all */
    int64_t blocks, parts, pieces, columns, ld; /* ld: of the sums */
    int64_t pixels;                             /* multiplied at a time, of a piece */
    int64_t part_floats, worker_floats, db_at;
    bool laid;   /* all runs are one, laid side by side */
    bool direct; /* sums are dw itself */
    bool seen;   /* tap by tap, and only pixels that see it */
    bool chunks; /* dy is taken by CHUNK channels: of AVX2 */
    bool packed; /* and copied so, chunk by chunk, of a piece's pixels */
    bool bias, add, add_bias;
} weights_op;

typedef struct weights_call {
    const weights_op *op;
    const float *x, *dy;
    float *dw, *db, *parts, *work;
} weights_call;

typedef struct space { /* a worker's */
    const float **rows;
    cpu_pixel *pixel;
    float *zeros, *edges, *b, *tile,
        *laid; /* taps of pixels, or dy of those that see one, or packed */
} space;

static space space_of(const weights_call *call, int32_t worker)
{
    const weights_op *op = call->op;
    const cpu_kernels *ker = op->base.backend->kernels;
    float *at = call->work + worker * op->worker_floats;
    int64_t zeros = (cpu_max(op->phase.floats, op->geo.K) + 31) & ~(int64_t)15;
    space s = {.rows = (const float **)at, .pixel = (cpu_pixel *)(at + PIXELS * 2)};
    s.zeros = at + PIXELS * 10;
    s.edges = s.zeros + zeros;
    s.b = s.edges + PIXELS * JOINED;
    s.tile = s.b + PIXELS * ker->nr + 64;
    s.laid = s.tile + CPU_MAX_MR * ker->nr;
    memset(s.zeros, 0, (size_t)zeros * sizeof(float));
    return s;
}

static int64_t worker_floats(const weights_op *op)
{
    const cpu_kernels *ker = op->base.backend->kernels;
    int64_t laid = op->laid ? op->columns + 16 : op->seen ? op->geo.Kg : 0;
    int64_t chunks = op->packed ? cpu_ceil(op->geo.Kg, CHUNK) : 0;
    return PIXELS * (10 + JOINED + ker->nr + laid) + chunks * CHUNK * (PIXELS + 1) + 128 +
           ((cpu_max(op->phase.floats, op->geo.K) + 31) & ~(int64_t)15) + CPU_MAX_MR * ker->nr;
}

/* Lines that are used later, some of which are asked for at a time: `wide` neighbours each. */
typedef struct lines {
    const float *at;
    int64_t left, some, wide, next, in; /* next: floats from one row's last to the next */
} lines;

/* What is used after a product, and is asked for during it: a panel of x (or NULL), and up to
 * its end dy of the next piece. Where dy comes in chunks its tiles have no time for that: before
 * each, lines of both of the next piece. */
typedef struct ahead {
    const float *x, *dy, *dy_end;
    int64_t step; /* floats of dy with each step of k */
    lines x_lines, dy_lines;
} ahead;

static void ask(lines *l)
{
    for (int64_t i = 0; i < l->some && l->left > 0; i++, l->left--) {
        __builtin_prefetch(l->at, 0, 2);
        l->at += LINE;
        if (++l->in == l->wide)
            l->in = 0, l->at += l->next;
    }
}

/* dy's channels of group g, as they lie, times panel j, added to sums from piece 1 on. */
static void multiply(const weights_call *call, const space *s, const float *dy, int64_t dy_ld,
                     const float *b, int64_t j, int64_t len, float *sums, bool add, ahead *next)
{
    const weights_op *op = call->op;
    const cpu_kernels *ker = op->base.backend->kernels;
    int64_t Kg = op->geo.Kg, col = j % op->run_panels * ker->nr;
    int32_t width = (int32_t)cpu_min(ker->nr, op->floats - col);
    int32_t vectors = width <= ker->vl ? 1 : 2;
    cpu_end end = {.alpha = 1, .add = add};
    float *c = sums + j / op->run_panels * op->floats + col;
    bool narrow = width < vectors * ker->vl;
    for (int64_t k = 0, n; k < Kg; k += n, c += n * op->ld) {
        /* two tiles ask for the lines of x's panel */
        bool x = !op->chunks && next->x && k < 2 * TILE && k + TILE <= Kg && !narrow;
        const float *a = dy + (op->packed ? k * (len + 1) : k);
        n = op->chunks ? cpu_min(CHUNK, Kg - k) : x ? TILE : Kg - k;
        if (narrow) {
            cpu_narrow_rows(ker, width, n, len, a, 1, dy_ld, b, c, op->ld, &end, s->tile);
            continue;
        }
        end.ask = x ? next->x + k * 16 / TILE : next->dy;
        end.ask_step = x ? op->geo.C : next->dy < next->dy_end ? next->step : 0;
        if (op->chunks)
            ask(&next->x_lines), ask(&next->dy_lines);
        ker->rows(vectors, n, len, a, 1, dy_ld, b, c, op->ld, &end);
        if (!x)
            next->dy += n / TILE * len * end.ask_step;
    }
}

/* Of a piece, for all panels of a task, as it lies in memory: some pixels at a time. A chunk
 * ends a row later, as whole vectors are written. */
static const float *pack_dy(const weights_op *op, const space *s, const float *dy, int64_t len)
{
    float *out = s->laid + (op->laid ? PIXELS * (op->columns + 16) : 0);
    for (int64_t i = 0, n; i < len; i += n, dy += n * op->geo.K) {
        n = cpu_min(TILE, len - i);
        for (int64_t k = 0; k < op->geo.Kg; k += CHUNK)
            op->base.backend->kernels->lay_rows(out + k * (len + 1) + i * CHUNK, CHUNK, dy + k,
                                                op->geo.K, n, cpu_min(CHUNK, op->geo.Kg - k));
    }
    return out;
}

/* Rows of what outputs [from, from + len) see, as far as panels [b0, b1) want it. */
static void lay(const weights_call *call, const space *s, const cpu_image *image, int64_t from,
                int64_t len, int64_t b0, int64_t b1)
{
    const weights_op *op = call->op;
    const cpu_phase *f = &op->phase;
    const cpu_kernels *ker = op->base.backend->kernels;
    int64_t run0 = b0 * ker->nr / f->floats,
            ld = op->columns + 16; /* whole vectors are written */
    int64_t run1 = cpu_min(f->runs, cpu_ceil(b1 * ker->nr, f->floats));
    for (int64_t i = 0, n; i < len; i += n) {
        cpu_pixel at;
        cpu_pixels(&at, from + i, 1, f);
        n = cpu_min(len - i, f->cols - at.w);
        for (int64_t r = run0; r < run1; r++)
            cpu_lay_run(ker, image, f, &f->run[r], &at, n, 0, f->floats, s->edges, s->zeros,
                        s->laid + i * ld + r * f->floats, ld);
    }
    for (int64_t i = 0; i < len; i++)
        s->rows[i] = s->laid + i * ld;
}

/* One piece of pixels: panels [b0, b1) of group g. */
static void piece_sums(const weights_call *call, const space *s, int64_t g, int64_t from,
                       int64_t len, int64_t b0, int64_t b1, float *sums, bool add)
{
    const weights_op *op = call->op;
    const cpu_geo *geo = &op->geo;
    const cpu_kernels *ker = op->base.backend->kernels;
    const cpu_image image = {call->x + g * geo->Cg, geo->D, geo->H, geo->W, geo->C};
    const float *dy = call->dy + from * geo->K + g * geo->Kg;
    int64_t last = -1, left = cpu_min(len, op->phase.count - from - len);
    bool ready = geo->ready && geo->group == 1;
    ahead next = {.dy = dy + len * geo->K, .dy_end = dy + (len + left) * geo->K};
    next.step = cpu_ceil(TILE * geo->K, (b1 - b0) * cpu_max(TILE, geo->Kg - 2 * TILE));
    if (op->chunks && geo->group == 1) {
        int64_t calls = (b1 - b0) * cpu_ceil(geo->K, CHUNK);
        next.dy_lines = (lines){.at = next.dy, .left = cpu_ceil(left * geo->K, LINE)};
        next.dy_lines.some = cpu_ceil(next.dy_lines.left, calls);
        if (ready)
            next.x_lines = (lines){.at = image.x + (from + len) * geo->C + b0 * LINE,
                                   .left = left * (b1 - b0),
                                   .some = cpu_ceil(left, cpu_ceil(geo->K, CHUNK)),
                                   .wide = b1 - b0,
                                   .next = geo->C - (b1 - b0) * LINE};
    }
    if (ready && geo->C == ker->nr) { /* a panel as it lies */
        next.x = left ? image.x + (from + len) * geo->C : NULL;
        multiply(call, s, dy, geo->K, image.x + from * geo->C, 0, len, sums, add, &next);
        return;
    }
    int64_t dy_ld = op->packed ? CHUNK : geo->K;
    if (op->packed)
        dy = pack_dy(op, s, dy, len);
    if (op->laid)
        lay(call, s, &image, from, len, b0, b1);
    else
        cpu_pixels(s->pixel, from, len, &op->phase);
    for (int64_t j = b0; j < b1; j++) {
        int64_t run = j / op->run_panels, col = j % op->run_panels * ker->nr;
        for (int64_t i = 0; !op->laid && run != last && i < len; i++)
            s->rows[i] = geo->ready ? image.x + (from + i) * geo->C
                                    : cpu_run_at(&image, &op->phase, &op->phase.run[run],
                                                 &s->pixel[i], s->edges + i * JOINED, s->zeros);
        last = run;
        ker->copy_rows(s->b, len, s->rows, col, cpu_min(ker->nr, op->run_floats - col));
        if (ready && j + 1 < b1)
            next.x = s->rows[0] + col + ker->nr;
        else
            next.x = ready && left ? s->rows[0] + len * geo->C + b0 * ker->nr : NULL;
        multiply(call, s, dy, dy_ld, s->b, j, len, sums, add, &next);
    }
}

/* Pixels from *from on, up to `to`, that see a run, as many as there is room for: what they
 * see, and their dy, (count, Kg). */
static int64_t collect(const weights_call *call, const space *s, const cpu_image *image,
                       const cpu_taps_run *run, const float *dy, int64_t *from, int64_t to)
{
    const weights_op *op = call->op;
    const cpu_geo *geo = &op->geo;
    const cpu_phase *f = &op->phase;
    int64_t count = 0;
    for (int64_t n, first, end; *from < to && count < PIXELS; *from += n) {
        cpu_pixel at;
        cpu_pixels(&at, *from, 1, f);
        n = cpu_min(cpu_min(to - *from, f->cols - at.w), PIXELS - count);
        cpu_run_inside(image, f, run, &at, n, &first, &end);
        at.w += first;
        for (int64_t i = first; i < end; i++, at.w++)
            s->rows[count + i - first] = cpu_run_at(image, f, run, &at, NULL, s->zeros);
        op->base.backend->kernels->lay_rows(s->laid + count * geo->Kg, geo->Kg,
                                            dy + (*from + first) * geo->K, geo->K, end - first,
                                            geo->Kg);
        count += end - first;
    }
    return count;
}

/* Pixels [from, to): panels [b0, b1) of group g, tap by tap. */
static void seen_sums(const weights_call *call, const space *s, int64_t g, int64_t from,
                      int64_t to, int64_t b0, int64_t b1, float *sums, bool add)
{
    const weights_op *op = call->op;
    const cpu_geo *geo = &op->geo;
    const cpu_kernels *ker = op->base.backend->kernels;
    const cpu_image image = {call->x + g * geo->Cg, geo->D, geo->H, geo->W, geo->C};
    const float *dy = call->dy + g * geo->Kg;
    ahead none = {0};
    for (int64_t j0 = b0, j1; j0 < b1; j0 = j1) {
        int64_t run = j0 / op->run_panels, at = from;
        j1 = cpu_min(b1, (run + 1) * op->run_panels);
        do {
            bool more = at > from || add;
            int64_t n = collect(call, s, &image, &op->phase.run[run], dy, &at, to);
            for (int64_t j = j0; j < j1; j++) {
                int64_t col = j % op->run_panels * ker->nr;
                ker->copy_rows(s->b, n, s->rows, col, cpu_min(ker->nr, op->run_floats - col));
                multiply(call, s, s->laid, geo->Kg, s->b, j, n, sums, more, &none);
            }
        } while (at < to);
    }
}

static void weights_task(void *arg, int64_t task, int32_t worker)
{
    const weights_call *call = arg;
    const weights_op *op = call->op;
    const cpu_geo *geo = &op->geo;
    int64_t per = geo->group * op->blocks, part = task / per, g = task % per / op->blocks;
    int64_t b0, b1, p0, p1, from, to;
    float *part_at = call->parts + part * op->part_floats;
    float *sums = (op->direct ? call->dw : part_at) + g * geo->Kg * op->ld;
    float *db = part_at + op->db_at;
    space s = space_of(call, worker);
    const cpu_norm plain = {.mean = s.zeros, .rows = true};
    bool bias = op->bias && task % per == 0;
    cpu_split(op->panels, op->blocks, task % op->blocks, &b0, &b1);
    cpu_split(op->pieces, op->parts, part, &p0, &p1);
    if (op->laid) /* what fills the last panel */
        memset(s.b, 0, (size_t)(PIXELS * op->base.backend->kernels->nr) * sizeof(float));
    if (bias)
        memset(db, 0, (size_t)(2 * geo->K) * sizeof(float));
    for (int64_t p = p0; p < p1; p++) {
        cpu_split(op->phase.count, op->pieces, p, &from, &to);
        for (int64_t at = from; !op->seen && at < to; at += op->pixels)
            piece_sums(call, &s, g, at, cpu_min(op->pixels, to - at), b0, b1, sums,
                       p > p0 || at > from || (op->direct && op->add));
        if (bias) /* the other sum, of squares, is not wanted */
            op->base.backend->kernels->norm_sums(&plain, NULL, call->dy + from * geo->K, NULL,
                                                 to - from, geo->K, db, db + geo->K);
    }
    if (op->seen) {
        cpu_split(op->phase.count, op->parts, part, &from, &to);
        seen_sums(call, &s, g, from, to, b0, b1, sums, op->direct && op->add);
    }
}

/* Sums are (K, taps, channels), dw is (K, channels, taps). */
static void turn_task(void *arg, int64_t k, int32_t worker)
{
    const weights_call *call = arg;
    const weights_op *op = call->op;
    const cpu_kernels *ker = op->base.backend->kernels;
    float *sums = call->parts + k * op->ld, *dw = call->dw + k * op->columns;
    int64_t taps = op->geo.E * op->geo.R * op->geo.S;
    bool turn = taps > 1;
    (void)worker;
    for (int64_t i = turn; i < op->parts; i++)
        ker->axpby(turn ? sums : dw, sums + i * op->part_floats, 1, turn || op->add || i > 0,
                   op->columns);
    if (turn)
        ker->turn_rows(dw, taps, sums, op->geo.Cg, taps, op->geo.Cg, op->add);
}

static dn_status weights_run(dn_op *base, const dn_op_io *io)
{
    weights_op *op = (weights_op *)base;
    weights_call call = {.op = op,
                         .x = io->in[0],
                         .dy = io->in[1],
                         .dw = io->out[0],
                         .db = op->bias ? io->out[1] : NULL,
                         .parts = io->scratch};
    call.work = call.parts + op->parts * op->part_floats;
    cpu_for(base->backend, op->parts * op->geo.group * op->blocks, weights_task, &call);
    if (!op->direct)
        cpu_for(base->backend, op->geo.K, turn_task, &call);
    for (int64_t i = 0; op->bias && i < op->parts; i++)
        base->backend->kernels->axpby(call.db, call.parts + i * op->part_floats + op->db_at, 1,
                                      op->add_bias || i > 0, op->geo.K);
    return DN_OK;
}

static void plan(weights_op *op, dn_op_info *info)
{
    const cpu_geo *geo = &op->geo;
    const cpu_kernels *ker = op->base.backend->kernels;
    int64_t taps = geo->E * geo->R * geo->S;
    op->columns = taps * geo->Cg;
    op->laid = op->phase.taps > 1;
    op->run_floats = op->laid ? op->columns : op->phase.floats;
    op->floats = op->laid ? (op->columns + 31) & ~(int64_t)31 : op->run_floats;
    op->ld = op->laid ? op->floats : op->columns;
    op->run_panels = cpu_ceil(op->run_floats, ker->nr);
    int64_t runs = op->laid ? 1 : op->phase.runs;
    op->panels = runs * op->run_panels;
    op->pieces = cpu_ceil(op->phase.count, PIXELS);
    int64_t work = op->phase.count * geo->K * op->columns;
    int64_t tasks = cpu_max(1, cpu_min(TASKS_WANTED, work >> 20));
    int64_t threads = op->base.backend->host.num_threads;
    /* of 32 columns, whatever the vectors: parts are other sums */
    int64_t wide = runs * cpu_ceil(op->run_floats, 32) * geo->group;
    bool few = wide < FEW_PANELS; /* of many, tasks of columns would each read all of dy */
    op->parts = few ? cpu_min(op->pieces, tasks / wide)
                    : cpu_min(op->pieces / PIECES, 2 * tasks / wide);
    op->parts = cpu_max(1, op->parts);
    op->blocks =
        cpu_min(cpu_min(op->panels, tasks), cpu_ceil(2 * threads, op->parts * geo->group));
    op->chunks = ker->vl == 8;
    op->packed = op->chunks && !op->seen && op->panels > op->blocks && geo->K > NEAR &&
                 !(geo->ready && geo->C == ker->nr);
    op->pixels = op->chunks && geo->K <= NEAR ? cpu_min(PIXELS, NEAR * NEAR / geo->K) : PIXELS;
    op->direct = taps == 1 && op->parts == 1;
    op->db_at = op->direct ? 0 : (geo->K * op->ld + 15) & ~(int64_t)15;
    op->part_floats = op->db_at + ((2 * geo->K + 15) & ~(int64_t)15);
    op->worker_floats = (worker_floats(op) + 15) & ~(int64_t)15;
    info->scratch = (size_t)(op->parts * op->part_floats +
                             op->base.backend->host.num_threads * op->worker_floats) *
                    4;
}

dn_status cpu_conv_nhwc_weights_create(dn_backend *backend, const dn_op_desc *desc, dn_op **out,
                                       dn_op_info *info)
{
    const dn_args_conv *args = desc->args;
    cpu_geo geo;
    if (!cpu_conv_nhwc_geo(&geo, desc, 0, info))
        return DN_DECLINED;
    weights_op *op = cpu_op_new(backend, sizeof *op, weights_run, info,
                                geo.ready ? "cpu:rows 1x1" : "cpu:rows");
    if (!op)
        return DN_E_NOMEM;
    op->geo = geo;
    op->bias = cpu_present(desc->outputs, desc->num_outputs, 1);
    op->add = args->base.accumulate & 1;
    op->add_bias = args->base.accumulate & 2;
    double seen = cpu_geo_seen(&geo, false);
    op->seen = seen < 1;
    if (op->seen)
        info->cost = cpu_cost(backend, desc, "cpu:rows") * seen;
    if (!cpu_phase_plan(&op->phase, &op->base, &geo, false, 0, geo.Cg, JOINED)) {
        cpu_op_free(&op->base);
        return DN_E_NOMEM;
    }
    plan(op, info);
    *out = &op->base;
    return DN_OK;
}
