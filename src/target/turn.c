/* SPDX-License-Identifier: Apache-2.0 */
#include "target/turn.h"

#include <pthread.h>
#include <string.h>
#include <time.h>

#include "base/memory.h"

struct dbk_turn_queue {
    struct dbk_turn_queue *next;
    size_t references;
    pthread_cond_t given;
    bool taken;
    char path[];
};

/* A file is opened and a lock is asked for much more seldom than a mutex would be felt. */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct dbk_turn_queue *queues;

static struct dbk_turn_queue *make(const char *path)
{
    pthread_condattr_t attributes;
    size_t size = strlen(path) + 1;
    struct dbk_turn_queue *queue = dbk_alloc_zero(1, sizeof(*queue) + size);
    if (queue == NULL)
        return NULL;
    memcpy(queue->path, path, size);
    (void)pthread_condattr_init(&attributes);
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&queue->given, &attributes);
    (void)pthread_condattr_destroy(&attributes);
    queue->next = queues;
    queues = queue;
    return queue;
}

struct dbk_turn_queue *dbk_turn_queue_ref(const char *path)
{
    (void)pthread_mutex_lock(&mutex);
    struct dbk_turn_queue *queue = queues;
    while (queue != NULL && strcmp(queue->path, path) != 0)
        queue = queue->next;
    if (queue == NULL)
        queue = make(path);
    if (queue != NULL)
        queue->references++;
    (void)pthread_mutex_unlock(&mutex);
    return queue;
}

void dbk_turn_queue_unref(struct dbk_turn_queue *queue)
{
    if (queue == NULL)
        return;
    (void)pthread_mutex_lock(&mutex);
    if (--queue->references == 0) {
        struct dbk_turn_queue **at = &queues;
        while (*at != queue)
            at = &(*at)->next;
        *at = queue->next;
        (void)pthread_cond_destroy(&queue->given);
        dbk_free(queue);
    }
    (void)pthread_mutex_unlock(&mutex);
}

bool dbk_turn_take(struct dbk_turn_queue *queue, int64_t timeout_ms)
{
    struct timespec until;
    int waited = 0;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    int64_t nanoseconds = until.tv_nsec + timeout_ms % 1000 * 1000000;
    until.tv_sec += timeout_ms / 1000 + nanoseconds / 1000000000;
    until.tv_nsec = nanoseconds % 1000000000;
    (void)pthread_mutex_lock(&mutex);
    while (queue->taken && waited == 0)
        waited = pthread_cond_timedwait(&queue->given, &mutex, &until);
    bool mine = !queue->taken;
    queue->taken = true;
    (void)pthread_mutex_unlock(&mutex);
    return mine;
}

void dbk_turn_give(struct dbk_turn_queue *queue)
{
    (void)pthread_mutex_lock(&mutex);
    queue->taken = false;
    (void)pthread_cond_signal(&queue->given);
    (void)pthread_mutex_unlock(&mutex);
}
