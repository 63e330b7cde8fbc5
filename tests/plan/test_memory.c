/* SPDX-License-Identifier: BSD-2-Clause
 * test_memory.c: what a net needs is known before it is made, and is no more than it should be.
 */
#include "nets.h"

#include "core/context.h"
#include "plan/place.h"

/* Three convolutions, their norms and ReLUs in place, one blob each. */
#define CHAIN                                                                                  \
    X CONV("a", "x", "") NORM("a") RELU("a") CONV("b", "a", "") NORM("b") RELU("b")            \
        CONV("c", "b", "") NORM("c") RELU("c") LOSS("c")

static size_t report(dn_net *net)
{
    dn_net_memory m = {.struct_size = sizeof m};
    CHECK_STATUS(dn_net_memory_report(net, &m), DN_OK);
    CHECK(m.plan > 0);
    CHECK_INT(m.total,
              m.weights + m.weight_gradients + m.blobs + m.blob_gradients + m.scratch + m.plan);
    return m.total;
}

static void write_text(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    CHECK(file && fputs(text, file) >= 0);
    if (file)
        fclose(file);
}

/* Weights and inputs that no machine has room for are not asked for first. */
static void check_before_allocated(dn_context *context)
{
    static const char *const texts[] = {
        "layer { name: 'x' type: 'Input' top: 'x' input_param { shape { dim: 1099511627776 } } "
        "}",
        "layer { name: 'x' type: 'Input' top: 'x' input_param { shape { dim: 1 dim: 1048576 } "
        "} }"
        "layer { name: 'y' type: 'InnerProduct' bottom: 'x' top: 'y' "
        "inner_product_param { num_output: 1048576 } }",
        "layer { name: 'x' type: 'Input' top: 'x' input_param { shape { dim: 1 dim: 1 dim: 4 "
        "dim: "
        "1 } } } layer { name: 'y' type: 'Interp' bottom: 'x' top: 'y' interp_param { height: "
        "50000000 width: 1 } }"};
    static const char *const words[] = {"input 'x' needs 4398046511104 bytes",
                                        "the weights need 4398050705408 bytes",
                                        "layer 'y': out of memory"};
    dn_net_options options = {.struct_size = sizeof options, .memory_limit = 1 << 29};
    for (int i = 0; i < 3; i++) {
        dn_net *net = NULL;
        CHECK_STATUS(
            dn_net_create_from_text(&net, context, texts[i], strlen(texts[i]), &options),
            DN_E_LIMIT);
        CHECK(dn_last_error() && strstr(dn_last_error(), words[i]));
        CHECK(dn_last_error() && strstr(dn_last_error(), "; memory_limit is 536870912"));
        dn_net_free(net);
    }
}

static void check_planned(dn_context *context, const char *text)
{
    const char *path = check_path("net.prototxt");
    write_text(path, text);
    for (int32_t phase = DN_PHASE_TRAIN; phase <= DN_PHASE_TEST; phase++)
        for (int32_t memory = DN_MEMORY_READABLE; memory <= DN_MEMORY_COMPACT; memory++) {
            dn_net_options o = {.struct_size = sizeof o, .phase = phase, .memory = memory};
            dn_net_memory planned = {.struct_size = sizeof planned};
            CHECK_STATUS(dn_net_plan_memory(context, path, &o, &planned), DN_OK);
            dn_net *net = net_of(context, text, phase, memory);
            CHECK_INT(planned.total, report(net));
            dn_net_free(net);
            o.memory_limit = planned.total;
            net = NULL;
            CHECK_STATUS(dn_net_create_from_prototxt(&net, context, path, &o), DN_OK);
            for (int32_t i = 0; i < dn_net_num_inputs(net); i++) /* which count apart */
                o.memory_limit -= sizeof(float) * (size_t)dn_blob_count(dn_net_input(net, i));
            dn_net_free(net);
            net = NULL;
            o.memory_limit -= (planned.weight_gradients + 1) / 2;
            CHECK_STATUS(dn_net_create_from_prototxt(&net, context, path, &o),
                         planned.weight_gradients ? DN_E_LIMIT : DN_OK);
            dn_net_free(net);
        }
    dn_net_memory m = {.struct_size = sizeof m};
    dn_net_options small = {.struct_size = sizeof small, .memory_limit = 1000};
    CHECK_STATUS(dn_net_plan_memory(context, path, &small, &m), DN_E_LIMIT);
    CHECK(dn_last_error() && strstr(dn_last_error(), "; memory_limit is 1000"));
    CHECK_STATUS(dn_net_plan_memory(context, "nowhere.prototxt", NULL, &m), DN_E_IO);
    check_before_allocated(context);
    CHECK_STATUS(dn_net_plan_memory(context, path, NULL, NULL), DN_E_INVALID);
}

