/* SPDX-License-Identifier: BSD-2-Clause
 * deepnet.hpp: deepnet for C++11, header only, over the C API alone. Owners (Context, Net,
 * Solver, Parallel) move and free themselves; Blob and NetRef are borrowed; a failure is an
 * Error.
 *
 *     deepnet::Context context;
 *     deepnet::Net net(context, "lenet.prototxt");
 *     net.load("lenet.caffemodel");
 *     net["data"].write(pixels);
 *     net.forward();
 *     const float *prob = net["prob"].data();
 *
 * Thread-safety is that of the C API: one net or solver, one thread at a time. */
#ifndef DEEPNET_HPP
#define DEEPNET_HPP

#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "deepnet/deepnet.h"

namespace deepnet {

/* What a failed call throws: what() is the library's line, status() the DN_E_... number. */
class Error : public std::runtime_error {
public:
    Error(dn_status status, const std::string &line)
        : std::runtime_error(line), status_(status) {}
    dn_status status() const noexcept { return status_; }

private:
    dn_status status_;
};

namespace detail {

inline Error last_error(dn_status status) {
    const char *line = dn_last_error();
    return Error(status, line ? line : dn_status_name(status));
}

inline void check(dn_status status) {
    if (status != DN_OK)
        throw last_error(status);
}

template <class T> T *need(T *pointer, dn_status status) {
    if (!pointer)
        throw last_error(status);
    return pointer;
}

/* A zeroed struct of the API with its size set. */
template <class T> T sized() {
    T value = T();
    value.struct_size = sizeof(T);
    return value;
}

template <class T> struct Free {
    void (*free)(T *);
    void operator()(T *pointer) const { free(pointer); }
};
template <class T> using Owned = std::unique_ptr<T, Free<T>>;

} // namespace detail

inline dn_context_options context_options() { return detail::sized<dn_context_options>(); }
inline dn_net_options net_options() { return detail::sized<dn_net_options>(); }
inline dn_solver_options solver_options() { return detail::sized<dn_solver_options>(); }

/* Threads, memory and backends for nets and solvers, which keep it. */
class Context {
public:
    explicit Context(const dn_context_options &options = context_options())
        : context_(nullptr, {dn_context_free}) {
        dn_context *out = nullptr;
        detail::check(dn_context_create(&out, &options));
        context_.reset(out);
    }
    int num_threads() const { return dn_context_num_threads(get()); }
    std::vector<std::string> backends() const {
        std::vector<std::string> names;
        for (int32_t i = 0; i < dn_context_num_backends(get()); i++)
            names.emplace_back(dn_context_backend(get(), i));
        return names;
    }
    dn_context *get() const noexcept { return context_.get(); }

private:
    detail::Owned<dn_context> context_;
};

/* An array of a net, borrowed: as good as the net it comes from, and cheap to copy. */
class Blob {
public:
    explicit Blob(dn_blob *blob) : blob_(blob) {}
    std::string name() const { return dn_blob_name(blob_); }
    int64_t count() const { return dn_blob_count(blob_); }
    int64_t dim(int axis) const { return dn_blob_dim(blob_, axis); }
    std::vector<int64_t> shape() const {
        std::vector<int64_t> dims;
        for (int32_t axis = 0; axis < dn_blob_axes(blob_); axis++)
            dims.push_back(dn_blob_dim(blob_, axis));
        return dims;
    }

    /* Host views, valid until the net is run, reshaped or freed. */
    const float *data() const { return need(dn_blob_data(blob_)); }
    const float *diff() const { return need(dn_blob_diff(blob_)); }
    float *mutable_data() { return need(dn_blob_mutable_data(blob_)); }
    float *mutable_diff() { return need(dn_blob_mutable_diff(blob_)); }

    void write(const std::vector<float> &values) {
        write(values.data(), static_cast<int64_t>(values.size()));
    }
    void write(const float *values, int64_t count) {
        detail::check(dn_blob_write(blob_, values, count));
    }
    std::vector<float> read() const {
        std::vector<float> values(static_cast<size_t>(count()));
        detail::check(dn_blob_read(blob_, values.data(), count()));
        return values;
    }
    /* Inputs only; what follows takes it up at the next forward. */
    void reshape(const std::vector<int64_t> &dims) {
        detail::check(dn_blob_reshape(blob_, dims.data(), static_cast<int32_t>(dims.size())));
    }
    dn_blob *get() const noexcept { return blob_; }

private:
    template <class T> static T *need(T *pointer) {
        return detail::need(pointer, DN_E_UNSUPPORTED);
    }
    dn_blob *blob_;
};

/* A net that someone else frees, such as a solver's. */
class NetRef {
public:
    explicit NetRef(dn_net *net) : net_(net) {}

