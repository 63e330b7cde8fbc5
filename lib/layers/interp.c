/* SPDX-License-Identifier: BSD-2-Clause
 * Interp (DeepLab, PSPNet): bilinear resizing, corners onto corners: y = R x C^T for each
 * plane, row i of R having the weights of the two rows of x around i (H - 1) / (H' - 1).
 * interp_param: height, width | zoom_factor (1), shrink_factor (1): first shrunk, (H - 1) /
 * shrink + 1, then widened, H + (H - 1) (zoom - 1); pad_beg, pad_end (0; negative ones cut x's
 * border).
 * bottoms: (N, C, H, W), [a blob whose size is taken]; top: (N, C, H', W').
 * Gradient: dx = R^T dy C; none to the second bottom. */
#include <math.h>

#include "layers/interp.h"
#include "layers/values.h"

/* Of an axis: each of the top's elements by each of the bottom's; what they take is in no plan,
 * so that no one's are more than 1 GB of floats. */
#define MAX_WEIGHTS 0x1p28

static dn_status setup(dni_layer *layer)
{
    const Cnn__InterpParameter *p = layer->own;
    DNI_REQUIRE(p->pad_beg <= 0 && p->pad_end <= 0, DN_E_NET,
                "pad_beg and pad_end only cut: they are 0 or negative");
    DNI_REQUIRE(p->zoom_factor >= 1 && p->shrink_factor >= 1, DN_E_NET,
                "zoom_factor and shrink_factor are at least 1");
    DNI_REQUIRE((p->height > 0) == (p->width > 0), DN_E_NET, "give height and width");
    return DN_OK;
}

/* What is left of n elements; 0: more than can be counted. */
static int64_t length(const Cnn__InterpParameter *p, int64_t n)
{
    n = (n - 1) / p->shrink_factor + 1;
    return (double)n * p->zoom_factor < 0x1p62 ? n + (n - 1) * (p->zoom_factor - 1) : 0;
}

dn_status dni_interp_size(const dni_layer *layer, int64_t size[2])
{
    const dni_shape *x = &layer->bottom[0], *like = &layer->bottom[layer->num_bottoms - 1];
    DNI_REQUIRE(x->axes == 4 && like->axes == 4, DN_E_SHAPE, "a bottom has not 4 axes");
    DNI_REQUIRE(x->dim[2] > 0 && x->dim[3] > 0, DN_E_SHAPE, "the bottom is empty");
    if (layer->num_bottoms > 1)
        memcpy(size, like->dim + 2, 2 * sizeof *size);
    DNI_REQUIRE(size[0] > 0 && size[1] > 0, DN_E_SHAPE,
                "the top's height or width is not given, or not above 0");
    return DN_OK;
}

static double weight(const dni_interp_rule *r, double at, int64_t from, int64_t k)
{
    double x = fabs(at - (double)k) / r->width;
    if (r->kernel == DNI_CUT && at > (double)from - 0.5)
        return 0;
    if (r->kernel != DNI_CUBIC && r->kernel != DNI_NEAREST)
        return x < 1 ? 1 - x : 0;
    if (r->kernel == DNI_CUBIC)
        return x <= 1  ? x * x * (1.5 * x - 2.5) + 1
               : x < 2 ? x * (x * (2.5 - 0.5 * x) - 4) + 2
                       : 0;
    at = round(at);
    return (double)k == (at < 0 ? 0 : at > (double)(from - 1) ? (double)(from - 1) : at);
}

/* (to, from). No weight is more than two widths from its row's middle, or NEAREST's one. */
static dn_status fill(const dni_layer *layer, void **out, int64_t to, int64_t from,
                      const dni_interp_rule *r)
{
    double reach = r->kernel == DNI_NEAREST ? 1 : 2.0 * r->width, most = (double)(from - 1);
    dni_free(*out);
    *out = dni_alloc(layer->heap, (size_t)(to * from), dni_dtype_size(layer->dtype));
    if (!*out)
        return DN_E_NOMEM;
    for (int64_t i = 0; i < to; i++) {
        double at = (float)i * r->step + r->shift, sum = 0;
        int64_t first = (int64_t)fmin(fmax(floor(at - reach), 0), most);
        int64_t last = (int64_t)fmin(fmax(ceil(at + reach), 0), most);
        for (int64_t k = first; k <= last; k++)
            sum += weight(r, at, from, k);
        if (r->kernel == DNI_TENT)
            sum = 1;
        for (int64_t k = first; sum != 0 && k <= last; k++)
            dni_put(*out, layer->dtype, i * from + k, weight(r, at, from, k) / sum);
    }
    return DN_OK;
}

