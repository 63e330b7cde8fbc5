/* SPDX-License-Identifier: BSD-2-Clause
 * recurrent.c: lowering shared by LSTM and RNN. All products that do not depend on the step
 * before are one GEMM over all steps; only what recurs is unrolled. */
#include "layers/recurrent.h"

#include <string.h>

/* ---- set-up and shapes ------------------------------------------------------------------ */

dn_status dni_recurrent_weight(dni_layer *layer, int64_t rows, int64_t cols)
{
    dni_shape w = dni_shape_of(2, (int64_t[]){rows, cols});
    return dni_declare_weight(layer, &w, layer->param->recurrent_param->weight_filler);
}

dn_status dni_recurrent_bias(dni_layer *layer, int64_t count)
{
    dni_shape b = dni_shape_of(1, &count);
    return dni_declare_weight(layer, &b, layer->param->recurrent_param->bias_filler);
}

static dn_status read_operands(dni_layer *layer, dni_recurrent *r)
{
    const Cnn__RecurrentParameter *p = layer->param->recurrent_param;
    DNI_REQUIRE(p && p->num_output > 0, DN_E_NET, "recurrent_param needs num_output > 0");
    r->D = p->num_output;
    r->expose = p->expose_hidden;
    int32_t exposed = r->expose ? r->states : 0, least = 2 + exposed;
    DNI_REQUIRE(layer->num_bottoms == least || layer->num_bottoms == least + 1, DN_E_NET,
                "%s takes %d bottoms, or %d with a static input; the prototxt gives %d",
                layer->cls->type, least, least + 1, layer->num_bottoms);
    DNI_REQUIRE(layer->num_tops == 1 + exposed, DN_E_NET, "%s has %d tops here, not %d",
                layer->cls->type, 1 + exposed, layer->num_tops);
    r->has_static = layer->num_bottoms > least;
    return DN_OK;
}

static dn_status read_sizes(dni_layer *layer, dni_recurrent *r)
{
    const dni_shape *x = &layer->bottom[0];
    DNI_REQUIRE(x->axes >= 2, DN_E_SHAPE, "bottom 0 has %d axes, (T, N, ...) is needed",
                x->axes);
    r->T = x->dim[0];
    r->N = x->dim[1];
    r->I = dni_shape_range(x, 2, x->axes);
    DNI_REQUIRE(r->T > 0, DN_E_SHAPE, "bottom 0 has no time steps");
    r->S = 0;
    if (r->has_static) {
        const dni_shape *s = &layer->bottom[2];
        DNI_REQUIRE(s->axes >= 1 && s->dim[0] == r->N, DN_E_SHAPE,
                    "bottom 2, the static input, has %lld items for %lld sequences",
                    (long long)(s->axes ? s->dim[0] : 0), (long long)r->N);
        r->S = dni_shape_range(s, 1, s->axes);
    }
    return DN_OK;
}

dn_status dni_recurrent_setup(dni_layer *layer, int32_t states, int64_t gates)
{
    dni_recurrent *r = layer->state;
    r->states = states;
    dn_status st = read_operands(layer, r);
    if (!st)
        st = read_sizes(layer, r);
    r->width = gates * r->D;
    r->bias = 1;
    r->hidden = 2 + r->has_static;
    if (!st)
        st = dni_recurrent_weight(layer, r->width, r->I);
    if (!st)
        st = dni_recurrent_bias(layer, r->width);
    if (!st && r->has_static)
        st = dni_recurrent_weight(layer, r->width, r->S);
    return st;
}

static void drop(dni_layer *layer, int32_t k)
{
    dni_free(layer->carry[k].now);
    dni_free(layer->carry[k].was);
    layer->carry[k] = (dni_carry){0};
}

dn_status dni_recurrent_carry(dni_layer *layer)
{
    dni_recurrent *r = layer->state;
    int64_t count = r->N * r->D;
    size_t bytes = (size_t)count * dni_dtype_size(layer->dtype);
    if (r->expose || count == r->carry_count || layer->wire_only)
        return DN_OK;
    r->carry_count = 0;
    for (int32_t k = 0; k < r->states; k++) {
        dni_carry *c = &layer->carry[k];
        drop(layer, k);
        *c = (dni_carry){dni_alloc(layer->heap, 1, bytes), dni_alloc(layer->heap, 1, bytes),
                         bytes};
        if (!c->now || !c->was)
            return DN_E_NOMEM;
    }
    r->carry_count = count;
    return DN_OK;
}

