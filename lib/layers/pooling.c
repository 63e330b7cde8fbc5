/* SPDX-License-Identifier: BSD-2-Clause
 * Pooling: y = max, average or a random choice over a window of each channel.
 * pooling_param: pool (MAX; AVE, STOCHASTIC), kernel_size | kernel_h kernel_w, stride (1) |
 * stride_h stride_w, pad (0) | pad_h pad_w, global_pooling (false: true takes the whole
 * plane), round_mode (CEIL). Of the forks: ceil_mode, avg_include_pad, torch_pooling; of
 * Synopsys': pad_t, pad_b, pad_l and pad_r in place of pad, and AVE_EXC_PAD, AVE of what lies
 * inside. engine changes nothing. kernel_size, stride and pad (once, or of the forks for each
 * axis) are for the spatial axes, but of C3D kernel_depth, temporal_stride and temporal_pad for
 * the first of three. bottom: (N, C, spatial...); top: (N, C, out...), out = (in + the pads of
 * both sides - kernel) / stride + 1, rounded up; with padding, a last window that would start
 * beyond in + pad is left out.
 * Second top (MAX): the index in the plane of each maximum. AVE divides by the window cut at
 * in + pad. Gradient: MAX, STOCHASTIC: to the element chosen; AVE: spread evenly; STOCHASTIC
 * in TEST: 0. */
#include "layers/pooling.h"

#include <string.h>

#include "deepnet/net.h"

static dn_status read_method(const dni_layer *layer, const Cnn__PoolingParameter *p,
                             int32_t *out)
{
    switch (p->pool) {
    case CNN__POOLING_PARAMETER__POOL_METHOD__MAX:
        *out = DN_POOL_MAX;
        return DN_OK;
    case CNN__POOLING_PARAMETER__POOL_METHOD__AVE:
    case CNN__POOLING_PARAMETER__POOL_METHOD__AVE_EXC_PAD:
        *out = DN_POOL_AVE;
        return DN_OK;
    case CNN__POOLING_PARAMETER__POOL_METHOD__STOCHASTIC:
        *out =
            layer->phase == DN_PHASE_TRAIN ? DN_POOL_STOCHASTIC_TRAIN : DN_POOL_STOCHASTIC_TEST;
        return DN_OK;
    default:
        return dni_fail(DN_E_UNSUPPORTED, "this method of pooling is not supported");
    }
}

#define LONGEST 65536 /* a kernel's tables grow with it; no image is as wide */

/* Where the fields of a size are: given once, or for each axis, or as axis_h and axis_w. */
typedef struct size_fields {
    const char *once_name, *axis_name;
    int64_t nothing; /* a value that says no more than none; -1: each says something */
    uint16_t has, once, count, each, has_h, h, has_w, w;
} size_fields;

