/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store -- the event store: append with conditions, reads, filters, tails.
 *
 * One interface; `embedded` is the engine behind it so far: the log and the index of a data
 * directory, which one writer process holds by a lock that names it. Reading processes work beside
 * it and see what has been synced.
 *
 * Append: callers wait in line; whoever finds no group being synced takes all that wait, checks
 * each in order, frames them, writes and syncs once, and wakes the rest (group commit on demand).
 * While one group syncs the next is checked and framed. A refusal, or an "already stored", that
 * rests on a batch not yet synced is answered only after that sync, and fails with it.
 *
 * Threads: all functions from any thread; a cursor belongs to one thread at a time.
 * Source:  DESIGN sections 3, 6 and 9.
 */
#ifndef DBK_STORE_STORE_H
#define DBK_STORE_STORE_H

#include "json/json.h"
#include "log/record.h"
#include "os/os.h"

struct dbk_store;

struct dbk_store_options {
    struct dbk_os *os;
    const char *folder;     /* the data directory; created when missing, by a writer; borrowed */
    bool writer;            /* false: read beside whoever writes */
    const char *holder;     /* a writer's name in the lock file ("daybook serve"); borrowed */
    size_t event_size_max;  /* of data and meta together, bytes; 0: 1 MiB */
    size_t batch_count_max; /* events of one batch; 0: 10,000 */
    uint64_t segment_size;  /* 0: the log's default; tests make it small */
    uint32_t chunk_events;  /* 0: the index's default; so do they */
    /* Told how far an open is that has to make the index; negative ends it. NULL: not told. */
    int (*step)(void *context, uint64_t done, uint64_t total);
    void *context;
};

/*
 * DBK_EBUSY     another process writes; the message names it, its process id and since when
 * DBK_ECORRUPT, DBK_EFORMAT, DBK_ENOTFOUND, DBK_EIO, DBK_EFULL, DBK_EDENIED, DBK_ENOMEM as the log
 */
int dbk_store_open(const struct dbk_store_options *options, struct dbk_store **store_out,
                   struct dbk_error *err) DBK_MUST_CHECK;
/* Waits for appends under way; cursors must be freed before. NULL is fine. */
void dbk_store_free(struct dbk_store *store);

const struct dbk_uuid *dbk_store_book_id(const struct dbk_store *store);
/* The log behind it, for who reads all of it by places, as it is stored. */
struct dbk_log;
struct dbk_log *dbk_store_log(struct dbk_store *store);

/* ---- Appending ---- */

/* Expected versions beside plain numbers (0 is DBK_EXPECT_NONE: "no stream"). */
#define DBK_EXPECT_ANY INT64_C(-1)
#define DBK_EXPECT_EXISTS INT64_C(-2)
#define DBK_EXPECT_NONE INT64_C(0)

struct dbk_new_event {
    struct dbk_slice stream;
    struct dbk_slice type;
    struct dbk_slice data;
    struct dbk_slice meta; /* JSON object or empty */
    const struct dbk_slice *tags;
    size_t tag_count;
    struct dbk_uuid id;  /* none: the store makes one (version 7) */
    int64_t occurred_us; /* DBK_TIME_NONE: none */
    int64_t time_us;     /* with DBK_APPEND_MIGRATED: when it was recorded */
    uint32_t flags;      /* DBK_RECORD_JSON or 0 */
    uint16_t schema_version;
    struct dbk_slice sealed; /* personal fields, as log/record.h encodes them; empty: none */
    bool same_by_id;         /* whatever is stored under its id is this event */
};

struct dbk_expectation {
    struct dbk_slice stream;
    int64_t version; /* a number, or DBK_EXPECT_… */
};

/*
 * A query: events that match any of its items; an item is matched by an event that has one of its
 * types (none: any) and all of its tags. An item with neither is matched by every event. Removed
 * events and the book's own match none.
 */
struct dbk_query_item {
    const struct dbk_slice *types;
    size_t type_count;
    const struct dbk_slice *tags;
    size_t tag_count;
};
struct dbk_query {
    const struct dbk_query_item *items;
    size_t count;
};
/* So many names a query may have. */
#define DBK_QUERY_NAMES_MAX 1024

/*
 * A query as JSON: [{"types":["A","B"],"tags":["x"]},…]; its texts are the nodes'. DBK_EINVAL names
 * the item; DBK_ELIMIT, DBK_ENOMEM.
 */
