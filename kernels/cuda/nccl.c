/* SPDX-License-Identifier: BSD-2-Clause
 * nccl.c: means over devices through NCCL, opened at run time. They run in a stream beside the
 * backend's, so that what is computed next does not wait for them. Neighbours share a call, by
 * their sizes alone, so that all ranks cut alike. The ranks' threads queue each call together,
 * as memory that one of them takes or gives back may wait for all devices, and so for a mean
 * that waits for this rank. */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "device.h"

#ifdef CUDA_HAS_NCCL
#include <dlfcn.h>

#include <nccl.h>

#define SONAME      CUDA_SONAME("libnccl", NCCL_MAJOR)
#define PATIENCE_MS 200 /* for a rank that is just queueing work, before an abort */
#define SPINS       200 /* of who waits for another rank, before it sleeps in between */
#define MOST_MEANS  256 /* of one call */
/* A call is made for so many bytes: for fewer the first, that it may begin soon. The backward
 * stops for as many (lib/net/groups.c). */
#define FIRST_BYTES ((int64_t)1 << 20)
#define MORE_BYTES  ((int64_t)4 << 20)

#define FUNCTIONS(X)                                                                           \
    X(ncclCommInitAll)                                                                         \
    X(ncclCommDestroy)                                                                         \
    X(ncclCommAbort)                                                                           \
    X(ncclGroupStart)                                                                          \
    X(ncclGroupEnd)                                                                            \
    X(ncclAllReduce)                                                                           \
    X(ncclGetErrorString)

typedef struct nccl {
    void *library;
    FUNCTIONS(CUDA_FIELD)
    const char *(*last_error)(ncclComm_t); /* its own words; NULL: older than 2.13 */
} nccl;

typedef struct mean {
    float *device;
    int64_t count;
} mean;

typedef struct comm {
    nccl lib; /* each has the library open for itself */
    ncclComm_t comm;
    cudaStream_t stream;
    cudaEvent_t event;
    pthread_mutex_t lock; /* held while work is queued */
    atomic_bool aborted;
    struct comm *first;     /* of those that were made together; */
    int32_t count;          /* so many */
    _Atomic int64_t came;   /* of the first: to all meetings */
    mean means[MOST_MEANS]; /* of the next call */
    int32_t num_means;
    int64_t bytes; /* of those */
    bool called;   /* since comm_wait */
} comm;

static bool find_functions(nccl *lib)
{
    const cuda_function wanted[] = {FUNCTIONS(CUDA_ROW)};
    if (!cuda_find(&lib->library, SONAME, wanted, sizeof(wanted) / sizeof(wanted[0])))
        return false;
    void *last = dlsym(lib->library, "ncclGetLastError");
    memcpy(&lib->last_error, &last, sizeof(last));
    return true;
}

static dn_status nccl_check(dn_backend *backend, const nccl *n, ncclResult_t result,
                            const char *what)
{
    if (result == ncclSuccess)
        return DN_OK;
    const char *why = n->last_error ? n->last_error(NULL) : "";
    char lost[CUDA_WORDS];
    return backend->host.fail(DN_E_DEVICE, "NCCL: %s: %s%s%s%s", what,
                              n->ncclGetErrorString(result), *why ? ": " : "", why,
                              cuda_lost_words(backend, lost));
}

/* NCCL leaves whichever it likes current, though the caller's was the backend's own. */
static void leave(dn_backend *backend, cuda_visit visit)
{
    if (!visit.device)
        visit = (cuda_visit){backend->device, backend->device->context};
    cuda_leave(&visit);
}

/* From any thread, which may have a device of its own current. */
static void leave_others(dn_backend *backend, comm *c)
{
    const struct timespec moment = {.tv_nsec = 1000000};
    cuda_visit visit;
    bool locked = false;
    if (atomic_exchange(&c->aborted, true))
        return;
    for (int i = 0; i < PATIENCE_MS && !locked; i++) {
        locked = pthread_mutex_trylock(&c->lock) == 0;
        if (!locked)
            nanosleep(&moment, NULL);
    }
    bool entered = cuda_enter(backend, &visit) == DN_OK;
    if (c->comm)
        c->lib.ncclCommAbort(c->comm);
    if (entered)
        leave(backend, visit);
    if (locked)
        pthread_mutex_unlock(&c->lock);
}

