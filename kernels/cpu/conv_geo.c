/* SPDX-License-Identifier: BSD-2-Clause
 * conv_geo.c: geometry of convolutions, and the tables through which a multiplication reads an
 * image as if it were the matrix that im2col would write. */
#include "conv.h"

#include <string.h>

#define MOST_FLOATS 0x1p33 /* of an image with what its padding and dilation let it see */

static bool init(cpu_geo *geo, const dn_args_conv *args, const dn_shape *x, const dn_shape *w,
                 const dn_shape *y, int32_t most, dn_op_info *info)
{
    int32_t n = args->spatial;
    if (n < 1 || n > most || x->axes != n + 2 || w->axes != n + 2 || y->axes != n + 2) {
        cpu_decline(info, "convolution of too many axes");
        return false;
    }
    bool flat = n == 1, frames = n == 3;
    *geo = (cpu_geo){.N = x->dim[0],
                     .C = x->dim[1],
                     .K = y->dim[1],
                     .group = args->group,
                     .H = flat ? 1 : x->dim[n],
                     .W = x->dim[n + 1],
                     .P = flat ? 1 : y->dim[n],
                     .Q = y->dim[n + 1],
                     .R = flat ? 1 : args->kernel[n - 2],
                     .S = args->kernel[n - 1],
                     .sh = flat ? 1 : args->stride[n - 2],
                     .sw = args->stride[n - 1],
                     .ph = flat ? 0 : args->pad[n - 2],
                     .pw = args->pad[n - 1],
                     .dh = flat ? 1 : args->dilation[n - 2],
                     .dw = args->dilation[n - 1],
                     .D = frames ? x->dim[2] : 1,
                     .T = frames ? y->dim[2] : 1,
                     .E = frames ? args->kernel[0] : 1,
                     .sd = frames ? args->stride[0] : 1,
                     .pd = frames ? args->pad[0] : 0,
                     .dd = frames ? args->dilation[0] : 1};
    if (geo->group < 1 || geo->C % geo->group || geo->K % geo->group || geo->N < 1 ||
        geo->C < 1 || geo->K < 1 || geo->D < 1 || geo->H < 1 || geo->W < 1 || geo->T < 1 ||
        geo->P < 1 || geo->Q < 1 ||
        geo->P * geo->Q > INT32_MAX) { /* tables are made by columns, and number them */
        cpu_decline(info, "empty, uneven or huge convolution");
        return false;
    }
    /* rows and columns with what lies between and around those that are seen, in double */
    double high = (double)geo->sh * (double)geo->P + (double)(geo->R - 1) * (double)geo->dh;
    double wide = (double)geo->sw * (double)geo->Q + (double)(geo->S - 1) * (double)geo->dw;
    if (high * wide * (double)geo->C > MOST_FLOATS) {
        cpu_decline(info, "window that sees too far");
        return false;
    }
    geo->Cg = geo->C / geo->group;
    geo->Kg = geo->K / geo->group;
    if (geo->E == 1 && geo->sd == 1 && geo->D == geo->T) {
        geo->N *= geo->D;
        geo->D = geo->T = 1;
    }
    geo->frames = geo->E > 1 || geo->D > 1 || geo->T > 1;
    cpu_geo_plan(geo);
    return true;
}

bool cpu_geo_init(cpu_geo *geo, const dn_args_conv *args, const dn_shape *x, const dn_shape *w,
                  const dn_shape *y, dn_op_info *info)
{
    return init(geo, args, x, w, y, 2, info);
}

bool cpu_conv_nhwc_geo(cpu_geo *geo, const dn_op_desc *desc, uint32_t more, dn_op_info *info)
{
    const dn_args_conv *args = desc->args;
    bool weights = desc->kind == DN_OP_CONV_BWD_WEIGHTS;
    const dn_shape *in0 = &desc->inputs[0].shape, *in1 = &desc->inputs[1].shape;
    const dn_shape *out = &desc->outputs[0].shape;
    if (!cpu_all_nhwc(desc, weights ? 3 | 1u << 18 : 1u << 16 | (more & CPU_PLANES ? 0 : 1))) {
        cpu_decline(info, "operands are not NHWC f32");
        return false;
    }
    bool any = more & CPU_FUNCTIONS && desc->kind == DN_OP_CONV && !cpu_conv_more(desc);
    if (args->activation < 0 || args->activation >= (any ? DN_FN_END : DN_FN_RELU + 1)) {
        cpu_decline(info, "activation other than ReLU");
        return false;
    }
    if (weights)
        return init(geo, args, in0, out, in1, 3, info);
    if (desc->kind == DN_OP_CONV_BWD_DATA)
        return init(geo, args, out, in1, in0, 3, info);
    return init(geo, args, in0, in1, out, 3, info);
}

