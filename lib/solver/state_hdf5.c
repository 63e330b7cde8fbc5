/* SPDX-License-Identifier: BSD-2-Clause
 * state_hdf5.c: a .solverstate in HDF5 as Caffe lays it out: "iter", "current_step",
 * "learned_net", a group "history" of datasets "0", "1", ...; and our own part, packed as in
 * the binary form, in "deepnet". */
#include "solver/solver.h"

#ifndef DN_HAVE_HDF5

static dn_status left_out(const char *path)
{
    return dni_fail(DN_E_UNSUPPORTED, "'%s': this build of deepnet was made without HDF5",
                    path);
}

dn_status dni_state_write_hdf5(const dni_heap *heap, const char *path,
                               const Cnn__SolverState *state)
{
    (void)heap, (void)state;
    return left_out(path);
}

dn_status dni_state_read_hdf5(const dni_heap *heap, const char *path, Cnn__SolverState **out)
{
    (void)heap, (void)out;
    return left_out(path);
}

#else

#include <stdio.h>
#include <string.h>

#include "data/hdf5_use.h"

/* ---- writing ---------------------------------------------------------------------------- */

static bool write_set(hid_t at, const char *name, hid_t type, int axes, const hsize_t *dims,
                      const void *values)
{
    hid_t space = axes ? H5Screate_simple(axes, dims, NULL) : H5Screate(H5S_SCALAR);
    hid_t set = H5Dcreate2(at, name, type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    bool ok = set >= 0 && H5Dwrite(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0;
    if (set >= 0)
        ok &= H5Dclose(set) >= 0;
    H5Sclose(space);
    return ok;
}

static bool write_number(hid_t at, const char *name, int value)
{
    hsize_t one = 1;
    return write_set(at, name, H5T_NATIVE_INT, 1, &one, &value);
}

static bool write_string(hid_t at, const char *name, const char *text)
{
    hid_t type = H5Tcopy(H5T_C_S1);
    bool ok = type >= 0 && H5Tset_size(type, strlen(text) + 1) >= 0 &&
              write_set(at, name, type, 0, NULL, text);
    H5Tclose(type);
    return ok;
}

static bool write_history(hid_t file, const Cnn__SolverState *state)
{
    hid_t group = H5Gcreate2(file, "history", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    bool ok = group >= 0;
    for (size_t i = 0; ok && i < state->n_history; i++) {
        const Cnn__BlobProto *blob = state->history[i];
        hsize_t dims[DN_MAX_AXES];
        char name[24];
        int axes = blob->shape ? (int)blob->shape->n_dim : 0;
        for (int d = 0; d < axes; d++)
            dims[d] = (hsize_t)blob->shape->dim[d];
        snprintf(name, sizeof name, "%zu", i);
        ok = write_set(group, name, blob->n_data ? H5T_NATIVE_FLOAT : H5T_NATIVE_DOUBLE, axes,
                       dims, blob->n_data ? (const void *)blob->data : blob->double_data);
    }
    if (group >= 0)
        ok &= H5Gclose(group) >= 0;
    return ok;
}

dn_status dni_state_write_hdf5(const dni_heap *heap, const char *path,
                               const Cnn__SolverState *state)
{
    uint8_t *ours;
    size_t size;
    dn_status st = dni_binary_print(&ours, &size, heap, &state->deepnet->base);
    if (st)
        return st;
    hsize_t bytes = size;
    dni_hdf5_use use;
    dni_hdf5_enter(&use);
    hid_t file = dni_hdf5_create(path);
    bool ok = file >= 0 && write_number(file, "iter", state->iter) &&
              write_string(file, "learned_net", state->learned_net) &&
              write_number(file, "current_step", state->current_step) &&
              write_history(file, state) &&
              write_set(file, "deepnet", H5T_NATIVE_UCHAR, 1, &bytes, ours);
    st = dni_hdf5_write(heap, file, ok, path);
    dni_hdf5_leave(&use);
    dni_free(heap, ours);
    return st;
}

/* ---- reading ---------------------------------------------------------------------------- */

/* The values of a dataset as `type`, and how many; NULL: not there, too large, or no memory. */
static void *read_set(const dni_heap *heap, hid_t at, const char *name, hid_t type,
                      size_t *count)
{
    if (H5Lexists(at, name, H5P_DEFAULT) <= 0)
        return NULL;
    hid_t set = H5Dopen2(at, name, H5P_DEFAULT);
    hid_t space = set < 0 ? -1 : H5Dget_space(set);
    hssize_t n = space < 0 ? -1 : H5Sget_simple_extent_npoints(space);
    void *values = NULL;
    if (n >= 0 && dni_hdf5_has_numbers(set, (uint64_t)n))
        values = dni_alloc(heap, (size_t)n, H5Tget_size(type));
    if (values && H5Dread(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) < 0) {
        dni_free(heap, values);
        values = NULL;
    }
    if (space >= 0)
        H5Sclose(space);
    if (set >= 0)
        H5Dclose(set);
    *count = (size_t)n;
    return values;
}

static bool read_number(const dni_heap *heap, hid_t at, const char *name, int32_t *out)
{
    size_t count;
    int *value = read_set(heap, at, name, H5T_NATIVE_INT, &count);
    bool ok = value && count == 1;
    if (ok)
        *out = *value;
    dni_free(heap, value);
    return ok;
}

/* Of a fixed length, as Caffe writes it, or of any, as h5py does. NULL: no memory, or it cannot
 * be read. */
static char *read_text(const dni_heap *heap, hid_t set, hid_t type, hid_t space)
{
    char *text = NULL, *theirs = NULL;
    if (H5Tis_variable_str(type) > 0) {
        if (H5Dread(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, &theirs) < 0)
            return NULL;
        text = dni_strdup(heap, theirs ? theirs : "");
        H5Dvlen_reclaim(type, space, H5P_DEFAULT, &theirs);
        return text;
    }
    size_t size = H5Tget_size(type);
    text = size < 65536 ? dni_alloc(heap, size + 1, 1) : NULL;
    if (text && H5Dread(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, text) < 0) {
        dni_free(heap, text);
        text = NULL;
    }
    return text;
}

/* NULL: not there. */
static dn_status read_string(const dni_heap *heap, hid_t at, const char *name, const char *path,
                             char **out)
{
    if (H5Lexists(at, name, H5P_DEFAULT) <= 0)
        return DN_OK;
    hid_t set = H5Dopen2(at, name, H5P_DEFAULT);
    hid_t type = set < 0 ? -1 : H5Dget_type(set), space = set < 0 ? -1 : H5Dget_space(set);
    if (type >= 0 && space >= 0 && H5Tget_class(type) == H5T_STRING &&
        H5Sget_simple_extent_npoints(space) == 1)
        *out = read_text(heap, set, type, space);
    if (space >= 0)
        H5Sclose(space);
    if (type >= 0)
        H5Tclose(type);
    if (set >= 0)
        H5Dclose(set);
    if (*out)
        return DN_OK;
    return dn_last_error() /* a failed allocation has said so already */
               ? DN_E_NOMEM
               : dni_fail(DN_E_PARSE, "%s: '%s' is not a string that can be read", path, name);
}

static dn_status add_blob(const dni_heap *heap, Cnn__SolverState *state, float *values,
                          size_t count)
{
    Cnn__BlobProto *blob = dni_alloc(heap, 1, sizeof *blob);
    if (!blob) {
        dni_free(heap, values);
        return DN_E_NOMEM;
    }
    *blob = (Cnn__BlobProto)CNN__BLOB_PROTO__INIT;
    blob->data = values;
    blob->n_data = count;
    state->history[state->n_history++] = blob;
    return DN_OK;
}

static dn_status read_history(const dni_heap *heap, hid_t file, const char *path,
                              Cnn__SolverState *state)
{
    H5G_info_t info = {0};
    hid_t group = H5Gopen2(file, "history", H5P_DEFAULT);
    dn_status st = DN_OK;
    if (group < 0 || H5Gget_info(group, &info) < 0)
        st = dni_fail(DN_E_PARSE, "%s: an HDF5 file, but it has no group 'history'", path);
    if (!st && !(state->history = dni_alloc(heap, info.nlinks, sizeof *state->history)))
        st = DN_E_NOMEM;
    for (hsize_t i = 0; !st && i < info.nlinks; i++) {
        char name[24];
        size_t count;
        snprintf(name, sizeof name, "%llu", (unsigned long long)i);
        float *values = read_set(heap, group, name, H5T_NATIVE_FLOAT, &count);
        st = values ? add_blob(heap, state, values, count)
                    : dni_fail(DN_E_PARSE, "%s: history %s cannot be read", path, name);
    }
    if (group >= 0)
        H5Gclose(group);
    return st;
}

static dn_status read_ours(const dni_heap *heap, hid_t file, const char *path,
                           Cnn__SolverState *state)
{
    size_t size;
    ProtobufCMessage *message;
    uint8_t *bytes = read_set(heap, file, "deepnet", H5T_NATIVE_UCHAR, &size);
    if (!bytes)
        return DN_OK; /* Caffe's own */
    dn_status st =
        dni_binary_parse(&message, heap, &cnn__deepnet_state__descriptor, bytes, size, path);
    if (!st)
        state->deepnet = (Cnn__DeepnetState *)message;
    dni_free(heap, bytes);
    return st;
}

static dn_status read_all(const dni_heap *heap, hid_t file, const char *path,
                          Cnn__SolverState *state)
{
    int32_t step = 0;
    if (!read_number(heap, file, "iter", &state->iter))
        return dni_fail(DN_E_PARSE, "%s: an HDF5 file, but not the state of a solver", path);
    if (read_number(heap, file, "current_step", &step))
        state->current_step = step;
    dn_status st = read_string(heap, file, "learned_net", path, &state->learned_net);
    if (!st)
        st = read_history(heap, file, path, state);
    return st ? st : read_ours(heap, file, path, state);
}

dn_status dni_state_read_hdf5(const dni_heap *heap, const char *path, Cnn__SolverState **out)
{
    Cnn__SolverState *state = dni_alloc(heap, 1, sizeof *state);
    if (!state)
        return DN_E_NOMEM;
    *state = (Cnn__SolverState)CNN__SOLVER_STATE__INIT;
    state->has_iter = state->has_current_step = 1;
    dni_hdf5_use use;
    dni_hdf5_enter(&use);
    hid_t file = dni_hdf5_load(path);
    dn_status st = file < 0 ? dni_fail(DN_E_PARSE, "%s: cut or damaged HDF5", path)
                            : read_all(heap, file, path, state);
    if (file >= 0)
        H5Fclose(file);
    dni_hdf5_leave(&use);
    if (st) {
        dni_message_free(heap, state);
        return st;
    }
    dni_clear_error();
    *out = state;
    return DN_OK;
}

#endif
