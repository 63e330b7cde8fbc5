/* SPDX-License-Identifier: BSD-2-Clause
 * isa.c: the table of one instruction set, compiled once for each. */
#include "isa.h"

#define TEXT2(x)      #x
#define TEXT(x)       TEXT2(x)
#define ENTRY(kernel) .kernel = ISA(cpu_##kernel),

const cpu_kernels ISA(cpu_kernels) = {.name = TEXT(CPU_ISA),
                                      .vl = VL,
                                      .mr = VL == 16 ? 14 : 6,
                                      .nr = 2 * VL,
                                      .dot_m = VL == 16 ? 5 : 3,
                                      .dot_n = VL == 16 ? 5 : 4,
                                      .dw_rows = VL > 4 ? CPU_DW_ROWS : 0,
#if VL > 4
                                      CPU_WIDE_KERNELS(ENTRY)
#endif
                                          CPU_KERNELS(ENTRY)};
