/* SPDX-License-Identifier: BSD-2-Clause
 * relayout.c: see relayout.h. Element (n, c, i) of an image, i counted over its plane, lies at
 * (n C + c) I + i plain and at (n I + i) C + c in NHWC: a strided walk is cut into axes that
 * stay within one of the three, and each gets the other stride. */
#include "plan/relayout.h"

#include <stdlib.h>

typedef struct image {
    int64_t C, I;
} image;

typedef struct walk { /* several operands walked together */
    int32_t axes;
    int64_t dim[DN_MAX_STRIDED], *stride[3];
} walk;

bool dni_knows_layouts(int32_t kind)
{
    return (kind >= DN_OP_CONV && kind <= DN_OP_CONV_BWD_WEIGHTS) ||
           (kind >= DN_OP_POOL && kind <= DN_OP_LRN_BWD);
}

static image image_of(const dn_shape *shape)
{
    image m = {shape->dim[1], 1};
    for (int32_t a = 2; a < shape->axes; a++)
        m.I *= shape->dim[a];
    return m;
}

bool dni_is_flat(const dni_shape *shape)
{
    image m = image_of(shape);
    return m.C == 1 || m.I == 1;
}

/* ---- which operands are images ----------------------------------------------------------- */

/* Those that can be, by kind: inputs in the low half, outputs in the high half. */
static uint32_t image_bits(const dni_op *op)
{
#define IO(in, out) ((uint32_t)(in) | (uint32_t)(out) << 16)
    switch (op->kind) {
    case DN_OP_FILL:
        return IO(0, 1);
    case DN_OP_CONV:
    case DN_OP_CONV_BWD_DATA:
    case DN_OP_UNARY:
    case DN_OP_CAST:
    case DN_OP_COPY:
    case DN_OP_BCAST:
    case DN_OP_BATCH_NORM:
    case DN_OP_NORM_SCALE:
    case DN_OP_PRELU:
    case DN_OP_SOFTMAX:
        return IO(1, 1);
    case DN_OP_CONV_BWD_WEIGHTS:
        return IO(3, 4);
    case DN_OP_REDUCE:
        return IO(3, 0);
    case DN_OP_POOL:
    case DN_OP_LRN:
        return IO(1, 3);
    case DN_OP_POOL_BWD:
    case DN_OP_SELECT:
    case DN_OP_SOFTMAX_BWD:
        return IO(3, 1);
    case DN_OP_LRN_BWD:
        return IO(15, 1);
    case DN_OP_UNARY_BWD:
        return IO(7, 1);
    case DN_OP_BATCH_NORM_BWD:
    case DN_OP_PRELU_BWD:
        return IO(5, 1);
    case DN_OP_NORM_SCALE_BWD:
        return IO(35, 1);
    case DN_OP_ELTWISE:
        return IO((1u << op->num_inputs) - 1, 3);
    default:
        return 0;
    }
#undef IO
}

static bool is_image(const dni_program *p, dni_tensor t)
{
    const dni_shape *shape = &p->tensors[t].shape;
    return shape->axes >= 4 && dni_shape_equal(shape, &p->tensors[dni_root(p, t)].shape);
}

/* Images of one shape: what goes element by element does so in either layout. */
static bool are_alike(const dni_program *p, const dni_tensor *operands, int32_t num,
                      uint32_t images, const dn_shape **shape)
{
    for (int32_t k = 0; k < num; k++) {
        if (!(images >> k & 1))
            continue;
        const dn_shape *own = &p->tensors[operands[k]].shape;
        if (*shape && !dni_shape_equal(*shape, own))
            return false;
        *shape = own;
    }
    return true;
}

bool dni_images_of(const dni_program *p, const dni_op *op, uint32_t *in, uint32_t *out)
{
    uint32_t bits = image_bits(op);
    bool strided = op->kind == DN_OP_COPY || op->kind == DN_OP_REDUCE;
    *in = *out = 0;
    for (int32_t k = 0; k < op->num_inputs; k++)
        if (bits >> k & 1 && op->inputs[k] != DNI_NONE) {
            bool whole = is_image(p, op->inputs[k]);
            if (!whole && !strided)
                return false;
            *in |= whole ? 1u << k : 0;
        }
    for (int32_t k = 0; k < op->num_outputs; k++)
        if (bits >> (16 + k) & 1 && op->outputs[k] != DNI_NONE) {
            bool whole = is_image(p, op->outputs[k]);
            if (!whole && !strided)
                return false;
            *out |= whole ? 1u << k : 0;
        }
    const dn_shape *shape = NULL;
    if (!strided && !dni_knows_layouts(op->kind) &&
        !(are_alike(p, op->inputs, op->num_inputs, *in, &shape) &&
          are_alike(p, op->outputs, op->num_outputs, *out, &shape)))
        return false;
    return *in || *out;
}

