/* SPDX-License-Identifier: BSD-2-Clause
 * runtime.c: what the CUDA module calls of the CUDA runtime, on two devices that are not there:
 * their memory is the host's and work is done as late as a stream may do it, when somebody
 * waits for it, or recorded and done so by each replay. What a real one would hold against the
 * caller is held here too: memory of one device used with another one current, work in a stream
 * that is not the caller's, anything but work for the stream that is recorded while one is, or
 * a kernel that was never launched before, a copy from memory that is not pinned, for which the
 * host would wait. */
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "fake_cuda.h"
#include "stream.h"

#include "grid.cuh" /* after CUDA's */

#ifndef FAKE_PROCESSORS
#define FAKE_PROCESSORS 132
#endif

enum { DEVICES = 2, MOST = 65536, MOST_STREAMS = 1024, MOST_TODO = 4096, MOST_KERNELS = 1024 };

struct CUevent_st {
    int device;
    cudaStream_t stream;      /* it was recorded in, NULL: in none; */
    struct CUgraph_st *graph; /* as part of that: NULL: of none */
    long at;                  /* when so much had been queued, or noted, there */
    long path;                /* the longest way to it */
};

typedef struct piece {
    char *start;
    size_t bytes;
    int device;
} piece;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static piece pieces[MOST];
static int used; /* of them: those after are empty */
static int live_streams, live_events;
static _Thread_local int current = -1;
static _Thread_local cudaError_t last;
static _Thread_local cudaStream_t recorded; /* by this thread */

__attribute__((visibility("default"))) fake_cuda_control fake_cuda;

#define count(counter) __atomic_add_fetch(&(counter), 1, __ATOMIC_RELAXED)

/* Where the test looks: what is left on the devices. */
__attribute__((visibility("default"))) long fake_cuda_live(void);
__attribute__((visibility("default"))) void *fake_cuda_current(void *set);
__attribute__((visibility("default"))) void *fake_cuda_stream(int device);
__attribute__((visibility("default"))) long fake_cuda_queued(void *stream); /* ever */

/* Streams stay where they are, as events go on pointing to them: those given by the host come
 * first. */
static struct CUstream_st streams[MOST_STREAMS];
static pthread_mutex_t streams_lock;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void begin(void)
{
    pthread_mutexattr_t recursive;
    pthread_mutexattr_init(&recursive);
    pthread_mutexattr_settype(&recursive, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&streams_lock, &recursive);
    pthread_mutexattr_destroy(&recursive);
}

static void lock_streams(void)
{
    pthread_once(&once, begin);
    pthread_mutex_lock(&streams_lock);
}

static void unlock_streams(void)
{
    pthread_mutex_unlock(&streams_lock);
}

/* ---- what is to be done ------------------------------------------------------------------ */

typedef struct wait_until {
    cudaStream_t stream;
    long at;
} wait_until;

static void run_until(cudaStream_t stream, long at);

static void wait_here(void *args)
{
    const wait_until *w = args;
    run_until(w->stream, w->at);
}

static void run_next(cudaStream_t stream)
{
    fake_node node =
        stream->todo.nodes[stream->ran - (stream->queued - (long)stream->todo.count)];
    node.work(node.args);
    free(node.args);
    if (++stream->ran == stream->queued)
        stream->todo.count = 0;
}

static void run_until(cudaStream_t stream, long at)
{
    while (stream->ran < at)
        run_next(stream);
}

static bool may_run(cudaStream_t stream)
{
    size_t next = stream->todo.count - (size_t)(stream->queued - stream->ran);
    const fake_node *node = &stream->todo.nodes[next];
    const wait_until *w = node->args;
    return node->work != wait_here || w->stream->ran >= w->at;
}

static void more(cudaStream_t stream)
{
    if (stream->queued - stream->ran > MOST_TODO)
        run_until(stream, stream->queued);
    while (stream->soon && stream->ran < stream->queued && may_run(stream))
        run_next(stream);
}

