/* SPDX-License-Identifier: BSD-2-Clause
 * Upsample: two layers by one name. Of one bottom (YOLO v3): each value becomes a block of
 * scale x scale. Of two (SegNet): each value goes to the place that the mask of a max pooling
 * names, the rest is 0.
 * upsample_param: scale (1) | scale_h scale_w; with a mask also upsample_h upsample_w (the
 * top's size), pad_out_h, pad_out_w (false: one less). DeconvNet's unpooling_param: unpool
 * (MAX), with a mask, unpool_size (both of the top's sizes) | unpool_h unpool_w, kernel_size
 * and stride (of the pooling; mean nothing here); FuseNet's: output_h output_w | scale.
 * bottoms: (N, C, H, W), [mask: the same, places in the top's plane]; top: (N, C, H', W').
 * Gradient: the sum over the block; with a mask, what lies at the place. */
#include "layers/upsample.h"

static const Cnn__UpsampleParameter *param_of(const dni_layer *layer)
{
    const Cnn__UpsampleParameter *other = layer->param->unpooling_param;
    return other ? other : layer->own;
}

/* The size, under whichever name. */
static int64_t given(uint32_t a, uint32_t b, uint32_t c, uint32_t d)
{
    return a ? a : b ? b : c ? c : d;
}

dn_status dni_upsample_setup(dni_layer *layer)
{
    const Cnn__UpsampleParameter *p = param_of(layer);
    dni_upsample *s = layer->state;
    s->rows = p->has_scale_h ? (int64_t)p->scale_h : p->scale;
    s->columns = p->has_scale_w ? (int64_t)p->scale_w : p->scale;
    DNI_REQUIRE(s->rows > 0 && s->columns > 0 && s->rows <= INT32_MAX &&
                    s->columns <= INT32_MAX,
                DN_E_NET, "scale must be positive");
    s->H = given(p->unpool_size, p->unpool_h, p->output_h, p->upsample_h);
    s->W = given(p->unpool_size, p->unpool_w, p->output_w, p->upsample_w);
    DNI_REQUIRE((!p->has_kernel_size && p != layer->param->unpooling_param &&
                 layer->cls->bottoms_min == 1) ||
                    (((s->H && s->W) || p->has_scale) && layer->num_bottoms > 1 &&
                     p->unpool == CNN__UPSAMPLE_PARAMETER__UNPOOL_METHOD__MAX),
                DN_E_UNSUPPORTED,
                "unpooling other than MAX by a mask to a given size is not supported");
    return DN_OK;
}

dn_status dni_upsample_shape(dni_layer *layer)
{
    const Cnn__UpsampleParameter *p = param_of(layer);
    const dni_upsample *s = layer->state;
    const dni_shape *x = &layer->bottom[0];
    int64_t H, W;
    dn_status st = dni_need_axes(layer, 0, 4, false);
    if (st)
        return st;
    DNI_REQUIRE(dni_mul64(x->dim[2], s->rows, &H) && dni_mul64(x->dim[3], s->columns, &W),
                DN_E_SHAPE, "the top would be too large");
    if (layer->num_bottoms > 1) {
        DNI_REQUIRE(dni_shape_equal(x, &layer->bottom[1]), DN_E_SHAPE,
                    "the mask has another shape than bottom 0");
        H = s->H || p->has_upsample_h ? s->H : H - p->pad_out_h;
        W = s->W || p->has_upsample_w ? s->W : W - p->pad_out_w;
    }
    layer->top[0] = dni_shape_of(4, (int64_t[]){x->dim[0], x->dim[1], H, W});
    return DN_OK;
}

/* ---- blocks ------------------------------------------------------------------------------ */

static void forward_blocks(const dni_layer *layer, dni_builder *b)
{
    const dni_upsample *s = layer->state;
    const int64_t *d = layer->bottom[0].dim, W = d[3], wide = W * s->columns;
    dn_args_copy a = {.axes = 4,
                      .dim = {d[0] * d[1] * d[2], s->rows, W, s->columns},
                      .x_stride = {W, 0, 1, 0},
                      .y_stride = {s->rows * wide, wide, s->columns, 1},
                      .alpha = 1};
    dni_emit(b, DN_OP_COPY, &a, DNI_TENSORS(b->x[0]), DNI_TENSORS(b->y[0]));
}

static void backward_blocks(const dni_layer *layer, dni_builder *b)
{
    const dni_upsample *s = layer->state;
    const int64_t *d = layer->bottom[0].dim, W = d[3], wide = W * s->columns;
    dn_args_reduce a = {.op = DN_REDUCE_SUM,
                        .axes = 4,
                        .dim = {d[0] * d[1] * d[2], s->rows, W, s->columns},
                        .x_stride = {s->rows * wide, wide, s->columns, 1},
                        .y_stride = {W, 0, 1, 0},
                        .alpha = 1};
    dni_emit(b, DN_OP_REDUCE, &a, DNI_TENSORS(b->dy[0], DNI_NONE), DNI_TENSORS(b->dx[0]));
}

/* ---- places: a plane is a table whose rows are single numbers -----------------------------
 */

static dn_args_gather planes(const dni_layer *layer)
{
    const int64_t *x = layer->bottom[0].dim, *y = layer->top[0].dim;
    return (dn_args_gather){
        .count = x[2] * x[3], .cols = 1, .limit = y[2] * y[3], .batch = x[0] * x[1]};
}

void dni_upsample_forward(dni_layer *layer, dni_builder *b)
{
    dn_args_gather a = planes(layer);
    a.set = 1;
    if (b->num_x == 1)
        forward_blocks(layer, b);
    else
        dni_emit(b, DN_OP_SCATTER_ADD, &a, DNI_TENSORS(b->x[0], b->x[1]), DNI_TENSORS(b->y[0]));
}

void dni_upsample_backward(dni_layer *layer, dni_builder *b)
{
    dn_args_gather a = planes(layer);
    if (b->num_x == 1)
        backward_blocks(layer, b);
    else
        dni_emit(b, DN_OP_GATHER, &a, DNI_TENSORS(b->dy[0], b->x[1]), DNI_TENSORS(b->dx[0]));
}

const dni_layer_class dni_layer_upsample = {
    .type = "Upsample",
    .bottoms_min = 1,
    DNI_UPSAMPLE_CLASS,
};
