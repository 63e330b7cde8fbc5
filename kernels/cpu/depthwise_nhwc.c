/* SPDX-License-Identifier: BSD-2-Clause
 * depthwise_nhwc.c: convolution with one channel a group in NHWC, in its three directions. The
 * channels are the vectors; the image is read as it lies. Kernels of 3x3 walk along some rows
 * at once, backward for both gradients where both are wanted; others, and channels beyond whole
 * vectors, take runs of columns that see the same taps. A task is a band of rows. */
#include "conv.h"
#include "taps.h"

#include <string.h>

/* WHOLE: what walks, of AVX-512 a vector and of AVX2 two, so that both give the same bits. */
enum { GRAD_TASKS = 16, WHOLE = 16 };

typedef struct dwc_op {
    dn_op base;
    cpu_axis rows, cols; /* of the outputs: of dx, backward to the data */
    int64_t N, C, in_image, in_row, out_image, out_row, taps, S;
    int64_t see_row, see_rows;              /* a walk sees x, or backward dy, */
    int64_t walk_row, walk_rows, walk_cols; /* and goes along y, or dx and x */
    int64_t walked;                         /* so many channels */
    int64_t unit, per, units; /* rows taken at once at most; such pieces of an image, of all */
    int64_t stride, pad_h;    /* of 3x3; stride 0: no such kernel. pad_h: rows of zeros above */
    int64_t pad_w, lanes;     /* lanes: of what goes by tiles, or 0 */
    int64_t tasks;            /* bands of units */
    int64_t worker_floats;    /* the list of taps */
    int64_t parts;            /* floats of: the bands' sums, then w */
    int64_t part_floats;      /* weights: sums of one band: as (taps, C), two of dx, or records
                                 of tiles; two of dy; forward: what cpu_moments takes, or 0 */
    int64_t db_at;            /* those of dy */
    int64_t zeros;
    bool weights, back, add_dw, add_db, keep;
    bool normalises; /* x, on the way */
    bool pairs;      /* of rows; the last may be one */
    float x_slope;
    cpu_end end;
    cpu_unary f; /* applied to y as long as it is in a cache */
} dwc_op;

typedef struct dwc_call {
    const dwc_op *op;
    const float *x, *w, *bias, *zeros; /* weights: w is dy; zeros: a pixel */
    const float *mean, *beta;
    float *y, *db, *parts, *a;
    float *dx, *sums;  /* weights: or NULL */
    const float *w_in; /* laid out as the walk reads it */
    int64_t *lists;
} dwc_call;

/* The taps that row p, columns of `span` see: where in the image, and where in w (taps, C). */
static int64_t list_taps(const dwc_op *op, int64_t p, const cpu_span *span, int64_t *x_at,
                         int64_t *w_at)
{
    const int64_t *row = op->rows.in + p * op->rows.taps;
    int64_t count = 0;
    for (int64_t r = 0; r < op->rows.taps; r++)
        for (int64_t i = 0; row[r] >= 0 && i < span->taps; i++) {
            x_at[count] = row[r] * op->in_row + span->in[i] * op->C;
            w_at[count++] = (r * op->S + span->tap[i]) * op->C;
        }
    return count;
}

/* Rows [p, p + count) of what is walked along, and the rows of `image` that they see. */
static cpu_walk walk_of(const dwc_call *call, const float *image, int64_t p, int64_t count)
{
    const dwc_op *op = call->op;
    bool back = op->back || op->weights, halves = back && op->stride == 2;
    int64_t stride = back ? 1 : op->stride;
    int64_t first = halves ? p / 2 : p * stride - op->pad_h;
    int64_t rows = halves ? 2 : (op->unit - 1) * stride + 3;
    int64_t seen = halves ? 2 : (count - 1) * stride + 3, limit = op->see_rows;
    cpu_walk k = {.base = image,
                  .next = (first + seen) * op->see_row,
                  .ins = op->see_row / op->C,
                  .outs = op->walk_cols,
                  .pad = op->pad_w,
                  .stride = op->stride,
                  .rows = count,
                  .out_row = op->walk_row,
                  .C = op->C,
                  .count = op->walked,
                  .back = back,
                  .tiles = op->lanes > 0,
                  .slope = op->x_slope};
    if (op->normalises)
        k.mean = call->mean, k.a = call->a, k.b = call->beta;
    for (int64_t r = 0; r < CPU_DW_ROWS + 2; r++) {
        bool inside = r < rows && first + r >= 0 && first + r < limit;
        k.row[r] = inside ? image + (first + r) * op->see_row : call->zeros;
        k.step[r] = inside ? op->C : 0;
    }
    return k;
}

