/* SPDX-License-Identifier: BSD-2-Clause
 * test_books.c: what the fakes counted: a net's convolutions and its updates ran through cuDNN,
 * in the host's stream where it brought one, and nothing is left on the device afterwards, nor
 * is another device the current one. test_books FOLDER CUDNN */
#include <dlfcn.h>

#include "solver_text.h"

static void *find(void *library, const char *name)
{
    void *at = library ? dlsym(library, name) : NULL;
    CHECK_AT(at != NULL, "%s is not to be found", name);
    if (!at)
        exit(check_summary());
    return at;
}

static void train(const char *folder, void *stream, long (*current)(int))
{
    static float images[DIGITS * DIGIT_SIZE], labels[DIGITS];
    static const char text[] =
        "base_lr: 0.01 lr_policy: 'fixed' momentum: 0.9 max_iter: 9 random_seed: 1";
    dn_solver_options none = {.struct_size = sizeof none};
    dn_context *context = NULL;
    dn_context_options o = {.struct_size = sizeof o,
                            .device = 1,
                            .device_stream = stream,
                            .module_folder = folder,
                            .backends = "ref"};
    CHECK_STATUS(dn_context_create(&context, &o), DN_OK);
    if (!context)
        exit(check_summary());
    dn_solver *solver = make_solver(context, text, DIGITS_NET, &none);
    CHECK_STATUS(dn_net_set_memory_data(dn_solver_net(solver), NULL, images, labels, DIGITS),
                 DN_OK);
    if (current)
        current(1); /* the host's own choice, which stands */
    CHECK_STATUS(dn_solver_step(solver, 3), DN_OK);
    CHECK_INT(current ? current(-1) : 1, 1);
    dn_solver_free(solver);
    dn_context_free(context);
}

int main(int argc, char **argv)
{
    char path[4096];
    if (argc != 3)
        return 2;
    SECTION("books");
    train(argv[1], NULL, NULL);
    snprintf(path, sizeof path, "%s/deepnet-cuda.so", argv[1]);
    void *module = dlopen(path, RTLD_NOW), *dnn = dlopen(argv[2], RTLD_NOW);
    long (*live)(void), (*current)(int);
    void *(*stream)(int);
    *(void **)&live = find(module, "fake_cuda_live");
    *(void **)&current = find(module, "fake_cuda_current");
    *(void **)&stream = find(module, "fake_cuda_stream");
    long *given = find(module, "fake_cuda_given"), *runs = find(dnn, "fake_dnn_runs");
    SECTION("the host's stream");
    CHECK_INT(*given, 0);
    train(argv[1], stream(0), current);
    CHECK(*given > 0);
    CHECK_AT(runs[0] + runs[3] > 0 && runs[1] > 0 && runs[2] > 0,
             "cuDNN ran %ld, %ld with bias and ReLU, %ld to the data, %ld to the weights",
             runs[0], runs[3], runs[1], runs[2]);
    CHECK_INT(live(), 0);
    return check_summary();
}