/* Bytes that the plan places: everything but weights and inputs. */
static size_t placed(dn_context *context, const char *text, int32_t phase, int32_t memory)
{
    dn_net *net = net_of(context, text, phase, memory);
    dni_plan_sizes s = dni_plan_size(net->plan);
    dn_net_free(net);
    return s.data + s.diff + s.temp;
}

static void check_bounds(dn_context *fused, dn_context *plain)
{
    const size_t image = 2 * 3 * 6 * 5 * sizeof(float), small = 8 * 1024;
    SECTION("inference keeps two images");
    CHECK(placed(fused, CHAIN, DN_PHASE_TEST, DN_MEMORY_COMPACT) < 2 * image + small);
    SECTION("training keeps what the backward reads: x of each norm, its y, two gradients");
    CHECK(placed(fused, CHAIN, DN_PHASE_TRAIN, DN_MEMORY_COMPACT) <
          (3 * 2 + 2) * image + small);
    SECTION("less than plain");
    for (int32_t memory = DN_MEMORY_READABLE; memory <= DN_MEMORY_COMPACT; memory++)
        CHECK(placed(fused, CHAIN, DN_PHASE_TRAIN, memory) <
              placed(plain, CHAIN, DN_PHASE_TRAIN, memory));
}

/* Everything so far normalised, three channels made of it, and put behind it: DenseNet. */
#define CONCAT(p, q, top)                                                                      \
    "layer { name: '" top "' type: 'Concat' bottom: '" p "' bottom: '" q "' top: '" top "' "   \
    "} "
#define DENSE(x, n, y, top)                                                                    \
    NORM_OF(x, n) RELU(n) CONV(y, n, "bias_term: false") CONCAT(x, y, top)
#define BLOCK                                                                                  \
    IN("x", "dim: 2 dim: 3 dim: 60 dim: 50")                                                   \
    CONV("a", "x", "bias_term: false")                                                         \
    DENSE("a", "n1", "y1", "b")                                                                \
    DENSE("b", "n2", "y2", "c") NORM_OF("c", "n3") RELU("n3") POOLED("n3") LOSS("p")
#define POOLED(x)                                                                              \
    LAYER("p", "Pooling", x, "p", "pooling_param { pool: AVE kernel_size: 5 stride: 5 } ")

static void check_dense_bounds(dn_context *fused)
{
    const size_t image = 2 * 3 * 60 * 50 * sizeof(float), small = 24 * 1024;
    SECTION("a dense block: x of each norm and its y; gradients but one lie where those were");
    CHECK(placed(fused, BLOCK, DN_PHASE_TRAIN, DN_MEMORY_COMPACT) <
          (6 + 6 + 1) * image + small);
    SECTION("readable: all blobs and gradients, but nothing that is normalised, not scaled");
    CHECK(placed(fused, BLOCK, DN_PHASE_TRAIN, DN_MEMORY_READABLE) < (14 + 14 + 3) * image);
}

/* What no machine has is refused before anything is made that is as large. */
static void check_huge(void)
{
    static const char text[] =
        X LAYER("a", "Convolution", "x", "a",
                "convolution_param { num_output: 3 kernel_size: 3 pad: 65536 } ")
            LAYER("p", "Pooling", "a", "p", "pooling_param { kernel_size: 3 stride: 2 }");
    dn_context *context = NULL;
    dn_context_options o = {.struct_size = sizeof o, .backends = "cpu,ref"};
    SECTION("huge images");
    CHECK_STATUS(dn_context_create(&context, &o), DN_OK);
    for (int32_t phase = DN_PHASE_TRAIN; phase <= DN_PHASE_TEST; phase++) {
        dn_net *net = NULL;
        dn_net_options n = {
            .struct_size = sizeof n, .phase = phase, .memory_limit = (size_t)1 << 30};
        CHECK_STATUS(dn_net_create_from_text(&net, context, text, sizeof text - 1, &n),
                     DN_E_LIMIT);
    }
    dn_context_free(context);
}

