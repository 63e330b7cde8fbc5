/* SPDX-License-Identifier: BSD-2-Clause
 * ptx_read.c: from PTX text to code: names become registers, constants and places once, so that
 * running it looks nothing up. Only what nvcc makes of our kernels is known; anything else is
 * named and ends the process. */
#include "ptx.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Alignas(16) char ptx_params[PTX_MOST_PARAMS];

/* The rows of ptx_ops.h: bytes of the result and of each operand. */
typedef struct row {
    const char *name;
    uint16_t op;
    uint8_t atom, size[5]; /* size: of d, a, b, c, e; 0: has none */
} row;

#define ONE(name, D, A, result)    {#name, __LINE__, 0, {sizeof(D), sizeof(A)}},
#define TWO(name, D, A, B, result) {#name, __LINE__, 0, {sizeof(D), sizeof(A), sizeof(B)}},
#define THREE(name, D, A, B, C, result)                                                        \
    {#name, __LINE__, 0, {sizeof(D), sizeof(A), sizeof(B), sizeof(C)}},
#define FOUR(name, D, A, B, C, E, result)                                                      \
    {#name, __LINE__, 0, {sizeof(D), sizeof(A), sizeof(B), sizeof(C), sizeof(E)}},
#define DIVIDE(name, T, result) {#name, __LINE__, 0, {sizeof(T), sizeof(T), sizeof(T)}},
#define ATOM(name, T, result)   {#name, __LINE__, 1, {sizeof(T), sizeof(T), sizeof(T)}},

static const row rows[] = {
#include "ptx_ops.h"
};

enum { NUM_ROWS = sizeof(rows) / sizeof(rows[0]), MOST_NAMES = 4096, MOST_WORD = 512 };

typedef enum name_kind {
    REGISTERS, /* count of them, of `bytes` each, called name0, name1, ...; 0: name alone */
    PARAMS,    /* of a call: a register of 8 bytes for every 4 of them */
    PLACE,     /* a constant: the address of a parameter, shared memory, a table */
    OWN        /* local memory: bytes from its beginning */
} name_kind;

typedef struct name {
    const char *text;
    size_t length;
    name_kind kind;
    uint32_t where, count, bytes;
    uint64_t value;
} name;

typedef struct function {
    const char *name, *body;
    size_t length;
    uint32_t back;  /* the register that keeps where it returns to */
    name params[8]; /* their names, first what it returns */
    int num_params;
    int64_t start; /* -1: not read yet */
} function;

typedef struct label {
    const char *text;
    size_t length;
    int64_t at;
} label;

typedef struct reader {
    const ptx_module *module;
    ptx_kernel *kernel;
    const char *at;
    char word[MOST_WORD]; /* the present one */
    const char *start;    /* where it is */
    const char *line;     /* the present instruction */
    name names[MOST_NAMES];
    int num_names;
    function functions[16];
    int num_functions;
    label *labels;
    size_t num_labels;
    uint8_t *written, *wanted; /* by register / 64 bytes: is it ever? */
} reader;

static _Noreturn void cannot(const reader *r, const char *format, ...)
{
    va_list args;
    const char *line = r->line ? r->line : r->start;
    va_start(args, format);
    fprintf(stderr, "ptx: %s: ", r->kernel ? r->kernel->name : "a table");
    vfprintf(stderr, format, args);
    fprintf(stderr, ": %.*s\n", line ? (int)strcspn(line, "\n") : 0, line ? line : "");
    va_end(args);
    exit(1);
}

static void *more_of(void *list, size_t count, size_t size)
{
    void *more = count & (count - 1) ? list : realloc(list, (count ? 2 * count : 1) * size);
    if (!more)
        abort();
    return more;
}

/* ---- words ------------------------------------------------------------------------------- */

static bool in_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           c == '_' || c == '$' || c == '%' || c == '.' || c == '-';
}

static void skip_space(reader *r)
{
    for (;;) {
        while (*r->at == ' ' || *r->at == '\t' || *r->at == '\n')
            r->at++;
        if (r->at[0] != '/' || r->at[1] != '/')
            return;
        r->at += strcspn(r->at, "\n");
    }
}

/* The next word, or sign; "" at the end. */
static const char *next(reader *r)
{
    skip_space(r);
    size_t length = 0;
    r->start = r->at;
    while (in_word(r->at[length]))
        length++;
    length = length ? length : *r->at != 0;
    if (length >= MOST_WORD)
        cannot(r, "a word is too long");
    memcpy(r->word, r->at, length);
    r->word[length] = 0;
    r->at += length;
    return r->word;
}

static char peek(reader *r)
{
    skip_space(r);
    return *r->at;
}

static bool took(reader *r, char sign)
{
    bool there = peek(r) == sign;
    r->at += there;
    return there;
}

static void expect(reader *r, char sign)
{
    if (!took(r, sign))
        cannot(r, "'%c' was expected before '%s'", sign, next(r));
}

static bool is(const reader *r, const char *word)
{
    return strcmp(r->word, word) == 0;
}

static bool begins(const char *word, const char *with)
{
    return strncmp(word, with, strlen(with)) == 0;
}

/* That the present word is. */
static uint64_t value_of(const reader *r)
{
    char *end;
    uint64_t value =
        r->word[0] == '-' ? (uint64_t)strtoll(r->word, &end, 0) : strtoull(r->word, &end, 0);
    if (end == r->word || *end)
        cannot(r, "'%s' is no number", r->word);
    return value;
}

static uint64_t number(reader *r)
{
    next(r);
    return value_of(r);
}

/* ---- registers --------------------------------------------------------------------------- */

enum { UNIT = 2 * PTX_WARP }; /* bytes: of the narrowest */

static uint32_t make_register(reader *r, uint32_t bytes, uint32_t count)
{
    uint32_t where = r->kernel->file;
    r->kernel->file += bytes * PTX_WARP * count;
    size_t units = r->kernel->file / UNIT;
    r->written = realloc(r->written, units);
    r->wanted = realloc(r->wanted, units);
    memset(r->written + where / UNIT, 0, units - where / UNIT);
    memset(r->wanted + where / UNIT, 0, units - where / UNIT);
    return where;
}

static uint32_t constant(reader *r, uint64_t value, uint32_t bytes)
{
    ptx_kernel *k = r->kernel;
    for (size_t i = 0; i < k->num_constants; i++)
        if (k->constants[i].value == value && k->constants[i].size == bytes)
            return k->constants[i].where;
    k->constants = more_of(k->constants, k->num_constants, sizeof(*k->constants));
    uint32_t where = make_register(r, bytes, 1);
    k->constants[k->num_constants++] = (ptx_constant){where, bytes, value};
    r->written[where / UNIT] = 1;
    return where;
}

static name *declare(reader *r, const char *text, size_t length, name_kind kind)
{
    if (r->num_names == MOST_NAMES)
        cannot(r, "too many names");
    name *n = &r->names[r->num_names++];
    *n = (name){.text = text, .length = length, .kind = kind};
    return n;
}

/* The latest of that name; *index: which of several. */
static const name *find_name(const reader *r, const char *word, uint32_t *index)
{
    size_t length = strlen(word);
    for (int i = r->num_names - 1; i >= 0; i--) {
        const name *n = &r->names[i];
        if (n->length > length || memcmp(n->text, word, n->length) != 0)
            continue;
        *index = 0;
        if (n->length == length && !n->count)
            return n;
        if (n->count && n->length < length &&
            strspn(word + n->length, "0123456789") == length - n->length) {
            *index = (uint32_t)atoi(word + n->length);
            if (*index < n->count)
                return n;
        }
    }
    return NULL;
}

static uint32_t special(reader *r)
{
    static const char *const names[] = {"%tid.x", "%ntid.x", "%ctaid.x", "%nctaid.x"};
    for (uint32_t i = 0; i < 4; i++)
        if (is(r, names[i]))
            return i * 4 * PTX_WARP;
    cannot(r, "'%s' is not known", r->word);
}

static ptx_instruction *emit(reader *r, uint16_t op)
{
    ptx_kernel *k = r->kernel;
    k->code = more_of(k->code, k->count, sizeof(*k->code));
    k->code[k->count] = (ptx_instruction){.op = op, .text = r->line};
    return &k->code[k->count++];
}

static const row *find_row(const char *word, bool atom)
{
    for (int i = 0; i < NUM_ROWS; i++)
        if (rows[i].atom == atom && strcmp(rows[i].name, word) == 0)
            return &rows[i];
    return NULL;
}

static void emit_move(reader *r, const char *how, uint32_t to, uint32_t from)
{
    ptx_instruction *i = emit(r, find_row(how, false)->op);
    i->d = to;
    i->a = from;
}

static uint32_t low_half(reader *r, uint32_t of)
{
    uint32_t half = make_register(r, 4, 1);
    emit_move(r, "low.b64", half, of);
    return half;
}

/* An operand that is read: of so many bytes, 0: as it is. */
static uint32_t source(reader *r, uint32_t bytes)
{
    uint32_t index;
    next(r);
    if (r->word[0] == '0' && (r->word[1] == 'f' || r->word[1] == 'd') && r->word[2])
        return constant(r, strtoull(r->word + 2, NULL, 16), r->word[1] == 'f' ? 4 : 8);
    if (r->word[0] == '-' || (r->word[0] >= '0' && r->word[0] <= '9')) {
        uint64_t value = value_of(r);
        if (!bytes)
            cannot(r, "'%s' is of no width", r->word);
        return constant(r, bytes == 8 ? value : value & (((uint64_t)1 << 8 * bytes) - 1),
                        bytes);
    }
    const name *n = find_name(r, r->word, &index);
    if (!n)
        return special(r);
    if (n->kind == PLACE)
        return constant(r, n->value, bytes ? bytes : 8);
    uint32_t where = n->where + index * n->bytes * PTX_WARP;
    r->wanted[where / UNIT] = 1;
    if (n->kind == REGISTERS && n->bytes == 8 && bytes == 4 && begins(r->line, "cvt."))
        return low_half(r, where); /* cvt alone has operands that are wider than it says */
    if (n->kind != REGISTERS || (bytes && n->bytes != bytes))
        cannot(r, "'%s' is no register of %u bytes", r->word, bytes);
    return where;
}

static uint32_t destination(reader *r, uint32_t bytes, uint32_t *has)
{
    uint32_t index;
    const name *n = find_name(r, next(r), &index);
    if (!n || n->kind != REGISTERS || (bytes && n->bytes != bytes))
        cannot(r, "'%s' is no register of %u bytes", r->word, bytes);
    if (has)
        *has = n->bytes;
    uint32_t where = n->where + index * n->bytes * PTX_WARP;
    r->written[where / UNIT] = 1;
    return where;
}

static uint32_t bytes_of(reader *r, const char *type)
{
    if (strcmp(type, ".pred") == 0)
        return 4;
    int bits = type[0] == '.' && strchr("busf", type[1]) ? atoi(type + 2) : 0;
    if (bits != 8 && bits != 16 && bits != 32 && bits != 64)
        cannot(r, "'%s' is no type", type);
    return (uint32_t)bits / 8;
}

/* ---- declarations ------------------------------------------------------------------------ */

/* .reg .b32 %r<9>; or .reg .b32 %a, %b; */
static void read_registers(reader *r)
{
    uint32_t bytes = bytes_of(r, next(r));
    do {
        next(r);
        name *n = declare(r, r->start, strlen(r->word), REGISTERS);
        n->bytes = bytes;
        if (took(r, '<')) {
            n->count = (uint32_t)number(r);
            expect(r, '>');
        }
        n->where = make_register(r, bytes, n->count ? n->count : 1);
    } while (took(r, ','));
}

/* .align 8 .b8 name[40]; the present word is what comes first. */
static name *read_variable(reader *r, name_kind kind, uint32_t *align)
{
    *align = 1;
    if (is(r, ".align")) {
        *align = (uint32_t)number(r);
        next(r);
    }
    uint32_t bytes = bytes_of(r, r->word);
    *align = *align > bytes ? *align : bytes;
    next(r);
    name *n = declare(r, r->start, strlen(r->word), kind);
    n->bytes = bytes;
    if (took(r, '[')) {
        n->bytes *= (uint32_t)number(r);
        expect(r, ']');
    }
    return n;
}

static uint32_t place(uint32_t *used, uint32_t align, uint32_t bytes)
{
    uint32_t at = (*used + align - 1) / align * align;
    *used = at + bytes;
    return at;
}

static void read_call_params(reader *r)
{
    uint32_t align;
    next(r);
    name *n = read_variable(r, PARAMS, &align);
    n->where = make_register(r, 8, (n->bytes + 3) / 4);
}

/* .visible .func (.param .b32 name) name(.param .b64 name, ...) from `(` or the name on */
static void read_signature(reader *r, function *f)
{
    for (int part = 0; part < 2; part++) {
        if (part == 1) {
            next(r);
            f->name = r->start;
            f->length = strlen(r->word);
        }
        if (!took(r, '('))
            continue;
        while (!took(r, ')')) {
            if (f->num_params == 8)
                cannot(r, "too many parameters");
            next(r); /* .param */
            read_call_params(r);
            f->params[f->num_params++] = r->names[--r->num_names];
            took(r, ',');
        }
    }
}

/* The text after `.func` or `.entry` of that name, which has a body. */
static const char *find_function(reader *r, const char *kind, const char *wanted, size_t length)
{
    const char *text = r->module->text;
    for (; (text = strstr(text, kind)) != NULL; text += strlen(kind)) {
        const char *body = strchr(text, '{'), *end = strchr(text, ';');
        const char *at = text + strlen(kind) + strspn(text + strlen(kind), " ");
        if (*at == '(')
            at = strchr(at, ')') + 1;
        at += strspn(at, " ");
        if (body && (!end || body < end) && strncmp(at, wanted, length) == 0 &&
            !in_word(at[length]))
            return text + strlen(kind);
    }
    return NULL;
}

static function *function_of(reader *r, const char *wanted, size_t length)
{
    for (int i = 0; i < r->num_functions; i++)
        if (r->functions[i].length == length &&
            memcmp(r->functions[i].name, wanted, length) == 0)
            return &r->functions[i];
    const char *at = find_function(r, ".func", wanted, length), *after = r->at;
    if (!at || r->num_functions == 16)
        cannot(r, "what is called is not there");
    function *f = &r->functions[r->num_functions++];
    f->start = -1;
    r->at = at;
    read_signature(r, f);
    f->body = r->at;
    f->back = make_register(r, 4, 1);
    r->at = after;
    return f;
}

/* ---- instructions ------------------------------------------------------------------------ */

/* [name], [name+4], [%rd1], [%rd1+-4]: the register with the address and what is added. Of a
 * call's parameters, that register itself. */
static const name *read_address(reader *r, uint32_t address_bytes, uint32_t *reg, int64_t *add)
{
    uint32_t index;
    expect(r, '[');
    const char *before = r->at;
    const name *n = find_name(r, next(r), &index);
    bool params = n && n->kind == PARAMS;
    if (!params) {
        r->at = before;
        *reg = source(r, address_bytes);
    }
    *add = took(r, '+') ? (int64_t)number(r) : 0;
    expect(r, ']');
    if (params)
        *reg = n->where + (uint32_t)*add / 4 * 8 * PTX_WARP;
    return params ? n : NULL;
}

/* {%a, %b} or %a: so many; 0 bytes: as wide as the first is. */
static int read_values(reader *r, bool load, uint32_t where[4], uint32_t *wide)
{
    int count = 0;
    bool several = took(r, '{');
    do {
        if (count == 4)
            cannot(r, "too many values");
        where[count++] = load ? destination(r, *wide, wide) : source(r, *wide);
    } while (several && took(r, ','));
    if (several)
        expect(r, '}');
    return count;
}

static ptx_space space_of(const char **parts)
{
    static const char *const names[] = {"global", "shared", "param", "local"};
    for (int i = 0; i < 4; i++) {
        size_t length = strlen(names[i]);
        if (begins(*parts, names[i]) && (*parts)[length] == '.') {
            *parts += length + 1;
            return (ptx_space)(PTX_GLOBAL + i);
        }
    }
    return PTX_GENERIC;
}

/* How wide the register of the next value is. */
static uint32_t wide_of(reader *r)
{
    const char *before = r->at;
    uint32_t index, wide = 0;
    took(r, '{');
    const name *n = find_name(r, next(r), &index);
    if (n && n->kind == REGISTERS)
        wide = n->bytes;
    r->at = before;
    return wide;
}

/* ld.global.nc.v2.f32 {%f1, %f2}, [%rd1+8]; st likewise, the other way round. */
static void read_memory(reader *r, bool load)
{
    const char *parts = r->word + 3;
    char type[8] = ".";
    uint32_t where[4], address = 0;
    int64_t add = 0;
    const name *params = NULL;
    if (begins(parts, "volatile."))
        parts += 9;
    ptx_space space = space_of(&parts);
    if (begins(parts, "nc."))
        parts += 3;
    int count = parts[0] == 'v' ? parts[1] - '0' : 1;
    parts += parts[0] == 'v' ? 3 : 0;
    if (strlen(parts) > 3 || (count != 1 && count != 2 && count != 4))
        cannot(r, "'%s' is not known", r->word);
    strcat(type, parts);
    uint32_t size = bytes_of(r, type), address_bytes = space == PTX_SHARED ? 4 : 8;
    if (type[1] == 's' && size < 4)
        cannot(r, "'%s' is not known", r->word);
    uint32_t wide = load ? wide_of(r) : 0;
    if (!load) {
        params = read_address(r, address_bytes, &address, &add);
        expect(r, ',');
        wide = wide_of(r);
        wide = wide ? wide : size;
    }
    int values = read_values(r, load, where, &wide);
    if (load) {
        expect(r, ',');
        params = read_address(r, address_bytes, &address, &add);
    }
    if (values != count || wide < size)
        cannot(r, "its values do not fit");
    if (params) {
        if (count != 1 || size < 4 || wide != size)
            cannot(r, "such a parameter is not known");
        emit_move(r,
                  size == 8 ? "mov.b64"
                  : load    ? "low.b64"
                            : "cvt.u64.u32",
                  load ? where[0] : address, load ? address : where[0]);
        return;
    }
    ptx_instruction *i = emit(r, load ? PTX_LOAD : PTX_STORE);
    i->space = (uint8_t)space;
    i->size = (uint8_t)size;
    i->wide = (uint8_t)wide;
    i->sign = type[1] == 's';
    i->count = (uint8_t)count;
    i->address = address;
    i->at = add;
    i->d = where[0];
    i->a = count > 1 ? where[1] : 0;
    i->b = count > 2 ? where[2] : 0;
    i->c = count > 2 ? where[3] : 0;
}

/* atom.global.sys.cas.b32 d, [%rd1], a, b; */
static void read_atom(reader *r)
{
    const char *parts = r->word + 5;
    ptx_space space = space_of(&parts);
    if (begins(parts, "sys."))
        parts += 4;
    const row *w = find_row(parts, true);
    if (!w || (space != PTX_GLOBAL && space != PTX_SHARED))
        cannot(r, "'%s' is not known", r->word);
    uint32_t size = w->size[0], address, b = 0;
    int64_t add;
    uint32_t d = destination(r, size, NULL);
    expect(r, ',');
    if (read_address(r, space == PTX_SHARED ? 4 : 8, &address, &add))
        cannot(r, "it is no memory");
    expect(r, ',');
    uint32_t a = source(r, size);
    if (took(r, ','))
        b = source(r, size);
    ptx_instruction *i = emit(r, w->op);
    *i = (ptx_instruction){.op = w->op,
                           .text = r->line,
                           .space = (uint8_t)space,
                           .size = (uint8_t)size,
                           .count = 1,
                           .d = d,
                           .a = a,
                           .b = b,
                           .address = address,
                           .at = add};
}

static void read_branch(reader *r, bool guarded, bool unless, uint32_t guard)
{
    next(r);
    ptx_instruction *i = emit(r, PTX_BRANCH);
    i->guarded = guarded;
    i->unless = unless;
    i->a = guard;
    i->from = (char *)r->start; /* its label's name, until all are known */
}

/* call.uni (retval0), name, (param0, param1); */
static void read_call(reader *r)
{
    const name *given[8];
    int count = 0;
    uint32_t index;
    const char *called = NULL;
    size_t length = 0;
    for (int part = 0; part < 3; part++) {
        if (part == 1) {
            next(r);
            called = r->start;
            length = strlen(r->word);
        } else {
            expect(r, '(');
            while (!took(r, ')')) {
                given[count] = find_name(r, next(r), &index);
                if (!given[count] || given[count]->kind != PARAMS || ++count == 8)
                    cannot(r, "'%s' is no parameter", r->word);
                took(r, ',');
            }
        }
        if (part < 2)
            expect(r, ',');
    }
    function *f = function_of(r, called, length);
    if (f->num_params != count)
        cannot(r, "its parameters are not those of what is called");
    for (int back = 0; back < 2; back++) {
        for (int p = back ? 0 : 1; p < (back ? 1 : count); p++)
            for (uint32_t k = 0; k < (given[p]->bytes + 3) / 4; k++) {
                uint32_t theirs = f->params[p].where + k * 8 * PTX_WARP;
                uint32_t ours = given[p]->where + k * 8 * PTX_WARP;
                emit_move(r, "mov.b64", back ? ours : theirs, back ? theirs : ours);
            }
        if (!back) {
            ptx_instruction *i = emit(r, PTX_CALL);
            i->d = f->back;
            i->at = f - r->functions; /* until it is known where it begins */
        }
    }
}

/* mov.b64 {%a, %b}, %c; or the other way round */
static bool read_halves(reader *r)
{
    if (!is(r, "mov.b64"))
        return false;
    if (took(r, '{')) {
        uint32_t low = destination(r, 4, NULL);
        expect(r, ',');
        uint32_t high = destination(r, 4, NULL);
        expect(r, '}');
        expect(r, ',');
        uint32_t from = source(r, 8);
        uint32_t kept = make_register(r, 8, 1); /* of a name of its halves there may be more */
        emit_move(r, "mov.b64", kept, from);
        emit_move(r, "low.b64", low, kept);
        emit_move(r, "high.b64", high, kept);
        return true;
    }
    const char *before = r->at;
    uint32_t d = destination(r, 8, NULL);
    expect(r, ',');
    if (!took(r, '{')) {
        r->at = before;
        return false;
    }
    uint32_t low = source(r, 4);
    expect(r, ',');
    uint32_t high = source(r, 4);
    expect(r, '}');
    ptx_instruction *i = emit(r, find_row("pack.b64", false)->op);
    i->d = d;
    i->a = low;
    i->b = high;
    return true;
}

/* mov.u64 %SPL, __local_depot0; */
static bool read_own(reader *r)
{
    if (!is(r, "mov.u64"))
        return false;
    const char *before = r->at;
    uint32_t index, d = destination(r, 8, NULL);
    expect(r, ',');
    const name *n = find_name(r, next(r), &index);
    if (!n || n->kind != OWN) {
        r->at = before;
        strcpy(r->word, "mov.u64");
        return false;
    }
    ptx_instruction *i = emit(r, PTX_LOCAL);
    i->d = d;
    i->at = (int64_t)n->value;
    return true;
}

/* add.s64 %rd1, %rd2, 8; and all else that is a row. */
static void read_operation(reader *r)
{
    const row *w = find_row(r->word, false);
    uint32_t operand[5] = {0};
    if (!w)
        cannot(r, "'%s' is not known", r->word);
    if ((is(r, "mov.b64") && read_halves(r)) || (is(r, "mov.u64") && read_own(r)))
        return;
    for (int k = 0; k < 5 && w->size[k]; k++) {
        if (k > 0)
            expect(r, ',');
        operand[k] = k ? source(r, w->size[k]) : destination(r, w->size[k], NULL);
    }
    ptx_instruction *i = emit(r, w->op);
    i->d = operand[0];
    i->a = operand[1];
    i->b = operand[2];
    i->c = operand[3];
    i->e = operand[4];
}

static void read_instruction(reader *r, const function *f)
{
    bool guarded = is(r, "@"), unless = false;
    uint32_t guard = 0;
    r->line = r->start;
    if (guarded) {
        unless = took(r, '!');
        guard = source(r, 4);
        next(r);
    }
    if (is(r, "bra") || is(r, "bra.uni"))
        read_branch(r, guarded, unless, guard);
    else if (guarded)
        cannot(r, "only branches are known to depend on something");
    else if (is(r, "ret"))
        emit(r, f ? PTX_RETURN : PTX_EXIT)->a = f ? f->back : 0;
    else if (is(r, "bar.sync")) {
        emit(r, PTX_BARRIER);
        if (number(r) != 0)
            cannot(r, "one barrier is known");
    } else if (is(r, "call.uni"))
        read_call(r);
    else if (begins(r->word, "ld.") || begins(r->word, "st."))
        read_memory(r, r->word[0] == 'l');
    else if (begins(r->word, "atom."))
        read_atom(r);
    else
        read_operation(r);
    expect(r, ';');
    r->line = NULL;
}

static void read_declaration(reader *r)
{
    uint32_t align;
    name *n;
    if (is(r, ".reg")) {
        read_registers(r);
    } else if (is(r, ".param")) {
        read_call_params(r);
    } else if (is(r, ".local") || is(r, ".shared")) {
        bool own = is(r, ".local");
        next(r);
        n = read_variable(r, own ? OWN : PLACE, &align);
        n->value = place(own ? &r->kernel->local : &r->kernel->shared, align, n->bytes);
    } else if (is(r, ".pragma")) {
        r->at += strcspn(r->at, ";");
    } else {
        cannot(r, "'%s' is not known", r->word);
    }
    expect(r, ';');
}

/* From `{` on; what it declares ends with it. f: of this function; NULL: of the kernel. */
static void read_block(reader *r, const function *f)
{
    int before = r->num_names;
    expect(r, '{');
    while (!took(r, '}')) {
        if (peek(r) == '{') {
            read_block(r, f);
            continue;
        }
        next(r);
        if (r->word[0] == '.') {
            read_declaration(r);
        } else if (r->word[0] == '$') {
            r->labels = more_of(r->labels, r->num_labels, sizeof(*r->labels));
            r->labels[r->num_labels++] =
                (label){r->start, strlen(r->word), (int64_t)r->kernel->count};
            expect(r, ':');
        } else {
            read_instruction(r, f);
        }
    }
    r->num_names = before;
}

static void read_function(reader *r, function *f)
{
    int before = r->num_names;
    for (int p = 0; p < f->num_params; p++)
        r->names[r->num_names++] = f->params[p];
    f->start = (int64_t)r->kernel->count;
    r->at = f->body;
    read_block(r, f);
    r->num_names = before;
}

static void read_entry(reader *r, const char *wanted)
{
    ptx_kernel *k = r->kernel;
    uint32_t align, used = 0;
    r->at = find_function(r, ".entry", wanted, strlen(wanted));
    if (!r->at)
        cannot(r, "it is not there");
    next(r);
    expect(r, '(');
    while (!took(r, ')')) {
        next(r); /* .param */
        next(r);
        name *n = read_variable(r, PLACE, &align);
        uint32_t at = place(&used, align, n->bytes);
        n->value = (uint64_t)(uintptr_t)(ptx_params + at);
        if (k->num_params == 8 || used > PTX_MOST_PARAMS)
            cannot(r, "too many parameters");
        k->offset[k->num_params] = at;
        k->bytes[k->num_params++] = n->bytes;
        took(r, ',');
    }
    k->params = used;
    k->threads = PTX_MOST_THREADS;
    while (peek(r) == '.') {
        if (strcmp(next(r), ".maxntid") != 0)
            cannot(r, "'%s' is not known", r->word);
        k->threads = (uint32_t)number(r);
        while (took(r, ','))
            k->threads *= (uint32_t)number(r);
    }
    read_block(r, NULL);
}

static void find_labels(reader *r)
{
    for (ptx_instruction *i = r->kernel->code; i < r->kernel->code + r->kernel->count; i++) {
        if (i->op == PTX_CALL)
            i->at = r->functions[i->at].start;
        if (i->op != PTX_BRANCH)
            continue;
        const label *l = r->labels;
        while (l < r->labels + r->num_labels &&
               (strncmp(l->text, i->from, l->length) != 0 || in_word(i->from[l->length])))
            l++;
        if (l == r->labels + r->num_labels)
            cannot(r, "a label is not there");
        i->at = l->at;
        i->from = NULL;
    }
}

ptx_kernel *ptx_read_kernel(const ptx_module *module, const char *wanted)
{
    reader *r = calloc(1, sizeof(*r));
    ptx_kernel *k = calloc(1, sizeof(*k));
    r->module = module;
    r->kernel = k;
    k->name = wanted;
    make_register(r, 4, PTX_GIVEN);
    for (int i = 0; i < module->num_tables; i++)
        declare(r, module->tables[i].name, strcspn(module->tables[i].name, "["), PLACE)->value =
            (uint64_t)(uintptr_t)module->tables[i].start;
    memset(r->written, 1, PTX_CARRY * 4 * PTX_WARP / UNIT);
    read_entry(r, wanted);
    for (int i = 0; i < r->num_functions; i++)
        read_function(r, &r->functions[i]);
    find_labels(r);
    for (uint32_t unit = 0; unit < k->file / UNIT; unit++)
        if (r->wanted[unit] && !r->written[unit])
            cannot(r, "a register is read that is never written");
    free(r->labels);
    free(r->written);
    free(r->wanted);
    free(r);
    return k;
}

/* .global .align 8 .b8 name[144] = {8, 93, ...}; */
void ptx_read_tables(ptx_module *module)
{
    reader *r = calloc(1, sizeof(*r));
    r->module = module;
    const char *at = module->text;
    while ((at = strstr(at, "\n.global ")) != NULL) {
        uint32_t align;
        at += 9;
        r->at = at;
        next(r);
        const name *n = read_variable(r, PLACE, &align);
        if (module->num_tables == 16)
            cannot(r, "too many tables");
        char *start = aligned_alloc(16, (n->bytes + 15) / 16 * 16);
        memset(start, 0, n->bytes);
        module->tables[module->num_tables++] = (ptx_table){n->text, start, n->bytes};
        expect(r, '=');
        expect(r, '{');
        for (uint32_t i = 0; i < n->bytes && peek(r) != '}'; i++) {
            start[i] = (char)number(r);
            took(r, ',');
        }
        expect(r, '}');
    }
    free(r);
}