static dn_status check_states(const dni_layer *layer, const dni_recurrent *r)
{
    for (int32_t k = 0; r->expose && k < r->states; k++) {
        int32_t at = 2 + r->has_static + k;
        int64_t count = dni_shape_count(&layer->bottom[at]);
        DNI_REQUIRE(count == r->N * r->D, DN_E_SHAPE,
                    "bottom %d, a state, has %lld values, 1 x %lld x %lld are needed", at,
                    (long long)count, (long long)r->N, (long long)r->D);
    }
    return DN_OK;
}

dn_status dni_recurrent_steps(dni_layer *layer)
{
    enum { MOST = 65536 };
    dni_recurrent *r = layer->state;
    DNI_REQUIRE(r->T <= MOST, DN_E_LIMIT, "%lld time steps; at most %d are unrolled",
                (long long)r->T, MOST);
    return dni_grow(layer->heap, &r->steps, &r->cap_steps, (size_t)r->T, sizeof *r->steps);
}

dn_status dni_recurrent_shape(dni_layer *layer)
{
    dni_recurrent *r = layer->state;
    const dni_shape *cont = &layer->bottom[1];
    dn_status st = read_sizes(layer, r);
    if (st)
        return st;
    DNI_REQUIRE(cont->axes == 2 && cont->dim[0] == r->T && cont->dim[1] == r->N, DN_E_SHAPE,
                "bottom 1 needs the shape (%lld, %lld): one number per step and sequence",
                (long long)r->T, (long long)r->N);
    int64_t I = layer->weight[0].shape.dim[1];
    int64_t S = r->has_static ? layer->weight[2].shape.dim[1] : 0;
    DNI_REQUIRE(r->I == I && r->S == S, DN_E_SHAPE,
                "%lld inputs (%lld static), the weights were made for %lld (%lld)",
                (long long)r->I, (long long)r->S, (long long)I, (long long)S);
    layer->top[0] = dni_shape_of(3, (int64_t[]){r->T, r->N, r->D});
    for (int32_t k = 1; k < layer->num_tops; k++)
        layer->top[k] = dni_shape_of(3, (int64_t[]){1, r->N, r->D});
    st = dni_shape_check(&layer->top[0]);
    if (!st)
        st = check_states(layer, r);
    if (!st)
        st = dni_recurrent_carry(layer);
    return st ? st : dni_recurrent_steps(layer);
}

void dni_recurrent_teardown(dni_layer *layer)
{
    dni_recurrent *r = layer->state;
    for (int32_t k = 0; k < DNI_RECURRENT_STATES; k++)
        drop(layer, k);
    dni_free(r->steps);
}

/* ---- the projection --------------------------------------------------------------------- */

dni_tensor dni_step_temp(const dni_recurrent *r, dni_builder *b, int64_t cols)
{
    return dni_temp(b, b->dtype, 2, (int64_t[]){r->N, cols});
}

dni_tensor dni_all_temp(const dni_recurrent *r, dni_builder *b, int64_t cols)
{
    return dni_temp(b, b->dtype, 2, (int64_t[]){r->T * r->N, cols});
}

dni_tensor dni_recurrent_project(dni_layer *layer, dni_builder *b)
{
    const dni_recurrent *r = layer->state;
    dni_tensor proj = dni_all_temp(r, b, r->width);
    dn_args_gemm args = {.trans_b = 1,
                         .m = r->T * r->N,
                         .n = r->width,
                         .k = r->I,
                         .lda = r->I,
                         .ldb = r->I,
                         .ldc = r->width,
                         .batch = 1,
                         .alpha = 1,
                         .bias_mode = 1};
    dni_emit(b, DN_OP_GEMM, &args, DNI_TENSORS(b->x[0], b->w[0], b->w[r->bias]),
             DNI_TENSORS(proj));
    if (r->has_static) {
        dni_tensor fixed = dni_step_temp(r, b, r->width);
        dni_emit_gemm(b, false, true, r->N, r->width, r->S, 1, b->x[2], b->w[2], fixed);
        dni_emit_bcast(b, DN_BCAST_ADD, r->T, r->N * r->width, 1, proj, fixed, proj);
    }
    return proj;
}

void dni_recurrent_project_bwd(dni_layer *layer, dni_builder *b, dni_tensor dproj)
{
    const dni_recurrent *r = layer->state;
    int64_t M = r->T * r->N, W = r->width;
    dni_emit_gemm(b, true, false, W, r->I, M, 1, dproj, b->x[0], b->dw[0]);
    dni_emit_reduce_mid(b, M, W, 1, 1, dproj, DNI_NONE, b->dw[r->bias]);
    dni_emit_gemm(b, false, false, M, r->I, W, 1, dproj, b->w[0], b->dx[0]);
    if (!r->has_static)
        return;
    dni_tensor dfixed = dni_step_temp(r, b, W); /* the sum over the steps */
    dni_emit_reduce_mid(b, r->T, r->N * W, 1, 1, dproj, DNI_NONE, dfixed);
    dni_emit_gemm(b, true, false, W, r->S, r->N, 1, dfixed, b->x[2], b->dw[2]);
    dni_emit_gemm(b, false, false, r->N, r->S, W, 1, dfixed, b->w[2], b->dx[2]);
}

