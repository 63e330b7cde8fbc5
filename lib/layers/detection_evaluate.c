/* SPDX-License-Identifier: BSD-2-Clause
 * DetectionEvaluate (SSD): which detections are right. A detection is right if it overlaps a
 * true box of its class by at least overlap_threshold that no better one took; a difficult true
 * box counts neither way unless evaluate_difficult_gt.
 * detection_evaluate_param: num_classes (required), background_label_id (0), overlap_threshold
 * (0.5), evaluate_difficult_gt (true); name_size_file is not supported.
 * bottoms: detections (1, 1, K, 7): image, label (-1: none), score, x0, y0, x1, y1; truth (1,
 * 1, G, 8) as MultiBoxLoss's. top: (1, 1, rows, 5): for each class but the background -1,
 * label, number of true boxes, -1, -1; then for each detection, by image and class, best first:
 * image, label, score, right, wrong. How many rows is known after the run. No gradient. */
#include "layers/boxes.h"

typedef struct truth {
    double image, label;
    dni_box box;
    bool difficult, taken;
} truth;

typedef struct evaluate_state {
    dni_layer *layer;
    int32_t classes, background;
    int64_t K, G, num_truths;
    dni_shape y; /* as lowered */
    truth *truths;
    dni_scored *list; /* (K) of one image and class */
    bool *done;       /* (K) */
} evaluate_state;

static dn_status setup(dni_layer *layer)
{
    const Cnn__DetectionEvaluateParameter *p = layer->param->detection_evaluate_param;
    evaluate_state *s = layer->state;
    DNI_REQUIRE(p && p->num_classes > 0 && p->num_classes < 1u << 20, DN_E_NET,
                "detection_evaluate_param: num_classes is %u", p ? p->num_classes : 0);
    DNI_REQUIRE(layer->wire_only || !p->name_size_file, DN_E_UNSUPPORTED,
                "name_size_file is not supported; without it boxes are compared as parts of 1");
    *s = (evaluate_state){.layer = layer,
                          .classes = (int32_t)p->num_classes,
                          .background = (int32_t)p->background_label_id};
    return DN_OK;
}

static void teardown(dni_layer *layer)
{
    evaluate_state *s = layer->state;
    dni_free(s->truths);
    dni_free(s->list);
    dni_free(s->done);
    s->truths = NULL;
    s->list = NULL;
    s->done = NULL;
}

/* Rows about classes: all but the background. */
static int64_t class_rows(const evaluate_state *s)
{
    return s->classes - (s->background >= 0 && s->background < s->classes);
}

static dn_status shape(dni_layer *layer)
{
    evaluate_state *s = layer->state;
    const dni_shape *x = &layer->bottom[0], *t = &layer->bottom[1];
    int64_t K = dni_shape_count(x) / 7, G = dni_shape_count(t) / 8;
    DNI_REQUIRE(x->axes >= 1 && x->dim[x->axes - 1] == 7, DN_E_SHAPE,
                "bottom 0 must be detections, (1, 1, K, 7)");
    DNI_REQUIRE(t->axes >= 1 && t->dim[t->axes - 1] == 8, DN_E_SHAPE,
                "bottom 1 must be true boxes, (1, 1, G, 8)");
    layer->top[0] = dni_shape_of(4, (int64_t[]){1, 1, class_rows(s) + K, 5});
    if (layer->wire_only)
        return DN_OK;
    teardown(layer);
    s->K = K;
    s->G = G;
    s->truths = dni_alloc(layer->heap, (size_t)G, sizeof *s->truths);
    s->list = dni_alloc(layer->heap, (size_t)K, sizeof *s->list);
    s->done = dni_alloc(layer->heap, (size_t)K, sizeof *s->done);
    return s->truths && s->list && s->done ? DN_OK : DN_E_NOMEM;
}

static void put_row(const evaluate_state *s, void *y, int64_t *row, double a, double b,
                    double c, double d, double e)
{
    const double values[5] = {a, b, c, d, e};
    for (int32_t k = 0; k < 5; k++)
        dni_put(y, s->layer->dtype, *row * 5 + k, values[k]);
    ++*row;
}

static void read_truths(evaluate_state *s, const void *gt)
{
    int32_t t = s->layer->dtype;
    s->num_truths = 0;
    for (int64_t i = 0; i < s->G; i++)
        if (dni_get(gt, t, i * 8) >= 0)
            s->truths[s->num_truths++] =
                (truth){dni_get(gt, t, i * 8), dni_get(gt, t, i * 8 + 1),
                        dni_box_get(gt, t, i * 8 + 3), dni_get(gt, t, i * 8 + 7) != 0, false};
}

