/* SPDX-License-Identifier: BSD-2-Clause
 * stream.h: a stream as the fakes of CUDA's libraries share it: what is asked for in it is done
 * at once, or noted while it is recorded and done by each replay. */
#ifndef DN_TESTS_CUDA_STREAM_H
#define DN_TESTS_CUDA_STREAM_H

#include <stdlib.h>
#include <string.h>

#include <cuda_runtime_api.h>

typedef void (*fake_work)(void *args);

typedef struct fake_node {
    fake_work work;
    void *args; /* a copy */
} fake_node;

struct CUgraph_st {
    int device;
    size_t count, room;
    fake_node *nodes;
};

struct CUstream_st {
    int device;
    struct CUgraph_st *recording; /* NULL: nothing is recorded */
};

static inline void fake_do(cudaStream_t stream, fake_work work, const void *args, size_t bytes)
{
    struct CUgraph_st *graph = stream->recording;
    void *copy = malloc(bytes);
    memcpy(copy, args, bytes);
    if (!graph) {
        work(copy);
        free(copy);
        return;
    }
    if (graph->count == graph->room) {
        graph->room = 2 * graph->room + 64;
        graph->nodes = realloc(graph->nodes, graph->room * sizeof *graph->nodes);
    }
    graph->nodes[graph->count++] = (fake_node){work, copy};
}

#endif
