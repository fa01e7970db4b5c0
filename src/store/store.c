/* SPDX-License-Identifier: Apache-2.0 */
#include "store/store.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "store/rules.h"

#define EVENT_SIZE_DEFAULT ((size_t)1 << 20)
#define BATCH_COUNT_DEFAULT 10000
#define LOCK_TEXT_SIZE 256
/* How often a waiting reader looks at the note of another process. */
#define LOOK_US 5000

static char *path_of(const char *folder, const char *name)
{
    size_t size = strlen(folder) + strlen(name) + 2;
    char *path = dbk_alloc(size);
    if (path != NULL)
        (void)snprintf(path, size, "%s/%s", folder, name);
    return path;
}

/* What the lock's holder wrote into it, for the message of those who find it held. */
static int describe_holder(struct dbk_store *store, struct dbk_error *err)
{
    char text[LOCK_TEXT_SIZE] = {0};
    size_t size = 0;
    int rc = store->os->pread(store->os, &store->lock_file, text, sizeof(text) - 1, 0, &size, NULL);
    if (rc < 0 || size == 0)
        (void)snprintf(text, sizeof(text), "another process");
    char *end = strchr(text, '\n');
    if (end != NULL)
        *end = 0;
    return dbk_error_set(err, DBK_EBUSY, "%s is being written by %s", store->folder, text);
}

static int write_holder(struct dbk_store *store, const char *holder, struct dbk_error *err)
{
    char text[LOCK_TEXT_SIZE];
    char since[DBK_TIME_TEXT_SIZE];
    (void)dbk_time_format(store->os->now_us(store->os), since);
    int size = snprintf(text, sizeof(text), "%.100s (process %ld, since %s)\n",
                        holder == NULL ? "a program" : holder, (long)getpid(), since);
    dbk_assert(size > 0 && (size_t)size < sizeof(text));
    int rc = store->os->truncate(store->os, &store->lock_file, 0, err);
    return rc < 0 ? rc
                  : store->os->pwrite(store->os, &store->lock_file, dbk_slice(text, (size_t)size),
                                      0, err);
}

