/* SPDX-License-Identifier: BSD-2-Clause
 * test.c: a test is test_iter passes of a test net; each element of each output is averaged. */
#include "solver/solver.h"

static dn_status list_outputs(dn_solver *s, dni_test_net *test)
{
    size_t count = 0;
    for (int32_t k = 0; k < test->net->num_outputs; k++)
        count += (size_t)dn_blob_count(dn_net_output(test->net, k));
    dn_status st =
        dni_grow(s->heap, &test->outputs, &test->cap_outputs, count, sizeof *test->outputs);
    if (st)
        return st;
    test->num_outputs = 0;
    for (int32_t k = 0; k < test->net->num_outputs; k++) {
        dn_blob *blob = dn_net_output(test->net, k);
        for (int64_t i = 0; i < dn_blob_count(blob); i++)
            test->outputs[test->num_outputs++] = (dni_test_output){.name = dn_blob_name(blob)};
    }
    return DN_OK;
}

/* Outputs whose size changes from pass to pass are averaged as far as the first pass went. */
static dn_status add_outputs(dni_test_net *test)
{
    size_t at = 0;
    dn_status st = DN_OK;
    dni_fp host = dni_fp_enter();
    for (int32_t k = 0; !st && k < test->net->num_outputs; k++) {
        dn_blob *blob = dn_net_output(test->net, k);
        const float *values = dn_blob_data(blob);
        st = values ? DN_OK : DN_E_INTERNAL;
        for (int64_t i = 0; !st && i < dn_blob_count(blob) && at < test->num_outputs; i++)
            test->outputs[at++].sum += values[i];
    }
    dni_fp_leave(host);
    return st;
}

/* Its outputs, and the loss that is made of them, wait for the device once. */
static dn_status forward(dn_net *net, float *loss)
{
    dn_status st = dn_net_forward(net, NULL);
    for (int32_t k = 0; !st && k < net->num_outputs; k++)
        st = dni_blob_fetch_soon(net->blobs[net->outputs[k]]);
    return st ? st : dni_net_loss(net, loss);
}

static dn_status run_passes(dn_solver *s, dni_test_net *test, double *loss)
{
    for (int64_t i = 0; i < test->iterations; i++) {
        float one = 0;
        dn_status st = dni_solver_check_cancel(s);
        if (!st)
            st = forward(test->net, &one);
        if (!st && i == 0)
            st = list_outputs(s, test);
        if (!st)
            st = add_outputs(test);
        if (st)
            return st;
        *loss += one;
    }
    return DN_OK;
}

dn_status dni_solver_test_one(dn_solver *s, int32_t index)
{
    dni_test_net *test = &s->tests[index];
    double loss = 0;
    dn_status st = dni_solver_emit(s, DN_EVENT_TEST_BEGIN, index, 0, NULL);
    if (!st)
        st = dni_in(run_passes(s, test, &loss), "test net %d", index);
    if (st)
        return st;
    dni_fp host = dni_fp_enter();
    for (size_t i = 0; i < test->num_outputs; i++)
        test->outputs[i].mean = (float)(test->outputs[i].sum / (double)test->iterations);
    float mean = s->param->test_compute_loss ? (float)(loss / (double)test->iterations) : 0;
    dni_fp_leave(host);
    return dni_solver_emit(s, DN_EVENT_TEST_END, index, mean, NULL);
}

dn_status dni_solver_test_all(dn_solver *s)
{
    dn_status st = DN_OK;
    for (int32_t i = 0; !st && i < s->num_tests; i++)
        st = dni_solver_test_one(s, i);
    return st;
}

static const dni_test_net *test_of(const dn_solver *s, int32_t index)
{
    return s && index >= 0 && index < s->num_tests ? &s->tests[index] : NULL;
}

dn_status dn_solver_test(dn_solver *s, int32_t index)
{
    dni_clear_error();
    if (!test_of(s, index))
        return dni_fail(DN_E_INVALID, "test net %d: the solver has %d", index,
                        s ? s->num_tests : 0);
    return dni_solver_test_one(s, index);
}

int32_t dn_solver_num_test_nets(const dn_solver *s)
{
    return s ? s->num_tests : 0;
}

dn_net *dn_solver_test_net(dn_solver *s, int32_t index)
{
    const dni_test_net *test = test_of(s, index);
    return test ? test->net : NULL;
}

int64_t dn_solver_test_iterations(const dn_solver *s, int32_t index)
{
    const dni_test_net *test = test_of(s, index);
    return test ? test->iterations : 0;
}

static const dni_test_output *output_of(const dn_solver *s, int32_t test_net, int32_t output)
{
    const dni_test_net *test = test_of(s, test_net);
    return test && output >= 0 && (size_t)output < test->num_outputs ? &test->outputs[output]
                                                                     : NULL;
}

int32_t dn_solver_num_test_outputs(const dn_solver *s, int32_t test_net)
{
    const dni_test_net *test = test_of(s, test_net);
    return test ? (int32_t)test->num_outputs : 0;
}

const char *dn_solver_test_output_name(const dn_solver *s, int32_t test_net, int32_t output)
{
    const dni_test_output *o = output_of(s, test_net, output);
    return o ? o->name : NULL;
}

float dn_solver_test_output(const dn_solver *s, int32_t test_net, int32_t output)
{
    const dni_test_output *o = output_of(s, test_net, output);
    return o ? o->mean : 0;
}