static void finish(cudaStream_t stream)
{
    lock_streams();
    run_until(stream, stream->queued);
    unlock_streams();
}

/* It failed, with all that was still to come. */
static void lose(cudaStream_t stream)
{
    lock_streams();
    for (; stream->ran < stream->queued; stream->ran++)
        free(stream->todo.nodes[stream->ran - stream->queued + (long)stream->todo.count].args);
    stream->todo.count = 0;
    unlock_streams();
}

/* Of a device; -1: of all. */
static void finish_all(int device)
{
    lock_streams();
    for (int i = 0; i < MOST_STREAMS; i++)
        if (streams[i].more && (device < 0 || streams[i].device == device))
            run_until(&streams[i], streams[i].queued);
    unlock_streams();
}

static bool is_lost(void)
{
    long lost = __atomic_load_n(&fake_cuda.lost, __ATOMIC_RELAXED);
    return lost && __atomic_load_n(&fake_cuda.launches, __ATOMIC_RELAXED) >= lost;
}

static bool fails(void)
{
    long call = count(fake_cuda.calls), first = fake_cuda.fail_call;
    return first && call >= first && call - first <= fake_cuda.fail_more;
}

/* Of the caller's own streams the first is the one that computes; those after it may be ahead.
 */
static cudaStream_t make_stream(int from, int end, int device)
{
    cudaStream_t stream = NULL;
    lock_streams();
    for (int i = from; i < end && !stream; i++)
        if (!streams[i].there)
            stream = &streams[i];
    if (stream) {
        stream->there = true;
        stream->device = device;
        stream->soon = fake_cuda.soon != 0;
        stream->lock = &streams_lock;
        stream->more = more;
        stream->finish = finish;
        stream->fails = fails;
        stream->lost = is_lost;
    }
    unlock_streams();
    return stream;
}

void *fake_cuda_stream(int device)
{
    return streams[device].there ? &streams[device] : make_stream(device, device + 1, device);
}

long fake_cuda_queued(void *stream)
{
    return ((struct CUstream_st *)stream)->queued;
}

long fake_cuda_live(void)
{
    long live = live_streams + live_events;
    for (int i = 0; i < used; i++)
        live += pieces[i].start != NULL;
    return live;
}

static cudaError_t done(cudaError_t error)
{
    if (is_lost())
        error = cudaErrorLaunchFailure; /* whatever else it would have been */
    if (error != cudaSuccess)
        last = error;
    return error;
}

/* What is not work for the stream that this thread records ends the recording. */
static cudaError_t not_recording(void)
{
    return done(recorded ? cudaErrorStreamCaptureUnsupported : cudaSuccess);
}

/* Memory is taken and given back, and a graph made, when no device is busy: each that another
 * may look into waits, too. */
static void wait_for_all(void)
{
    count(fake_cuda.held_up);
    if (fake_cuda.half && __atomic_load_n(fake_cuda.half, __ATOMIC_RELAXED) > 0)
        count(fake_cuda.stuck);
}

/* A real driver that has ended may well crash. */
static void let_go(void)
{
    if (fake_cuda.gone)
        count(fake_cuda.late);
}

static cudaError_t in_stream(cudaStream_t stream)
{
    if (!stream || !stream->there || stream->device != current)
        return done(cudaErrorInvalidResourceHandle);
    if (recorded && stream->recording != recorded->recording)
        return done(cudaErrorStreamCaptureImplicit);
    if (stream < streams + DEVICES)
        count(fake_cuda.given);
    return done(cudaSuccess);
}

static bool has_room(size_t bytes)
{
    return !fake_cuda.limit || fake_cuda.held + bytes <= fake_cuda.limit;
}

/* ---- kernels ----------------------------------------------------------------------------- */

typedef struct launch {
    dn_op op; /* whose own may be gone by then: all that loops ask of it */
    cuda_loop loop;
    int64_t n;
    _Alignas(16) char args[];
} launch;

/* A kernel is loaded when a device first launches it, which may wait for that: not while a
 * stream is recorded. */
