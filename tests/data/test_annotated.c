/* SPDX-License-Identifier: BSD-2-Clause
 * test_annotated.c: images with boxes: sizes and colours beside OpenCV's, boxes that stay on
 * what they were drawn around whatever is done to the image, and what AnnotatedData makes of
 * them. */
#include <math.h>

#include "records.h"

#include "data/annotated.h"
#include "net/net.h"
#include "proto/proto.h"

#include "deepnet/deepnet.h"
#include "deepnet/sys/random.h"

/* ---- sizes and colours ------------------------------------------------------------------- */

static int largest_difference(const uint8_t *a, const uint8_t *b, size_t count)
{
    int largest = 0;
    for (size_t i = 0; i < count; i++)
        largest = abs(a[i] - b[i]) > largest ? abs(a[i] - b[i]) : largest;
    return largest;
}

static const dni_image source = {.channels = 3,
                                 .height = 29,
                                 .width = 37,
                                 .channel_stride = 1,
                                 .row_stride = 111,
                                 .pixel_stride = 3};

static const uint8_t *test_sizes(const uint8_t *bytes)
{
    static const int64_t sizes[][2] = {{29, 37}, {12, 16}, {61, 80},
                                       {40, 20}, {7, 90},  {58, 74}};
    static const int limits[] = {0, 0, 1, 0, 1, 1}; /* by mode, which begin at 1 */
    const uint8_t *want = bytes + 29 * 37 * 3;
    dni_image image = source;
    image.u8 = bytes;
    SECTION("sizes");
    for (size_t s = 0; s < DNI_COUNT(sizes); s++)
        for (int32_t mode = 1; mode <= 5; mode++) {
            size_t count = (size_t)(sizes[s][0] * sizes[s][1] * 3);
            uint8_t *got = malloc(count);
            CHECK_STATUS(dni_resample(heap, &image, sizes[s][0], sizes[s][1], mode, got),
                         DN_OK);
            int d = largest_difference(got, want, count);
            CHECK_AT(d <= limits[mode], "size %zu, mode %d: differs by %d", s, mode, d);
            free(got);
            want += count;
        }
    return want;
}

/* ---- records ----------------------------------------------------------------------------- */

typedef struct bytes {
    uint8_t at[40000];
    size_t size;
} bytes;

static void put_varint(bytes *b, uint64_t value)
{
    for (; value >= 128; value >>= 7)
        b->at[b->size++] = (uint8_t)(value | 128);
    b->at[b->size++] = (uint8_t)value;
}

static void put_number(bytes *b, int field, int64_t value)
{
    put_varint(b, (uint64_t)field << 3);
    put_varint(b, (uint64_t)value);
}

static void put_bytes(bytes *b, int field, const void *data, size_t size)
{
    put_varint(b, (uint64_t)field << 3 | 2);
    put_varint(b, size);
    memcpy(b->at + b->size, data, size);
    b->size += size;
}

static void put_floats(bytes *b, const float *values, int count)
{
    for (int i = 0; i < count; i++) {
        put_varint(b, (uint64_t)(i + 1) << 3 | 5);
        memcpy(b->at + b->size, &values[i], 4);
        b->size += 4;
    }
}

typedef struct object {
    int label, instance, difficult;
    float box[4];
} object;

/* type -1: no annotation, a label 7. */
static void put_annotated(dni_db_writer *w, int n, const uint8_t *pixels, size_of_record s,
                          int type, const object *objects, int count)
{
    static bytes record, group, annotation, box;
    uint8_t *datum = NULL;
    size_t capacity = 0, size = 0;
    char key[24];
    CHECK_STATUS(dni_datum_encode(heap, &datum, &capacity, &size, s.channels, s.height, s.width,
                                  pixels, 7),
                 DN_OK);
    record.size = 0;
    put_bytes(&record, 1, datum, size);
    if (type >= 0)
        put_number(&record, 2, type);
    for (int i = 0; i < count; i++) {
        group.size = annotation.size = box.size = 0;
        put_floats(&box, objects[i].box, 4);
        put_number(&box, 6, objects[i].difficult);
        put_number(&annotation, 1, objects[i].instance);
        put_bytes(&annotation, 2, box.at, box.size);
        put_bytes(&group, 2, annotation.at, annotation.size);
        put_number(&group, 1, objects[i].label); /* after what it labels */
        put_bytes(&record, 3, group.at, group.size);
    }
    snprintf(key, sizeof key, "%08d", n);
    CHECK_STATUS(dni_db_writer_put(w, key, 8, record.at, record.size), DN_OK);
    dni_free(datum);
}

