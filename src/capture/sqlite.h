/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sqlite -- a SQLite database that is captured, shared by this source's files.
 *
 * Triggers write each change of a captured table into a journal in the same database:
 *
 *     _daybook_journal   id, shape, op, at, v0 … vn     a change
 *     _daybook_shapes    id, name                       a table when its triggers were made
 *     _daybook_columns   shape, place, name, key        its columns
 *     _daybook_meta      name, value                    owner, incarnation, captured
 *
 * Values stand in the journal as they are, in columns without a type: no number loses a digit. Its
 * ids are in the order of commits, because SQLite has one writer at a time; and what one look at
 * the journal sees are whole transactions, though which they are nobody can tell.
 *
 *     op   i, u  the row is now v0 … vn        at   milliseconds since 1970
 *          d     the row with this key is gone
 *          m     the row with this key may be gone: REPLACE removes rows without a word
 *
 * A look is one transaction of reading: the journal up to its end, then, while a snapshot is being
 * read, a piece of a table as it is at that end. So both are joined without gap or overlap.
 *
 * Journal rows that the book has are removed, and `captured` says up to which. The book's state
 * has that, too: a file that says less is an older one than was captured.
 *
 * Threads: one at a time.
 * Source:  sqlite.org/lang_createtrigger.html, pragma.html (data_version, schema_version)
 */
#ifndef DBK_CAPTURE_SQLITE_H
#define DBK_CAPTURE_SQLITE_H

#include "capture/reader.h"

enum dbk_journal_phase {
    DBK_JOURNAL_NEW,   /* not in the state yet */
    DBK_JOURNAL_READ,  /* its rows are read */
    DBK_JOURNAL_SWEEP, /* the book's rows are looked for */
    DBK_JOURNAL_DONE,
};

struct dbk_journal_table {
    struct dbk_reader reader;
    bool captured; /* by this source */
    int64_t shape; /* in the journal, of its columns now */
    enum dbk_journal_phase phase;
    struct dbk_reader_place cursor; /* the last key that was told */
    uint64_t until;                 /* the book's last position when the snapshot began */
    uint64_t swept;                 /* up to there its rows were looked for */
    uint64_t rows;                  /* that the snapshot has read */
};

/* A table as it was when a row of the journal was written. */
struct dbk_journal_shape {
    int64_t id;
    struct dbk_journal_table *table; /* NULL: it is not captured */
    struct dbk_arena arena;
    struct dbk_change_shape shape;
    size_t keys[DBK_READER_KEYS_MAX];
    size_t key_count;
};

enum dbk_journal_at {
    DBK_JOURNAL_IDLE,   /* between looks */
    DBK_JOURNAL_LOOK,   /* a look has begun, and the journal is read */
    DBK_JOURNAL_UNIT,   /* its rows are told */
    DBK_JOURNAL_BEHIND, /* they were told */
    DBK_JOURNAL_PIECE,  /* a piece of a table is told */
};

struct dbk_journal {
    struct dbk_source base; /* first: a source is cast to it */
    struct dbk_source_options options;
    struct dbk_connection *connection;
    struct dbk_json *json;
    struct dbk_arena arena;
    const char *owner;
    char incarnation[40];
    char identity[64];
    struct dbk_journal_table *tables;
    size_t table_count;
    struct dbk_journal_shape *shapes;
    size_t shape_count;
    size_t shape_capacity;
    uint64_t shape_number;
    int64_t schema_version;
    size_t width; /* of the journal, in values */

    int64_t position; /* all up to it was told */
    int64_t stored;   /* and is in the book */
    int64_t removed;  /* and is not in the journal any more */
    bool progress;    /* a snapshot has got on since something was stored */
    int64_t moved_us; /* when something was stored last */
    int64_t removed_us;
    int64_t checked_us; /* when the file was compared with its name last */
    int64_t changed_us; /* when something was found last */

