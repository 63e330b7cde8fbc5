/* SPDX-License-Identifier: BSD-2-Clause
 * squares.c: a program that puts a backend of its own before deepnet's: squares ./square.so
 * computes 3^2 and prints which backend did it. */
#include <deepnet/deepnet.h>
#include <stdio.h>
#include <string.h>

static const char text[] =
    "layer { name: 'x' type: 'Input' top: 'x' input_param { shape { dim: 1 } } }"
    "layer { name: 'y' type: 'Power' bottom: 'x' top: 'y' power_param { power: 2 } }";

static dn_status run(dn_net *net, char **ops)
{
    float three = 3;
    dn_status st = dn_blob_write(dn_net_blob(net, "x"), &three, 1);
    if (!st)
        st = dn_net_forward(net, NULL);
    if (!st)
        st = dn_net_describe(net, DN_DESCRIBE_OPS, ops);
    if (!st)
        printf("3^2 = %g, by %s\n", dn_blob_data(dn_net_blob(net, "y"))[0],
               strstr(*ops, "square") ? "square" : "another");
    return st;
}

int main(int argc, char **argv)
{
    char chain[512], *ops = NULL;
    dn_context *context = NULL;
    dn_net *net = NULL;
    snprintf(chain, sizeof chain, "%s,cpu,ref", argc > 1 ? argv[1] : "./square.so");
    dn_context_options options = {.struct_size = sizeof options, .backends = chain};
    dn_status st = dn_context_create(&context, &options);
    if (!st)
        st = dn_net_create_from_text(&net, context, text, sizeof text - 1, NULL);
    if (!st)
        st = run(net, &ops);
    if (st)
        fprintf(stderr, "%s\n", dn_last_error());
    dn_net_text_free(net, ops);
    dn_net_free(net);
    dn_context_free(context);
    return st ? 1 : 0;
}
