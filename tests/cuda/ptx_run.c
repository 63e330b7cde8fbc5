/* SPDX-License-Identifier: BSD-2-Clause
 * ptx_run.c: runs a kernel's blocks one after the other, and of a block each warp until it can
 * go no further: the lanes that are at the same instruction, of all that are not at the end or
 * a barrier those that are least far, do it together, so lanes that parted meet again. What it
 * holds against the code: see `wrong`. Not that a path leaves unwritten a register that is read
 * then, that global memory was never written, or that blocks touch the same words of it. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ptx.h"
#include "stream.h"

/* Who of a block touches a word of shared memory: a thread's number, or one of these; with the
 * number of the time between two barriers in front of it. */
enum { WHO = 2048, SEVERAL = WHO - 1, ATOMICALLY = WHO - 2 };
#define WORDS  (PTX_MOST_SHARED / 4)
#define NOBODY UINT32_MAX /* is as far as that */

typedef struct warp {
    char *file;
    uint32_t alive, parked; /* parked: at a barrier */
    uint32_t pc[PTX_WARP];  /* of lanes that are not under way */
    uint32_t number;
} warp;

typedef struct state {
    const ptx_launch *launch;
    ptx_kernel *kernel;
    uint32_t block, warps;
    warp warp[PTX_MOST_THREADS / PTX_WARP];
    char *own; /* local memory of all threads, and which bytes of it were written */
    u8 *owned;
    _Alignas(16) char shared[PTX_MOST_SHARED];
    uint64_t wrote[WORDS], looked[WORDS]; /* time * WHO + who */
    uint64_t time, began;                 /* began: the block did, then */
    jmp_buf stop;
    char *why;
    size_t size;
} state;

static _Noreturn void wrong(state *s, const ptx_instruction *i, uint32_t thread,
                            const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int used = snprintf(s->why, s->size, "%s, block %u, thread %u: ", s->kernel->name, s->block,
                        thread);
    used += vsnprintf(s->why + used, s->size - (size_t)used, format, args);
    va_end(args);
    if ((size_t)used < s->size)
        snprintf(s->why + used, s->size - (size_t)used, ": %.*s", (int)strcspn(i->text, ";\n"),
                 i->text);
    longjmp(s->stop, 1);
}

/* ---- numbers ----------------------------------------------------------------------------- */

static inline float flushed(float x)
{
    return fabsf(x) < 0x1p-126f ? copysignf(0, x) : x;
}

/* a + b - (their sum as a double is), which is a double. */
static inline double rest_of_sum(double a, double b)
{
    double sum = a + b, of_b = sum - a;
    return (a - (sum - of_b)) + (b - of_b);
}

/* sum + rest as a float, rounded down or to zero; |rest| is far less than the sum's last bit.
 */
static inline float down(double sum, double rest)
{
    float near = (float)sum;
    return near > sum || (near == sum && rest < 0) ? nextafterf(near, -INFINITY) : near;
}

static inline float toward_zero(double sum, double rest)
{
    return sum < 0 ? -down(-sum, -rest) : down(sum, rest);
}

/* 20 bits of it. */
static inline double gross_reciprocal(double x)
{
    double y = fabs(x) < 0x1p-1022 ? copysign(INFINITY, x) : 1 / x;
    uint64_t word;
    memcpy(&word, &y, sizeof(word));
    word &= ~(uint64_t)UINT32_MAX;
    memcpy(&y, &word, sizeof(y));
    return fabs(y) < 0x1p-1022 ? copysign(0, y) : y;
}

/* NaN is the least. */
static inline double within(double x, double least, double most)
{
    return !(x > least) ? least : x > most ? most : x;
}

static inline int64_t whole64(double x)
{
    return x >= 0x1p63 ? INT64_MAX : !(x > -0x1p63) ? INT64_MIN : (int64_t)x;
}

static inline uint32_t permuted(uint32_t a, uint32_t b, uint32_t order)
{
    uint64_t from = a | (uint64_t)b << 32;
    uint32_t to = 0;
    for (int k = 0; k < 4; k++) {
        uint32_t which = order >> 4 * k;
        uint32_t byte = (uint32_t)(from >> 8 * (which & 7)) & 0xFF;
        to |= (which & 8 ? (byte >> 7) * 0xFF : byte) << 8 * k;
    }
    return to;
}

