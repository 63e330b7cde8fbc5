/* SPDX-License-Identifier: BSD-2-Clause
 * upgrade_v0.c: `layers { layer { type: "conv" kernelsize: 5 } }`: one flat message for all
 * layers. A table says where each field went, by type. */
#include <string.h>

#include "proto/upgrade.h"

/* What each type is called today (softmaxloss: of the first months). An empty name ends them.
 */
static const char types[] = "accuracy\0Accuracy\0"
                            "bnll\0BNLL\0"
                            "concat\0Concat\0"
                            "conv\0Convolution\0"
                            "data\0Data\0"
                            "dropout\0Dropout\0"
                            "euclidean_loss\0EuclideanLoss\0"
                            "flatten\0Flatten\0"
                            "hdf5_data\0HDF5Data\0"
                            "hdf5_output\0HDF5Output\0"
                            "im2col\0Im2col\0"
                            "images\0ImageData\0"
                            "infogain_loss\0InfogainLoss\0"
                            "innerproduct\0InnerProduct\0"
                            "lrn\0LRN\0"
                            "multinomial_logistic_loss\0MultinomialLogisticLoss\0"
                            "pool\0Pooling\0"
                            "relu\0ReLU\0"
                            "sigmoid\0Sigmoid\0"
                            "softmax\0Softmax\0"
                            "softmax_loss\0SoftmaxWithLoss\0"
                            "split\0Split\0"
                            "tanh\0TanH\0"
                            "window_data\0WindowData\0"
                            "power\0Power\0"
                            "argmax\0ArgMax\0"
                            "softmaxloss\0SoftmaxWithLoss\0";

/* Of a type (*: any), to which message (*: the layer) its fields went: each name, and what it
 * became (=: the same; pool: the same numbers). An empty name ends a type, and the table. */
static const char moves[] = "conv\0convolution_param\0"
                            "num_output\0=\0"
                            "biasterm\0bias_term\0"
                            "weight_filler\0=\0"
                            "bias_filler\0=\0"
                            "pad\0=\0"
                            "kernelsize\0kernel_size\0"
                            "group\0=\0"
                            "stride\0=\0"
                            "\0"
                            "innerproduct\0inner_product_param\0"
                            "num_output\0=\0"
                            "biasterm\0bias_term\0"
                            "weight_filler\0=\0"
                            "bias_filler\0=\0"
                            "\0"
                            "pool\0pooling_param\0"
                            "pad\0=\0"
                            "pool\0=\0"
                            "kernelsize\0kernel_size\0"
                            "stride\0=\0"
                            "\0"
                            "dropout\0dropout_param\0"
                            "dropout_ratio\0=\0"
                            "\0"
                            "lrn\0lrn_param\0"
                            "local_size\0=\0"
                            "alpha\0=\0"
                            "beta\0=\0"
                            "k\0=\0"
                            "\0"
                            "data\0data_param\0"
                            "source\0=\0"
                            "batchsize\0batch_size\0"
                            "rand_skip\0=\0"
                            "\0"
                            "hdf5_data\0hdf5_data_param\0"
                            "source\0=\0"
                            "batchsize\0batch_size\0"
                            "\0"
                            "images\0image_data_param\0"
                            "source\0=\0"
                            "batchsize\0batch_size\0"
                            "rand_skip\0=\0"
                            "shuffle_images\0shuffle\0"
                            "new_height\0=\0"
                            "new_width\0=\0"
                            "\0"
                            "window_data\0window_data_param\0"
                            "source\0=\0"
                            "batchsize\0batch_size\0"
                            "det_fg_threshold\0fg_threshold\0"
                            "det_bg_threshold\0bg_threshold\0"
                            "det_fg_fraction\0fg_fraction\0"
                            "det_context_pad\0context_pad\0"
                            "det_crop_mode\0crop_mode\0"
                            "\0"
                            "infogain_loss\0infogain_loss_param\0"
                            "source\0=\0"
                            "\0"
                            "*\0transform_param\0"
                            "scale\0=\0"
                            "meanfile\0mean_file\0"
                            "subtraction\0mean_value\0"
                            "cropsize\0crop_size\0"
                            "mirror\0=\0"
                            "\0"
                            "concat\0concat_param\0"
                            "concat_dim\0=\0"
                            "\0"
                            "hdf5_output\0*\0"
                            "hdf5_output_param\0=\0"
                            "\0";

static const char *next(const char **at)
{
    const char *word = *at;
    *at += strlen(word) + 1;
    return word;
}

static dn_status move_fields(Cnn__LayerParameter *layer, Cnn__V0LayerParameter *old,
                             const dni_heap *heap, dni_remarks *remarks)
{
    for (const char *at = moves; *at; at++) {
        const char *type = next(&at), *message = next(&at);
        bool mine = *type == '*' || (old->type && !strcmp(type, old->type));
        while (*at) {
            const char *from = next(&at), *now = next(&at);
            if (!mine || !dni_field_set(&old->base, from))
                continue;
            now = *now == '=' ? from : now;
            ProtobufCMessage *to =
                *message == '*' ? &layer->base : dni_field_sub(heap, &layer->base, message);
            if (!to)
                return DN_E_NOMEM;
            dn_status st = dni_field_move(heap, &old->base, from, to, now, NULL);
            if (!st)
                st = dni_remarks_move(remarks, heap, old, from, 0, to, now, 0);
            if (st)
                return st;
        }
    }
    return DN_OK;
}

