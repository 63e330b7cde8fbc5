/* SPDX-License-Identifier: BSD-2-Clause
 * read.c: nets and solvers from files and from memory, upgraded on the way in. */
#include <string.h>

#include "proto/proto.h"

/* What a net file and a solver file have in common. */
typedef struct parsed {
    ProtobufCMessage *message;
    dni_locations *locations;
} parsed;

static void drop(parsed *p)
{
    dni_saved_error saved;
    dni_save_error(&saved);
    dni_message_free(p->message);
    dni_locations_free(p->locations);
    dni_restore_error(&saved);
}

static dn_status parse(parsed *p, const dni_heap *heap, const ProtobufCMessageDescriptor *type,
                       const char *bytes, size_t size, const char *name, const char *dialect)
{
    dn_status st = dni_locations_create(&p->locations, heap, name);
    if (!st && dni_looks_binary(bytes, size))
        st = dni_dialect_parse(&p->message, heap, type, bytes, size, name, dialect,
                               p->locations);
    else if (!st && *dni_other_text(bytes, size))
        st = dni_fail(DN_E_PARSE, "%s:1:1: this is no prototxt%s", name,
                      dni_other_text(bytes, size));
    else if (!st)
        st = dni_text_parse(&p->message, heap, type, bytes, size, name, p->locations);
    return st;
}

static dn_status finish_net(dni_net_file **out, const dni_heap *heap, parsed *p, char *folder)
{
    dn_status st = dni_net_upgrade((Cnn__NetParameter *)p->message, heap, p->locations);
    if (st)
        return st;
    dni_net_file *file = dni_alloc(heap, 1, sizeof *file);
    if (!file)
        return DN_E_NOMEM;
    *file = (dni_net_file){(Cnn__NetParameter *)p->message, p->locations, folder};
    *out = file;
    return DN_OK;
}

static dn_status finish_solver(dni_solver_file **out, const dni_heap *heap, parsed *p,
                               char *folder)
{
    dn_status st = dni_solver_upgrade((Cnn__SolverParameter *)p->message, heap, NULL);
    if (st)
        return dni_in(st, "%s", dni_locations_file(p->locations));
    dni_solver_file *file = dni_alloc(heap, 1, sizeof *file);
    if (!file)
        return DN_E_NOMEM;
    *file = (dni_solver_file){(Cnn__SolverParameter *)p->message, p->locations, folder};
    *out = file;
    return DN_OK;
}

/* net or solver is NULL. folder is taken over. */
static dn_status read_bytes(dni_net_file **net, dni_solver_file **solver, const dni_heap *heap,
                            const char *bytes, size_t size, const char *name, char *folder,
                            const char *dialect)
{
    parsed p = {0};
    dn_status st = parse(
        &p, heap, net ? &cnn__net_parameter__descriptor : &cnn__solver_parameter__descriptor,
        bytes, size, name, dialect);
    if (!st)
        st = net ? finish_net(net, heap, &p, folder) : finish_solver(solver, heap, &p, folder);
    if (st) {
        drop(&p);
        dni_free(folder);
    }
    return st;
}

static dn_status read_path(dni_net_file **net, dni_solver_file **solver, const dni_heap *heap,
                           const char *path, const char *dialect)
{
    char *bytes;
    size_t size;
    dn_status st = dni_file_read(heap, path, &bytes, &size);
    if (st)
        return st;
    char *folder = dni_path_folder(heap, path);
    st =
        folder ? read_bytes(net, solver, heap, bytes, size, path, folder, dialect) : DN_E_NOMEM;
    dni_free(bytes);
    return st;
}

dn_status dni_net_read(dni_net_file **out, const dni_heap *heap, const char *path,
                       const char *dialect)
{
    return read_path(out, NULL, heap, path, dialect);
}

dn_status dni_net_read_text(dni_net_file **out, const dni_heap *heap, const char *text,
                            size_t size, const char *name, const char *dialect)
{
    return read_bytes(out, NULL, heap, text, size, name, NULL, dialect);
}

dn_status dni_net_file_wrap(dni_net_file **out, const dni_heap *heap, Cnn__NetParameter *net,
                            const char *folder, const char *name)
{
    parsed p = {.message = &net->base};
    char *copy = folder ? dni_strdup(heap, folder) : NULL;
    dn_status st =
        folder && !copy ? DN_E_NOMEM : dni_locations_create(&p.locations, heap, name);
    if (!st)
        st = finish_net(out, heap, &p, copy);
    if (st) {
        drop(&p);
        dni_free(copy);
    }
    return st;
}

void dni_net_file_free(dni_net_file *file)
{
    if (!file)
        return;
    dni_message_free(file->net);
    dni_locations_free(file->locations);
    dni_free(file->folder);
    dni_free(file);
}

dn_status dni_solver_read(dni_solver_file **out, const dni_heap *heap, const char *path)
{
    return read_path(NULL, out, heap, path, NULL);
}

dn_status dni_solver_read_text(dni_solver_file **out, const dni_heap *heap, const char *text,
                               size_t size, const char *name)
{
    return read_bytes(NULL, out, heap, text, size, name, NULL, NULL);
}

void dni_solver_file_free(dni_solver_file *file)
{
    if (!file)
        return;
    dni_message_free(file->solver);
    dni_locations_free(file->locations);
    dni_free(file->folder);
    dni_free(file);
}
