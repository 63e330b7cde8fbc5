/* SPDX-License-Identifier: BSD-2-Clause
 * DetectionOutput (SSD): the boxes worth showing. For each image and class: those with a score
 * above confidence_threshold, the top_k best, those that overlap a better one left out; of all
 * classes then the keep_top_k best.
 * detection_output_param: num_classes (required), share_location (true: a box has one place for
 * all classes), background_label_id (0; -1: none), nms_param { nms_threshold (0.3), top_k
 * (all), eta (1) }, code_type (CORNER), keep_top_k (-1: all), variance_encoded_in_target
 * (false), confidence_threshold (none). save_output_param and visualize write nothing here.
 * bottoms: offsets (N, 4 P classes or 4 P), scores (N, P classes), priors (1, 2, 4 P), [image];
 * RefineDet: with five, 3: nothing or something (N, 2 P), 4: offsets (N, 4 P) that the priors
 * move by first; priors that are something by less than objectness_score (0.01) have score 0.
 * top: (1, 1, K, 7): image, label, score, x0, y0, x1, y1; K is known after the run; with
 * nothing found, a row for each image of its number and -1. No gradient. */
#include "layers/boxes.h"

#include <float.h>

typedef struct found {
    double score;
    int64_t image;
    int32_t label;
    dni_box box;
} found;

typedef struct output_state {
    dni_layer *layer;
    int64_t N, P;
    int64_t per_class, per_image; /* most boxes kept of each */
    int32_t classes, places;      /* places: classes that boxes are given for */
    double threshold, nms, eta;
    dni_shape y;         /* as lowered */
    dni_box *boxes;      /* (places, P) of one image */
    dni_scored *list;    /* (P), or those of one image */
    found *image, *rows; /* found in one image; in all, and how many */
    int64_t num_rows, num_image;
} output_state;

static const Cnn__DetectionOutputParameter *param_of(const dni_layer *layer)
{
    static const Cnn__DetectionOutputParameter defaults = CNN__DETECTION_OUTPUT_PARAMETER__INIT;
    return layer->param->detection_output_param ? layer->param->detection_output_param
                                                : &defaults;
}

static dn_status setup(dni_layer *layer)
{
    const Cnn__DetectionOutputParameter *p = param_of(layer);
    const Cnn__NonMaximumSuppressionParameter *nms = p->nms_param;
    output_state *s = layer->state;
    s->layer = layer;
    DNI_REQUIRE(p->num_classes > 0 && p->num_classes < 1u << 20, DN_E_NET, "num_classes is %u",
                p->num_classes);
    s->classes = (int32_t)p->num_classes;
    s->places = p->share_location ? 1 : s->classes;
    s->threshold = p->has_confidence_threshold ? p->confidence_threshold : -FLT_MAX;
    s->nms = nms ? nms->nms_threshold : 0.3f;
    s->eta = nms ? nms->eta : 1;
    DNI_REQUIRE(s->nms >= 0, DN_E_NET, "nms_threshold is negative");
    DNI_REQUIRE(s->eta > 0 && s->eta <= 1, DN_E_NET, "eta is not in (0, 1]");
    return DN_OK;
}

static void teardown(dni_layer *layer)
{
    output_state *s = layer->state;
    dni_free(layer->heap, s->boxes);
    dni_free(layer->heap, s->list);
    dni_free(layer->heap, s->image);
    dni_free(layer->heap, s->rows);
    s->boxes = NULL;
    s->list = NULL;
    s->image = s->rows = NULL;
}

static int64_t at_most(int64_t limit, int64_t count)
{
    return limit >= 0 && limit < count ? limit : count;
}

static dn_status make_room(dni_layer *layer)
{
    output_state *s = layer->state;
    int64_t all = s->per_class * s->classes;
    teardown(layer);
    s->boxes = dni_alloc(layer->heap, (size_t)(s->P * s->places), sizeof *s->boxes);
    s->list = dni_alloc(layer->heap, (size_t)(all > s->P ? all : s->P), sizeof *s->list);
    s->image = dni_alloc(layer->heap, (size_t)all, sizeof *s->image);
    s->rows = dni_alloc(layer->heap, (size_t)(s->per_image * s->N), sizeof *s->rows);
    return s->boxes && s->list && s->image && s->rows ? DN_OK : DN_E_NOMEM;
}

