/* SPDX-License-Identifier: BSD-2-Clause
 * cli.h: what the subcommands of `deepnet` share: options as one table per command (which is
 * also its --help), exit codes, the progress bar, lines of JSON. Public API only. */
#ifndef DEEPNET_CLI_H
#define DEEPNET_CLI_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "deepnet/deepnet.h"

#define COUNT_OF(a) (sizeof(a) / sizeof *(a))

/* Exit codes; documented in --help and deepnet.1. */
enum { CLI_OK = 0, CLI_FAILED = 1, CLI_USAGE = 2, CLI_INTERRUPTED = 130 };
enum { CLI_GO = -1 }; /* cli_parse: no exit, carry on */

/* ---- commands and options: options.c, main.c ------------------------------- */

typedef struct cli_command {
    const char *name;
    const char *usage; /* arguments, "--solver=FILE [options]" */
    const char *summary;
    int (*run)(const struct cli_command *self, int argc, char **argv);
} cli_command;

enum { CLI_TEXT, CLI_INT, CLI_FLAG }; /* const char *, int64_t, bool */
typedef struct cli_option {
    const char *name;  /* "solver": --solver=x, --solver x, -solver x, as gflags takes them */
    const char *value; /* what it takes, for --help; NULL for flags */
    int kind;
    void *out; /* untouched when the option is absent */
    const char *help;
} cli_option;

typedef struct cli_words { /* arguments that are no options, in order; from argv */
    char **word;
    int count;
} cli_words;

/* Reads argv[1..] by the table; words may be NULL if the command takes none. Returns CLI_GO, or
 * the exit code after --help (CLI_OK) or a mistake (CLI_USAGE), both already printed. */
int cli_parse(const cli_command *command, const cli_option *options, size_t count, int argc,
              char **argv, cli_words *words);
