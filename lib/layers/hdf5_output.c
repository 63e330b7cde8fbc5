/* SPDX-License-Identifier: BSD-2-Clause
 * HDF5Output: writes its bottoms to the datasets "data" and "label" of an HDF5 file: a new file
 * at the first forward, every later one adds its batch at the end.
 * hdf5_output_param: file_name (required). bottoms: data, label, of equal axis 0; no tops. No
 * gradient. */
#include "data/hdf5_append.h"
#include "layers/layer.h"

typedef struct output_state {
    const dni_layer *layer;
    char *path;
    bool created;
} output_state;

static dn_status setup(dni_layer *layer)
{
    const Cnn__HDF5OutputParameter *p = layer->param->hdf5_output_param;
    output_state *s = layer->state;
    s->layer = layer;
    DNI_REQUIRE(p && p->file_name && *p->file_name, DN_E_NET,
                "hdf5_output_param needs a file_name");
    if (layer->wire_only)
        return DN_OK;
    return dni_path_resolve(layer->heap, layer->folder, p->file_name, true, &s->path);
}

static void teardown(dni_layer *layer)
{
    output_state *s = layer->state;
    dni_free(s->path);
}

static dn_status shape(dni_layer *layer)
{
    const dni_shape *data = &layer->bottom[0], *label = &layer->bottom[1];
    DNI_REQUIRE(data->axes && label->axes && data->dim[0] == label->dim[0], DN_E_SHAPE,
                "the bottoms need the same number of items along axis 0");
    return DN_OK;
}

static dn_status write_batch(void *user, void *const *in, void *const *out)
{
    static const char *const names[2] = {"data", "label"};
    output_state *s = user;
    dni_hdf5_batch batches[2];
    (void)out;
    for (int i = 0; i < 2; i++)
        batches[i] = (dni_hdf5_batch){.dataset = names[i],
                                      .shape = &s->layer->bottom[i],
                                      .dtype = s->layer->dtype,
                                      .values = in[i]};
    dn_status st = dni_hdf5_append(s->path, !s->created, batches, 2);
    s->created |= !st;
    return st;
}

static void forward(dni_layer *layer, dni_builder *b)
{
    dn_args_host_call a = {.fn = write_batch, .user = layer->state};
    dni_emit_arrays(b, DN_OP_HOST_CALL, &a, 2, b->x, 0, b->x);
}

const dni_layer_class dni_layer_hdf5_output = {
    .type = "HDF5Output",
    .bottoms_min = 2,
    .bottoms_max = 2,
    .tops_min = 0,
    .tops_max = 0,
    .no_gradient = 3,
    .state_size = sizeof(output_state),
    .setup = setup,
    .shape = shape,
    .forward = forward,
    .teardown = teardown,
};
