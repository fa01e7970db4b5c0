/* SPDX-License-Identifier: Apache-2.0 */
/*
 * state -- an open store, shared by its sources.
 *
 * lock guards all that appends change. Whoever appends checks and frames its own batch under the
 * lock, into the filling group, and then waits; when nothing is being written, one of those who
 * wait takes the filling group, writes it without the lock and tells everyone in it.
 *
 *     accepted_position >= written_position        batches framed / readable
 *     writing: members wait for the write under way; filling: for the next one
 */
#ifndef DBK_STORE_STATE_H
#define DBK_STORE_STATE_H

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

#include "index/index.h"
#include "store/store.h"

#define DBK_HEADS 65536
#define DBK_RANDOM_SIZE 4096

struct dbk_head {
    struct dbk_hash128 key;
    uint64_t version;
    uint64_t position; /* of the stream's last event */
    uint64_t first;    /* the first version its rules keep; past `version`: it does not exist */
    bool closed;
};

/*
 * Someone who waits for a group's end, on a semaphore of its own, so that whoever is told need not
 * take the lock again. It is posted once for each time that `waits` was set.
 */
struct dbk_member {
    struct dbk_member *next;
    sem_t woken;
    bool waits;    /* under the lock */
    bool promoted; /* woken to lead, or to look again; else to be told the end */
    bool done;
    int rc; /* of the group, when done */
    bool synced;
    const struct dbk_batch *batch; /* participant's queue: what to accept */
    struct dbk_append_result *result;
    struct dbk_error *err;
    bool accepted; /* the batch is in the group; else only a verdict that rests on it */
    int verdict;
    struct dbk_error failure; /* of the group */
};

struct dbk_group_state {
    struct dbk_log_group *group; /* NULL: not begun */
    struct dbk_member *members;
    uint64_t first_position; /* of its batches; 0: none yet */
    bool sync;               /* some batch wants it durable */
};

/* Events of categories that begin so are not shown from a position on. */
#define DBK_HOLDS_MAX 64
struct dbk_hold {
    char prefix[256];
    size_t size;
    uint64_t position;
};

struct dbk_store {
    struct dbk_os *os;
    char *folder;
    bool writer;
    size_t event_size_max;
    size_t batch_count_max;
    struct dbk_file lock_file;
    struct dbk_log *log;
    struct dbk_index *index;
    pthread_mutex_t lock;
    pthread_cond_t moved; /* positions moved, a write ended, or dbk_store_wake */
    uint64_t wakes;
    uint64_t accepted_position;
    int64_t accepted_time_us;
    bool writing;
    struct dbk_group_state filling;
    struct dbk_group_state written; /* being written */
    const struct dbk_participant *participant;
    struct dbk_participant participant_copy;
    const struct dbk_lens *lens; /* NULL: none */
    struct dbk_member *queue;    /* with a participant: who waits to be accepted */
    struct dbk_member **queue_end;
    struct dbk_head *heads;
    _Atomic bool has_rules;       /* some stream has rules */
    _Atomic bool has_migration;   /* there are events in `$migration` */
    struct dbk_standing standing; /* under the lock: by the event at its position */
    _Atomic bool compacting;
    struct dbk_hold holds[DBK_HOLDS_MAX]; /* under the lock */
    size_t hold_count;
    _Atomic uint64_t held; /* the first position that some reader does not see; UINT64_MAX: none */
    uint8_t random[DBK_RANDOM_SIZE];
    size_t random_left;
    /* Of the batch being accepted, under the lock; kept, so that appends allocate nothing. */
    struct dbk_buf tags;          /* of one event, as stored */
    struct dbk_buf order;         /* those as slices, being sorted */
    struct dbk_buf known;         /* bool per event */
    struct dbk_buf framed;        /* struct dbk_event per event, for a participant */
    struct dbk_buf framed_tags;   /* theirs */
    pthread_mutex_t refresh_lock; /* a reading process looks at the log by one thread at a time */
};

/* A stream's version and the position of its last event, also of batches not yet written. Under
   the lock. DBK_EBUSY: its rules are being changed, which head_out->position waits for. */
int dbk_store_head(struct dbk_store *store, struct dbk_slice stream, struct dbk_head *head_out,
                   struct dbk_error *err) DBK_MUST_CHECK;
void dbk_store_put_head(struct dbk_store *store, struct dbk_slice stream,
                        const struct dbk_head *put);
void dbk_store_forget_heads(struct dbk_store *store);

/* A stream's version behind a readable position. */
int dbk_store_stream_version_at(struct dbk_store *store, struct dbk_slice stream, uint64_t position,
                                uint64_t *version_out, struct dbk_error *err) DBK_MUST_CHECK;

/* Reads the event of a readable position. DBK_ECORRUPT also when another stands there. */
int dbk_store_read_position(struct dbk_store *store, uint64_t position,
                            struct dbk_log_reader *reader, struct dbk_event *event_out,
                            struct dbk_error *err) DBK_MUST_CHECK;

/* Checks what needs no lock: sizes, names, ids twice. */
int dbk_batch_validate(const struct dbk_store *store, const struct dbk_batch *batch,
                       struct dbk_error *err) DBK_MUST_CHECK;

/*
 * Checks a batch against all accepted before it and frames it. Under the lock.
 *
 * rests_on_out  the position a refusal, or an "already stored", rests on; 0: none
 * DBK_ELIMIT    the filling group has no room: nothing was done
 */
int dbk_store_accept(struct dbk_store *store, const struct dbk_batch *batch,
                     struct dbk_append_result *result, uint64_t *rests_on_out, bool *again_out,
                     struct dbk_error *err) DBK_MUST_CHECK;

/*
 * Whether the book takes a batch now, as it stands in a migration. Under the lock. DBK_EDENIED;
 * again_out: what says so is not yet readable, which *rests_on waits for.
 */
int dbk_standing_check(struct dbk_store *store, const struct dbk_batch *batch, uint64_t *rests_on,
                       bool *again_out, struct dbk_error *err) DBK_MUST_CHECK;
/* An event of `$migration` was framed. Under the lock. */
void dbk_standing_note(struct dbk_store *store, const struct dbk_event *event);
/* Whether there are such events at all; found out at open and when a reader refreshes. */
int dbk_standing_look(struct dbk_store *store, struct dbk_error *err) DBK_MUST_CHECK;

/* The last position that every reader may see. */
uint64_t dbk_store_visible(const struct dbk_store *store);
/* The last position that a read with this filter sees. */
uint64_t dbk_store_end_of(struct dbk_store *store, const struct dbk_filter *filter);

/* A reading process: log and index up to what is noted now. */
int dbk_store_refresh(struct dbk_store *store, struct dbk_error *err) DBK_MUST_CHECK;

#endif
