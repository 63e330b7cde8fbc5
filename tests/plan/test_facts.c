/* SPDX-License-Identifier: BSD-2-Clause
 * test_facts.c: what facts.h answers with notes of which ops touch which storage is what a scan
 * of the whole program answers, also when ops got other operands and storages were merged; what
 * it says of an op by its kind; which gradients are put off. */
#include "check.h"

#include "plan/facts.h"
#include "plan/passes.h"

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

/* ---- by kind ----------------------------------------------------------------------------- */

enum { ROWS = 3, COLUMNS = 4 }; /* of an op's operands */

static dni_op *op_of(dni_program *p, int32_t kind, int32_t inputs, int32_t outputs)
{
    dni_tensor_info t = {
        .role = DNI_TEMP, .storage = DNI_NONE, .shape = {.axes = 2, .dim = {ROWS, COLUMNS}}};
    dni_op *op = dni_program_op(p, kind, DNI_FORWARD, 0);
    op->num_inputs = inputs;
    op->num_outputs = outputs;
    for (int32_t k = 0; k < inputs + outputs; k++)
        (k < inputs ? op->inputs : op->outputs - inputs)[k] = dni_program_tensor(p, &t);
    return op;
}

static void check_products(dni_program *p)
{
    static const struct {
        int64_t batch, m, n, ldc, stride_c, offset_c;
        bool whole;
    } rows[] = {
        {1, 3, 4, 4, 0, 0, true},  {1, 3, 4, 5, 0, 0, false}, {1, 1, 12, 20, 0, 0, true},
        {3, 1, 4, 4, 4, 0, true},  {3, 1, 4, 4, 5, 0, false}, {1, 2, 4, 4, 0, 0, false},
        {1, 3, 4, 4, 0, 1, false}, {3, 1, 4, 20, 4, 0, true},
    };
    dni_op *op = op_of(p, DN_OP_GEMM, 2, 1);
    dn_args_gemm *g = (dn_args_gemm *)op->args;
    for (size_t i = 0; i < DNI_COUNT(rows); i++) {
        g->batch = rows[i].batch, g->m = rows[i].m, g->n = rows[i].n;
        g->ldc = rows[i].ldc, g->stride_c = rows[i].stride_c, g->offset_c = rows[i].offset_c;
        CHECK_AT(dni_overwrites(p, op, 0) == rows[i].whole, "product %zu", i);
        CHECK(dni_op_reads(p, op, op->outputs[0]) == !rows[i].whole);
    }
}

/* change: 0 none, 1 alpha, 2 strides of one side, 3 a part, 4 added, 5 an offset. */
static void check_copy(dni_program *p)
{
    for (int change = 0; change < 6; change++) {
        dni_op *op = op_of(p, DN_OP_COPY, 1, 1);
        dn_args_copy *a = (dn_args_copy *)op->args;
        *a = (dn_args_copy){.base = a->base,
                            .axes = 2,
                            .dim = {ROWS, change == 3 ? COLUMNS - 1 : COLUMNS},
                            .x_stride = {COLUMNS, 1},
                            .y_stride = {COLUMNS, 1},
                            .x_offset = change == 5,
                            .alpha = change == 1 ? 2 : 1};
        if (change == 2)
            a->x_stride[0] = 1, a->x_stride[1] = ROWS;
        op->args->accumulate = change == 4;
        CHECK_AT(dni_is_copy(p, op) == !change, "change %d", change);
        CHECK(dni_overwrites(p, op, 0) == (change != 3 && change != 4));
        CHECK_NEAR(dni_op_bytes(p, op),
                   4 * ROWS * (change == 3 ? 2 * COLUMNS - 2 : (change == 4 ? 3 : 2) * COLUMNS),
                   0);
    }
}

static void check_kinds(dni_program *p)
{
    dni_op *update = op_of(p, DN_OP_UPDATE, 1, 3), *norm = op_of(p, DN_OP_BATCH_NORM, 1, 5);
    dni_op *unary = op_of(p, DN_OP_UNARY, 1, 1), *sum = op_of(p, DN_OP_ELTWISE, 1, 1);
    dni_op *back = op_of(p, DN_OP_UNARY_BWD, 3, 1),
           *scale = op_of(p, DN_OP_NORM_SCALE_BWD, 6, 1);
    dn_args_unary *u = (dn_args_unary *)unary->args;
    dn_args_eltwise *e = (dn_args_eltwise *)sum->args;
    SECTION("facts of kinds");
    for (int32_t k = 0; k < 5; k++) {
        CHECK(k > 2 || !dni_overwrites(p, update, k));
        CHECK(dni_overwrites(p, norm, k) == (k < 3));
    }
    for (int32_t k = 0; k < 6; k++) {
        CHECK(dni_may_alias(back, k, 0) == (k == 2));
        CHECK(dni_may_alias(scale, k, 0) == (k == 5));
    }
    CHECK(dni_may_alias(sum, 1, 0) && !dni_may_alias(sum, 0, 1));
    u->fn = DN_FN_AFFINE, u->a = 1;
    CHECK(dni_is_copy(p, unary) && dni_may_alias(unary, 0, 0) && !dni_may_alias(unary, 1, 0));
    u->b = 1;
    CHECK(!dni_is_copy(p, unary));
    u->b = 0, unary->args->accumulate = 1;
    CHECK(!dni_is_copy(p, unary) && !dni_may_alias(unary, 0, 0));
    e->op = DN_ELTWISE_SUM, e->coeff[0] = 1;
    CHECK(dni_is_copy(p, sum));
    e->coeff[0] = 2;
    CHECK(!dni_is_copy(p, sum));
    unary->turns = 2; /* between the ops of a strip */
    CHECK_NEAR(dni_op_bytes(p, unary), 0, 0);
    check_products(p);
    check_copy(p);
}

