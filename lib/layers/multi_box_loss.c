/* SPDX-License-Identifier: BSD-2-Clause
 * MultiBoxLoss (SSD): L = (loc_weight L_loc + L_conf) / Z: priors are matched with the true
 * boxes; L_loc: the matched priors' offsets against the coded truth; L_conf: the scores of the
 * matched against their labels and of the mined negatives against the background. Z by
 * loss_param (VALID: the matches; FULL: all priors; BATCH_SIZE; NONE), at least 1.
 * multibox_loss_param: num_classes (required), loc_loss_type (SMOOTH_L1; L2), conf_loss_type
 * (SOFTMAX; LOGISTIC), loc_weight (1), share_location (true), match_type (PER_PREDICTION;
 * BIPARTITE), overlap_threshold (0.5), use_prior_for_matching (true), background_label_id (0),
 * use_difficult_gt (true), mining_type (MAX_NEGATIVE; HARD_EXAMPLE, NONE) or the older
 * do_neg_mining, neg_pos_ratio (3), neg_overlap (0.5), sample_size (64), nms_param,
 * use_prior_for_nms, code_type (CORNER), encode_variance_in_target, bp_inside,
 * map_object_to_agnostic, ignore_cross_boundary_bbox.
 * bottoms: offsets (N, 4 P places), scores (N, P classes), priors (1, 2, 4 P), truth (1, 1, G,
 * 8): image (-1: none), label, -, x0, y0, x1, y1, difficult. top: one number.
 * Gradient: to offsets and scores, with matches and negatives as found. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "layers/boxes.h"
#include "layers/loss.h"

enum { UNMATCHED = -1, IGNORED = -2 };

typedef struct truth {
    int64_t image;
    int32_t label;
    dni_box box;
} truth;

typedef struct multi_state {
    dni_layer *layer;
    const Cnn__MultiBoxLossParameter *p;
    int64_t N, P, G, matches;
    int32_t classes, places, mining, normalization;
    const void *loc, *conf, *priors; /* while running */
    void *dloc, *dconf;
    double loc_loss, conf_loss;
    truth *truths; /* (G) of one image, with their number */
    int64_t num_truths;
    dni_box *boxes;   /* (P) what is matched, or suppressed */
    double *iou;      /* (P, G) */
    double *overlap;  /* (places, P) with the best truth */
    int32_t *match;   /* (places, P) truth, UNMATCHED or IGNORED */
    bool *taken;      /* (max of P, G) */
    dni_scored *list; /* (P) */
    dni_tensor g[2];  /* dL/dloc, dL/dconf for dy = 1, while lowering */
} multi_state;

/* ---- wiring ------------------------------------------------------------------------------ */

static dn_status setup(dni_layer *layer)
{
    multi_state *s = layer->state;
    const Cnn__MultiBoxLossParameter *p = s->p = layer->param->multibox_loss_param;
    s->layer = layer;
    DNI_REQUIRE(p && p->num_classes > 0 && p->num_classes < 1u << 20, DN_E_NET,
                "multibox_loss_param: num_classes is %u", p ? p->num_classes : 0);
    s->classes = (int32_t)p->num_classes;
    s->places = p->share_location ? 1 : s->classes;
    s->mining = p->mining_type;
    if (p->has_do_neg_mining && !p->do_neg_mining && !p->has_mining_type)
        s->mining = CNN__MULTI_BOX_LOSS_PARAMETER__MINING_TYPE__NONE;
    bool mines = s->mining != CNN__MULTI_BOX_LOSS_PARAMETER__MINING_TYPE__NONE;
    DNI_REQUIRE(!mines || p->share_location, DN_E_NET, "mining needs share_location");
    DNI_REQUIRE(p->neg_pos_ratio >= 0 && p->neg_pos_ratio < 1e9f && p->sample_size > 0,
                DN_E_NET, "neg_pos_ratio or sample_size is out of range");
    DNI_REQUIRE(!p->map_object_to_agnostic || p->background_label_id + 1 < p->num_classes,
                DN_E_NET, "map_object_to_agnostic needs a class beside the background");
    DNI_REQUIRE(p->conf_loss_type == CNN__MULTI_BOX_LOSS_PARAMETER__CONF_LOSS_TYPE__LOGISTIC ||
                    p->background_label_id < p->num_classes,
                DN_E_NET, "background_label_id is not one of the classes");
    DNI_REQUIRE(!p->ignore_difficult_gt, DN_E_UNSUPPORTED,
                "ignore_difficult_gt is not supported");
    s->normalization = dni_loss_normalization(layer->param->loss_param,
                                              CNN__LOSS_PARAMETER__NORMALIZATION_MODE__VALID);
    DNI_REQUIRE(s->normalization <= CNN__LOSS_PARAMETER__NORMALIZATION_MODE__NONE,
                DN_E_UNSUPPORTED, "this normalization is not supported");
    return DN_OK;
}

