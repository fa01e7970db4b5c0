/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A look at the journal, and at a piece of a table:
 *
 *     IDLE --somebody committed--> LOOK --there are rows--> UNIT --all told--> BEHIND
 *                                    \--there are none------------------------/  |
 *     IDLE <--nothing is to be read-- BEHIND --a snapshot is read--> PIECE --> IDLE
 */
#include <inttypes.h>
#include <stdio.h>

#include "capture/sqlite.h"

#define SQL_SIZE_MAX ((size_t)1 << 20)
#define SWEEP_KEYS 1000

static int no_memory(const struct dbk_journal *journal, struct dbk_error *err)
{
    return dbk_error_set(err, DBK_ENOMEM, "out of memory capturing %s",
                         journal->options.service->name);
}

static int64_t now_us(const struct dbk_journal *journal)
{
    return journal->options.os->monotonic_us(journal->options.os);
}

/* ---- Looks ---- */

/* Outside of a transaction: another number than before means that somebody else committed. */
int dbk_journal_read_version(struct dbk_journal *journal, int64_t *version_out,
                             struct dbk_error *err)
{
    int rc = dbk_statement_step(journal->version, err);
    if (rc == 1)
        *version_out = dbk_statement_column(journal->version, 0).integer;
    dbk_statement_reset(journal->version);
    return rc < 0 ? rc : DBK_OK;
}

static int open_rows(struct dbk_journal *journal, struct dbk_error *err)
{
    struct dbk_buf sql;
    dbk_buf_init(&sql, SQL_SIZE_MAX);
    dbk_buf_append_text(&sql, "SELECT id, shape, op, at");
    for (size_t i = 0; i < journal->width; i++)
        dbk_buf_append_format(&sql, ",v%zu", i);
    dbk_buf_append_text(&sql, " FROM main._daybook_journal WHERE id > ?1 ORDER BY id");
    int rc = sql.rc < 0 ? no_memory(journal, err)
                        : dbk_statement_open(journal->connection, dbk_buf_slice(&sql),
                                             &journal->rows, NULL, err);
    dbk_buf_release(&sql);
    return rc;
}

static int end_look(struct dbk_journal *journal, struct dbk_error *err)
{
    if (journal->rows != NULL)
        dbk_statement_reset(journal->rows);
    dbk_statement_free(journal->piece_rows);
    journal->piece_rows = NULL;
    journal->piece = NULL;
    journal->at = DBK_JOURNAL_IDLE;
    return dbk_connection_in_transaction(journal->connection)
               ? dbk_connection_run(journal->connection, "COMMIT", err)
               : DBK_OK;
}

/* Begins to read at the journal's state now, whose triggers know all columns of that state. */
static int begin_look(struct dbk_journal *journal, struct dbk_error *err)
{
    int64_t schema = 0;
    for (;;) {
        int rc = dbk_journal_read_version(journal, &journal->data_version, err);
        if (rc == DBK_OK)
            rc = dbk_connection_begin(journal->connection, DBK_BEGIN_READ, err);
        if (rc == DBK_OK)
            rc =
                dbk_journal_number(journal->connection, "PRAGMA main.schema_version", &schema, err);
        if (rc < 0)
            return rc;
        if (schema == journal->schema_version)
            break;
        rc = end_look(journal, err);
        if (rc == DBK_OK)
            rc = dbk_journal_make(journal, DBK_JOURNAL_RUNNING, err);
        if (rc < 0)
            return rc;
    }
    int rc = journal->rows == NULL ? open_rows(journal, err) : DBK_OK;
    if (rc < 0)
        return rc;
    struct dbk_value after = {.kind = DBK_VALUE_INTEGER, .integer = journal->position};
    dbk_statement_bind(journal->rows, 1, &after);
    journal->at = DBK_JOURNAL_LOOK;
    journal->look = false;
    return DBK_OK;
}

/* ---- Rows of the journal ---- */

#define COLUMN_ID 0
#define COLUMN_SHAPE 1
#define COLUMN_OP 2
#define COLUMN_AT 3
#define COLUMN_VALUES 4

