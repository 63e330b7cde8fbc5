/* SPDX-License-Identifier: BSD-2-Clause
 * test_ptx.c: the machine that runs PTX without a device: what kernels of a few lines come to
 * there, and what it holds against those that are wrong. */
#include <sys/wait.h>

#include "check.h"
#include "ptx.h"
#include "stream.h"

enum { THREADS = 64 };

static _Alignas(16) struct {
    uint64_t result[THREADS], given[2]; /* given: 512 bytes from the beginning */
    uint32_t half;                      /* of a word that would end after the memory */
} memory;

bool fake_cuda_memory(int device, const void *at, char **from, char **to)
{
    *from = (char *)&memory;
    *to = (char *)&memory.half + sizeof(memory.half);
    return device == 0 && (const char *)at >= *from && (const char *)at < *to;
}

/* %rd1: the memory; %rd2: the thread's result; %r1: its number; %r2: shared memory, where %r3
 * is the thread's word and %r4 one of the other warp; the others are free. */
#define KERNEL                                                                                 \
    "\n.func (.param .b32 result) twice(.param .b32 given)\n"                                  \
    "{ .reg .b32 %r<3>; ld.param.u32 %r1, [given]; add.s32 %r2, %r1, %r1;"                     \
    "  st.param.b32 [result], %r2; ret; }\n"                                                   \
    ".visible .entry k(.param .u64 k_param_0) .maxntid 64, 1, 1\n"                             \
    "{ .reg .pred %p<3>; .reg .b16 %rs<3>; .reg .b32 %r<8>; .reg .b64 %rd<5>;"                 \
    "  .reg .f32 %f<4>; .local .align 4 .b8 own[8]; .shared .align 8 .b8 s[256];"              \
    "  ld.param.u64 %rd1, [k_param_0]; mov.u32 %r1, %tid.x; mul.wide.u32 %rd2, %r1, 8;"        \
    "  add.s64 %rd2, %rd1, %rd2; mov.u32 %r2, s; shl.b32 %r3, %r1, 2;"                         \
    "  add.s32 %r3, %r2, %r3; xor.b32 %r4, %r3, 128;\n"
#define RESULT        "st.global.u64 [%rd2], %rd3; ret; }\n"
#define RESULT_32(of) "cvt.u64.u32 %rd3, " of "; " RESULT
#define END           "ret; }\n"

typedef struct example {
    const char *code;
    int thread; /* whose result is the value */
    uint64_t value;
    const char *why; /* or what is wrong */
} example;

static const example examples[] = {
    /* what is narrower than its register */
    {"ld.global.s32 %rd3, [%rd1+512];" RESULT, 0, 0xFFFFFFFF80000001, NULL},
    {"ld.global.u32 %rd3, [%rd1+512];" RESULT, 0, 0x80000001, NULL},
    {"ld.global.u16 %r5, [%rd1+518];" RESULT_32("%r5"), 0, 0xF234, NULL},
    {"ld.global.u8 %rd3, [%rd1+519];" RESULT, 0, 0xF2, NULL},
    {"ld.global.u64 %rd3, [%rd1+520]; st.global.u32 [%rd2], %rd3;" END, 9, 0xEEEEEEEE76543210,
     NULL},
    {"ld.global.v2.u32 {%r5, %r6}, [%rd1+520];" RESULT_32("%r6"), 0, 0xFEDCBA98, NULL},
    /* threads that part and meet, and calls */
    {"mov.u32 %r5, 0; $L1: add.s32 %r5, %r5, 2; setp.le.u32 %p1, %r5, %r1; @%p1 bra "
     "$L1;" RESULT_32("%r5"),
     37, 38, NULL},
    {"setp.lt.u32 %p1, %r1, 3; mov.u32 %r5, 5; @!%p1 bra $L1; mov.u32 %r5, 7; $L1:" RESULT_32(
         "%r5"),
     2, 7, NULL},
    {"{ .param .b32 p; st.param.b32 [p], %r1; .param .b32 q; call.uni (q), twice, (p);"
     "  ld.param.b32 %r5, [q]; }" RESULT_32("%r5"),
     40, 80, NULL},
    {"mov.u32 %r5, %ctaid.x; mov.u32 %r6, %nctaid.x; mad.lo.s32 %r5, %r6, 10, %r5;" RESULT_32(
         "%r5"),
     63, 21, NULL},
    /* numbers */
    {"add.cc.u32 %r5, -1, 2; addc.u32 %r6, 4, 0;" RESULT_32("%r6"), 0, 5, NULL},
    {"mov.f32 %f1, 0f3F800000; add.rz.f32 %f2, %f1, 0fB2000000; mov.b32 %r5, %f2;" RESULT_32(
         "%r5"),
     0, 0x3F7FFFFF, NULL},
    {"mov.f32 %f1, 0f7FC00000; cvt.rzi.s32.f32 %r5, %f1;" RESULT_32("%r5"), 0, 0, NULL},
    {"mov.f32 %f1, 0fFF800000; cvt.rzi.s32.f32 %r5, %f1;" RESULT_32("%r5"), 0, 0x80000000,
     NULL},
    {"shr.s32 %r5, -8, 40;" RESULT_32("%r5"), 0, 0xFFFFFFFF, NULL},
    {"mov.b64 %rd3, {%r1, 7};" RESULT, 5, 0x700000005, NULL},
    {"div.u32 %r5, 9, %r1;" RESULT_32("%r5"), 0, 0, "thread 0: division by zero"},
    /* memory */
    {"ld.global.u32 %r5, [%rd1+514];" END, 0, 0, "is no multiple of 4"},
    {"ld.global.u32 %r5, [%rd1+532];" END, 0, 0, "there is no memory at"},
    {"st.global.u32 [%rd1+-4], %r1;" END, 0, 0, "there is no memory at"},
    {"ld.global.u64 %rd3, [%rd1+528];" END, 0, 0, "8 bytes at"},
    {"mov.u64 %rd3, own; st.local.u32 [%rd3], %r1; ld.local.u32 %r5, [%rd3];" RESULT_32("%r5"),
     33, 33, NULL},
    {"mov.u64 %rd3, own; ld.local.u32 %r5, [%rd3];" END, 0, 0,
     "local memory that was not written"},
    {"mov.u64 %rd3, own; mul.wide.u32 %rd4, %r1, 8; sub.s64 %rd3, %rd3, %rd4;"
     "st.local.u32 [%rd3], %r1;" END,
     0, 0, "thread 1: that is thread 0's"},
    /* shared memory */
    {"st.shared.u32 [%r3], %r1; bar.sync 0; ld.shared.u32 %r5, [%r4];" RESULT_32("%r5"), 40, 8,
     NULL},
    {"ld.shared.u32 %r5, [%r3];" END, 0, 0, "shared memory at 0 was not written"},
    {"ld.shared.u16 %rs1, [%r3];" END, 0, 0, "shared memory at 0 was not written"},
    {"st.shared.u32 [%r3+4], %r1;" END, 0, 0, "thread 63: 4 bytes of shared memory at 256"},
    {"st.shared.u32 [%r2], %r1;" END, 0, 0, "thread 1: thread 0 wrote shared memory at 0"},
    {"st.shared.u32 [%r3], %r1; ld.shared.u32 %r5, [%r3]; st.shared.u32 [%r4], %r1;" END, 0, 0,
     "thread 32: thread 0 wrote shared memory at 128"},
    {"st.shared.u32 [%r3], %r1; bar.sync 0; ld.shared.u32 %r5, [%r4]; st.shared.u32 [%r3], "
     "%r5;" END,
     0, 0, "thread 32: thread 0 wrote"},
    {"st.shared.u32 [%r3], %r1; bar.sync 0; ld.shared.u32 %r5, [%r2]; bar.sync 0;"
     "ld.shared.u32 %r5, [%r2]; st.shared.u32 [%r2], %r5;" END,
     0, 0, "another thread read shared memory at 0"},
    {"setp.eq.s32 %p1, %r1, 0; @!%p1 bra $L1; st.shared.u32 [%r2], 3; $L1: bar.sync 0;"
     "atom.shared.add.u32 %r5, [%r2], 1; bar.sync 0; ld.shared.u32 %r5, [%r2];" RESULT_32(
         "%r5"),
     1, 67, NULL},
    /* barriers */
    {"setp.lt.u32 %p1, %r1, 16; @%p1 bra $L1; bar.sync 0; $L1:" END, 0, 0,
     "not all threads come to the same barrier"},
    {"setp.lt.u32 %p1, %r1, 32; @%p1 bra $L1; bar.sync 0; ret; $L1: bar.sync 0;" END, 0, 0,
     "not all threads come to the same barrier"},
};

