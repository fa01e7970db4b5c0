/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/table.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/assert.h"
#include "cli/arguments.h"
#include "cli/text.h"

#define ROW_SIZE_MAX ((size_t)1 << 30)
#define COLUMN_WIDTH_MIN 8
/* Of a text's column in a live table. */
#define LIVE_WIDTH 16
/* "2011-03-01T08:26:00…" */
#define TIME_WIDTH_MIN 20

struct cell {
    struct dbk_slice text; /* visible text */
    bool number;
};

struct row {
    struct cell *cells;
    size_t count; /* columns known when the row came; those behind are NULL */
};

struct column {
    struct dbk_slice name;
    size_t width;
    bool number; /* every cell so far is a number, empty or NULL: aligned to the right */
    bool time;   /* every cell so far is a time, empty or NULL */
    bool filled; /* some cell so far is neither empty nor NULL */
};

struct dbk_table {
    struct dbk_table_options options;
    struct dbk_arena names;
    struct dbk_arena arena; /* of rows held back */
    struct column columns[DBK_TABLE_COLUMNS_MAX];
    size_t column_count;
    bool fixed; /* the columns are known, other members are not shown */
    struct row *rows;
    size_t row_count;
    uint64_t written; /* rows */
    bool head;        /* the header has been written */
    struct dbk_buf line;
};

enum dbk_output dbk_output_of(const struct dbk_arguments *arguments)
{
    const char *text = dbk_arguments_text(arguments, "output");
    if (text == NULL || strcmp(text, "table") == 0)
        return DBK_OUTPUT_TABLE;
    if (strcmp(text, "json") == 0)
        return DBK_OUTPUT_JSON;
    if (strcmp(text, "dot") == 0)
        return DBK_OUTPUT_DOT;
    return strcmp(text, "jsonl") == 0 ? DBK_OUTPUT_JSONL : DBK_OUTPUT_CSV;
}

size_t dbk_output_width(FILE *out)
{
    struct winsize size = {0};
    if (!isatty(fileno(out)) || ioctl(fileno(out), TIOCGWINSZ, &size) != 0)
        return 0;
    return size.ws_col;
}

struct dbk_table *dbk_table_create(const struct dbk_table_options *options)
{
    struct dbk_table *table = dbk_alloc_zero(1, sizeof(*table));
    if (table == NULL)
        return NULL;
    table->options = *options;
    dbk_arena_init(&table->names, 1 << 20);
    dbk_arena_init(&table->arena, ROW_SIZE_MAX);
    dbk_buf_init(&table->line, ROW_SIZE_MAX);
    for (size_t i = 0; options->columns != NULL && options->columns[i] != NULL; i++) {
        if (dbk_table_column(table, dbk_slice_of(options->columns[i])) < 0) {
            dbk_table_free(table);
            return NULL;
        }
    }
    table->rows = dbk_alloc_zero(DBK_TABLE_AHEAD, sizeof(*table->rows));
    if (table->rows == NULL) {
        dbk_table_free(table);
        return NULL;
    }
    return table;
}

void dbk_table_free(struct dbk_table *table)
{
    if (table == NULL)
        return;
    dbk_arena_release(&table->names);
    dbk_arena_release(&table->arena);
    dbk_buf_release(&table->line);
    dbk_free(table->rows);
    dbk_free(table);
}

static int add_column(struct dbk_table *table, struct dbk_slice name)
{
    if (table->column_count == DBK_TABLE_COLUMNS_MAX)
        return DBK_ELIMIT;
    struct dbk_slice copy = dbk_arena_copy(&table->names, name);
    if (copy.data == NULL)
        return DBK_ENOMEM;
    table->columns[table->column_count++] =
        (struct column){.name = copy, .width = dbk_text_width(copy), .number = true, .time = true};
    return DBK_OK;
}

int dbk_table_column(struct dbk_table *table, struct dbk_slice name)
{
    dbk_assert(table->row_count == 0 && table->written == 0);
    table->fixed = true;
    return add_column(table, name);
}

static int failed(struct dbk_error *err, int rc)
{
    return dbk_error_set(err, rc, "a row of the answer: %s", dbk_code_text(rc));
}

static int write_line(struct dbk_table *table, struct dbk_error *err)
{
    int rc = table->line.rc;
    if (rc == DBK_OK &&
        fwrite(table->line.data, 1, table->line.size, table->options.out) != table->line.size)
        return dbk_error_set_errno(err, errno, "standard output");
    dbk_buf_reset(&table->line);
    return rc < 0 ? failed(err, rc) : DBK_OK;
}

