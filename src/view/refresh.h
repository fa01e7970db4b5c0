/* SPDX-License-Identifier: Apache-2.0 */
/*
 * refresh -- one full refresh of one view.
 *
 *     read connection                       write connection
 *     BEGIN, positions, SELECT … (a snapshot)
 *       rows, some at a time          -->   BEGIN IMMEDIATE, INSERT …, COMMIT   (again and again)
 *     end                                   BEGIN IMMEDIATE, swap the plain view, row, COMMIT
 *                                           DELETE some rows of the old generation … , DROP it
 *
 * The SELECT is never stepped while the write lock is held, so that the lock is held for a few
 * milliseconds however long the SELECT thinks.
 *
 * Threads: one refresh of a view at a time.
 */
#ifndef DBK_VIEW_REFRESH_H
#define DBK_VIEW_REFRESH_H

#include "view/catalog.h"
#include "view/view.h"

/* A plain view that another one stands for on a build's connections. */
struct dbk_view_behind {
    const char *name;
    const char *shown; /* its SELECT there */
    /* Of a view that is built as well; NULL: it is a model's table. */
    const struct dbk_view_row *row;
};
/* A generation that does not serve yet, onto which views are built that are swapped with it. */
struct dbk_view_onto {
    const char *model;
    uint64_t generation;
    const struct dbk_view_behind *names;
    size_t name_count;
};

struct dbk_view_source {
    const char *const *models; /* models it reads */
    size_t model_count;
    const char *const *views; /* views it reads */
    size_t view_count;
    const char *const *tables; /* of a server, others' that it reads: "<where>|<name>" */
    size_t table_count;
    bool log;                         /* it reads `events` */
    const struct dbk_view_onto *onto; /* NULL: it reads what serves */
};

/*
 * What is kept from an incremental refresh for the next one of the same view: the connection, with
 * its prepared statements and tables in temp, and the plan. Anything but a further incremental
 * refresh ends it.
 */
struct dbk_recording;
struct dbk_view_session;
int dbk_view_session_open(struct dbk_view_session **session_out,
                          struct dbk_error *err) DBK_MUST_CHECK;
void dbk_view_session_free(struct dbk_view_session *session);

struct dbk_view_refresh {
    const struct dbk_view_definition *definition;
    const struct dbk_view_source *source;
    const char *fingerprint;
    struct dbk_store *store;
    struct dbk_os *os;
    dbk_progress_fn progress; /* may be NULL */
    void *context;
    struct dbk_view_session *session; /* NULL: nothing is kept */
    const char *owner; /* of the cursors of a generation that does not serve yet; NULL: it does */
    /* Of such a one: takes what is changed in it; NULL: nobody is told. */
    struct dbk_recording *recording;
    /* Of a verification: takes its connection, which is to be interrupted from outside, and NULL
       before that is closed. May be NULL. */
    void (*connected)(void *context, struct dbk_connection *connection);
};
static inline void dbk_view_tell_connection(const struct dbk_view_refresh *refresh,
                                            struct dbk_connection *connection)
{
    if (refresh->connected != NULL)
        refresh->connected(refresh->context, connection);
}

/* Refreshes; on failure the old result stays and what was begun is removed. */
int dbk_view_refresh_run(const struct dbk_view_refresh *refresh,
                         struct dbk_error *err) DBK_MUST_CHECK;

/*
 * Brings views of one database up to date in one transaction, each behind what it reads, so that no
 * reader sees one of them without the others. done_out: whether that could be done, which takes
 * that none has to be computed in full or reads the log; else nothing was changed.
 */
int dbk_view_refresh_jointly(const struct dbk_view_refresh *refreshes, size_t count, bool *done_out,
                             struct dbk_error *err) DBK_MUST_CHECK;

/* Removes generations of a view other than the one its row names and those that are kept or being
   built (view/kept.h), bit by bit. */
int dbk_view_refresh_clean(struct dbk_connection *connection, const char *name, uint64_t generation,
                           struct dbk_error *err) DBK_MUST_CHECK;

/* Ends a write transaction: as it went so far, or else not at all. */
int dbk_view_end_transaction(struct dbk_connection *connection, int rc, struct dbk_error *err);
/* Runs SQL as one write transaction; gives up the transaction where a part fails. */
int dbk_view_run_transaction(struct dbk_connection *connection, const char *sql,
                             struct dbk_error *err) DBK_MUST_CHECK;

/* The view's SELECT in its file, without the head and the semicolon. */
struct dbk_slice dbk_view_select(const struct dbk_view_definition *definition);

#endif
