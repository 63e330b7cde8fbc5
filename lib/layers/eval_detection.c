/* SPDX-License-Identifier: BSD-2-Clause
 * EvalDetection (YOLO v1): which boxes of a grid of cells are right, for the mean average
 * precision of a whole test to be made from.
 * eval_detection_param: side (7), num_class (20), num_object (2: boxes of a cell), threshold
 * (0.5: overlap that counts), sqrt (true: sizes are square roots), constriant (true: centres
 * are relative to their cell), score_type (MULTIPLY: class x confidence; OBJ: confidence;
 * PROB: class), nms (-1: none; else the overlap above which the worse box goes); biases
 * ignored.
 * bottoms: boxes (N, side^2 (num_class + 5 num_object)): by cell class scores, confidences,
 * then x, y, w, h of each box; truth (N, 7 side^2): by cell difficult, present, label, then x,
 * y, w, h cell by cell. top: (N, num_class + 4 side^2 num_object): how many true boxes each
 * class has, the difficult apart; then label, score, right, wrong of each box, by class and
 * score; 0 to the end. No gradient. */
#include <string.h>

#include "layers/boxes.h"

typedef struct eval_state {
    dni_layer *layer;
    const Cnn__EvalDetectionParameter *p;
    int64_t N, cells, classes, objects;
    dni_box *boxes; /* (cells objects) of one image, and their labels */
    int32_t *labels;
    dni_scored *list;
    dni_box *truths; /* (cells) */
    bool *found;     /* (cells) the true box of a cell */
} eval_state;

static dn_status setup(dni_layer *layer)
{
    eval_state *s = layer->state;
    s->layer = layer;
    s->p = layer->own;
    DNI_REQUIRE(s->p->side > 0 && s->p->side < 4096 && s->p->num_class > 0 &&
                    s->p->num_class < 1u << 20 && s->p->num_object > 0 &&
                    s->p->num_object < 4096,
                DN_E_NET, "side, num_class or num_object is out of range");
    s->cells = (int64_t)s->p->side * s->p->side;
    s->classes = s->p->num_class;
    s->objects = s->p->num_object;
    return DN_OK;
}

static void teardown(dni_layer *layer)
{
    eval_state *s = layer->state;
    dni_free(s->boxes);
    dni_free(s->labels);
    dni_free(s->list);
    dni_free(s->truths);
    dni_free(s->found);
    s->boxes = s->truths = NULL;
    s->labels = NULL;
    s->list = NULL;
    s->found = NULL;
}

static dn_status shape(dni_layer *layer)
{
    eval_state *s = layer->state;
    const dni_shape *x = &layer->bottom[0], *t = &layer->bottom[1];
    int64_t need = s->cells * (s->classes + 5 * s->objects);
    DNI_REQUIRE(x->axes >= 1 && t->axes >= 1 && x->dim[0] == t->dim[0] &&
                    dni_shape_range(x, 1, x->axes) == need &&
                    dni_shape_range(t, 1, t->axes) == 7 * s->cells,
                DN_E_SHAPE, "items of %lld values and of %lld of truth are needed",
                (long long)need, (long long)(7 * s->cells));
    s->N = x->dim[0];
    layer->top[0] = dni_shape_of(2, (int64_t[]){s->N, s->classes + 4 * s->cells * s->objects});
    if (layer->wire_only || s->boxes)
        return DN_OK;
    size_t all = (size_t)(s->cells * s->objects), cells = (size_t)s->cells;
    s->boxes = dni_alloc(layer->heap, all, sizeof *s->boxes);
    s->labels = dni_alloc(layer->heap, all, sizeof *s->labels);
    s->list = dni_alloc(layer->heap, all, sizeof *s->list);
    s->truths = dni_alloc(layer->heap, cells, sizeof *s->truths);
    s->found = dni_alloc(layer->heap, cells, sizeof *s->found);
    return s->boxes && s->labels && s->list && s->truths && s->found ? DN_OK : DN_E_NOMEM;
}

static dni_box around(double x, double y, double w, double h)
{
    return (dni_box){x - w / 2, y - h / 2, x + w / 2, y + h / 2};
}

static double score_of(const eval_state *s, double class, double confidence)
{
    switch (s->p->score_type) {
    case CNN__EVAL_DETECTION_PARAMETER__SCORE_TYPE__OBJ:
        return confidence;
    case CNN__EVAL_DETECTION_PARAMETER__SCORE_TYPE__PROB:
        return class;
    default:
        return class * confidence;
    }
}

/* Box k of a cell: x at the cell's first value, values one plane apart. */
static void read_box(eval_state *s, const void *x, int64_t first, int64_t cell, int64_t k,
                     int32_t label, double class)
{
    int32_t t = s->layer->dtype;
    int64_t at = first + (s->classes + k) * s->cells + cell, i = cell * s->objects + k;
    double confidence = dni_get(x, t, at), v[4], side = s->p->side;
    at = first + (s->classes + s->objects + 4 * k) * s->cells + cell;
    for (int c = 0; c < 4; c++)
        v[c] = dni_get(x, t, at + c * s->cells);
    if (s->p->constriant) {
        v[0] = ((double)(cell % s->p->side) + v[0]) / side;
        v[1] = ((double)(cell / s->p->side) + v[1]) / side;
    }
    if (s->p->sqrt)
        v[2] *= v[2], v[3] *= v[3];
    s->boxes[i] = around(v[0], v[1], v[2], v[3]);
    s->labels[i] = label;
    s->list[i] = (dni_scored){score_of(s, class, confidence), i};
}

