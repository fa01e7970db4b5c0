/* SPDX-License-Identifier: Apache-2.0 */
/*
 * daybook.h -- the book of original entry as a library.
 *
 * Open a book (a folder with a book.yaml), append events, read them, ask for states, send
 * commands, ask queries. Everything the daemon does goes through the same engine.
 *
 *     struct daybook_error error;
 *     struct daybook *book = NULL;
 *     if (daybook_open(&(struct daybook_options){.folder = "shop"}, &book, &error) < 0)
 *         fprintf(stderr, "%s\n", error.message);
 *     …
 *     daybook_close(book);
 *
 * Functions return DAYBOOK_OK, or a negative code, and then fill `error` where it is not NULL.
 * Structs are zero-initialised by the caller, so that later versions may add fields with 0 as
 * their default. Text in and out is UTF-8; bytes travel as pointer and size.
 *
 * One process holds a book for writing; any number read beside it (DAYBOOK_READ).
 *
 * Threads: a struct daybook from any thread; a cursor from one at a time.
 */
#ifndef DAYBOOK_H
#define DAYBOOK_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define DAYBOOK_API __attribute__((visibility("default")))
#else
#define DAYBOOK_API
#endif

/* Values are stable. */
enum daybook_code {
    DAYBOOK_OK = 0,
    DAYBOOK_EINVAL = -1,      /* invalid argument */
    DAYBOOK_ENOMEM = -2,      /* out of memory */
    DAYBOOK_EIO = -3,         /* input or output failed */
    DAYBOOK_ECORRUPT = -4,    /* stored data is damaged */
    DAYBOOK_ENOTFOUND = -5,   /* not found */
    DAYBOOK_EEXISTS = -6,     /* exists already */
    DAYBOOK_ECONFLICT = -7,   /* a condition of the append does not hold */
    DAYBOOK_ELIMIT = -8,      /* a limit is exceeded */
    DAYBOOK_EFULL = -9,       /* no space left on the disk */
    DAYBOOK_EBUSY = -10,      /* held by another process */
    DAYBOOK_EFORMAT = -11,    /* written by a newer version of Daybook */
    DAYBOOK_EUNKNOWN = -12,   /* the outcome is unknown */
    DAYBOOK_ESTOPPED = -13,   /* stopped after an earlier failure */
    DAYBOOK_ETIMEOUT = -14,   /* took too long */
    DAYBOOK_EREFUSED = -15,   /* refused by a command or a constraint */
    DAYBOOK_ESCRIPT = -16,    /* a script or handler failed */
    DAYBOOK_EDENIED = -17,    /* not allowed */
    DAYBOOK_ECONNECT = -18,   /* cannot connect */
    DAYBOOK_EBOOK = -19,      /* the book's definitions have faults */
    DAYBOOK_ESTALE = -20,     /* further behind than its max_lag */
    DAYBOOK_EKEY = -21,       /* no good API key: of a server, not of this library */
    DAYBOOK_ETHROTTLED = -22, /* more requests than a key's limit: likewise */
    DAYBOOK_EGONE = -23       /* no longer kept: likewise */
};

struct daybook_error {
    int code;
    char message[1024]; /* one line, NUL-terminated */
};

/* A code's short text ("out of memory"); a static string. */
DAYBOOK_API const char *daybook_code_text(int code);
/* This library's version, "0.1.0"; a static string. */
DAYBOOK_API const char *daybook_version(void);

struct daybook;

enum daybook_mode {
    DAYBOOK_WRITE = 0, /* hold the book */
    DAYBOOK_READ = 1   /* read beside whoever holds it */
};

/* Text that a program's function writes; valid for the call. */
struct daybook_text;
/* Appends bytes. Running out of memory is noticed by the caller of the function. */
DAYBOOK_API void daybook_write(struct daybook_text *text, const void *bytes, size_t size);

struct daybook_event;

