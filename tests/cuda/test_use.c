/* SPDX-License-Identifier: BSD-2-Clause
 * test_use.c: the CUDA module as hosts use it, over the fakes: inputs that lie on the device
 * already, images from a database, contexts on threads of their own, a batch that is too large,
 * layers on the host. Each gives what it gives without that. test_use FOLDER LMDB */
#include <dlfcn.h>
#include <pthread.h>
#include <stdbool.h>

#include "fake_cuda.h"
#include "solver_text.h"

static const char *folder, *lmdb;
static fake_cuda_control *fake;
static long (*live)(void);
static float images[DIGITS * DIGIT_SIZE], labels[DIGITS];

/* device 0: the host */
static dn_context_options options_of(int32_t device)
{
    return (dn_context_options){.struct_size = sizeof(dn_context_options),
                                .num_threads = 1,
                                .device = device,
                                .module_folder = folder,
                                .backends = "ref"};
}

static dn_context *make_context(int32_t device)
{
    dn_context *context = NULL;
    dn_context_options options = options_of(device);
    CHECK_STATUS(dn_context_create(&context, &options), DN_OK);
    if (!context)
        exit(check_summary());
    return context;
}

/* ---- device views ------------------------------------------------------------------------ */

enum { VIEWED = 3 * 1000 };
#define LINE(name, from)                                                                       \
    "layer { name: '" name "' type: 'Power' bottom: '" from "' top: '" name "' power_param { " \
    "  scale: 2 shift: 1 } } "
#define POWER_NET                                                                              \
    "layer { name: 'x' type: 'Input' top: 'x' input_param { shape { dim: 3 dim: 1000 } } "     \
    "} " LINE("z", "x") LINE("y", "z")

static void forward_both(dn_net *first, dn_net *second, float start)
{
    float *x = dn_blob_mutable_data(dn_net_blob(first, "x"));
    for (int i = 0; i < VIEWED; i++)
        x[i] = start + (float)i;
    CHECK_STATUS(dn_net_forward(first, NULL), DN_OK);
    CHECK_STATUS(dn_net_forward(second, NULL), DN_OK);
}

/* A net reads what another one made, on the device: nothing goes through the host. */
static void check_views(void)
{
    SECTION("device views");
    *fake = (fake_cuda_control){0};
    dn_context *context = make_context(1);
    dn_net *net[2] = {NULL, NULL};
    for (int i = 0; i < 2; i++)
        CHECK_STATUS(
            dn_net_create_from_text(&net[i], context, POWER_NET, strlen(POWER_NET), NULL),
            DN_OK);
    dn_blob *x = dn_net_blob(net[1], "x");
    CHECK_STATUS(dn_net_forward(net[0], NULL), DN_OK);
    CHECK_STATUS(dn_blob_view_device(x, dn_blob_device_data(dn_net_blob(net[0], "y"))), DN_OK);
    for (int run = 0; run < 4; run++) { /* plain, recorded, replayed */
        size_t in = fake->copied[1], out = fake->copied[2];
        forward_both(net[0], net[1], (float)run);
        CHECK_AT(fake->copied[1] - in <= VIEWED * sizeof(float) + 64, "%zu bytes went there",
                 fake->copied[1] - in);
        CHECK_INT(fake->copied[2], out);
        const float *y = dn_blob_data(dn_net_blob(net[1], "y"));
        int wrong = 0;
        for (int i = 0; i < VIEWED; i++)
            wrong += y[i] != 16 * (float)(run + i) + 15;
        CHECK_INT(wrong, 0);
    }
    CHECK(fake->replays > 0);
    CHECK_NEAR(dn_blob_data(x)[7], 4 * (3 + 7) + 3, 0);
    CHECK_STATUS(dn_blob_view_device(x, NULL), DN_OK);
    dn_net_free(net[0]); /* with what was looked at */
    float mine[VIEWED] = {5};
    CHECK_STATUS(dn_blob_write(x, mine, VIEWED), DN_OK);
    CHECK_STATUS(dn_net_forward(net[1], NULL), DN_OK);
    CHECK_NEAR(dn_blob_data(dn_net_blob(net[1], "y"))[0], 4 * 5 + 3, 0);
    dn_net_free(net[1]);
    dn_context_free(context);
    CHECK_INT(live(), 0);
}