static dn_status check_bottoms(const dni_layer *layer, output_state *s)
{
    const dni_shape *x = layer->bottom;
    DNI_REQUIRE(x[0].axes >= 1 && x[1].axes >= 1 && x[0].dim[0] == x[1].dim[0], DN_E_SHAPE,
                "bottoms 0 and 1 need as many images");
    DNI_REQUIRE(x[2].axes >= 3 && x[2].dim[1] == 2, DN_E_SHAPE,
                "bottom 2 must be priors, (1, 2, 4 P)");
    s->N = x[0].dim[0];
    s->P = x[2].dim[2] / 4;
    DNI_REQUIRE(dni_shape_range(&x[0], 1, x[0].axes) == s->P * s->places * 4, DN_E_SHAPE,
                "bottom 0 has %lld values an image, %lld priors and %d places need %lld",
                (long long)dni_shape_range(&x[0], 1, x[0].axes), (long long)s->P, s->places,
                (long long)(s->P * s->places * 4));
    DNI_REQUIRE(dni_shape_range(&x[1], 1, x[1].axes) == s->P * s->classes, DN_E_SHAPE,
                "bottom 1 has %lld values an image, %lld priors of %d classes need %lld",
                (long long)dni_shape_range(&x[1], 1, x[1].axes), (long long)s->P, s->classes,
                (long long)(s->P * s->classes));
    for (int32_t i = 3; i < layer->num_bottoms && layer->num_bottoms == 5; i++)
        DNI_REQUIRE(dni_shape_count(&x[i]) == s->N * s->P * (i == 3 ? 2 : 4), DN_E_SHAPE,
                    "bottom %d has %lld values, %lld images of %lld priors need %lld", i,
                    (long long)dni_shape_count(&x[i]), (long long)s->N, (long long)s->P,
                    (long long)(s->N * s->P * (i == 3 ? 2 : 4)));
    return DN_OK;
}

/* Before the first run: as many boxes as there may be. */
static dn_status shape(dni_layer *layer)
{
    const Cnn__DetectionOutputParameter *p = param_of(layer);
    output_state *s = layer->state;
    dn_status st = check_bottoms(layer, s);
    if (st)
        return st;
    s->per_class =
        at_most(p->nms_param && p->nms_param->has_top_k ? p->nms_param->top_k : -1, s->P);
    s->per_image = at_most(p->keep_top_k, s->per_class * s->classes);
    if (s->per_image < 1)
        s->per_image = 1;
    layer->top[0] = dni_shape_of(4, (int64_t[]){1, 1, s->N * s->per_image, 7});
    st = dni_shape_check(&layer->top[0]);
    return st || layer->wire_only ? st : make_room(layer);
}

/* moves: what the priors move by first; NULL: nothing. */
static void decode(output_state *s, const void *loc, const void *priors, const void *moves,
                   int64_t n)
{
    const Cnn__DetectionOutputParameter *p = param_of(s->layer);
    int32_t dtype = s->layer->dtype;
    for (int64_t i = 0; i < s->P; i++) {
        dni_box prior = dni_box_get(priors, dtype, i * 4);
        double variance[4];
        for (int32_t k = 0; k < 4; k++)
            variance[k] = dni_get(priors, dtype, (s->P + i) * 4 + k);
        const double *v = p->variance_encoded_in_target ? NULL : variance;
        if (moves) {
            dni_box code = dni_box_get(moves, dtype, (n * s->P + i) * 4);
            prior = dni_box_decode((int32_t)p->code_type, &prior, v, &code);
        }
        for (int32_t c = 0; c < s->places; c++) {
            dni_box code = dni_box_get(loc, dtype, ((n * s->P + i) * s->places + c) * 4);
            s->boxes[c * s->P + i] = dni_box_decode((int32_t)p->code_type, &prior, v, &code);
        }
    }
}