static dni_loader *open_loader(const char *path, uint32_t batch, const char *transform,
                               const char *annotated, uint64_t seed, ProtobufCMessage *kept[2])
{
    Cnn__DataParameter p = data_param(path, batch);
    dni_loader *l = NULL;
    CHECK_STATUS(dni_text_parse(&kept[0], heap, &cnn__transformation_parameter__descriptor,
                                transform, strlen(transform), "t", NULL),
                 DN_OK);
    CHECK_STATUS(dni_text_parse(&kept[1], heap, &cnn__annotated_data_parameter__descriptor,
                                annotated, strlen(annotated), "a", NULL),
                 DN_OK);
    dni_loader_options o = {.heap = heap,
                            .param = &p,
                            .train = true,
                            .annotated = true,
                            .transform = (Cnn__TransformationParameter *)kept[0],
                            .annotated_param = (Cnn__AnnotatedDataParameter *)kept[1],
                            .seed = seed,
                            .stream = 16};
    CHECK_STATUS(dni_loader_open(&l, &o), DN_OK);
    if (!l)
        exit(check_summary());
    return l;
}

static void close_loader(dni_loader *l, ProtobufCMessage *kept[2])
{
    dni_loader_close(l);
    dni_message_free(kept[0]);
    dni_message_free(kept[1]);
}

/* Colours: all drawn from a range of one value, so the result is known. */
static void test_colours(const uint8_t *image, const uint8_t *want)
{
    static const char *const params[] = {
        "distort_param { saturation_prob: 1 saturation_lower: 0.5 saturation_upper: 0.5 }",
        "distort_param { saturation_prob: 1 saturation_lower: 1.5 saturation_upper: 1.5 }"};
    const char *path = check_path("colours");
    size_t count = 29 * 37 * 3;
    uint8_t planes[29 * 37 * 3], got[29 * 37 * 3];
    ProtobufCMessage *kept[2];
    dni_batch b;
    SECTION("colours");
    for (size_t i = 0; i < count; i++)
        planes[i % 3 * (count / 3) + i / 3] = image[i];
    dni_db_writer *w = new_writer(path);
    put_annotated(w, 0, planes, (size_of_record){3, 29, 37}, 0, NULL, 0);
    CHECK_STATUS(dni_db_writer_finish(w), DN_OK);
    for (size_t k = 0; k < DNI_COUNT(params); k++, want += count) {
        dni_loader *l = open_loader(path, 1, params[k], "", 1, kept);
        CHECK_STATUS(dni_loader_next(l, &b), DN_OK);
        for (size_t i = 0; i < count; i++)
            got[i] = (uint8_t)b.data[i % 3 * (count / 3) + i / 3];
        int d = largest_difference(got, want, count);
        CHECK_AT(d <= 1, "distortion %zu: differs by %d", k, d);
        close_loader(l, kept);
    }
    dni_loader *l = open_loader(path, 1,
                                "distort_param { contrast_prob: 1 contrast_lower: 1.5 "
                                "contrast_upper: 1.5 }",
                                "", 1, kept);
    CHECK_STATUS(dni_loader_next(l, &b), DN_OK);
    int wrong = 0;
    for (size_t i = 0; i < count; i++)
        wrong += b.data[i] != fminf(255, rintf(planes[i] * 1.5f));
    CHECK_INT(wrong, 0);
    close_loader(l, kept);
}

/* ---- boxes stay on their objects --------------------------------------------------------- */

enum { H = 60, W = 80, RECORDS = 12 };

