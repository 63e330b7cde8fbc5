/* SPDX-License-Identifier: BSD-2-Clause
 * device.h: a list of steps in a context with a device. A step runs where its backend is; its
 * operands are brought there if the other side wrote them last. */
#ifndef DNI_PLAN_DEVICE_H
#define DNI_PLAN_DEVICE_H

#include "core/mirror.h"
#include "plan/record.h"

struct dni_sides {
    dni_span *places; /* per tensor: the two sides of one that lies in an arena */
    dni_span **spans; /* operands of all ops, as dni_steps.pointers */
    size_t num_spans;
    char *arena[DNI_SECTIONS];
    void *scratch;
    char *keep;
    dni_recording *recordings;
    size_t num_recordings, cap_recordings;
    uint64_t version; /* another one whenever recordings of before are of no use */
};

/* All of them: `s` belongs to a context with a device. */
dn_status dni_sides_create(dni_steps *s);
void dni_sides_free(dni_steps *s);
/* Does a step on the host use the section's arena? Else it has no memory there. */
bool dni_sides_need_host(const dni_steps *s, dni_section section);
/* Device memory of a section's arena; scratch and keep are asked for with it. */
dn_status dni_sides_bind(dni_steps *s, dni_section section);
/* After the pointers of step i were resolved to host memory: to what the step really uses. */
dn_status dni_sides_resolve(dni_steps *s, size_t i);
/* Brings the operands of step i to its side; what it overwrites need not come. */
dn_status dni_sides_bring(const dni_steps *s, size_t i);
/* Steps [first, end) are all on the device. Nothing between two of them moves memory, so their
 * operands are brought before. */
dn_status dni_sides_bring_all(const dni_steps *s, size_t first, size_t end, size_t *failed);
dn_status dni_sides_run_each(const dni_steps *s, size_t first, size_t end, bool fresh,
                             size_t *failed);
/* fresh: an op that overwrites the gradients of weights where there is one. */
dn_op *dni_sides_op(const dni_steps *s, size_t i, bool fresh);
/* Of a tensor in arenas of two lists: from the one to the other, on the device. */
dn_status dni_sides_carry(const dni_steps *from, const dni_steps *to, dni_tensor tensor);
/* fresh: as in dni_steps_run. */
dn_status dni_sides_run(const dni_steps *s, size_t first, size_t end, bool fresh,
                        size_t *failed);

#endif
