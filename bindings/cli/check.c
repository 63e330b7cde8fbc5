/* SPDX-License-Identifier: BSD-2-Clause
 * check.c: `deepnet check`: does each file parse, wire and get its shapes? No data is opened. A
 * look at the words outside and inside braces tells a solver from a net, and which phases and
 * stages a net is meant for: each phase that its layers name must wire, without a stage or in
 * one of those named; where no phase is named, the default one. */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

enum { MESSAGE = 1024, STAGES = 16, STAGE = 48 };

typedef struct look {
    bool solver;
    bool train, test; /* phases that are named somewhere */
    int num_stages;   /* and stages */
    char stages[STAGES][STAGE];
} look;

/* In the order in which a summary counts them. */
enum { FINE, UNPARSED, UNWIRED, ABSENT, STATES };

typedef struct verdict {
    const char *kind; /* "net", "solver" */
    int state;        /* ABSENT: a sound solver whose net is not there */
    int layers;
    int64_t parameters; /* of the last phase that wired */
    char data[128];     /* the shape that was taken for data it did not open; "" if none */
    char misfit[256];   /* the layer that takes no such shape, and why; "" if none */
    bool trying;        /* that: nothing is noted */
    char stage[STAGE];  /* the last that was needed; "" if none */
    char *notes;        /* what the library noted, a line each; NULL: nothing */
    int num_notes;
    char message[MESSAGE]; /* why not; "" if fine */
} verdict;

/* ---- a look at the words ------------------------------- */

static const char *skip_blank(const char *c)
{
    for (;;) {
        while (*c && strchr(" \t\r\n:,;", *c))
            c++;
        if (*c != '#' && !(c[0] == '/' && c[1] == '/'))
            return c;
        c += strcspn(c, "\n");
    }
}

static const char *skip_string(const char *c)
{
    char quote = *c++;
    while (*c && *c != quote && *c != '\n')
        c += c[0] == '\\' && c[1] ? 2 : 1;
    return *c ? c + 1 : c;
}

static bool word_is(const char *word, size_t length, const char *other)
{
    return strlen(other) == length && strncmp(word, other, length) == 0;
}

static bool solver_word(const char *word, size_t length)
{
    static const char *const words[] = {"net",
                                        "train_net",
                                        "test_net",
                                        "net_param",
                                        "train_net_param",
                                        "test_net_param",
                                        "base_lr",
                                        "lr_policy",
                                        "max_iter",
                                        "solver_mode",
                                        "solver_type",
                                        "momentum",
                                        "snapshot_prefix",
                                        "test_iter",
                                        "stepsize",
                                        "weight_decay"};
    for (size_t i = 0; i < COUNT_OF(words); i++)
        if (word_is(word, length, words[i]))
            return true;
    return false;
}

/* A `phase` inside a layer or a rule and the word after it. */
static void see_phase(look *l, const char *after)
{
    if (strncmp(after, "TRAIN", 5) == 0 || *after == '0')
        l->train = true;
    if (strncmp(after, "TEST", 4) == 0 || *after == '1')
        l->test = true;
}

/* `stage: "name"`; more than fit are passed over, as is a name in other forms. */
static void see_stage(look *l, const char *after)
{
    const char *end = *after == '"' || *after == '\'' ? skip_string(after) : after;
    size_t length = end > after + 2 ? (size_t)(end - after) - 2 : 0;
    if (length == 0 || length >= STAGE || l->num_stages == STAGES)
        return;
    for (int i = 0; i < l->num_stages; i++)
        if (word_is(after + 1, length, l->stages[i]))
            return;
    memcpy(l->stages[l->num_stages], after + 1, length);
    l->stages[l->num_stages++][length] = 0;
}