/* A record has one object: its pixels are 200 + label in all channels, all others below. */
static void make_objects(const char *path)
{
    dni_db_writer *w = new_writer(path);
    for (int n = 0; n < RECORDS; n++) {
        int x0 = 5 + 3 * n, y0 = 10 + 2 * n, x1 = x0 + 20 + n, y1 = y0 + 15;
        static uint8_t pixels[3 * H * W];
        object o = {
            n % 3 + 1, n, n == 4, {(float)x0 / W, (float)y0 / H, (float)x1 / W, (float)y1 / H}};
        for (int i = 0; i < 3 * H * W; i++) {
            int x = i % W, y = i / W % H;
            bool in = x >= x0 && x < x1 && y >= y0 && y < y1;
            pixels[i] = (uint8_t)(in ? 200 + o.label : (x + y) % 100);
        }
        put_annotated(w, n, pixels, (size_of_record){3, H, W}, 0, &o, n == 7 ? 0 : 1);
    }
    CHECK_STATUS(dni_db_writer_finish(w), DN_OK);
}

/* The rectangle of pixels of an image that are at least 200. */
static bool find_object(const float *image, int64_t height, int64_t width, int64_t at[4])
{
    bool found = false;
    for (int64_t y = 0; y < height; y++)
        for (int64_t x = 0; x < width; x++)
            if (image[y * width + x] >= 200) {
                if (!found)
                    at[0] = at[2] = x, at[1] = at[3] = y;
                at[0] = x < at[0] ? x : at[0], at[1] = y < at[1] ? y : at[1];
                at[2] = x > at[2] ? x : at[2], at[3] = y > at[3] ? y : at[3];
                found = true;
            }
    return found;
}

static int check_object(const dni_batch *b, const dni_annotation *a)
{
    int64_t h = b->shape.dim[2], w = b->shape.dim[3], at[4] = {0};
    const float *image = b->data + a->item * 3 * h * w;
    if (!find_object(image, h, w, at) || image[at[1] * w + at[0]] != (float)(200 + a->label))
        return 1;
    /* Cutting rounds by a pixel of the image before it was resized. */
    float sx = 1 + 1.5f * (float)w / W * 3, sy = 1 + 1.5f * (float)h / H * 3;
    return fabsf(a->box[0] * (float)w - (float)at[0]) > sx ||
           fabsf(a->box[2] * (float)w - (float)(at[2] + 1)) > sx ||
           fabsf(a->box[1] * (float)h - (float)at[1]) > sy ||
           fabsf(a->box[3] * (float)h - (float)(at[3] + 1)) > sy;
}

#define WARP "resize_param { height: 120 width: 160 interp_mode: NEAREST } "