static void teardown(dni_layer *layer)
{
    multi_state *s = layer->state;
    void *held[] = {s->truths, s->boxes, s->iou, s->overlap, s->match, s->taken, s->list};
    for (size_t i = 0; i < DNI_COUNT(held); i++)
        dni_free(layer->heap, held[i]);
    s->truths = NULL;
    s->boxes = NULL;
    s->iou = s->overlap = NULL;
    s->match = NULL;
    s->taken = NULL;
    s->list = NULL;
}

static dn_status make_room(dni_layer *layer)
{
    multi_state *s = layer->state;
    size_t P = (size_t)s->P, G = (size_t)s->G, pairs;
    teardown(layer);
    if (!dni_mul(P, G, &pairs))
        return dni_fail(DN_E_SHAPE, "too many priors and true boxes");
    s->truths = dni_alloc(layer->heap, G, sizeof *s->truths);
    s->boxes = dni_alloc(layer->heap, P, sizeof *s->boxes);
    s->iou = dni_alloc(layer->heap, pairs, sizeof *s->iou);
    s->overlap = dni_alloc(layer->heap, P * (size_t)s->places, sizeof *s->overlap);
    s->match = dni_alloc(layer->heap, P * (size_t)s->places, sizeof *s->match);
    s->taken = dni_alloc(layer->heap, P > G ? P : G, sizeof *s->taken);
    s->list = dni_alloc(layer->heap, P, sizeof *s->list);
    return s->truths && s->boxes && s->iou && s->overlap && s->match && s->taken && s->list
               ? DN_OK
               : DN_E_NOMEM;
}

static dn_status shape(dni_layer *layer)
{
    multi_state *s = layer->state;
    const dni_shape *x = layer->bottom;
    DNI_REQUIRE(x[0].axes >= 1 && x[1].axes >= 1 && x[0].dim[0] == x[1].dim[0], DN_E_SHAPE,
                "bottoms 0 and 1 need as many images");
    DNI_REQUIRE(x[2].axes >= 3 && x[2].dim[1] == 2, DN_E_SHAPE,
                "bottom 2 must be priors, (1, 2, 4 P)");
    s->N = x[0].dim[0];
    s->P = x[2].dim[2] / 4;
    s->G = dni_shape_count(&x[3]) / 8;
    DNI_REQUIRE(x[3].axes >= 1 && x[3].dim[x[3].axes - 1] == 8, DN_E_SHAPE,
                "bottom 3 must be true boxes, (1, 1, G, 8)");
    DNI_REQUIRE(dni_shape_count(&x[0]) == s->N * s->P * s->places * 4, DN_E_SHAPE,
                "bottom 0 has %lld values, %lld priors and %d places need %lld an image",
                (long long)dni_shape_count(&x[0]), (long long)s->P, s->places,
                (long long)(s->P * s->places * 4));
    DNI_REQUIRE(dni_shape_count(&x[1]) == s->N * s->P * s->classes, DN_E_SHAPE,
                "bottom 1 has %lld values, %lld priors of %d classes need %lld an image",
                (long long)dni_shape_count(&x[1]), (long long)s->P, s->classes,
                (long long)(s->P * s->classes));
    layer->top[0] = dni_shape_of(0, NULL);
    return layer->wire_only ? DN_OK : make_room(layer);
}

/* ---- matching ---------------------------------------------------------------------------- */

