/* SPDX-License-Identifier: BSD-2-Clause
 * load.c: weights into a net, by layer name. Two passes: the first finds all that could go
 * wrong, the second copies, so that a failure changes nothing. */
#include <string.h>

#include "net/hdf5.h"
#include "net/net.h"
#include "net/safetensors.h"

typedef struct names {
    dni_text text;
    int32_t count;
} names;

typedef struct load {
    dn_net *net;
    const dni_weights *weights;
    const char *file;
    int32_t policy;
    bool *used; /* per layer of the file */
    int32_t
        *source; /* per layer of the net: its layer in the file; -1 missing, -2 left alone */
    int32_t loaded;
    names missing, unused, mismatched;
} load;

static void add_name(names *n, const char *name)
{
    dni_text_printf(&n->text, n->count++ ? ", %s" : "%s", name);
}

/* Caffe's rule for old files: their four axes against the shape with ones in front. Of a weight
 * without axes it writes no shape at all. */
static bool shapes_agree(const dni_weights_blob *have, const dni_shape *want)
{
    if (dni_shape_equal(&have->shape, want))
        return true;
    if (have->legacy && !want->axes && have->count == 1)
        return true;
    if (!have->legacy || have->shape.axes != 4 || want->axes > 4)
        return false;
    for (int32_t i = 0; i < 4; i++) {
        int32_t axis = i - (4 - want->axes);
        if (have->shape.dim[i] != (axis < 0 ? 1 : want->dim[axis]))
            return false;
    }
    return true;
}

/* Is weight i absent from what the file has of a layer, if anything, and another layer's?
 * Caffe's HDF5 files hold a shared weight once, with the layer that made it. */
static bool left_out(const load *l, const dni_net_layer *to, const dni_weights_layer *from,
                     int32_t i)
{
    if (from && (size_t)i < from->num_blobs && from->blobs[i].size)
        return false;
    for (const dni_net_layer *o = l->net->layers; o < to; o++)
        for (int32_t k = 0; k < o->layer.num_weights; k++)
            if (o->params[k] == to->params[i])
                return true;
    return false;
}

static bool counts_agree(const load *l, const dni_net_layer *to, const dni_weights_layer *from)
{
    int32_t have = from ? (int32_t)from->num_blobs : 0;
    for (int32_t i = have; i < to->layer.num_weights; i++)
        if (!left_out(l, to, from, i))
            return false;
    return have <= to->layer.num_weights;
}

static dn_status check_layer(load *l, const dni_net_layer *to, const dni_weights_layer *from,
                             bool *take)
{
    char have[96], want[96];
    *take = false;
    if (!counts_agree(l, to, from)) {
        if (l->policy == DN_WEIGHTS_SKIP)
            return DN_OK;
        return dni_fail(DN_E_DATA, "%s: layer '%s' has %zu weights in the file, %d in the net",
                        l->file, from->name, from->num_blobs, to->layer.num_weights);
    }
    for (size_t i = 0; i < from->num_blobs; i++) {
        if (left_out(l, to, from, (int32_t)i))
            continue;
        const dni_shape *shape = &l->net->params[to->params[i]]->blob.shape;
        const dni_weights_blob *blob = &from->blobs[i];
        int64_t count = dni_shape_count(shape);
        bool fits = shapes_agree(blob, shape) ||
                    (l->policy == DN_WEIGHTS_RESHAPE && dni_shape_count(&blob->shape) == count);
        if (!fits && l->policy == DN_WEIGHTS_SKIP)
            return DN_OK;
        dni_shape_text(&blob->shape, have, sizeof have);
        if (!fits)
            return dni_fail(DN_E_DATA,
                            "%s: weight %zu of layer '%s' is %s in the file, %s in the "
                            "net; to train it anew, give the layer another name",
                            l->file, i, from->name, have,
                            dni_shape_text(shape, want, sizeof want));
        if (blob->count != count)
            return dni_fail(DN_E_DATA,
                            "%s: weight %zu of layer '%s' says %s but holds %lld values",
                            l->file, i, from->name, have, (long long)blob->count);
    }
    *take = true;
    return DN_OK;
}

/* The last of that name, as in Caffe, which copies one after the other. */
static int32_t find_in_file(const load *l, const char *name)
{
    int32_t at = -1;
    for (size_t i = 0; i < l->weights->num_layers; i++)
        if (!strcmp(l->weights->layers[i].name, name)) {
            l->used[i] = true;
            at = (int32_t)i;
        }
    return at;
}

