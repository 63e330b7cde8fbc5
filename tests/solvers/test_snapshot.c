/* SPDX-License-Identifier: BSD-2-Clause
 * test_snapshot.c: files of a solver: where they go, what a full disk leaves, what is
 * refused and changes nothing, snapshots of Caffe; and every allocation that fails once on
 * the way. */
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "solver_text.h"

#define ADAM "base_lr: 0.01 lr_policy: 'fixed' type: 'Adam' momentum: 0.9 random_seed: 4 "

static dn_solver *make_adam(dn_context *context, const char *more)
{
    char text[512];
    snprintf(text, sizeof text, ADAM "%s", more);
    dn_solver *solver = make_solver(context, text, SMALL_NET, NULL);
    fill_small(solver);
    return solver;
}

/* ---- names ------------------------------------------------------------------------------ */

static void check_names(dn_context *context)
{
    char prefix[512];
    const char *prototxt = check_path("my.solver.prototxt");
    CHECK(!mkdir(check_path("names"), 0777));
    snprintf(prefix, sizeof prefix, "snapshot_prefix: '%s'", check_path("names"));
    dn_solver *solver = make_adam(context, prefix);
    CHECK_STATUS(dn_solver_snapshot(solver, NULL), DN_OK);
    CHECK(!access(check_path("names/solver_iter_0.solverstate"), R_OK));
    dn_solver_free(solver);

    static const char text[] = ADAM "net: 'small.prototxt'";
    check_write(prototxt, text, sizeof text - 1);
    check_write(check_path("small.prototxt"), SMALL_NET, sizeof SMALL_NET - 1);
    solver = NULL;
    CHECK_STATUS(dn_solver_create_from_prototxt(&solver, context, prototxt, NULL), DN_OK);
    CHECK_STATUS(dn_solver_snapshot(solver, NULL), DN_OK);
    CHECK(!access(check_path("my.solver_iter_0.caffemodel"), R_OK));
    dn_solver_free(solver);
}

/* A name as long as the file system takes leaves no room for an ending while it is written. */
static void check_long_names(dn_context *context)
{
    char name[264], model[264];
    struct stat info;
    dn_solver *solver = make_adam(context, "");
    CHECK(!mkdir(check_path("long"), 0777));
    for (int size = 226; size <= 243; size++) { /* and .solverstate */
        snprintf(name, sizeof name, "long/%0*d", size, 1);
        CHECK_STATUS(dn_solver_snapshot(solver, check_path(name)), DN_OK);
    }
    CHECK_INT(check_entries(check_path("long")), 2 * 18);
    snprintf(name, sizeof name, "long/%0*d", 244, 1);
    snprintf(model, sizeof model, "long/%0*d.caffemodel", 244, 1); /* which fits */
    check_write(check_path(model), "old", 3);
    CHECK_STATUS(dn_solver_snapshot(solver, check_path(name)), DN_E_IO);
    CHECK(!stat(check_path(model), &info) && info.st_size == 3);
    CHECK_INT(check_entries(check_path("long")), 2 * 18 + 1);
    dn_solver_free(solver);
}

/* The weights are found beside the state even when both were moved. */
static void check_moved(dn_context *context)
{
    dn_solver *solver = make_adam(context, "");
    CHECK_STATUS(dn_solver_step(solver, 3), DN_OK);
    CHECK_STATUS(dn_solver_snapshot(solver, check_path("here")), DN_OK);
    uint64_t hash = hash_weights(dn_solver_net(solver));
    CHECK(!mkdir(check_path("there"), 0777));
    CHECK(!rename(check_path("here.solverstate"), check_path("there/here.solverstate")));
    CHECK(!rename(check_path("here.caffemodel"), check_path("there/here.caffemodel")));
    CHECK_STATUS(dn_solver_step(solver, 2), DN_OK);
    CHECK_STATUS(dn_solver_restore(solver, check_path("there/here.solverstate")), DN_OK);
    CHECK(hash_weights(dn_solver_net(solver)) == hash);
    CHECK_INT(dn_solver_iteration(solver), 3);
    dn_solver_free(solver);
}

/* A weight that is not trained has a history of zeros in the file, as in Caffe: who trains it
 * then goes on as with none. form: ".h5" or "". */
