/* SPDX-License-Identifier: BSD-2-Clause
 * lexer.h: protobuf text as tokens, with line and column. */
#ifndef DNI_LEXER_H
#define DNI_LEXER_H

#include "core/core.h"

typedef enum dni_token_kind {
    DNI_TOKEN_END,
    DNI_TOKEN_WORD,   /* identifier: field, enum value, true, inf; $NAME$ of a template */
    DNI_TOKEN_NUMBER, /* starts with a digit or '.'; the sign is a symbol of its own */
    DNI_TOKEN_STRING, /* with its quotes */
    DNI_TOKEN_SYMBOL, /* one of { } < > [ ] : , ; - */
} dni_token_kind;

typedef struct dni_lexer {
    const char *file;
    const char *at, *end, *line_start;
    int32_t line;
    dni_token_kind kind; /* of the present token */
    const char *token;
    size_t length;
    int32_t token_line, token_column;
    const char *last_end; /* of the token before the present one */
    /* Comments passed since somebody emptied these, a line each; NULL: not kept. Those beside a
     * token, and those on lines of their own, with blank lines where a file has some. */
    dni_text *beside, *above;
} dni_lexer;

dn_status dni_lexer_init(dni_lexer *lexer, const char *text, size_t size, const char *file);
dn_status dni_lexer_next(dni_lexer *lexer);
/* Passes the comments before the present token once more. */
void dni_lexer_comments_again(const dni_lexer *lexer);
bool dni_lexer_is(const dni_lexer *lexer, char symbol);
/* Fails with "file:line:col: " of the present token in front. */
dn_status dni_lexer_fail(const dni_lexer *lexer, const char *format, ...) DNI_PRINTF(2, 3);

#endif
