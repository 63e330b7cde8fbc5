/* SPDX-License-Identifier: BSD-2-Clause
 * VideoData: batches of clips named in a list of files. It wires, with a guess where the size
 * is in the files alone; reading them is not in this build, and it says so. image_data_param
 * (C3D): as in ImageData; new_length (1): frames of a clip; crop_size. video_data_param:
 * source, batch_size, new_length, new_height, new_width; of TSN num_segments, each of
 * new_length frames, and modality (RGB: 3 channels a frame, FLOW: 2); of SSD video_type and
 * video_file, with data_param's batch_size: frames of one video, as resize_param has them.
 * tops: clips (N, 3 or 1, new_length, H, W), of TSN (N, channels of all frames, H, W), of SSD
 * (N, 3, H, W); [labels (N)]. No gradient. */
#include "data/data.h"
#include "layers/guess.h"

static bool is_stream(const Cnn__VideoDataParameter *p)
{
    return p->has_video_type || p->video_file;
}

static int64_t batch_of(const dni_layer *layer)
{
    const Cnn__VideoDataParameter *p = layer->param->video_data_param;
    const Cnn__DataParameter *d = layer->param->data_param;
    return !is_stream(p) ? p->batch_size : d ? d->batch_size : 0;
}

static dn_status setup(dni_layer *layer)
{
    const Cnn__VideoDataParameter *p = layer->param->video_data_param;
    if (!p)
        return dni_guess_list(layer);
    DNI_REQUIRE((uint64_t)p->new_length * p->num_segments <= INT32_MAX, DN_E_SHAPE,
                "video_data_param: %u segments of %u frames are too many", p->num_segments,
                p->new_length);
    const char *source = !is_stream(p) ? p->source : p->video_file ? p->video_file : "camera";
    return dni_guess_unread(layer, "the frames of",
                            is_stream(p) ? "data_param" : "video_data_param", source,
                            batch_of(layer));
}

/* What video_data_param says. */
static dni_shape clips(const dni_layer *layer, const Cnn__VideoDataParameter *p)
{
    const Cnn__TransformationParameter *t = layer->param->transform_param;
    const Cnn__ResizeParameter *r = t && t->n_resize_param ? t->resize_param[0] : NULL;
    dni_shape x = dni_guess_images(layer, batch_of(layer), NULL);
    int64_t side[2], H = p->new_height, W = p->new_width, frames = p->new_length;
    if (r)
        H = r->height, W = r->width;
    dni_transform_crop(t, side);
    if (side[0])
        H = side[0], W = side[1];
    if (!H || !W)
        H = x.dim[2], W = x.dim[3];
    if (is_stream(p))
        return dni_shape_of(4, (int64_t[]){x.dim[0], 3, H, W});
    if (p->has_num_segments || p->has_modality) {
        frames *= p->modality == CNN__VIDEO_DATA_PARAMETER__MODALITY__FLOW ? 2 : 3;
        return dni_shape_of(4, (int64_t[]){x.dim[0], frames * p->num_segments, H, W});
    }
    return dni_shape_of(5, (int64_t[]){x.dim[0], 3, frames, H, W});
}

static dn_status shape(dni_layer *layer)
{
    const Cnn__ImageDataParameter *p = layer->param->image_data_param;
    if (layer->param->video_data_param) {
        layer->top[0] = clips(layer, layer->param->video_data_param);
    } else {
        dni_shape x = dni_guess_listed(layer);
        int64_t H = p->crop_size ? p->crop_size : x.dim[2], W = p->crop_size ? H : x.dim[3];
        layer->top[0] = dni_shape_of(5, (int64_t[]){x.dim[0], x.dim[1], p->new_length, H, W});
    }
    if (layer->num_tops > 1)
        layer->top[1] = dni_shape_of(1, layer->top[0].dim);
    return DN_OK;
}

const dni_layer_class dni_layer_video_data = {
    .type = "VideoData",
    .bottoms_min = 0,
    .bottoms_max = 0,
    .tops_min = 1,
    .tops_max = 2,
    .flags = DNI_LAYER_SOURCE,
    .setup = setup,
    .shape = shape,
};
