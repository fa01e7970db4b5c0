/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stream -- a database of MongoDB followed by a change stream, shared by this source's files.
 *
 * One stream is opened on the database, and events of the captured collections are told as they
 * come. Where it is, is a resume token: that of the last event, or what the server says of a time
 * in which there was none (postBatchResumeToken). A token begins with a time of the cluster, so
 * that times can be compared with it.
 *
 * A collection's documents are read in pieces by _id, while the stream is followed:
 *
 *     stream  ──────────e1───────────e2────────L──e3──
 *     piece             |----read----|  held   told
 *
 * A piece's reply says a time L (operationTime) that is not before what it has seen. It is held
 * until the stream has passed L; a document that an event touches meanwhile is dropped from it,
 * because the event brings it. Those that are left were as they are from when the piece was asked
 * for until L, so they are told there. Keys of the book that have no document are looked for in
 * the same way.
 *
 * An update's event brings the document as it is when the event is read (updateLookup): it may be
 * newer. Events between leave it as it was then, and make none of the book's. One that has no
 * document any more is told as gone, which the stream says later: so each event is one change,
 * whenever it is read.
 *
 * A set that was restored from before, and has gone on since, takes a token of a time in which
 * there was no event as if nothing had happened: such a token only has to lie within its oplog. So
 * the token of the last event is kept, too, which must be there, exactly so, as long as the oplog
 * reaches back to it. A primary that was replaced, and does not know it yet, looks the same as a
 * restored set, but steps down soon: only what stays so ends the capture (dbk_stream_doubt).
 *
 * Events of a transaction come together, with its lsid and txnNumber, and may come in several
 * replies: it has ended when another event follows, or a reply has none.
 *
 * Threads: one at a time.
 * Source:  MongoDB's manual 7.0, "Change Streams", "Change Events", "$changeStream"; the drivers'
 *          specification change-streams.md ("resume token", postBatchResumeToken).
 */
#ifndef DBK_CAPTURE_MONGODB_STREAM_H
#define DBK_CAPTURE_MONGODB_STREAM_H

#include <mongoc/mongoc.h>

#include "capture/mongodb/collection.h"
#include "capture/source.h"
#include "json/json.h"
#include "target/mongodb/session.h"

/* Seconds since 1970 in the upper half, a count in the lower. "1767323045.7". */
typedef uint64_t dbk_cluster_time;
#define DBK_CLUSTER_TIME_TEXT_SIZE 24

enum dbk_stream_phase {
    DBK_STREAM_NEW,   /* not in the state yet */
    DBK_STREAM_READ,  /* its documents are read */
    DBK_STREAM_SWEEP, /* the book's are looked for */
    DBK_STREAM_DONE,
};

struct dbk_stream_table {
    struct dbk_documents documents;
    bool captured; /* by this source */
    enum dbk_stream_phase phase;
    bson_t *cursor; /* {id: the _id} of the last that was told; NULL: none was */
    uint64_t until; /* the book's last position when its snapshot began */
    uint64_t swept; /* up to there its documents were looked for */
    uint64_t rows;  /* that the snapshot has read */
};

struct dbk_stream_item {
    struct dbk_slice key;
    struct dbk_slice document; /* BSON, of the piece's reply */
    bool dropped;
};

struct dbk_stream_piece {
    struct dbk_stream_table *table; /* NULL: none is held */
    dbk_cluster_time time;          /* L */
    bson_t *reply;                  /* of the find */
    struct dbk_arena arena;
    struct dbk_stream_item *items;
    size_t count;
    struct dbk_listed_keys keys; /* those of the items */
    uint64_t looked;             /* of a sweep */
    size_t told;
};

enum dbk_stream_event_kind {
    DBK_STREAM_CHANGE,  /* a row's, or of all of a collection: it is gone, or another's now */
    DBK_STREAM_NOTHING, /* nothing that is captured */
    DBK_STREAM_END,     /* the stream ends: what it stood on is gone */
};

struct dbk_stream_event {
    enum dbk_stream_event_kind kind;
    struct dbk_change change; /* in the stream's arena `row` */
    /* A collection that has got another's documents, by its being renamed: it is to be read.
       NULL: none. */
    struct dbk_stream_table *filled;
    dbk_cluster_time time;
    int64_t time_us;
    char transaction[64];   /* "": none */
    struct dbk_slice token; /* BSON, of the batch */
};

enum dbk_stream_at {
    DBK_STREAM_BETWEEN, /* transactions */
    DBK_STREAM_WITHIN,  /* one has begun */
    DBK_STREAM_PIECE,   /* a piece is told */
};

struct dbk_stream {
    struct dbk_source base; /* first: a source is cast to it */
    struct dbk_source_options options;
    struct dbk_connection *connection;
    mongoc_client_session_t *session; /* NULL: the server has none */
    struct dbk_json *json;
    struct dbk_arena arena;
    char incarnation[40];
    char identity[64];
    char set[128]; /* the replica set's name */
    struct dbk_stream_table *tables;
    size_t table_count;

    /* As of the last END. */
    bson_t *token;
    bool at_event;         /* the token is an event's, no time's and no end's; */
    bson_t *event_token;   /* if not: that of the last event before it; NULL: there was none */
    uint64_t term;         /* the set's, of elections, when it was looked last; 0: not known */
    dbk_cluster_time time; /* of the last transaction, */
    uint64_t same;         /* and how many before it had the same */
    dbk_cluster_time passed;

