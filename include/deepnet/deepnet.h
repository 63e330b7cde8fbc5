/* SPDX-License-Identifier: BSD-2-Clause
 * deepnet/deepnet.h: the whole public interface, and a guided tour.
 *
 * A context holds what the host provides: memory, threads, a log. A net is created from a
 * prototxt, a solver from a solver prototxt; the host owns the loop. Calls that can fail return
 * a dn_status: 0, or a negative number, and then dn_last_error() gives the reason in one line.
 * An object received through `T **out` is yours to free; a returned pointer is borrowed.
 * Callbacks must return normally: an exception or a longjmp through the library is undefined
 * behaviour.
 *
 * The program below is compiled and run by a test as it stands here.
 *
 *     #include <deepnet/deepnet.h>
 *     #include <stdio.h>
 *
 *     static const char text[] =
 *         "layer { name: 'x' type: 'Input' top: 'x' input_param { shape { dim: 1 dim: 2 } } }"
 *         "layer { name: 'y' type: 'InnerProduct' bottom: 'x' top: 'y'"
 *         "  inner_product_param { num_output: 1 weight_filler { value: 3 } } }";
 *
 *     int main(void)
 *     {
 *         dn_context *context = NULL;
 *         dn_net *net = NULL;
 *         float *x;
 *         if (dn_context_create(&context, NULL) ||
 *             dn_net_create_from_text(&net, context, text, sizeof text - 1, NULL)) {
 *             fprintf(stderr, "%s\n", dn_last_error());
 *             return 1;
 *         }
 *         x = dn_blob_mutable_data(dn_net_input(net, 0));
 *         x[0] = 1, x[1] = 2;
 *         if (dn_net_forward(net, NULL))
 *             fprintf(stderr, "%s\n", dn_last_error());
 *         printf("%g\n", dn_blob_data(dn_net_blob(net, "y"))[0]);
 *         dn_net_free(net);
 *         dn_context_free(context);
 *         return 0;
 *     }
 *
 * It prints 9. Build: cc tour.c $(pkg-config --cflags --libs deepnet) */
#ifndef DEEPNET_DEEPNET_H
#define DEEPNET_DEEPNET_H

#include "deepnet/blob.h"
#include "deepnet/context.h"
#include "deepnet/data.h"
#include "deepnet/net.h"
#include "deepnet/solver.h"
#include "deepnet/status.h"
#include "deepnet/upgrade.h"
#include "deepnet/version.h"

#endif
