/* SPDX-License-Identifier: BSD-2-Clause
 * device.c: opening and closing a device, and CUDA's errors in words. */
#include "device.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#define OLDEST_MAJOR (CUDA_OLDEST / 10) /* compute capability that the module has code for */
#define OLDEST_MINOR (CUDA_OLDEST % 10)

dn_status cuda_check(dn_backend *backend, cudaError_t error, const char *what)
{
    if (error == cudaSuccess)
        return DN_OK;
    cudaGetLastError(); /* an error that is not the device's end is forgotten */
    dn_status status = error == cudaErrorMemoryAllocation ? DN_E_NOMEM : DN_E_DEVICE;
    return backend->host.fail(status, "%s: %s (%s)", what, cudaGetErrorString(error),
                              cudaGetErrorName(error));
}

const char *cuda_lost_words(const dn_backend *backend, char words[CUDA_WORDS])
{
    words[0] = 0;
    if (backend->device->capturing) /* which this would end */
        return words;
    cudaError_t error = cudaStreamQuery(backend->stream);
    if (error != cudaSuccess && error != cudaErrorNotReady)
        snprintf(words, CUDA_WORDS, ": %s (%s)", cudaGetErrorString(error),
                 cudaGetErrorName(error));
    cudaGetLastError();
    return words;
}

static cudaError_t try_alloc(dn_backend *backend, void **out, size_t bytes)
{
    cudaError_t error = cudaMalloc(out, bytes ? bytes : 1);
    if (error != cudaErrorMemoryAllocation || !cuda_side_close(backend))
        return error;
    cudaGetLastError();
    return cudaMalloc(out, bytes ? bytes : 1);
}

dn_status cuda_alloc(dn_backend *backend, void **out, size_t bytes, const char *use)
{
    size_t left = 0, total = 0;
    cudaError_t error = try_alloc(backend, out, bytes);
    if (error != cudaErrorMemoryAllocation)
        return cuda_check(backend, error, "allocating device memory");
    cudaGetLastError();
    cudaMemGetInfo(&left, &total);
    return backend->host.fail(
        DN_E_NOMEM, "%zu bytes of device memory%s were asked for, %zu of %zu are free", bytes,
        use, left, total);
}

dn_status cuda_alloc_pinned(dn_backend *backend, void **out, size_t bytes, unsigned flags)
{
    char what[80];
    snprintf(what, sizeof(what), "allocating %zu bytes of pinned memory", bytes);
    return cuda_check(backend, cudaHostAlloc(out, bytes, flags), what);
}

/* Never to leave again: they have threads, and destructors of threads' variables, that would be
 * called where nothing is. */
