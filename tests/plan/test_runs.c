/* SPDX-License-Identifier: BSD-2-Clause
 * test_runs.c: whole runs and ranges in any order give what plain ones give; weights are shared
 * whole or not at all; constants follow the weights they were made from, and are made no more
 * often than that. */
#include "nets.h"

extern const dn_backend_ops dn_ref_backend;

/* ---- ranges ------------------------------------------------------------------------------ */

static void layers(dn_net *net, int32_t from, int32_t to)
{
    CHECK_STATUS(dn_net_forward_range(net, from, to, NULL), DN_OK);
}

static void layers_back(dn_net *net, int32_t from, int32_t to)
{
    CHECK_STATUS(dn_net_backward_range(net, from, to), DN_OK);
}

/* One after the other on the same net: each way to use it, and what comes after. */
static void use(dn_net *net, int way)
{
    int32_t last = dn_net_num_layers(net) - 1;
    CHECK_STATUS(dn_net_clear_gradients(net), DN_OK);
    switch (way) {
    case 0:
        for (int32_t i = 0; i <= last; i++)
            layers(net, i, i);
        for (int32_t i = last; i >= 0; i--)
            layers_back(net, i, i);
        break;
    case 1: /* whole, then back in parts that cut a fused group */
        layers(net, 0, last);
        layers_back(net, last, 4);
        layers_back(net, 3, 0);
        break;
    case 2: /* the tail once more, then all the way back */
        layers(net, 0, last);
        layers(net, last - 2, last);
        layers_back(net, last, 0);
        break;
    case 3: /* in two parts, then back whole */
        layers(net, 0, 3);
        layers(net, 4, last);
        layers_back(net, last, 0);
        break;
    default:
        layers(net, 0, last);
        layers_back(net, last, 0);
    }
}

/* Nets that a fused run must take care with: a layer in place on what the host wrote; a scale
 * whose factors are made after the normalisation; several values as a loss. */
#define ON_INPUT                                                                               \
    X ON("x", "half", "Power", "power_param { scale: 0.5 }") CONV("a", "x", "") RELU("a")      \
        LOSS("a")
#define LATE_SCALE                                                                             \
    "force_backward: true " X IN("z", "dim: 3") LAYER("n", "BatchNorm", "x", "n", "")          \
        LAYER("s", "Power", "z", "s",                                                          \
              "power_param { scale: 3 }") "layer { name: 'y' type: 'Scale' bottom: 'n' "       \
                                          "bottom: 's' top: 'y' scale_param { "                \
                                          "axis: 1 bias_term: true bias_filler { type: "       \
                                          "'gaussian' } } } " LOSS("y")
/* A sum that belongs to a bias after the scale, whose maker wants it before the normalisation's
 * turn comes. */
#define LATE_BIAS                                                                              \
    X IN("z", "dim: 3") CONV("a", "x", "") ON("a", "a_n", "BatchNorm", "")                     \
        LAYER("m", "Scale", "z", "m", "scale_param { axis: 0 num_axes: 1 }")                   \
            ON("a", "a_s", "Scale",                                                            \
               "param { lr_mult: 1 } param { lr_mult: 0 } scale_param { bias_term: true "      \
               "}") "layer { name: 'o' type: 'Bias' bottom: 'a' bottom: 'm' top: 'a' "         \
                    "} " LOSS("a")
/* Layers that keep something of their own for the backward. */
#define KEEPING                                                                                \
    X CONV("a", "x", "") ON("a", "v", "MVN", "") ON("a", "c", "Scale", "")                     \
        ON("a", "i", "Sigmoid", "") LAYER("n", "Normalize", "a", "n", "")                      \
            ON("n", "w", "Swish", "") ON("n", "d", "Dropout", "") LOSS("n")
/* What ReLU made is changed in place, and its gradient is that at x. */
#define CHANGED                                                                                \
    X CONV("a", "x", "") LAYER("r", "ReLU", "a", "r", "")                                      \
        ON("r", "p", "Power", "power_param { scale: 0.5 shift: -0.2 }") LOSS("r")
