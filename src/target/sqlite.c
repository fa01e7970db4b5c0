/* SPDX-License-Identifier: Apache-2.0 */
#include "target/sqlite.h"

#include <pthread.h>
#include <stdio.h>
#include <time.h>

#include "base/assert.h"
#include "target/turn.h"

#define BUSY_MS 10000
/* How often a lock is asked for again, at first and when it takes long. */
#define ASK_AGAIN_NS 200000
#define ASK_SELDOM_NS 2000000
#define ASK_OFTEN_COUNT 250
/* Instructions of SQLite's machine between two looks at the clock. */
#define LOOK_STEPS 1000
#define CLOCKLESS "daybook-clockless"

struct statement {
    struct dbk_statement base; /* first: a statement is cast to it */
    struct dbk_sqlite *connection;
    sqlite3_stmt *sqlite;
    size_t size; /* of its text */
    bool keep;   /* when freed */
    bool running;
};

static struct statement *of(const struct dbk_statement *statement)
{
    union {
        const struct dbk_statement *given;
        struct statement *own;
    } cast = {.given = statement};
    return cast.own;
}

/* What a SQLite result means here. */
static int code_of(const struct dbk_sqlite *connection, int result)
{
    switch (result & 0xff) {
    case SQLITE_CONSTRAINT:
        return DBK_EREFUSED;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_PROTOCOL:
        return DBK_EBUSY;
    case SQLITE_INTERRUPT:
        return connection->late ? DBK_ETIMEOUT : DBK_ESCRIPT;
    case SQLITE_FULL:
        return DBK_EFULL;
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
        return DBK_EIO;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return DBK_ECORRUPT;
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH:
        return DBK_EDENIED;
    case SQLITE_NOMEM:
        return DBK_ENOMEM;
    default:
        return DBK_ESCRIPT;
    }
}

static int no_clock(sqlite3_vfs *vfs, sqlite3_int64 *now_out)
{
    (void)vfs;
    (void)now_out;
    return SQLITE_ERROR;
}

static int no_old_clock(sqlite3_vfs *vfs, double *now_out)
{
    (void)vfs;
    (void)now_out;
    return SQLITE_ERROR;
}

static sqlite3_vfs clockless;

static void register_clockless(void)
{
    clockless = *sqlite3_vfs_find(NULL);
    clockless.zName = CLOCKLESS;
    clockless.xCurrentTimeInt64 = no_clock;
    clockless.xCurrentTime = no_old_clock;
    clockless.pNext = NULL;
    dbk_ignore(sqlite3_vfs_register(&clockless, 0));
}

static int open_sqlite(const char *path, unsigned flags, struct dbk_sqlite *connection,
                       struct dbk_error *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    bool memory = (flags & DBK_CONNECT_MEMORY) != 0;
    bool exists = (flags & (DBK_CONNECT_READ | DBK_CONNECT_FOREIGN)) != 0;
    int how = SQLITE_OPEN_NOMUTEX |
              ((flags & DBK_CONNECT_READ) != 0 ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE);
    (void)pthread_once(&once, register_clockless);
    int result = sqlite3_open_v2(memory ? ":memory:" : path, &connection->sqlite,
                                 exists ? how : how | SQLITE_OPEN_CREATE,
                                 (flags & DBK_CONNECT_HANDLERS) != 0 ? CLOCKLESS : NULL);
    if (result == SQLITE_OK)
        return DBK_OK;
    int rc = result == SQLITE_CANTOPEN && exists ? DBK_ENOTFOUND : code_of(connection, result);
    return dbk_error_set(err, result == SQLITE_CANTOPEN && rc != DBK_ENOTFOUND ? DBK_EIO : rc,
                         "database %s: %s", memory ? "in memory" : path,
                         connection->sqlite == NULL ? "out of memory"
                                                    : sqlite3_errmsg(connection->sqlite));
}

/* What the statements that begin now see of the log. */
static void place_events(struct dbk_sqlite *session)
{
    if (session->store != NULL)
        session->events_position =
            session->pinned ? session->pin : dbk_store_last_position(session->store);
}

static int run(struct dbk_connection *connection, const char *sql, struct dbk_error *err)
{
    struct dbk_sqlite *session = dbk_sqlite_of(connection);
    char *message = NULL;
    place_events(session);
    int result = sqlite3_exec(session->sqlite, sql, NULL, NULL, &message);
    if (result == SQLITE_OK)
        return DBK_OK;
    const char *path = sqlite3_db_filename(session->sqlite, "main");
    int rc = dbk_error_set(err, code_of(session, result), "database %s: %s (%.200s)",
                           path == NULL || path[0] == 0 ? "in memory" : path,
                           message == NULL ? sqlite3_errstr(result) : message, sql);
    sqlite3_free(message);
    return rc;
}

