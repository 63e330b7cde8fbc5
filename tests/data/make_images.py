#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""make_images.py FILE: what OpenCV makes of a small image, for test_annotated.c.

The image (29 x 37, 3 channels, smooth with noise), then for each size and mode the image resized,
then the image with saturation 0.5 and 1.5 (as 8-bit HSV has it)."""
import sys

import cv2
import numpy as np

SIZES = [(29, 37), (12, 16), (61, 80), (40, 20), (7, 90), (58, 74)]
MODES = [cv2.INTER_LINEAR, cv2.INTER_AREA, cv2.INTER_NEAREST, cv2.INTER_CUBIC, cv2.INTER_LANCZOS4]

rng = np.random.RandomState(1)
y, x = np.mgrid[:29, :37]
image = np.stack([128 + 100 * np.sin(x / 7 + c) * np.cos(y / (5 + c)) for c in range(3)], 2)
image = np.clip(image + rng.normal(0, 12, image.shape), 0, 255).astype('u1')


def shifted(channel, factor, delta):
    hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV).astype('f4')
    hsv[..., channel] = np.clip(np.rint(hsv[..., channel] * factor + delta), 0, 255)
    return cv2.cvtColor(hsv.astype('u1'), cv2.COLOR_HSV2BGR)


with open(sys.argv[1], 'wb') as out:
    out.write(image.tobytes())
    for height, width in SIZES:
        for mode in MODES:
            out.write(cv2.resize(image, (width, height), interpolation=mode).tobytes())
    for args in ((1, 0.5, 0), (1, 1.5, 0)):
        out.write(shifted(*args).tobytes())
