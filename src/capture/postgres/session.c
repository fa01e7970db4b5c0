/* SPDX-License-Identifier: Apache-2.0 */
/* Sessions with the server, by libpq; never without an end to waiting. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>

#include "capture/postgres/state.h"
#include "target/postgres/advice.h"
#include "target/secret.h"

#define SQL_SIZE_MAX ((size_t)16 << 20)

/* Failures that pass by themselves (a lost connection, a server that starts) are tried again; all
   others wait for somebody. */
static int code_of(const char *state)
{
    static const struct {
        const char *prefix;
        int code;
    } codes[] = {{"08", DBK_ECONNECT},    {"28", DBK_ECONNECT},   {"3D", DBK_ECONNECT},
                 {"40", DBK_EBUSY},       {"42501", DBK_EDENIED}, {"53", DBK_ECONNECT},
                 {"55006", DBK_EBUSY},    {"55P03", DBK_EBUSY},   {"57014", DBK_EBUSY},
                 {"57P", DBK_ECONNECT},   {"58", DBK_ECONNECT},   {"XX", DBK_ECONNECT},
                 {"42P01", DBK_ENOTFOUND}};
    for (size_t i = 0; state != NULL && i < sizeof(codes) / sizeof(codes[0]); i++) {
        if (strncmp(state, codes[i].prefix, strlen(codes[i].prefix)) == 0)
            return codes[i].code;
    }
    return DBK_ESCRIPT;
}

static void one_line(char *text)
{
    for (size_t size = strlen(text); size > 0 && (text[size - 1] == '\n' || text[size - 1] == ' ');)
        text[--size] = 0;
    for (char *at = text; *at != 0; at++) {
        if (*at == '\n' || *at == '\t')
            *at = ' ';
    }
}

int dbk_pg_failed(PGconn *session, const PGresult *result, struct dbk_error *err)
{
    char message[600];
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *primary = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    const char *detail = PQresultErrorField(result, PG_DIAG_MESSAGE_DETAIL);
    if (primary != NULL)
        (void)snprintf(message, sizeof(message), "%s%s%s", primary, detail == NULL ? "" : ": ",
                       detail == NULL ? "" : detail);
    else
        (void)snprintf(message, sizeof(message), "%s", PQerrorMessage(session));
    one_line(message);
    return dbk_error_set(err, primary == NULL ? DBK_ECONNECT : code_of(state), "PostgreSQL: %s%s",
                         message, primary == NULL ? dbk_pq_login_fix(session) : "");
}

static bool is_good(const PGresult *result)
{
    ExecStatusType status = PQresultStatus(result);
    return status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK || status == PGRES_COPY_BOTH;
}

static int await_answer(const struct source *source, PGconn *session, struct dbk_error *err)
{
    while (PQisBusy(session) == 1) {
        struct pollfd look[] = {{.fd = PQsocket(session), .events = POLLIN},
                                {.fd = source->options.over, .events = POLLIN}};
        int ready = poll(look, 2, -1);
        if (ready < 0 && errno != EINTR)
            return dbk_error_set_errno(err, errno, "waiting for PostgreSQL");
        if (ready > 0 && look[1].revents != 0)
            return dbk_error_set(err, DBK_EBUSY, "ended while waiting for PostgreSQL");
        if (PQconsumeInput(session) != 1)
            return dbk_pg_failed(session, NULL, err);
    }
    return DBK_OK;
}

int dbk_pg_ask(struct source *source, PGconn *session, const char *sql, PGresult **result_out,
               struct dbk_error *err)
{
    PGresult *last = NULL;
    PGresult *next = NULL;
    if (PQsendQuery(session, sql) != 1)
        return dbk_pg_failed(session, NULL, err);
    int rc = DBK_OK;
    while ((rc = await_answer(source, session, err)) == DBK_OK &&
           (next = PQgetResult(session)) != NULL) {
        bool failed = last != NULL && !is_good(last);
        PQclear(failed ? next : last);
        last = failed ? last : next;
        if (PQresultStatus(last) == PGRES_COPY_BOTH)
            break;
    }
    if (rc == DBK_OK && (last == NULL || !is_good(last)))
        rc = dbk_pg_failed(session, last, err);
    if (rc == DBK_OK && result_out != NULL) {
        *result_out = last;
        last = NULL;
    }
    PQclear(last);
    return rc;
}

int dbk_pg_run(struct source *source, PGconn *session, const char *sql, struct dbk_error *err)
{
    return dbk_pg_ask(source, session, sql, NULL, err);
}

struct dbk_slice dbk_pg_value(const PGresult *result, int row, int column)
{
    return dbk_slice(PQgetvalue(result, row, column), (size_t)PQgetlength(result, row, column));
}

void dbk_pg_put_literal(struct dbk_buf *out, struct dbk_slice text)
{
    /* Backslashes stand for themselves: standard_conforming_strings is on. */
    dbk_buf_append_char(out, '\'');
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] == '\'')
            dbk_buf_append_char(out, '\'');
        dbk_buf_append_char(out, text.data[i]);
    }
    dbk_buf_append_char(out, '\'');
}

