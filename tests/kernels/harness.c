/* SPDX-License-Identifier: BSD-2-Clause
 * harness.c: runs one case on a candidate, in float with 1, 2 and 3 threads, and on ref in
 * double with the same numbers, and compares: values within the tolerance, bits between thread
 * counts, inputs and guard words untouched. With 1 thread on the host operands and scratch end,
 * or of every fourth case begin, at a page that cannot be touched: reading there ends the
 * check. Constant inputs are other numbers at a first op_prepare, so that a second one must
 * count. */
#define _DEFAULT_SOURCE /* MAP_ANONYMOUS */
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "deepnet/sys/random.h"
#include "harness.h"

#define NORMALS                                                                                \
    16384 /* drawn from: a logarithm and a cosine each took a third of the check               \
           */

#define GUARD      64 /* bytes before and after every operand and the scratch */
#define GUARD_BYTE 0xA5

/* SHIFTED: no fence, but as little aligned as its elements need. */
typedef enum fencing { NO_FENCE, FENCE_AFTER, FENCE_BEFORE, SHIFTED } fencing;

typedef struct block {
    unsigned char *memory, *data; /* data = memory + GUARD; behind a fence: memory */
    unsigned char *device;        /* what a device has of it, guards included; NULL: nothing */
    size_t bytes, before, after;  /* bytes of guards */
    void *pages;                  /* with a fence: `inside` bytes and a page around; or NULL */
    size_t inside;
} block;

/* One execution: operands of one backend with one number of threads. */
typedef struct execution {
    block in[MOST_OPERANDS], out[MOST_OPERANDS], scratch, keep;
    side in_side, out_side;
    fencing fence;
    char implementation[sizeof(((dn_op_info *)0)->implementation)];
} execution;

static const char *const names[DN_OP_KIND_END] = {[DN_OP_FILL] = "FILL",
                                                  [DN_OP_RANDOM] = "RANDOM",
                                                  [DN_OP_COPY] = "COPY",
                                                  [DN_OP_UNARY] = "UNARY",
                                                  [DN_OP_UNARY_BWD] = "UNARY_BWD",
                                                  [DN_OP_ELTWISE] = "ELTWISE",
                                                  [DN_OP_SELECT] = "SELECT",
                                                  [DN_OP_BCAST] = "BCAST",
                                                  [DN_OP_REDUCE] = "REDUCE",
                                                  [DN_OP_GEMM] = "GEMM",
                                                  [DN_OP_CONV] = "CONV",
                                                  [DN_OP_CONV_BWD_DATA] = "CONV_BWD_DATA",
                                                  [DN_OP_CONV_BWD_WEIGHTS] = "CONV_BWD_WEIGHTS",
                                                  [DN_OP_IM2COL] = "IM2COL",
                                                  [DN_OP_COL2IM] = "COL2IM",
                                                  [DN_OP_POOL] = "POOL",
                                                  [DN_OP_POOL_BWD] = "POOL_BWD",
                                                  [DN_OP_LRN] = "LRN",
                                                  [DN_OP_LRN_BWD] = "LRN_BWD",
                                                  [DN_OP_BATCH_NORM] = "BATCH_NORM",
                                                  [DN_OP_BATCH_NORM_BWD] = "BATCH_NORM_BWD",
                                                  [DN_OP_MVN] = "MVN",
                                                  [DN_OP_MVN_BWD] = "MVN_BWD",
                                                  [DN_OP_SOFTMAX] = "SOFTMAX",
                                                  [DN_OP_SOFTMAX_BWD] = "SOFTMAX_BWD",
                                                  [DN_OP_LOSS] = "LOSS",
                                                  [DN_OP_LOSS_BWD] = "LOSS_BWD",
                                                  [DN_OP_ACCURACY] = "ACCURACY",
                                                  [DN_OP_ARGMAX] = "ARGMAX",
                                                  [DN_OP_DROPOUT] = "DROPOUT",
                                                  [DN_OP_DROPOUT_BWD] = "DROPOUT_BWD",
                                                  [DN_OP_PRELU] = "PRELU",
                                                  [DN_OP_PRELU_BWD] = "PRELU_BWD",
                                                  [DN_OP_GATHER] = "GATHER",
                                                  [DN_OP_SCATTER_ADD] = "SCATTER_ADD",
                                                  [DN_OP_LSTM_UNIT] = "LSTM_UNIT",
                                                  [DN_OP_LSTM_UNIT_BWD] = "LSTM_UNIT_BWD",
                                                  [DN_OP_UPDATE] = "UPDATE",
                                                  [DN_OP_CAST] = "CAST",
                                                  [DN_OP_HOST_CALL] = "HOST_CALL",
                                                  [DN_OP_SUMSQ_ALL] = "SUMSQ_ALL",
                                                  [DN_OP_SCALE_CLIP] = "SCALE_CLIP",
                                                  [DN_OP_NORM_SCALE] = "NORM_SCALE",
                                                  [DN_OP_NORM_SCALE_BWD] = "NORM_SCALE_BWD",
                                                  [DN_OP_ROI_POOL] = "ROI_POOL",
                                                  [DN_OP_ROI_POOL_BWD] = "ROI_POOL_BWD",
                                                  [DN_OP_RANK] = "RANK",
                                                  [DN_OP_YOLO_LOSS] = "YOLO_LOSS",
                                                  [DN_OP_MULTI_BOX] = "MULTI_BOX",
                                                  [DN_OP_DETECT] = "DETECT",
                                                  [DN_OP_OVERLAP] = "OVERLAP",
                                                  [DN_OP_CTC] = "CTC",
                                                  [DN_OP_TARGETS] = "TARGETS",
                                                  [DN_OP_LATTICE] = "LATTICE",
                                                  [DN_OP_LATTICE_FILTER] = "LATTICE_FILTER"};