static bool loads(const void *kernel)
{
    static const void *of_device[DEVICES][MOST_KERNELS];
    const void **loaded = of_device[current];
    pthread_mutex_lock(&lock);
    int i = 0;
    while (i < MOST_KERNELS && loaded[i] && loaded[i] != kernel)
        i++;
    bool first = i == MOST_KERNELS || !loaded[i];
    if (first && !recorded && i < MOST_KERNELS)
        loaded[i] = kernel;
    pthread_mutex_unlock(&lock);
    return first;
}

cudaError_t fake_cuda_fail(cudaError_t error)
{
    return done(error);
}

void fake_cuda_lose(void)
{
    __atomic_store_n(&fake_cuda.lost, 1, __ATOMIC_RELAXED);
}

cudaError_t fake_cuda_launch(cudaStream_t stream, const void *kernel, fake_work work,
                             const void *args, size_t bytes)
{
    if (count(fake_cuda.launches) == fake_cuda.fail_launch)
        return done(cudaErrorLaunchOutOfResources);
    if (in_stream(stream) != cudaSuccess || (loads(kernel) && not_recording() != cudaSuccess))
        return last;
    if (!recorded && !has_room(fake_cuda.kernel))
        return done(cudaErrorMemoryAllocation);
    fake_do(stream, work, args, bytes);
    return cudaSuccess;
}

static void run_launch(void *at)
{
    launch *l = at;
    l->loop(&l->op, l->args, l->n);
}

void cuda_launch(const dn_op *op, cuda_loop loop, const void *args, size_t bytes, int64_t n)
{
    launch *l = malloc(sizeof *l + bytes);
    *l = (launch){.op = {.backend = op->backend}, .loop = loop, .n = n};
    memcpy(l->args, args, bytes);
    fake_cuda_launch(op->backend->stream, (const void *)loop, run_launch, l, sizeof *l + bytes);
    free(l);
}

/* ---- memory ------------------------------------------------------------------------------ */

#define MOST_SOILED ((size_t)1 << 22)

cudaError_t cudaMalloc(void **out, size_t bytes)
{
    if (not_recording() != cudaSuccess)
        return last;
    if (fake_cuda.slow && current)
        nanosleep(&(struct timespec){.tv_nsec = fake_cuda.slow * 1000000L}, NULL);
    wait_for_all();
    pthread_mutex_lock(&lock);
    bool fits = has_room(bytes);
    fake_cuda.held += fits ? bytes : 0;
    fake_cuda.most = fake_cuda.held > fake_cuda.most ? fake_cuda.held : fake_cuda.most;
    pthread_mutex_unlock(&lock);
    char *start = fits ? aligned_alloc(256, (bytes + 256) / 256 * 256) : NULL;
    if (!start)
        return done(cudaErrorMemoryAllocation);
    count(fake_cuda.allocations);
    /* Nobody may count on zeros: NaN, in every type; of the gigabyte a trial is lent, its
     * beginning is enough. */
    memset(start, 0xFF, bytes < MOST_SOILED ? bytes : MOST_SOILED);
    pthread_mutex_lock(&lock);
    for (int i = 0; i < MOST; i++)
        if (!pieces[i].start) {
            pieces[i] = (piece){start, bytes, current};
            used = i < used ? used : i + 1;
            break;
        }
    pthread_mutex_unlock(&lock);
    *out = start;
    return cudaSuccess;
}

static int device_of(const void *ptr)
{
    int device = -1;
    pthread_mutex_lock(&lock);
    for (int i = 0; i < used && device < 0; i++)
        if (pieces[i].start && (const char *)ptr >= pieces[i].start &&
            (const char *)ptr < pieces[i].start + pieces[i].bytes)
            device = pieces[i].device;
    pthread_mutex_unlock(&lock);
    return device;
}

/* A device's primary context is the address of its mark; the host may have one of its own. */
static char primary[DEVICES];
static _Thread_local char *context;

