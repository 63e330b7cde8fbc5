/* SPDX-License-Identifier: BSD-2-Clause
 * BoxAnnotatorOHEM (R-FCN): of each image, the roi_per_img regions with the largest loss keep
 * their label and weights; the others get ignore_label and 0.
 * box_annotator_ohem_param: roi_per_img (required), ignore_label (-1).
 * bottoms: regions (R, 5, ...): item, x0, y0, x1, y1; loss (R, 1, ...); labels (R, 1, ...);
 * weights (R, B, ...), of the same positions. tops: labels (R, 1, ...), weights (R, B, ...). No
 * gradient. */
#include "layers/layer.h"

typedef struct ohem_state {
    int64_t R, B, S, most; /* S: positions of a region */
    double ignore;
} ohem_state;

static dn_status setup(dni_layer *layer)
{
    const Cnn__BoxAnnotatorOHEMParameter *p = layer->param->box_annotator_ohem_param;
    ohem_state *s = layer->state;
    DNI_REQUIRE(p && p->roi_per_img > 0, DN_E_NET,
                "box_annotator_ohem_param needs a roi_per_img of at least 1");
    *s = (ohem_state){.most = p->roi_per_img, .ignore = p->ignore_label};
    return DN_OK;
}

static dn_status shape(dni_layer *layer)
{
    ohem_state *s = layer->state;
    const dni_shape *x = layer->bottom;
    for (int32_t i = 0; i < 4; i++)
        DNI_REQUIRE(x[i].axes >= 1 && x[i].dim[0] == x[0].dim[0], DN_E_SHAPE,
                    "bottom %d has other regions than bottom 0", i);
    DNI_REQUIRE(x[0].axes >= 2 && x[0].dim[1] == 5 && x[3].axes >= 2, DN_E_SHAPE,
                "bottom 0 must be (R, 5, ...), bottom 3 (R, B, ...)");
    s->R = x[0].dim[0];
    s->S = dni_shape_range(&x[0], 2, x[0].axes);
    s->B = x[3].dim[1];
    for (int32_t i = 1; i < 4; i++)
        DNI_REQUIRE(dni_shape_range(&x[i], i == 3 ? 2 : 1, x[i].axes) == s->S, DN_E_SHAPE,
                    "bottom %d needs the %lld positions of a region", i, (long long)s->S);
    layer->top[0] = x[2];
    layer->top[1] = x[3];
    return DN_OK;
}

static void forward(dni_layer *layer, dni_builder *b)
{
    const ohem_state *s = layer->state;
    int64_t R = s->R, B = s->B, S = s->S, count = R * S;
    dn_args_rank first = {.outer = 1, .dim = count, .most = s->most};
    dn_args_select in = {.index = 1};
    const int64_t *dims = layer->top[1].dim;
    dni_tensor item = dni_temp(b, b->dtype, 1, &count), kept = dni_temp_like(b, item);
    dni_tensor keeps = dni_temp(b, DN_I32, 1, &count);
    dni_tensor weighs = dni_temp(b, DN_I32, layer->top[1].axes, dims);
    dni_emit_rows(b, R, S, 5 * S, 0, S, 0, b->x[0], item);
    dni_emit(b, DN_OP_RANK, &first, DNI_TENSORS(b->x[1], item), DNI_TENSORS(kept));
    /* (kept ? label - ignore : 0) + ignore */
    dni_emit(b, DN_OP_CAST, NULL, DNI_TENSORS(kept), DNI_TENSORS(keeps));
    dni_emit_unary(b, DN_FN_AFFINE, 1, -s->ignore, 0, b->x[2], b->y[0]);
    dni_emit(b, DN_OP_SELECT, &in, DNI_TENSORS(b->y[0], keeps), DNI_TENSORS(b->y[0]));
    dni_emit_unary(b, DN_FN_AFFINE, 1, s->ignore, 0, b->y[0], b->y[0]);
    dni_emit_spread(b, R, B, S, 1, kept, b->y[1]);
    dni_emit(b, DN_OP_CAST, NULL, DNI_TENSORS(b->y[1]), DNI_TENSORS(weighs));
    dni_emit(b, DN_OP_SELECT, &in, DNI_TENSORS(b->x[3], weighs), DNI_TENSORS(b->y[1]));
}

const dni_layer_class dni_layer_box_annotator_ohem = {
    .type = "BoxAnnotatorOHEM",
    .bottoms_min = 4,
    .bottoms_max = 4,
    .tops_min = 2,
    .tops_max = 2,
    .no_gradient = 15,
    .state_size = sizeof(ohem_state),
    .setup = setup,
    .shape = shape,
    .forward = forward,
};
