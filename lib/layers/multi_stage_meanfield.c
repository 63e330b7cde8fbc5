/* SPDX-License-Identifier: BSD-2-Clause
 * MultiStageMeanfield (CRF as RNN, Zheng et al., 2015): mean field iterations of a conditional
 * random field over the pixels,
 *   q' = u - M (S k_s p + B k_b p),  p = softmax(q) over the channels,
 * k_s the mean of p over all pixels, weighted by a Gaussian of their places, k_b by one of
 * places and colours (LATTICE of sys/backend.h); q is bottom 1 at first, then the last q'.
 * multi_stage_meanfield_param: num_iterations, theta_alpha and theta_beta (deviations of places
 * and colours of k_b), theta_gamma (of places of k_s), all required; spatial_filter_weight (3)
 * and bilateral_filter_weight (5), or for each channel spatial_filter_weights_str and
 * bilateral_filter_weights_str: what the diagonals of S and B begin with (the fork's files
 * spatial.par and bilateral.par are not read); compatibility_mode (POTTS: M begins as -1 on its
 * diagonal); threshold has no effect.
 * bottoms: u, q (N, C, H, W), image (N, colours, H, W); top: (N, C, H, W); weights: S, B, M
 * (1, 1, C, C). Gradient: to u, q and the weights, through all iterations; none to the image.
 */
#include <string.h>

#include "layers/layer.h"

enum { STEPS = 64, SPATIAL = 0, BILATERAL = 1, MATRICES = 3 };

typedef struct state {
    dn_args_lattice lattice[2]; /* one for all items, or one for each */
    float *diagonal;            /* of the three weights */
    int64_t C, steps;
    dn_args_axis axis;
    dn_args_conv mix;    /* 1x1 */
    dni_lattice made[2]; /* while lowering */
    struct {
        dni_tensor p, seen[2], message;
    } step[STEPS]; /* while lowering */
} state;

static void teardown(dni_layer *layer)
{
    state *s = layer->state;
    dni_free(s->diagonal);
    s->diagonal = NULL;
}

/* Numbers between blanks, one for each channel; without a text all the same. */
static dn_status read_diagonal(const char *field, const char *text, float value, int64_t count,
                               float *out)
{
    for (int64_t i = 0; i < count; i++)
        out[i] = value;
    if (!text || !*text)
        return DN_OK;
    const char *end = text + strlen(text);
    int64_t given = 0;
    for (text += strspn(text, " "); text < end; text += strspn(text, " "), given++) {
        double number;
        const char *after = dni_parse_number(text, end, &number);
        if (after == text || given == count)
            break;
        out[given] = (float)number;
        text = after;
    }
    DNI_REQUIRE(given == count && text == end, DN_E_NET,
                "%s needs %lld numbers, one for each channel", field, (long long)count);
    return DN_OK;
}

static dn_status setup(dni_layer *layer)
{
    const Cnn__MultiStageMeanfieldParameter *p = layer->own;
    state *s = layer->state;
    DNI_REQUIRE(p->num_iterations >= 1 && p->num_iterations <= STEPS && p->theta_alpha > 0 &&
                    p->theta_beta > 0 && p->theta_gamma > 0,
                DN_E_NET,
                "multi_stage_meanfield_param needs theta_alpha, theta_beta, theta_gamma above "
                "0 and num_iterations from 1 to %d",
                STEPS);
    DNI_REQUIRE(!p->compatibility_mode, DN_E_UNSUPPORTED,
                "compatibility_mode other than POTTS is not supported");
    DNI_REQUIRE(layer->bottom[0].axes == 4, DN_E_SHAPE, "bottom 0 has %d axes, images have 4",
                layer->bottom[0].axes);
    s->steps = p->num_iterations;
    s->C = layer->bottom[0].dim[1];
    dni_shape w = dni_shape_of(4, (int64_t[]){1, 1, s->C, s->C});
    dn_status st = DN_OK;
    for (int32_t i = 0; !st && i < MATRICES; i++)
        st = dni_declare_weight(layer, &w, NULL);
    if (st)
        return st;
    s->diagonal = dni_alloc(layer->heap, (size_t)(MATRICES * s->C), sizeof *s->diagonal);
    if (!s->diagonal)
        return DN_E_NOMEM;
    for (int32_t i = 0; i < MATRICES; i++)
        layer->weight[i].diagonal = s->diagonal + i * s->C;
    st = read_diagonal("spatial_filter_weights_str", p->spatial_filter_weights_str,
                       p->spatial_filter_weight, s->C, s->diagonal);
    if (!st)
        st = read_diagonal("bilateral_filter_weights_str", p->bilateral_filter_weights_str,
                           p->bilateral_filter_weight, s->C, s->diagonal + s->C);
    return st ? st : read_diagonal("", NULL, -1, s->C, s->diagonal + 2 * s->C);
}

