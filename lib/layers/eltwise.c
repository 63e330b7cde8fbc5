/* SPDX-License-Identifier: BSD-2-Clause
 * Eltwise: y = sum of coeff_i x_i, product of x_i, or largest x_i, element by element.
 * eltwise_param: operation (SUM; PROD, MAX), coeff (SUM: one for each bottom; none: all 1; MAX
 * has no use for them), stable_prod_grad (true: the product of the others; false: y / x_i,
 * undefined at 0).
 * bottoms: any number of one shape (Caffe: not one alone, FlowNet's fork does); top: the same.
 * Gradient: coeff_i dy; dy times the other factors; dy to the largest, a tie to one alone. */
#include "layers/layer.h"

/* An op takes DN_MAX_COEFF inputs; more bottoms make a chain of ops that carries y along. */
#define CHUNK (DN_MAX_COEFF - 1)

typedef struct eltwise_state {
    int32_t op;
    bool stable;
    dni_tensor *mask; /* MAX, while lowering: one for each op of the chain */
} eltwise_state;

static dn_status setup(dni_layer *layer)
{
    const Cnn__EltwiseParameter *p = layer->own;
    eltwise_state *s = layer->state;
    switch (p->operation) {
    case CNN__ELTWISE_PARAMETER__ELTWISE_OP__SUM:
        s->op = DN_ELTWISE_SUM;
        break;
    case CNN__ELTWISE_PARAMETER__ELTWISE_OP__PROD:
        s->op = DN_ELTWISE_PROD;
        break;
    case CNN__ELTWISE_PARAMETER__ELTWISE_OP__MAX:
        s->op = DN_ELTWISE_MAX;
        break;
    default:
        return dni_fail(DN_E_UNSUPPORTED, "this eltwise operation is not supported");
    }
    s->stable = p->stable_prod_grad;
    DNI_REQUIRE(p->n_coeff == 0 || s->op != DN_ELTWISE_PROD, DN_E_NET,
                "coeff goes with operation SUM, not PROD");
    DNI_REQUIRE(p->n_coeff == 0 || p->n_coeff == (size_t)layer->num_bottoms, DN_E_NET,
                "%zu coeff for %d bottoms; give one for each or none", p->n_coeff,
                layer->num_bottoms);
    DNI_REQUIRE(!p->coeff_blob, DN_E_UNSUPPORTED, "coeff_blob is not supported");
    if (layer->num_bottoms == 1) /* the gradient of a product of one has no other factors */
        s->op = DN_ELTWISE_SUM;
    s->mask = dni_alloc(layer->heap, (size_t)layer->num_bottoms, sizeof *s->mask);
    return s->mask ? DN_OK : DN_E_NOMEM;
}

static void teardown(dni_layer *layer)
{
    eltwise_state *s = layer->state;
    dni_free(s->mask);
}

static dn_status shape(dni_layer *layer)
{
    char here[96], first[96];
    for (int32_t i = 1; i < layer->num_bottoms; i++)
        DNI_REQUIRE(dni_shape_equal(&layer->bottom[i], &layer->bottom[0]), DN_E_SHAPE,
                    "bottom %d is %s, bottom 0 is %s", i,
                    dni_shape_text(&layer->bottom[i], here, sizeof here),
                    dni_shape_text(&layer->bottom[0], first, sizeof first));
    return dni_shape_like_bottom(layer);
}

static double coeff(const dni_layer *layer, int32_t i)
{
    const Cnn__EltwiseParameter *p = layer->own;
    const eltwise_state *s = layer->state;
    return p->n_coeff && s->op == DN_ELTWISE_SUM ? p->coeff[i] : 1;
}

/* Largest i + count <= n, count at most a chunk. */
static int32_t chunk_at(int32_t i, int32_t n)
{
    return n - i < CHUNK ? n - i : CHUNK;
}

static void forward_sum(dni_layer *layer, dni_builder *b)
{
    for (int32_t i = 0; i < b->num_x; i += CHUNK) {
        int32_t count = chunk_at(i, b->num_x);
        dn_args_eltwise a = {.base.accumulate = i > 0, .op = DN_ELTWISE_SUM};
        for (int32_t k = 0; k < count; k++)
            a.coeff[k] = coeff(layer, i + k);
        dni_emit_arrays(b, DN_OP_ELTWISE, &a, count, b->x + i, 1, b->y);
    }
}

/* y = product of n factors; y is none of them. */
static void product(dni_builder *b, int32_t n, const dni_tensor *x, dni_tensor y)
{
    dn_args_eltwise a = {.op = DN_ELTWISE_PROD};
    for (int32_t i = 0; i < n; i += CHUNK) {
        dni_tensor in[DN_MAX_COEFF];
        int32_t count = chunk_at(i, n);
        for (int32_t k = 0; k < count; k++)
            in[k] = x[i + k];
        if (i > 0)
            in[count++] = y;
        dni_emit_arrays(b, DN_OP_ELTWISE, &a, count, in, DNI_ARRAY(y));
    }
}

