/* SPDX-License-Identifier: BSD-2-Clause
 * DeformableConvolution (Dai et al.): a convolution whose taps lie where bottom 1 moves them,
 *   y[p, q] = sum over taps (j, i) of W[j, i] x[p stride - pad + j dilation + dy, ... + dx],
 * x between four pixels linearly; 0 where that lies outside. deformable_convolution_param:
 * that of Convolution, in 2 dimensions, and deformable_group (1): so many parts of the channels
 * are moved each by itself. bottoms: (N, C, H, W), (N, deformable_group kernel_h kernel_w 2, P,
 * Q), a dy before each dx; top: (N, num_output, P, Q); weights: as Convolution's.
 * Gradient: of the two linear functions, as FlowWarp's; an offset that is NaN makes NaN. The
 * fork asks for offsets of the bottom's size, and reads them as if they were of the top's; here
 * they are. What the taps see is a table of columns, sampled as (N deformable_group) images; of
 * it y is a convolution of 1x1.
 */
#include "layers/convolution.h"
#include "layers/sampler.h"
#include "layers/values.h"

typedef struct state {
    dni_convolution conv; /* first: its setup is Convolution's */
    dn_args_conv columns_args;
    dni_sampler sampler;
    int64_t taps;
    dni_shape columns; /* (N, C taps, P, Q) */
    void *grid[2];     /* (taps, P Q): rows plus 1, columns plus 1, unmoved */
    dni_tensor seen;   /* while lowering: the columns */
} state;

static void teardown(dni_layer *layer)
{
    state *s = layer->state;
    for (int d = 0; d < 2; d++) {
        dni_free(s->grid[d]);
        s->grid[d] = NULL;
    }
}

static dn_status make_grid(const dni_layer *layer, state *s, int d)
{
    const dn_args_conv *a = &s->conv.window.args;
    int64_t P = s->columns.dim[2], Q = s->columns.dim[3], S = a->kernel[1];
    s->grid[d] = dni_alloc(layer->heap, (size_t)(s->taps * P * Q), sizeof(double));
    if (!s->grid[d])
        return DN_E_NOMEM;
    for (int64_t i = 0; i < s->taps * P * Q; i++) {
        int64_t tap = i / (P * Q), at = d ? i % Q : i / Q % P, k = d ? tap % S : tap / S;
        dni_put(s->grid[d], layer->dtype, i,
                (double)(at * a->stride[d] - a->pad[d] + k * a->dilation[d] + 1));
    }
    return DN_OK;
}

static dn_status shape(dni_layer *layer)
{
    state *s = layer->state;
    const dni_shape *x = &layer->bottom[0], *moved = &layer->bottom[1];
    dn_status st = dni_convolution_shape_top(layer);
    if (st)
        return st;
    const dn_args_conv *a = &s->conv.window.args;
    const Cnn__ConvolutionParameter *p = layer->own;
    int64_t C = s->conv.C, parts = p->deformable_group;
    DNI_REQUIRE(a->spatial == 2 && s->conv.window.axis == 1 && !s->conv.window.bordered,
                DN_E_UNSUPPORTED, "a deformable convolution has 2 axes, padded alike");
    DNI_REQUIRE(C > 0 && parts > 0 && C % parts == 0, DN_E_NET,
                "deformable_group %lld does not divide the %lld channels", (long long)parts,
                (long long)C);
    int64_t P = layer->top[0].dim[2], Q = layer->top[0].dim[3];
    s->taps = a->kernel[0] * a->kernel[1];
    DNI_REQUIRE(moved->axes == 4 && moved->dim[0] == x->dim[0] && moved->dim[2] == P &&
                    moved->dim[3] == Q && moved->dim[1] % (2 * s->taps) == 0 &&
                    moved->dim[1] / (2 * s->taps) == parts,
                DN_E_SHAPE, "bottom 1 must have 2 numbers for each tap and place of the top");
    DNI_REQUIRE((x->dim[2] + 3.0) * ((double)x->dim[3] + 3) <= 0x1p24, DN_E_SHAPE,
                "a plane of bottom 0 is too large");
    dni_shape all = dni_shape_of(4, (int64_t[]){C, s->taps, P, Q});
    st = dni_shape_check(&all);
    s->columns = dni_shape_of(4, (int64_t[]){x->dim[0], C * s->taps, P, Q});
    if (!st)
        st = dni_shape_check(&s->columns);
    s->columns_args = (dn_args_conv){.spatial = 2,
                                     .kernel = {1, 1},
                                     .stride = {1, 1},
                                     .dilation = {1, 1},
                                     .group = a->group};
    s->sampler = (dni_sampler){.N = x->dim[0] * parts,
                               .C = C / parts,
                               .H = x->dim[2],
                               .W = x->dim[3],
                               .P = s->taps * P,
                               .Q = Q,
                               .inside = true};
    teardown(layer);
    for (int d = 0; !st && !layer->wire_only && d < 2; d++)
        st = make_grid(layer, s, d);
    return st;
}

