/* SPDX-License-Identifier: BSD-2-Clause
 * conv_nhwc.c: convolution in NHWC, forward and backward to the data, as rows of pixels times
 * packed weights. Rows are laid side by side where they are used, straight from the image; what
 * lies outside it is zeros, or where that is much, left out. Those of 1x1 are read as they lie;
 * those of few channels, too, once the image's lines that a row of outputs sees lie with zeros
 * around them, be they planes'. Backward with a stride is one such product for each phase of
 * the stride, with the taps that reach it. */
#include "conv_nhwc.h"

#include <string.h>

enum {
    ROWS = 16,           /* tiles of rows laid at a time: they stay in the second cache */
    IN_PLACE_ROWS = 224, /* the same of rows that are read as they lie */
    APART = 1024,        /* floats: lines of rows pages apart share the sets of both caches, */
    LAID_ROWS = 112,     /* so these are laid ... */
    LAID_COLUMNS = 256,  /* for so many outputs at a time, where tiles have no time to wait */
    PACK_ROWS = 32,      /* channels of dy whose weights a task packs */
    ROW_UNIT = 4,        /* a row alone takes as long as two of four */
    LINES = 4,           /* rows of outputs whose lines are laid at once */
    FEW_ROWS = 32,       /* times all weights: worth reading these once more */
    FIRST_ROWS = 16,     /* whose mean is near enough that nothing cancels */
};

typedef struct piece { /* of the reduction: runs [run0, run1), of each [from, to) */
    int64_t run0, run1, from, to, before;
} piece;

typedef struct conv_op {
    dn_op base;
    cpu_geo geo;
    cpu_phase *phase;
    piece *pieces;      /* phase by phase */
    int64_t *at, *next; /* where (channel, tap) goes in packed weights; from panel to panel */
    int64_t phases;
    int64_t Kx, Cx, Kg, Cg, D, H, W, T, P, Q, taps; /* this product's output and input */
    int64_t panels, group_floats, packed_floats, worker_floats;
    int64_t part_floats; /* sums of a task's rows, as cpu_moments takes them; or 0 */
    int64_t lines;       /* of x that a row of taps sees: 1, or its planes; 0: rows are laid */
    int64_t line, pixel; /* floats of these, and from pixel to pixel */
    int64_t margin, lines_floats; /* before a line's pixels, which begin a line of the cache */
    bool back, keep, planes;
    bool laid; /* rows that could be read as they lie */
    bool seen; /* a piece is one tap, and only of the rows that see it */
    cpu_end end;
    cpu_unary f; /* applied to y as long as it is in a cache */
} conv_op;

typedef struct conv_call {
    const conv_op *op;
    const cpu_phase *phase;
    const float *x, *w, *bias;
    float *y, *packed, *work;
    float *parts; /* NULL: no moments */
} conv_call;

/* ---- what is seen ------------------------------------------------------------------------ */

static int64_t seen_along(int64_t P, int64_t R, int64_t stride, int64_t pad, int64_t dilation,
                          int64_t H)
{
    int64_t count = 0, from, to;
    for (int64_t at = -pad; R-- > 0; at += dilation) {
        cpu_inside(at, stride, H, P, &from, &to);
        count += to - from;
    }
    return count;
}

double cpu_geo_seen(const cpu_geo *g, bool back)
{
    enum { CHANNELS = 128 }; /* sums are added up tap by tap */
    int64_t all = (back ? g->H * g->W : g->P * g->Q) * g->R * g->S;
    double seen = (double)(seen_along(g->P, g->R, g->sh, g->ph, g->dh, g->H) *
                           seen_along(g->Q, g->S, g->sw, g->pw, g->dw, g->W)) /
                  (double)all;
    bool strided = back && g->sh * g->sw > 1;
    return cpu_min(g->Cg, g->Kg) < CHANNELS || strided || g->frames || seen > 0.85 ? 1 : seen;
}

/* ---- runs -------------------------------------------------------------------------------- */