/* Row p of image n, channels from c on. */
static void columns(const dwc_call *call, int64_t n, int64_t p, int64_t c, int64_t *list)
{
    const dwc_op *op = call->op;
    for (int64_t s = 0; s < op->cols.spans && c < op->C; s++) {
        const cpu_span *span = &op->cols.span[s];
        cpu_dw dw = {list,
                     list + op->taps,
                     list_taps(op, p, span, list, list + op->taps),
                     op->cols.move * op->C,
                     op->cols.step * op->C,
                     span->count,
                     op->C - c};
        op->base.backend->kernels->dw_cols(
            &dw, call->y + n * op->out_image + p * op->out_row + span->first * op->C + c,
            call->x + n * op->in_image + c, call->w + c, call->bias ? call->bias + c : NULL,
            &op->end);
    }
}

static int64_t first_row(const dwc_op *op, int64_t piece)
{
    return op->pairs ? cpu_min(2 * piece, op->walk_rows) : op->walk_rows * piece / op->per;
}

static void band_task(void *arg, int64_t task, int32_t worker)
{
    const dwc_call *call = arg;
    const dwc_op *op = call->op;
    const cpu_kernels *ker = op->base.backend->kernels;
    int64_t from, to, *list = call->lists + worker * op->worker_floats;
    float *part = call->parts + task * op->part_floats;
    cpu_split(op->units, op->tasks, task, &from, &to);
    for (int64_t i = from; i < to; i++) {
        int64_t n = i / op->per, p = first_row(op, i % op->per);
        int64_t end = first_row(op, i % op->per + 1);
        cpu_walk k = walk_of(call, call->x + n * op->in_image, p, end - p);
        if (op->part_floats) {
            k.part = part, k.first = i == from;
            part[3 * op->C] =
                (float)(end - p) * (float)op->cols.outs + (k.first ? 0 : part[3 * op->C]);
        }
        float *y = call->y + n * op->out_image + p * op->out_row;
        if (k.count)
            ker->dw_walk(&k, y, call->w, op->lanes && !call->bias ? call->zeros : call->bias,
                         &op->end);
        for (int64_t r = p; r < end; r++)
            columns(call, n, r, k.count, list);
        if (op->f.fn)
            ker->unary(&op->f, y, y, false, (end - p) * op->out_row);
    }
}

static void columns_grad(const dwc_call *call, int64_t n, int64_t p, int64_t c, float *part,
                         int64_t *list)
{
    const dwc_op *op = call->op;
    for (int64_t s = 0; s < op->cols.spans && c < op->C; s++) {
        const cpu_span *span = &op->cols.span[s];
        cpu_dw dw = {list,
                     list + op->taps,
                     list_taps(op, p, span, list, list + op->taps),
                     op->cols.move * op->C,
                     op->C,
                     span->count,
                     op->C - c};
        op->base.backend->kernels->dw_cols_grad(&dw, part + c, call->x + n * op->in_image + c,
                                                call->w + n * op->out_image + p * op->out_row +
                                                    span->first * op->C + c);
    }
}

/* A band's sum of tap t, or from op->taps on of dx. */
static float sum_of(const dwc_op *op, const float *part, int64_t t, int64_t c)
{
    int64_t lanes = op->lanes;
    return lanes ? part[(c / lanes * CPU_DW_RECORD + 9 + t) * lanes + c % lanes]
                 : part[t * op->C + c];
}

/* What tiles read beside the sums, which are zeros. */
static void begin_records(const dwc_call *call, float *part)
{
    int64_t lanes = call->op->lanes, own = call->op->normalises;
    size_t bytes = (size_t)lanes * sizeof(float);
    for (int64_t c = 0; c < call->op->C; c += lanes, part += CPU_DW_RECORD * lanes) {
        memcpy(part, call->w_in + c * 9, 9 * bytes);
        for (int64_t i = 0; i < lanes; i++) {
            float *as = part + 20 * lanes + i;
            as[0] = own ? call->mean[c + i] : 0;
            as[lanes] = own ? call->a[c + i] : 1;
            as[2 * lanes] = own ? call->beta[c + i] : 0;
        }
    }
}

