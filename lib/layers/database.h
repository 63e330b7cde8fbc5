/* SPDX-License-Identifier: BSD-2-Clause
 * database.h: what Data, AnnotatedData and lists of images share: batches that a loader reads
 * ahead. */
#ifndef DNI_DATABASE_H
#define DNI_DATABASE_H

#include "data/data.h"
#include "layers/layer.h"

typedef struct dni_database {
    dni_layer *layer;
    dni_loader *loader; /* NULL: no data may be opened */
    dni_batch batch;    /* fetched, its shape told, not yet delivered */
    bool fetched;
    /* Shape of top 1 for such a batch, and its values; NULL: labels (N). */
    dni_shape (*label_shape)(const dni_layer *layer, const dni_batch *batch);
    void (*labels)(const dni_layer *layer, const dni_batch *batch, void *to);
} dni_database;

/* The class's state is a dni_database with the two functions set; boxes: records are
 * AnnotatedDatum. */
dn_status dni_database_setup(dni_layer *layer, bool boxes);
/* What is left of it once o says what is read and how: the rest of o is filled in here. */
dn_status dni_database_open(dni_layer *layer, dni_loader_options *o);
/* Of top 0 where no data was opened: crop_size's, resize_param's, or a guess by the name. */
dni_shape dni_database_guess(const dni_layer *layer);
/* Class maps (N, C, H, W) of images: smaller by seg_scales, or of seg_resize_*. */
dni_shape dni_database_maps(const dni_layer *layer, const dni_shape *images, int64_t C);
void dni_database_forward(dni_layer *layer, dni_builder *b);
void dni_database_teardown(dni_layer *layer);

#endif
