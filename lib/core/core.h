/* SPDX-License-Identifier: BSD-2-Clause
 * core.h: what every part of the engine stands on: failing with one line, memory through the
 * host's allocator, text that grows, shapes, workers. Knows nothing of nets. */
#ifndef DNI_CORE_H
#define DNI_CORE_H

#include <fenv.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "deepnet/status.h"
#include "deepnet/sys/backend.h"

#define DNI_COUNT(array) (sizeof(array) / sizeof((array)[0]))
#if defined(__GNUC__)
#define DNI_PRINTF(f, a) __attribute__((format(printf, f, a)))
#else
#define DNI_PRINTF(f, a)
#endif

/* ---- status.c: one line per thread ------------------------------------------------------ */

/* Sets this thread's message and returns status, so a failure is one statement. Never use
 * floating-point conversions: they depend on the locale (dni_number writes them). */
dn_status dni_fail(dn_status status, const char *format, ...) DNI_PRINTF(2, 3);
/* "function: an argument is NULL", DN_E_INVALID */
dn_status dni_fail_null(const char *function);
/* A host's options of the size that it knows them in, struct_size first, or NULL for the
 * defaults, as the `size` bytes that this release has. */
dn_status dni_take_options(void *to, const void *from, size_t size, const char *type);
/* "type has an option this release does not know", DN_E_UNSUPPORTED */
dn_status dni_fail_option(const char *type);
/* Puts "where: " in front of the message when status is a failure; returns status. */
dn_status dni_in(dn_status status, const char *format, ...) DNI_PRINTF(2, 3);
/* Every public function begins with this: the message exists only if the call failed. */
void dni_clear_error(void);
/* Keeps and puts back the message across clean-up calls that may clear it. */
typedef struct dni_saved_error {
    char text[1024];
} dni_saved_error;
void dni_save_error(dni_saved_error *saved);
void dni_restore_error(const dni_saved_error *saved);
/* errno as text, thread-safe: strerror_r behind one name; buffer is the caller's. */
const char *dni_errno_text(int error, char *buffer, size_t size);
/* value as the shortest decimal that reads back as the same float (digits = 9) or double
 * (digits = 17), with '.' whatever the locale. Returns buffer. size >= 32. */
const char *dni_number(char *buffer, size_t size, double value, int digits);
/* strtod without the locale: parses [begin, end), stores the value, returns where it stopped.
 */
const char *dni_parse_number(const char *begin, const char *end, double *value);

/* ---- alloc.c: all memory comes from the host -------------------------------------------- */

/* One callback with sizes, as Lua has it: ptr NULL allocates, new_size 0 frees, else resizes.
 * NULL for a failed request, which leaves ptr as it was. */
typedef void *(*dni_alloc_fn)(void *user, void *ptr, size_t old_size, size_t new_size);

typedef struct dni_heap {
    dni_alloc_fn fn;
    void *user;
} dni_heap;

extern const dni_heap dni_default_heap; /* realloc and free of the C library */

/* count * size zeroed bytes, 16-byte aligned. NULL with the message set (DN_E_NOMEM) when the
 * product overflows or the host has none. count or size 0 gives a valid unique pointer. */
void *dni_alloc(const dni_heap *heap, size_t count, size_t size);
/* Not zeroed, and most of it will never be touched. */
void *dni_alloc_sparse(const dni_heap *heap, size_t bytes);
/* Not zeroed, at a multiple of 64 bytes: arenas and scratch. */
void *dni_alloc_aligned(const dni_heap *heap, size_t bytes);
void *dni_realloc(const dni_heap *heap, void *ptr, size_t count, size_t size);
void dni_free(void *ptr); /* of dni_alloc and dni_realloc; NULL is fine */
void dni_free_aligned(void *ptr);
/* The block lives until it was freed once more. */
void dni_hold_aligned(void *ptr);
/* Bytes that this thread asked for, less those it gave back, aligned ones aside: what something
 * keeps is the difference between two of these. */
size_t dni_held(void);
char *dni_strdup(const dni_heap *heap, const char *text);
char *dni_strndup(const dni_heap *heap, const char *text, size_t length);
char *dni_format(const dni_heap *heap, const char *format, ...) DNI_PRINTF(2, 3);
/* Makes room for `need` elements in a growing array (doubling); new elements are zero.
 * *array and *capacity are untouched on failure. */
dn_status dni_grow(const dni_heap *heap, void *array, size_t *capacity, size_t need,
                   size_t element_size);

/* ---- index.c: which numbers may be meant by a key ---------------------------------------- */

typedef struct dni_index_link {
    int32_t first; /* of the chain that has this place's number; -1: none */
    int32_t next;  /* behind this number in its chain */
    uint32_t hash;
    bool known;
} dni_index_link;

