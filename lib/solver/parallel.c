/* SPDX-License-Identifier: BSD-2-Clause
 * parallel.c: solvers that train one net together. Each runs the loop of step.c in a thread of
 * its own; they meet where gradients are reduced: in the backend, or here, where every rank
 * adds up a slice of all gradients in the order of ranks and hands the mean to all. A rank that
 * fails wakes the others, which then stop as well. */
#include <pthread.h>
#include <signal.h>
#include <string.h>

#include "solver/solver.h"

#define MOST_RANKS 64

typedef struct member {
    dn_parallel *parallel;
    int32_t rank;
    dn_solver *solver;
    float *data;         /* its gradient, while all are at the same weight */
    dn_backend *backend; /* while gradients travel by it, */
    void *comm;          /* this of its */
    dn_solver_options before;
    pthread_t thread;
    bool started;
} member;

struct dn_parallel {
    member *members;
    int32_t count;
    const dn_backend_ops *ops; /* gradients travel by its comms; NULL: through here */
    int64_t iterations;        /* of the present step; -1: solve */
    pthread_mutex_t lock;
    pthread_cond_t met;
    int32_t waiting;
    uint64_t meetings;
    int32_t failed; /* the rank that failed first; -1: none */
    dn_status status;
    dni_saved_error error;
    bool stale; /* the last call failed: ranks may have parted */
    atomic_bool running;
};

/* ---- meeting ----------------------------------------------------------------------------- */

static dn_status gave_up(const dn_parallel *p)
{
    return dni_fail(DN_E_CANCELLED, "rank %d stopped", p->failed);
}

/* Returns when all ranks are here, or one never will be. */
static dn_status meet(dn_parallel *p)
{
    pthread_mutex_lock(&p->lock);
    uint64_t meeting = p->meetings;
    if (p->failed < 0 && ++p->waiting == p->count) {
        p->waiting = 0;
        p->meetings++;
        pthread_cond_broadcast(&p->met);
    }
    while (p->failed < 0 && p->meetings == meeting)
        pthread_cond_wait(&p->met, &p->lock);
    dn_status st = p->meetings == meeting ? gave_up(p) : DN_OK;
    pthread_mutex_unlock(&p->lock);
    return st;
}

/* Whoever waits for this rank stops. */
static void give_up(member *m, dn_status status)
{
    dn_parallel *p = m->parallel;
    pthread_mutex_lock(&p->lock);
    bool first = p->failed < 0;
    if (first) {
        p->failed = m->rank;
        p->status = status;
        dni_save_error(&p->error);
    }
    pthread_cond_broadcast(&p->met);
    pthread_mutex_unlock(&p->lock);
    for (int32_t r = 0; first && p->ops && r < p->count; r++)
        p->ops->comm_free(p->members[r].backend, p->members[r].comm, 1);
}

/* ---- through host memory ----------------------------------------------------------------- */

static void mean_of_slice(const dn_parallel *p, int64_t begin, int64_t end)
{
    for (int64_t i = begin; i < end; i++) {
        float sum = p->members[0].data[i];
        for (int32_t r = 1; r < p->count; r++)
            sum += p->members[r].data[i];
        sum /= (float)p->count;
        for (int32_t r = 0; r < p->count; r++)
            p->members[r].data[i] = sum;
    }
}

static dn_status mean_on_host(void *user, float *data, int64_t count)
{
    member *m = user;
    const dn_parallel *p = m->parallel;
    m->data = data;
    dn_status st = meet(m->parallel);
    if (st)
        return st;
    dni_fp host = dni_fp_enter();
    mean_of_slice(p, count * m->rank / p->count, count * (m->rank + 1) / p->count);
    dni_fp_leave(host);
    return meet(m->parallel);
}

/* ---- through the backend ----------------------------------------------------------------- */

static dn_status has_comm(const member *m)
{
    dn_parallel *p = m->parallel;
    pthread_mutex_lock(&p->lock);
    dn_status st = p->failed < 0 ? DN_OK : gave_up(p);
    pthread_mutex_unlock(&p->lock);
    return st;
}

/* data NULL: what comes from now on comes after all means. */
static dn_status mean_on_device(void *user, float *data, int64_t count)
{
    const member *m = user;
    const dn_backend_ops *ops = m->parallel->ops;
    const dn_context *context = m->solver->context;
    dn_status st = has_comm(m);
    if (st)
        return st;
    dni_mirror_lock(context);
    st = data ? ops->comm_mean(m->backend, m->comm, data, count)
              : ops->comm_wait(m->backend, m->comm);
    dni_mirror_unlock(context);
    return st;
}

static dn_status wait_on_device(void *user)
{
    return mean_on_device(user, NULL, 0);
}

/* The table that all contexts' devices have in common, if it can do this. */
static const dn_backend_ops *common_ops(const dn_parallel *p)
{
    const dni_backend_slot *first = dni_mirror_slot(p->members[0].solver->context);
    for (int32_t r = 0; r < p->count; r++) {
        const dni_backend_slot *slot = dni_mirror_slot(p->members[r].solver->context);
        if (!slot || slot->given != first->given)
            return NULL;
    }
    const dn_backend_ops *ops = first->ops;
    bool knows = ops->comm_create && ops->comm_mean && ops->comm_wait && ops->comm_free;
    return knows ? ops : NULL;
}