static dn_status match_layers(load *l)
{
    for (size_t i = 0; i < l->net->num_layers; i++) {
        const dni_net_layer *to = &l->net->layers[i];
        bool take;
        int32_t at = find_in_file(l, to->layer.name);
        l->source[i] = -1;
        if (!to->layer.num_weights)
            continue;
        if (at < 0) {
            if (!counts_agree(l, to, NULL))
                add_name(&l->missing, to->layer.name);
            continue;
        }
        dn_status st = check_layer(l, to, &l->weights->layers[at], &take);
        if (st)
            return st;
        l->source[i] = take ? at : -2;
        if (!take)
            add_name(&l->mismatched, to->layer.name);
        l->loaded += take;
    }
    for (size_t i = 0; i < l->weights->num_layers; i++)
        if (!l->used[i])
            add_name(&l->unused, l->weights->layers[i].name);
    if (!l->loaded && !l->mismatched.count && l->missing.count)
        return dni_fail(DN_E_DATA, "%s: no layer of the net is in the file (it has %s)",
                        l->file, l->weights->num_layers ? l->weights->layers[0].name : "none");
    return DN_OK;
}

static dn_status copy_layers(const load *l)
{
    for (size_t i = 0; i < l->net->num_layers; i++) {
        const dni_net_layer *to = &l->net->layers[i];
        for (int32_t k = 0; l->source[i] >= 0 && k < to->layer.num_weights; k++) {
            const dni_weights_layer *from = &l->weights->layers[l->source[i]];
            if (left_out(l, to, from, k))
                continue;
            dni_store *store = l->net->params[to->params[k]]->blob.store;
            dn_status st =
                dni_weights_values(&from->blobs[k], store->dtype, store->data, store->count);
            dni_store_touch(store);
            dni_mirror_wrote(l->net->context, store->data);
            if (st)
                return dni_in(st, "layer '%s'", to->layer.name);
        }
    }
    return DN_OK;
}

static dn_status keep_report(load *l, dn_weights_report *report)
{
    names *lists[] = {&l->missing, &l->unused, &l->mismatched};
    char *texts[3] = {NULL};
    dn_status st = DN_OK;
    for (int i = 0; i < 3; i++) {
        dni_text_append(&lists[i]->text, "", 0);
        dn_status one = dni_text_finish(&lists[i]->text, &texts[i]);
        st = st ? st : one;
    }
    for (int i = 0; i < 3; i++) {
        dni_free(st ? texts[i] : l->net->report_text[i]);
        if (!st)
            l->net->report_text[i] = texts[i];
    }
    if (st || !report)
        return st;
    dn_weights_report r = {.struct_size = report->struct_size,
                           .loaded = l->loaded,
                           .missing = l->missing.count,
                           .unused = l->unused.count,
                           .mismatched = l->mismatched.count,
                           .missing_names = texts[0],
                           .unused_names = texts[1],
                           .mismatched_names = texts[2]};
    memcpy(report, &r, report->struct_size < sizeof r ? report->struct_size : sizeof r);
    return DN_OK;
}

static dn_status load_weights(dn_net *net, const dni_weights *weights, const char *file,
                              int32_t policy, dn_weights_report *report)
{
    load l = {.net = net, .weights = weights, .file = file, .policy = policy};
    dni_text_init(&l.missing.text, net->heap);
    dni_text_init(&l.unused.text, net->heap);
    dni_text_init(&l.mismatched.text, net->heap);
    l.used = dni_alloc(net->heap, weights->num_layers, sizeof *l.used);
    l.source = dni_alloc(net->heap, net->num_layers, sizeof *l.source);
    dn_status st = l.used && l.source ? match_layers(&l) : DN_E_NOMEM;
    if (!st)
        st = keep_report(&l, report);
    if (!st)
        st = copy_layers(&l);
    dni_text_free(&l.missing.text);
    dni_text_free(&l.unused.text);
    dni_text_free(&l.mismatched.text);
    dni_free(l.used);
    dni_free(l.source);
    return st;
}

static dn_status check_arguments(const dn_net *net, const void *source, int32_t policy,
                                 const dn_weights_report *report)
{
    if (!net || !source)
        return dni_fail_null("dn_net_load_weights");
    if (net->wire_only)
        return dni_fail(DN_E_STATE, "the net was created with wire_only: it has no weights");
    if (policy < DN_WEIGHTS_STRICT || policy > DN_WEIGHTS_RESHAPE)
        return dni_fail(DN_E_INVALID, "policy %d is none of DN_WEIGHTS_*", policy);
    if (report && !report->struct_size)
        return dni_fail(DN_E_INVALID, "dn_weights_report.struct_size is 0; set it to sizeof");
    return DN_OK;
}