bool cpu_phase_plan(cpu_phase *f, dn_op *op, const cpu_geo *geo, bool back, int64_t i,
                    int64_t channels, int64_t most)
{
    int64_t sh = geo->sh, sw = geo->sw, sd = geo->sd, s_count = 0, s_first = 0;
    int64_t H = back ? geo->H : geo->P, W = back ? geo->W : geo->Q;
    int64_t w0 = i % sw, h0 = i / sw % sh;
    f->d0 = i / sw / sh, f->h0 = h0, f->w0 = w0;
    f->step_d = back ? sd : 1, f->step_h = back ? sh : 1, f->step_w = back ? sw : 1;
    f->move_d = back ? 1 : sd, f->move_h = back ? 1 : sh, f->move_w = back ? 1 : sw;
    f->frames = cpu_max(0, cpu_ceil((back ? geo->D : geo->T) - f->d0, f->step_d));
    f->rows = cpu_max(0, cpu_ceil(H - h0, f->step_h));
    f->cols = cpu_max(0, cpu_ceil(W - w0, f->step_w));
    f->count = geo->N * f->frames * f->rows * f->cols;
    f->ds = back ? -sw : 1;
    f->run = cpu_op_table(op, (size_t)(geo->E * geo->R * geo->S), sizeof *f->run);
    if (!f->run)
        return false;
    for (int64_t s = 0; s < geo->S; s++) /* back: the last tap is the first in the image */
        if (!back || (w0 + geo->pw - s * geo->dw) % sw == 0) {
            s_first = s_count == 0 || back ? s : s_first;
            s_count++;
        }
    bool join = geo->dw == 1 && geo->group == 1 && s_count > 1 && s_count * channels <= most;
    f->taps = join ? s_count : 1;
    f->floats = f->taps * channels;
    for (int64_t r = 0; r < geo->E * geo->R; r++) {
        int64_t e = r / geo->R * geo->dd - geo->pd, d = f->d0 - e;
        int64_t y = r % geo->R * geo->dh - geo->ph, h = h0 - y;
        bool seen = !back || (d % sd == 0 && h % sh == 0);
        for (int64_t s = 0; s < geo->S && seen; s++) {
            int64_t w = w0 + geo->pw - s * geo->dw;
            if ((back && w % sw != 0) || (join && s != s_first))
                continue;
            f->run[f->runs++] = back ? (cpu_taps_run){r, s, h / sh, w / sw, d / sd}
                                     : (cpu_taps_run){r, s, y, s * geo->dw - geo->pw, e};
        }
    }
    return true;
}

void cpu_pixels(cpu_pixel *pixel, int64_t from, int64_t count, const cpu_phase *f)
{
    int64_t frame = from / (f->rows * f->cols);
    cpu_pixel at = {frame / f->frames, frame % f->frames, from / f->cols % f->rows,
                    from % f->cols};
    for (int64_t i = 0; i < count; i++) {
        pixel[i] = at;
        if (++at.w == f->cols) {
            at.w = 0;
            if (++at.h == f->rows) {
                at.h = 0;
                if (++at.d == f->frames) {
                    at.d = 0;
                    at.n++;
                }
            }
        }
    }
}

const float *cpu_run_at(const cpu_image *image, const cpu_phase *f, const cpu_taps_run *run,
                        const cpu_pixel *pixel, float *edge, const float *zeros)
{
    int64_t h = pixel->h * f->move_h + run->h, w = pixel->w * f->move_w + run->w;
    int64_t d = pixel->d * f->move_d + run->d;
    if (h < 0 || h >= image->H || d < 0 || d >= image->D)
        return zeros;
    const float *row =
        image->x + ((pixel->n * image->D + d) * image->H + h) * image->W * image->C;
    if (w >= 0 && w + f->taps <= image->W)
        return row + w * image->C;
    if (f->taps == 1)
        return zeros;
    int64_t channels = f->floats / f->taps; /* joined taps: all of the image's */
    int64_t from = cpu_min(f->taps, cpu_max(0, -w));
    int64_t to = cpu_max(from, cpu_min(f->taps, image->W - w));
    memset(edge, 0, (size_t)f->floats * sizeof(float));
    memcpy(edge + from * channels, row + (w + from) * image->C,
           (size_t)((to - from) * channels) * sizeof(float));
    return edge;
}

void cpu_run_inside(const cpu_image *image, const cpu_phase *f, const cpu_taps_run *run,
                    const cpu_pixel *at, int64_t count, int64_t *from, int64_t *to)
{
    int64_t h = at->h * f->move_h + run->h, w = at->w * f->move_w + run->w;
    int64_t d = at->d * f->move_d + run->d;
    cpu_inside(w, f->move_w, image->W - f->taps + 1, count, from, to);
    if (h < 0 || h >= image->H || d < 0 || d >= image->D)
        *to = *from;
}

