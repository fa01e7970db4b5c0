/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The virtual table `events`. SQLite checks every constraint itself: what is pushed down to the
 * store only has to let everything through that might pass. Times are text to SQL, and instants to
 * the store: a day is added on both sides, so that no way of writing one loses a row.
 *
 * Source: sqlite.org/vtab.html.
 */
#include <stdio.h>

#include "base/assert.h"
#include "target/sqlite.h"

enum column {
    COLUMN_POSITION,
    COLUMN_STREAM,
    COLUMN_CATEGORY,
    COLUMN_VERSION,
    COLUMN_TYPE,
    COLUMN_TIME,
    COLUMN_OCCURRED,
    COLUMN_ID,
    COLUMN_TAGS,
    COLUMN_DATA,
    COLUMN_META,
    COLUMN_SCHEMA_VERSION,
};

#define DAY_US (INT64_C(86400) * 1000000)
#define CONSTRAINTS_MAX 16

struct table {
    sqlite3_vtab base;
    struct dbk_sqlite *connection;
};

struct cursor {
    sqlite3_vtab_cursor base;
    struct dbk_sqlite *connection;
    struct dbk_cursor *cursor;
    struct dbk_event event;
    bool ended;
};

static int connect_table(sqlite3 *sqlite, void *context, int argument_count,
                         const char *const *arguments, sqlite3_vtab **table_out, char **message_out)
{
    (void)argument_count;
    (void)arguments;
    (void)message_out;
    int result =
        sqlite3_declare_vtab(sqlite, "CREATE TABLE " DBK_EVENTS_TABLE " " DBK_EVENTS_COLUMNS);
    if (result != SQLITE_OK)
        return result;
    struct table *table = sqlite3_malloc(sizeof(*table));
    if (table == NULL)
        return SQLITE_NOMEM;
    memset(table, 0, sizeof(*table));
    table->connection = context;
    *table_out = &table->base;
    (void)sqlite3_vtab_config(sqlite, SQLITE_VTAB_DIRECTONLY);
    return SQLITE_OK;
}

static int disconnect_table(sqlite3_vtab *table)
{
    sqlite3_free(table);
    return SQLITE_OK;
}

static bool is_pushed(int column, int op)
{
    bool equal = op == SQLITE_INDEX_CONSTRAINT_EQ;
    bool range = equal || op == SQLITE_INDEX_CONSTRAINT_GT || op == SQLITE_INDEX_CONSTRAINT_GE ||
                 op == SQLITE_INDEX_CONSTRAINT_LT || op == SQLITE_INDEX_CONSTRAINT_LE;
    switch (column) {
    case COLUMN_STREAM:
    case COLUMN_CATEGORY:
    case COLUMN_TYPE:
        return equal;
    case COLUMN_POSITION:
    case COLUMN_VERSION:
    case COLUMN_TIME:
    case COLUMN_OCCURRED:
        return range;
    default:
        return false;
    }
}

/* How many rows may be left, of a million, as a guess that only has to rank the plans. */
static double share(int column, int op)
{
    bool equal = op == SQLITE_INDEX_CONSTRAINT_EQ;
    if (column == COLUMN_STREAM)
        return 0.0001;
    if (column == COLUMN_POSITION && equal)
        return 0.000001;
    return column == COLUMN_CATEGORY || column == COLUMN_TYPE ? 0.2 : 0.3;
}

/* The plan is text, a pair of letters a constraint: column and operator. */
static int best_index(sqlite3_vtab *base, sqlite3_index_info *info)
{
    char plan[2 * CONSTRAINTS_MAX + 1] = "";
    int pushed = 0;
    double rows = 1000000;
    (void)base;
    for (int i = 0; i < info->nConstraint && pushed < CONSTRAINTS_MAX; i++) {
        int column = info->aConstraint[i].iColumn;
        int op = info->aConstraint[i].op;
        if (!info->aConstraint[i].usable || !is_pushed(column, op))
            continue;
        rows *= share(column, op);
        plan[2 * pushed] = (char)('a' + column);
        plan[2 * pushed + 1] = op == SQLITE_INDEX_CONSTRAINT_EQ   ? '='
                               : op == SQLITE_INDEX_CONSTRAINT_GT ? '>'
                               : op == SQLITE_INDEX_CONSTRAINT_GE ? 'g'
                               : op == SQLITE_INDEX_CONSTRAINT_LT ? '<'
                                                                  : 'l';
        info->aConstraintUsage[i].argvIndex = ++pushed;
    }
    info->idxStr = sqlite3_mprintf("%s", plan);
    if (info->idxStr == NULL)
        return SQLITE_NOMEM;
    info->needToFreeIdxStr = 1;
    info->estimatedRows = rows < 1 ? 1 : (sqlite3_int64)rows;
    info->estimatedCost = rows < 1 ? 1 : rows;
    info->orderByConsumed = info->nOrderBy == 1 && info->aOrderBy[0].iColumn == COLUMN_POSITION;
    info->idxNum = info->orderByConsumed != 0 && info->aOrderBy[0].desc != 0;
    return SQLITE_OK;
}

