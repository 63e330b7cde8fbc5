/* SPDX-License-Identifier: BSD-2-Clause
 * deepnet/blob.h: named arrays of a net: activations, parameters and their gradients. A blob is
 * N x C x H x W (row-major, last axis fastest) to everyone who looks at it, wherever it is. */
#ifndef DEEPNET_BLOB_H
#define DEEPNET_BLOB_H

#include <stddef.h>
#include <stdint.h>
#include "deepnet/status.h"
#include "deepnet/sys/backend.h"

DN_BEGIN_DECLS

/* Borrowed from its net or solver, valid as long as that lives (dn_net_reshape moves the data,
 * not the handle). Use from one thread at a time. */
typedef struct dn_blob dn_blob;

/* The blob's name; for a parameter "layer/index". Never NULL; borrowed. Since 0.1. */
DN_API const char *dn_blob_name(const dn_blob *blob);

/* Number of axes (0: one number), the length of an axis (negative counts from the end; 0 for an
 * axis that is not there), and the product of them all. Since 0.1. */
DN_API int32_t dn_blob_axes(const dn_blob *blob);
DN_API int64_t dn_blob_dim(const dn_blob *blob, int32_t axis);
DN_API int64_t dn_blob_count(const dn_blob *blob);

/* DN_F32, or DN_F64 for a net created with dtype DN_F64. Since 0.1. */
DN_API int32_t dn_blob_dtype(const dn_blob *blob);

/* The values, dn_blob_count of them, brought up to date. Borrowed; valid until the net is run,
 * reshaped or freed. NULL: dn_last_error() says why (a DN_F64 net, a blob whose memory was
 * reused under DN_MEMORY_COMPACT, a device that is lost); dn_blob_read has a status as well.
 * Since 0.1. */
DN_API const float *dn_blob_data(dn_blob *blob);
/* Likewise, for writing.
 * - In a context with a device the pointer is valid until the next run; ask again after it. (An
 *   input's pointer may be kept and written before every run.)
 * - For a weight it has a cost: the host may now write at any time, so everything that a net
 *   derives from the weight (packed or folded weights) is made again in every run, until
 *   dn_blob_end_write. dn_blob_write has no such cost. Since 0.1. */
DN_API float *dn_blob_mutable_data(dn_blob *blob);
/* Promises that the host no longer writes through `data`, which dn_blob_mutable_data of this
 * blob returned. Call it once for each time that dn_blob_mutable_data was called. It does
 * nothing for blobs that are not weights, and for pointers from before the weights were shared.
 * Since 0.1. */
DN_API void dn_blob_end_write(dn_blob *blob, const void *data);
/* The gradient of the loss with respect to the values, same shape. It is zero until a backward
 * pass wrote it. NULL where no memory for one exists. Since 0.1. */
DN_API const float *dn_blob_diff(dn_blob *blob);
DN_API float *dn_blob_mutable_diff(dn_blob *blob);

/* Keeps memory of the blob's alive when the net lets go of it, which reshaping, sharing weights
 * and freeing the net do: who still reads or writes there does it in vain, but safely.
 * - data: what one of the accessors of this blob just returned.
 * Returns a hold, which is yours and costs the memory that it keeps (that of many blobs may be
 * one): end each once with dn_blob_end_hold, which may be called from any thread and when the
 * context is gone, but not the host's allocator; NULL is fine there. NULL: `data` is no memory
 * that the blob has now. Since 0.1. */
DN_API void *dn_blob_hold(dn_blob *blob, const void *data);
DN_API void dn_blob_end_hold(void *hold);

/* The values where the context's device has them, brought up to date there: a device pointer,
 * 64-byte aligned, good until the net is reshaped or freed. The work that makes the values may
 * not be done yet: use it in the context's device_stream, or after dn_context_synchronise.
 * For reading. NULL: dn_last_error() says why (the context has no device, or no op there uses
 * the blob). Since 0.1. */
DN_API const void *dn_blob_device_data(dn_blob *blob);
/* Likewise, for writing: the host's copy is stale from then on and is brought up to date when
 * asked for. To write again after a run, ask for the pointer again; only an input's may be
 * kept, since every run reads what is there. Since 0.1. */
DN_API void *dn_blob_mutable_device_data(dn_blob *blob);
/* Makes an input of a net read the host application's own device memory, without a copy.
 * - device: dn_blob_count floats (doubles in a DN_F64 net) on the context's device, aligned to
 *   at least 16 bytes; NULL: back to the net's own memory. Yours: it must live until it is
 *   replaced or taken back, or the blob is reshaped or freed. Only read, never written.
 * Runs read it in the order of the device_stream, so its values must stay until the run that is
 * to read them is done. Another pointer for every run means that the recorded step cannot be
 * replayed: it is faster to fill one buffer again and again. Returns DN_OK, DN_E_INVALID (not
 * an input of its net), DN_E_UNSUPPORTED (the context has no device), DN_E_NOMEM. Since 0.1. */
DN_API dn_status dn_blob_view_device(dn_blob *blob, const void *device);

/* The same four for DN_F64 nets. NULL for other nets. Since 0.1. */
DN_API const double *dn_blob_data_f64(dn_blob *blob);
DN_API double *dn_blob_mutable_data_f64(dn_blob *blob);
DN_API const double *dn_blob_diff_f64(dn_blob *blob);
DN_API double *dn_blob_mutable_diff_f64(dn_blob *blob);

/* Copies count values in or out; count must be dn_blob_count. Returns DN_OK, DN_E_INVALID
 * (another count, or NULL), or why dn_blob_data would be NULL: DN_E_STATE, DN_E_NOMEM,
 * DN_E_DEVICE (the device is lost, which after a write to a weight or an input may be said by
 * the next run only), or what dn_net_reshape returns. Since 0.1. */
DN_API dn_status dn_blob_write(dn_blob *blob, const float *values, int64_t count);
DN_API dn_status dn_blob_read(dn_blob *blob, float *values, int64_t count);

/* Gives an input blob of a net another shape (batch or image size). What follows takes it up at
 * the next dn_net_forward or dn_net_reshape; the values are undefined until written.
 * dims: axes of them, each >= 1. Returns DN_OK, DN_E_INVALID (not an input of its net),
 * DN_E_SHAPE (a dimension < 1, or too large), DN_E_NOMEM. Since 0.1. */
DN_API dn_status dn_blob_reshape(dn_blob *blob, const int64_t *dims, int32_t axes);

DN_END_DECLS
#endif