/*
 * An upcaster in C: makes a version of an event type's data out of the one before. The type's
 * schema says so for that version: "upcast": "program". Who opens the book without it gets an error
 * for events of older versions.
 */
struct daybook_upcaster {
    const char *type;       /* "Deposited" */
    uint16_t version;       /* that it makes */
    const char *definition; /* changes with what it does: older snapshots no longer fit, and read
                               models ask for a rebuild */
    void *context;
    /*
     * Writes the new data as JSON. Called from any thread, with an event that is valid for the
     * call. Not 0: it cannot, and the read fails with DAYBOOK_ESCRIPT and names event and place.
     */
    int (*upcast)(const struct daybook_event *event, struct daybook_text *text, void *context);
};

struct daybook_options {
    const char *folder; /* where book.yaml is */
    const char *data;   /* the data directory; NULL: as book.yaml says */
    enum daybook_mode mode;
    const struct daybook_upcaster *upcasters; /* copied, with their texts */
    size_t upcaster_count;
};

/*
 * Opens a book; owned by the caller, who ends it with daybook_close. All but `book_out` borrowed.
 *
 * DAYBOOK_EBOOK      its files have faults; the message has the first and how many there are
 * DAYBOOK_EINVAL     an upcaster that no schema asks for
 * DAYBOOK_EBUSY      another process holds it; the message names it
 * DAYBOOK_ECORRUPT, DAYBOOK_EFORMAT, DAYBOOK_ENOTFOUND, DAYBOOK_EIO, DAYBOOK_EFULL, DAYBOOK_ENOMEM
 */
DAYBOOK_API int daybook_open(const struct daybook_options *options, struct daybook **book_out,
                             struct daybook_error *error);
/* Waits for what is under way; cursors must be closed before. NULL is fine. */
DAYBOOK_API void daybook_close(struct daybook *book);

/* Expected versions beside plain numbers. */
#define DAYBOOK_ANY INT64_C(-1)
#define DAYBOOK_EXISTS INT64_C(-2)
#define DAYBOOK_NO_STREAM INT64_C(0)
/* "No time was given." */
#define DAYBOOK_NO_TIME INT64_MIN

struct daybook_new_event {
    const char *stream; /* "account-123" */
    const char *type;   /* "Deposited" */
    const void *data;   /* JSON, or bytes with `binary` */
    size_t data_size;
    const char *meta;  /* a JSON object, or NULL */
    const uint8_t *id; /* 16 bytes, or NULL: one is made */
    const char *const *tags;
    size_t tag_count;
    int64_t occurred_us; /* microseconds since 1970; 0 or DAYBOOK_NO_TIME: none */
    int binary;          /* not 0: data is not JSON */
    /* Which version of its type it is, where the type is declared; 0: the newest. */
    uint16_t schema_version;
};

struct daybook_expectation {
    const char *stream;
    int64_t version; /* a number, DAYBOOK_NO_STREAM, DAYBOOK_EXISTS or DAYBOOK_ANY */
};

/*
 * Events that match any of the items; an item is matched by an event that has one of its types
 * (none: any) and all of its tags. An item with neither is matched by every event.
 */
struct daybook_query_item {
    const char *const *types;
    size_t type_count;
    const char *const *tags;
    size_t tag_count;
};

struct daybook_batch {
    const struct daybook_new_event *events;
    size_t count;
    const struct daybook_expectation *expectations; /* all must hold, at the commit */
    size_t expectation_count;
    const struct daybook_query_item *fail_if; /* no event behind `after` may match, at the commit */
    size_t fail_if_count;
    uint64_t after; /* the position the caller was aware of; 0: none */
    int skip_known; /* not 0: events whose id is stored with the same content are left out */
};

struct daybook_appended {
    uint64_t first_position;
    uint64_t last_position; /* the consistency token: reads may wait for it */
    uint64_t last_version;  /* of the last event's stream; on DAYBOOK_ECONFLICT the version met */
    size_t appended;
    size_t skipped;
    int known;                 /* not 0: all of it was stored before, with the same content */
    uint64_t matched_position; /* on DAYBOOK_ECONFLICT: the newest event that `fail_if` matched */
    /* With `schema: warn` in book.yaml: events that were stored and do not fit their schema, and of
       the first which it is, where and why. */
    size_t warning_count;
    char warning[1024];
};