static void check_frozen(dn_context *context, const char *more, const char *form)
{
    char text[512], path[512], frozen[] = SMALL_NET;
    memcpy(strstr(frozen, "lr_mult: 1"), "lr_mult: 0", 10);
    snprintf(text, sizeof text, ADAM "%s", more);
    snprintf(path, sizeof path, "%s.solverstate%s", check_path("frozen"), form);
    dn_solver *solver = make_solver(context, text, frozen, NULL);
    dn_solver *fresh = make_adam(context, more), *used = make_adam(context, more);
    CHECK_STATUS(dn_solver_snapshot(solver, check_path("frozen")), DN_OK);
    CHECK_STATUS(dn_solver_step(used, 3), DN_OK); /* what it has kept is to go */
    CHECK_STATUS(dn_solver_restore(used, path), DN_OK);
    snprintf(path, sizeof path, "%s.caffemodel%s", check_path("frozen"), form);
    CHECK_STATUS(dn_net_load_weights(dn_solver_net(fresh), path, DN_WEIGHTS_STRICT, NULL),
                 DN_OK);
    CHECK_STATUS(dn_solver_step(fresh, 2), DN_OK);
    CHECK_STATUS(dn_solver_step(used, 2), DN_OK);
    CHECK(hash_weights(dn_solver_net(used)) == hash_weights(dn_solver_net(fresh)));
    dn_solver_free(solver);
    dn_solver_free(fresh);
    dn_solver_free(used);
}

/* The last losses come with the state, before there are as many as the mean is of as well, and
 * where it is of fewer than were kept. */
static void check_losses(dn_context *context)
{
    dn_solver *five = make_adam(context, "average_loss: 5"), *again = NULL;
    dn_solver *two = make_adam(context, "average_loss: 2");
    for (int i = 0; i < 2; i++) {
        CHECK_STATUS(dn_solver_step(five, 2), DN_OK);
        CHECK_STATUS(dn_solver_step(two, 2), DN_OK);
        CHECK_STATUS(dn_solver_snapshot(five, check_path("losses")), DN_OK);
        again = make_adam(context, i ? "average_loss: 2" : "average_loss: 5");
        CHECK_STATUS(dn_solver_restore(again, check_path("losses.solverstate")), DN_OK);
        CHECK(dn_solver_loss(again) == dn_solver_loss(i ? two : five));
        dn_solver_free(again);
    }
    dn_solver_free(five);
    dn_solver_free(two);
}

/* What test nets have come to means nothing to a solver without any. */
static void check_fewer_tests(dn_context *context)
{
    dn_solver *tests = make_adam(context, "test_iter: 1 test_interval: 100");
    dn_solver *none = make_adam(context, "");
    CHECK_STATUS(dn_solver_step(tests, 1), DN_OK);
    CHECK_STATUS(dn_solver_snapshot(tests, check_path("tests")), DN_OK);
    CHECK_STATUS(dn_solver_restore(none, check_path("tests.solverstate")), DN_OK);
    CHECK_INT(dn_solver_iteration(none), 1);
    dn_solver_free(tests);
    dn_solver_free(none);
}

/* Another process writes what the file has into a pipe at "pipe". */
static pid_t pipe_from(const char *path)
{
    char bytes[65536];
    size_t size = 0;
    FILE *file = fopen(path, "rb");
    if (file) {
        size = fread(bytes, 1, sizeof bytes, file);
        fclose(file);
    }
    unlink(check_path("pipe"));
    CHECK(size && size < sizeof bytes && mkfifo(check_path("pipe"), 0600) == 0);
    pid_t child = fork();
    if (child)
        return child;
    int fd = open(check_path("pipe"), O_WRONLY);
    _exit(fd < 0 || write(fd, bytes, size) != (ssize_t)size);
}

