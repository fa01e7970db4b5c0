/* SPDX-License-Identifier: Apache-2.0 */
/*
 * group -- consumer groups: competing consumers of one subscription.
 *
 * A group is a filter over the book and how far its consumers have got. Each event that passes is
 * leased to one consumer at a time, who acknowledges it, or gives it back to be tried again (also
 * by not answering in time), parked or skipped. What was tried too often is parked: put aside until
 * someone replays or drops it. So every event is delivered at least once, and none is lost.
 *
 * With order by stream an event is leased only when all earlier ones of its stream are done, and
 * what follows a parked event of its stream is parked behind it, until both are replayed in order.
 *
 * What a group has done is kept in the book: `$groups` lists them; the newest event of
 * `$group-<name>` has its settings, the position up to which everything was looked at, and what of
 * it is open; `$parked-<name>` is the history of the parked ones. It is saved once a second, after
 * 1,000 acknowledgements, with every parking, and at the end; a crash delivers again what was
 * acknowledged since. Leases live in this process only.
 *
 * At most `window` events are open at a time: when the oldest ones are not acknowledged, a group
 * reads no further. Nothing is bound to how far behind it is.
 *
 * Threads: all functions from any thread; reads and acknowledgements of one group wait for each
 *          other.
 * Source:  DESIGN section 3; what KurrentDB calls persistent subscriptions, and Axon a sequenced
 *          dead letter queue.
 */
#ifndef DBK_GROUP_GROUP_H
#define DBK_GROUP_GROUP_H

#include "store/store.h"

#define DBK_GROUP_NAME_MAX 64
/* Events of one call. */
#define DBK_GROUP_BATCH_MAX 1000
#define DBK_GROUP_WINDOW_MAX 10000
#define DBK_GROUP_PARKED_MAX 10000
#define DBK_GROUP_REASON_MAX 200

struct dbk_groups;

/*
 * store   kept until free
 * append  the engine's pipeline
 * writer  this process holds the book; else groups can only be listed and shown
 */
int dbk_groups_open(struct dbk_store *store, struct dbk_os *os, bool writer, dbk_append_fn append,
                    void *context, struct dbk_groups **groups_out,
                    struct dbk_error *err) DBK_MUST_CHECK;
/* Saves what is not yet. NULL is fine. */
void dbk_groups_free(struct dbk_groups *groups);

/*
 * Makes a group, or changes its settings; a JSON object, all of its members optional:
 *
 *     categories, types  lists of names; stream_prefix; query: [{"types":[…],"tags":[…]},…]
 *     after              a position, or "now": where it begins (0); of a group that is there, goes
 *                        there, and forgets what is open
 *     order              "none" (as it is), or "stream"
 *     timeout            how long a consumer has for an event ("30 s")
 *     max_retries        how often it is tried again before it is parked (10)
 *     retry_delay        how long it waits before that ("1 s")
 *     window             events open at a time (1000)
 *
 * DBK_EINVAL  the name or a setting makes no sense
 * and all of the append
 */
int dbk_group_set(struct dbk_groups *groups, struct dbk_slice name,
                  const struct dbk_json_node *settings, bool *created_out,
                  struct dbk_error *err) DBK_MUST_CHECK;
/* Forgets a group; its parked events are forgotten with it. DBK_ENOTFOUND */
int dbk_group_remove(struct dbk_groups *groups, struct dbk_slice name,
                     struct dbk_error *err) DBK_MUST_CHECK;

struct dbk_group_status {
    struct dbk_slice settings; /* JSON object; valid for the call that gives it */
    uint64_t position;         /* everything up to it was looked at */
    uint64_t ready;            /* open, and may be leased */
    uint64_t leased;
    uint64_t waiting; /* for its next try */
    uint64_t parked;
    uint64_t oldest; /* the first open position; 0: none is */
    uint64_t consumers;
    uint64_t delivered; /* since this process began; so are the others */
    uint64_t acked;
    uint64_t retried;
    const char *trouble; /* why parking or saving failed; empty: it did not */
};
typedef int (*dbk_group_status_fn)(struct dbk_slice name, const struct dbk_group_status *status,
                                   void *context);
/* Calls each with every group, in the order of their making, or with one. DBK_ENOTFOUND; what each
   answers, when negative. */
int dbk_group_list(struct dbk_groups *groups, dbk_group_status_fn each, void *context,
                   struct dbk_error *err) DBK_MUST_CHECK;
int dbk_group_show(struct dbk_groups *groups, struct dbk_slice name, dbk_group_status_fn each,
                   void *context, struct dbk_error *err) DBK_MUST_CHECK;

/* A consumer whose leases end when it leaves; 0 is one that nobody watches. */
int dbk_group_join(struct dbk_groups *groups, struct dbk_slice name, uint32_t *consumer_out,
                   struct dbk_error *err) DBK_MUST_CHECK;
void dbk_group_leave(struct dbk_groups *groups, struct dbk_slice name, uint32_t consumer);

/* attempt counts from 1. Event valid for the call. Negative: it was not taken, and ends the read.
   It must not call this room. */
