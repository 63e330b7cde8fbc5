/* SPDX-License-Identifier: BSD-2-Clause
 * guess.c: see guess.h. */
#include "layers/guess.h"

#include "data/data.h"

#include <stdlib.h>
#include <string.h>

/* The guesses after the first: images of one channel, pairs and triplets of images in one
 * record; in the last one labels have several values each. */
static const uint8_t later[DNI_GUESSES][2] = {{1, 28},  {1, 224}, {6, 224}, {9, 224}, {2, 224},
                                              {4, 224}, {1, 32},  {3, 227}, {3, 224}};

dni_shape dni_guess_images(const dni_layer *layer, int64_t N, const char *source)
{
    static const struct { /* the last is for any other */
        const char *word;
        int64_t channels, size;
    } rows[] = {{"siamese", 2, 28}, {"mnist", 1, 28}, {"cifar", 3, 32}, {"", 3, 224}};
    size_t i = source ? 0 : DNI_COUNT(rows) - 1;
    if (layer->guess) {
        const uint8_t *g = later[layer->guess - 1];
        return dni_shape_of(4, (int64_t[]){N, g[0], g[1], g[1]});
    }
    while (source && !strstr(source, rows[i].word))
        i++;
    return dni_shape_of(4, (int64_t[]){N, rows[i].channels, rows[i].size, rows[i].size});
}

static bool has_any(const char *name, const char *const *words, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strstr(name, words[i]))
            return true;
    return false;
}

bool dni_guess_is_label(const char *top)
{
    static const char *const words[] = {"label", "target", "truth", "sem",
                                        "geo",   "gt_",    "mask"};
    return has_any(top, words, DNI_COUNT(words));
}

dni_shape dni_guess_top(const dni_layer *layer, int64_t N, const char *top, const char *source)
{
    static const char *const marks[] = {"cont", "sentence", "clip", "words"};
    static const char buffer[] = "/buffer_"; /* what LRCN's lists call sequences side by side */
    const char *side = source ? strstr(source, buffer) : NULL;
    long sequences = side ? strtol(side + sizeof buffer - 1, NULL, 10) : 1;
    if (has_any(top, marks, DNI_COUNT(marks)))
        return dni_shape_of(2,
                            (int64_t[]){N, sequences > 0 && sequences < 65536 ? sequences : 1});
    if (!strcmp(top, "im_info"))
        return dni_shape_of(2, (int64_t[]){N, 3});
    if (dni_guess_is_label(top))
        return dni_shape_of(layer->guess == DNI_GUESSES ? 2 : 1, (int64_t[]){N, 6});
    if (strstr(top, "rois"))
        return dni_shape_of(2, (int64_t[]){N, 5});
    return dni_guess_images(layer, N, source);
}

dn_status dni_guess_unread(const dni_layer *layer, const char *what, const char *param,
                           const char *source, int64_t batch)
{
    DNI_REQUIRE(source && *source, DN_E_NET, "%s needs a source", param);
    DNI_REQUIRE(batch > 0, DN_E_NET, "%s needs a batch_size of at least 1", param);
    DNI_REQUIRE(
        layer->wire_only, DN_E_UNSUPPORTED,
        "%s would read %s '%s', which this build cannot; put them into a database for a "
        "Data layer, or hand them over through Input layers",
        layer->cls->type, what, source);
    return DN_OK;
}

dn_status dni_guess_list(const dni_layer *layer)
{
    const Cnn__ImageDataParameter *p = layer->param->image_data_param;
    DNI_REQUIRE(!p || (p->new_height > 0) == (p->new_width > 0), DN_E_NET,
                "image_data_param needs both of new_height and new_width, or neither");
    return dni_guess_unread(layer, "the images of", "image_data_param", p ? p->source : NULL,
                            p ? p->batch_size : 0);
}

dni_shape dni_guess_listed(const dni_layer *layer)
{
    const Cnn__ImageDataParameter *p = layer->param->image_data_param;
    const Cnn__TransformationParameter *t = layer->param->transform_param;
    dni_shape x = dni_guess_images(layer, p->batch_size, p->source);
    int64_t crop[2];
    dni_transform_crop(t, crop);
    x.dim[1] = p->is_color ? 3 : 1;
    if (crop[0] || p->new_height) {
        x.dim[2] = crop[0] ? crop[0] : p->new_height;
        x.dim[3] = crop[0] ? crop[1] : p->new_width;
    }
    return x;
}
