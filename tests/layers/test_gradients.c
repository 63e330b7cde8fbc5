/* SPDX-License-Identifier: BSD-2-Clause
 * test_gradients.c: every layer's gradient against central differences, in double on `ref`.
 * A row passes only if its gradient, taken with the opposite sign, would be refused. Every row
 * runs fused, plain and in NHWC. DN_TEST_ELEMENTS checks one element in so many, for slow tools:
 * a sample may be one of zeros, which have no sign. DN_TEST_F32 names a chain of backends: what
 * that computes in f32 is compared with the gradients in double instead. */
#include "core/core.h"

#include "check.h"

#include "deepnet/context.h"
#include "gradient_rows.h"
#include "net/net.h"

#define STEP      1e-5
#define TOLERANCE 1e-5 /* relative to the larger of 1 and the derivative */
#define ROUNDED   2e-4 /* f32's tolerance, relative to the largest of a blob's */
#define KINK      1e-3 /* how far the one-sided differences of a smooth function may differ */

enum { TEXT = 8192 };

typedef struct tally {
    int checked, kinks, wrong, wrong_negated;
    double worst, largest; /* difference; derivative */
    char where[160];
} tally;

typedef struct run {
    dn_net *net;
    double
        *seed; /* gradient of the objective with respect to the outputs, one after the other */
} run;

/* ---- numbers ----------------------------------------------------------------------------- */

static uint64_t draws;
static int64_t every = 1;

static double uniform(void)
{
    return gradient_uniform(&draws);
}

static double normal(void)
{
    return gradient_normal(&draws);
}

static bool is_checked(const char *name)
{
    return name[0] == 'x' || name[0] == 'p';
}

static void fill_inputs(dn_net *net)
{
    for (int32_t k = 0; k < dn_net_num_inputs(net); k++) {
        dn_blob *blob = dn_net_input(net, k);
        double *data = dn_blob_mutable_data_f64(blob);
        int64_t count = dn_blob_count(blob), rows = dn_blob_dim(blob, 0);
        for (int64_t i = 0; data && i < count; i++)
            data[i] = gradient_value(&draws, dn_blob_name(blob), i, rows ? count / rows : 1);
    }
    for (size_t k = 0; k < net->num_params; k++) {
        double *data = dn_blob_mutable_data_f64(&net->params[k]->blob);
        for (int64_t i = 0; data && i < dn_blob_count(&net->params[k]->blob); i++)
            data[i] = net->params[k]->statistic ? 0.5 + uniform() : normal();
    }
}

/* ---- the objective: losses, and a random linear function of what else comes out ---------- */

static float weight_of(dn_net *net, dn_blob *blob)
{
    for (int32_t l = 0; l < dn_net_num_layers(net); l++)
        for (int32_t t = 0; t < dn_net_layer_num_tops(net, l); t++)
            if (dn_net_layer_top(net, l, t) == blob && dn_net_layer_loss_weight(net, l, t) != 0)
                return dn_net_layer_loss_weight(net, l, t);
    return 0;
}

static int64_t count_outputs(dn_net *net)
{
    int64_t count = 0;
    for (int32_t k = 0; k < dn_net_num_outputs(net); k++)
        count += dn_blob_count(dn_net_output(net, k));
    return count;
}

/* Random numbers draw from (seed, step): the step back at 0 repeats them. */
static bool forward(dn_net *net)
{
    net->step = 0;
    return dn_net_forward(net, NULL) == DN_OK;
}

static double objective(const run *r)
{
    double sum = 0;
    const double *seed = r->seed;
    forward(r->net);
    for (int32_t k = 0; k < dn_net_num_outputs(r->net); k++) {
        dn_blob *blob = dn_net_output(r->net, k);
        const double *y = dn_blob_data_f64(blob);
        for (int64_t i = 0; i < dn_blob_count(blob); i++)
            sum += *seed++ * y[i];
    }
    return sum;
}

static bool seed_outputs(run *r)
{
    double *seed = r->seed = calloc((size_t)count_outputs(r->net) + 1, sizeof *seed);
    for (int32_t k = 0; k < dn_net_num_outputs(r->net); k++) {
        dn_blob *blob = dn_net_output(r->net, k);
        double weight = weight_of(r->net, blob);
        double *diff = dn_blob_mutable_diff_f64(blob);
        for (int64_t i = 0; i < dn_blob_count(blob); i++, seed++) {
            *seed = weight != 0 ? weight : normal();
            if (diff && weight == 0)
                diff[i] = *seed;
            if (!diff)
                *seed = 0;
        }
    }
    return r->seed != NULL;
}

/* ---- comparing --------------------------------------------------------------------------- */

