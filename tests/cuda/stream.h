/* SPDX-License-Identifier: BSD-2-Clause
 * stream.h: a stream as the fakes of CUDA's libraries share it: what is asked for in it is
 * noted and done when somebody waits for it, as late as a device may do it, so that whoever
 * forgets to wait finds nothing there; or noted while it is recorded and done by each replay.
 */
#ifndef DN_TESTS_CUDA_STREAM_H
#define DN_TESTS_CUDA_STREAM_H

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <cuda_runtime_api.h>

typedef void (*fake_work)(void *args);

typedef struct fake_node {
    fake_work work;
    void *args; /* a copy */
} fake_node;

struct CUgraph_st {
    int device, owners; /* owners: a replay that is still to come is one */
    size_t count, room;
    fake_node *nodes;
};

struct CUstream_st {
    int device;
    bool there, soon;             /* soon: what waits for nothing is done at once */
    struct CUgraph_st *recording; /* NULL: nothing is recorded */
    pthread_mutex_t *lock;        /* of all streams */
    struct CUgraph_st todo;
    long queued, ran; /* ever */
    /* Does what can be done now: called whenever there is more. */
    void (*more)(struct CUstream_st *stream);
    void (*finish)(struct CUstream_st *stream); /* waits for all of it */
};

static inline void fake_note(struct CUgraph_st *to, fake_work work, const void *args,
                             size_t bytes)
{
    void *copy = malloc(bytes);
    memcpy(copy, args, bytes);
    if (to->count == to->room) {
        to->room = 2 * to->room + 64;
        to->nodes = realloc(to->nodes, to->room * sizeof *to->nodes);
    }
    to->nodes[to->count++] = (fake_node){work, copy};
}

static inline void fake_do(cudaStream_t stream, fake_work work, const void *args, size_t bytes)
{
    if (stream->recording) {
        fake_note(stream->recording, work, args, bytes);
        return;
    }
    pthread_mutex_lock(stream->lock);
    fake_note(&stream->todo, work, args, bytes);
    stream->queued++;
    stream->more(stream);
    pthread_mutex_unlock(stream->lock);
}

#endif