const char *kind_name(int32_t kind)
{
    return kind > 0 && kind < DN_OP_KIND_END ? names[kind] : NULL;
}

int64_t operand_count(const dn_operand *operand)
{
    int64_t count = 1;
    for (int32_t a = 0; a < operand->shape.axes; a++)
        count *= operand->shape.dim[a];
    return count;
}

static size_t element_bytes(int32_t dtype)
{
    static const size_t size[] = {
        [DN_F32] = 4, [DN_F64] = 8, [DN_BF16] = 2, [DN_I32] = 4, [DN_I64] = 8, [DN_U8] = 1};
    return dtype < 0 ? 0 : size[dtype];
}

size_t operand_bytes(const dn_operand *operand)
{
    size_t one = element_bytes(operand->dtype);
    return one ? (size_t)operand_count(operand) * one : 0;
}

/* Pages between fences that nobody has any more, by how many there are: mapping new ones took
 * a sixth of the check. The first of a list; each begins with the address of the next. */
enum { MOST_SPARE = 256 };
static void *spare[MOST_SPARE];

static void *fenced_pages(size_t page, size_t inside)
{
    size_t count = inside / page;
    void *pages = count < MOST_SPARE ? spare[count] : NULL;
    if (pages) {
        memcpy(&spare[count], (unsigned char *)pages + page, sizeof(pages));
        return pages;
    }
    pages = mmap(NULL, inside + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED ||
        mprotect((unsigned char *)pages + page, inside, PROT_READ | PROT_WRITE))
        abort();
    return pages;
}

static void fenced_free(size_t page, void *pages, size_t inside)
{
    size_t count = inside / page;
    if (count >= MOST_SPARE) {
        munmap(pages, inside + 2 * page);
        return;
    }
    memcpy((unsigned char *)pages + page, &spare[count], sizeof(pages));
    spare[count] = pages;
}

/* Pages of the block's own between two that cannot be touched, the block at one end of them:
 * to the byte, or as near as `align` lets it be. */
static block block_fenced(size_t bytes, fencing fence, size_t align)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), own = (bytes + align - 1) / align * align;
    size_t inside = (own + 2 * GUARD + page - 1) / page * page;
    block b = {.bytes = bytes, .inside = inside, .pages = fenced_pages(page, inside)};
    unsigned char *first = (unsigned char *)b.pages + page;
    b.data = fence == FENCE_BEFORE ? first : first + inside - own;
    b.before = fence == FENCE_BEFORE ? 0 : GUARD;
    b.after = fence == FENCE_BEFORE ? GUARD : own - bytes;
    b.memory = b.data - b.before;
    return b;
}

static block block_new(size_t bytes, int value, fencing fence, size_t align)
{
    block b = {.bytes = bytes, .before = GUARD, .after = GUARD};
    if (fence == NO_FENCE || fence == SHIFTED) {
        b.before += fence == SHIFTED ? align : 0;
        b.memory = aligned_alloc(64, (b.before + bytes + b.after + 63) / 64 * 64);
        b.data = b.memory + b.before;
    } else {
        b = block_fenced(bytes, fence, align);
    }
    memset(b.memory, GUARD_BYTE, b.before);
    memset(b.data, value, bytes);
    memset(b.data + bytes, GUARD_BYTE, b.after);
    return b;
}

static void block_free(block *b)
{
    if (b->pages)
        fenced_free((size_t)sysconf(_SC_PAGESIZE), b->pages, b->inside);
    else
        free(b->memory);
}

static bool block_guarded(const block *b)
{
    for (size_t i = 0; i < b->before; i++)
        if (b->memory[i] != GUARD_BYTE)
            return false;
    for (size_t i = 0; i < b->after; i++)
        if (b->data[b->bytes + i] != GUARD_BYTE)
            return false;
    return true;
}

