/* SPDX-License-Identifier: Apache-2.0 */
#include "model/purge.h"

#include "model/poster.h"

#define STATEMENTS_MAX 100
#define TEXT_SIZE_MAX ((size_t)16 << 20)

struct statement {
    struct dbk_statement *sqlite;
    unsigned line;
    int subject; /* the number of :_subject; 0: it has none */
    int stream;
};

struct dbk_purge {
    const char *model;
    const char *file;
    struct dbk_arena arena;
    struct statement statements[STATEMENTS_MAX];
    size_t count;
};

bool dbk_purge_knows(enum dbk_dialect dialect, struct dbk_slice name)
{
    return dbk_slice_equal_text(name, "_subject") || dbk_slice_equal_text(name, "_stream") ||
           (dialect == DBK_DIALECT_MONGODB && dbk_slice_equal_text(name, "_position"));
}

static int take_parameters(enum dbk_dialect dialect, struct statement *statement,
                           const struct dbk_slice *names, size_t count, struct dbk_error *err)
{
    for (size_t i = 0; i < count; i++) {
        if (dbk_slice_equal_text(names[i], "_subject"))
            statement->subject = (int)i + 1;
        else if (dbk_slice_equal_text(names[i], "_stream"))
            statement->stream = (int)i + 1;
        else if (!dbk_purge_knows(dialect, names[i]))
            return dbk_error_set(err, DBK_EINVAL,
                                 "`:%.*s`: there are `:_subject` and `:_stream` here",
                                 DBK_SLICE_ARGS(names[i]));
    }
    return DBK_OK;
}

static int add(struct dbk_purge *purge, struct dbk_connection *connection, struct dbk_slice sql,
               const struct dbk_sql_rename *renames, size_t rename_count, size_t *offset_out,
               struct dbk_error *err)
{
    struct dbk_buf text;
    struct dbk_slice *names = NULL;
    size_t count = 0;
    int offset = -1;
    struct statement *statement = &purge->statements[purge->count];
    *offset_out = 0;
    if (purge->count == STATEMENTS_MAX)
        return dbk_error_set(err, DBK_ELIMIT, "more than %d statements", STATEMENTS_MAX);
    dbk_buf_init(&text, TEXT_SIZE_MAX);
    enum dbk_dialect dialect = dbk_connection_dialect(connection);
    int rc = dbk_text_rewrite(dialect, sql, renames, rename_count, &text, &purge->arena, &names,
                              &count, err);
    if (rc == DBK_OK)
        rc = take_parameters(dialect, statement, names, count, err);
    if (rc == DBK_OK)
        rc = dbk_statement_open(connection, dbk_buf_slice(&text), &statement->sqlite, &offset, err);
    if (offset >= 0)
        *offset_out = dbk_poster_offset(sql, dbk_buf_slice(&text), (size_t)offset);
    dbk_buf_release(&text);
    purge->count += rc == DBK_OK;
    return rc;
}

static int add_all(struct dbk_purge *purge, struct dbk_connection *connection,
                   struct dbk_slice text, const struct dbk_sql_rename *renames, size_t rename_count,
                   struct dbk_purge_fault *fault_out, struct dbk_error *err)
{
    size_t offset = 0;
    for (;;) {
        size_t fault = 0;
        unsigned column = 0;
        struct dbk_slice sql =
            dbk_text_statement(dbk_connection_dialect(connection), text, offset, &offset);
        if (sql.size == 0)
            break;
        int rc = add(purge, connection, sql, renames, rename_count, &fault, err);
        if (rc < 0) {
            fault_out->offset = (size_t)(sql.data - text.data) + fault;
            return rc;
        }
        dbk_text_place(text, (size_t)(sql.data - text.data),
                       &purge->statements[purge->count - 1].line, &column);
    }
    return purge->count == 0 ? dbk_error_set(err, DBK_EINVAL, "there is no statement") : DBK_OK;
}

enum dbk_guard dbk_purge_guard(enum dbk_dialect dialect)
{
    return dialect == DBK_DIALECT_MONGODB ? DBK_GUARD_PURGE : DBK_GUARD_HANDLER;
}

int dbk_purge_open(struct dbk_connection *connection, const struct dbk_model_definition *definition,
                   const struct dbk_sql_rename *renames, size_t rename_count,
                   struct dbk_purge **purge_out, struct dbk_purge_fault *fault_out,
                   struct dbk_error *err)
{
    struct dbk_purge *purge = dbk_alloc_zero(1, sizeof(*purge));
    if (purge == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory preparing %s", definition->purge_file);
    dbk_arena_init(&purge->arena, TEXT_SIZE_MAX);
    purge->model = definition->name;
    purge->file = definition->purge_file;
    dbk_connection_guard(connection, dbk_purge_guard(dbk_connection_dialect(connection)));
    int rc = add_all(purge, connection, definition->purge, renames, rename_count, fault_out, err);
    dbk_connection_guard(connection, DBK_GUARD_NONE);
    if (rc < 0) {
        dbk_purge_free(purge);
        return rc;
    }
    *purge_out = purge;
    return DBK_OK;
}

void dbk_purge_free(struct dbk_purge *purge)
{
    if (purge == NULL)
        return;
    for (size_t i = 0; i < purge->count; i++)
        dbk_statement_free(purge->statements[i].sqlite);
    dbk_arena_release(&purge->arena);
    dbk_free(purge);
}

static int run(struct dbk_purge *purge, struct statement *statement, struct dbk_error *err)
{
    struct dbk_error failure = {0};
    int rc = 1;
    while (rc == 1)
        rc = dbk_statement_step(statement->sqlite, &failure);
    dbk_statement_reset(statement->sqlite);
    if (rc == DBK_OK)
        return DBK_OK;
    dbk_definition_plain(&failure);
    return dbk_error_set(err, rc, "model %s: %s:%u: %s", purge->model, purge->file, statement->line,
                         failure.message);
}

int dbk_purge_run(struct dbk_purge *purge, const struct dbk_forgotten *subject,
                  struct dbk_error *err)
{
    struct dbk_value name = {.kind = DBK_VALUE_TEXT, .bytes = subject->subject};
    int rc = DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < purge->count; i++) {
        struct statement *statement = &purge->statements[i];
        size_t times = statement->stream == 0 ? 1 : subject->stream_count;
        if (statement->subject != 0)
            dbk_statement_bind(statement->sqlite, statement->subject, &name);
        for (size_t at = 0; rc == DBK_OK && at < times; at++) {
            struct dbk_value stream = {.kind = DBK_VALUE_TEXT};
            if (statement->stream != 0) {
                stream.bytes = subject->streams[at];
                dbk_statement_bind(statement->sqlite, statement->stream, &stream);
            }
            rc = run(purge, statement, err);
        }
    }
    return rc;
}
