/* SPDX-License-Identifier: BSD-2-Clause
 * cases_network.c: cases of normalisations, losses, measures, recurrent cells and updates. */
#include "builder.h"
#include "deepnet/sys/boxes.h"

typedef struct view {
    int64_t outer, dim, inner;
} view;

static const view views[] = {{1, 2, 1},    {2, 3, 5},    {64, 10, 1}, {3, 8, 17}, {4, 2, 33},
                             {2, 31, 1},   {5, 65, 1},   {1, 5, 64},  {7, 16, 9}, {1, 1000, 1},
                             {2, 21, 700}, {1700, 21, 1}, /* worth several tasks */
                             {2, 3, 36},   {9, 20, 1},   {1700, 40, 1}, {3, 2, 2048}};
#define NUM_VIEWS ((int)(sizeof(views) / sizeof(views[0])))

static void batch_norm_cases(builder *b)
{
    for (int v = 0; v < NUM_VIEWS; v++)
        for (int32_t global = 0; global < 2; global++) {
            view w = views[v];
            dn_shape shape = SHAPE(w.outer, w.dim, w.inner);
            BEGIN(b, DN_OP_BATCH_NORM, dn_args_batch_norm);
            b->c.args.batch_norm = (dn_args_batch_norm){b->c.args.base, global,  0,    w.outer,
                                                        w.dim,          w.inner, 1e-5, 0.999};
            b->c.tolerance = 5e-5;
            in(b, NORMAL, shape);
            out(b, shape);
            out(b, SHAPE(w.dim));
            out(b, SHAPE(w.dim));
            for (int k = 0; k < 2; k++)
                out_as(b, DN_F32, POSITIVE, SHAPE(w.dim));
            out_as(b, DN_F32, POSITIVE, SHAPE(1));
            b->c.in.fill[0] = SPOILT; /* the running values say so */
            emit(b);
            b->c.in.fill[0] = NORMAL;
            emit_in_place(b, 1, 0);
            b->c.kind = DN_OP_BATCH_NORM_BWD;
            in(b, POSITIVE, SHAPE(w.dim));
            in(b, NORMAL, shape);
            b->c.out.count = 1;
            emit_in_place(b, 1, 2);
        }
}

static void norm_scale_cases(builder *b)
{
    for (int v = 0; v < NUM_VIEWS; v++)
        for (int variant = 0; variant < 6; variant++) {
            view w = views[v];
            dn_shape shape = SHAPE(w.outer, w.dim, w.inner);
            int32_t activation = variant / 2 == 0   ? DN_FN_NONE
                                 : variant / 2 == 1 ? DN_FN_RELU
                                                    : DN_FN_TANH;
            BEGIN(b, DN_OP_NORM_SCALE, dn_args_norm_scale);
            b->c.args.norm_scale =
                (dn_args_norm_scale){b->c.args.base, variant % 2, activation, w.outer, w.dim,
                                     w.inner,        1e-5,        0.999,      0.1};
            b->c.tolerance = 5e-5;
            in(b, NORMAL, shape);
            in(b, POSITIVE, SHAPE(w.dim));
            in(b, NORMAL, SHAPE(w.dim));
            out(b, shape);
            out(b, SHAPE(w.dim));
            out(b, SHAPE(w.dim));
            for (int k = 0; k < 2; k++)
                out_as(b, DN_F32, POSITIVE, SHAPE(w.dim));
            out_as(b, DN_F32, POSITIVE, SHAPE(1));
            b->c.in.fill[0] = SPOILT;
            emit(b);
            emit_narrow_in_place(b, 0, -1, 1, 1);
            b->c.in.fill[0] = NORMAL;
            emit_added(b, 1);
            emit_narrow_in_place(b, 1, -1, 1, 1);
            in(b, POSITIVE, SHAPE(2, w.dim)); /* moments that another op has made */
            emit_added(b, 1);
            emit_narrow_in_place(b, 1, -1, 1, 1);
            b->c.kind = DN_OP_NORM_SCALE_BWD;
            b->c.in.count = b->c.out.count = 0;
            in(b, NORMAL, shape);
            if (activation)
                in(b, NORMAL, shape);
            else
                in_absent(b);
            in(b, NORMAL, SHAPE(w.dim));
            in(b, POSITIVE, SHAPE(w.dim));
            in(b, POSITIVE, SHAPE(w.dim));
            in(b, NORMAL, shape);
            out(b, shape);
            emit_in_place(b, 1, 5);
            out(b, SHAPE(w.dim));
            out(b, SHAPE(w.dim));
            emit_in_place(b, 7, 5);
            emit_narrow_in_place(b, 7, 5, 1 | 2 | 32, 1);
            b->c.in.operand[1].dtype = -1; /* y is made again, with beta */
            in(b, NORMAL, SHAPE(w.dim));
            emit_in_place(b, 7, 5);
            emit_narrow_in_place(b, 7, 5, 1 | 32, 1);
            in(b, NORMAL, SHAPE(2, w.dim)); /* sums that another op has made */
            emit_in_place(b, 7, 5);
            emit_narrow_in_place(b, 7, 5, 1 | 32, 1);
        }
}