static void connect(dn_parallel *p)
{
    dn_backend *backends[MOST_RANKS];
    void *comms[MOST_RANKS] = {0};
    const dn_backend_ops *ops = common_ops(p);
    p->ops = NULL;
    if (!ops)
        return;
    for (int32_t r = 0; r < p->count; r++)
        backends[r] = p->members[r].backend =
            dni_mirror_slot(p->members[r].solver->context)->backend;
    dn_status st = ops->comm_create(backends, p->count, comms);
    if (st) {
        dni_log(p->members[0].solver->context, DN_LOG_NOTICE,
                "gradients travel through host memory: %s",
                st < 0 ? dn_last_error() : "the backend declined");
        dni_clear_error();
        return;
    }
    p->ops = ops;
    for (int32_t r = 0; r < p->count; r++)
        p->members[r].comm = comms[r];
}

static void disconnect(dn_parallel *p)
{
    for (int32_t r = 0; p->ops && r < p->count; r++)
        p->ops->comm_free(p->members[r].backend, p->members[r].comm, 0);
    p->ops = NULL;
}

static void set_hooks(dn_parallel *p)
{
    for (int32_t r = 0; r < p->count; r++) {
        dn_solver_options *o = &p->members[r].solver->options;
        o->all_reduce = p->ops ? mean_on_device : mean_on_host;
        o->all_reduce_wait = p->ops ? wait_on_device : NULL;
        o->all_reduce_on_device = p->ops != NULL;
        o->all_reduce_user = &p->members[r];
    }
}

/* ---- everybody where rank 0 is ----------------------------------------------------------- */

static dn_status copy_values(dn_solver *to, void *into, const dn_solver *from, const void *root,
                             size_t bytes)
{
    dn_status st = dni_mirror_fetch(from->context, root);
    if (st)
        return st;
    memcpy(into, root, bytes);
    dni_mirror_wrote(to->context, into);
    return DN_OK;
}

static dn_status copy_state(dn_solver *to, const dn_solver *root)
{
    dn_status st = DN_OK;
    for (size_t i = 0; !st && i < root->net->num_params; i++) {
        dni_store *store = to->net->params[i]->blob.store;
        const dni_store *from = root->net->params[i]->blob.store;
        st = copy_values(to, store->data, root, from->data,
                         (size_t)store->count * dni_dtype_size(store->dtype));
        dni_store_touch(store);
    }
    for (size_t i = 0; !st && i < root->update->num_weights; i++)
        for (int32_t k = 0; !st && k < root->rule->histories; k++)
            st = copy_values(to, to->update->weights[i].history[k], root,
                             root->update->weights[i].history[k],
                             dni_updated_bytes(&root->update->weights[i]));
    for (size_t i = 0; !st && i < root->net->num_layers; i++) {
        const dni_layer *from = &root->net->layers[i].layer;
        dni_layer *layer = &to->net->layers[i].layer;
        const dni_layer_cursor *cursor = layer->cursor;
        if (cursor && cursor->tell(layer) != cursor->tell(from))
            st = dni_in(cursor->seek(layer, cursor->tell(from)), "layer '%s'", layer->name);
    }
    to->iteration = root->iteration;
    to->step = root->step;
    to->rate_is_given = root->rate_is_given;
    to->given_rate = root->given_rate;
    to->net->step = root->net->step;
    return st;
}

static dn_status gather(dn_parallel *p)
{
    dn_status st = DN_OK;
    disconnect(p);
    for (int32_t r = 1; !st && r < p->count; r++)
        st = copy_state(p->members[r].solver, p->members[0].solver);
    if (st)
        return st;
    connect(p);
    set_hooks(p);
    return DN_OK;
}

/* ---- create and free --------------------------------------------------------------------- */

/* Else one would wait for reductions that another never comes to. */
static bool same_course(const dn_solver *a, const dn_solver *b)
{
    bool same = a->rule == b->rule && a->net->num_params == b->net->num_params &&
                a->net->num_layers == b->net->num_layers &&
                a->update->num_weights == b->update->num_weights &&
                a->param->iter_size == b->param->iter_size && a->max_iter == b->max_iter;
    for (size_t i = 0; same && i < a->net->num_params; i++)
        same = a->net->params[i]->blob.store->count == b->net->params[i]->blob.store->count &&
               dni_param_trained(a->net->params[i]) == dni_param_trained(b->net->params[i]);
    for (size_t i = 0; same && i < a->net->num_layers; i++)
        same = a->net->layers[i].layer.cls == b->net->layers[i].layer.cls;
    return same;
}

