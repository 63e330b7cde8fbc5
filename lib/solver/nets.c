/* SPDX-License-Identifier: BSD-2-Clause
 * nets.c: which nets a solver prototxt means. The train net is named by exactly one of four
 * fields. Test nets are those named as such, and then the common net once for every test_iter
 * that is left. */
#include <string.h>

#include "solver/solver.h"

/* Where a net comes from: one of the three is set. */
typedef struct source {
    const Cnn__NetParameter *message;
    const char *path;
    const char *text;
    size_t size;
} source;

/* ---- reading ---------------------------------------------------------------------------- */

static dn_status wrap_message(dni_net_file **out, const dn_solver *s,
                              const Cnn__NetParameter *net)
{
    ProtobufCMessage *copy = NULL;
    dn_status st = dni_message_copy(&copy, s->heap, &net->base);
    if (st)
        return st;
    return dni_net_file_wrap(out, s->heap, (Cnn__NetParameter *)copy, s->file->folder,
                             "the solver's own net");
}

/* Paths of public solvers begin at the root of their repository: the folders above the solver's
 * own are tried too. For checks alone: what a solver trains is never found by searching. */
static dn_status search_above(const dn_solver *s, const char *path, char **resolved)
{
    dn_status st = DN_OK;
    char *folder = s->file->folder ? dni_strdup(s->heap, s->file->folder) : NULL;
    while (folder && !st && !dni_file_exists(*resolved) && strcmp(folder, ".") &&
           strcmp(folder, "/")) {
        char *above = dni_path_folder(s->heap, folder);
        char *there = above ? dni_format(s->heap, "%s/%s", above, path) : NULL;
        dni_free(folder);
        folder = above;
        if (there) {
            dni_free(*resolved);
            *resolved = there;
        } else {
            st = DN_E_NOMEM;
        }
    }
    dni_free(folder);
    if (!st && !dni_file_exists(*resolved))
        st = dni_fail(DN_E_IO,
                      "'%s' is not there: looked in the working directory, in the "
                      "solver's folder and in those above it",
                      path);
    return st;
}

static dn_status read_path(dni_net_file **out, const dn_solver *s, const char *path)
{
    char *resolved = NULL;
    dn_status st = dni_path_resolve(s->heap, s->file->folder, path, false, &resolved);
    if (!st && s->options.wire_only && path[0] != '/')
        st = search_above(s, path, &resolved);
    if (!st)
        st = dni_net_read(out, s->heap, resolved, NULL);
    dni_free(resolved);
    return st;
}

static dn_status read_source(dni_net_file **out, const dn_solver *s, const source *from)
{
    if (from->message)
        return wrap_message(out, s, from->message);
    if (from->path)
        return read_path(out, s, from->path);
    return dni_net_read_text(out, s->heap, from->text, from->size, "net", NULL);
}

/* ---- states ----------------------------------------------------------------------------- */

static void merge_state(dni_net_state *to, const char **stages, const Cnn__NetState *from)
{
    if (!from)
        return;
    if (from->has_phase)
        to->phase = from->phase == CNN__PHASE__TRAIN ? DN_PHASE_TRAIN : DN_PHASE_TEST;
    if (from->has_level)
        to->level = from->level;
    for (size_t i = 0; i < from->n_stage; i++)
        stages[to->num_stages++] = from->stage[i];
    to->stages = stages;
}

/* May the update make large gradients by itself, of which nothing stays? Not if all of them are
 * asked for at once, or more than one backward's. */
static bool may_be_late(const dn_solver *s)
{
    const Cnn__SolverParameter *p = s->param;
    return p->iter_size == 1 && p->clip_gradients < 0 && !p->larc && !p->snapshot_diff &&
           !dni_schedule_moves_momentum(p) && !s->options.all_reduce &&
           s->options.num_ranks <= 1 && !s->context->mirror;
}

/* The phase, then the net's own state, then the solver's, then of the train net what the
 * options give: what is set later counts. */
static dn_status make_net(dn_net **out, const dn_solver *s, const source *from, int32_t phase,
                          const Cnn__NetState *own)
{
    dni_net_file *file = NULL;
    dn_status st = read_source(&file, s, from);
    if (st)
        return st;
    const Cnn__NetState *nets = file->net->state;
    const Cnn__NetState given = {.has_level = s->options.level != 0,
                                 .level = s->options.level,
                                 .n_stage = s->options.num_stages,
                                 .stage = (char **)s->options.stages};
    size_t stages = (nets ? nets->n_stage : 0) + (own ? own->n_stage : 0) + given.n_stage;
    const char **names = dni_alloc(s->heap, stages, sizeof *names);
    st = names ? DN_OK : DN_E_NOMEM;
    if (!st) {
        dni_net_state state = {.phase = phase};
        if (phase == DN_PHASE_TRAIN) {
            state.rank = s->options.rank;
            state.ranks = s->options.num_ranks;
            state.iteration = &s->iteration;
            state.late = may_be_late(s);
        }
        dn_net_options options = {.struct_size = sizeof options,
                                  .wire_only = s->options.wire_only,
                                  .memory = s->options.memory,
                                  .compute = s->options.compute,
                                  .compute_fallback = s->options.compute_fallback};
        uint64_t seed = s->context->seed;
        if (s->options.seed_given)
            seed = s->options.seed;
        else if (s->param->random_seed >= 0)
            seed = (uint64_t)s->param->random_seed;
        merge_state(&state, names, nets);
        merge_state(&state, names, own);
        merge_state(&state, names, phase == DN_PHASE_TRAIN ? &given : NULL);
        st = dni_net_create(out, s->context, file, &state, &options, seed);
    }
    dni_free(names);
    if (st) {
        dni_saved_error saved;
        dni_save_error(&saved);
        dni_net_file_free(file);
        dni_restore_error(&saved);
    }
    return st;
}