/* `count` bits of a, from `at` on in b. */
static inline uint64_t inserted(uint64_t a, uint64_t b, uint32_t at, uint32_t count)
{
    uint64_t bits = count < 64 ? ((uint64_t)1 << count) - 1 : UINT64_MAX;
    return at < 64 ? (b & ~(bits << at)) | (a & bits) << at : b;
}

static inline uint32_t carried(u32 *carry, uint64_t sum)
{
    *carry = (uint32_t)(sum >> 32) & 1;
    return (uint32_t)sum;
}

/* ---- memory ------------------------------------------------------------------------------ */

/* Of every space but shared. Finds the piece that has this byte. */
static bool find_piece(state *s, ptx_instruction *i, char *at, uint32_t thread)
{
    const ptx_module *m = s->launch->module;
    uint32_t local = s->kernel->local;
    char *own = s->own + (size_t)thread * local;
    bool found = false;
    if (i->space == PTX_PARAM || i->space == PTX_GENERIC) {
        i->from = ptx_params;
        i->to = ptx_params + s->kernel->params;
        found = at >= i->from && at < i->to;
    }
    if (!found && (i->space == PTX_IN_LOCAL || i->space == PTX_GENERIC)) {
        i->from = own;
        i->to = own + local;
        found = at >= i->from && at < i->to;
    }
    for (int k = 0; !found && i->space <= PTX_GLOBAL && k < m->num_tables; k++) {
        i->from = m->tables[k].start;
        i->to = i->from + m->tables[k].bytes;
        found = at >= i->from && at < i->to && i->op == PTX_LOAD;
    }
    return found || (i->space <= PTX_GLOBAL &&
                     fake_cuda_memory(s->launch->device, at, &i->from, &i->to));
}

static char *place_of(state *s, ptx_instruction *i, uint64_t address, uint32_t thread)
{
    char *at = (char *)(uintptr_t)(address + (uint64_t)i->at);
    uint32_t bytes = (uint32_t)i->size * i->count;
    if ((uintptr_t)at % bytes)
        wrong(s, i, thread, "address %p is no multiple of %u", (void *)at, bytes);
    if (at < i->from || at + bytes > i->to) {
        if (!find_piece(s, i, at, thread))
            wrong(s, i, thread, "there is no memory at %p", (void *)at);
        if (at + bytes > i->to)
            wrong(s, i, thread, "%u bytes at %p, of a piece that ends at %p", bytes, (void *)at,
                  (void *)i->to);
    }
    return at;
}

/* Local memory: is it the thread's own, and was it ever written? */
static void note_own(state *s, ptx_instruction *i, const char *at, uint32_t thread)
{
    uint32_t bytes = (uint32_t)i->size * i->count, local = s->kernel->local;
    size_t offset = (size_t)(at - s->own);
    if (at < s->own || at >= s->own + (size_t)s->warps * PTX_WARP * local)
        return;
    if (offset / local != thread)
        wrong(s, i, thread, "that is thread %zu's", offset / local);
    if (i->op == PTX_STORE)
        memset(s->owned + offset, 1, bytes);
    else if (memchr(s->owned + offset, 0, bytes))
        wrong(s, i, thread, "local memory that was not written");
}

/* Shared memory: who else touched it since the last barrier? */
static char *shared_place(state *s, ptx_instruction *i, uint32_t address, uint32_t thread)
{
    uint64_t at = (uint64_t)address + (uint64_t)i->at, now = s->time * WHO;
    uint32_t bytes = (uint32_t)i->size * i->count;
    bool atom = i->op < PTX_LOAD;
    uint64_t me = now + (atom ? ATOMICALLY : thread);
    if (at % bytes)
        wrong(s, i, thread, "address %llu is no multiple of %u", (unsigned long long)at, bytes);
    if (at + bytes > s->kernel->shared)
        wrong(s, i, thread, "%u bytes of shared memory at %llu, of %u", bytes,
              (unsigned long long)at, s->kernel->shared);
    for (size_t word = at / 4; word < (at + bytes + 3) / 4; word++) {
        uint64_t wrote = s->wrote[word], looked = s->looked[word];
        if (i->op != PTX_STORE && wrote < s->began)
            wrong(s, i, thread, "shared memory at %llu was not written",
                  (unsigned long long)at);
        if (wrote >= now && wrote != me)
            wrong(s, i, thread, "thread %llu wrote shared memory at %llu, and no barrier since",
                  (unsigned long long)(wrote - now), (unsigned long long)at);
        if (i->op != PTX_LOAD && looked >= now && looked != me)
            wrong(s, i, thread,
                  "another thread read shared memory at %llu, and no barrier since",
                  (unsigned long long)at);
        if (i->op != PTX_LOAD)
            s->wrote[word] = me;
        if (i->op != PTX_STORE)
            s->looked[word] = looked < now || looked == me ? me : now + SEVERAL;
    }
    return s->shared + at;
}