static void check_hdf5(dn_context *context)
{
    dn_solver *solver = make_adam(context, "snapshot_format: HDF5 average_loss: 3");
    CHECK_STATUS(dn_solver_step(solver, 4), DN_OK);
    dn_status st = dn_solver_snapshot(solver, check_path("five"));
    if (st == DN_E_UNSUPPORTED) { /* a build without HDF5 */
        CHECK(strstr(dn_last_error(), "without HDF5") != NULL);
        dn_solver_free(solver);
        return;
    }
    CHECK_STATUS(st, DN_OK);
    check_frozen(context, "snapshot_format: HDF5", ".h5");
    CHECK_STATUS(dn_solver_step(solver, 3), DN_OK);
    uint64_t hash = hash_weights(dn_solver_net(solver));
    float loss = dn_solver_loss(solver);
    CHECK_STATUS(dn_solver_restore(solver, check_path("five.solverstate.h5")), DN_OK);
    CHECK_INT(dn_solver_iteration(solver), 4);
    CHECK_STATUS(dn_solver_step(solver, 3), DN_OK);
    CHECK(hash_weights(dn_solver_net(solver)) == hash && dn_solver_loss(solver) == loss);
    CHECK_STATUS(dn_solver_restore(solver, check_path("five.caffemodel.h5")), DN_E_PARSE);
    SECTION("HDF5 through a pipe");
    alarm(60);
    pid_t writer = pipe_from(check_path("five.solverstate.h5"));
    CHECK_STATUS(dn_solver_restore(solver, check_path("pipe")), DN_OK);
    CHECK(waitpid(writer, NULL, 0) == writer);
    CHECK_STATUS(dn_solver_step(solver, 3), DN_OK);
    CHECK(hash_weights(dn_solver_net(solver)) == hash);
    CHECK_STATUS(dn_net_save_weights(dn_solver_net(solver), check_path("now.h5")), DN_OK);
    CHECK_STATUS(dn_solver_step(solver, 1), DN_OK);
    writer = pipe_from(check_path("now.h5"));
    CHECK_STATUS(
        dn_net_load_weights(dn_solver_net(solver), check_path("pipe"), DN_WEIGHTS_STRICT, NULL),
        DN_OK);
    CHECK(waitpid(writer, NULL, 0) == writer);
    CHECK(hash_weights(dn_solver_net(solver)) == hash);
    alarm(0);
    dn_solver_free(solver);
}

/* ---- a full disk ------------------------------------------------------------------------ */

static void limit_files(rlim_t bytes)
{
    struct rlimit limit;
    getrlimit(RLIMIT_FSIZE, &limit);
    limit.rlim_cur = bytes;
    setrlimit(RLIMIT_FSIZE, &limit);
}

static void check_full_disk(dn_context *context)
{
    CHECK(!mkdir(check_path("full"), 0777));
    dn_solver *solver = make_adam(context, "");
    CHECK_STATUS(dn_solver_step(solver, 1), DN_OK);
    CHECK_STATUS(dn_solver_snapshot(solver, check_path("full/s")), DN_OK);
    uint64_t hash = hash_weights(dn_solver_net(solver));
    CHECK_STATUS(dn_solver_step(solver, 1), DN_OK);
    for (rlim_t bytes = 0; bytes < 2048; bytes += 64) {
        limit_files(bytes);
        dn_status st = dn_solver_snapshot(solver, check_path("full/s"));
        limit_files(RLIM_INFINITY);
        if (!st)
            break;
        CHECK_AT(st == DN_E_IO && strstr(dn_last_error(), "snapshot: "), "at %d bytes: %s",
                 (int)bytes, dn_last_error());
        CHECK_INT(check_entries(check_path("full")), 2);
        dn_solver *other = make_adam(context, "");
        CHECK_STATUS(dn_solver_restore(other, check_path("full/s.solverstate")), DN_OK);
        CHECK(hash_weights(dn_solver_net(other)) == hash);
        CHECK_INT(dn_solver_iteration(other), 1);
        dn_solver_free(other);
    }
    CHECK_STATUS(dn_solver_snapshot(solver, check_path("full/s")), DN_OK);
    CHECK_MESSAGE(dn_solver_snapshot(solver, check_path("no/such/s")), DN_E_IO, "no/such");
    CHECK(!mkdir(check_path("taken"), 0777));
    CHECK(!mkdir(check_path("taken/s.caffemodel"), 0777)); /* which no file can replace */
    CHECK_MESSAGE(dn_solver_snapshot(solver, check_path("taken/s")), DN_E_IO, "rename");
    CHECK_INT(check_entries(check_path("taken")), 1);
    dn_solver_free(solver);
}

/* ---- refusals --------------------------------------------------------------------------- */

static void refuse(dn_solver *solver, const char *path, dn_status status, const char *part)
{
    uint64_t hash = hash_weights(dn_solver_net(solver));
    int64_t iteration = dn_solver_iteration(solver);
    CHECK_MESSAGE(dn_solver_restore(solver, path), status, part);
    CHECK_INT(dn_solver_iteration(solver), iteration);
    CHECK(hash_weights(dn_solver_net(solver)) == hash);
}

/* What "good.solverstate" holds. */
static size_t read_good(char bytes[8192])
{
    FILE *file = fopen(check_path("good.solverstate"), "rb");
    size_t size = file ? fread(bytes, 1, 8192, file) : 0;
    if (file)
        fclose(file);
    CHECK(size > 100 && size < 8192);
    return size;
}

