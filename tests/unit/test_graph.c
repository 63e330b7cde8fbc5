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

/* Builds a net of layers on one blob each: the n-th reads bottoms[n], letters, and makes
 * tops[n]. Returns how many blobs there are; 0: it does not wire, and nothing is left of it. */
static size_t wire(const char *const bottoms[], const char *const tops[], size_t count)
{
    static Cnn__LayerParameter layers[8];
    static Cnn__LayerParameter *list[8];
    static char names[8][2][4][2];
    static char *lists[8][2][4];
    questions asked = {0};
    check_heap counts = {0};
    const dni_heap heap = {check_alloc, &counts};
    Cnn__NetParameter net = CNN__NET_PARAMETER__INIT;
    dni_net_state state = {.phase = DN_PHASE_TRAIN};
    dni_graph graph;
    for (size_t i = 0; i < count; i++) {
        layers[i] = (Cnn__LayerParameter)CNN__LAYER_PARAMETER__INIT;
        layers[i].type = layers[i].name = "Any";
        for (int side = 0; side < 2; side++) {
            const char *letters = side ? tops[i] : bottoms[i];
            for (size_t k = 0; k < strlen(letters); k++) {
                names[i][side][k][0] = letters[k];
                lists[i][side][k] = names[i][side][k];
            }
        }
        layers[i].n_bottom = strlen(bottoms[i]);
        layers[i].bottom = lists[i][0];
        layers[i].n_top = strlen(tops[i]);
        layers[i].top = lists[i][1];
        list[i] = &layers[i];
    }
    net.n_layer = count;
    net.layer = list;
    dn_status st =
        dni_graph_build(&graph, &heap, &net, &state, NULL, no_tops, reads, spoils, &asked);
    size_t blobs = st ? 0 : graph.num_blobs;
    dni_graph_free(&graph);
    CHECK_HEAP_CLEAN(&counts);
    return blobs;
}

static void test_readers(void)
{
    static const char *const chain[] = {"", "a", "a"}, *const last[] = {"a", "b", "a"};
    static const char *const first[] = {"a", "a", "b"};
    static const char *const twice[] = {"", "aa"}, *const makes[] = {"a", "a"};
    static const char *const none[] = {"", "x"}, *const same[] = {"a", "bb"};
    SECTION("in place, by who else reads");
    CHECK_INT(wire(chain, last, 3), 3);  /* b is made of what a was before */
    CHECK_INT(wire(chain, first, 3), 2); /* and here of what it has become */
    CHECK_INT(wire(twice, makes, 2), 2);
    SECTION("what does not wire leaves nothing");
    CHECK_INT(wire(none, makes, 2), 0);
    CHECK(strstr(dn_last_error(), "bottom 'x' is made by no layer") != NULL);
    CHECK_INT(wire(chain, same, 2), 0);
    CHECK(strstr(dn_last_error(), "top 'b' is made twice; layer 'Any' makes it too") != NULL);
    CHECK_INT(wire(chain, last, 0), 0);
    CHECK(strstr(dn_last_error(), "the net has no layer") != NULL);
    CHECK(strstr(dn_last_error(), "phase") == NULL);
    dni_clear_error();
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
    test_readers();
    return check_summary();
}
