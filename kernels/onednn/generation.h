/* SPDX-License-Identifier: BSD-2-Clause
 * generation.h: where oneDNN 2 and oneDNN 3 differ. 2 describes an operation by a struct and
 * memory by value, 3 takes the parameters at once and memory descriptions are opaque; the rest
 * of the module is written once, over these few functions. generation2.c or generation3.c is
 * compiled, as the headers found say; tests/kernels/onednn3.sh has 3 where a system has 2. */
#ifndef ONEDNN_GENERATION_H
#define ONEDNN_GENERATION_H

#include <dnnl.h>
#include <stdbool.h>
#include <stdint.h>

/* A description of memory that is the caller's to free, and one that is only looked at. */
typedef dnnl_memory_desc_t one_desc;
#if DNNL_VERSION_MAJOR >= 3
typedef const_dnnl_memory_desc_t one_md;
#else
typedef const dnnl_memory_desc_t *one_md;
#endif

one_md one_view(const one_desc *desc);
/* strides NULL: whichever form suits the primitive. */
dnnl_status_t one_desc_init(one_desc *desc, int axes, const dnnl_dim_t *dims,
                            dnnl_data_type_t type, const dnnl_dim_t *strides);
/* The part of `whole` that begins at `offset`. */
dnnl_status_t one_desc_part(one_desc *desc, one_md whole, const dnnl_dim_t *dims,
                            const dnnl_dim_t *offset);
void one_desc_free(one_desc *desc);

enum { ONE_WEIGHT_AXES = 4, ONE_INNER = 3 };
/* How blocked memory lies: strides from block to block, and the blocks, outermost first. */
typedef struct one_blocks {
    dnnl_data_type_t type;
    int inner, axis[ONE_INNER];
    dnnl_dim_t padded[ONE_WEIGHT_AXES], stride[ONE_WEIGHT_AXES], size[ONE_INNER];
} one_blocks;
bool one_desc_blocks(one_blocks *out,
                     one_md desc); /* false: not with 4 axes, 3 blocks at most */

/* x, w and y of the forward convolution, or their gradients. */
typedef struct one_conv_desc {
    int32_t kind;      /* DN_OP_CONV, DN_OP_CONV_BWD_DATA, DN_OP_CONV_BWD_WEIGHTS */
    one_md x, w, b, y; /* b NULL: none */
    dnnl_dims_t stride, dilation, pad_before, pad_after;
} one_conv_desc;

dnnl_status_t one_conv_create(dnnl_primitive_desc_t *out, dnnl_engine_t engine,
                              const one_conv_desc *conv, const_dnnl_primitive_attr_t attr);
/* c = a b (+ bias); bias NULL: none. */
dnnl_status_t one_matmul_create(dnnl_primitive_desc_t *out, dnnl_engine_t engine, one_md a,
                                one_md b, one_md bias, one_md c,
                                const_dnnl_primitive_attr_t attr);
dnnl_status_t one_post_sum(dnnl_post_ops_t post);
dnnl_status_t one_post_function(dnnl_post_ops_t post, dnnl_alg_kind_t function, float a);

#endif
