/* SPDX-License-Identifier: BSD-2-Clause
 * isa.h: the list of SIMD kernels. From it every instruction set declares its functions and
 * isa.c fills its table; a kernel forgotten in one of them does not link. */
#ifndef CPU_ISA_H
#define CPU_ISA_H

#include "cpu.h"
#include "simd.h"

/* clang-format off */
#define CPU_KERNELS(X)                                                                         \
    X(tile) X(merge) X(pack) X(pack_trans) X(pack_a) X(dot) X(gather_rows)                     \
    X(pack_pointers) X(pack_weights) X(copy_rows) X(lay_rows) X(turn) X(turn_rows) X(rows)     \
    X(wino_in) X(wino_values) X(wino_out)                                                      \
    X(dw_row) X(dw_dot) X(dw_cols) X(dw_cols_grad) X(dw_walk) X(dw_walk_grad)                  \
    X(unary) X(unary_bwd) X(softmax) X(softmax_bwd) X(softmax_cols) X(softmax_cols_bwd)        \
    X(axpby) X(eltwise) X(bcast) X(bcast_row) X(reduce) X(sgd) X(pick) X(select) X(random)     \
    X(add_rows) X(norm) X(norm_bwd) X(norm_sums) X(tally) X(moments)                           \
    X(pool_max) X(pool_sum) X(pool_cols_max) X(pool_cols_sum) X(pool_cols_bwd)
/* AVX2's in AVX-512's set as well: they wait for memory, or for quotients and roots, of which
 * 16 take as long as twice 8. */
#define CPU_WAITING_KERNELS(X)                                                                 \
    X(rule) X(lrn) X(lrn_bwd) X(lrn_row) X(lrn_row_bwd)
/* Not in the plain set, to spare its bytes. */
#define CPU_WIDE_KERNELS(X)                                                                    \
    X(wino8_in) X(wino8_values) X(wino8_add) X(wino8_taps) X(dft_in) X(dft_out)                \
    X(groups) X(strassen_rows) X(strassen_sums)
/* Of vectors of 8 in AVX-512's set as well: AVX2's. */
#define CPU_NARROW_KERNELS(X) X(masked)
/* clang-format on */

/* The largest tiles, of `tile` and of `dot`. */
#if VL == 16
#define MR    14
#define DOT_M 5
#define DOT_N 5
#else
#define MR    6
#define DOT_M (SMALL ? 2 : 3)
#define DOT_N (SMALL ? 2 : 4)
#endif
#define NR (2 * VL)

#define CPU_DECLARE(kernel)                                                                    \
    extern __typeof__(*((const cpu_kernels *)0)->kernel) ISA(cpu_##kernel);
CPU_KERNELS(CPU_DECLARE)
CPU_WIDE_KERNELS(CPU_DECLARE)
#define CPU_DECLARE_NARROW(kernel)                                                             \
    extern __typeof__(*((const cpu_kernels *)0)->kernel) cpu_##kernel##_avx2;
CPU_NARROW_KERNELS(CPU_DECLARE_NARROW)
#if VL == 16
CPU_WAITING_KERNELS(CPU_DECLARE_NARROW)
#else
CPU_WAITING_KERNELS(CPU_DECLARE)
#endif

#endif
