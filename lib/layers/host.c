/* SPDX-License-Identifier: BSD-2-Clause
 * host.c: a layer of the host's own lowers to one host call, forward and backward: bottoms and
 * weights in, tops out; bottoms, tops, top diffs and weights in, bottom and weight diffs out.
 */
#include "layers/host.h"

#include <string.h>

#include "proto/field.h"

struct dn_layer {
    dni_layer *layer;
    enum { IDLE, CREATING, SHAPING, RUNNING } now;
};

typedef struct host_state {
    dn_layer handle;
    const dn_layer_class *given;
    void *state;
    ProtobufCMessage *filler[DNI_MAX_WEIGHTS];
} host_state;

const dn_layer_class *dni_host_class_find(dni_layer *layer, const char *type)
{
    const dn_context *context = layer->context;
    const dn_layer handle = {.layer = layer};
    for (size_t i = 0; i < context->num_layers; i++) {
        const dn_layer_class *given = &context->layers[i];
        if (!strcmp(given->type, type) && (!given->takes || given->takes(&handle, given->user)))
            return given;
    }
    return NULL;
}

/* A failure of the host's function, with a line even where it gave none. */
static dn_status host_status(dn_status st, const char *function)
{
    if (st < 0 && dn_last_error())
        return st;
    if (st)
        return dni_fail(st < 0 ? st : DN_E_HOST, "its %s returned %d", function, (int)st);
    dni_clear_error(); /* of a call it made and did not mind */
    return DN_OK;
}

/* ---- the class --------------------------------------------------------------------------- */

static dn_status setup(dni_layer *layer)
{
    host_state *s = layer->state;
    s->given = ((const dni_host_class *)layer->cls)->given;
    s->handle = (dn_layer){.layer = layer, .now = CREATING};
    dn_status st = DN_OK;
    if (s->given->create)
        st = host_status(s->given->create(&s->state, &s->handle, s->given->user), "create");
    s->handle.now = IDLE;
    int32_t inputs = layer->num_bottoms + layer->num_weights;
    if (!st && s->given->backward && !(s->given->flags & DN_LAYER_SOURCE))
        inputs += 2 * layer->num_tops;
    if (!st && (inputs > DN_MAX_OPERANDS || layer->num_tops > DN_MAX_OPERANDS))
        st = dni_fail(
            DN_E_UNSUPPORTED,
            "a layer of the host may have %d bottoms, weights, tops and their gradients "
            "in all; this one has %d",
            DN_MAX_OPERANDS, inputs);
    return st;
}

static dn_status shape(dni_layer *layer)
{
    host_state *s = layer->state;
    for (int32_t i = 0; i < layer->num_tops; i++)
        layer->top[i] = (dni_shape){.axes = -1};
    s->handle.now = SHAPING;
    dn_status st = host_status(s->given->shape(s->state, &s->handle), "shape");
    s->handle.now = IDLE;
    for (int32_t i = 0; !st && i < layer->num_tops; i++)
        if (layer->top[i].axes < 0)
            st = dni_fail(DN_E_HOST, "its shape set none for top %d", i);
    return st;
}

static void teardown(dni_layer *layer)
{
    host_state *s = layer->state;
    if (s->given && s->given->destroy && s->state)
        s->given->destroy(s->state);
    for (int32_t i = 0; i < DNI_MAX_WEIGHTS; i++)
        dni_message_free(s->filler[i]);
}

static dn_layer_io io_of(host_state *s)
{
    const dni_layer *layer = s->handle.layer;
    return (dn_layer_io){.struct_size = sizeof(dn_layer_io),
                         .layer = &s->handle,
                         .dtype = layer->dtype,
                         .num_bottoms = layer->num_bottoms,
                         .num_tops = layer->num_tops,
                         .num_weights = layer->num_weights,
                         .bottom_shapes = layer->bottom,
                         .top_shapes = layer->top};
}

static dn_status run_forward(void *user, void *const *in, void *const *out)
{
    host_state *s = user;
    dn_layer_io io = io_of(s);
    io.bottoms = (const void *const *)in;
    io.weights = io.bottoms + io.num_bottoms;
    io.tops = out;
    s->handle.now = RUNNING;
    dn_status st = host_status(s->given->forward(s->state, &io), "forward");
    s->handle.now = IDLE;
    return st;
}

static dn_status run_backward(void *user, void *const *in, void *const *out)
{
    host_state *s = user;
    dn_layer_io io = io_of(s);
    io.bottoms = (const void *const *)in;
    io.weights = io.bottoms + io.num_bottoms;
    io.tops = in + io.num_bottoms + io.num_weights;
    io.top_diffs = (const void *const *)(io.tops + io.num_tops);
    io.bottom_diffs = out;
    io.weight_diffs = out + io.num_bottoms;
    return host_status(s->given->backward(s->state, &io), "backward");
}

static int32_t add(dni_tensor *list, int32_t at, const dni_tensor *tensors, int32_t count)
{
    memcpy(list + at, tensors, (size_t)count * sizeof *list);
    return at + count;
}

static void forward(dni_layer *layer, dni_builder *b)
{
    dn_args_host_call call = {.fn = run_forward, .user = layer->state};
    dni_tensor in[DN_MAX_OPERANDS];
    int32_t n = add(in, 0, b->x, b->num_x);
    n = add(in, n, b->w, b->num_w);
    dni_emit_arrays(b, DN_OP_HOST_CALL, &call, n, in, b->num_y, b->y);
}

