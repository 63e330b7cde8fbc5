/* SPDX-License-Identifier: BSD-2-Clause
 * lrn.c: LRN and LRN_BWD. Across channels and within a channel differ only in which elements
 * are neighbours; neighbourhoods are symmetric, so the backward sums over the same ones. */
#include "ref.h"

typedef struct neighbours { /* index runs over [begin, end) of two axes, in elements of x */
    int64_t begin[2], end[2], step[2], base;
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

/* Of element i of x. */
static neighbours neighbours_of(const dn_op *op, int64_t i)
{
    const dn_shape *x = &op->in[0].info.shape;
    int64_t half = op->args.lrn.size / 2, inner = 1;
    if (op->args.lrn.region == DN_LRN_WITHIN) {
        int64_t H = x->dim[2], W = x->dim[3], h = i / W % H, w = i % W;
        return (neighbours){{clamp(h - half, H), clamp(w - half, W)},
                            {clamp(h + half + 1, H), clamp(w + half + 1, W)},
                            {W, 1},
                            i - h * W - w};
    }
    for (int32_t d = 2; d < x->axes; d++)
        inner *= x->dim[d];
    int64_t C = x->dim[1], c = i / inner % C;
    return (neighbours){
        {clamp(c - half, C), 0}, {clamp(c + half + 1, C), 1}, {inner, 0}, i - c * inner};
}

/* How much a neighbour's square weighs in scale. */
static double weight_of(const dn_args_lrn *a)
{
    return a->alpha / a->size / (a->region == DN_LRN_WITHIN ? a->size : 1);
}

static dn_status check_lrn(dn_op *op)
{
    REF_TRY(check_lrn_args(op));
    REF_TRY(ref_need_out(op, 0, op->in[0].count));
    return ref_need_out(op, 1, op->in[0].count);
}

static dn_status run_lrn(const dn_op *op, const dn_op_io *io)
{
    const dn_args_lrn *a = &op->args.lrn;
    const real *x = io->in[0];
    real *y = io->out[0], *scale = io->out[1];
    double k = a->region == DN_LRN_WITHIN ? 1 : a->k;
    for (int64_t i = 0; i < op->in[0].count; i++) {
        neighbours n = neighbours_of(op, i);
        double sum = 0;
        for (int64_t u = n.begin[0]; u < n.end[0]; u++)
            for (int64_t v = n.begin[1]; v < n.end[1]; v++) {
                double near = x[n.base + u * n.step[0] + v * n.step[1]];
                sum += near * near;
            }
        scale[i] = (real)(k + weight_of(a) * sum);
        put(&y[i], ref_adds(op, 0), x[i] * pow((double)scale[i], -a->beta));
    }
    return DN_OK;
}

const ref_kind REF(ref_lrn) = {"LRN", "T:TT", sizeof(dn_args_lrn), 1, check_lrn, run_lrn};

static dn_status check_lrn_bwd(dn_op *op)
{
    REF_TRY(check_lrn_args(op));
    for (int32_t i = 1; i < 4; i++)
        REF_TRY(ref_need_in(op, i, op->in[0].count));
    return ref_need_out(op, 0, op->in[0].count);
}

static dn_status run_lrn_bwd(const dn_op *op, const dn_op_io *io)
{
    const dn_args_lrn *a = &op->args.lrn;
    const real *x = io->in[0], *y = io->in[1], *scale = io->in[2], *dy = io->in[3];
    real *dx = io->out[0];
    for (int64_t i = 0; i < op->in[0].count; i++) {
        neighbours n = neighbours_of(op, i);
        double sum = 0;
        for (int64_t u = n.begin[0]; u < n.end[0]; u++)
            for (int64_t v = n.begin[1]; v < n.end[1]; v++) {
                int64_t j = n.base + u * n.step[0] + v * n.step[1];
                sum += (double)dy[j] * y[j] / scale[j];
            }
        put(&dx[i], ref_adds(op, 0),
            dy[i] * pow((double)scale[i], -a->beta) - 2 * a->beta * weight_of(a) * x[i] * sum);
    }
    return DN_OK;
}

const ref_kind REF(ref_lrn_bwd) = {"LRN_BWD", "TTTT:T",      sizeof(dn_args_lrn),
                                   1,         check_lrn_bwd, run_lrn_bwd};
