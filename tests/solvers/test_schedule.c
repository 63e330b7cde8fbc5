/* SPDX-License-Identifier: BSD-2-Clause
 * test_schedule.c: learning rates of all policies against the formulas, worked out apart;
 * what a solver prototxt may not say. */
#include <fenv.h>

#include "solver_text.h"

/* ---- rates ------------------------------------------------------------------------------ */

typedef struct policy_row {
    const char *text;
    struct {
        int at;
        double rate;
    } points[5];
} policy_row;

static const policy_row policies[] = {
    {"lr_policy: 'fixed'", {{0, 0.2}, {1, 0.2}, {7, 0.2}, {19, 0.2}, {25, 0.2}}},
    {"lr_policy: 'fixed' multinode_param { wait_for_clients: 2 } richness: 200",
     {{0, 0.2}, {1, 0.2}, {2, 0.2}, {3, 0.2}, {4, 0.2}}},
    {"lr_policy: 'step' gamma: 0.3 stepsize: 4",
     {{0, 0.2}, {3, 0.2}, {4, 0.06}, {8, 0.018}, {19, 0.00162}}},
    {"lr_policy: 'exp' gamma: 0.3",
     {{0, 0.2}, {1, 0.06}, {2, 0.018}, {5, 0.000486}, {19, 2.3245229e-11}}},
    {"lr_policy: 'inv' gamma: 0.1 power: 0.75",
     {{0, 0.2}, {1, 0.18620249}, {2, 0.17443919}, {5, 0.14755759}, {19, 0.08999772}}},
    {"lr_policy: 'multistep' gamma: 0.3 stepvalue: 3 stepvalue: 7 stepvalue: 11",
     {{0, 0.2}, {2, 0.2}, {3, 0.06}, {7, 0.018}, {19, 0.0054}}},
    {"lr_policy: 'multistep' gamma: 0.5 stepvalue: 2 stepvalue: 2",
     {{1, 0.2}, {2, 0.1}, {3, 0.05}, {4, 0.05}, {19, 0.05}}},
    {"lr_policy: 'poly' power: 1.5",
     {{0, 0.2}, {1, 0.18518909}, {10, 0.07071068}, {19, 0.00223607}, {20, 0}}},
    {"lr_policy: 'poly' power: 1.5",
     {{2, 0.17076299}, {5, 0.12990381}, {15, 0.025}, {21, 0}, {22, 0}}},
    {"lr_policy: 'sigmoid' gamma: 0.3 stepsize: 5",
     {{0, 0.03648505}, {1, 0.04629507}, {5, 0.1}, {10, 0.16351495}, {19, 0.19704526}}},
    {"lr_policy: 'sigmoid' gamma: -0.3 stepsize: 5",
     {{0, 0.163514895}, {1, 0.153704957}, {5, 0.1}, {10, 0.0364851048}, {19, 0.00295480634}}},
    {"base_lr: -0.2 lr_policy: 'step' gamma: 0.3 stepsize: 4",
     {{0, -0.2}, {3, -0.2}, {4, -0.06}, {8, -0.018}, {19, -0.00162}}},
    {"lr_policy: 'multifixed' stagelr: 0.5 stagelr: 0.25 stageiter: 3 stageiter: 7",
     {{0, 0.5}, {3, 0.5}, {4, 0.25}, {8, 0.25}, {19, 0.25}}},
    {"lr_policy: 'step' gamma: 0.3 stepsize: 4 warmup_iter: 5 warmup_start_lr: 0.1",
     {{0, 0.1}, {1, 0.12}, {4, 0.18}, {5, 0.06}, {8, 0.018}}},
    {"lr_policy: 'multistep' gamma: 0.5 stepvalue: 2 stepvalue: 3 warmup_iter: 4",
     {{0, 0}, {2, 0.1}, {4, 0.1}, {5, 0.05}, {9, 0.05}}},
    {"lr_policy: 'poly' power: 2 min_lr: 0.1",
     {{0, 0.2}, {5, 0.15625}, {10, 0.125}, {15, 0.10625}, {20, 0.1}}},
    {"lr_policy: 'exp' gamma: 0 min_lr: 0.2",
     {{0, 0.2}, {1, 0.2}, {2, 0.2}, {5, 0.2}, {19, 0.2}}},
    {"lr_policy: 'exp' gamma: 0.5 rampup_interval: 4 rampup_lr: 0.04 min_lr: 0.011",
     {{0, 0.04}, {1, 0.05}, {2, 0.08}, {4, 0.0125}, {5, 0.011}}},
};

