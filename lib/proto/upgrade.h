/* SPDX-License-Identifier: BSD-2-Clause
 * upgrade.h: the generations of layers, each turned straight into today's. */
#ifndef DNI_UPGRADE_H
#define DNI_UPGRADE_H

#include "proto/field.h"

/* Moves what `old` says into `layer` (new and empty), and its remarks with it. */
dn_status dni_upgrade_v0(Cnn__LayerParameter *layer, Cnn__V1LayerParameter *old,
                         const dni_heap *heap, dni_locations *locations);
dn_status dni_upgrade_v1(Cnn__LayerParameter *layer, Cnn__V1LayerParameter *old,
                         const dni_heap *heap, dni_remarks *remarks);
/* scale, mean_file, crop_size and mirror of an old data layer's own parameters, and a
 * transform_param inside them, become the layer's. Only old layers: in a `layer` Caffe passes
 * over them, so they must not change its numbers. */
dn_status dni_upgrade_transform(Cnn__LayerParameter *layer, const dni_heap *heap,
                                dni_remarks *remarks);
/* param[i] of layer, made with those before it if need be. NULL: no memory. */
Cnn__ParamSpec *dni_upgrade_param(Cnn__LayerParameter *layer, size_t i, const dni_heap *heap);
/* blobs_lr and weight_decay of an old layer into param; remarks stand on `old`'s fields. */
typedef struct dni_multipliers {
    const void *old;
    const float *lr, *decay;
    size_t num_lr, num_decay;
} dni_multipliers;
dn_status dni_upgrade_multipliers(Cnn__LayerParameter *layer, const dni_multipliers *from,
                                  const dni_heap *heap, dni_remarks *remarks);
/* Has it `input` fields, which become a layer in front of the others? */
bool dni_net_has_inputs(const Cnn__NetParameter *net);
/* V0 "padding" layers become the pad of the convolutions that read them. */
dn_status dni_upgrade_v0_padding(Cnn__NetParameter *net, const dni_heap *heap,
                                 dni_locations *locations);

#endif
