/* SPDX-License-Identifier: BSD-2-Clause
 * DenseCRF (DeepLab; Krähenbühl and Koltun, 2011): mean field iterations of a conditional
 * random field over the pixels, p = softmax(u + sum over k of w_k K_k p), p = softmax(u) at
 * first, K_k the mean of p over all pixels, weighted by a Gaussian of their places, or of
 * places and colours (permutohedral.h). In f32, whatever the net's type. dense_crf_param:
 * max_iter (10); pos_w and pos_xy_std (weight and deviation) of each kernel of places; bi_w,
 * bi_xy_std and bi_rgb_std of each of places and colours, which needs bottom 2;
 * output_probability (true: p, false: log p).
 * bottoms: u (N, C, H, W), the height and width of each image without its padding (N, 2 or more
 * values), [image (N, 3, H, W)]; top: (N, C, H, W), 0 where there is padding. No gradient. */
#include <float.h>
#include <math.h>

#include "layers/permutohedral.h"
#include "layers/values.h"

enum { KERNELS = 8, COLOURS = 3 };

typedef struct state {
    int64_t C, H, W, kernels;
    dni_lattice lattice[KERNELS];
    float weight[KERNELS];
    dni_lattice_sizes size; /* of the largest */
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
    for (size_t i = 0; i < count; i++) {
        size_t k = i - p->n_pos_w;
        bool places = i < p->n_pos_w;
        dni_lattice *l = &s->lattice[i];
        l->dtype = DN_F32;
        l->colours = places ? 0 : COLOURS;
        l->place = places ? p->pos_xy_std[i] : p->bi_xy_std[k];
        l->colour = places ? 1 : p->bi_rgb_std[k];
        s->weight[i] = places ? p->pos_w[i] : p->bi_w[k];
        DNI_REQUIRE(l->place > 0 && l->colour > 0, DN_E_NET, "deviations are above 0");
    }
    s->kernels = (int64_t)count;
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
    s->C = u->dim[1], s->H = u->dim[2], s->W = u->dim[3];
    s->size = dni_lattice_sizes_of(
        &(dni_lattice){.H = s->H, .W = s->W, .colours = layer->num_bottoms > 2 ? COLOURS : 0});
    layer->top[0] = *u;
    return DN_OK;
}

/* Softmax over the channels. */
static void soften(int64_t C, int64_t P, const float *q, float *p)
{
    for (int64_t i = 0; i < P; i++) {
        float most = -INFINITY, sum = 0;
        for (int64_t c = i; c < C * P; c += P)
            most = fmaxf(most, q[c]);
        for (int64_t c = i; c < C * P; c += P)
            sum += p[c] = expf(q[c] - most);
        for (int64_t c = i; c < C * P; c += P)
            p[c] /= sum;
    }
}

/* The h x w at the corner of whole planes. */
static void cut(const dni_layer *layer, const void *whole, int64_t n, int64_t count, int64_t h,
                int64_t w, float *part)
{
    const state *s = layer->state;
    for (int64_t i = 0; i < count * h * w; i++)
        part[i] = (float)dni_get(whole, layer->dtype,
                                 ((n * count + i / w / h) * s->H + i / w % h) * s->W + i % w);
}

/* Where the parts of a call's memory lie. */
typedef struct parts {
    float *u, *q, *p, *seen, *image, *shares, *norm, *values;
    int32_t *table, *keys;
} parts;

static parts parts_of(const state *s, void *const *out)
{
    int64_t P = s->H * s->W;
    parts x = {.u = out[1], .table = out[2]};
    x.q = x.u + s->C * P, x.p = x.q + s->C * P, x.seen = x.p + s->C * P, x.image = x.seen + P;
    x.shares = x.image + COLOURS * P, x.norm = x.shares + s->kernels * s->size.shares;
    x.values = x.norm + s->kernels * P;
    x.keys = x.table + s->kernels * s->size.table;
    return x;
}

static void infer(const state *s, const parts *x, int64_t h, int64_t w, int64_t iterations)
{
    int64_t P = h * w, count = s->C * P;
    dni_lattice lattice[KERNELS];
    for (int64_t k = 0; k < s->kernels; k++) {
        lattice[k] = s->lattice[k];
        lattice[k].H = h, lattice[k].W = w;
        dni_lattice_build(&lattice[k], x->image, x->table + k * s->size.table,
                          x->shares + k * s->size.shares, x->norm + k * s->H * s->W, x->keys,
                          x->values);
    }
    soften(s->C, P, x->u, x->p);
    for (int64_t t = 0; t < iterations; t++) {
        memcpy(x->q, x->u, (size_t)count * sizeof *x->q);
        for (int64_t i = 0; i < s->kernels * count; i += P) {
            int64_t k = i / count;
            dni_lattice_filter(&lattice[k], x->table + k * s->size.table,
                               x->shares + k * s->size.shares, x->norm + k * s->H * s->W, false,
                               x->p + i % count, x->seen, x->values);
            for (int64_t j = 0; j < P; j++)
                x->q[i % count + j] += s->weight[k] * x->seen[j];
        }
        soften(s->C, P, x->q, x->p);
    }
}

/* As much as there is room for. */
static int64_t size_of(double given, int64_t room)
{
    return (int64_t)fmin(fmax(given, 0), (double)room);
}

static dn_status run(void *user, void *const *in, void *const *out)
{
    const dni_layer *layer = user;
    const Cnn__DenseCRFParameter *own = layer->own;
    const state *s = layer->state;
    const parts x = parts_of(s, out);
    int64_t N = layer->top[0].dim[0], size = s->C * s->H * s->W;
    memset(out[0], 0, (size_t)(N * size) * dni_dtype_size(layer->dtype));
    for (int64_t n = 0; n < N; n++) {
        int64_t at = n * dni_shape_count(&layer->bottom[1]) / N;
        int64_t h = size_of(dni_get(in[1], layer->dtype, at), s->H);
        int64_t w = size_of(dni_get(in[1], layer->dtype, at + 1), s->W);
        cut(layer, in[0], n, s->C, h, w, x.u);
        if (layer->num_bottoms > 2)
            cut(layer, in[2], n, COLOURS, h, w, x.image);
        if (h * w > 0)
            infer(s, &x, h, w, own->max_iter);
        for (int64_t i = 0; i < s->C * h * w; i++)
            dni_put(out[0], layer->dtype,
                    n * size + (i / w / h * s->H + i / w % h) * s->W + i % w,
                    own->output_probability ? x.p[i] : logf(fmaxf(x.p[i], FLT_MIN)));
    }
    return DN_OK;
}

/* On the host: tables of hashed keys, for parts of images whose sizes are in a bottom. What the
 * call alone needs are outputs nobody reads. */
static void forward(dni_layer *layer, dni_builder *b)
{
    const state *s = layer->state;
    dn_args_host_call call = {.fn = run, .user = layer};
    int64_t P = s->H * s->W, table = s->kernels * s->size.table + s->size.keys;
    int64_t values = (3 * s->C + 1 + COLOURS + s->kernels) * P + s->kernels * s->size.shares +
                     s->size.values;
    dni_emit(
        b, DN_OP_HOST_CALL, &call, layer->num_bottoms, b->x,
        DNI_TENSORS(b->y[0], dni_temp(b, DN_F32, 1, &values), dni_temp(b, DN_I32, 1, &table)));
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
