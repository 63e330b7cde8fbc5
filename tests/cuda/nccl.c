/* SPDX-License-Identifier: BSD-2-Clause
 * nccl.c: what the CUDA module calls of NCCL: ranks meet at each call, of one mean or a group
 * of them, in host memory, when all before it in their streams is done; what it makes is there
 * when somebody waits for it. Ranks that group their means in other ways are refused. One that
 * was aborted lets all go, and stays to the end: somebody may still look at it. */
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

#include <cuda_runtime_api.h>
#include <nccl.h>

#include "stream.h"

enum { MOST = 8, MOST_MEANS = 2048 };

/* Of which the header has no prototypes. */
ncclResult_t ncclGroupStart(void);
ncclResult_t ncclGroupEnd(void);

struct ncclComm {
    struct group *group;
    int rank;
    bool aborted;
};

/* A mean that a rank asked for. */
typedef struct mean {
    float *to, *values;
    size_t count;
} mean;

typedef struct group {
    struct ncclComm comms[MOST];
    pthread_mutex_t lock;
    pthread_cond_t met;
    int count, here, left, queueing;
    unsigned long meetings;
    const mean *means[MOST]; /* of this call, by rank */
    int num_means[MOST];
    bool aborted;
    struct group *next; /* of those that were aborted */
} group;

static group *aborted;
static pthread_mutex_t aborted_lock = PTHREAD_MUTEX_INITIALIZER;

__attribute__((destructor)) static void free_aborted(void)
{
    for (group *g = aborted, *next; g; g = next) {
        next = g->next;
        free(g);
    }
}

/* Set by a test: fake_cuda.lost of the module. The next call finds it so. */
__attribute__((visibility("default"))) long *fake_nccl_loses;

/* How many were left by ncclCommAbort, and what was asked of such a one, which is no more. */
__attribute__((visibility("default"))) long fake_nccl_aborted, fake_nccl_late;

/* Set by a test: so many more means are asked for before that. */
__attribute__((visibility("default"))) long fake_nccl_spares;

/* Groups that were begun and not ended. */
__attribute__((visibility("default"))) long fake_nccl_open;

/* Calls that some of the ranks are about to queue and others have not come to yet, or have not
 * queued. Set by a test: so many milliseconds all but rank 0 take for that. */
__attribute__((visibility("default"))) long fake_nccl_half;
__attribute__((visibility("default"))) int fake_nccl_slow;

/* Set by a test: what joining or leaving does to the caller's current device. */
__attribute__((visibility("default"))) void (*fake_nccl_meddles)(void);

/* Set by a test: told of each call that a rank makes, and how many means it is of. */
__attribute__((visibility("default"))) void (*fake_nccl_tells)(int rank, int means,
                                                               void *stream);

/* What the thread's group has been asked so far. */
static __thread struct {
    bool begun;
    ncclResult_t result;
    ncclComm_t comm;
    cudaStream_t stream;
    int num_means;
    mean means[MOST_MEANS];
} asked;

static bool is_lost(void)
{
    if (__atomic_load_n(&fake_nccl_loses, __ATOMIC_RELAXED) &&
        __atomic_fetch_sub(&fake_nccl_spares, 1, __ATOMIC_RELAXED) > 0)
        return false;
    long *lost = __atomic_exchange_n(&fake_nccl_loses, NULL, __ATOMIC_RELAXED);
    if (lost)
        __atomic_store_n(lost, 1, __ATOMIC_RELAXED);
    return lost != NULL;
}

ncclResult_t ncclCommInitAll(ncclComm_t *out, int count, const int *devices)
{
    if (is_lost())
        return ncclUnhandledCudaError;
    group *g = calloc(1, sizeof *g);
    pthread_mutex_init(&g->lock, NULL);
    pthread_cond_init(&g->met, NULL);
    g->count = g->left = count;
    if (getenv("FAKE_NCCL_REFUSES") || count > MOST || devices[0] == devices[1]) {
        free(g);
        return ncclSystemError;
    }
    for (int i = 0; i < count; i++) {
        g->comms[i] = (struct ncclComm){.group = g, .rank = i};
        out[i] = &g->comms[i];
    }
    if (fake_nccl_meddles)
        fake_nccl_meddles();
    return ncclSuccess;
}

static bool meet(group *g)
{
    pthread_mutex_lock(&g->lock);
    unsigned long meeting = g->meetings;
    if (++g->here == g->count) {
        g->here = 0;
        g->meetings++;
        pthread_cond_broadcast(&g->met);
    }
    while (g->meetings == meeting && !g->aborted)
        pthread_cond_wait(&g->met, &g->lock);
    bool whole = g->meetings != meeting;
    pthread_mutex_unlock(&g->lock);
    return whole;
}

static void put_mean(void *args)
{
    const mean *m = args;
    memcpy(m->to, m->values, m->count * sizeof *m->values);
    free(m->values);
}

static void begin(group *g)
{
    if (__atomic_add_fetch(&g->queueing, 1, __ATOMIC_RELAXED) == 1)
        __atomic_add_fetch(&fake_nccl_half, 1, __ATOMIC_RELAXED);
}

static ncclResult_t end(const ncclComm_t comm, ncclResult_t result)
{
    if (fake_nccl_slow && comm->rank)
        nanosleep(&(struct timespec){.tv_nsec = fake_nccl_slow * 1000000L}, NULL);
    if (__atomic_sub_fetch(&comm->group->queueing, 1, __ATOMIC_RELAXED) == 0)
        __atomic_sub_fetch(&fake_nccl_half, 1, __ATOMIC_RELAXED);
    return result;
}

