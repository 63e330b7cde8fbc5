/* SPDX-License-Identifier: BSD-2-Clause
 * test_view.c: files of which only what is looked at is read, and weights in them: the same as
 * from bytes in memory, wherever blocks begin and wherever the file is cut; without room for
 * what goes from the one place to the other. */
#define _GNU_SOURCE /* syscall */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "net/net.h"
#include "net/pack.h"

#include "check.h"
#include "deepnet/deepnet.h"

enum { BLOCK = 4096, SIZE = 4 * BLOCK + 5 };

/* This program's own stands before the C library's: a disk with a byte that is
 * bad. */
static off_t bad; /* 0: none */
ssize_t pread(int fd, void *data, size_t size, off_t at)
{
    if (bad && at <= bad && bad < at + (off_t)size) {
        errno = EIO;
        return -1;
    }
    return syscall(SYS_pread64, fd, data, size, at);
}

/* Memory that nobody wrote does not look like what was there before. */
static void *alloc_poisoned(void *user, void *ptr, size_t old_size, size_t new_size)
{
    (void)user;
    if (!new_size) {
        free(ptr);
        return NULL;
    }
    char *grown = realloc(ptr, new_size);
    if (grown && new_size > old_size)
        memset(grown + old_size, 0xa5, new_size - old_size);
    return grown;
}

/* ---- the view ---------------------------------------------------------------------------- */

static void write_pattern(const char *path, size_t size, int from)
{
    static uint8_t bytes[SIZE];
    for (size_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)(i * 7 / 3 + (size_t)from);
    check_write(path, bytes, size);
}

static bool is_pattern(const uint8_t *bytes, size_t at, size_t size, int from)
{
    for (size_t i = 0; i < size; i++)
        if (bytes[i] != (uint8_t)((at + i) * 7 / 3 + (size_t)from))
            return false;
    return true;
}

static void test_view(void)
{
    const char *path = check_path("view");
    dni_view view;
    uint8_t large[BLOCK + 9];
    SECTION("view");
    write_pattern(path, SIZE, 0);
    CHECK_STATUS(dni_view_open(&view, &dni_default_heap, path), DN_OK);
    CHECK(view.size == SIZE && is_pattern(view.data, 0, BLOCK, 0));
    CHECK(dni_view_check(&view));
    write_pattern(path, SIZE, 1); /* what is read from now on is another */
    CHECK(dni_view_need(&view, view.data + BLOCK - 1, BLOCK + 2));
    CHECK(is_pattern(view.data + BLOCK, BLOCK, 2 * BLOCK, 1));
    write_pattern(path, SIZE, 2);
    CHECK(dni_view_need(&view, view.data, SIZE));
    CHECK(is_pattern(view.data, 0, BLOCK, 0) && /* what is there is not read again */
          is_pattern(view.data + BLOCK, BLOCK, 2 * BLOCK, 1) &&
          is_pattern(view.data + (size_t)3 * BLOCK, (size_t)3 * BLOCK, BLOCK + 5, 2));
    write_pattern(path, SIZE, 3); /* but what is large, which goes elsewhere */
    CHECK(dni_view_copy(&view, large, view.data + SIZE - sizeof large, sizeof large) &&
          is_pattern(large, SIZE - sizeof large, sizeof large, 3));
    CHECK(dni_view_copy(&view, large, view.data + SIZE - 5, 5) &&
          is_pattern(large, SIZE - 5, 5, 2));
    CHECK(!truncate(path, SIZE - 1));
    CHECK(!dni_view_check(&view));
    CHECK_INT(view.status, DN_E_IO);
    CHECK(strstr(dn_last_error(), "view': it has become shorter") != NULL);
    CHECK(!dni_view_need(&view, view.data, 1)); /* the failure sticks */
    dni_view_close(&view);
}

