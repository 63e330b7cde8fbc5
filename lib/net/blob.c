/* SPDX-License-Identifier: BSD-2-Clause
 * blob.c: windows on a net's memory. Inputs and weights have memory of their own; everything
 * else lives in the plan's arenas and is found when asked for. */
#include <string.h>

#include "net/net.h"

static dn_blob *make_blob(dn_net *net, size_t index)
{
    dn_blob *blob = dni_alloc(net->heap, 1, sizeof *blob);
    if (!blob)
        return NULL;
    *blob = (dn_blob){.dtype = net->dtype, .net = net, .data = DNI_NONE, .diff = DNI_NONE};
    net->blobs[index] = blob;
    blob->name = dni_strdup(net->heap, net->graph.blobs[index]);
    return blob->name ? blob : NULL;
}

void dni_blob_release_own(dn_blob *blob)
{
    dn_context *context = blob->net->context;
    dni_mirror_forget(context, blob->own);
    dni_mirror_release(context, blob->view);
    dni_free_aligned(blob->own);
    blob->own = NULL;
    blob->view = NULL;
    blob->lent_on_device = false;
}

/* (Re)allocates an input's own memory for its shape. */
static dn_status own_memory(dn_blob *blob, const dni_shape *shape)
{
    const dni_heap *heap = blob->net->heap;
    size_t bytes;
    dn_status st = dni_shape_check(shape);
    if (st)
        return st;
    if (!dni_mul((size_t)dni_shape_count(shape), dni_dtype_size(blob->dtype), &bytes))
        return dni_fail(DN_E_SHAPE, "blob '%s' is too large for this machine", blob->name);
    if (blob->net->memory_limit && bytes > blob->net->memory_limit)
        return dni_fail(DN_E_LIMIT, "input '%s' needs %zu bytes; memory_limit is %zu",
                        blob->name, bytes, blob->net->memory_limit);
    void *own = dni_alloc_aligned(heap, bytes);
    if (!own)
        return DN_E_NOMEM;
    memset(own, 0, bytes);
    dni_blob_release_own(blob);
    blob->own = own;
    blob->shape = *shape;
    return DN_OK;
}

static dn_status mark_inputs(dn_net *net)
{
    for (size_t i = 0; i < net->num_layers; i++) {
        if (!(net->layers[i].layer.cls->flags & DNI_LAYER_INPUT))
            continue;
        for (int32_t k = 0; k < net->graph.nodes[i].num_tops; k++) {
            int32_t value = net->graph.nodes[i].tops[k];
            dn_blob *blob = net->blobs[net->graph.values[value].blob];
            blob->input = true;
            net->inputs[net->num_inputs++] = net->graph.values[value].blob;
            if (net->wire_only)
                continue;
            dn_status st = own_memory(blob, &net->value_shapes[value]);
            if (st)
                return st;
        }
    }
    return DN_OK;
}

/* Outputs in the order of the file: last values that no layer reads. */
static void mark_outputs(dn_net *net)
{
    for (size_t v = 0; v < net->graph.num_values; v++)
        if (!net->graph.values[v].consumers)
            net->outputs[net->num_outputs++] = net->graph.values[v].blob;
}

dn_status dni_net_make_blobs(dn_net *net)
{
    size_t n = net->graph.num_blobs;
    net->blobs = dni_alloc(net->heap, n, sizeof(dn_blob *));
    net->inputs = dni_alloc(net->heap, n, sizeof *net->inputs);
    net->outputs = dni_alloc(net->heap, net->graph.num_values, sizeof *net->outputs);
    if (!net->blobs || !net->inputs || !net->outputs)
        return DN_E_NOMEM;
    for (size_t i = 0; i < n; i++)
        if (!make_blob(net, i))
            return DN_E_NOMEM;
    for (size_t v = 0; v < net->graph.num_values; v++) {
        dn_blob *blob = net->blobs[net->graph.values[v].blob];
        blob->value = (int32_t)v;
        blob->shape = net->value_shapes[v];
    }
    mark_outputs(net);
    return mark_inputs(net);
}

/* ---- looking ----------------------------------------------------------------------------- */

