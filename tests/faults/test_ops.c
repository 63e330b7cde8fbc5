/* SPDX-License-Identifier: BSD-2-Clause
 * test_ops.c: each op fails once, when it is made and when it runs: a backend of the host's,
 * first in the chain, does what `ref` does until it is told that its device is gone. */
#include <deepnet/deepnet.h>

#include <stdbool.h>

#include "check.h"

static const char net_text[] =
    "layer { name: 'data' type: 'Input' top: 'data' top: 'label'\n"
    "  input_param { shape { dim: 2 dim: 1 dim: 8 dim: 8 } shape { dim: 2 } } }\n"
    "layer { name: 'conv' type: 'Convolution' bottom: 'data' top: 'conv'\n"
    "  convolution_param { num_output: 3 kernel_size: 3 weight_filler { type: 'xavier' } } }\n"
    "layer { name: 'bn' type: 'BatchNorm' bottom: 'conv' top: 'bn' }\n"
    "layer { name: 'pool' type: 'Pooling' bottom: 'bn' top: 'pool'\n"
    "  pooling_param { kernel_size: 2 stride: 2 } }\n"
    "layer { name: 'relu' type: 'ReLU' bottom: 'pool' top: 'pool' }\n"
    "layer { name: 'drop' type: 'Dropout' bottom: 'pool' top: 'drop' }\n"
    "layer { name: 'ip' type: 'InnerProduct' bottom: 'drop' top: 'ip'\n"
    "  inner_product_param { num_output: 4 weight_filler { type: 'gaussian' } } }\n"
    "layer { name: 'accuracy' type: 'Accuracy' bottom: 'ip' bottom: 'label' top: 'accuracy'\n"
    "  include { phase: TEST } }\n"
    "layer { name: 'loss' type: 'SoftmaxWithLoss' bottom: 'ip' bottom: 'label' top: 'loss' }\n";

static const char solver_text[] =
    "base_lr: 0.01 lr_policy: 'fixed' momentum: 0.9 weight_decay: 0.001 max_iter: 9\n"
    "test_iter: 1 test_interval: 50 test_initialization: false clip_gradients: 10\n";

/* ---- the backend ------------------------------------------------------------------------- */

extern const dn_backend_ops dn_ref_backend; /* what kernels/ref offers the engine */

/* The backend's own state would be the place, but ref's is in it. One test, one thread. */
static struct {
    const dn_backend_host *host;
    long made, run; /* calls so far */
    long fail_make, fail_run;
} device;

static dn_status gone(void)
{
    return device.host->fail(DN_E_DEVICE, "the device is gone");
}

static dn_status open_device(dn_backend **out, const dn_backend_host *host)
{
    device.host = host;
    return dn_ref_backend.open(out, host);
}

static dn_status make_op(dn_backend *backend, const dn_op_desc *desc, dn_op **out,
                         dn_op_info *info)
{
    if (++device.made == device.fail_make)
        return gone();
    return dn_ref_backend.op_create(backend, desc, out, info);
}

static dn_status run_op(dn_op *op, const dn_op_io *io)
{
    return ++device.run == device.fail_run ? gone() : dn_ref_backend.op_run(op, io);
}

static dn_backend_ops device_backend(void)
{
    dn_backend_ops ops = dn_ref_backend;
    ops.name = "device";
    ops.open = open_device;
    ops.op_create = make_op;
    ops.op_run = run_op;
    return ops;
}

/* ---- the tests --------------------------------------------------------------------------- */

static dn_context *make_context(check_heap *heap, const dn_backend_ops *ops)
{
    dn_context *context = NULL;
    dn_context_options options = {.struct_size = sizeof options,
                                  .alloc = check_alloc,
                                  .alloc_user = heap,
                                  .num_threads = 1,
                                  .backend = ops};
    memset(&device, 0, sizeof device);
    CHECK_STATUS(dn_context_create(&context, &options), DN_OK);
    return context;
}

static dn_status make_solver(dn_solver **out, dn_context *context)
{
    return dn_solver_create_from_text(out, context, solver_text, sizeof solver_text - 1,
                                      net_text, sizeof net_text - 1, NULL);
}

