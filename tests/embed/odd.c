/* SPDX-License-Identifier: BSD-2-Clause
 * odd.c: hosts that are unlike others: threads with a stack of 64 KB, and two copies of the
 * library in one process, each loaded for itself (two plug-ins that bring it). All train to the
 * same bits. Usage: odd LIBRARY */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <sys/resource.h>
#include <unistd.h>

#include "check.h"
#include "deepnet/deepnet.h"

enum { SMALL = 65536 };

/* What takes most stack: convolutions, their gradients, pooling, LRN, the text reader. */
static const char net_text[] =
    "layer { name: 'x' type: 'Input' top: 'x' top: 't' input_param { "
    "shape { dim: 4 dim: 3 dim: 28 dim: 28 } shape { dim: 4 } } } "
    "layer { name: 'a' type: 'Convolution' bottom: 'x' top: 'a' convolution_param { "
    "num_output: 32 kernel_size: 5 pad: 2 weight_filler { type: 'xavier' } } } "
    "layer { name: 'r' type: 'ReLU' bottom: 'a' top: 'a' } "
    "layer { name: 'n' type: 'LRN' bottom: 'a' top: 'n' } "
    "layer { name: 'p' type: 'Pooling' bottom: 'n' top: 'p' "
    "pooling_param { kernel_size: 3 stride: 2 } } "
    "layer { name: 'b' type: 'Convolution' bottom: 'p' top: 'b' convolution_param { "
    "num_output: 64 kernel_size: 3 pad: 1 weight_filler { type: 'xavier' } } } "
    "layer { name: 's' type: 'BatchNorm' bottom: 'b' top: 'b' } "
    "layer { name: 'c' type: 'Convolution' bottom: 'b' top: 'c' convolution_param { "
    "num_output: 64 kernel_size: 1 weight_filler { type: 'xavier' } } } "
    "layer { name: 'd' type: 'Convolution' bottom: 'c' top: 'd' convolution_param { group: 64 "
    "num_output: 64 kernel_size: 3 weight_filler { type: 'xavier' } } } "
    "layer { name: 'i' type: 'InnerProduct' bottom: 'd' top: 'i' inner_product_param { "
    "num_output: 10 weight_filler { type: 'xavier' } } } "
    "layer { name: 'l' type: 'SoftmaxWithLoss' bottom: 'i' bottom: 't' top: 'l' } ";
static const char solver_text[] = "base_lr: 0.01 momentum: 0.9 lr_policy: 'fixed' random_seed: "
                                  "5 snapshot_format: BINARYPROTO";

typedef struct job {
    void *library;
    const char *snapshot;
    float loss;
    dn_status status;
} job;

#define GET(name)                                                                              \
    __typeof__(name) *p_##name;                                                                \
    *(void **)&p_##name = dlsym(j->library, #name)

static void *train(void *arg)
{
    job *j = arg;
    GET(dn_context_create);
    GET(dn_context_free);
    GET(dn_solver_create_from_text);
    GET(dn_solver_free);
    GET(dn_solver_net);
    GET(dn_solver_step);
    GET(dn_solver_loss);
    GET(dn_solver_snapshot);
    GET(dn_net_blob);
    GET(dn_blob_write);
    GET(dn_last_error);
    static float images[4 * 3 * 28 * 28];
    static const float labels[4] = {1, 2, 3, 4};
    dn_context_options options = {.struct_size = sizeof options, .num_threads = 2};
    dn_context *context = NULL;
    dn_solver *solver = NULL;
    j->status = p_dn_context_create(&context, &options);
    if (!j->status)
        j->status =
            p_dn_solver_create_from_text(&solver, context, solver_text, sizeof solver_text - 1,
                                         net_text, sizeof net_text - 1, NULL);
    for (int i = 0; !j->status && i < 3; i++) {
        dn_net *net = p_dn_solver_net(solver);
        j->status =
            p_dn_blob_write(p_dn_net_blob(net, "x"), images, sizeof images / sizeof *images);
        if (!j->status)
            j->status = p_dn_blob_write(p_dn_net_blob(net, "t"), labels, 4);
        if (!j->status)
            j->status = p_dn_solver_step(solver, 1);
    }
    if (!j->status)
        j->status = p_dn_solver_snapshot(solver, j->snapshot);
    if (j->status)
        printf("%s\n", p_dn_last_error());
    else
        j->loss = p_dn_solver_loss(solver);
    p_dn_solver_free(solver);
    p_dn_context_free(context);
    return NULL;
}

/* In a thread with that much stack; 0: what the system gives. */
static float loss_of(void *library, size_t stack)
{
    job j = {.library = library, .snapshot = check_path("odd"), .status = -1};
    pthread_attr_t attributes;
    pthread_t thread;
    pthread_attr_init(&attributes);
    if (stack)
        CHECK_INT(pthread_attr_setstacksize(&attributes, stack), 0);
    CHECK_INT(pthread_create(&thread, &attributes, train, &j), 0);
    pthread_join(thread, NULL);
    pthread_attr_destroy(&attributes);
    CHECK_INT(j.status, 0);
    return j.loss;
}

static void *load(const char *path)
{
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    CHECK_AT(library != NULL, "%s", dlerror());
    if (!library)
        exit(check_summary());
    return library;
}

/* Another file, so that the loader does not hand out the first again. */
static void *load_copy(const char *path)
{
    static char buffer[65536];
    size_t size;
    FILE *from = fopen(path, "rb"), *to = fopen(check_path("libcopy.so"), "wb");
    while (from && to && (size = fread(buffer, 1, sizeof buffer, from)) > 0)
        CHECK(fwrite(buffer, 1, size, to) == size);
    CHECK(from && to && fclose(from) == 0 && fclose(to) == 0);
    return load(check_path("libcopy.so"));
}

int main(int argc, char **argv)
{
    struct rlimit limit = {SMALL, SMALL};
    if (argc < 2)
        return 2;
    /* A process that begins with the limit gives it to its threads, so to the library's. */
    if (argc == 2 && setrlimit(RLIMIT_STACK, &limit) == 0)
        execl("/proc/self/exe", argv[0], argv[1], "limited", NULL);
    void *library = load(argv[1]);

    SECTION("small stacks");
    CHECK_INT(argc, 3);
    float loss = loss_of(library, SMALL);
    CHECK(loss > 0);
    CHECK(loss_of(library, 8 << 20) == loss);

    SECTION("two copies");
    void *copy = load_copy(argv[1]);
    CHECK(copy != library);
    CHECK(loss_of(copy, 0) == loss);
    CHECK(loss_of(library, 0) == loss);
    dlclose(library);
    CHECK(loss_of(copy, 0) == loss);
    dlclose(copy);
    return check_summary();
}
