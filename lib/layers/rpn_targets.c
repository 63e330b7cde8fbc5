/* SPDX-License-Identifier: BSD-2-Clause
 * rpn_targets.c: see rpn_targets.h. The family keeps its numbers in a file of its own; here
 * they are those of its end-to-end training. */
#include "layers/rpn_targets.h"

#include <math.h>

#include "deepnet/sys/random.h"

enum { ANCHORS = 256, REGIONS = 128 };                       /* drawn from an image */
static const double ANCHOR_SHARE = 0.5, REGION_SHARE = 0.25; /* at most, with something in it */
static const double POSITIVE = 0.7, NEGATIVE = 0.3, FOREGROUND = 0.5; /* overlaps */
static const double deviation[4] = {0.1, 0.1, 0.2, 0.2}; /* of a region's targets */

void dni_rpn_targets_teardown(dni_rpn_targets *s)
{
    if (!s->layer)
        return;
    const dni_heap *heap = s->layer->heap;
    void *held[] = {s->boxes, s->truths,  s->best,    s->overlap,
                    s->truth, s->list[0], s->list[1], s->label};
    for (size_t i = 0; i < DNI_COUNT(held); i++)
        dni_free(heap, held[i]);
    s->boxes = s->truths = NULL;
    s->best = s->overlap = NULL;
    s->truth = s->list[0] = s->list[1] = NULL;
    s->label = NULL;
}

/* For `count` boxes and the true boxes of bottom 1. */
static dn_status make_room(dni_rpn_targets *s, int64_t count)
{
    const dni_heap *heap = s->layer->heap;
    size_t n = (size_t)count, G = (size_t)s->G;
    dni_rpn_targets_teardown(s);
    s->boxes = dni_alloc(heap, n, sizeof *s->boxes);
    s->truths = dni_alloc(heap, G, sizeof *s->truths);
    s->best = dni_alloc(heap, G, sizeof *s->best);
    s->overlap = dni_alloc(heap, n, sizeof *s->overlap);
    s->truth = dni_alloc(heap, n, sizeof *s->truth);
    s->list[0] = dni_alloc(heap, n, sizeof *s->list[0]);
    s->list[1] = dni_alloc(heap, n, sizeof *s->list[1]);
    s->label = dni_alloc(heap, n, sizeof *s->label);
    return s->boxes && s->truths && s->best && s->overlap && s->truth && s->list[0] &&
                   s->list[1] && s->label
               ? DN_OK
               : DN_E_NOMEM;
}

static dn_status check_truths(const dni_layer *layer, dni_rpn_targets *s)
{
    const dni_shape *t = &layer->bottom[1];
    DNI_REQUIRE(t->axes >= 2 && t->dim[1] == 5 && dni_shape_count(t) == 5 * t->dim[0],
                DN_E_SHAPE, "bottom 1 must be true boxes (G, 5)");
    s->G = t->dim[0];
    return DN_OK;
}

static void read_truths(dni_rpn_targets *s, const void *values)
{
    for (int64_t g = 0; g < s->G; g++) {
        s->truths[g] = dni_box_get(values, s->layer->dtype, 5 * g);
        s->best[g] = 0;
    }
}

/* The true box that box i overlaps most, and what each true box has at most. */
static void compare(dni_rpn_targets *s, int64_t i)
{
    s->overlap[i] = 0;
    s->truth[i] = 0;
    for (int64_t g = 0; g < s->G; g++) {
        double iou = dni_box_iou(&s->boxes[i], &s->truths[g], 1);
        if (iou > s->overlap[i])
            s->overlap[i] = iou, s->truth[i] = g;
        s->best[g] = fmax(s->best[g], iou);
    }
}

/* `keep` of the list, drawn without putting back, to its front. */
static int64_t choose(const dni_rpn_targets *s, const int64_t *state, int which, int64_t count,
                      int64_t keep)
{
    int64_t *list = s->list[which];
    if (keep >= count)
        return count;
    for (int64_t i = 0; i < keep; i++) {
        uint32_t word[4];
        dn_random_block(word, (uint64_t)state[0], s->layer->stream + (uint64_t)which,
                        (uint64_t)state[1], (uint64_t)i);
        uint64_t w = (uint64_t)word[0] << 32 | word[1];
        int64_t j = i + (int64_t)(w % (uint64_t)(count - i)), other = list[j];
        list[j] = list[i];
        list[i] = other;
    }
    return keep;
}

/* How a box must move and grow to become the true one; corners are pixels. */
static void offsets(const dni_box *from, const dni_box *to, double *out)
{
    double w = from->x1 - from->x0 + 1, h = from->y1 - from->y0 + 1;
    double tw = to->x1 - to->x0 + 1, th = to->y1 - to->y0 + 1;
    out[0] = (to->x0 + tw / 2 - from->x0 - w / 2) / w;
    out[1] = (to->y0 + th / 2 - from->y0 - h / 2) / h;
    out[2] = log(tw / w);
    out[3] = log(th / h);
}

