/* SPDX-License-Identifier: BSD-2-Clause
 * snapshot.c: a .caffemodel and a .solverstate that Caffe can read, with what Caffe lacks in
 * a field of our own. Both are written under other names first and renamed when both are
 * whole. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "net/hdf5.h"
#include "net/pack.h"
#include "solver/solver.h"

enum { STATE_HISTORY = 3 };

/* The message with everything it points to that is not the solver's own. */
typedef struct state_message {
    Cnn__SolverState state;
    Cnn__DeepnetState ours;
    Cnn__BlobProto *blobs; /* histories x params: the first history of all, then the second */
    Cnn__BlobProto **blob_list;
    Cnn__BlobShape *shapes; /* per param */
    Cnn__DeepnetState__Cursor *cursors;
    Cnn__DeepnetState__Cursor **cursor_list;
    int64_t *steps; /* of the test nets */
    float *losses;
    void *zeros; /* for HDF5, history of params that are not trained */
} state_message;

/* ---- building the message --------------------------------------------------------------- */

static dn_status allocate(state_message *m, const dn_solver *s, bool hdf5)
{
    const dni_heap *heap = s->heap;
    size_t params = s->net->num_params, blobs = params * (size_t)s->rule->histories;
    int64_t largest = 0;
    for (size_t i = 0; hdf5 && i < params; i++)
        if (s->net->params[i]->blob.store->count > largest)
            largest = s->net->params[i]->blob.store->count;
    m->blobs = dni_alloc(heap, blobs, sizeof *m->blobs);
    m->blob_list = dni_alloc(heap, blobs, sizeof *m->blob_list);
    m->shapes = dni_alloc(heap, params, sizeof *m->shapes);
    size_t layers = 0;
    for (uint32_t n = 0; n <= (uint32_t)s->num_tests; n++)
        layers += dni_solver_net(s, n)->num_layers;
    m->cursors = dni_alloc(heap, layers, sizeof *m->cursors);
    m->cursor_list = dni_alloc(heap, layers, sizeof *m->cursor_list);
    m->steps = dni_alloc(heap, (size_t)s->num_tests, sizeof *m->steps);
    m->losses = dni_alloc(heap, (size_t)s->num_losses, sizeof *m->losses);
    m->zeros = dni_alloc(heap, (size_t)largest, sizeof(double));
    return m->blobs && m->blob_list && m->shapes && m->cursors && m->cursor_list && m->steps &&
                   m->losses && m->zeros
               ? DN_OK
               : DN_E_NOMEM;
}

static void release(state_message *m, const dni_heap *heap)
{
    dni_free(heap, m->blobs);
    dni_free(heap, m->blob_list);
    dni_free(heap, m->shapes);
    dni_free(heap, m->cursors);
    dni_free(heap, m->cursor_list);
    dni_free(heap, m->steps);
    dni_free(heap, m->losses);
    dni_free(heap, m->zeros);
}

/* Caffe keeps a history for every param; those that are not trained have zeros. */
static void *history_of(const dn_solver *s, const dni_param *param, int32_t k, void *zeros)
{
    for (size_t i = 0; i < s->update->num_weights; i++)
        if (s->update->weights[i].param == param)
            return s->update->weights[i].history[k];
    return zeros;
}

static void add_history(state_message *m, const dn_solver *s, size_t i, int32_t k)
{
    dni_param *param = s->net->params[i];
    size_t at = (size_t)k * s->net->num_params + i;
    size_t count = (size_t)param->blob.store->count;
    void *values = history_of(s, param, k, m->zeros);
    Cnn__BlobProto *blob = &m->blobs[at];
    *blob = (Cnn__BlobProto)CNN__BLOB_PROTO__INIT;
    m->shapes[i] = (Cnn__BlobShape)CNN__BLOB_SHAPE__INIT;
    m->shapes[i].n_dim = (size_t)param->blob.shape.axes;
    m->shapes[i].dim = param->blob.shape.dim;
    blob->shape = &m->shapes[i];
    if (s->update->dtype == DN_F64) {
        blob->n_double_data = count;
        blob->double_data = values;
    } else {
        blob->n_data = count;
        blob->data = values;
    }
    m->blob_list[at] = blob;
}

