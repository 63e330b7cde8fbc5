/* SPDX-License-Identifier: BSD-2-Clause
 * deepnet/net.h: a net: created from a prototxt and run forward and backward by the host, which
 * has access to its blobs and weights. Use a net from one thread at a time; different nets of
 * one context may run concurrently. Returned strings are borrowed and live as long as the net.
 */
#ifndef DEEPNET_NET_H
#define DEEPNET_NET_H

#include <stddef.h>
#include <stdint.h>
#include "deepnet/blob.h"
#include "deepnet/context.h"

DN_BEGIN_DECLS

typedef struct dn_net dn_net;

enum { DN_PHASE_DEFAULT = 0, DN_PHASE_TRAIN = 1, DN_PHASE_TEST = 2 };
enum { DN_MEMORY_READABLE = 0, DN_MEMORY_COMPACT = 1 };

/* Zero is the default of every field; struct_size = sizeof(dn_net_options). */
typedef struct dn_net_options {
    size_t struct_size;
    int32_t phase; /* selects the layers; default: that of the prototxt's `state`, else TEST */
    int32_t level; /* NetState.level, for rules with min_level and max_level */
    const char *const *stages; /* NetState.stage, num_stages of them */
    size_t num_stages;
    int32_t dtype; /* DN_F32, or DN_F64: everything in double on `ref` */
    /* DN_MEMORY_COMPACT: only inputs, outputs and `keep` stay readable, with their gradients.
     * Nor do ops keep sums of constant weights that are larger than the images they multiply:
     * 1x1 convolutions of many channels, in TEST, are then up to a tenth slower. */
    int32_t memory;
    const char *const *keep; /* names of blobs that stay readable, num_keep of them */
    size_t num_keep;
    /* bytes for blobs, weights, the gradients of both (in TEST, too, where only a backward makes
     * them), scratch and the plan itself (for each step that a recurrent layer is unrolled to
     * some 13 KB, with gradients 40), and the most that a layer may ask for at once for tables
     * of its own; inputs count each by itself. dn_net_plan_memory's total is enough to create
     * the net, but for LSTM and RNN that carry states from run to run (some 16 N D bytes each
     * more); 0: none. DN_E_LIMIT beyond */
    size_t memory_limit;
    int32_t wire_only; /* 1: check, wire and infer shapes; open no data, allocate no blobs */
    int32_t input_shapes_count; /* shapes for inputs, by order of dn_net_input */
    const dn_shape *input_shapes;
    /* DN_COMPUTE_*: the type to which the operands of matrix products (convolutions, inner
     * products) may be rounded before they are multiplied, where that is faster. With BF16, the
     * values and gradients passed between layers are stored as bf16 as well, where the backends
     * support that, which halves their memory; blobs still read as f32. Weights, their
     * gradients and updates, statistics, sums and losses stay f32. DN_E_UNSUPPORTED if no
     * backend of the context offers it for any layer of the net; with compute_fallback 1 the
     * net then computes in f32, and a notice to the context's log says so. */
    int32_t compute;
    int32_t compute_fallback;
    const char *dialect; /* the fork whose field numbers a binary net uses: "caffe", "ssd",
                            "nvidia", "intel", "yolo", ...; NULL: detected */
} dn_net_options;

/* Creates a net from a prototxt file of any generation, or from the same text in memory.
 * Weights are initialised by the fillers named in the prototxt. Relative paths in it refer to
 * the working directory, as in Caffe; if nothing exists there, to the prototxt's own folder.
 * out      receives the net; free it with dn_net_free. Untouched on failure.
 * context  kept alive by the net.
 * options  borrowed for the call; NULL: all defaults.
 * Returns DN_OK, DN_E_IO, DN_E_PARSE, DN_E_NET, DN_E_SHAPE, DN_E_UNSUPPORTED, DN_E_DATA,
 * DN_E_NOMEM, DN_E_LIMIT, DN_E_INVALID. Since 0.1. */
DN_API dn_status dn_net_create_from_prototxt(dn_net **out, dn_context *context,
                                             const char *path, const dn_net_options *options);
DN_API dn_status dn_net_create_from_text(dn_net **out, dn_context *context, const char *text,
                                         size_t size, const dn_net_options *options);

/* Creates a second net with the same layers and its own blobs, for use in another thread. The
 * weights are shared, not copied: weights loaded into one net are seen by both. Either may be
 * freed first. Since 0.1. */
DN_API dn_status dn_net_create_shared(dn_net **out, dn_net *net, const dn_net_options *options);

/* Frees a net. NULL is allowed. Since 0.1. */
DN_API void dn_net_free(dn_net *net);

/* Runs the net forward. loss: receives the weighted sum of its losses; may be NULL.
 * Returns DN_OK, DN_E_DATA (a label out of range, a broken record), DN_E_SHAPE (an input's new
 * shape does not fit the net), DN_E_DEVICE, DN_E_NOMEM. Since 0.1. */