/* A truth of as many values in another shape. */
#define OTHER_SHAPE                                                                            \
    X IN("z", "dim: 2 dim: 90 dim: 1 dim: 1") CONV("a", "x", "")                               \
        LAYER("r", "ReLU", "a", "r", "")                                                       \
            LAYER("i", "Sigmoid", "r", "i",                                                    \
                  "") "layer { name: 'l' type: 'L1Loss' bottom: 'i' bottom: 'z' top: 'l' } "
#define DREAM                                                                                  \
    X CONV("a", "x", "") LAYER("b", "Convolution", "a", "b",                                   \
                               "loss_weight: 2 convolution_param { num_output: 2 "             \
                               "kernel_size: 3 weight_filler { type: 'xavier' } } ")

/* A layer that counts its forwards and goes by their number. */
#define COUNTING                                                                               \
    X IN("t", "dim: 2") CONV(                                                                  \
        "a", "x",                                                                              \
        "") "layer { name: 'm' type: 'MarginInnerProduct' bottom: 'a' bottom: 't' top: 'm' "   \
            "top: 'lambda' margin_inner_product_param { num_output: 4 base: 10 gamma: 0.5 "    \
            "weight_filler { type: 'gaussian' } } } "                                          \
            "layer { name: 'loss' type: 'SoftmaxWithLoss' bottom: 'm' bottom: 't' top: "       \
            "'loss' } "
/* States that go on from run to run. */
#define CARRYING                                                                               \
    IN("x", "dim: 2 dim: 3 dim: 5")                                                            \
    IN("c", "dim: 2 dim: 3") "layer { name: 'r' type: 'LSTM' bottom: 'x' bottom: 'c' top: 'r' " \
                             "recurrent_param { num_output: 4 weight_filler { type: "          \
                             "'gaussian' } } } " ON("r", "p", "Power", "power_param { power: 2 }") \
        LOSS("r")
/* A loss on which another layer works in place. */
#define LOSS_BEFORE                                                                            \
    X LAYER("b", "Convolution", "x", "b",                                                      \
            "loss_weight: 2 convolution_param { num_output: 2 kernel_size: 3 "                 \
            "weight_filler { type: 'xavier' } } ") ON("b", "h", "Sigmoid", "")

static void check_ranges(dn_context *fused, dn_context *plain, int32_t memory, const char *text)
{
    for (int first = 0; first < 5; first++)
        for (int then = 0; then < 5; then++) {
            char section[64];
            snprintf(section, sizeof section, "way %d, then %d, memory %d", first, then,
                     memory);
            SECTION(section);
            dn_net *net = net_of(fused, text, DN_PHASE_TRAIN, memory);
            dn_net *truth = net_of(plain, text, DN_PHASE_TRAIN, DN_MEMORY_READABLE);
            use(net, first);
            use(truth, first);
            compare_nets(net, truth, true);
            use(net, then);
            use(truth, then);
            compare_nets(net, truth, true);
            dn_net_free(net);
            dn_net_free(truth);
        }
}

static void check_loss(dn_context *fused, dn_context *plain)
{
    SECTION("a loss of several values");
    dn_net *net = net_of(fused, DREAM, DN_PHASE_TRAIN, DN_MEMORY_READABLE);
    dn_net *truth = net_of(plain, DREAM, DN_PHASE_TRAIN, DN_MEMORY_READABLE);
    for (int i = 0; i < 2; i++) {
        float got = -1, want = -2;
        CHECK_STATUS(dn_net_forward(net, &got), DN_OK);
        CHECK_STATUS(dn_net_forward(truth, &want), DN_OK);
        compare("loss", "b", &got, &want, 1);
    }
    dn_net_free(net);
    dn_net_free(truth);
}

