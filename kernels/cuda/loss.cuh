/* SPDX-License-Identifier: BSD-2-Clause
 * loss.cuh: what a loss is made of: its terms, their sum, its gradient, for the kernels of
 * loss.cu and of chain.cu. A label that no class has is noted and left out. */
#ifndef DN_KERNELS_CUDA_LOSS_CUH
#define DN_KERNELS_CUDA_LOSS_CUH

#include "grid.cuh"

#define PIECE           4096 /* terms that one block sums */
#define LOG_FLOOR       1e-20f /* of probabilities in MULTINOMIAL and INFOGAIN, Caffe's */
#define CONTRASTIVE_EPS 1e-4   /* keeps the gradient finite where a and b are equal */

typedef struct loss_args {
    const float *x, *t, *w, *norm_in, *aux_in, *dloss;
    float *loss, *norm, *aux, *dx, *dt;
    double *normaliser; /* scratch: one number, */
    double *partial;    /* (pieces, 2): sums and valid terms, */
    double *rows;       /* sums of squares or of H per row */
    int64_t outer, dim, inner, terms, pieces;
    double param;
    int32_t kind, normalization, has_ignore, ignore_label, flag, add, add_t;
    cuda_fault *fault;
} loss_args;

enum { LABEL_OK, LABEL_IGNORED, LABEL_BAD };

DEVICE int label_of(const loss_args *a, int64_t position, int64_t *label)
{
    float t = a->t[position];
    *label = whole_of(t);
    if (a->has_ignore && *label == a->ignore_label && t == t)
        return LABEL_IGNORED;
    if (*label >= 0 && *label < a->dim)
        return LABEL_OK;
    note_fault(a->fault, CUDA_FAULT_LABEL, quotient(position, a->inner), t, a->dim);
    return LABEL_BAD;
}

DEVICE float floored(float p, float floor)
{
    return p > floor || p != p ? p : floor;
}

/* ---- terms ------------------------------------------------------------------------------- */

DEVICE double labelled_term(const loss_args *a, int64_t position, int64_t label)
{
    int64_t o = quotient(position, a->inner);
    int64_t base = o * a->dim * a->inner + (position - o * a->inner);
    double sum = 0;
    float p = a->x[base + label * a->inner];
    if (a->kind == DN_LOSS_SOFTMAX) {
        double loss = -log((double)floored(p, FLT_MIN));
        if (a->aux)
            a->aux[position] = (float)loss;
        return loss * (a->w ? a->w[label] : 1);
    }
    if (a->kind == DN_LOSS_MULTINOMIAL)
        return -log((double)floored(p, LOG_FLOOR));
    for (int64_t d = 0; d < a->dim; d++) {
        float x = a->x[base + d * a->inner];
        if (a->kind == DN_LOSS_INFOGAIN) {
            sum -= a->w[label * a->dim + d] * log((double)floored(x, LOG_FLOOR));
        } else {
            double margin = 1 + (double)(d == label ? -x : x);
            if (margin > 0)
                sum += a->param == 1 ? margin : margin * margin;
        }
    }
    return sum;
}

DEVICE bool is_ignored(const loss_args *a, int64_t i)
{
    return a->has_ignore && whole_of(a->t[i]) == a->ignore_label;
}

/* log(1 + exp(x)) - t x, arranged not to overflow. */
DEVICE double sigmoid_term(const loss_args *a, int64_t i)
{
    float x = a->x[i];
    if (is_ignored(a, i))
        return 0;
    return (double)(x > 0 ? x : 0) - (double)x * a->t[i] + log1pf(expf(-fabsf(x)));
}

DEVICE double contrastive_term(const loss_args *a, int64_t o)
{
    double squares = a->rows[o], gap = a->param - (a->flag ? squares : sqrt(squares));
    if (whole_of(a->t[o]) != 0)
        return squares / 2;
    return gap > 0 ? (a->flag ? gap : gap * gap) / 2 : 0;
}

DEVICE double term(const loss_args *a, int64_t i)
{
    int64_t label;
    double gap;
    switch (a->kind) {
    case DN_LOSS_SIGMOID_CE:
        return sigmoid_term(a, i);
    case DN_LOSS_CONTRASTIVE:
        return contrastive_term(a, i);
    case DN_LOSS_EUCLIDEAN:
        gap = a->x[i] - (a->t ? (double)a->t[i] : 0);
        return gap * gap / 2;
    default:
        if (label_of(a, i, &label) == LABEL_OK)
            return labelled_term(a, i, label);
        if (a->kind == DN_LOSS_SOFTMAX && a->aux)
            a->aux[i] = 0;
        return 0;
    }
}

/* Only those losses that can be normalised by what is valid ask. */
DEVICE bool is_valid(const loss_args *a, int64_t i)
{
    return !a->has_ignore || !(a->t[i] == a->t[i] && whole_of(a->t[i]) == a->ignore_label);
}

DEVICE double normaliser_of(const loss_args *a, double valid)
{
    double by = 1;
    switch (a->kind) {
    case DN_LOSS_MULTINOMIAL:
    case DN_LOSS_HINGE:
    case DN_LOSS_CONTRASTIVE:
    case DN_LOSS_EUCLIDEAN:
        by = (double)a->outer;
        break;
    default:
        by = a->normalization == 0   ? (double)a->terms
             : a->normalization == 1 ? valid
             : a->normalization == 2 ? (double)a->outer
                                     : 1;
    }
    return by > 1 ? by : 1;
}