dn_status dni_interp_weigh(dni_layer *layer, const int64_t size[2],
                           const dni_interp_rule rule[2])
{
    dni_interp *s = layer->state;
    const int64_t *x = layer->bottom[0].dim;
    s->planes = x[0] * x[1];
    s->H = x[2], s->W = x[3], s->P = size[0], s->Q = size[1];
    layer->top[0] = dni_shape_of(4, (int64_t[]){x[0], x[1], s->P, s->Q});
    dn_status st = dni_shape_check(&layer->top[0]);
    for (int d = 0; !st && d < 2; d++)
        DNI_REQUIRE((double)size[d] * (double)x[2 + d] < MAX_WEIGHTS, DN_E_SHAPE,
                    "from %lld to %lld elements takes too many weights", (long long)x[2 + d],
                    (long long)size[d]);
    if (!st && !layer->wire_only)
        st = fill(layer, &s->R, s->P, s->H, &rule[0]);
    if (!st && !layer->wire_only)
        st = fill(layer, &s->C, s->Q, s->W, &rule[1]);
    return st;
}

static dn_status shape(dni_layer *layer)
{
    const Cnn__InterpParameter *p = layer->own;
    const int64_t *x = layer->bottom[0].dim;
    int64_t cut = -((int64_t)p->pad_beg + p->pad_end), size[2] = {p->height, p->width};
    dni_interp_rule rule[2];
    for (int d = 0; d < 2; d++) {
        DNI_REQUIRE(layer->bottom[0].axes != 4 || x[2 + d] > cut, DN_E_SHAPE,
                    "pad_beg and pad_end leave nothing of the bottom");
        if (p->height <= 0)
            size[d] = length(p, x[2 + d] - cut);
    }
    dn_status st = dni_interp_size(layer, size);
    for (int d = 0; !st && d < 2; d++) {
        int64_t inner = x[2 + d] - cut;
        rule[d] = (dni_interp_rule){DNI_TRIANGLE,
                                    size[d] > 1 ? (float)(inner - 1) / (float)(size[d] - 1) : 0,
                                    (float)-p->pad_beg, 1};
    }
    return st ? st : dni_interp_weigh(layer, size, rule);
}

void dni_interp_teardown(dni_layer *layer)
{
    dni_interp *s = layer->state;
    dni_free(s->R);
    dni_free(s->C);
}

/* y = op(M) x for each of the planes, x: (k, n), y: (m, n). */
static void emit_rows(const dni_interp *s, dni_builder *b, bool transposed, int64_t m,
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

void dni_interp_product(dni_layer *layer, dni_builder *b, dni_tensor x, dni_tensor y)
{
    const dni_interp *s = layer->state;
    dni_tensor C = dni_constant(b, b->dtype, s->Q * s->W, s->C);
    dni_tensor t = dni_temp(b, b->dtype, 3, (int64_t[]){s->planes, s->H, s->Q});
    dni_emit_gemm(b, false, true, s->planes * s->H, s->Q, s->W, 1, x, C, t);
    emit_rows(s, b, false, s->P, s->H, s->Q, t, y);
}

void dni_interp_forward(dni_layer *layer, dni_builder *b)
{
    dni_interp_product(layer, b, b->x[0], b->y[0]);
}

void dni_interp_backward(dni_layer *layer, dni_builder *b)
{
    const dni_interp *s = layer->state;
    dni_tensor C = dni_constant(b, b->dtype, s->Q * s->W, s->C);
    dni_tensor t = dni_temp(b, b->dtype, 3, (int64_t[]){s->planes, s->H, s->Q});
    emit_rows(s, b, true, s->H, s->P, s->Q, b->dy[0], t);
    dni_emit_gemm(b, false, false, s->planes * s->H, s->W, s->Q, 1, t, C, b->dx[0]);
}

const dni_layer_class dni_layer_interp = {
    .type = "Interp",
    .own = DNI_OWN(interp_param),
    DNI_INTERP_CLASS,
    .setup = setup,
    .shape = shape,
    .forward = dni_interp_forward,
    .backward = dni_interp_backward,
};
