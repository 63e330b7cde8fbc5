/* SPDX-License-Identifier: BSD-2-Clause
 * stream.h: a stream as the fakes of CUDA's libraries share it: what is asked for in it is
 * noted and done when somebody waits for it, as late as a device may do it, so that whoever
 * forgets to wait finds nothing there; or noted while it is recorded and done by each replay:
 * in the order of its stream, and of those that joined the recording as early or late as may
 * be. And how they round what they multiply.
 */
#ifndef DN_TESTS_CUDA_STREAM_H
#define DN_TESTS_CUDA_STREAM_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cuda_runtime_api.h>

typedef void (*fake_work)(void *args);

enum { FAKE_LANES = 4, FAKE_SPACES = 64 };

typedef struct fake_node {
    fake_work work; /* NULL: waits */
    void *args;     /* a copy */
    int lane;       /* of what is recorded: 0 is where that began */
    int on;         /* waits until so much of another lane is done */
    long until;
} fake_node;

struct CUgraph_st {
    int device, owners; /* owners: a replay that is still to come is one */
    size_t count, room;
    fake_node *nodes;
    int lanes; /* of a recording */
    struct CUstream_st *in[FAKE_LANES];
    long noted[FAKE_LANES];         /* in each */
    long path[FAKE_LANES];          /* the most of them one after the other, waits left out */
    const void *space[FAKE_SPACES]; /* that a library works in, and the lane where it does */
    int lane_of[FAKE_SPACES];
};

struct CUstream_st {
    int device;
    bool there, soon;             /* soon: what waits for nothing is done at once */
    struct CUgraph_st *recording; /* NULL: nothing is recorded */
    int lane;                     /* of that */
    pthread_mutex_t *lock;        /* of all streams */
    struct CUgraph_st todo;
    long queued, ran; /* ever */
    /* Does what can be done now: called whenever there is more. */
    void (*more)(struct CUstream_st *stream);
    void (*finish)(struct CUstream_st *stream); /* waits for all of it */
    bool (*lost)(void);                         /* is the device? */
    bool (*fails)(void); /* a call that sets it: is it the one that a test wants to fail? */
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
    to->nodes[to->count++] = (fake_node){.work = work, .args = copy};
}

static inline void fake_do(cudaStream_t stream, fake_work work, const void *args, size_t bytes)
{
    struct CUgraph_st *graph = stream->recording;
    if (graph) {
        fake_note(graph, work, args, bytes);
        graph->nodes[graph->count - 1].lane = stream->lane;
        graph->noted[stream->lane]++;
        graph->path[stream->lane]++;
        return;
    }
    pthread_mutex_lock(stream->lock);
    fake_note(&stream->todo, work, args, bytes);
    stream->queued++;
    stream->more(stream);
    pthread_mutex_unlock(stream->lock);
}

/* runtime.c: a launch of that kernel in the stream: refused, or done as fake_do does it; an
 * error of the calling thread; the end of all devices; and the piece of a device's memory, or
 * of what the host shares with all, that has this byte. */
cudaError_t fake_cuda_launch(cudaStream_t stream, const void *kernel, fake_work work,
                             const void *args, size_t bytes);
cudaError_t fake_cuda_fail(cudaError_t error);
void fake_cuda_lose(void);
bool fake_cuda_memory(int device, const void *at, char **from, char **to);

/* Bits that a float has and TF32, or bf16, has not. */
enum { FAKE_TF32 = 13, FAKE_BF16 = 16 };

/* Without its lowest bits, rounded to nearest. */
static inline float fake_rounded(float value, int missing)
{
    uint32_t word;
    memcpy(&word, &value, sizeof word);
    if (missing && (word >> 23 & 0xFF) != 0xFF)
        word = (word + (1u << (missing - 1))) & UINT32_MAX << missing;
    memcpy(&value, &word, sizeof value);
    return value;
}

/* Has no other stream of the recording the same workspace, in which both could be at once? */
static inline bool fake_space_is_own(cudaStream_t stream, const void *space)
{
    struct CUgraph_st *graph = stream->recording;
    int i = 0;
    if (!graph)
        return true;
    while (i < FAKE_SPACES - 1 && graph->space[i] && graph->space[i] != space)
        i++;
    if (!graph->space[i])
        graph->lane_of[i] = stream->lane;
    graph->space[i] = space;
    return graph->lane_of[i] == stream->lane;
}

#endif