void cpu_lay_run(const cpu_kernels *ker, const cpu_image *image, const cpu_phase *f,
                 const cpu_taps_run *run, const cpu_pixel *at, int64_t count, int64_t from,
                 int64_t to, float *edge, const float *zeros, float *out, int64_t ld)
{
    int64_t whole, end;
    cpu_run_inside(image, f, run, at, count, &whole, &end);
    for (int64_t i = 0, n; i < count; i += n) {
        cpu_pixel pixel = {at->n, at->d, at->h, at->w + i};
        n = i < whole || i >= end ? 1 : end - i;
        ker->lay_rows(out + i * ld, ld, cpu_run_at(image, f, run, &pixel, edge, zeros) + from,
                      f->move_w * image->C, n, to - from);
    }
}

/* ---- weights ----------------------------------------------------------------------------- */

/* Forward a panel of outputs; backward some channels of dy, as w has them. */
static int64_t pack_tasks(const conv_op *op)
{
    return op->back ? cpu_ceil(op->Cg, PACK_ROWS) : op->panels;
}

static void pack_task(void *arg, int64_t task, int32_t worker)
{
    const conv_call *call = arg;
    const conv_op *op = call->op;
    const cpu_kernels *ker = op->base.backend->kernels;
    int64_t per = pack_tasks(op), g = task / per, taps = op->taps;
    float *out = call->packed + g * op->group_floats;
    (void)worker;
    if (!op->back) {
        int64_t j = task % per, cols = cpu_min(ker->nr, op->Kg - j * ker->nr);
        const float *w = call->w + (g * op->Kg + j * ker->nr) * op->Cg * taps;
        ker->pack_weights(out, cols, op->Cg * taps, w, op->Cg * taps, op->at, op->next, j);
        return;
    }
    int64_t k0, k1;
    cpu_split(op->Cg, per, task % per, &k0, &k1);
    for (int64_t k = k0; k < k1; k++) /* w: (channels of dy, of dx, taps) */
        for (int64_t j = 0; j < op->panels; j++) {
            int64_t cols = cpu_min(ker->nr, op->Kg - j * ker->nr);
            const float *w = call->w + ((g * op->Cg + k) * op->Kg + j * ker->nr) * taps;
            if (taps == 1)
                memcpy(out + op->at[k] + j * op->next[k], w, (size_t)cols * sizeof(float));
            else
                ker->pack_weights(out, cols, taps, w, taps, op->at + k * taps,
                                  op->next + k * taps, j);
        }
}

/* ---- a block of rows --------------------------------------------------------------------- */

typedef struct block { /* what a worker has in hand */
    float *edges, *zeros, *tile, *packed;
    float *part;                      /* sums of the task's rows; or NULL */
    int64_t from;                     /* the first of these */
    int64_t c_row[ROWS * CPU_MAX_MR]; /* where the rows' outputs are */
} block;

static block block_of(const conv_call *call, int32_t worker)
{
    const conv_op *op = call->op;
    block b = {.edges = call->work + worker * op->worker_floats};
    int64_t zeros = (cpu_max(op->Cg, CPU_K_PIECE) + 15) & ~(int64_t)15;
    b.zeros = b.edges + CPU_MAX_MR * CPU_K_PIECE;
    b.tile = b.zeros + zeros;
    b.packed = b.tile + CPU_MAX_MR * op->base.backend->kernels->nr;
    memset(b.zeros, 0, (size_t)zeros * sizeof(float));
    return b;
}

static int64_t worker_floats(const conv_op *op)
{
    const cpu_kernels *ker = op->base.backend->kernels;
    return CPU_MAX_MR * (CPU_K_PIECE + ker->nr) +
           ((cpu_max(op->Cg, CPU_K_PIECE) + 15) & ~(int64_t)15) +
           cpu_max(cpu_max(ROWS * ker->mr, LAID_ROWS) * (CPU_K_PIECE + 16), op->lines_floats) +
           64;
}

/* Where `count` outputs of a row are, from `at` on. */
static void locate(const conv_call *call, const cpu_pixel *at, int64_t count, int64_t *c_row)
{
    const conv_op *op = call->op;
    const cpu_phase *f = call->phase;
    int64_t d = f->d0 + at->d * f->step_d;
    int64_t h = f->h0 + at->h * f->step_h, w = f->w0 + at->w * f->step_w;
    for (int64_t i = 0; i < count; i++, w += f->step_w)
        c_row[i] = (((at->n * op->T + d) * op->P + h) * op->Q + w) * op->Kx;
}

