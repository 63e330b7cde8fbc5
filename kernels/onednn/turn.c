/* SPDX-License-Identifier: BSD-2-Clause
 * turn.c: plain f32 weights of a convolution into the blocks of bf16 that oneDNN's convolutions
 * ask for, which its own reorders make at a fifth of the memory's speed. Two forms are known:
 * pairs of inputs beside 16n outputs (AcdB32a2b and its kin), and pairs of outputs beside 16
 * inputs (ABcd8a16b2a, BAcd8a16b2a). */
#include "narrow.h"

enum { A, B, LANES = 16, PAIRS = 16 };

static bool is_dense(const one_blocks *b, const dnnl_dim_t *dims)
{
    dnnl_dim_t stride = 1;
    for (int i = ONE_WEIGHT_AXES - 1; i >= 0; stride *= dims[i--])
        if (b->stride[i] != stride && dims[i] > 1)
            return false;
    return b->inner == 0 && b->type == dnnl_f32;
}

bool one_turn_init(one_turn *turn, const dn_backend *backend, one_md from, one_md to, int axes,
                   const dnnl_dim_t *dims)
{
    one_blocks plain, *b = &turn->to;
    *turn = (one_turn){.tasks = 0};
    if (!backend->bf16 || axes != ONE_WEIGHT_AXES || !one_desc_blocks(&plain, from) ||
        !one_desc_blocks(b, to) || !is_dense(&plain, dims) || b->type != dnnl_bf16)
        return false;
    bool rows = b->inner == 2 && b->axis[0] == A && b->axis[1] == B && b->size[1] == 2 &&
                b->size[0] % LANES == 0;
    turn->outputs = b->inner == 3 && dims[2] * dims[3] == 1 && b->axis[0] == A &&
                    b->axis[1] == B && b->axis[2] == A && b->size[0] == 8 &&
                    b->size[1] == LANES && b->size[2] == 2;
    if (!rows && !turn->outputs)
        return false;
    turn->K = dims[A];
    turn->C = dims[B];
    turn->S = dims[3];
    turn->taps = dims[2] * dims[3];
    turn->tasks = b->padded[A] / LANES;
    return true;
}

/* Where the block lies that has output k, input c and tap t. */
static one_bf16 *block_at(const one_turn *turn, one_bf16 *to, int64_t k, int64_t c, int64_t t)
{
    const one_blocks *b = &turn->to;
    int64_t a_block = turn->outputs ? LANES : b->size[0], b_block = turn->outputs ? LANES : 2;
    return to + k / a_block * b->stride[A] + c / b_block * b->stride[B] +
           t / turn->S * b->stride[2] + t % turn->S * b->stride[3];
}

/* Outputs [k, k + 16) and some inputs from c on, of tap t; w: the first of them. */
static void turn_tile(const one_turn *turn, one_bf16 *to, const float *w, int64_t k, int64_t c,
                      int64_t t)
{
    int64_t row = turn->C * turn->taps, rows = one_max(0, one_min(LANES, turn->K - k));
    one_bf16 *y = block_at(turn, to, k, c, t);
    if (!turn->outputs)
        nk_turn_rows(y + k % turn->to.size[0] * 2, turn->to.stride[B], w, row, turn->taps, rows,
                     one_min(2 * PAIRS, turn->C - c));
    for (int64_t i = 0; turn->outputs && i < LANES; i += 2)
        nk_turn_pairs(y + i * LANES, w + (i < rows ? i * row : 0), row, turn->taps, rows - i,
                      one_min(LANES, turn->C - c));
}

typedef struct turn_call {
    const one_turn *turn;
    const float *from;
    one_bf16 *to;
} turn_call;

static dnnl_status_t turn_task(void *arg, int64_t task, int32_t worker)
{
    const turn_call *call = arg;
    const one_turn *turn = call->turn;
    int64_t k = task * LANES, step = turn->outputs ? LANES : 2 * PAIRS;
    const float *from = call->from + one_min(k, turn->K - 1) * turn->C * turn->taps;
    (void)worker;
    for (int64_t c = 0; c < turn->C; c += step)
        for (int64_t t = 0; t < turn->taps; t++)
            turn_tile(turn, call->to, from + c * turn->taps + t, k, c, t);
    return dnnl_success;
}

dn_status one_turn_run(const one_turn *turn, const dn_backend *backend, const void *from,
                       void *to)
{
    turn_call call = {turn, from, to};
    return one_for(backend, turn->tasks, turn_task, &call);
}