/* ---- a database -------------------------------------------------------------------------- */

#define DATA_NET                                                                               \
    "layer { name: 'd' type: 'Data' top: 'd' top: 't' data_param { source: '%s' "              \
    "  backend: LMDB batch_size: 20 } transform_param { scale: 0.00390625 mirror: true "       \
    "  crop_size: 24 } } "                                                                     \
    "layer { name: 'c' type: 'Convolution' bottom: 'd' top: 'c' convolution_param { "          \
    "  num_output: 8 kernel_size: 5 stride: 2 weight_filler { type: 'xavier' } } } "           \
    "layer { name: 'r' type: 'ReLU' bottom: 'c' top: 'c' } "                                   \
    "layer { name: 'i' type: 'InnerProduct' bottom: 'c' top: 'i' inner_product_param { "       \
    "  num_output: 10 weight_filler { type: 'xavier' } } } "                                   \
    "layer { name: 'loss' type: 'SoftmaxWithLoss' bottom: 'i' bottom: 't' top: 'loss' } "

/* Images as the host's layers see them, the same to the bit, and what is learnt from them. */
static void check_data(void)
{
    SECTION("a database");
    static const char text[] =
        "base_lr: 0.02 lr_policy: 'fixed' momentum: 0.9 max_iter: 99 random_seed: 5";
    char net[2048];
    dn_context *context[2];
    dn_solver *solver[2];
    snprintf(net, sizeof net, DATA_NET, lmdb);
    *fake = (fake_cuda_control){0};
    for (int i = 0; i < 2; i++) {
        context[i] = make_context(i);
        solver[i] = make_solver(context[i], text, net, NULL);
    }
    for (int step = 0; step < 18; step++) { /* there are 15 batches */
        const float *data[2], *loss[2];
        for (int i = 0; i < 2; i++) {
            dn_net *of = dn_solver_net(solver[i]);
            CHECK_STATUS(dn_solver_step(solver[i], 1), DN_OK);
            data[i] = dn_blob_data(dn_net_blob(of, "d"));
            loss[i] = dn_blob_data(dn_net_blob(of, "loss"));
        }
        CHECK_AT(!memcmp(data[0], data[1], 20 * 24 * 24 * sizeof(float)), "step %d", step);
        CHECK_NEAR(loss[1][0], loss[0][0], 1e-4);
    }
    CHECK(fake->replays > 10);
    for (int i = 0; i < 2; i++) {
        dn_solver_free(solver[i]);
        dn_context_free(context[i]);
    }
    CHECK_INT(live(), 0);
}

/* ---- threads ----------------------------------------------------------------------------- */

typedef struct worker {
    int32_t device;
    dn_status status;
    uint64_t hash;
    char why[256];
} worker;

static dn_status learn(worker *w, dn_context **context, dn_solver **solver)
{
    static const char text[] =
        "base_lr: 0.01 lr_policy: 'fixed' momentum: 0.9 max_iter: 99 random_seed: 1";
    dn_context_options options = options_of(w->device);
    dn_status st = dn_context_create(context, &options);
    if (!st)
        st = dn_solver_create_from_text(solver, *context, text, strlen(text), DIGITS_NET,
                                        strlen(DIGITS_NET), NULL);
    if (!st)
        st = dn_net_set_memory_data(dn_solver_net(*solver), NULL, images, labels, DIGITS);
    for (int step = 0; !st && step < 8; step++) {
        st = dn_solver_step(*solver, 1);
        if (!st)
            w->hash = hash_weights(dn_solver_net(*solver));
    }
    return st;
}

/* Makes a context, trains in it and frees it; checks are for the main thread. */
static void *work(void *arg)
{
    worker *w = arg;
    dn_context *context = NULL;
    dn_solver *solver = NULL;
    w->status = learn(w, &context, &solver);
    if (w->status)
        snprintf(w->why, sizeof w->why, "%s", dn_last_error());
    dn_solver_free(solver);
    dn_context_free(context);
    return NULL;
}

