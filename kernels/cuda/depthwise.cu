/* SPDX-License-Identifier: BSD-2-Clause
 * depthwise.cu: CONV, CONV_BWD_DATA, CONV_BWD_WEIGHTS of one channel a group, on channels-last
 * images: a block has a strip of channels, neighbours of which a thread takes together. */
#include "conv.cuh"

#define PIXELS    512 /* that a block takes */
#define MOST_TAPS 49  /* whose weights it keeps */

/* ---- forward, and to the data ------------------------------------------------------------ */

/* What kernel position k of the result's coordinate `at` takes, -1: nothing. */
DEVICE int source(const window *w, int d, int at, int k, bool back)
{
    int i = back ? at + w->pad[d] - k * w->dilation[d]
                 : at * w->stride[d] - w->pad[d] + k * w->dilation[d];
    int o = back && i >= 0 ? over(i, &w->by_stride[d]) : i;
    if (back && (o < 0 || o * w->stride[d] != i))
        return -1;
    return o < (back ? w->out[d] : w->in[d]) ? o : -1;
}

/* block: (PIXELS of the result, strip of channels). A thread takes `some` channels at a time,
 * so where a tap lies is found out once for all of them; weights are turned once for the
 * block. */
DEVICE void depthwise(const conv_args *a, int64_t block, int some, bool back, float *weights)
{
    const window *w = &a->w;
    const divisor *by = back ? w->by_in : w->by_out, *by_all = back ? &w->by_I : &w->by_Q;
    const int32_t *size = back ? w->out : w->in; /* of the image that is read */
    values from = back ? a->dy : a->x, turned = {weights, 0, 0};
    int64_t each = back ? a->y_at.n : a->x_at.n, strips = (a->C + STRIP - 1) / STRIP;
    int64_t piece = quotient(block, strips), first = (block - piece * strips) * STRIP;
    int across = STRIP / some, lanes = BLOCK / across, R = (int)w->R;
    int begin = (int)piece * PIXELS, all = a->tile.n;
    int end = all - begin < PIXELS ? all : begin + PIXELS;
    THREADS(t)
        for (int j = t; j < R * STRIP; j += BLOCK) {
            int64_t c = first + j % STRIP;
            weights[j] = c < a->C ? a->weights[c * R + j / STRIP] : 0;
        }
    THREADS(t)
    {
        int own = t % across * some;
        int64_t c = first + own;
        for (int p = begin + t / across; c < a->C && p < end; p += lanes) {
            float sum[MOST], v[MOST], by_tap[MOST];
            int n = over(p, by_all), at[AXES], s[AXES], r = 0;
            split(p - n * by_all->value, by, at);
            UNROLL
            for (int j = 0; j < some; j++)
                sum[j] = 0;
            for (int k0 = 0; k0 < w->kernel[0]; k0++)
                for (int k1 = 0; k1 < w->kernel[1]; k1++) {
                    s[0] = source(w, 0, at[0], k0, back);
                    s[1] = source(w, 1, at[1], k1, back);
                    int64_t row = n * each + ((int64_t)s[0] * size[1] + s[1]) * size[2] * a->C;
                    for (int k2 = 0; k2 < w->kernel[2]; k2++, r++) {
                        s[2] = source(w, 2, at[2], k2, back);
                        if ((s[0] | s[1] | s[2]) < 0)
                            continue;
                        get_some(from, row + s[2] * a->C + c, some, v);
                        get_some(turned, r * STRIP + own, some, by_tap);
                        UNROLL
                        for (int j = 0; j < some; j++)
                            sum[j] = fmaf(by_tap[j], v[j], sum[j]);
                    }
                }
            if (a->bias) {
                UNROLL
                for (int j = 0; j < some; j++)
                    sum[j] += a->bias[c + j];
            }
            put_some_through(a->out, p * a->C + c, some, a->add, sum, &a->f);
        }
    }
}

#define DEPTHWISE(name, some, back)                                                            \
    BLOCKS(name, conv_args)                                                                    \
    {                                                                                          \
        SHARED ALIGNED float weights[MOST_TAPS * STRIP];                                       \
        depthwise(a, block, some, back, weights);                                              \
    }
DEPTHWISE(depthwise_8, 8, false)
DEPTHWISE(depthwise_4, 4, false)
DEPTHWISE(depthwise_back_8, 8, true)
DEPTHWISE(depthwise_back_4, 4, true)

/* ---- to the weights ---------------------------------------------------------------------- */

/* How far kernel position r lies from the window's first, in coordinates and in pixels. */
typedef struct reach {
    int32_t by[AXES];
    uint32_t pixels; /* modulo 2^32, as the window may begin outside of the image */
} reach;

