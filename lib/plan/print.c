/* SPDX-License-Identifier: BSD-2-Clause
 * print.c: the steps of whole runs as a table: what each moves and computes, what it cannot
 * take less than at one core's rates, and its share of the sum of that. */
#include "plan/facts.h"
#include "plan/plan.h"

static const char *const section_names[DNI_SECTIONS] = {"fwd", "bwd", "update", "prepare",
                                                        "show"};

static bool in_runs(const dni_op *op)
{
    return op->section <= DNI_UPDATE;
}

static const char *layout_of(const dni_program *p, const dni_op *op)
{
    bool nhwc = false;
    for (int32_t k = 0; k < op->num_inputs; k++)
        nhwc |= op->inputs[k] != DNI_NONE && p->tensors[op->inputs[k]].layout == DN_LAYOUT_NHWC;
    for (int32_t k = 0; k < op->num_outputs; k++)
        nhwc |= dni_output(op, k) != DNI_NONE &&
                p->tensors[dni_output(op, k)].layout == DN_LAYOUT_NHWC;
    return nhwc ? "nhwc" : "plain";
}

/* No floating-point conversions: they depend on the locale. */
static void print_tenths(dni_text *text, int width, double value)
{
    long long tenths = (long long)(value * 10 + 0.5);
    dni_text_printf(text, " %*lld.%lld", width, tenths / 10, tenths % 10);
}

/* Replays of a step so far; does what was last end the one before? */
typedef struct replays {
    size_t count;
    bool cut;
} replays;

/* What a device records and replays as one, and what splits it. */
static void print_recordings(const dni_plan *plan, size_t base,
                             const char *(*layer_name)(void *, int32_t), void *user,
                             replays *step, dni_text *text)
{
    const dni_program *p = dni_plan_program(plan);
    for (size_t i = 0; i < p->num_ops;) {
        const dni_op *op = &p->ops[i];
        size_t end = i;
        while (end < p->num_ops && p->ops[end].section == op->section &&
               dni_plan_on_device(plan, end) && !(end > i && p->ops[end - 1].splits))
            end++;
        const char *why = dni_plan_refused(plan, i, end);
        if (!in_runs(op)) {
            i++;
            continue;
        }
        step->count += step->cut && end > i && !why[0];
        step->cut = end == i || why[0] || p->ops[end - 1].splits;
        if (end > i + 1) {
            dni_text_printf(text, "%s: steps %zu to %zu are %s%s\n", section_names[op->section],
                            base + i, base + end - 1,
                            why[0] ? "not recorded: " : "recorded as one", why);
            i = end;
        } else {
            size_t from = text->size;
            if (end == i)
                dni_text_printf(
                    text, "%s: step %zu, '%s', runs on the host: %s",
                    section_names[op->section], base + i, layer_name(user, op->layer),
                    op->kind == DN_OP_HOST_CALL ? "a host call" : dni_plan_declined(plan, i));
            else
                dni_text_printf(text, "%s: step %zu runs by itself", section_names[op->section],
                                base + i);
            dni_text_end_line(text, from);
            i++;
        }
    }
}

/* What becomes of weights that are constant between versions: kept in the op's own form, or
 * folded for one op that keeps them so. */
static void print_kept(const dni_plan *plan, size_t i, dni_text *text)
{
    uint32_t unread;
    size_t bytes = dni_plan_keeps(plan, i, &unread), taken_by = dni_plan_taken_by(plan, i);
    if (bytes)
        dni_text_printf(text, "; keeps %zu bytes", bytes);
    for (int32_t k = 0; bytes && k < DN_MAX_OPERANDS; k++)
        if (unread >> k & 1)
            dni_text_printf(text, " in place of input %d", (int)k);
    if (taken_by != SIZE_MAX)
        dni_text_printf(text, "; taken up at once by step %zu", taken_by);
}