/* A blob that no gradient flows to has one all the same, zero, as in Caffe. */
static dn_status zero_diff(dn_blob *blob, void **out)
{
    size_t bytes = (size_t)dni_shape_count(&blob->shape) * dni_dtype_size(blob->dtype);
    if (blob->zero_bytes < bytes || !blob->zero) {
        void *zero = dni_alloc_aligned(blob->net->heap, bytes);
        if (!zero)
            return DN_E_NOMEM;
        dni_free_aligned(blob->zero);
        blob->zero = memset(zero, 0, bytes);
        blob->zero_bytes = bytes;
    }
    *out = blob->zero;
    return DN_OK;
}

static dn_status no_memory(const dn_blob *blob)
{
    return dni_fail(DN_E_STATE, "%s '%s' has no memory: the net was created with wire_only",
                    blob->value >= 0 ? "blob" : "weight", blob->name);
}

/* on_host: it is memory there; else an address to go by will do. */
static dn_status activation(dn_blob *blob, bool diff, bool on_host, void **out)
{
    dn_net *net = blob->net;
    *out = blob->own;
    if (blob->own && !diff)
        return DN_OK;
    dn_status st = net->shapes_changed ? dn_net_reshape(net) : DN_OK;
    if (st)
        return st;
    if (!net->plan)
        return no_memory(blob);
    dni_tensor t = diff ? blob->diff : blob->data;
    if (t == DNI_NONE)
        return zero_diff(blob, out);
    if (!dni_plan_readable(net->plan, t))
        return dni_fail(DN_E_STATE,
                        "the memory of blob '%s' is used by others as well; name it in "
                        "dn_net_options.keep, or use DN_MEMORY_READABLE",
                        blob->name);
    st = diff ? dni_net_bind_backward(net) : dni_plan_bind(net->plan, DNI_FORWARD);
    return st ? st : (on_host ? dni_plan_look : dni_plan_show)(net->plan, t, out);
}

static dn_status weight_diff(const dn_blob *blob)
{
    dni_store *store = blob->store;
    dn_status st = store->late ? dni_net_catch_up(store->late) : dni_net_was_kept(blob);
    return st ? st : dni_store_diff(store);
}

/* Where its values lie, on whichever side they are. */
static dn_status find(dn_blob *blob, bool diff, int32_t dtype, bool on_host, void **out)
{
    dni_clear_error();
    if (!blob)
        return dni_fail(DN_E_INVALID, "the blob is NULL");
    if (blob->dtype != dtype)
        return dni_fail(DN_E_STATE, "blob '%s' holds %s; use the other accessor", blob->name,
                        blob->dtype == DN_F64 ? "doubles (DN_F64)" : "floats (DN_F32)");
    if (!blob->store && blob->value >= 0)
        return activation(blob, diff, on_host, out);
    if (!blob->store)
        return no_memory(blob);
    dn_status st = diff ? weight_diff(blob) : DN_OK;
    blob->store->diff_open |= diff;
    *out = diff ? blob->store->diff : blob->store->data;
    return st;
}

static dn_status fetch(dn_blob *blob, bool diff, int32_t dtype, void **out)
{
    dn_status st = find(blob, diff, dtype, true, out);
    return st ? st : dni_mirror_fetch(blob->net->context, *out);
}

dn_status dni_blob_fetch_soon(dn_blob *blob)
{
    void *memory;
    dn_status st = find(blob, false, blob->dtype, true, &memory);
    return st ? st : dni_mirror_fetch_soon(blob->net->context, memory);
}

static void *look(dn_blob *blob, bool diff, int32_t dtype)
{
    void *memory;
    return fetch(blob, diff, dtype, &memory) ? NULL : memory;
}

const float *dn_blob_data(dn_blob *blob)
{
    return look(blob, false, DN_F32);
}

/* memory: where the host has it. */
static const void *look_there(dn_blob *blob, void **memory)
{
    const void *device = NULL;
    if (find(blob, false, blob ? blob->dtype : DN_F32, false, memory) ||
        dni_mirror_look(blob->net->context, *memory, &device))
        return NULL;
    if (!device)
        dni_fail(DN_E_STATE, "no device has blob '%s'", blob->name);
    return device;
}

const void *dn_blob_device_data(dn_blob *blob)
{
    void *memory;
    return look_there(blob, &memory);
}

