/* SPDX-License-Identifier: BSD-2-Clause
 * check.h: what every C test is written with: checks that go on after a failure, the rule that
 * a message exists if and only if the call failed, a heap that can fail, a folder of one's own.
 * One file per program, one thread at a time. main ends with `return check_summary();`. */
#ifndef CHECK_H
#define CHECK_H

#include <dirent.h>
#include <math.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "deepnet/status.h"

#define CHECK_UNUSED __attribute__((unused)) static

static int check_passed, check_failed;
static const char *check_section = "";
static char check_folder_path[256];

CHECK_UNUSED int check_report(int ok, const char *file, int line, const char *what)
{
    if (ok)
        check_passed++;
    else
        fprintf(stderr, "%s:%d: %s: %s\n", file, line, check_section, what), check_failed++;
    return ok;
}

#define CHECK_AT(ok, ...)                                                                      \
    do {                                                                                       \
        char check_text[1400];                                                                 \
        snprintf(check_text, sizeof(check_text), __VA_ARGS__);                                 \
        check_report(ok, __FILE__, __LINE__, check_text);                                      \
    } while (0)

/* ---- the checks -------------------------------------------------------------------------- */

/* Names the checks that follow. */
#define SECTION(name) (check_section = (name))

#define CHECK(condition) check_report(!!(condition), __FILE__, __LINE__, #condition)