/* One message for all layers let people set fields that their layer never had. */
static dn_status note_rest(const Cnn__LayerParameter *layer, const Cnn__V0LayerParameter *old,
                           const dni_heap *heap, dni_locations *locations)
{
    static const char *const apart[] = {"name", "type", "blobs_lr", "weight_decay",
                                        "can_clobber"};
    const ProtobufCMessageDescriptor *type = old->base.descriptor;
    dn_status st = DN_OK;
    for (unsigned i = 0; !st && i < type->n_fields; i++) {
        bool moved = !dni_field_set(&old->base, type->fields[i].name);
        for (size_t k = 0; k < DNI_COUNT(apart); k++)
            moved |= !strcmp(apart[k], type->fields[i].name);
        if (!moved)
            st = dni_locations_note(locations, heap, layer,
                                    "'%s' has no effect in a V0 '%s' "
                                    "layer and is dropped",
                                    type->fields[i].name, old->type ? old->type : "");
    }
    return st;
}

dn_status dni_upgrade_v0(Cnn__LayerParameter *layer, Cnn__V1LayerParameter *outer,
                         const dni_heap *heap, dni_locations *locations)
{
    Cnn__V0LayerParameter *old = outer->layer;
    dni_remarks *remarks = dni_locations_remarks(locations);
    const dni_multipliers multipliers = {old, old->blobs_lr, old->weight_decay, old->n_blobs_lr,
                                         old->n_weight_decay};
    const char *now = NULL;
    for (const char *at = types; old->type && *at;) {
        const char *name = next(&at), *today = next(&at);
        if (!strcmp(name, old->type))
            now = today;
    }
    if (old->type && !now)
        return dni_fail(DN_E_UNSUPPORTED, "layer '%s': unknown V0 layer type '%s'",
                        old->name ? old->name : "", old->type);
    if (now && !(layer->type = dni_strdup(heap, now)))
        return DN_E_NOMEM;
    dn_status st = dni_field_move(heap, &outer->base, "bottom", &layer->base, "bottom", NULL);
    if (!st)
        st = dni_field_move(heap, &outer->base, "top", &layer->base, "top", NULL);
    if (!st)
        st = dni_field_move(heap, &old->base, "name", &layer->base, "name", NULL);
    if (!st)
        st = dni_field_move(heap, &old->base, "blobs", &layer->base, "blobs", NULL);
    if (!st)
        st = dni_upgrade_multipliers(layer, &multipliers, heap, remarks);
    if (!st)
        st = dni_remarks_move(remarks, heap, outer, "layer", DNI_ANY_INDEX, layer, "name", 0);
    if (!st)
        st = dni_remarks_move(remarks, heap, old, NULL, DNI_ANY_INDEX, layer, NULL, 0);
    if (!st)
        st = move_fields(layer, old, heap, remarks);
    return st ? st : note_rest(layer, old, heap, locations);
}

/* ---- padding layers ---------------------------------------------------------------------- */

static bool is_type(const Cnn__V1LayerParameter *l, const char *type)
{
    return l->layer && l->layer->type && !strcmp(l->layer->type, type);
}

static Cnn__V1LayerParameter *maker_of(Cnn__NetParameter *net, size_t before, const char *name)
{
    for (size_t i = before; i-- > 0;)
        for (size_t t = 0; t < net->layers[i]->n_top; t++)
            if (!strcmp(net->layers[i]->top[t], name))
                return net->layers[i];
    return NULL;
}

static dn_status fold(Cnn__V1LayerParameter *layer, size_t bottom,
                      const Cnn__V1LayerParameter *padding, const dni_heap *heap)
{
    if (!is_type(layer, "conv") && !is_type(layer, "pool"))
        return dni_fail(DN_E_UNSUPPORTED, "a padding layer feeds a layer that is neither a "
                                          "convolution nor a pooling");
    if (padding->n_bottom != 1)
        return dni_fail(DN_E_NET, "a padding layer takes one bottom");
    char *name = dni_strdup(heap, padding->bottom[0]);
    if (!name)
        return DN_E_NOMEM;
    dni_free(layer->bottom[bottom]);
    layer->bottom[bottom] = name;
    layer->layer->has_pad = 1;
    layer->layer->pad = padding->layer->pad;
    return DN_OK;
}

dn_status dni_upgrade_v0_padding(Cnn__NetParameter *net, const dni_heap *heap,
                                 dni_locations *locations)
{
    dni_remarks *remarks = dni_locations_remarks(locations);
    size_t shift = dni_net_has_inputs(net);
    dn_status st = DN_OK;
    for (size_t i = 0; i < net->n_layers; i++)
        for (size_t b = 0; !is_type(net->layers[i], "padding") && b < net->layers[i]->n_bottom;
             b++) {
            Cnn__V1LayerParameter *maker = maker_of(net, i, net->layers[i]->bottom[b]);
            if (!maker || !is_type(maker, "padding"))
                continue;
            st = fold(net->layers[i], b, maker, heap);
            if (st)
                return dni_in_location(st, locations, net->layers[i]);
        }
    size_t kept = 0;
    for (size_t i = 0; i < net->n_layers; i++) {
        Cnn__V1LayerParameter *l = net->layers[i];
        bool drop = is_type(l, "padding");
        if (drop && !st) /* what hung inside comes after the net */
            st = dni_remarks_move(remarks, heap, l, NULL, DNI_ANY_INDEX, net, NULL, 0);
        if (drop && !st)
            st = dni_remarks_move(remarks, heap, l->layer, NULL, DNI_ANY_INDEX, net, NULL, 0);
        if (!st)
            st = dni_remarks_move(remarks, heap, net, "layers", i, net, "layer", kept + shift);
        if (drop)
            dni_message_free(l);
        else
            net->layers[kept++] = l;
    }
    net->n_layers = kept;
    return st;
}
