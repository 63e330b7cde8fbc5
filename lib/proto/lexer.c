/* SPDX-License-Identifier: BSD-2-Clause
 * lexer.c: see lexer.h. Bytes outside ASCII are allowed in comments and strings only. */
#include "proto/lexer.h"

#include <stdio.h>
#include <string.h>

static bool is_word_start(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

dn_status dni_lexer_fail(const dni_lexer *l, const char *format, ...)
{
    char line[768];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    return dni_fail(DN_E_PARSE, "%s:%d:%d: %s", l->file, l->token_line, l->token_column, line);
}

/* The comment up to l->at; with # in front, which Caffe reads too. */
static void keep_comment(const dni_lexer *l, const char *from, dni_text *to)
{
    const char *end = l->at;
    while (end > from && (end[-1] == ' ' || end[-1] == '\t' || end[-1] == '\r'))
        end--;
    if (*from == '/') {
        dni_text_append(to, "#", 1);
        from += 2;
    }
    for (const char *zero; (zero = memchr(from, 0, (size_t)(end - from))); from = zero + 1) {
        dni_text_append(to, from, (size_t)(zero - from));
        dni_text_append(to, " ", 1); /* printed text is a C string */
    }
    dni_text_append(to, from, (size_t)(end - from));
    dni_text_append(to, "\n", 1);
}

static void skip_space(dni_lexer *l)
{
    int32_t newlines = l->last_end ? 0 : 1;
    while (l->at < l->end) {
        char c = *l->at;
        if (c == '#' || (c == '/' && l->at + 1 < l->end && l->at[1] == '/')) {
            const char *from = l->at;
            while (l->at < l->end && *l->at != '\n')
                l->at++;
            bool first = l->above && !l->above->size;
            bool opened = !l->last_end || strchr("{<", l->last_end[-1]);
            if (l->above && newlines > 1 && !(first && opened))
                dni_text_append(l->above, "\n", 1);
            if (l->above)
                keep_comment(l, from, newlines ? l->above : l->beside);
            newlines = 0;
        } else if (c == '\n') {
            newlines++;
            l->line++;
            l->line_start = ++l->at;
        } else if (c == ' ' || c == '\t' || c == '\r' || c == '\v' || c == '\f') {
            l->at++;
        } else {
            break;
        }
    }
    if (l->above && l->above->size && newlines > 1)
        dni_text_append(l->above, "\n", 1);
}

static dn_status lex_string(dni_lexer *l)
{
    char quote = *l->at++;
    while (l->at < l->end && *l->at != quote && *l->at != '\n')
        l->at += *l->at == '\\' && l->at + 1 < l->end && l->at[1] != '\n' ? 2 : 1;
    if (l->at >= l->end || *l->at != quote)
        return dni_lexer_fail(l, "string without end");
    l->at++;
    return DN_OK;
}

/* Digits, letters, dots, and a sign after an exponent: what is a number is decided later. */
static void lex_number(dni_lexer *l)
{
    bool hex = l->at + 1 < l->end && l->at[0] == '0' && (l->at[1] == 'x' || l->at[1] == 'X');
    while (l->at < l->end) {
        char c = *l->at;
        bool exponent = !hex && (c == 'e' || c == 'E') && l->at + 1 < l->end &&
                        (l->at[1] == '-' || l->at[1] == '+');
        if (!is_digit(c) && !is_word_start(c) && c != '.')
            return;
        l->at += exponent ? 2 : 1;
    }
}

dn_status dni_lexer_next(dni_lexer *l)
{
    dn_status st = DN_OK;
    l->last_end = l->token ? l->token + l->length : NULL;
    skip_space(l);
    l->token = l->at;
    l->token_line = l->line;
    l->token_column = (int32_t)(l->at - l->line_start) + 1;
    l->length = 0;
    if (l->at >= l->end) {
        l->kind = DNI_TOKEN_END;
        return DN_OK;
    }
    char c = *l->at;
    bool template = c == '$' && l->at + 1 < l->end && is_word_start(l->at[1]); /* $WIDTH$ */
    if (is_word_start(c) || template) {
        l->kind = DNI_TOKEN_WORD;
        while (l->at < l->end &&
               (is_word_start(*l->at) || is_digit(*l->at) || (template && *l->at == '$')))
            l->at++;
    } else if (is_digit(c) || c == '.') {
        l->kind = DNI_TOKEN_NUMBER;
        lex_number(l);
    } else if (c == '"' || c == '\'') {
        l->kind = DNI_TOKEN_STRING;
        st = lex_string(l);
    } else if (strchr("{}<>[]:,;-+", c) && c) {
        l->kind = DNI_TOKEN_SYMBOL;
        l->at++;
    } else if (l->end - l->at > 2 && !memcmp(l->at, "\xe2\x80", 2) &&
               ((unsigned char)l->at[2] & 0xf8) == 0x98) {
        return dni_lexer_fail(l, "a typographic quote; strings take \" or '");
    } else if ((unsigned char)c >= 0x80) { /* a space or comma of another script */
        return dni_lexer_fail(l, "byte 0x%02x is not ASCII, as all is but strings and comments",
                              (unsigned char)c);
    } else if ((unsigned char)c < 0x20 || c == 0x7f) {
        return dni_lexer_fail(l, "unexpected byte 0x%02x", (unsigned char)c);
    } else {
        return dni_lexer_fail(l, "unexpected '%c'", c);
    }
    l->length = (size_t)(l->at - l->token);
    return st;
}

void dni_lexer_comments_again(const dni_lexer *l)
{
    dni_lexer gap = *l;
    gap.at = l->last_end;
    gap.end = l->token;
    skip_space(&gap);
}

dn_status dni_lexer_init(dni_lexer *l, const char *text, size_t size, const char *file)
{
    if (size >= 3 && !memcmp(text, "\xEF\xBB\xBF", 3)) { /* a byte-order mark */
        text += 3;
        size -= 3;
    }
    *l = (dni_lexer){.file = file,
                     .at = text,
                     .end = text + size,
                     .line_start = text,
                     .line = 1,
                     .beside = l->beside,
                     .above = l->above};
    return dni_lexer_next(l);
}

bool dni_lexer_is(const dni_lexer *l, char symbol)
{
    return l->kind == DNI_TOKEN_SYMBOL && *l->token == symbol;
}