void cpu_narrow_rows(const cpu_kernels *ker, int32_t width, int64_t m, int64_t k,
                     const float *a, int64_t row, int64_t col, const float *b, float *c,
                     int64_t ldc, const cpu_end *end, float *tile)
{
    static const cpu_end nothing = {0};
    const cpu_run run = {0, width, 0, 0};
    cpu_end own = *end;
    float bias[32] = {0};
    if (end->bias_n)
        own.bias_n = memcpy(bias, end->bias_n, (size_t)width * sizeof(float));
    for (int64_t i = 0, n; i < m; i += n, a += n * row, c += n * ldc) {
        n = cpu_min(CPU_MAX_MR, m - i);
        if (end->add)
            ker->lay_rows(tile, ker->nr, c, ldc, n, width);
        ker->rows(width <= ker->vl ? 1 : 2, n, k, a, row, col, b, tile, ker->nr, &own);
        ker->merge((int32_t)n, tile, &run, 1, c, NULL, ldc, &nothing);
    }
}

/* `rows` to whole panels, from column `col` of y on, and the sums for its moments. Their centre
 * is the mean of the task's first rows. */
static void rows_and_sums(const conv_call *call, int64_t col, int64_t m, int64_t k,
                          const float *x, int64_t ld, const float *w, float *y, cpu_end *end,
                          float *part, bool first)
{
    const conv_op *op = call->op;
    const cpu_kernels *ker = op->base.backend->kernels;
    static const float zeros[CPU_MAX_NR];
    float *centre = part + col, unused[CPU_MAX_NR] = {0};
    const cpu_tally t = {centre, centre + op->Kx, centre + 2 * op->Kx};
    if (first) {
        const cpu_tally mean = {zeros, centre, unused};
        int64_t n = cpu_min(FIRST_ROWS, m);
        ker->rows(2, n, k, x, ld, 1, w, y, op->Kx, end);
        ker->tally(&mean, y, op->Kx, n, ker->nr);
        ker->axpby(centre, centre, 1.0f / (float)n, false, ker->nr);
        ker->tally(&t, y, op->Kx, n, ker->nr);
        m -= n, x += n * ld, y += n * op->Kx;
    }
    end->tally = &t;
    ker->rows(2, m, k, x, ld, 1, w, y, op->Kx, end);
}

/* Rows [from, to) of pixels: the first at x, the others ld apart. c_row: where their outputs
 * are; NULL: one after the other. */
static void multiply_rows(const conv_call *call, int64_t g, int64_t j, const float *x,
                          int64_t ld, int64_t from, int64_t to, const piece *p,
                          const int64_t *c_row, const block *b)
{
    const conv_op *op = call->op;
    const cpu_phase *f = call->phase;
    const cpu_kernels *ker = op->base.backend->kernels;
    const piece *first = op->pieces + f->first_piece;
    int64_t len = (p->run1 - p->run0) * (p->to - p->from), col = g * op->Kg + j * ker->nr;
    int32_t width = (int32_t)cpu_min(ker->nr, op->Kg - j * ker->nr);
    int32_t vectors = width <= ker->vl ? 1 : 2;
    const float *w = call->packed + g * op->group_floats + f->packed_at +
                     (p->before * op->panels + j * len) * ker->nr;
    float *y = call->y + col;
    cpu_end end = op->end;
    if (op->lines) {
        end.lines = (p->run1 - p->run0) * op->lines, end.line = op->line;
        len /= end.lines;
    }
    end.bias_n = call->bias && p == first && !op->seen ? call->bias + col : NULL;
    end.add = op->end.add || p > first || op->seen;
    bool last = p + 1 == first + f->pieces;
    end.relu = op->end.relu && last && !op->seen;
    end.ceiling = op->end.ceiling && last;
    if (!c_row) {
        y += from * op->Kx;
        if (b->part && last)
            rows_and_sums(call, col, to - from, len, x, ld, w, y, &end, b->part,
                          from == b->from);
        else if (width == vectors * ker->vl)
            ker->rows(vectors, to - from, len, x, ld, 1, w, y, op->Kx, &end);
        else
            cpu_narrow_rows(ker, width, to - from, len, x, ld, 1, w, y, op->Kx, &end, b->tile);
        return;
    }
    static const cpu_end nothing = {0};
    const cpu_run run = {0, width, 0, 0};
    for (int64_t i = from, n; i < to; i += n, x += n * ld, c_row += n) {
        n = cpu_min(CPU_MAX_MR, to - i);
        ker->rows(vectors, n, len, x, ld, 1, w, b->tile, ker->nr, &nothing);
        ker->merge((int32_t)n, b->tile, &run, 1, y, c_row, 0, &end);
    }
}

