/* SPDX-License-Identifier: BSD-2-Clause
 * annotated.c: images with boxes (SSD): what a record holds, and what is done to both before
 * the pixels become floats: distorted colours, a larger canvas, a piece cut out, another size.
 * An image stays 8-bit from step to step, and is not encoded again in between as SSD does. All
 * that is drawn comes from the record's number. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "data/annotated.h"
#include "deepnet/sys/random.h"
#include "proto/wire.h"

typedef Cnn__TransformationParameter transformation;
typedef struct box {
    float x0, y0, x1, y1;
} box;

static const box whole = {0, 0, 1, 1};

/* ---- drawing ----------------------------------------------------------------------------- */

typedef struct dice {
    uint64_t seed, stream, step, drawn;
    uint32_t word[4];
} dice;

static float uniform(dice *d, float low, float high)
{
    if (d->drawn % 4 == 0)
        dn_random_block(d->word, d->seed, d->stream, d->step, d->drawn / 4);
    return low + (high - low) * dn_random_unit(d->word[d->drawn++ % 4]);
}

/* One of count. */
static size_t pick(dice *d, size_t count)
{
    size_t i = (size_t)(uniform(d, 0, 1) * (float)count);
    return i < count ? i : count - 1;
}

/* ---- boxes ------------------------------------------------------------------------------- */

static float area(box b)
{
    return b.x1 < b.x0 || b.y1 < b.y0 ? 0 : (b.x1 - b.x0) * (b.y1 - b.y0);
}

static float common(box a, box b)
{
    return area(
        (box){fmaxf(a.x0, b.x0), fmaxf(a.y0, b.y0), fminf(a.x1, b.x1), fminf(a.y1, b.y1)});
}

static float clip1(float x)
{
    return fminf(fmaxf(x, 0), 1);
}

static box clip(box b)
{
    return (box){clip1(b.x0), clip1(b.y0), clip1(b.x1), clip1(b.y1)};
}

/* b in units of a piece; false where nothing of it is inside. */
static bool project(box piece, box b, box *out)
{
    float w = piece.x1 - piece.x0, h = piece.y1 - piece.y0;
    if (!(b.x0 < piece.x1 && b.x1 > piece.x0 && b.y0 < piece.y1 && b.y1 > piece.y0))
        return false;
    *out = clip((box){(b.x0 - piece.x0) / w, (b.y0 - piece.y0) / h, (b.x1 - piece.x0) / w,
                      (b.y1 - piece.y0) / h});
    return area(*out) > 0;
}

/* Does a box stay with a piece of the image? */
static bool emitted(const Cnn__EmitConstraint *e, box piece, box b)
{
    float x = (b.x0 + b.x1) / 2, y = (b.y0 + b.y1) / 2, size = area(b);
    if (e && e->emit_type == CNN__EMIT_CONSTRAINT__EMIT_TYPE__MIN_OVERLAP)
        return size > 0 && common(piece, b) / size > e->emit_overlap;
    return !e || (x >= piece.x0 && x <= piece.x1 && y >= piece.y0 && y <= piece.y1);
}

/* Where a box lies once the image has its size: with bars beside it, in the middle. */
static box resized(const Cnn__ResizeParameter *r, const dni_image *from, box b)
{
    float share =
        (float)from->width * (float)r->height / ((float)from->height * (float)r->width);
    b = clip(b);
    if (r->resize_mode != CNN__RESIZE_PARAMETER__RESIZE_MODE__FIT_LARGE_SIZE_AND_PAD)
        return b;
    if (share > 1) {
        b.y0 = 0.5f + (b.y0 - 0.5f) / share;
        b.y1 = 0.5f + (b.y1 - 0.5f) / share;
    } else {
        b.x0 = 0.5f + (b.x0 - 0.5f) * share;
        b.x1 = 0.5f + (b.x1 - 0.5f) * share;
    }
    return b;
}

/* The boxes of a piece, perhaps after a change of size; the others go. from: the image before.
 */