/* It is of what the layer made, and so is its gradient. */
static void check_loss_before(dn_context *context)
{
    SECTION("a loss that is overwritten");
    dn_net *net = net_of(context, LOSS_BEFORE, DN_PHASE_TRAIN, DN_MEMORY_READABLE);
    dn_blob *b = dn_net_layer_top(net, 1, 0);
    float got = 0;
    double want = 0;
    CHECK_STATUS(dn_net_forward(net, &got), DN_OK);
    CHECK(b != dn_net_blob(net, "b"));
    for (int64_t i = 0; i < dn_blob_count(b); i++)
        want += 2 * (double)dn_blob_data(b)[i];
    CHECK_NEAR(got, want, 1e-3);
    dn_net_free(net);
}

/* Where memory is shared, what a range starts from is there again or made again, and what a
 * backward took the place of is not used. */
static void check_spent(dn_context *fused, dn_context *plain)
{
    static const char text[] = X CONV("a", "x", "") LAYER("b", "TanH", "a", "b", "")
        CONV("c", "b", "") LAYER("d", "TanH", "c", "d", "") CONV("e", "d", "")
            LAYER("f", "TanH", "e", "f", "") LOSS("f");
    static const int32_t starts[] = {3, 3, 5, 4, 2, 6, 6};
    SECTION("ranges from further and further on");
    for (int32_t phase = DN_PHASE_TRAIN; phase <= DN_PHASE_TEST; phase++) {
        dn_net *net = net_of(fused, text, phase, DN_MEMORY_COMPACT);
        dn_net *truth = net_of(plain, text, phase, DN_MEMORY_READABLE);
        int32_t last = dn_net_num_layers(net) - 1;
        layers(net, 0, last);
        layers(truth, 0, last);
        for (size_t i = 0; i < DNI_COUNT(starts); i++) {
            layers(net, starts[i], last);
            compare_nets(net, truth, false);
        }
        dn_net_free(net);
        dn_net_free(truth);
    }
    SECTION("back twice through a few layers");
    dn_net *net = net_of(fused, text, DN_PHASE_TRAIN, DN_MEMORY_COMPACT);
    int32_t last = dn_net_num_layers(net) - 1;
    layers(net, 0, last);
    layers_back(net, last, 4);
    CHECK_MESSAGE(dn_net_backward_range(net, last, 4), DN_E_STATE, "of its own");
    CHECK_STATUS(dn_net_backward(net), DN_E_STATE);
    layers_back(net, 3, 0);
    CHECK_STATUS(dn_net_backward(net), DN_E_STATE);
    layers(net, 0, 3);
    CHECK_STATUS(dn_net_backward(net), DN_E_STATE);
    layers(net, 4, last);
    layers_back(net, last, 0);
    dn_net_free(net);
}

/* A second backward after one forward gives what the first gave. */
static void check_twice(dn_context *fused, dn_context *plain, const char *text)
{
    SECTION("back twice");
    dn_net *net = net_of(fused, text, DN_PHASE_TRAIN, DN_MEMORY_READABLE);
    dn_net *truth = net_of(plain, text, DN_PHASE_TRAIN, DN_MEMORY_READABLE);
    use(truth, 4);
    use(net, 4);
    for (int i = 0; i < 2; i++) {
        CHECK_STATUS(dn_net_clear_gradients(net), DN_OK);
        CHECK_STATUS(dn_net_backward(net), DN_OK);
        compare_nets(net, truth, true);
    }
    dn_net_free(net);
    dn_net_free(truth);
}

/* Without inner blobs: what goes into the net, and its gradient, still are there. */
static void check_input_gradient(dn_context *fused, dn_context *plain)
{
    SECTION("gradient of an input");
    static const char text[] = "force_backward: true " RESIDUAL;
    dn_net *net = net_of(fused, text, DN_PHASE_TRAIN, DN_MEMORY_COMPACT);
    dn_net *truth = net_of(plain, text, DN_PHASE_TRAIN, DN_MEMORY_READABLE);
    use(net, 4);
    use(truth, 4);
    compare("gradient", "x", dn_blob_diff(dn_net_blob(net, "x")),
            dn_blob_diff(dn_net_blob(truth, "x")), dn_blob_count(dn_net_blob(truth, "x")));
    dn_net_free(net);
    dn_net_free(truth);
}

