/* SPDX-License-Identifier: BSD-2-Clause
 * CtcLoss (warpctc-caffe; Graves et al., 2006): L = -1/N sum_n log p(labels of n | softmax of
 * x), p being the sum over all ways to spread them over the steps, with blanks between, and
 * repeats; no class is less likely than FLT_MIN. ctc_loss_param: blank_label (0), alphabet_size
 * (if given: C), time_step (the steps that count; 0: all). bottoms: x (T, N, C), labels (N,
 * ...), among which blanks are left out; top: one number. Labels that do not fit in the steps
 * count as 0. Gradient, warp-ctc's as Caffe has it, that of N L: dx = dL (softmax - p of each
 * label there). */
#include "layers/layer.h"

typedef struct ctc_state {
    dn_args_ctc args;
    dni_tensor g; /* while lowering */
} ctc_state;

static dn_status shape(dni_layer *layer)
{
    const Cnn__CtcLossParameter *p = layer->own;
    const dni_shape *x = &layer->bottom[0];
    ctc_state *s = layer->state;
    DNI_REQUIRE(x->axes == 3 && x->dim[0] > 0 && x->dim[2] > 0, DN_E_SHAPE,
                "bottom 0 must have the shape (T, N, C)");
    int64_t T = x->dim[0], N = x->dim[1];
    int64_t L = dni_shape_range(&layer->bottom[1], 1, layer->bottom[1].axes);
    DNI_REQUIRE(layer->bottom[1].axes && layer->bottom[1].dim[0] == N && L > 0, DN_E_SHAPE,
                "bottom 1 must have labels for each of %lld sequences", (long long)N);
    DNI_REQUIRE(p->blank_label < x->dim[2], DN_E_NET, "blank_label is not below %lld",
                (long long)x->dim[2]);
    DNI_REQUIRE(!p->alphabet_size || p->alphabet_size == x->dim[2], DN_E_SHAPE,
                "alphabet_size is %u, bottom 0 has %lld", p->alphabet_size,
                (long long)x->dim[2]);
    DNI_REQUIRE(p->time_step <= T, DN_E_SHAPE, "time_step is %u, bottom 0 has %lld steps",
                p->time_step, (long long)T);
    s->args.steps = p->time_step ? p->time_step : T;
    s->args.blank = p->blank_label;
    layer->top[0] = dni_shape_of(0, NULL);
    return DN_OK;
}

static void forward(dni_layer *layer, dni_builder *b)
{
    ctc_state *s = layer->state;
    s->g = dni_temp_like(b, b->x[0]);
    dni_emit(b, DN_OP_CTC, &s->args, DNI_TENSORS(b->x[0], b->x[1]), DNI_TENSORS(b->y[0], s->g));
}

static void backward(dni_layer *layer, dni_builder *b)
{
    const ctc_state *s = layer->state;
    dni_emit_times(b, s->g, b->dy[0], b->dx[0]);
}

const dni_layer_class dni_layer_ctc_loss = {
    .type = "CtcLoss",
    .own = DNI_OWN(ctc_loss_param),
    .bottoms_min = 2,
    .bottoms_max = 2,
    .tops_min = 1,
    .tops_max = 1,
    .flags = DNI_LAYER_LOSS,
    .no_gradient = 1u << 1,
    .state_size = sizeof(ctc_state),
    .shape = shape,
    .forward = forward,
    .backward = backward,
};