static void check_cut(dn_solver *solver)
{
    static char bytes[8192];
    size_t size = read_good(bytes);
    for (size_t cut = 1; cut < size; cut += 97) {
        check_write(check_path("cut.solverstate"), bytes, cut);
        dn_status st = dn_solver_restore(solver, check_path("cut.solverstate"));
        CHECK_AT(st == DN_E_PARSE || st == DN_E_DATA || st == DN_E_IO, "cut at %zu: %s", cut,
                 dn_status_name(st));
    }
    check_write(check_path("cut.solverstate"), bytes, size - 1); /* in a history */
    refuse(solver, check_path("cut.solverstate"), DN_E_PARSE, "cut.solverstate");
}

/* A state of Caffe's has an int of 32 bits for the iteration. */
static void check_last(dn_solver *solver)
{
    static char bytes[8192 + 6];
    size_t size = read_good(bytes);
    memcpy(bytes + size, "\x08\xff\xff\xff\xff\x07", 6); /* iter: INT32_MAX */
    check_write(check_path("last.solverstate"), bytes, size + 6);
    CHECK_STATUS(dn_solver_restore(solver, check_path("last.solverstate")), DN_OK);
    CHECK_STATUS(dn_solver_snapshot(solver, check_path("end")), DN_OK);
    CHECK_STATUS(dn_solver_step(solver, 1), DN_OK);
    CHECK_MESSAGE(dn_solver_snapshot(solver, check_path("end")), DN_E_LIMIT,
                  "iteration 2147483648");
    CHECK_MESSAGE(dn_solver_step(solver, INT64_MAX), DN_E_INVALID, "iterations");
}

/* A step that the net could not count on from. */
static void check_counts(dn_solver *solver)
{
    static char bytes[8192 + 16];
    static const char fields[3][3] = {"\x90\xe2\x09", "\xa8\xe2\x09", /* net's, a test's */
                                      "\xb8\xe2\x09"};                /* plateau's since */
    size_t size = read_good(bytes);
    for (int i = 0; i < 3; i++) {
        memcpy(bytes + size, "\x8a\xe2\x09\x0c", 4); /* deepnet, of 12 bytes: INT64_MAX */
        memcpy(bytes + size + 4, fields[i], 3);
        memcpy(bytes + size + 7, "\xff\xff\xff\xff\xff\xff\xff\xff\x7f", 9);
        check_write(check_path("far.solverstate"), bytes, size + 16);
        refuse(solver, check_path("far.solverstate"), DN_E_DATA,
               i < 2 ? "random_step" : "least loss");
    }
}

static void check_refusals(dn_context *context)
{
    char wide[] = SMALL_NET;
    dn_solver *adam = make_adam(context, "");
    dn_solver *sgd = make_solver(context, "base_lr: 1 lr_policy: 'fixed'", SMALL_NET, NULL);
    CHECK_STATUS(dn_solver_step(adam, 2), DN_OK);
    CHECK_STATUS(dn_solver_snapshot(adam, check_path("good")), DN_OK);
    refuse(sgd, check_path("good.solverstate"), DN_E_DATA, "8 histories");
    refuse(adam, check_path("good.caffemodel"), DN_E_PARSE, "good.caffemodel");
    refuse(adam, check_path("absent.solverstate"), DN_E_IO, "absent");
    memcpy(strstr(wide, "num_output: 5"), "num_output: 7", 13);
    dn_solver *other = make_solver(context, ADAM, wide, NULL);
    refuse(other, check_path("good.solverstate"), DN_E_DATA,
           "the history of weight 'ip1/0' has 30 values, not 42");
    dn_solver_free(other);
    check_cut(adam);
    check_counts(adam);
    check_last(adam);
    remove(check_path("good.caffemodel"));
    refuse(adam, check_path("good.solverstate"), DN_E_IO, "good.caffemodel");
    CHECK_STATUS(dn_solver_restore(adam, NULL), DN_E_INVALID);
    CHECK_STATUS(dn_solver_step(adam, 1), DN_OK);
    dn_solver_free(adam);
    dn_solver_free(sgd);
}