static inline char *touch(state *s, const warp *w, ptx_instruction *i, uint32_t lane)
{
    uint32_t thread = w->number * PTX_WARP + lane;
    if (i->space == PTX_SHARED)
        return shared_place(s, i, ((const u32 *)(w->file + i->address))[lane], thread);
    char *at = place_of(s, i, ((const u64 *)(w->file + i->address))[lane], thread);
    if (i->space == PTX_IN_LOCAL || (i->space == PTX_GENERIC && s->kernel->local))
        note_own(s, i, at, thread);
    return at;
}

#define LANES(mask)                                                                            \
    for (uint32_t rest = (mask), lane; rest && (lane = (uint32_t)__builtin_ctz(rest), 1);      \
         rest &= rest - 1)

#define MOVE(memory, kept)                                                                     \
    for (uint32_t k = 0; k < i->count; k++) {                                                  \
        if (i->op == PTX_LOAD)                                                                 \
            ((kept *)(w->file + where[k]))[lane] = ((const memory *)at)[k];                    \
        else                                                                                   \
            ((memory *)at)[k] = (memory)((const kept *)(w->file + where[k]))[lane];            \
    }                                                                                          \
    break

static void move(state *s, const warp *w, uint32_t mask, ptx_instruction *i)
{
    uint32_t where[4] = {i->d, i->a, i->b, i->c};
    LANES(mask)
    {
        char *at = touch(s, w, i, lane);
        switch (i->sign << 8 | i->size << 4 | i->wide) {
        case 0x44:
        case 0x144:
            MOVE(u32, u32);
        case 0x88:
        case 0x188:
            MOVE(u64, u64);
        case 0x24:
            MOVE(u16, u32);
        case 0x22:
            MOVE(u16, u16);
        case 0x12:
            MOVE(u8, u16);
        case 0x14:
            MOVE(u8, u32);
        case 0x48:
            MOVE(u32, u64);
        case 0x148:
            MOVE(s32, s64);
        case 0x28:
            MOVE(u16, u64);
        case 0x18:
            MOVE(u8, u64);
        default:
            wrong(s, i, 0, "such a move is not known");
        }
    }
}

/* ---- threads ----------------------------------------------------------------------------- */

/* The lanes that go on, which are least far; *next: how far those are that come then. 0: none
 * can. */
static uint32_t pick(const warp *w, uint32_t *pc, uint32_t *next)
{
    uint32_t mask = 0;
    *pc = *next = NOBODY;
    LANES(w->alive & ~w->parked)
    {
        if (w->pc[lane] < *pc) {
            *next = *pc;
            *pc = w->pc[lane];
            mask = 0;
        }
        if (w->pc[lane] == *pc)
            mask |= 1u << lane;
        else if (w->pc[lane] < *next)
            *next = w->pc[lane];
    }
    return mask;
}

static void settle(warp *w, uint32_t mask, uint32_t pc)
{
    LANES(mask)
    {
        w->pc[lane] = pc;
    }
}

static inline uint32_t bits(const pred *p)
{
    uint32_t mask = 0;
    for (int lane = 0; lane < PTX_WARP; lane++)
        mask |= (p[lane] & 1) << lane; /* those that never had a value too */
    return mask;
}

#ifdef __clang__ /* which warns where it cannot */
#define ALL_LANES for (int i = 0; i < PTX_WARP; i++)
#else
#define ALL_LANES _Pragma("GCC ivdep") for (int i = 0; i < PTX_WARP; i++)
#endif
#define REGISTER(type, which) type *which##_ = (type *)(file + in->which);
#define EACH(result)                                                                           \
    if (mask == UINT32_MAX)                                                                    \
        ALL_LANES                                                                              \
        {                                                                                      \
            result;                                                                            \
        }                                                                                      \
    else                                                                                       \
        LANES(mask)                                                                            \
        {                                                                                      \
            uint32_t i = lane;                                                                 \
            result;                                                                            \
        }                                                                                      \
    break;
