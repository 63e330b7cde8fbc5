/* SPDX-License-Identifier: BSD-2-Clause
 * host_layer.c: layers of the host's own: what they are told, what they may do, how they fail.
 */
#include <deepnet/deepnet.h>

#include "check.h"

/* ---- a layer that can do all of it: y = x * scale + w[0], in float or double ------------- */

typedef struct probe {
    double scale;
    int creates, destroys, shapes; /* of the one layer */
    dn_status fail_forward;        /* returned by forward, with a line if say is set */
    const char *say;
} probe;

static int alive; /* layers created and not destroyed */

static double get(const void *values, int32_t dtype, int64_t i)
{
    return dtype == DN_F64 ? ((const double *)values)[i] : ((const float *)values)[i];
}

static void put(void *values, int32_t dtype, int64_t i, double value)
{
    if (dtype == DN_F64)
        ((double *)values)[i] = value;
    else
        ((float *)values)[i] = (float)value;
}

static int64_t count(const dn_shape *shape)
{
    int64_t n = 1;
    for (int32_t i = 0; i < shape->axes; i++)
        n *= shape->dim[i];
    return n;
}

static dn_status create(void **state, dn_layer *layer, void *user)
{
    probe *p = user;
    const dn_shape one = {.axes = 1, .dim = {1}};
    *state = p;
    p->creates++, alive++;
    if (dn_layer_number(layer, "power_param.scale", 0, &p->scale))
        return DN_E_NOTFOUND;
    return dn_layer_add_weight(layer, &one, "type: 'constant' value: 0.5");
}

static void destroy(void *state)
{
    ((probe *)state)->destroys++, alive--;
}

static dn_status shape(void *state, dn_layer *layer)
{
    ((probe *)state)->shapes++;
    return dn_layer_set_top_shape(layer, 0, dn_layer_bottom_shape(layer, 0));
}

static dn_status forward(void *state, const dn_layer_io *io)
{
    const probe *p = state;
    for (int64_t i = 0; i < count(&io->bottom_shapes[0]); i++)
        put(io->tops[0], io->dtype, i,
            get(io->bottoms[0], io->dtype, i) * p->scale + get(io->weights[0], io->dtype, 0));
    if (p->fail_forward && p->say)
        return dn_layer_fail(io->layer, p->fail_forward, p->say);
    return p->fail_forward;
}

static dn_status backward(void *state, const dn_layer_io *io)
{
    const probe *p = state;
    double sum = 0;
    for (int64_t i = 0; i < count(&io->bottom_shapes[0]); i++) {
        double dy = io->top_diffs[0] ? get(io->top_diffs[0], io->dtype, i) : 0;
        sum += dy;
        if (io->bottom_diffs[0])
            put(io->bottom_diffs[0], io->dtype, i, dy * p->scale);
    }
    if (io->weight_diffs[0])
        put(io->weight_diffs[0], io->dtype, 0, sum);
    return DN_OK;
}

static dn_layer_class probe_class(probe *p)
{
    return (dn_layer_class){.struct_size = sizeof(dn_layer_class),
                            .type = "Probe",
                            .bottoms_min = 1,
                            .bottoms_max = 1,
                            .tops_min = 1,
                            .tops_max = 1,
                            .user = p,
                            .create = create,
                            .destroy = destroy,
                            .shape = shape,
                            .forward = forward,
                            .backward = backward};
}

static dn_context *make_context(const dn_layer_class *cls)
{
    dn_context *context = NULL;
    dn_context_options options = {.struct_size = sizeof options, .num_threads = 1};
    options.layers = &cls;
    options.num_layers = 1;
    CHECK_STATUS(dn_context_create(&context, &options), DN_OK);
    return context;
}

#define X     "layer { name: 'x' type: 'Input' top: 'x' input_param { shape { dim: 2 dim: 3 } } } "
#define PROBE "layer { name: 'p' type: 'Probe' bottom: 'x' top: 'p' power_param { scale: 3 } } "

static dn_status make_net(dn_net **net, dn_context *context, const char *text,
                          const dn_net_options *options)
{
    return dn_net_create_from_text(net, context, text, strlen(text), options);
}

/* ---- it computes ------------------------------------------------------------------------- */

