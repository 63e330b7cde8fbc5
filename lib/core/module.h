/* SPDX-License-Identifier: BSD-2-Clause
 * module.h: backends that live in shared objects of their own, opened on demand. */
#ifndef DNI_MODULE_H
#define DNI_MODULE_H

#include "core/core.h"

/* The table of the backend `name` (length bytes): a path if it has a '/', else deepnet-NAME.so
 * in folder (NULL: where modules are installed). A module stays loaded for the life of the
 * process: its code may have threads of its own. DN_E_NOTFOUND, DN_E_INVALID. */
dn_status dni_module_load(const dni_heap *heap, const char *folder, const char *name,
                          size_t length, const dn_backend_ops **out);

/* *exists: is there a file where the module `name` would be? DN_E_NOMEM. */
dn_status dni_module_exists(const dni_heap *heap, const char *folder, const char *name,
                            bool *exists);

#endif
