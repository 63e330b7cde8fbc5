/* SPDX-License-Identifier: BSD-2-Clause
 * embed_c/train.c: your loop, your arrays: LeNet learns digits from batches in this program's
 * memory. train IMAGES LABELS [SOLVER.prototxt]: MNIST's IDX files, unpacked; net and solver
 * are the strings of lenet.h, or come from files. */
#include <deepnet/deepnet.h>
#include <stdio.h>
#include "lenet.h" /* net_text, solver_text: prototxt as strings */

enum { COUNT = 10000, PIXELS = 28 * 28, BATCH = 64 };
static unsigned char pixels[COUNT][PIXELS], digits[COUNT];
static float images[BATCH][PIXELS], labels[BATCH];

static int read_idx(const char *path, long header, void *to, size_t size)
{
    FILE *file = fopen(path, "rb");
    int whole = file && !fseek(file, header, SEEK_SET) && fread(to, 1, size, file) == size;
    if (file)
        fclose(file);
    return whole;
}

int main(int argc, char **argv)
{
    if (argc < 3 || !read_idx(argv[1], 16, pixels, sizeof pixels) ||
        !read_idx(argv[2], 8, digits, sizeof digits))
        return fputs("usage: train IMAGES LABELS [SOLVER.prototxt]\n", stderr), 2;
    dn_context *context = NULL;
    dn_solver *solver = NULL;
    dn_status status = dn_context_create(&context, NULL);
    if (!status && argc > 3)
        status = dn_solver_create_from_prototxt(&solver, context, argv[3], NULL);
    else if (!status)
        status =
            dn_solver_create_from_text(&solver, context, solver_text, sizeof solver_text - 1,
                                       net_text, sizeof net_text - 1, NULL);
    dn_net *net = status ? NULL : dn_solver_net(solver);
    for (int i = 0; !status && i < 300; i++) {
        for (int k = 0, at = i * BATCH % COUNT; k < BATCH; k++, at = (at + 1) % COUNT) {
            labels[k] = digits[at];
            for (int p = 0; p < PIXELS; p++)
                images[k][p] = pixels[at][p] / 256.0f;
        }
        if ((status = dn_blob_write(dn_net_blob(net, "data"), images[0], BATCH * PIXELS)) ||
            (status = dn_blob_write(dn_net_blob(net, "label"), labels, BATCH)) ||
            (status = dn_solver_step(solver, 1)))
            break;
        if (i % 50 == 49)
            printf("iteration %d, loss %.6f\n", i + 1, dn_solver_loss(solver));
    }
    if (status)
        fprintf(stderr, "%s\n", dn_last_error());
    dn_solver_free(solver);
    dn_context_free(context);
    return status ? 1 : 0;
}