static dn_status shape(dni_layer *layer)
{
    const Cnn__MultiStageMeanfieldParameter *p = layer->own;
    state *s = layer->state;
    const dni_shape *x = &layer->bottom[0], *image = &layer->bottom[2];
    const int64_t *dim = x->dim;
    DNI_REQUIRE(x->axes == 4 && dni_shape_equal(x, &layer->bottom[1]) && image->axes == 4 &&
                    image->dim[0] == dim[0] && image->dim[2] == dim[2] &&
                    image->dim[3] == dim[3] && dim[1] == s->C,
                DN_E_SHAPE, "bottoms 0 and 1 need one shape, bottom 2 as many images of it");
    DNI_REQUIRE(dim[2] > 0 && dim[3] > 0 && image->dim[1] <= DN_LATTICE_COLOURS &&
                    (double)dim[2] * (double)dim[3] <= 0x1p24,
                DN_E_SHAPE, "the image has more than %d channels, or too many pixels",
                DN_LATTICE_COLOURS);
    for (int k = 0; k < 2; k++) {
        dn_args_lattice *l = &s->lattice[k];
        *l = (dn_args_lattice){.N = dim[0],
                               .C = s->C,
                               .H = dim[2],
                               .W = dim[3],
                               .colours = k ? image->dim[1] : 0,
                               .lattices = k ? dim[0] : 1,
                               .place = k ? p->theta_alpha : p->theta_gamma,
                               .colour = p->theta_beta};
        dni_shape table = dni_shape_of(2, (int64_t[]){dim[0], dni_lattice_table(l)});
        dn_status st = dni_shape_check(&table);
        if (st)
            return st;
    }
    s->axis = (dn_args_axis){.outer = dim[0], .dim = s->C, .inner = dim[2] * dim[3]};
    s->mix = (dn_args_conv){
        .spatial = 2, .kernel = {1, 1}, .stride = {1, 1}, .dilation = {1, 1}, .group = 1};
    layer->top[0] = *x;
    return DN_OK;
}

/* W times the channels of x; back: its transpose. */
static dni_tensor mixed(const state *s, dni_builder *b, bool back, dni_tensor x, int32_t w)
{
    dni_tensor y = dni_temp_like(b, b->x[0]);
    dni_emit(b, back ? DN_OP_CONV_BWD_DATA : DN_OP_CONV, &s->mix,
             DNI_TENSORS(x, b->w[w], DNI_NONE), DNI_TENSORS(y));
    return y;
}

static dni_tensor seen(const state *s, dni_builder *b, int k, bool back, dni_tensor x)
{
    return dni_emit_lattice_filter(b, &s->lattice[k], &s->made[k], back, x);
}

static void forward(dni_layer *layer, dni_builder *b)
{
    state *s = layer->state;
    dni_tensor q = b->x[1];
    for (int k = 0; k < 2; k++)
        s->made[k] = dni_emit_lattice(b, &s->lattice[k],
                                      s->lattice[k].colours ? b->x[2] : DNI_NONE, DNI_NONE);
    for (int64_t t = 0; t < s->steps; t++) {
        dni_tensor to[2], message = dni_temp_like(b, b->x[0]);
        s->step[t].p = dni_temp_like(b, b->x[0]);
        dni_emit(b, DN_OP_SOFTMAX, &s->axis, DNI_TENSORS(q), DNI_TENSORS(s->step[t].p));
        for (int k = 0; k < 2; k++) {
            s->step[t].seen[k] = seen(s, b, k, false, s->step[t].p);
            to[k] = mixed(s, b, false, s->step[t].seen[k], k);
        }
        dni_emit_sum2(b, 1, to[0], 1, to[1], message);
        s->step[t].message = message;
        q = t + 1 < s->steps ? dni_temp_like(b, b->x[0]) : b->y[0];
        dni_emit_sum2(b, 1, b->x[0], -1, mixed(s, b, false, message, 2), q);
    }
}

/* The gradient of W, by which x was mixed to what has gradient dy. */
static void mix_weights(const state *s, dni_builder *b, dni_tensor x, dni_tensor dy, int32_t w)
{
    dni_emit(b, DN_OP_CONV_BWD_WEIGHTS, &s->mix, DNI_TENSORS(x, dy),
             DNI_TENSORS(b->dw[w], DNI_NONE));
}

static void backward(dni_layer *layer, dni_builder *b)
{
    state *s = layer->state;
    dni_tensor dq = b->dy[0], unary = dni_temp_like(b, dq);
    dni_emit_fill(b, unary, 0);
    for (int64_t t = s->steps - 1; t >= 0; t--) {
        dni_tensor pair = dni_temp_like(b, dq), to[2], dp = dni_temp_like(b, dq);
        dni_emit_sum2(b, 1, unary, 1, dq, unary);
        dni_emit_unary(b, DN_FN_AFFINE, -1, 0, 0, dq, pair);
        mix_weights(s, b, s->step[t].message, pair, 2);
        dni_tensor message = mixed(s, b, true, pair, 2);
        for (int k = 0; k < 2; k++)
            mix_weights(s, b, s->step[t].seen[k], message, k);
        if (!t && b->dx[1] == DNI_NONE)
            break;
        for (int k = 0; k < 2; k++)
            to[k] = seen(s, b, k, true, mixed(s, b, true, message, k));
        dni_emit_sum2(b, 1, to[0], 1, to[1], dp);
        dq = t ? dni_temp_like(b, dq) : b->dx[1];
        dni_emit(b, DN_OP_SOFTMAX_BWD, &s->axis, DNI_TENSORS(s->step[t].p, dp),
                 DNI_TENSORS(dq));
    }
    dni_emit_copy(b, unary, b->dx[0]);
}

const dni_layer_class dni_layer_multi_stage_meanfield = {
    .type = "MultiStageMeanfield",
    .own = DNI_OWN(multi_stage_meanfield_param),
    .bottoms_min = 3,
    .bottoms_max = 3,
    .tops_min = 1,
    .tops_max = 1,
    .no_gradient = 1u << 2,
    .state_size = sizeof(state),
    .setup = setup,
    .shape = shape,
    .teardown = teardown,
    .forward = forward,
    .backward = backward,
};