typedef struct counted {
    size_t now, most;
} counted;

static void *count_alloc(void *user, void *block, size_t old_size, size_t new_size)
{
    counted *c = user;
    void *moved = new_size ? realloc(block, new_size) : NULL;
    if (!new_size)
        free(block);
    if (moved || !new_size)
        c->now += new_size - old_size;
    c->most = c->now > c->most ? c->now : c->most;
    return moved;
}

/* The plan of a layer that is unrolled to many steps counts, and stops before it is made. */
static void check_unrolled(void)
{
    static const char text[] = IN("x", "dim: 3000 dim: 1 dim: 4") IN("c", "dim: 3000 dim: 1")
        LAYER("y", "LSTM", "x' bottom: 'c", "y", "recurrent_param { num_output: 4 } ");
    const size_t small = (size_t)4 << 20;
    counted bytes = {0};
    dn_context *context = NULL;
    dn_context_options c = {.struct_size = sizeof c, .alloc = count_alloc};
    c.alloc_user = &bytes;
    SECTION("a plan that is larger than what it is for");
    CHECK_STATUS(dn_context_create(&context, &c), DN_OK);
    for (int32_t phase = DN_PHASE_TRAIN; phase <= DN_PHASE_TEST; phase++) {
        dn_net *net = net_of(context, text, phase, DN_MEMORY_READABLE), *limited = NULL;
        dn_net_memory m = {.struct_size = sizeof m};
        dn_net_options o = {.struct_size = sizeof o, .phase = phase};
        CHECK_STATUS(dn_net_memory_report(net, &m), DN_OK);
        CHECK(m.plan > 3000 * 4096 && m.plan > 10 * (m.total - m.plan));
        dn_net_free(net);
        o.memory_limit = m.total;
        CHECK_STATUS(dn_net_create_from_text(&net, context, text, sizeof text - 1, &o), DN_OK);
        dn_net_free(net);
        o.memory_limit = m.weights + m.plan;
        CHECK_STATUS(dn_net_create_from_text(&limited, context, text, sizeof text - 1, &o),
                     DN_E_LIMIT);
        CHECK(dn_last_error() && strstr(dn_last_error(), " for its plan; memory_limit is "));
        o.memory_limit = small;
        bytes.most = bytes.now;
        size_t before = bytes.now;
        CHECK_STATUS(dn_net_create_from_text(&limited, context, text, sizeof text - 1, &o),
                     DN_E_LIMIT);
        CHECK(dn_last_error() && strstr(dn_last_error(), "its plan, so far of "));
        CHECK(bytes.most - before < 2 * small);
        CHECK_INT(bytes.now, before);
    }
    dn_context_free(context);
    CHECK_INT(bytes.now, 0);
}

/* A limit that a whole run keeps to and a run of ranges, which needs more, does not. */
static void check_limited_ranges(dn_context *fused)
{
    static const char text[] = CHAIN;
    SECTION("ranges under a limit");
    dn_net *net = NULL;
    dn_net *free_net = net_of(fused, text, DN_PHASE_TRAIN, DN_MEMORY_COMPACT);
    dn_net_options o = {.struct_size = sizeof o,
                        .phase = DN_PHASE_TRAIN,
                        .memory = DN_MEMORY_COMPACT,
                        .memory_limit = report(free_net)};
    CHECK_STATUS(dn_net_create_from_text(&net, fused, text, sizeof text - 1, &o), DN_OK);
    fill_net(net);
    CHECK_STATUS(dn_net_forward(net, NULL), DN_OK);
    CHECK_STATUS(dn_net_forward_range(net, 1, 2, NULL), DN_E_LIMIT);
    CHECK_STATUS(dn_net_forward(net, NULL), DN_OK);
    CHECK_STATUS(dn_net_backward(net), DN_OK);
    dn_net_free(net);
    dn_net_free(free_net);
}

