/* SPDX-License-Identifier: BSD-2-Clause
 * deepnet/status.h: how a call says that it failed. Every fallible call returns a dn_status;
 * the reason is one line of text per thread, there exactly when the last such call failed. */
#ifndef DEEPNET_STATUS_H
#define DEEPNET_STATUS_H

#include <stdint.h>
#include "deepnet/version.h"

DN_BEGIN_DECLS

/* 0 is success, anything negative a failure. Numbers are frozen. */
typedef int32_t dn_status;

enum {
    DN_OK = 0,
    DN_E_INVALID = -1,     /* an argument is outside what the function accepts */
    DN_E_NOMEM = -2,       /* the allocator returned NULL */
    DN_E_IO = -3,          /* a file could not be opened, read or written */
    DN_E_PARSE = -4,       /* a text or binary file is not in its format */
    DN_E_NET = -5,         /* the net does not wire: missing bottom, top made twice, ... */
    DN_E_SHAPE = -6,       /* shapes do not fit, or overflow */
    DN_E_UNSUPPORTED = -7, /* known, but not in this build, release or machine */
    DN_E_NOTFOUND = -8,    /* no blob, layer or item of that name */
    DN_E_DATA = -9,        /* a record, a label or a weight file is not what the net needs */
    DN_E_DEVICE = -10,     /* a device failed; its own words are in the message */
    DN_E_CANCELLED = -11,  /* dn_solver_cancel was called, or a callback asked to stop */
    DN_E_STATE = -12,      /* the call does not make sense now (backward before forward, ...) */
    DN_E_LIMIT = -13,      /* a limit the host set would be exceeded (memory_limit) */
    DN_E_HOST = -14,       /* a callback of the host returned a failure */
    DN_E_INTERNAL = -15    /* a mistake of this library; please report it */
};

/* The reason for this thread's last failed call, one line without a newline, or NULL if a later
 * call that can fail succeeded. Calls that cannot (dn_version, dn_net_num_layers, those that
 * free) leave it, so a host may free first and print then. Borrowed: valid until this thread's
 * next call that can fail. Thread-safety: any thread; each sees its own. Since 0.1. */
DN_API const char *dn_last_error(void);

/* The name of a status, "DN_E_PARSE"; "unknown status" for a number that is none. Never NULL;
 * static. Thread-safety: any thread. Since 0.1. */
DN_API const char *dn_status_name(dn_status status);

DN_END_DECLS
#endif
