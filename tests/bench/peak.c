/* SPDX-License-Identifier: BSD-2-Clause
 * peak.c: what this machine can do, which the floors are made of: f32 multiply-adds a second in
 * registers, bf16 ones where it has vdpbf16ps (else 0), and bytes a second of a triad
 * (a = b + s c, three streams) in memory. Compiled for the machine it runs on. The clock is the
 * thread's own: others do not slow it. */
#ifdef __AVX512BF16__
#include <immintrin.h>
#endif
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench.h"

#if defined(__AVX512F__)
#define LANES 16
#elif defined(__AVX__)
#define LANES 8
#else
#define LANES 4
#endif
/* As wide as registers: wider ones would be too many, and kept in memory. */
typedef float vec __attribute__((vector_size(4 * LANES)));

enum { CHAINS = 10, ROUNDS = 20 * 1000 * 1000, FLOATS = 16 << 20, TRIADS = 8 };

typedef struct job {
    double seconds;
    float *a, *b, *c;
    float result;
} job;

static void *fma_loop(void *arg)
{
    job *j = arg;
    vec acc[CHAINS], x, y;
    for (int i = 0; i < LANES; i++)
        x[i] = 0.999f + (float)i * 1e-6f, y[i] = 1e-3f;
    for (int k = 0; k < CHAINS; k++)
        acc[k] = y * (float)k;
    double start = bench_thread_now();
    for (int i = 0; i < ROUNDS; i++)
        for (int k = 0; k < CHAINS; k++)
            acc[k] = acc[k] * x + y;
    j->seconds = bench_thread_now() - start;
    for (int k = 0; k < CHAINS; k++)
        j->result += acc[k][k % LANES];
    return NULL;
}

#ifdef __AVX512BF16__
static void *bf16_loop(void *arg)
{
    job *j = arg;
    __m512 acc[CHAINS];
    __m512bh x = (__m512bh)_mm512_set1_epi32(0x3F003F00),
             y = (__m512bh)_mm512_set1_epi32(0x3C00);
    for (int k = 0; k < CHAINS; k++)
        acc[k] = _mm512_set1_ps((float)k);
    double start = bench_thread_now();
    for (int i = 0; i < ROUNDS; i++)
        for (int k = 0; k < CHAINS; k++)
            acc[k] = _mm512_dpbf16_ps(acc[k], x, y);
    j->seconds = bench_thread_now() - start;
    for (int k = 0; k < CHAINS; k++)
        j->result += acc[k][k];
    return NULL;
}
#endif

static void *triad_loop(void *arg)
{
    job *j = arg;
    double best = 1e9;
    for (int t = 0; t < TRIADS; t++) {
        double start = bench_thread_now();
        for (size_t i = 0; i < FLOATS; i++)
            j->a[i] = j->b[i] + 3.0f * j->c[i];
        double seconds = bench_thread_now() - start;
        best = seconds < best ? seconds : best;
        j->result += j->a[t];
    }
    j->seconds = best;
    return NULL;
}

/* The slowest of `threads` threads that do the same at once. */
static double run(int threads, void *(*body)(void *), job *jobs)
{
    pthread_t ids[64];
    double slowest = 0;
    for (int i = 0; i < threads; i++)
        if (pthread_create(&ids[i], NULL, body, &jobs[i]))
            exit(1);
    for (int i = 0; i < threads; i++) {
        pthread_join(ids[i], NULL);
        slowest = jobs[i].seconds > slowest ? jobs[i].seconds : slowest;
    }
    return slowest;
}

static double best_rate(int threads, void *(*body)(void *), job *jobs, double flops)
{
    double best = 0;
    for (int i = 0; i < 3; i++) {
        double rate = flops * CHAINS * ROUNDS * threads / run(threads, body, jobs);
        best = rate > best ? rate : best;
    }
    return best;
}

int main(int argc, char **argv)
{
    bench_options o = bench_parse(argc, argv, "peak [--threads=N]");
    static job jobs[64];
    int threads = o.threads < 1 ? 1 : o.threads > 64 ? 64 : o.threads;
    double flops = best_rate(threads, fma_loop, jobs, 2 * LANES), narrow = 0;
#ifdef __AVX512BF16__
    narrow = best_rate(threads, bf16_loop, jobs, 2 * 32);
#endif
    for (int i = 0; i < threads; i++) {
        jobs[i].a = calloc(FLOATS, 4);
        jobs[i].b = calloc(FLOATS, 4);
        jobs[i].c = calloc(FLOATS, 4);
        if (!jobs[i].a || !jobs[i].b || !jobs[i].c)
            return 1;
        for (size_t k = 0; k < FLOATS; k++)
            jobs[i].a[k] = jobs[i].b[k] = jobs[i].c[k] = (float)(k & 7);
    }
    double bytes = 12.0 * FLOATS * threads / run(threads, triad_loop, jobs);
    printf("{\"threads\": %d, \"gflops\": %.1f, \"gflops_bf16\": %.1f, \"gbytes\": %.2f}\n",
           threads, flops / 1e9, narrow / 1e9, bytes / 1e9);
    for (int i = 0; i < threads; i++)
        free(jobs[i].a), free(jobs[i].b), free(jobs[i].c);
    return jobs[0].result == 0.123f;
}
