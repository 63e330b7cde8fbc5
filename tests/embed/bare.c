/* SPDX-License-Identifier: BSD-2-Clause
 * bare.c: a host that is linked to nothing of ours loads the library, trains, unloads it,
 * twice. Afterwards it is as before: no thread left, floating point and signals untouched, not
 * mapped. */
#include <dlfcn.h>
#include <dirent.h>
#include <fenv.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "deepnet/deepnet.h"

static const char net_text[] =
    "layer { name: 'x' type: 'Input' top: 'x' input_param { shape { dim: 8 dim: 4 } } }"
    "layer { name: 'y' type: 'InnerProduct' bottom: 'x' top: 'y'"
    "  inner_product_param { num_output: 2 weight_filler { type: 'xavier' } } }"
    "layer { name: 't' type: 'Input' top: 't' input_param { shape { dim: 8 dim: 2 } } }"
    "layer { name: 'l' type: 'EuclideanLoss' bottom: 'y' bottom: 't' top: 'l' }";
static const char solver_text[] = "base_lr: 0.1 lr_policy: 'fixed'";

static int threads(void)
{
    DIR *folder = opendir("/proc/self/task");
    int count = 0;
    while (folder && readdir(folder))
        count++;
    if (folder)
        closedir(folder);
    return count - 2; /* . and .. */
}

/* How many are left, in the end: the kernel lists a thread for a moment after it was joined. */
static int threads_left(int own)
{
    const struct timespec nap = {.tv_nsec = 1000000};
    for (int i = 0; i < 10000 && threads() != own; i++)
        nanosleep(&nap, NULL);
    return threads() - own;
}

/* A denormal that survives: nobody switched flush-to-zero on. */
static int floats_are_whole(void)
{
    volatile float tiny = 1e-38f;
    tiny /= 16;
    return tiny != 0 && fegetround() == FE_TONEAREST;
}

/* What the process does with each signal. */
static void get_signals(void (*handlers[32])(int))
{
    struct sigaction action;
    for (int number = 1; number < 32; number++)
        handlers[number] = sigaction(number, NULL, &action) ? SIG_DFL : action.sa_handler;
}

static int same_signals(void (*const before[32])(int))
{
    void (*now[32])(int);
    get_signals(now);
    for (int number = 1; number < 32; number++)
        if (now[number] != before[number])
            return 0;
    return 1;
}

#define GET(name) *(void **)&p_##name = dlsym(library, #name)

static int train(void *library)
{
    dn_status (*p_dn_context_create)(dn_context **, const dn_context_options *);
    dn_status (*p_dn_solver_create_from_text)(dn_solver **, dn_context *, const char *, size_t,
                                              const char *, size_t, const dn_solver_options *);
    dn_status (*p_dn_solver_step)(dn_solver *, int64_t);
    void (*p_dn_solver_free)(dn_solver *);
    void (*p_dn_context_free)(dn_context *);
    const char *(*p_dn_last_error)(void);
    dn_context_options options = {.struct_size = sizeof options, .num_threads = 3};
    dn_context *context = NULL;
    dn_solver *solver = NULL;
    GET(dn_context_create);
    GET(dn_solver_create_from_text);
    GET(dn_solver_step);
    GET(dn_solver_free);
    GET(dn_context_free);
    GET(dn_last_error);
    if (p_dn_context_create(&context, &options) ||
        p_dn_solver_create_from_text(&solver, context, solver_text, sizeof solver_text - 1,
                                     net_text, sizeof net_text - 1, NULL) ||
        p_dn_solver_step(solver, 3)) {
        printf("%s\n", p_dn_last_error());
        return 1;
    }
    if (p_dn_solver_step(NULL, 1) == 0) /* a failure leaves its line in this thread */
        return 1;
    p_dn_solver_free(solver);
    p_dn_context_free(context);
    return 0;
}

int main(int argc, char **argv)
{
    void (*before[32])(int);
    int own_threads = threads();
    get_signals(before);
    for (int round = 0; round < 2 && argc == 2; round++) {
        void *library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
        if (!library) {
            printf("%s\n", dlerror());
            return 1;
        }
        if (train(library))
            return 1;
        dlclose(library);
        if (dlopen(argv[1], RTLD_NOW | RTLD_NOLOAD)) {
            puts("the library is still loaded after dlclose");
            return 1;
        }
        int left = threads_left(own_threads);
        if (left || !floats_are_whole() || !same_signals(before)) {
            printf("left behind: %d threads, floats %s, signals %s\n", left,
                   floats_are_whole() ? "whole" : "CHANGED",
                   same_signals(before) ? "as before" : "CHANGED");
            return 1;
        }
    }
    puts("loaded, trained, unloaded; nothing left behind");
    return argc == 2 ? 0 : 2;
}
