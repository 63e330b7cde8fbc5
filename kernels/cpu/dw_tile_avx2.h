/* SPDX-License-Identifier: BSD-2-Clause
 * dw_tile_avx2.h: what conv_kernels.c has in assembler: both gradients of a depthwise 3x3, of
 * two rows and columns of x and a vector of channels. Steps go along diagonals of elements and
 * taps, so that no sum is wanted again before it is there; compilers put one's steps together.
 */

/* clang-format off */
/* The sums of dx are ymm0 to ymm3, column by column, the values 4 to 7; a row's weights 8 to 10
 * and their sums 11 to 13. Of each element is kept x - mean, and f' 128 bytes on. */
#define DW_VALUE(at, kept, dx, x)                                                              \
    "vmovups (%[x]" at "), %%ymm" #x "\n\t"                                                    \
    "vxorps %%xmm" #dx ", %%xmm" #dx ", %%xmm" #dx "\n\t"                                      \
    "vsubps %%ymm8, %%ymm" #x ", %%ymm" #x "\n\t"                                              \
    "vmovups %%ymm" #x ", " kept "(%[kept])\n\t"                                               \
    "vfmadd213ps %%ymm10, %%ymm9, %%ymm" #x "\n\t"                                             \
    "vcmpgt_oqps %%ymm13, %%ymm" #x ", %%ymm14\n\t"                                            \
    "vblendvps %%ymm14, %%ymm12, %%ymm11, %%ymm14\n\t"                                         \
    "vmovups %%ymm14, 128+" kept "(%[kept])\n\t"                                               \
    "vmulps %%ymm14, %%ymm" #x ", %%ymm" #x "\n\t"
#define DW_STEP(at, dx, x, w, dw)                                                              \
    "vmovups " at ", %%ymm14\n\t"                                                              \
    "vfmadd231ps %%ymm" #w ", %%ymm14, %%ymm" #dx "\n\t"                                       \
    "vfmadd231ps %%ymm" #x ", %%ymm14, %%ymm" #dw "\n\t"
#define DW_DX(at, kept, dx)                                                                    \
    "vmovups %%ymm" #dx ", (%[dx]" at ")\n\t"                                                  \
    "vmulps 128+" kept "(%[kept]), %%ymm" #dx ", %%ymm" #dx "\n\t"                             \
    "vaddps %%ymm" #dx ", %%ymm14, %%ymm14\n\t"                                                \
    "vfmadd231ps " kept "(%[kept]), %%ymm" #dx ", %%ymm15\n\t"

/* dy: the pixel above and left of the first of x; its pixels are col floats apart, its rows ld.
 * v: a record of CPU_DW_RECORD vectors. */