static void check_run(dn_context *context, probe *p)
{
    static const float x[6] = {1, 2, 3, 4, 5, 6};
    const int64_t dims[2] = {1, 3};
    dn_net *net = NULL;
    SECTION("forward and backward");
    CHECK_STATUS(make_net(&net, context, "force_backward: true " X PROBE, NULL), DN_OK);
    CHECK_STATUS(dn_blob_write(dn_net_blob(net, "x"), x, 6), DN_OK);
    CHECK_STATUS(dn_net_forward(net, NULL), DN_OK);
    CHECK(dn_blob_data(dn_net_blob(net, "p"))[5] == 18.5f);
    float *dy = dn_blob_mutable_diff(dn_net_blob(net, "p"));
    for (int i = 0; i < 6; i++)
        dy[i] = (float)i;
    CHECK_STATUS(dn_net_backward(net), DN_OK);
    CHECK(dn_blob_diff(dn_net_blob(net, "x"))[4] == 12);
    dn_blob *w = dn_net_layer_param(net, 1, 0);
    CHECK(dn_blob_diff(w)[0] == 15);
    CHECK_STATUS(dn_net_backward(net), DN_OK); /* weights' gradients add up */
    CHECK(dn_blob_diff(w)[0] == 30);
    CHECK_TEXT(dn_net_layer_type(net, 1), "Probe");
    CHECK_STATUS(dn_blob_reshape(dn_net_blob(net, "x"), dims, 2), DN_OK);
    CHECK_STATUS(dn_net_forward(net, NULL), DN_OK);
    CHECK_INT(dn_blob_count(dn_net_blob(net, "p")), 3);
    CHECK_INT(p->shapes, 2);
    dn_net_free(net);
    CHECK_INT(p->creates, 1);
    CHECK_INT(p->destroys, 1);
}

/* A bottom that others use too, a loss behind it, in double: against central differences. */
static void check_gradient(dn_context *context)
{
    static const char text[] =
        "force_backward: true " X PROBE
        "layer { name: 's' type: 'Sigmoid' bottom: 'x' top: 's' } "
        "layer { name: 'e' type: 'Eltwise' bottom: 'p' bottom: 's' top: 'e' "
        "  eltwise_param { operation: PROD } } "
        "layer { name: 'l' type: 'Reduction' bottom: 'e' top: 'l' loss_weight: 1 "
        "  reduction_param { operation: SUMSQ } } ";
    dn_net_options options = {.struct_size = sizeof options, .dtype = DN_F64};
    dn_net *net = NULL;
    SECTION("gradient in double");
    CHECK_STATUS(make_net(&net, context, text, &options), DN_OK);
    double *x = dn_blob_mutable_data_f64(dn_net_blob(net, "x")), gradient[6];
    for (int i = 0; i < 6; i++)
        x[i] = 0.1 * i - 0.2;
    CHECK_STATUS(dn_net_forward(net, NULL), DN_OK);
    CHECK_STATUS(dn_net_backward(net), DN_OK);
    memcpy(gradient, dn_blob_diff_f64(dn_net_blob(net, "x")), sizeof gradient);
    for (int i = 0; i < 6; i++) {
        double at[2], kept = x[i];
        for (int k = 0; k < 2; k++) {
            x = dn_blob_mutable_data_f64(dn_net_blob(net, "x"));
            x[i] = kept + (k ? 1e-5 : -1e-5);
            CHECK_STATUS(dn_net_forward(net, NULL), DN_OK);
            at[k] = dn_blob_data_f64(dn_net_blob(net, "l"))[0];
        }
        x = dn_blob_mutable_data_f64(dn_net_blob(net, "x"));
        x[i] = kept;
        CHECK_NEAR(gradient[i], (at[1] - at[0]) / 2e-5, 1e-6);
    }
    dn_net_free(net);
}

/* ---- a source: the host's data, pulled batch by batch ------------------------------------ */

static dn_status source_shape(void *state, dn_layer *layer)
{
    const dn_shape batch = {.axes = 2, .dim = {2, 2}};
    (void)state;
    return dn_layer_set_top_shape(layer, 0, &batch);
}

static dn_status source_forward(void *state, const dn_layer_io *io)
{
    static float next;
    (void)state;
    for (int i = 0; i < 4; i++)
        ((float *)io->tops[0])[i] = next++;
    return DN_OK;
}

static void check_source(void)
{
    const dn_layer_class source = {.struct_size = sizeof source,
                                   .type = "Pull",
                                   .tops_min = 1,
                                   .tops_max = 1,
                                   .flags = DN_LAYER_SOURCE,
                                   .shape = source_shape,
                                   .forward = source_forward};
    dn_context *context = make_context(&source);
    dn_net *net = NULL;
    SECTION("a source");
    CHECK_STATUS(make_net(&net, context,
                          "layer { name: 'd' type: 'Pull' top: 'd' } "
                          "layer { name: 'r' type: 'Power' bottom: 'd' top: 'r' }",
                          NULL),
                 DN_OK);
    CHECK_INT(dn_net_num_inputs(net), 0);
    CHECK_STATUS(dn_net_forward(net, NULL), DN_OK);
    CHECK_STATUS(dn_net_forward(net, NULL), DN_OK);
    CHECK(dn_blob_data(dn_net_blob(net, "r"))[0] == 4);
    CHECK_STATUS(dn_net_backward(net), DN_OK);
    dn_net_free(net);
    dn_context_free(context);
}