static void test_objects(const char *path)
{
    static const struct {
        const char *transform, *annotated;
        size_t least, most; /* boxes that may come of 60 batches of 4 */
    } rows[] = {
        {"", "", 220, 220},
        {"mirror: true", "", 220, 220},
        {WARP, "", 220, 220},
        {"mirror: true resize_param { height: 99 width: 99 interp_mode: NEAREST resize_mode: "
         "FIT_LARGE_SIZE_AND_PAD pad_value: 7 }",
         "", 220, 220},
        {"resize_param { height: 40 width: 200 interp_mode: NEAREST resize_mode: "
         "FIT_LARGE_SIZE_AND_PAD }",
         "", 220, 220},
        {"crop_size: 40 mirror: true", "", 50, 219},
        {"crop_size: 40 emit_constraint { emit_type: CENTER }", "", 50, 219},
        {"crop_size: 40 emit_constraint { emit_type: MIN_OVERLAP emit_overlap: 0.99 }", "", 10,
         180},
        {"expand_param { prob: 1 max_expand_ratio: 3 } mean_value: 9 scale: 1 " WARP, "", 220,
         220},
        {WARP "emit_constraint { emit_type: CENTER }",
         "batch_sampler { sampler { min_scale: 0.4 max_scale: 0.9 min_aspect_ratio: 0.5 "
         "max_aspect_ratio: 2 } max_sample: 1 max_trials: 5 }",
         60, 219},
        {WARP "mirror: true emit_constraint { emit_type: CENTER }",
         "batch_sampler { sampler { min_scale: 0.3 max_scale: 0.9 min_aspect_ratio: 0.5 "
         "max_aspect_ratio: 2 } sample_constraint { min_object_coverage: 1 } max_sample: 1 "
         "max_trials: 200 }",
         220, 220},
        {"expand_param { prob: 0.5 max_expand_ratio: 2 } mirror: true " WARP,
         "batch_sampler { max_sample: 1 max_trials: 1 } batch_sampler { sampler { min_scale: "
         "0.3 "
         "min_aspect_ratio: 0.5 max_aspect_ratio: 2 } sample_constraint { min_jaccard_overlap: "
         "0.1 } max_sample: 1 max_trials: 50 }",
         180, 220},
        {WARP, "yolo_data_type: 1 yolo_data_jitter: 0.4", 190, 220},
    };
    SECTION("objects");
    for (size_t r = 0; r < DNI_COUNT(rows); r++) {
        ProtobufCMessage *kept[2];
        dni_loader *l = open_loader(path, 4, rows[r].transform, rows[r].annotated, 5 + r, kept);
        size_t boxes = 0, wrong = 0;
        for (int i = 0; i < 60; i++) {
            dni_batch b = {0};
            bool shown = strstr(rows[r].transform, "mean_value") != NULL;
            CHECK_STATUS(dni_loader_next(l, &b), DN_OK);
            CHECK(b.has_boxes);
            boxes += b.boxes.count;
            for (size_t k = 0; !shown && k < b.boxes.count; k++)
                wrong += (size_t)check_object(&b, &b.boxes.at[k]);
        }
        CHECK_AT(boxes >= rows[r].least && boxes <= rows[r].most, "row %zu: %zu boxes", r,
                 boxes);
        CHECK_AT(wrong == 0, "row %zu: %zu of %zu boxes are not on their objects", r, wrong,
                 boxes);
        close_loader(l, kept);
    }
}

/* Stopping anywhere, then starting there; one of several sizes for each batch. */
static void test_resume(const char *path)
{
    static const char transform[] =
        "mirror: true expand_param { prob: 0.5 max_expand_ratio: 2 } distort_param { "
        "brightness_prob: 0.5 brightness_delta: 30 hue_prob: 0.5 hue_delta: 18 "
        "random_order_prob: 0.5 } resize_param { prob: 0.5 height: 16 width: 20 } resize_param "
        "{ "
        "prob: 0.5 height: 32 width: 24 interp_mode: CUBIC }";
    static float recorded[8][4 * 3 * 32 * 24];
    size_t boxes[8];
    int64_t heights[8], seen = 0;
    ProtobufCMessage *kept[2];
    dni_batch b;
    SECTION("resume");
    dni_loader *l = open_loader(path, 4, transform, "", 3, kept);
    for (int i = 0; i < 8; i++) {
        CHECK_STATUS(dni_loader_next(l, &b), DN_OK);
        memcpy(recorded[i], b.data, (size_t)dni_shape_count(&b.shape) * sizeof(float));
        boxes[i] = b.boxes.count;
        heights[i] = b.shape.dim[2];
        seen |= heights[i];
    }
    CHECK_INT(seen, 16 | 32);
    for (int i = 7; i >= 0; i -= 2) {
        CHECK_STATUS(dni_loader_seek(l, i * 4), DN_OK);
        CHECK_STATUS(dni_loader_next(l, &b), DN_OK);
        CHECK(b.shape.dim[2] == heights[i] && b.boxes.count == boxes[i]);
        CHECK(!memcmp(recorded[i], b.data, (size_t)dni_shape_count(&b.shape) * sizeof(float)));
    }
    close_loader(l, kept);
}

/* ---- the layer --------------------------------------------------------------------------- */