static void test_others(void)
{
    dni_view view;
    SECTION("view: others");
    CHECK_MESSAGE(dni_view_open(&view, &dni_default_heap, check_path("none")), DN_E_IO,
                  "none': No such file");
    dni_view_close(&view);
    CHECK_MESSAGE(dni_view_open(&view, &dni_default_heap, check_folder()), DN_E_IO,
                  "directory");
    dni_view_close(&view);
    write_pattern(check_path("empty"), 0, 0);
    CHECK_STATUS(dni_view_open(&view, &dni_default_heap, check_path("empty")), DN_OK);
    CHECK(view.size == 0 && dni_view_need(&view, view.data, 0) && dni_view_check(&view));
    dni_view_close(&view);
    CHECK_STATUS(dni_view_open(&view, &dni_default_heap, "/proc/self/status"), DN_OK);
    CHECK(view.size > 4 && strstr((const char *)view.data, "Pid:"));
    CHECK(dni_view_need(&view, view.data, view.size) && dni_view_check(&view));
    dni_view_close(&view);
}

/* ---- weights ----------------------------------------------------------------------------- */

enum { LAYERS = 300 };

/* Many layers, names and weights of changing size: keys and lengths lie across every border. */
static dn_net *many_layers(dn_context *context, int32_t dtype)
{
    dn_net *net = NULL;
    dni_text text;
    dn_net_options options = {.struct_size = sizeof options, .dtype = dtype};
    dni_text_init(&text, &dni_default_heap);
    dni_text_printf(&text, "layer { name: 'x' type: 'Input' top: 'x' input_param { shape { "
                           "dim: 1 dim: 5 } } }");
    for (int i = 0; i < LAYERS; i++)
        dni_text_printf(&text,
                        "layer { name: 'layer%0*d' type: 'InnerProduct' bottom: 'x' top: 'y%d' "
                        "inner_product_param { num_output: %d } }",
                        i % 40 + 1, i, i, i % 37 + 1);
    CHECK_STATUS(dn_net_create_from_text(&net, context, text.data, text.size, &options), DN_OK);
    dni_text_free(&text);
    return net;
}

/* The weights as one number; those of `seed` first, if it is not 0. */
static uint64_t weights_of(dn_net *net, uint32_t seed)
{
    uint64_t hash = 14695981039346656037u;
    for (size_t p = 0; p < net->num_params; p++) {
        dni_store *store = net->params[p]->blob.store;
        for (int64_t i = 0; i < store->count; i++) {
            double value = store->dtype == DN_F64 ? ((double *)store->data)[i]
                                                  : (double)((float *)store->data)[i];
            if (seed)
                value = (float)((seed = seed * 1664525u + 1013904223u) >> 8);
            if (store->dtype == DN_F64)
                ((double *)store->data)[i] = value;
            else
                ((float *)store->data)[i] = (float)value;
            hash = (hash ^ (uint64_t)value) * 1099511628211u;
        }
    }
    return hash;
}

/* The reason without the name of the file, which ends at ": ". */
static const char *reason(void)
{
    const char *colon = dn_last_error() ? strstr(dn_last_error(), ": ") : NULL;
    return colon ? colon : "";
}

/* The first `cut` bytes in a file and in memory. */
static void check_cut(dn_net *net, const char *bytes, size_t cut)
{
    char why[512];
    const char *path = check_path("cut.caffemodel");
    uint64_t before = weights_of(net, 3);
    check_write(path, bytes, cut);
    dn_status st = dn_net_load_weights(net, path, DN_WEIGHTS_STRICT, NULL);
    uint64_t after = weights_of(net, 0);
    snprintf(why, sizeof why, "%s", reason());
    weights_of(net, 3);
    dn_status want = dn_net_load_weights_memory(net, bytes, cut, DN_WEIGHTS_STRICT, NULL);
    CHECK_AT(st == want && !strcmp(why, reason()), "cut at %zu: %s%.400s, not %s%.400s", cut,
             dn_status_name(st), why, dn_status_name(want), reason());
    CHECK_AT(after == (st ? before : weights_of(net, 0)), "cut at %zu: other weights", cut);
}

