/* SPDX-License-Identifier: BSD-2-Clause
 * test_files.c: each file operation fails once. This program's own open, read, write, ... stand
 * before the C library's, for deepnet and for the libraries it uses alike. */
#define _GNU_SOURCE /* RTLD_NEXT */
#include <deepnet/deepnet.h>

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>

#include "check.h"

/* ---- operations that fail ---------------------------------------------------------------- */

static atomic_long operations, fail_at; /* 0: none */

/* Counted while one is to fail; true once. */
static int fails(void)
{
    long at = atomic_load(&fail_at);
    return at && atomic_fetch_add(&operations, 1) + 1 == at;
}

static void *next(const char *name)
{
    void *found = dlsym(RTLD_NEXT, name);
    if (!found)
        abort();
    return found;
}

/* name: the symbol, which the headers may have made another than the function's name. */
#define REAL(type, name, ...)                                                                  \
    type (*real)(__VA_ARGS__);                                                                 \
    void *symbol = next(name);                                                                 \
    memcpy(&real, &symbol, sizeof real)

#define FAIL(error, value)                                                                     \
    if (fails()) {                                                                             \
        errno = error;                                                                         \
        return value;                                                                          \
    }

/* clang-format off */
int open(const char *path, int flags, ...)
{
    REAL(int, "open64", const char *, int, ...);
    va_list list;
    va_start(list, flags);
    mode_t mode = flags & O_CREAT ? (mode_t)va_arg(list, int) : 0;
    va_end(list);
    FAIL(EACCES, -1)
    return real(path, flags, mode);
}
ssize_t read(int fd, void *data, size_t size)
{
    REAL(ssize_t, "read", int, void *, size_t);
    FAIL(EIO, -1)
    return real(fd, data, size);
}
ssize_t pread(int fd, void *data, size_t size, off_t at)
{
    REAL(ssize_t, "pread64", int, void *, size_t, off_t);
    FAIL(EIO, -1)
    return real(fd, data, size, at);
}
ssize_t write(int fd, const void *data, size_t size)
{
    REAL(ssize_t, "write", int, const void *, size_t);
    FAIL(ENOSPC, -1)
    return real(fd, data, size);
}
ssize_t pwrite(int fd, const void *data, size_t size, off_t at)
{
    REAL(ssize_t, "pwrite64", int, const void *, size_t, off_t);
    FAIL(ENOSPC, -1)
    return real(fd, data, size, at);
}
int fsync(int fd)
{
    FAIL(EIO, -1)
    return 0; /* no power fails here, and the disk takes longer than all the rest */
}
int fdatasync(int fd)
{
    FAIL(EIO, -1)
    return 0;
}
int ftruncate(int fd, off_t size)
{
    REAL(int, "ftruncate64", int, off_t);
    FAIL(ENOSPC, -1)
    return real(fd, size);
}
int rename(const char *from, const char *to)
{
    REAL(int, "rename", const char *, const char *);
    FAIL(EACCES, -1)
    return real(from, to);
}
int mkdir(const char *path, mode_t mode)
{
    REAL(int, "mkdir", const char *, mode_t);
    FAIL(EACCES, -1)
    return real(path, mode);
}
int fstat(int fd, struct stat *info)
{
    REAL(int, "fstat64", int, struct stat *);
    FAIL(EIO, -1)
    return real(fd, info);
}
int close(int fd) /* the descriptor is gone all the same, as POSIX allows */
{
    REAL(int, "close", int);
    int result = real(fd);
    FAIL(EIO, -1)
    return result;
}
/* clang-format on */

/* ---- a life with files ------------------------------------------------------------------- */

static const char net_text[] =
    "layer { name: 'd' type: 'Data' top: 'data' top: 'label'\n"
    "  data_param { source: 'db' backend: LMDB batch_size: 4 } }\n"
    "layer { name: 'ip' type: 'InnerProduct' bottom: 'data' top: 'ip'\n"
    "  inner_product_param { num_output: 2 weight_filler { type: 'xavier' } } }\n"
    "layer { name: 'loss' type: 'SoftmaxWithLoss' bottom: 'ip' bottom: 'label' top: 'loss' }\n";

static const char solver_text[] = "net: 'net.prototxt' base_lr: 0.01 lr_policy: 'fixed'\n"
                                  "momentum: 0.9 max_iter: 20 snapshot_prefix: 'snap'\n";

static void write_solver(const char *more)
{
    char text[400];
    int n = snprintf(text, sizeof text, "%s%s", solver_text, more);
    check_write(check_path("solver.prototxt"), text, (size_t)n);
}

#define IMAGES 10
static void make_inputs(void)
{
    unsigned char images[16 + IMAGES * 9] = {0, 0, 8, 3, 0, 0, 0, IMAGES,
                                             0, 0, 0, 3, 0, 0, 0, 3};
    unsigned char labels[8 + IMAGES] = {0, 0, 8, 1, 0, 0, 0, IMAGES};
    for (size_t i = 16; i < sizeof images; i++)
        images[i] = (unsigned char)(i * 37);
    for (size_t i = 8; i < sizeof labels; i++)
        labels[i] = i % 2;
    check_write(check_path("images"), images, sizeof images);
    check_write(check_path("labels"), labels, sizeof labels);
    check_write(check_path("net.prototxt"), net_text, sizeof net_text - 1);
    write_solver("");
}