#define ONE(name, D, A, result)                                                                \
    case __LINE__: {                                                                           \
        REGISTER(D, d)                                                                         \
        REGISTER(const A, a)                                                                   \
        EACH(A a = a_[i]; d_[i] = result)                                                      \
    }
#define TWO(name, D, A, B, result)                                                             \
    case __LINE__: {                                                                           \
        REGISTER(D, d)                                                                         \
        REGISTER(const A, a)                                                                   \
        REGISTER(const B, b)                                                                   \
        EACH(A a = a_[i]; B b = b_[i]; d_[i] = result)                                         \
    }
#define THREE(name, D, A, B, C, result)                                                        \
    case __LINE__: {                                                                           \
        REGISTER(D, d)                                                                         \
        REGISTER(const A, a)                                                                   \
        REGISTER(const B, b)                                                                   \
        REGISTER(const C, c)                                                                   \
        EACH(A a = a_[i]; B b = b_[i]; C c = c_[i]; d_[i] = result)                            \
    }
#define FOUR(name, D, A, B, C, E, result)                                                      \
    case __LINE__: {                                                                           \
        REGISTER(D, d)                                                                         \
        REGISTER(const A, a)                                                                   \
        REGISTER(const B, b)                                                                   \
        REGISTER(const C, c)                                                                   \
        REGISTER(const E, e)                                                                   \
        EACH(A a = a_[i]; B b = b_[i]; C c = c_[i]; E e = e_[i]; d_[i] = result)               \
    }
#define DIVIDE(name, T, result)                                                                \
    case __LINE__: {                                                                           \
        REGISTER(T, d)                                                                         \
        REGISTER(const T, a)                                                                   \
        REGISTER(const T, b)                                                                   \
        LANES(mask)                                                                            \
        {                                                                                      \
            T a = a_[lane], b = b_[lane];                                                      \
            if (b == 0)                                                                        \
                wrong(s, in, w->number *PTX_WARP + lane, "division by zero");                  \
            d_[lane] = result;                                                                 \
        }                                                                                      \
        break;                                                                                 \
    }
#define ATOM(name, T, result)                                                                  \
    case __LINE__: {                                                                           \
        REGISTER(T, d)                                                                         \
        REGISTER(const T, a)                                                                   \
        REGISTER(const T, b)                                                                   \
        LANES(mask)                                                                            \
        {                                                                                      \
            T *at = (T *)touch(s, w, in, lane), x = *at, a = a_[lane], b = b_[lane];           \
            (void)b;                                                                           \
            *at = result;                                                                      \
            d_[lane] = x;                                                                      \
        }                                                                                      \
        break;                                                                                 \
    }

/* Until each of its lanes is at the end or a barrier. */
static void run_warp(state *s, warp *w)
{
    char *const file = w->file;
    u32 *const cc = (u32 *)(file + PTX_CARRY * 4 * PTX_WARP);
    uint32_t pc, next, mask = pick(w, &pc, &next);
    while (mask) {
        if (pc >= next) {
            settle(w, mask, pc);
            mask = pick(w, &pc, &next);
        }
        ptx_instruction *in = &s->kernel->code[pc++];
        switch (in->op) {
#include "ptx_ops.h"
        case PTX_LOAD:
        case PTX_STORE:
            move(s, w, mask, in);
            break;
        case PTX_LOCAL:
            LANES(mask)
            {
                size_t thread = w->number * PTX_WARP + lane;
                ((u64 *)(file + in->d))[lane] =
                    (u64)(uintptr_t)(s->own + thread * s->kernel->local + in->at);
            }
            break;
        case PTX_BRANCH: {
            uint32_t take = mask;
            if (in->guarded)
                take &= in->unless ? ~bits((const pred *)(file + in->a))
                                   : bits((const pred *)(file + in->a));
            if (take == mask) {
                pc = (uint32_t)in->at;
            } else if (take) {
                settle(w, mask & ~take, pc);
                settle(w, take, (uint32_t)in->at);
                mask = pick(w, &pc, &next);
            }
            break;
        }
        case PTX_CALL:
            LANES(mask)
            {
                ((u32 *)(file + in->d))[lane] = pc;
            }
            pc = (uint32_t)in->at;
            break;
        case PTX_RETURN:
            LANES(mask)
            {
                w->pc[lane] = ((const u32 *)(file + in->a))[lane];
            }
            mask = pick(w, &pc, &next);
            break;
        case PTX_BARRIER:
            settle(w, mask, pc);
            w->parked |= mask;
            mask = pick(w, &pc, &next);
            break;
        case PTX_EXIT:
            w->alive &= ~mask;
            mask = pick(w, &pc, &next);
            break;
        default:
            wrong(s, in, 0, "it is not known");
        }
    }
}