static void mvn_cases(builder *b)
{
    for (int v = 0; v < NUM_VIEWS; v++)
        for (int32_t variance = 0; variance < 2; variance++) {
            int64_t rows = views[v].outer, cols = views[v].dim * views[v].inner;
            BEGIN(b, DN_OP_MVN, dn_args_mvn);
            b->c.args.mvn = (dn_args_mvn){b->c.args.base, variance, 0, rows, cols, 1e-9};
            b->c.tolerance = 5e-5;
            in(b, NORMAL, SHAPE(rows, cols));
            out(b, SHAPE(rows, cols));
            out(b, SHAPE(rows));
            b->c.in.fill[0] = SPOILT;
            emit(b);
            b->c.in.fill[0] = NORMAL;
            emit_added(b, 1);
            b->c.kind = DN_OP_MVN_BWD;
            in(b, POSITIVE, SHAPE(rows));
            in(b, NORMAL, SHAPE(rows, cols));
            b->c.out.count = 1;
            emit_added(b, 1);
        }
}

static void softmax_cases(builder *b)
{
    for (int v = 0; v < NUM_VIEWS; v++) {
        view w = views[v];
        dn_shape shape = SHAPE(w.outer, w.dim, w.inner);
        BEGIN(b, DN_OP_SOFTMAX, dn_args_axis);
        b->c.args.axis = (dn_args_axis){b->c.args.base, w.outer, w.dim, w.inner};
        in(b, NORMAL, shape);
        out(b, shape);
        emit_in_place(b, 1, 0);
        b->c.kind = DN_OP_SOFTMAX_BWD;
        in(b, NORMAL, shape);
        emit_in_place(b, 1, 1);
    }
}

typedef struct loss_row {
    int32_t loss, x_fill;
    bool classes, weights, aux, pair;
    double param;
    int32_t flag;
} loss_row;

static const loss_row losses[] = {
    {DN_LOSS_SOFTMAX, SHARE, true, false, false, false, 0, 0},
    {DN_LOSS_SOFTMAX, SHARE, true, true, false, false, 0, 0},
    {DN_LOSS_MULTINOMIAL, SHARE, true, false, false, false, 0, 0},
    {DN_LOSS_INFOGAIN, SHARE, true, true, true, false, 0, 0},
    {DN_LOSS_SIGMOID_CE, NORMAL, false, false, false, false, 0, 0},
    {DN_LOSS_HINGE, NORMAL, true, false, false, false, 1, 0},
    {DN_LOSS_HINGE, NORMAL, true, false, false, false, 2, 0},
    {DN_LOSS_CONTRASTIVE, SHARE, false, false, true, true, 1.5, 0},
    {DN_LOSS_CONTRASTIVE, SHARE, false, false, true, true, 1.5, 1},
    {DN_LOSS_EUCLIDEAN, NORMAL, false, false, false, true, 0, 0}};

/* Adds t and w; in: the case's x is there already. */
static void loss_inputs(builder *b, const loss_row *r, view v)
{
    if (r->classes)
        in_whole(b, DN_F32, v.dim, SHAPE(v.outer, v.inner));
    else if (r->loss == DN_LOSS_CONTRASTIVE)
        in_whole(b, DN_F32, 2, SHAPE(v.outer));
    else if (r->loss == DN_LOSS_SIGMOID_CE)
        in_whole(b, DN_F32, 2, SHAPE(v.outer, v.dim, v.inner));
    else
        in_absent(b);
    if (r->weights && r->loss == DN_LOSS_INFOGAIN)
        in(b, NORMAL, SHAPE(v.dim, v.dim));
    else if (r->weights)
        in(b, POSITIVE, SHAPE(v.dim));
    else
        in_absent(b);
}

static void loss_begin(builder *b, int32_t kind, const loss_row *r, view v, int32_t variant)
{
    BEGIN(b, kind, dn_args_loss);
    dn_args_loss *a = &b->c.args.loss;
    a->loss = r->loss;
    a->normalization = variant % 4;
    a->has_ignore = r->classes || r->loss == DN_LOSS_SIGMOID_CE ? variant & 1 : 0;
    a->ignore_label = variant / 2;
    a->outer = v.outer;
    a->dim = v.dim;
    a->inner = v.inner;
    a->param = r->param;
    a->flag = r->flag;
    b->c.tolerance = 3e-5;
    in(b, r->x_fill, SHAPE(v.outer, v.dim, v.inner));
    loss_inputs(b, r, v);
}

static void loss_case(builder *b, const loss_row *r, view v, int32_t variant)
{
    dn_shape aux = r->loss == DN_LOSS_INFOGAIN  ? SHAPE(v.dim)
                   : r->loss == DN_LOSS_SOFTMAX ? SHAPE(v.outer, v.inner)
                                                : SHAPE(v.outer);
    loss_begin(b, DN_OP_LOSS, r, v, variant);
    out(b, SHAPE(1));
    emit_added(b, 1);
    out(b, SHAPE(1));
    if (r->aux)
        out(b, aux);
    emit_added(b, 1);
    if (r->loss == DN_LOSS_SOFTMAX) {
        out(b, aux);
        emit(b);
    }

    loss_begin(b, DN_OP_LOSS_BWD, r, v, variant);
    if (variant & 2)
        in(b, POSITIVE, SHAPE(1));
    else
        in_absent(b);
    if (r->aux && r->loss == DN_LOSS_INFOGAIN && variant & 2)
        in(b, NORMAL, aux);
    else
        in_absent(b);
    in(b, POSITIVE, SHAPE(1));
    out(b, SHAPE(v.outer, v.dim, v.inner));
    emit_added(b, 1);
    if (r->pair) {
        out(b, SHAPE(v.outer, v.dim, v.inner));
        emit_added(b, 3);
        b->c.out.operand[0].dtype = -1;
        emit_added(b, 2);
    }
}

