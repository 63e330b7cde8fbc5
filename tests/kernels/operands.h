/* SPDX-License-Identifier: BSD-2-Clause
 * operands.h: memory of the operands of one execution, between guards or a page that cannot be
 * touched, and the numbers in it. */
#ifndef DN_TESTS_KERNELS_OPERANDS_H
#define DN_TESTS_KERNELS_OPERANDS_H

#include <string.h>

#include "harness.h"

#define GUARD      64 /* bytes before and after every operand and the scratch */
#define GUARD_BYTE 0xA5

/* SHIFTED: no fence, but as little aligned as its elements need. */
typedef enum fencing { NO_FENCE, FENCE_AFTER, FENCE_BEFORE, SHIFTED } fencing;

typedef struct block {
    unsigned char *memory, *data; /* data = memory + GUARD; behind a fence: memory */
    unsigned char *device;        /* what a device has of it; NULL: nothing */
    size_t bytes, before, after;  /* bytes of guards */
    void *pages;                  /* with a fence: `inside` bytes and a page around; or NULL */
    size_t inside;
} block;

/* One execution: operands of one backend with one number of threads. Nothing is known of more
 * blocks and operands than there are: of most cases, a hundredth. */
typedef struct execution {
    int32_t ins, outs;
    block in[MOST_OPERANDS], out[MOST_OPERANDS], scratch, keep;
    dn_operand inputs[MOST_OPERANDS], outputs[MOST_OPERANDS];
    fencing fence;
    char implementation[sizeof(((dn_op_info *)0)->implementation)];
} execution;

/* Element i of that memory. */
static inline double load(int32_t dtype, const void *data, int64_t i)
{
    uint32_t word;
    float x;
    switch (dtype) {
    case DN_F32:
        return ((const float *)data)[i];
    case DN_F64:
        return ((const double *)data)[i];
    case DN_BF16:
        word = (uint32_t)((const uint16_t *)data)[i] << 16;
        memcpy(&x, &word, sizeof(x));
        return x;
    case DN_I32:
        return ((const int32_t *)data)[i];
    case DN_I64:
        return (double)((const int64_t *)data)[i];
    default:
        return ((const uint8_t *)data)[i];
    }
}

block block_new(size_t bytes, int value, fencing fence, size_t align);
bool block_guarded(const block *b);
bool is_narrow(const kernel_case *c);
void execution_init(execution *e, const kernel_case *c, uint64_t seed);
void execution_zeros(execution *e, const kernel_case *c);
void execution_copy(execution *e, const execution *start, const kernel_case *c, bool wide,
                    fencing fence);
void execution_free(execution *e);

#endif