DN_API dn_status dn_net_forward(dn_net *net, float *loss);

/* Runs the net backward: computes the gradients of the inputs that need one, and adds to the
 * gradients of the weights (dn_net_clear_gradients sets them to zero). For outputs that are not
 * losses, the gradient is taken from their diff; as in Caffe, layers that lead to no loss are
 * left out, their weights' gradients too, unless the net says `force_backward: true`.
 * DN_E_STATE before the first forward, and after one that failed. Several backwards may follow
 * one forward, except with DN_MEMORY_COMPACT. Since 0.1. */
DN_API dn_status dn_net_backward(dn_net *net);

/* The same for layers [from, to] (indices, both included; backward runs from `from` down to
 * `to`). With DN_MEMORY_COMPACT, a forward that does not begin where the last one ended
 * computes the layers before it as well, and a layer's backward needs a forward since its last.
 * DN_E_INVALID for indices outside. Since 0.1. */
DN_API dn_status dn_net_forward_range(dn_net *net, int32_t from, int32_t to, float *loss);
DN_API dn_status dn_net_backward_range(dn_net *net, int32_t from, int32_t to);

/* Sets the gradients of all weights to zero. Since 0.1. */
DN_API dn_status dn_net_clear_gradients(dn_net *net);

/* Applies new shapes of inputs now rather than at the next forward. Since 0.1. */
DN_API dn_status dn_net_reshape(dn_net *net);

/* The net's name in its prototxt ("" if none), and the phase it was built for. Since 0.1. */
DN_API const char *dn_net_name(const dn_net *net);
DN_API int32_t dn_net_phase(const dn_net *net);

/* Blobs, in the order in which layers make them. dn_net_blob finds one by name; NULL: no such
 * blob, and dn_last_error() suggests the nearest name. An in-place layer overwrites the blob it
 * reads, unless another layer, or the backward of the layer that made it, still needs the old
 * values: then it makes another blob of the same name, and the name means the last. Since 0.1.
 */
DN_API int32_t dn_net_num_blobs(const dn_net *net);
DN_API dn_blob *dn_net_blob_at(dn_net *net, int32_t index);
DN_API dn_blob *dn_net_blob(dn_net *net, const char *name);

/* Inputs are the tops of Input layers; outputs are the tops that no layer reads. NULL: index
 * out of range. Since 0.1. */
DN_API int32_t dn_net_num_inputs(const dn_net *net);
DN_API dn_blob *dn_net_input(dn_net *net, int32_t index);
DN_API int32_t dn_net_num_outputs(const dn_net *net);
DN_API dn_blob *dn_net_output(dn_net *net, int32_t index);

/* Layers of this phase in order. NULL or 0: index out of range. Since 0.1. */
DN_API int32_t dn_net_num_layers(const dn_net *net);
DN_API const char *dn_net_layer_name(const dn_net *net, int32_t layer);
DN_API const char *dn_net_layer_type(const dn_net *net, int32_t layer);
DN_API int32_t dn_net_find_layer(const dn_net *net, const char *name); /* -1: none */
DN_API int32_t dn_net_layer_num_bottoms(const dn_net *net, int32_t layer);
DN_API int32_t dn_net_layer_num_tops(const dn_net *net, int32_t layer);
DN_API dn_blob *dn_net_layer_bottom(dn_net *net, int32_t layer, int32_t index);
DN_API dn_blob *dn_net_layer_top(dn_net *net, int32_t layer, int32_t index);
/* Weights of a layer: 0 is usually the weights, 1 the bias. Shared weights are the same blob.
 */
DN_API int32_t dn_net_layer_num_params(const dn_net *net, int32_t layer);
DN_API dn_blob *dn_net_layer_param(dn_net *net, int32_t layer, int32_t index);
/* Floating-point operations of one forward pass of the layer (a multiply-add counts 2; 0 in a
 * net that is only wired, which has no ops), and the weight of a top in the loss (0: none).
 * Since 0.1. */
DN_API int64_t dn_net_layer_flops(const dn_net *net, int32_t layer);
DN_API float dn_net_layer_loss_weight(const dn_net *net, int32_t layer, int32_t top);

/* The index-th layer type this library knows, "AbsVal", ..., in alphabetical order of the files
 * they are in; NULL past the last. Static. Any thread. Since 0.1. */
DN_API const char *dn_layer_type(int32_t index);

/* The result of loading weights. Names are lists such as "conv1, fc8", borrowed from the net
 * and valid until its next load. */
typedef struct dn_weights_report {
    size_t struct_size;
    int32_t loaded;     /* layers whose weights were loaded */
    int32_t missing;    /* layers with weights that the file does not have */
    int32_t unused;     /* layers with weights in the file that the net does not have */
    int32_t mismatched; /* layers left alone because a shape differs (policy SKIP) */
    const char *missing_names;
    const char *unused_names;
    const char *mismatched_names;
} dn_weights_report;

