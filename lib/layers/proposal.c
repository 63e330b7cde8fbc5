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

void dni_proposal_teardown(dni_proposal *s)
{
    if (!s->layer)
        return;
    dni_free(s->layer->heap, s->boxes);
    dni_free(s->layer->heap, s->list);
    s->boxes = NULL;
    s->list = NULL;
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
    if (layer->wire_only)
        return DN_OK;
    dni_proposal_teardown(s);
    dni_proposal_anchors(s);
    s->boxes = dni_alloc(layer->heap, (size_t)all, sizeof *s->boxes);
    s->list = dni_alloc(layer->heap, (size_t)all, sizeof *s->list);
    return s->boxes && s->list ? DN_OK : DN_E_NOMEM;
}

static double cut(double v, double size)
{
    return fmax(fmin(v, size - 1), 0);
}

/* Anchor a of the cell, moved and cut to the image. */
static dni_box propose(const dni_proposal *s, const void *offsets, const void *image, int64_t a,
                       int64_t cell)
{
    int32_t t = s->layer->dtype;
    int64_t plane = s->H * s->W, at = 4 * a * plane + cell;
    double x = (double)(cell % s->W) * s->stride, y = (double)(cell / s->W) * s->stride;
    double H = dni_get(image, t, 0), W = dni_get(image, t, 1);
    const dni_box *p = &s->anchor[a];
    double w = p->x1 - p->x0 + 1, h = p->y1 - p->y0 + 1;
    double cx = p->x0 + x + w / 2 + dni_get(offsets, t, at) * w;
    double cy = p->y0 + y + h / 2 + dni_get(offsets, t, at + plane) * h;
    double rx = exp(dni_get(offsets, t, at + 2 * plane)) * w / 2;
    double ry = exp(dni_get(offsets, t, at + 3 * plane)) * h / 2;
    return (dni_box){cut(cx - rx, W), cut(cy - ry, H), cut(cx + rx, W), cut(cy + ry, H)};
}

static int64_t find(dni_proposal *s, void *const *in)
{
    int32_t t = s->layer->dtype;
    int64_t plane = s->H * s->W, count = 0;
    double least = s->min_size * dni_get(in[2], t, 2);
    for (int64_t i = 0; i < s->A * plane; i++) { /* cell by cell, as the records were made */
        int64_t a = i % s->A, cell = i / s->A;
        dni_box box = s->boxes[i] = propose(s, in[1], in[2], a, cell);
        if (box.x1 - box.x0 + 1 >= least && box.y1 - box.y0 + 1 >= least)
            s->list[count++] = (dni_scored){dni_get(in[0], t, (s->A + a) * plane + cell), i};
    }
    dni_sort_scored(s->list, count);
    if (s->before > 0 && s->before < count)
        count = s->before;
    count = dni_suppress(s->list, count, s->boxes, s->nms, 1, 1);
    return s->after < count ? s->after : count;
}

static dn_status run(void *user, void *const *in, void *const *out)
{
    dni_proposal *s = user;
    int32_t t = s->layer->dtype;
    int64_t count = find(s, in);
    if (count == 0) { /* what follows needs a region: the corner */
        s->boxes[0] = (dni_box){0, 0, 0, 0};
        s->list[count++] = (dni_scored){0, 0};
    }
    dni_shape rows = s->y, scores = dni_shape_of(2, (int64_t[]){count, 1});
    rows.dim[0] = count;
    if (!dni_shape_equal(&rows, &s->y)) {
        dn_status st = dni_dynamic_shape(s->layer, 0, &rows);
        return st || !out[1] ? st : dni_dynamic_shape(s->layer, 1, &scores);
    }
    for (int64_t i = 0; i < count; i++) {
        dni_put(out[0], t, i * 5, 0);
        dni_box_put(out[0], t, i * 5 + 1, &s->boxes[s->list[i].index]);
        if (out[1])
            dni_put(out[1], t, i, s->list[i].score);
    }
    return DN_OK;
}

void dni_proposal_forward(dni_proposal *s, dni_builder *b)
{
    dn_args_host_call call = {.fn = run, .user = s};
    s->y = *dni_tensor_shape(b, b->y[0]);
    dni_emit(b, DN_OP_HOST_CALL, &call, 3, b->x,
             DNI_TENSORS(b->y[0], b->num_y > 1 ? b->y[1] : DNI_NONE));
}

static dn_status shape(dni_layer *layer)
{
    return dni_proposal_shape(layer, layer->state);
}

static void forward(dni_layer *layer, dni_builder *b)
{
    dni_proposal_forward(layer->state, b);
}

static void teardown(dni_layer *layer)
{
    dni_proposal_teardown(layer->state);
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
    .teardown = teardown,
};
