/* SPDX-License-Identifier: BSD-2-Clause
 * check_sizes.c: ref takes no operand of another size than the op's. Each operand of each case
 * of the kernel check is made longer and shorter by one along each axis: of every kind, each
 * operand that is ever there must have been refused. Those of any size are named here. */
#include <stdio.h>

#include "harness.h"

extern const dn_backend_ops dn_ref_backend;

enum { FIRST = 12 }; /* operands of a side that are looked at */

typedef struct sizes {
    dn_backend *backend;
    int tried[DN_OP_KIND_END][2][FIRST], refused[DN_OP_KIND_END][2][FIRST];
} sizes;

static bool is_free(int32_t kind, int output, int32_t i)
{
    return kind == DN_OP_FILL || kind == DN_OP_HOST_CALL ||
           (output ? kind == DN_OP_RANDOM || kind == DN_OP_SCALE_CLIP
                   : kind == DN_OP_SUMSQ_ALL || (kind == DN_OP_OVERLAP && i == 2));
}

static bool takes(const sizes *s, const kernel_case *c, const side *in, const side *out)
{
    dn_op *op = NULL;
    dn_op_info info = {.struct_size = sizeof info};
    dn_op_desc desc = {.struct_size = sizeof desc,
                       .kind = c->kind,
                       .num_inputs = in->count,
                       .num_outputs = out->count,
                       .inputs = in->operand,
                       .outputs = out->operand,
                       .args = &c->args.base,
                       .constant = c->constant,
                       .compute = c->compute};
    dn_status status = dn_ref_backend.op_create(s->backend, &desc, &op, &info);
    if (status == DN_OK)
        dn_ref_backend.op_destroy(op);
    return status == DN_OK;
}

static void vary(sizes *s, const kernel_case *c, int output)
{
    side changed[2] = {c->in, c->out};
    for (int32_t i = 0; i < changed[output].count && i < FIRST; i++) {
        dn_operand *x = &changed[output].operand[i];
        for (int32_t a = 0; x->dtype >= 0 && a < x->shape.axes; a++)
            for (int more = -1; more <= 1; more += 2) {
                if (x->shape.dim[a] + more < 0) /* refused in any operand */
                    continue;
                x->shape.dim[a] += more;
                s->tried[c->kind][output][i]++;
                s->refused[c->kind][output][i] += !takes(s, c, &changed[0], &changed[1]);
                x->shape.dim[a] -= more;
            }
    }
}

static void one_case(const kernel_case *c, void *user)
{
    vary(user, c, 0);
    vary(user, c, 1);
}

int main(void)
{
    static sizes s;
    dn_backend_host host;
    int passed = 0, failed = 0;
    host_init(&host, 1);
    if (dn_ref_backend.open(&s.backend, &host))
        return 2;
    cases_elementwise(one_case, &s);
    cases_spatial(one_case, &s);
    cases_network(one_case, &s);
    dn_ref_backend.close(s.backend);
    for (int32_t kind = 0; kind < DN_OP_KIND_END; kind++)
        for (int output = 0; output < 2; output++)
            for (int32_t i = 0; i < FIRST; i++) {
                int tried = s.tried[kind][output][i], refused = s.refused[kind][output][i];
                if (!tried || is_free(kind, output, i))
                    continue;
                passed += refused > 0;
                failed += refused == 0;
                if (!refused)
                    printf("%s: %s %d may have any size\n", kind_name(kind),
                           output ? "output" : "input", (int)i);
            }
    printf("%d passed, %d failed\n", passed, failed);
    return failed != 0 || passed == 0;
}
