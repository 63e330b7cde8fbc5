/* SPDX-License-Identifier: BSD-2-Clause
 * boxes.c: see boxes.h. */
#include "layers/boxes.h"

#include <math.h>
#include <stdlib.h>

dni_box dni_box_get(const void *values, int32_t dtype, int64_t i)
{
    return (dni_box){dni_get(values, dtype, i), dni_get(values, dtype, i + 1),
                     dni_get(values, dtype, i + 2), dni_get(values, dtype, i + 3)};
}

void dni_box_put(void *values, int32_t dtype, int64_t i, const dni_box *box)
{
    dni_put(values, dtype, i, box->x0);
    dni_put(values, dtype, i + 1, box->y0);
    dni_put(values, dtype, i + 2, box->x1);
    dni_put(values, dtype, i + 3, box->y1);
}

double dni_box_iou(const dni_box *a, const dni_box *b, double one)
{
    return dn_box_iou(a, b, one);
}

/* NaN ranks last, so that the order is one whatever the scores are. */
static int by_score(const void *pa, const void *pb)
{
    const dni_scored *a = pa, *b = pb;
    double sa = isnan(a->score) ? -INFINITY : a->score;
    double sb = isnan(b->score) ? -INFINITY : b->score;
    if (sa != sb)
        return sa > sb ? -1 : 1;
    return a->index < b->index ? -1 : a->index > b->index;
}

void dni_sort_scored(dni_scored *list, int64_t count)
{
    if (count > 1)
        qsort(list, (size_t)count, sizeof *list, by_score);
}

int64_t dni_suppress(dni_scored *list, int64_t count, const dni_box *boxes, double threshold,
                     double eta, double one)
{
    int64_t kept = 0;
    for (int64_t i = 0; i < count; i++) {
        const dni_box *box = &boxes[list[i].index];
        int64_t k = 0;
        while (k < kept && dni_box_iou(box, &boxes[list[k].index], one) <= threshold)
            k++;
        if (k < kept)
            continue;
        list[kept++] = list[i];
        if (eta < 1 && threshold > 0.5)
            threshold *= eta;
    }
    return kept;
}

static dn_status run_count(void *user, void *const *in, void *const *out)
{
    const dni_detected *d = user;
    (void)out;
    return dni_dynamic_count(d->layer, d->axis, *(const int32_t *)in[0]);
}

void dni_emit_count(dni_builder *b, dni_detected *d, dni_tensor top)
{
    dn_args_host_call call = {.fn = run_count, .user = d};
    dni_emit_arrays(b, DN_OP_HOST_CALL, &call, DNI_ARRAY(d->count, top), 0, &top);
}

dni_tensor dni_detect(dni_builder *b, dni_detected *d, const dn_args_detect *args,
                      int32_t num_inputs, const dni_tensor *inputs, int64_t most)
{
    dni_tensor rows = dni_temp(b, b->dtype, 2, (int64_t[]){most, 7});
    d->count = dni_temp(b, DN_I32, 0, NULL);
    dni_emit_arrays(b, DN_OP_DETECT, args, num_inputs, inputs, DNI_ARRAY(rows, d->count));
    return rows;
}

void dni_detect_rows(dni_builder *b, dni_detected *d, dni_layer *layer,
                     const dn_args_detect *args, int32_t num_inputs, const dni_tensor *inputs,
                     int64_t most)
{
    *d = (dni_detected){layer, dni_tensor_shape(b, b->y[0])->dim[2], 2};
    dni_tensor rows = dni_detect(b, d, args, num_inputs, inputs, most);
    dni_emit_rows(b, d->lowered, 7, 7, 0, 7, 0, rows, b->y[0]);
    dni_emit_count(b, d, b->y[0]);
}
