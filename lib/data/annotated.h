/* SPDX-License-Identifier: BSD-2-Clause
 * annotated.h: images that are changed before they become floats, and the boxes in them. */
#ifndef DNI_ANNOTATED_H
#define DNI_ANNOTATED_H

#include "data/data.h"

/* Records of a Data layer (annotated false) may be resized; those of AnnotatedData are read as
 * AnnotatedDatum and all steps apply. */
typedef struct dni_annotator {
    const dni_heap *heap;
    const Cnn__AnnotatedDataParameter *param;      /* NULL: none; borrowed, as is */
    const Cnn__TransformationParameter *transform; /* never NULL */
    uint64_t seed, stream;                         /* stream and stream + 1 are used */
    bool annotated;
    /* Of the last record: */
    int32_t type; /* 0: boxes; -1: none, a label */
    const Cnn__ResizeParameter *resize;
    dni_image before; /* as it was before it was resized */
    dni_decoder room[2];
    int next;
} dni_annotator;

/* Fails for settings that no record could meet. Both may be NULL. */
dn_status dni_annotator_check(const Cnn__AnnotatedDataParameter *param,
                              const Cnn__TransformationParameter *transform, int64_t batch);
/* Decodes record number `index`, in a batch that begins with record `first`, and does all but
 * the transform's crop and mirror. The image is valid until the next call. */
dn_status dni_annotator_run(dni_annotator *annotator, dni_decoder *decoder,
                            const dni_record *record, uint64_t index, uint64_t first,
                            dni_image *image, int32_t *label, dni_boxes *boxes);
/* The boxes follow the transform's crop and mirror of that image. */
void dni_annotator_place(const dni_annotator *annotator, const dni_image *image,
                         dni_placement placement, dni_boxes *boxes);
void dni_annotator_free(dni_annotator *annotator);

#endif
