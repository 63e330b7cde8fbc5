/* SPDX-License-Identifier: BSD-2-Clause
 * test_filter.c: which layers take part, by phase, level and stage, through the public API:
 * Caffe's rules, and its refusal of a layer with both kinds of rule. */
#include "check.h"

#include "deepnet/context.h"
#include "deepnet/net.h"

#define LAYER(name, rules)                                                                     \
    "layer { name: '" name "' type: 'DummyData' top: '" name "' " rules                        \
    " dummy_data_param { shape { dim: 1 } } } "

static const char text[] = LAYER("always", "") LAYER("train", "include { phase: TRAIN }")
    LAYER("test", "include: { phase: TEST }") LAYER("not-train", "exclude { phase: TRAIN }")
        LAYER("from2", "include { min_level: 2 }") LAYER("to2", "include { max_level: 2 }")
            LAYER("2to3", "include { min_level: 2 max_level: 3 }") LAYER(
                "a", "include { stage: 'a' }") LAYER("a+b", "include { stage: 'a' stage: 'b' }")
                LAYER("a|b", "include { stage: 'a' } include { stage: 'b' }")
                    LAYER("not-a", "include { not_stage: 'a' }")
                        LAYER("a-not-b", "include { stage: 'a' not_stage: 'b' }")
                            LAYER("but-a", "exclude { stage: 'a' }") LAYER(
                                "but-a|b", "exclude { stage: 'a' } exclude { stage: 'b' }")
                                LAYER("test-a", "include { phase: TEST stage: 'a' }");

static const struct state {
    int32_t phase, level;
    const char *stages[3];
    const char *layers;
} states[] = {
    {DN_PHASE_TRAIN, 0, {0}, "always train to2 not-a but-a but-a|b "},
    {DN_PHASE_TEST, 0, {0}, "always test not-train to2 not-a but-a but-a|b "},
    {DN_PHASE_TEST, 2, {0}, "always test not-train from2 to2 2to3 not-a but-a but-a|b "},
    {DN_PHASE_TEST, 4, {0}, "always test not-train from2 not-a but-a but-a|b "},
    {DN_PHASE_TEST, 0, {"a"}, "always test not-train to2 a a|b a-not-b test-a "},
    {DN_PHASE_TRAIN, 0, {"b"}, "always train to2 a|b not-a but-a "},
    {DN_PHASE_TEST, -1, {"b", "a"}, "always test not-train to2 a a+b a|b test-a "},
    {DN_PHASE_DEFAULT, 0, {"c"}, "always test not-train to2 not-a but-a but-a|b "},
};

static void check_state(dn_context *context, const struct state *state)
{
    dn_net *net = NULL;
    char layers[300] = "";
    dn_net_options options = {.struct_size = sizeof options, .phase = state->phase};
    options.level = state->level;
    options.stages = state->stages;
    while (state->stages[options.num_stages])
        options.num_stages++;
    CHECK_STATUS(dn_net_create_from_text(&net, context, text, sizeof text - 1, &options),
                 DN_OK);
    for (int32_t i = 0; i < dn_net_num_layers(net); i++) {
        size_t at = strlen(layers);
        snprintf(layers + at, sizeof layers - at, "%s ", dn_net_layer_name(net, i));
    }
    CHECK_TEXT(layers, state->layers);
    dn_net_free(net);
}

/* What the prototxt's own `state` says holds where the options say nothing. */
static void check_own_state(dn_context *context)
{
    static const char own[] =
        "state { phase: TRAIN level: 3 stage: 'a' } " LAYER("train", "include { phase: TRAIN }")
            LAYER("from2", "include { min_level: 2 }") LAYER("a", "include { stage: 'a' }")
                LAYER("but-a", "exclude { stage: 'a' }");
    dn_net *net = NULL;
    SECTION("the net's own state");
    CHECK_STATUS(dn_net_create_from_text(&net, context, own, sizeof own - 1, NULL), DN_OK);
    CHECK_INT(dn_net_num_layers(net), 3);
    CHECK_INT(dn_net_phase(net), DN_PHASE_TRAIN);
    CHECK_INT(dn_net_find_layer(net, "but-a"), -1);
    dn_net_free(net);
}

static void check_refusals(dn_context *context)
{
    static const char both[] = LAYER("both", "include { phase: TRAIN } exclude { stage: 'a' }");
    static const char none[] = LAYER("l", "include { stage: 'a' }");
    dn_net *net = NULL;
    SECTION("refusals");
    CHECK_MESSAGE(dn_net_create_from_text(&net, context, both, sizeof both - 1, NULL), DN_E_NET,
                  "layer 'both'");
    CHECK_MESSAGE(dn_net_create_from_text(&net, context, none, sizeof none - 1, NULL), DN_E_NET,
                  "no layer in this phase");
    CHECK(!net);
}

int main(void)
{
    dn_context *context = NULL;
    dn_context_options options = {.struct_size = sizeof options, .num_threads = 1};
    CHECK_STATUS(dn_context_create(&context, &options), DN_OK);
    for (size_t i = 0; i < sizeof states / sizeof states[0]; i++) {
        SECTION(states[i].layers);
        check_state(context, &states[i]);
    }
    check_own_state(context);
    check_refusals(context);
    dn_context_free(context);
    return check_summary();
}
