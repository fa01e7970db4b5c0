/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A view as it was: its SELECT over the models as of then and the log up to there, by the way of
 * `sql` as of a time, into a file that is kept. Its definition is that of all that it stands on.
 */
#include <inttypes.h>
#include <stdio.h>

#include "engine/state.h"

#define SQL_SIZE 300
/* How often it is begun again because the models' files were removed. */
#define TRIES 3

static const struct dbk_view_definition *find_view(const struct dbk_engine *engine,
                                                   const char *name)
{
    const struct dbk_book *book = engine->book;
    for (size_t i = 0; i < book->view_count; i++) {
        if (strcmp(book->views[i].name, name) == 0)
            return &book->views[i];
    }
    return NULL;
}

/* Its SELECT, and what the names in it stand for; each view once, where several ways lead to it. */
static void add_view(const struct dbk_engine *engine, const struct dbk_view_definition *view,
                     struct dbk_sha256 *hash, bool *added)
{
    const struct dbk_book *book = engine->book;
    added[view - book->views] = true;
    dbk_sha256_update(hash, view->sql);
    for (size_t i = 0; i < book->model_count; i++) {
        const char *model = book->models[i].name;
        if (strcmp(book->models[i].database, view->database) == 0 &&
            dbk_rows_names_model(engine, view->sql, i))
            dbk_sha256_update(hash, dbk_slice_of(dbk_models_fingerprint(engine->models, model)));
    }
    for (size_t i = 0; i < book->view_count; i++) {
        if (!added[i] && strcmp(book->views[i].database, view->database) == 0 &&
            dbk_sql_names(view->sql, book->views[i].name))
            add_view(engine, &book->views[i], hash, added);
    }
}

int dbk_engine_view_fingerprint(const struct dbk_engine *engine,
                                const struct dbk_view_definition *view,
                                char text_out[DBK_VIEW_FINGERPRINT_SIZE], struct dbk_error *err)
{
    bool *added = dbk_alloc_zero(engine->book->view_count + 1, sizeof(*added));
    if (added == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "view %s: %s", view->name, dbk_code_text(DBK_ENOMEM));
    struct dbk_sha256 hash;
    struct dbk_history history;
    uint8_t digest[DBK_SHA256_SIZE];
    dbk_store_history(engine->store, &history);
    dbk_sha256_init(&hash);
    dbk_sha256_update(&hash, dbk_slice((const char *)history.upcasts, sizeof(history.upcasts)));
    add_view(engine, view, &hash, added);
    dbk_free(added);
    dbk_sha256_final(&hash, digest);
    for (size_t i = 0; i < sizeof(digest); i++)
        (void)snprintf(text_out + 2 * i, 3, "%02x", digest[i]);
    return DBK_OK;
}

/* A server's view is in that server's SQL, and may read tables that no event has made. */
static int check_stands(const struct dbk_view_definition *view, struct dbk_error *err)
{
    if (dbk_target_dialect(view->database_path) == DBK_DIALECT_SQLITE)
        return DBK_OK;
    return dbk_error_set(err, DBK_EINVAL,
                         "view %s does not stand on the log: it is a SELECT of the server `%s`, "
                         "whose tables may be others than read models; let it lie in a SQLite "
                         "database of the book",
                         view->name, view->database);
}

/* When a position was recorded; a position has a time only if there is an event. */
static int time_of(struct dbk_engine *engine, uint64_t position, int64_t *time_us_out,
                   struct dbk_error *err)
{
    const struct dbk_filter filter = {.position_min = position,
                                      .position_max = position,
                                      .raw = true,
                                      .held = true,
                                      .hidden = true,
                                      .removed = true};
    struct dbk_cursor *cursor = NULL;
    struct dbk_event event;
    *time_us_out = DBK_TIME_NONE;
    if (position == 0)
        return DBK_OK;
    int rc = dbk_cursor_open(engine->store, &filter, &cursor, err);
    if (rc == DBK_OK)
        rc = dbk_cursor_next(cursor, &event, err);
    if (rc == 1)
        *time_us_out = event.time_us;
    dbk_cursor_free(cursor);
    return rc < 0 ? rc : DBK_OK;
}

/* The position that is meant, and of one that was named the time that it has. */
static int find_position(struct dbk_engine *engine, const struct dbk_view_as_of_options *options,
                         struct dbk_as_of_time *time, uint64_t *position_out, struct dbk_error *err)
{
    uint64_t last = dbk_store_last_position(engine->store);
    *time = options->time;
    if (options->position == 0)
        return dbk_models_as_of_position(engine->store, time, position_out, err);
    if (options->position > last)
        return dbk_error_set(err, DBK_EINVAL,
                             "there is no position %" PRIu64 ": the log ends at %" PRIu64,
                             options->position, last);
    *position_out = options->position;
    *time = (struct dbk_as_of_time){0};
    return time_of(engine, options->position, &time->time_us, err);
}