/* ---- anchors ----------------------------------------------------------------------------- */

dn_status dni_anchor_target_shape(dni_layer *layer, dni_rpn_targets *s)
{
    const dni_shape *x = &layer->bottom[0];
    dni_proposal *a = &s->anchor;
    DNI_REQUIRE(layer->num_bottoms >= 3 && layer->num_tops == 4, DN_E_NET,
                "scores, true boxes and image make labels, targets and two weights");
    a->A = a->num_ratios * a->num_scales;
    DNI_REQUIRE(x->axes == 4 && x->dim[0] == 1 && x->dim[1] == 2 * a->A, DN_E_SHAPE,
                "bottom 0 must be a map of one image with two scores for each of %lld anchors",
                (long long)a->A);
    DNI_REQUIRE(dni_shape_count(&layer->bottom[2]) >= 3, DN_E_SHAPE,
                "bottom 2 must be height, width, scale");
    dn_status st = check_truths(layer, s);
    if (st)
        return st;
    a->H = x->dim[2];
    a->W = x->dim[3];
    layer->top[0] = dni_shape_of(4, (int64_t[]){1, 1, a->A * a->H, a->W});
    for (int32_t i = 1; i < 4; i++)
        layer->top[i] = dni_shape_of(4, (int64_t[]){1, 4 * a->A, a->H, a->W});
    if (layer->wire_only)
        return DN_OK;
    dni_proposal_anchors(a);
    return make_room(s, a->A * a->H * a->W);
}

/* Anchors a at (h, w), in the order of labels: (a H + h) W + w. Those inside are compared. */
static void place_anchors(dni_rpn_targets *s, const void *image)
{
    const dni_proposal *p = &s->anchor;
    int32_t t = s->layer->dtype;
    double H = dni_get(image, t, 0) + s->border, W = dni_get(image, t, 1) + s->border;
    for (int64_t i = 0; i < p->A * p->H * p->W; i++) {
        const dni_box *a = &p->anchor[i / (p->H * p->W)];
        double x = (double)(i % p->W) * p->stride;
        double y = (double)(i / p->W % p->H) * p->stride;
        dni_box *box = &s->boxes[i];
        *box = (dni_box){a->x0 + x, a->y0 + y, a->x1 + x, a->y1 + y};
        s->overlap[i] = -1; /* outside: does not count */
        if (box->x0 >= -s->border && box->y0 >= -s->border && box->x1 < W && box->y1 < H)
            compare(s, i);
    }
}

/* The anchor that a true box has most of belongs to it, however little that is. */
static bool is_best(const dni_rpn_targets *s, int64_t i)
{
    for (int64_t g = 0; g < s->G; g++)
        if (s->best[g] > 0 && dni_box_iou(&s->boxes[i], &s->truths[g], 1) == s->best[g])
            return true;
    return false;
}

/* Which anchors hold something, which nothing; of both, as many as count. Returns how many. */
static int64_t label_anchors(dni_rpn_targets *s, const int64_t *state)
{
    int64_t all = s->anchor.A * s->anchor.H * s->anchor.W, count[2] = {0, 0};
    for (int64_t i = 0; i < all; i++) {
        s->label[i] = -1;
        if (s->overlap[i] < 0)
            continue;
        bool holds = s->overlap[i] >= POSITIVE || is_best(s, i);
        if (holds || s->overlap[i] < NEGATIVE)
            s->list[!holds][count[!holds]++] = i;
    }
    int64_t some = choose(s, state, 0, count[0], (int64_t)(ANCHOR_SHARE * ANCHORS));
    int64_t none = choose(s, state, 1, count[1], ANCHORS - some);
    for (int64_t k = 0; k < some; k++)
        s->label[s->list[0][k]] = 1;
    for (int64_t k = 0; k < none; k++)
        s->label[s->list[1][k]] = 0;
    return some + none;
}

static dn_status run_anchors(void *user, void *const *in, void *const *out)
{
    dni_rpn_targets *s = user;
    int32_t t = s->layer->dtype;
    int64_t plane = s->anchor.H * s->anchor.W;
    read_truths(s, in[0]);
    place_anchors(s, in[1]);
    int64_t counted = label_anchors(s, in[2]);
    for (int64_t i = 0; i < s->anchor.A * plane; i++) {
        double v[4] = {0, 0, 0, 0};
        int64_t at = i / plane * 4 * plane + i % plane;
        if (s->overlap[i] >= 0 && s->G)
            offsets(&s->boxes[i], &s->truths[s->truth[i]], v);
        dni_put(out[0], t, i, s->label[i]);
        for (int64_t k = 0; k < 4; k++, at += plane) {
            dni_put(out[1], t, at, v[k]);
            dni_put(out[2], t, at, s->label[i] == 1);
            dni_put(out[3], t, at, s->label[i] >= 0 ? 1 / (double)counted : 0);
        }
    }
    return DN_OK;
}

