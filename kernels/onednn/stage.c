/* SPDX-License-Identifier: BSD-2-Clause
 * stage.c: the primitives of one cut of a convolution. oneDNN computes in NHWC, and in bf16
 * from operands that are bf16: what lies otherwise is reordered, or rounded, piece by piece.
 * Results that oneDNN cannot add to what is there (gradients) are made aside and added by the
 * reorder. */
#include <string.h>

#include "onednn.h"

/* Which image, if any, is at a place: CONV: x, w, y; BWD_DATA: dy, w, dx; BWD_WEIGHTS: x,
 * dy. */
static const one_image *image_at(const one_geo *g, int32_t kind, int place)
{
    if (place == 0)
        return kind == DN_OP_CONV_BWD_DATA ? &g->y : &g->x;
    if (place == 1)
        return kind == DN_OP_CONV_BWD_WEIGHTS ? &g->y : NULL;
    if (place == 2 && kind != DN_OP_CONV_BWD_WEIGHTS)
        return kind == DN_OP_CONV ? &g->y : &g->x;
    return NULL;
}

static bool is_result(int place)
{
    return place == 2;
}

/* The type of an image where oneDNN has it. */
static dnnl_data_type_t type_of(const one_geo *g, const one_image *image, int place)
{
    if (!is_result(place))
        return g->type;
    return image->layout == DN_LAYOUT_NHWC ? image->type : dnnl_f32;
}

/* ---- descriptions ------------------------------------------------------------------------ */

static bool is_thinned(const one_geo *g, const one_image *image)
{
    return g->thinned && image == &g->x;
}

static int64_t rows_of(const one_geo *g, const one_image *image, const one_cut *cut)
{
    return image == &g->x && !g->thinned ? cut->h : cut->p;
}

static int64_t cols_of(const one_geo *g, const one_image *image)
{
    return is_thinned(g, image) ? g->y.W : image->W;
}

static int64_t channels_of(const one_geo *g, const one_image *image, const one_cut *cut)
{
    return image == &g->x ? g->x.C : cut->k;
}

/* Where oneDNN has it: NHWC, without gaps. */
static dnnl_status_t dense_desc(one_desc *out, const one_geo *g, const one_image *image,
                                const one_cut *cut, dnnl_data_type_t type)
{
    int64_t h = rows_of(g, image, cut), w = cols_of(g, image), C = channels_of(g, image, cut);
    int64_t row = w * C;
    const dnnl_dim_t dims[4] = {cut->images, C, h, w};
    const dnnl_dim_t strides[4] = {h * row, 1, row, C};
    return one_desc_init(out, 4, dims, type, strides);
}

/* Where the operand has it. */
static dnnl_status_t operand_desc(one_desc *out, const one_geo *g, const one_image *image,
                                  const one_cut *cut)
{
    int64_t h = rows_of(g, image, cut), plane = image->H * image->W;
    bool nhwc = image->layout == DN_LAYOUT_NHWC, thin = is_thinned(g, image);
    int64_t pixel = nhwc ? image->C : 1;
    const dnnl_dim_t dims[4] = {cut->images, channels_of(g, image, cut), h, cols_of(g, image)};
    const dnnl_dim_t strides[4] = {plane * image->C, nhwc ? 1 : plane,
                                   image->W * pixel * (thin ? g->sh : 1),
                                   pixel * (thin ? g->sw : 1)};
    return one_desc_init(out, 4, dims, image->type, strides);
}

static void window_of(one_conv_desc *conv, const one_geo *g, const one_cut *cut)
{
    int64_t wide = (g->y.W - 1) * g->sw + (g->S - 1) * g->dw + 1;
    if (g->thinned) {
        conv->stride[0] = conv->stride[1] = 1;
        return;
    }
    conv->stride[0] = g->sh;
    conv->stride[1] = g->sw;
    conv->dilation[0] = g->dh - 1;
    conv->dilation[1] = g->dw - 1;
    conv->pad_before[0] = cut->before;
    conv->pad_before[1] = g->pw;
    conv->pad_after[0] = cut->after;
    conv->pad_after[1] = wide - g->x.W - g->pw;
}

enum { X, Y, W, B, DESCS };

static dnnl_status_t conv_descs(one_desc *d, int *made, const one_geo *g, const one_cut *cut,
                                int32_t kind)
{
    int place_x = kind == DN_OP_CONV_BWD_DATA ? 2 : 0, place_y = kind == DN_OP_CONV ? 2 : 0;
    const dnnl_dim_t k = cut->k, one = 1;
    dnnl_dim_t dims[5];
    int axes;
    one_desc plain;
    dnnl_status_t st = one_geo_weights(&plain, g, cut, &axes, dims);
    if (st)
        return st;
    one_desc_free(&plain);
    st = dense_desc(&d[X], g, &g->x, cut, type_of(g, &g->x, place_x));
    *made += !st;
    if (!st)
        st = dense_desc(&d[Y], g, &g->y, cut, type_of(g, &g->y, place_y));
    *made += !st;
    if (!st)
        st = one_desc_init(&d[W], axes, dims,
                           kind == DN_OP_CONV_BWD_WEIGHTS ? dnnl_f32 : g->type, NULL);
    *made += !st;
    if (!st)
        st = one_desc_init(&d[B], 1, &k, dnnl_f32, &one);
    *made += !st;
    return st;
}

