/* SPDX-License-Identifier: Apache-2.0 */
#include "server/stream.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

#define RING_SIZE ((size_t)256 << 10)
#define HEAD_SIZE 512

struct dbk_stream {
    struct dbk_engine *engine;
    const struct dbk_api_request *request;
    const _Atomic bool *stopping;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t filled;
    pthread_cond_t emptied;
    int status;
    struct dbk_api_field headers[DBK_STREAM_HEADERS_MAX];
    size_t header_count;
    char head[HEAD_SIZE]; /* the fields' texts */
    size_t head_size;
    bool broken; /* by the reader */
    bool limited;
    struct timespec until; /* when limited: nobody waits longer for the reader */
    bool done;
    int rc; /* of the handler, when done */
    size_t begin;
    size_t size;
    char ring[RING_SIZE];
};

static struct dbk_slice keep(struct dbk_stream *stream, struct dbk_slice text)
{
    if (stream->head_size + text.size > HEAD_SIZE)
        return (struct dbk_slice){0};
    char *at = stream->head + stream->head_size;
    if (text.size > 0)
        memcpy(at, text.data, text.size);
    stream->head_size += text.size;
    return dbk_slice(at, text.size);
}

static int begin(void *context, int status, const struct dbk_api_field *headers,
                 size_t header_count)
{
    struct dbk_stream *stream = context;
    (void)pthread_mutex_lock(&stream->lock);
    for (size_t i = 0; i < header_count && i < DBK_STREAM_HEADERS_MAX; i++)
        stream->headers[stream->header_count++] =
            (struct dbk_api_field){keep(stream, headers[i].name), keep(stream, headers[i].value)};
    stream->status = status;
    bool broken = stream->broken;
    (void)pthread_cond_signal(&stream->filled);
    (void)pthread_mutex_unlock(&stream->lock);
    return broken ? DBK_ECONNECT : DBK_OK;
}

static void put(struct dbk_stream *stream, struct dbk_slice bytes)
{
    size_t at = (stream->begin + stream->size) % RING_SIZE;
    size_t first = bytes.size < RING_SIZE - at ? bytes.size : RING_SIZE - at;
    memcpy(stream->ring + at, bytes.data, first);
    memcpy(stream->ring, bytes.data + first, bytes.size - first);
    stream->size += bytes.size;
}

/* With the lock. */
static void wait_emptied(struct dbk_stream *stream)
{
    if (!stream->limited)
        (void)pthread_cond_wait(&stream->emptied, &stream->lock);
    else if (pthread_cond_timedwait(&stream->emptied, &stream->lock, &stream->until) == ETIMEDOUT)
        stream->broken = true;
}

static void limit(void *context, int64_t limit_us)
{
    struct dbk_stream *stream = context;
    struct timespec until;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += limit_us / 1000000;
    (void)pthread_mutex_lock(&stream->lock);
    stream->until = until;
    stream->limited = true;
    (void)pthread_mutex_unlock(&stream->lock);
}

static int write_bytes(void *context, struct dbk_slice bytes)
{
    struct dbk_stream *stream = context;
    (void)pthread_mutex_lock(&stream->lock);
    while (bytes.size > 0 && !stream->broken) {
        size_t room = RING_SIZE - stream->size;
        if (room == 0) {
            wait_emptied(stream);
            continue;
        }
        size_t size = bytes.size < room ? bytes.size : room;
        put(stream, dbk_slice(bytes.data, size));
        bytes = dbk_slice(bytes.data + size, bytes.size - size);
        (void)pthread_cond_signal(&stream->filled);
    }
    bool broken = stream->broken;
    (void)pthread_mutex_unlock(&stream->lock);
    return broken ? DBK_ECONNECT : DBK_OK;
}

static int wait_more(void *context)
{
    struct dbk_stream *stream = context;
    (void)pthread_mutex_lock(&stream->lock);
    bool broken = stream->broken;
    (void)pthread_mutex_unlock(&stream->lock);
    return broken || *stream->stopping ? DBK_ECONNECT : DBK_OK;
}

