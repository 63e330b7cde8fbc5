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

typedef struct output_state {
    int64_t N, P;
    int64_t per_class, per_image; /* most boxes kept of each */
    int32_t classes, places;      /* places: classes that boxes are given for */
    double threshold, nms, eta;
    dni_detected found;
} output_state;

static dn_status setup(dni_layer *layer)
{
    const Cnn__DetectionOutputParameter *p = layer->own;
    const Cnn__NonMaximumSuppressionParameter *nms = p->nms_param;
    output_state *s = layer->state;
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

static int64_t at_most(int64_t limit, int64_t count)
{
    return limit >= 0 && limit < count ? limit : count;
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
    DNI_REQUIRE(s->P <= INT32_MAX, DN_E_SHAPE, "bottom 2 has too many priors");
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
    const Cnn__DetectionOutputParameter *p = layer->own;
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
    return dni_shape_check(&layer->top[0]);
}

static void forward(dni_layer *layer, dni_builder *b)
{
    const Cnn__DetectionOutputParameter *p = layer->own;
    output_state *s = layer->state;
    bool refined = layer->num_bottoms == 5;
    dn_args_detect args = {.method = DN_DETECT_PRIORS,
                           .flags = (p->share_location ? DN_DETECT_SHARED : 0) |
                                    (p->variance_encoded_in_target ? DN_DETECT_VARIED : 0),
                           .code = (int32_t)p->code_type,
                           .background = p->background_label_id,
                           .classes = s->classes,
                           .before = s->per_class,
                           .after = -1,
                           .keep = p->keep_top_k,
                           .threshold = s->threshold,
                           .least = p->objectness_score,
                           .nms = s->nms,
                           .eta = s->eta};
    dni_tensor in[6] = {DNI_NONE, b->x[1], b->x[0], b->x[2]};
    in[4] = refined ? b->x[3] : DNI_NONE;
    in[5] = refined ? b->x[4] : DNI_NONE;
    dni_detect_rows(b, &s->found, layer, &args, refined ? 6 : 4, in, s->N * s->per_image);
}

const dni_layer_class dni_layer_detection_output = {
    .type = "DetectionOutput",
    .own = DNI_OWN(detection_output_param),
    .bottoms_min = 3,
    .bottoms_max = 5,
    .tops_min = 1,
    .tops_max = 1,
    .flags = DNI_LAYER_DYNAMIC,
    .state_size = sizeof(output_state),
    .setup = setup,
    .shape = shape,
    .forward = forward,
};
