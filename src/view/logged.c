/* SPDX-License-Identifier: Apache-2.0 */
#include "view/logged.h"

#include <stdio.h>

#include "view/plan.h"

#define SQL_SIZE_MAX ((size_t)1 << 20)

bool dbk_logged_reads(const struct dbk_algebra *tree)
{
    for (size_t i = 0; i < tree->relation_count; i++) {
        if (tree->relations[i]->log)
            return true;
    }
    return false;
}

int dbk_logged_attach(struct dbk_connection *connection, struct dbk_store *store,
                      struct dbk_error *err)
{
    dbk_target_whole_events(connection);
    return dbk_target_attach_events(connection, store, err);
}

/* ---- What the log is ---- */

void dbk_logged_take(struct dbk_store *store, struct dbk_logged *logged_out)
{
    struct dbk_history history;
    dbk_store_history(store, &history);
    *logged_out = (struct dbk_logged){
        .removed = history.removed, .forgotten = history.forgotten, .found = true};
    dbk_uuid_format(dbk_store_book_id(store), logged_out->book);
    for (size_t i = 0; i < sizeof(history.upcasts); i++)
        (void)snprintf(logged_out->upcasts + 2 * i, 3, "%02x", history.upcasts[i]);
}

/* The id of the event at a position, whoever may see it; empty: there is none. */
static int find_event(struct dbk_store *store, uint64_t position, char text[DBK_UUID_TEXT_SIZE],
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
    text[0] = '\0';
    if (position == 0)
        return DBK_OK;
    int rc = dbk_cursor_open(store, &filter, &cursor, err);
    if (rc == DBK_OK)
        rc = dbk_cursor_next(cursor, &event, err);
    if (rc == 1)
        dbk_uuid_format(&event.id, text);
    dbk_cursor_free(cursor);
    return rc < 0 ? rc : DBK_OK;
}

int dbk_logged_pin(struct dbk_connection *connection, const struct dbk_view_refresh *refresh,
                   struct dbk_logged *logged, struct dbk_error *err)
{
    uint64_t position = 0;
    bool found = false;
    int rc = dbk_view_position(connection, refresh->source, &position, &found, err);
    if (rc < 0)
        return rc;
    uint64_t last = dbk_store_last_position(refresh->store);
    logged->position = !found || position > last ? last : position;
    dbk_target_end_events(connection, logged->position, NULL);
    return find_event(refresh->store, logged->position, logged->event, err);
}

int dbk_logged_differs(struct dbk_store *store, const struct dbk_logged *stored,
                       const struct dbk_logged *now, char *reason, size_t size,
                       struct dbk_error *err)
{
    char event[DBK_UUID_TEXT_SIZE];
    int rc = find_event(store, stored->position, event, err);
    reason[0] = '\0';
    if (rc < 0)
        return rc;
    if (!stored->found)
        (void)snprintf(reason, size, "it is not known how far it had read the log");
    else if (strcmp(stored->book, now->book) != 0 || strcmp(stored->event, event) != 0)
        (void)snprintf(reason, size, "the log is not the one that it had read up to position %llu",
                       (unsigned long long)stored->position);
    else if (stored->position > now->position)
        (void)snprintf(reason, size, "it had read the log up to position %llu, past %llu",
                       (unsigned long long)stored->position, (unsigned long long)now->position);
    else if (stored->removed != now->removed)
        (void)snprintf(reason, size,
                       "compaction has removed the content of events since: %llu by now, %llu then",
                       (unsigned long long)now->removed, (unsigned long long)stored->removed);
    else if (stored->forgotten != now->forgotten)
        (void)snprintf(reason, size, "subjects were forgotten since: %llu by now, %llu then",
                       (unsigned long long)now->forgotten, (unsigned long long)stored->forgotten);
    else if (strcmp(stored->upcasts, now->upcasts) != 0)
        (void)snprintf(reason, size, "how events of older versions are read has changed since");
    return rc;
}

/* ---- The catalog ---- */

int dbk_logged_catalog(struct dbk_connection *connection, struct dbk_error *err)
{
    return dbk_connection_run(connection,
                              "CREATE TABLE IF NOT EXISTS _daybook_log_cursors (view TEXT PRIMARY "
                              "KEY, position INTEGER NOT NULL, book TEXT NOT NULL, event TEXT NOT "
                              "NULL, removed INTEGER NOT NULL, forgotten INTEGER NOT NULL, "
                              "upcasts TEXT NOT NULL) WITHOUT ROWID",
                              err);
}

