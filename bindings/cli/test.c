/* SPDX-License-Identifier: BSD-2-Clause
 * test.c: `deepnet test`: a net run forward over its own test data, its outputs averaged, and
 * on request the confusion matrix of the blobs that its Accuracy or loss layer compares. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"

enum { MAX_CLASSES = 1000 };

/* Rows: the label; columns: the largest score. */
typedef struct confusion {
    dn_blob *scores, *labels; /* (N, C, inner...), N * inner */
    int64_t classes, inner;
    int64_t *count; /* classes x classes */
} confusion;

static int find_scores(dn_net *net, confusion *c)
{
    static const char *const types[] = {"Accuracy", "SoftmaxWithLoss"};
    for (size_t t = 0; t < COUNT_OF(types); t++) {
        for (int32_t i = 0; i < dn_net_num_layers(net); i++) {
            if (strcmp(dn_net_layer_type(net, i), types[t]) != 0)
                continue;
            c->scores = dn_net_layer_bottom(net, i, 0);
            c->labels = dn_net_layer_bottom(net, i, 1);
            if (c->scores && c->labels)
                return CLI_GO;
        }
    }
    return cli_fail("--confusion needs an Accuracy or SoftmaxWithLoss layer; the net has none");
}

static int confusion_open(confusion *c, dn_net *net)
{
    int code = find_scores(net, c);
    if (code != CLI_GO)
        return code;
    c->classes = dn_blob_axes(c->scores) > 1 ? dn_blob_dim(c->scores, 1) : 0;
    if (c->classes < 2 || c->classes > MAX_CLASSES)
        return cli_fail("--confusion: blob '%s' has %lld classes; it takes 2 to %d",
                        dn_blob_name(c->scores), (long long)c->classes, MAX_CLASSES);
    c->count = calloc((size_t)(c->classes * c->classes), sizeof *c->count);
    return c->count ? CLI_GO : cli_fail("no memory left");
}

static int confusion_add(confusion *c)
{
    const float *scores = dn_blob_data(c->scores), *labels;
    int64_t n = dn_blob_dim(c->scores, 0), size = dn_blob_count(c->scores) / n;
    if (!scores || !(labels = dn_blob_data(c->labels)))
        return cli_fail_last();
    c->inner = size / c->classes;
    for (int64_t i = 0; i < n * c->inner && i < dn_blob_count(c->labels); i++) {
        const float *x = scores + i / c->inner * size + i % c->inner;
        int64_t label = (int64_t)labels[i], best = 0;
        for (int64_t k = 1; k < c->classes; k++)
            if (x[k * c->inner] > x[best * c->inner])
                best = k;
        if (label >= 0 && label < c->classes) /* others are ignore_label's */
            c->count[label * c->classes + best]++;
    }
    return CLI_GO;
}

/* Names of the classes, one per line of a file; the line's number without one. */
typedef struct names {
    char *text;
    const char *line[MAX_CLASSES];
    char number[MAX_CLASSES][5];
} names;

static int names_open(names *n, const char *path, int64_t classes)
{
    size_t size = 0;
    FILE *file = path ? fopen(path, "r") : NULL;
    for (int64_t i = 0; i < classes; i++) {
        snprintf(n->number[i], sizeof n->number[i], "%d", (int)i);
        n->line[i] = n->number[i];
    }
    if (!path)
        return CLI_GO;
    if (!file || !(n->text = calloc(1, 1 << 16)))
        return file ? (fclose(file), cli_fail("no memory left"))
                    : cli_fail("%s: %s", path, strerror(errno));
    size = fread(n->text, 1, (1 << 16) - 1, file);
    fclose(file);
    n->text[size] = 0;
    char *next = n->text;
    for (int64_t i = 0; i < classes && next && *next; i++) {
        n->line[i] = next;
        if ((next = strchr(next, '\n')))
            *next++ = 0;
    }
    return CLI_GO;
}