/* ---- shapes found when it runs ----------------------------------------------------------- */

/* Tops of 1, 2, 3, 1, ... rows. */
static dn_status dynamic_forward(void *state, const dn_layer_io *io)
{
    static int calls, runs;
    const dn_shape rows = {.axes = 2, .dim = {1 + runs % 3, 2}};
    (void)state;
    calls++;
    if (io->top_shapes[0].dim[0] != rows.dim[0])
        return dn_layer_set_top_shape(io->layer, 0, &rows);
    for (int i = 0; i < 2 * rows.dim[0]; i++)
        ((float *)io->tops[0])[i] = (float)calls;
    runs++;
    return DN_OK;
}

static void check_dynamic(void)
{
    const dn_layer_class cls = {.struct_size = sizeof cls,
                                .type = "Rows",
                                .tops_min = 1,
                                .tops_max = 1,
                                .flags = DN_LAYER_SOURCE | DN_LAYER_DYNAMIC,
                                .shape = source_shape,
                                .forward = dynamic_forward};
    dn_context *context = make_context(&cls);
    dn_net *net = NULL;
    SECTION("shapes found when it runs");
    CHECK_STATUS(make_net(&net, context,
                          "layer { name: 'd' type: 'Rows' top: 'd' } "
                          "layer { name: 'r' type: 'Power' bottom: 'd' top: 'r' }",
                          NULL),
                 DN_OK);
    for (int i = 0; i < 8; i++) {
        CHECK_STATUS(dn_net_forward(net, NULL), DN_OK);
        CHECK_INT(dn_blob_dim(dn_net_blob(net, "r"), 0), 1 + i % 3);
        CHECK(dn_blob_data(dn_net_blob(net, "r"))[0] >= (float)i);
    }
    dn_net_free(net);
    dn_context_free(context);
    dn_layer_class fixed = cls;
    fixed.flags = DN_LAYER_SOURCE;
    context = make_context(&fixed);
    CHECK_STATUS(make_net(&net, context, "layer { name: 'd' type: 'Rows' top: 'd' }", NULL),
                 DN_OK);
    CHECK_MESSAGE(dn_net_forward(net, NULL), DN_E_STATE, "top 0 is set in shape");
    dn_net_free(net);
    dn_context_free(context);
}

static int32_t takes_scaled(const dn_layer *layer, void *user)
{
    double scale = 0;
    (void)user;
    return !dn_layer_number(layer, "power_param.scale", 0, &scale) && scale == 3;
}

/* A built-in type's name: some of its layers are the host's. */
static void check_takes(probe *p)
{
    dn_layer_class cls = probe_class(p);
    dn_net *net = NULL;
    cls.type = "Power";
    cls.takes = takes_scaled;
    dn_context *context = make_context(&cls);
    SECTION("takes some");
    CHECK_STATUS(make_net(&net, context,
                          X
                          "layer { name: 'a' type: 'Power' bottom: 'x' top: 'a' "
                          "power_param { scale: 3 } } layer { name: 'b' type: 'Power' bottom: "
                          "'a' top: 'b' power_param { scale: 2 } }",
                          NULL),
                 DN_OK);
    CHECK_INT(dn_net_layer_num_params(net, 1), 1);
    CHECK_INT(dn_net_layer_num_params(net, 2), 0);
    CHECK_STATUS(dn_net_forward(net, NULL), DN_OK);
    CHECK(dn_blob_data(dn_net_blob(net, "b"))[0] == 1);
    dn_net_free(net);
    SECTION("its top stays for its backward");
    CHECK_STATUS(make_net(&net, context,
                          X
                          "layer { name: 'a' type: 'Power' bottom: 'x' top: 'a' "
                          "power_param { scale: 3 } } layer { name: 'b' type: 'ReLU' bottom: "
                          "'a' top: 'a' }",
                          NULL),
                 DN_OK);
    CHECK_INT(dn_net_num_blobs(net), 3);
    CHECK(dn_net_blob_at(net, 1) != dn_net_blob(net, "a"));
    dn_net_free(net);
    dn_context_free(context);
}

