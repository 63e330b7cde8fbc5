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
#include "layers/loss.h"

typedef struct multi_state {
    dn_args_multi_box args; /* set by setup */
    dni_tensor g[2];        /* dL/dloc, dL/dconf for dy = 1, while lowering */
} multi_state;

static dn_status check(const Cnn__MultiBoxLossParameter *p, bool mines)
{
    DNI_REQUIRE(p->num_classes > 0 && p->num_classes < 1u << 20, DN_E_NET,
                "multibox_loss_param needs num_classes");
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
    return DN_OK;
}

static int32_t flags_of(const Cnn__MultiBoxLossParameter *p)
{
    bool bipartite = p->match_type == CNN__MULTI_BOX_LOSS_PARAMETER__MATCH_TYPE__BIPARTITE;
    bool l2 = p->loc_loss_type == CNN__MULTI_BOX_LOSS_PARAMETER__LOC_LOSS_TYPE__L2;
    bool logistic =
        p->conf_loss_type == CNN__MULTI_BOX_LOSS_PARAMETER__CONF_LOSS_TYPE__LOGISTIC;
    return (p->share_location ? 0 : DN_MULTI_APART) |
           (p->use_prior_for_matching ? DN_MULTI_PRIORS : 0) |
           (bipartite ? DN_MULTI_BIPARTITE : 0) | (p->use_difficult_gt ? 0 : DN_MULTI_EASY) |
           (l2 ? DN_MULTI_L2 : 0) | (logistic ? DN_MULTI_LOGISTIC : 0) |
           (p->encode_variance_in_target ? DN_MULTI_IN_TARGET : 0) |
           (p->bp_inside ? DN_MULTI_INSIDE : 0) |
           (p->map_object_to_agnostic ? DN_MULTI_AGNOSTIC : 0) |
           (p->ignore_cross_boundary_bbox ? DN_MULTI_NO_CROSSING : 0) |
           (p->use_prior_for_nms ? DN_MULTI_NMS_PRIORS : 0);
}

/* A part whose bottom the prototxt wants no gradient for is not in the loss either. */
static double share(const dni_layer *layer, size_t bottom)
{
    const Cnn__LayerParameter *p = layer->param;
    return bottom < p->n_propagate_down && !p->propagate_down[bottom] ? 0 : 1;
}

static dn_status setup(dni_layer *layer)
{
    const Cnn__MultiBoxLossParameter *p = layer->param->multibox_loss_param;
    dn_args_multi_box *a = &((multi_state *)layer->state)->args;
    DNI_REQUIRE(p, DN_E_NET, "multibox_loss_param needs num_classes");
    const Cnn__NonMaximumSuppressionParameter *nms = p->nms_param;
    bool none = p->has_do_neg_mining && !p->do_neg_mining && !p->has_mining_type;
    int32_t mining = none ? DN_MULTI_ALL : (int32_t)p->mining_type;
    dn_status st = check(p, mining != DN_MULTI_ALL);
    if (st)
        return st;
    *a = (dn_args_multi_box){
        .classes = (int32_t)p->num_classes,
        .background = (int32_t)p->background_label_id,
        .flags = flags_of(p),
        .mining = mining,
        .code = (int32_t)p->code_type,
        .normalization = dni_loss_normalization(layer->param->loss_param,
                                                CNN__LOSS_PARAMETER__NORMALIZATION_MODE__VALID),
        .sample = p->sample_size,
        .top_k = nms && nms->has_top_k ? nms->top_k : -1,
        .overlap = p->overlap_threshold,
        .neg_overlap = p->neg_overlap,
        .ratio = p->neg_pos_ratio,
        .nms = nms ? nms->nms_threshold : 0,
        .loc_weight = share(layer, 0) * p->loc_weight,
        .conf_weight = share(layer, 1)};
    DNI_REQUIRE(a->normalization <= CNN__LOSS_PARAMETER__NORMALIZATION_MODE__NONE,
                DN_E_UNSUPPORTED, "this normalization is not supported");
    return DN_OK;
}

static dn_status shape(dni_layer *layer)
{
    const dn_args_multi_box *a = &((const multi_state *)layer->state)->args;
    const dni_shape *x = layer->bottom;
    int32_t places = a->flags & DN_MULTI_APART ? a->classes : 1;
    DNI_REQUIRE(x[0].axes >= 1 && x[1].axes >= 1 && x[0].dim[0] == x[1].dim[0], DN_E_SHAPE,
                "bottoms 0 and 1 need as many images");
    DNI_REQUIRE(x[2].axes >= 3 && x[2].dim[1] == 2, DN_E_SHAPE,
                "bottom 2 must be priors, (1, 2, 4 P)");
    int64_t P = dni_shape_count(&x[2]) / 8, loc = dni_shape_range(&x[0], 1, x[0].axes),
            conf = dni_shape_range(&x[1], 1, x[1].axes);
    DNI_REQUIRE(dni_shape_count(&x[2]) == 8 * P && P <= INT32_MAX, DN_E_SHAPE,
                "bottom 2 must be priors, (1, 2, 4 P)");
    DNI_REQUIRE(x[3].axes >= 1 && x[3].dim[x[3].axes - 1] == 8, DN_E_SHAPE,
                "bottom 3 must be true boxes, (1, 1, G, 8)");
    DNI_REQUIRE(loc == P * places * 4, DN_E_SHAPE,
                "bottom 0 has %lld values an image, %lld priors and %d places need %lld",
                (long long)loc, (long long)P, places, (long long)(P * places * 4));
    DNI_REQUIRE(conf == P * a->classes, DN_E_SHAPE,
                "bottom 1 has %lld values an image, %lld priors of %d classes need %lld",
                (long long)conf, (long long)P, a->classes, (long long)(P * a->classes));
    layer->top[0] = dni_shape_of(0, NULL);
    return DN_OK;
}

static void forward(dni_layer *layer, dni_builder *b)
{
    multi_state *s = layer->state;
    for (int32_t i = 0; i < 2; i++)
        s->g[i] = layer->propagate[i] ? dni_temp_like(b, b->x[i]) : DNI_NONE;
    dni_emit_arrays(b, DN_OP_MULTI_BOX, &s->args, 4, b->x,
                    DNI_ARRAY(b->y[0], s->g[0], s->g[1]));
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
};