DEVICE reach reach_of(const window *w, int r)
{
    reach v;
    split(r, w->by_kernel, v.by);
    v.pixels = 0;
    for (int d = 0; d < AXES; d++) {
        v.by[d] *= w->dilation[d];
        v.pixels = v.pixels * (uint32_t)w->in[d] + (uint32_t)v.by[d];
    }
    return v;
}

/* Of a window that begins at `first`, does it reach into the image? */
DEVICE bool reaches(const window *w, const int first[AXES], const reach *v)
{
    bool in = true;
    for (int d = 0; d < AXES; d++)
        in = in && (uint32_t)(first[d] + v->by[d]) < (uint32_t)w->in[d];
    return in;
}

/* block: (piece, strip of channels, some taps). A thread has four channels, and finds out once
 * for them where a tap lies, by what the block knows of each tap. */
BLOCKS(depthwise_weights, conv_args)
{
    SHARED double sums[4][BLOCK];
    SHARED ALIGNED reach reaches_to[TAPS];
    PER_THREAD(float, sum, 4 * TAPS);
    const int across = STRIP / 4, lanes = BLOCK / across;
    const window *w = &a->w;
    int64_t rest = quotient(block, a->tap_groups), strips = (a->K + STRIP - 1) / STRIP;
    int r0 = (int)(block - rest * a->tap_groups) * TAPS, taps = (int)w->R - r0;
    int64_t piece = quotient(rest, strips), first = (rest - piece * strips) * STRIP;
    int begin = (int)piece * a->tile.piece;
    int end = a->tile.k - begin < a->tile.piece ? a->tile.k : begin + a->tile.piece;
    THREADS(t)
        if (t < TAPS && t < taps)
            reaches_to[t] = reach_of(w, r0 + t);
    THREADS(t)
    {
        int64_t k = first + t % across * 4;
        UNROLL
        for (int j = 0; j < 4 * TAPS; j++)
            sum[LANE(t)][j] = 0;
        for (int nq = begin + t / across; k < a->K && nq < end; nq += lanes) {
            float dy[MOST], x[MOST];
            int n = over(nq, &w->by_Q), o[AXES];
            uint32_t pixel = 0;
            get_some(a->dy, nq * a->K + k, 4, dy);
            split(nq - n * w->by_Q.value, w->by_out, o);
            UNROLL
            for (int d = 0; d < AXES; d++) {
                o[d] = o[d] * w->stride[d] - w->pad[d];
                pixel = pixel * (uint32_t)w->in[d] + (uint32_t)o[d];
            }
            int64_t at = n * a->x_at.n + k;
            UNROLL
            for (int j = 0; j < TAPS; j++) {
                if (j >= taps || !reaches(w, o, &reaches_to[j]))
                    continue;
                get_some(a->x, at + (pixel + reaches_to[j].pixels) * a->C, 4, x);
                UNROLL
                for (int i = 0; i < 4; i++)
                    sum[LANE(t)][4 * j + i] = fmaf(dy[i], x[i], sum[LANE(t)][4 * j + i]);
            }
        }
    }
    UNROLL
    for (int j = 0; j < TAPS; j++) {
        THREADS(t)
            for (int i = 0; i < 4; i++)
                sums[i][t] = sum[LANE(t)][4 * j + i];
        for (int half = BLOCK / 2; half >= across; half /= 2)
            THREADS(t)
                for (int i = 0; t < half && i < 4; i++)
                    sums[i][t] += sums[i][t + half];
        THREADS(t)
        {
            int64_t k = first + 4 * t;
            for (int i = 0; t < across && k < a->K && j < taps && i < 4; i++)
                a->pieces[(piece * a->K + k + i) * a->w.R + r0 + j] = (float)sums[i][t];
        }
    }
}

/* ---- running ----------------------------------------------------------------------------- */

bool cuda_is_depthwise(const conv_args *a)
{
    return a->Cg == 1 && a->Kg == 1 && a->C > 1 && a->C % 4 == 0 && a->w.R <= MOST_TAPS &&
           a->x_at.p == a->C && a->y_at.p == a->C;
}

void cuda_depthwise(const dn_op *op, conv_args *a, int64_t pixels, bool back)
{
    bool narrow = a->out.narrow || (back ? a->dy : a->x).narrow;
    int64_t blocks = (pixels + PIXELS - 1) / PIXELS * ((a->C + STRIP - 1) / STRIP);
    a->tile.n = (int32_t)pixels;
    if (some_of(a->C, narrow) == 8)
        (back ? depthwise_back_8 : depthwise_8)(op, a, blocks);
    else
        (back ? depthwise_back_4 : depthwise_4)(op, a, blocks);
}

void cuda_depthwise_weights(const dn_op *op, const conv_args *a, int64_t blocks)
{
    depthwise_weights(op, a, blocks);
}