typedef int (*dbk_group_each_fn)(const struct dbk_event *event, uint32_t attempt, void *context);
struct dbk_group_read {
    struct dbk_slice name;
    uint32_t consumer;
    size_t limit;       /* leases at most so many now (at most DBK_GROUP_BATCH_MAX) */
    size_t unacked_max; /* and has at most so many; 0: any. Only of a consumer that joined. */
    int64_t timeout_us; /* waits so long for the first */
    dbk_group_each_fn each;
    void *context;
};
/* Leases what is due, oldest first. DBK_ENOTFOUND; as dbk_cursor_next; or what each answers. */
int dbk_group_read(struct dbk_groups *groups, const struct dbk_group_read *read, size_t *count_out,
                   struct dbk_error *err) DBK_MUST_CHECK;

enum dbk_group_action {
    DBK_GROUP_ACK,
    DBK_GROUP_RETRY,
    DBK_GROUP_PARK,
    DBK_GROUP_SKIP, /* done, without success */
};
struct dbk_group_answer {
    struct dbk_slice name;
    enum dbk_group_action action;
    const uint64_t *positions;
    size_t count;
    struct dbk_slice reason; /* kept with what is parked; cut at DBK_GROUP_REASON_MAX */
    int64_t delay_us;        /* RETRY: before the next try; negative: the group's */
};
/*
 * What became of events. Positions that are not open (acknowledged before, or never the group's)
 * are left alone and not counted, so that an answer may be repeated. DBK_ENOTFOUND: no such group;
 * DBK_ELIMIT: too many at once, or too many are parked; as the append.
 */
int dbk_group_answer(struct dbk_groups *groups, const struct dbk_group_answer *answer,
                     size_t *count_out, struct dbk_error *err) DBK_MUST_CHECK;

struct dbk_group_parked {
    uint64_t position;
    struct dbk_slice stream;
    struct dbk_slice type;
    uint64_t version;
    uint64_t attempts;
    int64_t time_us; /* when it was parked */
    struct dbk_slice reason;
};
typedef int (*dbk_group_parked_fn)(const struct dbk_group_parked *parked, void *context);
/* The parked ones, in the order of their positions. */
int dbk_group_list_parked(struct dbk_groups *groups, struct dbk_slice name,
                          dbk_group_parked_fn each, void *context,
                          struct dbk_error *err) DBK_MUST_CHECK;
/*
 * Gives parked events to consumers again, or drops them for good; count 0: all. With order by
 * stream a stream's are replayed oldest first: DBK_ECONFLICT names the one that must come before.
 * DBK_ENOTFOUND: a position is not parked.
 */
int dbk_group_unpark(struct dbk_groups *groups, struct dbk_slice name, bool replay,
                     const uint64_t *positions, size_t count, size_t *count_out,
                     struct dbk_error *err) DBK_MUST_CHECK;

/*
 * Drops what is parked of events that are forgotten, and why it failed: also out of what groups
 * keep of the past, which the next compaction takes from the log. May be repeated.
 *
 * DBK_EDENIED  this process only reads; as the append; or what is_meant answered
 */
struct dbk_group_purge {
    /* 1: the event at a position is forgotten; 0: it is not; negative: a code. */
    int (*is_meant)(void *context, uint64_t position, struct dbk_error *err);
    void *context;
};
struct dbk_group_purged {
    uint64_t groups; /* whose history was written anew */
    uint64_t parked; /* events that were parked then */
};
int dbk_groups_purge(struct dbk_groups *groups, const struct dbk_group_purge *purge,
                     struct dbk_group_purged *purged_out, struct dbk_error *err) DBK_MUST_CHECK;

/* ---- Another book ---- */

/* Saves now what is not yet. */
void dbk_groups_save(struct dbk_groups *groups);

/* Where what a position held is in a book that the events were copied into. */
struct dbk_group_place {
    uint64_t up_to; /* what all up to the position became is at or before it */
    uint64_t first; /* the first event that the one at the position became */
    uint64_t count; /* 0: it became none */
};
struct dbk_group_carrying {
    void *context;
    int (*place)(void *context, uint64_t position, struct dbk_group_place *place_out,
                 struct dbk_error *err);
    /* Writes a group's settings as they have to be there. */
    int (*settings)(void *context, struct dbk_slice text, struct dbk_buf *out,
                    struct dbk_error *err);
    /* The event at a position there, valid until the next call. */
    int (*event)(void *context, uint64_t position, const struct dbk_event **event_out,
                 struct dbk_error *err);
    /* Takes an event of the book's own to be stored there; its slices are valid for the call. */
    int (*add)(void *context, const struct dbk_new_event *event, struct dbk_error *err);
};
/*
 * Writes all groups for another book: their settings, how far each is, what is open and what is
 * parked. Nothing of this book is changed.
 */
int dbk_groups_carry(struct dbk_groups *groups, const struct dbk_group_carrying *to,
                     uint64_t *count_out, struct dbk_error *err) DBK_MUST_CHECK;

#endif