static __attribute__((noinline)) void grad_tile(const cpu_walk *k, const float *dy, int64_t col,
                                                int64_t ld, float *v, const float *x, float *dx)
{
    static const float one = 1;
    const int64_t size = sizeof *dy;
    const float *p = dy + 2 * ld, *below = p + ld; /* what a row of taps sees of dy */
    float kept[8 * VL];
    int64_t rows = 3;
    __asm__ volatile(
        "vmovups 640(%[v]), %%ymm8\n\t"
        "vmovups 672(%[v]), %%ymm9\n\t"
        "vmovups 704(%[v]), %%ymm10\n\t"
        "vbroadcastss %[slope], %%ymm11\n\t"
        "vbroadcastss %[one], %%ymm12\n\t"
        "vxorps %%xmm13, %%xmm13, %%xmm13\n\t"
        DW_VALUE("", "0", 0, 4) DW_VALUE(",%[row]", "32", 1, 5)
        "add %[pixel], %[x]\n\t"
        DW_VALUE("", "64", 2, 6) DW_VALUE(",%[row]", "96", 3, 7)
        "1:\n\t" /* a row of taps */
        "vmovups (%[v]), %%ymm8\n\t"
        "vmovups 288(%[v]), %%ymm11\n\t"
        "vmovups 32(%[v]), %%ymm9\n\t"
        "vmovups 320(%[v]), %%ymm12\n\t"
        "vmovups 64(%[v]), %%ymm10\n\t"
        "vmovups 352(%[v]), %%ymm13\n\t"
        DW_STEP("(%[p],%[col],2)", 0, 4, 8, 11)
        DW_STEP("(%[below],%[col],2)", 1, 5, 8, 11)
        DW_STEP("(%[p],%[col])", 0, 4, 9, 12)
        DW_STEP("(%[p],%[col3])", 2, 6, 8, 11)
        DW_STEP("(%[below],%[col])", 1, 5, 9, 12)
        DW_STEP("(%[p])", 0, 4, 10, 13)
        DW_STEP("(%[below],%[col3])", 3, 7, 8, 11)
        DW_STEP("(%[p],%[col],2)", 2, 6, 9, 12)
        DW_STEP("(%[below])", 1, 5, 10, 13)
        DW_STEP("(%[below],%[col],2)", 3, 7, 9, 12)
        DW_STEP("(%[p],%[col])", 2, 6, 10, 13)
        DW_STEP("(%[below],%[col])", 3, 7, 10, 13)
        "vmovups %%ymm11, 288(%[v])\n\t"
        "vmovups %%ymm12, 320(%[v])\n\t"
        "vmovups %%ymm13, 352(%[v])\n\t"
        "add $96, %[v]\n\t"
        "mov %[p], %[below]\n\t"
        "sub %[ld], %[p]\n\t"
        "decq %[rows]\n\t"
        "jnz 1b\n\t"
        "vmovups 288(%[v]), %%ymm14\n\t"
        "vmovups 320(%[v]), %%ymm15\n\t"
        DW_DX("", "0", 0) DW_DX(",%[row]", "32", 1)
        "add %[pixel], %[dx]\n\t"
        DW_DX("", "64", 2) DW_DX(",%[row]", "96", 3)
        "vmovups %%ymm14, 288(%[v])\n\t"
        "vmovups %%ymm15, 320(%[v])\n\t"
        : [p] "+&r"(p), [below] "+&r"(below), [x] "+&r"(x), [dx] "+&r"(dx), [v] "+&r"(v),
          [rows] "+m"(rows)
        : [col] "r"(col * size), [col3] "r"(3 * col * size), [ld] "r"(ld * size),
          [row] "r"(k->out_row * size), [pixel] "m"((int64_t){k->C * size}),
          [slope] "m"(k->slope), [one] "m"(one), [kept] "r"(kept)
        : "memory", "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7",
          "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
}
/* clang-format on */

/* Two rows by tiles, in the order of walk1_grad. Where a tile sees what is outside, what it
 * sees is laid with zeros. */
static void tiles_grad(const cpu_walk *k, float *grad, const float *x, float *dx)
{
    const float *in = k->base + k->next, *ask_x = x + 2 * k->out_row;
    const float *ask_dx = dx + 2 * k->out_row;
    for (int64_t o = 0; o < k->outs; o += 2) {
        bool left = o == 0, right = o + 2 == k->outs;
        bool edge = left || right || !k->step[0] || !k->step[3];
        float *v = grad;
        for (int64_t c = 0; c < k->count; c += VL, v += CPU_DW_RECORD * VL) {
            const float *dy = k->row[1] - k->out_row + (o - 1) * k->C + c;
            int64_t col = k->C, ld = k->out_row, at = o * k->C + c;
            float laid[16 * VL], *to = laid;
            for (int i = 0; c % 16 == 0 && i < 4; i++) {
                fetch_ahead(in, i * 16);
                fetch_ahead(ask_x, i * 16);
                fetch_ahead(ask_dx, i * 16);
            }
            in += 32, ask_x += 32, ask_dx += 32;
            for (int r = 0; edge && r < 4; r++, to += 4 * VL) {
                const float *row = k->row[r] + (o - 1) * k->step[r] + c;
                v_store(to, left ? v_zero() : v_load(row));
                v_store(to + VL, v_load(row + col));
                v_store(to + 2 * VL, v_load(row + 2 * col));
                v_store(to + 3 * VL, right ? v_zero() : v_load(row + 3 * col));
            }
            if (edge)
                dy = laid, col = VL, ld = 4 * VL;
            grad_tile(k, dy, col, ld, v, x + at, dx + at);
        }
    }
}