static void move_boxes(dni_boxes *boxes, const transformation *t, const Cnn__ResizeParameter *r,
                       const dni_image *from, box piece, bool mirror)
{
    size_t kept = 0;
    for (size_t i = 0; i < boxes->count; i++) {
        dni_annotation a = boxes->at[i];
        box b = {a.box[0], a.box[1], a.box[2], a.box[3]};
        if (r)
            b = resized(r, from, b);
        if (!emitted(t->emit_constraint, piece, b) || !project(piece, b, &b))
            continue;
        a.box[0] = mirror ? 1 - b.x1 : b.x0;
        a.box[1] = b.y0;
        a.box[2] = mirror ? 1 - b.x0 : b.x1;
        a.box[3] = b.y1;
        boxes->at[kept++] = a;
    }
    boxes->count = kept;
}

/* ---- reading ----------------------------------------------------------------------------- */

enum { VARINT = 0, BYTES = 2, FIXED32 = 5 };

static dn_status malformed(void)
{
    return dni_fail(DN_E_DATA, "it is not an AnnotatedDatum");
}

static int32_t number_of(const dni_wire_field *f)
{
    return (int32_t)(uint32_t)f->value;
}

/* NormalizedBBox: xmin 1, ymin 2, xmax 3, ymax 4, difficult 6. */
static int read_box(dni_annotation *a, const dni_wire_field *bytes)
{
    dni_wire wire = {bytes->data, bytes->data + bytes->size, NULL};
    dni_wire_field f;
    int more;
    while ((more = dni_wire_next(&wire, &f)) > 0) {
        if (f.type == FIXED32 && f.number >= 1 && f.number <= 4)
            memcpy(&a->box[f.number - 1], f.data, sizeof(float)); /* little-endian */
        if (f.type == VARINT && f.number == 6)
            a->difficult = f.value != 0;
    }
    return more;
}

/* Annotation: instance_id 1, bbox 2. */
static int read_annotation(dni_annotation *a, const dni_wire_field *bytes)
{
    dni_wire wire = {bytes->data, bytes->data + bytes->size, NULL};
    dni_wire_field f;
    int more;
    while ((more = dni_wire_next(&wire, &f)) > 0) {
        if (f.type == VARINT && f.number == 1)
            a->instance = number_of(&f);
        if (f.type == BYTES && f.number == 2 && read_box(a, &f) < 0)
            return -1;
    }
    return more;
}

/* AnnotationGroup: group_label 1, annotation 2. */
static dn_status read_group(dni_boxes *boxes, const dni_heap *heap, const dni_wire_field *bytes)
{
    dni_wire wire = {bytes->data, bytes->data + bytes->size, NULL};
    size_t first = boxes->count;
    int32_t label = 0;
    dni_wire_field f;
    int more;
    while ((more = dni_wire_next(&wire, &f)) > 0) {
        if (f.type == VARINT && f.number == 1)
            label = number_of(&f);
        if (f.type != BYTES || f.number != 2)
            continue;
        dn_status st =
            dni_grow(heap, &boxes->at, &boxes->capacity, boxes->count + 1, sizeof *boxes->at);
        if (st)
            return st;
        dni_annotation *a = &boxes->at[boxes->count++];
        *a = (dni_annotation){0};
        if (read_annotation(a, &f) < 0)
            return malformed();
    }
    for (size_t i = first; i < boxes->count; i++)
        boxes->at[i].label = label;
    return more < 0 ? malformed() : DN_OK;
}

/* AnnotatedDatum: datum 1, type 2, annotation_group 3. */
static dn_status read_record(dni_annotator *a, const dni_record *record, dni_boxes *boxes,
                             dni_wire_field *datum)
{
    dni_wire wire = {record->data, record->data + record->size, NULL};
    dni_wire_field f;
    int more;
    a->type = a->param && a->param->has_anno_type ? (int32_t)a->param->anno_type : -1;
    *datum = (dni_wire_field){0};
    while ((more = dni_wire_next(&wire, &f)) > 0) {
        if (f.type == BYTES && f.number == 1)
            *datum = f;
        if (f.type == VARINT && f.number == 2 && a->type < 0)
            a->type = number_of(&f);
        dn_status st =
            f.type == BYTES && f.number == 3 ? read_group(boxes, a->heap, &f) : DN_OK;
        if (st)
            return st;
    }
    if (more < 0 || !datum->data)
        return malformed();
    if (a->type > 0)
        return dni_fail(DN_E_UNSUPPORTED, "its annotation is of type %d; boxes (0) are read",
                        a->type);
    return DN_OK;
}

