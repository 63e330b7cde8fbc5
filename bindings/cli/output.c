/* SPDX-License-Identifier: BSD-2-Clause
 * output.c: the progress bar on stderr, lines on stdout above it, JSON by pieces, files. The
 * bar is the one piece of state in the command: there is one terminal. */
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "cli.h"

double cli_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- bar ------------------------------- */

static struct {
    bool on, drawn;
    const char *what;
    int64_t first, last;
    double start, drawn_at;
} bar;

void cli_bar_start(const char *what, int64_t first, int64_t last, bool quiet)
{
    const char *terminal = getenv("TERM");
    memset(&bar, 0, sizeof bar);
    bar.on = !quiet && last > first && isatty(STDERR_FILENO) &&
             !(terminal && strcmp(terminal, "dumb") == 0);
    bar.what = what;
    bar.first = first;
    bar.last = last;
    bar.start = cli_now();
}

static int columns(void)
{
    struct winsize size;
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col >= 20)
        return size.ws_col < 400 ? size.ws_col : 400;
    return 80;
}

/* "1:02:03" or "2:03" */
static void clock_text(char *out, size_t size, double seconds)
{
    long s = seconds < 359999 ? (long)(seconds + 0.5) : 359999;
    if (s >= 3600)
        snprintf(out, size, "%ld:%02ld:%02ld", s / 3600, s / 60 % 60, s % 60);
    else
        snprintf(out, size, "%ld:%02ld", s / 60, s % 60);
}

static void draw(int64_t done, const char *note, double now)
{
    char cells[32], left[32], line[512];
    int width = (int)sizeof cells - 8, full, length, limit = columns() - 1;
    double share = (double)(done - bar.first) / (double)(bar.last - bar.first);
    double spent = now - bar.start, rate = spent > 0 ? (double)(done - bar.first) / spent : 0;

    share = share < 0 ? 0 : share > 1 ? 1 : share;
    full = (int)(share * width);
    for (int i = 0; i < width; i++)
        cells[i] = i < full ? '=' : i == full ? '>' : ' ';
    cells[width] = 0;
    clock_text(left, sizeof left, rate > 0 ? (double)(bar.last - done) / rate : 0);
    length = snprintf(line, sizeof line,
                      rate < 100 ? "%s [%s] %lld/%lld  %.3g/s  %s left%s%s"
                                 : "%s [%s] %lld/%lld  %.0f/s  %s left%s%s",
                      bar.what, cells, (long long)done, (long long)bar.last, rate,
                      rate > 0 ? left : "?", note && *note ? "  " : "", note ? note : "");
    if (length > limit)
        line[limit] = 0;
    fprintf(stderr, "\r%s\033[K", line);
    fflush(stderr);
}

bool cli_bar_due(int64_t done)
{
    return bar.on && (!bar.drawn || done >= bar.last || cli_now() - bar.drawn_at >= 0.1);
}

void cli_bar_set(int64_t done, const char *note)
{
    if (!cli_bar_due(done))
        return;
    bar.drawn_at = cli_now();
    bar.drawn = true;
    draw(done, note, bar.drawn_at);
}

void cli_bar_clear(void)
{
    if (bar.drawn)
        fputs("\r\033[K", stderr);
    bar.drawn = false;
}

void cli_bar_end(void)
{
    cli_bar_clear();
    bar.on = false;
}

/* C0, DEL, and C1 both as UTF-8 has it, after 0xC2, and as a byte of no longer character. */
char *cli_tame(char *text, bool lines)
{
    unsigned char c;
    int due = 0; /* bytes that the character still has */
    for (char *at = text; (c = (unsigned char)*at); at++) {
        bool goes_on = c >= 0x80 && c < 0xC0, two = goes_on && due == 1;
        bool high = c >= 0x80 && c < 0xA0 && due == 0;
        if (two && at > text && (unsigned char)at[-1] == 0xC2 && c < 0xA0)
            high = true, at[-1] = '?';
        if (goes_on && due > 0)
            due--;
        else
            due = c >= 0xF0 && c < 0xF8 ? 3 : c >= 0xE0 ? 2 * (c < 0xF0) : c >= 0xC2;
        if (high || (c < 32 && !(lines && c == '\n')) || c == 127)
            *at = '?';
    }
    return text;
}

