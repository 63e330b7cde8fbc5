/* SPDX-License-Identifier: BSD-2-Clause
 * test_graph.c: wiring asks as many questions as there are layers, by count: what the makers of
 * a blob read is kept with its last value. */
#include "check.h"

#include "deepnet/net.h"
#include "graph/graph.h"

enum { LAYERS = 3000 };

typedef struct questions {
    size_t reads, spoils;
} questions;

static int32_t no_tops(const Cnn__LayerParameter *layer)
{
    (void)layer;
    return 0;
}

/* "R" reads its top, "S" the sign of it. */
static uint8_t reads(const void *user, const Cnn__LayerParameter *layer)
{
    ((questions *)user)->reads++;
    return *layer->type == 'R' ? DNI_READS_TOP : *layer->type == 'S' ? DNI_READS_SIGN : 0;
}

/* "K" keeps the sign. */
static uint8_t spoils(const void *user, const Cnn__LayerParameter *layer)
{
    ((questions *)user)->spoils++;
    return DNI_READS_TOP | (*layer->type == 'K' ? 0 : DNI_READS_SIGN);
}

/* Builds a net of layers of these types, all in place on 'x' but the first: its blobs. */
static size_t blobs_of(const char *types, size_t count, questions *asked)
{
    static Cnn__LayerParameter layers[LAYERS];
    static Cnn__LayerParameter *list[LAYERS];
    static char names[LAYERS][2];
    static char *types_of[LAYERS], *x[] = {"x"};
    Cnn__NetParameter net = CNN__NET_PARAMETER__INIT;
    dni_net_state state = {.phase = DN_PHASE_TRAIN};
    dni_graph graph;
    for (size_t i = 0; i < count; i++) {
        layers[i] = (Cnn__LayerParameter)CNN__LAYER_PARAMETER__INIT;
        names[i][0] = types[i % strlen(types)];
        types_of[i] = names[i];
        layers[i].type = types_of[i];
        layers[i].n_top = 1;
        layers[i].top = x;
        layers[i].n_bottom = i > 0;
        layers[i].bottom = x;
        list[i] = &layers[i];
    }
    net.n_layer = count;
    net.layer = list;
    *asked = (questions){0};
    CHECK_STATUS(dni_graph_build(&graph, &dni_default_heap, &net, &state, NULL, no_tops, reads,
                                 spoils, asked),
                 DN_OK);
    CHECK_INT(graph.num_values, count);
    size_t blobs = graph.num_blobs;
    dni_graph_free(&graph);
    return blobs;
}

int main(void)
{
    questions asked;
    SECTION("in place, by what is read");
    CHECK_INT(blobs_of("AAA", 3, &asked), 1);
    CHECK_INT(blobs_of("ARA", 3, &asked), 2);
    CHECK_INT(blobs_of("RKK", 3, &asked), 2);
    CHECK_INT(blobs_of("ASK", 3, &asked), 1);
    CHECK_INT(blobs_of("ASA", 3, &asked), 2);
    CHECK_INT(blobs_of("ASKA", 4, &asked), 2); /* the sign is read by one before the last */
    SECTION("many in place");
    CHECK_INT(blobs_of("A", LAYERS, &asked), 1);
    CHECK(asked.reads <= LAYERS && asked.spoils <= LAYERS);
    return check_summary();
}
