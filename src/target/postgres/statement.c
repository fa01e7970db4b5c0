/* SPDX-License-Identifier: Apache-2.0 */
/* Statements: prepared, sent, and their values read. */
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/time.h"
#include "json/decimal.h"
#include "target/postgres/session.h"

/* A message of parameters; PostgreSQL itself takes 1 GB. */
#define MESSAGE_SIZE_MAX ((size_t)1 << 30)

/* Types whose values are more than text. */
enum type {
    TYPE_BOOL = 16,
    TYPE_BYTEA = 17,
    TYPE_INT8 = 20,
    TYPE_INT2 = 21,
    TYPE_INT4 = 23,
    TYPE_OID = 26,
    TYPE_FLOAT4 = 700,
    TYPE_FLOAT8 = 701,
    TYPE_TIMESTAMP = 1114,
    TYPE_TIMESTAMPTZ = 1184,
    TYPE_NUMERIC = 1700,
};

struct statement {
    struct dbk_statement base; /* first: a statement is cast to it */
    struct dbk_pq_session *session;
    char name[24];
    char *text; /* of what cannot be prepared; else NULL */
    enum dbk_postgres_kind kind;
    int parameter_count;
    struct dbk_value *values;
    const char **texts;
    size_t *offsets; /* of each text in `bytes`; SIZE_MAX: NULL */
    struct dbk_buf bytes;
    bool returns_rows;
    PGresult *description;
    PGresult *result; /* NULL: not run */
    int row;
    struct dbk_buf made; /* the bytes of the last column that are not the server's own */
};

static struct statement *of(const struct dbk_statement *statement)
{
    union {
        const struct dbk_statement *given;
        struct statement *own;
    } cast = {.given = statement};
    return cast.own;
}

void dbk_pq_statement_free(struct dbk_statement *base)
{
    struct statement *statement = of(base);
    struct dbk_pq_session *session = statement->session;
    PQclear(statement->result);
    PQclear(statement->description);
    if (statement->text == NULL && statement->name[0] != 0 &&
        PQstatus(session->server) == CONNECTION_OK &&
        dbk_pq_leave_pipeline(session, NULL) == DBK_OK) {
        char sql[64];
        (void)snprintf(sql, sizeof(sql), "DEALLOCATE %s", statement->name);
        dbk_ignore(dbk_pq_run_one(session, sql, NULL));
    }
    dbk_buf_release(&statement->bytes);
    dbk_buf_release(&statement->made);
    dbk_free(statement->values);
    dbk_free((void *)statement->texts);
    dbk_free(statement->offsets);
    dbk_free(statement->text);
    dbk_free(statement);
}

/* Where in the text the server found the fault: characters, which are made bytes. */
static int offset_of(const PGresult *result, const char *text)
{
    const char *position = PQresultErrorField(result, PG_DIAG_STATEMENT_POSITION);
    int64_t characters = 0;
    int offset = 0;
    if (position == NULL || !dbk_slice_to_i64(dbk_slice_of(position), &characters))
        return -1;
    for (; text[offset] != 0; offset++) {
        if (((unsigned char)text[offset] & 0xC0) != 0x80 && --characters == 0)
            return offset;
    }
    return -1;
}

