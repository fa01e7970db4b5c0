/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file is cut into lines, and each line is given to libcsv whole: a row ends at the end of a
 * line or goes on in the next one, so lines can be counted from outside and, after a fault, the
 * next line begins a new row.
 */
#include "cli/import_rows.h"

#include <csv.h>
#include <stdio.h>
#include <string.h>

#define CHUNK_SIZE ((size_t)256 << 10)

struct dbk_rows_reader {
    struct dbk_input *input;
    enum dbk_row_format format;
    char *chunk; /* bytes read: at .. size are still to be cut into lines */
    size_t at;
    size_t size;
    bool ended;
    struct dbk_buf line; /* a line that lies in more than one chunk */
    bool oversized;      /* the line under way is past its maximum, and is passed over */
    uint64_t line_number;
    uint64_t row_number;

    /* CSV: */
    struct csv_parser csv;
    bool csv_open;
    struct dbk_arena names;
    struct dbk_slice *columns;
    size_t column_count;
    struct dbk_buf bytes; /* fields of the row under way, one after the other */
    size_t *ends;         /* where each ends in `bytes` */
    struct dbk_slice *fields;
    size_t field_count; /* may be past the maximum, then only counted */
    bool row_ended;
    bool stray;        /* fields came behind the row's end: a carriage return within the line */
    uint64_t row_line; /* where the row under way began; 0: none has */
    char fault[160];
};

/* ---- Lines ---- */

/* 1: a line without its newline, valid until the next call; 0: the end. */
static int next_line(struct dbk_rows_reader *reader, struct dbk_slice *line_out,
                     struct dbk_error *err)
{
    dbk_buf_reset(&reader->line);
    reader->oversized = false;
    for (;;) {
        if (reader->at == reader->size) {
            int rc = reader->ended ? DBK_OK
                                   : dbk_input_read(reader->input, reader->chunk, CHUNK_SIZE,
                                                    &reader->size, err);
            if (rc < 0)
                return rc;
            reader->at = 0;
            if (reader->ended || reader->size == 0) {
                reader->ended = true;
                reader->size = 0;
                *line_out = dbk_buf_slice(&reader->line);
                reader->line_number += line_out->size > 0 || reader->oversized;
                return line_out->size > 0 || reader->oversized;
            }
        }
        const char *start = reader->chunk + reader->at;
        size_t left = reader->size - reader->at;
        const char *end = memchr(start, '\n', left);
        size_t size = end != NULL ? (size_t)(end - start) : left;
        reader->at += size + (end != NULL);
        if (end != NULL && reader->line.size == 0 && !reader->oversized) {
            *line_out = dbk_slice(start, size);
            reader->line_number++;
            return 1;
        }
        if (reader->line.size + size > DBK_ROW_SIZE_MAX) {
            dbk_buf_reset(&reader->line);
            reader->oversized = true;
        }
        if (!reader->oversized)
            dbk_buf_append(&reader->line, dbk_slice(start, size));
        if (reader->line.rc < 0)
            return dbk_error_set(err, reader->line.rc, "line %ju: %s",
                                 (uintmax_t)reader->line_number + 1,
                                 dbk_code_text(reader->line.rc));
        if (end != NULL) {
            *line_out = dbk_buf_slice(&reader->line);
            reader->line_number++;
            return 1;
        }
    }
}

static struct dbk_slice without_mark(struct dbk_slice line)
{
    struct dbk_slice mark = DBK_SLICE_LITERAL("\xef\xbb\xbf");
    return dbk_slice_starts_with(line, mark) ? dbk_slice(line.data + 3, line.size - 3) : line;
}

static struct dbk_slice without_return(struct dbk_slice line)
{
    if (line.size > 0 && line.data[line.size - 1] == '\r')
        line.size--;
    return line;
}

/* ---- CSV ---- */

static void on_field(void *text, size_t size, void *context)
{
    struct dbk_rows_reader *reader = context;
    reader->stray = reader->stray || reader->row_ended;
    if (reader->field_count < DBK_ROW_COLUMNS_MAX) {
        dbk_buf_append(&reader->bytes, dbk_slice(text, size));
        reader->ends[reader->field_count] = reader->bytes.size;
    }
    reader->field_count++;
}

static void on_row(int terminator, void *context)
{
    struct dbk_rows_reader *reader = context;
    (void)terminator;
    reader->row_ended = true;
}

static int no_space(unsigned char byte)
{
    (void)byte;
    return 0;
}

static void begin_row(struct dbk_rows_reader *reader)
{
    dbk_buf_reset(&reader->bytes);
    reader->field_count = 0;
    reader->row_ended = false;
    reader->stray = false;
    reader->row_line = 0;
}