/* The host's pointers hold, whichever way ran. */
static void check_views(dn_context *fused, dn_context *plain)
{
    SECTION("views");
    dn_net *net = net_of(fused, RESIDUAL, DN_PHASE_TRAIN, DN_MEMORY_READABLE);
    dn_net *truth = net_of(plain, RESIDUAL, DN_PHASE_TRAIN, DN_MEMORY_READABLE);
    dn_blob *a = dn_net_blob(net, "a"), *want = dn_net_blob(truth, "a");
    const float *data = dn_blob_data(a), *diff = dn_blob_diff(a);
    for (int way = 4; way >= 0; way--) {
        use(net, way);
        use(truth, way);
        compare("view", "a", data, dn_blob_data(want), dn_blob_count(a));
        compare("view of gradient", "a", diff, dn_blob_diff(want), dn_blob_count(a));
        CHECK(data == dn_blob_data(a) && diff == dn_blob_diff(a));
    }
    dn_net_free(net);
    dn_net_free(truth);
}

/* ---- cleared gradients ------------------------------------------------------------------- */

static void step(dn_net *net, bool clear)
{
    if (clear)
        CHECK_STATUS(dn_net_clear_gradients(net), DN_OK);
    CHECK_STATUS(dn_net_forward(net, NULL), DN_OK);
    CHECK_STATUS(dn_net_backward(net), DN_OK);
}

static float largest(const float *values, int64_t count)
{
    float most = 0;
    for (int64_t i = 0; values && i < count; i++)
        most = fmaxf(most, fabsf(values[i]));
    return most;
}

/* A cleared gradient is overwritten, one that is not is added to, and the host sees zeros. */
static void check_cleared(dn_context *fused, dn_context *plain)
{
    SECTION("cleared gradients");
    static const bool clear[] = {true, true, false, true, false};
    dn_net *net = net_of(fused, RESIDUAL, DN_PHASE_TRAIN, DN_MEMORY_READABLE);
    dn_net *truth = net_of(plain, RESIDUAL, DN_PHASE_TRAIN, DN_MEMORY_READABLE);
    dn_blob *w = dn_net_layer_param(net, dn_net_find_layer(net, "c"), 0);
    int64_t count = dn_blob_count(w);
    for (size_t i = 0; i < DNI_COUNT(clear); i++) {
        step(net, clear[i]);
        step(truth, clear[i]);
    }
    compare_nets(net, truth, true);
    CHECK(largest(dn_blob_diff(w), count) > 0);
    const float *view = dn_blob_diff(w); /* from now on it is looked at */
    CHECK_STATUS(dn_net_clear_gradients(net), DN_OK);
    CHECK(largest(view, count) == 0);
    dn_net_free(net);
    net = net_of(fused, RESIDUAL, DN_PHASE_TRAIN, DN_MEMORY_READABLE);
    w = dn_net_layer_param(net, dn_net_find_layer(net, "c"), 0);
    step(net, true);
    CHECK_STATUS(dn_net_clear_gradients(net), DN_OK); /* not looked at before */
    CHECK(largest(dn_blob_diff(w), count) == 0);
    dn_net_free(net);
    dn_net_free(truth);
}

/* ---- shared weights ---------------------------------------------------------------------- */

