/* SPDX-License-Identifier: BSD-2-Clause
 * modules.c: backends that are found at run time: by themselves, by name, by path; missing and
 * broken ones. A module must leave the host's OpenMP as it was and start no team of its own.
 * Usage: modules FOLDER NAME */
#define _GNU_SOURCE /* RTLD_NOLOAD */
#include <dlfcn.h>

#include "deepnet/deepnet.h"
#include "check.h"

static const char net_text[] =
    "layer { name: 'x' type: 'Input' top: 'x' input_param { shape { dim: 8 dim: 32 dim: 20"
    "  dim: 20 } } }"
    "layer { name: 'c' type: 'Convolution' bottom: 'x' top: 'c' convolution_param {"
    "  num_output: 64 kernel_size: 3 pad: 1 weight_filler { type: 'xavier' } } }";

static char warning[512];

static void keep_line(void *user, int32_t level, const char *line)
{
    (void)user;
    if (level == DN_LOG_WARNING)
        snprintf(warning, sizeof warning, "%s", line);
}

static dn_context *open_chain(const char *folder, const char *names)
{
    dn_context *context = NULL;
    dn_context_options o = {.struct_size = sizeof o,
                            .num_threads = 2,
                            .log = keep_line,
                            .module_folder = folder,
                            .backends = names};
    warning[0] = 0;
    CHECK_STATUS(dn_context_create(&context, &o), DN_OK);
    return context;
}

static void test_found(const char *folder, const char *name)
{
    char path[4096];
    SECTION("found");
    snprintf(path, sizeof path, "%s/deepnet-%s.so", folder, name);
    const char *const chains[] = {NULL, name, path};
    for (int i = 0; i < 3; i++) {
        dn_context *context = open_chain(folder, chains[i]);
        CHECK_AT(context && !strncmp(dn_context_backend(context, 0), name, strlen(name)),
                 "%s comes first", name);
        CHECK_TEXT(warning, "");
        dn_context_free(context);
    }
}

static void test_absent(const char *name)
{
    dn_context *context = NULL;
    dn_context_options o = {
        .struct_size = sizeof o, .module_folder = "/nowhere", .backends = name};
    SECTION("absent");
    CHECK_MESSAGE(dn_context_create(&context, &o), DN_E_NOTFOUND, name);
    CHECK(dn_last_error() && !strstr(dn_last_error(), ".so: ")); /* the path is said once */
    context = open_chain("/nowhere", NULL);
    CHECK_TEXT(warning, "");
    CHECK(context && strncmp(dn_context_backend(context, 0), name, strlen(name)));
    dn_context_free(context);
}

static void test_broken(const char *name)
{
    char file[512];
    const char *folder = check_path("modules");
    dn_context *context = NULL;
    dn_context_options o = {.struct_size = sizeof o, .module_folder = folder, .backends = name};
    SECTION("broken");
    CHECK_INT(mkdir(folder, 0700), 0);
    snprintf(file, sizeof file, "%s/deepnet-%s.so", folder, name);
    FILE *f = fopen(file, "w");
    CHECK(f && fputs("no module\n", f) >= 0 && !fclose(f));
    CHECK_MESSAGE(dn_context_create(&context, &o), DN_E_NOTFOUND, name);
    context = open_chain(folder, NULL);
    CHECK(context && strstr(warning, name));
    dn_context_free(context);
    remove(file);
    remove(folder);
}

static int count_threads(void)
{
    int count = 0;
    DIR *tasks = opendir("/proc/self/task");
    while (tasks && readdir(tasks))
        count++;
    if (tasks)
        closedir(tasks);
    return count;
}

/* The OpenMP that the module brought, if it did; its setting of this thread. */
static void test_team(const char *folder, const char *name)
{
    int (*get)(void) = NULL;
    void (*set)(int) = NULL;
    dn_net *net = NULL;
    SECTION("team");
    char chain[300];
    snprintf(chain, sizeof chain, "%s,ref", name);
    dn_context *context = open_chain(folder, chain);
    void *openmp = dlopen("libgomp.so.1", RTLD_NOW | RTLD_NOLOAD);
    void *symbol = openmp ? dlsym(openmp, "omp_get_max_threads") : NULL;
    memcpy(&get, &symbol, sizeof get);
    symbol = openmp ? dlsym(openmp, "omp_set_num_threads") : NULL;
    memcpy(&set, &symbol, sizeof set);
    if (set)
        set(5);
    CHECK_STATUS(dn_net_create_from_text(&net, context, net_text, sizeof net_text - 1, NULL),
                 DN_OK);
    int before = count_threads();
    for (int i = 0; i < 3 && net; i++)
        CHECK_STATUS(dn_net_forward(net, NULL), DN_OK);
    /* the context's own worker may have come, and a sanitizer's; a team would be four */
    CHECK_AT(count_threads() <= before + 2, "%d threads came", count_threads() - before);
    CHECK_INT(get ? get() : 5, 5);
    dn_net_free(net);
    dn_context_free(context);
    if (openmp)
        dlclose(openmp);
}

/* What is measured for one net holds for the next of its shapes: the same bits. */
static void test_tune(const char *folder, const char *name)
{
    dn_context *context = NULL;
    dn_net *net[2] = {NULL, NULL};
    static float y[2][8 * 64 * 20 * 20];
    SECTION("tune");
    char chain[300];
    snprintf(chain, sizeof chain, "%s,cpu,ref", name);
    dn_context_options o = {.struct_size = sizeof o,
                            .num_threads = 2,
                            .tune = 2,
                            .module_folder = folder,
                            .backends = chain};
    CHECK_MESSAGE(dn_context_create(&context, &o), DN_E_INVALID, "tune");
    o.tune = 1;
    CHECK_STATUS(dn_context_create(&context, &o), DN_OK);
    for (int i = 0; i < 2; i++) {
        CHECK_STATUS(
            dn_net_create_from_text(&net[i], context, net_text, sizeof net_text - 1, NULL),
            DN_OK);
        float *x = dn_blob_mutable_data(dn_net_blob(net[i], "x"));
        for (int k = 0; k < 8 * 32 * 20 * 20; k++)
            x[k] = (float)(k % 13) / 13;
        CHECK_STATUS(dn_net_forward(net[i], NULL), DN_OK);
        CHECK_STATUS(dn_blob_read(dn_net_blob(net[i], "c"), y[i], 8 * 64 * 20 * 20), DN_OK);
    }
    CHECK(!memcmp(y[0], y[1], sizeof y[0]));
    dn_net_free(net[0]);
    dn_net_free(net[1]);
    dn_context_free(context);
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    test_found(argv[1], argv[2]);
    test_absent(argv[2]);
    test_broken(argv[2]);
    test_team(argv[1], argv[2]);
    test_tune(argv[1], argv[2]);
    return check_summary();
}