static dn_net *make_net(dn_context *context, const char *path, int batch, const char *more)
{
    dn_net_options o = {.struct_size = sizeof o, .phase = DN_PHASE_TRAIN};
    dn_net *net = NULL;
    char text[1024];
    snprintf(text, sizeof text,
             "layer { name: 'd' type: 'AnnotatedData' top: 'x' top: 'y' "
             "data_param { source: '%s' batch_size: %d backend: LMDB } %s } layer { name: 'p' "
             "type: 'Power' bottom: 'y' top: 'z' power_param { scale: 2 } }",
             path, batch, more);
    CHECK_STATUS(dn_net_create_from_text(&net, context, text, strlen(text), &o), DN_OK);
    return net;
}

static void test_layer(dn_context *context, const char *path)
{
    SECTION("layer");
    dn_net *net = make_net(context, path, 3, "");
    for (int i = 0; net && i < 8; i++) {
        CHECK_STATUS(dn_net_forward(net, NULL), DN_OK);
        const dn_blob *y = dn_net_blob(net, "y"), *z = dn_net_blob(net, "z");
        int64_t rows = i % 4 == 2 ? 2 : 3; /* record 7 has none */
        CHECK(dn_blob_axes(y) == 4 && dn_blob_dim(y, 0) == 1 && dn_blob_dim(y, 3) == 8);
        CHECK_INT(dn_blob_dim(y, 2), rows);
        const float *at = dn_blob_data((dn_blob *)y), *twice = dn_blob_data((dn_blob *)z);
        for (int64_t k = 0; k < rows; k++, at += 8, twice += 8) {
            int n = (int)at[2];
            CHECK_INT(n / 3, i % 4);
            CHECK(at[0] == (float)(n % 3) && at[1] == (float)(n % 3 + 1));
            CHECK(at[7] == (float)(n == 4) && fabsf(at[3] - (5 + 3 * n) / 80.0f) < 1e-6f);
            CHECK(twice[5] == 2 * at[5]);
        }
    }
    dn_net_free(net);
    net = make_net(context, path, 1, "");
    for (int i = 0; net && i < 8; i++)
        CHECK_STATUS(dn_net_forward(net, NULL), DN_OK);
    const float *none = net ? dn_blob_data(dn_net_blob(net, "y")) : NULL;
    CHECK(none && none[0] == -1 && none[7] == -1);
    dn_net_free(net);
    net = make_net(context, path, 8,
                   "annotated_data_param { yolo_data_type: 1 yolo_data_jitter: "
                   "0 } transform_param { resize_param { height: 32 width: 32 } }");
    CHECK_STATUS(dn_net_forward(net, NULL), DN_OK);
    const dn_blob *y = dn_net_blob(net, "y");
    CHECK(dn_blob_dim(y, 0) == 8 && dn_blob_dim(y, 2) == 300 && dn_blob_dim(y, 3) == 5);
    const float *row = dn_blob_data((dn_blob *)y) + 3 * 1500; /* record 3, of label 1 */
    CHECK(row[0] == 0 && fabsf(row[1] - (14 + 11.5f) / 80) < 1e-5f && row[5] == 0);
    CHECK(fabsf(row[3] - 23 / 80.0f) < 1e-5f && fabsf(row[4] - 0.25f) < 1e-5f);
    CHECK(row[1500 + 3] == 0); /* record 4 is difficult */
    dn_net_free(net);
}

/* Three, 20, 30 and 40 high, without annotations, or as Datums. */
static void make_own_sizes(const char *path, bool annotated)
{
    static uint8_t pixels[3 * 40 * 40];
    dni_db_writer *w = new_writer(path);
    for (int n = 0; n < 3; n++) {
        size_of_record s = {3, 20 + 10 * n, 40};
        if (annotated)
            put_annotated(w, n, pixels, s, -1, NULL, 0);
        else
            put_record(w, n, s);
    }
    CHECK_STATUS(dni_db_writer_finish(w), DN_OK);
}

