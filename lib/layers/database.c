/* SPDX-License-Identifier: BSD-2-Clause
 * database.c: see database.h. A batch of another shape than the tops were lowered for says so
 * and stays until the layer runs again. */
#include "layers/database.h"

#include "deepnet/net.h"
#include "layers/guess.h"
#include "layers/values.h"

static dni_shape label_shape(const dni_layer *layer, const dni_batch *batch)
{
    (void)layer;
    return dni_shape_of(1, batch->shape.dim);
}

static void put_labels(const dni_layer *layer, const dni_batch *batch, void *to)
{
    dni_put_floats(to, layer->dtype, batch->labels, batch->shape.dim[0]);
}

/* A batch that waits is not delivered; the position counts those of all ranks. */
static int64_t tell(const dni_layer *layer)
{
    const dni_database *d = layer->state;
    int64_t waits = d->fetched ? d->batch.shape.dim[0] * layer->ranks : 0;
    return d->loader ? dni_loader_position(d->loader) - waits : 0;
}

static dn_status seek(dni_layer *layer, int64_t position)
{
    dni_database *d = layer->state;
    d->fetched = false;
    return d->loader ? dni_loader_seek(d->loader, position) : DN_OK;
}

static const dni_layer_cursor cursor = {.tell = tell, .seek = seek};

dn_status dni_database_open(dni_layer *layer, dni_loader_options *o)
{
    const Cnn__TransformationParameter *t = o->transform;
    dni_database *d = layer->state;
    DNI_REQUIRE(o->annotated || !t ||
                    (!t->distort_param && !t->expand_param && !t->emit_constraint),
                DN_E_UNSUPPORTED,
                "distort_param, expand_param and emit_constraint are for AnnotatedData");
    d->layer = layer;
    if (!d->labels) {
        d->label_shape = label_shape;
        d->labels = put_labels;
    }
    layer->cursor = &cursor;
    o->heap = layer->heap;
    o->train = layer->phase == DN_PHASE_TRAIN;
    o->folder = layer->folder;
    o->seed = layer->seed;
    o->stream = layer->stream;
    o->rank = layer->rank;
    o->ranks = layer->ranks;
    layer->fixed = layer->wire_only || dni_loader_is_fixed(o);
    return layer->wire_only ? DN_OK : dni_loader_open(&d->loader, o);
}

dn_status dni_database_setup(dni_layer *layer, bool boxes)
{
    const Cnn__DataParameter *p = layer->param->data_param;
    DNI_REQUIRE(p && p->source && *p->source, DN_E_NET, "data_param needs a source");
    DNI_REQUIRE(p->batch_size > 0 && p->batch_size <= INT32_MAX, DN_E_NET,
                "data_param needs a batch_size of at least 1");
    dni_loader_options o = {.param = p,
                            .transform = layer->param->transform_param,
                            .annotated = boxes,
                            .annotated_param = layer->param->annotated_data_param};
    return dni_database_open(layer, &o);
}

dni_shape dni_database_guess(const dni_layer *layer)
{
    const Cnn__TransformationParameter *t = layer->param->transform_param;
    const Cnn__DataParameter *p = layer->param->data_param;
    const Cnn__ResizeParameter *r = t && t->n_resize_param ? t->resize_param[0] : NULL;
    dni_shape images = dni_guess_images(layer, p->batch_size, p->source);
    int64_t crop[2];
    dni_transform_crop(t, crop);
    if (crop[0])
        images.dim[2] = crop[0], images.dim[3] = crop[1];
    else if (r && r->height && r->width)
        images.dim[2] = r->height, images.dim[3] = r->width;
    if (t && t->force_gray)
        images.dim[1] = 1;
    if (layer->guess && dni_guess_is_label(layer->top_names[0]))
        images.dim[2] = images.dim[3] = 1; /* vectors of labels in a database of their own */
    return images;
}

dni_shape dni_database_maps(const dni_layer *layer, const dni_shape *images, int64_t C)
{
    const Cnn__AnnotatedDataParameter *p = layer->own;
    bool given = p->seg_resize_height > 0 && p->seg_resize_width > 0;
    int64_t by = p->seg_scales > 0 ? p->seg_scales : 1;
    return dni_shape_of(4, (int64_t[]){images->dim[0], C,
                                       given ? p->seg_resize_height : images->dim[2] / by,
                                       given ? p->seg_resize_width : images->dim[3] / by});
}

/* Another shape than top i was lowered for? */
static dn_status tell_shape(const dni_database *d, int32_t i, dni_shape shape, bool *changed)
{
    if (d->layer->fixed || dni_shape_equal(&shape, &d->layer->top[i]))
        return DN_OK;
    *changed = true;
    return dni_dynamic_shape(d->layer, i, &shape);
}

static dn_status next_batch(void *user, void *const *in, void *const *out)
{
    dni_database *d = user;
    const dni_layer *layer = d->layer;
    bool changed = false;
    (void)in;
    dn_status st = d->fetched ? DN_OK : dni_loader_next(d->loader, &d->batch);
    d->fetched = st == DN_OK;
    if (!st)
        st = tell_shape(d, 0, d->batch.shape, &changed);
    if (!st && layer->num_tops > 1)
        st = tell_shape(d, 1, d->label_shape(layer, &d->batch), &changed);
    if (st || changed)
        return st;
    dni_put_floats(out[0], layer->dtype, d->batch.data, dni_shape_count(&d->batch.shape));
    if (layer->num_tops > 1)
        d->labels(layer, &d->batch, out[1]);
    if (layer->num_tops > 2)
        dni_put_floats(out[2], layer->dtype, d->batch.sizes, 2 * d->batch.shape.dim[0]);
    d->fetched = false;
    return DN_OK;
}

void dni_database_forward(dni_layer *layer, dni_builder *b)
{
    dni_database *d = layer->state;
    dn_args_host_call call = {.fn = next_batch, .user = d};
    dni_emit_arrays(b, DN_OP_HOST_CALL, &call, 0, b->y, b->num_y, b->y);
}

void dni_database_teardown(dni_layer *layer)
{
    dni_loader_close(((dni_database *)layer->state)->loader);
}
