/* SPDX-License-Identifier: BSD-2-Clause
 * runtime.c: what the CUDA module calls of the CUDA runtime, on two devices that are not there:
 * their memory is the host's and work is done when it is asked for. What a real one would hold
 * against the caller is held here too: memory of one device used with another one current,
 * work in a stream that is not the caller's, anything but launches while recording. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <cuda_runtime_api.h>

enum { DEVICES = 2, MOST = 65536 };

struct CUstream_st {
    int device;
};
struct CUevent_st {
    int device;
};

typedef struct piece {
    char *start;
    size_t bytes;
    int device;
} piece;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static piece pieces[MOST];
static int live_streams, live_events;
static _Thread_local int current;
static _Thread_local cudaError_t last;

/* Where the test looks: what is left, and how often a host's stream had work. */
__attribute__((visibility("default"))) long fake_cuda_live(void);
__attribute__((visibility("default"))) long fake_cuda_current(int set);
__attribute__((visibility("default"))) void *fake_cuda_stream(int device);
__attribute__((visibility("default"))) long fake_cuda_given;

static struct CUstream_st given[DEVICES] = {{0}, {1}};

void *fake_cuda_stream(int device)
{
    return &given[device];
}

long fake_cuda_current(int set)
{
    if (set >= 0)
        current = set;
    return current;
}

long fake_cuda_live(void)
{
    long live = live_streams + live_events;
    for (int i = 0; i < MOST; i++)
        live += pieces[i].start != NULL;
    return live;
}

static cudaError_t done(cudaError_t error)
{
    if (error != cudaSuccess)
        last = error;
    return error;
}

static cudaError_t in_stream(cudaStream_t stream)
{
    fake_cuda_given += stream >= given && stream < given + DEVICES;
    return done(!stream || stream->device != current ? cudaErrorInvalidResourceHandle
                                                     : cudaSuccess);
}

/* ---- memory ------------------------------------------------------------------------------ */

#define MOST_SOILED ((size_t)1 << 22)

cudaError_t cudaMalloc(void **out, size_t bytes)
{
    char *start = aligned_alloc(256, (bytes + 256) / 256 * 256);
    if (!start)
        return done(cudaErrorMemoryAllocation);
    /* Nobody may count on zeros; of the gigabyte a trial is lent, its beginning is enough. */
    memset(start, 0xB5, bytes < MOST_SOILED ? bytes : MOST_SOILED);
    pthread_mutex_lock(&lock);
    for (int i = 0; i < MOST; i++)
        if (!pieces[i].start) {
            pieces[i] = (piece){start, bytes, current};
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
    for (int i = 0; i < MOST && device < 0; i++)
        if (pieces[i].start && (const char *)ptr >= pieces[i].start &&
            (const char *)ptr < pieces[i].start + pieces[i].bytes)
            device = pieces[i].device;
    pthread_mutex_unlock(&lock);
    return device;
}

cudaError_t cudaFree(void *ptr)
{
    cudaError_t error = ptr ? cudaErrorInvalidValue : cudaSuccess;
    pthread_mutex_lock(&lock);
    for (int i = 0; i < MOST && ptr; i++)
        if (pieces[i].start == ptr && pieces[i].device == current) {
            free(ptr);
            pieces[i].start = NULL;
            error = cudaSuccess;
            break;
        }
    pthread_mutex_unlock(&lock);
    return done(error);
}

cudaError_t cudaHostAlloc(void **out, size_t bytes, unsigned flags)
{
    (void)flags;
    *out = calloc(1, bytes);
    return done(*out ? cudaSuccess : cudaErrorMemoryAllocation);
}

cudaError_t cudaFreeHost(void *ptr)
{
    free(ptr);
    return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t *left, size_t *total)
{
    *left = (size_t)1 << 30;
    *total = (size_t)2 << 30;
    return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind,
                            cudaStream_t stream)
{
    const void *device = kind == cudaMemcpyHostToDevice ? to : from;
    if (in_stream(stream) != cudaSuccess)
        return last;
    if (device_of(device) != current)
        return done(cudaErrorInvalidDevicePointer);
    memcpy(to, from, bytes);
    return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void *device, int value, size_t bytes, cudaStream_t stream)
{
    if (in_stream(stream) != cudaSuccess)
        return last;
    if (device_of(device) != current)
        return done(cudaErrorInvalidDevicePointer);
    memset(device, value, bytes);
    return cudaSuccess;
}

/* ---- devices, streams, events ------------------------------------------------------------ */

cudaError_t cudaGetDeviceCount(int *count)
{
    *count = getenv("FAKE_CUDA_NONE") ? 0 : DEVICES;
    return *count ? cudaSuccess : done(cudaErrorNoDevice);
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
    current = device;
    return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *p, int device)
{
    memset(p, 0, sizeof *p);
    memcpy(p->name, "Fake 100", 9);
    p->major = 9;
    p->multiProcessorCount = 4;
    p->totalGlobalMem = (size_t)2 << 30;
    p->memoryBusWidth = 5120;
    p->pciDeviceID = device;
    return cudaSuccess;
}

cudaError_t cudaDriverGetVersion(int *version)
{
    *version = CUDART_VERSION;
    return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *out, unsigned flags)
{
    (void)flags;
    *out = malloc(sizeof **out);
    (*out)->device = current;
    __atomic_fetch_add(&live_streams, 1, __ATOMIC_RELAXED);
    return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream)
{
    free(stream);
    __atomic_fetch_sub(&live_streams, 1, __ATOMIC_RELAXED);
    return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream)
{
    return in_stream(stream);
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags)
{
    (void)flags;
    return event ? in_stream(stream) : done(cudaErrorInvalidResourceHandle);
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *out, unsigned flags)
{
    (void)flags;
    *out = malloc(sizeof **out);
    (*out)->device = current;
    __atomic_fetch_add(&live_events, 1, __ATOMIC_RELAXED);
    return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t event)
{
    free(event);
    __atomic_fetch_sub(&live_events, 1, __ATOMIC_RELAXED);
    return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream)
{
    return event->device == current ? in_stream(stream) : done(cudaErrorInvalidResourceHandle);
}

cudaError_t cudaEventSynchronize(cudaEvent_t event)
{
    (void)event;
    return cudaSuccess;
}

/* ---- recordings: refused, as what is done at once cannot be recorded --------------------- */

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, enum cudaStreamCaptureMode mode)
{
    (void)stream, (void)mode;
    return done(cudaErrorStreamCaptureUnsupported);
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph)
{
    (void)stream, (void)graph;
    return done(cudaErrorStreamCaptureUnmatched);
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *out, cudaGraph_t graph,
                                 unsigned long long flags)
{
    (void)out, (void)graph, (void)flags;
    return done(cudaErrorInvalidValue);
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph)
{
    (void)graph;
    return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec)
{
    (void)exec;
    return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream)
{
    (void)exec, (void)stream;
    return done(cudaErrorInvalidValue);
}

/* ---- words ------------------------------------------------------------------------------- */

cudaError_t cudaGetLastError(void)
{
    cudaError_t error = last;
    last = cudaSuccess;
    return error;
}

const char *cudaGetErrorName(cudaError_t error)
{
    return error == cudaErrorNoDevice ? "cudaErrorNoDevice" : "cudaErrorOfSomeKind";
}

const char *cudaGetErrorString(cudaError_t error)
{
    return error == cudaErrorNoDevice ? "no CUDA-capable device is detected" : "a fake error";
}