/* Element i's 64 random bits: splitmix64, as the tenth of what philox takes does here. */
static uint64_t random_bits(uint64_t seed, uint64_t stream, int64_t i)
{
    uint64_t z = dn_random_key(seed, stream << 32) + 0x9E3779B97F4A7C15u * (uint64_t)i;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

static const float *normals(void)
{
    static float table[NORMALS];
    for (int64_t i = 0; table[0] == 0 && i < NORMALS; i++) {
        int64_t k = NORMALS - 1 - i; /* the first one last: it says that they are there */
        uint64_t bits = random_bits(1, 1, k);
        float u = dn_random_unit((uint32_t)bits), v = dn_random_unit((uint32_t)(bits >> 32));
        table[k] = sqrtf(-2 * logf(1 - u)) * cosf(6.2831853f * v);
    }
    return table;
}

/* The number an element starts as; floats hold it exactly. */
static double sample(int32_t fill, int64_t limit, const float *normal, uint64_t bits)
{
    static const double odd[] = {NAN, INFINITY, -INFINITY, 0, -0.0, 1e-40f, -1e-40f, 12, -150};
    uint32_t word = (uint32_t)bits, chance = (uint32_t)(bits >> 32) & 0xFFFF;
    float one = normal[bits >> 48 & (NORMALS - 1)];
    switch (fill) {
    case NORMAL:
        return one;
    case SPOILT:
        return chance % 16 ? one : NAN;
    case WILD:
        return chance % 2 ? one : odd[chance / 2 % (sizeof odd / sizeof odd[0])];
    case COARSE:
        return rintf(2 * one) / 2;
    case POSITIVE:
        return dn_random_unit(word) + 0.5f;
    case SHARE:
        return dn_random_unit(word) * 0.99f + 0.005f;
    case WHOLE:
        return (double)(word % (uint64_t)limit);
    default:
        return word % 1000;
    }
}

/* The number without the bits that bf16 does not have. */
static float narrowed(double value)
{
    float x = (float)value;
    uint32_t word;
    memcpy(&word, &x, sizeof(word));
    word &= 0xFFFF0000;
    memcpy(&x, &word, sizeof(x));
    return x;
}

static void store(int32_t dtype, void *data, int64_t i, double value)
{
    float narrow = (float)value;
    uint32_t word;
    memcpy(&word, &narrow, sizeof(word));
    switch (dtype) {
    case DN_F32:
        ((float *)data)[i] = narrow;
        break;
    case DN_F64:
        ((double *)data)[i] = value;
        break;
    case DN_BF16:
        ((uint16_t *)data)[i] = (uint16_t)(word >> 16);
        break;
    case DN_I32:
        ((int32_t *)data)[i] = (int32_t)value;
        break;
    case DN_I64:
        ((int64_t *)data)[i] = (int64_t)value;
        break;
    default:
        ((uint8_t *)data)[i] = (uint8_t)value;
    }
}

static double load(int32_t dtype, const void *data, int64_t i)
{
    uint32_t word;
    float x;
    switch (dtype) {
    case DN_F32:
        return ((const float *)data)[i];
    case DN_F64:
        return ((const double *)data)[i];
    case DN_BF16:
        word = (uint32_t)((const uint16_t *)data)[i] << 16;
        memcpy(&x, &word, sizeof(x));
        return x;
    case DN_I32:
        return ((const int32_t *)data)[i];
    case DN_I64:
        return (double)((const int64_t *)data)[i];
    default:
        return ((const uint8_t *)data)[i];
    }
}

/* Operands in bf16, or rounded to it: inputs are bf16 numbers then, so products are exact. */
static bool is_narrow(const kernel_case *c)
{
    bool narrow = c->compute == DN_COMPUTE_BF16;
    for (int32_t k = 0; k < MOST_OPERANDS && c->kind != DN_OP_CAST; k++)
        narrow |= c->in.operand[k].dtype == DN_BF16 || c->out.operand[k].dtype == DN_BF16;
    return narrow;
}

static void fill_block(const block *b, const side *s, int32_t k, bool narrow, uint64_t seed,
                       uint64_t stream)
{
    const float *normal = normals();
    int64_t count = operand_count(&s->operand[k]);
    for (int64_t i = 0; i < count; i++) {
        double value = sample(s->fill[k], s->limit[k], normal, random_bits(seed, stream, i));
        store(s->operand[k].dtype, b->data, i, narrow ? narrowed(value) : value);
    }
}

static void widen(int32_t *dtype, bool narrow)
{
    if (*dtype == DN_F32 || (narrow && *dtype == DN_BF16))
        *dtype = DN_F64;
}

/* A pixel of the window that output element i of a pooling looks at; every eighth: none. */
static int32_t pixel_of_window(const kernel_case *c, int32_t k, int64_t i, uint64_t bits)
{
    const dn_args_pool *a = &c->args.pool;
    const dn_shape *x = &c->out.operand[0].shape, *y = &c->in.operand[k].shape;
    int64_t q = i, plane = 1, pixel = 0, chance = (int64_t)(bits >> 32);
    if (c->in.operand[k].layout == DN_LAYOUT_NHWC)
        q = i / y->dim[1];
    if (c->in.limit[k] > 0)
        return bits % 8 == 0    ? -1
               : bits % 32 == 1 ? (int32_t)c->in.limit[k] /* outside, too */
                                : (int32_t)(chance % c->in.limit[k]);
    for (int32_t d = a->spatial - 1; d >= 0; d--) {
        int64_t begin = q % y->dim[2 + d] * a->stride[d] - a->pad[d];
        int64_t end = begin + a->kernel[d], in = x->dim[2 + d];
        begin = begin > 0 ? begin : 0;
        end = end < in ? end : in;
        if (begin >= end || bits % 8 == 0)
            return -1;
        pixel += (begin + chance % (end - begin)) * plane;
        plane *= in;
        chance /= end - begin;
        q /= y->dim[2 + d];
    }
    return (int32_t)pixel;
}

/* Regions of ROI_POOL: in the map, partly outside, turned round, some a mere point or with a
 * corner that is no sane number. But for ALIGN the numbers are such that floats round nothing;
 * and for ALIGN of a WILD map, some of whose elements have no share. */
static void fill_regions(const execution *e, const kernel_case *c, uint64_t seed,
                         uint64_t stream)
{
    static const float odd[] = {NAN, INFINITY, -INFINITY, 1e30f};
    const dn_args_roi *a = &c->args.roi;
    const dn_shape *x =
        c->kind == DN_OP_ROI_POOL ? &c->in.operand[0].shape : &c->out.operand[0].shape;
    float *regions = (float *)e->in[1].data;
    for (int64_t i = 0; c->in.fill[1] == REGIONS && i < operand_count(&c->in.operand[1]); i++) {
        uint64_t bits = random_bits(seed, stream + 1, i), chance = bits >> 32 & 0xFF;
        double place =
            (dn_random_unit((uint32_t)bits) * 1.5 - 0.3) * (double)x->dim[i % 5 % 2 ? 3 : 2];
        double grain = a->method != DN_ROI_ALIGN ? 1.0 / 16 : c->in.fill[0] == WILD;
        if (i % 5 == 0)
            regions[i] = (float)(bits % (uint64_t)x->dim[0]);
        else if (i % 5 >= 3 && chance % 16 == 0)
            regions[i] = odd[chance / 16 % 4];
        else if (i % 5 >= 3 && chance % 16 == 1)
            regions[i] = regions[i - 2];
        else
            regions[i] = (float)((grain > 0 ? rint(place / grain) * grain : place) / a->scale);
    }
}

/* True boxes: of n classes, some with the cell of the one before, one in 16 without a size. */
static void fill_truths(const execution *e, const kernel_case *c, uint64_t seed,
                        uint64_t stream)
{
    float *t = (float *)e->in[1].data;
    for (int64_t i = 0; c->in.fill[1] == TRUTHS && i < operand_count(&c->in.operand[1]); i++) {
        uint64_t bits = random_bits(seed, stream + 1, i),
                 row = random_bits(seed, stream, i / 5);
        float share = dn_random_unit((uint32_t)bits);
        t[i] = i % 5 == 0      ? (float)(bits % (uint64_t)c->in.limit[1])
               : i % 5 <= 2    ? share * 1.1f
               : row % 16 == 0 ? 0
                               : 0.05f + share * 0.6f;
        if (i >= 5 && i % 5 && row % 16 > 11)
            t[i] = t[i - 5];
    }
}

/* Priors, some twice, and true boxes that are near one of them or anywhere; one in eight is of
 * no image. */
static void fill_priors(const execution *e, const kernel_case *c, uint64_t seed,
                        uint64_t stream)
{
    float *priors = (float *)e->in[2].data, *t = (float *)e->in[3].data;
    if (c->in.fill[2] != PRIORS)
        return;
    int64_t P = operand_count(&c->in.operand[2]) / 8, N = c->in.operand[0].shape.dim[0];
    for (int64_t i = 0; i < 4 * P; i++) {
        float share = dn_random_unit((uint32_t)random_bits(seed, stream + 2, i));
        priors[i] = i % 4 < 2 ? share * 0.8f - 0.05f : priors[i - 2] + 0.05f + share * 0.4f;
        priors[4 * P + i] = i % 4 < 2 ? 0.125f : 0.25f;
        if (i / 4 % 5 == 4) /* ties */
            priors[i] = priors[i - 8];
    }
    for (int64_t i = 0; i < operand_count(&c->in.operand[3]); i++) {
        uint64_t bits = random_bits(seed, stream + 3, i),
                 row = random_bits(seed, stream, i / 8);
        float share = dn_random_unit((uint32_t)bits);
        int64_t prior = (int64_t)(row % (uint64_t)P), k = i % 8 - 3;
        if (i % 8 == 0)
            t[i] = bits % 8 == 0 ? -1 : (float)((row >> 8) % (uint64_t)N);
        else if (i % 8 == 1)
            t[i] = (float)(1 + bits % (uint64_t)(c->in.limit[3] - 1));
        else if (k < 0 || k > 3)
            t[i] = (float)(bits % 2);
        else if (row >> 60 > 3)
            t[i] = priors[4 * prior + k] + share * 0.05f;
        else
            t[i] = k < 2 ? share * 0.7f : t[i - 2] + 0.1f + share * 0.3f;
    }
}

/* Bin k of MAX along one axis: [out[0], out[1]). */
static void bin_of_region(double from, double to, double scale, int64_t bins, int64_t limit,
                          int64_t k, int64_t out[2])
{
    double first = round(from * scale), size = fmax(round(to * scale) - first + 1, 1) / bins;
    double low = floor(k * size) + first, high = ceil((k + 1) * size) + first;
    out[0] = low > 0 ? (int64_t)fmin(low, (double)limit) : 0;
    out[1] = high > 0 ? (int64_t)fmin(high, (double)limit) : 0;
}

/* An element of bin i, or none. */
static int32_t pixel_of_bin(const execution *e, const kernel_case *c, int64_t i, uint64_t bits)
{
    const dn_shape *y = &c->in.operand[0].shape, *x = &c->out.operand[0].shape;
    int64_t bins = y->dim[2] * y->dim[3], b = i % bins, rows[2], columns[2];
    const float *at = (const float *)e->in[1].data + i / bins / y->dim[1] * 5;
    double scale = c->args.roi.scale;
    bin_of_region(at[2], at[4], scale, y->dim[2], x->dim[2], b / y->dim[3], rows);
    bin_of_region(at[1], at[3], scale, y->dim[3], x->dim[3], b % y->dim[3], columns);
    if (rows[0] >= rows[1] || columns[0] >= columns[1] || bits >> 60 == 0)
        return -1;
    int64_t h = rows[0] + (int64_t)(bits & 0xFFFFF) % (rows[1] - rows[0]);
    return (int32_t)(h * x->dim[3] + columns[0] +
                     (int64_t)(bits >> 20 & 0xFFFFF) % (columns[1] - columns[0]));
}

static void fill_masks(const execution *e, const kernel_case *c, uint64_t seed, uint64_t stream)
{
    for (int32_t k = 0; k < c->in.count; k++)
        for (int64_t i = 0;
             c->in.fill[k] == WINDOW_MASK && i < operand_count(&c->in.operand[k]); i++) {
            uint64_t bits = random_bits(seed, stream + (uint64_t)k, i);
            ((int32_t *)e->in[k].data)[i] = c->kind == DN_OP_ROI_POOL_BWD
                                                ? pixel_of_bin(e, c, i, bits)
                                                : pixel_of_window(c, k, i, bits);
        }
}

/* Any corners of a pixel, any neighbours: a table like that of no image. */
static void fill_tables(const execution *e, const kernel_case *c, uint64_t seed,
                        uint64_t stream)
{
    const dn_args_lattice *a = &c->args.lattice;
    for (int32_t k = 0; k < c->in.count; k++)
        for (int64_t n = 0; c->in.fill[k] == LATTICE && n < a->lattices; n++) {
            int64_t each = a->colours + 3, corners = a->H * a->W * each, from = 1;
            int32_t *table = (int32_t *)e->in[k].data + n * (1 + corners + 2 * each * corners);
            int64_t count = table[0] = (int32_t)(1 + corners / (2 + n));
            for (int64_t i = 1; i <= corners + 2 * each * count; i++) {
                uint64_t bits = random_bits(seed, stream + (uint64_t)k, i);
                table[i] = i <= corners ? 1 + (int32_t)(bits % (uint64_t)count)
                                        : (int32_t)(bits % (uint64_t)(count + 1));
            }
            from += 3 * a->H * a->W / 4 * each; /* no pixel */
            for (int64_t i = 0; a->H * a->W > 1 && i < each; i++)
                table[from + i] = 0;
        }
}

static void execution_init(execution *e, const kernel_case *c, uint64_t seed)
{
    *e = (execution){.in_side = c->in, .out_side = c->out};
    bool narrow = is_narrow(c);
    uint64_t stream = (uint64_t)c->number * 2 * DN_MAX_OPERANDS;
    for (int32_t k = 0; k < c->in.count; k++) {
        if (c->in.operand[k].dtype < 0)
            continue;
        e->in[k] = block_new(operand_bytes(&e->in_side.operand[k]), 0, NO_FENCE, 1);
        fill_block(&e->in[k], &e->in_side, k, narrow, seed, stream + (uint64_t)k);
    }
    fill_regions(e, c, seed, stream);
    fill_truths(e, c, seed, stream);
    fill_priors(e, c, seed, stream);
    fill_masks(e, c, seed, stream);
    fill_tables(e, c, seed, stream);
    for (int32_t k = 0; k < c->out.count; k++) {
        if (c->out.operand[k].dtype < 0)
            continue;
        e->out[k] = block_new(operand_bytes(&e->out_side.operand[k]), 0xFF, NO_FENCE, 1);
        if (c->out.fill[k] != POISON)
            fill_block(&e->out[k], &e->out_side, k, narrow, seed,
                       stream + DN_MAX_OPERANDS + (uint64_t)k);
    }
    if (c->alias >= 0)
        memcpy(e->out[0].data, e->in[c->alias].data, e->out[0].bytes);
}

/* A block of one side for another execution, with the numbers it starts as. */
static block block_copy(const block *from, const dn_operand *was, const dn_operand *is,
                        fencing fence)
{
    if (!from->memory)
        return (block){0};
    size_t one = fence == SHIFTED ? element_bytes(is->dtype) : 1;
    block b = block_new(operand_bytes(is), 0, fence, one);
    if (was->dtype == is->dtype)
        memcpy(b.data, from->data, b.bytes);
    int64_t count = was->dtype != is->dtype ? operand_count(is) : 0;
    for (int64_t i = 0; i < count; i++)
        store(is->dtype, b.data, i, load(was->dtype, from->data, i));
    return b;
}

/* What start has, which did not run: making the numbers takes longer than most cases. wide: in
 * double, which holds them exactly. */
static void execution_copy(execution *e, const execution *start, const kernel_case *c,
                           bool wide, fencing fence)
{
    bool narrow = is_narrow(c);
    *e = (execution){.in_side = start->in_side, .out_side = start->out_side, .fence = fence};
    for (int32_t k = 0; k < MOST_OPERANDS; k++) {
        dn_operand *in = &e->in_side.operand[k], *out = &e->out_side.operand[k];
        if (wide) {
            widen(&in->dtype, narrow);
            widen(&out->dtype, narrow);
        }
        e->in[k] = block_copy(&start->in[k], &start->in_side.operand[k], in, fence);
        e->out[k] = block_copy(&start->out[k], &start->out_side.operand[k], out, fence);
    }
}

static void execution_free(execution *e)
{
    for (int32_t k = 0; k < MOST_OPERANDS; k++) {
        block_free(&e->in[k]);
        block_free(&e->out[k]);
    }
    block_free(&e->scratch);
    block_free(&e->keep);
}

/* ---- memory of a device: a copy of each block, guards and all --------------------------- */

typedef dn_status (*block_fn)(const dn_backend_ops *ops, dn_backend *backend, block *b);

static void *pointer_to(const block *b)
{
    return b->device ? b->device + b->before : b->data;
}

static size_t whole(const block *b)
{
    return b->before + b->bytes + b->after;
}

static dn_status send(const dn_backend_ops *ops, dn_backend *backend, block *b)
{
    return b->device ? ops->copy_in(backend, b->device, b->memory, whole(b)) : DN_OK;
}

static dn_status lend(const dn_backend_ops *ops, dn_backend *backend, block *b)
{
    if (ops->space != DN_SPACE_DEVICE || !b->memory)
        return DN_OK;
    void *device = NULL;
    dn_status status = ops->mem_alloc(backend, whole(b), &device);
    b->device = device;
    return status ? status : send(ops, backend, b);
}

static dn_status take_back(const dn_backend_ops *ops, dn_backend *backend, block *b)
{
    if (!b->device)
        return DN_OK;
    dn_status status = ops->copy_out(backend, b->memory, b->device, whole(b));
    ops->mem_free(backend, b->device);
    b->device = NULL;
    return status;
}

static dn_status each_block(execution *e, const dn_backend_ops *ops, dn_backend *backend,
                            block_fn fn)
{
    dn_status first = DN_OK;
    for (int32_t k = 0; k < 2 * MOST_OPERANDS + 2; k++) {
        block *b = k < MOST_OPERANDS        ? &e->in[k]
                   : k < 2 * MOST_OPERANDS  ? &e->out[k - MOST_OPERANDS]
                   : k == 2 * MOST_OPERANDS ? &e->scratch
                                            : &e->keep;
        dn_status status = fn(ops, backend, b);
        first = first ? first : status;
    }
    return first;
}

/* op_prepare with other numbers in the constant inputs, then with the right ones. What it
 * leaves in the scratch is gone before the run. */
static dn_status prepare(execution *e, const kernel_case *c, const dn_backend_ops *ops,
                         dn_backend *backend, dn_op *op, const dn_op_io *io)
{
    if (!ops->op_prepare)
        return DN_OK;
    for (int round = 0; round < 2; round++) {
        for (int32_t k = 0; k < c->in.count; k++)
            for (size_t i = 0; (c->constant >> k & 1) && i < e->in[k].bytes / sizeof(float);
                 i++)
                ((float *)e->in[k].data)[i] = -((float *)e->in[k].data)[i];
        dn_status status = each_block(e, ops, backend, send);
        if (status == DN_OK)
            status = ops->op_prepare(op, io);
        if (status != DN_OK)
            return status;
    }
    memset(e->scratch.data, 0xFF, e->scratch.bytes);
    return send(ops, backend, &e->scratch);
}

/* Runs the op over operands that have their memory, on the host and on the device if any. */
static dn_status run_op(execution *e, const kernel_case *c, const dn_backend_ops *ops,
                        dn_backend *backend, dn_op *op)
{
    void *in[MOST_OPERANDS] = {NULL}, *out[MOST_OPERANDS] = {NULL};
    dn_status status = each_block(e, ops, backend, lend);
    for (int32_t k = 0; k < MOST_OPERANDS; k++) {
        in[k] = pointer_to(&e->in[k]);
        out[k] = pointer_to(&e->out[k]);
    }
    if (c->alias >= 0)
        in[c->alias] = out[0];
    dn_op_io io = {.struct_size = sizeof(io),
                   .in = in,
                   .out = out,
                   .scratch = pointer_to(&e->scratch),
                   .keep = e->keep.bytes ? pointer_to(&e->keep) : NULL};
    if (status == DN_OK)
        status = prepare(e, c, ops, backend, op, &io);
    if (status == DN_OK)
        status = ops->op_run(op, &io);
    dn_status back = each_block(e, ops, backend, take_back);
    return status ? status : back;
}

/* A device is opened once: that takes longer than any case. */
static struct {
    const dn_backend_ops *ops;
    dn_backend *backend;
    dn_backend_host host;
} opened;

static dn_status open_backend(const dn_backend_ops *ops, int32_t num_threads,
                              dn_backend_host *host, dn_backend **backend)
{
    host_init(host, num_threads);
    if (ops->space != DN_SPACE_DEVICE)
        return ops->open(backend, host);
    if (opened.ops != ops) {
        check_close();
        host_init(&opened.host, num_threads);
        dn_status status = ops->open(&opened.backend, &opened.host);
        if (status != DN_OK)
            return status;
        opened.ops = ops;
    }
    *backend = opened.backend;
    return DN_OK;
}

bool check_lives(void)
{
    void *some = NULL;
    if (!opened.ops || opened.ops->mem_alloc(opened.backend, 1, &some) != DN_OK)
        return !opened.ops;
    opened.ops->mem_free(opened.backend, some);
    return true;
}

void check_close(void)
{
    if (opened.ops)
        opened.ops->close(opened.backend);
    opened.ops = NULL;
}

/* DN_OK, DN_DECLINED or a failure, with the host's message. */
static dn_status execute(execution *e, const kernel_case *c, const dn_backend_ops *ops,
                         int32_t num_threads)
{
    dn_backend_host host;
    dn_backend *backend = NULL;
    dn_op *op = NULL;
    dn_op_info info = {.struct_size = sizeof(info)};
    dn_op_desc desc = {.struct_size = sizeof(desc),
                       .kind = c->kind,
                       .num_inputs = c->in.count,
                       .num_outputs = c->out.count,
                       .inputs = e->in_side.operand,
                       .outputs = e->out_side.operand,
                       .args = &c->args,
                       .constant = c->constant,
                       .compute = c->compute};
    dn_status status = open_backend(ops, num_threads, &host, &backend);
    if (status != DN_OK)
        return status;
    status = ops->op_create(backend, &desc, &op, &info);
    if (status == DN_OK) {
        memcpy(e->implementation, info.implementation, sizeof(e->implementation));
        e->scratch = block_new(info.scratch, 0xFF, e->fence, 64);
        e->keep = block_new(info.keep, 0xFF, e->fence, 64);
        status = run_op(e, c, ops, backend, op);
        ops->op_destroy(op);
    }
    if (ops->space != DN_SPACE_DEVICE)
        ops->close(backend);
    return status;
}

static bool guards_stand(const execution *e, char *reason, size_t size)
{
    for (int32_t k = 0; k < MOST_OPERANDS; k++)
        if ((e->in[k].memory && !block_guarded(&e->in[k])) ||
            (e->out[k].memory && !block_guarded(&e->out[k]))) {
            snprintf(reason, size, "wrote outside operand %d", (int)k);
            return false;
        }
    if (e->scratch.memory && !block_guarded(&e->scratch)) {
        snprintf(reason, size, "wrote outside the scratch it asked for");
        return false;
    }
    if (e->keep.memory && !block_guarded(&e->keep)) {
        snprintf(reason, size, "wrote outside what it asked to keep");
        return false;
    }
    return true;
}

static bool inputs_kept(const execution *e, const execution *start, char *reason, size_t size)
{
    for (int32_t k = 0; k < MOST_OPERANDS; k++)
        if (e->in[k].memory && memcmp(e->in[k].data, start->in[k].data, e->in[k].bytes) != 0) {
            snprintf(reason, size, "changed input %d", (int)k);
            return false;
        }
    return true;
}

/* The largest magnitude of an output, at least 1: what its tolerance is relative to. */
static double largest_of(const execution *e, int32_t k)
{
    double largest = 1;
    int64_t count = operand_count(&e->out_side.operand[k]);
    for (int64_t i = 0; i < count; i++) {
        double value = fabs(load(e->out_side.operand[k].dtype, e->out[k].data, i));
        largest = value > largest && value < 1e30 ? value : largest;
    }
    return largest;
}

/* Right where no bound is: relative to itself, or infinite where a float on the way was. */
static bool beyond(const kernel_case *c, double got, double want)
{
    return isinf(got) ? fabs(want) > 1e30 && (got > 0) == (want > 0)
                      : fabs(want) > 1e30 && fabs(got - want) <= c->tolerance * fabs(want);
}

static bool outputs_agree(const execution *e, const execution *truth, const kernel_case *c,
                          char *reason, size_t size)
{
    for (int32_t k = 0; k < c->out.count; k++) {
        if (!e->out[k].memory)
            continue;
        int32_t dtype = e->out_side.operand[k].dtype;
        bool real = dtype == DN_F32 || dtype == DN_F64;
        double bound = real ? c->tolerance * largest_of(truth, k) : 0;
        if (dtype == DN_BF16 && is_narrow(c)) /* one rounding, or two with accumulate */
            bound = largest_of(truth, k) / 128;
        int64_t count = operand_count(&c->out.operand[k]);
        for (int64_t i = 0; i < count; i++) {
            double got = load(dtype, e->out[k].data, i);
            double want = load(truth->out_side.operand[k].dtype, truth->out[k].data, i);
            if (dtype == DN_F32 && c->tolerance == 0)
                want = (float)want;
            if (got == want || (got != got && want != want))
                continue;
            if (fabs(got - want) <= bound || beyond(c, got, want))
                continue;
            snprintf(reason, size, "output %d, element %lld: %.9g where ref has %.9g", (int)k,
                     (long long)i, got, want);
            return false;
        }
    }
    return true;
}

static bool same_bits(const execution *a, const execution *b, int32_t threads, char *reason,
                      size_t size)
{
    for (int32_t k = 0; k < MOST_OPERANDS; k++)
        if (a->out[k].memory && memcmp(a->out[k].data, b->out[k].data, a->out[k].bytes) != 0) {
            snprintf(reason, size, "output %d: other bits with %d threads than with 1", (int)k,
                     (int)threads);
            return false;
        }
    return true;
}

static int32_t most_threads(void)
{
    const char *text = getenv("DN_TEST_THREADS");
    int32_t most = text ? atoi(text) : MAX_HOST_THREADS;
    return most < MAX_HOST_THREADS ? most : MAX_HOST_THREADS;
}

/* The candidate with 2 and 3 threads against its own result with 1; of operands that lie
 * elsewhere, so that no bit depends on how they are aligned. */
static bool threads_agree(const execution *one, const execution *start, const kernel_case *c,
                          const dn_backend_ops *candidate, char *reason, size_t size)
{
    /* libraries on a device are not asked for what they do not promise */
    fencing where = candidate->space == DN_SPACE_DEVICE ? NO_FENCE : SHIFTED;
    for (int32_t threads = 2; threads <= most_threads(); threads++) {
        execution e;
        execution_copy(&e, start, c, false, where);
        dn_status status = execute(&e, c, candidate, threads);
        bool fine = status == DN_OK && guards_stand(&e, reason, size) &&
                    (getenv("DN_TEST_UNORDERED") || same_bits(one, &e, threads, reason, size));
        if (status != DN_OK)
            snprintf(reason, size, "status %d with %d threads: %s", (int)status, (int)threads,
                     host_message());
        execution_free(&e);
        if (!fine)
            return false;
    }
    return true;
}

struct subject {
    const kernel_case *c;
    execution start, truth;
    bool known; /* truth ran */
    dn_status status;
};

subject *subject_new(const kernel_case *c, uint64_t seed)
{
    subject *s = calloc(1, sizeof(*s));
    s->c = c;
    execution_init(&s->start, c, seed);
    return s;
}

void subject_free(subject *s)
{
    if (!s)
        return;
    execution_free(&s->start);
    execution_free(&s->truth);
    free(s);
}

/* What ref makes of it in double, computed for the first candidate that takes the case. */
static dn_status find_truth(subject *s, const dn_backend_ops *ref)
{
    if (!s->known) {
        execution_copy(&s->truth, &s->start, s->c, true, NO_FENCE);
        s->status = execute(&s->truth, s->c, ref, 1);
        s->known = true;
    }
    return s->status;
}

#define PATIENCE 80 /* seconds for a case on a device, which may never end */

static char fenced[128]; /* what runs between fences, or on a device */

static void on_fault(int signal)
{
    fflush(stdout); /* the fault was in a kernel */
    ssize_t written = write(STDOUT_FILENO, fenced, strlen(fenced));
    _exit(written > 0 ? 1 : 2);
}

/* Where the fence is, if the candidate's memory can have one; a fault will say whose it was. A
 * liar's writes are for the guard words to show, and what oneDNN reads is not ours to mend. */
static fencing fence_for(const kernel_case *c, const dn_backend_ops *candidate)
{
    if (candidate->space == DN_SPACE_DEVICE) {
        snprintf(fenced, sizeof(fenced), "%s: %s, case %d: not done in %d s\n", candidate->name,
                 kind_name(c->kind), (int)c->number, PATIENCE);
        signal(SIGALRM, on_fault);
        alarm(PATIENCE);
    }
    if (candidate->space == DN_SPACE_DEVICE || strcmp(candidate->name, "liar") == 0 ||
        strcmp(candidate->name, "onednn") == 0)
        return NO_FENCE;
    snprintf(fenced, sizeof(fenced), "%s: %s, case %d: touched what lies %s an operand\n",
             candidate->name, kind_name(c->kind), (int)c->number,
             c->number % 4 ? "after" : "before");
    signal(SIGSEGV, on_fault);
    signal(SIGBUS, on_fault);
    return c->number % 4 ? FENCE_AFTER : FENCE_BEFORE;
}

/* On a device: operands that are as little aligned as their elements need give right numbers,
 * if other bits. */
static bool shifted_agrees(subject *s, const dn_backend_ops *candidate, char *reason,
                           size_t size)
{
    execution e;
    if (candidate->space != DN_SPACE_DEVICE || s->c->number % 4)
        return true;
    execution_copy(&e, &s->start, s->c, false, SHIFTED);
    dn_status status = execute(&e, s->c, candidate, 1);
    if (status != DN_OK)
        snprintf(reason, size, "status %d where nothing is aligned: %s", (int)status,
                 host_message());
    bool fine = status == DN_OK && guards_stand(&e, reason, size) &&
                outputs_agree(&e, &s->truth, s->c, reason, size);
    execution_free(&e);
    return fine;
}

int check_case(subject *s, const dn_backend_ops *ref, const dn_backend_ops *candidate,
               char *reason, size_t size)
{
    const kernel_case *c = s->c;
    execution e;
    int result = CASE_FAILED;
    execution_copy(&e, &s->start, c, false, fence_for(c, candidate));
    dn_status status = execute(&e, c, candidate, 1);
    alarm(0);
    signal(SIGSEGV, SIG_DFL); /* what comes now has no fence to blame */
    signal(SIGBUS, SIG_DFL);
    /* ref does not know the number of threads: a few cases show that */
    bool alone = candidate == ref && c->number % 8 != 0;
    if (status == DN_DECLINED) {
        result = CASE_DECLINED;
    } else if (status != DN_OK) {
        snprintf(reason, size, "status %d: %s", (int)status, host_message());
    } else if ((status = find_truth(s, ref)) != DN_OK) {
        snprintf(reason, size, "ref itself: status %d: %s", (int)status, host_message());
    } else if (guards_stand(&e, reason, size) && inputs_kept(&e, &s->start, reason, size) &&
               outputs_agree(&e, &s->truth, c, reason, size) &&
               (alone || threads_agree(&e, &s->start, c, candidate, reason, size)) &&
               shifted_agrees(s, candidate, reason, size)) {
        result = CASE_PASSED;
    }
    execution_free(&e);
    return result;
}

/* The same bits; one NaN is as good as another. */
static bool same_numbers(const execution *a, const execution *b, char *reason, size_t size)
{
    for (int32_t k = 0; k < a->out_side.count; k++)
        for (int64_t i = 0; a->out[k].memory && i < operand_count(&a->out_side.operand[k]);
             i++) {
            int32_t dtype = a->out_side.operand[k].dtype;
            double x = load(dtype, a->out[k].data, i), y = load(dtype, b->out[k].data, i);
            if ((x == y && signbit(x) == signbit(y)) || (x != x && y != y))
                continue;
            snprintf(reason, size, "output %d, element %lld: %.9g by %s, %.9g by %s", (int)k,
                     (long long)i, x, a->implementation, y, b->implementation);
            return false;
        }
    return true;
}

/* Gradients are added into the image in the order of tiles, whose size is the set's. */
static bool adds_tiles(const execution *e)
{
    return strncmp(e->implementation, "cpu:gemm+col2im", 15) == 0;
}

int same_case(subject *s, const dn_backend_ops *one, const dn_backend_ops *other, char *reason,
              size_t size)
{
    const kernel_case *c = s->c;
    execution a, b;
    execution_copy(&a, &s->start, c, false, NO_FENCE);
    execution_copy(&b, &s->start, c, false, NO_FENCE);
    dn_status first = execute(&a, c, one, 1), second = execute(&b, c, other, 1);
    int result = CASE_FAILED;
    if (first != second)
        snprintf(reason, size, "status %d and %d", (int)first, (int)second);
    else if (first != DN_OK || (adds_tiles(&a) && adds_tiles(&b)))
        result = CASE_DECLINED;
    else if (same_numbers(&a, &b, reason, size))
        result = CASE_PASSED;
    execution_free(&a);
    execution_free(&b);
    return result;
}
