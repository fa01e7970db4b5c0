/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Neo4j behind target/target.h, over HTTP.
 *
 * Handlers' runs of a transaction become rows of one statement, in which each handler is a subquery
 * that runs for the rows that are its own, one row after the other:
 *
 *     UNWIND range(0, size($rows) - 1) AS _daybook_i
 *     WITH _daybook_i, $rows[_daybook_i] AS _daybook_r ORDER BY _daybook_i
 *     CALL (_daybook_r) {
 *       CALL (_daybook_r) { UNWIND _daybook_r.h1 AS _daybook_e CALL (_daybook_e) { … } }
 *       CALL (_daybook_r) { UNWIND _daybook_r.h2 AS _daybook_e CALL (_daybook_e) { … } }
 *     }
 *
 * A subquery sees what those of earlier rows changed, so the order of events is kept, whatever
 * handlers follow each other.
 *
 * Source: Neo4j's Cypher manual 5, "CALL subqueries", "Execution order".
 */
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "target/neo4j/cypher.h"
#include "target/neo4j/session.h"
#include "target/neo4j/value.h"
#include "target/secret.h"

#define COLUMNS_MAX 1000

extern const struct dbk_driver dbk_driver;

enum when { NOW, AHEAD, FIRST, OTHER };

struct dbk_neo4j_statement {
    struct dbk_statement base; /* first: a statement is cast to it */
    struct dbk_neo4j_session *session;
    struct dbk_neo4j_statement *next;
    uint64_t number;
    enum when when;
    bool used; /* in the transaction's rows */
    char *text;
    struct dbk_slice cypher;
    struct dbk_value values[DBK_CYPHER_PARAMETERS_MAX];
    int value_count;
    struct dbk_json *json; /* of its rows */
    struct dbk_arena arena;
    const char **names;
    int column_count;
    const struct dbk_json_node *row; /* the next one */
    const struct dbk_json_node *current;
    uint32_t left;
    bool ran;
};

static struct dbk_neo4j_session *session_of(struct dbk_connection *connection)
{
    return (struct dbk_neo4j_session *)connection;
}

static struct dbk_neo4j_statement *of(const struct dbk_statement *statement)
{
    union {
        const struct dbk_statement *given;
        struct dbk_neo4j_statement *own;
    } cast = {.given = statement};
    return cast.own;
}

/* ---- Sessions ---- */

static void clear(struct dbk_neo4j_session *session)
{
    dbk_buf_reset(&session->first);
    dbk_buf_reset(&session->rows);
    dbk_buf_reset(&session->others);
    for (struct dbk_neo4j_statement *at = session->statements; at != NULL; at = at->next)
        at->used = false;
}

static void close_session(struct dbk_connection *connection)
{
    struct dbk_neo4j_session *session = session_of(connection);
    dbk_neo4j_http_free(session->http);
    dbk_json_free(session->json);
    dbk_buf_release(&session->first);
    dbk_buf_release(&session->rows);
    dbk_buf_release(&session->others);
    dbk_buf_release(&session->request);
    dbk_buf_release(&session->answer);
    dbk_free(session);
}