static void put_line(FILE *out, const char *format, va_list list)
{
    char line[CLI_LINE];
    cli_bar_clear();
    vsnprintf(line, sizeof line, format, list);
    fprintf(out, "%s\n", cli_tame(line, false));
}

void cli_line(const char *format, ...)
{
    va_list list;
    va_start(list, format);
    put_line(stdout, format, list);
    va_end(list);
}

void cli_note(const char *format, ...)
{
    va_list list;
    va_start(list, format);
    put_line(stderr, format, list);
    va_end(list);
}

char *cli_read_text(const char *path)
{
    FILE *file = fopen(path, "rb");
    size_t size = 0, capacity = 1 << 16, got;
    char *text = file ? malloc(capacity + 1) : NULL, *larger;
    while (text && (got = fread(text + size, 1, capacity - size, file)) > 0) {
        size += got;
        if (size < capacity)
            continue;
        larger = capacity < (size_t)1 << 30 ? realloc(text, (capacity *= 2) + 1) : NULL;
        if (!larger)
            free(text);
        text = larger;
    }
    if (text && ferror(file)) {
        free(text);
        text = NULL;
    }
    if (text)
        text[size] = 0;
    if (file)
        fclose(file);
    return text;
}

int cli_close(FILE *file, const char *path)
{
    bool lost = ferror(file) != 0; /* what a flush dropped, fclose no longer knows */
    if (fclose(file) != 0 || lost)
        return cli_fail("%s: it could not be written", path);
    return CLI_GO;
}

/* ---- JSON ------------------------------- */

void cli_json_string(FILE *out, const char *text)
{
    fputc('"', out);
    for (const unsigned char *c = (const unsigned char *)(text ? text : ""); *c; c++) {
        if (*c == '"' || *c == '\\')
            fprintf(out, "\\%c", *c);
        else if (*c < 32 || *c == 127)
            fprintf(out, "\\u%04x", *c);
        else
            fputc(*c, out);
    }
    fputc('"', out);
}

void cli_json_number(FILE *out, double value)
{
    if (isfinite(value))
        fprintf(out, "%.9g", value);
    else
        fputs("null", out);
}

static bool json_first; /* the object just opened has no member yet */

void cli_json_open(FILE *out)
{
    fputc('{', out);
    json_first = true;
}

static void key_of(FILE *out, const char *key)
{
    if (!json_first)
        fputs(", ", out);
    json_first = false;
    cli_json_string(out, key);
    fputs(": ", out);
}

void cli_json_text(FILE *out, const char *key, const char *value)
{
    key_of(out, key);
    cli_json_string(out, value);
}

void cli_json_int(FILE *out, const char *key, int64_t value)
{
    key_of(out, key);
    fprintf(out, "%lld", (long long)value);
}

void cli_json_real(FILE *out, const char *key, double value)
{
    key_of(out, key);
    cli_json_number(out, value);
}

void cli_json_bool(FILE *out, const char *key, bool value)
{
    key_of(out, key);
    fputs(value ? "true" : "false", out);
}

void cli_json_close(FILE *out)
{
    fputs("}\n", out);
    fflush(out);
    json_first = false;
}

/* ---- numbers ------------------------------- */

static const char *scaled(char buffer[24], double value, double base, const char *const *units)
{
    int unit = 0;
    while (value >= base && units[unit + 1]) {
        value /= base;
        unit++;
    }
    snprintf(buffer, 24, unit && value < 100 ? "%.1f%s" : "%.0f%s", value, units[unit]);
    return buffer;
}

const char *cli_count(char buffer[24], double count)
{
    static const char *const units[] = {"", " k", " M", " G", " T", " P", NULL};
    return scaled(buffer, count, 1000, units);
}

const char *cli_bytes(char buffer[24], double bytes)
{
    static const char *const units[] = {" B", " KiB", " MiB", " GiB", " TiB", NULL};
    return scaled(buffer, bytes, 1024, units);
}

const char *cli_shape(char *buffer, size_t size, const dn_blob *blob)
{
    size_t at = 0;
    int32_t axes = dn_blob_axes(blob);
    snprintf(buffer, size, "%s", axes ? "" : "scalar");
    for (int32_t i = 0; i < axes && at < size; i++)
        at += (size_t)snprintf(buffer + at, size - at, "%s%lld", i ? " x " : "",
                               (long long)dn_blob_dim(blob, i));
    return buffer;
}