static int get_current(void **out)
{
    *out = context;
    return fake_cuda.gone ? cudaErrorCudartUnloading : 0;
}

static int set_current(void *wanted)
{
    context = wanted;
    current = -1;
    for (int i = 0; i < DEVICES; i++)
        if (context == &primary[i])
            current = i;
    return 0;
}

/* As most calls of the runtime do. */
static void start_device(void)
{
    if (!context)
        set_current(&primary[0]);
}

cudaError_t cudaFree(void *ptr)
{
    let_go();
    cudaError_t error = ptr ? cudaErrorInvalidValue : cudaSuccess;
    start_device();
    if (ptr && not_recording() != cudaSuccess && !is_lost())
        return last;
    wait_for_all();
    if (ptr)
        finish_all(current);
    pthread_mutex_lock(&lock);
    for (int i = 0; i < used && ptr; i++)
        if (pieces[i].start == ptr && pieces[i].device == current) {
            free(ptr);
            pieces[i].start = NULL;
            fake_cuda.held -= pieces[i].bytes;
            error = cudaSuccess;
            break;
        }
    pthread_mutex_unlock(&lock);
    return done(error);
}

/* Pinned memory, whose begin and end are kept. */
static char *pinned[MOST][2];

static bool is_pinned(const void *ptr, size_t bytes)
{
    bool is = false;
    pthread_mutex_lock(&lock);
    for (int i = 0; i < MOST && pinned[i][1] && !is; i++)
        is = pinned[i][0] && (const char *)ptr >= pinned[i][0] &&
             (const char *)ptr + bytes <= pinned[i][1];
    pthread_mutex_unlock(&lock);
    return is;
}

bool fake_cuda_memory(int device, const void *at, char **from, char **to)
{
    const char *byte = at;
    bool found = false;
    pthread_mutex_lock(&lock);
    for (int i = 0; i < used && !found; i++) {
        *from = pieces[i].start;
        *to = pieces[i].start + pieces[i].bytes;
        found = *from && pieces[i].device == device && byte >= *from && byte < *to;
    }
    for (int i = 0; i < MOST && pinned[i][1] && !found; i++) {
        *from = pinned[i][0];
        *to = pinned[i][1];
        found = *from && byte >= *from && byte < *to;
    }
    pthread_mutex_unlock(&lock);
    return found;
}

cudaError_t cudaHostAlloc(void **out, size_t bytes, unsigned flags)
{
    (void)flags;
    if (not_recording() != cudaSuccess)
        return last;
    wait_for_all();
    char *start = fake_cuda.no_pinned ? NULL : malloc(bytes);
    if (start)
        memset(start, 0xFF, bytes); /* nobody may count on zeros here either */
    pthread_mutex_lock(&lock);
    for (int i = 0; i < MOST && start; i++)
        if (!pinned[i][0]) {
            pinned[i][0] = start;
            pinned[i][1] = start + bytes;
            break;
        }
    pthread_mutex_unlock(&lock);
    *out = start;
    return done(start ? cudaSuccess : cudaErrorMemoryAllocation);
}

cudaError_t cudaFreeHost(void *ptr) /* nothing says that NULL is no error */
{
    let_go();
    start_device();
    wait_for_all();
    if (ptr)
        finish_all(-1);
    pthread_mutex_lock(&lock);
    for (int i = 0; i < MOST && pinned[i][1] && ptr; i++)
        if (pinned[i][0] == ptr)
            pinned[i][0] = NULL;
    pthread_mutex_unlock(&lock);
    free(ptr);
    return done(ptr ? cudaSuccess : cudaErrorInvalidValue);
}

cudaError_t cudaMemGetInfo(size_t *left, size_t *total)
{
    *total = fake_cuda.limit ? fake_cuda.limit : (size_t)2 << 30;
    *left = *total > fake_cuda.held ? *total - fake_cuda.held : 0;
    return done(cudaSuccess);
}

typedef struct copy {
    void *to;
    const void *from; /* NULL: it is cleared */
    size_t bytes;
} copy;

