/* SPDX-License-Identifier: BSD-2-Clause
 * SoftmaxWithLoss: L = -1/norm * sum over positions of log p[label], p = softmax(x).
 * softmax_param: axis (1). loss_param: ignore_label (none), normalization (VALID: positions not
 * ignored; FULL, BATCH_SIZE, NONE; of the forks PRE_FIXED: pre_fixed_normalizer (1)), normalize
 * (old: true VALID, false BATCH_SIZE); of SegNet: weight_by_label_freqs (false: true takes the
 * factor class_weighting[label] for each position; the norm counts positions all the same).
 * bottoms: x (any shape), labels (x's shape without the axis, or any of that count); of the
 * forks: a weight for each class. tops: one number; the probabilities (x's shape).
 * Gradient: dx = (p - 1[label]) / norm, 0 where ignored; none to the labels. */
#include "layers/values.h"
#include "layers/loss.h"

static dn_status setup(dni_layer *layer)
{
    const Cnn__LossParameter *p = layer->param->loss_param;
    dni_loss *s = layer->state;
    if (!p || !p->weight_by_label_freqs)
        return DN_OK;
    DNI_REQUIRE(p->n_class_weighting > 0, DN_E_NET,
                "weight_by_label_freqs needs a class_weighting for each class");
    DNI_REQUIRE(layer->num_bottoms < 3, DN_E_NET,
                "classes have their weights from bottom 2 or from class_weighting, not both");
    s->class_weights = dni_alloc(layer->heap, p->n_class_weighting, sizeof(double));
    for (size_t i = 0; s->class_weights && i < p->n_class_weighting; i++)
        dni_put(s->class_weights, layer->dtype, (int64_t)i, p->class_weighting[i]);
    return s->class_weights ? DN_OK : DN_E_NOMEM;
}

static void teardown(dni_layer *layer)
{
    dni_free(((dni_loss *)layer->state)->class_weights);
}

dn_status dni_softmax_loss_shape(dni_layer *layer)
{
    const Cnn__SoftmaxParameter *p = layer->param->softmax_param;
    const dni_shape *x = &layer->bottom[0];
    dni_loss *s = layer->state;
    dn_args_loss *a = &s->args;
    int32_t axis;
    dn_status st = dni_layer_axis(layer, 0, p ? p->axis : 1, "axis", &axis);
    if (st)
        return st;
    st = dni_loss_read(s, layer->param->loss_param,
                       CNN__LOSS_PARAMETER__NORMALIZATION_MODE__VALID);
    if (st)
        return st;
    a->loss = DN_LOSS_SOFTMAX;
    a->outer = dni_shape_range(x, 0, axis);
    a->dim = x->dim[axis];
    a->inner = dni_shape_range(x, axis + 1, x->axes);
    int64_t labels = dni_shape_count(&layer->bottom[1]);
    DNI_REQUIRE(
        labels == a->outer * a->inner, DN_E_SHAPE,
        "bottom 1 has %lld labels, %lld are needed: one for each position outside axis %d",
        (long long)labels, (long long)(a->outer * a->inner), axis);
    DNI_REQUIRE(layer->num_bottoms < 3 || dni_shape_count(&layer->bottom[2]) == a->dim,
                DN_E_SHAPE, "bottom 2 has %lld weights, one for each of %lld classes is needed",
                (long long)dni_shape_count(&layer->bottom[2]), (long long)a->dim);
    DNI_REQUIRE(!s->class_weights ||
                    layer->param->loss_param->n_class_weighting == (size_t)a->dim,
                DN_E_NET, "class_weighting has %zu values, each of %lld classes needs one",
                layer->param->loss_param->n_class_weighting, (long long)a->dim);
    layer->top[0] = dni_shape_of(0, NULL);
    if (layer->num_tops > 1)
        layer->top[1] = *x;
    return DN_OK;
}

void dni_softmax_loss_weighted(dni_layer *layer, dni_builder *b, dni_tensor weights)
{
    dni_loss *s = layer->state;
    dn_args_axis a = {.outer = s->args.outer, .dim = s->args.dim, .inner = s->args.inner};
    dni_tensor prob = b->num_y > 1 ? b->y[1] : dni_temp_like(b, b->x[0]);
    dni_emit(b, DN_OP_SOFTMAX, &a, DNI_TENSORS(b->x[0]), DNI_TENSORS(prob));
    dni_loss_forward(s, b, prob, weights, b->num_y > 2 ? b->y[2] : DNI_NONE);
    s->aux = DNI_NONE; /* the gradient does without */
}

void dni_softmax_loss_forward(dni_layer *layer, dni_builder *b)
{
    const dni_loss *s = layer->state;
    dni_tensor weights = b->num_x > 2 ? b->x[2]
                         : s->class_weights
                             ? dni_constant(b, b->dtype, s->args.dim, s->class_weights)
                             : DNI_NONE;
    dni_softmax_loss_weighted(layer, b, weights);
}

const dni_layer_class dni_layer_softmax_with_loss = {
    .type = "SoftmaxWithLoss",
    .bottoms_min = 2,
    .bottoms_max = 3,
    .tops_min = 1,
    .tops_max = 2,
    .flags = DNI_LAYER_LOSS,
    .no_gradient = 1u << 1 | 1u << 2,
    .state_size = sizeof(dni_loss),
    .setup = setup,
    .shape = dni_softmax_loss_shape,
    .forward = dni_softmax_loss_forward,
    .backward = dni_loss_lower_back,
    .teardown = teardown,
};
