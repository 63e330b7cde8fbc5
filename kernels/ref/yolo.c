/* SPDX-License-Identifier: BSD-2-Clause
 * yolo.c: YOLO_LOSS: true boxes are placed first, then each box says its own loss. Labels come
 * as data: each is checked before anything is written. Compiled once, for float and double. */
#include "../label.h"
#include "ref.h"

#include "../yolo.h"

static dn_status check_args(const dn_op *op)
{
    const dn_args_yolo_loss *a = &op->args.yolo_loss;
    bool sane = a->classes > 0 && a->anchors > 0 && a->anchors <= DN_MAX_ANCHORS &&
                a->all > 0 && a->all <= DN_MAX_ANCHORS;
    for (int32_t k = 0; sane && k < a->anchors; k++)
        sane = a->mask[k] >= 0 && a->mask[k] < a->all;
    if (!sane || (!(a->flags & DN_YOLO_BY_SHAPE) && a->all > a->anchors))
        return ref_fail(op, DN_E_INVALID, "%d anchors of %d for %d classes", (int)a->anchors,
                        (int)a->all, (int)a->classes);
    if (a->warm > 0 && !ref_has_in(op, 2))
        return ref_fail(op, DN_E_INVALID, "the first %lld images need the state",
                        (long long)a->warm);
    return DN_OK;
}

static dn_status check_yolo_loss(dn_op *op)
{
    const dn_args_yolo_loss *a = &op->args.yolo_loss;
    const dn_shape *x = &op->in[0].info.shape;
    REF_TRY(check_args(op));
    if (x->axes != 4 || x->dim[0] < 1 || x->dim[2] < 1 || x->dim[3] < 1 ||
        x->dim[1] != (int64_t)a->anchors * (5 + a->classes) || op->in[0].count > INT32_MAX ||
        op->in[1].count % (5 * x->dim[0]))
        return ref_fail(op, DN_E_SHAPE, "map and true boxes do not go together, %d anchors",
                        (int)a->anchors);
    op->scratch = (size_t)op->in[1].count / 5 * sizeof(int32_t);
    return REF_NEED(op, REF_ANY, REF_ANY, 2, 1, op->in[0].count);
}

static bool is_wide(const dn_op *op)
{
    return op->in[0].info.dtype == DN_F64;
}

/* Element i of an operand. */
static void *element(const dn_op *op, void *values, int64_t i)
{
    return (char *)values + i * (int64_t)(is_wide(op) ? sizeof(double) : sizeof(float));
}

static yolo_image image_of(const dn_op *op, const dn_op_io *io, int64_t n)
{
    const dn_args_yolo_loss *a = &op->args.yolo_loss;
    const dn_shape *x = &op->in[0].info.shape;
    const int64_t *state = ref_in(op, io, 2);
    int64_t N = x->dim[0], T = op->in[1].count / 5 / N;
    return (yolo_image){.a = a,
                        .x = element(op, io->in[0], n * (op->in[0].count / N)),
                        .truths = element(op, io->in[1], n * T * 5),
                        .place = (const int32_t *)io->scratch + n * T,
                        .H = x->dim[2],
                        .W = x->dim[3],
                        .T = T,
                        .N = (double)N,
                        .warm = a->warm > 0 && state[1] < (a->warm + N - 1) / N,
                        .wide = is_wide(op)};
}

static dn_status place_truths(const dn_op *op, const dn_op_io *io)
{
    for (int64_t n = 0; n < op->in[0].info.shape.dim[0]; n++) {
        yolo_image m = image_of(op, io, n);
        int32_t *place = (int32_t *)io->scratch + n * m.T;
        for (int64_t i = 0; i < m.T; i++) {
            place[i] = YOLO_END;
            if (yolo_is_end(&m, i))
                break;
            if (!yolo_is_class(&m, i))
                return truth_fail(op->host, n * m.T + i, op->args.yolo_loss.classes);
            place[i] = yolo_place(&m, i);
        }
    }
    return DN_OK;
}

static dn_status run_yolo_loss(const dn_op *op, const dn_op_io *io)
{
    int64_t N = op->in[0].info.shape.dim[0], image = op->in[0].count / N;
    void *dx = ref_out(op, io, 1);
    double sum = 0;
    REF_TRY(place_truths(op, io));
    for (int64_t n = 0; n < N; n++) {
        yolo_image m = image_of(op, io, n);
        for (int64_t i = 0; i < op->args.yolo_loss.anchors * m.H * m.W; i++)
            sum += yolo_of_box(&m, i, dx ? element(op, dx, n * image) : NULL);
    }
    if (is_wide(op))
        *(double *)io->out[0] = sum / (double)N;
    else
        *(float *)io->out[0] = (float)(sum / (double)N);
    return DN_OK;
}

const ref_kind ref_yolo_loss = {"YOLO_LOSS", "TTs:Tt",        sizeof(dn_args_yolo_loss),
                                0,           check_yolo_loss, {run_yolo_loss, run_yolo_loss}};
