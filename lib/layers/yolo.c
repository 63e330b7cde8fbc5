/* SPDX-License-Identifier: BSD-2-Clause
 * yolo.c: see yolo.h. A box has one label, its best class; suppression does not look at labels.
 */
#include "layers/yolo.h"

#include <math.h>

dn_status dni_yolo_read_map(dni_layer *layer, int32_t i, int32_t anchors)
{
    dni_yolo *s = layer->state;
    const dni_shape *x = &layer->bottom[i];
    DNI_REQUIRE(anchors > 0 && anchors <= DNI_YOLO_ANCHORS, DN_E_NET, "%d anchors", anchors);
    DNI_REQUIRE(x->axes == 4, DN_E_SHAPE, "bottom %d has %d axes, not 4", i, x->axes);
    DNI_REQUIRE(x->dim[0] == layer->bottom[0].dim[0], DN_E_SHAPE,
                "bottom %d has other items than bottom 0", i);
    DNI_REQUIRE(x->dim[1] == (int64_t)anchors * (5 + s->classes), DN_E_SHAPE,
                "bottom %d has %lld channels, %d anchors of 5 + %d values need %lld", i,
                (long long)x->dim[1], anchors, s->classes,
                (long long)((int64_t)anchors * (5 + s->classes)));
    s->map[i].H = x->dim[2];
    s->map[i].W = x->dim[3];
    s->map[i].anchors = anchors;
    return DN_OK;
}

void dni_yolo_teardown(dni_layer *layer)
{
    dni_yolo *s = layer->state;
    dni_free(layer->heap, s->boxes);
    dni_free(layer->heap, s->labels);
    dni_free(layer->heap, s->list);
    dni_free(layer->heap, s->rows);
    dni_free(layer->heap, s->found);
    s->boxes = s->rows = NULL;
    s->labels = NULL;
    s->list = NULL;
    s->found = NULL;
}

dn_status dni_yolo_shape(dni_layer *layer)
{
    dni_yolo *s = layer->state;
    int64_t limit = 0, N = layer->bottom[0].dim[0];
    for (int32_t i = 0; i < s->num_maps; i++)
        limit += s->map[i].anchors * s->map[i].H * s->map[i].W;
    layer->top[0] = dni_shape_of(4, (int64_t[]){1, 1, N * limit, 7});
    dn_status st = dni_shape_check(&layer->top[0]);
    if (st || layer->wire_only)
        return st;
    dni_yolo_teardown(layer);
    s->limit = limit;
    s->N = N;
    s->boxes = dni_alloc(layer->heap, (size_t)limit, sizeof *s->boxes);
    s->labels = dni_alloc(layer->heap, (size_t)limit, sizeof *s->labels);
    s->list = dni_alloc(layer->heap, (size_t)limit, sizeof *s->list);
    s->rows = dni_alloc(layer->heap, (size_t)(N * limit), sizeof *s->rows);
    s->found = dni_alloc(layer->heap, (size_t)(N * limit), sizeof *s->found);
    return s->boxes && s->labels && s->list && s->rows && s->found ? DN_OK : DN_E_NOMEM;
}

static double sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

/* The probability of the best class; x: the scores, stride apart. */
static double best_class(const dni_yolo *s, const void *x, int64_t at, int64_t stride,
                         int32_t *label)
{
    int32_t dtype = s->layer->dtype;
    double best = -INFINITY, sum = 0;
    *label = 0;
    for (int32_t c = 0; c < s->classes; c++) {
        double v = dni_get(x, dtype, at + c * stride);
        if (v > best)
            best = v, *label = c;
    }
    if (!s->softmax)
        return sigmoid(best);
    for (int32_t c = 0; c < s->classes; c++)
        sum += exp(dni_get(x, dtype, at + c * stride) - best);
    return 1 / sum;
}

static int64_t read_cells(dni_yolo *s, const dni_yolo_map *m, const void *x, int64_t n,
                          int64_t count)
{
    int32_t dtype = s->layer->dtype;
    int64_t plane = m->H * m->W, step = 5 + s->classes;
    for (int64_t i = 0; i < m->anchors * plane; i++) {
        int64_t a = i / plane, cell = i % plane,
                at = ((n * m->anchors + a) * step) * plane + cell;
        int32_t label;
        double score = sigmoid(dni_get(x, dtype, at + 4 * plane)) *
                       best_class(s, x, at + 5 * plane, plane, &label);
        if (!(score > s->threshold))
            continue;
        double cx = ((double)(cell % m->W) + sigmoid(dni_get(x, dtype, at))) / (double)m->W;
        double cy =
            ((double)(cell / m->W) + sigmoid(dni_get(x, dtype, at + plane))) / (double)m->H;
        double rx = exp(dni_get(x, dtype, at + 2 * plane)) * m->width[a] / 2;
        double ry = exp(dni_get(x, dtype, at + 3 * plane)) * m->height[a] / 2;
        s->boxes[count] = (dni_box){cx - rx, cy - ry, cx + rx, cy + ry};
        s->labels[count] = label;
        s->list[count] = (dni_scored){score, count};
        count++;
    }
    return count;
}

static void detect(dni_yolo *s, void *const *in, int64_t n)
{
    int64_t count = 0;
    for (int32_t k = 0; k < s->num_maps; k++)
        count = read_cells(s, &s->map[k], in[k], n, count);
    dni_sort_scored(s->list, count);
    count = dni_suppress(s->list, count, s->boxes, s->nms, 1, 0);
    for (int64_t i = 0; i < count; i++) {
        int64_t from = s->list[i].index;
        s->rows[s->num_rows] = s->boxes[from];
        s->found[s->num_rows++] = (dni_yolo_found){n, s->labels[from] + 1, s->list[i].score};
    }
}

static dn_status run(void *user, void *const *in, void *const *out)
{
    dni_yolo *s = user;
    int32_t dtype = s->layer->dtype;
    s->num_rows = 0;
    for (int64_t n = 0; n < s->N; n++)
        detect(s, in, n);
    dni_shape y = s->y;
    y.dim[2] = s->num_rows ? s->num_rows : s->N;
    if (!dni_shape_equal(&y, &s->y))
        return dni_dynamic_shape(s->layer, 0, &y);
    for (int64_t i = 0; i < s->num_rows; i++) {
        dni_put(out[0], dtype, i * 7, (double)s->found[i].image);
        dni_put(out[0], dtype, i * 7 + 1, s->found[i].label);
        dni_put(out[0], dtype, i * 7 + 2, s->found[i].score);
        dni_box_put(out[0], dtype, i * 7 + 3, &s->rows[i]);
    }
    for (int64_t i = 0; s->num_rows == 0 && i < s->N * 7; i++)
        dni_put(out[0], dtype, i, i % 7 ? -1 : (double)(i / 7));
    return DN_OK;
}

void dni_yolo_forward(dni_layer *layer, dni_builder *b)
{
    dni_yolo *s = layer->state;
    dn_args_host_call call = {.fn = run, .user = s};
    s->y = *dni_tensor_shape(b, b->y[0]);
    dni_emit(b, DN_OP_HOST_CALL, &call, s->num_maps, b->x, DNI_TENSORS(b->y[0]));
}
