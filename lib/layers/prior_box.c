/* SPDX-License-Identifier: BSD-2-Clause
 * PriorBox (SSD): boxes of given sizes and shapes around the centre of each cell of a map, in
 * units of the image; they depend on shapes alone and are made once.
 * prior_box_param: min_size (required, pixels), max_size (none, or one for each min_size: a
 * square of sqrt(min max)), aspect_ratio (1 is always there), flip (true: 1 / ratio too), clip
 * (false: into [0, 1]), variance (0.1; one or four), img_size | img_h img_w (bottom 1's), step
 * | step_h step_w (image / map), offset (0.5: where in its cell the centre is).
 * bottoms: map (N, C, H, W), image (N, C, H, W): shapes alone; top: (1, 2, 4 H W priors):
 * corners x0 y0 x1 y1, then their variances. Per cell, for each min_size: the square, the
 * square of max_size, one for each ratio. Sizes count in whole pixels, as in SSD. No gradient.
 */
#include <math.h>
#include <string.h>

#include "layers/prior_box.h"

typedef dni_prior_boxes prior_state;
#define MAX_RATIOS DNI_PRIOR_RATIOS

static const Cnn__PriorBoxParameter *param_of(const dni_layer *layer)
{
    return layer->own;
}

static bool is_new(const prior_state *s, double ratio)
{
    bool seen = fabs(ratio - 1) < 1e-6;
    for (int32_t i = 0; i < s->num_ratios; i++)
        seen |= fabs(ratio - s->ratio[i]) < 1e-6;
    return !seen;
}

static dn_status read_ratios(const Cnn__PriorBoxParameter *p, prior_state *s)
{
    for (size_t i = 0; i < p->n_aspect_ratio; i++) {
        double ratio = p->aspect_ratio[i];
        DNI_REQUIRE(ratio > 0, DN_E_NET, "an aspect_ratio is not positive");
        DNI_REQUIRE(s->num_ratios + 2 <= MAX_RATIOS, DN_E_UNSUPPORTED,
                    "more than %d aspect ratios", MAX_RATIOS);
        if (!is_new(s, ratio))
            continue;
        s->ratio[s->num_ratios++] = ratio;
        if (p->flip)
            s->ratio[s->num_ratios++] = (float)(1 / ratio);
    }
    return DN_OK;
}

/* PriorBoxClustered's boxes have widths and heights. */
static bool is_clustered(const dni_layer *layer)
{
    return !strcmp(layer->cls->type, "PriorBoxClustered");
}

static dn_status check_sizes(const dni_layer *layer)
{
    const Cnn__PriorBoxParameter *p = param_of(layer);
    if (is_clustered(layer)) {
        DNI_REQUIRE(p->n_width > 0 && p->n_width == p->n_height, DN_E_NET,
                    "prior_box_param has %zu width and %zu height; it needs as many",
                    p->n_width, p->n_height);
        for (size_t i = 0; i < p->n_width; i++)
            DNI_REQUIRE(p->width[i] > 0 && p->width[i] < 1e9f && p->height[i] > 0 &&
                            p->height[i] < 1e9f,
                        DN_E_NET, "box %zu is not of a positive number of pixels", i);
        return DN_OK;
    }
    DNI_REQUIRE(!p->n_width && !p->n_height, DN_E_NET,
                "width and height are PriorBoxClustered's");
    DNI_REQUIRE(p->n_min_size > 0, DN_E_NET, "prior_box_param needs a min_size");
    DNI_REQUIRE(p->n_max_size == 0 || p->n_max_size == p->n_min_size, DN_E_NET,
                "%zu max_size for %zu min_size", p->n_max_size, p->n_min_size);
    for (size_t i = 0; i < p->n_min_size; i++) {
        DNI_REQUIRE(p->min_size[i] > 0 && p->min_size[i] < 1e9f, DN_E_NET,
                    "min_size %zu is not a positive number of pixels", i);
        DNI_REQUIRE(!p->n_max_size ||
                        (p->max_size[i] > p->min_size[i] && p->max_size[i] < 1e9f),
                    DN_E_NET, "max_size %zu is not larger than its min_size", i);
    }
    return DN_OK;
}

dn_status dni_prior_setup(dni_layer *layer)
{
    const Cnn__PriorBoxParameter *p = param_of(layer);
    prior_state *s = layer->state;
    dn_status st = check_sizes(layer);
    if (st)
        return st;
    DNI_REQUIRE(p->n_variance <= 1 || p->n_variance == 4, DN_E_NET,
                "%zu variances; give one or four", p->n_variance);
    for (size_t i = 0; i < 4; i++) {
        s->variance[i] = p->n_variance ? p->variance[p->n_variance == 4 ? i : 0] : 0.1f;
        DNI_REQUIRE(s->variance[i] > 0, DN_E_NET, "a variance is not positive");
    }
    return read_ratios(p, s);
}