    float forward() {
        float loss = 0;
        detail::check(dn_net_forward(net_, &loss));
        return loss;
    }
    void backward() { detail::check(dn_net_backward(net_)); }
    void clear_gradients() { detail::check(dn_net_clear_gradients(net_)); }
    void reshape() { detail::check(dn_net_reshape(net_)); }

    std::string name() const { return dn_net_name(net_); }
    Blob operator[](const std::string &blob) const {
        return Blob(detail::need(dn_net_blob(net_, blob.c_str()), DN_E_NOTFOUND));
    }
    std::vector<Blob> inputs() const { return all(dn_net_num_inputs, dn_net_input); }
    std::vector<Blob> outputs() const { return all(dn_net_num_outputs, dn_net_output); }
    std::vector<Blob> blobs() const { return all(dn_net_num_blobs, dn_net_blob_at); }
    /* The weights of a layer: usually weights and bias. */
    std::vector<Blob> params(const std::string &layer) const {
        const int32_t index = dn_net_find_layer(net_, layer.c_str());
        std::vector<Blob> found;
        if (index < 0)
            throw Error(DN_E_NOTFOUND, "no layer '" + layer + "'");
        for (int32_t i = 0; i < dn_net_layer_num_params(net_, index); i++)
            found.emplace_back(dn_net_layer_param(net_, index, i));
        return found;
    }

    /* The texts of the report live until the net's next load. */
    dn_weights_report load(const std::string &path, int policy = DN_WEIGHTS_STRICT) {
        dn_weights_report report = detail::sized<dn_weights_report>();
        detail::check(dn_net_load_weights(net_, path.c_str(), policy, &report));
        return report;
    }
    void save(const std::string &path) const {
        detail::check(dn_net_save_weights(net_, path.c_str()));
    }
    std::string describe(uint32_t what = DN_DESCRIBE_LAYERS) const {
        char *text = nullptr;
        detail::check(dn_net_describe(net_, what, &text));
        return take(text);
    }
    std::string prototxt() const {
        char *text = nullptr;
        detail::check(dn_net_prototxt(net_, &text));
        return take(text);
    }
    dn_net *get() const noexcept { return net_; }

protected:
    dn_net *net_;

private:
    std::vector<Blob> all(int32_t (*count)(const dn_net *),
                          dn_blob *(*at)(dn_net *, int32_t)) const {
        std::vector<Blob> found;
        for (int32_t i = 0; i < count(net_); i++)
            found.emplace_back(at(net_, i));
        return found;
    }
    std::string take(char *text) const {
        struct Guard {
            dn_net *net;
            char *text;
            ~Guard() { dn_net_text_free(net, text); }
        } guard = {net_, text};
        return std::string(guard.text);
    }
};

/* A net of one's own. Moves; cannot be copied (shared() gives a second on the same weights). */
class Net : public NetRef {
public:
    Net(const Context &context, const std::string &path,
        const dn_net_options &options = net_options())
        : NetRef(nullptr), owner_(nullptr, {dn_net_free}) {
        dn_net *out = nullptr;
        detail::check(dn_net_create_from_prototxt(&out, context.get(), path.c_str(), &options));
        owner_.reset(net_ = out);
    }
    static Net from_text(const Context &context, const std::string &text,
                         const dn_net_options &options = net_options()) {
        dn_net *out = nullptr;
        detail::check(dn_net_create_from_text(&out, context.get(), text.data(), text.size(),
                                              &options));
        return Net(out);
    }
    Net shared(const dn_net_options &options = net_options()) const {
        dn_net *out = nullptr;
        detail::check(dn_net_create_shared(&out, net_, &options));
        return Net(out);
    }

private:
    explicit Net(dn_net *net) : NetRef(net), owner_(net, {dn_net_free}) {}
    detail::Owned<dn_net> owner_;
};

/* Training. on_event may throw: the step ends, and what it threw comes out of step(). */
class Solver {
public:
    using OnEvent = std::function<void(const dn_event &)>;

    Solver(const Context &context, const std::string &path, OnEvent on_event = OnEvent(),
           dn_solver_options options = solver_options())
        : Solver(std::move(on_event)) {
        dn_solver *out = nullptr;
        listen(options);
        detail::check(dn_solver_create_from_prototxt(&out, context.get(), path.c_str(),
                                                     &options));
        solver_.reset(out);
    }
    /* net_text replaces the net fields of the solver; "" leaves them. */
    static Solver from_text(const Context &context, const std::string &text,
                            const std::string &net_text = std::string(),
                            OnEvent on_event = OnEvent(),
                            dn_solver_options options = solver_options()) {
        Solver made(std::move(on_event));
        dn_solver *out = nullptr;
        made.listen(options);
        detail::check(dn_solver_create_from_text(
            &out, context.get(), text.data(), text.size(),
            net_text.empty() ? nullptr : net_text.data(), net_text.size(), &options));
        made.solver_.reset(out);
        return made;
    }

