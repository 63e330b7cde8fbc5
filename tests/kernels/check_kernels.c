/* SPDX-License-Identifier: BSD-2-Clause
 * check_kernels.c: every op of every built-in backend against ref, and the check itself against
 * liars: a lie of any kind about any op must come out. Arguments are what is wanted of it: ref,
 * cpu, avx2, plain (the fast backend as lesser machines have it), same (cpu and avx2 give the
 * same bits), liars; or what is not built in: cuda-host, a module's path.
 * DN_TEST_SEED chooses other numbers, DN_TEST_EVERY one case of so many, DN_TEST_KIND a list of
 * kinds; with DN_TEST_TUNE backends may time what they choose, with DN_TEST_UNORDERED sum in
 * any order (and the bits may differ with the number of threads). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/module.h"
#include "harness.h"

extern const dn_backend_ops *const dni_builtin_backends[];
extern const dn_backend_ops dn_cpu_backend_avx2, dn_cpu_backend_plain;
extern const dn_backend_ops dn_cuda_host_backend; /* the CUDA kernels, compiled as plain C */

typedef struct tally {
    const dn_backend_ops *ref, *candidate;
    bool same; /* ref is not the truth, but to have the same bits */
    uint64_t seed;
    int lie; /* -1: none; else failures are what is wanted, of every fourth case */
    int seen[DN_OP_KIND_END];
    int every, number; /* DN_TEST_EVERY: one case of so many, for slow tools */
    const char *kinds; /* DN_TEST_KIND */
    int passed[DN_OP_KIND_END], declined[DN_OP_KIND_END], failed[DN_OP_KIND_END];
} tally;

/* What is added to a number that is far off may be lost in it. */
static bool is_wild(const kernel_case *c)
{
    for (int32_t k = 0; k < c->in.count; k++)
        if (c->in.fill[k] == WILD)
            return true;
    return false;
}

static void one_case(const kernel_case *c, void *user)
{
    tally *t = user;
    char reason[256] = "";
    if (t->kinds && !strstr(t->kinds, kind_name(c->kind)))
        return;
    if ((t->lie == LIE_STALE && !c->constant) || (t->lie >= 0 && is_wild(c)))
        return;
    if (t->lie < 0 && t->every > 1 && t->number++ % t->every != 0)
        return;
    if (t->lie >= 0 && t->seen[c->kind]++ % (4 * t->every) != 0)
        return;
    int result = (t->same ? same_case : check_case)(c, t->ref, t->candidate, t->seed, reason,
                                                    sizeof(reason));
    t->passed[c->kind] += result == CASE_PASSED;
    t->declined[c->kind] += result == CASE_DECLINED;
    t->failed[c->kind] += result == CASE_FAILED;
    if (result == CASE_FAILED && t->lie < 0 && t->failed[c->kind] <= 5)
        printf("%s: %s, case %d: %s\n", t->candidate->name, kind_name(c->kind), (int)c->number,
               reason);
}

static void all_cases(tally *t)
{
    cases_elementwise(one_case, t);
    cases_spatial(one_case, t);
    cases_network(one_case, t);
}

static int one_in(void)
{
    const char *every = getenv("DN_TEST_EVERY");
    return every && atoi(every) > 1 ? atoi(every) : 1;
}

/* Failures of an honest backend; a kind without any case is one. */
static int check_backend(const dn_backend_ops *ref, const dn_backend_ops *candidate, bool same,
                         uint64_t seed)
{
    tally t = {.ref = ref,
               .candidate = candidate,
               .same = same,
               .seed = seed,
               .lie = -1,
               .kinds = getenv("DN_TEST_KIND"),
               .every = one_in()};
    int passed = 0, declined = 0, failures = 0;
    all_cases(&t);
    for (int32_t kind = 1; kind < DN_OP_KIND_END; kind++) {
        passed += t.passed[kind];
        declined += t.declined[kind];
        failures += t.failed[kind];
        if (t.every > 1 || t.kinds || !kind_name(kind) ||
            t.passed[kind] + t.failed[kind] + t.declined[kind] > 0)
            continue;
        printf("%s has no case\n", kind_name(kind));
        failures++;
    }
    check_close();
    printf("%s: %d cases agree with %s, %d declined, %d failed\n", candidate->name, passed,
           ref->name, declined, failures);
    return failures;
}

