/* SPDX-License-Identifier: Apache-2.0 */
/*
 * split -- a service's tables leave a shared PostgreSQL for a database of their own.
 *
 * One side serves: its tables are written, and the other side's are refused by a trigger (the
 * gate). The other follows by PostgreSQL's own logical replication, first from a snapshot:
 *
 *     (none) --start--> starting --copied, verified--> ready <---------------+
 *                          |                             | --switch          | --back
 *                       --abort                          v                   |
 *                          v                          switching -> turning -> moved -> confirming
 *                       aborting                       (pause)     (following      --confirm
 *                                                                   turns round)
 *
 * Between `ready` and `moved` only who serves and who follows change places, so that going there
 * and coming back are one function. Each step is written into the state file before it is begun,
 * and what it does is done once however often it is tried: a command that was killed goes on when
 * it is given again.
 *
 * Functions answer DBK_OK or a negative code with err filled:
 *
 * DBK_EREFUSED  it cannot be done so: the message says why, and what to do
 * DBK_EDENIED   a database's user may not do it
 * DBK_ECONNECT  a database cannot be reached
 * DBK_EBUSY     another command is at it, or a lock was not to be had
 *
 * Threads: one at a time.
 * Source:  docs/design/split.md; PostgreSQL's manual, "Logical Replication".
 */
#ifndef DBK_SPLIT_SPLIT_H
#define DBK_SPLIT_SPLIT_H

#include "os/os.h"
#include "target/target.h"

enum dbk_split_side { DBK_SPLIT_OLD, DBK_SPLIT_NEW };

enum dbk_split_step {
    DBK_SPLIT_NONE,
    DBK_SPLIT_STARTING,
    DBK_SPLIT_READY,
    DBK_SPLIT_SWITCHING, /* `target` is to serve */
    DBK_SPLIT_TURNING,   /* it does, and what follows is turned round */
    DBK_SPLIT_MOVED,
    DBK_SPLIT_CONFIRMING,
    DBK_SPLIT_ABORTING,
};
const char *dbk_split_step_text(enum dbk_split_step step);

/* A foreign key that is cut, and what makes it again. */
struct dbk_split_key {
    const char *table; /* as SQL */
    const char *name;  /* as SQL */
    const char *text;  /* "FOREIGN KEY (…) REFERENCES …" */
};

struct dbk_split_place {
    const char *database; /* of book.yaml; "": it is not in there */
    const char *address;
    const char *reach; /* the address by which the other server reaches it */
};

/* What the state file holds. Strings are in an arena. */
struct dbk_split_state {
    enum dbk_split_step step;
    enum dbk_split_side target; /* who is to serve, or does */
    const char *service;
    const char *name; /* of what is made in the databases: "daybook_split_<hash>" */
    const char *home; /* as SQL: the schema with what is made */
    struct dbk_split_place places[2];
    const char **tables; /* as SQL, with their schemas */
    size_t table_count;
    struct dbk_split_key *keys;
    size_t key_count;
    int64_t rows;        /* that were found equal, by the last verification */
    int64_t verified_us; /* when; 0: never */
    int64_t verify_pause_us;
    int64_t pause_us; /* of the last switch; 0: none yet */
};

/* Reads a state from its JSON. DBK_ECORRUPT: it is none. */
int dbk_split_state_decode(struct dbk_slice text, struct dbk_arena *arena,
                           struct dbk_split_state *state_out, struct dbk_error *err) DBK_MUST_CHECK;
void dbk_split_state_encode(const struct dbk_split_state *state, struct dbk_buf *out);

/* How far long work is: what is done, in rows. Negative ends it. */
typedef int (*dbk_split_progress_fn)(void *context, const char *what, uint64_t done,
                                     uint64_t total);

/* What went wrong and does not hinder: one line. */
typedef void (*dbk_split_warn_fn)(void *context, const char *text);

struct dbk_split_options {
    struct dbk_os *os;
    const char *folder; /* with the state files; made when missing */
    const char *book;
    const char *service;
    const char *role;
    dbk_split_progress_fn progress; /* NULL: nobody asks */
    dbk_split_warn_fn warn;         /* NULL: nobody listens */
    void *context;
};

struct dbk_split;

/* Reads the state; connects to nothing. */
int dbk_split_open(const struct dbk_split_options *options, struct dbk_split **split_out,
                   struct dbk_error *err) DBK_MUST_CHECK;
void dbk_split_free(struct dbk_split *split);
const struct dbk_split_state *dbk_split_state(const struct dbk_split *split);

/* One line of what will become of something. */
struct dbk_split_finding {
    const char *kind;    /* moves, cut, stays, captured, server; `refused`: it cannot be done */
    const char *thing;   /* "public.orders" */
    const char *becomes; /* what becomes of it, or what to do */
};
struct dbk_split_plan {
    struct dbk_arena *arena;
    struct dbk_split_finding *items;
    size_t count;
    size_t capacity;
    size_t refused;
};

/*
 * Looks at both databases and says what a start would do; changes nothing. places, and tables
 * as the service's file has them, become those of the state.
 */
int dbk_split_look(struct dbk_split *split, const struct dbk_split_place places[2],
                   const char *const *tables, size_t table_count, struct dbk_split_plan *plan,
                   struct dbk_error *err) DBK_MUST_CHECK;
int dbk_split_finding_add(struct dbk_split_plan *plan, const char *kind, const char *thing,
                          const char *becomes, struct dbk_error *err) DBK_MUST_CHECK;

/* Makes, copies and verifies, or goes on with it. Of what is ready or moved: verifies again. */
int dbk_split_start(struct dbk_split *split, struct dbk_error *err) DBK_MUST_CHECK;
/* Lets a side serve, and the other follow; goes on with it where it was begun. One that serves
   already goes on serving. */
int dbk_split_turn(struct dbk_split *split, enum dbk_split_side target,
                   struct dbk_error *err) DBK_MUST_CHECK;
/* The new side serves for good: the old tables are dropped, and all that was made for it. */
int dbk_split_confirm(struct dbk_split *split, struct dbk_error *err) DBK_MUST_CHECK;
/* The old side serves as before, and nothing is left of it. */
int dbk_split_abort(struct dbk_split *split, struct dbk_error *err) DBK_MUST_CHECK;

/* Of what lets a side follow: a server keeps its log for it. */
struct dbk_split_slot {
    const char *name;
    enum dbk_split_side from; /* whose server has it; the other side follows */
    bool active;
    const char *wal_status; /* as the server says: reserved, extended, unreserved, lost */
    int64_t behind_size;    /* bytes of log that are not confirmed */
    int64_t kept_size;      /* that the server keeps for it */
};
struct dbk_split_slots {
    struct dbk_split_slot items[2];
    size_t count;
};
/*
 * Those that are there, at whatever step it is; of a database that cannot be reached it is warned.
 * fault_out: code is DBK_EREFUSED where one is lost, or soon will be, or is missing.
 */
int dbk_split_look_at_slots(struct dbk_split *split, struct dbk_split_slots *slots_out,
                            struct dbk_error *fault_out, struct dbk_error *err) DBK_MUST_CHECK;

#endif
