# SPDX-License-Identifier: BSD-2-Clause
"""A net that tells what is in images."""
import numpy as np

from . import io
from ._net import TEST, Net


def set_up(transformer, name, mean, input_scale, raw_scale, channel_swap):
    """The settings that Classifier and Detector share."""
    transformer.set_transpose(name, (2, 0, 1))
    if mean is not None:
        transformer.set_mean(name, mean)
    if input_scale is not None:
        transformer.set_input_scale(name, input_scale)
    if raw_scale is not None:
        transformer.set_raw_scale(name, raw_scale)
    if channel_swap is not None:
        transformer.set_channel_swap(name, channel_swap)


class Classifier(Net):
    """A net with one image input.

    image_dims    (H, W) that images are resized to before cropping; default: the input's.
    mean, input_scale, raw_scale, channel_swap  see io.Transformer.
    """

    def __init__(self, model_file, pretrained_file, image_dims=None, mean=None,
                 input_scale=None, raw_scale=None, channel_swap=None, **options):
        super().__init__(model_file, TEST, weights=pretrained_file, **options)
        name = self.inputs[0]
        self.transformer = io.Transformer({name: self.blobs[name].shape})
        set_up(self.transformer, name, mean, input_scale, raw_scale, channel_swap)
        self.crop_dims = np.array(self.blobs[name].shape[2:])
        self.image_dims = self.crop_dims if image_dims is None else np.array(image_dims)

    def predict(self, inputs, oversample=True):
        """Class probabilities, one row an image.

        inputs      images (H, W, K), any sizes.
        oversample  True: the mean over ten crops of each (corners, centre, mirrors); False: the
                    centre alone.
        Returns (N, classes), float32.
        """
        images = [io.resize_image(image, self.image_dims) for image in inputs]
        if oversample:
            crops = io.oversample(images, self.crop_dims)
        else:
            y, x = (self.image_dims - self.crop_dims) // 2
            height, width = self.crop_dims
            crops = [image[y:y + height, x:x + width] for image in images]
        name = self.inputs[0]
        batch = np.array([self.transformer.preprocess(name, crop) for crop in crops])
        rows = self.forward_all(**{name: batch})[self.outputs[0]]
        rows = rows.reshape(len(crops), -1)
        return rows.reshape(len(images), 10, -1).mean(axis=1) if oversample else rows