/* Lies that were believed: a kind of which no case failed, or any case for a blatant lie. */
static int check_liar(const dn_backend_ops *ref, int lie, uint64_t seed)
{
    tally t = {
        .ref = ref, .candidate = liar(ref, lie), .seed = seed, .lie = lie, .every = one_in()};
    int believed = 0, caught = 0;
    all_cases(&t);
    for (int32_t kind = 1; kind < DN_OP_KIND_END; kind++) {
        caught += t.failed[kind];
        if (lie == LIE_STALE && t.seen[kind] == 0)
            continue;                                        /* has no constant inputs */
        bool every = lie != LIE_NEGATED && lie != LIE_STALE; /* zeros have no sign */
        if (kind_name(kind) && (t.failed[kind] == 0 || (every && t.passed[kind] > 0))) {
            printf("lie %d about %s was believed %d times\n", lie, kind_name(kind),
                   t.passed[kind]);
            believed++;
        }
    }
    printf("liar: lie %d caught %d times\n", lie, caught);
    return believed;
}

/* A module that must take something; 77 (skipped) where this machine cannot open it. */
static int check_module(const dn_backend_ops *ref, const char *path, uint64_t seed)
{
    const dn_backend_ops *ops;
    dn_backend_host host;
    dn_backend *backend = NULL;
    if (dni_module_load(&dni_default_heap, NULL, path, strlen(path), &ops)) {
        printf("%s\n", dn_last_error());
        return 1;
    }
    host_init(&host, 1);
    if (ops->open(&backend, &host)) {
        printf("%s: %s\n", ops->name, host_message());
        return 77;
    }
    ops->close(backend);
    return check_backend(ref, ops, false, seed);
}

static int check_liars(const dn_backend_ops *ref, uint64_t seed)
{
    int failures = 0;
    for (int lie = 0; lie < LIE_COUNT; lie++)
        failures += check_liar(ref, lie, seed);
    return failures;
}

static int check_builtin(const dn_backend_ops *ref, uint64_t seed)
{
    int failures = 0;
    for (int i = 0; dni_builtin_backends[i]; i++) /* ref too: its float against its double */
        failures += check_backend(ref, dni_builtin_backends[i], false, seed);
    failures += check_backend(ref, &dn_cpu_backend_avx2, false, seed);
    failures += check_backend(ref, &dn_cpu_backend_plain, false, seed);
    return failures + check_liars(ref, seed);
}

/* The backend of that name, or NULL. */
static const dn_backend_ops *built_in(const char *name)
{
    if (strcmp(name, "cuda-host") == 0)
        return &dn_cuda_host_backend;
    if (strcmp(name, "avx2") == 0)
        return &dn_cpu_backend_avx2;
    if (strcmp(name, "plain") == 0)
        return &dn_cpu_backend_plain;
    for (int i = 0; dni_builtin_backends[i]; i++)
        if (strcmp(dni_builtin_backends[i]->name, name) == 0)
            return dni_builtin_backends[i];
    return NULL;
}

static int check_named(const dn_backend_ops *ref, const char *name, uint64_t seed)
{
    const dn_backend_ops *ops = built_in(name);
    if (strcmp(name, "liars") == 0)
        return check_liars(ref, seed);
    if (strcmp(name, "same") == 0)
        return check_backend(built_in("cpu"), &dn_cpu_backend_avx2, true, seed);
    return ops ? check_backend(ref, ops, false, seed) : check_module(ref, name, seed);
}

int main(int argc, char **argv)
{
    const char *text = getenv("DN_TEST_SEED");
    uint64_t seed = text ? strtoull(text, NULL, 10) : 20260;
    const dn_backend_ops *ref = NULL;
    int failures = 0;
    printf("seed %llu\n", (unsigned long long)seed);
    for (int i = 0; dni_builtin_backends[i]; i++)
        if (strcmp(dni_builtin_backends[i]->name, "ref") == 0)
            ref = dni_builtin_backends[i];
    if (!ref) {
        printf("there is no ref\n");
        return 1;
    }
    for (int i = 1; i < argc; i++)
        failures += check_named(ref, argv[i], seed);
    if (argc == 1)
        failures += check_builtin(ref, seed);
    if (host_live_allocations() != 0) {
        printf("%lld allocations were never freed\n", (long long)host_live_allocations());
        failures++;
    }
    printf("%s\n", failures == 77 ? "skipped" : failures ? "FAILED" : "passed");
    return failures == 77 ? 77 : failures != 0;
}
