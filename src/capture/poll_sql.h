/* SPDX-License-Identifier: Apache-2.0 */
/*
 * poll_sql -- PostgreSQL and SQLite asked for changed rows.
 *
 * What a round reads depends on the cursor's column:
 *
 *     XID     PostgreSQL's xid8: rows behind the last (xid, key) that was told, of transactions
 *             that have ended, and so have all before them
 *     STAMP   a time, or any column of SQLite that grows: rows from a bound on, before which
 *             nothing can come any more. PostgreSQL: when the oldest open transaction began,
 *             less the overlap; SQLite: the greatest value as of an overlap ago
 *     WHOLE   no column: all rows
 *
 * Threads: its source's.
 */
#ifndef DBK_CAPTURE_POLL_SQL_H
#define DBK_CAPTURE_POLL_SQL_H

#include "capture/poll.h"
#include "capture/reader.h"

enum dbk_poll_sql_mode { DBK_POLL_WHOLE, DBK_POLL_XID, DBK_POLL_STAMP };

struct dbk_poll_sql {
    struct dbk_connection *connection;
    bool postgres;
    uint64_t shape_number;
    struct dbk_statement *page; /* NULL: none is open */
};

struct dbk_poll_sql_table {
    struct dbk_reader reader;
    enum dbk_poll_sql_mode mode;
    struct dbk_reader_place cursor; /* XID, STAMP: its value, the key; WHOLE: the key */
    struct dbk_reader_place from;   /* STAMP: rows from here on are read in this round */
    struct dbk_reader_place next;   /* and in the next */
    struct dbk_reader_place newest; /* SQLite: the greatest as of `newest_us` */
    int64_t newest_us;
};

static inline struct dbk_poll_sql *dbk_poll_sql_of(const struct dbk_poll *poll)
{
    return poll->own;
}
static inline struct dbk_poll_sql_table *dbk_poll_sql_table_of(const struct dbk_poll_table *table)
{
    return table->own;
}
/* The cursor's column; NULL: there is none. */
const struct dbk_reader_column *dbk_poll_sql_cursor(const struct dbk_poll_sql_table *table);

/* ---- poll_sql_round.c: as those of struct dbk_poll_kind ---- */

int dbk_poll_sql_look(struct dbk_poll *poll, struct dbk_poll_table *base,
                      struct dbk_error *err) DBK_MUST_CHECK;
int dbk_poll_sql_begin_round(struct dbk_poll *poll, struct dbk_poll_table *base,
                             struct dbk_error *err) DBK_MUST_CHECK;
int dbk_poll_sql_open_page(struct dbk_poll *poll, struct dbk_error *err) DBK_MUST_CHECK;
int dbk_poll_sql_move(struct dbk_poll *poll, struct dbk_error *err) DBK_MUST_CHECK;

extern const struct dbk_poll_kind dbk_poll_sql_kind;

#endif
