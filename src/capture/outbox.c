/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/outbox.h"

#include <stdio.h>

#include "base/time.h"
#include "capture/entry.h"
#include "capture/reader.h"

#define JSON_SIZE_MAX ((size_t)64 << 20)
#define BATCH_ARENA_MAX ((size_t)256 << 20)
#define SQL_SIZE_MAX ((size_t)16 << 20)
#define STATE_SIZE_MAX ((size_t)4 << 20)
#define ROWS_MAX 500
/* A batch ends when it has got so large. */
#define BATCH_SIZE_FULL ((size_t)4 << 20)
#define TYPE_BOOL 16

enum part {
    PART_ID,
    PART_TYPE,
    PART_DATA,
    PART_STREAM,
    PART_CATEGORY,
    PART_KEY,
    PART_META,
    PART_OCCURRED,
    PART_COUNT
};

struct dbk_outbox {
    struct dbk_outbox_options options;
    struct dbk_connection *connection;
    bool postgres;
    struct dbk_capture_service service; /* its table is the outbox */
    struct dbk_capture_table table;
    struct dbk_reader reader;
    struct dbk_json *json;
    struct dbk_arena arena;
    struct dbk_arena batch;
    const char *columns[PART_COUNT]; /* NULL: none */
    const char *id_type;
    bool mark_is_flag;
    struct dbk_slice progress;
    uint64_t version;
    struct dbk_new_event *events;
    size_t count;
    size_t limit; /* rows of the next batch: one where a batch was refused */
    size_t rows_max;
    struct dbk_value *ids; /* of the batch */
    size_t id_count;       /* those that the book has, and the source may have */
    struct dbk_arena kept; /* their texts */
    uint64_t taken;
    char position[64];
    struct dbk_buf data;
};

static const struct dbk_capture_outbox *settings(const struct dbk_outbox *outbox)
{
    return &outbox->options.service->outbox;
}

static int no_memory(const struct dbk_outbox *outbox, struct dbk_error *err)
{
    return dbk_error_set(err, DBK_ENOMEM, "out of memory taking the outbox of %s",
                         outbox->options.service->name);
}

/* ---- What the book says ---- */

static int take_ids(struct dbk_outbox *outbox, const struct dbk_json_node *list)
{
    if (list == NULL || list->kind != DBK_JSON_ARRAY || list->count > outbox->rows_max)
        return DBK_ECORRUPT;
    const struct dbk_json_node *item = dbk_json_first(list);
    for (uint32_t i = 0; i < list->count; i++, item = dbk_json_sibling(item)) {
        struct dbk_value *id = &outbox->ids[i];
        *id = (struct dbk_value){.kind = DBK_VALUE_INTEGER, .integer = item->integer};
        if (item->kind == DBK_JSON_STRING) {
            id->kind = DBK_VALUE_TEXT;
            id->bytes = dbk_arena_copy(&outbox->kept, item->text);
            if (id->bytes.data == NULL)
                return DBK_ENOMEM;
        } else if (item->kind != DBK_JSON_INTEGER)
            return DBK_ECORRUPT;
    }
    outbox->id_count = list->count;
    return DBK_OK;
}

static int take_progress(struct dbk_outbox *outbox, const struct dbk_event *event,
                         struct dbk_error *err)
{
    const struct dbk_json_node *root = NULL;
    int rc = dbk_json_parse(outbox->json, event->data, &root, NULL);
    outbox->version = event->version;
    if (rc == DBK_OK) {
        const struct dbk_json_node *source = dbk_json_member(root, "source");
        rc = source == NULL || source->kind == DBK_JSON_NULL
                 ? DBK_OK
                 : take_ids(outbox, dbk_json_member(source, "ids"));
    }
    return rc < 0 ? dbk_error_set(err, rc == DBK_ENOMEM ? rc : DBK_ECORRUPT,
                                  "the last event of %.*s does not say which rows were taken",
                                  DBK_SLICE_ARGS(event->stream))
                  : DBK_OK;
}