/* Between bottom 1 and what it says of axis d. */
static void plane(const state *s, dni_builder *b, int d, bool back, dni_tensor x, dni_tensor y)
{
    int64_t n = s->columns.dim[2] * s->columns.dim[3], one = s->taps * n;
    dn_args_copy a = {.axes = 3,
                      .dim = {s->sampler.N, s->taps, n},
                      .x_stride = {one << !back, n << !back, 1},
                      .y_stride = {one << back, n << back, 1},
                      .x_offset = back ? 0 : d * n,
                      .y_offset = back ? d * n : 0,
                      .alpha = 1};
    dni_emit(b, DN_OP_COPY, &a, DNI_TENSORS(x), DNI_TENSORS(y));
}

static void forward(dni_layer *layer, dni_builder *b)
{
    state *s = layer->state;
    dni_sampler *at = &s->sampler;
    const int64_t n = at->P * at->Q;
    for (int d = 0; d < 2; d++) {
        dni_tensor grid = dni_constant(b, b->dtype, n, s->grid[d]);
        at->at[d] = dni_temp(b, b->dtype, 2, (int64_t[]){at->N, n});
        plane(s, b, d, false, b->x[1], at->at[d]);
        dni_emit_bcast(b, DN_BCAST_ADD, at->N, n, 1, at->at[d], grid, at->at[d]);
    }
    s->seen = dni_temp(b, b->dtype, 4, s->columns.dim);
    dni_sampler_forward(at, b, b->x[0], s->seen);
    dni_emit(b, DN_OP_CONV, &s->columns_args,
             DNI_TENSORS(s->seen, b->w[0], b->num_w > 1 ? b->w[1] : DNI_NONE),
             DNI_TENSORS(b->y[0]));
}

static void backward(dni_layer *layer, dni_builder *b)
{
    const state *s = layer->state;
    bool moves = b->dx[1] != DNI_NONE;
    dni_convolution_backward_weights(&s->conv, &s->columns_args, b, s->seen, b->dy[0]);
    if (!moves && b->dx[0] == DNI_NONE)
        return;
    dni_tensor dat[2], both = moves ? dni_temp_like(b, b->x[1]) : DNI_NONE;
    dni_tensor columns = dni_temp_like(b, s->seen);
    dni_emit(b, DN_OP_CONV_BWD_DATA, &s->columns_args, DNI_TENSORS(b->dy[0], b->w[0], DNI_NONE),
             DNI_TENSORS(columns));
    dni_sampler_backward(&s->sampler, b, columns, b->dx[0], moves ? dat : NULL);
    for (int d = 0; moves && d < 2; d++)
        plane(s, b, d, true, dat[d], both);
    if (moves)
        dni_emit_copy(b, both, b->dx[1]);
}

const dni_layer_class dni_layer_deformable_convolution = {
    .type = "DeformableConvolution",
    .own = DNI_OWN(deformable_convolution_param),
    .bottoms_min = 2,
    .bottoms_max = 2,
    .tops_min = 1,
    .tops_max = 1,
    .state_size = sizeof(state),
    .setup = dni_convolution_setup,
    .shape = shape,
    .teardown = teardown,
    .forward = forward,
    .backward = backward,
};
