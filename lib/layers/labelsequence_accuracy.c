/* SPDX-License-Identifier: BSD-2-Clause
 * LabelsequenceAccuracy (warpctc-caffe): the share of sequences that are read without a
 * mistake: the best class of each step, repeats taken once and blanks left out, against the
 * labels that are no blanks. labelsequence_accuracy_param: blank_label (0). bottoms: x (N, T,
 * C), labels (N, ...); top: one number. No gradient. */
#include "layers/values.h"

typedef struct sequence_state {
    const dni_layer *layer;
    int64_t N, T, C, L, blank;
} sequence_state;

static dn_status shape(dni_layer *layer)
{
    const Cnn__CtcLossParameter *p = layer->param->ctc_loss_param;
    const dni_shape *x = &layer->bottom[0], *t = &layer->bottom[1];
    DNI_REQUIRE(x->axes == 3 && x->dim[2] > 0, DN_E_SHAPE,
                "bottom 0 must have the shape (N, T, C)");
    DNI_REQUIRE(t->axes && t->dim[0] == x->dim[0], DN_E_SHAPE,
                "bottom 1 must have labels for each of %lld sequences", (long long)x->dim[0]);
    *(sequence_state *)layer->state = (sequence_state){layer,
                                                       x->dim[0],
                                                       x->dim[1],
                                                       x->dim[2],
                                                       dni_shape_range(t, 1, t->axes),
                                                       p ? p->blank_label : 0};
    layer->top[0] = dni_shape_of(0, NULL);
    return DN_OK;
}

static int64_t best(const sequence_state *s, const void *x, int64_t row)
{
    int32_t dtype = s->layer->dtype;
    int64_t out = 0;
    for (int64_t c = 1; c < s->C; c++)
        if (dni_get(x, dtype, row * s->C + c) > dni_get(x, dtype, row * s->C + out))
            out = c;
    return out;
}

static bool is_hit(const sequence_state *s, const void *x, const void *labels, int64_t n)
{
    int64_t at = 0, before = s->blank;
    for (int64_t t = 0; t < s->T; t++) {
        int64_t now = best(s, x, n * s->T + t);
        bool is_new = now != before && now != s->blank;
        before = now;
        if (!is_new)
            continue;
        while (at < s->L && dni_get(labels, s->layer->dtype, n * s->L + at) == (double)s->blank)
            at++;
        if (at == s->L || dni_get(labels, s->layer->dtype, n * s->L + at) != (double)now)
            return false;
        at++;
    }
    while (at < s->L && dni_get(labels, s->layer->dtype, n * s->L + at) == (double)s->blank)
        at++;
    return at == s->L;
}

/* x, labels -> share */
static dn_status run(void *user, void *const *in, void *const *out)
{
    const sequence_state *s = user;
    int64_t hits = 0;
    for (int64_t n = 0; n < s->N; n++)
        hits += is_hit(s, in[0], in[1], n);
    dni_put(out[0], s->layer->dtype, 0, (double)hits / (double)s->N);
    return DN_OK;
}

static void forward(dni_layer *layer, dni_builder *b)
{
    dn_args_host_call call = {.fn = run, .user = layer->state};
    dni_emit(b, DN_OP_HOST_CALL, &call, DNI_TENSORS(b->x[0], b->x[1]), DNI_TENSORS(b->y[0]));
}

const dni_layer_class dni_layer_labelsequence_accuracy = {
    .type = "LabelsequenceAccuracy",
    .bottoms_min = 2,
    .bottoms_max = 2,
    .tops_min = 1,
    .tops_max = 1,
    .no_gradient = 3,
    .state_size = sizeof(sequence_state),
    .shape = shape,
    .forward = forward,
};