static int describe(struct statement *statement, struct dbk_error *err)
{
    struct dbk_pq_session *session = statement->session;
    statement->description =
        dbk_pq_finish(session, PQsendDescribePrepared(session->server, statement->name));
    if (!dbk_pq_is_good(statement->description))
        return dbk_pq_failed(session, statement->description, err);
    int count = PQnparams(statement->description);
    statement->parameter_count = count;
    statement->returns_rows = PQnfields(statement->description) > 0;
    statement->values = dbk_alloc_zero((size_t)count + 1, sizeof(*statement->values));
    statement->texts = dbk_alloc_zero((size_t)count + 1, sizeof(*statement->texts));
    statement->offsets = dbk_alloc_zero((size_t)count + 1, sizeof(*statement->offsets));
    if (statement->values == NULL || statement->texts == NULL || statement->offsets == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory preparing a statement");
    return DBK_OK;
}

static int prepare(struct statement *statement, const char *text, int *offset_out,
                   struct dbk_error *err)
{
    struct dbk_pq_session *session = statement->session;
    (void)snprintf(statement->name, sizeof(statement->name), "s%llu",
                   (unsigned long long)++session->statement_count);
    PGresult *result =
        dbk_pq_finish(session, PQsendPrepare(session->server, statement->name, text, 0, NULL));
    int rc = dbk_pq_is_good(result) ? DBK_OK : dbk_pq_failed(session, result, err);
    if (rc < 0) {
        statement->name[0] = 0;
        if (offset_out != NULL)
            *offset_out = offset_of(result, text);
    }
    PQclear(result);
    return rc < 0 ? rc : describe(statement, err);
}

/* Appends names, each with a NUL behind it, as an array. */
static void put_array(struct dbk_buf *out, struct dbk_slice names)
{
    dbk_buf_append_char(out, '{');
    for (size_t at = 0; at < names.size;) {
        struct dbk_slice name = dbk_slice_of(names.data + at);
        dbk_buf_append_text(out, at > 0 ? ",\"" : "\"");
        for (size_t i = 0; i < name.size; i++) {
            if (name.data[i] == '"' || name.data[i] == '\\')
                dbk_buf_append_char(out, '\\');
            dbk_buf_append_char(out, name.data[i]);
        }
        dbk_buf_append_char(out, '"');
        at += name.size + 1;
    }
    dbk_buf_append_text(out, "}");
    dbk_buf_append_char(out, '\0');
}

/* `row.name` is a call of a function of one argument where the row has no such column: names of
   functions are refused, whatever the row has. */
static int check_fields(struct dbk_pq_session *session, struct dbk_slice names,
                        struct dbk_error *err)
{
    static const char sql[] =
        "SELECT min(proname::pg_catalog.text) FROM pg_catalog.pg_proc WHERE proname "
        "OPERATOR(pg_catalog.=) ANY ($1::pg_catalog.name[]) AND pronargs OPERATOR(pg_catalog.>=) 1 "
        "AND pronargs OPERATOR(pg_catalog.-) pronargdefaults OPERATOR(pg_catalog.<=) 1";
    struct dbk_buf text;
    if (names.size == 0)
        return DBK_OK;
    dbk_buf_init(&text, MESSAGE_SIZE_MAX);
    put_array(&text, names);
    int rc = text.rc < 0 ? dbk_error_set(err, text.rc, "out of memory preparing a statement")
                         : dbk_pq_leave_pipeline(session, err);
    const char *const values[] = {text.data};
    PGresult *result = rc < 0
                           ? NULL
                           : dbk_pq_finish(session, PQsendQueryParams(session->server, sql, 1, NULL,
                                                                      values, NULL, NULL, 0));
    if (rc == DBK_OK && !dbk_pq_is_good(result))
        rc = dbk_pq_failed(session, result, err);
    else if (rc == DBK_OK && PQntuples(result) == 1 && !PQgetisnull(result, 0, 0))
        rc = dbk_error_set(err, DBK_EDENIED,
                           "a query may not name %.63s behind a dot, which is a function here: "
                           "name the column without its table, or make it a file in queries/",
                           PQgetvalue(result, 0, 0));
    PQclear(result);
    dbk_buf_release(&text);
    return rc;
}

int dbk_pq_statement_open(struct dbk_connection *connection, struct dbk_slice sql,
                          struct dbk_statement **statement_out, int *offset_out,
                          struct dbk_error *err)
{
    struct dbk_pq_session *session = dbk_pq_session_of(connection);
    struct dbk_buf text;
    struct dbk_buf fields;
    bool sent = session->guard == DBK_GUARD_SENT;
    int offset = -1;
    struct statement *statement = dbk_alloc_zero(1, sizeof(*statement));
    if (statement == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory preparing a statement");
    statement->base.driver = &dbk_driver;
    statement->session = session;
    dbk_buf_init(&statement->bytes, MESSAGE_SIZE_MAX);
    dbk_buf_init(&statement->made, MESSAGE_SIZE_MAX);
    dbk_buf_init(&text, DBK_POSTGRES_SQL_SIZE_MAX + 1);
    dbk_buf_init(&fields, MESSAGE_SIZE_MAX);
    int rc = dbk_postgres_check(sql, session->guard, &statement->kind, sent ? &fields : NULL,
                                &offset, err);
    if (rc == DBK_OK && sent)
        rc = check_fields(session, dbk_buf_slice(&fields), err);
    if (rc == DBK_OK) {
        dbk_postgres_parameters(sql, &text);
        dbk_buf_append_char(&text, 0);
        rc = text.rc < 0 ? dbk_error_set(err, text.rc, "out of memory preparing a statement")
                         : dbk_pq_leave_pipeline(session, err);
    }
    if (rc == DBK_OK && statement->kind == DBK_POSTGRES_OTHER) {
        statement->text = dbk_copy_text(dbk_slice_of(text.data));
        rc = statement->text == NULL ? dbk_error_set(err, DBK_ENOMEM, "out of memory") : DBK_OK;
    } else if (rc == DBK_OK) {
        rc = prepare(statement, text.data, &offset, err);
    }
    dbk_buf_release(&text);
    dbk_buf_release(&fields);
    if (offset_out != NULL)
        *offset_out = offset;
    if (rc < 0) {
        dbk_pq_statement_free(&statement->base);
        return rc;
    }
    *statement_out = &statement->base;
    return DBK_OK;
}

void dbk_pq_statement_bind(struct dbk_statement *base, int index, const struct dbk_value *value)
{
    struct statement *statement = of(base);
    if (index >= 1 && index <= statement->parameter_count)
        statement->values[index - 1] = *value;
}

static void put_hex(struct dbk_buf *out, struct dbk_slice bytes)
{
    static const char digits[] = "0123456789abcdef";
    dbk_buf_append_text(out, "\\x");
    for (size_t i = 0; i < bytes.size; i++) {
        dbk_buf_append_char(out, digits[(uint8_t)bytes.data[i] >> 4]);
        dbk_buf_append_char(out, digits[(uint8_t)bytes.data[i] & 15]);
    }
}

static int put_value(struct statement *statement, const struct dbk_value *value,
                     struct dbk_error *err)
{
    struct dbk_buf *out = &statement->bytes;
    char text[DBK_DECIMAL_TEXT_SIZE];
    switch (value->kind) {
    case DBK_VALUE_NULL:
        break;
    case DBK_VALUE_INTEGER:
        dbk_buf_append_format(out, "%lld", (long long)value->integer);
        break;
    case DBK_VALUE_REAL:
        dbk_buf_append_format(out, "%.17g", value->real);
        break;
    case DBK_VALUE_DECIMAL:
        dbk_buf_append(out, dbk_slice(text, dbk_decimal_format(value->decimal, text)));
        break;
    case DBK_VALUE_TEXT:
        if (value->bytes.size > 0 && memchr(value->bytes.data, 0, value->bytes.size) != NULL)
            return dbk_error_set(err, DBK_EREFUSED,
                                 "a text with a NUL character cannot be kept by PostgreSQL");
        dbk_buf_append(out, value->bytes);
        break;
    case DBK_VALUE_BLOB:
        put_hex(out, value->bytes);
        break;
    }
    dbk_buf_append_char(out, 0);
    return DBK_OK;
}

/* All parameters as texts behind one another, and pointers to them. */
static int put_values(struct statement *statement, struct dbk_error *err)
{
    dbk_buf_reset(&statement->bytes);
    for (int i = 0; i < statement->parameter_count; i++) {
        statement->offsets[i] =
            statement->values[i].kind == DBK_VALUE_NULL ? SIZE_MAX : statement->bytes.size;
        int rc = put_value(statement, &statement->values[i], err);
        if (rc < 0)
            return rc;
    }
    if (statement->bytes.rc < 0)
        return dbk_error_set(err, statement->bytes.rc, "the parameters: %s",
                             dbk_code_text(statement->bytes.rc));
    for (int i = 0; i < statement->parameter_count; i++)
        statement->texts[i] = statement->offsets[i] == SIZE_MAX
                                  ? NULL
                                  : statement->bytes.data + statement->offsets[i];
    return DBK_OK;
}

static int send_ahead(struct statement *statement, struct dbk_error *err)
{
    struct dbk_pq_session *session = statement->session;
    if (PQpipelineStatus(session->server) == PQ_PIPELINE_OFF &&
        PQenterPipelineMode(session->server) != 1)
        return dbk_pq_lost(session, err);
    if (PQsendQueryPrepared(session->server, statement->name, statement->parameter_count,
                            statement->texts, NULL, NULL, 0) != 1)
        return dbk_pq_lost(session, &session->failure), dbk_pq_kept_failure(session, err);
    session->sent++;
    return session->sent >= DBK_PQ_SENT_MAX ? dbk_pq_drain(session, err) : DBK_OK;
}

static int run_statement(struct statement *statement, struct dbk_error *err)
{
    struct dbk_pq_session *session = statement->session;
    int rc = dbk_pq_leave_pipeline(session, err);
    if (rc < 0)
        return rc;
    statement->result =
        statement->text != NULL
            ? dbk_pq_execute(session, statement->text)
            : dbk_pq_finish(session, PQsendQueryPrepared(session->server, statement->name,
                                                         statement->parameter_count,
                                                         statement->texts, NULL, NULL, 0));
    if (!dbk_pq_is_good(statement->result)) {
        rc = dbk_pq_failed(session, statement->result, err);
        if (session->in_transaction)
            dbk_ignore(dbk_pq_failed(session, statement->result, &session->failure));
    }
    return rc;
}

int dbk_pq_statement_step(struct dbk_statement *base, struct dbk_error *err)
{
    struct statement *statement = of(base);
    struct dbk_pq_session *session = statement->session;
    int rc = DBK_OK;
    if (statement->result == NULL) {
        rc = dbk_pq_kept_failure(session, err);
        if (rc == DBK_OK)
            rc = put_values(statement, err);
        if (rc < 0)
            return rc;
        if (statement->text == NULL && !statement->returns_rows && session->in_transaction)
            return send_ahead(statement, err);
        rc = run_statement(statement, err);
        statement->row = -1;
    }
    if (rc < 0)
        return rc;
    statement->row++;
    return statement->row < PQntuples(statement->result) ? 1 : 0;
}

void dbk_pq_statement_reset(struct dbk_statement *base)
{
    struct statement *statement = of(base);
    PQclear(statement->result);
    statement->result = NULL;
}

bool dbk_pq_statement_is_read_only(const struct dbk_statement *statement)
{
    return of(statement)->kind == DBK_POSTGRES_SELECT;
}

int dbk_pq_statement_column_count(const struct dbk_statement *statement)
{
    return PQnfields(of(statement)->description);
}

const char *dbk_pq_statement_column_name(const struct dbk_statement *statement, int column)
{
    const char *name = PQfname(of(statement)->description, column);
    return name == NULL ? "" : name;
}

static int digit_of(char c)
{
    return c >= 'a' ? c - 'a' + 10 : c - '0';
}

static struct dbk_value blob_of(struct statement *statement, struct dbk_slice text)
{
    dbk_buf_reset(&statement->made);
    for (size_t i = 2; i + 1 < text.size; i += 2)
        dbk_buf_append_char(&statement->made,
                            (char)(digit_of(text.data[i]) << 4 | digit_of(text.data[i + 1])));
    return (struct dbk_value){.kind = DBK_VALUE_BLOB, .bytes = dbk_buf_slice(&statement->made)};
}

/* "2011-03-01 08:26:00+00" as RFC 3339 has it, which is how every other time is written. */
static struct dbk_value time_of(struct statement *statement, struct dbk_slice text)
{
    bool utc = text.size > 3 && memcmp(text.data + text.size - 3, "+00", 3) == 0;
    dbk_buf_reset(&statement->made);
    dbk_buf_append(&statement->made, dbk_slice(text.data, utc ? text.size - 3 : text.size));
    if (utc)
        dbk_buf_append_char(&statement->made, 'Z');
    char *space = statement->made.rc < 0 || statement->made.data == NULL
                      ? NULL
                      : memchr(statement->made.data, ' ', statement->made.size);
    if (space != NULL && (size_t)(space - statement->made.data) == strlen("2011-03-01"))
        *space = 'T';
    /* The server leaves out the zeros at the end of a second's fraction. */
    char again[DBK_TIME_TEXT_SIZE];
    int64_t time_us = 0;
    if (utc && dbk_time_parse(dbk_buf_slice(&statement->made), &time_us)) {
        size_t size = dbk_time_format(time_us, again);
        dbk_buf_reset(&statement->made);
        dbk_buf_append(&statement->made, dbk_slice(again, size));
    }
    return (struct dbk_value){.kind = DBK_VALUE_TEXT, .bytes = dbk_buf_slice(&statement->made)};
}

struct dbk_value dbk_pq_statement_column(struct dbk_statement *base, int index)
{
    struct statement *statement = of(base);
    const PGresult *result = statement->result;
    struct dbk_value value = {.kind = DBK_VALUE_NULL};
    if (PQgetisnull(result, statement->row, index))
        return value;
    const char *data = PQgetvalue(result, statement->row, index);
    struct dbk_slice text = dbk_slice(data, (size_t)PQgetlength(result, statement->row, index));
    switch (PQftype(result, index)) {
    case TYPE_BOOL:
        return (struct dbk_value){.kind = DBK_VALUE_INTEGER, .integer = text.data[0] == 't'};
    case TYPE_INT2:
    case TYPE_INT4:
    case TYPE_INT8:
    case TYPE_OID:
        if (dbk_slice_to_i64(text, &value.integer))
            value.kind = DBK_VALUE_INTEGER;
        return value;
    case TYPE_NUMERIC:
        if (dbk_decimal_parse(text, &value.decimal))
            return (struct dbk_value){.kind = DBK_VALUE_DECIMAL, .decimal = value.decimal};
        break;
    case TYPE_FLOAT4:
    case TYPE_FLOAT8:
        return (struct dbk_value){.kind = DBK_VALUE_REAL, .real = strtod(data, NULL)};
    case TYPE_TIMESTAMP:
    case TYPE_TIMESTAMPTZ:
        return time_of(statement, text);
    case TYPE_BYTEA:
        return blob_of(statement, text);
    default:
        break;
    }
    return (struct dbk_value){.kind = DBK_VALUE_TEXT, .bytes = text};
}
