/* SPDX-License-Identifier: BSD-2-Clause
 * SegAccuracy (DeepLab, PSPNet): how well the largest score of each place hits its label: y =
 * (share of places right, mean over classes of the share of their places, mean over classes of
 * intersection over union), as of this run. Classes that nothing is of, nor taken for, are left
 * out of the means. One score: the class is 1 where it is above 0.5.
 * seg_accuracy_param: ignore_label (any number); metric and reset mean nothing in its code.
 * bottoms: x (N, C, H, W), labels (N, 1, H, W); top: (1, 1, 1, 3). No gradient. */
#include "layers/layer.h"

typedef struct accuracy_state {
    double *ignored; /* labels */
} accuracy_state;

static const Cnn__SegAccuracyParameter *param_of(const dni_layer *layer)
{
    return layer->own;
}

static dn_status setup(dni_layer *layer)
{
    const Cnn__SegAccuracyParameter *p = param_of(layer);
    accuracy_state *s = layer->state;
    s->ignored = dni_alloc(layer->heap, p->n_ignore_label, sizeof *s->ignored);
    if (!s->ignored)
        return DN_E_NOMEM;
    for (size_t i = 0; i < p->n_ignore_label; i++)
        s->ignored[i] = p->ignore_label[i];
    return DN_OK;
}

static void teardown(dni_layer *layer)
{
    dni_free(((accuracy_state *)layer->state)->ignored);
}

static dn_status shape(dni_layer *layer)
{
    const dni_shape *x = &layer->bottom[0], *t = &layer->bottom[1];
    dn_status st = dni_need_axes(layer, 0, 4, false);
    if (st)
        return st;
    DNI_REQUIRE(t->axes >= 1 && dni_shape_count(t) == x->dim[0] * x->dim[2] * x->dim[3],
                DN_E_SHAPE, "bottom 1 has %lld labels, %lld are needed: one for each place",
                (long long)dni_shape_count(t), (long long)(x->dim[0] * x->dim[2] * x->dim[3]));
    layer->top[0] = dni_shape_of(4, (int64_t[]){1, 1, 1, 3});
    return DN_OK;
}

static void forward(dni_layer *layer, dni_builder *b)
{
    const int64_t *x = layer->bottom[0].dim;
    int64_t num = (int64_t)param_of(layer)->n_ignore_label;
    accuracy_state *s = layer->state;
    dn_args_overlap args = {.measure = DN_OVERLAP_LABELS,
                            .outer = x[0],
                            .dim = x[1],
                            .inner = x[2] * x[3],
                            .threshold = 0.5};
    dni_tensor ignored = num ? dni_constant(b, DN_F64, num, s->ignored) : DNI_NONE;
    dni_emit(b, DN_OP_OVERLAP, &args, DNI_TENSORS(b->x[0], b->x[1], ignored),
             DNI_TENSORS(b->y[0]));
}

const dni_layer_class dni_layer_seg_accuracy = {
    .type = "SegAccuracy",
    .own = DNI_OWN(seg_accuracy_param),
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
