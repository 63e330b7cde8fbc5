/* SPDX-License-Identifier: BSD-2-Clause
 * BatchReindex: y[i] = x[index[i]]: items picked from a batch, in any order, some more than
 * once.
 * No parameters. bottoms: x (N, ...), index (M), whole numbers in [0, N); top: (M, ...).
 * Gradient: dx[n] = sum of dy[i] over index[i] = n; none to index. */
#include "layers/layer.h"

static dn_status shape(dni_layer *layer)
{
    const dni_shape *x = &layer->bottom[0], *index = &layer->bottom[1];
    DNI_REQUIRE(x->axes >= 1, DN_E_SHAPE, "bottom 0 has no axis to pick items from");
    DNI_REQUIRE(index->axes == 1, DN_E_SHAPE, "bottom 1 has %d axes, the indices need 1",
                index->axes);
    layer->top[0] = *x;
    layer->top[0].dim[0] = index->dim[0];
    return DN_OK;
}

static dn_args_gather rows(const dni_layer *layer)
{
    const dni_shape *x = &layer->bottom[0];
    return (dn_args_gather){.count = layer->bottom[1].dim[0],
                            .cols = dni_shape_range(x, 1, x->axes),
                            .limit = x->dim[0]};
}

static void forward(dni_layer *layer, dni_builder *b)
{
    dn_args_gather args = rows(layer);
    dni_emit(b, DN_OP_GATHER, &args, DNI_TENSORS(b->x[0], b->x[1]), DNI_TENSORS(b->y[0]));
}

static void backward(dni_layer *layer, dni_builder *b)
{
    dn_args_gather args = rows(layer);
    dni_emit(b, DN_OP_SCATTER_ADD, &args, DNI_TENSORS(b->dy[0], b->x[1]),
             DNI_TENSORS(b->dx[0]));
}

const dni_layer_class dni_layer_batch_reindex = {
    .type = "BatchReindex",
    .bottoms_min = 2,
    .bottoms_max = 2,
    .tops_min = 1,
    .tops_max = 1,
    .no_gradient = 1u << 1,
    .shape = shape,
    .forward = forward,
    .backward = backward,
};
