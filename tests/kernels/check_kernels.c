/* SPDX-License-Identifier: BSD-2-Clause
 * check_kernels.c: every op of every built-in backend against ref, and the check itself against
 * liars: a lie of any kind about any op must come out. Arguments are what is wanted of it: ref,
 * cpu, avx2, plain (the fast backend as lesser machines have it), avx512 (as greater ones do,
 * emulated), same (avx512 and avx2 give the same bits), liars; or what is not built in:
 * cuda-host, a module's path. DN_TEST_SEED chooses other numbers, DN_TEST_EVERY one case of so
 * many of each kind, DN_TEST_KIND a list of kinds, DN_TEST_THREADS up to how many threads (3),
 * DN_TEST_RANDOM so many convolutions, products and poolings by chance in the tables' place;
 * with DN_TEST_LOOPS modules are plain loops, as ref is, and have one case in so many of much
 * work; with DN_TEST_TUNE backends may time what they choose, with DN_TEST_UNORDERED sum in any
 * order (and the bits may differ with the number of threads). DN_TEST_KERNELS lists kernels
 * which a module that knows them must have launched, or with a ! before it, all others. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/module.h"
#include "harness.h"
#include "launches.h"

extern const dn_backend_ops *const dni_builtin_backends[];
extern const dn_backend_ops dn_cpu_backend_avx2, dn_cpu_backend_plain;
#ifdef CPU_HAVE_EMULATED
extern const dn_backend_ops dn_cpu_backend_emulated; /* AVX-512's kernels, made of AVX2 */
#else
#define dn_cpu_backend_emulated dn_cpu_backend_avx2
#endif
extern const dn_backend_ops dn_cuda_host_backend; /* the CUDA kernels, compiled as plain C */

enum { FEW_CASES = 4, MUCH = 1 << 20, OF_MUCH = 5, OF_MUCH_OF_REF = 25 };

typedef struct tally {
    const dn_backend_ops *ref, *candidate;
    bool same; /* ref is not the truth, but to have the same bits */
    int loops; /* 0, or knows no sizes, one case in so many of much work: is_one_of_much */
    int lie;   /* -1: none; else failures are what is wanted */
    const kernel_launches *launches; /* of a module that counts them, or NULL */
    int seen[DN_OP_KIND_END], large[DN_OP_KIND_END];
    int passed[DN_OP_KIND_END], declined[DN_OP_KIND_END], failed[DN_OP_KIND_END];
} tally;

/* All candidates are checked in one walk over the cases: a case's numbers, and what ref makes
 * of them, take longer than most candidates. */
typedef struct check {
    const dn_backend_ops *ref;
    uint64_t seed;
    int every; /* DN_TEST_EVERY: of each kind one case of so many, for slow tools */
    int number[DN_OP_KIND_END];
    const char *kinds;   /* DN_TEST_KIND */
    const char *kernels; /* DN_TEST_KERNELS */
    int random;          /* DN_TEST_RANDOM */
    tally tallies[32];
    int count;
} check;

/* Nothing can be told from the truth: what is added to a number that is far off may be lost in
 * it, and an op whose outputs are empty makes no number. */
static bool hides_lies(const kernel_case *c)
{
    int64_t made = 0;
    for (int32_t k = 0; k < c->in.count; k++)
        if (c->in.fill[k] == WILD)
            return true;
    for (int32_t k = 0; k < c->out.count; k++)
        made += c->out.operand[k].dtype < 0 ? 0 : operand_count(&c->out.operand[k]);
    return made == 0;
}

/* Multiplications of a product or a convolution; other ops have few. */
static int64_t work_of(const kernel_case *c)
{
    bool weights = c->kind == DN_OP_CONV_BWD_WEIGHTS;
    const dn_args_gemm *g = &c->args.gemm;
    const dn_operand *y = weights                 ? &c->in.operand[1]
                          : c->kind == DN_OP_CONV ? &c->out.operand[0]
                                                  : &c->in.operand[0];
    const dn_operand *w = weights ? &c->out.operand[0] : &c->in.operand[1];
    if (c->kind == DN_OP_GEMM)
        return g->m * g->n * g->k * g->batch;
    if ((c->kind != DN_OP_CONV && c->kind != DN_OP_CONV_BWD_DATA && !weights) ||
        y->shape.dim[1] == 0)
        return 0;
    return operand_count(y) * (operand_count(w) / y->shape.dim[1]);
}

