/* SPDX-License-Identifier: BSD-2-Clause
 * test_reshapes.c: inputs get other shapes, fitting or not, and memory runs out on the way:
 * what is refused is refused again, the next call works, and back in its shape a net gives what
 * it gave. What layers keep for themselves (room for boxes, states) is where this goes wrong.
 */
#include "core/core.h"

#include "check.h"

#include "deepnet/context.h"
#include "deepnet/sys/random.h"
#include "gradient_rows.h"
#include "net/net.h"

#define IN(name, dims)                                                                         \
    "layer { name: '" name "' type: 'Input' top: '" name "' "                                  \
    "input_param { shape { " dims " } } } "
#define PRIORS                                                                                 \
    IN("x", "dim: 2 dim: 32") IN("y", "dim: 2 dim: 24") IN("p", "dim: 1 dim: 2 dim: 32")
#define PYTHON(module, layer, rest)                                                            \
    "python_param { module: 'rpn." module "' layer: '" layer "' " rest " } } "

/* Layers without a gradient that keep room of their own. */
static const char *const others[] = {
    PRIORS "layer { name: 'l' type: 'DetectionOutput' bottom: 'x' bottom: 'y' bottom: 'p' "
           "top: 'z' detection_output_param { num_classes: 3 } } ",
    PRIORS IN(
        "g",
        "dim: 1 dim: 1 dim: 2 dim: 8") "layer { name: 'l' type: 'MultiBoxLoss' bottom: 'x' "
                                       "bottom: 'y' bottom: 'p' bottom: 'g' "
                                       "top: 'z' multibox_loss_param { num_classes: 3 } } ",
    IN("x", "dim: 1 dim: 1 dim: 4 dim: 7")
        IN("g", "dim: 1 dim: 1 dim: 3 dim: 8") "layer { name: 'l' type: 'DetectionEvaluate' "
                                               "bottom: 'x' bottom: 'g' top: 'z' "
                                               "detection_evaluate_param { num_classes: 3 "
                                               "background_label_id: 0 } } ",
    IN("x", "dim: 2 dim: 14 dim: 3 dim: 4") "layer { name: 'l' type: 'YoloDetectionOutput' "
                                            "bottom: 'x' top: 'z' "
                                            "yolo_detection_output_param { num_classes: 2 "
                                            "num_box: 2 biases: 1 biases: 2 biases: 3 "
                                            "biases: 1 confidence_threshold: 0.1 } } ",
    IN("x", "dim: 1 dim: 18 dim: 4 dim: 5") IN("y", "dim: 1 dim: 36 dim: 4 dim: 5")
        IN("i",
           "dim: 1 dim: 3") "layer { name: 'l' type: 'Python' bottom: 'x' bottom: 'y' bottom: "
                            "'i' top: 'z' " PYTHON("proposal_layer", "ProposalLayer",
                                                   "param_str: \"'feat_stride': 16\""),
    IN("x", "dim: 1 dim: 18 dim: 4 dim: 5") IN("t", "dim: 2 dim: 5")
        IN("i", "dim: 1 dim: 3") "layer { name: 'l' type: 'Python' bottom: 'x' bottom: 't' "
                                 "bottom: 'i' top: 'u' top: 'y' "
                                 "top: 'v' top: 'w' " PYTHON(
                                     "anchor_target_layer", "AnchorTargetLayer",
                                     "param_str: \"'feat_stride': 16\""),
    IN("x", "dim: 9 dim: 5")
        IN("t", "dim: 2 dim: 5") "layer { name: 'l' type: 'Python' bottom: 'x' bottom: 't' "
                                 "top: 'u' top: 'v' top: 'y' "
                                 "top: 'w' top: 'z' " PYTHON("proposal_target_layer",
                                                             "ProposalTargetLayer",
                                                             "param_str: \"'num_classes': 3\""),
    IN("x", "dim: 1 dim: 2 dim: 4 dim: 5")
        IN("t", "dim: 1 dim: 2 dim: 3 dim: 4") "layer { name: 'l' type: 'SegmentationEvaluate' "
                                               "bottom: 'x' bottom: 't' top: 'y' } ",
    IN("x", "dim: 1 dim: 2 dim: 4 dim: 5")
        IN("t", "dim: 1 dim: 1 dim: 4 dim: 5") "layer { name: 'l' type: 'SegAccuracy' bottom: "
                                               "'x' bottom: 't' top: 'y' } ",
    IN("x", "dim: 6 dim: 5") IN("e", "dim: 6 dim: 1") IN("t", "dim: 6 dim: 1") IN(
        "w",
        "dim: 6 dim: 8") "layer { name: 'l' type: 'BoxAnnotatorOHEM' bottom: 'x' bottom: 'e' "
                         "bottom: 't' bottom: "
                         "'w' top: 'u' top: 'y' box_annotator_ohem_param { roi_per_img: 4 } } ",
    "layer { name: 'i' type: 'Input' top: 'a' top: 'b' top: 'c' top: 'd' top: 'e' top: 'f' "
    "top: 'g' top: 'h' top: 'i' top: 'j' input_param { shape { dim: 2 dim: 40 } } } "
    "layer { name: 'l' type: 'Power' bottom: 'j' top: 'y' } ",
    IN("x", "dim: 2 dim: 126")
        IN("t", "dim: 2 dim: 63") "layer { name: 'l' type: 'EvalDetection' bottom: 'x' bottom: "
                                  "'t' top: 'y' "
                                  "eval_detection_param { side: 3 num_class: 4 } } ",
};