static int open_cursor(sqlite3_vtab *base, sqlite3_vtab_cursor **cursor_out)
{
    struct cursor *cursor = sqlite3_malloc(sizeof(*cursor));
    if (cursor == NULL)
        return SQLITE_NOMEM;
    memset(cursor, 0, sizeof(*cursor));
    cursor->connection = ((struct table *)base)->connection;
    *cursor_out = &cursor->base;
    return SQLITE_OK;
}

static int close_cursor(sqlite3_vtab_cursor *base)
{
    struct cursor *cursor = (struct cursor *)base;
    dbk_cursor_free(cursor->cursor);
    sqlite3_free(cursor);
    return SQLITE_OK;
}

static int failed(struct cursor *cursor, int rc, const struct dbk_error *err)
{
    sqlite3_free(cursor->base.pVtab->zErrMsg);
    cursor->base.pVtab->zErrMsg = sqlite3_mprintf("%s", err->message);
    return rc == DBK_ENOMEM ? SQLITE_NOMEM : SQLITE_ERROR;
}

static struct dbk_slice text_of(sqlite3_value *value)
{
    const void *text = sqlite3_value_text(value);
    return dbk_slice(text, (size_t)sqlite3_value_bytes(value));
}

/* Narrows an inclusive range of positions or versions. */
static void narrow_number(sqlite3_value *value, char op, uint64_t *min, uint64_t *max)
{
    if (sqlite3_value_type(value) != SQLITE_INTEGER)
        return;
    int64_t number = sqlite3_value_int64(value);
    if (op == '>' || op == 'g' || op == '=') {
        uint64_t low = number < 0 ? 0 : (uint64_t)number;
        *min = low > *min ? low : *min;
    }
    if (op == '<' || op == 'l' || op == '=') {
        uint64_t high = number < 1 ? 1 : (uint64_t)number;
        *max = *max == 0 || high < *max ? high : *max;
    }
}

static void narrow_time(sqlite3_value *value, char op, int64_t *min_us, int64_t *max_us)
{
    int64_t time_us = 0;
    if (sqlite3_value_type(value) != SQLITE_TEXT || !dbk_time_parse(text_of(value), &time_us))
        return;
    if (op == '>' || op == 'g' || op == '=')
        *min_us = *min_us == 0 || time_us - DAY_US > *min_us ? time_us - DAY_US : *min_us;
    if (op == '<' || op == 'l' || op == '=')
        *max_us = *max_us == 0 || time_us + DAY_US < *max_us ? time_us + DAY_US : *max_us;
}

static void narrow(struct dbk_filter *filter, struct dbk_slice *names, char column, char op,
                   sqlite3_value *value)
{
    bool text = sqlite3_value_type(value) == SQLITE_TEXT;
    switch ((enum column)(column - 'a')) {
    case COLUMN_POSITION:
        narrow_number(value, op, &filter->position_min, &filter->position_max);
        break;
    case COLUMN_VERSION:
        narrow_number(value, op, &filter->version_min, &filter->version_max);
        break;
    case COLUMN_STREAM:
        if (text)
            filter->stream = text_of(value);
        break;
    case COLUMN_CATEGORY:
        if (text) {
            names[0] = text_of(value);
            filter->categories = &names[0];
            filter->category_count = 1;
        }
        break;
    case COLUMN_TYPE:
        if (text) {
            names[1] = text_of(value);
            filter->types = &names[1];
            filter->type_count = 1;
        }
        break;
    case COLUMN_TIME:
        narrow_time(value, op, &filter->time_min_us, &filter->time_max_us);
        break;
    case COLUMN_OCCURRED:
        narrow_time(value, op, &filter->occurred_min_us, &filter->occurred_max_us);
        break;
    case COLUMN_ID:
    case COLUMN_TAGS:
    case COLUMN_DATA:
    case COLUMN_META:
    case COLUMN_SCHEMA_VERSION:
        break;
    }
}

