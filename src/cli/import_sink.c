/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/import_sink.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>

#include "base/assert.h"
#include "json/json.h"

struct dbk_sink {
    struct dbk_link *link;
    struct dbk_import_batch batches[DBK_SINK_BATCHES];
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    pthread_t thread;
    bool running;
    /* Guarded by mutex: */
    struct dbk_import_batch *empty[DBK_SINK_BATCHES];
    size_t empty_count;
    struct dbk_import_batch *full[DBK_SINK_BATCHES]; /* in order, oldest first */
    size_t full_count;
    bool closing; /* no more will be put */
    bool dropped; /* what is still full is not to be appended */
    struct dbk_error error;
    struct dbk_sink_counts counts;
};

/* ---- Appending ---- */

/* "rows 1 to 1000: event 7: …" */
static void note_misfits(struct dbk_sink_counts *counts, const struct dbk_import_batch *batch,
                         uint64_t count, struct dbk_slice first)
{
    if (counts->misfits == 0 && count > 0)
        (void)snprintf(counts->misfit, sizeof(counts->misfit), "rows %ju to %ju: %.*s",
                       (uintmax_t)batch->row_first, (uintmax_t)batch->row_last,
                       DBK_SLICE_ARGS(first));
    counts->misfits += count;
}

static int append_here(struct dbk_sink *sink, const struct dbk_import_batch *batch,
                       struct dbk_sink_counts *counts, struct dbk_error *err)
{
    struct dbk_append_result result = {0};
    struct dbk_batch whole = {
        .events = batch->events, .count = batch->count, .flags = DBK_APPEND_SKIP_KNOWN};
    /* The JSON is the sandbox's own writing. */
    int rc = dbk_engine_append_own_json(dbk_link_engine(sink->link), &whole, &result, err);
    if (rc < 0)
        return rc;
    note_misfits(counts, batch, result.warnings.count, dbk_slice_of(result.warnings.first));
    counts->added += result.appended;
    counts->known += result.skipped;
    if (result.last_position > counts->position)
        counts->position = result.last_position;
    return DBK_OK;
}

static void write_event(struct dbk_buf *body, const struct dbk_import_batch *batch, size_t index)
{
    const struct dbk_import_event *item = &batch->items[index];
    char id[DBK_UUID_TEXT_SIZE];
    char time[DBK_TIME_TEXT_SIZE];
    bool first = true;
    dbk_uuid_format(&item->id, id);
    dbk_buf_append_text(body, index == 0 ? "{" : ",{");
    dbk_json_write_key(body, &first, "stream");
    dbk_json_write_string(body, dbk_import_part(batch, item->stream));
    dbk_json_write_key(body, &first, "type");
    dbk_json_write_string(body, dbk_import_part(batch, item->type));
    dbk_json_write_key(body, &first, "id");
    dbk_json_write_string(body, dbk_slice_of(id));
    if (item->occurred_us != DBK_TIME_NONE) {
        size_t size = dbk_time_format(item->occurred_us, time);
        dbk_json_write_key(body, &first, "occurred");
        dbk_json_write_string(body, dbk_slice(time, size));
    }
    if (item->schema_version != 0) {
        dbk_json_write_key(body, &first, "schema_version");
        dbk_json_write_u64(body, item->schema_version);
    }
    dbk_json_write_key(body, &first, "data");
    dbk_buf_append(body, dbk_import_part(batch, item->data));
    if (item->meta.size > 0) {
        dbk_json_write_key(body, &first, "meta");
        dbk_buf_append(body, dbk_import_part(batch, item->meta));
    }
    if (item->tags.size > 0) {
        dbk_json_write_key(body, &first, "tags");
        dbk_buf_append(body, dbk_import_part(batch, item->tags));
    }
    dbk_buf_append_char(body, '}');
}

static uint64_t member_of(const struct dbk_json_node *object, const char *key)
{
    const struct dbk_json_node *member = dbk_json_member(object, key);
    return member != NULL && member->kind == DBK_JSON_INTEGER && member->integer > 0
               ? (uint64_t)member->integer
               : 0;
}

static int append_there(struct dbk_sink *sink, const struct dbk_import_batch *batch,
                        struct dbk_sink_counts *counts, struct dbk_error *err)
{
    struct dbk_call call;
    struct dbk_answer answer;
    const struct dbk_json_node *root = NULL;
    struct dbk_json *json = dbk_json_create(1 << 20);
    dbk_answer_init(&answer);
    dbk_call_init(&call, "POST", "/events");
    dbk_buf_append_text(&call.body, "{\"skip_known\":true,\"events\":[");
    for (size_t i = 0; i < batch->count; i++)
        write_event(&call.body, batch, i);
    dbk_buf_append_text(&call.body, "]}");
    int rc = json == NULL ? dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM))
                          : dbk_link_send(sink->link, &call, NULL, NULL, &answer, err);
    if (rc == DBK_OK)
        rc = dbk_json_parse(json, dbk_buf_slice(&answer.body), &root, err);
    if (rc == DBK_OK) {
        counts->added += member_of(root, "appended");
        counts->known += member_of(root, "skipped");
        const struct dbk_json_node *warnings = dbk_json_member(root, "warnings");
        const struct dbk_json_node *misfit = warnings == NULL ? NULL : dbk_json_first(warnings);
        if (misfit != NULL && misfit->kind == DBK_JSON_STRING)
            note_misfits(counts, batch, member_of(root, "warning_count"), misfit->text);
        if (answer.position > counts->position)
            counts->position = answer.position;
    }
    dbk_json_free(json);
    dbk_answer_release(&answer);
    dbk_call_release(&call);
    return rc;
}