static dn_status read_truths(multi_state *s, const void *gt, int64_t image)
{
    int32_t dtype = s->layer->dtype;
    s->num_truths = 0;
    for (int64_t i = 0; i < s->G; i++) {
        double label = dni_get(gt, dtype, i * 8 + 1);
        if (dni_get(gt, dtype, i * 8) != (double)image)
            continue;
        if (!s->p->use_difficult_gt && dni_get(gt, dtype, i * 8 + 7) != 0)
            continue;
        DNI_REQUIRE(label >= 0 && label < s->classes, DN_E_DATA,
                    "true box %lld: its label is not one of the %d classes", (long long)i,
                    s->classes);
        DNI_REQUIRE((uint32_t)label != s->p->background_label_id, DN_E_DATA,
                    "true box %lld is labelled as background", (long long)i);
        s->truths[s->num_truths++] =
            (truth){image, (int32_t)label, dni_box_get(gt, dtype, i * 8 + 3)};
    }
    return DN_OK;
}

static dni_box prior_of(const multi_state *s, int64_t i, double *variance)
{
    for (int32_t k = 0; k < 4; k++)
        variance[k] = dni_get(s->priors, s->layer->dtype, (s->P + i) * 4 + k);
    return dni_box_get(s->priors, s->layer->dtype, i * 4);
}

static int64_t loc_at(const multi_state *s, int64_t n, int64_t i, int32_t place)
{
    return ((n * s->P + i) * s->places + place) * 4;
}

static dni_box predicted(const multi_state *s, int64_t n, int64_t i, int32_t place)
{
    double variance[4];
    dni_box prior = prior_of(s, i, variance);
    dni_box code = dni_box_get(s->loc, s->layer->dtype, loc_at(s, n, i, place));
    return dni_box_decode((int32_t)s->p->code_type, &prior,
                          s->p->encode_variance_in_target ? NULL : variance, &code);
}

static dni_box matched_box(const multi_state *s, int64_t n, int64_t i, int32_t place,
                           bool prior)
{
    double variance[4];
    return prior ? prior_of(s, i, variance) : predicted(s, n, i, place);
}

/* Each truth takes the free box that overlaps it most, the best pair of all first. */
static void match_bipartite(multi_state *s, int32_t label, int32_t *match, double *overlap)
{
    for (int64_t g = 0; g < s->num_truths; g++)
        s->taken[g] = label >= 0 && s->truths[g].label != label;
    for (;;) {
        int64_t best = -1, best_g = -1;
        double most = 1e-6;
        for (int64_t i = 0; i < s->P; i++)
            for (int64_t g = 0; match[i] == UNMATCHED && g < s->num_truths; g++)
                if (!s->taken[g] && s->iou[i * s->G + g] > most)
                    most = s->iou[i * s->G + g], best = i, best_g = g;
        if (best < 0)
            return;
        match[best] = (int32_t)best_g;
        overlap[best] = most;
        s->taken[best_g] = true;
    }
}

/* Every other box takes the truth it overlaps most, if that is enough. */
static void match_rest(const multi_state *s, int32_t label, int32_t *match, double *overlap)
{
    for (int64_t i = 0; i < s->P; i++) {
        double most = 1e-6;
        for (int64_t g = 0; match[i] == UNMATCHED && g < s->num_truths; g++)
            if ((label < 0 || s->truths[g].label == label) && s->iou[i * s->G + g] > most)
                most = s->iou[i * s->G + g];
        for (int64_t g = 0; match[i] == UNMATCHED && g < s->num_truths; g++)
            if ((label < 0 || s->truths[g].label == label) && s->iou[i * s->G + g] == most &&
                most >= s->p->overlap_threshold) {
                match[i] = (int32_t)g;
                overlap[i] = most;
            }
    }
}

static void match_boxes(multi_state *s, int32_t label, int32_t *match, double *overlap)
{
    for (int64_t i = 0; i < s->P; i++) {
        match[i] = UNMATCHED;
        overlap[i] = 0;
        if (s->p->ignore_cross_boundary_bbox && dni_box_crosses(&s->boxes[i])) {
            match[i] = IGNORED;
            continue;
        }
        for (int64_t g = 0; g < s->num_truths; g++) {
            double iou = dni_box_iou(&s->boxes[i], &s->truths[g].box, 0);
            s->iou[i * s->G + g] = iou;
            if ((label < 0 || s->truths[g].label == label) && iou > 1e-6 && iou > overlap[i])
                overlap[i] = iou;
        }
    }
    match_bipartite(s, label, match, overlap);
    if (s->p->match_type == CNN__MULTI_BOX_LOSS_PARAMETER__MATCH_TYPE__PER_PREDICTION)
        match_rest(s, label, match, overlap);
}