/* All threads of the block are at the same barrier, or at the end: which? */
static bool meet(state *s)
{
    const warp *first = &s->warp[0];
    uint32_t at = first->parked ? first->pc[__builtin_ctz(first->parked)] : 0;
    for (warp *w = s->warp; w < s->warp + s->warps; w++)
        for (uint32_t lane = 0; lane < PTX_WARP; lane++) {
            uint32_t thread = w->number * PTX_WARP + lane;
            bool here = w->parked >> lane & 1;
            if (thread < s->launch->block &&
                (here != (at > 0) || (here && w->pc[lane] != at))) {
                uint32_t other = at > 0 ? at : w->pc[lane];
                wrong(s, &s->kernel->code[other - 1], thread,
                      "not all threads come to the same barrier");
            }
        }
    for (warp *w = s->warp; w < s->warp + s->warps; w++)
        w->parked = 0;
    s->time++;
    return at > 0;
}

static void run_block(state *s)
{
    s->time++;
    s->began = s->time * WHO;
    if (s->kernel->local)
        memset(s->owned, 0, (size_t)s->warps * PTX_WARP * s->kernel->local);
    for (warp *w = s->warp; w < s->warp + s->warps; w++) {
        uint32_t first = w->number * PTX_WARP, left = s->launch->block - first;
        w->alive = left < PTX_WARP ? (1u << left) - 1 : UINT32_MAX;
        settle(w, w->alive, 0);
        for (uint32_t lane = 0; lane < PTX_WARP; lane++)
            ((u32 *)(w->file + PTX_CTAID * 4 * PTX_WARP))[lane] = s->block;
    }
    do {
        for (warp *w = s->warp; w < s->warp + s->warps; w++)
            run_warp(s, w);
    } while (meet(s));
}

/* What stays the same in all blocks. */
static void fill_file(state *s, warp *w)
{
    for (size_t c = 0; c < s->kernel->num_constants; c++) {
        const ptx_constant *k = &s->kernel->constants[c];
        for (uint32_t lane = 0; lane < PTX_WARP; lane++)
            memcpy(w->file + k->where + lane * k->size, &k->value, k->size);
    }
    u32 *given = (u32 *)w->file;
    for (uint32_t lane = 0; lane < PTX_WARP; lane++) {
        given[PTX_TID * PTX_WARP + lane] = w->number * PTX_WARP + lane;
        given[PTX_NTID * PTX_WARP + lane] = s->launch->block;
        given[PTX_NCTAID * PTX_WARP + lane] = s->launch->grid;
    }
}

bool ptx_run(const ptx_launch *launch, char *why, size_t size)
{
    static state *s; /* streams do one after the other */
    ptx_kernel *k = launch->kernel;
    s = s ? s : calloc(1, sizeof(*s));
    s->launch = launch;
    s->kernel = k;
    s->why = why;
    s->size = size;
    s->warps = (launch->block + PTX_WARP - 1) / PTX_WARP;
    size_t own = (size_t)s->warps * PTX_WARP * k->local;
    char *files = aligned_alloc(64, (size_t)s->warps * ((k->file + 63) / 64 * 64));
    s->own = aligned_alloc(64, (own + 64) / 64 * 64);
    s->owned = malloc(own + 1);
    for (size_t i = 0; i < k->count; i++)
        k->code[i].from = k->code[i].to = NULL;
    for (uint32_t i = 0; i < s->warps; i++) {
        s->warp[i] =
            (warp){.file = files + (size_t)i * ((k->file + 63) / 64 * 64), .number = i};
        fill_file(s, &s->warp[i]);
    }
    bool fine = !setjmp(s->stop);
    if (fine)
        for (s->block = 0; s->block < launch->grid; s->block++)
            run_block(s);
    free(s->owned);
    free(s->own);
    free(files);
    return fine;
}
