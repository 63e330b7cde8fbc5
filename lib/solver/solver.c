/* SPDX-License-Identifier: BSD-2-Clause
 * solver.c: making and freeing a solver. All that can be wrong with a prototxt is found
 * here, not after hours of training. */
#include "solver/solver.h"

#include <string.h>

static dn_status take_options(dn_solver_options *to, const dn_solver_options *from)
{
    static const char type[] = "dn_solver_options";
    dn_status st = dni_take_options(to, from, sizeof *to, type);
    if (st)
        return st;
    if (to->reserved)
        return dni_fail_option(type);
    if (to->rank < 0 || to->num_ranks < 0 || to->rank >= (to->num_ranks ? to->num_ranks : 1))
        return dni_fail(DN_E_INVALID, "rank %d of num_ranks %d", to->rank, to->num_ranks);
    if (to->rank > 0)
        to->manual_tests = to->manual_snapshots = 1;
    if (to->num_stages && !to->stages)
        return dni_fail(DN_E_INVALID, "stages is NULL, num_stages is not 0");
    if (to->max_iter < 0)
        return dni_fail(DN_E_INVALID, "max_iter %lld is negative", (long long)to->max_iter);
    return DN_OK;
}

enum { MOST_LOSSES = 1000000 }; /* that average_loss may want: all have memory at once */

static dn_status check_numbers(const dn_solver *s)
{
    const Cnn__SolverParameter *p = s->param;
    const struct {
        const char *field;
        int64_t value, least;
    } fields[] = {{"average_loss", p->average_loss, 1}, {"iter_size", p->iter_size, 1},
                  {"max_iter", p->max_iter, 0},         {"display", p->display, 0},
                  {"snapshot", p->snapshot, 0},         {"test_interval", p->test_interval, 0}};
    for (size_t i = 0; i < DNI_COUNT(fields); i++)
        if (fields[i].value < fields[i].least)
            return dni_fail(DN_E_NET, "%s is %lld; it must be at least %lld", fields[i].field,
                            (long long)fields[i].value, (long long)fields[i].least);
    if (p->average_loss > MOST_LOSSES)
        return dni_fail(DN_E_LIMIT, "average_loss is %d; it may be %d at the most",
                        (int)p->average_loss, MOST_LOSSES);
    const char *kind = p->regularization_type;
    if (kind && strcmp(kind, "L1") && strcmp(kind, "L2"))
        return dni_fail(DN_E_NET, "unknown regularization_type '%s'; there are L1 and L2",
                        kind);
    if (p->larc && strcmp(p->larc_policy, "scale") && strcmp(p->larc_policy, "clip"))
        return dni_fail(DN_E_NET, "unknown larc_policy '%s'; there are scale and clip",
                        p->larc_policy);
    return DN_OK;
}

/* ---- the snapshot prefix ---------------------------------------------------------------- */

/* A prototxt's path without its extension; with `name` only what comes after the last '/'. */
static char *stem(const dni_heap *heap, const char *path, bool name)
{
    const char *slash = strrchr(path, '/'), *begin = name && slash ? slash + 1 : path;
    const char *dot = strrchr(slash ? slash : path, '.');
    return dni_strndup(heap, begin, dot && dot > begin ? (size_t)(dot - begin) : strlen(begin));
}

static bool is_folder(const dni_heap *heap, const char *path)
{
    char *inside = dni_format(heap, "%s/.", path);
    bool found = inside && dni_file_exists(inside);
    dni_free(inside);
    return found;
}

/* As Caffe: no prefix means the prototxt's own path, a folder a file named after it there. */
static dn_status find_prefix(dn_solver *s, const char *path)
{
    const char *given = s->param->snapshot_prefix;
    const dni_heap *heap = s->heap;
    if (!given || !*given) {
        s->prefix = path ? stem(heap, path, false) : NULL;
        return path && !s->prefix ? DN_E_NOMEM : DN_OK;
    }
    dn_status st = dni_path_resolve(heap, s->file->folder, given, true, &s->prefix);
    if (st || !is_folder(heap, s->prefix))
        return st;
    char *name = path ? stem(heap, path, true) : dni_strdup(heap, "solver");
    bool slash = s->prefix[strlen(s->prefix) - 1] == '/';
    char *inside = name ? dni_format(heap, "%s%s%s", s->prefix, slash ? "" : "/", name) : NULL;
    dni_free(name);
    dni_free(s->prefix);
    s->prefix = inside;
    return inside ? DN_OK : DN_E_NOMEM;
}