static bool all_alike(const group *g)
{
    for (int r = 1; r < g->count; r++) {
        if (g->num_means[r] != g->num_means[0])
            return false;
        for (int i = 0; i < g->num_means[0]; i++)
            if (g->means[r][i].count != g->means[0][i].count)
                return false;
    }
    return true;
}

static float *mean_of(const group *g, int i)
{
    size_t count = g->means[0][i].count;
    float *values = malloc(count * sizeof *values);
    for (size_t k = 0; k < count; k++) {
        float sum = 0;
        for (int r = 0; r < g->count; r++)
            sum += g->means[r][i].to[k];
        values[k] = sum / (float)g->count;
    }
    return values;
}

/* Of all that was asked, at once. */
static ncclResult_t make_means(void)
{
    group *g = asked.comm->group;
    int rank = asked.comm->rank;
    asked.stream->finish(asked.stream);
    pthread_mutex_lock(&g->lock);
    g->means[rank] = asked.means;
    g->num_means[rank] = asked.num_means;
    pthread_mutex_unlock(&g->lock);
    if (!meet(g))
        return ncclRemoteError;
    bool alike = all_alike(g);
    for (int i = 0; alike && i < asked.num_means; i++)
        asked.means[i].values = mean_of(g, i);
    bool met = meet(g);
    for (int i = 0; alike && i < asked.num_means; i++)
        if (met)
            fake_do(asked.stream, put_mean, &asked.means[i], sizeof asked.means[i]);
        else
            free(asked.means[i].values);
    return met && alike ? ncclSuccess : ncclRemoteError;
}

static bool is_late(const ncclComm_t comm)
{
    pthread_mutex_lock(&comm->group->lock);
    bool late = comm->aborted;
    pthread_mutex_unlock(&comm->group->lock);
    if (late)
        __atomic_fetch_add(&fake_nccl_late, 1, __ATOMIC_RELAXED);
    return late;
}

ncclResult_t ncclGroupStart(void)
{
    if (asked.begun)
        return ncclInvalidUsage;
    asked.begun = true;
    asked.result = ncclSuccess;
    asked.num_means = 0;
    __atomic_fetch_add(&fake_nccl_open, 1, __ATOMIC_RELAXED);
    return ncclSuccess;
}

static ncclResult_t ask(float *to, size_t count, ncclComm_t comm, cudaStream_t stream)
{
    bool first = asked.num_means == 0;
    if (is_lost())
        return ncclUnhandledCudaError;
    if (is_late(comm) || asked.num_means == MOST_MEANS ||
        (!first && (asked.comm != comm || asked.stream != stream)))
        return ncclInvalidUsage;
    asked.comm = comm;
    asked.stream = stream;
    asked.means[asked.num_means++] = (mean){.to = to, .count = count};
    return ncclSuccess;
}

ncclResult_t ncclAllReduce(const void *from, void *to, size_t count, ncclDataType_t type,
                           ncclRedOp_t op, ncclComm_t comm, cudaStream_t stream)
{
    if (from != to || type != ncclFloat || op != ncclAvg || !stream)
        return ncclInvalidArgument;
    bool alone = !asked.begun;
    if (alone)
        ncclGroupStart();
    ncclResult_t result = ask(to, count, comm, stream);
    if (asked.result == ncclSuccess)
        asked.result = result;
    return alone ? ncclGroupEnd() : result;
}

/* A group of which one was refused does nothing. */
ncclResult_t ncclGroupEnd(void)
{
    if (!asked.begun)
        return ncclInvalidUsage;
    asked.begun = false;
    __atomic_fetch_sub(&fake_nccl_open, 1, __ATOMIC_RELAXED);
    if (asked.result != ncclSuccess || asked.num_means == 0)
        return asked.result;
    if (is_late(asked.comm))
        return ncclInvalidUsage;
    if (fake_nccl_tells)
        fake_nccl_tells(asked.comm->rank, asked.num_means, asked.stream);
    begin(asked.comm->group);
    return end(asked.comm, make_means());
}

static ncclResult_t leave(ncclComm_t comm, bool abort)
{
    group *g = comm->group;
    if (fake_nccl_meddles)
        fake_nccl_meddles();
    pthread_mutex_lock(&g->lock);
    comm->aborted = abort;
    g->aborted |= abort;
    pthread_cond_broadcast(&g->met);
    bool last = --g->left == 0, keep = g->aborted;
    pthread_mutex_unlock(&g->lock);
    if (last && keep) {
        pthread_mutex_lock(&aborted_lock);
        g->next = aborted;
        aborted = g;
        pthread_mutex_unlock(&aborted_lock);
    } else if (last) {
        free(g);
    }
    return ncclSuccess;
}

ncclResult_t ncclCommDestroy(ncclComm_t comm)
{
    return leave(comm, false);
}

ncclResult_t ncclCommAbort(ncclComm_t comm)
{
    __atomic_fetch_add(&fake_nccl_aborted, 1, __ATOMIC_RELAXED);
    return leave(comm, true);
}

const char *ncclGetErrorString(ncclResult_t result)
{
    return result == ncclSuccess              ? "success"
           : result == ncclUnhandledCudaError ? "unhandled cuda error"
                                              : "a fake failure";
}

const char *ncclGetLastError(ncclComm_t comm)
{
    return "a fake reason";
}
