/* SPDX-License-Identifier: BSD-2-Clause
 * test_rows.c: the nets of the gradient check give on a device what they give on the host: all
 * values and gradients, in each kind of plan. test_rows [FOLDER]: on a fake device, whose ops
 * are ref's, so that the engine is checked; or on the module's in FOLDER. */
#include "core/core.h"

#include "check.h"

#include "../layers/gradient_rows.h"
#include "deepnet/context.h"
#include "fake.h"
#include "net/net.h"

#define RELATIVE 2e-4 /* as for recorded results */
#define ABSOLUTE 2e-5

static dn_net *make(dn_context *context, const gradient_row *row)
{
    char text[8192];
    dn_net *net = NULL;
    dn_net_options options = {.struct_size = sizeof options,
                              .phase = row->flags & ROW_TEST ? DN_PHASE_TEST : DN_PHASE_TRAIN};
    snprintf(text, sizeof text, "force_backward: true %s", row->text);
    dn_status st = dn_net_create_from_text(&net, context, text, strlen(text), &options);
    CHECK_AT(st == DN_OK, "%.999s: %s", row->text, dn_last_error());
    return net;
}

static void fill(dn_net *net, uint64_t *draws)
{
    for (int32_t k = 0; k < dn_net_num_inputs(net); k++) {
        dn_blob *blob = dn_net_input(net, k);
        float *data = dn_blob_mutable_data(blob);
        int64_t count = dn_blob_count(blob), rows = dn_blob_dim(blob, 0);
        for (int64_t i = 0; data && i < count; i++)
            data[i] =
                (float)gradient_value(draws, dn_blob_name(blob), i, rows ? count / rows : 1);
    }
    for (size_t k = 0; k < net->num_params; k++) {
        float *data = dn_blob_mutable_data(&net->params[k]->blob);
        for (int64_t i = 0; data && i < dn_blob_count(&net->params[k]->blob); i++)
            data[i] = (float)(net->params[k]->statistic ? 0.5 + gradient_uniform(draws)
                                                        : gradient_normal(draws));
    }
}

/* Twice, so that a device replays what it recorded. */
static void run(dn_net *net, const char *text)
{
    uint64_t draws = 0;
    fill(net, &draws);
    for (int k = 0; k < 2; k++) {
        dn_status st = dn_net_forward(net, NULL);
        for (int32_t j = 0; !st && j < dn_net_num_outputs(net); j++) {
            dn_blob *blob = dn_net_output(net, j);
            float *diff = dn_blob_mutable_diff(blob);
            for (int64_t i = 0; diff && i < dn_blob_count(blob); i++)
                diff[i] = (float)gradient_normal(&draws);
        }
        if (!st)
            st = dn_net_clear_gradients(net);
        if (!st)
            st = dn_net_backward(net);
        CHECK_AT(st == DN_OK, "%.999s: %s", text, dn_last_error());
    }
}

static void compare(const char *what, const char *name, const float *got, const float *want,
                    int64_t count, const char *text)
{
    double largest = 1;
    CHECK_AT(!got == !want, "%s of '%s' is on one side alone: %.999s", what, name, text);
    for (int64_t i = 0; got && want && i < count; i++)
        largest = fabs(want[i]) > largest ? fabs(want[i]) : largest;
    for (int64_t i = 0; got && want && i < count; i++) {
        bool close = fabs((double)got[i] - want[i]) <=
                     ABSOLUTE * largest + RELATIVE * fabs((double)want[i]);
        if (got[i] == want[i] || close || (isnan(got[i]) && isnan(want[i])))
            continue;
        CHECK_AT(false, "%s of '%s', element %lld is %g, on the host %g: %.999s", what, name,
                 (long long)i, (double)got[i], (double)want[i], text);
        return;
    }
    CHECK(true);
}

static void compare_blobs(dn_blob *got, dn_blob *want, const char *text)
{
    const char *name = dn_blob_name(want);
    int64_t count = dn_blob_count(want);
    CHECK_INT(dn_blob_count(got), count);
    compare("data", name, dn_blob_data(got), dn_blob_data(want), count, text);
    compare("gradient", name, dn_blob_diff(got), dn_blob_diff(want), count, text);
}

static void check_row(dn_context *device, dn_context *host, const gradient_row *row)
{
    dn_net *got = make(device, row), *want = make(host, row);
    if (got && want) {
        run(got, row->text);
        run(want, row->text);
        for (int32_t k = 0; k < dn_net_num_blobs(want); k++)
            compare_blobs(dn_net_blob_at(got, k), dn_net_blob_at(want, k), row->text);
        for (size_t k = 0; k < want->num_params; k++)
            compare_blobs(&got->params[k]->blob, &want->params[k]->blob, row->text);
    }
    dn_net_free(got);
    dn_net_free(want);
}

int main(int argc, char **argv)
{
    static const char *const plans[] = {"fused", "plain", "NHWC"};
    dn_context_options on_host = {.struct_size = sizeof on_host,
                                  .backends = "ref",
                                  .num_threads = 1,
                                  .plan = DN_PLAN_PLAIN};
    dn_context_options on_device = {
        .struct_size = sizeof on_device, .backends = "ref", .num_threads = 1};
    if (argc > 1) {
        on_device.device = 1;
        on_device.module_folder = argv[1];
    } else {
        on_device.backend = &fake_backend;
    }
    for (int32_t plan = DN_PLAN_FUSED; plan <= DN_PLAN_NHWC; plan++) {
        dn_context *device = NULL, *host = NULL;
        SECTION(plans[plan]);
        on_device.plan = plan;
        CHECK_STATUS(dn_context_create(&device, &on_device), DN_OK);
        CHECK_STATUS(dn_context_create(&host, &on_host), DN_OK);
        for (size_t i = 0; device && host && i < num_gradient_rows; i++)
            check_row(device, host, &gradient_rows[i]);
        dn_context_free(device);
        dn_context_free(host);
    }
    return check_summary();
}