    void step(int64_t iterations) { run(dn_solver_step(get(), iterations)); }
    void solve() { run(dn_solver_solve(get())); }
    void apply_update() { run(dn_solver_apply_update(get())); }
    void test(int index) { run(dn_solver_test(get(), index)); }
    void cancel() { dn_solver_cancel(get()); } /* from any thread */

    NetRef net() const { return NetRef(dn_solver_net(get())); }
    NetRef test_net(int index) const {
        dn_net *found = dn_solver_test_net(get(), index);
        if (!found)
            throw Error(DN_E_NOTFOUND, "no test net " + std::to_string(index));
        return NetRef(found);
    }
    int64_t iteration() const { return dn_solver_iteration(get()); }
    float loss() const { return dn_solver_loss(get()); }
    float learning_rate() const { return dn_solver_learning_rate(get()); }
    void set_learning_rate(float rate) {
        detail::check(dn_solver_set_learning_rate(get(), rate));
    }
    /* Writes path.caffemodel and path.solverstate; "": snapshot_prefix + "_iter_N". */
    void snapshot(const std::string &path = std::string()) {
        run(dn_solver_snapshot(get(), path.empty() ? nullptr : path.c_str()));
    }
    void restore(const std::string &path) { run(dn_solver_restore(get(), path.c_str())); }
    dn_solver *get() const noexcept { return solver_.get(); }

private:
    friend class Parallel;
    struct Listener {
        OnEvent on_event;
        std::exception_ptr thrown;
    };

    explicit Solver(OnEvent on_event)
        : listener_(new Listener{std::move(on_event), nullptr}),
          solver_(nullptr, {dn_solver_free}) {}

    void listen(dn_solver_options &options) {
        if (!listener_->on_event)
            return;
        options.on_event = tell;
        options.on_event_user = listener_.get();
    }
    /* No exception may cross C: it is kept here and thrown again by run(). */
    static dn_status tell(void *user, dn_solver *, const dn_event *event) noexcept {
        Listener *listener = static_cast<Listener *>(user);
        try {
            listener->on_event(*event);
            return DN_OK;
        } catch (...) {
            listener->thrown = std::current_exception();
            return DN_E_HOST;
        }
    }
    void run(dn_status status) {
        std::exception_ptr thrown;
        std::swap(thrown, listener_->thrown);
        if (thrown)
            std::rethrow_exception(thrown);
        detail::check(status);
    }

    std::unique_ptr<Listener> listener_; /* its address is stable when the solver moves */
    detail::Owned<dn_solver> solver_;
};

/* Solvers that train one net together, see dn_parallel_create: made with rank, their index, and
 * num_ranks in their options. Owns them. Events of all but the first come in other threads;
 * what one of them throws comes out of step(). */
class Parallel {
public:
    explicit Parallel(std::vector<Solver> solvers)
        : solvers_(std::move(solvers)), parallel_(nullptr, {dn_parallel_free}) {
        std::vector<dn_solver *> joined;
        for (const Solver &solver : solvers_)
            joined.push_back(solver.get());
        dn_parallel *out = nullptr;
        detail::check(
            dn_parallel_create(&out, joined.data(), static_cast<int32_t>(joined.size())));
        parallel_.reset(out);
    }
    Parallel(Parallel &&) = default;
    Parallel &operator=(Parallel &&) = delete; /* would free the old solvers first */
    void step(int64_t iterations) { run(dn_parallel_step(get(), iterations)); }
    void solve() { run(dn_parallel_solve(get())); }
    /* What gradients travel by: a backend's name, or "host". */
    std::string transport() const { return dn_parallel_transport(get()); }
    /* Borrowed, and not to be moved from. std::out_of_range beyond num_ranks. */
    Solver &operator[](size_t rank) { return solvers_.at(rank); }
    dn_parallel *get() const noexcept { return parallel_.get(); }

private:
    void run(dn_status status) {
        std::exception_ptr thrown;
        for (Solver &solver : solvers_) {
            std::exception_ptr &one = solver.listener_->thrown;
            if (one && !thrown)
                thrown = one;
            one = nullptr;
        }
        if (thrown)
            std::rethrow_exception(thrown);
        detail::check(status);
    }

    std::vector<Solver> solvers_;
    detail::Owned<dn_parallel> parallel_; /* freed before them */
};

} // namespace deepnet

#endif
