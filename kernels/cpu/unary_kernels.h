/* SPDX-License-Identifier: BSD-2-Clause
 * unary_kernels.h: exp and log of vectors, within two units in the last place: Cody and
 * Waite's reduction, then minimax polynomials (coefficients as in Cephes' expf, logf).
 */
#ifndef CPU_UNARY_KERNELS_H
#define CPU_UNARY_KERNELS_H

#include <math.h>

#include "isa.h"

/* exp(x) = (1 + p) 2^n; x between -104 and 89 */
INLINE vf v_exp_parts(vf x, vf *n)
{
    *n = v_round(v_mul(x, v_set1(1.44269504088896341f)));
    vf r = v_fma(*n, v_set1(-0.693359375f), x), p = v_set1(1.9875691500e-4f);
    r = v_fma(*n, v_set1(2.12194440e-4f), r);
    p = v_fma(p, r, v_set1(1.3981999507e-3f));
    p = v_fma(p, r, v_set1(8.3334519073e-3f));
    p = v_fma(p, r, v_set1(4.1665795894e-2f));
    p = v_fma(p, r, v_set1(1.6666665459e-1f));
    p = v_fma(p, r, v_set1(5.0000001201e-1f));
    return v_fma(v_mul(r, r), p, r);
}

SHARED vf v_exp(vf x)
{
    vf n, p = v_exp_parts(v_min(v_max(x, v_set1(-104.0f)), v_set1(89.0f)), &n);
    return v_sel(v_eq(x, x), v_ldexp(v_add(p, v_set1(1.0f)), n), x);
}

/* 0 gives -inf, a negative number NaN. */
SHARED vf v_log(vf x)
{
    vf e, m = v_frexp(x, &e), zero = v_zero(), one = v_set1(1.0f);
    vm low = v_gt(v_set1(0.707106781186547524f), m);
    e = v_sub(e, v_sel(low, one, zero));
    m = v_sub(v_add(m, v_sel(low, m, zero)), one);
    vf z = v_mul(m, m), p = v_set1(7.0376836292e-2f);
    p = v_fma(p, m, v_set1(-1.1514610310e-1f));
    p = v_fma(p, m, v_set1(1.1676998740e-1f));
    p = v_fma(p, m, v_set1(-1.2420140846e-1f));
    p = v_fma(p, m, v_set1(1.4249322787e-1f));
    p = v_fma(p, m, v_set1(-1.6668057665e-1f));
    p = v_fma(p, m, v_set1(2.0000714765e-1f));
    p = v_fma(p, m, v_set1(-2.4999993993e-1f));
    p = v_fma(p, m, v_set1(3.3333331174e-1f));
    p = v_mul(v_mul(p, m), z);
    p = v_fma(e, v_set1(-2.12194440e-4f), p);
    p = v_fma(v_set1(-0.5f), z, p);
    vf y = v_fma(e, v_set1(0.693359375f), v_add(m, p));
    y = v_sel(v_gt(x, zero), y, v_sel(v_eq(x, zero), v_set1(-INFINITY), v_set1(NAN)));
    return v_sel(v_gt(x, v_set1(3.4028234e38f)), v_set1(INFINITY), y);
}

/* s^-beta; in unary_kernels.c, which has exp and log anyway. */
vf ISA(cpu_any_power)(vf s, float beta);

#endif
