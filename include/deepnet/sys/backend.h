/* SPDX-License-Identifier: BSD-2-Clause
 * deepnet/sys/backend.h: what a backend implements. A backend is one const table of functions;
 * op kinds, their arguments and operands are defined here, and kernels/ref is their meaning in
 * code. Every op is created once (shapes known: accept or decline, say the scratch) and then
 * run many times (pointers only). C99 and C++11 clean. */
#ifndef DEEPNET_SYS_BACKEND_H
#define DEEPNET_SYS_BACKEND_H

#include <stddef.h>
#include <stdint.h>

#include "deepnet/status.h"

DN_BEGIN_DECLS

#define DN_MAX_AXES     32 /* axes of a blob, as in Caffe */
#define DN_MAX_OPERANDS 16 /* inputs, and outputs, of one op; UPDATE has more outputs */
#define DN_MAX_SPATIAL  6  /* spatial axes of a convolution or pooling */
#define DN_MAX_STRIDED  8  /* axes of a strided copy or reduction */
#define DN_MAX_COEFF    8  /* inputs of one eltwise op */
#define DN_MAX_ANCHORS  64 /* of YOLO_LOSS */

/* Element types. F32 unless the net says otherwise; F64 nets run on `ref` alone. */
enum { DN_F32 = 0, DN_F64 = 1, DN_BF16 = 2, DN_I32 = 3, DN_I64 = 4, DN_U8 = 5 };

/* With BF16 the engine asks backends whether they take activations and their gradients as BF16:
 * those that are images of CONV, CONV_BWD_*, POOL, LRN and their like, x, y, dy and dx of
 * UNARY, ELTWISE, COPY and NORM_SCALE. All of an op have one type, but for CONV, CONV_BWD_* and
 * COPY: who takes all of theirs as BF16 takes each as F32 as well. Such an operand is read as
 * it is, the op computes in F32, and a result is rounded to nearest even. */

/* What the operands of matrix products (GEMM, CONV, CONV_BWD_*) may be rounded to before they
 * are multiplied; sums are f32 in any case, and so is everything else. A permission: a backend
 * that gains nothing from it computes in f32. */
enum { DN_COMPUTE_F32 = 0, DN_COMPUTE_TF32 = 1, DN_COMPUTE_BF16 = 2 };

/* Row-major, last axis fastest. axes 0: one element. */
typedef struct dn_shape {
    int32_t axes;
    int32_t reserved;
    int64_t dim[DN_MAX_AXES];
} dn_shape;

/* Where element (n, c, h, w) of a 4-D operand lies. The shape is N, C, H, W in both; NHWC
 * memory runs over n, h, w, c, the last fastest. With more spatial axes alike: (n, c, d, h, w)
 * over n, d, h, w, c. Only the activations and their gradients of
 * CONV, CONV_BWD_*, POOL, POOL_BWD (masks too: their elements lie as y's do and still hold h *
 * W + w), LRN and LRN_BWD come as NHWC; of other kinds the engine rewrites the views and
 * strides, and the operands stay plain. Weights are always plain. */
enum { DN_LAYOUT_PLAIN = 0, DN_LAYOUT_NHWC = 1 };

/* What op_create knows of an operand. dtype -1: the operand is absent (an optional one). */
typedef struct dn_operand {
    int32_t dtype;
    int32_t layout;
    dn_shape shape;
} dn_operand;

/* ---- op kinds ------------------------------------------------------------------------------
 * Numbers are frozen; the list only grows. After each kind: inputs -> outputs, [optional].
 * "T" is the net's type (F32 or F64); masks are U8 or I32; random state is I64[2]: {seed,
 * step}. Views (outer, dim, inner) mean element [o, d, i] at (o * dim + d) * inner + i. */
enum {
    DN_OP_FILL = 1,              /* -> y */
    DN_OP_RANDOM = 2,            /* state -> y */
    DN_OP_COPY = 3,              /* x -> y */
    DN_OP_UNARY = 4,             /* x -> y */
    DN_OP_UNARY_BWD = 5,         /* [x], [y], dy -> dx */
    DN_OP_ELTWISE = 6,           /* x0 .. xn -> y, [mask I32] */
    DN_OP_SELECT = 7,            /* dy, mask I32 -> dx */
    DN_OP_BCAST = 8,             /* x, s, [t] -> y */
    DN_OP_REDUCE = 9,            /* x, [x2] -> y */
    DN_OP_GEMM = 10,             /* a, b, [bias] -> c */
    DN_OP_CONV = 11,             /* x, w, [b], [mean, inv_std, gamma, beta] -> y, [moments] */
    DN_OP_CONV_BWD_DATA = 12,    /* dy, w, [b] -> dx */
    DN_OP_CONV_BWD_WEIGHTS = 13, /* x, dy, [mean, inv_std, gamma, beta], [w], [mask I32] -> dw,
                                    [db], [dx], [sums] */
    DN_OP_IM2COL = 14,           /* x -> columns */
    DN_OP_COL2IM = 15,           /* columns -> x */
    DN_OP_POOL = 16,             /* x, [state] -> y, [mask I32] */
    DN_OP_POOL_BWD = 17,         /* dy, [mask I32] -> dx */
    DN_OP_LRN = 18,              /* x -> y, scale */
    DN_OP_LRN_BWD = 19,          /* x, y, scale, dy -> dx */
    DN_OP_BATCH_NORM = 20,       /* x -> y, mean, inv_std, running mean, running var, factor */
    DN_OP_BATCH_NORM_BWD = 21,   /* y, inv_std, dy -> dx */
    DN_OP_MVN = 22,              /* x -> y, inv_std */
    DN_OP_MVN_BWD = 23,          /* y, inv_std, dy -> dx */
    DN_OP_SOFTMAX = 24,          /* x -> y */
    DN_OP_SOFTMAX_BWD = 25,      /* y, dy -> dx */
    DN_OP_LOSS = 26,             /* x, [t], [w] -> loss, [norm], [aux] */
    DN_OP_LOSS_BWD = 27,         /* x, [t], [w], [norm], [aux], dloss -> [dx], [dt] */
    DN_OP_ACCURACY = 28,         /* x, label -> accuracy, [per class] */
    DN_OP_ARGMAX = 29,           /* x -> y */
    DN_OP_DROPOUT = 30,          /* x, state -> y, mask U8 */
    DN_OP_DROPOUT_BWD = 31,      /* dy, mask U8 -> dx */
    DN_OP_PRELU = 32,            /* x, slope -> y */
    DN_OP_PRELU_BWD = 33,        /* x, slope, dy -> [dx], [dslope] */
    DN_OP_GATHER = 34,           /* x, index T -> y */
    DN_OP_SCATTER_ADD = 35,      /* x, index T -> y */
    DN_OP_LSTM_UNIT = 36,        /* c_prev, x, cont -> c, h, gates */
    DN_OP_LSTM_UNIT_BWD = 37,    /* c_prev, gates, c, cont, dc, dh -> dc_prev, dx */
    DN_OP_UPDATE = 38,           /* hyper, [each] -> w, grad, [h1], [h2], more of them (all in
                                    and out) */
    DN_OP_CAST = 39,             /* x -> y, of another dtype; to integers: cut, saturated */
    DN_OP_HOST_CALL = 40,        /* anything -> anything, on the host */
    DN_OP_SUMSQ_ALL = 41,        /* x0 .. xn -> y: one scalar, sum of all squares */
    DN_OP_SCALE_CLIP = 42,       /* norm2 -> x0 .. (in, out): x *= min(1, clip / sqrt(norm2)) */
    DN_OP_CROSS_LRN = 43,        /* reserved for a fused LRN + pooling */
    DN_OP_NORM_SCALE = 44,       /* x, gamma, beta, [moments] -> [y], mean, inv_std, running
                                    mean, running var, factor */
    DN_OP_NORM_SCALE_BWD = 45,   /* x, [y], mean, inv_std, gamma, dy, [beta], [sums] -> dx,
                                    [dgamma], [dbeta] */
    DN_OP_ROI_POOL = 46,         /* x, regions -> y, [mask I32] */
    DN_OP_ROI_POOL_BWD = 47,     /* dy, regions, [mask I32] -> dx */
    DN_OP_RANK = 48,             /* x, [key] -> y */
    DN_OP_YOLO_LOSS = 49,        /* x, truths, [state] -> loss, [dx] */
    DN_OP_MULTI_BOX = 50,        /* loc, conf, priors, truths -> loss, [dloc], [dconf] */
    DN_OP_CTC = 51,              /* x, labels -> loss, [g] */
    DN_OP_TARGETS = 52,          /* [anchors F64], from, truths, state -> labels, targets,
                                    inside, outside, [regions], [count I32] */
    DN_OP_LATTICE = 53,          /* [image], [sizes] -> table I32, shares, norm */
    DN_OP_LATTICE_FILTER = 54,   /* x, table I32, shares, norm -> y */
                                 /* 55 is free */
    DN_OP_DETECT = 56,           /* [anchors F64], x0 .. xn -> rows, count I32 */
    DN_OP_OVERLAP = 57,          /* x, t, [ignored F64] -> y */
    DN_OP_KIND_END = 64
};