    enum dbk_journal_at at;
    int64_t data_version; /* as of the last look */
    bool look;            /* there is something to look for, whatever that says */
    struct dbk_statement *version;
    struct dbk_statement *rows; /* of the journal */
    int64_t unit;               /* the row of it at hand */
    bool told;                  /* it was told */
    struct dbk_journal_table *piece;
    struct dbk_statement *piece_rows; /* NULL: it is a sweep */
    struct dbk_reader_place piece_cursor;
    size_t piece_count;
    struct dbk_live_keys keys;
    bool *gone;
    char text[24]; /* the position that was told */
    struct dbk_arena row;
};

/* ---- sqlite_journal.c ---- */

/* When the journal is made: with a new incarnation, empty; as it was left; while it is followed. */
enum dbk_journal_make { DBK_JOURNAL_ANEW, DBK_JOURNAL_OPENING, DBK_JOURNAL_RUNNING };
/*
 * Makes what is missing of the journal and its triggers, in one transaction. Where triggers are
 * found missing the table's snapshot begins, and that is noted before. DBK_EBUSY: while running
 * it is not the time for that: open again.
 */
int dbk_journal_make(struct dbk_journal *journal, enum dbk_journal_make how,
                     struct dbk_error *err) DBK_MUST_CHECK;
/* The shape of a row of the journal. */
int dbk_journal_find_shape(struct dbk_journal *journal, int64_t id,
                           struct dbk_journal_shape **shape_out,
                           struct dbk_error *err) DBK_MUST_CHECK;
/* Removes what is stored from the journal. */
int dbk_journal_remove(struct dbk_journal *journal, struct dbk_error *err) DBK_MUST_CHECK;
/* What a statement without parameters answers: an integer, or a text in the arena. */
int dbk_journal_number(struct dbk_connection *connection, const char *sql, int64_t *number_out,
                       struct dbk_error *err) DBK_MUST_CHECK;
int dbk_journal_text(struct dbk_connection *connection, const char *sql, struct dbk_arena *arena,
                     struct dbk_slice *text_out, struct dbk_error *err) DBK_MUST_CHECK;

#define DBK_JOURNAL_INCARNATION "SELECT value FROM main._daybook_meta WHERE name = 'incarnation'"
#define DBK_JOURNAL_OWNER "SELECT value FROM main._daybook_meta WHERE name = 'owner'"
#define DBK_JOURNAL_CAPTURED                                                                       \
    "SELECT CAST(value AS INTEGER) FROM main._daybook_meta WHERE name = 'captured'"
#define DBK_JOURNAL_LAST                                                                           \
    "SELECT coalesce(max(seq), 0) FROM main.sqlite_sequence WHERE name = '_daybook_journal'"
#define DBK_JOURNAL_EXISTS                                                                         \
    "SELECT count(*) FROM main.sqlite_schema WHERE type = 'table' AND name = '_daybook_meta'"

/* ---- sqlite_triggers.c ---- */

/* Appends what drops a table's triggers and makes them. */
int dbk_journal_put_triggers(struct dbk_journal *journal, const struct dbk_journal_table *table,
                             struct dbk_buf *sql, struct dbk_error *err) DBK_MUST_CHECK;
/* "INSERT INTO _daybook_journal (shape,op,at,v0 … vn) SELECT 7,'u',<now>", to go on with ",…". */
void dbk_journal_put_insert(const struct dbk_journal_table *table, char op, bool keys_only,
                            struct dbk_buf *sql);

/* ---- sqlite_look.c ---- */

/* Outside of a look: another number than before means that somebody else committed. */
int dbk_journal_read_version(struct dbk_journal *journal, int64_t *version_out,
                             struct dbk_error *err) DBK_MUST_CHECK;
/* As dbk_source_driver.next. */
int dbk_journal_next(struct dbk_journal *journal, struct dbk_change *change_out,
                     struct dbk_error *err) DBK_MUST_CHECK;

/* ---- sqlite_state.c ---- */

/* Reads options.state, and compares the file with it. */
int dbk_journal_read_state(struct dbk_journal *journal, bool *begin_out,
                           struct dbk_error *err) DBK_MUST_CHECK;
void dbk_journal_put_state(const struct dbk_journal *journal, struct dbk_buf *out);

extern const struct dbk_source_driver dbk_source_sqlite;

#endif