/* Images of their own size, one at a time; labels where there is no annotation. */
static void test_own_size(dn_context *context)
{
    const char *path = check_path("own_size");
    SECTION("own size");
    make_own_sizes(path, true);
    dn_net *net = make_net(context, path, 1, "");
    for (int i = 0; net && i < 6; i++) {
        CHECK_STATUS(dn_net_forward(net, NULL), DN_OK);
        CHECK_INT(dn_blob_dim(dn_net_blob(net, "x"), 2), 20 + 10 * (i % 3));
        CHECK(dn_blob_data(dn_net_blob(net, "y"))[0] == 7);
    }
    dn_net_free(net);
    net = make_net(context, path, 1,
                   "transform_param { resize_param { height: 10 width: 10 "
                   "resize_mode: FIT_SMALL_SIZE } }");
    static const int64_t widths[] = {20, 13, 10};
    for (int i = 0; net && i < 3; i++) {
        CHECK_STATUS(dn_net_forward(net, NULL), DN_OK);
        CHECK_INT(dn_blob_dim(dn_net_blob(net, "x"), 2), 10);
        CHECK_INT(dn_blob_dim(dn_net_blob(net, "x"), 3), widths[i]);
    }
    dn_net_free(net);
}

/* A batch that no layer took is not delivered: of two ranks both go on with theirs. */
static void test_waiting(dn_context *context)
{
    static const char solver_text[] = "base_lr: 0.1 lr_policy: 'fixed' max_iter: 9";
    const dn_solver_options o = {.struct_size = sizeof o, .num_ranks = 2};
    dn_solver *solver = NULL;
    char text[1024];
    SECTION("a batch that waits");
    snprintf(text, sizeof text,
             "layer { name: 'd' type: 'Data' top: 'x' data_param { source: '%s' batch_size: 1 "
             "backend: LMDB } } layer { name: 'i' type: 'InnerProduct' bottom: 'x' top: 'y' "
             "inner_product_param { num_output: 1 } }",
             check_path("own_sizes"));
    make_own_sizes(check_path("own_sizes"), false);
    CHECK_STATUS(dn_solver_create_from_text(&solver, context, solver_text, strlen(solver_text),
                                            text, strlen(text), &o),
                 DN_OK);
    dn_net *net = solver ? dn_solver_net(solver) : NULL;
    for (int i = 0; net && i < 3; i++) {
        const dni_layer *data = &net->layers[0].layer;
        CHECK_STATUS(dn_net_forward(net, NULL), i ? DN_E_SHAPE : DN_OK);
        CHECK_INT(data->cursor->tell(data), 2);
    }
    dn_solver_free(solver);
}

static void refuse(dn_context *context, const char *path, int batch, const char *more,
                   dn_status status, const char *sentence)
{
    dn_net *net = NULL;
    char text[1024];
    snprintf(text, sizeof text,
             "layer { name: 'd' type: 'AnnotatedData' top: 'x' top: 'y' "
             "data_param { source: '%s' batch_size: %d backend: LMDB } %s }",
             path, batch, more);
    CHECK_MESSAGE(dn_net_create_from_text(&net, context, text, strlen(text), NULL), status,
                  sentence);
}