int dbk_query_read(struct dbk_arena *arena, const struct dbk_json_node *list,
                   struct dbk_query *query_out, struct dbk_error *err) DBK_MUST_CHECK;
/* The same for a list of names; what it is stands in the message. */
int dbk_names_read(struct dbk_arena *arena, const struct dbk_json_node *list, const char *what,
                   const struct dbk_slice **names_out, size_t *count_out,
                   struct dbk_error *err) DBK_MUST_CHECK;

/*
 * A dynamic consistency boundary: nothing behind a position may match. The cost is that of looking
 * up the query's names in what came after; with `after` 0 that of finding the newest match in the
 * whole book: one look-up a run of the index for a single name, more where names must meet.
 */
struct dbk_condition {
    struct dbk_query none; /* an empty one: no condition */
    uint64_t after;        /* what the caller was aware of; may be past the last position */
};

enum dbk_append_flags {
    DBK_APPEND_SKIP_KNOWN =
        1 << 0,                  /* events whose id is stored with the same content are left out */
    DBK_APPEND_NO_SYNC = 1 << 1, /* durable only with a later sync; the answer says so */
    DBK_APPEND_OWN = 1 << 2,     /* streams that begin with '$' are allowed: the book's own */
    /* Copied by a migration, which keeps the events' times: only into a book that is empty or being
       filled (see dbk_standing). Streams that begin with '$' are allowed. */
    DBK_APPEND_MIGRATED = 1 << 3,
};

struct dbk_batch {
    const struct dbk_new_event *events;
    size_t count;
    const struct dbk_expectation *expectations; /* checked before the batch, all must hold */
    size_t expectation_count;
    struct dbk_condition condition; /* checked with them */
    unsigned flags;
};

/* Events that were stored although they do not fit their schema. */
struct dbk_append_warnings {
    size_t count;
    char first[DBK_ERROR_MESSAGE_SIZE]; /* names the event and the place; "" when there is none */
};

struct dbk_append_result {
    uint64_t first_position; /* of the batch; of the stored one when `known`; 0: nothing stored */
    uint64_t last_position;
    uint64_t last_version; /* of the batch's last event in its stream */
    size_t appended;       /* events stored now */
    size_t skipped;        /* known ones left out (skip-known), or all when `known` */
    bool known;            /* all ids were stored before with the same content */
    bool synced;           /* durable */
    /* On DBK_ECONFLICT for a stream: which expectation failed, and the version it met. The index is
       expectation_count when none did. */
    size_t failed_expectation;
    uint64_t actual_version;
    uint64_t matched_position; /* on DBK_ECONFLICT for the condition: the newest that matched */
    struct dbk_append_warnings warnings; /* of whoever checks events before the store */
};

/*
 * Appends a batch: all of it, or nothing. Blocks until it is durable (or refused). result_out is
 * also filled on DBK_ECONFLICT.
 *
 * DBK_EINVAL    no events; a name empty, too long, not UTF-8 or with a control character; a
 *               category starting with '$' is the book's own; meta is no JSON object
 * DBK_ELIMIT    the batch or an event is too large; the message names it
 * DBK_ECONFLICT an expectation or the condition does not hold; an id is stored with other content;
 *               a batch mixes known and new ids without skip-known; an id twice in one batch
 * DBK_EREFUSED  a participant refused it
 * DBK_EDENIED   a stream was closed for good; the book has moved, or is being filled; a migration
 *               into a book that has events of its own
 * DBK_EFULL     no space; works again when there is some
 * DBK_EUNKNOWN  the sync failed; DBK_ESTOPPED: one had failed before
 */
int dbk_store_append(struct dbk_store *store, const struct dbk_batch *batch,
                     struct dbk_append_result *result_out, struct dbk_error *err) DBK_MUST_CHECK;

/* How others than the store's own caller get events stored: with checks of their own before it. */
typedef int (*dbk_append_fn)(void *context, const struct dbk_batch *batch,
                             struct dbk_append_result *result_out, struct dbk_error *err);

/*
 * A participant shares the commit (read models with `sync: transaction`). While there is one,
 * groups do not overlap: apply for each batch of the group, then the log's sync, then commit.
 * All calls come from whichever thread leads the group, one at a time.
 */