    int64_t cursor; /* the server's; 0: it is to be opened */
    char collection[160];
    bson_t *batch;            /* the last reply; NULL: none came */
    struct dbk_slice *events; /* BSON, of it; in the arena `list` */
    size_t event_count;
    size_t event_at; /* the next */
    struct dbk_arena list;

    uint32_t server; /* where the cursor is */
    enum dbk_stream_at at;
    struct dbk_stream_event event;
    bson_t *last;         /* token of the last event that was told */
    char transaction[64]; /* of the one under way, as are the next two */
    dbk_cluster_time next_time;
    uint64_t next_same;
    char position[48];
    struct dbk_stream_piece piece;
    struct dbk_arena row;

    bool ended;   /* `token` is that of the stream's end */
    bool drained; /* the last reply had no event */
    bool hurried;
    bool ready; /* `event` is at hand, and not told */
    bool told;  /* a change of the transaction under way */
    bool moved; /* the token is another than the one that is stored */
    bool urgent;
    bool progress; /* a piece was told since something was stored */
    int64_t moved_us;
    int64_t greeted_us; /* when the server was last asked who it is */
};

/* ---- stream.c ---- */

int64_t dbk_stream_now_us(const struct dbk_stream *stream);
/* Takes a token, which may be NULL: out of memory. */
void dbk_stream_set_token(struct dbk_stream *stream, bson_t *token, bool at_event);

int dbk_stream_no_memory(const struct dbk_stream *stream, struct dbk_error *err);
/* "services/shop.yaml: the database `documents` <what>: <fix>" */
int dbk_stream_refuse(const struct dbk_stream *stream, int code, const char *what, const char *fix,
                      struct dbk_error *err);
/* The captured table of a collection's name; NULL: none. */
struct dbk_stream_table *dbk_stream_table(struct dbk_stream *stream, const char *name);

/* ---- stream_server.c ---- */

/*
 * The server may be another than what the book has of it says: DBK_ECONNECT at first, so that it
 * is looked for again, and DBK_EDENIED once that has stayed so for longer than a replaced primary
 * needs to step down. `what` says it of the database.
 */
int dbk_stream_doubt(const struct dbk_stream *stream, const char *what, struct dbk_error *err);
/* Finds the primary; what is asked later is asked there. */
int dbk_stream_choose_server(struct dbk_stream *stream, struct dbk_error *err) DBK_MUST_CHECK;
/*
 * Asks it who it is, and compares that with the state.
 *
 * DBK_ECONNECT  it is not the primary, or in doubt
 * DBK_EINVAL    it has no change streams that can be followed
 */
int dbk_stream_greet(struct dbk_stream *stream, struct dbk_error *err) DBK_MUST_CHECK;
/* Looks whether the last event is in the oplog, where the token is not its own. */
int dbk_stream_check_event(struct dbk_stream *stream, struct dbk_error *err) DBK_MUST_CHECK;
/* Asks the server that has the cursor. The reply is to be destroyed, also when it failed. */
int dbk_stream_ask(struct dbk_stream *stream, const bson_t *command, bson_t *reply,
                   struct dbk_error *err) DBK_MUST_CHECK;

/* ---- stream_cursor.c ---- */

/* Opens the cursor behind stream->token, or, where there is none, now. */
int dbk_stream_open_cursor(struct dbk_stream *stream, struct dbk_error *err) DBK_MUST_CHECK;
/* Asks for the next events, and waits for them so long. */
int dbk_stream_get_more(struct dbk_stream *stream, int64_t wait_ms,
                        struct dbk_error *err) DBK_MUST_CHECK;

/* ---- stream_event.c ---- */

/* The next event of the reply at hand. 1: it is in stream->event; 0: there is none. */
int dbk_stream_take_event(struct dbk_stream *stream, struct dbk_error *err) DBK_MUST_CHECK;

/* ---- stream_piece.c ---- */

/* Reads the next piece of an unfinished table, and holds it. 2: it does. */
int dbk_stream_read_piece(struct dbk_stream *stream, struct dbk_stream_table *table,
                          struct dbk_error *err) DBK_MUST_CHECK;
/* An event is told: what it touches is dropped. */
void dbk_stream_touch(struct dbk_stream *stream, const struct dbk_stream_event *event);
/* The piece's next change, or its END. */
int dbk_stream_tell_piece(struct dbk_stream *stream, struct dbk_change *change_out,
                          struct dbk_error *err) DBK_MUST_CHECK;
void dbk_stream_drop_piece(struct dbk_stream *stream);
/* Whose documents are to be read, or looked for; NULL: none. */
struct dbk_stream_table *dbk_stream_unfinished(const struct dbk_stream *stream);

/* ---- stream_state.c ---- */

void dbk_cluster_time_format(dbk_cluster_time time, char out[DBK_CLUSTER_TIME_TEXT_SIZE]);
/* Of "seconds.count", or of a resume token's digits. False: it is neither. */
bool dbk_cluster_time_parse(struct dbk_slice text, dbk_cluster_time *time_out);
/* Of a resume token. False: it says none. */
bool dbk_cluster_time_of_token(const bson_t *token, dbk_cluster_time *time_out);
/* Of a member that is a timestamp; 0: it is not there. */
dbk_cluster_time dbk_cluster_time_of(const bson_t *document, const char *name);
/* Reads options.state, or begins an incarnation. */
int dbk_stream_read_state(struct dbk_stream *stream, struct dbk_error *err) DBK_MUST_CHECK;
void dbk_stream_put_state(const struct dbk_stream *stream, struct dbk_buf *out);

extern const struct dbk_source_driver dbk_source_driver;

#endif