static int open_with(struct dbk_connection *connection, const char *sql, const char *view,
                     struct dbk_statement **statement_out, struct dbk_error *err)
{
    const struct dbk_value name = {.kind = DBK_VALUE_TEXT, .bytes = dbk_slice_of(view)};
    int rc = dbk_statement_open(connection, dbk_slice_of(sql), statement_out, NULL, err);
    if (rc == DBK_OK)
        dbk_statement_bind(*statement_out, 1, &name);
    return rc;
}

static void copy_text(struct dbk_statement *statement, int column, char *text, size_t size)
{
    struct dbk_slice bytes = dbk_statement_column(statement, column).bytes;
    (void)snprintf(text, size, "%.*s", DBK_SLICE_ARGS(bytes));
}

static int has_catalog(struct dbk_connection *connection, int64_t *there_out, struct dbk_error *err)
{
    return dbk_view_integer(
        connection, "SELECT count(*) FROM sqlite_schema WHERE name = '_daybook_log_cursors'", NULL,
        there_out, err);
}

int dbk_logged_read(struct dbk_connection *connection, const char *view,
                    struct dbk_logged *logged_out, struct dbk_error *err)
{
    struct dbk_statement *statement = NULL;
    int64_t there = 0;
    *logged_out = (struct dbk_logged){.found = false};
    int rc = has_catalog(connection, &there, err);
    if (rc < 0 || there == 0)
        return rc;
    rc = open_with(connection,
                   "SELECT position, removed, forgotten, book, event, upcasts FROM "
                   "_daybook_log_cursors WHERE view = ?1",
                   view, &statement, err);
    if (rc == DBK_OK)
        rc = dbk_statement_step(statement, err);
    if (rc == 1) {
        logged_out->found = true;
        logged_out->position = (uint64_t)dbk_statement_column(statement, 0).integer;
        logged_out->removed = (uint64_t)dbk_statement_column(statement, 1).integer;
        logged_out->forgotten = (uint64_t)dbk_statement_column(statement, 2).integer;
        copy_text(statement, 3, logged_out->book, sizeof(logged_out->book));
        copy_text(statement, 4, logged_out->event, sizeof(logged_out->event));
        copy_text(statement, 5, logged_out->upcasts, sizeof(logged_out->upcasts));
    }
    dbk_statement_free(statement);
    return rc < 0 ? rc : DBK_OK;
}

int dbk_logged_write(struct dbk_connection *connection, const char *view,
                     const struct dbk_logged *logged, struct dbk_error *err)
{
    const struct dbk_value values[] = {
        {.kind = DBK_VALUE_INTEGER, .integer = (int64_t)logged->position},
        {.kind = DBK_VALUE_TEXT, .bytes = dbk_slice_of(logged->book)},
        {.kind = DBK_VALUE_TEXT, .bytes = dbk_slice_of(logged->event)},
        {.kind = DBK_VALUE_INTEGER, .integer = (int64_t)logged->removed},
        {.kind = DBK_VALUE_INTEGER, .integer = (int64_t)logged->forgotten},
        {.kind = DBK_VALUE_TEXT, .bytes = dbk_slice_of(logged->upcasts)},
    };
    struct dbk_statement *statement = NULL;
    int rc = open_with(connection,
                       "INSERT OR REPLACE INTO _daybook_log_cursors VALUES (?1, ?2, ?3, ?4, ?5, "
                       "?6, ?7)",
                       view, &statement, err);
    for (size_t i = 0; rc == DBK_OK && i < sizeof(values) / sizeof(values[0]); i++)
        dbk_statement_bind(statement, (int)i + 2, &values[i]);
    if (rc == DBK_OK)
        rc = dbk_statement_step(statement, err);
    dbk_statement_free(statement);
    return rc < 0 ? rc : DBK_OK;
}

int dbk_logged_forget(struct dbk_connection *connection, const char *view, struct dbk_error *err)
{
    struct dbk_statement *statement = NULL;
    int rc = open_with(connection, "DELETE FROM _daybook_log_cursors WHERE view = ?1", view,
                       &statement, err);
    if (rc == DBK_OK)
        rc = dbk_statement_step(statement, err);
    dbk_statement_free(statement);
    return rc < 0 ? rc : DBK_OK;
}

