/* SPDX-License-Identifier: Apache-2.0 */
/*
 * state -- a PostgreSQL database that is captured, shared by this folder's sources.
 *
 * Two sessions: the walsender's, which streams what is committed, and one for SQL, which reads
 * tables for a snapshot and asks for the slot's health.
 *
 * A snapshot needs no lock and no second slot. A piece of a table is read at a snapshot S of the
 * server, and held back until the stream has told all that was committed by then (L, an LSN taken
 * after S). Of the transactions that come meanwhile, S says which it saw:
 *
 *     seen      its changes are in the piece, too, or were followed by what is there
 *     not seen  it came later: a row of the piece that it touches is told just before it
 *
 * What is left at L is told then. So each row of the piece stands in the run of changes where it
 * was so, and a piece can be read again at any time: that is how a snapshot goes on after a crash.
 * When all pieces of a table were told, the rows that only the book has are looked for in the same
 * way, some keys at a time.
 */
#ifndef DBK_CAPTURE_POSTGRES_STATE_H
#define DBK_CAPTURE_POSTGRES_STATE_H

#include <libpq-fe.h>

#include "capture/pgoutput.h"
#include "capture/source.h"
#include "capture/value.h"
#include "json/json.h"

#define KEY_COLUMNS_MAX 32
/* A piece of a table: so many rows, or about so many bytes. */
#define PIECE_ROWS_MIN 100
#define PIECE_SIZE ((size_t)4 << 20)
#define SWEEP_KEYS 1000
#define BASES_MAX 64

enum table_phase {
    PHASE_NEW,   /* not in the state yet */
    PHASE_READ,  /* its pieces are read */
    PHASE_SWEEP, /* the book's rows are looked for */
    PHASE_DONE,
};

/* A column as the catalog has it. */
struct column {
    struct dbk_slice name;
    uint32_t type; /* of a domain: what it is made of */
    const char *type_name;
};

struct table {
    const struct dbk_capture_table *definition;
    uint32_t id; /* pg_class.oid */
    const char *space;
    char identity;
    /* In `arena`, which lives until the catalog is read again. */
    struct dbk_arena arena;
    struct column *columns;
    struct dbk_slice *names; /* of the columns */
    struct dbk_change_shape shape;
    size_t keys[KEY_COLUMNS_MAX]; /* the primary key's columns, in its order */
    size_t key_count;

    enum table_phase phase;
    struct dbk_arena cursor_arena;
    struct dbk_slice cursor[KEY_COLUMNS_MAX]; /* the last key that was told; with cursor_count 0:
                                                 none was */
    size_t cursor_count;
    uint64_t until;  /* the book's last position when the snapshot began */
    uint64_t swept;  /* up to there its rows were looked for */
    uint64_t behind; /* a transaction's id: those before it must have ended; 0: none */
    uint64_t rows;   /* that the snapshot has read */
    size_t piece_rows;
};

/* A relation as the stream tells it. */
struct relation {
    uint32_t id;
    struct table *table; /* NULL: it is not captured */
    size_t index;        /* of the table */
    struct dbk_arena arena;
    struct dbk_slice *names;
    uint32_t *types;
    struct dbk_change_shape shape;
    size_t keys[KEY_COLUMNS_MAX];
    size_t key_count;
};

/* What a type of a user's is made of. */
struct base {
    uint32_t type;
    uint32_t base;
};

/* Which transactions a snapshot has seen. */
struct seen {
    uint64_t min; /* all before it have ended */
    uint64_t max; /* none from it on has */
    uint64_t *open;
    size_t open_count;
};

enum piece_state { PIECE_NONE, PIECE_ASKED, PIECE_HELD, PIECE_TOLD };