struct dbk_participant {
    void *context;
    /* Posts a batch's events, as they will be stored. DBK_EREFUSED etc.: the batch is refused,
       with its err, and must have left no trace. */
    int (*apply)(void *context, const struct dbk_event *events, size_t count,
                 struct dbk_error *err);
    /* The group up to this position is durable (stored true) or failed (false: roll back all that
       was applied since the last commit). */
    void (*commit)(void *context, bool stored, uint64_t last_position);
};
/* Kept until the store is freed or another call replaces it; NULL: none. Waits for the group under
   way. */
void dbk_store_set_participant(struct dbk_store *store, const struct dbk_participant *participant);

/*
 * What stands between the log and its readers: personal fields are opened, old schema versions
 * become the newest. Every cursor applies it, and participants do, so that all readers see the
 * same. Each reader has a state of its own, NULL at first, which the lens makes when it needs one.
 * What it puts into an event is valid until its next call with that state.
 *
 * Threads: called from any thread, with one state from one thread at a time.
 */
struct dbk_history;
struct dbk_lens {
    void *context;
    /* 1: the event, perhaps with other data, its sealed section as it was; 0: it is left out;
       negative: a code. */
    int (*open)(void *context, void **state, struct dbk_event *event, struct dbk_error *err);
    /* The event's data becomes that of its type's newest version. As open. */
    int (*upcast)(void *context, void **state, struct dbk_event *event, struct dbk_error *err);
    void (*end)(void *context, void *state);
    /* Fills what the lens itself knows of; NULL: it never reads an event otherwise than before. */
    void (*history)(void *context, struct dbk_history *history_out);
    /* A member, at the top, of the data that upcast would make: 1, or 0 when there is none. The
       event may become that of the newest version by it. */
    int (*member)(void *context, void **state, struct dbk_event *event, struct dbk_slice name,
                  struct dbk_slice *value_out, struct dbk_error *err);
};
/* Before the first cursor; kept until the store is freed, not copied. NULL: none. */
void dbk_store_set_lens(struct dbk_store *store, const struct dbk_lens *lens);
/* For events that come from no cursor. state begins as NULL and ends with dbk_store_end_lens. */
int dbk_store_open_event(struct dbk_store *store, void **state, struct dbk_event *event,
                         struct dbk_error *err) DBK_MUST_CHECK;
int dbk_store_upcast_event(struct dbk_store *store, void **state, struct dbk_event *event,
                           struct dbk_error *err) DBK_MUST_CHECK;
void dbk_store_end_lens(struct dbk_store *store, void **state);

/*
 * What changes when events that were read already would be read otherwise now. All of it is as
 * durable as the log and the keys are. Who keeps something made of events takes it before reading
 * them: as long as it is the same later, what was made of them is still what they say.
 */
struct dbk_history {
    uint64_t removed;   /* events that have lost their content to compaction, ever */
    uint64_t forgotten; /* subjects that were erased or left out */
    uint8_t
        upcasts[DBK_SHA256_SIZE]; /* how events of older versions are read; zeros: as they are */
};
void dbk_store_history(struct dbk_store *store, struct dbk_history *history_out);

/*
 * An event of which its reader may want no more than some members, or nothing: what the lens does
 * to its data is done when it is asked for. All zero at first; ends with dbk_lazy_end.
 */
struct dbk_lazy {
    struct dbk_store *store; /* NULL: the data is as it is to be */
    void *lens;
    struct dbk_event event;   /* as it was opened, set by the reader for each */
    struct dbk_error failure; /* the first that it met with this event; set to zero by the reader */
};
/* The data of the newest version, valid as long as the event. A code, which `failure` keeps. */
int dbk_lazy_data(struct dbk_lazy *lazy, struct dbk_slice *data_out) DBK_MUST_CHECK;
/*
 * The text of a member's value at the top of that data, valid until the next call: 1, or 0 when
 * there is none, or the data is no JSON object.
 *
 * DBK_EINVAL  a name past DBK_JSON_FIND_KEY_MAX
 */
int dbk_lazy_member(struct dbk_lazy *lazy, struct dbk_slice name,
                    struct dbk_slice *value_out) DBK_MUST_CHECK;
void dbk_lazy_end(struct dbk_lazy *lazy);

/* ---- Heads ---- */

/* Last synced position, before what is held back, and the last synced time; 0 when the book is
   empty. */