static void look_at(look *l, const char *text)
{
    int depth = 0;
    memset(l, 0, sizeof *l);
    for (const char *c = skip_blank(text); *c; c = skip_blank(c)) {
        if (*c == '"' || *c == '\'') {
            c = skip_string(c);
        } else if (isalpha((unsigned char)*c) || *c == '_') {
            size_t length = strspn(c, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                      "0123456789_.");
            if (depth == 0 && solver_word(c, length))
                l->solver = true;
            else if (depth > 0 && word_is(c, length, "phase"))
                see_phase(l, skip_blank(c + length));
            else if (depth > 0 && word_is(c, length, "stage"))
                see_stage(l, skip_blank(c + length));
            c += length;
        } else {
            depth += (*c == '{' || *c == '<') - (*c == '}' || *c == '>');
            c++;
        }
    }
}

/* ---- verdicts ------------------------------- */

/* The library's log: the notes of the file that is being checked, each once. */
static void take_note(void *user, int32_t level, const char *line)
{
    verdict *v = user;
    size_t length = strlen(line), used = v->notes ? strlen(v->notes) : 0;
    char *larger;
    (void)level;
    if (v->trying || (v->notes && strstr(v->notes, line)))
        return;
    larger = realloc(v->notes, used + length + 2);
    if (!larger)
        return;
    memcpy(larger + used, line, length);
    memcpy(larger + used + length, "\n", 2);
    v->notes = larger;
    v->num_notes++;
}

static void refuse(verdict *v, const char *where, dn_status status)
{
    const char *line = dn_last_error();
    v->state = status == DN_E_PARSE || status == DN_E_IO ? UNPARSED : UNWIRED;
    snprintf(v->message, sizeof v->message, "%s%s", where, line ? line : "no reason given");
}

/* A shared parameter has the name of the first layer that has it. */
static bool is_own(dn_net *net, int32_t layer, int32_t index)
{
    const char *owner = dn_net_layer_name(net, layer);
    const char *name = dn_blob_name(dn_net_layer_param(net, layer, index));
    size_t size = strlen(owner);
    if (strncmp(name, owner, size) != 0 || name[size] != '/')
        return false;
    name += size + 1; /* of "a", not the rest of "a/b/0" */
    return !name[strspn(name, "0123456789")] && atoi(name) == index;
}

static void count_net(verdict *v, dn_net *net)
{
    v->layers = dn_net_num_layers(net);
    v->parameters = 0;
    for (int32_t i = 0; i < dn_net_num_layers(net); i++) {
        const char *type = dn_net_layer_type(net, i);
        bool python = strcmp(type, "Python") == 0 && dn_net_layer_num_bottoms(net, i) == 0;
        if ((python || cli_is_data(net, i)) && dn_net_layer_num_tops(net, i))
            cli_shape(v->data, sizeof v->data, dn_net_layer_top(net, i, 0));
        for (int32_t k = 0; k < dn_net_layer_num_params(net, i); k++)
            if (is_own(net, i, k))
                v->parameters += dn_blob_count(dn_net_layer_param(net, i, k));
    }
}

/* What follows data that is not opened need not fit the shape that it was taken to have; what
 * does not is said. of_solver: the text of the solver whose net it is, or NULL. */
static void try_data(verdict *v, dn_context *context, dn_net *net, const char *of_solver,
                     const dn_net_options *options)
{
    const dn_solver_options wire = {
        .struct_size = sizeof wire, .manual_tests = 1, .wire_only = 1};
    dn_net_options given = *options;
    dn_net *strict = NULL;
    dn_solver *solver = NULL;
    char *text = NULL;
    size_t size = 0;
    given.phase = dn_net_phase(net);
    v->misfit[0] = 0;
    if (!*v->data || cli_without_data(&text, &size, net) != CLI_GO)
        return;
    v->trying = true;
    dn_status status = of_solver
                           ? dn_solver_create_from_text(&solver, context, of_solver,
                                                        strlen(of_solver), text, size, &wire)
                           : dn_net_create_from_text(&strict, context, text, size, &given);
    if (status == DN_E_SHAPE)
        snprintf(v->misfit, sizeof v->misfit, "%s", cli_misfit());
    v->trying = false;
    dn_solver_free(solver);
    dn_net_free(strict);
    free(text);
}