void cuda_comm_free(dn_backend *backend, void *made, int32_t abort)
{
    comm *c = made;
    cuda_visit visit;
    if (!c)
        return;
    if (abort) {
        leave_others(backend, c);
        return;
    }
    bool entered = cuda_enter(backend, &visit) == DN_OK; /* no: the driver is gone */
    if (entered && c->comm && !atomic_load(&c->aborted)) {
        /* ncclCommDestroy waits for what was queued: for ever, where the device is lost */
        cudaError_t state = cudaStreamQuery(c->stream);
        bool fine = state == cudaSuccess || state == cudaErrorNotReady;
        cudaGetLastError(); /* "not ready" is no later launch's fault */
        (fine ? c->lib.ncclCommDestroy : c->lib.ncclCommAbort)(c->comm);
    }
    if (entered && c->event)
        cudaEventDestroy(c->event);
    if (entered && c->stream)
        cudaStreamDestroy(c->stream);
    if (entered)
        leave(backend, visit);
    if (c->lib.library)
        dlclose(c->lib.library);
    pthread_mutex_destroy(&c->lock);
    backend->host.free(backend->host.user, c);
}

static dn_status make_one(dn_backend *backend, void **out)
{
    cuda_visit visit;
    comm *c = backend->host.alloc(backend->host.user, sizeof(*c));
    if (!c)
        return backend->host.fail(DN_E_NOMEM, "no memory for NCCL");
    memset(c, 0, sizeof(*c));
    pthread_mutex_init(&c->lock, NULL);
    *out = c;
    if (!find_functions(&c->lib))
        return backend->host.fail(DN_E_UNSUPPORTED, "%s was not found", SONAME);
    dn_status status = cuda_enter(backend, &visit);
    if (status == DN_OK)
        status =
            cuda_check(backend, cudaStreamCreateWithFlags(&c->stream, cudaStreamNonBlocking),
                       "making a stream");
    if (status == DN_OK)
        status = cuda_event_make(backend, &c->event);
    cuda_leave(&visit);
    return status;
}

static dn_status join(dn_backend *const *backends, int32_t count, void **comms)
{
    const nccl *n = &((comm *)comms[0])->lib;
    const dn_backend_host *host = &backends[0]->host;
    int *ordinals = host->alloc(host->user, (size_t)count * sizeof(*ordinals));
    ncclComm_t *made = host->alloc(host->user, (size_t)count * sizeof(*made));
    dn_status status = ordinals && made
                           ? DN_OK
                           : host->fail(DN_E_NOMEM, "no memory to join %d devices", count);
    for (int32_t i = 0; status == DN_OK && i < count; i++) {
        ordinals[i] = backends[i]->device->ordinal;
        for (int32_t k = 0; k < i; k++)
            if (ordinals[k] == ordinals[i])
                status = host->fail(DN_E_UNSUPPORTED, "two ranks are on device %d",
                                    (int)ordinals[i] + 1);
    }
    if (status == DN_OK)
        status = nccl_check(backends[0], n, n->ncclCommInitAll(made, count, ordinals),
                            "joining the devices");
    for (int32_t i = 0; status == DN_OK && i < count; i++)
        ((comm *)comms[i])->comm = made[i];
    for (int32_t i = 0; i < count; i++) {
        ((comm *)comms[i])->first = comms[0];
        ((comm *)comms[i])->count = count;
    }
    host->free(host->user, ordinals);
    host->free(host->user, made);
    return status;
}

dn_status cuda_comm_create(dn_backend *const *backends, int32_t count, void **comms)
{
    cuda_visit visit;
    dn_status status = DN_OK;
    for (int32_t i = 0; i < count; i++)
        comms[i] = NULL;
    for (int32_t i = 0; status == DN_OK && i < count; i++)
        status = make_one(backends[i], &comms[i]);
    if (status == DN_OK) {
        status = cuda_enter(backends[0], &visit);
        if (status == DN_OK)
            status = join(backends, count, comms);
        leave(backends[0], visit);
    }
    for (int32_t i = 0; status != DN_OK && i < count; i++) {
        cuda_comm_free(backends[i], comms[i], 0);
        comms[i] = NULL;
    }
    return status;
}

