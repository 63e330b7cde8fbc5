/* SPDX-License-Identifier: BSD-2-Clause
 * loss.cu: LOSS and LOSS_BWD. A loss is a sum of terms (a label's position, an element, a pair)
 * and a count of those that are valid: blocks sum pieces of both, one block finishes. */
#include "loss.cuh"

BLOCKS(loss_piece, loss_args)
{
    SHARED double sums[BLOCK], valid[BLOCK];
    sum_piece(a, block, sums, valid);
}

BLOCKS(loss_finish, loss_args)
{
    SHARED double sums[BLOCK], valid[BLOCK];
    THREADS(t)
    {
        sums[t] = valid[t] = 0;
        for (int64_t p = t; p < a->pieces; p += BLOCK) {
            sums[t] += a->partial[2 * p];
            valid[t] += a->partial[2 * p + 1];
        }
    }
    double sum = block_sum(sums), num = block_sum(valid);
    THREADS(t)
        if (t == 0 && block == 0)
            put_loss(a, sum, num);
}

/* block: a row of x (CONTRASTIVE: its squares) or of H (INFOGAIN: its sum). */
BLOCKS(loss_rows, loss_args)
{
    SHARED double sums[BLOCK];
    bool squares = a->kind == DN_LOSS_CONTRASTIVE;
    int64_t length = squares ? a->dim * a->inner : a->dim;
    const float *row = (squares ? a->x : a->w) + block * length;
    THREADS(t)
    {
        double sum = 0;
        for (int64_t i = t; i < length; i += BLOCK)
            sum += squares ? (double)row[i] * row[i] : row[i];
        sums[t] = sum;
    }
    double sum = block_sum(sums);
    THREADS(t)
        if (t == 0) {
            a->rows[block] = sum;
            if (a->aux)
                a->aux[block] = (float)sum;
        }
}

MAP(loss_bwd, loss_args)
{
    put_slope(a, i);
}

/* ---- preparing and running --------------------------------------------------------------- */

static int64_t rows_of(const dn_args_loss *l)
{
    return l->loss == DN_LOSS_CONTRASTIVE ? l->outer : l->loss == DN_LOSS_INFOGAIN ? l->dim : 0;
}

static dn_status prepare_loss(dn_op *op, dn_op_info *info)
{
    const dn_args_loss *l = &op->args.loss;
    int64_t pieces = (loss_terms(l) + PIECE - 1) / PIECE;
    (void)info;
    op->scratch = (size_t)(1 + 2 * pieces + rows_of(l)) * sizeof(double);
    return DN_OK;
}

static void run_terms(const dn_op *op, const loss_args *a)
{
    loss_piece(op, a, a->pieces);
    if (a->pieces != 1)
        loss_finish(op, a, 1);
}

static dn_status run_loss(const dn_op *op, const dn_op_io *io)
{
    loss_args a = loss_args_of(op, io);
    if (a.kind == DN_LOSS_CONTRASTIVE || (a.kind == DN_LOSS_INFOGAIN && a.aux))
        loss_rows(op, &a, rows_of(&op->args.loss));
    run_terms(op, &a);
    return DN_OK;
}

const cuda_kind cuda_loss = {"LOSS", sizeof(dn_args_loss), prepare_loss, run_loss};

static dn_status run_loss_bwd(const dn_op *op, const dn_op_io *io)
{
    loss_args a = loss_args_of(op, io);
    if (!a.norm_in)
        run_terms(op, &a);
    if (a.kind == DN_LOSS_CONTRASTIVE || (a.kind == DN_LOSS_INFOGAIN && !a.aux_in))
        loss_rows(op, &a, rows_of(&op->args.loss));
    loss_bwd(op, &a, op->in[0].count);
    return DN_OK;
}

const cuda_kind cuda_loss_bwd = {"LOSS_BWD", sizeof(dn_args_loss), prepare_loss, run_loss_bwd};