static int open_session(const char *address, unsigned flags, struct dbk_connection **connection_out,
                        struct dbk_error *err)
{
    struct dbk_buf secret;
    struct dbk_neo4j_session *session = dbk_alloc_zero(1, sizeof(*session));
    if (session == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory connecting");
    session->base.driver = &dbk_driver;
    dbk_buf_init(&session->first, DBK_NEO4J_REQUEST_SIZE_MAX);
    dbk_buf_init(&session->rows, DBK_NEO4J_REQUEST_SIZE_MAX);
    dbk_buf_init(&session->others, DBK_NEO4J_REQUEST_SIZE_MAX);
    dbk_buf_init(&session->request, DBK_NEO4J_REQUEST_SIZE_MAX);
    dbk_buf_init(&session->answer, DBK_NEO4J_ANSWER_SIZE_MAX);
    session->json = dbk_json_create(DBK_NEO4J_ANSWER_SIZE_MAX);
    dbk_buf_init(&secret, DBK_SECRET_TEXT_SIZE_MAX + 1);
    int rc = session->json == NULL
                 ? dbk_error_set(err, DBK_ENOMEM, "out of memory connecting")
                 : dbk_secret_read(address, "the connection string", &secret, err);
    if (rc == DBK_OK)
        rc = dbk_neo4j_http_open(secret.data, (flags & DBK_CONNECT_READ) != 0, &session->http, err);
    if (rc == DBK_OK)
        rc = dbk_neo4j_greet(session, err);
    if (secret.data != NULL)
        explicit_bzero(secret.data, secret.size);
    dbk_buf_release(&secret);
    if (rc < 0) {
        close_session(&session->base);
        return rc;
    }
    *connection_out = &session->base;
    return DBK_OK;
}

static int begin(struct dbk_connection *connection, enum dbk_begin how, struct dbk_error *err)
{
    struct dbk_neo4j_session *session = session_of(connection);
    (void)err;
    clear(session);
    session->in_transaction = how == DBK_BEGIN_WRITE;
    return DBK_OK;
}

/* ---- A transaction's one request ---- */

/* Parameters are read from the row where a handler's statement stands among others. */
static void write_subquery(struct dbk_buf *out, const struct dbk_neo4j_statement *statement)
{
    dbk_buf_append_format(out,
                          "CALL (_daybook_r) { UNWIND _daybook_r.h%ju AS _daybook_e CALL "
                          "(_daybook_e) { ",
                          (uintmax_t)statement->number);
    for (size_t at = 0; at < statement->cypher.size;) {
        struct dbk_cypher_token token = dbk_cypher_next(statement->cypher, at);
        at += token.text.size;
        if (token.kind == DBK_CYPHER_PARAMETER)
            dbk_buf_append_text(out, "_daybook_e");
        else
            dbk_buf_append(out, token.text);
    }
    dbk_buf_append_text(out, "\n} } "); /* its last line may be a comment */
}

static void write_handlers(struct dbk_buf *out, const struct dbk_neo4j_statement *statements)
{
    dbk_buf_append_text(out, "UNWIND range(0, size($rows) - 1) AS _daybook_i WITH _daybook_i, "
                             "$rows[_daybook_i] AS _daybook_r ORDER BY _daybook_i CALL "
                             "(_daybook_r) { ");
    for (; statements != NULL; statements = statements->next) {
        if (statements->used)
            write_subquery(out, statements);
    }
    dbk_buf_append_text(out, "}");
}

static void add_rows(struct dbk_neo4j_session *session, struct dbk_buf *all)
{
    struct dbk_buf text;
    struct dbk_buf parameters;
    if (session->rows.size == 0)
        return;
    dbk_buf_init(&text, DBK_NEO4J_REQUEST_SIZE_MAX);
    dbk_buf_init(&parameters, DBK_NEO4J_REQUEST_SIZE_MAX);
    write_handlers(&text, session->statements);
    dbk_buf_append_text(&parameters, "{\"rows\":[");
    dbk_buf_append(&parameters, dbk_slice(session->rows.data, session->rows.size - 1));
    dbk_buf_append_text(&parameters, "]}");
    dbk_neo4j_add(all, dbk_buf_slice(&text), dbk_buf_slice(&parameters));
    if (all->rc == DBK_OK && (text.rc < 0 || parameters.rc < 0 || session->rows.rc < 0))
        all->rc = DBK_ELIMIT;
    dbk_buf_release(&text);
    dbk_buf_release(&parameters);
}

/* The first statements are the guard's: a division there is the position's. */
static bool is_fenced(const struct dbk_neo4j_session *session, const struct dbk_neo4j_reply *reply)
{
    return session->first.size > 0 &&
           dbk_slice_equal_text(reply->code, "Neo.ClientError.Statement.ArithmeticError") &&
           (reply->results == NULL || reply->results->count <= 1);
}

static int commit(struct dbk_neo4j_session *session, struct dbk_error *err)
{
    struct dbk_buf all;
    struct dbk_neo4j_reply reply = {0};
    dbk_buf_init(&all, DBK_NEO4J_REQUEST_SIZE_MAX);
    dbk_buf_append(&all, dbk_buf_slice(&session->first));
    add_rows(session, &all);
    dbk_buf_append(&all, dbk_buf_slice(&session->others));
    int rc = all.size == 0 && all.rc == DBK_OK
                 ? DBK_OK
                 : dbk_neo4j_exchange(session, &all, session->json, &reply, err);
    if (rc < 0 && is_fenced(session, &reply))
        rc = dbk_error_set(err, DBK_ECONNECT,
                           "a model's position in the database is another than was expected");
    dbk_buf_release(&all);
    return rc;
}

/* Tries what handlers have done so far, and takes it back: the last statement always fails. */
static int try_rows(struct dbk_neo4j_session *session, struct dbk_error *err)
{
    struct dbk_buf all;
    struct dbk_neo4j_reply reply = {0};
    struct dbk_error failure = {0};
    dbk_buf_init(&all, DBK_NEO4J_REQUEST_SIZE_MAX);
    add_rows(session, &all);
    dbk_neo4j_add(&all, DBK_SLICE_LITERAL("RETURN 1 / 0"), DBK_SLICE_LITERAL("{}"));
    int rc = dbk_neo4j_exchange(session, &all, session->json, &reply, &failure);
    size_t done = reply.results == NULL ? 0 : reply.results->count;
    bool passed = rc < 0 && done >= 1 &&
                  dbk_slice_equal_text(reply.code, "Neo.ClientError.Statement.ArithmeticError");
    dbk_buf_release(&all);
    if (passed)
        return DBK_OK;
    if (err != NULL)
        *err = failure;
    return rc;
}

static int settle(struct dbk_connection *connection, bool constraints, struct dbk_error *err)
{
    struct dbk_neo4j_session *session = session_of(connection);
    /* At a batch's end COMMIT says it all. */
    if (constraints || !session->in_transaction || session->rows.size == 0)
        return DBK_OK;
    return try_rows(session, err);
}

static int run_text(struct dbk_neo4j_session *session, struct dbk_slice text, struct dbk_error *err)
{
    struct dbk_buf statement;
    struct dbk_neo4j_reply reply = {0};
    dbk_buf_init(&statement, DBK_NEO4J_REQUEST_SIZE_MAX);
    dbk_neo4j_add(&statement, text, DBK_SLICE_LITERAL("{}"));
    int rc = dbk_neo4j_exchange(session, &statement, session->json, &reply, err);
    dbk_buf_release(&statement);
    return rc;
}

static int run(struct dbk_connection *connection, const char *text, struct dbk_error *err)
{
    struct dbk_neo4j_session *session = session_of(connection);
    bool commits = strcmp(text, "COMMIT") == 0;
    int rc = DBK_OK;
    if (!commits && strcmp(text, "ROLLBACK") != 0)
        return run_text(session, dbk_slice_of(text), err);
    if (commits)
        rc = commit(session, err);
    session->in_transaction = false;
    clear(session);
    return rc;
}

static void set_guard(struct dbk_connection *connection, enum dbk_guard guard)
{
    session_of(connection)->guard = guard;
}

static int checkpoint(struct dbk_connection *connection, struct dbk_error *err)
{
    (void)connection;
    (void)err;
    return DBK_OK;
}

static void limit_us(struct dbk_connection *connection, int64_t limit)
{
    session_of(connection)->limit_us = limit;
}

static void interrupt(struct dbk_connection *connection)
{
    dbk_neo4j_http_interrupt(session_of(connection)->http);
}

static bool deferred_violation(struct dbk_connection *connection)
{
    (void)connection;
    return false;
}

static bool in_transaction(struct dbk_connection *connection)
{
    return session_of(connection)->in_transaction;
}

/* ---- Statements ---- */

static void free_statement(struct dbk_statement *base)
{
    struct dbk_neo4j_statement *statement = of(base);
    struct dbk_neo4j_statement **at = &statement->session->statements;
    while (*at != NULL && *at != statement)
        at = &(*at)->next;
    if (*at == statement)
        *at = statement->next;
    dbk_json_free(statement->json);
    dbk_arena_release(&statement->arena);
    dbk_free(statement->text);
    dbk_free(statement);
}

/* {model}Order: of the generation that serves now. */
static int write_model_name(struct dbk_neo4j_session *session, struct dbk_slice token,
                            struct dbk_buf *out, struct dbk_error *err)
{
    const char *end = memchr(token.data, '}', token.size);
    struct dbk_slice model = dbk_slice(token.data + 1, (size_t)(end - token.data) - 1);
    struct dbk_slice name = dbk_slice(end + 1, token.size - model.size - 2);
    struct dbk_neo4j_reply reply = {0};
    struct dbk_buf ask;
    dbk_buf_init(&ask, DBK_CYPHER_SIZE_MAX);
    dbk_buf_append_text(&ask, "{\"statement\":\"MATCH (m:_DaybookModel {model: $m, serving: true}) "
                              "RETURN m.generation\",\"parameters\":{\"m\":");
    dbk_json_write_string(&ask, model);
    dbk_buf_append_text(&ask, "}},");
    int rc = dbk_neo4j_exchange(session, &ask, session->json, &reply, err);
    dbk_buf_release(&ask);
    if (rc < 0)
        return rc;
    const struct dbk_json_node *row =
        dbk_json_first(dbk_json_member(dbk_neo4j_reply_result(&reply, 0), "data"));
    const struct dbk_json_node *number =
        row == NULL ? NULL : dbk_json_first(dbk_json_member(row, "row"));
    if (number == NULL || number->kind != DBK_JSON_INTEGER)
        return dbk_error_set(err, DBK_EINVAL, "there is no model %.*s in this database",
                             DBK_SLICE_ARGS(model));
    dbk_buf_append_format(out, "`%.*s__g%lld_%.*s`", DBK_SLICE_ARGS(model),
                          (long long)number->integer, DBK_SLICE_ARGS(name));
    return DBK_OK;
}

/* A query's text with the names that its models have now. */
static int write_query(struct dbk_neo4j_session *session, struct dbk_slice cypher,
                       struct dbk_buf *out, int *offset_out, struct dbk_error *err)
{
    int offset = -1;
    int rc = dbk_cypher_check(cypher, DBK_GUARD_QUERY, &offset, err);
    if (rc < 0 && offset_out != NULL)
        *offset_out = offset;
    for (size_t at = 0; rc == DBK_OK && at < cypher.size;) {
        struct dbk_cypher_token token = dbk_cypher_next(cypher, at);
        at += token.text.size;
        if (token.kind == DBK_CYPHER_GENERATION)
            rc = write_model_name(session, token.text, out, err);
        else
            dbk_buf_append(out, token.text);
    }
    return rc;
}

static int read_columns(struct dbk_neo4j_statement *statement, const struct dbk_json_node *result,
                        struct dbk_error *err)
{
    const struct dbk_json_node *columns = dbk_json_member(result, "columns");
    if (columns->count > COLUMNS_MAX)
        return dbk_error_set(err, DBK_ELIMIT, "more than %d columns", COLUMNS_MAX);
    statement->names = dbk_arena_alloc_zero(&statement->arena, columns->count + (size_t)1,
                                            sizeof(*statement->names));
    const struct dbk_json_node *item = dbk_json_first(columns);
    statement->column_count = 0;
    for (uint32_t i = 0; statement->names != NULL && i < columns->count;
         i++, item = dbk_json_sibling(item)) {
        statement->names[i] = dbk_arena_copy(&statement->arena, item->text).data;
        if (statement->names[i] == NULL)
            return dbk_error_set(err, DBK_ENOMEM, "out of memory reading columns");
        statement->column_count++;
    }
    return statement->names == NULL ? dbk_error_set(err, DBK_ENOMEM, "out of memory") : DBK_OK;
}

/* A query's columns are asked for, and with them whether it is one. */
static int explain(struct dbk_neo4j_statement *statement, struct dbk_error *err)
{
    struct dbk_neo4j_reply reply = {0};
    struct dbk_buf request;
    struct dbk_buf text;
    dbk_buf_init(&request, DBK_NEO4J_REQUEST_SIZE_MAX);
    dbk_buf_init(&text, DBK_NEO4J_REQUEST_SIZE_MAX);
    dbk_buf_append_text(&text, "EXPLAIN ");
    dbk_buf_append(&text, statement->cypher);
    dbk_neo4j_add(&request, dbk_buf_slice(&text), DBK_SLICE_LITERAL("{\"_\":[]}"));
    struct dbk_neo4j_session *session = statement->session;
    int rc = dbk_neo4j_exchange(session, &request, session->json, &reply, err);
    const struct dbk_json_node *result = rc == DBK_OK ? dbk_neo4j_reply_result(&reply, 0) : NULL;
    if (result != NULL)
        rc = read_columns(statement, result, err);
    dbk_buf_release(&text);
    dbk_buf_release(&request);
    return rc;
}

static enum when when_of(enum dbk_guard guard, const char *text)
{
    for (int i = DBK_CATALOG_INSERT; i < (int)DBK_CATALOG_COUNT; i++) {
        if (text == dbk_neo4j_catalog[i])
            return i == (int)DBK_CATALOG_SET_POSITION ? FIRST : OTHER;
    }
    return guard == DBK_GUARD_HANDLER ? AHEAD : NOW;
}

static int open_statement(struct dbk_connection *connection, struct dbk_slice cypher,
                          struct dbk_statement **statement_out, int *offset_out,
                          struct dbk_error *err)
{
    struct dbk_neo4j_session *session = session_of(connection);
    struct dbk_neo4j_statement *statement = dbk_alloc_zero(1, sizeof(*statement));
    struct dbk_buf text;
    if (statement == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory preparing a statement");
    statement->base.driver = &dbk_driver;
    statement->session = session;
    statement->number = ++session->statement_count;
    statement->next = session->statements;
    session->statements = statement;
    dbk_arena_init(&statement->arena, DBK_NEO4J_ANSWER_SIZE_MAX);
    dbk_buf_init(&text, DBK_CYPHER_SIZE_MAX * 2);
    statement->when = when_of(session->guard, cypher.data);
    int rc = DBK_OK;
    if (session->guard == DBK_GUARD_QUERY)
        rc = write_query(session, cypher, &text, offset_out, err);
    else
        dbk_buf_append(&text, cypher);
    statement->text =
        rc == DBK_OK && text.rc == DBK_OK ? dbk_copy_text(dbk_buf_slice(&text)) : NULL;
    if (rc == DBK_OK && statement->text == NULL)
        rc = dbk_error_set(err, text.rc < 0 ? text.rc : DBK_ENOMEM,
                           "a statement is too long, or there is no memory for it");
    dbk_buf_release(&text);
    if (rc == DBK_OK)
        statement->cypher = dbk_slice_of(statement->text);
    if (rc == DBK_OK && session->guard == DBK_GUARD_QUERY)
        rc = explain(statement, err);
    if (rc < 0) {
        free_statement(&statement->base);
        return rc;
    }
    *statement_out = &statement->base;
    return DBK_OK;
}

static void bind_value(struct dbk_statement *base, int index, const struct dbk_value *value)
{
    struct dbk_neo4j_statement *statement = of(base);
    dbk_assert(index >= 1 && index <= DBK_CYPHER_PARAMETERS_MAX);
    statement->values[index - 1] = *value;
    if (index > statement->value_count)
        statement->value_count = index;
}

static int write_values(struct dbk_neo4j_statement *statement, struct dbk_buf *out,
                        struct dbk_error *err)
{
    int rc = DBK_OK;
    dbk_buf_append_char(out, '[');
    for (int i = 0; rc == DBK_OK && i < statement->value_count; i++) {
        if (i > 0)
            dbk_buf_append_char(out, ',');
        rc = dbk_neo4j_put_value(out, &statement->values[i], err);
    }
    dbk_buf_append_char(out, ']');
    return rc;
}

/* {"h3":[[1,"a"]]}: the one value of a list is what the subquery of statement 3 runs with. */
static int add_row(struct dbk_neo4j_statement *statement, struct dbk_error *err)
{
    struct dbk_buf *rows = &statement->session->rows;
    size_t before = rows->size;
    dbk_buf_append_format(rows, "{\"h%ju\":[", (uintmax_t)statement->number);
    int rc = write_values(statement, rows, err);
    dbk_buf_append_text(rows, "]},");
    if (rc < 0)
        rows->size = before;
    else
        statement->used = true;
    return rc;
}

static int add_other(struct dbk_neo4j_statement *statement, struct dbk_buf *out,
                     struct dbk_error *err)
{
    struct dbk_buf parameters;
    dbk_buf_init(&parameters, DBK_NEO4J_REQUEST_SIZE_MAX);
    dbk_buf_append_text(&parameters, "{\"_\":");
    int rc = write_values(statement, &parameters, err);
    dbk_buf_append_char(&parameters, '}');
    if (rc == DBK_OK && statement->when == FIRST)
        dbk_neo4j_add(out, dbk_slice_of(dbk_neo4j_lock), dbk_buf_slice(&parameters));
    if (rc == DBK_OK)
        dbk_neo4j_add(out, statement->cypher, dbk_buf_slice(&parameters));
    dbk_buf_release(&parameters);
    return rc;
}

static int run_now(struct dbk_neo4j_statement *statement, struct dbk_error *err)
{
    struct dbk_neo4j_reply reply = {0};
    struct dbk_buf request;
    if (statement->json == NULL)
        statement->json = dbk_json_create(DBK_NEO4J_ANSWER_SIZE_MAX);
    if (statement->json == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory running a statement");
    dbk_buf_init(&request, DBK_NEO4J_REQUEST_SIZE_MAX);
    int rc = add_other(statement, &request, err);
    if (rc == DBK_OK)
        rc = dbk_neo4j_exchange(statement->session, &request, statement->json, &reply, err);
    dbk_buf_release(&request);
    const struct dbk_json_node *result = rc == DBK_OK ? dbk_neo4j_reply_result(&reply, 0) : NULL;
    if (result == NULL)
        return rc;
    if (statement->names == NULL)
        rc = read_columns(statement, result, err);
    const struct dbk_json_node *data = dbk_json_member(result, "data");
    statement->left = data->count;
    statement->row = dbk_json_first(data);
    return rc;
}

static int step(struct dbk_statement *base, struct dbk_error *err)
{
    struct dbk_neo4j_statement *statement = of(base);
    struct dbk_neo4j_session *session = statement->session;
    if (session->in_transaction && statement->when == AHEAD)
        return add_row(statement, err);
    if (session->in_transaction && statement->when != NOW)
        return add_other(statement, statement->when == FIRST ? &session->first : &session->others,
                         err);
    if (!statement->ran) {
        int rc = run_now(statement, err);
        if (rc < 0)
            return rc;
        statement->ran = true;
    }
    if (statement->left == 0)
        return 0;
    statement->current = dbk_json_member(statement->row, "row");
    statement->row = --statement->left > 0 ? dbk_json_sibling(statement->row) : NULL;
    return 1;
}

static void reset(struct dbk_statement *base)
{
    struct dbk_neo4j_statement *statement = of(base);
    statement->ran = false;
    statement->left = 0;
    statement->current = NULL;
}

static bool is_read_only(const struct dbk_statement *statement)
{
    return of(statement)->when == NOW;
}

static int column_count(const struct dbk_statement *statement)
{
    return of(statement)->column_count;
}

static const char *column_name(const struct dbk_statement *statement, int column)
{
    return of(statement)->names[column];
}

static struct dbk_value column(struct dbk_statement *base, int index)
{
    const struct dbk_json_node *node = dbk_json_first(of(base)->current);
    for (; index > 0; index--)
        node = dbk_json_sibling(node);
    switch (node->kind) {
    case DBK_JSON_NULL:
        break;
    case DBK_JSON_FALSE:
    case DBK_JSON_TRUE:
        return (struct dbk_value){.kind = DBK_VALUE_INTEGER,
                                  .integer = node->kind == DBK_JSON_TRUE};
    case DBK_JSON_INTEGER:
        return (struct dbk_value){.kind = DBK_VALUE_INTEGER, .integer = node->integer};
    case DBK_JSON_DECIMAL:
        return (struct dbk_value){.kind = DBK_VALUE_DECIMAL, .decimal = node->decimal};
    case DBK_JSON_STRING:
        return (struct dbk_value){.kind = DBK_VALUE_TEXT, .bytes = node->text};
    case DBK_JSON_ARRAY:
    case DBK_JSON_OBJECT:
        return (struct dbk_value){.kind = DBK_VALUE_TEXT, .bytes = node->raw};
    }
    return (struct dbk_value){.kind = DBK_VALUE_NULL};
}

__attribute__((visibility("default"))) const struct dbk_driver dbk_driver = {
    .version = DBK_DRIVER_VERSION,
    .dialect = DBK_DIALECT_CYPHER,
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
    .bind = bind_value,
    .step = step,
    .reset = reset,
    .is_read_only = is_read_only,
    .column_count = column_count,
    .column_name = column_name,
    .column = column,
    .check = dbk_cypher_check,
    .catalog = dbk_neo4j_catalog,
    .drop = dbk_neo4j_drop,
};
