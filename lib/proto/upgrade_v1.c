/* SPDX-License-Identifier: BSD-2-Clause
 * upgrade_v1.c: `layers { type: CONVOLUTION blobs_lr: 1 }`: types were an enum, multipliers and
 * names of weights were lists of their own. Everything else kept its name. */
#include <string.h>

#include "proto/upgrade.h"

/* Types that V1 has in capitals, some with underscores between words. */
static const char *const types[] = {
    "AbsVal", "Accuracy", "ArgMax", "BNLL", "Concat", "ContrastiveLoss", "Convolution", "Data",
    "Deconvolution", "Dropout", "DummyData", "Eltwise", "EuclideanLoss", "Exp", "Flatten",
    "HDF5Data", "HDF5Output", "HingeLoss", "Im2col", "ImageData", "InfogainLoss",
    "InnerProduct", "LRN", "MemoryData", "MultinomialLogisticLoss", "MVN", "Pooling", "Power",
    "ReLU", "Sigmoid", "SigmoidCrossEntropyLoss", "Silence", "Slice", "Softmax", "Split",
    "TanH", "Threshold", "WindowData",
    /* of forks */
    "BatchNorm", "Crop", "Normalize", "ReLU6", "ROIPooling", "PReLU", "Local", "Insanity",
    "TripletLoss", "EltwiseAffine", "BN", "VideoData", "Convolution3D", "Pooling3D",
    "ImageSegData", "SegAccuracy", "Interp", "DenseImageData", "Upsample", "SmoothL1Loss",
    "MatWrite", "Padding", "EltwiseAccuracy", "MultiLabelLoss"};

static const struct type_name {
    const char *old, *now;
} renamed[] = {
    {"NONE", ""},
    {"SOFTMAX_LOSS", "SoftmaxWithLoss"},
    {"LRN_MAP", "LRN"},
    {"UNPOOLING", "Upsample"},
};

/* Is that the type's name in capitals? */
static bool is_type(const char *old, const char *type)
{
    for (; *old; old++) {
        char c = *type;
        if (*old == '_')
            continue;
        if (*old != (c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c))
            return false;
        type++;
    }
    return !*type;
}

static const char *type_name(int value)
{
    const ProtobufCEnumValue *v = protobuf_c_enum_descriptor_get_value(
        &cnn__v1_layer_parameter__layer_type__descriptor, value);
    for (size_t i = 0; v && i < DNI_COUNT(renamed); i++)
        if (!strcmp(renamed[i].old, v->name))
            return renamed[i].now;
    for (size_t i = 0; v && i < DNI_COUNT(types); i++)
        if (is_type(v->name, types[i]))
            return types[i];
    return v ? v->name : "";
}

Cnn__ParamSpec *dni_upgrade_param(Cnn__LayerParameter *layer, size_t i, const dni_heap *heap)
{
    while (layer->n_param <= i) {
        Cnn__ParamSpec **more =
            dni_realloc(heap, layer->param, layer->n_param + 1, sizeof *more);
        if (!more)
            return NULL;
        layer->param = more;
        more[layer->n_param] = dni_message_new(heap, &cnn__param_spec__descriptor);
        if (!more[layer->n_param])
            return NULL;
        layer->n_param++;
    }
    return layer->param[i];
}

dn_status dni_upgrade_multipliers(Cnn__LayerParameter *layer, const dni_multipliers *from,
                                  const dni_heap *heap, dni_remarks *remarks)
{
    dn_status st = DN_OK;
    for (size_t i = 0; !st && (i < from->num_lr || i < from->num_decay); i++) {
        Cnn__ParamSpec *spec = dni_upgrade_param(layer, i, heap);
        if (!spec)
            return DN_E_NOMEM;
        if (i < from->num_lr) {
            spec->has_lr_mult = 1;
            spec->lr_mult = from->lr[i];
            st = dni_remarks_move(remarks, heap, from->old, "blobs_lr", i, spec, "lr_mult", 0);
        }
        if (!st && i < from->num_decay) {
            spec->has_decay_mult = 1;
            spec->decay_mult = from->decay[i];
            st = dni_remarks_move(remarks, heap, from->old, "weight_decay", i, spec,
                                  "decay_mult", 0);
        }
    }
    return st;
}

