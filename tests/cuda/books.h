/* SPDX-License-Identifier: BSD-2-Clause
 * books.h: what the fakes count and are told, for the programs that hold the CUDA module to
 * account, and how these make a context, a solver and some steps on it. Each is run with
 * FOLDER CUBLAS CUDNN NCCL CUBLASLT, and begins with open_books. */
#ifndef DN_TESTS_CUDA_BOOKS_H
#define DN_TESTS_CUDA_BOOKS_H

#include <dlfcn.h>
#include <stdbool.h>

#include "fake_cuda.h"
#include "solver_text.h"

static const char *folder;
static fake_cuda_control *fake;
static long (*live)(void);
static void *(*current)(void *);
static void *(*stream_of)(int);
static long (*queued_in)(void *);
static void (**nccl_tells)(int, int, void *);
static void (**nccl_meddles)(void);
static int *nccl_slow;
static int (**dnn_opens)(void), (**dnn_plans)(void);
static long *dnn_runs, *dnn_trials, *dnn_narrow, *dnn_hasty, *dnn_rounded, *blas_unordered,
    *blas_types;
static long **nccl_loses, *nccl_aborted, *nccl_late, *nccl_half, *nccl_spares, *nccl_open,
    *blas_handles, *lt_runs, *lt_live;
static float images[DIGITS * DIGIT_SIZE], labels[DIGITS];

CHECK_UNUSED void *find(void *library, const char *name)
{
    void *at = library ? dlsym(library, name) : NULL;
    CHECK_AT(at != NULL, "%s is not to be found", name);
    if (!at)
        exit(check_summary());
    return at;
}

CHECK_UNUSED dn_context_options device_options(void)
{
    return (dn_context_options){.struct_size = sizeof(dn_context_options),
                                .device = 1,
                                .module_folder = folder,
                                .backends = "ref"};
}

CHECK_UNUSED dn_context *make_context(const dn_context_options *options)
{
    dn_context *context = NULL;
    CHECK_STATUS(dn_context_create(&context, options), DN_OK);
    if (!context)
        exit(check_summary());
    return context;
}

CHECK_UNUSED dn_solver *make(dn_context *context, int32_t compute)
{
    static const char text[] =
        "base_lr: 0.01 lr_policy: 'fixed' momentum: 0.9 max_iter: 99 random_seed: 1";
    dn_solver_options options = {.struct_size = sizeof options, .compute = compute};
    dn_solver *solver = make_solver(context, text, DIGITS_NET, &options);
    CHECK_STATUS(dn_net_set_memory_data(dn_solver_net(solver), NULL, images, labels, DIGITS),
                 DN_OK);
    return solver;
}

/* The weights after some steps. */
CHECK_UNUSED uint64_t train(const dn_context_options *options, int32_t compute, int64_t steps)
{
    dn_context *context = make_context(options);
    dn_solver *solver = make(context, compute);
    CHECK_STATUS(dn_solver_step(solver, steps), DN_OK);
    uint64_t hash = hash_weights(dn_solver_net(solver));
    dn_solver_free(solver);
    dn_context_free(context);
    CHECK_INT(live(), 0);
    return hash;
}

CHECK_UNUSED void note(void *user, int32_t level, const char *line)
{
    (void)level;
    snprintf(user, 512, "%s", line);
}

CHECK_UNUSED void open_books(int argc, char **argv)
{
    char path[4096];
    if (argc != 6)
        exit(2);
    folder = argv[1];
    snprintf(path, sizeof path, "%s/deepnet-cuda.so", folder);
    void *module = dlopen(path, RTLD_NOW), *blas = dlopen(argv[2], RTLD_NOW);
    void *dnn = dlopen(argv[3], RTLD_NOW), *nccl = dlopen(argv[4], RTLD_NOW);
    void *lt = dlopen(argv[5], RTLD_NOW);
    lt_runs = find(lt, "fake_lt_runs");
    lt_live = find(lt, "fake_lt_live");
    fake = find(module, "fake_cuda");
    *(void **)&live = find(module, "fake_cuda_live");
    *(void **)&current = find(module, "fake_cuda_current");
    *(void **)&stream_of = find(module, "fake_cuda_stream");
    *(void **)&queued_in = find(module, "fake_cuda_queued");
    dnn_runs = find(dnn, "fake_dnn_runs");
    dnn_trials = find(dnn, "fake_dnn_trials");
    dnn_narrow = find(dnn, "fake_dnn_narrow");
    dnn_hasty = find(dnn, "fake_dnn_hasty");
    dnn_rounded = find(dnn, "fake_dnn_rounded");
    *(void **)&dnn_opens = find(dnn, "fake_dnn_opens");
    *(void **)&dnn_plans = find(dnn, "fake_dnn_plans");
    blas_unordered = find(blas, "fake_blas_unordered");
    blas_types = find(blas, "fake_blas_types");
    blas_handles = find(blas, "fake_blas_handles");
    nccl_loses = find(nccl, "fake_nccl_loses");
    nccl_aborted = find(nccl, "fake_nccl_aborted");
    nccl_late = find(nccl, "fake_nccl_late");
    nccl_spares = find(nccl, "fake_nccl_spares");
    nccl_open = find(nccl, "fake_nccl_open");
    nccl_half = find(nccl, "fake_nccl_half");
    nccl_meddles = find(nccl, "fake_nccl_meddles");
    nccl_slow = find(nccl, "fake_nccl_slow");
    nccl_tells = find(nccl, "fake_nccl_tells");
    make_digits(images, labels);
}

#endif