/*
 * Appends a batch, all or nothing; returns when it is durable. Blocks; callers from many threads
 * share one sync.
 *
 * DAYBOOK_ECONFLICT  an expectation or `fail_if` does not hold, or an id is stored with other
 *                    content
 * DAYBOOK_EINVAL     a name or JSON is malformed, or data does not fit its type's schema; the
 *                    message names the event and the place
 * DAYBOOK_EREFUSED   a read model's constraint refused it
 * DAYBOOK_ELIMIT, DAYBOOK_EFULL, DAYBOOK_EUNKNOWN, DAYBOOK_ESTOPPED
 */
DAYBOOK_API int daybook_append(struct daybook *book, const struct daybook_batch *batch,
                               struct daybook_appended *appended_out, struct daybook_error *error);

/* The last durable position; 0 in an empty book. */
DAYBOOK_API uint64_t daybook_last_position(struct daybook *book);

struct daybook_event {
    uint64_t position;
    uint64_t version;
    int64_t time_us;
    int64_t occurred_us; /* DAYBOOK_NO_TIME: none */
    const uint8_t *id;   /* 16 bytes */
    const char *stream;  /* stream_size bytes, not NUL-terminated; so are the others */
    size_t stream_size;
    const char *type;
    size_t type_size;
    const char *meta;
    size_t meta_size;
    const char *tags; /* each a byte of size and as many bytes, in byte order */
    size_t tags_size;
    int binary;
    /* That it was written in, 0 when its type was not declared then; of a consumer's event the
       newest; in an upcaster that of the data it gets. */
    uint16_t schema_version;
    void *data; /* the library's: for the two functions below */
};

/*
 * An event's data, in the newest version of its type's schema (of a `raw` read: as stored): that it
 * is made when it is asked for, is why there is a function. Valid as long as the event. NULL: it
 * cannot be had, and error says why (DAYBOOK_ESCRIPT: an upcaster failed). In an `apply` the call
 * that wanted the state then fails so, whatever `apply` answers.
 */
DAYBOOK_API const char *daybook_data(const struct daybook_event *event, size_t *size_out,
                                     struct daybook_error *error);
/*
 * The value of a member at the top of that data, as JSON text: 12, "EUR" with its quotes. Of an
 * event in an old version that one member is made, where the schema's steps allow, which is all but
 * free. 1: text_out, valid until the next call for the event; 0: it has no such member, or is no
 * JSON object. Negative: as daybook_data; DAYBOOK_EINVAL: the name is longer than 256 bytes.
 */
DAYBOOK_API int daybook_member(const struct daybook_event *event, const char *name,
                               const char **text_out, size_t *size_out,
                               struct daybook_error *error);

struct daybook_filter {
    const char *stream;                     /* one stream; NULL: the whole book */
    const char *stream_prefix;              /* NULL: any */
    const char *category;                   /* NULL: any */
    const char *type;                       /* NULL: any */
    const struct daybook_query_item *query; /* events that match one of these; 0 of them: any */
    size_t query_count;
    uint64_t position_min; /* inclusive; 0: any; so are the others */
    uint64_t position_max;
    uint64_t version_min;
    uint64_t version_max;
    int backwards; /* not 0: newest first */
    int raw;       /* not 0: as stored, not upcast to the newest version of its type's schema */
};

struct daybook_cursor;

/*
 * Opens a read of what is durable now. Owned by the caller, who ends it with daybook_cursor_close.
 */
DAYBOOK_API int daybook_read(struct daybook *book, const struct daybook_filter *filter,
                             struct daybook_cursor **cursor_out, struct daybook_error *error);
