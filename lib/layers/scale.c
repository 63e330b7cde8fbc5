/* SPDX-License-Identifier: BSD-2-Clause
 * Scale: y = s * x (+ b), s and b stretched over the axes they do not have.
 * scale_param: axis (1: where s begins), num_axes (1: of the learned s; -1: all from axis on;
 * 0: one number), filler (constant 1), bias_term (false), bias_filler (constant 0).
 * bottoms: x; s, if it is not learned (num_axes is then not used). top: x's shape; in place
 * allowed. weights: s unless it is a bottom; b with bias_term.
 * Gradient: dx = s dy; ds = sums of x dy; db = sums of dy. */
#include "layers/scale.h"

static dn_status setup(dni_layer *layer)
{
    const Cnn__ScaleParameter *p = layer->own;
    dni_scale *state = layer->state;
    dni_shape s = layer->bottom[layer->num_bottoms - 1];
    dn_status st = DN_OK;
    DNI_REQUIRE(!p->has_min_value && !p->has_max_value, DN_E_UNSUPPORTED,
                "min_value and max_value are not supported");
    state->axis = p->axis;
    state->bias_term = p->bias_term;
    if (layer->num_bottoms == 1) {
        st = dni_affine_shape(layer, p->axis, p->num_axes, &s);
        if (!st)
            st = dni_declare_weight(layer, &s, p->filler);
        if (!st)
            layer->weight[0].constant = 1;
    }
    if (!st && p->bias_term)
        st = dni_declare_weight(layer, &s, p->bias_filler);
    return st;
}

dn_status dni_scale_shape(dni_layer *layer)
{
    dni_scale *s = layer->state;
    const dni_shape *blob =
        layer->num_bottoms > 1 ? &layer->bottom[1] : &layer->weight[0].shape;
    dn_status st = dni_affine_view(layer, s->axis, blob, &s->view);
    if (!st && layer->num_bottoms > 1 && layer->num_weights)
        DNI_REQUIRE(dni_shape_count(blob) == dni_shape_count(&layer->weight[0].shape),
                    DN_E_SHAPE, "the bias was made for %lld values, not %lld",
                    (long long)dni_shape_count(&layer->weight[0].shape),
                    (long long)dni_shape_count(blob));
    return st ? st : dni_shape_like_bottom(layer);
}

/* Index of b among the weights, -1 without bias_term. */
static int32_t bias_of(const dni_layer *layer)
{
    return ((const dni_scale *)layer->state)->bias_term ? layer->num_weights - 1 : -1;
}

void dni_scale_forward(dni_layer *layer, dni_builder *b)
{
    dni_scale *s = layer->state;
    const dni_affine *v = &s->view;
    int32_t bias = bias_of(layer);
    bool learned = b->num_x == 1;
    bool wanted = learned ? layer->weight_wanted[0] : layer->propagate[1];
    s->x = b->x[0];
    if (wanted && dni_same(b, b->x[0], b->y[0])) {
        s->x = dni_temp_like(b, b->x[0]);
        dni_emit_copy(b, b->x[0], s->x);
    }
    dn_args_bcast a = {.op = bias >= 0 ? DN_BCAST_MULADD : DN_BCAST_MUL,
                       .outer = v->outer,
                       .dim = v->dim,
                       .inner = v->inner};
    dni_tensor scale = learned ? b->w[0] : b->x[1];
    dni_tensor shift = bias >= 0 ? b->w[bias] : DNI_NONE;
    dni_emit(b, DN_OP_BCAST, &a, DNI_TENSORS(b->x[0], scale, shift), DNI_TENSORS(b->y[0]));
}

/* Caffe multiplies dy by x in the diff of a bottom that wants no gradient and leaves it there,
 * so the results recorded from it have it: a place of its own, never read here. A scale as
 * large as x needs no such place. */
static void leave_product(dni_builder *b)
{
    const dni_program *p = b->program;
    if (dni_same(b, b->x[0], b->y[0]))
        return;
    for (size_t t = 0; t < p->num_tensors; t++)
        if (p->tensors[t].role == DNI_DIFF && p->tensors[t].blob == p->tensors[b->x[0]].blob) {
            dni_emit_product(b, b->dy[0], b->x[0], (dni_tensor)t);
            return;
        }
}

void dni_scale_backward(dni_layer *layer, dni_builder *b)
{
    const dni_scale *s = layer->state;
    const dni_affine *v = &s->view;
    int32_t bias = bias_of(layer);
    bool learned = b->num_x == 1;
    dni_emit_reduce_mid(b, v->outer, v->dim, v->inner, 1, b->dy[0], s->x,
                        learned ? b->dw[0] : b->dx[1]);
    if (bias >= 0)
        dni_emit_reduce_mid(b, v->outer, v->dim, v->inner, 1, b->dy[0], DNI_NONE, b->dw[bias]);
    dni_emit_bcast(b, DN_BCAST_MUL, v->outer, v->dim, v->inner, b->dy[0],
                   learned ? b->w[0] : b->x[1], b->dx[0]);
    if (layer->scratch_diff && learned && b->dw[0] != DNI_NONE && v->outer * v->inner > 1)
        leave_product(b);
}

const dni_layer_class dni_layer_scale = {
    .type = "Scale",
    .own = DNI_OWN(scale_param),
    .bottoms_max = 2,
    .flags = DNI_LAYER_INPLACE | DNI_LAYER_SCRATCH_DIFF,
    .setup = setup,
    DNI_SCALE_CLASS,
};