/* ---- JSON ---- */

static int json_row(struct dbk_table *table, const struct dbk_json_node *object,
                    struct dbk_error *err)
{
    if (table->options.output == DBK_OUTPUT_JSON)
        dbk_buf_append_text(&table->line, table->written == 0 ? "[" : ",\n ");
    dbk_json_write_node(&table->line, object);
    if (table->options.output == DBK_OUTPUT_JSONL)
        dbk_buf_append_char(&table->line, '\n');
    table->written++;
    return write_line(table, err);
}

/* ---- table and CSV ---- */

/* A value's text as a person reads it; null is empty and no text. */
static int cell_of(struct dbk_table *table, const struct dbk_json_node *node, struct cell *cell_out)
{
    struct dbk_buf text;
    dbk_buf_init(&text, ROW_SIZE_MAX);
    *cell_out =
        (struct cell){.number = node->kind == DBK_JSON_INTEGER || node->kind == DBK_JSON_DECIMAL};
    if (node->kind == DBK_JSON_NULL)
        return DBK_OK;
    bool csv = table->options.output == DBK_OUTPUT_CSV;
    if (node->kind == DBK_JSON_STRING && csv)
        dbk_buf_append(&text, node->text);
    else if (node->kind == DBK_JSON_STRING)
        dbk_text_write_visible(&text, node->text);
    else
        dbk_json_write_node(&text, node);
    int rc = text.rc;
    if (rc == DBK_OK) {
        cell_out->text = dbk_arena_copy(&table->arena, dbk_buf_slice(&text));
        rc = cell_out->text.data == NULL ? DBK_ENOMEM : DBK_OK;
    }
    dbk_buf_release(&text);
    return rc;
}

/* The column of a member, DBK_TABLE_COLUMNS_MAX when it is not shown. */
static size_t column_of(struct dbk_table *table, struct dbk_slice name)
{
    for (size_t i = 0; i < table->column_count; i++)
        if (dbk_slice_equal(table->columns[i].name, name))
            return i;
    if (table->fixed || add_column(table, name) < 0)
        return DBK_TABLE_COLUMNS_MAX;
    return table->column_count - 1;
}

static int hold_row(struct dbk_table *table, const struct dbk_json_node *object, struct row *row)
{
    struct cell cells[DBK_TABLE_COLUMNS_MAX] = {0};
    const struct dbk_json_node *member = dbk_json_first(object);
    for (uint32_t i = 0; i < object->count; i++) {
        size_t column = column_of(table, member->key);
        if (column < DBK_TABLE_COLUMNS_MAX) {
            int rc = cell_of(table, member, &cells[column]);
            if (rc < 0)
                return rc;
        }
        if (i + 1 < object->count)
            member = dbk_json_sibling(member);
    }
    row->count = table->column_count;
    row->cells = dbk_arena_alloc(&table->arena, sizeof(cells[0]) * (row->count + 1));
    if (row->cells == NULL)
        return DBK_ENOMEM;
    memcpy(row->cells, cells, sizeof(cells[0]) * row->count);
    return DBK_OK;
}

static struct cell row_cell(const struct row *row, size_t column)
{
    return column < row->count ? row->cells[column] : (struct cell){0};
}

static struct dbk_slice shown(struct cell cell)
{
    return cell.text.data == NULL ? DBK_SLICE_LITERAL("NULL") : cell.text;
}

static bool is_time(struct dbk_slice text)
{
    return text.size >= TIME_WIDTH_MIN && text.data[4] == '-' && text.data[7] == '-' &&
           text.data[10] == 'T' && text.data[text.size - 1] == 'Z';
}

static void measure(struct dbk_table *table)
{
    for (size_t i = 0; i < table->row_count; i++) {
        for (size_t c = 0; c < table->column_count; c++) {
            struct cell cell = row_cell(&table->rows[i], c);
            size_t width = dbk_text_width(shown(cell));
            if (width > table->columns[c].width)
                table->columns[c].width = width;
            if (cell.text.size == 0)
                continue;
            table->columns[c].filled = true;
            table->columns[c].number = table->columns[c].number && cell.number;
            table->columns[c].time = table->columns[c].time && is_time(cell.text);
        }
    }
}