/* object: (N, P, 2), how much each prior is something; NULL: all are. */
static void detect_class(output_state *s, const void *conf, const void *object, int64_t n,
                         int32_t label)
{
    double least = param_of(s->layer)->objectness_score;
    const dni_box *boxes = s->boxes + (s->places > 1 ? label * s->P : 0);
    int64_t count = 0;
    for (int64_t i = 0; i < s->P; i++) {
        double score = dni_get(conf, s->layer->dtype, (n * s->P + i) * s->classes + label);
        if (object && dni_get(object, s->layer->dtype, (n * s->P + i) * 2 + 1) < least)
            score = 0;
        if (score > s->threshold)
            s->list[count++] = (dni_scored){score, i};
    }
    dni_sort_scored(s->list, count);
    count = dni_suppress(s->list, at_most(s->per_class, count), boxes, s->nms, s->eta, 0);
    for (int64_t i = 0; i < count; i++)
        s->image[s->num_image++] = (found){s->list[i].score, n, label, boxes[s->list[i].index]};
}

/* The best of the image go to the rows, class by class and best first within a class. */
static void keep_best(output_state *s)
{
    int64_t kept = at_most(param_of(s->layer)->keep_top_k, s->num_image);
    for (int64_t i = 0; i < s->num_image; i++)
        s->list[i] = (dni_scored){s->image[i].score, i};
    if (kept < s->num_image)
        dni_sort_scored(s->list, s->num_image);
    for (int64_t i = 0; i < kept; i++) /* back into the order of index */
        s->list[i].score = -(double)s->list[i].index;
    dni_sort_scored(s->list, kept);
    for (int64_t i = 0; i < kept; i++)
        s->rows[s->num_rows++] = s->image[s->list[i].index];
}

static void write_rows(const output_state *s, void *y)
{
    int32_t dtype = s->layer->dtype;
    for (int64_t i = 0; i < s->num_rows; i++) {
        dni_put(y, dtype, i * 7, (double)s->rows[i].image);
        dni_put(y, dtype, i * 7 + 1, s->rows[i].label);
        dni_put(y, dtype, i * 7 + 2, s->rows[i].score);
        dni_box_put(y, dtype, i * 7 + 3, &s->rows[i].box);
    }
    for (int64_t n = 0; s->num_rows == 0 && n < s->N; n++)
        for (int32_t k = 0; k < 7; k++)
            dni_put(y, dtype, n * 7 + k, k ? -1 : (double)n);
}

static dn_status run(void *user, void *const *in, void *const *out)
{
    output_state *s = user;
    int32_t background = param_of(s->layer)->background_label_id;
    bool refined = s->layer->num_bottoms == 5;
    s->num_rows = 0;
    for (int64_t n = 0; n < s->N; n++) {
        s->num_image = 0;
        decode(s, in[0], in[2], refined ? in[4] : NULL, n);
        for (int32_t c = 0; c < s->classes; c++)
            if (c != background)
                detect_class(s, in[1], refined ? in[3] : NULL, n, c);
        keep_best(s);
    }
    dni_shape y = s->y;
    y.dim[2] = s->num_rows ? s->num_rows : s->N;
    if (!dni_shape_equal(&y, &s->y))
        return dni_dynamic_shape(s->layer, 0, &y);
    write_rows(s, out[0]);
    return DN_OK;
}

static void forward(dni_layer *layer, dni_builder *b)
{
    output_state *s = layer->state;
    dn_args_host_call call = {.fn = run, .user = s};
    s->y = *dni_tensor_shape(b, b->y[0]);
    dni_emit(b, DN_OP_HOST_CALL, &call, layer->num_bottoms == 5 ? 5 : 3, b->x,
             DNI_TENSORS(b->y[0]));
}

const dni_layer_class dni_layer_detection_output = {
    .type = "DetectionOutput",
    .bottoms_min = 3,
    .bottoms_max = 5,
    .tops_min = 1,
    .tops_max = 1,
    .flags = DNI_LAYER_DYNAMIC,
    .state_size = sizeof(output_state),
    .setup = setup,
    .shape = shape,
    .forward = forward,
    .teardown = teardown,
};
