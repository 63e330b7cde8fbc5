/* SPDX-License-Identifier: BSD-2-Clause
 * losses.c: where the loss is a mean over passes, a device keeps what the last ones had until
 * somebody asks. A forward of the update's program moves them on; the sums are the host's, as
 * those of a loss that is read at once. */
#include "layers/values.h"
#include "solver/update.h"

enum { MOST_KEPT = 1 << 20 }; /* numbers: all move with each pass */

dn_status dni_losses_create(dni_losses *l, const dn_net *net, const Cnn__SolverParameter *p)
{
    l->passes = (p->average_loss + (int64_t)1) * p->iter_size; /* one iteration is not over */
    if (!net->context->mirror || l->passes == 2)
        return DN_OK;
    l->tops = dni_alloc(net->heap, net->graph.num_values, sizeof *l->tops);
    if (!l->tops)
        return DN_E_NOMEM;
    for (size_t i = 0; i < net->num_layers; i++)
        for (int32_t k = 0; k < net->layers[i].layer.num_tops; k++)
            if (net->layers[i].loss_weight[k] != 0)
                l->tops[l->num_tops++] =
                    (dni_loss_top){net->graph.nodes[i].tops[k], net->layers[i].loss_weight[k]};
    if (!l->num_tops || l->passes > MOST_KEPT / (int64_t)l->num_tops)
        return DN_OK;
    l->ring = dni_alloc(net->heap, l->num_tops * (size_t)l->passes, dni_dtype_size(net->dtype));
    return l->ring ? DN_OK : DN_E_NOMEM;
}

dn_status dni_losses_keep(dni_update *u, const dn_net *net)
{
    dni_losses *l = &u->losses;
    dn_status st = l->ring ? DN_OK : DN_DECLINED;
    bool moved = l->plan != net->plans;
    for (size_t i = 0; !st && moved && i < l->num_tops; i++) {
        int32_t value = l->tops[i].value;
        void **at = &u->program.tensors[l->first + (dni_tensor)i].memory;
        st = dni_shape_count(&net->value_shapes[value]) != 1
                 ? DN_DECLINED
                 : dni_plan_look(net->plan, net->data[value], at);
    }
    if (!st && moved)
        st = dni_plan_rebind(u->plan);
    if (!st)
        st = dni_plan_bind(u->plan, DNI_FORWARD);
    if (st)
        return st;
    l->plan = net->plans;
    return dni_plan_run(u->plan, DNI_FORWARD, false, NULL);
}

float dni_losses_at(const dni_losses *l, int32_t dtype, int64_t pass)
{
    float loss = 0;
    dni_fp host = dni_fp_enter();
    for (size_t i = 0; i < l->num_tops; i++) {
        int64_t at = pass * (int64_t)l->num_tops + (int64_t)i;
        loss += l->tops[i].weight * (float)dni_get(l->ring, dtype, at);
    }
    dni_fp_leave(host);
    return loss;
}