/* Written by op 0; op 1 works in place; op 2, which reads it, is after another write or not. */
static void check_reader(bool written)
{
    dni_tensor_info t = {
        .role = DNI_TEMP, .storage = DNI_NONE, .shape = {.axes = 1, .dim = {4}}, .keep = true};
    dni_program p;
    dni_program_init(&p, &dni_default_heap);
    for (int i = 0; i < 2; i++)
        (void)dni_program_tensor(&p, &t);
    for (int i = 0; i < 3; i++) {
        dni_op *op = dni_program_op(&p, DN_OP_UNARY, DNI_FORWARD, 0);
        op->num_inputs = op->num_outputs = 1;
        op->inputs[0] = i == 0 || (i == 1 && written) ? 1 : 0;
        op->outputs[0] = i == 2 ? 1 : 0;
    }
    SECTION("the only reader");
    CHECK(written || dni_only_reader(&p, 0, 0, 1)); /* what it reads it overwrites */
    CHECK(!dni_only_reader(&p, 0, 0, 2));           /* it reads what op 1 wrote */
    dni_program_free(&p);
}

/* ---- gradients that are put off ---------------------------------------------------------- */

/* dw = dy' x, of so many rows, in the middle of a backward; by `what` something is otherwise.
 */
static bool waits(const char *what)
{
    enum { M = 512, N = 1024 };
#define IS(word) (!strcmp(what, word))
    int64_t m = IS("small") ? M / 4 : M, k = IS("long") ? M : 4;
    dni_tensor_info t = {.storage = DNI_NONE, .shape = {.axes = 2}};
    dni_rewrite r = {0};
    dni_program p;
    dni_tensor of[4]; /* dy, x, dw, other */
    dni_program_init(&p, &dni_default_heap);
    for (int i = 0; i < 4; i++) {
        static const dni_role roles[] = {DNI_DIFF, DNI_DATA, DNI_WEIGHT_DIFF, DNI_DATA};
        t.role = roles[i];
        if (i == 2 && IS("no weight"))
            t.role = DNI_DIFF;
        if (i == 1 && IS("a weight's"))
            t.role = DNI_WEIGHT;
        t.keep = i == 1 && IS("kept");
        t.shape.dim[0] = i == 2 ? m : k;
        t.shape.dim[1] = i ? N : m;
        of[i] = dni_program_tensor(&p, &t);
    }
    for (int i = 0; i < 6; i++) { /* 0 and 5 are of other sections */
        dni_section section = i == 0 ? DNI_FORWARD : i == 5 ? DNI_UPDATE : DNI_BACKWARD;
        dni_op *op = dni_program_op(&p, i == 2 ? DN_OP_GEMM : DN_OP_UNARY, section, i);
        op->num_inputs = i == 2 ? 2 : 1;
        op->num_outputs = 1;
        op->inputs[0] = op->outputs[0] = of[3];
        if (i == 2) {
            dn_args_gemm *g = (dn_args_gemm *)op->args;
            *g = (dn_args_gemm){.base = g->base,
                                .trans_a = !IS("a plain"),
                                .trans_b = IS("b turned"),
                                .m = m,
                                .n = IS("a part") ? N / 2 : N,
                                .k = k,
                                .lda = m + IS("a apart"),
                                .ldb = (IS("a part") ? N / 2 : N) + IS("b apart"),
                                .ldc = (IS("a part") ? N / 2 : N) + IS("c apart"),
                                .batch = 1 + IS("batch"),
                                .offset_a = IS("a later"),
                                .offset_b = IS("b later"),
                                .offset_c = IS("c later"),
                                .bias_mode = IS("bias"),
                                .activation = IS("activation")};
            op->inputs[0] = of[0];
            op->inputs[1] = of[1];
            op->outputs[0] = of[2];
        }
        if ((i == 1 && IS("begun")) || (i == 3 && IS("added to")))
            op->outputs[0] = of[2];
        if ((i == 3 && IS("looked at")) || (i == 0 && IS("read before")))
            op->inputs[0] = of[2];
        if (i == 4 && (IS("dy changed") || IS("x changed")))
            op->outputs[0] = of[IS("x changed")];
    }
    p.late = true;
    r.program = &p;
    CHECK_STATUS(dni_put_off_gradients(&r), DN_OK);
    static const int32_t moved[] = {0, 1, 3, 4, 2, 5};
    bool late = p.ops[4].layer == 2;
    for (int i = 0; i < 6; i++)
        CHECK_AT(p.ops[i].layer == (late ? moved[i] : i) && p.ops[i].late == (late && i == 4),
                 "%s: op %d", what, i);
    dni_program_free(&p);
    return late;
#undef IS
}

static void check_waits(void)
{
    static const char *const others[] = {
        "small",     "long",     "no weight",  "a weight's", "kept",       "a plain",
        "b turned",  "a part",   "a apart",    "b apart",    "c apart",    "batch",
        "a later",   "b later",  "c later",    "bias",       "activation", "begun",
        "looked at", "added to", "dy changed", "x changed",  "read before"};
    SECTION("gradients that are put off");
    CHECK(waits("as it should be"));
    for (size_t i = 0; i < DNI_COUNT(others); i++)
        CHECK_AT(!waits(others[i]), "%s", others[i]);
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
    dni_program p;
    dni_program_init(&p, &dni_default_heap);
    check_kinds(&p);
    check_reader(false);
    check_reader(true);
    dni_program_free(&p);
    check_waits();
    return check_summary();
}