static void *run(void *context)
{
    struct dbk_stream *stream = context;
    const struct dbk_api_response response = {
        .context = stream, .begin = begin, .write = write_bytes, .wait = wait_more, .limit = limit};
    int rc = dbk_api_handle(stream->engine, stream->request, &response);
    (void)pthread_mutex_lock(&stream->lock);
    stream->done = true;
    stream->rc = rc;
    (void)pthread_cond_signal(&stream->filled);
    (void)pthread_mutex_unlock(&stream->lock);
    return NULL;
}

int dbk_stream_open(struct dbk_engine *engine, const struct dbk_api_request *request,
                    const _Atomic bool *stopping, struct dbk_stream **stream_out,
                    struct dbk_error *err)
{
    struct dbk_stream *stream = dbk_alloc(sizeof(*stream));
    if (stream == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory answering");
    memset(stream, 0, offsetof(struct dbk_stream, ring));
    stream->engine = engine;
    stream->request = request;
    stream->stopping = stopping;
    pthread_condattr_t clock;
    (void)pthread_condattr_init(&clock);
    (void)pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    (void)pthread_mutex_init(&stream->lock, NULL);
    (void)pthread_cond_init(&stream->filled, &clock);
    (void)pthread_cond_init(&stream->emptied, &clock);
    (void)pthread_condattr_destroy(&clock);
    int failure = pthread_create(&stream->thread, NULL, run, stream);
    if (failure != 0) {
        dbk_free(stream);
        return dbk_error_set_errno(err, failure, "cannot start a thread for the answer");
    }
    *stream_out = stream;
    return DBK_OK;
}

void dbk_stream_free(struct dbk_stream *stream)
{
    if (stream == NULL)
        return;
    (void)pthread_mutex_lock(&stream->lock);
    stream->broken = true;
    (void)pthread_cond_signal(&stream->emptied);
    (void)pthread_mutex_unlock(&stream->lock);
    dbk_store_wake(dbk_engine_store(stream->engine));
    (void)pthread_join(stream->thread, NULL);
    (void)pthread_mutex_destroy(&stream->lock);
    (void)pthread_cond_destroy(&stream->filled);
    (void)pthread_cond_destroy(&stream->emptied);
    dbk_free(stream);
}

int dbk_stream_head(struct dbk_stream *stream, const struct dbk_api_field **headers_out,
                    size_t *count_out)
{
    (void)pthread_mutex_lock(&stream->lock);
    while (stream->status == 0 && !stream->done)
        (void)pthread_cond_wait(&stream->filled, &stream->lock);
    int status = stream->status;
    (void)pthread_mutex_unlock(&stream->lock);
    *headers_out = stream->headers;
    *count_out = stream->header_count;
    return status;
}

static size_t take(struct dbk_stream *stream, char *bytes, size_t size)
{
    size = size < stream->size ? size : stream->size;
    size_t first = RING_SIZE - stream->begin < size ? RING_SIZE - stream->begin : size;
    memcpy(bytes, stream->ring + stream->begin, first);
    memcpy(bytes + first, stream->ring, size - first);
    stream->begin = (stream->begin + size) % RING_SIZE;
    stream->size -= size;
    return size;
}

long dbk_stream_read(struct dbk_stream *stream, char *bytes, size_t size)
{
    struct timespec end;
    (void)clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_sec++;
    int waited = 0;
    (void)pthread_mutex_lock(&stream->lock);
    while (stream->size == 0 && !stream->done && waited == 0)
        waited = pthread_cond_timedwait(&stream->filled, &stream->lock, &end);
    long result = 0;
    if (stream->size > 0)
        result = (long)take(stream, bytes, size);
    else if (stream->done)
        result = stream->rc < 0 ? -2 : -1;
    (void)pthread_cond_signal(&stream->emptied);
    (void)pthread_mutex_unlock(&stream->lock);
    return result;
}