/* Wires once: false when it does not. */
static bool wire_once(verdict *v, dn_context *context, const char *path,
                      const dn_net_options *options, dn_status *status)
{
    dn_net *net = NULL;
    *status = dn_net_create_from_prototxt(&net, context, path, options);
    if (*status == DN_OK) {
        count_net(v, net);
        try_data(v, context, net, NULL, options);
    }
    dn_net_free(net);
    return *status == DN_OK;
}

/* Wires one phase; false when it does not, with the reason in the verdict. */
static bool wire(verdict *v, dn_context *context, const char *path, const char *where,
                 dn_net_options options, int32_t phase, const look *l)
{
    dn_status status, ignored;
    options.phase = phase;
    if (wire_once(v, context, path, &options, &status))
        return true;
    refuse(v, where, status);
    for (int i = 0; status == DN_E_NET && !options.num_stages && i < l->num_stages; i++) {
        const char *stage = l->stages[i];
        dn_net_options staged = options;
        staged.stages = &stage;
        staged.num_stages = 1;
        if (!wire_once(v, context, path, &staged, &ignored))
            continue;
        snprintf(v->stage, sizeof v->stage, "%s", stage);
        v->state = FINE;
        return true;
    }
    return false;
}

static void check_net(verdict *v, dn_context *context, const char *path, const look *l,
                      const dn_net_options *options)
{
    v->kind = "net";
    if (options->phase || l->train == l->test)
        if (!wire(v, context, path, "", *options, options->phase, l) || options->phase)
            return;
    if (l->test &&
        !wire(v, context, path, l->train ? "phase TEST: " : "", *options, DN_PHASE_TEST, l))
        return;
    if (l->train)
        wire(v, context, path, l->test ? "phase TRAIN: " : "", *options, DN_PHASE_TRAIN, l);
}

static void check_solver(verdict *v, dn_context *context, const char *path, const char *text)
{
    const dn_net_options none = {.struct_size = sizeof none};
    dn_solver_options options = {.struct_size = sizeof options, .wire_only = 1};
    dn_solver *solver = NULL;
    dn_status status = dn_solver_create_from_prototxt(&solver, context, path, &options);
    v->kind = "solver";
    if (status) {
        refuse(v, "", status);
        if (status == DN_E_IO) /* the file was read already: its net is what is not there */
            v->state = ABSENT;
        return;
    }
    count_net(v, dn_solver_net(solver));
    try_data(v, context, dn_solver_net(solver), text, &none);
    dn_solver_free(solver);
}

static void check_file(verdict *v, dn_context *context, const char *path,
                       const dn_net_options *options)
{
    char *text;
    look l;
    free(v->notes);
    memset(v, 0, sizeof *v);
    v->kind = "file";
    v->state = UNPARSED;
    errno = 0;
    text = cli_read_text(path);
    if (!text) {
        snprintf(v->message, sizeof v->message, "%s: %s", path,
                 errno ? strerror(errno) : "could not be read");
        return;
    }
    look_at(&l, text);
    v->state = FINE;
    if (l.solver)
        check_solver(v, context, path, text);
    else
        check_net(v, context, path, &l, options);
    free(text);
}

/* ---- output ------------------------------- */

static void print_verdict(const verdict *v, const char *path, bool notes)
{
    char parameters[24], noted[32] = "";
    if (v->num_notes && !notes)
        snprintf(noted, sizeof noted, ", %d note%s", v->num_notes, v->num_notes > 1 ? "s" : "");
    if (v->state == FINE)
        cli_line("%s: fine: %s of %d layers, %s parameters%s%s%s%s%s%s%s", path, v->kind,
                 v->layers, cli_count(parameters, (double)v->parameters),
                 *v->data ? ", data taken as " : "", v->data, *v->stage ? ", in stage " : "",
                 v->stage, noted, *v->misfit ? "; no such data fits " : "", v->misfit);
    else /* most sentences begin with the file they are about */
        cli_line("%s%s%s", strncmp(v->message, path, strlen(path)) == 0 ? "" : path,
                 strncmp(v->message, path, strlen(path)) == 0 ? "" : ": ", v->message);
    if (v->notes && notes)
        fputs(cli_tame(v->notes, true), stdout);
}

