/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reports: a named query on one cut of the book.
 *
 * What a query reads has one position when it is one model, or several that happen to be level. The
 * read's transaction is open by then, so that its position is that of the rows: where it is no cut
 * the read is dropped, and begun again once all have got to where the furthest was.
 */
#include <inttypes.h>
#include <stdio.h>

#include "engine/state.h"
#include "json/json.h"

#define PAUSE_NS 1000000L
#define STATE_SIZE_MAX ((size_t)1 << 20)

struct report {
    struct dbk_engine *engine;
    const struct dbk_book_query *query;
    struct dbk_arena arena;
    bool *models; /* that it reads, itself or through a view */
    bool log;     /* it reads `events` */
    uint64_t end; /* of the batch that its position is in */
};

static int64_t now_us(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* ---- What it reads ---- */

/* Adds the models, and the log, that a SELECT names; how many models there are. */
static size_t add_named(struct report *report, struct dbk_slice sql)
{
    const struct dbk_book *book = report->engine->book;
    size_t count = 0;
    for (size_t i = 0; i < book->model_count; i++) {
        if (dbk_rows_names_model(report->engine, sql, i)) {
            report->models[i] = true;
            count++;
        }
    }
    if (dbk_sql_names(sql, "events"))
        report->log = true;
    return count;
}

/* A view's position says nothing of the models beneath it when they are several. */
static int add_view(struct report *report, const struct dbk_view_definition *view, unsigned depth,
                    struct dbk_error *err)
{
    const struct dbk_book *book = report->engine->book;
    int rc = DBK_OK;
    size_t count = add_named(report, view->sql);
    for (size_t i = 0; rc == DBK_OK && depth < book->view_count && i < book->view_count; i++) {
        if (&book->views[i] != view && dbk_sql_names(view->sql, book->views[i].name)) {
            count++;
            rc = add_view(report, &book->views[i], depth + 1, err);
        }
    }
    if (rc == DBK_OK && count > 1)
        rc = dbk_error_set(err, DBK_EINVAL,
                           "%s: the view %s stands on several models or views, which may each have "
                           "been elsewhere when it was refreshed: a report reads one model that "
                           "follows all of its sources",
                           report->query->file, view->name);
    return rc;
}

static int find_models(struct report *report, struct dbk_error *err)
{
    const struct dbk_book *book = report->engine->book;
    int rc = DBK_OK;
    report->models =
        dbk_arena_alloc_zero(&report->arena, book->model_count + 1, sizeof(*report->models));
    if (report->models == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory reporting");
    (void)add_named(report, report->query->sql);
    for (size_t i = 0; rc == DBK_OK && i < book->view_count; i++) {
        if (dbk_sql_names(report->query->sql, book->views[i].name))
            rc = add_view(report, &book->views[i], 0, err);
    }
    return rc;
}

/* ---- Whether it is a cut ---- */

/* 1: an event was read; 0: there is none. It is valid until the cursor is freed. */
static int read_one(struct report *report, const struct dbk_filter *filter,
                    struct dbk_cursor **cursor_out, struct dbk_event *event_out,
                    struct dbk_error *err)
{
    int rc = dbk_cursor_open(report->engine->store, filter, cursor_out, err);
    return rc == DBK_OK ? dbk_cursor_next(*cursor_out, event_out, err) : rc;
}

/* A batch that goes on behind a position is split by it, unless only Daybook's own notes follow. */
static int find_end(struct report *report, uint64_t position, bool *split_out,
                    struct dbk_error *err)
{
    struct dbk_cursor *cursor = NULL;
    struct dbk_event event = {0};
    const struct dbk_filter filter = {
        .position_min = position, .hidden = true, .removed = true, .held = true, .raw = true};
    report->end = position;
    if (position == 0)
        return DBK_OK;
    int rc = read_one(report, &filter, &cursor, &event, err);
    if (rc == 1 && event.position == position) {
        while (rc == 1 && (event.flags & DBK_RECORD_BATCH_END) == 0) {
            rc = dbk_cursor_next(cursor, &event, err);
            if (rc != 1)
                break;
            report->end = event.position;
            *split_out = *split_out || event.stream.data[0] != '$';
        }
    }
    dbk_cursor_free(cursor);
    return rc < 0 ? rc : DBK_OK;
}

/* What a capture has noted last, up to a position. Empty: nothing that is still there. */
static int read_note(struct report *report, const char *service, enum dbk_capture_kind kind,
                     struct dbk_slice *note_out, struct dbk_error *err)
{
    struct dbk_cursor *cursor = NULL;
    struct dbk_event event = {0};
    const char *ending = kind == DBK_CAPTURE_POLLING  ? ".polling"
                         : kind == DBK_CAPTURE_OUTBOX ? ".outbox"
                                                      : "";
    const char *stream = dbk_arena_format(&report->arena, "$capture-%s%s", service, ending);
    if (stream == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory reporting");
    const struct dbk_filter filter = {.stream = dbk_slice_of(stream),
                                      .position_max = report->end,
                                      .hidden = true,
                                      .removed = true,
                                      .backwards = true};
    int rc = report->end == 0 ? 0 : read_one(report, &filter, &cursor, &event, err);
    *note_out = (struct dbk_slice){0};
    if (rc == 1 && (event.flags & DBK_RECORD_REMOVED) == 0)
        *note_out = dbk_arena_copy(&report->arena, event.data);
    dbk_cursor_free(cursor);
    return rc < 0 ? rc : DBK_OK;
}

/* ---- Its sources ---- */

struct source {
    struct dbk_slice category;
    const struct dbk_capture_service *service; /* whose it is; NULL: nobody's */
    enum dbk_capture_kind kind;                /* NONE: events that programs append */
};

static void find_owner(const struct dbk_book *book, struct source *source)
{
    const char *dot = memchr(source->category.data, '.', source->category.size);
    if (dot != NULL) {
        size_t size = (size_t)(dot - source->category.data);
        source->service = dbk_book_service(book, dbk_slice(source->category.data, size));
        const struct dbk_capture_table *table =
            source->service == NULL
                ? NULL
                : dbk_capture_table(source->service,
                                    dbk_slice(dot + 1, source->category.size - size - 1));
        source->kind = table == NULL ? DBK_CAPTURE_NONE : table->kind;
        return;
    }
    for (size_t i = 0; i < book->service_count; i++) {
        const struct dbk_service_definition *service = &book->service_definitions[i];
        for (size_t j = 0; j < service->append_count; j++) {
            if (!dbk_slice_equal_text(source->category, service->appends[j]))
                continue;
            source->service = service->own;
            if (service->own->outbox.table != NULL)
                source->kind = DBK_CAPTURE_OUTBOX;
        }
    }
}

static const char *kind_text(enum dbk_capture_kind kind)
{
    switch (kind) {
    case DBK_CAPTURE_NONE:
        break;
    case DBK_CAPTURE_CDC:
        return "cdc";
    case DBK_CAPTURE_POLLING:
        return "polling";
    case DBK_CAPTURE_OUTBOX:
        return "outbox";
    }
    return "events";
}

static void put_text(struct dbk_buf *out, bool *first, const char *key, struct dbk_slice text)
{
    dbk_json_write_key(out, first, key);
    if (text.size == 0)
        dbk_buf_append_text(out, "null");
    else
        dbk_json_write_string(out, text);
}

static void put_time(struct dbk_buf *out, bool *first, const char *key, int64_t time_us)
{
    char text[DBK_TIME_TEXT_SIZE];
    size_t size = time_us == DBK_TIME_NONE ? 0 : dbk_time_format(time_us, text);
    put_text(out, first, key, dbk_slice(text, size));
}

/* The source's own position, out of a capture's note; and whether the note is of a part of a
   transaction. */
static int take_note(struct report *report, const struct source *source,
                     struct dbk_slice *position_out, bool *split_out, struct dbk_error *err)
{
    struct dbk_slice note = {0};
    const struct dbk_json_node *root = NULL;
    int rc = read_note(report, source->service->name, source->kind, &note, err);
    *position_out = (struct dbk_slice){0};
    if (rc < 0 || note.size == 0)
        return rc;
    struct dbk_json *json = dbk_json_create(STATE_SIZE_MAX + note.size);
    rc = json == NULL ? dbk_error_set(err, DBK_ENOMEM, "out of memory reporting")
                      : dbk_json_parse(json, note, &root, err);
    if (rc == DBK_OK) {
        const struct dbk_json_node *state = dbk_json_member(root, "source");
        const struct dbk_json_node *position =
            state == NULL || state->kind != DBK_JSON_OBJECT ? NULL : dbk_json_member(state, "lsn");
        if (position == NULL && state != NULL && state->kind == DBK_JSON_OBJECT)
            position = dbk_json_member(state, "position");
        if (position != NULL && position->kind == DBK_JSON_STRING)
            *position_out = dbk_arena_copy(&report->arena, position->text);
        *split_out = *split_out || dbk_json_member(root, "part") != NULL;
    }
    dbk_json_free(json);
    return rc;
}

static int put_source(struct report *report, const struct source *source, struct dbk_buf *out,
                      bool *split_out, struct dbk_error *err)
{
    struct dbk_cursor *cursor = NULL;
    struct dbk_event event = {.time_us = DBK_TIME_NONE, .occurred_us = DBK_TIME_NONE};
    struct dbk_slice position = {0};
    bool first = true;
    const struct dbk_filter filter = {.categories = &source->category,
                                      .category_count = 1,
                                      .position_max = report->end,
                                      .raw = true,
                                      .backwards = true};
    bool captured = source->kind != DBK_CAPTURE_NONE;
    int rc = report->end == 0 ? 0 : read_one(report, &filter, &cursor, &event, err);
    if (rc >= 0 && captured)
        rc = take_note(report, source, &position, split_out, err);
    if (rc >= 0) {
        dbk_buf_append_char(out, '{');
        put_text(out, &first, "source", source->category);
        put_text(out, &first, "service",
                 source->service == NULL ? (struct dbk_slice){0}
                                         : dbk_slice_of(source->service->name));
        put_text(out, &first, "by", dbk_slice_of(kind_text(source->kind)));
        put_text(out, &first, "source_position", position);
        dbk_json_write_key(out, &first, "event");
        dbk_buf_append_format(out, "%" PRIu64, event.position);
        put_time(out, &first, "committed",
                 captured && event.occurred_us != DBK_TIME_NONE ? event.occurred_us
                                                                : event.time_us);
        dbk_buf_append_char(out, '}');
    }
    dbk_cursor_free(cursor);
    return rc < 0 ? rc : DBK_OK;
}

static bool is_told(const struct report *report, size_t model, struct dbk_slice category)
{
    const struct dbk_book *book = report->engine->book;
    for (size_t i = 0; i < model; i++) {
        for (size_t j = 0; report->models[i] && j < book->models[i].category_count; j++) {
            if (dbk_slice_equal(book->models[i].categories[j], category))
                return true;
        }
    }
    return false;
}

static int put_sources(struct report *report, struct dbk_buf *out, bool *split_out,
                       struct dbk_error *err)
{
    const struct dbk_book *book = report->engine->book;
    size_t count = 0;
    int rc = DBK_OK;
    for (size_t i = 0; i < book->model_count; i++) {
        const struct dbk_model_definition *model = &book->models[i];
        for (size_t j = 0; rc == DBK_OK && report->models[i] && j < model->category_count; j++) {
            struct source source = {.category = model->categories[j]};
            if (is_told(report, i, source.category))
                continue;
            find_owner(book, &source);
            dbk_buf_append_text(out, count++ > 0 ? "," : "");
            rc = put_source(report, &source, out, split_out, err);
        }
    }
    return rc;
}

static int put_cut(struct report *report, uint64_t position, struct dbk_buf *out, bool *split_out,
                   struct dbk_error *err)
{
    struct dbk_cursor *cursor = NULL;
    struct dbk_event event = {.time_us = DBK_TIME_NONE};
    const struct dbk_filter filter = {
        .position_max = position, .hidden = true, .removed = true, .raw = true, .backwards = true};
    bool first = true;
    int rc = position == 0 ? 0 : read_one(report, &filter, &cursor, &event, err);
    dbk_cursor_free(cursor);
    if (rc < 0)
        return rc;
    dbk_buf_append_char(out, '{');
    dbk_json_write_key(out, &first, "position");
    dbk_buf_append_format(out, "%" PRIu64, position);
    put_time(out, &first, "time", event.time_us);
    dbk_json_write_key(out, &first, "log");
    dbk_buf_append_text(out, report->log ? "true" : "false");
    dbk_json_write_key(out, &first, "sources");
    dbk_buf_append_char(out, '[');
    rc = put_sources(report, out, split_out, err);
    dbk_buf_append_text(out, "]}");
    return rc == DBK_OK && out->rc < 0 ? dbk_error_set(err, out->rc, "out of memory reporting")
                                       : rc;
}

/* ---- Reading ---- */

/* 1: the rows are of one cut, which is written; 0: they are not. */
static int look(struct report *report, const struct dbk_rows *rows, struct dbk_buf *cut_out,
                struct dbk_error *err)
{
    bool split = rows->position != rows->position_max;
    int rc = split ? DBK_OK : find_end(report, rows->position, &split, err);
    if (rc < 0 || split)
        return rc;
    dbk_buf_reset(cut_out);
    rc = put_cut(report, rows->position, cut_out, &split, err);
    return rc < 0 ? rc : !split;
}

static int read_cut(struct report *report, const struct dbk_json_node *parameters, uint64_t after,
                    int64_t timeout_us, struct dbk_buf *cut_out, struct dbk_rows **rows_out,
                    struct dbk_error *err)
{
    const char *name = report->query->name;
    int64_t end_us = now_us() + timeout_us;
    for (;;) {
        struct dbk_rows *rows = NULL;
        int64_t left_us = end_us - now_us();
        int rc = dbk_engine_query(report->engine, name, parameters, after,
                                  left_us > 0 ? left_us : 0, &rows, err);
        if (rc < 0)
            return rc;
        rc = look(report, rows, cut_out, err);
        if (rc == 1) {
            *rows_out = rows;
            return DBK_OK;
        }
        uint64_t least = rows->position;
        uint64_t most = rows->position_max > report->end ? rows->position_max : report->end;
        dbk_rows_free(rows);
        if (rc < 0)
            return rc;
        if (left_us <= 0)
            return dbk_error_set(
                err, DBK_ETIMEOUT,
                "%s: what it reads was never as of one position: last from %" PRIu64 " to %" PRIu64
                ". One model that follows all of its sources is",
                report->query->file, least, most);
        after = most > after ? most : after;
        (void)nanosleep(&(struct timespec){.tv_nsec = PAUSE_NS}, NULL);
    }
}

int dbk_engine_report(struct dbk_engine *engine, const char *name,
                      const struct dbk_json_node *parameters, uint64_t after, int64_t timeout_us,
                      struct dbk_buf *cut_out, struct dbk_rows **rows_out, struct dbk_error *err)
{
    struct report report = {.engine = engine};
    dbk_arena_init(&report.arena, DBK_ENGINE_TEXT_SIZE_MAX);
    report.query = dbk_engine_find_query(engine, name, &report.arena, err);
    int rc = report.query == NULL ? DBK_ENOTFOUND : find_models(&report, err);
    if (rc == DBK_OK)
        rc = read_cut(&report, parameters, after, timeout_us, cut_out, rows_out, err);
    dbk_arena_release(&report.arena);
    return rc;
}