/* What cannot be shared whole is not shared at all, and both nets go on as they were. */
static void check_sharing(dn_context *context, dn_context *plain)
{
    SECTION("sharing that fails");
    static const char other[] = X CONV("a", "x", "bias_term: false") LOSS("a");
    dn_net *net = net_of(context, RESIDUAL, DN_PHASE_TRAIN, DN_MEMORY_READABLE);
    dn_net *truth = net_of(plain, RESIDUAL, DN_PHASE_TRAIN, DN_MEMORY_READABLE);
    dn_net *source =
        net_of(context, X CONV("a", "x", "bias_term: false") CONV("b", "a", "") LOSS("b"),
               DN_PHASE_TRAIN, DN_MEMORY_READABLE);
    step(net, true);
    step(truth, true);
    const dni_store *before = net->params[0]->blob.store;
    CHECK_MESSAGE(dn_net_share_weights(net, source), DN_E_SHAPE, "layer 'b'");
    CHECK(net->params[0]->blob.store == before);
    dn_net_free(source);
    step(net, true);
    step(truth, true);
    compare_nets(net, truth, true);
    source = net_of(plain, other, DN_PHASE_TRAIN, DN_MEMORY_READABLE);
    CHECK_MESSAGE(dn_net_share_weights(net, source), DN_E_INVALID, "two contexts");
    dn_net_free(source);
    SECTION("sharing");
    source = net_of(context, other, DN_PHASE_TRAIN, DN_MEMORY_READABLE);
    CHECK_STATUS(dn_net_share_weights(net, source), DN_OK);
    CHECK(net->params[0]->blob.store == source->params[0]->blob.store);
    dn_net_free(source); /* the weights stay */
    step(net, true);
    dn_net_free(net);
    dn_net_free(truth);
}

/* A net on another's weights and prototxt needs neither of its nets to stay. */
static void check_survivors(dn_context *context)
{
    SECTION("the first net goes first");
    dn_net *first = net_of(context, RESIDUAL, DN_PHASE_TRAIN, DN_MEMORY_READABLE);
    dn_net *second = NULL, *third = NULL;
    char *before = NULL, *after = NULL;
    CHECK_STATUS(dn_net_create_shared(&second, first, NULL), DN_OK);
    CHECK_STATUS(dn_net_prototxt(first, &before), DN_OK);
    dn_net_free(first);
    CHECK_STATUS(dn_net_create_shared(&third, second, NULL), DN_OK);
    dn_net_free(second);
    CHECK_STATUS(dn_net_prototxt(third, &after), DN_OK);
    CHECK_TEXT(after, before);
    fill_net(third);
    const int64_t dims[] = {3, 3, 6, 5}, labels = 3;
    CHECK_STATUS(dn_blob_reshape(dn_net_input(third, 0), dims, 4), DN_OK);
    CHECK_STATUS(dn_blob_reshape(dn_net_input(third, 1), &labels, 1), DN_OK);
    step(third, true); /* plans again: every layer looks at its parameters */
    dn_net_text_free(third, before);
    dn_net_text_free(third, after);
    dn_net_free(third);
}

/* ---- constants --------------------------------------------------------------------------- */

/* ref, with convolutions that keep a copy of their constant weights and count how often. */
static struct counts {
    int created, prepared, run;
    int slowly;  /* so often it runs an op in place of once */
    bool unread; /* says that what it keeps is all it reads */
} counts;

struct dn_op {
    dn_op *inner;
    size_t bytes; /* of w, kept; 0: not constant */
};

static dn_status count_create(dn_backend *backend, const dn_op_desc *desc, dn_op **out,
                              dn_op_info *info)
{
    if (desc->kind != DN_OP_CONV)
        return DN_DECLINED;
    dn_op *op = calloc(1, sizeof *op);
    dn_status st = dn_ref_backend.op_create(backend, desc, &op->inner, info);
    op->bytes = desc->constant >> 1 & 1
                    ? (size_t)dni_shape_count(&desc->inputs[1].shape) * sizeof(float)
                    : 0;
    info->keep = op->bytes;
    info->unread = counts.unread && op->bytes ? 2 : 0;
    if (counts.slowly)
        info->cost = 1; /* as a module may say that knows no better */
    counts.created++;
    if (st)
        free(op);
    else
        *out = op;
    return st;
}

static dn_status count_prepare(dn_op *op, const dn_op_io *io)
{
    memcpy(io->keep, io->in[1], op->bytes);
    counts.prepared++;
    return DN_OK;
}