/* ---- strided walks ----------------------------------------------------------------------- */

static bool split_axis(walk *w, int32_t a, int64_t inner)
{
    if (w->axes == DN_MAX_STRIDED || w->dim[a] % inner)
        return false;
    for (int32_t i = w->axes; i > a + 1; i--) {
        w->dim[i] = w->dim[i - 1];
        for (int32_t k = 0; k < 3; k++)
            w->stride[k][i] = w->stride[k][i - 1];
    }
    w->axes++;
    w->dim[a] /= inner;
    w->dim[a + 1] = inner;
    for (int32_t k = 0; k < 3; k++) {
        w->stride[k][a + 1] = w->stride[k][a];
        w->stride[k][a] *= inner;
    }
    return true;
}

/* Cuts axis a where operand k would go from one row of `length` steps of `unit` to the next. */
static bool cut(walk *w, int32_t k, int32_t a, int64_t unit, int64_t length)
{
    int64_t step = llabs(w->stride[k][a]) / unit;
    if ((w->dim[a] - 1) * step < length)
        return true;
    return length % step == 0 && split_axis(w, a, length / step);
}

/* No axis of operand k leaves the plane, the channels or the batch that it walks through. */
static bool cut_axes(walk *w, int32_t k, image m)
{
    for (int32_t a = 0; a < w->axes; a++) {
        int64_t s = llabs(w->stride[k][a]);
        if (s > 0 && s < m.I && w->dim[a] > 1 && !cut(w, k, a, 1, m.I))
            return false;
        s = llabs(w->stride[k][a]); /* what was cut off is behind: axis a walks on */
        if (s >= m.I && s < m.C * m.I && w->dim[a] > 1 && (s % m.I || !cut(w, k, a, m.I, m.C)))
            return false;
        s = llabs(w->stride[k][a]);
        if (s >= m.C * m.I && w->dim[a] > 1 && s % (m.C * m.I))
            return false;
    }
    return true;
}

static int64_t turned(int64_t stride, image m)
{
    int64_t s = llabs(stride), sign = stride < 0 ? -1 : 1;
    if (s % (m.C * m.I) == 0)
        return stride;
    return sign * (s % m.I == 0 ? s / m.I : s * m.C);
}

static int64_t turned_offset(int64_t offset, image m)
{
    int64_t plane = m.C * m.I, in_item = offset % plane;
    return offset - in_item + in_item % m.I * m.C + in_item / m.I;
}

/* Largest strides of operand k first, axes that can be one made one. */
static void tidy(walk *w, int32_t k)
{
    for (int32_t a = 1; a < w->axes; a++)
        for (int32_t b = a; b > 0 && llabs(w->stride[k][b]) > llabs(w->stride[k][b - 1]); b--) {
            int64_t dim = w->dim[b];
            w->dim[b] = w->dim[b - 1];
            w->dim[b - 1] = dim;
            for (int32_t i = 0; i < 3; i++) {
                int64_t stride = w->stride[i][b];
                w->stride[i][b] = w->stride[i][b - 1];
                w->stride[i][b - 1] = stride;
            }
        }
    for (int32_t a = w->axes - 2; a >= 0; a--) {
        bool one = true;
        for (int32_t i = 0; i < 3; i++)
            one &= w->stride[i][a] == w->stride[i][a + 1] * w->dim[a + 1];
        if (!one)
            continue;
        w->dim[a] *= w->dim[a + 1];
        for (int32_t i = 0; i < 3; i++)
            w->stride[i][a] = w->stride[i][a + 1];
        w->axes--;
        for (int32_t b = a + 1; b < w->axes; b++) {
            w->dim[b] = w->dim[b + 1];
            for (int32_t i = 0; i < 3; i++)
                w->stride[i][b] = w->stride[i][b + 1];
        }
    }
}

static bool turn(walk *w, const dn_shape *const shape[3], int64_t *const offset[3],
                 int32_t order)
{
    for (int32_t k = 0; k < 3; k++)
        if (shape[k] && !cut_axes(w, k, image_of(shape[k])))
            return false;
    for (int32_t k = 0; k < 3; k++) {
        if (!shape[k])
            continue;
        for (int32_t a = 0; a < w->axes; a++)
            w->stride[k][a] = turned(w->stride[k][a], image_of(shape[k]));
        *offset[k] = turned_offset(*offset[k], image_of(shape[k]));
    }
    tidy(w, order);
    return true;
}

static const dn_shape *shape_if(const dni_program *p, bool wanted, dni_tensor t)
{
    return wanted ? &p->tensors[t].shape : NULL;
}