static int64_t occurred_of(const struct dbk_event *event)
{
    return event->occurred_us == DBK_TIME_NONE ? event->time_us : event->occurred_us;
}

static bool is_left_out(const struct dbk_sqlite *session, const struct dbk_event *event)
{
    return (event->flags & DBK_RECORD_REMOVED) != 0 ||
           (session->occurred_ends && occurred_of(event) > session->occurred_max_us);
}

static int next_event(sqlite3_vtab_cursor *base)
{
    struct cursor *cursor = (struct cursor *)base;
    struct dbk_error err = {0};
    int rc = 0;
    do {
        rc = dbk_cursor_next(cursor->cursor, &cursor->event, &err);
    } while (rc > 0 && is_left_out(cursor->connection, &cursor->event));
    if (rc < 0)
        return failed(cursor, rc, &err);
    cursor->ended = rc == 0;
    return SQLITE_OK;
}

static int filter_events(sqlite3_vtab_cursor *base, int backwards, const char *plan,
                         int argument_count, sqlite3_value **arguments)
{
    struct cursor *cursor = (struct cursor *)base;
    struct dbk_filter filter = {.backwards = backwards != 0,
                                .removed = cursor->connection->whole_events};
    struct dbk_slice names[2];
    struct dbk_error err = {0};
    uint64_t last = cursor->connection->events_position;
    dbk_cursor_free(cursor->cursor);
    cursor->cursor = NULL;
    cursor->ended = last == 0;
    if (cursor->ended)
        return SQLITE_OK;
    for (int i = 0; i < argument_count; i++)
        narrow(&filter, names, plan[2 * i], plan[2 * i + 1], arguments[i]);
    if (filter.position_max == 0 || filter.position_max > last)
        filter.position_max = last;
    int rc = dbk_cursor_open(cursor->connection->store, &filter, &cursor->cursor, &err);
    return rc < 0 ? failed(cursor, rc, &err) : next_event(base);
}

static int at_end(sqlite3_vtab_cursor *base)
{
    return ((struct cursor *)base)->ended ? 1 : 0;
}

static void result_text(sqlite3_context *context, struct dbk_slice text)
{
    sqlite3_result_text64(context, text.data == NULL ? "" : text.data, text.size, SQLITE_TRANSIENT,
                          SQLITE_UTF8);
}

static void result_time(sqlite3_context *context, int64_t time_us)
{
    char text[DBK_TIME_TEXT_SIZE];
    size_t size = dbk_time_format(time_us, text);
    result_text(context, dbk_slice(text, size));
}

static void result_id(sqlite3_context *context, const struct dbk_uuid *id)
{
    char text[DBK_UUID_TEXT_SIZE];
    dbk_uuid_format(id, text);
    result_text(context, dbk_slice(text, DBK_UUID_TEXT_SIZE - 1));
}

/* Tags as a JSON array; NULL when there are none. */
static void result_tags(sqlite3_context *context, struct dbk_slice tags)
{
    sqlite3_str *text = sqlite3_str_new(NULL);
    if (tags.size == 0) {
        sqlite3_free(sqlite3_str_finish(text));
        return;
    }
    sqlite3_str_appendchar(text, 1, '[');
    for (size_t at = 0; at < tags.size;) {
        size_t size = (uint8_t)tags.data[at];
        if (at > 0)
            sqlite3_str_appendchar(text, 1, ',');
        sqlite3_str_appendchar(text, 1, '"');
        for (size_t i = at + 1; i <= at + size && i < tags.size; i++) {
            if (tags.data[i] == '"' || tags.data[i] == '\\')
                sqlite3_str_appendchar(text, 1, '\\');
            sqlite3_str_appendchar(text, 1, tags.data[i]);
        }
        sqlite3_str_appendchar(text, 1, '"');
        at += size + 1;
    }
    sqlite3_str_appendchar(text, 1, ']');
    int size = sqlite3_str_length(text);
    sqlite3_result_text(context, sqlite3_str_finish(text), size, sqlite3_free);
}