static dn_status check_prefix(const dn_solver *s)
{
    if (!s->param->snapshot || s->options.manual_snapshots)
        return DN_OK;
    if (!s->prefix)
        return dni_fail(DN_E_NET, "snapshots every %d iterations need a snapshot_prefix",
                        (int)s->param->snapshot);
    return dni_solver_check_folder(s);
}

dn_status dni_solver_check_folder(const dn_solver *s)
{
    char *folder = dni_path_folder(s->heap, s->prefix);
    if (!folder)
        return DN_E_NOMEM;
    dn_status st = DN_OK;
    if (!is_folder(s->heap, folder))
        st = dni_fail(DN_E_IO, "snapshot_prefix '%s': there is no folder '%s'", s->prefix,
                      folder);
    dni_free(folder);
    return st;
}

/* ---- create ----------------------------------------------------------------------------- */

/* `weights`: files, also several in one string with commas between. */
static dn_status load_weights(dn_solver *s)
{
    for (size_t i = 0; i < s->param->n_weights; i++) {
        const char *at = s->param->weights[i];
        while (*at) {
            size_t length = strcspn(at, ",");
            char *name = dni_strndup(s->heap, at, length), *path = NULL;
            dn_status st = name ? DN_OK : DN_E_NOMEM;
            if (!st)
                st = dni_path_resolve(s->heap, s->file->folder, name, false, &path);
            if (!st)
                st = dn_net_load_weights(s->net, path, DN_WEIGHTS_STRICT, NULL);
            dni_free(name);
            dni_free(path);
            if (st)
                return st;
            at += length + (at[length] == ',');
        }
    }
    return DN_OK;
}

int32_t dn_solver_device(const dn_solver *s)
{
    const Cnn__SolverParameter *p = s ? s->param : NULL;
    if (!p || !p->has_solver_mode || p->solver_mode != CNN__SOLVER_PARAMETER__SOLVER_MODE__GPU)
        return 0;
    return p->device_id >= 0 && p->device_id < INT32_MAX ? p->device_id + 1 : 1;
}

static void note_mode(const dn_solver *s)
{
    if (dn_solver_device(s) && !s->context->has_device)
        dni_log(s->context, DN_LOG_NOTICE,
                "solver_mode GPU: the context has no device, the CPU computes");
}

static dn_status build(dn_solver *s, const char *path, const char *net_text, size_t net_size)
{
    const void *where = s->param; /* what a message is about */
    dn_status st = check_numbers(s);
    if (!st)
        st = dni_fields_judge(&s->param->base, s->heap, s->file->locations,
                              s->options.wire_only);
    if (!st && (st = dni_rule_find(&s->rule, s->param)))
        where = s->param->type;
    if (!st && (st = dni_schedule_check(s->param, s->max_iter)))
        where = s->param->lr_policy;
    if (!st && (s->options.num_ranks > 1 || s->options.all_reduce) &&
        dni_schedule_reads_loss(s->param))
        st = dni_fail(DN_E_UNSUPPORTED, "lr_policy 'plateau' goes by the loss of one solver; "
                                        "ranks would part");
    if (!st && !s->options.wire_only)
        st = find_prefix(s, path);
    if (!st && !s->options.wire_only)
        st = check_prefix(s);
    if (st)
        return dni_in_location(st, s->file->locations, where);
    dni_log_notes(s->context, s->file->locations);
    s->losses = dni_alloc(s->heap, (size_t)s->param->average_loss, sizeof *s->losses);
    if (!s->losses)
        return DN_E_NOMEM;
    if (s->options.wire_only)
        return dni_solver_make_nets(s, net_text, net_size);
    note_mode(s);
    st = dni_solver_make_nets(s, net_text, net_size);
    if (!st)
        st = load_weights(s);
    return st ? st : dni_update_create(&s->update, s->net, s->rule, s->param);
}

