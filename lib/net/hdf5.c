/* SPDX-License-Identifier: BSD-2-Clause
 * hdf5.c: weights in HDF5. Read by way of the bytes of a .caffemodel, so that matching names
 * and shapes is written once. */
#include "net/hdf5.h"

#include <string.h>

bool dni_is_hdf5(const void *bytes, size_t size)
{
    return size >= 8 && !memcmp(bytes, "\x89HDF\r\n\x1a\n", 8);
}

#ifndef DN_HAVE_HDF5

dn_status dni_hdf5_weights(const dni_view *view, char **out, size_t *size)
{
    (void)out, (void)size;
    return dni_fail(DN_E_UNSUPPORTED, "'%s' is HDF5; this build of deepnet was made without it",
                    view->path);
}

dn_status dni_hdf5_save(dn_net *net, const char *path)
{
    (void)net;
    return dni_fail(DN_E_UNSUPPORTED,
                    "cannot write '%s': this build of deepnet was made without "
                    "HDF5",
                    path);
}

#else

#include <stdio.h>

#include "data/hdf5_use.h"
#include "net/pack.h"

/* ---- reading ----------------------------------------------------------------------------- */

enum { MAX_GROUPS = 1 << 16 }; /* groups that hold themselves have no end */

#define MOST_TIMES 64 /* bytes of weights for one of the file: links and zeros cost nothing */

typedef struct reading {
    const dni_heap *heap;
    const char *path;
    hid_t data;
    int32_t groups;
    uint64_t left; /* bytes of weights that the file is good for */
    dni_text out;  /* bytes of the NetParameter */
} reading;

static dn_status bad(const reading *r, const char *what, const char *name)
{
    return dni_fail(DN_E_PARSE, "%s: %s of '%s' cannot be read", r->path, what, name);
}

static dn_status read_shape(const reading *r, hid_t set, const char *name, dni_shape *shape)
{
    hsize_t dims[DN_MAX_AXES];
    hid_t space = H5Dget_space(set);
    int axes = space < 0 ? -1 : H5Sget_simple_extent_ndims(space);
    if (axes >= 0 && axes <= DN_MAX_AXES)
        H5Sget_simple_extent_dims(space, dims, NULL);
    H5Sclose(space);
    if (axes < 0 || axes > DN_MAX_AXES)
        return bad(r, "the shape", name);
    *shape = (dni_shape){.axes = axes};
    for (int i = 0; i < axes; i++)
        shape->dim[i] = dims[i] > INT64_MAX ? -1 : (int64_t)dims[i];
    return dni_in(dni_shape_check(shape), "%s: '%s'", r->path, name);
}

/* Appends the dataset as field 7 of a layer. */
static dn_status read_blob(reading *r, hid_t group, const char *index, const char *layer,
                           dni_text *out)
{
    dni_pack_blob blob = {.dtype = DN_F32};
    hid_t set = H5Dopen2(group, index, H5P_DEFAULT);
    if (set < 0)
        return bad(r, "a weight", layer);
    dn_status st = read_shape(r, set, layer, &blob.shape);
    uint64_t count = st ? 0 : (uint64_t)dni_shape_count(&blob.shape);
    if (count > r->left / sizeof(float))
        st = dni_fail(DN_E_DATA, "%s: up to '%s' it has weights of more than %d times its size",
                      r->path, layer, MOST_TIMES);
    float *values = st ? NULL : dni_hdf5_take(r->heap, set, H5T_NATIVE_FLOAT, count);
    r->left -= st ? 0 : count * sizeof(float);
    if (!st && !values)
        st = dn_last_error() ? DN_E_NOMEM : bad(r, "a weight", layer);
    H5Dclose(set);
    if (!st) {
        uint8_t head[DNI_PACK_HEAD];
        dni_pack_append(out, 7, NULL, dni_pack_blob_size(&blob));
        dni_text_append(out, (const char *)head,
                        (size_t)(dni_pack_blob_head(head, &blob) - head));
        dni_text_append(out, (const char *)values, (size_t)count * sizeof *values);
    }
    dni_free(values);
    return st;
}

/* Weights are named 0, 1, ...; one that Caffe left out, for the layer that shares it wrote it,
 * is an empty blob. */
static dn_status read_layer(reading *r, hid_t group, const char *name, int32_t sets)
{
    dni_text layer;
    dn_status st = DN_OK;
    dni_text_init(&layer, r->heap);
    dni_pack_append(&layer, 1, name, strlen(name));
    for (int32_t i = 0; !st && sets; i++) {
        char index[24];
        snprintf(index, sizeof index, "%d", i);
        bool there = i >= DNI_MAX_WEIGHTS || H5Lexists(group, index, H5P_DEFAULT) > 0;
        sets -= there;
        if (there)
            st = read_blob(r, group, index, name, &layer);
        else
            dni_pack_append(&layer, 7, "", 0);
    }
    if (!st && layer.failed)
        st = DN_E_NOMEM;
    if (!st)
        dni_pack_append(&r->out, 100, layer.data, layer.size);
    dni_text_free(&layer);
    return st;
}

