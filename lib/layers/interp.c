/* SPDX-License-Identifier: BSD-2-Clause
 * Interp (DeepLab, PSPNet): bilinear resizing, corners onto corners: y = R x C^T for each
 * plane, row i of R having the weights of the two rows of x around i (H - 1) / (H' - 1).
 * interp_param: height, width | zoom_factor (1), shrink_factor (1): first shrunk, (H - 1) /
 * shrink + 1, then widened, H + (H - 1) (zoom - 1); pad_beg, pad_end (0; negative ones cut x's
 * border).
 * bottoms: (N, C, H, W), [a blob whose size is taken]; top: (N, C, H', W').
 * Gradient: dx = R^T dy C; none to the second bottom. */
#include "layers/values.h"

typedef struct interp_state {
    int64_t planes, H, W, P, Q; /* from H x W to P x Q */
    void *R, *C;                /* (P, H), (Q, W), of the net's type */
} interp_state;

static const Cnn__InterpParameter *param_of(const dni_layer *layer)
{
    static const Cnn__InterpParameter defaults = CNN__INTERP_PARAMETER__INIT;
    return layer->param->interp_param ? layer->param->interp_param : &defaults;
}

static dn_status setup(dni_layer *layer)
{
    const Cnn__InterpParameter *p = param_of(layer);
    DNI_REQUIRE(p->pad_beg <= 0 && p->pad_end <= 0, DN_E_NET,
                "pad_beg and pad_end only cut: they are 0 or negative");
    DNI_REQUIRE(p->zoom_factor >= 1 && p->shrink_factor >= 1, DN_E_NET,
                "zoom_factor and shrink_factor are at least 1");
    DNI_REQUIRE((p->height > 0) == (p->width > 0), DN_E_NET, "give height and width");
    return DN_OK;
}

static int64_t length(const Cnn__InterpParameter *p, int64_t n)
{
    n = (n - 1) / p->shrink_factor + 1;
    return n + (n - 1) * (p->zoom_factor - 1);
}

/* (to, from + cut borders) */
static dn_status weigh(const dni_layer *layer, void **out, int64_t to, int64_t from,
                       int64_t skip, int64_t inner)
{
    dni_free(layer->heap, *out);
    *out = dni_alloc(layer->heap, (size_t)(to * from), sizeof(double));
    if (!*out)
        return DN_E_NOMEM;
    double step = to > 1 ? (double)(inner - 1) / (double)(to - 1) : 0;
    for (int64_t i = 0; i < to; i++) {
        double at = step * (double)i;
        int64_t low = (int64_t)at < inner - 1 ? (int64_t)at : inner - 1;
        double part = at - (double)low;
        dni_put(*out, layer->dtype, i * from + skip + low, 1 - part);
        if (low + 1 < inner)
            dni_put(*out, layer->dtype, i * from + skip + low + 1, part);
    }
    return DN_OK;
}

static dn_status shape(dni_layer *layer)
{
    const Cnn__InterpParameter *p = param_of(layer);
    const dni_shape *x = &layer->bottom[0];
    interp_state *s = layer->state;
    DNI_REQUIRE(x->axes == 4, DN_E_SHAPE, "bottom has %d axes, not 4", x->axes);
    int64_t cut = -((int64_t)p->pad_beg + p->pad_end);
    int64_t H = x->dim[2] - cut, W = x->dim[3] - cut;
    DNI_REQUIRE(H > 0 && W > 0, DN_E_SHAPE, "nothing is left of the bottom");
    *s = (interp_state){x->dim[0] * x->dim[1], x->dim[2], x->dim[3], length(p, H),
                        length(p, W),          s->R,      s->C};
    if (layer->num_bottoms > 1) {
        DNI_REQUIRE(layer->bottom[1].axes == 4, DN_E_SHAPE, "bottom 1 has %d axes, not 4",
                    layer->bottom[1].axes);
        s->P = layer->bottom[1].dim[2], s->Q = layer->bottom[1].dim[3];
    } else if (p->height > 0) {
        s->P = p->height, s->Q = p->width;
    }
    layer->top[0] = dni_shape_of(4, (int64_t[]){x->dim[0], x->dim[1], s->P, s->Q});
    dn_status st = dni_shape_check(&layer->top[0]);
    if (!st && !layer->wire_only)
        st = weigh(layer, &s->R, s->P, s->H, -p->pad_beg, H);
    if (!st && !layer->wire_only)
        st = weigh(layer, &s->C, s->Q, s->W, -p->pad_beg, W);
    return st;
}

static void teardown(dni_layer *layer)
{
    interp_state *s = layer->state;
    dni_free(layer->heap, s->R);
    dni_free(layer->heap, s->C);
}

/* y = op(M) x for each of the planes, x: (k, n), y: (m, n). */
static void emit_rows(const interp_state *s, dni_builder *b, bool transposed, int64_t m,
                      int64_t k, int64_t n, dni_tensor x, dni_tensor y)
{
    dn_args_gemm a = {.trans_a = transposed,
                      .m = m,
                      .n = n,
                      .k = k,
                      .lda = transposed ? m : k,
                      .ldb = n,
                      .ldc = n,
                      .batch = s->planes,
                      .stride_b = k * n,
                      .stride_c = m * n,
                      .alpha = 1};
    dni_tensor M = dni_constant(b, b->dtype, s->P * s->H, s->R);
    dni_emit(b, DN_OP_GEMM, &a, DNI_TENSORS(M, x, DNI_NONE), DNI_TENSORS(y));
}

static void forward(dni_layer *layer, dni_builder *b)
{
    const interp_state *s = layer->state;
    dni_tensor C = dni_constant(b, b->dtype, s->Q * s->W, s->C);
    dni_tensor t = dni_temp(b, b->dtype, 3, (int64_t[]){s->planes, s->H, s->Q});
    dni_emit_gemm(b, false, true, s->planes * s->H, s->Q, s->W, 1, b->x[0], C, t);
    emit_rows(s, b, false, s->P, s->H, s->Q, t, b->y[0]);
}

static void backward(dni_layer *layer, dni_builder *b)
{
    const interp_state *s = layer->state;
    dni_tensor C = dni_constant(b, b->dtype, s->Q * s->W, s->C);
    dni_tensor t = dni_temp(b, b->dtype, 3, (int64_t[]){s->planes, s->H, s->Q});
    emit_rows(s, b, true, s->H, s->P, s->Q, b->dy[0], t);
    dni_emit_gemm(b, false, false, s->planes * s->H, s->W, s->Q, 1, t, C, b->dx[0]);
}

const dni_layer_class dni_layer_interp = {
    .type = "Interp",
    .bottoms_min = 1,
    .bottoms_max = 2,
    .tops_min = 1,
    .tops_max = 1,
    .no_gradient = 1u << 1,
    .state_size = sizeof(interp_state),
    .setup = setup,
    .shape = shape,
    .forward = forward,
    .backward = backward,
    .teardown = teardown,
};
