/* SPDX-License-Identifier: BSD-2-Clause
 * Proposal (Faster R-CNN): boxes that may hold something. Anchors of every cell are moved by
 * the offsets and cut to the image; those shorter than min_size (times the image's scale) go;
 * of the pre_nms_topn best, those that overlap a better one by more than nms_thresh go; the
 * post_nms_topn best stay.
 * proposal_param: feat_stride (16), base_size (16), min_size (16), ratio (0.5, 1, 2), scale (8,
 * 16, 32), pre_nms_topn (6000), post_nms_topn (300), nms_thresh (0.7).
 * bottoms: scores (1, 2 A, H, W), the second half counts; offsets (1, 4 A, H, W); image (1, 3):
 * height, width, scale. tops: boxes (R, 5): 0, x0, y0, x1, y1 in pixels, [their scores (R, 1)];
 * R is known after the run, and at least 1. No gradient. */
#include "layers/proposal.h"

#include <math.h>

void dni_proposal_defaults(dni_layer *layer, dni_proposal *s)
{
    *s = (dni_proposal){.layer = layer,
                        .stride = 16,
                        .base = 16,
                        .min_size = 16,
                        .nms = 0.7,
                        .ratio = {0.5, 1, 2},
                        .scale = {8, 16, 32},
                        .num_ratios = 3,
                        .num_scales = 3,
                        .before = 6000,
                        .after = 300};
}

static dn_status read_list(const char *field, size_t count, const float *values, double *out,
                           int32_t *num)
{
    DNI_REQUIRE(count <= DNI_PROPOSAL_LIST, DN_E_UNSUPPORTED, "%s is given %zu times", field,
                count);
    for (size_t i = 0; i < count; i++) {
        DNI_REQUIRE(values[i] > 0, DN_E_NET, "%s must be positive", field);
        out[i] = values[i];
    }
    if (count)
        *num = (int32_t)count;
    return DN_OK;
}

static dn_status setup(dni_layer *layer)
{
    const Cnn__ProposalParameter *p = layer->param->proposal_param;
    dni_proposal *s = layer->state;
    dni_proposal_defaults(layer, s);
    if (!p)
        return DN_OK;
    s->stride = p->feat_stride;
    s->base = p->base_size;
    s->min_size = p->min_size;
    s->nms = p->nms_thresh;
    s->before = p->pre_nms_topn;
    s->after = p->post_nms_topn;
    DNI_REQUIRE(s->stride > 0 && s->base > 0 && s->after > 0, DN_E_NET,
                "feat_stride, base_size and post_nms_topn must be positive");
    dn_status st = read_list("ratio", p->n_ratio, p->ratio, s->ratio, &s->num_ratios);
    return st ? st : read_list("scale", p->n_scale, p->scale, s->scale, &s->num_scales);
}

/* Around the centre of the base square: its area with each ratio, in whole pixels, then scaled.
 */
void dni_proposal_anchors(dni_proposal *s)
{
    double centre = (s->base - 1) / 2;
    for (int32_t r = 0; r < s->num_ratios; r++) {
        double w = rint(sqrt(s->base * s->base / s->ratio[r])), h = rint(w * s->ratio[r]);
        for (int32_t k = 0; k < s->num_scales; k++) {
            double rx = (w * s->scale[k] - 1) / 2, ry = (h * s->scale[k] - 1) / 2;
            s->anchor[r * s->num_scales + k] =
                (dni_box){centre - rx, centre - ry, centre + rx, centre + ry};
        }
    }
}

dn_status dni_proposal_shape(dni_layer *layer, dni_proposal *s)
{
    const dni_shape *x = layer->bottom;
    s->A = s->num_ratios * s->num_scales;
    DNI_REQUIRE(layer->num_bottoms == 3 && layer->num_tops >= 1 && layer->num_tops <= 2,
                DN_E_NET, "scores, offsets and image make boxes and, if wanted, their scores");
    DNI_REQUIRE(x[0].axes == 4 && x[1].axes == 4 && x[0].dim[0] == 1 && x[1].dim[0] == 1,
                DN_E_SHAPE, "bottoms 0 and 1 must be maps of one image");
    s->H = x[0].dim[2];
    s->W = x[0].dim[3];
    DNI_REQUIRE(x[0].dim[1] == 2 * s->A && x[1].dim[1] == 4 * s->A && x[1].dim[2] == s->H &&
                    x[1].dim[3] == s->W,
                DN_E_SHAPE, "%lld anchors need %lld scores and %lld offsets for each cell",
                (long long)s->A, (long long)(2 * s->A), (long long)(4 * s->A));
    DNI_REQUIRE(dni_shape_count(&x[2]) >= 3, DN_E_SHAPE,
                "bottom 2 must be height, width, scale");
    int64_t all = s->A * s->H * s->W, rows = s->after < all ? s->after : all;
    layer->top[0] = dni_shape_of(2, (int64_t[]){rows, 5});
    if (layer->num_tops > 1)
        layer->top[1] = dni_shape_of(2, (int64_t[]){rows, 1});
    dni_proposal_anchors(s);
    return DN_OK;
}

/* Columns of the rows found, from one on, as those of y. */
static void take_columns(dni_builder *b, dni_tensor rows, int64_t from, int64_t count,
                         dni_tensor y, int64_t to)
{
    int64_t width = dni_tensor_shape(b, y)->dim[1];
    dni_emit_rows(b, dni_tensor_shape(b, y)->dim[0], count, 7, from, width, to, rows, y);
}

void dni_proposal_forward(dni_proposal *s, dni_builder *b)
{
    int64_t all = s->A * s->H * s->W, most = s->after < all ? s->after : all;
    dn_args_detect args = {.method = DN_DETECT_PROPOSAL,
                           .before = s->before > 0 ? s->before : -1,
                           .after = s->after,
                           .keep = -1,
                           .least = s->min_size,
                           .nms = s->nms,
                           .eta = 1,
                           .stride = s->stride};
    dni_tensor anchors = dni_constant(b, DN_F64, 4 * s->A, s->anchor);
    s->found = (dni_detected){s->layer, dni_tensor_shape(b, b->y[0])->dim[0], 0};
    dni_tensor rows = dni_detect(
        b, &s->found, &args, DNI_ARRAY(anchors, b->x[0], b->x[1], b->x[2]), most ? most : 1);
    dni_emit_count(b, &s->found, DNI_NONE);
    take_columns(b, rows, 0, 1, b->y[0], 0);
    take_columns(b, rows, 3, 4, b->y[0], 1);
    if (b->num_y > 1)
        take_columns(b, rows, 2, 1, b->y[1], 0);
}

static dn_status shape(dni_layer *layer)
{
    return dni_proposal_shape(layer, layer->state);
}

static void forward(dni_layer *layer, dni_builder *b)
{
    dni_proposal_forward(layer->state, b);
}

const dni_layer_class dni_layer_proposal = {
    .type = "Proposal",
    .bottoms_min = 3,
    .bottoms_max = 3,
    .tops_min = 1,
    .tops_max = 2,
    .flags = DNI_LAYER_DYNAMIC,
    .state_size = sizeof(dni_proposal),
    .setup = setup,
    .shape = shape,
    .forward = forward,
};
