/* SPDX-License-Identifier: BSD-2-Clause
 * CtcLoss (warpctc-caffe; Graves et al., 2006): L = -1/N sum_n log p(labels of n | softmax of
 * x), p being the sum over all ways to spread them over the steps, with blanks between, and
 * repeats. ctc_loss_param: blank_label (0), alphabet_size (if given: C), time_step (the steps
 * that count; 0: all). bottoms: x (T, N, C), labels (N, ...), among which blanks are left out;
 * top: one number. Labels that do not fit in the steps count as 0. Gradient, warp-ctc's as
 * Caffe has it, that of N L: dx = dL (softmax - p of each label there). */
#include <math.h>

#include "layers/values.h"

typedef struct ctc_state {
    const dni_layer *layer;
    int64_t T, N, C, L, steps, blank;
    double *alpha, *beta, *lse; /* (steps, 2 L + 1), twice (2 L + 1), (steps): logarithms */
    int64_t *label;             /* L */
    const void *x;
    dni_tensor g; /* while lowering */
} ctc_state;

static void teardown(dni_layer *layer)
{
    ctc_state *s = layer->state;
    dni_free(layer->heap, s->alpha);
    dni_free(layer->heap, s->beta);
    dni_free(layer->heap, s->lse);
    dni_free(layer->heap, s->label);
    s->alpha = s->beta = s->lse = NULL;
    s->label = NULL;
}

static dn_status shape(dni_layer *layer)
{
    static const Cnn__CtcLossParameter defaults = CNN__CTC_LOSS_PARAMETER__INIT;
    const Cnn__CtcLossParameter *p =
        layer->param->ctc_loss_param ? layer->param->ctc_loss_param : &defaults;
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
    teardown(layer);
    *s = (ctc_state){.layer = layer,
                     .T = T,
                     .N = N,
                     .C = x->dim[2],
                     .L = L,
                     .steps = p->time_step ? p->time_step : T,
                     .blank = p->blank_label};
    layer->top[0] = dni_shape_of(0, NULL);
    if (layer->wire_only)
        return DN_OK;
    size_t states = 2 * (size_t)L + 1, cells;
    s->alpha = dni_mul((size_t)T, states, &cells)
                   ? dni_alloc(layer->heap, cells, sizeof(double))
                   : NULL;
    s->beta = dni_alloc(layer->heap, 2 * states, sizeof(double));
    s->lse = dni_alloc(layer->heap, (size_t)T, sizeof(double));
    s->label = dni_alloc(layer->heap, (size_t)L, sizeof *s->label);
    return s->alpha && s->beta && s->lse && s->label ? DN_OK : DN_E_NOMEM;
}

static double log_add(double a, double b)
{
    double large = a > b ? a : b;
    return large == -INFINITY ? large : large + log1p(exp((a > b ? b : a) - large));
}

static double at(const ctc_state *s, int64_t t, int64_t n, int64_t k)
{
    return dni_get(s->x, s->layer->dtype, (t * s->N + n) * s->C + k);
}

/* What stands at place i of the labels with blanks between, and its logarithm at step t. */
static int64_t symbol(const ctc_state *s, int64_t i)
{
    return i % 2 ? s->label[i / 2] : s->blank;
}

static double log_p(const ctc_state *s, int64_t t, int64_t n, int64_t i)
{
    return at(s, t, n, symbol(s, i)) - s->lse[t];
}

/* May place i follow place i - 2? */
static bool jumps(const ctc_state *s, int64_t i)
{
    return i % 2 && i > 1 && s->label[i / 2] != s->label[i / 2 - 1];
}

/* Sequence n's labels without blanks; *count of them, which need *least steps. */
static dn_status read_labels(ctc_state *s, const void *labels, int64_t n, int64_t *count,
                             int64_t *least)
{
    *count = *least = 0;
    for (int64_t i = 0; i < s->L; i++) {
        double label = dni_get(labels, s->layer->dtype, n * s->L + i);
        if (!(label >= 0 && label < (double)s->C))
            return dni_fail(DN_E_DATA, "a label is not from 0 to %lld", (long long)s->C - 1);
        if ((int64_t)label == s->blank)
            continue;
        *least += 1 + (*count && s->label[*count - 1] == (int64_t)label);
        s->label[(*count)++] = (int64_t)label;
    }
    return DN_OK;
}