static int files_in(const char *path)
{
    DIR *folder = opendir(path);
    int count = 0;
    while (folder && readdir(folder))
        count++;
    if (folder)
        closedir(folder);
    return count;
}

typedef struct life {
    dn_context *context;
    dn_solver *solver;
    dn_net *net;
} life;

/* Until the first failure. Saved files have been there before: iteration 1's. */
static dn_status live(life *l, const char *form)
{
    const dn_convert_options over = {.struct_size = sizeof over, .overwrite = 1};
    dn_weights_report report = {.struct_size = sizeof report};
    char weights[32], state[32];
    snprintf(weights, sizeof weights, "s.caffemodel%s", form);
    snprintf(state, sizeof state, "s.solverstate%s", form);
    dn_status st = dn_convert_mnist(l->context, check_path("images"), check_path("labels"),
                                    check_path("db"), &over);
    if (!st)
        st = dn_net_create_from_prototxt(&l->net, l->context, check_path("net.prototxt"), NULL);
    if (!st)
        st = dn_solver_create_from_prototxt(&l->solver, l->context,
                                            check_path("solver.prototxt"), NULL);
    if (!st)
        st = dn_solver_restore(l->solver, check_path(state));
    if (!st)
        st = dn_solver_step(l->solver, 4);
    if (!st)
        st = dn_net_load_weights(l->net, check_path(weights), DN_WEIGHTS_STRICT, &report);
    if (!st)
        st =
            dn_net_save_weights(l->net, check_path(*form ? "w.caffemodel.h5" : "w.caffemodel"));
    return st ? st : dn_solver_snapshot(l->solver, check_path("s"));
}

static void check_restores(dn_context *context, const char *state, long i)
{
    dn_solver *solver = NULL;
    dn_status st =
        dn_solver_create_from_prototxt(&solver, context, check_path("solver.prototxt"), NULL);
    if (!st)
        st = dn_solver_restore(solver, check_path(state));
    int64_t iteration = solver ? dn_solver_iteration(solver) : -1;
    CHECK_AT(!st && (iteration == 1 || iteration == 5), "operation %ld: iteration %lld, %s", i,
             (long long)iteration, st ? dn_last_error() : "");
    dn_solver_free(solver);
}

/* The i-th operation fails; false when there are not that many. */
static int one_fails(long i, const char *form)
{
    check_heap heap = {0};
    dn_context_options options = {.struct_size = sizeof options,
                                  .alloc = check_alloc,
                                  .alloc_user = &heap,
                                  .num_threads = 1};
    life l = {0};
    char state[32];
    snprintf(state, sizeof state, "s.solverstate%s", form);
    CHECK_STATUS(dn_context_create(&l.context, &options), DN_OK);
    CHECK_STATUS(dn_solver_create_from_prototxt(&l.solver, l.context,
                                                check_path("solver.prototxt"), NULL),
                 DN_OK);
    CHECK_STATUS(dn_solver_step(l.solver, 1), DN_OK);
    CHECK_STATUS(dn_solver_snapshot(l.solver, check_path("s")), DN_OK);
    dn_solver_free(l.solver);
    l.solver = NULL;
    int before = files_in(check_folder()), open_files = files_in("/proc/self/fd");
    atomic_store(&operations, 0);
    atomic_store(&fail_at, i);
    dn_status st = live(&l, form);
    const char *line = dn_last_error();
    CHECK_AT(!st == !line && (!st || st == DN_E_IO || st == DN_E_PARSE || st == DN_E_DATA),
             "operation %ld: %s, %s", i, dn_status_name(st), line ? line : "no line");
    CHECK_AT(!line || (line[0] && !strchr(line, '\n')), "operation %ld: %s", i,
             line ? line : "no line");
    dn_net_free(l.net);
    dn_solver_free(l.solver);
    int counted = atomic_load(&operations) >= i;
    atomic_store(&fail_at, 0);
    CHECK_AT(files_in(check_folder()) <= before + 1, "operation %ld leaves files beside", i);
    CHECK_AT(files_in("/proc/self/fd") == open_files, "operation %ld leaves files open", i);
    check_restores(l.context, state, i);
    l.net = NULL, l.solver = NULL;
    CHECK_STATUS(live(&l, form), DN_OK); /* and all is well the next time */
    dn_net_free(l.net);
    dn_solver_free(l.solver);
    dn_context_free(l.context);
    CHECK_HEAP_CLEAN(&heap);
    return counted;
}

int main(void)
{
    dn_context *context = NULL;
    long i = 1;
    make_inputs();
    CHECK(!chdir(check_folder()));
    CHECK_STATUS(dn_context_create(&context, NULL), DN_OK);
    dn_status st = dn_convert_mnist(context, "images", "labels", "db", NULL);
    dn_context_free(context);
    if (st == DN_E_UNSUPPORTED) { /* without LMDB there is nothing to make fail */
        CHECK(1);
        return check_summary();
    }
    CHECK_INT(st, DN_OK);
    SECTION("each file operation fails");
    while (one_fails(i, ""))
        i++;
    CHECK(i > 40);
    printf("%ld file operations\n", i - 1);
    SECTION("each file operation fails, HDF5");
    write_solver("snapshot_format: HDF5");
    for (i = 1; one_fails(i, ".h5");)
        i++;
    CHECK(i > 40);
    printf("%ld file operations with HDF5\n", i - 1);
    return check_summary();
}
