/* SPDX-License-Identifier: BSD-2-Clause
 * generation2.c: generation.h for oneDNN 2. */
#include "generation.h"

#include "deepnet/sys/backend.h"

one_md one_view(const one_desc *desc)
{
    return desc;
}

dnnl_status_t one_desc_init(one_desc *desc, int axes, const dnnl_dim_t *dims,
                            dnnl_data_type_t type, const dnnl_dim_t *strides)
{
    if (!strides)
        return dnnl_memory_desc_init_by_tag(desc, axes, dims, type, dnnl_format_tag_any);
    return dnnl_memory_desc_init_by_strides(desc, axes, dims, type, strides);
}

dnnl_status_t one_desc_part(one_desc *desc, one_md whole, const dnnl_dim_t *dims,
                            const dnnl_dim_t *offset)
{
    return dnnl_memory_desc_init_submemory(desc, whole, dims, offset);
}

void one_desc_free(one_desc *desc)
{
    (void)desc;
}

bool one_desc_blocks(one_blocks *out, one_md md)
{
    const dnnl_blocking_desc_t *b = &md->format_desc.blocking;
    if (md->format_kind != dnnl_blocked || md->ndims != ONE_WEIGHT_AXES ||
        b->inner_nblks > ONE_INNER || md->offset0 || md->extra.flags)
        return false;
    *out = (one_blocks){.type = md->data_type, .inner = b->inner_nblks};
    for (int i = 0; i < ONE_WEIGHT_AXES; i++) {
        out->padded[i] = md->padded_dims[i];
        out->stride[i] = b->strides[i];
    }
    for (int i = 0; i < out->inner; i++) {
        out->axis[i] = (int)b->inner_idxs[i];
        out->size[i] = b->inner_blks[i];
    }
    return true;
}

dnnl_status_t one_conv_create(dnnl_primitive_desc_t *out, dnnl_engine_t engine,
                              const one_conv_desc *c, const_dnnl_primitive_attr_t attr)
{
    dnnl_convolution_desc_t desc;
    dnnl_status_t st;
    if (c->kind == DN_OP_CONV)
        st = dnnl_dilated_convolution_forward_desc_init(
            &desc, dnnl_forward_inference, dnnl_convolution_direct, c->x, c->w, c->b, c->y,
            c->stride, c->dilation, c->pad_before, c->pad_after);
    else if (c->kind == DN_OP_CONV_BWD_DATA)
        st = dnnl_dilated_convolution_backward_data_desc_init(
            &desc, dnnl_convolution_direct, c->x, c->w, c->y, c->stride, c->dilation,
            c->pad_before, c->pad_after);
    else
        st = dnnl_dilated_convolution_backward_weights_desc_init(
            &desc, dnnl_convolution_direct, c->x, c->w, c->b, c->y, c->stride, c->dilation,
            c->pad_before, c->pad_after);
    return st ? st : dnnl_primitive_desc_create(out, &desc, attr, engine, NULL);
}

dnnl_status_t one_matmul_create(dnnl_primitive_desc_t *out, dnnl_engine_t engine, one_md a,
                                one_md b, one_md bias, one_md c,
                                const_dnnl_primitive_attr_t attr)
{
    dnnl_matmul_desc_t desc;
    dnnl_status_t st = dnnl_matmul_desc_init(&desc, a, b, bias, c);
    return st ? st : dnnl_primitive_desc_create(out, &desc, attr, engine, NULL);
}

dnnl_status_t one_post_sum(dnnl_post_ops_t post)
{
    return dnnl_post_ops_append_sum(post, 1);
}

dnnl_status_t one_post_function(dnnl_post_ops_t post, dnnl_alg_kind_t function, float a)
{
    return dnnl_post_ops_append_eltwise(post, 1, function, a, 0);
}
