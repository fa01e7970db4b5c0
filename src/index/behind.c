/* SPDX-License-Identifier: Apache-2.0 */
/* The thread behind the writer: chunks become runs, runs are merged; and opening and closing. */
#include "base/assert.h"
#include "index/merge.h"
#include "index/state.h"

/* What a run is made of: a chunk, or runs. */
struct material {
    uint64_t first;
    uint64_t last;
    uint64_t keys;
    const struct dbk_chunk *chunk;
    const struct dbk_run *runs[DBK_MERGE_RUNS]; /* where chunk is NULL */
};

static int let_chunks_go_first(void *context, struct dbk_error *err);

static int write_run(struct dbk_index *index, const struct material *material,
                     struct dbk_run_file **file_out, struct dbk_error *err)
{
    struct dbk_run_writer *writer = NULL;
    char name[DBK_RUN_NAME_SIZE];
    dbk_run_name(material->first, material->last, name);
    char *path = dbk_run_path(index->folder, name);
    if (path == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory writing %s", name);
    int rc = dbk_run_writer_open(index->os, path, dbk_log_book_id(index->log), material->first,
                                 material->last, material->keys, &writer, err);
    if (rc == DBK_OK)
        rc = material->chunk != NULL ? dbk_chunk_write(material->chunk, writer, err)
                                     : dbk_run_merge(material->runs, DBK_MERGE_RUNS, writer,
                                                     let_chunks_go_first, index, err);
    dbk_run_writer_free(writer);
    dbk_free(path);
    if (rc == DBK_OK)
        rc = index->os->sync_folder(index->os, index->folder, err);
    if (rc == DBK_OK)
        rc = dbk_run_file_open(index->os, index->folder, name, dbk_log_book_id(index->log),
                               file_out, err);
    return rc;
}

/* Puts the new run in the place of `count` runs from `at` on. The items it replaces go to old. */
static int replace_runs(struct dbk_index *index, size_t at, size_t count, struct dbk_run_file *file,
                        struct dbk_run_file **old)
{
    struct dbk_run_files *runs = &index->runs;
    if (count == 0) {
        struct dbk_run_file **items =
            dbk_realloc((void *)runs->items, (runs->count + 1) * sizeof(struct dbk_run_file *));
        if (items == NULL)
            return DBK_ENOMEM;
        runs->items = items;
        runs->items[runs->count++] = file;
        return DBK_OK;
    }
    for (size_t i = 0; i < count; i++)
        old[i] = runs->items[at + i];
    runs->items[at] = file;
    for (size_t i = at + count; i < runs->count; i++)
        runs->items[i - count + 1] = runs->items[i];
    runs->count -= count - 1;
    return DBK_OK;
}

static int make_run(struct dbk_index *index, struct dbk_chunk *chunk, struct dbk_error *err)
{
    struct dbk_run_file *file = NULL;
    int rc = write_run(index,
                       &(struct material){.first = chunk->first,
                                          .last = dbk_chunk_last(chunk),
                                          .keys = chunk->slot_count,
                                          .chunk = chunk},
                       &file, err);
    if (rc < 0)
        return rc;
    (void)pthread_rwlock_wrlock(&index->lock);
    rc = replace_runs(index, 0, 0, file, NULL);
    if (rc == DBK_OK) {
        dbk_assert(index->chunks[0] == chunk);
        index->chunk_count--;
        memmove((void *)index->chunks, (void *)(index->chunks + 1),
                index->chunk_count * sizeof(struct dbk_chunk *));
        index->made++;
    }
    (void)pthread_rwlock_unlock(&index->lock);
    if (rc < 0) {
        dbk_run_file_free(index->os, file);
        return dbk_error_set(err, rc, "out of memory adding a run to the index");
    }
    dbk_chunk_free(chunk);
    return DBK_OK;
}

static int merge_runs(struct dbk_index *index, size_t at, struct dbk_error *err)
{
    struct material material = {0};
    struct dbk_run_file *old[DBK_MERGE_RUNS];
    struct dbk_run_file *file = NULL;
    for (size_t i = 0; i < DBK_MERGE_RUNS; i++) {
        material.runs[i] = &index->runs.items[at + i]->run;
        material.keys += material.runs[i]->counts.keys;
    }
    material.first = material.runs[0]->first;
    material.last = material.runs[DBK_MERGE_RUNS - 1]->last;
    int rc = write_run(index, &material, &file, err);
    if (rc < 0)
        return rc;
    (void)pthread_rwlock_wrlock(&index->lock);
    dbk_ignore(replace_runs(index, at, DBK_MERGE_RUNS, file, old));
    index->made++;
    (void)pthread_rwlock_unlock(&index->lock);
    for (size_t i = 0; i < DBK_MERGE_RUNS; i++) {
        char *path = dbk_run_path(index->folder, old[i]->name);
        if (path != NULL)
            dbk_ignore(index->os->remove(index->os, path, NULL));
        dbk_free(path);
        dbk_run_file_free(index->os, old[i]);
    }
    return DBK_OK;
}

/* Neighbours worth merging: none of them larger than the others together. The newest first. */
static bool find_merge(const struct dbk_index *index, size_t *at_out)
{
    for (size_t at = index->runs.count; at-- >= DBK_MERGE_RUNS;) {
        uint64_t sum = 0;
        uint64_t largest = 0;
        size_t first = at + 1 - DBK_MERGE_RUNS;
        for (size_t i = first; i <= at; i++) {
            const struct dbk_run *run = &index->runs.items[i]->run;
            uint64_t events = run->last - run->first + 1;
            sum += events;
            largest = events > largest ? events : largest;
        }
        if (largest <= sum - largest) {
            *at_out = first;
            return true;
        }
    }
    return false;
}

/* Appends will soon need another chunk. Under the lock. */
static bool wants_spare(const struct dbk_index *index)
{
    const struct dbk_chunk *newest =
        index->chunk_count == 0 ? NULL : index->chunks[index->chunk_count - 1];
    return index->spare == NULL && newest != NULL && newest->count >= newest->capacity / 2;
}

/* Makes it here, because an append would make it under the store's lock. Without memory none is
   made, and the append tries. */
static void make_spare(struct dbk_index *index)
{
    (void)pthread_rwlock_rdlock(&index->lock);
    bool wanted = wants_spare(index);
    (void)pthread_rwlock_unlock(&index->lock);
    struct dbk_chunk *chunk = wanted ? dbk_chunk_create(index->chunk_events) : NULL;
    (void)pthread_rwlock_wrlock(&index->lock);
    if (index->spare == NULL) {
        index->spare = chunk;
        chunk = NULL;
    }
    (void)pthread_rwlock_unlock(&index->lock);
    dbk_chunk_free(chunk);
}

/* The oldest chunk, when it is full and synced: it can become a run. */
static struct dbk_chunk *waiting_chunk(struct dbk_index *index)
{
    (void)pthread_rwlock_rdlock(&index->lock);
    bool waits = index->chunk_count > 0 && dbk_chunk_is_full(index->chunks[0]) &&
                 dbk_chunk_last(index->chunks[0]) <= index->synced;
    struct dbk_chunk *chunk = waits ? index->chunks[0] : NULL;
    (void)pthread_rwlock_unlock(&index->lock);
    return chunk;
}

/*
 * Amid a merge, which may take long: appends wait for chunks, and nobody for a merge. New runs come
 * behind those being merged. Closing does not wait for a merge, either; the next open begins it
 * again.
 */
static int let_chunks_go_first(void *context, struct dbk_error *err)
{
    struct dbk_index *index = context;
    for (;;) {
        (void)pthread_mutex_lock(&index->work_lock);
        bool stop = index->stop;
        (void)pthread_mutex_unlock(&index->work_lock);
        struct dbk_chunk *chunk = waiting_chunk(index);
        if (stop)
            return dbk_error_set(err, DBK_ESTOPPED, "the index is being closed");
        if (chunk == NULL)
            return DBK_OK;
        int rc = make_run(index, chunk, err);
        if (rc < 0)
            return rc;
        (void)pthread_mutex_lock(&index->work_lock);
        (void)pthread_cond_broadcast(&index->done);
        (void)pthread_mutex_unlock(&index->work_lock);
    }
}

/* Does one piece of work. 1: there was one; 0: nothing to do. */
static int work_once(struct dbk_index *index, struct dbk_error *err)
{
    size_t at = 0;
    make_spare(index);
    struct dbk_chunk *chunk = waiting_chunk(index);
    (void)pthread_rwlock_rdlock(&index->lock);
    bool merge = chunk == NULL && find_merge(index, &at);
    (void)pthread_rwlock_unlock(&index->lock);
    if (chunk == NULL && !merge)
        return 0;
    int rc = chunk != NULL ? make_run(index, chunk, err) : merge_runs(index, at, err);
    return rc < 0 ? rc : 1;
}

static void *run_thread(void *context)
{
    struct dbk_index *index = context;
    (void)pthread_mutex_lock(&index->work_lock);
    while (!index->stop) {
        uint64_t asked = index->asked;
        struct dbk_error err = {0};
        (void)pthread_mutex_unlock(&index->work_lock);
        int rc = work_once(index, &err);
        (void)pthread_mutex_lock(&index->work_lock);
        index->rc = rc < 0 ? rc : DBK_OK;
        if (rc < 0)
            index->err = err;
        index->idle = rc <= 0 && asked == index->asked;
        (void)pthread_cond_broadcast(&index->done);
        while (!index->stop && index->idle)
            (void)pthread_cond_wait(&index->work, &index->work_lock);
    }
    (void)pthread_mutex_unlock(&index->work_lock);
    return NULL;
}

static void wake(struct dbk_index *index)
{
    index->asked++;
    index->idle = false;
    (void)pthread_cond_signal(&index->work);
}

static size_t full_chunks(struct dbk_index *index)
{
    size_t full = 0;
    (void)pthread_rwlock_rdlock(&index->lock);
    for (size_t i = 0; i < index->chunk_count; i++)
        full += dbk_chunk_is_full(index->chunks[i]);
    (void)pthread_rwlock_unlock(&index->lock);
    return full;
}

static bool has_work(struct dbk_index *index)
{
    (void)pthread_rwlock_rdlock(&index->lock);
    bool work =
        wants_spare(index) || (index->chunk_count > 0 && dbk_chunk_is_full(index->chunks[0]));
    (void)pthread_rwlock_unlock(&index->lock);
    return work;
}

void dbk_index_synced(struct dbk_index *index, uint64_t position)
{
    index->synced = position;
    if (!index->writer || !has_work(index))
        return;
    (void)pthread_mutex_lock(&index->work_lock);
    wake(index);
    (void)pthread_mutex_unlock(&index->work_lock);
}

int dbk_index_wait_room(struct dbk_index *index, struct dbk_error *err)
{
    if (full_chunks(index) < DBK_INDEX_CHUNKS_MAX)
        return DBK_OK;
    int rc = DBK_OK;
    (void)pthread_mutex_lock(&index->work_lock);
    wake(index);
    while (rc == DBK_OK && full_chunks(index) >= DBK_INDEX_CHUNKS_MAX && !index->idle) {
        (void)pthread_cond_wait(&index->done, &index->work_lock);
        rc = index->rc;
    }
    if (rc < 0 && err != NULL)
        *err = index->err;
    (void)pthread_mutex_unlock(&index->work_lock);
    return rc;
}

int dbk_index_settle(struct dbk_index *index, struct dbk_error *err)
{
    if (!index->thread_runs)
        return DBK_OK;
    (void)pthread_mutex_lock(&index->work_lock);
    wake(index);
    while (!index->idle)
        (void)pthread_cond_wait(&index->done, &index->work_lock);
    int rc = index->rc;
    if (rc < 0 && err != NULL)
        *err = index->err;
    (void)pthread_mutex_unlock(&index->work_lock);
    return rc;
}

/* Reads events behind the index's last from the log. */
static int catch_up(struct dbk_index *index, const struct dbk_index_options *options,
                    struct dbk_error *err)
{
    struct dbk_log_scan *scan = NULL;
    struct dbk_log_place place = {0, 0};
    struct dbk_event event;
    uint64_t last = dbk_index_last(index);
    uint64_t begin = last;
    int rc = DBK_OK;
    if (last >= dbk_log_last_position(index->log))
        return DBK_OK;
    if (last > 0)
        rc = dbk_index_place(index, last, &place, err);
    if (rc == DBK_OK)
        rc = dbk_log_scan_open(index->log, place, last, &scan, err);
    while (rc == DBK_OK && (rc = dbk_log_scan_next(scan, &event, &place, err)) > 0) {
        rc = DBK_OK;
        if (event.position <= last)
            continue;
        if (event.position != last + 1)
            rc = dbk_error_set(err, DBK_ECORRUPT,
                               "the log has position %ju behind %ju where the index goes on",
                               (uintmax_t)event.position, (uintmax_t)last);
        if (rc == DBK_OK && dbk_index_add(index, &event, place) < 0)
            rc = dbk_error_set(err, DBK_ENOMEM, "out of memory indexing the log");
        last = event.position;
        if (rc == DBK_OK && index->thread_runs && last % 4096 == 0) {
            dbk_index_synced(index, last);
            rc = dbk_index_wait_room(index, err);
        }
        if (rc == DBK_OK && options != NULL && options->step != NULL && last % 4096 == 0)
            rc = options->step(options->context, last - begin,
                               dbk_log_last_position(index->log) - begin);
    }
    dbk_log_scan_free(scan);
    if (rc == DBK_OK)
        dbk_index_synced(index, last);
    return rc;
}

/* The newest run must name a record that is really there, else the runs are another log's. */
static bool runs_fit(struct dbk_index *index)
{
    struct dbk_log_reader reader;
    struct dbk_event event;
    uint64_t covered = dbk_index_covered(index);
    if (covered == 0)
        return true;
    const struct dbk_run *run = &index->runs.items[index->runs.count - 1]->run;
    dbk_log_reader_init(&reader);
    bool fit = dbk_log_read(index->log, dbk_run_place(run, covered), covered, &reader, &event,
                            NULL) == DBK_OK;
    dbk_log_reader_release(&reader);
    return fit;
}

static int load_runs(struct dbk_index *index, struct dbk_error *err)
{
    struct dbk_os *os = index->os;
    uint64_t last = dbk_log_last_position(index->log);
    int rc = index->writer ? os->make_folder(os, index->folder, err) : DBK_OK;
    if (rc == DBK_OK)
        rc = dbk_run_files_open(os, index->folder, dbk_log_book_id(index->log), last, index->writer,
                                &index->runs, err);
    if (rc == DBK_ENOTFOUND && !index->writer)
        return DBK_OK;
    if (rc == DBK_OK && !runs_fit(index)) {
        dbk_run_files_release(os, &index->runs);
        if (index->writer)
            rc = dbk_run_files_open(os, index->folder, dbk_log_book_id(index->log), 0, true,
                                    &index->runs, err);
    }
    index->removed += index->runs.removed;
    return rc;
}

static int start_thread(struct dbk_index *index, struct dbk_error *err)
{
    int failure = pthread_create(&index->thread, NULL, run_thread, index);
    if (failure != 0)
        return dbk_error_set_errno(err, failure, "cannot start the index's thread");
    index->thread_runs = true;
    return DBK_OK;
}

int dbk_index_open(const struct dbk_index_options *options, struct dbk_index **index_out,
                   struct dbk_error *err)
{
    struct dbk_index *index = dbk_alloc_zero(1, sizeof(*index));
    if (index == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory opening the index");
    index->os = options->os;
    index->log = options->log;
    index->writer = options->writer;
    index->chunk_events =
        options->chunk_events == 0 ? DBK_INDEX_CHUNK_EVENTS : options->chunk_events;
    (void)pthread_rwlock_init(&index->lock, NULL);
    (void)pthread_mutex_init(&index->work_lock, NULL);
    (void)pthread_cond_init(&index->work, NULL);
    (void)pthread_cond_init(&index->done, NULL);
    index->folder = dbk_copy_text(dbk_slice_of(options->folder));
    int rc = index->folder == NULL
                 ? dbk_error_set(err, DBK_ENOMEM, "out of memory opening the index")
                 : load_runs(index, err);
    index->synced = dbk_index_covered(index);
    if (rc == DBK_OK && index->writer)
        rc = start_thread(index, err);
    if (rc == DBK_OK)
        rc = catch_up(index, options, err);
    if (rc < 0) {
        dbk_index_free(index);
        return rc;
    }
    *index_out = index;
    return DBK_OK;
}

/* A reader beside a writer takes over the runs that the writer has made meanwhile. */
static int adopt_runs(struct dbk_index *index, struct dbk_error *err)
{
    struct dbk_run_files runs = {0};
    size_t kept = 0;
    int rc = dbk_run_files_open(index->os, index->folder, dbk_log_book_id(index->log),
                                dbk_log_last_position(index->log), false, &runs, err);
    if (rc == DBK_ENOTFOUND)
        return DBK_OK;
    if (rc < 0)
        return rc;
    (void)pthread_rwlock_wrlock(&index->lock);
    struct dbk_run_files old = index->runs;
    bool further =
        runs.count > 0 && runs.items[runs.count - 1]->run.last > dbk_index_covered(index);
    if (further) {
        index->runs = runs;
        runs = old;
        for (size_t i = 0; i < index->chunk_count; i++) {
            if (dbk_chunk_last(index->chunks[i]) > dbk_index_covered(index))
                index->chunks[kept++] = index->chunks[i];
            else
                dbk_chunk_free(index->chunks[i]);
        }
        index->chunk_count = kept;
    }
    (void)pthread_rwlock_unlock(&index->lock);
    dbk_run_files_release(index->os, &runs);
    return DBK_OK;
}

int dbk_index_refresh(struct dbk_index *index, struct dbk_error *err)
{
    dbk_assert(!index->writer);
    int rc = full_chunks(index) >= 2 ? adopt_runs(index, err) : DBK_OK;
    return rc == DBK_OK ? catch_up(index, NULL, err) : rc;
}

static void stop_thread(struct dbk_index *index)
{
    if (!index->thread_runs)
        return;
    (void)pthread_mutex_lock(&index->work_lock);
    index->stop = true;
    (void)pthread_cond_signal(&index->work);
    (void)pthread_mutex_unlock(&index->work_lock);
    (void)pthread_join(index->thread, NULL);
    index->thread_runs = false;
}

/* Closing may leave the tail to the next open: nothing is lost when this fails. */
static void keep_tail(struct dbk_index *index)
{
    uint64_t events = 0;
    for (size_t i = 0; i < index->chunk_count; i++)
        events += index->chunks[i]->count;
    bool worth = events >= DBK_INDEX_TAIL_KEPT || events >= index->chunk_events;
    while (worth && index->chunk_count > 0 && dbk_chunk_last(index->chunks[0]) <= index->synced &&
           make_run(index, index->chunks[0], NULL) == DBK_OK) {
    }
}

void dbk_index_free(struct dbk_index *index)
{
    if (index == NULL)
        return;
    bool open = index->thread_runs;
    stop_thread(index);
    if (open)
        keep_tail(index);
    for (size_t i = 0; i < index->chunk_count; i++)
        dbk_chunk_free(index->chunks[i]);
    dbk_chunk_free(index->spare);
    dbk_free((void *)index->chunks);
    dbk_run_files_release(index->os, &index->runs);
    (void)pthread_rwlock_destroy(&index->lock);
    (void)pthread_mutex_destroy(&index->work_lock);
    (void)pthread_cond_destroy(&index->work);
    (void)pthread_cond_destroy(&index->done);
    dbk_free(index->folder);
    dbk_free(index);
}
