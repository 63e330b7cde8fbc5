/* SPDX-License-Identifier: BSD-2-Clause
 * Data: batches of images and labels from an LMDB or LevelDB of Datum records, read ahead.
 * data_param: source, batch_size (both required), backend (LEVELDB), rand_skip (0), prefetch
 * (4), force_encoded_color. transform_param: scale, mirror, crop_size, mean_file, mean_value.
 * No bottoms; tops: (batch_size, C, H, W), labels (batch_size). No gradient.
 * Where no data may be opened the size is crop_size's, or a guess by the source's name. */
#include "data/data.h"

#include <string.h>

#include "deepnet/net.h"
#include "layers/guess.h"

typedef struct data_state {
    const dni_layer *layer;
    dni_loader *loader;
} data_state;

static dn_status setup(dni_layer *layer)
{
    const Cnn__DataParameter *p = layer->param->data_param;
    data_state *s = layer->state;
    s->layer = layer;
    DNI_REQUIRE(p && p->source && *p->source, DN_E_NET, "data_param needs a source");
    DNI_REQUIRE(p->batch_size > 0 && p->batch_size <= INT32_MAX, DN_E_NET,
                "data_param needs a batch_size of at least 1");
    if (layer->wire_only)
        return DN_OK;
    dni_loader_options o = {.heap = layer->heap,
                            .param = p,
                            .transform = layer->param->transform_param,
                            .train = layer->phase == DN_PHASE_TRAIN,
                            .folder = layer->folder,
                            .seed = layer->seed,
                            .stream = layer->stream};
    return dni_loader_open(&s->loader, &o);
}

static void teardown(dni_layer *layer)
{
    data_state *s = layer->state;
    dni_loader_close(s->loader);
}

static dni_shape guess(const dni_layer *layer)
{
    const Cnn__TransformationParameter *t = layer->param->transform_param;
    const Cnn__DataParameter *p = layer->param->data_param;
    dni_shape images = dni_guess_images(p->batch_size, p->source);
    if (t && t->crop_size)
        images.dim[2] = images.dim[3] = t->crop_size;
    if (t && t->force_gray)
        images.dim[1] = 1;
    return images;
}

static dn_status shape(dni_layer *layer)
{
    const data_state *s = layer->state;
    layer->top[0] = s->loader ? *dni_loader_shape(s->loader) : guess(layer);
    if (layer->num_tops > 1)
        layer->top[1] = dni_shape_of(1, layer->top[0].dim);
    return DN_OK;
}

static void copy(int32_t dtype, const float *from, void *to, int64_t count)
{
    if (dtype == DN_F32)
        memcpy(to, from, (size_t)count * sizeof *from);
    for (int64_t i = 0; dtype == DN_F64 && i < count; i++)
        ((double *)to)[i] = from[i];
}

static dn_status next_batch(void *user, void *const *in, void *const *out)
{
    const data_state *s = user;
    dni_batch batch;
    (void)in;
    dn_status st = dni_loader_next(s->loader, &batch);
    if (st)
        return st;
    copy(s->layer->dtype, batch.data, out[0], dni_shape_count(&batch.shape));
    if (s->layer->num_tops > 1)
        copy(s->layer->dtype, batch.labels, out[1], batch.shape.dim[0]);
    return DN_OK;
}

static void forward(dni_layer *layer, dni_builder *b)
{
    dn_args_host_call a = {.fn = next_batch, .user = layer->state};
    dni_emit(b, DN_OP_HOST_CALL, &a, 0, b->y, b->num_y, b->y);
}

static int64_t tell(const dni_layer *layer)
{
    const data_state *s = layer->state;
    return s->loader ? dni_loader_position(s->loader) : 0;
}

static dn_status seek(dni_layer *layer, int64_t place)
{
    const data_state *s = layer->state;
    return s->loader ? dni_loader_seek(s->loader, place) : DN_OK;
}

const dni_layer_class dni_layer_data = {
    .type = "Data",
    .bottoms_min = 0,
    .bottoms_max = 0,
    .tops_min = 1,
    .tops_max = 2,
    .flags = DNI_LAYER_SOURCE,
    .state_size = sizeof(data_state),
    .setup = setup,
    .shape = shape,
    .forward = forward,
    .teardown = teardown,
    .tell = tell,
    .seek = seek,
};