/* 1: an event, valid until the next call; 0: the end; negative: a code. */
DAYBOOK_API int daybook_next(struct daybook_cursor *cursor, struct daybook_event *event_out,
                             struct daybook_error *error);
/*
 * After the end of a forward read without position_max: waits up to timeout_ms for more. 1: there
 * is more, go on with daybook_next; 0: the time is over. No gap, no duplicate.
 */
DAYBOOK_API int daybook_wait(struct daybook_cursor *cursor, int timeout_ms,
                             struct daybook_error *error);
DAYBOOK_API void daybook_cursor_close(struct daybook_cursor *cursor);

/*
 * Consumer groups: each event that passes a group's filter is leased to one of its consumers, until
 * one acknowledges it: at least once, and none is lost. What fails too often is parked. See
 * docs/subscriptions.md for the settings.
 */

/* Makes a group, or changes its settings: a JSON object. */
DAYBOOK_API int daybook_group_set(struct daybook *book, const char *group, const char *settings,
                                  struct daybook_error *error);
/* Forgets a group. DAYBOOK_ENOTFOUND */
DAYBOOK_API int daybook_group_remove(struct daybook *book, const char *group,
                                     struct daybook_error *error);

struct daybook_group_status {
    uint64_t position; /* everything up to it was looked at */
    uint64_t ready;    /* open, and may be leased */
    uint64_t leased;
    uint64_t waiting; /* for its next try */
    uint64_t parked;
    uint64_t oldest; /* the first open position; 0: none is */
    uint64_t consumers;
};
/* DAYBOOK_ENOTFOUND */
DAYBOOK_API int daybook_group_status(struct daybook *book, const char *group,
                                     struct daybook_group_status *status_out,
                                     struct daybook_error *error);

struct daybook_consumer;

/*
 * Joins a group, with at most so many events unacknowledged at a time (1 to 1,000). Owned by the
 * caller, who ends it with daybook_consumer_close; a consumer belongs to one thread at a time, and
 * any number of them join a group. DAYBOOK_ENOTFOUND, DAYBOOK_EINVAL
 */
DAYBOOK_API int daybook_consumer_open(struct daybook *book, const char *group, size_t unacked_max,
                                      struct daybook_consumer **consumer_out,
                                      struct daybook_error *error);
/* What it has not acknowledged goes to others. */
DAYBOOK_API void daybook_consumer_close(struct daybook_consumer *consumer);
/*
 * 1: an event, valid until the next call; attempt_out (may be NULL) counts from 1. 0: the time is
 * over, also when as many as allowed are unacknowledged. Negative: a code.
 */
DAYBOOK_API int daybook_consumer_next(struct daybook_consumer *consumer, int timeout_ms,
                                      struct daybook_event *event_out, unsigned *attempt_out,
                                      struct daybook_error *error);

enum daybook_action {
    DAYBOOK_ACK = 0,
    DAYBOOK_RETRY = 1, /* give it back, to be tried again after the group's delay */
    DAYBOOK_PARK = 2,  /* put it aside, until it is replayed or dropped */
    DAYBOOK_SKIP = 3   /* done, without success */
};
/*
 * What became of events. reason (may be NULL) is kept with what is parked. Positions that are not
 * open are left alone. Acknowledgements are saved once a second and by daybook_close: after a crash
 * the last of them may be delivered again.
 */
DAYBOOK_API int daybook_consumer_answer(struct daybook_consumer *consumer,
                                        enum daybook_action action, const uint64_t *positions,
                                        size_t count, const char *reason,
                                        struct daybook_error *error);

/* Gives parked events to consumers again, or drops them (replay 0); count 0: all. The number of
   them, or a code: DAYBOOK_ENOTFOUND, DAYBOOK_ECONFLICT (order by stream: an earlier one first). */
DAYBOOK_API int64_t daybook_group_unpark(struct daybook *book, const char *group, int replay,
                                         const uint64_t *positions, size_t count,
                                         struct daybook_error *error);