/* ---- states ----------------------------------------------------------------------------- */

static int32_t state_bottom(const dni_recurrent *r, int32_t k)
{
    return 2 + r->has_static + k;
}

dni_tensor dni_recurrent_begin(dni_layer *layer, dni_builder *b, int32_t k)
{
    const dni_recurrent *r = layer->state;
    if (r->expose)
        return b->x[state_bottom(r, k)];
    dni_tensor begin = dni_step_temp(r, b, r->D); /* the gradient reads it after the end */
    if (!r->carry_count) {
        dni_emit_fill(b, begin, 0);
        return begin;
    }
    dni_emit_copy(b, dni_constant(b, b->dtype, r->carry_count, layer->carry[k].now), begin);
    dni_emit_copy(b, begin, dni_constant(b, b->dtype, r->carry_count, layer->carry[k].was));
    return begin;
}

void dni_recurrent_end(dni_layer *layer, dni_builder *b, int32_t k, dni_tensor value)
{
    const dni_recurrent *r = layer->state;
    if (r->expose || r->carry_count)
        dni_emit_copy(b, value,
                      r->expose
                          ? b->y[1 + k]
                          : dni_constant(b, b->dtype, r->carry_count, layer->carry[k].now));
}

void dni_recurrent_begin_bwd(dni_layer *layer, dni_builder *b)
{
    const dni_recurrent *r = layer->state;
    for (int32_t i = state_bottom(r, 0); i < layer->num_bottoms; i++)
        if (b->dx[i] != DNI_NONE)
            dni_emit_fill(b, b->dx[i], 0);
}

/* ---- one step --------------------------------------------------------------------------- */

dni_tensor dni_step_take(const dni_recurrent *r, dni_builder *b, dni_tensor all, int64_t t,
                         int64_t cols)
{
    int64_t count = r->N * cols;
    dni_tensor step = dni_step_temp(r, b, cols);
    dni_emit_rows(b, 1, count, count, t * count, count, 0, all, step);
    return step;
}

void dni_step_put(const dni_recurrent *r, dni_builder *b, dni_tensor step, dni_tensor all,
                  int64_t t, int64_t cols)
{
    int64_t count = r->N * cols;
    dni_emit_rows(b, 1, count, count, 0, count, t * count, step, all);
}

static dn_args_gemm step_product(const dni_recurrent *r, bool forward)
{
    int64_t n = forward ? r->width : r->D, k = forward ? r->D : r->width;
    return (dn_args_gemm){.trans_b = forward,
                          .m = r->N,
                          .n = n,
                          .k = k,
                          .lda = k,
                          .ldb = r->D,
                          .ldc = n,
                          .batch = 1,
                          .alpha = 1};
}

/* cont of step t. */
static dni_tensor step_cont(const dni_recurrent *r, dni_builder *b, int64_t t)
{
    if (b->num_x > 1)
        return dni_step_take(r, b, b->x[1], t, 1);
    dni_tensor cont = dni_step_temp(r, b, 1);
    dni_emit_fill(b, cont, t > 0);
    return cont;
}

dni_tensor dni_step_input(dni_recurrent *r, dni_builder *b, int64_t t, dni_tensor proj,
                          dni_tensor h, dni_tensor w)
{
    dni_tensor h_cont = dni_step_temp(r, b, r->D);
    dni_tensor input = dni_step_take(r, b, proj, t, r->width);
    dn_args_gemm product = step_product(r, true);
    product.base.accumulate = 1;
    r->steps[t].cont = step_cont(r, b, t);
    dni_emit_bcast(b, DN_BCAST_MUL, 1, r->N, r->D, h, r->steps[t].cont, h_cont);
    dni_step_put(r, b, h_cont, r->h_cont, t, r->D);
    dni_emit(b, DN_OP_GEMM, &product, DNI_TENSORS(h_cont, w, DNI_NONE), DNI_TENSORS(input));
    return input;
}

dni_tensor dni_step_input_bwd(dni_recurrent *r, dni_builder *b, int64_t t, dni_tensor d,
                              dni_tensor w)
{
    dni_tensor dh = dni_step_temp(r, b, r->D);
    dn_args_gemm product = step_product(r, false);
    dni_emit(b, DN_OP_GEMM, &product, DNI_TENSORS(d, w, DNI_NONE), DNI_TENSORS(dh));
    dni_emit_bcast(b, DN_BCAST_MUL, 1, r->N, r->D, dh, r->steps[t].cont, dh);
    return dh;
}
