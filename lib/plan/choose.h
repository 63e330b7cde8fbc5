/* SPDX-License-Identifier: BSD-2-Clause
 * choose.h: which backend of the chain an op gets. */
#ifndef DNI_CHOOSE_H
#define DNI_CHOOSE_H

#include "program/program.h"

typedef struct dni_choice {
    const dn_backend_ops *ops; /* NULL: a host call, run by the plan itself */
    dn_op *op;                 /* whoever asked destroys it */
    int32_t rank;              /* place in the chain */
    uint32_t constant, unread;
    size_t scratch, keep;
    bool offered; /* some backend multiplies in what the net computes in, if not this one */
    bool rounds;  /* or in anything but f32: what it asks of operands may not be chosen yet */
    double cost;
    char implementation[48];
    char declined[96]; /* why the best backend did not take it; "" if it did */
} dni_choice;

/* Bit i: nothing changes input i of the op between a run and a preparation. */
uint32_t dni_constant_inputs(const dni_program *p, const dni_op *op);
/* Did it come to the last resort of the chain, which takes everything and is slow? Where there
 * is a device that is all of the host: what its ops take is not all that they cost. */
bool dni_is_last_resort(const dn_context *context, const dni_choice *choice);
/* The same with the operands whose bit is set as NHWC, whatever the program says. */
dn_status dni_choose_as(dn_context *context, const dni_program *p, const dni_op *op,
                        uint32_t in, uint32_t out, dni_choice *choice);
dn_status dni_choose(dn_context *context, const dni_program *p, const dni_op *op,
                     dni_choice *choice);

#endif