/* A chain of tensors, each alive with the next. */
static size_t place_chain(const dni_heap *heap, dni_place_item *items, const size_t *bytes,
                          size_t count)
{
    size_t total = 0;
    for (size_t i = 0; i < count; i++)
        items[i] = (dni_place_item){.bytes = bytes[i], .first = i, .last = i + 1};
    CHECK_STATUS(dni_place(heap, items, count, &total), DN_OK);
    for (size_t i = 0; i + 1 < count; i++)
        CHECK(items[i].offset + items[i].bytes <= items[i + 1].offset ||
              items[i + 1].offset + items[i + 1].bytes <= items[i].offset);
    return total;
}

/* The same chain, and many small ones after it. */
static void check_many(dn_context *context)
{
    enum { MANY = 2100 };
    static const size_t falling[] = {64000, 128000, 64000, 32000, 16000};
    static const size_t lowest[] = {128000, 0, 128000, 0, 32000};
    static dni_place_item items[MANY];
    static size_t bytes[MANY];
    SECTION("of thousands each lies as low as it can, which is soon found");
    for (size_t i = 0; i < MANY; i++)
        bytes[i] = i < 5 ? falling[i] : 64;
    CHECK_INT(place_chain(&context->heap, items, bytes, MANY), 192000);
    for (int i = 0; i < 5; i++)
        CHECK_INT(items[i].offset, lowest[i]);
}

/* Of two: are both alive at once, and in the same place? */
static bool meet(const dni_place_item *a, const dni_place_item *b)
{
    return a->first <= b->last && b->first <= a->last && a->offset < b->offset + b->bytes &&
           b->offset < a->offset + a->bytes;
}

/* Of thousands, none larger than the one before: where each lies is the lowest place that
 * those before it leave. */
static void check_each(dn_context *context, dni_place_item *items, size_t count)
{
    size_t total = 0, end = 0;
    CHECK_STATUS(dni_place(&context->heap, items, count, &total), DN_OK);
    for (size_t i = 0; i < count; i++) {
        dni_place_item low = items[i];
        low.offset = 0;
        for (size_t k = 0; k < i;) {
            bool met = meet(&low, &items[k]);
            low.offset = met ? items[k].offset + items[k].bytes : low.offset;
            k = met ? 0 : k + 1;
        }
        CHECK_INT(items[i].offset, low.offset);
        end = low.offset + low.bytes > end ? low.offset + low.bytes : end;
    }
    CHECK_INT(total, end);
}

static void check_lowest(dn_context *context)
{
    enum { MANY = 2500, PAIRS = 2000 };
    static dni_place_item items[MANY];
    size_t total;
    uint32_t random = 1;
    SECTION("each of thousands, some long alive, lies in the lowest gap");
    for (size_t i = 0; i < MANY; i++) {
        random = random * 1664525u + 1013904223u;
        size_t first = (random >> 8) % MANY, life = random >> 28 ? random % 5 : random % MANY;
        items[i] =
            (dni_place_item){.bytes = 64 * (MANY - i), .first = first, .last = first + life};
    }
    check_each(context, items, MANY);
    SECTION("also in one that is between hundreds that are alive");
    for (size_t i = 0; i < MANY; i++)
        items[i] = (dni_place_item){.bytes = i < PAIRS ? 128 : 64, .first = 20, .last = 30};
    items[0] = (dni_place_item){.bytes = 128 * PAIRS + 12800, .first = 0, .last = 10};
    items[1] = (dni_place_item){.bytes = 128 * PAIRS, .first = 5, .last = 30};
    CHECK_STATUS(dni_place(&context->heap, items, MANY, &total), DN_OK);
    CHECK_INT(items[PAIRS - 1].offset, 128 * (PAIRS - 3));
    CHECK_INT(items[PAIRS].offset, 128 * (PAIRS - 2));
    CHECK_INT(total, items[1].offset + items[1].bytes + 64 * (MANY - PAIRS) - 12800 - 256);
}

/* Where an item lies whom those before it, all larger, leave room: around the middle of the
 * largest that lies there at another time, in a gap below `total`; else as low as can be. */
