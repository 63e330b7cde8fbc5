/* SPDX-License-Identifier: BSD-2-Clause
 * fake_dnn.h: the fake cuDNN's descriptors, and how a test is told of those that it is asked
 * about. */
#ifndef DN_TESTS_CUDA_FAKE_DNN_H
#define DN_TESTS_CUDA_FAKE_DNN_H

#include <stdbool.h>

#include <cudnn.h>

enum { AXES = 5 };

struct cudnnTensorStruct {
    cudnnDataType_t type;
    int axes, dim[AXES], stride[AXES];
};
struct cudnnFilterStruct {
    cudnnDataType_t type;
    int axes, dim[AXES];
    bool last;
};
struct cudnnConvolutionStruct {
    int axes, pad[AXES], stride[AXES], dilation[AXES], group;
    cudnnMathType_t math;
    bool ran; /* outside of a recording: the real one loads and compiles then */
};

enum { FAKE_DNN_FORWARD, FAKE_DNN_DATA, FAKE_DNN_WEIGHTS };

typedef struct fake_dnn_question {
    int which;
    struct cudnnTensorStruct x, y;
    struct cudnnFilterStruct w;
    struct cudnnConvolutionStruct conv;
} fake_dnn_question;

typedef void (*fake_dnn_tell)(const fake_dnn_question *question);

#endif
