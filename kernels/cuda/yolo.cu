/* SPDX-License-Identifier: BSD-2-Clause
 * yolo.cu: YOLO_LOSS: a thread for each true box says where it belongs, then one for each box
 * asks which of them are its own. A label that no class has is noted and left out. */
#include "grid.cuh"

#define YOLO_FUNCTION DEVICE
#include "../yolo.h"

#define PIECE (4 * BLOCK) /* boxes that one block sums */

typedef struct yolo_args {
    const float *x, *truths;
    const int64_t *state;
    float *loss, *dx;
    double *partial; /* scratch: a number for each piece, */
    int32_t *place;  /* (N, T) */
    int64_t N, H, W, T, boxes, pieces; /* boxes: of one image */
    dn_args_yolo_loss p;
    cuda_fault *fault;
} yolo_args;

DEVICE yolo_image image_of(const yolo_args *a, int64_t n)
{
    yolo_image m = {&a->p,
                    a->x + n * a->boxes * (5 + a->p.classes),
                    a->truths + n * a->T * 5,
                    a->place + n * a->T,
                    a->H,
                    a->W,
                    a->T,
                    (double)a->N,
                    a->p.warm > 0 && a->state[1] < (a->p.warm + a->N - 1) / a->N,
                    false};
    return m;
}

/* i: a true box */
MAP(yolo_places, yolo_args)
{
    int64_t n = quotient(i, a->T), row = i - n * a->T;
    yolo_image m = image_of(a, n);
    int32_t place = YOLO_END;
    for (int64_t k = 0; k <= row; k++)
        if (yolo_is_end(&m, k)) {
            a->place[i] = place;
            return;
        }
    place = YOLO_ELSEWHERE;
    if (yolo_is_class(&m, row))
        place = yolo_place(&m, row);
    else
        note_fault(a->fault, CUDA_FAULT_TRUTH, i, (float)yolo_label(&m, row), a->p.classes);
    a->place[i] = place;
}

BLOCKS(yolo_boxes, yolo_args)
{
    SHARED double sums[BLOCK];
    int64_t begin = block * PIECE, all = a->N * a->boxes;
    THREADS(t)
    {
        double sum = 0;
        for (int64_t i = begin + t; i < begin + PIECE && i < all; i += BLOCK) {
            int64_t n = quotient(i, a->boxes);
            yolo_image m = image_of(a, n);
            float *dx = a->dx ? a->dx + n * a->boxes * (5 + a->p.classes) : NULL;
            sum += yolo_of_box(&m, i - n * a->boxes, dx);
        }
        sums[t] = sum;
    }
    double sum = block_sum(sums);
    THREADS(t)
        if (t == 0)
            a->partial[block] = sum;
}

BLOCKS(yolo_finish, yolo_args)
{
    SHARED double sums[BLOCK];
    THREADS(t)
    {
        sums[t] = 0;
        for (int64_t p = t; p < a->pieces; p += BLOCK)
            sums[t] += a->partial[p];
    }
    double sum = block_sum(sums);
    THREADS(t)
        if (t == 0 && block == 0)
            *a->loss = (float)(sum / (double)a->N);
}

static int64_t boxes_of(const dn_op *op)
{
    const int64_t *x = op->in[0].info.shape.dim;
    return op->args.yolo_loss.anchors * x[2] * x[3];
}

static int64_t pieces_of(const dn_op *op)
{
    return (op->in[0].info.shape.dim[0] * boxes_of(op) + PIECE - 1) / PIECE;
}

static dn_status prepare_yolo_loss(dn_op *op, dn_op_info *info)
{
    (void)info;
    op->scratch = (size_t)pieces_of(op) * sizeof(double) +
                  (size_t)op->in[1].count / 5 * sizeof(int32_t);
    return DN_OK;
}

static dn_status run_yolo_loss(const dn_op *op, const dn_op_io *io)
{
    const int64_t *x = op->in[0].info.shape.dim;
    yolo_args a = {cuda_in(op, io, 0),
                   cuda_in(op, io, 1),
                   (const int64_t *)cuda_in(op, io, 2),
                   cuda_out(op, io, 0),
                   cuda_out(op, io, 1),
                   (double *)io->scratch,
                   (int32_t *)((double *)io->scratch + pieces_of(op)),
                   x[0],
                   x[2],
                   x[3],
                   op->in[1].count / 5 / x[0],
                   boxes_of(op),
                   pieces_of(op),
                   op->args.yolo_loss,
                   op->backend->fault};
    yolo_places(op, &a, op->in[1].count / 5);
    yolo_boxes(op, &a, a.pieces);
    yolo_finish(op, &a, 1);
    return DN_OK;
}

const cuda_kind cuda_yolo_loss = {"YOLO_LOSS", sizeof(dn_args_yolo_loss), prepare_yolo_loss,
                                  run_yolo_loss};