static H5I_type_t kind_of(hid_t group, const char *name)
{
    hid_t object = H5Oopen(group, name, H5P_DEFAULT);
    H5I_type_t kind = object < 0 ? H5I_BADID : H5Iget_type(object);
    H5Oclose(object);
    return kind;
}

static dn_status read_groups(reading *r, const char *name);

/* What a group holds: layers are read, weights counted. */
static dn_status read_links(reading *r, hid_t group, const char *name, int32_t *sets)
{
    H5G_info_t info;
    dn_status st = H5Gget_info(group, &info) < 0 ? bad(r, "group", name) : DN_OK;
    for (hsize_t i = 0; !st && i < info.nlinks; i++) {
        char link[512], inner[512];
        ssize_t size = H5Lget_name_by_idx(group, ".", H5_INDEX_NAME, H5_ITER_INC, i, link,
                                          sizeof link, H5P_DEFAULT);
        bool fits = size >= 0 && (size_t)size < sizeof link &&
                    snprintf(inner, sizeof inner, "%s%s%s", name, *name ? "/" : "", link) <
                        (int)sizeof inner;
        H5I_type_t kind = fits ? kind_of(group, link) : H5I_BADID;
        if (!fits)
            st = bad(r, "a name", *name ? name : "data");
        else if (kind == H5I_GROUP)
            st = read_groups(r, inner);
        *sets += kind == H5I_DATASET;
    }
    return st;
}

/* A layer's group, or, of a name with slashes, the groups that hold it. */
static dn_status read_groups(reading *r, const char *name)
{
    int32_t sets = 0;
    if (++r->groups > MAX_GROUPS)
        return dni_fail(DN_E_PARSE, "%s: more than %d groups", r->path, MAX_GROUPS);
    hid_t group = H5Gopen2(r->data, *name ? name : ".", H5P_DEFAULT);
    if (group < 0)
        return bad(r, "layer", name);
    dn_status st = read_links(r, group, name, &sets);
    if (!st && *name)
        st = read_layer(r, group, name, sets);
    H5Gclose(group);
    return st;
}

static dn_status read_layers(reading *r, hid_t file)
{
    r->data = H5Gopen2(file, "data", H5P_DEFAULT);
    if (r->data < 0)
        return dni_fail(DN_E_PARSE, "%s: an HDF5 file, but it has no group 'data'", r->path);
    hsize_t size = 0;
    H5Fget_filesize(file, &size);
    r->left = size < UINT64_MAX / MOST_TIMES ? size * MOST_TIMES : UINT64_MAX;
    dn_status st = read_groups(r, "");
    H5Gclose(r->data);
    return st;
}

dn_status dni_hdf5_weights(const dni_view *view, char **out, size_t *size)
{
    reading r = {.heap = view->heap, .path = view->path};
    dni_hdf5_use use;
    dni_hdf5_enter(&use);
    dni_text_init(&r.out, r.heap);
    dni_text_append(&r.out, "", 0);
    hid_t file = dni_hdf5_load(view);
    dn_status st = file < 0 ? dni_fail(DN_E_PARSE, "%s: cut or damaged HDF5", r.path)
                            : read_layers(&r, file);
    H5Fclose(file);
    dni_hdf5_leave(&use);
    *size = r.out.size;
    if (!st)
        st = dni_text_finish(&r.out, out);
    dni_text_free(&r.out);
    return st;
}

/* ---- writing ----------------------------------------------------------------------------- */

/* Of a name with slashes, the groups around it too; one of them may be a layer as well. */
static hid_t layer_group(hid_t data, const char *name)
{
    hid_t links = H5Pcreate(H5P_LINK_CREATE), group = -1;
    if (links >= 0 && H5Pset_create_intermediate_group(links, 1) >= 0)
        group = H5Lexists(data, name, H5P_DEFAULT) > 0
                    ? H5Gopen2(data, name, H5P_DEFAULT)
                    : H5Gcreate2(data, name, links, H5P_DEFAULT, H5P_DEFAULT);
    H5Pclose(links);
    return group;
}

static bool write_layers(dn_net *net, hid_t file)
{
    hid_t data = H5Gcreate2(file, "data", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    bool ok = data >= 0;
    for (size_t i = 0; ok && i < net->num_layers; i++) {
        const dni_net_layer *l = &net->layers[i];
        hid_t group = layer_group(data, l->layer.name);
        ok = group >= 0;
        for (int32_t k = 0; ok && k < l->layer.num_weights; k++) {
            const dn_blob *blob = &net->params[l->params[k]]->blob;
            ok = dni_hdf5_put_values(group, (size_t)k, blob->dtype, &blob->shape,
                                     blob->store->data);
        }
        ok &= H5Gclose(group) >= 0;
    }
    ok &= H5Gclose(data) >= 0;
    return ok;
}

dn_status dni_hdf5_save(dn_net *net, const char *path)
{
    dni_hdf5_use use;
    dn_status fetched = dni_net_fetch_weights(net, false);
    if (fetched)
        return fetched;
    dni_hdf5_enter(&use);
    hid_t file = dni_hdf5_create(path);
    bool ok = file >= 0 && write_layers(net, file);
    dn_status st = dni_hdf5_write(net->heap, file, ok, path);
    dni_hdf5_leave(&use);
    return st;
}

#endif