void cpu_inside(int64_t at, int64_t step, int64_t size, int64_t count, int64_t *from,
                int64_t *to)
{
    *from = at >= 0 ? 0 : (-at + step - 1) / step;
    *to = at >= size ? 0 : (size - at + step - 1) / step;
    *from = cpu_min(*from, count);
    *to = cpu_max(*from, cpu_min(*to, count));
}

void cpu_geo_plan(cpu_geo *geo)
{
    geo->ready = geo->R == 1 && geo->S == 1 && geo->sh == 1 && geo->sw == 1 && geo->ph == 0 &&
                 geo->pw == 0 && geo->P == geo->H && geo->Q == geo->W && !geo->frames;
    geo->hp = geo->P + (geo->R - 1) * geo->dh / geo->sh;
    geo->wp = geo->Q + (geo->S - 1) * geo->dw / geo->sw;
    geo->plane = geo->sh * geo->sw * geo->hp * geo->wp;
}

int64_t cpu_geo_tap(const cpu_geo *geo, int64_t r, int64_t s)
{
    int64_t h = r * geo->dh, w = s * geo->dw;
    int64_t phase = h % geo->sh * geo->sw + w % geo->sw;
    return (phase * geo->hp + h / geo->sh) * geo->wp + w / geo->sw;
}

/* One pass of the column walk: counts runs, or writes them where `runs` is given. */
static int64_t walk(const cpu_geo *geo, int64_t nr, cpu_run *runs, int32_t *panel,
                    int64_t images, int64_t src_image, int64_t src_width, int64_t dst_image,
                    int64_t dst_width)
{
    int64_t count = 0, column = 0;
    cpu_run last = {0, 0, 0, 0};
    for (int64_t n = 0; n < images; n++)
        for (int64_t p = 0; p < geo->P; p++)
            for (int64_t q = 0; q < geo->Q;) {
                int64_t lane = column % nr, len = cpu_min(geo->Q - q, nr - lane);
                int64_t src = n * src_image + p * src_width + q;
                int64_t dst = n * dst_image + p * dst_width + q;
                bool joins = lane && last.src + last.len == src && last.dst + last.len == dst;
                if (!joins) {
                    if (!lane && panel)
                        panel[column / nr] = (int32_t)count;
                    last = (cpu_run){(int32_t)lane, 0, src, dst};
                    count++;
                }
                last.len += (int32_t)len;
                if (runs)
                    runs[count - 1] = last;
                column += len;
                q += len;
            }
    if (panel)
        panel[cpu_ceil(column, nr)] = (int32_t)count;
    return count;
}

bool cpu_geo_runs(const cpu_geo *geo, dn_op *op, cpu_mul *mul, int64_t images,
                  int64_t src_image, int64_t src_width, int64_t dst_image, int64_t dst_width)
{
    int64_t nr = mul->ker->nr, columns = images * geo->P * geo->Q;
    int64_t count =
        walk(geo, nr, NULL, NULL, images, src_image, src_width, dst_image, dst_width);
    cpu_run *runs = cpu_op_table(op, (size_t)count, sizeof *runs);
    int32_t *panel = cpu_op_table(op, (size_t)cpu_ceil(columns, nr) + 1, sizeof *panel);
    if (!runs || !panel)
        return false;
    walk(geo, nr, runs, panel, images, src_image, src_width, dst_image, dst_width);
    mul->runs = runs;
    mul->panel = panel;
    return true;
}

/* ---- tiles of planes ----------------------------------------------------------------------
 */

int64_t *cpu_geo_tile(int64_t *at, int64_t n, int64_t h, int64_t w, int64_t H, int64_t W,
                      int64_t vl)
{
    for (int64_t i = h; i < h + n; i++)
        for (int64_t j = w; j < w + n; j++)
            *at++ = vl * (i >= 0 && i < H && j >= 0 && j < W ? i * W + j : H * W);
    return at;
}

void cpu_geo_lay(const cpu_kernels *ker, float *strip, const float *x, int64_t ld,
                 int64_t lanes, int64_t h, int64_t rows, int64_t H, int64_t W,
                 const float *zeros)
{
    const float *at[16];
    int64_t vl = ker->vl, from = cpu_max(0, cpu_min(rows, -h)), to = cpu_min(rows, H - h);
    to = cpu_max(from, to);
    for (int64_t i = 0; i < vl; i++)
        at[i] = i < lanes ? x + i * ld + (h + from) * W : zeros;
    memset(strip, 0, (size_t)(from * W * vl) * sizeof(float));
    if (to > from)
        ker->pack_pointers(strip + from * W * vl, (int32_t)vl, (to - from) * W, at);
    memset(strip + to * W * vl, 0, (size_t)(((rows - to) * W + 1) * vl) * sizeof(float));
}
