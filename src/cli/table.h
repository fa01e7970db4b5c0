/* SPDX-License-Identifier: Apache-2.0 */
/*
 * table -- JSON objects as rows: an aligned table, a JSON array, JSON lines or CSV.
 *
 * Rows are written as they come. A table must know its columns' widths first, so it holds back the
 * first DBK_TABLE_AHEAD rows, sets the widths by them, and widens lines that need it afterwards.
 * JSON and JSON lines show an object as it came; a table shows NULL for null and for a missing
 * member, CSV (RFC 4180) nothing.
 *
 * Threads: a table belongs to one thread.
 */
#ifndef DBK_CLI_TABLE_H
#define DBK_CLI_TABLE_H

#include <stdio.h>

#include "json/json.h"

struct dbk_arguments;

#define DBK_TABLE_AHEAD 1000
#define DBK_TABLE_COLUMNS_MAX 256

enum dbk_output {
    DBK_OUTPUT_TABLE,
    DBK_OUTPUT_JSON,
    DBK_OUTPUT_JSONL,
    DBK_OUTPUT_CSV,
    DBK_OUTPUT_DOT
};

/* What -o asks for. */
enum dbk_output dbk_output_of(const struct dbk_arguments *arguments);
/* Columns of the terminal that a stream is; 0 when it is none. */
size_t dbk_output_width(FILE *out);

struct dbk_table;

struct dbk_table_options {
    FILE *out;
    enum dbk_output output;
    size_t width_max;           /* lines of a table are cut to so many columns; 0: never */
    bool live;                  /* rows come one by one: columns leave room for what may come */
    const char *const *columns; /* of table and CSV; ends with NULL; NULL: the rows' members */
};

/* NULL when out of memory. Options' columns are kept. */
struct dbk_table *dbk_table_create(const struct dbk_table_options *options) DBK_MUST_CHECK;
void dbk_table_free(struct dbk_table *table);
/* Adds a column behind those there are, before the first row; the name is copied. */
int dbk_table_column(struct dbk_table *table, struct dbk_slice name) DBK_MUST_CHECK;
/* Adds a row; object is borrowed. DBK_EIO: the output failed. */
int dbk_table_row(struct dbk_table *table, const struct dbk_json_node *object,
                  struct dbk_error *err) DBK_MUST_CHECK;
/* Writes what was held back and the end. */
int dbk_table_end(struct dbk_table *table, struct dbk_error *err) DBK_MUST_CHECK;
/* Writes now what was held back; a live tail calls it after each row. */
int dbk_table_flush(struct dbk_table *table, struct dbk_error *err) DBK_MUST_CHECK;

/*
 * One object: a table has a line for each member (`balance  120`), the others as a single row.
 * Members that are objects are shown by their own members (`state.balance` as `balance`) when
 * `open` names them (NULL: none).
 */
int dbk_table_object(const struct dbk_table_options *options, const struct dbk_json_node *object,
                     const char *open, struct dbk_error *err) DBK_MUST_CHECK;

#endif
