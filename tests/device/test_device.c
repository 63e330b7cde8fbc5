/* SPDX-License-Identifier: BSD-2-Clause
 * test_device.c: training and running on a fake device: the same bits as on ref, ops that the
 * device declines run on the host, nothing is copied that need not be, steps are recorded,
 * memory that runs out and a device that is lost are a status. */
#include "fake.h"
#include "solver_text.h"

static float images[DIGITS * DIGIT_SIZE], labels[DIGITS];

static const char digits_solver[] =
    "base_lr: 0.02 lr_policy: 'inv' gamma: 0.0001 power: 0.75 momentum: 0.9 "
    "weight_decay: 0.0005 average_loss: 5 random_seed: 11 clip_gradients: 3 iter_size: 2";

static dn_context *make_context(const dn_backend_ops *device)
{
    dn_context *context = NULL;
    dn_context_options options = {.struct_size = sizeof options,
                                  .num_threads = 2,
                                  .seed = 3,
                                  .backends = "ref",
                                  .backend = device};
    CHECK_STATUS(dn_context_create(&context, &options), DN_OK);
    return context;
}

static dn_solver *make_digit_solver(dn_context *context)
{
    dn_solver *solver = make_solver(context, digits_solver, DIGITS_NET, NULL);
    CHECK_STATUS(dn_net_set_memory_data(dn_solver_net(solver), NULL, images, labels, DIGITS),
                 DN_OK);
    return solver;
}

/* The hash of the weights after some steps, in two halves with a look at everything between. */
static uint64_t train(const dn_backend_ops *device, float *loss)
{
    dn_context *context = make_context(device);
    dn_solver *solver = make_digit_solver(context);
    dn_net *net = dn_solver_net(solver);
    CHECK_STATUS(dn_solver_step(solver, 10), DN_OK);
    for (int32_t i = 0; i < dn_net_num_blobs(net); i++) {
        dn_blob *blob = dn_net_blob_at(net, i);
        CHECK(dn_blob_data(blob) != NULL && dn_blob_diff(blob) != NULL);
    }
    CHECK_STATUS(dn_solver_step(solver, 10), DN_OK);
    *loss = dn_solver_loss(solver);
    uint64_t hash = hash_weights(net);
    dn_solver_free(solver);
    dn_context_free(context);
    return hash;
}

static void check_same_bits(void)
{
    SECTION("same bits");
    float loss, expected_loss;
    uint64_t expected = train(NULL, &expected_loss);
    const uint64_t declines[] = {0, 0x5555555555555555, 0xAAAAAAAAAAAAAAAA,
                                 (uint64_t)1 << DN_OP_UPDATE | (uint64_t)1 << DN_OP_POOL,
                                 ~(uint64_t)0};
    for (size_t i = 0; i < sizeof declines / sizeof declines[0]; i++) {
        fake = (fake_control){.declines = declines[i]};
        uint64_t hash = train(&fake_backend, &loss);
        CHECK_AT(hash == expected && loss == expected_loss,
                 "with %llx declined: other bits than on ref", (long long)declines[i]);
        CHECK_INT(fake.allocated, 0);
    }
}

/* All weights in one op, or one by one where the device takes no more: never on the host. */
static void check_one_update(void)
{
    SECTION("one update");
    enum { STEPS = 5, WEIGHTS = 8 };
    uint64_t hashes[2];
    int64_t runs[2];
    for (int single = 0; single < 2; single++) {
        fake = (fake_control){.declines_many = single};
        dn_context *context = make_context(&fake_backend);
        dn_solver *solver = make_digit_solver(context);
        CHECK_STATUS(dn_solver_step(solver, 2), DN_OK);
        fake_control was = fake;
        CHECK_STATUS(dn_solver_step(solver, STEPS), DN_OK);
        runs[single] = fake.runs - was.runs;
        CHECK_AT(fake.copies_out - was.copies_out <= 1, "weights came home");
        hashes[single] = hash_weights(dn_solver_net(solver));
        dn_solver_free(solver);
        dn_context_free(context);
        CHECK_INT(fake.allocated, 0);
    }
    CHECK(hashes[0] == hashes[1]);
    CHECK_INT(runs[1] - runs[0], STEPS * (WEIGHTS - 1));
}

/* A backend of a release that had less: what lies behind its table is not read. */
static void check_short_table(void)
{
    SECTION("short table");
    dn_backend_ops old = fake_backend;
    memset((char *)&old + offsetof(dn_backend_ops, capture_begin), 0x55,
           sizeof old - offsetof(dn_backend_ops, capture_begin));
    old.struct_size = offsetof(dn_backend_ops, capture_begin);
    float loss, expected_loss;
    fake = (fake_control){0};
    CHECK_INT(train(&old, &loss) == train(NULL, &expected_loss), 1);
    old.struct_size = 0;
    dn_context *context = NULL;
    dn_context_options options = {.struct_size = sizeof options, .backend = &old};
    CHECK_STATUS(dn_context_create(&context, &options), DN_E_INVALID);
}

static int captured; /* so often nothing was made of what was recorded */

static dn_status capture_none(dn_backend *backend, void **recording)
{
    void *made = NULL;
    dn_status st = fake_backend.capture_end(backend, &made);
    fake_backend.recording_free(backend, made);
    captured++;
    (void)recording;
    return st;
}

/* A backend that says all is well, and makes no recording, is not asked again and again. */
static void check_none_made(void)
{
    SECTION("no recording is made");
    dn_backend_ops none = fake_backend;
    none.capture_end = capture_none;
    fake = (fake_control){0};
    captured = 0;
    dn_context *context = make_context(&none);
    dn_solver *solver = make_digit_solver(context);
    CHECK_STATUS(dn_solver_step(solver, 4), DN_OK);
    int before = captured;
    CHECK_STATUS(dn_solver_step(solver, 4), DN_OK);
    CHECK(before > 0);
    CHECK_INT(captured - before, 0);
    CHECK_INT(fake.replays, 0);
    char *text = NULL;
    CHECK_STATUS(dn_net_describe(dn_solver_net(solver), DN_DESCRIBE_PLAN, &text), DN_OK);
    CHECK_AT(text && strstr(text, "are not recorded: failed\n"), "%s", text);
    dn_net_text_free(dn_solver_net(solver), text);
    dn_solver_free(solver);
    dn_context_free(context);
    CHECK_INT(fake.allocated, 0);
}