static void check_policy(dn_context *context, const policy_row *row)
{
    char text[256];
    snprintf(text, sizeof text, "%s max_iter: 20 %s",
             strstr(row->text, "base_lr") ? "" : "base_lr: 0.2", row->text);
    dn_solver *solver = make_solver(context, text, SMALL_NET, NULL);
    for (size_t k = 0; k < 5; k++) {
        while (dn_solver_iteration(solver) < row->points[k].at)
            CHECK_STATUS(dn_solver_apply_update(solver), DN_OK);
        double got = dn_solver_learning_rate(solver), want = row->points[k].rate;
        CHECK_AT(fabs(got - want) <= 2e-6 * fabs(want) + 1e-30, "%s: %.9g at %d, expected %.9g",
                 row->text, got, row->points[k].at, want);
    }
    dn_solver_free(solver);
}

static void check_given_rate(dn_context *context)
{
    dn_solver *solver =
        make_solver(context, "base_lr: 0.5 lr_policy: 'exp' gamma: 0.5", SMALL_NET, NULL);
    CHECK_STATUS(dn_solver_set_learning_rate(solver, 0.125f), DN_OK);
    CHECK_STATUS(dn_solver_apply_update(solver), DN_OK);
    CHECK_NEAR(dn_solver_learning_rate(solver), 0.125, 0);
    int round = fegetround();
#ifdef FE_UPWARD
    fesetround(FE_UPWARD); /* and so it stays */
    round = FE_UPWARD;
#endif
    CHECK_STATUS(dn_solver_set_learning_rate(solver, -1), DN_OK);
    CHECK_NEAR(dn_solver_learning_rate(solver), 0.25, 0);
    CHECK_INT(fegetround(), round);
    fesetround(FE_TONEAREST);
    CHECK_STATUS(dn_solver_set_learning_rate(solver, -1), DN_OK);
    CHECK_NEAR(dn_solver_learning_rate(solver), 0.25, 0);
    CHECK_MESSAGE(dn_solver_set_learning_rate(solver, NAN), DN_E_INVALID, "not a number");
    CHECK_STATUS(dn_solver_set_learning_rate(NULL, 1), DN_E_INVALID);
    dn_solver_free(solver);
}

/* ---- plateau ---------------------------------------------------------------------------- */

/* The policy in plain words: windows of 2, then 3 iterations without a new minimum of the mean
 * of two losses. */
static double plateau_rate(const float *losses, int iteration)
{
    static const int windows[] = {2, 3};
    double least = 1e38;
    int since = 0, steps = 0;
    for (int i = 0; i <= iteration; i++) {
        double mean = i ? (double)(losses[i - 1] + losses[i]) / 2 : losses[0];
        if (mean < least) {
            least = mean;
            since = i;
        }
        if (steps < 2 && i >= since + windows[steps]) {
            steps++;
            since = i;
        }
    }
    return ldexp(0.2, -steps);
}

/* The weight is the loss, and the host writes it. */
#define LOSS_NET                                                                               \
    "layer { name: 'w' type: 'Parameter' top: 'w' parameter_param { shape { dim: 1 } } } "     \
    "layer { name: 's' type: 'Power' bottom: 'w' top: 's' loss_weight: 1 } "

static const float courses[][12] = {{9, 8, 7, 7, 7, 7, 8, 7, 7, 7, 7, 7},
                                    {1, 2, 2, 2, 0.5F, 0.4F, 3, 3, 3, 3, 3, 3},
                                    {5, 4, 4, 3, 3, 2, 2, 1, 1, 0, 0, 0}};

static void check_plateau(dn_context *context, const float *losses, int snapshot_at)
{
    static const char text[] = "base_lr: 0.2 lr_policy: 'plateau' gamma: 0.5 max_iter: 20 "
                               "plateau_winsize: 2 plateau_winsize: 3 average_loss: 2";
    dn_solver *solver = make_solver(context, text, LOSS_NET, NULL);
    for (int i = 0; i < 12; i++) {
        if (i == snapshot_at) { /* another, which was lower, goes on */
            CHECK_STATUS(dn_solver_snapshot(solver, check_path("plateau")), DN_OK);
            dn_solver_free(solver);
            solver = make_solver(context, text, LOSS_NET, NULL);
            dn_blob_mutable_data(dn_net_layer_param(dn_solver_net(solver), 0, 0))[0] = -9;
            CHECK_STATUS(dn_solver_step(solver, 3), DN_OK);
            CHECK_STATUS(dn_solver_restore(solver, check_path("plateau.solverstate")), DN_OK);
        }
        dn_blob_mutable_data(dn_net_layer_param(dn_solver_net(solver), 0, 0))[0] = losses[i];
        CHECK_STATUS(dn_solver_step(solver, 1), DN_OK);
        double got = dn_solver_learning_rate(solver), want = plateau_rate(losses, i);
        CHECK_AT(fabs(got - want) <= 1e-7, "rate %g in iteration %d, expected %g", got, i,
                 want);
    }
    dn_solver_free(solver);
}

