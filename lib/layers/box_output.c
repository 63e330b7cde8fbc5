/* SPDX-License-Identifier: BSD-2-Clause
 * BoxOutput (MS-CNN): the boxes that maps of several scales propose, best first, without those
 * that overlap a better one. Each cell of map k has scores of background and classes, then x,
 * y, w, h: the box's middle is x field_w[k], y field_h[k] beside that of the cell, its size is
 * e^w field_w[k] by e^h field_h[k], where |x| and |y| are at most 1 / field_xyr, |w| and |h| at
 * most log field_whr; it is cut to the image, of downsample_rate[k] pixels a cell. Its score is
 * the best class's less the background's.
 * box_output_param: field_w, field_h, downsample_rate (one for each bottom), field_whr (2),
 * field_xyr (2), fg_thr (0): the least score; min_size (15) of both sides; max_nms_num (0: all)
 * before suppression by iou_thr (0.5), max_post_nms_num (0: all) after it; nms_type (IOU).
 * bottoms: maps (N, classes + 4, H, W); tops: (R, 5, 1, 1): image, x0, y0, x1, y1; [(R, 6, 1,
 * 1): the score too]; R is known after the run. If there is none, each image has one of -1.
 * No gradient. */
#include <math.h>

#include "layers/boxes.h"

typedef struct output_state {
    int64_t N, C, P; /* P: cells of all maps */
    int64_t room;    /* cells that `middle` has room for */
    int64_t before, most;
    void *middle; /* of each cell: (P) x, (P) y, in the net's type */
    dni_detected found;
} output_state;

static dn_status setup(dni_layer *layer)
{
    const Cnn__BoxOutputParameter *p = layer->own;
    size_t maps = (size_t)layer->num_bottoms;
    DNI_REQUIRE(p->n_field_w == maps && p->n_field_h == maps && p->n_downsample_rate == maps &&
                    p->field_whr >= 1 && p->field_xyr > 0,
                DN_E_NET,
                "%zu bottoms need as many of field_w, field_h and downsample_rate, a field_whr "
                "of at least 1 and a positive field_xyr",
                maps);
    DNI_REQUIRE(!strcmp(p->nms_type, "IOU"), DN_E_UNSUPPORTED, "nms_type must be IOU");
    return DN_OK;
}

static dn_status fill(dni_layer *layer, output_state *s)
{
    const Cnn__BoxOutputParameter *p = layer->own;
    int64_t at = 0;
    if (s->room != s->P) {
        dni_free(s->middle);
        s->middle = dni_alloc(layer->heap, (size_t)s->P, 2 * dni_dtype_size(layer->dtype));
        s->room = s->middle ? s->P : 0;
    }
    for (int32_t k = 0; s->middle && k < layer->num_bottoms; k++) {
        double rate = p->downsample_rate[k];
        for (int64_t i = 0; i < layer->bottom[k].dim[2]; i++)
            for (int64_t j = 0; j < layer->bottom[k].dim[3]; j++, at++) {
                dni_put(s->middle, layer->dtype, at, ((double)j + 0.5) * rate);
                dni_put(s->middle, layer->dtype, s->P + at, ((double)i + 0.5) * rate);
            }
    }
    return s->middle ? DN_OK : DN_E_NOMEM;
}

static dn_status shape(dni_layer *layer)
{
    const Cnn__BoxOutputParameter *p = layer->own;
    const dni_shape *x = layer->bottom;
    output_state *s = layer->state;
    s->N = x[0].axes == 4 ? x[0].dim[0] : 0;
    s->C = x[0].axes == 4 ? x[0].dim[1] - 4 : 0;
    s->P = 0;
    for (int32_t k = 0; k < layer->num_bottoms; k++) {
        DNI_REQUIRE(
            s->C >= 2 && x[k].axes == 4 && x[k].dim[0] == s->N && x[k].dim[1] == s->C + 4,
            DN_E_SHAPE, "the bottoms must be maps of %lld channels, two scores and more",
            (long long)s->C + 4);
        s->P += x[k].dim[2] * x[k].dim[3];
    }
    DNI_REQUIRE(s->P < INT32_MAX, DN_E_SHAPE, "%lld cells are too many", (long long)s->P);
    s->before = p->max_nms_num && p->max_nms_num < s->P ? p->max_nms_num : s->P;
    s->most = p->max_post_nms_num && p->max_post_nms_num < s->before ? p->max_post_nms_num
                                                                     : s->before;
    for (int32_t i = 0; i < layer->num_tops; i++)
        layer->top[i] = dni_shape_of(4, (int64_t[]){s->N * s->most, 5 + i, 1, 1});
    dn_status st = dni_shape_check(&layer->top[layer->num_tops - 1]);
    return st || layer->wire_only ? st : fill(layer, s);
}

/* Map k, its cells, and where they are among all of them. */
typedef struct map {
    dni_tensor x;
    int64_t cells, at;
    double field[2], side[2]; /* of the image, in pixels */
} map;

/* Channel c: (N, cells). */
static dni_tensor channel(dni_builder *b, const output_state *s, const map *m, int64_t c)
{
    dni_tensor y = dni_temp(b, b->dtype, 2, (int64_t[]){s->N, m->cells});
    dni_emit_rows(b, s->N, m->cells, (s->C + 4) * m->cells, c * m->cells, m->cells, 0, m->x, y);
    return y;
}

/* x (N, cells) becomes column c of the map's cells in y (N, P, width). */
static void put(dni_builder *b, const output_state *s, const map *m, int64_t width, int64_t c,
                dni_tensor x, dni_tensor y)
{
    for (int64_t n = 0; n < s->N; n++)
        dni_emit_rows(b, m->cells, 1, 1, n * m->cells, width, (n * s->P + m->at) * width + c, x,
                      y);
}