static bool is_viewed(const dn_blob *blob)
{
    if (!blob || !blob->view)
        return false;
    dni_fail(DN_E_STATE,
             "blob '%s' reads memory of the host's on the device: write there, or take the "
             "view back with dn_blob_view_device(blob, NULL)",
             blob->name);
    return true;
}

void *dn_blob_mutable_device_data(dn_blob *blob)
{
    void *memory, *device = (void *)(uintptr_t)look_there(blob, &memory);
    if (!device)
        return NULL;
    blob->lent_on_device |= memory == blob->own;
    dni_mirror_wrote_device(blob->net->context, memory);
    if (blob->store)
        dni_store_touch(blob->store);
    return device;
}

dn_status dn_blob_view_device(dn_blob *blob, const void *device)
{
    dni_clear_error();
    if (!blob || !blob->own)
        return dni_fail(DN_E_INVALID, "%s",
                        blob ? "the blob is no input of its net" : "the blob is NULL");
    dn_net *net = blob->net;
    if (!net->context->mirror)
        return dni_fail(DN_E_UNSUPPORTED, "the context has no device to view memory of");
    size_t bytes = (size_t)dni_shape_count(&blob->shape) * dni_dtype_size(blob->dtype);
    bool same = blob->view ? device == blob->view->device : !device;
    dn_status st =
        dni_mirror_view(net->context, blob->own, bytes, (void *)(uintptr_t)device, &blob->view);
    if (!st)
        blob->lent_on_device = device != NULL;
    return st || same || !net->plan ? st : dni_plan_rebind(net->plan);
}

/* Nobody tells when the host writes through the pointer: from now on it may have. */
static void *look_to_write(dn_blob *blob, bool diff, int32_t dtype)
{
    dni_clear_error();
    if (!diff && is_viewed(blob))
        return NULL;
    void *memory = look(blob, diff, dtype);
    if (!memory)
        return NULL;
    if (memory == blob->own) {
        blob->lent_on_device = false;
        blob->lent = true;
    }
    if (blob->store && !diff) {
        blob->store->version = DNI_VOLATILE;
        blob->store->writers++;
    }
    dni_mirror_wrote(blob->net->context, memory);
    return memory;
}

void dn_blob_end_write(dn_blob *blob, const void *data)
{
    dni_store *store = blob ? blob->store : NULL;
    if (!store || store->data != data || !store->writers)
        return;
    store->writers--;
    dni_store_touch(store);
}

/* The block that `data` lies in, if an accessor of the blob gave it. */
static void *block_of(const dn_blob *blob, const void *data)
{
    const dni_store *store = blob->store;
    const dni_plan *plan = blob->net->plan;
    if (data == blob->own || data == blob->zero ||
        (store && (data == store->data || data == store->diff)))
        return (void *)(uintptr_t)data;
    if (plan && data == dni_plan_memory(plan, blob->data))
        return dni_plan_block(plan, blob->data);
    if (plan && data == dni_plan_memory(plan, blob->diff))
        return dni_plan_block(plan, blob->diff);
    return NULL;
}

void *dn_blob_hold(dn_blob *blob, const void *data)
{
    dni_clear_error();
    void *block = blob && data ? block_of(blob, data) : NULL;
    if (block)
        dni_hold_aligned(block);
    if (block && blob->store)
        blob->store->held = true;
    if (!block)
        dni_fail(DN_E_INVALID, "that is no memory of a blob");
    return block;
}

void dn_blob_end_hold(void *hold)
{
    dni_free_aligned(hold);
}

float *dn_blob_mutable_data(dn_blob *blob)
{
    return look_to_write(blob, false, DN_F32);
}

const float *dn_blob_diff(dn_blob *blob)
{
    return look(blob, true, DN_F32);
}

float *dn_blob_mutable_diff(dn_blob *blob)
{
    return look_to_write(blob, true, DN_F32);
}

const double *dn_blob_data_f64(dn_blob *blob)
{
    return look(blob, false, DN_F64);
}

double *dn_blob_mutable_data_f64(dn_blob *blob)
{
    return look_to_write(blob, false, DN_F64);
}

const double *dn_blob_diff_f64(dn_blob *blob)
{
    return look(blob, true, DN_F64);
}

double *dn_blob_mutable_diff_f64(dn_blob *blob)
{
    return look_to_write(blob, true, DN_F64);
}