/* Places of classes: a prior's match counts in the place of its truth's label alone. */
static void spread_matches(multi_state *s, int32_t *match, double *overlap)
{
    for (int32_t c = s->places - 1; c >= 0; c--) /* place 0 holds them until the last */
        for (int64_t i = 0; i < s->P; i++) {
            int32_t g = match[i];
            bool here = g >= 0 && s->truths[g].label == c;
            match[c * s->P + i] = here || g == IGNORED ? g : UNMATCHED;
            overlap[c * s->P + i] = overlap[i];
        }
}

static void match_image(multi_state *s, int64_t n)
{
    bool priors = s->p->use_prior_for_matching;
    for (int32_t c = 0; c < (priors ? 1 : s->places); c++) {
        for (int64_t i = 0; i < s->P; i++)
            s->boxes[i] = matched_box(s, n, i, c, priors);
        int32_t label = priors || s->places == 1 ? -1 : c;
        match_boxes(s, label, s->match + c * s->P, s->overlap + c * s->P);
    }
    if (priors && s->places > 1)
        spread_matches(s, s->match, s->overlap);
}

/* ---- the two losses ---------------------------------------------------------------------- */

/* bp_inside: coordinates of a box outside the image have no loss. */
static bool is_outside(const multi_state *s, const dni_box *box, int32_t k)
{
    double v = k == 0 ? box->x0 : k == 1 ? box->y0 : k == 2 ? box->x1 : box->y1;
    return s->p->bp_inside && (v < 0 || v > 1);
}

/* The loss of the offsets of prior i; its gradient goes to dloc if that is wanted. */
static double loc_term(const multi_state *s, int64_t n, int64_t i, int32_t place, void *dloc)
{
    double variance[4], sum = 0;
    int64_t at = loc_at(s, n, i, place);
    const truth *t = &s->truths[s->match[place * s->P + i]];
    dni_box prior = prior_of(s, i, variance);
    dni_box box = matched_box(s, n, i, place, s->p->use_prior_for_matching);
    dni_box code = dni_box_encode((int32_t)s->p->code_type, &prior, variance, &t->box);
    double target[4] = {code.x0, code.y0, code.x1, code.y1};
    bool l2 = s->p->loc_loss_type == CNN__MULTI_BOX_LOSS_PARAMETER__LOC_LOSS_TYPE__L2;
    for (int32_t k = 0; k < 4; k++) {
        double x = dni_get(s->loc, s->layer->dtype, at + k);
        if (s->p->encode_variance_in_target)
            x /= variance[k];
        double d = is_outside(s, &box, k) ? 0 : x - target[k];
        bool inner = l2 || fabs(d) < 1;
        sum += inner ? d * d / 2 : fabs(d) - 0.5;
        if (dloc)
            dni_put(dloc, s->layer->dtype, at + k, inner ? d : d > 0 ? 1 : -1);
    }
    return sum;
}

static double softmax_term(const multi_state *s, int64_t at, int32_t label, void *dconf)
{
    int32_t dtype = s->layer->dtype;
    double largest = -INFINITY, sum = 0;
    for (int32_t c = 0; c < s->classes; c++)
        largest = fmax(largest, dni_get(s->conf, dtype, at + c));
    for (int32_t c = 0; c < s->classes; c++)
        sum += exp(dni_get(s->conf, dtype, at + c) - largest);
    for (int32_t c = 0; dconf && c < s->classes; c++)
        dni_put(dconf, dtype, at + c,
                exp(dni_get(s->conf, dtype, at + c) - largest) / sum - (c == label));
    double p = exp(dni_get(s->conf, dtype, at + label) - largest) / sum;
    return -log(fmax(p, FLT_MIN));
}