static int take_lock(struct dbk_store *store, const char *holder, struct dbk_error *err)
{
    char *path = path_of(store->folder, "LOCK");
    if (path == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory opening %s", store->folder);
    int rc = store->os->open(store->os, path, DBK_OS_WRITE | DBK_OS_CREATE, &store->lock_file, err);
    dbk_free(path);
    if (rc < 0)
        return rc;
    rc = store->os->lock(store->os, &store->lock_file, NULL);
    if (rc == DBK_EBUSY)
        return describe_holder(store, err);
    if (rc < 0)
        return dbk_error_set(err, rc, "cannot lock %s/LOCK", store->folder);
    return write_holder(store, holder, err);
}

static int open_parts(struct dbk_store *store, const struct dbk_store_options *options,
                      struct dbk_error *err)
{
    char *log = path_of(store->folder, "log");
    char *index = path_of(store->folder, "index");
    int rc = log == NULL || index == NULL
                 ? dbk_error_set(err, DBK_ENOMEM, "out of memory opening %s", store->folder)
                 : DBK_OK;
    if (rc == DBK_OK)
        rc = dbk_log_open(&(struct dbk_log_options){.os = store->os,
                                                    .folder = log,
                                                    .writer = store->writer,
                                                    .segment_size = options->segment_size},
                          &store->log, err);
    if (rc == DBK_OK)
        rc = dbk_index_open(&(struct dbk_index_options){.os = store->os,
                                                        .folder = index,
                                                        .log = store->log,
                                                        .writer = store->writer,
                                                        .chunk_events = options->chunk_events,
                                                        .step = options->step,
                                                        .context = options->context},
                            &store->index, err);
    dbk_free(log);
    dbk_free(index);
    return rc;
}

static struct dbk_store *create(const struct dbk_store_options *options)
{
    struct dbk_store *store = dbk_alloc_zero(1, sizeof(*store));
    if (store == NULL)
        return NULL;
    store->os = options->os;
    store->writer = options->writer;
    store->lock_file = DBK_FILE_CLOSED;
    store->event_size_max =
        options->event_size_max == 0 ? EVENT_SIZE_DEFAULT : options->event_size_max;
    store->batch_count_max =
        options->batch_count_max == 0 ? BATCH_COUNT_DEFAULT : options->batch_count_max;
    store->queue_end = &store->queue;
    dbk_buf_init(&store->tags, UINT16_MAX);
    dbk_buf_init(&store->order, SIZE_MAX);
    dbk_buf_init(&store->known, SIZE_MAX);
    dbk_buf_init(&store->framed, SIZE_MAX);
    dbk_buf_init(&store->framed_tags, SIZE_MAX);
    pthread_condattr_t clock;
    (void)pthread_condattr_init(&clock);
    (void)pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    (void)pthread_mutex_init(&store->lock, NULL);
    (void)pthread_mutex_init(&store->refresh_lock, NULL);
    (void)pthread_cond_init(&store->moved, &clock);
    (void)pthread_condattr_destroy(&clock);
    store->folder = dbk_copy_text(dbk_slice_of(options->folder));
    store->heads = dbk_alloc_zero(DBK_HEADS, sizeof(*store->heads));
    if (store->folder == NULL || store->heads == NULL) {
        dbk_store_free(store);
        return NULL;
    }
    return store;
}

int dbk_store_open(const struct dbk_store_options *options, struct dbk_store **store_out,
                   struct dbk_error *err)
{
    struct dbk_store *store = create(options);
    if (store == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory opening %s", options->folder);
    int rc = DBK_OK;
    if (options->writer) {
        rc = dbk_os_make_folder(store->os, store->folder, err);
        if (rc == DBK_OK)
            rc = take_lock(store, options->holder, err);
    }
    if (rc == DBK_OK)
        rc = open_parts(store, options, err);
    if (rc < 0) {
        dbk_store_free(store);
        return rc;
    }
    store->held = UINT64_MAX;
    store->accepted_position = dbk_log_last_position(store->log);
    store->accepted_time_us = dbk_log_last_time_us(store->log);
    rc = dbk_rules_look(store, err);
    if (rc == DBK_OK)
        rc = dbk_standing_look(store, err);
    if (rc < 0) {
        dbk_store_free(store);
        return rc;
    }
    *store_out = store;
    return DBK_OK;
}

void dbk_store_free(struct dbk_store *store)
{
    if (store == NULL)
        return;
    dbk_index_free(store->index);
    dbk_log_free(store->log);
    store->os->close(store->os, &store->lock_file);
    (void)pthread_mutex_destroy(&store->lock);
    (void)pthread_mutex_destroy(&store->refresh_lock);
    (void)pthread_cond_destroy(&store->moved);
    dbk_buf_release(&store->tags);
    dbk_buf_release(&store->order);
    dbk_buf_release(&store->known);
    dbk_buf_release(&store->framed);
    dbk_buf_release(&store->framed_tags);
    dbk_free(store->heads);
    dbk_free(store->folder);
    dbk_free(store);
}

const struct dbk_uuid *dbk_store_book_id(const struct dbk_store *store)
{
    return dbk_log_book_id(store->log);
}

struct dbk_log *dbk_store_log(struct dbk_store *store)
{
    return store->log;
}

uint64_t dbk_store_last_position(struct dbk_store *store)
{
    return dbk_store_visible(store);
}

int64_t dbk_store_last_time_us(struct dbk_store *store)
{
    return dbk_log_last_time_us(store->log);
}

int dbk_store_stats(struct dbk_store *store, struct dbk_store_stats *stats_out,
                    struct dbk_error *err)
{
    int rc = dbk_store_refresh(store, err);
    if (rc < 0)
        return rc;
    *stats_out = (struct dbk_store_stats){.events = dbk_log_last_position(store->log),
                                          .streams = dbk_index_stream_count(store->index)};
    for (uint32_t i = 0; i < dbk_log_segment_count(store->log); i++)
        stats_out->log_size += dbk_log_segment_size(store->log, i);
    return DBK_OK;
}

int dbk_store_settle(struct dbk_store *store, struct dbk_error *err)
{
    return dbk_index_settle(store->index, err);
}

int dbk_store_refresh(struct dbk_store *store, struct dbk_error *err)
{
    bool changed = false;
    if (store->writer)
        return DBK_OK;
    (void)pthread_mutex_lock(&store->refresh_lock);
    int rc = dbk_log_refresh(store->log, &changed, err);
    if (rc == DBK_OK && changed)
        rc = dbk_index_refresh(store->index, err);
    if (rc == DBK_OK && changed)
        rc = dbk_rules_look(store, err);
    if (rc == DBK_OK && changed)
        rc = dbk_standing_look(store, err);
    (void)pthread_mutex_unlock(&store->refresh_lock);
    return rc;
}

static struct timespec after_us(int64_t duration_us)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    int64_t nanoseconds = now.tv_nsec + duration_us % 1000000 * 1000;
    now.tv_sec += duration_us / 1000000 + nanoseconds / 1000000000;
    now.tv_nsec = nanoseconds % 1000000000;
    return now;
}

/* Who is past what is held back does not read that, and waits for the log. Who is just before it
   may be either: it is told of what has come since it began to wait. */
static bool has_more(const struct dbk_store *store, uint64_t position, uint64_t first)
{
    uint64_t visible = dbk_store_visible(store);
    uint64_t last = dbk_log_last_position(store->log);
    if (visible < last && position == visible)
        return last > first;
    return (position < visible ? visible : last) > position;
}

int dbk_store_wait(struct dbk_store *store, uint64_t wakes, uint64_t position, int64_t timeout_us,
                   struct dbk_error *err)
{
    struct timespec end = after_us(timeout_us);
    int rc = 0;
    bool over = false;
    uint64_t first = dbk_log_last_position(store->log);
    (void)pthread_mutex_lock(&store->lock);
    for (;;) {
        (void)pthread_mutex_unlock(&store->lock);
        rc = dbk_store_refresh(store, err);
        (void)pthread_mutex_lock(&store->lock);
        if (rc < 0 || has_more(store, position, first)) {
            rc = rc < 0 ? rc : 1;
            break;
        }
        if (over || wakes != store->wakes)
            break;
        struct timespec look = after_us(LOOK_US);
        bool sooner = !store->writer && (look.tv_sec < end.tv_sec ||
                                         (look.tv_sec == end.tv_sec && look.tv_nsec < end.tv_nsec));
        int waited = pthread_cond_timedwait(&store->moved, &store->lock, sooner ? &look : &end);
        over = waited == ETIMEDOUT && !sooner;
    }
    (void)pthread_mutex_unlock(&store->lock);
    return rc;
}

uint64_t dbk_store_wakes(struct dbk_store *store)
{
    (void)pthread_mutex_lock(&store->lock);
    uint64_t wakes = store->wakes;
    (void)pthread_mutex_unlock(&store->lock);
    return wakes;
}

void dbk_store_wake(struct dbk_store *store)
{
    (void)pthread_mutex_lock(&store->lock);
    store->wakes++;
    (void)pthread_cond_broadcast(&store->moved);
    (void)pthread_mutex_unlock(&store->lock);
}