/* The maximum so far goes in as input 1, where it wins a tie with every later bottom. */
static int32_t max_inputs(const dni_builder *b, int32_t i, dni_tensor *in)
{
    int32_t count = chunk_at(i, b->num_x), n = 0;
    for (int32_t k = 0; k < count; k++) {
        in[n++] = b->x[i + k];
        if (k == 0 && i > 0)
            in[n++] = b->y[0];
    }
    return n;
}

static void forward_max(dni_layer *layer, dni_builder *b)
{
    eltwise_state *s = layer->state;
    dn_args_eltwise a = {.op = DN_ELTWISE_MAX};
    bool wanted = false;
    for (int32_t i = 0; i < b->num_x; i++)
        wanted |= layer->propagate[i];
    for (int32_t i = 0; i < b->num_x; i += CHUNK) {
        dni_tensor in[DN_MAX_COEFF], *mask = &s->mask[i / CHUNK];
        int32_t n = max_inputs(b, i, in);
        const dni_shape *top = &layer->top[0];
        *mask = wanted ? dni_temp(b, DN_I32, top->axes, top->dim) : DNI_NONE;
        dni_emit_arrays(b, DN_OP_ELTWISE, &a, n, in, DNI_ARRAY(b->y[0], *mask));
    }
}

static void forward(dni_layer *layer, dni_builder *b)
{
    const eltwise_state *s = layer->state;
    if (s->op == DN_ELTWISE_SUM)
        forward_sum(layer, b);
    else if (s->op == DN_ELTWISE_PROD)
        product(b, b->num_x, b->x, b->y[0]);
    else
        forward_max(layer, b);
}

/* y: NONE: the others are multiplied again; else it is divided by x. */
static void backward_product(dni_builder *b, int32_t i, dni_tensor y)
{
    dni_tensor rest = dni_temp_like(b, b->x[i]);
    if (y != DNI_NONE) {
        dni_emit_pair(b, DN_ELTWISE_DIV, y, b->x[i], rest);
    } else {
        product(b, i, b->x, rest);
        dni_tensor tail = i > 0 && i + 1 < b->num_x ? dni_temp_like(b, rest) : rest;
        product(b, b->num_x - i - 1, b->x + i + 1, tail);
        if (tail != rest)
            dni_emit_product(b, rest, tail, rest);
    }
    dni_emit_product(b, b->dy[0], rest, b->dx[i]);
}

/* Back along the chain: what went to input 1 is for the bottoms before. */
static void backward_max(const eltwise_state *s, dni_builder *b)
{
    dni_tensor dy = b->dy[0];
    for (int32_t i = (b->num_x - 1) / CHUNK * CHUNK; i >= 0; i -= CHUNK) {
        int32_t count = chunk_at(i, b->num_x);
        for (int32_t k = 0; k < count; k++) {
            dn_args_select a = {.index = i > 0 && k > 0 ? k + 1 : k};
            dni_emit(b, DN_OP_SELECT, &a, DNI_TENSORS(dy, s->mask[i / CHUNK]),
                     DNI_TENSORS(b->dx[i + k]));
        }
        if (i > 0) {
            dn_args_select a = {.index = 1};
            dni_tensor before = dni_temp_like(b, dy);
            dni_emit(b, DN_OP_SELECT, &a, DNI_TENSORS(dy, s->mask[i / CHUNK]),
                     DNI_TENSORS(before));
            dy = before;
        }
    }
}

static void backward(dni_layer *layer, dni_builder *b)
{
    const eltwise_state *s = layer->state;
    dni_tensor y = DNI_NONE;
    if (s->op == DN_ELTWISE_MAX)
        backward_max(s, b);
    if (s->op == DN_ELTWISE_PROD && !s->stable) { /* a layer in place may have the top */
        y = dni_temp_like(b, b->dy[0]);
        product(b, b->num_x, b->x, y);
    }
    for (int32_t i = 0; i < b->num_x && s->op != DN_ELTWISE_MAX; i++) {
        if (b->dx[i] == DNI_NONE)
            continue;
        if (s->op == DN_ELTWISE_PROD)
            backward_product(b, i, y);
        else
            dni_emit_unary(b, DN_FN_AFFINE, coeff(layer, i), 0, 0, b->dy[0], b->dx[i]);
    }
}

const dni_layer_class dni_layer_eltwise = {
    .type = "Eltwise",
    .own = DNI_OWN(eltwise_param),
    .bottoms_min = 1,
    .bottoms_max = -1,
    .tops_min = 1,
    .tops_max = 1,
    .state_size = sizeof(eltwise_state),
    .setup = setup,
    .shape = shape,
    .forward = forward,
    .backward = backward,
    .teardown = teardown,
};