/* Every arguments struct begins with this. accumulate: bit i set means output i is added to
 * (y += result) instead of overwritten; only outputs of type T. `activation` where an op has it
 * is a DN_FN_* applied to the result (DN_FN_NONE: nothing), with parameters activation_a, 0, 0;
 * together with accumulate it is applied to the sum: y = f(y + result). Operands overlap only
 * if the op says. */
typedef struct dn_args {
    size_t struct_size;
    uint32_t accumulate;
    int32_t reserved;
} dn_args;

typedef struct dn_args_fill {
    dn_args base;
    double value;
} dn_args_fill;

/* y[i] drawn from Philox4x32-10 (sys/random.h): key = state[0], counter = (i / 4, stream ^ step
 * folded as dn_random_block says), word i % 4. u = dn_random_unit(word). Uniform: a + (b - a) u
 * (which may round to b). Bernoulli: u < a. Gaussian: words 0, 1 and words 2, 3 are a pair each
 * (u, v): elements 0 and 1 (2 and 3) are a + b r cos(2 pi v) and a + b r sin(2 pi v), with
 * r = sqrt(-2 log(1 - u)). */
enum { DN_DIST_UNIFORM = 0, DN_DIST_GAUSSIAN = 1, DN_DIST_BERNOULLI = 2 };
typedef struct dn_args_random {
    dn_args base;
    int32_t dist;
    int32_t reserved;
    double a, b; /* uniform [a, b); gaussian mean a, std b; bernoulli P(1) = a */
    uint64_t stream;
} dn_args_random;

/* For every index in dim: y[y_offset + sum(index * y_stride)] = alpha * x[x_offset + ...].
 * Strides in elements, may be negative or 0. Concat, slice, crop, tile, permute, flip, reorg.
 * With accumulate the products are added one by one in index order, so several indices may
 * share an element of y. */
typedef struct dn_args_copy {
    dn_args base;
    int32_t axes;
    int32_t reserved;
    int64_t dim[DN_MAX_STRIDED], x_stride[DN_MAX_STRIDED], y_stride[DN_MAX_STRIDED];
    int64_t x_offset, y_offset;
    double alpha;
} dn_args_copy;

/* y = f(x). In place (y == x) is allowed for every fn. */
enum {
    DN_FN_NONE = 0,    /* x */
    DN_FN_RELU = 1,    /* x > 0 ? x : a x */
    DN_FN_SIGMOID = 2, /* 1 / (1 + exp(-x)) */
    DN_FN_TANH = 3,
    DN_FN_ABS = 4,
    DN_FN_EXP = 5,        /* exp(a x + b) */
    DN_FN_LOG = 6,        /* c * log(a x + b) */
    DN_FN_POWER = 7,      /* (a x + b)^c */
    DN_FN_BNLL = 8,       /* log(1 + exp(x)), in the form that does not overflow */
    DN_FN_ELU = 9,        /* x > 0 ? x : a (exp(x) - 1) */
    DN_FN_CLIP = 10,      /* min(max(x, a), b) */
    DN_FN_THRESHOLD = 11, /* x > a ? 1 : 0; gradient 0 */
    DN_FN_SWISH = 12,     /* x sigmoid(a x) */
    DN_FN_AFFINE = 13,    /* a x + b */
    DN_FN_SQRT = 14,
    DN_FN_SIGN = 15,      /* gradient 0 */
    DN_FN_SELU = 16,      /* b (x > 0 ? x : a (exp(x) - 1)) */
    DN_FN_SMOOTH_L1 = 17, /* s = a^2: |x| < 1/s ? x^2 s / 2 : |x| - 0.5 / s */
    DN_FN_HARD_SWISH = 18, /* a x min(max(x + 3, 0), 6) */
    DN_FN_RELU_TO = 19,    /* min(max(x, 0), a), which CLIP from 0 is as an activation */
    DN_FN_END = 20
};
typedef struct dn_args_unary {
    dn_args base;
    int32_t fn;
    int32_t reserved;
    double a, b, c;
} dn_args_unary;
/* UNARY_BWD takes the same arguments: dx = dy f'. Needs x, or y alone for those in
 * DN_FN_FROM_Y (RELU, ELU and SELU then need a >= 0); when x is absent y is used. dx may be dy.
 * At the kinks: f' of ABS at 0 is 0, of RELU, ELU and SELU the left one, of CLIP 1,
 * of HARD_SWISH the one between them. */