/* ---- parameters -------------------------------------------------------------------------- */

static dn_status read_parameters(void **state, dn_layer *layer, void *user)
{
    double value = -1;
    (void)state, (void)user;
    CHECK_TEXT(dn_layer_name(layer), "q");
    CHECK_INT(dn_layer_phase(layer), DN_PHASE_TEST);
    CHECK_INT(dn_layer_num_bottoms(layer), 1);
    CHECK_INT(dn_layer_num_tops(layer), 1);
    CHECK_INT(dn_layer_bottom_shape(layer, 0)->dim[1], 3);
    CHECK(!dn_layer_bottom_shape(layer, 1) && dn_last_error());
    CHECK_STATUS(dn_layer_number(layer, "convolution_param.kernel_size", 1, &value), DN_OK);
    CHECK(value == 5);
    CHECK_MESSAGE(dn_layer_number(layer, "convolution_param.kernel_size", 2, &value),
                  DN_E_NOTFOUND, "2 times");
    CHECK_STATUS(dn_layer_number(layer, "convolution_param.bias_term", 0, &value), DN_OK);
    CHECK(value == 1);
    CHECK_STATUS(dn_layer_number(layer, "relu_param.negative_slope", 0, &value), DN_OK);
    CHECK(value == 0);
    CHECK_STATUS(dn_layer_number(layer, "lrn_param.local_size", 0, &value), DN_OK);
    CHECK(value == 5); /* the message is absent: its default */
    CHECK_STATUS(dn_layer_number(layer, "pooling_param.pool", 0, &value), DN_OK);
    CHECK(value == 1);
    CHECK_TEXT(dn_layer_text(layer, "python_param.param_str", 0), "k: 3");
    CHECK_TEXT(dn_layer_text(layer, "python_param.module", 0), "");
    CHECK_TEXT(dn_layer_text(layer, "bottom", 0), "x");
    CHECK(!dn_layer_text(layer, "bottom", 1) && dn_last_error());
    CHECK(!dn_layer_text(layer, "relu_param.negative_slope", 0));
    CHECK_MESSAGE(dn_layer_number(layer, "relu_param.slope", 0, &value), DN_E_NOTFOUND,
                  "no field 'relu_param.slope'");
    CHECK_MESSAGE(dn_layer_number(layer, "relu_param", 0, &value), DN_E_NOTFOUND, "no number");
    CHECK_MESSAGE(dn_layer_number(layer, "name.x", 0, &value), DN_E_NOTFOUND, "name.x");
    return DN_OK;
}

static void check_parameters(void)
{
    dn_layer_class q = probe_class(NULL);
    dn_net *net = NULL;
    q.type = "Q";
    q.create = read_parameters;
    q.destroy = NULL;
    q.shape = source_shape;
    dn_context *context = make_context(&q);
    SECTION("parameters");
    CHECK_STATUS(make_net(&net, context,
                          X "layer { name: 'q' type: 'Q' bottom: 'x' top: 'q' "
                            "convolution_param { kernel_size: 3 kernel_size: 5 } "
                            "pooling_param { pool: AVE } python_param { param_str: 'k: 3' } }",
                          NULL),
                 DN_OK);
    dn_net_free(net);
    dn_context_free(context);
}

/* ---- failures ---------------------------------------------------------------------------- */

static void check_failures(dn_context *context, probe *p)
{
    dn_net *net = NULL;
    SECTION("forward fails");
    CHECK_STATUS(make_net(&net, context, X PROBE, NULL), DN_OK);
    p->fail_forward = DN_E_DATA;
    p->say = "there are no more";
    CHECK_MESSAGE(dn_net_forward(net, NULL), DN_E_DATA, "layer 'p': there are no more");
    p->say = NULL;
    CHECK_MESSAGE(dn_net_forward(net, NULL), DN_E_DATA, "layer 'p': its forward returned -9");
    p->fail_forward = 7;
    CHECK_MESSAGE(dn_net_forward(net, NULL), DN_E_HOST, "layer 'p': its forward returned 7");
    p->fail_forward = 0;
    CHECK_STATUS(dn_net_forward(net, NULL), DN_OK);
    dn_net_free(net);
    net = NULL;
    SECTION("counts, in place");
    CHECK_MESSAGE(make_net(&net, context, X "layer { name: 'p' type: 'Probe' top: 'p' }", NULL),
                  DN_E_NET, "takes 1 bottom");
    CHECK_MESSAGE(make_net(&net, context,
                           X "layer { name: 'p' type: 'Probe' bottom: 'x' top: "
                             "'x' }",
                           NULL),
                  DN_E_NET, "in place");
    CHECK(!net);
}