/* A step in which everything stays where it is: data in, a few numbers in, the loss out. */
static void check_copies(void)
{
    SECTION("copies");
    enum { STEPS = 10, BATCH = 8 };
    fake = (fake_control){0};
    dn_context *context = make_context(&fake_backend);
    dn_solver *solver = make_digit_solver(context);
    CHECK_STATUS(dn_solver_step(solver, 3), DN_OK);
    fake_control before = fake;
    CHECK_STATUS(dn_solver_step(solver, STEPS), DN_OK);
    size_t batch = (BATCH * DIGIT_SIZE + BATCH) * sizeof(float);
    size_t states = 2 * sizeof(int64_t) + 4 * sizeof(float);
    CHECK_AT(fake.bytes_in - before.bytes_in <= 2 * STEPS * (batch + states),
             "%zu bytes went in, %zu are the data", fake.bytes_in - before.bytes_in,
             2 * STEPS * batch);
    CHECK_INT(fake.copies_out - before.copies_out, 1); /* the losses: 5 iterations of 2 */
    CHECK_INT(fake.bytes_out - before.bytes_out, (5 + 1) * 2 * sizeof(float));
    CHECK_INT(fake.replays - before.replays, 2 * STEPS);
    dn_solver_free(solver);
    dn_context_free(context);
    CHECK_INT(fake.allocated, 0);
}

/* Nobody waits for the device but who asks for the loss; that is the one ref has. */
static void check_waits(void)
{
    SECTION("waits");
    static const char text[] = "base_lr: 0.02 lr_policy: 'fixed' momentum: 0.9 random_seed: 11";
    float loss[2] = {0};
    for (int device = 0; device < 2; device++) {
        fake = (fake_control){0};
        dn_context *context = make_context(device ? &fake_backend : NULL);
        dn_solver *solver = make_solver(context, text, DIGITS_NET, NULL);
        CHECK_STATUS(
            dn_net_set_memory_data(dn_solver_net(solver), NULL, images, labels, DIGITS), DN_OK);
        for (int i = 0; i < 10; i++)
            CHECK_STATUS(dn_solver_step(solver, 1), DN_OK);
        CHECK_INT(fake.copies_out + fake.waits, 0);
        loss[device] = dn_solver_loss(solver);
        CHECK_INT(fake.copies_out, device);
        CHECK(dn_solver_loss(solver) == loss[device]);
        CHECK_INT(fake.copies_out, device);
        CHECK_STATUS(dn_solver_step(solver, 1), DN_OK);
        CHECK_STATUS(dn_net_forward(dn_solver_net(solver), NULL), DN_OK);
        CHECK(dn_solver_loss(solver) == loss[device] || !device); /* overtaken */
        CHECK_STATUS(dn_solver_step(solver, 3), DN_OK);           /* waits once */
        CHECK_INT(fake.copies_out, 2 * device);
        CHECK_STATUS(dn_solver_step(solver, 1), DN_OK);
        fake.fail_out = true;
        (void)dn_solver_loss(solver);
        if (device) /* what could not be said then is said now */
            CHECK_MESSAGE(dn_solver_step(solver, 1), DN_E_DEVICE, "the device is lost");
        fake.fail_out = false;
        CHECK_STATUS(dn_solver_step(solver, 1), DN_OK);
        dn_solver_free(solver);
        dn_context_free(context);
    }
    CHECK(loss[0] == loss[1]);
}

/* ---- forward, backward and update as one ------------------------------------------------- */

typedef struct one_replay {
    const char *solver;
    int64_t replays, copies_in, copies_out; /* a step */
    bool look;                              /* at a gradient, before each update */
} one_replay;

static dn_status at_event(void *user, dn_solver *solver, const dn_event *event)
{
    const one_replay *r = user;
    dn_net *net = dn_solver_net(solver);
    if (event->kind == DN_EVENT_GRADIENTS && r->look)
        CHECK(dn_blob_diff(dn_net_layer_param(net, 1, 0)) != NULL);
    if (event->kind == DN_EVENT_GRADIENTS && event->iteration == 8) /* after the first */
        CHECK_STATUS(dn_solver_set_learning_rate(solver, 0.125f), DN_OK);
    if (event->kind == DN_EVENT_STEP_BEGIN && event->iteration == 11)
        CHECK_STATUS(dn_solver_set_learning_rate(solver, -1), DN_OK);
    return DN_OK;
}

/* The hash of the weights after 20 steps; what one of the first costs is told. */
static uint64_t train_as_one(const one_replay *r, bool device, float *loss)
{
    enum { STEPS = 5 };
    fake = (fake_control){0};
    dn_context *context = make_context(device ? &fake_backend : NULL);
    dn_solver_options options = {.struct_size = sizeof options,
                                 .on_event = at_event,
                                 .on_event_user = (void *)(uintptr_t)r};
    dn_solver *solver = make_solver(context, r->solver, DIGITS_NET, &options);
    dn_net *net = dn_solver_net(solver);
    CHECK_STATUS(dn_net_set_memory_data(net, NULL, images, labels, DIGITS), DN_OK);
    CHECK_STATUS(dn_solver_step(solver, 2), DN_OK);
    fake_control was = fake;
    for (int i = 0; i < STEPS; i++)
        CHECK_STATUS(dn_solver_step(solver, 1), DN_OK);
    if (device) {
        CHECK_AT(fake.replays - was.replays == STEPS * r->replays, "%lld replays of %s",
                 (long long)(fake.replays - was.replays), r->solver);
        CHECK_INT(fake.copies_in - was.copies_in, STEPS * r->copies_in);
        CHECK_INT(fake.copies_out - was.copies_out, STEPS * r->copies_out);
    }
    CHECK_STATUS(dn_solver_step(solver, 7), DN_OK); /* the rate is another, and the old again */
    CHECK(dn_blob_data(dn_net_blob_at(net, 2)) != NULL);
    CHECK_STATUS(dn_solver_step(solver, 6), DN_OK);
    *loss = dn_solver_loss(solver);
    uint64_t hash = hash_weights(net);
    dn_solver_free(solver);
    dn_context_free(context);
    CHECK_INT(fake.allocated, 0);
    return hash;
}

/* A step is one replay as long as nothing makes the device stop in between, and whatever does
 * changes no bit; an update by itself is one op, which needs no replay. Data and the random
 * state go in (2 and 1 copies), and the rate when it moves. Gradients that somebody looked at
 * are zeroed before each backward. */