/* Fast and right? oneDNN 2.6 reads past the channels of an odd number of them in pairs. */
static bool is_wanted(const char *name, const one_geo *g, int32_t kind)
{
    if (strstr(name, "ref") || strstr(name, "gemm"))
        return false;
    return !(kind == DN_OP_CONV_BWD_DATA && strstr(name, "bf16_1x1") && g->y.C % 2);
}

/* The convolution's description, if it has such an implementation. */
static dnnl_status_t conv_desc(dnnl_primitive_desc_t *out, const dn_backend *backend,
                               const one_geo *g, const one_cut *cut, const one_wish *wish,
                               const_dnnl_primitive_attr_t attr)
{
    one_desc d[DESCS];
    int made = 0;
    dnnl_status_t st = conv_descs(d, &made, g, cut, wish->kind);
    if (!st) {
        one_conv_desc conv = {.kind = wish->kind,
                              .x = one_view(&d[X]),
                              .y = one_view(&d[Y]),
                              .w = wish->w ? wish->w : one_view(&d[W]),
                              .b = wish->bias ? one_view(&d[B]) : NULL};
        window_of(&conv, g, cut);
        st = one_conv_create(out, backend->engine, &conv, attr);
    }
    for (int i = 0; i < made; i++)
        one_desc_free(&d[i]);
    if (!st && !is_wanted(one_desc_name(*out), g, wish->kind)) {
        dnnl_primitive_desc_destroy(*out);
        st = dnnl_unimplemented;
    }
    return st;
}

/* ---- create ------------------------------------------------------------------------------ */

static bool adds_aside(const one_geo *g, const one_cut *cut, const one_wish *wish)
{
    return wish->add && (wish->kind == DN_OP_CONV_BWD_DATA || g->y.layout != DN_LAYOUT_NHWC ||
                         one_is_part(g, cut));
}

static dn_status init_conv(one_stage *stage, const dn_backend *backend, const one_geo *g,
                           const one_cut *cut, const one_wish *wish, dn_op_info *info)
{
    static const int forward[] = {DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST, DNNL_ARG_BIAS},
                     data[] = {DNNL_ARG_DIFF_DST, DNNL_ARG_WEIGHTS, DNNL_ARG_DIFF_SRC},
                     weights[] = {DNNL_ARG_SRC, DNNL_ARG_DIFF_DST, DNNL_ARG_DIFF_WEIGHTS,
                                  DNNL_ARG_DIFF_BIAS};
    const int *args = wish->kind == DN_OP_CONV            ? forward
                      : wish->kind == DN_OP_CONV_BWD_DATA ? data
                                                          : weights;
    bool sum = wish->kind == DN_OP_CONV && wish->add && !adds_aside(g, cut, wish);
    dnnl_primitive_attr_t attr;
    dnnl_primitive_desc_t desc;
    dnnl_status_t status = one_attributes(&attr, sum, wish->activation, wish->activation_a);
    dn_status st = one_result(backend, status, info);
    if (st)
        return st;
    status = conv_desc(&desc, backend, g, cut, wish, attr);
    dnnl_primitive_attr_destroy(attr);
    st = one_result(backend, status, info);
    return st ? st : one_prim_init(&stage->conv, backend, desc, args, wish->bias ? 4 : 3, info);
}

/* Some of the weights, or of their gradient: plain to oneDNN's form, or back. */
static dnnl_status_t weights_move(dnnl_primitive_desc_t *out, const one_stage *stage,
                                  const dn_backend *backend, const one_geo *g,
                                  const one_cut *cut, const one_wish *wish)
{
    one_desc plain;
    int axes;
    dnnl_dim_t dims[5];
    bool back = wish->kind == DN_OP_CONV_BWD_WEIGHTS;
    dnnl_status_t st = one_geo_weights(&plain, g, cut, &axes, dims);
    if (st)
        return st;
    one_md a = one_view(&plain), b = one_stage_weights(stage, wish->kind);
    st = one_reorder_create(out, backend, back ? b : a, back ? a : b, back && wish->add);
    one_desc_free(&plain);
    return st;
}