uint64_t dbk_store_last_position(struct dbk_store *store);
int64_t dbk_store_last_time_us(struct dbk_store *store);

/* A stream's version, 0 when it does not exist. */
int dbk_store_stream_version(struct dbk_store *store, struct dbk_slice stream,
                             uint64_t *version_out, struct dbk_error *err) DBK_MUST_CHECK;

/*
 * What a stream keeps. Events outside of it are left out of reads of the stream (not of the book)
 * at once, and lose their content with the next dbk_store_compact; positions and versions stay.
 */
struct dbk_stream_rules {
    int64_t max_age_us;       /* by recorded time; 0: any */
    uint64_t max_count;       /* the newest so many; 0: all */
    uint64_t truncate_before; /* events from this version on; 0: all */
    bool closed;              /* for good: nothing is kept, nothing can be appended */
    uint64_t version;         /* how often they were changed; set by reading */
};

struct dbk_stream_info {
    uint64_t version;    /* of the last event ever; 0: there was none */
    uint64_t first;      /* the first version that is shown; past `version`: none is */
    int64_t time_min_us; /* and only events recorded then or later; 0: any */
    bool exists;         /* for an expectation: some version is shown */
    struct dbk_stream_rules rules;
};
int dbk_store_stream_info(struct dbk_store *store, struct dbk_slice stream,
                          struct dbk_stream_info *info_out, struct dbk_error *err) DBK_MUST_CHECK;
/* The same as it was behind a position (past the last: the last), by the rules of then and with age
   counted up to a time: it changes no more. */
int dbk_store_stream_info_at(struct dbk_store *store, struct dbk_slice stream, uint64_t position,
                             int64_t time_us, struct dbk_stream_info *info_out,
                             struct dbk_error *err) DBK_MUST_CHECK;
/* The same with events that come behind the last: within a participant's apply what the group has
   so far. */
struct dbk_store_ahead {
    const struct dbk_event *events; /* of the stream, in order */
    size_t count;
    const struct dbk_event *rules; /* of the one that holds its rules, likewise */
    size_t rule_count;
};
struct dbk_store_moment {
    uint64_t position;
    int64_t time_us;
    const struct dbk_store_ahead *ahead; /* NULL: there are none */
};
int dbk_store_stream_info_ahead(struct dbk_store *store, struct dbk_slice stream,
                                const struct dbk_store_moment *moment,
                                struct dbk_stream_info *info_out,
                                struct dbk_error *err) DBK_MUST_CHECK;
/*
 * Sets a stream's rules; truncate_before never goes back, and `closed` and `version` are not looked
 * at. DBK_ENOTFOUND: no such stream; DBK_EDENIED: it is closed; else as dbk_store_append.
 */
int dbk_store_set_rules(struct dbk_store *store, struct dbk_slice stream,
                        const struct dbk_stream_rules *rules, struct dbk_append_result *result_out,
                        struct dbk_error *err) DBK_MUST_CHECK;
/* For who copies a book: the event that sets a stream's rules, with its slices in the arena. And
   the stream that rules in this one are for; empty: it holds no rules. */
int dbk_store_rules_event(struct dbk_slice stream, const struct dbk_stream_rules *rules,
                          struct dbk_arena *arena, struct dbk_new_event *event_out,
                          struct dbk_error *err) DBK_MUST_CHECK;
struct dbk_slice dbk_store_rules_subject(struct dbk_slice stream);
/*
 * Deletes a stream at an expected version (or DBK_EXPECT_ANY): all of its events so far are left
 * out. Appending to it opens it again, where expectations meet no stream, and versions go on.
 * close: it stays closed for good.
 */
int dbk_store_delete_stream(struct dbk_store *store, struct dbk_slice stream, int64_t expected,
                            bool close, struct dbk_append_result *result_out,
                            struct dbk_error *err) DBK_MUST_CHECK;

/*
 * Compacts: events that their streams' rules leave out, and rules that newer ones have replaced,
 * lose their content; their positions, versions, ids and leaves stay. So do all of events with
 * fields sealed under erased keys, but for these fields' ciphertexts. Sealed segments are written
 * anew one by one, while others append and read; what was done stays done when it ends early.
 */