static dn_status reduce(void *user, float *data, int64_t count)
{
    return DN_OK;
}

static void check_plateau_alone(dn_context *context)
{
    static const char text[] = "base_lr: 0.2 lr_policy: 'plateau' gamma: 0.5";
    dn_solver_options o = {.struct_size = sizeof o, .all_reduce = reduce};
    dn_solver *solver = NULL;
    CHECK_MESSAGE(dn_solver_create_from_text(&solver, context, text, sizeof text - 1, LOSS_NET,
                                             sizeof LOSS_NET - 1, &o),
                  DN_E_UNSUPPORTED, "ranks would part");
}

/* ---- a rate for each weight -------------------------------------------------------------- */

/* What is done to a weight's values w and history h; the gradients are halved by iter_size. */
static void larc_step(double *w, double *h, const float *g, int count, double decay,
                      double rate, int clip)
{
    double w2 = 0, g2 = 0, local = 1;
    for (int k = 0; k < count; k++) {
        w2 += w[k] * w[k];
        g2 += g[k] * g[k] / 4.0;
    }
    if (w2 > 0 && g2 > 0)
        local = 0.01 * sqrt(w2 / g2);
    local = !clip ? local * rate : local < rate ? local : rate;
    for (int k = 0; k < count; k++) {
        h[k] = 0.5 * h[k] + local * (g[k] / 2.0 + decay * w[k]);
        w[k] -= h[k];
    }
}

/* Two updates under LARC: the biases begin as zero, one weight has no gradient. */
static void check_larc(dn_context *context, int clip, double rate)
{
    char text[256];
    double w[4][32], h[4][32] = {{0}};
    snprintf(text, sizeof text,
             "base_lr: %g lr_policy: 'fixed' momentum: 0.5 weight_decay: 0.1 iter_size: 2 "
             "larc: true larc_eta: 0.01 %s",
             rate, clip ? "larc_policy: 'clip'" : "");
    dn_solver *solver = make_solver(context, text, SMALL_NET, NULL);
    for (int update = 0; update < 3; update++) {
        for (int i = 0; i < 4; i++) {
            dn_blob *blob = dn_net_layer_param(dn_solver_net(solver), i < 2 ? 2 : 4, i % 2);
            int count = (int)dn_blob_count(blob);
            const float *now = dn_blob_data(blob);
            float *g = dn_blob_mutable_diff(blob);
            for (int k = 0; k < count; k++) {
                w[i][k] = update ? w[i][k] : now[k];
                CHECK_AT(fabs(w[i][k] - now[k]) <= 1e-6, "weight %d, %d: %.9g, expected %.9g",
                         i, k, now[k], w[i][k]);
                g[k] = i != 2 ? (float)(k % 5 - 1) * 0.3f : 0;
            }
            larc_step(w[i], h[i], g, count, i == 1 ? 0 : 0.1, rate, clip);
        }
        CHECK_STATUS(dn_solver_apply_update(solver), DN_OK);
    }
    dn_solver_free(solver);
}

/* ---- refusals --------------------------------------------------------------------------- */

#define FIXED "base_lr: 0.1 lr_policy: 'fixed' "
#define NET   "net_param { " SMALL_NET " } "
#define TEST  "test_interval: 1 "

