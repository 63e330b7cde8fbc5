/* SPDX-License-Identifier: BSD-2-Clause
 * yolo_loss.c: see yolo_loss.h. As darknet has it, the number shown is the sum of the squares
 * of what is asked for, and what is asked for goes back as it is: the one is not the
 * derivative of the other. */
#include "layers/yolo_loss.h"

#include <math.h>
#include <string.h>

/* ---- wiring ------------------------------------------------------------------------------ */

void dni_yolo_loss_teardown(dni_layer *layer)
{
    dni_yolo_loss *s = layer->state;
    dni_free(layer->heap, s->v);
    dni_free(layer->heap, s->g);
    dni_free(layer->heap, s->truths);
    s->v = s->g = NULL;
    s->truths = NULL;
}

dn_status dni_yolo_loss_shape(dni_layer *layer)
{
    dni_yolo_loss *s = layer->state;
    const dni_shape *x = &layer->bottom[0];
    int64_t need = (int64_t)s->anchors * (5 + s->classes), count, per_box;
    DNI_REQUIRE(x->axes == 4 && x->dim[1] == need && x->dim[2] > 0 && x->dim[3] > 0, DN_E_SHAPE,
                "bottom 0 must be a map of %lld channels, %d anchors of 5 + %d values",
                (long long)need, s->anchors, s->classes);
    count = dni_shape_count(&layer->bottom[1]);
    DNI_REQUIRE(dni_mul64(x->dim[0], 5, &per_box) && per_box > 0 && count % per_box == 0,
                DN_E_SHAPE, "bottom 1 has %lld values, not rows of 5 for each of %lld images",
                (long long)count, (long long)x->dim[0]);
    s->N = x->dim[0];
    s->H = x->dim[2];
    s->W = x->dim[3];
    s->T = count / per_box;
    layer->top[0] = dni_shape_of(0, NULL);
    if (layer->wire_only)
        return DN_OK;
    dni_yolo_loss_teardown(layer);
    size_t values = (size_t)dni_shape_range(x, 1, 4);
    s->v = dni_alloc(layer->heap, values, sizeof *s->v);
    s->g = dni_alloc(layer->heap, values, sizeof *s->g);
    s->truths = dni_alloc(layer->heap, (size_t)s->T, sizeof *s->truths);
    return s->v && s->g && s->truths ? DN_OK : DN_E_NOMEM;
}

/* ---- boxes ------------------------------------------------------------------------------- */

/* Rows label, x, y, w, h of image n, up to the first without a box. */
static dn_status read_truths(dni_yolo_loss *s, const void *values, int64_t n)
{
    int32_t t = s->layer->dtype;
    s->num_truths = 0;
    for (int64_t i = n * s->T; i < (n + 1) * s->T; i++) {
        double label = dni_get(values, t, i * 5);
        dni_box b = dni_box_get(values, t, i * 5 + 1); /* centre and size */
        if (b.x0 == 0 || b.x1 == 0)
            break;
        DNI_REQUIRE(label >= 0 && label < s->classes, DN_E_DATA,
                    "true box %lld of image %lld has a label beyond the %d classes",
                    (long long)(i - n * s->T), (long long)n, s->classes);
        s->truths[s->num_truths++] = (dni_yolo_truth){(int32_t)label, b.x0, b.y0, b.x1, b.y1};
    }
    return DN_OK;
}

static double common(double x, double w, double u, double d)
{
    return fmin(x + w / 2, u + d / 2) - fmax(x - w / 2, u - d / 2);
}

static double overlap(const dni_yolo_truth *a, const dni_yolo_truth *b)
{
    double w = common(a->x, a->w, b->x, b->w), h = common(a->y, a->h, b->y, b->h);
    if (!(w >= 0 && h >= 0))
        return 0;
    return w * h / (a->w * a->h + b->w * b->h - w * h);
}

/* Element k of anchor a in a cell. */
static int64_t place(const dni_yolo_loss *s, int64_t a, int64_t k, int64_t cell)
{
    return (a * (5 + s->classes) + k) * s->H * s->W + cell;
}

