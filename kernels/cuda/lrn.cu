/* SPDX-License-Identifier: BSD-2-Clause
 * lrn.cu: LRN and LRN_BWD: a thread per element walks its neighbours. Across channels and
 * within a channel, plain and channels-last differ only in where the neighbours lie. */
#include "grid.cuh"

typedef struct lrn_args {
    values x, y_in, scale_in, dy, out, scale;
    int64_t length[2], step[2]; /* the two axes neighbours are on */
    int32_t half[2], add;
    float k, weight, beta;
} lrn_args;

typedef struct neighbours {
    int64_t base, begin[2], end[2];
} neighbours;

DEVICE neighbours neighbours_of(const lrn_args *a, int64_t i)
{
    neighbours n;
    n.base = i;
    for (int d = 0; d < 2; d++) {
        int64_t at = middle_of(i, a->length[d], a->step[d]);
        n.begin[d] = at > a->half[d] ? at - a->half[d] : 0;
        n.end[d] = at + a->half[d] + 1 < a->length[d] ? at + a->half[d] + 1 : a->length[d];
        n.base -= at * a->step[d];
    }
    return n;
}

MAP(lrn, lrn_args)
{
    neighbours n = neighbours_of(a, i);
    float sum = 0;
    for (int64_t u = n.begin[0]; u < n.end[0]; u++)
        for (int64_t v = n.begin[1]; v < n.end[1]; v++) {
            float near = get(a->x, n.base + u * a->step[0] + v * a->step[1]);
            sum += near * near;
        }
    float scale = a->k + a->weight * sum;
    set(a->scale, i, scale);
    put_value(a->out, i, a->add, get(a->x, i) * powf(scale, -a->beta));
}

MAP(lrn_bwd, lrn_args)
{
    neighbours n = neighbours_of(a, i);
    float sum = 0;
    for (int64_t u = n.begin[0]; u < n.end[0]; u++)
        for (int64_t v = n.begin[1]; v < n.end[1]; v++) {
            int64_t j = n.base + u * a->step[0] + v * a->step[1];
            sum += get(a->dy, j) * get(a->y_in, j) / get(a->scale_in, j);
        }
    put_value(a->out, i, a->add,
              get(a->dy, i) * powf(get(a->scale_in, i), -a->beta) -
                  2 * a->beta * a->weight * get(a->x, i) * sum);
}

static lrn_args args_of(const dn_op *op, const dn_op_io *io)
{
    const dn_args_lrn *l = &op->args.lrn;
    const dn_operand *x = &op->in[0].info;
    bool last = x->layout == DN_LAYOUT_NHWC, within = l->region == DN_LRN_WITHIN;
    int64_t C = x->shape.dim[1], pixels = 1;
    lrn_args a = {{0}};
    for (int32_t d = 2; d < x->shape.axes; d++)
        pixels *= x->shape.dim[d];
    a.x = values_in(op, io, 0);
    a.out = values_out(op, io, 0);
    a.length[0] = within ? x->shape.dim[2] : C;
    a.step[0] = within ? x->shape.dim[3] * (last ? C : 1) : last ? 1 : pixels;
    a.length[1] = within ? x->shape.dim[3] : 1;
    a.step[1] = within && last ? C : 1;
    a.half[0] = l->size / 2;
    a.half[1] = within ? l->size / 2 : 0;
    a.add = cuda_adds(op, 0);
    a.k = within ? 1 : (float)l->k;
    a.weight = (float)(l->alpha / l->size / (within ? l->size : 1));
    a.beta = (float)l->beta;
    return a;
}

static dn_status prepare(dn_op *op, dn_op_info *info)
{
    int32_t layout = op->in[0].info.layout;
    bool alike = true;
    for (int32_t i = 1; i < op->num_inputs; i++)
        alike = alike && op->in[i].info.layout == layout;
    for (int32_t i = 0; i < op->num_outputs; i++)
        alike = alike && op->out[i].info.layout == layout;
    return alike ? DN_OK : cuda_decline(info, "some of it is NHWC, some is not");
}

static dn_status run_lrn(const dn_op *op, const dn_op_io *io)
{
    lrn_args a = args_of(op, io);
    a.scale = values_out(op, io, 1);
    lrn(op, &a, op->out[0].count);
    return DN_OK;
}

const cuda_kind cuda_lrn = {"LRN", sizeof(dn_args_lrn), prepare, run_lrn, CUDA_NARROW(1, 3)};

static dn_status run_lrn_bwd(const dn_op *op, const dn_op_io *io)
{
    lrn_args a = args_of(op, io);
    a.y_in = values_in(op, io, 1);
    a.scale_in = values_in(op, io, 2);
    a.dy = values_in(op, io, 3);
    lrn_bwd(op, &a, op->out[0].count);
    return DN_OK;
}

const cuda_kind cuda_lrn_bwd = {"LRN_BWD", sizeof(dn_args_lrn), prepare, run_lrn_bwd,
                                CUDA_NARROW(15, 1)};
