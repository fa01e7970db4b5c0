/* SPDX-License-Identifier: Apache-2.0 */
/*
 * source -- a service's database as a run of changes, and what a kind of source does for it.
 *
 * The changes come in the source's order of commits:
 *
 *     BEGIN (ROW | DELETE | TRUNCATE)* END   a transaction of the source
 *
 * What a snapshot reads comes in the same way, as ROW and DELETE with `snapshot` set, in places of
 * the source's choice: then it is what the row is at that place of the run.
 *
 * A source says where it is by its state, a JSON object of its own making: that of the last END is
 * stored in the same batch as the changes up to there, and given back with the next open. It must
 * go on behind it exactly: with the same changes in the same order, of which the entry leaves out
 * those of a half-stored transaction by counting.
 *
 * Threads: a source belongs to one thread at a time, but for dbk_source_driver.interrupt.
 */
#ifndef DBK_CAPTURE_SOURCE_H
#define DBK_CAPTURE_SOURCE_H

#include "base/time.h"
#include "capture/capture.h"
#include "os/os.h"

/* A column's value. */
enum dbk_change_value_kind {
    DBK_CHANGE_NULL,
    DBK_CHANGE_UNCHANGED, /* the source does not say: as in the row's last image */
    DBK_CHANGE_TEXT,      /* becomes a JSON text */
    DBK_CHANGE_JSON,      /* stands for itself: a number, true, false, an object, … */
};
struct dbk_change_value {
    enum dbk_change_value_kind kind;
    struct dbk_slice text;
};

/* The columns that a table has now. */
struct dbk_change_shape {
    uint64_t number; /* of this source: another shape has another one */
    const struct dbk_slice *names;
    size_t count;
};

enum dbk_change_kind {
    DBK_CHANGE_BEGIN,
    DBK_CHANGE_ROW,      /* the row is now so */
    DBK_CHANGE_DELETE,   /* the row is gone */
    DBK_CHANGE_TRUNCATE, /* all of the table's rows are */
    DBK_CHANGE_END,
};

/* Everything it points to is valid until the source's next call. */
struct dbk_change {
    enum dbk_change_kind kind;
    size_t table; /* index into the service's tables */
    bool snapshot;
    bool unread; /* ROW: a snapshot will yet read the row, if the book does not have it */
    const struct dbk_change_shape *shape;  /* ROW */
    const struct dbk_change_value *values; /* ROW: shape->count */
    const struct dbk_slice *key;           /* ROW, DELETE: the key's texts */
    size_t key_count;
    const struct dbk_slice *old_key; /* ROW: the key that it had until now; NULL: the same */
    /* BEGIN: where the source has it; with `snapshot`: where it was read. Short ASCII. */
    struct dbk_slice position;
    struct dbk_slice transaction; /* BEGIN: the source's name for it; empty: none */
    /* BEGIN: its commit; DBK_TIME_NONE: not known. ROW, DELETE: when it happened, where a source
       cannot tell transactions apart; 0: as its BEGIN says. */
    int64_t time_us;
};

/* What a source tells of itself. */
struct dbk_source_status {
    char position[64];  /* of the last END */
    bool caught_up;     /* nothing was left to read when it was last asked */
    uint64_t lag_bytes; /* 0: none, or not known */
    bool snapshot;      /* a snapshot is being read */
    char snapshot_table[64];
    uint64_t snapshot_rows;
    uint64_t retained_bytes; /* what the source keeps for us; 0: not known */
    char health[64];         /* the source's word for that: "reserved"; "" none */
    char warning[512];       /* what will end badly if nobody looks; "": nothing */
};

struct dbk_source;

/* The keys of the rows of a table that are in the book now, and were last changed behind a position
   and up to another. Ends after about `max` of them. */
struct dbk_live_keys {
    const struct dbk_slice *keys; /* count times parts */
    size_t count;
    size_t parts;    /* columns of a key */
    uint64_t looked; /* all up to this position was looked at */
};