static int64_t integer_of(struct dbk_journal *journal, int column)
{
    struct dbk_value value = dbk_statement_column(journal->rows, column);
    return value.kind == DBK_VALUE_INTEGER ? value.integer : 0;
}

static int take_key(struct dbk_journal *journal, const struct dbk_journal_shape *shape,
                    struct dbk_change *change, struct dbk_error *err)
{
    struct dbk_slice *key = dbk_arena_alloc_zero(&journal->row, shape->key_count + 1, sizeof(*key));
    if (key == NULL)
        return no_memory(journal, err);
    for (size_t i = 0; i < shape->key_count; i++) {
        struct dbk_value value =
            dbk_statement_column(journal->rows, COLUMN_VALUES + (int)shape->keys[i]);
        if (value.kind == DBK_VALUE_NULL)
            return dbk_reader_fault(&shape->table->reader, DBK_EINVAL,
                                    "has a row whose key is NULL",
                                    "give it one; it names the row's stream", err);
        if (!dbk_reader_key_text(&value, &journal->row, &key[i]))
            return no_memory(journal, err);
    }
    change->key = key;
    change->key_count = shape->key_count;
    return DBK_OK;
}

static int take_values(struct dbk_journal *journal, const struct dbk_journal_shape *shape,
                       struct dbk_change *change, struct dbk_error *err)
{
    size_t count = shape->shape.count;
    struct dbk_change_value *values =
        dbk_arena_alloc_zero(&journal->row, count + 1, sizeof(*values));
    int rc = values == NULL ? no_memory(journal, err) : DBK_OK;
    for (size_t i = 0; i < count && rc == DBK_OK; i++) {
        struct dbk_value value = dbk_statement_column(journal->rows, COLUMN_VALUES + (int)i);
        rc = dbk_reader_value(&shape->table->reader, &value, 0, &journal->row, &values[i], err);
    }
    change->shape = &shape->shape;
    change->values = values;
    return rc;
}

/* The row of the journal at hand as a change. 0: it tells nothing. */
static int take_row(struct dbk_journal *journal, struct dbk_change *change_out,
                    struct dbk_error *err)
{
    struct dbk_journal_shape *shape = NULL;
    bool gone = true;
    int rc = dbk_journal_find_shape(journal, integer_of(journal, COLUMN_SHAPE), &shape, err);
    if (rc < 0 || shape->table == NULL)
        return rc;
    struct dbk_value op = dbk_statement_column(journal->rows, COLUMN_OP);
    char kind = op.kind == DBK_VALUE_TEXT && op.bytes.size == 1 ? op.bytes.data[0] : 0;
    *change_out = (struct dbk_change){
        .kind = kind == 'i' || kind == 'u' ? DBK_CHANGE_ROW : DBK_CHANGE_DELETE,
        .table = shape->table->reader.index,
        .time_us = integer_of(journal, COLUMN_AT) * 1000,
    };
    rc = take_key(journal, shape, change_out, err);
    if (rc < 0)
        return rc;
    if (change_out->kind == DBK_CHANGE_ROW) {
        rc = take_values(journal, shape, change_out, err);
    } else if (kind == 'm') {
        const struct dbk_live_keys keys = {
            .keys = change_out->key, .count = 1, .parts = shape->key_count};
        if (shape->key_count == shape->table->reader.key_count)
            rc = dbk_reader_find_gone(&shape->table->reader, &keys, &gone, err);
    } else if (kind != 'd') {
        rc = dbk_error_set(err, DBK_ECORRUPT, "row %" PRId64 " of _daybook_journal says nothing",
                           integer_of(journal, COLUMN_ID));
    }
    return rc < 0 ? rc : gone;
}

static int step_rows(struct dbk_journal *journal, struct dbk_error *err)
{
    int rc = dbk_statement_step(journal->rows, err);
    if (rc == 1)
        journal->unit = integer_of(journal, COLUMN_ID);
    return rc;
}

