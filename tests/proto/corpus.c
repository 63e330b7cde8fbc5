/* SPDX-License-Identifier: BSD-2-Clause
 * corpus.c: reads and upgrades the files it is given, as `net` or `solver`, prints each
 * again and reads that: a reader for folders of public prototxts. One line for each file
 * that fails. */
#include <stdio.h>
#include <string.h>

#include "proto/proto.h"

/* Printed and read again, the message must say the same. */
static dn_status round_trip(const ProtobufCMessage *message)
{
    const dni_heap *heap = &dni_default_heap;
    char *text = NULL;
    uint8_t *before = NULL, *after = NULL;
    size_t size, size_after;
    ProtobufCMessage *again = NULL;
    dn_status st = dni_text_print(&text, heap, message, NULL);
    if (!st)
        st = dni_text_parse(&again, heap, message->descriptor, text, strlen(text), "printed",
                            NULL);
    if (!st)
        st = dni_binary_print(&before, &size, heap, message);
    if (!st)
        st = dni_binary_print(&after, &size_after, heap, again);
    if (!st && (size != size_after || memcmp(before, after, size)))
        st = dni_fail(DN_E_INTERNAL, "printed and read again, it differs");
    dni_saved_error saved;
    dni_save_error(&saved);
    dni_free(text);
    dni_free(before);
    dni_free(after);
    dni_message_free(again);
    dni_restore_error(&saved);
    return st;
}

static dn_status read_one(const char *kind, const char *path)
{
    const dni_heap *heap = &dni_default_heap;
    dni_net_file *net = NULL;
    dni_solver_file *solver = NULL;
    bool is_net = !strcmp(kind, "net");
    dn_status st =
        is_net ? dni_net_read(&net, heap, path, NULL) : dni_solver_read(&solver, heap, path);
    if (!st)
        st = round_trip(is_net ? &net->net->base : &solver->solver->base);
    if (!st && is_net && (net->net->n_layers || net->net->n_input || dni_net_is_old(net->net)))
        st = dni_fail(DN_E_INTERNAL, "still old after the upgrade");
    dni_saved_error saved;
    dni_save_error(&saved);
    dni_net_file_free(net);
    dni_solver_file_free(solver);
    dni_restore_error(&saved);
    return st;
}

int main(int argc, char **argv)
{
    int failed = 0, files = 0;
    for (int i = 1; i + 1 < argc; i += 2, files++) {
        dni_clear_error();
        if (read_one(argv[i], argv[i + 1])) {
            const char *why = dn_last_error();
            printf("%s: %s\n", argv[i + 1], why ? why : "(no message)");
            failed++;
        }
    }
    printf("%d of %d files read and upgraded\n", files - failed, files);
    return failed != 0;
}
