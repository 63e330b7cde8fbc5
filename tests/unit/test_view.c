/* SPDX-License-Identifier: BSD-2-Clause
 * test_view.c: files of which only what is looked at is read, and weights and states of solvers
 * in them: the same as from bytes in memory, wherever blocks begin and wherever the file is
 * cut; without room for what goes from the one place to the other. */
#define _GNU_SOURCE /* syscall */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "net/net.h"
#include "net/pack.h"
#include "proto/wire.h"
#include "solver/solver.h"

#include "check.h"
#include "deepnet/deepnet.h"

enum { BLOCK = 4096, SIZE = 4 * BLOCK + 5 };

/* This program's own stands before the C library's: a disk with a byte that is
 * bad. */
static off_t bad; /* 0: none */
static int left;  /* reads until the file is cut; 0: it is not */
ssize_t pread(int fd, void *data, size_t size, off_t at)
{
    if (left && !--left) {
        left = 1;
        return 0;
    }
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

/* What is saved at `path` is the same from there and from memory, and, for nets of one type,
 * wherever it is cut. Its bytes: dni_free. */
static char *check_both(dn_net *saved, dn_net *net, const char *path, size_t *size)
{
    char *bytes = NULL;
    *size = 0;
    uint64_t hash = weights_of(saved, 7);
    CHECK_STATUS(dn_net_save_weights(saved, path), DN_OK);
    CHECK_STATUS(dni_file_read(&dni_default_heap, path, &bytes, size), DN_OK);
    weights_of(net, 9);
    CHECK_STATUS(dn_net_load_weights(net, path, DN_WEIGHTS_STRICT, NULL), DN_OK);
    CHECK(weights_of(net, 0) == hash);
    weights_of(net, 9);
    CHECK_STATUS(dn_net_load_weights_memory(net, bytes, *size, DN_WEIGHTS_STRICT, NULL), DN_OK);
    CHECK(weights_of(net, 0) == hash);
    for (size_t cut = 0; saved->dtype == net->dtype && cut < *size; cut += cut < 300 ? 1 : 997)
        check_cut(net, bytes, cut);
    return bytes;
}

static void test_weights(dn_context *context, int32_t from, int32_t to)
{
    const char *path = check_path("many.caffemodel");
    dn_net *saved = many_layers(context, from), *net = many_layers(context, to);
    size_t size;
    SECTION("weights in a view");
    char *bytes = check_both(saved, net, path, &size);
    CHECK(size > (size_t)20 * BLOCK);
    dni_free(bytes);
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
    SECTION("a file that is cut after any of the reads");
    dn_status st = DN_E_IO;
    for (int reads = 1; st; reads++) {
        left = reads;
        st = dn_net_load_weights(net, path, DN_WEIGHTS_STRICT, NULL);
        const char *line = dn_last_error(), *name = line ? strstr(line, path) : NULL;
        CHECK_AT(!st || (st == DN_E_IO && name && !strstr(name + 1, path) &&
                         strstr(line, "it has become shorter")),
                 "after %d: %s", reads, line ? line : "no line");
        if (st != DN_E_IO)
            break;
    }
    left = 0;
    CHECK_STATUS(st, DN_OK);
    dn_net_free(net);
}

/* ---- a file renamed onto the path -------------------------------------------------------- */

typedef struct renamer {
    const char *from[2], *link, *path;
    atomic_bool stop, failed;
} renamer;

/* In turn: a rename onto another name of the same file would do nothing. */
static void *rename_on(void *argument)
{
    renamer *r = argument;
    for (int i = 0; !r->stop; i ^= 1)
        if (link(r->from[i], r->link) || rename(r->link, r->path))
            r->stop = r->failed = true;
    return NULL;
}

/* Of two files that take turns at the path one is read, whole. */
static void test_renamed(dn_context *context)
{
    static const char text[] = "layer { name: 'p' type: 'Parameter' top: 'p' parameter_param { "
                               "shape { dim: 2000 } } }";
    static char name[3 * BLOCK + 1];
    renamer r = {{check_path("turn.0"), check_path("turn.1")},
                 check_path("turn.link"),
                 check_path("turn"),
                 false,
                 false};
    uint64_t hash[2];
    pthread_t thread;
    dn_net *net = NULL;
    SECTION("renamed meanwhile");
    CHECK_STATUS(dn_net_create_from_text(&net, context, text, sizeof text - 1, NULL), DN_OK);
    for (int i = 0; i < 2; i++) {
        hash[i] = weights_of(net, 7 + (uint32_t)i);
        memset(name, 'n', i ? sizeof name - 1 : 1);
        save_as_caffe(net, name, r.from[i]);
    }
    CHECK(!link(r.from[1], r.path));
    CHECK(!pthread_create(&thread, NULL, rename_on, &r));
    for (int i = 0; i < 2000 && !r.failed; i++) {
        dn_status st = dn_net_load_weights(net, r.path, DN_WEIGHTS_STRICT, NULL);
        uint64_t now = weights_of(net, 0);
        CHECK_AT(!st && (now == hash[0] || now == hash[1]), "load %d: %s", i,
                 st ? dn_last_error() : "other weights");
    }
    r.stop = true;
    pthread_join(thread, NULL);
    CHECK(!r.failed);
    dn_net_free(net);
}

/* ---- safetensors ------------------------------------------------------------------------- */

static void test_safetensors(dn_context *context, int32_t from, int32_t to)
{
    const char *path = check_path("many.safetensors");
    dn_net *saved = many_layers(context, from), *net = many_layers(context, to);
    size_t size;
    struct stat info;
    SECTION("safetensors in a view");
    char *bytes = check_both(saved, net, path, &size);
    CHECK(size > BLOCK && (uint8_t)bytes[1] * 256 > BLOCK); /* the length of the header */
    path = check_path("many.safetensors");
    CHECK(!stat(path, &info));
    for (bad = 1; bad < info.st_size; bad += 997) {
        uint64_t before = weights_of(net, 9);
        CHECK_MESSAGE(dn_net_load_weights(net, path, DN_WEIGHTS_STRICT, NULL), DN_E_IO,
                      "many.safetensors': Input/output error");
        CHECK(weights_of(net, 0) == before);
    }
    bad = 0;
    dni_free(bytes);
    dn_net_free(saved);
    dn_net_free(net);
}

enum { HALVES = 5 * BLOCK + 3 };

/* Value i of a tensor of halves: i % 200 + 1, which either type holds. */
static uint16_t half_of(int i, bool brain)
{
    union {
        float value;
        uint32_t bits;
    } of = {.value = (float)(i % 200 + 1)};
    return (uint16_t)(brain ? of.bits >> 16 : (of.bits >> 13) - (112 << 10));
}

/* More values of two bytes than a block, or what converts them at a time, holds. */
static void test_halves(dn_context *context, bool brain, int32_t dtype)
{
    static uint8_t bytes[512 + 2 * HALVES];
    char text[256];
    const char *path = check_path("half.safetensors");
    dn_net *net = NULL;
    dn_net_options options = {.struct_size = sizeof options, .dtype = dtype};
    SECTION(brain ? "safetensors: BF16" : "safetensors: F16");
    int n = snprintf(text, sizeof text,
                     "layer { name: 'p' type: 'Parameter' top: 'p' parameter_param { "
                     "shape { dim: %d } } }",
                     HALVES);
    CHECK_STATUS(dn_net_create_from_text(&net, context, text, (size_t)n, &options), DN_OK);
    n = snprintf((char *)bytes + 8, 504,
                 "{\"p.0\":{\"dtype\":\"%s\",\"shape\":[%d],\"data_offsets\":[0,%d]}}",
                 brain ? "BF16" : "F16", HALVES, 2 * HALVES);
    bytes[0] = (uint8_t)n;
    for (int i = 0; i < HALVES; i++) {
        uint16_t half = half_of(i, brain);
        memcpy(bytes + 8 + n + 2 * i, &half, sizeof half);
    }
    size_t size = (size_t)(8 + n + 2 * HALVES);
    check_write(path, bytes, size);
    for (int memory = 0; memory < 2; memory++) {
        dni_store *store = net->params[0]->blob.store;
        int wrong = 0;
        weights_of(net, 9);
        dn_status st =
            memory ? dn_net_load_weights_memory(net, bytes, size, DN_WEIGHTS_STRICT, NULL)
                   : dn_net_load_weights(net, path, DN_WEIGHTS_STRICT, NULL);
        CHECK_AT(!st, "%s", dn_last_error());
        for (int i = 0; i < HALVES; i++)
            wrong += (dtype == DN_F64 ? ((double *)store->data)[i]
                                      : (double)((float *)store->data)[i]) != i % 200 + 1;
        CHECK_INT(wrong, 0);
    }
    dn_net_free(net);
}

/* ---- states of solvers ------------------------------------------------------------------- */

static dn_solver *adam_of(dn_context *context, int outputs, int losses)
{
    static const float x[7] = {1, -2, 3, 0.5f, 1, -1, 2};
    char text[1024];
    dn_solver *solver = NULL;
    int n = snprintf(
        text, sizeof text,
        "type: 'Adam' base_lr: 0.01 lr_policy: 'fixed' momentum: 0.9 random_seed: 4 "
        "average_loss: %d net_param {"
        "layer { name: 'x' type: 'Input' top: 'x' top: 't' input_param {"
        "  shape { dim: [1, 7] } shape { dim: [1, %d] } } }"
        "layer { name: 'ip' type: 'InnerProduct' bottom: 'x' top: 'y' inner_product_param {"
        "  num_output: %d weight_filler { type: 'xavier' } } }"
        "layer { name: 'loss' type: 'EuclideanLoss' bottom: 'y' bottom: 't' top: 'l' } }",
        losses, outputs, outputs);
    CHECK_STATUS(dn_solver_create_from_text(&solver, context, text, (size_t)n, NULL, 0, NULL),
                 DN_OK);
    CHECK_STATUS(dn_blob_write(dn_net_blob(dn_solver_net(solver), "x"), x, 7), DN_OK);
    return solver;
}

static uint64_t mix(uint64_t hash, const void *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ ((const uint8_t *)bytes)[i]) * 1099511628211u;
    return hash;
}

