/* SPDX-License-Identifier: Apache-2.0 */
/*
 * poll -- tables that are asked for their changes, and what a kind of database does for that.
 *
 * Each table has rounds, `every` apart. A round reads rows in pages, and then may look for rows of
 * the book that the table has not any more. Which rows a round reads is the kind's: PostgreSQL and
 * SQLite are asked by SQL (capture/poll_sql.h), others by their modules.
 *
 * A row that is as the book has it makes no event, so rows may be read twice. Each row is a
 * transaction of its own: which rows were changed together nobody can tell.
 *
 * Threads: one at a time.
 */
#ifndef DBK_CAPTURE_POLL_H
#define DBK_CAPTURE_POLL_H

#include "capture/source.h"
#include "json/json.h"

enum dbk_poll_at {
    DBK_POLL_IDLE,  /* until the next round is due */
    DBK_POLL_PAGE,  /* rows are read */
    DBK_POLL_SWEEP, /* the book's rows are looked for */
};

struct dbk_poll_table {
    const struct dbk_capture_table *definition;
    size_t index;     /* of the table in its service */
    size_t key_count; /* parts of a row's key: the kind's look says it */
    bool captured;    /* by this source */
    enum dbk_poll_at at;
    bool first;     /* no round has ended yet */
    int64_t due_us; /* when the next begins */
    int64_t sweep_us;
    uint64_t until;
    uint64_t swept;
    uint64_t rows; /* of the first round */
    void *own;     /* the kind's */
};

enum dbk_poll_told { DBK_POLL_NOTHING, DBK_POLL_BEGUN, DBK_POLL_CHANGED };

struct dbk_poll {
    struct dbk_source base; /* first: a source is cast to it */
    struct dbk_source_options options;
    const struct dbk_poll_kind *kind;
    void *own; /* the kind's */
    struct dbk_json *json;
    struct dbk_arena arena;
    char incarnation[40];
    char identity[64];
    struct dbk_poll_table *tables;
    size_t table_count;
    uint64_t told; /* rows so far: what makes a row's place in the run its own */

    struct dbk_poll_table *table; /* of the page or sweep at hand; NULL: none is */
    bool paging;                  /* a page is open */
    size_t page_rows;
    size_t page_limit;
    struct dbk_live_keys keys;
    bool *gone;
    size_t key;
    enum dbk_poll_told state;
    struct dbk_change change; /* the row's, between its BEGIN and END */
    int64_t time_us;          /* when it was changed; DBK_TIME_NONE: not known */
    char position[64];
    char transaction[24]; /* of the row; "": not known */
    struct dbk_arena row;
    struct dbk_arena sweep;
    bool progress; /* a page was told since something was stored */
    int64_t moved_us;
};

#define DBK_POLL_VERSION 2
/* Of a module: its struct dbk_poll_kind. */
#define DBK_POLL_SYMBOL "dbk_poll_kind"

/* How a kind of database is asked. A module of another version is refused. */
struct dbk_poll_kind {
    unsigned version;
    /* Connects; the tables are there. As dbk_source_driver.open. */
    int (*open)(struct dbk_poll *poll, struct dbk_error *err);
    /* Ends what open and the others made, also half of it. */
    void (*close)(struct dbk_poll *poll);
    /* Looks at the table, and whether it can be polled so. DBK_EINVAL: rows would be missed; the
       message says what to do. */
    int (*look)(struct dbk_poll *poll, struct dbk_poll_table *table, struct dbk_error *err);
    /* Finds out which rows a round reads. A table that is at DBK_POLL_PAGE goes on behind the last
       row that was told. */
    int (*begin_round)(struct dbk_poll *poll, struct dbk_poll_table *table, struct dbk_error *err);
    /* Asks for the next page of poll->table: up to poll->page_limit rows. */
    int (*open_page)(struct dbk_poll *poll, struct dbk_error *err);
    /* 1: a row, as poll->change (ROW, or DELETE where it says that it is deleted), time_us and
       transaction, all in poll->row; 0: none is left of the page. */
    int (*next_row)(struct dbk_poll *poll, struct dbk_error *err);
    void (*close_page)(struct dbk_poll *poll);
    /* The row at hand was told: the table goes on behind it. */
    int (*move)(struct dbk_poll *poll, struct dbk_error *err);
    /* Of keys that the book has, which no row has any more: `gone` gets true for each of them. */
    int (*find_gone)(struct dbk_poll *poll, struct dbk_poll_table *table,
                     const struct dbk_live_keys *keys, bool *gone, struct dbk_error *err);
    /* Appends members of the table's state, each behind a comma. */
    void (*put_state)(const struct dbk_poll_table *table, struct dbk_buf *out);
    /* 1: it goes on there; 0: it is of another cursor, and the table is read from its beginning.
       DBK_ECORRUPT; DBK_ENOMEM */
    int (*read_state)(struct dbk_poll *poll, struct dbk_poll_table *table,
                      const struct dbk_json_node *node);
};

/* "out of memory polling …" */
int dbk_poll_no_memory(const struct dbk_poll *poll, struct dbk_error *err);
int64_t dbk_poll_now_us(const struct dbk_poll *poll);

/* ---- poll_state.c ---- */

int dbk_poll_read_state(struct dbk_poll *poll, struct dbk_error *err) DBK_MUST_CHECK;
void dbk_poll_put_state(const struct dbk_poll *poll, struct dbk_buf *out);

extern const struct dbk_source_driver dbk_source_poll;

#endif
