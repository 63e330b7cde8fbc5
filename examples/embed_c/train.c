/* SPDX-License-Identifier: BSD-2-Clause
 * embed_c/train.c: your loop, your arrays. A net learns y = x1 xor x2 from batches in this
 * program's memory; net and solver are strings, no file is read or written. */
#include <deepnet/deepnet.h>
#include <stdio.h>

static const char net_text[] =
    "layer { name: 'x' type: 'Input' top: 'x' input_param { shape { dim: 4 dim: 2 } } }"
    "layer { name: 't' type: 'Input' top: 't' input_param { shape { dim: 4 dim: 1 } } }"
    "layer { name: 'h' type: 'InnerProduct' bottom: 'x' top: 'h'"
    "  inner_product_param { num_output: 8 weight_filler { type: 'xavier' } } }"
    "layer { name: 'tanh' type: 'TanH' bottom: 'h' top: 'h' }"
    "layer { name: 'y' type: 'InnerProduct' bottom: 'h' top: 'y'"
    "  inner_product_param { num_output: 1 weight_filler { type: 'xavier' } } }"
    "layer { name: 'loss' type: 'EuclideanLoss' bottom: 'y' bottom: 't' top: 'loss' }";
static const char solver_text[] =
    "base_lr: 0.2 momentum: 0.9 lr_policy: 'fixed' random_seed: 1";

static const float inputs[4][2] = {{0, 0}, {0, 1}, {1, 0}, {1, 1}};
static const float targets[4] = {0, 1, 1, 0};

int main(void)
{
    dn_context *context = NULL;
    dn_solver *solver = NULL;
    dn_net *net;
    dn_status status = dn_context_create(&context, NULL);
    if (!status)
        status =
            dn_solver_create_from_text(&solver, context, solver_text, sizeof solver_text - 1,
                                       net_text, sizeof net_text - 1, NULL);
    net = status ? NULL : dn_solver_net(solver);
    for (int i = 0; !status && i < 500; i++) {
        if ((status = dn_blob_write(dn_net_blob(net, "x"), inputs[0], 8)) ||
            (status = dn_blob_write(dn_net_blob(net, "t"), targets, 4)) ||
            (status = dn_solver_step(solver, 1)))
            break;
        if (i % 100 == 99)
            printf("iteration %d, loss %.6f\n", i + 1, dn_solver_loss(solver));
    }
    for (int i = 0; !status && i < 4; i++)
        printf("%g xor %g = %.2f\n", inputs[i][0], inputs[i][1],
               dn_blob_data(dn_net_blob(net, "y"))[i]);
    if (status)
        fprintf(stderr, "%s\n", dn_last_error());
    dn_solver_free(solver);
    dn_context_free(context);
    return status ? 1 : 0;
}