static bool differs(double a, double b)
{
    double scale = fabs(b) > 1 ? fabs(b) : 1;
    return !(fabs(a - b) <= TOLERANCE * scale);
}

static void compare(tally *t, const char *name, int64_t i, double analytic, double left,
                    double right)
{
    double central = (left + right) / 2;
    double scale = fabs(central) > 1 ? fabs(central) : 1;
    if (fabs(left - right) > KINK * scale) {
        t->kinks++;
        return;
    }
    t->checked++;
    t->wrong_negated += differs(-analytic, central);
    if (fabs(central) > t->largest)
        t->largest = fabs(central);
    if (!differs(analytic, central))
        return;
    t->wrong++;
    if (fabs(analytic - central) >= t->worst) {
        t->worst = fabs(analytic - central);
        snprintf(t->where, sizeof t->where, "%.40s[%lld]: %g, differences give %g", name,
                 (long long)i, analytic, central);
    }
}

/* analytic: the blob's gradient, copied, since evaluating may overwrite it. */
static void check_blob(const run *r, dn_blob *blob, const double *analytic, tally *t)
{
    double here = objective(r);
    for (int64_t i = 0; i < dn_blob_count(blob); i += every) {
        double kept = dn_blob_mutable_data_f64(blob)[i], f[2];
        for (int k = 0; k < 2; k++) {
            dn_blob_mutable_data_f64(blob)[i] = kept + (2 * k - 1) * STEP;
            f[k] = objective(r);
        }
        dn_blob_mutable_data_f64(blob)[i] = kept;
        compare(t, dn_blob_name(blob), i, analytic[i], (here - f[0]) / STEP,
                (f[1] - here) / STEP);
    }
}

static double *copy_of(const double *values, int64_t count)
{
    double *copy = calloc((size_t)count + 1, sizeof *copy);
    if (copy && values)
        memcpy(copy, values, (size_t)count * sizeof *copy);
    return copy;
}

/* Some of the inputs' gradient is not 0, and all of it is finite. */
static void check_rule(const run *r)
{
    int there = 0, finite = 0, count = 0;
    for (int32_t k = 0; k < dn_net_num_inputs(r->net); k++) {
        dn_blob *blob = dn_net_input(r->net, k);
        const double *diff = is_checked(dn_blob_name(blob)) ? dn_blob_diff_f64(blob) : NULL;
        for (int64_t i = 0; diff && i < dn_blob_count(blob); i++, count++) {
            there += diff[i] != 0;
            finite += isfinite(diff[i]) != 0;
        }
    }
    CHECK(there > 0 && finite == count);
}

static void check_all(const run *r, uint32_t flags, tally *t)
{
    dn_blob *blobs[64];
    double *gradient[64];
    int n = 0;
    for (int32_t k = 0; k < dn_net_num_inputs(r->net); k++)
        if (is_checked(dn_blob_name(dn_net_input(r->net, k))))
            blobs[n++] = dn_net_input(r->net, k);
    for (size_t k = 0; k < r->net->num_params; k++)
        if (!r->net->params[k]->statistic && !(flags & ROW_INPUTS))
            blobs[n++] = &r->net->params[k]->blob;
    for (int k = 0; k < n; k++) {
        const double *diff = dn_blob_diff_f64(blobs[k]);
        CHECK_AT(diff != NULL, "%s has no gradient", dn_blob_name(blobs[k]));
        gradient[k] = copy_of(diff, dn_blob_count(blobs[k]));
    }
    for (int k = 0; k < n; k++) {
        check_blob(r, blobs[k], gradient[k], t);
        free(gradient[k]);
    }
}

static bool is_loss(const char *type)
{
    const dni_layer_class *cls = dni_layer_class_find(type, &(const char *){NULL});
    return cls && cls->flags & DNI_LAYER_LOSS;
}

/* A layer that works in place on the top of the row's. */
static const char *follower(const gradient_row *row)
{
    bool can = strstr(row->text, "top: 'y'") && !is_loss(row->type) &&
               !strstr(row->text, "loss_weight");
    return can ? "layer { name: 'after' type: 'Power' bottom: 'y' top: 'y' "
                 "power_param { scale: 1.5 shift: 0.3 } }"
               : NULL;
}