/* The rows of much work are those at which the fast backend begins to do something else. Plain
 * loops, as ref and the CUDA kernels are, choose by shapes, which all of a row's dozens of
 * cases share: every fifth of these (or as DN_TEST_LOOPS has it) says what they have to say.
 * All of them would be three quarters of the time. ref's loops are those of the truth, on
 * operands that it widens: still fewer. */
static bool is_one_of_much(tally *t, const kernel_case *c)
{
    return !t->loops || work_of(c) < MUCH || t->large[c->kind]++ % t->loops == 0;
}

/* Whatever the sample: no kernel is left out. */
static bool launches_rare(const tally *t, const kernel_case *c)
{
    if (!t->launches || !t->launches->rehearse)
        return false;
    t->launches->rehearse(true);
    rehearse_case(c, t->candidate);
    return t->launches->rehearse(false) > 0;
}

/* Liars are told every fourth case of a kind, after its first 256 every sixteenth; and none of
 * much work, since one compares those no differently. */
static bool wanted(tally *t, const kernel_case *c, int every, bool sampled)
{
    if (t->lie < 0)
        return (sampled && is_one_of_much(t, c)) || launches_rare(t, c);
    if ((t->lie == LIE_STALE && !c->constant) || hides_lies(c) || work_of(c) >= MUCH)
        return false;
    int seen = t->seen[c->kind]++;
    return seen % ((seen < 256 ? 4 : 16) * every) == 0;
}

/* Whether a list has this name. */
static bool lists(const char *list, const char *name)
{
    size_t length = strlen(name);
    for (const char *at = list; (at = strstr(at, name)) != NULL; at += length)
        if ((at == list || at[-1] == ',') && (at[length] == ',' || !at[length]))
            return true;
    return false;
}

/* What a kernel spoilt on a device is gone for the whole process. */
static void stop_if_lost(const tally *t)
{
    if (t->candidate->space != DN_SPACE_DEVICE || check_lives())
        return;
    printf("%s: the device is lost, no more cases\nFAILED\n", t->candidate->name);
    exit(1);
}

static void one_case(const kernel_case *c, void *user)
{
    check *all = user;
    subject *s = NULL;
    if (all->kinds && !lists(all->kinds, kind_name(c->kind)))
        return;
    bool sampled = all->number[c->kind]++ % all->every == 0;
    for (tally *t = all->tallies; t < all->tallies + all->count; t++) {
        char reason[256] = "";
        if (!wanted(t, c, all->every, sampled))
            continue;
        s = s ? s : subject_new(c, all->seed);
        if (t->lie >= 0)
            t->candidate = liar(all->ref, t->lie);
        int result =
            (t->same ? same_case : check_case)(s, t->ref, t->candidate, reason, sizeof(reason));
        t->passed[c->kind] += result == CASE_PASSED;
        t->declined[c->kind] += result == CASE_DECLINED;
        t->failed[c->kind] += result == CASE_FAILED;
        if (result == CASE_FAILED && t->lie < 0 && t->failed[c->kind] <= 5)
            printf("%s: %s, case %d: %s\n", t->candidate->name, kind_name(c->kind),
                   (int)c->number, reason);
        if (result == CASE_FAILED)
            stop_if_lost(t);
    }
    subject_free(s);
}

/* Kernels that no case launched, of those that DN_TEST_KERNELS wants. */
static int kernels_missing(const check *all, const tally *t)
{
    bool but = all->kernels && all->kernels[0] == '!';
    const char *name;
    int missing = 0;
    if (!t->launches || !all->kernels)
        return 0;
    for (int i = 0; (name = t->launches->missing(i)) != NULL; i++)
        if (lists(all->kernels + but, name) != but) {
            printf("no case launches %s\n", name);
            missing++;
        }
    return missing;
}

/* All cases of a kind may be declined: they go to the next backend. But a device is to take
 * every kind that is not the host's, or each step has a copy in it; of a sample, few cases say
 * nothing. */
