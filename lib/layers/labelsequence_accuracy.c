/* SPDX-License-Identifier: BSD-2-Clause
 * LabelsequenceAccuracy (warpctc-caffe): the share of sequences that are read without a
 * mistake: the best class of each step, repeats taken once and blanks left out, against the
 * labels that are no blanks. labelsequence_accuracy_param: blank_label (0). bottoms: x (N, T,
 * C), labels (N, ...); top: one number. No gradient. */
#include "layers/layer.h"

static dn_status shape(dni_layer *layer)
{
    const dni_shape *x = &layer->bottom[0], *t = &layer->bottom[1];
    DNI_REQUIRE(x->axes == 3 && x->dim[2] > 0, DN_E_SHAPE,
                "bottom 0 must have the shape (N, T, C)");
    DNI_REQUIRE(t->axes && t->dim[0] == x->dim[0], DN_E_SHAPE,
                "bottom 1 must have labels for each of %lld sequences", (long long)x->dim[0]);
    layer->top[0] = dni_shape_of(0, NULL);
    return DN_OK;
}

static void forward(dni_layer *layer, dni_builder *b)
{
    const Cnn__CtcLossParameter *p = layer->own;
    const int64_t *x = layer->bottom[0].dim;
    dn_args_overlap args = {.measure = DN_OVERLAP_SEQUENCES,
                            .outer = x[0],
                            .dim = x[2],
                            .inner = x[1],
                            .threshold = p->blank_label};
    dni_emit_arrays(b, DN_OP_OVERLAP, &args, 2, b->x, 1, b->y);
}

const dni_layer_class dni_layer_labelsequence_accuracy = {
    .type = "LabelsequenceAccuracy",
    .own = DNI_OWN(ctc_loss_param),
    .bottoms_min = 2,
    .bottoms_max = 2,
    .tops_min = 1,
    .tops_max = 1,
    .no_gradient = 3,
    .shape = shape,
    .forward = forward,
};
