/* SPDX-License-Identifier: BSD-2-Clause
 * ptx_launch.c: what nvcc makes of `kernel<<<...>>>(...)` calls, over PTX that is run here
 * instead of a device: the text is in the objects, as the only code they have. What a kernel
 * did wrong is said on stderr, and its device is lost. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cuda_runtime_api.h>

#include "launches.h"
#include "ptx.h"
#include "stream.h"

/* The module's dlopen, when its sources are compiled with that as its name: without
 * PTX_LIBRARIES there is none, and each kernel has its own work to do. */
#undef dlopen
void *dlopen(const char *name, int mode);
void *ptx_open(const char *name, int mode);

void *ptx_open(const char *name, int mode)
{
    return getenv("PTX_LIBRARIES") ? dlopen(name, mode) : NULL;
}

enum { MOST_MODULES = 64, MOST_KERNELS = 1024 };

typedef struct entry {
    const void *stub;
    const char *name;
    ptx_module *module;
    ptx_kernel *kernel; /* NULL: never launched yet */
    char plain[64];     /* its name in the source, without _kernel */
    int64_t launches;
} entry;

static ptx_module modules[MOST_MODULES];
static entry entries[MOST_KERNELS];
static int num_modules, num_entries;

/* What nvcc's code calls: as crt/host_runtime.h has them, for C++ only. */
void **__cudaRegisterFatBinary(void *binary);
void __cudaRegisterFatBinaryEnd(void **module);
void __cudaUnregisterFatBinary(void **module);
void __cudaRegisterFunction(void **module, const char *stub, char *stub_too, const char *name,
                            int threads, uint3 *tid, uint3 *bid, dim3 *block, dim3 *grid,
                            int *size);
unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t shared, void *stream);
cudaError_t __cudaPopCallConfiguration(dim3 *grid, dim3 *block, size_t *shared, void *stream);
cudaError_t __cudaGetKernel(cudaKernel_t *out, const void *stub);
cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3 block, void **args,
                               size_t shared, cudaStream_t stream);

typedef struct fat_binary {
    int magic, version;
    const char *data;
    void *file;
} fat_binary;

/* A container has its own size at byte 8; the text in it was not compressed, and ends with 0.
 */
void **__cudaRegisterFatBinary(void *binary)
{
    static const char begin[] = "\n.version ";
    const fat_binary *fat = binary;
    ptx_module *m = &modules[num_modules++];
    uint64_t bytes, at = 0;
    memcpy(&bytes, fat->data + 8, sizeof(bytes));
    while (at < bytes && strncmp(fat->data + at, begin, sizeof(begin) - 1) != 0)
        at++;
    if (num_modules == MOST_MODULES || at == bytes) {
        fprintf(stderr, "ptx: an object has no PTX that can be read\n");
        exit(1);
    }
    m->text = fat->data + at;
    ptx_read_tables(m);
    return (void **)m;
}

void __cudaUnregisterFatBinary(void **module)
{
    (void)module;
}

void __cudaRegisterFunction(void **module, const char *stub, char *stub_too, const char *name,
                            int threads, uint3 *tid, uint3 *bid, dim3 *block, dim3 *grid,
                            int *size)
{
    (void)stub_too, (void)threads, (void)tid, (void)bid, (void)block, (void)grid, (void)size;
    if (num_entries == MOST_KERNELS)
        abort();
    entry *e = &entries[num_entries++];
    char *after;
    *e = (entry){.stub = stub, .name = name, .module = (ptx_module *)module};
    long length = strtol(name + 2, &after, 10); /* _Z11fill_kernel9fill_argsl */
    snprintf(e->plain, sizeof(e->plain), "%.*s", (int)length - 7, after);
}

/* ---- launches ---------------------------------------------------------------------------- */

static _Thread_local struct {
    dim3 grid, block;
    size_t shared;
    void *stream;
} configured;

unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t shared, void *stream)
{
    configured.grid = grid;
    configured.block = block;
    configured.shared = shared;
    configured.stream = stream;
    return 0;
}

cudaError_t __cudaPopCallConfiguration(dim3 *grid, dim3 *block, size_t *shared, void *stream)
{
    *grid = configured.grid;
    *block = configured.block;
    *shared = configured.shared;
    *(void **)stream = configured.stream;
    return cudaSuccess;
}

cudaError_t __cudaGetKernel(cudaKernel_t *out, const void *stub)
{
    for (int i = 0; i < num_entries; i++)
        if (entries[i].stub == stub) {
            *out = (cudaKernel_t)&entries[i];
            return cudaSuccess;
        }
    return cudaErrorInvalidDeviceFunction;
}

typedef struct launched {
    ptx_launch launch;
    char params[];
} launched;

static void run(void *at)
{
    static bool lost;
    const launched *l = at;
    char why[1024];
    memcpy(ptx_params, l->params, l->launch.kernel->params);
    if (lost || ptx_run(&l->launch, why, sizeof(why)))
        return;
    fprintf(stderr, "ptx: %s\n", why);
    fake_cuda_lose();
    lost = true;
}

/* Our kernels have rows of blocks, of threads in a row, and no shared memory but their own. */
static bool fits(const ptx_kernel *k, dim3 grid, dim3 block, size_t shared)
{
    return grid.x >= 1 && grid.x <= INT32_MAX && grid.y == 1 && grid.z == 1 && block.x >= 1 &&
           block.x <= k->threads && block.y == 1 && block.z == 1 &&
           k->shared + shared <= PTX_MOST_SHARED;
}

static const char *missing(int i)
{
    for (const entry *e = entries; e < entries + num_entries; e++)
        if (e->launches == 0 && i-- == 0)
            return e->plain;
    return NULL;
}

__attribute__((visibility("default"))) extern kernel_launches dn_kernel_launches;
kernel_launches dn_kernel_launches = {rehearse, missing, true};

void __cudaRegisterFatBinaryEnd(void **module)
{
    (void)module;
    if (getenv("PTX_LIBRARIES")) /* which would do all that they do */
        dn_kernel_launches.rehearse = NULL;
}

cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3 block, void **args,
                               size_t shared, cudaStream_t stream)
{
    entry *e = (entry *)kernel;
    if (!count_launch(&e->launches))
        return cudaSuccess;
    if (!e->kernel)
        e->kernel = ptx_read_kernel(e->module, e->name);
    const ptx_kernel *k = e->kernel;
    if (!fits(k, grid, block, shared)) {
        fprintf(stderr,
                "ptx: %s cannot be launched with %u x %u x %u blocks of %u x %u x %u "
                "threads and %zu bytes of shared memory\n",
                k->name, grid.x, grid.y, grid.z, block.x, block.y, block.z, shared);
        return fake_cuda_fail(cudaErrorInvalidConfiguration);
    }
    launched *l = calloc(1, sizeof(*l) + k->params);
    l->launch =
        (ptx_launch){e->module, e->kernel, stream ? stream->device : 0, grid.x, block.x};
    for (size_t i = 0; i < k->num_params; i++)
        memcpy(l->params + k->offset[i], args[i], k->bytes[i]);
    cudaError_t error = fake_cuda_launch(stream, e->stub, run, l, sizeof(*l) + k->params);
    free(l);
    return error;
}

/* Of nvcc before CUDA 13. */
cudaError_t cudaLaunchKernel(const void *stub, dim3 grid, dim3 block, void **args,
                             size_t shared, cudaStream_t stream)
{
    cudaKernel_t kernel;
    cudaError_t error = __cudaGetKernel(&kernel, stub);
    return error ? error : __cudaLaunchKernel(kernel, grid, block, args, shared, stream);
}
