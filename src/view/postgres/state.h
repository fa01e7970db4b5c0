/* SPDX-License-Identifier: Apache-2.0 */
/*
 * state -- what the files of PostgreSQL as a home of views share.
 *
 * A full refresh is one transaction at REPEATABLE READ:
 *
 *     BEGIN, position, CREATE TABLE v__g<n> AS <the SELECT>, indexes, ANALYZE
 *     SAVEPOINT, CREATE OR REPLACE VIEW v, or back to it and again while readers hold v
 *     the view's row, COMMIT
 *     DROP TABLE of the generation before, each by itself, as far as nobody reads it
 *
 * The server keeps writers and readers apart, so that nothing is done in chunks. A statement that
 * wants a lock which others would queue behind waits for it a tenth of a second at most.
 *
 * Threads: a connection belongs to one thread at a time.
 * Source:  PostgreSQL's manual, "Transaction Isolation" and "Explicit Locking".
 */
#ifndef DBK_VIEW_POSTGRES_STATE_H
#define DBK_VIEW_POSTGRES_STATE_H

#include "view/home.h"

#define DBK_PGVIEW_SQL_SIZE_MAX ((size_t)4 << 20)

/* Opens a session as the home's own driver does. */
int dbk_pgview_open(const struct dbk_view_definition *definition, unsigned flags,
                    struct dbk_connection **connection_out, struct dbk_error *err) DBK_MUST_CHECK;
/* Runs what the buffer holds, and empties it. */
int dbk_pgview_run(struct dbk_connection *connection, struct dbk_buf *sql,
                   struct dbk_error *err) DBK_MUST_CHECK;
/* Begins a transaction that reads one state all the while. */
int dbk_pgview_begin(struct dbk_connection *connection, struct dbk_error *err) DBK_MUST_CHECK;
/* Appends a text as a constant, in quotes. */
void dbk_pgview_text(struct dbk_buf *out, const char *text);
/*
 * Whether the SELECT is one, and reads only; on failure the message has its place in the file.
 * statement_out (may be NULL): prepared.
 */
int dbk_pgview_prepare(const struct dbk_view_definition *definition,
                       struct dbk_connection *connection, struct dbk_statement **statement_out,
                       struct dbk_error *err) DBK_MUST_CHECK;

/* ---- fill.c ---- */

int dbk_pgview_refresh(const struct dbk_view_refresh *refresh, struct dbk_error *err);
/* Drops the view's tables but those of a generation, as far as nobody reads them. */
int dbk_pgview_clean(struct dbk_connection *connection, const char *name, uint64_t generation,
                     struct dbk_error *err) DBK_MUST_CHECK;

/* ---- verify.c ---- */

int dbk_pgview_verify(const struct dbk_view_refresh *refresh, uint64_t *rows_out,
                      struct dbk_error *err);

#endif