#define DN_FN_FROM_Y                                                                           \
    ((1u << DN_FN_NONE) | (1u << DN_FN_RELU) | (1u << DN_FN_SIGMOID) | (1u << DN_FN_TANH) |    \
     (1u << DN_FN_EXP) | (1u << DN_FN_ELU) | (1u << DN_FN_AFFINE) | (1u << DN_FN_THRESHOLD) |  \
     (1u << DN_FN_SELU) | (1u << DN_FN_SQRT) | (1u << DN_FN_SIGN))

/* SUM: y = sum coeff[i] x_i; PROD: product; MAX: largest, mask = its index: a tie of x0 and x1
 * goes to 1, any other to the lower index (Caffe). y may be any of the x. */
enum {
    DN_ELTWISE_SUM = 0,
    DN_ELTWISE_PROD = 1,
    DN_ELTWISE_MAX = 2,
    DN_ELTWISE_DIV = 3 /* x0/x1 */
};
typedef struct dn_args_eltwise {
    dn_args base;
    int32_t op;
    int32_t reserved;
    double coeff[DN_MAX_COEFF];
} dn_args_eltwise;

typedef struct dn_args_select { /* dx = mask == index ? dy : 0 */
    dn_args base;
    int32_t index;
    int32_t reserved;
} dn_args_select;

/* y[o,d,i] = x[o,d,i] op s[d] (+ t[d] for MULADD). y may be x. With sets > 1 s and t are
 * (sets, dim): o takes row o / (outer / sets), and sets divides outer. */
enum {
    DN_BCAST_ADD = 0,
    DN_BCAST_SUB = 1,
    DN_BCAST_MUL = 2,
    DN_BCAST_DIV = 3,
    DN_BCAST_MULADD = 4
};
typedef struct dn_args_bcast {
    dn_args base;
    int32_t op, sets;
    int64_t outer, dim, inner;
    int32_t activation, reserved;
    double activation_a;
} dn_args_bcast;

/* y[y_offset + sum(index * y_stride)] = alpha * sum over all indices that land there of
 * SUM x, ASUM |x|, SUMSQ x^2, DOT x * x2 (x2 with strides of its own, e.g. 0 to broadcast).
 * An axis with y_stride 0 is summed. Elements of y that no index reaches are untouched. x and
 * x2 are read at x_offset + ..., x2_offset + ... */
enum { DN_REDUCE_SUM = 0, DN_REDUCE_ASUM = 1, DN_REDUCE_SUMSQ = 2, DN_REDUCE_DOT = 3 };
typedef struct dn_args_reduce {
    dn_args base;
    int32_t op;
    int32_t axes;
    int64_t dim[DN_MAX_STRIDED];
    int64_t x_stride[DN_MAX_STRIDED], x2_stride[DN_MAX_STRIDED], y_stride[DN_MAX_STRIDED];
    double alpha;
    int64_t x_offset, x2_offset, y_offset;
} dn_args_reduce;

/* For each of `batch` matrices: C = alpha op(A) op(B) (+ bias) (then activation); row-major,
 * C: (m, n). bias_mode 1: bias[n] added to every row; 2: bias[m] added to every column.
 * bias is the same for the whole batch unless stride_bias is set. */
typedef struct dn_args_gemm {
    dn_args base;
    int32_t trans_a, trans_b; /* 1: A is stored (k, m), B is stored (n, k) */
    int64_t m, n, k, lda, ldb, ldc;
    int64_t batch, stride_a, stride_b, stride_c, stride_bias;
    int64_t offset_a, offset_b, offset_c; /* first element in the operand */
    double alpha;
    int32_t bias_mode, activation;
    double activation_a;
} dn_args_gemm;

/* Cross-correlation as in Caffe. x: (N, C, spatial...), w: (K, C / group, kernel...),
 * y: (N, K, out...); out = (in + 2 pad - (dilation (kernel - 1) + 1)) / stride + 1.
 * Leading axes before C are folded into N by the layer: operands come as (N, C, spatial).
 * CONV_BWD_DATA with bias is the forward of a deconvolution: dx: (N, C, ...) += b[C].
 * columns: (N, C * prod kernel, prod out), kernel positions row-major within a channel.
 * With mean, inv_std, gamma and beta (C each) what is convolved is not x but what NORM_SCALE
 * makes of it: f(gamma (x - mean) inv_std + beta), f being x_activation, NONE or RELU of slope
 * 0; padding is 0 in any case.
 * moments (2, K): the mean of what y has become and its biased variance, by channel.
 * CONV_BWD_WEIGHTS with w also makes dx, laid out as x: what CONV_BWD_DATA makes of dy; and
 * with mean and its like sums (2, C): of dz = dx f'(y) and of dz (x - mean), y what x is
 * normalised to: those that NORM_SCALE_BWD begins with. With mask (and without w) dy is what
 * POOL_BWD would take: each of its elements, (N, K, any...), mask alike, belongs where mask says
 * in y's plane, outside it (-1): nowhere; the rest of y's gradient is 0. */
typedef struct dn_args_conv {
    dn_args base;
    int32_t spatial, group;
    int64_t kernel[DN_MAX_SPATIAL], stride[DN_MAX_SPATIAL], pad[DN_MAX_SPATIAL],
        dilation[DN_MAX_SPATIAL];
    int32_t activation, x_activation;
    double activation_a;
} dn_args_conv; /* CONV, CONV_BWD_DATA, CONV_BWD_WEIGHTS, IM2COL, COL2IM */

/* Windows start at o * stride - pad. MAX: mask = index in the channel's plane of the first
 * largest, padding never wins. AVE divides by the window's size cut at in + pad (Caffe), or by
 * the elements inside with exclude_pad. STOCHASTIC_TRAIN draws an element with probability
 * proportional to it (state needed, mask as MAX): the first whose running sum reaches u * sum,
 * u drawn for y's index as RANDOM draws; STOCHASTIC_TEST is sum x^2 / (FLT_MIN + sum x),
 * without a backward. MAX starts from -FLT_MAX and mask -1 (left so if nothing is larger). A
 * mask that POOL_BWD reads names an element of the window, or none (-1). */
enum {
    DN_POOL_MAX = 0,
    DN_POOL_AVE = 1,
    DN_POOL_STOCHASTIC_TRAIN = 2,
    DN_POOL_STOCHASTIC_TEST = 3
};
typedef struct dn_args_pool {
    dn_args base;
    int32_t method, spatial, exclude_pad, activation;
    int64_t kernel[DN_MAX_SPATIAL], stride[DN_MAX_SPATIAL], pad[DN_MAX_SPATIAL];
    uint64_t stream;
} dn_args_pool;