/* A data layer that went to the state's place goes back when the rest cannot be read. */
static void check_place(dn_context *context)
{
    static float images[DIGITS * DIGIT_SIZE], labels[DIGITS];
    dn_solver *solver[2];
    make_digits(images, labels);
    for (int i = 0; i < 2; i++) {
        solver[i] = make_solver(context, ADAM, DIGITS_NET, NULL);
        CHECK_STATUS(
            dn_net_set_memory_data(dn_solver_net(solver[i]), NULL, images, labels, DIGITS),
            DN_OK);
        CHECK_STATUS(dn_solver_step(solver[i], 2), DN_OK);
    }
    CHECK_STATUS(dn_solver_snapshot(solver[0], check_path("place")), DN_OK);
    remove(check_path("place.caffemodel"));
    for (int i = 0; i < 2; i++) {
        CHECK_STATUS(dn_solver_step(solver[i], 1), DN_OK);
        if (i == 0)
            refuse(solver[i], check_path("place.solverstate"), DN_E_IO, "place.caffemodel");
        CHECK_STATUS(dn_solver_step(solver[i], 1), DN_OK);
    }
    CHECK(hash_weights(dn_solver_net(solver[0])) == hash_weights(dn_solver_net(solver[1])));
    dn_solver_free(solver[0]);
    dn_solver_free(solver[1]);
}

/* ---- Caffe's own ------------------------------------------------------------------------ */

static void check_caffe(dn_context *context)
{
    dn_solver *solver = NULL;
    const char *prototxt = REFERENCE "/sgd_multistep/solver.prototxt";
    CHECK_STATUS(dn_solver_create_from_prototxt(&solver, context, prototxt, NULL), DN_OK);
    if (!solver)
        return;
    CHECK_STATUS(dn_solver_restore(solver, REFERENCE "/sgd_multistep/snap_iter_10.solverstate"),
                 DN_OK);
    CHECK_INT(dn_solver_iteration(solver), 10);
    CHECK_NEAR(dn_solver_learning_rate(solver), 0.2 * 0.3 * 0.3, 1e-8); /* step 2 of 3 */
    fill_small(solver);
    CHECK_STATUS(dn_solver_step(solver, 1), DN_OK);
    CHECK_NEAR(dn_solver_learning_rate(solver), 0.2 * 0.3 * 0.3 * 0.3, 1e-8);
    dn_solver_free(solver);
}

/* ---- each allocation fails once --------------------------------------------------------- */

static dn_status whole_life(dn_context *context)
{
    static const char text[] = ADAM "clip_gradients: 1 test_interval: 1 test_iter: 1 "
                                    "average_loss: 2 net_param { " SMALL_NET " }";
    dn_solver *solver = NULL;
    dn_status st =
        dn_solver_create_from_text(&solver, context, text, sizeof text - 1, NULL, 0, NULL);
    if (!st)
        st = dn_solver_step(solver, 2);
    if (!st)
        st = dn_solver_snapshot(solver, check_path("life"));
    if (!st)
        st = dn_solver_restore(solver, check_path("life.solverstate"));
    if (!st)
        st = dn_solver_solve(solver);
    dn_solver_free(solver);
    return st;
}

static void check_allocations(void)
{
    check_heap heap = {0};
    dn_context_options options = {.struct_size = sizeof options,
                                  .alloc = check_alloc,
                                  .alloc_user = &heap,
                                  .num_threads = 1};
    dn_context *context = NULL;
    CHECK_STATUS(dn_context_create(&context, &options), DN_OK);
    long before = heap.requests;
    CHECK_STATUS(whole_life(context), DN_OK);
    long needed = heap.requests - before;
    for (long n = 1; n <= needed; n++) {
        heap.fail_at = heap.requests + n;
        dn_status st = whole_life(context);
        const char *why = dn_last_error();
        CHECK_AT(st == DN_OK || (st == DN_E_NOMEM && why), "allocation %ld: %s %s", n,
                 dn_status_name(st), why ? why : "");
        heap.fail_at = 0;
    }
    CHECK_STATUS(whole_life(context), DN_OK);
    dn_context_free(context);
    CHECK_HEAP_CLEAN(&heap);
}

int main(void)
{
    signal(SIGXFSZ, SIG_IGN);
    dn_context *context = NULL;
    CHECK_STATUS(dn_context_create(&context, NULL), DN_OK);
    SECTION("names");
    check_names(context);
    check_long_names(context);
    check_moved(context);
    check_frozen(context, "", "");
    check_losses(context);
    check_fewer_tests(context);
    check_hdf5(context);
    SECTION("full disk");
    check_full_disk(context);
    SECTION("refusals");
    check_refusals(context);
    check_place(context);
    SECTION("Caffe's snapshots");
    check_caffe(context);
    dn_context_free(context);
    SECTION("allocations");
    check_allocations();
    return check_summary();
}
