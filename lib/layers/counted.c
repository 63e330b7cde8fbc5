/* SPDX-License-Identifier: BSD-2-Clause
 * counted.c: see counted.h. */
#include "layers/counted.h"

#include "core/mirror.h"
#include "layers/values.h"

static int64_t tell(const dni_layer *layer)
{
    return ((const dni_counted *)layer->state)->forwards;
}

static dn_status seek(dni_layer *layer, int64_t position)
{
    DNI_REQUIRE(position >= 0 && position < INT64_MAX / 2, DN_E_DATA, "%lld forwards",
                (long long)position);
    ((dni_counted *)layer->state)->forwards = position;
    return DN_OK;
}

static void begin(dni_layer *layer)
{
    dni_counted *c = layer->state;
    dni_put(&c->now, layer->dtype, 0, c->number(layer, c->forwards++));
    dni_mirror_wrote(layer->context, &c->now);
}

static const dni_layer_cursor cursor = {tell, seek, begin};

void dni_count_forwards(dni_layer *layer, int64_t forwards,
                        double (*number)(const dni_layer *layer, int64_t forwards))
{
    dni_counted *c = layer->state;
    c->forwards = forwards;
    c->number = number;
    layer->cursor = &cursor;
}

dni_tensor dni_emit_counted(dni_layer *layer, dni_builder *b)
{
    dni_tensor number = dni_constant(b, b->dtype, 1, &((dni_counted *)layer->state)->now);
    if (b->num_y > 1)
        dni_emit_copy(b, number, b->y[1]);
    return number;
}
