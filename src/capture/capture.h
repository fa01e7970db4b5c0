/* SPDX-License-Identifier: Apache-2.0 */
/*
 * capture -- changes in services' own databases, read as events.
 *
 * A service (services/<name>.yaml) names a database and tables in it. Each change of a row becomes
 * an event of the category `<service>.<table>`, in the stream that the row's key names, with the
 * row's image; after that it is an event like all others.
 *
 * A service is captured by a thread of its own, from a source (capture/source.h), through an entry
 * (capture/entry.h), into the book. One that fails stops no other.
 *
 * Threads: definitions are read-only; captures from any thread.
 * Source:  DESIGN section 3; docs/capture.md.
 */
#ifndef DBK_CAPTURE_CAPTURE_H
#define DBK_CAPTURE_CAPTURE_H

#include <stdbool.h>

#include "base/memory.h"
#include "os/os.h"
#include "store/store.h"

/* How a table's changes are read. */
enum dbk_capture_kind {
    DBK_CAPTURE_NONE,    /* nobody asks for them */
    DBK_CAPTURE_CDC,     /* the database tells them */
    DBK_CAPTURE_POLLING, /* it is asked, again and again */
    DBK_CAPTURE_OUTBOX,  /* of no table: the service's outbox */
};

enum dbk_capture_deletes {
    DBK_DELETES_NONE,    /* rows are never deleted, or a column says so (`deleted`) */
    DBK_DELETES_COMPARE, /* keys that the book has are looked for */
};
/* How a table is polled. */
struct dbk_capture_polling {
    int64_t every_us;    /* between rounds */
    const char *key;     /* Neo4j: the property that is each node's own */
    const char *cursor;  /* the column by which changed rows are found; NULL: all are read */
    int64_t overlap_us;  /* how long a row may be stamped before it is committed */
    const char *deleted; /* the column that says that a row is deleted; NULL: none */
    enum dbk_capture_deletes deletes;
    int64_t compare_every_us; /* between comparisons of keys */
};

/* A table whose rows become events of the streams that they name. Names are those of columns. */
struct dbk_capture_outbox {
    const char *table; /* NULL: the service has none */
    unsigned line;     /* of services/<service>.yaml, where it is named */
    unsigned column;
    const char *id;
    const char *stream;   /* NULL: it is made of the next two */
    const char *category; /* NULL: there is a stream's */
    const char *key;
    const char *type;
    const char *data;
    const char *meta;     /* NULL: none */
    const char *occurred; /* NULL: none */
    const char *mark;     /* says when a row was taken; NULL: rows that were are deleted */
    int64_t every_us;     /* how often it is looked at while it is empty */
};

/* A table of a service. Names are the database's own. */
struct dbk_capture_table {
    const char *name;
    unsigned line; /* of services/<service>.yaml, where it is named */
    unsigned column;
    enum dbk_capture_kind kind;
    const char *asked_by;       /* the file that asks for it */
    const char *const *columns; /* those that are captured, in the file's order; none: all */
    size_t column_count;
    const char *const *masked; /* captured as whether they were there: null or "***" */
    size_t masked_count;
    const char *subject;         /* the column that names the person; NULL: none */
    const char *const *personal; /* columns that are sealed under the subject */
    size_t personal_count;
    struct dbk_capture_polling polling;
};

/* How PostgreSQL's slot is looked after. */
struct dbk_capture_slot {
    uint64_t warn_size; /* kept by the server for it: a warning; 0: where the server has no limit */
    uint64_t stop_size; /* the same: it is dropped, and the capture stops; 0: never */
    int64_t every_us;   /* between looks, and between positions that are stored while it is idle */
};

struct dbk_capture_service {
    const char *name;
    const char *file;     /* "services/users.yaml" */
    const char *database; /* of book.yaml */
    const char *address;  /* the database's (target/target.h) */
    struct dbk_capture_table *tables;
    size_t table_count;
    struct dbk_capture_outbox outbox;
    struct dbk_capture_slot slot;
};

/* NULL when there is none. */
const struct dbk_capture_table *dbk_capture_table(const struct dbk_capture_service *service,
                                                  struct dbk_slice name);

/* What stands for a value of a masked column that was there. */
#define DBK_CAPTURE_MASK "***"

/*
 * Appends a row's stream: `<service>.<table>-<key>`, where the key is the texts of the key's
 * columns, joined by ',', with '%' and ',' in them as "%25" and "%2C", and what no stream's name
 * may hold percent-encoded, too.
 */
void dbk_capture_put_stream(struct dbk_slice service, struct dbk_slice table,
                            const struct dbk_slice *key, size_t count, struct dbk_buf *out);
/* Takes what stands behind the dash apart into its texts, in the arena. DBK_ECORRUPT: it is no key
   of so many columns; DBK_ENOMEM. */