static dn_status check_count(const dn_blob *blob, const void *values, int64_t count)
{
    if (!blob || !values)
        return dni_fail(DN_E_INVALID, "the blob or the values are NULL");
    int64_t have = dni_shape_count(&blob->shape);
    if (count != have)
        return dni_fail(DN_E_INVALID, "blob '%s' has %lld values, %lld were given", blob->name,
                        (long long)have, (long long)count);
    return DN_OK;
}

/* all: it is all written, so that what a device has need not come; but a value of the plan may
 * lie in more. */
static dn_status reach(dn_blob *blob, const float *values, int64_t count, bool all, void **out)
{
    dni_clear_error();
    dn_status st = check_count(blob, values, count);
    if (!st)
        st = find(blob, false, DN_F32, true, out);
    if (st || (all && (blob->store || *out == blob->own)))
        return st;
    return dni_mirror_fetch(blob->net->context, *out);
}

dn_status dn_blob_write(dn_blob *blob, const float *values, int64_t count)
{
    void *data;
    if (is_viewed(blob))
        return DN_E_STATE;
    dn_status st = reach(blob, values, count, true, &data);
    if (st || !count)
        return st;
    memcpy(data, values, (size_t)count * sizeof *values);
    dni_mirror_wrote(blob->net->context, data);
    if (data == blob->own)
        blob->lent_on_device = false;
    if (blob->store)
        dni_store_touch(blob->store);
    return DN_OK;
}

dn_status dn_blob_read(dn_blob *blob, float *values, int64_t count)
{
    void *data;
    dn_status st = reach(blob, values, count, false, &data);
    if (!st && count)
        memcpy(values, data, (size_t)count * sizeof *values);
    return st;
}

/* ---- names and shapes -------------------------------------------------------------------- */

const char *dn_blob_name(const dn_blob *blob)
{
    return blob ? blob->name : "";
}

int32_t dn_blob_axes(const dn_blob *blob)
{
    return blob ? blob->shape.axes : 0;
}

int64_t dn_blob_dim(const dn_blob *blob, int32_t axis)
{
    if (!blob)
        return 0;
    int32_t a = axis < 0 ? axis + blob->shape.axes : axis;
    return a < 0 || a >= blob->shape.axes ? 0 : blob->shape.dim[a];
}

int64_t dn_blob_count(const dn_blob *blob)
{
    return blob ? dni_shape_count(&blob->shape) : 0;
}

int32_t dn_blob_dtype(const dn_blob *blob)
{
    return blob ? blob->dtype : DN_F32;
}

/* ---- another shape for an input ---------------------------------------------------------- */

static void give_shape(dn_net *net, const dn_blob *blob, const dni_shape *shape)
{
    for (size_t i = 0; i < net->num_layers; i++)
        for (int32_t k = 0; k < net->graph.nodes[i].num_tops; k++) {
            int32_t value = net->graph.nodes[i].tops[k];
            if (!(net->layers[i].layer.cls->flags & DNI_LAYER_INPUT) ||
                net->blobs[net->graph.values[value].blob] != blob)
                continue;
            net->layers[i].shape_given[k] = true;
            net->value_shapes[value] = *shape;
        }
    net->shapes_changed = true;
}

dn_status dn_blob_reshape(dn_blob *blob, const int64_t *dims, int32_t axes)
{
    dni_clear_error();
    if (!blob || (axes && !dims))
        return dni_fail(DN_E_INVALID, "the blob or its dims are NULL");
    if (!blob->input)
        return dni_fail(DN_E_INVALID,
                        "blob '%s' is not an input of its net; its shape follows "
                        "from theirs",
                        blob->name);
    if (axes < 0 || axes > DN_MAX_AXES)
        return dni_fail(DN_E_SHAPE, "%d axes; a blob has at most %d", axes, DN_MAX_AXES);
    for (int32_t i = 0; i < axes; i++)
        if (dims[i] < 1)
            return dni_fail(DN_E_SHAPE, "blob '%s': axis %d would have length %lld", blob->name,
                            i, (long long)dims[i]);
    dni_shape shape = dni_shape_of(axes, dims);
    if (dni_shape_equal(&shape, &blob->shape))
        return DN_OK;
    dn_status st = blob->net->wire_only ? dni_shape_check(&shape) : own_memory(blob, &shape);
    if (!st)
        give_shape(blob->net, blob, &shape);
    return st;
}