/* ---- colours ----------------------------------------------------------------------------- */

static uint8_t level(float x)
{
    return (uint8_t)(x <= 0 ? 0 : x >= 255 ? 255 : lrintf(x));
}

static void shift_levels(uint8_t *p, int64_t count, float factor, float delta)
{
    for (int64_t i = 0; i < count; i++)
        p[i] = level(p[i] * factor + delta);
}

/* Hue in [0, 180), saturation and value in [0, 255], and back, as OpenCV has them in 8 bits: in
 * steps of 1/4096, since a step of hue is up to 8 levels of a colour. */
static void to_hsv(const uint8_t bgr[3], uint8_t hsv[3])
{
    int b = bgr[0], g = bgr[1], r = bgr[2];
    int v = b > g ? b : g, least = b < g ? b : g;
    v = r > v ? r : v;
    int range = v - (r < least ? r : least);
    int h = v == r ? g - b : v == g ? b - r + 2 * range : r - g + 4 * range;
    int step = range ? (int)lrint(30 * 4096.0 / range) : 0;
    h = ((h * step + 2048 + (256 << 12)) >> 12) - 256; /* a shift of what is not negative */
    hsv[0] = (uint8_t)(h < 0 ? h + 180 : h);
    hsv[1] = v ? (uint8_t)((range * (int)lrint(255 * 4096.0 / v) + 2048) >> 12) : 0;
    hsv[2] = (uint8_t)v;
}

static void from_hsv(const uint8_t hsv[3], uint8_t bgr[3])
{
    static const uint8_t order[6][3] = {{1, 3, 0}, {1, 0, 2}, {3, 0, 1},
                                        {0, 2, 1}, {0, 1, 3}, {2, 1, 0}};
    float h = fmodf(hsv[0] / 30.0f, 6), s = hsv[1] / 255.0f, v = hsv[2] / 255.0f;
    int sector = (int)h;
    float f = h - (float)sector;
    float level_of[4] = {v, v * (1 - s), v * (1 - s * f), v * (1 - s * (1 - f))};
    for (int c = 0; c < 3; c++)
        bgr[c] = level(255 * level_of[order[sector][c]]);
}

/* saturation: times factor; else hue: plus delta. */
static void shift_hsv(uint8_t *p, int64_t count, int channel, float factor, float delta)
{
    for (; count > 0; count -= 3, p += 3) {
        uint8_t hsv[3];
        to_hsv(p, hsv);
        hsv[channel] = level(hsv[channel] * factor + delta);
        from_hsv(hsv, p);
    }
}

static void contrast(const Cnn__DistortionParameter *p, dice *d, uint8_t *at, int64_t count)
{
    if (uniform(d, 0, 1) < p->contrast_prob)
        shift_levels(at, count, uniform(d, p->contrast_lower, p->contrast_upper), 0);
}

static void distort(const Cnn__DistortionParameter *p, dice *d, uint8_t *at, int64_t count)
{
    bool early = uniform(d, 0, 1) > 0.5f;
    if (uniform(d, 0, 1) < p->brightness_prob)
        shift_levels(at, count, 1, uniform(d, -p->brightness_delta, p->brightness_delta));
    if (early)
        contrast(p, d, at, count);
    if (uniform(d, 0, 1) < p->saturation_prob)
        shift_hsv(at, count, 1, uniform(d, p->saturation_lower, p->saturation_upper), 0);
    if (uniform(d, 0, 1) < p->hue_prob)
        shift_hsv(at, count, 0, 1, uniform(d, -p->hue_delta, p->hue_delta));
    if (!early)
        contrast(p, d, at, count);
    if (uniform(d, 0, 1) < p->random_order_prob) {
        size_t first = pick(d, 3), second = 1 + pick(d, 2);
        for (; count > 0; count -= 3, at += 3) {
            uint8_t swap = at[0];
            at[0] = at[first], at[first] = swap;
            swap = at[1], at[1] = at[second], at[second] = swap;
        }
    }
}