static int append(struct dbk_sink *sink, const struct dbk_import_batch *batch,
                  struct dbk_sink_counts *counts, struct dbk_error *err)
{
    struct dbk_error why = {0};
    int rc = dbk_link_engine(sink->link) != NULL ? append_here(sink, batch, counts, &why)
                                                 : append_there(sink, batch, counts, &why);
    if (rc < 0)
        return dbk_error_set(err, rc, "events of rows %ju to %ju: %s", (uintmax_t)batch->row_first,
                             (uintmax_t)batch->row_last, why.message);
    return DBK_OK;
}

static void *run(void *context)
{
    struct dbk_sink *sink = context;
    (void)pthread_mutex_lock(&sink->mutex);
    for (;;) {
        while (sink->full_count == 0 && !sink->closing)
            (void)pthread_cond_wait(&sink->changed, &sink->mutex);
        if (sink->full_count == 0)
            break;
        struct dbk_import_batch *batch = sink->full[0];
        struct dbk_sink_counts counts = sink->counts;
        struct dbk_error err = {0};
        bool wanted = !sink->dropped && sink->error.code == DBK_OK;
        sink->full_count--;
        for (size_t i = 0; i < sink->full_count; i++)
            sink->full[i] = sink->full[i + 1];
        (void)pthread_mutex_unlock(&sink->mutex);
        if (wanted && batch->count > 0)
            (void)append(sink, batch, &counts, &err);
        dbk_import_batch_reset(batch);
        (void)pthread_mutex_lock(&sink->mutex);
        sink->counts = counts;
        if (sink->error.code == DBK_OK)
            sink->error = err;
        sink->empty[sink->empty_count++] = batch;
        (void)pthread_cond_broadcast(&sink->changed);
    }
    (void)pthread_mutex_unlock(&sink->mutex);
    return NULL;
}

/* ---- Life ---- */

int dbk_sink_open(struct dbk_link *link, struct dbk_sink **sink_out, struct dbk_error *err)
{
    struct dbk_sink *sink = dbk_alloc_zero(1, sizeof(*sink));
    sigset_t all;
    sigset_t before;
    if (sink == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM));
    sink->link = link;
    (void)pthread_mutex_init(&sink->mutex, NULL);
    (void)pthread_cond_init(&sink->changed, NULL);
    for (size_t i = 0; i < DBK_SINK_BATCHES; i++) {
        dbk_import_batch_init(&sink->batches[i]);
        sink->empty[sink->empty_count++] = &sink->batches[i];
    }
    /* Signals are for the thread that reads the file, which may be waiting for its input. */
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_BLOCK, &all, &before);
    int failed = pthread_create(&sink->thread, NULL, run, sink);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed != 0) {
        dbk_sink_free(sink);
        return dbk_error_set_errno(err, failed, "the import's thread");
    }
    sink->running = true;
    *sink_out = sink;
    return DBK_OK;
}

static void close_sink(struct dbk_sink *sink, bool dropped)
{
    if (!sink->running)
        return;
    (void)pthread_mutex_lock(&sink->mutex);
    sink->closing = true;
    sink->dropped = sink->dropped || dropped;
    (void)pthread_cond_broadcast(&sink->changed);
    (void)pthread_mutex_unlock(&sink->mutex);
    (void)pthread_join(sink->thread, NULL);
    sink->running = false;
}

void dbk_sink_free(struct dbk_sink *sink)
{
    if (sink == NULL)
        return;
    close_sink(sink, true);
    for (size_t i = 0; i < DBK_SINK_BATCHES; i++)
        dbk_import_batch_release(&sink->batches[i]);
    (void)pthread_cond_destroy(&sink->changed);
    (void)pthread_mutex_destroy(&sink->mutex);
    dbk_free(sink);
}

int dbk_sink_take(struct dbk_sink *sink, struct dbk_import_batch **batch_out, struct dbk_error *err)
{
    int rc = DBK_OK;
    (void)pthread_mutex_lock(&sink->mutex);
    while (sink->empty_count == 0)
        (void)pthread_cond_wait(&sink->changed, &sink->mutex);
    if (sink->error.code != DBK_OK) {
        *err = sink->error;
        rc = sink->error.code;
    } else {
        *batch_out = sink->empty[--sink->empty_count];
    }
    (void)pthread_mutex_unlock(&sink->mutex);
    return rc;
}

void dbk_sink_put(struct dbk_sink *sink, struct dbk_import_batch *batch)
{
    (void)pthread_mutex_lock(&sink->mutex);
    dbk_assert(sink->full_count < DBK_SINK_BATCHES);
    sink->full[sink->full_count++] = batch;
    (void)pthread_cond_broadcast(&sink->changed);
    (void)pthread_mutex_unlock(&sink->mutex);
}

int dbk_sink_finish(struct dbk_sink *sink, struct dbk_sink_counts *counts_out,
                    struct dbk_error *err)
{
    close_sink(sink, false);
    *counts_out = sink->counts;
    if (sink->error.code == DBK_OK)
        return DBK_OK;
    *err = sink->error;
    return sink->error.code;
}