/* Room for later texts; the last column needs none. */
static void leave_room(struct dbk_table *table)
{
    for (size_t c = 0; c + 1 < table->column_count; c++) {
        struct column *column = &table->columns[c];
        if (!column->number && column->width < LIVE_WIDTH)
            column->width = LIVE_WIDTH;
    }
}

/* How narrow a column may become: a number or a time that is cut says little. */
static size_t width_min(const struct column *column)
{
    if (column->filled && column->number)
        return column->width;
    return column->filled && column->time ? TIME_WIDTH_MIN : COLUMN_WIDTH_MIN;
}

/* Takes from the widest columns until a line fits. strict: as width_min says, else from all. */
static void fit(struct dbk_table *table, bool strict)
{
    size_t total = table->column_count > 0 ? 2 * (table->column_count - 1) : 0;
    for (size_t c = 0; c < table->column_count; c++)
        total += table->columns[c].width;
    while (table->options.width_max > 0 && total > table->options.width_max) {
        struct column *widest = NULL;
        for (size_t c = 0; c < table->column_count; c++) {
            struct column *column = &table->columns[c];
            if (column->width > (strict ? width_min(column) : COLUMN_WIDTH_MIN) &&
                (widest == NULL || column->width > widest->width))
                widest = column;
        }
        if (widest == NULL)
            break;
        widest->width--;
        total--;
    }
}

static void pad(struct dbk_buf *line, char with, size_t count)
{
    for (size_t i = 0; i < count; i++)
        dbk_buf_append_char(line, with);
}

static void write_cell(struct dbk_table *table, size_t column, struct dbk_slice text, bool cut)
{
    const struct column *of = &table->columns[column];
    size_t width = dbk_text_width(text);
    if (column > 0)
        pad(&table->line, ' ', 2);
    if (width > of->width && cut) {
        struct dbk_slice start = dbk_text_cut(text, of->width - 1);
        dbk_buf_append(&table->line, start);
        dbk_buf_append_text(&table->line, "…");
        pad(&table->line, ' ', of->width - 1 - dbk_text_width(start));
        return;
    }
    size_t space = width < of->width ? of->width - width : 0;
    if (of->number)
        pad(&table->line, ' ', space);
    dbk_buf_append(&table->line, text);
    if (!of->number && column + 1 < table->column_count)
        pad(&table->line, ' ', space);
}

static void write_csv_cell(struct dbk_buf *line, size_t column, struct dbk_slice text)
{
    if (column > 0)
        dbk_buf_append_char(line, ',');
    bool quoted = false;
    for (size_t i = 0; i < text.size; i++)
        quoted = quoted || strchr(",\"\r\n", text.data[i]) != NULL;
    if (!quoted) {
        dbk_buf_append(line, text);
        return;
    }
    dbk_buf_append_char(line, '"');
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] == '"')
            dbk_buf_append_char(line, '"');
        dbk_buf_append_char(line, text.data[i]);
    }
    dbk_buf_append_char(line, '"');
}

static int write_head(struct dbk_table *table, struct dbk_error *err)
{
    bool csv = table->options.output == DBK_OUTPUT_CSV;
    if (table->column_count == 0)
        return DBK_OK;
    measure(table);
    if (table->options.live && !csv)
        leave_room(table);
    fit(table, true);
    fit(table, false);
    for (size_t c = 0; c < table->column_count; c++) {
        if (csv)
            write_csv_cell(&table->line, c, table->columns[c].name);
        else
            write_cell(table, c, table->columns[c].name, true);
    }
    dbk_buf_append_text(&table->line, csv ? "\r\n" : "\n");
    for (size_t c = 0; !csv && c < table->column_count; c++) {
        pad(&table->line, ' ', c > 0 ? 2 : 0);
        pad(&table->line, '-', table->columns[c].width);
    }
    if (!csv)
        dbk_buf_append_char(&table->line, '\n');
    table->head = true;
    table->fixed = true;
    return write_line(table, err);
}

static int write_row(struct dbk_table *table, const struct row *row, struct dbk_error *err)
{
    bool csv = table->options.output == DBK_OUTPUT_CSV;
    for (size_t c = 0; c < table->column_count; c++) {
        struct cell cell = row_cell(row, c);
        if (csv)
            write_csv_cell(&table->line, c, cell.text);
        else
            write_cell(table, c, shown(cell), table->options.width_max > 0);
    }
    dbk_buf_append_text(&table->line, csv ? "\r\n" : "\n");
    table->written++;
    return write_line(table, err);
}

