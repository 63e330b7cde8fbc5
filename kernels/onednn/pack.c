/* SPDX-License-Identifier: BSD-2-Clause
 * pack.c: reorders. Parts are cut at multiples of 64 along the first axis, which most blockings
 * of weights divide, or of 192, for those by 48; where a form cannot be cut, it is one part. */
#include "onednn.h"

#define PART_BYTES (128 * 1024) /* worth waking a worker for */

dnnl_status_t one_reorder_create(dnnl_primitive_desc_t *out, const dn_backend *backend,
                                 one_md from, one_md to, bool add)
{
    dnnl_primitive_attr_t attr;
    dnnl_status_t st = one_attributes(&attr, add, DN_FN_NONE, 0);
    if (st)
        return st;
    st = dnnl_reorder_primitive_desc_create(out, from, backend->engine, to, backend->engine,
                                            attr);
    dnnl_primitive_attr_destroy(attr);
    return st;
}

static dnnl_status_t part_desc(dnnl_primitive_desc_t *out, const dn_backend *backend,
                               one_md from, one_md to, bool add, const dnnl_dim_t *dims,
                               const dnnl_dim_t *offset)
{
    one_desc a, b;
    dnnl_status_t st = one_desc_part(&a, from, dims, offset);
    if (st)
        return st;
    st = one_desc_part(&b, to, dims, offset);
    if (!st) {
        st = one_reorder_create(out, backend, one_view(&a), one_view(&b), add);
        one_desc_free(&b);
    }
    one_desc_free(&a);
    return st;
}

static dn_status init_parts(one_pack *pack, const dn_backend *backend, one_md from, one_md to,
                            int axes, const dnnl_dim_t *dims, bool add, int64_t parts,
                            int64_t unit, dn_op_info *info)
{
    static const int args[] = {DNNL_ARG_FROM, DNNL_ARG_TO};
    dnnl_dim_t size[DNNL_MAX_NDIMS] = {0}, offset[DNNL_MAX_NDIMS] = {0};
    int64_t step = ((dims[0] + parts - 1) / parts + unit - 1) / unit * unit;
    for (int i = 0; i < axes; i++)
        size[i] = dims[i];
    for (int64_t at = 0; at < dims[0]; at += step) {
        dnnl_primitive_desc_t desc;
        dnnl_status_t status;
        offset[0] = at;
        size[0] = one_min(step, dims[0] - at);
        if (parts == 1)
            status = one_reorder_create(&desc, backend, from, to, add);
        else
            status = part_desc(&desc, backend, from, to, add, size, offset);
        dn_status st = one_result(backend, status, info);
        if (!st)
            st = one_prim_init(&pack->part[pack->parts], backend, desc, args, 2, info);
        if (st)
            return st;
        size_t scratch = one_round(pack->part[pack->parts++].scratch);
        pack->scratch = scratch > pack->scratch ? scratch : pack->scratch;
    }
    return DN_OK;
}

dn_status one_pack_init(one_pack *pack, const dn_backend *backend, one_md from, one_md to,
                        int axes, const dnnl_dim_t *dims, bool add, dn_op_info *info)
{
    *pack = (one_pack){.backend = backend,
                       .from_bytes = dnnl_memory_desc_get_size(from),
                       .to_bytes = dnnl_memory_desc_get_size(to)};
    static const int64_t units[] = {64, 192, INT64_MAX / 2};
#ifdef ONE_HAVE_NARROW
    if (!add && one_turn_init(&pack->turn, backend, from, to, axes, dims))
        return DN_OK;
#endif
    dn_status st = DN_DECLINED;
    for (size_t i = 0; st == DN_DECLINED && i < sizeof units / sizeof *units; i++) {
        int64_t parts = one_min(ONE_PARTS, (int64_t)(pack->to_bytes / PART_BYTES));
        parts = one_max(1, one_min(parts, dims[0] / units[i]));
        if (i)
            one_pack_free(pack);
        st = init_parts(pack, backend, from, to, axes, dims, add, parts, units[i], info);
    }
    if (st)
        one_pack_free(pack);
    return st;
}

typedef struct pack_call {
    one_pack *pack;
    void *from, *to;
    char *scratch;
} pack_call;

static dnnl_status_t pack_task(void *arg, int64_t task, int32_t worker)
{
    const pack_call *c = arg;
    return one_prim_run(&c->pack->part[task], worker, (void *[]){c->from, c->to},
                        c->scratch + (size_t)worker * c->pack->scratch);
}

dn_status one_pack_run(one_pack *pack, const void *from, void *to, void *scratch)
{
#ifdef ONE_HAVE_NARROW
    if (pack->turn.tasks)
        return one_turn_run(&pack->turn, pack->backend, from, to);
#endif
    pack_call call = {pack, (void *)(uintptr_t)from, to, scratch};
    return one_for(pack->backend, pack->parts, pack_task, &call);
}

size_t one_pack_scratch(const one_pack *pack)
{
    return pack->parts ? pack->scratch * (size_t)pack->backend->num_streams : 0;
}

void one_pack_free(one_pack *pack)
{
    for (int32_t i = 0; i < pack->parts; i++)
        one_prim_free(&pack->part[i]);
    pack->parts = 0;
}
