/* SPDX-License-Identifier: BSD-2-Clause
 * window.c: see window.h. */
#include "layers/window.h"

#include <string.h>

/* A field given once for all spatial axes or once for each. */
static dn_status read_each(const char *field, size_t count, const uint32_t *values,
                           int64_t none, int32_t spatial, int64_t least, int64_t *out)
{
    DNI_REQUIRE(count <= 1 || count == (size_t)spatial, DN_E_NET,
                "%s is given %zu times for %d spatial axes", field, count, spatial);
    for (int32_t i = 0; i < spatial; i++) {
        out[i] = count == 0 ? none : values[count == 1 ? 0 : i];
        DNI_REQUIRE(out[i] >= least, DN_E_NET, "%s is %lld", field, (long long)out[i]);
        DNI_REQUIRE(out[i] <= INT32_MAX, DN_E_NET, "%s is %lld", field, (long long)out[i]);
    }
    return DN_OK;
}

/* The same field spelled _h and _w: 2-D only, and not beside the repeated one. */
static dn_status read_hw(const char *field, size_t count, bool has_h, uint32_t h, bool has_w,
                         uint32_t w, int64_t none, int32_t spatial, int64_t least, int64_t *out)
{
    DNI_REQUIRE(spatial == 2, DN_E_NET, "%s_h and %s_w need 2 spatial axes, not %d", field,
                field, spatial);
    DNI_REQUIRE(count == 0, DN_E_NET, "%s is given beside %s_h or %s_w", field, field, field);
    DNI_REQUIRE(none >= 0 || (has_h && has_w), DN_E_NET, "%s_%c is missing", field,
                has_h ? 'w' : 'h');
    uint32_t hw[2] = {has_h ? h : (uint32_t)none, has_w ? w : (uint32_t)none};
    return read_each(field, 2, hw, none, 2, least, out);
}

static dn_status read_kernel(const Cnn__ConvolutionParameter *p, int32_t spatial, int64_t *out)
{
    if (p->has_kernel_h || p->has_kernel_w)
        return read_hw("kernel", p->n_kernel_size, p->has_kernel_h, p->kernel_h,
                       p->has_kernel_w, p->kernel_w, -1, spatial, 1, out);
    DNI_REQUIRE(spatial == 0 || p->n_kernel_size > 0, DN_E_NET,
                "convolution_param needs kernel_size, or kernel_h and kernel_w");
    return read_each("kernel_size", p->n_kernel_size, p->kernel_size, 0, spatial, 1, out);
}

static dn_status read_stride(const Cnn__ConvolutionParameter *p, int32_t spatial, int64_t *out)
{
    if (p->has_stride_h || p->has_stride_w)
        return read_hw("stride", p->n_stride, p->has_stride_h, p->stride_h, p->has_stride_w,
                       p->stride_w, 1, spatial, 1, out);
    return read_each("stride", p->n_stride, p->stride, 1, spatial, 1, out);
}

static dn_status read_dilation(const Cnn__ConvolutionParameter *p, int32_t spatial,
                               int64_t *out)
{
    if (p->has_dilation_h || p->has_dilation_w)
        return read_hw("dilation", p->n_dilation, p->has_dilation_h, p->dilation_h,
                       p->has_dilation_w, p->dilation_w, 1, spatial, 1, out);
    return read_each("dilation", p->n_dilation, p->dilation, 1, spatial, 1, out);
}

/* Each side's padding by itself; where opposite ones are alike it is pad_h and pad_w. */
static dn_status read_border(const Cnn__ConvolutionParameter *p, dni_window *w)
{
    const uint32_t sides[4] = {p->pad_t, p->pad_l, p->pad_b, p->pad_r};
    DNI_REQUIRE(w->args.spatial == 2 && !p->n_pad && !p->has_pad_h && !p->has_pad_w, DN_E_NET,
                "pad_t, pad_b, pad_l and pad_r need 2 spatial axes, and no pad beside them");
    w->bordered = p->pad_t != p->pad_b || p->pad_l != p->pad_r;
    dn_status st = read_each("a side's pad", 4, sides, 0, 4, 0, w->border);
    for (int32_t i = 0; i < 2 && !w->bordered; i++)
        w->args.pad[i] = w->border[i];
    return st;
}

