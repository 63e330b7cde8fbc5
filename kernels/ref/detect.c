/* SPDX-License-Identifier: BSD-2-Clause
 * detect.c: DETECT, image by image: candidates are sorted, and those that overlap a better one
 * go. Compiled once, for both types: all of it is in double. */
#include "ref.h"

#define DETECT_GET(d, x, i) get_element((d)->dtype, x, i)

static double get_element(int32_t dtype, const void *x, int64_t i)
{
    return dtype == DN_F64 ? ((const double *)x)[i] : (double)((const float *)x)[i];
}

static void put_element(int32_t dtype, void *y, int64_t i, double value)
{
    if (dtype == DN_F64)
        ((double *)y)[i] = value;
    else
        ((float *)y)[i] = (float)value;
}

#include "../detect.h"

typedef struct found {
    int64_t group, index;
} found;

/* What one image needs. */
typedef struct room {
    dn_box *boxes;    /* (places, P) */
    ref_scored *list; /* of a group, then of all kept */
    found *kept;
} room;

static int64_t list_of(const detect *d)
{
    int64_t all = d->group * d->groups;
    return all > d->P ? all : d->P;
}

static room room_of(const detect *d, void *scratch)
{
    room r = {.boxes = scratch};
    r.list = (ref_scored *)(r.boxes + d->P * d->places);
    r.kept = (found *)(r.list + list_of(d));
    return r;
}

static dn_status need_each(const dn_op *op, int32_t i, const detect *d, int64_t each)
{
    int64_t count;
    REF_TRY(ref_count3(op, d->N, d->P, each, &count));
    return ref_need_in(op, i, count);
}

static dn_status check_priors(const dn_op *op, const detect *d)
{
    REF_TRY(need_each(op, 1, d, d->classes));
    REF_TRY(need_each(op, 2, d, d->places * 4));
    REF_TRY(ref_need_in(op, 3, d->P * 8));
    REF_TRY(need_each(op, 4, d, 2));
    return need_each(op, 5, d, 4);
}

static dn_status check_detect(dn_op *op)
{
    const dn_args_detect *a = &op->args.detect;
    dn_operand in[1 + DN_DETECT_MAPS];
    detect d;
    bool all = true; /* but for what PRIORS may go without */
    for (int32_t i = 0; i < op->num_inputs && i <= DN_DETECT_MAPS; i++) {
        in[i] = op->in[i].info;
        all =
            all && (ref_has_in(op, i) || (a->method == DN_DETECT_PRIORS && (i == 0 || i > 3)));
    }
    if (!all || a->method < DN_DETECT_PROPOSAL || a->method > DN_DETECT_PRIORS ||
        a->classes < 0 || a->classes > 1 << 20 ||
        ref_has_in(op, 0) != (a->method != DN_DETECT_PRIORS))
        return ref_fail(op, DN_E_INVALID, "there is no method %d of %lld classes",
                        (int)a->method, (long long)a->classes);
    if (!detect_shape(&d, a, op->num_inputs, in))
        return ref_fail(op, DN_E_SHAPE, "the inputs of method %d do not go together",
                        (int)a->method);
    int64_t anchors = 4 * d.A;
    if (a->method == DN_DETECT_PRIORS)
        REF_TRY(check_priors(op, &d));
    if (a->method == DN_DETECT_PROPOSAL) {
        REF_TRY(ref_need_in(op, 2, 4 * d.P));
        if (op->in[3].count < 3)
            return ref_fail(op, DN_E_SHAPE, "%s", "the image has no height, width and scale");
    }
    if (a->method == DN_DETECT_YOLO) {
        anchors = 0;
        for (int32_t k = 0; k < d.maps; k++)
            anchors += 2 * d.map[k].anchors;
    }
    REF_TRY(ref_need_in(op, 0, anchors));
    int64_t rows;
    REF_TRY(ref_count3(op, d.N, d.image, 7, &rows));
    if (rows / 7 > INT32_MAX)
        return ref_fail(op, DN_E_SHAPE, "%lld rows are too many", (long long)(rows / 7));
    REF_TRY(ref_need_out(op, 0, rows));
    op->scratch = (size_t)(d.P * d.places) * sizeof(dn_box) +
                  (size_t)list_of(&d) * sizeof(ref_scored) +
                  (size_t)(d.group * d.groups) * sizeof(found);
    return ref_need_out(op, 1, 1);
}

/* What is found in image n goes to the rows from `first` on; how many. */
static int64_t detect_image(const detect *d, const room *r, int64_t n, void *rows,
                            int64_t first)
{
    int64_t num = 0, count;
    for (int64_t i = 0; i < d->P * d->places; i++)
        r->boxes[i] = detect_box(d, n, i / d->P, i % d->P);
#define BOXES_OF(group) (r->boxes + (d->places > 1 ? (group)*d->P : 0))
    for (int64_t g = 0; g < d->groups; g++) {
        count = 0;
        for (int64_t i = 0; i < d->P; i++)
            if (detect_score(d, n, g, i, &BOXES_OF(g)[i], &r->list[count].score))
                r->list[count++].index = i;
        ref_sort(r->list, count);
        count = ref_suppress(r->list, detect_at_most(d->before, count), BOXES_OF(g), d->nms,
                             d->eta, d->one, d->group);
        for (int64_t i = 0; i < count; i++)
            r->kept[num++] = (found){g, r->list[i].index};
    }
    count = detect_at_most(d->keep, num);
    for (int64_t i = 0; i < num; i++) {
        const found *f = &r->kept[i];
        r->list[i].index = i;
        detect_score(d, n, f->group, f->index, &BOXES_OF(f->group)[f->index],
                     &r->list[i].score);
    }
    if (count < num)
        ref_sort(r->list, num);
    for (int64_t i = 0; i < count; i++) /* back into the order of index */
        r->list[i].score = -(double)r->list[i].index;
    ref_sort(r->list, count);
    for (int64_t i = 0; i < count; i++) {
        const found *f = &r->kept[r->list[i].index];
        double row[7];
        detect_row(d, n, f->group, f->index, &BOXES_OF(f->group)[f->index], row);
        for (int64_t k = 0; k < 7; k++)
            put_element(d->dtype, rows, (first + i) * 7 + k, row[k]);
    }
#undef BOXES_OF
    return count;
}

static dn_status run_detect(const dn_op *op, const dn_op_io *io)
{
    dn_operand in[1 + DN_DETECT_MAPS];
    detect d;
    for (int32_t i = 0; i < op->num_inputs; i++)
        in[i] = op->in[i].info;
    detect_shape(&d, &op->args.detect, op->num_inputs, in);
    detect_bind(&d, io->in, op->num_inputs);
    room r = room_of(&d, io->scratch);
    int64_t count = 0;
    for (int64_t n = 0; n < d.N; n++)
        count += detect_image(&d, &r, n, io->out[0], count);
    for (int64_t i = 0; count == 0 && i < d.N * 7; i++)
        put_element(d.dtype, io->out[0], i, detect_nothing(&d, i));
    *(int32_t *)io->out[1] = (int32_t)(count ? count : d.N);
    return DN_OK;
}

const ref_kind ref_detect = {"DETECT", "dTt+:TM",    sizeof(dn_args_detect),
                             0,        check_detect, {run_detect, run_detect}};