static void each_op_fails_when_made(void)
{
    SECTION("each op fails when it is made");
    for (long i = 1;; i++) {
        check_heap heap = {0};
        const dn_backend_ops ops = device_backend();
        dn_context *context = make_context(&heap, &ops);
        dn_solver *solver = NULL;
        device.fail_make = i;
        dn_status st = make_solver(&solver, context);
        bool failed = device.made >= i;
        CHECK_AT(!failed == !st && !st == !dn_last_error() && !st == !!solver, "op %ld: %s", i,
                 dn_status_name(st));
        if (failed) {
            CHECK_INT(st, DN_E_DEVICE);
            CHECK_AT(strstr(dn_last_error(), "the device is gone") != NULL, "%s",
                     dn_last_error());
            CHECK_STATUS(make_solver(&solver, context), DN_OK);
        }
        CHECK_STATUS(dn_solver_step(solver, 1), DN_OK);
        dn_solver_free(solver);
        dn_context_free(context);
        CHECK_HEAP_CLEAN(&heap);
        if (!failed) {
            CHECK(i > 20); /* there were ops to fail */
            return;
        }
    }
}

/* One iteration and one test with the i-th run failing; then both work. */
static bool run_fails(long i)
{
    check_heap heap = {0};
    const dn_backend_ops ops = device_backend();
    dn_context *context = make_context(&heap, &ops);
    dn_solver *solver = NULL;
    CHECK_STATUS(make_solver(&solver, context), DN_OK);
    device.fail_run = device.run + i;
    dn_status st = dn_solver_step(solver, 1);
    int64_t done = dn_solver_iteration(solver);
    if (!st)
        st = dn_solver_test(solver, 0);
    bool failed = device.run >= device.fail_run;
    CHECK_AT(!failed == !st && !st == !dn_last_error(), "op %ld: %s", i, dn_status_name(st));
    if (failed) {
        const char *line = dn_last_error();
        CHECK_INT(st, DN_E_DEVICE);
        CHECK_AT(line && strstr(line, "the device is gone") != NULL, "%s",
                 line ? line : "(no line)");
    }
    device.fail_run = 0;
    CHECK_STATUS(dn_solver_step(solver, 2), DN_OK);
    CHECK_INT(dn_solver_iteration(solver), done + 2);
    CHECK_STATUS(dn_solver_test(solver, 0), DN_OK);
    CHECK(isfinite(dn_solver_loss(solver)));
    dn_solver_free(solver);
    dn_context_free(context);
    CHECK_HEAP_CLEAN(&heap);
    return failed;
}

/* What layers `from` to the last left half made is nothing to go back from. */
static void no_backward_after(int32_t from)
{
    check_heap heap = {0};
    const dn_backend_ops ops = device_backend();
    dn_context *context = make_context(&heap, &ops);
    dn_net *net = NULL;
    CHECK_STATUS(
        dn_net_create_from_text(&net, context, net_text, sizeof net_text - 1,
                                &(dn_net_options){.struct_size = sizeof(dn_net_options)}),
        DN_OK);
    int32_t last = dn_net_num_layers(net) - 1;
    CHECK_STATUS(dn_net_forward(net, NULL), DN_OK);
    CHECK_STATUS(dn_net_backward(net), DN_OK);
    device.fail_run = device.run + 2;
    CHECK_STATUS(dn_net_forward_range(net, from, last, NULL), DN_E_DEVICE);
    CHECK_STATUS(dn_net_backward(net), DN_E_STATE);
    CHECK_STATUS(dn_net_forward_range(net, from, last, NULL), DN_OK);
    CHECK_STATUS(dn_net_backward(net), DN_OK);
    dn_net_free(net);
    dn_context_free(context);
    CHECK_HEAP_CLEAN(&heap);
}

int main(void)
{
    long i = 1;
    each_op_fails_when_made();
    SECTION("no backward after a forward that failed, of all layers or of the last");
    no_backward_after(0);
    no_backward_after(3);
    SECTION("each op fails when it runs");
    while (run_fails(i))
        i++;
    CHECK(i > 25);
    return check_summary();
}