typedef struct trial {
    check_heap heap;
    dn_context *context;
    dn_net *net;
    uint64_t draws;
} trial;

static uint32_t draw(trial *t, uint32_t below)
{
    uint32_t word[4];
    dn_random_block(word, 5, 0, 0, t->draws++);
    return word[0] % below;
}

/* The same numbers each time, small and whole where a layer may want labels. */
static void fill(dn_net *net)
{
    for (int32_t k = 0; k < dn_net_num_inputs(net); k++) {
        dn_blob *blob = dn_net_input(net, k);
        float *data = dn_blob_mutable_data(blob);
        char kind = dn_blob_name(blob)[0];
        bool whole = kind == 't' || kind == 'g' || kind == 'c' || kind == 's';
        for (int64_t i = 0; data && i < dn_blob_count(blob); i++)
            data[i] = whole ? (float)(i % 2) : (float)((i * 37 + k) % 23) / 23;
    }
}

static dn_status run(dn_net *net)
{
    fill(net);
    net->step = 0;
    for (size_t i = 0; i < net->num_params; i++)
        for (int64_t k = 0; net->params[i]->statistic && k < net->params[i]->blob.store->count;
             k++)
            ((float *)net->params[i]->blob.store->data)[k] = 1;
    return dn_net_forward(net, NULL);
}

/* All outputs, one after the other; freed by the caller. */
static float *outputs(dn_net *net, int64_t *count)
{
    int64_t at = 0;
    float *all = malloc(sizeof *all);
    for (int32_t k = 0; k < dn_net_num_outputs(net); k++) {
        dn_blob *blob = dn_net_output(net, k);
        all = realloc(all, (size_t)(at + dn_blob_count(blob) + 1) * sizeof *all);
        memcpy(all + at, dn_blob_data(blob), (size_t)dn_blob_count(blob) * sizeof *all);
        at += dn_blob_count(blob);
    }
    *count = at;
    return all;
}

static dn_status reshape(dn_net *net, int32_t input, int32_t axis, int64_t length)
{
    dn_blob *blob = dn_net_input(net, input);
    int64_t dims[DN_MAX_AXES];
    for (int32_t a = 0; a < dn_blob_axes(blob); a++)
        dims[a] = a == axis ? length : dn_blob_dim(blob, a);
    return dn_blob_reshape(blob, dims, dn_blob_axes(blob));
}

/* Another length; what fails fails again. */
static void take(trial *t, const char *text, int32_t input, int32_t axis, int64_t length)
{
    CHECK_STATUS(reshape(t->net, input, axis, length), DN_OK);
    dn_status first = dn_net_reshape(t->net), second = dn_net_reshape(t->net);
    CHECK_AT(first == second, "%s: %s, then %s", text, dn_status_name(first),
             dn_status_name(second));
    if (!second)
        (void)run(t->net); /* labels may not fit */
}

