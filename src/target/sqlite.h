/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sqlite -- a SQLite session, shared by this room's sources.
 */
#ifndef DBK_TARGET_SQLITE_H
#define DBK_TARGET_SQLITE_H

#include <sqlite3.h>

#include "target/driver.h"

/* So many statements at most are kept for their next use. */
#define DBK_SQLITE_KEPT_MAX 128

struct dbk_sqlite {
    struct dbk_connection base; /* first: a connection is cast to it */
    sqlite3 *sqlite;
    char denied[200];   /* why the guard said no to the statement being prepared */
    dbk_watch_fn watch; /* while dbk_connection_watch is on */
    void *watch_context;
    int64_t limit_us;
    struct dbk_turn_queue
        *queue;          /* of the file's writers; NULL: a file in memory, or not written */
    int64_t busy_us;     /* since when a lock is waited for */
    int64_t deadline_us; /* of the running statement; 0: the clock was not looked at */
    enum dbk_guard guard;
    bool late;          /* the limit ended the statement */
    bool keeps;         /* DBK_CONNECT_KEEP */
    bool pinned;        /* `events` ends at the pin */
    bool occurred_ends; /* events that occurred later are left out */
    bool whole_events;  /* streams' rules leave nothing out */
    /* the table `events` */
    struct dbk_store *store;
    uint64_t pin;
    int64_t occurred_max_us;
    uint64_t events_position; /* what the running, or last, statement sees */
    /* DBK_CONNECT_KEEP */
    struct dbk_statement *kept[DBK_SQLITE_KEPT_MAX];
    size_t kept_count;
    size_t kept_next; /* the one that goes when there are too many */
};

extern const struct dbk_driver dbk_driver_sqlite;

static inline struct dbk_sqlite *dbk_sqlite_of(struct dbk_connection *connection)
{
    return (struct dbk_sqlite *)connection;
}

/* The authorizer for sqlite3_set_authorizer; context is the connection. */
int dbk_guard_authorize(void *context, int action, const char *first, const char *second,
                        const char *database, const char *trigger);
/* What only the text can tell: rollbacks by conflict clause, the clock, and chance in
   a schema's defaults. */
int dbk_guard_text(const struct dbk_sqlite *connection, struct dbk_slice sql, int *offset_out,
                   struct dbk_error *err) DBK_MUST_CHECK;

#endif