bool cuda_find(void **library, const char *soname, const cuda_function *wanted, size_t count)
{
    *library = dlopen(soname, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    for (size_t i = 0; *library && i < count; i++) {
        void *symbol = dlsym(*library, wanted[i].name);
        if (!symbol)
            return false;
        memcpy(wanted[i].to, &symbol, sizeof(symbol));
    }
    return *library != NULL;
}

dn_status cuda_enter(dn_backend *backend, cuda_visit *visit)
{
    cuda_device *d = backend->device;
    void *before = NULL;
    visit->device = NULL;
    atomic_fetch_add(&d->visits, 1);
    int error = d->get_current(&before);
    if (error == 0 && before != d->context) {
        error = d->set_current(d->context);
        if (error == 0)
            *visit = (cuda_visit){d, before};
    }
    return cuda_check(backend, (cudaError_t)error, "making the device current");
}

void cuda_leave(const cuda_visit *visit)
{
    if (visit->device)
        visit->device->set_current(visit->before);
}

static dn_status find(dn_backend *backend, const char *name, void *to)
{
    enum cudaDriverEntryPointQueryResult result = cudaDriverEntryPointSuccess;
    void *at = NULL;
#if CUDART_VERSION >= 12050
    cudaError_t error =
        cudaGetDriverEntryPointByVersion(name, &at, 12000, cudaEnableDefault, &result);
#else
    cudaError_t error = cudaGetDriverEntryPoint(name, &at, cudaEnableDefault, &result);
#endif
    if (error == cudaSuccess && result == cudaDriverEntryPointSuccess)
        memcpy(to, &at, sizeof(at));
    else if (error == cudaSuccess)
        error = cudaErrorInsufficientDriver;
    return cuda_check(backend, error, name);
}

dn_status cuda_event_make(dn_backend *backend, cudaEvent_t *event)
{
    return *event ? DN_OK
                  : cuda_check(backend, cudaEventCreateWithFlags(event, cudaEventDisableTiming),
                               "making an event");
}

dn_status cuda_event_record(dn_backend *backend, cudaEvent_t event, cudaStream_t stream)
{
    return cuda_check(backend, cudaEventRecord(event, stream), "recording an event");
}

dn_status cuda_event_await(dn_backend *backend, cudaEvent_t event, cudaStream_t stream)
{
    return cuda_check(backend, cudaStreamWaitEvent(stream, event, 0), "waiting for an event");
}

dn_status cuda_event_order(dn_backend *backend, cudaEvent_t event, cudaStream_t earlier,
                           cudaStream_t later)
{
    dn_status status = cuda_event_record(backend, event, earlier);
    return status ? status : cuda_event_await(backend, event, later);
}

/* What cuda_enter needs. Leaves the device current; *visit says what was before. */
static dn_status first_visit(dn_backend *backend, cuda_visit *visit)
{
    cuda_device *d = backend->device;
    void *before = NULL;
    visit->device = NULL;
    dn_status status = find(backend, "cuCtxGetCurrent", &d->get_current);
    if (status == DN_OK)
        status = find(backend, "cuCtxSetCurrent", &d->set_current);
    if (status == DN_OK)
        status = cuda_check(backend, (cudaError_t)d->get_current(&before),
                            "asking for the current context");
    if (status == DN_OK)
        status = cuda_check(backend, cudaSetDevice(d->ordinal), "making the device current");
    if (status == DN_OK) {
        *visit = (cuda_visit){d, before};
        /* before CUDA 12 its context is made by the first call that needs it */
        status = cuda_check(backend, cudaFree(NULL), "starting the device");
    }
    if (status == DN_OK)
        status = cuda_check(backend, (cudaError_t)d->get_current(&d->context),
                            "asking for the device's context");
    return status;
}

/* Why there is no device: a machine that has none is another thing than one whose driver fails,
 * and a driver that is too old says so with versions. */
static dn_status no_device(dn_backend *backend, cudaError_t error)
{
    int driver = 0, runtime = CUDART_VERSION;
    cudaGetLastError(); /* no later launch's fault */
    if (error == cudaErrorInsufficientDriver && cudaDriverGetVersion(&driver) == cudaSuccess &&
        !driver)
        return backend->host.fail(DN_E_UNSUPPORTED, "no device: there is no driver: %s",
                                  cudaGetErrorString(error));
    if (error == cudaErrorNoDevice)
        return backend->host.fail(DN_E_UNSUPPORTED, "no device: %s (%s)",
                                  cudaGetErrorString(error), cudaGetErrorName(error));
    if (error == cudaErrorInsufficientDriver && driver > 0)
        return backend->host.fail(DN_E_DEVICE,
                                  "the driver knows CUDA %d.%d, this module needs %d.%d: %s",
                                  driver / 1000, driver % 1000 / 10, runtime / 1000,
                                  runtime % 1000 / 10, cudaGetErrorString(error));
    return cuda_check(backend, error, "no device");
}

/* Lanes that multiply and add f32 numbers in a multiprocessor, and what its tensor cores do in
 * TF32 beside them: of Volta, Turing and GA100, and of all later ones. */
static void rate(dn_backend *backend)
{
    const struct cudaDeviceProp *p = &backend->device->properties;
    int clock = 0, memory = 0, ordinal = backend->device->ordinal; /* kHz */
    if (cudaDeviceGetAttribute(&clock, cudaDevAttrClockRate, ordinal) != cudaSuccess ||
        cudaDeviceGetAttribute(&memory, cudaDevAttrMemoryClockRate, ordinal) != cudaSuccess) {
        cudaGetLastError();
        return;
    }
    int lanes = p->major < 8 || (p->major == 8 && p->minor == 0) ? 64 : 128;
    backend->flops_per_ns = 2.0 * lanes * p->multiProcessorCount * clock * 1e-6;
    if (p->major >= 8)
        backend->tensor_per_ns = 8 * backend->flops_per_ns;
    backend->bytes_per_ns = 2.0 * memory * (p->memoryBusWidth / 8) * 1e-6; /* both edges */
}

static dn_status choose(dn_backend *backend)
{
    cuda_device *d = backend->device;
    int count = 0;
    cudaError_t error = cudaGetDeviceCount(&count);
    if (error != cudaSuccess)
        return no_device(backend, error);
    if (d->ordinal < 0 || d->ordinal >= count)
        return backend->host.fail(DN_E_DEVICE, "device %d was asked for; there are %d",
                                  (int)d->ordinal + 1, count);
    dn_status status = cuda_check(backend, cudaGetDeviceProperties(&d->properties, d->ordinal),
                                  "asking for the device's properties");
    if (status != DN_OK)
        return status;
    int major = d->properties.major, minor = d->properties.minor;
    if (major < OLDEST_MAJOR || (major == OLDEST_MAJOR && minor < OLDEST_MINOR))
        return backend->host.fail(DN_E_DEVICE,
                                  "%.64s has compute capability %d.%d; %d.%d is the oldest",
                                  d->properties.name, major, minor, OLDEST_MAJOR, OLDEST_MINOR);
    backend->processors = d->properties.multiProcessorCount;
    rate(backend);
    return DN_OK;
}

/* On the device, which is current. */
static dn_status set_up(dn_backend *backend)
{
    cuda_device *d = backend->device;
    void *fault = NULL;
    dn_status status = cuda_check(
        backend, cudaStreamCreateWithFlags(&d->own, cudaStreamNonBlocking), "making a stream");
    backend->stream = backend->host.stream ? backend->host.stream : d->own;
    if (status == DN_OK)
        status = cuda_alloc_pinned(backend, &fault, sizeof(cuda_fault), cudaHostAllocMapped);
    backend->fault = fault;
    if (status != DN_OK)
        return status;
    memset(fault, 0, sizeof(cuda_fault));
    status = cuda_blas_open(backend);
    if (status == DN_OK)
        status = cuda_lt_open(backend);
    return status ? status : cuda_dnn_open(backend);
}

dn_status cuda_use_stream(dn_backend *backend, cudaStream_t stream)
{
    cuda_device *d = backend->device;
    if (backend->stream == stream && !d->astray)
        return DN_OK;
    backend->stream = stream;
    dn_status status = cuda_blas_follow(backend);
    if (status == DN_OK)
        status = cuda_dnn_follow(backend);
    d->astray = status != DN_OK;
    return status;
}

static void drop_side(cuda_device *d)
{
    if (d->side)
        cudaStreamDestroy(d->side);
    cudaFree(d->side_workspace);
    cudaFree(d->side_scratch);
    d->side = NULL;
    d->side_workspace = d->side_scratch = NULL;
}

static bool make_side(cuda_device *d)
{
    return (d->side ||
            cudaStreamCreateWithFlags(&d->side, cudaStreamNonBlocking) == cudaSuccess) &&
           (!d->blas || d->side_workspace ||
            cudaMalloc(&d->side_workspace, CUDA_BLAS_WORKSPACE) == cudaSuccess) &&
           (d->side_scratch || cudaMalloc(&d->side_scratch, CUDA_SIDE_SCRATCH) == cudaSuccess);
}

bool cuda_side_open(dn_backend *backend)
{
    bool made = make_side(backend->device);
    if (!made) { /* whoever needs memory next is to find all that there is */
        drop_side(backend->device);
        cudaGetLastError();
    }
    return made;
}

bool cuda_side_close(dn_backend *backend)
{
    cuda_device *d = backend->device;
    if (!d->side || d->recordings || d->astray)
        return false;
    drop_side(d);
    return true;
}

dn_status cuda_device_open(dn_backend *backend)
{
    const dn_backend_host *host = &backend->host;
    cuda_visit visit;
    backend->device = host->alloc(host->user, sizeof(cuda_device));
    if (!backend->device)
        return host->fail(DN_E_NOMEM, "no memory for the device");
    memset(backend->device, 0, sizeof(cuda_device));
    backend->device->ordinal = host->device;
    dn_status status = choose(backend);
    if (status != DN_OK)
        return status;
    status = first_visit(backend, &visit);
    if (status == DN_OK)
        status = set_up(backend);
    cuda_leave(&visit);
    return status;
}

/* What there is was made in the device's context: without one CUDA is not called, as that would
 * make one on whichever device is current. */
static void let_go(dn_backend *backend)
{
    cuda_device *d = backend->device;
    cuda_visit visit = {NULL, NULL};
    d->gone = d->get_current(&visit.before) != 0;
    if (d->gone) { /* staging is pinned memory and events alone, which went with the driver */
        cuda_dnn_close(backend);
        cuda_lt_close(backend);
        cuda_blas_close(backend);
        return;
    }
    if (d->set_current(d->context) == 0)
        visit.device = d;
    if (backend->stream) /* the host's may outlive us with our work in it */
        cudaStreamSynchronize(backend->stream);
    cuda_dnn_close(backend);
    cuda_lt_close(backend);
    cuda_blas_close(backend);
    cuda_staging_close(backend);
    cudaFreeHost(backend->fault);
    drop_side(d);
    if (d->own)
        cudaStreamDestroy(d->own);
    cuda_leave(&visit);
    cudaGetLastError();
}

/* A lost device answers with errors: all that is left is to let go. */
void cuda_device_close(dn_backend *backend)
{
    if (!backend->device)
        return;
    if (backend->device->context)
        let_go(backend);
    backend->host.free(backend->host.user, backend->device);
}