static dn_status stopped(dn_backend *backend)
{
    return backend->host.fail(DN_E_CANCELLED, "NCCL: another rank stopped");
}

/* Until all ranks are here, or one never will be. They mostly come together. */
static dn_status meet(dn_backend *backend, const comm *c)
{
    const struct timespec moment = {.tv_nsec = 50000};
    int64_t before = atomic_fetch_add(&c->first->came, 1);
    int64_t all = before - before % c->count + c->count;
    for (int i = 0; atomic_load(&c->first->came) < all; i++) {
        if (atomic_load(&c->aborted))
            return stopped(backend);
        if (i < SPINS)
            sched_yield();
        else
            nanosleep(&moment, NULL);
    }
    return DN_OK;
}

static ncclResult_t ask(const comm *c)
{
    ncclResult_t begun = c->lib.ncclGroupStart(), result = begun;
    for (int32_t i = 0; result == ncclSuccess && i < c->num_means; i++)
        result = c->lib.ncclAllReduce(c->means[i].device, c->means[i].device,
                                      (size_t)c->means[i].count, ncclFloat, ncclAvg, c->comm,
                                      c->stream);
    ncclResult_t ended = begun == ncclSuccess ? c->lib.ncclGroupEnd() : begun;
    return result != ncclSuccess ? result : ended;
}

static dn_status queue(dn_backend *backend, comm *c)
{
    pthread_mutex_lock(&c->lock);
    dn_status status = atomic_load(&c->aborted)
                           ? stopped(backend)
                           : nccl_check(backend, &c->lib, ask(c), "a mean");
    pthread_mutex_unlock(&c->lock);
    return status;
}

/* All means so far, whatever comes of them. */
static dn_status call(dn_backend *backend, comm *c)
{
    cuda_visit visit;
    dn_status status = cuda_enter(backend, &visit);
    if (status == DN_OK)
        status = cuda_event_order(backend, c->event, backend->stream, c->stream);
    if (status == DN_OK)
        status = meet(backend, c);
    if (status == DN_OK)
        status = queue(backend, c);
    if (status == DN_OK)
        status = meet(backend, c);
    cuda_leave(&visit);
    c->num_means = 0;
    c->bytes = 0;
    c->called = true;
    return status;
}

dn_status cuda_comm_mean(dn_backend *backend, void *made, float *device, int64_t count)
{
    comm *c = made;
    if (atomic_load(&c->aborted))
        return stopped(backend);
    c->means[c->num_means++] = (mean){device, count};
    c->bytes += count * (int64_t)sizeof(*device);
    bool enough = c->bytes >= (c->called ? MORE_BYTES : FIRST_BYTES);
    return enough || c->num_means == MOST_MEANS ? call(backend, c) : DN_OK;
}

dn_status cuda_comm_wait(dn_backend *backend, void *made)
{
    comm *c = made;
    cuda_visit visit;
    dn_status status = c->num_means ? call(backend, c) : DN_OK;
    c->called = false;
    if (status == DN_OK)
        status = cuda_enter(backend, &visit);
    if (status != DN_OK)
        return status;
    status = cuda_event_order(backend, c->event, c->stream, backend->stream);
    cuda_leave(&visit);
    return status;
}

#else /* built without its headers */

void cuda_comm_free(dn_backend *backend, void *made, int32_t abort)
{
    (void)backend, (void)made, (void)abort;
}

dn_status cuda_comm_create(dn_backend *const *backends, int32_t count, void **comms)
{
    (void)count, (void)comms;
    return backends[0]->host.fail(DN_E_UNSUPPORTED, "the module was built without NCCL");
}

dn_status cuda_comm_mean(dn_backend *backend, void *made, float *device, int64_t count)
{
    (void)made, (void)device, (void)count;
    return backend->host.fail(DN_E_INTERNAL, "there is no NCCL");
}

dn_status cuda_comm_wait(dn_backend *backend, void *made)
{
    (void)made;
    return backend->host.fail(DN_E_INTERNAL, "there is no NCCL");
}

#endif