static void euclidean_with_target(builder *b, view v)
{
    static const loss_row row = {DN_LOSS_EUCLIDEAN, NORMAL, false, false, false, true, 0, 0};
    dn_shape shape = SHAPE(v.outer, v.dim, v.inner);
    loss_begin(b, DN_OP_LOSS, &row, v, 0);
    b->c.in.count = 1;
    in(b, NORMAL, shape);
    out(b, SHAPE(1));
    emit_added(b, 1);
    b->c.kind = DN_OP_LOSS_BWD;
    for (int k = 0; k < 3; k++)
        in_absent(b);
    in(b, POSITIVE, SHAPE(1));
    b->c.out.count = 0;
    out(b, shape);
    out(b, shape);
    emit_added(b, 3);
}

static void loss_cases(builder *b)
{
    for (int v = 0; v < NUM_VIEWS; v++) {
        for (size_t r = 0; r < sizeof(losses) / sizeof(losses[0]); r++)
            for (int32_t variant = 0; variant < 4; variant++)
                loss_case(b, &losses[r], views[v], variant);
        euclidean_with_target(b, views[v]);
    }
}

/* Scores with many ties, some of them NaN; keys of a few groups. */
static void rank_cases(builder *b)
{
    for (int n = 0; n < NUM_LENGTHS - 1; n++)
        for (int32_t keys = 0; keys < 2; keys++) {
            int64_t dim = builder_lengths[n], outer = 1 + n % 3;
            BEGIN(b, DN_OP_RANK, dn_args_rank);
            b->c.args.rank = (dn_args_rank){b->c.args.base, outer, dim, 0};
            in(b, n % 2 ? COARSE : WILD, SHAPE(outer, dim));
            if (keys)
                in(b, COARSE, SHAPE(outer, dim));
            out(b, SHAPE(outer, dim));
            emit(b);
            b->c.args.rank.most = 1 + n % 5;
            if (keys)
                b->c.in.fill[1] = SPOILT;
            emit(b);
        }
}

/* N, A, classes, H, W, T */
static const int64_t yolos[][6] = {{1, 1, 1, 1, 1, 1},     {2, 3, 4, 5, 7, 9},
                                   {1, 5, 20, 13, 13, 30}, {3, 2, 3, 2, 3, 20},
                                   {2, 3, 80, 19, 11, 0},  {1, 3, 2, 40, 33, 50}};

static void yolo_cases(builder *b)
{
    static const int32_t flags[] = {
        DN_YOLO_SOFTMAX | DN_YOLO_SLOPE | DN_YOLO_BY_SHAPE | DN_YOLO_RESCORE,
        DN_YOLO_SOFTMAX | DN_YOLO_SLOPE | DN_YOLO_BY_SIZE, DN_YOLO_BY_SHAPE | DN_YOLO_BY_SIZE,
        DN_YOLO_BY_SHAPE | DN_YOLO_BY_SIZE | DN_YOLO_ADD | DN_YOLO_LOGIC | DN_YOLO_FOCAL};
    for (size_t i = 0; i < sizeof(yolos) / sizeof(yolos[0]); i++)
        for (size_t f = 0; f < sizeof(flags) / sizeof(flags[0]); f++) {
            const int64_t *s = yolos[i];
            dn_shape x = SHAPE(s[0], s[1] * (5 + s[2]), s[3], s[4]);
            BEGIN(b, DN_OP_YOLO_LOSS, dn_args_yolo_loss);
            dn_args_yolo_loss *a = &b->c.args.yolo_loss;
            a->classes = (int32_t)s[2];
            a->anchors = a->all = (int32_t)s[1];
            a->all += flags[f] & DN_YOLO_BY_SHAPE ? 2 : 0;
            a->flags = flags[f];
            for (int32_t k = 0; k < a->all; k++) {
                a->mask[k] = k < a->anchors ? a->all - 1 - k : 0;
                a->width[k] = 0.05 * (double)(s[4] * (1 + 3 * k));
                a->height[k] = 0.04 * (double)(s[3] * (1 + (k ^ 1) * 3));
            }
            if (!(flags[f] & DN_YOLO_BY_SHAPE))
                for (int32_t k = 0; k < a->anchors; k++)
                    a->mask[k] = k;
            a->thresh = 0.3;
            a->object = 4;
            a->noobject = 0.5;
            a->class_scale = 1.5;
            a->coord = 2;
            a->smooth = f == 2 ? 0.1 : 0;
            in(b, NORMAL, x);
            add_operand(&b->c.in, DN_F32, TRUTHS, s[2], SHAPE(s[0], s[5], 5));
            out(b, SHAPE(1));
            out(b, x);
            emit(b);
            a->warm = 500 * s[0];
            in_state(b);
            emit(b);
        }
}

/* N, P, classes, G */
static const int64_t multis[][4] = {{1, 1, 2, 1},    {2, 30, 4, 7}, {3, 300, 3, 40},
                                    {1, 700, 21, 3}, {2, 65, 5, 0}, {2, 9, 2, 30},
                                    {0, 9, 3, 0},    {2, 0, 3, 0}};