/* Contexts know nothing of each other, on one device or on two. */
static void check_threads(void)
{
    SECTION("contexts on threads");
    *fake = (fake_cuda_control){0};
    worker alone = {.device = 1};
    work(&alone);
    CHECK_AT(!alone.status, "%s", alone.why);
    for (int round = 0; round < 4; round++) {
        worker all[3] = {{.device = 1}, {.device = 1 + round % 2}, {.device = 1}};
        pthread_t thread[3];
        for (int i = 0; i < 3; i++)
            CHECK_INT(pthread_create(&thread[i], NULL, work, &all[i]), 0);
        for (int i = 0; i < 3; i++) {
            pthread_join(thread[i], NULL);
            CHECK_AT(!all[i].status, "thread %d: %s", i, all[i].why);
            CHECK_AT(all[i].hash == alone.hash, "thread %d learnt something else", i);
        }
    }
    CHECK_INT(live(), 0);
}

/* ---- out of memory ----------------------------------------------------------------------- */

enum { WIDTH = 64 };
#define TANH_NET                                                                               \
    "layer { name: 'x' type: 'Input' top: 'x' input_param { shape { dim: 8 dim: 64 } } } "     \
    "layer { name: 't' type: 'Input' top: 't' input_param { shape { dim: 8 dim: 64 } } } "     \
    "layer { name: 'i' type: 'InnerProduct' bottom: 'x' top: 'i' inner_product_param { "       \
    "  num_output: 256 weight_filler { type: 'xavier' } } } "                                  \
    "layer { name: 'h' type: 'TanH' bottom: 'i' top: 'h' } "                                   \
    "layer { name: 'j' type: 'InnerProduct' bottom: 'h' top: 'j' inner_product_param { "       \
    "  num_output: 64 weight_filler { type: 'xavier' } } } "                                   \
    "layer { name: 'loss' type: 'EuclideanLoss' bottom: 'j' bottom: 't' top: 'loss' } "

static dn_status step_with(dn_solver *solver, int64_t items)
{
    static const char *const names[] = {"x", "t"};
    for (int k = 0; k < 2; k++) {
        uint32_t state = 3 + (uint32_t)k;
        dn_blob *blob = dn_net_blob(dn_solver_net(solver), names[k]);
        CHECK_STATUS(dn_blob_reshape(blob, (int64_t[]){items, WIDTH}, 2), DN_OK);
        float *values = malloc((size_t)(items * WIDTH) * sizeof *values);
        for (int64_t i = 0; i < items * WIDTH; i++)
            values[i] = next_number(&state);
        CHECK_STATUS(dn_blob_write(blob, values, items * WIDTH), DN_OK);
        free(values);
    }
    return dn_solver_step(solver, 1);
}

/* A batch that is too large costs its step alone: in the same solver, and in another one of the
 * same context, smaller ones go on as if it had never been. */
static void check_memory(void)
{
    SECTION("out of memory");
    static const char text[] =
        "base_lr: 0.01 lr_policy: 'fixed' momentum: 0.9 max_iter: 99 random_seed: 1";
    uint64_t hash[2];
    for (int tries = 0; tries < 2; tries++) {
        *fake = (fake_cuda_control){.limit = (size_t)40 << 20};
        dn_context *context = make_context(1);
        dn_solver *solver = make_solver(context, text, TANH_NET, NULL);
        CHECK_STATUS(step_with(solver, 8), DN_OK);
        CHECK_STATUS(step_with(solver, 8), DN_OK);
        for (int i = 0; i < tries; i++) {
            CHECK_MESSAGE(step_with(solver, 32768), DN_E_NOMEM,
                          "bytes of device memory were asked");
            CHECK_INT(dn_solver_iteration(solver), 2);
        }
        for (int i = 0; i < 3; i++)
            CHECK_STATUS(step_with(solver, 32), DN_OK);
        hash[tries] = hash_weights(dn_solver_net(solver));
        CHECK_INT(dn_solver_iteration(solver), 5);
        if (tries) {
            dn_solver *other = make_solver(context, text, TANH_NET, NULL);
            CHECK_MESSAGE(step_with(other, 32768), DN_E_NOMEM, "bytes of device memory");
            dn_solver_free(other);
            other = make_solver(context, text, TANH_NET, NULL);
            CHECK_STATUS(step_with(other, 32), DN_OK);
            dn_solver_free(other);
        }
        dn_solver_free(solver);
        dn_context_free(context);
        CHECK_INT(live(), 0);
        CHECK_INT(fake->held, 0);
    }
    CHECK(hash[0] == hash[1]);
    *fake = (fake_cuda_control){0};
}

