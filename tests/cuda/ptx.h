/* SPDX-License-Identifier: BSD-2-Clause
 * ptx.h: a kernel as nvcc writes it, in PTX, ready to be run here: ptx_read.c makes it of text,
 * ptx_run.c runs it, ptx_launch.c has the calls of the runtime that launch it. A register is a
 * row of WARP lanes in the warp's file, and every operand is one, constants and the thread's
 * numbers too. */
#ifndef DN_TESTS_CUDA_PTX_H
#define DN_TESTS_CUDA_PTX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    PTX_WARP = 32,
    PTX_MOST_THREADS = 1024,
    PTX_MOST_PARAMS = 4352, /* bytes of a kernel's parameters that a launch takes */
    PTX_MOST_SHARED = 48 << 10
};

/* Lanes of registers, and memory, are of every type in turn. */
#define PTX_ANY __attribute__((may_alias))
typedef uint32_t pred PTX_ANY;
typedef uint8_t u8 PTX_ANY;
typedef uint16_t u16 PTX_ANY;
typedef int16_t s16 PTX_ANY;
typedef uint32_t u32 PTX_ANY;
typedef int32_t s32 PTX_ANY;
typedef uint64_t u64 PTX_ANY;
typedef int64_t s64 PTX_ANY;
typedef float f32 PTX_ANY;
typedef double f64 PTX_ANY;

/* The first registers of every file. */
enum {
    PTX_TID,
    PTX_NTID,
    PTX_CTAID,
    PTX_NCTAID,
    PTX_CARRY,
    PTX_GIVEN /* so many have a value when a thread begins, but for the carry */
};

/* What is no row of ptx_ops.h, whose numbers are its lines. */
enum {
    PTX_LOAD = 1000, /* and store: memory[] says where and how much */
    PTX_STORE,
    PTX_LOCAL, /* d = the thread's local memory + at */
    PTX_BRANCH,
    PTX_CALL, /* d keeps where to return to */
    PTX_RETURN,
    PTX_EXIT,
    PTX_BARRIER
};

typedef enum ptx_space {
    PTX_GENERIC,
    PTX_GLOBAL,
    PTX_SHARED,
    PTX_PARAM,
    PTX_IN_LOCAL
} ptx_space;

typedef struct ptx_instruction {
    uint16_t op;
    uint8_t space, size, count; /* of memory: count pieces of size bytes */
    uint8_t wide;               /* bytes of the registers that they are kept in */
    bool sign;                  /* of 4 bytes: it fills a wider register */
    uint32_t d, a, b, c, e;     /* registers: bytes into the file; loads begin at d */
    uint32_t address;           /* likewise */
    int64_t at;                 /* added to an address; where a branch or a call goes */
    bool guarded, unless;       /* only where register `a` is (not) true: of branches */
    const char *text;
    char *from, *to; /* memory that it found last */
} ptx_instruction;

typedef struct ptx_constant {
    uint32_t where, size;
    uint64_t value;
} ptx_constant;

typedef struct ptx_kernel {
    const char *name;
    ptx_instruction *code;
    size_t count, room;
    ptx_constant *constants;
    size_t num_constants;
    uint32_t file;             /* bytes of a warp's registers */
    uint32_t local;            /* of a thread's own memory, */
    uint32_t shared;           /* of a block's */
    uint32_t threads;          /* most of a block */
    size_t num_params, params; /* and their bytes */
    size_t offset[8], bytes[8];
} ptx_kernel;

/* Memory that all kernels of a text share: its tables. */
typedef struct ptx_table {
    const char *name;
    char *start;
    size_t bytes;
} ptx_table;

typedef struct ptx_module {
    const char *text;
    ptx_table tables[16];
    int num_tables;
} ptx_module;

/* Where a launch puts the parameters: their addresses are constants. */
extern _Alignas(16) char ptx_params[PTX_MOST_PARAMS];

/* ptx_read.c. What cannot be read ends the process, with a line that names it. */
void ptx_read_tables(ptx_module *module);
ptx_kernel *ptx_read_kernel(const ptx_module *module, const char *name);

/* ptx_run.c. False: *why says what a device would have held against it, and where. */
typedef struct ptx_launch {
    const ptx_module *module;
    ptx_kernel *kernel;
    int device;
    uint32_t grid, block;
} ptx_launch;
bool ptx_run(const ptx_launch *launch, char *why, size_t size);

#endif