/* text: receives the net's; its numbers are its own, whatever rows come before it. */
static dn_net *net_of_row(dn_context *context, const gradient_row *row, const char *more,
                          int32_t dtype, char text[TEXT])
{
    dn_net *net = NULL;
    dn_net_options options = {.struct_size = sizeof options,
                              .dtype = dtype,
                              .phase = row->flags & ROW_TEST ? DN_PHASE_TEST : DN_PHASE_TRAIN};
    snprintf(text, TEXT, "force_backward: true %s%s", row->text, more);
    draws = 0;
    for (const char *c = row->text; *c; c++)
        draws = 31 * draws + (unsigned char)*c;
    dn_status st = dn_net_create_from_text(&net, context, text, strlen(text), &options);
    CHECK_AT(st == DN_OK, "%.999s: %s", text, dn_last_error());
    return net;
}

static void check_row(dn_context *context, const gradient_row *row, const char *more)
{
    char text[TEXT];
    tally t = {0};
    run r = {.net = net_of_row(context, row, more, DN_F64, text)};
    if (!r.net)
        return;
    fill_inputs(r.net);
    bool ran = forward(r.net);
    CHECK_AT(ran, "forward: %.999s: %s", text, dn_last_error());
    if (ran && seed_outputs(&r)) {
        CHECK_STATUS(dn_net_clear_gradients(r.net), DN_OK);
        CHECK_STATUS(dn_net_backward(r.net), DN_OK);
        if (row->flags & ROW_RULE)
            check_rule(&r);
        else
            check_all(&r, row->flags, &t);
        CHECK_AT(t.wrong == 0, "%.999s: %d of %d wrong, worst %s", text, t.wrong, t.checked,
                 t.where);
        CHECK_AT(row->flags & (ROW_ZERO | ROW_RULE) ? t.wrong_negated == 0
                                                    : t.wrong_negated > 0 || every > 1,
                 "%.999s: a negated gradient is %s (largest derivative %g)", text,
                 t.wrong_negated ? "refused" : "not refused", t.largest);
        CHECK_AT(row->flags & ROW_RULE ||
                     (t.checked > 0 && (row->flags & ROW_KINKS || t.checked > t.kinks)),
                 "%.999s: %d values checked, %d at kinks", text, t.checked, t.kinks);
    }
    free(r.seed);
    dn_net_free(r.net);
}

/* ---- in f32 --------------------------------------------------------------------------------
 */

/* The wide blob's values, rounded, are both's. */
static void share(dn_blob *wide, dn_blob *narrow)
{
    double *from = dn_blob_mutable_data_f64(wide);
    float *to = dn_blob_mutable_data(narrow);
    for (int64_t i = 0; from && to && i < dn_blob_count(wide); i++)
        from[i] = to[i] = (float)from[i];
}

static void compare_blobs(tally *t, dn_blob *wide, dn_blob *narrow)
{
    const double *right = dn_blob_diff_f64(wide);
    const float *diff = dn_blob_diff(narrow);
    double largest = 1;
    CHECK_AT(right && diff, "%s has no gradient", dn_blob_name(wide));
    for (int64_t i = 0; right && i < dn_blob_count(wide); i++)
        largest = fabs(right[i]) > largest ? fabs(right[i]) : largest;
    for (int64_t i = 0; right && diff && i < dn_blob_count(wide); i++, t->checked++) {
        t->wrong_negated += fabs((double)diff[i] + right[i]) > ROUNDED * largest;
        if (fabs((double)diff[i] - right[i]) <= ROUNDED * largest)
            continue;
        t->wrong++;
        snprintf(t->where, sizeof t->where, "%.40s[%lld]: %g, in double %g", dn_blob_name(wide),
                 (long long)i, (double)diff[i], right[i]);
    }
}

/* Backward of the objective that the wide net's outputs have been seeded with. */
static bool backward_as(dn_net *wide, dn_net *narrow)
{
    for (int32_t k = 0; k < dn_net_num_outputs(wide); k++) {
        const double *from = dn_blob_diff_f64(dn_net_output(wide, k));
        float *to = dn_blob_mutable_diff(dn_net_output(narrow, k));
        bool loss = weight_of(wide, dn_net_output(wide, k)) != 0;
        for (int64_t i = 0; from && to && !loss && i < dn_blob_count(dn_net_output(wide, k));
             i++)
            to[i] = (float)from[i];
    }
    return !dn_net_clear_gradients(wide) && !dn_net_clear_gradients(narrow) &&
           !dn_net_backward(wide) && !dn_net_backward(narrow);
}