#define LARGE_NET                                                                              \
    "layer { name: 'x' type: 'Input' top: 'x' input_param { shape { dim: 1 dim: 65536 } } "    \
    "} " LINE("y", "x")

/* Items of 256 KiB, which travel in stages. */
static dn_status forward_items(dn_net *net, int64_t items)
{
    dn_blob *blob = dn_net_blob(net, "x");
    CHECK_STATUS(dn_blob_reshape(blob, (int64_t[]){items, 65536}, 2), DN_OK);
    int64_t last = items * 65536 - 1;
    float *x = dn_blob_mutable_data(blob);
    memset(x, 0, (size_t)(last + 1) * sizeof *x);
    x[last] = 7;
    dn_status st = dn_net_forward(net, NULL);
    const float *y = st ? NULL : dn_blob_data(dn_net_blob(net, "y"));
    CHECK(st || (y[0] == 1 && y[last] == 15));
    return st;
}

/* After a batch that the device has no memory for, and after one that it had it for, all is
 * there for the next: for its blobs, for what its input travels through, for its kernels. A
 * kernel that finds no room among what is kept leaves room for the next try. */
static void check_room(void)
{
    SECTION("room for the next batch");
    static const struct {
        int64_t first, runs, then;
        size_t kernel; /* bytes that must be free for one */
        dn_status large, small;
    } all[] = {
        {320, 1, 24, 0, DN_E_NOMEM, DN_OK}, {320, 1, 30, 0, DN_E_NOMEM, DN_OK},
        {320, 1, 38, 0, DN_E_NOMEM, DN_OK}, {320, 1, 20, (size_t)8 << 20, DN_E_NOMEM, DN_OK},
        {96, 1, 44, 0, DN_OK, DN_OK},       {88, 2, 20, (size_t)8 << 20, DN_OK, DN_E_NOMEM}};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        *fake = (fake_cuda_control){.limit = (size_t)132 << 20, .kernel = all[i].kernel};
        dn_context *context = make_context(1);
        dn_net *net = NULL;
        CHECK_STATUS(dn_net_create_from_text(&net, context, LARGE_NET, strlen(LARGE_NET), NULL),
                     DN_OK);
        for (int run = 0; run < all[i].runs; run++)
            CHECK_STATUS(forward_items(net, all[i].first), all[i].large);
        CHECK_STATUS(forward_items(net, all[i].then), all[i].small);
        for (int run = 0; run < 3; run++)
            CHECK_STATUS(forward_items(net, all[i].then), DN_OK);
        dn_net_free(net);
        dn_context_free(context);
        CHECK_INT(live(), 0);
        CHECK_INT(fake->held, 0);
    }
    *fake = (fake_cuda_control){0};
}

/* A recording, too, has what is kept given back for it. */
static void check_recording_room(void)
{
    SECTION("room for a recording");
    static const char text[] = LARGE_NET LINE("z", "y");
    *fake = (fake_cuda_control){0};
    dn_context *context = make_context(1);
    dn_net *net = NULL;
    CHECK_STATUS(dn_net_create_from_text(&net, context, text, strlen(text), NULL), DN_OK);
    CHECK_STATUS(forward_items(net, 88), DN_OK);
    CHECK_STATUS(forward_items(net, 20), DN_OK);
    fake->limit = fake->held + 1;
    fake->graph = 2;
    CHECK_STATUS(forward_items(net, 20), DN_OK);
    CHECK_INT(fake->replays, 1);
    CHECK_STATUS(forward_items(net, 20), DN_OK);
    CHECK_INT(fake->replays, 2);
    dn_net_free(net);
    dn_context_free(context);
    CHECK_INT(live(), 0);
    *fake = (fake_cuda_control){0};
}