static dn_status no_shape(void *state, dn_layer *layer)
{
    const dn_shape wrong = {.axes = 1, .dim = {0}};
    (void)state;
    CHECK_MESSAGE(dn_layer_set_top_shape(layer, 4, &wrong), DN_E_INVALID, "no top 4");
    CHECK_MESSAGE(dn_layer_add_weight(layer, &wrong, NULL), DN_E_STATE, "in create");
    return DN_OK;
}

static dn_status bad_filler(void **state, dn_layer *layer, void *user)
{
    const dn_shape one = {.axes = 1, .dim = {1}};
    *state = user;
    alive++;
    for (int i = 0; i < 8; i++)
        CHECK_STATUS(dn_layer_add_weight(layer, &one, NULL), DN_OK);
    CHECK_MESSAGE(dn_layer_add_weight(layer, &one, NULL), DN_E_UNSUPPORTED, "at most 8");
    return dn_layer_fail(layer, 3, "not today");
}

static dn_status typo(void **state, dn_layer *layer, void *user)
{
    const dn_shape one = {.axes = 1, .dim = {1}};
    (void)state, (void)user;
    return dn_layer_add_weight(layer, &one, "type: 'constant' valu: 1");
}

static dn_status picky(void **state, dn_layer *layer, void *user)
{
    (void)state;
    ((probe *)user)->creates++;
    return dn_layer_fail(layer, DN_E_SHAPE, "never");
}

/* Bottoms whose shapes are guesses are guessed anew as a whole, not while a layer is created. */
static void check_guesses(probe *p)
{
    dn_layer_class cls = probe_class(p);
    dn_net_options options = {.struct_size = sizeof options, .wire_only = 1};
    dn_net *net = NULL;
    SECTION("guesses");
    cls.create = picky;
    cls.destroy = NULL;
    cls.bottoms_max = 3;
    p->creates = 0;
    dn_context *context = make_context(&cls);
    CHECK_MESSAGE(make_net(&net, context,
                           "layer { name: 'data' type: 'Python' top: 'a' top: 'b' top: 'c' "
                           "python_param { module: 'm' layer: 'l' } } "
                           "layer { name: 'p' type: 'Probe' bottom: 'a' bottom: 'b' bottom: 'c' "
                           "top: 'y' }",
                           &options),
                  DN_E_SHAPE, "never");
    CHECK(p->creates > 0 && p->creates <= 10);
    dn_context_free(context);
}

static void check_refusals(probe *p)
{
    dn_layer_class cls = probe_class(p);
    dn_context *context = NULL;
    dn_net *net = NULL;
    SECTION("shape, create and filler fail");
    cls.shape = no_shape;
    context = make_context(&cls);
    CHECK_MESSAGE(make_net(&net, context, X PROBE, NULL), DN_E_HOST, "set none for top 0");
    dn_context_free(context);
    cls.create = bad_filler;
    context = make_context(&cls);
    CHECK_MESSAGE(make_net(&net, context, X PROBE, NULL), DN_E_HOST, "layer 'p': not today");
    dn_context_free(context);
    cls.create = typo;
    context = make_context(&cls);
    CHECK_MESSAGE(make_net(&net, context, X PROBE, NULL), DN_E_PARSE, "did you mean 'value'?");
    dn_context_free(context);
    CHECK(!net);
    SECTION("tables");
    const dn_layer_class *table = &cls;
    dn_context_options options = {.struct_size = sizeof options, .num_layers = 1};
    context = NULL;
    CHECK_MESSAGE(dn_context_create(&context, &options), DN_E_INVALID, "layers is NULL");
    options.layers = &table;
    cls.forward = NULL;
    CHECK_MESSAGE(dn_context_create(&context, &options), DN_E_INVALID, "lacks");
    cls.struct_size = 0;
    CHECK_MESSAGE(dn_context_create(&context, &options), DN_E_INVALID, "struct_size");
    CHECK(!context);
}

int main(void)
{
    probe p = {0};
    const dn_layer_class cls = probe_class(&p);
    dn_context *context = make_context(&cls);
    check_run(context, &p);
    check_gradient(context);
    check_failures(context, &p);
    dn_context_free(context);
    check_source();
    check_dynamic();
    check_takes(&p);
    check_parameters();
    check_guesses(&p);
    check_refusals(&p);
    SECTION("every layer is gone");
    CHECK_INT(alive, 0);
    return check_summary();
}
