/* SPDX-License-Identifier: BSD-2-Clause
 * lenet.c: a trained LeNet over the 10,000 test digits through the C API. Arguments: the deploy
 * prototxt, the weights, the IDX files of images and labels; "few": only the first 200 digits,
 * where a sanitizer is slow. Prints how many are right and the mean negative log-likelihood;
 * fails when they are not Caffe's. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "deepnet/deepnet.h"

enum { IMAGES = 10000, PIXELS = 28 * 28, BATCH = 100 };

typedef struct figures {
    int images, right;
    double nll;
} figures;

static const figures all = {IMAGES, 9914, 0.0272693};
static const figures few = {200, 199, 0.0118748}; /* of the run that gives those of all */

static unsigned char pixels[IMAGES * PIXELS], labels[IMAGES];

static int read_idx(const char *path, int header, unsigned char *out, size_t size)
{
    FILE *file = fopen(path, "rb");
    size_t got = file && !fseek(file, header, SEEK_SET) ? fread(out, 1, size, file) : 0;
    if (file)
        fclose(file);
    return got == size;
}

static dn_status run(dn_net *net, figures *got)
{
    const int64_t dims[4] = {BATCH, 1, 28, 28};
    dn_blob *data = dn_net_blob(net, "data");
    dn_status st = dn_blob_reshape(data, dims, 4);
    for (int at = 0; !st && at < got->images; at += BATCH) {
        float *x = dn_blob_mutable_data(data);
        for (int i = 0; i < BATCH * PIXELS; i++)
            x[i] = (float)pixels[at * PIXELS + i] / 256;
        if ((st = dn_net_forward(net, NULL)))
            break;
        const float *prob = dn_blob_data(dn_net_output(net, 0));
        for (int i = 0; i < BATCH; i++, prob += 10) {
            int best = 0;
            for (int k = 1; k < 10; k++)
                best = prob[k] > prob[best] ? k : best;
            got->right += best == labels[at + i];
            got->nll -= log(prob[labels[at + i]]) / got->images;
        }
    }
    return st;
}

int main(int argc, char **argv)
{
    dn_context *context = NULL;
    dn_net *net = NULL;
    dn_status st;
    const figures *want = argc > 5 ? &few : &all;
    figures got = {.images = want->images};
    if (argc < 5 || !read_idx(argv[3], 16, pixels, sizeof pixels) ||
        !read_idx(argv[4], 8, labels, sizeof labels))
        return 2;
    st = dn_context_create(&context, NULL);
    if (!st)
        st = dn_net_create_from_prototxt(&net, context, argv[1], NULL);
    if (!st)
        st = dn_net_load_weights(net, argv[2], DN_WEIGHTS_STRICT, NULL);
    if (!st)
        st = run(net, &got);
    if (st)
        fprintf(stderr, "%s\n", dn_last_error());
    else
        printf("%d right, %.7f\n", got.right, got.nll);
    dn_net_free(net);
    dn_context_free(context);
    return st || got.right != want->right || fabs(got.nll - want->nll) > 2e-7;
}
