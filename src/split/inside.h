/* SPDX-License-Identifier: Apache-2.0 */
/*
 * inside -- a split at work, shared by the files of this room.
 *
 * Threads: one at a time.
 */
#ifndef DBK_SPLIT_INSIDE_H
#define DBK_SPLIT_INSIDE_H

#include "service/ask.h"
#include "split/split.h"

/* What a switch may take of its second: the wait for the locks, and that for the other side. */
#define DBK_SPLIT_LOCK_MS 300
#define DBK_SPLIT_DRAIN_US 400000
/* How far behind a side may be to be switched to. */
#define DBK_SPLIT_NEAR_US 100000
/* How long it is tried again. */
#define DBK_SPLIT_PATIENCE_US (INT64_C(60) * 1000000)

struct dbk_split {
    struct dbk_split_options options;
    struct dbk_arena arena; /* of the state */
    struct dbk_arena work;  /* of one step */
    char *path;             /* of the state file */
    char *known;            /* what this command read there, or wrote; "": there was none */
    struct dbk_split_state state;
    /* The first holds locks and changes, the second does what must not wait for that. */
    struct dbk_connection *first[2];
    struct dbk_connection *second[2];
};

/* ---- state.c ---- */

/* Reads the state; there may be none. */
int dbk_split_load(struct dbk_split *split, struct dbk_error *err) DBK_MUST_CHECK;
/* DBK_EBUSY: another command wrote it since. Only behind the lock that keeps others out. */
int dbk_split_check_known(struct dbk_split *split, struct dbk_error *err) DBK_MUST_CHECK;
/* Writes the state, durably. */
int dbk_split_save(struct dbk_split *split, struct dbk_error *err) DBK_MUST_CHECK;
int dbk_split_step_to(struct dbk_split *split, enum dbk_split_step step,
                      struct dbk_error *err) DBK_MUST_CHECK;
/* Removes it. */
int dbk_split_forget(struct dbk_split *split, struct dbk_error *err) DBK_MUST_CHECK;

/* ---- split.c ---- */

/* Connects to both sides. */
int dbk_split_open_sides(struct dbk_split *split, struct dbk_error *err) DBK_MUST_CHECK;
/* The same, and keeps other commands out of what has this name. */
int dbk_split_connect(struct dbk_split *split, struct dbk_error *err) DBK_MUST_CHECK;
int64_t dbk_split_now_us(const struct dbk_split *split); /* monotonic */
void dbk_split_nap(unsigned ms);
int dbk_split_tell_progress(struct dbk_split *split, const char *what, uint64_t done,
                            uint64_t total) DBK_MUST_CHECK;
void dbk_split_warn(const struct dbk_split *split, const char *format, ...) DBK_PRINTF(2, 3);
/* Changes a table that others use: they never wait behind it for long. sql: NULL is no memory. */
int dbk_split_change(struct dbk_split *split, enum dbk_split_side side, const char *sql,
                     struct dbk_error *err) DBK_MUST_CHECK;
const char *dbk_split_side_text(enum dbk_split_side side);
/* The tables as a JSON array, and as a list with commas; NULL when out of memory. */
const char *dbk_split_tables_json(struct dbk_split *split);
const char *dbk_split_tables_list(struct dbk_split *split);

/* ---- schema.c ---- */

/* The tables, gates and the mark in the new database, once. */
int dbk_split_make(struct dbk_split *split, struct dbk_error *err) DBK_MUST_CHECK;
/* What old rows may not fit, and no new one: once they are copied. */
int dbk_split_make_late(struct dbk_split *split, struct dbk_error *err) DBK_MUST_CHECK;
int dbk_split_unmake(struct dbk_split *split, struct dbk_error *err) DBK_MUST_CHECK;
/* The mark of a side: the table through which is seen how far the other is. */
int dbk_split_make_mark(struct dbk_split *split, enum dbk_split_side side,
                        struct dbk_error *err) DBK_MUST_CHECK;
int dbk_split_drop_mark(struct dbk_split *split, enum dbk_split_side side,
                        struct dbk_error *err) DBK_MUST_CHECK;
/* Gates: closed, a side's tables are written by nobody but replication. */
int dbk_split_make_gates(struct dbk_split *split, enum dbk_split_side side,
                         struct dbk_error *err) DBK_MUST_CHECK;
int dbk_split_drop_gates(struct dbk_split *split, enum dbk_split_side side,
                         struct dbk_error *err) DBK_MUST_CHECK;
int dbk_split_gates_are_closed(struct dbk_split *split, enum dbk_split_side side, bool *closed_out,
                               struct dbk_error *err) DBK_MUST_CHECK;
/* For each of what the tables number by: its name, and what it has come to. */
int dbk_split_carry_sequences(struct dbk_split *split, enum dbk_split_side from,
                              struct dbk_error *err) DBK_MUST_CHECK;

/* ---- follow.c ---- */

/* The names of what lets `to` follow the other side. */
const char *dbk_split_way(struct dbk_split *split, enum dbk_split_side to);
/* A publication on the side that is followed (empty, or of all tables), and a slot. */
int dbk_split_publish(struct dbk_split *split, enum dbk_split_side to, bool tables,
                      struct dbk_error *err) DBK_MUST_CHECK;
int dbk_split_subscribe(struct dbk_split *split, enum dbk_split_side to, bool copy,
                        struct dbk_error *err) DBK_MUST_CHECK;
/* Whether it could be made: what reaches nobody is found while the side that serves still does.
   Needs the marks of both sides. */
int dbk_split_try_reach(struct dbk_split *split, enum dbk_split_side to,
                        struct dbk_error *err) DBK_MUST_CHECK;
/* Ends it, with its slot and publication. Nothing there is fine. */
int dbk_split_unfollow(struct dbk_split *split, enum dbk_split_side to,
                       struct dbk_error *err) DBK_MUST_CHECK;
/* Waits until all tables are copied. */
int dbk_split_await_copies(struct dbk_split *split, struct dbk_error *err) DBK_MUST_CHECK;
/* Commits a mark on the side that serves, and waits until the other has it. DBK_ETIMEOUT. */
int dbk_split_drain(struct dbk_split *split, enum dbk_split_side from, int64_t limit_us,
                    struct dbk_error *err) DBK_MUST_CHECK;
/* Drains again and again until one takes little time. */
int dbk_split_come_near(struct dbk_split *split, enum dbk_split_side from,
                        struct dbk_error *err) DBK_MUST_CHECK;
/*
 * Begins a transaction on a side's first connection that keeps writers out, once the other side has
 * all they did. started_us_out: when they began to wait.
 */
int dbk_split_hold(struct dbk_split *split, enum dbk_split_side from, int64_t *started_us_out,
                   struct dbk_error *err) DBK_MUST_CHECK;

/* ---- verify.c ---- */

int dbk_split_verify(struct dbk_split *split, enum dbk_split_side from,
                     struct dbk_error *err) DBK_MUST_CHECK;

#endif
