/* SPDX-License-Identifier: BSD-2-Clause
 * ops.h: an op to be timed, and who is to run it: between ops.c, which measures one, and
 * ops_of_nets.c, which has the shapes. */
#ifndef DEEPNET_BENCH_OPS_H
#define DEEPNET_BENCH_OPS_H

#include <stdio.h>
#include <string.h>

#include "core/core.h"

enum { OPERANDS = 8, BACKENDS = 4, REGIONS = 300 };

typedef struct spec { /* one op, its operands and the work it is */
    char name[64];
    int32_t kind, num_in, num_out;
    dn_operand in[OPERANDS], out[OPERANDS];
    double flops, bytes;
    int64_t mask_width, mask_stride; /* an I32 input names the windows' first elements */
    int64_t classes;                 /* input 1 holds whole numbers below it */
    bool regions;                    /* input 1 holds regions of the image 1000 x 600 */
    union {
        dn_args base;
        dn_args_conv conv;
        dn_args_gemm gemm;
        dn_args_pool pool;
        dn_args_unary unary;
        dn_args_axis axis;
        dn_args_update update;
        dn_args_eltwise eltwise;
        dn_args_bcast bcast;
        dn_args_norm_scale norm_scale;
        dn_args_lrn lrn;
        dn_args_copy copy;
        dn_args_select select;
        dn_args_reduce reduce;
        dn_args_random random;
        dn_args_dropout dropout;
        dn_args_prelu prelu;
        dn_args_mvn mvn;
        dn_args_loss loss;
        dn_args_accuracy accuracy;
        dn_args_argmax argmax;
        dn_args_gather gather;
        dn_args_lstm lstm;
        dn_args_scale_clip scale_clip;
        dn_args_roi roi;
    } args;
} spec;

typedef struct bench {
    const dn_backend_ops *backends[BACKENDS];
    int32_t num_backends, compute;
    const char *filter;
    int32_t threads;
    int ms;
    bool check, cpu_time, constant;
    dni_pool *pool;
    dn_backend_host host;
    int failures;
} bench;

size_t ops_bytes(const dn_operand *o);
/* Times it on each backend, if the filter wants it. */
void ops_measure(bench *b, const spec *s);
/* Measures all there are. */
void ops_of_nets(bench *b);

#endif