/* Steps of a group are told by those it begins and ends with. */
static void print_lane(const dni_plan *plan, size_t i, size_t base, dni_text *text)
{
    size_t first, end;
    int32_t lane = dni_plan_lane(plan, i, &first, &end);
    if (lane >= 0)
        dni_text_printf(text, "; lane %d of steps %zu to %zu, side by side", (int)lane,
                        base + first, base + end - 1);
}

static int32_t turns_of(const dni_op *op)
{
    return op->turns ? op->turns : 1;
}

/* Ops that `update` takes the place of are printed as "left", and are no part of a run. */
static bool is_left(const dni_op *op, dni_plan *update)
{
    const dni_program *p = update ? dni_plan_program(update) : NULL;
    return op->late && p && p->num_ops && p->ops[p->num_ops - 1].turns;
}

static double limit_of_runs(const dni_plan *plan, dni_plan *update)
{
    const dni_program *p = dni_plan_program(plan);
    double total = 0;
    for (size_t i = 0; i < p->num_ops; i++)
        if (in_runs(&p->ops[i]) && !is_left(&p->ops[i], update))
            total += turns_of(&p->ops[i]) * dni_op_limit(p, &p->ops[i]);
    return total;
}

static void print_step(dni_plan *plan, size_t i, size_t base, double total, bool left,
                       const char *layer, dni_text *text)
{
    const dni_program *p = dni_plan_program(plan);
    const dni_op *op = &p->ops[i];
    int32_t turns = turns_of(op);
    double limit = turns * dni_op_limit(p, op);
    size_t from = text->size;
    dni_text_printf(text, "%4zu %-7s %-20s %-32s %-6s %10lld %14lld", base + i,
                    left ? "left" : section_names[op->section], layer,
                    dni_plan_implementation(plan, i), layout_of(p, op),
                    turns * (long long)dni_op_bytes(p, op),
                    turns * (long long)dni_op_flops(p, op));
    print_tenths(text, 8, limit / 1e3);
    print_tenths(text, 4, in_runs(op) && !left && total > 0 ? 100 * limit / total : 0);
    dni_text_printf(text, "%%");
    if (dni_plan_cost(plan, i) > 0)
        print_tenths(text, 8, turns * dni_plan_cost(plan, i) / 1e3);
    else
        dni_text_printf(text, " %10s", "-");
    dni_text_printf(text, "  ");
    dni_op_print(p, op, text);
    if (op->turns)
        dni_text_printf(text, "; in %d strips", (int)turns);
    print_kept(plan, i, text);
    print_lane(plan, i, base, text);
    dni_text_end_line(text, from);
}

void dni_plan_print(dni_plan *plan, dni_plan *update,
                    const char *(*layer_name)(void *user, int32_t layer), void *user,
                    dni_text *text)
{
    dni_plan *const plans[2] = {plan, update};
    replays step = {0, true};
    double total = limit_of_runs(plan, update) + (update ? limit_of_runs(update, update) : 0);
    size_t base = 0;
    dni_text_printf(text, "%4s %-7s %-20s %-32s %-6s %10s %14s %10s %7s %10s  %s\n", "step",
                    "part", "layer", "implementation", "layout", "bytes", "flops", "limit us",
                    "share", "cost us", "op");
    for (int k = 0; k < 2 && plans[k]; k++) {
        const dni_program *p = dni_plan_program(plans[k]);
        for (size_t i = 0; i < p->num_ops; i++)
            print_step(plans[k], i, base, total, is_left(&p->ops[i], update),
                       layer_name(user, p->ops[i].layer), text);
        base += p->num_ops;
    }
    dni_text_printf(text, "%zu steps; at the least", base);
    print_tenths(text, 1, total / 1e6);
    dni_text_printf(text, " ms at 240 GFLOP/s and 16 GB/s\n");
    base = 0;
    for (int k = 0; k < 2 && plans[k]; k++) {
        if (dni_plan_has_device(plans[k]))
            print_recordings(plans[k], base, layer_name, user, &step, text);
        base += dni_plan_program(plans[k])->num_ops;
    }
    if (update && step.count)
        dni_text_printf(text, "replays in a step: %zu\n", step.count);
}
