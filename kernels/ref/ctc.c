/* SPDX-License-Identifier: BSD-2-Clause
 * ctc.c: CTC: a sequence after the other, forwards and then backwards. Labels come as data:
 * each is checked before anything is written. Compiled once, for float and double. */
#include <string.h>

#include "../label.h"
#include "ref.h"

#include "../ctc.h"

static dn_status check_ctc(dn_op *op)
{
    const dn_args_ctc *a = &op->args.ctc;
    const dn_shape *x = &op->in[0].info.shape;
    int64_t labels = op->in[1].count, alpha;
    if (x->axes != 3 || x->dim[1] < 1 || x->dim[2] < 1 || x->dim[2] > INT32_MAX ||
        a->steps < 1 || a->steps > x->dim[0] || a->blank < 0 || a->blank >= x->dim[2] ||
        labels % x->dim[1] || labels > INT32_MAX)
        return ref_fail(op, DN_E_SHAPE, "%lld steps, blank %lld, %lld labels: they do not fit",
                        (long long)a->steps, (long long)a->blank, (long long)labels);
    int64_t L = labels / x->dim[1], S = 2 * L + 1;
    REF_TRY(ref_count3(op, a->steps + 2, S, 1, &alpha));
    op->scratch =
        (size_t)(alpha + a->steps * x->dim[1]) * sizeof(double) + (size_t)L * sizeof(int32_t);
    return REF_NEED(op, REF_ANY, REF_ANY, 1, op->in[0].count);
}

static void put_at(const ctc *c, void *y, int64_t i, double value)
{
    if (c->wide)
        ((double *)y)[i] = value;
    else
        ((float *)y)[i] = (float)value;
}

/* g = softmax in the steps of the sequence. */
static void put_softmax(const ctc *c, double *lse, void *g)
{
    for (int64_t t = 0; t < c->steps; t++) {
        double largest = -INFINITY, sum = 0;
        for (int64_t k = 0; k < c->C; k++)
            largest = fmax(largest, ctc_x(c, t, k));
        for (int64_t k = 0; k < c->C; k++)
            sum += exp(ctc_x(c, t, k) - largest);
        double whole = lse[t * c->N + c->n] = largest + log(sum);
        for (int64_t k = 0; g && k < c->C; k++)
            put_at(c, g, (t * c->N + c->n) * c->C + k, exp(ctc_x(c, t, k) - whole));
    }
}

/* g -= the shares of all places; returns log p. */
static double put_shares(const ctc *c, double *alpha, double *beta, void *g, int64_t S)
{
    for (int64_t t = 0; t < c->steps; t++)
        for (int64_t i = 0; i < S; i++)
            alpha[t * S + i] = ctc_before(c, alpha + (t - 1) * S, t, i);
    double total = ctc_total(alpha + (c->steps - 1) * S, S);
    for (int64_t t = c->steps; g && t-- > 0;) {
        double *now = beta + t % 2 * S, *next = beta + (t + 1) % 2 * S;
        for (int64_t i = 0; i < S; i++) {
            int64_t to = (t * c->N + c->n) * c->C + ctc_symbol(c, i);
            now[i] = ctc_after(c, next, t, i, S);
            put_at(c, g, to, ctc_get(c, g, to) - exp(alpha[t * S + i] + now[i] - total));
        }
    }
    return total;
}

static dn_status run_ctc(const dn_op *op, const dn_op_io *io)
{
    const dn_args_ctc *a = &op->args.ctc;
    const int64_t *dim = op->in[0].info.shape.dim;
    bool wide = op->in[0].info.dtype == DN_F64;
    void *g = ref_out(op, io, 1);
    int64_t L = op->in[1].count / dim[1], S = 2 * L + 1, bad;
    double *alpha = io->scratch, *beta = alpha + a->steps * S, *lse = beta + 2 * S, loss = 0;
    ctc c = {io->in[0], io->in[1], lse, (int32_t *)(lse + a->steps * dim[1]),
             dim[1],    dim[2],    L,   a->steps,
             a->blank,  0,         wide};
    for (int64_t i = 0; i < op->in[1].count; i++)
        if (!ctc_is_class(&c, ctc_get(&c, c.labels, i)))
            return label_fail(op->host, ctc_get(&c, c.labels, i), i, c.C);
    if (g)
        memset(g, 0, (size_t)op->out[1].count * (wide ? sizeof(double) : sizeof(float)));
    for (; c.n < c.N; c.n++) {
        int32_t count = ctc_read(&c, &bad);
        if (count < 0)
            continue;
        put_softmax(&c, lse, g);
        loss -= put_shares(&c, alpha, beta, g, 2 * count + 1);
    }
    put_at(&c, io->out[0], 0, loss / (double)c.N);
    return DN_OK;
}

const ref_kind ref_ctc = {"CTC", "TT:Tt",   sizeof(dn_args_ctc),
                          0,     check_ctc, {run_ctc, run_ctc}};
