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

dn_status dni_hdf5_weights(const dni_heap *heap, const char *path, char **out, size_t *size)
{
    (void)heap, (void)out, (void)size;
    return dni_fail(DN_E_UNSUPPORTED, "'%s' is HDF5; this build of deepnet was made without it",
                    path);
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

typedef struct reading {
    const dni_heap *heap;
    const char *path;
    dni_text out; /* bytes of the NetParameter */
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
    if (space >= 0)
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
    float *values =
        st ? NULL : dni_alloc(r->heap, (size_t)dni_shape_count(&blob.shape), sizeof *values);
    if (!st && !values)
        st = DN_E_NOMEM;
    if (!st && H5Dread(set, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) < 0)
        st = bad(r, "a weight", layer);
    H5Dclose(set);
    blob.data = values;
    size_t size = st ? 0 : dni_pack_field_size(7, dni_pack_blob_size(&blob));
    uint8_t *bytes = st ? NULL : dni_alloc(r->heap, size, 1), *at = bytes;
    if (!st && !bytes)
        st = DN_E_NOMEM;
    if (!st) {
        at = dni_pack_field(at, 7, dni_pack_blob_size(&blob));
        at = dni_pack_blob_write(at, &blob);
        dni_text_append(out, (const char *)bytes, (size_t)(at - bytes));
    }
    dni_free(r->heap, bytes);
    dni_free(r->heap, values);
    return st;
}

static dn_status read_layer(reading *r, hid_t data, const char *name)
{
    hid_t group = H5Gopen2(data, name, H5P_DEFAULT);
    H5G_info_t info;
    dni_text layer;
    if (group < 0)
        return bad(r, "layer", name);
    dni_text_init(&layer, r->heap);
    dni_pack_append(&layer, 1, name, strlen(name));
    dn_status st = H5Gget_info(group, &info) < 0 ? bad(r, "layer", name) : DN_OK;
    for (hsize_t i = 0; !st && i < info.nlinks; i++) {
        char index[24];
        snprintf(index, sizeof index, "%llu", (unsigned long long)i);
        st = read_blob(r, group, index, name, &layer);
    }
    if (!st && layer.failed)
        st = DN_E_NOMEM;
    if (!st)
        dni_pack_append(&r->out, 100, layer.data, layer.size);
    dni_text_free(&layer);
    H5Gclose(group);
    return st;
}

static dn_status read_layers(reading *r, hid_t file)
{
    H5G_info_t info;
    hid_t data = H5Gopen2(file, "data", H5P_DEFAULT);
    if (data < 0)
        return dni_fail(DN_E_PARSE, "%s: an HDF5 file, but it has no group 'data'", r->path);
    dn_status st = H5Gget_info(data, &info) < 0 ? bad(r, "group", "data") : DN_OK;
    for (hsize_t i = 0; !st && i < info.nlinks; i++) {
        char name[512];
        if (H5Lget_name_by_idx(data, ".", H5_INDEX_NAME, H5_ITER_INC, i, name, sizeof name,
                               H5P_DEFAULT) < 0)
            st = bad(r, "a name", "data");
        else
            st = read_layer(r, data, name);
    }
    H5Gclose(data);
    return st;
}

dn_status dni_hdf5_weights(const dni_heap *heap, const char *path, char **out, size_t *size)
{
    reading r = {.heap = heap, .path = path};
    dni_hdf5_use use;
    dni_hdf5_enter(&use);
    dni_text_init(&r.out, heap);
    dni_text_append(&r.out, "", 0);
    hid_t file = dni_hdf5_load(path);
    dn_status st = file < 0 ? dni_fail(DN_E_PARSE, "%s: cut or damaged HDF5", path)
                            : read_layers(&r, file);
    if (file >= 0)
        H5Fclose(file);
    dni_hdf5_leave(&use);
    *size = r.out.size;
    if (!st)
        st = dni_text_finish(&r.out, out);
    dni_text_free(&r.out);
    return st;
}

/* ---- writing ----------------------------------------------------------------------------- */

static bool write_blob(hid_t group, const dn_blob *blob, int32_t index)
{
    char name[24];
    hsize_t dims[DN_MAX_AXES];
    snprintf(name, sizeof name, "%d", index);
    for (int32_t i = 0; i < blob->shape.axes; i++)
        dims[i] = (hsize_t)blob->shape.dim[i];
    hid_t type = blob->dtype == DN_F64 ? H5T_NATIVE_DOUBLE : H5T_NATIVE_FLOAT;
    hid_t space = blob->shape.axes ? H5Screate_simple(blob->shape.axes, dims, NULL)
                                   : H5Screate(H5S_SCALAR);
    hid_t set = H5Dcreate2(group, name, type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    bool ok =
        set >= 0 && H5Dwrite(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, blob->store->data) >= 0;
    if (set >= 0)
        ok &= H5Dclose(set) >= 0;
    H5Sclose(space);
    return ok;
}

static bool write_layers(dn_net *net, hid_t file)
{
    hid_t data = H5Gcreate2(file, "data", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    bool ok = data >= 0;
    for (size_t i = 0; ok && i < net->num_layers; i++) {
        const dni_net_layer *l = &net->layers[i];
        hid_t group = H5Gcreate2(data, l->layer.name, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
        ok = group >= 0;
        for (int32_t k = 0; ok && k < l->layer.num_weights; k++)
            ok = write_blob(group, &net->params[l->params[k]]->blob, k);
        if (group >= 0)
            ok &= H5Gclose(group) >= 0;
    }
    if (data >= 0)
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