static int read_progress(struct dbk_outbox *outbox, struct dbk_error *err)
{
    const struct dbk_filter filter = {
        .stream = outbox->progress, .hidden = true, .backwards = true, .raw = true};
    struct dbk_cursor *cursor = NULL;
    struct dbk_event event;
    int rc = dbk_cursor_open(outbox->options.store, &filter, &cursor, err);
    if (rc < 0)
        return rc;
    rc = dbk_cursor_next(cursor, &event, err);
    if (rc == 1)
        rc = take_progress(outbox, &event, err);
    dbk_cursor_free(cursor);
    return rc < 0 ? rc : DBK_OK;
}

/* ---- The table ---- */

static int check_column(struct dbk_outbox *outbox, const char *name, struct dbk_error *err)
{
    if (name == NULL || dbk_reader_column(&outbox->reader, dbk_slice_of(name)) != NULL)
        return DBK_OK;
    return dbk_error_set(
        err, DBK_ENOTFOUND,
        "%s:%u:%u: the outbox `%s` has no column `%s`: add it, or name its columns "
        "under `outbox`",
        outbox->options.service->file, outbox->table.line, outbox->table.column, outbox->table.name,
        name);
}

/* SQLite gives the id of a last row that was deleted to the next, unless it is told not to. */
#define REUSES                                                                                     \
    "SELECT count(*) FROM main.sqlite_schema AS s, pragma_table_info(s.name) AS c WHERE s.type = " \
    "'table' AND s.name = ?1 AND c.name = ?2 AND c.pk = 1 AND upper(c.type) = 'INTEGER' AND "      \
    "s.sql NOT LIKE '%AUTOINCREMENT%'"

static int check_reuse(struct dbk_outbox *outbox, struct dbk_error *err)
{
    struct dbk_statement *statement = NULL;
    const struct dbk_value name = {.kind = DBK_VALUE_TEXT,
                                   .bytes = dbk_slice_of(outbox->table.name)};
    const struct dbk_value id = {.kind = DBK_VALUE_TEXT,
                                 .bytes = dbk_slice_of(outbox->columns[PART_ID])};
    int rc =
        dbk_statement_open(outbox->connection, DBK_SLICE_LITERAL(REUSES), &statement, NULL, err);
    if (rc < 0)
        return rc;
    dbk_statement_bind(statement, 1, &name);
    dbk_statement_bind(statement, 2, &id);
    rc = dbk_statement_step(statement, err);
    if (rc == 1 && dbk_statement_column(statement, 0).integer > 0)
        rc = dbk_reader_fault(&outbox->reader, DBK_EINVAL, "gives ids of rows that are gone again",
                              "an event's id derives from it: make it `INTEGER PRIMARY KEY "
                              "AUTOINCREMENT`",
                              err);
    dbk_statement_free(statement);
    return rc < 0 ? rc : DBK_OK;
}

static int look(struct dbk_outbox *outbox, struct dbk_error *err)
{
    const struct dbk_capture_outbox *given = settings(outbox);
    int rc = dbk_reader_look(&outbox->reader, 1, err);
    for (size_t i = 0; i < PART_COUNT && rc == DBK_OK; i++)
        rc = check_column(outbox, outbox->columns[i], err);
    if (rc == DBK_OK)
        rc = check_column(outbox, given->mark, err);
    if (rc < 0)
        return rc;
    outbox->id_type =
        dbk_reader_column(&outbox->reader, dbk_slice_of(outbox->columns[PART_ID]))->type_name;
    outbox->mark_is_flag =
        given->mark != NULL &&
        dbk_reader_column(&outbox->reader, dbk_slice_of(given->mark))->type == TYPE_BOOL;
    return outbox->postgres ? DBK_OK : check_reuse(outbox, err);
}

