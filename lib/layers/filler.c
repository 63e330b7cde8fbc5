/* SPDX-License-Identifier: BSD-2-Clause
 * filler.c: the values a weight starts with. Element i of a weight is a function of (seed,
 * stream, i) alone, drawn as the RANDOM op draws: float and double agree up to rounding. */
#include "layers/layer.h"

#include <math.h>
#include <string.h>

#include "deepnet/sys/random.h"

#define TWO_PI 6.28318530717958647692

typedef struct fill {
    const Cnn__FillerParameter *param;
    const dni_shape *shape;
    int64_t count;
    int32_t dtype;
    void *values;
    uint64_t seed, stream;
} fill;

static void set(const fill *f, int64_t i, double value)
{
    if (f->dtype == DN_F64)
        ((double *)f->values)[i] = value;
    else
        ((float *)f->values)[i] = (float)value;
}

static double get(const fill *f, int64_t i)
{
    return f->dtype == DN_F64 ? ((double *)f->values)[i] : ((float *)f->values)[i];
}

static int64_t rows(const fill *f)
{
    return f->shape->axes > 0 ? f->shape->dim[0] : 1;
}

/* fan-in, fan-out or their mean: Caffe takes axes 0 and 1 whatever they mean to the layer. */
static double fan(const fill *f)
{
    double in = (double)(f->count / rows(f));
    double out = f->shape->axes > 1 ? (double)(f->count / f->shape->dim[1]) : (double)f->count;
    switch (f->param->variance_norm) {
    case CNN__FILLER_PARAMETER__VARIANCE_NORM__FAN_OUT:
        return out;
    case CNN__FILLER_PARAMETER__VARIANCE_NORM__AVERAGE:
        return (in + out) / 2;
    default:
        return in;
    }
}

static void draw_uniform(const fill *f, double low, double high)
{
    for (int64_t i = 0; i < f->count; i += 4) {
        uint32_t word[4];
        dn_random_block(word, f->seed, f->stream, 0, (uint64_t)i / 4);
        for (int64_t k = 0; k < 4 && i + k < f->count; k++)
            set(f, i + k, low + (high - low) * dn_random_unit(word[k]));
    }
}

static void draw_gaussian(const fill *f, double mean, double std)
{
    for (int64_t i = 0; i < f->count; i += 4) {
        uint32_t word[4];
        dn_random_block(word, f->seed, f->stream, 0, (uint64_t)i / 4);
        for (int64_t k = 0; k < 4 && i + k < f->count; k++) {
            double r = sqrt(-2 * log(1 - (double)dn_random_unit(word[k & 2])));
            double angle = TWO_PI * dn_random_unit(word[k | 1]);
            set(f, i + k, mean + std * r * (k & 1 ? sin(angle) : cos(angle)));
        }
    }
}

static dn_status fill_constant(const fill *f)
{
    for (int64_t i = 0; i < f->count; i++)
        set(f, i, f->param->value);
    return DN_OK;
}

static dn_status fill_uniform(const fill *f)
{
    draw_uniform(f, f->param->min, f->param->max);
    return DN_OK;
}

/* sparse: each value is kept with probability sparse / dim 0; drawn at step 1 of the stream. */
static dn_status fill_gaussian(const fill *f)
{
    double keep = (double)f->param->sparse / (double)rows(f);
    DNI_REQUIRE(f->param->std >= 0, DN_E_NET, "gaussian: std is negative");
    DNI_REQUIRE(f->param->sparse >= -1, DN_E_NET, "gaussian: sparse is negative");
    draw_gaussian(f, f->param->mean, f->param->std);
    for (int64_t i = 0; f->param->sparse >= 0 && i < f->count; i++) {
        uint32_t word[4];
        dn_random_block(word, f->seed, f->stream, 1, (uint64_t)i / 4);
        if (!(dn_random_unit(word[i % 4]) < keep))
            set(f, i, 0);
    }
    return DN_OK;
}

static dn_status fill_xavier(const fill *f)
{
    double scale = sqrt(3 / fan(f));
    draw_uniform(f, -scale, scale);
    return DN_OK;
}