/* x: (N, C, H, W); regions: (R, 5): item, x0, y0, x1, y1; y: (R, K, P, Q): P x Q bins of each.
 * Numbers are rounded as T after each operation; for rows (columns alike, of x0 and x1):
 * MAX: first = round(scale y0), size = max(round(scale y1) - first + 1, 1) / P; bin p has rows
 *   [floor(p size) + first, ceil((p + 1) size) + first), cut to the map. y: the first largest
 *   as of POOL, mask its index in the plane; 0 and -1 of an empty bin.
 *   A mask that ROI_POOL_BWD reads names an element of the bin, or none.
 * PS_AVERAGE: first = scale round(y0), size = max(scale (round(y1) + 1) - first, 0.1) / P; rows
 *   [floor(p size + first), ceil((p + 1) size + first)), cut. y: the mean of channel
 *   (k P + p) Q + q (C = K P Q); 0 of an empty bin.
 * ALIGN: first = scale y0, size = max(scale y1 - first, 1) / P. y: the mean over `samples` (0:
 *   ceil(size), at most H) rows times as many columns, at first + p size + (i + 0.5) size /
 *   samples, between elements as bilinear interpolation says; a place outside [-1, H] is 0, one
 *   beyond the outermost elements is theirs.
 * An item outside [0, N) fails the run with DN_E_DATA. */
enum { DN_ROI_MAX = 0, DN_ROI_PS_AVERAGE = 1, DN_ROI_ALIGN = 2 };
typedef struct dn_args_roi {
    dn_args base;
    int32_t method, samples;
    double scale;
} dn_args_roi;

/* The boxes of a detector that are worth showing. In double, by the formulas of sys/boxes.h.
 *
 * For each image:
 * 1. in each group of candidates, those with a score above `threshold` (NaN counts as -inf), in
 *    falling order of score, a tie by rising index, and of these the first `before`;
 * 2. non-maximum suppression in that order: a candidate stays if its IoU with each that stayed
 *    before it is at most nms (with eta < 1, nms is multiplied by eta after each that stays,
 *    down to 0.5); of those that stay the first `after`;
 * 3. over all groups, the `keep` best by score (a tie by the order so far), listed by group and
 *    score. For `before`, `after` and `keep`, -1 means all.
 *
 * rows: (R, 7), each image, label, score, x0, y0, x1, y1; R = N max(most of an image, 1).
 * count: the number of rows; those behind it are not written. If no image has any, count is N
 * and each image has one row: its number, then -1.
 *
 * Candidates by `method`:
 * - PROPOSAL: anchors (A, 4); scores (1, 2 A, H, W), of which the second half counts; codes (1,
 *   4 A, H, W); image: height, width, scale. One group. Candidate i is anchor i % A moved to
 *   cell i / A (cells are `stride` apart), then by its code, and cut to the image. Both sides,
 *   in pixels, must be at least `least` times scale; `threshold` is not used. The label is 0.
 *   If there are none, the row has 0 in place of -1.
 * - YOLO: anchors: their widths and heights (the image being 1), map by map; maps (N, anchors
 *   (5 + classes), H, W). One group, by map, anchor and cell. The score is the sigmoid of the
 *   objectness times the best class's sigmoid, or with SOFTMAX its softmax. The label is that
 *   class, counted from 1.
 * - PRIORS: no anchors; scores (N, P, classes); codes (N, P, classes, 4), or with SHARED (N, P,
 *   4); priors (1, 2, 4 P); [object (N, P, 2): a score is 0 where the second is below `least`];
 *   [moves (N, P, 4): what the priors are moved by first]. A group for each class but
 *   background. VARIED: the codes contain the variances. code: DN_BOX_*. */
enum { DN_DETECT_PROPOSAL = 0, DN_DETECT_YOLO = 1, DN_DETECT_PRIORS = 2 };
enum { DN_DETECT_SOFTMAX = 1, DN_DETECT_SHARED = 2, DN_DETECT_VARIED = 4 };
#define DN_DETECT_MAPS 8
typedef struct dn_args_detect {
    dn_args base;
    int32_t method, flags, code, background;
    int64_t classes, before, after, keep;
    double threshold, least, nms, eta, stride;
} dn_args_detect;

/* YOLO's loss and its gradient: loss = sum g^2 / N, dx = g / N, where g is the error of each
 * element of x, as follows.
 *
 * x: (N, A (5 + classes), H, W): for each of A = `anchors` boxes of a cell x, y, w, h,
 * objectness and a score for each class. v is the sigmoid of x, y, objectness and the classes
 * (with SOFTMAX the classes' softmax), and w and h as they are. With k = mask[a], and the image
 * being 1, the box has its centre at ((column + x) / W, (row + y) / H), and the size e^w
 * width[k] / W by e^h height[k] / H.
 * truths: (N, T, 5): class, centre, size, up to the first whose x or w is 0.
 *
 * g is 0 but for
 * - the objectness of each box that overlaps no truth by more than thresh: noobject v;
 * - each truth's own box: in the cell of its centre, of the anchor among `all` that overlaps it
 *   most, by the anchors' sizes (BY_SHAPE) or by the predicted ones. If that anchor is not in
 *   mask, the truth has no box. Its g is
 *     x, y, w, h: coord (v - target), with BY_SIZE times (2 - the truth's area);
 *     objectness: object (v - 1), with RESCORE object (v - the overlap);
 *     classes: class_scale (v - target), the target 1 or 0 moved towards 1/2 by `smooth`; with
 *     FOCAL times the focal loss's factor, gamma 2;
 * - in the first `warm` images, counted by the state's steps of N, x, y, w, h of every box
 *   begin with 0.01 (v - that of its anchor in the middle of its cell).
 * If several truths have one box, the last one's g of x, y, w, h and objectness counts (with
 * ADD those of x, y, w, h add up, to what they began with); of the classes, without SOFTMAX,
 * each further class gets class_scale (v - (1 - smooth / 2)) and the others stay.
 * SLOPE: g of x, y and objectness is times v (1 - v). LOGIC: what goes to dx is times that, of
 * the classes too. A class outside [0, classes) fails the run with DN_E_DATA. */
enum {
    DN_YOLO_SOFTMAX = 1,
    DN_YOLO_BY_SHAPE = 2,
    DN_YOLO_BY_SIZE = 4,
    DN_YOLO_RESCORE = 8,
    DN_YOLO_ADD = 16,
    DN_YOLO_FOCAL = 32,
    DN_YOLO_SLOPE = 64,
    DN_YOLO_LOGIC = 128
};
typedef struct dn_args_yolo_loss {
    dn_args base;
    int32_t classes, anchors, all, flags;
    int32_t mask[DN_MAX_ANCHORS];
    double width[DN_MAX_ANCHORS], height[DN_MAX_ANCHORS]; /* in cells */
    double thresh, object, noobject, class_scale, coord, smooth;
    int64_t warm;
} dn_args_yolo_loss;

