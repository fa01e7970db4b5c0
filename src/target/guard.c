/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guard: what SQLite's authorizer can tell while a statement is prepared, and what only its
 * text can. The clock is shut off a second time, by a VFS without one (sqlite.c).
 */
#include <stdio.h>
#include <strings.h>

#include "target/sqlite.h"

static bool is_any(const char *name, const char *const *names)
{
    for (; *names != NULL; names++) {
        if (strcasecmp(name, *names) == 0)
            return true;
    }
    return false;
}

static const char *const who[] = {
    [DBK_GUARD_NONE] = "a statement", [DBK_GUARD_HANDLER] = "a handler",
    [DBK_GUARD_SCHEMA] = "a schema",  [DBK_GUARD_QUERY] = "a query",
    [DBK_GUARD_SENT] = "a query",     [DBK_GUARD_COMMAND] = "a command",
    [DBK_GUARD_PURGE] = "a purge",
};

static int deny(struct dbk_sqlite *connection, const char *what)
{
    if (connection->denied[0] == 0)
        (void)snprintf(connection->denied, sizeof(connection->denied), "%s may not %s",
                       who[connection->guard], what);
    return SQLITE_DENY;
}

static bool is_own(const char *table)
{
    return table != NULL && strncasecmp(table, "_daybook", 8) == 0;
}

static bool is_catalog(const char *table)
{
    return table != NULL && strncasecmp(table, "sqlite_", 7) == 0;
}

/* SQLite asks for it when a statement is the first to name a table function such as json_each,
   whose columns are then declared; a statement's own UPDATE it refuses by itself. */
static bool is_master(const char *table)
{
    return table != NULL && strcasecmp(table, "sqlite_master") == 0;
}

static int authorize_function(struct dbk_sqlite *connection, const char *name)
{
    static const char *const chance[] = {"random", "randomblob", NULL};
    static const char *const clock[] = {"current_timestamp", "current_date", "current_time", NULL};
    if (strcasecmp(name, "load_extension") == 0)
        return deny(connection, "load extensions");
    if (connection->guard == DBK_GUARD_QUERY || connection->guard == DBK_GUARD_COMMAND)
        return SQLITE_OK;
    if (is_any(name, chance))
        return deny(connection, "use chance: posting again would give other rows");
    if (is_any(name, clock))
        return deny(connection, "read the clock: use :_time or :_occurred");
    return SQLITE_OK;
}

static int authorize_change(struct dbk_sqlite *connection, const char *table)
{
    if (connection->guard == DBK_GUARD_QUERY)
        return deny(connection, "change anything");
    if (connection->guard == DBK_GUARD_SCHEMA)
        return is_catalog(table) ? SQLITE_OK : deny(connection, "change rows");
    if (is_catalog(table))
        return deny(connection, "create or drop anything");
    if (is_own(table))
        return deny(connection, "change the book's own tables");
    return SQLITE_OK;
}

static int authorize_read(struct dbk_sqlite *connection, const char *table)
{
    if (table != NULL && strncasecmp(table, "pragma_", 7) == 0)
        return deny(connection, "use PRAGMA");
    if (connection->guard != DBK_GUARD_QUERY && is_own(table))
        return deny(connection, "read the book's own tables");
    return SQLITE_OK;
}

static int authorize_create(struct dbk_sqlite *connection, const char *table)
{
    if (connection->guard != DBK_GUARD_SCHEMA)
        return deny(connection, "create or drop anything");
    if (is_own(table))
        return deny(connection, "use names that begin with _daybook");
    return SQLITE_OK;
}

/* trigger: what a change is made or a table read by, but for the statement itself. A service's
   tables may have triggers that keep the journal from which it is captured, a model's those that
   views follow it by. */
int dbk_guard_authorize(void *context, int action, const char *first, const char *second,
                        const char *database, const char *trigger)
{
    struct dbk_sqlite *connection = context;
    (void)database;
    bool inside = trigger != NULL && (connection->guard == DBK_GUARD_COMMAND || is_own(trigger));
    switch (action) {
    case SQLITE_SELECT:
    case SQLITE_RECURSIVE:
        return SQLITE_OK;
    case SQLITE_READ:
        return inside && is_own(first) ? SQLITE_OK : authorize_read(connection, first);
    case SQLITE_FUNCTION:
        return authorize_function(connection, second);
    case SQLITE_UPDATE:
        if (is_master(first))
            return SQLITE_OK;
        return inside && is_own(first) ? SQLITE_OK : authorize_change(connection, first);
    case SQLITE_INSERT:
    case SQLITE_DELETE:
        return inside && is_own(first) ? SQLITE_OK : authorize_change(connection, first);
    case SQLITE_CREATE_TABLE:
    case SQLITE_CREATE_INDEX:
    case SQLITE_CREATE_VIEW:
    case SQLITE_CREATE_TRIGGER:
        return authorize_create(connection, first);
    case SQLITE_REINDEX:
        return connection->guard == DBK_GUARD_SCHEMA ? SQLITE_OK : deny(connection, "reindex");
    case SQLITE_TRANSACTION:
    case SQLITE_SAVEPOINT:
        return deny(connection, "begin or end transactions");
    case SQLITE_ATTACH:
    case SQLITE_DETACH:
        return deny(connection, "attach databases");
    case SQLITE_PRAGMA:
        return deny(connection, "use PRAGMA");
    default:
        return deny(connection, connection->guard == DBK_GUARD_SCHEMA
                                    ? "do more than create tables, indexes, triggers and views"
                                    : "do more than read and change rows");
    }
}

