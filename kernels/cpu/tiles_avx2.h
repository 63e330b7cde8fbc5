/* SPDX-License-Identifier: BSD-2-Clause
 * tiles_avx2.h: what gemm_kernels.c has in assembler: products of six rows and two vectors. A
 * core that runs another thread as well decodes half as many instructions; there are 20 for 12
 * multiply-adds at least, and what compilers move about between them is up to a quarter more.
 */

/* ---- the sums are the caller's: of Strassen's product ------------------------------------ */

/* Three rows times a step of two vectors. The sums stay in their registers: compilers that are
 * given several steps to order move them about. */
#define THREE_ROWS(at, acc, a, row, bv)                                                        \
    do {                                                                                       \
        vf t;                                                                                  \
        __asm__("vbroadcastss " at "(%[p]), %[t]\n\t"                                          \
                "vfmadd231ps %[b0], %[t], %[c0]\n\t"                                           \
                "vfmadd231ps %[b1], %[t], %[c1]\n\t"                                           \
                "vbroadcastss " at "(%[p],%[r]), %[t]\n\t"                                     \
                "vfmadd231ps %[b0], %[t], %[c2]\n\t"                                           \
                "vfmadd231ps %[b1], %[t], %[c3]\n\t"                                           \
                "vbroadcastss " at "(%[p],%[r],2), %[t]\n\t"                                   \
                "vfmadd231ps %[b0], %[t], %[c4]\n\t"                                           \
                "vfmadd231ps %[b1], %[t], %[c5]"                                               \
                : [t] "=&x"(t), [c0] "+x"((acc)[0][0]), [c1] "+x"((acc)[0][1]),                \
                  [c2] "+x"((acc)[1][0]), [c3] "+x"((acc)[1][1]), [c4] "+x"((acc)[2][0]),      \
                  [c5] "+x"((acc)[2][1])                                                       \
                : [p] "r"(a), [r] "r"(row), [b0] "x"((bv)[0]), [b1] "x"((bv)[1])               \
                : "memory");                                                                   \
    } while (0)
#define SIX_ROWS(u, at)                                                                        \
    do {                                                                                       \
        vf bv[2] = {v_load(b + (u)*NR), v_load(b + (u)*NR + VL)};                              \
        THREE_ROWS(at, acc, a, bytes, bv);                                                     \
        THREE_ROWS(at, acc + 3, lower, bytes, bv);                                             \
    } while (0)

/* k / 4 times four steps of six rows. Each time two lines are asked for, at `ask` and `second`
 * floats on; every fourth time it goes on by `last`. */
INLINE void six_rows(vf acc[TALL][2], int64_t k, const float *a, int64_t row, const float *b,
                     const float *ask, int64_t second, int64_t next, int64_t last)
{
    const float *lower = a + 3 * row;
    const int64_t bytes = row * (int64_t)sizeof *a;
    for (int64_t p = 4; p <= k; p += 4, a += 4, lower += 4, b += 4 * NR) {
        fetch_ahead(ask, 0);
        fetch_ahead(ask, second);
        ask += p % 16 ? next : last;
        SIX_ROWS(0, "0");
        SIX_ROWS(1, "4");
        SIX_ROWS(2, "8");
        SIX_ROWS(3, "12");
    }
}

/* ---- whole tiles of `rows`, from their bias to their function ---------------------------- */

/* clang-format off */
/* The sums are ymm0 to ymm11, row by row; a step's vectors 12 and 13. */
#define SIX_SUMS(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11)
#define SIX_COPY(i, j) "vmovaps %%ymm" #i ", %%ymm" #j "\n\t"
#define SIX_OF_C(X)                                                                            \
    X("(%[c])", 0, 1) X("(%[c],%[ld])", 2, 3) X("(%[c],%[ld],2)", 4, 5)                        \
    X("(%[c3])", 6, 7) X("(%[c3],%[ld])", 8, 9) X("(%[c3],%[ld],2)", 10, 11)
#define SIX_ADD(at, i, j)                                                                      \
    "vaddps " at ", %%ymm" #i ", %%ymm" #i "\n\t"                                              \
    "vaddps 32" at ", %%ymm" #j ", %%ymm" #j "\n\t"
