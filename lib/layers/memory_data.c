/* SPDX-License-Identifier: BSD-2-Clause
 * MemoryData: batches from the host's arrays, in order, starting over at the end.
 * memory_data_param: batch_size, channels, height, width (all required).
 * No bottoms; tops: data (batch_size, channels, height, width), label (batch_size). No
 * gradient. */
#include "layers/memory_data.h"

#include "layers/values.h"

typedef struct memory_state {
    const dni_layer *layer;
    const float *data, *labels;
    int64_t n, next, batch, item;
} memory_state;

static int64_t tell(const dni_layer *layer)
{
    const memory_state *s = layer->state;
    return s->next;
}

static dn_status seek(dni_layer *layer, int64_t place)
{
    memory_state *s = layer->state;
    DNI_REQUIRE(place >= 0 && place % s->batch == 0, DN_E_INVALID, "there is no batch at %lld",
                (long long)place);
    s->next = s->n ? place % s->n : place;
    return DN_OK;
}

static const dni_layer_cursor cursor = {.tell = tell, .seek = seek};

static dn_status shape(dni_layer *layer)
{
    const Cnn__MemoryDataParameter *p = layer->param->memory_data_param;
    memory_state *s = layer->state;
    DNI_REQUIRE(p && p->batch_size && p->channels && p->height && p->width, DN_E_NET,
                "memory_data_param needs batch_size, channels, height and width");
    int64_t dims[4] = {p->batch_size, p->channels, p->height, p->width};
    layer->top[0] = dni_shape_of(4, dims);
    dn_status st = dni_shape_check(&layer->top[0]);
    if (st)
        return st;
    if (layer->num_tops > 1)
        layer->top[1] = dni_shape_of(1, dims);
    s->layer = layer;
    layer->cursor = &cursor;
    s->batch = dims[0];
    s->item = dni_shape_range(&layer->top[0], 1, 4);
    return DN_OK;
}

dn_status dni_memory_data_set(dni_layer *layer, const float *data, const float *labels,
                              int64_t n)
{
    memory_state *s = layer->state;
    DNI_REQUIRE(data && n > 0, DN_E_INVALID, "no data");
    DNI_REQUIRE(labels || layer->num_tops < 2, DN_E_INVALID, "no labels");
    DNI_REQUIRE(n % s->batch == 0, DN_E_INVALID,
                "%lld items are no multiple of the batch size %lld", (long long)n,
                (long long)s->batch);
    s->data = data;
    s->labels = labels;
    s->n = n;
    s->next = 0;
    return DN_OK;
}

static dn_status next_batch(void *user, void *const *in, void *const *out)
{
    memory_state *s = user;
    (void)in;
    DNI_REQUIRE(s->data, DN_E_STATE, "no data yet: dn_net_set_memory_data gives it some");
    dni_put_floats(out[0], s->layer->dtype, s->data + s->next * s->item, s->batch * s->item);
    if (s->layer->num_tops > 1)
        dni_put_floats(out[1], s->layer->dtype, s->labels + s->next, s->batch);
    s->next = (s->next + s->batch) % s->n;
    return DN_OK;
}

static void forward(dni_layer *layer, dni_builder *b)
{
    dn_args_host_call a = {.fn = next_batch, .user = layer->state};
    dni_emit_arrays(b, DN_OP_HOST_CALL, &a, 0, b->y, b->num_y, b->y);
}

const dni_layer_class dni_layer_memory_data = {
    .type = "MemoryData",
    .bottoms_min = 0,
    .bottoms_max = 0,
    .tops_min = 2,
    .tops_max = 2,
    .flags = DNI_LAYER_SOURCE,
    .state_size = sizeof(memory_state),
    .shape = shape,
    .forward = forward,
};