struct dbk_store_compaction {
    unsigned percent; /* segments of which less can be removed are left, but for ciphertexts */
    /* Told how many bytes of the log are done, also at the end of each segment, and how many had to
       be read for it; negative ends it with that code. May sleep, to leave the disk to others.
       NULL: not told. */
    int (*step)(void *context, uint64_t done, uint64_t total, uint64_t read);
    void *context;
    /* Keys whose ciphertexts go, in byte order; borrowed. */
    const struct dbk_uuid *erased;
    size_t erased_count;
};
struct dbk_store_compacted {
    uint64_t segments; /* written anew */
    uint64_t removed;  /* events */
    uint64_t dropped;  /* events that lost ciphertexts only */
    uint64_t size_before;
    uint64_t size;
};
/* Only in a writer. DBK_EBUSY: it is under way already; DBK_EFULL, DBK_EIO, DBK_ECORRUPT,
   DBK_ENOMEM, or what step returned. */
int dbk_store_compact(struct dbk_store *store, const struct dbk_store_compaction *options,
                      struct dbk_store_compacted *result_out, struct dbk_error *err) DBK_MUST_CHECK;
/* What is stored now can be compacted once one more event has been appended: the segment that grows
   ends with it. Only in a writer. */
void dbk_store_seal(struct dbk_store *store);
/* The last position that can be compacted. */
uint64_t dbk_store_sealed_position(struct dbk_store *store);
/*
 * Writes anew the sealed segments of an older format, as dbk_store_compact does; nothing is
 * removed. (The index is made anew when the store is opened.)
 */
int dbk_store_upgrade(struct dbk_store *store, const struct dbk_store_compaction *options,
                      struct dbk_store_compacted *result_out, struct dbk_error *err) DBK_MUST_CHECK;

/* ---- Moving a book ---- */

/*
 * A migration copies a book into another one and ends the old. Where a book stands in that is said
 * by the newest event of its stream `$migration`:
 *
 *     FILLED  MigrationCopied: it takes nothing but DBK_APPEND_MIGRATED, until MigrationSwitched
 *     MOVED   BookMoved: it takes nothing any more, until BookReopened
 *     OPEN    anything else, or no such event
 */
#define DBK_MIGRATION_STREAM "$migration"
enum dbk_standing_state { DBK_STANDING_OPEN, DBK_STANDING_FILLED, DBK_STANDING_MOVED };

struct dbk_standing {
    enum dbk_standing_state state;
    uint64_t version;     /* of `$migration`, 0: it has no events */
    uint64_t position;    /* of its newest event */
    int64_t time_us;      /* when that was recorded */
    char place[1024];     /* where a moved book has moved to; may be cut */
    struct dbk_uuid book; /* and which that is */
};
int dbk_store_standing(struct dbk_store *store, struct dbk_standing *standing_out,
                       struct dbk_error *err) DBK_MUST_CHECK;
/*
 * Ends the book: what is accepted before the event BookMoved is in it, and nothing behind. place:
 * where the new book is, for messages. DBK_EEXISTS: it has moved already; DBK_EDENIED: it is being
 * filled; else as dbk_store_append.
 */
int dbk_store_move(struct dbk_store *store, struct dbk_slice place, const struct dbk_uuid *book,
                   struct dbk_append_result *result_out, struct dbk_error *err) DBK_MUST_CHECK;
/* A book that has moved takes appends again. DBK_ENOTFOUND: it has not moved. */
int dbk_store_reopen(struct dbk_store *store, struct dbk_append_result *result_out,
                     struct dbk_error *err) DBK_MUST_CHECK;

/* ---- Holding back ---- */

/*
 * What is stored in several batches and belongs together is held back until it is whole: no read
 * sees events from a position on, unless it is of a stream or of categories that the prefix is not
 * of. Appends and their conditions see everything. Such a run is known to this store only: who
 * opens a book derives it again from what the book says, before others read.
 *
 * prefix        of categories: "users."; at most 256 bytes
 * position      0: behind what is stored now
 * position_out  where it begins; with a prefix that is held already where that did
 *
 * DBK_ELIMIT  64 are held
 */
int dbk_store_hold(struct dbk_store *store, struct dbk_slice prefix, uint64_t position,
                   uint64_t *position_out, struct dbk_error *err) DBK_MUST_CHECK;
/* Shows it, whether it was held or not. */
void dbk_store_release(struct dbk_store *store, struct dbk_slice prefix);