static const struct {
    int32_t flags, mining, code;
    double nms;
} multi_ways[] = {
    {DN_MULTI_PRIORS, DN_MULTI_MAX_NEGATIVE, 2, 0},
    {DN_MULTI_PRIORS | DN_MULTI_L2 | DN_MULTI_EASY, DN_MULTI_HARD_EXAMPLE, 1, 0.4},
    {DN_MULTI_PRIORS | DN_MULTI_NMS_PRIORS, DN_MULTI_MAX_NEGATIVE, 3, 0.3},
    {DN_MULTI_IN_TARGET | DN_MULTI_NO_CROSSING | DN_MULTI_AGNOSTIC, DN_MULTI_HARD_EXAMPLE, 2,
     0},
    {DN_MULTI_APART | DN_MULTI_LOGISTIC | DN_MULTI_INSIDE, DN_MULTI_ALL, 2, 0},
    {DN_MULTI_APART | DN_MULTI_PRIORS | DN_MULTI_BIPARTITE, DN_MULTI_ALL, 1, 0}};

static void multi_cases(builder *b)
{
    for (size_t i = 0; i < sizeof(multis) / sizeof(multis[0]); i++)
        for (size_t w = 0; w < sizeof(multi_ways) / sizeof(multi_ways[0]); w++) {
            const int64_t *s = multis[i];
            int64_t places = multi_ways[w].flags & DN_MULTI_APART ? s[2] : 1;
            if (multi_ways[w].flags & DN_MULTI_AGNOSTIC && s[2] < 2)
                continue;
            BEGIN(b, DN_OP_MULTI_BOX, dn_args_multi_box);
            b->c.args.multi_box = (dn_args_multi_box){.base = b->c.args.base,
                                                      .classes = (int32_t)s[2],
                                                      .flags = multi_ways[w].flags,
                                                      .mining = multi_ways[w].mining,
                                                      .code = multi_ways[w].code,
                                                      .normalization = (int32_t)(w % 4),
                                                      .sample = 12,
                                                      .top_k = w % 2 ? 7 : -1,
                                                      .overlap = 0.35,
                                                      .neg_overlap = 0.3,
                                                      .ratio = 2.5,
                                                      .nms = multi_ways[w].nms,
                                                      .loc_weight = 1.5,
                                                      .conf_weight = 1};
            in(b, NORMAL, SHAPE(s[0], s[1], places, 4));
            in(b, i % 2 ? COARSE : NORMAL, SHAPE(s[0], s[1], s[2]));
            add_operand(&b->c.in, DN_F32, PRIORS, 0, SHAPE(1, 2, s[1] * 4));
            add_operand(&b->c.in, DN_F32, OBJECTS, s[2], SHAPE(s[3], 8));
            out(b, SHAPE(1));
            emit(b);
            out(b, SHAPE(s[0], s[1], places, 4));
            out(b, SHAPE(s[0], s[1], s[2]));
            emit(b);
            b->c.in.fill[0] = b->c.in.fill[1] = SPOILT; /* no number is a loss, or a box */
            emit(b);
            b->c.in.fill[0] = b->c.in.fill[1] = WILD;
            emit(b);
        }
}

static void measure_cases(builder *b)
{
    for (int v = 0; v < NUM_VIEWS; v++)
        for (int32_t top_k = 1; top_k <= 2; top_k++) {
            view w = views[v];
            dn_shape shape = SHAPE(w.outer, w.dim, w.inner);
            BEGIN(b, DN_OP_ACCURACY, dn_args_accuracy);
            b->c.args.accuracy =
                (dn_args_accuracy){b->c.args.base, top_k, v % 2, 1, 0, w.outer, w.dim, w.inner};
            in(b, COARSE, shape);
            in_whole(b, DN_F32, w.dim, SHAPE(w.outer, w.inner));
            out(b, SHAPE(1));
            emit(b);
            out(b, SHAPE(w.dim));
            emit(b);
            b->c.in.fill[0] = SPOILT;
            emit(b);
            for (int32_t values = 0; values < 2; values++)
                for (int32_t pairs = 0; pairs <= (w.inner == 1); pairs++) {
                    BEGIN(b, DN_OP_ARGMAX, dn_args_argmax);
                    b->c.args.argmax = (dn_args_argmax){b->c.args.base, top_k, values, pairs, 0,
                                                        w.outer,        w.dim, w.inner};
                    b->c.tolerance = 0;
                    in(b, COARSE, shape);
                    out(b, SHAPE(w.outer, top_k, pairs ? 2 : w.inner));
                    emit(b);
                    b->c.in.fill[0] = SPOILT;
                    emit(b);
                }
        }
}

/* T, N, C, L, steps */
static const int64_t ctcs[][5] = {
    {1, 1, 1, 1, 1},     {6, 3, 4, 2, 6},       {9, 2, 5, 7, 8}, {40, 5, 30, 12, 40},
    {30, 2, 300, 9, 29}, {300, 1, 3, 140, 300}, {7, 4, 2, 3, 7}};

static void ctc_cases(builder *b)
{
    for (size_t i = 0; i < sizeof(ctcs) / sizeof(ctcs[0]); i++)
        for (int64_t last = 0; last < 2; last++) { /* the blank */
            const int64_t *s = ctcs[i];
            BEGIN(b, DN_OP_CTC, dn_args_ctc);
            b->c.args.ctc = (dn_args_ctc){b->c.args.base, s[4], last ? s[2] - 1 : 0};
            in(b, NORMAL, SHAPE(s[0], s[1], s[2]));
            in_whole(b, DN_F32, s[2], SHAPE(s[1], s[3]));
            out(b, SHAPE(1));
            out(b, SHAPE(s[0], s[1], s[2]));
            emit(b);
        }
}