/* Text made by the library: end it with daybook_free. */
DAYBOOK_API void daybook_free(char *text);

/*
 * A fold in C: the state of a category's streams, kept in memory of the program's own. Functions
 * are called from any thread that asks for a state, with one state from one thread at a time. Those
 * that answer an int answer 0, or something else: the state could not be had, which
 * fails the call with DAYBOOK_ESCRIPT and names event and place.
 */
struct daybook_fold {
    const char *category;    /* "account" */
    const char *version;     /* changes with what the functions do: older snapshots no longer fit */
    uint64_t snapshot_every; /* versions between two snapshots; 0: none */
    void *context;
    void *(*create)(void *context); /* the state before the first event; NULL: out of memory */
    void (*destroy)(void *state, void *context);
    /* Puts an event in, which is valid for the call; of types it does not know it takes no notice.
     */
    int (*apply)(void *state, const struct daybook_event *event, void *context);
    /* Writes it as JSON. */
    int (*write)(const void *state, struct daybook_text *text, void *context);
    /* It becomes what was written: needed with snapshot_every, may else be NULL. Called at each
       multiple of it, so that a state is the same with a snapshot as without. */
    int (*read)(void *state, const char *text, size_t size, void *context);
};
/*
 * Adds a fold; the struct and its texts are copied. daybook_state and commands find it by the
 * category. Not while other threads use the book.
 *
 * DAYBOOK_EEXISTS  the category has a fold, in the book's files or by this
 */
DAYBOOK_API int daybook_fold_add(struct daybook *book, const struct daybook_fold *fold,
                                 struct daybook_error *error);

/*
 * A saga in C: what docs/sagas.md says of one in sagas/<name>.lua holds for it, with functions of
 * the program's own. They are pure: what they answer depends on what they get alone, so that a
 * retry or a restart comes to the same. One that answers other than 0, or with what is none, parks
 * its instance with an error that names saga and function. They are called from one thread of the
 * book's at a time; a loop that does not end is not noticed.
 */
struct daybook_saga_now {
    const char *state; /* JSON, NUL-terminated; before the first event: {} */
    size_t state_size;
    const struct daybook_event *event; /* NULL: none */
    const char *reply;                 /* of a call, JSON, to `after`; else NULL */
    size_t reply_size;
    const char *key; /* what it is sent with, to `send` and `undo`; else NULL */
    const char *why; /* to `undo` and `otherwise`; else NULL */
};
/* A member at the top of the state, as JSON text that stands in it. 1; 0: it has none. */
DAYBOOK_API int daybook_saga_member(const struct daybook_saga_now *now, const char *name,
                                    const char **text_out, size_t *size_out);

struct daybook_saga_answer;
/* The new state: a JSON object, to be written whole. Not called: it stays as it was. */
DAYBOOK_API struct daybook_text *daybook_saga_state(struct daybook_saga_answer *answer);
/* Begins a step; completes the saga once its steps have ended; undoes what was done. */
DAYBOOK_API void daybook_saga_begin(struct daybook_saga_answer *answer, const char *step);
DAYBOOK_API void daybook_saga_complete(struct daybook_saga_answer *answer);
DAYBOOK_API void daybook_saga_fail(struct daybook_saga_answer *answer, const char *why);
DAYBOOK_API void daybook_saga_timer(struct daybook_saga_answer *answer, const char *timer,
                                    int64_t delay_us);
DAYBOOK_API void daybook_saga_stop(struct daybook_saga_answer *answer, const char *timer);

struct daybook_saga_message;
/*
 * What a step sends: events, or one command, or one HTTP call to an address under `calls:` in
 * book.yaml. To the text that each returns the event's data or the body is written as JSON, before
 * the next call; nothing written is a body of {} to a command, and none to HTTP. tags may be NULL.
 */
DAYBOOK_API struct daybook_text *daybook_saga_event(struct daybook_saga_message *message,
                                                    const char *stream, const char *type,
                                                    const char *const *tags, size_t tag_count);
