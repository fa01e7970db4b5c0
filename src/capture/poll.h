/* SPDX-License-Identifier: Apache-2.0 */
/*
 * poll -- tables that are asked for their changes, shared by this source's files.
 *
 * Each table has rounds, `every` apart. A round reads rows in pages, and then may look for rows of
 * the book that the table has not any more. What a round reads depends on the cursor's column:
 *
 *     XID     PostgreSQL's xid8: rows behind the last (xid, key) that was told, of transactions
 *             that have ended, and so have all before them
 *     STAMP   a time, or any column of SQLite that grows: rows from a bound on, before which
 *             nothing can come any more. PostgreSQL: when the oldest open transaction began,
 *             less the overlap; SQLite: the greatest value as of an overlap ago
 *     WHOLE   no column: all rows
 *
 * A row that is as the book has it makes no event, so rows may be read twice. Each row is a
 * transaction of its own: which rows were changed together nobody can tell.
 *
 * Threads: one at a time.
 */
#ifndef DBK_CAPTURE_POLL_H
#define DBK_CAPTURE_POLL_H

#include "capture/reader.h"

enum dbk_poll_mode { DBK_POLL_WHOLE, DBK_POLL_XID, DBK_POLL_STAMP };

enum dbk_poll_at {
    DBK_POLL_IDLE,  /* until the next round is due */
    DBK_POLL_PAGE,  /* rows are read */
    DBK_POLL_SWEEP, /* the book's rows are looked for */
};

struct dbk_poll_table {
    struct dbk_reader reader;
    bool captured; /* by this source */
    enum dbk_poll_mode mode;
    enum dbk_poll_at at;
    struct dbk_reader_place cursor; /* XID, STAMP: its value, the key; WHOLE: the key */
    struct dbk_reader_place from;   /* STAMP: rows from here on are read in this round */
    struct dbk_reader_place next;   /* and in the next */
    struct dbk_reader_place newest; /* SQLite: the greatest as of `newest_us` */
    int64_t newest_us;
    bool first;     /* no round has ended yet */
    int64_t due_us; /* when the next begins */
    int64_t sweep_us;
    uint64_t until;
    uint64_t swept;
    uint64_t rows; /* of the first round */
};

enum dbk_poll_told { DBK_POLL_NOTHING, DBK_POLL_BEGUN, DBK_POLL_CHANGED };

struct dbk_poll {
    struct dbk_source base; /* first: a source is cast to it */
    struct dbk_source_options options;
    struct dbk_connection *connection;
    bool postgres;
    struct dbk_json *json;
    struct dbk_arena arena;
    char incarnation[40];
    char identity[64];
    struct dbk_poll_table *tables;
    size_t table_count;
    uint64_t shape_number;
    uint64_t told; /* rows so far: what makes a row's place in the run its own */

    struct dbk_poll_table *table; /* of the page or sweep at hand; NULL: none is */
    struct dbk_statement *page;   /* NULL: it is a sweep */
    size_t page_rows;
    size_t page_limit;
    struct dbk_live_keys keys;
    bool *gone;
    size_t key;
    enum dbk_poll_told state;
    struct dbk_change change; /* the row's, between its BEGIN and END */
    char position[64];
    char transaction[24];
    struct dbk_arena row;
    struct dbk_arena sweep;
    bool progress; /* a page was told since something was stored */
    int64_t moved_us;
};

/* ---- poll_round.c ---- */

/* Looks at the table, and which mode it has. DBK_EINVAL: rows would be missed; the message says
   what to add. */
int dbk_poll_look(struct dbk_poll *poll, struct dbk_poll_table *table,
                  struct dbk_error *err) DBK_MUST_CHECK;
/* Begins a round, and reads its next page: poll->page is at its first row then. */
int dbk_poll_begin_round(struct dbk_poll *poll, struct dbk_poll_table *table,
                         struct dbk_error *err) DBK_MUST_CHECK;
int dbk_poll_open_page(struct dbk_poll *poll, struct dbk_error *err) DBK_MUST_CHECK;
/* The table's place becomes that of the row at hand. */
int dbk_poll_move(struct dbk_poll *poll, struct dbk_error *err) DBK_MUST_CHECK;

/* ---- poll_state.c ---- */

int dbk_poll_read_state(struct dbk_poll *poll, struct dbk_error *err) DBK_MUST_CHECK;
void dbk_poll_put_state(const struct dbk_poll *poll, struct dbk_buf *out);

extern const struct dbk_source_driver dbk_source_poll;

#endif