static void test_weights(dn_context *context, int32_t from, int32_t to)
{
    const char *path = check_path("many.caffemodel");
    dn_net *saved = many_layers(context, from), *net = many_layers(context, to);
    char *bytes = NULL;
    size_t size = 0;
    SECTION("weights in a view");
    uint64_t hash = weights_of(saved, 7);
    CHECK_STATUS(dn_net_save_weights(saved, path), DN_OK);
    CHECK_STATUS(dni_file_read(&dni_default_heap, path, &bytes, &size), DN_OK);
    CHECK(size > (size_t)20 * BLOCK);
    weights_of(net, 9);
    CHECK_STATUS(dn_net_load_weights(net, path, DN_WEIGHTS_STRICT, NULL), DN_OK);
    CHECK(weights_of(net, 0) == hash);
    weights_of(net, 9);
    CHECK_STATUS(dn_net_load_weights_memory(net, bytes, size, DN_WEIGHTS_STRICT, NULL), DN_OK);
    CHECK(weights_of(net, 0) == hash);
    for (size_t cut = 0; from == to && cut < size; cut += cut < 300 ? 1 : 997)
        check_cut(net, bytes, cut);
    dni_free(&dni_default_heap, bytes);
    dn_net_free(saved);
    dn_net_free(net);
}

#define ONES ",1,1,1,1,1,1,1,1,1,1"

/* As Caffe does: the values before their shape. */
static void save_as_caffe(dn_net *net, const char *name, const char *path)
{
    dni_store *store = net->params[0]->blob.store;
    dni_text blob, layer, file;
    uint8_t shape[DNI_PACK_HEAD], *end = dni_pack_shape(shape, &net->params[0]->blob.shape);
    dni_text_init(&blob, &dni_default_heap);
    dni_text_init(&layer, &dni_default_heap);
    dni_text_init(&file, &dni_default_heap);
    dni_pack_append(&blob, 5, store->data, (size_t)store->count * sizeof(float));
    dni_text_append(&blob, (const char *)shape, (size_t)(end - shape));
    dni_pack_append(&layer, 1, "p", 1);
    dni_pack_append(&layer, 7, blob.data, blob.size);
    dni_pack_append(&file, 1, name, strlen(name));
    dni_pack_append(&file, 100, layer.data, layer.size);
    check_write(path, file.data, file.size);
    dni_text_free(&blob);
    dni_text_free(&layer);
    dni_text_free(&file);
}

/* The first bytes of a layer and of a blob of 31 axes, and its shape, at every place about a
 * border. */
static void test_borders(dn_context *context)
{
    static char name[BLOCK + 100];
    static const char text[] = "layer { name: 'p' type: 'Parameter' top: 'p' parameter_param { "
                               "shape { dim: [40" ONES ONES ONES "] } } }";
    const char *path = check_path("border.caffemodel");
    SECTION("weights at a border");
    dn_net *net = NULL;
    CHECK_STATUS(dn_net_create_from_text(&net, context, text, sizeof text - 1, NULL), DN_OK);
    for (int length = 0; length < BLOCK + 10; length += length < BLOCK - 350 ? 500 : 1) {
        uint64_t hash = weights_of(net, 7);
        memset(name, 'n', (size_t)length);
        name[length] = 0;
        save_as_caffe(net, name, path);
        weights_of(net, 9);
        CHECK_STATUS(dn_net_load_weights(net, path, DN_WEIGHTS_STRICT, NULL), DN_OK);
        CHECK_AT(weights_of(net, 0) == hash, "a name of %d letters: other weights", length);
    }
    dn_net_free(net);
}

/* What cannot be read is known before the first weight is changed. */
static void test_unreadable(dn_context *context)
{
    static const char text[] =
        "layer { name: 'x' type: 'Input' top: 'x' input_param { shape { dim: [1, 7] } } }"
        "layer { name: 'a' type: 'InnerProduct' bottom: 'x' top: 'a'"
        "  inner_product_param { num_output: 1000 } }"
        "layer { name: 'b' type: 'InnerProduct' bottom: 'x' top: 'b'"
        "  inner_product_param { num_output: 1000 } }";
    const char *path = check_path("two.caffemodel");
    struct stat info;
    dn_net *net = NULL;
    SECTION("unreadable weights");
    CHECK_STATUS(dn_net_create_from_text(&net, context, text, sizeof text - 1, NULL), DN_OK);
    CHECK_STATUS(dn_net_save_weights(net, path), DN_OK);
    CHECK(!stat(path, &info) && info.st_size > (off_t)8 * BLOCK);
    for (bad = 1; bad < info.st_size; bad += 997) {
        uint64_t hash = weights_of(net, 9);
        CHECK_MESSAGE(dn_net_load_weights(net, path, DN_WEIGHTS_STRICT, NULL), DN_E_IO,
                      "two.caffemodel': Input/output error");
        CHECK(weights_of(net, 0) == hash);
    }
    bad = 0;
    dn_net_free(net);
}