static const char *column_of(void *context, int column)
{
    return dbk_rows_column_name(context, column);
}

static int next_of(void *context, struct dbk_error *err)
{
    return dbk_rows_next(context, err);
}

static struct dbk_value value_of(void *context, int column)
{
    return dbk_rows_value(context, column);
}

/* The models that it needs are built before the folder's lock is ours. overtaken_out: their files
   were removed before it was, as forgetting does: of them none is to be made. */
static int build_once(struct dbk_engine *engine, const struct dbk_as_of_view_options *file,
                      uint64_t *rows_out, bool *overtaken_out, struct dbk_error *err)
{
    char sql[SQL_SIZE];
    struct dbk_rows *rows = NULL;
    struct dbk_as_of_view *view = NULL;
    (void)snprintf(sql, sizeof(sql), "SELECT * FROM \"%s\"", file->view);
    const struct dbk_rows_options options = {.sql = dbk_slice_of(sql),
                                             .at = &file->time,
                                             .position_max = file->target,
                                             .progress = file->progress,
                                             .context = file->context};
    int rc = dbk_engine_rows(engine, &options, &rows, err);
    if (rc == DBK_OK)
        rc = dbk_as_of_view_begin(engine->models, file, &view, err);
    *overtaken_out = rc == DBK_OK && dbk_target_has_moved(rows->connection);
    if (*overtaken_out) {
        rc = dbk_error_set(err, DBK_EBUSY,
                           "view %s: what it is built of was removed meanwhile; ask once more",
                           file->view);
        rc = dbk_as_of_view_end(view, rc, err);
    } else if (rc == DBK_OK) {
        const struct dbk_view_copy copy = {.name = file->view,
                                           .fingerprint = file->fingerprint,
                                           .position = file->target,
                                           .as_of_us = engine->os->now_us(engine->os),
                                           .column_count = dbk_rows_column_count(rows),
                                           .column = column_of,
                                           .next = next_of,
                                           .value = value_of,
                                           .context = rows,
                                           .progress = file->progress,
                                           .progress_context = file->context};
        rc = dbk_view_copy_rows(dbk_as_of_view_connection(view), &copy, rows_out, err);
        rc = dbk_as_of_view_end(view, rc, err);
    }
    dbk_rows_free(rows);
    return rc;
}

static int build(struct dbk_engine *engine, const struct dbk_as_of_view_options *file,
                 uint64_t *rows_out, struct dbk_error *err)
{
    bool overtaken = false;
    int rc = build_once(engine, file, rows_out, &overtaken, err);
    for (int i = 1; overtaken && i < TRIES; i++)
        rc = build_once(engine, file, rows_out, &overtaken, err);
    return rc;
}

int dbk_engine_view_as_of(struct dbk_engine *engine, const struct dbk_view_as_of_options *options,
                          struct dbk_view_as_of *as_of_out, struct dbk_error *err)
{
    size_t index = 0;
    char fingerprint[DBK_VIEW_FINGERPRINT_SIZE];
    struct dbk_view_as_of answer = {0};
    struct dbk_as_of_view_options file = {.os = engine->os,
                                          .folder = engine->as_of,
                                          .file = options->file,
                                          .view = options->view,
                                          .fingerprint = fingerprint,
                                          .progress = options->progress,
                                          .context = options->context};
    const struct dbk_view_definition *view = find_view(engine, options->view);
    int rc = dbk_views_find(engine->views, options->view, &index, err);
    if (rc < 0 || view == NULL)
        return rc;
    rc = dbk_engine_view_fingerprint(engine, view, fingerprint, err);
    if (rc == DBK_OK)
        rc = check_stands(view, err);
    if (rc == DBK_OK)
        rc = find_position(engine, options, &file.time, &file.target, err);
    if (rc == DBK_OK)
        rc = dbk_as_of_view_find(engine->models, &file, answer.file, &answer.found, err);
    if (rc == DBK_OK)
        rc = answer.found ? dbk_view_copied(answer.file, options->view, &answer.rows, err)
                          : build(engine, &file, &answer.rows, err);
    if (rc == DBK_OK)
        rc = time_of(engine, file.target, &answer.position_time_us, err);
    answer.position = file.target;
    if (rc == DBK_OK)
        *as_of_out = answer;
    return rc;
}
