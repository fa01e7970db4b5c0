/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guard: what SQLite's authorizer can tell while a statement is prepared, and what only its
 * text can. The clock is shut off a second time, by a VFS without one (connection.c).
 */
#include <stdio.h>
#include <strings.h>

#include "target/connection.h"

static bool is_any(const char *name, const char *const *names)
{
    for (; *names != NULL; names++) {
        if (strcasecmp(name, *names) == 0)
            return true;
    }
    return false;
}

static int deny(struct dbk_connection *connection, const char *what)
{
    static const char *const who[] = {
        [DBK_GUARD_NONE] = "a statement",
        [DBK_GUARD_HANDLER] = "a handler",
        [DBK_GUARD_SCHEMA] = "a schema",
        [DBK_GUARD_QUERY] = "a query",
    };
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

static int authorize_function(struct dbk_connection *connection, const char *name)
{
    static const char *const chance[] = {"random", "randomblob", NULL};
    static const char *const clock[] = {"current_timestamp", "current_date", "current_time", NULL};
    if (strcasecmp(name, "load_extension") == 0)
        return deny(connection, "load extensions");
    if (connection->guard == DBK_GUARD_QUERY)
        return SQLITE_OK;
    if (is_any(name, chance))
        return deny(connection, "use chance: posting again would give other rows");
    if (is_any(name, clock))
        return deny(connection, "read the clock: use :_time or :_occurred");
    return SQLITE_OK;
}

static int authorize_change(struct dbk_connection *connection, const char *table)
{
    if (connection->guard == DBK_GUARD_QUERY)
        return deny(connection, "change anything");
    if (connection->guard == DBK_GUARD_SCHEMA)
        return is_catalog(table) ? SQLITE_OK : deny(connection, "change rows");
    if (is_own(table) || is_catalog(table))
        return deny(connection, "change the book's own tables");
    return SQLITE_OK;
}

static int authorize_read(struct dbk_connection *connection, const char *table)
{
    if (connection->guard != DBK_GUARD_QUERY && is_own(table))
        return deny(connection, "read the book's own tables");
    return SQLITE_OK;
}

static int authorize_create(struct dbk_connection *connection, const char *table)
{
    if (connection->guard != DBK_GUARD_SCHEMA)
        return deny(connection, "create or drop anything");
    if (is_own(table))
        return deny(connection, "use names that begin with _daybook");
    return SQLITE_OK;
}

int dbk_guard_authorize(void *context, int action, const char *first, const char *second,
                        const char *database, const char *trigger)
{
    struct dbk_connection *connection = context;
    (void)database;
    (void)trigger;
    switch (action) {
    case SQLITE_SELECT:
    case SQLITE_RECURSIVE:
        return SQLITE_OK;
    case SQLITE_READ:
        return authorize_read(connection, first);
    case SQLITE_FUNCTION:
        return authorize_function(connection, second);
    case SQLITE_INSERT:
    case SQLITE_UPDATE:
    case SQLITE_DELETE:
        return authorize_change(connection, first);
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

/* Defaults and triggers of a schema are run by handlers without the authorizer's being asked. The
   reader stands behind a name. */
static const char *hidden_fault(struct reader reader)
{
    static const char *const clock[] = {"current_timestamp", "current_date", "current_time"};
    for (size_t i = 0; i < sizeof(clock) / sizeof(clock[0]); i++)
        if (is_text(&reader, clock[i]))
            return "may not read the clock: use :_time or :_occurred";
    bool chance = is_text(&reader, "random") || is_text(&reader, "randomblob");
    if (chance && next(&reader) && is_text(&reader, "("))
        return "may not use chance: posting again would give other rows";
    return NULL;
}

int dbk_guard_text(const struct dbk_connection *connection, struct dbk_slice sql, int *offset_out,
                   struct dbk_error *err)
{
    static const char *const dates[] = {"date",      "time",     "datetime", "julianday",
                                        "unixepoch", "strftime", NULL};
    struct reader reader = {.sql = sql};
    const char *fault = NULL;
    if (connection->guard != DBK_GUARD_HANDLER && connection->guard != DBK_GUARD_SCHEMA)
        return DBK_OK;
    while (fault == NULL && next(&reader)) {
        if (reader.token.kind != DBK_SQL_NAME)
            continue;
        if (is_text(&reader, "rollback"))
            fault = "may not roll back: a failing handler's batch is taken back as a whole";
        fault = fault == NULL ? hidden_fault(reader) : fault;
        for (const char *const *date = dates; *date != NULL && fault == NULL; date++) {
            if (is_text(&reader, *date) && asks_clock(reader, strcmp(*date, "strftime") == 0))
                fault = "may not read the clock: use :_time or :_occurred";
        }
    }
    if (fault == NULL)
        return DBK_OK;
    if (offset_out != NULL)
        *offset_out = (int)(reader.offset - reader.token.text.size);
    return dbk_error_set(err, DBK_EDENIED, "a %s %s",
                         connection->guard == DBK_GUARD_HANDLER ? "handler" : "schema", fault);
}
