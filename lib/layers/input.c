/* SPDX-License-Identifier: BSD-2-Clause
 * Input: tops are the net's inputs, written by the host.
 * input_param: shape (one for all tops, one for each, or none where the host gives the shapes;
 * a net that is only wired takes a guess by the name).
 * No bottoms, no gradient of its own. */
#include "layers/guess.h"

static dn_status shape_from(const Cnn__BlobShape *from, const char *name, dni_shape *out)
{
    DNI_REQUIRE(from->n_dim <= DN_MAX_AXES, DN_E_SHAPE,
                "input '%s' has %zu axes, at most %d "
                "are possible",
                name, from->n_dim, DN_MAX_AXES);
    *out = dni_shape_of((int32_t)from->n_dim, from->dim);
    for (int32_t i = 0; i < out->axes; i++)
        DNI_REQUIRE(out->dim[i] >= 1, DN_E_SHAPE,
                    "input '%s': axis %d has length %lld, at "
                    "least 1 is needed",
                    name, i, (long long)out->dim[i]);
    return DN_OK;
}

static dn_status shape(dni_layer *layer)
{
    const Cnn__InputParameter *p = layer->param->input_param;
    size_t n = p ? p->n_shape : 0;
    DNI_REQUIRE(n <= 1 || n == (size_t)layer->num_tops, DN_E_NET,
                "input_param has %zu shapes for %d tops; give one for all or one for each", n,
                layer->num_tops);
    for (int32_t i = 0; i < layer->num_tops; i++) {
        dn_status st = DN_OK;
        if (n > 0)
            st = shape_from(p->shape[n == 1 ? 0 : i], layer->top_names[i], &layer->top[i]);
        else if (layer->top[i].axes == 0 && layer->wire_only)
            layer->top[i] = dni_guess_top(layer, 1, layer->top_names[i], NULL);
        else if (layer->top[i].axes == 0)
            st = dni_fail(DN_E_SHAPE,
                          "input '%s' has no shape: input_param { shape { dim: ... } }",
                          layer->top_names[i]);
        if (st)
            return st;
    }
    return DN_OK;
}

const dni_layer_class dni_layer_input = {
    .type = "Input",
    .bottoms_min = 0,
    .bottoms_max = 0,
    .tops_min = 1,
    .tops_max = -1,
    .flags = DNI_LAYER_INPUT,
    .shape = shape,
};
