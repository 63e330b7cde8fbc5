# SPDX-License-Identifier: BSD-2-Clause
"""The messages of Caffe's language without Google's protobuf: caffe_pb2 has its classes, and
text_format reads and writes prototxt. All of it is made from cnn.proto when first used."""
from . import caffe_pb2, text_format  # noqa: F401