/* f of outputs [from, to), one after the other, of panels [j0, j1) of group g. */
static void apply_function(const conv_call *call, int64_t g, int64_t from, int64_t to,
                           int64_t j0, int64_t j1)
{
    const conv_op *op = call->op;
    const cpu_kernels *ker = op->base.backend->kernels;
    int64_t n = cpu_min(j1 * ker->nr, op->Kg) - j0 * ker->nr;
    float *y = call->y + from * op->Kx + g * op->Kg + j0 * ker->nr;
    if (n == op->Kx)
        n *= to - from, to = from + 1;
    for (; op->f.fn && from < to; from++, y += op->Kx)
        ker->unary(&op->f, y, y, false, n);
}

/* What outputs [from, to) are before any tap, and after all: n columns from `col` on. */
static void fill_rows(const conv_call *call, int64_t from, int64_t to, int64_t col, int64_t n,
                      bool before, bool after)
{
    const conv_op *op = call->op;
    const cpu_unary relu = {DN_FN_RELU, op->end.slope, 0, 0};
    const cpu_kernels *ker = op->base.backend->kernels;
    for (int64_t i = from, row; i < to; i++) {
        cpu_pixel at;
        cpu_pixels(&at, i, 1, call->phase);
        locate(call, &at, 1, &row);
        float *y = call->y + row + col;
        if (before && !op->end.add)
            memset(y, 0, (size_t)n * sizeof(float));
        if (before && call->bias)
            ker->axpby(y, call->bias + col, 1, true, n);
        if (after && op->end.relu)
            ker->unary(&relu, y, y, false, n);
    }
}

static void in_place_task(const conv_call *call, int64_t g, int64_t from, int64_t to,
                          int64_t j0, int64_t j1, const block *b)
{
    const conv_op *op = call->op;
    int64_t ld = op->laid ? CPU_K_PIECE + 16 : op->Cx;
    for (int64_t i = from, end; i < to; i = end) {
        end = cpu_min(to, i + (op->laid ? LAID_ROWS : IN_PLACE_ROWS));
        for (const piece *p = op->pieces, *last = p + call->phase->pieces; p < last; p++) {
            const float *x = call->x + i * op->Cx + g * op->Cg + p->from;
            if (op->laid)
                op->base.backend->kernels->lay_rows(b->packed, ld, x, op->Cx, end - i,
                                                    p->to - p->from);
            for (int64_t j = j0; j < j1; j++)
                multiply_rows(call, g, j, op->laid ? b->packed : x, ld, i, end, p, NULL, b);
        }
        apply_function(call, g, i, end, j0, j1);
    }
}

/* The pixels' rows are laid side by side as they are. */
static void laid_task(const conv_call *call, int64_t g, int64_t from, int64_t to, int64_t j0,
                      int64_t j1, block *b)
{
    const conv_op *op = call->op;
    const cpu_phase *f = call->phase;
    const cpu_kernels *ker = op->base.backend->kernels;
    const cpu_image image = {call->x + g * op->Cg, op->D, op->H, op->W, op->Cx};
    bool apart = f->step_d > 1 || f->step_h > 1 || f->step_w > 1 || op->seen;
    int64_t col = g * op->Kg + j0 * ker->nr,
            cols = cpu_min(j1 * ker->nr, op->Kg) - j0 * ker->nr;
    for (int64_t i = from, end; i < to; i = end) {
        end = cpu_min(to, i + ROWS * ker->mr);
        if (op->seen)
            fill_rows(call, i, end, col, cols, true, false);
        for (const piece *p = op->pieces + f->first_piece, *last = p + f->pieces; p < last;
             p++) {
            /* whole vectors are written, the last not into the next row */
            int64_t len = p->to - p->from;
            int64_t ld = (p->run1 - p->run0 - 1) * len + ((len + 15) & ~15);
            int64_t rows = 0;
            for (int64_t k = i, n; k < end; k += n) {
                cpu_pixel at;
                cpu_pixels(&at, k, 1, f);
                n = cpu_min(end - k, f->cols - at.w);
                int64_t first = 0, last_in = n;
                if (op->seen)
                    cpu_run_inside(&image, f, &f->run[p->run0], &at, n, &first, &last_in);
                at.w += first;
                for (int64_t r = p->run0; r < p->run1; r++)
                    cpu_lay_run(ker, &image, f, &f->run[r], &at, last_in - first, p->from,
                                p->to, b->edges, b->zeros,
                                b->packed + rows * ld + (r - p->run0) * len, ld);
                if (apart)
                    locate(call, &at, last_in - first, b->c_row + rows);
                rows += last_in - first;
            }
            for (int64_t j = j0; j < j1; j++)
                multiply_rows(call, g, j, b->packed, ld, i, i + rows, p,
                              apart ? b->c_row : NULL, b);
        }
        if (op->seen)
            fill_rows(call, i, end, col, cols, false, true);
        apply_function(call, g, i, end, j0, j1);
    }
}