static dn_status read_pad(const Cnn__ConvolutionParameter *p, int32_t spatial, int64_t *out)
{
    if (p->has_pad_h || p->has_pad_w)
        return read_hw("pad", p->n_pad, p->has_pad_h, p->pad_h, p->has_pad_w, p->pad_w, 0,
                       spatial, 0, out);
    return read_each("pad", p->n_pad, p->pad, 0, spatial, 0, out);
}

/* C3D's fields for time, the first of three spatial axes; the others are for height and width.
 */
static dn_status read_time(const dni_layer *layer, const Cnn__ConvolutionParameter *p,
                           dn_args_conv *a)
{
    bool has = p->has_kernel_depth || p->has_temporal_stride || p->has_temporal_pad;
    if (!has && strcmp(layer->cls->type, "Convolution3D"))
        return DN_OK;
    DNI_REQUIRE(a->spatial == 3, DN_E_SHAPE,
                "kernel_depth, temporal_stride and temporal_pad need 3 spatial axes, not %d",
                a->spatial);
    dn_status st = read_each("kernel_depth", 1, &p->kernel_depth, 1, 1, 1, a->kernel);
    if (!st)
        st = read_each("temporal_stride", 1, &p->temporal_stride, 1, 1, 1, a->stride);
    return st ? st : read_each("temporal_pad", 1, &p->temporal_pad, 0, 1, 0, a->pad);
}

dn_status dni_window_read(const dni_layer *layer, dni_window *w)
{
    const Cnn__ConvolutionParameter *p = layer->own;
    *w = (dni_window){0};
    dn_status st = dni_layer_axis(layer, 0, p->axis, "axis", &w->axis);
    if (st)
        return st;
    w->N = dni_shape_range(&layer->bottom[0], 0, w->axis);
    w->args.spatial = layer->bottom[0].axes - w->axis - 1;
    w->args.group = (int32_t)p->group;
    DNI_REQUIRE(!p->has_deformable_group || !strcmp(layer->cls->type, "DeformableConvolution"),
                DN_E_NET, "deformable_group is DeformableConvolution's");
    DNI_REQUIRE(w->args.spatial <= DN_MAX_SPATIAL, DN_E_UNSUPPORTED,
                "%d spatial axes; at most %d are possible", w->args.spatial, DN_MAX_SPATIAL);
    st = read_kernel(p, w->args.spatial, w->args.kernel);
    if (!st)
        st = read_stride(p, w->args.spatial, w->args.stride);
    if (!st && (p->has_pad_t || p->has_pad_b || p->has_pad_l || p->has_pad_r))
        st = read_border(p, w);
    else if (!st)
        st = read_pad(p, w->args.spatial, w->args.pad);
    if (!st)
        st = read_dilation(p, w->args.spatial, w->args.dilation);
    DNI_REQUIRE(st || !w->bordered || strstr(layer->cls->type, "Convolution"), DN_E_UNSUPPORTED,
                "%s pads opposite sides alike", layer->cls->type);
    return st ? st : read_time(layer, p, &w->args);
}

dn_status dni_window_weights(dni_layer *layer, const dni_window *w, int64_t C, int64_t K,
                             bool transposed)
{
    const Cnn__ConvolutionParameter *p = layer->own;
    const int32_t group = w->args.group;
    DNI_REQUIRE(K > 0, DN_E_NET, "convolution_param needs num_output");
    DNI_REQUIRE(p->group > 0 && p->group <= INT32_MAX, DN_E_NET, "group is %u", p->group);
    DNI_REQUIRE(C % group == 0, DN_E_NET, "group %d does not divide the %lld channels", group,
                (long long)C);
    DNI_REQUIRE(K % group == 0, DN_E_NET, "group %d does not divide num_output %lld", group,
                (long long)K);
    dni_shape shape = {.axes = 2 + w->args.spatial, .dim = {K, C / group}};
    if (transposed)
        shape.dim[0] = C, shape.dim[1] = K / group;
    for (int32_t i = 0; i < w->args.spatial; i++)
        shape.dim[2 + i] = w->args.kernel[i];
    dn_status st = dni_declare_weight(layer, &shape, p->weight_filler);
    if (!st && p->bias_term) {
        shape = dni_shape_of(1, &K);
        st = dni_declare_weight(layer, &shape, p->bias_filler);
    }
    return st;
}