/* SQLite's own handler sleeps for up to 100 ms at a time, in which the lock is free mostly. */
static int wait_for_lock(void *context, int count)
{
    struct dbk_sqlite *session = context;
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    int64_t now_us = now.tv_sec * INT64_C(1000000) + now.tv_nsec / 1000;
    if (count == 0)
        session->busy_us = now_us;
    if (now_us - session->busy_us > BUSY_MS * INT64_C(1000))
        return 0;
    (void)nanosleep(
        &(struct timespec){.tv_nsec = count < ASK_OFTEN_COUNT ? ASK_AGAIN_NS : ASK_SELDOM_NS},
        NULL);
    return 1;
}

static int begin(struct dbk_connection *connection, enum dbk_begin how, struct dbk_error *err)
{
    struct dbk_sqlite *session = dbk_sqlite_of(connection);
    if (how == DBK_BEGIN_READ)
        return run(connection, "BEGIN", err);
    bool turn = session->queue != NULL && dbk_turn_take(session->queue, BUSY_MS);
    int rc = run(connection, "BEGIN IMMEDIATE", err);
    if (turn)
        dbk_turn_give(session->queue);
    return rc;
}

/* Nothing is sent ahead: there is nothing to wait for. */
static int settle(struct dbk_connection *connection, bool constraints, struct dbk_error *err)
{
    (void)connection;
    (void)constraints;
    (void)err;
    return DBK_OK;
}