/* Few and many of both kinds, drawn from or taken whole. */
static void targets_cases(builder *b)
{
    static const int64_t draws[] = {0, 1, 7, 40, 700, 5000}, truths[] = {0, 1, 3, 40};
    for (int64_t n = 0; n < 48; n++) {
        bool regions = n % 2;
        int64_t A = 1 + n % 5, H = n == 46 ? 0 : 3 + n % 7, W = 4 + n % 11, R = n * n % 1100;
        int64_t G = truths[n / 2 % 4], classes = 1 + n % 6, rows = n % 3 ? 50 : 1200;
        int64_t some = draws[n / 2 % 6];
        BEGIN(b, DN_OP_TARGETS, dn_args_targets);
        b->c.args.targets =
            (dn_args_targets){.base = b->c.args.base,
                              .method = regions ? DN_TARGETS_REGIONS : DN_TARGETS_ANCHORS,
                              .classes = classes,
                              .draws = some,
                              .holding = some / (1 + n % 3),
                              .H = H,
                              .W = W,
                              .positive = n % 4 ? 0.5 : 0.2,
                              .negative = n % 4 < 2 ? 0.5 : 0.1,
                              .border = (double)(n % 3 * 4),
                              .stride = 2.5,
                              .deviation = {0.5, 1, 2, 1},
                              .stream = (uint64_t)n << 31};
        if (regions)
            in_absent(b);
        else
            in_whole(b, DN_F64, 15, SHAPE(A, 4));
        in_whole(b, DN_F32, regions ? 15 : 90, regions ? SHAPE(R, 5) : SHAPE(1, 3));
        in_whole(b, DN_F32, regions ? classes : 25, SHAPE(G, 5));
        in_state(b);
        out(b, regions ? SHAPE(rows) : SHAPE(1, 1, A * H, W));
        for (int k = 0; k < 3; k++)
            out(b, regions ? SHAPE(rows, 4 * classes) : SHAPE(1, 4 * A, H, W));
        if (regions) {
            out(b, SHAPE(rows, 5));
            out_as(b, DN_I32, POISON, SHAPE(1));
        }
        emit(b);
    }
}

/* lattices, colours, H, W, channels */
static const int64_t lattices[][5] = {{1, 0, 1, 1, 40},  {1, 0, 9, 7, 3},    {2, 3, 6, 11, 2},
                                      {1, 3, 37, 29, 1}, {3, 1, 20, 3, 2},   {1, 8, 5, 8, 9},
                                      {2, 1, 30, 20, 2}, {1, 0, 40, 50, 130}};

static void lattice_cases(builder *b)
{
    for (int32_t i = 0; i < (int32_t)(sizeof lattices / sizeof lattices[0]); i++)
        for (int32_t n = 0; n < 6; n++) { /* wide and narrow, of numbers or not; back or not */
            const int64_t *s = lattices[i], N = s[0] > 1 ? s[0] : 1 + n / 2;
            int64_t corners = s[2] * s[3] * (s[1] + 3);
            int64_t table = 1 + corners * (1 + 2 * (s[1] + 3));
            dn_args_lattice args = {.N = N,
                                    .C = s[4],
                                    .H = s[2],
                                    .W = s[3],
                                    .colours = s[1],
                                    .lattices = s[0],
                                    .place = n % 3 ? 0.7 : 9,
                                    .colour = n % 2 ? 0.3 : 2};
            BEGIN(b, DN_OP_LATTICE, dn_args_lattice);
            args.base = b->c.args.base;
            b->c.args.lattice = args;
            if (s[1])
                in(b, n < 4 ? NORMAL : n < 5 ? SPOILT : WILD, SHAPE(s[0], s[1], s[2], s[3]));
            else
                in_absent(b);
            if (n % 2)
                in_whole(b, DN_F32, s[3] + 2, SHAPE(s[0], 2));
            else
                in_absent(b);
            out_as(b, DN_I32, POISON, SHAPE(s[0], table));
            out(b, SHAPE(s[0], corners));
            out(b, SHAPE(s[0], s[2], s[3]));
            emit(b);
            BEGIN(b, DN_OP_LATTICE_FILTER, dn_args_lattice);
            args.back = n % 2;
            b->c.args.lattice = args;
            /* of one pixel a plane is NaN or not, here as there */
            in(b, !i ? SPOILT : n < 4 ? NORMAL : POSITIVE, SHAPE(N, s[4], s[2], s[3]));
            add_operand(&b->c.in, DN_I32, LATTICE, 0, SHAPE(s[0], table));
            in(b, SHARE, SHAPE(s[0], corners));
            in(b, POSITIVE, SHAPE(s[0], s[2], s[3]));
            out(b, SHAPE(N, s[4], s[2], s[3]));
            emit(b);
        }
}