static size_t best_of(const dni_place_item *items, size_t count, size_t total)
{
    dni_place_item probe = items[count];
    size_t best = SIZE_MAX, bytes = 0, lowest = SIZE_MAX, end = 0;
    for (size_t i = 0; i <= count; i++) { /* behind each, and at 0 */
        size_t from = i ? items[i - 1].offset + items[i - 1].bytes : 0, to = SIZE_MAX;
        bool taken = false;
        probe.offset = from, probe.bytes = 1;
        for (size_t k = 0; k < count; k++) {
            bool alive = items[k].first <= probe.last && probe.first <= items[k].last;
            taken |= meet(&probe, &items[k]);
            if (alive && items[k].offset >= from && items[k].offset < to)
                to = items[k].offset;
        }
        bool last = to == SIZE_MAX;
        to = last && total ? total : to;
        if (taken || (!last && to - from < items[count].bytes))
            continue;
        lowest = from < lowest ? from : lowest;
        for (size_t k = 0; total && k < count; k++) {
            size_t at = items[k].offset + items[k].bytes / 2 - items[count].bytes / 2;
            at &= ~(size_t)63;
            if (items[k].offset + items[k].bytes / 2 < from + items[count].bytes / 2 ||
                at < from || at + items[count].bytes > to)
                continue;
            end = items[k].bytes;
            if (end > bytes || (end == bytes && at < best))
                best = at, bytes = end;
        }
    }
    return best < SIZE_MAX ? best : lowest;
}

/* Of hundreds, none larger than the one before: what best_of says, with middles or, where those
 * take more memory, without. */
static void check_sets(dn_context *context)
{
    enum { MANY = 200, SETS = 8 };
    static dni_place_item items[MANY], want[2][MANY];
    uint32_t random = 7;
    int differ = 0, without = 0;
    SECTION("each of hundreds, in many sets, lies where it should");
    for (int set = 0; set < SETS; set++) {
        size_t total[2] = {0}, got;
        for (size_t i = 0; i < MANY; i++) {
            random = random * 1664525u + 1013904223u;
            size_t first = (random >> 8) % 60, life = random >> 28 ? random >> 4 & 7 : 40;
            size_t alike = 1 + (size_t)set % 3 * 4;
            if (set % 2) { /* blocks that are alive as a whole, above such as no longer are */
                first = i < 64 ? 0 : i < MANY - 40 ? 5 : 20;
                life = 10 + (i >= 64) * (20 + random % 4);
            }
            items[i] = (dni_place_item){
                .bytes = 64 * (1 + (MANY - i) / alike), .first = first, .last = first + life};
        }
        for (int middles = 0; middles < 2; middles++) {
            memcpy(want[middles], items, sizeof items);
            for (size_t i = 0; i < MANY; i++) {
                dni_place_item *w = &want[middles][i];
                w->offset = best_of(want[middles], i, middles ? total[1] : 0);
                size_t end = w->offset + w->bytes;
                total[middles] = end > total[middles] ? end : total[middles];
            }
        }
        bool use = total[1] <= total[0];
        CHECK_STATUS(dni_place(&context->heap, items, MANY, &got), DN_OK);
        CHECK_INT(got, total[use]);
        without += !use;
        for (size_t i = 0; i < MANY; i++)
            differ += items[i].offset != want[use][i].offset;
    }
    CHECK_INT(differ, 0);
    CHECK(without > 0 && without < SETS);
}

static void check_too_large(dn_context *context)
{
    dni_place_item one = {.bytes = SIZE_MAX - 10},
                   two[2] = {{.bytes = SIZE_MAX / 4 * 2}, {.bytes = SIZE_MAX / 4 * 2}};
    size_t total = 0;
    SECTION("more than a machine has");
    CHECK_MESSAGE(dni_place(&context->heap, &one, 1, &total), DN_E_SHAPE, "a tensor is");
    CHECK_MESSAGE(dni_place(&context->heap, two, 2, &total), DN_E_SHAPE, "tensors are");
    dni_clear_error();
}