/* If a weight has another shape in the file: STRICT fails, as in Caffe (legacy 4-D blobs may
 * differ in leading ones); SKIP leaves the net's; RESHAPE loads it if the count is the same. */
enum { DN_WEIGHTS_STRICT = 0, DN_WEIGHTS_SKIP = 1, DN_WEIGHTS_RESHAPE = 2 };

/* Loads weights by layer name from a .caffemodel of any generation, a .caffemodel.h5 or a
 * .safetensors (F32, F64, F16, BF16), told apart by what is in them. Layers that the file lacks
 * keep their values; of several of one name the last counts, and a weight shared by name may be
 * in one of its layers only. On failure no weight was changed; only a file that becomes
 * unreadable after it has been read once (DN_E_IO: it was cut meanwhile, or a disk failed) may
 * leave some, as one that is written to meanwhile may, even with DN_OK. Values go from the file
 * into place (but HDF5's and a pipe's): memory of its size is asked for and hardly used. In
 * .safetensors weight 0 and 1 of layer "a" are "a.weight" and "a.bias"; "a.0", "a.1", ... will
 * do, and are what layers of more have. report: may be NULL; set struct_size. Returns DN_OK,
 * DN_E_IO, DN_E_PARSE (cut or damaged), DN_E_DATA (a shape differs; no layer in common),
 * DN_E_NOMEM. Since 0.1. */
DN_API dn_status dn_net_load_weights(dn_net *net, const char *path, int32_t policy,
                                     dn_weights_report *report);
/* The same from bytes of a .caffemodel or .safetensors in memory. Since 0.1. */
DN_API dn_status dn_net_load_weights_memory(dn_net *net, const void *bytes, size_t size,
                                            int32_t policy, dn_weights_report *report);

/* Saves the net with its weights as a .caffemodel, or, for a path that ends in .h5 or
 * .safetensors, the weights as such a file. The file is written under another name, synced and
 * renamed, so an older file survives a failure. Returns DN_OK, DN_E_IO, DN_E_NOMEM,
 * DN_E_UNSUPPORTED (HDF5 left out). Since 0.1. */
DN_API dn_status dn_net_save_weights(dn_net *net, const char *path);

/* Makes `net` use the weights of `source` for every layer of the same name and shapes, without
 * a copy. Both are of one context and one element type; either may be freed first. Returns
 * DN_OK, DN_E_INVALID, DN_E_SHAPE (a layer of that name has other weights), DN_E_NOMEM, and
 * changes nothing then. Since 0.1. */
DN_API dn_status dn_net_share_weights(dn_net *net, dn_net *source);

/* Bytes by kind, and the sum of them all; struct_size first. */
typedef struct dn_net_memory {
    size_t struct_size;
    size_t weights, weight_gradients, blobs, blob_gradients, scratch, total;
    size_t plan; /* ops and their tables, by which the others are used */
} dn_net_memory;
DN_API dn_status dn_net_memory_report(const dn_net *net, dn_net_memory *out);
/* What a net would need, before any of it is allocated: wires and plans the prototxt, opens no
 * data (shapes that are only in the data are a DN_E_NET, DN_E_SHAPE or DN_E_IO). Statuses
 * otherwise as dn_net_create_from_prototxt; options.memory_limit counts. Since 0.1. */
DN_API dn_status dn_net_plan_memory(dn_context *context, const char *path,
                                    const dn_net_options *options, dn_net_memory *out);

/* A readable description: layers, shapes, parameters, flops, memory, and for every op its
 * implementation and why others declined. *out is yours: free it with dn_net_text_free.
 * what: DN_DESCRIBE_*; PLAN: the steps of whole runs, with bytes, flops, limits. Since 0.1. */
enum {
    DN_DESCRIBE_LAYERS = 1,
    DN_DESCRIBE_OPS = 2,
    DN_DESCRIBE_MEMORY = 4,
    DN_DESCRIBE_PLAN = 8
};
DN_API dn_status dn_net_describe(dn_net *net, uint32_t what, char **out);
/* The net as today's prototxt (upgraded, this phase's layers). Free with dn_net_text_free. */
DN_API dn_status dn_net_prototxt(dn_net *net, char **out);
DN_API void dn_net_text_free(dn_net *net, char *text);

/* Points a MemoryData layer at the host's arrays: n items of the layer's channels x height x
 * width floats and n labels, n a multiple of its batch size. Borrowed until replaced or the net
 * is freed; runs walk through them in batches and start over. layer: its name; NULL: the first
 * MemoryData layer. DN_E_NOTFOUND, DN_E_INVALID. Since 0.1. */
DN_API dn_status dn_net_set_memory_data(dn_net *net, const char *layer, const float *data,
                                        const float *labels, int64_t n);

DN_END_DECLS
#endif