/* Takes the file over, also on failure. */
static dn_status create(dn_solver **out, dn_context *context, dni_solver_file *file,
                        const char *path, const char *net_text, size_t net_size,
                        const dn_solver_options *options)
{
    dn_solver *s = dni_alloc(&context->heap, 1, sizeof *s);
    if (!s) {
        dni_solver_file_free(file);
        return DN_E_NOMEM;
    }
    dni_context_hold(context);
    s->context = context;
    s->heap = &context->heap;
    s->file = file;
    s->param = file->solver;
    s->options = *options;
    s->plateau.least = DNI_LOSS_MOST;
    s->max_iter = options->max_iter ? options->max_iter : s->param->max_iter;
    atomic_init(&s->cancel, false);
    dn_status st = build(s, path, net_text, net_size);
    if (st) {
        dni_saved_error saved;
        dni_save_error(&saved);
        dn_solver_free(s);
        dni_restore_error(&saved);
        return st;
    }
    dni_clear_error();
    *out = s;
    return DN_OK;
}

dn_status dn_solver_create_from_prototxt(dn_solver **out, dn_context *context, const char *path,
                                         const dn_solver_options *options)
{
    dn_solver_options o;
    dni_solver_file *file = NULL;
    dni_clear_error();
    if (!out || !context || !path)
        return dni_fail_null(__func__);
    dn_status st = take_options(&o, options);
    if (!st)
        st = dni_solver_read(&file, &context->heap, path);
    return st ? st : create(out, context, file, path, NULL, 0, &o);
}

dn_status dn_solver_create_from_text(dn_solver **out, dn_context *context, const char *text,
                                     size_t size, const char *net_text, size_t net_size,
                                     const dn_solver_options *options)
{
    dn_solver_options o;
    dni_solver_file *file = NULL;
    dni_clear_error();
    if (!out || !context || !text)
        return dni_fail_null(__func__);
    dn_status st = take_options(&o, options);
    if (!st)
        st = dni_solver_read_text(&file, &context->heap, text, size, "solver");
    return st ? st : create(out, context, file, NULL, net_text, net_size, &o);
}

void dn_solver_free(dn_solver *s)
{
    if (!s)
        return;
    dn_context *context = s->context;
    dni_join_free(&s->join);
    dni_update_free(s->update);
    for (int32_t i = 0; s->tests && i < s->num_tests; i++) {
        dn_net_free(s->tests[i].net);
        dni_free(s->tests[i].outputs);
    }
    dni_free(s->tests);
    dn_net_free(s->net);
    dni_free(s->losses);
    dni_free(s->prefix);
    dni_solver_file_free(s->file);
    dni_free(s);
    dn_context_free(context);
}

/* ---- looking ---------------------------------------------------------------------------- */

dn_net *dn_solver_net(dn_solver *s)
{
    return s ? s->net : NULL;
}

dn_status dn_solver_describe(dn_solver *s, uint32_t what, char **out)
{
    dni_clear_error();
    if (!s || !out)
        return dni_fail_null(__func__);
    return dni_net_describe(s->net, what, s->update ? s->update->plan : NULL, out);
}

int64_t dn_solver_iteration(const dn_solver *s)
{
    return s ? s->iteration : 0;
}

int64_t dn_solver_max_iteration(const dn_solver *s)
{
    return s ? s->max_iter : 0;
}

const char *dn_solver_type(const dn_solver *s)
{
    return s ? s->rule->type : NULL;
}

int64_t dn_solver_test_interval(const dn_solver *s)
{
    return s ? s->param->test_interval : 0;
}

int64_t dn_solver_display(const dn_solver *s)
{
    return s ? s->param->display : 0;
}