static dnnl_status_t image_move(dnnl_primitive_desc_t *out, int place,
                                const dn_backend *backend, const one_geo *g, const one_cut *cut,
                                const one_image *image, bool add)
{
    one_desc operand, dense;
    dnnl_status_t st = operand_desc(&operand, g, image, cut);
    if (st)
        return st;
    st = dense_desc(&dense, g, image, cut, type_of(g, image, place));
    if (!st) {
        one_md a = one_view(&operand), b = one_view(&dense);
        st = one_reorder_create(out, backend, is_result(place) ? b : a,
                                is_result(place) ? a : b, add);
        one_desc_free(&dense);
    }
    one_desc_free(&operand);
    return st;
}

static bool is_weights(int32_t kind, int place)
{
    return place == (kind == DN_OP_CONV_BWD_WEIGHTS ? 2 : 1);
}

/* Does oneDNN take the operand as it lies? */
static bool fits_as_it_is(const one_geo *g, const one_cut *cut, int32_t kind, int place,
                          bool add)
{
    const one_image *image = image_at(g, kind, place);
    if (!image)
        return !is_weights(kind, place) || !one_is_part(g, cut);
    return image->layout == DN_LAYOUT_NHWC && image->type == type_of(g, image, place) &&
           channels_of(g, image, cut) == image->C && !add && !is_thinned(g, image);
}

/* The reorder of one place, if it needs one. */
static dn_status init_move(one_stage *stage, int place, const dn_backend *backend,
                           const one_geo *g, const one_cut *cut, const one_wish *wish,
                           dn_op_info *info)
{
    static const int args[] = {DNNL_ARG_FROM, DNNL_ARG_TO};
    const one_image *image = image_at(g, wish->kind, place);
    bool add = is_result(place) && adds_aside(g, cut, wish);
    if (fits_as_it_is(g, cut, wish->kind, place, add))
        return DN_OK;
    dnnl_primitive_desc_t desc;
    dnnl_status_t status = image ? image_move(&desc, place, backend, g, cut, image, add)
                                 : weights_move(&desc, stage, backend, g, cut, wish);
    dn_status st = one_result(backend, status, info);
    if (!st)
        st = one_prim_init(&stage->move[place], backend, desc, args, 2, info);
    if (st)
        return st;
    if (!image && wish->constant) /* one_stage_pack does it */
        return DN_OK;
    stage->moves[place] = true;
    stage->at[place] = stage->scratch;
    stage->scratch += one_round(
        one_prim_bytes(&stage->move[place], is_result(place) ? DNNL_ARG_FROM : DNNL_ARG_TO));
    return DN_OK;
}

dn_status one_stage_init(one_stage *stage, const dn_backend *backend, const one_geo *geo,
                         const one_cut *cut, const one_wish *wish, dn_op_info *info)
{
    *stage = (one_stage){.scratch = 0};
    dn_status st = init_conv(stage, backend, geo, cut, wish, info);
    for (int place = 0; place < ONE_PLACES && !st; place++)
        st = init_move(stage, place, backend, geo, cut, wish, info);
    if (st)
        one_stage_free(stage);
    return st;
}

void one_stage_free(one_stage *stage)
{
    one_prim_free(&stage->conv);
    for (int place = 0; place < ONE_PLACES; place++)
        one_prim_free(&stage->move[place]);
}

one_md one_stage_weights(const one_stage *stage, int32_t kind)
{
    return one_prim_md(&stage->conv, kind == DN_OP_CONV_BWD_WEIGHTS ? DNNL_ARG_DIFF_WEIGHTS
                                                                    : DNNL_ARG_WEIGHTS);
}

size_t one_stage_scratch(const one_stage *stage)
{
    size_t most = stage->conv.scratch;
    for (int place = 0; place < ONE_PLACES; place++)
        most = stage->move[place].scratch > most ? stage->move[place].scratch : most;
    return stage->scratch + one_round(most);
}

size_t one_stage_packed(const one_stage *stage)
{
    return one_round(one_prim_bytes(&stage->move[1], DNNL_ARG_TO));
}

/* ---- run --------------------------------------------------------------------------------- */

dnnl_status_t one_stage_pack(one_stage *stage, int32_t worker, const void *w, void *packed,
                             char *scratch)
{
    return one_prim_run(&stage->move[1], worker, (void *[]){(void *)(uintptr_t)w, packed},
                        scratch + stage->scratch);
}

dnnl_status_t one_stage_run(one_stage *stage, int32_t worker, void *const *data, char *scratch)
{
    void *place[ONE_PLACES];
    char *rest = scratch + stage->scratch;
    dnnl_status_t st = dnnl_success;
    for (int i = 0; i < ONE_PLACES && !st; i++) {
        place[i] = stage->moves[i] ? scratch + stage->at[i] : data[i];
        if (stage->moves[i] && !is_result(i))
            st = one_prim_run(&stage->move[i], worker, (void *[]){data[i], place[i]}, rest);
    }
    if (!st)
        st = one_prim_run(&stage->conv, worker, place, rest);
    if (!st && stage->moves[2])
        st = one_prim_run(&stage->move[2], worker, (void *[]){place[2], data[2]}, rest);
    return st;
}