static void check_one_replay(void)
{
    SECTION("a step is one replay");
    static const one_replay cases[] = {
        {"base_lr: 0.02 lr_policy: 'fixed' momentum: 0.9 random_seed: 11", 1, 3, 0, false},
        {"base_lr: 0.02 lr_policy: 'fixed' momentum: 0.9 random_seed: 11", 2, 3, 1, true},
        {"base_lr: 0.02 lr_policy: 'inv' gamma: 0.1 power: 0.75 momentum: 0.9 random_seed: 11 "
         "clip_gradients: 0.5",
         1, 4, 0, 0},
        {"type: 'Adam' base_lr: 0.001 lr_policy: 'fixed' momentum: 0.9 random_seed: 11", 1, 4,
         0, 0},
        {"base_lr: 0.02 lr_policy: 'fixed' random_seed: 11 average_loss: 3", 1, 3, 0, 0},
        {"base_lr: 0.02 lr_policy: 'fixed' random_seed: 11 iter_size: 2", 2, 6, 0, 0},
        {"base_lr: 0.02 lr_policy: 'fixed' random_seed: 11 display: 1", 1, 3, 1, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        float loss, expected_loss;
        uint64_t expected = train_as_one(&cases[i], false, &expected_loss);
        CHECK_AT(train_as_one(&cases[i], true, &loss) == expected && loss == expected_loss,
                 "case %zu: other bits than on ref", i);
    }
}

/* Another shape: another plan, which is recorded anew. */
static uint64_t train_reshaped(bool device)
{
    fake = (fake_control){0};
    dn_context *context = make_context(device ? &fake_backend : NULL);
    dn_solver *solver =
        make_solver(context, "base_lr: 0.1 lr_policy: 'fixed' momentum: 0.9 random_seed: 11",
                    SMALL_NET, NULL);
    dn_net *net = dn_solver_net(solver);
    for (int64_t items = 8; items > 0; items -= 3) {
        CHECK_STATUS(dn_blob_reshape(dn_net_blob(net, "x"), (int64_t[]){items, 6}, 2), DN_OK);
        CHECK_STATUS(dn_blob_reshape(dn_net_blob(net, "t"), &items, 1), DN_OK);
        for (int64_t i = 0; i < items; i++)
            dn_blob_mutable_data(dn_net_blob(net, "x"))[i] = (float)i;
        CHECK_STATUS(dn_solver_step(solver, 3), DN_OK);
        int64_t replays = fake.replays;
        CHECK_STATUS(dn_solver_step(solver, 1), DN_OK);
        CHECK_INT(fake.replays - replays, device);
    }
    uint64_t hash = hash_weights(net);
    dn_solver_free(solver);
    dn_context_free(context);
    return hash;
}

static void check_recorded_anew(void)
{
    SECTION("another shape is recorded anew");
    CHECK(train_reshaped(true) == train_reshaped(false));
}

/* Of a net that has another shape the loss of before is gone. */
static void check_reshaped(void)
{
    SECTION("reshaped before the loss was read");
    static const int64_t items = 4;
    fake = (fake_control){0};
    dn_context *context = make_context(&fake_backend);
    dn_solver *solver = make_solver(context, "base_lr: 0.02 lr_policy: 'fixed' random_seed: 11",
                                    SMALL_NET, NULL);
    dn_net *net = dn_solver_net(solver);
    dn_blob *x = dn_net_blob(net, "x"), *t = dn_net_blob(net, "t");
    fill_small(solver);
    CHECK_STATUS(dn_solver_step(solver, 1), DN_OK);
    float loss = dn_solver_loss(solver);
    CHECK(loss > 0);
    CHECK_STATUS(dn_solver_step(solver, 1), DN_OK);
    CHECK_STATUS(dn_blob_reshape(x, (int64_t[]){items, 6}, 2), DN_OK);
    CHECK_STATUS(dn_blob_reshape(t, &items, 1), DN_OK);
    CHECK_STATUS(dn_net_reshape(net), DN_OK);
    CHECK(dn_solver_loss(solver) == loss);
    CHECK_STATUS(dn_solver_step(solver, 1), DN_OK);
    CHECK(dn_solver_loss(solver) > 0 && dn_solver_loss(solver) != loss);
    dn_solver_free(solver);
    dn_context_free(context);
}

#define BATCH_NET                                                                              \
    "layer { name: 'x' type: 'Input' top: 'x' input_param { shape { dim: 4 dim: 64 } } } "     \
    "layer { name: 'a' type: 'InnerProduct' bottom: 'x' top: 'a' inner_product_param { "       \
    "  num_output: 256 weight_filler { type: 'xavier' } } } "                                  \
    "layer { name: 'b' type: 'ReLU' bottom: 'a' top: 'b' } "

static dn_net *make_net_of(dn_context *context, const char *text)
{
    dn_net *net = NULL;
    CHECK_STATUS(dn_net_create_from_text(&net, context, text, strlen(text), NULL), DN_OK);
    return net;
}

static dn_net *make_net(dn_context *context)
{
    return make_net_of(context, BATCH_NET);
}

/* What the host writes is seen by the device, and the other way round. */
static void check_looks(void)
{
    SECTION("looks");
    fake = (fake_control){0};
    dn_context *context = make_context(&fake_backend);
    dn_net *net = make_net(context);
    float *x = dn_blob_mutable_data(dn_net_blob(net, "x"));
    float *w = dn_blob_mutable_data(dn_net_layer_param(net, 1, 0));
    for (int i = 0; i < 4 * 64; i++)
        x[i] = 1;
    for (int i = 0; i < 256 * 64; i++)
        w[i] = 0.5f;
    CHECK_STATUS(dn_net_forward(net, NULL), DN_OK);
    CHECK_NEAR(dn_blob_data(dn_net_blob(net, "b"))[0], 32, 0);
    CHECK(dn_blob_device_data(dn_net_blob(net, "b")) != NULL);
    CHECK(dn_blob_device_data(dn_net_layer_param(net, 1, 0)) != NULL);
    int64_t out = fake.copies_out;
    CHECK_NEAR(dn_blob_data(dn_net_blob(net, "b"))[0], 32, 0);
    CHECK_INT(fake.copies_out, out); /* nothing ran: nothing to bring */
    w = dn_blob_mutable_data(dn_net_layer_param(net, 1, 0));
    CHECK_NEAR(w[5], 0.5, 0);
    for (int i = 0; i < 256 * 64; i++)
        w[i] = 0.25f;
    x[0] = 5; /* through the pointer from before the run */
    CHECK_STATUS(dn_net_forward(net, NULL), DN_OK);
    CHECK_NEAR(dn_blob_data(dn_net_blob(net, "b"))[0], 17, 0);
    dn_net_free(net);
    dn_context_free(context);
    CHECK_INT(fake.allocated, 0);
}

/* A host that has its data on the device already, and wants the results there. */
static void check_views(void)
{
    SECTION("device views");
    enum { X = 4 * 64, W = 64 * 256 };
    static float ones[X], twos[X], w[W], b[4 * 256];
    fake = (fake_control){0};
    dn_context *context = make_context(&fake_backend);
    dn_net *net = make_net(context);
    dn_blob *x = dn_net_blob(net, "x");
    for (int i = 0; i < X; i++)
        ones[i] = 1, twos[i] = 2;
    for (int i = 0; i < W; i++)
        w[i] = 0.5f;
    CHECK_STATUS(dn_blob_write(dn_net_layer_param(net, 1, 0), w, W), DN_OK);
    char *there = fake_make(2 * sizeof ones);
    fake_poke(there, ones, sizeof ones);
    CHECK_STATUS(dn_blob_view_device(x, there), DN_OK);
    int64_t in = 0;
    for (int run = 0; run < 4; run++) { /* plain, recorded, replayed */
        CHECK_STATUS(dn_net_forward(net, NULL), DN_OK);
        fake_peek(b, dn_blob_device_data(dn_net_blob(net, "b")), sizeof b);
        CHECK_AT(b[0] == (run % 2 ? 64 : 32), "run %d: %g", run, (double)b[0]);
        if (run == 1)
            in = fake.copies_in;
        fake_poke(there, run % 2 ? ones : twos, sizeof ones);
    }
    CHECK_INT(fake.copies_out, 0);
    CHECK(fake.copies_in - in <= 2); /* the random state; never x */
    CHECK_NEAR(dn_blob_data(x)[5], 1, 0);
    CHECK(!dn_blob_mutable_data(x) && dn_last_error());
    CHECK_STATUS(dn_blob_write(x, ones, X), DN_E_STATE);
    fake_poke(there + sizeof ones, twos, sizeof twos);
    CHECK_STATUS(dn_blob_view_device(x, there + 1024), DN_OK);
    CHECK_STATUS(dn_net_forward(net, NULL), DN_OK);
    CHECK_NEAR(dn_blob_data(dn_net_blob(net, "b"))[0], 64, 0);
    CHECK_STATUS(dn_blob_view_device(x, NULL), DN_OK);
    fake_drop(there); /* whoever still reads it faults */
    CHECK_STATUS(dn_blob_write(x, ones, X), DN_OK);
    CHECK_STATUS(dn_net_forward(net, NULL), DN_OK);
    CHECK_NEAR(dn_blob_data(dn_net_blob(net, "b"))[0], 32, 0);
    void *mine = dn_blob_mutable_device_data(x), *weight;
    fake_poke(mine, twos, sizeof twos);
    CHECK_STATUS(dn_net_forward(net, NULL), DN_OK);
    CHECK_NEAR(dn_blob_data(dn_net_blob(net, "b"))[0], 64, 0);
    fake_poke(mine, ones, sizeof ones); /* an input's pointer stays good */
    CHECK_STATUS(dn_net_forward(net, NULL), DN_OK);
    CHECK_NEAR(dn_blob_data(dn_net_blob(net, "b"))[0], 32, 0);
    weight = dn_blob_mutable_device_data(dn_net_layer_param(net, 1, 0));
    for (int i = 0; i < W; i++)
        w[i] = 0.25f;
    fake_poke(weight, w, sizeof w);
    CHECK_NEAR(dn_blob_data(dn_net_layer_param(net, 1, 0))[W - 1], 0.25, 0);
    CHECK_STATUS(dn_net_forward(net, NULL), DN_OK);
    CHECK_NEAR(dn_blob_data(dn_net_blob(net, "b"))[0], 16, 0);
    CHECK_STATUS(dn_blob_view_device(dn_net_blob(net, "b"), mine), DN_E_INVALID);
    CHECK_STATUS(dn_blob_view_device(NULL, mine), DN_E_INVALID);
    there = fake_make(sizeof ones);
    CHECK_STATUS(dn_blob_view_device(x, there), DN_OK);
    CHECK_STATUS(dn_blob_reshape(x, (int64_t[]){2, 64}, 2), DN_OK); /* takes it back */
    fake_drop(there);
    CHECK_STATUS(dn_net_forward(net, NULL), DN_OK);
    int64_t waits = fake.waits;
    CHECK_STATUS(dn_context_synchronise(context), DN_OK);
    CHECK_INT(fake.waits, waits + 1);
    CHECK_STATUS(dn_context_synchronise(NULL), DN_E_INVALID);
    dn_net_free(net);
    dn_context_free(context);
    CHECK_INT(fake.allocated, 0);
}

static void check_stream(void)
{
    SECTION("stream");
    int queue;
    dn_context *context = NULL;
    dn_context_options options = {.struct_size = sizeof options,
                                  .backend = &fake_backend,
                                  .device_stream = &queue,
                                  .tune = 1,
                                  .allow_nondeterministic = 1};
    CHECK_STATUS(dn_context_create(&context, &options), DN_OK);
    CHECK(fake_host()->stream == &queue && fake_host()->tune == 1);
    CHECK_INT(fake_host()->allow_nondeterministic, 1);
    dn_context_free(context);
    options.allow_nondeterministic = 2;
    CHECK_STATUS(dn_context_create(&context, &options), DN_E_INVALID);
}

static void check_out_of_memory(void)
{
    SECTION("out of memory");
    fake = (fake_control){0};
    dn_context *context = make_context(&fake_backend);
    dn_net *net = make_net(context);
    dn_blob *x = dn_net_blob(net, "x");
    CHECK_STATUS(dn_net_forward(net, NULL), DN_OK);
    fake.limit = 4 << 20;
    CHECK_STATUS(dn_blob_reshape(x, (int64_t[]){4096, 64}, 2), DN_OK);
    CHECK_STATUS(dn_net_forward(net, NULL), DN_E_NOMEM);
    CHECK_STATUS(dn_blob_reshape(x, (int64_t[]){8, 64}, 2), DN_OK);
    CHECK_STATUS(dn_net_forward(net, NULL), DN_OK);
    CHECK_INT(dn_blob_count(dn_net_blob(net, "b")), 8 * 256);
    dn_net_free(net);
    dn_context_free(context);
    CHECK_INT(fake.allocated, 0);
}

/* Much memory and little work, of which the plans for large batches would be most. */
#define GROWING                                                                                \
    "layer { name: 'x' type: 'Input' top: 'x' input_param { shape { dim: 4 dim: 256 } } } "    \
    "layer { name: 'a' type: 'Power' bottom: 'x' top: 'a' power_param { scale: 2 } } "         \
    "layer { name: 'b' type: 'ReLU' bottom: 'a' top: 'b' } "

static dn_status run_batch(dn_net *net, int64_t batch)
{
    CHECK_STATUS(dn_blob_reshape(dn_net_blob(net, "x"), (int64_t[]){batch, 256}, 2), DN_OK);
    return dn_net_forward(net, NULL);
}

/* Memory goes from plan to plan, back to the device when it is of no use, and at once when
 * memory is short. */
static void check_reuse(void)
{
    SECTION("device memory from plan to plan");
    fake = (fake_control){0};
    dn_context *context = make_context(&fake_backend);
    dn_net *net = make_net_of(context, GROWING);
    CHECK_STATUS(run_batch(net, 4096), DN_OK);
    CHECK_STATUS(run_batch(net, 3000), DN_OK);
    int64_t allocations = fake.allocations;
    for (int i = 0; i < 10; i++)
        CHECK_STATUS(run_batch(net, i % 2 ? 3000 : 4096), DN_OK);
    CHECK_INT(fake.allocations, allocations);
    size_t large = fake.allocated;
    CHECK_STATUS(run_batch(net, 16), DN_OK);
    CHECK(fake.allocated >= large); /* perhaps it comes again */
    for (int i = 0; i < 50; i++)
        CHECK_STATUS(dn_net_forward(net, NULL), DN_OK);
    CHECK_AT(fake.allocated < large / 8, "%zu of %zu bytes are held", fake.allocated, large);
    CHECK_STATUS(run_batch(net, 4096), DN_OK);
    CHECK_STATUS(run_batch(net, 16), DN_OK);
    fake.limit = large + large / 4; /* what is kept has to go first */
    CHECK_STATUS(run_batch(net, 4500), DN_OK);
    CHECK_STATUS(run_batch(net, 9000), DN_E_NOMEM);
    CHECK_STATUS(run_batch(net, 4096), DN_OK);
    CHECK_NEAR(dn_blob_data(dn_net_blob(net, "b"))[0], 0, 0);
    dn_net_free(net);
    CHECK_INT(fake.allocated, 0); /* while the context lives */
    dn_context_free(context);
    CHECK_INT(fake.allocated, 0);
}

static void check_memory_limit(void)
{
    SECTION("device_memory_limit");
    enum { LIMIT = 16 << 20 };
    fake = (fake_control){0};
    dn_context *context = NULL;
    dn_context_options options = {.struct_size = sizeof options,
                                  .backends = "ref",
                                  .backend = &fake_backend,
                                  .device_memory_limit = LIMIT};
    CHECK_STATUS(dn_context_create(&context, &options), DN_OK);
    dn_net *net = make_net_of(context, GROWING);
    CHECK_STATUS(run_batch(net, 2048), DN_OK);
    CHECK_STATUS(run_batch(net, 8192), DN_E_LIMIT);
    CHECK(dn_last_error() && strstr(dn_last_error(), "device_memory_limit is 16777216"));
    CHECK_STATUS(run_batch(net, 3000), DN_OK); /* in the place of the 2048 */
    CHECK_STATUS(run_batch(net, 16), DN_OK);
    CHECK_STATUS(run_batch(net, 2048), DN_OK);
    CHECK_AT(fake.most <= LIMIT + 64 * 4096, "%zu bytes", fake.most); /* whole pages */
    dn_net_free(net);
    dn_context_free(context);
    CHECK_INT(fake.allocated, 0);
}

/* Every run of an op fails once, and all after it: a status each time, nothing left behind. */
static void check_lost(void)
{
    SECTION("lost device");
    for (int64_t at = 1; at < 120; at += 7) {
        fake = (fake_control){.fail_run = at};
        dn_context *context = make_context(&fake_backend);
        dn_solver *solver = make_digit_solver(context);
        dn_status status = dn_solver_step(solver, 10);
        CHECK_INT(status, DN_E_DEVICE);
        CHECK(dn_last_error() && strstr(dn_last_error(), "the device is lost"));
        dn_solver_free(solver);
        dn_context_free(context);
        CHECK_INT(fake.allocated, 0);
    }
}

static dn_status count_calls(void *user, float *data, int64_t count)
{
    int64_t *calls = user;
    (void)data, (void)count;
    ++*calls;
    return DN_OK;
}

/* A pointer that is NULL has words alone; a copy of the values has a status as well. */
static void check_lost_values(void)
{
    SECTION("lost values");
    fake = (fake_control){0};
    dn_context *context = make_context(&fake_backend);
    dn_net *net = make_net(context);
    dn_blob *blob = dn_net_blob(net, "b");
    static float values[4096];
    CHECK(dn_blob_count(blob) <= 4096);
    CHECK_STATUS(dn_net_forward(net, NULL), DN_OK);
    fake.fail_out = true;
    CHECK(!dn_blob_data(blob) && strstr(dn_last_error(), "the device is lost"));
    CHECK_MESSAGE(dn_blob_read(blob, values, dn_blob_count(blob)), DN_E_DEVICE,
                  "the device is lost");
    fake.fail_out = false;
    CHECK_STATUS(dn_blob_read(blob, values, dn_blob_count(blob)), DN_OK);
    dn_net_free(net);
    dn_context_free(context);
    CHECK_INT(fake.allocated, 0);
}

/* Gradients that do not reach the host are not the fault of its all_reduce. */
static void check_lost_gradients(void)
{
    SECTION("lost gradients");
    int64_t calls = 0;
    dn_solver_options options = {
        .struct_size = sizeof options, .all_reduce = count_calls, .all_reduce_user = &calls};
    fake = (fake_control){0};
    dn_context *context = make_context(&fake_backend);
    dn_solver *solver = make_solver(context, digits_solver, DIGITS_NET, &options);
    dn_net *net = dn_solver_net(solver);
    CHECK_STATUS(dn_net_set_memory_data(net, NULL, images, labels, DIGITS), DN_OK);
    CHECK_STATUS(dn_net_forward(net, NULL), DN_OK);
    CHECK_STATUS(dn_net_backward(net), DN_OK);
    fake.fail_out = true;
    CHECK_MESSAGE(dn_solver_apply_update(solver), DN_E_DEVICE, "the device is lost");
    CHECK(!strstr(dn_last_error(), "all_reduce"));
    CHECK_INT(calls, 0);
    fake.fail_out = false;
    CHECK_STATUS(dn_solver_apply_update(solver), DN_OK);
    CHECK(calls > 0);
    dn_solver_free(solver);
    dn_context_free(context);
    CHECK_INT(fake.allocated, 0);
}

typedef struct reducer {
    int64_t told, waits;
    bool device;
} reducer;

static dn_status double_it(void *user, float *data, int64_t count)
{
    reducer *r = user;
    float *copy = malloc((size_t)count * sizeof *copy);
    r->told++;
    if (r->device)
        fake_peek(copy, data, (size_t)count * sizeof *copy);
    else
        memcpy(copy, data, (size_t)count * sizeof *copy);
    for (int64_t i = 0; i < count; i++)
        copy[i] *= 2;
    if (r->device)
        fake_poke(data, copy, (size_t)count * sizeof *copy);
    else
        memcpy(data, copy, (size_t)count * sizeof *copy);
    free(copy);
    return DN_OK;
}

static dn_status count_waits(void *user)
{
    ((reducer *)user)->waits++;
    return DN_OK;
}

/* A host's all_reduce, on either side, with a wait of its own: told of every weight once. */
static void check_reduce(void)
{
    SECTION("all_reduce");
    uint64_t hash[2] = {0};
    for (int device = 0; device < 2; device++) {
        reducer r = {.device = device};
        dn_solver_options options = {.struct_size = sizeof options,
                                     .all_reduce = double_it,
                                     .all_reduce_user = &r,
                                     .all_reduce_wait = count_waits,
                                     .all_reduce_on_device = device};
        fake = (fake_control){0};
        dn_context *context = make_context(&fake_backend);
        dn_solver *solver = make_solver(context, digits_solver, DIGITS_NET, &options);
        dn_net *net = dn_solver_net(solver);
        CHECK_STATUS(dn_net_set_memory_data(net, NULL, images, labels, DIGITS), DN_OK);
        CHECK_STATUS(dn_solver_step(solver, 6), DN_OK);
        CHECK_INT(r.told, 6 * 8);
        CHECK_INT(r.waits, 6);
        hash[device] = hash_weights(net);
        dn_solver_free(solver);
        dn_context_free(context);
    }
    CHECK(hash[0] == hash[1]);
}

enum { MOST_LATE = 8 };

/* Gradients in host memory whose sums begin when they are told of, and end in the wait. */
typedef struct late_sums {
    float *data[MOST_LATE];
    int64_t count[MOST_LATE];
    int num;
    bool late;            /* else at once */
    int64_t first, waits; /* what the device had done when the first was told of; and since */
} late_sums;

static dn_status sum_late(void *user, float *data, int64_t count)
{
    late_sums *l = user;
    l->first = l->num ? l->first : fake.runs;
    l->data[l->num] = data;
    l->count[l->num++] = count;
    for (int64_t i = 0; !l->late && i < count; i++)
        data[i] *= 2;
    return l->num > MOST_LATE ? DN_E_LIMIT : DN_OK;
}

static dn_status wait_late(void *user)
{
    late_sums *l = user;
    l->waits = fake.runs - l->first;
    for (int k = 0; k < l->num; k++)
        for (int64_t i = 0; l->late && i < l->count[k]; i++)
            l->data[k][i] *= 2;
    l->num = 0;
    return DN_OK;
}

#define PRODUCT(name, from, outputs)                                                           \
    "layer { name: '" name "' type: 'InnerProduct' bottom: '" from "' top: '" name "' "        \
    "inner_product_param { num_output: " outputs " weight_filler { type: 'xavier' } } } "

/* A host sums a layer's gradients, in its own memory, while earlier layers compute. */
static void check_late_sums(void)
{
    SECTION("all_reduce beside the backward");
    static const char net_text[] =
        "layer { name: 'd' type: 'MemoryData' top: 'd' top: 't' memory_data_param { "
        "  batch_size: 4 channels: 1 height: 16 width: 16 } } " PRODUCT("a", "d", "300")
            PRODUCT("e", "a", "1000") PRODUCT("c", "e", "10") "layer { name: 'l' bottom: 'c' "
                                                             "type: 'SoftmaxWithLoss' "
                                                             "bottom: 't' top: 'l' } ";
    uint64_t hash[2] = {0};
    for (int late = 0; late < 2; late++) {
        late_sums l = {.late = late};
        dn_solver_options options = {.struct_size = sizeof options,
                                     .all_reduce = sum_late,
                                     .all_reduce_user = &l,
                                     .all_reduce_wait = wait_late};
        fake = (fake_control){0};
        dn_context *context = make_context(&fake_backend);
        dn_solver *solver = make_solver(context, digits_solver, net_text, &options);
        dn_net *net = dn_solver_net(solver);
        CHECK_STATUS(dn_net_set_memory_data(net, NULL, images, labels, DIGITS), DN_OK);
        for (int step = 0; step < 3; step++) {
            CHECK_STATUS(dn_solver_step(solver, 1), DN_OK);
            CHECK_AT(l.waits > 0, "step %d: nothing ran meanwhile", step);
        }
        hash[late] = hash_weights(net);
        dn_solver_free(solver);
        dn_context_free(context);
    }
    CHECK(hash[0] == hash[1]);
}

static size_t heap_now, heap_most;

static void *counted(void *user, void *ptr, size_t old_size, size_t new_size)
{
    (void)user;
    heap_now += new_size - (ptr ? old_size : 0);
    heap_most = heap_now > heap_most ? heap_now : heap_most;
    if (new_size)
        return realloc(ptr, new_size);
    free(ptr);
    return NULL;
}

#define WIDE(name, from)                                                                       \
    "layer { name: '" name "' type: 'Power' bottom: '" from "' top: '" name "' "               \
    "power_param { power: 2 shift: 1 } } "

/* Whoever looks at a blob on the device makes no memory for it on the host, and no copy. */
static void look_there(dn_net *net, const char *name, float expected)
{
    size_t heap = heap_now;
    int64_t out = fake.copies_out;
    float value = 0;
    heap_most = heap_now;
    for (int run = 0; run < 3; run++) {
        const void *there = dn_blob_device_data(dn_net_blob(net, name));
        CHECK_AT(there != NULL, "%s: %s", name, dn_last_error());
        if (there)
            fake_peek(&value, there, sizeof value);
        CHECK_AT(value == expected, "%s: %g", name, (double)value);
        CHECK_STATUS(dn_net_forward(net, NULL), DN_OK);
    }
    CHECK_AT(heap_most - heap < 65536, "%s: %zu bytes on the host", name, heap_most - heap);
    CHECK_INT(fake.copies_out, out);
}

/* What only the device uses has no memory on the host. */
static void check_host_memory(void)
{
    SECTION("host memory");
    enum { WIDTH = 1 << 18 };
    const char *text =
        "layer { name: 'x' type: 'Input' top: 'x' input_param { shape { dim: 262144 } } "
        "} " WIDE("a", "x") WIDE("b", "a") WIDE("c", "b") "layer { name: 's' type: 'Reduction' "
                                                          "bottom: 'c' top: 's' }";
    fake = (fake_control){0};
    dn_context *context = NULL;
    dn_net *net = NULL;
    dn_context_options options = {.struct_size = sizeof options,
                                  .backends = "ref",
                                  .backend = &fake_backend,
                                  .alloc = counted,
                                  .plan = DN_PLAN_FUSED};
    dn_net_options compact = {.struct_size = sizeof compact, .memory = DN_MEMORY_COMPACT};
    CHECK_STATUS(dn_context_create(&context, &options), DN_OK);
    for (int readable = 0; readable < 2; readable++) {
        if (readable) /* on the host is what somebody looked at */
            compact.memory = DN_MEMORY_READABLE;
        CHECK_STATUS(dn_net_create_from_text(&net, context, text, strlen(text), &compact),
                     DN_OK);
        for (int run = 0; run < 3; run++)
            CHECK_STATUS(dn_net_forward(net, NULL), DN_OK);
        CHECK_NEAR(dn_blob_data(dn_net_blob(net, "s"))[0], 25.0 * WIDTH, 0);
        CHECK_AT(heap_most < 2 * WIDTH * sizeof(float), "%zu bytes on the host", heap_most);
        CHECK(fake.most >= 2 * WIDTH * sizeof(float));
        if (readable) {
            look_there(net, "a", 1);
            look_there(net, "b", 4);
            look_there(net, "c", 25);
            const float *b = dn_blob_data(dn_net_blob(net, "b"));
            CHECK(b && b[WIDTH - 1] == 4);
            float *x = dn_blob_mutable_data(dn_net_blob(net, "x"));
            for (int i = 0; i < WIDTH; i++)
                x[i] = 1;
            for (int run = 0; run < 3; run++)
                CHECK_STATUS(dn_net_forward(net, NULL), DN_OK);
            CHECK(dn_blob_data(dn_net_blob(net, "b")) == b);
            CHECK_NEAR(b[WIDTH - 1], 25, 0);
            CHECK_AT(heap_most < 3 * WIDTH * sizeof(float), "%zu bytes", heap_most);
        }
        dn_net_free(net);
    }
    dn_context_free(context);
    CHECK_INT(heap_now, 0);
    CHECK_INT(fake.allocated, 0);
}

#define FLAT(name, from)                                                                       \
    "layer { name: '" name "' type: 'Convolution' bottom: '" from "' top: '" name "' "         \
    "convolution_param { num_output: 8 kernel_size: 1 weight_filler { value: 0.5 } } } "

/* The same of blobs that lie as NHWC, which are turned when somebody looks. */
static void check_shown_there(void)
{
    SECTION("shown on the device");
    enum { SIZE = 8 * 128 * 128 };
    const char *text = "layer { name: 'x' type: 'Input' top: 'x' input_param { shape { dim: 1 "
                       "dim: 4 dim: 128 dim: 128 } } } " FLAT("a", "x") FLAT("b", "a");
    fake = (fake_control){0};
    dn_context *context = NULL;
    dn_net *net = NULL;
    dn_context_options options = {.struct_size = sizeof options,
                                  .backends = "ref",
                                  .backend = &fake_backend,
                                  .alloc = counted,
                                  .plan = DN_PLAN_NHWC};
    CHECK_STATUS(dn_context_create(&context, &options), DN_OK);
    CHECK_STATUS(dn_net_create_from_text(&net, context, text, strlen(text), NULL), DN_OK);
    float *x = dn_blob_mutable_data(dn_net_blob(net, "x"));
    for (int i = 0; i < SIZE / 2; i++)
        x[i] = 1;
    CHECK_STATUS(dn_net_forward(net, NULL), DN_OK);
    look_there(net, "a", 2);
    look_there(net, "b", 8);
    for (int i = 0; i < SIZE / 2; i++)
        x[i] = 2;
    CHECK_STATUS(dn_net_forward(net, NULL), DN_OK);
    const float *a = dn_blob_data(dn_net_blob(net, "a"));
    CHECK(a && a[0] == 4 && a[SIZE - 1] == 4);
    CHECK_STATUS(dn_net_forward_range(net, 2, 2, NULL), DN_OK); /* every op as it is */
    look_there(net, "b", 16);
    CHECK(dn_blob_data(dn_net_blob(net, "a")) == a && a[0] == 4);
    dn_net_free(net);
    dn_context_free(context);
    CHECK_INT(heap_now, 0);
    CHECK_INT(fake.allocated, 0);
}

#define FILTER_NET                                                                             \
    "layer { name: 'x' type: 'Input' top: 'x' input_param { shape { dim: 6 dim: 5 } } } "      \
    "layer { name: 'c' type: 'Input' top: 'c' input_param { shape { dim: 6 } } } "             \
    "layer { name: 'i' type: 'InnerProduct' bottom: 'x' top: 'i' inner_product_param { "       \
    "  num_output: 7 weight_filler { type: 'xavier' } } } "                                    \
    "layer { name: 'o' type: 'Dropout' bottom: 'i' top: 'o' } "                                \
    "layer { name: 'n' type: 'LRN' bottom: 'o' top: 'n' } "                                    \
    "layer { name: 'f' type: 'Filter' bottom: 'n' bottom: 'c' top: 'f' } "                     \
    "layer { name: 'g' type: 'TanH' bottom: 'f' top: 'g' loss_weight: 1 } "

/* Items pass by what the run before found, or not: what was computed goes along to the new
 * plan, where it lies on the device, too. */
static void filter(bool device, float *out)
{
    fake = (fake_control){0};
    dn_context *context = make_context(device ? &fake_backend : NULL);
    dn_net *net = NULL;
    dn_net_options options = {.struct_size = sizeof options, .phase = DN_PHASE_TRAIN};
    CHECK_STATUS(dn_net_create_from_text(&net, context, "force_backward: true " FILTER_NET,
                                         strlen("force_backward: true " FILTER_NET), &options),
                 DN_OK);
    for (int run = 0; run < 6; run++) {
        float *x = dn_blob_mutable_data(dn_net_blob(net, "x"));
        float *c = dn_blob_mutable_data(dn_net_blob(net, "c"));
        for (int i = 0; i < 30; i++)
            x[i] = (float)(i % 7) - 3;
        for (int i = 0; i < 6; i++)
            c[i] = (float)(i % (1 + run / 2) == 0);
        CHECK_STATUS(dn_net_clear_gradients(net), DN_OK);
        CHECK_STATUS(dn_net_forward(net, out++), DN_OK);
        CHECK_STATUS(dn_net_backward(net), DN_OK);
        const float *dx = dn_blob_diff(dn_net_blob(net, "x"));
        for (int i = 0; i < 30; i++)
            *out++ = dx[i];
    }
    dn_net_free(net);
    dn_context_free(context);
    CHECK_INT(fake.allocated, 0);
}

static void check_filter(void)
{
    SECTION("shapes that depend on the data");
    float expected[6 * 31], got[6 * 31];
    filter(false, expected);
    filter(true, got);
    CHECK(!memcmp(expected, got, sizeof got));
}

/* The plan says what is recorded, and what splits it. */
static void check_plan_text(void)
{
    SECTION("what the plan says");
    fake = (fake_control){.declines = 1ull << DN_OP_UNARY};
    dn_context *context = make_context(&fake_backend);
    dn_net *net = NULL;
    char *text = NULL;
    const char *split = BATCH_NET
        "layer { name: 'c' type: 'InnerProduct' bottom: 'b' top: 'c' "
        "inner_product_param { num_output: 9 weight_filler { type: 'xavier' } } } "
        "layer { name: 'p' type: 'Softmax' bottom: 'c' top: 'p' }"
        "layer { name: 's' type: 'TanH' bottom: 'p' top: 's' }"
        "layer { name: 'f' type: 'Filter' bottom: 's' bottom: 'sel' top: 'f' }"
        "layer { name: 'g' type: 'Power' bottom: 'f' top: 'g' power_param { power: 2 } }";
    char whole[4096];
    snprintf(whole, sizeof whole,
             "layer { name: 'sel' type: 'Input' top: 'sel' input_param { shape { dim: 4 } } } "
             "%s",
             split);
    CHECK_STATUS(dn_net_create_from_text(&net, context, whole, strlen(whole), NULL), DN_OK);
    CHECK_STATUS(dn_net_describe(net, DN_DESCRIBE_PLAN, &text), DN_OK);
    CHECK_AT(text && strstr(text, "are recorded as one"), "%s", text);
    CHECK_AT(text && strstr(text, "'s', runs on the host: fake: runs on the host"), "%s", text);
    CHECK_AT(text && strstr(text, "split after 'f': its shapes are found"), "%s", text);
    dn_net_text_free(net, text);
    dn_net_free(net);
    SECTION("and of the update");
    dn_solver *solver = make_digit_solver(context);
    CHECK_STATUS(dn_solver_describe(solver, DN_DESCRIBE_PLAN, &text), DN_OK);
    const char *row = text ? strstr(text, " update ") : NULL;
    char want[32] = "";
    while (row && row[-1] != '\n')
        row--;
    snprintf(want, sizeof want, "\nupdate: steps %d to ", row ? atoi(row) : -1);
    CHECK_AT(text && strstr(text, want), "no '%s' in %s", want, text);
    CHECK_AT(text && strstr(text, " fwd     (losses) "), "%s", text);
    dn_net_text_free(dn_solver_net(solver), text);
    dn_solver_free(solver);
    dn_context_free(context);
}

static void check_refusals(void)
{
    SECTION("refusals");
    dn_context *context = NULL;
    dn_context_options options = {
        .struct_size = sizeof options, .device = 1, .module_folder = "/nowhere"};
    CHECK_STATUS(dn_context_create(&context, &options), DN_E_UNSUPPORTED);
    dn_backend_ops lacks = fake_backend;
    lacks.copy_out = NULL;
    options = (dn_context_options){.struct_size = sizeof options, .backend = &lacks};
    CHECK_STATUS(dn_context_create(&context, &options), DN_E_INVALID);
    context = make_context(NULL);
    dn_net *net = make_net(context);
    CHECK_STATUS(dn_net_forward(net, NULL), DN_OK);
    CHECK(dn_blob_device_data(dn_net_blob(net, "b")) == NULL && dn_last_error());
    CHECK(dn_blob_device_data(NULL) == NULL && dn_last_error());
    CHECK(!dn_blob_mutable_device_data(NULL) && dn_last_error());
    CHECK(!dn_blob_data(NULL) && dn_last_error());
    CHECK(!dn_blob_mutable_data(NULL) && dn_last_error());
    CHECK(!dn_blob_mutable_diff(NULL) && dn_last_error());
    CHECK_STATUS(dn_blob_write(NULL, &(float){1}, 1), DN_E_INVALID);
    dn_net_free(net);
    dn_context_free(context);
}

int main(void)
{
    make_digits(images, labels);
    check_same_bits();
    check_one_update();
    check_short_table();
    check_none_made();
    check_copies();
    check_waits();
    check_one_replay();
    check_recorded_anew();
    check_reshaped();
    check_looks();
    check_views();
    check_stream();
    check_out_of_memory();
    check_reuse();
    check_memory_limit();
    check_lost();
    check_lost_values();
    check_lost_gradients();
    check_reduce();
    check_late_sums();
    check_host_memory();
    check_shown_there();
    check_filter();
    check_plan_text();
    check_refusals();
    return check_summary();
}
