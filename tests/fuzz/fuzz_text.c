/* SPDX-License-Identifier: BSD-2-Clause
 * fuzz_text.c: any bytes as prototxt. What is read must print, read again, and say the same;
 * with its remarks too. */
#include "fuzz.h"

static void round_trip(const ProtobufCMessage *message)
{
    const dni_heap *heap = &dni_default_heap;
    char *text = NULL, *text_again = NULL;
    ProtobufCMessage *again = NULL;
    dni_clear_error();
    must(checked(dni_text_print(&text, heap, message, NULL)) == DN_OK);
    must(checked(dni_text_parse(&again, heap, message->descriptor, text, strlen(text), "again",
                                NULL)) == DN_OK);
    must(checked(dni_text_print(&text_again, heap, again, NULL)) == DN_OK);
    must(!strcmp(text, text_again));
    dni_message_free(again);
    dni_free(text);
    dni_free(text_again);
}

static char *print_kept(const ProtobufCMessageDescriptor *type, const char *text, size_t size)
{
    const dni_heap *heap = &dni_default_heap;
    dni_locations *locations = NULL;
    ProtobufCMessage *message = NULL;
    char *printed = NULL;
    dni_clear_error();
    must(dni_locations_create(&locations, heap, "f") == DN_OK);
    must(dni_locations_keep_remarks(locations, heap) == DN_OK);
    if (!checked(dni_text_parse(&message, heap, type, text, size, "f", locations)))
        must(checked(dni_text_print(&printed, heap, message,
                                    dni_locations_remarks(locations))) == DN_OK);
    dni_message_free(message);
    dni_locations_free(locations);
    return printed;
}

/* Printed once, remarks keep their form. */
static void round_trip_kept(const ProtobufCMessageDescriptor *type, const char *text,
                            size_t size)
{
    char *once = print_kept(type, text, size);
    char *twice = once ? print_kept(type, once, strlen(once)) : NULL;
    char *thrice = twice ? print_kept(type, twice, strlen(twice)) : NULL;
    must(!once || (twice && thrice && !strcmp(twice, thrice)));
    dni_free(once);
    dni_free(twice);
    dni_free(thrice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const ProtobufCMessageDescriptor *const types[] = {
        &cnn__net_parameter__descriptor, &cnn__solver_parameter__descriptor};
    for (size_t i = 0; i < DNI_COUNT(types); i++) {
        ProtobufCMessage *message = NULL;
        dni_clear_error();
        if (!checked(dni_text_parse(&message, &dni_default_heap, types[i], (const char *)data,
                                    size, "f", NULL)))
            round_trip(message);
        dni_message_free(message);
        round_trip_kept(types[i], (const char *)data, size);
    }
    return 0;
}
