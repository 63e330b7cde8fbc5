/* SPDX-License-Identifier: BSD-2-Clause
 * rewrite.c: files of any generation and dialect into today's, text with its remarks. */
#include "deepnet/upgrade.h"

#include <string.h>

#include "core/context.h"
#include "proto/lexer.h"
#include "proto/proto.h"

typedef struct rewriting {
    const dni_heap *heap;
    const char *from, *to;
    dn_upgrade_options options;
    bool old_is_text;
    ProtobufCMessage *message;
    dni_locations *locations;
} rewriting;

void dni_log_notes(const dn_context *context, const dni_locations *locations)
{
    for (size_t i = 0; i < dni_locations_num_notes(locations); i++)
        dni_log(context, DN_LOG_NOTICE, "%s", dni_locations_get_note(locations, i));
}

/* The first word outside braces that only one of the two messages has decides. */
static bool text_is_solver(const char *text, size_t size)
{
    dni_lexer l = {0};
    char name[64];
    int depth = 0;
    dn_status st = dni_lexer_init(&l, text, size, "");
    for (; !st && l.kind != DNI_TOKEN_END; st = dni_lexer_next(&l)) {
        depth += dni_lexer_is(&l, '{') || dni_lexer_is(&l, '<');
        depth -= dni_lexer_is(&l, '}') || dni_lexer_is(&l, '>');
        if (depth || l.kind != DNI_TOKEN_WORD || l.length >= sizeof name)
            continue;
        memcpy(name, l.token, l.length);
        name[l.length] = 0;
        bool net = protobuf_c_message_descriptor_get_field_by_name(
            &cnn__net_parameter__descriptor, name);
        bool solver = protobuf_c_message_descriptor_get_field_by_name(
            &cnn__solver_parameter__descriptor, name);
        if (net != solver)
            return solver;
    }
    dni_clear_error();
    return false;
}

static bool ends_in_any(const char *path, const char *const *ends, size_t count)
{
    size_t length = strlen(path);
    for (size_t i = 0; i < count; i++) {
        size_t n = strlen(ends[i]);
        if (length > n && !strcmp(path + length - n, ends[i]))
            return true;
    }
    return false;
}

static bool new_is_text(const rewriting *w)
{
    static const char *const text[] = {".prototxt", ".pbtxt", ".pt", ".txt"};
    static const char *const binary[] = {".caffemodel", ".binaryproto"};
    if (w->options.form)
        return w->options.form == DN_FORM_TEXT;
    if (ends_in_any(w->to, text, DNI_COUNT(text)))
        return true;
    return ends_in_any(w->to, binary, DNI_COUNT(binary)) ? false : w->old_is_text;
}

static dn_status read_old(rewriting *w)
{
    char *bytes;
    size_t size;
    dn_status st = dni_file_read(w->heap, w->from, &bytes, &size);
    if (st)
        return st;
    w->old_is_text = !dni_looks_binary(bytes, size);
    if (!w->options.kind)
        w->options.kind =
            w->old_is_text && text_is_solver(bytes, size) ? DN_FILE_SOLVER : DN_FILE_NET;
    const ProtobufCMessageDescriptor *type = w->options.kind == DN_FILE_SOLVER
                                                 ? &cnn__solver_parameter__descriptor
                                                 : &cnn__net_parameter__descriptor;
    st = dni_locations_create(&w->locations, w->heap, w->from);
    if (!st && w->old_is_text)
        st = dni_locations_keep_remarks(w->locations, w->heap);
    if (!st && w->old_is_text)
        st = dni_text_parse(&w->message, w->heap, type, bytes, size, w->from, w->locations);
    else if (!st)
        st = dni_dialect_parse(&w->message, w->heap, type, bytes, size, w->from,
                               w->options.dialect, w->locations);
    dni_free(bytes);
    return st;
}

/* A solver, and the nets it brings along. */
static dn_status upgrade_solver(rewriting *w)
{
    Cnn__SolverParameter *s = (Cnn__SolverParameter *)w->message;
    Cnn__NetParameter *nets[] = {s->net_param, s->train_net_param};
    dn_status st = dni_solver_upgrade(s, w->heap, dni_locations_remarks(w->locations));
    st = dni_in(st, "%s", w->from);
    for (size_t i = 0; !st && i < DNI_COUNT(nets); i++)
        st = nets[i] ? dni_net_upgrade(nets[i], w->heap, w->locations) : DN_OK;
    for (size_t i = 0; !st && i < s->n_test_net_param; i++)
        st = dni_net_upgrade(s->test_net_param[i], w->heap, w->locations);
    return st;
}

static dn_status write_new(rewriting *w)
{
    dni_remarks *remarks = dni_locations_remarks(w->locations);
    uint8_t *bytes = NULL;
    size_t size = 0;
    dn_status st;
    if (new_is_text(w)) {
        st = dni_text_print((char **)&bytes, w->heap, w->message, remarks);
        size = st ? 0 : strlen((char *)bytes);
    } else if (dni_remarks_unknown(remarks)) {
        st = dni_fail(DN_E_UNSUPPORTED,
                      "%s: %zu fields are unknown here and have no number to "
                      "be binary by; the first: %s",
                      w->from, dni_remarks_unknown(remarks),
                      dni_locations_get_note(w->locations, 0));
    } else {
        st = dni_binary_print(&bytes, &size, w->heap, w->message);
    }
    if (!st)
        st = dni_file_write(w->heap, w->to, bytes, size);
    dni_free(bytes);
    return st;
}

static dn_status take_options(dn_upgrade_options *to, const dn_upgrade_options *from)
{
    dn_status st = dni_take_options(to, from, sizeof *to, "dn_upgrade_options");
    if (st)
        return st;
    if (to->kind < DN_FILE_AUTO || to->kind > DN_FILE_SOLVER)
        return dni_fail(DN_E_INVALID, "kind %d is none of DN_FILE_*", (int)to->kind);
    if (to->form < DN_FORM_AUTO || to->form > DN_FORM_BINARY)
        return dni_fail(DN_E_INVALID, "form %d is none of DN_FORM_*", (int)to->form);
    return DN_OK;
}

dn_status dn_upgrade_file(dn_context *context, const char *from, const char *to,
                          const dn_upgrade_options *options)
{
    rewriting w = {.from = from, .to = to};
    dni_clear_error();
    if (!context || !from || !to)
        return dni_fail_null(__func__);
    w.heap = &context->heap;
    dn_status st = take_options(&w.options, options);
    if (!st)
        st = read_old(&w);
    if (!st)
        st = w.options.kind == DN_FILE_SOLVER
                 ? upgrade_solver(&w)
                 : dni_net_upgrade((Cnn__NetParameter *)w.message, w.heap, w.locations);
    if (!st)
        st = write_new(&w);
    if (!st)
        dni_log_notes(context, w.locations);
    dni_saved_error saved;
    dni_save_error(&saved);
    dni_message_free(w.message);
    dni_locations_free(w.locations);
    dni_restore_error(&saved);
    return st;
}
