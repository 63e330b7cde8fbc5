/* SPDX-License-Identifier: BSD-2-Clause
 * image_list.h: what ImageData and its kin share: batches of the images that a list names, and
 * of their class maps. */
#ifndef DNI_IMAGE_LIST_H
#define DNI_IMAGE_LIST_H

#include "layers/database.h"

typedef struct dni_image_list {
    dni_database database; /* first: its forward, tell and the others take it */
    dni_list list;
    /* Class maps, which layers other than ImageData have. */
    bool maps, pad;
    int32_t ignore;                   /* where there is none */
    uint32_t crop_height, crop_width; /* and mirror, if transform_param has none */
    bool mirror;
    Cnn__ResizeParameter__InterpMode blend; /* how they are resized */
    /* The list's parameters as those of a database; what is zero is not asked for. */
    Cnn__DataParameter data;
    Cnn__TransformationParameter transform, map_transform;
    Cnn__ResizeParameter resize, map_resize, *resizes[2];
} dni_image_list;

/* The class's state is a dni_image_list, its first fields but the root set; p: the layer's
 * parameter, or NULL. */
dn_status dni_image_list_setup(dni_layer *layer, const Cnn__ImageDataParameter *p);
/* Images as the first one's, or as guessed where none may be opened; then (N, 1, H, W) where
 * there are maps, else (N); then (N, 1, 1, 2). */
dn_status dni_image_list_shape_as(dni_layer *layer, dni_shape guess);
dn_status dni_image_list_shape(dni_layer *layer); /* a guess from image_data_param */

#endif
