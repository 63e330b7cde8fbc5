/* SPDX-License-Identifier: BSD-2-Clause
 * context.c: puts together what the host lent. Backends are tables from the build's own list,
 * from the host, or from modules; nothing here knows one by name but `ref`, which ends every
 * chain. */
#include "core/context.h"

#include <stdio.h>
#include <string.h>

#include "core/mirror.h"
#include "core/module.h"

/* kernels/meson.build, best first */
extern const dn_backend_ops *const dni_builtin_backends[];
extern const char *const dni_host_modules[];
extern const char *const dni_device_modules[];

const dni_heap *dni_context_heap(const dn_context *context)
{
    return &context->heap;
}

void dni_log(const dn_context *context, int32_t level, const char *format, ...)
{
    if (!context->log)
        return;
    char line[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    context->log(context->log_user, level, line);
}

typedef struct lent_job {
    const dn_context *context;
    dni_task_fn body;
    void *arg;
} lent_job;

/* A thread of the host's rounds, flushes and traps as the host likes. */
static void run_lent(void *arg, int64_t task, int32_t worker)
{
    const lent_job *job = arg;
    dni_frame here;
    dni_frame_enter(&here, job->context, worker);
    dni_fp host = dni_fp_enter();
    job->body(job->arg, task, worker);
    dni_fp_leave(host);
    dni_frame_leave(&here);
}

void dni_parallel(const dn_context *context, int64_t tasks, dni_task_fn body, void *arg)
{
    const void *owner = context->pool ? (const void *)context->pool : context;
    if (dni_run_nested(owner, tasks, body, arg)) /* one task, too: it is that worker's */
        return;
    if (tasks == 1)
        body(arg, 0, 0);
    else if (tasks > 1 && context->pool)
        dni_pool_run(context->pool, tasks, body, arg);
    else if (tasks > 1)
        context->parallel_for(context->parallel_user, tasks, run_lent,
                              &(lent_job){.context = context, .body = body, .arg = arg});
}

/* ---- what backends are given ------------------------------------------------------------- */

static void *backend_alloc(void *user, size_t bytes)
{
    return dni_alloc_aligned(&((dn_context *)user)->heap, bytes);
}

static void backend_free(void *user, void *ptr)
{
    (void)user;
    dni_free_aligned(ptr);
}

static void backend_parallel(void *user, int64_t tasks, dni_task_fn body, void *arg)
{
    dni_parallel(user, tasks, body, arg);
}

static dn_status backend_fail(dn_status status, const char *format, ...)
{
    char line[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    return dni_fail(status, "%s", line);
}

/* ---- the chain --------------------------------------------------------------------------- */

/* The one backend of a context whose memory is not the host's. */
static dn_status add_device(dn_context *c, const dni_backend_slot *slot)
{
    if (c->mirror)
        return dni_fail(DN_E_INVALID, "backend '%s': the context has a device already",
                        slot->ops->name);
    dn_status st = dni_mirror_create(&c->mirror, c, slot);
    c->has_device = !st;
    return st;
}

static bool is_in_chain(const dn_context *c, const dn_backend_ops *ops)
{
    for (int32_t i = 0; i < c->num_backends; i++)
        if (c->backends[i].given == ops)
            return true;
    return false;
}

static dn_status add_backend(dn_context *c, const dn_backend_ops *ops)
{
    if (is_in_chain(c, ops))
        return DN_OK;
    if (c->num_backends == DNI_MAX_BACKENDS)
        return dni_fail(DN_E_INVALID, "more than %d backends in one context", DNI_MAX_BACKENDS);
    if (ops->struct_size < offsetof(dn_backend_ops, mem_alloc))
        return dni_fail(DN_E_INVALID, "a backend's struct_size is not set");
    if (!ops->name || !ops->open || !ops->op_create || !ops->op_run || !ops->op_destroy)
        return dni_fail(DN_E_INVALID, "a backend lacks its name, open, op_create, op_run or "
                                      "op_destroy");
    dni_backend_slot *slot = &c->backends[c->num_backends];
    dn_status st = ops->open(&slot->backend, &c->host);
    if (st)
        return dni_in(st, "backend '%s'", ops->name);
    slot->given = ops;
    slot->ops = &slot->table;
    memcpy(&slot->table, ops,
           ops->struct_size < sizeof slot->table ? ops->struct_size : sizeof slot->table);
    char text[120] = "";
    if (slot->ops->describe)
        slot->ops->describe(slot->backend, text, sizeof text);
    snprintf(slot->description, sizeof slot->description, "%s%s%s", ops->name,
             text[0] ? ": " : "", text);
    c->num_backends++;
    return ops->space == DN_SPACE_DEVICE ? add_device(c, slot) : DN_OK;
}

static const dn_backend_ops *find_builtin(const char *name, size_t length)
{
    for (const dn_backend_ops *const *b = dni_builtin_backends; *b; b++)
        if (strlen((*b)->name) == length && !memcmp((*b)->name, name, length))
            return *b;
    return NULL;
}

static dn_status add_named(dn_context *c, const char *name, size_t length, const char *folder)
{
    const dn_backend_ops *ops = find_builtin(name, length);
    if (!ops) {
        dn_status st = dni_module_load(&c->heap, folder, name, length, &ops);
        if (st)
            return st;
    }
    return add_backend(c, ops);
}

/* The modules that are installed; one that does not work is worth a warning, no more. */
static dn_status add_modules(dn_context *c, const char *folder)
{
    for (const char *const *m = dni_host_modules; *m; m++) {
        bool there = false;
        dn_status st = dni_module_exists(&c->heap, folder, *m, &there);
        if (!st && there) {
            st = add_named(c, *m, strlen(*m), folder);
            if (st && st != DN_E_NOMEM) {
                dni_log(c, DN_LOG_WARNING, "left out: %s", dn_last_error());
                dni_clear_error();
                st = DN_OK;
            }
        }
        if (st)
            return st;
    }
    return DN_OK;
}

/* The first module for a device that is there; one that `names` has the path of comes first. */
static dn_status open_device(dn_context *c, const char *names, const char *folder)
{
    const dn_backend_ops *ops = NULL;
    while (names && *names) {
        size_t length = strcspn(names, ",");
        if (memchr(names, '/', length)) {
            dn_status st = dni_module_load(&c->heap, folder, names, length, &ops);
            if (st || ops->space == DN_SPACE_DEVICE)
                return st ? st : add_backend(c, ops);
        }
        names += length + (names[length] == ',');
    }
    for (const char *const *name = dni_device_modules; *name; name++) {
        dn_status st = dni_module_load(&c->heap, folder, *name, strlen(*name), &ops);
        if (!st || st == DN_E_NOMEM)
            return st ? st : add_backend(c, ops);
    }
    dni_saved_error why;
    dni_save_error(&why);
    return dni_fail(DN_E_UNSUPPORTED, "no backend for a device was found: %s", why.text);
}

/* names: "cpu,ref"; NULL: the modules that are there, and the whole built-in list. */
static dn_status add_chain(dn_context *c, const char *names, const char *folder)
{
    if (!names) {
        dn_status modules = add_modules(c, folder);
        if (modules)
            return modules;
        for (const dn_backend_ops *const *b = dni_builtin_backends; *b; b++) {
            dn_status st = add_backend(c, *b);
            if (st)
                return st;
        }
        return DN_OK;
    }
    bool has_ref = false;
    while (*names) {
        size_t length = strcspn(names, ",");
        dn_status st = add_named(c, names, length, folder);
        if (st)
            return st;
        has_ref |= length == 3 && !memcmp(names, "ref", 3);
        names += length + (names[length] == ',');
    }
    return has_ref ? DN_OK : add_named(c, "ref", 3, folder);
}

/* ---- layer types of the host's ----------------------------------------------------------- */

/* By value: tables of other releases are shorter or longer. */
static dn_status take_layer(dn_layer_class *to, const dn_layer_class *from)
{
    if (!from || from->struct_size < offsetof(dn_layer_class, backward))
        return dni_fail(DN_E_INVALID,
                        "a dn_layer_class is NULL, or its struct_size is not set");
    const unsigned char *bytes = (const unsigned char *)from;
    for (size_t i = sizeof *to; i < from->struct_size; i++)
        if (bytes[i])
            return dni_fail(DN_E_UNSUPPORTED,
                            "a dn_layer_class has an entry this release does not know");
    memcpy(to, from, from->struct_size < sizeof *to ? from->struct_size : sizeof *to);
    if (!to->type || !to->shape || !to->forward)
        return dni_fail(DN_E_INVALID, "a dn_layer_class lacks its type, shape or forward");
    return DN_OK;
}

static dn_status take_layers(dn_context *c, const dn_context_options *o)
{
    if (o->num_layers && !o->layers)
        return dni_fail(DN_E_INVALID, "dn_context_options.layers is NULL, num_layers is %zu",
                        o->num_layers);
    c->layers = dni_alloc(&c->heap, o->num_layers, sizeof *c->layers);
    dn_status st = c->layers ? DN_OK : DN_E_NOMEM;
    for (size_t i = 0; !st && i < o->num_layers; i++)
        st = take_layer(&c->layers[c->num_layers++], o->layers[i]);
    return st;
}

/* ---- create and free --------------------------------------------------------------------- */

static dn_status set_up(dn_context *c, const dn_context_options *o)
{
    if (o->num_threads < 0 || o->num_threads > 4096)
        return dni_fail(DN_E_INVALID, "num_threads is %d; it must be 0 to 4096",
                        o->num_threads);
    if (o->plan < DN_PLAN_FUSED || o->plan > DN_PLAN_NHWC)
        return dni_fail(DN_E_INVALID, "plan %d is none of DN_PLAN_*", o->plan);
    if (o->spin_us < DN_SPIN_NONE || o->spin_us > 1000000)
        return dni_fail(DN_E_INVALID, "spin_us is %d; it must be -1 to 1000000", o->spin_us);
    if (o->tune < 0 || o->tune > 1)
        return dni_fail(DN_E_INVALID, "tune is %d; it must be 0 or 1", o->tune);
    if (o->allow_nondeterministic < 0 || o->allow_nondeterministic > 1)
        return dni_fail(DN_E_INVALID, "allow_nondeterministic is %d; it must be 0 or 1",
                        o->allow_nondeterministic);
    c->tune = o->tune;
    c->device_memory_limit = o->device_memory_limit;
    c->log = o->log;
    c->log_user = o->log_user;
    c->seed = o->seed;
    c->plain = o->plan == DN_PLAN_PLAIN;
    c->nhwc = o->plan == DN_PLAN_NHWC;
    c->num_threads = o->num_threads ? o->num_threads : dni_default_threads();
    if (o->parallel_for) {
        c->parallel_for = o->parallel_for;
        c->parallel_user = o->parallel_user;
    } else {
        dn_status st = dni_pool_create(&c->pool, &c->heap, c->num_threads);
        if (st)
            return st;
        if (o->spin_us)
            dni_pool_set_spin(c->pool, o->spin_us > 0 ? o->spin_us : 0);
    }
    c->host = (dn_backend_host){.struct_size = sizeof c->host,
                                .alloc = backend_alloc,
                                .free = backend_free,
                                .parallel_for = backend_parallel,
                                .fail = backend_fail,
                                .num_threads = c->num_threads,
                                .device = o->device > 0 ? o->device - 1 : 0,
                                .user = c,
                                .stream = o->device_stream,
                                .tune = o->tune,
                                .allow_nondeterministic = o->allow_nondeterministic};
    if (o->device < 0)
        return dni_fail(DN_E_INVALID, "device is %d; 0 is the host, 1 the first device",
                        o->device);
    dn_status st = take_layers(c, o);
    if (!st && o->backend)
        st = add_backend(c, o->backend);
    if (!st && o->device > 0 && !c->mirror)
        st = open_device(c, o->backends, o->module_folder);
    return st ? st : add_chain(c, o->backends, o->module_folder);
}

dn_status dn_context_create(dn_context **out, const dn_context_options *options)
{
    dni_clear_error();
    if (!out)
        return dni_fail(DN_E_INVALID, "dn_context_create: out is NULL");
    dn_context_options o;
    dn_status st = dni_take_options(&o, options, sizeof o, "dn_context_options");
    if (st)
        return st;
    dni_heap heap = dni_default_heap;
    if (o.alloc)
        heap = (dni_heap){o.alloc, o.alloc_user};
    dn_context *c = dni_alloc(&heap, 1, sizeof *c);
    if (!c)
        return DN_E_NOMEM;
    c->heap = heap;
    atomic_init(&c->references, 1);
    pthread_mutex_init(&c->tuned_lock, NULL);
    st = set_up(c, &o);
    if (st) {
        dni_saved_error saved;
        dni_save_error(&saved);
        dn_context_free(c);
        dni_restore_error(&saved);
        return st;
    }
    *out = c;
    return DN_OK;
}

void dni_context_hold(dn_context *context)
{
    atomic_fetch_add(&context->references, 1);
}

void dn_context_free(dn_context *context)
{
    if (!context || atomic_fetch_sub(&context->references, 1) > 1)
        return;
    dni_mirror_free(context->mirror);
    for (int32_t i = context->num_backends; i-- > 0;)
        if (context->backends[i].ops->close)
            context->backends[i].ops->close(context->backends[i].backend);
    dni_pool_free(context->pool);
    dni_free(context->tuned);
    pthread_mutex_destroy(&context->tuned_lock);
    dni_free(context->layers);
    dni_free(context);
}

int32_t dn_context_num_threads(const dn_context *context)
{
    return context ? context->num_threads : 0;
}

dn_status dn_context_synchronise(dn_context *context)
{
    dni_clear_error();
    if (!context)
        return dni_fail(DN_E_INVALID, "the context is NULL");
    return dni_mirror_wait(context);
}

int32_t dn_context_num_backends(const dn_context *context)
{
    return context ? context->num_backends : 0;
}

const char *dn_context_backend(const dn_context *context, int32_t index)
{
    dni_clear_error();
    if (!context || index < 0 || index >= context->num_backends) {
        dni_fail(DN_E_INVALID, "there is no backend %d", index);
        return NULL;
    }
    return context->backends[index].description;
}
