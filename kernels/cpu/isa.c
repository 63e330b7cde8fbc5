/* SPDX-License-Identifier: BSD-2-Clause
 * isa.c: the table of one instruction set, compiled once for each. */
#include "isa.h"

#define TEXT2(x)       #x
#define TEXT(x)        TEXT2(x)
#define ENTRY(kernel)  .kernel = ISA(cpu_##kernel),
#define NARROW(kernel) .kernel = cpu_##kernel##_avx2,

const cpu_kernels ISA(cpu_kernels) = {.name = TEXT(CPU_ISA),
                                      .vl = VL,
                                      .mr = MR,
                                      .nr = NR,
                                      .dot_m = DOT_M,
                                      .dot_n = DOT_N,
                                      .dw_rows = VL > 4 ? CPU_DW_ROWS : 0,
#if VL > 4
                                      CPU_WIDE_KERNELS(ENTRY) CPU_NARROW_KERNELS(NARROW)
                                          CPU_WAITING_KERNELS(NARROW)
#else
                                      CPU_WAITING_KERNELS(ENTRY)
#endif
                                              CPU_KERNELS(ENTRY)};
