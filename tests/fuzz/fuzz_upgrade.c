/* SPDX-License-Identifier: BSD-2-Clause
 * fuzz_upgrade.c: nets and solvers, text or binary, read and upgraded. What was upgraded is no
 * longer old, and upgrading it again changes nothing. The first byte says which request for
 * memory fails, from 128 on none. */
#include "fuzz.h"

typedef struct scarce {
    long left; /* requests that still succeed; negative: all */
} scarce;

static void *scarce_alloc(void *user, void *ptr, size_t old_size, size_t new_size)
{
    scarce *s = user;
    (void)old_size;
    if (new_size == 0) {
        free(ptr);
        return NULL;
    }
    if (s->left >= 0 && s->left-- == 0)
        return NULL;
    return realloc(ptr, new_size);
}

static void upgrade_again(dni_net_file *file, const dni_heap *heap)
{
    char *before = NULL, *after = NULL;
    must(!file->net->n_layers && !file->net->n_input && !dni_net_is_old(file->net));
    must(dni_text_print(&before, heap, &file->net->base, NULL) == DN_OK);
    must(dni_net_upgrade(file->net, heap, NULL) == DN_OK);
    must(dni_text_print(&after, heap, &file->net->base, NULL) == DN_OK);
    must(!strcmp(before, after));
    dni_free(before);
    dni_free(after);
}

/* As `deepnet upgrade` does it: remarks move with their fields. */
static void upgrade_kept(const char *text, size_t size, const dni_heap *heap)
{
    dni_locations *locations = NULL;
    ProtobufCMessage *message = NULL;
    char *printed = NULL;
    dni_clear_error();
    dn_status st = checked(dni_locations_create(&locations, heap, "f"));
    if (!st)
        st = checked(dni_locations_keep_remarks(locations, heap));
    if (!st)
        st = checked(dni_text_parse(&message, heap, &cnn__net_parameter__descriptor, text, size,
                                    "f", locations));
    if (!st)
        st = checked(dni_net_upgrade((Cnn__NetParameter *)message, heap, locations));
    if (!st)
        checked(dni_text_print(&printed, heap, message, dni_locations_remarks(locations)));
    dni_free(printed);
    dni_message_free(message);
    dni_locations_free(locations);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size)
        return 0;
    scarce memory = {data[0] < 128 ? data[0] : -1};
    dni_heap heap = {scarce_alloc, &memory};
    const char *text = (const char *)data + 1;
    dni_net_file *net = NULL;
    upgrade_kept(text, size - 1, &heap);
    dni_solver_file *solver = NULL;
    dni_clear_error();
    if (!checked(dni_net_read_text(&net, &heap, text, size - 1, "f", NULL)) && memory.left < 0)
        upgrade_again(net, &heap);
    dni_net_file_free(net);
    dni_clear_error();
    checked(dni_solver_read_text(&solver, &heap, text, size - 1, "f"));
    dni_solver_file_free(solver);
    return 0;
}