/* SSD's loss = (loc_weight L_loc + conf_weight L_conf) / Z; dloc and dconf are its gradients,
 * the matches and the choice of negatives being constants. In double; boxes by sys/boxes.h.
 *
 * loc: (N, P, places, 4), one place, or with APART one for each class; conf: (N, P, classes);
 * priors (2, P, 4): corners, then variances; truths (G, 8): image (none: -1), label, -, x0, y0,
 * x1, y1, difficult (with EASY those do not count).
 *
 * Matching, of truths with the priors (PRIORS: a match counts in the place of its label alone)
 * or with the boxes that loc makes of them (each place with the truths of its label):
 * 1. each truth takes the free prior of the greatest IoU, if that is above DN_MULTI_LEAST; the
 *    best pair of all first, a tie by lower index of the prior, then of the truth;
 * 2. unless BIPARTITE, each prior that is left takes the truth of its greatest IoU (a tie: the
 *    first), if that is at least `overlap`.
 * NO_CROSSING: priors that leave [0, 1] take no part.
 *
 * L_loc, over all matches: with d = loc - the coded truth (IN_TARGET: loc / variance - it;
 * INSIDE: 0 for corners outside [0, 1]), 1/2 d^2 where |d| < 1 or with L2, else |d| - 1/2.
 *
 * L_conf, over the priors that are chosen: -log of the softmax (or LOGISTIC) of the scores
 * against the truth's label (AGNOSTIC: background + 1), or background without a match. Chosen:
 * - ALL: all (LOGISTIC: without a match against no label);
 * - MAX_NEGATIVE: the matched and, of the unmatched whose greatest IoU is below neg_overlap,
 *   those of the largest L_conf, `ratio` times as many as the matched;
 * - HARD_EXAMPLE: the `sample` of all with the largest loss; matches outside it do not count.
 * Ties go to the lower index. With nms > 0 the candidates are first cut to the top_k best (-1:
 * all) and suppressed by IoU of the boxes that loc makes (NMS_PRIORS: of the priors). An image
 * without truths has nothing chosen but by ALL.
 *
 * Z: `normalization` as of the losses, VALID being the matches. A label that is background or
 * outside [0, classes) fails the run with DN_E_DATA. */
#define DN_MULTI_LEAST 1e-6
enum { DN_MULTI_ALL = 0, DN_MULTI_MAX_NEGATIVE = 1, DN_MULTI_HARD_EXAMPLE = 2 };
enum {
    DN_MULTI_APART = 1,
    DN_MULTI_PRIORS = 2,
    DN_MULTI_BIPARTITE = 4,
    DN_MULTI_EASY = 8,
    DN_MULTI_L2 = 16,
    DN_MULTI_LOGISTIC = 32,
    DN_MULTI_IN_TARGET = 64,
    DN_MULTI_INSIDE = 128,
    DN_MULTI_AGNOSTIC = 256,
    DN_MULTI_NO_CROSSING = 512,
    DN_MULTI_NMS_PRIORS = 1024
};
typedef struct dn_args_multi_box {
    dn_args base;
    int32_t classes, background, flags, mining, code, normalization;
    int64_t sample, top_k;
    double overlap, neg_overlap, ratio, nms, loc_weight, conf_weight;
} dn_args_multi_box;

/* What a detector learns from boxes that are compared with true ones, truths (G, 5): x0, y0,
 * x1, y1, label; corners are pixels. In double, by the formulas of sys/boxes.h.
 *
 * ANCHORS: anchors (A, 4) as of DETECT, `stride` apart in (H, W) cells; from: height, width. One
 *   that leaves the image by more than `border` is neither of these: it holds something if its
 *   greatest IoU is at least `positive`, or if no other has more of a truth; it is empty if that
 *   IoU is below `negative`. labels (A, H, W): 1 of those that hold something and are drawn, 0
 *   of the empty ones that are, else -1; targets, inside, outside (4 A, H, W): the offsets to
 *   the truth of the greatest IoU, 1 where the label is 1, one over the number drawn where it
 *   is not -1.
 * REGIONS: from (R, 5), of which column 0 is passed over; the truths are regions too. No bounds,
 *   and no truth's best. What is drawn is one row each of regions (K, 5), labels (K) and
 *   targets, inside and outside (K, 4 classes), where the columns of the label have offsets, 1
 *   and 1, the rest (and background, 0) 0. count: how many were drawn, of which rows beyond K
 *   are not written. A truth's label outside [0, classes) fails the run with DN_E_DATA.
 *
 * Drawn are up to `holding` of those that hold something, then of the empty ones up to `draws`
 * in all; all of them in their order where there are no more. Else draw i, without putting
 * back, of n changes place i with i + w % (n - i), w = the first two words, the first being the
 * upper one, of block i of stream (+ 1 for the empty ones) under the state.
 * Offsets: of the centre by the box's size, logarithms of the sizes' quotients, by deviation. */
enum { DN_TARGETS_ANCHORS = 0, DN_TARGETS_REGIONS = 1 };
typedef struct dn_args_targets {
    dn_args base;
    int32_t method, reserved;
    int64_t classes, draws, holding, H, W;
    double positive, negative, border, stride, deviation[4];
    uint64_t stream;
} dn_args_targets;

/* Means over all pixels of an image, weighted by a Gaussian of how far they are apart in place
 * and colour, by the permutohedral lattice (Adams, Baek and Davis, 2010) over the F = colours + 2
 * features of a pixel: it is spread over the F + 1 corners of the simplex it lies in, the lattice
 * is blurred along each of its axes, and pixels take what their corners have.
 *
 * LATTICE: image (lattices, colours, H, W), absent without colours; sizes (lattices, 2): height
 *   and width of the part of each, from its first row and column, that has pixels; absent: all of
 *   it. `place` and `colour`, above 0, are the deviations; what is no number counts as 0,
 *   what is further than 1e6 of them as that. With corners = H W (F + 1), for each lattice:
 *   table (1 + corners + 2 (F + 1) corners): how many corners are in use, count; which of them,
 *     from 1, those of each pixel are, numbered in the order they come in, 0 where there is
 *     none; then along each axis two neighbours of each of the count, likewise. The rest is not
 *     written.
 *   shares (corners); norm (H, W): 1 over what the filter makes of ones; 0 without a pixel.
 * LATTICE_FILTER: x, y (N, C, H, W); lattices: 1 for all N items or N, each item its own;
 *   table, shares and norm as LATTICE has made them; `place` and `colour` have no effect. back:
 *   x is the gradient of what would be y, y that of x. y is 0 where there is no pixel, and x is
 *   not read there. A NaN or an infinity in a plane of x may make more of its y NaN than it would
 *   reach; numbers may count in steps of its largest over 2^60 / (H W). */
