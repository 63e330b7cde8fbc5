/* SPDX-License-Identifier: BSD-2-Clause
 * Local: a convolution whose weights differ from place to place:
 * y[m, p] = sum over k of W[m, k, p] x[k under p] + b[m, p].
 * local_param: num_output and kernel_size (required), stride (1), pad (0), bias_term (true),
 * weight_filler, bias_filler. bottom: (N, C, H, W); top: (N, num_output, P, Q), places p;
 * weights: W (num_output, 1, C kernel_size^2, P Q), b (1, 1, num_output, P Q).
 * Gradient: dW = sum over items of dy x; db = sum of dy; dx = the sum of W dy that read it. */
#include "layers/window.h"

typedef struct local_state {
    dni_window window;
    int64_t N, M, K, P; /* items, outputs, values under the kernel, places */
    bool bias;
    dni_tensor col; /* (N, K, P), while lowering */
} local_state;

static dn_status shape(dni_layer *layer)
{
    local_state *s = layer->state;
    const dni_shape *x = &layer->bottom[0];
    dn_status st = dni_need_axes(layer, 0, 4, false);
    if (st)
        return st;
    s->N = x->dim[0];
    dni_shape y = dni_shape_of(4, (int64_t[]){s->N, s->M, 0, 0});
    st = dni_window_out(&s->window, x, 0, &y.dim[2]);
    if (!st)
        st = dni_window_out(&s->window, x, 1, &y.dim[3]);
    if (st)
        return st;
    int64_t area = s->window.args.kernel[0] * s->window.args.kernel[1];
    DNI_REQUIRE(dni_mul64(x->dim[1], area, &s->K) && dni_mul64(y.dim[2], y.dim[3], &s->P),
                DN_E_SHAPE, "the kernel is too large");
    const int64_t *w = layer->weight[0].shape.dim;
    DNI_REQUIRE(!layer->num_weights || (w[2] == s->K && w[3] == s->P), DN_E_SHAPE,
                "bottom has %lld values under the kernel at %lld places, the weights are for "
                "%lld at %lld",
                (long long)s->K, (long long)s->P, (long long)w[2], (long long)w[3]);
    layer->top[0] = y;
    return DN_OK;
}

static dn_status setup(dni_layer *layer)
{
    const Cnn__LocalParameter *p = layer->param->local_param;
    local_state *s = layer->state;
    dn_args_conv *a = &s->window.args;
    DNI_REQUIRE(p && p->num_output > 0 && p->kernel_size > 0, DN_E_NET,
                "local_param needs num_output and kernel_size");
    DNI_REQUIRE(p->stride > 0, DN_E_NET, "stride is 0");
    DNI_REQUIRE(p->kernel_size <= INT16_MAX && p->pad <= INT16_MAX && p->stride <= INT32_MAX,
                DN_E_SHAPE, "the kernel, its stride or its pad is too large");
    s->window.axis = 1;
    a->spatial = 2;
    a->group = 1;
    for (int i = 0; i < 2; i++) {
        a->kernel[i] = p->kernel_size;
        a->stride[i] = p->stride;
        a->pad[i] = p->pad;
        a->dilation[i] = 1;
    }
    s->M = p->num_output;
    s->bias = p->bias_term;
    dn_status st = shape(layer);
    if (st)
        return st;
    dni_shape w = dni_shape_of(4, (int64_t[]){s->M, 1, s->K, s->P});
    dni_shape b = dni_shape_of(4, (int64_t[]){1, 1, s->M, s->P});
    st = dni_declare_weight(layer, &w, p->weight_filler);
    return st || !s->bias ? st : dni_declare_weight(layer, &b, p->bias_filler);
}

/* y = sums of a c, which lie as (n, m, k, p) with these strides. */
static void emit_sums(const local_state *s, dni_builder *b, dni_tensor a,
                      const int64_t stride_a[4], dni_tensor c, const int64_t stride_c[4],
                      dni_tensor y, const int64_t stride_y[4])
{
    dn_args_reduce r = {
        .op = DN_REDUCE_DOT, .axes = 4, .dim = {s->N, s->M, s->K, s->P}, .alpha = 1};
    for (int i = 0; i < 4; i++) {
        r.x_stride[i] = stride_a[i];
        r.x2_stride[i] = stride_c[i];
        r.y_stride[i] = stride_y[i];
    }
    dni_emit(b, DN_OP_REDUCE, &r, DNI_TENSORS(a, c), DNI_TENSORS(y));
}

#define OF_W(s)   ((const int64_t[]){0, (s)->K * (s)->P, (s)->P, 1})
#define OF_COL(s) ((const int64_t[]){(s)->K * (s)->P, 0, (s)->P, 1})
#define OF_Y(s)   ((const int64_t[]){(s)->M * (s)->P, (s)->P, 0, 1})

static void forward(dni_layer *layer, dni_builder *b)
{
    local_state *s = layer->state;
    const dni_shape *y = &layer->top[0];
    s->col = dni_temp(b, b->dtype, 4, (int64_t[]){s->N, s->K, y->dim[2], y->dim[3]});
    dni_emit(b, DN_OP_IM2COL, &s->window.args, DNI_TENSORS(b->x[0]), DNI_TENSORS(s->col));
    emit_sums(s, b, b->w[0], OF_W(s), s->col, OF_COL(s), b->y[0], OF_Y(s));
    if (s->bias)
        dni_emit_bcast(b, DN_BCAST_ADD, s->N, s->M * s->P, 1, b->y[0], b->w[1], b->y[0]);
}

static void backward(dni_layer *layer, dni_builder *b)
{
    const local_state *s = layer->state;
    emit_sums(s, b, b->dy[0], OF_Y(s), s->col, OF_COL(s), b->dw[0], OF_W(s));
    if (s->bias)
        dni_emit_reduce_mid(b, s->N, s->M * s->P, 1, 1, b->dy[0], DNI_NONE, b->dw[1]);
    if (b->dx[0] == DNI_NONE)
        return;
    dni_tensor dcol = dni_temp_like(b, s->col);
    emit_sums(s, b, b->w[0], OF_W(s), b->dy[0], OF_Y(s), dcol, OF_COL(s));
    dni_emit(b, DN_OP_COL2IM, &s->window.args, DNI_TENSORS(dcol), DNI_TENSORS(b->dx[0]));
}

const dni_layer_class dni_layer_local = {
    .type = "Local",
    .bottoms_min = 1,
    .bottoms_max = 1,
    .tops_min = 1,
    .tops_max = 1,
    .state_size = sizeof(local_state),
    .setup = setup,
    .shape = shape,
    .forward = forward,
    .backward = backward,
};