static void test_refused(dn_context *context, const char *path)
{
    const char *broken = check_path("broken"), *lane = check_path("lane");
    const char *deep = check_path("deep");
    static uint8_t pixels[5];
    SECTION("refused");
    refuse(context, path, 2, "transform_param { resize_param { width: 3 } }", DN_E_NET,
           "height and width");
    refuse(context, path, 2,
           "transform_param { resize_param { height: 3 width: 3 resize_mode: "
           "FIT_SMALL_SIZE } }",
           DN_E_NET, "batch_size of 1");
    refuse(context, path, 2,
           "transform_param { resize_param { height: 3 width: 3 height_scale: 2 } }",
           DN_E_UNSUPPORTED, "height_scale");
    refuse(context, path, 2, "transform_param { expand_param { max_expand_ratio: 0.5 } }",
           DN_E_NET, "max_expand_ratio");
    refuse(context, path, 2,
           "annotated_data_param { batch_sampler { sampler { min_scale: 0 } } }", DN_E_NET,
           "batch_sampler 0");
    refuse(context, path, 2, "annotated_data_param { yolo_data_type: 2 }", DN_E_UNSUPPORTED,
           "yolo_data_type 2");
    dni_db_writer *w = new_writer(broken);
    CHECK_STATUS(dni_db_writer_put(w, "a", 1, "\x1a\x05xx", 4), DN_OK);
    CHECK_STATUS(dni_db_writer_finish(w), DN_OK);
    refuse(context, broken, 1, "", DN_E_DATA, "record 'a': it is not an AnnotatedDatum");
    w = new_writer(lane);
    put_annotated(w, 0, pixels, (size_of_record){3, 1, 1}, 2, NULL, 0);
    CHECK_STATUS(dni_db_writer_finish(w), DN_OK);
    refuse(context, lane, 1, "", DN_E_UNSUPPORTED, "annotation is of type 2");
    w = new_writer(deep);
    put_annotated(w, 0, pixels, (size_of_record){5, 1, 1}, 0, NULL, 0);
    CHECK_STATUS(dni_db_writer_finish(w), DN_OK);
    refuse(context, deep, 1, "transform_param { resize_param { height: 3 width: 3 } }",
           DN_E_UNSUPPORTED, "no 8-bit image of up to 4 channels");
    ProtobufCMessage *kept[2];
    dni_batch b;
    w = new_writer(check_path("both")); /* boxes, then a label */
    put_annotated(w, 0, pixels, (size_of_record){3, 1, 1}, 0, NULL, 0);
    put_annotated(w, 1, pixels, (size_of_record){3, 1, 1}, -1, NULL, 0);
    CHECK_STATUS(dni_db_writer_finish(w), DN_OK);
    dni_loader *l = open_loader(check_path("both"), 2, "", "", 1, kept);
    CHECK_MESSAGE(dni_loader_next(l, &b), DN_E_DATA, "of another type than the first record's");
    close_loader(l, kept);
}

enum { DAMAGED = 60 };

/* Records cut short or with any byte changed are refused or read, never worse. */
static void test_damage(const char *path)
{
    dni_record record;
    dni_source *from = NULL;
    SECTION("damage");
    CHECK_STATUS(dni_source_open(&from, heap, CNN__DATA_PARAMETER__DB__LMDB, NULL, path),
                 DN_OK);
    CHECK_STATUS(dni_source_next(from, &record), DN_OK);
    const char *damaged = check_path("damaged");
    dni_db_writer *w = new_writer(damaged);
    uint8_t *copy = malloc(record.size);
    for (uint32_t n = 0; n < DAMAGED; n++) { /* but the first, or nothing opens */
        char key[12];
        uint32_t word[4];
        memcpy(copy, record.data, record.size);
        dn_random_block(word, 1, 2, n, 0);
        size_t tail = word[0] % 80, size = n % 2 || !n ? record.size : record.size - tail;
        copy[record.size - 1 - word[1] % 80] ^= (uint8_t)(n ? word[2] : 0);
        snprintf(key, sizeof key, "%04u", n);
        CHECK_STATUS(dni_db_writer_put(w, key, 4, copy, size), DN_OK);
    }
    CHECK_STATUS(dni_db_writer_finish(w), DN_OK);
    free(copy);
    dni_source_close(from);
    ProtobufCMessage *kept[2];
    dni_loader *l = open_loader(damaged, 1,
                                "emit_constraint {} resize_param { height: 8 width: 8 } "
                                "expand_param { max_expand_ratio: 2 }",
                                "batch_sampler { sampler { min_scale: 0.1 } }", 0, kept);
    int read = 0;
    for (int i = 0; i < DAMAGED; i++) {
        dni_batch b;
        dni_clear_error();
        dn_status st = dni_loader_seek(l, i);
        st = st ? st : dni_loader_next(l, &b);
        CHECK((st != DN_OK) == (dn_last_error() != NULL));
        read += st == DN_OK;
    }
    CHECK_AT(read > 5 && read < DAMAGED - 5, "%d were read", read);
    close_loader(l, kept);
}