static dn_status count_run(dn_op *op, const dn_op_io *io)
{
    void *in[] = {io->in[0], op->bytes ? io->keep : io->in[1], io->in[2]};
    if (counts.unread && op->bytes) /* nobody else needs it either */
        memset(io->in[1], 0xff, op->bytes);
    dn_op_io inner = *io;
    inner.in = in;
    counts.run++;
    for (int i = 0; i < counts.slowly; i++)
        dn_ref_backend.op_run(op->inner, &inner);
    return dn_ref_backend.op_run(op->inner, &inner);
}

static void count_destroy(dn_op *op)
{
    dn_ref_backend.op_destroy(op->inner);
    free(op);
}

static dn_backend_ops counting;

static void expect_like(dn_net *net, dn_net *truth, int prepared)
{
    counts.prepared = 0;
    CHECK_STATUS(dn_net_forward(net, NULL), DN_OK);
    CHECK_INT(counts.prepared, prepared);
    CHECK_STATUS(dn_net_forward(truth, NULL), DN_OK);
    compare_nets(net, truth, false);
}

static dn_context *counting_context(int32_t tune)
{
    dn_context *context = NULL;
    counting = dn_ref_backend;
    counting.name = "counting";
    counting.op_create = count_create;
    counting.op_run = count_run;
    counting.op_destroy = count_destroy;
    counting.op_prepare = count_prepare;
    dn_context_options o = {.struct_size = sizeof o,
                            .backend = &counting,
                            .backends = counts.slowly ? "cpu,ref" : "ref",
                            .seed = 7,
                            .tune = tune};
    CHECK_STATUS(dn_context_create(&context, &o), DN_OK);
    return context;
}

static void check_constants(dn_context *plain, const char *text, int32_t phase, int ops)
{
    dn_context *context = counting_context(0);
    dn_net *net = net_of(context, text, phase, DN_MEMORY_READABLE);
    dn_net *truth = net_of(plain, text, phase, DN_MEMORY_READABLE);
    dn_blob *w[] = {dn_net_layer_param(net, dn_net_find_layer(net, "a"), 0),
                    dn_net_layer_param(truth, dn_net_find_layer(truth, "a"), 0)};
    float values[81];
    for (int i = 0; i < 81; i++)
        values[i] = (float)(i % 5) * 0.1f - 0.2f;
    expect_like(net, truth, ops);
    expect_like(net, truth, 0);
    for (int i = 0; i < 2; i++) /* written: once more */
        CHECK_STATUS(dn_blob_write(w[i], values, 81), DN_OK);
    expect_like(net, truth, ops);
    expect_like(net, truth, 0);
    float *open[] = {dn_blob_mutable_data(w[0]), dn_blob_mutable_data(w[1])};
    for (int times = 0; times < 2; times++) { /* a pointer is out: it may change at any time */
        open[0][5] = open[1][5] = (float)times + 1;
        expect_like(net, truth, ops);
    }
    dn_blob_end_write(w[0], open[0]);
    expect_like(net, truth, ops); /* it was written to until now */
    expect_like(net, truth, 0);
    dn_net_free(net);
    dn_net_free(truth);
    dn_context_free(context);
}

/* Folded weights that only preparations read share a place, and so cost one of them. */
static void check_fleeting(dn_context *plain)
{
    static const char net_text[] = X CONV("a", "x", "") NORM("a") CONV("b", "a", "") NORM("b")
        CONV("c", "b", "") NORM("c");
    size_t temp[2];
    SECTION("fleeting weights");
    for (int unread = 0; unread < 2; unread++) {
        counts.unread = unread;
        check_constants(plain, net_text, DN_PHASE_TEST, 3);
        dn_context *context = counting_context(0);
        dn_net *net = net_of(context, net_text, DN_PHASE_TEST, DN_MEMORY_COMPACT);
        temp[unread] = dni_plan_size(net->plan).temp;
        dn_net_free(net);
        dn_context_free(context);
    }
    counts.unread = false;
    CHECK_INT(temp[0] - temp[1], 2 * 384); /* of 3 x 3 x 3 x 3 floats, in steps of 64 bytes */
}