static void overlap_cases(builder *b)
{
    for (int v = 0; v <= NUM_VIEWS; v++)
        for (int32_t ignore = 0; ignore < 2; ignore++) {
            view w = v < NUM_VIEWS ? views[v] : (view){0, 3, 5}; /* no image */
            w.dim = v % 5 == 3 ? 1 : w.dim;
            BEGIN(b, DN_OP_OVERLAP, dn_args_overlap);
            b->c.args.overlap = (dn_args_overlap){
                b->c.args.base, DN_OVERLAP_LABELS, 0, w.outer, w.dim, w.inner, 0.5};
            in(b, COARSE, SHAPE(w.outer, w.dim, w.inner));
            in_whole(b, DN_F32, w.dim > 1 ? w.dim : 2, SHAPE(w.outer, w.inner));
            if (ignore)
                in_whole(b, DN_F64, w.dim + 2, SHAPE(v % 3));
            out(b, SHAPE(3));
            emit(b);
            b->c.in.fill[0] = SPOILT;
            emit(b);
            b->c.args.overlap.measure = DN_OVERLAP_MAPS;
            b->c.in.operand[1].shape = b->c.in.operand[0].shape;
            b->c.in.fill[1] = SPOILT;
            b->c.out.operand[0].shape = SHAPE(w.dim);
            if (!ignore)
                emit(b);
        }
}

static void gather_cases(builder *b)
{
    for (int n = 0; n < NUM_LENGTHS; n++) {
        int64_t cols = builder_lengths[n], rows = 1 + n % 7, limit = 1 + n % 5;
        BEGIN(b, DN_OP_GATHER, dn_args_gather);
        b->c.args.gather = (dn_args_gather){b->c.args.base, rows, cols, limit};
        in(b, NORMAL, SHAPE(limit, cols));
        in_whole(b, DN_F32, limit, SHAPE(rows));
        out(b, SHAPE(rows, cols));
        emit_added(b, 1);
        BEGIN(b, DN_OP_SCATTER_ADD, dn_args_gather);
        b->c.args.gather = (dn_args_gather){b->c.args.base, rows, cols, limit};
        in(b, NORMAL, SHAPE(rows, cols));
        in_whole(b, DN_F32, limit, SHAPE(rows));
        out(b, SHAPE(limit, cols));
        emit_added(b, 1);
    }
    for (int n = 0; n < NUM_LENGTHS; n++) { /* one table, of whose rows tasks have some */
        int64_t cols = 1 + n % 4 * 700, rows = builder_lengths[n] % 90, limit = 97;
        BEGIN(b, DN_OP_SCATTER_ADD, dn_args_gather);
        b->c.args.gather = (dn_args_gather){b->c.args.base, rows, cols, limit, 0, 1, 0};
        in(b, NORMAL, SHAPE(rows, cols));
        in_whole(b, DN_F32, limit, SHAPE(rows));
        out(b, SHAPE(limit, cols));
        emit(b);
    }
    for (int n = 0; n < NUM_LENGTHS; n++) /* tables, and the last of equal rows */
        for (int32_t set = 0; set < 2; set++) {
            int64_t batch = builder_lengths[n], rows = 1 + n % 7, limit = 1 + n % 5;
            int64_t cols = n % 3 ? 1 : 4;
            BEGIN(b, set ? DN_OP_SCATTER_ADD : DN_OP_GATHER, dn_args_gather);
            b->c.args.gather =
                (dn_args_gather){b->c.args.base, rows, cols, limit, batch, set, 0};
            in(b, NORMAL, SHAPE(batch, set ? rows : limit, cols));
            in_whole(b, DN_F32, limit, SHAPE(batch, rows));
            out(b, SHAPE(batch, set ? limit : rows, cols));
            emit(b);
            if (set)
                b->c.args.gather.set = 0;
            emit_added(b, 1);
        }
}

/* Rows that many items name, others none, of one table and of several. */
static void many_rows(builder *b)
{
    for (int32_t batch = 0; batch < 4; batch += 3) {
        int64_t tables = batch ? batch : 1, rows = 700, cols = 270, limit = 90;
        BEGIN(b, DN_OP_SCATTER_ADD, dn_args_gather);
        b->c.args.gather = (dn_args_gather){b->c.args.base, rows, cols, limit, batch, 0, 0};
        in(b, NORMAL, SHAPE(tables, rows, cols));
        in_whole(b, DN_F32, limit / 2, SHAPE(tables, rows));
        out(b, SHAPE(tables, limit, cols));
        emit_added(b, 1);
    }
}

/* No rows at all: a sum of them is zero, or what was there. */
static void no_rows(builder *b)
{
    for (int32_t set = 0; set < 2; set++) {
        BEGIN(b, DN_OP_SCATTER_ADD, dn_args_gather);
        b->c.args.gather = (dn_args_gather){b->c.args.base, 0, 7, 5, set ? 3 : 0, set, 0};
        in(b, NORMAL, SHAPE(0, 7));
        in_whole(b, DN_F32, 5, SHAPE(0));
        out(b, SHAPE(set ? 3 : 1, 5, 7));
        if (set)
            emit(b);
        else
            emit_added(b, 1);
    }
}

static void detect_begin(builder *b, int32_t method, int32_t n, dn_shape anchors)
{
    static const int64_t before[] = {-1, 40, 7}, after[] = {-1, 20, 3}, keep[] = {-1, 15, 4};
    BEGIN(b, DN_OP_DETECT, dn_args_detect);
    dn_args_detect *a = &b->c.args.detect;
    a->method = method;
    a->before = before[n % 3];
    a->after = after[n / 3 % 3];
    a->keep = keep[(n + n / 3) % 3];
    a->threshold = n % 5 == 4 ? 1e9 : 0.3; /* now and then nothing */
    a->nms = n % 2 ? 0.7 : 0.3;
    a->eta = n % 4 == 1 ? 0.9 : 1;
    if (method != DN_DETECT_PRIORS)
        in(b, POSITIVE, anchors), b->c.in.operand[0].dtype = DN_F64;
    else
        in_absent(b);
}