struct reader {
    struct dbk_slice sql;
    size_t offset; /* behind the token */
    struct dbk_sql_token token;
};

static bool next(struct reader *reader)
{
    do {
        reader->token = dbk_sql_next(reader->sql, reader->offset);
        reader->offset += reader->token.text.size;
    } while (reader->token.kind == DBK_SQL_SPACE);
    return reader->token.kind != DBK_SQL_END && reader->token.kind != DBK_SQL_BROKEN;
}

static bool is_text(const struct reader *reader, const char *text)
{
    return reader->token.text.size == strlen(text) &&
           strncasecmp(reader->token.text.data, text, strlen(text)) == 0;
}

/* True when a date function's arguments, behind its name, ask for the clock: no instant given, or
   'now'. strftime's instant is its second argument. */
static bool asks_clock(struct reader reader, bool is_strftime)
{
    unsigned depth = 0;
    unsigned commas = 0;
    bool any = false;
    if (!next(&reader) || !is_text(&reader, "("))
        return false;
    while (next(&reader)) {
        if (is_text(&reader, ")") && depth == 0)
            return is_strftime ? commas == 0 : !any;
        any = true;
        depth += is_text(&reader, "(");
        depth -= is_text(&reader, ")");
        commas += depth == 0 && is_text(&reader, ",");
        if (is_text(&reader, "'now'") && depth == 0)
            return true;
    }
    return false;
}

#define CLOCK_FAULT "may not read the clock: use :_time or :_occurred"

/* Defaults and triggers of a schema are run by handlers without the authorizer's being asked. The
   reader stands behind a name. */
static const char *hidden_fault(struct reader reader)
{
    static const char *const clock[] = {"current_timestamp", "current_date", "current_time"};
    for (size_t i = 0; i < sizeof(clock) / sizeof(clock[0]); i++)
        if (is_text(&reader, clock[i]))
            return CLOCK_FAULT;
    struct dbk_slice name = reader.token.text;
    bool chance = dbk_sql_name_is(name, DBK_SLICE_LITERAL("random")) ||
                  dbk_sql_name_is(name, DBK_SLICE_LITERAL("randomblob"));
    if (chance && next(&reader) && is_text(&reader, "("))
        return "may not use chance: posting again would give other rows";
    return NULL;
}

/* What is wrong with the text from a name on; NULL: nothing. */
static const char *fault_at(const struct reader *reader, enum dbk_guard guard)
{
    static const char *const dates[] = {"date",      "time",     "datetime", "julianday",
                                        "unixepoch", "strftime", NULL};
    if (is_text(reader, "rollback"))
        return guard == DBK_GUARD_COMMAND
                   ? "may not roll back: what fails is taken back as a whole"
                   : "may not roll back: a failing handler's batch is taken back as a whole";
    if (guard == DBK_GUARD_COMMAND)
        return NULL;
    for (const char *const *date = dates; *date != NULL; date++) {
        if (dbk_sql_name_is(reader->token.text, dbk_slice_of(*date)) &&
            asks_clock(*reader, strcmp(*date, "strftime") == 0))
            return CLOCK_FAULT;
    }
    return hidden_fault(*reader);
}

/* The authorizer is not asked about VACUUM, which may write a file. */
static bool is_vacuum(struct reader reader)
{
    bool any = next(&reader);
    while (any && reader.token.kind == DBK_SQL_SEMICOLON)
        any = next(&reader);
    return any && is_text(&reader, "vacuum");
}

int dbk_guard_text(const struct dbk_sqlite *connection, struct dbk_slice sql, int *offset_out,
                   struct dbk_error *err)
{
    struct reader reader = {.sql = sql};
    const char *fault = NULL;
    if (is_vacuum(reader))
        return dbk_error_set(err, DBK_EDENIED, "%s may not vacuum", who[connection->guard]);
    if (connection->guard == DBK_GUARD_QUERY)
        return DBK_OK;
    while (fault == NULL && next(&reader)) {
        if (reader.token.kind == DBK_SQL_NAME)
            fault = fault_at(&reader, connection->guard);
    }
    if (fault == NULL)
        return DBK_OK;
    if (offset_out != NULL)
        *offset_out = (int)(reader.offset - reader.token.text.size);
    return dbk_error_set(err, DBK_EDENIED, "%s %s", who[connection->guard], fault);
}

/* ---- Watching ---- */

static int watch_access(void *context, int action, const char *first, const char *second,
                        const char *database, const char *trigger)
{
    const struct dbk_sqlite *connection = context;
    (void)database;
    (void)trigger;
    if (action == SQLITE_READ || action == SQLITE_UPDATE)
        connection->watch(connection->watch_context, first, second == NULL ? "" : second,
                          action == SQLITE_READ ? DBK_WATCHED_READ : DBK_WATCHED_UPDATE);
    else if (action == SQLITE_INSERT || action == SQLITE_DELETE)
        connection->watch(connection->watch_context, first, "",
                          action == SQLITE_INSERT ? DBK_WATCHED_INSERT : DBK_WATCHED_DELETE);
    return SQLITE_OK;
}

void dbk_connection_watch(struct dbk_connection *connection, dbk_watch_fn watch, void *context)
{
    if (dbk_connection_dialect(connection) != DBK_DIALECT_SQLITE)
        return;
    struct dbk_sqlite *session = dbk_sqlite_of(connection);
    session->watch = watch;
    session->watch_context = context;
    if (watch != NULL)
        (void)sqlite3_set_authorizer(session->sqlite, watch_access, session);
    else
        dbk_connection_guard(connection, session->guard);
}
