/* SPDX-License-Identifier: BSD-2-Clause
 * staging.c: between the host and the device. To the device: the caller may reuse its memory at
 * once, and does not wait for what the device computes: small copies have many slots, large
 * ones a stream of their own, so that the next batch travels while the present one is computed.
 * To the host: copies go through pinned memory, as those to other memory wait for more than
 * their stream. */
#include <string.h>

#include "device.h"

static dn_status make_pinned(dn_backend *backend, void **memory, size_t bytes)
{
    return *memory ? DN_OK : cuda_alloc_pinned(backend, memory, bytes, cudaHostAllocDefault);
}

static dn_status wait_for(dn_backend *backend, cudaEvent_t event)
{
    return cuda_check(backend, cudaEventSynchronize(event), "waiting for a copy");
}

/* Those to the device, and one more to the host. */
#define SLOTS_BYTES ((CUDA_SLOTS + 1) * CUDA_SLOT_BYTES)

static dn_status make_slots(dn_backend *backend)
{
    return make_pinned(backend, (void **)&backend->device->slots, SLOTS_BYTES);
}

/* ---- small ------------------------------------------------------------------------------- */

static dn_status copy_small(dn_backend *backend, char *device, const char *host, size_t bytes)
{
    cuda_device *d = backend->device;
    int32_t i = d->next_slot;
    d->next_slot = (i + 1) % CUDA_SLOTS;
    dn_status status = make_slots(backend);
    if (status == DN_OK)
        status = cuda_event_make(backend, &d->arrived[i]);
    if (status == DN_OK)
        status = wait_for(backend, d->arrived[i]);
    if (status != DN_OK)
        return status;
    char *slot = d->slots + (size_t)i * CUDA_SLOT_BYTES;
    memcpy(slot, host, bytes);
    status = cuda_check(
        backend, cudaMemcpyAsync(device, slot, bytes, cudaMemcpyHostToDevice, backend->stream),
        "copying to the device");
    return status ? status : cuda_event_record(backend, d->arrived[i], backend->stream);
}

/* ---- large ------------------------------------------------------------------------------- */

/* What is on its way through it has arrived. */
static void free_stage(cuda_stage *s)
{
    if (s->taken)
        cudaEventSynchronize(s->taken);
    if (s->pinned) /* nothing says that NULL is no error */
        cudaFreeHost(s->pinned);
    cudaFree(s->device);
    s->pinned = s->device = NULL;
    s->bytes = 0;
}

static dn_status make_stage(dn_backend *backend, cuda_stage *s, size_t bytes)
{
    cuda_device *d = backend->device;
    dn_status status = cuda_event_make(backend, &s->copied);
    if (status == DN_OK)
        status = cuda_event_make(backend, &s->taken);
    if (status == DN_OK && !d->copier)
        status =
            cuda_check(backend, cudaStreamCreateWithFlags(&d->copier, cudaStreamNonBlocking),
                       "making a stream");
    if (status != DN_OK || s->bytes >= bytes)
        return status;
    free_stage(s);
    atomic_store(&d->no_slots, false);
    status = make_pinned(backend, &s->pinned, bytes);
    if (status == DN_OK)
        status = cuda_alloc(backend, &s->device, bytes, " for copies");
    if (status == DN_OK)
        s->bytes = bytes;
    else
        free_stage(s);
    return status;
}

static bool goes_on(const cuda_device *d)
{
    return d->batch_at + 1 == atomic_load(&d->visits);
}

static cuda_stage *turn(cuda_device *d)
{
    cuda_stage *s = &d->stages[d->next_stage];
    d->next_stage = (d->next_stage + 1) % d->num_stages;
    return s;
}

/* As many as two batches had pieces, one after the other: those of the next wait until those of
 * the present one are taken, and not for its step. Weights come once. */
static cuda_stage *next_stage(cuda_device *d)
{
    if (!goes_on(d)) {
        d->batch_at = atomic_load(&d->visits) - 1;
        d->before = d->pieces;
        d->pieces = 0;
    }
    bool more = ++d->pieces > d->num_stages && d->before >= d->pieces;
    more = more && d->num_stages < CUDA_STAGES && !atomic_load(&d->no_stages);
    return more || d->num_stages < 2 ? &d->stages[d->num_stages++] : turn(d);
}

/* Quietly: where there is no memory for one of more than two, others do. It is not asked for
 * again until some was given back, as asking may wait for all devices. */