int dbk_logged_take_over(struct dbk_connection *connection, const char *owner, const char *view,
                         struct dbk_error *err)
{
    struct dbk_logged logged;
    int rc = dbk_logged_read(connection, owner, &logged, err);
    if (rc == DBK_OK)
        rc = dbk_logged_forget(connection, view, err);
    if (rc == DBK_OK)
        rc = dbk_logged_forget(connection, owner, err);
    return rc == DBK_OK && logged.found ? dbk_logged_write(connection, view, &logged, err) : rc;
}

int dbk_logged_keep(struct dbk_connection *connection, const char *const *views, size_t count,
                    struct dbk_error *err)
{
    struct dbk_buf sql;
    int64_t there = 0;
    int rc = has_catalog(connection, &there, err);
    if (rc < 0 || there == 0)
        return rc;
    dbk_buf_init(&sql, SQL_SIZE_MAX);
    dbk_buf_append_text(&sql, "DELETE FROM _daybook_log_cursors WHERE view NOT IN (''");
    for (size_t i = 0; i < count; i++)
        dbk_buf_append_format(&sql, ", '%s'", views[i]);
    dbk_buf_append_text(&sql, ")");
    dbk_buf_append_char(&sql, '\0');
    rc = sql.rc < 0 ? dbk_error_set(err, sql.rc, "a statement: %s", dbk_code_text(sql.rc))
                    : dbk_connection_run(connection, sql.data, err);
    dbk_buf_release(&sql);
    return rc;
}

/* ---- The difference ---- */

/* The block that reads the log here: as it is maintained there is one, with this one input. */
static const struct dbk_relation *reader_of(const struct dbk_algebra *tree,
                                            const struct dbk_relation *log)
{
    for (size_t i = 0; i < tree->relation_count; i++) {
        const struct dbk_relation *block = tree->relations[i];
        if (block->kind == DBK_RELATION_BLOCK && block->input_count == 1 && block->inputs[0] == log)
            return block;
    }
    return NULL;
}

static void find_columns(const struct dbk_expression *expression, uint64_t *columns)
{
    if (expression->kind == DBK_EXPRESSION_COLUMN && !expression->around)
        *columns |= UINT64_C(1) << expression->column;
    for (size_t i = 0; i < expression->argument_count; i++)
        find_columns(expression->arguments[i], columns);
}

static uint64_t columns_of(const struct dbk_relation *block)
{
    uint64_t columns = 0;
    for (size_t i = 0; i < block->column_count; i++)
        find_columns(block->outputs[i], &columns);
    for (size_t i = 0; i < block->condition_count; i++)
        find_columns(block->conditions[i].test, &columns);
    return columns;
}

/* Columns that nothing reads stay NULL; events that the block leaves out stay where they are, and
   are not even looked at where their type, category or stream says so. */
static void append_select(struct dbk_buf *sql, const struct dbk_relation *log,
                          const struct dbk_relation *block)
{
    uint64_t columns = block == NULL ? UINT64_MAX : columns_of(block);
    dbk_buf_append_format(sql, "INSERT INTO temp.d%zu SELECT 1, f0.position", log->number);
    for (size_t i = 0; i < log->column_count; i++) {
        bool read = i >= 64 || (columns >> i & 1) != 0;
        dbk_buf_append_text(sql, read ? ", f0." : ", NULL");
        if (read)
            dbk_emit_name(sql, log->columns[i]);
    }
    dbk_buf_append_text(sql, " FROM ");
    dbk_emit_table(sql, log);
    dbk_buf_append_text(sql, " AS f0 WHERE f0.position > ?1 AND f0.position <= ?2");
    if (block != NULL)
        dbk_layout_tests(sql, block, SIZE_MAX, " AND ");
}

int dbk_logged_gather(struct dbk_delta *delta, const struct dbk_relation *log, uint64_t after,
                      uint64_t upto, uint64_t *count_out, struct dbk_error *err)
{
    const struct dbk_value values[] = {
        {.kind = DBK_VALUE_INTEGER, .integer = (int64_t)after},
        {.kind = DBK_VALUE_INTEGER, .integer = (int64_t)upto},
    };
    int64_t count = 0;
    append_select(&delta->sql, log, reader_of(delta->tree, log));
    int rc = dbk_delta_run_values(delta, values, 2, err);
    if (rc == DBK_OK)
        rc = dbk_delta_count(delta, &count, err);
    *count_out = (uint64_t)count;
    return rc;
}
