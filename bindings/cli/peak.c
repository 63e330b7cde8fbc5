/* SPDX-License-Identifier: BSD-2-Clause
 * peak.c: --peak of `deepnet info`: the library prints a plan's limits and shares by rates that
 * it names; by those of a machine they are made here, of the bytes and flops in the table. */
#include <math.h>
#include <string.h>

#include "cli.h"

typedef struct step {
    const char *columns, *rest; /* limit and share in its line; what follows them */
    double limit;               /* microseconds */
    bool runs;                  /* in every iteration: the shares are of these */
} step;

static bool is_rate(double rate)
{
    return rate > 0 && isfinite(rate);
}

int cli_peak_of(const cli_command *command, const char *text, cli_peak *out)
{
    char end;
    int read =
        sscanf(text, "%lf,%lf%c%lf%c", &out->gflops, &out->gbytes, &end, &out->bf16, &end);
    if (read == 2)
        out->bf16 = out->gflops;
    if ((read != 2 && read != 4) || (read == 4 && end != ',') ||
        !is_rate(out->gflops) || !is_rate(out->gbytes) || !is_rate(out->bf16))
        return cli_usage(command,
                         "--peak is GFLOPS,GBYTES or GFLOPS,GBYTES,BF16GFLOPS, not '%s'", text);
    return CLI_GO;
}

static bool read_step(const cli_peak *peak, const char *line, const char *end, step *s)
{
    char part[8];
    if (sscanf(line, "%*u %7s", part) != 1)
        return false;
    for (const char *at = line; at < end; at++) {
        double bytes, flops, rate = peak->gflops;
        int columns = 0, rest = 0;
        if (strncmp(at, " plain ", 7) != 0 && strncmp(at, " nhwc  ", 7) != 0)
            continue;
        sscanf(at + 7, "%lf %lf%n %*[0-9.] %*[0-9.]%%%n", &bytes, &flops, &columns, &rest);
        if (!rest)
            continue;
        const char *narrow = strstr(at, "/bf16");
        if (narrow && narrow < end)
            rate = peak->bf16;
        flops /= 1e3 * rate;
        bytes /= 1e3 * peak->gbytes;
        *s = (step){.columns = at + 7 + columns,
                    .rest = at + 7 + rest,
                    .limit = flops > bytes ? flops : bytes,
                    .runs = strcmp(part, "prepare") != 0 && strcmp(part, "show") != 0};
        return true;
    }
    return false;
}

/* print: the lines, their shares of `total`. Returns the sum of the limits. */
static double walk(const char *text, const cli_peak *peak, double total, bool print)
{
    static const char least[] = " steps; at the least ";
    double sum = 0;
    step s;
    for (const char *end; *text; text = end) {
        end = text + strcspn(text, "\n");
        end += *end == '\n';
        const char *last = strstr(text, least);
        bool is_step = read_step(peak, text, end, &s);
        if (is_step && s.runs)
            sum += s.limit;
        if (!print)
            continue;
        if (is_step)
            printf("%.*s %10.1f %6.1f%%%.*s", (int)(s.columns - text), text, s.limit,
                   s.runs && total > 0 ? 100 * s.limit / total : 0, (int)(end - s.rest),
                   s.rest);
        else if (last && last < end)
            printf("%.*s%s%.1f ms at %g GFLOP/s (bf16: %g) and %g GB/s\n", (int)(last - text),
                   text, least, total / 1e3, peak->gflops, peak->bf16, peak->gbytes);
        else
            printf("%.*s", (int)(end - text), text);
    }
    return sum;
}

void cli_peak_print(const char *text, const cli_peak *peak)
{
    walk(text, peak, walk(text, peak, 0, false), true);
}