static void check_rounded(dn_context *wide, dn_context *context, const gradient_row *row,
                          const char *more)
{
    char text[TEXT];
    tally t = {0};
    run r = {.net = net_of_row(wide, row, more, DN_F64, text)};
    dn_net *narrow = net_of_row(context, row, more, DN_F32, text);
    bool there = r.net && narrow && !(row->flags & ROW_RULE);
    if (there)
        fill_inputs(r.net);
    for (int32_t k = 0; there && k < dn_net_num_inputs(narrow); k++)
        share(dn_net_input(r.net, k), dn_net_input(narrow, k));
    for (size_t k = 0; there && k < narrow->num_params; k++)
        share(&r.net->params[k]->blob, &narrow->params[k]->blob);
    if (there) {
        bool ran =
            forward(r.net) && forward(narrow) && seed_outputs(&r) && backward_as(r.net, narrow);
        CHECK_AT(ran, "%.999s: %s", text, dn_last_error());
        there = ran;
    }
    for (int32_t k = 0; there && k < dn_net_num_inputs(narrow); k++)
        if (is_checked(dn_blob_name(dn_net_input(narrow, k))))
            compare_blobs(&t, dn_net_input(r.net, k), dn_net_input(narrow, k));
    for (size_t k = 0; there && k < narrow->num_params; k++)
        if (!narrow->params[k]->statistic && !(row->flags & ROW_INPUTS))
            compare_blobs(&t, &r.net->params[k]->blob, &narrow->params[k]->blob);
    CHECK_AT(t.wrong == 0, "%.999s: %d of %d wrong, last %s", text, t.wrong, t.checked,
             t.where);
    CHECK_AT(!there || (row->flags & ROW_ZERO) || t.wrong_negated > 0,
             "%.999s: a negated gradient is not refused", text);
    free(r.seed);
    dn_net_free(narrow);
    dn_net_free(r.net);
}

/* ---- that nothing escapes ---------------------------------------------------------------- */

static bool has_row(const char *type)
{
    for (size_t i = 0; i < num_gradient_rows; i++)
        if (!strcmp(gradient_rows[i].type, type))
            return true;
    return false;
}

static bool is_listed(const char *type)
{
    for (size_t i = 0; no_gradient_types[i]; i++)
        if (!strcmp(no_gradient_types[i], type))
            return true;
    return false;
}

static void check_coverage(void)
{
    SECTION("every class has a row");
    for (const dni_layer_class *const *c = dni_layer_classes; *c; c++) {
        const char *type = (*c)->type;
        if ((*c)->backward)
            CHECK_AT(has_row(type) && !is_listed(type), "%s needs a row in gradient_rows.c",
                     type);
        else
            CHECK_AT(is_listed(type) && !has_row(type),
                     "%s has no backward: name it in no_gradient_types", type);
    }
}

/* The checker is told lies and must notice. */
static void check_checker(void)
{
    SECTION("the checker");
    tally t = {0};
    compare(&t, "right", 0, 2, 2, 2);
    CHECK(t.checked == 1 && t.wrong == 0 && t.wrong_negated == 1);
    compare(&t, "negated", 0, -2, 2, 2);
    CHECK(t.wrong == 1 && strstr(t.where, "negated"));
    compare(&t, "scaled", 0, 2.001, 2, 2);
    CHECK(t.wrong == 2);
    compare(&t, "not a number", 0, NAN, 2, 2);
    CHECK(t.wrong == 3);
    compare(&t, "kink", 0, 5, 0, 1);
    CHECK(t.kinks == 1 && t.wrong == 3);
    t = (tally){0};
    compare(&t, "zero", 0, 0, 0, 0);
    CHECK(t.wrong_negated == 0);
}

int main(int argc, char **argv)
{
    dn_context *context = NULL, *wide = NULL;
    const char *chain = getenv("DN_TEST_F32");
    every = getenv("DN_TEST_ELEMENTS") ? atoi(getenv("DN_TEST_ELEMENTS")) : 1;
    check_checker();
    check_coverage();
    for (int32_t plan = DN_PLAN_FUSED; plan <= DN_PLAN_NHWC; plan++) {
        dn_context_options options = {.struct_size = sizeof options, .plan = plan, .seed = 1};
        CHECK_STATUS(dn_context_create(&wide, &options), DN_OK);
        options.backends = chain;
        CHECK_STATUS(dn_context_create(&context, &options), DN_OK);
        for (size_t i = 0; context && i < num_gradient_rows; i++) {
            SECTION(gradient_rows[i].type);
            const char *more = follower(&gradient_rows[i]);
            if (argc > 1 && strcmp(argv[1], gradient_rows[i].type))
                continue;
            if (chain) {
                check_rounded(wide, context, &gradient_rows[i], "");
                if (more)
                    check_rounded(wide, context, &gradient_rows[i], more);
                continue;
            }
            check_row(context, &gradient_rows[i], "");
            if (more)
                check_row(context, &gradient_rows[i], more);
        }
        dn_context_free(context);
        dn_context_free(wide);
    }
    return check_summary();
}