/* On the host: samples are drawn one after the other, without putting back. */
void dni_anchor_target_forward(dni_rpn_targets *s, dni_builder *b)
{
    dn_args_host_call call = {.fn = run_anchors, .user = s};
    dni_emit(b, DN_OP_HOST_CALL, &call, DNI_TENSORS(b->x[1], b->x[2], b->random),
             DNI_TENSORS(b->y[0], b->y[1], b->y[2], b->y[3]));
}

/* ---- regions ----------------------------------------------------------------------------- */

dn_status dni_proposal_target_shape(dni_layer *layer, dni_rpn_targets *s)
{
    const dni_shape *x = &layer->bottom[0];
    DNI_REQUIRE(layer->num_bottoms >= 2 && layer->num_tops == 5, DN_E_NET,
                "regions and true boxes make regions, labels, targets and two weights");
    DNI_REQUIRE(x->axes >= 2 && x->dim[1] == 5 && dni_shape_count(x) == 5 * x->dim[0],
                DN_E_SHAPE, "bottom 0 must be regions (R, 5)");
    dn_status st = check_truths(layer, s);
    if (st)
        return st;
    s->R = x->dim[0];
    for (int32_t i = 0; i < 5; i++)
        layer->top[i] =
            dni_shape_of(i == 1 ? 1 : 2, (int64_t[]){REGIONS, i ? 4 * s->classes : 5});
    return layer->wire_only ? DN_OK : make_room(s, s->R + s->G);
}

static dn_status tell_shapes(const dni_rpn_targets *s, int64_t count)
{
    dn_status st = DN_OK;
    for (int32_t i = 0; !st && i < 5; i++) {
        dni_shape y = dni_shape_of(i == 1 ? 1 : 2, (int64_t[]){count, i ? 4 * s->classes : 5});
        st = dni_dynamic_shape(s->layer, i, &y);
    }
    return st;
}

/* Row k: region i with the label, and its targets in the columns of that class. */
static dn_status put_region(const dni_rpn_targets *s, void *const *in, void *const *out,
                            int64_t k, int64_t i, bool holds)
{
    int32_t t = s->layer->dtype;
    int64_t columns = 4 * s->classes;
    double label = holds ? dni_get(in[1], t, 5 * s->truth[i] + 4) : 0, v[4];
    DNI_REQUIRE(label >= 0 && label < (double)s->classes, DN_E_DATA,
                "true box %lld has a label beyond the %lld classes", (long long)s->truth[i],
                (long long)s->classes);
    dni_put(out[0], t, 5 * k, 0);
    dni_box_put(out[0], t, 5 * k + 1, &s->boxes[i]);
    dni_put(out[1], t, k, label);
    for (int64_t c = 0; c < columns; c++)
        for (int32_t top = 2; top < 5; top++)
            dni_put(out[top], t, k * columns + c, 0);
    if (label == 0)
        return DN_OK;
    offsets(&s->boxes[i], &s->truths[s->truth[i]], v);
    for (int64_t c = 0; c < 4; c++) {
        int64_t at = k * columns + 4 * (int64_t)label + c;
        dni_put(out[2], t, at, v[c] / deviation[c]);
        dni_put(out[3], t, at, 1);
        dni_put(out[4], t, at, 1);
    }
    return DN_OK;
}

static dn_status run_regions(void *user, void *const *in, void *const *out)
{
    dni_rpn_targets *s = user;
    int64_t count[2] = {0, 0};
    dn_status st = DN_OK;
    read_truths(s, in[1]);
    for (int64_t i = 0; i < s->R + s->G; i++) { /* the true boxes are regions too */
        s->boxes[i] =
            i < s->R ? dni_box_get(in[0], s->layer->dtype, 5 * i + 1) : s->truths[i - s->R];
        compare(s, i);
        int which = !(s->overlap[i] >= FOREGROUND);
        s->list[which][count[which]++] = i;
    }
    int64_t some = choose(s, in[2], 0, count[0], (int64_t)(REGION_SHARE * REGIONS));
    int64_t none = choose(s, in[2], 1, count[1], REGIONS - some);
    if (s->y.dim[0] != some + none)
        return tell_shapes(s, some + none);
    for (int64_t k = 0; !st && k < some + none; k++)
        st = put_region(s, in, out, k, k < some ? s->list[0][k] : s->list[1][k - some],
                        k < some);
    return st;
}

/* On the host, as the anchors' targets are. */
void dni_proposal_target_forward(dni_rpn_targets *s, dni_builder *b)
{
    dn_args_host_call call = {.fn = run_regions, .user = s};
    s->y = *dni_tensor_shape(b, b->y[0]);
    dni_emit(b, DN_OP_HOST_CALL, &call, DNI_TENSORS(b->x[0], b->x[1], b->random), 5, b->y);
}
