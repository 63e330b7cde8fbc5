/* SPDX-License-Identifier: BSD-2-Clause
 * check_ref.c: ref against numbers that do not come from ref: worked by hand, brute force in
 * another arrangement, published vectors, moments, finite differences. */
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "builder.h"
#include "deepnet/sys/random.h"

extern const dn_backend_ops *const dni_builtin_backends[];

static const dn_backend_ops *ref;
static int failures;

#define EXPECT(condition)                                                                      \
    do {                                                                                       \
        if (!(condition)) {                                                                    \
            printf("%s:%d: %s\n", __func__, __LINE__, #condition);                             \
            failures++;                                                                        \
        }                                                                                      \
    } while (0)

static bool near(double a, double b, double tolerance)
{
    return fabs(a - b) <= tolerance * fmax(1, fabs(b));
}

static bool all_near(const double *a, const double *b, int n, double tolerance)
{
    for (int i = 0; i < n; i++)
        if (!near(a[i], b[i], tolerance)) {
            printf("  element %d is %.12g, wanted %.12g\n", i, a[i], b[i]);
            return false;
        }
    return true;
}

/* Creates and runs the op in b->c; every operand of type F32 there is taken as F64. */
static dn_status run(builder *b, void *const *inputs, void *const *outputs)
{
    dn_backend_host host;
    dn_backend *backend;
    dn_op *op;
    dn_op_info info = {.struct_size = sizeof(info)};
    kernel_case *c = &b->c;
    for (int k = 0; k < MOST_OPERANDS; k++) {
        if (c->in.operand[k].dtype == DN_F32)
            c->in.operand[k].dtype = DN_F64;
        if (c->out.operand[k].dtype == DN_F32)
            c->out.operand[k].dtype = DN_F64;
    }
    dn_op_desc desc = {.struct_size = sizeof(desc),
                       .kind = c->kind,
                       .num_inputs = c->in.count,
                       .num_outputs = c->out.count,
                       .inputs = c->in.operand,
                       .outputs = c->out.operand,
                       .args = &c->args};
    host_init(&host, 1);
    dn_status status = ref->open(&backend, &host);
    if (status != DN_OK)
        return status;
    status = ref->op_create(backend, &desc, &op, &info);
    if (status == DN_OK) {
        void *scratch = aligned_alloc(64, (info.scratch + 64) / 64 * 64);
        dn_op_io io = {sizeof(io), inputs, outputs, scratch};
        status = ref->op_run(op, &io);
        ref->op_destroy(op);
        free(scratch);
    }
    ref->close(backend);
    return status;
}

#define RUN(b, ins, outs) run(b, (void *const *)(ins), (void *const *)(outs))

/* A number in [-1, 1) of index i, the same everywhere. */
static double noise(int64_t i)
{
    return (double)((uint64_t)i * 2654435761u % 2000) / 1000 - 1;
}

/* ---- random numbers -------------------------------------------------------------------- */

/* The known-answer vectors of Random123 (Salmon et al.) for philox4x32-10. */
static void test_philox(void)
{
    static const uint32_t vectors[3][10] = {
        {0, 0, 0, 0, 0, 0, 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8},
        {0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0x408f276d,
         0x41c83b0e, 0xa20bc7c6, 0x6d5451fd},
        {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0, 0xd16cfe09,
         0x94fdcceb, 0x5001e420, 0x24126ea1}};
    for (int v = 0; v < 3; v++) {
        uint32_t c[4] = {vectors[v][0], vectors[v][1], vectors[v][2], vectors[v][3]};
        dn_philox(c, vectors[v][4], vectors[v][5]);
        EXPECT(memcmp(c, &vectors[v][6], sizeof(c)) == 0);
    }
}

enum { DRAWS = 40000 };

static void draw(int32_t dist, double a, double b, double *y)
{
    builder w;
    int64_t state[2] = {42, 7};
    BEGIN(&w, DN_OP_RANDOM, dn_args_random);
    w.c.args.random.dist = dist;
    w.c.args.random.a = a;
    w.c.args.random.b = b;
    in_state(&w);
    out(&w, SHAPE(DRAWS));
    EXPECT(RUN(&w, &((void *){state}), &y) == DN_OK);
}

/* Mean, variance, skewness and kurtosis of what was drawn. */
static void moments(const double *y, double m[4])
{
    memset(m, 0, 4 * sizeof(*m));
    for (int i = 0; i < DRAWS; i++)
        m[0] += y[i] / DRAWS;
    for (int i = 0; i < DRAWS; i++)
        for (int k = 1; k < 4; k++)
            m[k] += pow(y[i] - m[0], k + 1) / DRAWS;
    m[2] /= pow(m[1], 1.5);
    m[3] /= m[1] * m[1];
}

static void test_distributions(void)
{
    static double y[DRAWS];
    double m[4], neighbours = 0;
    draw(DN_DIST_GAUSSIAN, 1.5, 2, y);
    moments(y, m);
    for (int i = 0; i + 1 < DRAWS; i++)
        neighbours += (y[i] - 1.5) * (y[i + 1] - 1.5) / 4 / DRAWS;
    EXPECT(fabs(m[0] - 1.5) < 0.04 && fabs(m[1] - 4) < 0.12);
    EXPECT(fabs(m[2]) < 0.05 && fabs(m[3] - 3) < 0.1 && fabs(neighbours) < 0.02);
    draw(DN_DIST_UNIFORM, -1, 3, y);
    moments(y, m);
    EXPECT(fabs(m[0] - 1) < 0.03 && fabs(m[1] - 16.0 / 12) < 0.03 && fabs(m[3] - 1.8) < 0.03);
    draw(DN_DIST_BERNOULLI, 0.3, 0, y);
    moments(y, m);
    EXPECT(fabs(m[0] - 0.3) < 0.01 && fabs(m[1] - 0.21) < 0.01);
}

/* ---- windows ----------------------------------------------------------------------------- */

typedef struct conv2d {
    int64_t N, C, K, group, H, W, R, S, stride, pad, dilation, P, Q;
} conv2d;

static double input_at(const conv2d *v, const double *x, int64_t n, int64_t c, int64_t h,
                       int64_t w)
{
    bool inside = h >= 0 && h < v->H && w >= 0 && w < v->W;
    return inside ? x[((n * v->C + c) * v->H + h) * v->W + w] : 0;
}

static void brute_conv2d(const conv2d *v, const double *x, const double *w, const double *b,
                         double *y)
{
    int64_t Cg = v->C / v->group, Kg = v->K / v->group;
    for (int64_t n = 0; n < v->N; n++)
        for (int64_t k = 0; k < v->K; k++)
            for (int64_t p = 0; p < v->P; p++)
                for (int64_t q = 0; q < v->Q; q++) {
                    double sum = b[k];
                    for (int64_t c = 0; c < Cg; c++)
                        for (int64_t r = 0; r < v->R; r++)
                            for (int64_t s = 0; s < v->S; s++)
                                sum += w[((k * Cg + c) * v->R + r) * v->S + s] *
                                       input_at(v, x, n, k / Kg * Cg + c,
                                                p * v->stride - v->pad + r * v->dilation,
                                                q * v->stride - v->pad + s * v->dilation);
                    y[((n * v->K + k) * v->P + p) * v->Q + q] = sum;
                }
}

static void conv_args(builder *b, int32_t kind, const conv2d *v)
{
    BEGIN(b, kind, dn_args_conv);
    b->c.args.conv.spatial = 2;
    b->c.args.conv.group = (int32_t)v->group;
    for (int d = 0; d < 2; d++) {
        b->c.args.conv.kernel[d] = d ? v->S : v->R;
        b->c.args.conv.stride[d] = v->stride;
        b->c.args.conv.pad[d] = v->pad;
        b->c.args.conv.dilation[d] = v->dilation;
    }
}

static double dot(const double *a, const double *b, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

/* y against brute force; the gradients as adjoints: <dy, conv(x, w)> = <dx, x> = <dw, w>. */
static void check_conv2d(conv2d v)
{
    static double x[2000], w[2000], y[2000], want[2000], dx[2000], dw[2000];
    static double b[64], zero[64], db[64], dy[2000];
    builder c;
    v.P = (v.H + 2 * v.pad - (v.dilation * (v.R - 1) + 1)) / v.stride + 1;
    v.Q = (v.W + 2 * v.pad - (v.dilation * (v.S - 1) + 1)) / v.stride + 1;
    int64_t nx = v.N * v.C * v.H * v.W, ny = v.N * v.K * v.P * v.Q;
    int64_t nw = v.K * (v.C / v.group) * v.R * v.S;
    for (int i = 0; i < 2000; i++) {
        x[i] = noise(i);
        w[i] = noise(3 * i + 1);
        dy[i] = noise(7 * i + 2);
    }
    for (int i = 0; i < 64; i++)
        b[i] = noise(i + 99);
    dn_shape X = SHAPE(v.N, v.C, v.H, v.W), Y = SHAPE(v.N, v.K, v.P, v.Q);
    dn_shape W = SHAPE(v.K, v.C / v.group, v.R, v.S);

    conv_args(&c, DN_OP_CONV, &v);
    in(&c, 0, X);
    in(&c, 0, W);
    in(&c, 0, SHAPE(v.K));
    out(&c, Y);
    EXPECT(RUN(&c, ((void *[]){x, w, b}), &((void *){y})) == DN_OK);
    brute_conv2d(&v, x, w, b, want);
    EXPECT(all_near(y, want, (int)ny, 1e-12));

    brute_conv2d(&v, x, w, zero, want);
    conv_args(&c, DN_OP_CONV_BWD_DATA, &v);
    in(&c, 0, Y);
    in(&c, 0, W);
    out(&c, X);
    EXPECT(RUN(&c, ((void *[]){dy, w}), &((void *){dx})) == DN_OK);
    EXPECT(near(dot(dx, x, nx), dot(dy, want, ny), 1e-11));

    conv_args(&c, DN_OP_CONV_BWD_WEIGHTS, &v);
    in(&c, 0, X);
    in(&c, 0, Y);
    out(&c, W);
    out(&c, SHAPE(v.K));
    EXPECT(RUN(&c, ((void *[]){x, dy}), ((void *[]){dw, db})) == DN_OK);
    EXPECT(near(dot(dw, w, nw), dot(dy, want, ny), 1e-11));
    double sum = 0, db_sum = 0;
    for (int64_t i = 0; i < ny; i++)
        sum += dy[i];
    for (int64_t k = 0; k < v.K; k++)
        db_sum += db[k];
    EXPECT(near(sum, db_sum, 1e-11));
}

static void test_convolution(void)
{
    check_conv2d((conv2d){2, 3, 4, 1, 5, 6, 3, 3, 1, 0, 1, 0, 0});
    check_conv2d((conv2d){1, 4, 6, 2, 7, 5, 3, 2, 2, 1, 1, 0, 0});
    check_conv2d((conv2d){2, 4, 4, 4, 6, 6, 3, 3, 1, 2, 2, 0, 0});
    check_conv2d((conv2d){1, 2, 3, 1, 9, 9, 2, 4, 3, 2, 2, 0, 0});
}

/* A 3-D and a 1-D one by hand. */
static void test_convolution_nd(void)
{
    double x[8] = {1, 2, 3, 4, 5, 6, 7, 8}, w[8] = {1, 0, 0, 0, 0, 0, 0, 10}, y[6];
    builder c;
    BEGIN(&c, DN_OP_CONV, dn_args_conv);
    c.c.args.conv.spatial = 3;
    c.c.args.conv.group = 1;
    for (int d = 0; d < 3; d++)
        c.c.args.conv.kernel[d] = 2, c.c.args.conv.stride[d] = c.c.args.conv.dilation[d] = 1;
    in(&c, 0, SHAPE(1, 1, 2, 2, 2));
    in(&c, 0, SHAPE(1, 1, 2, 2, 2));
    out(&c, SHAPE(1, 1, 1, 1, 1));
    EXPECT(RUN(&c, ((void *[]){x, w}), &((void *){y})) == DN_OK && y[0] == 81);

    double taps[2] = {1, -1}, want[5] = {-2, -3, -3, -3, -3}; /* dilation 3, pad 1, 6 long */
    BEGIN(&c, DN_OP_CONV, dn_args_conv);
    c.c.args.conv.spatial = 1;
    c.c.args.conv.group = 1;
    c.c.args.conv.kernel[0] = 2;
    c.c.args.conv.stride[0] = 1;
    c.c.args.conv.pad[0] = 1;
    c.c.args.conv.dilation[0] = 3;
    in(&c, 0, SHAPE(1, 1, 6));
    in(&c, 0, SHAPE(1, 1, 2));
    out(&c, SHAPE(1, 1, 5));
    double line[6] = {1, 2, 3, 4, 5, 6};
    want[0] = 0 - line[2], want[1] = line[0] - line[3], want[2] = line[1] - line[4];
    want[3] = line[2] - line[5], want[4] = line[3] - 0;
    EXPECT(RUN(&c, ((void *[]){line, taps}), &((void *){y})) == DN_OK);
    EXPECT(all_near(y, want, 5, 0));
}

static void pool_args(builder *b, int32_t kind, int32_t method, int64_t k, int64_t s, int64_t p)
{
    BEGIN(b, kind, dn_args_pool);
    b->c.args.pool.method = method;
    b->c.args.pool.spatial = 2;
    for (int d = 0; d < 2; d++) {
        b->c.args.pool.kernel[d] = k;
        b->c.args.pool.stride[d] = s;
        b->c.args.pool.pad[d] = p;
    }
}

/* 4 x 4, kernel 3, stride 2: Caffe's ceiling makes 2 x 2, whose last windows stick out; with
 * padding 1 it makes 3 x 3 and the average's divisor counts padding but not what is past it. */
static void test_pooling(void)
{
    double x[16], y[9], dx[16];
    int32_t mask[9];
    builder c;
    for (int i = 0; i < 16; i++)
        x[i] = i;
    pool_args(&c, DN_OP_POOL, DN_POOL_MAX, 3, 2, 0);
    in(&c, 0, SHAPE(1, 1, 4, 4));
    out(&c, SHAPE(1, 1, 2, 2));
    out_as(&c, DN_I32, 0, SHAPE(1, 1, 2, 2));
    EXPECT(RUN(&c, ((void *[]){x}), ((void *[]){y, mask})) == DN_OK);
    EXPECT(all_near(y, (double[]){10, 11, 14, 15}, 4, 0) && mask[1] == 11 && mask[2] == 14);

    pool_args(&c, DN_OP_POOL, DN_POOL_AVE, 3, 2, 1);
    in(&c, 0, SHAPE(1, 1, 4, 4));
    out(&c, SHAPE(1, 1, 3, 3));
    EXPECT(RUN(&c, ((void *[]){x}), ((void *[]){y})) == DN_OK);
    /* the corner windows: 4 of 9, 6 of 9; the last row starts at 3 and is 2 deep with padding
     */
    double want[9] = {10 / 9., 24 / 9., 10 / 6., 51 / 9., 90 / 9.,
                      33 / 6., 25 / 6., 42 / 6., 15 / 4.};
    EXPECT(all_near(y, want, 9, 1e-15));
    c.c.args.pool.exclude_pad = 1;
    EXPECT(RUN(&c, ((void *[]){x}), ((void *[]){y})) == DN_OK);
    EXPECT(near(y[0], 10 / 4., 1e-15) && near(y[4], 10, 1e-15) && near(y[8], 15, 1e-15));

    pool_args(&c, DN_OP_POOL_BWD, DN_POOL_AVE, 3, 2, 1);
    in(&c, 0, SHAPE(1, 1, 3, 3));
    out(&c, SHAPE(1, 1, 4, 4));
    double dy[9] = {9, 0, 0, 0, 0, 0, 0, 0, 4};
    EXPECT(RUN(&c, ((void *[]){dy}), ((void *[]){dx})) == DN_OK);
    EXPECT(all_near(dx, (double[]){1, 1, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}, 16, 1e-15));
}

/* ---- losses, measures, updates ----------------------------------------------------------- */

static void test_softmax(void)
{
    double x[6] = {1, 2, 3, 1000, 1001, 1002}, y[6];
    double e = exp(1), sum = 1 / e / e + 1 / e + 1;
    double want[3] = {1 / e / e / sum, 1 / e / sum, 1 / sum};
    builder c;
    BEGIN(&c, DN_OP_SOFTMAX, dn_args_axis);
    c.c.args.axis.outer = 2;
    c.c.args.axis.dim = 3;
    c.c.args.axis.inner = 1;
    in(&c, 0, SHAPE(2, 3));
    out(&c, SHAPE(2, 3));
    EXPECT(RUN(&c, &((void *){x}), &((void *){y})) == DN_OK);
    EXPECT(all_near(y, want, 3, 1e-15) && all_near(y + 3, want, 3, 1e-15));
}

static dn_status loss(int32_t kind, int32_t normalization, const double *p, const double *t,
                      double *result, double *norm)
{
    builder c;
    BEGIN(&c, DN_OP_LOSS, dn_args_loss);
    c.c.args.loss.loss = kind;
    c.c.args.loss.normalization = normalization;
    c.c.args.loss.has_ignore = 1;
    c.c.args.loss.ignore_label = 255;
    c.c.args.loss.outer = 3;
    c.c.args.loss.dim = 2;
    c.c.args.loss.inner = 1;
    c.c.args.loss.param = 1;
    in(&c, 0, SHAPE(3, 2));
    in(&c, 0, SHAPE(3));
    out(&c, SHAPE(0));
    c.c.out.operand[0].shape.axes = 0; /* a scalar, as Caffe's losses are */
    out(&c, SHAPE(1));
    return RUN(&c, ((const void *[]){p, t}), ((void *[]){result, norm}));
}

static void test_losses(void)
{
    double p[6] = {0.25, 0.75, 0.5, 0.5, 0, 1}, t[3] = {0, 255, 1}, result, norm;
    EXPECT(loss(DN_LOSS_SOFTMAX, 1, p, t, &result, &norm) == DN_OK);
    EXPECT(near(result, log(4) / 2, 1e-15) && norm == 2);
    EXPECT(loss(DN_LOSS_SOFTMAX, 0, p, t, &result, &norm) == DN_OK);
    EXPECT(near(result, log(4) / 3, 1e-15) && norm == 3);
    t[2] = 0; /* probability 0: the floor is FLT_MIN */
    EXPECT(loss(DN_LOSS_SOFTMAX, 3, p, t, &result, &norm) == DN_OK);
    EXPECT(near(result, log(4) - log(FLT_MIN), 1e-14));
    t[1] = 1;
    EXPECT(loss(DN_LOSS_HINGE, 0, p, t, &result, &norm) == DN_OK);
    EXPECT(near(result, (0.75 + 1.75 + 1.5 + 0.5 + 1 + 2) / 3, 1e-14));
    t[2] = 12;
    EXPECT(loss(DN_LOSS_SOFTMAX, 1, p, t, &result, &norm) == DN_E_DATA);
    EXPECT(strcmp(host_message(),
                  "label 12 of item 2 is outside the 2 classes of the prediction") == 0);
    t[2] = NAN;
    EXPECT(loss(DN_LOSS_SOFTMAX, 1, p, t, &result, &norm) == DN_E_DATA);
    t[2] = -1;
    EXPECT(loss(DN_LOSS_SOFTMAX, 1, p, t, &result, &norm) == DN_E_DATA);
}

/* Ties count against the label; each class has a share of its own. */
static void test_accuracy(void)
{
    double x[12] = {1, 2, 3, 5, 5, 0, 2, 1, 1, 0, 0, 9}, t[4] = {2, 0, 0, 2}, y, classes[3];
    builder c;
    BEGIN(&c, DN_OP_ACCURACY, dn_args_accuracy);
    c.c.args.accuracy = (dn_args_accuracy){c.c.args.base, 1, 0, 0, 0, 4, 3, 1};
    in(&c, 0, SHAPE(4, 3));
    in(&c, 0, SHAPE(4));
    out(&c, SHAPE(1));
    out(&c, SHAPE(3));
    EXPECT(RUN(&c, ((void *[]){x, t}), ((void *[]){&y, classes})) == DN_OK);
    EXPECT(y == 0.75 && classes[0] == 0.5 && classes[1] == 0 && classes[2] == 1);
    c.c.args.accuracy.top_k = 2;
    EXPECT(RUN(&c, ((void *[]){x, t}), ((void *[]){&y, classes})) == DN_OK && y == 1);
}

static void test_argmax(void)
{
    double x[4] = {2, 7, 7, 1}, y[4];
    builder c;
    BEGIN(&c, DN_OP_ARGMAX, dn_args_argmax);
    c.c.args.argmax = (dn_args_argmax){c.c.args.base, 2, 1, 1, 0, 1, 4, 1};
    in(&c, 0, SHAPE(1, 4));
    out(&c, SHAPE(1, 2, 2));
    EXPECT(RUN(&c, ((void *[]){x}), ((void *[]){y})) == DN_OK);
    EXPECT(all_near(y, (double[]){2, 1, 7, 7}, 4, 0));
}

/* Two steps of each rule, worked out on paper for w = 1, grad = 0.5, rate 0.1, momentum 0.9. */
static void test_updates(void)
{
    static const struct {
        int32_t rule;
        double h1, h2, step, h1_after;
    } rows[] = {{DN_UPDATE_SGD, 0.2, 0, 0.9 * 0.2 + 0.05, 0.23},
                {DN_UPDATE_NESTEROV, 0.2, 0, 1.9 * 0.23 - 0.9 * 0.2, 0.23},
                {DN_UPDATE_ADAGRAD, 0.75, 0, 0.05 / (1 + 0.25), 1},
                {DN_UPDATE_RMSPROP, 0.5, 0, 0.05 / (0.6123724356957945 + 0.25), 0.375},
                {DN_UPDATE_ADADELTA, 0.75, 0.05, 0.1 * 0.5 * 0.5619514869490164, 0.7},
                {DN_UPDATE_ADAM, 0.5, 0.25, 0.1 * 0.8 * 0.5 / 0.75, 0.5}};
    for (size_t r = 0; r < sizeof(rows) / sizeof(rows[0]); r++) {
        double w = 1, grad = 0.5, h1 = rows[r].h1, h2 = rows[r].h2;
        double hyper[4] = {0.05, 0.8, 0.5, 2}; /* clip and 1 / iter_size cancel */
        builder c;
        BEGIN(&c, DN_OP_UPDATE, dn_args_update);
        c.c.args.update = (dn_args_update){.base = c.c.args.base,
                                           .rule = rows[r].rule,
                                           .lr_mult = 2,
                                           .momentum = 0.9,
                                           .momentum2 = 0.5,
                                           .delta = 0.25,
                                           .rms_decay = 0.5};
        in(&c, 0, SHAPE(4));
        for (int k = 0; k < 4; k++)
            out(&c, SHAPE(1));
        EXPECT(RUN(&c, ((void *[]){hyper}), ((void *[]){&w, &grad, &h1, &h2})) == DN_OK);
        EXPECT(near(grad, rows[r].step, 1e-12) && near(w, 1 - rows[r].step, 1e-12));
        EXPECT(near(h1, rows[r].h1_after, 1e-12));
    }
}

/* ---- what is refused --------------------------------------------------------------------- */

static void test_refusals(void)
{
    builder c;
    double x[8] = {0}, y[8];
    void *ins[] = {x, x, x}, *outs[] = {y, y};
    BEGIN(&c, DN_OP_UNARY, dn_args_unary);
    in(&c, 0, SHAPE(4));
    out(&c, SHAPE(5));
    EXPECT(run(&c, ins, outs) == DN_E_SHAPE);
    BEGIN(&c, DN_OP_UNARY, dn_args_unary);
    in(&c, 0, SHAPE(4));
    EXPECT(run(&c, ins, outs) == DN_E_INVALID);
    BEGIN(&c, DN_OP_GEMM, dn_args_gemm);
    c.c.args.gemm.m = c.c.args.gemm.n = c.c.args.gemm.k = c.c.args.gemm.batch = 2;
    c.c.args.gemm.lda = c.c.args.gemm.ldb = c.c.args.gemm.ldc = 2;
    c.c.args.gemm.stride_a = c.c.args.gemm.stride_b = 4;
    c.c.args.gemm.stride_c = 5; /* one past the end */
    in(&c, 0, SHAPE(8));
    in(&c, 0, SHAPE(8));
    out(&c, SHAPE(8));
    EXPECT(run(&c, ins, outs) == DN_E_SHAPE);
    c.c.args.gemm.stride_c = INT64_MAX;
    EXPECT(run(&c, ins, outs) == DN_E_SHAPE);
    c.c.args.gemm.stride_c = 4;
    EXPECT(run(&c, ins, outs) == DN_OK);
    BEGIN(&c, DN_OP_COPY, dn_args_copy);
    c.c.args.copy.axes = 1;
    c.c.args.copy.dim[0] = 4;
    c.c.args.copy.x_stride[0] = -1; /* below the start */
    c.c.args.copy.y_stride[0] = 1;
    c.c.args.copy.x_offset = 2;
    in(&c, 0, SHAPE(8));
    out(&c, SHAPE(8));
    EXPECT(run(&c, ins, outs) == DN_E_SHAPE);
    BEGIN(&c, DN_OP_GATHER, dn_args_gather);
    c.c.args.gather = (dn_args_gather){c.c.args.base, 1, 4, 2};
    in(&c, 0, SHAPE(2, 4));
    in(&c, 0, SHAPE(1));
    out(&c, SHAPE(1, 4));
    double index = 2;
    ins[1] = &index;
    EXPECT(run(&c, ins, outs) == DN_E_DATA);
    index = NAN;
    EXPECT(run(&c, ins, outs) == DN_E_DATA);
}

/* UPDATE of so many outputs that nothing of it may be bf16. */
static void test_narrow_refusal(void)
{
    dn_backend_host host;
    dn_backend *backend = NULL;
    dn_op *op = NULL;
    dn_op_info info = {.struct_size = sizeof(info)};
    dn_args_update args = {.base.struct_size = sizeof(args)};
    dn_operand in[2] = {{.dtype = DN_BF16, .shape = SHAPE(4)}}, out[48];
    dn_op_desc desc = {.struct_size = sizeof(desc),
                       .kind = DN_OP_UPDATE,
                       .num_inputs = 2,
                       .num_outputs = 12,
                       .inputs = in,
                       .outputs = out,
                       .args = &args};
    host_init(&host, 1);
    EXPECT(ref->open(&backend, &host) == DN_OK);
    for (int k = 0; k < 48; k++)
        out[k] = (dn_operand){.dtype = DN_F32, .shape = SHAPE(1)};
    for (; desc.num_outputs <= 48; desc.num_outputs += 36) {
        in[1] = (dn_operand){.dtype = DN_F32, .shape = SHAPE(desc.num_outputs / 3 * 2)};
        dn_status status = ref->op_create(backend, &desc, &op, &info);
        EXPECT(status == (desc.num_outputs > DN_MAX_OPERANDS ? DN_E_INVALID : DN_OK));
        if (!status)
            ref->op_destroy(op);
    }
    ref->close(backend);
}

/* Operands and counts of DETECT that do not go together. */
static void test_detect_refusals(void)
{
    builder c;
    double x[64] = {0};
    void *ins[] = {x, x, NULL, x}, *maps[] = {x, x, x, NULL}, *outs[] = {x, x};
    BEGIN(&c, DN_OP_DETECT, dn_args_detect);
    c.c.args.detect.method = DN_DETECT_PRIORS;
    c.c.args.detect.classes = 1;
    c.c.args.detect.keep = 1;
    in_absent(&c);
    in(&c, 0, SHAPE(1, 2, 1));
    in_absent(&c); /* codes */
    in(&c, 0, SHAPE(1, 2, 8));
    out(&c, SHAPE(1, 7));
    add_operand(&c.c.out, DN_I32, 0, 0, SHAPE(1));
    EXPECT(run(&c, ins, outs) == DN_E_INVALID);
    c.c.in.operand[2] = c.c.in.operand[1];
    c.c.in.operand[2].shape = SHAPE(1, 2, 4);
    ins[2] = x;
    EXPECT(run(&c, ins, outs) == DN_OK);
    c.c.in.operand[1].shape = SHAPE((int64_t)1 << 32, 2, 1); /* rows that no I32 counts */
    c.c.in.operand[2].shape = SHAPE((int64_t)1 << 32, 2, 4);
    c.c.out.operand[0].shape = SHAPE((int64_t)1 << 32, 7);
    EXPECT(run(&c, ins, outs) == DN_E_SHAPE);
    BEGIN(&c, DN_OP_DETECT, dn_args_detect);
    c.c.args.detect.method = DN_DETECT_YOLO;
    c.c.args.detect.before = c.c.args.detect.after = c.c.args.detect.keep = -1;
    in(&c, 0, SHAPE(2));
    in(&c, 0, SHAPE(1, 5, 1, 1));
    in(&c, 0, SHAPE(1, 0, 1, 1));
    in_absent(&c); /* a map */
    c.c.in.operand[3].shape = SHAPE(1, 0, 1, 1);
    out(&c, SHAPE(1, 7));
    add_operand(&c.c.out, DN_I32, 0, 0, SHAPE(1));
    EXPECT(run(&c, maps, outs) == DN_E_INVALID);
}

int main(void)
{
    for (int i = 0; dni_builtin_backends[i]; i++)
        if (strcmp(dni_builtin_backends[i]->name, "ref") == 0)
            ref = dni_builtin_backends[i];
    if (!ref)
        return 1;
    test_philox();
    test_distributions();
    test_convolution();
    test_convolution_nd();
    test_pooling();
    test_softmax();
    test_losses();
    test_accuracy();
    test_argmax();
    test_updates();
    test_refusals();
    test_narrow_refusal();
    test_detect_refusals();
    if (host_live_allocations() != 0) {
        printf("allocations were never freed\n");
        failures++;
    }
    printf("%s\n", failures ? "FAILED" : "passed");
    return failures != 0;
}