/* What anchor a of a cell predicts. */
static dni_yolo_truth predicted(const dni_yolo_loss *s, int32_t a, int64_t cell)
{
    const double *v = s->v + place(s, a, 0, cell);
    int64_t plane = s->H * s->W;
    double W = (double)s->W, H = (double)s->H;
    int32_t k = s->mask[a];
    return (dni_yolo_truth){
        0, ((double)(cell % s->W) + v[0]) / W, ((double)(cell / s->W) + v[plane]) / H,
        exp(v[2 * plane]) * s->width[k] / W, exp(v[3 * plane]) * s->height[k] / H};
}

/* ---- what is asked for ------------------------------------------------------------------- */

static double sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

static void softmax(double *x, int64_t count, int64_t stride)
{
    double largest = x[0], sum = 0;
    for (int64_t c = 1; c < count; c++)
        largest = fmax(largest, x[c * stride]);
    for (int64_t c = 0; c < count; c++)
        sum += x[c * stride] = exp(x[c * stride] - largest);
    for (int64_t c = 0; c < count; c++)
        x[c * stride] /= sum;
}

static void activate(dni_yolo_loss *s, const void *x, int64_t n)
{
    int64_t plane = s->H * s->W, count = s->anchors * (5 + s->classes) * plane;
    for (int64_t i = 0; i < count; i++) {
        int64_t k = i / plane % (5 + s->classes);
        double value = dni_get(x, s->layer->dtype, n * count + i);
        s->v[i] = k == 2 || k == 3 || (k > 4 && s->softmax) ? value : sigmoid(value);
    }
    for (int32_t a = 0; s->softmax && a < s->anchors; a++)
        for (int64_t cell = 0; cell < plane; cell++)
            softmax(s->v + place(s, a, 5, cell), s->classes, plane);
}

/* g = scale (v - target), at one place. */
static void ask(dni_yolo_loss *s, int64_t at, double scale, double target, bool sloped,
                bool add)
{
    double v = s->v[at], g = scale * (v - target) * (sloped && s->slope ? v * (1 - v) : 1);
    s->g[at] = add ? s->g[at] + g : g;
}

static void ask_box(dni_yolo_loss *s, int32_t a, int64_t cell, const dni_yolo_truth *t,
                    double scale)
{
    double W = (double)s->W, H = (double)s->H;
    double column = (double)(cell % s->W), row = (double)(cell / s->W);
    int32_t k = s->mask[a];
    ask(s, place(s, a, 0, cell), scale, t->x * W - column, true, s->add);
    ask(s, place(s, a, 1, cell), scale, t->y * H - row, true, s->add);
    ask(s, place(s, a, 2, cell), scale, log(t->w * W / s->width[k]), false, s->add);
    ask(s, place(s, a, 3, cell), scale, log(t->h * H / s->height[k]), false, s->add);
}

/* A box that two truths share gets both classes. */
static void ask_classes(dni_yolo_loss *s, int32_t a, int64_t cell, int32_t label)
{
    int64_t at = place(s, a, 5, cell), plane = s->H * s->W, mine = at + label * plane;
    double p = s->v[mine] + 1e-15, scale = s->class_scale;
    if (!s->softmax && s->g[mine] != 0) {
        ask(s, mine, scale, 1 - s->smooth / 2, false, false);
        return;
    }
    if (s->focal) /* gamma 2, alpha 1/2 */
        scale *= -0.5 * (1 - p) * (2 * p * log(p) + p - 1);
    for (int32_t c = 0; c < s->classes; c++) {
        double target = c == label;
        if (!s->focal)
            target += s->smooth * (0.5 - target);
        ask(s, at + c * plane, scale, target, false, false);
    }
}

/* Boxes that overlap no truth by more than thresh hold nothing. */
static void ask_nothing(dni_yolo_loss *s)
{
    for (int32_t a = 0; a < s->anchors; a++)
        for (int64_t cell = 0; cell < s->H * s->W; cell++) {
            dni_yolo_truth box = predicted(s, a, cell);
            double best = 0;
            for (int64_t i = 0; i < s->num_truths; i++)
                best = fmax(best, overlap(&box, &s->truths[i]));
            if (!(best > s->thresh))
                ask(s, place(s, a, 4, cell), s->noobject, 0, true, false);
            if (s->seen < s->warm) {
                int32_t k = s->mask[a];
                double W = (double)s->W, H = (double)s->H;
                dni_yolo_truth own = {0, ((double)(cell % s->W) + 0.5) / W,
                                      ((double)(cell / s->W) + 0.5) / H, s->width[k] / W,
                                      s->height[k] / H};
                ask_box(s, a, cell, &own, 0.01);
            }
        }
}