static void print_json_notes(const char *notes)
{
    fputs(", \"notes\": [", stdout);
    for (const char *line = notes ? notes : "", *end; *line; line = *end ? end + 1 : end) {
        char text[MESSAGE];
        end = line + strcspn(line, "\n");
        size_t length =
            (size_t)(end - line) < sizeof text ? (size_t)(end - line) : sizeof text - 1;
        memcpy(text, line, length);
        text[length] = 0;
        if (line != notes)
            fputs(", ", stdout);
        cli_json_string(stdout, text);
    }
    putchar(']');
}

static void print_json(const verdict *v, const char *path, bool first)
{
    fputs(first ? "{\"files\": [\n " : ", ", stdout);
    cli_json_open(stdout);
    cli_json_text(stdout, "file", path);
    cli_json_text(stdout, "kind", v->kind);
    cli_json_bool(stdout, "parses", v->state != UNPARSED);
    cli_json_bool(stdout, "fine", v->state == FINE);
    if (v->state == ABSENT)
        cli_json_bool(stdout, "absent", true);
    if (v->state == FINE) {
        cli_json_int(stdout, "layers", v->layers);
        cli_json_int(stdout, "parameters", v->parameters);
        if (*v->data)
            cli_json_text(stdout, "data", v->data);
        if (*v->misfit)
            cli_json_text(stdout, "misfit", v->misfit);
        if (*v->stage)
            cli_json_text(stdout, "stage", v->stage);
    } else {
        cli_json_text(stdout, "message", v->message);
    }
    if (v->notes)
        print_json_notes(v->notes);
    cli_json_close(stdout);
}

static void print_totals(const int totals[STATES], int count, bool json)
{
    if (json)
        printf("], \"count\": %d, \"fine\": %d, \"unparsed\": %d, \"unwired\": %d, "
               "\"absent\": %d}\n",
               count, totals[FINE], totals[UNPARSED], totals[UNWIRED], totals[ABSENT]);
    else if (count > 1)
        printf("%d files: %d fine, %d do not parse, %d do not wire, %d solvers without their "
               "net\n",
               count, totals[FINE], totals[UNPARSED], totals[UNWIRED], totals[ABSENT]);
}

int cli_check(const cli_command *self, int argc, char **argv)
{
    cli_host host = {.seed = -1, .threads = 1};
    cli_state state = {0};
    cli_words words;
    bool json = false, notes = false;
    int totals[STATES] = {0};
    verdict *v = NULL;
    dn_net_options net_options = {.struct_size = sizeof net_options};
    dn_context *context = NULL;
    const cli_option options[] = {
        {"json", NULL, CLI_FLAG, &json, "one JSON object"},
        {"notes", NULL, CLI_FLAG, &notes, "below a file: what it says that means nothing here"},
        {"dialect", "NAME", CLI_TEXT, &net_options.dialect,
         "whose field numbers binary nets have (default: found from them)"},
        CLI_STATE_OPTIONS(state),
    };
    int code = cli_parse(self, options, COUNT_OF(options), argc, argv, &words);
    if (code != CLI_GO)
        return code;
    if (words.count == 0)
        return cli_usage(self, "it takes files");
    code = cli_state_apply(self, &state, DN_PHASE_DEFAULT, &net_options);
    net_options.wire_only = 1;
    if (code == CLI_GO && !(v = calloc(1, sizeof *v)))
        code = cli_fail("no memory left");
    if (code != CLI_GO)
        return code;
    host.log = take_note;
    host.log_user = v;
    if ((code = cli_context_create(&context, self, &host)) != CLI_GO) {
        free(v);
        return code;
    }
    for (int i = 0; i < words.count; i++) {
        check_file(v, context, words.word[i], &net_options);
        totals[v->state]++;
        if (json)
            print_json(v, words.word[i], i == 0);
        else
            print_verdict(v, words.word[i], notes);
    }
    print_totals(totals, words.count, json);
    dn_context_free(context);
    free(v->notes);
    free(v);
    return totals[FINE] == words.count ? CLI_OK : CLI_FAILED;
}