int dbk_capture_take_key(struct dbk_slice text, struct dbk_arena *arena, struct dbk_slice *key_out,
                         size_t count) DBK_MUST_CHECK;

/* ---- Capturing ---- */

struct dbk_captures;

struct dbk_captures_options {
    struct dbk_os *os;
    struct dbk_store *store;
    dbk_append_fn append; /* of JSON that is written here */
    void *context;
    bool writer;        /* this process holds the book */
    const char *folder; /* for what does not fit into memory; borrowed */
    size_t batch_count_max;
    size_t event_size_max;
};
int dbk_captures_open(const struct dbk_captures_options *options,
                      struct dbk_captures **captures_out, struct dbk_error *err) DBK_MUST_CHECK;
/* Ends the threads: what they have not stored is captured again. NULL is fine. */
void dbk_captures_free(struct dbk_captures *captures);
/* Captures the tables of a service that are of a kind. The service is kept. Before start. */
int dbk_captures_add(struct dbk_captures *captures, const struct dbk_capture_service *service,
                     enum dbk_capture_kind kind, struct dbk_error *err) DBK_MUST_CHECK;
/* Starts a thread for each service, in the process that serves. */
int dbk_captures_start(struct dbk_captures *captures, struct dbk_error *err) DBK_MUST_CHECK;

enum dbk_capture_state {
    DBK_CAPTURE_STOPPED, /* no process captures it */
    DBK_CAPTURE_CONNECTING,
    DBK_CAPTURE_SNAPSHOT, /* tables are read, and changes followed */
    DBK_CAPTURE_STREAMING,
    DBK_CAPTURE_WAITING, /* it failed, and will be tried again */
    DBK_CAPTURE_FAILED,  /* it failed, and somebody has to do something */
};
const char *dbk_capture_state_text(enum dbk_capture_state state);

struct dbk_capture_status {
    const char *service;
    const char *database;
    const char *kind; /* "cdc", "polling", "outbox" */
    enum dbk_capture_state state;
    char position[64]; /* the source's own; "": none yet */
    int64_t lag_us;    /* how long ago the last stored transaction was, while there are others;
                            0: none are left */
    uint64_t lag_bytes;
    char table[64];      /* that a snapshot reads; "": none */
    uint64_t table_rows; /* of it, so far */
    uint64_t changes;    /* since the thread started */
    uint64_t events;
    uint64_t failures;
    uint64_t retained_bytes; /* that the source keeps */
    char health[64];
    char warning[512];
    char error[DBK_ERROR_MESSAGE_SIZE]; /* of the last failure while it is not over */
};
size_t dbk_captures_count(const struct dbk_captures *captures);
/* DBK_ECORRUPT: of a service that nobody captures, what the book keeps cannot be read. */
int dbk_captures_status(struct dbk_captures *captures, size_t index,
                        struct dbk_capture_status *status_out,
                        struct dbk_error *err) DBK_MUST_CHECK;

/*
 * Waits until all that was committed in a service's database up to a position is in the book.
 *
 * position      the source's own: of PostgreSQL what pg_current_wal_insert_lsn() says behind a
 *               commit
 * position_out  the book's: reads with `after` it see that
 *
 * DBK_ENOTFOUND  no such service is captured
 * DBK_EINVAL     it is no position of such a source
 * DBK_EBUSY      this process does not capture
 * DBK_ETIMEOUT   the message says how far it is
 */
int dbk_captures_wait(struct dbk_captures *captures, struct dbk_slice service,
                      struct dbk_slice position, int64_t timeout_us, uint64_t *position_out,
                      struct dbk_error *err) DBK_MUST_CHECK;

/*
 * When an event came out of a service's database, as far as it is known: the process that captures
 * remembers so many of its last batches (base/trail.h).
 */
struct dbk_capture_moments {
    const char *service;  /* NULL: it may have come from an outbox, which is not known any more */
    const char *kind;     /* as of a status */
    int64_t committed_us; /* of a row's change: in the source; DBK_TIME_NONE: not known */
    int64_t taken_us;     /* the first of its batch was read; DBK_TIME_NONE: not known */
    char why[256];        /* why that is not known; empty where it is */
};
/* 1: it did, or may have; 0: it did not. */
int dbk_captures_moments(struct dbk_captures *captures, const struct dbk_event *event,
                         struct dbk_capture_moments *moments_out);

/*
 * Reads a service's tables again: rows that are as the book has them make no event, and rows that
 * are gone are deleted. What was lost is made good by that, but for what happened in between. It
 * begins at once where the service is captured, else when it is.
 *
 * DBK_ENOTFOUND  no such service is captured; the message names one that is
 */
int dbk_captures_resnapshot(struct dbk_captures *captures, struct dbk_slice service,
                            struct dbk_error *err) DBK_MUST_CHECK;

#endif