static double logistic_term(const multi_state *s, int64_t at, int32_t label, void *dconf)
{
    int32_t dtype = s->layer->dtype;
    double sum = 0;
    for (int32_t c = 0; c < s->classes; c++) {
        double x = dni_get(s->conf, dtype, at + c), t = c == label;
        sum += fmax(x, 0) - x * t + log1p(exp(-fabs(x)));
        if (dconf)
            dni_put(dconf, dtype, at + c, 1 / (1 + exp(-x)) - t);
    }
    return sum;
}

/* The loss of the scores of prior i against a label, -1: none of the classes. */
static double conf_term(const multi_state *s, int64_t n, int64_t i, int32_t label, void *dconf)
{
    int64_t at = (n * s->P + i) * s->classes;
    return s->p->conf_loss_type == CNN__MULTI_BOX_LOSS_PARAMETER__CONF_LOSS_TYPE__LOGISTIC
               ? logistic_term(s, at, label, dconf)
               : softmax_term(s, at, label, dconf);
}

static int32_t label_of(const multi_state *s, int32_t match)
{
    int32_t background = (int32_t)s->p->background_label_id;
    if (match < 0)
        return background < s->classes ? background : -1;
    return s->p->map_object_to_agnostic ? background + 1 : s->truths[match].label;
}

/* ---- mining ------------------------------------------------------------------------------ */

static bool is_eligible(const multi_state *s, int64_t i)
{
    if (s->mining == CNN__MULTI_BOX_LOSS_PARAMETER__MINING_TYPE__HARD_EXAMPLE)
        return true;
    return s->match[i] == UNMATCHED && s->overlap[i] < s->p->neg_overlap;
}

/* The priors that may be taken, with their losses as they stand, worst first; after suppression
 * if that is asked for. */
static int64_t rank_candidates(multi_state *s, int64_t n)
{
    const Cnn__NonMaximumSuppressionParameter *nms = s->p->nms_param;
    bool hard = s->mining == CNN__MULTI_BOX_LOSS_PARAMETER__MINING_TYPE__HARD_EXAMPLE;
    int64_t count = 0;
    for (int64_t i = 0; i < s->P; i++) {
        if (!is_eligible(s, i))
            continue;
        double loss = conf_term(s, n, i, label_of(s, s->match[i]), NULL);
        if (hard && s->match[i] >= 0)
            loss += loc_term(s, n, i, 0, NULL);
        s->list[count++] = (dni_scored){loss, i};
    }
    dni_sort_scored(s->list, count);
    if (!nms || nms->nms_threshold <= 0)
        return count;
    for (int64_t i = 0; i < s->P; i++)
        s->boxes[i] = matched_box(s, n, i, 0, s->p->use_prior_for_nms);
    if (nms->has_top_k && nms->top_k >= 0 && nms->top_k < count)
        count = nms->top_k;
    return dni_suppress(s->list, count, s->boxes, nms->nms_threshold, 1, 0);
}

/* Marks the negatives in taken; of hard examples, a matched prior not chosen loses its match.
 */
static void mine(multi_state *s, int64_t n)
{
    bool hard = s->mining == CNN__MULTI_BOX_LOSS_PARAMETER__MINING_TYPE__HARD_EXAMPLE;
    int64_t positives = 0, count = rank_candidates(s, n);
    for (int64_t i = 0; i < s->P; i++) {
        s->taken[i] = false;
        positives += s->match[i] >= 0;
    }
    double most = hard ? s->p->sample_size : floor((double)positives * s->p->neg_pos_ratio);
    for (int64_t k = 0; k < count && (double)k < most; k++)
        s->taken[s->list[k].index] = true;
    for (int64_t i = 0; i < s->P; i++) {
        bool chosen = s->taken[i];
        s->taken[i] = chosen && s->match[i] == UNMATCHED;
        if (hard && !chosen && s->match[i] >= 0)
            s->match[i] = UNMATCHED;
    }
}

/* ---- running ----------------------------------------------------------------------------- */

