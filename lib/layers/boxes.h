/* SPDX-License-Identifier: BSD-2-Clause
 * boxes.h: what the detection layers share: boxes, their overlap, non-maximum suppression, and
 * rows of them that an op found. All in double. */
#ifndef DNI_BOXES_H
#define DNI_BOXES_H

#include "deepnet/sys/boxes.h"
#include "layers/values.h"

typedef dn_box dni_box;

/* A box with what it is ranked by and the place it came from. */
typedef struct dni_scored {
    double score;
    int64_t index;
} dni_scored;

/* The four values from element i on. */
dni_box dni_box_get(const void *values, int32_t dtype, int64_t i);
void dni_box_put(void *values, int32_t dtype, int64_t i, const dni_box *box);
/* Intersection over union; one: what is added to a length (0; 1 where corners are pixels). */
double dni_box_iou(const dni_box *a, const dni_box *b, double one);

/* Highest score first; equal scores in the order of index. */
void dni_sort_scored(dni_scored *list, int64_t count);
/* Keeps, of list sorted, those that overlap no one kept by more than threshold; eta < 1 lowers
 * the threshold by that factor after each one kept, down to 0.5. Returns how many are left. */
int64_t dni_suppress(dni_scored *list, int64_t count, const dni_box *boxes, double threshold,
                     double eta, double one);

/* What an op found, whose rows a layer's tops are made of. Their number is known once it ran:
 * the host reads it, and tops that were lowered for another one are lowered again. */
typedef struct dni_detected {
    dni_layer *layer;
    int64_t lowered;  /* rows that the tops have */
    int32_t axis;     /* of the tops, that the rows are */
    dni_tensor count; /* I32 */
} dni_detected;
/* The host reads count, and with it, as it waits only once then, `top`, unless it is DNI_NONE:
 * whoever asks for what was found has it there. */
void dni_emit_count(dni_builder *b, dni_detected *d, dni_tensor top);
/* DETECT of inputs into a temporary (most, 7), which is returned, and d->count. */
dni_tensor dni_detect(dni_builder *b, dni_detected *d, const dn_args_detect *args,
                      int32_t num_inputs, const dni_tensor *inputs, int64_t most);
/* The same, and its rows are top 0: (1, 1, R, 7). */
void dni_detect_rows(dni_builder *b, dni_detected *d, dni_layer *layer,
                     const dn_args_detect *args, int32_t num_inputs, const dni_tensor *inputs,
                     int64_t most);

#endif