static int open_parts(struct dbk_outbox *outbox, struct dbk_error *err)
{
    const struct dbk_outbox_options *options = &outbox->options;
    const struct dbk_capture_outbox *given = settings(outbox);
    const char *const columns[PART_COUNT] = {given->id,     given->type,     given->data,
                                             given->stream, given->category, given->key,
                                             given->meta,   given->occurred};
    memcpy(outbox->columns, columns, sizeof(columns));
    outbox->table = (struct dbk_capture_table){
        .name = given->table, .line = given->line, .column = given->column};
    outbox->service = *options->service;
    outbox->service.tables = &outbox->table;
    outbox->service.table_count = 1;
    outbox->rows_max =
        options->batch_count_max - 1 < ROWS_MAX ? options->batch_count_max - 1 : ROWS_MAX;
    outbox->limit = outbox->rows_max;
    outbox->json = dbk_json_create(JSON_SIZE_MAX);
    outbox->ids = dbk_arena_alloc_zero(&outbox->arena, outbox->rows_max, sizeof(*outbox->ids));
    outbox->events =
        dbk_arena_alloc_zero(&outbox->arena, outbox->rows_max + 1, sizeof(*outbox->events));
    outbox->progress =
        dbk_capture_progress_stream(options->service->name, DBK_CAPTURE_OUTBOX, &outbox->arena);
    if (outbox->json == NULL || outbox->ids == NULL || outbox->events == NULL ||
        outbox->progress.data == NULL)
        return no_memory(outbox, err);
    dbk_reader_init(&outbox->reader, outbox->connection, &outbox->service, 0, outbox->json);
    return DBK_OK;
}

int dbk_outbox_open(const struct dbk_outbox_options *options, struct dbk_outbox **outbox_out,
                    struct dbk_error *err)
{
    struct dbk_outbox *outbox = dbk_alloc_zero(1, sizeof(*outbox));
    if (outbox == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory taking the outbox of %s",
                             options->service->name);
    outbox->options = *options;
    dbk_arena_init(&outbox->arena, STATE_SIZE_MAX);
    dbk_arena_init(&outbox->kept, STATE_SIZE_MAX);
    dbk_arena_init(&outbox->batch, BATCH_ARENA_MAX);
    dbk_buf_init(&outbox->data, STATE_SIZE_MAX);
    int rc = dbk_connection_open(options->service->address, DBK_CONNECT_FOREIGN,
                                 &outbox->connection, err);
    if (rc == DBK_OK) {
        outbox->postgres = dbk_connection_dialect(outbox->connection) == DBK_DIALECT_POSTGRES;
        rc = open_parts(outbox, err);
    }
    if (rc == DBK_OK)
        rc = look(outbox, err);
    if (rc == DBK_OK)
        rc = read_progress(outbox, err);
    if (rc < 0) {
        dbk_outbox_free(outbox);
        return rc;
    }
    *outbox_out = outbox;
    return DBK_OK;
}

void dbk_outbox_free(struct dbk_outbox *outbox)
{
    if (outbox == NULL)
        return;
    dbk_reader_release(&outbox->reader);
    dbk_connection_free(outbox->connection);
    dbk_json_free(outbox->json);
    dbk_buf_release(&outbox->data);
    dbk_arena_release(&outbox->batch);
    dbk_arena_release(&outbox->kept);
    dbk_arena_release(&outbox->arena);
    dbk_free(outbox);
}

uint64_t dbk_outbox_count(const struct dbk_outbox *outbox)
{
    return outbox->taken;
}

const char *dbk_outbox_position(const struct dbk_outbox *outbox)
{
    return outbox->position;
}

/* ---- Removing ---- */

static void put_removal(const struct dbk_outbox *outbox, struct dbk_buf *sql)
{
    const char *mark = settings(outbox)->mark;
    dbk_buf_append_text(sql, mark == NULL ? "DELETE FROM " : "UPDATE ");
    dbk_reader_put_table(&outbox->reader, sql);
    if (mark != NULL) {
        dbk_buf_append_text(sql, " SET ");
        dbk_reader_put_name(sql, dbk_slice_of(mark));
        dbk_buf_append_text(sql, outbox->mark_is_flag ? " = true"
                                 : outbox->postgres   ? " = CURRENT_TIMESTAMP"
                                                      : " = strftime('%Y-%m-%dT%H:%M:%fZ', 'now')");
    }
    dbk_buf_append_text(sql, " WHERE ");
    dbk_reader_put_name(sql, dbk_slice_of(outbox->columns[PART_ID]));
    dbk_buf_append_text(sql, " IN (");
    for (size_t i = 0; i < outbox->id_count; i++) {
        if (i > 0)
            dbk_buf_append_char(sql, ',');
        dbk_reader_put_literal(&outbox->reader, &outbox->ids[i], outbox->id_type, sql);
    }
    dbk_buf_append_char(sql, ')');
    dbk_buf_append_char(sql, '\0');
}