static void grad_task(void *arg, int64_t task, int32_t worker)
{
    const dwc_call *call = arg;
    const dwc_op *op = call->op;
    const cpu_kernels *ker = op->base.backend->kernels;
    const cpu_norm plain = {.mean = call->zeros, .rows = true};
    int64_t from, to, *list = call->lists + worker * op->worker_floats;
    float *part = call->parts + task * op->part_floats, *db = part + op->db_at;
    cpu_split(op->units, op->tasks, task, &from, &to);
    memset(part, 0, (size_t)op->part_floats * sizeof(float));
    if (op->lanes)
        begin_records(call, part);
    for (int64_t i = from; i < to; i++) {
        int64_t n = i / op->per, piece = i % op->per, p = first_row(op, piece);
        int64_t at = n * op->in_image + p * op->in_row;
        const float *dy = call->w + n * op->out_image;
        cpu_walk k = walk_of(call, dy, p, first_row(op, piece + 1) - p);
        if (k.count)
            ker->dw_walk_grad(&k, part, call->w_in, call->x + at,
                              call->dx ? call->dx + at : NULL);
        int64_t q = op->rows.outs * piece / op->per,
                end = op->rows.outs * (piece + 1) / op->per;
        if (call->db) /* the other sum, of squares, is not wanted */
            ker->norm_sums(&plain, NULL, dy + q * op->out_row, NULL, (end - q) * op->cols.outs,
                           op->C, db, db + op->C);
        for (; q < end; q++)
            columns_grad(call, n, q, k.count, part, list);
    }
}

/* w: (C, taps) and back: one is the other's transpose. Of tiles by vectors, the last of which
 * ends with C, and turned as the walk needs it. */
static void weights_in(const dwc_op *op, float *out, const float *w)
{
    for (int64_t v = 0; op->lanes && v < op->C; v += op->lanes)
        for (int64_t t = 0; t < op->taps; t++)
            for (int64_t l = 0; l < op->lanes; l++) {
                int64_t c = cpu_min(v, op->C - op->lanes) + l;
                *out++ = w[c * op->taps + (op->back ? op->taps - 1 - t : t)];
            }
    if (op->lanes)
        return;
    for (int64_t t = 0; t < op->taps; t++)
        for (int64_t c = 0; c < op->C; c++)
            out[t * op->C + c] = w[c * op->taps + t];
}

static void weights_out(const dwc_call *call)
{
    const dwc_op *op = call->op;
    float *sum = call->parts;
    for (int64_t i = 1; i < op->tasks; i++)
        op->base.backend->kernels->axpby(sum, sum + i * op->part_floats, 1, true,
                                         op->db_at + op->C);
    for (int64_t c = 0; c < op->C; c++) {
        for (int64_t t = 0; t < op->taps; t++) {
            float *dw = call->y + c * op->taps + t, of = sum_of(op, sum, t, c);
            *dw = op->add_dw ? *dw + of : of;
        }
        for (int64_t t = 0; call->sums && t < 2; t++)
            call->sums[t * op->C + c] = sum_of(op, sum, op->taps + t, c);
    }
    if (call->db)
        op->base.backend->kernels->axpby(call->db, sum + op->db_at, 1, op->add_db, op->C);
}

static dn_status dwc_prepare(dn_op *base, const dn_op_io *io)
{
    dwc_op *op = (dwc_op *)base;
    weights_in(op, io->keep, io->in[1]);
    return DN_OK;
}

