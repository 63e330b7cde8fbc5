/* SPDX-License-Identifier: BSD-2-Clause
 * deepnet.hpp: what it owns, what it throws, and that nothing thrown crosses C. */
#include "deepnet.hpp"

#include <cmath>
#include <cstdio>
#include <string>
#include <type_traits>

static int failures;

#define CHECK(condition)                                                                       \
    do {                                                                                       \
        if (!(condition)) {                                                                    \
            std::fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);               \
            failures++;                                                                        \
        }                                                                                      \
    } while (0)

static const char net_text[] =
    "layer { name: 'x' type: 'Input' top: 'x' input_param { shape { dim: 2 dim: 2 } } }"
    "layer { name: 't' type: 'Input' top: 't' input_param { shape { dim: 2 dim: 1 } } }"
    "layer { name: 'y' type: 'InnerProduct' bottom: 'x' top: 'y'"
    "  inner_product_param { num_output: 1 weight_filler { value: 3 } } }"
    "layer { name: 'loss' type: 'EuclideanLoss' bottom: 'y' bottom: 't' top: 'loss' }";

static const char solver_text[] = "base_lr: 0.01 lr_policy: 'fixed' max_iter: 10";

/* The status of what a call throws; 0 if it does not. */
template <class F> static dn_status thrown(F call) {
    try {
        call();
    } catch (const deepnet::Error &error) {
        return std::string(error.what()).empty() ? 1 : error.status();
    }
    return DN_OK;
}

static void test_net(const deepnet::Context &context) {
    deepnet::Net net = deepnet::Net::from_text(context, net_text);
    net["x"].write({1, 2, 3, 4});
    net["t"].write({9, 20});
    const float loss = net.forward();
    CHECK(std::fabs(loss - 0.25f) < 1e-6f); /* y = 9, 21: (0 + 1) / (2 * 2) */
    CHECK(net["y"].read() == std::vector<float>({9, 21}));
    CHECK(net.inputs().size() == 2 && net.inputs()[0].name() == "x");
    CHECK(net.params("y").size() == 2);
    CHECK((net["x"].shape() == std::vector<int64_t>{2, 2}));
    net.clear_gradients();
    net.backward();
    CHECK(std::fabs(net.params("y")[1].diff()[0] - 0.5f) < 1e-6f);

    deepnet::Net second = net.shared();
    CHECK(second.params("y")[0].data() == net.params("y")[0].data());
    deepnet::Net moved = std::move(second);
    moved["x"].reshape({1, 2});
    moved["t"].reshape({1, 1});
    moved["x"].write({1, 1});
    moved.forward();
    CHECK(moved["y"].count() == 1 && moved["y"].data()[0] == 6);
    CHECK(!net.describe().empty() && !net.prototxt().empty());
}

static void test_errors(const deepnet::Context &context) {
    deepnet::Net net = deepnet::Net::from_text(context, net_text);
    CHECK(thrown([&] { deepnet::Net(context, "/nowhere.prototxt"); }) == DN_E_IO);
    CHECK(thrown([&] { deepnet::Net::from_text(context, "layer {"); }) == DN_E_PARSE);
    CHECK(thrown([&] { net["nothing"]; }) == DN_E_NOTFOUND);
    CHECK(thrown([&] { net.params("nothing"); }) == DN_E_NOTFOUND);
    CHECK(thrown([&] { net["x"].write({1}); }) == DN_E_INVALID);
    CHECK(thrown([&] { net.load("/nowhere.caffemodel"); }) == DN_E_IO);
}

static void test_solver(const deepnet::Context &context) {
    int steps = 0;
    deepnet::Solver solver = deepnet::Solver::from_text(
        context, solver_text, net_text, [&](const dn_event &event) {
            if (event.kind == DN_EVENT_STEP_END && ++steps == 4)
                throw std::string("enough");
        });
    solver.net()["x"].write({1, 2, 3, 4});
    solver.net()["t"].write({1, 2});
    solver.step(3);
    CHECK(steps == 3 && solver.iteration() == 3);
    std::string caught;
    try {
        solver.step(3);
    } catch (const std::string &what) {
        caught = what;
    }
    CHECK(caught == "enough" && solver.iteration() == 4);
    solver.step(1);
    CHECK(solver.iteration() == 5 && solver.learning_rate() > 0);
    CHECK(thrown([&] { solver.test_net(0); }) == DN_E_NOTFOUND);
}

static void test_parallel(const deepnet::Context &context) {
    const deepnet::Context other;
    int steps[2] = {0, 0};
    std::vector<deepnet::Solver> solvers;
    for (int32_t r = 0; r < 2; r++) {
        dn_solver_options options = deepnet::solver_options();
        options.rank = r;
        options.num_ranks = 2;
        solvers.push_back(deepnet::Solver::from_text(
            r ? other : context, solver_text, net_text,
            [&steps, r](const dn_event &event) {
                if (event.kind == DN_EVENT_STEP_END && ++steps[r] == 3 && r)
                    throw std::string("enough");
            },
            options));
        solvers[static_cast<size_t>(r)].net()["x"].write({1, 2, 3, 4});
        solvers[static_cast<size_t>(r)].net()["t"].write({1, static_cast<float>(r)});
    }
    deepnet::Parallel both(std::move(solvers));
    deepnet::Parallel moved(std::move(both));
    CHECK(moved.transport() == "host");
    moved.step(2);
    CHECK(steps[0] == 2 && steps[1] == 2 && moved[1].iteration() == 2);
    std::string caught;
    try {
        moved.step(2);
    } catch (const std::string &what) {
        caught = what;
    }
    CHECK(caught == "enough");
    moved.step(1);
    CHECK(moved[0].iteration() == moved[1].iteration());
    CHECK(thrown([&] { moved[0].step(1); }) == DN_E_STATE);
    CHECK(thrown([] { deepnet::Parallel none({}); }) == DN_E_INVALID);
}

static_assert(!std::is_copy_constructible<deepnet::Net>::value, "a net has one owner");
static_assert(std::is_nothrow_move_constructible<deepnet::Context>::value, "owners move");

int main() {
    try {
        deepnet::Context context;
        CHECK(context.num_threads() >= 1 && !context.backends().empty());
        test_net(context);
        test_errors(context);
        test_solver(context);
        test_parallel(context);
    } catch (const std::exception &error) {
        std::fprintf(stderr, "unexpected: %s\n", error.what());
        failures++;
    }
    std::printf("%d failed\n", failures);
    return failures != 0;
}