/* One line on stderr; the exit code: CLI_USAGE, CLI_FAILED. */
int cli_usage(const cli_command *command, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
int cli_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The same with dn_last_error() as the line; call it right after what failed. */
int cli_fail_last(void);

/* ---- the host's side of a context: context.c ------------------------------- */

typedef struct cli_host {
    const char *gpu; /* a number, "none", "all"; NULL: the CPU */
    int32_t device;  /* as dn_context_options has it, where gpu is NULL */
    int64_t threads; /* 0: all */
    int64_t seed;    /* -1: not given */
    const char *backends;
    bool tune;
    bool quiet;                                               /* warnings only */
    void (*log)(void *user, int32_t level, const char *line); /* NULL: to stderr */
    void *log_user;
} cli_host;

/* Its rows of an option table. */
#define CLI_HOST_OPTIONS(host)                                                                 \
    {"gpu", "N", CLI_TEXT, &(host).gpu, "compute on GPU number N (train: N,M,..; all; none)"}, \
        {"threads", "N", CLI_INT, &(host).threads, "threads to compute with (default: all)"},  \
        {"seed", "N", CLI_INT, &(host).seed, "seed of every random number"},                   \
        {"tune", NULL, CLI_FLAG, &(host).tune, "time the backends' convolutions first"},       \
    {                                                                                          \
        "backends", "LIST", CLI_TEXT, &(host).backends, "backends, best first (\"cpu,ref\")"   \
    }

/* A context whose log goes to stderr; CLI_GO, or the exit code after the line was printed. */
int cli_context_create(dn_context **out, const cli_command *command, const cli_host *host);
/* The numbers of --gpu, as dn_context_options.device counts; *count 0: none was given. CLI_GO,
 * CLI_USAGE for what is no list of different numbers, or CLI_FAILED if all were none. */
int cli_gpus_of(const cli_command *command, const cli_host *host, int32_t *devices,
                int32_t most, int32_t *count);

/* --compute and --compute_fallback, of the commands that run nets. */
typedef struct cli_compute {
    const char *name; /* NULL: not given */
    bool fallback;
} cli_compute;

#define CLI_COMPUTE_OPTIONS(c)                                                                 \
    {"compute", "TYPE", CLI_TEXT, &(c).name, "multiply matrices in f32, tf32 or bf16"},        \
    {                                                                                          \
        "compute_fallback", NULL, CLI_FLAG, &(c).fallback, "in f32 where nothing can"          \
    }
/* As dn_net_options has them. CLI_GO, or CLI_USAGE for a name that is none. */
int cli_compute_of(const cli_command *command, const cli_compute *c, int32_t *compute,
                   int32_t *fallback);

/* Which layers of a net take part: --phase (not of a solver's), --level, --stage. */
typedef struct cli_state {
    const char *phase;
    int64_t level;
    char *stage; /* comma-separated; cut in place */
    const char *stages[32];
} cli_state;

#define CLI_RULE_OPTIONS(state)                                                                \
    {"level", "N", CLI_INT, &(state).level, "level, for rules with min_level, max_level"},     \
    {                                                                                          \
        "stage", "LIST", CLI_TEXT, &(state).stage, "stages, for rules with stage, not_stage"   \
    }
#define CLI_STATE_OPTIONS(state)                                                               \
    {"phase", "PHASE", CLI_TEXT, &(state).phase, "TRAIN or TEST"}, CLI_RULE_OPTIONS(state)

/* Fills options; CLI_GO, or CLI_USAGE for a phase that is none. */
int cli_state_apply(const cli_command *command, cli_state *state, int32_t default_phase,
                    dn_net_options *options);
/* Loads a comma-separated list of weight files and says on stderr what did not match. */
int cli_load_weights(dn_net *net, const char *list, bool quiet);

/* ---- output: output.c ------------------------------- */

/* Seconds of a monotonic clock. */
double cli_now(void);

/* A bar on stderr, if that is a terminal. Only one at a time. */
void cli_bar_start(const char *what, int64_t first, int64_t last, bool quiet);
void cli_bar_set(int64_t done, const char *note); /* draws ten times a second, no more */
bool cli_bar_due(int64_t done);                   /* ... which would be now */
void cli_bar_clear(void); /* takes it off the screen until the next set */
void cli_bar_end(void);

enum { CLI_LINE = 8192 }; /* bytes of a line */

/* Names are the file's: what would steer a terminal is shown as '?'; newlines, where `lines`
 * are wanted, are not. Returns text. */
char *cli_tame(char *text, bool lines);
/* One line on stdout, or on stderr, above the bar, tamed. */
void cli_line(const char *format, ...) __attribute__((format(printf, 1, 2)));
void cli_note(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* A whole file, with a zero behind it; free. NULL, with errno: it cannot be read. */
char *cli_read_text(const char *path);
/* CLI_GO; CLI_FAILED, said, if anything that was written to the file is lost. */
int cli_close(FILE *file, const char *path);

/* Pieces of a JSON object: ,"key":value without the comma when first. NaN and inf are null. */
void cli_json_open(FILE *out);
void cli_json_text(FILE *out, const char *key, const char *value);
void cli_json_int(FILE *out, const char *key, int64_t value);
void cli_json_real(FILE *out, const char *key, double value);
void cli_json_bool(FILE *out, const char *key, bool value);
void cli_json_close(FILE *out);                    /* with a newline, flushed */
void cli_json_string(FILE *out, const char *text); /* quoted and escaped */
void cli_json_number(FILE *out, double value);

/* "1.2 M", "431 k": counts in three digits; bytes in KiB, MiB, GiB. Into buffer; returned. */
const char *cli_count(char buffer[24], double count);
const char *cli_bytes(char buffer[24], double bytes);
/* "64 x 20 x 24 x 24"; returns buffer. */
const char *cli_shape(char *buffer, size_t size, const dn_blob *blob);

/* ---- a plan by a machine's rates: peak.c ------------------------------- */

typedef struct cli_peak {
    double gflops, gbytes, bf16; /* 10^9 a second; bf16: flops of ops with operands in that */
} cli_peak;

/* "GFLOPS,GBYTES[,BF16GFLOPS]". CLI_GO, or CLI_USAGE. */
int cli_peak_of(const cli_command *command, const char *text, cli_peak *out);
/* Prints a description with a plan in it, limits and shares by these rates. */
void cli_peak_print(const char *text, const cli_peak *peak);

/* ---- inputs in place of data ------------------------------- */

bool cli_is_data(dn_net *net, int32_t layer);
/* The wired net's prototxt, printed one layer after the other from the start of a line, with
 * Input layers for those that read data. *out: free. CLI_GO, or said. */
int cli_without_data(char **out, size_t *size, dn_net *net);
/* The library's last line from the layer on: a place in such a text means nothing. */
const char *cli_misfit(void);

/* ---- the commands ------------------------------- */

int cli_train(const cli_command *self, int argc, char **argv);
int cli_test(const cli_command *self, int argc, char **argv);
int cli_time(const cli_command *self, int argc, char **argv);
int cli_convert(const cli_command *self, int argc, char **argv);
int cli_info(const cli_command *self, int argc, char **argv);
int cli_check(const cli_command *self, int argc, char **argv);
int cli_upgrade(const cli_command *self, int argc, char **argv);
int cli_draw(const cli_command *self, int argc, char **argv);
int cli_devices(const cli_command *self, int argc, char **argv);

#endif
