/* SPDX-License-Identifier: BSD-2-Clause
 * update.c: UPDATE and SCALE_CLIP: the six rules, one function each from a gradient and the two
 * histories to the step that is taken off the weight. */
#include "ref.h"

typedef struct rates {
    real local, correction, momentum, momentum2, delta, rms_decay;
} rates;

static real step_sgd(const rates *r, real g, real *h1, real *h2)
{
    return *h1 = r->momentum * *h1 + r->local * g;
}

static real step_nesterov(const rates *r, real g, real *h1, real *h2)
{
    real before = *h1;
    *h1 = r->momentum * before + r->local * g;
    return (1 + r->momentum) * *h1 - r->momentum * before;
}

static real step_adagrad(const rates *r, real g, real *h1, real *h2)
{
    *h1 += g * g;
    return r->local * g / (sqrt(*h1) + r->delta);
}

static real step_rmsprop(const rates *r, real g, real *h1, real *h2)
{
    *h1 = r->rms_decay * *h1 + (1 - r->rms_decay) * g * g;
    return r->local * g / (sqrt(*h1) + r->delta);
}

static real step_adadelta(const rates *r, real g, real *h1, real *h2)
{
    *h1 = r->momentum * *h1 + (1 - r->momentum) * g * g;
    real step = g * sqrt((*h2 + r->delta) / (*h1 + r->delta));
    *h2 = r->momentum * *h2 + (1 - r->momentum) * step * step;
    return r->local * step;
}

static real step_adam(const rates *r, real g, real *h1, real *h2)
{
    *h1 = r->momentum * *h1 + (1 - r->momentum) * g;
    *h2 = r->momentum2 * *h2 + (1 - r->momentum2) * g * g;
    return r->local * r->correction * *h1 / (sqrt(*h2) + r->delta);
}

static bool has_two_histories(int32_t rule)
{
    return rule == DN_UPDATE_ADADELTA || rule == DN_UPDATE_ADAM;
}

/* Outputs of one weight. */
static int32_t outputs_of(int32_t rule)
{
    return has_two_histories(rule) ? 4 : 3;
}

static dn_status check_update(dn_op *op)
{
    int32_t rule = op->args.update.rule, own = outputs_of(rule), num = op->num_outputs;
    bool many = ref_has_in(op, 1);
    if (rule < DN_UPDATE_SGD || rule > DN_UPDATE_ADAM)
        return ref_fail(op, DN_E_INVALID, "there is no rule %d", (int)rule);
    if (many ? num % own : num > 4)
        return ref_fail(op, DN_E_INVALID, "%d outputs are not those of whole weights",
                        (int)num);
    REF_TRY(ref_need_in(op, 0, 4));
    REF_TRY(ref_need_in(op, 1, num / own * 2));
    for (int32_t i = 0; i < (many ? num : own); i++) {
        if (!ref_has_out(op, i))
            return ref_fail(op, DN_E_INVALID, "rule %d needs its history", (int)rule);
        REF_TRY(ref_need_out(op, i, op->out[i - i % own].count));
    }
    return DN_OK;
}

dn_status REF(ref_run_update)(const dn_op *op, const dn_op_io *io)
{
    static real (*const step_of[])(const rates *, real, real *, real *) = {
        [DN_UPDATE_SGD] = step_sgd,           [DN_UPDATE_NESTEROV] = step_nesterov,
        [DN_UPDATE_ADAGRAD] = step_adagrad,   [DN_UPDATE_RMSPROP] = step_rmsprop,
        [DN_UPDATE_ADADELTA] = step_adadelta, [DN_UPDATE_ADAM] = step_adam};
    const dn_args_update *a = &op->args.update;
    const real *hyper = io->in[0], *each = ref_in(op, io, 1);
    int32_t own = outputs_of(a->rule), num = each ? op->num_outputs / own : 1;
    rates r = {.correction = hyper[1],
               .momentum = (real)a->momentum,
               .momentum2 = (real)a->momentum2,
               .delta = (real)a->delta,
               .rms_decay = (real)a->rms_decay};
    for (int32_t p = 0; p < num; p++) {
        real *const *out = (real *const *)io->out + p * own;
        real *w = out[0], *grad = out[1], *h1 = out[2], *h2 = own > 3 ? out[3] : NULL;
        real decay = each ? each[2 * p + 1] : (real)a->decay;
        r.local = hyper[0] * (each ? each[2 * p] : (real)a->lr_mult);
        for (int64_t i = 0; i < op->out[p * own].count; i++) {
            real g = grad[i] * hyper[2] * hyper[3];
            if (decay != 0)
                g += decay * (a->l1 ? (real)((w[i] > 0) - (w[i] < 0)) : w[i]);
            grad[i] = step_of[a->rule](&r, g, &h1[i], h2 ? &h2[i] : NULL);
            w[i] -= grad[i];
        }
    }
    return DN_OK;
}

REF_KIND(update) = {"UPDATE", "Tt:TTt+",    sizeof(dn_args_update),
                    0,        check_update, REF_RUNS(update)};

static dn_status check_scale_clip(dn_op *op)
{
    return ref_need_in(op, 0, 1);
}

dn_status REF(ref_run_scale_clip)(const dn_op *op, const dn_op_io *io)
{
    double norm = sqrt((double)*(const real *)io->in[0]), clip = op->args.scale_clip.clip;
    for (int32_t k = 0; norm > clip && k < op->num_outputs; k++) {
        real *x = io->out[k];
        for (int64_t i = 0; i < op->out[k].count; i++)
            x[i] = (real)(x[i] * (clip / norm));
    }
    return DN_OK;
}

REF_KIND(scale_clip) = {
    "SCALE_CLIP",        "T:T+", sizeof(dn_args_scale_clip), 0, check_scale_clip,
    REF_RUNS(scale_clip)};
