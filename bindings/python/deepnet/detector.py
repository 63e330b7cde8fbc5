# SPDX-License-Identifier: BSD-2-Clause
"""A net that classifies windows of images, as R-CNN does."""
import numpy as np

from . import io
from ._net import TEST, Net
from .classifier import set_up


class Detector(Net):
    """A net with one image input, run on windows of images.

    context_pad  pixels of surroundings at the net's scale; beyond the image the mean stands in.
    mean, input_scale, raw_scale, channel_swap  see io.Transformer.
    """

    def __init__(self, model_file, pretrained_file, mean=None, input_scale=None, raw_scale=None,
                 channel_swap=None, context_pad=None, **options):
        super().__init__(model_file, TEST, weights=pretrained_file, **options)
        name = self.inputs[0]
        self.transformer = io.Transformer({name: self.blobs[name].shape})
        set_up(self.transformer, name, mean, input_scale, raw_scale, channel_swap)
        self.context_pad = context_pad

    def detect_windows(self, images_windows):
        """Runs the net on windows.

        images_windows  (image file or array (H, W, K), [(ymin, xmin, ymax, xmax), ...]) pairs.
        Returns a list of {'window', 'prediction', 'filename'}; filename is None for arrays.
        """
        crops, found = [], []
        for source, windows in images_windows:
            is_file = not isinstance(source, np.ndarray)
            image = io.load_image(source).astype(np.float32) if is_file else source
            for window in windows:
                crops.append(self.crop(image, window))
                found.append({'window': window, 'filename': source if is_file else None})
        if not crops:
            return []
        name = self.inputs[0]
        batch = np.array([self.transformer.preprocess(name, crop) for crop in crops])
        rows = self.forward_all(**{name: batch})[self.outputs[0]]
        for row, one in zip(rows.reshape(len(crops), -1), found):
            one['prediction'] = row
        return found

    def _background(self, channels):
        """The mean as a colour of the image before preprocessing."""
        name = self.inputs[0]
        if name not in self.transformer.mean:
            return np.zeros(channels, np.float32)
        shape = self.blobs[name].shape[1:]
        blank = np.zeros(shape, np.float32)  # zero after preprocessing is the mean before it
        return self.transformer.deprocess(name, blank).mean(axis=(0, 1))

    def crop(self, image, window):
        """A window (ymin, xmin, ymax, xmax) of an image, with its surroundings."""
        ymin, xmin, ymax, xmax = map(int, window)
        if not self.context_pad:
            return image[ymin:ymax, xmin:xmax]
        side = self.blobs[self.inputs[0]].shape[2]
        grow = side / (side - 2.0 * self.context_pad)
        centre = np.array([ymin + ymax, xmin + xmax]) / 2.0
        half = np.array([ymax - ymin, xmax - xmin]) * grow / 2.0
        low, high = np.rint(centre - half).astype(int), np.rint(centre + half).astype(int)
        out = np.empty((*np.maximum(high - low, 1), image.shape[2]), np.float32)
        out[...] = self._background(image.shape[2])
        y0, x0 = np.maximum(low, 0)
        y1, x1 = np.minimum(high, image.shape[:2])
        out[y0 - low[0]:y1 - low[0], x0 - low[1]:x1 - low[1]] = image[y0:y1, x0:x1]
        return out
