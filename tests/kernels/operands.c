/* SPDX-License-Identifier: BSD-2-Clause
 * operands.c: see operands.h. Numbers are made once, in the types of the case, and copied for
 * each execution: what fills them is one function for each kind of operand. */
#define _DEFAULT_SOURCE /* MAP_ANONYMOUS */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "deepnet/sys/random.h" /* has a parameter of the name of a type of ours */
#include "operands.h"

enum { NORMALS = 16384 }; /* a logarithm and a cosine each took a third of the check */

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

block block_new(size_t bytes, int value, fencing fence, size_t align)
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

bool block_guarded(const block *b)
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

/* The number without its lowest bits. */
static float narrowed(double value, int bits)
{
    float x = (float)value;
    uint32_t word;
    memcpy(&word, &x, sizeof(word));
    word &= UINT32_MAX << bits;
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

/* Operands in bf16, or rounded to it: inputs are bf16 numbers then, so products are exact. */
bool is_narrow(const kernel_case *c)
{
    bool narrow = c->compute == DN_COMPUTE_BF16;
    for (int32_t k = 0; k < c->in.count && c->kind != DN_OP_CAST; k++)
        narrow |= c->in.operand[k].dtype == DN_BF16;
    for (int32_t k = 0; k < c->out.count && c->kind != DN_OP_CAST; k++)
        narrow |= c->out.operand[k].dtype == DN_BF16;
    return narrow;
}

/* How many of a float's lowest bits the numbers lack: those that bf16, or TF32, has not. */
static int missing_bits(const kernel_case *c)
{
    return is_narrow(c) ? 16 : c->compute == DN_COMPUTE_TF32 ? 13 : 0;
}

static void fill_block(const block *b, const side *s, int32_t k, int missing, uint64_t seed,
                       uint64_t stream)
{
    const float *normal = normals();
    int64_t count = operand_count(&s->operand[k]);
    for (int64_t i = 0; i < count; i++) {
        double value = sample(s->fill[k], s->limit[k], normal, random_bits(seed, stream, i));
        store(s->operand[k].dtype, b->data, i, missing ? narrowed(value, missing) : value);
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

/* Blocks to be, of those operands. */
static void begin(execution *e, int32_t ins, const dn_operand *inputs, int32_t outs,
                  const dn_operand *outputs, fencing fence)
{
    e->ins = ins;
    e->outs = outs;
    e->fence = fence;
    e->scratch = e->keep = (block){0};
    memset(e->in, 0, (size_t)ins * sizeof(e->in[0]));
    memset(e->out, 0, (size_t)outs * sizeof(e->out[0]));
    memcpy(e->inputs, inputs, (size_t)ins * sizeof(inputs[0]));
    memcpy(e->outputs, outputs, (size_t)outs * sizeof(outputs[0]));
}

void execution_init(execution *e, const kernel_case *c, uint64_t seed)
{
    begin(e, c->in.count, c->in.operand, c->out.count, c->out.operand, NO_FENCE);
    int missing = missing_bits(c);
    uint64_t stream = (uint64_t)c->number * 2 * DN_MAX_OPERANDS;
    for (int32_t k = 0; k < c->in.count; k++) {
        if (c->in.operand[k].dtype < 0)
            continue;
        e->in[k] = block_new(operand_bytes(&e->inputs[k]), 0, NO_FENCE, 1);
        fill_block(&e->in[k], &c->in, k, missing, seed, stream + (uint64_t)k);
    }
    fill_regions(e, c, seed, stream);
    fill_truths(e, c, seed, stream);
    fill_priors(e, c, seed, stream);
    fill_masks(e, c, seed, stream);
    fill_tables(e, c, seed, stream);
    for (int32_t k = 0; k < c->out.count; k++) {
        if (c->out.operand[k].dtype < 0)
            continue;
        e->out[k] = block_new(operand_bytes(&e->outputs[k]), 0xFF, NO_FENCE, 1);
        if (c->out.fill[k] != POISON)
            fill_block(&e->out[k], &c->out, k, missing, seed,
                       stream + DN_MAX_OPERANDS + (uint64_t)k);
    }
    if (c->alias >= 0)
        memcpy(e->out[0].data, e->in[c->alias].data, e->out[0].bytes);
}

/* For ops of which only what they launch is asked. */
void execution_zeros(execution *e, const kernel_case *c)
{
    begin(e, c->in.count, c->in.operand, c->out.count, c->out.operand, NO_FENCE);
    for (int32_t k = 0; k < e->ins; k++)
        if (e->inputs[k].dtype >= 0)
            e->in[k] = block_new(operand_bytes(&e->inputs[k]), 0, NO_FENCE, 1);
    for (int32_t k = 0; k < e->outs; k++)
        if (e->outputs[k].dtype >= 0)
            e->out[k] = block_new(operand_bytes(&e->outputs[k]), 0, NO_FENCE, 1);
}

/* A block for another execution, with the numbers it starts as. */
static block block_copy(const block *from, int32_t was, const dn_operand *is, fencing fence)
{
    if (!from->memory)
        return (block){0};
    size_t one = fence == SHIFTED ? element_bytes(is->dtype) : 1;
    block b = block_new(operand_bytes(is), 0, fence, one);
    if (was == is->dtype)
        memcpy(b.data, from->data, b.bytes);
    int64_t count = was != is->dtype ? operand_count(is) : 0;
    for (int64_t i = 0; i < count; i++)
        store(is->dtype, b.data, i, load(was, from->data, i));
    return b;
}

/* What start has, which did not run: making the numbers takes longer than most cases. wide: in
 * double, which holds them exactly. */
void execution_copy(execution *e, const execution *start, const kernel_case *c, bool wide,
                    fencing fence)
{
    bool narrow = is_narrow(c);
    begin(e, start->ins, start->inputs, start->outs, start->outputs, fence);
    for (int32_t k = 0; k < e->ins; k++) {
        if (wide)
            widen(&e->inputs[k].dtype, narrow);
        e->in[k] = block_copy(&start->in[k], start->inputs[k].dtype, &e->inputs[k], fence);
    }
    for (int32_t k = 0; k < e->outs; k++) {
        if (wide)
            widen(&e->outputs[k].dtype, narrow);
        e->out[k] = block_copy(&start->out[k], start->outputs[k].dtype, &e->outputs[k], fence);
    }
}

void execution_free(execution *e)
{
    for (int32_t k = 0; k < e->ins; k++)
        block_free(&e->in[k]);
    for (int32_t k = 0; k < e->outs; k++)
        block_free(&e->out[k]);
    block_free(&e->scratch);
    block_free(&e->keep);
}