/* The lines that `rows` rows of outputs see, from h of x on, in zeros, which are there already
 * but where other lines were. */
static void lay_lines(const conv_op *op, const float *x, int64_t h, int64_t rows, float *out)
{
    int64_t row = op->W * op->pixel, all = op->lines * op->line;
    int64_t n = cpu_min(row, op->line - op->margin);
    for (int64_t end = h + (rows - 1) * op->geo.sh + op->geo.R; h < end; h++, out += all)
        if (h < 0 || h >= op->H || n <= 0)
            memset(out, 0, (size_t)all * sizeof(float));
        else
            op->base.backend->kernels->lay_rows(out + op->margin, op->line, x + h * row,
                                                op->H * row, op->lines, n);
}

/* Whole rows of outputs, some at a time. */
static void lines_task(const conv_call *call, int64_t from, int64_t to, int64_t j0, int64_t j1,
                       const block *b)
{
    const conv_op *op = call->op;
    const cpu_geo *geo = &op->geo;
    const cpu_phase *f = call->phase;
    int64_t all = op->lines * op->line;
    memset(b->packed, 0, (size_t)op->lines_floats * sizeof(float));
    for (int64_t i = from / f->cols, rows; i < to / f->cols; i += rows) {
        int64_t n = i / f->rows, h = i % f->rows;
        rows = cpu_min(cpu_min(LINES, to / f->cols - i), f->rows - h);
        lay_lines(op, call->x + n * op->Cx * op->H * op->W, h * geo->sh - geo->ph, rows,
                  b->packed);
        const float *x = b->packed + op->margin - geo->pw * op->pixel;
        for (const piece *p = op->pieces, *last = p + f->pieces; p < last; p++)
            for (int64_t j = j0; j < j1; j++)
                for (int64_t k = 0; k < rows; k++)
                    multiply_rows(call, 0, j, x + (k * geo->sh + p->run0) * all,
                                  geo->sw * op->pixel, (i + k) * f->cols, (i + k + 1) * f->cols,
                                  p, NULL, b);
        apply_function(call, 0, i * f->cols, (i + rows) * f->cols, j0, j1);
    }
}

static void rows_task(void *arg, int64_t task, int32_t worker)
{
    const conv_call *call = arg;
    const conv_op *op = call->op;
    const cpu_phase *f = call->phase;
    int64_t per = f->tasks_m * f->tasks_n, g = task / per, j0, j1, from, to;
    int64_t unit = op->lines ? f->cols : ROW_UNIT;
    block b = block_of(call, worker);
    cpu_split(op->panels, f->tasks_n, task % f->tasks_n, &j0, &j1);
    cpu_split(cpu_ceil(f->count, unit), f->tasks_m, task % per / f->tasks_n, &from, &to);
    from *= unit, to = cpu_min(f->count, to * unit);
    if (call->parts) {
        size_t bytes = (size_t)((j1 - j0) * op->base.backend->kernels->nr) * sizeof(float);
        int64_t col = j0 * op->base.backend->kernels->nr;
        b.part = call->parts + task / f->tasks_n * op->part_floats;
        b.from = from;
        for (int64_t i = 0; i < 3; i++)
            memset(b.part + i * op->Kx + col, 0, bytes);
        if (j0 == 0)
            b.part[3 * op->Kx] = (float)(to - from);
    }
    if (op->geo.ready)
        in_place_task(call, g, from, to, j0, j1, &b);
    else if (op->lines)
        lines_task(call, from, to, j0, j1, &b);
    else
        laid_task(call, g, from, to, j0, j1, &b);
}

/* ---- run --------------------------------------------------------------------------------- */

static dn_status conv_prepare(dn_op *base, const dn_op_io *io)
{
    conv_op *op = (conv_op *)base;
    conv_call call = {.op = op, .w = io->in[1], .packed = io->keep};
    cpu_for(base->backend, op->geo.group * pack_tasks(op), pack_task, &call);
    return DN_OK;
}