static void disturb(trial *t, const char *text)
{
    static const int64_t lengths[] = {1, 2, 3, 4, 5, 7, 8, 16, 32, 64};
    int32_t input = (int32_t)draw(t, (uint32_t)dn_net_num_inputs(t->net));
    int32_t axes = dn_blob_axes(dn_net_input(t->net, input));
    if (!axes)
        return;
    take(t, text, input, (int32_t)draw(t, (uint32_t)axes),
         lengths[draw(t, DNI_COUNT(lengths))]);
}

enum { GROWN = 3 }; /* rounds that grow: the last axes, the first, the second */

/* One axis of all inputs, one after the other, until all fit together again; -1: the last. So
 * grow features, steps of time and items, which chance seldom makes fit. */
static void grow(trial *t, const char *text, int32_t axis)
{
    for (int32_t k = 0; k < dn_net_num_inputs(t->net); k++) {
        int32_t axes = dn_blob_axes(dn_net_input(t->net, k)), a = axis < 0 ? axes - 1 : axis;
        if (a >= 0 && a < axes)
            take(t, text, k, a, 2 * dn_blob_dim(dn_net_input(t->net, k), a));
    }
}

/* Every allocation on the way to the first shapes fails once. */
static void starve(trial *t, const char *text)
{
    for (long i = 1; i < 2000; i++) {
        t->heap.fail_at = t->heap.requests + i;
        dn_status st = dn_net_reshape(t->net);
        t->heap.fail_at = 0;
        CHECK_AT(!st || st == DN_E_NOMEM, "%s: %s", text, dn_status_name(st));
        if (!st)
            return;
    }
    CHECK_AT(0, "%s: does not end", text);
}

static void check_row(const char *text, int32_t phase, int times)
{
    trial t = {0};
    dn_context_options o = {
        .struct_size = sizeof o, .alloc = check_alloc, .alloc_user = &t.heap, .num_threads = 1};
    dn_net_options n = {.struct_size = sizeof n, .phase = phase};
    dn_shape was[32];
    int64_t count = 0, again = 0;
    CHECK_STATUS(dn_context_create(&t.context, &o), DN_OK);
    dn_status st = dn_net_create_from_text(&t.net, t.context, text, strlen(text), &n);
    CHECK_AT(!st, "%s: %s", text, dn_last_error());
    bool fits = !st && dn_net_num_inputs(t.net) > 0 && !run(t.net);
    float *want = fits ? outputs(t.net, &count) : NULL;
    for (int32_t k = 0; !st && k < dn_net_num_inputs(t.net); k++)
        was[k] = dn_net_input(t.net, k)->shape;
    for (int round = 0; fits && round < times; round++) {
        if (round < GROWN)
            grow(&t, text, round - 1);
        for (uint32_t i = 0, many = round < GROWN ? 0 : 1 + draw(&t, 3); i < many; i++)
            disturb(&t, text);
        for (int32_t k = 0; k < dn_net_num_inputs(t.net); k++)
            CHECK_STATUS(dn_blob_reshape(dn_net_input(t.net, k), was[k].dim, was[k].axes),
                         DN_OK);
        starve(&t, text);
        st = run(t.net);
        float *got = st ? NULL : outputs(t.net, &again);
        CHECK_AT(!st && again == count && !memcmp(got, want, (size_t)count * sizeof *got),
                 "%s: after other shapes it gives something else: %s", text,
                 dn_status_name(st));
        free(got);
    }
    free(want);
    dn_net_free(t.net);
    dn_context_free(t.context);
    CHECK_HEAP_CLEAN(&t.heap);
}

int main(int argc, char **argv)
{
    int times = argc > 1 ? atoi(argv[1]) : 12;
    for (size_t i = 0; i < num_gradient_rows; i++) {
        SECTION(gradient_rows[i].type);
        check_row(gradient_rows[i].text,
                  gradient_rows[i].flags & ROW_TEST ? DN_PHASE_TEST : DN_PHASE_TRAIN, times);
    }
    for (size_t i = 0; i < DNI_COUNT(others); i++) {
        SECTION("without a gradient");
        check_row(others[i], DN_PHASE_TEST, times);
    }
    return check_summary();
}
