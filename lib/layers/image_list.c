/* SPDX-License-Identifier: BSD-2-Clause
 * image_list.c: see image_list.h. A list is read by the loader of databases: new_height and
 * new_width are a resize_param, is_color a force_color. */
#include "layers/image_list.h"

#include "layers/guess.h"

static const Cnn__TransformationParameter no_transform = CNN__TRANSFORMATION_PARAMETER__INIT;
static const Cnn__ResizeParameter no_resize = CNN__RESIZE_PARAMETER__INIT;
static const Cnn__DataParameter no_data = CNN__DATA_PARAMETER__INIT;

dn_status dni_image_list_setup(dni_layer *layer)
{
    const Cnn__ImageDataParameter *p = layer->param->image_data_param;
    const Cnn__TransformationParameter *t = layer->param->transform_param;
    dni_image_list *s = layer->state;
    DNI_REQUIRE(p && p->source && *p->source, DN_E_NET, "image_data_param needs a source");
    DNI_REQUIRE(p->batch_size > 0 && p->batch_size <= INT32_MAX, DN_E_NET,
                "image_data_param needs a batch_size of at least 1");
    DNI_REQUIRE((p->new_height > 0) == (p->new_width > 0), DN_E_NET,
                "image_data_param needs both of new_height and new_width, or neither");
    s->transform = t ? *t : no_transform;
    s->transform.force_color = p->is_color;
    s->transform.force_gray = !p->is_color;
    if (p->new_height) {
        DNI_REQUIRE(!s->transform.n_resize_param, DN_E_NET,
                    "new_height and resize_param exclude each other");
        s->resize = no_resize;
        s->resize.height = p->new_height;
        s->resize.width = p->new_width;
        s->resizes[0] = &s->resize;
        s->transform.resize_param = s->resizes;
        s->transform.n_resize_param = 1;
    }
    s->data = no_data;
    s->data.source = p->source;
    s->data.batch_size = p->batch_size;
    s->data.rand_skip = p->rand_skip;
    s->data.shuffle = p->shuffle;
    s->list = (dni_list){.root = p->root_folder, .labelled = layer->num_tops > 1};
    dni_loader_options o = {.param = &s->data, .list = &s->list, .transform = &s->transform};
    return dni_database_open(layer, &o);
}

dni_shape dni_image_list_shape(const dni_layer *layer)
{
    const dni_database *d = layer->state;
    return d->loader ? *dni_loader_shape(d->loader) : dni_guess_listed(layer);
}