struct piece {
    enum piece_state state;
    bool given_up; /* its statement was cancelled */
    struct table *table;
    bool sweep;
    /* As the table was when it was asked for. */
    struct dbk_change_shape shape;
    uint32_t *types;
    size_t keys[KEY_COLUMNS_MAX]; /* columns of `rows` */
    size_t key_count;
    size_t asked;   /* rows at most */
    PGresult *rows; /* of a sweep: the keys that are gone */
    size_t count;
    size_t at; /* the next to be told */
    bool *told;
    uint32_t *slots; /* hash table of row numbers + 1 by key */
    size_t slot_count;
    struct seen seen;
    uint64_t lsn; /* L */
    char position[DBK_LSN_TEXT_SIZE];
    uint64_t looked;       /* of a sweep */
    int answers;           /* results that came */
    int64_t not_before_us; /* when to ask again */
    struct dbk_error failure;
    bool stale; /* the table's columns are not what they were */
    struct dbk_arena arena;
};

/* A transaction that is streamed before it ends. */
struct dbk_pg_spill;
struct replay {
    struct dbk_pg_spill *spill; /* that is told; NULL: none is */
    uint64_t offset;            /* of what is read next */
    struct dbk_buf window;
    size_t at; /* in the window */
    uint64_t end_lsn;
};

struct source {
    struct dbk_source base; /* first: a source is cast to it */
    struct dbk_source_options options;
    struct dbk_arena arena;
    PGconn *stream;
    PGconn *sql;
    struct dbk_slice identity;
    char system[32];
    char database[64];
    unsigned timeline;
    char slot[64]; /* also the publication's name */
    struct table *tables;
    size_t table_count;
    struct relation *relations;
    size_t relation_count;
    size_t relation_capacity;
    uint64_t shape_count;
    struct base bases[BASES_MAX];
    size_t base_count;

    uint64_t lsn;        /* all that was committed before it was told */
    uint64_t stored_lsn; /* and is stored */
    uint64_t server_lsn; /* where the server said to be */
    int64_t moved_us;    /* when something was stored last */
    int64_t status_us;   /* when it was told last */
    int64_t health_us;   /* when it was looked at last */
    bool progress;       /* a snapshot has got on since something was stored */
    struct dbk_source_status health;

    char *data; /* the copy at hand, libpq's */
    bool in_transaction;
    bool skip; /* it was told before */
    uint32_t transaction_id;
    bool held; /* `message` waits for rows of the piece to be told */
    struct dbk_pgoutput message;
    char position[DBK_LSN_TEXT_SIZE]; /* of the transaction */
    char transaction[16];
    struct piece piece;
    struct dbk_pg_spill *spills;
    struct dbk_pg_spill *block; /* between Stream Start and Stream Stop: whose; else NULL */
    struct replay replay;

    /* Of the change at hand. */
    struct dbk_arena row;
    struct dbk_slice key[KEY_COLUMNS_MAX];
    struct dbk_slice old_key[KEY_COLUMNS_MAX];
    struct dbk_json *json;
};

/* ---- session.c ---- */

/* Opens both sessions and checks the server. */
int dbk_pg_connect(struct source *source, struct dbk_error *err) DBK_MUST_CHECK;
/* Runs SQL; the result is the caller's. NULL: it failed. Ends early with DBK_EBUSY when `over`
   is readable. */
int dbk_pg_ask(struct source *source, PGconn *session, const char *sql, PGresult **result_out,
               struct dbk_error *err) DBK_MUST_CHECK;
/* The same without a result. */
int dbk_pg_run(struct source *source, PGconn *session, const char *sql,
               struct dbk_error *err) DBK_MUST_CHECK;
/* What a result that failed, or a lost session (NULL), says. sqlstate_out: six bytes, or NULL. */
int dbk_pg_failed(PGconn *session, const PGresult *result, struct dbk_error *err);
/* Appends a text as a literal, or a name in quotes. */
void dbk_pg_put_literal(struct dbk_buf *out, struct dbk_slice text);
void dbk_pg_put_name(struct dbk_buf *out, struct dbk_slice name);
struct dbk_slice dbk_pg_value(const PGresult *result, int row, int column);

