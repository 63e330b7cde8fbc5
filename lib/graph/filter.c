/* SPDX-License-Identifier: BSD-2-Clause
 * filter.c: which layers take part, by the include and exclude rules of NetStateRule: a rule is
 * met if everything it names fits the net's state. Included if there is no rule, or one include
 * rule is met, or no exclude rule is. */
#include <string.h>

#include "deepnet/net.h"
#include "graph/graph.h"

static bool has_stage(const dni_net_state *state, const char *stage)
{
    for (size_t i = 0; i < state->num_stages; i++)
        if (!strcmp(state->stages[i], stage))
            return true;
    return false;
}

static bool meets(const Cnn__NetStateRule *rule, const dni_net_state *state)
{
    int32_t phase = rule->phase == CNN__PHASE__TRAIN ? DN_PHASE_TRAIN : DN_PHASE_TEST;
    if (rule->has_phase && phase != state->phase)
        return false;
    if (rule->has_min_level && state->level < rule->min_level)
        return false;
    if (rule->has_max_level && state->level > rule->max_level)
        return false;
    for (size_t i = 0; i < rule->n_stage; i++)
        if (!has_stage(state, rule->stage[i]))
            return false;
    for (size_t i = 0; i < rule->n_not_stage; i++)
        if (has_stage(state, rule->not_stage[i]))
            return false;
    return true;
}

static bool any_met(Cnn__NetStateRule *const *rules, size_t count, const dni_net_state *state)
{
    for (size_t i = 0; i < count; i++)
        if (meets(rules[i], state))
            return true;
    return false;
}

dn_status dni_layer_rules_check(const Cnn__LayerParameter *layer)
{
    if (layer->n_include && layer->n_exclude)
        return dni_fail(DN_E_NET, "it has include rules and exclude rules; one kind will do");
    return DN_OK;
}

bool dni_layer_included(const Cnn__LayerParameter *layer, const dni_net_state *state)
{
    if (layer->n_include)
        return any_met(layer->include, layer->n_include, state);
    return !any_met(layer->exclude, layer->n_exclude, state);
}