/* ---- the train net ---------------------------------------------------------------------- */

static dn_status check_train_names(const dn_solver *s, bool given)
{
    const Cnn__SolverParameter *p = s->param;
    int named = !!p->train_net_param + !!p->train_net + !!p->net_param + !!p->net;
    if (!given && named != 1)
        return dni_fail(DN_E_NET,
                        "the solver names %s; it needs one of net, net_param, "
                        "train_net, train_net_param",
                        named ? "its train net more than once" : "no net");
    return DN_OK;
}

static dn_status make_train_net(dn_solver *s, const source *given)
{
    const Cnn__SolverParameter *p = s->param;
    source from = *given;
    if (!from.text) {
        from.message = p->train_net_param ? p->train_net_param : p->net_param;
        from.path = p->train_net ? p->train_net : p->net;
    }
    dn_status st = make_net(&s->net, s, &from, DN_PHASE_TRAIN, p->train_state);
    if (!st)
        dni_log_notes(s->context, s->net->file->locations);
    return dni_in(st, "train net");
}

/* ---- test nets -------------------------------------------------------------------------- */

static dn_status check_test_counts(const dn_solver *s, size_t named, bool common)
{
    const Cnn__SolverParameter *p = s->param;
    if (common ? p->n_test_iter < named : p->n_test_iter != named)
        return dni_fail(DN_E_NET, "%zu test_iter for %zu test nets; each needs one",
                        p->n_test_iter, named);
    if (p->n_test_state && p->n_test_state != p->n_test_iter)
        return dni_fail(DN_E_NET, "%zu test_state for %zu test nets; give one for each or none",
                        p->n_test_state, p->n_test_iter);
    if (p->n_test_iter && p->test_interval <= 0 && !s->options.manual_tests)
        return dni_fail(DN_E_NET, "there are test nets; test_interval must be positive");
    for (size_t i = 0; i < p->n_test_iter; i++)
        if (p->test_iter[i] < 0) /* 0: the net is made, its tests are empty, as Caffe's */
            return dni_fail(DN_E_NET, "test_iter must not be negative, as %d is",
                            (int)p->test_iter[i]);
    return DN_OK;
}

/* Messages come first, then files, then the common net. */
static source test_source(const Cnn__SolverParameter *p, size_t i, const source *given)
{
    if (given->text)
        return *given;
    if (i < p->n_test_net_param)
        return (source){.message = p->test_net_param[i]};
    i -= p->n_test_net_param;
    if (i < p->n_test_net)
        return (source){.path = p->test_net[i]};
    return (source){.message = p->net_param, .path = p->net};
}

static dn_status make_test_net(dn_solver *s, size_t i, const source *given)
{
    const Cnn__SolverParameter *p = s->param;
    const Cnn__NetState *own = p->n_test_state ? p->test_state[i] : NULL;
    dni_test_net *test = &s->tests[i];
    source from = test_source(p, i, given);
    test->iterations = p->test_iter[i];
    dn_status st = make_net(&test->net, s, &from, DN_PHASE_TEST, own);
    if (!st && !s->options.wire_only)
        st = dn_net_share_weights(test->net, s->net);
    return dni_in(st, "test net %zu", i);
}

dn_net *dni_solver_net(const dn_solver *s, uint32_t index)
{
    if (index == 0)
        return s->net;
    return index <= (uint32_t)s->num_tests ? s->tests[index - 1].net : NULL;
}

dn_status dni_solver_make_nets(dn_solver *s, const char *net_text, size_t net_size)
{
    const Cnn__SolverParameter *p = s->param;
    source given = {.text = net_text, .size = net_size};
    bool common = net_text || p->net || p->net_param;
    size_t named = net_text ? 0 : p->n_test_net + p->n_test_net_param;
    dn_status st = check_train_names(s, net_text != NULL);
    if (!st)
        st = check_test_counts(s, named, common);
    if (st)
        return dni_in_location(st, s->file->locations, s->param);
    st = make_train_net(s, &given);
    if (st || s->options.rank > 0)
        return st;
    s->tests = dni_alloc(s->heap, p->n_test_iter, sizeof *s->tests);
    if (!s->tests)
        return DN_E_NOMEM;
    for (size_t i = 0; !st && i < p->n_test_iter; i++, s->num_tests++)
        st = make_test_net(s, i, &given);
    return st;
}