static bool try_stage(cuda_device *d, cuda_stage *s, size_t bytes)
{
    if (d->num_stages <= 2 || s->bytes >= bytes)
        return true;
    free_stage(s);
    if (cudaHostAlloc(&s->pinned, bytes, cudaHostAllocDefault) != cudaSuccess)
        s->pinned = NULL;
    else if (cudaMalloc(&s->device, bytes) == cudaSuccess)
        s->bytes = bytes;
    else
        s->device = NULL;
    if (s->bytes)
        return true;
    free_stage(s);
    cudaGetLastError();
    cuda_stage none = *s;
    *s = d->stages[--d->num_stages];
    d->stages[d->num_stages] = none;
    d->next_stage %= d->num_stages;
    atomic_store(&d->no_stages, true);
    return false;
}

static dn_status copy_large(dn_backend *backend, char *device, const char *host, size_t bytes,
                            size_t all)
{
    cuda_device *d = backend->device;
    cuda_stage *s = next_stage(d);
    size_t room = all < CUDA_MOST_STAGE ? all : CUDA_MOST_STAGE;
    while (!try_stage(d, s, room))
        s = turn(d);
    dn_status status = make_stage(backend, s, room);
    if (status == DN_OK)
        status = wait_for(backend, s->copied);
    if (status != DN_OK)
        return status;
    memcpy(s->pinned, host, bytes);
    status = cuda_event_await(backend, s->taken, d->copier);
    if (status == DN_OK)
        status = cuda_check(
            backend,
            cudaMemcpyAsync(s->device, s->pinned, bytes, cudaMemcpyHostToDevice, d->copier),
            "copying to the device");
    if (status == DN_OK)
        status = cuda_event_record(backend, s->copied, d->copier);
    if (status == DN_OK)
        status = cuda_event_await(backend, s->copied, backend->stream);
    if (status == DN_OK)
        status = cuda_check(backend,
                            cudaMemcpyAsync(device, s->device, bytes, cudaMemcpyDeviceToDevice,
                                            backend->stream),
                            "copying to its place");
    return status ? status : cuda_event_record(backend, s->taken, backend->stream);
}

dn_status cuda_copy_in(dn_backend *backend, void *device, const void *host, size_t bytes)
{
    cuda_device *d = backend->device;
    cuda_visit visit;
    dn_status status = cuda_enter(backend, &visit);
    bool small = bytes <= CUDA_SLOT_BYTES;
    size_t step = small ? CUDA_SLOT_BYTES : CUDA_MOST_STAGE;
    for (size_t at = 0; status == DN_OK && at < bytes; at += step) {
        size_t piece = bytes - at < step ? bytes - at : step;
        char *to = (char *)device + at;
        const char *from = (const char *)host + at;
        status = small ? copy_small(backend, to, from, piece)
                       : copy_large(backend, to, from, piece, bytes);
    }
    cuda_leave(&visit);
    d->batch_at += goes_on(d);
    return status;
}

/* ---- to the host ------------------------------------------------------------------------- */

static dn_status begin_copy_out(dn_backend *backend, void *to, const void *device, size_t bytes)
{
    return cuda_check(
        backend, cudaMemcpyAsync(to, device, bytes, cudaMemcpyDeviceToHost, backend->stream),
        "copying from the device");
}

/* Byte `at` of the last slot. */
static char *outgoing(const cuda_device *d, size_t at)
{
    return d->slots + CUDA_SLOTS * CUDA_SLOT_BYTES + at;
}

/* One that was said to come; NULL too where anything else was asked since. */
static cuda_expected *find_expected(cuda_device *d, const void *device, size_t bytes)
{
    if (d->expected_at != atomic_load(&d->visits))
        d->num_expected = 0;
    for (int32_t i = 0; i < d->num_expected; i++)
        if (d->expected[i].device == device && d->expected[i].bytes == bytes)
            return &d->expected[i];
    return NULL;
}

/* Where there is no pinned memory *memory stays NULL, and copies go straight to the host: it is
 * asked for again when some was given back, as asking may wait for all devices. An error that
 * stays too is the device's end. */
static dn_status try_pinned(dn_backend *backend, char **memory, size_t bytes)
{
    cuda_device *d = backend->device;
    if (*memory || atomic_load(&d->no_slots) ||
        cudaHostAlloc((void **)memory, bytes, cudaHostAllocDefault) == cudaSuccess)
        return DN_OK;
    *memory = NULL;
    atomic_store(&d->no_slots, true);
    cudaGetLastError();
    return cuda_check(backend, cudaGetLastError(), "allocating pinned memory");
}