static void run_copy(void *args)
{
    const copy *c = args;
    if (c->from)
        memcpy(c->to, c->from, c->bytes);
    else
        memset(c->to, 0, c->bytes);
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind,
                            cudaStream_t stream)
{
    const void *device = kind == cudaMemcpyDeviceToHost ? from : to;
    if (not_recording() != cudaSuccess || in_stream(stream) != cudaSuccess)
        return last;
    if (device_of(device) != current)
        return done(cudaErrorInvalidDevicePointer);
    if (kind == cudaMemcpyDeviceToDevice && device_of(from) != current)
        return done(cudaErrorInvalidDevicePointer);
    if (kind == cudaMemcpyHostToDevice && !is_pinned(from, bytes))
        return done(cudaErrorInvalidValue);
    __atomic_add_fetch(&fake_cuda.copied[kind], bytes, __ATOMIC_RELAXED);
    fake_do(stream, run_copy, &(copy){to, from, bytes}, sizeof(copy));
    if (kind == cudaMemcpyDeviceToHost && !is_pinned(to, bytes)) {
        wait_for_all();
        finish(stream); /* as the real one does */
    }
    return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void *device, int value, size_t bytes, cudaStream_t stream)
{
    if (not_recording() != cudaSuccess || in_stream(stream) != cudaSuccess)
        return last;
    if (device_of(device) != current || value)
        return done(cudaErrorInvalidDevicePointer);
    fake_do(stream, run_copy, &(copy){device, NULL, bytes}, sizeof(copy));
    return cudaSuccess;
}

/* ---- devices, streams, events ------------------------------------------------------------ */

/* set NULL: no change. What is current to this thread: NULL, or whatever it set. */
void *fake_cuda_current(void *set)
{
    if (set)
        set_current(set);
    return context;
}

cudaError_t cudaGetDeviceCount(int *number)
{
    const char *lost = getenv("FAKE_CUDA_LOST"), *memory = getenv("FAKE_CUDA_MEMORY");
    const char *driver = getenv("FAKE_CUDA_DRIVER");
    if (lost) /* for whole processes */
        fake_cuda.lost = atol(lost);
    if (memory)
        fake_cuda.limit = (size_t)atol(memory);
    if (driver)
        fake_cuda.driver = atoi(driver);
    *number = getenv("FAKE_CUDA_NONE") || fake_cuda.driver ? 0 : DEVICES;
    return *number            ? cudaSuccess
           : fake_cuda.driver ? done(cudaErrorInsufficientDriver)
                              : done(cudaErrorNoDevice);
}

cudaError_t cudaGetDevice(int *device)
{
    *device = current;
    return cudaSuccess;
}

cudaError_t cudaSetDevice(int device)
{
    if (device < 0 || device >= DEVICES)
        return done(cudaErrorInvalidDevice);
    set_current(&primary[device]);
    return cudaSuccess;
}

cudaError_t cudaGetDriverEntryPointByVersion(const char *name, void **out, unsigned version,
                                             unsigned long long flags,
                                             enum cudaDriverEntryPointQueryResult *result)
{
    (void)version, (void)flags;
    int (*getter)(void **) = get_current, (*setter)(void *) = set_current;
    memcpy(out, strcmp(name, "cuCtxGetCurrent") ? (void *)&setter : (void *)&getter,
           sizeof *out);
    *result = cudaDriverEntryPointSuccess;
    return done(cudaSuccess);
}

cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *p, int device)
{
    memset(p, 0, sizeof *p);
    memcpy(p->name, "Fake 100", 9);
    p->major = 9;
    p->multiProcessorCount = FAKE_PROCESSORS;
    p->totalGlobalMem = (size_t)2 << 30;
    p->memoryBusWidth = 5120;
    p->pciDeviceID = device;
    return cudaSuccess;
}

/* kHz, of an H100 */
cudaError_t cudaDeviceGetAttribute(int *value, enum cudaDeviceAttr which, int device)
{
    (void)device;
    *value = which == cudaDevAttrClockRate ? 1980000 : 2619000;
    return done(cudaSuccess);
}