/* What is measured is prepared as what runs is: if there is something to prepare. */
static void check_tuned(void)
{
    SECTION("tuned");
    for (int32_t train = 0; train < 2; train++) {
        dn_context *context = counting_context(1);
        counts.prepared = 0;
        dn_net *net = net_of(context, X CONV("a", "x", ""),
                             train ? DN_PHASE_TRAIN : DN_PHASE_TEST, DN_MEMORY_READABLE);
        CHECK_INT(counts.prepared > 0, !train);
        dn_net_free(net);
        dn_context_free(context);
    }
}

/* What was measured of a shape holds for the next net, and counts more than what is said. */
static void check_measured(void)
{
    static const char text[] = X CONV("a", "x", "");
    SECTION("measured once");
    counts.slowly = 300;
    for (int32_t tune = 0; tune < 2; tune++) {
        dn_context *context = counting_context(tune);
        counts.run = 0;
        dn_net *first = net_of(context, text, DN_PHASE_TEST, DN_MEMORY_READABLE);
        CHECK_INT(counts.run > 0, tune);
        counts.run = 0;
        dn_net *second = net_of(context, text, DN_PHASE_TEST, DN_MEMORY_READABLE);
        CHECK_INT(counts.run, 0);
        CHECK_STATUS(dn_net_forward(first, NULL), DN_OK);
        CHECK_STATUS(dn_net_forward(second, NULL), DN_OK);
        CHECK_INT(counts.run, tune ? 0 : 2);
        dn_net_free(first);
        dn_net_free(second);
        dn_context_free(context);
    }
    counts.slowly = 0;
}

/* Statistics that a net in TRAIN moves are not stale where another has folded them. */
static void check_statistics(dn_context *fused, dn_context *plain)
{
    SECTION("folded statistics");
    dn_context *contexts[] = {fused, plain};
    dn_net *train[2], *test[2] = {NULL, NULL};
    dn_net_options o = {.struct_size = sizeof o, .phase = DN_PHASE_TEST};
    for (int i = 0; i < 2; i++) {
        train[i] = net_of(contexts[i], X CONV("a", "x", "") NORM("a"), DN_PHASE_TRAIN,
                          DN_MEMORY_READABLE);
        CHECK_STATUS(dn_net_create_shared(&test[i], train[i], &o), DN_OK);
        fill_net(test[i]);
        CHECK_STATUS(dn_net_forward(test[i], NULL), DN_OK);
        CHECK_STATUS(dn_net_forward(train[i], NULL), DN_OK);
        CHECK_STATUS(dn_net_forward(test[i], NULL), DN_OK);
    }
    compare_nets(test[0], test[1], false);
    for (int i = 0; i < 2; i++) {
        dn_net_free(test[i]);
        dn_net_free(train[i]);
    }
}

/* Frees nothing unseen: what is in there is gone at once. */
static void *spoil(void *user, void *ptr, size_t old_size, size_t new_size)
{
    if (ptr && new_size < old_size)
        memset((char *)ptr + new_size, 0x55, old_size - new_size);
    *(size_t *)user += new_size - (ptr ? old_size : 0);
    if (new_size)
        return realloc(ptr, new_size);
    free(ptr);
    return NULL;
}

typedef struct held {
    float *at;
    int64_t count;
    void *hold;
} held;

static held hold_one(dn_blob *blob, bool diff)
{
    held h = {.at = diff ? dn_blob_mutable_diff(blob) : dn_blob_mutable_data(blob),
              .count = dn_blob_count(blob)};
    h.hold = dn_blob_hold(blob, h.at);
    CHECK(h.at && h.hold && h.hold <= (void *)h.at);
    for (int64_t i = 0; i < h.count; i++)
        h.at[i] = 3;
    return h;
}

/* What the host holds outlives reshapes, shared weights, the net and its context, and is given
 * back in the end. */
