/* SPDX-License-Identifier: BSD-2-Clause
 * InfogainLoss: L = -1/Z sum_n sum_k H[label, k] log max(p[n, k], 1e-20), p = softmax(x).
 * infogain_loss_param: source (file of H, a BlobProto; none where H is bottom 2), axis (1).
 * loss_param: ignore_label (none), normalization (VALID) or the older normalize.
 * bottoms: x (N, C, ...), labels (N, ...), [H with C x C values]; tops: one number, [p].
 * Gradient: (p sum_k H[label, k] - H[label]) / Z to x; none to labels and H. */
#include "layers/loss.h"

#include "proto/proto.h"

typedef struct infogain_state {
    dni_loss loss;
    void *H; /* C x C values of the net's type, from source */
    int64_t H_dim;
} infogain_state;

static dn_status parse_matrix(dni_layer *layer, const char *bytes, size_t size,
                              const char *path)
{
    infogain_state *s = layer->state;
    dni_weights_blob blob;
    dn_status st = dni_weights_blob_read(&blob, bytes, size, NULL, path);
    if (st)
        return st;
    while (s->H_dim * s->H_dim < blob.count)
        s->H_dim++;
    DNI_REQUIRE(blob.count > 0 && s->H_dim * s->H_dim == blob.count, DN_E_DATA,
                "'%s': %lld values do not make a square matrix", path, (long long)blob.count);
    s->H = dni_alloc(layer->heap, (size_t)blob.count, sizeof(double));
    return s->H ? dni_weights_values(&blob, layer->dtype, s->H, blob.count) : DN_E_NOMEM;
}

static dn_status read_matrix(dni_layer *layer, const char *source)
{
    char *path = NULL, *bytes = NULL;
    size_t size = 0;
    dn_status st = dni_path_resolve(layer->heap, layer->folder, source, false, &path);
    if (!st)
        st = dni_file_read(layer->heap, path, &bytes, &size);
    if (!st)
        st = parse_matrix(layer, bytes, size, path);
    dni_free(bytes);
    dni_free(path);
    return st;
}

static dn_status setup(dni_layer *layer)
{
    const Cnn__InfogainLossParameter *p = layer->own;
    if (layer->num_bottoms == 3 || layer->wire_only)
        return DN_OK;
    DNI_REQUIRE(p->source, DN_E_NET,
                "InfogainLoss needs its matrix: a third bottom, or infogain_loss_param.source");
    return read_matrix(layer, p->source);
}

static void teardown(dni_layer *layer)
{
    dni_free(((infogain_state *)layer->state)->H);
}

static dn_status shape(dni_layer *layer)
{
    const Cnn__InfogainLossParameter *p = layer->own;
    infogain_state *s = layer->state;
    dn_args_loss *a = &s->loss.args;
    const dni_shape *x = &layer->bottom[0];
    int32_t axis;
    dn_status st = dni_layer_axis(layer, 0, p->axis, "infogain_loss_param.axis", &axis);
    if (st)
        return st;
    st = dni_loss_read(&s->loss, layer->param->loss_param,
                       CNN__LOSS_PARAMETER__NORMALIZATION_MODE__VALID);
    if (st)
        return st;
    a->loss = DN_LOSS_INFOGAIN;
    a->outer = dni_shape_range(x, 0, axis);
    a->dim = x->dim[axis];
    a->inner = dni_shape_range(x, axis + 1, x->axes);
    int64_t labels = dni_shape_count(&layer->bottom[1]), H = s->H_dim * s->H_dim;
    DNI_REQUIRE(labels == a->outer * a->inner, DN_E_SHAPE,
                "bottom 1 has %lld labels, bottom 0 has %lld predictions", (long long)labels,
                (long long)(a->outer * a->inner));
    if (layer->num_bottoms == 3)
        H = dni_shape_count(&layer->bottom[2]);
    DNI_REQUIRE((layer->wire_only && layer->num_bottoms < 3) ||
                    (H % a->dim == 0 && H / a->dim == a->dim),
                DN_E_SHAPE,
                "the infogain matrix has %lld values, %lld classes need their square",
                (long long)H, (long long)a->dim);
    layer->top[0] = dni_shape_of(0, NULL);
    if (layer->num_tops > 1)
        layer->top[1] = *x;
    return DN_OK;
}

static void forward(dni_layer *layer, dni_builder *b)
{
    infogain_state *s = layer->state;
    const dn_args_loss *a = &s->loss.args;
    dn_args_axis softmax = {.outer = a->outer, .dim = a->dim, .inner = a->inner};
    dni_tensor p = layer->num_tops > 1 ? b->y[1] : dni_temp_like(b, b->x[0]);
    dni_tensor H =
        layer->num_bottoms == 3 ? b->x[2] : dni_constant(b, b->dtype, a->dim * a->dim, s->H);
    dni_emit(b, DN_OP_SOFTMAX, &softmax, DNI_TENSORS(b->x[0]), DNI_TENSORS(p));
    dni_loss_forward(&s->loss, b, p, H, dni_temp(b, b->dtype, 1, &a->dim));
}

static void backward(dni_layer *layer, dni_builder *b)
{
    const infogain_state *s = layer->state;
    dni_loss_backward(&s->loss, b, b->dx[0], DNI_NONE);
}

const dni_layer_class dni_layer_infogain_loss = {
    .type = "InfogainLoss",
    .own = DNI_OWN(infogain_loss_param),
    .bottoms_min = 2,
    .bottoms_max = 3,
    .tops_min = 1,
    .tops_max = 2,
    .flags = DNI_LAYER_LOSS,
    .no_gradient = 1u << 1 | 1u << 2,
    .state_size = sizeof(infogain_state),
    .setup = setup,
    .shape = shape,
    .forward = forward,
    .backward = backward,
    .teardown = teardown,
};
