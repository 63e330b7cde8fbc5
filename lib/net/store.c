/* SPDX-License-Identifier: BSD-2-Clause
 * store.c: the memory of one weight, counted by the nets that use it. Its first values are the
 * filler's, which writes all of them. */
#include <string.h>

#include "net/net.h"

dn_status dni_store_create(dni_store **out, const dn_context *context, int64_t count,
                           int32_t dtype)
{
    const dni_heap *heap = &context->heap;
    size_t bytes;
    if (!dni_mul((size_t)count, dni_dtype_size(dtype), &bytes))
        return dni_fail(DN_E_SHAPE, "a weight is too large for this machine");
    dni_store *store = dni_alloc(heap, 1, sizeof *store);
    if (!store)
        return DN_E_NOMEM;
    *store = (dni_store){.context = context, .count = count, .dtype = dtype};
    atomic_init(&store->references, 1);
    store->data = dni_alloc_aligned(heap, bytes);
    if (!store->data) {
        dni_free(store);
        return DN_E_NOMEM;
    }
    *out = store;
    return DN_OK;
}

void dni_store_touch(dni_store *store)
{
    store->changes++;
    if (!store->writers)
        store->version = store->changes;
}

dn_status dni_store_make_diff(dni_store *store)
{
    if (store->diff)
        return DN_OK;
    size_t bytes = (size_t)store->count * dni_dtype_size(store->dtype);
    void *diff = dni_alloc_aligned(&store->context->heap, bytes);
    if (!diff)
        return DN_E_NOMEM;
    store->diff = memset(diff, 0, bytes);
    return DN_OK;
}

dn_status dni_store_diff(dni_store *store)
{
    dn_status st = dni_store_make_diff(store);
    if (!st && store->cleared)
        st = dni_mirror_zero(store->context, store->diff,
                             (size_t)store->count * dni_dtype_size(store->dtype));
    store->cleared &= st != DN_OK;
    return st;
}

/* Writing zeros that the next backward overwrites would cost a pass over all weights. */
dn_status dni_store_clear(dni_store *store)
{
    dn_status st = store && store->late ? dni_net_catch_up(store->late) : DN_OK;
    if (store)
        store->taken &= st != DN_OK;
    if (!store || !store->diff || st)
        return st;
    store->cleared = true;
    return store->diff_open ? dni_store_diff(store) : DN_OK;
}

void dni_store_release(dni_store *store)
{
    if (!store || atomic_fetch_sub(&store->references, 1) > 1)
        return;
    void *const memory[2] = {store->data, store->diff};
    for (int i = 0; i < 2; i++) {
        if (store->held) /* a lost device keeps what it had */
            (void)dni_mirror_fetch(store->context, memory[i]);
        dni_mirror_forget(store->context, memory[i]);
        dni_mirror_release(store->context, store->spans[i]);
        dni_free_aligned(memory[i]);
    }
    dni_free(store);
}

void dni_net_keep_weights(const dn_net *net)
{
    for (size_t i = 0; i < net->num_params; i++) {
        dni_store *store = net->params[i]->blob.store;
        if (!store)
            continue;
        dni_mirror_keep(net->context, store->data, &store->spans[0]);
        dni_mirror_keep(net->context, store->diff, &store->spans[1]);
    }
}

dn_status dni_net_fetch_weights(const dn_net *net, bool with_diff)
{
    dn_status st = DN_OK;
    for (size_t i = 0; !st && i < net->num_params; i++) {
        dni_store *store = net->params[i]->blob.store;
        if (!store)
            continue;
        st = dni_mirror_fetch(net->context, store->data);
        if (!st && with_diff && store->diff)
            st = dni_store_diff(store);
        if (!st && with_diff)
            st = dni_mirror_fetch(net->context, store->diff);
    }
    return st;
}