static void check_held(int32_t plan, int32_t memory)
{
    SECTION("held memory");
    enum { MOST = 64 };
    size_t bytes = 0, n = 0;
    const dn_context_options o = {.struct_size = sizeof o,
                                  .alloc = spoil,
                                  .alloc_user = &bytes,
                                  .num_threads = 1,
                                  .plan = plan};
    dn_context *context;
    held all[MOST];
    CHECK_STATUS(dn_context_create(&context, &o), DN_OK);
    dn_net *net = net_of(context, RESIDUAL, DN_PHASE_TRAIN, memory);
    dn_net *other = net_of(context, RESIDUAL, DN_PHASE_TRAIN, memory);
    for (int32_t i = 0; i < dn_net_num_blobs(net) && n + 2 < MOST; i++)
        for (int diff = 0; diff < 2; diff++) {
            dn_blob *blob = dn_net_blob_at(net, i);
            if (diff ? dn_blob_diff(blob) : dn_blob_data(blob)) /* else it is compact */
                all[n++] = hold_one(blob, diff);
        }
    CHECK(n > 2);
    dn_blob *w = dn_net_layer_param(net, 2, 0), *x = dn_net_input(net, 0);
    for (int diff = 0; w && diff < 2; diff++)
        all[n++] = hold_one(w, diff);
    CHECK(!dn_blob_hold(x, all) && !dn_blob_hold(x, NULL) && !dn_blob_hold(NULL, all[0].at));
    CHECK_STATUS(dn_net_share_weights(net, other), DN_OK);
    const int64_t dims[] = {3, 3, 6, 5}, labels = 3;
    CHECK_STATUS(dn_blob_reshape(x, dims, 4), DN_OK);
    CHECK_STATUS(dn_blob_reshape(dn_net_input(net, 1), &labels, 1), DN_OK);
    step(net, true);
    dn_net_free(net);
    dn_net_free(other);
    dn_context_free(context);
    CHECK(bytes > 0);
    for (size_t i = 0; i < n; i++) {
        for (int64_t k = 0; k < all[i].count; k++)
            if (all[i].at[k] != 3) {
                CHECK_INT(k, all[i].count);
                break;
            }
        dn_blob_end_hold(all[i].hold);
    }
    dn_blob_end_hold(NULL);
    CHECK_INT((int64_t)bytes, 0);
}

int main(void)
{
    static const char *const nets[] = {RESIDUAL, ON_INPUT,    LATE_SCALE, LATE_BIAS,
                                       KEEPING,  OTHER_SHAPE, CHANGED,    COUNTING,
                                       CARRYING};
    dn_context *plain = context_of(DN_PLAN_PLAIN);
    for (int32_t plan = DN_PLAN_FUSED; plan <= DN_PLAN_NHWC; plan++) {
        dn_context *context = context_of(plan);
        for (size_t i = 0; i < DNI_COUNT(nets); i++) {
            check_ranges(context, plain, DN_MEMORY_READABLE, nets[i]);
            check_ranges(context, plain, DN_MEMORY_COMPACT, nets[i]);
            check_twice(context, plain, nets[i]);
        }
        check_loss(context, plain);
        check_loss_before(context);
        check_spent(context, plain);
        check_input_gradient(context, plain);
        check_statistics(context, plain);
        check_views(context, plain);
        check_cleared(context, plain);
        check_sharing(context, plain);
        check_survivors(context);
        check_held(plan, DN_MEMORY_READABLE);
        check_held(plan, DN_MEMORY_COMPACT);
        dn_context_free(context);
    }
    SECTION("constant weights");
    check_constants(plain, X CONV("a", "x", "") RELU("a"), DN_PHASE_TEST, 1);
    SECTION("folded weights");
    check_constants(plain, X CONV("a", "x", "") NORM("a") RELU("a"), DN_PHASE_TEST, 1);
    check_fleeting(plain);
    check_tuned();
    check_measured();
    SECTION("weights that a solver changes");
    check_constants(plain, X CONV("a", "x", "") RELU("a"), DN_PHASE_TRAIN, 0);
    CHECK(counts.created > 0);
    dn_context_free(plain);
    return check_summary();
}