/* The first row of a look opens a unit, which stands where that row does. */
static int tell_look(struct dbk_journal *journal, struct dbk_change *change_out,
                     struct dbk_error *err)
{
    int rc = step_rows(journal, err);
    if (rc != 1) {
        journal->at = DBK_JOURNAL_BEHIND;
        return rc;
    }
    (void)snprintf(journal->text, sizeof(journal->text), "%" PRId64, journal->unit);
    *change_out = (struct dbk_change){.kind = DBK_CHANGE_BEGIN,
                                      .position = dbk_slice_of(journal->text),
                                      .time_us = integer_of(journal, COLUMN_AT) * 1000};
    journal->at = DBK_JOURNAL_UNIT;
    journal->changed_us = now_us(journal);
    return 1;
}

static int tell_unit(struct dbk_journal *journal, struct dbk_change *change_out,
                     struct dbk_error *err)
{
    /* The row at hand was begun with, or stepped to below and not told yet. */
    int rc = 1;
    while (rc == 1) {
        if (journal->told) {
            rc = step_rows(journal, err);
            journal->told = false;
            continue;
        }
        dbk_arena_reset(&journal->row);
        rc = take_row(journal, change_out, err);
        journal->told = true;
        if (rc != 0)
            return rc;
        rc = 1;
    }
    if (rc < 0)
        return rc;
    journal->position = journal->unit;
    journal->at = DBK_JOURNAL_BEHIND;
    *change_out = (struct dbk_change){.kind = DBK_CHANGE_END};
    return 1;
}

/* ---- Pieces of a snapshot ---- */

static struct dbk_journal_table *unfinished(struct dbk_journal *journal)
{
    for (size_t i = 0; i < journal->table_count; i++) {
        struct dbk_journal_table *table = &journal->tables[i];
        if (table->captured && table->phase != DBK_JOURNAL_DONE)
            return table;
    }
    return NULL;
}

static int open_piece(struct dbk_journal *journal, struct dbk_error *err)
{
    struct dbk_reader *reader = &journal->piece->reader;
    struct dbk_buf sql;
    dbk_buf_init(&sql, SQL_SIZE_MAX);
    dbk_buf_append_text(&sql, "SELECT ");
    dbk_reader_put_columns(reader, &sql);
    dbk_buf_append_text(&sql, " FROM ");
    dbk_reader_put_table(reader, &sql);
    if (journal->piece->cursor.count == reader->key_count) {
        dbk_buf_append_text(&sql, " WHERE ");
        dbk_reader_put_behind(reader, &journal->piece->cursor, &sql);
    }
    dbk_buf_append_text(&sql, " ORDER BY ");
    dbk_reader_put_key(reader, &sql);
    dbk_buf_append_format(&sql, " LIMIT %zu", journal->options.chunk_rows);
    int rc = dbk_reader_prepare(reader, &sql, &journal->piece_rows, err);
    dbk_buf_release(&sql);
    return rc;
}

static int open_sweep(struct dbk_journal *journal, struct dbk_error *err)
{
    struct dbk_journal_table *table = journal->piece;
    journal->keys = (struct dbk_live_keys){.parts = table->reader.key_count};
    int rc = journal->options.live(journal->options.context, table->reader.index, table->swept,
                                   table->until, SWEEP_KEYS, &journal->keys, err);
    if (rc < 0)
        return rc;
    dbk_arena_reset(&journal->row);
    journal->gone = dbk_arena_alloc_zero(&journal->row, journal->keys.count + 1, sizeof(bool));
    if (journal->gone == NULL)
        return no_memory(journal, err);
    return dbk_reader_find_gone(&table->reader, &journal->keys, journal->gone, err);
}

/* Behind the journal's end, in the same look. 0: nothing is to be read. */
static int begin_piece(struct dbk_journal *journal, struct dbk_change *change_out,
                       struct dbk_error *err)
{
    journal->piece = unfinished(journal);
    if (journal->piece == NULL) {
        int rc = end_look(journal, err);
        return rc < 0 ? rc : 0;
    }
    journal->piece_count = 0;
    int rc = journal->piece->phase == DBK_JOURNAL_READ ? open_piece(journal, err)
                                                       : open_sweep(journal, err);
    if (rc < 0)
        return rc;
    (void)snprintf(journal->text, sizeof(journal->text), "%" PRId64, journal->position);
    *change_out = (struct dbk_change){.kind = DBK_CHANGE_BEGIN,
                                      .snapshot = true,
                                      .position = dbk_slice_of(journal->text),
                                      .time_us = DBK_TIME_NONE};
    journal->at = DBK_JOURNAL_PIECE;
    return 1;
}

