/* SPDX-License-Identifier: BSD-2-Clause
 * image_list.h: what ImageData and its kin share: batches of the images that a list names. */
#ifndef DNI_IMAGE_LIST_H
#define DNI_IMAGE_LIST_H

#include "layers/database.h"

typedef struct dni_image_list {
    dni_database database; /* first: its forward, tell and the others take it */
    /* The list's parameters as those of a database. */
    Cnn__DataParameter data;
    Cnn__TransformationParameter transform;
    Cnn__ResizeParameter resize, *resizes[1];
    dni_list list;
} dni_image_list;

/* The class's state is a dni_image_list. */
dn_status dni_image_list_setup(dni_layer *layer);
/* Of top 0: the first image's, or a guess where none may be opened. */
dni_shape dni_image_list_shape(const dni_layer *layer);

#endif