enum { DN_LATTICE_COLOURS = 8 }; /* at most */
typedef struct dn_args_lattice {
    dn_args base;
    int64_t N, C, H, W, colours, lattices;
    double place, colour;
    int32_t back, reserved;
} dn_args_lattice;

/* x: (T, N, C); labels: (N, L), of which `blank` is left out. loss = -1/N sum_n log p(labels of
 * n | softmax of x in the first `steps` of T), p being the sum over all ways to spread them
 * over the steps, with blanks between, and repeats. g, laid out as x: softmax - the share of p
 * that has the class there, 0 in later steps. A sequence whose labels do not fit in the steps
 * counts as 0. In double. A label outside [0, C) fails the run with DN_E_DATA. */
typedef struct dn_args_ctc {
    dn_args base;
    int64_t steps, blank;
} dn_args_ctc;

/* x: (N, C, inner). ACROSS: scale = k + alpha / size * sum of x^2 over `size` channels around
 * c; WITHIN (x: (N, C, H, W)): scale = 1 + alpha * average over the size x size window, padded
 * by (size - 1) / 2, divided as AVE pooling divides (size^2, always). size is odd. y = x *
 * scale^-beta. */
enum { DN_LRN_ACROSS = 0, DN_LRN_WITHIN = 1 };
typedef struct dn_args_lrn {
    dn_args base;
    int32_t region, size;
    double alpha, beta, k;
} dn_args_lrn;

/* Caffe's BatchNorm over (outer, dim, inner): statistics per dim.
 * Training (use_global 0): mean and biased variance of x; y = (x - mean) * inv_std with
 * inv_std = 1 / sqrt(var + eps); then factor = fraction * factor + 1, running = fraction *
 * running + batch's (the variance times m / (m - 1), m = outer * inner, if m > 1).
 * Global (1): statistics are running / factor (0 if factor is 0); running values untouched.
 * The running operands and factor are read and written. y == x is allowed.
 * BWD: dx = inv_std (dy - mean(dy) - y mean(dy y)); global: dx = inv_std dy. dx == dy is
 * allowed. */
typedef struct dn_args_batch_norm {
    dn_args base;
    int32_t use_global, reserved;
    int64_t outer, dim, inner;
    double eps, fraction;
} dn_args_batch_norm;

/* Batch normalisation, scale and shift, and activation in one: y = f(gamma[d] (x - mean[d])
 * inv_std[d] + beta[d]); statistics as BATCH_NORM's. BWD: with dz = dy f'(y) (with an
 * activation y is needed, or beta in its place: then y is what the forward made of x) and n =
 * (x - mean) inv_std: dgamma += sum dz n, dbeta += sum dz, dx = gamma inv_std (dz - mean(dz) -
 * n mean(dz n)); global: dx = gamma inv_std dz. With sums (2, dim), they are the sums of dz and
 * of dz (x - mean); with moments (2, dim) the batch's statistics are these. dx == dy is
 * allowed, y == x is not. */
typedef struct dn_args_norm_scale {
    dn_args base;
    int32_t use_global, activation;
    int64_t outer, dim, inner;
    double eps, fraction, activation_a;
} dn_args_norm_scale;

/* Rows of x: (rows, cols): y = x - mean, and divided by (sqrt(var) + eps) with
 * normalize_variance (inv_std holds its reciprocal, else it is 1). BWD: dx = inv_std (dy -
 * mean(dy) - y mean(dy y)), without normalize_variance dy - mean(dy). */
typedef struct dn_args_mvn {
    dn_args base;
    int32_t normalize_variance, reserved;
    int64_t rows, cols;
    double eps;
} dn_args_mvn;

typedef struct dn_args_axis { /* SOFTMAX (y may be x), SOFTMAX_BWD (dx may be dy) over dim */
    dn_args base;
    int64_t outer, dim, inner;
} dn_args_axis;

/* Losses; loss is one number already divided by the normaliser; norm (one T) keeps the
 * normaliser for the gradient. dloss: one T. Labels t are T and hold whole numbers; a label
 * outside [0, dim) that is not ignored fails the run with DN_E_DATA. (outer, dim, inner):
 * SOFTMAX: x = probabilities: -log max(x[t], FLT_MIN), w: weight per class; BWD: dx of the
 *   logits: (x - 1[t]) w[t]; aux of LOSS: outer * inner, what that is without w, 0 if ignored.
 * MULTINOMIAL: x = probabilities, -log max(x[t], 1e-20), mean over outer. BWD: -1 / x[t].
 * INFOGAIN: w: (dim, dim) matrix H, sum_k -H[t,k] log max(x[k], 1e-20); BWD: gradient to
 *   the logits: x sum_k H[t,k] - H[t]; aux: dim row sums of H.
 * SIGMOID_CE: x = logits, t = targets, per element; ignore_label on t; FULL is all elements.
 * HINGE: sum max(0, 1 - s x)^p over dim with s = +1 for the label, else -1; p = param; / outer.
 * CONTRASTIVE: x: (outer, dim) differences a - b, t = similar?, param = margin, legacy: flag;
 *   aux: outer squared distances. loss / (2 outer). dx is the gradient to a, dt to b (-dx).
 * EUCLIDEAN: x = a - b (or x = a, t = b), sum (a - b)^2 / (2 outer); dx, dt as CONTRASTIVE's.
 * MULTINOMIAL, HINGE, CONTRASTIVE and EUCLIDEAN have the normaliser outer. norm and aux are
 * computed anew by LOSS_BWD where absent. t: outer * inner labels. dx and dt may be x.
 * normalization: 0 FULL (outer * inner), 1 VALID (those not ignored), 2 BATCH_SIZE (outer),
 * 3 NONE (1); at least 1. */
enum {
    DN_LOSS_SOFTMAX = 0,
    DN_LOSS_MULTINOMIAL = 1,
    DN_LOSS_INFOGAIN = 2,
    DN_LOSS_SIGMOID_CE = 3,
    DN_LOSS_HINGE = 4,
    DN_LOSS_CONTRASTIVE = 5,
    DN_LOSS_EUCLIDEAN = 6
};
typedef struct dn_args_loss {
    dn_args base;
    int32_t loss, normalization, has_ignore, ignore_label;
    int64_t outer, dim, inner;
    double param;
    int32_t flag, reserved;
} dn_args_loss;

/* Share of (outer, inner) positions, those ignored apart, whose label is among the top_k of
 * dim: fewer than top_k other values are >= the label's (ties count against it, as in Caffe). 0
 * if there are none. per class: accuracy of each class, 0 where it has none. */
