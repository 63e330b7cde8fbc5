/* SPDX-License-Identifier: BSD-2-Clause
 * yolo.c: see yolo.h. A box has one label, its best class; suppression does not look at labels.
 */
#include "layers/yolo.h"

dn_status dni_yolo_read_map(dni_layer *layer, int32_t i, int32_t anchors)
{
    dni_yolo *s = layer->state;
    const dni_shape *x = &layer->bottom[i];
    DNI_REQUIRE(anchors > 0 && anchors <= DNI_YOLO_ANCHORS, DN_E_NET, "%d anchors", anchors);
    DNI_REQUIRE(x->axes == 4, DN_E_SHAPE, "bottom %d has %d axes, not 4", i, x->axes);
    DNI_REQUIRE(x->dim[0] == layer->bottom[0].dim[0], DN_E_SHAPE,
                "bottom %d has other items than bottom 0", i);
    DNI_REQUIRE(x->dim[1] == (int64_t)anchors * (5 + s->classes), DN_E_SHAPE,
                "bottom %d has %lld channels, %d anchors of 5 + %d values need %lld", i,
                (long long)x->dim[1], anchors, s->classes,
                (long long)((int64_t)anchors * (5 + s->classes)));
    s->map[i].H = x->dim[2];
    s->map[i].W = x->dim[3];
    s->map[i].anchors = anchors;
    s->map[i].size = i ? s->map[i - 1].size + s->map[i - 1].anchors : s->size;
    return DN_OK;
}

/* Before the first run: as many boxes as there may be. */
dn_status dni_yolo_shape(dni_layer *layer)
{
    dni_yolo *s = layer->state;
    int64_t limit = 0;
    for (int32_t i = 0; i < s->num_maps; i++)
        limit += s->map[i].anchors * s->map[i].H * s->map[i].W;
    layer->top[0] = dni_shape_of(4, (int64_t[]){1, 1, layer->bottom[0].dim[0] * limit, 7});
    return dni_shape_check(&layer->top[0]);
}

void dni_yolo_forward(dni_layer *layer, dni_builder *b)
{
    dni_yolo *s = layer->state;
    dn_args_detect args = {.method = DN_DETECT_YOLO,
                           .flags = s->softmax ? DN_DETECT_SOFTMAX : 0,
                           .classes = s->classes,
                           .before = -1,
                           .after = -1,
                           .keep = -1,
                           .threshold = s->threshold,
                           .nms = s->nms,
                           .eta = 1};
    int64_t anchors = 0, limit = 0;
    dni_tensor in[1 + DNI_YOLO_MAPS];
    for (int32_t i = 0; i < s->num_maps; i++) {
        anchors += s->map[i].anchors;
        limit += s->map[i].anchors * s->map[i].H * s->map[i].W;
        in[1 + i] = b->x[i];
    }
    in[0] = dni_constant(b, DN_F64, 2 * anchors, s->size);
    dni_detect_rows(b, &s->found, layer, &args, 1 + s->num_maps, in,
                    layer->bottom[0].dim[0] * (limit ? limit : 1));
}