/* One that there was no memory for is made when some was given back, and not tried before. */
static void check_scarce_recording(void)
{
    SECTION("a recording, later");
    static const char text[] = LARGE_NET LINE("z", "y");
    *fake = (fake_cuda_control){0};
    dn_context *context = make_context(1);
    dn_net *net = NULL, *other = NULL;
    CHECK_STATUS(dn_net_create_from_text(&other, context, text, strlen(text), NULL), DN_OK);
    CHECK_STATUS(forward_items(other, 40), DN_OK);
    CHECK_STATUS(dn_net_create_from_text(&net, context, text, strlen(text), NULL), DN_OK);
    CHECK_STATUS(forward_items(net, 20), DN_OK);
    fake->limit = fake->held + 1;
    fake->graph = 2;
    for (int run = 0; run < 3; run++)
        CHECK_STATUS(forward_items(net, 20), DN_OK);
    CHECK_INT(fake->replays, 0);
    CHECK_INT(fake->recordings, 1); /* which could not be kept */
    dn_net_free(other);
    for (int run = 0; run < 3; run++)
        CHECK_STATUS(forward_items(net, 20), DN_OK);
    CHECK_INT(fake->replays, 3);
    CHECK_INT(fake->recordings, 2);
    dn_net_free(net);
    dn_context_free(context);
    CHECK_INT(live(), 0);
    *fake = (fake_cuda_control){0};
}

/* Of a step: there is memory for its parts, and then for all of it. */
static void check_scarce_step(void)
{
    SECTION("a step's recording, later");
    static const char text[] = "base_lr: 0.01 lr_policy: 'fixed' max_iter: 99 random_seed: 1";
    *fake = (fake_cuda_control){0};
    dn_context *context = make_context(1);
    dn_net *other = NULL;
    CHECK_STATUS(dn_net_create_from_text(&other, context, LARGE_NET, strlen(LARGE_NET), NULL),
                 DN_OK);
    CHECK_STATUS(forward_items(other, 40), DN_OK);
    for (int scarce = 0; scarce < 2; scarce++) {
        dn_solver *solver = make_solver(context, text, DIGITS_NET, NULL);
        dn_net *net = dn_solver_net(solver);
        CHECK_STATUS(dn_net_set_memory_data(net, NULL, images, labels, DIGITS), DN_OK);
        CHECK_STATUS(dn_solver_step(solver, 1), DN_OK);
        if (scarce) {
            fake->limit = fake->held + (size_t)fake->all - 1;
            fake->graph = 1;
        }
        CHECK_STATUS(dn_solver_step(solver, 3), DN_OK);
        hash_weights(net); /* waits for the device */
        long before = fake->replays;
        CHECK_STATUS(dn_solver_step(solver, 3), DN_OK);
        hash_weights(net);
        CHECK_INT(fake->replays - before, scarce ? 6 : 3);
        before = fake->replays;
        if (scarce) {
            dn_net_free(other);
            CHECK_STATUS(dn_solver_step(solver, 3), DN_OK);
            hash_weights(net);
            CHECK_INT(fake->replays - before, 3);
        }
        dn_solver_free(solver);
    }
    dn_context_free(context);
    CHECK_INT(live(), 0);
    *fake = (fake_cuda_control){0};
}

/* What an input travels through is pinned: what was asked for is said, and asked for again. */
static void check_unpinned(void)
{
    SECTION("no memory to pin");
    *fake = (fake_cuda_control){0};
    dn_context *context = make_context(1);
    dn_net *net = NULL;
    CHECK_STATUS(dn_net_create_from_text(&net, context, LARGE_NET, strlen(LARGE_NET), NULL),
                 DN_OK);
    fake->no_pinned = 1;
    for (int run = 0; run < 2; run++)
        CHECK_MESSAGE(forward_items(net, 2), DN_E_NOMEM,
                      "allocating 524288 bytes of pinned memory: out of memory");
    fake->no_pinned = 0;
    CHECK_STATUS(forward_items(net, 2), DN_OK);
    dn_net_free(net);
    dn_context_free(context);
    CHECK_INT(live(), 0);
}

/* A net that comes and goes. */
static void forward_other(dn_context *context)
{
    dn_net *net = NULL;
    CHECK_STATUS(dn_net_create_from_text(&net, context, LARGE_NET, strlen(LARGE_NET), NULL),
                 DN_OK);
    CHECK_STATUS(forward_items(net, 1), DN_OK);
    dn_net_free(net);
}

/* What more than two pieces of a batch could travel through, beside each other, they do without
 * where there is no memory for it, on the device or to pin: without a word, and once memory was
 * given back they have it. */