typedef struct dn_args_accuracy {
    dn_args base;
    int32_t top_k, has_ignore, ignore_label, reserved;
    int64_t outer, dim, inner;
} dn_args_accuracy;

/* How well maps of classes agree, from the places counted by class.
 * LABELS: x: scores (outer, dim, inner); t: labels (outer, inner), those in `ignored` left out.
 *   A place is taken for the class of the (first) largest score; with dim 1 for class 1 of two
 *   where that is above threshold. y: pixel accuracy, the share of the places that are right;
 *   mean accuracy, of the classes that have places; mean intersection over union, of those and
 *   the classes that some place is taken for. A label that is no class fails with DN_E_DATA.
 * MAPS: x, t: (outer, dim, inner); y (dim): intersection over union of the places above
 *   threshold, of the first of outer.
 * SEQUENCES: x: (outer, inner, dim), t: (outer, ...) labels; y: one number, the share of the
 *   sequences whose best classes, repeats taken once, are the labels; blanks, of the class that
 *   threshold is, count on neither side.
 * 0 where there is nothing to share. */
enum { DN_OVERLAP_LABELS = 0, DN_OVERLAP_MAPS = 1, DN_OVERLAP_SEQUENCES = 2 };
typedef struct dn_args_overlap {
    dn_args base;
    int32_t measure, reserved;
    int64_t outer, dim, inner;
    double threshold;
} dn_args_overlap;

/* The top_k of dim, largest first (ties: larger index first, as Caffe sorts pairs downwards).
 * pairs 0: y (outer, top_k, inner) of indices; or of values with out_max_val.
 * pairs 1: y (outer, 2, top_k): indices, then values (inner is 1). */
typedef struct dn_args_argmax {
    dn_args base;
    int32_t top_k, out_max_val, pairs, reserved;
    int64_t outer, dim, inner;
} dn_args_argmax;

/* Rows of x: (outer, dim). y: how many of the row, of those with the same key, come before an
 * element: the larger first, NaN as -inf, in a tie the one of lower index. A key that is NaN is
 * nobody else's. With most > 0 y is 1 where that is less than most, else 0. */
typedef struct dn_args_rank {
    dn_args base;
    int64_t outer, dim, most;
} dn_args_rank;

/* mask = u > ratio; y = x mask scale. u drawn as RANDOM draws. y == x, dx == dy are allowed. */
typedef struct dn_args_dropout {
    dn_args base;
    double ratio, scale;
    uint64_t stream;
} dn_args_dropout;

/* (outer, dim, inner); slope has dim elements, or one with shared. x > 0 ? x : slope x. y may
 * be x, dx may be dy. */
typedef struct dn_args_prelu {
    dn_args base;
    int32_t shared, reserved;
    int64_t outer, dim, inner;
} dn_args_prelu;

/* For each of `batch` tables (0: one). GATHER: y[i, :] = x[index[i], :]. SCATTER_ADD, in order
 * of i: y[index[i], :] += x[i, :], from zeros on without accumulate; with `set` (which does not
 * go with accumulate) y[index[i], :] is x[i, :] of the last such i, not their sum. x of GATHER,
 * y of SCATTER_ADD: (batch, limit, cols); index: (batch, count). An index outside [0, limit)
 * fails the run with DN_E_DATA. */
typedef struct dn_args_gather {
    dn_args base;
    int64_t count, cols, limit, batch;
    int32_t set, reserved;
} dn_args_gather;

/* Caffe's LSTMUnit: x: (N, 4 D) pre-activations i, f, o, g; cont: (N). f = cont sigmoid(.).
 * c = f c_prev + i g; h = o tanh(c). gates: (N, 4 D), activated. dc, dh are inputs. */
typedef struct dn_args_lstm {
    dn_args base;
    int64_t N, D;
} dn_args_lstm;

/* One parameter's update. hyper: T[4]: {rate, bias correction (Adam), clip scale, 1/iter_size}.
 * g = grad * hyper[2] * hyper[3] + decay * w (L2) or decay * sign(w) (L1); grad is left with
 * the value Caffe would leave: the step that was subtracted. local rate = rate * lr_mult.
 *   SGD: h1 = momentum h1 + local g; step = h1. NESTEROV: the same h1, step =
 *   (1 + momentum) h1 - momentum (h1 before). ADAGRAD: h1 += g^2; step = local g / (sqrt(h1) +
 * delta). RMSPROP: h1 = rms_decay h1 + (1 - rms_decay) g^2, then as ADAGRAD. ADADELTA (m =
 * momentum): h1 = m h1 + (1 - m) g^2; s = g sqrt((h2 + delta) / (h1 + delta)); h2 = m h2 + (1 -
 * m) s^2; step = local s. ADAM: h1 = momentum h1 + (1 - momentum) g; h2 = momentum2 h2 + (1 -
 * momentum2) g^2; step = local hyper[1] h1 / (sqrt(h2) + delta). Last, w -= step.
 * With each (T, 2 per parameter: lr_mult and decay, in place of the arguments') it is many
 * parameters' update: w, grad, h1, and h2 where the rule has it, of one after the other, in any
 * number. Whoever declines it gets every parameter as an op of its own. */
enum {
    DN_UPDATE_SGD = 0,
    DN_UPDATE_NESTEROV = 1,
    DN_UPDATE_ADAGRAD = 2,
    DN_UPDATE_RMSPROP = 3,
    DN_UPDATE_ADADELTA = 4,
    DN_UPDATE_ADAM = 5
};
typedef struct dn_args_update {
    dn_args base;
    int32_t rule, l1;
    double lr_mult, decay; /* decay = weight_decay * decay_mult */
    double momentum, momentum2, delta, rms_decay;
} dn_args_update; /* h2: ADADELTA and ADAM alone */

typedef struct dn_args_scale_clip {
    dn_args base;
    double clip;
} dn_args_scale_clip;

/* fn runs on the host with host pointers; a failure it returns ends the run. */
typedef dn_status (*dn_host_call_fn)(void *user, void *const *in, void *const *out);
typedef struct dn_args_host_call {
    dn_args base;
    dn_host_call_fn fn;
    void *user;
} dn_args_host_call;

/* ---- the backend ------------------------------------------------------------------------ */

typedef struct dn_backend dn_backend; /* the backend's own */
typedef struct dn_op dn_op;           /* the backend's own */

