/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session -- a connection by libpq, shared by the files of this folder.
 *
 * Threads: one at a time; dbk_connection_interrupt from any.
 */
#ifndef DBK_TARGET_POSTGRES_SESSION_H
#define DBK_TARGET_POSTGRES_SESSION_H

#include <libpq-fe.h>

#include "target/driver.h"
#include "target/postgres/parse.h"

/* Statements sent before their results are read: what both sides buffer meanwhile fits. */
#define DBK_PQ_SENT_MAX 256

extern const struct dbk_driver dbk_driver;

struct dbk_pq_session {
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

/* The session that a connection is. */
static inline struct dbk_pq_session *dbk_pq_session_of(struct dbk_connection *connection)
{
    return (struct dbk_pq_session *)connection;
}

/* ---- link.c: waiting, failures, the pipeline ---- */

/* The connection's end, or a result, as a failure: its code. */
int dbk_pq_lost(const struct dbk_pq_session *session, struct dbk_error *err);
int dbk_pq_failed(const struct dbk_pq_session *session, const PGresult *result,
                  struct dbk_error *err);
bool dbk_pq_is_good(const PGresult *result);
/* The first failure, else the last result, of what was sent outside of a pipeline. NULL: it was not
   sent, or the connection ended before all of it was answered, whatever had succeeded by then. */
PGresult *dbk_pq_finish(struct dbk_pq_session *session, int sent);
PGresult *dbk_pq_execute(struct dbk_pq_session *session, const char *sql);
/* That of the transaction; DBK_OK: none. */
int dbk_pq_kept_failure(struct dbk_pq_session *session, struct dbk_error *err);
/* Everything that was sent is done or has failed. */
int dbk_pq_drain(struct dbk_pq_session *session, struct dbk_error *err);
int dbk_pq_leave_pipeline(struct dbk_pq_session *session, struct dbk_error *err);
int dbk_pq_run_one(struct dbk_pq_session *session, const char *sql, struct dbk_error *err);

/* ---- statement.c ---- */

void dbk_pq_statement_free(struct dbk_statement *base);
int dbk_pq_statement_open(struct dbk_connection *connection, struct dbk_slice sql,
                          struct dbk_statement **statement_out, int *offset_out,
                          struct dbk_error *err);
void dbk_pq_statement_bind(struct dbk_statement *base, int index, const struct dbk_value *value);
int dbk_pq_statement_step(struct dbk_statement *base, struct dbk_error *err);
void dbk_pq_statement_reset(struct dbk_statement *base);
bool dbk_pq_statement_is_read_only(const struct dbk_statement *statement);
int dbk_pq_statement_column_count(const struct dbk_statement *statement);
const char *dbk_pq_statement_column_name(const struct dbk_statement *statement, int column);
struct dbk_value dbk_pq_statement_column(struct dbk_statement *base, int index);

#endif
