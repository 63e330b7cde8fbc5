/* SPDX-License-Identifier: BSD-2-Clause
 * restore.c: takes up training from a .solverstate. Everything that can fail happens before the
 * first change that cannot be taken back, but for the reading of values that could be read a
 * moment ago. */
#include <string.h>

#include "net/hdf5.h"
#include "proto/wire.h"
#include "solver/solver.h"

/* A .solverstate: histories stay in the file, or in the bytes that HDF5 has become. */
typedef struct saved_state {
    const dni_heap *heap;
    dni_view view;
    char *packed;
    Cnn__SolverState *message; /* without histories */
    dni_weights_blob *history;
    size_t num_history, capacity;
} saved_state;

/* ---- checks ----------------------------------------------------------------------------- */

static dn_status check_history(const dn_solver *s, const saved_state *state)
{
    size_t params = s->net->num_params, need = params * (size_t)s->rule->histories;
    if (state->num_history != need)
        return dni_fail(DN_E_DATA,
                        "it holds %zu histories, %s with %zu weights has %zu; was "
                        "it made by another type of solver or for another net?",
                        state->num_history, s->rule->type, params, need);
    for (size_t i = 0; i < need; i++) {
        const dn_blob *blob = &s->net->params[i % params]->blob;
        if (state->history[i].count != blob->store->count)
            return dni_fail(DN_E_DATA, "the history of weight '%s' has %lld values, not %lld",
                            blob->name, (long long)state->history[i].count,
                            (long long)blob->store->count);
    }
    return DN_OK;
}

/* A net counts on from there. */
static bool can_count_on(int64_t step)
{
    return step >= 0 && step <= INT64_MAX / 2;
}

static dn_status check_state(const dn_solver *s, const saved_state *saved)
{
    const Cnn__SolverState *state = saved->message;
    if (state->iter < 0 || state->current_step < 0)
        return dni_fail(DN_E_DATA, "iteration %d, step %d", (int)state->iter,
                        (int)state->current_step);
    const Cnn__DeepnetState *ours = state->deepnet;
    bool can = !ours || can_count_on(ours->random_step);
    for (size_t i = 0; can && ours && i < ours->n_test_random_step; i++)
        can = can_count_on(ours->test_random_step[i]);
    if (!can)
        return dni_fail(DN_E_DATA, "an impossible random_step");
    if (ours && (ours->since < 0 || ours->since > state->iter))
        return dni_fail(DN_E_DATA, "the least loss is of iteration %lld of %d",
                        (long long)ours->since, (int)state->iter);
    return check_history(s, saved);
}

/* ---- the weights ------------------------------------------------------------------------ */

/* learned_net as written; else beside the state; else a file of that name beside the state. */
static dn_status find_weights(const dn_solver *s, const char *state_path, const char *learned,
                              char **out)
{
    char *folder = dni_path_folder(s->heap, state_path), *path = NULL;
    dn_status st =
        folder ? dni_path_resolve(s->heap, folder, learned, false, &path) : DN_E_NOMEM;
    const char *slash = strrchr(learned, '/');
    if (!st && !dni_file_exists(path)) {
        char *beside = dni_format(s->heap, "%s/%s", folder, slash ? slash + 1 : learned);
        if (beside && dni_file_exists(beside)) {
            dni_free(path);
            path = beside;
        } else {
            dni_free(beside);
            st = beside ? DN_OK : DN_E_NOMEM;
        }
    }
    dni_free(folder);
    if (st)
        dni_free(path);
    else
        *out = path;
    return st;
}

static dn_status load_weights(dn_solver *s, const char *state_path, const char *learned)
{
    char *path = NULL;
    if (!learned || !*learned)
        return DN_OK;
    dn_status st = find_weights(s, state_path, learned, &path);
    if (!st)
        st = dn_net_load_weights(s->net, path, DN_WEIGHTS_STRICT, NULL);
    dni_free(path);
    return st;
}

/* ---- data cursors ----------------------------------------------------------------------- */

static dni_layer *source_of(const dn_solver *s, const Cnn__DeepnetState__Cursor *c)
{
    const dn_net *net = dni_solver_net(s, c->net);
    for (size_t i = 0; net && c->layer && i < net->num_layers; i++) {
        dni_layer *layer = &net->layers[i].layer;
        if (layer->cursor && !strcmp(layer->name, c->layer))
            return layer;
    }
    return NULL;
}

/* positions: where the layers were, per cursor; -1: no such layer any more. */
static dn_status seek_sources(dn_solver *s, const Cnn__DeepnetState *ours, int64_t *positions,
                              size_t *done)
{
    for (*done = 0; ours && *done < ours->n_cursor; ++*done) {
        const Cnn__DeepnetState__Cursor *c = ours->cursor[*done];
        dni_layer *layer = source_of(s, c);
        positions[*done] = layer ? layer->cursor->tell(layer) : -1;
        if (!layer)
            continue;
        if (c->records > INT64_MAX / 2) /* it counts on from there */
            return dni_fail(DN_E_DATA, "layer '%s': an impossible position", c->layer);
        dn_status st = layer->cursor->seek(layer, (int64_t)c->records);
        if (st)
            return dni_in(st, "layer '%s'", c->layer);
    }
    return DN_OK;
}

static void seek_back(dn_solver *s, const Cnn__DeepnetState *ours, const int64_t *positions,
                      size_t count)
{
    dni_saved_error saved;
    dni_save_error(&saved);
    for (size_t i = 0; i < count; i++) {
        dni_layer *layer = source_of(s, ours->cursor[i]);
        if (layer && positions[i] >= 0)
            (void)!layer->cursor->seek(layer, positions[i]);
    }
    dni_restore_error(&saved);
}

