/* SPDX-License-Identifier: BSD-2-Clause
 * Crop: y = the part of x that begins at the offsets and has the size of the reference.
 * crop_param: axis (2): axes from there on are cut; offset (0): one for all of them, or one
 * each.
 * bottoms: x, reference (its values do not matter); top: x's lengths before axis, the
 * reference's from there on.
 * Gradient: dx = dy inside the window, 0 outside; none to the reference. */
#include <string.h>

#include "layers/crop.h"

typedef struct crop_state {
    dn_args_copy window;
} crop_state;

static dn_status find_offsets(const dni_layer *layer, int64_t *offset, int32_t *first)
{
    const Cnn__CropParameter *p = layer->own;
    const dni_shape *x = &layer->bottom[0], *ref = &layer->bottom[1];
    size_t given = p->n_offset;
    dn_status st = dni_layer_axis(layer, 0, p->axis, "crop_param.axis", first);
    if (st)
        return st;
    DNI_REQUIRE(ref->axes == x->axes, DN_E_SHAPE, "the reference has %d axes, bottom 0 has %d",
                ref->axes, x->axes);
    DNI_REQUIRE(given <= 1 || given == (size_t)(x->axes - *first), DN_E_NET,
                "crop_param has %zu offsets; give one, or one for each of the %d axes cut",
                given, x->axes - *first);
    for (int32_t i = 0; i < x->axes; i++) {
        offset[i] = 0;
        if (i < *first)
            continue;
        if (given)
            offset[i] = p->offset[given == 1 ? 0 : i - *first];
        DNI_REQUIRE(ref->dim[i] <= x->dim[i] - offset[i], DN_E_SHAPE,
                    "axis %d: %lld from offset %lld do not fit into %lld", i,
                    (long long)ref->dim[i], (long long)offset[i], (long long)x->dim[i]);
    }
    return DN_OK;
}

/* Axes that are kept whole are folded into the one before: few strides do for many axes. */
dn_status dni_crop_window(dn_args_copy *w, const dni_shape *x, const dni_shape *y,
                          const int64_t *offset)
{
    int64_t x_stride = 1, y_stride = 1;
    int32_t n = 0;
    *w = (dn_args_copy){.alpha = 1};
    int64_t dim[DN_MAX_AXES + 1] = {1}, xs[DN_MAX_AXES + 1] = {1}, ys[DN_MAX_AXES + 1] = {1};
    for (int32_t i = x->axes - 1; i >= 0; i--) {
        w->x_offset += offset[i] * x_stride;
        if (dim[n] * xs[n] == x_stride) {
            dim[n] *= y->dim[i];
        } else {
            n++;
            dim[n] = y->dim[i], xs[n] = x_stride, ys[n] = y_stride;
        }
        x_stride *= x->dim[i];
        y_stride *= y->dim[i];
    }
    DNI_REQUIRE(n < DN_MAX_STRIDED, DN_E_UNSUPPORTED, "more than %d axes are cut",
                DN_MAX_STRIDED);
    w->axes = n + 1;
    for (int32_t i = 0; i <= n; i++) { /* outermost first */
        w->dim[i] = dim[n - i];
        w->x_stride[i] = xs[n - i];
        w->y_stride[i] = ys[n - i];
    }
    return DN_OK;
}

void dni_crop_put(dni_builder *b, const dn_args_copy *w, dni_tensor y, dni_tensor x,
                  double around, bool add)
{
    dn_args_copy back = {
        .base.accumulate = add, .axes = w->axes, .y_offset = w->x_offset, .alpha = 1};
    for (int32_t i = 0; i < w->axes; i++) {
        back.dim[i] = w->dim[i];
        back.x_stride[i] = w->y_stride[i];
        back.y_stride[i] = w->x_stride[i];
    }
    dni_emit_fill(b, x, around);
    dni_emit(b, DN_OP_COPY, &back, DNI_TENSORS(y), DNI_TENSORS(x));
}

/* Where both are as large there is but one place. */
static dn_status setup(dni_layer *layer)
{
    const int64_t *x = layer->bottom[0].dim + 2, *ref = layer->bottom[1].dim + 2;
    if (!layer->param->crop_param && memcmp(x, ref, (DN_MAX_AXES - 2) * sizeof *x))
        dni_log(layer->context, DN_LOG_NOTICE,
                "layer '%s': Crop without crop_param begins at 0; older forks looked for the "
                "offset",
                layer->name);
    return DN_OK;
}

static dn_status shape(dni_layer *layer)
{
    crop_state *s = layer->state;
    int64_t offset[DN_MAX_AXES];
    int32_t first;
    dn_status st = find_offsets(layer, offset, &first);
    if (st)
        return st;
    layer->top[0] = layer->bottom[0];
    for (int32_t i = first; i < layer->bottom[0].axes; i++)
        layer->top[0].dim[i] = layer->bottom[1].dim[i];
    return dni_crop_window(&s->window, &layer->bottom[0], &layer->top[0], offset);
}

static void forward(dni_layer *layer, dni_builder *b)
{
    const crop_state *s = layer->state;
    dni_emit(b, DN_OP_COPY, &s->window, DNI_TENSORS(b->x[0]), DNI_TENSORS(b->y[0]));
}

static void backward(dni_layer *layer, dni_builder *b)
{
    dni_crop_put(b, &((const crop_state *)layer->state)->window, b->dy[0], b->dx[0], 0, true);
}

const dni_layer_class dni_layer_crop = {
    .type = "Crop",
    .own = DNI_OWN(crop_param),
    .bottoms_min = 2,
    .bottoms_max = 2,
    .tops_min = 1,
    .tops_max = 1,
    .no_gradient = 1u << 1,
    .state_size = sizeof(crop_state),
    .setup = setup,
    .shape = shape,
    .forward = forward,
    .backward = backward,
};
