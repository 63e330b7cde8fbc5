/* SPDX-License-Identifier: BSD-2-Clause
 * DenseCRF (DeepLab; Krähenbühl and Koltun, 2011): mean field iterations of a conditional
 * random field over the pixels, p = softmax(u + sum over k of w_k K_k p), p = softmax(u) at
 * first, K_k the mean of p over all pixels, weighted by a Gaussian of their places, or of
 * places and colours (LATTICE of sys/backend.h). dense_crf_param:
 * max_iter (10, 256 at most); pos_w and pos_xy_std (weight and deviation) of each kernel of
 * places; bi_w, bi_xy_std and bi_rgb_std of each of places and colours, with bottom 2; 8
 * kernels at most; output_probability (true: p, false: log p). bottoms: u (N, C, H, W), the
 * height and width of each image without its padding (N, 2 or more values), [image (N, 3, H,
 * W)]; top: (N, C, H, W), 0 where there is padding. No gradient. */
#include <float.h>

#include "layers/known.h"

enum { KERNELS = 8, COLOURS = 3, STEPS = 256 };

typedef struct state {
    int64_t kernels; /* one at least: of none, one of weight 0 */
    dn_args_lattice lattice[KERNELS];
    double weight[KERNELS];
    dn_args_axis channels;
} state;

static dn_status setup(dni_layer *layer)
{
    const Cnn__DenseCRFParameter *p = layer->own;
    state *s = layer->state;
    size_t coloured = layer->num_bottoms > 2 ? p->n_bi_w : 0, count = p->n_pos_w + coloured;
    DNI_REQUIRE(p->n_pos_w == p->n_pos_xy_std && p->n_bi_w == p->n_bi_xy_std &&
                    p->n_bi_w == p->n_bi_rgb_std && count <= KERNELS &&
                    (coloured || layer->num_bottoms < 3),
                DN_E_NET,
                "a pos_w needs a pos_xy_std, a bi_w a bi_xy_std and a bi_rgb_std, an image a "
                "bi_w; %d of both at most",
                KERNELS);
    DNI_REQUIRE(p->max_iter <= STEPS, DN_E_NET, "max_iter is %d at most", STEPS);
    s->lattice[0].place = s->lattice[0].colour = 1;
    for (size_t i = 0; i < count; i++) {
        size_t k = i - p->n_pos_w;
        bool places = i < p->n_pos_w;
        dn_args_lattice *l = &s->lattice[i];
        l->colours = places ? 0 : COLOURS;
        l->place = places ? p->pos_xy_std[i] : p->bi_xy_std[k];
        l->colour = places ? 1 : p->bi_rgb_std[k];
        s->weight[i] = places ? p->pos_w[i] : p->bi_w[k];
        DNI_REQUIRE(l->place > 0 && l->colour > 0, DN_E_NET, "deviations are above 0");
    }
    s->kernels = count ? (int64_t)count : 1;
    return DN_OK;
}

static dn_status shape(dni_layer *layer)
{
    state *s = layer->state;
    const dni_shape *u = &layer->bottom[0], *sizes = &layer->bottom[1];
    dni_shape image = *u;
    image.dim[1] = COLOURS;
    DNI_REQUIRE(u->axes == 4 && u->dim[2] > 0 && u->dim[3] > 0 &&
                    (double)u->dim[2] * (double)u->dim[3] <= 0x1p24,
                DN_E_SHAPE, "bottom 0 is not of images, or they have too many pixels");
    DNI_REQUIRE(sizes->axes && sizes->dim[0] == u->dim[0] &&
                    dni_shape_count(sizes) >= 2 * u->dim[0],
                DN_E_SHAPE, "bottom 1 needs a height and a width for each image");
    DNI_REQUIRE(layer->num_bottoms < 3 || dni_shape_equal(&image, &layer->bottom[2]),
                DN_E_SHAPE, "bottom 2 needs images of bottom 0's size, of %d colours", COLOURS);
    for (int64_t k = 0; k < s->kernels; k++) {
        dn_args_lattice *l = &s->lattice[k];
        l->N = l->lattices = u->dim[0];
        l->C = u->dim[1], l->H = u->dim[2], l->W = u->dim[3];
        dni_shape table = dni_shape_of(2, (int64_t[]){l->N, dni_lattice_table(l)});
        dn_status st = dni_shape_check(&table);
        if (st)
            return st;
    }
    s->channels =
        (dn_args_axis){.outer = u->dim[0], .dim = u->dim[1], .inner = u->dim[2] * u->dim[3]};
    layer->top[0] = *u;
    return DN_OK;
}

static dni_tensor softened(const state *s, dni_builder *b, dni_tensor q)
{
    dni_tensor p = dni_temp_like(b, b->x[0]);
    dni_emit(b, DN_OP_SOFTMAX, &s->channels, DNI_TENSORS(q), DNI_TENSORS(p));
    return p;
}

static void forward(dni_layer *layer, dni_builder *b)
{
    const Cnn__DenseCRFParameter *own = layer->own;
    state *s = layer->state;
    const dn_args_axis *c = &s->channels;
    int64_t two = 2 * c->outer, count = c->outer * c->inner;
    dni_lattice made[KERNELS];
    dni_tensor size = dni_temp(b, b->dtype, 1, &two), p = softened(s, b, b->x[0]);
    dni_tensor inside = dni_temp(b, b->dtype, 1, &count), all = dni_temp_like(b, b->x[0]);
    dni_tensor mask = dni_temp(b, DN_I32, 1, (int64_t[]){count * c->dim});
    dni_emit_rows(b, c->outer, 2, dni_shape_range(&layer->bottom[1], 1, layer->bottom[1].axes),
                  0, 2, 0, b->x[1], size);
    for (int64_t k = 0; k < s->kernels; k++)
        made[k] = dni_emit_lattice(b, &s->lattice[k],
                                   s->lattice[k].colours ? b->x[2] : DNI_NONE, size);
    for (int32_t t = 0; t < own->max_iter; t++) {
        dni_tensor q = b->x[0];
        for (int64_t k = 0; k < s->kernels; k++) {
            dni_tensor sum = dni_temp_like(b, q);
            dni_emit_sum2(b, 1, q, s->weight[k],
                          dni_emit_lattice_filter(b, &s->lattice[k], &made[k], false, p), sum);
            q = sum;
        }
        p = softened(s, b, q);
    }
    if (!own->output_probability) {
        dni_tensor least = dni_temp_like(b, p), log = dni_temp_like(b, p);
        dni_emit_unary(b, DN_FN_CLIP, FLT_MIN, 1, 0, p, least);
        dni_emit_unary(b, DN_FN_LOG, 1, 0, 1, least, log);
        p = log;
    }
    dni_emit_unary(b, DN_FN_SIGN, 0, 0, 0, made[0].norm, inside);
    dni_emit_spread(b, c->outer, c->dim, c->inner, 1, inside, all);
    dni_emit(b, DN_OP_CAST, &(dn_args){0}, DNI_TENSORS(all), DNI_TENSORS(mask));
    dni_emit_where(b, p, mask, b->y[0]);
}

const dni_layer_class dni_layer_dense_crf = {
    .type = "DenseCRF",
    .own = DNI_OWN(dense_crf_param),
    .bottoms_min = 2,
    .bottoms_max = 3,
    .tops_min = 1,
    .tops_max = 1,
    .no_gradient = 7,
    .state_size = sizeof(state),
    .setup = setup,
    .shape = shape,
    .forward = forward,
};
