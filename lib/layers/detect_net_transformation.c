/* SPDX-License-Identifier: BSD-2-Clause
 * DetectNetTransformation (NVIDIA): images and their boxes, cut, turned and recoloured at
 * random, into pictures of one size and grids that say which cell lies in which box. It wires;
 * the drawing is not in this build, and it says so.
 * detectnet_groundtruth_param: stride (4), image_size_x (1248), image_size_y (384),
 * object_class { src dst } (one class for each dst; none: one class), scale_cvg, gridbox_type,
 * coverage_type, min_cvg_len, max_cvg_len, obj_norm, crop_bboxes; detectnet_augmentation_param.
 * bottoms: images (N, C, H, W), boxes; tops: (N, C, image_size_y, image_size_x), grids
 * (N, 8 + classes, rows, columns): foreground, 4 of the box, 2 of its size, its weight, and the
 * classes. No gradient. */
#include "layers/layer.h"

#define GRIDS 8 /* before those of the classes */

static int64_t classes(const Cnn__DetectNetGroundTruthParameter *p)
{
    int64_t most = 0;
    for (size_t i = 0; i < p->n_object_class; i++)
        if (p->object_class[i]->dst > most)
            most = p->object_class[i]->dst;
    return most + 1;
}

static dn_status setup(dni_layer *layer)
{
    const Cnn__DetectNetGroundTruthParameter *p = layer->param->detectnet_groundtruth_param;
    DNI_REQUIRE(p, DN_E_NET, "DetectNetTransformation needs detectnet_groundtruth_param");
    DNI_REQUIRE(p->stride > 0 && p->image_size_x >= p->stride && p->image_size_y >= p->stride,
                DN_E_NET, "stride must be positive and not larger than the image");
    DNI_REQUIRE(layer->wire_only, DN_E_UNSUPPORTED,
                "DetectNetTransformation would draw grids of boxes, which this build cannot; "
                "hand images and grids over through Input layers");
    return DN_OK;
}

static dn_status shape(dni_layer *layer)
{
    const Cnn__DetectNetGroundTruthParameter *p = layer->param->detectnet_groundtruth_param;
    const dni_shape *x = layer->bottom;
    dn_status st = dni_need_axes(layer, 0, 4, false);
    if (st)
        return st;
    layer->top[0] =
        dni_shape_of(4, (int64_t[]){x->dim[0], x->dim[1], p->image_size_y, p->image_size_x});
    layer->top[1] =
        dni_shape_of(4, (int64_t[]){x->dim[0], GRIDS + classes(p), p->image_size_y / p->stride,
                                    p->image_size_x / p->stride});
    return DN_OK;
}

const dni_layer_class dni_layer_detect_net_transformation = {
    .type = "DetectNetTransformation",
    .bottoms_min = 2,
    .bottoms_max = 2,
    .tops_min = 2,
    .tops_max = 2,
    .setup = setup,
    .shape = shape,
};
