/* SPDX-License-Identifier: BSD-2-Clause
 * ctc.cu: CTC: a block walks along a sequence, its threads being the places; what each place
 * has of a step is then summed by class, a class by one thread. A label that is no class is
 * noted and its sequence left out. */
#include "grid.cuh"

#define CTC_FUNCTION DEVICE
#include "../ctc.h"

typedef struct ctc_args {
    const float *x, *labels;
    float *loss, *g;
    int64_t T, N, C, L, S, steps, blank; /* S: most places */
    /* scratch */
    double *alpha;  /* (N, steps, S), then the shares */
    double *beta;   /* (N, 2, S) */
    double *lse;    /* (steps, N) */
    double *total;  /* (N) */
    int32_t *label; /* (N, L) */
    int32_t *count; /* (N) */
    cuda_fault *fault;
} ctc_args;

DEVICE ctc sequence(const ctc_args *a, int64_t n)
{
    ctc c = {a->x, a->labels, a->lse,   a->label + n * a->L, a->N, a->C,
             a->L, a->steps,  a->blank, n,                   false};
    return c;
}

/* i: a sequence */
MAP(read_labels, ctc_args)
{
    ctc c = sequence(a, i);
    int64_t bad = 0;
    int32_t count = ctc_read(&c, &bad);
    if (count == CTC_BAD)
        note_fault(a->fault, CUDA_FAULT_LABEL, bad, a->labels[bad], a->C);
    a->count[i] = count;
    a->total[i] = 0;
}

/* block: (step, sequence) */
BLOCKS(put_softmax, ctc_args)
{
    SHARED double part[BLOCK];
    int64_t t0 = quotient(block, a->N), n = block - t0 * a->N;
    ctc c = sequence(a, n);
    bool counts = t0 < a->steps && a->count[n] >= 0;
    THREADS(t)
    {
        part[t] = -INFINITY;
        for (int64_t k = t; counts && k < a->C; k += BLOCK)
            part[t] = fmax(part[t], ctc_x(&c, t0, k));
    }
    for (int half = BLOCK / 2; half > 0; half /= 2)
        THREADS(t)
            if (t < half)
                part[t] = fmax(part[t], part[t + half]);
    double largest = part[0];
    BARRIER();
    THREADS(t)
    {
        part[t] = 0;
        for (int64_t k = t; counts && k < a->C; k += BLOCK)
            part[t] += exp(ctc_x(&c, t0, k) - largest);
    }
    double whole = largest + log(block_sum(part));
    THREADS(t)
    {
        for (int64_t k = t; a->g && k < a->C; k += BLOCK)
            a->g[block * a->C + k] = counts ? (float)exp(ctc_x(&c, t0, k) - whole) : 0;
        if (t == 0 && counts)
            a->lse[block] = whole;
    }
}

/* block: a sequence */
BLOCKS(walk, ctc_args)
{
    ctc c = sequence(a, block);
    int64_t S = 2 * (int64_t)a->count[block] + 1;
    double *alpha = a->alpha + block * a->steps * a->S, *beta = a->beta + block * 2 * a->S;
    if (a->count[block] < 0)
        return;
    for (int64_t step = 0; step < a->steps; step++)
        THREADS(t)
            for (int64_t i = t; i < S; i += BLOCK)
                alpha[step * a->S + i] =
                    ctc_before(&c, alpha + (step - 1) * a->S, step, i);
    double total = ctc_total(alpha + (a->steps - 1) * a->S, S);
    BARRIER();
    for (int64_t step = a->steps - 1; a->g && step >= 0; step--)
        THREADS(t)
            for (int64_t i = t; i < S; i += BLOCK) {
                double after = ctc_after(&c, beta + (step + 1) % 2 * a->S, step, i, S);
                beta[step % 2 * a->S + i] = after;
                alpha[step * a->S + i] = exp(alpha[step * a->S + i] + after - total);
            }
    THREADS(t)
        if (t == 0)
            a->total[block] = total;
}

/* i: (sequence, step, place): the first place of a class takes from g what all have of it */
MAP(take_shares, ctc_args)
{
    int64_t ns = quotient(i, a->S), place = i - ns * a->S, n = quotient(ns, a->steps);
    int64_t S = 2 * (int64_t)a->count[n] + 1, own;
    ctc c = sequence(a, n);
    if (place >= S || (place % 2 == 0 && place > 0))
        return;
    own = ctc_symbol(&c, place);
    for (int64_t k = 1; k < place; k += 2)
        if (ctc_symbol(&c, k) == own)
            return;
    double sum = 0;
    for (int64_t k = place; k < S; k += 2)
        sum += ctc_symbol(&c, k) == own ? a->alpha[ns * a->S + k] : 0;
    a->g[((ns - n * a->steps) * a->N + n) * a->C + own] -= (float)sum;
}

MAP(put_loss, ctc_args)
{
    double loss = 0;
    for (int64_t n = 0; n < a->N; n++)
        loss -= a->total[n];
    a->loss[i] = (float)(loss / (double)a->N);
}

static ctc_args args_of(const dn_op *op, const dn_op_io *io)
{
    const dn_args_ctc *c = &op->args.ctc;
    const int64_t *dim = op->in[0].info.shape.dim;
    int64_t L = op->in[1].count / dim[1];
    ctc_args a = {cuda_in(op, io, 0), cuda_in(op, io, 1), cuda_out(op, io, 0),
                  cuda_out(op, io, 1), dim[0], dim[1], dim[2], L, 2 * L + 1, c->steps,
                  c->blank};
    a.alpha = (double *)io->scratch;
    a.beta = a.alpha + a.N * a.steps * a.S;
    a.lse = a.beta + a.N * 2 * a.S;
    a.total = a.lse + a.steps * a.N;
    a.label = (int32_t *)(a.total + a.N);
    a.count = a.label + a.N * a.L;
    a.fault = op->backend->fault;
    return a;
}

static dn_status prepare_ctc(dn_op *op, dn_op_info *info)
{
    int64_t N = op->in[0].info.shape.dim[1], steps = op->args.ctc.steps;
    int64_t labels = op->in[1].count, places = 2 * labels + N; /* of all sequences */
    if (steps > INT32_MAX)
        return cuda_decline(info, "more than 2^31 steps");
    op->scratch = (size_t)(places * (steps + 2) + (steps + 1) * N) * sizeof(double) +
                  (size_t)(labels + N) * sizeof(int32_t);
    return DN_OK;
}

static dn_status run_ctc(const dn_op *op, const dn_op_io *io)
{
    ctc_args a = args_of(op, io);
    read_labels(op, &a, a.N);
    put_softmax(op, &a, a.T * a.N);
    walk(op, &a, a.N);
    if (a.g)
        take_shares(op, &a, a.N * a.steps * a.S);
    put_loss(op, &a, 1);
    return DN_OK;
}

const cuda_kind cuda_ctc = {"CTC", sizeof(dn_args_ctc), prepare_ctc, run_ctc};