/* Position of the event with this id, 0 when there is none. */
int dbk_store_find_id(struct dbk_store *store, const struct dbk_uuid *id, uint64_t *position_out,
                      struct dbk_error *err) DBK_MUST_CHECK;

/* Last position whose event's time is <= time_us, 0 when there is none. */
int dbk_store_position_at(struct dbk_store *store, int64_t time_us, uint64_t *position_out,
                          struct dbk_error *err) DBK_MUST_CHECK;

/* Counts for people: events, streams and bytes of log. Streams are counted exactly. */
struct dbk_store_stats {
    uint64_t events;
    uint64_t streams;
    uint64_t log_size;
};
int dbk_store_stats(struct dbk_store *store, struct dbk_store_stats *stats_out,
                    struct dbk_error *err) DBK_MUST_CHECK;

/* Waits until the index has caught up behind the appends so far: benchmarks stop their clocks here.
 */
int dbk_store_settle(struct dbk_store *store, struct dbk_error *err) DBK_MUST_CHECK;

/* ---- Reading ---- */

/* What to read. Zero-initialise, then set; every condition given must hold. */
struct dbk_filter {
    struct dbk_slice stream;            /* one stream; empty: the book */
    struct dbk_slice stream_prefix;     /* empty: any */
    const struct dbk_slice *categories; /* any of these; none: any */
    size_t category_count;
    const struct dbk_slice *types; /* any of these; none: any */
    size_t type_count;
    struct dbk_query query;       /* empty: any */
    struct dbk_slice correlation; /* of this one; empty: any */
    uint64_t position_min;        /* inclusive; 0: from the first */
    uint64_t position_max;        /* inclusive; 0: to the last */
    uint64_t version_min;         /* with `stream`; inclusive; 0: any */
    uint64_t version_max;         /* with `stream`; inclusive; 0: any */
    int64_t time_min_us;          /* inclusive; 0: any */
    int64_t time_max_us;          /* inclusive; 0: any */
    int64_t occurred_min_us;      /* inclusive; 0: any. Events without one count by time */
    int64_t occurred_max_us;      /* inclusive; 0: any */
    bool raw;                     /* as stored: the lens is not applied */
    bool as_written;              /* opened by the lens, but not upcast */
    bool held;                    /* also what is held back (dbk_store_hold) */
    bool hidden;                  /* also categories that begin with '$' */
    bool removed;                 /* also what a stream's rules leave out, and removed events */
    bool backwards;               /* newest first */
};

struct dbk_cursor;

/*
 * Opens a read of what is stored and synced now (position_max is pinned to it when 0). Filter's
 * slices are copied. Streams, categories, types, tags, correlations, position and time ranges are
 * looked up, not scanned.
 */
int dbk_cursor_open(struct dbk_store *store, const struct dbk_filter *filter,
                    struct dbk_cursor **cursor_out, struct dbk_error *err) DBK_MUST_CHECK;
void dbk_cursor_free(struct dbk_cursor *cursor);
/* 1: an event, valid until the next call; 0: the end; negative: DBK_ECORRUPT (the message names
   file, offset and position), DBK_EIO, DBK_ENOMEM. */
int dbk_cursor_next(struct dbk_cursor *cursor, struct dbk_event *event_out,
                    struct dbk_error *err) DBK_MUST_CHECK;
/* Position up to which everything has been looked at (also what the filter left out). */
uint64_t dbk_cursor_position(const struct dbk_cursor *cursor);
/* A tail goes on: after 0, reads what has been stored since (forward cursors with position_max 0
   only). No gap, no duplicate. */
int dbk_cursor_extend(struct dbk_cursor *cursor, struct dbk_error *err) DBK_MUST_CHECK;

/*
 * Waits until the last synced position is past `position`; in a reading process it looks at the
 * note. dbk_store_wake, from any thread, ends all waits early, also those that begin later with a
 * number of wake-ups taken before it: take it, look whether to stop, then wait.
 *
 * 1: there is more; 0: the time is over, or woken
 */
int dbk_store_wait(struct dbk_store *store, uint64_t wakes, uint64_t position, int64_t timeout_us,
                   struct dbk_error *err) DBK_MUST_CHECK;
uint64_t dbk_store_wakes(struct dbk_store *store);
void dbk_store_wake(struct dbk_store *store);

#endif