static dn_status conv_run(dn_op *base, const dn_op_io *io)
{
    conv_op *op = (conv_op *)base;
    conv_call call = {.op = op,
                      .x = io->in[0],
                      .w = io->in[1],
                      .bias = cpu_in(base, io, 2),
                      .y = io->out[0],
                      .packed = op->keep ? io->keep : io->scratch};
    call.work = (float *)io->scratch + (op->keep ? 0 : op->packed_floats);
    if (op->part_floats)
        call.parts = call.work + base->backend->host.num_threads * op->worker_floats;
    if (!op->keep)
        cpu_for(base->backend, op->geo.group * pack_tasks(op), pack_task, &call);
    for (int64_t i = 0; i < op->phases; i++) {
        call.phase = &op->phase[i];
        if (call.phase->count && !call.phase->pieces)
            fill_rows(&call, 0, call.phase->count, 0, op->Kx, true, true);
        else if (call.phase->count)
            cpu_for(base->backend, op->geo.group * call.phase->tasks_m * call.phase->tasks_n,
                    rows_task, &call);
    }
    if (call.parts)
        cpu_moments(base->backend->kernels, io->out[1], call.parts, op->part_floats,
                    op->phase->tasks_m, op->Kx);
    return DN_OK;
}

/* ---- create ------------------------------------------------------------------------------ */

/* Blocks of rows first: a worker's part of one op's outputs is its part of the next op's
 * inputs, in its own cache. So halves of the rows are halves of the tasks; a block's panels are
 * shared out to have enough of them for cores that are not equally fast. */
static void share_out(const conv_op *op, cpu_phase *f, int64_t work)
{
    int64_t tasks = cpu_max(1, cpu_min(64, work >> 20)), few = op->geo.ready ? 2 : 4;
    int64_t blocks = (cpu_ceil(f->count, IN_PLACE_ROWS) + 1) & ~(int64_t)1;
    if (f->count < 2 * FEW_ROWS)
        blocks = 1;
    if (op->laid)
        few = LAID_COLUMNS / op->base.backend->kernels->nr / (blocks == 1 ? 2 : 1);
    f->tasks_m = cpu_min(blocks, tasks);
    f->tasks_n = cpu_max(1, cpu_min(op->panels / few, tasks / f->tasks_m));
}

/* Pieces of a phase, at `out`, and where its weights go. */
static void plan_pieces(conv_op *op, cpu_phase *f, piece *out)
{
    const cpu_kernels *ker = op->base.backend->kernels;
    int64_t taps = op->taps, before = 0;
    int64_t cuts = cpu_ceil(f->floats, CPU_K_PIECE); /* of a run */
    int64_t groups =
        cuts > 1 || op->seen ? f->runs : cpu_ceil(f->runs, cpu_max(1, CPU_K_PIECE / f->floats));
    for (int64_t i = 0; i < groups * cuts; i++) {
        piece *p = &out[f->pieces++];
        cpu_split(f->runs, groups, i / cuts, &p->run0, &p->run1);
        cpu_split(f->floats, cuts, i % cuts, &p->from, &p->to);
        int64_t len = (p->run1 - p->run0) * (p->to - p->from);
        p->before = before;
        for (int64_t k = 0; k < len; k++) {
            const cpu_taps_run *run = &f->run[p->run0 + k / (p->to - p->from)];
            int64_t in_run = p->from + k % (p->to - p->from);
            int64_t tap = op->planes ? in_run % f->taps : in_run / op->Cg;
            int64_t c = op->planes ? in_run / f->taps : in_run % op->Cg;
            int64_t at = c * taps + run->r * op->geo.S + run->s + tap * f->ds;
            op->at[at] = f->packed_at + (before * op->panels + k) * ker->nr;
            op->next[at] = len * ker->nr;
        }
        before += len;
    }
    share_out(op, f, f->count * op->Kg * before);
}

