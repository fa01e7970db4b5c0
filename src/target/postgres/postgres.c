/* SPDX-License-Identifier: Apache-2.0 */
/* PostgreSQL behind target/target.h, by libpq: its sessions. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "target/postgres/session.h"
#include "target/secret.h"

static void take_no_notice(void *context, const PGresult *result)
{
    (void)context;
    (void)result;
}

static void close_session(struct dbk_connection *connection)
{
    struct dbk_pq_session *session = dbk_pq_session_of(connection);
    PQfreeCancel(session->cancel);
    PQfinish(session->server);
    dbk_free(session);
}

static int connect_server(struct dbk_pq_session *session, const char *secret, struct dbk_error *err)
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
        return dbk_pq_lost(session, err);
    if (PQserverVersion(session->server) < 120000)
        return dbk_error_set(err, DBK_ECONNECT, "PostgreSQL %d is too old: 12 or later is needed",
                             PQserverVersion(session->server) / 10000);
    (void)PQsetNoticeReceiver(session->server, take_no_notice, NULL);
    session->cancel = PQgetCancel(session->server);
    return dbk_pq_run_one(
        session,
        "SET TimeZone = 'UTC'; SET DateStyle = 'ISO'; SET IntervalStyle = 'iso_8601'; "
        "SET bytea_output = 'hex'; SET standard_conforming_strings = on; "
        "SET extra_float_digits = 1; SET client_min_messages = warning",
        err);
}

static int open_session(const char *address, unsigned flags, struct dbk_connection **connection_out,
                        struct dbk_error *err)
{
    struct dbk_buf secret;
    struct dbk_pq_session *session = dbk_alloc_zero(1, sizeof(*session));
    if (session == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory connecting");
    session->base.driver = NULL;
    dbk_buf_init(&secret, DBK_SECRET_TEXT_SIZE_MAX + 1);
    int rc = dbk_secret_read(address, "the connection string", &secret, err);
    if (rc == DBK_OK)
        rc = connect_server(session, secret.data, err);
    if (rc == DBK_OK && (flags & DBK_CONNECT_READ) != 0)
        rc = dbk_pq_run_one(session, "SET default_transaction_read_only = on", err);
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
    struct dbk_pq_session *session = dbk_pq_session_of(connection);
    bool gives_up = strcmp(sql, "ROLLBACK") == 0;
    int rc = dbk_pq_leave_pipeline(session, gives_up ? NULL : err);
    if (rc < 0 && !gives_up)
        return rc;
    PGresult *result = dbk_pq_execute(session, sql);
    rc = dbk_pq_is_good(result) ? DBK_OK : dbk_pq_failed(session, result, err);
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
    struct dbk_pq_session *session = dbk_pq_session_of(connection);
    if (constraints && session->in_transaction && session->failure.code == DBK_OK) {
        int rc = dbk_pq_leave_pipeline(session, err);
        return rc < 0 ? rc : dbk_pq_run_one(session, "SET CONSTRAINTS ALL IMMEDIATE", err);
    }
    return dbk_pq_drain(session, err);
}

static void set_guard(struct dbk_connection *connection, enum dbk_guard guard)
{
    dbk_pq_session_of(connection)->guard = guard;
}

static void limit_us(struct dbk_connection *connection, int64_t limit)
{
    char sql[64];
    dbk_pq_session_of(connection)->limit_us = limit;
    (void)snprintf(sql, sizeof(sql), "SET statement_timeout = %lld",
                   (long long)(limit <= 0 ? 0 : (limit + 999) / 1000));
    dbk_ignore(run(connection, sql, NULL));
}

static void interrupt(struct dbk_connection *connection)
{
    char text[256];
    struct dbk_pq_session *session = dbk_pq_session_of(connection);
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
    struct dbk_pq_session *session = dbk_pq_session_of(connection);
    return session->in_transaction && PQstatus(session->server) == CONNECTION_OK;
}

static int check(struct dbk_slice sql, enum dbk_guard guard, int *offset_out, struct dbk_error *err)
{
    return dbk_postgres_check(sql, guard, NULL, NULL, offset_out, err);
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
    .statement_open = dbk_pq_statement_open,
    .statement_free = dbk_pq_statement_free,
    .bind = dbk_pq_statement_bind,
    .step = dbk_pq_statement_step,
    .reset = dbk_pq_statement_reset,
    .is_read_only = dbk_pq_statement_is_read_only,
    .column_count = dbk_pq_statement_column_count,
    .column_name = dbk_pq_statement_column_name,
    .column = dbk_pq_statement_column,
    .check = check,
    .objects = dbk_postgres_objects,
};