static dn_status move_names(Cnn__LayerParameter *layer, Cnn__V1LayerParameter *old,
                            const dni_heap *heap, dni_remarks *remarks)
{
    dn_status st = DN_OK;
    for (size_t i = 0; !st && i < old->n_param; i++) {
        Cnn__ParamSpec *spec = dni_upgrade_param(layer, i, heap);
        if (!spec)
            return DN_E_NOMEM;
        spec->name = old->param[i];
        old->param[i] = NULL;
        st = dni_remarks_move(remarks, heap, old, "param", i, spec, "name", 0);
    }
    for (size_t i = 0; !st && i < old->n_blob_share_mode; i++) {
        Cnn__ParamSpec *spec = dni_upgrade_param(layer, i, heap);
        if (!spec)
            return DN_E_NOMEM;
        spec->has_share_mode = 1;
        spec->share_mode =
            old->blob_share_mode[i] == CNN__V1_LAYER_PARAMETER__DIM_CHECK_MODE__PERMISSIVE
                ? CNN__PARAM_SPEC__DIM_CHECK_MODE__PERMISSIVE
                : CNN__PARAM_SPEC__DIM_CHECK_MODE__STRICT;
        st = dni_remarks_move(remarks, heap, old, "blob_share_mode", i, spec, "share_mode", 0);
    }
    return st;
}

static bool handled_apart(const char *field)
{
    static const char *const apart[] = {"layer",         "type",           "blobs_lr",
                                        "weight_decay",  "param",          "blob_share_mode",
                                        "lrn_map_param", "unpooling_param"};
    for (size_t i = 0; i < DNI_COUNT(apart); i++)
        if (!strcmp(apart[i], field))
            return true;
    return false;
}

/* LRN_MAP was LRN within channels before norm_region said so; UNPOOLING is Upsample by places.
 */
static dn_status upgrade_renamed(Cnn__LayerParameter *layer, Cnn__V1LayerParameter *old,
                                 const dni_heap *heap)
{
    dn_status st = DN_OK;
    if (old->lrn_map_param)
        st = dni_field_move(heap, &old->base, "lrn_map_param", &layer->base, "lrn_param", NULL);
    if (!st && old->unpooling_param)
        st = dni_field_move(heap, &old->base, "unpooling_param", &layer->base, "upsample_param",
                            NULL);
    if (st || old->type != CNN__V1_LAYER_PARAMETER__LAYER_TYPE__LRN_MAP)
        return st;
    if (!dni_field_sub(heap, &layer->base, "lrn_param"))
        return DN_E_NOMEM;
    layer->lrn_param->has_norm_region = 1;
    layer->lrn_param->norm_region = CNN__LRNPARAMETER__NORM_REGION__WITHIN_CHANNEL;
    return DN_OK;
}

dn_status dni_upgrade_v1(Cnn__LayerParameter *layer, Cnn__V1LayerParameter *old,
                         const dni_heap *heap, dni_remarks *remarks)
{
    const dni_multipliers multipliers = {old, old->blobs_lr, old->weight_decay, old->n_blobs_lr,
                                         old->n_weight_decay};
    const ProtobufCMessageDescriptor *type = &cnn__v1_layer_parameter__descriptor;
    dn_status st = DN_OK;
    for (unsigned i = 0; !st && i < type->n_fields; i++) {
        const char *name = type->fields[i].name;
        if (!handled_apart(name))
            st = dni_field_move(heap, &old->base, name, &layer->base, name, NULL);
    }
    if (!st)
        st = upgrade_renamed(layer, old, heap);
    if (!st && old->has_type) {
        layer->type = dni_strdup(heap, type_name(old->type));
        st = layer->type ? DN_OK : DN_E_NOMEM;
    }
    if (!st)
        st = dni_upgrade_multipliers(layer, &multipliers, heap, remarks);
    return st ? st : move_names(layer, old, heap, remarks);
}
