/* SPDX-License-Identifier: Apache-2.0 */
/*
 * import_rows -- the rows of a CSV or JSONL file, one after the other, with their line numbers.
 *
 * CSV (RFC 4180, by libcsv in strict mode): the first row names the columns; fields may be quoted
 * and then hold commas, quotes and newlines, so a row's number is not its line's. Spaces belong to
 * the field. Empty lines are passed over. JSONL: a JSON value a line.
 *
 * A row that is wrong (a stray quote, too few or too many fields, invalid UTF-8, a NUL byte, no
 * JSON, too large) is given with its reason, counts, and the reading goes on with the next line.
 *
 * Threads: a reader belongs to one thread.
 * Source:  RFC 4180; libcsv 3.
 */
#ifndef DBK_CLI_IMPORT_ROWS_H
#define DBK_CLI_IMPORT_ROWS_H

#include "base/memory.h"
#include "cli/import_input.h"

#define DBK_ROW_SIZE_MAX ((size_t)4 << 20)
#define DBK_ROW_COLUMNS_MAX 4096

enum dbk_row_format { DBK_ROW_CSV, DBK_ROW_JSONL };

struct dbk_row {
    uint64_t number; /* from 1, the header not counted; also wrong rows count */
    uint64_t line;   /* of its first byte, from 1 */
    /* All valid until the next call: */
    const struct dbk_slice *fields; /* CSV: as many as there are columns */
    struct dbk_slice text;          /* JSONL: the line */
    const char *fault; /* why the row is wrong; NULL: it is not, and fields are filled */
};

struct dbk_rows_reader;

/*
 * input is kept until free.
 * DBK_EINVAL  CSV: there is no header, or it names a column twice or not at all
 * and all of dbk_input_read
 */
int dbk_rows_reader_open(struct dbk_input *input, enum dbk_row_format format,
                         struct dbk_rows_reader **reader_out, struct dbk_error *err) DBK_MUST_CHECK;
void dbk_rows_reader_free(struct dbk_rows_reader *reader);
/* CSV: the columns' names; valid until free. */
const struct dbk_slice *dbk_rows_reader_columns(const struct dbk_rows_reader *reader,
                                                size_t *count_out);
/* 1: a row; 0: the end; negative: as dbk_input_read. */
int dbk_rows_reader_next(struct dbk_rows_reader *reader, struct dbk_row *row_out,
                         struct dbk_error *err) DBK_MUST_CHECK;

#endif
