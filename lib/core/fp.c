/* SPDX-License-Identifier: BSD-2-Clause
 * fp.c: nets compute in C's default floating-point environment: to nearest, with denormals, no
 * traps. A host that rounds otherwise, flushes denormals or traps would change results, by how
 * many threads there are, or get a signal from a lane that nobody reads. */
#include "core/core.h"

#ifdef __x86_64__
#include <xmmintrin.h>

enum { FLAGS = 0x3f, DEFAULT = 0x1f80 }; /* of MXCSR */

dni_fp dni_fp_enter(void)
{
    dni_fp host = {_mm_getcsr()};
    if ((host.control & ~(uint32_t)FLAGS) != DEFAULT)
        _mm_setcsr(DEFAULT);
    return host;
}

void dni_fp_leave(dni_fp host)
{
    if ((host.control & ~(uint32_t)FLAGS) != DEFAULT)
        _mm_setcsr(host.control);
}
#else
dni_fp dni_fp_enter(void)
{
    dni_fp host;
    fegetenv(&host.environment);
    fesetenv(FE_DFL_ENV);
    return host;
}

void dni_fp_leave(dni_fp host)
{
    fesetenv(&host.environment);
}
#endif
