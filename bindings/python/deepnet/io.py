# SPDX-License-Identifier: BSD-2-Clause
"""Arrays to and from what nets are fed: images, means, records. numpy alone does the work;
reading image files takes whichever of PIL, OpenCV, scikit-image or matplotlib is installed."""
import os

import numpy as np

from ._errors import DataError, FileMissingError, UnsupportedError
from .proto import caffe_pb2

# ---- messages ----------------------------------------------------------------------------


def blobproto_to_array(blob, return_diff=False):
    """The values of a BlobProto (or its gradients) as an array of its shape, a copy."""
    data = blob.diff if return_diff else blob.data
    if not len(data) and not return_diff and len(blob.double_data):
        data = blob.double_data
    if blob.HasField('shape'):
        shape = tuple(blob.shape.dim)
    elif any(map(blob.HasField, ('num', 'channels', 'height', 'width'))):
        shape = (blob.num, blob.channels, blob.height, blob.width)
    else:
        shape = (len(data),)
    array = np.array(data)
    if array.size != int(np.prod(shape)):
        raise DataError('a blob of shape %s holds %d values' % (shape, array.size))
    return array.reshape(shape)


def array_to_blobproto(arr, diff=None):
    """A BlobProto with the values of an array, and the gradients if given."""
    blob = caffe_pb2.BlobProto()
    blob.shape.dim.extend(np.shape(arr))
    blob.data.extend(np.asarray(arr, np.float32))
    if diff is not None:
        blob.diff.extend(np.asarray(diff, np.float32))
    return blob


def arraylist_to_blobprotovector_str(arraylist):
    """Arrays as the bytes of a BlobProtoVector."""
    vector = caffe_pb2.BlobProtoVector()
    vector.blobs.extend(map(array_to_blobproto, arraylist))
    return vector.SerializeToString()


def blobprotovector_str_to_arraylist(data):
    """The arrays in the bytes of a BlobProtoVector."""
    vector = caffe_pb2.BlobProtoVector.FromString(data)
    return [blobproto_to_array(blob) for blob in vector.blobs]


def array_to_datum(arr, label=None):
    """A Datum of an array (C, H, W): bytes if it is uint8, floats otherwise."""
    if arr.ndim != 3:
        raise ValueError('a Datum holds (C, H, W), not %s' % (arr.shape,))
    datum = caffe_pb2.Datum()
    datum.channels, datum.height, datum.width = arr.shape
    if arr.dtype == np.uint8:
        datum.data = arr.tobytes()
    else:
        datum.float_data.extend(arr.astype(np.float32))
    if label is not None:
        datum.label = label
    return datum


def datum_to_array(datum):
    """The values of a Datum as (C, H, W): uint8 or float32. Encoded images are DataError."""
    if datum.encoded:
        raise DataError('the Datum holds an encoded image; decode datum.data first')
    shape = (datum.channels, datum.height, datum.width)
    if len(datum.data):
        array = np.frombuffer(datum.data, np.uint8)
    else:
        array = np.array(datum.float_data, np.float32)
    if array.size != int(np.prod(shape)):
        raise DataError('a Datum of shape %s holds %d values' % (shape, array.size))
    return array.reshape(shape).copy()


def load_mean(filename):
    """The array (C, H, W) in a .binaryproto mean file."""
    with open(filename, 'rb') as file:
        mean = blobproto_to_array(caffe_pb2.BlobProto.FromString(file.read()))
    return mean[0] if mean.ndim == 4 and mean.shape[0] == 1 else mean


# ---- images ------------------------------------------------------------------------------


def _with_pil(filename):
    from PIL import Image
    with Image.open(filename) as image:
        return np.asarray(image.convert('RGB') if image.mode not in ('L', 'RGB') else image)


def _with_cv2(filename):
    import cv2
    image = cv2.imread(filename, cv2.IMREAD_UNCHANGED)
    if image is None:
        raise DataError('%s: OpenCV reads no image from it' % filename)
    if image.ndim == 2:
        return image
    return image[:, :, :3][:, :, ::-1]


def _with_skimage(filename):
    import skimage.io
    return skimage.io.imread(filename)


def _with_matplotlib(filename):
    import matplotlib.image
    return matplotlib.image.imread(filename)


def _read(filename):
    for reader in (_with_pil, _with_cv2, _with_skimage, _with_matplotlib):
        try:
            return reader(filename)
        except ImportError:
            continue
    raise UnsupportedError('reading images takes PIL, OpenCV, scikit-image or matplotlib; none '
                           'is installed')


def load_image(filename, color=True):
    """An image file as float32 in [0, 1]: (H, W, 3) in RGB order, or (H, W, 1) for
    color=False. Transparency is dropped."""
    filename = os.fspath(filename)
    if not os.path.exists(filename):
        raise FileMissingError('%s: no such file' % filename)
    image = _read(filename)
    whole = np.iinfo(image.dtype).max if image.dtype.kind in 'ui' else 1
    image = image.astype(np.float32) / np.float32(whole)
    if image.ndim == 2:
        image = image[:, :, np.newaxis]
    image = image[:, :, :3] if image.shape[2] > 3 else image
    if color and image.shape[2] == 1:
        return np.repeat(image, 3, axis=2)
    if not color and image.shape[2] == 3:  # luma by ITU-R BT.709, as scikit-image has it
        return (image @ np.float32([0.2125, 0.7154, 0.0721]))[:, :, np.newaxis]
    return image


def _axis_weights(old, new):
    """For each of `new` positions along an axis of length `old`: two neighbours and the share
    of the second. Positions are pixel centres; beyond the border the border continues."""
    centre = (np.arange(new) + 0.5) * (old / new) - 0.5
    centre = centre.clip(0, old - 1)
    low = np.floor(centre).astype(int)
    return low, np.minimum(low + 1, old - 1), (centre - low).astype(np.float32)