static const struct refusal {
    const char *text;
    dn_status status;
    const char *part;
} refusals[] = {
    {FIXED, DN_E_NET, "solver: the solver names no net"},
    {FIXED NET "train_net: 'x.prototxt'", DN_E_NET, "more than once"},
    {FIXED "net: 'no-such-file.prototxt'", DN_E_IO, "no-such-file.prototxt"},
    {NET "base_lr: 1", DN_E_NET, "no lr_policy"},
    {NET "base_lr: 1 lr_policy: 'multi_step'", DN_E_NET, "did you mean 'multistep'"},
    {NET "base_lr: 1 lr_policy: 'step' gamma: 0.1", DN_E_NET, "stepsize > 0"},
    {NET "base_lr: 1 lr_policy: 'poly' power: 2", DN_E_NET, "max_iter > 0"},
    {NET "base_lr: 1 lr_policy: 'exp' gamma: -1", DN_E_NET, "gamma >= 0"},
    {NET "base_lr: 1 lr_policy: 'sigmoid' gamma: nan", DN_E_NET, "gamma is not a number"},
    {NET "base_lr: -1 lr_policy: 'fixed' momentum_policy: 'opt'", DN_E_NET, "base_lr >= 0"},
    {NET "base_lr: 1 lr_policy: 'step' gamma: 0.1 stepsize: -1", DN_E_NET, "stepsize > 0"},
    {NET "base_lr: 1 lr_policy: 'multifixed'", DN_E_NET, "as many of one as of the"},
    {NET "base_lr: 1 lr_policy: 'multifixed' stagelr: 1", DN_E_NET, "as many of one as of the"},
    {NET FIXED "min_lr: -0.1", DN_E_NET, "min_lr is not from 0 to base_lr"},
    {NET FIXED "min_lr: 0.2", DN_E_NET, "min_lr is not from 0 to base_lr"},
    {NET "base_lr: -1 lr_policy: 'fixed' min_lr: 0.2", DN_E_NET, "base_lr, which is negative"},
    {NET FIXED "momentum_policy: 'poly'", DN_E_NET, "needs a max_iter > 0"},
    {NET FIXED "momentum_policy: 'poly' max_iter: 9 momentum_power: -1", DN_E_NET,
     "needs a momentum_power >= 0"},
    {NET FIXED "momentum_policy: 'pol' max_iter: 9", DN_E_NET, "there are fixed, poly and opt"},
    {NET FIXED "momentum_policy: 'opt' type: 'Nesterov'", DN_E_UNSUPPORTED, "is for SGD, not"},
    {NET FIXED "type: 'AdaGard'", DN_E_NET, "did you mean 'AdaGrad'"},
    {NET FIXED "type: 'AdaGrad' momentum: 0.9", DN_E_NET, "no momentum"},
    {NET FIXED "type: 'RMSProp' momentum: 0.9", DN_E_NET, "no momentum"},
    {NET FIXED "type: 'RMSProp' rms_decay: 1.5", DN_E_NET, "rms_decay"},
    {NET FIXED "type: 'Adam' momentum: 1", DN_E_NET, "momentum"},
    {NET FIXED "type: 'Adam' momentum2: 1", DN_E_NET, "momentum2"},
    {NET FIXED "regularization_type: 'L3'", DN_E_NET, "'L3'"},
    {NET FIXED "larc: true larc_policy: 'clp'", DN_E_NET, "'clp'; there are scale and clip"},
    {NET FIXED "larc: true larc_turbo: true", DN_E_UNSUPPORTED, "'larc_turbo' of"},
    {NET FIXED "iter_size: 0", DN_E_NET, "iter_size is 0"},
    {NET FIXED "average_loss: 0", DN_E_NET, "average_loss is 0"},
    {NET FIXED "average_loss: 2000000000", DN_E_LIMIT, "1000000 at the most"},
    {NET FIXED "max_iter: -5", DN_E_NET, "max_iter is -5"},
    {NET FIXED "test_iter: 3", DN_E_NET, "solver: there are test nets; test_interval"},
    {NET FIXED TEST "test_iter: -1", DN_E_NET, "test_iter must not be negative"},
    {NET FIXED TEST "test_net_param { } test_net_param { } test_iter: 3", DN_E_NET,
     "1 test_iter for 2 test nets"},
    {NET FIXED TEST "test_iter: 3 test_state { } test_state { }", DN_E_NET, "2 test_state"},
    {NET FIXED "snapshot: 5", DN_E_NET, "snapshot_prefix"},
    {NET FIXED "snapshot: 5 snapshot_prefix: '/no/such/folder/x'", DN_E_IO, "no folder"},
    {NET FIXED "weights: 'no-such.caffemodel'", DN_E_IO, "no-such.caffemodel"},
    {NET FIXED "momentun: 0.9", DN_E_PARSE, "momentum"},
};

static void check_refusals(dn_context *context)
{
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        const struct refusal *r = &refusals[i];
        dn_solver *solver = NULL;
        dn_status st = dn_solver_create_from_text(&solver, context, r->text, strlen(r->text),
                                                  NULL, 0, NULL);
        const char *why = dn_last_error();
        CHECK_AT(st == r->status && why && strstr(why, r->part) && !solver,
                 "expected '%s', got %s '%s'", r->part, dn_status_name(st), why ? why : "");
        dn_solver_free(solver);
    }
}

int main(void)
{
    dn_context *context = NULL;
    CHECK_STATUS(dn_context_create(&context, NULL), DN_OK);
    SECTION("policies");
    for (size_t i = 0; i < sizeof policies / sizeof policies[0]; i++)
        check_policy(context, &policies[i]);
    check_given_rate(context);
    SECTION("plateau");
    for (size_t i = 0; i < sizeof courses / sizeof courses[0]; i++)
        for (int at = -1; at < 8; at += at < 0 ? 1 : 3)
            check_plateau(context, courses[i], at);
    check_plateau_alone(context);
    SECTION("larc");
    check_larc(context, 0, 0.5);
    check_larc(context, 1, 0.5);
    check_larc(context, 1, 0.002);
    SECTION("refusals");
    check_refusals(context);
    dn_context_free(context);
    return check_summary();
}