int dbk_table_flush(struct dbk_table *table, struct dbk_error *err)
{
    int rc = DBK_OK;
    if (table->options.output == DBK_OUTPUT_TABLE || table->options.output == DBK_OUTPUT_CSV) {
        if (!table->head && (table->row_count > 0 || table->fixed))
            rc = write_head(table, err);
        for (size_t i = 0; rc == DBK_OK && i < table->row_count; i++)
            rc = write_row(table, &table->rows[i], err);
        table->row_count = 0;
        dbk_arena_reset(&table->arena);
    }
    if (rc == DBK_OK && fflush(table->options.out) != 0)
        return dbk_error_set_errno(err, errno, "standard output");
    return rc;
}

int dbk_table_row(struct dbk_table *table, const struct dbk_json_node *object,
                  struct dbk_error *err)
{
    if (table->options.output == DBK_OUTPUT_JSON || table->options.output == DBK_OUTPUT_JSONL)
        return json_row(table, object, err);
    int rc = hold_row(table, object, &table->rows[table->row_count]);
    if (rc < 0)
        return failed(err, rc);
    table->row_count++;
    if (!table->head && table->row_count < DBK_TABLE_AHEAD)
        return DBK_OK;
    if (!table->head)
        return dbk_table_flush(table, err);
    rc = write_row(table, &table->rows[0], err);
    table->row_count = 0;
    dbk_arena_reset(&table->arena);
    return rc;
}

int dbk_table_end(struct dbk_table *table, struct dbk_error *err)
{
    if (table->options.output == DBK_OUTPUT_JSON) {
        dbk_buf_append_text(&table->line, table->written == 0 ? "[]\n" : "]\n");
        int rc = write_line(table, err);
        if (rc < 0)
            return rc;
    }
    return dbk_table_flush(table, err);
}

/* ---- One object ---- */

static size_t name_width(const struct dbk_json_node *object, const char *open)
{
    size_t width = 0;
    const struct dbk_json_node *member = dbk_json_first(object);
    for (uint32_t i = 0; i < object->count; i++) {
        bool opened = open != NULL && dbk_slice_equal_text(member->key, open) &&
                      member->kind == DBK_JSON_OBJECT;
        size_t own = opened ? name_width(member, NULL) : dbk_text_width(member->key);
        width = own > width ? own : width;
        if (i + 1 < object->count)
            member = dbk_json_sibling(member);
    }
    return width;
}

static void write_members(struct dbk_buf *out, const struct dbk_json_node *object, size_t width,
                          const char *open)
{
    const struct dbk_json_node *member = dbk_json_first(object);
    for (uint32_t i = 0; i < object->count; i++) {
        if (open != NULL && dbk_slice_equal_text(member->key, open) &&
            member->kind == DBK_JSON_OBJECT) {
            write_members(out, member, width, NULL);
        } else {
            dbk_text_write_visible(out, member->key);
            pad(out, ' ', width - dbk_text_width(member->key) + 2);
            if (member->kind == DBK_JSON_STRING)
                dbk_text_write_visible(out, member->text);
            else if (member->kind == DBK_JSON_NULL)
                dbk_buf_append_text(out, "NULL");
            else
                dbk_json_write_node(out, member);
            dbk_buf_append_char(out, '\n');
        }
        if (i + 1 < object->count)
            member = dbk_json_sibling(member);
    }
}

int dbk_table_object(const struct dbk_table_options *options, const struct dbk_json_node *object,
                     const char *open, struct dbk_error *err)
{
    struct dbk_table *table = dbk_table_create(options);
    int rc = DBK_OK;
    if (table == NULL)
        return failed(err, DBK_ENOMEM);
    if (options->output == DBK_OUTPUT_TABLE) {
        write_members(&table->line, object, name_width(object, open), open);
        rc = write_line(table, err);
    } else if (options->output == DBK_OUTPUT_CSV) {
        rc = dbk_table_row(table, object, err);
        if (rc == DBK_OK)
            rc = dbk_table_end(table, err);
    } else {
        dbk_json_write_node(&table->line, object);
        dbk_buf_append_char(&table->line, '\n');
        rc = write_line(table, err);
    }
    dbk_table_free(table);
    return rc;
}