static dni_tensor score_of(dni_builder *b, const output_state *s, const map *m)
{
    dni_tensor score = channel(b, s, m, 1);
    for (int64_t c = 2; c < s->C; c++)
        dni_emit_pair(b, DN_ELTWISE_MAX, score, channel(b, s, m, c), score);
    dni_emit_sum2(b, 1, score, -1, channel(b, s, m, 0), score);
    return score;
}

#define NOTHING (-1e30) /* the score of a box that is too small */

/* Boxes in d = x or y go to boxes (N, P, 4); those too small lose their score. */
static void decode(const Cnn__BoxOutputParameter *p, dni_builder *b, const output_state *s,
                   const map *m, int d, dni_tensor score, dni_tensor boxes)
{
    size_t at = (size_t)(d * s->P + m->at) * dni_dtype_size(b->dtype);
    dni_tensor middle = dni_constant(b, b->dtype, m->cells, (char *)s->middle + at);
    dni_tensor low = channel(b, s, m, s->C + d), size = channel(b, s, m, s->C + 2 + d);
    double most = 1 / (double)p->field_xyr, largest = log(p->field_whr);
    dni_emit_unary(b, DN_FN_CLIP, -most, most, 0, low, low);
    dni_emit_unary(b, DN_FN_AFFINE, m->field[d], 0, 0, low, low);
    dni_emit_bcast(b, DN_BCAST_ADD, s->N, m->cells, 1, low, middle, low);
    dni_emit_unary(b, DN_FN_CLIP, -largest, largest, 0, size, size);
    dni_emit_unary(b, DN_FN_EXP, 1, log(m->field[d]), 0, size, size);
    dni_emit_sum2(b, 1, low, -0.5, size, low);
    dni_emit_unary(b, DN_FN_CLIP, 0, HUGE_VALF, 0, low, low);
    dni_emit_sum2(b, 1, low, 1, size, size);
    dni_emit_unary(b, DN_FN_CLIP, -HUGE_VALF, m->side[d], 0, size, size);
    put(b, s, m, 4, d, low, boxes);
    put(b, s, m, 4, 2 + d, size, boxes);
    dni_emit_sum2(b, 1, size, -1, low, size);
    dni_emit_unary(b, DN_FN_THRESHOLD, nextafterf(p->min_size, -HUGE_VALF), 0, 0, size, size);
    dni_emit_unary(b, DN_FN_AFFINE, -NOTHING, NOTHING, 0, size, size);
    dni_emit_sum2(b, 1, score, 1, size, score);
}

static void forward(dni_layer *layer, dni_builder *b)
{
    const Cnn__BoxOutputParameter *p = layer->own;
    output_state *s = layer->state;
    int64_t P = s->P;
    dni_tensor scores = dni_temp(b, b->dtype, 2, (int64_t[]){s->N, P});
    dni_tensor boxes = dni_temp(b, b->dtype, 3, (int64_t[]){s->N, P, 4});
    dni_tensor zeros = dni_temp(b, b->dtype, 3, (int64_t[]){1, 2, 4 * P});
    map m = {0};
    for (int32_t k = 0; k < b->num_x; k++, m.at += m.cells) {
        int64_t H = layer->bottom[k].dim[2], W = layer->bottom[k].dim[3];
        double rate = p->downsample_rate[k];
        m = (map){b->x[k],
                  H * W,
                  m.at,
                  {p->field_w[k], p->field_h[k]},
                  {(double)W * rate, (double)H * rate}};
        dni_tensor score = score_of(b, s, &m);
        for (int d = 0; d < 2; d++)
            decode(p, b, s, &m, d, score, boxes);
        put(b, s, &m, 1, 0, score, scores);
    }
    dni_emit_fill(b, zeros, 0);
    dn_args_detect args = {.method = DN_DETECT_PRIORS,
                           .flags = DN_DETECT_SHARED | DN_DETECT_VARIED,
                           .code = DN_BOX_CORNER,
                           .background = -1,
                           .classes = 1,
                           .before = s->before,
                           .after = s->most,
                           .keep = -1,
                           .threshold = nextafterf(p->fg_thr, -HUGE_VALF),
                           .nms = p->iou_thr,
                           .eta = 1};
    s->found = (dni_detected){layer, dni_tensor_shape(b, b->y[0])->dim[0], 0};
    dni_tensor rows = dni_detect(b, &s->found, &args, DNI_ARRAY(DNI_NONE, scores, boxes, zeros),
                                 s->N * s->most);
    for (int32_t i = 0; i < b->num_y; i++) {
        int64_t count = dni_tensor_shape(b, b->y[i])->dim[0], width = 5 + i;
        dni_emit_rows(b, count, 1, 7, 0, width, 0, rows, b->y[i]);
        dni_emit_rows(b, count, 4, 7, 3, width, 1, rows, b->y[i]);
        if (i)
            dni_emit_rows(b, count, 1, 7, 2, width, 5, rows, b->y[i]);
    }
    dni_emit_count(b, &s->found, b->y[0]);
}

static void teardown(dni_layer *layer)
{
    dni_free(((output_state *)layer->state)->middle);
}

const dni_layer_class dni_layer_box_output = {
    .type = "BoxOutput",
    .own = DNI_OWN(box_output_param),
    .bottoms_min = 1,
    .bottoms_max = -1,
    .tops_min = 1,
    .tops_max = 2,
    .flags = DNI_LAYER_DYNAMIC,
    .state_size = sizeof(output_state),
    .setup = setup,
    .shape = shape,
    .forward = forward,
    .teardown = teardown,
};
