/* SPDX-License-Identifier: BSD-2-Clause
 * deepnet/version.h: which release this is. The API major is the SONAME: it changes when a
 * program built against an older release would have to be built again. */
#ifndef DEEPNET_VERSION_H
#define DEEPNET_VERSION_H

#define DN_VERSION_MAJOR  0
#define DN_VERSION_MINOR  1
#define DN_VERSION_PATCH  0
#define DN_VERSION_STRING "0.1.0"

#if defined(__GNUC__) || defined(__clang__)
#define DN_API __attribute__((visibility("default")))
#else
#define DN_API
#endif

#ifdef __cplusplus
#define DN_BEGIN_DECLS extern "C" {
#define DN_END_DECLS   }
#else
#define DN_BEGIN_DECLS
#define DN_END_DECLS
#endif

DN_BEGIN_DECLS

/* The release of the library that is loaded, "0.1.0". Never NULL; lives as long as the library.
 * Thread-safety: any thread. Since 0.1. */
DN_API const char *dn_version(void);

DN_END_DECLS
#endif
