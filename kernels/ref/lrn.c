/* SPDX-License-Identifier: BSD-2-Clause
 * lrn.c: LRN and LRN_BWD. Across channels and within a channel differ only in which elements
 * are neighbours; neighbourhoods are symmetric, so the backward sums over the same ones. */
#include "ref.h"

typedef struct neighbours { /* of one element: channels and positions [begin, end) */
    int64_t c[2], h[2], w[2], W;
} neighbours;

static dn_status check_lrn_args(const dn_op *op)
{
    const dn_args_lrn *a = &op->args.lrn;
    int32_t axes = op->in[0].info.shape.axes;
    if (a->region != DN_LRN_ACROSS && a->region != DN_LRN_WITHIN)
        return ref_fail(op, DN_E_INVALID, "there is no region %d", (int)a->region);
    if (a->size < 1 || a->size % 2 == 0)
        return ref_fail(op, DN_E_INVALID, "the size must be odd, not %d", (int)a->size);
    if (axes < 2 || (a->region == DN_LRN_WITHIN && axes != 4))
        return ref_fail(op, DN_E_SHAPE, "x has %d axes", (int)axes);
    return DN_OK;
}

static int64_t clamp(int64_t i, int64_t limit)
{
    return i < 0 ? 0 : i > limit ? limit : i;
}

/* Of element (., c, i). */
static neighbours neighbours_of(const dn_op *op, int64_t c, int64_t i)
{
    const dn_shape *x = &op->in[0].info.shape;
    int64_t half = op->args.lrn.size / 2;
    if (op->args.lrn.region == DN_LRN_ACROSS)
        return (neighbours){{clamp(c - half, x->dim[1]), clamp(c + half + 1, x->dim[1])},
                            {0, 1},
                            {i, i + 1},
                            0};
    int64_t H = x->dim[2], W = x->dim[3], h = i / W, w = i % W;
    return (neighbours){{c, c + 1},
                        {clamp(h - half, H), clamp(h + half + 1, H)},
                        {clamp(w - half, W), clamp(w + half + 1, W)},
                        W};
}

/* An image seen from one item of the batch: at(v, c, i). */
typedef struct view {
    double *data;
    ref_image step;
} view;

static view view_of(const dn_op *op, const ref_operand *operand, void *data, int64_t n)
{
    ref_image step = ref_image_of(&op->in[0].info.shape, operand->info.layout);
    return (view){(double *)data + n * step.n, step};
}

static double *at(const view *v, int64_t c, int64_t i)
{
    return &v->data[c * v->step.c + i * v->step.i];
}

static int64_t plane_of(const dn_shape *x)
{
    int64_t I = 1;
    for (int32_t d = 2; d < x->axes; d++)
        I *= x->dim[d];
    return I;
}

/* How much a neighbour's square weighs in scale. */
static double weight_of(const dn_args_lrn *a)
{
    return a->alpha / a->size / (a->region == DN_LRN_WITHIN ? a->size : 1);
}

static dn_status check_lrn(dn_op *op)
{
    REF_TRY(check_lrn_args(op));
    return REF_NEED(op, REF_ANY, op->in[0].count, op->in[0].count);
}

static void lrn_item(const dn_op *op, const view *x, const view *y, const view *scale)
{
    const dn_args_lrn *a = &op->args.lrn;
    int64_t C = op->in[0].info.shape.dim[1], I = plane_of(&op->in[0].info.shape);
    double k = a->region == DN_LRN_WITHIN ? 1 : a->k;
    for (int64_t c = 0; c < C; c++)
        for (int64_t i = 0; i < I; i++) {
            neighbours n = neighbours_of(op, c, i);
            double sum = 0;
            for (int64_t e = n.c[0]; e < n.c[1]; e++)
                for (int64_t h = n.h[0]; h < n.h[1]; h++)
                    for (int64_t w = n.w[0]; w < n.w[1]; w++) {
                        double near = *at(x, e, h * n.W + w);
                        sum += near * near;
                    }
            double s = k + weight_of(a) * sum;
            *at(scale, c, i) = s;
            put(at(y, c, i), ref_adds(op, 0), *at(x, c, i) * pow(s, -a->beta));
        }
}

dn_status ref_run_lrn_f64(const dn_op *op, const dn_op_io *io)
{
    for (int64_t n = 0; n < op->in[0].info.shape.dim[0]; n++) {
        view x = view_of(op, &op->in[0], io->in[0], n);
        view y = view_of(op, &op->out[0], io->out[0], n);
        view scale = view_of(op, &op->out[1], io->out[1], n);
        lrn_item(op, &x, &y, &scale);
    }
    return DN_OK;
}

const ref_kind ref_lrn = {"LRN", "X:XX", sizeof(dn_args_lrn), 1, check_lrn, REF_WIDE(lrn)};

static dn_status check_lrn_bwd(dn_op *op)
{
    REF_TRY(check_lrn_args(op));
    int64_t count = op->in[0].count;
    return REF_NEED(op, REF_ANY, count, count, count, count);
}

/* v: x, y, scale, dy */
static void lrn_bwd_item(const dn_op *op, const view v[4], const view *dx)
{
    const dn_args_lrn *a = &op->args.lrn;
    int64_t C = op->in[0].info.shape.dim[1], I = plane_of(&op->in[0].info.shape);
    for (int64_t c = 0; c < C; c++)
        for (int64_t i = 0; i < I; i++) {
            neighbours n = neighbours_of(op, c, i);
            double sum = 0;
            for (int64_t e = n.c[0]; e < n.c[1]; e++)
                for (int64_t h = n.h[0]; h < n.h[1]; h++)
                    for (int64_t w = n.w[0]; w < n.w[1]; w++) {
                        int64_t j = h * n.W + w;
                        sum += *at(&v[3], e, j) * *at(&v[1], e, j) / *at(&v[2], e, j);
                    }
            put(at(dx, c, i), ref_adds(op, 0),
                *at(&v[3], c, i) * pow(*at(&v[2], c, i), -a->beta) -
                    2 * a->beta * weight_of(a) * *at(&v[0], c, i) * sum);
        }
}

dn_status ref_run_lrn_bwd_f64(const dn_op *op, const dn_op_io *io)
{
    for (int64_t n = 0; n < op->in[0].info.shape.dim[0]; n++) {
        view v[4], dx = view_of(op, &op->out[0], io->out[0], n);
        for (int32_t k = 0; k < 4; k++)
            v[k] = view_of(op, &op->in[k], io->in[k], n);
        lrn_bwd_item(op, v, &dx);
    }
    return DN_OK;
}

const ref_kind ref_lrn_bwd = {"LRN_BWD", "XXXX:X",      sizeof(dn_args_lrn),
                              1,         check_lrn_bwd, REF_WIDE(lrn_bwd)};
