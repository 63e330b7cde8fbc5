/* SPDX-License-Identifier: BSD-2-Clause
 * fuzz_text.c: any bytes as prototxt. What is read must print, read again, and say the same. */
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
    dni_message_free(heap, again);
    dni_free(heap, text);
    dni_free(heap, text_again);
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
        dni_message_free(&dni_default_heap, message);
    }
    return 0;
}