/* ---- taking it up ----------------------------------------------------------------------- */

static dn_status copy_histories(dn_solver *s, const saved_state *state)
{
    dni_pack_blob history;
    dn_status st = DN_OK;
    for (size_t i = 0; !st && dni_solver_history(s, i, &history); i++)
        if (history.data) {
            st = dni_weights_values(&state->history[i], history.dtype, (void *)history.data,
                                    state->history[i].count);
            dni_mirror_wrote(s->net->context, history.data);
        }
    return st;
}

static void take_up(dn_solver *s, const Cnn__SolverState *state)
{
    const Cnn__DeepnetState *ours = state->deepnet;
    s->iteration = state->iter;
    s->step = state->current_step;
    s->plateau = (dni_plateau){DNI_LOSS_MOST, 0};
    if (ours && ours->has_least_loss)
        s->plateau = (dni_plateau){ours->least_loss, ours->since};
    s->net->step = s->iteration * s->param->iter_size;
    if (ours && ours->has_random_step)
        s->net->step = ours->random_step;
    if (ours && ours->has_seed)
        s->net->seed = ours->seed;
    for (size_t i = 0; ours && i < ours->n_test_random_step && i < (size_t)s->num_tests; i++)
        s->tests[i].net->step = ours->test_random_step[i];
    s->num_losses = s->next_loss = s->unread = s->num_kept = 0;
    s->pass_loss = s->num_passes = 0;
    s->late = DN_OK;
    size_t keep = (size_t)s->param->average_loss, first = 0;
    if (ours && ours->n_losses > keep)
        first = ours->n_losses - keep;
    for (size_t i = first; ours && i < ours->n_losses; i++)
        s->losses[s->num_losses++] = ours->losses[i];
    s->next_loss = s->num_losses % s->param->average_loss;
}

static dn_status restore(dn_solver *s, const char *path, const saved_state *state)
{
    size_t seeked = 0;
    dn_status st = check_state(s, state);
    if (st)
        return dni_in(st, "%s", path);
    const Cnn__DeepnetState *ours = state->message->deepnet;
    int64_t *positions = dni_alloc(s->heap, ours ? ours->n_cursor : 0, sizeof *positions);
    if (!positions)
        return DN_E_NOMEM;
    st = seek_sources(s, ours, positions, &seeked);
    if (!st)
        st = load_weights(s, path, state->message->learned_net);
    if (!st)
        st = copy_histories(s, state);
    if (st)
        seek_back(s, ours, positions, seeked);
    else
        take_up(s, state->message);
    dni_free(positions);
    return st;
}

/* ---- reading ---------------------------------------------------------------------------- */

static dn_status add_history(saved_state *state, const dni_wire_field *field, dni_view *view,
                             const char *path)
{
    dn_status st = dni_grow(state->heap, &state->history, &state->capacity,
                            state->num_history + 1, sizeof *state->history);
    return st ? st
              : dni_weights_blob_read(&state->history[state->num_history++], field->data,
                                      field->size, view, path);
}

/* Everything but histories is parsed as ever. */
static dn_status read_binary(saved_state *state, const void *bytes, size_t size, dni_view *view,
                             const char *path)
{
    dni_wire wire = {bytes, (const uint8_t *)bytes + size, view};
    dni_wire_field field;
    dni_text rest;
    ProtobufCMessage *message = NULL;
    const uint8_t *begin = wire.at;
    dn_status st = DN_OK;
    int more = 1;
    dni_text_init(&rest, state->heap);
    for (; !st && (more = dni_wire_next(&wire, &field)) > 0; begin = wire.at) {
        if (field.number == DNI_STATE_HISTORY && field.type == 2)
            st = add_history(state, &field, view, path);
        else if (!dni_view_need(view, begin, (size_t)(wire.at - begin)))
            st = view->status;
        else
            dni_text_append(&rest, (const char *)begin, (size_t)(wire.at - begin));
    }
    if (more < 0) /* so that the rest is not whole either */
        dni_text_append(&rest, "\xff", 1);
    if (!st && !dni_view_check(view))
        st = view->status;
    if (!st)
        st = rest.failed
                 ? DN_E_NOMEM
                 : dni_binary_parse(&message, state->heap, &cnn__solver_state__descriptor,
                                    rest.data, rest.size, path);
    state->message = (Cnn__SolverState *)message;
    dni_text_free(&rest);
    return st;
}

/* HDF5 is told by its first bytes, whatever the name. */
static dn_status read_state(saved_state *state, const char *path)
{
    dni_view *view = &state->view;
    dn_status st = dni_view_open(view, state->heap, path);
    if (st || !dni_is_hdf5(view->data, view->size))
        return st ? st : read_binary(state, view->data, view->size, view, path);
    size_t size = 0;
    st = dni_state_read_hdf5(view, &state->packed, &size);
    return st ? st : read_binary(state, state->packed, size, NULL, path);
}

dn_status dn_solver_restore(dn_solver *s, const char *path)
{
    dni_clear_error();
    if (!s || !path)
        return dni_fail_null(__func__);
    dn_status st = dni_solver_check_alone(s);
    if (!st)
        st = dni_solver_can_run(s);
    if (st)
        return st;
    saved_state state = {.heap = s->heap};
    st = read_state(&state, path);
    if (!st)
        st = restore(s, path, &state);
    dni_view_close(&state.view);
    dni_message_free(state.message);
    dni_free(state.history);
    dni_free(state.packed);
    return st;
}