static bool may_decline(const check *all, const tally *t, int32_t kind)
{
    return t->candidate->space != DN_SPACE_DEVICE || kind == DN_OP_HOST_CALL ||
           (all->every > 1 && t->declined[kind] < FEW_CASES);
}

/* Failures of an honest backend; a kind without any case is one. */
static int backend_failures(const check *all, const tally *t)
{
    int passed = 0, declined = 0, failures = 0;
    for (int32_t kind = 1; kind < DN_OP_KIND_END; kind++) {
        passed += t->passed[kind];
        declined += t->declined[kind];
        failures += t->failed[kind];
        bool named = all->kinds && all->every == 1 && kind_name(kind) &&
                     lists(all->kinds, kind_name(kind));
        bool taken = named || !may_decline(all, t, kind);
        int cases = t->passed[kind] + t->failed[kind] + (taken ? 0 : t->declined[kind]);
        if ((all->kinds && !named) || all->random || !kind_name(kind) || cases > 0)
            continue;
        printf("%s has no case%s\n", kind_name(kind), taken ? " that is not declined" : "");
        failures++;
    }
    failures += kernels_missing(all, t);
    printf("%s: %d cases agree with %s, %d declined, %d failed\n", t->candidate->name, passed,
           t->ref->name, declined, failures);
    return failures;
}

/* Lies that were believed: a kind of which no case failed, or any case for a blatant lie. Of a
 * sample, few cases say nothing of one that is none of some results, as zeros. */
static int liar_failures(const check *all, const tally *t)
{
    int believed = 0, caught = 0;
    for (int32_t kind = 1; kind < DN_OP_KIND_END; kind++) {
        caught += t->failed[kind];
        if (t->lie == LIE_STALE && t->seen[kind] == 0)
            continue;                                              /* has no constant inputs */
        bool every = t->lie != LIE_NEGATED && t->lie != LIE_STALE; /* zeros have no sign */
        bool few = all->every > 1 && t->passed[kind] < FEW_CASES;
        if (kind_name(kind) &&
            ((t->failed[kind] == 0 && !few) || (every && t->passed[kind] > 0))) {
            printf("lie %d about %s was believed %d times\n", t->lie, kind_name(kind),
                   t->passed[kind]);
            believed++;
        }
    }
    printf("liar: lie %d caught %d times\n", t->lie, caught);
    return believed;
}

static int run_check(check *all)
{
    int failures = 0;
    if (all->random > 0) {
        cases_random(one_case, all, all->seed, all->random);
    } else {
        cases_elementwise(one_case, all);
        cases_spatial(one_case, all);
        cases_network(one_case, all);
        cases_tf32(one_case, all);
    }
    check_close();
    for (const tally *t = all->tallies; t < all->tallies + all->count; t++)
        failures += t->lie < 0 ? backend_failures(all, t) : liar_failures(all, t);
    return failures;
}

static tally *add_backend(check *all, const dn_backend_ops *ref,
                          const dn_backend_ops *candidate, bool same)
{
    tally *t = &all->tallies[all->count++];
    *t = (tally){.ref = ref, .candidate = candidate, .same = same, .lie = -1};
    if (candidate == all->ref)
        t->loops = OF_MUCH_OF_REF;
    if (candidate == &dn_cuda_host_backend)
        t->loops = OF_MUCH;
    return t;
}

static void add_liars(check *all)
{
    for (int lie = 0; lie < LIE_COUNT; lie++)
        all->tallies[all->count++] = (tally){.ref = all->ref, .lie = lie};
}

/* A module that must take something: 0, 1, or 77 (skipped) where this machine cannot open it.
 */
static int add_module(check *all, const char *path)
{
    const char *loops = getenv("DN_TEST_LOOPS");
    const dn_backend_ops *ops;
    dn_backend_host host;
    dn_backend *backend = NULL;
    if (dni_module_load(&dni_default_heap, NULL, path, strlen(path), &ops)) {
        printf("%s\n", dn_last_error());
        return 1;
    }
    host_init(&host, 1);
    dn_status status = ops->open(&backend, &host);
    if (status) {
        printf("%s: %s\n", ops->name, host_message());
        return status == DN_E_DEVICE || status == DN_E_UNSUPPORTED ? 77 : 1;
    }
    ops->close(backend);
    tally *t = add_backend(all, all->ref, ops, false);
    t->loops = loops ? atoi(loops) : 0;
    t->launches = dlsym(dlopen(path, RTLD_NOW), "dn_kernel_launches");
    if (t->launches && t->launches->bounded)
        check_unguarded();
    return 0;
}