/* log p of S places; alpha[t][i]: of the steps up to t, the last at place i. */
static double forward_pass(ctc_state *s, int64_t n, int64_t S)
{
    for (int64_t t = 0; t < s->steps; t++) {
        double *now = s->alpha + t * S, *was = now - S;
        for (int64_t i = 0; i < S; i++) {
            double sum = t ? was[i] : i < 2 ? 0 : -INFINITY;
            if (t && i > 0)
                sum = log_add(sum, was[i - 1]);
            if (t && jumps(s, i))
                sum = log_add(sum, was[i - 2]);
            now[i] = sum + log_p(s, t, n, i);
        }
    }
    const double *last = s->alpha + (s->steps - 1) * S;
    return S > 1 ? log_add(last[S - 1], last[S - 2]) : last[0];
}

/* g -= the shares of all places; beta[i]: of the steps after t, from place i. */
static void backward_pass(ctc_state *s, void *g, int64_t n, int64_t S, double total)
{
    for (int64_t t = s->steps; t-- > 0;) {
        double *now = s->beta + t % 2 * S, *next = s->beta + (t + 1) % 2 * S;
        for (int64_t i = 0; i < S; i++) {
            bool last = t == s->steps - 1;
            double sum = last ? (i >= S - 2 ? 0 : -INFINITY) : next[i] + log_p(s, t + 1, n, i);
            if (!last && i + 1 < S)
                sum = log_add(sum, next[i + 1] + log_p(s, t + 1, n, i + 1));
            if (!last && i + 2 < S && jumps(s, i + 2))
                sum = log_add(sum, next[i + 2] + log_p(s, t + 1, n, i + 2));
            now[i] = sum;
            int64_t to = (t * s->N + n) * s->C + symbol(s, i);
            double share = exp(s->alpha[t * S + i] + sum - total);
            dni_put(g, s->layer->dtype, to, dni_get(g, s->layer->dtype, to) - share);
        }
    }
}

/* g = softmax in the steps of sequence n. */
static void put_softmax(ctc_state *s, void *g, int64_t n)
{
    for (int64_t t = 0; t < s->steps; t++) {
        double largest = -INFINITY, sum = 0;
        for (int64_t k = 0; k < s->C; k++)
            largest = fmax(largest, at(s, t, n, k));
        for (int64_t k = 0; k < s->C; k++)
            sum += exp(at(s, t, n, k) - largest);
        s->lse[t] = largest + log(sum);
        for (int64_t k = 0; k < s->C; k++)
            dni_put(g, s->layer->dtype, (t * s->N + n) * s->C + k,
                    exp(at(s, t, n, k) - s->lse[t]));
    }
}

/* x, labels -> loss, g */
static dn_status run(void *user, void *const *in, void *const *out)
{
    ctc_state *s = user;
    double loss = 0;
    int64_t count, least;
    s->x = in[0];
    memset(out[1], 0, (size_t)(s->T * s->N * s->C) * dni_dtype_size(s->layer->dtype));
    for (int64_t n = 0; n < s->N; n++) {
        dn_status st = read_labels(s, in[1], n, &count, &least);
        if (st)
            return st;
        if (least > s->steps)
            continue;
        put_softmax(s, out[1], n);
        double total = forward_pass(s, n, 2 * count + 1);
        backward_pass(s, out[1], n, 2 * count + 1, total);
        loss -= total;
    }
    dni_put(out[0], s->layer->dtype, 0, loss / (double)(s->N ? s->N : 1));
    return DN_OK;
}

static void forward(dni_layer *layer, dni_builder *b)
{
    ctc_state *s = layer->state;
    dn_args_host_call call = {.fn = run, .user = s};
    s->g = dni_temp_like(b, b->x[0]);
    dni_emit(b, DN_OP_HOST_CALL, &call, DNI_TENSORS(b->x[0], b->x[1]),
             DNI_TENSORS(b->y[0], s->g));
}

static void backward(dni_layer *layer, dni_builder *b)
{
    const ctc_state *s = layer->state;
    dni_emit_bcast(b, DN_BCAST_MUL, s->T * s->N * s->C, 1, 1, s->g, b->dy[0], b->dx[0]);
}

const dni_layer_class dni_layer_ctc_loss = {
    .type = "CtcLoss",
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
    .teardown = teardown,
};
