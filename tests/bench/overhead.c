/* SPDX-License-Identifier: BSD-2-Clause
 * overhead.c: what a step costs apart from its kernels: the net runs on a backend that takes
 * every op and does nothing, so all the time there is, is the library's own. */
#include <stdio.h>
#include <string.h>

#include "bench.h"

static int the_backend, the_op; /* handles need an address, nothing more */

static dn_status idle_open(dn_backend **out, const dn_backend_host *host)
{
    *out = (dn_backend *)&the_backend;
    return host ? DN_OK : DN_E_INVALID;
}

static void idle_close(dn_backend *backend)
{
    (void)backend;
}

static dn_status idle_create(dn_backend *backend, const dn_op_desc *desc, dn_op **out,
                             dn_op_info *info)
{
    (void)backend, (void)desc;
    *out = (dn_op *)&the_op;
    snprintf(info->implementation, sizeof info->implementation, "idle");
    return DN_OK;
}

static dn_status idle_run(dn_op *op, const dn_op_io *io)
{
    (void)op, (void)io;
    return DN_OK;
}

static void idle_destroy(dn_op *op)
{
    (void)op;
}

static const dn_backend_ops idle = {.struct_size = sizeof idle,
                                    .name = "idle",
                                    .space = DN_SPACE_HOST,
                                    .open = idle_open,
                                    .close = idle_close,
                                    .op_create = idle_create,
                                    .op_run = idle_run,
                                    .op_destroy = idle_destroy};

typedef struct repeated { /* one run is too short for the clock */
    bench_net *net;
    int times;
} repeated;

static void run(void *arg)
{
    repeated *r = arg;
    if (r->net->train)
        bench_check(dn_solver_step(r->net->solver, r->times), "step");
    for (int i = 0; !r->net->train && i < r->times; i++)
        bench_step(r->net);
}

int main(int argc, char **argv)
{
    bench_options o = bench_parse(argc, argv, "overhead [--seconds=S] X_train.prototxt ...");
    for (int i = 0; i < o.num_files; i++) {
        char name[64];
        bench_options on_idle = o;
        on_idle.backend = &idle;
        bench_net n = bench_open(&on_idle, o.files[i]);
        repeated r = {&n, 1000};
        bench_net_name(o.files[i], name, sizeof name);
        run(&r);
        bench_times t = bench_repeat(&o, o.seconds, run, &r);
        printf("{\"net\": \"%s\", \"job\": \"%s\", \"overhead_us\": %.3f, \"best_us\": %.3f}\n",
               name, n.train ? "train" : "infer", 1e6 * t.median / r.times,
               1e6 * t.best / r.times);
        bench_close(&n);
    }
    return 0;
}
