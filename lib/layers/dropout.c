/* SPDX-License-Identifier: BSD-2-Clause
 * Dropout: TRAIN: y = x * mask / (1 - ratio), mask 0 with probability ratio; TEST: y = x.
 * dropout_param: dropout_ratio (0.5; 1 only where nothing is drawn). Of the forks: scale_train
 * (true; false: TRAIN: y = x * mask, TEST: y = x (1 - ratio)), sample_weights_test (false;
 * true: Bayesian SegNet's samples, TEST is as TRAIN).
 * bottom: any shape; top: the same; in place allowed.
 * Gradient: dx = dy * mask / (1 - ratio). */
#include "deepnet/net.h"
#include "layers/layer.h"

typedef struct dropout_state {
    dn_args_dropout args;
    bool draws;
    double test;     /* y = test * x where nothing is drawn */
    dni_tensor mask; /* while lowering */
} dropout_state;

static dn_status setup(dni_layer *layer)
{
    const Cnn__DropoutParameter *p = layer->own;
    dropout_state *s = layer->state;
    double ratio = p->dropout_ratio;
    bool scale_train = p->scale_train;
    char text[32];
    s->draws = layer->phase == DN_PHASE_TRAIN || p->sample_weights_test;
    DNI_REQUIRE(ratio >= 0 && (ratio < 1 || (ratio == 1 && !s->draws)), DN_E_NET,
                "dropout_ratio is %s, not in [0, 1)", dni_number(text, sizeof text, ratio, 9));
    DNI_REQUIRE(!p->sqrt_scale, DN_E_UNSUPPORTED, "sqrt_scale is not supported");
    s->args = (dn_args_dropout){.ratio = ratio,
                                .scale = scale_train && s->draws ? 1 / (1 - ratio) : 1,
                                .stream = layer->stream};
    s->test = scale_train ? 1 : 1 - ratio;
    return DN_OK;
}

static void forward(dni_layer *layer, dni_builder *b)
{
    dropout_state *s = layer->state;
    const dni_shape *x = &layer->bottom[0];
    if (s->draws) {
        s->mask = dni_temp(b, DN_U8, x->axes, x->dim);
        dni_emit(b, DN_OP_DROPOUT, &s->args, DNI_TENSORS(b->x[0], b->random),
                 DNI_TENSORS(b->y[0], s->mask));
    } else if (s->test != 1) {
        dni_emit_unary(b, DN_FN_AFFINE, s->test, 0, 0, b->x[0], b->y[0]);
    } else {
        dni_emit_copy(b, b->x[0], b->y[0]);
    }
}

static void backward(dni_layer *layer, dni_builder *b)
{
    const dropout_state *s = layer->state;
    if (s->draws)
        dni_emit(b, DN_OP_DROPOUT_BWD, &s->args, DNI_TENSORS(b->dy[0], s->mask),
                 DNI_TENSORS(b->dx[0]));
    else
        dni_emit_unary(b, DN_FN_AFFINE, s->test, 0, 0, b->dy[0], b->dx[0]);
}

const dni_layer_class dni_layer_dropout = {
    .type = "Dropout",
    .own = DNI_OWN(dropout_param),
    .bottoms_min = 1,
    .bottoms_max = 1,
    .tops_min = 1,
    .tops_max = 1,
    .flags = DNI_LAYER_INPLACE | DNI_LAYER_KEEPS_SIGN,
    .state_size = sizeof(dropout_state),
    .setup = setup,
    .shape = dni_shape_like_bottom,
    .forward = forward,
    .backward = backward,
};
