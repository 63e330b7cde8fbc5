/* SPDX-License-Identifier: BSD-2-Clause
 * status.c: why the last call of this thread failed: one line in a thread-local buffer, so that
 * failing needs no memory. Also numbers as text, both ways, whatever the host's locale. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/core.h"

static _Thread_local char message[sizeof(dni_saved_error)];

const char *dn_version(void)
{
    return DN_VERSION_STRING;
}

const char *dn_last_error(void)
{
    return message[0] ? message : NULL;
}

const char *dn_status_name(dn_status status)
{
    static const char *const names[] = {
        "DN_OK",         "DN_E_INVALID", "DN_E_NOMEM",  "DN_E_IO",
        "DN_E_PARSE",    "DN_E_NET",     "DN_E_SHAPE",  "DN_E_UNSUPPORTED",
        "DN_E_NOTFOUND", "DN_E_DATA",    "DN_E_DEVICE", "DN_E_CANCELLED",
        "DN_E_STATE",    "DN_E_LIMIT",   "DN_E_HOST",   "DN_E_INTERNAL"};
    if (status > 0 || status <= -(dn_status)DNI_COUNT(names))
        return "unknown status";
    return names[-status];
}

/* Takes text over as the message: one line, whatever a hostile name in it contained. Of a text
 * that is too long its middle, the names and values, is cut: what is wrong stands at the end.
 */
static void set_message(const char *text)
{
    static const char gap[] = " ... ";
    const size_t room = sizeof(message) - 1, head = room / 2, length = strlen(text);
    size_t i = 0, cut = length > room ? length - room : 0;
    for (; i < room && text[i + (i < head ? 0 : cut)]; i++) {
        char c = text[i + (i < head ? 0 : cut)];
        message[i] = (unsigned char)c < ' ' ? ' ' : c;
    }
    message[i] = 0;
    if (cut)
        memcpy(message + head, gap, sizeof(gap) - 1);
    if (i == 0)
        memcpy(message, "failed", sizeof("failed"));
}

/* Formats into a buffer of its own: an argument may be the current message. */
dn_status dni_fail(dn_status status, const char *format, ...)
{
    char text[4 * sizeof(message)];
    va_list args;
    va_start(args, format);
    if (vsnprintf(text, sizeof(text), format, args) < 0)
        text[0] = 0;
    va_end(args);
    set_message(text);
    return status;
}

dn_status dni_fail_null(const char *function)
{
    return dni_fail(DN_E_INVALID, "%s: an argument is NULL", function);
}

dn_status dni_fail_option(const char *type)
{
    return dni_fail(DN_E_UNSUPPORTED, "%s has an option this release does not know", type);
}

dn_status dni_take_options(void *to, const void *from, size_t size, const char *type)
{
    const unsigned char *bytes = from;
    size_t given = size;
    memset(to, 0, size);
    if (from)
        memcpy(&given, from, sizeof given);
    if (given < sizeof given)
        return dni_fail(DN_E_INVALID, "%s.struct_size is %zu; set it to sizeof", type, given);
    for (size_t i = size; i < given; i++)
        if (bytes[i])
            return dni_fail_option(type);
    if (from)
        memcpy(to, from, given < size ? given : size);
    memcpy(to, &size, sizeof size);
    return DN_OK;
}

dn_status dni_in(dn_status status, const char *format, ...)
{
    char text[2 * sizeof(message) + 2];
    va_list args;
    if (status == DN_OK)
        return status;
    va_start(args, format);
    if (vsnprintf(text, sizeof(message), format, args) < 0)
        text[0] = 0;
    va_end(args);
    size_t used = strlen(text);
    /* A function of the host's may have given no reason. */
    snprintf(text + used, sizeof(text) - used, ": %s",
             message[0] ? message : dn_status_name(status));
    set_message(text);
    return status;
}

void dni_clear_error(void)
{
    message[0] = 0;
}

void dni_save_error(dni_saved_error *saved)
{
    memcpy(saved->text, message, sizeof(message));
}

void dni_restore_error(const dni_saved_error *saved)
{
    memcpy(message, saved->text, sizeof(message));
}

const char *dni_errno_text(int error, char *buffer, size_t size)
{
    if (strerror_r(error, buffer, size) != 0)
        snprintf(buffer, size, "error %d", error);
    return buffer;
}

/* ---- numbers ----------------------------------------------------------------------------- */

/* `count` digits with the point after the first and a power of ten, written as %g would: plain
 * for exponents in [-4, limit), else 1.5e-07. Longest: 0.0001 and 16 more digits. */
static void layout_number(char *out, const char *digit, int count, int exponent, int limit)
{
    int i;
    if (exponent < -4 || exponent >= limit) {
        *out++ = digit[0];
        if (count > 1)
            *out++ = '.';
        memcpy(out, digit + 1, (size_t)count - 1);
        snprintf(out + count - 1, 16, "e%c%02d", exponent < 0 ? '-' : '+', abs(exponent));
        return;
    }
    if (exponent < 0) {
        *out++ = '0';
        *out++ = '.';
        for (i = -1; i > exponent; i--)
            *out++ = '0';
    }
    for (i = 0; i < count || i <= exponent; i++) {
        if (exponent >= 0 && i == exponent + 1)
            *out++ = '.';
        *out++ = i < count ? digit[i] : '0';
    }
    *out = 0;
}