static void add_cursors(state_message *m, const dn_net *net, uint32_t index)
{
    for (size_t i = 0; i < net->num_layers; i++) {
        dni_layer *layer = &net->layers[i].layer;
        if (!layer->cursor)
            continue;
        Cnn__DeepnetState__Cursor *c = &m->cursors[m->ours.n_cursor];
        *c = (Cnn__DeepnetState__Cursor)CNN__DEEPNET_STATE__CURSOR__INIT;
        c->layer = (char *)layer->name;
        c->has_records = 1;
        c->records = (uint64_t)layer->cursor->tell(layer);
        c->has_net = index > 0;
        c->net = index;
        m->cursor_list[m->ours.n_cursor++] = c;
    }
    m->ours.cursor = m->cursor_list;
}

static void fill_ours(state_message *m, const dn_solver *s)
{
    m->ours = (Cnn__DeepnetState)CNN__DEEPNET_STATE__INIT;
    m->ours.has_seed = 1;
    m->ours.seed = s->net->seed;
    m->ours.has_random_step = 1;
    m->ours.random_step = s->net->step;
    m->ours.n_losses = (size_t)s->num_losses;
    m->ours.losses = m->losses;
    for (int64_t i = 0; i < s->num_losses; i++)
        m->losses[i] = s->losses[(s->next_loss - s->num_losses + i + s->param->average_loss) %
                                 s->param->average_loss];
    m->ours.has_least_loss = m->ours.has_since = s->plateau.least < DNI_LOSS_MOST;
    m->ours.least_loss = s->plateau.least;
    m->ours.since = s->plateau.since;
    m->ours.n_test_random_step = (size_t)s->num_tests;
    m->ours.test_random_step = m->steps;
    for (int32_t i = 0; i < s->num_tests; i++)
        m->steps[i] = s->tests[i].net->step;
    for (uint32_t n = 0; n <= (uint32_t)s->num_tests; n++)
        add_cursors(m, dni_solver_net(s, n), n);
    m->state.deepnet = &m->ours;
}

static dn_status fetch_histories(const dn_solver *s)
{
    dn_status st = DN_OK;
    for (size_t i = 0; !st && i < s->update->num_weights; i++)
        for (int32_t k = 0; !st && k < s->rule->histories; k++)
            st = dni_mirror_fetch(s->net->context, s->update->weights[i].history[k]);
    return st;
}

/* model: the path the weights will have. release() also after a failure. */
static dn_status build_state(state_message *m, const dn_solver *s, bool hdf5,
                             const char *model)
{
    dn_status st = allocate(m, s, hdf5);
    if (!st)
        st = fetch_histories(s);
    if (!st && s->iteration > INT32_MAX)
        st = dni_fail(DN_E_LIMIT, "iteration %lld does not fit a .solverstate",
                      (long long)s->iteration);
    if (st)
        return st;
    m->state = (Cnn__SolverState)CNN__SOLVER_STATE__INIT;
    m->state.has_iter = m->state.has_current_step = 1;
    m->state.iter = (int32_t)s->iteration;
    m->state.current_step = s->step;
    m->state.learned_net = (char *)model;
    for (int32_t k = 0; k < s->rule->histories; k++)
        for (size_t i = 0; i < s->net->num_params; i++)
            add_history(m, s, i, k);
    m->state.history = m->blob_list;
    m->state.n_history = (size_t)s->rule->histories * s->net->num_params;
    fill_ours(m, s);
    return DN_OK;
}

/* ---- writing ---------------------------------------------------------------------------- */

typedef struct snapshot_file {
    char *path, *draft; /* the name it will have, and has until it is whole */
} snapshot_file;

static dn_status name_file(snapshot_file *f, const dni_heap *heap, const char *base,
                           const char *extension, bool hdf5)
{
    f->path = dni_format(heap, "%s%s%s", base, extension, hdf5 ? ".h5" : "");
    f->draft = f->path ? dni_format(heap, "%s.new", f->path) : NULL;
    return f->draft ? DN_OK : DN_E_NOMEM;
}

