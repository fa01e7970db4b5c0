/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Statements that return no rows are sent ahead in pipeline mode:
 *
 *     step  -> queued, sent            up to DBK_PQ_SENT_MAX, then all their results are read
 *     settle -> everything sent, all results read; the first failure is the transaction's
 *
 * The first failure aborts the transaction at the server, so that nothing behind it is done; it is
 * kept and reported by every call until ROLLBACK.
 *
 * Source: PostgreSQL's manual, libpq, "Pipeline Mode" and appendix A for SQLSTATE.
 */
#include "target/postgres/session.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>

#include "os/os.h"
#include "target/postgres/advice.h"

/* A server that says nothing for so long past a statement's limit is taken for gone. */
#define SILENCE_US (INT64_C(30) * 1000000)

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
        {"08", DBK_ECONNECT}, {"23", DBK_EREFUSED},    {"25006", DBK_EDENIED},
        {"28", DBK_ECONNECT}, {"2BP01", DBK_EREFUSED}, {"3D", DBK_ECONNECT},
        {"40", DBK_EBUSY},    {"42501", DBK_EDENIED},  {"42", DBK_EINVAL},
        {"53100", DBK_EFULL}, {"53200", DBK_ENOMEM},   {"53300", DBK_ECONNECT},
        {"55P03", DBK_EBUSY}, {"57014", DBK_ETIMEOUT}, {"57P", DBK_ECONNECT},
        {"58", DBK_EIO},
    };
    for (size_t i = 0; state != NULL && i < sizeof(codes) / sizeof(codes[0]); i++) {
        if (strncmp(state, codes[i].prefix, strlen(codes[i].prefix)) == 0)
            return codes[i].code;
    }
    return DBK_ESCRIPT;
}

const char *dbk_pq_login_fix(const PGconn *server)
{
    if (PQstatus(server) != CONNECTION_BAD)
        return "";
    if (PQconnectionNeedsPassword(server) != 0)
        return ": write the user's password= into the connection string";
    /* libpq keeps no code of what a login fails of. */
    if (PQconnectionUsedPassword(server) != 0 &&
        strstr(PQerrorMessage(server), "password authentication failed") != NULL)
        return ": check user= and password= in the connection string";
    return "";
}

/* The server is gone, or never was there. */
int dbk_pq_lost(const struct dbk_pq_session *session, struct dbk_error *err)
{
    char message[400];
    (void)snprintf(message, sizeof(message), "%s", PQerrorMessage(session->server));
    trim(message);
    return dbk_error_set(err, DBK_ECONNECT, "PostgreSQL: %s%s", message,
                         dbk_pq_login_fix(session->server));
}

/* A result that is no success. */
int dbk_pq_failed(const struct dbk_pq_session *session, const PGresult *result,
                  struct dbk_error *err)
{
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *primary = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    const char *detail = PQresultErrorField(result, PG_DIAG_MESSAGE_DETAIL);
    if (PQstatus(session->server) == CONNECTION_BAD || primary == NULL)
        return dbk_pq_lost(session, err);
    int code = code_of(state);
    /* Its own hint is to drop that, too. */
    if (state != NULL && strcmp(state, "2BP01") == 0)
        return dbk_error_set(err, code,
                             "something else in the database is made of it (%.*s): drop that, and "
                             "make it anew behind this, or let it read a table of its own",
                             (int)strcspn(detail == NULL ? primary : detail, "\n"),
                             detail == NULL ? primary : detail);
    return dbk_error_set(err, code, "%s%s%s%s",
                         code == DBK_ETIMEOUT ? "the statement ran too long: " : "", primary,
                         detail == NULL ? "" : ": ", detail == NULL ? "" : detail);
}

bool dbk_pq_is_good(const PGresult *result)
{
    ExecStatusType status = PQresultStatus(result);
    return status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK || status == PGRES_EMPTY_QUERY;
}

/* ---- Waiting ---- */

/* Waits until a result can be read; a server without end is not waited for without end. */
static int await_result(struct dbk_pq_session *session)
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

PGresult *dbk_pq_finish(struct dbk_pq_session *session, int sent)
{
    PGresult *last = NULL;
    PGresult *next = NULL;
    bool ended = sent == 1;
    while (ended && (ended = await_result(session) == DBK_OK) &&
           (next = PQgetResult(session->server)) != NULL) {
        bool failed_before = last != NULL && !dbk_pq_is_good(last);
        PQclear(failed_before ? next : last);
        last = failed_before ? last : next;
        ended = PQstatus(session->server) != CONNECTION_BAD;
    }
    if (ended || last == NULL || !dbk_pq_is_good(last))
        return last;
    PQclear(last);
    return NULL;
}

PGresult *dbk_pq_execute(struct dbk_pq_session *session, const char *sql)
{
    return dbk_pq_finish(session, PQsendQuery(session->server, sql));
}

/* ---- Pipeline ---- */

int dbk_pq_kept_failure(struct dbk_pq_session *session, struct dbk_error *err)
{
    if (session->failure.code == DBK_OK)
        return DBK_OK;
    if (err != NULL)
        *err = session->failure;
    return session->failure.code;
}

/* Takes the results of all that was sent. */
static int read_results(struct dbk_pq_session *session)
{
    for (bool ended = false; !ended;) {
        if (await_result(session) < 0)
            return dbk_pq_lost(session, &session->failure);
        PGresult *result = PQgetResult(session->server);
        if (result == NULL) {
            /* Behind each statement stands a NULL; two mean that nothing more comes. */
            if (PQstatus(session->server) == CONNECTION_BAD)
                return dbk_pq_lost(session, &session->failure);
            continue;
        }
        ExecStatusType status = PQresultStatus(result);
        ended = status == PGRES_PIPELINE_SYNC;
        if (!ended && status != PGRES_PIPELINE_ABORTED && !dbk_pq_is_good(result) &&
            session->failure.code == DBK_OK)
            dbk_ignore(dbk_pq_failed(session, result, &session->failure));
        PQclear(result);
        if (!ended && PQstatus(session->server) == CONNECTION_BAD)
            return session->failure.code == DBK_OK ? dbk_pq_lost(session, &session->failure)
                                                   : session->failure.code;
    }
    session->sent = 0;
    return session->failure.code;
}

int dbk_pq_drain(struct dbk_pq_session *session, struct dbk_error *err)
{
    if (session->sent > 0) {
        session->sent = 0;
        if (PQpipelineSync(session->server) != 1)
            dbk_ignore(dbk_pq_lost(session, &session->failure));
        else
            dbk_ignore(read_results(session));
    }
    return dbk_pq_kept_failure(session, err);
}

int dbk_pq_leave_pipeline(struct dbk_pq_session *session, struct dbk_error *err)
{
    int rc = dbk_pq_drain(session, err);
    if (PQpipelineStatus(session->server) != PQ_PIPELINE_OFF &&
        PQexitPipelineMode(session->server) != 1 && rc == DBK_OK)
        rc = dbk_pq_lost(session, err);
    return rc;
}

int dbk_pq_run_one(struct dbk_pq_session *session, const char *sql, struct dbk_error *err)
{
    PGresult *result = dbk_pq_execute(session, sql);
    int rc = dbk_pq_is_good(result) ? DBK_OK : dbk_pq_failed(session, result, err);
    PQclear(result);
    return rc;
}