/* ---- canvas, piece, size ----------------------------------------------------------------- */

/* Room for an image of its own in the buffer that the present one is not in. */
static dn_status make_room(dni_annotator *a, int64_t height, int64_t width, int64_t channels,
                           dni_image *image)
{
    dni_decoder *d = &a->room[a->next ^= 1];
    d->heap = a->heap;
    return dni_decoder_room(d, height, width, channels, image);
}

static void copy_pixels(const dni_image *from, const dni_image *to, int64_t top, int64_t left)
{
    uint8_t *pixels = (uint8_t *)to->u8;
    for (int64_t h = 0; h < from->height; h++)
        for (int64_t w = 0; w < from->width; w++)
            for (int64_t c = 0; c < from->channels; c++)
                pixels[(top + h) * to->row_stride + (left + w) * to->pixel_stride + c] =
                    from->u8[h * from->row_stride + w * from->pixel_stride +
                             c * from->channel_stride];
}

/* All pixels to the levels, one or one for each channel; none: 0. */
static void fill_levels(const dni_image *image, const float *levels, size_t count)
{
    uint8_t *p = (uint8_t *)image->u8, value[4] = {0};
    for (int64_t c = 0; count && c < image->channels && c < 4; c++) {
        float x = levels[count > 1 && (size_t)c < count ? (size_t)c : 0];
        value[c] = (uint8_t)(x >= 255 ? 255 : x > 0 ? x : 0); /* NaN: 0 */
    }
    for (int64_t i = 0; i < image->height * image->width; i++, p += image->channels)
        memcpy(p, value, (size_t)image->channels);
}