/* ---- room -------------------------------------------------------------------------------- */

enum { SIDE = 2400, MIB = 1 << 20 }; /* 22 MiB of weights */

/* MiB that this process has had at most since the last time; 0 where the system cannot say. */
static long most_resident(void)
{
    char line[256];
    long kib = 0;
    int fd = open("/proc/self/clear_refs", O_WRONLY);
    FILE *status = fopen("/proc/self/status", "r");
    while (status && fgets(line, sizeof line, status))
        if (!strncmp(line, "VmHWM:", 6))
            kib = strtol(line + 6, NULL, 10);
    if (status)
        fclose(status);
    if (fd < 0 || write(fd, "5", 1) != 1)
        kib = 0;
    if (fd >= 0)
        close(fd);
    return kib / 1024;
}

static void check_room(const char *what, dn_status st)
{
    static long base;
    long most = most_resident();
    CHECK_AT(!st, "%s: %s", what, dn_last_error());
    CHECK_AT(!*what || most - base < SIDE * SIDE * 4 / MIB / 2, "%s: %ld MiB, %ld before", what,
             most, base);
    if (!*what)
        base = most;
}

static void test_room(dn_context *context)
{
    char text[1024];
    const char *model = check_path("room.caffemodel"), *base = check_path("room");
    dn_solver *solver = NULL;
    int n = snprintf(
        text, sizeof text,
        "base_lr: 0.01 lr_policy: 'fixed' momentum: 0.9 net_param {"
        "layer { name: 'x' type: 'Input' top: 'x' top: 't' input_param {"
        "  shape { dim: 1 dim: %d } shape { dim: 1 dim: %d } } }"
        "layer { name: 'ip' type: 'InnerProduct' bottom: 'x' top: 'y'"
        "  inner_product_param { num_output: %d } }"
        "layer { name: 'loss' type: 'EuclideanLoss' bottom: 'y' bottom: 't' top: 'l' } }",
        SIDE, SIDE, SIDE);
    SECTION("room");
    CHECK_STATUS(dn_solver_create_from_text(&solver, context, text, (size_t)n, NULL, 0, NULL),
                 DN_OK);
    CHECK_STATUS(dn_solver_step(solver, 2), DN_OK);
    dn_net *net = dn_solver_net(solver);
    most_resident();
    check_room("", dn_solver_step(solver, 1));
    check_room("saving", dn_net_save_weights(net, model));
    check_room("loading", dn_net_load_weights(net, model, DN_WEIGHTS_STRICT, NULL));
    check_room("saving safetensors", dn_net_save_weights(net, check_path("room.safetensors")));
    check_room("a snapshot", dn_solver_snapshot(solver, base));
    check_room("restoring", dn_solver_restore(solver, check_path("room.solverstate")));
    dn_solver_free(solver);
}

int main(void)
{
    dn_context *context = NULL;
    dn_context_options options = {
        .struct_size = sizeof options, .num_threads = 1, .alloc = alloc_poisoned};
    test_view();
    test_others();
    SECTION("context");
    CHECK_STATUS(dn_context_create(&context, NULL), DN_OK);
    test_room(context);
    dn_context_free(context);
    CHECK_STATUS(dn_context_create(&context, &options), DN_OK);
    test_weights(context, DN_F32, DN_F32);
    test_weights(context, DN_F32, DN_F64);
    test_weights(context, DN_F64, DN_F32);
    test_borders(context);
    test_unreadable(context);
    dn_context_free(context);
    return check_summary();
}