cudaError_t cudaDriverGetVersion(int *version)
{
    *version = fake_cuda.driver < 0 ? 0 : fake_cuda.driver ? fake_cuda.driver : CUDART_VERSION;
    return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *out, unsigned flags)
{
    if (is_lost())
        return done(cudaSuccess);
    if (fails())
        return done(cudaErrorMemoryAllocation);
    if (flags != cudaStreamNonBlocking) /* it would wait for the host's legacy stream */
        return done(cudaErrorInvalidValue);
    *out = make_stream(DEVICES, MOST_STREAMS, current);
    count(live_streams);
    return *out ? cudaSuccess : done(cudaErrorMemoryAllocation);
}

cudaError_t cudaStreamDestroy(cudaStream_t stream)
{
    let_go();
    lock_streams();
    run_until(stream, stream->queued);
    stream->there = false;
    unlock_streams();
    __atomic_fetch_sub(&live_streams, 1, __ATOMIC_RELAXED);
    return cudaSuccess;
}

/* Work may always be under way; the caller's last error is this then, as any other. */
cudaError_t cudaStreamQuery(cudaStream_t stream)
{
    if (not_recording() != cudaSuccess || in_stream(stream) != cudaSuccess)
        return last;
    return done(cudaErrorNotReady);
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream)
{
    let_go();
    if (count(fake_cuda.waits) == fake_cuda.fail_wait) {
        lose(stream);
        return done(cudaErrorUnknown);
    }
    if (not_recording() != cudaSuccess || in_stream(stream) != cudaSuccess)
        return last;
    finish(stream);
    return cudaSuccess;
}

/* Of what was recorded so far, which the waiting stream joins unless it has. */
static cudaError_t wait_recorded(cudaStream_t stream, cudaEvent_t event)
{
    struct CUgraph_st *graph = event->graph;
    if (!recorded || recorded->recording != graph || !stream->there ||
        stream->device != current || (stream->recording && stream->recording != graph))
        return done(cudaErrorStreamCaptureIsolation);
    if (!stream->recording) {
        if (graph->lanes == FAKE_LANES)
            return done(cudaErrorMemoryAllocation);
        stream->recording = graph;
        stream->lane = graph->lanes++;
        graph->in[stream->lane] = stream;
    }
    fake_note(graph, NULL, "", 1);
    fake_node *node = &graph->nodes[graph->count - 1];
    node->lane = stream->lane;
    node->on = event->stream->lane;
    node->until = event->at;
    graph->noted[stream->lane]++;
    if (graph->path[stream->lane] < event->path)
        graph->path[stream->lane] = event->path;
    return done(cudaSuccess);
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags)
{
    (void)flags;
    if (!event || fails())
        return done(cudaErrorInvalidResourceHandle);
    if (event->graph)
        return wait_recorded(stream, event);
    if (not_recording() != cudaSuccess || in_stream(stream) != cudaSuccess)
        return last;
    if (event->stream)
        fake_do(stream, wait_here, &(wait_until){event->stream, event->at}, sizeof(wait_until));
    return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *out, unsigned flags)
{
    (void)flags;
    if (is_lost())
        return done(cudaSuccess);
    if (fails())
        return done(cudaErrorMemoryAllocation);
    *out = calloc(1, sizeof **out);
    (*out)->device = current;
    __atomic_fetch_add(&live_events, 1, __ATOMIC_RELAXED);
    return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t event)
{
    let_go();
    free(event);
    __atomic_fetch_sub(&live_events, 1, __ATOMIC_RELAXED);
    return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream)
{
    if (event->device != current || fails())
        return done(cudaErrorInvalidResourceHandle);
    if (in_stream(stream) != cudaSuccess)
        return last;
    event->stream = stream;
    event->graph = stream->recording;
    event->at = event->graph ? event->graph->noted[stream->lane] : stream->queued;
    event->path = event->graph ? event->graph->path[stream->lane] : 0;
    return cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event)
{
    if (event->device != current)
        return done(cudaErrorInvalidResourceHandle);
    if (event->graph)
        return done(cudaErrorCapturedEvent);
    if (not_recording() != cudaSuccess)
        return last;
    lock_streams();
    if (event->stream && event->stream->ran < event->at)
        count(fake_cuda.paced);
    if (event->stream)
        run_until(event->stream, event->at);
    unlock_streams();
    return done(cudaSuccess);
}