static void add_image(multi_state *s, int64_t n)
{
    bool mines = s->mining != CNN__MULTI_BOX_LOSS_PARAMETER__MINING_TYPE__NONE;
    if (s->num_truths)
        match_image(s, n);
    if (s->num_truths && mines)
        mine(s, n);
    for (int64_t i = 0; i < s->P; i++) {
        int32_t match = UNMATCHED;
        for (int32_t c = 0; s->num_truths && c < s->places; c++) {
            if (s->match[c * s->P + i] < 0)
                continue;
            match = s->match[c * s->P + i];
            s->matches++;
            s->loc_loss += loc_term(s, n, i, c, s->dloc);
        }
        if (!mines || match >= 0 || (s->num_truths && s->taken[i]))
            s->conf_loss += conf_term(s, n, i, label_of(s, match), s->dconf);
    }
}

static double normalizer(const multi_state *s)
{
    int64_t z = 1;
    switch (s->normalization) {
    case CNN__LOSS_PARAMETER__NORMALIZATION_MODE__FULL:
        z = s->N * s->P;
        break;
    case CNN__LOSS_PARAMETER__NORMALIZATION_MODE__VALID:
        z = s->matches;
        break;
    case CNN__LOSS_PARAMETER__NORMALIZATION_MODE__BATCH_SIZE:
        z = s->N;
        break;
    }
    return z > 1 ? (double)z : 1;
}

static void clear(const multi_state *s, void *values, int64_t count)
{
    if (values)
        memset(values, 0, (size_t)count * dni_dtype_size(s->layer->dtype));
}

static void scale(const multi_state *s, void *values, int64_t count, double by)
{
    for (int64_t i = 0; values && i < count; i++)
        dni_put(values, s->layer->dtype, i, by * dni_get(values, s->layer->dtype, i));
}

/* A part whose bottom the prototxt wants no gradient for is not in the loss either. */
static double share(const multi_state *s, size_t bottom)
{
    const Cnn__LayerParameter *p = s->layer->param;
    return bottom < p->n_propagate_down && !p->propagate_down[bottom] ? 0 : 1;
}

/* loc, conf, priors, truth -> loss, [dL/dloc], [dL/dconf] */
static dn_status run(void *user, void *const *in, void *const *out)
{
    multi_state *s = user;
    int64_t num_loc = s->N * s->P * s->places * 4, num_conf = s->N * s->P * s->classes;
    dn_status st = DN_OK;
    s->loc = in[0], s->conf = in[1], s->priors = in[2];
    s->dloc = out[1], s->dconf = out[2];
    s->loc_loss = s->conf_loss = 0;
    s->matches = 0;
    clear(s, s->dloc, num_loc);
    clear(s, s->dconf, num_conf);
    for (int64_t n = 0; !st && n < s->N; n++) {
        st = read_truths(s, in[3], n);
        if (!st)
            add_image(s, n);
    }
    double z = normalizer(s), loc = share(s, 0) * s->p->loc_weight / z, conf = share(s, 1) / z;
    dni_put(out[0], s->layer->dtype, 0, loc * s->loc_loss + conf * s->conf_loss);
    scale(s, s->dloc, num_loc, loc);
    scale(s, s->dconf, num_conf, conf);
    return st;
}

static void forward(dni_layer *layer, dni_builder *b)
{
    multi_state *s = layer->state;
    dn_args_host_call call = {.fn = run, .user = s};
    for (int32_t i = 0; i < 2; i++)
        s->g[i] = layer->propagate[i] ? dni_temp_like(b, b->x[i]) : DNI_NONE;
    dni_emit(b, DN_OP_HOST_CALL, &call, 4, b->x, DNI_TENSORS(b->y[0], s->g[0], s->g[1]));
}

static void backward(dni_layer *layer, dni_builder *b)
{
    const multi_state *s = layer->state;
    for (int32_t i = 0; i < 2; i++)
        if (b->dx[i] != DNI_NONE)
            dni_emit_bcast(b, DN_BCAST_MUL, dni_tensor_count(b, b->x[i]), 1, 1, s->g[i],
                           b->dy[0], b->dx[i]);
}

const dni_layer_class dni_layer_multi_box_loss = {
    .type = "MultiBoxLoss",
    .bottoms_min = 4,
    .bottoms_max = 4,
    .tops_min = 1,
    .tops_max = 1,
    .flags = DNI_LAYER_LOSS,
    .no_gradient = 1u << 2 | 1u << 3,
    .state_size = sizeof(multi_state),
    .setup = setup,
    .shape = shape,
    .forward = forward,
    .backward = backward,
    .teardown = teardown,
};
