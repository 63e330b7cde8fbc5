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

dn_status dni_state_write_hdf5(const dn_solver *solver, const char *path,
                               const Cnn__SolverState *state)
{
    (void)solver, (void)state;
    return left_out(path);
}

dn_status dni_state_read_hdf5(const dni_view *view, char **out, size_t *size)
{
    (void)out, (void)size;
    return left_out(view->path);
}

#else

#include <stdio.h>
#include <string.h>

#include "data/hdf5_use.h"

enum { STATE_ITER = 1, STATE_LEARNED_NET = 2, STATE_CURRENT_STEP = 4 };
enum { STATE_DEEPNET = 20001, BLOB_DATA = 5 };

/* ---- writing ---------------------------------------------------------------------------- */

static bool write_number(hid_t at, const char *name, int value)
{
    hsize_t one = 1;
    return dni_hdf5_put(at, name, H5T_NATIVE_INT, 1, &one, &value);
}

static bool write_string(hid_t at, const char *name, const char *text)
{
    hid_t type = H5Tcopy(H5T_C_S1);
    bool ok = type >= 0 && H5Tset_size(type, strlen(text) + 1) >= 0 &&
              dni_hdf5_put(at, name, type, 0, NULL, text);
    H5Tclose(type);
    return ok;
}

static bool write_history(const dn_solver *s, hid_t file)
{
    hid_t group = H5Gcreate2(file, "history", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    bool ok = group >= 0;
    dni_pack_blob history;
    for (size_t i = 0; ok && dni_solver_history(s, i, &history); i++) {
        void *zeros = NULL;
        if (!history.data)
            history.data = zeros = dni_alloc(s->heap, (size_t)dni_shape_count(&history.shape),
                                             dni_dtype_size(history.dtype));
        ok = history.data &&
             dni_hdf5_put_values(group, i, history.dtype, &history.shape, history.data);
        dni_free(zeros);
    }
    ok &= H5Gclose(group) >= 0;
    return ok;
}

dn_status dni_state_write_hdf5(const dn_solver *s, const char *path,
                               const Cnn__SolverState *state)
{
    uint8_t *ours;
    size_t size;
    dn_status st = dni_binary_print(&ours, &size, s->heap, &state->deepnet->base);
    if (st)
        return st;
    hsize_t bytes = size;
    dni_hdf5_use use;
    dni_hdf5_enter(&use);
    hid_t file = dni_hdf5_create(path);
    bool ok = file >= 0 && write_number(file, "iter", state->iter) &&
              write_string(file, "learned_net", state->learned_net) &&
              write_number(file, "current_step", state->current_step) &&
              write_history(s, file) &&
              dni_hdf5_put(file, "deepnet", H5T_NATIVE_UCHAR, 1, &bytes, ours);
    st = dni_hdf5_write(s->heap, file, ok, path);
    dni_hdf5_leave(&use);
    dni_free(ours);
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
    hid_t space = H5Dget_space(set);
    hssize_t n = space < 0 ? -1 : H5Sget_simple_extent_npoints(space);
    void *values = n < 0 ? NULL : dni_hdf5_take(heap, set, type, (uint64_t)n);
    H5Sclose(space);
    H5Dclose(set);
    *count = (size_t)n;
    return values;
}

/* kind: what it should be. */
static dn_status unreadable(const char *path, const char *name, const char *kind)
{
    return dn_last_error() /* a failed allocation has said so already */
               ? DN_E_NOMEM
               : dni_fail(DN_E_PARSE, "%s: '%s' is not %s that can be read", path, name, kind);
}

static bool read_number(const dni_heap *heap, hid_t at, const char *name, int32_t *out)
{
    size_t count;
    int *value = read_set(heap, at, name, H5T_NATIVE_INT, &count);
    bool ok = value && count == 1;
    if (ok)
        *out = *value;
    dni_free(value);
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
        dni_free(text);
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
    hid_t type = H5Dget_type(set), space = H5Dget_space(set);
    if (type >= 0 && space >= 0 && H5Tget_class(type) == H5T_STRING &&
        H5Sget_simple_extent_npoints(space) == 1)
        *out = read_text(heap, set, type, space);
    H5Sclose(space);
    H5Tclose(type);
    H5Dclose(set);
    return *out ? DN_OK : unreadable(path, name, "a string");
}

static void append_number(dni_text *out, uint32_t number, int32_t value)
{
    uint8_t field[20], *end = dni_pack_varint(field, (uint64_t)number << 3);
    end = dni_pack_varint(end, (uint64_t)(int64_t)value);
    dni_text_append(out, (const char *)field, (size_t)(end - field));
}

static dn_status read_history(dni_text *out, hid_t file, const char *path)
{
    H5G_info_t info = {0};
    hid_t group = H5Gopen2(file, "history", H5P_DEFAULT);
    dn_status st = DN_OK;
    if (group < 0 || H5Gget_info(group, &info) < 0)
        st = dni_fail(DN_E_PARSE, "%s: an HDF5 file, but it has no group 'history'", path);
    for (hsize_t i = 0; !st && i < info.nlinks; i++) {
        char name[24];
        size_t count;
        snprintf(name, sizeof name, "%llu", (unsigned long long)i);
        float *values = read_set(out->heap, group, name, H5T_NATIVE_FLOAT, &count);
        if (!values) {
            st = unreadable(path, name, "a history");
            break;
        }
        dni_pack_append(out, DNI_STATE_HISTORY, NULL,
                        dni_pack_field_size(BLOB_DATA, count * sizeof *values));
        dni_pack_append(out, BLOB_DATA, values, count * sizeof *values);
        dni_free(values);
    }
    H5Gclose(group);
    return st;
}

static dn_status read_all(dni_text *out, hid_t file, const char *path)
{
    int32_t number;
    char *learned = NULL;
    size_t size;
    if (!read_number(out->heap, file, "iter", &number))
        return dn_last_error()
                   ? DN_E_NOMEM
                   : dni_fail(DN_E_PARSE, "%s: an HDF5 file, but not the state of a solver",
                              path);
    append_number(out, STATE_ITER, number);
    if (read_number(out->heap, file, "current_step", &number))
        append_number(out, STATE_CURRENT_STEP, number);
    else if (H5Lexists(file, "current_step", H5P_DEFAULT) > 0)
        return unreadable(path, "current_step", "a number");
    dn_status st = read_string(out->heap, file, "learned_net", path, &learned);
    if (learned)
        dni_pack_append(out, STATE_LEARNED_NET, learned, strlen(learned));
    dni_free(learned);
    uint8_t *ours = st ? NULL : read_set(out->heap, file, "deepnet", H5T_NATIVE_UCHAR, &size);
    if (ours) /* else Caffe's own */
        dni_pack_append(out, STATE_DEEPNET, ours, size);
    else if (!st && H5Lexists(file, "deepnet", H5P_DEFAULT) > 0)
        st = unreadable(path, "deepnet", "bytes");
    dni_free(ours);
    return st ? st : read_history(out, file, path);
}

dn_status dni_state_read_hdf5(const dni_view *view, char **out, size_t *size)
{
    dni_text text;
    dni_hdf5_use use;
    dni_text_init(&text, view->heap);
    dni_hdf5_enter(&use);
    hid_t file = dni_hdf5_load(view);
    dn_status st = file < 0 ? dni_fail(DN_E_PARSE, "%s: cut or damaged HDF5", view->path)
                            : read_all(&text, file, view->path);
    H5Fclose(file);
    dni_hdf5_leave(&use);
    *size = text.size;
    if (!st)
        st = dni_text_finish(&text, out);
    dni_text_free(&text);
    return st;
}

#endif