static dn_status check_solver(dn_solver *const *solvers, int32_t count, int32_t rank)
{
    const dn_solver *s = solvers[rank];
    dn_status st = dni_solver_can_run(s);
    if (!st && s->options.num_ranks != count && (count > 1 || s->options.num_ranks))
        st = dni_fail(DN_E_INVALID, "it was created with num_ranks %d, %d are joined",
                      s->options.num_ranks, count);
    if (!st && s->options.rank != rank)
        st = dni_fail(DN_E_INVALID, "it was created with rank %d", s->options.rank);
    if (!st && (s->joined || s->running))
        st = dni_fail(DN_E_INVALID, "it is running, or joined with others already");
    if (!st && s->options.all_reduce)
        st = dni_fail(DN_E_INVALID, "it has an all_reduce of the host's");
    if (!st && s->net->dtype != DN_F32)
        st = dni_fail(DN_E_UNSUPPORTED, "gradients of a DN_F64 net cannot be reduced");
    if (!st && !same_course(s, solvers[0]))
        st = dni_fail(DN_E_INVALID,
                      "its net, rule, iter_size or max_iter is not that of solver 0");
    for (int32_t r = 0; !st && r < rank; r++)
        if (solvers[r] == s)
            st = dni_fail(DN_E_INVALID, "it is solver %d as well", r);
    return dni_in(st, "solver %d", rank);
}

dn_status dn_parallel_create(dn_parallel **out, dn_solver *const *solvers, int32_t count)
{
    dni_clear_error();
    if (!out || !solvers || count < 1 || count > MOST_RANKS)
        return dni_fail(DN_E_INVALID, "dn_parallel_create: %s",
                        out && solvers ? "count must be 1 to 64" : "an argument is NULL");
    for (int32_t r = 0; r < count; r++) {
        dn_status st = check_solver(solvers, count, r);
        if (st)
            return st;
    }
    const dni_heap *heap = solvers[0]->heap;
    dn_parallel *p = dni_alloc(heap, 1, sizeof *p);
    member *members = dni_alloc(heap, (size_t)count, sizeof *members);
    if (!p || !members) {
        dni_free(p);
        dni_free(members);
        return DN_E_NOMEM;
    }
    *p = (dn_parallel){.members = members, .count = count, .failed = -1};
    for (int32_t r = 0; r < count; r++)
        members[r] = (member){
            .parallel = p, .rank = r, .solver = solvers[r], .before = solvers[r]->options};
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->met, NULL);
    dn_status st = gather(p);
    if (!st) {
        for (int32_t r = 0; r < count; r++)
            solvers[r]->joined = true;
        *out = p;
        return DN_OK;
    }
    dn_parallel_free(p);
    return st;
}

void dn_parallel_free(dn_parallel *p)
{
    if (!p)
        return;
    dni_saved_error saved;
    dni_save_error(&saved);
    disconnect(p);
    for (int32_t r = 0; r < p->count; r++) {
        p->members[r].solver->options = p->members[r].before;
        p->members[r].solver->joined = false;
    }
    pthread_cond_destroy(&p->met);
    pthread_mutex_destroy(&p->lock);
    dni_free(p->members);
    dni_free(p);
    dni_restore_error(&saved);
}

const char *dn_parallel_transport(const dn_parallel *p)
{
    return p && p->ops ? p->ops->name : "host";
}

/* ---- running ----------------------------------------------------------------------------- */

static void run_member(member *m)
{
    const dn_parallel *p = m->parallel;
    dn_status st = p->iterations < 0 ? dni_solver_solve(m->solver)
                                     : dni_solver_step(m->solver, p->iterations);
    if (st)
        give_up(m, st);
}

static void *run_thread(void *arg)
{
    run_member(arg);
    return NULL;
}

/* Signals stay with the host's threads. */
static void start(member *m)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    m->started = !pthread_create(&m->thread, NULL, run_thread, m);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!m->started)
        give_up(m, dni_fail(DN_E_NOMEM, "no thread could be started"));
}

static dn_status run_all(dn_parallel *p, int64_t iterations)
{
    dn_status st = DN_OK;
    p->iterations = iterations;
    p->failed = -1;
    p->waiting = 0;
    if (p->stale)
        st = gather(p);
    if (st)
        return st;
    for (int32_t r = 1; r < p->count; r++)
        start(&p->members[r]);
    run_member(&p->members[0]);
    for (int32_t r = 1; r < p->count; r++)
        if (p->members[r].started)
            pthread_join(p->members[r].thread, NULL);
    p->stale = p->failed >= 0;
    if (!p->stale)
        return DN_OK;
    dni_restore_error(&p->error);
    return p->failed ? dni_in(p->status, "rank %d", p->failed) : p->status;
}

static dn_status run(dn_parallel *p, int64_t iterations)
{
    if (atomic_exchange(&p->running, true))
        return dni_fail(DN_E_STATE, "the dn_parallel is running");
    dn_status st = run_all(p, iterations);
    atomic_store(&p->running, false);
    return st;
}

dn_status dn_parallel_step(dn_parallel *p, int64_t iterations)
{
    dni_clear_error();
    if (!p || iterations < 0)
        return dni_fail(DN_E_INVALID, "%s",
                        p ? "a negative number of iterations" : "the dn_parallel is NULL");
    return run(p, iterations);
}

dn_status dn_parallel_solve(dn_parallel *p)
{
    dni_clear_error();
    return p ? run(p, -1) : dni_fail(DN_E_INVALID, "the dn_parallel is NULL");
}
