/* SPDX-License-Identifier: BSD-2-Clause
 * schedule.c: learning-rate policies, one row each: its formula and the fields it reads. Powers
 * are taken in double and rounded once, as Caffe's come out. Of the forks: Intel's warmup_iter
 * and NVIDIA's rampup_interval, before which the rate rises to base_lr, min_lr, YOLO's
 * multifixed, and SSD's plateau, which alone looks at the loss; NVIDIA's momentum_policy. */
#include <math.h>
#include <string.h>

#include "solver/rule.h"

typedef struct moment {
    int64_t iteration, max_iter;
    int32_t step;
} moment;

typedef double (*rate_fn)(const Cnn__SolverParameter *p, const moment *m);

static double fixed(const Cnn__SolverParameter *p, const moment *m)
{
    return p->base_lr;
}

/* step: m->step = floor(iteration / stepsize); multistep: the stepvalues passed; plateau: as
 * dni_schedule_plateau left it. */
static double by_step(const Cnn__SolverParameter *p, const moment *m)
{
    return p->base_lr * pow(p->gamma, m->step);
}

static double exponential(const Cnn__SolverParameter *p, const moment *m)
{
    return p->base_lr * pow(p->gamma, (double)m->iteration);
}

static double inverse(const Cnn__SolverParameter *p, const moment *m)
{
    return p->base_lr * pow(1 + p->gamma * (float)m->iteration, -p->power);
}

/* Caffe's formula has no value beyond max_iter; there the rate is that at max_iter. */
static double poly(const Cnn__SolverParameter *p, const moment *m)
{
    float left = 1 - (float)m->iteration / (float)m->max_iter, least = p->min_lr;
    return (p->base_lr - least) * pow(left > 0 ? left : 0, p->power) + least;
}

static double sigmoid(const Cnn__SolverParameter *p, const moment *m)
{
    return p->base_lr / (1 + exp(-p->gamma * (float)(m->iteration - p->stepsize)));
}

/* YOLO's forks: stagelr[i] up to and with iteration stageiter[i]; the last for ever. */
static double multifixed(const Cnn__SolverParameter *p, const moment *m)
{
    size_t stage = 0;
    while (stage + 1 < p->n_stagelr && m->iteration > p->stageiter[stage])
        stage++;
    return p->stagelr[stage];
}

/* In the beginning. Intel: a line from warmup_start_lr; NVIDIA: a parabola from rampup_lr. */
static bool rises(const Cnn__SolverParameter *p, int64_t iteration)
{
    return iteration < p->warmup_iter || iteration < p->rampup_interval;
}

static double rising(const Cnn__SolverParameter *p, const moment *m)
{
    bool line = m->iteration < p->warmup_iter;
    double part = (double)m->iteration / (line ? p->warmup_iter : p->rampup_interval);
    double from = line ? p->warmup_start_lr : p->rampup_lr;
    return from + (p->base_lr - from) * (line ? part : part * part);
}

enum { NEEDS_STEPSIZE = 1, NEEDS_MAX_ITER = 2, NEEDS_GAMMA = 4, NEEDS_STAGES = 8 };

static const char plateau[] = "plateau";

static const struct policy {
    const char *name;
    rate_fn rate;
    uint32_t needs;
} policies[] = {
    {"fixed", fixed, 0},
    {"step", by_step, NEEDS_STEPSIZE | NEEDS_GAMMA},
    {"exp", exponential, NEEDS_GAMMA},
    {"inv", inverse, NEEDS_GAMMA},
    {"multistep", by_step, NEEDS_GAMMA},
    {"poly", poly, NEEDS_MAX_ITER},
    {"sigmoid", sigmoid, 0}, /* gamma < 0: it falls */
    {"multifixed", multifixed, NEEDS_STAGES},
    {plateau, by_step, NEEDS_GAMMA},
};

static const struct policy *find(const char *name)
{
    for (size_t i = 0; name && i < DNI_COUNT(policies); i++)
        if (!strcmp(policies[i].name, name))
            return &policies[i];
    return NULL;
}

static dn_status unknown_policy(const char *name)
{
    const char *names[DNI_COUNT(policies)];
    for (size_t i = 0; i < DNI_COUNT(policies); i++)
        names[i] = policies[i].name;
    const char *nearest = dni_nearest(name, names, DNI_COUNT(names));
    if (nearest)
        return dni_fail(DN_E_NET, "unknown lr_policy '%s'; did you mean '%s'?", name, nearest);
    return dni_fail(DN_E_NET,
                    "unknown lr_policy '%s'; there are fixed, step, exp, inv, "
                    "multistep, poly, sigmoid, multifixed and plateau",
                    name);
}

