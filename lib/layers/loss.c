/* SPDX-License-Identifier: BSD-2-Clause
 * loss.c: lowering shared by the loss layers. The normaliser a loss was divided by is kept for
 * its gradient, so both agree even where labels are ignored. */
#include "layers/loss.h"

int32_t dni_loss_normalization(const Cnn__LossParameter *p, int32_t otherwise)
{
    if (p && p->has_normalization)
        return (int32_t)p->normalization;
    if (p && p->has_normalize)
        return p->normalize ? CNN__LOSS_PARAMETER__NORMALIZATION_MODE__VALID
                            : CNN__LOSS_PARAMETER__NORMALIZATION_MODE__BATCH_SIZE;
    return otherwise;
}

dn_status dni_loss_read(dni_loss *s, const Cnn__LossParameter *p, int32_t otherwise)
{
    int32_t by = dni_loss_normalization(p, otherwise);
    s->fixed = 1;
    if (by == CNN__LOSS_PARAMETER__NORMALIZATION_MODE__PRE_FIXED) {
        s->fixed = p->pre_fixed_normalizer;
        by = CNN__LOSS_PARAMETER__NORMALIZATION_MODE__NONE;
        DNI_REQUIRE(s->fixed > 0, DN_E_NET, "pre_fixed_normalizer must be positive");
    }
    DNI_REQUIRE(by <= CNN__LOSS_PARAMETER__NORMALIZATION_MODE__NONE, DN_E_UNSUPPORTED,
                "normalization %d is not supported", by);
    DNI_REQUIRE(!p || !p->weight_by_label_freqs || s->class_weights, DN_E_UNSUPPORTED,
                "weight_by_label_freqs is for SoftmaxWithLoss");
    s->args.normalization = by;
    s->args.has_ignore = p && p->has_ignore_label;
    s->args.ignore_label = s->args.has_ignore ? p->ignore_label : 0;
    return DN_OK;
}

dn_status dni_loss_check_items(const dni_layer *layer)
{
    const dni_shape *x = &layer->bottom[0], *t = &layer->bottom[1];
    DNI_REQUIRE(x->axes >= 1 && t->axes >= 1 && x->dim[0] == t->dim[0], DN_E_SHAPE,
                "bottom 0 has %lld items, bottom 1 has %lld",
                (long long)(x->axes ? x->dim[0] : 0), (long long)(t->axes ? t->dim[0] : 0));
    return DN_OK;
}

dn_status dni_loss_per_item(dni_layer *layer, int32_t loss, bool labels)
{
    dni_loss *s = layer->state;
    const dni_shape *x = &layer->bottom[0];
    dn_status st = dni_loss_check_items(layer);
    if (st)
        return st;
    s->args.loss = loss;
    s->args.outer = x->dim[0];
    s->args.dim = dni_shape_range(x, 1, x->axes);
    s->args.inner = 1;
    DNI_REQUIRE(!labels || dni_shape_count(&layer->bottom[1]) == s->args.outer, DN_E_SHAPE,
                "bottom 1 has %lld values, one label for each of %lld items is needed",
                (long long)dni_shape_count(&layer->bottom[1]), (long long)s->args.outer);
    layer->top[0] = dni_shape_of(0, NULL);
    return DN_OK;
}

/* Losses that read no loss_param leave it 0. */
static double fixed(const dni_loss *s)
{
    return s->fixed > 0 ? s->fixed : 1;
}

void dni_loss_forward(dni_loss *s, dni_builder *b, dni_tensor x, dni_tensor weight,
                      dni_tensor aux)
{
    s->x = x;
    s->weight = weight;
    s->norm = dni_temp(b, b->dtype, 0, NULL);
    s->aux = aux;
    dni_emit(b, DN_OP_LOSS, &s->args, DNI_TENSORS(x, b->x[1], weight),
             DNI_TENSORS(b->y[0], s->norm, s->aux));
    if (fixed(s) != 1)
        dni_emit_unary(b, DN_FN_AFFINE, 1 / s->fixed, 0, 0, b->y[0], b->y[0]);
}

void dni_loss_backward(const dni_loss *s, dni_builder *b, dni_tensor dx, dni_tensor dt)
{
    dni_tensor dy = b->dy[0];
    if (fixed(s) != 1) {
        dy = dni_temp_like(b, b->dy[0]);
        dni_emit_unary(b, DN_FN_AFFINE, 1 / s->fixed, 0, 0, b->dy[0], dy);
    }
    dni_emit(b, DN_OP_LOSS_BWD, &s->args,
             DNI_TENSORS(s->x, b->x[1], s->weight, s->norm, s->aux, dy), DNI_TENSORS(dx, dt));
}

void dni_loss_lower(dni_layer *layer, dni_builder *b)
{
    dni_loss_forward(layer->state, b, b->x[0], DNI_NONE, DNI_NONE);
}

void dni_loss_lower_back(dni_layer *layer, dni_builder *b)
{
    dni_loss_backward(layer->state, b, b->dx[0], DNI_NONE);
}
