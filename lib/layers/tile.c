/* SPDX-License-Identifier: BSD-2-Clause
 * Tile: y = x repeated `tiles` times along an axis.
 * tile_param: axis (1), tiles (required). bottom: (..., D, ...); top: (..., tiles D, ...).
 * Gradient: dx = sum of the tiles of dy. */
#include "layers/layer.h"

typedef struct tile_state {
    int64_t outer, tiles, inner; /* y: (outer, tiles, inner), x: (outer, inner) */
} tile_state;

static dn_status shape(dni_layer *layer)
{
    const Cnn__TileParameter *p = layer->param->tile_param;
    tile_state *s = layer->state;
    int32_t axis;
    DNI_REQUIRE(p && p->tiles > 0, DN_E_NET, "tile_param needs tiles > 0");
    dn_status st = dni_layer_axis(layer, 0, p->axis, "tile_param.axis", &axis);
    if (st)
        return st;
    const dni_shape *x = &layer->bottom[0];
    s->outer = dni_shape_range(x, 0, axis);
    s->inner = dni_shape_range(x, axis, x->axes);
    s->tiles = p->tiles;
    layer->top[0] = *x;
    DNI_REQUIRE(dni_mul64(x->dim[axis], s->tiles, &layer->top[0].dim[axis]), DN_E_SHAPE,
                "%lld times %lld is too large", (long long)x->dim[axis], (long long)s->tiles);
    return DN_OK;
}

static void forward(dni_layer *layer, dni_builder *b)
{
    const tile_state *s = layer->state;
    dni_emit_spread(b, s->outer, s->tiles, s->inner, 1, b->x[0], b->y[0]);
}

static void backward(dni_layer *layer, dni_builder *b)
{
    const tile_state *s = layer->state;
    dni_emit_reduce(b, DN_REDUCE_SUM, s->outer, s->tiles, s->inner, 1, b->dy[0], DNI_NONE,
                    b->dx[0]);
}

const dni_layer_class dni_layer_tile = {
    .type = "Tile",
    .bottoms_min = 1,
    .bottoms_max = 1,
    .tops_min = 1,
    .tops_max = 1,
    .state_size = sizeof(tile_state),
    .shape = shape,
    .forward = forward,
    .backward = backward,
};