static void check_few_stages(void)
{
    SECTION("few stages");
    for (int unpinned = 0; unpinned < 2; unpinned++) {
        *fake = (fake_cuda_control){0};
        dn_context *context = make_context(1);
        dn_net *net = NULL;
        CHECK_STATUS(dn_net_create_from_text(&net, context, LARGE_NET, strlen(LARGE_NET), NULL),
                     DN_OK);
        CHECK_STATUS(forward_items(net, 384), DN_OK); /* 96 MiB, of three pieces */
        long held = (long)fake->held, held_up = 0;
        fake->no_pinned = unpinned;
        fake->limit = unpinned ? 0 : fake->held + 1;
        for (int run = 0; run < 4; run++) {
            CHECK_STATUS(forward_items(net, 384), DN_OK);
            CHECK(dn_last_error() == NULL);
            CHECK_AT(run < 2 || fake->held_up == held_up, "run %d asks again", run);
            held_up = fake->held_up;
        }
        CHECK_INT((long)fake->held - held, 0);
        fake->no_pinned = 0;
        fake->limit = 0;
        CHECK_STATUS(forward_items(net, 384), DN_OK);
        CHECK_INT((long)fake->held - held, 0);
        forward_other(context);
        for (int run = 0; run < 2; run++)
            CHECK_STATUS(forward_items(net, 384), DN_OK);
        CHECK_INT((long)fake->held - held, 32 << 20); /* now of three */
        dn_net_free(net);
        dn_context_free(context);
        CHECK_INT(live(), 0);
        CHECK_INT(fake->held, 0);
    }
    *fake = (fake_cuda_control){0};
}

/* The host's memory: whichever request fails while a context is made, that is what is said. */
static void check_host_memory(void)
{
    SECTION("out of the host's memory");
    *fake = (fake_cuda_control){0};
    dn_status st = DN_E_NOMEM;
    long n = 0;
    while (st && n < 1000) {
        check_heap heap = {.fail_at = ++n};
        dn_context_options options = options_of(1);
        dn_context *context = NULL;
        options.alloc = check_alloc;
        options.alloc_user = &heap;
        st = dn_context_create(&context, &options);
        CHECK_AT(st == (context ? DN_OK : DN_E_NOMEM), "request %ld: %s: %s", n,
                 dn_status_name(st), dn_last_error());
        dn_context_free(context);
        CHECK_INT(atomic_load(&heap.live_blocks), 0);
        CHECK_INT(live(), 0);
    }
    CHECK_AT(!st && n > 5, "%ld requests", n);
}

/* ---- layers that run on the host --------------------------------------------------------- */

#define IN(name, dims)                                                                         \
    "layer { name: '" name "' type: 'Input' top: '" name "' "                                  \
    "input_param { shape { " dims " } } } "
/* Copies of inputs, made on the device. */
#define MADE(name, dims) IN("in_" name, dims) LINE(name, "in_" name)

#define DETECTIONS(name)                                                                       \
    MADE("l", "dim: 2 dim: 32")                                                                \
    MADE("c", "dim: 2 dim: 24")                                                                \
    IN("p", "dim: 1 dim: 2 dim: 32")                                                           \
    "layer { name: '" name "' type: 'DetectionOutput' bottom: 'l' bottom: 'c' bottom: 'p' "    \
    "top: '" name "' detection_output_param { num_classes: 3 } } "

static const struct {
    const char *type, *net;
    long waits;
} on_host[] = {
    {"SegmentationEvaluate",
     MADE("x", "dim: 1 dim: 2 dim: 4 dim: 5") IN(
         "t", "dim: 1 dim: 2 dim: 3 dim: 4") "layer { name: 'y' type: 'SegmentationEvaluate' "
                                             "bottom: 'x' bottom: 't' top: 'y' } ",
     1},
    {"EvalDetection",
     MADE("x", "dim: 2 dim: 126")
         IN("t", "dim: 2 dim: 63") "layer { name: 'y' type: 'EvalDetection' bottom: 'x' "
                                   "bottom: 't' top: 'y' "
                                   "eval_detection_param { side: 3 num_class: 4 } } ",
     1},
    {"DetectionOutput", DETECTIONS("y"), 1},
    {"DetectionEvaluate",
     DETECTIONS("z") IN("t", "dim: 1 dim: 1 dim: 3 dim: 8") "layer { name: 'y' "
                                                            "type: 'DetectionEvaluate' "
                                                            "bottom: 'z' bottom: 't' top: 'y' "
                                                            "detection_evaluate_param { "
                                                            "num_classes: 3 "
                                                            "background_label_id: 0 } } ",
     1},
};

