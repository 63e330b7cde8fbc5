/* SPDX-License-Identifier: BSD-2-Clause
 * bench.h: what the measuring programs share: a clock, options, medians, JSON lines. They use
 * the public API alone, so they measure what a host would see. */
#ifndef DEEPNET_BENCH_H
#define DEEPNET_BENCH_H

#include <stdint.h>

#include "deepnet/deepnet.h"

typedef struct bench_options {
    const char *backends, *modules; /* names, and the folder of those that are modules */
    const dn_backend_ops *backend;  /* of the program itself, first in the chain */
    int32_t threads, spin_us, plan, compute; /* DN_PLAN_*, DN_COMPUTE_* */
    double seconds;                          /* of repetitions for one figure */
    int cpu_time; /* the process's time: at one thread, others do not disturb it */
    int each;     /* every step, not only sums */
    int gap_us;   /* asleep before every step, as a host that calls now and then */
    int num_files;
    char **files;
} bench_options;

/* --threads=N --backends=LIST --modules=FOLDER --plan=fused|plain|nhwc --compute=bf16
 * --seconds=S --spin-us=N --gap-us=N --cpu-time --each FILE...; ends the process on anything
 * else. */
bench_options bench_parse(int argc, char **argv, const char *usage);

double bench_now(void);        /* seconds of a clock on the wall */
double bench_thread_now(void); /* of the calling thread's work */
/* Runs body until `seconds` have passed, at least 3 times, and returns the median and the least
 * time of one run. */
typedef struct bench_times {
    double median, best;
    int runs;
} bench_times;
bench_times bench_repeat(const bench_options *o, double seconds, void (*body)(void *arg),
                         void *arg);

/* Ends the process, saying dn_last_error, if status is not DN_OK. */
void bench_check(dn_status status, const char *what);
dn_context *bench_context(const bench_options *o);

/* Bytes of memory that were resident at most so far; 0 where the system does not say. */
int64_t bench_peak_memory(void);
/* "resnet50" of "some/where/resnet50_train.prototxt" into out, and whether it is a train form.
 */
int bench_net_name(const char *path, char *out, int size);
/* Fills the inputs with numbers in [-1, 1), labels with whole ones below ten. */
void bench_fill_inputs(dn_net *net);

/* A net in either form, ready to be stepped: bench_step trains, or runs forward. */
typedef struct bench_net {
    dn_context *context;
    dn_solver *solver; /* NULL in the deploy form */
    dn_net *net;
    int train;
} bench_net;
bench_net bench_open(const bench_options *o, const char *path);
void bench_step(void *bench_net_);
void bench_close(bench_net *n);

#endif