/* Weights, histories, losses from the oldest on, and the iteration as one number. */
static uint64_t state_of(const dn_solver *s)
{
    uint64_t hash = mix(14695981039346656037u, &s->iteration, sizeof s->iteration);
    dni_pack_blob history;
    int64_t most = s->param->average_loss;
    for (size_t p = 0; p < s->net->num_params; p++) {
        const dni_store *store = s->net->params[p]->blob.store;
        hash = mix(hash, store->data, (size_t)store->count * sizeof(float));
    }
    for (size_t i = 0; dni_solver_history(s, i, &history); i++) {
        const dni_store *store = s->net->params[i % s->net->num_params]->blob.store;
        hash = mix(hash, history.data, (size_t)store->count * sizeof(float));
    }
    for (int64_t i = 0; i < s->num_losses; i++)
        hash = mix(hash, &s->losses[(s->next_loss - s->num_losses + i + most) % most],
                   sizeof *s->losses);
    return hash;
}

/* What cannot be read is known before anything is changed. */
static void check_bad(dn_solver *solver, const char *path)
{
    struct stat info;
    uint64_t before = state_of(solver);
    CHECK(!stat(path, &info) && info.st_size > (off_t)2 * BLOCK);
    for (bad = 1; bad < info.st_size; bad += 997) {
        CHECK_MESSAGE(dn_solver_restore(solver, path), DN_E_IO,
                      ".solverstate': Input/output error");
        CHECK(state_of(solver) == before);
    }
    bad = 0;
}