static void check_plan_says(dn_net *net)
{
    char *plan = NULL;
    CHECK_STATUS(dn_net_describe(net, DN_DESCRIBE_PLAN, &plan), DN_OK);
    CHECK_AT(plan && strstr(plan, ", 'y', runs on the host: a host call\n"), "%s", plan);
    dn_net_text_free(net, plan);
}

/* The plan says how often a step is replayed: once, unless a layer in it runs on the host. */
static void check_replays(void)
{
    SECTION("replays in a step");
    static const char text[] = "base_lr: 0.01 lr_policy: 'fixed' max_iter: 99 random_seed: 1";
    static const char *const nets[] = {
        DIGITS_NET, DIGITS_NET MADE("u", "dim: 1 dim: 2 dim: 4 dim: 5") IN(
                        "v", "dim: 1 dim: 2 dim: 3 dim: 4") "layer { name: 'e' bottom: 'u' "
                                                            "type: 'SegmentationEvaluate' "
                                                            "bottom: 'v' top: 'e' } "};
    for (int times = 1; times < 3; times++) {
        *fake = (fake_cuda_control){0};
        dn_context *context = make_context(1);
        dn_solver *solver = make_solver(context, text, nets[times - 1], NULL);
        dn_net *net = dn_solver_net(solver);
        char *plan = NULL, says[40];
        CHECK_STATUS(dn_net_set_memory_data(net, NULL, images, labels, DIGITS), DN_OK);
        CHECK_STATUS(dn_solver_step(solver, 3), DN_OK);
        hash_weights(net); /* waits for the device */
        long before = fake->replays;
        CHECK_STATUS(dn_solver_step(solver, 3), DN_OK);
        hash_weights(net);
        CHECK_INT(fake->replays - before, 3 * times);
        CHECK_STATUS(dn_solver_describe(solver, DN_DESCRIBE_PLAN, &plan), DN_OK);
        snprintf(says, sizeof says, "\nreplays in a step: %d\n", times);
        CHECK_AT(plan && strstr(plan, says), "%s", plan);
        dn_net_text_free(net, plan);
        dn_solver_free(solver);
        dn_context_free(context);
        CHECK_INT(live(), 0);
    }
}

/* Steps wait for what they computed once: what is made of it is on the host then, and stays
 * there. The boxes of DetectionOutput come with their number. */
static void check_hosts(void)
{
    SECTION("layers that run on the host");
    for (size_t i = 0; i < sizeof on_host / sizeof on_host[0]; i++) {
        *fake = (fake_cuda_control){0};
        dn_context *context = make_context(1);
        dn_net *net = NULL;
        const char *text = on_host[i].net;
        CHECK_STATUS(dn_net_create_from_text(&net, context, text, strlen(text), NULL), DN_OK);
        for (int run = 0; run < 4; run++) {
            long waits = fake->waits;
            CHECK_STATUS(dn_net_forward(net, NULL), DN_OK);
            dn_blob_data(dn_net_blob(net, "y"));
            CHECK_AT(run == 0 || fake->waits - waits == on_host[i].waits, "%s, run %d: %ld",
                     on_host[i].type, run, fake->waits - waits);
        }
        check_plan_says(net);
        dn_net_free(net);
        dn_context_free(context);
        CHECK_INT(live(), 0);
    }
}

int main(int argc, char **argv)
{
    char path[4096];
    if (argc != 3)
        return 2;
    folder = argv[1];
    lmdb = argv[2];
    snprintf(path, sizeof path, "%s/deepnet-cuda.so", folder);
    void *module = dlopen(path, RTLD_NOW);
    fake = module ? dlsym(module, "fake_cuda") : NULL;
    CHECK_AT(fake != NULL, "%s", dlerror());
    if (!fake)
        return check_summary();
    *(void **)&live = dlsym(module, "fake_cuda_live");
    make_digits(images, labels);
    check_views();
    check_data();
    check_threads();
    check_memory();
    check_room();
    check_recording_room();
    check_scarce_recording();
    check_scarce_step();
    check_unpinned();
    check_few_stages();
    check_host_memory();
    check_hosts();
    check_replays();
    return check_summary();
}