/* The book has them. */
static int remove_taken(struct dbk_outbox *outbox, struct dbk_error *err)
{
    struct dbk_buf sql;
    if (outbox->id_count == 0)
        return DBK_OK;
    dbk_buf_init(&sql, SQL_SIZE_MAX);
    put_removal(outbox, &sql);
    int rc =
        sql.rc < 0 ? no_memory(outbox, err) : dbk_connection_run(outbox->connection, sql.data, err);
    dbk_buf_release(&sql);
    if (rc == DBK_OK)
        outbox->id_count = 0;
    return rc;
}

/* ---- Rows ---- */

static void put_rows(const struct dbk_outbox *outbox, struct dbk_buf *sql)
{
    const char *mark = settings(outbox)->mark;
    dbk_buf_append_text(sql, "SELECT ");
    for (size_t i = 0; i < PART_COUNT; i++) {
        if (i > 0)
            dbk_buf_append_char(sql, ',');
        if (outbox->columns[i] == NULL)
            dbk_buf_append_text(sql, "NULL");
        else
            dbk_reader_put_plain(&outbox->reader, dbk_slice_of(outbox->columns[i]), sql);
    }
    dbk_buf_append_text(sql, " FROM ");
    dbk_reader_put_table(&outbox->reader, sql);
    if (mark != NULL) {
        dbk_buf_append_text(sql, " WHERE ");
        dbk_reader_put_name(sql, dbk_slice_of(mark));
        dbk_buf_append_text(sql, outbox->mark_is_flag ? " IS NOT TRUE" : " IS NULL");
    }
    dbk_buf_append_text(sql, " ORDER BY ");
    dbk_reader_put_name(sql, dbk_slice_of(outbox->columns[PART_ID]));
    dbk_buf_append_format(sql, " LIMIT %zu", outbox->limit);
}

static int name_row(const struct dbk_outbox *outbox, struct dbk_slice id, int code, const char *why,
                    struct dbk_error *err)
{
    return dbk_error_set(err, code,
                         "the row of the outbox `%s` of %s whose %s is %.*s becomes no event: %s. "
                         "What is behind it waits: correct the row, or take it out",
                         outbox->table.name, outbox->options.service->name,
                         outbox->columns[PART_ID], DBK_SLICE_ARGS(id), why);
}

struct row {
    struct dbk_slice id;
    struct dbk_slice texts[PART_COUNT]; /* data NULL: the value is NULL */
};

static int take_texts(struct dbk_outbox *outbox, struct dbk_statement *statement, struct row *row,
                      struct dbk_error *err)
{
    for (int i = 0; i < PART_COUNT; i++) {
        struct dbk_value value = dbk_statement_column(statement, i);
        row->texts[i] = (struct dbk_slice){0};
        if (value.kind != DBK_VALUE_NULL &&
            !dbk_reader_key_text(&value, &outbox->batch, &row->texts[i]))
            return no_memory(outbox, err);
    }
    row->id = row->texts[PART_ID];
    return DBK_OK;
}

/* `stream`, or `<category>-<key>`. */
static int take_stream(struct dbk_outbox *outbox, const struct row *row,
                       struct dbk_slice *stream_out, struct dbk_error *err)
{
    *stream_out = row->texts[PART_STREAM];
    if (outbox->columns[PART_STREAM] == NULL) {
        const char *name =
            dbk_arena_format(&outbox->batch, "%.*s-%.*s", DBK_SLICE_ARGS(row->texts[PART_CATEGORY]),
                             DBK_SLICE_ARGS(row->texts[PART_KEY]));
        if (name == NULL)
            return no_memory(outbox, err);
        *stream_out = dbk_slice_of(name);
        if (row->texts[PART_CATEGORY].size == 0 || row->texts[PART_KEY].size == 0 ||
            memchr(row->texts[PART_CATEGORY].data, '-', row->texts[PART_CATEGORY].size) != NULL)
            return name_row(outbox, row->id, DBK_EINVAL,
                            "its category is empty or has a dash, or its key is empty", err);
    }
    if (stream_out->size == 0)
        return name_row(outbox, row->id, DBK_EINVAL, "it names no stream", err);
    if (stream_out->data[0] == '$')
        return name_row(outbox, row->id, DBK_EINVAL,
                        "its stream begins with '$', as only the book's own do", err);
    return DBK_OK;
}