static void read_boxes(eval_state *s, const void *x, int64_t first)
{
    for (int64_t cell = 0; cell < s->cells; cell++) {
        int32_t label = 0;
        double best = dni_get(x, s->layer->dtype, first + cell);
        for (int64_t c = 1; c < s->classes; c++) {
            double v = dni_get(x, s->layer->dtype, first + c * s->cells + cell);
            if (v > best)
                best = v, label = (int32_t)c;
        }
        for (int64_t k = 0; k < s->objects; k++)
            read_box(s, x, first, cell, k, label, best);
    }
}

/* The true box that a box of a class overlaps most; -1: the class has none. */
static int64_t best_truth(const eval_state *s, const void *t, int64_t first, int64_t box,
                          double *most)
{
    int64_t best = -1;
    *most = -1;
    for (int64_t cell = 0; cell < s->cells; cell++) {
        int32_t d = s->layer->dtype;
        if (dni_get(t, d, first + s->cells + cell) == 0 ||
            dni_get(t, d, first + 2 * s->cells + cell) != s->labels[box])
            continue;
        double iou = dni_box_iou(&s->boxes[box], &s->truths[cell], 0);
        if (iou > *most)
            *most = iou, best = cell;
    }
    return best;
}

/* Right, wrong or, at a difficult one, neither. */
static void judge(eval_state *s, const void *t, int64_t first, int64_t box, double *verdict)
{
    double most;
    int64_t cell = best_truth(s, t, first, box, &most);
    verdict[0] = verdict[1] = 0;
    if (cell < 0 || !(most >= s->p->threshold)) {
        verdict[1] = 1;
    } else if (dni_get(t, s->layer->dtype, first + cell) != 1) {
        verdict[s->found[cell]] = 1;
        s->found[cell] = true;
    }
}

static dn_status count_truths(eval_state *s, const void *t, int64_t first, void *y, int64_t to)
{
    int32_t d = s->layer->dtype;
    memset(s->found, 0, (size_t)s->cells * sizeof *s->found);
    for (int64_t cell = 0; cell < s->cells; cell++) {
        double label = dni_get(t, d, first + 2 * s->cells + cell);
        dni_box v = dni_box_get(t, d, first + 3 * s->cells + 4 * cell);
        s->truths[cell] = around(v.x0, v.y0, v.x1, v.y1);
        if (dni_get(t, d, first + s->cells + cell) == 0)
            continue;
        DNI_REQUIRE(label >= 0 && label < (double)s->classes, DN_E_DATA,
                    "cell %lld has a label beyond the %lld classes", (long long)cell,
                    (long long)s->classes);
        int64_t at = to + (int64_t)label;
        if (dni_get(t, d, first + cell) != 1)
            dni_put(y, d, at, dni_get(y, d, at) + 1);
    }
    return DN_OK;
}

static dn_status evaluate(eval_state *s, void *const *in, void *y, int64_t n)
{
    int32_t d = s->layer->dtype;
    int64_t count = s->cells * s->objects, row = s->classes + 4 * count, to = n * row;
    int64_t truth = n * 7 * s->cells;
    for (int64_t i = 0; i < row; i++)
        dni_put(y, d, to + i, 0);
    dn_status st = count_truths(s, in[1], truth, y, to);
    if (st)
        return st;
    read_boxes(s, in[0], n * s->cells * (s->classes + 5 * s->objects));
    dni_sort_scored(s->list, count);
    if (s->p->nms >= 0)
        count = dni_suppress(s->list, count, s->boxes, s->p->nms, 1, 0);
    to += s->classes;
    for (int64_t c = 0; c < s->classes; c++)
        for (int64_t i = 0; i < count; i++) {
            double verdict[2];
            if (s->labels[s->list[i].index] != c)
                continue;
            judge(s, in[1], truth, s->list[i].index, verdict);
            dni_put(y, d, to++, (double)c);
            dni_put(y, d, to++, s->list[i].score);
            dni_put(y, d, to++, verdict[0]);
            dni_put(y, d, to++, verdict[1]);
        }
    return DN_OK;
}

static dn_status run(void *user, void *const *in, void *const *out)
{
    eval_state *s = user;
    dn_status st = DN_OK;
    for (int64_t n = 0; !st && n < s->N; n++)
        st = evaluate(s, in, out[0], n);
    return st;
}

/* On the host: a measure of tests, detections taking true boxes in turn. */
static void forward(dni_layer *layer, dni_builder *b)
{
    dn_args_host_call call = {.fn = run, .user = layer->state};
    dni_emit_arrays(b, DN_OP_HOST_CALL, &call, 2, b->x, 1, b->y);
}

const dni_layer_class dni_layer_eval_detection = {
    .type = "EvalDetection",
    .own = DNI_OWN(eval_detection_param),
    .bottoms_min = 2,
    .bottoms_max = 2,
    .tops_min = 1,
    .tops_max = 1,
    .no_gradient = 3,
    .state_size = sizeof(eval_state),
    .setup = setup,
    .shape = shape,
    .forward = forward,
    .teardown = teardown,
};