static int set_up(struct dbk_sqlite *connection, const char *path, unsigned flags,
                  struct dbk_error *err)
{
    (void)sqlite3_busy_handler(connection->sqlite, wait_for_lock, connection);
    if ((flags & (DBK_CONNECT_READ | DBK_CONNECT_MEMORY)) == 0)
        connection->queue = dbk_turn_queue_ref(path);
    (void)sqlite3_extended_result_codes(connection->sqlite, 1);
    (void)sqlite3_db_config(connection->sqlite, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    (void)sqlite3_db_config(connection->sqlite, SQLITE_DBCONFIG_DQS_DML, 0, NULL);
    (void)sqlite3_db_config(connection->sqlite, SQLITE_DBCONFIG_DQS_DDL, 0, NULL);
    /* NORMAL: a machine's crash may take back the last commits, whole: rows together with the
       position they belong to, from which the log is posted again. */
    /* The file is opened with the first read of it: now, so that a failure is the file's. */
    const char *sql = (flags & (DBK_CONNECT_READ | DBK_CONNECT_MEMORY | DBK_CONNECT_FOREIGN)) != 0
                          ? "PRAGMA foreign_keys = ON; SELECT 1 FROM sqlite_schema LIMIT 1"
                          : "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; "
                            "PRAGMA foreign_keys = ON; PRAGMA cache_size = -32768; "
                            "PRAGMA secure_delete = ON";
    int rc = run(&connection->base, sql, NULL);
    if (rc == DBK_OK && (flags & DBK_CONNECT_HANDLERS) != 0)
        rc = run(&connection->base, "PRAGMA temp_store = MEMORY", NULL);
    return rc < 0
               ? dbk_error_set(err, rc, "database %s: %s", path, sqlite3_errmsg(connection->sqlite))
               : rc;
}

static void end_statement(struct statement *statement)
{
    (void)sqlite3_finalize(statement->sqlite);
    dbk_free(statement);
}

static void close_session(struct dbk_connection *connection)
{
    struct dbk_sqlite *session = dbk_sqlite_of(connection);
    for (size_t i = 0; i < session->kept_count; i++)
        end_statement(of(session->kept[i]));
    int result = sqlite3_close(session->sqlite);
    dbk_assert(result == SQLITE_OK);
    dbk_turn_queue_unref(session->queue);
    dbk_free(session);
}

static int open_session(const char *path, unsigned flags, struct dbk_connection **connection_out,
                        struct dbk_error *err)
{
    struct dbk_sqlite *session = dbk_alloc_zero(1, sizeof(*session));
    if (session == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory opening %s", path);
    session->base.driver = &dbk_driver_sqlite;
    session->keeps = (flags & DBK_CONNECT_KEEP) != 0;
    int rc = open_sqlite(path, flags, session, err);
    if (rc == DBK_OK)
        rc = set_up(session, path, flags, err);
    if (rc < 0) {
        close_session(&session->base);
        return rc;
    }
    *connection_out = &session->base;
    return DBK_OK;
}

static void set_guard(struct dbk_connection *connection, enum dbk_guard guard)
{
    struct dbk_sqlite *session = dbk_sqlite_of(connection);
    session->guard = guard;
    (void)sqlite3_set_authorizer(session->sqlite,
                                 guard == DBK_GUARD_NONE ? NULL : dbk_guard_authorize, session);
}

static int checkpoint(struct dbk_connection *connection, struct dbk_error *err)
{
    const struct dbk_sqlite *session = dbk_sqlite_of(connection);
    int left = 0;
    int done = 0;
    int result = sqlite3_wal_checkpoint_v2(session->sqlite, "main", SQLITE_CHECKPOINT_TRUNCATE,
                                           &left, &done);
    return result == SQLITE_OK
               ? DBK_OK
               : dbk_error_set(err, code_of(session, result),
                               "database %s: its write-ahead log cannot be emptied: %s",
                               sqlite3_db_filename(session->sqlite, "main"),
                               sqlite3_errmsg(session->sqlite));
}

bool dbk_target_has_moved(struct dbk_connection *connection)
{
    struct dbk_sqlite *session = dbk_sqlite_of(connection);
    const char *name = NULL;
    bool found = false;
    dbk_assert(connection->driver == &dbk_driver_sqlite);
    for (int i = 0; !found && (name = sqlite3_db_name(session->sqlite, i)) != NULL; i++) {
        int moved = 0; /* What is in memory knows of none. */
        found = sqlite3_file_control(session->sqlite, name, SQLITE_FCNTL_HAS_MOVED, &moved) ==
                    SQLITE_OK &&
                moved != 0;
    }
    return found;
}

static int64_t monotonic_us(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* The first look of a statement begins its time: one too short for a look never needs the clock. */
static int look_at_clock(void *context)
{
    struct dbk_sqlite *connection = context;
    int64_t now_us = monotonic_us();
    if (connection->deadline_us == 0)
        connection->deadline_us = now_us + connection->limit_us;
    connection->late = now_us > connection->deadline_us;
    return connection->late ? 1 : 0;
}

static void limit_us(struct dbk_connection *connection, int64_t limit)
{
    struct dbk_sqlite *session = dbk_sqlite_of(connection);
    session->limit_us = limit;
    sqlite3_progress_handler(session->sqlite, LOOK_STEPS, limit == 0 ? NULL : look_at_clock,
                             session);
}

static void interrupt(struct dbk_connection *connection)
{
    sqlite3_interrupt(dbk_sqlite_of(connection)->sqlite);
}

static bool deferred_violation(struct dbk_connection *connection)
{
    int current = 0;
    int highest = 0;
    int result = sqlite3_db_status(dbk_sqlite_of(connection)->sqlite, SQLITE_DBSTATUS_DEFERRED_FKS,
                                   &current, &highest, 0);
    return result == SQLITE_OK && current != 0;
}

static bool in_transaction(struct dbk_connection *connection)
{
    return sqlite3_get_autocommit(dbk_sqlite_of(connection)->sqlite) == 0;
}

/* Nothing but space may follow the statement. */
static bool ends(struct dbk_slice rest)
{
    size_t at = 0;
    for (;;) {
        struct dbk_sql_token token = dbk_sql_next(rest, at);
        if (token.kind == DBK_SQL_END)
            return true;
        if (token.kind != DBK_SQL_SPACE && token.kind != DBK_SQL_SEMICOLON)
            return false;
        at += token.text.size;
    }
}

static int prepare_failed(struct dbk_sqlite *connection, int result, int *offset_out,
                          struct dbk_error *err)
{
    if (offset_out != NULL)
        *offset_out = sqlite3_error_offset(connection->sqlite);
    /* A function that is denied is a plain error to SQLite, not SQLITE_AUTH. */
    if (connection->denied[0] != 0)
        return dbk_error_set(err, DBK_EDENIED, "%s", connection->denied);
    int rc = code_of(connection, result);
    return dbk_error_set(err, rc == DBK_ESCRIPT ? DBK_EINVAL : rc, "%s",
                         sqlite3_errmsg(connection->sqlite));
}

static void free_statement(struct dbk_statement *base)
{
    struct statement *statement = of(base);
    struct dbk_sqlite *connection = statement->connection;
    if (!statement->keep) {
        end_statement(statement);
        return;
    }
    (void)sqlite3_reset(statement->sqlite);
    (void)sqlite3_clear_bindings(statement->sqlite);
    statement->running = false;
    if (connection->kept_count < DBK_SQLITE_KEPT_MAX) {
        connection->kept[connection->kept_count++] = base;
        return;
    }
    size_t oldest = connection->kept_next++ % DBK_SQLITE_KEPT_MAX;
    end_statement(of(connection->kept[oldest]));
    connection->kept[oldest] = base;
}

/* A kept statement of this text, which is no longer among the kept; NULL: there is none. */
static struct dbk_statement *take_kept(struct dbk_sqlite *connection, struct dbk_slice sql)
{
    for (size_t i = 0; i < connection->kept_count; i++) {
        struct dbk_statement *kept = connection->kept[i];
        if (of(kept)->size != sql.size ||
            memcmp(sqlite3_sql(of(kept)->sqlite), sql.data, sql.size) != 0)
            continue;
        connection->kept[i] = connection->kept[--connection->kept_count];
        return kept;
    }
    return NULL;
}

static int open_statement(struct dbk_connection *base, struct dbk_slice sql,
                          struct dbk_statement **statement_out, int *offset_out,
                          struct dbk_error *err)
{
    struct dbk_sqlite *connection = dbk_sqlite_of(base);
    const char *tail = NULL;
    if (offset_out != NULL)
        *offset_out = -1;
    if (sql.size > INT32_MAX)
        return dbk_error_set(err, DBK_ELIMIT, "the statement has %zu bytes", sql.size);
    const char *nul = sql.size == 0 ? NULL : memchr(sql.data, 0, sql.size);
    if (nul != NULL)
        return dbk_error_set(err, DBK_EINVAL, "the statement has a NUL byte at %td",
                             nul - sql.data);
    if (connection->guard != DBK_GUARD_NONE) {
        int rc = dbk_guard_text(connection, sql, offset_out, err);
        if (rc < 0)
            return rc;
    }
    bool keep = connection->keeps && connection->guard == DBK_GUARD_NONE;
    struct dbk_statement *kept = keep ? take_kept(connection, sql) : NULL;
    if (kept != NULL) {
        *statement_out = kept;
        return DBK_OK;
    }
    struct statement *statement = dbk_alloc_zero(1, sizeof(*statement));
    if (statement == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory preparing a statement");
    connection->denied[0] = 0;
    connection->late = false;
    connection->deadline_us = 0;
    int result =
        sqlite3_prepare_v3(connection->sqlite, sql.data == NULL ? "" : sql.data, (int)sql.size,
                           SQLITE_PREPARE_PERSISTENT, &statement->sqlite, &tail);
    statement->base.driver = &dbk_driver_sqlite;
    statement->connection = connection;
    int rc = result == SQLITE_OK ? DBK_OK : prepare_failed(connection, result, offset_out, err);
    if (rc == DBK_OK && statement->sqlite == NULL)
        rc = dbk_error_set(err, DBK_EINVAL, "there is no statement");
    if (rc == DBK_OK && !ends(dbk_slice(tail, sql.size - (size_t)(tail - sql.data)))) {
        if (offset_out != NULL)
            *offset_out = (int)(tail - sql.data);
        rc = dbk_error_set(err, DBK_EINVAL, "there is a second statement");
    }
    if (rc < 0) {
        end_statement(statement);
        return rc;
    }
    /* sqlite3_sql ends with the statement, the text perhaps behind it. */
    statement->size = sql.size;
    statement->keep = keep && strlen(sqlite3_sql(statement->sqlite)) == sql.size;
    *statement_out = &statement->base;
    return DBK_OK;
}

static void bind(struct dbk_statement *base, int index, const struct dbk_value *value)
{
    const struct statement *statement = of(base);
    static const char nothing[1] = "";
    int result = SQLITE_OK;
    const char *bytes = nothing;
    switch (value->kind) {
    case DBK_VALUE_NULL:
        result = sqlite3_bind_null(statement->sqlite, index);
        break;
    case DBK_VALUE_INTEGER:
        result = sqlite3_bind_int64(statement->sqlite, index, value->integer);
        break;
    case DBK_VALUE_REAL:
        result = sqlite3_bind_double(statement->sqlite, index, value->real);
        break;
    case DBK_VALUE_DECIMAL:
        result =
            sqlite3_bind_double(statement->sqlite, index, dbk_decimal_to_double(value->decimal));
        break;
    case DBK_VALUE_TEXT:
        bytes = value->bytes.data == NULL ? nothing : value->bytes.data;
        result = sqlite3_bind_text64(statement->sqlite, index, bytes, value->bytes.size,
                                     SQLITE_STATIC, SQLITE_UTF8);
        break;
    case DBK_VALUE_BLOB:
        bytes = value->bytes.data == NULL ? nothing : value->bytes.data;
        result =
            sqlite3_bind_blob64(statement->sqlite, index, bytes, value->bytes.size, SQLITE_STATIC);
        break;
    }
    dbk_assert(result == SQLITE_OK || result == SQLITE_NOMEM || result == SQLITE_TOOBIG);
}

static int step(struct dbk_statement *base, struct dbk_error *err)
{
    struct statement *statement = of(base);
    struct dbk_sqlite *connection = statement->connection;
    if (!statement->running) {
        connection->late = false;
        connection->deadline_us = 0;
        place_events(connection);
    }
    statement->running = true;
    int result = sqlite3_step(statement->sqlite);
    if (result == SQLITE_ROW)
        return 1;
    statement->running = false;
    if (result == SQLITE_DONE)
        return 0;
    const char *words = sqlite3_errmsg(connection->sqlite);
    int rc = code_of(connection, result);
    /* SQLite has prepared it anew, and the schema is no longer what it was: no row's own fault. */
    if (result == SQLITE_ERROR && strncmp(words, "no such ", 8) == 0)
        rc = DBK_EINVAL;
    return dbk_error_set(err, rc, "%s", rc == DBK_ETIMEOUT ? "the statement ran too long" : words);
}

static void reset(struct dbk_statement *base)
{
    struct statement *statement = of(base);
    (void)sqlite3_reset(statement->sqlite);
    statement->running = false;
}

static bool is_read_only(const struct dbk_statement *statement)
{
    return sqlite3_stmt_readonly(of(statement)->sqlite) != 0;
}

static int column_count(const struct dbk_statement *statement)
{
    return sqlite3_column_count(of(statement)->sqlite);
}

static const char *column_name(const struct dbk_statement *statement, int column)
{
    const char *name = sqlite3_column_name(of(statement)->sqlite, column);
    return name == NULL ? "" : name;
}

static struct dbk_value column(struct dbk_statement *statement, int index)
{
    sqlite3_stmt *sqlite = of(statement)->sqlite;
    struct dbk_value value = {.kind = DBK_VALUE_NULL};
    const void *bytes = NULL;
    switch (sqlite3_column_type(sqlite, index)) {
    case SQLITE_INTEGER:
        value = (struct dbk_value){.kind = DBK_VALUE_INTEGER,
                                   .integer = sqlite3_column_int64(sqlite, index)};
        break;
    case SQLITE_FLOAT:
        value = (struct dbk_value){.kind = DBK_VALUE_REAL,
                                   .real = sqlite3_column_double(sqlite, index)};
        break;
    case SQLITE_TEXT:
        bytes = sqlite3_column_text(sqlite, index);
        value.kind = DBK_VALUE_TEXT;
        value.bytes = dbk_slice(bytes, (size_t)sqlite3_column_bytes(sqlite, index));
        break;
    case SQLITE_BLOB:
        bytes = sqlite3_column_blob(sqlite, index);
        value.kind = DBK_VALUE_BLOB;
        value.bytes = dbk_slice(bytes, (size_t)sqlite3_column_bytes(sqlite, index));
        break;
    default:
        break;
    }
    return value;
}

const struct dbk_driver dbk_driver_sqlite = {
    .version = DBK_DRIVER_VERSION,
    .dialect = DBK_DIALECT_SQLITE,
    .open = open_session,
    .close = close_session,
    .run = run,
    .begin = begin,
    .settle = settle,
    .guard = set_guard,
    .checkpoint = checkpoint,
    .limit_us = limit_us,
    .interrupt = interrupt,
    .deferred_violation = deferred_violation,
    .in_transaction = in_transaction,
    .statement_open = open_statement,
    .statement_free = free_statement,
    .bind = bind,
    .step = step,
    .reset = reset,
    .is_read_only = is_read_only,
    .column_count = column_count,
    .column_name = column_name,
    .column = column,
};