static void backward(dni_layer *layer, dni_builder *b)
{
    dn_args_host_call call = {.fn = run_backward, .user = layer->state};
    dni_tensor in[DN_MAX_OPERANDS], out[DN_MAX_OPERANDS];
    int32_t n = add(in, 0, b->x, b->num_x);
    n = add(in, n, b->w, b->num_w);
    n = add(in, n, b->y, b->num_y);
    n = add(in, n, b->dy, b->num_y);
    int32_t m = add(out, 0, b->dx, b->num_x);
    m = add(out, m, b->dw, b->num_w);
    dni_emit_arrays(b, DN_OP_HOST_CALL, &call, n, in, m, out);
}

/* A host's count, of which -1 has no limit; `beyond` stands for more than there ever are. */
static int16_t count_of(int32_t count, int16_t beyond)
{
    return count < 0 ? -1 : count > INT16_MAX ? beyond : (int16_t)count;
}

void dni_host_class_make(dni_host_class *out, const dn_layer_class *given)
{
    bool source = given->flags & DN_LAYER_SOURCE;
    uint32_t flags = (given->flags & DN_LAYER_LOSS ? DNI_LAYER_LOSS : 0) |
                     (given->flags & DN_LAYER_DYNAMIC ? DNI_LAYER_DYNAMIC : 0);
    out->given = given;
    out->cls = (dni_layer_class){.type = given->type,
                                 .bottoms_min = count_of(given->bottoms_min, INT16_MAX),
                                 .bottoms_max = count_of(given->bottoms_max, -1),
                                 .tops_min = count_of(given->tops_min, INT16_MAX),
                                 .tops_max = count_of(given->tops_max, -1),
                                 .flags = (uint16_t)(flags | (source ? DNI_LAYER_SOURCE : 0)),
                                 .no_gradient = (uint16_t)given->no_gradient,
                                 .state_size = sizeof(host_state),
                                 .setup = setup,
                                 .shape = shape,
                                 .forward = forward,
                                 .backward = given->backward && !source ? backward : NULL,
                                 .teardown = teardown};
}

/* ---- what the class's functions may call ------------------------------------------------- */

const char *dn_layer_name(const dn_layer *layer)
{
    return layer->layer->name;
}

int32_t dn_layer_phase(const dn_layer *layer)
{
    return layer->layer->phase;
}

int32_t dn_layer_num_bottoms(const dn_layer *layer)
{
    return layer->layer->num_bottoms;
}

int32_t dn_layer_num_tops(const dn_layer *layer)
{
    return layer->layer->num_tops;
}

const dn_shape *dn_layer_bottom_shape(const dn_layer *layer, int32_t index)
{
    dni_clear_error();
    if (index < 0 || index >= layer->layer->num_bottoms) {
        dni_fail(DN_E_INVALID, "there is no bottom %d", index);
        return NULL;
    }
    return &layer->layer->bottom[index];
}

dn_status dn_layer_set_top_shape(dn_layer *layer, int32_t index, const dn_shape *shape)
{
    dni_clear_error();
    if (!shape || index < 0 || index >= layer->layer->num_tops || shape->axes < 0 ||
        shape->axes > DN_MAX_AXES)
        return dni_fail(DN_E_INVALID, "there is no top %d, or no shape", index);
    if (layer->now == RUNNING && layer->layer->cls->flags & DNI_LAYER_DYNAMIC)
        return dni_dynamic_shape(layer->layer, index, shape);
    if (layer->now != SHAPING)
        return dni_fail(DN_E_STATE, "the shape of top %d is set in shape", index);
    layer->layer->top[index] = *shape;
    return DN_OK;
}

dn_status dn_layer_add_weight(dn_layer *layer, const dn_shape *shape, const char *filler)
{
    dni_layer *l = layer->layer;
    host_state *s = l->state;
    dni_clear_error();
    if (layer->now != CREATING || !shape)
        return dni_fail(DN_E_STATE, "weights are added in create");
    if (l->num_weights == DNI_MAX_WEIGHTS)
        return dni_fail(DN_E_UNSUPPORTED, "a layer has at most %d weights", DNI_MAX_WEIGHTS);
    ProtobufCMessage **message = &s->filler[l->num_weights];
    dn_status st = DN_OK;
    if (filler)
        st = dni_text_parse(message, l->heap, &cnn__filler_parameter__descriptor, filler,
                            strlen(filler), "filler", NULL);
    return st ? st : dni_declare_weight(l, shape, (const Cnn__FillerParameter *)*message);
}

dn_status dn_layer_number(const dn_layer *layer, const char *field, int32_t index, double *out)
{
    dni_clear_error();
    if (!field || !out)
        return dni_fail_null(__func__);
    return dni_field_number(&layer->layer->param->base, field, index, out);
}

const char *dn_layer_text(const dn_layer *layer, const char *field, int32_t index)
{
    const char *text = NULL;
    dni_clear_error();
    if (!field)
        dni_fail(DN_E_INVALID, "dn_layer_text: field is NULL");
    else
        dni_field_text(&layer->layer->param->base, field, index, &text);
    return text;
}

dn_status dn_layer_fail(dn_layer *layer, dn_status status, const char *reason)
{
    (void)layer;
    if (status >= 0)
        status = DN_E_HOST;
    return dni_fail(status, "%s", reason ? reason : "no reason given");
}
