/* SPDX-License-Identifier: BSD-2-Clause
 * SegmentationEvaluate (MobileNet-YOLO): y_c = intersection over union of the places where map
 * c of the first image, and its class map, are above threshold; 0 where nothing meets. Maps of
 * another size than the truth are resized to it first, as images of 8 bits.
 * segmentation_evaluate_param: threshold (0.5), num_classes (as many as there are maps).
 * bottoms: x (N, C, H, W) in [0, 1], t (N, C, H2, W2); top: (1, 1, 1, C). No gradient. */
#include <math.h>

#include "data/data.h"
#include "layers/values.h"

typedef struct evaluate_state {
    const dni_layer *layer;
    dni_image image; /* of one class, its pixels in map */
    uint8_t *map, *resized;
    dni_resampler *resampler; /* NULL: the sizes are the same */
} evaluate_state;

static void teardown(dni_layer *layer)
{
    evaluate_state *s = layer->state;
    dni_free(s->map);
    dni_free(s->resized);
    dni_resampler_free(s->resampler);
    *s = (evaluate_state){.layer = layer};
}

static bool is_empty(const dni_layer *layer)
{
    return !dni_shape_count(&layer->bottom[0]) || !dni_shape_count(&layer->bottom[1]);
}

static dn_status shape(dni_layer *layer)
{
    const dni_shape *x = &layer->bottom[0], *t = &layer->bottom[1];
    evaluate_state *s = layer->state;
    DNI_REQUIRE(x->axes == 4 && t->axes == 4 && x->dim[1] == t->dim[1], DN_E_SHAPE,
                "the bottoms need 4 axes and as many maps as each other");
    layer->top[0] = dni_shape_of(4, (int64_t[]){1, 1, 1, t->dim[1]});
    teardown(layer);
    bool same = x->dim[2] == t->dim[2] && x->dim[3] == t->dim[3];
    if (layer->wire_only || is_empty(layer) || same)
        return DN_OK;
    s->map = dni_alloc(layer->heap, (size_t)x->dim[2], (size_t)x->dim[3]);
    s->resized = dni_alloc(layer->heap, (size_t)t->dim[2], (size_t)t->dim[3]);
    s->image = (dni_image){.u8 = s->map,
                           .channels = 1,
                           .height = x->dim[2],
                           .width = x->dim[3],
                           .row_stride = x->dim[3],
                           .pixel_stride = 1};
    return !s->map || !s->resized
               ? DN_E_NOMEM
               : dni_resampler_create(&s->resampler, layer->heap, &s->image, t->dim[2],
                                      t->dim[3], CNN__RESIZE_PARAMETER__INTERP_MODE__LINEAR);
}

static void resize(const evaluate_state *s, const void *x, int64_t c)
{
    int64_t plane = s->image.height * s->image.width;
    for (int64_t i = 0; i < plane; i++) {
        double v = dni_get(x, s->layer->dtype, c * plane + i) * 255;
        s->map[i] = (uint8_t)(v >= 255 ? 255 : v > 0 ? v : 0);
    }
    dni_resampler_run(s->resampler, &s->image, s->resized);
}

static double threshold_of(const dni_layer *layer)
{
    const Cnn__SegmentationEvaluateParameter *p = layer->own;
    return p->threshold;
}

/* Of resized maps, or none. */
static dn_status run(void *user, void *const *in, void *const *out)
{
    const evaluate_state *s = user;
    const int64_t *t = s->layer->bottom[1].dim;
    int64_t plane = s->resampler ? t[2] * t[3] : 0;
    double threshold = threshold_of(s->layer), level = trunc(threshold * 255);
    for (int64_t c = 0; c < t[1]; c++) {
        int64_t both = 0, either = 0;
        if (s->resampler)
            resize(s, in[0], c);
        for (int64_t i = 0; i < plane; i++) {
            bool truth = dni_get(in[1], s->layer->dtype, c * plane + i) > threshold;
            bool found = s->resized[i] > level;
            both += truth && found;
            either += truth || found;
        }
        dni_put(out[0], s->layer->dtype, c, both ? (double)both / (double)either : 0);
    }
    return DN_OK;
}

/* Maps that are resized are images of 8 bits meanwhile, which the host makes. */
static void forward(dni_layer *layer, dni_builder *b)
{
    const evaluate_state *s = layer->state;
    const int64_t *x = layer->bottom[0].dim;
    dn_args_host_call call = {.fn = run, .user = layer->state};
    dn_args_overlap args = {.measure = DN_OVERLAP_MAPS,
                            .outer = x[0],
                            .dim = x[1],
                            .inner = x[2] * x[3],
                            .threshold = threshold_of(layer)};
    if (s->resampler || is_empty(layer))
        dni_emit_arrays(b, DN_OP_HOST_CALL, &call, 2, b->x, 1, b->y);
    else
        dni_emit_arrays(b, DN_OP_OVERLAP, &args, 2, b->x, 1, b->y);
}

const dni_layer_class dni_layer_segmentation_evaluate = {
    .type = "SegmentationEvaluate",
    .own = DNI_OWN(segmentation_evaluate_param),
    .bottoms_min = 2,
    .bottoms_max = 2,
    .tops_min = 1,
    .tops_max = 1,
    .state_size = sizeof(evaluate_state),
    .shape = shape,
    .forward = forward,
    .teardown = teardown,
};