static void result_data(sqlite3_context *context, const struct dbk_event *event)
{
    if ((event->flags & DBK_RECORD_REMOVED) != 0)
        return;
    if ((event->flags & DBK_RECORD_JSON) != 0)
        result_text(context, event->data);
    else
        sqlite3_result_blob64(context, event->data.data == NULL ? "" : event->data.data,
                              event->data.size, SQLITE_TRANSIENT);
}

static int column_of(sqlite3_vtab_cursor *base, sqlite3_context *context, int column)
{
    const struct dbk_event *event = &((struct cursor *)base)->event;
    switch ((enum column)column) {
    case COLUMN_POSITION:
        sqlite3_result_int64(context, (int64_t)event->position);
        break;
    case COLUMN_STREAM:
        result_text(context, event->stream);
        break;
    case COLUMN_CATEGORY:
        result_text(context, dbk_stream_category(event->stream));
        break;
    case COLUMN_VERSION:
        sqlite3_result_int64(context, (int64_t)event->version);
        break;
    case COLUMN_TYPE:
        result_text(context, event->type);
        break;
    case COLUMN_TIME:
        result_time(context, event->time_us);
        break;
    case COLUMN_OCCURRED:
        result_time(context, occurred_of(event));
        break;
    case COLUMN_ID:
        result_id(context, &event->id);
        break;
    case COLUMN_TAGS:
        result_tags(context, event->tags);
        break;
    case COLUMN_DATA:
        result_data(context, event);
        break;
    case COLUMN_META:
        if (event->meta.size > 0)
            result_text(context, event->meta);
        break;
    case COLUMN_SCHEMA_VERSION:
        sqlite3_result_int64(context, event->schema_version);
        break;
    }
    return SQLITE_OK;
}

static int row_of(sqlite3_vtab_cursor *base, sqlite3_int64 *row_out)
{
    *row_out = (sqlite3_int64)((struct cursor *)base)->event.position;
    return SQLITE_OK;
}

/* Without xCreate the table is eponymous: it is there, and none can be made of it. */
static const sqlite3_module module = {
    .iVersion = 1,
    .xConnect = connect_table,
    .xBestIndex = best_index,
    .xDisconnect = disconnect_table,
    .xDestroy = disconnect_table,
    .xOpen = open_cursor,
    .xClose = close_cursor,
    .xFilter = filter_events,
    .xNext = next_event,
    .xEof = at_end,
    .xColumn = column_of,
    .xRowid = row_of,
};

int dbk_target_attach_events(struct dbk_connection *connection, struct dbk_store *store,
                             struct dbk_error *err)
{
    struct dbk_sqlite *session = dbk_sqlite_of(connection);
    session->store = store;
    int result =
        sqlite3_create_module_v2(session->sqlite, DBK_EVENTS_TABLE, &module, session, NULL);
    if (result != SQLITE_OK)
        return dbk_error_set(err, DBK_ENOMEM, "%s", sqlite3_errmsg(session->sqlite));
    int rc = dbk_target_attach_unseal(connection, err);
    if (rc < 0)
        return rc;
    /* It is connected with the first use, and declares its columns then: before a guard is on,
       which would see a CREATE TABLE. */
    return dbk_connection_run(connection, "SELECT 1 FROM events LIMIT 0", err);
}

void dbk_target_pin_events(struct dbk_connection *connection, uint64_t position_max)
{
    struct dbk_sqlite *session = dbk_sqlite_of(connection);
    session->pinned = position_max != 0;
    session->pin = position_max;
}

void dbk_target_end_events(struct dbk_connection *connection, uint64_t position,
                           const int64_t *occurred_max_us)
{
    struct dbk_sqlite *session = dbk_sqlite_of(connection);
    session->pinned = true;
    session->pin = position;
    session->occurred_ends = occurred_max_us != NULL;
    session->occurred_max_us = occurred_max_us == NULL ? 0 : *occurred_max_us;
}

void dbk_target_whole_events(struct dbk_connection *connection)
{
    dbk_sqlite_of(connection)->whole_events = true;
}

uint64_t dbk_target_events_position(struct dbk_connection *connection)
{
    return dbk_sqlite_of(connection)->events_position;
}
