/* SPDX-License-Identifier: BSD-2-Clause
 * Reshape: the same values under another shape.
 * reshape_param: shape (0: the bottom's axis at that place; -1, at most once: what is left),
 * axis (0: the first axis replaced; -1 is the end, after the last), num_axes (-1: up to the
 * end). bottom: any shape; top: of the same count, unless the bottom's is a guess: the net
 * knows better. Gradient: dx = dy under the bottom's shape. */
#include "layers/layer.h"

/* Axes [from, to) of the bottom are replaced. */
static dn_status read_range(const Cnn__ReshapeParameter *p, int32_t axes, int32_t *from,
                            int32_t *to)
{
    int64_t start = p->axis >= 0 ? p->axis : (int64_t)axes + p->axis + 1;
    DNI_REQUIRE(start >= 0 && start <= axes, DN_E_SHAPE,
                "axis %d is outside [%d, %d] of a blob with %d axes", p->axis, -axes - 1, axes,
                axes);
    DNI_REQUIRE(p->num_axes >= -1, DN_E_NET, "num_axes is %d", p->num_axes);
    int64_t end = p->num_axes == -1 ? axes : start + p->num_axes;
    DNI_REQUIRE(end <= axes, DN_E_SHAPE, "axis %d and num_axes %d reach beyond the %d axes",
                p->axis, p->num_axes, axes);
    *from = (int32_t)start;
    *to = (int32_t)end;
    return DN_OK;
}

/* Appends the new axes; *inferred is the one that -1 names, or -1. */
static dn_status take_dims(const Cnn__BlobShape *dims, const dni_shape *x, int32_t from,
                           dni_shape *top, int32_t *inferred)
{
    *inferred = -1;
    for (size_t i = 0; i < dims->n_dim; i++) {
        int64_t dim = dims->dim[i];
        if (dim == 0) {
            DNI_REQUIRE(from + (int64_t)i < x->axes, DN_E_SHAPE,
                        "dim 0 at place %zu: the bottom has no axis %lld", i,
                        (long long)from + (long long)i);
            dim = x->dim[from + (int32_t)i];
        } else if (dim == -1) {
            DNI_REQUIRE(*inferred < 0, DN_E_NET, "dim -1 is given twice");
            *inferred = top->axes;
            dim = 1;
        }
        DNI_REQUIRE(dim >= 0, DN_E_SHAPE, "dim %lld", (long long)dim);
        top->dim[top->axes++] = dim;
    }
    return DN_OK;
}

/* Of an empty bottom the axes that are not: -1 means the same for an empty batch that stays. */
static int64_t count_of(const dni_shape *shape)
{
    int64_t count = 1;
    for (int32_t i = 0; i < shape->axes; i++)
        count *= shape->dim[i] ? shape->dim[i] : 1;
    return count;
}

static dn_status shape(dni_layer *layer)
{
    static const Cnn__BlobShape none = CNN__BLOB_SHAPE__INIT;
    const Cnn__ReshapeParameter *p = layer->own;
    const dni_shape *x = &layer->bottom[0];
    int32_t from = 0, to = 0, inferred = -1;
    const Cnn__BlobShape *dims = p->shape ? p->shape : &none;
    dn_status st = read_range(p, x->axes, &from, &to);
    if (st)
        return st;
    DNI_REQUIRE(dims->n_dim + (size_t)(from + x->axes - to) <= DN_MAX_AXES, DN_E_SHAPE,
                "the top would have more than %d axes", DN_MAX_AXES);
    dni_shape top = dni_shape_of(from, x->dim);
    st = take_dims(dims, x, from, &top, &inferred);
    for (int32_t i = to; i < x->axes; i++)
        top.dim[top.axes++] = x->dim[i];
    if (!st)
        st = dni_shape_check(&top);
    if (st)
        return st;
    bool lost = dni_shape_count(x) == 0 && dni_shape_count(&top) > 0; /* the empty axis */
    int64_t have = lost ? 0 : count_of(x), want = count_of(&top);
    if (inferred >= 0) {
        DNI_REQUIRE(have % want == 0 || layer->vague, DN_E_SHAPE,
                    "%lld values do not divide by the other axes, %lld", (long long)have,
                    (long long)want);
        top.dim[inferred] = have % want ? 1 : have / want;
    }
    DNI_REQUIRE(inferred >= 0 || have == want || layer->vague, DN_E_SHAPE,
                "the bottom has %lld values, the new shape %lld", (long long)have,
                (long long)want);
    layer->top[0] = top;
    return DN_OK;
}

const dni_layer_class dni_layer_reshape = {
    .type = "Reshape",
    .own = DNI_OWN(reshape_param),
    .bottoms_min = 1,
    .bottoms_max = 1,
    .tops_min = 1,
    .tops_max = 1,
    .flags = DNI_LAYER_SHARED_DIFF,
    .shape = shape,
    .forward = dni_copy_forward,
    .backward = dni_copy_backward,
};
