/* SPDX-License-Identifier: BSD-2-Clause
 * BoxAnnotatorOHEM (R-FCN): of each image, the roi_per_img regions with the largest loss keep
 * their label and weights; the others get ignore_label and 0.
 * box_annotator_ohem_param: roi_per_img (required), ignore_label (-1).
 * bottoms: regions (R, 5, ...): item, x0, y0, x1, y1; loss (R, 1, ...); labels (R, 1, ...);
 * weights (R, B, ...), of the same positions. tops: labels (R, 1, ...), weights (R, B, ...). No
 * gradient. */
#include "layers/boxes.h"

typedef struct ohem_state {
    dni_layer *layer;
    int64_t R, B, S, most; /* S: positions of a region */
    double ignore;
    dni_scored *list; /* (R S) */
} ohem_state;

static dn_status setup(dni_layer *layer)
{
    const Cnn__BoxAnnotatorOHEMParameter *p = layer->param->box_annotator_ohem_param;
    ohem_state *s = layer->state;
    DNI_REQUIRE(p && p->roi_per_img > 0, DN_E_NET,
                "box_annotator_ohem_param needs a roi_per_img of at least 1");
    *s = (ohem_state){.layer = layer, .most = p->roi_per_img, .ignore = p->ignore_label};
    return DN_OK;
}

static void teardown(dni_layer *layer)
{
    ohem_state *s = layer->state;
    dni_free(layer->heap, s->list);
    s->list = NULL;
}

static dn_status shape(dni_layer *layer)
{
    ohem_state *s = layer->state;
    const dni_shape *x = layer->bottom;
    for (int32_t i = 0; i < 4; i++)
        DNI_REQUIRE(x[i].axes >= 1 && x[i].dim[0] == x[0].dim[0], DN_E_SHAPE,
                    "bottom %d has other regions than bottom 0", i);
    DNI_REQUIRE(x[0].axes >= 2 && x[0].dim[1] == 5 && x[3].axes >= 2, DN_E_SHAPE,
                "bottom 0 must be (R, 5, ...), bottom 3 (R, B, ...)");
    s->R = x[0].dim[0];
    s->S = dni_shape_range(&x[0], 2, x[0].axes);
    s->B = x[3].dim[1];
    for (int32_t i = 1; i < 4; i++)
        DNI_REQUIRE(dni_shape_range(&x[i], i == 3 ? 2 : 1, x[i].axes) == s->S, DN_E_SHAPE,
                    "bottom %d needs the %lld positions of a region", i, (long long)s->S);
    layer->top[0] = x[2];
    layer->top[1] = x[3];
    if (layer->wire_only)
        return DN_OK;
    teardown(layer);
    s->list = dni_alloc(layer->heap, (size_t)(s->R * s->S), sizeof *s->list);
    return s->list ? DN_OK : DN_E_NOMEM;
}

static double item_of(const ohem_state *s, const void *regions, int64_t at)
{
    return dni_get(regions, s->layer->dtype, at / s->S * 5 * s->S + at % s->S);
}

static void keep(const ohem_state *s, void *const *in, void *const *out, int64_t at)
{
    int32_t t = s->layer->dtype;
    dni_put(out[0], t, at, dni_get(in[2], t, at));
    for (int64_t c = 0; c < s->B; c++) {
        int64_t to = (at / s->S * s->B + c) * s->S + at % s->S;
        dni_put(out[1], t, to, dni_get(in[3], t, to));
    }
}

/* Regions come by loss, and the images among them as they may: each round takes one image. */
static dn_status run(void *user, void *const *in, void *const *out)
{
    ohem_state *s = user;
    int32_t t = s->layer->dtype;
    int64_t count = s->R * s->S;
    for (int64_t i = 0; i < count; i++) {
        s->list[i] = (dni_scored){dni_get(in[1], t, i), i};
        dni_put(out[0], t, i, s->ignore);
    }
    for (int64_t i = 0; i < count * s->B; i++)
        dni_put(out[1], t, i, 0);
    dni_sort_scored(s->list, count);
    while (count > 0) {
        double item = item_of(s, in[0], s->list[0].index);
        int64_t left = 0, kept = 0;
        for (int64_t i = 0; i < count; i++) {
            double other = item_of(s, in[0], s->list[i].index);
            if (other != item && i > 0)
                s->list[left++] = s->list[i];
            else if (kept++ < s->most)
                keep(s, in, out, s->list[i].index);
        }
        count = left;
    }
    return DN_OK;
}

static void forward(dni_layer *layer, dni_builder *b)
{
    dn_args_host_call call = {.fn = run, .user = layer->state};
    dni_emit(b, DN_OP_HOST_CALL, &call, 4, b->x, DNI_TENSORS(b->y[0], b->y[1]));
}

const dni_layer_class dni_layer_box_annotator_ohem = {
    .type = "BoxAnnotatorOHEM",
    .bottoms_min = 4,
    .bottoms_max = 4,
    .tops_min = 2,
    .tops_max = 2,
    .no_gradient = 15,
    .state_size = sizeof(ohem_state),
    .setup = setup,
    .shape = shape,
    .forward = forward,
    .teardown = teardown,
};