static void check_middles(dn_context *context)
{
    static const size_t falling[] = {64000, 128000, 64000, 32000, 16000};
    static const size_t tight[] = {128000, 640, 64000, 64000};
    dni_place_item items[5];
    SECTION("what is smaller lies around the middle of what was there");
    CHECK_INT(place_chain(&context->heap, items, falling, 5), 192000);
    for (int i = 0; i < 5; i++)
        CHECK_INT(items[i].offset + items[i].bytes / 2,
                  items[i].offset < 128000 ? 64000 : 160000);
    SECTION("but not where that takes more memory");
    CHECK_INT(place_chain(&context->heap, items, tight, 4), 128640);
}

/* Whole pages: one after the other they would all begin at the same place of a page. */
static void check_stagger(dn_context *context)
{
    enum { PAGES = 4 << 20 };
    dni_place_item items[4] = {{.bytes = PAGES, .first = 0, .last = 1},
                               {.bytes = PAGES, .first = 0, .last = 3},
                               {.bytes = PAGES / 2, .first = 2, .last = 3},
                               {.bytes = PAGES / 2, .first = 2, .last = 3}};
    size_t total = 0;
    SECTION("large ones begin at different places of a page, and two halves fit into one");
    CHECK_STATUS(dni_place(&context->heap, items, 4, &total), DN_OK);
    CHECK((items[0].offset ^ items[1].offset) % 4096 != 0);
    CHECK((items[2].offset ^ items[3].offset) % 4096 != 0);
    CHECK_INT(total, 2 * (PAGES + PAGES / 8192));
}

/* What a net takes, and whether its products are Strassen's. */
static size_t taken(dn_context *context, const char *text, int32_t memory, bool *strassen)
{
    dn_net *net = net_of(context, text, DN_PHASE_TEST, memory);
    *strassen = false;
    for (size_t i = 0; i < dni_plan_program(net->plan)->num_ops; i++)
        *strassen |= strstr(dni_plan_implementation(net->plan, i), "strassen") != NULL;
    size_t total = report(net);
    dn_net_free(net);
    return total;
}

/* Sums of weights, 33 / 16 of them more, are no larger than images where memory is compact:
 * 3 / 4 more where that is less, else none. Where the machine has such kernels. */
static void check_sums_of_weights(void)
{
#define ONE_BY_ONE(channels)                                                                   \
    IN("x", "dim: 1 dim: " channels " dim: 14 dim: 14")                                        \
    LAYER("y", "Convolution", "x", "y",                                                        \
          "convolution_param { num_output: " channels " kernel_size: 1 } ")
    static const size_t mib = 1 << 20, blobs = 4 << 20; /* blobs, copies and scratch */
    dn_context *context = NULL;
    dn_context_options o = {.struct_size = sizeof o, .plan = DN_PLAN_NHWC, .backends = "cpu"};
    CHECK_STATUS(dn_context_create(&context, &o), DN_OK);
    SECTION("sums of weights");
    bool sums;
    size_t readable = taken(context, ONE_BY_ONE("512"), DN_MEMORY_READABLE, &sums);
    if (sums) {
        size_t compact = taken(context, ONE_BY_ONE("512"), DN_MEMORY_COMPACT, &sums);
        CHECK(sums);
        CHECK(readable - compact >= mib * 21 / 16);
        readable = taken(context, ONE_BY_ONE("1024"), DN_MEMORY_READABLE, &sums);
        CHECK(sums && readable >= 4 * mib + 4 * mib * 49 / 16);
        compact = taken(context, ONE_BY_ONE("1024"), DN_MEMORY_COMPACT, &sums);
        CHECK(!sums && compact <= 4 * mib + 4 * mib + blobs);
    }
    dn_context_free(context);
#undef ONE_BY_ONE
}

int main(void)
{
    dn_context *fused = context_of(DN_PLAN_FUSED), *plain = context_of(DN_PLAN_PLAIN);
    SECTION("planned before");
    check_planned(fused, CHAIN);
    check_planned(plain, RESIDUAL);
    check_bounds(fused, plain);
    check_dense_bounds(fused);
    check_limited_ranges(fused);
    check_stagger(fused);
    check_middles(fused);
    check_lowest(fused);
    check_sets(fused);
    check_too_large(fused);
    check_many(fused);
    check_sums_of_weights();
    check_huge();
    check_unrolled();
    dn_context_free(fused);
    dn_context_free(plain);
    return check_summary();
}
