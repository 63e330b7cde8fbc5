/* SPDX-License-Identifier: BSD-2-Clause
 * window.cuh: windows of convolutions and poolings, as three spatial axes (missing ones have
 * length 1) in 32 bits, and how an image lies in memory: strides of image, channel and pixel
 * tell the plain layout from channels-last. */
#ifndef DN_KERNELS_CUDA_WINDOW_CUH
#define DN_KERNELS_CUDA_WINDOW_CUH

#include "grid.cuh"

#define AXES 3

/* Division of numbers below 2^31 by a constant: (n * mul) >> (31 + shift), see Granlund and
 * Montgomery, "Division by invariant integers using multiplication", 1994. */
typedef struct divisor {
    uint32_t mul;
    int32_t shift, value;
} divisor;

static inline divisor divisor_of(int64_t value)
{
    divisor d;
    d.value = (int32_t)(value > 0 ? value : 1);
    d.shift = 0;
    while (((int64_t)1 << d.shift) < d.value)
        d.shift++;
    d.mul = (uint32_t)((((uint64_t)1 << (31 + d.shift)) / (uint64_t)d.value) + 1);
    return d;
}

DEVICE int over(int n, const divisor *d)
{
    return (int)(((uint64_t)(uint32_t)n * d->mul) >> (31 + d->shift));
}

typedef struct window {
    int32_t kernel[AXES], stride[AXES], pad[AXES], dilation[AXES], in[AXES], out[AXES];
    divisor by_kernel[AXES], by_out[AXES], by_in[AXES], by_stride[AXES];
    int64_t I, Q, R; /* elements of the input plane, the output plane, the kernel */
    divisor by_I, by_Q, by_R;
} window;

typedef struct image {
    int64_t n, c, p; /* elements from one image, channel, pixel to the next */
} image;

static inline image image_of(const dn_operand *x, int64_t C, int64_t pixels)
{
    image plain = {C * pixels, pixels, 1}, last = {C * pixels, 1, C};
    return x->layout == DN_LAYOUT_NHWC ? last : plain;
}

/* Where element i of an operand that lies as `at` says is: image, channel, pixel. */
DEVICE void locate(int64_t i, int64_t C, int64_t pixels, const image *at, int64_t *n,
                   int64_t *c, int *p)
{
    if (at->p == 1) {
        int64_t row = quotient(i, pixels);
        *p = (int)(i - row * pixels);
        *n = quotient(row, C);
        *c = row - *n * C;
    } else {
        int64_t row = quotient(i, C);
        *c = i - row * C;
        *n = quotient(row, pixels);
        *p = (int)(row - *n * pixels);
    }
}

/* From a window's arguments and the operand that is looked at; out_shape may be NULL (it then
 * follows as convolutions have it). False: more axes or pixels than this can count. */
static inline bool window_init(window *w, int32_t spatial, const int64_t *kernel,
                               const int64_t *stride, const int64_t *pad,
                               const int64_t *dilation, const dn_shape *in_shape,
                               const dn_shape *out_shape)
{
    const int64_t limit = ((int64_t)1 << 30);
    int64_t I = 1, Q = 1, R = 1;
    if (spatial > AXES)
        return false;
    for (int d = 0; d < AXES; d++) {
        int from = d - (AXES - spatial);
        bool there = from >= 0;
        int64_t k = there ? kernel[from] : 1, s = there ? stride[from] : 1;
        int64_t p = there ? pad[from] : 0, e = there && dilation ? dilation[from] : 1;
        int64_t in = there ? in_shape->dim[2 + from] : 1, out = 1;
        if (there && out_shape)
            out = out_shape->dim[2 + from];
        else if (there)
            out = (in + 2 * p - (e * (k - 1) + 1)) / s + 1;
        if (k > limit / 4 || s > limit / 4 || p > limit / 4 || e > limit / 4 / k)
            return false;
        I *= in;
        Q *= out;
        R *= k;
        if (I >= limit || Q >= limit || R >= limit || out * s > limit)
            return false;
        w->kernel[d] = (int32_t)k;
        w->stride[d] = (int32_t)s;
        w->pad[d] = (int32_t)p;
        w->dilation[d] = (int32_t)e;
        w->in[d] = (int32_t)in;
        w->out[d] = (int32_t)out;
        w->by_kernel[d] = divisor_of(k);
        w->by_stride[d] = divisor_of(s);
        w->by_out[d] = divisor_of(out);
        w->by_in[d] = divisor_of(in);
    }
    w->I = I;
    w->Q = Q;
    w->R = R;
    w->by_I = divisor_of(I);
    w->by_Q = divisor_of(Q);
    w->by_R = divisor_of(R);
    return true;
}

/* Splits an index of the plane `dim` into its coordinates. */
DEVICE void split(int index, const divisor by[AXES], int at[AXES])
{
    int rest = over(index, &by[2]);
    at[2] = index - rest * by[2].value;
    at[0] = over(rest, &by[1]);
    at[1] = rest - at[0] * by[1].value;
}

/* The input pixel under kernel position r of the output at o, -1 in the padding. */
DEVICE int tap_at(const window *w, const int o[AXES], int r)
{
    int k[AXES], pixel = 0;
    split(r, w->by_kernel, k);
    for (int d = 0; d < AXES; d++) {
        int i = o[d] * w->stride[d] - w->pad[d] + k[d] * w->dilation[d];
        if (i < 0 || i >= w->in[d])
            return -1;
        pixel = pixel * w->in[d] + i;
    }
    return pixel;
}

/* That of output q. */
DEVICE int tap(const window *w, int q, int r)
{
    int o[AXES];
    split(q, w->by_out, o);
    return tap_at(w, o, r);
}

/* The output whose kernel position r lies on the input pixel at x, -1 if there is none. */
DEVICE int untap_at(const window *w, const int x[AXES], int r)
{
    int k[AXES], q = 0;
    split(r, w->by_kernel, k);
    for (int d = 0; d < AXES; d++) {
        int at = x[d] + w->pad[d] - k[d] * w->dilation[d];
        int o = at < 0 ? -1 : over(at, &w->by_stride[d]);
        if (o < 0 || o * w->stride[d] != at || o >= w->out[d])
            return -1;
        q = q * w->out[d] + o;
    }
    return q;
}

/* That of input pixel i. */
DEVICE int untap(const window *w, int i, int r)
{
    int x[AXES];
    split(i, w->by_in, x);
    return untap_at(w, x, r);
}

#endif