/* What the engine gives a backend; valid until close. */
typedef struct dn_backend_host {
    size_t struct_size;
    void *(*alloc)(void *user, size_t bytes); /* 64-byte aligned; NULL: none left */
    void (*free)(void *user, void *ptr);
    /* body(arg, task, worker) for every task in [0, tasks); worker in [0, num_threads) and no
     * two at once the same. Make `tasks` a function of the shapes alone: then results do not
     * depend on the number of threads. */
    void (*parallel_for)(void *user, int64_t tasks,
                         void (*body)(void *arg, int64_t task, int32_t worker), void *arg);
    /* Sets the thread's message (printf format, no floating point) and returns status. */
    dn_status (*fail)(dn_status status, const char *format, ...);
    int32_t num_threads;
    int32_t device; /* ordinal, for backends that have several */
    void *user;
    void *stream;                         /* dn_context_options.device_stream */
    int32_t tune, allow_nondeterministic; /* as there */
} dn_backend_host;

/* Kinds gain optional operands at their ends, and arguments in place of reserved ones: decline
 * an op with more operands than you know, or with a `reserved` that is not 0. */
typedef struct dn_op_desc {
    size_t struct_size;
    int32_t kind;
    int32_t num_inputs, num_outputs;
    int32_t compact; /* 1: little memory is wanted. What an op would keep beyond the size of its
                        constant inputs is then worth no more than its other operands' */
    const dn_operand *inputs, *outputs;
    const void *args;  /* the struct of the kind; copy what is needed after op_create */
    uint32_t constant; /* bit i: input i changes only between a run and an op_prepare */
    int32_t compute;   /* DN_COMPUTE_*, for matrix products */
} dn_op_desc;

typedef struct dn_op_info {
    size_t struct_size;
    size_t scratch;          /* bytes op_run needs, shared with other ops */
    char implementation[48]; /* "cpu:im2col+sgemm" */
    char reason[80];         /* why it was declined */
    size_t keep; /* bytes that stay the op's own from op_prepare on: packed constant inputs */
    double cost; /* nanoseconds of one run on one thread, as far as is known; 0: unknown. Plans
                    that differ in layout or fusion are compared by it */
    int32_t compute; /* DN_COMPUTE_* that a matrix product is really done in */
    uint32_t unread; /* bit i: op_run never reads input i, which is constant: op_prepare put
                        what is wanted of it into keep. What the plan made for it needs no
                        memory afterwards */
} dn_op_info;

/* Operands in the order of the op's kind; NULL where absent. */
typedef struct dn_op_io {
    size_t struct_size;
    void *const *in;
    void *const *out;
    void *scratch; /* 64-byte aligned */
    void *keep;    /* 64-byte aligned; NULL if op_create asked for none */
} dn_op_io;

enum { DN_SPACE_HOST = 0, DN_SPACE_DEVICE = 1 };
/* op_create's answer when the next backend of the chain should have the op. */
#define DN_DECLINED 1

/* struct_size first, append only; a NULL entry means "not offered". */
typedef struct dn_backend_ops {
    size_t struct_size;
    const char *name;
    int32_t space; /* DN_SPACE_HOST: operands are host memory and no copies are needed */
    int32_t reserved;
    dn_status (*open)(dn_backend **out, const dn_backend_host *host);
    void (*close)(dn_backend *backend);
    /* DN_OK and *out, DN_DECLINED with info->reason, or a failure. */
    dn_status (*op_create)(dn_backend *backend, const dn_op_desc *desc, dn_op **out,
                           dn_op_info *info);
    /* Allocates nothing, plans nothing. Fails only when the device or the data does. */
    dn_status (*op_run)(dn_op *op, const dn_op_io *io);
    void (*op_destroy)(dn_op *op);
    /* Memory of a space that is not the host's. */
    dn_status (*mem_alloc)(dn_backend *backend, size_t bytes, void **out);
    void (*mem_free)(dn_backend *backend, void *ptr);
    dn_status (*copy_in)(dn_backend *backend, void *device, const void *host, size_t bytes);
    dn_status (*copy_out)(dn_backend *backend, void *host, const void *device, size_t bytes);
    dn_status (*synchronise)(dn_backend *backend);
    /* Recording a run of ops and replaying it as one (CUDA graphs). What op_run is given in
     * between, and what that points to, stay as they are until the recording ends. */
    dn_status (*capture_begin)(dn_backend *backend);
    dn_status (*capture_end)(dn_backend *backend, void **recording);
    dn_status (*replay)(dn_backend *backend, void *recording);
    void (*recording_free)(dn_backend *backend, void *recording);
    /* One line about the device: "CBLAS OpenBLAS 0.3.21, AVX-512, 2 threads". */
    void (*describe)(dn_backend *backend, char *buffer, size_t size);
    /* Called before the first run and again after a constant input changed: what of them is
     * wanted in another form goes into io->keep. Scratch may be used. NULL: nothing to prepare,
     * and no op asks for keep. */
    dn_status (*op_prepare)(dn_op *op, const dn_op_io *io);
    /* Zeros in memory of the backend's space. NULL: zeros are copied in. */
    dn_status (*mem_zero)(dn_backend *backend, void *device, size_t bytes);
    /* Training on several devices at once: one comm for each of `count` backends of this table.
     * DN_DECLINED, or a failure with words, if they cannot reach each other. All or none of the
     * four are offered. */
    dn_status (*comm_create)(dn_backend *const *backends, int32_t count, void **comms);
    /* The mean of device[0 .. count) over all ranks, in place: of what was queued so far,
     * beside what is queued from now on. Every rank calls in the same order, in a thread of its
     * own; it may return only when all ranks have called. comm_free with abort ends that wait.
     * Several may become one: until comm_wait, which may then wait so too, the memory stays and
     * nobody writes there. */
    dn_status (*comm_mean)(dn_backend *backend, void *comm, float *device, int64_t count);
    /* What is queued from now on comes after all means so far. */
    dn_status (*comm_wait)(dn_backend *backend, void *comm);
    /* abort: from any thread, while others may wait for a rank that will never come, or be on
     * their way to: their waits end, comm_mean fails from then on, and all that is left to do
     * with the comm is to free it with abort 0. */
    void (*comm_free)(dn_backend *backend, void *comm, int32_t abort);
    /* Where another implementation stands in by now for one that refused to run: writes what
     * info->implementation would say of it, of at most `size` characters with the 0; else
     * nothing. NULL: none ever does. */
    void (*op_describe)(dn_op *op, char *buffer, size_t size);
    /* copy_out of the same comes next, maybe after others that were said to: all of them may be
     * begun now, for one wait, but `host` is not written yet. Where anything else is asked
     * before, copy_out copies what it finds, as always; nobody else writes there in between.
     * NULL: each waits by itself. */
    dn_status (*copy_out_soon)(dn_backend *backend, void *host, const void *device,
                               size_t bytes);
} dn_backend_ops;

/* The one symbol a backend module exports. */
#define DN_BACKEND_ENTRY "dn_backend_entry"
typedef const dn_backend_ops *(*dn_backend_entry_fn)(void);

DN_END_DECLS
#endif