/* Everything there is to an image; each allocation fails once. */
static dn_status use(const dni_heap *h, const char *path, const Cnn__TransformationParameter *t,
                     const Cnn__AnnotatedDataParameter *a)
{
    Cnn__DataParameter p = data_param(path, 3);
    dni_loader_options o = {
        .heap = h, .param = &p, .annotated = true, .transform = t, .annotated_param = a};
    dni_loader *l;
    dni_batch b;
    dn_status st = dni_loader_open(&l, &o);
    if (st)
        return st;
    for (int i = 0; !st && i < 4; i++)
        st = dni_loader_next(l, &b);
    dni_saved_error saved;
    dni_save_error(&saved);
    dni_loader_close(l);
    dni_restore_error(&saved);
    return st;
}

static void test_memory(const char *path)
{
    check_heap counts = {0};
    dni_heap h = {check_alloc, &counts};
    ProtobufCMessage *kept[2];
    SECTION("each allocation fails once");
    dni_loader *l = open_loader(path, 1,
                                "expand_param { max_expand_ratio: 2 } distort_param {} "
                                "resize_param { height: 20 width: 30 resize_mode: "
                                "FIT_LARGE_SIZE_AND_PAD }",
                                "batch_sampler { max_trials: 2 }", 1, kept);
    const Cnn__TransformationParameter *t = (Cnn__TransformationParameter *)kept[0];
    const Cnn__AnnotatedDataParameter *a = (Cnn__AnnotatedDataParameter *)kept[1];
    CHECK_STATUS(use(&h, path, t, a), DN_OK);
    long requests = counts.requests, failed = 0;
    for (long i = 1; i <= requests; i++) {
        counts.requests = 0;
        counts.fail_at = i;
        dn_status st = use(&h, path, t, a); /* or it was for a batch that nobody took */
        CHECK(st == DN_OK || st == DN_E_NOMEM);
        failed += st == DN_E_NOMEM;
        CHECK_HEAP_CLEAN(&counts);
    }
    CHECK(failed > 20);
    close_loader(l, kept);
}

/* A piece of an image whose width is no float stays within it. */
static void test_long_side(void)
{
    enum { LONG = (1 << 24) + 3 };
    Cnn__AnnotatedDataParameter param = CNN__ANNOTATED_DATA_PARAMETER__INIT;
    Cnn__TransformationParameter transform = CNN__TRANSFORMATION_PARAMETER__INIT;
    uint8_t *pixels = calloc(LONG, 1), *datum = NULL;
    size_t capacity = 0, size = 0;
    SECTION("a long side");
    CHECK_STATUS(dni_datum_encode(heap, &datum, &capacity, &size, 1, 1, LONG, pixels, 0),
                 DN_OK);
    param.yolo_data_type = 1;
    dni_annotator a = {.heap = heap, .param = &param, .transform = &transform};
    dni_record record = {.data = datum, .size = size};
    dni_decoder decoder = {.heap = heap};
    dni_boxes boxes = {0};
    for (uint64_t index = 0; index < 16; index++) {
        dni_image image;
        int32_t label;
        CHECK_STATUS(dni_annotator_run(&a, &decoder, &record, index, 0, &image, &label, &boxes),
                     DN_OK);
        CHECK(image.u8 + image.width <= datum + size - 2); /* the label is behind it */
    }
    dni_annotator_free(&a);
    dni_decoder_free(&decoder);
    dni_free(datum);
    free(pixels);
}

int main(int argc, char **argv)
{
    char path[4096];
    size_t size;
    dn_context *context = NULL;
    if (argc != 2)
        return 2;
    snprintf(path, sizeof path, "%s/opencv_images.bin", argv[1]);
    char *images = read_file(path, &size);
    const uint8_t *colours = test_sizes((const uint8_t *)images);
    test_colours((const uint8_t *)images, colours);
    dni_free(images);
    const char *objects = check_path("objects");
    make_objects(objects);
    test_objects(objects);
    test_resume(objects);
    CHECK_STATUS(dn_context_create(&context, NULL), DN_OK);
    test_layer(context, objects);
    test_own_size(context);
    test_waiting(context);
    test_refused(context, objects);
    test_damage(objects);
    test_memory(objects);
    test_long_side();
    dn_context_free(context);
    return check_summary();
}