#define AT(field) offsetof(Cnn__PoolingParameter, field)
#define FIELDS(once, axis)                                                                     \
    AT(has_##once), AT(once), AT(n_##once##_3d), AT(once##_3d), AT(has_##axis##_h),            \
        AT(axis##_h), AT(has_##axis##_w), AT(axis##_w)
enum { KERNEL, STRIDE, PAD, SIZES };
static const size_fields sizes[SIZES] = {
    {"kernel_size", "kernel", -1, FIELDS(kernel_size, kernel)},
    {"stride", "stride", 1, FIELDS(stride, stride)},
    {"pad", "pad", 0, FIELDS(pad, pad)},
};

static uint32_t number(const Cnn__PoolingParameter *p, uint16_t at)
{
    return *(const uint32_t *)((const char *)p + at);
}

static size_t count_of(const Cnn__PoolingParameter *p, const size_fields *f)
{
    return *(const size_t *)((const char *)p + f->count);
}

static bool is_given(const Cnn__PoolingParameter *p, const size_fields *f)
{
    return (number(p, f->has) && number(p, f->once) != f->nothing) ||
           (number(p, f->has_h) && number(p, f->h) != f->nothing) ||
           (number(p, f->has_w) && number(p, f->w) != f->nothing) || count_of(p, f);
}

static dn_status read_size(const Cnn__PoolingParameter *p, const size_fields *f,
                           int32_t spatial, int64_t *out)
{
    bool has_h = number(p, f->has_h), has_w = number(p, f->has_w);
    uint32_t once = number(p, f->once);
    size_t count = count_of(p, f);
    const uint32_t *each = *(uint32_t *const *)((const char *)p + f->each);
    bool has = number(p, f->has) && once != f->nothing;
    const char *name = has_h || has_w ? f->axis_name : f->once_name;
    DNI_REQUIRE(!(has && count), DN_E_NET, "give %s once or for each axis, not both", name);
    has = has || count > 0;
    DNI_REQUIRE(has_h == has_w, DN_E_NET, "%s_%c is missing", name, has_h ? 'w' : 'h');
    DNI_REQUIRE(!(has && has_h), DN_E_NET, "give %s or %s_h and %s_w, not both", name, name,
                name);
    DNI_REQUIRE(!has_h || spatial == 2, DN_E_NET, "%s_h and %s_w need 2 spatial axes, not %d",
                name, name, spatial);
    DNI_REQUIRE(count <= 1 || count == (size_t)spatial, DN_E_NET,
                "%s is given %zu times for %d spatial axes", name, count, spatial);
    for (int32_t i = 0; i < spatial; i++) {
        out[i] = has_h ? number(p, i ? f->w : f->h) : count ? each[count > 1 ? i : 0] : once;
        DNI_REQUIRE(out[i] <= LONGEST, DN_E_LIMIT, "%s is longer than %d", name, LONGEST);
    }
    return DN_OK;
}

/* C3D's fields for time, the first of three spatial axes. */
static dn_status read_time(const dni_layer *layer, const Cnn__PoolingParameter *p,
                           dn_args_pool *a)
{
    bool has = p->has_kernel_depth || p->has_temporal_stride || p->has_temporal_pad;
    if (!has && strcmp(layer->cls->type, "Pooling3D"))
        return DN_OK;
    DNI_REQUIRE(a->spatial == 3, DN_E_SHAPE,
                "kernel_depth, temporal_stride and temporal_pad need 3 spatial axes, not %d",
                a->spatial);
    DNI_REQUIRE(p->kernel_depth <= LONGEST && p->temporal_stride <= LONGEST, DN_E_LIMIT,
                "kernel_depth or temporal_stride is longer than %d", LONGEST);
    a->kernel[0] = p->kernel_depth;
    a->stride[0] = p->temporal_stride;
    a->pad[0] = p->temporal_pad;
    return DN_OK;
}

static dn_status read_window(const dni_layer *layer, const Cnn__PoolingParameter *p,
                             dn_args_pool *a)
{
    DNI_REQUIRE(is_given(p, &sizes[KERNEL]), DN_E_NET,
                "pooling_param needs kernel_size, kernel_h and kernel_w, or global_pooling");
    dn_status st = read_size(p, &sizes[KERNEL], a->spatial, a->kernel);
    if (!st)
        st = read_size(p, &sizes[STRIDE], a->spatial, a->stride);
    if (!st)
        st = read_size(p, &sizes[PAD], a->spatial, a->pad);
    if (!st)
        st = read_time(layer, p, a);
    for (int32_t i = 0; !st && i < a->spatial; i++) {
        DNI_REQUIRE(a->kernel[i] > 0, DN_E_NET, "the kernel is 0");
        DNI_REQUIRE(a->stride[i] > 0, DN_E_NET, "stride is 0");
        DNI_REQUIRE(a->pad[i] < a->kernel[i], DN_E_NET,
                    "pad %lld is not less than the kernel, %lld", (long long)a->pad[i],
                    (long long)a->kernel[i]);
    }
    return st;
}

/* Each side's padding by itself: args.pad is what comes first, end what comes last. */
static dn_status read_border(const Cnn__PoolingParameter *p, dn_args_pool *a, int64_t end[])
{
    const uint32_t first[2] = {p->pad_t, p->pad_l}, last[2] = {p->pad_b, p->pad_r};
    bool any = p->pad_t || p->pad_l || p->pad_b || p->pad_r;
    DNI_REQUIRE(!any || (a->spatial == 2 && !is_given(p, &sizes[PAD]) && !p->global_pooling),
                DN_E_NET,
                "pad_t, pad_b, pad_l and pad_r need 2 spatial axes and a kernel, and no pad");
    for (int32_t i = 0; any && i < 2; i++) {
        DNI_REQUIRE(first[i] < a->kernel[i] && last[i] < a->kernel[i], DN_E_NET,
                    "a side's pad is not less than the kernel, %lld", (long long)a->kernel[i]);
        DNI_REQUIRE(first[i] == last[i] || a->method != DN_POOL_AVE || a->exclude_pad,
                    DN_E_UNSUPPORTED, "AVE of opposite sides padded unlike is not supported");
        a->pad[i] = first[i];
        end[i] = last[i];
    }
    for (int32_t i = any ? 2 : 0; i < a->spatial; i++)
        end[i] = a->pad[i];
    return DN_OK;
}

static dn_status read_global(const Cnn__PoolingParameter *p, const dni_shape *x,
                             dn_args_pool *a)
{
    for (int k = 0; k < SIZES; k++)
        DNI_REQUIRE(!is_given(p, &sizes[k]), DN_E_NET, "global_pooling takes no %s",
                    sizes[k].axis_name);
    for (int32_t i = 0; i < a->spatial; i++) {
        a->kernel[i] = x->dim[2 + i];
        a->stride[i] = 1;
    }
    return DN_OK;
}

static dn_status unsupported(const Cnn__PoolingParameter *p, const dni_shape *x)
{
    for (size_t i = 0; i < p->n_dilation; i++)
        DNI_REQUIRE(
            p->dilation[i] == 1 && (p->n_dilation == 1 || p->n_dilation + 2 == (size_t)x->axes),
            DN_E_UNSUPPORTED, "dilation of pooling is not supported, only 1 for each axis");
    DNI_REQUIRE(!p->has_axis || p->axis == 1, DN_E_UNSUPPORTED,
                "axis %d of pooling is not supported, only 1", p->axis);
    return DN_OK;
}

/* Windows along axis i; floor and ceiling of a negative quotient included. */
static dn_status out_length(const dn_args_pool *a, int32_t i, int64_t in, int64_t end, bool up,
                            bool padded, int64_t *out)
{
    int64_t room = in + a->pad[i] + end - a->kernel[i], s = a->stride[i];
    int64_t down = room >= 0 ? room / s : -((-room + s - 1) / s);
    *out = (up && room > down * s ? down + 1 : down) + 1;
    if (padded && (*out - 1) * s >= in + a->pad[i])
        --*out;
    DNI_REQUIRE(*out > 0, DN_E_SHAPE,
                "the kernel, %lld, is larger than axis %d, which has %lld "
                "with its padding",
                (long long)a->kernel[i], 2 + i, (long long)(in + a->pad[i] + end));
    return DN_OK;
}

static dn_status check_tops(const dni_layer *layer, int32_t method)
{
    DNI_REQUIRE(layer->num_tops == 1 || method == DN_POOL_MAX, DN_E_NET,
                "only MAX pooling has a second top");
    return DN_OK;
}

dn_status dni_pooling_shape(dni_layer *layer)
{
    const Cnn__PoolingParameter *p = layer->own;
    const dni_shape *x = &layer->bottom[0];
    dni_pooling *s = layer->state;
    dn_args_pool *a = &s->args;
    DNI_REQUIRE(x->axes >= 3 && x->axes <= 2 + DN_MAX_SPATIAL, DN_E_SHAPE,
                "bottom has %d axes, pooling needs (N, C, spatial...)", x->axes);
    *a = (dn_args_pool){.spatial = x->axes - 2, .stream = layer->stream};
    a->exclude_pad =
        !p->avg_include_pad || p->pool == CNN__POOLING_PARAMETER__POOL_METHOD__AVE_EXC_PAD;
    int64_t end[DN_MAX_SPATIAL];
    dn_status st = unsupported(p, x);
    if (!st)
        st = read_method(layer, p, &a->method);
    if (!st)
        st = check_tops(layer, a->method);
    if (!st)
        st = p->global_pooling ? read_global(p, x, a) : read_window(layer, p, a);
    if (!st)
        st = read_border(p, a, end);
    bool up = p->round_mode == CNN__POOLING_PARAMETER__ROUND_MODE__CEIL && p->ceil_mode &&
              !p->torch_pooling;
    bool padded = false;
    for (int32_t i = 0; !st && i < a->spatial; i++)
        padded |= a->pad[i] > 0 || end[i] > 0;
    DNI_REQUIRE(!padded || a->method <= DN_POOL_AVE, DN_E_UNSUPPORTED,
                "STOCHASTIC pooling takes no pad");
    dni_shape top = *x;
    for (int32_t i = 0; !st && i < a->spatial; i++)
        st = out_length(a, i, x->dim[2 + i], end[i], up, padded, &top.dim[2 + i]);
    for (int32_t i = 0; i < layer->num_tops; i++)
        layer->top[i] = top;
    return st;
}

void dni_pooling_forward(dni_layer *layer, dni_builder *b)
{
    dni_pooling *s = layer->state;
    const dni_shape *top = &layer->top[0];
    bool train = s->args.method == DN_POOL_STOCHASTIC_TRAIN;
    bool masked = train || s->args.method == DN_POOL_MAX;
    bool read = layer->propagate[0] || b->num_y > 1;
    s->mask = masked && read ? dni_temp(b, DN_I32, top->axes, top->dim) : DNI_NONE;
    dni_emit(b, DN_OP_POOL, &s->args, DNI_TENSORS(b->x[0], train ? b->random : DNI_NONE),
             DNI_TENSORS(b->y[0], s->mask));
    if (b->num_y > 1)
        dni_emit(b, DN_OP_CAST, NULL, DNI_TENSORS(s->mask), DNI_TENSORS(b->y[1]));
}

void dni_pooling_backward(dni_layer *layer, dni_builder *b)
{
    const dni_pooling *s = layer->state;
    if (s->args.method == DN_POOL_STOCHASTIC_TEST || b->dy[0] == DNI_NONE)
        dni_emit_fill(b, b->dx[0], 0);
    else
        dni_emit(b, DN_OP_POOL_BWD, &s->args, DNI_TENSORS(b->dy[0], s->mask),
                 DNI_TENSORS(b->dx[0]));
}

const dni_layer_class dni_layer_pooling = {
    .type = "Pooling",
    DNI_POOLING_CLASS,
};
