/* SPDX-License-Identifier: Apache-2.0 */
#include "service/ask.h"

#include <stdio.h>

#include "base/assert.h"

#define TEXT_SIZE_MAX ((size_t)64 << 20)

static int no_memory(struct dbk_error *err)
{
    return dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM));
}

static int take_column(struct dbk_statement *statement, int index, struct dbk_arena *arena,
                       const char **text_out)
{
    struct dbk_value value = dbk_statement_column(statement, index);
    *text_out = NULL;
    if (value.kind == DBK_VALUE_NULL)
        return DBK_OK;
    dbk_assert(value.kind == DBK_VALUE_TEXT || value.kind == DBK_VALUE_INTEGER);
    *text_out = value.kind == DBK_VALUE_TEXT
                    ? dbk_arena_copy(arena, value.bytes).data
                    : dbk_arena_format(arena, "%lld", (long long)value.integer);
    return *text_out == NULL ? DBK_ENOMEM : DBK_OK;
}

static int take_rows(struct dbk_statement *statement, dbk_ask_fn each, void *context,
                     struct dbk_error *err)
{
    struct dbk_arena arena;
    const char *columns[DBK_ASK_COLUMNS_MAX];
    int count = dbk_statement_column_count(statement);
    int rc = DBK_OK;
    dbk_assert(count <= DBK_ASK_COLUMNS_MAX);
    dbk_arena_init(&arena, TEXT_SIZE_MAX);
    while (rc >= 0 && (rc = dbk_statement_step(statement, err)) == 1) {
        dbk_arena_reset(&arena);
        for (int i = 0; rc >= 0 && i < count; i++)
            rc = take_column(statement, i, &arena, &columns[i]);
        if (rc < 0)
            (void)no_memory(err);
        else if (each != NULL)
            rc = each(context, columns, err);
    }
    dbk_arena_release(&arena);
    return rc < 0 ? rc : DBK_OK;
}

int dbk_ask(struct dbk_connection *connection, const char *sql, const char *const *parameters,
            dbk_ask_fn each, void *context, struct dbk_error *err)
{
    struct dbk_statement *statement = NULL;
    int rc = dbk_statement_open(connection, dbk_slice_of(sql), &statement, NULL, err);
    if (rc < 0)
        return rc;
    for (int i = 0; parameters != NULL && parameters[i] != NULL; i++) {
        struct dbk_value value = {.kind = DBK_VALUE_TEXT, .bytes = dbk_slice_of(parameters[i])};
        dbk_assert(i < DBK_ASK_PARAMETERS_MAX);
        dbk_statement_bind(statement, i + 1, &value);
    }
    rc = take_rows(statement, each, context, err);
    dbk_statement_free(statement);
    return rc;
}

struct first {
    struct dbk_arena *arena;
    const char *text;
    bool taken;
};

static int take_first(void *context, const char *const *columns, struct dbk_error *err)
{
    struct first *first = context;
    if (first->taken)
        return DBK_OK;
    first->taken = true;
    if (columns[0] == NULL)
        return DBK_OK;
    first->text = dbk_arena_copy(first->arena, dbk_slice_of(columns[0])).data;
    return first->text == NULL ? no_memory(err) : DBK_OK;
}

int dbk_ask_text(struct dbk_connection *connection, const char *sql, const char *const *parameters,
                 struct dbk_arena *arena, const char **text_out, struct dbk_error *err)
{
    struct first first = {.arena = arena};
    int rc = dbk_ask(connection, sql, parameters, take_first, &first, err);
    if (rc == DBK_OK)
        *text_out = first.text;
    return rc;
}

static int take_number(void *context, const char *const *columns, struct dbk_error *err)
{
    int64_t *number = context;
    if (columns[0] != NULL && !dbk_slice_to_i64(dbk_slice_of(columns[0]), number))
        return dbk_error_set(err, DBK_ECORRUPT, "the database answered %.40s, which is no number",
                             columns[0]);
    return DBK_OK;
}

int dbk_ask_number(struct dbk_connection *connection, const char *sql,
                   const char *const *parameters, int64_t *number_out, struct dbk_error *err)
{
    int64_t number = 0;
    int rc = dbk_ask(connection, sql, parameters, take_number, &number, err);
    if (rc == DBK_OK)
        *number_out = number;
    return rc;
}

static int tell(struct dbk_connection *connection, struct dbk_buf *sql, const char *shown,
                struct dbk_error *err)
{
    struct dbk_error failure = {0};
    dbk_buf_append_char(sql, '\0');
    if (sql->rc < 0)
        return dbk_error_set(err, sql->rc, "a statement: %s", dbk_code_text(sql->rc));
    int rc = dbk_connection_run(connection, sql->data, &failure);
    if (rc == DBK_EDENIED)
        return dbk_error_set(err, rc,
                             "the database's user may not do it (`%.100s`: %.200s): let "
                             "it be one who can",
                             shown == NULL ? sql->data : shown, failure.message);
    return rc < 0 ? dbk_error_set(err, rc, "`%.160s`: %.600s", shown == NULL ? sql->data : shown,
                                  failure.message)
                  : DBK_OK;
}

static void DBK_PRINTF(2, 0) append_va(struct dbk_buf *out, const char *format, va_list arguments)
{
    va_list again;
    va_copy(again, arguments);
    int size = vsnprintf(NULL, 0, format, arguments);
    if (size >= 0 && dbk_buf_reserve(out, (size_t)size + 1) == DBK_OK) {
        (void)vsnprintf(out->data + out->size, (size_t)size + 1, format, again);
        out->size += (size_t)size;
    } else if (out->rc == DBK_OK) {
        out->rc = DBK_ENOMEM;
    }
    va_end(again);
}

int dbk_tell(struct dbk_connection *connection, struct dbk_error *err, const char *format, ...)
{
    struct dbk_buf sql;
    va_list arguments;
    dbk_buf_init(&sql, TEXT_SIZE_MAX);
    va_start(arguments, format);
    append_va(&sql, format, arguments);
    va_end(arguments);
    int rc = tell(connection, &sql, NULL, err);
    dbk_buf_release(&sql);
    return rc;
}

int dbk_tell_secret(struct dbk_connection *connection, struct dbk_error *err, const char *what,
                    const char *format, ...)
{
    struct dbk_buf sql;
    va_list arguments;
    dbk_buf_init(&sql, TEXT_SIZE_MAX);
    va_start(arguments, format);
    append_va(&sql, format, arguments);
    va_end(arguments);
    int rc = tell(connection, &sql, what, err);
    if (sql.data != NULL)
        explicit_bzero(sql.data, sql.size);
    dbk_buf_release(&sql);
    return rc;
}