dn_status dni_schedule_check(const Cnn__SolverParameter *p, int64_t max_iter)
{
    if (!p->lr_policy)
        return dni_fail(DN_E_NET, "the solver has no lr_policy; 'fixed' keeps base_lr as it "
                                  "is");
    const struct policy *policy = find(p->lr_policy);
    if (!policy)
        return unknown_policy(p->lr_policy);
    if (policy->needs & NEEDS_STEPSIZE && p->stepsize <= 0)
        return dni_fail(DN_E_NET, "lr_policy 'step' needs a stepsize > 0");
    if (policy->needs & NEEDS_MAX_ITER && max_iter <= 0)
        return dni_fail(DN_E_NET, "lr_policy '%s' needs a max_iter > 0", policy->name);
    if (policy->needs & NEEDS_STAGES && (!p->n_stagelr || p->n_stagelr != p->n_stageiter))
        return dni_fail(DN_E_NET,
                        "lr_policy '%s' needs stagelr and stageiter, as many of one as "
                        "of the other",
                        policy->name);
    if (policy->needs & NEEDS_GAMMA && !(p->gamma >= 0))
        return dni_fail(DN_E_NET, "lr_policy '%s' needs a gamma >= 0", policy->name);
    if (isnan(p->gamma))
        return dni_fail(DN_E_NET, "gamma is not a number");
    if (p->base_lr < 0 && !strcmp(p->momentum_policy, "opt"))
        return dni_fail(DN_E_NET, "momentum_policy 'opt' needs a base_lr >= 0");
    if (!strcmp(p->momentum_policy, "poly") && max_iter <= 0)
        return dni_fail(DN_E_NET, "momentum_policy 'poly' needs a max_iter > 0");
    if (!strcmp(p->momentum_policy, "poly") && !(p->momentum_power >= 0))
        return dni_fail(DN_E_NET, "momentum_policy 'poly' needs a momentum_power >= 0");
    if (strcmp(p->momentum_policy, "poly") && strcmp(p->momentum_policy, "opt") &&
        dni_schedule_moves_momentum(p))
        return dni_fail(DN_E_NET, "unknown momentum_policy '%s'; there are fixed, poly and opt",
                        p->momentum_policy);
    if (!(p->min_lr >= 0 && (p->min_lr == 0 || p->min_lr <= p->base_lr)))
        return dni_fail(DN_E_NET, "min_lr is not from 0 to base_lr%s",
                        p->base_lr < 0 ? ", which is negative" : "");
    return DN_OK;
}

int32_t dni_schedule_step(const Cnn__SolverParameter *p, int64_t iteration, int32_t step)
{
    if (rises(p, iteration))
        return step;
    if (!strcmp(p->lr_policy, "step"))
        return (int32_t)(iteration / p->stepsize);
    if (!strcmp(p->lr_policy, "multistep") && step >= 0 && (size_t)step < p->n_stepvalue &&
        iteration >= p->stepvalue[step])
        return step + 1;
    return step;
}

bool dni_schedule_reads_loss(const Cnn__SolverParameter *p)
{
    return !strcmp(p->lr_policy, plateau);
}

int32_t dni_schedule_plateau(const Cnn__SolverParameter *p, int64_t iteration, int32_t step,
                             float loss, dni_plateau *state)
{
    if (loss < state->least)
        *state = (dni_plateau){loss, iteration};
    if ((size_t)step >= p->n_plateau_winsize ||
        iteration - state->since < p->plateau_winsize[step])
        return step;
    state->since = iteration;
    return step + 1;
}

float dni_schedule_rate(const Cnn__SolverParameter *p, int64_t max_iter, int64_t iteration,
                        int32_t step)
{
    moment m = {.iteration = iteration, .max_iter = max_iter, .step = step};
    dni_fp host = dni_fp_enter();
    float rate = (float)(rises(p, iteration) ? rising : find(p->lr_policy)->rate)(p, &m);
    dni_fp_leave(host);
    return p->min_lr > 0 && rate < p->min_lr ? p->min_lr : rate; /* base_lr may be negative */
}

bool dni_schedule_moves_momentum(const Cnn__SolverParameter *p)
{
    return strcmp(p->momentum_policy, "fixed") != 0;
}

/* opt: (1 - sqrt(rate) / 2)^2, at most max_momentum if that is given. poly: from momentum to
 * max_momentum at max_iter. */
double dni_schedule_momentum(const Cnn__SolverParameter *p, int64_t max_iter, int64_t iteration,
                             double rate)
{
    double most = p->max_momentum, from = p->momentum;
    if (!strcmp(p->momentum_policy, "opt")) {
        double root = 1 - 0.5 * sqrt(rate);
        return p->has_max_momentum && most < root * root ? most : root * root;
    }
    double part = (double)iteration / (double)max_iter;
    return from + (most - from) * pow(part < 1 ? part : 1, p->momentum_power);
}
