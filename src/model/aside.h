/* SPDX-License-Identifier: Apache-2.0 */
/*
 * aside -- a generation's letters in memory, and how a batch that fails is searched for the event.
 *
 * The search halves: of a batch that failed, a part that is posted whole is done with, one that
 * fails is all that is left to look at, until it is one event. Where the database says at once
 * which event it is (SQLite), nothing is searched; where it says among which it is (MongoDB), what
 * is before them is posted, and they are searched.
 *
 * Threads: what changes or looks at the places is under `lock`; the search belongs to who posts.
 */
#ifndef DBK_MODEL_ASIDE_H
#define DBK_MODEL_ASIDE_H

#include <pthread.h>
#include <stdatomic.h>

#include "model/generation.h"
#include "model/letters.h"
#include "model/poster.h"

enum dbk_letter_state {
    DBK_LETTER_KEPT,    /* in the book */
    DBK_LETTER_PENDING, /* to be written with the target's next commit */
    DBK_LETTER_OWED,    /* in the target, to be told to the book */
    DBK_LETTER_DROPPED, /* it waits no more, and the model has yet to pass over it */
};

struct dbk_letter_place {
    uint64_t position;
    uint64_t version; /* in `$letters-<model>`; 0: not there */
    uint32_t tries;
    enum dbk_letter_state state;
    int64_t time_us; /* PENDING */
    char *reason;    /* PENDING, OWED */
};

struct dbk_letters {
    struct dbk_store *store;
    dbk_append_fn append; /* NULL: letters stay in the target */
    void *context;
    const char *model;
    uint64_t generation;
    bool keeps;     /* `on_error: set-aside`; else it only knows of what was set aside before */
    bool quiet;     /* the database's words are not kept */
    bool in_target; /* letters are written in the target's transaction first */
    pthread_mutex_t lock;
    struct dbk_letter_place *places; /* by position */
    size_t count;
    size_t capacity;
    uint64_t kept; /* since this process began */
    /* Counts places that become OWED; NULL: nobody asks. */
    _Atomic uint64_t *owed;
    /* The search. */
    uint64_t region; /* events that the one that fails is among; 0: none failed */
    uint64_t stop;   /* the next transaction ends before this position; 0: nowhere */
    uint64_t
        suspects; /* so many events behind `stop` are the region then; 0: it is no bound of one */
    bool misled;  /* the one suspect was none: the database is not asked before the next letter */
};

void dbk_letters_init(struct dbk_letters *letters, struct dbk_store *store, const char *model);
void dbk_letters_release(struct dbk_letters *letters);

/* ---- letters.c: the history in the book ---- */

/* What waits of a generation, and what was dropped behind its position. */
int dbk_letters_load(struct dbk_letters *letters, uint64_t generation, uint64_t position,
                     struct dbk_error *err) DBK_MUST_CHECK;
/* Letters that a generation's number had before count no more; nothing is written where there are
   none. Before the generation is made. */
int dbk_letters_begin(struct dbk_letters *letters, uint64_t generation,
                      struct dbk_error *err) DBK_MUST_CHECK;

/* What is to be said of an event that was set aside. */
struct dbk_letter_note {
    uint64_t position;
    uint32_t tries;
    char reason[DBK_LETTERS_REASON_SIZE];
};
/* The reason as it is kept: not in the database's words where they may tell what is personal. */
void dbk_letters_reason(const struct dbk_letters *letters, const struct dbk_event *event,
                        const char *where, const struct dbk_error *why,
                        char reason_out[DBK_LETTERS_REASON_SIZE]);
enum dbk_letter_word { DBK_LETTER_WORD_RETRIED, DBK_LETTER_WORD_DROPPED };
/* One append: letters that are kept, and positions that are done with. Places follow. */
int dbk_letters_store(struct dbk_letters *letters, const struct dbk_letter_note *kept,
                      size_t kept_count, enum dbk_letter_word word, const uint64_t *done,
                      size_t done_count, struct dbk_error *err) DBK_MUST_CHECK;

/* ---- aside.c ---- */

/* Under the lock, or before there are others. Where a position is or would be. */
size_t dbk_letters_place(const struct dbk_letters *letters, uint64_t position);
struct dbk_letter_place *dbk_letters_find(const struct dbk_letters *letters, uint64_t position);
int dbk_letters_put(struct dbk_letters *letters, const struct dbk_letter_place *place,
                    struct dbk_error *err) DBK_MUST_CHECK;
void dbk_letters_take(struct dbk_letters *letters, uint64_t position);

/* Takes the lock. True: the event at the position is passed over. */
bool dbk_letters_has(struct dbk_letters *letters, uint64_t position);
/* Takes the lock. True: there are places. */
bool dbk_letters_any(struct dbk_letters *letters);
/* Takes the lock. True: some place is OWED. */
bool dbk_letters_owes(struct dbk_letters *letters);
/* Takes the lock. Those that wait. */
uint64_t dbk_letters_waiting(struct dbk_letters *letters);
/* Takes the lock. Set aside since it was opened first. */
uint64_t dbk_letters_kept(struct dbk_letters *letters);

/* True for what is an event's own fault. */
bool dbk_letters_is_own(int rc);
/* The event at a position, valid until the cursor is freed; 0: it is not in the book any more. */
int dbk_letters_event(struct dbk_store *store, uint64_t position, struct dbk_cursor **cursor_out,
                      struct dbk_event *event_out, struct dbk_error *err) DBK_MUST_CHECK;
/*
 * Sets an event aside: in the book, or for the target's next commit. where: "file:line" of the
 * statement, or empty. DBK_ELIMIT: too many wait; as the append.
 */
int dbk_letters_keep(struct dbk_letters *letters, const struct dbk_event *event, const char *where,
                     const struct dbk_error *why, struct dbk_error *err) DBK_MUST_CHECK;

/* In the target's open transaction: writes what is pending. */
int dbk_letters_write(struct dbk_letters *letters, struct dbk_connection *connection,
                      struct dbk_error *err) DBK_MUST_CHECK;
/* The target has committed what was pending. */
void dbk_letters_committed(struct dbk_letters *letters);
/* What is pending from a position on was never set aside. */
void dbk_letters_undo(struct dbk_letters *letters, uint64_t position);

/* What the target has of a generation: rows that are owed become places, marks of retries are told
   to the book. When the generation is opened. */
int dbk_letters_settle(struct dbk_letters *letters, struct dbk_connection *connection,
                       struct dbk_error *err) DBK_MUST_CHECK;
/* Takes rows and marks of positions away. */
int dbk_letters_clear(struct dbk_letters *letters, struct dbk_connection *connection,
                      const uint64_t *positions, size_t count,
                      struct dbk_error *err) DBK_MUST_CHECK;
/* Takes rows of positions away that are no marks; of a model in a file. */
int dbk_letters_clear_owed(struct dbk_letters *letters, struct dbk_connection *connection,
                           const uint64_t *positions, size_t count,
                           struct dbk_error *err) DBK_MUST_CHECK;
/* Marks a letter as retried, in the target's open transaction. */
int dbk_letters_mark(struct dbk_letters *letters, struct dbk_connection *connection,
                     uint64_t position, struct dbk_error *err) DBK_MUST_CHECK;
/* 1: it is marked; 0: it is not. */
int dbk_letters_marked(struct dbk_letters *letters, struct dbk_connection *connection,
                       uint64_t position, struct dbk_error *err) DBK_MUST_CHECK;

#endif
