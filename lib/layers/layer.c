/* SPDX-License-Identifier: BSD-2-Clause
 * layer.c: what layer files share: finding a class by its type, declaring weights, axes and the
 * commonest shape rule. */
#include "layers/layer.h"

#include <string.h>

#define MAX_CLASSES 512

static bool same_letter(char a, char b)
{
    return (a | 0x20) == (b | 0x20);
}

/* Of a short name every letter tells: GELU is no misspelt SeLu. Those of a slip are the same,
 * in another order or case; longer names begin alike ("PSROIAlign" is not "ROIAlign"). */
static bool is_meant(const char *type, const char *nearest)
{
    size_t length = strlen(type);
    if (!dni_is_slip(type, nearest) || !same_letter(type[0], nearest[0]))
        return false;
    for (size_t i = 0; length < 6 && i < length; i++) {
        int more = 0;
        for (size_t k = 0; type[k] && nearest[k]; k++)
            more += same_letter(type[k], type[i]) - same_letter(nearest[k], type[i]);
        if (more || strlen(nearest) != length)
            return false;
    }
    return true;
}

const dni_layer_class *dni_layer_class_find(const char *type, const char **nearest)
{
    const char *names[MAX_CLASSES];
    size_t count = 0;
    for (const dni_layer_class *const *c = dni_layer_classes; *c && count < MAX_CLASSES; c++) {
        if (!strcmp((*c)->type, type))
            return *c;
        names[count++] = (*c)->type;
    }
    if (!nearest)
        return NULL;
    *nearest = dni_nearest(type, names, count);
    if (*nearest && !is_meant(type, *nearest))
        *nearest = NULL;
    return NULL;
}

dn_status dni_declare_weight(dni_layer *layer, const dni_shape *shape,
                             const Cnn__FillerParameter *filler)
{
    dn_status st = dni_shape_check(shape);
    DNI_REQUIRE(layer->num_weights < DNI_MAX_WEIGHTS, DN_E_INTERNAL,
                "more than %d weights in one layer", DNI_MAX_WEIGHTS);
    if (st)
        return dni_in(st, "weight %d", layer->num_weights);
    layer->weight[layer->num_weights++] = (dni_weight){.shape = *shape, .filler = filler};
    return DN_OK;
}

dn_status dni_layer_axis(const dni_layer *layer, int32_t bottom, int64_t axis,
                         const char *field, int32_t *out)
{
    return dni_in(dni_shape_axis(&layer->bottom[bottom], axis, out), "%s", field);
}

dn_status dni_need_axes(const dni_layer *layer, int32_t bottom, int32_t axes, bool more)
{
    int32_t have = layer->bottom[bottom].axes;
    DNI_REQUIRE(have == axes || (more && have > axes), DN_E_SHAPE,
                more ? "bottom %d has %d axes, %d are needed" : "bottom %d has %d axes, not %d",
                bottom, have, axes);
    return DN_OK;
}

dn_status dni_same_counts(const dni_layer *layer)
{
    long long count = dni_shape_count(&layer->bottom[0]);
    for (int32_t i = 1; i < layer->num_bottoms; i++) {
        long long have = dni_shape_count(&layer->bottom[i]);
        DNI_REQUIRE(have == count, DN_E_SHAPE, "bottom %d has %lld values, bottom 0 has %lld",
                    i, have, count);
    }
    return DN_OK;
}

dn_status dni_shape_like_bottom(dni_layer *layer)
{
    for (int32_t i = 0; i < layer->num_tops; i++)
        layer->top[i] = layer->bottom[0];
    return DN_OK;
}

void dni_copy_forward(dni_layer *layer, dni_builder *b)
{
    (void)layer;
    dni_emit_copy(b, b->x[0], b->y[0]);
}

void dni_copy_backward(dni_layer *layer, dni_builder *b)
{
    (void)layer;
    dni_emit_copy(b, b->dy[0], b->dx[0]);
}

dn_status dni_dynamic_count(dni_layer *layer, int32_t axis, int64_t count)
{
    dn_status st = DN_OK;
    for (int32_t i = 0; !st && i < layer->num_tops; i++) {
        dni_shape y = layer->top[i];
        y.dim[axis] = count;
        st = dni_dynamic_shape(layer, i, &y);
    }
    return st;
}
