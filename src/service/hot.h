/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hot -- where a shared PostgreSQL is the bottleneck: by role, by table, and who waits for whom.
 *
 * For a window the server is asked again and again who is connected, who works and who waits for a
 * lock; how often somebody was found waiting says for how long. What the server counts itself (rows
 * of tables, and time by pg_stat_statements where it is there) is the difference over the window.
 *
 * Threads: one at a time.
 * Source:  PostgreSQL's manual, "The Cumulative Statistics System", pg_locks.
 */
#ifndef DBK_SERVICE_HOT_H
#define DBK_SERVICE_HOT_H

#include "base/memory.h"
#include "os/os.h"
#include "target/target.h"

enum dbk_hot_kind {
    DBK_HOT_ROLE,
    DBK_HOT_TABLE,
    DBK_HOT_WAIT, /* a role for a table, because of roles */
};

struct dbk_hot_row {
    enum dbk_hot_kind kind;
    const char *name;  /* a role, or a table; a wait's role */
    const char *table; /* of a wait; "": it is not known */
    const char *holder;
    /* Sums over samples. */
    int64_t connections;
    int64_t active;
    int64_t waits;
    /* Over the window. */
    int64_t time_us;
    int64_t calls;
    int64_t rows_read;
    int64_t rows_written;
};

struct dbk_hot {
    struct dbk_arena *arena;
    struct dbk_hot_row *rows;
    size_t count;
    size_t capacity;
    int64_t samples;
    int64_t window_us; /* as it was */
    bool timed;        /* pg_stat_statements is there */
};

typedef int (*dbk_hot_progress_fn)(void *context, uint64_t done_us, uint64_t total_us);

/* Watches for a window. DBK_ECONNECT; negative as progress ends it. */
int dbk_hot_watch(struct dbk_connection *connection, struct dbk_os *os, int64_t window_us,
                  dbk_hot_progress_fn progress, void *context, struct dbk_hot *hot,
                  struct dbk_error *err) DBK_MUST_CHECK;

#endif
