/* SPDX-License-Identifier: BSD-2-Clause
 * SegAccuracy (DeepLab, PSPNet): how well the largest score of each place hits its label: y =
 * (share of places right, mean over classes of the share of their places, mean over classes of
 * intersection over union), as of this run. Classes that nothing is of, nor taken for, are left
 * out of the means. One score: the class is 1 where it is above 0.5.
 * seg_accuracy_param: ignore_label (any number); metric and reset mean nothing in its code.
 * bottoms: x (N, C, H, W), labels (N, 1, H, W); top: (1, 1, 1, 3). No gradient. */
#include "layers/values.h"

typedef struct accuracy_state {
    const dni_layer *layer;
    int64_t classes, *hits, *labels, *found; /* of each class */
} accuracy_state;

static dn_status setup(dni_layer *layer)
{
    accuracy_state *s = layer->state;
    const dni_shape *x = &layer->bottom[0];
    s->layer = layer;
    DNI_REQUIRE(x->axes == 4, DN_E_SHAPE, "bottom 0 has %d axes, not 4", x->axes);
    s->classes = x->dim[1] > 1 ? x->dim[1] : 2;
    s->hits = dni_alloc(layer->heap, (size_t)s->classes, 3 * sizeof *s->hits);
    if (!s->hits)
        return DN_E_NOMEM;
    s->labels = s->hits + s->classes;
    s->found = s->labels + s->classes;
    return DN_OK;
}

static void teardown(dni_layer *layer)
{
    dni_free(layer->heap, ((accuracy_state *)layer->state)->hits);
}

static dn_status shape(dni_layer *layer)
{
    const dni_shape *x = &layer->bottom[0], *t = &layer->bottom[1];
    const accuracy_state *s = layer->state;
    DNI_REQUIRE(x->axes == 4 && (x->dim[1] > 1 ? x->dim[1] : 2) == s->classes, DN_E_SHAPE,
                "the number of classes changed");
    DNI_REQUIRE(t->axes >= 1 && dni_shape_count(t) == x->dim[0] * x->dim[2] * x->dim[3],
                DN_E_SHAPE, "bottom 1 has %lld labels, %lld are needed: one for each place",
                (long long)dni_shape_count(t), (long long)(x->dim[0] * x->dim[2] * x->dim[3]));
    layer->top[0] = dni_shape_of(4, (int64_t[]){1, 1, 1, 3});
    return DN_OK;
}

static int64_t largest(const accuracy_state *s, const void *x, int64_t n, int64_t place)
{
    const int64_t *d = s->layer->bottom[0].dim;
    int64_t plane = d[2] * d[3], at = n * d[1] * plane + place, best = 0;
    if (d[1] == 1)
        return dni_get(x, s->layer->dtype, at) > 0.5;
    for (int64_t c = 1; c < d[1]; c++)
        if (dni_get(x, s->layer->dtype, at + c * plane) >
            dni_get(x, s->layer->dtype, at + best * plane))
            best = c;
    return best;
}

static bool ignored(const dni_layer *layer, double label)
{
    const Cnn__SegAccuracyParameter *p = layer->param->seg_accuracy_param;
    for (size_t i = 0; p && i < p->n_ignore_label; i++)
        if (label == p->ignore_label[i])
            return true;
    return false;
}

static dn_status run(void *user, void *const *in, void *const *out)
{
    accuracy_state *s = user;
    const int64_t *d = s->layer->bottom[0].dim;
    int64_t plane = d[2] * d[3], right = 0, all = 0, with_labels = 0, seen = 0;
    double recall = 0, iou = 0;
    for (int64_t i = 0; i < 3 * s->classes; i++)
        s->hits[i] = 0;
    for (int64_t i = 0; i < d[0] * plane; i++) {
        double label = dni_get(in[1], s->layer->dtype, i);
        if (ignored(s->layer, label))
            continue;
        DNI_REQUIRE(label >= 0 && label < (double)s->classes, DN_E_DATA,
                    "label %lld is not one of the %lld classes, nor ignored", (long long)i,
                    (long long)s->classes);
        int64_t guess = largest(s, in[0], i / plane, i % plane), truth = (int64_t)label;
        s->labels[truth]++, s->found[guess]++, all++;
        s->hits[truth] += guess == truth, right += guess == truth;
    }
    for (int64_t c = 0; c < s->classes; c++) {
        int64_t either = s->labels[c] + s->found[c] - s->hits[c];
        with_labels += s->labels[c] > 0, seen += either > 0;
        recall += s->labels[c] ? (double)s->hits[c] / (double)s->labels[c] : 0;
        iou += either ? (double)s->hits[c] / (double)either : 0;
    }
    dni_put(out[0], s->layer->dtype, 0, all ? (double)right / (double)all : 0);
    dni_put(out[0], s->layer->dtype, 1, with_labels ? recall / (double)with_labels : 0);
    dni_put(out[0], s->layer->dtype, 2, seen ? iou / (double)seen : 0);
    return DN_OK;
}

static void forward(dni_layer *layer, dni_builder *b)
{
    dn_args_host_call call = {.fn = run, .user = layer->state};
    dni_emit(b, DN_OP_HOST_CALL, &call, 2, b->x, DNI_TENSORS(b->y[0]));
}

const dni_layer_class dni_layer_seg_accuracy = {
    .type = "SegAccuracy",
    .bottoms_min = 2,
    .bottoms_max = 2,
    .tops_min = 1,
    .tops_max = 1,
    .state_size = sizeof(accuracy_state),
    .setup = setup,
    .shape = shape,
    .forward = forward,
    .teardown = teardown,
};
