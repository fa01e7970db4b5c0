/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PostgreSQL behind target/target.h, by libpq.
 *
 * Statements that return no rows are sent ahead in pipeline mode:
 *
 *     step  -> queued, sent            up to SENT_MAX, then all their results are read
 *     settle -> everything sent, all results read; the first failure is the transaction's
 *
 * The first failure aborts the transaction at the server, so that nothing behind it is done; it is
 * kept and reported by every call until ROLLBACK.
 *
 * Source: PostgreSQL's manual, libpq, "Pipeline Mode" and appendix A for SQLSTATE.
 */
#include <errno.h>
#include <libpq-fe.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/assert.h"
#include "base/time.h"
#include "json/decimal.h"
#include "os/os.h"
#include "target/driver.h"
#include "target/postgres/parse.h"
#include "target/secret.h"

/* A message of parameters; PostgreSQL itself takes 1 GB. */
#define MESSAGE_SIZE_MAX ((size_t)1 << 30)
/* Statements sent before their results are read: what both sides buffer meanwhile fits. */
#define SENT_MAX 256
/* A server that says nothing for so long past a statement's limit is taken for gone. */
#define SILENCE_US (INT64_C(30) * 1000000)

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

extern const struct dbk_driver dbk_driver;

struct session {
    struct dbk_connection base; /* first: a connection is cast to it */
    PGconn *server;
    PGcancel *cancel;
    enum dbk_guard guard;
    int64_t limit_us; /* of a statement; 0: none */
    bool in_transaction;
    unsigned sent;            /* statements whose results are not read */
    struct dbk_error failure; /* of the transaction; code DBK_OK: none */
    uint64_t statement_count; /* for names */
};

