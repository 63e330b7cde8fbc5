/* SPDX-License-Identifier: BSD-2-Clause
 * Each allocation fails once while LeNet is built, trained, saved, restored and freed: a status
 * with its line, nothing leaked, and the same work succeeds when memory is back. */
#include <deepnet/deepnet.h>

#include "check.h"

/* Stands before the C library's: no power fails here, and the disk takes longer than all the
 * rest. */
int fsync(int fd)
{
    return 0;
}

static const char net_text[] =
    "name: 'LeNet'\n"
    "layer { name: 'data' type: 'Input' top: 'data' top: 'label'\n"
    "  input_param { shape { dim: 2 dim: 1 dim: 28 dim: 28 } shape { dim: 2 } } }\n"
    "layer { name: 'conv1' type: 'Convolution' bottom: 'data' top: 'conv1'\n"
    "  convolution_param { num_output: 4 kernel_size: 5 weight_filler { type: 'xavier' } } }\n"
    "layer { name: 'pool1' type: 'Pooling' bottom: 'conv1' top: 'pool1'\n"
    "  pooling_param { kernel_size: 2 stride: 2 } }\n"
    "layer { name: 'conv2' type: 'Convolution' bottom: 'pool1' top: 'conv2'\n"
    "  convolution_param { num_output: 5 kernel_size: 5 weight_filler { type: 'xavier' } } }\n"
    "layer { name: 'pool2' type: 'Pooling' bottom: 'conv2' top: 'pool2'\n"
    "  pooling_param { kernel_size: 2 stride: 2 } }\n"
    "layer { name: 'ip1' type: 'InnerProduct' bottom: 'pool2' top: 'ip1'\n"
    "  inner_product_param { num_output: 16 weight_filler { type: 'xavier' } } }\n"
    "layer { name: 'relu1' type: 'ReLU' bottom: 'ip1' top: 'ip1' }\n"
    "layer { name: 'drop1' type: 'Dropout' bottom: 'ip1' top: 'ip1' }\n"
    "layer { name: 'ip2' type: 'InnerProduct' bottom: 'ip1' top: 'ip2'\n"
    "  inner_product_param { num_output: 10 weight_filler { type: 'xavier' } } }\n"
    "layer { name: 'accuracy' type: 'Accuracy' bottom: 'ip2' bottom: 'label' top: 'accuracy'\n"
    "  include { phase: TEST } }\n"
    "layer { name: 'loss' type: 'SoftmaxWithLoss' bottom: 'ip2' bottom: 'label' top: 'loss' "
    "}\n";

static const char solver_text[] =
    "base_lr: 0.01 lr_policy: 'inv' gamma: 0.0001 power: 0.75 momentum: 0.9\n"
    "weight_decay: 0.0005 max_iter: 100 test_iter: 1 test_interval: 50 solver_mode: CPU\n"
    "clip_gradients: 10 test_initialization: false snapshot_after_train: false\n";

/* All a host does, start to end; the first failure ends it. */
static dn_status whole_life(const dn_context_options *options)
{
    dn_context *context = NULL;
    dn_solver *solver = NULL;
    dn_net *shared = NULL;
    char *text = NULL;
    const char *path = check_path("faults");
    const int64_t bigger[] = {3, 1, 28, 28}, labels = 3;
    dn_status st = dn_context_create(&context, options);
    if (!st)
        st = dn_solver_create_from_text(&solver, context, solver_text, sizeof solver_text - 1,
                                        net_text, sizeof net_text - 1, NULL);
    if (!st)
        st = dn_solver_step(solver, 2);
    if (!st)
        st = dn_solver_test(solver, 0);
    if (!st)
        st = dn_solver_snapshot(solver, path);
    if (!st)
        st = dn_net_describe(dn_solver_net(solver), 7, &text);
    if (!st)
        st = dn_net_create_shared(&shared, dn_solver_net(solver), NULL);
    if (!st)
        st = dn_net_forward(shared, NULL);
    if (!st)
        st = dn_blob_reshape(dn_net_input(dn_solver_net(solver), 0), bigger, 4);
    if (!st)
        st = dn_blob_reshape(dn_net_input(dn_solver_net(solver), 1), &labels, 1);
    if (!st)
        st = dn_solver_step(solver, 1);
    if (!st)
        st = dn_solver_restore(solver, check_path("faults.solverstate"));
    const char *line = dn_last_error();
    CHECK_AT(!st == !line && (!line || (line[0] && !strchr(line, '\n'))), "%s with %s",
             dn_status_name(st), line ? line : "no line");
    dn_net_text_free(solver ? dn_solver_net(solver) : NULL, text);
    dn_net_free(shared);
    dn_solver_free(solver);
    dn_context_free(context);
    return st;
}

