/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reader -- a table read by SQL, its rows as a source tells them.
 *
 * For sources that ask a database instead of being told: SQLite's, and polling. A row's values
 * are what CDC of the same database makes of them, so that its image is the same under every sync.
 *
 *     PostgreSQL  each column as its text (format('%s')), made JSON by its type
 *     SQLite      by the value's own class: numbers stand for themselves, a blob is base64
 *
 * A place in a table is the key of a row, its values as the database has them; in a state it is a
 * JSON list, where {"blob":…} is a blob.
 *
 * Threads: one at a time.
 */
#ifndef DBK_CAPTURE_READER_H
#define DBK_CAPTURE_READER_H

#include "capture/source.h"
#include "json/json.h"
#include "target/target.h"

#define DBK_READER_KEYS_MAX 32

struct dbk_reader_column {
    struct dbk_slice name;
    uint32_t type;         /* PostgreSQL: of a domain, what it is made of */
    const char *type_name; /* as the database writes it */
    bool nullable;
};

struct dbk_reader {
    struct dbk_connection *connection;
    const struct dbk_capture_service *service;
    const struct dbk_capture_table *table;
    size_t index;           /* of the table in its service */
    struct dbk_json *json;  /* borrowed */
    struct dbk_arena arena; /* of the columns */
    struct dbk_reader_column *columns;
    struct dbk_change_shape shape;
    size_t keys[DBK_READER_KEYS_MAX]; /* the primary key's columns, in its order */
    size_t key_count;
};

/* A row's key, or any values, as the database has them. */
struct dbk_reader_place {
    struct dbk_arena arena;
    struct dbk_value values[DBK_READER_KEYS_MAX];
    size_t count; /* 0: before the first row */
};

void dbk_reader_init(struct dbk_reader *reader, struct dbk_connection *connection,
                     const struct dbk_capture_service *service, size_t index,
                     struct dbk_json *json);
void dbk_reader_release(struct dbk_reader *reader);

/*
 * Looks at the table's columns and its key; the shape gets the number `shape`.
 *
 * DBK_ENOTFOUND  there is no such table; the message names it by file, line and column
 * DBK_EINVAL     it has no primary key, or is none whose rows have one
 */
int dbk_reader_look(struct dbk_reader *reader, uint64_t shape,
                    struct dbk_error *err) DBK_MUST_CHECK;
/* NULL: there is no such column. */
const struct dbk_reader_column *dbk_reader_column(const struct dbk_reader *reader,
                                                  struct dbk_slice name);
/* Fills err with "file:line:column: the table `x` <what>: <fix>". */
int dbk_reader_fault(const struct dbk_reader *reader, int code, const char *what, const char *fix,
                     struct dbk_error *err);

/* ---- SQL text ---- */

/* A name in quotes; a value as a literal, `type` of PostgreSQL's or NULL. */
void dbk_reader_put_name(struct dbk_buf *out, struct dbk_slice name);
void dbk_reader_put_literal(const struct dbk_reader *reader, const struct dbk_value *value,
                            const char *type, struct dbk_buf *out);
void dbk_reader_put_table(const struct dbk_reader *reader, struct dbk_buf *out);
/* All columns as dbk_reader_take wants them, with commas between. */
void dbk_reader_put_columns(const struct dbk_reader *reader, struct dbk_buf *out);
/* `"a","b"`: the key's columns. */
void dbk_reader_put_key(const struct dbk_reader *reader, struct dbk_buf *out);
/* `("a","b") > (1,2)`; the place must have as many values as the key. */
void dbk_reader_put_behind(const struct dbk_reader *reader, const struct dbk_reader_place *place,
                           struct dbk_buf *out);
/* A column as its value is kept in a place. */
void dbk_reader_put_plain(const struct dbk_reader *reader, struct dbk_slice name,
                          struct dbk_buf *out);

/* Prepares what was written; DBK_ENOMEM when it could not be. */
int dbk_reader_prepare(struct dbk_reader *reader, const struct dbk_buf *sql,
                       struct dbk_statement **statement_out, struct dbk_error *err) DBK_MUST_CHECK;

/* ---- Rows ---- */

/* What a value is to a change; its bytes in the arena where they have to be made. */
int dbk_reader_value(const struct dbk_reader *reader, const struct dbk_value *value, uint32_t type,
                     struct dbk_arena *arena, struct dbk_change_value *value_out,
                     struct dbk_error *err) DBK_MUST_CHECK;
/* A value's text as a key's part; false: it is NULL, or there is no memory. */
bool dbk_reader_key_text(const struct dbk_value *value, struct dbk_arena *arena,
                         struct dbk_slice *text_out) DBK_MUST_CHECK;

/*
 * The current row, whose columns begin at `first` of the statement, as a DBK_CHANGE_ROW; all in
 * the arena. DBK_EINVAL: a part of its key is NULL.
 */
int dbk_reader_take(const struct dbk_reader *reader, struct dbk_statement *statement, int first,
                    struct dbk_arena *arena, struct dbk_change *change_out,
                    struct dbk_error *err) DBK_MUST_CHECK;

/*
 * Of keys that the book has, which no row has any more: `gone` gets true for each of them.
 * By the texts of keys, whatever the table takes for equal.
 */
int dbk_reader_find_gone(struct dbk_reader *reader, const struct dbk_live_keys *keys, bool *gone,
                         struct dbk_error *err) DBK_MUST_CHECK;

/* ---- Places ---- */

void dbk_reader_place_init(struct dbk_reader_place *place);
void dbk_reader_place_release(struct dbk_reader_place *place);
void dbk_reader_place_reset(struct dbk_reader_place *place);
/* Adds a value. DBK_ENOMEM */
int dbk_reader_place_add(struct dbk_reader_place *place,
                         const struct dbk_value *value) DBK_MUST_CHECK;
/* Adds the values of the current row's key. DBK_ENOMEM */
int dbk_reader_place_add_key(const struct dbk_reader *reader, struct dbk_reader_place *place,
                             struct dbk_statement *statement, int first) DBK_MUST_CHECK;
void dbk_reader_place_write(const struct dbk_reader_place *place, struct dbk_buf *out);
/* NULL is an empty place. DBK_ECORRUPT: it is no place; DBK_ENOMEM */
int dbk_reader_place_read(struct dbk_reader_place *place,
                          const struct dbk_json_node *list) DBK_MUST_CHECK;

#endif
