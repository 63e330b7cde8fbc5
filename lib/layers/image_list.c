/* SPDX-License-Identifier: BSD-2-Clause
 * image_list.c: see image_list.h. A list is read by the loader of databases: new_height and
 * new_width are a resize_param, is_color a force_color. */
#include "layers/image_list.h"

#include "layers/guess.h"
#include "layers/values.h"

static dni_shape map_shape(const dni_layer *layer, const dni_batch *batch)
{
    const int64_t *d = batch->shape.dim;
    (void)layer;
    return dni_shape_of(4, (int64_t[]){d[0], 1, d[2], d[3]});
}

static void put_maps(const dni_layer *layer, const dni_batch *batch, void *to)
{
    dni_shape shape = map_shape(layer, batch);
    dni_put_floats(to, layer->dtype, batch->maps, dni_shape_count(&shape));
}

static void set_resize(const Cnn__ImageDataParameter *p, Cnn__TransformationParameter *t,
                       Cnn__ResizeParameter *resize, Cnn__ResizeParameter **at)
{
    resize->height = p->new_height;
    resize->width = p->new_width;
    *at = resize;
    t->resize_param = at;
    t->n_resize_param = 1;
}

dn_status dni_image_list_setup(dni_layer *layer, const Cnn__ImageDataParameter *p)
{
    const Cnn__TransformationParameter *t = layer->param->transform_param;
    const char *type = layer->cls->type;
    dni_image_list *s = layer->state;
    int64_t crop[2];
    DNI_REQUIRE(p && p->source && *p->source, DN_E_NET, "%s needs a source", type);
    DNI_REQUIRE(p->batch_size > 0 && p->batch_size <= INT32_MAX, DN_E_NET,
                "%s needs a batch_size of at least 1", type);
    DNI_REQUIRE((p->new_height > 0) == (p->new_width > 0), DN_E_NET,
                "%s needs both of new_height and new_width, or neither", type);
    DNI_REQUIRE(!t || !t->n_resize_param || (!p->new_height && !s->maps), DN_E_NET,
                "resize_param has no place beside new_height, nor with class maps");
    s->transform.scale = s->map_transform.scale = 1;
    if (t)
        s->transform = *t;
    s->transform.force_color = p->is_color;
    s->transform.force_gray = !p->is_color;
    dni_transform_crop(t, crop);
    if (!crop[0] && !crop[1]) {
        s->transform.crop_height = s->crop_height;
        s->transform.crop_width = s->crop_width;
    }
    s->transform.mirror |= s->mirror;
    dni_transform_crop(&s->transform, crop);
    s->map_transform.crop_height = (uint32_t)crop[0];
    s->map_transform.crop_width = (uint32_t)crop[1];
    s->map_transform.mirror = s->transform.mirror;
    if (p->new_height) {
        set_resize(p, &s->transform, &s->resize, &s->resizes[0]);
        set_resize(p, &s->map_transform, &s->map_resize, &s->resizes[1]);
        s->map_resize.interp_mode = &s->blend;
        s->map_resize.n_interp_mode = 1;
    }
    s->data.source = p->source;
    s->data.batch_size = p->batch_size;
    s->data.prefetch = 4;
    s->data.rand_skip = p->rand_skip;
    s->data.shuffle = p->shuffle;
    s->list.root = p->root_folder;
    if (s->maps) {
        s->database.label_shape = map_shape;
        s->database.labels = put_maps;
    }
    dni_loader_options o = {.param = &s->data,
                            .list = &s->list,
                            .transform = &s->transform,
                            .map_transform = s->maps ? &s->map_transform : NULL,
                            .pad = s->pad,
                            .ignore = s->ignore};
    return dni_database_open(layer, &o);
}

dn_status dni_image_list_shape_as(dni_layer *layer, dni_shape guess)
{
    const dni_image_list *s = layer->state;
    const dni_loader *loader = s->database.loader;
    dni_batch batch = {.shape = loader ? *dni_loader_shape(loader) : guess};
    const int64_t sizes[] = {batch.shape.dim[0], 1, 1, 2};
    layer->top[0] = batch.shape;
    if (layer->num_tops > 1)
        layer->top[1] = s->maps ? map_shape(layer, &batch) : dni_shape_of(1, sizes);
    if (layer->num_tops > 2)
        layer->top[2] = dni_shape_of(4, sizes);
    return DN_OK;
}

dn_status dni_image_list_shape(dni_layer *layer)
{
    return dni_image_list_shape_as(layer, dni_guess_listed(layer));
}