/* Into the slot, behind the others. *out NULL: there is no room. */
static dn_status expect(dn_backend *backend, const void *device, size_t bytes,
                        cuda_expected **out)
{
    cuda_device *d = backend->device;
    const cuda_expected *last = d->num_expected ? &d->expected[d->num_expected - 1] : NULL;
    size_t at = last ? last->at + last->bytes : 0;
    *out = NULL;
    if (d->num_expected == CUDA_EXPECTED || bytes > CUDA_SLOT_BYTES - at)
        return DN_OK;
    dn_status status = bytes ? try_pinned(backend, &d->slots, SLOTS_BYTES) : DN_OK;
    bool fits = d->slots || !bytes;
    if (status == DN_OK && fits && bytes)
        status = begin_copy_out(backend, outgoing(d, at), device, bytes);
    if (status != DN_OK || !fits)
        return status;
    *out = &d->expected[d->num_expected++];
    **out = (cuda_expected){.device = device, .bytes = bytes, .at = at};
    d->all_there = false;
    return DN_OK;
}

/* Piece by piece: the next one travels while the host takes this one. */
static dn_status copy_out_large(dn_backend *backend, char *host, const char *device,
                                size_t bytes)
{
    cuda_device *d = backend->device;
    size_t begun = 0, step = CUDA_LOOK_BYTES;
    dn_status status = try_pinned(backend, &d->looks, 2 * step);
    if (status == DN_OK && !d->looks)
        return begin_copy_out(backend, host, device, bytes);
    for (size_t at = 0; status == DN_OK && at < bytes; at += step) {
        for (; status == DN_OK && begun < bytes && begun <= at + step; begun += step) {
            int32_t half = begun / step % 2;
            status = cuda_event_make(backend, &d->there[half]);
            if (status == DN_OK)
                status = begin_copy_out(backend, d->looks + half * step, device + begun,
                                        bytes - begun < step ? bytes - begun : step);
            if (status == DN_OK)
                status = cuda_event_record(backend, d->there[half], backend->stream);
        }
        if (status == DN_OK)
            status = wait_for(backend, d->there[at / step % 2]);
        if (status == DN_OK)
            memcpy(host + at, d->looks + at / step % 2 * step,
                   bytes - at < step ? bytes - at : step);
    }
    return status;
}

dn_status cuda_copy_out_soon(dn_backend *backend, void *host, const void *device, size_t bytes)
{
    (void)host;
    cuda_device *d = backend->device;
    cuda_expected *known = find_expected(d, device, bytes);
    cuda_visit visit;
    dn_status status = cuda_enter(backend, &visit);
    if (status == DN_OK && !known)
        status = expect(backend, device, bytes, &known);
    cuda_leave(&visit);
    d->expected_at = atomic_load(&d->visits);
    return status;
}

dn_status cuda_copy_out(dn_backend *backend, void *host, const void *device, size_t bytes)
{
    cuda_device *d = backend->device;
    cuda_expected *e = find_expected(d, device, bytes);
    bool there = e && d->all_there;
    cuda_visit visit;
    dn_status status = cuda_enter(backend, &visit);
    if (!e)
        d->num_expected = 0;
    if (status == DN_OK && !e)
        status = expect(backend, device, bytes, &e);
    if (status == DN_OK && !e)
        status = copy_out_large(backend, host, device, bytes);
    if (status == DN_OK && !there)
        status = cuda_wait(backend);
    if (status == DN_OK && e && bytes)
        memcpy(host, outgoing(d, e->at), bytes);
    if (status == DN_OK && e)
        e->device = NULL; /* its values may be others the next time */
    while (d->num_expected && !d->expected[d->num_expected - 1].device)
        d->num_expected--;
    if (status != DN_OK)
        d->num_expected = 0;
    cuda_leave(&visit);
    d->all_there = status == DN_OK;
    d->expected_at = atomic_load(&d->visits);
    return status;
}

void cuda_staging_close(dn_backend *backend)
{
    cuda_device *d = backend->device;
    for (int32_t i = 0; i < CUDA_SLOTS; i++)
        if (d->arrived[i])
            cudaEventDestroy(d->arrived[i]);
    for (int32_t i = 0; i < CUDA_STAGES; i++) {
        cuda_stage *s = &d->stages[i];
        free_stage(s);
        if (s->copied)
            cudaEventDestroy(s->copied);
        if (s->taken)
            cudaEventDestroy(s->taken);
    }
    for (int32_t i = 0; i < 2; i++)
        if (d->there[i])
            cudaEventDestroy(d->there[i]);
    if (d->copier)
        cudaStreamDestroy(d->copier);
    if (d->looks)
        cudaFreeHost(d->looks);
    cudaFreeHost(d->slots);
}
