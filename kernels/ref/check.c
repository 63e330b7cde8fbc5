/* SPDX-License-Identifier: BSD-2-Clause
 * check.c: the checks that op_create makes of shapes and arguments. What passes them cannot
 * reach outside an operand, so that the loops check nothing but data. */
#include "loss.h"

#define LIMIT ((int64_t)1 << 46) /* elements of one operand */

bool ref_has_in(const dn_op *op, int32_t i)
{
    return i < op->num_inputs && op->in[i].info.dtype >= 0;
}

bool ref_has_out(const dn_op *op, int32_t i)
{
    return i < op->num_outputs && op->out[i].info.dtype >= 0;
}

void *ref_in(const dn_op *op, const dn_op_io *io, int32_t i)
{
    return ref_has_in(op, i) ? io->in[i] : NULL;
}

void *ref_out(const dn_op *op, const dn_op_io *io, int32_t i)
{
    return ref_has_out(op, i) ? io->out[i] : NULL;
}

static dn_status need(const dn_op *op, const ref_operand *x, const char *side, int32_t i,
                      int64_t count)
{
    if (x->count == count)
        return DN_OK;
    return ref_fail(op, DN_E_SHAPE, "%s %d has %lld elements where %lld are needed", side,
                    (int)i, (long long)x->count, (long long)count);
}

dn_status ref_need_in(const dn_op *op, int32_t i, int64_t count)
{
    return ref_has_in(op, i) ? need(op, &op->in[i], "input", i, count) : DN_OK;
}

dn_status ref_need_out(const dn_op *op, int32_t i, int64_t count)
{
    return ref_has_out(op, i) ? need(op, &op->out[i], "output", i, count) : DN_OK;
}

dn_status ref_need_all(const dn_op *op, const int64_t *counts)
{
    int32_t i = 0;
    bool outputs = false;
    for (const char *letter = op->kind->operands; *letter; letter++) {
        if (*letter == ':')
            i = 0, outputs = true;
        if (*letter < 'A') /* a colon or a plus */
            continue;
        if (*counts != REF_ANY)
            REF_TRY(outputs ? ref_need_out(op, i, *counts) : ref_need_in(op, i, *counts));
        i++, counts++;
    }
    return DN_OK;
}

dn_status ref_count3(const dn_op *op, int64_t a, int64_t b, int64_t c, int64_t *count)
{
    bool fits = a >= 0 && b >= 0 && c >= 0 && a <= LIMIT && b <= LIMIT && c <= LIMIT;
    if (fits && a && b && c)
        fits = a <= LIMIT / b && a * b <= LIMIT / c;
    if (!fits)
        return ref_fail(op, DN_E_SHAPE, "a view of %lld x %lld x %lld elements is impossible",
                        (long long)a, (long long)b, (long long)c);
    *count = a * b * c;
    return DN_OK;
}

dn_status ref_need_strided(const dn_op *op, const char *what, int32_t axes, const int64_t *dim,
                           const int64_t *stride, int64_t offset, int64_t count)
{
    int64_t low = offset, high = offset, total = 1;
    if (axes < 0 || axes > DN_MAX_STRIDED)
        return ref_fail(op, DN_E_INVALID, "%d axes where at most %d are possible", (int)axes,
                        DN_MAX_STRIDED);
    for (int32_t a = 0; a < axes; a++)
        if (dim[a] == 0)
            return DN_OK;
    bool fits = offset >= 0 && offset < count;
    for (int32_t a = 0; fits && a < axes; a++) {
        fits = dim[a] > 0 && total <= LIMIT / dim[a];
        if (!fits)
            break;
        total *= dim[a];
        if (dim[a] == 1)
            continue;
        fits = stride[a] <= LIMIT / dim[a] && stride[a] >= -LIMIT / dim[a];
        if (!fits)
            break;
        *(stride[a] < 0 ? &low : &high) += (dim[a] - 1) * stride[a];
        fits = low >= 0 && high < count;
    }
    if (!fits)
        return ref_fail(op, DN_E_SHAPE, "strides reach outside %s, which has %lld elements",
                        what, (long long)count);
    return DN_OK;
}

dn_status ref_need_activation(const dn_op *op, int32_t fn)
{
    if (fn < 0 || fn >= DN_FN_END)
        return ref_fail(op, DN_E_INVALID, "there is no activation %d", (int)fn);
    return DN_OK;
}

static bool labelled(int32_t loss)
{
    return loss != DN_LOSS_EUCLIDEAN && loss != DN_LOSS_CONTRASTIVE &&
           loss != DN_LOSS_SIGMOID_CE;
}

static dn_status check_presence(const dn_op *op)
{
    int32_t loss = op->args.loss.loss;
    bool wants_t = loss != DN_LOSS_EUCLIDEAN, has_w = ref_has_in(op, 2);
    if (wants_t && !ref_has_in(op, 1))
        return ref_fail(op, DN_E_INVALID, "loss %d needs labels or targets", (int)loss);
    if (loss == DN_LOSS_INFOGAIN ? !has_w : has_w && loss != DN_LOSS_SOFTMAX)
        return ref_fail(op, DN_E_INVALID, "loss %d and the weights do not go together",
                        (int)loss);
    return DN_OK;
}

dn_status ref_check_loss(const dn_op *op)
{
    const dn_args_loss *a = &op->args.loss;
    int64_t count, labels, weights = a->dim;
    if (a->loss < DN_LOSS_SOFTMAX || a->loss > DN_LOSS_EUCLIDEAN || a->normalization < 0 ||
        a->normalization > 3)
        return ref_fail(op, DN_E_INVALID, "there is no loss %d with normalization %d",
                        (int)a->loss, (int)a->normalization);
    if (a->loss == DN_LOSS_HINGE && a->param != 1 && a->param != 2)
        return ref_fail(op, DN_E_INVALID, "loss %d has the norms 1 and 2", (int)a->loss);
    REF_TRY(check_presence(op));
    REF_TRY(ref_count3(op, a->outer, a->dim, a->inner, &count));
    REF_TRY(ref_count3(op, a->outer, 1, a->inner, &labels));
    if (a->loss == DN_LOSS_INFOGAIN)
        REF_TRY(ref_count3(op, a->dim, a->dim, 1, &weights));
    if (a->loss == DN_LOSS_CONTRASTIVE)
        labels = a->outer;
    REF_TRY(ref_need_in(op, 0, count));
    REF_TRY(ref_need_in(op, 1,
                        labelled(a->loss) || a->loss == DN_LOSS_CONTRASTIVE ? labels : count));
    return ref_need_in(op, 2, weights);
}
