/* SPDX-License-Identifier: BSD-2-Clause
 * restore.c: takes up training from a .solverstate. Everything that can fail happens before the
 * first change that cannot be taken back. */
#include <string.h>

#include "net/hdf5.h"
#include "solver/solver.h"

/* ---- checks ----------------------------------------------------------------------------- */

static size_t values_in(const Cnn__BlobProto *blob)
{
    return blob->n_data ? blob->n_data : blob->n_double_data;
}

static dn_status check_history(const dn_solver *s, const Cnn__SolverState *state)
{
    size_t params = s->net->num_params, need = params * (size_t)s->rule->histories;
    if (state->n_history != need)
        return dni_fail(DN_E_DATA,
                        "it holds %zu histories, %s with %zu weights has %zu; was "
                        "it made by another type of solver or for another net?",
                        state->n_history, s->rule->type, params, need);
    for (size_t i = 0; i < need; i++) {
        const dn_blob *blob = &s->net->params[i % params]->blob;
        size_t count = (size_t)blob->store->count;
        if (values_in(state->history[i]) != count)
            return dni_fail(DN_E_DATA, "the history of weight '%s' has %zu values, not %zu",
                            blob->name, values_in(state->history[i]), count);
    }
    return DN_OK;
}

/* A net counts on from there. */
static bool can_count_on(int64_t step)
{
    return step >= 0 && step <= INT64_MAX / 2;
}

static dn_status check_state(const dn_solver *s, const Cnn__SolverState *state)
{
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
    return check_history(s, state);
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
            dni_free(s->heap, path);
            path = beside;
        } else {
            dni_free(s->heap, beside);
            st = beside ? DN_OK : DN_E_NOMEM;
        }
    }
    dni_free(s->heap, folder);
    if (st)
        dni_free(s->heap, path);
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
    dni_free(s->heap, path);
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

static void copy_history(void *to, int32_t dtype, const Cnn__BlobProto *from, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        double value = from->n_data ? from->data[i] : from->double_data[i];
        if (dtype == DN_F64)
            ((double *)to)[i] = value;
        else
            ((float *)to)[i] = (float)value;
    }
}

static size_t index_of(const dn_net *net, const dni_param *param)
{
    size_t i = 0;
    while (net->params[i] != param)
        i++;
    return i;
}

static void take_up(dn_solver *s, const Cnn__SolverState *state)
{
    const Cnn__DeepnetState *ours = state->deepnet;
    size_t params = s->net->num_params;
    for (size_t i = 0; i < s->update->num_weights; i++) {
        dni_updated *w = &s->update->weights[i];
        size_t at = index_of(s->net, w->param);
        for (int32_t k = 0; k < s->rule->histories; k++) {
            copy_history(w->history[k], s->update->dtype,
                         state->history[(size_t)k * params + at], w->param->blob.store->count);
            dni_mirror_wrote(s->net->context, w->history[k]);
        }
    }
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

static dn_status restore(dn_solver *s, const char *path, const Cnn__SolverState *state)
{
    const Cnn__DeepnetState *ours = state->deepnet;
    size_t seeked = 0;
    dn_status st = check_state(s, state);
    if (st)
        return dni_in(st, "%s", path);
    int64_t *positions = dni_alloc(s->heap, ours ? ours->n_cursor : 0, sizeof *positions);
    if (!positions)
        return DN_E_NOMEM;
    st = seek_sources(s, ours, positions, &seeked);
    if (!st)
        st = load_weights(s, path, state->learned_net);
    if (st)
        seek_back(s, ours, positions, seeked);
    else
        take_up(s, state);
    dni_free(s->heap, positions);
    return st;
}

/* HDF5 is told by its first bytes, whatever the name. */
static dn_status read_state(const dni_heap *heap, const char *path, Cnn__SolverState **out)
{
    char *bytes = NULL;
    size_t size = 0;
    ProtobufCMessage *message = NULL;
    dn_status st = dni_file_read(heap, path, &bytes, &size);
    if (st)
        return st;
    if (dni_is_hdf5(bytes, size)) {
        st = dni_state_read_hdf5(heap, path, out);
    } else {
        st =
            dni_binary_parse(&message, heap, &cnn__solver_state__descriptor, bytes, size, path);
        if (!st)
            *out = (Cnn__SolverState *)message;
    }
    dni_free(heap, bytes);
    return st;
}

dn_status dn_solver_restore(dn_solver *s, const char *path)
{
    Cnn__SolverState *state = NULL;
    dni_clear_error();
    if (!s || !path)
        return dni_fail(DN_E_INVALID, "dn_solver_restore: an argument is NULL");
    dn_status st = dni_solver_check_alone(s);
    if (!st)
        st = dni_solver_can_run(s);
    if (!st)
        st = read_state(s->heap, path, &state);
    if (st)
        return st;
    st = restore(s, path, state);
    dni_message_free(s->heap, state);
    return st;
}