/* False: *why says why. */
static bool run(const char *code, char *why, size_t size)
{
    char text[4096];
    void *given = &memory;
    snprintf(text, sizeof(text), "%s%s", KERNEL, code);
    ptx_module module = {.text = text};
    ptx_launch launch = {&module, ptx_read_kernel(&module, "k"), 0, 2, THREADS};
    memset(&memory, 0xEE, sizeof(memory));
    memory.given[0] = 0xF234567880000001;
    memory.given[1] = 0xFEDCBA9876543210;
    memcpy(ptx_params, &given, sizeof(given));
    bool fine = ptx_run(&launch, why, size);
    free(launch.kernel->code);
    free(launch.kernel->constants);
    free(launch.kernel);
    return fine;
}

static void check_examples(void)
{
    for (size_t i = 0; i < sizeof(examples) / sizeof(examples[0]); i++) {
        const example *e = &examples[i];
        char why[1024] = "";
        SECTION(e->code);
        CHECK_AT(run(e->code, why, sizeof(why)) == !e->why, "it says '%s'", why);
        CHECK_AT(strstr(why, e->why ? e->why : "") != NULL, "'%s', expected '%s'", why, e->why);
        if (!e->why)
            CHECK_AT(memory.result[e->thread] == e->value, "%llx, expected %llx",
                     (unsigned long long)memory.result[e->thread],
                     (unsigned long long)e->value);
    }
}

/* What cannot be read ends the process. */
static void check_unknown(const char *code, const char *why)
{
    char said[1024] = "";
    int ends[2], status = 0;
    SECTION(code);
    CHECK(pipe(ends) == 0);
    pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], STDERR_FILENO);
        run(code, said, sizeof(said));
        _exit(0);
    }
    close(ends[1]);
    waitpid(child, &status, 0);
    CHECK(read(ends[0], said, sizeof(said) - 1) >= 0);
    close(ends[0]);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 1);
    CHECK_AT(strstr(said, why) != NULL, "'%s', expected '%s'", said, why);
}

int main(void)
{
    check_examples();
    check_unknown("frob.b32 %r5, %r1;" END, "ptx: k: 'frob.b32' is not known");
    check_unknown("ld.global.s16 %r5, [%rd1];" END, "'ld.global.s16' is not known");
    check_unknown("add.s32 %r5, %r6, 1;" END, "a register is read that is never written");
    check_unknown("add.s32 %r5, %rd1, 1;" END, "'%rd1' is no register of 4 bytes");
    check_unknown("bar.sync 1;" END, "one barrier is known");
    check_unknown("bra $L1;" END, "a label is not there");
    check_unknown("{ .param .b32 p; st.param.b32 [p], %rd1; }" END,
                  "such a parameter is not known");
    return check_summary();
}
