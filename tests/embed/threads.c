/* SPDX-License-Identifier: BSD-2-Clause
 * threads.c: two contexts in two threads know nothing of each other: each trains the same small
 * net, at the same time, with workers of its own, to the same bits as one alone. Nets of one
 * context that share weights run and go in threads of their own; memory that the host holds
 * goes from any. Nor do the bits depend on how the host rounds, or traps. Built with
 * ThreadSanitizer in CI. */
#define _GNU_SOURCE /* feenableexcept */
#include <fenv.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "deepnet/deepnet.h"

enum { STEPS = 30, WEIGHTS = 16 * 9 };

static const char net_text[] =
    "layer { name: 'x' type: 'Input' top: 'x' input_param { shape { dim: 4 dim: 1 dim: 12"
    "  dim: 12 } } }"
    "layer { name: 't' type: 'Input' top: 't' input_param { shape { dim: 4 } } }"
    "layer { name: 'c' type: 'Convolution' bottom: 'x' top: 'c' convolution_param {"
    "  num_output: 16 kernel_size: 3 weight_filler { type: 'xavier' } } }"
    "layer { name: 'r' type: 'ReLU' bottom: 'c' top: 'c' }"
    "layer { name: 'd' type: 'Dropout' bottom: 'c' top: 'd' }"
    "layer { name: 'p' type: 'Pooling' bottom: 'd' top: 'p' pooling_param { kernel_size: 2"
    "  stride: 2 } }"
    "layer { name: 'y' type: 'InnerProduct' bottom: 'p' top: 'y' inner_product_param {"
    "  num_output: 3 weight_filler { type: 'xavier' } } }"
    "layer { name: 'l' type: 'SoftmaxWithLoss' bottom: 'y' bottom: 't' top: 'l'"
    "  loss_weight: 0.3 }";
static const char solver_text[] =
    "base_lr: 0.05 momentum: 0.9 lr_policy: 'fixed' random_seed: 7 average_loss: 7 "
    "snapshot_after_train: false";

typedef struct job {
    int threads;
    dn_status status;
    char message[512];
    float weights[WEIGHTS], losses[STEPS];
} job;

static dn_status train(job *j, dn_context *context, dn_solver **solver)
{
    float labels[4] = {0, 1, 2, 1};
    dn_net *net;
    dn_status st =
        dn_solver_create_from_text(solver, context, solver_text, sizeof solver_text - 1,
                                   net_text, sizeof net_text - 1, NULL);
    if (st)
        return st;
    net = dn_solver_net(*solver);
    for (int step = 0; step < STEPS; step++) {
        float *x = dn_blob_mutable_data(dn_net_blob(net, "x"));
        for (int i = 0; i < 4 * 12 * 12; i++)
            x[i] = (float)((i * 7 + step * 13) % 17) / 16; /* exact */
        if ((st = dn_blob_write(dn_net_blob(net, "t"), labels, 4)) ||
            (st = dn_solver_step(*solver, 1)))
            return st;
        j->losses[step] = dn_solver_loss(*solver);
    }
    return dn_blob_read(dn_net_layer_param(net, dn_net_find_layer(net, "c"), 0), j->weights,
                        WEIGHTS);
}

static void *run(void *argument)
{
    job *j = argument;
    dn_context_options options = {.struct_size = sizeof options};
    dn_context *context = NULL;
    dn_solver *solver = NULL;
    options.num_threads = j->threads;
    j->status = dn_context_create(&context, &options);
    if (!j->status)
        j->status = train(j, context, &solver);
    if (j->status)
        snprintf(j->message, sizeof j->message, "%s", dn_last_error());
    dn_solver_free(solver);
    dn_context_free(context);
    return NULL;
}

/* ---- shared weights ---------------------------------------------------------------------- */

typedef struct lodger {
    dn_net *net;
    dn_status status;
} lodger;

static void *run_and_free(void *argument)
{
    lodger *l = argument;
    l->status = dn_net_forward(l->net, NULL);
    dn_net_free(l->net);
    return NULL;
}

/* Returns whether all went well. */
static int share(void)
{
    dn_context_options options = {.struct_size = sizeof options, .num_threads = 1};
    dn_context *context = NULL;
    dn_net *net = NULL;
    lodger lodgers[2] = {{NULL, DN_OK}, {NULL, DN_OK}};
    pthread_t thread[2];
    dn_status st = dn_context_create(&context, &options);
    if (!st)
        st = dn_net_create_from_text(&net, context, net_text, sizeof net_text - 1, NULL);
    for (int i = 0; !st && i < 2; i++)
        st = dn_net_create_shared(&lodgers[i].net, net, NULL);
    if (st) {
        printf("failed: %s\n", dn_last_error());
        return 0;
    }
    for (int i = 0; i < 2; i++)
        if (pthread_create(&thread[i], NULL, run_and_free, &lodgers[i]))
            return 0;
    for (int i = 0; i < 2; i++)
        pthread_join(thread[i], NULL);
    st = dn_net_forward(net, NULL);
    dn_net_free(net);
    dn_context_free(context);
    if (st || lodgers[0].status || lodgers[1].status) {
        puts("a net that shares its weights failed");
        return 0;
    }
    return 1;
}