static void put_classes(const evaluate_state *s, void *y, int64_t *row)
{
    const Cnn__DetectionEvaluateParameter *p = s->layer->param->detection_evaluate_param;
    for (int32_t c = 0; c < s->classes; c++) {
        int64_t count = 0;
        for (int64_t i = 0; i < s->num_truths; i++)
            count += s->truths[i].label == c &&
                     (p->evaluate_difficult_gt || !s->truths[i].difficult);
        if (c != s->background)
            put_row(s, y, row, -1, c, (double)count, -1, -1);
    }
}

static void judge(evaluate_state *s, const void *x, int64_t i, void *y, int64_t *row)
{
    const Cnn__DetectionEvaluateParameter *p = s->layer->param->detection_evaluate_param;
    int32_t t = s->layer->dtype;
    double image = dni_get(x, t, i * 7), label = dni_get(x, t, i * 7 + 1), most = -1;
    dni_box box = dni_box_get(x, t, i * 7 + 3);
    truth *best = NULL;
    for (int64_t g = 0; g < s->num_truths; g++) {
        truth *candidate = &s->truths[g];
        if (candidate->image != image || candidate->label != label)
            continue;
        double overlap = dni_box_iou(&box, &candidate->box, 0);
        if (overlap > most)
            most = overlap, best = candidate;
    }
    bool right = best && most >= p->overlap_threshold;
    bool counts = !right || p->evaluate_difficult_gt || !best->difficult;
    bool wrong = !right || best->taken;
    if (right && counts)
        best->taken = true;
    put_row(s, y, row, image, label, dni_get(x, t, i * 7 + 2), counts && !wrong,
            counts && wrong);
}

/* Lists the detections of the first image, and of it the first class, that are not done. */
static int64_t next_group(evaluate_state *s, const void *x)
{
    int32_t t = s->layer->dtype;
    int64_t first = -1, count = 0;
    for (int64_t i = 0; i < s->K; i++) {
        double image = dni_get(x, t, i * 7), label = dni_get(x, t, i * 7 + 1);
        if (s->done[i])
            continue;
        double image0 = first < 0 ? image : dni_get(x, t, first * 7);
        double label0 = first < 0 ? label : dni_get(x, t, first * 7 + 1);
        if (first < 0 || image < image0 || (image == image0 && label < label0))
            first = i, count = 0;
        if (first == i || (image == image0 && label == label0))
            s->list[count++] = (dni_scored){dni_get(x, t, i * 7 + 2), i};
    }
    dni_sort_scored(s->list, count);
    return count;
}

static dn_status run(void *user, void *const *in, void *const *out)
{
    evaluate_state *s = user;
    int64_t valid = 0, row = 0, count;
    dni_shape y = s->y;
    for (int64_t i = 0; i < s->K; i++) {
        double label = dni_get(in[0], s->layer->dtype, i * 7 + 1);
        s->done[i] = !(label >= 0); /* -1, and what is no number */
        valid += !s->done[i];
    }
    y.dim[2] = class_rows(s) + valid;
    if (!dni_shape_equal(&y, &s->y))
        return dni_dynamic_shape(s->layer, 0, &y);
    read_truths(s, in[1]);
    put_classes(s, out[0], &row);
    while ((count = next_group(s, in[0])) > 0)
        for (int64_t i = 0; i < count; i++) {
            s->done[s->list[i].index] = true;
            judge(s, in[0], s->list[i].index, out[0], &row);
        }
    return DN_OK;
}

/* On the host: a measure of tests, detections taking true boxes in turn. */
static void forward(dni_layer *layer, dni_builder *b)
{
    evaluate_state *s = layer->state;
    dn_args_host_call call = {.fn = run, .user = s};
    s->y = *dni_tensor_shape(b, b->y[0]);
    dni_emit_arrays(b, DN_OP_HOST_CALL, &call, 2, b->x, 1, b->y);
}

const dni_layer_class dni_layer_detection_evaluate = {
    .type = "DetectionEvaluate",
    .bottoms_min = 2,
    .bottoms_max = 2,
    .tops_min = 1,
    .tops_max = 1,
    .flags = DNI_LAYER_DYNAMIC,
    .state_size = sizeof(evaluate_state),
    .setup = setup,
    .shape = shape,
    .forward = forward,
    .teardown = teardown,
};
