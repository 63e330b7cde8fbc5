/* SPDX-License-Identifier: BSD-2-Clause
 * detect.c: the best instruction set that the processor has and whose registers the system
 * saves. __builtin_cpu_supports says the same, but brings 5 KB of processors' names along. */
#include "cpu.h"

#if defined(CPU_HAVE_AVX2) || defined(CPU_HAVE_AVX512)
#include <cpuid.h>

enum { SAVES_AVX = 0x06, SAVES_AVX512 = 0xe6 }; /* bits of XCR0 */

static bool has(uint32_t bits, uint32_t wanted)
{
    return (bits & wanted) == wanted;
}

int32_t cpu_best_isa(void)
{
    uint32_t a, b, c, d, saved;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !has(c, bit_OSXSAVE))
        return CPU_PLAIN;
    bool fma = has(c, bit_AVX | bit_FMA);
    if (!fma || !__get_cpuid_count(7, 0, &a, &b, &c, &d))
        return CPU_PLAIN;
    __asm__ volatile("xgetbv" : "=a"(saved), "=d"(d) : "c"(0));
#ifdef CPU_HAVE_AVX512
    if (has(saved, SAVES_AVX512) &&
        has(b, bit_AVX2 | bit_AVX512F | bit_AVX512DQ | bit_AVX512BW | bit_AVX512VL))
        return CPU_AVX512;
#endif
#ifdef CPU_HAVE_AVX2
    if (has(saved, SAVES_AVX) && has(b, bit_AVX2))
        return CPU_AVX2;
#endif
    return CPU_PLAIN;
}
#else
int32_t cpu_best_isa(void)
{
    return CPU_PLAIN;
}
#endif
