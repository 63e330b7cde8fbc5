/* SPDX-License-Identifier: BSD-2-Clause
 * snapshot.c: a .caffemodel and a .solverstate that Caffe can read, with what Caffe lacks in
 * a field of our own. Both are written under other names first and renamed when both are
 * whole. */
#define _XOPEN_SOURCE 700 /* access */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "net/hdf5.h"
#include "solver/solver.h"

/* The message, without histories, and everything it points to that is not the solver's own. */
typedef struct state_message {
    Cnn__SolverState state;
    Cnn__DeepnetState ours;
    Cnn__DeepnetState__Cursor *cursors;
    Cnn__DeepnetState__Cursor **cursor_list;
    int64_t *steps; /* of the test nets */
    float *losses;
} state_message;

/* ---- building the message --------------------------------------------------------------- */

static dn_status allocate(state_message *m, const dn_solver *s)
{
    const dni_heap *heap = s->heap;
    size_t layers = 0;
    for (uint32_t n = 0; n <= (uint32_t)s->num_tests; n++)
        layers += dni_solver_net(s, n)->num_layers;
    m->cursors = dni_alloc(heap, layers, sizeof *m->cursors);
    m->cursor_list = dni_alloc(heap, layers, sizeof *m->cursor_list);
    m->steps = dni_alloc(heap, (size_t)s->num_tests, sizeof *m->steps);
    m->losses = dni_alloc(heap, (size_t)s->num_losses, sizeof *m->losses);
    return m->cursors && m->cursor_list && m->steps && m->losses ? DN_OK : DN_E_NOMEM;
}

static void release(state_message *m)
{
    dni_free(m->cursors);
    dni_free(m->cursor_list);
    dni_free(m->steps);
    dni_free(m->losses);
}

bool dni_solver_history(const dn_solver *s, size_t i, dni_pack_blob *out)
{
    size_t params = s->net->num_params;
    if (i >= params * (size_t)s->rule->histories)
        return false;
    const dni_param *param = s->net->params[i % params];
    *out = (dni_pack_blob){.shape = param->blob.shape, .dtype = s->update->dtype};
    for (size_t w = 0; w < s->update->num_weights; w++)
        if (s->update->weights[w].param == param)
            out->data = s->update->weights[w].history[i / params];
    return true;
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
static dn_status build_state(state_message *m, const dn_solver *s, const char *model)
{
    dn_status st = allocate(m, s);
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
    f->draft =
        f->path ? dni_format(heap, "%.*s.new", dni_file_stem(f->path, 251), f->path) : NULL;
    if (!f->draft)
        return DN_E_NOMEM;
    /* known before anything is written: the other file may have a name that fits */
    return access(f->path, F_OK) && errno == ENAMETOOLONG
               ? dni_fail_errno(errno, "write", f->path)
               : DN_OK;
}

static void free_file(snapshot_file *f)
{
    dni_free(f->path);
    dni_free(f->draft);
}

static dn_status write_model(dn_solver *s, const char *path, bool hdf5)
{
    return hdf5 ? dni_hdf5_save(s->net, path)
                : dni_net_save(s->net, path, s->param->snapshot_diff);
}

static dn_status write_binary(const dn_solver *s, const char *path,
                              const Cnn__SolverState *state)
{
    dni_draft draft;
    dni_pack_blob history;
    uint8_t *bytes;
    size_t size;
    dn_status st = dni_binary_print(&bytes, &size, s->heap, &state->base);
    if (st)
        return st;
    dni_draft_begin(&draft, s->heap, path);
    dni_draft_write(&draft, bytes, size);
    dni_free(bytes);
    for (size_t i = 0; dni_solver_history(s, i, &history); i++)
        dni_pack_blob_save(&draft, DNI_STATE_HISTORY, &history);
    return dni_draft_end(&draft, DN_OK);
}

static dn_status write_state(dn_solver *s, const char *path, bool hdf5, const char *model)
{
    state_message m = {0};
    dn_status st = build_state(&m, s, model);
    if (!st)
        st = hdf5 ? dni_state_write_hdf5(s, path, &m.state) : write_binary(s, path, &m.state);
    release(&m);
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
    free_file(&model);
    free_file(&state);
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
    dni_free(base);
    return st;
}

dn_status dn_solver_snapshot(dn_solver *s, const char *path)
{
    dni_clear_error();
    dn_status st = dni_solver_can_run(s);
    return st ? st : dni_solver_snapshot_to(s, path);
}