/* alpha, of a fork: the slope that the PReLU behind begins with. */
static dn_status fill_msra(const fill *f)
{
    double alpha = f->param->alpha;
    draw_gaussian(f, 0, sqrt(2 / fan(f) / (1 + alpha * alpha)));
    return DN_OK;
}

/* The kernel of bilinear upsampling in every (H, W) plane. */
static dn_status fill_bilinear(const fill *f)
{
    DNI_REQUIRE(f->shape->axes == 4, DN_E_SHAPE, "bilinear: the weight has %d axes, not 4",
                f->shape->axes);
    int64_t H = f->shape->dim[2], W = f->shape->dim[3];
    DNI_REQUIRE(H == W, DN_E_SHAPE, "bilinear: the kernel is %lld x %lld, not square",
                (long long)H, (long long)W);
    double factor = (double)((W + 1) / 2);
    double centre = (2 * factor - 1 - fmod(factor, 2)) / (2 * factor);
    for (int64_t i = 0; i < f->count; i++) {
        double x = (double)(i % W), y = (double)(i / W % H);
        set(f, i, (1 - fabs(x / factor - centre)) * (1 - fabs(y / factor - centre)));
    }
    return DN_OK;
}

/* Uniform numbers, each row of dim 0 divided by its sum. */
static dn_status fill_positive_unitball(const fill *f)
{
    int64_t cols = f->count / rows(f);
    draw_uniform(f, 0, 1);
    for (int64_t row = 0; row < rows(f); row++) {
        double sum = 0;
        for (int64_t i = 0; i < cols; i++)
            sum += get(f, row * cols + i);
        for (int64_t i = 0; sum > 0 && i < cols; i++)
            set(f, row * cols + i, get(f, row * cols + i) / sum);
    }
    return DN_OK;
}

static const struct {
    const char *type;
    dn_status (*run)(const fill *f);
} fillers[] = {
    {"bilinear", fill_bilinear},
    {"constant", fill_constant},
    {"gaussian", fill_gaussian},
    {"msra", fill_msra},
    {"positive_unitball", fill_positive_unitball},
    {"uniform", fill_uniform},
    {"xavier", fill_xavier},
};

static dn_status unknown_filler(const char *type)
{
    const char *names[DNI_COUNT(fillers)];
    for (size_t i = 0; i < DNI_COUNT(fillers); i++)
        names[i] = fillers[i].type;
    const char *nearest = dni_nearest(type, names, DNI_COUNT(names));
    if (nearest)
        return dni_fail(DN_E_NET, "unknown filler type '%.80s'; did you mean '%s'?", type,
                        nearest);
    return dni_fail(DN_E_NET, "unknown filler type '%.80s'", type);
}

static const Cnn__FillerParameter constant = CNN__FILLER_PARAMETER__INIT;

/* *out: its place in fillers. */
static dn_status find_filler(const Cnn__FillerParameter *filler, size_t *out)
{
    for (size_t i = 0; i < DNI_COUNT(fillers); i++)
        if (!strcmp(fillers[i].type, filler->type)) {
            *out = i;
            return DN_OK;
        }
    return unknown_filler(filler->type);
}

dn_status dni_filler_check(const Cnn__FillerParameter *filler)
{
    size_t i;
    return find_filler(filler ? filler : &constant, &i);
}

dn_status dni_fill(const Cnn__FillerParameter *filler, const dni_shape *shape, int32_t dtype,
                   void *values, uint64_t seed, uint64_t stream)
{
    size_t i;
    fill f = {.param = filler ? filler : &constant,
              .shape = shape,
              .dtype = dtype,
              .count = dni_shape_count(shape),
              .values = values,
              .seed = seed,
              .stream = stream};
    dn_status st = find_filler(f.param, &i);
    if (st || f.count == 0)
        return st;
    dni_fp host = dni_fp_enter();
    st = fillers[i].run(&f);
    dni_fp_leave(host);
    return dni_in(st, "filler");
}