/* As many rows as there may be. */
static void detect_emit(builder *b, int64_t N, int64_t P, int64_t groups)
{
    const dn_args_detect *a = &b->c.args.detect;
    int64_t each = a->before >= 0 && a->before < P ? a->before : P;
    each = (a->after >= 0 && a->after < each ? a->after : each) * groups;
    each = a->keep >= 0 && a->keep < each ? a->keep : each;
    out(b, SHAPE(N * (each ? each : 1), 7));
    out_as(b, DN_I32, POISON, SHAPE(1));
    emit(b);
}

static void detect_cases(builder *b)
{
    for (int32_t n = 0; n < 24; n++) {
        int64_t A = 1 + n % 4, H = n == 23 ? 0 : 3 + n % 5, W = 2 + n / 3;
        detect_begin(b, DN_DETECT_PROPOSAL, n, SHAPE(A, 4));
        b->c.args.detect.stride = n % 7 ? 0.5 : 3;
        b->c.args.detect.least = n % 5 == 4 ? 1e9 : 0.3;
        in(b, n % 2 ? COARSE : WILD, SHAPE(1, 2 * A, H, W));
        in(b, n % 3 ? NORMAL : WILD, SHAPE(1, 4 * A, H, W));
        in_whole(b, DN_F32, 15, SHAPE(1, 3));
        detect_emit(b, 1, A * H * W, 1);
    }
    for (int32_t n = 0; n < 24; n++) {
        int64_t N = n % 6 == 5 ? 0 : 1 + n % 3, classes = 1 + n % 7, P = 0;
        int32_t maps = 1 + n % 3;
        detect_begin(b, DN_DETECT_YOLO, n, SHAPE(maps * (maps + 1) / 2, 2));
        b->c.args.detect.classes = classes;
        b->c.args.detect.flags = n % 4 < 2 ? DN_DETECT_SOFTMAX : 0;
        for (int32_t k = 1; k <= maps; k++) {
            in(b, n % 5 ? COARSE : WILD, SHAPE(N, k * (5 + classes), 2 + k, 3 + n % 4));
            P += k * (2 + k) * (3 + n % 4);
        }
        detect_emit(b, N, P, 1);
    }
    for (int32_t n = 0; n < 36; n++) {
        int64_t N = 1 + n % 3, classes = 1 + n % 5, P = 3 + 11 * n;
        bool shared = n % 2;
        detect_begin(b, DN_DETECT_PRIORS, n, SHAPE(0));
        b->c.args.detect.classes = classes;
        b->c.args.detect.background = n % 4 - 1;
        b->c.args.detect.code = DN_BOX_CORNER + n % 3;
        b->c.args.detect.least = 0.3;
        b->c.args.detect.flags =
            (shared ? DN_DETECT_SHARED : 0) | (n % 5 == 2 ? DN_DETECT_VARIED : 0);
        in(b, n % 2 ? COARSE : SHARE, SHAPE(N, P, classes));
        in(b, n % 7 ? NORMAL : WILD, SHAPE(N, P, shared ? 1 : classes, 4));
        in(b, SHARE, SHAPE(1, 2, 4 * P));
        if (n % 3) {
            in(b, SHARE, SHAPE(N, P, 2));
            in(b, NORMAL, SHAPE(N, P, 4));
        }
        detect_emit(b, N, P, classes);
    }
}

static void lstm_cases(builder *b)
{
    for (int n = 0; n < NUM_LENGTHS - 3; n++) {
        int64_t D = builder_lengths[n], N = 1 + n % 4;
        BEGIN(b, DN_OP_LSTM_UNIT, dn_args_lstm);
        b->c.args.lstm = (dn_args_lstm){b->c.args.base, N, D};
        in(b, NORMAL, SHAPE(N, D));
        in(b, NORMAL, SHAPE(N, 4 * D));
        in_whole(b, DN_F32, 2, SHAPE(N));
        out(b, SHAPE(N, D));
        out(b, SHAPE(N, D));
        out(b, SHAPE(N, 4 * D));
        emit_added(b, 3);
        BEGIN(b, DN_OP_LSTM_UNIT_BWD, dn_args_lstm);
        b->c.args.lstm = (dn_args_lstm){b->c.args.base, N, D};
        in(b, NORMAL, SHAPE(N, D));
        in(b, SHARE, SHAPE(N, 4 * D));
        in(b, NORMAL, SHAPE(N, D));
        in(b, POSITIVE, SHAPE(N)); /* gates filled at random do not go with cont 0 */
        in(b, NORMAL, SHAPE(N, D));
        in(b, NORMAL, SHAPE(N, D));
        out(b, SHAPE(N, D));
        out(b, SHAPE(N, 4 * D));
        emit_added(b, 3);
    }
}