/* Since when, and until when, a source has doubted that its server is the one that was captured;
   all 0: it does not. */
struct dbk_source_doubt {
    int64_t since_us;
    int64_t last_us;
};

/* Nobody looked for so long, which is more than the pause between two looks: what was doubted then
   says nothing of how long the server now met has been as it is. */
#define DBK_SOURCE_DOUBT_GAP_US (INT64_C(60) * 1000000)

/* Doubts it now, and says for how long it has been doubted whenever somebody looked. */
static inline int64_t dbk_source_doubt_us(struct dbk_source_doubt *doubt, int64_t now_us)
{
    if (doubt->since_us == 0 || now_us - doubt->last_us > DBK_SOURCE_DOUBT_GAP_US)
        doubt->since_us = now_us;
    doubt->last_us = now_us;
    return now_us - doubt->since_us;
}

struct dbk_source_options {
    struct dbk_os *os;
    const struct dbk_capture_service *service;
    const struct dbk_uuid *book;
    const char *folder;     /* for what does not fit into memory; exists */
    int wake;               /* a file descriptor: readable means that `wait` is over */
    int over;               /* the same: whatever waits gives up, with DBK_EBUSY */
    size_t chunk_rows;      /* a snapshot's rows at once */
    struct dbk_slice state; /* as stored; empty: nothing was captured yet */
    bool resnapshot;        /* read everything again, and so make good what was lost */
    /* The book's last position, and its live rows; valid until the next call. */
    uint64_t (*last_position)(void *context);
    int (*live)(void *context, size_t table, uint64_t after, uint64_t until, size_t max,
                struct dbk_live_keys *keys_out, struct dbk_error *err);
    /* Stores a state without changes, before something is done in the source that must be known
       of should this process end. */
    int (*note)(void *context, struct dbk_slice state, struct dbk_error *err);
    void *context;
    struct dbk_source_doubt *doubt; /* lives on from one open to the next */
};

#define DBK_SOURCE_VERSION 4
#define DBK_SOURCE_SYMBOL "dbk_source_driver"

/* A kind of source. A module of another version is refused. */
struct dbk_source_driver {
    unsigned version;
    /*
     * Connects, and makes in the source what capturing needs. DBK_ECONNECT, DBK_EBUSY: worth trying
     * again; all others stop the capture until somebody has done what the message says.
     */
    int (*open)(const struct dbk_source_options *options, struct dbk_source **source_out,
                struct dbk_error *err);
    void (*close)(struct dbk_source *source);
    /* What the ids of events derive from beside positions: the source's identity and incarnation.
       Valid until close. */
    struct dbk_slice (*identity)(const struct dbk_source *source);
    /* 1: a change; 0: there is none now. */
    int (*next)(struct dbk_source *source, struct dbk_change *change_out, struct dbk_error *err);
    /* Waits until there may be one, or somebody writes to `wake`. */
    int (*wait)(struct dbk_source *source, int64_t timeout_us, struct dbk_error *err);
    /* Appends the state as of the last END. */
    void (*state)(const struct dbk_source *source, struct dbk_buf *out);
    /* True when that is worth storing although there was no change: the source waits for it. */
    bool (*moved)(const struct dbk_source *source);
    /* The state as of the last END is stored: the source may forget what was before. */
    int (*stored)(struct dbk_source *source, struct dbk_error *err);
    void (*status)(const struct dbk_source *source, struct dbk_source_status *status_out);
    /* Somebody waits for a position: the source finds out soon where it is. NULL: it always knows.
     */
    int (*hurry)(struct dbk_source *source, struct dbk_error *err);
    /* Whether a position, as the source's users write it, is at or before another. False: one of
       them is none. NULL: positions cannot be compared. */
    bool (*is_reached)(struct dbk_slice wanted, struct dbk_slice position, bool *reached_out);
};

/* A source begins with this. */
struct dbk_source {
    const struct dbk_source_driver *driver;
};

#endif
