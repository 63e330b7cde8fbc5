/* SPDX-License-Identifier: BSD-2-Clause
 * generation3.c: generation.h for oneDNN 3. */
#include "generation.h"

#include "deepnet/sys/backend.h"

one_md one_view(const one_desc *desc)
{
    return *desc;
}

dnnl_status_t one_desc_init(one_desc *desc, int axes, const dnnl_dim_t *dims,
                            dnnl_data_type_t type, const dnnl_dim_t *strides)
{
    if (!strides)
        return dnnl_memory_desc_create_with_tag(desc, axes, dims, type, dnnl_format_tag_any);
    return dnnl_memory_desc_create_with_strides(desc, axes, dims, type, strides);
}

dnnl_status_t one_desc_part(one_desc *desc, one_md whole, const dnnl_dim_t *dims,
                            const dnnl_dim_t *offset)
{
    return dnnl_memory_desc_create_submemory(desc, whole, dims, offset);
}

void one_desc_free(one_desc *desc)
{
    if (*desc)
        dnnl_memory_desc_destroy(*desc);
    *desc = NULL;
}

bool one_desc_blocks(one_blocks *out, one_md md)
{
    int axes = 0;
    dnnl_format_kind_t kind;
    const dnnl_dims_t *padded, *stride, *size, *axis;
    *out = (one_blocks){.inner = ONE_INNER + 1};
    if (dnnl_memory_desc_query(md, dnnl_query_format_kind, &kind) || kind != dnnl_blocked ||
        dnnl_memory_desc_query(md, dnnl_query_ndims_s32, &axes) || axes != ONE_WEIGHT_AXES ||
        dnnl_memory_desc_query(md, dnnl_query_data_type, &out->type) ||
        dnnl_memory_desc_query(md, dnnl_query_inner_nblks_s32, &out->inner) ||
        out->inner > ONE_INNER || dnnl_memory_desc_query(md, dnnl_query_padded_dims, &padded) ||
        dnnl_memory_desc_query(md, dnnl_query_strides, &stride) ||
        dnnl_memory_desc_query(md, dnnl_query_inner_blks, &size) ||
        dnnl_memory_desc_query(md, dnnl_query_inner_idxs, &axis))
        return false;
    for (int i = 0; i < ONE_WEIGHT_AXES; i++) {
        out->padded[i] = (*padded)[i];
        out->stride[i] = (*stride)[i];
    }
    for (int i = 0; i < out->inner; i++) {
        out->axis[i] = (int)(*axis)[i];
        out->size[i] = (*size)[i];
    }
    return true;
}

dnnl_status_t one_conv_create(dnnl_primitive_desc_t *out, dnnl_engine_t engine,
                              const one_conv_desc *c, const_dnnl_primitive_attr_t attr)
{
    if (c->kind == DN_OP_CONV)
        return dnnl_convolution_forward_primitive_desc_create(
            out, engine, dnnl_forward_inference, dnnl_convolution_direct, c->x, c->w, c->b,
            c->y, c->stride, c->dilation, c->pad_before, c->pad_after, attr);
    if (c->kind == DN_OP_CONV_BWD_DATA)
        return dnnl_convolution_backward_data_primitive_desc_create(
            out, engine, dnnl_convolution_direct, c->x, c->w, c->y, c->stride, c->dilation,
            c->pad_before, c->pad_after, NULL, attr);
    return dnnl_convolution_backward_weights_primitive_desc_create(
        out, engine, dnnl_convolution_direct, c->x, c->w, c->b, c->y, c->stride, c->dilation,
        c->pad_before, c->pad_after, NULL, attr);
}

dnnl_status_t one_matmul_create(dnnl_primitive_desc_t *out, dnnl_engine_t engine, one_md a,
                                one_md b, one_md bias, one_md c,
                                const_dnnl_primitive_attr_t attr)
{
    return dnnl_matmul_primitive_desc_create(out, engine, a, b, bias, c, attr);
}

dnnl_status_t one_post_sum(dnnl_post_ops_t post)
{
    return dnnl_post_ops_append_sum(post, 1, 0, dnnl_data_type_undef);
}

dnnl_status_t one_post_function(dnnl_post_ops_t post, dnnl_alg_kind_t function, float a)
{
    return dnnl_post_ops_append_eltwise(post, function, a, 0);
}