/* ---- recordings -------------------------------------------------------------------------- */

struct CUgraphExec_st {
    cudaGraph_t graph;
};

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, enum cudaStreamCaptureMode mode)
{
    if (mode != cudaStreamCaptureModeThreadLocal) /* others would disturb all threads */
        return done(cudaErrorStreamCaptureUnsupported);
    if (fails() || fake_cuda.no_capture || !stream || recorded)
        return done(cudaErrorStreamCaptureUnsupported);
    if (in_stream(stream) != cudaSuccess)
        return last;
    stream->recording = calloc(1, sizeof *stream->recording);
    stream->recording->device = current;
    stream->recording->owners = 1;
    stream->recording->lanes = 1;
    stream->recording->in[0] = stream;
    stream->lane = 0;
    recorded = stream;
    return cudaSuccess;
}

/* Has the stream where it began waited for the end of each that joined it? */
static bool is_joined(const struct CUgraph_st *graph)
{
    bool joined[FAKE_LANES] = {true};
    bool all = true;
    for (size_t i = 0; i < graph->count; i++) {
        const fake_node *node = &graph->nodes[i];
        if (!node->work && node->lane == 0 && node->until == graph->noted[node->on])
            joined[node->on] = true;
    }
    for (int lane = 0; lane < graph->lanes; lane++)
        all &= joined[lane];
    return all;
}

/* One that something else disturbed, or that leaves a stream behind, is invalid. */
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph)
{
    if (!recorded || stream != recorded)
        return done(cudaErrorStreamCaptureUnmatched);
    cudaGraph_t made = stream->recording;
    for (int lane = 0; lane < made->lanes; lane++)
        made->in[lane]->recording = NULL;
    recorded = NULL;
    if (fails())
        done(cudaErrorUnknown);
    if (last != cudaSuccess || !is_joined(made)) {
        cudaGraphDestroy(made);
        return done(last != cudaSuccess ? cudaErrorStreamCaptureInvalidated
                                        : cudaErrorStreamCaptureUnjoined);
    }
    *graph = made;
    long kernels = 0;
    long all = 0;
    for (size_t i = 0; i < made->count; i++) {
        kernels += made->nodes[i].work == run_launch;
        all += made->nodes[i].work != NULL;
    }
    __atomic_store_n(&fake_cuda.all, all, __ATOMIC_RELAXED);
    __atomic_store_n(&fake_cuda.kernels, kernels, __ATOMIC_RELAXED);
    __atomic_store_n(&fake_cuda.lanes, made->lanes, __ATOMIC_RELAXED);
    __atomic_store_n(&fake_cuda.path, made->path[0], __ATOMIC_RELAXED);
    count(fake_cuda.recordings);
    return done(cudaSuccess);
}

/* The graph lives on in what is made of it, which one of them frees. */
cudaError_t cudaGraphInstantiate(cudaGraphExec_t *out, cudaGraph_t graph,
                                 unsigned long long flags)
{
    if (fails() || !has_room(fake_cuda.graph * graph->count))
        return done(cudaErrorMemoryAllocation);
    if (flags || not_recording() != cudaSuccess)
        return done(cudaErrorInvalidValue);
    wait_for_all();
    *out = calloc(1, sizeof **out);
    (*out)->graph = calloc(1, sizeof *graph);
    *(*out)->graph = *graph;
    *graph = (struct CUgraph_st){.device = graph->device, .owners = 1};
    return done(cudaSuccess);
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph)
{
    if (__atomic_sub_fetch(&graph->owners, 1, __ATOMIC_ACQ_REL))
        return cudaSuccess;
    for (size_t i = 0; i < graph->count; i++)
        free(graph->nodes[i].args);
    free(graph->nodes);
    free(graph);
    return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec)
{
    cudaGraphDestroy(exec->graph);
    free(exec);
    return cudaSuccess;
}

