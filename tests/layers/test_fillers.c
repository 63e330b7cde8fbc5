/* SPDX-License-Identifier: BSD-2-Clause
 * test_fillers.c: each filler against the numbers its definition gives. */
#include "layers/layer.h"

#include "check.h"

#define ROWS  50
#define COLS  40
#define COUNT (ROWS * COLS)

static double values[COUNT];

static Cnn__FillerParameter filler(const char *type)
{
    Cnn__FillerParameter f = CNN__FILLER_PARAMETER__INIT;
    f.type = (char *)type;
    return f;
}

static dn_status fill(const Cnn__FillerParameter *f)
{
    dni_shape shape = dni_shape_of(2, (int64_t[]){ROWS, COLS});
    return dni_fill(f, &shape, DN_F64, values, 7, 11);
}

static double mean(void)
{
    double sum = 0;
    for (int i = 0; i < COUNT; i++)
        sum += values[i];
    return sum / COUNT;
}

static double deviation(void)
{
    double sum = 0, m = mean();
    for (int i = 0; i < COUNT; i++)
        sum += (values[i] - m) * (values[i] - m);
    return sqrt(sum / COUNT);
}

static bool within(double low, double high)
{
    for (int i = 0; i < COUNT; i++)
        if (!(values[i] >= low && values[i] <= high))
            return false;
    return true;
}

/* Statistics of 2,000 values: four standard errors of slack. */
static void check_random(void)
{
    SECTION("uniform");
    Cnn__FillerParameter f = filler("uniform");
    f.min = -1, f.max = 3;
    CHECK_STATUS(fill(&f), DN_OK);
    CHECK(within(-1, 3));
    CHECK_NEAR(mean(), 1, 0.11);
    CHECK_NEAR(deviation(), 4 / sqrt(12), 0.06);
    SECTION("gaussian");
    f = filler("gaussian");
    f.mean = 2, f.std = 0.5f;
    CHECK_STATUS(fill(&f), DN_OK);
    CHECK_NEAR(mean(), 2, 0.045);
    CHECK_NEAR(deviation(), 0.5, 0.035);
    SECTION("gaussian, sparse");
    f.mean = 0, f.sparse = 10;
    CHECK_STATUS(fill(&f), DN_OK);
    int zeros = 0;
    for (int i = 0; i < COUNT; i++)
        zeros += values[i] == 0;
    CHECK_NEAR((double)zeros / COUNT, 0.8, 0.036);
    f.sparse = 0;
    CHECK_STATUS(fill(&f), DN_OK);
    CHECK(within(0, 0));
    f.sparse = -2;
    CHECK_MESSAGE(fill(&f), DN_E_NET, "sparse");
}

static void check_scaled(void)
{
    static const struct {
        Cnn__FillerParameter__VarianceNorm norm;
        double fan;
    } norms[] = {
        {CNN__FILLER_PARAMETER__VARIANCE_NORM__FAN_IN, COLS},
        {CNN__FILLER_PARAMETER__VARIANCE_NORM__FAN_OUT, ROWS},
        {CNN__FILLER_PARAMETER__VARIANCE_NORM__AVERAGE, (ROWS + COLS) / 2.0},
    };
    for (size_t i = 0; i < DNI_COUNT(norms); i++) {
        SECTION("xavier");
        Cnn__FillerParameter f = filler("xavier");
        f.variance_norm = norms[i].norm;
        double limit = sqrt(3 / norms[i].fan);
        CHECK_STATUS(fill(&f), DN_OK);
        CHECK(within(-limit, limit) && !within(-0.98 * limit, 0.98 * limit));
        SECTION("msra");
        f.type = (char *)"msra";
        CHECK_STATUS(fill(&f), DN_OK);
        CHECK_NEAR(deviation() / sqrt(2 / norms[i].fan), 1, 0.07);
        CHECK_NEAR(mean(), 0, 4 * sqrt(2 / norms[i].fan / COUNT));
        f.alpha = 0.75f;
        CHECK_STATUS(fill(&f), DN_OK);
        CHECK_NEAR(deviation() / sqrt(2 / norms[i].fan), 0.8, 0.06);
    }
}

static void check_exact(void)
{
    SECTION("constant");
    Cnn__FillerParameter f = filler("constant");
    f.value = 1.5f;
    CHECK_STATUS(fill(&f), DN_OK);
    CHECK(within(1.5, 1.5));
    CHECK_STATUS(fill(NULL), DN_OK);
    CHECK(within(0, 0));
    SECTION("positive_unitball");
    f = filler("positive_unitball");
    CHECK_STATUS(fill(&f), DN_OK);
    CHECK(within(0, 1));
    for (int row = 0; row < ROWS; row++) {
        double sum = 0;
        for (int i = 0; i < COLS; i++)
            sum += values[row * COLS + i];
        CHECK_NEAR(sum, 1, 1e-12);
    }
    SECTION("bilinear");
    static const double weight[4] = {0.25, 0.75, 0.75, 0.25};
    dni_shape shape = dni_shape_of(4, (int64_t[]){2, 1, 4, 4});
    f = filler("bilinear");
    CHECK_STATUS(dni_fill(&f, &shape, DN_F64, values, 1, 1), DN_OK);
    for (int i = 0; i < 32; i++)
        CHECK_NEAR(values[i], weight[i / 4 % 4] * weight[i % 4], 1e-15);
    shape.dim[3] = 3;
    CHECK_MESSAGE(dni_fill(&f, &shape, DN_F64, values, 1, 1), DN_E_SHAPE, "square");
    static const double odd[3] = {0.25, 0.75, 0.75}; /* as Caffe has it */
    shape.dim[2] = 3;
    CHECK_STATUS(dni_fill(&f, &shape, DN_F64, values, 1, 1), DN_OK);
    for (int i = 0; i < 18; i++)
        CHECK_NEAR(values[i], odd[i / 3 % 3] * odd[i % 3], 1e-15);
    CHECK_MESSAGE(fill(&f), DN_E_SHAPE, "2 axes");
    SECTION("unknown");
    f = filler("gausian");
    CHECK_MESSAGE(fill(&f), DN_E_NET, "'gaussian'");
    f = filler("nothing like it");
    CHECK_MESSAGE(fill(&f), DN_E_NET, "nothing like it");
}

static void check_streams(void)
{
    static float single[COUNT];
    static double other[COUNT];
    dni_shape shape = dni_shape_of(2, (int64_t[]){ROWS, COLS});
    SECTION("streams");
    Cnn__FillerParameter f = filler("gaussian");
    CHECK_STATUS(fill(&f), DN_OK);
    CHECK_STATUS(dni_fill(&f, &shape, DN_F32, single, 7, 11), DN_OK);
    bool same = true;
    for (int i = 0; i < COUNT; i++)
        same &= single[i] == (float)values[i];
    CHECK(same);
    CHECK_STATUS(dni_fill(&f, &shape, DN_F64, other, 7, 12), DN_OK);
    CHECK(memcmp(values, other, sizeof other) != 0);
    CHECK_STATUS(dni_fill(&f, &shape, DN_F64, other, 8, 11), DN_OK);
    CHECK(memcmp(values, other, sizeof other) != 0);
    CHECK_STATUS(dni_fill(&f, &shape, DN_F64, other, 7, 11), DN_OK);
    CHECK(memcmp(values, other, sizeof other) == 0);
}

int main(void)
{
    check_random();
    check_scaled();
    check_exact();
    check_streams();
    return check_summary();
}