static void begin_update(builder *b, int32_t rule, int32_t l1, int n)
{
    BEGIN(b, DN_OP_UPDATE, dn_args_update);
    dn_args_update *a = &b->c.args.update;
    a->rule = rule;
    a->l1 = l1;
    a->lr_mult = n % 4 ? 2 : 0;
    a->decay = n % 3 ? 0.01 : 0;
    a->momentum = 0.9;
    a->momentum2 = 0.99;
    a->delta = 1e-3;
    a->rms_decay = 0.95;
    in(b, POSITIVE, SHAPE(4));
}

static void add_weight(builder *b, int32_t rule, int64_t length)
{
    out_as(b, DN_F32, COARSE, SHAPE(length));
    out_as(b, DN_F32, NORMAL, SHAPE(length));
    out_as(b, DN_F32, POSITIVE, SHAPE(length));
    if (rule >= DN_UPDATE_ADADELTA)
        out_as(b, DN_F32, POSITIVE, SHAPE(length));
}

static void update_cases(builder *b)
{
    for (int n = 0; n < NUM_LENGTHS; n++)
        for (int32_t rule = 0; rule <= DN_UPDATE_ADAM; rule++)
            for (int32_t l1 = 0; l1 < 2; l1++) {
                begin_update(b, rule, l1, n);
                add_weight(b, rule, builder_lengths[n]);
                emit(b);
            }
}

/* Many weights, some empty, with rates and decays of their own; all together are cut into
 * pieces within a weight and between two. */
static void updates_of_many(builder *b)
{
    static const int nums[] = {1, 2, 12, 48, 66};
    for (size_t n = 0; n < sizeof(nums) / sizeof(nums[0]); n++)
        for (int32_t rule = 0; rule <= (nums[n] > 50 ? DN_UPDATE_RMSPROP : DN_UPDATE_ADAM);
             rule++)
            for (int32_t l1 = 0; l1 < 2; l1++) {
                begin_update(b, rule, l1, 0);
                in(b, COARSE, SHAPE(2 * nums[n]));
                for (int k = 0; k < nums[n]; k++)
                    add_weight(b, rule,
                               k % 7 == 3   ? 0
                               : k % 5 == 1 ? 20011 + 17 * k
                                            : builder_lengths[k % NUM_LENGTHS]);
                emit(b);
            }
}

/* Of few classes and steps, so that some are read right; ties, and what is no number. */
static void sequence_cases(builder *b)
{
    for (int64_t n = 0; n < 24; n++) {
        int64_t N = n * n % 301, T = n % 5, C = n % 6 == 5 ? 600 : 1 + n % 3, L = n % 4;
        BEGIN(b, DN_OP_OVERLAP, dn_args_overlap);
        b->c.args.overlap = (dn_args_overlap){b->c.args.base, DN_OVERLAP_SEQUENCES, 0, N, C, T,
                                              (double)(n % 2)};
        in(b, n % 4 ? COARSE : SPOILT, SHAPE(N, T, C));
        in_whole(b, DN_F32, C < 3 ? C : 3, SHAPE(N, L));
        out(b, SHAPE(1));
        emit(b);
    }
}

/* Rows that a device sorts in pieces, and boxes that it compares by many words of bits. */
static void long_rows(builder *b)
{
    static const int64_t dims[] = {2048, 2049, 5000};
    for (int n = 0; n < 6; n++) {
        BEGIN(b, DN_OP_RANK, dn_args_rank);
        b->c.args.rank = (dn_args_rank){b->c.args.base, 2, dims[n % 3], n == 5 ? 1500 : 0};
        in(b, n < 3 ? COARSE : SPOILT, SHAPE(2, dims[n % 3]));
        if (n % 2)
            in(b, n < 3 ? COARSE : SPOILT, SHAPE(2, dims[n % 3]));
        out(b, SHAPE(2, dims[n % 3]));
        emit(b);
    }
    for (int32_t n = 0; n < 6; n++) {
        detect_begin(b, DN_DETECT_PROPOSAL, 4 * n, SHAPE(3, 4));
        b->c.args.detect.threshold = -1e9;
        b->c.args.detect.stride = 3;
        b->c.args.detect.least = -10;
        b->c.args.detect.before = n % 2 ? 1300 : 2000;
        b->c.args.detect.after = n % 3 ? -1 : 100;
        b->c.args.detect.keep = -1;
        b->c.args.detect.eta = n == 4 ? 0.999 : 1;
        b->c.args.detect.nms = n == 4 ? 0.8 : 0.4;
        in(b, n < 4 ? COARSE : SPOILT, SHAPE(1, 6, 40, 20));
        in(b, NORMAL, SHAPE(1, 12, 40, 20));
        in_whole(b, DN_F32, 60, SHAPE(1, 3));
        detect_emit(b, 1, 3 * 40 * 20, 1);
    }
}

void cases_network(case_fn fn, void *user)
{
    int32_t number = 3000000;
    builder b = {.fn = fn, .user = user, .number = &number};
    batch_norm_cases(&b);
    norm_scale_cases(&b);
    mvn_cases(&b);
    softmax_cases(&b);
    loss_cases(&b);
    rank_cases(&b);
    yolo_cases(&b);
    multi_cases(&b);
    measure_cases(&b);
    gather_cases(&b);
    no_rows(&b);
    many_rows(&b);
    detect_cases(&b);
    overlap_cases(&b);
    ctc_cases(&b);
    targets_cases(&b);
    lstm_cases(&b);
    update_cases(&b);
    updates_of_many(&b);
    long_rows(&b);
    sequence_cases(&b);
    lattice_cases(&b);
}