/* ---- catalog.c ---- */

/* Finds the tables and their keys. */
int dbk_pg_read_tables(struct source *source, struct dbk_error *err) DBK_MUST_CHECK;
int dbk_pg_read_table(struct source *source, struct table *table,
                      struct dbk_error *err) DBK_MUST_CHECK;
/* Takes what the stream says of a relation. */
int dbk_pg_take_relation(struct source *source, const struct dbk_pgoutput *message,
                         struct dbk_error *err) DBK_MUST_CHECK;
/* NULL: the stream has told of none such. */
struct relation *dbk_pg_relation(struct source *source, uint32_t id);

/* ---- slot.c ---- */

/* The publication has all tables, and the slot is there and where we left it, or both are made. */
int dbk_pg_prepare(struct source *source, struct dbk_error *err) DBK_MUST_CHECK;
int dbk_pg_start(struct source *source, struct dbk_error *err) DBK_MUST_CHECK;
/* Looks after the slot from time to time. */
int dbk_pg_look(struct source *source, struct dbk_error *err) DBK_MUST_CHECK;

/* ---- read.c ---- */

/* Asks for the next piece, where there is one to be read and none is at hand. Between
   transactions, as the next. */
int dbk_pg_read_more(struct source *source, struct dbk_error *err) DBK_MUST_CHECK;
/* Takes what the server has answered so far; with `all` waits for it. */
int dbk_pg_take_piece(struct source *source, bool all, struct dbk_error *err) DBK_MUST_CHECK;
bool dbk_pg_has_seen(const struct seen *seen, uint32_t transaction);
/* The piece's row with a key that is not told; SIZE_MAX: none. */
size_t dbk_pg_find_row(const struct source *source, const struct table *table,
                       const struct dbk_slice *key);
/* A row of the piece as a change. */
int dbk_pg_tell_row(struct source *source, size_t row, struct dbk_change *change_out,
                    struct dbk_error *err) DBK_MUST_CHECK;
/* All of it was told: its table goes on behind it. */
int dbk_pg_end_piece(struct source *source, struct dbk_error *err) DBK_MUST_CHECK;
void dbk_pg_drop_piece(struct source *source);
bool dbk_pg_is_reading(const struct source *source);

/* ---- spill.c ---- */

/* Makes the folder, and removes what is left in it. */
int dbk_pg_spill_prepare(struct source *source, struct dbk_error *err) DBK_MUST_CHECK;
void dbk_pg_spill_release(struct source *source);
/* A block begins: source->block. */
int dbk_pg_spill_begin(struct source *source, uint32_t transaction,
                       struct dbk_error *err) DBK_MUST_CHECK;
int dbk_pg_spill_add(struct source *source, struct dbk_slice bytes,
                     struct dbk_error *err) DBK_MUST_CHECK;
int dbk_pg_spill_abort(struct source *source, uint32_t transaction, uint32_t subtransaction,
                       struct dbk_error *err) DBK_MUST_CHECK;
/* It has committed: its messages are read one by one. next: 1: a message, valid until the next
   call; 0: the end. end: its file goes. */
int dbk_pg_spill_open(struct source *source, uint32_t transaction,
                      struct dbk_error *err) DBK_MUST_CHECK;
int dbk_pg_spill_next(struct source *source, struct dbk_slice *bytes_out,
                      struct dbk_error *err) DBK_MUST_CHECK;
bool dbk_pg_spill_is_aborted(const struct source *source, uint32_t subtransaction);
void dbk_pg_spill_end(struct source *source);

/* ---- state.c ---- */

/* Reads options.state. */
int dbk_pg_read_state(struct source *source, struct dbk_error *err) DBK_MUST_CHECK;
void dbk_pg_put_state(const struct source *source, bool creating, struct dbk_buf *out);

#endif