/* view: of which they are bytes, or NULL. HDF5 has become a .caffemodel in memory. */
static dn_status load_bytes(dn_net *net, const void *bytes, size_t size, dni_view *view,
                            const char *name, int32_t policy, dn_weights_report *report)
{
    dni_weights weights = {0};
    dn_status st = dni_is_safetensors(bytes, size)
                       ? dni_safetensors_read(&weights, net->heap, bytes, size, view, name)
                       : dni_weights_read(&weights, net->heap, bytes, size, view, name);
    if (!st && !dni_view_check(view))
        st = view->status;
    if (!st)
        st = load_weights(net, &weights, name, policy, report);
    dni_weights_free(&weights);
    return st;
}

dn_status dn_net_load_weights_memory(dn_net *net, const void *bytes, size_t size,
                                     int32_t policy, dn_weights_report *report)
{
    dni_clear_error();
    dn_status st = check_arguments(net, bytes, policy, report);
    return st ? st : load_bytes(net, bytes, size, NULL, "weights", policy, report);
}

dn_status dn_net_load_weights(dn_net *net, const char *path, int32_t policy,
                              dn_weights_report *report)
{
    dni_view view;
    dni_clear_error();
    dn_status st = check_arguments(net, path, policy, report);
    if (st)
        return st;
    char *packed = NULL;
    size_t packed_size = 0;
    st = dni_view_open(&view, net->heap, path);
    if (!st && dni_is_hdf5(view.data, view.size)) {
        st = dni_hdf5_weights(&view, &packed, &packed_size);
        if (!st)
            st = load_bytes(net, packed, packed_size, NULL, path, policy, report);
        dni_free(packed);
    } else if (!st) {
        st = load_bytes(net, view.data, view.size, &view, path, policy, report);
    }
    dni_view_close(&view);
    return st;
}

/* ---- sharing ----------------------------------------------------------------------------- */

static const dni_net_layer *find_source(const dn_net *source, const dni_net_layer *to)
{
    int32_t at = to->layer.num_weights ? dn_net_find_layer(source, to->layer.name) : -1;
    return at < 0 ? NULL : &source->layers[at];
}

/* All that can fail; of the source, gradients are made that net will want. */
static dn_status check_share(const dn_net *net, const dni_net_layer *to, const dn_net *source,
                             const dni_net_layer *from)
{
    char have[96], want[96];
    dn_status st = DN_OK;
    if (to->layer.num_weights != from->layer.num_weights)
        return dni_fail(DN_E_SHAPE, "layer '%s' has %d weights here, %d there", to->layer.name,
                        to->layer.num_weights, from->layer.num_weights);
    for (int32_t i = 0; !st && i < to->layer.num_weights; i++) {
        const dni_param *p = net->params[to->params[i]];
        const dn_blob *other = &source->params[from->params[i]]->blob;
        if (!dni_shape_equal(&p->blob.shape, &other->shape))
            return dni_fail(DN_E_SHAPE, "weight %d of layer '%s' is %s here, %s there", i,
                            to->layer.name, dni_shape_text(&p->blob.shape, have, sizeof have),
                            dni_shape_text(&other->shape, want, sizeof want));
        if (p->diff != DNI_NONE)
            st = dni_store_diff(other->store);
    }
    return st;
}

static void share_layer(dn_net *net, const dni_net_layer *to, const dn_net *source,
                        const dni_net_layer *from)
{
    for (int32_t i = 0; i < to->layer.num_weights; i++) {
        dni_param *p = net->params[to->params[i]];
        dni_store *store = source->params[from->params[i]]->blob.store;
        if (p->blob.store == store)
            continue;
        atomic_fetch_add(&store->references, 1);
        dni_store_release(p->blob.store);
        p->blob.store = store;
        net->program->tensors[p->data].memory = store->data;
        net->program->tensors[p->data].version = dni_net_version(net, store);
        if (p->diff != DNI_NONE)
            net->program->tensors[p->diff].memory = store->diff;
    }
}

dn_status dn_net_share_weights(dn_net *net, dn_net *source)
{
    dni_clear_error();
    if (!net || !source || !net->program || !source->program)
        return dni_fail(DN_E_INVALID, "dn_net_share_weights: a net is NULL or wire_only");
    if (net->context != source->context)
        return dni_fail(DN_E_INVALID, "the nets are of two contexts");
    if (net->dtype != source->dtype)
        return dni_fail(DN_E_INVALID, "the nets have different element types");
    for (size_t i = 0; i < net->num_layers; i++) {
        const dni_net_layer *from = find_source(source, &net->layers[i]);
        dn_status st = from ? check_share(net, &net->layers[i], source, from) : DN_OK;
        if (st)
            return st;
    }
    dn_status st = dni_net_catch_up(net);
    for (size_t i = 0; !st && i < net->num_layers; i++) {
        const dni_net_layer *from = find_source(source, &net->layers[i]);
        if (from)
            share_layer(net, &net->layers[i], source, from);
    }
    if (!st && dni_plan_rebind(net->plan))
        dni_clear_error(); /* what is missing on a device is said by the next run */
    return st;
}