/* After a fault libcsv is in the middle of something; it begins anew. */
static int reset_csv(struct dbk_rows_reader *reader)
{
    if (reader->csv_open)
        csv_free(&reader->csv);
    reader->csv_open = csv_init(&reader->csv, CSV_STRICT | CSV_STRICT_FINI) == 0;
    if (!reader->csv_open)
        return DBK_ENOMEM;
    csv_set_space_func(&reader->csv, no_space);
    csv_set_blk_size(&reader->csv, 4096);
    return DBK_OK;
}

/* 1: the row has ended with this line; 0: it goes on; DBK_EINVAL: the line is wrong. */
static int parse_line(struct dbk_rows_reader *reader, struct dbk_slice line)
{
    if (csv_parse(&reader->csv, line.data, line.size, on_field, on_row, reader) != line.size ||
        csv_parse(&reader->csv, "\n", 1, on_field, on_row, reader) != 1 || reader->stray)
        return DBK_EINVAL;
    return reader->row_ended;
}

static int finish_fields(struct dbk_rows_reader *reader)
{
    const char *bytes = reader->bytes.size > 0 ? reader->bytes.data : "";
    size_t start = 0;
    if (reader->bytes.rc < 0)
        return reader->bytes.rc;
    for (size_t i = 0; i < reader->field_count && i < DBK_ROW_COLUMNS_MAX; i++) {
        reader->fields[i] = dbk_slice(bytes + start, reader->ends[i] - start);
        start = reader->ends[i];
    }
    return DBK_OK;
}

/* Says what is wrong with a row that libcsv could read, NULL when nothing is. */
static const char *fault_of(struct dbk_rows_reader *reader)
{
    if (reader->field_count != reader->column_count) {
        (void)snprintf(reader->fault, sizeof(reader->fault), "%zu fields where %zu columns are",
                       reader->field_count, reader->column_count);
        return reader->fault;
    }
    for (size_t i = 0; i < reader->field_count; i++) {
        struct dbk_slice field = reader->fields[i];
        bool zero = field.size > 0 && memchr(field.data, '\0', field.size) != NULL;
        if (!zero && dbk_slice_is_utf8(field))
            continue;
        (void)snprintf(reader->fault, sizeof(reader->fault), "%s in column %.*s",
                       zero ? "a NUL byte" : "invalid UTF-8",
                       (int)(reader->columns[i].size < 80 ? reader->columns[i].size : 80),
                       reader->columns[i].data);
        return reader->fault;
    }
    return NULL;
}

/* 1: a row, its fields filled or the fault set; 0: the end. */
static int next_csv(struct dbk_rows_reader *reader, const char **fault_out, struct dbk_error *err)
{
    struct dbk_slice line = {0};
    *fault_out = NULL;
    begin_row(reader);
    int rc = DBK_OK;
    for (;;) {
        rc = next_line(reader, &line, err);
        if (rc < 0)
            return rc;
        if (rc == 0 && reader->row_line == 0)
            return 0;
        if (rc == 0) {
            *fault_out = "a quoted field is never closed";
            return 1;
        }
        if (reader->line_number == 1)
            line = without_mark(line);
        if (reader->row_line == 0 && !reader->oversized && without_return(line).size == 0)
            continue;
        if (reader->row_line == 0)
            reader->row_line = reader->line_number;
        if (reader->oversized || reader->bytes.size + reader->csv.entry_pos > DBK_ROW_SIZE_MAX) {
            *fault_out = "larger than 4 MiB, is a quote not closed?";
            break;
        }
        rc = parse_line(reader, line);
        if (rc < 0)
            *fault_out = reader->stray
                             ? "a carriage return outside quotes"
                             : "a quote where none may be, or text behind a closing quote";
        if (rc != 0)
            break;
    }
    rc = *fault_out != NULL ? reset_csv(reader) : finish_fields(reader);
    return rc < 0 ? dbk_error_set(err, rc, "line %ju: %s", (uintmax_t)reader->line_number,
                                  dbk_code_text(rc))
                  : 1;
}