DEVICE void put_loss(const loss_args *a, double sum, double valid)
{
    double by = normaliser_of(a, valid);
    *a->normaliser = by;
    if (a->loss)
        put_wide(a->loss, a->add, sum / by);
    if (a->norm)
        *a->norm = (float)by;
}

/* a->loss NULL: the valid terms alone. The only piece is all there is. */
DEVICE void sum_piece(const loss_args *a, int64_t block, double *sums, double *valid)
{
    int64_t begin = block * PIECE, end = begin + PIECE < a->terms ? begin + PIECE : a->terms;
    bool counts = a->kind <= DN_LOSS_INFOGAIN && a->kind != DN_LOSS_MULTINOMIAL;
    counts = counts || a->kind == DN_LOSS_SIGMOID_CE;
    THREADS(t)
    {
        double sum = 0, num = 0;
        for (int64_t i = begin + t; i < end; i += BLOCK) {
            sum += a->loss ? term(a, i) : 0;
            num += counts && is_valid(a, i);
        }
        sums[t] = sum;
        valid[t] = num;
    }
    double sum = block_sum(sums), num = block_sum(valid);
    THREADS(t)
        if (t == 0 && a->pieces == 1) {
            put_loss(a, sum, num);
        } else if (t == 0) {
            a->partial[2 * block] = sum;
            a->partial[2 * block + 1] = num;
        }
}

/* ---- gradients --------------------------------------------------------------------------- */

/* Of element (position, d) to its label's loss. */
DEVICE double labelled_slope(const loss_args *a, double x, int64_t d, int64_t label)
{
    double s = d == label ? 1 : -1, margin;
    switch (a->kind) {
    case DN_LOSS_SOFTMAX:
        return (x - (d == label)) * (a->w ? a->w[label] : 1);
    case DN_LOSS_MULTINOMIAL:
        return d == label ? -1 / (double)floored((float)x, LOG_FLOOR) : 0;
    case DN_LOSS_INFOGAIN:
        return x * (a->aux_in ? (double)a->aux_in[label] : a->rows[label]) -
               a->w[label * a->dim + d];
    default:
        margin = 1 - s * x;
        return !(margin > 0) ? 0 : a->param == 1 ? -s : -s * 2 * margin;
    }
}

DEVICE double contrastive_factor(const loss_args *a, int64_t o)
{
    double squares = a->rows[o], distance = sqrt(squares);
    double gap = a->param - (a->flag ? squares : distance);
    if (whole_of(a->t[o]) != 0)
        return 1;
    return !(gap > 0) ? 0 : a->flag ? -1 : -gap / (distance + CONTRASTIVE_EPS);
}

DEVICE double slope(const loss_args *a, int64_t i)
{
    int64_t row = quotient(i, a->inner), o = quotient(row, a->dim), label;
    double x = a->x[i];
    switch (a->kind) {
    case DN_LOSS_SIGMOID_CE:
        return is_ignored(a, i) ? 0 : 1 / (1 + exp(-x)) - a->t[i];
    case DN_LOSS_CONTRASTIVE:
        return contrastive_factor(a, o) * x;
    case DN_LOSS_EUCLIDEAN:
        return x - (a->t ? (double)a->t[i] : 0);
    default:
        if (label_of(a, o * a->inner + (i - row * a->inner), &label) != LABEL_OK)
            return 0;
        return labelled_slope(a, x, row - o * a->dim, label);
    }
}

/* i: an element of x */
DEVICE void put_slope(const loss_args *a, int64_t i)
{
    double by = a->norm_in ? (double)*a->norm_in : *a->normaliser;
    double value = *a->dloss / by * slope(a, i);
    if (a->dx)
        put_wide(&a->dx[i], a->add, value);
    if (a->dt)
        put_wide(&a->dt[i], a->add_t, -value);
}

/* ---- from an op -------------------------------------------------------------------------- */

static inline int64_t loss_terms(const dn_args_loss *l)
{
    if (l->loss == DN_LOSS_SIGMOID_CE || l->loss == DN_LOSS_EUCLIDEAN)
        return l->outer * l->dim * l->inner;
    return l->loss == DN_LOSS_CONTRASTIVE ? l->outer : l->outer * l->inner;
}

static inline loss_args loss_args_of(const dn_op *op, const dn_op_io *io)
{
    const dn_args_loss *l = &op->args.loss;
    loss_args a = {0};
    a.x = cuda_in(op, io, 0);
    a.t = cuda_in(op, io, 1);
    a.w = cuda_in(op, io, 2);
    a.outer = l->outer;
    a.dim = l->dim;
    a.inner = l->inner;
    a.terms = loss_terms(l);
    a.pieces = (a.terms + PIECE - 1) / PIECE;
    a.normaliser = (double *)io->scratch;
    a.partial = a.normaliser + 1;
    a.rows = a.partial + 2 * a.pieces;
    a.param = l->param;
    a.kind = l->loss;
    a.normalization = l->normalization;
    a.has_ignore = l->has_ignore;
    a.ignore_label = l->ignore_label;
    a.flag = l->flag;
    a.add = cuda_adds(op, 0);
    a.add_t = cuda_adds(op, 1);
    a.fault = op->backend->fault;
    if (op->kind == &cuda_loss) {
        a.loss = cuda_out(op, io, 0);
        a.norm = cuda_out(op, io, 1);
        a.aux = cuda_out(op, io, 2);
        return a;
    }
    a.norm_in = cuda_in(op, io, 3);
    a.aux_in = cuda_in(op, io, 4);
    a.dloss = cuda_in(op, io, 5);
    a.dx = cuda_out(op, io, 0);
    a.dt = cuda_out(op, io, 1);
    return a;
}

#endif