/* The digits of |value| rounded to `count` of them, trailing zeros dropped; taken from %e one
 * by one because what stands between them is the locale's. */
static int take_digits(double value, int count, char *digit, int *exponent)
{
    char text[64];
    const char *c = text;
    int taken = 0;
    snprintf(text, sizeof(text), "%.*e", count - 1, fabs(value));
    for (; *c && *c != 'e'; c++)
        if (*c >= '0' && *c <= '9' && taken < count)
            digit[taken++] = *c;
    *exponent = *c == 'e' ? atoi(c + 1) : 0;
    while (taken > 1 && digit[taken - 1] == '0')
        taken--;
    return taken;
}

const char *dni_number(char *buffer, size_t size, double value, int digits)
{
    char text[40] = "-", digit[20];
    int limit = digits <= 9 ? 9 : 17, count, exponent, precision;
    double back;
    if (isnan(value) || isinf(value)) {
        snprintf(buffer, size, "%s", isnan(value) ? "nan" : value > 0 ? "inf" : "-inf");
        return buffer;
    }
    for (precision = 1; precision <= limit; precision++) {
        count = take_digits(value, precision, digit, &exponent);
        layout_number(text + 1, digit, count, exponent, limit);
        dni_parse_number(text + 1, text + 1 + strlen(text + 1), &back);
        if (back == fabs(value) || (limit == 9 && (float)back == (float)fabs(value)))
            break;
    }
    snprintf(buffer, size, "%s", signbit(value) ? text : text + 1);
    return buffer;
}

static bool is_digit(const char *c, const char *end)
{
    return c < end && *c >= '0' && *c <= '9';
}

/* Case-insensitive; word is in lower case. */
static const char *skip_word(const char *c, const char *end, const char *word)
{
    for (; *word; word++, c++)
        if (c == end || (*c | 0x20) != *word)
            return NULL;
    return c;
}

static const char *parse_word(const char *c, const char *end, double *value)
{
    static const char *const words[] = {"infinity", "inf", "nan"};
    for (size_t i = 0; i < DNI_COUNT(words); i++) {
        const char *stop = skip_word(c, end, words[i]);
        if (stop) {
            *value = i < 2 ? (double)INFINITY : (double)NAN;
            return stop;
        }
    }
    return NULL;
}

/* A decimal number as an integer of `count` digits times a power of ten. Digits past 780 cannot
 * change the nearest double but by breaking a tie: one '1' stands for them. */
typedef struct decimal {
    char digit[784 + 16];
    int count;
    long exponent;
    bool dropped;
} decimal;

static void add_digit(decimal *d, char digit, bool fraction)
{
    if (d->count == 0 && digit == '0') {
        d->exponent -= fraction; /* leading zeros only move the point */
    } else if (d->count < 780) {
        d->digit[d->count++] = digit;
        d->exponent -= fraction;
    } else {
        d->dropped |= digit != '0';
        d->exponent += !fraction;
    }
}

static double decimal_value(decimal *d)
{
    static const double power[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                   1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                   1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    double m = 0;
    if (d->count <= 15 && d->exponent >= -22 && d->exponent <= 22) { /* one rounding: exact */
        for (int i = 0; i < d->count; i++)
            m = m * 10 + (d->digit[i] - '0');
        return d->exponent < 0 ? m / power[-d->exponent] : m * power[d->exponent];
    }
    if (d->dropped) {
        d->digit[d->count++] = '1';
        d->exponent--;
    }
    /* An integer with an exponent has no point, so the locale has no say. */
    int saved = errno;
    snprintf(d->digit + d->count, 16, "e%ld", d->exponent);
    m = strtod(d->digit, NULL);
    errno = saved;
    return m;
}

/* "e", a sign, digits; where it stopped, or `c` itself when that is no exponent. */
static const char *parse_exponent(const char *c, const char *end, long *exponent)
{
    const char *p = c + 1;
    bool negative = false;
    long e = 0;
    if (c == end || (*c | 0x20) != 'e')
        return c;
    if (p < end && (*p == '+' || *p == '-'))
        negative = *p++ == '-';
    if (!is_digit(p, end))
        return c;
    for (; is_digit(p, end); p++)
        e = e < 1000000 ? e * 10 + (*p - '0') : e;
    *exponent += negative ? -e : e;
    return p;
}

const char *dni_parse_number(const char *begin, const char *end, double *value)
{
    decimal d;
    const char *c = begin, *stop;
    bool negative = false, any = false;
    double v;
    d.count = 0, d.exponent = 0, d.dropped = false;
    if (c < end && (*c == '+' || *c == '-'))
        negative = *c++ == '-';
    if ((stop = parse_word(c, end, &v)) != NULL) {
        *value = negative ? -v : v;
        return stop;
    }
    for (; is_digit(c, end); c++, any = true)
        add_digit(&d, *c, false);
    if (c < end && *c == '.' && (any || is_digit(c + 1, end)))
        for (c++; is_digit(c, end); c++, any = true)
            add_digit(&d, *c, true);
    if (!any)
        return begin;
    c = parse_exponent(c, end, &d.exponent);
    v = d.count ? decimal_value(&d) : 0;
    *value = negative ? -v : v;
    return c;
}
