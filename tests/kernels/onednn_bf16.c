/* SPDX-License-Identifier: BSD-2-Clause
 * onednn_bf16.c: for the oneDNN module whose kernels are emulated: oneDNN says what this
 * machine has, this says AVX-512 with bf16. */
#include <dnnl.h>

/* dnnl_get_effective_cpu_isa, to the module */
dnnl_cpu_isa_t emulated_cpu_isa(void)
{
    return dnnl_cpu_isa_avx512_core_bf16;
}