static dn_status read_geometry(const dni_layer *layer, prior_state *s)
{
    const Cnn__PriorBoxParameter *p = param_of(layer);
    for (int32_t i = 0; i < 2; i++)
        DNI_REQUIRE(layer->bottom[i].axes == 4, DN_E_SHAPE, "bottom %d has %d axes, not 4", i,
                    layer->bottom[i].axes);
    DNI_REQUIRE(!(p->has_img_size && (p->has_img_h || p->has_img_w)), DN_E_NET,
                "give img_size, or img_h and img_w, not both");
    DNI_REQUIRE(!(p->has_step && (p->has_step_h || p->has_step_w)), DN_E_NET,
                "give step, or step_h and step_w, not both");
    s->H = layer->bottom[0].dim[2];
    s->W = layer->bottom[0].dim[3];
    s->image_h = p->has_img_size ? p->img_size : p->img_h;
    s->image_w = p->has_img_size ? p->img_size : p->img_w;
    if (s->image_h == 0 || s->image_w == 0) {
        s->image_h = layer->bottom[1].dim[2];
        s->image_w = layer->bottom[1].dim[3];
    }
    s->step_h = p->has_step ? p->step : p->step_h;
    s->step_w = p->has_step ? p->step : p->step_w;
    if (s->step_h == 0 || s->step_w == 0) {
        s->step_h = (float)s->image_h / (float)s->H;
        s->step_w = (float)s->image_w / (float)s->W;
    }
    return DN_OK;
}

static double cut(const Cnn__PriorBoxParameter *p, double v)
{
    return p->clip ? fmin(fmax(v, 0), 1) : v;
}

/* Where a box of w x h pixels around (x, y) begins; four values. */
static void put_box(const dni_layer *layer, int64_t *at, double x, double y, double w, double h)
{
    const Cnn__PriorBoxParameter *p = param_of(layer);
    const prior_state *s = layer->state;
    double W = (double)s->image_w, H = (double)s->image_h;
    dni_box box = {cut(p, (x - w / 2) / W), cut(p, (y - h / 2) / H), cut(p, (x + w / 2) / W),
                   cut(p, (y + h / 2) / H)};
    dni_box_put(s->priors, layer->dtype, *at, &box);
    *at += 4;
}

static void put_cell(const dni_layer *layer, int64_t *at, double x, double y)
{
    const Cnn__PriorBoxParameter *p = param_of(layer);
    const prior_state *s = layer->state;
    for (size_t i = 0; is_clustered(layer) && i < p->n_width; i++)
        put_box(layer, at, x, y, p->width[i], p->height[i]);
    for (size_t i = 0; !is_clustered(layer) && i < p->n_min_size; i++) {
        double size = floor(p->min_size[i]);
        put_box(layer, at, x, y, size, size);
        if (p->n_max_size) {
            double side = sqrt(size * floor(p->max_size[i]));
            put_box(layer, at, x, y, side, side);
        }
        for (int32_t r = 0; r < s->num_ratios; r++)
            put_box(layer, at, x, y, size * sqrt(s->ratio[r]), size / sqrt(s->ratio[r]));
    }
}

static void make_priors(const dni_layer *layer)
{
    const prior_state *s = layer->state;
    double offset = param_of(layer)->offset;
    int64_t at = 0, count = layer->top[0].dim[2];
    for (int64_t y = 0; y < s->H; y++)
        for (int64_t x = 0; x < s->W; x++)
            put_cell(layer, &at, ((double)x + offset) * s->step_w,
                     ((double)y + offset) * s->step_h);
    for (int64_t i = 0; i < count; i++)
        dni_put(s->priors, layer->dtype, count + i, s->variance[i % 4]);
}

dn_status dni_prior_shape(dni_layer *layer)
{
    const Cnn__PriorBoxParameter *p = param_of(layer);
    prior_state *s = layer->state;
    dn_status st = read_geometry(layer, s);
    if (st)
        return st;
    int64_t sizes = (int64_t)p->n_min_size, count;
    int64_t per_cell = is_clustered(layer)
                           ? (int64_t)p->n_width
                           : sizes * (1 + s->num_ratios) + (int64_t)p->n_max_size;
    DNI_REQUIRE(dni_mul64(s->H * s->W, 4 * per_cell, &count), DN_E_SHAPE, "too many priors");
    layer->top[0] = dni_shape_of(3, (int64_t[]){1, 2, count});
    st = dni_shape_check(&layer->top[0]);
    if (st || layer->wire_only)
        return st;
    if (s->count != count) {
        dni_free(s->priors);
        s->count = 0;
        s->priors = dni_alloc(layer->heap, (size_t)(2 * count), sizeof(double));
        if (!s->priors)
            return DN_E_NOMEM;
        s->count = count;
    }
    make_priors(layer);
    return DN_OK;
}

void dni_prior_teardown(dni_layer *layer)
{
    dni_free(((prior_state *)layer->state)->priors);
}

void dni_prior_forward(dni_layer *layer, dni_builder *b)
{
    const prior_state *s = layer->state;
    dni_emit_copy(b, dni_constant(b, b->dtype, dni_shape_count(&layer->top[0]), s->priors),
                  b->y[0]);
}

const dni_layer_class dni_layer_prior_box = {
    .type = "PriorBox",
    DNI_PRIOR_CLASS,
};