/* Of a history only the head is looked at before weights change. */
static void test_unreadable_state(dn_context *context)
{
    const char *path = check_path("bad.solverstate");
    SECTION("an unreadable state");
    dn_solver *solver = adam_of(context, 1000, 1);
    CHECK_STATUS(dn_solver_step(solver, 3), DN_OK);
    CHECK_STATUS(dn_solver_snapshot(solver, check_path("bad")), DN_OK);
    uint64_t saved = state_of(solver);
    CHECK_STATUS(dn_solver_step(solver, 1), DN_OK);
    CHECK(state_of(solver) != saved);
    check_bad(solver, path);
    CHECK_STATUS(dn_solver_restore(solver, path), DN_OK);
    CHECK(state_of(solver) == saved);
    dn_solver_free(solver);
}

/* What is no history lies across blocks, too. */
static void test_losses(dn_context *context)
{
    const char *path = check_path("losses.solverstate");
    char *first = NULL, *second = NULL;
    size_t size = 0, again = 0;
    SECTION("losses of a state");
    dn_solver *solver = adam_of(context, 3, 3000), *other = adam_of(context, 3, 3000);
    CHECK_STATUS(dn_solver_step(solver, 3010), DN_OK);
    CHECK_STATUS(dn_solver_snapshot(solver, check_path("losses")), DN_OK);
    CHECK_STATUS(dni_file_read(&dni_default_heap, path, &first, &size), DN_OK);
    CHECK(solver->num_losses == 3000);
    check_bad(other, path);
    CHECK_STATUS(dn_solver_restore(other, path), DN_OK);
    CHECK(state_of(other) == state_of(solver));
    CHECK(dn_solver_loss(other) == dn_solver_loss(solver));
    CHECK_STATUS(dn_solver_snapshot(other, check_path("losses")), DN_OK);
    CHECK_STATUS(dni_file_read(&dni_default_heap, path, &second, &again), DN_OK);
    CHECK(size == again && !memcmp(first, second, size));
    dni_free(first);
    dni_free(second);
    dn_solver_free(solver);
    dn_solver_free(other);
}