struct statement {
    struct dbk_statement base; /* first: a statement is cast to it */
    struct session *session;
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

static struct session *session_of(struct dbk_connection *connection)
{
    return (struct session *)connection;
}

static struct statement *of(const struct dbk_statement *statement)
{
    union {
        const struct dbk_statement *given;
        struct statement *own;
    } cast = {.given = statement};
    return cast.own;
}

static void trim(char *text)
{
    for (size_t size = strlen(text); size > 0 && (text[size - 1] == '\n' || text[size - 1] == ' ');)
        text[--size] = 0;
    for (char *at = text; *at != 0; at++) {
        if (*at == '\n' || *at == '\t')
            *at = ' ';
    }
}

static int code_of(const char *state)
{
    static const struct {
        const char *prefix;
        int code;
    } codes[] = {
        {"08", DBK_ECONNECT},    {"23", DBK_EREFUSED},    {"25006", DBK_EDENIED},
        {"28", DBK_ECONNECT},    {"3D", DBK_ECONNECT},    {"40", DBK_EBUSY},
        {"42501", DBK_EDENIED},  {"42", DBK_EINVAL},      {"53100", DBK_EFULL},
        {"53200", DBK_ENOMEM},   {"53300", DBK_ECONNECT}, {"55P03", DBK_EBUSY},
        {"57014", DBK_ETIMEOUT}, {"57P", DBK_ECONNECT},   {"58", DBK_EIO},
    };
    for (size_t i = 0; state != NULL && i < sizeof(codes) / sizeof(codes[0]); i++) {
        if (strncmp(state, codes[i].prefix, strlen(codes[i].prefix)) == 0)
            return codes[i].code;
    }
    return DBK_ESCRIPT;
}

/* The server is gone, or never was there. */
static int lost(const struct session *session, struct dbk_error *err)
{
    char message[400];
    (void)snprintf(message, sizeof(message), "%s", PQerrorMessage(session->server));
    trim(message);
    return dbk_error_set(err, DBK_ECONNECT, "PostgreSQL: %s", message);
}

/* A result that is no success. */
static int failed(const struct session *session, const PGresult *result, struct dbk_error *err)
{
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *primary = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    const char *detail = PQresultErrorField(result, PG_DIAG_MESSAGE_DETAIL);
    if (PQstatus(session->server) == CONNECTION_BAD || primary == NULL)
        return lost(session, err);
    int code = code_of(state);
    return dbk_error_set(err, code, "%s%s%s%s",
                         code == DBK_ETIMEOUT ? "the statement ran too long: " : "", primary,
                         detail == NULL ? "" : ": ", detail == NULL ? "" : detail);
}

static bool is_good(const PGresult *result)
{
    ExecStatusType status = PQresultStatus(result);
    return status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK || status == PGRES_EMPTY_QUERY;
}

/* ---- Waiting ---- */

/* Waits until a result can be read; a server without end is not waited for without end. */
static int await_result(struct session *session)
{
    struct dbk_os *os = dbk_os_real();
    int64_t end_us = os->monotonic_us(os) + session->limit_us + SILENCE_US;
    while (PQisBusy(session->server) == 1) {
        struct pollfd look = {.fd = PQsocket(session->server), .events = POLLIN};
        int64_t left_us = session->limit_us == 0 ? SILENCE_US : end_us - os->monotonic_us(os);
        int ready = left_us <= 0 ? 0 : poll(&look, 1, (int)(left_us / 1000) + 1);
        if (ready < 0 && errno == EINTR)
            continue;
        if (ready == 0 && session->limit_us == 0)
            continue;
        if (ready == 0)
            (void)shutdown(look.fd, SHUT_RDWR); /* what comes later is nobody's */
        if (PQconsumeInput(session->server) != 1)
            return DBK_ECONNECT;
    }
    return DBK_OK;
}

/* The first failure, else the last result, of what was sent outside of a pipeline. NULL: it was not
   sent, or the connection ended before all of it was answered, whatever had succeeded by then. */
static PGresult *finish(struct session *session, int sent)
{
    PGresult *last = NULL;
    PGresult *next = NULL;
    bool ended = sent == 1;
    while (ended && (ended = await_result(session) == DBK_OK) &&
           (next = PQgetResult(session->server)) != NULL) {
        bool failed_before = last != NULL && !is_good(last);
        PQclear(failed_before ? next : last);
        last = failed_before ? last : next;
        ended = PQstatus(session->server) != CONNECTION_BAD;
    }
    if (ended || last == NULL || !is_good(last))
        return last;
    PQclear(last);
    return NULL;
}

static PGresult *execute(struct session *session, const char *sql)
{
    return finish(session, PQsendQuery(session->server, sql));
}

/* ---- Pipeline ---- */

static int keep_failure(struct session *session, struct dbk_error *err)
{
    if (session->failure.code == DBK_OK)
        return DBK_OK;
    if (err != NULL)
        *err = session->failure;
    return session->failure.code;
}

/* Takes the results of all that was sent. */
static int read_results(struct session *session)
{
    for (bool ended = false; !ended;) {
        if (await_result(session) < 0)
            return lost(session, &session->failure);
        PGresult *result = PQgetResult(session->server);
        if (result == NULL) {
            /* Behind each statement stands a NULL; two mean that nothing more comes. */
            if (PQstatus(session->server) == CONNECTION_BAD)
                return lost(session, &session->failure);
            continue;
        }
        ExecStatusType status = PQresultStatus(result);
        ended = status == PGRES_PIPELINE_SYNC;
        if (!ended && status != PGRES_PIPELINE_ABORTED && !is_good(result) &&
            session->failure.code == DBK_OK)
            dbk_ignore(failed(session, result, &session->failure));
        PQclear(result);
        if (!ended && PQstatus(session->server) == CONNECTION_BAD)
            return session->failure.code == DBK_OK ? lost(session, &session->failure)
                                                   : session->failure.code;
    }
    session->sent = 0;
    return session->failure.code;
}

/* Everything that was sent is done or has failed. */
static int drain(struct session *session, struct dbk_error *err)
{
    if (session->sent > 0) {
        session->sent = 0;
        if (PQpipelineSync(session->server) != 1)
            dbk_ignore(lost(session, &session->failure));
        else
            dbk_ignore(read_results(session));
    }
    return keep_failure(session, err);
}

static int leave_pipeline(struct session *session, struct dbk_error *err)
{
    int rc = drain(session, err);
    if (PQpipelineStatus(session->server) != PQ_PIPELINE_OFF &&
        PQexitPipelineMode(session->server) != 1 && rc == DBK_OK)
        rc = lost(session, err);
    return rc;
}

/* ---- Sessions ---- */

static void take_no_notice(void *context, const PGresult *result)
{
    (void)context;
    (void)result;
}

static void close_session(struct dbk_connection *connection)
{
    struct session *session = session_of(connection);
    PQfreeCancel(session->cancel);
    PQfinish(session->server);
    dbk_free(session);
}

static int run_one(struct session *session, const char *sql, struct dbk_error *err)
{
    PGresult *result = execute(session, sql);
    int rc = is_good(result) ? DBK_OK : failed(session, result, err);
    PQclear(result);
    return rc;
}

static int connect_server(struct session *session, const char *secret, struct dbk_error *err)
{
    /* What stands in the connection string comes later, and counts. */
    const char *const keys[] = {
        "client_encoding", "fallback_application_name", "connect_timeout", "keepalives",
        "keepalives_idle", "tcp_user_timeout",          "dbname",          NULL};
    const char *const values[] = {"UTF8", "daybook", "5", "1", "10", "15000", secret, NULL};
    session->server = PQconnectdbParams(keys, values, 1);
    if (session->server == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory connecting");
    if (PQstatus(session->server) != CONNECTION_OK)
        return lost(session, err);
    if (PQserverVersion(session->server) < 120000)
        return dbk_error_set(err, DBK_ECONNECT, "PostgreSQL %d is too old: 12 or later is needed",
                             PQserverVersion(session->server) / 10000);
    (void)PQsetNoticeReceiver(session->server, take_no_notice, NULL);
    session->cancel = PQgetCancel(session->server);
    return run_one(session,
                   "SET TimeZone = 'UTC'; SET DateStyle = 'ISO'; SET IntervalStyle = 'iso_8601'; "
                   "SET bytea_output = 'hex'; SET standard_conforming_strings = on; "
                   "SET extra_float_digits = 1; SET client_min_messages = warning",
                   err);
}

static int open_session(const char *address, unsigned flags, struct dbk_connection **connection_out,
                        struct dbk_error *err)
{
    struct dbk_buf secret;
    struct session *session = dbk_alloc_zero(1, sizeof(*session));
    if (session == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory connecting");
    session->base.driver = NULL;
    dbk_buf_init(&secret, DBK_SECRET_TEXT_SIZE_MAX + 1);
    int rc = dbk_secret_read(address, &secret, err);
    if (rc == DBK_OK)
        rc = connect_server(session, secret.data, err);
    if (rc == DBK_OK && (flags & DBK_CONNECT_READ) != 0)
        rc = run_one(session, "SET default_transaction_read_only = on", err);
    if (secret.data != NULL)
        memset(secret.data, 0, secret.size);
    dbk_buf_release(&secret);
    if (rc < 0) {
        close_session(&session->base);
        return rc;
    }
    session->base.driver = &dbk_driver;
    *connection_out = &session->base;
    return DBK_OK;
}

/* COMMIT of a transaction that has failed is answered as ROLLBACK. */
static bool was_rolled_back(const PGresult *result, const char *sql)
{
    return strcmp(sql, "COMMIT") == 0 &&
           strcmp(PQcmdStatus((PGresult *)(uintptr_t)result), "ROLLBACK") == 0;
}

static int run(struct dbk_connection *connection, const char *sql, struct dbk_error *err)
{
    struct session *session = session_of(connection);
    bool gives_up = strcmp(sql, "ROLLBACK") == 0;
    int rc = leave_pipeline(session, gives_up ? NULL : err);
    if (rc < 0 && !gives_up)
        return rc;
    PGresult *result = execute(session, sql);
    rc = is_good(result) ? DBK_OK : failed(session, result, err);
    if (rc == DBK_OK && was_rolled_back(result, sql))
        rc = dbk_error_set(err, DBK_ESCRIPT, "the transaction had failed");
    PQclear(result);
    session->in_transaction = PQtransactionStatus(session->server) == PQTRANS_INTRANS ||
                              PQtransactionStatus(session->server) == PQTRANS_INERROR;
    if (!session->in_transaction)
        session->failure = (struct dbk_error){0};
    return rc;
}

static int begin(struct dbk_connection *connection, enum dbk_begin how, struct dbk_error *err)
{
    return run(connection,
               how == DBK_BEGIN_READ ? "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY" : "BEGIN",
               err);
}

static int settle(struct dbk_connection *connection, bool constraints, struct dbk_error *err)
{
    struct session *session = session_of(connection);
    if (constraints && session->in_transaction && session->failure.code == DBK_OK) {
        int rc = leave_pipeline(session, err);
        return rc < 0 ? rc : run_one(session, "SET CONSTRAINTS ALL IMMEDIATE", err);
    }
    return drain(session, err);
}

static void set_guard(struct dbk_connection *connection, enum dbk_guard guard)
{
    session_of(connection)->guard = guard;
}

static void limit_us(struct dbk_connection *connection, int64_t limit)
{
    char sql[64];
    session_of(connection)->limit_us = limit;
    (void)snprintf(sql, sizeof(sql), "SET statement_timeout = %lld",
                   (long long)(limit <= 0 ? 0 : (limit + 999) / 1000));
    dbk_ignore(run(connection, sql, NULL));
}

static void interrupt(struct dbk_connection *connection)
{
    char text[256];
    struct session *session = session_of(connection);
    if (session->cancel != NULL)
        (void)PQcancel(session->cancel, text, sizeof(text));
    /* A server that does not even hear that is left. */
    if (PQsocket(session->server) >= 0)
        (void)shutdown(PQsocket(session->server), SHUT_RDWR);
}

/* Its write-ahead log is not ours to empty. */
static int checkpoint(struct dbk_connection *connection, struct dbk_error *err)
{
    (void)connection;
    (void)err;
    return DBK_OK;
}

/* Only the server knows: settle asks it. */
static bool deferred_violation(struct dbk_connection *connection)
{
    (void)connection;
    return false;
}

static bool in_transaction(struct dbk_connection *connection)
{
    struct session *session = session_of(connection);
    return session->in_transaction && PQstatus(session->server) == CONNECTION_OK;
}

/* ---- Statements ---- */

static void free_statement(struct dbk_statement *base)
{
    struct statement *statement = of(base);
    struct session *session = statement->session;
    PQclear(statement->result);
    PQclear(statement->description);
    if (statement->text == NULL && statement->name[0] != 0 &&
        PQstatus(session->server) == CONNECTION_OK && leave_pipeline(session, NULL) == DBK_OK) {
        char sql[64];
        (void)snprintf(sql, sizeof(sql), "DEALLOCATE %s", statement->name);
        dbk_ignore(run_one(session, sql, NULL));
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
    struct session *session = statement->session;
    statement->description =
        finish(session, PQsendDescribePrepared(session->server, statement->name));
    if (!is_good(statement->description))
        return failed(session, statement->description, err);
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
    struct session *session = statement->session;
    (void)snprintf(statement->name, sizeof(statement->name), "s%llu",
                   (unsigned long long)++session->statement_count);
    PGresult *result =
        finish(session, PQsendPrepare(session->server, statement->name, text, 0, NULL));
    int rc = is_good(result) ? DBK_OK : failed(session, result, err);
    if (rc < 0) {
        statement->name[0] = 0;
        if (offset_out != NULL)
            *offset_out = offset_of(result, text);
    }
    PQclear(result);
    return rc < 0 ? rc : describe(statement, err);
}

static int open_statement(struct dbk_connection *connection, struct dbk_slice sql,
                          struct dbk_statement **statement_out, int *offset_out,
                          struct dbk_error *err)
{
    struct session *session = session_of(connection);
    struct dbk_buf text;
    int offset = -1;
    struct statement *statement = dbk_alloc_zero(1, sizeof(*statement));
    if (statement == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory preparing a statement");
    statement->base.driver = &dbk_driver;
    statement->session = session;
    dbk_buf_init(&statement->bytes, MESSAGE_SIZE_MAX);
    dbk_buf_init(&statement->made, MESSAGE_SIZE_MAX);
    dbk_buf_init(&text, DBK_POSTGRES_SQL_SIZE_MAX + 1);
    int rc = dbk_postgres_check(sql, session->guard, &statement->kind, &offset, err);
    if (rc == DBK_OK) {
        dbk_postgres_parameters(sql, &text);
        dbk_buf_append_char(&text, 0);
        rc = text.rc < 0 ? dbk_error_set(err, text.rc, "out of memory preparing a statement")
                         : leave_pipeline(session, err);
    }
    if (rc == DBK_OK && statement->kind == DBK_POSTGRES_OTHER) {
        statement->text = dbk_copy_text(dbk_slice_of(text.data));
        rc = statement->text == NULL ? dbk_error_set(err, DBK_ENOMEM, "out of memory") : DBK_OK;
    } else if (rc == DBK_OK) {
        rc = prepare(statement, text.data, &offset, err);
    }
    dbk_buf_release(&text);
    if (offset_out != NULL)
        *offset_out = offset;
    if (rc < 0) {
        free_statement(&statement->base);
        return rc;
    }
    *statement_out = &statement->base;
    return DBK_OK;
}

static void bind_value(struct dbk_statement *base, int index, const struct dbk_value *value)
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
    struct session *session = statement->session;
    if (PQpipelineStatus(session->server) == PQ_PIPELINE_OFF &&
        PQenterPipelineMode(session->server) != 1)
        return lost(session, err);
    if (PQsendQueryPrepared(session->server, statement->name, statement->parameter_count,
                            statement->texts, NULL, NULL, 0) != 1)
        return lost(session, &session->failure), keep_failure(session, err);
    session->sent++;
    return session->sent >= SENT_MAX ? drain(session, err) : DBK_OK;
}

static int run_statement(struct statement *statement, struct dbk_error *err)
{
    struct session *session = statement->session;
    int rc = leave_pipeline(session, err);
    if (rc < 0)
        return rc;
    statement->result = statement->text != NULL
                            ? execute(session, statement->text)
                            : finish(session, PQsendQueryPrepared(session->server, statement->name,
                                                                  statement->parameter_count,
                                                                  statement->texts, NULL, NULL, 0));
    if (!is_good(statement->result)) {
        rc = failed(session, statement->result, err);
        if (session->in_transaction)
            dbk_ignore(failed(session, statement->result, &session->failure));
    }
    return rc;
}

static int step(struct dbk_statement *base, struct dbk_error *err)
{
    struct statement *statement = of(base);
    struct session *session = statement->session;
    int rc = DBK_OK;
    if (statement->result == NULL) {
        rc = keep_failure(session, err);
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

static void reset(struct dbk_statement *base)
{
    struct statement *statement = of(base);
    PQclear(statement->result);
    statement->result = NULL;
}

static bool is_read_only(const struct dbk_statement *statement)
{
    return of(statement)->kind == DBK_POSTGRES_SELECT;
}

static int column_count(const struct dbk_statement *statement)
{
    return PQnfields(of(statement)->description);
}

static const char *column_name(const struct dbk_statement *statement, int column)
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

static struct dbk_value column(struct dbk_statement *base, int index)
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

static int check(struct dbk_slice sql, enum dbk_guard guard, int *offset_out, struct dbk_error *err)
{
    return dbk_postgres_check(sql, guard, NULL, offset_out, err);
}

__attribute__((visibility("default"))) const struct dbk_driver dbk_driver = {
    .version = DBK_DRIVER_VERSION,
    .dialect = DBK_DIALECT_POSTGRES,
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
    .check = check,
    .objects = dbk_postgres_objects,
};