static dn_status dwc_run(dn_op *base, const dn_op_io *io)
{
    dwc_op *op = (dwc_op *)base;
    float *zeros = (float *)io->scratch + op->parts;
    int32_t first = op->weights ? 2 : 3; /* of what says how x is normalised */
    dwc_call call = {.op = op,
                     .x = io->in[0],
                     .w = io->in[1],
                     .zeros = zeros,
                     .y = io->out[0],
                     .parts = io->scratch,
                     .a = zeros + op->zeros};
    call.lists = (int64_t *)(call.a + op->zeros);
    for (int64_t c = 0; op->normalises && c < op->C; c++)
        call.a[c] = ((float *)io->in[first + 2])[c] * ((float *)io->in[first + 1])[c];
    call.mean = cpu_in(base, io, first);
    call.beta = cpu_in(base, io, first + 3);
    memset(zeros, 0, (size_t)op->zeros * sizeof(float));
    if (op->weights) {
        call.db = cpu_out(base, io, 1);
        call.dx = cpu_out(base, io, 2);
        call.sums = cpu_out(base, io, 3);
        call.w_in = call.parts + op->tasks * op->part_floats;
        if (call.dx)
            weights_in(op, call.parts + op->tasks * op->part_floats, io->in[6]);
        cpu_for(base->backend, op->tasks, grad_task, &call);
        weights_out(&call);
        return DN_OK;
    }
    call.bias = cpu_in(base, io, 2);
    call.w = op->keep ? io->keep : call.parts + op->tasks * op->part_floats;
    if (!op->keep)
        weights_in(op, call.parts + op->tasks * op->part_floats, io->in[1]);
    cpu_for(base->backend, op->tasks, band_task, &call);
    if (op->part_floats)
        cpu_moments(base->backend->kernels, io->out[1], call.parts, op->part_floats, op->tasks,
                    op->C);
    return DN_OK;
}

/* Whether the kernels of 3x3 take it. */
static bool walks(const dn_backend *backend, const cpu_geo *geo)
{
    bool one = geo->sh == 1 && geo->sw == 1 && geo->pw <= 2;
    bool two = geo->sh == 2 && geo->sw == 2 && geo->ph == 1 && geo->pw == 1;
    return backend->kernels->dw_rows > 0 && geo->R == 3 && geo->S == 3 && geo->dh == 1 &&
           geo->dw == 1 && (one || two);
}

static void plan_walk(dwc_op *op, const cpu_geo *geo)
{
    int64_t rows = op->base.backend->kernels->dw_rows;
    op->unit = 1;
    if (!walks(op->base.backend, geo))
        return;
    op->stride = geo->sh;
    bool back = op->back || op->weights;
    op->pad_h = back ? 2 - geo->ph : geo->ph;
    op->pad_w = back ? 2 - geo->pw : geo->pw;
    op->unit = op->weights ? CPU_DW_BACK : geo->sh == 1 ? rows : back ? 2 : cpu_ceil(rows, 2);
}

/* Of 3x3. An op that adds to y or to sums does no channel twice; `both` gradients have whole
 * vectors. */
static void plan_channels(dwc_op *op, const cpu_geo *geo, bool moments, bool both)
{
    int64_t vl = op->base.backend->kernels->vl, cols = op->back ? geo->W : geo->Q;
    bool once = op->weights || op->end.add || geo->C < WHOLE, back = op->back || op->weights;
    bool slope = !op->end.relu || (op->end.slope >= 0 && op->end.slope <= 1);
    op->pairs = back && op->stride == 2;
    if (op->stride)
        op->walked = once ? geo->C - geo->C % WHOLE : geo->C;
    /* images in halves (plan) are not all pairs of rows */
    if (both && vl == 8 && op->stride == 1 && geo->ph == 1 && geo->pw == 1 &&
        geo->H % 2 + geo->W % 2 == 0 && !(geo->N & geo->H / 2 & 1))
        op->lanes = vl;
    if (op->stride == 0 || once || moments || op->normalises || op->pairs || !slope ||
        vl != 8 || op->pad_w != 1 || cols < 2 || (op->stride == 2 && geo->W % 2))
        return;
    op->lanes = vl, op->unit = 2, op->pairs = true;
}

