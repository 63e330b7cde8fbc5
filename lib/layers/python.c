/* SPDX-License-Identifier: BSD-2-Clause
 * Python: a layer whose code is a Python class of the host. Those of the Faster R-CNN family
 * are known: ProposalLayer runs as Proposal; AnchorTargetLayer and ProposalTargetLayer draw
 * what its nets learn from (rpn_targets.h); RoIDataLayer wires. Any other needs the host's own
 * class of that name, and is refused without it; a net that is only wired takes its tops for
 * images and class maps by their names if it has no bottoms, for a loss if it has a
 * loss_weight, else for maps like bottom 0.
 * python_param: module, layer (both required), param_str (of the known: feat_stride, scales,
 * allowed_border, num_classes), share_in_parallel (ignored). bottoms, tops, gradient: as the
 * class has them. */
#include <string.h>

#include "deepnet/net.h"
#include "layers/guess.h"
#include "layers/rpn_targets.h"

enum { ROI_DATA, ANCHOR_TARGET, PROPOSAL_TARGET, PROPOSAL, OTHER };

typedef struct python_state {
    int32_t kind;
    int64_t classes;
    dni_proposal proposal;   /* of PROPOSAL */
    dni_rpn_targets targets; /* of the TARGETs */
} python_state;

static const char *const names[] = {"RoIDataLayer", "AnchorTargetLayer", "ProposalTargetLayer",
                                    "ProposalLayer"};

/* The numbers after key in param_str, which is YAML or a Python dictionary. */
static int32_t numbers(const Cnn__PythonParameter *p, const char *key, double *out,
                       int32_t most)
{
    const char *at = p->param_str ? strstr(p->param_str, key) : NULL;
    int32_t n = 0;
    if (!at)
        return 0;
    at += strlen(key);
    const char *end = at + strlen(at);
    at += strcspn(at, "0123456789(["); /* past ': !!python/tuple ' */
    bool list = *at == '(' || *at == '[';
    while (n < most && at < end) {
        at += strspn(at, " ,([");
        const char *stop = dni_parse_number(at, end, &out[n]);
        if (!stop || stop == at)
            break;
        n++;
        at = stop;
        if (!list)
            break;
    }
    return n;
}

static dn_status read_anchors(dni_layer *layer, const Cnn__PythonParameter *p, dni_proposal *s)
{
    double stride = 0, scale[DNI_PROPOSAL_LIST];
    dni_proposal_defaults(layer, s);
    if (layer->phase == DN_PHASE_TRAIN) /* the family's own defaults */
        s->before = 12000, s->after = 2000;
    if (numbers(p, "feat_stride", &stride, 1))
        s->stride = stride;
    int32_t n = numbers(p, "scales", scale, DNI_PROPOSAL_LIST);
    for (int32_t i = 0; i < n; i++)
        s->scale[i] = scale[i];
    if (n)
        s->num_scales = n;
    DNI_REQUIRE(s->stride > 0, DN_E_NET, "feat_stride must be positive");
    return DN_OK;
}

static dn_status setup(dni_layer *layer)
{
    const Cnn__PythonParameter *p = layer->param->python_param;
    python_state *s = layer->state;
    double classes = 21;
    DNI_REQUIRE(p && p->module && p->layer, DN_E_NET, "python_param needs module and layer");
    s->kind = 0;
    while (s->kind < OTHER && strcmp(names[s->kind], p->layer))
        s->kind++;
    if (s->kind == PROPOSAL)
        return read_anchors(layer, p, &s->proposal);
    numbers(p, "num_classes", &classes, 1);
    DNI_REQUIRE(classes >= 1 && classes < 1 << 20, DN_E_NET, "num_classes is out of range");
    s->classes = (int64_t)classes;
    s->targets = (dni_rpn_targets){.layer = layer, .classes = s->classes};
    numbers(p, "allowed_border", &s->targets.border, 1);
    if (s->kind == ANCHOR_TARGET)
        return read_anchors(layer, p, &s->targets.anchor);
    layer->guessed = layer->wire_only && s->kind == OTHER;
    if (layer->wire_only || s->kind == PROPOSAL_TARGET)
        return DN_OK;
    return dni_fail(DN_E_UNSUPPORTED,
                    "the layer is Python code ('%s' of module '%s') that only a host with an "
                    "implementation of it can run",
                    p->layer, p->module);
}

#define REGIONS 128 /* drawn from a batch */

/* Top i of the layers that draw regions, from regions on. */
static dni_shape drawn(const python_state *s, int32_t i)
{
    if (i < 2)
        return dni_shape_of(i == 0 ? 2 : 1, (int64_t[]){REGIONS, 5});
    return dni_shape_of(2, (int64_t[]){REGIONS, 4 * s->classes});
}

#define SIDE 500 /* of a picture for segmentation */

static dni_shape host_top(const dni_layer *layer, int32_t i)
{
    const char *name = layer->top_names[i];
    if (layer->param->n_loss_weight)
        return dni_shape_of(0, NULL);
    if (layer->num_bottoms)
        return layer->bottom[0];
    dni_shape y = dni_guess_top(layer, 1, name, NULL);
    if (y.axes == 4 || dni_guess_is_label(name))
        y = dni_shape_of(4, (int64_t[]){1, y.axes == 4 ? y.dim[1] : 1, SIDE, SIDE});
    return y;
}

/* As the classes of the family shape them before their first batch. */
static dn_status shape(dni_layer *layer)
{
    python_state *s = layer->state;
    if (s->kind == PROPOSAL)
        return dni_proposal_shape(layer, &s->proposal);
    if (s->kind == ANCHOR_TARGET)
        return dni_anchor_target_shape(layer, &s->targets);
    if (s->kind == PROPOSAL_TARGET)
        return dni_proposal_target_shape(layer, &s->targets);
    for (int32_t i = 0; i < layer->num_tops; i++) {
        dni_shape *y = &layer->top[i];
        if (s->kind == OTHER)
            *y = host_top(layer, i);
        else if (i == 0)
            *y = dni_shape_of(4, (int64_t[]){1, 3, 600, 1000});
        else if (!strcmp(layer->top_names[1], "im_info")) /* then the true boxes */
            *y = dni_shape_of(2, (int64_t[]){1, i == 1 ? 3 : 5});
        else
            *y = drawn(s, i - 1);
    }
    return DN_OK;
}

static void forward(dni_layer *layer, dni_builder *b)
{
    python_state *s = layer->state;
    if (s->kind == PROPOSAL)
        dni_proposal_forward(&s->proposal, b);
    else if (s->kind == ANCHOR_TARGET)
        dni_anchor_target_forward(&s->targets, b);
    else if (s->kind == PROPOSAL_TARGET)
        dni_proposal_target_forward(&s->targets, b);
}

const dni_layer_class dni_layer_python = {
    .type = "Python",
    .bottoms_min = 0,
    .bottoms_max = -1,
    .tops_min = 0,
    .tops_max = -1,
    .flags = DNI_LAYER_DYNAMIC | DNI_LAYER_READS_TOP,
    .state_size = sizeof(python_state),
    .setup = setup,
    .shape = shape,
    .forward = forward,
};