/* The anchor of this map that a truth belongs to; -1: that of another map. */
static int32_t match(const dni_yolo_loss *s, const dni_yolo_truth *t, int64_t cell)
{
    dni_yolo_truth shape = {0, 0, 0, t->w, t->h};
    int32_t best = -1;
    double most = 0;
    for (int32_t k = 0; k < s->all; k++) {
        dni_yolo_truth box = {0, 0, 0, s->width[k] / (double)s->W, s->height[k] / (double)s->H};
        if (!s->by_shape) {
            box = predicted(s, k, cell);
            box.x = box.y = 0;
        }
        double iou = overlap(&box, &shape);
        if (iou > most)
            most = iou, best = k;
    }
    for (int32_t a = 0; a < s->anchors; a++)
        if (s->mask[a] == best)
            return a;
    return -1;
}

static int64_t cell_of(double x, int64_t length)
{
    double at = floor(x * (double)length);
    return !(at > 0) ? 0 : at < (double)length ? (int64_t)at : length - 1;
}

static void ask_for(dni_yolo_loss *s, const dni_yolo_truth *t)
{
    int64_t cell = cell_of(t->y, s->H) * s->W + cell_of(t->x, s->W);
    int32_t a = match(s, t, cell);
    if (a < 0)
        return;
    dni_yolo_truth box = predicted(s, a, cell);
    ask_box(s, a, cell, t, s->coord * (s->by_size ? 2 - t->w * t->h : 1));
    ask(s, place(s, a, 4, cell), s->object, s->rescore ? overlap(&box, t) : 1, true, false);
    ask_classes(s, a, cell, t->label);
}

/* ---- running ----------------------------------------------------------------------------- */

static void put_gradient(const dni_yolo_loss *s, void *out, int64_t n)
{
    int64_t plane = s->H * s->W, count = s->anchors * (5 + s->classes) * plane;
    for (int64_t i = 0; out && i < count; i++) {
        int64_t k = i / plane % (5 + s->classes);
        double v = s->v[i], slope = s->logic && k != 2 && k != 3 ? v * (1 - v) : 1;
        dni_put(out, s->layer->dtype, n * count + i, s->g[i] * slope / (double)s->N);
    }
}

/* map, truths -> loss, [dL/dmap] */
static dn_status run(void *user, void *const *in, void *const *out)
{
    dni_yolo_loss *s = user;
    int64_t count = s->anchors * (5 + s->classes) * s->H * s->W;
    double sum = 0;
    for (int64_t n = 0; n < s->N; n++) {
        dn_status st = read_truths(s, in[1], n);
        if (st)
            return st;
        activate(s, in[0], n);
        memset(s->g, 0, (size_t)count * sizeof *s->g);
        ask_nothing(s);
        for (int64_t i = 0; i < s->num_truths; i++)
            ask_for(s, &s->truths[i]);
        for (int64_t i = 0; i < count; i++)
            sum += s->g[i] * s->g[i];
        put_gradient(s, out[1], n);
    }
    s->seen += s->N;
    dni_put(out[0], s->layer->dtype, 0, sum / (double)s->N);
    return DN_OK;
}

void dni_yolo_loss_forward(dni_layer *layer, dni_builder *b)
{
    dni_yolo_loss *s = layer->state;
    dn_args_host_call call = {.fn = run, .user = s};
    s->gradient = layer->propagate[0] ? dni_temp_like(b, b->x[0]) : DNI_NONE;
    dni_emit(b, DN_OP_HOST_CALL, &call, 2, b->x, DNI_TENSORS(b->y[0], s->gradient));
}

void dni_yolo_loss_backward(dni_layer *layer, dni_builder *b)
{
    const dni_yolo_loss *s = layer->state;
    if (b->dx[0] != DNI_NONE)
        dni_emit_bcast(b, DN_BCAST_MUL, dni_tensor_count(b, b->x[0]), 1, 1, s->gradient,
                       b->dy[0], b->dx[0]);
}