static bool relayout_copy(const dni_program *p, dni_trial *t, uint32_t in, uint32_t out)
{
    dn_args_copy *a = &t->args.copy;
    int64_t none[DN_MAX_STRIDED] = {0}, no_offset = 0;
    walk w = {.axes = a->axes, .stride = {a->x_stride, a->y_stride, none}};
    for (int32_t i = 0; i < a->axes; i++)
        w.dim[i] = a->dim[i];
    const dn_shape *shape[] = {shape_if(p, in & 1, t->op.inputs[0]),
                               shape_if(p, out & 1, t->op.outputs[0]), NULL};
    if (!turn(&w, shape, (int64_t *const[]){&a->x_offset, &a->y_offset, &no_offset}, 1))
        return false;
    a->axes = w.axes;
    for (int32_t i = 0; i < w.axes; i++)
        a->dim[i] = w.dim[i];
    return true;
}

static bool relayout_reduce(const dni_program *p, dni_trial *t, uint32_t in)
{
    dn_args_reduce *a = &t->args.reduce;
    walk w = {.axes = a->axes, .stride = {a->x_stride, a->x2_stride, a->y_stride}};
    for (int32_t i = 0; i < a->axes; i++)
        w.dim[i] = a->dim[i];
    const dn_shape *shape[] = {shape_if(p, in & 1, t->op.inputs[0]),
                               shape_if(p, in >> 1 & 1, t->op.inputs[1]), NULL};
    if (!turn(&w, shape, (int64_t *const[]){&a->x_offset, &a->x2_offset, &a->y_offset}, 0))
        return false;
    a->axes = w.axes;
    for (int32_t i = 0; i < w.axes; i++)
        a->dim[i] = w.dim[i];
    return true;
}

/* ---- views ------------------------------------------------------------------------------- */

/* (outer, dim, inner) over the channels of the image, or without meaning for it. */
static bool relayout_view(const dn_shape *shape, int64_t *outer, int64_t *dim, int64_t *inner)
{
    image m = image_of(shape);
    if (*outer != shape->dim[0] || *dim != m.C || *inner != m.I)
        return false;
    *outer *= m.I;
    *inner = 1;
    return true;
}

/* What has a number for each channel of each image is one set of channels after the other. */
static bool relayout_bcast(const dn_shape *shape, dn_args_bcast *b)
{
    image m = image_of(shape);
    if (b->outer == 1 && b->dim == shape->dim[0] * m.C && shape->dim[0] <= INT32_MAX) {
        b->outer = shape->dim[0];
        b->sets = (int32_t)b->outer;
        b->dim = m.C;
    }
    return relayout_view(shape, &b->outer, &b->dim, &b->inner);
}

bool dni_relayout(const dni_program *p, dni_trial *t, uint32_t in, uint32_t out)
{
    const dni_op *op = &t->op;
    const dn_shape *x =
        op->num_inputs && op->inputs[0] != DNI_NONE ? &p->tensors[op->inputs[0]].shape : NULL;
    dn_args_bcast *b = (dn_args_bcast *)op->args;
    dn_args_batch_norm *n = (dn_args_batch_norm *)op->args;
    dn_args_prelu *r = (dn_args_prelu *)op->args;
    dn_args_axis *a = (dn_args_axis *)op->args;
    switch (op->kind) {
    case DN_OP_COPY:
        return relayout_copy(p, t, in, out);
    case DN_OP_REDUCE:
        return relayout_reduce(p, t, in);
    case DN_OP_BCAST:
        return relayout_bcast(x, b);
    case DN_OP_BATCH_NORM:
    case DN_OP_BATCH_NORM_BWD:
    case DN_OP_NORM_SCALE:
    case DN_OP_NORM_SCALE_BWD: /* outer, dim and inner lie alike in both structs */
        return relayout_view(x, &n->outer, &n->dim, &n->inner);
    case DN_OP_PRELU:
    case DN_OP_PRELU_BWD:
        return relayout_view(x, &r->outer, &r->dim, &r->inner);
    case DN_OP_SOFTMAX:
    case DN_OP_SOFTMAX_BWD:
        return relayout_view(x, &a->outer, &a->dim, &a->inner);
    default:
        return true;
    }
}

void dni_conversion(const dni_shape *shape, int32_t from, int32_t to, dn_args_copy *a)
{
    image m = image_of(shape);
    const int64_t dim[] = {shape->dim[0], m.C, m.I}, plain[] = {m.C * m.I, m.I, 1},
                  nhwc[] = {m.C * m.I, 1, m.C};
    a->axes = 3;
    a->alpha = 1;
    for (int32_t i = 0; i < 3; i++) {
        a->dim[i] = dim[i];
        a->x_stride[i] = from == DN_LAYOUT_NHWC ? nhwc[i] : plain[i];
        a->y_stride[i] = to == DN_LAYOUT_NHWC ? nhwc[i] : plain[i];
    }
}

_Static_assert(offsetof(dn_args_norm_scale, outer) == offsetof(dn_args_batch_norm, outer),
               "one case above takes both");