/* ---- memory that the host holds ---------------------------------------------------------- */

enum { HOLDS = 2000 };

static void *holds[HOLDS];

static void *end_half(void *first)
{
    for (int i = 0; i < HOLDS / 2; i++)
        dn_blob_end_hold(((void **)first)[i]);
    return NULL;
}

static void *count_bytes(void *bytes, void *ptr, size_t old_size, size_t new_size)
{
    *(size_t *)bytes += new_size - (ptr ? old_size : 0);
    if (new_size)
        return realloc(ptr, new_size);
    free(ptr);
    return NULL;
}

/* The last of many goes in either of two threads, the net long gone. */
static int hold(void)
{
    size_t bytes = 0;
    dn_context_options options = {.struct_size = sizeof options,
                                  .num_threads = 1,
                                  .alloc = count_bytes,
                                  .alloc_user = &bytes};
    dn_context *context = NULL;
    dn_net *net = NULL;
    pthread_t thread[2];
    dn_status st = dn_context_create(&context, &options);
    if (!st)
        st = dn_net_create_from_text(&net, context, net_text, sizeof net_text - 1, NULL);
    dn_blob *x = st ? NULL : dn_net_input(net, 0);
    for (int i = 0; x && i < HOLDS; i++)
        if (!(holds[i] = dn_blob_hold(x, dn_blob_data(x))))
            st = DN_E_INVALID;
    if (st) {
        printf("failed: %s\n", dn_last_error());
        return 0;
    }
    dn_net_free(net);
    dn_context_free(context);
    size_t held = bytes;
    for (int i = 0; i < 2; i++)
        if (pthread_create(&thread[i], NULL, end_half, &holds[i * HOLDS / 2]))
            return 0;
    for (int i = 0; i < 2; i++)
        pthread_join(thread[i], NULL);
    if (!held || bytes)
        printf("of %zu bytes held by two threads %zu are left\n", held, bytes);
    return held && !bytes;
}

/* ---- the host's floating-point environment ----------------------------------------------- */

/* log(0), which traps if anything does. */
static dn_status take_log(void)
{
    static const char text[] =
        "layer { name: 'x' type: 'Input' top: 'x' input_param { shape { dim: 64 } } }"
        "layer { name: 'y' type: 'Log' bottom: 'x' top: 'y' }";
    dn_context *context = NULL;
    dn_net *net = NULL;
    dn_status st = dn_context_create(&context, NULL);
    if (!st)
        st = dn_net_create_from_text(&net, context, text, sizeof text - 1, NULL);
    if (!st)
        st = dn_net_forward(net, NULL);
    dn_net_free(net);
    dn_context_free(context);
    return st;
}

/* Returns whether training gave the same bits, and the host's settings stayed. */
static int computes_as(const job *expected, const char *what)
{
    for (int threads = 1; threads <= 2; threads++) {
        job j = {.threads = threads};
        fenv_t before;
        fegetenv(&before);
        int round = fegetround();
        run(&j);
        j.status = j.status ? j.status : take_log();
        int kept = fegetround() == round;
        fesetenv(FE_DFL_ENV);
        if (j.status || !kept || memcmp(j.losses, expected->losses, sizeof j.losses) != 0 ||
            memcmp(j.weights, expected->weights, sizeof j.weights) != 0) {
            printf("the host %s: %d threads: %s\n", what, threads,
                   j.status ? j.message
                   : kept   ? "other bits"
                            : "its setting is gone");
            return 0;
        }
        fesetenv(&before);
    }
    fesetenv(FE_DFL_ENV);
    return 1;
}

static int as_ever(const job *expected)
{
    int same = 1;
#ifdef FE_UPWARD
    fesetround(FE_UPWARD);
    same &= computes_as(expected, "rounds upward");
#endif
#ifdef __x86_64__
    __builtin_ia32_ldmxcsr(__builtin_ia32_stmxcsr() | 0x8040); /* FTZ, DAZ */
    same &= computes_as(expected, "flushes denormals");
#endif
#ifdef __GLIBC__
    if (feenableexcept(FE_DIVBYZERO | FE_INVALID | FE_OVERFLOW) != -1)
        same &= computes_as(expected, "traps");
#endif
    return same;
}

int main(void)
{
    if (!share() || !hold())
        return 1;

    static job alone = {.threads = 1}, both[2] = {{.threads = 2}, {.threads = 3}};
    pthread_t thread[2];
    run(&alone);
    for (int i = 0; i < 2; i++)
        if (pthread_create(&thread[i], NULL, run, &both[i]))
            return 1;
    for (int i = 0; i < 2; i++)
        pthread_join(thread[i], NULL);
    if (alone.status || both[0].status || both[1].status) {
        printf("failed: %s%s%s\n", alone.message, both[0].message, both[1].message);
        return 1;
    }
    for (int i = 0; i < 2; i++) {
        if (memcmp(alone.weights, both[i].weights, sizeof alone.weights) != 0) {
            printf("thread %d ended with other bits\n", i);
            return 1;
        }
    }
    if (!as_ever(&alone))
        return 1;
    puts("same bits alone, side by side and whatever the host has set");
    return 0;
}
