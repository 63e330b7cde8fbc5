/* SPDX-License-Identifier: BSD-2-Clause
 * embed.cpp: a C++ program whose own loop trains a net on its own data: XOR, in memory.
 * Build: c++ -std=c++11 embed.cpp $(pkg-config --cflags --libs deepnet) */
#include <deepnet.hpp>

#include <cstdio>

static const char net[] = R"(
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 4 dim: 2 } } }
layer { name: "t" type: "Input" top: "t" input_param { shape { dim: 4 dim: 1 } } }
layer { name: "hidden" type: "InnerProduct" bottom: "x" top: "hidden"
  inner_product_param { num_output: 8 weight_filler { type: "xavier" } } }
layer { name: "tanh" type: "TanH" bottom: "hidden" top: "hidden" }
layer { name: "y" type: "InnerProduct" bottom: "hidden" top: "y"
  inner_product_param { num_output: 1 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "EuclideanLoss" bottom: "y" bottom: "t" top: "loss" }
)";

int main() {
    try {
        deepnet::Context context;
        deepnet::Solver solver = deepnet::Solver::from_text(
            context,
            "type: 'Adam' base_lr: 0.05 lr_policy: 'fixed' momentum: 0.9 max_iter: 500", net);
        deepnet::NetRef train = solver.net();
        for (int i = 0; i < 500; i++) {
            train["x"].write({0, 0, 0, 1, 1, 0, 1, 1});
            train["t"].write({0, 1, 1, 0});
            train.clear_gradients();
            const float loss = train.forward();
            train.backward();
            solver.apply_update();
            if (i % 100 == 0)
                std::printf("%3d: loss %.4f\n", i, static_cast<double>(loss));
        }
        for (float y : train["y"].read())
            std::printf("%.2f ", static_cast<double>(y));
        std::printf("\n");
    } catch (const deepnet::Error &error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 1;
    }
    return 0;
}