static void add_builtin(check *all)
{
    for (int i = 0; dni_builtin_backends[i]; i++) /* ref too: its float against its double */
        add_backend(all, all->ref, dni_builtin_backends[i], false);
    add_backend(all, all->ref, &dn_cpu_backend_avx2, false);
    add_backend(all, all->ref, &dn_cpu_backend_plain, false);
    add_liars(all);
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

static void describe(const dn_backend_ops *ops, char *buffer, size_t size)
{
    dn_backend_host host;
    dn_backend *backend = NULL;
    host_init(&host, 1);
    buffer[0] = 0;
    if (ops->open(&backend, &host))
        return;
    ops->describe(backend, buffer, size);
    ops->close(backend);
}

/* This machine's fast backend is what `ops` makes of it: the one is not checked twice. */
static bool is_best(const dn_backend_ops *ops)
{
    char best[256], other[256];
    describe(built_in("cpu"), best, sizeof(best));
    describe(ops, other, sizeof(other));
    return best[0] && strcmp(best, other) == 0;
}

/* AVX-512's kernels: this machine's own, or emulated; NULL without AVX2. */
static const dn_backend_ops *avx512(void)
{
    char best[256], emulated[256];
    describe(built_in("cpu"), best, sizeof(best));
    describe(&dn_cpu_backend_emulated, emulated, sizeof(emulated));
    if (strncmp(best, "avx512 ", 7) == 0)
        return built_in("cpu");
    return strncmp(emulated, "emulated ", 9) == 0 ? &dn_cpu_backend_emulated : NULL;
}

static int add_named(check *all, const char *name)
{
    const dn_backend_ops *ops = strcmp(name, "avx512") == 0 ? avx512() : built_in(name);
    bool of_avx512 = strcmp(name, "avx512") == 0 || strcmp(name, "same") == 0;
    if (of_avx512 && !avx512())
        printf("%s: AVX-512 is neither here nor emulated\n", name);
    else if ((strcmp(name, "avx512") == 0 || strcmp(name, "avx2") == 0) && is_best(ops))
        printf("%s: that is cpu here\n", name);
    else if (strcmp(name, "liars") == 0)
        add_liars(all);
    else if (strcmp(name, "same") == 0)
        add_backend(all, avx512(), &dn_cpu_backend_avx2, true);
    else if (ops)
        add_backend(all, all->ref, ops, false);
    else
        return add_module(all, name);
    return 0;
}

int main(int argc, char **argv)
{
    static check all;
    const char *text = getenv("DN_TEST_SEED"), *every = getenv("DN_TEST_EVERY");
    int failures = 0;
    setvbuf(stdout, NULL, _IOLBF, 0); /* whoever ends this has what was found so far */
    all.seed = text ? strtoull(text, NULL, 10) : 20260;
    all.every = every && atoi(every) > 1 ? atoi(every) : 1;
    all.kinds = getenv("DN_TEST_KIND");
    all.kernels = getenv("DN_TEST_KERNELS");
    all.random = getenv("DN_TEST_RANDOM") ? atoi(getenv("DN_TEST_RANDOM")) : 0;
    all.ref = built_in("ref");
    printf("seed %llu\n", (unsigned long long)all.seed);
    if (!all.ref || argc > 16) {
        printf("%s\n", all.ref ? "too many names" : "there is no ref");
        return 1;
    }
    for (int i = 1; i < argc; i++)
        failures += add_named(&all, argv[i]);
    if (argc == 1)
        add_builtin(&all);
    if (all.count > 0)
        failures += run_check(&all);
    if (host_live_allocations() != 0) {
        printf("%lld allocations were never freed\n", (long long)host_live_allocations());
        failures++;
    }
    if (host_spoilt_allocations() != 0) {
        printf("%lld allocations were written past\n", (long long)host_spoilt_allocations());
        failures++;
    }
    printf("%s\n", failures == 77 ? "skipped" : failures ? "FAILED" : "passed");
    return failures == 77 ? 77 : failures != 0;
}