def resize_image(im, new_dims, interp_order=1):
    """Resizes (H, W, K) to (new H, new W, K), float32; interp_order 0: nearest, 1: bilinear."""
    if interp_order not in (0, 1):
        raise UnsupportedError('interpolation of order %r: 0 and 1 are here' % (interp_order,))
    im = np.asarray(im, dtype=np.float32)
    (height, width), (new_h, new_w) = im.shape[:2], map(int, new_dims)
    top, bottom, v = _axis_weights(height, new_h)
    left, right, h = _axis_weights(width, new_w)
    if interp_order == 0:
        return im[np.where(v < 0.5, top, bottom)][:, np.where(h < 0.5, left, right)]
    v = v.reshape((-1,) + (1,) * (im.ndim - 1))
    h = h.reshape((1, -1) + (1,) * (im.ndim - 2))
    rows = im[top] * (1 - v) + im[bottom] * v
    return rows[:, left] * (1 - h) + rows[:, right] * h


def oversample(images, crop_dims):
    """Ten crops of each image (H, W, K): the four corners, the centre, and their mirrors.
    Returns (10 N, crop H, crop W, K), the ten of an image together."""
    crop_h, crop_w = map(int, crop_dims)
    crops = []
    for image in images:
        high, wide = image.shape[0] - crop_h, image.shape[1] - crop_w
        places = [(y, x) for y in (0, high) for x in (0, wide)] + [(high // 2, wide // 2)]
        five = [image[y:y + crop_h, x:x + crop_w] for y, x in places]
        crops += five + [crop[:, ::-1] for crop in five]
    return np.array(crops, dtype=np.float32)


class Transformer:
    """Images to net inputs and back.

    inputs  {name: shape}, such as {'data': net.blobs['data'].data.shape}, each (N, C, H, W).

    preprocess applies, in this order, what was set: resize to the input's H x W, transpose,
    channel_swap, raw_scale (such as 255), mean, input_scale.
    """

    def __init__(self, inputs):
        self.inputs = inputs
        self.transpose = {}
        self.channel_swap = {}
        self.raw_scale = {}
        self.mean = {}
        self.input_scale = {}

    def _check(self, in_):
        if in_ not in self.inputs:
            raise ValueError("'%s' is no input: %s" % (in_, ', '.join(self.inputs)))

    def preprocess(self, in_, data):
        """One image (H, W, K) as the input takes it: (C, H, W), float32."""
        self._check(in_)
        size = tuple(self.inputs[in_][2:])
        image = np.asarray(data).astype(np.float32, copy=False)
        if image.shape[:2] != size:
            image = resize_image(image, size)
        if in_ in self.transpose:
            image = image.transpose(self.transpose[in_])
        if in_ in self.channel_swap:
            image = image[self.channel_swap[in_], :, :]
        if in_ in self.raw_scale:
            image = image * np.float32(self.raw_scale[in_])
        if in_ in self.mean:
            image = image - self.mean[in_]
        if in_ in self.input_scale:
            image = image * np.float32(self.input_scale[in_])
        return np.array(image, dtype=np.float32)

    def deprocess(self, in_, data):
        """What preprocess made, back to an image; the size stays the input's."""
        self._check(in_)
        image = np.array(data, dtype=np.float32).squeeze()
        image = image[np.newaxis] if image.ndim == 2 else image
        if in_ in self.input_scale:
            image = image / self.input_scale[in_]
        if in_ in self.mean:
            image = image + self.mean[in_]
        if in_ in self.raw_scale:
            image = image / self.raw_scale[in_]
        if in_ in self.channel_swap:
            image = image[np.argsort(self.channel_swap[in_]), :, :]
        if in_ in self.transpose:
            image = image.transpose(np.argsort(self.transpose[in_]))
        return image

    def set_transpose(self, in_, order):
        """The order of axes: (2, 0, 1) takes (H, W, K) to (K, H, W)."""
        self._check(in_)
        if len(order) != len(self.inputs[in_]) - 1:
            raise ValueError("'%s' needs %d axes in the order"
                             % (in_, len(self.inputs[in_]) - 1))
        self.transpose[in_] = tuple(order)

    def set_channel_swap(self, in_, order):
        """The order of channels: (2, 1, 0) takes RGB to BGR."""
        self._check(in_)
        if len(order) != self.inputs[in_][1]:
            raise ValueError("'%s' has %d channels" % (in_, self.inputs[in_][1]))
        self.channel_swap[in_] = list(order)

    def set_raw_scale(self, in_, scale):
        """A factor before the mean is taken off: 255 for images in [0, 1]."""
        self._check(in_)
        self.raw_scale[in_] = scale

    def set_mean(self, in_, mean):
        """What to subtract: one value a channel (C,), or an array (C, H, W), resized to the
        input's size if it differs."""
        self._check(in_)
        mean, shape = np.asarray(mean, dtype=np.float32), tuple(self.inputs[in_][1:])
        if mean.ndim == 1:
            mean = mean.reshape(-1, 1, 1)
            fits = len(mean) == shape[0]
        else:
            mean = mean[np.newaxis] if mean.ndim == 2 else mean
            fits = mean.ndim == 3 and mean.shape[0] in (1, shape[0])
            if fits and mean.shape[1:] != shape[1:]:
                mean = resize_image(mean.transpose(1, 2, 0), shape[1:]).transpose(2, 0, 1)
        if not fits:
            raise ValueError("a mean of shape %s for '%s' of shape %s"
                             % (mean.shape, in_, shape))
        self.mean[in_] = mean

    def set_input_scale(self, in_, scale):
        """A factor after the mean was taken off."""
        self._check(in_)
        self.input_scale[in_] = scale