static bool plan(dwc_op *op, const cpu_geo *geo, bool moments, bool both, dn_op_info *info)
{
    bool back = op->back;
    if (!cpu_axis_plan(&op->rows, &op->base, geo->H, geo->P, geo->R, geo->sh, geo->ph, geo->dh,
                       back) ||
        !cpu_axis_plan(&op->cols, &op->base, geo->W, geo->Q, geo->S, geo->sw, geo->pw, geo->dw,
                       back))
        return false;
    op->N = geo->N, op->C = geo->C, op->S = geo->S, op->taps = geo->R * geo->S;
    op->in_row = (back ? geo->Q : geo->W) * geo->C;
    op->in_image = (back ? geo->P : geo->H) * op->in_row;
    op->out_row = op->cols.outs * geo->C;
    op->out_image = op->rows.outs * op->out_row;
    plan_walk(op, geo);
    plan_channels(op, geo, moments, both);
    op->zeros = (geo->C * (op->lanes ? 5 : 1) + 15) & ~(int64_t)15;
    bool dy = back || (op->weights && op->stride); /* is what is seen */
    op->see_row = (dy ? geo->Q : geo->W) * geo->C, op->see_rows = dy ? geo->P : geo->H;
    op->walk_cols = dy ? geo->W : geo->Q, op->walk_rows = dy ? geo->H : geo->P;
    op->walk_row = op->walk_cols * geo->C;
    op->per = cpu_ceil(op->walk_rows, op->unit);
    if (op->unit > 1 && op->per > 1 && !op->pairs) /* an image's halves are tasks */
        op->per += op->N & op->per & 1;
    op->units = op->N * op->per;
    int64_t most = op->weights ? GRAD_TASKS : 64;
    int64_t work = op->N * op->out_image * op->taps;
    op->tasks = cpu_max(1, cpu_min(cpu_min(most, op->units), (work >> 17) * 2));
    op->worker_floats = 2 * op->taps + 8; /* of 8 bytes */
    op->db_at = (op->lanes ? CPU_DW_RECORD : op->taps + 2) * op->C;
    int64_t sums = op->weights ? op->db_at + 2 * op->C : moments ? 3 * op->C + 1 : 0;
    op->part_floats = (sums + 15) & ~(int64_t)15;
    int64_t w = op->taps * ((op->C + 15) & ~(int64_t)15);
    op->parts = op->tasks * op->part_floats + w;
    int64_t lists = op->base.backend->host.num_threads * op->worker_floats * 8;
    if (op->keep)
        info->keep = (size_t)w * 4, info->unread = 2;
    info->scratch = (size_t)((op->parts + 2 * op->zeros) * 4 + lists);
    return true;
}

dn_status cpu_depthwise_nhwc_create(dn_backend *backend, const dn_op_desc *desc, dn_op **out,
                                    dn_op_info *info)
{
    const dn_args_conv *args = desc->args;
    cpu_geo geo;
    if (!cpu_conv_nhwc_geo(&geo, desc, CPU_FUNCTIONS, info))
        return DN_DECLINED;
    bool weights = desc->kind == DN_OP_CONV_BWD_WEIGHTS;
    if (geo.Cg != 1 || geo.Kg != 1 || geo.frames)
        return cpu_decline(info, "not depthwise");
    if (cpu_present(desc->inputs, desc->num_inputs, 7))
        return cpu_decline(info, "dy has a mask");
    if (cpu_conv_more(desc) && (!walks(backend, &geo) || geo.C % WHOLE))
        return cpu_decline(info, "more than one thing only for 3x3 of whole vectors");
    dwc_op *op =
        cpu_op_new(backend, sizeof *op, dwc_run, info,
                   walks(backend, &geo) ? "cpu:depthwise nhwc 3x3" : "cpu:depthwise nhwc");
    if (!op)
        return DN_E_NOMEM;
    op->weights = weights;
    op->normalises = cpu_conv_normalises(desc);
    op->x_slope = op->normalises && args->x_activation == DN_FN_RELU ? 0 : 1;
    op->add_dw = args->base.accumulate & 1;
    op->add_db = args->base.accumulate & 2;
    op->keep = !op->weights && desc->constant & 2;
    if (op->keep)
        op->base.prepare = dwc_prepare;
    op->end = (cpu_end){.alpha = 1,
                        .slope = (float)args->activation_a,
                        .add = args->base.accumulate & 1,
                        .relu = args->activation == DN_FN_RELU};
    if (args->activation > DN_FN_RELU)
        op->f = (cpu_unary){args->activation, op->end.slope, 0, 0};
    op->back = desc->kind == DN_OP_CONV_BWD_DATA;
    bool moments = !weights && cpu_present(desc->outputs, desc->num_outputs, 1);
    bool both = weights && cpu_present(desc->outputs, desc->num_outputs, 2);
    if (!plan(op, &geo, moments, both, info)) {
        cpu_op_free(&op->base);
        return DN_E_NOMEM;
    }
    op->end.ceiling = op->lanes && op->f.fn == DN_FN_RELU_TO;
    if (op->end.ceiling)
        op->f.fn = DN_FN_NONE;
    *out = &op->base;
    return DN_OK;
}
