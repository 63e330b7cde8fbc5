/* SPDX-License-Identifier: BSD-2-Clause
 * rpn_targets.c: see rpn_targets.h. The family keeps its numbers in a file of its own; here
 * they are those of its end-to-end training. */
#include "layers/rpn_targets.h"

enum { REGIONS = 128 }; /* drawn from an image */

static const dn_args_targets anchors = {.method = DN_TARGETS_ANCHORS,
                                        .draws = 256,
                                        .holding = 128,
                                        .positive = 0.7,
                                        .negative = 0.3,
                                        .deviation = {1, 1, 1, 1}};
static const dn_args_targets regions = {.method = DN_TARGETS_REGIONS,
                                        .draws = REGIONS,
                                        .holding = REGIONS / 4,
                                        .positive = 0.5,
                                        .negative = 0.5,
                                        .deviation = {0.1, 0.1, 0.2, 0.2}};

static dn_status check_truths(const dni_layer *layer)
{
    const dni_shape *t = &layer->bottom[1];
    DNI_REQUIRE(t->axes >= 2 && t->dim[1] == 5 && dni_shape_count(t) == 5 * t->dim[0],
                DN_E_SHAPE, "bottom 1 must be true boxes (G, 5)");
    return DN_OK;
}

/* ---- anchors ----------------------------------------------------------------------------- */

dn_status dni_anchor_target_shape(dni_layer *layer, dni_rpn_targets *s)
{
    const dni_shape *x = &layer->bottom[0];
    dni_proposal *a = &s->anchor;
    DNI_REQUIRE(layer->num_bottoms >= 3 && layer->num_tops == 4, DN_E_NET,
                "scores, true boxes and image make labels, targets and two weights");
    a->A = a->num_ratios * a->num_scales;
    DNI_REQUIRE(x->axes == 4 && x->dim[0] == 1 && x->dim[1] == 2 * a->A, DN_E_SHAPE,
                "bottom 0 must be a map of one image with two scores for each of %lld anchors",
                (long long)a->A);
    DNI_REQUIRE(dni_shape_count(&layer->bottom[2]) >= 3, DN_E_SHAPE,
                "bottom 2 must be height, width, scale");
    a->H = x->dim[2];
    a->W = x->dim[3];
    layer->top[0] = dni_shape_of(4, (int64_t[]){1, 1, a->A * a->H, a->W});
    for (int32_t i = 1; i < 4; i++)
        layer->top[i] = dni_shape_of(4, (int64_t[]){1, 4 * a->A, a->H, a->W});
    dni_proposal_anchors(a);
    return check_truths(layer);
}

void dni_anchor_target_forward(dni_rpn_targets *s, dni_builder *b)
{
    dni_proposal *a = &s->anchor;
    dn_args_targets args = anchors;
    args.H = a->H;
    args.W = a->W;
    args.border = s->border;
    args.stride = a->stride;
    args.stream = a->layer->stream;
    dni_emit_arrays(
        b, DN_OP_TARGETS, &args,
        DNI_ARRAY(dni_constant(b, DN_F64, 4 * a->A, a->anchor), b->x[2], b->x[1], b->random), 4,
        b->y);
}

/* ---- regions ----------------------------------------------------------------------------- */

dn_status dni_proposal_target_shape(dni_layer *layer, dni_rpn_targets *s)
{
    const dni_shape *x = &layer->bottom[0];
    DNI_REQUIRE(layer->num_bottoms >= 2 && layer->num_tops == 5, DN_E_NET,
                "regions and true boxes make regions, labels, targets and two weights");
    DNI_REQUIRE(x->axes >= 2 && x->dim[1] == 5 && dni_shape_count(x) == 5 * x->dim[0],
                DN_E_SHAPE, "bottom 0 must be regions (R, 5)");
    for (int32_t i = 0; i < 5; i++)
        layer->top[i] =
            dni_shape_of(i == 1 ? 1 : 2, (int64_t[]){REGIONS, i ? 4 * s->classes : 5});
    return check_truths(layer);
}

void dni_proposal_target_forward(dni_rpn_targets *s, dni_builder *b)
{
    const dni_tensor *y = b->y;
    dn_args_targets args = regions;
    args.classes = s->classes;
    args.stream = s->layer->stream;
    s->drawn = (dni_detected){s->layer, dni_tensor_shape(b, y[0])->dim[0], 0,
                              dni_temp(b, DN_I32, 0, NULL)};
    dni_emit(b, DN_OP_TARGETS, &args, DNI_TENSORS(DNI_NONE, b->x[0], b->x[1], b->random),
             DNI_TENSORS(y[1], y[2], y[3], y[4], y[0], s->drawn.count));
    dni_emit_count(b, &s->drawn, DNI_NONE);
}
