/* SPDX-License-Identifier: BSD-2-Clause
 * test_traps.c: the fake device itself, on whose traps the other tests rely: who touches its
 * memory from the host's side faults, whatever was done to that before, and an op or a copy
 * that is given memory of the wrong side is refused. */
#include <signal.h>
#include <sys/wait.h>

#include "check.h"
#include "deepnet/deepnet.h"
#include "fake.h"

enum { READ, WRITE };

static void check_faults(volatile char *device, int how)
{
    int status = 0;
    pid_t child = fork();
    if (child == 0) {
        signal(SIGSEGV, SIG_DFL); /* a sanitizer would end with a status */
        if (how == WRITE)
            device[0] = 1;
        _exit(how == READ ? device[0] & 0 : 0);
    }
    CHECK(child > 0 && waitpid(child, &status, 0) == child);
    CHECK_AT(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV, "%s: status %d",
             how == WRITE ? "written" : "read", status);
}

/* x + 1 of two numbers. */
static dn_op *make_op(dn_backend *backend)
{
    const dn_operand x = {.dtype = DN_F32, .shape = {.axes = 1, .dim = {2}}};
    const dn_args_unary args = {
        .base = {.struct_size = sizeof args}, .fn = DN_FN_POWER, .a = 1, .b = 1, .c = 1};
    const dn_op_desc desc = {.struct_size = sizeof desc,
                             .kind = DN_OP_UNARY,
                             .num_inputs = 1,
                             .num_outputs = 1,
                             .inputs = &x,
                             .outputs = &x,
                             .args = &args};
    dn_op_info info = {.struct_size = sizeof info};
    dn_op *op = NULL;
    CHECK_STATUS(fake_backend.op_create(backend, &desc, &op, &info), DN_OK);
    return op;
}

static dn_status run(dn_op *op, void *x, void *y)
{
    const dn_op_io io = {.struct_size = sizeof io, .in = &x, .out = &y};
    return fake_backend.op_run(op, &io);
}

static void check_backend(dn_backend *backend)
{
    float x[] = {1, 2}, y[2] = {0};
    void *device = NULL, *other = NULL;
    CHECK_STATUS(fake_backend.mem_alloc(backend, sizeof x, &device), DN_OK);
    CHECK_STATUS(fake_backend.mem_alloc(backend, sizeof x, &other), DN_OK);
    dn_op *op = make_op(backend);
    SECTION("touched from the host");
    check_faults(device, READ);
    check_faults(device, WRITE);
    CHECK_STATUS(fake_backend.copy_in(backend, device, x, sizeof x), DN_OK);
    check_faults(device, READ);
    CHECK_STATUS(run(op, device, other), DN_OK);
    check_faults(device, READ);
    check_faults(other, WRITE);
    CHECK_STATUS(fake_backend.copy_out(backend, y, other, sizeof y), DN_OK);
    check_faults(other, READ);
    CHECK(y[0] == 2 && y[1] == 3);
    CHECK_STATUS(fake_backend.mem_zero(backend, other, sizeof x), DN_OK);
    check_faults(other, READ);
    SECTION("memory of the wrong side");
    CHECK_MESSAGE(run(op, x, device), DN_E_INTERNAL, "memory of the host");
    CHECK_MESSAGE(run(op, device, y), DN_E_INTERNAL, "memory of the host");
    CHECK_STATUS(fake_backend.copy_in(backend, y, x, sizeof x), DN_E_INTERNAL);
    CHECK_STATUS(fake_backend.copy_in(backend, device, other, sizeof x), DN_E_INTERNAL);
    CHECK_STATUS(fake_backend.copy_out(backend, y, x, sizeof x), DN_E_INTERNAL);
    CHECK_STATUS(fake_backend.copy_out(backend, device, other, sizeof x), DN_E_INTERNAL);
    CHECK_STATUS(fake_backend.mem_zero(backend, y, sizeof y), DN_E_INTERNAL);
    fake_backend.op_destroy(op);
    fake_backend.mem_free(backend, device);
    fake_backend.mem_free(backend, other);
    CHECK_INT(fake.allocated, 0);
}

int main(void)
{
    dn_context *context = NULL;
    dn_context_options options = {
        .struct_size = sizeof options, .backends = "ref", .backend = &fake_backend};
    dn_backend *backend = NULL;
    CHECK_STATUS(dn_context_create(&context, &options), DN_OK);
    if (fake_backend.open(&backend, fake_host()) == DN_OK)
        check_backend(backend);
    CHECK(backend != NULL);
    fake_backend.close(backend);
    dn_context_free(context);
    return check_summary();
}