static void free_file(snapshot_file *f, const dni_heap *heap)
{
    dni_free(heap, f->path);
    dni_free(heap, f->draft);
}

static dn_status write_model(dn_solver *s, const char *path, bool hdf5)
{
    return hdf5 ? dni_hdf5_save(s->net, path)
                : dni_net_save(s->net, path, s->param->snapshot_diff);
}

/* Histories straight from where they are. */
static dn_status write_binary(const dn_solver *s, const char *path, state_message *m)
{
    dni_draft draft;
    uint8_t *bytes;
    size_t size, params = s->net->num_params, histories = m->state.n_history;
    m->state.n_history = 0;
    dn_status st = dni_binary_print(&bytes, &size, s->heap, &m->state.base);
    if (st)
        return st;
    dni_draft_begin(&draft, s->heap, path);
    dni_draft_write(&draft, bytes, size);
    dni_free(s->heap, bytes);
    for (size_t i = 0; i < histories; i++) {
        const Cnn__BlobProto *from = m->blob_list[i];
        dni_pack_blob blob = {s->net->params[i % params]->blob.shape, s->update->dtype,
                              from->data ? (const void *)from->data : from->double_data, NULL};
        dni_pack_blob_save(&draft, STATE_HISTORY, &blob);
    }
    return dni_draft_end(&draft, DN_OK);
}

static dn_status write_state(dn_solver *s, const char *path, bool hdf5, const char *model)
{
    state_message m = {0};
    dn_status st = build_state(&m, s, hdf5, model);
    if (!st)
        st = hdf5 ? dni_state_write_hdf5(s->heap, path, &m.state) : write_binary(s, path, &m);
    release(&m, s->heap);
    return st;
}

static dn_status publish(const snapshot_file *f)
{
    char why[128];
    if (rename(f->draft, f->path))
        return dni_fail(DN_E_IO, "cannot rename '%s' to '%s': %s", f->draft, f->path,
                        dni_errno_text(errno, why, sizeof why));
    return DN_OK;
}

static dn_status write_both(dn_solver *s, const snapshot_file *model,
                            const snapshot_file *state, bool hdf5)
{
    dn_status st = write_model(s, model->draft, hdf5);
    if (!st)
        st = write_state(s, state->draft, hdf5, model->path);
    if (!st)
        st = publish(model);
    if (!st)
        st = publish(state);
    if (st) {
        remove(model->draft);
        remove(state->draft);
    }
    return st;
}

static dn_status snapshot(dn_solver *s, const char *base)
{
    snapshot_file model = {0}, state = {0};
    bool hdf5 = s->param->snapshot_format == CNN__SOLVER_PARAMETER__SNAPSHOT_FORMAT__HDF5;
    dn_status st = name_file(&model, s->heap, base, ".caffemodel", hdf5);
    if (!st)
        st = name_file(&state, s->heap, base, ".solverstate", hdf5);
    if (!st)
        st = dni_in(write_both(s, &model, &state, hdf5), "snapshot");
    if (!st)
        st = dni_solver_emit(s, DN_EVENT_SNAPSHOT, 0, dn_solver_loss(s), state.path);
    free_file(&model, s->heap);
    free_file(&state, s->heap);
    return st;
}

dn_status dni_solver_snapshot_to(dn_solver *s, const char *path)
{
    dn_status st = dni_solver_read_loss(s);
    if (st || path)
        return st ? st : snapshot(s, path);
    if (!s->prefix)
        return dni_fail(DN_E_INVALID, "the solver has no snapshot_prefix; give a path");
    char *base = dni_format(s->heap, "%s_iter_%lld", s->prefix, (long long)s->iteration);
    st = base ? snapshot(s, base) : DN_E_NOMEM;
    dni_free(s->heap, base);
    return st;
}

dn_status dn_solver_snapshot(dn_solver *s, const char *path)
{
    dni_clear_error();
    dn_status st = dni_solver_can_run(s);
    return st ? st : dni_solver_snapshot_to(s, path);
}