dn_status dni_window_out(const dni_window *w, const dni_shape *bottom, int32_t i, int64_t *out)
{
    const dn_args_conv *a = &w->args;
    int64_t padded = bottom->dim[w->axis + 1 + i] + 2 * a->pad[i];
    if (w->bordered)
        padded += w->border[i] + w->border[i + 2];
    int64_t extent = a->dilation[i] * (a->kernel[i] - 1) + 1;
    DNI_REQUIRE(extent <= padded, DN_E_SHAPE,
                "the kernel spans %lld elements of axis %d, which has %lld with its padding",
                (long long)extent, w->axis + 1 + i, (long long)padded);
    *out = (padded - extent) / a->stride[i] + 1;
    return DN_OK;
}

dn_status dni_same_bottoms(const dni_layer *layer)
{
    DNI_REQUIRE(layer->num_bottoms == layer->num_tops, DN_E_NET,
                "%d bottoms and %d tops; there must be as many of each", layer->num_bottoms,
                layer->num_tops);
    for (int32_t i = 1; i < layer->num_bottoms; i++)
        DNI_REQUIRE(dni_shape_equal(&layer->bottom[0], &layer->bottom[i]), DN_E_SHAPE,
                    "bottom %d has another shape than bottom 0", i);
    return DN_OK;
}

/* ---- folding ---------------------------------------------------------------------------- */

dni_tensor dni_fold_write(const dni_window *w, dni_builder *b, dni_tensor t)
{
    if (w->axis == 1 || t == DNI_NONE)
        return t;
    dni_shape s = *dni_tensor_shape(b, t), folded = {.axes = s.axes - w->axis + 1};
    folded.dim[0] = w->N;
    for (int32_t i = w->axis; i < s.axes; i++)
        folded.dim[i - w->axis + 1] = s.dim[i];
    return dni_temp(b, b->dtype, folded.axes, folded.dim);
}

dni_tensor dni_fold_read(const dni_window *w, dni_builder *b, dni_tensor t)
{
    dni_tensor folded = dni_fold_write(w, b, t);
    if (folded != t)
        dni_emit_copy(b, t, folded);
    return folded;
}

void dni_unfold(dni_builder *b, dni_tensor folded, dni_tensor t)
{
    if (folded != t)
        dni_emit_copy(b, folded, t);
}

/* ---- borders ----------------------------------------------------------------------------- */

/* The image within its borders, to or from there. */
static void emit_inside(const dni_window *w, dni_builder *b, dni_tensor image, dni_tensor whole,
                        bool out)
{
    const dni_shape *s = dni_tensor_shape(b, whole);
    int64_t H = s->dim[2] - w->border[0] - w->border[2],
            W = s->dim[3] - w->border[1] - w->border[3], at = w->border[0] * s->dim[3];
    dn_args_copy a = {.axes = 3, .dim = {s->dim[0] * s->dim[1], H, W}, .alpha = 1};
    int64_t *inside = out ? a.y_stride : a.x_stride, *all = out ? a.x_stride : a.y_stride;
    inside[0] = H * W, inside[1] = W, inside[2] = all[2] = 1;
    all[0] = s->dim[2] * s->dim[3], all[1] = s->dim[3];
    *(out ? &a.x_offset : &a.y_offset) = at + w->border[1];
    dni_emit(b, DN_OP_COPY, &a, DNI_TENSORS(out ? whole : image),
             DNI_TENSORS(out ? image : whole));
}

dni_tensor dni_border_write(const dni_window *w, dni_builder *b, dni_tensor t)
{
    if (!w->bordered || t == DNI_NONE)
        return dni_fold_write(w, b, t);
    const dni_shape *s = dni_tensor_shape(b, t);
    int64_t dim[4] = {w->N, s->dim[w->axis], s->dim[w->axis + 1], s->dim[w->axis + 2]};
    for (int32_t i = 0; i < 2; i++)
        dim[2 + i] += w->border[i] + w->border[i + 2];
    return dni_temp(b, b->dtype, 4, dim);
}

dni_tensor dni_border_read(const dni_window *w, dni_builder *b, dni_tensor t)
{
    if (!w->bordered)
        return dni_fold_read(w, b, t);
    dni_tensor whole = dni_border_write(w, b, t);
    dni_emit_fill(b, whole, 0);
    emit_inside(w, b, t, whole, false);
    return whole;
}

void dni_unborder(const dni_window *w, dni_builder *b, dni_tensor whole, dni_tensor t)
{
    if (!w->bordered)
        dni_unfold(b, whole, t);
    else if (t != DNI_NONE)
        emit_inside(w, b, t, whole, true);
}