static bool plan(conv_op *op, bool moments, dn_op_info *info)
{
    const cpu_geo *geo = &op->geo;
    int64_t taps = op->taps, nr = op->base.backend->kernels->nr, packed = 0, pieces = 0;
    op->panels = cpu_ceil(op->Kg, nr);
    op->phases = op->back ? geo->sd * geo->sh * geo->sw : 1;
    op->phase = cpu_op_table(&op->base, (size_t)op->phases, sizeof *op->phase);
    op->at = cpu_op_table(&op->base, (size_t)(taps * op->Cg), sizeof *op->at);
    op->next = cpu_op_table(&op->base, (size_t)(taps * op->Cg), sizeof *op->next);
    op->pieces = cpu_op_table(&op->base, (size_t)(taps * cpu_ceil(op->Cg, CPU_K_PIECE)),
                              sizeof *op->pieces);
    if (!op->phase || !op->at || !op->next || !op->pieces)
        return false;
    for (int64_t i = 0; i < op->phases; i++) {
        cpu_phase *f = &op->phase[i];
        int64_t most = op->Cg < 32 ? CPU_K_PIECE : 0;
        if (!cpu_phase_plan(f, &op->base, geo, op->back, i, op->Cg, most))
            return false;
        f->first_piece = pieces;
        f->packed_at = packed;
        plan_pieces(op, f, op->pieces + pieces);
        pieces += f->pieces;
        packed += f->runs * f->floats * op->panels * nr;
    }
    if (!op->back && !geo->frames && op->phase->taps > 1 && geo->dh == 1) {
        op->lines = op->planes ? geo->C : 1, op->pixel = geo->C / op->lines;
        op->margin = (geo->pw * op->pixel + 15) & ~(int64_t)15;
        op->line =
            op->margin + ((((geo->Q - 1) * geo->sw + geo->S) * op->pixel + 15) & ~(int64_t)15);
        op->lines_floats = ((LINES - 1) * geo->sh + geo->R) * op->lines * op->line;
    }
    op->group_floats = packed;
    op->packed_floats = (geo->group * packed + 15) & ~(int64_t)15;
    op->worker_floats = worker_floats(op);
    int64_t work = op->base.backend->host.num_threads * op->worker_floats;
    info->unread = op->keep ? 2 : 0;
    info->keep = op->keep ? (size_t)op->packed_floats * 4 : 0;
    op->part_floats = moments ? (3 * op->Kx + 16) & ~(int64_t)15 : 0;
    work += op->part_floats * op->phase->tasks_m;
    info->scratch = (size_t)((op->keep ? 0 : op->packed_floats) + work) * 4;
    return true;
}

dn_status cpu_conv_nhwc_create(dn_backend *backend, const dn_op_desc *desc, dn_op **out,
                               dn_op_info *info)
{
    const dn_args_conv *args = desc->args;
    cpu_geo geo;
    bool planes = desc->kind == DN_OP_CONV && desc->inputs[0].layout == DN_LAYOUT_PLAIN;
    if (!cpu_conv_nhwc_geo(&geo, desc, CPU_FUNCTIONS | (planes ? CPU_PLANES : 0), info))
        return DN_DECLINED;
    bool back = desc->kind == DN_OP_CONV_BWD_DATA;
    bool moments = cpu_present(desc->outputs, desc->num_outputs, 1);
    if (back && (geo.sh * geo.sw > 4 || geo.sd > 2))
        return cpu_decline(info, "stride above 2");
    if (cpu_conv_normalises(desc))
        return cpu_decline(info, "x is normalised on the way");
    bool other = args->activation > DN_FN_RELU;
    double seen = other ? 1 : cpu_geo_seen(&geo, back);
    if (moments && (geo.K % CPU_MAX_NR || geo.group > 1 || seen < 1))
        return cpu_decline(info, "moments of panels that are not whole");
    conv_op *op = cpu_op_new(backend, sizeof *op, conv_run, info,
                             geo.ready ? "cpu:rows 1x1" : "cpu:rows");
    if (!op)
        return DN_E_NOMEM;
    op->geo = geo;
    op->back = back, op->planes = planes;
    op->seen = seen < 1;
    if (op->seen)
        info->cost = cpu_cost(backend, desc, "cpu:rows") * seen;
    op->Kx = back ? geo.C : geo.K, op->Kg = back ? geo.Cg : geo.Kg;
    op->Cx = back ? geo.K : geo.C, op->Cg = back ? geo.Kg : geo.Cg;
    op->D = back ? geo.T : geo.D, op->T = back ? geo.D : geo.T;
    op->H = back ? geo.P : geo.H, op->W = back ? geo.Q : geo.W;
    op->P = back ? geo.H : geo.P, op->Q = back ? geo.W : geo.Q;
    op->taps = geo.E * geo.R * geo.S;
    op->laid = geo.ready && backend->kernels->vl == 8 && op->Cx % APART == 0;
    op->keep = desc->constant & 2;
    if (op->keep)
        op->base.prepare = conv_prepare;
    op->end = (cpu_end){.alpha = 1,
                        .slope = (float)args->activation_a,
                        .add = args->base.accumulate & 1,
                        .relu = args->activation == DN_FN_RELU};
    op->end.ceiling = args->activation == DN_FN_RELU_TO;
    if (other && !op->end.ceiling)
        op->f = (cpu_unary){args->activation, op->end.slope, 0, 0};
    if (!plan(op, moments, info)) {
        cpu_op_free(&op->base);
        return DN_E_NOMEM;
    }
    if (planes && (!op->lines || args->spatial > 2)) {
        cpu_op_free(&op->base);
        return cpu_decline(info, "planes of many channels or frames, or single taps");
    }
    *out = &op->base;
    return DN_OK;
}
