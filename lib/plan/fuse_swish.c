/* SPDX-License-Identifier: BSD-2-Clause
 * fuse_swish.c: y = x c min(max(x + 3, 0), 6), as nets of MobileNet v3 write it: Power, ReLU6,
 * Power and a product, or with the 1 / 6 first. Four walks over x become one function, which
 * may then be part of the op that makes x. */
#include <math.h>

#include "plan/passes.h"

/* Product i of input k, x, and of what functions made of it for nobody else. */
static dn_status fuse(dni_rewrite *r, size_t i, int32_t k)
{
    enum { MOST = 4 };
    dni_program *p = r->program;
    dni_op *product = &p->ops[i], *chain[MOST + 1] = {product};
    dni_tensor x = dni_root(p, product->inputs[k]), h = dni_root(p, product->inputs[!k]);
    double a = 1, b = 0, low = -INFINITY, high = INFINITY; /* min(max(a . + b, low), high) */
    size_t at = i;
    int32_t n = 0;
    for (; h != x && n < MOST; h = dni_root(p, chain[n]->inputs[0])) {
        size_t reader = at;
        at = dni_last_write(p, h, reader);
        if (at == SIZE_MAX || p->ops[at].kind != DN_OP_UNARY ||
            p->ops[at].section != product->section || !dni_only_reader(p, h, at, reader))
            return DN_OK;
        chain[++n] = &p->ops[at];
        const dn_args_unary *u = (const dn_args_unary *)chain[n]->args;
        bool line = u->fn == DN_FN_AFFINE && u->a > 0;
        if (u->base.accumulate || (!line && (u->fn != DN_FN_CLIP || !(u->a <= u->b))))
            return DN_OK;
        if (line)
            b += a * u->b, a *= u->a;
        else
            low = fmax(low, a * u->a + b), high = fmin(high, a * u->b + b);
    }
    double off = 1e-6 * a; /* NaN is near nothing */
    bool near = fabs(b - 3 * a) <= off && fabs(high - 6 * a) <= off && fabs(low) <= off;
    if (h != x || !near || dni_next_write(p, x, at, i) < i ||
        !dni_untouched(p, dni_root(p, product->outputs[0]), at, i))
        return DN_OK;
    dni_trial trial;
    dni_trial_of(&trial, chain[1]);
    dn_args_unary *u = &trial.args.unary;
    u->fn = DN_FN_HARD_SWISH, u->a = a, u->b = 0;
    trial.op.inputs[0] = product->inputs[k];
    trial.op.outputs[0] = product->outputs[0];
    bool accepted;
    dn_status st = dni_accepts(r, &trial.op, (const dni_op *const *)chain, n + 1, &accepted);
    if (st || !accepted)
        return st;
    dni_kill(product);
    for (; n > 1; n--)
        dni_kill(chain[n]);
    return dni_trial_adopt(&trial, p, (size_t)(chain[1] - p->ops));
}

dn_status dni_fuse_swish(dni_rewrite *r)
{
    dni_program *p = r->program;
    dn_status st = DN_OK;
    for (size_t i = 0; !st && i < p->num_ops; i++)
        for (int32_t k = 0; !st && k < 2; k++) {
            const dni_op *op = &p->ops[i];
            if (op->kind == DN_OP_ELTWISE && op->num_inputs == 2 && !op->args->accumulate &&
                ((const dn_args_eltwise *)op->args)->op == DN_ELTWISE_PROD)
                st = fuse(r, i, k);
        }
    return st;
}
