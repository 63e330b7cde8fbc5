/* SPDX-License-Identifier: BSD-2-Clause
 * FlowWarp (FlowNet 2): the top's pixel (i, j) is bottom 0 at row i + f1, column j + f0,
 * between four pixels linearly, f the flow there; 0 where that lies outside. flow_warp_param:
 * fill_value (ZERO; NOT_A_NUMBER is refused). bottoms: (N, C, H, W), flow (N, 2, H, W); top:
 * (N, C, H, W). Gradient: of the two linear functions, on a pixel that to the right and below.
 * A flow that is NaN gives NaN, where the fork gives 0; less than a rounding outside is inside.
 */
#include "layers/sampler.h"
#include "layers/values.h"

typedef struct warp_state {
    dni_sampler sampler;
    void *grid[2]; /* (H, W): rows plus 1, columns plus 1 */
} warp_state;

static void teardown(dni_layer *layer)
{
    warp_state *s = layer->state;
    for (int d = 0; d < 2; d++) {
        dni_free(s->grid[d]);
        s->grid[d] = NULL;
    }
}

static dn_status shape(dni_layer *layer)
{
    const Cnn__FlowWarpParameter *p = layer->own;
    const dni_shape *x = &layer->bottom[0], *flow = &layer->bottom[1];
    warp_state *s = layer->state;
    DNI_REQUIRE(p->fill_value == CNN__FLOW_WARP_PARAMETER__FILL_PARAMETER__ZERO,
                DN_E_UNSUPPORTED, "fill_value NOT_A_NUMBER is not supported");
    DNI_REQUIRE(x->axes == 4 && flow->axes == 4 && flow->dim[0] == x->dim[0] &&
                    flow->dim[1] == 2 && flow->dim[2] == x->dim[2] && flow->dim[3] == x->dim[3],
                DN_E_SHAPE, "bottom 1 must have 2 numbers for each pixel of bottom 0");
    const int64_t H = x->dim[2], W = x->dim[3];
    DNI_REQUIRE(H > 0 && W > 0 && (H + 3.0) * ((double)W + 3) <= 0x1p24, DN_E_SHAPE,
                "a plane of bottom 0 is empty or too large");
    s->sampler = (dni_sampler){
        .N = x->dim[0], .C = x->dim[1], .H = H, .W = W, .P = H, .Q = W, .inside = true};
    teardown(layer);
    for (int d = 0; !layer->wire_only && d < 2; d++) {
        s->grid[d] = dni_alloc(layer->heap, (size_t)(H * W), sizeof(double));
        if (!s->grid[d])
            return DN_E_NOMEM;
        for (int64_t i = 0; i < H * W; i++)
            dni_put(s->grid[d], layer->dtype, i, (double)(d ? i % W : i / W) + 1);
    }
    return dni_shape_like_bottom(layer);
}

/* Between the flow and its plane of axis d. */
static void plane(const dni_sampler *s, dni_builder *b, int d, bool back, dni_tensor x,
                  dni_tensor y)
{
    const int64_t n = s->H * s->W;
    int64_t wide = 2 * n, at = (1 - d) * n;
    dni_emit_rows(b, s->N, n, back ? n : wide, back ? 0 : at, back ? wide : n, back ? at : 0, x,
                  y);
}

static void forward(dni_layer *layer, dni_builder *b)
{
    warp_state *state = layer->state;
    dni_sampler *s = &state->sampler;
    const int64_t n = s->H * s->W;
    for (int d = 0; d < 2; d++) {
        dni_tensor grid = dni_constant(b, b->dtype, n, state->grid[d]);
        s->at[d] = dni_temp(b, b->dtype, 2, (int64_t[]){s->N, n});
        plane(s, b, d, false, b->x[1], s->at[d]);
        dni_emit_bcast(b, DN_BCAST_ADD, s->N, n, 1, s->at[d], grid, s->at[d]);
    }
    dni_sampler_forward(s, b, b->x[0], b->y[0]);
}

static void backward(dni_layer *layer, dni_builder *b)
{
    const dni_sampler *s = &((warp_state *)layer->state)->sampler;
    bool flow = b->dx[1] != DNI_NONE;
    dni_tensor dat[2], both = flow ? dni_temp_like(b, b->x[1]) : DNI_NONE;
    dni_sampler_backward(s, b, b->dy[0], b->dx[0], flow ? dat : NULL);
    for (int d = 0; flow && d < 2; d++)
        plane(s, b, d, true, dat[d], both);
    if (flow)
        dni_emit_copy(b, both, b->dx[1]);
}

const dni_layer_class dni_layer_flow_warp = {
    .type = "FlowWarp",
    .own = DNI_OWN(flow_warp_param),
    .bottoms_min = 2,
    .bottoms_max = 2,
    .tops_min = 1,
    .tops_max = 1,
    .state_size = sizeof(warp_state),
    .shape = shape,
    .teardown = teardown,
    .forward = forward,
    .backward = backward,
};