DAYBOOK_API struct daybook_text *daybook_saga_command(struct daybook_saga_message *message,
                                                      const char *command);
DAYBOOK_API struct daybook_text *daybook_saga_http(struct daybook_saga_message *message,
                                                   const char *address, const char *method,
                                                   const char *path);

typedef int (*daybook_saga_fn)(const struct daybook_saga_now *now,
                               struct daybook_saga_answer *answer, void *context);
typedef int (*daybook_saga_send_fn)(const struct daybook_saga_now *now,
                                    struct daybook_saga_message *message, void *context);
/* Writes an instance's id, a key or a lock: 1 to 200 bytes of UTF-8; nothing: none. */
typedef int (*daybook_saga_text_fn)(const struct daybook_saga_now *now, struct daybook_text *text,
                                    void *context);

struct daybook_saga_on {
    const char *type;
    int starts;              /* not 0: it begins an instance */
    daybook_saga_text_fn by; /* which instance it is of */
    daybook_saga_fn run;
};
struct daybook_saga_reply {
    const char *type;
    daybook_saga_text_fn by;
};
struct daybook_saga_step {
    const char *name;
    int64_t timeout_us;   /* must be given */
    unsigned tries;       /* 0: 3 */
    int64_t delay_us;     /* before the second try, doubled each time; 0: a second */
    int64_t delay_max_us; /* 0: a minute */
    daybook_saga_send_fn send;
    daybook_saga_send_fn undo; /* NULL: it stays, and `keeps` says so */
    int keeps;
    daybook_saga_text_fn key;
    daybook_saga_text_fn lock;             /* NULL: none, as the two below */
    daybook_saga_fn after;                 /* it is done: with a call's reply, or an event */
    daybook_saga_fn otherwise;             /* it failed, and the saga goes another way */
    const struct daybook_saga_reply *done; /* events that answer it; none: done when sent */
    size_t done_count;
    const struct daybook_saga_reply *failed;
    size_t failed_count;
    const struct daybook_saga_reply *undone;
    size_t undone_count;
};
struct daybook_saga_timer {
    const char *name;
    daybook_saga_fn run;
};
/* What becomes of an event whose instance has not begun; it must be said. */
enum daybook_saga_unmatched {
    DAYBOOK_SAGA_IGNORE = 1,
    DAYBOOK_SAGA_PARK = 2,
    DAYBOOK_SAGA_WAIT = 3
};
struct daybook_saga {
    const char *name;
    enum daybook_saga_unmatched unmatched;
    int from_start; /* not 0: it takes all that the book holds, and not what comes from now on */
    const struct daybook_saga_on *on;
    size_t on_count;
    const struct daybook_saga_step *steps;
    size_t step_count;
    const struct daybook_saga_timer *timers;
    size_t timer_count;
    void *context;
};
/*
 * Adds a saga to a book that is held, and lets it run until daybook_close. The struct and all that
 * it points to are kept until then. The sagas in the book's files run in a server alone. Not while
 * other threads use the book.
 *
 * DAYBOOK_EINVAL   it lacks something, or takes a type with personal fields; the message names it
 * DAYBOOK_EEXISTS  the book has a saga of that name
 */
DAYBOOK_API int daybook_saga_add(struct daybook *book, const struct daybook_saga *saga,
                                 struct daybook_error *error);
/* The newest record of an instance, as in docs/format/sagas.md; owned by the caller.
   DAYBOOK_ENOTFOUND */
DAYBOOK_API int daybook_saga_show(struct daybook *book, const char *saga, const char *instance,
                                  char **record_out, struct daybook_error *error);
/* Tries a parked instance again; undoes one, or gives up the step whose undoing is stuck.
   DAYBOOK_ENOTFOUND, DAYBOOK_EINVAL: it is not parked, or has ended. */
DAYBOOK_API int daybook_saga_retry(struct daybook *book, const char *saga, const char *instance,
                                   struct daybook_error *error);