static int print_confusion(const confusion *c, const char *path)
{
    names *n = calloc(1, sizeof *n);
    int code = n ? names_open(n, path, c->classes) : cli_fail("no memory left");
    int width = 5, left = 6;
    if (code == CLI_GO) {
        for (int64_t i = 0; i < c->classes; i++)
            left = (int)strlen(n->line[i]) > left ? (int)strlen(n->line[i]) : left;
        printf("\n%-*s", left, "true");
        for (int64_t k = 0; k < c->classes; k++)
            printf(" %*d", width, (int)k);
        printf("   right\n");
    }
    for (int64_t i = 0; code == CLI_GO && i < c->classes; i++) {
        int64_t row = 0;
        printf("%-*s", left, n->line[i]);
        for (int64_t k = 0; k < c->classes; k++) {
            row += c->count[i * c->classes + k];
            printf(" %*lld", width, (long long)c->count[i * c->classes + k]);
        }
        printf(" %6.2f%%\n",
               row ? 100.0 * (double)c->count[i * (c->classes + 1)] / (double)row : 0);
    }
    if (n)
        free(n->text);
    free(n);
    return code;
}

/* ---- averages ------------------------------- */

typedef struct sums {
    double *value; /* every element of every output, in order */
    int64_t count;
} sums;

static int64_t output_elements(dn_net *net)
{
    int64_t count = 0;
    for (int32_t i = 0; i < dn_net_num_outputs(net); i++)
        count += dn_blob_count(dn_net_output(net, i));
    return count;
}

static int sums_add(sums *s, dn_net *net)
{
    int64_t at = 0;
    for (int32_t i = 0; i < dn_net_num_outputs(net); i++) {
        dn_blob *blob = dn_net_output(net, i);
        const float *data = dn_blob_data(blob);
        if (!data)
            return cli_fail_last();
        for (int64_t k = 0; k < dn_blob_count(blob) && at < s->count; k++)
            s->value[at++] += data[k];
    }
    return CLI_GO;
}

static float loss_weight_of(dn_net *net, const dn_blob *blob)
{
    for (int32_t i = 0; i < dn_net_num_layers(net); i++)
        for (int32_t t = 0; t < dn_net_layer_num_tops(net, i); t++)
            if (dn_net_layer_top(net, i, t) == blob && dn_net_layer_loss_weight(net, i, t) != 0)
                return dn_net_layer_loss_weight(net, i, t);
    return 0;
}

static void print_averages(const sums *s, dn_net *net, int64_t iterations, double loss,
                           FILE *log)
{
    int64_t at = 0;
    printf("loss: %.7g\n", loss / (double)iterations);
    for (int32_t i = 0; i < dn_net_num_outputs(net); i++) {
        dn_blob *blob = dn_net_output(net, i);
        float weight = loss_weight_of(net, blob);
        for (int64_t k = 0; k < dn_blob_count(blob) && at < s->count; k++) {
            double mean = s->value[at++] / (double)iterations;
            char weighted[64] = "";
            if (weight != 0)
                snprintf(weighted, sizeof weighted, " (* %g = %.7g loss)", weight,
                         weight * mean);
            cli_line("%s = %.7g%s", dn_blob_name(blob), mean, weighted);
            if (log && dn_blob_count(blob) == 1)
                cli_json_real(log, dn_blob_name(blob), mean);
        }
    }
}

/* ---- the run ------------------------------- */

typedef struct job {
    const char *model, *weights, *log_path, *labels;
    int64_t iterations;
    bool quiet, confusion;
} job;

static int run(const job *j, dn_net *net, sums *s, confusion *c, double *loss)
{
    int code = CLI_GO;
    char note[48];
    cli_bar_start("testing", 0, j->iterations, j->quiet);
    for (int64_t i = 0; code == CLI_GO && i < j->iterations; i++) {
        float now = 0;
        if (dn_net_forward(net, &now)) {
            code = cli_fail_last();
            break;
        }
        *loss += now;
        if (i == 0) { /* a net may change its shapes at its first batch */
            s->count = output_elements(net);
            s->value = calloc((size_t)s->count + 1, sizeof *s->value);
            if (!s->value)
                code = cli_fail("no memory left");
        }
        if (code == CLI_GO)
            code = sums_add(s, net);
        if (code == CLI_GO && j->confusion)
            code = confusion_add(c);
        snprintf(note, sizeof note, "loss %.4g", *loss / (double)(i + 1));
        cli_bar_set(i + 1, note);
    }
    cli_bar_end();
    return code;
}

