/* SPDX-License-Identifier: BSD-2-Clause
 * check_choices.c: what the oneDNN module expects of a convolution, by which it is chosen and
 * cut, on machines that need not be there: with AVX2, AVX-512, its bf16, AMX. */
#include "../../kernels/onednn/onednn.h"
#include "check.h"

/* What geometry.c asks of the rest of the module. */
dn_status one_decline(dn_op_info *info, const char *reason)
{
    snprintf(info->reason, sizeof info->reason, "%s", reason);
    return DN_DECLINED;
}

void *one_alloc(const dn_backend *backend, size_t count, size_t size)
{
    (void)backend;
    return calloc(count, size);
}

static const dn_backend avx2 = {.avx512 = false}, avx512 = {.avx512 = true},
                        bf16 = {.avx512 = true, .bf16 = true},
                        amx = {.avx512 = true, .bf16 = true, .amx = true};

typedef struct shape { /* of a square convolution that keeps its images' size */
    int64_t N, C, K, side, window, group;
} shape;

static one_geo geometry(const dn_backend *backend, int32_t kind, const shape *s, int32_t dtype)
{
    const int32_t window = (int32_t)s->window;
    dn_operand x = {dtype, DN_LAYOUT_NHWC, {.axes = 4, .dim = {s->N, s->C, s->side, s->side}}};
    dn_operand y = {dtype, DN_LAYOUT_NHWC, {.axes = 4, .dim = {s->N, s->K, s->side, s->side}}};
    dn_operand w = {
        DN_F32, DN_LAYOUT_PLAIN, {.axes = 4, .dim = {s->K, s->C / s->group, window, window}}};
    dn_args_conv args = {.spatial = 2,
                         .kernel = {window, window},
                         .stride = {1, 1},
                         .pad = {window / 2, window / 2},
                         .dilation = {1, 1},
                         .group = (int32_t)s->group};
    dn_operand in[] = {x, kind == DN_OP_CONV_BWD_WEIGHTS ? y : w};
    dn_op_desc desc = {.kind = kind,
                       .num_inputs = 2,
                       .num_outputs = 1,
                       .inputs = in,
                       .outputs = kind == DN_OP_CONV_BWD_WEIGHTS ? &w : &y,
                       .args = &args};
    dn_op_info info = {.reason = ""};
    one_geo g;
    CHECK_AT(one_geo_init(&g, backend, &desc, &info), "declined: %s", info.reason);
    return g;
}

static double cost(const dn_backend *backend, int32_t kind, const shape *s, int32_t dtype)
{
    one_geo g = geometry(backend, kind, s, dtype);
    return one_geo_cost(backend, &g, kind);
}

/* Products that take longer than what they read and write does. */
static void check_products(void)
{
    const shape s = {16, 256, 384, 13, 3, 1};
    double wide = cost(&avx512, DN_OP_CONV, &s, DN_F32);
    SECTION("products");
    CHECK_NEAR(wide, 2.0 * 16 * 384 * 169 * 256 * 9 / 115, 1);
    CHECK_NEAR(cost(&bf16, DN_OP_CONV, &s, DN_BF16), wide / 2, 1);
    CHECK_NEAR(cost(&amx, DN_OP_CONV, &s, DN_BF16), wide / 8, 1);
    CHECK_NEAR(cost(&amx, DN_OP_CONV, &s, DN_F32), wide, 1e-6 * wide);
}

/* AMX waits for memory: for bf16, half of what f32 is. Other machines choose as they did. */
static void check_bytes(void)
{
    const shape s = {8, 32, 64, 112, 1, 1};
    double elements = 8.0 * (32 + 64) * 112 * 112;
    SECTION("bytes");
    CHECK_NEAR(cost(&amx, DN_OP_CONV, &s, DN_BF16), 2 * elements / 10, 1);
    CHECK_NEAR(cost(&bf16, DN_OP_CONV, &s, DN_BF16), 4 * elements / 10, 1);
}

/* With AVX2 groups of 8 and 16 channels are cpu's, which says 2.09 and 1.77 ms of these. */
static void check_groups(void)
{
    const shape four = {4, 128, 128, 56, 3, 32}, eight = {4, 256, 256, 28, 3, 32},
                sixteen = {4, 512, 512, 14, 3, 32};
    double same = 2.0 * 4 * 512 * 196 * 16 * 9;
    SECTION("groups");
    CHECK_NEAR(cost(&avx2, DN_OP_CONV, &four, DN_F32), same / (115 * 0.25 * 0.9), 1);
    CHECK_NEAR(cost(&avx2, DN_OP_CONV, &eight, DN_F32), same / 52, 1);
    CHECK_NEAR(cost(&avx2, DN_OP_CONV, &sixteen, DN_F32), same / 52, 1);
    CHECK_NEAR(cost(&avx512, DN_OP_CONV, &sixteen, DN_F32), same / 115, 1);
}

static int64_t gradients(const dn_backend *backend, const shape *s)
{
    one_geo g = geometry(backend, DN_OP_CONV_BWD_WEIGHTS, s, DN_BF16);
    return one_geo_gradients(backend, &g);
}

/* Gradients of all weights, one a piece, are added up at the speed of memory: the faster the
 * product, the fewer. */
static void check_gradients(void)
{
    const shape early = {4, 64, 64, 56, 1, 1}, late = {8, 512, 512, 14, 1, 1};
    SECTION("gradients");
    CHECK_INT(gradients(&bf16, &early), 16);
    CHECK_INT(gradients(&amx, &early), 9);
    CHECK_INT(gradients(&bf16, &late), 2);
    CHECK_INT(gradients(&amx, &late), 2);
}

int main(void)
{
    check_products();
    check_bytes();
    check_groups();
    check_gradients();
    return check_summary();
}