DAYBOOK_API int daybook_saga_cancel(struct daybook *book, const char *saga, const char *instance,
                                    const char *reason, struct daybook_error *error);

struct daybook_at {
    uint64_t version;    /* 0: any; so are the others. At most one of them. */
    int64_t time_us;     /* as recorded up to then */
    int64_t occurred_us; /* as occurred up to then */
};

/*
 * The folded state of a stream as JSON text, owned by the caller (daybook_free). at may be NULL:
 * now. version_out (may be NULL): 0 when there was no such stream then, and the state is the
 * fold's initial one.
 */
DAYBOOK_API int daybook_state(struct daybook *book, const char *stream, const struct daybook_at *at,
                              char **state_out, uint64_t *version_out, struct daybook_error *error);

/*
 * Sends a command. body is a JSON object; idempotency_key may be NULL. answer_out (may be NULL):
 * {"stream":…,"version":…,"position":…,"events":[…]}, or of one in a service's own database
 * {"service":…,"rows":[…]}; owned by the caller.
 *
 * DAYBOOK_EREFUSED  the command was refused; the message says why
 */
DAYBOOK_API int daybook_do(struct daybook *book, const char *command, const char *body,
                           const char *idempotency_key, char **answer_out,
                           struct daybook_error *error);

/*
 * Asks a named query. parameters is a JSON object or NULL; after: the position that its models must
 * have reached (0: as they are); timeout_ms: how long to wait for that. rows_out: a JSON array of
 * objects, owned by the caller.
 */
DAYBOOK_API int daybook_get(struct daybook *book, const char *query, const char *parameters,
                            uint64_t after, int timeout_ms, char **rows_out,
                            struct daybook_error *error);

/*
 * Waits until a read model has posted everything up to a position. DAYBOOK_ETIMEOUT: the message
 * says how far it is.
 */
DAYBOOK_API int daybook_model_wait(struct daybook *book, const char *model, uint64_t position,
                                   int timeout_ms, struct daybook_error *error);
/* Refreshes a view now. */
DAYBOOK_API int daybook_view_refresh(struct daybook *book, const char *view,
                                     struct daybook_error *error);

/*
 * Proof that the book is not rewritten: the newest signed checkpoint, which covers all that is
 * stored; the proof that the event at a position is in it; the public key it is signed with. Texts
 * as in docs/format/proof.md, owned by the caller (daybook_free).
 *
 * DAYBOOK_EINVAL    there is no such position
 * DAYBOOK_ENOTFOUND nothing is stored that could be signed
 * DAYBOOK_ECORRUPT  the book is not the one that was signed; the message says where it differs
 */
DAYBOOK_API int daybook_proof_checkpoint(struct daybook *book, char **checkpoint_out,
                                         struct daybook_error *error);
DAYBOOK_API int daybook_proof_inclusion(struct daybook *book, uint64_t position, char **proof_out,
                                        struct daybook_error *error);
DAYBOOK_API int daybook_proof_key(struct daybook *book, char **key_out,
                                  struct daybook_error *error);

/*
 * Forgets a person, named as their events do: what is personal in these is not read any more, and
 * that is durable. tombstone: instead, all of the events are left out, and the key is kept. What
 * was made of them is cleaned behind it, by a thread of the book's, also after it is opened again.
 *
 * key_out  room for 33 bytes: the id of the person's key, by which certificates are asked for; may
 *          be NULL
 *
 * DAYBOOK_ENOTFOUND  no event names the person, or they were forgotten before
 */
DAYBOOK_API int daybook_forget(struct daybook *book, const char *subject, int tombstone,
                               char *key_out, struct daybook_error *error);
/*
 * The signed certificate of a key, once it is final: ends with daybook_free. DAYBOOK_ENOTFOUND: the
 * message says why there is none.
 */
DAYBOOK_API int daybook_forget_certificate(struct daybook *book, const char *key, char **note_out,
                                           struct daybook_error *error);

#ifdef __cplusplus
}
#endif

#endif