/* Cut anywhere, a history is missing: where a field ends, what is left is a state of fewer;
 * elsewhere it is none. */
static void test_cut_state(dn_context *context)
{
    const char *path = check_path("cut.solverstate");
    char *bytes = NULL;
    size_t size = 0, border = 0;
    dni_wire_field field;
    SECTION("a cut state");
    dn_solver *solver = adam_of(context, 80, 1);
    CHECK_STATUS(dn_solver_step(solver, 2), DN_OK);
    CHECK_STATUS(dn_solver_snapshot(solver, check_path("whole")), DN_OK);
    CHECK_STATUS(
        dni_file_read(&dni_default_heap, check_path("whole.solverstate"), &bytes, &size),
        DN_OK);
    CHECK(size > BLOCK);
    CHECK_STATUS(dn_solver_step(solver, 1), DN_OK);
    uint64_t before = state_of(solver);
    dni_wire wire = {(const uint8_t *)bytes, (const uint8_t *)bytes + size, NULL};
    for (size_t cut = 0; cut < size; cut++) {
        if (cut > border && dni_wire_next(&wire, &field) > 0)
            border = (size_t)(wire.at - (const uint8_t *)bytes);
        dn_status want = cut == border ? DN_E_DATA : DN_E_PARSE;
        remove(path); /* some disks wait for what is written over a file */
        check_write(path, bytes, cut);
        dn_status st = dn_solver_restore(solver, path);
        CHECK_AT(st == want, "cut at %zu: %s, not %s", cut, dn_status_name(st),
                 dn_status_name(want));
        CHECK_AT(state_of(solver) == before, "cut at %zu: another state", cut);
    }
    dni_free(bytes);
    dn_solver_free(solver);
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
#ifdef M_PERTURB
    mallopt(M_PERTURB, 0); /* meson has the C library fill, and so touch, what it gives */
#endif
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
    test_renamed(context);
    test_safetensors(context, DN_F32, DN_F32);
    test_safetensors(context, DN_F32, DN_F64);
    test_safetensors(context, DN_F64, DN_F64);
    for (int i = 0; i < 4; i++)
        test_halves(context, i % 2, i / 2 ? DN_F64 : DN_F32);
    test_unreadable_state(context);
    test_losses(context);
    test_cut_state(context);
    dn_context_free(context);
    return check_summary();
}