static int end_piece(struct dbk_journal *journal, struct dbk_change *change_out,
                     struct dbk_error *err)
{
    struct dbk_journal_table *table = journal->piece;
    if (table->phase == DBK_JOURNAL_SWEEP) {
        table->swept = journal->keys.looked;
        if (table->swept >= table->until)
            table->phase = DBK_JOURNAL_DONE;
    } else {
        struct dbk_reader_place cursor = table->cursor;
        table->rows += journal->piece_count;
        table->cursor = journal->piece_cursor;
        journal->piece_cursor = cursor;
        if (journal->piece_count < journal->options.chunk_rows)
            table->phase = table->until > 0 ? DBK_JOURNAL_SWEEP : DBK_JOURNAL_DONE;
    }
    journal->progress = true;
    journal->look = true;
    *change_out = (struct dbk_change){.kind = DBK_CHANGE_END};
    int rc = end_look(journal, err);
    return rc < 0 ? rc : 1;
}

static int tell_gone(struct dbk_journal *journal, struct dbk_change *change_out,
                     struct dbk_error *err)
{
    size_t parts = journal->keys.parts;
    while (journal->piece_count < journal->keys.count && !journal->gone[journal->piece_count])
        journal->piece_count++;
    if (journal->piece_count == journal->keys.count)
        return end_piece(journal, change_out, err);
    *change_out = (struct dbk_change){.kind = DBK_CHANGE_DELETE,
                                      .table = journal->piece->reader.index,
                                      .snapshot = true,
                                      .key = journal->keys.keys + journal->piece_count++ * parts,
                                      .key_count = parts,
                                      .position = dbk_slice_of(journal->text)};
    return 1;
}

static int tell_piece(struct dbk_journal *journal, struct dbk_change *change_out,
                      struct dbk_error *err)
{
    const struct dbk_reader *reader = &journal->piece->reader;
    if (journal->piece_rows == NULL)
        return tell_gone(journal, change_out, err);
    int rc = dbk_statement_step(journal->piece_rows, err);
    if (rc < 0)
        return rc;
    if (rc == 0)
        return end_piece(journal, change_out, err);
    dbk_arena_reset(&journal->row);
    rc = dbk_reader_take(reader, journal->piece_rows, 0, &journal->row, change_out, err);
    if (rc < 0)
        return rc;
    change_out->snapshot = true;
    change_out->position = dbk_slice_of(journal->text);
    journal->piece_count++;
    dbk_reader_place_reset(&journal->piece_cursor);
    if (dbk_reader_place_add_key(reader, &journal->piece_cursor, journal->piece_rows, 0) < 0)
        return no_memory(journal, err);
    return 1;
}

/* ---- All of it ---- */

static int begin_if_any(struct dbk_journal *journal, struct dbk_error *err)
{
    int64_t version = 0;
    int rc = dbk_journal_read_version(journal, &version, err);
    if (rc < 0)
        return rc;
    if (version == journal->data_version && !journal->look)
        return 0;
    rc = begin_look(journal, err);
    return rc < 0 ? rc : 1;
}

int dbk_journal_next(struct dbk_journal *journal, struct dbk_change *change_out,
                     struct dbk_error *err)
{
    for (;;) {
        int rc = 0;
        switch (journal->at) {
        case DBK_JOURNAL_IDLE:
            rc = begin_if_any(journal, err);
            if (rc != 1)
                return rc;
            continue;
        case DBK_JOURNAL_LOOK:
            journal->told = false;
            rc = tell_look(journal, change_out, err);
            break;
        case DBK_JOURNAL_UNIT:
            rc = tell_unit(journal, change_out, err);
            break;
        case DBK_JOURNAL_BEHIND:
            rc = begin_piece(journal, change_out, err);
            break;
        case DBK_JOURNAL_PIECE:
            rc = tell_piece(journal, change_out, err);
            break;
        }
        if (rc != 0)
            return rc;
    }
}