/* A float may be above or below a long side. */
static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t most(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static dn_status expand(dni_annotator *a, dice *d, dni_image *image, dni_boxes *boxes)
{
    const transformation *t = a->transform;
    const Cnn__ExpansionParameter *p = t->expand_param;
    dni_image large;
    if (uniform(d, 0, 1) > p->prob || fabsf(p->max_expand_ratio - 1) < 1e-2f)
        return DN_OK;
    float ratio = uniform(d, 1, p->max_expand_ratio);
    int64_t height = most(image->height, (int64_t)((float)image->height * ratio));
    int64_t width = most(image->width, (int64_t)((float)image->width * ratio));
    int64_t spare_h = height - image->height, spare_w = width - image->width;
    int64_t top = least(spare_h, (int64_t)uniform(d, 0, (float)spare_h));
    int64_t left = least(spare_w, (int64_t)uniform(d, 0, (float)spare_w));
    dn_status st = make_room(a, height, width, image->channels, &large);
    if (st)
        return st;
    fill_levels(&large, t->mean_value, t->n_mean_value);
    copy_pixels(image, &large, top, left);
    float W = (float)image->width, H = (float)image->height;
    move_boxes(boxes, t, NULL, image,
               (box){-(float)left / W, -(float)top / H, (float)(width - left) / W,
                     (float)(height - top) / H},
               false);
    *image = large;
    return DN_OK;
}

/* From here on the image is a piece of itself: nothing is copied. */
static void crop(dni_annotator *a, box piece, dni_image *image, dni_boxes *boxes)
{
    piece = clip(piece);
    float W = (float)image->width, H = (float)image->height;
    int64_t left = (int64_t)(piece.x0 * W), top = (int64_t)(piece.y0 * H);
    int64_t width = (int64_t)(piece.x1 * W - piece.x0 * W);
    int64_t height = (int64_t)(piece.y1 * H - piece.y0 * H);
    width = least(width, image->width - left);
    height = least(height, image->height - top);
    if (width < 1 || height < 1) /* less than a pixel: no piece */
        return;
    move_boxes(boxes, a->transform, NULL, image, piece, false);
    image->u8 += top * image->row_stride + left * image->pixel_stride;
    image->width = width;
    image->height = height;
}

static bool lies_between(float x, bool has_low, float low, bool has_high, float high)
{
    return (!has_low || x >= low) && (!has_high || x <= high);
}

/* Does some box meet the constraint? Of several asked for SSD's own heeds the first alone. */
static bool satisfies(const Cnn__SampleConstraint *c, box piece, const dni_boxes *boxes)
{
    bool by_both = c && (c->has_min_jaccard_overlap || c->has_max_jaccard_overlap);
    bool by_piece = c && (c->has_min_sample_coverage || c->has_max_sample_coverage);
    bool by_box = c && (c->has_min_object_coverage || c->has_max_object_coverage);
    for (size_t i = 0; (by_both || by_piece || by_box) && i < boxes->count; i++) {
        const float *v = boxes->at[i].box;
        box b = {v[0], v[1], v[2], v[3]};
        float both = common(piece, b), ours = area(piece), its = area(b);
        float share = both <= 0 ? 0
                                : both / (by_both    ? ours + its - both
                                          : by_piece ? ours
                                                     : its);
        if (by_both    ? lies_between(share, c->has_min_jaccard_overlap, c->min_jaccard_overlap,
                                      c->has_max_jaccard_overlap, c->max_jaccard_overlap)
            : by_piece ? lies_between(share, c->has_min_sample_coverage, c->min_sample_coverage,
                                      c->has_max_sample_coverage, c->max_sample_coverage)
                       : lies_between(share, c->has_min_object_coverage, c->min_object_coverage,
                                      c->has_max_object_coverage, c->max_object_coverage))
            return true;
    }
    return !by_both && !by_piece && !by_box;
}

static box draw_piece(const Cnn__Sampler *s, dice *d)
{
    static const Cnn__Sampler defaults = CNN__SAMPLER__INIT;
    s = s ? s : &defaults;
    float scale = uniform(d, s->min_scale, s->max_scale);
    float ratio = uniform(d, s->min_aspect_ratio, s->max_aspect_ratio);
    ratio = fminf(fmaxf(ratio, scale * scale), 1 / (scale * scale));
    float w = fminf(scale * sqrtf(ratio), 1), h = fminf(scale / sqrtf(ratio), 1);
    float x = uniform(d, 0, 1 - w), y = uniform(d, 0, 1 - h);
    return (box){x, y, x + w, y + h};
}

/* Each sampler offers what meets its constraint; one of all offers is drawn. So that none needs
 * to be kept, offer n takes the place of those before it once in n times. */
static void cut_sample(dni_annotator *a, dice *d, dni_image *image, dni_boxes *boxes)
{
    size_t offers = 0;
    box chosen = whole;
    for (size_t s = 0; s < a->param->n_batch_sampler; s++) {
        const Cnn__BatchSampler *b = a->param->batch_sampler[s];
        uint32_t found = 0;
        for (uint32_t k = 0; b->use_original_image && k < b->max_trials; k++) {
            if (b->has_max_sample && found >= b->max_sample)
                break;
            box piece = draw_piece(b->sampler, d);
            if (!satisfies(b->sample_constraint, piece, boxes))
                continue;
            found++;
            if (pick(d, ++offers) == 0)
                chosen = piece;
        }
    }
    if (offers)
        crop(a, chosen, image, boxes);
}

/* YOLO: in one of five images all, in one a piece with half the jitter, else with all of it. */
static void cut_jitter(dni_annotator *a, dice *d, dni_image *image, dni_boxes *boxes)
{
    float roll = uniform(d, 0, 1);
    float jitter = a->param->yolo_data_jitter * (roll < 0.4f ? 0.5f : 1);
    float w = uniform(d, 1 - jitter, 1), h = uniform(d, 1 - jitter, 1);
    float x = uniform(d, 0, 1 - w), y = uniform(d, 0, 1 - h);
    crop(a, roll < 0.2f ? whole : (box){x, y, x + w, y + h}, image, boxes);
}

static int64_t rounded_down(double x)
{
    return x < 1 ? 1 : (int64_t)x;
}

/* Place `at` of an axis: those outside are the edge, or mirrored about it. */
static int64_t reflect(int64_t at, int64_t length, bool mirrored)
{
    int64_t period = 2 * (length - 1);
    if (!mirrored || length == 1)
        return at < 0 ? 0 : at >= length ? length - 1 : at;
    at = (at % period + period) % period;
    return at < length ? at : period - at;
}

/* The bars beside an image that keeps its shape. */
static void pad(const Cnn__ResizeParameter *r, const dni_image *inner, const dni_image *out)
{
    int64_t top = (out->height - inner->height) / 2, left = (out->width - inner->width) / 2;
    uint8_t *p = (uint8_t *)out->u8;
    fill_levels(out, r->pad_value, r->n_pad_value);
    for (int64_t h = 0; h < out->height; h++)
        for (int64_t w = 0; w < out->width; w++) {
            int64_t y = h - top, x = w - left;
            bool inside = y >= 0 && y < inner->height && x >= 0 && x < inner->width;
            if (!inside && r->pad_mode == CNN__RESIZE_PARAMETER__PAD_MODE__CONSTANT)
                continue;
            bool mirrored = r->pad_mode == CNN__RESIZE_PARAMETER__PAD_MODE__MIRRORED;
            y = reflect(y, inner->height, mirrored);
            x = reflect(x, inner->width, mirrored);
            memcpy(p + h * out->row_stride + w * out->pixel_stride,
                   inner->u8 + y * inner->row_stride + x * inner->pixel_stride,
                   (size_t)out->channels);
        }
}

static dn_status resize(dni_annotator *a, dice *d, const Cnn__ResizeParameter *r,
                        dni_image *image)
{
    double share = (double)image->width / (double)image->height;
    bool wide = share > (double)r->width / (double)r->height;
    int32_t mode = r->n_interp_mode ? (int32_t)r->interp_mode[pick(d, r->n_interp_mode)]
                                    : CNN__RESIZE_PARAMETER__INTERP_MODE__LINEAR;
    bool small = r->resize_mode == CNN__RESIZE_PARAMETER__RESIZE_MODE__FIT_SMALL_SIZE;
    bool large = r->resize_mode == CNN__RESIZE_PARAMETER__RESIZE_MODE__FIT_LARGE_SIZE_AND_PAD;
    int64_t H = r->height, W = r->width;
    dni_image sized, padded;
    if ((small && !wide) || (large && wide))
        H = rounded_down(W / share);
    else if (small || large)
        W = rounded_down(H * share);
    dn_status st = make_room(a, H, W, image->channels, &sized);
    if (!st)
        st = dni_resample(a->heap, image, H, W, mode, (uint8_t *)sized.u8);
    if (st)
        return st;
    *image = sized;
    if (!large)
        return DN_OK;
    st = make_room(a, r->height, r->width, image->channels, &padded);
    if (!st)
        pad(r, image, &padded);
    if (!st)
        *image = padded;
    return st;
}

/* ---- all of it --------------------------------------------------------------------------- */

dn_status dni_annotator_check(const Cnn__AnnotatedDataParameter *p, const transformation *t,
                              int64_t batch)
{
    double total = 0;
    for (size_t i = 0; t && i < t->n_resize_param; i++) {
        const Cnn__ResizeParameter *r = t->resize_param[i];
        total += r->prob;
        if (!r->height || !r->width)
            return dni_fail(DN_E_NET, "resize_param needs height and width");
        if (r->height_scale || r->width_scale)
            return dni_fail(DN_E_UNSUPPORTED, "height_scale and width_scale of resize_param "
                                              "are not supported");
        if (batch > 1 && r->resize_mode == CNN__RESIZE_PARAMETER__RESIZE_MODE__FIT_SMALL_SIZE)
            return dni_fail(DN_E_NET,
                            "FIT_SMALL_SIZE gives each image its own size: it needs "
                            "a batch_size of 1, not %lld",
                            (long long)batch);
    }
    if (t && t->n_resize_param > 1 && fabs(total - 1) > 0.01)
        return dni_fail(DN_E_NET, "the prob of the %zu resize_param sum to %g, not 1",
                        t->n_resize_param, total);
    if (t && t->expand_param && t->mean_file)
        return dni_fail(DN_E_UNSUPPORTED, "expand_param takes mean_value, not mean_file");
    if (t && t->expand_param &&
        !(t->expand_param->max_expand_ratio >= 1 && t->expand_param->max_expand_ratio < 100))
        return dni_fail(DN_E_NET, "max_expand_ratio is %g; it is at least 1",
                        t->expand_param->max_expand_ratio);
    for (size_t i = 0; p && i < p->n_batch_sampler; i++) {
        const Cnn__Sampler *s = p->batch_sampler[i]->sampler;
        if (s && !(s->min_scale > 0 && s->max_scale <= 1 && s->min_scale <= s->max_scale &&
                   s->min_aspect_ratio > 0 && s->max_aspect_ratio < FLT_MAX &&
                   s->min_aspect_ratio <= s->max_aspect_ratio))
            return dni_fail(DN_E_NET,
                            "batch_sampler %zu: scales lie in (0, 1], aspect ratios "
                            "above 0, the least before the most",
                            i);
    }
    return DN_OK;
}

/* Which resize_param a batch has: drawn by the number of its first record. */
static const Cnn__ResizeParameter *policy(const dni_annotator *a, uint64_t first)
{
    const transformation *t = a->transform;
    if (!t->n_resize_param)
        return NULL;
    dice d = {a->seed, a->stream + 1, first, 0, {0}};
    float roll = uniform(&d, 0, 1);
    size_t i = 0;
    while (i + 1 < t->n_resize_param && roll >= t->resize_param[i]->prob)
        roll -= t->resize_param[i++]->prob;
    return t->resize_param[i];
}

static bool needs_bytes(const dni_annotator *a, const Cnn__ResizeParameter *r)
{
    const transformation *t = a->transform;
    return r || t->distort_param || t->expand_param ||
           (a->param && (a->param->n_batch_sampler || a->param->yolo_data_type == 1));
}

static dn_status change(dni_annotator *a, const Cnn__ResizeParameter *r, uint64_t index,
                        dni_image *image, dni_boxes *boxes)
{
    const transformation *t = a->transform;
    dice d = {a->seed, a->stream, index, 0, {0}};
    dni_image own;
    dn_status st = DN_OK;
    if (!image->u8 || image->channels > 4)
        return dni_fail(DN_E_UNSUPPORTED, "it is no 8-bit image of up to 4 channels: it cannot "
                                          "be resized, cut or distorted");
    if (a->annotated && t->distort_param && image->channels == 3) {
        st = make_room(a, image->height, image->width, 3, &own);
        if (st)
            return st;
        copy_pixels(image, &own, 0, 0);
        *image = own;
        distort(t->distort_param, &d, (uint8_t *)own.u8, own.height * own.row_stride);
    }
    if (a->annotated && t->expand_param)
        st = expand(a, &d, image, boxes);
    if (!st && a->param && a->param->yolo_data_type == 1)
        cut_jitter(a, &d, image, boxes);
    else if (!st && a->param && a->param->n_batch_sampler)
        cut_sample(a, &d, image, boxes);
    a->before = *image;
    return !st && r ? resize(a, &d, r, image) : st;
}

dn_status dni_annotator_run(dni_annotator *a, dni_decoder *decoder, const dni_record *record,
                            uint64_t index, uint64_t first, dni_image *image, int32_t *label,
                            dni_boxes *boxes)
{
    dni_wire_field datum = {0};
    dn_status st = DN_OK;
    boxes->count = 0;
    a->type = -1;
    if (!a->annotated)
        st = dni_record_decode(decoder, record, image, label);
    else if (!(st = read_record(a, record, boxes, &datum)))
        st = dni_datum_decode(decoder, datum.data, datum.size, image, label);
    a->resize = policy(a, first);
    a->before = st ? (dni_image){0} : *image;
    return !st && needs_bytes(a, a->resize) ? change(a, a->resize, index, image, boxes) : st;
}

void dni_annotator_place(const dni_annotator *a, const dni_image *image, dni_placement p,
                         dni_boxes *boxes)
{
    float W = (float)image->width, H = (float)image->height;
    box piece = {(float)p.left / W, (float)p.top / H, (float)(p.left + p.width) / W,
                 (float)(p.top + p.height) / H};
    move_boxes(boxes, a->transform, a->resize, &a->before, piece, p.mirror);
}

void dni_annotator_free(dni_annotator *a)
{
    dni_decoder_free(&a->room[0]);
    dni_decoder_free(&a->room[1]);
}
