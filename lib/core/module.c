/* SPDX-License-Identifier: BSD-2-Clause
 * module.c: dlopen behind one function. A backend module exports one symbol, dn_backend_entry.
 */
#include "core/module.h"

#include <dlfcn.h>
#include <string.h>
#include <unistd.h>

#ifndef DN_MODULE_FOLDER
#define DN_MODULE_FOLDER "/usr/local/lib/deepnet"
#endif

static dn_status open_module(const char *path, const dn_backend_ops **out)
{
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!handle) {
        const char *why = dlerror();
        size_t length = strlen(path);
        if (why && !strncmp(why, path, length) && !strncmp(why + length, ": ", 2))
            why += length + 2;
        return dni_fail(DN_E_NOTFOUND, "no backend at '%s': %s", path,
                        why ? why : "dlopen failed");
    }
    void *symbol = dlsym(handle, DN_BACKEND_ENTRY);
    dn_backend_entry_fn entry;
    memcpy(&entry, &symbol, sizeof entry);
    const dn_backend_ops *ops = symbol ? entry() : NULL;
    if (!ops || ops->struct_size < offsetof(dn_backend_ops, mem_alloc)) {
        dlclose(handle);
        return dni_fail(DN_E_INVALID,
                        "'%s' is not a deepnet backend (it has no usable " DN_BACKEND_ENTRY ")",
                        path);
    }
    *out = ops;
    return DN_OK;
}

static char *path_of(const dni_heap *heap, const char *folder, const char *name, int length)
{
    return dni_format(heap, "%s/deepnet-%.*s.so", folder ? folder : DN_MODULE_FOLDER, length,
                      name);
}

dn_status dni_module_exists(const dni_heap *heap, const char *folder, const char *name,
                            bool *exists)
{
    char *path = path_of(heap, folder, name, (int)strlen(name));
    if (!path)
        return DN_E_NOMEM;
    *exists = access(path, F_OK) == 0;
    dni_free(path);
    return DN_OK;
}

dn_status dni_module_load(const dni_heap *heap, const char *folder, const char *name,
                          size_t length, const dn_backend_ops **out)
{
    int n = length > 4096 ? 4096 : (int)length;
    char *path = memchr(name, '/', length) ? dni_strndup(heap, name, length)
                                           : path_of(heap, folder, name, n);
    if (!path)
        return DN_E_NOMEM;
    dn_status st = open_module(path, out);
    dni_free(path);
    return dni_in(st, "backend '%.*s'", n, name);
}
