/* SPDX-License-Identifier: BSD-2-Clause
 * DummyData: tops filled by fillers. Random ones are drawn anew at every forward; a constant
 * one is written once, so what the host writes into it stays.
 * dummy_data_param: shape (one for all tops or one for each), or num, channels, height, width
 * likewise; data_filler (none: constant 0; one for all, or one for each).
 * No bottoms; tops: as given. No gradient. */
#include "layers/layer.h"

#include <string.h>

typedef struct dummy_top {
    const dni_layer *layer;
    const Cnn__FillerParameter *filler; /* NULL: constant 0 */
    dni_shape shape;
    uint64_t stream;
    bool filled;
} dummy_top;

typedef struct dummy_state {
    dummy_top *top;
} dummy_state;

static dn_status check_count(const dni_layer *layer, const char *field, size_t n, bool needed)
{
    DNI_REQUIRE((!needed && n == 0) || n == 1 || n == (size_t)layer->num_tops, DN_E_NET,
                "dummy_data_param has %zu %s for %d tops; give one for all or one for each", n,
                field, layer->num_tops);
    return DN_OK;
}

static dn_status setup(dni_layer *layer)
{
    const Cnn__DummyDataParameter *p = layer->own;
    dummy_state *s = layer->state;
    dn_status st = check_count(layer, "data_filler", p->n_data_filler, false);
    if (st)
        return st;
    s->top = dni_alloc(layer->heap, (size_t)layer->num_tops, sizeof *s->top);
    return s->top ? DN_OK : DN_E_NOMEM;
}

static void teardown(dni_layer *layer)
{
    dummy_state *s = layer->state;
    dni_free(s->top);
}

static dn_status shape(dni_layer *layer)
{
    const Cnn__DummyDataParameter *p = layer->own;
    const size_t n[4] = {p->n_num, p->n_channels, p->n_height, p->n_width};
    const uint32_t *dims[4] = {p->num, p->channels, p->height, p->width};
    static const char *const names[4] = {"num", "channels", "height", "width"};
    dn_status st = DN_OK;
    if (p->n_shape || !p->n_num)
        st = check_count(layer, "shape", p->n_shape, true);
    for (int i = 0; !st && !p->n_shape && i < 4; i++)
        st = check_count(layer, names[i], n[i], true);
    for (int32_t t = 0; !st && t < layer->num_tops; t++) {
        dni_shape *top = &layer->top[t];
        if (p->n_shape) {
            const Cnn__BlobShape *from = p->shape[p->n_shape == 1 ? 0 : t];
            DNI_REQUIRE(from->n_dim <= DN_MAX_AXES, DN_E_SHAPE,
                        "%zu axes, at most %d are possible", from->n_dim, DN_MAX_AXES);
            *top = dni_shape_of((int32_t)from->n_dim, from->dim);
            continue;
        }
        top->axes = 4;
        for (int i = 0; i < 4; i++)
            top->dim[i] = dims[i][n[i] == 1 ? 0 : t];
    }
    return st;
}

static dn_status fill_top(void *user, void *const *in, void *const *out)
{
    dummy_top *t = user;
    const int64_t *state = in[0];
    if (t->filled)
        return DN_OK;
    t->filled = !t->filler || !strcmp(t->filler->type, "constant");
    /* The seed moves on as dn_random_block's key does from step to step. */
    uint64_t seed = (uint64_t)state[0] + 0x9E3779B97F4A7C15u * (uint64_t)state[1];
    return dni_fill(t->filler, &t->shape, t->layer->dtype, out[0], seed, t->stream);
}

/* Those from 8 on belong to the layer's weights, those from 16 on to nobody. */
static uint64_t stream_of(const dni_layer *layer, int32_t top)
{
    return layer->stream + (uint64_t)(top < 8 ? top : top + 8);
}

/* Ops of the device where there are some; a host call for what must happen only once. */
static void forward(dni_layer *layer, dni_builder *b)
{
    const Cnn__DummyDataParameter *p = layer->own;
    dummy_state *s = layer->state;
    for (int32_t i = 0; i < b->num_y; i++) {
        const Cnn__FillerParameter *f = NULL;
        if (p->n_data_filler)
            f = p->data_filler[p->n_data_filler == 1 ? 0 : i];
        bool constant = !f || !strcmp(f->type, "constant");
        bool shared = layer->context->has_device || !b->program->tensors[b->y[i]].keep;
        if (constant && shared) {
            dni_emit_fill(b, b->y[i], f ? f->value : 0);
            continue;
        }
        s->top[i] = (dummy_top){
            .layer = layer, .filler = f, .shape = layer->top[i], .stream = stream_of(layer, i)};
        dn_args_host_call a = {.fn = fill_top, .user = &s->top[i]};
        dni_emit(b, DN_OP_HOST_CALL, &a, DNI_TENSORS(b->random), DNI_TENSORS(b->y[i]));
    }
}

const dni_layer_class dni_layer_dummy_data = {
    .type = "DummyData",
    .own = DNI_OWN(dummy_data_param),
    .bottoms_min = 0,
    .bottoms_max = 0,
    .tops_min = 1,
    .tops_max = -1,
    .flags = DNI_LAYER_SOURCE,
    .state_size = sizeof(dummy_state),
    .setup = setup,
    .shape = shape,
    .forward = forward,
    .teardown = teardown,
};