static int read_header(struct dbk_rows_reader *reader, struct dbk_error *err)
{
    const char *fault = NULL;
    const char *path = dbk_input_path(reader->input);
    int rc = next_csv(reader, &fault, err);
    if (rc < 0)
        return rc;
    if (rc == 0)
        return dbk_error_set(err, DBK_EINVAL,
                             "%s: it is empty, where its first row names the columns", path);
    if (fault != NULL)
        return dbk_error_set(err, DBK_EINVAL, "%s:%ju: the header: %s", path,
                             (uintmax_t)reader->row_line, fault);
    if (reader->field_count > DBK_ROW_COLUMNS_MAX)
        return dbk_error_set(err, DBK_ELIMIT, "%s: the header has more than %d columns", path,
                             DBK_ROW_COLUMNS_MAX);
    reader->columns = dbk_alloc_zero(reader->field_count, sizeof(*reader->columns));
    if (reader->columns == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM));
    for (size_t i = 0; i < reader->field_count; i++) {
        struct dbk_slice name = reader->fields[i];
        if (name.size == 0 || !dbk_slice_is_utf8(name) || memchr(name.data, 0, name.size) != NULL)
            return dbk_error_set(err, DBK_EINVAL, "%s: the header's column %zu has no name", path,
                                 i + 1);
        for (size_t j = 0; j < i; j++)
            if (dbk_slice_equal(name, reader->columns[j]))
                return dbk_error_set(err, DBK_EINVAL, "%s: the header names the column %.*s twice",
                                     path, DBK_SLICE_ARGS(name));
        reader->columns[i] = dbk_arena_copy(&reader->names, name);
        if (reader->columns[i].data == NULL)
            return dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM));
    }
    reader->column_count = reader->field_count;
    return DBK_OK;
}

/* ---- Both ---- */

int dbk_rows_reader_open(struct dbk_input *input, enum dbk_row_format format,
                         struct dbk_rows_reader **reader_out, struct dbk_error *err)
{
    struct dbk_rows_reader *reader = dbk_alloc_zero(1, sizeof(*reader));
    int rc = DBK_ENOMEM;
    if (reader == NULL)
        return dbk_error_set(err, rc, "%s", dbk_code_text(rc));
    reader->input = input;
    reader->format = format;
    dbk_buf_init(&reader->line, DBK_ROW_SIZE_MAX);
    dbk_buf_init(&reader->bytes, 2 * DBK_ROW_SIZE_MAX);
    dbk_arena_init(&reader->names, 64 << 20);
    reader->chunk = dbk_alloc(CHUNK_SIZE);
    reader->ends = dbk_alloc_zero(DBK_ROW_COLUMNS_MAX, sizeof(*reader->ends));
    reader->fields = dbk_alloc_zero(DBK_ROW_COLUMNS_MAX, sizeof(*reader->fields));
    if (reader->chunk == NULL || reader->ends == NULL || reader->fields == NULL) {
        (void)dbk_error_set(err, rc, "%s", dbk_code_text(rc));
        goto out;
    }
    rc = format == DBK_ROW_CSV ? reset_csv(reader) : DBK_OK;
    if (rc < 0)
        (void)dbk_error_set(err, rc, "%s", dbk_code_text(rc));
    else if (format == DBK_ROW_CSV)
        rc = read_header(reader, err);
    if (rc < 0)
        goto out;
    *reader_out = reader;
    reader = NULL;
out:
    dbk_rows_reader_free(reader);
    return rc;
}

void dbk_rows_reader_free(struct dbk_rows_reader *reader)
{
    if (reader == NULL)
        return;
    if (reader->csv_open)
        csv_free(&reader->csv);
    dbk_buf_release(&reader->line);
    dbk_buf_release(&reader->bytes);
    dbk_arena_release(&reader->names);
    dbk_free(reader->columns);
    dbk_free(reader->chunk);
    dbk_free(reader->ends);
    dbk_free(reader->fields);
    dbk_free(reader);
}

const struct dbk_slice *dbk_rows_reader_columns(const struct dbk_rows_reader *reader,
                                                size_t *count_out)
{
    *count_out = reader->column_count;
    return reader->columns;
}

static int next_jsonl(struct dbk_rows_reader *reader, struct dbk_row *row, struct dbk_error *err)
{
    for (;;) {
        int rc = next_line(reader, &row->text, err);
        if (rc <= 0)
            return rc;
        if (reader->line_number == 1)
            row->text = without_mark(row->text);
        row->text = without_return(row->text);
        if (row->text.size > 0 || reader->oversized)
            break;
    }
    row->line = reader->line_number;
    if (reader->oversized)
        row->fault = "larger than 4 MiB";
    return 1;
}

int dbk_rows_reader_next(struct dbk_rows_reader *reader, struct dbk_row *row_out,
                         struct dbk_error *err)
{
    const char *fault = NULL;
    int rc = 0;
    *row_out = (struct dbk_row){0};
    if (reader->format == DBK_ROW_JSONL) {
        rc = next_jsonl(reader, row_out, err);
    } else {
        rc = next_csv(reader, &fault, err);
        if (rc == 1) {
            row_out->line = reader->row_line;
            row_out->fault = fault != NULL ? fault : fault_of(reader);
            row_out->fields = reader->fields;
        }
    }
    if (rc == 1)
        row_out->number = ++reader->row_number;
    return rc;
}