void dbk_pg_put_name(struct dbk_buf *out, struct dbk_slice name)
{
    dbk_buf_append_char(out, '"');
    for (size_t i = 0; i < name.size; i++) {
        if (name.data[i] == '"')
            dbk_buf_append_char(out, '"');
        dbk_buf_append_char(out, name.data[i]);
    }
    dbk_buf_append_char(out, '"');
}

/* ---- Connecting ---- */

static void take_no_notice(void *context, const PGresult *result)
{
    (void)context;
    (void)result;
}

/* Values come as the same texts through both sessions. */
static const char settings[] =
    "SET TimeZone = 'UTC'; SET DateStyle = 'ISO'; SET IntervalStyle = 'iso_8601'; "
    "SET bytea_output = 'hex'; SET standard_conforming_strings = on; SET extra_float_digits = 1; "
    "SET client_min_messages = warning; SET statement_timeout = 0; SET lock_timeout = 0; "
    "SET idle_in_transaction_session_timeout = 0";

static int open_session(struct source *source, const char *secret, bool replication,
                        PGconn **session_out, struct dbk_error *err)
{
    /* What stands in the connection string comes later, and counts. */
    const char *const keys[] = {"client_encoding",
                                "fallback_application_name",
                                "connect_timeout",
                                "keepalives",
                                "keepalives_idle",
                                "tcp_user_timeout",
                                "dbname",
                                "replication",
                                NULL};
    const char *const values[] = {"UTF8", "daybook", "5",    "1",
                                  "10",   "15000",   secret, replication ? "database" : "false",
                                  NULL};
    PGconn *session = PQconnectdbParams(keys, values, 1);
    *session_out = session;
    if (session == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory connecting");
    if (PQstatus(session) != CONNECTION_OK) {
        (void)dbk_pg_failed(session, NULL, err);
        if (replication && strstr(PQerrorMessage(session), "replication") != NULL)
            return dbk_error_set(err, DBK_EDENIED,
                                 "the user of %s may not replicate: ALTER ROLE \"%s\" REPLICATION, "
                                 "and allow it in pg_hba.conf",
                                 source->options.service->database, PQuser(session));
        return DBK_ECONNECT;
    }
    (void)PQsetNoticeReceiver(session, take_no_notice, NULL);
    if (PQsetnonblocking(session, 0) != 0)
        return dbk_pg_failed(session, NULL, err);
    return dbk_pg_run(source, session, settings, err);
}

static int check_server(struct source *source, struct dbk_error *err)
{
    PGresult *result = NULL;
    if (PQserverVersion(source->sql) < 130000)
        return dbk_error_set(err, DBK_EINVAL, "PostgreSQL %d is too old: 13 or later is needed",
                             PQserverVersion(source->sql) / 10000);
    int rc = dbk_pg_ask(source, source->sql, "SHOW wal_level", &result, err);
    if (rc < 0)
        return rc;
    if (!dbk_slice_equal_text(dbk_pg_value(result, 0, 0), "logical"))
        rc = dbk_error_set(err, DBK_EINVAL,
                           "the server of %s has wal_level = %s: set wal_level = logical in "
                           "postgresql.conf and start it again",
                           source->options.service->database, PQgetvalue(result, 0, 0));
    PQclear(result);
    return rc;
}

static int identify(struct source *source, struct dbk_error *err)
{
    PGresult *result = NULL;
    int rc = dbk_pg_ask(source, source->stream, "IDENTIFY_SYSTEM", &result, err);
    if (rc < 0)
        return rc;
    uint64_t timeline = 0;
    (void)snprintf(source->system, sizeof(source->system), "%s", PQgetvalue(result, 0, 0));
    (void)dbk_slice_to_u64(dbk_pg_value(result, 0, 1), &timeline);
    (void)snprintf(source->database, sizeof(source->database), "%s", PQgetvalue(result, 0, 3));
    source->timeline = (unsigned)timeline;
    PQclear(result);
    const char *identity = dbk_arena_format(&source->arena, "postgres/%s/%u/%s", source->system,
                                            source->timeline, source->database);
    source->identity = dbk_slice_of(identity);
    return identity == NULL ? dbk_error_set(err, DBK_ENOMEM, "out of memory connecting") : DBK_OK;
}

int dbk_pg_connect(struct source *source, struct dbk_error *err)
{
    struct dbk_buf secret;
    dbk_buf_init(&secret, DBK_SECRET_TEXT_SIZE_MAX + 1);
    int rc = dbk_secret_read(source->options.service->address + strlen("postgres:"),
                             "the connection string", &secret, err);
    if (rc == DBK_OK)
        rc = open_session(source, secret.data, false, &source->sql, err);
    if (rc == DBK_OK)
        rc = check_server(source, err);
    if (rc == DBK_OK)
        rc = open_session(source, secret.data, true, &source->stream, err);
    if (secret.data != NULL)
        memset(secret.data, 0, secret.size);
    dbk_buf_release(&secret);
    return rc < 0 ? rc : identify(source, err);
}