typedef struct dni_index {
    dni_index_link *links; /* freed by its owner; all zero: empty */
    size_t capacity;
    uint64_t seed;
} dni_index;

/* Numbers are added in ascending order, each once. */
dn_status dni_index_add(dni_index *x, const dni_heap *heap, size_t id, const void *key,
                        size_t size);
/* The number added last whose key may be that one; the others behind it by links[].next. */
int32_t dni_index_first(const dni_index *x, const void *key, size_t size);

/* ---- text.c: a string that grows --------------------------------------------------------- */

bool dni_ends_with(const char *text, const char *end);

/* Appends never fail one by one: the first failure sticks and dni_text_finish reports it. */
typedef struct dni_text {
    const dni_heap *heap;
    char *data; /* always terminated once anything was appended */
    size_t size, capacity;
    bool failed;
} dni_text;

void dni_text_init(dni_text *text, const dni_heap *heap);
void dni_text_append(dni_text *text, const char *bytes, size_t size);
void dni_text_printf(dni_text *text, const char *format, ...) DNI_PRINTF(2, 3);
/* Ends the line that begins at `from`: no name in it does so sooner. */
void dni_text_end_line(dni_text *text, size_t from);
/* Hands the string over (free with dni_free) or returns DN_E_NOMEM; the text is empty again. */
dn_status dni_text_finish(dni_text *text, char **out);
void dni_text_free(dni_text *text);
/* The nearest of `count` names (at most a third of its letters changed), or NULL. */
const char *dni_nearest(const char *word, const char *const *names, size_t count);
/* Is it a name that dni_nearest found, with at most two letters changed? */
bool dni_is_slip(const char *word, const char *nearest);

/* ---- shape.c ----------------------------------------------------------------------------- */

/* A blob's shape: axes 0 is a scalar with count 1, as in Caffe. */
typedef dn_shape dni_shape;

dni_shape dni_shape_of(int32_t axes, const int64_t *dims);
bool dni_shape_equal(const dni_shape *a, const dni_shape *b);
/* Product of all dims, of dims [from, to). Shapes that passed dni_shape_check cannot overflow.
 */
int64_t dni_shape_count(const dni_shape *shape);
int64_t dni_shape_range(const dni_shape *shape, int32_t from, int32_t to);
/* Negative dims and counts over 2^46 elements are refused with DN_E_SHAPE. */
dn_status dni_shape_check(const dni_shape *shape);
/* Caffe's canonical axis: -1 is the last. DN_E_SHAPE if outside [-axes, axes). */
dn_status dni_shape_axis(const dni_shape *shape, int64_t axis, int32_t *out);
/* "64 20 24 24 (737280)" into buffer, as Caffe logs shapes; returns buffer. */
const char *dni_shape_text(const dni_shape *shape, char *buffer, size_t size);
/* Bytes of a value of DN_F32, DN_F64, ... (sys/backend.h). */
size_t dni_dtype_size(int32_t dtype);
/* *out = a * b, a + b; false when it does not fit. */
bool dni_mul(size_t a, size_t b, size_t *out);
bool dni_add(size_t a, size_t b, size_t *out);
bool dni_mul64(int64_t a, int64_t b, int64_t *out);

/* ---- file.c ------------------------------------------------------------------------------ */

/* "cannot VERB 'PATH': " and what errno says: DN_E_IO, or of ENOMEM DN_E_NOMEM. */
dn_status dni_fail_errno(int error, const char *verb, const char *path);
/* What is left of an open file; 0 or errno. guess: at its size, which pipes and /proc do not
 * have; limit 0: any size. *data also after a failure, *size 0 and *data NULL before. */
int dni_file_read_open(const dni_heap *heap, int fd, size_t guess, size_t limit, char **data,
                       size_t *size);
/* Reads a whole file; adds a terminating zero not counted in *size. Free with dni_free. */
dn_status dni_file_read(const dni_heap *heap, const char *path, char **out, size_t *size);
/* The same of a regular file of at most `limit` bytes: a device, or a pipe that nobody writes
 * to, is refused, not waited for. */
dn_status dni_file_read_regular(const dni_heap *heap, const char *path, size_t limit,
                                char **out, size_t *size);
/* A file that is being written: beside its place, then synced and renamed onto it, so that
 * after a failure the old file is still the old file. */
typedef struct dni_draft {
    const dni_heap *heap;
    const char *path;
    char *target, *temporary; /* NULL: a device or a pipe, written where it is */
    int fd, error;
    size_t held;
    char buffer[4096];
} dni_draft;