#define SIX_STORE(at, i, j)                                                                    \
    "vmovups %%ymm" #i ", " at "\n\t"                                                          \
    "vmovups %%ymm" #j ", 32" at "\n\t"
#define SIX_RELU(i)                                                                            \
    "vmulps %%ymm13, %%ymm" #i ", %%ymm14\n\t"                                                 \
    "vcmpgt_oqps %%ymm12, %%ymm" #i ", %%ymm15\n\t"                                            \
    "vblendvps %%ymm15, %%ymm" #i ", %%ymm14, %%ymm" #i "\n\t"
#define SIX_CEILING(i)                                                                         \
    "vmaxps %%ymm" #i ", %%ymm12, %%ymm" #i "\n\t"                                             \
    "vminps %%ymm" #i ", %%ymm13, %%ymm" #i "\n\t"
#define SIX_ROW(at, i, j)                                                                      \
    "vbroadcastss " at ", %%ymm14\n\t"                                                         \
    "vfmadd231ps %%ymm12, %%ymm14, %%ymm" #i "\n\t"                                            \
    "vfmadd231ps %%ymm13, %%ymm14, %%ymm" #j "\n\t"
#define SIX_STEP(at, b_at)                                                                     \
    "vmovups " b_at "(%[b]), %%ymm12\n\t"                                                      \
    "vmovups " b_at "+32(%[b]), %%ymm13\n\t"                                                   \
    SIX_ROW(at "(%[a])", 0, 1) SIX_ROW(at "(%[a],%[row])", 2, 3)                               \
    SIX_ROW(at "(%[a],%[row],2)", 4, 5) SIX_ROW(at "(%[a],%[row3])", 6, 7)                     \
    SIX_ROW(at "(%[a],%[row],4)", 8, 9) SIX_ROW(at "(%[a],%[row5])", 10, 11)
#define SIX_COLUMN(at, b_at)                                                                   \
    "vmovups " b_at "(%[b]), %%ymm12\n\t"                                                      \
    "vmovups " b_at "+32(%[b]), %%ymm13\n\t"                                                   \
    SIX_ROW(at, 0, 1) SIX_ROW("4+" at, 2, 3) SIX_ROW("8+" at, 4, 5)                            \
    SIX_ROW("12+" at, 6, 7) SIX_ROW("16+" at, 8, 9) SIX_ROW("20+" at, 10, 11)
/* n is where the bias is. */
#define SIX_BEGIN                                                                              \
    "vmovups (%[n]), %%ymm0\n\t"                                                               \
    "vmovups 32(%[n]), %%ymm1\n\t"                                                             \
    SIX_COPY(0, 2) SIX_COPY(0, 4) SIX_COPY(0, 6) SIX_COPY(0, 8) SIX_COPY(0, 10)                \
    SIX_COPY(1, 3) SIX_COPY(1, 5) SIX_COPY(1, 7) SIX_COPY(1, 9) SIX_COPY(1, 11)                \
    "cmpb $0, %[add]\n\t"                                                                      \
    "je 1f\n\t"                                                                                \
    SIX_OF_C(SIX_ADD)                                                                          \
    "1:\n\t"
#define SIX_END(CEILING)                                                                       \
    "vxorps %%ymm12, %%ymm12, %%ymm12\n\t"                                                     \
    "vbroadcastss %[slope], %%ymm13\n\t"                                                       \
    "cmpb $0, %[relu]\n\t"                                                                     \
    "je 7f\n\t"                                                                                \
    SIX_SUMS(SIX_RELU)                                                                         \
    "7:\n\t"                                                                                   \
    CEILING                                                                                    \
    SIX_OF_C(SIX_STORE)
#define SIX_C                                                                                  \
    [c] "r"(c), [c3] "r"(c + 3 * ldc), [ld] "r"(ldc * (int64_t)sizeof *c), [add] "m"(e->add),  \
        [relu] "m"(e->relu), [slope] "m"(e->slope)
#define SIX_CLOBBERS                                                                           \
    "memory", "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8",    \
        "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15"

static const float no_bias[NR];

/* k in lines, or in one. Every four steps ask for a line of two of the next six rows; what the
 * fourth time asks for is not theirs. */