static void fail_each(int persist)
{
    check_heap heap = {0};
    dn_context_options options = {.struct_size = sizeof options,
                                  .alloc = check_alloc,
                                  .alloc_user = &heap,
                                  .num_threads = 2};
    CHECK_STATUS(whole_life(&options), DN_OK);
    CHECK_HEAP_CLEAN(&heap);
    long requests = heap.requests;
    CHECK(requests > 100);
    long survived = 0;
    for (long i = 1; i <= requests; i += persist ? 7 : 1) {
        check_heap one = {.fail_at = i, .persist = persist};
        options.alloc_user = &one;
        dn_status st = whole_life(&options);
        CHECK_AT(st == DN_E_NOMEM || !st, "request %ld of %ld: %s, %s", i, requests,
                 dn_status_name(st), dn_last_error() ? dn_last_error() : "");
        survived += !st;
        CHECK_AT(one.live_blocks == 0 && one.live_bytes == 0,
                 "request %ld of %ld: %ld blocks leaked", i, requests, (long)one.live_blocks);
    }
    CHECK_AT(survived * 10 < requests, "%ld of %ld failed requests went unnoticed", survived,
             requests);
}

static dn_context *context_on(check_heap *heap)
{
    dn_context *context = NULL;
    dn_context_options options = {.struct_size = sizeof options,
                                  .alloc = check_alloc,
                                  .alloc_user = heap,
                                  .num_threads = 1};
    CHECK_STATUS(dn_context_create(&context, &options), DN_OK);
    return context;
}

/* It has run forward. */
static dn_net *net_in(dn_context *context)
{
    dn_net *net = NULL;
    dn_net_options train = {.struct_size = sizeof train, .phase = DN_PHASE_TRAIN};
    CHECK_STATUS(dn_net_create_from_text(&net, context, net_text, sizeof net_text - 1, &train),
                 DN_OK);
    CHECK_STATUS(dn_net_forward(net, NULL), DN_OK);
    return net;
}

/* After a failure in the middle the objects still work. */
static void works_again(void)
{
    check_heap heap = {0};
    dn_context *context = context_on(&heap);
    dn_net *net = net_in(context);
    const int64_t bigger[] = {5, 1, 28, 28}, labels = 5;
    CHECK_STATUS(dn_blob_reshape(dn_net_input(net, 0), bigger, 4), DN_OK);
    CHECK_STATUS(dn_blob_reshape(dn_net_input(net, 1), &labels, 1), DN_OK);
    for (long i = 1; i < 40; i++) {
        heap.fail_at = heap.requests + i;
        dn_status st = dn_net_forward(net, NULL);
        CHECK_AT(!st || st == DN_E_NOMEM, "%s", dn_status_name(st));
        if (!st)
            break;
    }
    heap.fail_at = 0;
    CHECK_STATUS(dn_net_forward(net, NULL), DN_OK);
    CHECK_STATUS(dn_net_backward(net), DN_OK);
    CHECK_INT(dn_blob_dim(dn_net_blob(net, "ip2"), 0), 5);
    long before = heap.requests; /* and while the shapes stand, nothing is asked for */
    for (int i = 0; i < 10; i++) {
        CHECK_STATUS(dn_net_forward(net, NULL), DN_OK);
        CHECK_STATUS(dn_net_backward(net), DN_OK);
    }
    CHECK_AT(heap.requests == before, "%ld allocations in ten steps", heap.requests - before);
    dn_net_free(net);
    dn_context_free(context);
    CHECK_HEAP_CLEAN(&heap);
}

/* A net that could not share another's weights runs on its own; what it let go of is gone. */
static void shares_or_not(void)
{
    check_heap heap = {0};
    dn_context *context = context_on(&heap);
    dn_status st = DN_E_NOMEM;
    for (long i = 1; st && i < 100; i++) {
        dn_net *net = net_in(context), *source = net_in(context);
        CHECK_STATUS(dn_net_backward(net), DN_OK);
        dn_blob *own = dn_net_layer_param(net, 1, 0);
        const float *before = dn_blob_data(own);
        heap.fail_at = heap.requests + i;
        st = dn_net_share_weights(net, source);
        heap.fail_at = 0;
        CHECK_AT(!st || st == DN_E_NOMEM, "%s", dn_status_name(st));
        CHECK((dn_blob_data(own) == before) == (st != DN_OK));
        CHECK_STATUS(dn_net_forward(net, NULL), DN_OK);
        CHECK_STATUS(dn_net_backward(net), DN_OK);
        dn_net_free(source);
        CHECK_STATUS(dn_net_forward(net, NULL), DN_OK);
        dn_net_free(net);
    }
    CHECK_STATUS(st, DN_OK);
    dn_context_free(context);
    CHECK_HEAP_CLEAN(&heap);
}

int main(void)
{
    SECTION("each allocation fails once");
    fail_each(0);
    SECTION("memory runs out and stays out");
    fail_each(1);
    SECTION("works again after a failure");
    works_again();
    SECTION("shares weights or does not");
    shares_or_not();
    return check_summary();
}