/* The next of a lane; graph->count: it is done. */
static size_t next_in(cudaGraph_t graph, int lane, size_t from)
{
    while (from < graph->count && graph->nodes[from].lane != lane)
        from++;
    return from;
}

/* Which of the lanes that can go on does so: that where it began, the last one, or any. */
static int next_lane(int can, int lanes, unsigned *state)
{
    int order = fake_cuda.order, lane = order == 1 ? lanes - 1 : 0;
    if (order > 1) {
        *state = *state * 1664525u + 1013904223u;
        lane = (int)(*state >> 16) % lanes;
    }
    while (!(can >> lane & 1))
        lane = order == 1 ? lane - 1 : (lane + 1) % lanes;
    return lane;
}

static void run_graph(void *args)
{
    cudaGraph_t graph = *(cudaGraph_t *)args;
    size_t at[FAKE_LANES];
    long ran[FAKE_LANES] = {0};
    unsigned state = (unsigned)fake_cuda.order;
    for (int lane = 0; lane < graph->lanes; lane++)
        at[lane] = next_in(graph, lane, 0);
    for (;;) {
        int can = 0;
        for (int lane = 0; lane < graph->lanes; lane++) {
            const fake_node *node = &graph->nodes[at[lane]];
            if (at[lane] < graph->count && (node->work || ran[node->on] >= node->until))
                can |= 1 << lane;
        }
        if (!can)
            break;
        int lane = next_lane(can, graph->lanes, &state);
        const fake_node *node = &graph->nodes[at[lane]];
        if (node->work)
            node->work(node->args);
        ran[lane]++;
        at[lane] = next_in(graph, lane, at[lane] + 1);
    }
    cudaGraphDestroy(graph);
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream)
{
    if (not_recording() != cudaSuccess || in_stream(stream) != cudaSuccess)
        return last;
    if (exec->graph->device != current)
        return done(cudaErrorInvalidResourceHandle);
    if (count(fake_cuda.launches) == fake_cuda.fail_launch)
        return done(cudaErrorLaunchOutOfResources);
    count(fake_cuda.replays);
    __atomic_add_fetch(&exec->graph->owners, 1, __ATOMIC_RELAXED);
    fake_do(stream, run_graph, &exec->graph, sizeof exec->graph);
    return done(cudaSuccess);
}

/* ---- words ------------------------------------------------------------------------------- */

cudaError_t cudaPeekAtLastError(void)
{
    return is_lost() ? cudaErrorLaunchFailure : last;
}

cudaError_t cudaGetLastError(void)
{
    cudaError_t error = cudaPeekAtLastError();
    last = cudaSuccess;
    return error;
}

static const struct {
    cudaError_t error;
    const char *name, *text;
} words[] = {{cudaErrorNoDevice, "cudaErrorNoDevice", "no CUDA-capable device is detected"},
             {cudaErrorInsufficientDriver, "cudaErrorInsufficientDriver",
              "CUDA driver version is insufficient for CUDA runtime version"},
             {cudaErrorLaunchFailure, "cudaErrorLaunchFailure", "unspecified launch failure"},
             {cudaErrorLaunchOutOfResources, "cudaErrorLaunchOutOfResources",
              "too many resources requested for launch"},
             {cudaErrorMemoryAllocation, "cudaErrorMemoryAllocation", "out of memory"}};

const char *cudaGetErrorName(cudaError_t error)
{
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (words[i].error == error)
            return words[i].name;
    return "cudaErrorOfSomeKind";
}

const char *cudaGetErrorString(cudaError_t error)
{
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (words[i].error == error)
            return words[i].text;
    return "a fake error";
}