static __attribute__((noinline)) void six_rows_tile(int64_t k, const float *a, int64_t a_row,
                                                    const float *b, float *c, int64_t ldc,
                                                    const cpu_end *e)
{
    const int64_t size = sizeof *a, row = a_row * size, skip = (e->line - k) * size;
    const int64_t back = 64 - 8 * row, later = e->add ? TALL : k < 48 ? 2 * TALL : 0;
    const float *ask = a + TALL * a_row;
    int64_t left = e->lines, n = (intptr_t)(e->bias_n ? e->bias_n : no_bias);
    for (int i = 0; i < TALL; i++)
        fetch_ahead(c, (later + i) * ldc);
    __asm__ volatile(SIX_BEGIN
        "mov %[k], %[n]\n\t" /* a line */
        "shr $2, %[n]\n\t"
        "jz 4f\n\t"
        ".p2align 5\n"
        "2:\n\t" /* four steps */
        "prefetcht1 (%[ask])\n\t"
        "prefetcht1 (%[ask],%[row])\n\t"
        "lea (%[ask],%[row],2), %[ask]\n\t"
        SIX_STEP("0", "0") SIX_STEP("4", "64") SIX_STEP("8", "128") SIX_STEP("12", "192")
        "add $16, %[a]\n\t"
        "add $256, %[b]\n\t"
        "dec %[n]\n\t"
        "jz 4f\n\t"
        "test $3, %b[n]\n\t"
        "jnz 2b\n\t"
        "add %[back], %[ask]\n\t"
        "jmp 2b\n"
        "4:\n\t" /* and up to three */
        "mov %[k], %[n]\n\t"
        "and $3, %[n]\n\t"
        "jz 6f\n"
        "5:\n\t"
        SIX_STEP("0", "0")
        "add $4, %[a]\n\t"
        "add $64, %[b]\n\t"
        "dec %[n]\n\t"
        "jnz 5b\n"
        "6:\n\t"
        "add %[skip], %[a]\n\t"
        "decq %[left]\n\t"
        "jg 1b\n\t"
        SIX_END("cmpb $0, %[ceiling]\n\t"
                "je 8f\n\t"
                SIX_SUMS(SIX_CEILING)
                "8:\n\t")
        : [a] "+r"(a), [b] "+r"(b), [ask] "+r"(ask), [n] "+r"(n), [left] "+m"(left)
        : [k] "m"(k), [skip] "m"(skip), [back] "m"(back), [row] "r"(row), [row3] "r"(3 * row),
          [row5] "r"(5 * row), [ceiling] "m"(e->ceiling), SIX_C
        : SIX_CLOBBERS);
    if (!e->tally)
        return;
    vf acc[TALL][2];
    UNROLL
    for (int i = 0; i < TALL; i++) {
        UNROLL
        for (int v = 0; v < 2; v++)
            acc[i][v] = v_load(c + i * ldc + v * VL);
    }
    tally_tile(e->tally, acc);
}

/* Of rows that are neighbours; from step to step a_col floats. */
static __attribute__((noinline)) void six_columns_tile(int64_t k, const float *a, int64_t a_col,
                                                       const float *b, float *c, int64_t ldc,
                                                       const cpu_end *e)
{
    const int64_t col = a_col * (int64_t)sizeof *a;
    int64_t n = (intptr_t)(e->bias_n ? e->bias_n : no_bias);
    for (int i = 0; e->add && i < TALL; i++)
        fetch_ahead(c, (TALL + i) * ldc);
    __asm__ volatile(SIX_BEGIN
        "shr $1, %[k]\n\t"
        "jnc 2f\n\t"
        SIX_COLUMN("0(%[a])", "0")
        "add %[col], %[a]\n\t"
        "add $64, %[b]\n\t"
        "test %[k], %[k]\n"
        "2:\n\t"
        "jz 4f\n\t"
        ".p2align 5\n"
        "3:\n\t" /* two steps */
        SIX_COLUMN("0(%[a])", "0") SIX_COLUMN("0(%[a],%[col])", "64")
        "lea (%[a],%[col],2), %[a]\n\t"
        "add $128, %[b]\n\t"
        "dec %[k]\n\t"
        "jnz 3b\n"
        "4:\n\t"
        SIX_END("")
        : [a] "+r"(a), [b] "+r"(b), [k] "+r"(k)
        : [n] "r"(n), [col] "r"(col), SIX_C
        : SIX_CLOBBERS);
}
/* clang-format on */