/* Whole numbers of any type; both sides are shown. */
#define CHECK_INT(actual, expected)                                                            \
    do {                                                                                       \
        long long check_a = (long long)(actual), check_e = (long long)(expected);              \
        CHECK_AT(check_a == check_e, "%s is %lld, expected %lld", #actual, check_a, check_e);  \
    } while (0)

#define CHECK_NEAR(actual, expected, tolerance)                                                \
    do {                                                                                       \
        double check_a = (actual), check_e = (expected);                                       \
        CHECK_AT(fabs(check_a - check_e) <= (tolerance), "%s is %.17g, expected %.17g",        \
                 #actual, check_a, check_e);                                                   \
    } while (0)

/* Texts; NULL equals NULL only. */
#define CHECK_TEXT(actual, expected)                                                           \
    do {                                                                                       \
        const char *check_a = (actual), *check_e = (expected);                                 \
        CHECK_AT(check_a &&check_e ? strcmp(check_a, check_e) == 0 : check_a == check_e,       \
                 "%s is \"%s\", expected \"%s\"", #actual, check_a ? check_a : "(null)",       \
                 check_e ? check_e : "(null)");                                                \
    } while (0)

/* Only functions of the public API clear the message themselves; a test of internal ones, which
 * includes core/core.h first, has it cleared here. */
#ifdef DNI_CORE_H
#define CHECK_CLEAR() dni_clear_error()
#else
#define CHECK_CLEAR() ((void)0)
#endif

/* A call and the status it must return; its message must be there exactly if it failed. */
#define CHECK_STATUS(call, expected) CHECK_MESSAGE(call, expected, "")

/* Likewise, and the message must contain `part`. */
#define CHECK_MESSAGE(call, expected, part)                                                    \
    do {                                                                                       \
        CHECK_CLEAR();                                                                         \
        dn_status check_s = (call), check_want = (expected);                                   \
        const char *check_m = dn_last_error();                                                 \
        CHECK_AT(check_s == check_want && !check_s == !check_m &&                              \
                     (!check_m || (check_m[0] && strstr(check_m, part))),                      \
                 "%s is %s%s%s%s, expected %s%s%s", #call, dn_status_name(check_s),            \
                 check_m ? " \"" : "", check_m ? check_m : "", check_m ? "\"" : "",            \
                 dn_status_name(check_want), (part)[0] ? " with " : "", part);                 \
    } while (0)

/* ---- a heap that counts, checks sizes and what lies behind a block, and fails when asked - */

/* fail_at: the number of the request (from 1) that fails, 0: none. With `persist` all later
 * ones fail too. limit: bytes it will hold, 0: any. check_alloc is the callback, the struct its
 * user; zero is its start. */
typedef struct check_heap {
    atomic_long requests, live_blocks, fail_at;
    _Atomic int64_t live_bytes, peak_bytes, limit;
    atomic_int persist, mistakes;
} check_heap;

CHECK_UNUSED void check_heap_add(check_heap *heap, long blocks, int64_t bytes)
{
    int64_t now = atomic_fetch_add(&heap->live_bytes, bytes) + bytes;
    int64_t peak = atomic_load(&heap->peak_bytes);
    atomic_fetch_add(&heap->live_blocks, blocks);
    while (now > peak && !atomic_compare_exchange_weak(&heap->peak_bytes, &peak, now))
        ;
}

static const char check_guard[] = "no further";

CHECK_UNUSED void *check_alloc(void *user, void *ptr, size_t old_size, size_t new_size)
{
    check_heap *heap = user;
    size_t *block = ptr ? (size_t *)ptr - 2 : NULL;
    if (block && (block[0] != old_size ||
                  memcmp((char *)ptr + old_size, check_guard, sizeof check_guard)))
        atomic_fetch_add(&heap->mistakes, 1);
    if (new_size == 0) {
        if (block)
            check_heap_add(heap, -1, -(int64_t)old_size);
        free(block);
        return NULL;
    }
    long request = atomic_fetch_add(&heap->requests, 1) + 1;
    long fail_at = atomic_load(&heap->fail_at);
    if (fail_at && (request == fail_at || (heap->persist && request > fail_at)))
        return NULL;
    if (heap->limit && (int64_t)new_size > heap->limit - heap->live_bytes)
        return NULL;
    block = realloc(block, new_size + 2 * sizeof(size_t) + sizeof check_guard);
    if (!block)
        return NULL;
    block[0] = new_size;
    memcpy((char *)(block + 2) + new_size, check_guard, sizeof check_guard);
    check_heap_add(heap, ptr ? 0 : 1, (int64_t)new_size - (ptr ? (int64_t)old_size : 0));
    return block + 2;
}

/* All that was taken is back, every size was told right, nothing was written behind. */
#define CHECK_HEAP_CLEAN(heap)                                                                 \
    CHECK_AT((heap)->live_blocks == 0 && (heap)->live_bytes == 0 && (heap)->mistakes == 0,     \
             "%ld blocks, %lld bytes still held; %d wrong sizes or overruns",                  \
             (long)(heap)->live_blocks, (long long)(heap)->live_bytes, (int)(heap)->mistakes)

/* ---- files ------------------------------------------------------------------------------- */

CHECK_UNUSED void check_remove(const char *path)
{
    struct stat info;
    if (lstat(path, &info))
        return;
    DIR *folder = S_ISDIR(info.st_mode) ? opendir(path) : NULL;
    for (struct dirent *entry; folder && (entry = readdir(folder));) {
        char inner[1024];
        int n = snprintf(inner, sizeof(inner), "%s/%s", path, entry->d_name);
        if (n > 0 && (size_t)n < sizeof(inner) && strcmp(entry->d_name, ".") &&
            strcmp(entry->d_name, ".."))
            check_remove(inner);
    }
    if (folder)
        closedir(folder);
    remove(path);
}

/* This program's own folder for files, gone after check_summary. */
CHECK_UNUSED const char *check_folder(void)
{
    if (!check_folder_path[0]) {
        const char *base = getenv("TMPDIR");
        snprintf(check_folder_path, sizeof(check_folder_path), "%.200s/deepnet-test-XXXXXX",
                 base && base[0] ? base : "/tmp");
        if (!mkdtemp(check_folder_path)) {
            perror(check_folder_path);
            exit(2);
        }
    }
    return check_folder_path;
}

/* "folder/name" in one of 64 buffers that take turns. */
CHECK_UNUSED const char *check_path(const char *name)
{
    static char paths[64][512];
    static int turn;
    char *path = paths[turn++ % 64];
    snprintf(path, sizeof(paths[0]), "%s/%s", check_folder(), name);
    return path;
}

CHECK_UNUSED void check_write(const char *path, const void *data, size_t size)
{
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(data, 1, size, file) != size || fclose(file)) {
        perror(path);
        exit(2);
    }
}

/* Files of a folder, beside itself and the one above. */
CHECK_UNUSED int check_entries(const char *path)
{
    int count = 0;
    DIR *folder = opendir(path);
    while (folder && readdir(folder))
        count++;
    if (folder)
        closedir(folder);
    return count - 2;
}

/* ---- the end ----------------------------------------------------------------------------- */

/* Prints "N passed, M failed"; the exit code of main. */
CHECK_UNUSED int check_summary(void)
{
    if (check_folder_path[0])
        check_remove(check_folder_path);
    printf("%d passed, %d failed\n", check_passed, check_failed);
    return check_failed != 0 || check_passed == 0;
}

#endif
