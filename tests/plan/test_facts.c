/* SPDX-License-Identifier: BSD-2-Clause
 * test_facts.c: what facts.h answers with notes of which ops touch which storage is what a scan
 * of the whole program answers, also when ops got other operands and storages were merged. */
#include "check.h"

#include "plan/facts.h"

enum { TENSORS = 6, OPS = 9, CHANGES = 4, PROGRAMS = 400 };

static uint32_t below(uint64_t *state, uint32_t n)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33) % n;
}

/* Functions of one operand; some are added to what was there. */
static void fill(dni_program *p, uint64_t *state)
{
    dni_tensor_info t = {
        .role = DNI_TEMP, .storage = DNI_NONE, .shape = {.axes = 1, .dim = {4}}};
    for (int k = 0; k < TENSORS; k++) {
        t.keep = !below(state, 4);
        CHECK(dni_program_tensor(p, &t) == k);
    }
    for (int i = 0; i < OPS; i++) {
        dni_op *op = dni_program_op(p, DN_OP_UNARY, DNI_FORWARD, 0);
        op->num_inputs = op->num_outputs = 1;
        op->inputs[0] = (dni_tensor)below(state, TENSORS);
        op->outputs[0] = (dni_tensor)below(state, TENSORS);
        op->args->accumulate = !below(state, 4);
    }
}

static void change(dni_program *p, uint64_t *state)
{
    size_t op = below(state, OPS);
    dni_tensor t = (dni_tensor)below(state, TENSORS), u = (dni_tensor)below(state, TENSORS);
    switch (below(state, 4)) {
    case 0:
        CHECK_STATUS(dni_merge_storage(p, dni_root(p, t), dni_root(p, u)), DN_OK);
        return;
    case 1:
        p->ops[op].inputs[0] = t;
        break;
    case 2:
        p->ops[op].outputs[0] = t;
        break;
    default: /* noted once more, as it is */
        break;
    }
    CHECK_STATUS(dni_note(p, op), DN_OK);
}

static void compare(dni_program *p)
{
    dni_program scanned = *p;
    int wrong_writes = 0, wrong_reads = 0, wrong_readers = 0;
    scanned.uses = NULL;
    for (dni_tensor t = 0; t < TENSORS; t++) {
        if (dni_root(p, t) != t)
            continue;
        for (size_t end = 0; end <= OPS; end++) {
            wrong_writes += dni_last_write(p, t, end) != dni_last_write(&scanned, t, end);
            wrong_reads += dni_last_read(p, t, end) != dni_last_read(&scanned, t, end);
        }
        for (size_t from = 0; from < OPS; from++)
            for (size_t to = from; to <= OPS; to++) {
                wrong_writes +=
                    dni_next_write(p, t, from, to) != dni_next_write(&scanned, t, from, to);
                wrong_reads +=
                    dni_next_read(p, t, from, to) != dni_next_read(&scanned, t, from, to);
                wrong_readers += to < OPS && dni_only_reader(p, t, from, to) !=
                                                 dni_only_reader(&scanned, t, from, to);
            }
    }
    CHECK_INT(wrong_writes, 0);
    CHECK_INT(wrong_reads, 0);
    CHECK_INT(wrong_readers, 0);
}

int main(void)
{
    uint64_t state = 1;
    for (int n = 0; n < PROGRAMS; n++) {
        dni_program p;
        dni_program_init(&p, &dni_default_heap);
        fill(&p, &state);
        CHECK_INT(dni_note_all(&p), DN_OK);
        compare(&p);
        for (int k = 0; k < CHANGES; k++) {
            change(&p, &state);
            compare(&p);
        }
        dni_forget_notes(&p);
        dni_program_free(&p);
    }
    return check_summary();
}
