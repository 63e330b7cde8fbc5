/* SPDX-License-Identifier: BSD-2-Clause
 * primitive.c: a oneDNN primitive as our ops use it: made once, run by any worker, with its
 * scratch from the engine. Memory objects are made for every worker when the op is. */
#include <string.h>

#include "onednn.h"

const char *one_desc_name(dnnl_primitive_desc_t desc)
{
    const char *name = NULL;
    dnnl_primitive_desc_query(desc, dnnl_query_impl_info_str, 0, &name);
    return name ? name : "";
}

one_md one_prim_md(const one_prim *prim, int arg)
{
    return dnnl_primitive_desc_query_md(prim->desc, dnnl_query_exec_arg_md, arg);
}

size_t one_prim_bytes(const one_prim *prim, int arg)
{
    one_md md = one_prim_md(prim, arg);
    return md ? dnnl_memory_desc_get_size(md) : 0;
}

static dnnl_status_t make_memory(one_prim *prim)
{
    dnnl_engine_t engine = prim->backend->engine;
    for (int32_t i = 0; i < prim->backend->num_streams * prim->count; i++) {
        one_md md = one_prim_md(prim, prim->arg[i % prim->count]);
        dnnl_status_t st = dnnl_memory_create(&prim->memory[i], md, engine, DNNL_MEMORY_NONE);
        if (st)
            return st;
    }
    return dnnl_success;
}

dn_status one_prim_init(one_prim *prim, const dn_backend *backend, dnnl_primitive_desc_t desc,
                        const int *arg, int32_t count, dn_op_info *info)
{
    *prim = (one_prim){.backend = backend, .desc = desc, .count = count};
    memcpy(prim->arg, arg, (size_t)count * sizeof *arg);
    prim->scratch = one_prim_bytes(prim, DNNL_ARG_SCRATCHPAD);
    if (prim->scratch)
        prim->arg[prim->count++] = DNNL_ARG_SCRATCHPAD;
    size_t objects = (size_t)backend->num_streams * (size_t)prim->count;
    prim->memory = one_alloc(backend, objects, sizeof *prim->memory);
    prim->data = one_alloc(backend, objects, sizeof *prim->data);
    dn_status st = prim->memory && prim->data ? DN_OK : DN_E_NOMEM;
    if (!st) {
        dnnl_status_t status = dnnl_primitive_create(&prim->primitive, desc);
        if (!status)
            status = make_memory(prim);
        st = one_result(backend, status, info);
    }
    if (st)
        one_prim_free(prim);
    return st;
}

dnnl_status_t one_prim_run(one_prim *prim, int32_t worker, void *const *data, void *scratch)
{
    dnnl_exec_arg_t args[ONE_ARGS + 1];
    for (int32_t i = 0; i < prim->count; i++) {
        int32_t at = worker * prim->count + i;
        void *want = prim->scratch && i == prim->count - 1 ? scratch : data[i];
        if (prim->data[at] != want) { /* oneDNN 2 looks for padding to clear each time */
            dnnl_status_t st = dnnl_memory_set_data_handle(prim->memory[at], want);
            if (st)
                return st;
            prim->data[at] = want;
        }
        args[i] = (dnnl_exec_arg_t){prim->arg[i], prim->memory[at]};
    }
    return dnnl_primitive_execute(prim->primitive, prim->backend->streams[worker], prim->count,
                                  args);
}

void one_prim_free(one_prim *prim)
{
    if (!prim->backend)
        return;
    if (prim->memory)
        for (int32_t i = 0; i < prim->backend->num_streams * prim->count; i++)
            if (prim->memory[i])
                dnnl_memory_destroy(prim->memory[i]);
    if (prim->primitive)
        dnnl_primitive_destroy(prim->primitive);
    if (prim->desc)
        dnnl_primitive_desc_destroy(prim->desc);
    one_free(prim->backend, prim->memory);
    one_free(prim->backend, prim->data);
    *prim = (one_prim){0};
}

/* ---- attributes -------------------------------------------------------------------------- */

static bool algorithm_of(int32_t activation, dnnl_alg_kind_t *out)
{
    switch (activation) {
    case DN_FN_RELU:
        *out = dnnl_eltwise_relu;
        return true;
    case DN_FN_SIGMOID:
        *out = dnnl_eltwise_logistic;
        return true;
    case DN_FN_TANH:
        *out = dnnl_eltwise_tanh;
        return true;
    case DN_FN_ELU:
        *out = dnnl_eltwise_elu;
        return true;
    default:
        return false;
    }
}

bool one_has_activation(int32_t activation)
{
    dnnl_alg_kind_t kind;
    return activation == DN_FN_NONE || algorithm_of(activation, &kind);
}

static dnnl_status_t add_post_ops(dnnl_primitive_attr_t attr, bool sum, int32_t activation,
                                  double a)
{
    dnnl_post_ops_t post;
    dnnl_alg_kind_t kind;
    dnnl_status_t st = dnnl_post_ops_create(&post);
    if (st)
        return st;
    if (sum)
        st = one_post_sum(post);
    if (!st && algorithm_of(activation, &kind))
        st = one_post_function(post, kind, (float)a);
    if (!st)
        st = dnnl_primitive_attr_set_post_ops(attr, post);
    dnnl_post_ops_destroy(post);
    return st;
}

dnnl_status_t one_attributes(dnnl_primitive_attr_t *out, bool sum, int32_t activation, double a)
{
    dnnl_primitive_attr_t attr;
    dnnl_status_t st = dnnl_primitive_attr_create(&attr);
    if (st)
        return st;
    st = dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user);
    if (!st && (sum || activation != DN_FN_NONE))
        st = add_post_ops(attr, sum, activation, a);
    if (st)
        dnnl_primitive_attr_destroy(attr);
    else
        *out = attr;
    return st;
}