static int take_json(struct dbk_outbox *outbox, const struct row *row, enum part part,
                     const char *what, struct dbk_slice *text_out, struct dbk_error *err)
{
    const struct dbk_json_node *root = NULL;
    struct dbk_error failure = {0};
    char why[DBK_ERROR_MESSAGE_SIZE];
    *text_out = row->texts[part];
    if (text_out->data == NULL && part == PART_META)
        return DBK_OK;
    int rc = dbk_json_parse(outbox->json, *text_out, &root, &failure);
    if (rc == DBK_OK && (part != PART_META || root->kind == DBK_JSON_OBJECT))
        return DBK_OK;
    (void)snprintf(why, sizeof(why), "its %s: %.300s", what,
                   rc < 0 ? failure.message : "a JSON object is expected");
    return name_row(outbox, row->id, rc == DBK_ENOMEM ? rc : DBK_EINVAL, why, err);
}

static int take_row(struct dbk_outbox *outbox, struct dbk_statement *statement,
                    struct dbk_error *err)
{
    struct row row;
    struct dbk_new_event event = {.flags = DBK_RECORD_JSON, .occurred_us = DBK_TIME_NONE};
    struct dbk_value id = dbk_statement_column(statement, PART_ID);
    int rc = take_texts(outbox, statement, &row, err);
    if (rc < 0)
        return rc;
    if (id.kind != DBK_VALUE_INTEGER && id.kind != DBK_VALUE_TEXT)
        return name_row(outbox, row.id, DBK_EINVAL, "an id is a text or a whole number", err);
    event.type = row.texts[PART_TYPE];
    rc = take_stream(outbox, &row, &event.stream, err);
    if (rc == DBK_OK && event.type.size == 0)
        rc = name_row(outbox, row.id, DBK_EINVAL, "it names no type", err);
    if (rc == DBK_OK)
        rc = take_json(outbox, &row, PART_DATA, "data", &event.data, err);
    if (rc == DBK_OK)
        rc = take_json(outbox, &row, PART_META, "meta", &event.meta, err);
    if (rc == DBK_OK && row.texts[PART_OCCURRED].data != NULL) {
        struct dbk_slice text = row.texts[PART_OCCURRED];
        bool utc = text.size > 3 && memcmp(text.data + text.size - 3, "+00", 3) == 0;
        if (!dbk_time_parse(dbk_slice(text.data, utc ? text.size - 3 : text.size),
                            &event.occurred_us))
            rc = name_row(outbox, row.id, DBK_EINVAL, "when it occurred is no time", err);
    }
    if (rc < 0)
        return rc;
    const struct dbk_slice parts[] = {DBK_SLICE_LITERAL("outbox"),
                                      dbk_slice_of(outbox->options.service->name),
                                      dbk_slice_of(outbox->table.name), row.id};
    event.id = dbk_uuid_derive(parts, sizeof(parts) / sizeof(parts[0]));
    if (id.kind == DBK_VALUE_TEXT) {
        id.bytes = dbk_arena_copy(&outbox->kept, id.bytes);
        if (id.bytes.data == NULL)
            return no_memory(outbox, err);
    }
    outbox->ids[outbox->count] = id;
    outbox->events[outbox->count++] = event;
    (void)snprintf(outbox->position, sizeof(outbox->position), "%.*s", DBK_SLICE_ARGS(row.id));
    return DBK_OK;
}

/* Up to the first that cannot be an event. */
static int read_rows(struct dbk_outbox *outbox, struct dbk_error *err)
{
    struct dbk_buf sql;
    struct dbk_statement *statement = NULL;
    outbox->count = 0;
    dbk_arena_reset(&outbox->batch);
    dbk_arena_reset(&outbox->kept);
    dbk_buf_init(&sql, SQL_SIZE_MAX);
    put_rows(outbox, &sql);
    int rc = dbk_reader_prepare(&outbox->reader, &sql, &statement, err);
    dbk_buf_release(&sql);
    while (rc >= 0 && outbox->batch.used < BATCH_SIZE_FULL &&
           (rc = dbk_statement_step(statement, err)) == 1) {
        rc = take_row(outbox, statement, err);
        if (rc < 0 && outbox->count > 0)
            rc = 0; /* it will be the first of the next batch */
        else if (rc == DBK_OK)
            continue;
        break;
    }
    dbk_statement_free(statement);
    return rc < 0 ? rc : DBK_OK;
}