static int report(const job *j, dn_net *net, const sums *s, const confusion *c, double loss)
{
    FILE *log = j->log_path ? fopen(j->log_path, "w") : NULL;
    if (j->log_path && !log)
        return cli_fail("%s: %s", j->log_path, strerror(errno));
    if (log) {
        cli_json_open(log);
        cli_json_text(log, "event", "test");
        cli_json_int(log, "iterations", j->iterations);
        cli_json_real(log, "mean_loss", loss / (double)j->iterations);
    }
    print_averages(s, net, j->iterations, loss, log);
    if (log) {
        cli_json_close(log);
        if (cli_close(log, j->log_path) != CLI_GO)
            return CLI_FAILED;
    }
    return j->confusion ? print_confusion(c, j->labels) : CLI_GO;
}

static int job_run(const job *j, dn_context *context, const dn_net_options *options)
{
    dn_net *net = NULL;
    sums s = {0};
    confusion c = {0};
    double loss = 0;
    int code = CLI_GO;
    if (dn_net_create_from_prototxt(&net, context, j->model, options))
        return cli_fail_last();
    if (j->weights)
        code = cli_load_weights(net, j->weights, j->quiet);
    if (code == CLI_GO && j->labels && access(j->labels, R_OK)) /* said before the long run */
        code = cli_fail("%s: %s", j->labels, strerror(errno));
    if (code == CLI_GO && j->confusion)
        code = confusion_open(&c, net);
    if (code == CLI_GO)
        code = run(j, net, &s, &c, &loss);
    if (code == CLI_GO)
        code = report(j, net, &s, &c, loss);
    free(c.count);
    free(s.value);
    dn_net_free(net);
    return code == CLI_GO ? CLI_OK : code;
}

int cli_test(const cli_command *self, int argc, char **argv)
{
    job j = {.iterations = 50};
    cli_host host = {.seed = -1};
    cli_state state = {0};
    dn_net_options net_options = {.struct_size = sizeof net_options};
    dn_context *context = NULL;
    cli_compute compute = {0};
    const cli_option options[] = {
        {"model", "FILE", CLI_TEXT, &j.model, "the net's prototxt"},
        {"weights", "LIST", CLI_TEXT, &j.weights, "files of weights, comma-separated"},
        {"iterations", "N", CLI_INT, &j.iterations, "batches to run (default: 50)"},
        {"confusion", NULL, CLI_FLAG, &j.confusion, "print the confusion matrix"},
        {"labels", "FILE", CLI_TEXT, &j.labels, "names of the classes, one per line"},
        {"log", "FILE", CLI_TEXT, &j.log_path, "write the averages as a JSON object"},
        {"quiet", NULL, CLI_FLAG, &j.quiet, "print results only"},
        CLI_COMPUTE_OPTIONS(compute),
        CLI_STATE_OPTIONS(state),
        CLI_HOST_OPTIONS(host),
    };
    int code = cli_parse(self, options, COUNT_OF(options), argc, argv, NULL);
    if (code != CLI_GO)
        return code;
    if (!j.model || !j.weights)
        return cli_usage(self, "--%s is missing", j.model ? "weights=FILE" : "model=FILE");
    if (j.iterations < 1)
        return cli_usage(self, "--iterations is at least 1");
    if (j.labels && !j.confusion)
        return cli_usage(self, "--labels names the rows of --confusion, which is missing");
    if (!j.confusion) /* which looks at inner blobs */
        net_options.memory = DN_MEMORY_COMPACT;
    code = cli_state_apply(self, &state, DN_PHASE_TEST, &net_options);
    if (code == CLI_GO)
        code =
            cli_compute_of(self, &compute, &net_options.compute, &net_options.compute_fallback);
    host.quiet = j.quiet;
    if (code == CLI_GO)
        code = cli_context_create(&context, self, &host);
    if (code == CLI_GO)
        code = job_run(&j, context, &net_options);
    dn_context_free(context);
    return code;
}
