/* SPDX-License-Identifier: BSD-2-Clause
 * no_device.c: a module for devices on a machine that has none: who asks for a device is told
 * that there is none, and the host computes afterwards. Where there is one, tests/gpu says more
 * than this would. Usage: no_device FOLDER */
#include <glob.h>
#include <stdbool.h>

#include "deepnet/deepnet.h"
#include "check.h"

static const char net_text[] =
    "layer { name: 'x' type: 'Input' top: 'x' input_param { shape { dim: 2 } } }"
    "layer { name: 'y' type: 'Power' bottom: 'x' top: 'y' power_param { scale: 3 shift: 1 } }";

static bool has_device(void)
{
    glob_t found;
    bool has = glob("/dev/nvidia[0-9]*", 0, NULL, &found) == 0;
    globfree(&found);
    return has || access("/dev/dxg", F_OK) == 0; /* a GPU of the Windows around this */
}

static void compute(const char *folder)
{
    dn_context *context = NULL;
    dn_net *net = NULL;
    dn_context_options options = {.struct_size = sizeof options, .module_folder = folder};
    float x[] = {2, -1}, y[2] = {0};
    CHECK_STATUS(dn_context_create(&context, &options), DN_OK);
    CHECK_STATUS(dn_net_create_from_text(&net, context, net_text, sizeof net_text - 1, NULL),
                 DN_OK);
    CHECK_STATUS(dn_blob_write(dn_net_blob(net, "x"), x, 2), DN_OK);
    CHECK_STATUS(dn_net_forward(net, NULL), DN_OK);
    CHECK_STATUS(dn_blob_read(dn_net_blob(net, "y"), y, 2), DN_OK);
    CHECK(y[0] == 7 && y[1] == -2);
    dn_net_free(net);
    dn_context_free(context);
}

int main(int argc, char **argv)
{
    dn_context *context = NULL;
    dn_context_options options = {.struct_size = sizeof options, .device = 1};
    if (argc != 2)
        return 2;
    if (has_device())
        return 77;
    options.module_folder = argv[1];
    for (int i = 0; i < 2; i++) { /* asked again, it says the same */
        CHECK_MESSAGE(dn_context_create(&context, &options), DN_E_UNSUPPORTED, "no device: ");
        CHECK(!context);
        compute(argv[1]);
    }
    return check_summary();
}
