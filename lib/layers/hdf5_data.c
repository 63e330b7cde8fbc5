/* SPDX-License-Identifier: BSD-2-Clause
 * HDF5Data: rows of the datasets that the tops are named after, from a list of HDF5 files.
 * hdf5_data_param: source (the list), batch_size (both required), shuffle (false).
 * No bottoms; tops: (batch_size, row's shape). No gradient.
 * The shapes are in the files alone: where none may be opened, they are guessed by name, and a
 * truth's by what it is compared with. */
#include "data/data.h"

#include "layers/guess.h"

typedef struct hdf5_state {
    const dni_layer *layer;
    dni_hdf5 *hdf5;
    float **buffers; /* DN_F64 nets: a batch of each top as it is read */
} hdf5_state;

static int64_t tell(const dni_layer *layer)
{
    const hdf5_state *s = layer->state;
    return s->hdf5 ? dni_hdf5_position(s->hdf5) : 0;
}

static dn_status seek(dni_layer *layer, int64_t place)
{
    const hdf5_state *s = layer->state;
    return s->hdf5 ? dni_hdf5_seek(s->hdf5, place) : DN_OK;
}

static const dni_layer_cursor cursor = {.tell = tell, .seek = seek};

static dn_status setup(dni_layer *layer)
{
    const Cnn__HDF5DataParameter *p = layer->param->hdf5_data_param;
    hdf5_state *s = layer->state;
    s->layer = layer;
    layer->cursor = &cursor;
    DNI_REQUIRE(p && p->source && *p->source, DN_E_NET, "hdf5_data_param needs a source");
    DNI_REQUIRE(p->batch_size > 0 && p->batch_size <= INT32_MAX, DN_E_NET,
                "hdf5_data_param needs a batch_size of at least 1");
    DNI_REQUIRE(!layer->param->transform_param, DN_E_UNSUPPORTED,
                "HDF5Data does not transform its data; transform_param has no place here");
    layer->guessed = layer->wire_only;
    if (layer->wire_only)
        return DN_OK;
    dni_hdf5_options o = {.heap = layer->heap,
                          .source = p->source,
                          .folder = layer->folder,
                          .datasets = layer->top_names,
                          .num_datasets = layer->num_tops,
                          .shuffle = p->shuffle,
                          .seed = layer->seed,
                          .stream = layer->stream,
                          .rank = layer->rank,
                          .ranks = layer->ranks};
    return dni_hdf5_open(&s->hdf5, &o);
}

static void free_buffers(const dni_layer *layer, hdf5_state *s)
{
    for (int32_t i = 0; s->buffers && i < layer->num_tops; i++)
        dni_free(s->buffers[i]);
    dni_free(s->buffers);
    s->buffers = NULL;
}

static void teardown(dni_layer *layer)
{
    hdf5_state *s = layer->state;
    free_buffers(layer, s);
    dni_hdf5_close(s->hdf5);
}

static dn_status make_buffers(const dni_layer *layer, hdf5_state *s)
{
    free_buffers(layer, s);
    if (layer->dtype == DN_F32)
        return DN_OK;
    s->buffers = dni_alloc(layer->heap, (size_t)layer->num_tops, sizeof *s->buffers);
    if (!s->buffers)
        return DN_E_NOMEM;
    for (int32_t i = 0; i < layer->num_tops; i++) {
        size_t count = (size_t)dni_shape_count(&layer->top[i]);
        s->buffers[i] = dni_alloc(layer->heap, count, sizeof(float));
        if (!s->buffers[i])
            return DN_E_NOMEM;
    }
    return DN_OK;
}

static dn_status shape(dni_layer *layer)
{
    hdf5_state *s = layer->state;
    const Cnn__HDF5DataParameter *p = layer->param->hdf5_data_param;
    for (int32_t i = 0; layer->wire_only && i < layer->num_tops; i++)
        layer->top[i] = dni_guess_top(layer, p->batch_size, layer->top_names[i], p->source);
    for (int32_t i = 0; !layer->wire_only && i < layer->num_tops; i++) {
        const dni_shape *row = dni_hdf5_row_shape(s->hdf5, i);
        dni_shape *top = &layer->top[i];
        DNI_REQUIRE(row->axes < DN_MAX_AXES, DN_E_SHAPE, "dataset '%s' has too many axes",
                    layer->top_names[i]);
        *top = dni_shape_of(1, (int64_t[]){p->batch_size});
        for (int32_t a = 0; a < row->axes; a++)
            top->dim[top->axes++] = row->dim[a];
        dn_status st = dni_shape_check(top);
        if (st)
            return st;
    }
    return layer->wire_only ? DN_OK : make_buffers(layer, s);
}

static dn_status next_rows(void *user, void *const *in, void *const *out)
{
    const hdf5_state *s = user;
    const dni_layer *layer = s->layer;
    int64_t rows = layer->param->hdf5_data_param->batch_size;
    (void)in;
    if (layer->dtype == DN_F32)
        return dni_hdf5_next(s->hdf5, rows, (float *const *)out);
    dn_status st = dni_hdf5_next(s->hdf5, rows, s->buffers);
    for (int32_t i = 0; !st && i < layer->num_tops; i++)
        for (int64_t k = 0; k < dni_shape_count(&layer->top[i]); k++)
            ((double *)out[i])[k] = s->buffers[i][k];
    return st;
}

static void forward(dni_layer *layer, dni_builder *b)
{
    dn_args_host_call a = {.fn = next_rows, .user = layer->state};
    dni_emit_arrays(b, DN_OP_HOST_CALL, &a, 0, b->y, b->num_y, b->y);
}

const dni_layer_class dni_layer_hdf5_data = {
    .type = "HDF5Data",
    .bottoms_min = 0,
    .bottoms_max = 0,
    .tops_min = 1,
    .tops_max = DN_MAX_OPERANDS,
    .flags = DNI_LAYER_SOURCE,
    .state_size = sizeof(hdf5_state),
    .setup = setup,
    .shape = shape,
    .forward = forward,
    .teardown = teardown,
};
