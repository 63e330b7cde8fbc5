/* SPDX-License-Identifier: BSD-2-Clause
 * chain.cu: small ops that follow one another, as a loss's do, in one launch while a step is
 * recorded: a block does them in their order, with a barrier after each, so that what one makes
 * another may read, and has the bits that they have by themselves. */
#include "loss.cuh"
#include "softmax.cuh"

enum { SMALL = 2048 }; /* elements of the largest tensor of an op */

enum { CHAIN_SOFTMAX, CHAIN_LOSS, CHAIN_LOSS_BWD, CHAIN_FILL };

typedef struct fill_args {
    float *y, value;
    int32_t add;
} fill_args;

typedef struct chain_step {
    int32_t what;
    int64_t n;
    union {
        axis_args axis;
        loss_args loss;
        fill_args fill;
    } of;
} chain_step;

typedef struct chain_args {
    int32_t num;
    chain_step steps[CUDA_CHAIN_MOST];
} chain_args;

struct cuda_chain {
    dn_op launch; /* what launches are told: a backend and no more */
    chain_args args;
};

BLOCKS(chain, chain_args)
{
    SHARED double sums[BLOCK], valid[BLOCK];
    for (int32_t k = 0; k < a->num; k++) {
        const chain_step *s = &a->steps[k];
        if (s->what == CHAIN_LOSS) {
            sum_piece(&s->of.loss, block, sums, valid);
            continue;
        }
        THREADS(t)
            for (int64_t i = t; i < s->n; i += BLOCK) {
                if (s->what == CHAIN_SOFTMAX)
                    softmax_of(&s->of.axis, i);
                else if (s->what == CHAIN_LOSS_BWD)
                    put_slope(&s->of.loss, i);
                else
                    put(&s->of.fill.y[i], s->of.fill.add, s->of.fill.value);
            }
    }
}

/* Those whose terms are an element's own. */
static bool has_no_rows(const loss_args *l)
{
    return l->kind != DN_LOSS_CONTRASTIVE && l->kind != DN_LOSS_INFOGAIN;
}

/* False: it is none for a chain. */
static bool step_of(chain_step *s, const dn_op *op, const dn_op_io *io)
{
    bool fill = op->kind == &cuda_fill;
    if (!fill && op->kind != &cuda_softmax && op->kind != &cuda_loss &&
        op->kind != &cuda_loss_bwd)
        return false;
    if ((fill ? op->out[0] : op->in[0]).count > SMALL)
        return false;
    if (fill) {
        s->what = CHAIN_FILL;
        s->n = op->out[0].count;
        s->of.fill.y = cuda_out(op, io, 0);
        s->of.fill.value = (float)op->args.fill.value;
        s->of.fill.add = cuda_adds(op, 0);
        return true;
    }
    if (op->kind == &cuda_softmax) {
        s->what = CHAIN_SOFTMAX;
        s->n = op->args.axis.outer * op->args.axis.inner;
        s->of.axis = axis_args_of(op, io);
        return !long_rows(&s->of.axis);
    }
    s->what = op->kind == &cuda_loss ? CHAIN_LOSS : CHAIN_LOSS_BWD;
    s->n = op->in[0].count;
    s->of.loss = loss_args_of(op, io);
    return has_no_rows(&s->of.loss) &&
           (s->what == CHAIN_LOSS ? s->of.loss.pieces == 1 : s->of.loss.norm_in != NULL);
}

cuda_chain *cuda_chain_make(dn_backend *backend)
{
    cuda_chain *c = (cuda_chain *)backend->host.alloc(backend->host.user, sizeof(*c));
    if (c) {
        c->launch.backend = backend;
        c->args.num = 0;
    }
    return c;
}

/* Each time, as whoever launches is told later whether it was done: a recording is rare. */
void cuda_chain_load(dn_backend *backend)
{
    cuda_chain *c = backend->chain;
    chain(&c->launch, &c->args, 1);
}

bool cuda_chain_may(const dn_op *op, const dn_op_io *io)
{
    chain_step step;
    return step_of(&step, op, io);
}

bool cuda_chain_take(cuda_chain *c, const dn_op *op, const dn_op_io *io)
{
    if (c->args.num == CUDA_CHAIN_MOST || !step_of(&c->args.steps[c->args.num], op, io))
        return false;
    c->args.num++;
    return true;
}

void cuda_chain_run(cuda_chain *c)
{
    if (c->args.num)
        chain(&c->launch, &c->args, 1);
    c->args.num = 0;
}