/* path must outlive it. The first failure sticks and is the end's. */
void dni_draft_begin(dni_draft *draft, const dni_heap *heap, const char *path);
void dni_draft_write(dni_draft *draft, const void *data, size_t size);
/* st: the writer's own failure, which is returned, and nothing kept. */
dn_status dni_draft_end(dni_draft *draft, dn_status st);
/* The same of all bytes at once. */
dn_status dni_file_write(const dni_heap *heap, const char *path, const void *data, size_t size);
bool dni_file_exists(const char *path);
/* Bytes of `path` with at most so many of its last name: where room is needed for an ending. */
int dni_file_stem(const char *path, size_t most);
/* What a relative path inside a file means: the working directory, as in Caffe; where nothing
 * is there, the folder `base` (may be NULL). For a path to be written, what must be there is
 * its folder. *out: free with dni_free. */
dn_status dni_path_resolve(const dni_heap *heap, const char *base, const char *path,
                           bool for_writing, char **out);
/* For a path in a list of files: as above, or from the list's folder. */
dn_status dni_path_listed(const dni_heap *heap, const char *base, const char *list_folder,
                          const char *path, char **out);
/* The folder part of a path ("." if it has none). Free with dni_free; NULL: no memory. */
char *dni_path_folder(const dni_heap *heap, const char *path);

/* ---- view.c ------------------------------------------------------------------------------ */

/* A file of which only what is looked at is read. A function of a view that is NULL finds all
 * in memory, as of one that was read whole. */
typedef struct dni_view {
    const dni_heap *heap;
    const char *path;
    int fd;
    uint8_t *data; /* room for all of the file; its head is there */
    size_t size;
    uint8_t *have;    /* per block: it is there; NULL: all are */
    dn_status status; /* of the first failure */
} dni_view;

enum { DNI_VIEW_HEAD = 4096 };

/* path must outlive it. dni_view_close also after a failure. */
dn_status dni_view_open(dni_view *view, const dni_heap *heap, const char *path);
/* Makes bytes of the data be there. False, as of the next two, if they cannot be read. */
bool dni_view_need(dni_view *view, const void *at, size_t size);
/* Copies bytes of the data, there or not, elsewhere. */
bool dni_view_copy(dni_view *view, void *to, const void *at, size_t size);
/* Can all of the file be read? */
bool dni_view_check(dni_view *view);
void dni_view_close(dni_view *view);

/* ---- fp.c: whatever the host rounds, flushes or traps ------------------------------------ */

typedef struct dni_fp {
#ifdef __x86_64__
    uint32_t control;
#else
    fenv_t environment;
#endif
} dni_fp;

/* C's default floating-point environment for this thread; what it was, for dni_fp_leave. Around
 * whatever computes what a net's numbers depend on, and at a thread's start. */
dni_fp dni_fp_enter(void);
void dni_fp_leave(dni_fp host);

/* ---- parallel.c: the workers of a context ------------------------------------------------ */

typedef struct dni_pool dni_pool;
typedef void (*dni_task_fn)(void *arg, int64_t task, int32_t worker);
typedef void (*dni_parallel_fn)(void *user, int64_t tasks, dni_task_fn body, void *arg);

/* The threads this process may use: DEEPNET_NUM_THREADS, else its CPU affinity cut by the
 * container's quota (cgroup v1 and v2), at least 1. */
int32_t dni_default_threads(void);
/* The threads that the CPU quotas of this process's control groups amount to, rounded up; 0:
 * none. root: "", or a folder that stands for the root of the file system. */
int64_t dni_quota_threads(const char *root);
/* threads >= 1 counts the caller: threads - 1 workers are started on first use. */
dn_status dni_pool_create(dni_pool **out, const dni_heap *heap, int32_t threads);
void dni_pool_free(dni_pool *pool);
int32_t dni_pool_threads(const dni_pool *pool);
/* Microseconds to look for work before sleeping; before the first run. */
void dni_pool_set_spin(dni_pool *pool, int32_t microseconds);
/* What a thread is in the middle of: a task of owner's. */
typedef struct dni_frame {
    const void *owner;
    int32_t worker;
    const struct dni_frame *outer;
} dni_frame;
void dni_frame_enter(dni_frame *frame, const void *owner, int32_t worker);
void dni_frame_leave(const dni_frame *frame);
/* Is this thread inside a task of owner's? Then the tasks ran in place. */
bool dni_run_nested(const void *owner, int64_t tasks, dni_task_fn body, void *arg);
/* Runs body(arg, task, worker) for task in [0, tasks), worker in [0, threads), no two at once
 * with the same worker; returns when all are done. The caller takes part as worker 0. Calls
 * from several threads take turns; a call from inside a task runs in place. */
void dni_pool_run(dni_pool *pool, int64_t tasks, dni_task_fn body, void *arg);

#endif