/* ---- Appending ---- */

static int put_progress(struct dbk_outbox *outbox, struct dbk_error *err)
{
    struct dbk_buf *out = &outbox->data;
    dbk_buf_reset(out);
    dbk_buf_append_text(out, "{\"source\":{\"kind\":\"outbox\",\"position\":");
    dbk_json_write_string(out, dbk_slice_of(outbox->position));
    dbk_buf_append_text(out, ",\"ids\":[");
    for (size_t i = 0; i < outbox->count; i++) {
        if (i > 0)
            dbk_buf_append_char(out, ',');
        if (outbox->ids[i].kind == DBK_VALUE_TEXT)
            dbk_json_write_string(out, outbox->ids[i].bytes);
        else
            dbk_json_write_integer(out, outbox->ids[i].integer);
    }
    dbk_buf_append_text(out, "]}}");
    outbox->events[outbox->count] = (struct dbk_new_event){
        .stream = outbox->progress,
        .type = DBK_SLICE_LITERAL("Captured"),
        .data = dbk_buf_slice(out),
        .flags = DBK_RECORD_JSON,
        .occurred_us = DBK_TIME_NONE,
    };
    return out->rc < 0 ? no_memory(outbox, err) : DBK_OK;
}

static int set_rules(struct dbk_outbox *outbox, struct dbk_error *err)
{
    struct dbk_append_result result;
    const struct dbk_stream_rules rules = {.max_count = 1};
    return dbk_store_set_rules(outbox->options.store, outbox->progress, &rules, &result, err);
}

/* The row itself is at fault, not the book. */
static bool is_refusal(int rc)
{
    return rc == DBK_EINVAL || rc == DBK_ELIMIT || rc == DBK_EREFUSED || rc == DBK_EDENIED ||
           rc == DBK_ECONFLICT;
}

/* 0: one of several was refused, and will be found. */
static int append(struct dbk_outbox *outbox, struct dbk_error *err)
{
    struct dbk_append_result result = {0};
    struct dbk_error failure = {0};
    const struct dbk_expectation expectation = {outbox->progress, (int64_t)outbox->version};
    const struct dbk_batch batch = {
        .events = outbox->events,
        .count = outbox->count + 1,
        .expectations = &expectation,
        .expectation_count = 1,
        .flags = DBK_APPEND_OWN | DBK_APPEND_SKIP_KNOWN,
    };
    int rc = put_progress(outbox, err);
    if (rc < 0)
        return rc;
    rc = outbox->options.append(outbox->options.context, &batch, &result, &failure);
    if (rc == DBK_OK) {
        outbox->version = result.last_version;
        outbox->taken += outbox->count;
        outbox->id_count = outbox->count;
        return outbox->version == 1 ? set_rules(outbox, err) : DBK_OK;
    }
    bool other = rc == DBK_ECONFLICT && result.failed_expectation == 0;
    if (!is_refusal(rc) || other) {
        if (err != NULL)
            *err = failure;
        return rc;
    }
    if (outbox->count > 1) {
        outbox->limit = 1;
        return DBK_OK;
    }
    struct dbk_slice id;
    if (!dbk_reader_key_text(&outbox->ids[0], &outbox->batch, &id))
        return no_memory(outbox, err);
    /* Never as a conflict, which would be tried again without a word. */
    return name_row(outbox, id, DBK_EINVAL, failure.message, err);
}

int dbk_outbox_take(struct dbk_outbox *outbox, struct dbk_error *err)
{
    int rc = remove_taken(outbox, err);
    if (rc == DBK_OK)
        rc = read_rows(outbox, err);
    if (rc < 0 || outbox->count == 0)
        return rc;
    size_t limit = outbox->limit;
    rc = append(outbox, err);
    if (rc < 0)
        return rc;
    if (outbox->id_count > 0)
        outbox->limit = limit * 2 < outbox->rows_max ? limit * 2 : outbox->rows_max;
    rc = remove_taken(outbox, err);
    return rc < 0 ? rc : 1;
}
